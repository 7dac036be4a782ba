package console

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"nines/journal"
)

// CallBackList is who must be rung back (R34).
type CallBackList struct {
	Open    int                `json:"open"` // lines that wait
	Lines   []journal.CallBack `json:"lines"`
	NotKept string             `json:"not_kept,omitempty"` // why the list is not written down
	Trouble string             `json:"trouble,omitempty"`  // why it may lack something
}

// CallBackDone says that somebody need not be rung back any more.
type CallBackDone struct {
	Who     string `json:"who"`     // a number, or the name of a line or of one of its calls
	Outcome string `json:"outcome"` // what came of it
	By      string `json:"by"`
}

// CallBackResult is a line that was cleared.
type CallBackResult struct {
	Line    journal.CallBack `json:"line"`
	Open    int              `json:"open"`               // lines that still wait
	NotKept string           `json:"not_kept,omitempty"` // why it might come back with a restart
}

// CallBackKeeper is what the console needs to know of the call-back list.
type CallBackKeeper interface {
	// CallBackList gives the lines that wait, oldest first; with all those that are cleared too.
	CallBackList(ctx context.Context, all bool, mask journal.Mask) (CallBackList, error)
	// CallBackDone clears a line. The error is a [Mistake], wraps [ErrNotFound], or is a fault of ours.
	CallBackDone(ctx context.Context, done CallBackDone) (CallBackResult, error)
}

var callBackRoutes = []route{
	{
		method: http.MethodGet, path: "/api/v1/callbacks", role: viewer, csv: true, gives: reflect.TypeFor[CallBackList](),
		about: "Who must be rung back: every emergency call that ended unanswered or was lost, by caller number.",
		query: []param{{"all", "yes: those that are cleared too"}, {"format", "csv: a table instead of JSON"}},
		serve: func(w http.ResponseWriter, a *ask) {
			l, err := a.node.CallBackList(a.Context(), a.URL.Query().Get("all") == "yes", a.mask())
			if err != nil || a.URL.Query().Get("format") != "csv" {
				answer(w, l, err)
				return
			}
			w.Header().Set("Content-Type", "text/csv; charset=utf-8")
			w.Header().Set("Content-Disposition", `attachment; filename="callbacks.csv"`)
			w.Header().Set("Cache-Control", "no-store")
			_ = l.WriteCSV(w) // the reader has gone: nobody to tell
		},
	},
	act(http.MethodPost, "/api/v1/callbacks/done", operator, "Clear a line of the call-back list.", func(a *ask, done CallBackDone) (CallBackResult, error) {
		done.By = a.by(done.By)
		return a.node.CallBackDone(a.Context(), done)
	}),
}

// CallBackList asks who must be rung back.
func (c *Client) CallBackList(ctx context.Context, all bool) (CallBackList, error) {
	path := "/api/v1/callbacks"
	if all {
		path += "?all=yes"
	}
	var l CallBackList
	return l, c.do(ctx, http.MethodGet, path, &l)
}

// CallBackDone clears a line.
func (c *Client) CallBackDone(ctx context.Context, done CallBackDone) (CallBackResult, error) {
	var r CallBackResult
	return r, c.send(ctx, http.MethodPost, "/api/v1/callbacks/done", done, &r)
}

// WriteCSV writes a line a person, for a spreadsheet.
func (l *CallBackList) WriteCSV(w io.Writer) error {
	t := csv.NewWriter(w)
	_ = t.Write([]string{"id", "number", "withheld", "first", "last", "calls", "trunk", "called", "endpoint", "reason", "says", "call_id", "cleared", "cleared_by", "outcome"}) // Flush says it
	for i := range l.Lines {
		b := &l.Lines[i]
		first, last := &b.Missed[0], &b.Missed[len(b.Missed)-1]
		row := []string{
			b.ID, b.Number, yes(b.Number == ""), stamp(first.Ended), stamp(last.Ended), strconv.Itoa(len(b.Missed) + b.More), last.Trunk, last.Called, last.Endpoint, last.Reason,
			says(b), last.CallID, "", "", "",
		}
		if d := b.Cleared; d != nil {
			row[12], row[13], row[14] = stamp(d.At), d.By, clearedHow(d)
		}
		for i := range row {
			row[i] = harmless(row[i])
		}
		_ = t.Write(row)
	}
	t.Flush()
	return t.Error()
}

// harmless keeps a spreadsheet from taking what a stranger wrote for a formula. A telephone number is none.
func harmless(cell string) string {
	if cell == "" || !strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return cell
	}
	if cell[0] == '+' && strings.Trim(cell[1:], "0123456789") == "" {
		return cell
	}
	return "'" + cell
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// says is what is known of a caller without a number.
func says(b *journal.CallBack) string {
	if b.Asserted != "" {
		return b.Asserted
	}
	return b.From
}

func clearedHow(d *journal.CallBackDone) string {
	if d.By == "" {
		return "got through with call " + d.Call
	}
	return d.Outcome
}

// WriteText writes the list for a person who will ring back.
func (l *CallBackList) WriteText(w io.Writer, now time.Time) error {
	p := &printer{w: w}
	if len(l.Lines) == 0 {
		p.line("nobody must be rung back")
	} else {
		p.table(func(t io.Writer) {
			fmt.Fprintln(t, "NUMBER\tLAST\tCALLS\tTRUNK\tWHY\tID")
			for i := range l.Lines {
				b := &l.Lines[i]
				m := &b.Missed[len(b.Missed)-1]
				fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", who(b), ago(now, m.Ended), len(b.Missed)+b.More, m.Trunk, fate(b, m), b.ID)
			}
		})
		p.line("%d to ring back", l.Open)
	}
	if l.Trouble != "" {
		p.line("! %s", l.Trouble)
	}
	if l.NotKept != "" {
		p.line("! not written down: %s", l.NotKept)
	}
	return p.err
}

func who(b *journal.CallBack) string {
	if b.Number != "" {
		return b.Number
	}
	if s := says(b); s != "" {
		return "withheld: " + s
	}
	return "withheld"
}

func fate(b *journal.CallBack, m *journal.MissedCall) string {
	if d := b.Cleared; d != nil {
		if d.By == "" {
			return "done: " + clearedHow(d)
		}
		return "done by " + d.By + ": " + d.Outcome
	}
	return m.Reason
}

// WriteText writes what became of a line.
func (r *CallBackResult) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("%s is off the list: %s", who(&r.Line), r.Line.Cleared.Outcome)
	p.line("  %d more to ring back", r.Open)
	if r.NotKept != "" {
		p.line("  ! THIS MIGHT COME BACK WITH A RESTART: %s", r.NotKept)
	}
	return p.err
}
