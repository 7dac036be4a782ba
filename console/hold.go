package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"nines/health"
)

// HoldRequest asks for an endpoint to be held.
type HoldRequest struct {
	Endpoint string `json:"endpoint"`
	For      string `json:"for"` // as in the configuration: 30m, 2h, 1d
	Why      string `json:"why"`
	By       string `json:"by"`
}

// HoldResult is what became of a hold that is in force.
type HoldResult struct {
	Hold     HoldStatus  `json:"hold"`
	Replaced *HoldStatus `json:"replaced,omitempty"` // the hold that it had before
	NotKept  string      `json:"not_kept,omitempty"` // why it would not survive a restart
}

// ReleaseResult is what became of a release.
type ReleaseResult struct {
	Endpoint    string      `json:"endpoint"`
	Hold        *HoldStatus `json:"hold,omitempty"`     // the one that ended; none: the endpoint was let off its way back
	Explanation string      `json:"explanation"`        // what is believed of it now
	NotKept     string      `json:"not_kept,omitempty"` // why the hold would come back with a restart
}

// HoldList is who is held.
type HoldList struct {
	Holds   []HoldStatus `json:"holds"`
	NotKept string       `json:"not_kept,omitempty"` // why they would not survive a restart
}

// A Mistake is an error of whoever asked. Its words go back to them.
type Mistake string

// Error gives the words.
func (m Mistake) Error() string { return string(m) }

// ErrNotFound is what was asked for and is not there. Errors that wrap it answer 404 with their words.
var ErrNotFound = errors.New("not found")

var holdRoutes = []route{
	get("/api/v1/holds", "Who is held, by whom, until when and why.", func(a *ask) (HoldList, error) { return a.node.Holds(a.Context()) }),
	act(http.MethodPost, "/api/v1/holds", operator, "Have an endpoint asked last for a while.", func(a *ask, req HoldRequest) (HoldResult, error) {
		req.By = a.by(req.By)
		return a.node.Hold(a.Context(), req)
	}),
	act(http.MethodDelete, "/api/v1/holds/{endpoint}", operator, "End an endpoint's hold, or let one that comes back off its way back.",
		func(a *ask, _ struct{}) (ReleaseResult, error) {
			return a.node.Release(a.Context(), a.PathValue("endpoint"), a.by(a.URL.Query().Get("by")))
		}, byParam),
}

// byParam says who acts where a request has no body.
var byParam = param{"by", "who acts; counts over the control socket only, over HTTP it is the token's owner"}

// answer writes what a request has come to.
func answer(w http.ResponseWriter, result any, err error) {
	if err != nil {
		write(w, blame(err), Problem{strings.TrimPrefix(err.Error(), ErrNotFound.Error()+": ")})
		return
	}
	code := http.StatusOK
	if r, ok := result.(interface{ refused() bool }); ok && r.refused() {
		code = http.StatusUnprocessableEntity
	}
	write(w, code, result)
}

// blame says whose error it is.
func blame(err error) int {
	var mistake Mistake
	switch {
	case errors.Is(err, health.ErrNoEndpoint), errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, errNumber):
		return http.StatusForbidden
	case errors.Is(err, health.ErrNotHeld):
		return http.StatusConflict
	case errors.As(err, &mistake), errors.Is(err, health.ErrNoOwner), errors.Is(err, health.ErrNoReason), errors.Is(err, health.ErrNoEnd):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// Hold holds an endpoint.
func (c *Client) Hold(ctx context.Context, req HoldRequest) (HoldResult, error) {
	var r HoldResult
	return r, c.send(ctx, http.MethodPost, "/api/v1/holds", req, &r)
}

// Release ends an endpoint's hold, or lets it off its way back.
func (c *Client) Release(ctx context.Context, endpoint, by string) (ReleaseResult, error) {
	var r ReleaseResult
	return r, c.do(ctx, http.MethodDelete, "/api/v1/holds/"+url.PathEscape(endpoint)+"?by="+url.QueryEscape(by), &r)
}

// Holds asks who is held.
func (c *Client) Holds(ctx context.Context) (HoldList, error) {
	var l HoldList
	return l, c.do(ctx, http.MethodGet, "/api/v1/holds", &l)
}

// WriteText writes what became of a hold.
func (r *HoldResult) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("%s is held by %s until %s (%s): %s", r.Hold.Endpoint, r.Hold.By, clock(r.Hold.Until), r.Hold.left(), r.Hold.Why)
	p.line("  it is asked last, but no emergency call's plan leaves it out; its calls in progress go on")
	if o := r.Replaced; o != nil {
		p.line("  this replaces the hold by %s until %s: %s", o.By, clock(o.Until), o.Why)
	}
	if r.NotKept != "" {
		p.line("  ! THIS HOLD WILL NOT SURVIVE A RESTART: %s", r.NotKept)
	}
	return p.err
}

// WriteText writes what became of a release.
func (r *ReleaseResult) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("%s is released", r.Endpoint)
	if o := r.Hold; o != nil {
		p.line("  it was held by %s until %s: %s", o.By, clock(o.Until), o.Why)
	}
	p.line("  %s", r.Explanation)
	if r.NotKept != "" {
		p.line("  ! THE HOLD WILL COME BACK WITH A RESTART: %s", r.NotKept)
	}
	return p.err
}

// WriteText writes who is held.
func (l *HoldList) WriteText(w io.Writer) error {
	p := &printer{w: w}
	if len(l.Holds) == 0 {
		p.line("nobody is held")
	} else {
		p.table(func(t io.Writer) {
			fmt.Fprintln(t, "ENDPOINT\tBY\tSINCE\tUNTIL\tLEFT\tWHY")
			for _, h := range l.Holds {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", h.Endpoint, h.By, clock(h.From), clock(h.Until), h.left(), h.Why)
			}
		})
	}
	if l.NotKept != "" {
		p.line("! not written down: a restart goes back to the holds before: %s", l.NotKept)
	}
	return p.err
}

// left is how long the hold still has, by the node's monotonic clock.
func (h *HoldStatus) left() string { return short(time.Duration(h.LeftSeconds) * time.Second) }
