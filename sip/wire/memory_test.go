package wire

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// memory is a network of pipes: nothing is buffered, so a peer that does not read is stuck at once.
type memory struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*pipeListener
	packets   map[netip.AddrPort]*packetPipe
	blackHole netip.Addr // dials to it hang
	dials     int
	hanging   atomic.Int32
	port      uint16
}

func newMemory() *memory {
	return &memory{listeners: make(map[netip.AddrPort]*pipeListener), packets: make(map[netip.AddrPort]*packetPipe), port: 40000}
}

func (m *memory) Addrs() ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")}, nil
}

type pipeListener struct {
	addr  netip.AddrPort
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (m *memory) Listen(addr netip.AddrPort) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &pipeListener{addr: addr, conns: make(chan net.Conn, 100), done: make(chan struct{})}
	m.listeners[addr] = l
	return l, nil
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// pipeConn is a pipe's end with addresses.
type pipeConn struct {
	net.Conn
	local, remote netip.AddrPort
}

func (c pipeConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c pipeConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// SetReadDeadline of a pipe fails once the far end has closed. On a real connection only the read tells of that, as the end of the stream.
func (c pipeConn) SetReadDeadline(t time.Time) error {
	_ = c.Conn.SetReadDeadline(t)
	return nil
}

func (m *memory) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	m.mu.Lock()
	m.dials++
	m.port++
	if !local.IsValid() {
		local = netip.MustParseAddr("10.0.0.1")
	}
	from := netip.AddrPortFrom(local, m.port)
	l := m.listeners[remote]
	m.mu.Unlock()
	if remote.Addr() == m.blackHole {
		m.hanging.Add(1)
		<-ctx.Done()
		m.hanging.Add(-1)
		return nil, ctx.Err()
	}
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	ours, theirs := net.Pipe()
	l.conns <- pipeConn{theirs, remote, from}
	return pipeConn{ours, from, remote}, nil
}

// dial is a peer without a stack.
func (m *memory) dial(from string, to netip.AddrPort) net.Conn {
	c, err := m.Dial(context.Background(), netip.MustParseAddr(from), to)
	if err != nil {
		panic(err)
	}
	return c
}

// packetPipe is a UDP socket: a datagram to nobody comes back as an ICMP error, by the next read or the next write.
type packetPipe struct {
	net.PacketConn
	m    *memory
	addr netip.AddrPort
	in   chan any // datagram or error
	done chan struct{}
	once sync.Once

	pending error // the next write fails with it
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

func (m *memory) ListenPacket(addr netip.AddrPort) (net.PacketConn, error) {
	p := &packetPipe{m: m, addr: addr, in: make(chan any, 1000), done: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.packets[addr] = p
	return p, nil
}

func (p *packetPipe) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.addr) }

func (p *packetPipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *packetPipe) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case got := <-p.in:
		if d, ok := got.(datagram); ok {
			return copy(b, d.data), net.UDPAddrFromAddrPort(d.from), nil
		}
		return 0, nil, got.(error)
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

func (p *packetPipe) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := p.pending; err != nil {
		p.pending = nil
		return 0, err
	}
	p.m.mu.Lock()
	peer := p.m.packets[addrPort(to)]
	p.m.mu.Unlock()
	if peer == nil {
		p.in <- error(&ICMPError{Remote: addrPort(to), Quote: b[:min(len(b), 100)], Err: syscall.ECONNREFUSED})
		return len(b), nil
	}
	peer.in <- datagram{p.addr, append([]byte(nil), b...)}
	return len(b), nil
}
