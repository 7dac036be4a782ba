package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// valve says how the callers of a routine route are served now, and by whose decision.
type valve struct {
	Route   string
	State   stateMark
	Words   string
	Shed    *ShedStatus
	Treat   *TreatStatus
	Waiting int // in its line
}

func newValve(s *Status, r *RouteStatus) valve {
	v := valve{Route: r.Name}
	for i := range s.Routine.Shed {
		if x := s.Routine.Shed[i]; x.Route == r.Name {
			v.Shed = &x
		}
	}
	for i := range s.Routine.Treats {
		if x := s.Routine.Treats[i]; x.Route == r.Name {
			v.Treat = &x
		}
	}
	for _, l := range s.Routine.Lines {
		if l.Route == r.Name {
			v.Waiting = l.Waiting
		}
	}
	first := EndpointStatus{}
	if len(r.Order) > 0 {
		first, _ = s.Endpoint(r.Order[0])
	}
	switch {
	case v.Treat != nil:
		v.State, v.Words = stateMark{"suspect", "As emergency", warning}, "its calls go by the emergency route, in the second line"
	case v.Shed != nil:
		v.State, v.Words = stateMark{"held", "Shed", warning}, "its callers hear the announcement at once"
	case len(r.Order) == 0:
		v.State, v.Words = stateMark{"down", "Nobody", alarm}, "there is nobody to ask"
	case first.Verdict == "down":
		v.State, v.Words = stateMark{"down", "No room", warning}, "none of its rooms is up"
	default:
		v.State, v.Words = stateMark{"up", "Open", good}, "answered by "+first.Name
	}
	return v
}

// newValves are those of all routine routes.
func newValves(s *Status) []valve {
	var all []valve
	for i := range s.Routes {
		if s.Routes[i].Class == "routine" {
			all = append(all, newValve(s, &s.Routes[i]))
		}
	}
	return all
}

// newValveTile is the valve as a figure.
func newValveTile(v *valve) tile {
	t := tile{ID: "routine-" + v.Route, Label: "Routine: " + v.Route, Value: v.State.Word, Note: v.Words, Tone: v.State.Tone, Words: true, Link: "/routes/" + url.PathEscape(v.Route)}
	if t.Tone == good {
		t.Value, t.Note, t.Tone = "Answered", strings.TrimPrefix(v.Words, "answered "), calm
	}
	switch {
	case v.Treat != nil:
		t.Value, t.Note = "Treated", fmt.Sprintf("as emergency until %s, by %s", clock(v.Treat.Until), v.Treat.By)
	case v.Shed != nil:
		t.Note = "announcement at once since " + clock(v.Shed.Since)
	}
	return t
}

// routePage is one route.
type routePage struct {
	Route   RouteStatus
	Valve   *valve // of a routine route
	Routine RoutineStatus
}

func newRoutePage(s *Status, name string) (routePage, bool) {
	for i := range s.Routes {
		r := &s.Routes[i]
		if r.Name != name {
			continue
		}
		d := routePage{Route: *r, Routine: s.Routine}
		if r.Class == "routine" {
			v := newValve(s, r)
			d.Valve = &v
		}
		return d, true
	}
	return routePage{}, false
}

func (p *pages) route(w http.ResponseWriter, r *http.Request, v visitor) {
	name := r.PathValue("name")
	s := p.look(r)
	d, ok := newRoutePage(&s.Status, name)
	if !ok {
		p.fail(w, r, v, http.StatusNotFound, "No route is called "+name+".")
		return
	}
	p.show(w, r, v, "route", page{Title: "Route " + name, Here: "route", Live: "route/" + name, Data: d, Done: done(r)})
}

func (p *pages) treat(w http.ResponseWriter, r *http.Request, v visitor) {
	name := r.PathValue("name")
	result, err := p.node.Treat(r.Context(), TreatRequest{Route: name, For: r.PostFormValue("for"), Why: r.PostFormValue("why"), By: v.name})
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	toDone(w, r, "/routes/"+url.PathEscape(name), "treated", result.NotKept)
}

func (p *pages) untreat(w http.ResponseWriter, r *http.Request, v visitor) {
	name := r.PathValue("name")
	result, err := p.node.Untreat(r.Context(), name, v.name)
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	toDone(w, r, "/routes/"+url.PathEscape(name), "untreated", result.NotKept)
}
