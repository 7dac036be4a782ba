package town

import (
	"context"
	"net"
	"net/netip"

	"nines/sip/wire"
)

// Kernel is the machine's own network, for phones on loopback. Its sockets see no ICMP.
type Kernel struct{}

var _ wire.Network = Kernel{}

// ListenPacket opens a UDP socket.
func (Kernel) ListenPacket(addr netip.AddrPort) (net.PacketConn, error) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Listen opens a TCP listener.
func (Kernel) Listen(addr netip.AddrPort) (net.Listener, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Dial opens a TCP connection.
func (Kernel) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, "tcp", remote.String())
}

// Addrs lists the loopback addresses: a phone uses nothing else.
func (Kernel) Addrs() ([]netip.Addr, error) {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
}
