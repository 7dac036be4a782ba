package media

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// pair is an even port and the odd one above it: RTP and RTCP.
type pair struct {
	pool  *pool
	ports [2]port
	freed time.Duration // when it was last released
}

// The two ports of a pair and the two halves of a stream.
const (
	rtp  = 0
	rtcp = 1
)

// port is one bound socket. It stays bound as long as the relay lives; calls come and go.
type port struct {
	number  uint16
	kind    int
	pair    *pair
	stream  atomic.Pointer[stream]   // whose packets arrive here; nil while the port is free
	was     leftover                 // of the call before; Relay.mu guards it
	strayed atomic.Pointer[leftover] // the last one who sent to it while it served no call
	fd      int                      // the kernel's socket
	lane    lane                     // the kernel's second socket, when there is one
	conn    net.PacketConn           // the Network's socket
}

// pool keeps the port pairs of one local address. Relay.mu guards it.
type pool struct {
	relay    *Relay
	index    int
	addr     netip.Addr
	unopened []uint16 // even ports that were never bound
	ready    []*pair  // bound and free
	resting  queue    // released, in quarantine, oldest first
	inUse    int
	opened   int
}

// newPool makes a pool with every even port of the range whose odd neighbour is in the range too.
func newPool(r *Relay, index int, addr netip.Addr) *pool {
	p := &pool{relay: r, index: index, addr: addr}
	for n := int(r.cfg.PortMin) + int(r.cfg.PortMin)%2; n+1 <= int(r.cfg.PortMax); n += 2 {
		p.unopened = append(p.unopened, uint16(n))
	}
	return p
}

// openSpare binds n pairs ahead of need, or as many as the range has.
func (p *pool) openSpare(n int) error {
	for range n {
		pair, err := p.open()
		if err != nil && p.opened > 0 {
			return nil // a few are better than no start; a call that finds none says so
		}
		if err != nil {
			return err
		}
		p.ready = append(p.ready, pair)
	}
	return nil
}

// take gives a pair to a call: one that is bound and rested, else a new one from the range, else the one that has rested longest.
func (p *pool) take(now time.Duration) (*pair, error) {
	for n := p.resting.len(); n > 0 && now-p.resting.first().freed >= Quarantine; n-- {
		if pair := p.resting.pop(); pair.busy() {
			p.resting.push(pair)
		} else {
			p.ready = append(p.ready, pair)
		}
	}
	pair, err := p.pick()
	if err != nil {
		return nil, err
	}
	p.inUse++
	for i := range pair.ports {
		p.relay.counts.foreign.Add(uint64(p.relay.engine.drain(&pair.ports[i])))
	}
	return pair, nil
}

// pick finds the pair that take gives out.
func (p *pool) pick() (*pair, error) {
	if n := len(p.ready); n > 0 {
		i := p.relay.cfg.Random(n)
		pair := p.ready[i]
		p.ready[i] = p.ready[n-1]
		p.ready = p.ready[:n-1]
		return pair, nil
	}
	pair, err := p.open()
	if err == nil {
		return pair, nil
	}
	for range p.resting.len() {
		pair := p.resting.pop()
		if !pair.busy() {
			return pair, nil
		}
		p.resting.push(pair)
	}
	return nil, err
}

// busy says that the loop has not yet closed what belonged to the last call.
func (p *pair) busy() bool { return p.ports[rtp].lane.open.Load() || p.ports[rtcp].lane.open.Load() }

// give puts a pair to rest.
func (p *pool) give(pair *pair, now time.Duration) {
	pair.freed = now
	p.resting.push(pair)
	p.inUse--
	p.relay.engine.released(pair)
}

// open binds a random pair of the range. Ports that somebody else holds are passed over and tried again when all others are in use.
func (p *pool) open() (*pair, error) {
	for untried := len(p.unopened); untried > 0; untried-- {
		i := p.relay.cfg.Random(untried)
		number := p.unopened[i]
		pair, err := p.bind(number)
		if err == nil {
			p.unopened[i] = p.unopened[len(p.unopened)-1]
			p.unopened = p.unopened[:len(p.unopened)-1]
			p.opened++
			return pair, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("bind media port %s: %w", netip.AddrPortFrom(p.addr, number), err)
		}
		p.unopened[i], p.unopened[untried-1] = p.unopened[untried-1], p.unopened[i]
	}
	return nil, fmt.Errorf("media address %s: %w", p.addr, ErrNoPorts)
}

// bind opens the two sockets of a pair.
func (p *pool) bind(number uint16) (*pair, error) {
	pr := &pair{pool: p}
	for i := range pr.ports {
		p := &pr.ports[i]
		p.number, p.kind, p.pair = number+uint16(i), i, pr
	}
	for i := range pr.ports {
		if err := p.relay.engine.open(&pr.ports[i], netip.AddrPortFrom(p.addr, pr.ports[i].number)); err != nil {
			if i == rtcp {
				p.relay.engine.shut(&pr.ports[rtp])
			}
			return nil, err
		}
	}
	return pr, nil
}

// randomly is the default for Config.Random: ChaCha8 with a seed from the system, so that nobody outside can tell the next port (R29).
func randomly(n int) int { return rand.IntN(n) }

// queue is a first-in-first-out list of pairs that reuses its memory.
type queue struct {
	list []*pair
	head int
}

func (q *queue) len() int     { return len(q.list) - q.head }
func (q *queue) first() *pair { return q.list[q.head] }

func (q *queue) push(p *pair) {
	if q.head > 64 && q.head*2 > len(q.list) {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.list = append(q.list, p)
}

func (q *queue) pop() *pair {
	p := q.list[q.head]
	q.list[q.head] = nil
	q.head++
	return p
}
