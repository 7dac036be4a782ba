package wire

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	routeTTL  = 5 * time.Second // how long the routing table's word is believed
	maxRoutes = 1024
)

// routes remembers which of our addresses reaches whom.
type routes struct {
	mu    sync.Mutex
	known map[routeKey]route
}

type routeKey struct {
	remote netip.Addr
	side   string
}

type route struct {
	local netip.AddrPort
	until time.Time
}

// UDPFlow gives the flow on which a datagram to remote would leave; false when we listen on no UDP socket of its family. Where the kernel is the
// network the routing table is asked; if its source address is none of ours, as in a network of another kind, the nearest listener is taken.
func (s *Stack) UDPFlow(remote netip.AddrPort) (Flow, bool) { return s.UDPFlowVia("", remote) }

// UDPFlowVia is UDPFlow from the sockets of one side; the empty side is all of them.
func (s *Stack) UDPFlowVia(side string, remote netip.AddrPort) (Flow, bool) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	local, ok := s.localFor(side, remote)
	return Flow{Proto: UDP, Local: local, Remote: remote}, ok
}

func (s *Stack) localFor(side string, remote netip.AddrPort) (netip.AddrPort, bool) {
	if !s.kernel {
		return s.nearest(side, remote.Addr(), netip.Addr{})
	}
	key := routeKey{remote.Addr(), side}
	now := time.Now()
	s.routes.mu.Lock()
	r, ok := s.routes.known[key]
	s.routes.mu.Unlock()
	if ok && now.Before(r.until) {
		return r.local, true
	}
	local, ok := s.nearest(side, remote.Addr(), sourceFor(remote))
	if !ok {
		return local, false
	}
	s.routes.mu.Lock()
	defer s.routes.mu.Unlock()
	if s.routes.known == nil || len(s.routes.known) >= maxRoutes {
		s.routes.known = make(map[routeKey]route)
	}
	s.routes.known[key] = route{local, now.Add(routeTTL)}
	return local, true
}

// sourceFor asks the routing table: a connected UDP socket has chosen its source address, and sends nothing.
func sourceFor(remote netip.AddrPort) netip.Addr {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(remote))
	if err != nil {
		return netip.Addr{}
	}
	defer func() { _ = conn.Close() }()
	return addrPort(conn.LocalAddr()).Addr()
}

// nearest picks the listener with that source address, else the best of remote's family: of the same reach (loopback, link-local, wide), then of
// the longest common prefix, then the first listed.
func (s *Stack) nearest(side string, remote, source netip.Addr) (best netip.AddrPort, ok bool) {
	top := -1
	for _, l := range s.listens {
		a := l.Addr.Addr()
		if l.Proto != UDP || a.Is4() != remote.Is4() || side != "" && l.Side != side {
			continue
		}
		score := commonBits(a, remote)
		if a.IsLoopback() == remote.IsLoopback() && a.IsLinkLocalUnicast() == remote.IsLinkLocalUnicast() {
			score += 1000
		}
		if a == source {
			score += 10000
		}
		if score > top {
			best, top = l.Addr, score
		}
	}
	return best, top >= 0
}

// departure is the address that a connection leaves from: one where we listen by that transport, since Via and Contact will name it. Of several the one by which
// datagrams would go, else the nearest. A side without such a listener has other sockets, whose address is its own. Zero leaves it to the kernel: we
// listen nowhere that could be reached from there.
func (s *Stack) departure(proto Proto, side string, remote netip.Addr) (best netip.Addr) {
	best = s.leaving(proto, side, remote)
	for other := UDP; !best.IsValid() && side != "" && other <= TLS; other++ {
		best = s.leaving(other, side, remote)
	}
	return best
}

func (s *Stack) leaving(proto Proto, side string, remote netip.Addr) (best netip.Addr) {
	route, _ := s.UDPFlowVia(side, netip.AddrPortFrom(remote, 5060))
	top := -1
	for _, l := range s.listens {
		a := l.Addr.Addr()
		if l.Proto != proto || side != "" && l.Side != side || a.Is4() != remote.Is4() || a.IsLoopback() != remote.IsLoopback() {
			continue
		}
		score := commonBits(a, remote)
		if a == route.Local.Addr() {
			score += 1000
		}
		if score > top {
			best, top = a, score
		}
	}
	return best
}

func commonBits(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	for i := range 128 {
		if (x[i/8]^y[i/8])&(0x80>>(i%8)) != 0 {
			return i
		}
	}
	return 128
}
