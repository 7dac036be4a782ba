package media

import (
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// lane is a port's second socket, bound to the same address and connected to the far end: a send through it needs no route lookup, which is a
// tenth of what a packet costs. A port gets one once it has sent for a second and loses it when the far end changes or the call ends, so that a
// call's set-up pays nothing for it. Nothing depends on it: packets from the far end arrive there, all others at the first socket, and both are
// judged alike.
type lane struct {
	open  atomic.Bool    // the port must not serve another call before the loop has closed it
	fd    int            // -1: none. This and what follows belongs to the loop alone
	at    netip.AddrPort // whom it is connected to
	next  netip.AddrPort // whom the last packets went to
	count int            // how many of them
}

// wantLane counts a packet that was sent the ordinary way and opens the lane when it has become worth it.
func (l *loop) wantLane(p *port, to *peer, now time.Duration) {
	if p.lane.next != to.at {
		p.lane.next, p.lane.count = to.at, 0
	}
	if p.lane.count++; p.lane.count == l.laneAfter {
		l.openLane(p, to.at, now)
	}
}

// openLane gives p its second socket. Where that fails, the first serves on.
func (l *loop) openLane(p *port, to netip.AddrPort, now time.Duration) {
	st := p.stream.Load()
	if st == nil {
		return
	}
	fd, err := listen(netip.AddrPortFrom(p.pair.pool.addr, p.number), true)
	if err != nil {
		return
	}
	if err := unix.Connect(fd, socketAddress(to)); err != nil {
		unix.Close(fd)
		return
	}
	p.lane.open.Store(true)
	p.lane.fd, p.lane.at = fd, to
	if l.watch(fd, l.slot(p)|laneSlot) != nil {
		l.closeLane(p)
		return
	}
	// What came before the connect waits in the first socket and goes first, so that the order stays.
	for i := 0; i < laneDrain && l.read(p, p.fd, now); i++ {
		continue
	}
	if p.stream.Load() != st { // the call ended meanwhile, and released may not have seen the lane
		l.closeLane(p)
	}
}

// closeLane takes the second socket away.
func (l *loop) closeLane(p *port) {
	if p.lane.fd < 0 {
		return
	}
	l.relay.counts.foreign.Add(uint64(drain(p.lane.fd))) // the old far end is foreign by now
	unix.Close(p.lane.fd)
	p.lane.fd, p.lane.at, p.lane.count = -1, netip.AddrPort{}, 0
	p.lane.open.Store(false)
}

// released tells the loop that ports serve no call any more. It is called after their streams were taken away, so that either it sees the lane
// or the loop, having opened one, sees that the stream is gone.
func (l *loop) released(pr *pair) {
	for i := range pr.ports {
		if p := &pr.ports[i]; p.lane.open.Load() {
			l.mu.Lock()
			l.retired = append(l.retired, p)
			l.mu.Unlock()
			l.rouse()
		}
	}
}

// retire closes the lanes of released ports.
func (l *loop) retire() {
	var count [8]byte
	_, _ = unix.Read(l.wake, count[:])
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, p := range l.retired {
		if p.stream.Load() == nil {
			l.closeLane(p)
		}
		l.retired[i] = nil
	}
	l.retired = l.retired[:0]
}
