package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"nines/journal"
)

// endpointPage is one endpoint.
type endpointPage struct {
	At      time.Time
	Row     endpointRow
	History []journal.Entry // its verdicts, the newest first
	Lacks   string          // why the history may lack something
}

func newEndpointPage(s snapshot, name string) (endpointPage, bool) {
	e, ok := s.Status.Endpoint(name)
	return endpointPage{At: s.At, Row: newEndpointRow(e)}, ok
}

func (p *pages) endpoint(w http.ResponseWriter, r *http.Request, v visitor) {
	name := r.PathValue("name")
	d, ok := newEndpointPage(p.look(r), name)
	if !ok {
		p.fail(w, r, v, http.StatusNotFound, "No endpoint is called "+name+".")
		return
	}
	d.History, d.Lacks = p.verdicts(r.Context(), name, v.mask())
	p.show(w, r, v, "endpoint", page{Title: name, Here: "endpoint", Live: "endpoint/" + name, Data: d, Done: done(r)})
}

const (
	maxVerdicts  = 30
	verdictsFor  = 31 * 24 * time.Hour
	verdictsTime = 3 * time.Second // how long the book may be read for them
)

// verdicts reads from the book what was believed of an endpoint, the newest first.
func (p *pages) verdicts(ctx context.Context, name string, mask journal.Mask) (entries []journal.Entry, lacks string) {
	ctx, cancel := context.WithTimeout(ctx, verdictsTime)
	defer cancel()
	q := journal.Query{Endpoint: name, Types: []journal.Type{journal.ServiceStateChange}, Since: time.Now().Add(-verdictsFor), Newest: true, Limit: maxVerdicts, Mask: mask}
	err := p.node.Journal(ctx, q, func(e journal.Entry) error {
		entries = append(entries, e)
		return nil
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		lacks = "the book is too long to be read in time; nines journal has the rest"
	case err != nil:
		lacks = sentence(err)
	case len(entries) == maxVerdicts:
		lacks = fmt.Sprintf("these are the latest %d", maxVerdicts)
	}
	return entries, lacks
}

// acts are what a page says after an act, by the word in its address.
var acts = map[string]string{
	"treated": "Its calls are treated as emergencies.", "untreated": "Its calls are routine again.", "acknowledged": "The notice is acknowledged.", "confirmed": "The incident is confirmed to be over.",
	"held": "The endpoint is held.", "cleared": "The caller is off the list.", "released": "The endpoint is released.", "unkept": "Done, but it could not be written down: it will not survive a restart.",
}

func done(r *http.Request) string { return acts[r.URL.Query().Get("done")] }

func (p *pages) hold(w http.ResponseWriter, r *http.Request, v visitor) {
	name := r.PathValue("name")
	result, err := p.node.Hold(r.Context(), HoldRequest{Endpoint: name, For: r.PostFormValue("for"), Why: r.PostFormValue("why"), By: v.name})
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	toDone(w, r, "/endpoints/"+url.PathEscape(name), "held", result.NotKept)
}

func (p *pages) release(w http.ResponseWriter, r *http.Request, v visitor) {
	name := r.PathValue("name")
	result, err := p.node.Release(r.Context(), name, v.name)
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	toDone(w, r, "/endpoints/"+url.PathEscape(name), "released", result.NotKept)
}

// look is the node as a page shows it. Right after an act it is looked at anew: a page that says what was done must not show what was before.
func (p *pages) look(r *http.Request) snapshot {
	if done(r) != "" {
		return p.live.take()
	}
	return p.live.latest()
}

// toDone leads back to a page, which says what was done.
func toDone(w http.ResponseWriter, r *http.Request, path, word, notKept string) {
	if notKept != "" {
		word = "unkept"
	}
	http.Redirect(w, r, path+"?done="+word, http.StatusSeeOther)
}

func (p *pages) reload(w http.ResponseWriter, r *http.Request, v visitor) {
	result, err := p.node.Reload(r.Context())
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	p.show(w, r, v, "reload", page{Title: "Configuration", Here: "help", Data: result})
}
