package console

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// TreatRequest asks for the calls of a routine route to be treated as emergencies for a while (R1).
type TreatRequest struct {
	Route string `json:"route"` // its name, or a number on it
	For   string `json:"for"`   // as in the configuration: 30m, 2h, 1d
	Why   string `json:"why"`
	By    string `json:"by"`
}

// TreatStatus is an order that stands.
type TreatStatus struct {
	Route       string    `json:"route"`
	By          string    `json:"by"`
	Why         string    `json:"why"`
	From        time.Time `json:"from"`
	Until       time.Time `json:"until"`
	LeftSeconds int64     `json:"left_seconds"` // by the node's monotonic clock
}

// TreatResult is what became of an order that is in force.
type TreatResult struct {
	Treat    TreatStatus  `json:"treat"`
	Replaced *TreatStatus `json:"replaced,omitempty"` // the order that stood before
	NotKept  string       `json:"not_kept,omitempty"` // why it would not survive a restart
}

// UntreatResult is an order that has ended.
type UntreatResult struct {
	Treat   TreatStatus `json:"treat"`
	NotKept string      `json:"not_kept,omitempty"` // why it would come back with a restart
}

// TreatList is which routine routes are treated as emergency.
type TreatList struct {
	Treats  []TreatStatus `json:"treats"`
	NotKept string        `json:"not_kept,omitempty"` // why they would not survive a restart
}

var treatRoutes = []route{
	get("/api/v1/treats", "Which routine routes are treated as emergency, by whose order, until when and why.", func(a *ask) (TreatList, error) {
		return a.node.Treats(a.Context())
	}),
	act(http.MethodPost, "/api/v1/treats", operator, "Have the calls of a routine route treated as emergencies for a while.", func(a *ask, req TreatRequest) (TreatResult, error) {
		req.By = a.by(req.By)
		return a.node.Treat(a.Context(), req)
	}),
	act(http.MethodDelete, "/api/v1/treats/{route}", operator, "Have them treated as routine again.",
		func(a *ask, _ struct{}) (UntreatResult, error) {
			return a.node.Untreat(a.Context(), a.PathValue("route"), a.by(a.URL.Query().Get("by")))
		}, byParam),
}

// Treat has a routine route's calls treated as emergencies.
func (c *Client) Treat(ctx context.Context, req TreatRequest) (TreatResult, error) {
	var r TreatResult
	return r, c.send(ctx, http.MethodPost, "/api/v1/treats", req, &r)
}

// Untreat has them treated as routine again.
func (c *Client) Untreat(ctx context.Context, route, by string) (UntreatResult, error) {
	var r UntreatResult
	return r, c.do(ctx, http.MethodDelete, "/api/v1/treats/"+url.PathEscape(route)+"?by="+url.QueryEscape(by), &r)
}

// Treats asks which routes are treated as emergency.
func (c *Client) Treats(ctx context.Context) (TreatList, error) {
	var l TreatList
	return l, c.do(ctx, http.MethodGet, "/api/v1/treats", &l)
}

// WriteText writes what became of an order.
func (r *TreatResult) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("calls to %s are emergencies until %s (%s), by %s: %s", r.Treat.Route, clock(r.Treat.Until), r.Treat.left(), r.Treat.By, r.Treat.Why)
	p.line("  they are asked for on the emergency route, in the second line: new calls to 999 come first. No announcement is played to them")
	if o := r.Replaced; o != nil {
		p.line("  this replaces the order by %s until %s: %s", o.By, clock(o.Until), o.Why)
	}
	if r.NotKept != "" {
		p.line("  ! THIS WILL NOT SURVIVE A RESTART: %s", r.NotKept)
	}
	return p.err
}

// WriteText writes what has ended.
func (r *UntreatResult) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("calls to %s are routine again", r.Treat.Route)
	p.line("  %s had them treated as emergency until %s: %s", r.Treat.By, clock(r.Treat.Until), r.Treat.Why)
	if r.NotKept != "" {
		p.line("  ! THE ORDER WILL COME BACK WITH A RESTART: %s", r.NotKept)
	}
	return p.err
}

// WriteText writes which routes are treated as emergency.
func (l *TreatList) WriteText(w io.Writer) error {
	p := &printer{w: w}
	if len(l.Treats) == 0 {
		p.line("every route is treated as the file says")
	} else {
		p.table(func(t io.Writer) {
			fmt.Fprintln(t, "ROUTE\tAS\tBY\tSINCE\tUNTIL\tLEFT\tWHY")
			for _, x := range l.Treats {
				fmt.Fprintf(t, "%s\temergency\t%s\t%s\t%s\t%s\t%s\n", x.Route, x.By, clock(x.From), clock(x.Until), x.left(), x.Why)
			}
		})
	}
	if l.NotKept != "" {
		p.line("! not written down: a restart goes back to the orders before: %s", l.NotKept)
	}
	return p.err
}

// left is how long the order still stands, by the node's monotonic clock.
func (t *TreatStatus) left() string { return short(time.Duration(t.LeftSeconds) * time.Second) }
