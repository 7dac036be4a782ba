package policy

import (
	"fmt"
	"strings"
	"time"
)

// Shed says at which emergency load the callers of a routine route are announced to instead (R26).
type Shed struct {
	Waiting int // so many emergency calls without an answer, or more; 0: not looked at
	// Slots is how few free slots at partners are too few, where Partners is set.
	Slots    int
	Partners bool

	UntilWaiting int // back again with so many, or fewer
	UntilSlots   int // and so many free slots at partners, or more
	For          time.Duration

	Announce AnnouncementName // what they hear
	Times    int
	Early    bool
}

// Load is what emergency calls need right now.
type Load struct {
	Waiting  int  // emergency calls without an answer
	Slots    int  // free slots at partners that say how many calls they take
	Partners bool // there are such partners
}

// high says whether a load is so high that the route is shed, and in words why.
func (s *Shed) high(l Load) (why string, high bool) {
	var said []string
	if s.Waiting > 0 && l.Waiting >= s.Waiting {
		said = append(said, fmt.Sprintf("%d emergency calls wait for an answer (limit %d)", l.Waiting, s.Waiting))
	}
	if s.Partners && l.Partners && l.Slots <= s.Slots {
		said = append(said, fmt.Sprintf("partners have %d free slots (limit %d)", l.Slots, s.Slots))
	}
	return strings.Join(said, " and "), len(said) > 0
}

// low says whether a load is so low that the route may go back.
func (s *Shed) low(l Load) bool {
	return (s.Waiting == 0 || l.Waiting <= s.UntilWaiting) && (!s.Partners || !l.Partners || l.Slots >= s.UntilSlots)
}

// Shedding keeps which routes are shed. It is not safe for concurrent use.
type Shedding struct {
	of map[RouteName]*shedding
}

type shedding struct {
	since time.Time // since when it is shed; zero: it is not
	why   string
	low   time.Time // since when the load has been low
}

// ShedChange is one automatic switch.
type ShedChange struct {
	Route RouteName
	On    bool
	Why   string    // the evidence
	Since time.Time // not On: since when it had been on
}

// ShedState is a route that is shed now.
type ShedState struct {
	Route RouteName
	Since time.Time
	Why   string
	Low   time.Time // since when the load has been low enough; zero: it is not
}

// Judge weighs the load and says which routes of these it switches.
func (s *Shedding) Judge(now time.Time, routes []Route, load Load) []ShedChange {
	var changes []ShedChange
	for i := range routes {
		r := &routes[i]
		was := s.of[r.Name]
		if r.Shed == nil || r.Class == Emergency {
			continue
		}
		why, high := r.Shed.high(load)
		switch {
		case was == nil && !high:
		case was == nil:
			if s.of == nil {
				s.of = map[RouteName]*shedding{}
			}
			s.of[r.Name] = &shedding{since: now, why: why}
			changes = append(changes, ShedChange{Route: r.Name, On: true, Why: why})
		case high || !r.Shed.low(load):
			was.low = time.Time{}
		case was.low.IsZero():
			was.low = now
			fallthrough
		default:
			if now.Sub(was.low) >= r.Shed.For {
				delete(s.of, r.Name)
				changes = append(changes, ShedChange{Route: r.Name, Since: was.since, Why: fmt.Sprintf("%s for %s", s.words(r.Shed, load), r.Shed.For)})
			}
		}
	}
	return append(changes, s.gone(routes)...)
}

// words is the load in words.
func (*Shedding) words(r *Shed, l Load) string {
	var said []string
	if r.Waiting > 0 {
		said = append(said, fmt.Sprintf("%d emergency calls wait for an answer", l.Waiting))
	}
	if r.Partners && l.Partners {
		said = append(said, fmt.Sprintf("partners have %d free slots", l.Slots))
	}
	return strings.Join(said, " and ")
}

// gone ends what a new configuration sheds no more.
func (s *Shedding) gone(routes []Route) []ShedChange {
	var changes []ShedChange
	for name, was := range s.of {
		kept := false
		for i := range routes {
			kept = kept || routes[i].Name == name && routes[i].Shed != nil
		}
		if !kept {
			delete(s.of, name)
			changes = append(changes, ShedChange{Route: name, Since: was.since, Why: "the configuration sheds it no more"})
		}
	}
	return changes
}

// On says whether a route is shed.
func (s *Shedding) On(route RouteName) bool { return s.of[route] != nil }

// States gives the routes of these that are shed.
func (s *Shedding) States(routes []Route) []ShedState {
	var out []ShedState
	for i := range routes {
		if was := s.of[routes[i].Name]; was != nil {
			out = append(out, ShedState{Route: routes[i].Name, Since: was.since, Why: was.why, Low: was.low})
		}
	}
	return out
}
