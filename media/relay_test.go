package media

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

var lo = netip.MustParseAddr("127.0.0.1")

// running starts a relay on the kernel's loopback and ends it with the test.
func running(t testing.TB, cfg Config) *Relay {
	t.Helper()
	if cfg.Addresses == nil {
		cfg.Addresses = []netip.Addr{lo}
	}
	if cfg.PortMin == 0 {
		cfg.PortMin, cfg.PortMax = 42000, 42999
	}
	r, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the relay ended with %v", err)
		}
	})
	return r
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

func (p phone) receive() ([]byte, netip.AddrPort) {
	p.t.Helper()
	buf := make([]byte, maxDatagram)
	if err := p.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	n, from, err := p.ReadFromUDPAddrPort(buf)
	if err != nil {
		p.t.Fatalf("no packet came: %v", err)
	}
	return buf[:n], from
}

func TestPacketsCrossUnchanged(t *testing.T) {
	r := running(t, Config{})
	a, _ := r.Reserve(lo, 1)
	b, _ := r.Reserve(lo, 1)
	pa, pb := newPhone(t, "127.0.0.2"), newPhone(t, "127.0.0.3")
	a.Expect(0, Remote{RTP: pa.addr()})
	b.Expect(0, Remote{RTP: pb.addr()})
	r.Join(a, b)
	n, _ := a.Local(0)
	m, _ := b.Local(0)
	pa.send(netip.AddrPortFrom(lo, n), []byte("hello"))
	got, from := pb.receive()
	if !bytes.Equal(got, []byte("hello")) || from.Port() != m {
		t.Fatal(got, from)
	}
	pb.send(netip.AddrPortFrom(lo, m), []byte("yes"))
	got, from = pa.receive()
	if !bytes.Equal(got, []byte("yes")) || from.Port() != n {
		t.Fatal(got, from)
	}
}
