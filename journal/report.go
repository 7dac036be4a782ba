package journal

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/csv"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	texttemplate "text/template"
	"time"
)

// Incidents folds what the book has of a time, up to the entry with the number last (0: all). It reads all entries only around outages, and elsewhere only those that
// are few.
func (r *Reader) Incidents(ctx context.Context, setup Setup, since, until time.Time, last int64) (*Incidents, error) {
	f := NewIncidents(setup)
	before := int64(0)
	if last > 0 {
		before = last + 1
	}
	windows, err := r.outages(ctx, setup, since, until)
	if err != nil {
		return f, err
	}
	take := func(types []Type, from, to time.Time) error {
		for e, err := range r.Entries(ctx, Query{Types: types, Since: from, Until: to, Before: before, Mask: Full}) {
			if err != nil {
				return err
			}
			f.Take(&e)
		}
		return nil
	}
	at := since
	for _, w := range windows {
		if err := take(fewTypes, at, w.from); err != nil {
			return f, err
		}
		if err := take(IncidentTypes, w.from, w.to); err != nil {
			return f, err
		}
		at = w.to
	}
	return f, take(fewTypes, at, until)
}

// fewTypes are the types of which there are few on a day without an outage.
var fewTypes = []Type{ServiceStateChange, OperatorAct, Notice}

const (
	outageLead = 15 * time.Minute // what is read before a room went down
	outageTail = 3 * time.Hour    // and after it was back: calls that talk end, and it proves itself
)

type window struct{ from, to time.Time }

// outages says when own rooms were down.
func (r *Reader) outages(ctx context.Context, setup Setup, since, until time.Time) ([]window, error) {
	var all []window
	down := map[string]bool{}
	end := cmp.Or(until, time.Unix(0, math.MaxInt64))
	for e, err := range r.Entries(ctx, Query{Types: []Type{ServiceStateChange}, Since: since, Until: until}) {
		if err != nil {
			return nil, err
		}
		_, now, _ := strings.Cut(e.What, "→")
		if now != "down" && now != "up" || slices.ContainsFunc(setup.Places, func(p Place) bool { return p.Name == e.Endpoint && p.Partner }) {
			continue
		}
		was := len(down) > 0
		if now == "down" {
			down[e.Endpoint] = true
		} else {
			delete(down, e.Endpoint)
		}
		switch {
		case !was && len(down) > 0 && (len(all) == 0 || all[len(all)-1].to.Before(e.At.Add(-outageLead))):
			all = append(all, window{e.At.Add(-outageLead), end})
		case len(down) > 0:
			all[len(all)-1].to = end
		case was:
			all[len(all)-1].to = e.At.Add(outageTail)
		}
	}
	for i := range all {
		if !until.IsZero() && all[i].to.After(until) {
			all[i].to = until
		}
		if all[i].from.Before(since) {
			all[i].from = since
		}
	}
	return all, nil
}

// Ledger reads what partners did for us in a time.
func (r *Reader) Ledger(ctx context.Context, setup Setup, since, until time.Time) ([]Use, error) {
	f := NewIncidents(setup)
	for e, err := range r.Entries(ctx, Query{Types: []Type{CallStart, CallStateChange, CallEnd}, Since: since, Until: until, Mask: Full}) {
		if err != nil {
			return nil, err
		}
		f.Take(&e)
	}
	return f.Ledger(), nil
}

// WriteLedger writes what partners did as a table.
func WriteLedger(w io.Writer, since, until time.Time, uses []Use) error {
	c := csv.NewWriter(w)
	_ = c.Write([]string{"partner", "since", "until", "calls", "minutes", "peak_at_once", "longest_wait_s", "first_call", "last_call"}) // Flush says it
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.RFC3339)
	}
	for _, u := range uses {
		_ = c.Write([]string{
			plainCell(u.Name), stamp(since), stamp(until), strconv.Itoa(u.Calls), fmt.Sprintf("%.1f", u.Talk.Minutes()), strconv.Itoa(u.Peak),
			fmt.Sprintf("%.1f", u.Wait.Seconds()), stamp(u.First), stamp(u.Last),
		}) // Flush says it
	}
	c.Flush()
	return c.Error()
}

// plainCell keeps a spreadsheet from taking a name for a formula.
func plainCell(s string) string {
	if s != "" && strings.ContainsAny(s[:1], "=+-@\t\r") {
		return "'" + s
	}
	return s
}

// Report is an incident as it is handed to somebody: a chief, a partner, a regulator.
type Report struct {
	Node     string         `json:"node"`    // who we are
	Made     time.Time      `json:"made"`    // when the report was
	Version  string         `json:"version"` // of nines
	Head     *Signature     `json:"head,omitempty"`
	Incident *Incident      `json:"incident"`
	Zone     *time.Location `json:"-"` // of the times in words; nil: UTC
}

//go:embed report.html.tmpl
var htmlText string

//go:embed report.md.tmpl
var markdownText string

var reportFuncs = map[string]any{
	"secs":    func(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) },
	"minutes": func(d time.Duration) string { return fmt.Sprintf("%.1f", d.Minutes()) },
	"join":    func(s []string) string { return strings.Join(s, ", ") },
	"cell": func(s string) string {
		return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ", "<", "&lt;", "`", "'", "[", "\\[").Replace(s)
	},
}

var (
	htmlReport     = template.Must(template.New("report").Funcs(reportFuncs).Parse(htmlText))
	markdownReport = texttemplate.Must(texttemplate.New("report").Funcs(reportFuncs).Parse(markdownText))
)

// WriteHTML writes the report as one page that needs nothing else and can be printed.
func (r *Report) WriteHTML(w io.Writer) error { return htmlReport.Execute(w, r) }

// WriteMarkdown writes the report as Markdown.
func (r *Report) WriteMarkdown(w io.Writer) error { return markdownReport.Execute(w, r) }

// T writes a time with its offset, and "not yet" for none.
func (r *Report) T(t time.Time) string {
	if t.IsZero() {
		return "not yet"
	}
	return t.In(r.zone()).Format("2006-01-02 15:04:05 -07:00")
}

func (r *Report) zone() *time.Location { return cmp.Or(r.Zone, time.UTC) }

// Lasted is how long the incident was, or is.
func (r *Report) Lasted() string {
	i := r.Incident
	end := cmp.Or(i.Restored, r.Made)
	words := roughly(end.Sub(i.Began))
	if i.Restored.IsZero() {
		return words + ", and it goes on"
	}
	return words
}

func roughly(d time.Duration) string {
	d = d.Round(time.Second)
	if d < time.Hour {
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// After says how long after the first evidence something was.
func (r *Report) After(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return "+" + roughly(t.Sub(r.Incident.Began))
}

// Partners are those of the places that answered which are not ours.
func (r *Report) Partners() []*Use {
	return slices.DeleteFunc(slices.Clone(r.Incident.Answered), func(u *Use) bool { return !u.Partner })
}

// Title is the report's heading.
func (r *Report) Title() string {
	return fmt.Sprintf("%s: %s out of service, %s", cmp.Or(r.Node, "nines"), strings.Join(r.Incident.Endpoints, " and "), r.Incident.Began.In(r.zone()).Format("2 January 2006"))
}

// Field is one line of what a regulator asks for.
type Field struct{ Name, Value string }

// open is what the book cannot know.
const openField = "to be filled in"

// Regulator gives what 47 CFR 4.9 and 4.11 and Ofcom's reports under section 105K of the Communications Act ask for, as far as the book knows it.
func (r *Report) Regulator() []Field {
	i := r.Incident
	c := i.Calls
	state := "restored"
	if i.Restored.IsZero() {
		state = "going on"
	}
	return []Field{
		{"Reporting entity", cmp.Or(r.Node, openField)},
		{"Reference", i.ID},
		{"State", state},
		{"Date and time of onset", r.T(i.Began)},
		{"Date and time of discovery", r.T(i.Detected)},
		{"Notice to those concerned due by (47 CFR 4.9: 30 minutes after discovery)", r.T(i.Detected.Add(30 * time.Minute))},
		{"Follow-up due by (2 hours after the first notice)", r.T(i.Detected.Add(150 * time.Minute))},
		{"Date and time of restoration", r.T(i.Restored)},
		{"Duration", r.Lasted()},
		{"Services affected", "calls on " + cmp.Or(strings.Join(i.Routes, ", "), "no route")},
		{"Network elements affected", strings.Join(i.Endpoints, ", ")},
		{"Calls affected", strconv.Itoa(c.Touched)},
		{"of which emergency calls", strconv.Itoa(c.Emergency)},
		{"Calls answered by another place", strconv.Itoa(c.Elsewhere)},
		{"Emergency calls not completed: refused", strconv.Itoa(c.Refused)},
		{"Emergency calls not completed: the caller gave up", strconv.Itoa(c.GaveUp)},
		{"Other calls not answered by a room", strconv.Itoa(c.TurnedAway)},
		{"Calls interrupted and not resumed", strconv.Itoa(c.LostTalking)},
		{"Caller location and number", "passed on unchanged to who answered"},
		{"First evidence", i.Evidence},
		{"Root cause", openField},
		{"Geographic area and population affected", openField},
		{"Steps taken to restore and to prevent it happening again", openField},
		{"Contact", openField},
	}
}
