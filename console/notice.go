package console

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// NoticeStatus is one thing that people outside are told of.
type NoticeStatus struct {
	ID             string    `json:"id"`
	Code           string    `json:"code"`
	Severity       string    `json:"severity"` // info, warning, critical
	Title          string    `json:"title"`
	Text           string    `json:"text"`
	Details        []string  `json:"details,omitempty"`
	Do             string    `json:"do"`             // what to do about it
	Room           string    `json:"room,omitempty"` // it is for this control room alone
	Began          time.Time `json:"began"`
	Updated        time.Time `json:"updated"`
	Over           bool      `json:"over"`
	OverAt         time.Time `json:"over_at,omitzero"`
	Waits          bool      `json:"waits"` // it is repeated until somebody acknowledges it
	AcknowledgedBy string    `json:"acknowledged_by,omitempty"`
	AcknowledgedAt time.Time `json:"acknowledged_at,omitzero"`
}

// ReceiverStatus is how somebody does who is told.
type ReceiverStatus struct {
	Name    string    `json:"name"`
	Sent    uint64    `json:"sent"`
	Failed  uint64    `json:"failed"` // tries in vain
	Arrived time.Time `json:"arrived,omitzero"`
	Since   time.Time `json:"failing_since,omitzero"`
	Error   string    `json:"error,omitempty"`
	Retry   time.Time `json:"retry,omitzero"`
}

// NoticeList is what people outside are told now.
type NoticeList struct {
	Notices   []NoticeStatus   `json:"notices"`
	Receivers []ReceiverStatus `json:"receivers"`
	NotKept   string           `json:"not_kept,omitempty"` // why a restart would forget them
}

// AcknowledgeRequest says who has seen to a notice.
type AcknowledgeRequest struct {
	ID string `json:"id"` // empty: all that wait
	By string `json:"by"`
}

// AcknowledgeResult is what was acknowledged.
type AcknowledgeResult struct {
	Notices []NoticeStatus `json:"notices"`
	NotKept string         `json:"not_kept,omitempty"` // why a restart would forget it
}

// TrialRequest says who tries whether notices arrive.
type TrialRequest struct {
	By string `json:"by"`
}

// PublicNotice is the text for web page and social media, by language.
type PublicNotice map[string]string

var noticeRoutes = []route{
	get("/api/v1/notices", "What people outside are told now, who waits to be acknowledged, and how the receivers do.", func(a *ask) (NoticeList, error) {
		l := a.node.Notices()
		if a.who.role < operator {
			l.mask()
		}
		return l, nil
	}),
	act(http.MethodPost, "/api/v1/notices/acknowledge", operator, "Say that somebody has seen to a notice, or to all that wait; it is repeated no more.",
		func(a *ask, req AcknowledgeRequest) (AcknowledgeResult, error) {
			return a.node.Acknowledge(a.Context(), req.ID, a.by(req.By))
		}),
	act(http.MethodPost, "/api/v1/notices/trial", operator, "Tell every receiver a trial notice.", func(a *ask, req TrialRequest) (NoticeList, error) {
		err := a.node.TryNotices(a.Context(), a.by(req.By))
		return a.node.Notices(), err
	}),
	get("/api/v1/notices/public", "The text for the public, with the numbers of the configuration.", func(a *ask) (PublicNotice, error) {
		return a.node.PublicNotice(), nil
	}),
}

// mask takes callers' numbers out: what is for a room alone has one.
func (l *NoticeList) mask() {
	for i := range l.Notices {
		if n := &l.Notices[i]; n.Room != "" {
			n.Text, n.Details = n.Title, nil
		}
	}
}

// Notices asks what people outside are told.
func (c *Client) Notices(ctx context.Context) (NoticeList, error) {
	var l NoticeList
	return l, c.do(ctx, http.MethodGet, "/api/v1/notices", &l)
}

// Acknowledge says that somebody has seen to a notice, or to all with an empty id.
func (c *Client) Acknowledge(ctx context.Context, id, by string) (AcknowledgeResult, error) {
	var r AcknowledgeResult
	return r, c.send(ctx, http.MethodPost, "/api/v1/notices/acknowledge", AcknowledgeRequest{ID: id, By: by}, &r)
}

// TryNotices has every receiver told a trial.
func (c *Client) TryNotices(ctx context.Context, by string) (NoticeList, error) {
	var l NoticeList
	return l, c.send(ctx, http.MethodPost, "/api/v1/notices/trial", TrialRequest{By: by}, &l)
}

// PublicNotice asks for the text for the public.
func (c *Client) PublicNotice(ctx context.Context) (PublicNotice, error) {
	var n PublicNotice
	return n, c.do(ctx, http.MethodGet, (&url.URL{Path: "/api/v1/notices/public"}).String(), &n)
}

// WriteText writes what is told, and to whom.
func (l *NoticeList) WriteText(w io.Writer, now time.Time) error {
	p := &printer{w: w}
	if len(l.Notices) == 0 {
		p.line("there is nothing to tell")
	}
	for _, n := range l.Notices {
		p.line("%s  %s  %s  (%s, since %s, %s)", n.ID, n.shout(), n.Title, n.Code, clock(n.Began), n.state())
		p.line("  %s", n.Text)
		for _, d := range n.Details {
			p.line("  - %s", d)
		}
		p.line("  do: %s", n.Do)
	}
	p.line("")
	if len(l.Receivers) == 0 {
		p.line("nobody is told: notify is empty")
	} else {
		p.table(func(t io.Writer) {
			fmt.Fprintln(t, "RECEIVER\tSENT\tIN VAIN\tLAST ARRIVED\tWHY NOT")
			for _, r := range l.Receivers {
				fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\n", r.Name, r.Sent, r.Failed, seen(now, r.Arrived), r.Error)
			}
		})
	}
	if l.NotKept != "" {
		p.line("! not written down, a restart forgets them: %s", l.NotKept)
	}
	return p.err
}

func (n *NoticeStatus) shout() string {
	return map[string]string{"info": "info", "warning": "WARNING", "critical": "CRITICAL"}[n.Severity]
}

// state says whether somebody must act.
func (n *NoticeStatus) state() string {
	state := "open"
	if n.Over {
		state = "over"
	}
	switch {
	case n.AcknowledgedBy != "":
		return state + ", acknowledged by " + n.AcknowledgedBy
	case n.Waits:
		return state + ", NOT ACKNOWLEDGED"
	}
	return state
}

// WriteText writes what was acknowledged.
func (r *AcknowledgeResult) WriteText(w io.Writer) error {
	p := &printer{w: w}
	for _, n := range r.Notices {
		p.line("%s is acknowledged by %s: %s", n.ID, n.AcknowledgedBy, n.Text)
	}
	if r.NotKept != "" {
		p.line("  ! A RESTART WILL FORGET THIS: %s", r.NotKept)
	}
	return p.err
}
