package wire

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// kernel is the real network.
type kernel struct{}

// keepAlive finds a peer that vanished without a word while nothing is sent.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

func (kernel) ListenPacket(addr netip.AddrPort) (net.PacketConn, error) {
	ours := owns(addr.Addr())
	lc := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			tuneUDP(int(fd), network)
			if ours {
				freebind(int(fd))
			}
		})
	}}
	return lc.ListenPacket(context.Background(), "udp", addr.String())
}

func (kernel) Listen(addr netip.AddrPort) (net.Listener, error) {
	ours := owns(addr.Addr())
	lc := net.ListenConfig{KeepAliveConfig: keepAlive, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			tuneTCP(int(fd))
			if ours {
				freebind(int(fd))
			}
		})
	}}
	return lc.Listen(context.Background(), "tcp", addr.String())
}

func (kernel) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { tuneTCP(int(fd)) })
	}}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, "tcp", remote.String())
}

func (kernel) Addrs() ([]netip.Addr, error) {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(nets))
	for _, n := range nets {
		if p, err := netip.ParsePrefix(n.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs, nil
}

// owns says that an IPv6 address is one of this machine's.
func owns(a netip.Addr) bool {
	if !a.Is6() {
		return false
	}
	all, err := kernel{}.Addrs()
	return err == nil && slices.Contains(all, a)
}
