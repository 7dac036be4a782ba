package media

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop moves packets of the kernel's sockets: one goroutine, one epoll, non-blocking raw system calls. Each stream has its own socket, so a
// wake-up seldom finds two packets in one and batching brings nothing.
type loop struct {
	relay  *Relay
	epoll  int
	file   *os.File        // owns epoll, so that the runtime can wait for it
	waiter syscall.RawConn // the runtime's wait
	poller func(uintptr) bool
	n      int                    // what the last poll found
	failed syscall.Errno          // or how it failed
	wake   int                    // an eventfd that ends a wait
	ports  []atomic.Pointer[port] // by slot
	spread int                    // slots per address
	buf    []byte
	events [256]unix.EpollEvent

	laneAfter int

	mu      sync.Mutex // guards retired
	retired []*port    // released ports whose second socket must be closed
}

const (
	wakeSlot  = -1
	laneSlot  = 1 << 30 // added to the slot of a port's second socket
	laneAfter = 50      // packets to one address after which a port gets its second socket: a second of audio, and twice what the socket costs
	laneDrain = 256     // packets at most that are taken from the first socket then: a flood there must not hold up the others

	// bufferSize is asked of the kernel for each socket, which doubles it: room for the longest datagram, and for a second of audio many times over.
	bufferSize = 128 << 10
)

func newLoop(r *Relay) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(epoll))
	}
	after := laneAfter
	if r.cfg.laneAfter > 0 {
		after = r.cfg.laneAfter
	}
	spread := int(r.cfg.PortMax) - int(r.cfg.PortMin) + 1
	l := &loop{
		relay: r, epoll: epoll, wake: wake, spread: spread,
		ports: make([]atomic.Pointer[port], spread*len(r.cfg.Addresses)), buf: make([]byte, maxDatagram),
		laneAfter: after,
	}
	if err := l.watch(wake, wakeSlot); err != nil {
		return nil, errors.Join(err, unix.Close(epoll), unix.Close(wake))
	}
	// An epoll descriptor can itself be waited for. Without O_NONBLOCK os.NewFile would not give it to the runtime's poller.
	if err := unix.SetNonblock(epoll, true); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), unix.Close(epoll), unix.Close(wake))
	}
	l.file = os.NewFile(uintptr(epoll), "epoll")
	l.poller = l.poll
	if l.waiter, err = l.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), l.file.Close(), unix.Close(wake))
	}
	return l, nil
}

// slot is p's place in the table.
func (l *loop) slot(p *port) int {
	return p.pair.pool.index*l.spread + int(p.number) - int(l.relay.cfg.PortMin)
}

func (l *loop) watch(fd, slot int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(slot)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll add: %w", err)
	}
	return nil
}

// open binds p's socket and has the loop watch it.
func (l *loop) open(p *port, addr netip.AddrPort) error {
	fd, err := listen(addr, false)
	if err != nil {
		return err
	}
	p.fd, p.lane.fd = fd, -1
	slot := l.slot(p)
	l.ports[slot].Store(p)
	if err := l.watch(fd, slot); err != nil {
		l.shut(p)
		return err
	}
	return nil
}

// listen opens a bound, non-blocking UDP socket: the only one of its address, or a second one beside ours.
func listen(addr netip.AddrPort, shared bool) (int, error) {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = prepare(fd, family)
	if err == nil && shared {
		err = share(fd)
	}
	if err == nil {
		err = bind(fd, addr)
	}
	if err == nil && !shared {
		err = share(fd) // after the bind: nobody else's socket, not even another nines', is shared with (EADDRINUSE)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// prepare sets the options of a media socket.
func prepare(fd, family int) error {
	// Errors of these three only cost comfort: a smaller buffer, ICMP that stays unseen, a path MTU that makes a large packet fail.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bufferSize)
	if family == unix.AF_INET {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		return nil
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
		return fmt.Errorf("set IPV6_V6ONLY: %w", err)
	}
	return nil
}

func bind(fd int, addr netip.AddrPort) error {
	if err := unix.Bind(fd, socketAddress(addr)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// share lets another socket of ours bind to the same address.
func share(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return fmt.Errorf("set SO_REUSEPORT: %w", err)
	}
	return nil
}

// shut closes p's socket.
func (l *loop) shut(p *port) {
	l.ports[l.slot(p)].Store(nil)
	unix.Close(p.fd)
}

// drain throws away what waits in p's socket.
func (l *loop) drain(p *port) int { return drain(p.fd) }

func drain(fd int) int {
	var b [1]byte
	n := 0
	for range 1 << 16 {
		_, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 1, unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EAGAIN {
			break
		}
		if errno == 0 { // else an old ICMP error; it is gone now that it was told
			n++
		}
	}
	return n
}

// run is the packet loop.
func (l *loop) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, l.rouse)
	defer stop()
	for ctx.Err() == nil {
		if err := l.pass(); err != nil {
			return fmt.Errorf("wait for packets: %w", err)
		}
	}
	return nil
}

// pass waits once and serves what is ready.
func (l *loop) pass() error {
	n, err := l.wait()
	now := l.relay.now()
	for i := range l.events[:max(n, 0)] {
		if ev := &l.events[i]; ev.Fd == wakeSlot {
			l.retire()
		} else {
			l.ready(ev, now)
		}
	}
	return err
}

// ready serves one socket that has a packet or an error.
func (l *loop) ready(ev *unix.EpollEvent, now time.Duration) {
	p := l.ports[ev.Fd&^laneSlot].Load()
	if p == nil {
		return
	}
	fd := p.fd
	if ev.Fd&laneSlot != 0 {
		if fd = p.lane.fd; fd < 0 { // closed since the wait
			return
		}
	}
	if ev.Events&unix.EPOLLERR != 0 {
		l.errors(p, fd, now)
	}
	if ev.Events&unix.EPOLLIN != 0 {
		l.read(p, fd, now)
	}
}

// rouse ends a wait.
func (l *loop) rouse() {
	one := [8]byte{1}
	_, _ = unix.Write(l.wake, one[:])
}

// wait sleeps until there are packets. It looks before it sleeps: under load there are some. The runtime's poller does the sleeping: a thread of our
// own that sleeps in epoll_wait would keep a processor of Go's scheduler until its monitor takes it away, and on one core everything else would wait
// for that.
func (l *loop) wait() (int, error) {
	if !l.poll(0) {
		if err := l.waiter.Read(l.poller); err != nil {
			return 0, err
		}
	}
	if l.failed != 0 {
		return 0, l.failed
	}
	return l.n, nil
}

// poll asks what is ready; false makes the runtime wait. Its wait is edge-triggered: it may be trusted only after epoll_wait has said that nothing is.
func (l *loop) poll(uintptr) bool {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), 0, 0, 0)
	if errno == unix.EINTR {
		n, errno = 0, 0
	}
	l.n, l.failed = int(n), errno
	return errno != 0 || n > 0
}

// read takes one packet from one of p's sockets and relays it; it says false when there is none. What else waits there is reported by the next
// wait.
func (l *loop) read(p *port, fd int, now time.Duration) bool {
	var from sockaddr
	size := uint32(unix.SizeofSockaddrInet6)
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&l.buf[0])), uintptr(len(l.buf)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&from.raw)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		if errno == unix.EAGAIN {
			return false
		}
		l.errors(p, fd, now)
		return true
	}
	out, to, h := l.relay.arrived(p, from.addrPort(), l.buf[:n], now)
	if out != nil {
		l.write(out, to, h, int(n), now)
	}
	return true
}

// write sends the packet in the buffer. The kernel reports an earlier packet's ICMP error instead of sending, once: so it is tried twice.
func (l *loop) write(p *port, to *peer, h *half, n int, now time.Duration) {
	fd, dest, size := p.fd, uintptr(unsafe.Pointer(&to.dest.raw)), uintptr(to.dest.size)
	if p.lane.fd >= 0 {
		if p.lane.at == to.at {
			fd, dest, size = p.lane.fd, 0, 0
		} else {
			l.closeLane(p)
		}
	}
	for range 2 {
		_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&l.buf[0])), uintptr(n), unix.MSG_DONTWAIT, dest, size)
		if errno == 0 {
			l.relay.sent(h, n)
			if fd == p.fd {
				l.wantLane(p, to, now)
			}
			return
		}
		l.errors(p, fd, now)
	}
	l.relay.counts.failed.Add(1)
}

// send sends a packet of ours. The goroutine that plays calls it beside the loop: it uses the first socket only, and leaves the error queue to the
// loop. An ICMP error of an earlier packet is reported instead of sending, once.
func (l *loop) send(p *port, to *peer, b []byte, _ time.Duration) bool {
	for range 2 {
		_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(p.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT,
			uintptr(unsafe.Pointer(&to.dest.raw)), uintptr(to.dest.size))
		if errno == 0 {
			return true
		}
	}
	return false
}

// errors empties the error queue of one of p's sockets: ICMP messages with the address of the packet they are about.
func (l *loop) errors(p *port, fd int, now time.Duration) {
	var whom sockaddr
	var control [128]byte
	for seen := 0; ; seen++ {
		msg := unix.Msghdr{Name: (*byte)(unsafe.Pointer(&whom.raw)), Namelen: unix.SizeofSockaddrInet6, Control: &control[0]}
		msg.SetControllen(len(control))
		_, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if errno != 0 {
			if seen == 0 { // an error without a message: reading it clears it, or epoll would report it for ever
				_, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			}
			return
		}
		if err := extended(control[:msg.Controllen]); err != nil {
			l.relay.refused(p, whom.addrPort(), err, now)
		}
	}
}

// extended finds the errno of an ICMP message among control messages.
func extended(control []byte) error {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		if h.Len < unix.SizeofCmsghdr || uint64(h.Len) > uint64(len(control)) {
			return nil
		}
		v4 := h.Level == unix.IPPROTO_IP && h.Type == unix.IP_RECVERR
		v6 := h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_RECVERR
		if (v4 || v6) && h.Len >= unix.SizeofCmsghdr+16 {
			e := (*unix.SockExtendedErr)(unsafe.Pointer(&control[unix.SizeofCmsghdr]))
			if e.Origin == unix.SO_EE_ORIGIN_ICMP || e.Origin == unix.SO_EE_ORIGIN_ICMP6 {
				return syscall.Errno(e.Errno)
			}
			return nil
		}
		control = control[min(len(control), unix.CmsgSpace(int(h.Len)-unix.SizeofCmsghdr)):]
	}
	return nil
}

func (l *loop) close() {
	for i := range l.ports {
		if p := l.ports[i].Swap(nil); p != nil {
			l.closeLane(p)
			unix.Close(p.fd)
		}
	}
	_ = l.file.Close()
	unix.Close(l.wake)
}
