package wire

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	socketBuffer = 4 << 20 // bytes; a second of a bad night
	userTimeout  = 10_000  // ms until data nobody acknowledges end a connection
	maxTries     = 4       // of a datagram whose send meets other people's errors
	drainAtMost  = 256     // errors taken from the queue at one time
	readBatch    = 32      // each slot has room for the largest datagram
)

// tuneUDP sets what can be set; nothing of it is worth not starting.
func tuneUDP(fd int, network string) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
	}
	if network == "udp6" {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	// A large INVITE may be fragmented by any router on the way (R12); losing it to path MTU discovery costs a retransmission.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
}

// freebind lets an IPv6 address be bound that the machine has but is not sure of yet: at boot, duplicate address detection takes a second.
func freebind(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1) }

func tuneTCP(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeout)
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// udpSocket is a UDP socket of the kernel, read and written in batches.
type udpSocket struct {
	s     *Stack
	conn  *net.UDPConn
	raw   syscall.RawConn
	local netip.AddrPort
	v6    bool
	out   sync.Pool // *sendBatch

	// The reader's own.
	in    *mmsgs
	bufs  []byte
	n     int
	errno unix.Errno
}

// mmsgs is one call's worth of headers, wired to their buffers. It must not be copied.
type mmsgs struct {
	hdrs  [maxBatch]mmsghdr
	iovs  [maxBatch]unix.Iovec
	names [maxBatch]unix.RawSockaddrInet6 // large enough for IPv4 too
}

func newMmsgs() *mmsgs {
	m := new(mmsgs)
	for i := range m.hdrs {
		h := &m.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&m.names[i]))
		h.Iov = &m.iovs[i]
		h.SetIovlen(1)
	}
	return m
}

func (s *Stack) newSocket(conn net.PacketConn, local netip.AddrPort) socket {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return &packetSocket{s: s, conn: conn, local: local}
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return &packetSocket{s: s, conn: conn, local: local}
	}
	u := &udpSocket{s: s, conn: udp, raw: raw, local: local, v6: local.Addr().Is6()}
	u.out.New = func() any {
		b := &sendBatch{m: newMmsgs()}
		b.call = b.sendmmsg
		return b
	}
	return u
}

func (u *udpSocket) close() { _ = u.conn.Close() }

// read hands datagrams to the sink until the socket is closed.
func (u *udpSocket) read() {
	// Room for the largest datagram in every slot: only the pages that are written to become real memory.
	u.in, u.bufs = newMmsgs(), make([]byte, readBatch*maxMessage)
	for i := range readBatch {
		u.in.iovs[i].Base = &u.bufs[i*maxMessage]
		u.in.iovs[i].SetLen(maxMessage)
	}
	batch := make([]Packet, 0, readBatch)
	call := u.recvmmsg
	for {
		if err := u.raw.Read(call); err != nil {
			return
		}
		if u.errno != 0 {
			if u.drain() == 0 && u.errno != unix.EINTR {
				u.s.pause(time.Millisecond) // nobody's ICMP; don't spin
			}
			continue
		}
		batch = u.collect(batch[:0])
		if len(batch) > 0 {
			u.s.count.received.Add(uint64(len(batch)))
			u.s.sink.Packets(batch)
			clear(batch)
		}
	}
}

// recvmmsg reads what is there; false makes the runtime wait for more.
func (u *udpSocket) recvmmsg(fd uintptr) bool {
	for i := range readBatch {
		u.in.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	// Raw: it does not wait, and announcing each of these calls to the runtime wakes its monitor thread, which costs a quarter of our CPU.
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&u.in.hdrs[0])), readBatch, unix.MSG_DONTWAIT, 0, 0)
	u.n, u.errno = int(n), errno
	return errno != unix.EAGAIN
}

func (u *udpSocket) collect(batch []Packet) []Packet {
	now := time.Now()
	for i := range u.n {
		src := fromName(&u.in.names[i])
		data, ok := u.s.take(u.local, src, u.bufs[i*maxMessage:][:u.in.hdrs[i].n])
		if ok {
			batch = append(batch, Packet{Flow: Flow{Proto: UDP, Local: u.local, Remote: src}, Data: data, At: now})
		}
	}
	return batch
}

// sendBatch is the memory of one Send; several may be at it at the same time.
type sendBatch struct {
	m        *mmsgs
	from, to int
	n        int
	errno    unix.Errno
	call     func(fd uintptr)
}

func (b *sendBatch) sendmmsg(fd uintptr) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.m.hdrs[b.from])), uintptr(b.to-b.from), unix.MSG_DONTWAIT, 0, 0)
	b.n, b.errno = int(n), errno
}

func (u *udpSocket) send(outs []Out) {
	b := u.out.Get().(*sendBatch)
	for len(outs) > 0 {
		n := min(len(outs), maxBatch)
		u.sendBatch(b, outs[:n])
		outs = outs[n:]
	}
	u.out.Put(b)
}

// sendBatch sends up to maxBatch datagrams. An ICMP error for A is reported to whoever uses the socket next, and eats their send to B: so the
// queue of errors is read, and B's datagram is sent again (ENGINE.md §3).
func (u *udpSocket) sendBatch(b *sendBatch, outs []Out) {
	for i := range outs {
		iov := &b.m.iovs[i]
		iov.Base = unsafe.SliceData(outs[i].Data)
		iov.SetLen(len(outs[i].Data))
		b.m.hdrs[i].hdr.Namelen = u.name(&b.m.names[i], outs[i].Flow.Remote)
	}
	tries := 0
	for b.from, b.to = 0, len(outs); b.from < b.to; {
		if err := u.raw.Control(b.call); err != nil { // closed
			u.s.count.noFlow.Add(uint64(b.to - b.from))
			break
		}
		if b.errno == 0 {
			u.s.count.sent.Add(uint64(b.n))
			if b.from += b.n; b.from < b.to {
				u.drain() // the kernel hides the error that stopped it behind the count
			}
			tries = 0
			continue
		}
		if b.errno == unix.EINTR {
			continue
		}
		u.drain()
		if tries++; tries < maxTries && b.errno != unix.EAGAIN {
			continue
		}
		u.s.unsent(outs[b.from], b.errno)
		b.from++
		tries = 0
	}
	for i := range outs {
		b.m.iovs[i].Base = nil
	}
}

// drain reads the errors that came back and reports whose they are; it says how many.
func (u *udpSocket) drain() (found int) {
	var (
		quote [2048]byte
		oob   [512]byte
	)
	_ = u.raw.Control(func(fd uintptr) { // closed: nothing to read
		for found < drainAtMost {
			n, oobn, _, from, err := unix.Recvmsg(int(fd), quote[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			found++
			if errno := extendedErr(oob[:oobn]); errno != 0 {
				u.icmp(from, quote[:n], errno)
			}
		}
	})
	return found
}

// icmp reports one error. EMSGSIZE is none: the next repeat leaves in smaller fragments.
func (u *udpSocket) icmp(from unix.Sockaddr, quote []byte, errno unix.Errno) {
	u.s.count.icmp.Add(1)
	remote := fromSockaddr(from)
	if errno == unix.EMSGSIZE || !remote.IsValid() {
		return
	}
	u.s.report(ICMP{Flow: Flow{Proto: UDP, Local: u.local, Remote: remote}, Quote: append([]byte(nil), quote...), Err: errno})
}

// extendedErr finds the errno in struct sock_extended_err.
func extendedErr(oob []byte) unix.Errno {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range msgs {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if (v4 || v6) && len(m.Data) >= int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			return unix.Errno((*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0])).Errno)
		}
	}
	return 0
}

// drops asks the kernel how many datagrams found the buffer full.
func (u *udpSocket) drops() (n uint64) {
	const memDrops = 8 // SK_MEMINFO_DROPS
	_ = u.raw.Control(func(fd uintptr) {
		var info [memDrops + 1]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 {
			n = uint64(info[memDrops])
		}
	})
	return n
}

// name writes a socket address for the kernel and gives its length.
func (u *udpSocket) name(sa *unix.RawSockaddrInet6, ap netip.AddrPort) uint32 {
	if !u.v6 {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		sa4.Family = unix.AF_INET
		sa4.Port = swap(ap.Port())
		if a := ap.Addr().Unmap(); a.Is4() {
			sa4.Addr = a.As4()
		} else {
			sa4.Family = unix.AF_INET6 // no such peer on this socket: the kernel refuses it, and the refusal is reported
		}
		return unix.SizeofSockaddrInet4
	}
	sa.Family = unix.AF_INET6
	sa.Port = swap(ap.Port())
	sa.Flowinfo = 0
	sa.Addr = ap.Addr().As16()
	sa.Scope_id = scope(ap.Addr().Zone())
	return unix.SizeofSockaddrInet6
}

func fromName(sa *unix.RawSockaddrInet6) netip.AddrPort {
	if sa.Family == unix.AF_INET {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), swap(sa4.Port))
	}
	return netip.AddrPortFrom(zoned(netip.AddrFrom16(sa.Addr), sa.Scope_id), swap(sa.Port))
}

func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(zoned(netip.AddrFrom16(sa.Addr), sa.ZoneId), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// zoned keeps the interface of a link-local address: without it nobody can be answered.
func zoned(a netip.Addr, id uint32) netip.Addr {
	a = a.Unmap()
	if id == 0 || !a.IsLinkLocalUnicast() {
		return a
	}
	return a.WithZone(strconv.FormatUint(uint64(id), 10))
}

// scope reads the zone, an interface's number or its name.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

// swap turns a port between the machine's byte order and the network's.
func swap(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}
