//go:build !linux

package wire

import (
	"net"
	"net/netip"
)

// Elsewhere than on Linux the sockets are plain ones, good enough to develop with: no batches, no ICMP.

func tuneUDP(int, string) {}

func tuneTCP(int) {}

func freebind(int) {}

func (s *Stack) newSocket(conn net.PacketConn, local netip.AddrPort) socket {
	return &packetSocket{s: s, conn: conn, local: local}
}
