package media

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is an address as the kernel reads and writes it: sockaddr_in or sockaddr_in6.
type sockaddr struct {
	raw  unix.RawSockaddrInet6
	size uint32
}

// destination makes the kernel's form of an address.
func destination(a netip.AddrPort) sockaddr {
	var s sockaddr
	port := (*[2]byte)(unsafe.Pointer(&s.raw.Port))
	binary.BigEndian.PutUint16(port[:], a.Port())
	if addr := a.Addr(); addr.Is4() {
		s.raw.Family = unix.AF_INET
		s.size = unix.SizeofSockaddrInet4
		(*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw)).Addr = addr.As4()
	} else {
		s.raw.Family = unix.AF_INET6
		s.size = unix.SizeofSockaddrInet6
		s.raw.Addr = addr.As16()
	}
	return s
}

// addrPort is the address the kernel wrote.
func (s *sockaddr) addrPort() netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&s.raw.Port))
	number := binary.BigEndian.Uint16(port[:])
	if s.raw.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw)).Addr), number)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(s.raw.Addr), number)
}

// socketAddress is the form that x/sys wants.
func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
