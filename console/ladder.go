package console

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nines/journal"
)

// A ladder is the diagram of a call: who spoke in columns, time downwards. It is drawn of the call's messages where they are kept, else of what the book says
// happened.
type ladder struct {
	W, H    int
	Columns []column
	Rungs   []rung
	Kept    bool // drawn of messages
	More    int  // rungs that are not drawn for want of room
	Words   string
}

// column is one who spoke.
type column struct {
	X    int
	Name string
	Kind string // trunk, nines, endpoint, partner
}

// rung is one message, or what happened at nines.
type rung struct {
	Y        int
	At       time.Time
	After    string // since the call began
	From, To int    // x; the same: a note
	Label    string
	Tone     tone
	Reply    bool // drawn dashed: an answer
	Number   int  // of the message in the list below; 0: none
	Back     bool // the arrow points to the left
	Mid, Tip int  // where the words stand, and the arrow's point
}

const (
	ladderLeft  = 150 // for the time
	ladderStep  = 250 // between two columns
	rungHeight  = 34
	ladderHead  = 56
	maxRungs    = 400
	maxLabel    = 34
	arrowLength = 9
)

// newLadder draws a call.
func newLadder(d *CallDetail) ladder {
	l := ladder{Kept: len(d.Messages) > 0}
	l.Columns = []column{{Name: cmp.Or(d.Call.Trunk, "caller"), Kind: "trunk"}, {Name: "nines", Kind: "nines"}}
	place := map[string]int{}
	attempt := map[int]string{}
	for i := range d.Entries {
		e := &d.Entries[i]
		if e.Endpoint == "" || e.Attempt == 0 {
			continue
		}
		attempt[e.Attempt] = e.Endpoint
		if place[e.Endpoint] == 0 {
			kind := "endpoint"
			if e.Partner {
				kind = "partner"
			}
			place[e.Endpoint] = len(l.Columns)
			l.Columns = append(l.Columns, column{Name: e.Endpoint, Kind: kind})
		}
	}
	var rungs []rung
	if l.Kept {
		rungs = l.messages(d, place, attempt)
	}
	for i := range d.Entries {
		if r, ok := l.entry(&d.Entries[i], place); ok {
			rungs = append(rungs, r)
		}
	}
	slices.SortStableFunc(rungs, func(a, b rung) int { return a.At.Compare(b.At) })
	if len(rungs) > maxRungs {
		l.More, rungs = len(rungs)-maxRungs, rungs[:maxRungs]
	}
	l.lay(rungs, d.Call.Began)
	return l
}

// messages makes rungs of SIP messages.
func (l *ladder) messages(d *CallDetail, place map[string]int, attempt map[int]string) []rung {
	rungs := make([]rung, 0, len(d.Messages))
	for i := range d.Messages {
		m := &d.Messages[i]
		far := 0
		if m.Attempt > 0 {
			name := cmp.Or(attempt[m.Attempt], m.Remote)
			if place[name] == 0 {
				place[name] = len(l.Columns)
				l.Columns = append(l.Columns, column{Name: name, Kind: "endpoint"})
			}
			far = place[name]
		}
		r := rung{At: m.At, From: far, To: 1, Label: m.first(), Number: i + 1}
		if !m.In {
			r.From, r.To = 1, far
		}
		r.Tone, r.Reply = replyTone(r.Label)
		rungs = append(rungs, r)
	}
	return rungs
}

// replyTone says how a status line matters; a request has none.
func replyTone(line string) (tone, bool) {
	code, _, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(code)
	switch {
	case err != nil:
		return calm, false
	case n < 200:
		return calm, true
	case n < 300:
		return good, true
	case n == 487: // the caller's or our own wish
		return calm, true
	}
	return alarm, true
}

// entry makes a rung of what the book says. Where messages are kept it adds only what they don't show.
func (l *ladder) entry(e *journal.Entry, place map[string]int) (rung, bool) {
	r := rung{At: e.At, From: 1, To: 1, Label: entryWords(e)}
	at, known := place[e.Endpoint]
	switch e.Type {
	case journal.CallStart:
		r.From, r.To, r.Label = 0, 1, "calls "+e.Called
		return r, !l.Kept
	case journal.Route:
		r.To, r.Label = at, fmt.Sprintf("asked (%d)", e.Attempt)
		return r, !l.Kept && known
	case journal.AttemptOutcome:
		r.From, r.To, r.Reply = at, 1, true
		r.Label, r.Tone = strings.TrimSpace(e.Outcome+" "+nonZero(e.Code)), alarm
		switch e.Outcome {
		case "answered":
			r.Tone = good
		case "stopped", "silent":
			r.Tone = calm
		}
		return r, !l.Kept && known
	case journal.CallStateChange:
		r.Label = strings.TrimSpace(e.What + " " + e.Endpoint)
		r.Tone = map[string]tone{"lost": alarm, "rescued": good, "kept": good, "waiting": warning}[e.What]
		if e.What == "answered" && !l.Kept {
			r.From, r.To, r.Reply, r.Tone = 1, 0, true, good
		}
		return r, true
	case journal.Witness:
		r.Tone = warning
		return r, true
	case journal.RouteRule:
		r.Label = "plan: " + e.What
		return r, true
	case journal.CallEnd:
		r.Label = "over: " + strings.TrimSpace(e.Outcome+" "+nonZero(e.Code))
		if e.Outcome != "answered" && e.Outcome != "cancelled" {
			r.Tone = alarm
		}
		return r, true
	case journal.AnnouncementStart, journal.AnnouncementEnd, journal.MalformedMessage:
		return r, true
	default:
		return r, false
	}
}

func nonZero(code int) string {
	if code == 0 {
		return ""
	}
	return strconv.Itoa(code)
}

// lay gives everything its place.
func (l *ladder) lay(rungs []rung, began time.Time) {
	for i := range l.Columns {
		l.Columns[i].X = ladderLeft + ladderStep/2 + i*ladderStep
	}
	for i := range rungs {
		r := &rungs[i]
		from, to := r.From, r.To
		r.Y = ladderHead + (i+1)*rungHeight
		r.After = after(began, r.At)
		r.From, r.To = l.Columns[from].X, l.Columns[to].X
		r.Back = r.To < r.From
		r.Mid = (r.From + r.To) / 2
		r.Tip = r.To - arrowLength
		if r.Back {
			r.Tip = r.To + arrowLength
		}
		if short := []rune(r.Label); len(short) > maxLabel && from != to {
			r.Label = string(short[:maxLabel-1]) + "…"
		} else if len(short) > 2*maxLabel {
			r.Label = string(short[:2*maxLabel-1]) + "…"
		}
	}
	l.Rungs = rungs
	l.W = ladderLeft + ladderStep*len(l.Columns)
	l.H = ladderHead + (len(rungs)+1)*rungHeight
	var names []string
	for _, c := range l.Columns[2:] {
		names = append(names, c.Name)
	}
	l.Words = fmt.Sprintf("Ladder diagram: %d steps between %s, nines and %s. The list below says the same in words.", len(rungs), l.Columns[0].Name, cmp.Or(strings.Join(names, ", "), "nobody else"))
}
