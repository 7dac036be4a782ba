package journal

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How the call-back list goes (R34).
const (
	TalkedEnough = 10 * time.Second // so long a talk is a call that got through
	RedialWithin = 10 * time.Minute // an emergency call so soon after an announcement was perhaps made because of it

	maxCallBacks = 20_000 // lines; the oldest that are cleared go first
	maxMissed    = 20     // calls that a line names; the others are counted
	maxOpen      = 100_000
)

// CallBacks is the call-back list: every emergency call that ended unanswered or was lost while it talked, by caller number. It is folded from entries
// alone, with no clock and no disk: the same entries, in whatever pieces and also twice, give the same list.
type CallBacks struct {
	lines     []*CallBack // oldest first
	byCall    map[string]*CallBack
	byNumber  map[string][]*CallBack // the lines that wait, by the end of the number
	open      map[string]openCall    // emergency calls that live
	announced map[string]time.Time
	redials   int
}

// CallBack is one line of the list: a person to be rung back.
type CallBack struct {
	ID       string        `json:"id"`               // our name of its first call
	Number   string        `json:"number,omitempty"` // empty: withheld; then only a person can clear it
	Missed   []MissedCall  `json:"missed"`           // oldest first
	More     int           `json:"more,omitempty"`   // calls that are not named for want of room
	From     string        `json:"from,omitempty"`   // what a withheld caller's From said
	Asserted string        `json:"asserted,omitempty"`
	Cleared  *CallBackDone `json:"cleared,omitempty"`
}

// MissedCall is one call that did not get what it was made for.
type MissedCall struct {
	Call     string        `json:"call"`
	CallID   string        `json:"call_id,omitempty"`
	Began    time.Time     `json:"began,omitzero"`
	Ended    time.Time     `json:"ended"`
	Trunk    string        `json:"trunk,omitempty"`
	Route    string        `json:"route,omitempty"`
	Called   string        `json:"called,omitempty"`
	Endpoint string        `json:"endpoint,omitempty"` // that talked last
	Outcome  string        `json:"outcome"`            // cancelled, refused, lost_talking, unacknowledged, perhaps_not_reached, interrupted
	Code     int           `json:"code,omitempty"`     // what the caller got
	Talked   time.Duration `json:"talked,omitempty"`
	Reason   string        `json:"reason"` // a sentence
}

// CallBackDone says how a line was cleared.
type CallBackDone struct {
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`      // a person; empty: the caller got through
	Outcome string    `json:"outcome,omitempty"` // in the person's words
	Call    string    `json:"call,omitempty"`    // the call that got through
}

// openCall is an emergency call that lives.
type openCall struct {
	Start    Entry     `json:"start"`
	Answered time.Time `json:"answered,omitzero"`
	Endpoint string    `json:"endpoint,omitempty"`
}

// NewCallBacks makes an empty list.
func NewCallBacks() *CallBacks {
	return &CallBacks{byCall: map[string]*CallBack{}, byNumber: map[string][]*CallBack{}, open: map[string]openCall{}, announced: map[string]time.Time{}}
}

// Fold takes an entry and gives those that belong into the book because of it. They need not be folded themselves.
func (c *CallBacks) Fold(e Entry) []Entry {
	switch e.Type {
	case CallStart:
		if e.Erased {
			return nil // it is read again, and who called was forgotten since
		}
		return c.started(e)
	case CallStateChange:
		if o, ok := c.open[e.Call]; ok && (e.What == "answered" || e.What == "taken over") {
			if o.Answered.IsZero() {
				o.Answered = e.At
			}
			o.Endpoint = e.Endpoint
			c.open[e.Call] = o
		}
	case AnnouncementStart:
		if e.Caller != "" && e.Class == "routine" {
			c.announced[numberTail(e.Caller)] = e.At
		}
	case CallEnd:
		delete(c.open, e.Call)
		if e.Erased {
			return nil
		}
		return c.ended(e)
	case OperatorAct:
		if e.What == "callback" {
			c.clear(c.find(e.Call, e.Caller), CallBackDone{At: e.At, By: e.By, Outcome: e.Why})
		}
	case Callback:
		if e.What == "cleared" {
			c.clear(c.find("", e.Caller), CallBackDone{At: e.At, By: e.By, Outcome: e.Why, Call: e.Call})
		}
	default:
	}
	return nil
}

// started notes an emergency call, and whether an announcement may have brought it.
func (c *CallBacks) started(e Entry) []Entry {
	if e.Class != "emergency" {
		return nil
	}
	if _, twice := c.open[e.Call]; twice || c.byCall[e.Call] != nil {
		return nil
	}
	if len(c.open) < maxOpen {
		c.open[e.Call] = openCall{Start: e}
	}
	at, ok := c.announced[numberTail(e.Caller)]
	if !ok || e.Caller == "" || e.At.Before(at) || e.At.Sub(at) > RedialWithin {
		return nil
	}
	delete(c.announced, numberTail(e.Caller)) // counted once
	c.redials++
	return []Entry{{
		At: e.At, Type: Notice, Call: e.Call, Route: e.Route, Class: e.Class, What: "redial after announcement", Took: e.At.Sub(at),
		Why: fmt.Sprintf("an emergency call %s after the same number heard an announcement", e.At.Sub(at).Round(time.Second)),
	}}
}

// ended lists a call that failed, or clears the line of a caller who got through.
func (c *CallBacks) ended(e Entry) []Entry {
	talked := e.Outcome == "answered" && e.Endpoint != "" && e.What == ""
	if talked && e.Took >= TalkedEnough && e.Class != "test" && e.Caller != "" {
		return c.gotThrough(e.At, e.Caller, e.Call)
	}
	if e.Class != "emergency" || talked || c.byCall[e.Call] != nil {
		return nil
	}
	m := MissedCall{
		Call: e.Call, CallID: e.CallID, Ended: e.At, Trunk: e.Trunk, Route: e.Route, Called: e.Called, Endpoint: e.Endpoint, Outcome: e.Outcome, Code: e.Code,
	}
	if e.Outcome == "answered" || e.Outcome == "lost_talking" {
		m.Talked = e.Took
	}
	if e.What != "" && e.Outcome == "answered" {
		m.Outcome = e.What
	}
	var d struct {
		Began          time.Time
		From, Asserted string
	}
	if len(e.Data) > 0 {
		_ = json.Unmarshal(e.Data, &d) // it says less then
	}
	m.Began = d.Began
	m.Reason = m.reason(e.Why)
	return c.list(e.Caller, m, d.From, d.Asserted)
}

// reason is why a call is on the list.
func (m *MissedCall) reason(why string) string {
	waited := ""
	if !m.Began.IsZero() {
		waited = " after " + m.Ended.Sub(m.Began).Round(time.Second).String()
	}
	switch m.Outcome {
	case "cancelled":
		return "the caller gave up" + waited + ", before anybody answered"
	case "lost_talking":
		return fmt.Sprintf("lost while talking to %s, and nobody else had taken over when the caller left", cmp.Or(m.Endpoint, "somebody"))
	case "unacknowledged":
		return "answered, but the caller's side never took the answer: perhaps nobody was heard"
	case "perhaps_not_reached":
		return fmt.Sprintf("%s answered with a queue and the caller cleared after %s: perhaps no person was reached", m.Endpoint, m.Talked.Round(time.Second))
	case "interrupted":
		return "nines ended in the middle of the call; what became of it is not known"
	case "refused":
		return strconv.Itoa(m.Code) + ": the carrier may have connected it elsewhere" + cutOff(why)
	}
	return cmp.Or(why, m.Outcome)
}

func cutOff(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

// list puts a call on the list: to its number's line, or on a new one.
func (c *CallBacks) list(number string, m MissedCall, from, asserted string) []Entry {
	line := c.lineOf(number)
	if line == nil {
		line = &CallBack{ID: m.Call, Number: number}
		if number == "" {
			line.From, line.Asserted = from, asserted
		}
		c.add(line)
	}
	if len(line.Missed) < maxMissed {
		line.Missed = append(line.Missed, m)
	} else {
		line.Missed[maxMissed-1] = m
		line.More++
	}
	c.byCall[m.Call] = line
	c.bound()
	return []Entry{{
		At: m.Ended, Type: Callback, What: "listed", Call: m.Call, CallID: m.CallID, Trunk: m.Trunk, Route: m.Route, Class: "emergency", Endpoint: m.Endpoint,
		Caller: number, Called: m.Called, Outcome: m.Outcome, Code: m.Code, Why: m.Reason,
	}}
}

// lineOf is the open line of a number; withheld ones have a line a call.
func (c *CallBacks) lineOf(number string) *CallBack {
	if number == "" {
		return nil
	}
	for _, l := range c.byNumber[numberTail(number)] {
		if sameNumber(l.Number, number) {
			return l
		}
	}
	return nil
}

// add puts a line at the end.
func (c *CallBacks) add(l *CallBack) {
	c.lines = append(c.lines, l)
	if l.Number != "" && l.Cleared == nil {
		key := numberTail(l.Number)
		c.byNumber[key] = append(c.byNumber[key], l)
	}
}

// waitsNoMore takes a line out of those that wait.
func (c *CallBacks) waitsNoMore(l *CallBack) {
	key := numberTail(l.Number)
	rest := slices.DeleteFunc(c.byNumber[key], func(o *CallBack) bool { return o == l })
	if c.byNumber[key] = rest; len(rest) == 0 {
		delete(c.byNumber, key)
	}
}

// find is the open line that an act means: by its name, by the name of one of its calls, or by its number.
func (c *CallBacks) find(id, number string) *CallBack {
	if l := c.byCall[id]; l != nil && l.Cleared == nil {
		return l
	}
	return c.lineOf(number)
}

// clear clears a line, unless a call was missed after that.
func (c *CallBacks) clear(l *CallBack, d CallBackDone) bool {
	if l == nil || l.Missed[len(l.Missed)-1].Ended.After(d.At) {
		return false
	}
	l.Cleared = &d
	c.waitsNoMore(l)
	return true
}

// gotThrough clears the line of a caller who has talked long enough.
func (c *CallBacks) gotThrough(at time.Time, number, call string) []Entry {
	l := c.lineOf(number)
	if l == nil || !c.clear(l, CallBackDone{At: at, Call: call}) {
		return nil
	}
	return []Entry{{At: at, Type: Callback, What: "cleared", Call: call, Caller: l.Number, Why: "the caller got through"}}
}

// Talking clears the lines of callers who talk now and have for long enough; what the book should say is returned. It is asked now and then.
func (c *CallBacks) Talking(now time.Time) []Entry {
	if len(c.byNumber) == 0 {
		return nil
	}
	var out []Entry
	for call, o := range c.open {
		if !o.Answered.IsZero() && now.Sub(o.Answered) >= TalkedEnough && o.Start.Caller != "" {
			out = append(out, c.gotThrough(now, o.Start.Caller, call)...)
		}
	}
	return out
}

// Interrupted lists the emergency calls that lived when another run of the node ended. alive says which of them this run has taken over.
func (c *CallBacks) Interrupted(now time.Time, alive func(call string) bool) []Entry {
	var names []string
	for call := range c.open {
		if !alive(call) {
			names = append(names, call)
		}
	}
	slices.Sort(names)
	var out []Entry
	for _, call := range names {
		o := c.open[call]
		delete(c.open, call)
		m := MissedCall{
			Call: call, CallID: o.Start.CallID, Began: o.Start.At, Ended: now, Trunk: o.Start.Trunk, Route: o.Start.Route, Called: o.Start.Called,
			Endpoint: o.Endpoint, Outcome: "interrupted",
		}
		m.Reason = m.reason("")
		var d struct{ From, Asserted string }
		if len(o.Start.Data) > 0 {
			_ = json.Unmarshal(o.Start.Data, &d) // it says less then
		}
		if c.byCall[call] == nil {
			out = append(out, c.list(o.Start.Caller, m, d.From, d.Asserted)...)
		}
	}
	return out
}

// bound keeps the list in memory small: what is cleared goes first.
func (c *CallBacks) bound() {
	if len(c.lines) <= maxCallBacks {
		return
	}
	at := slices.IndexFunc(c.lines, func(l *CallBack) bool { return l.Cleared != nil })
	c.drop(max(at, 0))
}

func (c *CallBacks) drop(i int) {
	for _, m := range c.lines[i].Missed {
		delete(c.byCall, m.Call)
	}
	c.waitsNoMore(c.lines[i])
	c.lines = slices.Delete(c.lines, i, i+1)
}

// Forget drops the lines whose last call is older than keep, cleared or not, and what else is only of use for a while. It gives how many of them nobody
// had cleared.
func (c *CallBacks) Forget(now time.Time, keep time.Duration) (open int) {
	for i := 0; i < len(c.lines); {
		l := c.lines[i]
		if now.Sub(l.Missed[len(l.Missed)-1].Ended) < keep {
			i++
			continue
		}
		if l.Cleared == nil {
			open++
		}
		c.drop(i)
	}
	for number, at := range c.announced {
		if now.Sub(at) > RedialWithin {
			delete(c.announced, number)
		}
	}
	return open
}

// Erase forgets a person's number: their lines are dropped, also where they had withheld it.
func (c *CallBacks) Erase(number string) {
	for i := 0; i < len(c.lines); {
		if l := c.lines[i]; l.Number != "" && sameNumber(l.Number, number) || Mentions(l.From, number) || Mentions(l.Asserted, number) {
			c.drop(i)
			continue
		}
		missed := slices.Clone(c.lines[i].Missed) // somebody may be reading it
		for n := range missed {
			if m := &missed[n]; m.Called != "" && sameNumber(m.Called, number) {
				m.Called = ""
			}
		}
		c.lines[i].Missed = missed
		i++
	}
	delete(c.announced, numberTail(number))
}

// Find gives the open line that a word means: a number in any spelling, or the name of a line or of one of its calls.
func (c *CallBacks) Find(word string) (CallBack, bool) {
	l := c.find(word, strings.TrimSpace(word))
	if l == nil {
		return CallBack{}, false
	}
	return *l, true
}

// Open counts the lines that nobody has cleared.
func (c *CallBacks) Open() int {
	n := 0
	for _, l := range c.lines {
		if l.Cleared == nil {
			n++
		}
	}
	return n
}

// SameNumber says whether two spellings are one number.
func SameNumber(a, b string) bool { return sameNumber(a, b) }

// Len counts all lines.
func (c *CallBacks) Len() int { return len(c.lines) }

// Redials counts emergency calls that came within ten minutes of an announcement to the same number.
func (c *CallBacks) Redials() int { return c.redials }

// Lines gives the list, oldest first: the lines that wait, or with all those that are cleared too.
func (c *CallBacks) Lines(all bool) []CallBack {
	out := []CallBack{}
	for _, l := range c.lines {
		if all || l.Cleared == nil {
			line := *l
			line.Missed = slices.Clone(l.Missed)
			out = append(out, line)
		}
	}
	return out
}

// CallBackState is the list as plain data, to be written down.
type CallBackState struct {
	At        time.Time            `json:"at"` // everything of before is in it
	Lines     []CallBack           `json:"lines"`
	Open      []openCall           `json:"open,omitempty"`
	Announced map[string]time.Time `json:"announced,omitempty"`
	Redials   int                  `json:"redials,omitempty"`
}

// State gives the list as plain data.
func (c *CallBacks) State(at time.Time) CallBackState {
	s := CallBackState{At: at, Lines: c.Lines(true), Redials: c.redials}
	for _, o := range c.open {
		s.Open = append(s.Open, o)
	}
	slices.SortFunc(s.Open, func(a, b openCall) int { return strings.Compare(a.Start.Call, b.Start.Call) })
	if len(c.announced) > 0 {
		s.Announced = map[string]time.Time{}
		for n, t := range c.announced {
			s.Announced[n] = t
		}
	}
	return s
}

// RestoreCallBacks makes a list of what was written down.
func RestoreCallBacks(s CallBackState) *CallBacks {
	c := NewCallBacks()
	for _, line := range s.Lines {
		if len(line.Missed) == 0 {
			continue
		}
		l := &line
		c.add(l)
		for _, m := range l.Missed {
			c.byCall[m.Call] = l
		}
	}
	for _, o := range s.Open {
		c.open[o.Start.Call] = o
	}
	for n, t := range s.Announced {
		c.announced[n] = t
	}
	c.redials = s.Redials
	return c
}
