package acceptance

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nines/internal/town"
)

// pbx is a desk whose signalling can fail while the phones behind it go on talking.
type pbx struct {
	conn    *net.UDPConn
	answer  func(offer string) string
	mood    atomic.Int32
	invites atomic.Int32 // repeats left out
	inside  atomic.Int32 // OPTIONS inside a call
}

// The moods of a PBX.
const (
	well     = iota
	mute     // nothing it is told reaches it
	forgets  // it says 481 to every request inside a call
	ignorant // it answers OPTIONS, and no INVITE
)

func newPBX(t *testing.T, at netip.AddrPort, answer func(offer string) string) *pbx {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	b := &pbx{conn: conn, answer: answer}
	done := make(chan struct{})
	go func() { defer close(done); b.serve() }() // ends with the socket
	t.Cleanup(func() { b.close(); <-done })
	return b
}

// close ends its signalling: its SIP port is closed, and whoever sends to it gets ICMP.
func (b *pbx) close() { _ = b.conn.Close() }

func (b *pbx) serve() {
	buf, asked := make([]byte, 65535), map[string]bool{}
	for {
		n, from, err := b.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m, err := town.ParseMessage(buf[:n])
		if err != nil || m.Method == "" || m.Method == "ACK" {
			continue
		}
		mood := b.mood.Load()
		status, body := "200 OK", ""
		inside := strings.Contains(m.Get("To"), ";tag=")
		switch {
		case m.Method == "INVITE":
			if via := m.Get("Via"); !asked[via] {
				asked[via] = true
				b.invites.Add(1)
			}
			if mood == ignorant {
				continue
			}
			body = b.answer(string(m.Body))
		case m.Method == "OPTIONS" && inside:
			b.inside.Add(1)
		}
		if mood == mute {
			continue
		}
		if mood == forgets && inside {
			status = "481 Call/Transaction Does Not Exist"
		}
		_, _ = b.conn.WriteToUDPAddrPort([]byte(response(m, status, b.conn.LocalAddr().String(), body)), from) // a lost datagram is repeated
	}
}

// TestTalkingCallsThatAreNotDeadStay: R20, R13. Thirty calls talk and something else is wrong. Nobody else gets an INVITE, and nobody hears of it.
func TestTalkingCallsThatAreNotDeadStay(t *testing.T) {
	t.Parallel()
	const calls = 30
	tests := []struct {
		name  string
		wrong func(*testing.T, *node, *pbx)
	}{
		{name: "nines is stopped for 5 s", wrong: func(t *testing.T, n *node, _ *pbx) {
			if err := n.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			await(t, 5*time.Second)
			if err := n.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "the PBX's signalling is blocked", wrong: func(_ *testing.T, _ *node, b *pbx) { b.mood.Store(mute) }},
		{name: "the PBX's signalling has died", wrong: func(_ *testing.T, _ *node, b *pbx) { b.close() }},
		{name: "the PBX has forgotten its calls", wrong: func(_ *testing.T, _ *node, b *pbx) { b.mood.Store(forgets) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace()
			g := newChoir(t, p)
			room, standby := newPBX(t, p.sip(10), g.answer), newPBX(t, p.sip(11), g.answer)
			carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
			n := start(t, p, rescueRooms)
			n.verdict("up", "control-room", "standby")
			k := &talkers{t: t, place: p, carrier: carrier, node: n}
			placed := make([]*town.Call, calls)
			for i := range placed {
				c, err := carrier.Place(town.Dial{
					URI: "sip:999@" + p.sip(1).String(), Wrap: func(string) (string, []byte) { return "application/sdp", []byte(g.offer(i)) },
				})
				if err != nil {
					t.Fatal(err)
				}
				placed[i] = c
			}
			k.calls = placed
			for i, c := range placed {
				if err := c.Talks(t.Context()); err != nil {
					t.Fatal(err)
				}
				rec := c.Record()
				g.join(t, i, 50*time.Millisecond, streams(t, rec.SDP[len(rec.SDP)-1]), streams(t, g.offered(i)))
			}
			before := standby.invites.Load()
			done := make(chan struct{})
			go func() { defer close(done); g.sing(20 * time.Second) }() // ends by itself
			await(t, 4*time.Second)
			tt.wrong(t, n, room)
			<-done
			if got := standby.invites.Load() - before; got != 0 {
				t.Errorf("the standby got %d INVITEs; want none, for the room's phones went on talking", got)
			}
			if lost := n.log.with("has lost its endpoint"); len(lost) != 0 {
				t.Errorf("%d calls were taken for lost: %s", len(lost), lost[0])
			}
			for _, c := range placed {
				if r := c.Record(); r.End != town.NotYet {
					t.Errorf("the caller's call ended: %v", r)
				}
			}
			if got := room.invites.Load(); got != calls {
				t.Errorf("the room got %d INVITEs, want the %d calls that it had", got, calls)
			}
			for _, c := range placed {
				c.Clear()
			}
			n.empty(40 * time.Second) // a dead PBX does not answer the BYEs
		})
	}
}
