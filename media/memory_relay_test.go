package media

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// inMemory runs a relay and two far ends on a network in memory, on fake time.
func inMemory(t *testing.T, cfg Config, f func(t *testing.T, r *Relay, net *memory)) {
	synctest.Test(t, func(t *testing.T) {
		net := &memory{}
		cfg.Addresses, cfg.Network = []netip.Addr{lo}, net
		r, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }() // ended below
		f(t, r, net)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the relay ended with %v", err)
		}
		if _, err := r.Reserve(lo, 1); !errors.Is(err, ErrClosed) {
			t.Errorf("a relay that has ended gave ports: %v", err)
		}
		r.Close()
		for addr := range net.conns {
			if addr.Addr() == lo {
				t.Errorf("%v is still bound", addr)
			}
		}
	})
}

func far(t *testing.T, m *memory, addr string) *memoryConn {
	c, err := m.ListenPacket(netip.MustParseAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	return c.(*memoryConn)
}

func TestASourceMayMoveWithinItsNetworksAfterSilence(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
		a, b := reserve(t, r, lo, 1), reserve(t, r, lo, 1)
		caller, pbx := far(t, m, "10.0.0.1:4000"), far(t, m, "10.9.0.1:5000")
		spare, again, stranger := far(t, m, "10.9.0.2:6000"), far(t, m, "10.9.0.1:5002"), far(t, m, "10.8.0.1:5000")
		to := Remote{RTP: pbx.addr, From: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}}
		a.Expect(0, Remote{RTP: caller.addr})
		b.Expect(0, to)
		r.Join(a, b)
		port, _ := b.Local(0)
		back, _ := a.Local(0)
		heard := func(want, why string) {
			t.Helper()
			synctest.Wait()
			if got := string(caller.got()); got != want {
				t.Errorf("%q was heard, want %q: %s", got, want, why)
			}
		}
		spare.send(port, "at once")
		heard("", "an answer is new, its own source gets 200 ms")
		pbx.send(port, "hello")
		heard("hello", "the negotiated source")
		time.Sleep(relockAfter - time.Millisecond)
		spare.send(port, "too early")
		heard("", "less than 200 ms of silence")
		time.Sleep(time.Millisecond)
		stranger.send(port, "inject")
		heard("", "a network that was not named")
		spare.send(port, "moved")
		heard("moved", "200 ms of silence, a named network")
		pbx.send(port, "too late")
		heard("", "the source is locked to where it moved")
		caller.send(back, "reply")
		synctest.Wait()
		if got := string(spare.got()); got != "reply" {
			t.Errorf("the spare PBX heard %q, want the reply: packets follow the source", got)
		}
		b.Expect(0, to) // a session refresh with the old words
		spare.send(port, "still here")
		heard("still here", "the same words change nothing")
		time.Sleep(relockAfter)
		again.send(port, "restarted")
		heard("restarted", "the first host may come back, on another port even")
		if s := b.Stats(nil)[0]; s.Foreign != 4 || s.Packets != 4 || s.Source != again.addr {
			t.Errorf("four foreign packets, four good ones, now from %v; got %d, %d, %v", again.addr, s.Foreign, s.Packets, s.Source)
		}
	})
}

// TestAFarEndThatMissedItsByeIsNotHeardInAnotherCall: a night in memory found a room whose BYE was lost. It went on sending, its old port came to serve
// another call with the same room, and two callers heard each other's call-taker.
func TestAFarEndThatMissedItsByeIsNotHeardInAnotherCall(t *testing.T) {
	packet := func(ssrc byte, seq byte) string {
		return string([]byte{0x80, 8, 0, seq, 0, 0, 0, 0, 0, 0, 0, ssrc, 'x'})
	}
	report := func(ssrc byte) string { return string([]byte{0x80, 200, 0, 2, 0, 0, 0, ssrc, 0, 0, 0, 0}) }
	moves := map[string]Remote{
		"symmetric":  {Symmetric: true},
		"media_from": {From: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}},
	}
	for name, to := range moves {
		t.Run(name, func(t *testing.T) {
			inMemory(t, Config{PortMin: 100, PortMax: 103, Spare: 1}, func(t *testing.T, r *Relay, m *memory) {
				caller, old, now := far(t, m, "10.0.0.1:4000"), far(t, m, "10.9.0.1:5000"), far(t, m, "10.9.0.1:5002")
				oldRTCP := far(t, m, "10.9.0.1:5001")
				talk := func(room *memoryConn) (b *Side, port, control uint16) {
					a, b := reserve(t, r, lo, 1), reserve(t, r, lo, 1)
					a.Expect(0, Remote{RTP: caller.addr})
					to.RTP, to.RTCP = room.addr, netip.AddrPortFrom(room.addr.Addr(), room.addr.Port()+1)
					b.Expect(0, to)
					r.Join(a, b)
					t.Cleanup(a.Release)
					port, control = b.Local(0)
					return b, port, control
				}
				b, port, control := talk(old)
				for seq := range byte(3) {
					old.send(port, packet(1, seq))
				}
				oldRTCP.send(control, report(1))
				synctest.Wait()
				for i := range 3 {
					if got := caller.got(); len(got) == 0 {
						t.Fatalf("the first call heard %d packets, want 3", i)
					}
				}
				b.mate.Release()
				b.Release()
				time.Sleep(Quarantine)
				next, port2, control2 := talk(now)
				for port2 != port { // two pairs, in either order
					next.mate.Release()
					next.Release()
					time.Sleep(Quarantine)
					next, port2, control2 = talk(now)
				}
				time.Sleep(relockAfter)
				old.send(port2, packet(1, 3)) // it has not heard that its call is over
				oldRTCP.send(control2, report(1))
				synctest.Wait()
				if got := caller.got(); len(got) > 0 {
					t.Errorf("the next call heard %q of the call before", got)
				}
				now.send(port2, packet(2, 0))
				synctest.Wait()
				if got := caller.got(); string(got) != packet(2, 0) {
					t.Errorf("the next call heard %q, want its own room", got)
				}
				if s := next.Stats(nil)[0]; s.Foreign != 2 {
					t.Errorf("%d packets were foreign, want the two of the call before", s.Foreign)
				}
			})
		})
	}
}

// TestWhoSendsToAFreePortIsNotHeardInTheNextCall: a room answers a call that is over, and our BYE does not reach it.
func TestWhoSendsToAFreePortIsNotHeardInTheNextCall(t *testing.T) {
	inMemory(t, Config{PortMin: 100, PortMax: 103, Spare: 1}, func(t *testing.T, r *Relay, m *memory) {
		caller, late, room := far(t, m, "10.0.0.1:4000"), far(t, m, "10.9.0.1:5000"), far(t, m, "10.9.0.1:5002")
		packet := func(ssrc, seq byte) string {
			return string([]byte{0x80, 8, 0, seq, 0, 0, 0, 0, 0, 0, 0, ssrc, 'x'})
		}
		before := reserve(t, r, lo, 2)
		ports := make([]uint16, 2)
		for i := range ports {
			ports[i], _ = before.Local(i)
		}
		before.Release()
		for _, port := range ports {
			late.send(port, packet(1, 0))
		}
		synctest.Wait()
		time.Sleep(Quarantine)
		a, b := reserve(t, r, lo, 1), reserve(t, r, lo, 1)
		a.Expect(0, Remote{RTP: caller.addr})
		b.Expect(0, Remote{RTP: room.addr, Symmetric: true})
		r.Join(a, b)
		port, _ := b.Local(0)
		late.send(port, packet(1, 1))
		synctest.Wait()
		if got := caller.got(); len(got) > 0 {
			t.Errorf("the caller heard %q of somebody who sends since before the call", got)
		}
		late.send(port, packet(2, 0)) // the same host and port, but another source: a far end behind a NAT
		synctest.Wait()
		if got := caller.got(); string(got) != packet(2, 0) {
			t.Errorf("the caller heard %q, want the first source of the host that is new", got)
		}
	})
}

func TestReleasedPortsRest(t *testing.T) {
	inMemory(t, Config{PortMin: 100, PortMax: 105, Spare: 1}, func(t *testing.T, r *Relay, _ *memory) {
		first := reserve(t, r, lo, 1)
		port, _ := first.Local(0)
		first.Release()
		time.Sleep(Quarantine - time.Millisecond)
		others := reserve(t, r, lo, 2)
		for i := range 2 {
			if got, _ := others.Local(i); got == port {
				t.Errorf("port %d serves a new call after less than %v while others are free", got, Quarantine)
			}
		}
		if s := r.Stats(); s.Resting != 1 || s.Free != 1 {
			t.Errorf("one pair rests, got %+v", s)
		}
		time.Sleep(time.Millisecond)
		if got, _ := reserve(t, r, lo, 1).Local(0); got != port {
			t.Errorf("after its rest port %d is given out again, got %d", port, got)
		}
		if s := r.Stats(); s.Resting != 0 || s.InUse != 3 {
			t.Errorf("nothing rests any more, got %+v", s)
		}
	})
}

func TestSilenceIsSeenPerDirection(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
		a, b := reserve(t, r, lo, 1), reserve(t, r, lo, 1)
		caller, pbx := far(t, m, "10.0.0.1:4000"), far(t, m, "10.9.0.1:5000")
		reports := far(t, m, "10.9.0.1:5001")
		a.Expect(0, Remote{RTP: caller.addr})
		b.Expect(0, Remote{RTP: pbx.addr, RTCP: reports.addr})
		r.Join(a, b)
		toA, _ := a.Local(0)
		toB, toB2 := b.Local(0)
		if s := a.Stats(nil)[0]; !s.First.IsZero() || !s.Last.IsZero() || !s.LastICMP.IsZero() {
			t.Errorf("nothing was seen yet, got %+v", s)
		}
		begin := time.Now()
		for i := range 100 { // the PBX stops sending RTP after a second, and RTCP after 1.5 s
			caller.send(toA, "c")
			if i < 50 {
				pbx.send(toB, "p")
			}
			if i%25 == 0 {
				reports.send(toB2, "r")
			}
			synctest.Wait()
			time.Sleep(20 * time.Millisecond)
		}
		s, c := b.Stats(nil)[0], a.Stats(nil)[0]
		for _, x := range []struct {
			what string
			got  time.Time
			want time.Duration
		}{
			{"the first packet of the PBX", s.First, 0},
			{"its last RTP", s.LastRTP, 980 * time.Millisecond},
			{"its last packet of any kind", s.Last, 1500 * time.Millisecond},
			{"the caller's last packet", c.Last, 1980 * time.Millisecond},
		} {
			if d := x.got.Sub(begin).Truncate(time.Microsecond); d != x.want {
				t.Errorf("%s came after %v, want %v", x.what, d, x.want)
			}
		}
		if s.Packets != 50 || s.RTCP != 4 || c.Packets != 100 {
			t.Errorf("50 RTP and 4 RTCP from the PBX, 100 from the caller; got %d, %d, %d", s.Packets, s.RTCP, c.Packets)
		}
	})
}

func TestICMPOnANetworkIsAWitnessToo(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
		a, b := reserve(t, r, lo, 1), reserve(t, r, lo, 1)
		caller, pbx := far(t, m, "10.0.0.1:4000"), far(t, m, "10.9.0.1:5000")
		a.Expect(0, Remote{RTP: caller.addr})
		b.Expect(0, Remote{RTP: pbx.addr})
		r.Join(a, b)
		toA, _ := a.Local(0)
		toB, _ := b.Local(0)
		pbx.Close()
		for range 3 {
			caller.send(toA, "hello?")
			synctest.Wait()
		}
		if s := b.Stats(nil)[0]; s.ICMP != 3 || !errors.Is(s.ICMPErr, syscall.ECONNREFUSED) || s.LastICMP.IsZero() {
			t.Errorf("three ICMP errors are three witnesses, got %d, %v at %v", s.ICMP, s.ICMPErr, s.LastICMP)
		}
		pbx = far(t, m, "10.9.0.1:5000")
		pbx.send(toB, "I am back")
		synctest.Wait()
		if got := string(caller.got()); got != "I am back" {
			t.Errorf("after ICMP the port still works, heard %q", got)
		}
	})
}
