package app

import (
	"slices"
	"sync"
	"time"

	"nines/console"
	"nines/journal"
	"nines/sip"
)

const (
	keptCalls   = 500  // calls that are over and still in memory, for a book that cannot be read
	keptEntries = 1000 // of one call; a caller whom nobody can rescue stays for hours

	usualEntries = 1 << 10 // bytes that those of a good call take, packed
)

// callList is the calls that live, and the latest that are over. The recorder writes it, the console reads it.
type callList struct {
	mu    sync.Mutex
	calls map[string]*heldCall
	talks map[string]*heldCall // of them, those whose messages wait to become an entry
	over  [keptCalls]string    // names of calls that are over, a ring
	next  int                  // the oldest of them

	spare   [][]byte // for messages that wait, emptied
	squeeze []byte   // for those that become an entry
}

// heldCall is one call as it was told.
type heldCall struct {
	sum      console.CallSummary
	entries  []byte   // packed: a call that talks is to take little
	n        int      // of them
	talked   []string // endpoints that had it
	from     string   // who a caller without a number says to be
	asserted string
	partners int
	messages heldMessages
}

func newCallList() *callList {
	return &callList{calls: map[string]*heldCall{}, talks: map[string]*heldCall{}}
}

// record takes a record into its call and gives its entry.
func (l *callList) record(r *sip.Record) journal.Entry {
	e := entryOf(r)
	if r.Call == "" {
		return e
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[r.Call]
	if c == nil {
		if r.Kind != sip.CallCame {
			return e // it has been over for long, or its beginning was lost
		}
		c = &heldCall{sum: console.CallSummary{ID: r.Call, State: "ringing", Began: r.At}, entries: make([]byte, 0, usualEntries)}
		l.calls[r.Call] = c
	}
	c.take(r)
	if e.Type == journal.AnnouncementStart {
		e.Caller = c.sum.Caller // R34: does it push people to 999?
	}
	if r.Kind == sip.CallEnded {
		e.Count, e.Data = c.sum.Attempts, c.end().json()
		l.bury(r.Call)
	}
	if c.n < keptEntries {
		c.entries = journal.Pack(c.entries, &e)
		c.n++
	}
	return e
}

// take changes a call's line.
func (c *heldCall) take(r *sip.Record) {
	s := &c.sum
	switch r.Kind {
	case sip.CallCame:
		s.Trunk, s.Route, s.Class, s.Caller, s.Called, s.CallID = string(r.Trunk), string(r.Route), className(r.Class), r.Caller, r.Called, r.CallID
		s.Malformed = r.Malformed
		if r.Caller == "" {
			c.from, c.asserted = r.From, r.Asserted
		}
	case sip.CallAsked:
		s.Attempts++
		if r.Partner {
			c.partners++
		}
	case sip.CallAnswered:
		s.State, s.Answered, s.SetupMillis = "talking", r.At, millis(r.Took)
		c.has(r)
	case sip.CallAnnounced:
		s.State = "announced"
	case sip.CallEscaped:
		s.State, s.Class = "escaped", className(r.Class)
	case sip.CallLost:
		s.State = "rescuing"
		s.Rescues++
	case sip.CallKept:
		s.State = "talking"
	case sip.CallTakenOver:
		s.State = "talking"
		c.has(r)
	case sip.CallRescued:
		s.RescueGapMilli = millis(r.Took)
	case sip.CallEnded:
		s.State, s.Ended, s.Outcome, s.Code, s.Why = "over", r.At, r.Outcome, r.Code, r.Why
		if !s.Answered.IsZero() {
			s.TalkSeconds = r.At.Sub(s.Answered).Seconds()
		}
	case sip.CallPlanned, sip.CallAskedOn, sip.AttemptOver, sip.CallRang, sip.CallHeard, sip.CallWitness, sip.CallMedia, sip.CallNoted, sip.CallMessage,
		sip.VerdictChanged, sip.ProbeMissed, sip.NoticeGiven, sip.MessageMalformed, sip.CallAnnouncementOver, sip.ShedChanged, sip.TreatEnded:
		// They change nothing of the line.
	}
}

// has notes who talks to the caller.
func (c *heldCall) has(r *sip.Record) {
	c.sum.Endpoint, c.sum.Partner = string(r.Endpoint), r.Partner
	c.talked = append(c.talked, string(r.Endpoint))
}

// end is what the entry of the end says besides.
func (c *heldCall) end() endData {
	d := endData{Began: c.sum.Began, Attempts: c.sum.Attempts, Partners: c.partners, Rescues: c.sum.Rescues, From: c.from, Asserted: c.asserted, Malformed: c.sum.Malformed}
	if !c.sum.Answered.IsZero() {
		d.Setup = c.sum.Answered.Sub(c.sum.Began)
	}
	if len(c.talked) > 1 {
		d.Talked = c.talked
	}
	return d
}

// bury puts a call among those that are over.
func (l *callList) bury(name string) {
	delete(l.calls, l.over[l.next])
	l.over[l.next] = name
	l.next = (l.next + 1) % keptCalls
}

// lives says whether a call is in progress.
func (l *callList) lives(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[name]
	return c != nil && c.sum.State != "over"
}

// of says whether a call has to do with a number.
func (c *heldCall) of(number string) bool {
	is := func(n string) bool { return n != "" && journal.SameNumber(n, number) }
	return is(c.sum.Caller) || is(c.sum.Called) || journal.Mentions(c.from, number) || journal.Mentions(c.asserted, number) ||
		journal.Mentions(string(c.messages.waits), number)
}

// erase forgets the calls of a number that are over; the book has what may be kept of them. It does nothing and names a call while one is in progress:
// what comes of that would have the number again.
func (l *callList) erase(number string) (lives string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var over []string
	for name, c := range l.calls {
		if !c.of(number) {
			continue
		}
		if c.sum.State != "over" {
			return name
		}
		over = append(over, name)
	}
	for _, name := range over { // their names may stay in the ring: no other call will have them
		delete(l.calls, name)
		delete(l.talks, name)
	}
	return ""
}

// lines gives the calls that are wanted, the newest first.
func (l *callList) lines(wanted func(*console.CallSummary) bool) []console.CallSummary {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []console.CallSummary
	now := time.Now()
	for _, c := range l.calls {
		s := c.sum
		if s.State != "over" && !s.Answered.IsZero() {
			s.TalkSeconds = now.Sub(s.Answered).Seconds()
		}
		if wanted(&s) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b console.CallSummary) int { return b.Began.Compare(a.Began) })
	return out
}

// detail gives one call, by name or Call-ID.
func (l *callList) detail(id string) (console.CallDetail, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[id]
	if c == nil {
		for _, other := range l.calls {
			if other.sum.CallID == id || slices.ContainsFunc(journal.Unpack(other.entries), func(e journal.Entry) bool { return e.CallID == id }) {
				c = other
			}
		}
	}
	if c == nil {
		return console.CallDetail{}, false
	}
	d := console.CallDetail{Call: c.sum, Entries: journal.Unpack(c.entries), Messages: c.messages.shown(), MessagesLost: c.messages.lost}
	return d, true
}
