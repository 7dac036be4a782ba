package wire

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder is a Sink that keeps what it hears.
type recorder struct {
	packets chan Packet
	icmp    chan ICMP
	ends    chan ended
}

type ended struct {
	flow Flow
	err  error
}

func newRecorder() *recorder {
	return &recorder{packets: make(chan Packet, 20000), icmp: make(chan ICMP, 1000), ends: make(chan ended, 1000)}
}

func (r *recorder) Packets(batch []Packet) {
	for _, p := range batch {
		r.packets <- p
	}
}

func (r *recorder) ICMP(i ICMP) { r.icmp <- i }

func (r *recorder) Closed(f Flow, err error) { r.ends <- ended{f, err} }

const patience = time.Minute // how long a test waits for what must come: a machine that is overloaded is late

func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// node is a running stack and what it heard.
type node struct {
	*Stack
	*recorder
	t    *testing.T
	stop func()
}

func start(t *testing.T, cfg Config) *node {
	t.Helper()
	r := newRecorder()
	s, err := Open(cfg, r)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return &node{s, r, t, stop}
}

func udpOn(addr string) Listen { return Listen{Proto: UDP, Addr: netip.MustParseAddrPort(addr)} }

func tcpOn(addr string) Listen { return Listen{Proto: TCP, Addr: netip.MustParseAddrPort(addr)} }

// at gives the node's first socket of that transport.
func (n *node) at(p Proto) netip.AddrPort {
	n.t.Helper()
	for _, l := range n.Listeners() {
		if l.Proto == p {
			return l.Addr
		}
	}
	n.t.Fatalf("no %s socket", p)
	panic("unreachable")
}

// to is the flow to a UDP peer.
func (n *node) to(remote netip.AddrPort) Flow {
	n.t.Helper()
	f, ok := n.UDPFlow(remote)
	if !ok {
		n.t.Fatalf("no way to %s", remote)
	}
	return f
}

// connect waits for Connect.
func (n *node) connect(remote netip.AddrPort) Flow {
	n.t.Helper()
	got := make(chan Flow, 1)
	n.Connect(TCP, netip.Addr{}, remote, patience, func(f Flow, err error) {
		if err != nil {
			n.t.Errorf("connect: %v", err)
		}
		got <- f
	})
	return await(n.t, got, "a connection to "+remote.String())
}

// options is the n-th small request.
func options(n int) string {
	return crlfText(fmt.Sprintf(`
OPTIONS sip:127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%d
From: <sip:a@127.0.0.1>;tag=1
To: <sip:127.0.0.1>
Call-ID: %d@test
CSeq: %d OPTIONS
Content-Length: 0

`, n, n, n))
}

// plain is a peer without a stack of its own.
func plain(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// deadPort is a port that nobody listens on, and that nobody else gets until the test ends: the socket that has it is connected, and hears only its peer.
func deadPort(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	at := netip.MustParseAddrPort(addr)
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(at), net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), 9)))
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return addrPort(c.LocalAddr())
}

// freePort is a port that is free at all of these addresses, for UDP and for TCP.
func freePort(t *testing.T, addrs ...string) uint16 {
	t.Helper()
	for range 100 {
		port := uint16(0)
		for _, a := range addrs {
			at := netip.AddrPortFrom(netip.MustParseAddr(a), port)
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			if err != nil {
				port = 0
				break
			}
			defer c.Close() // when it is known
			at = addrPort(c.LocalAddr())
			ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
			if err != nil {
				port = 0
				break
			}
			defer ln.Close()
			port = at.Port()
		}
		if port != 0 {
			return port
		}
	}
	t.Fatalf("no port is free at %v", addrs)
	return 0
}

// hasIPv6 skips where the machine has no ::1.
func hasIPv6(t *testing.T) {
	t.Helper()
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6 loopback: %v", err)
	}
	_ = c.Close()
}

func branchOf(p Packet) string {
	peeked, _ := Peek(p.Data)
	return strings.TrimPrefix(string(peeked.Branch), "z9hG4bK")
}

func splitWords(s string) []string { return strings.Fields(s) }
