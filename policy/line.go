package policy

import (
	"slices"
	"time"
)

// How callers who wait for a person are let through.
const (
	lineEvery   = 100 * time.Millisecond // one caller of a line in this time, whoever has room: a room that has just come back is not rushed
	lineSoon    = 250 * time.Millisecond // how often the head of a line asks whether it is its turn
	lineLate    = 5 * time.Second        // and its end
	lineForgets = 15 * time.Second       // a waiting caller who did not ask for so long is gone
)

// line is the callers who wait on one route, oldest first.
type line struct {
	waiting []inLine
	let     time.Time // when somebody was last let through
}

type inLine struct {
	ticket Ticket
	asked  time.Time
	asking bool // it was let through and is asking; it keeps its place in case nobody takes it
}

// Turn is the answer to a caller in a line who asks whether it is its turn.
type Turn struct {
	OK    bool
	Until time.Time // not OK: when to ask again
	Place int       // how many are before it
}

// Join puts a routine call at the end of its route's line, if there are fewer than most (0: no limit).
func (s *Slots) Join(now time.Time, route RouteName, most int) (Ticket, bool) {
	l := s.line(route)
	l.forget(now)
	if most > 0 && len(l.waiting) >= most {
		return 0, false
	}
	s.tickets++
	l.waiting = append(l.waiting, inLine{ticket: s.tickets, asked: now})
	return s.tickets, true
}

// Turn says whether it is this caller's turn to ask these endpoints: there is a slot for it and for all who are before it (R24). Who is let through
// keeps the place until [Slots.LeaveLine], and asks for a turn again if nobody has taken it.
func (s *Slots) Turn(now time.Time, route RouteName, t Ticket, open []EndpointName) Turn {
	l := s.line(route)
	at, ok := l.place(t)
	if !ok {
		return Turn{Until: now.Add(lineLate)}
	}
	l.waiting[at].asked, l.waiting[at].asking = now, false
	l.forget(now)
	before := 0
	for _, w := range l.waiting {
		if w.ticket >= t {
			break
		}
		if !w.asking {
			before++
		}
	}
	turn := Turn{Place: before}
	switch {
	case before >= s.rooms(open):
		turn.Until = now.Add(min(lineSoon*time.Duration(1+before/8), lineLate))
	case !l.let.IsZero() && now.Sub(l.let) < lineEvery:
		turn.Until = l.let.Add(lineEvery * time.Duration(1+before))
		if late := now.Add(lineLate); turn.Until.After(late) {
			turn.Until = late
		}
	default:
		turn.OK = true
		l.let = now
		at, _ = l.place(t)
		l.waiting[at].asking = true
	}
	return turn
}

// rooms is how many more routine calls some endpoints have slots for.
func (s *Slots) rooms(open []EndpointName) int {
	n := 0
	for _, name := range open {
		sl := s.slot(name)
		if len(sl.queue) == 0 {
			n += max(0, min(limit(sl.endpoint, Routine, false), unlimited/64)-sl.used)
		}
	}
	return n
}

// LeaveLine gives up a place in a line: somebody has taken the call, or its caller waits no longer.
func (s *Slots) LeaveLine(route RouteName, t Ticket) {
	if l := s.lines[route]; l != nil {
		if at, ok := l.place(t); ok {
			l.waiting = slices.Delete(l.waiting, at, at+1)
		}
		if len(l.waiting) == 0 {
			delete(s.lines, route)
		}
	}
}

// Waiting is how many callers stand in a route's line.
func (s *Slots) Waiting(route RouteName) int {
	if l := s.lines[route]; l != nil {
		return len(l.waiting)
	}
	return 0
}

// overtakes says whether a routine call that is not in the line would overtake somebody who is.
func (s *Slots) overtakes(now time.Time, route RouteName) bool {
	l := s.lines[route]
	if l == nil {
		return false
	}
	l.forget(now)
	return slices.ContainsFunc(l.waiting, func(w inLine) bool { return !w.asking })
}

func (s *Slots) line(route RouteName) *line {
	l := s.lines[route]
	if l == nil {
		l = &line{}
		if s.lines == nil {
			s.lines = map[RouteName]*line{}
		}
		s.lines[route] = l
	}
	return l
}

// place finds a ticket: the line is in the order of the tickets.
func (l *line) place(t Ticket) (int, bool) {
	return slices.BinarySearchFunc(l.waiting, t, func(w inLine, t Ticket) int {
		switch {
		case w.ticket < t:
			return -1
		case w.ticket > t:
			return 1
		}
		return 0
	})
}

// forget drops the heads of the line that did not ask again: a lost one never blocks the others.
func (l *line) forget(now time.Time) {
	l.waiting = slices.DeleteFunc(l.waiting, func(w inLine) bool { return !w.asking && now.Sub(w.asked) >= lineForgets })
}

// diversion is one divert step of one route.
type diversion struct {
	route RouteName
	step  int
}

// Divert counts one more call that is diverted by a step of a route's otherwise; false: the step has as many as it may (0: no limit).
func (s *Slots) Divert(route RouteName, step, most int) bool {
	d := diversion{route, step}
	if most > 0 && s.diverted[d] >= most {
		return false
	}
	if s.diverted == nil {
		s.diverted = map[diversion]int{}
	}
	s.diverted[d]++
	return true
}

// Undivert gives that back: nobody took the call, or it has ended.
func (s *Slots) Undivert(route RouteName, step int) {
	d := diversion{route, step}
	if s.diverted[d]--; s.diverted[d] <= 0 {
		delete(s.diverted, d)
	}
}
