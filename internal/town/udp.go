package town

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"nines/sip/wire"
)

// arrival is what waits in a UDP socket: a datagram, or the ICMP answer to one that was sent.
type arrival struct {
	data []byte
	from netip.AddrPort
	icmp syscall.Errno // not 0: data is the quote, from is where the datagram was going
}

// backlog is how many datagrams wait in a socket before new ones are dropped, as in a kernel's receive buffer.
const backlog = 4096

// packetConn is a UDP socket in memory.
type packetConn struct {
	host *Host
	addr netip.AddrPort

	mu      sync.Mutex
	waiting []arrival
	head    int
	shut    bool
	ready   chan struct{} // holds one token while something waits
	closed  chan struct{}
	read    deadline
	write   deadline
}

func newPacketConn(h *Host, addr netip.AddrPort) *packetConn {
	return &packetConn{host: h, addr: addr, ready: make(chan struct{}, 1), closed: make(chan struct{})}
}

// put hands an arrival to the socket.
func (c *packetConn) put(a arrival) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut || len(c.waiting)-c.head >= backlog {
		return
	}
	c.waiting = append(c.waiting, a)
	c.wake()
}

func (c *packetConn) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// take gets the oldest arrival.
func (c *packetConn) take() (arrival, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.head == len(c.waiting) {
		return arrival{}, false
	}
	a := c.waiting[c.head]
	c.waiting[c.head] = arrival{}
	c.head++
	if c.head == len(c.waiting) {
		c.waiting, c.head = c.waiting[:0], 0
	} else {
		c.wake() // another reader may sleep
	}
	return a, true
}

// next waits for an arrival.
func (c *packetConn) next() (arrival, error) {
	for {
		select {
		case <-c.closed:
			return arrival{}, c.fail("read", net.ErrClosed)
		default:
		}
		if c.read.over() {
			return arrival{}, c.fail("read", os.ErrDeadlineExceeded)
		}
		if a, ok := c.take(); ok {
			return a, nil
		}
		select {
		case <-c.ready:
		case <-c.closed:
		case <-c.read.done():
		}
	}
}

func (c *packetConn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Err: err}
}

// ReadFromUDPAddrPort is ReadFrom without garbage.
func (c *packetConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	a, err := c.next()
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	if a.icmp != 0 {
		return 0, a.from, &wire.ICMPError{Remote: a.from, Quote: a.data, Err: a.icmp}
	}
	return copy(b, a.data), a.from, nil
}

// ReadFrom waits for a datagram. An ICMP error comes as a [*wire.ICMPError].
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteToUDPAddrPort is WriteTo without garbage.
func (c *packetConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, c.fail("write", net.ErrClosed)
	default:
	}
	if c.write.over() {
		return 0, c.fail("write", os.ErrDeadlineExceeded)
	}
	if len(b) > 65507 {
		return 0, c.fail("write", syscall.EMSGSIZE)
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	c.host.net.send(c.host, c.host.source(c.addr, to.Addr()), to, b)
	return len(b), nil
}

// WriteTo sends a datagram. It never waits.
func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, err := addrPort(to)
	if err != nil {
		return 0, c.fail("write", err)
	}
	return c.WriteToUDPAddrPort(b, addr)
}

// addrPort reads the address of a net.Addr.
func addrPort(a net.Addr) (netip.AddrPort, error) {
	if u, ok := a.(*net.UDPAddr); ok {
		return u.AddrPort(), nil
	}
	return netip.ParseAddrPort(a.String())
}

// Close frees the port.
func (c *packetConn) Close() error {
	c.mu.Lock()
	if c.shut {
		c.mu.Unlock()
		return c.fail("close", net.ErrClosed)
	}
	c.shut = true
	c.waiting, c.head = nil, 0
	close(c.closed)
	c.mu.Unlock()

	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(c.host.packets, c.addr)
	return nil
}

func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.addr) }

func (c *packetConn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

func (c *packetConn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}
