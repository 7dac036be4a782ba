package console

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"nines/journal"
)

// A tone is how much something matters. It is always said in words and by a shape, too.
type tone string

const (
	calm    tone = "calm"
	good    tone = "good"
	warning tone = "warn"
	alarm   tone = "bad"
)

// board is the page that is read from two metres, made ready for its template.
type board struct {
	At        time.Time
	Node      string
	NotReady  string
	Answer    answerLine   // the first emergency route
	Others    []answerLine // the other emergency routes
	Tiles     []tile
	Endpoints []endpointRow
	Valves    []valve // of the routine routes
	Routine   RoutineStatus
	Told      []boardNotice
	MayAct    bool // whoever sees whole numbers may acknowledge, too
	Notices   []string
	Refused   []string // problems of a configuration that was refused
	Back      []callBackLine
	MoreBack  int
	Calls     []CallSummary // the latest of those that live
	MoreCalls int
	Minutes   plot
	Gaps      plot
	Rescues   RescueStatus
}

// answerLine says who answers a route's calls.
type answerLine struct {
	Tone    tone
	Route   string
	Who     string // who is asked first; empty: nobody can be
	Lead    string // "999 is answered by"
	Word    string // what the tone means, in a word or two
	Partner bool
	Reasons []reason // why it is not as usual
	Then    []string // who is asked after that
	Latest  *Answer
}

// reason says why an endpoint is not asked in its place.
type reason struct {
	Endpoint string
	State    stateMark
	Since    time.Time
	Why      string
}

// tile is one figure.
type tile struct {
	ID, Label, Value, Note string
	Tone                   tone
	Link                   string
	Words                  bool // Value is no number
}

// stateMark is a verdict as it is seen: a shape, a word, a tone.
type stateMark struct {
	Icon, Word string
	Tone       tone
}

// endpointRow is an endpoint in the table.
type endpointRow struct {
	EndpointStatus
	State stateMark
	More  []stateMark // held, returning, full
	Why   string
	Share int // of its calls, per cent; 0 to 100
}

func mark(verdict string) stateMark {
	switch verdict {
	case "up":
		return stateMark{"up", "Up", good}
	case "suspect":
		return stateMark{"suspect", "Suspect", warning}
	case "down":
		return stateMark{"down", "Down", alarm}
	}
	return stateMark{"unknown", "Unknown", warning}
}

var (
	markHeld      = stateMark{"held", "Held", warning}
	markReturning = stateMark{"returning", "Returning", warning}
	markFull      = stateMark{"full", "Full", calm}
)

// newBoard makes the board of a snapshot.
func newBoard(from snapshot, mask journal.Mask) board {
	s := &from.Status
	b := board{At: from.At, Node: s.Name, NotReady: s.NotReady, Rescues: s.Rescues, Valves: newValves(s), Routine: s.Routine, MayAct: mask == journal.Full}
	b.Told = newBoardNotices(from.Told, mask)
	b.Notices = slices.DeleteFunc(slices.Clone(s.Notices), func(said string) bool {
		return slices.ContainsFunc(b.Told, func(n boardNotice) bool { return strings.HasPrefix(said, "notice "+n.ID+" (") }) // it stands there itself
	})
	if !s.Config.Accepted {
		b.Refused = s.Config.Problems
	}
	for i := range s.Routes {
		if s.Routes[i].Class == "emergency" {
			b.Others = append(b.Others, newAnswerLine(s, &s.Routes[i]))
		}
	}
	if len(b.Others) > 0 {
		b.Answer, b.Others = b.Others[0], b.Others[1:]
	}
	for _, e := range s.Endpoints {
		b.Endpoints = append(b.Endpoints, newEndpointRow(e))
	}
	b.Tiles = newTiles(s)
	if back, ok := from.Back[mask]; ok {
		b.Back = newCallBackLines(&back)
		b.Tiles = slices.Insert(b.Tiles, 2, backTile(back.Open))
		if len(b.Back) > maxBack {
			b.Back, b.MoreBack = b.Back[len(b.Back)-maxBack:], len(b.Back)-maxBack
		}
		slices.Reverse(b.Back) // the newest first: it is warm
	}
	b.Calls = slices.Clone(from.Calls[:min(len(from.Calls), maxCallsShown)])
	for i := range b.Calls {
		b.Calls[i].Caller, b.Calls[i].Called = mask.Number(b.Calls[i].Caller), mask.Number(b.Calls[i].Called)
	}
	b.MoreCalls = s.Calls.Total - len(b.Calls)
	b.Minutes, b.Gaps = plotMinutes(from.Hour, s.Endpoints), plotGaps(s.Rescues.Latest)
	return b
}

func newEndpointRow(e EndpointStatus) endpointRow {
	r := endpointRow{EndpointStatus: e, State: mark(e.Verdict), Why: e.why()}
	if e.Held {
		r.More = append(r.More, markHeld)
	}
	if e.Returning {
		r.More = append(r.More, markReturning)
	}
	if e.Busy {
		r.More = append(r.More, markFull)
	}
	if e.Limit > 0 {
		r.Share = min(100*e.Calls/e.Limit, 100)
	}
	return r
}

// newAnswerLine says who answers a route's calls, and why it is not who usually does.
func newAnswerLine(s *Status, r *RouteStatus) answerLine {
	a := answerLine{Route: r.Name, Lead: r.Name + " is answered by", Latest: r.Latest, Tone: good, Word: "As usual"}
	if len(r.Order) == 0 {
		a.Tone, a.Word, a.Lead = alarm, "Nobody to ask", r.Name+" asks nobody"
		return a
	}
	a.Who, a.Then = r.Order[0], r.Order[1:]
	first, _ := s.Endpoint(a.Who)
	a.Partner = first.Partner
	for _, name := range r.Order {
		if e, ok := s.Endpoint(name); ok && (e.Verdict == "down" || e.Held || e.Returning || (name == a.Who && e.Verdict != "up")) && !e.Partner {
			a.Reasons = append(a.Reasons, newReason(e))
		}
	}
	slices.SortStableFunc(a.Reasons, func(x, y reason) int {
		return cmp.Compare(usualFirst(x, r.Usual), usualFirst(y, r.Usual))
	})
	switch {
	case first.Verdict == "down":
		a.Tone, a.Word, a.Lead = alarm, "Everybody looks down", r.Name+" asks everybody, first"
	case first.Partner:
		a.Tone, a.Word = alarm, "Answered by a partner"
	case a.Who != r.Usual:
		a.Tone, a.Word = warning, "Not as usual"
	case first.Held:
		a.Tone, a.Word = warning, "Held, and still asked"
	case first.Verdict != "up":
		a.Tone, a.Word = warning, "In doubt"
	}
	return a
}

func usualFirst(r reason, usual string) int {
	if r.Endpoint == usual {
		return 0
	}
	return 1
}

func newReason(e EndpointStatus) reason {
	r := reason{Endpoint: e.Name, State: mark(e.Verdict), Since: e.Since, Why: e.why()}
	switch {
	case e.Verdict == "down":
	case e.Held:
		r.State, r.Since = markHeld, time.Time{}
		if e.Hold != nil {
			r.Since = e.Hold.From
		}
	case e.Returning:
		r.State = markReturning
		r.Why = cmp.Or(e.WhatBringsBack, r.Why)
	}
	return r
}

func newTiles(s *Status) []tile {
	tiles := []tile{
		{ID: "calls", Label: "Calls now", Value: fmt.Sprint(s.Calls.Total), Note: fmt.Sprintf("%d talking, %d ringing", s.Calls.Talking, s.Calls.Ringing), Link: "/calls?live=yes"},
		rescueTile(s.Rescues),
		refusedTile(s.Calls),
	}
	tiles = append(tiles, routineTiles(s)...)
	return append(tiles, heldTile(s))
}

const (
	maxBack       = 5
	maxCallsShown = 8
)

func backTile(open int) tile {
	t := tile{ID: "callbacks", Label: "To call back", Value: fmt.Sprint(open), Note: "nobody waits", Link: "/callbacks"}
	if open > 0 {
		t.Tone, t.Note = warning, "callers who got nobody"
	}
	return t
}

func rescueTile(r RescueStatus) tile {
	t := tile{ID: "rescues", Label: "Rescued calls", Value: fmt.Sprint(r.Rescued), Note: "none lost while talking"}
	switch {
	case r.LostTalking > 0:
		t.Tone, t.Note = alarm, fmt.Sprintf("%d lost while talking", r.LostTalking)
	case r.Running > 0:
		t.Tone, t.Note = warning, fmt.Sprintf("%d callers wait for somebody now", r.Running)
	case r.Begun == 0:
		t.Note = "no room was lost in a call"
	}
	return t
}

func refusedTile(c CallStatus) tile {
	t := tile{ID: "refused", Label: "Not answered", Value: fmt.Sprint(c.Refused), Note: fmt.Sprintf("%d placed, %d answered", c.Placed, c.Answered)}
	if c.Refused > 0 {
		t.Tone, t.Note = warning, fmt.Sprintf("went back to the carrier; %d answered", c.Answered)
	}
	return t
}

// routineTiles say for each routine route whether its callers reach a person.
func routineTiles(s *Status) []tile {
	var tiles []tile
	for _, v := range newValves(s) {
		if len(tiles) < 2 {
			tiles = append(tiles, newValveTile(&v))
		}
	}
	return tiles
}

func heldTile(s *Status) tile {
	t := tile{ID: "held", Label: "Held", Value: "0", Note: "nobody is out of service"}
	var names []string
	for _, e := range s.Endpoints {
		if e.Held {
			names = append(names, e.Name)
		}
	}
	if names != nil {
		t.Value, t.Note, t.Tone = fmt.Sprint(len(names)), strings.Join(names, ", "), warning
	}
	return t
}

// say is the board in a sentence, for the title and for who listens to the page.
func (b *board) say() string {
	switch {
	case b.NotReady != "":
		return "This node is ending: " + b.NotReady
	case b.Answer.Who == "":
		return b.Answer.Lead
	}
	text := b.Answer.Lead + " " + b.Answer.Who
	for _, r := range b.Answer.Reasons {
		text += "; " + r.Endpoint + " is " + strings.ToLower(r.State.Word)
	}
	return text
}

// title is what a tab shows.
func (b *board) title() string {
	sign := map[tone]string{calm: "●", good: "●", warning: "▲", alarm: "■"}[b.Answer.Tone]
	return sign + " " + b.Answer.Route + ": " + cmp.Or(b.Answer.Who, "nobody") + " · " + b.Node
}
