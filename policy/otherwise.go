package policy

import (
	"strings"
	"time"
)

// AnnouncementName names an announcement of the configuration.
type AnnouncementName string

// Otherwise is one step of what becomes of a routine call that nobody on its route has taken (R24). One of Wait, Announce, Divert, Reject and Person is
// set; a Wait may have an Announce beside it. An emergency call never has any.
type Otherwise struct {
	Wait     time.Duration    `json:",omitempty"` // stands in the route's line for so long, oldest first
	Announce AnnouncementName `json:",omitempty"` // is announced to; beside Wait: hears it over and over while it waits
	Early    bool             `json:",omitempty"` // the announcement is played as early media (183), not after a 200
	Times    int              `json:",omitempty"` // how often it is played
	Escape   Escape           `json:",omitzero"`  // the way out of the announcement
	Divert   []EndpointName   `json:",omitempty"` // others are asked, in this order
	Cap      int              `json:",omitempty"` // Divert: so many such calls at once; Wait: so many callers in the line. 0: no limit
	Reject   int              `json:",omitempty"` // is refused with this code
	Person   RouteName        `json:",omitempty"` // goes to this emergency route as if its caller had pressed the key (text relay)
}

// Escape is the key that moves a caller who hears an announcement to an emergency route, whatever the load (R25). The zero value is no way out.
type Escape struct {
	Key string    `json:",omitempty"` // one of 0-9 * #
	To  RouteName `json:",omitempty"`
}

// Relay says what becomes of calls of the text relay (18001) where others are announced to.
type Relay struct {
	// Text is an announcement that is played instead: the longer text. Empty: they go straight to a person.
	Text  AnnouncementName
	Times int
	Early bool
}

// relayPrefix is what somebody dials before a number to be connected by the text relay.
const relayPrefix = "18001"

// relayed says that a number was called, or is called from, by way of the text relay.
func relayed(number string) bool { return strings.HasPrefix(number, relayPrefix) }

// otherwise is what follows when nobody takes a call of this match. Load protection skips what comes before the first announcement or refusal, and
// has the announcement say that demand is high (R26).
func (p *Policy) otherwise(m Match, shed bool) []Otherwise {
	r := &m.Route
	switch {
	case r.Class == Emergency || len(r.Otherwise) == 0:
		return nil
	case m.Relay && r.Relay.Text == "":
		return []Otherwise{{Person: p.person(m)}}
	case m.Relay:
		return longer(r.Otherwise, r.Relay)
	case shed:
		return demand(r.Otherwise, r.Shed)
	default:
		return r.Otherwise
	}
}

// person is the emergency route to which a call of the text relay goes: the one that the announcement's key leads to, else the trunk's first.
func (p *Policy) person(m Match) RouteName {
	for _, o := range m.Route.Otherwise {
		if o.Escape.To != "" {
			return o.Escape.To
		}
	}
	if r, ok := p.fallbackOf(m.Trunk.Name); ok {
		return r.Name
	}
	return ""
}

// longer has every announcement play the longer text.
func longer(steps []Otherwise, r Relay) []Otherwise {
	out := make([]Otherwise, len(steps))
	copy(out, steps)
	for i := range out {
		if out[i].Announce != "" {
			out[i].Announce, out[i].Times, out[i].Early = r.Text, r.Times, r.Early && out[i].Escape.Key == ""
		}
	}
	return out
}

// demand is what a caller meets who is shed.
func demand(steps []Otherwise, s *Shed) []Otherwise {
	for i := range steps {
		o := steps[i]
		switch {
		case o.Reject != 0:
			return steps[i:]
		case o.Announce == "" || o.Wait != 0:
			continue
		}
		out := make([]Otherwise, len(steps)-i)
		copy(out, steps[i:])
		out[0].Announce, out[0].Times, out[0].Early = s.Announce, s.Times, s.Early && o.Escape.Key == ""
		return out
	}
	return steps
}

// fallbackOf is the emergency route for calls of a trunk that name none: the one of unrouted calls.
func (p *Policy) fallbackOf(name TrunkName) (Route, bool) {
	at := -1
	if tab := p.trunks[name]; tab != nil {
		at = tab.fallback
	}
	if at < 0 {
		at = p.firstEmergency(func(Route) bool { return true })
	}
	if at < 0 {
		return Route{}, false
	}
	return p.routes[at], true
}

// Route finds a route by name.
func (p *Policy) Route(name RouteName) (Route, bool) {
	for _, r := range p.routes {
		if r.Name == name {
			return r, true
		}
	}
	return Route{}, false
}

// Escaped is the match of a call whose caller has left an announcement for a person: the emergency route, second line (R7). Without a route of that
// name, or where it is none for emergencies, it is the one for unrouted calls.
func (p *Policy) Escaped(m Match, to RouteName) Match {
	r, ok := p.Route(to)
	if !ok || r.Class != Emergency {
		if r, ok = p.fallbackOf(m.Trunk.Name); !ok {
			return m // a checked file has an emergency route
		}
	}
	m.Why = "its caller left route " + string(m.Route.Name) + " for a person: an emergency on route " + string(r.Name) + ", second line"
	m.Route, m.SecondLine, m.Aid = r, true, m.Aid || r.Aid
	return m
}

// treat gives a call of a routine route emergency treatment while an operator wants it so (R1).
func (p *Policy) treat(m Match, q Query) Match {
	if m.Route.Class != Routine || m.Trunk.Kind == PBX || q.Treated == nil || !q.Treated(m.Route.Name) {
		return m
	}
	r, ok := p.fallbackOf(m.Trunk.Name)
	if !ok {
		return m
	}
	m.Why += "; an operator has route " + string(m.Route.Name) + " treated as emergency: route " + string(r.Name) + ", second line"
	m.Treated = m.Route.Name
	m.Route, m.SecondLine, m.Aid = r, true, m.Aid || r.Aid
	return m
}

// Divert plans the step of an otherwise that asks others than the route does. It is empty where the loop guard leaves nobody.
func (p *Policy) Divert(m Match, step Otherwise, v View) Plan {
	m.Route.Ask = nil
	for _, e := range step.Divert {
		m.Route.Ask = append(m.Route.Ask, []EndpointName{e})
	}
	plan := p.Plan(m, v)
	plan.Otherwise = nil
	return plan
}

// open leaves the endpoints that a waiting caller may be put through to: neither down nor held nor full. Who waits does not knock at dead doors.
func open(cs []candidate) []candidate {
	kept := cs[:0]
	for _, c := range cs {
		if !c.impaired() {
			kept = append(kept, c)
		}
	}
	return kept
}
