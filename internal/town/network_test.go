package town

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nines/sip/wire"
)

var (
	addrA = netip.MustParseAddr("10.0.0.1")
	addrB = netip.MustParseAddr("10.0.0.2")
	addr6 = netip.MustParseAddr("2001:db8::2")
)

// pair is two hosts with a UDP socket each.
type pair struct {
	net       *Network
	a, b      *Host
	left      net.PacketConn
	right     net.PacketConn
	leftAddr  net.Addr
	rightAddr net.Addr
}

func newPair(t *testing.T, seed uint64) *pair {
	t.Helper()
	n := NewNetwork(seed)
	p := &pair{net: n, a: n.Host("a", addrA), b: n.Host("b", addrB, addr6)}
	p.left, p.right = listenPacket(t, p.a, netip.AddrPortFrom(addrA, 5060)), listenPacket(t, p.b, netip.AddrPortFrom(addrB, 5060))
	p.leftAddr, p.rightAddr = p.left.LocalAddr(), p.right.LocalAddr()
	return p
}

func listenPacket(t *testing.T, h *Host, addr netip.AddrPort) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (p *pair) say(t *testing.T, text string) {
	t.Helper()
	if _, err := p.left.WriteTo([]byte(text), p.rightAddr); err != nil {
		t.Fatal(err)
	}
}

// hear reads until nothing has come for a second.
func hear(t *testing.T, c net.PacketConn) []string {
	t.Helper()
	var heard []string
	buf := make([]byte, 2048)
	for {
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, _, err := c.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return heard
		}
		var icmp *wire.ICMPError
		switch {
		case errors.As(err, &icmp):
			heard = append(heard, fmt.Sprintf("icmp %v %v %q", icmp.Remote, icmp.Err, icmp.Quote))
		case err != nil:
			t.Fatal(err)
		default:
			heard = append(heard, string(buf[:n]))
		}
	}
}

func TestDatagramTakesAsLongAsThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1)
		p.net.Everywhere(Path{Delay: 30 * time.Millisecond})
		sent := time.Now()
		p.say(t, "hello")
		buf := make([]byte, 100)
		n, from, err := p.right.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buf[:n]); got != "hello" {
			t.Errorf("got %q, want what was sent", got)
		}
		if from.String() != p.leftAddr.String() {
			t.Errorf("it came from %v, want the socket that sent it, %v", from, p.leftAddr)
		}
		if took := time.Since(sent).Truncate(time.Millisecond); took != 30*time.Millisecond {
			t.Errorf("it took %v, want the delay of the path", took)
		}
	})
}

func TestFaultsOfAPath(t *testing.T) {
	numbers := make([]string, 200)
	for i := range numbers {
		numbers[i] = fmt.Sprintf("%03d", i)
	}
	count := func(heard []string) map[string]int {
		m := make(map[string]int)
		for _, s := range heard {
			m[s]++
		}
		return m
	}
	tests := []struct {
		name string
		path Path
		want func(heard []string) string
	}{
		{"jitter alone keeps the order", Path{Delay: time.Millisecond, Jitter: 50 * time.Millisecond}, func(heard []string) string {
			return cmp.Diff(heard, numbers)
		}},
		{"loss takes about as many as it should", Path{Loss: 0.3}, func(heard []string) string {
			if n := len(heard); n < 110 || n > 170 || !slices.IsSorted(heard) {
				return fmt.Sprintf("%d of 200 came, sorted %v; want about 140, in order", n, slices.IsSorted(heard))
			}
			return ""
		}},
		{"duplicates come twice and nothing is missing", Path{Duplicate: 0.5}, func(heard []string) string {
			m := count(heard)
			if len(m) != 200 || len(heard) < 260 || len(heard) > 340 {
				return fmt.Sprintf("%d different of %d; want 200 of about 300", len(m), len(heard))
			}
			return ""
		}},
		{"reordering loses nothing", Path{Reorder: 0.2}, func(heard []string) string {
			if m := count(heard); len(m) != 200 || len(heard) != 200 || slices.IsSorted(heard) {
				return fmt.Sprintf("%d different of %d, sorted %v; want 200 of 200 out of order", len(m), len(heard), slices.IsSorted(heard))
			}
			return ""
		}},
		{"a cut path carries nothing", Path{Cut: true}, func(heard []string) string { return cmp.Diff(heard, []string(nil)) }},
		{"long datagrams vanish where fragments are lost", Path{MTU: 2}, func(heard []string) string { return cmp.Diff(heard, []string(nil)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, 7)
				p.net.Everywhere(tt.path)
				for _, s := range numbers {
					p.say(t, s)
					time.Sleep(time.Millisecond)
				}
				if diff := tt.want(hear(t, p.right)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestSameSeedSameNight(t *testing.T) {
	night := func(seed uint64) (heard []string) {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, seed)
			p.net.Everywhere(Path{Delay: 5 * time.Millisecond, Jitter: 9 * time.Millisecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1})
			for i := range 100 {
				p.say(t, fmt.Sprint(i))
				time.Sleep(3 * time.Millisecond)
			}
			heard = hear(t, p.right)
		})
		return heard
	}
	first, second, other := night(42), night(42), night(43)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the same seed gave another night:\n%s", diff)
	}
	if cmp.Equal(first, other) {
		t.Error("two seeds gave the same night")
	}
}

func TestHostsDieInTheirOwnWays(t *testing.T) {
	tests := []struct {
		name  string
		fault func(p *pair)
		want  []string // what the sender hears afterwards
	}{
		{"a black hole says nothing", func(p *pair) { p.b.Power(Dead) }, nil},
		{"for a machine that is off the router speaks", func(p *pair) { p.b.Power(Off) }, []string{`icmp 10.0.0.2:5060 no route to host "INVITE"`}},
		{"a closed port answers with ICMP", func(p *pair) { p.b.Kill() }, []string{`icmp 10.0.0.2:5060 connection refused "INVITE"`}},
		{"a cut path says nothing", func(p *pair) { p.net.Between(p.a, p.b, Path{Cut: true}) }, nil},
		{"an answer that cannot come back is not heard", func(p *pair) {
			p.b.Kill()
			p.net.OneWay(p.b, p.a, Path{Cut: true})
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, 1)
				p.net.Everywhere(Path{Delay: time.Millisecond})
				tt.fault(p)
				p.say(t, "INVITE")
				if diff := cmp.Diff(hear(t, p.left), tt.want); diff != "" {
					t.Errorf("the sender heard (-got +want):\n%s", diff)
				}
				if _, err := p.left.WriteTo([]byte("again"), p.rightAddr); err != nil {
					t.Errorf("the socket must stay usable, got %v", err)
				}
			})
		})
	}
}

func TestDeadHostComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1)
		p.b.Power(Dead)
		p.say(t, "lost")
		time.Sleep(time.Second)
		p.b.Power(On)
		p.say(t, "heard")
		if diff := cmp.Diff(hear(t, p.right), []string{"heard"}); diff != "" {
			t.Errorf("after power came back (-got +want):\n%s", diff)
		}
	})
}

func TestSocketsBindAsAKernelDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1)
		if _, err := p.a.ListenPacket(netip.AddrPortFrom(addrA, 5060)); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a port that is taken gave %v, want EADDRINUSE", err)
		}
		if _, err := p.a.ListenPacket(netip.AddrPortFrom(addrB, 5070)); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("somebody else's address gave %v, want EADDRNOTAVAIL", err)
		}
		wild := listenPacket(t, p.b, netip.MustParseAddrPort("[::]:7000"))
		from6 := p.net.Host("c", netip.MustParseAddr("2001:db8::3"))
		six := listenPacket(t, from6, netip.MustParseAddrPort("[2001:db8::3]:0"))
		for _, c := range []struct {
			from net.PacketConn
			to   netip.Addr
		}{{p.left, addrB}, {six, addr6}} {
			if _, err := c.from.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.to, 7000))); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 10)
			_, from, err := wild.ReadFrom(buf)
			if err != nil || from.String() != c.from.LocalAddr().String() {
				t.Fatalf("a wildcard socket heard %v from %v, want the sender %v", err, from, c.from.LocalAddr())
			}
			if _, err := wild.WriteTo([]byte("y"), from); err != nil {
				t.Fatal(err)
			}
			_, from, err = c.from.ReadFrom(buf)
			if want := netip.AddrPortFrom(c.to, 7000).String(); err != nil || from.String() != want {
				t.Errorf("the answer came from %v, want the address that was asked, %v", from, want)
			}
		}
	})
}

// stream is a TCP connection between two hosts.
func stream(t *testing.T, p *pair) (client, server net.Conn) {
	t.Helper()
	l, err := p.b.Listen(netip.AddrPortFrom(addrB, 5060))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err = p.a.Dial(t.Context(), netip.Addr{}, netip.AddrPortFrom(addrB, 5060))
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
	})
	return client, server
}

func TestStreamKeepsEveryByteInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 3)
		p.net.Everywhere(Path{Delay: 2 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.05, Reorder: 0.5, Duplicate: 0.5})
		client, server := stream(t, p)
		const total = 300_000
		go func() {
			var b []byte
			for i := range total / 4 {
				b = binary.BigEndian.AppendUint32(b, uint32(i))
			}
			for len(b) > 0 {
				n, err := client.Write(b[:min(len(b), 7001)])
				if err != nil {
					t.Error(err)
					break
				}
				b = b[n:]
			}
			_ = client.Close()
		}()
		got, err := io.ReadAll(server)
		if err != nil || len(got) != total {
			t.Fatalf("read %d bytes and %v, want %d and a clean end", len(got), err, total)
		}
		for i := range total / 4 {
			if v := binary.BigEndian.Uint32(got[4*i:]); v != uint32(i) {
				t.Fatalf("word %d is %d: the stream is out of order", i, v)
			}
		}
	})
}

func TestConnectionsFailAsTheyShould(t *testing.T) {
	dial := func(t *testing.T, p *pair) (time.Duration, error) {
		start := time.Now()
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		c, err := p.a.Dial(ctx, netip.Addr{}, netip.AddrPortFrom(addrB, 5060))
		if err == nil {
			_ = c.Close()
		}
		return time.Since(start), err
	}
	tests := []struct {
		name string
		prep func(p *pair)
		want error
		took time.Duration
	}{
		{"nobody listens: refused after one round trip", func(*pair) {}, syscall.ECONNREFUSED, 20 * time.Millisecond},
		{"the machine is off: the router says so", func(p *pair) { p.b.Power(Off) }, syscall.EHOSTUNREACH, 20 * time.Millisecond},
		{"a black hole keeps the dialler waiting", func(p *pair) { p.b.Power(Dead) }, context.DeadlineExceeded, 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, 1)
				p.net.Everywhere(Path{Delay: 10 * time.Millisecond})
				tt.prep(p)
				took, err := dial(t, p)
				if !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if took.Truncate(time.Millisecond) != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

func TestStreamBreaksAsItShould(t *testing.T) {
	read := func(c net.Conn) error {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := c.Read(make([]byte, 10))
		return err
	}
	tests := []struct {
		name  string
		fault func(p *pair, server net.Conn)
		want  error // what the client reads
	}{
		{"close is an end", func(_ *pair, s net.Conn) { _ = s.Close() }, io.EOF},
		{"reset is an error", func(_ *pair, s net.Conn) { s.(*conn).Reset() }, syscall.ECONNRESET},
		{"a killed process resets", func(p *pair, _ net.Conn) { p.b.Kill() }, syscall.ECONNRESET},
		{"a firewall that forgets resets both", func(p *pair, _ net.Conn) { p.net.Resets(p.a, p.b) }, syscall.ECONNRESET},
		{"a dead machine is only silent", func(p *pair, s net.Conn) {
			p.b.Power(Dead)
			_, _ = s.Write([]byte("x"))
		}, os.ErrDeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, 1)
				p.net.Everywhere(Path{Delay: time.Millisecond})
				client, server := stream(t, p)
				tt.fault(p, server)
				if err := read(client); !errors.Is(err, tt.want) {
					t.Errorf("the client read %v, want %v", err, tt.want)
				}
			})
		})
	}
}

func TestStreamOutlivesAShortCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1)
		p.net.Everywhere(Path{Delay: time.Millisecond})
		client, server := stream(t, p)
		p.net.Between(p.a, p.b, Path{Cut: true})
		if _, err := client.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		p.net.Usual(p.a, p.b)
		b := make([]byte, 10)
		n, err := server.Read(b)
		if err != nil || string(b[:n]) != "late" {
			t.Errorf("read %q and %v after the cut, want what was written during it", b[:n], err)
		}
	})
}

func TestStuckReaderStopsTheWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1)
		client, server := stream(t, p)
		_ = client.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := client.Write([]byte(strings.Repeat("x", 100_000)))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n != window {
			t.Errorf("wrote %d and got %v, want a full window of %d and a deadline", n, err, window)
		}
		_ = client.SetWriteDeadline(time.Time{})
		go func() { _, _ = io.Copy(io.Discard, server) }()
		if _, err := client.Write([]byte(strings.Repeat("x", 100_000))); err != nil {
			t.Errorf("once it is read, writing goes on; got %v", err)
		}
		_ = client.Close()
	})
}

func TestClosedSocketLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1)
		client, server := stream(t, p)
		done := make(chan error)
		go func() {
			_, _, err := p.right.ReadFrom(make([]byte, 10))
			done <- err
		}()
		synctest.Wait()
		_ = p.right.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a read on a socket that closes gave %v, want net.ErrClosed", err)
		}
		_ = client.Close()
		_ = server.Close()
		_ = p.left.Close()
		time.Sleep(time.Second)
		for _, h := range []*Host{p.a, p.b} {
			if packets, listeners, conns := h.Sockets(); packets+listeners+conns != 0 {
				t.Errorf("%s has %d sockets, %d listeners, %d connections left, want none", h.Name(), packets, listeners, conns)
			}
		}
	})
}
