package sip_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"nines/health"
	"nines/internal/town"
	"nines/media/sdp"
)

// reporter sends the RTCP of a call-taker's phone, which the town's phones don't.
type reporter struct {
	conn  net.PacketConn
	to    net.Addr
	mu    sync.Mutex
	sends bool // it says that it sends
	hears bool // it says that it hears
	stop  chan struct{}
	done  chan struct{}
}

// report begins to send reports beside a room's call, every five seconds.
func (w *ward) report(room string, c *town.Call) *reporter {
	w.t.Helper()
	rec := c.Record()
	offer, err := sdp.Look(rec.Invite.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := w.hosts[room].ListenPacket(netip.AddrPortFrom(rec.Audio.Addr(), rec.Audio.Port()+1))
	if err != nil {
		w.t.Fatal(err)
	}
	r := &reporter{
		conn: conn, to: net.UDPAddrFromAddrPort(offer.Streams[0].RTCP), sends: true, hears: true,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go r.run()
	w.t.Cleanup(func() { close(r.stop); <-r.done; _ = conn.Close() })
	return r
}

func (r *reporter) says(sends, hears bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sends, r.hears = sends, hears
}

// run sends a sender report with one block every five seconds.
func (r *reporter) run() {
	defer close(r.done)
	sent, heard := uint32(0), uint32(1000)
	for {
		select {
		case <-r.stop:
			return
		case <-time.After(5 * time.Second):
		}
		r.mu.Lock()
		if r.sends {
			sent += 250
		}
		if r.hears {
			heard += 250
		}
		r.mu.Unlock()
		b := make([]byte, 52)
		b[0], b[1], b[3] = 0x81, 200, 12
		binary.BigEndian.PutUint32(b[4:], 7)
		binary.BigEndian.PutUint32(b[20:], sent)
		binary.BigEndian.PutUint32(b[36:], heard)
		_, _ = r.conn.WriteTo(b, r.to)
	}
}

// TestOneWayAudioIsFoundByTheEndpointsOwnReports: R14, R30. Three calls each; what a room does by itself is nothing, what its reports prove brings it down, and no
// call that talks is moved for it.
func TestOneWayAudioIsFoundByTheEndpointsOwnReports(t *testing.T) {
	tests := []struct {
		name         string
		mute         bool
		sends, hears bool
		want         health.Verdict
		words        string
	}{
		{"three muted headsets", true, false, true, health.Up, ""},
		{"its audio does not arrive", true, true, true, health.Down, "one-way audio"},
		{"it does not hear the callers", false, true, false, health.Down, "one-way audio"},
		{"all is well", false, true, true, health.Up, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWard(t, nil, func(w *ward) {
				placed := w.crowd("999", 3, 100*time.Millisecond)
				var reporters []*reporter
				for _, c := range w.rooms["control-room"].Calls() {
					reporters = append(reporters, w.report("control-room", c))
				}
				time.Sleep(20 * time.Second)
				if v := w.server.Snapshot().Of("control-room").Verdict; v != health.Up {
					t.Fatalf("the room is %v while all is well", v)
				}
				for i, c := range w.rooms["control-room"].Calls() {
					c.Mute(tt.mute)
					reporters[i].says(tt.sends, tt.hears)
				}
				time.Sleep(30 * time.Second)
				st := w.server.Snapshot().Of("control-room")
				if st.Verdict != tt.want || !strings.Contains(st.Words, tt.words) {
					t.Errorf("the room is %v (%s); want %v with %q", st.Verdict, st.Words, tt.want, tt.words)
				}
				if st.Dead() {
					t.Error("what calls showed of the audio is a witness against calls that talk; it must not be")
				}
				if n := w.server.Counters().Rescues; n != 0 {
					t.Errorf("%d rescues; the room's phones are there", n)
				}
				if n := ended(placed); n != 0 {
					t.Errorf("%d calls have ended", n)
				}
			})
		})
	}
}

// TestThreeQuietPhonesWithoutReportsAreASuspicion: a phone that makes no reports and stops sending may be muted. That never brings its room down, and it is
// forgotten when they are heard again.
func TestThreeQuietPhonesWithoutReportsAreASuspicion(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		w.crowd("999", 3, 100*time.Millisecond)
		time.Sleep(5 * time.Second)
		mute := func(on bool) {
			for _, c := range w.rooms["control-room"].Calls() {
				c.Mute(on)
			}
		}
		standing := func() health.Standing { return w.server.Snapshot().Of("control-room") }
		mute(true)
		time.Sleep(20 * time.Second)
		if st := standing(); st.Verdict != health.Suspect || !strings.Contains(st.Words, "one-way audio") {
			t.Errorf("the room is %v (%s); want suspect, for one-way audio or muted phones", st.Verdict, st.Words)
		}
		mute(false)
		time.Sleep(20 * time.Second)
		if st := standing(); st.Verdict != health.Up {
			t.Errorf("the room is %v (%s) although its phones are heard again", st.Verdict, st.Words)
		}
		mute(true) // it is known to pause now
		time.Sleep(30 * time.Second)
		if st := standing(); st.Verdict != health.Up {
			t.Errorf("the room is %v (%s); its phones are known to send nothing while they are muted", st.Verdict, st.Words)
		}
		if n := w.server.Counters().Rescues; n != 0 {
			t.Errorf("%d rescues", n)
		}
	})
}
