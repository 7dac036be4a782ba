package policy

import (
	"strings"
	"time"
)

// What is used where a configuration left a duration at zero. The shipped defaults are the same.
const (
	defaultPatience = time.Second
	defaultProgress = 4 * time.Second
	defaultGiveUp   = 20 * time.Second
)

// aidGiveUp is how long a call that came as mutual aid may live while nothing rings anywhere: its sender has other places to ask (R9).
const aidGiveUp = 5 * time.Second

// outProgress is the patience with a 100 on a PBX's outgoing call. Behind a carrier's gateway a telephone network may need many seconds until
// something rings, and the next gateway would ring the same telephone.
const outProgress = 10 * time.Second

// Policy is a compiled configuration. It never changes and may be used by everybody at once.
type Policy struct {
	routes    []Route
	trunks    map[TrunkName]*table
	stranger  *table // for a trunk that is not in the configuration
	endpoints map[EndpointName]Endpoint
}

// table is what one trunk may call.
type table struct {
	trunk    Trunk
	exact    map[string]int // number → index of its route
	prefix   map[string]int // what stands before the *
	lengths  []int          // lengths of the prefixes, longest first; the bare * is not among them
	rest     int            // route of the bare *, or -1
	fallback int            // route of unrouted calls, or -1
	out      Route          // PBX: where everything else goes; without Ask nowhere
}

// New compiles a configuration. It trusts that the configuration was checked: of two routes that claim the same number the one that lists the
// trunk wins, then the emergency route, then the first in the file.
func New(cfg Config) *Policy {
	p := &Policy{
		routes:    make([]Route, len(cfg.Routes)),
		trunks:    make(map[TrunkName]*table, len(cfg.Trunks)),
		endpoints: make(map[EndpointName]Endpoint, len(cfg.Endpoints)),
	}
	for i, r := range cfg.Routes {
		if r.Patience <= 0 {
			r.Patience = defaultPatience
		}
		if r.Progress <= 0 {
			r.Progress = defaultProgress
		}
		p.routes[i] = r
	}
	for _, e := range cfg.Endpoints {
		p.endpoints[e.Name] = e
	}
	for _, t := range cfg.Trunks {
		if t.GiveUp <= 0 {
			t.GiveUp = defaultGiveUp
		}
		p.trunks[t.Name] = p.compile(t, func(r Route) bool { return lists(r, t.Name) }, func(r Route) bool {
			// A call-back from the PBX must never ring our own 999 desk: its trunk has only the routes that name it.
			return len(r.Trunks) == 0 && t.Kind != PBX
		})
	}
	// unknown_sources: answer_emergency. A stranger may reach every emergency number, whichever trunk it was meant for, and nothing else.
	p.stranger = p.compile(Trunk{GiveUp: defaultGiveUp}, func(Route) bool { return false }, func(r Route) bool { return r.Class == Emergency })
	p.stranger.fallback = -1
	return p
}

func lists(r Route, name TrunkName) bool {
	for _, t := range r.Trunks {
		if t == name {
			return true
		}
	}
	return false
}

// compile makes the table of one trunk. The routes of first come before those of second.
func (p *Policy) compile(t Trunk, first, second func(Route) bool) *table {
	tab := &table{trunk: t, exact: map[string]int{}, prefix: map[string]int{}, rest: -1, fallback: -1}
	for _, open := range []func(Route) bool{first, second} {
		for _, emergency := range []bool{true, false} {
			for i, r := range p.routes {
				if open(r) && (r.Class == Emergency) == emergency {
					tab.add(i, r.Numbers)
				}
			}
		}
	}
	for n := range tab.prefix {
		tab.lengths = insertLength(tab.lengths, len(n))
	}
	if t.Kind == PBX {
		tab.out = outRoute(t)
	} else {
		tab.fallback = p.firstEmergency(func(r Route) bool { return first(r) || second(r) })
	}
	return tab
}

func (tab *table) add(route int, numbers []string) {
	for _, n := range numbers {
		n = strings.TrimSpace(n)
		if n == "*" {
			if tab.rest < 0 {
				tab.rest = route
			}
			continue
		}
		into := tab.exact
		if head, ok := strings.CutSuffix(n, "*"); ok {
			n, into = head, tab.prefix
		}
		n = Number(n)
		if _, taken := into[n]; !taken {
			into[n] = route
		}
	}
}

// insertLength keeps the lengths distinct and falling.
func insertLength(lengths []int, n int) []int {
	at := len(lengths)
	for i, l := range lengths {
		if l == n {
			return lengths
		}
		if l < n {
			at = i
			break
		}
	}
	lengths = append(lengths, 0)
	copy(lengths[at+1:], lengths[at:])
	lengths[at] = n
	return lengths
}

// firstEmergency is the route of unrouted calls: the first emergency route that is open to the trunk, else the first at all. Aid routes come last:
// they ask no partners.
func (p *Policy) firstEmergency(open func(Route) bool) int {
	for _, fits := range []func(Route) bool{
		func(r Route) bool { return !r.Aid && open(r) },
		func(r Route) bool { return !r.Aid },
		func(Route) bool { return true },
	} {
		for i, r := range p.routes {
			if r.Class == Emergency && fits(r) {
				return i
			}
		}
	}
	return -1
}

// outRoute is the route of what a PBX calls out through us: routine, any number, named after its trunk. Two gateways are never asked at once,
// because both would ring the same telephone.
func outRoute(t Trunk) Route {
	r := Route{
		Name: RouteName(t.Name), Class: Routine, Trunks: []TrunkName{t.Name}, Numbers: []string{"*"},
		Patience: defaultPatience, Progress: outProgress,
	}
	for _, e := range t.Out {
		r.Ask = append(r.Ask, []EndpointName{e})
	}
	return r
}

// find gives the route of one number: exact before prefix, the longest prefix first. The bare * is not looked at.
func (tab *table) find(number string) (int, bool) {
	if i, ok := tab.exact[number]; ok {
		return i, true
	}
	for _, n := range tab.lengths {
		if n <= len(number) {
			if i, ok := tab.prefix[number[:n]]; ok {
				return i, true
			}
		}
	}
	return -1, false
}

// Match finds the route of a call (R1).
//
// The Request-URI is looked at first, then To, then the others; where they name routes of different classes, emergency wins. A route for
// the bare * takes what nothing else claims; it is no disagreement.
// Without a route: from a carrier or from another force's nines it is an emergency call of the second line; from a PBX it goes to the
// trunk's out list, if there is one. A trunk that is not in the configuration reaches emergency numbers only.
func (p *Policy) Match(q Query) Match {
	tab := p.trunks[q.Trunk]
	if tab == nil {
		tab = p.stranger
	}
	found := p.look(tab, q)
	if found.route < 0 {
		return p.unrouted(tab, q)
	}
	m := Match{
		Found: true, Route: p.routes[found.route], Trunk: tab.trunk, Number: found.number,
		Why: found.number + " in the " + found.where + " is on route " + string(p.routes[found.route].Name) + found.but,
	}
	return p.treat(m.relayed(q), q).aided(q)
}

// finding is what one look at a call's URIs gave.
type finding struct {
	route  int
	number string
	where  string
	but    string
}

func (p *Policy) look(tab *table, q Query) finding {
	best := finding{route: -1}
	best = p.better(tab, best, q.RequestURI, "Request-URI")
	best = p.better(tab, best, q.To, "To")
	for _, uri := range q.Others {
		best = p.better(tab, best, uri, "service headers")
	}
	return best
}

// better looks at one more URI: it counts if nothing was found yet, or if it is an emergency and what was found is not.
func (p *Policy) better(tab *table, best finding, uri, where string) finding {
	if uri == "" || best.route >= 0 && p.routes[best.route].Class == Emergency {
		return best
	}
	number := Number(uri)
	i, ok := tab.find(number)
	if !ok || best.route >= 0 && p.routes[i].Class != Emergency {
		return best
	}
	but := ""
	if best.route >= 0 {
		but = ", although " + best.number + " in the " + best.where + " is on route " + string(p.routes[best.route].Name) + ": emergency wins"
	}
	return finding{route: i, number: number, where: where, but: but}
}

// unrouted treats a call whose number is on no route.
func (p *Policy) unrouted(tab *table, q Query) Match {
	number := Number(q.RequestURI)
	if number == "" {
		number = Number(q.To)
	}
	m := Match{Trunk: tab.trunk, Number: number}
	switch {
	case tab.rest >= 0:
		m.Found, m.Route = true, p.routes[tab.rest]
		m.Why = "route " + string(m.Route.Name) + " takes every number"
	case len(tab.out.Ask) > 0:
		m.Found, m.Route = true, tab.out
		m.Why = "goes out for " + string(tab.trunk.Name)
	case tab.fallback >= 0:
		m.Found, m.Route, m.SecondLine = true, p.routes[tab.fallback], true
		m.Why = "\"" + number + "\" from " + string(tab.trunk.Name) + " is on no route: treated as an emergency on route " + string(m.Route.Name) + ", second line"
	default:
		m.Why = "\"" + number + "\" is on no route"
		if tab.trunk.Kind == PBX {
			m.Why += " that lists " + string(tab.trunk.Name) + ", which has no out list"
		}
		return m
	}
	return p.treat(m.relayed(q), q).aided(q)
}

// relayed says whether the call came by way of the text relay.
func (m Match) relayed(q Query) Match {
	m.Relay = relayed(m.Number) || relayed(Number(q.Caller))
	return m
}

// aided says whether the call came as mutual aid (R9).
func (m Match) aided(q Query) Match {
	switch {
	case m.Trunk.Kind == Aid:
		m.Aid = true
		m.Why += "; mutual aid, because trunk " + string(m.Trunk.Name) + " is another force's"
	case m.Route.Aid:
		m.Aid = true
		m.Why += "; mutual aid, because the route is for it"
	case q.Marked:
		m.Aid = true
		m.Why += "; mutual aid, because the call is marked"
	}
	return m
}
