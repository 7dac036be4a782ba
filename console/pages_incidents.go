package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"nines/journal"
)

// incidentRow is an incident as pages show it.
type incidentRow struct {
	*journal.Incident
	State stateMark
}

func newIncidentRow(i *journal.Incident) incidentRow {
	r := incidentRow{i, stateMark{"down", "Goes on", alarm}}
	switch {
	case !i.Confirmed.IsZero():
		r.State = stateMark{"up", "Over", good}
	case !i.Restored.IsZero():
		r.State = stateMark{"returning", "Over, not confirmed", warning}
	}
	return r
}

// MayConfirm says whether a person's word is what it still lacks.
func (r incidentRow) MayConfirm() bool { return !r.Restored.IsZero() && r.Confirmed.IsZero() }

// Partners are those who answered for us.
func (r incidentRow) Partners() []*journal.Use {
	return slices.DeleteFunc(slices.Clone(r.Answered), func(u *journal.Use) bool { return !u.Partner })
}

// incidentsPage is all of them, the newest first.
type incidentsPage struct {
	Rows    []incidentRow
	Trouble string
}

func (p *pages) incidents(w http.ResponseWriter, r *http.Request, v visitor) {
	ctx, cancel := context.WithTimeout(r.Context(), findTime)
	defer cancel()
	l, err := p.node.Incidents(ctx, time.Time{})
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	p.show(w, r, v, "incidents", page{Title: "Incidents", Here: "incidents", Live: "incidents", Data: newIncidentsPage(&l)})
}

func newIncidentsPage(l *IncidentList) incidentsPage {
	d := incidentsPage{Trouble: l.Trouble}
	for _, i := range slices.Backward(l.Incidents) {
		d.Rows = append(d.Rows, newIncidentRow(i))
	}
	return d
}

// incidentViews begin the names of the views of all incidents and of one.
const incidentViews = "incidents"

// followedFor is how long after its begin an incident can still be followed.
const followedFor = 30 * 24 * time.Hour

// incidentView gives the renderer of a page's moving pieces. Only what the node has at hand is followed: an incident of long ago stands still.
func (p *pages) incidentView(name string) func(snapshot) picture {
	id, one := strings.CutPrefix(name, incidentViews+"/")
	return func(s snapshot) picture {
		if s.Incidents == nil {
			return picture{} // the next look has them
		}
		if !one {
			return p.pieces("incidents", newIncidentsPage(s.Incidents), "incidents")
		}
		i := slices.IndexFunc(s.Incidents.Incidents, func(i *journal.Incident) bool { return i.ID == id })
		if i < 0 {
			return picture{}
		}
		row := newIncidentRow(s.Incidents.Incidents[i])
		out := p.pieces("incident", row, "incident")
		out["say"] = row.say()
		return out
	}
}

// say is the incident in a sentence, for who listens to the page.
func (r incidentRow) say() string {
	text := "Incident " + r.ID + ": " + r.State.Word
	if n := len(r.Timeline); n > 0 {
		text += "; " + r.Timeline[n-1].Text
	}
	return text
}

func (p *pages) incident(w http.ResponseWriter, r *http.Request, v visitor) {
	ctx, cancel := context.WithTimeout(r.Context(), findTime)
	defer cancel()
	report, err := p.node.Incident(ctx, r.PathValue("id"))
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	follows := incidentViews + "/" + report.Incident.ID
	if time.Since(report.Incident.Began) > followedFor {
		follows = "clock" // the node does not have it at hand
	}
	p.show(w, r, v, "incident", page{Title: "Incident " + report.Incident.ID, Here: "incidents", Live: follows, Data: newIncidentRow(report.Incident), Done: done(r)})
}

func (p *pages) confirmIncident(w http.ResponseWriter, r *http.Request, v visitor) {
	id := r.PathValue("id")
	result, err := p.node.ConfirmIncident(r.Context(), Confirmation{Incident: id, By: v.name, Why: r.PostFormValue("why")})
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	toDone(w, r, "/incidents/"+url.PathEscape(id), "confirmed", result.NotKept)
}

// boardNotice is what people outside are told, as the board shows it.
type boardNotice struct {
	NoticeStatus
	Mark  stateMark
	State string
}

// maxTold is how many of them the board shows.
const maxTold = 8

// newBoardNotices are those that somebody must still look at, the newest first.
func newBoardNotices(l NoticeList, mask journal.Mask) []boardNotice {
	if mask != journal.Full {
		l.Notices = slices.Clone(l.Notices)
		l.mask()
	}
	var told []boardNotice
	for _, n := range slices.Backward(l.Notices) {
		if n.Over && !n.Waits || len(told) == maxTold {
			continue
		}
		m := stateMark{"dot", "Info", calm}
		switch n.Severity {
		case "critical":
			m = stateMark{"down", "Critical", alarm}
		case "warning":
			m = stateMark{"suspect", "Warning", warning}
		}
		told = append(told, boardNotice{n, m, n.state()})
	}
	return told
}

func (p *pages) acknowledge(w http.ResponseWriter, r *http.Request, v visitor) {
	id := r.PostFormValue("id")
	if id == "" { // to the API that is all of them, which no button of ours says
		p.failed(w, r, v, Mistake("which notice? Press the button that stands by it"))
		return
	}
	result, err := p.node.Acknowledge(r.Context(), id, v.name)
	if err != nil {
		p.failed(w, r, v, err)
		return
	}
	toDone(w, r, "/", "acknowledged", result.NotKept)
}
