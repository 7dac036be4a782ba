package media

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// memory is a network of nothing but tables: a datagram arrives at once, or the sender's next read says ECONNREFUSED.
type memory struct {
	mu    sync.Mutex
	conns map[netip.AddrPort]*memoryConn
}

type memoryConn struct {
	net  *memory
	addr netip.AddrPort
	in   chan memoryPacket
	done chan struct{}
}

type memoryPacket struct {
	from netip.AddrPort
	data []byte
	err  error
}

func (m *memory) ListenPacket(addr netip.AddrPort) (net.PacketConn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns[addr] != nil {
		return nil, syscall.EADDRINUSE
	}
	c := &memoryConn{net: m, addr: addr, in: make(chan memoryPacket, 1000), done: make(chan struct{})}
	if m.conns == nil {
		m.conns = make(map[netip.AddrPort]*memoryConn)
	}
	m.conns[addr] = c
	return c, nil
}

func (c *memoryConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.in:
		return copy(b, p.data), net.UDPAddrFromAddrPort(p.from), p.err
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

func (c *memoryConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if far := c.net.conns[source(to)]; far != nil {
		far.in <- memoryPacket{from: c.addr, data: append([]byte(nil), b...)}
	} else {
		c.in <- memoryPacket{err: syscall.ECONNREFUSED}
	}
	return len(b), nil
}

func (c *memoryConn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.net.conns[c.addr] == c {
		delete(c.net.conns, c.addr)
		close(c.done)
	}
	return nil
}

func (c *memoryConn) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(c.addr) }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }

// send puts a packet on its way; got says what has arrived, nil for nothing.
func (c *memoryConn) send(to uint16, data string) {
	if _, err := c.WriteTo([]byte(data), net.UDPAddrFromAddrPort(netip.AddrPortFrom(lo, to))); err != nil {
		panic(err)
	}
}

func (c *memoryConn) got() []byte {
	select {
	case p := <-c.in:
		return p.data
	default:
		return nil
	}
}

// sockets is a Network of real sockets: the goroutine engine over loopback.
type sockets struct{}

func (sockets) ListenPacket(addr netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
}
