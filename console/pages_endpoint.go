package console

import (
	"net/http"
	"net/url"
	"time"
)

// endpointPage is one endpoint.
type endpointPage struct {
	At  time.Time
	Row endpointRow
}

func newEndpointPage(s snapshot, name string) (endpointPage, bool) {
	e, ok := s.Status.Endpoint(name)
	return endpointPage{At: s.At, Row: newEndpointRow(e)}, ok
}

func (p *pages) endpoint(w http.ResponseWriter, r *http.Request, v visitor) {
	name := r.PathValue("name")
	d, ok := newEndpointPage(p.live.latest(), name)
	if !ok {
		p.fail(w, r, v, http.StatusNotFound, "No endpoint is called "+name+".")
		return
	}
	p.show(w, r, v, "endpoint", page{Title: name, Here: "endpoint", Live: "endpoint/" + name, Data: d, Done: done(r)})
}

// acts are what a page says after an act, by the word in its address.
var acts = map[string]string{
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
	p.toEndpoint(w, r, name, "held", result.NotKept)
}

func (p *pages) release(w http.ResponseWriter, r *http.Request, v visitor) {
	name := r.PathValue("name")
	result, err := p.node.Release(r.Context(), name, v.name)
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	p.toEndpoint(w, r, name, "released", result.NotKept)
}

func (p *pages) toEndpoint(w http.ResponseWriter, r *http.Request, name, word, notKept string) {
	if notKept != "" {
		word = "unkept"
	}
	http.Redirect(w, r, "/endpoints/"+url.PathEscape(name)+"?done="+word, http.StatusSeeOther)
}

func (p *pages) reload(w http.ResponseWriter, r *http.Request, v visitor) {
	result, err := p.node.Reload(r.Context())
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	p.show(w, r, v, "reload", page{Title: "Configuration", Here: "help", Data: result})
}
