package wire

import (
	"context"
	"net"
	"net/netip"
)

// Network is where sockets come from. A nil Network in [Config] means the kernel; internal/town has one in memory.
type Network interface {
	// ListenPacket opens a UDP socket. Its ReadFrom may return an [*ICMPError]; the socket stays usable after it.
	ListenPacket(addr netip.AddrPort) (net.PacketConn, error)
	// Listen opens a TCP listener.
	Listen(addr netip.AddrPort) (net.Listener, error)
	// Dial opens a TCP connection. local may be the zero Addr.
	Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
	// Addrs lists the addresses of this machine: a wildcard listen is expanded to them.
	Addrs() ([]netip.Addr, error)
}

// ICMPError is an ICMP error that came back for a datagram we sent.
type ICMPError struct {
	Remote netip.AddrPort // where the datagram was going
	Quote  []byte         // the start of the datagram as the error quotes it; may be empty
	Err    error          // ECONNREFUSED, EHOSTUNREACH, …
}

// Error says where and why.
func (e *ICMPError) Error() string { return "icmp from " + e.Remote.String() + ": " + e.Err.Error() }

// Unwrap gives the errno.
func (e *ICMPError) Unwrap() error { return e.Err }
