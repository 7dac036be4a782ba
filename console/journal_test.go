package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"nines/journal"
)

// The book of the fake program: three entries and one incident.

func bookEntries() []journal.Entry {
	return []journal.Entry{
		{Seq: 1, At: fourteen, Type: journal.CallStart, Call: "mi0-0-1", Caller: "+441905000001", Called: "999", Route: "999"},
		{Seq: 2, At: fourteen, Type: journal.CallStateChange, Call: "mi0-0-1", What: "answered", Endpoint: "warwickshire", Partner: true, Took: 2 * time.Second, Why: "\x1b[31mred"},
		{Seq: 3, At: fourteen.Add(time.Minute), Type: journal.OperatorAct, What: "hold", By: "alice"},
	}
}

func (n node) Journal(_ context.Context, q journal.Query, each func(journal.Entry) error) error {
	for _, e := range bookEntries() {
		if e.Seq <= q.After || q.Call != "" && e.Call != q.Call {
			continue
		}
		e.Caller = q.Mask.Number(e.Caller)
		if err := each(e); err != nil {
			return err
		}
	}
	if q.Call == "torn" {
		return errors.New("the disk is gone")
	}
	return nil
}

func (n node) JournalHealth() journal.Health {
	return journal.Health{Path: "nines.db", Open: true, Seq: 3}
}

func (n node) VerifyJournal(_ context.Context, known []journal.Signature) (journal.Verdict, error) {
	if len(known) > 0 {
		return journal.Verdict{First: 1, Last: 2, Broken: &journal.Broken{Seq: 3, At: fourteen, Why: "it is not what was written"}}, nil
	}
	return journal.Verdict{OK: true, First: 1, Last: 3, From: fourteen, To: fourteen.Add(time.Minute), Head: strings.Repeat("ab", 32)}, nil
}

func (n node) EraseNumber(_ context.Context, req EraseRequest) (journal.Erasure, error) {
	if req.By == "" {
		return journal.Erasure{}, Mistake("by? Say it")
	}
	return journal.Erasure{Entries: 1, Calls: []string{"mi0-0-1"}}, nil
}

func outage() *journal.Incident {
	return &journal.Incident{
		ID: "20261123-140000-control-room", Endpoints: []string{"control-room"}, Routes: []string{"999"}, Began: fourteen, Detected: fourteen, Verdict: "<b>silent</b>",
		Answered: []*journal.Use{}, Timeline: []journal.Line{}, Now: &journal.Severity{Level: "major", Says: "no own room is up: partners answer", Room: []journal.Room{}, Next: []string{"ring warwickshire"}},
	}
}

func (n node) Incidents(context.Context, time.Time) (IncidentList, error) {
	return IncidentList{Incidents: []*journal.Incident{outage()}}, nil
}

func (n node) Incident(_ context.Context, id string) (journal.Report, error) {
	if id != outage().ID {
		return journal.Report{}, fmt.Errorf("%w: no incident %q", ErrNotFound, id)
	}
	return journal.Report{Node: "west-mercia", Made: fourteen, Incident: outage()}, nil
}

func (n node) ConfirmIncident(_ context.Context, c Confirmation) (ConfirmResult, error) {
	i := outage()
	i.Confirmed, i.ConfirmedBy = fourteen, c.By
	return ConfirmResult{Incident: i}, nil
}

func (n node) Ledger(_ context.Context, since, until time.Time) (LedgerList, error) {
	return LedgerList{Since: since, Until: until, Uses: []journal.Use{{Name: "=warwickshire", Partner: true, Calls: 3, Talk: 90 * time.Second, Peak: 2}}}, nil
}

func TestTheBookIsReadOverTheControlSocket(t *testing.T) {
	run := runDir(t)
	start(t, Config{Run: run}, example())
	c := NewClient(run)
	var got []string
	if err := c.Journal(t.Context(), JournalQuery{After: 1}, func(e JournalEntry) error { got = append(got, string(e.Type)); return nil }); err != nil || len(got) != 2 {
		t.Errorf("after entry 1 there came %v, %v; want two", got, err)
	}
	if err := c.Journal(t.Context(), JournalQuery{Call: "torn"}, func(JournalEntry) error { return nil }); err == nil || err.Error() != "the disk is gone" {
		t.Errorf("a book that can't be read to its end gave %v", err)
	}
	v, err := c.VerifyJournal(t.Context(), []string{"3:" + strings.Repeat("00", 32)})
	if err != nil || v.OK || v.Broken.Seq != 3 {
		t.Errorf("the verdict came as %+v, %v", v, err)
	}
	var text bytes.Buffer
	if err := WriteVerdict(&text, "nines.db", &v); err != nil || !strings.HasPrefix(text.String(), "nines.db IS BROKEN at entry 3 of ") {
		t.Errorf("a broken book is said as %q", text.String())
	}
	if _, err := c.Incident(t.Context(), "nobody", "html"); err == nil || !strings.Contains(err.Error(), `no incident "nobody"`) {
		t.Errorf("the report of an incident that never was gave %v", err)
	}
}

func TestWhatStrangersWroteStaysText(t *testing.T) {
	var text bytes.Buffer
	for _, e := range bookEntries() {
		if err := WriteEntry(&text, &e); err != nil {
			t.Fatal(err)
		}
	}
	if strings.ContainsRune(text.String(), 0x1b) || strings.Count(text.String(), "\n") != 3 {
		t.Errorf("an entry can move the terminal's cursor: %q", text.String())
	}
	var page, table bytes.Buffer
	r := journal.Report{Incident: outage()}
	if err := r.WriteHTML(&page); err != nil || strings.Contains(page.String(), "<b>silent") || !strings.Contains(page.String(), "&lt;b&gt;silent") {
		t.Errorf("the report takes a stranger's text for HTML, or fails: %v", err)
	}
	l, _ := node{}.Ledger(t.Context(), fourteen, fourteen)
	if err := l.WriteCSV(&table); err != nil || !strings.Contains(table.String(), "\n'=warwickshire,") {
		t.Errorf("a spreadsheet would take a name for a formula: %q, %v", table.String(), err)
	}
}
