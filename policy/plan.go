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

// candidate is one endpoint on its way into a plan.
type candidate struct {
	endpoint Endpoint
	state    State
	place    int // of its list in the route
	free     int
	full     bool
}

// behind says whether health or an operator moved it behind the others: 0 not, 1 down, 2 held, 3 both.
func (c *candidate) behind() int {
	n := 0
	if c.state.Held {
		n = 2
	}
	if c.state.Verdict == health.Down {
		n++
	}
	return n
}

// Plan orders a route's endpoints for one call (R5, R7, R9).
//
// The order is (held, down, place in the file). An inner list shares by free slots. Full moves an endpoint only behind its neighbours of the same
// kind; with Overflow behind all that have room. Nothing but R9 takes an endpoint out, and it takes partners only.
func (p *Policy) Plan(m Match, v View) Plan {
	r := &m.Route
	plan := Plan{
		Route: r.Name, Class: r.Class, SecondLine: m.SecondLine,
		Progress: r.Progress, Ringing: r.Ringing, RingingToPartners: r.RingingToPartners,
		Overlap: r.Overlap, EarlyMedia: r.EarlyMedia, GiveUp: m.Trunk.GiveUp,
	}
	if m.Aid {
		plan.GiveUp = aidGiveUp
	}
	var room [8]candidate // most routes fit, so that they cost no allocation
	cs := p.candidates(room[:0], m, v)
	sortCandidates(cs, r.Overflow)
	moveFull(cs, r.Overflow)
	cs, plan.Why = limitPartners(cs, m, v)

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
			cs = append(cs, c)
		}
	}
	return cs
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
	return Step{Endpoint: c.endpoint.Name, Partner: c.endpoint.Partner, Patience: patience, Follow3xx: c.endpoint.Follow3xx, Why: c.why()}
}

func (c *candidate) why() string {
	why := c.state.Words
	if why == "" {
		why = c.state.Verdict.String()
		if c.state.Held {
			why = "held, " + why
		}
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
