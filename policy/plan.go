package policy

import (
	"strconv"
	"time"

	"nines/health"
)

// shortPatience is what an endpoint gets that may well be dead: suspect, unknown, or down (R5).
//
// A down endpoint is asked when all others have failed, so its time is taken from a caller who has waited already; and a live one that was
// misjudged loses nothing by it, because an attempt lives on when its patience is spent and its late answer wins.
const shortPatience = 300 * time.Millisecond

// canaryAlone is how long the canary of a returning endpoint is left alone with it, whatever the endpoint says: then the next is asked as well (R17).
const canaryAlone = 8 * time.Second

// candidate is one endpoint on its way into a plan.
type candidate struct {
	endpoint Endpoint
	state    State
	place    int // of its list in the route
	free     int
	full     bool
	proves   bool // the call is not an emergency: it may prove a returning endpoint
	canary   bool // the call is the emergency that tries a returning endpoint
}

// behind says how far health or an operator moved it behind the others: 0 not, 1 returning, 2 down, 3 and more held. One that is returning answers
// OPTIONS at least, so that it is asked before one that is down.
func (c *candidate) behind() int {
	n := 0
	if c.state.Held {
		n = 3
	}
	switch {
	case c.canary:
	case c.state.Returning:
		if c.proves { // routine calls prove it (R17)
			return n
		}
		n++
	case c.state.Verdict == health.Down:
		n += 2
	}
	return n
}

// Plan orders a route's endpoints for one call (R5, R7, R9).
//
// The order is (held, down, returning, place in the file). An inner list shares by free slots. Full moves an endpoint only behind its neighbours of the same
// kind; with Overflow behind all that have room. Nothing but R9 takes an endpoint out, and it takes partners only.
func (p *Policy) Plan(m Match, v View) Plan {
	r := &m.Route
	plan := Plan{
		Route: r.Name, Class: r.Class, SecondLine: m.SecondLine,
		Progress: r.Progress, Ringing: r.Ringing, RingingToPartners: r.RingingToPartners,
		Overlap: r.Overlap, EarlyMedia: r.EarlyMedia, Rescue: !r.NoRescue, GiveUp: m.Trunk.GiveUp,
	}
	if m.Aid {
		plan.GiveUp = aidGiveUp
	}
	var room [8]candidate // most routes fit, so that they cost no allocation
	cs := p.candidates(room[:0], m, v)
	arrange(cs, r.Overflow)
	seatCanary(cs, r.Overflow, v)
	cs, plan.Why = limitPartners(cs, m, v)
	if r.Class != Emergency {
		shed := v.Shed && r.Shed != nil && !m.Relay
		plan.Otherwise, plan.Impaired = p.otherwise(m, shed), shed || anyImpaired(cs)
		switch {
		case shed:
			cs, plan.Why = cs[:0], "nobody is asked: emergency calls need everybody"
		case v.Turn:
			cs = open(cs)
		}
	}

	plan.Steps = make([]Step, len(cs))
	for i := range cs {
		plan.Steps[i] = cs[i].step(r.Patience)
	}
	return plan
}

// candidates gathers the route's endpoints, each once, with what is known of them.
func (p *Policy) candidates(cs []candidate, m Match, v View) []candidate {
	for place, list := range m.Route.Ask {
		for _, name := range list {
			if contains(cs, name) {
				continue
			}
			e, ok := p.endpoints[name]
			if !ok {
				e.Name = name // a checked file has no such thing; asking it is better than not
			}
			c := candidate{endpoint: e, place: place}
			if v.State != nil {
				c.state = v.State(name)
			}
			limit := limit(e, m.Route.Class, m.SecondLine)
			c.free = limit - c.state.Used
			c.full = c.free <= 0 || c.state.Busy
			c.proves = m.Route.Class != Emergency
			c.canary = !c.proves && c.mayTry(m, v)
			cs = append(cs, c)
		}
	}
	return cs
}

// impaired says that an endpoint can't be counted on for a routine call.
func (c *candidate) impaired() bool {
	return c.state.Held || c.full || c.state.Verdict == health.Down && !c.state.Returning
}

func anyImpaired(cs []candidate) bool {
	for i := range cs {
		if cs[i].impaired() {
			return true
		}
	}
	return false
}

// mayTry says whether a call may be the canary of a returning endpoint. A partner that the loop guard moves is not tried.
func (c *candidate) mayTry(m Match, v View) bool {
	guarded := c.endpoint.Partner && (m.Aid || v.CallerOut || v.MaxForwards <= 0)
	return c.state.Returning && c.state.Canary && !c.state.Held && !c.full && !guarded
}

// seatCanary takes the canary's seat for the endpoint that is asked first, if it is one that is to be tried. The others stay behind: a canary that
// stood second would be tried by callers whom the first has failed already.
func seatCanary(cs []candidate, overflow bool, v View) {
	for len(cs) > 0 && cs[0].canary && v.TakeCanary != nil && !v.TakeCanary(cs[0].endpoint.Name) {
		cs[0].canary = false
		arrange(cs, overflow)
	}
	moved := false
	for i := 1; i < len(cs); i++ {
		moved = moved || cs[i].canary
		cs[i].canary = false
	}
	if moved {
		arrange(cs, overflow)
	}
}

func arrange(cs []candidate, overflow bool) {
	sortCandidates(cs, overflow)
	moveFull(cs, overflow)
}

func contains(cs []candidate, name EndpointName) bool {
	for i := range cs {
		if cs[i].endpoint.Name == name {
			return true
		}
	}
	return false
}

// sortCandidates is an insertion sort: plans are short, and it is stable.
func sortCandidates(cs []candidate, overflow bool) {
	for i := 1; i < len(cs); i++ {
		for j := i; j > 0 && before(&cs[j], &cs[j-1], overflow); j-- {
			cs[j], cs[j-1] = cs[j-1], cs[j]
		}
	}
}

func before(a, b *candidate, overflow bool) bool {
	switch {
	case a.behind() != b.behind():
		return a.behind() < b.behind()
	case a.place != b.place:
		return a.place < b.place
	case !overflow && a.endpoint.Partner != b.endpoint.Partner: // own rooms first in a mixed list, too
		return b.endpoint.Partner
	case a.full != b.full:
		return b.full
	default:
		return a.free > b.free
	}
}

// moveFull moves full endpoints behind their neighbours of the same kind, and no further: never behind a partner that stands after an own room, nor
// behind a last resort that stands after the partners. With overflow behind everything that is as healthy.
func moveFull(cs []candidate, overflow bool) {
	for start := 0; start < len(cs); {
		end := start + 1
		for end < len(cs) && cs[end].behind() == cs[start].behind() && (overflow || cs[end].endpoint.Partner == cs[start].endpoint.Partner) {
			end++
		}
		run := cs[start:end]
		for i := 1; i < len(run); i++ {
			for j := i; j > 0 && run[j-1].full && !run[j].full; j-- {
				run[j], run[j-1] = run[j-1], run[j]
			}
		}
		start = end
	}
}

// limitPartners applies the loop guard (R9) and says what it did.
func limitPartners(cs []candidate, m Match, v View) ([]candidate, string) {
	partners := 0
	for i := range cs {
		if cs[i].endpoint.Partner {
			partners++
		}
	}
	why, keep := "", 0
	switch {
	case partners == 0:
		return cs, ""
	case m.Aid:
		why = "partners left out: the call came as mutual aid"
	case v.MaxForwards <= 0:
		why = "partners left out: Max-Forwards is spent"
	case v.CallerOut:
		why, keep = "one partner, and last: this caller is already out at a partner", 1
	default:
		return cs, ""
	}
	if partners == len(cs) && keep == 0 {
		why += "; the route has no own room, so nobody is left to ask"
	}
	own := cs[:0]
	var last [1]candidate
	kept := 0
	for _, c := range cs {
		switch {
		case !c.endpoint.Partner:
			own = append(own, c)
		case kept < keep:
			last[kept] = c
			kept++
		}
	}
	return append(own, last[:kept]...), why
}

func (c *candidate) step(patience time.Duration) Step {
	switch c.state.Verdict {
	case health.Up:
	case health.Unknown, health.Suspect, health.Down:
		patience = min(patience, shortPatience)
	}
	s := Step{Endpoint: c.endpoint.Name, Partner: c.endpoint.Partner, Patience: patience, Follow3xx: c.endpoint.Follow3xx, Canary: c.canary, Why: c.why()}
	if c.canary {
		s.AsWell = canaryAlone
	}
	return s
}

func (c *candidate) why() string {
	why := c.state.Words
	if why == "" {
		why = c.state.Verdict.String()
		if c.state.Held {
			why = "held, " + why
		}
		if c.state.Returning {
			why += ", returning"
		}
	}
	if c.canary {
		why += ", this call is the canary that tries it"
	}
	switch {
	case c.state.Busy:
		why += ", said it is busy"
	case c.full:
		limit := c.state.Used + c.free
		why += ", full"
		if limit < c.endpoint.Calls {
			why += " for this kind of call" // a reserve, or the third that is kept for new emergency calls
		}
		why += " (" + strconv.Itoa(c.state.Used) + " of " + strconv.Itoa(limit) + ")"
	}
	return why
}
