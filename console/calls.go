package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"nines/journal"
)

// CallSummary is one call in a line: one that lives, or one that is over.
type CallSummary struct {
	ID             string    `json:"id"`    // this node's name for the call, as in the log and the book
	State          string    `json:"state"` // ringing, talking, rescuing, over
	Began          time.Time `json:"began"`
	Answered       time.Time `json:"answered,omitzero"`
	Ended          time.Time `json:"ended,omitzero"`
	Trunk          string    `json:"trunk,omitempty"`
	Route          string    `json:"route,omitempty"`
	Class          string    `json:"class,omitempty"`  // emergency, routine, test
	Caller         string    `json:"caller,omitempty"` // the caller's number; empty: withheld
	Called         string    `json:"called,omitempty"`
	CallID         string    `json:"call_id,omitempty"`  // of the caller's leg
	Endpoint       string    `json:"endpoint,omitempty"` // that talks, or talked last
	Partner        bool      `json:"partner,omitempty"`
	Outcome        string    `json:"outcome,omitempty"` // answered, refused, cancelled, lost_talking; empty: it lives
	Code           int       `json:"code,omitempty"`    // what the caller got
	Why            string    `json:"why,omitempty"`     // how it ended
	SetupMillis    float64   `json:"setup_ms,omitempty"`
	TalkSeconds    float64   `json:"talk_seconds,omitempty"`
	Attempts       int       `json:"attempts"`          // endpoints that were asked
	Rescues        int       `json:"rescues,omitempty"` // times that it lost its endpoint
	Announced      bool      `json:"announced"`         // it was answered by an announcement, and by nobody else
	MessagesLost   int       `json:"messages_lost"`     // SIP messages that were not kept, for want of room
	RescueGapMilli float64   `json:"rescue_gap_ms,omitempty"`
	Malformed      bool      `json:"malformed,omitempty"` // its INVITE had to be mended
}

// CallQuery says which calls are wanted. What is zero does not matter.
type CallQuery struct {
	Number   string // of the caller, in any spelling
	Endpoint string // that talked last
	Outcome  string
	Since    time.Time
	Until    time.Time
	Live     bool // only those that live
	Limit    int
}

// CallList is calls, the newest first.
type CallList struct {
	Calls []CallSummary `json:"calls"`
	More  bool          `json:"more"`              // there are more than were asked for
	Book  string        `json:"trouble,omitempty"` // why the book could not be read: then these are what is in memory
}

// CallMessage is one SIP message of a call.
type CallMessage struct {
	At      time.Time `json:"at"`
	In      bool      `json:"in"`                // it came to us; else it went
	Attempt int       `json:"attempt,omitempty"` // whose leg; 0: the caller's
	Proto   string    `json:"proto"`             // UDP, TCP, TLS
	Local   string    `json:"local"`             // our address
	Remote  string    `json:"remote"`
	Text    string    `json:"text,omitempty"`
	Base64  []byte    `json:"base64,omitempty"` // instead of text where that is no UTF-8
}

// CallDetail is all that is known of one call.
type CallDetail struct {
	Call     CallSummary     `json:"call"`
	Entries  []journal.Entry `json:"entries"`            // what happened, in order
	Messages []CallMessage   `json:"messages,omitempty"` // what was said, where journal.messages has it kept; only to who may see numbers
	Book     string          `json:"trouble,omitempty"`  // why the book could not be read
	// MessagesLost is how many messages of a call that lives, or lived lately, were not kept because there were too many.
	MessagesLost int `json:"messages_lost,omitempty"`
}

// CallReader is what the console needs to know of calls.
type CallReader interface {
	Calls(ctx context.Context, q CallQuery, mask journal.Mask) (CallList, error)
	// Call gives one call, by our name for it or a Call-ID. The error wraps [ErrNotFound] where there is none.
	Call(ctx context.Context, id string, mask journal.Mask) (CallDetail, error)
}

var callRoutes = []route{
	get("/api/v1/calls", "Calls: those that live, and those of the book, the newest first.", func(a *ask) (CallList, error) {
		q, err := callQuery(a.URL.Query())
		if err != nil {
			return CallList{}, err
		}
		if q.Number != "" && !a.who.numbers() {
			return CallList{}, errNumber
		}
		return a.node.Calls(a.Context(), q, a.mask())
	},
		param{"live", "yes: only those that live"}, param{"number", "of the caller, in any spelling; for an operator"}, param{"endpoint", "that talked last"},
		param{"outcome", "answered, refused, cancelled or lost_talking"}, param{"since", "begun then or later, as in RFC 3339"}, param{"until", "begun before"},
		param{"limit", "as many, at most 1000; 100 when left out"}),
	get("/api/v1/calls/{id}", "One call, by our name for it or a Call-ID: what happened, in order, and its SIP messages where they are kept.", func(a *ask) (CallDetail, error) {
		return a.node.Call(a.Context(), a.PathValue("id"), a.mask())
	}),
	pcapOfCall,
}

// errNumber is for who sees no numbers: whether a call is found would tell them of a number that they know.
var errNumber = errors.New("to look for a number needs a token that may see numbers, an operator's")

const (
	usualCalls = 100
	mostCalls  = 1000
)

// callQuery reads what is asked for.
func callQuery(v url.Values) (CallQuery, error) {
	q := CallQuery{Number: v.Get("number"), Endpoint: v.Get("endpoint"), Outcome: v.Get("outcome"), Live: v.Get("live") == "yes", Limit: usualCalls}
	if s := v.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > mostCalls {
			return q, Mistake(fmt.Sprintf("limit %q: say a number from 1 to %d", s, mostCalls))
		}
		q.Limit = n
	}
	for name, to := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if s := v.Get(name); s != "" {
			t, err := time.Parse(time.RFC3339, s)
			if err != nil {
				return q, Mistake(fmt.Sprintf("%s %q: say a time such as 2026-11-26T21:00:00Z", name, s))
			}
			*to = t
		}
	}
	return q, nil
}

// values is a query as a URL has it.
func (q CallQuery) values() url.Values {
	v := url.Values{}
	for name, s := range map[string]string{"number": q.Number, "endpoint": q.Endpoint, "outcome": q.Outcome} {
		if s != "" {
			v.Set(name, s)
		}
	}
	for name, t := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !t.IsZero() {
			v.Set(name, t.Format(time.RFC3339))
		}
	}
	if q.Live {
		v.Set("live", "yes")
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// Calls asks for calls.
func (c *Client) Calls(ctx context.Context, q CallQuery) (CallList, error) {
	var l CallList
	return l, c.do(ctx, http.MethodGet, "/api/v1/calls?"+q.values().Encode(), &l)
}

// Call asks for one call.
func (c *Client) Call(ctx context.Context, id string) (CallDetail, error) {
	var d CallDetail
	return d, c.do(ctx, http.MethodGet, "/api/v1/calls/"+url.PathEscape(id), &d)
}

// WriteText writes a line a call.
func (l *CallList) WriteText(w io.Writer, now time.Time) error {
	p := &printer{w: w}
	if len(l.Calls) == 0 {
		p.line("no calls")
	} else {
		p.table(func(t io.Writer) {
			fmt.Fprintln(t, "CALL\tBEGAN\tFROM\tTO\tBY\tSTATE\tTALK\tWHY")
			for i := range l.Calls {
				s := &l.Calls[i]
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, ago(now, s.Began), cmp.Or(s.Caller, "withheld"), s.Called, cmp.Or(s.Endpoint, "-"), s.state()+s.mended(),
					time.Duration(s.TalkSeconds*float64(time.Second)).Round(time.Second), s.Why)
			}
		})
	}
	if l.More {
		p.line("there are more: say --limit, or narrow it")
	}
	if l.Book != "" {
		p.line("! the book could not be read, these are the latest in memory: %s", l.Book)
	}
	return p.err
}

// mended marks the line of a call whose INVITE was malformed.
func (s *CallSummary) mended() string {
	if s.Malformed {
		return ", malformed"
	}
	return ""
}

func (s *CallSummary) state() string {
	if s.State != "over" {
		return s.State
	}
	if s.Code != 0 && s.Outcome != "answered" {
		return s.Outcome + " " + strconv.Itoa(s.Code)
	}
	return s.Outcome
}

// WriteText writes what happened to a call, in order, and its messages as a ladder.
func (d *CallDetail) WriteText(w io.Writer) error {
	p := &printer{w: w}
	s := &d.Call
	p.line("%s  %s  from %s to %s by trunk %s, route %s (%s)", s.ID, s.state()+s.mended(), cmp.Or(s.Caller, "a withheld number"), s.Called, s.Trunk, s.Route, s.Class)
	p.line("")
	p.table(func(t io.Writer) {
		for i := range d.Entries {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", d.Entries[i].At.Format(clockMillis), after(s.Began, d.Entries[i].At), entryWords(&d.Entries[i]))
		}
	})
	if len(d.Messages) > 0 {
		p.line("")
		p.ladder(d)
	}
	if d.MessagesLost > 0 {
		p.line("! %d messages were not kept: there were too many", d.MessagesLost)
	}
	if d.Book != "" {
		p.line("! the book could not be read: %s", d.Book)
	}
	return p.err
}

const clockMillis = "15:04:05.000"

func after(began, at time.Time) string {
	if began.IsZero() {
		return ""
	}
	return fmt.Sprintf("%+.3f s", at.Sub(began).Seconds())
}

// entryWords is an entry in a line.
func entryWords(e *journal.Entry) string {
	said := []string{strings.TrimSuffix(strings.TrimPrefix(string(e.Type), "Nines"), "LogEvent")}
	if e.What != "" && e.Type != journal.RouteRule {
		said[0] = e.What
	}
	add := func(s string) {
		if s != "" {
			said = append(said, s)
		}
	}
	switch e.Type {
	case journal.CallStart:
		said[0] = "came in"
	case journal.RouteRule:
		said[0] = "plan: " + e.What
	case journal.Route:
		said[0] = "asked"
	case journal.MediaStart:
		said[0] = "first packet"
	case journal.MediaEnd:
		said[0] = "media ended"
	case journal.CallEnd:
		said[0] = "ended"
	case journal.AttemptOutcome:
		said[0] = ""
	case journal.Witness:
		said[0] = "witness"
	default:
	}
	add(e.Endpoint)
	add(e.Outcome)
	if e.Code != 0 {
		add(strconv.Itoa(e.Code))
	}
	if e.Took != 0 {
		add("(" + e.Took.Round(time.Millisecond).String() + ")")
	}
	words := strings.TrimSpace(strings.Join(said, " "))
	if e.Why != "" {
		words += ": " + e.Why
	}
	return words
}

// ladder writes the messages between those who spoke, us in the middle.
func (p *printer) ladder(d *CallDetail) {
	const side = 22 // letters between two of them
	p.line("  %-14scaller%*snines%*sendpoint", "", side-5, "", side-5, "")
	for i := range d.Messages {
		m := &d.Messages[i]
		what := m.first()
		if len(what) > side-6 {
			what = what[:side-6]
		}
		in := fmt.Sprintf("|-- %s %s>|", what, strings.Repeat("-", side-5-len(what)))
		if m.In == (m.Attempt > 0) {
			in = fmt.Sprintf("|<- %s %s|", what, strings.Repeat("-", side-4-len(what)))
		}
		if m.Attempt > 0 {
			in = fmt.Sprintf("%*s%s  %s", side+1, "", in, m.whose(d))
		}
		p.line("  %s  %s", m.At.Format(clockMillis), in)
	}
}

// first is what a message is: its method, or its code and reason.
func (m *CallMessage) first() string {
	line, _, _ := strings.Cut(m.Text, "\r\n")
	if rest, ok := strings.CutPrefix(line, "SIP/2.0 "); ok {
		return rest
	}
	method, _, _ := strings.Cut(line, " ")
	return method
}

// whose is the endpoint of a message's leg.
func (m *CallMessage) whose(d *CallDetail) string {
	for i := range d.Entries {
		if d.Entries[i].Attempt == m.Attempt && d.Entries[i].Endpoint != "" {
			return d.Entries[i].Endpoint
		}
	}
	return m.Remote
}
