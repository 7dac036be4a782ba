package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"nines/journal"
)

// callsPage is the list of calls with its search.
type callsPage struct {
	Query  CallQuery
	Since  string // as the form has it
	List   CallList
	Places []string
	Wrong  string
}

// mask is how much of a number the visitor sees.
func (v visitor) mask() journal.Mask {
	if v.numbers() {
		return journal.Full
	}
	return journal.LastThree
}

// findTime is how long a search may take; the page says what was not found in time.
const findTime = 10 * time.Second

func (p *pages) calls(w http.ResponseWriter, r *http.Request, v visitor) {
	d := callsPage{Since: r.URL.Query().Get("since")}
	for _, e := range p.live.latest().Status.Endpoints {
		d.Places = append(d.Places, e.Name)
	}
	values := r.URL.Query()
	for name, value := range values {
		values[name] = []string{strings.TrimSpace(value[0])}
	}
	if !v.numbers() {
		values.Del("number") // who does not see numbers must not find out by asking for them
	}
	if t, err := time.ParseInLocation("2006-01-02T15:04", d.Since, time.Local); err == nil {
		values.Set("since", t.Format(time.RFC3339))
	}
	q, err := callQuery(values)
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), findTime)
		defer cancel()
		d.List, err = p.node.Calls(ctx, q, v.mask())
	}
	d.Query = q
	if err != nil {
		d.Wrong = sentence(err)
	}
	p.show(w, r, v, "calls", page{Title: "Calls", Here: "calls", Live: "clock", Data: d})
}

// callPage is one call.
type callPage struct {
	CallDetail
	Ladder ladder
	Lines  []callLine
}

// callLine is what happened, in words.
type callLine struct {
	At    time.Time
	After string
	Words string
	By    string
}

func (p *pages) call(w http.ResponseWriter, r *http.Request, v visitor) {
	d, err := p.node.Call(r.Context(), r.PathValue("id"), v.mask())
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	c := callPage{CallDetail: d, Ladder: newLadder(&d)}
	for i := range d.Entries {
		e := &d.Entries[i]
		c.Lines = append(c.Lines, callLine{e.At, after(d.Call.Began, e.At), entryWords(e), e.By})
	}
	p.show(w, r, v, "call", page{Title: "Call " + d.Call.ID, Here: "calls", Live: "clock", Data: c})
}

// StateWord is how the call is, in a word.
func (s CallSummary) StateWord() string { return s.state() }

// Number is the caller's, in words where there is none.
func (s CallSummary) Number() string {
	if s.Caller == "" {
		return "withheld"
	}
	return s.Caller
}

// Talk is how long it talked.
func (s CallSummary) Talk() string {
	if s.TalkSeconds == 0 {
		return ""
	}
	return short(time.Duration(s.TalkSeconds * float64(time.Second)))
}

// First is what a message is.
func (m CallMessage) First() string { return m.first() }

// callBacksPage is the call-back list.
type callBacksPage struct {
	List CallBackList
	All  bool
}

// callBackLine is one line of the list as pages show it.
type callBackLine struct {
	ID, Number, Why, Trunk, Call string
	Last                         time.Time
	Calls                        int
	Cleared                      bool
}

func newCallBackLines(l *CallBackList) []callBackLine {
	lines := make([]callBackLine, 0, len(l.Lines))
	for i := range l.Lines {
		b := &l.Lines[i]
		if len(b.Missed) == 0 {
			continue
		}
		m := &b.Missed[len(b.Missed)-1]
		lines = append(lines, callBackLine{
			ID: b.ID, Number: who(b), Why: fate(b, m), Trunk: m.Trunk, Call: m.Call, Last: m.Ended, Calls: len(b.Missed) + b.More, Cleared: b.Cleared != nil,
		})
	}
	return lines
}

// Rows are the lines, made ready.
func (d callBacksPage) Rows() []callBackLine { return newCallBackLines(&d.List) }

func (p *pages) callBacks(w http.ResponseWriter, r *http.Request, v visitor) {
	all := r.URL.Query().Get("all") == "yes"
	l, err := p.node.CallBackList(r.Context(), all, v.mask())
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	p.show(w, r, v, "callbacks", page{Title: "To call back", Here: "callbacks", Live: "clock", Data: callBacksPage{l, all}, Done: done(r)})
}

func (p *pages) callBackDone(w http.ResponseWriter, r *http.Request, v visitor) {
	result, err := p.node.CallBackDone(r.Context(), CallBackDone{Who: r.PostFormValue("who"), Outcome: r.PostFormValue("outcome"), By: v.name})
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	word := "cleared"
	if result.NotKept != "" {
		word = "unkept"
	}
	http.Redirect(w, r, "/callbacks?"+url.Values{"done": {word}}.Encode(), http.StatusSeeOther)
}
