package policy

import (
	"math"
	"slices"
	"time"
)

// unlimited is the limit of an endpoint without `calls`.
const unlimited = math.MaxInt32

const (
	overEvery   = time.Second            // a full partner takes one new emergency call in this time (R7)
	turnEvery   = 500 * time.Millisecond // a call that waits its turn should ask again after this time
	canaryFor   = 3 * time.Minute        // a canary that was never said to be over gives its seat back after this time (R17)
	turnForgets = 5 * time.Second        // a waiting call that did not ask again for so long is gone
)

// limit is how many calls an endpoint may have for a call of this kind to find room: routine leaves the reserve to emergency, the second line leaves
// a third to new emergency calls (R7).
func limit(e Endpoint, class Class, secondLine bool) int {
	switch {
	case e.Calls <= 0:
		return unlimited
	case class != Emergency && secondLine && e.Partner: // a rescue of a routine call leaves what an emergency one leaves
		return e.Calls - max(min(e.Reserve, e.Calls), e.Calls/3)
	case class != Emergency:
		return e.Calls - min(max(e.Reserve, 0), e.Calls)
	case secondLine:
		return e.Calls - e.Calls/3
	default:
		return e.Calls
	}
}

// Slots counts the calls that each endpoint has, asked and talking, and says whether it may be asked for one more. It is not safe for concurrent
// use: the driver keeps it under a mutex. Each granted ask is given back once, by [Slots.Release].
type Slots struct {
	of map[EndpointName]*slot
	// tickets numbers the waiting calls in the order in which they came.
	tickets  Ticket
	lines    map[RouteName]*line // routine callers who wait for a person
	diverted map[diversion]int
}

type slot struct {
	endpoint Endpoint
	used     int
	canary   time.Time // until when its canary seat is taken, at the latest
	over     time.Time // when a full partner was last asked all the same
	queue    []waiting // second line: emergency first, then the oldest
}

type waiting struct {
	ticket Ticket
	class  Class
	since  time.Time
	asked  time.Time
}

// Ticket is a call's place in the queue of a full partner. Zero is none.
type Ticket uint64

// Asking is one call that wants to ask one endpoint.
type Asking struct {
	Endpoint   EndpointName
	Class      Class
	SecondLine bool
	Since      time.Time // since when its caller has had nobody: who waits in the second line is served in this order
	Ticket     Ticket    // from the last refused ask of this call at this endpoint, else 0
	// Of a routine call: its route, in whose line it stands or which it would overtake, and whether it was let through.
	Route RouteName
	Turn  bool
}

// Grant is the answer to an ask.
type Grant struct {
	OK     bool
	Until  time.Time // not OK: when to ask again; zero: not in this call
	Ticket Ticket    // not OK, second line: to be shown when asking again, and to be given to Leave by a call that stops waiting
}

// NewSlots counts for these endpoints.
func NewSlots(endpoints []Endpoint) *Slots {
	s := &Slots{of: make(map[EndpointName]*slot, len(endpoints))}
	s.Reconfigure(endpoints)
	return s
}

// Reconfigure takes a new configuration's limits. Counts and queues survive, also of endpoints that are no longer configured but still have calls.
func (s *Slots) Reconfigure(endpoints []Endpoint) {
	old := s.of
	s.of = make(map[EndpointName]*slot, len(endpoints))
	for _, e := range endpoints {
		sl := old[e.Name]
		if sl == nil {
			sl = &slot{}
		}
		sl.endpoint = e
		s.of[e.Name] = sl
	}
	for name, sl := range old {
		if s.of[name] == nil && sl.used > 0 {
			s.of[name] = sl
		}
	}
}

func (s *Slots) slot(name EndpointName) *slot {
	sl := s.of[name]
	if sl == nil {
		sl = &slot{endpoint: Endpoint{Name: name}}
		s.of[name] = sl
	}
	return sl
}

// Ask asks for a slot, and takes it if it is granted (R7).
//
// An own room never refuses an emergency call, whatever the count says; that a full room is asked late is the plan's matter. A full partner takes one
// new emergency call a second. The second line waits at a partner until it has more than a third free, oldest first. For routine calls the limit is hard;
// one of the second line, which is a rescue, waits behind those of emergency calls.
func (s *Slots) Ask(now time.Time, a Asking) Grant {
	sl := s.slot(a.Endpoint)
	room := sl.used < limit(sl.endpoint, a.Class, a.SecondLine)
	switch {
	case a.SecondLine && (a.Class != Emergency || sl.endpoint.Partner):
		return s.turn(now, sl, a, room)
	case a.Class != Emergency:
		sl.forget(now)
		return sl.grant(room && len(sl.queue) == 0 && (a.Turn || !s.overtakes(now, a.Route)), time.Time{}) // who waits with an emergency comes first
	case !sl.endpoint.Partner:
		return sl.grant(true, time.Time{})
	case room:
		return sl.grant(true, time.Time{})
	case sl.over.IsZero() || now.Sub(sl.over) >= overEvery:
		sl.over = now
		return sl.grant(true, time.Time{})
	default:
		return sl.grant(false, sl.over.Add(overEvery))
	}
}

func (sl *slot) grant(ok bool, until time.Time) Grant {
	if ok {
		sl.used++
		return Grant{OK: true}
	}
	return Grant{Until: until}
}

// turn lets whoever is first in the second line in when there is room, and gives the others a place in the queue.
func (s *Slots) turn(now time.Time, sl *slot, a Asking, room bool) Grant {
	sl.forget(now)
	t := a.Ticket
	if t == 0 {
		t = s.tickets + 1
	}
	at := sl.place(t)
	if at < 0 {
		at = sl.enter(waiting{ticket: t, class: a.Class, since: a.Since})
	}
	if room && at == 0 {
		sl.leave(t)
		return sl.grant(true, time.Time{})
	}
	s.tickets = max(s.tickets, t)
	sl.queue[at].asked = now
	return Grant{Until: now.Add(turnEvery), Ticket: t}
}

func (sl *slot) place(t Ticket) int {
	for i, w := range sl.queue {
		if w.ticket == t {
			return i
		}
	}
	return -1
}

// enter keeps the queue in order. Of the same age the lower ticket is first: who was forgotten and asks again gets the old place.
func (sl *slot) enter(w waiting) int {
	at := len(sl.queue)
	for at > 0 && w.before(sl.queue[at-1]) {
		at--
	}
	sl.queue = slices.Insert(sl.queue, at, w)
	return at
}

func (w waiting) before(o waiting) bool {
	switch {
	case servedFirst(w.class, w.since, o.class, o.since):
		return true
	case servedFirst(o.class, o.since, w.class, w.since):
		return false
	default:
		return w.ticket < o.ticket
	}
}

func (sl *slot) leave(t Ticket) {
	if at := sl.place(t); at >= 0 {
		sl.queue = append(sl.queue[:at], sl.queue[at+1:]...)
	}
}

// forget drops waiting calls that did not ask again, so that a lost one never blocks the others.
func (sl *slot) forget(now time.Time) {
	kept := sl.queue[:0]
	for _, w := range sl.queue {
		if now.Sub(w.asked) < turnForgets {
			kept = append(kept, w)
		}
	}
	sl.queue = kept
}

// Leave gives up a place in the queue: the call was answered elsewhere or has ended.
func (s *Slots) Leave(name EndpointName, t Ticket) {
	if sl := s.of[name]; sl != nil {
		sl.leave(t)
	}
}

// Take counts a call without asking: one that was restored, or that another node has.
func (s *Slots) Take(name EndpointName) { s.slot(name).used++ }

// Release gives back the slot of one granted ask. A count never falls below zero.
func (s *Slots) Release(name EndpointName) {
	if sl := s.of[name]; sl != nil && sl.used > 0 {
		sl.used--
	}
}

// Used is how many calls an endpoint has now, asked and talking.
func (s *Slots) Used(name EndpointName) int {
	if sl := s.of[name]; sl != nil {
		return sl.used
	}
	return 0
}

// Room is how many more new emergency calls an endpoint has slots for; ok is false when it has no limit.
func (s *Slots) Room(name EndpointName) (n int, ok bool) {
	sl := s.of[name]
	if sl == nil || sl.endpoint.Calls <= 0 {
		return 0, false
	}
	return max(0, sl.endpoint.Calls-sl.used), true
}

// TakeCanary takes the one seat of an endpoint's canary (R17), and says whether it was free.
func (s *Slots) TakeCanary(now time.Time, name EndpointName) bool {
	sl := s.slot(name)
	if now.Before(sl.canary) {
		return false
	}
	sl.canary = now.Add(canaryFor)
	return true
}

// LeaveCanary gives the seat back: the canary has talked, or its attempt is over.
func (s *Slots) LeaveCanary(name EndpointName) {
	if sl := s.of[name]; sl != nil {
		sl.canary = time.Time{}
	}
}
