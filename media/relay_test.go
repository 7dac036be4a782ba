package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var (
	lo  = netip.MustParseAddr("127.0.0.1")
	lo6 = netip.MustParseAddr("::1")
)

// engines are the two ways to move packets; what a relay promises it promises on both.
var engines = []struct {
	name    string
	network Network
}{{"kernel", nil}, {"network", sockets{}}}

// patience is how long a test waits for what must come: a machine that is overloaded is late.
const patience = time.Minute

// span finds ports that nobody else holds, an even one first, for a test that counts on each of them. They lie below those that the kernel gives away to
// whoever asks for any.
func span(t testing.TB, n int) (first, last uint16) {
	t.Helper()
	for range 100 {
		first = uint16(10000 + 2*rand.IntN(4500))
		if last = first + uint16(n) - 1; free(first, last) {
			return first, last
		}
	}
	t.Fatalf("nowhere are %d ports in a row free", n)
	return 0, 0
}

func free(first, last uint16) bool {
	for port := first; port <= last; port++ {
		for _, a := range []netip.Addr{lo, lo6} {
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port)))
			if err != nil && (a == lo || errors.Is(err, syscall.EADDRINUSE)) {
				return false
			}
			if err == nil {
				c.Close()
			}
		}
	}
	return true
}

// hasIPv6 says whether the machine has ::1.
var hasIPv6 = sync.OnceValue(func() bool {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(lo6, 0)))
	if err != nil {
		return false
	}
	c.Close()
	return true
})

// loopbacks are the addresses of loopback that there are.
func loopbacks() []netip.Addr {
	if hasIPv6() {
		return []netip.Addr{lo, lo6}
	}
	return []netip.Addr{lo}
}

// few is how many port pairs a test opens ahead: an ordinary user may have few descriptors.
const few = 8

// running starts a relay on loopback and ends it with the test.
func running(t testing.TB, cfg Config) *Relay {
	t.Helper()
	if cfg.Addresses == nil {
		cfg.Addresses = []netip.Addr{lo}
	}
	if cfg.PortMin == 0 {
		cfg.PortMin, cfg.PortMax = 42000, 42999
	}
	if cfg.Spare == 0 {
		cfg.Spare = few
	}
	r, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }() // ended by the cleanup
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the relay ended with %v", err)
		}
	})
	return r
}

func reserve(t testing.TB, r *Relay, addr netip.Addr, streams int) *Side {
	t.Helper()
	s, err := r.Reserve(addr, streams)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// phone is a far end: one socket.
type phone struct {
	t testing.TB
	*net.UDPConn
}

func newPhone(t testing.TB, host string) phone {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return phone{t, c}
}

func (p phone) addr() netip.AddrPort { return p.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p phone) send(to netip.AddrPort, b []byte) {
	p.t.Helper()
	if _, err := p.WriteToUDPAddrPort(b, to); err != nil {
		p.t.Fatal(err)
	}
}

// receive waits for the next packet.
func (p phone) receive() ([]byte, netip.AddrPort) {
	p.t.Helper()
	buf := make([]byte, maxDatagram)
	if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	n, from, err := p.ReadFromUDPAddrPort(buf)
	if err != nil {
		p.t.Fatalf("no packet came: %v", err)
	}
	return buf[:n], from
}

// hears says that this packet, from this port of the relay, is the next to come.
func (p phone) hears(want string, from netip.AddrPort) {
	p.t.Helper()
	got, src := p.receive()
	if string(got) != want {
		p.t.Errorf("%q came, want %q", got, want)
	}
	if src != from {
		p.t.Errorf("it came from %v, want the advertised %v", src, from)
	}
}

// ports are a side's local addresses of one stream.
func ports(s *Side, i int) (rtpAt, rtcpAt netip.AddrPort) {
	a, b := s.Local(i)
	return netip.AddrPortFrom(s.Addr(), a), netip.AddrPortFrom(s.Addr(), b)
}

// eventually waits until the packet loop has done something that nothing announces.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// talk is one call: two phones, RTP and RTCP each, and two joined sides.
type talk struct {
	r                *Relay
	a, b             *Side
	callee, caller   phone // RTP
	callee2, caller2 phone // RTCP
	atCaller         netip.AddrPort
	atCallee         netip.AddrPort
	atCaller2        netip.AddrPort
	atCallee2        netip.AddrPort
}

func newTalk(t testing.TB, r *Relay, callerHost, calleeHost string) *talk {
	side := func(host string) netip.Addr {
		if netip.MustParseAddr(host).Is6() {
			return lo6
		}
		return lo
	}
	k := &talk{
		r: r, a: reserve(t, r, side(callerHost), 1), b: reserve(t, r, side(calleeHost), 1),
		caller: newPhone(t, callerHost), caller2: newPhone(t, callerHost), callee: newPhone(t, calleeHost), callee2: newPhone(t, calleeHost),
	}
	k.a.Expect(0, Remote{RTP: k.caller.addr(), RTCP: k.caller2.addr()})
	k.b.Expect(0, Remote{RTP: k.callee.addr(), RTCP: k.callee2.addr()})
	r.Join(k.a, k.b)
	k.atCaller, k.atCaller2 = ports(k.a, 0)
	k.atCallee, k.atCallee2 = ports(k.b, 0)
	return k
}

// chat sends packets both ways, so that both ports have their second socket.
func (k *talk) chat(n int) {
	k.caller.t.Helper()
	for i := range n {
		word := fmt.Sprint("word ", i)
		k.caller.send(k.atCaller, []byte(word))
		k.callee.hears(word, k.atCallee)
		k.callee.send(k.atCallee, []byte(word))
		k.caller.hears(word, k.atCaller)
	}
}

func TestPacketsCrossUnchanged(t *testing.T) {
	for _, e := range engines {
		for _, hosts := range [][2]string{{"127.0.0.2", "127.0.0.3"}, {"::1", "::1"}, {"127.0.0.2", "::1"}} {
			t.Run(e.name+" "+hosts[0]+" "+hosts[1], func(t *testing.T) {
				if hosts[1] == "::1" && !hasIPv6() {
					t.Skip("this machine has no ::1")
				}
				k := newTalk(t, running(t, Config{Network: e.network, Addresses: loopbacks()}), hosts[0], hosts[1])
				chance := rand.New(rand.NewPCG(1, 2))
				sizes := []int{0, 1, 11, 12, 13, 172, 1472, 1473, 9000, 65507}
				for range 150 { // enough for the second sockets to come into play
					sizes = append(sizes, chance.IntN(1600))
				}
				sizes = append(sizes, 0, 65507)
				for _, n := range sizes {
					packet := make([]byte, n)
					for i := range packet {
						packet[i] = byte(chance.Uint32())
					}
					for _, way := range []struct {
						name         string
						from, to     phone
						sent, leaves netip.AddrPort
					}{
						{"RTP to the callee", k.caller, k.callee, k.atCaller, k.atCallee},
						{"RTP to the caller", k.callee, k.caller, k.atCallee, k.atCaller},
						{"RTCP to the callee", k.caller2, k.callee2, k.atCaller2, k.atCallee2},
						{"RTCP to the caller", k.callee2, k.caller2, k.atCallee2, k.atCaller2},
					} {
						way.from.send(way.sent, packet)
						got, src := way.to.receive()
						if !bytes.Equal(got, packet) {
							t.Fatalf("%s: %d bytes arrived as %d, or changed", way.name, n, len(got))
						}
						if src != way.leaves {
							t.Fatalf("%s came from %v, want %v, which the session description names", way.name, src, way.leaves)
						}
					}
				}
				want := uint64(4 * len(sizes))
				eventually(t, "every packet is counted once", func() bool { return k.r.Stats().Packets == want })
				if s := k.r.Stats(); s.Foreign+s.NoPeer+s.Failed+s.ICMP != 0 {
					t.Errorf("nothing was dropped, got %+v", s)
				}
			})
		}
	}
}

func TestPortsAreEvenAndOddPairsInTheRange(t *testing.T) {
	first, last := span(t, 21)
	r := running(t, Config{PortMin: first + 1, PortMax: last, Spare: 2})
	s := reserve(t, r, lo, 9)
	seen := map[uint16]bool{}
	for i := range s.Len() {
		a, b := s.Local(i)
		if a%2 != 0 || b != a+1 || a < first+2 || b > last || seen[a] {
			t.Errorf("stream %d has ports %d and %d: want an even one of the range, its odd neighbour, and none twice", i, a, b)
		}
		seen[a] = true
	}
	if _, err := r.Reserve(lo, 1); !errors.Is(err, ErrNoPorts) {
		t.Errorf("a tenth stream where nine fit gave %v, want ErrNoPorts", err)
	}
	if a, b := s.Local(9); a != 0 || b != 0 {
		t.Errorf("a stream that is not there has ports %d and %d", a, b)
	}
	if got := r.Stats(); got.InUse != 9 || got.Free != 0 || got.Sockets != 18 {
		t.Errorf("nine pairs are in use and none is free, got %+v", got)
	}
}

func TestExhaustionTakesNothing(t *testing.T) {
	first, last := span(t, 8)
	r := running(t, Config{PortMin: first, PortMax: last})
	one := reserve(t, r, lo, 1)
	if _, err := r.Reserve(lo, 4); !errors.Is(err, ErrNoPorts) {
		t.Fatalf("four pairs of three gave %v, want ErrNoPorts", err)
	}
	if err := one.Grow(5); !errors.Is(err, ErrNoPorts) || one.Len() != 1 {
		t.Fatalf("growing beyond the range gave %v and %d streams, want ErrNoPorts and the one it had", err, one.Len())
	}
	if s := r.Stats(); s.InUse != 1 || s.Free != 3 {
		t.Errorf("a refused reservation keeps nothing, got %+v", s)
	}
	// All that is free is resting now. A caller comes before a stray packet.
	reserve(t, r, lo, 3)
}

func TestPortsOfOthersArePassedOver(t *testing.T) {
	first, last := span(t, 6)
	busy, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(lo, first+3)))
	if err != nil {
		t.Fatal(err)
	}
	r := running(t, Config{PortMin: first, PortMax: last})
	s := reserve(t, r, lo, 2)
	for i := range 2 {
		if port, _ := s.Local(i); port == first+2 {
			t.Error("a pair of which somebody else holds a half was given out")
		}
	}
	if _, err := r.Reserve(lo, 1); !errors.Is(err, ErrNoPorts) {
		t.Errorf("the last pair is taken by somebody else: got %v, want ErrNoPorts", err)
	}
	busy.Close()
	if port, _ := reserve(t, r, lo, 1).Local(0); port != first+2 {
		t.Errorf("a port that came free is tried again, got %d", port)
	}
	if _, err := Open(Config{Addresses: []netip.Addr{lo}, PortMin: first, PortMax: last, Spare: 1}); !errors.Is(err, ErrNoPorts) {
		t.Errorf("a second relay on the same ports gave %v, want ErrNoPorts: no socket is shared with strangers", err)
	}
}

func TestRTCPOnTheRTPPort(t *testing.T) {
	report := []byte{0x81, 200, 0, 1, 0, 0, 0, 1}
	media := []byte{0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			k := newTalk(t, running(t, Config{Network: e.network}), "127.0.0.2", "127.0.0.3")
			k.a.Expect(0, Remote{RTP: k.caller.addr(), RTCP: k.caller2.addr(), Mux: true}) // its a=rtcp counts no more
			k.b.Expect(0, Remote{RTP: k.callee.addr(), Mux: true})
			k.caller.send(k.atCaller, report)
			k.callee.hears(string(report), k.atCallee)
			k.callee.send(k.atCallee, media)
			k.caller.hears(string(media), k.atCaller)
			k.caller.send(k.atCaller2, report) // sent before it knew that both ends can mux
			k.callee.hears(string(report), k.atCallee)

			// The next endpoint cannot mux: RTCP goes to its own port and comes back on the caller's one.
			k.b.Expect(0, Remote{RTP: k.callee.addr(), RTCP: k.callee2.addr()})
			k.caller.send(k.atCaller, report)
			k.callee2.hears(string(report), k.atCallee2)
			k.caller.send(k.atCaller, media)
			k.callee.hears(string(media), k.atCallee)
			k.callee2.send(k.atCallee2, report)
			k.caller.hears(string(report), k.atCaller)

			eventually(t, "the counters are written", func() bool { return k.r.Stats().Packets == 6 })
			if s := k.a.Stats(nil)[0]; s.Packets != 1 || s.RTCP != 3 || s.Lost != 0 || s.Sent != 2 {
				t.Errorf("reports on the RTP port count as RTCP: got %d RTP, %d RTCP, %d lost, %d sent", s.Packets, s.RTCP, s.Lost, s.Sent)
			}
		})
	}
}

func TestForeignPacketsAreCountedAndDropped(t *testing.T) {
	for _, e := range engines {
		for _, words := range []int{0, 2 * laneAfter} {
			t.Run(fmt.Sprintf("%s after %d packets", e.name, words), func(t *testing.T) {
				k := newTalk(t, running(t, Config{Network: e.network}), "127.0.0.2", "127.0.0.3")
				k.chat(words)
				thief := newPhone(t, "127.0.0.66")
				neighbour := newPhone(t, "127.0.0.2") // the right host, another port
				for range 10 {
					thief.send(k.atCaller, []byte("inject"))
					neighbour.send(k.atCaller, []byte("inject"))
					thief.send(k.atCallee2, []byte("inject"))
					k.callee.send(k.atCaller, []byte("inject")) // the right party at the wrong port
				}
				eventually(t, "forty foreign packets are counted", func() bool { return k.r.Stats().Foreign == 40 })
				k.chat(1) // the next thing heard is what was said: nothing was injected
				if got := k.a.Stats(nil)[0].Foreign; got != 30 {
					t.Errorf("the caller's stream counts %d foreign packets, want 30", got)
				}
				if got := k.b.Stats(nil)[0].Foreign; got != 10 {
					t.Errorf("the callee's stream counts %d foreign packets, want 10, those at the RTCP port", got)
				}
				eventually(t, "only what was said is counted as relayed", func() bool { return k.r.Stats().Packets == uint64(2*words+2) })
			})
		}
	}
}

func TestNothingCrossesBeforeTheAnswerNorOnHold(t *testing.T) {
	r := running(t, Config{})
	a, b := reserve(t, r, lo, 1), reserve(t, r, lo, 1)
	caller, callee := newPhone(t, "127.0.0.2"), newPhone(t, "127.0.0.3")
	atCaller, _ := ports(a, 0)
	atCallee, _ := ports(b, 0)

	callee.send(atCallee, []byte("early")) // nobody is expected yet
	a.Expect(0, Remote{RTP: caller.addr()})
	caller.send(atCaller, []byte("alone")) // nobody to send it to
	r.Join(a, b)
	caller.send(atCaller, []byte("too soon")) // joined, but no answer
	eventually(t, "one foreign packet, two without a peer", func() bool {
		s := r.Stats()
		return s.Foreign == 1 && s.NoPeer == 2
	})
	b.Expect(0, Remote{RTP: callee.addr()})
	caller.send(atCaller, []byte("now"))
	callee.hears("now", atCallee)

	b.Expect(0, Remote{RTP: netip.AddrPortFrom(netip.IPv4Unspecified(), callee.addr().Port())}) // c=0.0.0.0
	caller.send(atCaller, []byte("held"))
	callee.send(atCallee, []byte("held"))
	eventually(t, "on hold nothing crosses either way", func() bool {
		s := r.Stats()
		return s.Foreign == 2 && s.NoPeer == 3
	})
	b.Expect(0, Remote{RTP: callee.addr()})
	r.Part(a)
	caller.send(atCaller, []byte("parted"))
	callee.send(atCallee, []byte("parted"))
	eventually(t, "parted sides hear their far ends but send nothing", func() bool { return r.Stats().NoPeer == 5 })
	r.Join(b, a)
	callee.send(atCallee, []byte("again"))
	caller.hears("again", atCaller)
	if s := b.Stats(nil)[0]; s.Packets != 2 || s.Source != callee.addr() {
		t.Errorf("the callee was heard twice from %v, got %d from %v", callee.addr(), s.Packets, s.Source)
	}
}

func TestSymmetricLocksToTheFirstSourceOfTheHost(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			k := newTalk(t, running(t, Config{Network: e.network}), "127.0.0.2", "127.0.0.3")
			told := netip.AddrPortFrom(k.caller.addr().Addr(), 9) // the port in its description is not the one it uses
			k.a.Expect(0, Remote{RTP: told, Symmetric: true})
			thief, neighbour := newPhone(t, "127.0.0.66"), newPhone(t, "127.0.0.2")
			thief.send(k.atCaller, []byte("inject"))
			k.caller.send(k.atCaller, []byte("first"))
			k.callee.hears("first", k.atCallee)
			k.callee.send(k.atCallee, []byte("back"))
			k.caller.hears("back", k.atCaller)
			neighbour.send(k.atCaller, []byte("late")) // the same host, but the lock is taken
			k.caller.send(k.atCaller, []byte("second"))
			k.callee.hears("second", k.atCallee)
			k.a.Expect(0, Remote{RTP: told, Symmetric: true}) // a session refresh says nothing new
			neighbour.send(k.atCaller, []byte("late"))
			k.caller.send(k.atCaller, []byte("third"))
			k.callee.hears("third", k.atCallee)
			if s := k.a.Stats(nil)[0]; s.Foreign != 3 || s.Source != k.caller.addr() {
				t.Errorf("three foreign packets and the lock on %v, got %d and %v", k.caller.addr(), s.Foreign, s.Source)
			}
			moved := netip.AddrPortFrom(told.Addr(), 11)
			k.a.Expect(0, Remote{RTP: moved, Symmetric: true}) // a new description opens the lock
			neighbour.send(k.atCaller, []byte("new"))
			k.callee.hears("new", k.atCallee)
		})
	}
}

func TestReaimingLosesNothing(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			r := running(t, Config{Network: e.network})
			k := newTalk(t, r, "127.0.0.2", "127.0.0.3")
			c, other := reserve(t, r, lo, 1), newPhone(t, "127.0.0.4")
			c.Expect(0, Remote{RTP: other.addr()})

			const rounds, burst = 60, 50
			arrived := make(chan uint32, burst)
			for _, p := range []phone{k.callee, other} {
				go func() { // ends when the phone is closed
					var b [64]byte
					for {
						n, err := p.Read(b[:])
						if err != nil {
							return
						}
						if n == 4 {
							arrived <- binary.BigEndian.Uint32(b[:])
						}
					}
				}()
			}
			stop, stopped := make(chan struct{}), make(chan int)
			go func() { // aims here and there until stop
				n := 0
				for ; ; n++ {
					select {
					case <-stop:
						stopped <- n
						return
					default:
						r.Join(k.a, []*Side{c, k.b}[n%2])
						runtime.Gosched()
					}
				}
			}()
			seen := make([]int, rounds*burst)
			for i := range rounds {
				for j := range burst {
					k.caller.send(k.atCaller, binary.BigEndian.AppendUint32(nil, uint32(i*burst+j)))
				}
				for range burst {
					select {
					case n := <-arrived:
						seen[n]++
					case <-time.After(patience):
						t.Fatalf("a packet was lost in burst %d: %+v", i, r.Stats())
					}
				}
			}
			close(stop)
			if n := <-stopped; n < 10 {
				t.Errorf("only %d times re-aimed, that proves little", n)
			}
			for n, times := range seen {
				if times != 1 {
					t.Fatalf("packet %d arrived %d times, want once", n, times)
				}
			}
		})
	}
}

func TestAClosedPortIsAWitness(t *testing.T) {
	for _, words := range []int{0, 2 * laneAfter} {
		for _, host := range []string{"127.0.0.3", "::1"} {
			t.Run(fmt.Sprintf("%s after %d packets", host, words), func(t *testing.T) {
				if host == "::1" && !hasIPv6() {
					t.Skip("this machine has no ::1")
				}
				r := running(t, Config{Addresses: loopbacks()})
				k, bystander := newTalk(t, r, "127.0.0.2", host), newTalk(t, r, "127.0.0.2", host)
				k.chat(words)
				k.callee.Close()
				sent := uint64(0)
				eventually(t, "the ICMP errors are counted", func() bool {
					k.caller.send(k.atCaller, []byte("anybody there?"))
					sent++
					bystander.chat(1)
					return k.b.Stats(nil)[0].ICMP >= 3
				})
				s := k.b.Stats(nil)[0]
				if !errors.Is(s.ICMPErr, syscall.ECONNREFUSED) || s.LastICMP.IsZero() || s.LastICMP.After(time.Now()) {
					t.Errorf("the witness says %v at %v, want ECONNREFUSED by now", s.ICMPErr, s.LastICMP)
				}
				if got := k.a.Stats(nil)[0]; got.ICMP != 0 || got.Packets != sent+uint64(words) {
					t.Errorf("the caller is heard and has sent no ICMP: %+v", got)
				}
				if got := bystander.b.Stats(nil)[0].ICMP; got != 0 {
					t.Errorf("another call got %d ICMP errors that are not its own", got)
				}
			})
		}
	}
}

// stepped is a relay whose loop the test steps by hand, with so many ports.
func stepped(t testing.TB, ports, laneAfter int) (*Relay, *loop) {
	t.Helper()
	first, last := span(t, ports)
	r, err := Open(Config{Addresses: []netip.Addr{lo}, PortMin: first, PortMax: last, Spare: few, laneAfter: laneAfter})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, r.engine.(*loop)
}

// passes steps the loop until something is so.
func passes(t testing.TB, l *loop, what string, is func() bool) {
	t.Helper()
	late := time.AfterFunc(patience, l.rouse) // a loop that finds nothing waits
	defer late.Stop()
	for end := time.Now().Add(patience); !is(); {
		if err := l.pass(); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// waits says that something waits in a socket, or that an error does.
func waits(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n > 0 && err == nil
}

func TestAnICMPErrorOfAnEarlierFarEndIsNoWitness(t *testing.T) {
	r, l := stepped(t, 100, 0)
	k, next := newTalk(t, r, "127.0.0.2", "127.0.0.3"), newPhone(t, "127.0.0.4")
	k.callee.Close()
	for i, word := range []string{"to a closed port", "to the next endpoint"} {
		k.caller.send(k.atCaller, []byte(word))
		passes(t, l, word, func() bool { return r.Stats().Packets > uint64(i) })
		k.b.Expect(0, Remote{RTP: next.addr()})
	}
	next.hears("to the next endpoint", k.atCallee)
	passes(t, l, "the ICMP error came back", func() bool { return r.Stats().ICMP > 0 }) // the kernel delivers when it has time
	if got := r.Stats().ICMP; got != 1 {
		t.Errorf("%d ICMP errors came back, want 1", got)
	}
	if got := k.b.Stats(nil)[0].ICMP; got != 0 {
		t.Errorf("the error is about the old endpoint, and %d were held against the new one", got)
	}
}

func TestTheSecondSocketKeepsTheOrder(t *testing.T) {
	r, l := stepped(t, 100, 1)
	k := newTalk(t, r, "127.0.0.2", "127.0.0.3")
	sent := 0
	say := func() {
		for range 5 {
			k.callee.send(k.atCallee, []byte(fmt.Sprint(sent)))
			sent++
		}
	}
	say() // they wait in the first socket
	k.caller.send(k.atCaller, []byte("opens the second socket towards the callee"))
	passes(t, l, "the first packet has crossed", func() bool { return r.Stats().Packets > 0 })
	say()
	passes(t, l, "every packet has crossed", func() bool { return r.Stats().Packets == 2*5+1 })
	for i := range sent {
		k.caller.hears(fmt.Sprint(i), k.atCaller)
	}
}

func TestANewAnswerMovesTheStream(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			k := newTalk(t, running(t, Config{Network: e.network}), "127.0.0.2", "127.0.0.3")
			k.chat(2 * laneAfter)
			old := k.callee
			k.callee = newPhone(t, "127.0.0.4")
			k.b.Expect(0, Remote{RTP: k.callee.addr()})
			old.send(k.atCallee, []byte("I am still here"))
			eventually(t, "the old endpoint is foreign now", func() bool { return k.b.Stats(nil)[0].Foreign == 1 })
			k.chat(2 * laneAfter)
			k.b.Expect(0, Remote{RTP: old.addr()}) // and back
			k.callee = old
			k.chat(1)
		})
	}
}

func TestAJoinIsReplacedAndGrows(t *testing.T) {
	k := newTalk(t, running(t, Config{}), "127.0.0.2", "127.0.0.3")
	c, other := reserve(t, k.r, lo, 2), newPhone(t, "127.0.0.4")
	second := newPhone(t, "127.0.0.2")
	atOther, _ := ports(c, 0)
	atSecond, _ := ports(c, 1)
	c.Expect(0, Remote{RTP: other.addr()})
	c.Expect(1, Remote{RTP: second.addr()})
	k.r.Join(c, k.a)
	k.caller.send(k.atCaller, []byte("to the new one"))
	other.hears("to the new one", atOther)
	k.callee.send(k.atCallee, []byte("the old one is left out"))
	second.send(atSecond, []byte("so is a stream without a counterpart"))
	eventually(t, "two packets have no peer", func() bool { return k.r.Stats().NoPeer == 2 })

	if err := k.a.Grow(2); err != nil {
		t.Fatal(err)
	}
	video := newPhone(t, "127.0.0.2")
	k.a.Expect(1, Remote{RTP: video.addr()})
	atVideo, _ := ports(k.a, 1)
	video.send(atVideo, []byte("a second stream"))
	second.hears("a second stream", atSecond)
	if err := k.a.Grow(1); err != nil || k.a.Len() != 2 {
		t.Errorf("a side never shrinks: %v, %d streams", err, k.a.Len())
	}
	k.r.Join(k.a, k.b) // fewer streams over there
	video.send(atVideo, []byte("nowhere to go"))
	eventually(t, "the stream without a counterpart has no peer", func() bool { return k.r.Stats().NoPeer == 3 })
	k.chat(1)
}

func TestReleaseIsFinalAndIdempotent(t *testing.T) {
	first, last := span(t, 100)
	k := newTalk(t, running(t, Config{PortMin: first, PortMax: last}), "127.0.0.2", "127.0.0.3")
	k.chat(2 * laneAfter)
	before := k.a.Stats(nil)[0]
	k.a.Release()
	k.a.Release()
	k.caller.send(k.atCaller, []byte("after the end"))
	k.callee.send(k.atCallee, []byte("to nobody"))
	eventually(t, "the one is foreign now, the other has no peer", func() bool {
		s := k.r.Stats()
		return s.Foreign == 1 && s.NoPeer == 1
	})
	if s := k.r.Stats(); s.InUse != 1 || s.Resting != 1 || s.Free != 49 {
		t.Errorf("one pair rests, one is in use, got %+v", s)
	}
	if after := k.a.Stats(nil)[0]; after.Packets != before.Packets || after.Last != before.Last {
		t.Errorf("the counters of a released side stay: %+v became %+v", before, after)
	}
	k.a.Expect(0, Remote{RTP: k.caller.addr()})
	k.r.Join(k.a, k.b)
	if err := k.a.Grow(2); !errors.Is(err, ErrClosed) {
		t.Errorf("growing a released side gave %v, want ErrClosed", err)
	}
	k.caller.send(k.atCaller, []byte("still nobody"))
	eventually(t, "nothing brings a released side back", func() bool { return k.r.Stats().Foreign == 2 })
	pair := k.a.streams[0].pair
	eventually(t, "the loop closes the second sockets of a released pair", func() bool { return !pair.busy() })
}

// TestAnOldCallsPacketNeverReachesANewCall steps the loop by hand, so that it lags behind as on a bad day. Every pair rests and there are no
// others: the next call gets the very same ports at once, for the very same phones.
func TestAnOldCallsPacketNeverReachesANewCall(t *testing.T) {
	for _, lane := range []bool{false, true} {
		t.Run(fmt.Sprintf("lane=%v", lane), func(t *testing.T) {
			r, l := stepped(t, 4, 1)
			k := newTalk(t, r, "127.0.0.2", "127.0.0.3")
			port := &k.a.streams[0].pair.ports[rtp]
			if lane {
				k.callee.send(k.atCallee, []byte("hello"))
				passes(t, l, "hello has crossed", func() bool { return r.Stats().Packets == 1 })
				k.caller.hears("hello", k.atCaller)
			}
			k.caller.send(k.atCaller, []byte("of the old call"))
			eventually(t, "it waits in the socket", func() bool { return waits(port.fd) || lane && waits(port.lane.fd) })
			k.a.Release()
			k.b.Release()
			if lane {
				if _, err := r.Reserve(lo, 2); !errors.Is(err, ErrNoPorts) {
					t.Fatalf("a pair whose second socket is still open was given out: %v", err)
				}
				passes(t, l, "the loop closes it, with what waited in it", func() bool { return !port.pair.busy() })
			}
			a, b := reserve(t, r, lo, 1), reserve(t, r, lo, 1)
			for _, s := range []*Side{a, b} {
				if at, _ := ports(s, 0); at == k.atCaller {
					s.Expect(0, Remote{RTP: k.caller.addr()})
				} else {
					s.Expect(0, Remote{RTP: k.callee.addr()})
				}
			}
			r.Join(a, b)
			crossed := r.Stats().Packets
			k.caller.send(k.atCaller, []byte("of the new call"))
			passes(t, l, "the new call's packet has crossed", func() bool { return r.Stats().Packets == crossed+1 })
			k.callee.hears("of the new call", k.atCallee)
		})
	}
}

func TestSetupAndPacketsDoNotDisturbEachOther(t *testing.T) {
	r := running(t, Config{Addresses: loopbacks(), laneAfter: 2})
	callees := []string{"127.0.0.3", "127.0.0.4"}
	if hasIPv6() {
		callees[1] = "::1"
	}
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			for i := range 30 {
				k := newTalk(t, r, "127.0.0.2", callees[(w+i)%2])
				for range 5 {
					k.caller.send(k.atCaller, []byte("hello"))
					k.callee.send(k.atCallee, []byte("hello"))
				}
				if got, _ := k.callee.receive(); string(got) != "hello" {
					t.Errorf("a caller heard %q", got)
				}
				k.a.Stats(nil)
				k.b.Expect(0, Remote{RTP: k.callee.addr(), Symmetric: true})
				r.Part(k.b)
				k.a.Release()
				k.b.Release()
				for _, p := range []phone{k.caller, k.callee, k.caller2, k.callee2} {
					p.Close()
				}
			}
		})
	}
	work.Wait()
	if s := r.Stats(); s.InUse != 0 {
		t.Errorf("no port leaks, got %+v", s)
	}
}

func TestAPacketCostsNoMemory(t *testing.T) {
	r, l := stepped(t, 100, 0)
	k := newTalk(t, r, "127.0.0.2", "127.0.0.3")
	packet, buf := make([]byte, 172), make([]byte, 2048)
	packet[0] = 0x80
	allocs := testing.AllocsPerRun(500, func() {
		if _, err := k.caller.WriteToUDPAddrPort(packet, k.atCaller); err != nil {
			t.Fatal(err)
		}
		if err := l.pass(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := k.callee.ReadFromUDPAddrPort(buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 0 {
		t.Errorf("a packet costs %v allocations, want none", allocs)
	}
	perStream := unsafe.Sizeof(stream{}) + unsafe.Sizeof(pair{}) + 2*unsafe.Sizeof(peer{}) + unsafe.Sizeof(Side{})
	if perStream > 2048 {
		t.Errorf("a stream costs %d bytes of our memory, want at most 2 KB", perStream)
	}
}

func TestOpenRefusesWhatCannotServe(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
	}{
		{"no address", Config{}},
		{"a wildcard cannot stand in a description", Config{Addresses: []netip.Addr{netip.IPv4Unspecified()}}},
		{"multicast", Config{Addresses: []netip.Addr{netip.MustParseAddr("224.0.0.1")}}},
		{"a range without a pair", Config{Addresses: []netip.Addr{lo}, PortMin: 42001, PortMax: 42002}},
		{"an empty range", Config{Addresses: []netip.Addr{lo}, PortMin: 42010, PortMax: 42000}},
		{"an address of another machine", Config{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.77")}, PortMin: 42000, PortMax: 42099}},
	} {
		if r, err := Open(c.cfg); err == nil {
			r.Close()
			t.Errorf("%s was accepted", c.name)
		}
	}
}

func TestAddressOfAFamily(t *testing.T) {
	if hasIPv6() {
		r := running(t, Config{Addresses: []netip.Addr{lo6, lo}, Spare: 1})
		if a, ok := r.Address(false); !ok || a != lo {
			t.Errorf("the IPv4 address is %v, want %v", a, lo)
		}
		if a, ok := r.Address(true); !ok || a != lo6 {
			t.Errorf("the IPv6 address is %v, want %v", a, lo6)
		}
	}
	first, last := span(t, 100)
	four := running(t, Config{PortMin: first, PortMax: last})
	if _, ok := four.Address(true); ok {
		t.Error("there is no IPv6 address here")
	}
	if n := reserve(t, four, lo, 5000).Len(); n != MaxStreams {
		t.Errorf("a description with 5000 streams took %d port pairs, want %d and no more", n, MaxStreams)
	}
	if _, err := four.Reserve(lo6, 1); err == nil || errors.Is(err, ErrNoPorts) {
		t.Errorf("an address that is none of ours gave %v", err)
	}
	mapped := reserve(t, four, netip.MustParseAddr("::ffff:127.0.0.1"), 1)
	if mapped.Addr() != lo {
		t.Errorf("an IPv4 address in IPv6 clothes is %v, want %v", mapped.Addr(), lo)
	}
}

// TestPortsAreNeverGivenTwice does random things to the pool and counts.
func TestPortsAreNeverGivenTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, err := newRelay(Config{Addresses: []netip.Addr{lo, lo6}, PortMin: 100, PortMax: 119, Network: &memory{}, Random: func(n int) int {
			return rapid.IntRange(0, n-1).Draw(t, "pick")
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var held []*Side
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "act") {
			case 0, 1:
				addr := []netip.Addr{lo, lo6}[rapid.IntRange(0, 1).Draw(t, "family")]
				if s, err := r.Reserve(addr, rapid.IntRange(0, 4).Draw(t, "streams")); err == nil {
					held = append(held, s)
				} else if !errors.Is(err, ErrNoPorts) {
					t.Fatal(err)
				}
			case 2:
				if len(held) > 0 {
					i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
					held[i].Release()
					held = append(held[:i], held[i+1:]...)
				}
			case 3:
				if len(held) > 1 {
					r.Join(held[0], held[rapid.IntRange(0, len(held)-1).Draw(t, "which")])
				}
			}
			owner := map[netip.AddrPort]bool{}
			for _, s := range held {
				for i := range s.Len() {
					at, _ := ports(s, i)
					if owner[at] {
						t.Fatalf("%v serves two calls", at)
					}
					owner[at] = true
				}
			}
			if s := r.Stats(); s.InUse != len(owner) || s.InUse+s.Free != 20 {
				t.Fatalf("%d pairs are held and 20 exist, got %+v", len(owner), s)
			}
		}
	})
}
