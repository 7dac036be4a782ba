package sip

import (
	"net/netip"
	"time"

	"nines/sip/wire"
)

// comesFrom says that a request inside a dialog comes from who is in it: who knows its tags may have heard them on the way, and a forged BYE would end a
// 999 call. The caller is known by the addresses of its trunk, an endpoint by all its own, by where its media may move, and each by the address that the
// dialog names or uses now.
func (s *session) comesFrom(part int, f wire.Flow) bool {
	a := f.Remote.Addr().Unmap()
	p := s.party(part)
	if a == p.flow.Remote.Addr().Unmap() || p.leg != nil && isHost(p.leg.Target, a) {
		return true
	}
	if part == 0 {
		return a == s.src.Remote.Addr().Unmap() || s.trunk.has(a) || s.loop.s.routing.Load().trunkHas(s.trunk, a)
	}
	if p.ep == nil {
		return false
	}
	for _, r := range p.leg.Routes {
		if _, uri, _ := wire.NameAddr(r); isHost(uri, a) {
			return true
		}
	}
	for _, n := range p.ep.MediaFrom {
		if n.Contains(a) {
			return true
		}
	}
	for _, h := range s.loop.s.names.targets(p.ep, nil) {
		if h.addr.Addr() == a {
			return true
		}
	}
	for _, own := range p.ep.Addresses {
		if own.Unmap() == a {
			return true
		}
	}
	return false
}

func isHost(uri string, a netip.Addr) bool {
	u, ok := wire.ParseURI(uri)
	if !ok {
		return false
	}
	h, err := netip.ParseAddr(u.Host)
	return err == nil && h.Unmap() == a
}

// has says that an address is one of a trunk's.
func (t *Trunk) has(a netip.Addr) bool {
	for _, n := range t.From {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// trunkHas is has after a reload: a carrier's new address counts for the calls in progress, too.
func (r *routing) trunkHas(t *Trunk, a netip.Addr) bool {
	now := r.trunk(a)
	return now != nil && t.Name != "" && now.Name == t.Name
}

// spoofed notes a request in a call's name from somebody who is not in it.
func (l *loop) spoofed(now time.Time, s *session, m *wire.Message, f wire.Flow) {
	l.s.count.spoofed.Add(1)
	if !l.s.said.again("spoofed " + f.Remote.Addr().String()) {
		return
	}
	s.log.Warn().Stringer("from", f.Remote).Str("method", m.Method).Msg("a request within a call from an address that is not in it: refused")
	l.s.cfg.Observer.Recorded(Record{Kind: NoticeGiven, At: now, What: "forged request", Why: m.Method + " within a call from " + f.Remote.String() + ", which is not in it"})
}
