package app

import (
	"net/netip"
	"slices"

	"nines/configs"
	"nines/health"
	"nines/policy"
	"nines/sip"
	"nines/sip/wire"
)

// routing translates a file into what package sip swaps at a reload.
func routing(f *configs.File) sip.Routing {
	r := sip.Routing{Name: f.Name, AnswerEmergency: f.UnknownSources == configs.AnswerEmergency, Health: healthConfig(f), MediaGap: f.Health.MediaGap, Messages: tracing(f)}
	for _, t := range f.Trunks {
		r.Trunks = append(r.Trunks, sip.Trunk{
			Trunk:     policy.Trunk{Name: policy.TrunkName(t.Name), Kind: trunkKind(t.Kind), Out: endpointNames(t.Out), GiveUp: t.GiveUp},
			From:      t.From,
			Via:       t.Via,
			Truthful:  t.Options == configs.Truthful,
			Symmetric: t.Symmetric,
		})
	}
	for _, e := range f.Endpoints {
		r.Endpoints = append(r.Endpoints, sip.Endpoint{
			Endpoint: policy.Endpoint{
				Name: policy.EndpointName(e.Name), Partner: e.Partner, Calls: e.Calls, Reserve: e.Reserve, Follow3xx: e.Follow3xx,
			},
			URI: e.URI.Raw, Addresses: e.Addresses, MediaFrom: e.MediaFrom, Symmetric: e.Symmetric, Queue: e.Answers == configs.Queue,
			RequireTLS: e.RequireTLS, Via: e.Via,
		})
	}
	for _, rt := range f.Routes {
		r.Routes = append(r.Routes, route(f, rt))
	}
	return r
}

func route(f *configs.File, r configs.Route) policy.Route {
	out := policy.Route{
		Name: policy.RouteName(r.Name), Class: class(r.Class), Numbers: r.Numbers, Aid: r.Aid,
		Patience: r.Patience, Progress: r.Progress, Ringing: r.Ringing, RingingToPartners: r.RingingToPartners,
		Overlap: r.Overlap, Overflow: r.Overflow, EarlyMedia: r.EarlyMedia == configs.FirstEarlyMedia,
		NoRescue: !r.Rescue, RescueBye: r.RescueBye == configs.SuspiciousRescueBye, Hearing: hearing(r.Hearing),
	}
	for _, t := range r.Trunks {
		out.Trunks = append(out.Trunks, policy.TrunkName(t))
	}
	for _, group := range r.Ask {
		out.Ask = append(out.Ask, endpointNames(group))
	}
	if r.Class != configs.Emergency {
		out.Otherwise, out.Shed, out.Relay = otherwise(f, r), shed(f, r.Shed), relay(f, r.Relay)
	}
	return out
}

// otherwise is what becomes of a routine call that nobody takes (R24).
func otherwise(f *configs.File, r configs.Route) []policy.Otherwise {
	var steps []policy.Otherwise
	for _, s := range r.Otherwise {
		o := policy.Otherwise{Wait: s.Wait, Divert: endpointNames(s.Divert), Cap: s.Cap, Reject: s.Reject}
		if s.Announce != "" {
			o.Announce, o.Times, o.Early = announced(f, s.Announce)
		}
		if s.Escape != nil {
			o.Escape = policy.Escape{Key: s.Escape.Digit, To: policy.RouteName(s.Escape.To)}
		}
		steps = append(steps, o)
	}
	return steps
}

// announced is how an announcement is played.
func announced(f *configs.File, name string) (_ policy.AnnouncementName, times int, early bool) {
	a := f.Announcement(name)
	return policy.AnnouncementName(a.Name), a.Times, a.Answer == configs.Early
}

func shed(f *configs.File, s *configs.Shed) *policy.Shed {
	if s == nil {
		return nil
	}
	out := &policy.Shed{
		Waiting: s.When, Slots: s.WhenSlots, Partners: s.WhenSlots >= 0,
		UntilWaiting: s.Until, UntilSlots: s.UntilSlots, For: s.For,
	}
	out.Announce, out.Times, out.Early = announced(f, s.Announce)
	return out
}

func relay(f *configs.File, name string) policy.Relay {
	if name == configs.RelayPerson {
		return policy.Relay{}
	}
	var r policy.Relay
	r.Text, r.Times, r.Early = announced(f, name)
	return r
}

func endpointNames(names []string) []policy.EndpointName {
	out := make([]policy.EndpointName, len(names))
	for i, n := range names {
		out[i] = policy.EndpointName(n)
	}
	return out
}

func healthConfig(f *configs.File) health.Config {
	h := f.Health
	c := health.Config{
		Every: h.Every, PartnersEvery: h.PartnersEvery, Timeout: h.Timeout, DownAfter: h.DownAfter, UpAfter: h.UpAfter, HoldDown: h.HoldDown,
		FailBack: failBack(h.FailBack),
	}
	for _, r := range f.Routes {
		if c.Patience == 0 || r.Patience < c.Patience {
			c.Patience = r.Patience // a silence shorter than this is a slow endpoint, not a dead one
		}
	}
	for _, e := range f.Endpoints {
		c.Endpoints = append(c.Endpoints, health.Endpoint{Name: health.EndpointName(e.Name), Partner: e.Partner, Queue: e.Answers == configs.Queue})
	}
	return c
}

func class(c configs.Class) policy.Class {
	switch c {
	case configs.Routine:
		return policy.Routine
	case configs.Test:
		return policy.Test
	case configs.Emergency:
	}
	return policy.Emergency
}

func trunkKind(k configs.TrunkKind) policy.TrunkKind {
	switch k {
	case configs.PBX:
		return policy.PBX
	case configs.Aid:
		return policy.Aid
	case configs.Carrier:
	}
	return policy.Carrier
}

func failBack(b configs.FailBack) health.FailBack {
	switch b {
	case configs.FailBackProbes:
		return health.Probes
	case configs.FailBackManual:
		return health.Manual
	case configs.FailBackAuto:
	}
	return health.Auto
}

// listeners are the sockets that a node opens.
func listeners(f *configs.File) []wire.Listen {
	var out []wire.Listen
	add := func(side string, on []configs.Listener) {
		for _, l := range on {
			out = append(out, wire.Listen{Proto: transport(l.Transport), Addr: l.Addr, Side: side})
		}
	}
	add("", f.Listen)
	for _, s := range f.Sides {
		add(s.Name, s.On)
	}
	return out
}

func transport(t configs.Transport) wire.Proto {
	switch t {
	case configs.TCP:
		return wire.TCP
	case configs.TLSOverTCP:
		return wire.TLS
	case configs.UDP:
	}
	return wire.UDP
}

func sides(f *configs.File) []sip.Side {
	var out []sip.Side
	for _, s := range f.Sides {
		out = append(out, sip.Side{Name: s.Name, Advertise: s.Advertise, Media: s.Media})
	}
	return out
}

// mediaAddresses are those of the file and of its sides.
func mediaAddresses(f *configs.File) []netip.Addr {
	out := slices.Clone(f.Media.Addresses)
	for _, s := range f.Sides {
		if s.Media.IsValid() && !slices.Contains(out, s.Media) {
			out = append(out, s.Media)
		}
	}
	return out
}

// hearing is what a caller hears during a rescue.
func hearing(h configs.Hearing) policy.Hearing {
	switch h {
	case configs.HearComfort:
		return policy.HearComfort
	case configs.HearHoldTheLine:
		return policy.HearHoldTheLine
	case configs.HearNothing:
	}
	return policy.HearNothing
}
