package journal

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Setup is what the book does not say about places: it helps to tell own rooms from partners and to know who has room. It may be empty.
type Setup struct {
	Places []Place
	First  map[string]string // the own room that a route asks first; what plans show when all is well counts more
}

// Place is an endpoint as configured.
type Place struct {
	Name    string
	Partner bool
	Limit   int // calls it can take; 0: not said
}

// Incidents folds entries into incidents: the time from the first failed evidence against an own room to its proven recovery, and what happened to callers
// meanwhile. It has no clock and no disk: the same entries give the same incidents. One incident is open at a time; a second room that goes down belongs to it.
type Incidents struct {
	places  map[string]*spot
	setup   []string          // names in the order of Setup
	first   map[string]string // as in Setup
	normal  map[string]string // the room that a route asks first when all is well
	calls   map[string]*fate
	suspect map[string]*Incident // of rooms with evidence against them that are not down
	open    *Incident
	list    []*Incident
	ledger  map[string]*Use
	public  []*PublicText // that are given out now
	now     time.Time     // of the last entry
}

// spot is what is known of a place.
type spot struct {
	Place
	down      bool
	returning bool
	held      bool
	bad       time.Time // first evidence since it was last up
	latest    time.Time // evidence
	talking   int
}

// fate is what is known of a call that lives.
type fate struct {
	began    time.Time
	class    string
	route    string
	failed   string // the own room that failed it
	talks    string
	partner  bool
	since    time.Time // of the talk
	affected bool
	answered bool
	incident *Incident
}

// Incident is an outage of own rooms, from the first failed evidence to proven recovery. It names calls and no numbers.
type Incident struct {
	ID            string        `json:"id"`
	Endpoints     []string      `json:"endpoints"`               // the rooms that were down
	Routes        []string      `json:"routes"`                  // whose callers were touched
	Began         time.Time     `json:"began"`                   // the first failed evidence
	Evidence      string        `json:"evidence"`                // which it was
	Detected      time.Time     `json:"detected"`                // believed down
	Verdict       string        `json:"verdict"`                 // why
	Diverted      time.Time     `json:"first_diverted,omitzero"` // the first call that went elsewhere
	DivertedCall  string        `json:"first_diverted_call,omitempty"`
	Back          time.Time     `json:"back,omitzero"`     // answers again, all of them
	Restored      time.Time     `json:"restored,omitzero"` // has proven it, all of them; zero: it goes on
	Proof         string        `json:"proof,omitempty"`   // what proved it last
	Confirmed     time.Time     `json:"confirmed,omitzero"`
	ConfirmedBy   string        `json:"confirmed_by,omitempty"`
	Acknowledged  time.Time     `json:"acknowledged,omitzero"`
	AcknowledgeBy string        `json:"acknowledged_by,omitempty"`
	Calls         CallCount     `json:"calls"`
	LongestWait   time.Duration `json:"longest_wait"` // of a caller who was touched, until somebody answered or the call ended; nanoseconds
	WaitCall      string        `json:"longest_wait_call,omitempty"`
	LongestGap    time.Duration `json:"longest_gap"` // of a rescue, nobody heard; nanoseconds
	GapCall       string        `json:"longest_gap_call,omitempty"`
	Answered      []*Use        `json:"answered_by"` // who answered the calls that were touched, partners and own rooms
	NotAnswered   []string      `json:"not_answered,omitempty"`
	Lost          []string      `json:"lost_talking,omitempty"`
	First         *Severity     `json:"first_minute,omitempty"` // what was known a minute after it was detected
	Now           *Severity     `json:"now,omitempty"`          // while it goes on
	Public        []*PublicText `json:"public,omitempty"`       // what the public was to be told, oldest first
	Timeline      []Line        `json:"timeline"`
	Omitted       int           `json:"omitted,omitempty"`   // lines for which there was no room
	BookLost      int           `json:"book_lost,omitempty"` // entries that the book lost meanwhile: the counts may be too low

	back, proven map[string]bool
	use          map[string]*Use
}

// CallCount counts the calls that an incident touched. Tests are not counted.
type CallCount struct {
	Touched     int `json:"touched"` // callers who got somebody else, waited for a room that failed, or were lost
	Emergency   int `json:"emergency"`
	FirstMinute int `json:"first_minute"`
	Elsewhere   int `json:"elsewhere"`     // answered by somebody else than the room that failed
	ToPartners  int `json:"to_partners"`   // of them
	LostEnd     int `json:"lost_endpoint"` // talked when their room was lost
	Rescued     int `json:"rescued"`       // of them: somebody else was heard
	Kept        int `json:"kept"`          // of them: the room came back first
	LostTalking int `json:"lost_talking"`  // of them: the caller left while nobody talked
	Refused     int `json:"refused"`       // emergency callers who got an error from us
	TurnedAway  int `json:"turned_away"`   // routine callers whom no room answered
	GaveUp      int `json:"gave_up"`       // emergency callers who left before anybody answered
}

// Use is what one place did for callers.
type Use struct {
	Name    string        `json:"name"`
	Partner bool          `json:"partner"`
	Calls   int           `json:"calls"`
	Talk    time.Duration `json:"talk"` // nanoseconds; of calls that have ended
	Peak    int           `json:"peak"` // at once
	Wait    time.Duration `json:"longest_wait"`
	First   time.Time     `json:"first"`
	Last    time.Time     `json:"last"` // end of the last talk

	running int
}

// PublicText is a text for the public that was given out with the notices, in one language.
type PublicText struct {
	Lang    string    `json:"lang"` // en, cy
	Text    string    `json:"text"`
	At      time.Time `json:"at"`               // from when on
	Until   time.Time `json:"until,omitzero"`   // another one took its place, or the notice was over
	Arrived time.Time `json:"arrived,omitzero"` // the first receiver had it
	To      []string  `json:"to"`               // who had it, in the order in which it arrived

	notice string
}

// Line is one line of an incident's story.
type Line struct {
	At   time.Time `json:"at"`
	Seq  int64     `json:"seq,omitempty"`
	Text string    `json:"text"`
}

// Severity is what an operator should know at once.
type Severity struct {
	At       time.Time `json:"at"`
	Level    string    `json:"level"` // minor: an own room takes over; major: partners do; critical: callers are not answered, or nobody is up
	Says     string    `json:"says"`
	Affected int       `json:"affected"` // callers
	Room     []Room    `json:"room"`     // who is up, and how many calls more they can take
	Next     []string  `json:"next"`     // what to do, first things first
}

// Room is how much a place can take.
type Room struct {
	Name    string `json:"name"`
	Partner bool   `json:"partner,omitempty"`
	Talking int    `json:"talking"`
	Limit   int    `json:"limit,omitempty"` // 0: not said
}

const (
	maxLines    = 500
	maxNamed    = 200             // calls that are named one by one
	maxFates    = 100_000         // calls that live
	fateFor     = 24 * time.Hour  // a call that has not ended by then was never told to
	doubtFor    = 2 * time.Minute // evidence that stands alone for so long led to nothing
	firstWithin = time.Minute
)

// IncidentTypes are the types of entries that incidents are folded from.
var IncidentTypes = []Type{
	CallStart, RouteRule, Route, AttemptOutcome, CallStateChange, CallEnd, Witness, KeepAliveFailure, ServiceStateChange, OperatorAct, Notice, ElementStateChange, Gap, ModeSwitch,
}

// NewIncidents begins a fold.
func NewIncidents(setup Setup) *Incidents {
	f := &Incidents{
		places: map[string]*spot{}, normal: map[string]string{}, calls: map[string]*fate{}, suspect: map[string]*Incident{}, ledger: map[string]*Use{},
		first: setup.First,
	}
	for _, p := range setup.Places {
		f.places[p.Name] = &spot{Place: p}
		f.setup = append(f.setup, p.Name)
	}
	return f
}

// Take tells the fold the next entry.
func (f *Incidents) Take(e *Entry) {
	f.now = e.At
	if e.Endpoint != "" && e.Partner {
		f.place(e.Endpoint).Partner = true
	}
	f.firstMinute(e.At)
	switch e.Type {
	case CallStart:
		f.came(e)
	case RouteRule:
		f.planned(e)
	case AttemptOutcome:
		f.attempted(e)
	case KeepAliveFailure:
		f.evidence(e, "probe: "+cmp.Or(e.Outcome, "no answer"))
	case Witness:
		f.evidence(e, "a talking call: "+e.Why)
	case ServiceStateChange:
		f.verdict(e)
	case CallStateChange:
		f.changed(e)
	case CallEnd:
		f.ended(e)
	case Notice:
		f.noticed(e)
	case OperatorAct:
		f.acted(e)
	case ModeSwitch:
		f.tell(f.open, e, fmt.Sprintf("%s: %s on %s", e.What, e.Why, e.Route))
	case ElementStateChange:
		f.tell(f.open, e, "nines "+e.What)
	case Gap:
		if f.open != nil {
			f.open.BookLost += max(e.Count, 1)
		}
	}
}

// List gives the incidents, oldest first. They change with the fold.
func (f *Incidents) List() []*Incident {
	for _, i := range f.list {
		i.Now = nil
	}
	if f.open != nil {
		s := f.severity(f.open, f.now)
		f.open.Now = &s
	}
	return f.list
}

// Find gives one incident; nil: there is none of that name.
func (f *Incidents) Find(id string) *Incident {
	for _, i := range f.List() {
		if i.ID == id {
			return i
		}
	}
	return nil
}

// Ledger is what partners did for us and how much, by name: in incidents and at any other time.
func (f *Incidents) Ledger() []Use {
	var all []Use
	for _, u := range f.ledger {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b Use) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Clone is the incident as it is now: it does not change with the fold.
func (i *Incident) Clone() *Incident {
	c := *i
	c.back, c.proven, c.use = nil, nil, nil // the fold's
	c.Endpoints, c.Routes, c.NotAnswered, c.Lost, c.Timeline = slices.Clone(i.Endpoints), slices.Clone(i.Routes), slices.Clone(i.NotAnswered), slices.Clone(i.Lost), slices.Clone(i.Timeline)
	c.First, c.Now = i.First.clone(), i.Now.clone()
	c.Answered = slices.Clone(i.Answered)
	for n, u := range c.Answered {
		own := *u
		c.Answered[n] = &own
	}
	c.Public = slices.Clone(i.Public)
	for n, p := range c.Public {
		own := *p
		own.To = slices.Clone(p.To)
		c.Public[n] = &own
	}
	return &c
}

func (s *Severity) clone() *Severity {
	if s == nil {
		return nil
	}
	c := *s
	c.Room, c.Next = slices.Clone(s.Room), slices.Clone(s.Next)
	return &c
}

func (f *Incidents) place(name string) *spot {
	p := f.places[name]
	if p == nil {
		p = &spot{Place: Place{Name: name}}
		f.places[name] = p
	}
	return p
}

// call finds a call that counts.
func (f *Incidents) call(e *Entry) *fate {
	c := f.calls[e.Call]
	if c == nil || c.class == "test" {
		return nil
	}
	return c
}

func (f *Incidents) came(e *Entry) {
	if len(f.calls) >= maxFates {
		for name, c := range f.calls {
			if e.At.Sub(c.began) > fateFor || len(f.calls) >= 2*maxFates {
				delete(f.calls, name)
			}
		}
	}
	f.calls[e.Call] = &fate{began: e.At, class: e.Class, route: e.Route}
}

// planned learns which room a route asks first when all is well.
func (f *Incidents) planned(e *Entry) {
	c := f.call(e)
	if c == nil {
		return
	}
	for name := range strings.SplitSeq(e.What, ", ") {
		if p := f.place(name); !p.Partner && (p.down || p.held || p.returning || !p.bad.IsZero()) {
			return // not a day like others
		}
	}
	first, _, _ := strings.Cut(e.What, ", ")
	if first != "" && !f.place(first).Partner {
		f.normal[c.route] = first
	}
}

func (f *Incidents) attempted(e *Entry) {
	c := f.call(e)
	if e.Outcome != "silent" && e.Outcome != "failed" && e.Outcome != "unusable" && (e.Outcome != "refused" || e.Code < 500 || e.Code >= 600) {
		return
	}
	if f.place(e.Endpoint).Partner {
		return
	}
	f.evidence(e, strings.TrimSpace(fmt.Sprintf("a call: %s %s", e.Outcome, e.Why)))
	if c != nil {
		c.failed = e.Endpoint
	}
}

// evidence is something that speaks against an own room. The first begins what may become an incident.
func (f *Incidents) evidence(e *Entry, words string) {
	p := f.place(e.Endpoint)
	if e.Endpoint == "" || p.Partner {
		return
	}
	switch {
	case p.down:
	case p.bad.IsZero(), e.At.Sub(p.latest) > doubtFor:
		p.bad = e.At
		f.suspect[e.Endpoint] = f.begin(e, words)
	}
	p.latest = e.At
}

func (f *Incidents) begin(e *Entry, words string) *Incident {
	return &Incident{
		ID: e.At.UTC().Format("20060102-150405") + "-" + e.Endpoint, Began: e.At, Evidence: e.Endpoint + ": " + words, Routes: []string{},
		Timeline: []Line{{e.At, e.Seq, e.Endpoint + ": " + words}}, back: map[string]bool{}, proven: map[string]bool{}, use: map[string]*Use{},
	}
}

// verdict is a change of belief.
func (f *Incidents) verdict(e *Entry) {
	p := f.place(e.Endpoint)
	was, now, _ := strings.Cut(e.What, "→")
	line := fmt.Sprintf("%s is %s: %s", e.Endpoint, now, e.Why)
	switch {
	case p.Partner:
		p.down = now == "down"
		if was != "unknown" {
			f.tell(f.open, e, "partner "+line)
		}
		return
	case now == "down":
		f.down(e, p, line)
	case now == "up":
		f.up(e, p, line)
	case now == "suspect":
		f.evidence(e, cmp.Or(e.Why, "suspect"))
	}
}

func (f *Incidents) down(e *Entry, p *spot, line string) {
	if p.bad.IsZero() || f.suspect[e.Endpoint] == nil {
		p.bad, p.latest = e.At, e.At
		f.suspect[e.Endpoint] = f.begin(e, e.Why)
	}
	p.down, p.returning = true, false
	i := f.suspect[e.Endpoint]
	delete(f.suspect, e.Endpoint)
	if f.open == nil {
		i.Detected, i.Verdict = e.At, e.Endpoint+": "+e.Why
		f.open = i
		f.list = append(f.list, i)
		i.Public = slices.Clone(f.public)
	} else {
		f.open.absorb(i)
		for _, c := range f.calls {
			if c.incident == i {
				c.incident = f.open
			}
		}
	}
	delete(f.open.back, e.Endpoint)
	delete(f.open.proven, e.Endpoint)
	f.open.Back = time.Time{}
	if !slices.Contains(f.open.Endpoints, e.Endpoint) {
		f.open.Endpoints = append(f.open.Endpoints, e.Endpoint)
	}
	f.tell(f.open, e, line)
}

func (f *Incidents) up(e *Entry, p *spot, line string) {
	wasDown := p.down
	p.down, p.bad = false, time.Time{}
	delete(f.suspect, e.Endpoint)
	if f.open == nil || !slices.Contains(f.open.Endpoints, e.Endpoint) || !wasDown {
		return
	}
	if !f.open.back[e.Endpoint] {
		f.open.answers(e)
	}
	f.tell(f.open, e, line)
}

// answers notes that a room answers again. When all do the incident's rooms are back.
func (i *Incident) answers(e *Entry) {
	i.back[e.Endpoint] = true
	if len(i.back) == len(i.Endpoints) {
		i.Back = e.At
	}
}

// proven is what makes a recovery believed.
func (f *Incidents) proven(e *Entry, how string) {
	i := f.open
	p := f.place(e.Endpoint)
	if i == nil || p.down || !i.back[e.Endpoint] || i.proven[e.Endpoint] {
		return
	}
	p.returning = false
	i.proven[e.Endpoint] = true
	i.Proof = e.Endpoint + ": " + how
	f.tell(i, e, e.Endpoint+" is proven: "+how)
	if len(i.proven) == len(i.Endpoints) {
		i.Restored = e.At
		if i.First == nil {
			s := f.severity(i, e.At)
			i.First = &s
		}
		f.tell(i, e, "restored")
		f.open = nil
	}
}

func (f *Incidents) noticed(e *Entry) {
	p := f.place(e.Endpoint)
	switch e.What {
	case "returning":
		p.returning = true
		if f.open != nil && slices.Contains(f.open.Endpoints, e.Endpoint) {
			f.open.answers(e) // one that real calls brought down is believed up only with its proof
		}
		f.tell(f.open, e, e.Endpoint+" is back and must prove itself: "+e.Why)
	case "proven":
		f.proven(e, e.Why)
	case "hold set":
		p.held = true
	case "hold ended", "released":
		p.held = false
	case "we suspect ourselves", "we trust ourselves again":
		f.tell(f.open, e, e.Why)
	case "told", "over", "sent":
		f.published(e)
	}
}

// NoticeData is the Data of an entry about a notice to people outside.
type NoticeData struct {
	Notice   string            `json:"notice,omitempty"` // which it is
	Code     string            `json:"code,omitempty"`
	Receiver string            `json:"receiver,omitempty"`
	Try      int               `json:"try,omitempty"`
	Public   map[string]string `json:"public,omitempty"` // the text for the public by language, when it is given out
}

// published follows the text for the public that goes out with a notice.
func (f *Incidents) published(e *Entry) {
	var d NoticeData
	if json.Unmarshal(e.Data, &d) != nil || d.Notice == "" {
		return // not one of ours
	}
	switch e.What {
	case "told":
		for _, lang := range slices.Sorted(maps.Keys(d.Public)) {
			f.publish(e, d.Notice, lang, d.Public[lang])
		}
	case "over":
		f.public = slices.DeleteFunc(f.public, func(p *PublicText) bool {
			if p.notice == d.Notice {
				p.Until = e.At
			}
			return p.notice == d.Notice
		})
	case "sent":
		for _, p := range f.public {
			if p.notice == d.Notice && d.Receiver != "" && !slices.Contains(p.To, d.Receiver) {
				p.To = append(p.To, d.Receiver)
				p.Arrived = cmp.Or(p.Arrived, e.At)
			}
		}
	}
}

// publish takes a text that is given out, unless it is the one that is out already.
func (f *Incidents) publish(e *Entry, notice, lang, text string) {
	fresh, words := &PublicText{Lang: lang, Text: text, At: e.At, To: []string{}, notice: notice}, "is given out"
	for _, p := range f.public {
		if p.Lang != lang || p.notice != notice {
			continue
		}
		if p.Text == text {
			return
		}
		p.Until, words = e.At, "is another one"
	}
	f.public = append(slices.DeleteFunc(f.public, func(p *PublicText) bool { return !p.Until.IsZero() }), fresh)
	if f.open != nil {
		f.open.Public = append(f.open.Public, fresh)
		f.tell(f.open, e, fmt.Sprintf("the text for the public (%s) %s", lang, words))
	}
}

// confirmation is the Data of an operator's word on an incident.
type confirmation struct {
	Incident string `json:"incident"`
}

// ConfirmIncident is the entry with which an operator confirms that an incident is over, or says that they know of it.
func ConfirmIncident(id, by, why string) Entry {
	b, _ := json.Marshal(confirmation{id}) // one plain field
	return Entry{Type: OperatorAct, What: "confirm", By: by, Why: why, Data: b}
}

func (f *Incidents) acted(e *Entry) {
	words := fmt.Sprintf("%s: %s", e.By, e.What)
	if e.Endpoint != "" {
		words += " " + e.Endpoint
	}
	if e.Why != "" {
		words += " (" + e.Why + ")"
	}
	switch e.What {
	case "hold":
		f.place(e.Endpoint).held = true
	case "release":
		f.place(e.Endpoint).held = false
	case "confirm":
		var c confirmation
		_ = json.Unmarshal(e.Data, &c) // without one it confirms none
		for _, i := range f.list {
			if i.ID == c.Incident && i.Confirmed.IsZero() {
				i.Confirmed, i.ConfirmedBy = e.At, e.By
				f.tell(i, e, words)
			}
		}
		return
	case "acknowledge":
		if i := f.open; i != nil && i.Acknowledged.IsZero() {
			i.Acknowledged, i.AcknowledgeBy = e.At, e.By
		}
	}
	f.tell(f.open, e, words)
	if e.What == "release" {
		f.proven(e, "released by "+e.By)
	}
}

// tell adds a line to an incident's story.
func (f *Incidents) tell(i *Incident, e *Entry, text string) {
	switch {
	case i == nil:
	case len(i.Timeline) >= maxLines:
		i.Omitted++
	default:
		i.Timeline = append(i.Timeline, Line{e.At, e.Seq, text})
	}
}

// about is the incident, open or only suspected, that a room's failure belongs to.
func (f *Incidents) about(endpoint string) *Incident {
	if f.open != nil && slices.Contains(f.open.Endpoints, endpoint) {
		return f.open
	}
	return f.suspect[endpoint]
}

// touch counts a call that an incident touches, once.
func (f *Incidents) touch(e *Entry, c *fate, i *Incident) {
	if c.affected {
		return
	}
	c.affected, c.incident = true, i
	i.Calls.Touched++
	if c.class == "emergency" {
		i.Calls.Emergency++
	}
	if i.Detected.IsZero() || e.At.Sub(i.Detected) <= firstWithin {
		i.Calls.FirstMinute++
	}
	if c.route != "" && !slices.Contains(i.Routes, c.route) {
		i.Routes = append(i.Routes, c.route)
	}
}

// missing is the room that a call should have had and that is in trouble; with the incident that it belongs to.
func (f *Incidents) missing(c *fate) (string, *Incident) {
	if c.failed != "" {
		if i := f.about(c.failed); i != nil {
			return c.failed, i
		}
	}
	if name := cmp.Or(f.normal[c.route], f.first[c.route]); name != "" {
		if i := f.about(name); i != nil && (f.place(name).down || f.place(name).returning || !i.back[name]) {
			return name, i
		}
	}
	return "", nil
}

func (f *Incidents) changed(e *Entry) {
	c := f.call(e)
	if c == nil {
		return
	}
	switch e.What {
	case "answered":
		c.answered = true
		f.answered(e, c)
	case "lost":
		f.quiet(e.At, c)
		if i := f.about(e.Endpoint); i != nil || f.open != nil {
			i = cmp.Or(i, f.open)
			f.touch(e, c, i)
			i.Calls.LostEnd++
		} else if !f.place(e.Endpoint).Partner {
			f.evidence(e, "a talking call lost it")
			if i := f.suspect[e.Endpoint]; i != nil { // none where the entry names no endpoint
				f.touch(e, c, i)
				i.Calls.LostEnd++
			}
		}
	case "kept":
		if c.incident != nil {
			c.incident.Calls.Kept++
		}
		f.talk(e, c)
	case "taken over":
		f.talk(e, c)
	case "rescued":
		if i := c.incident; i != nil {
			i.Calls.Rescued++
			if e.Took > i.LongestGap {
				i.LongestGap, i.GapCall = e.Took, e.Call
			}
		}
	}
}

// answered is a caller who got somebody.
func (f *Incidents) answered(e *Entry, c *fate) {
	wait := e.Took
	if wait == 0 {
		wait = e.At.Sub(c.began)
	}
	if name, i := f.missing(c); i != nil && name != e.Endpoint {
		f.touch(e, c, i)
		i.Calls.Elsewhere++
		if e.Partner {
			i.Calls.ToPartners++
		}
		if i.Diverted.IsZero() {
			i.Diverted, i.DivertedCall = e.At, e.Call
			f.tell(i, e, fmt.Sprintf("the first call goes to %s", e.Endpoint))
		}
		i.waited(wait, e.Call)
	} else if i != nil && c.failed != "" {
		f.touch(e, c, i)
		i.waited(wait, e.Call)
	}
	f.talk(e, c)
	if u := c.usedIn(e); u != nil {
		u.Wait = max(u.Wait, wait)
	}
	if f.open != nil && f.open.back[e.Endpoint] && !f.place(e.Endpoint).returning {
		f.proven(e, "it answered a call")
	}
}

func (i *Incident) waited(wait time.Duration, call string) {
	if wait > i.LongestWait {
		i.LongestWait, i.WaitCall = wait, call
	}
}

// usedIn is what the place that a call talks to has done in its incident.
func (c *fate) usedIn(e *Entry) *Use {
	if c.incident == nil {
		return nil
	}
	return c.incident.use[e.Endpoint]
}

// talk begins a talk with a place.
func (f *Incidents) talk(e *Entry, c *fate) {
	f.quiet(e.At, c)
	p := f.place(e.Endpoint)
	c.talks, c.partner, c.since = e.Endpoint, e.Partner || p.Partner, e.At
	p.talking++
	if c.incident != nil {
		c.incident.useOf(e.Endpoint, c.partner).begin(e.At)
	}
	if c.partner {
		useIn(f.ledger, e.Endpoint, true).begin(e.At)
	}
}

// quiet ends a talk.
func (f *Incidents) quiet(at time.Time, c *fate) {
	if c.talks == "" {
		return
	}
	p := f.place(c.talks)
	p.talking = max(p.talking-1, 0)
	if c.incident != nil {
		if u := c.incident.use[c.talks]; u != nil {
			u.end(at, at.Sub(c.since))
		}
	}
	if c.partner {
		useIn(f.ledger, c.talks, true).end(at, at.Sub(c.since))
	}
	c.talks = ""
}

func (i *Incident) useOf(name string, partner bool) *Use {
	if i.use[name] == nil {
		i.Answered = append(i.Answered, useIn(i.use, name, partner))
	}
	return i.use[name]
}

func useIn(all map[string]*Use, name string, partner bool) *Use {
	if all[name] == nil {
		all[name] = &Use{Name: name, Partner: partner}
	}
	return all[name]
}

func (u *Use) begin(at time.Time) {
	if u.First.IsZero() {
		u.First = at
	}
	u.Calls++
	u.running++
	u.Peak = max(u.Peak, u.running)
}

func (u *Use) end(at time.Time, talk time.Duration) {
	if u.running == 0 {
		return // it began before the fold did
	}
	u.running--
	u.Talk += talk
	u.Last = at
}

func (f *Incidents) ended(e *Entry) {
	c := f.call(e)
	delete(f.calls, e.Call)
	if c == nil {
		return
	}
	f.quiet(e.At, c)
	if !c.answered {
		f.unanswered(e, c)
		return
	}
	if i := c.incident; i != nil && e.Outcome == "lost_talking" {
		i.Calls.LostTalking++
		i.Lost = named(i.Lost, e.Call)
		f.tell(i, e, fmt.Sprintf("call %s: the caller left while nobody talked to it any more", e.Call))
	}
}

// unanswered is a caller who got nobody.
func (f *Incidents) unanswered(e *Entry, c *fate) {
	_, i := f.missing(c)
	if i == nil {
		return
	}
	f.touch(e, c, i)
	i.waited(e.At.Sub(c.began), e.Call)
	switch {
	case c.class != "emergency":
		i.Calls.TurnedAway++
		return
	case e.Outcome == "cancelled":
		i.Calls.GaveUp++
	default:
		i.Calls.Refused++
		f.tell(i, e, fmt.Sprintf("call %s got %d: %s", e.Call, e.Code, e.Why))
	}
	i.NotAnswered = named(i.NotAnswered, e.Call)
}

func named(list []string, call string) []string {
	if len(list) < maxNamed {
		list = append(list, call)
	}
	return list
}

// absorb adds what was suspected of another room to an incident.
func (i *Incident) absorb(o *Incident) {
	if o.Began.Before(i.Began) {
		i.Began, i.Evidence = o.Began, o.Evidence // the name stays: somebody may have it already
	}
	if !o.Diverted.IsZero() && (i.Diverted.IsZero() || o.Diverted.Before(i.Diverted)) {
		i.Diverted, i.DivertedCall = o.Diverted, o.DivertedCall
	}
	a, b := &i.Calls, &o.Calls
	a.FirstMinute += b.FirstMinute
	a.Touched += b.Touched
	a.Emergency += b.Emergency
	a.Elsewhere += b.Elsewhere
	a.ToPartners += b.ToPartners
	a.LostEnd += b.LostEnd
	a.Rescued += b.Rescued
	a.Kept += b.Kept
	a.LostTalking += b.LostTalking
	a.Refused += b.Refused
	a.TurnedAway += b.TurnedAway
	a.GaveUp += b.GaveUp
	for _, u := range o.Answered {
		mine := i.useOf(u.Name, u.Partner)
		mine.Calls += u.Calls
		mine.Talk += u.Talk
		mine.running += u.running
		mine.Peak = max(mine.Peak, u.Peak, mine.running)
		mine.Wait = max(mine.Wait, u.Wait)
	}
	if o.LongestWait > i.LongestWait {
		i.LongestWait, i.WaitCall = o.LongestWait, o.WaitCall
	}
	if o.LongestGap > i.LongestGap {
		i.LongestGap, i.GapCall = o.LongestGap, o.GapCall
	}
	for _, r := range o.Routes {
		if !slices.Contains(i.Routes, r) {
			i.Routes = append(i.Routes, r)
		}
	}
	i.Timeline = append(i.Timeline, o.Timeline...)
	slices.SortStableFunc(i.Timeline, func(a, b Line) int { return a.At.Compare(b.At) })
	i.NotAnswered = append(i.NotAnswered, o.NotAnswered...)
	i.Lost = append(i.Lost, o.Lost...)
}

// firstMinute keeps what was known when the first minute was over.
func (f *Incidents) firstMinute(now time.Time) {
	if i := f.open; i != nil && i.First == nil && now.Sub(i.Detected) >= firstWithin {
		s := f.severity(i, i.Detected.Add(firstWithin))
		i.First = &s
	}
}

// severity says how bad it is and what to do.
func (f *Incidents) severity(i *Incident, at time.Time) Severity {
	s := Severity{At: at, Affected: i.Calls.Touched, Room: []Room{}, Next: []string{}}
	own, partners, full := 0, 0, true
	for _, p := range f.known() {
		if p.down || p.held || slices.Contains(i.Endpoints, p.Name) {
			continue
		}
		s.Room = append(s.Room, Room{p.Name, p.Partner, p.talking, p.Limit})
		if p.Partner {
			partners++
		} else {
			own++
		}
		if p.Limit == 0 || p.talking < p.Limit {
			full = false
		}
	}
	unanswered := i.Calls.Refused + i.Calls.LostTalking
	switch {
	case own+partners == 0:
		s.Level, s.Says = "critical", "everybody is believed to be down: everybody is asked all the same"
		s.Next = append(s.Next, "ask the carrier to divert; call staff to any room that can be opened")
	case full:
		s.Level, s.Says = "critical", "everybody who is up is full"
		s.Next = append(s.Next, "call in staff where there is a desk; ask another force for mutual aid")
	case unanswered > 0:
		s.Level, s.Says = "critical", fmt.Sprintf("callers who did not get anybody or lost them: %d", unanswered)
	case own == 0:
		s.Level, s.Says = "major", "no own room is up: partners answer"
	default:
		s.Level, s.Says = "minor", "another own room answers"
	}
	if unanswered+i.Calls.GaveUp > 0 {
		s.Next = append(s.Next, "ring back who was not reached: nines callbacks")
	}
	for _, r := range s.Room {
		if left := r.Limit - r.Talking; r.Partner && own == 0 {
			words := fmt.Sprintf("ring %s and say that they answer your calls", r.Name)
			if r.Limit > 0 {
				words += fmt.Sprintf(": %d now, room for %d more", r.Talking, max(left, 0))
			}
			s.Next = append(s.Next, words)
		} else if !r.Partner {
			s.Next = append(s.Next, fmt.Sprintf("tell %s that it answers alone; have it staffed for both", r.Name))
		}
	}
	s.Next = append(s.Next, fmt.Sprintf("look at %s: %s", strings.Join(i.Endpoints, " and "), i.Verdict))
	return s
}

// known gives the places in the order of the setup, then by name.
func (f *Incidents) known() []*spot {
	var all []*spot
	for _, name := range f.setup {
		all = append(all, f.places[name])
	}
	var others []*spot
	for name, p := range f.places {
		if name != "" && !slices.Contains(f.setup, name) {
			others = append(others, p)
		}
	}
	slices.SortFunc(others, func(a, b *spot) int { return strings.Compare(a.Name, b.Name) })
	return append(all, others...)
}
