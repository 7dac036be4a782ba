package town

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"nines/sip/wire"
)

// Host is a machine on a [Network]. It opens sockets as a kernel does.
type Host struct {
	net   *Network
	name  string
	id    int
	addrs []netip.Addr

	// Guarded by net.mu.
	power     Power
	packets   map[netip.AddrPort]*packetConn
	listeners map[netip.AddrPort]*listener
	conns     map[*conn]struct{}
	ports     [2]uint16 // the last ephemeral ports given away: UDP, TCP
}

var _ wire.Network = (*Host)(nil)

// Name is what the host is called in ladders.
func (h *Host) Name() string { return h.name }

// Addr is the host's first address.
func (h *Host) Addr() netip.Addr { return h.addrs[0] }

// Addrs lists the host's addresses.
func (h *Host) Addrs() ([]netip.Addr, error) { return slices.Clone(h.addrs), nil }

// Power switches the host on, off, or makes it a black hole. Its programs and sockets stay; see [Host.Kill] for those.
func (h *Host) Power(p Power) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.power = p
}

// Kill closes every socket of the host, as the kernel does when a process dies: datagrams to it get ICMP, TCP peers a reset.
func (h *Host) Kill() {
	h.net.mu.Lock()
	var (
		packets   = mapValues(h.packets)
		listeners = mapValues(h.listeners)
		conns     = make([]*conn, 0, len(h.conns))
	)
	for c := range h.conns {
		conns = append(conns, c)
	}
	h.net.mu.Unlock()
	for _, c := range packets {
		_ = c.Close()
	}
	for _, l := range listeners {
		_ = l.Close()
	}
	slices.SortFunc(conns, func(a, b *conn) int { return a.local.Compare(b.local) })
	for _, c := range conns {
		c.Reset()
	}
}

// Sockets counts what is open on the host: UDP sockets, listeners, connections. A test that leaks ports sees it here.
func (h *Host) Sockets() (packets, listeners, conns int) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return len(h.packets), len(h.listeners), len(h.conns)
}

// mapValues lists the values of a table of sockets in the order of their addresses, so that a run can be repeated.
func mapValues[V any](m map[netip.AddrPort]V) []V {
	keys := make([]netip.AddrPort, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, netip.AddrPort.Compare)
	values := make([]V, len(keys))
	for i, k := range keys {
		values[i] = m[k]
	}
	return values
}

// has says whether the host may bind to an address.
func (h *Host) has(a netip.Addr) bool {
	return a.IsUnspecified() || a.IsLoopback() || slices.Contains(h.addrs, a)
}

// bind chooses the port for a socket. The caller holds net.mu.
func (h *Host) bind(k kind, addr netip.AddrPort, taken func(netip.AddrPort) bool) (netip.AddrPort, error) {
	if !h.has(addr.Addr()) {
		return addr, syscall.EADDRNOTAVAIL
	}
	if addr.Port() != 0 {
		if taken(addr) {
			return addr, syscall.EADDRINUSE
		}
		return addr, nil
	}
	for range 28232 { // the kernel's ephemeral range: 32768–60999
		if h.ports[k]++; h.ports[k] < 32768 || h.ports[k] > 60999 {
			h.ports[k] = 32768
		}
		if a := netip.AddrPortFrom(addr.Addr(), h.ports[k]); !taken(a) {
			return a, nil
		}
	}
	return addr, syscall.EADDRINUSE
}

// ListenPacket opens a UDP socket. Its ReadFrom returns a [*wire.ICMPError] when a datagram was refused; the socket stays usable.
func (h *Host) ListenPacket(addr netip.AddrPort) (net.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	addr, err := h.bind(udp, addr, func(a netip.AddrPort) bool { return lookup(h.packets, a) != nil })
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(addr), Err: err}
	}
	c := newPacketConn(h, addr)
	h.packets[addr] = c
	return c, nil
}

// Listen opens a TCP listener.
func (h *Host) Listen(addr netip.AddrPort) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	addr, err := h.bind(tcp, addr, func(a netip.AddrPort) bool { return lookup(h.listeners, a) != nil })
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: err}
	}
	l := newListener(h, addr)
	h.listeners[addr] = l
	return l, nil
}

// Dial opens a TCP connection. local may be the zero Addr.
func (h *Host) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	c, err := h.net.dial(ctx, h, local, remote)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(remote), Err: err}
	}
	return c, nil
}

// packetAt finds the socket that gets a datagram. The caller holds net.mu.
func (h *Host) packetAt(addr netip.AddrPort) *packetConn { return lookup(h.packets, addr) }

// lookup finds the socket for an address: the exact one, else a wildcard. A wildcard of IPv6 takes IPv4 too.
func lookup[V any](m map[netip.AddrPort]*V, addr netip.AddrPort) *V {
	if v := m[addr]; v != nil {
		return v
	}
	if addr.Addr().Is4() {
		if v := m[netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())]; v != nil {
			return v
		}
	}
	return m[netip.AddrPortFrom(netip.IPv6Unspecified(), addr.Port())]
}

// source gives the address that a packet from a socket carries.
func (h *Host) source(bound netip.AddrPort, to netip.Addr) netip.AddrPort {
	if !bound.Addr().IsUnspecified() {
		return bound
	}
	if to.IsLoopback() {
		return netip.AddrPortFrom(to, bound.Port())
	}
	for _, a := range h.addrs {
		if a.Is4() == to.Is4() {
			return netip.AddrPortFrom(a, bound.Port())
		}
	}
	return bound
}
