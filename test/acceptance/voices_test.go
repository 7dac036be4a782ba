package acceptance

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"nines/internal/town"
)

// TestTalkingCallsLoseNothing holds many calls and compares every packet of both directions: none lost, none changed, none twice, none out of order.
func TestTalkingCallsLoseNothing(t *testing.T) {
	if !soaking { // at full length it wants the machine for itself
		t.Parallel()
	}
	calls, busy, hold, rate := 100, 30, 4*time.Second, 100
	if soaking {
		calls, busy, hold, rate = 1000, 300, 60*time.Second, 50
	}
	p := newPlace()
	g := newChoir(t, p)
	newDesk(t, p.sip(10), func(offer string) string { return g.answer(offer) })
	newDesk(t, p.sip(11), func(offer string) string { return g.answer(offer) })
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n := start(t, p, twoRooms)
	n.verdict("up", "control-room", "standby")

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	pace := time.NewTicker(time.Second / time.Duration(rate))
	defer pace.Stop()
	g.listen()
	var placed []*town.Call
	joined := 0
	join := func(c *town.Call) {
		if err := c.Talks(ctx); err != nil {
			t.Fatal(err)
		}
		interval := time.Second
		if joined < busy {
			interval = 20 * time.Millisecond
		}
		rec := c.Record()
		g.join(t, joined, interval, streams(t, rec.SDP[len(rec.SDP)-1]), streams(t, g.offered(joined)))
		joined++
	}
	for i := range calls {
		<-pace.C
		c, err := carrier.Place(town.Dial{
			URI: "sip:999@" + p.sip(1).String(), Wrap: func(string) (string, []byte) { return "application/sdp", []byte(g.offer(i)) },
		})
		if err != nil {
			t.Fatal(err)
		}
		placed = append(placed, c)
		if i >= rate { // placed a second ago
			join(placed[i-rate])
		}
		if i%rate == 0 {
			g.hum()
		}
	}
	for joined < calls {
		join(placed[joined])
	}
	g.hum()
	if st := n.status(); st.Calls.Talking != calls {
		t.Fatalf("%d calls talk, want %d", st.Calls.Talking, calls)
	}
	before := usage(t, n.cmd.Process.Pid)
	took := g.sing(hold)
	cpu := usage(t, n.cmd.Process.Pid) - before
	g.report(t, took, cpu)
	if st := n.status(); st.Calls.Talking != calls {
		t.Errorf("%d calls still talk after %v, want %d", st.Calls.Talking, took, calls)
	}
	for _, c := range placed {
		c.Clear()
	}
	n.empty(10 * time.Second)
}

// usage is the processor time that a process has used.
func usage(t *testing.T, pid int) time.Duration {
	t.Helper()
	id := int32(^pid)<<3 | 2 // the kernel's name for the CPU clock of a process, as clock_getcpuclockid(3) makes it
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// choir is the voices of both sides of many calls. It is cheap: the calls of one side share four sockets (nines has a port of its own for each, so
// nobody mistakes them), one goroutine sends what is due in batches, one per socket reads in batches.
type choir struct {
	place   place
	sockets [2][lanes]*lane // callers, people in the room
	offers  sync.Map        // call number → what nines offered to the room

	readers sync.WaitGroup

	wheel    [1000][]*singer // what is due in each millisecond of a second
	voices   [2][]*singer    // by call
	heeded   bool            // somebody listens
	sung     atomic.Int64    // packets of voices that came, whatever is wrong with them
	odd      atomic.Int64    // packets that belong to nobody here
	lateness atomic.Int64    // times that the wheel was late by more than 5 ms
}

const lanes = 4

// lane is a socket that many voices share.
type lane struct {
	at    netip.AddrPort
	conn  *net.UDPConn
	batch *ipv4.PacketConn
	out   []ipv4.Message // buffers, of which used are to be sent
	used  int
}

// singer is the voice of one side of a call, and what the other side heard of it.
type singer struct {
	call, side uint32
	lane       *lane
	to         *net.UDPAddr
	interval   time.Duration
	sent       uint32

	// Written by the reader of the lane that hears it.
	heard, changed, again, behind, foreign int
	next                                   uint32
	from                                   netip.AddrPort // where nines said it would come from
	delays                                 [32]int        // by the power of two of microseconds
	worst                                  time.Duration
}

const (
	voiceMark = 0x4e494e45 // "NINE"
	voiceSize = 172
	humSize   = 92 // of a packet that nobody counts
)

func newChoir(t *testing.T, p place) *choir {
	t.Helper()
	g := &choir{place: p}
	for side, host := range []int{200, 10} {
		for i := range g.sockets[side] {
			g.sockets[side][i] = newLane(t, p.at(host, uint16(40000+2*i)))
		}
	}
	return g
}

func newLane(t *testing.T, at netip.AddrPort) *lane {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// A burst must not be lost because this process had no turn; as root the limit of the system does not hold.
	if err := raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return &lane{at: at, conn: conn, batch: ipv4.NewPacketConn(conn)}
}

func (g *choir) lane(side, call int) *lane { return g.sockets[side][call%lanes] }

// offer is the session description of a caller.
func (g *choir) offer(call int) string { return g.describe(0, call) }

// describe writes a session description. Its s= says which call it is; nines leaves it as it is.
func (g *choir) describe(side, call int) string {
	at := g.lane(side, call).at
	return fmt.Sprintf("v=0\r\no=- %d 1 IN IP4 %[2]s\r\ns=%[1]d\r\nc=IN IP4 %[2]s\r\nt=0 0\r\nm=audio %[3]d RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n", call, at.Addr(), at.Port())
}

// answer is the session description of the room.
func (g *choir) answer(offer string) string {
	var call int
	for line := range strings.Lines(offer) {
		if _, err := fmt.Sscanf(line, "s=%d", &call); err == nil {
			break
		}
	}
	g.offers.Store(call, offer)
	return g.describe(1, call)
}

func (g *choir) offered(call int) string {
	s, _ := g.offers.Load(call)
	text, _ := s.(string)
	return text
}

// join lets both sides of a call sing.
func (g *choir) join(t *testing.T, call int, interval time.Duration, up, down []netip.AddrPort) {
	t.Helper()
	if len(up) != 1 || len(down) != 1 {
		t.Fatalf("call %d: nines names %v to the caller and %v to the room; want one stream each", call, up, down)
	}
	near := [2]netip.AddrPort{up[0], down[0]}
	for side := range g.voices {
		s := &singer{
			call: uint32(call), side: uint32(side), lane: g.lane(side, call), to: net.UDPAddrFromAddrPort(near[side]), interval: interval, from: near[1-side],
		}
		g.voices[side] = append(g.voices[side], s)
		every := int(interval / time.Millisecond)
		for at := (call*7 + side*11) % every; at < len(g.wheel); at += every {
			g.wheel[at] = append(g.wheel[at], s)
		}
	}
}

// listen begins to count what comes; sing ends it.
func (g *choir) listen() {
	g.heeded = true
	for _, side := range g.sockets {
		for _, l := range side {
			g.readers.Go(func() { g.listenTo(l) })
		}
	}
}

// hum sends one packet, which nobody counts, from each side of each call. A call that waits for its turn to sing must not look dead: without media after
// their answer three of them would bring their room down, rightly.
func (g *choir) hum() {
	var b [humSize]byte
	b[0], b[1] = 0x80, 8
	for _, side := range g.voices {
		for _, s := range side {
			binary.BigEndian.PutUint32(b[8:], s.call<<1|s.side)
			_, _ = s.lane.conn.WriteToUDP(b[:], s.to) // one that is lost is followed by another
		}
	}
}

// sing sends for as long as is said, and waits until what was sent has been heard or is late. It gives how long the sending took.
func (g *choir) sing(hold time.Duration) (took time.Duration) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began, done := time.Now(), 0
	for due := 0; due < int(hold/time.Millisecond); {
		<-tick.C
		due = min(int(time.Since(began)/time.Millisecond), int(hold/time.Millisecond))
		if due-done > 5 {
			g.lateness.Add(1)
		}
		for ; done < due; done++ {
			for _, s := range g.wheel[done%len(g.wheel)] {
				s.lane.queue(s)
			}
		}
		for _, side := range g.sockets {
			for _, l := range side {
				l.flush()
			}
		}
	}
	took = time.Since(began)
	if g.heeded {
		poll(10*time.Second, func() bool { return g.sung.Load() >= g.sent() }) // what is lost is waited for in vain
	}
	for _, side := range g.sockets {
		for _, l := range side {
			_ = l.conn.SetReadDeadline(time.Now()) // ends the reader
		}
	}
	g.readers.Wait()
	return took
}

// sent is how many packets all voices have sent.
func (g *choir) sent() (n int64) {
	for _, side := range g.voices {
		for _, s := range side {
			n += int64(s.sent)
		}
	}
	return n
}

// queue puts a singer's next packet into its lane's batch.
func (l *lane) queue(s *singer) {
	if l.used == len(l.out) {
		l.out = append(l.out, ipv4.Message{Buffers: [][]byte{make([]byte, voiceSize)}})
	}
	m := &l.out[l.used]
	l.used++
	m.Addr = s.to
	b := m.Buffers[0]
	b[0], b[1] = 0x80, 8
	binary.BigEndian.PutUint16(b[2:], uint16(s.sent))
	binary.BigEndian.PutUint32(b[4:], s.sent*160)
	binary.BigEndian.PutUint32(b[8:], s.call<<1|s.side)
	binary.BigEndian.PutUint32(b[12:], voiceMark)
	binary.BigEndian.PutUint32(b[16:], s.call)
	binary.BigEndian.PutUint32(b[20:], s.side)
	binary.BigEndian.PutUint32(b[24:], s.sent)
	binary.BigEndian.PutUint64(b[28:], uint64(time.Now().UnixNano()))
	for i := 36; i < voiceSize-4; i++ {
		b[i] = byte(s.sent) + byte(i)
	}
	binary.BigEndian.PutUint32(b[voiceSize-4:], crc32.ChecksumIEEE(b[:voiceSize-4]))
	s.sent++
}

// flush sends the batch.
func (l *lane) flush() {
	for rest := l.out[:l.used]; len(rest) > 0; {
		n, err := l.batch.WriteBatch(rest, 0)
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOBUFS) {
			return // what was not sent will be missed
		}
		rest = rest[max(n, 0):]
	}
	l.used = 0
}

// listenTo counts what comes to a lane until its deadline.
func (g *choir) listenTo(l *lane) {
	in := make([]ipv4.Message, 64)
	for i := range in {
		in[i].Buffers = [][]byte{make([]byte, 2048)}
	}
	for {
		n, err := l.batch.ReadBatch(in, 0)
		if err != nil {
			return
		}
		now := time.Now()
		for i := range in[:n] {
			g.hear(in[i].Buffers[0][:in[i].N], in[i].Addr, now)
		}
	}
}

// hear counts one packet for the singer that it comes from.
func (g *choir) hear(b []byte, from net.Addr, now time.Time) {
	if len(b) == humSize {
		return
	}
	if len(b) != voiceSize || binary.BigEndian.Uint32(b[12:]) != voiceMark {
		g.odd.Add(1)
		return
	}
	g.sung.Add(1)
	call, side, seq := binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:]), binary.BigEndian.Uint32(b[24:])
	if side > 1 || int(call) >= len(g.voices[side]) {
		g.odd.Add(1)
		return
	}
	s := g.voices[side][call]
	if crc32.ChecksumIEEE(b[:voiceSize-4]) != binary.BigEndian.Uint32(b[voiceSize-4:]) {
		s.changed++
		return
	}
	if u, ok := from.(*net.UDPAddr); !ok || u.Port != int(s.from.Port()) {
		s.foreign++
		return
	}
	switch {
	case seq+1 == s.next:
		s.again++
		return
	case seq < s.next:
		s.behind++
	default:
		s.next = seq + 1
	}
	s.heard++
	d := now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(b[28:]))))
	s.worst = max(s.worst, d)
	s.delays[min(bits.Len64(uint64(max(d.Microseconds(), 0))), 31)]++
}

// report compares what was sent with what was heard.
func (g *choir) report(t *testing.T, took, cpu time.Duration) {
	t.Helper()
	var sent, heard, changed, again, behind, foreign, bad int
	var delays [32]int
	var worst time.Duration
	for _, side := range g.voices {
		for _, s := range side {
			sent, heard, changed, again, behind, foreign = sent+int(s.sent), heard+s.heard, changed+s.changed, again+s.again, behind+s.behind, foreign+s.foreign
			worst = max(worst, s.worst)
			for i, n := range s.delays {
				delays[i] += n
			}
			if s.heard != int(s.sent) && bad < 5 {
				bad++
				t.Errorf("call %d, side %d: sent %d, heard %d", s.call, s.side, s.sent, s.heard)
			}
		}
	}
	if heard != sent || changed+again+behind+foreign != 0 || g.odd.Load() != 0 {
		t.Errorf("%d packets sent, %d heard, %d changed, %d twice, %d out of order, %d from elsewhere, %d of nobody; want all heard once, in order",
			sent, heard, changed, again, behind, foreign, g.odd.Load())
	}
	t.Logf("%d calls, %.0f packets a second relayed for %v; nines used %.1f %% of a core, %.1f µs a packet with everything; delay p50 ≤ %v, p99 ≤ %v, p99.9 ≤ %v, worst %v; the generator was late %d times",
		len(g.voices[0]), float64(heard)/took.Seconds(), took.Round(time.Millisecond), 100*cpu.Seconds()/took.Seconds(), float64(cpu.Microseconds())/float64(max(heard, 1)),
		quantile(delays, 0.5), quantile(delays, 0.99), quantile(delays, 0.999), worst.Round(time.Microsecond), g.lateness.Load())
}

// quantile gives the upper bound of the power of two that a quantile is in.
func quantile(delays [32]int, q float64) time.Duration {
	total := 0
	for _, n := range delays {
		total += n
	}
	rank := int(q * float64(total))
	for i, n := range delays {
		if rank -= n; rank < 0 {
			return time.Duration(1<<i) * time.Microsecond
		}
	}
	return 0
}
