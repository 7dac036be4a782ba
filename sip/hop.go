package sip

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"nines/call"
	"nines/health"
	"nines/policy"
	"nines/sip/wire"
)

// hop is one address that an attempt may try, and how.
type hop struct {
	proto wire.Proto
	addr  netip.AddrPort
	plain bool // TCP in place of the TLS that the URI asks for
}

// ways lists where the INVITE may go, in order: to a followed contact, or to the endpoint's addresses. A contact whose host is a name goes to the
// endpoint, which knows it. On an emergency call plain TCP follows TLS, unless the endpoint may be reached by TLS only (R12).
func (at *attempt) ways() []hop {
	hops := at.contactWay()
	if hops == nil {
		hops = at.s.loop.targets(at.ep)
	}
	if at.s.machine.Class != policy.Emergency || at.ep.RequireTLS {
		return hops
	}
	for _, h := range hops {
		if h.proto == wire.TLS {
			hops = append(hops, hop{proto: wire.TCP, addr: netip.AddrPortFrom(h.addr.Addr(), h.addr.Port()-1), plain: true})
		}
	}
	return hops
}

// targets lists an endpoint's addresses as they are tried: those believed dead last, but never left out.
func (l *loop) targets(ep *endpoint) []hop {
	hops := l.s.names.targets(ep, l.rnd)
	if len(hops) < 2 {
		return hops
	}
	snap := l.s.health.Load()
	slices.SortStableFunc(hops, func(a, b hop) int {
		return cmp.Compare(rankOf(snap.OfAddress(ep.Name, a.String())), rankOf(snap.OfAddress(ep.Name, b.String())))
	})
	return hops
}

func rankOf(v health.Verdict) int {
	if v == health.Down {
		return 1
	}
	return 0
}

// String is how an address is named in verdicts and status.
func (h hop) String() string {
	if h.proto == wire.UDP {
		return h.addr.String()
	}
	return h.addr.String() + "/" + strings.ToLower(h.proto.String())
}

func (at *attempt) contactWay() []hop {
	u, ok := wire.ParseURI(at.ask.Target)
	if at.ask.Target == "" || !ok {
		return nil
	}
	a, err := netip.ParseAddr(u.Host)
	if err != nil {
		return nil
	}
	proto := u.Transport()
	if proto == 0 {
		proto = wire.UDP
	}
	return []hop{{proto: proto, addr: netip.AddrPortFrom(a, portOr(u.Port, defaultPort(proto)))}}
}

func defaultPort(p wire.Proto) uint16 {
	if p == wire.TLS {
		return 5061
	}
	return 5060
}

// try sends the INVITE to the next address; without one the attempt has failed by cause.
func (at *attempt) try(now time.Time, cause call.Cause) {
	l := at.s.loop
	for len(at.hops) > 0 {
		h := at.hops[0]
		at.hops, at.plain, at.tried = at.hops[1:], h.plain, h
		if h.plain {
			at.s.log.Warn().Str("endpoint", string(at.ep.Name)).Stringer("to", h.addr).Msg("no TLS to the endpoint: this emergency call asks it by TCP")
		}
		if h.proto.Stream() {
			l.s.stack.ConnectTo(at.ep.to(h.proto, h.addr), func(f wire.Flow, err error) {
				l.post(func(now time.Time) { at.connected(now, f, err) })
			})
			return
		}
		if flow, ok := l.s.stack.UDPFlowVia(at.ep.Via, h.addr); ok {
			at.send(now, flow)
			return
		}
	}
	at.fail(now, cause, 0)
}

// another goes on to the endpoint's next address when one is dead: it is the same attempt and the same turn. It is false where there is none.
func (at *attempt) another(now time.Time, why string) bool {
	if at.spoke || at.stopped || at.final || len(at.hops) == 0 {
		return false
	}
	at.dead = false
	dead, name := at.tried.String(), at.ep.Name
	first := at.s.loop.s.loops[0]
	first.post(func(now time.Time) {
		first.judge.AddressFailed(now, name, dead, why)
		first.publish(now)
	})
	at.s.log.Info().Str("endpoint", string(name)).Str("address", dead).Str("why", why).Msg("asking its next address")
	at.try(now, call.Transport)
	return true
}

// connected is the end of a dial.
func (at *attempt) connected(now time.Time, f wire.Flow, err error) {
	defer at.s.loop.touch(at.s)
	switch {
	case at.stopped || at.s.over:
		at.final = true
		at.release()
	case err != nil:
		at.s.log.Info().Str("endpoint", string(at.ep.Name)).AnErr("error", err).Msg("no connection")
		if !at.another(now, "found no connection") {
			at.fail(now, call.Transport, 0)
		}
	default:
		at.send(now, f)
	}
}

// epURI is the endpoint's URI as this attempt uses it.
func (at *attempt) epURI() string {
	if at.plain {
		return plainURI(at.ep.URI)
	}
	return at.ep.URI
}

// plainURI is a URI that asks for TLS, for TCP: a TLS port is TCP's next (RFC 3261 §19.1.2).
func plainURI(s string) string {
	u, ok := wire.ParseURI(s)
	if !ok || u.Transport() != wire.TLS {
		return s
	}
	u.Scheme = "sip"
	if u.Port != 0 {
		u.Port--
	}
	var params strings.Builder
	params.WriteString(";transport=tcp")
	for p := range strings.SplitSeq(strings.TrimPrefix(u.Params, ";"), ";") {
		if name, _, _ := strings.Cut(p, "="); p != "" && !strings.EqualFold(name, "transport") {
			params.WriteString(";" + p)
		}
	}
	u.Params = params.String()
	return u.String()
}
