package town

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Path is what happens to packets on their way from one host to another. The zero Path delivers everything, in order, within a microsecond.
type Path struct {
	Delay     time.Duration // how long a packet travels
	Jitter    time.Duration // at most this much longer; does not change the order of what one socket sends to another
	Loss      float64       // probability that a datagram is lost; a lost TCP segment comes 200 ms late
	Duplicate float64       // probability that a datagram arrives twice
	Reorder   float64       // probability that a datagram is overtaken by later ones
	MTU       int           // datagrams with a longer payload vanish (lost fragments); 0 is no limit
	Cut       bool          // nothing arrives
}

// Power is what a host is to the others.
type Power uint8

// The states of a host. A host whose ports are merely closed is On: the sender gets ICMP port unreachable.
const (
	On   Power = iota
	Dead       // a black hole: its programs run, nothing gets in or out
	Off        // the router says so: ICMP host unreachable
)

// Fate is what became of a packet.
type Fate uint8

// The fates.
const (
	Delivered Fate = iota
	Lost           // by chance, on a cut path, or at a dead host
	Refused        // ICMP, or a TCP reset in answer to data
)

// Packet is what a tap sees: a datagram, or a TCP segment. Data must not be changed or kept.
type Packet struct {
	Sent time.Time
	Came time.Time // when it arrived, or when its fate was known
	TCP  bool
	From netip.AddrPort
	To   netip.AddrPort
	Data []byte
	Fate Fate
	Copy bool // the network made this one
}

// Network is an IP network in memory. Under testing/synctest make it inside the bubble.
type Network struct {
	seed  uint64
	queue queue

	mu    sync.Mutex // guards what follows, and the hosts' tables
	hosts map[netip.Addr]*Host
	count int
	paths map[way]*path
	flows map[course]*chance
	usual Path
	taps  []func(Packet)
}

// way is a direction between two hosts.
type way struct{ from, to int }

// path is one direction between two hosts.
type path struct {
	Path
	own bool // set for these two hosts; the others follow the usual path
}

// course is who sends to whom, and what.
type course struct {
	kind     kind
	from, to netip.AddrPort
}

type kind uint8

const (
	udp kind = iota
	tcp
	icmp
)

// chance is the luck of one course. Each has its own, so that what happens on it depends on no other traffic: not even on which of two goroutines sends
// first.
type chance struct {
	rng  *rand.Rand
	last time.Time // when the last packet in order arrives
}

// NewNetwork makes an empty network. All chance comes from the seed.
func NewNetwork(seed uint64) *Network {
	return &Network{seed: seed, hosts: make(map[netip.Addr]*Host), paths: make(map[way]*path), flows: make(map[course]*chance)}
}

// Host adds a machine with these addresses. It panics when an address is taken: that is a mistake in the test.
func (n *Network) Host(name string, addrs ...netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count++
	h := &Host{
		net: n, name: name, id: n.count, addrs: slices.Clone(addrs),
		packets: make(map[netip.AddrPort]*packetConn), listeners: make(map[netip.AddrPort]*listener), conns: make(map[*conn]struct{}),
	}
	for _, a := range addrs {
		if other := n.hosts[a]; other != nil {
			panic(fmt.Sprintf("town: %s and %s both have the address %s", other.name, name, a))
		}
		n.hosts[a] = h
	}
	return h
}

// Everywhere sets the path between all hosts for which no other was set.
func (n *Network) Everywhere(p Path) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.usual = p
	for _, s := range n.paths {
		if !s.own {
			s.Path = p
		}
	}
}

// Between sets the path between two hosts, both ways.
func (n *Network) Between(a, b *Host, p Path) {
	n.OneWay(a, b, p)
	n.OneWay(b, a, p)
}

// OneWay sets the path from one host to another.
func (n *Network) OneWay(from, to *Host, p Path) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.path(from, to)
	s.Path, s.own = p, true
}

// Usual makes the path between two hosts the usual one again, both ways.
func (n *Network) Usual(a, b *Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range []*path{n.path(a, b), n.path(b, a)} {
		s.Path, s.own = n.usual, false
	}
}

// Tap calls f with every packet when its fate is known. f must not call the network.
func (n *Network) Tap(f func(Packet)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taps = append(n.taps, f)
}

// path gives the direction between two hosts. The caller holds n.mu.
func (n *Network) path(from, to *Host) *path {
	w := way{from.id, to.id}
	s := n.paths[w]
	if s == nil {
		s = &path{Path: n.usual}
		n.paths[w] = s
	}
	return s
}

// chance gives the luck of a course. The caller holds n.mu.
func (n *Network) chance(k kind, from, to netip.AddrPort) *chance {
	c := course{k, from, to}
	luck := n.flows[c]
	if luck == nil {
		h := fnv.New64a()
		_, _ = fmt.Fprintf(h, "%d %s>%s", k, from, to)
		luck = &chance{rng: rand.New(rand.NewPCG(n.seed, h.Sum64()))}
		n.flows[c] = luck
	}
	return luck
}

// journey is what chance has decided for one datagram.
type journey struct {
	at, again time.Time // again is zero when the packet is not repeated
	lost      bool
}

// travel decides about one datagram. Each takes the same draws, so that changing one probability changes no other chance.
func (c *chance) travel(s Path, now time.Time, size int) journey {
	var (
		late      = c.late(s)
		lost      = c.rng.Float64() < s.Loss
		twice     = c.rng.Float64() < s.Duplicate
		overtaken = c.rng.Float64() < s.Reorder
		extra     = time.Duration(c.rng.Int64N(int64(20 * time.Millisecond)))
	)
	if lost || s.Cut || s.MTU > 0 && size > s.MTU {
		return journey{lost: true}
	}
	j := journey{at: now.Add(late + extra)}
	if !overtaken {
		j.at = c.next(now.Add(late))
	}
	if twice {
		j.again = j.at.Add(extra)
	}
	return j
}

// late draws how long one packet travels. A grain of less than a microsecond is always in it: two things that happen at the same instant could happen in
// either order, and the night could not be repeated.
func (c *chance) late(s Path) time.Duration {
	return s.Delay + time.Duration(c.rng.Float64()*float64(s.Jitter)) + time.Duration(c.rng.Int64N(int64(time.Microsecond)))
}

// next keeps the order: nothing arrives before what was sent earlier.
func (c *chance) next(at time.Time) time.Time {
	if !at.After(c.last) {
		at = c.last.Add(1)
	}
	c.last = at
	return at
}

// hostAt finds who has an address, as seen from a host: its own loopback is itself. The caller holds n.mu.
func (n *Network) hostAt(from *Host, a netip.Addr) *Host {
	if a.IsLoopback() {
		return from
	}
	return n.hosts[a]
}

// show tells the taps. The caller holds n.mu.
func (n *Network) show(p Packet) {
	for _, f := range n.taps {
		f(p)
	}
}

// send puts a datagram on the way.
func (n *Network) send(from *Host, src, dst netip.AddrPort, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	p := Packet{Sent: now, Came: now, From: src, To: dst, Data: data, Fate: Lost}
	to := n.hostAt(from, dst.Addr())
	if from.power != On || to == nil { // an address that nobody has: the datagram vanishes, as on a real network without a helpful router
		n.show(p)
		return
	}
	j := n.chance(udp, src, dst).travel(n.path(from, to).Path, now, len(data))
	if j.lost {
		n.show(p)
		return
	}
	p.Data = slices.Clone(data)
	n.queue.at(j.at, func() { n.arrive(from, to, p) })
	if !j.again.IsZero() {
		p := p
		p.Copy = true
		n.queue.at(j.again, func() { n.arrive(from, to, p) })
	}
}

// arrive ends the journey of a datagram: at a socket, in the void, or as ICMP on the way back.
func (n *Network) arrive(from, to *Host, p Packet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.Came = time.Now()
	sock := to.packetAt(p.To)
	switch {
	case to.power == Dead || n.path(from, to).Cut:
		p.Fate = Lost
	case to.power == Off:
		p.Fate = Refused
		n.icmp(to, from, p, syscall.EHOSTUNREACH)
	case sock == nil:
		p.Fate = Refused
		n.icmp(to, from, p, syscall.ECONNREFUSED)
	default:
		p.Fate = Delivered
		sock.put(arrival{data: p.Data, from: p.From})
	}
	n.show(p)
}

// quoted is how much of a datagram comes back in an ICMP error: Linux fills 576 bytes, headers included.
const quoted = 520

// icmp sends an error back to who sent a datagram. It travels the path back, with its losses. The caller holds n.mu.
func (n *Network) icmp(from, to *Host, p Packet, errno syscall.Errno) {
	j := n.chance(icmp, p.To, p.From).travel(n.path(from, to).Path, time.Now(), 0)
	if j.lost {
		return
	}
	quote := p.Data[:min(len(p.Data), quoted)]
	n.queue.at(j.at, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if sock := to.packetAt(p.From); sock != nil && to.power == On {
			sock.put(arrival{from: p.To, data: quote, icmp: errno})
		}
	})
}
