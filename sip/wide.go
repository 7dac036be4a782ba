package sip

import (
	"time"

	"nines/policy"
	"nines/sip/wire"
)

// A request that is too large for one packet should go by TCP (RFC 3261 §18.1.1). Not every UDP endpoint listens on TCP, and a call must not wait to find
// out: connections are tried in the background, and a large INVITE goes by one that is there, else by UDP in fragments at once (R12).

const (
	largest   = 1300             // bytes of a request that go by UDP as a matter of course
	widenNext = 30 * time.Second // how often a connection is tried
)

// widen tries to have a TCP connection to each address of an endpoint that is asked by UDP. What becomes of it is no evidence.
func (r *round) widen(now time.Time, ep *endpoint, hops []hop) {
	l := r.l
	if r.then != nil || ep.uri.Transport() == wire.UDP || now.Before(l.widened[r.name]) {
		return // transport=udp is somebody's wish
	}
	if l.widened == nil {
		l.widened = map[policy.EndpointName]time.Time{}
	}
	l.widened[r.name] = now.Add(widenNext)
	for _, h := range hops {
		if h.proto == wire.UDP {
			l.s.stack.ConnectTo(ep.to(wire.TCP, h.addr), func(wire.Flow, error) {})
		}
	}
}

// wider is the connection that a large INVITE takes instead of UDP.
func (at *attempt) wider(f wire.Flow, size int) (wire.Flow, bool) {
	if f.Proto != wire.UDP || size <= largest || at.narrowed || at.ep.uri.Transport() == wire.UDP {
		return wire.Flow{}, false
	}
	return at.s.loop.s.stack.Live(at.ep.to(wire.TCP, f.Remote))
}

// narrow sends an INVITE by UDP after all, whose connection brought no response. It is false where that is no way.
func (at *attempt) narrow(now time.Time) bool {
	if !at.wide || at.spoke || at.stopped || at.final {
		return false
	}
	at.wide, at.narrowed, at.dead = false, true, false
	f, ok := at.s.loop.s.stack.UDPFlowVia(at.ep.Via, at.flow.Remote)
	if !ok {
		return false
	}
	at.send(now, f)
	return true
}

// forgo ends the transaction that is given up for another way.
func (at *attempt) forgo() {
	l := at.s.loop
	l.txns.Forget(at.key)
	delete(l.waiting, at.key)
}
