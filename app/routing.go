package app

import (
	"nines/configs"
	"nines/health"
	"nines/policy"
	"nines/sip"
	"nines/sip/wire"
)

// routing translates a file into what package sip swaps at a reload.
func routing(f *configs.File) sip.Routing {
	r := sip.Routing{Name: f.Name, AnswerEmergency: f.UnknownSources == configs.AnswerEmergency, Health: healthConfig(f), MediaGap: f.Health.MediaGap}
	for _, t := range f.Trunks {
		r.Trunks = append(r.Trunks, sip.Trunk{
			Trunk:     policy.Trunk{Name: policy.TrunkName(t.Name), Kind: trunkKind(t.Kind), Out: endpointNames(t.Out), GiveUp: t.GiveUp},
			From:      t.From,
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
		})
	}
	for _, rt := range f.Routes {
		r.Routes = append(r.Routes, route(rt))
	}
	return r
}

func route(r configs.Route) policy.Route {
	out := policy.Route{
		Name: policy.RouteName(r.Name), Class: class(r.Class), Numbers: r.Numbers, Aid: r.Aid,
		Patience: r.Patience, Progress: r.Progress, Ringing: r.Ringing, RingingToPartners: r.RingingToPartners,
		Overlap: r.Overlap, Overflow: r.Overflow, EarlyMedia: r.EarlyMedia == configs.FirstEarlyMedia,
		NoRescue: !r.Rescue, RescueBye: r.RescueBye == configs.SuspiciousRescueBye,
	}
	for _, t := range r.Trunks {
		out.Trunks = append(out.Trunks, policy.TrunkName(t))
	}
	for _, group := range r.Ask {
		out.Ask = append(out.Ask, endpointNames(group))
	}
	return out
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

// listeners are the sockets that this version opens; those it does not are in what `nines check` says.
func listeners(f *configs.File) []wire.Listen {
	var out []wire.Listen
	for _, l := range f.Listeners() {
		switch l.Transport {
		case configs.UDP:
			out = append(out, wire.Listen{Proto: wire.UDP, Addr: l.Addr})
		case configs.TCP:
			out = append(out, wire.Listen{Proto: wire.TCP, Addr: l.Addr})
		case configs.TLSOverTCP:
		}
	}
	return out
}
