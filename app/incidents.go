package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"nines/console"
	"nines/journal"
	"nines/notify"
)

const (
	incidentsFor = 31 * 24 * time.Hour // how far back incidents are listed when nobody says
	maxFeed      = 256                 // batches that wait for the fold
	refoldAfter  = time.Minute
	bookOpens    = 5 * time.Second // how long the book may take to open before it is read as it lies there
)

// incidents follows the book and folds it, so that the console knows at once how bad it is. The fold is made again when it missed something.
type incidents struct {
	mu      sync.Mutex
	fold    *journal.Incidents
	trouble string
}

// run folds the book of the last month, then what comes, until ctx ends.
func (n *Node) followIncidents(ctx context.Context) {
	for ctx.Err() == nil {
		feed := n.book.Subscribe(maxFeed)
		n.foldBook(ctx, feed)
		feed.Close()
		select {
		case <-ctx.Done():
		case <-time.After(refoldAfter):
		}
	}
}

// foldBook folds what the book has and then what the feed brings, until the feed missed something or ends.
func (n *Node) foldBook(ctx context.Context, feed *journal.Feed) {
	in := &n.incidents
	for wait := time.Now(); !n.book.Health().Open && time.Since(wait) < bookOpens && ctx.Err() == nil; {
		time.Sleep(20 * time.Millisecond) // a file that is just being begun is no book yet
	}
	fold, last, trouble := n.foldPast(ctx)
	in.mu.Lock()
	in.fold, in.trouble = fold, trouble
	in.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return
		case batch, ok := <-feed.C:
			if !ok || feed.Missed() > 0 {
				return
			}
			in.mu.Lock()
			for i := range batch {
				if batch[i].Seq == 0 || batch[i].Seq > last {
					fold.Take(&batch[i])
				}
			}
			in.mu.Unlock()
		}
	}
}

// foldPast folds what the book has, up to the entry whose number it gives.
func (n *Node) foldPast(ctx context.Context) (fold *journal.Incidents, last int64, trouble string) {
	fold = journal.NewIncidents(n.setup())
	if _, err := os.Stat(n.book.Path()); errors.Is(err, fs.ErrNotExist) {
		return fold, 0, "" // the first start
	}
	r, err := journal.OpenReader(n.book.Path())
	if err != nil {
		return fold, 0, err.Error()
	}
	defer r.Close()
	last, err = r.Last(ctx)
	if err == nil && last > 0 {
		fold, err = r.Incidents(ctx, n.setup(), time.Now().Add(-incidentsFor), time.Time{}, last)
	}
	if err != nil {
		return fold, last, err.Error()
	}
	return fold, last, ""
}

// setup is what the book does not say of the endpoints.
func (n *Node) setup() journal.Setup {
	f := n.config()
	s := journal.Setup{First: map[string]string{}}
	for _, e := range f.Endpoints {
		s.Places = append(s.Places, journal.Place{Name: e.Name, Partner: e.Partner, Limit: e.Calls})
	}
	for _, r := range f.Routes {
		if len(r.Ask) == 0 || len(r.Ask[0]) != 1 {
			continue // who shares by free slots has no first
		}
		if e, ok := f.Endpoint(r.Ask[0][0]); ok && !e.Partner {
			s.First[r.Name] = e.Name
		}
	}
	return s
}

// Incidents implements console.JournalKeeper.
func (n *Node) Incidents(ctx context.Context, since time.Time) (console.IncidentList, error) {
	l := console.IncidentList{Incidents: []*journal.Incident{}}
	if !since.IsZero() && time.Since(since) > incidentsFor {
		return n.oldIncidents(ctx, since)
	}
	in := &n.incidents
	in.mu.Lock()
	defer in.mu.Unlock()
	l.Trouble = in.trouble
	if in.fold == nil {
		l.Trouble = "the book is still being read"
		return l, nil
	}
	for _, i := range in.fold.List() {
		if since.IsZero() || !i.Began.Before(since) {
			l.Incidents = append(l.Incidents, i.Clone())
		}
	}
	return l, nil
}

// oldIncidents reads those of long ago.
func (n *Node) oldIncidents(ctx context.Context, since time.Time) (console.IncidentList, error) {
	l := console.IncidentList{Incidents: []*journal.Incident{}}
	r, err := n.reader()
	if err != nil {
		return l, err
	}
	defer r.Close()
	fold, err := r.Incidents(ctx, n.setup(), since, time.Time{}, 0)
	if err != nil {
		l.Trouble = err.Error()
	}
	l.Incidents = append(l.Incidents, fold.List()...)
	return l, nil
}

// Incident implements console.JournalKeeper.
func (n *Node) Incident(ctx context.Context, id string) (journal.Report, error) {
	i, err := n.findIncident(ctx, id)
	if err != nil {
		return journal.Report{}, err
	}
	r := journal.Report{Node: n.config().Name, Made: time.Now(), Version: n.opt.Version, Incident: i, Zone: time.Local}
	h := n.book.Health()
	r.Head = &journal.Signature{Seq: h.Seq, Hash: h.Head}
	return r, nil
}

func (n *Node) findIncident(ctx context.Context, id string) (*journal.Incident, error) {
	l, err := n.Incidents(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	for _, i := range l.Incidents {
		if i.ID == id {
			return i, nil
		}
	}
	// The name says when it began.
	stamp, _, _ := strings.Cut(id, "-")
	if day, err := time.Parse("20060102", stamp); err == nil && time.Since(day) > incidentsFor-24*time.Hour {
		old, err := n.oldIncidents(ctx, day.Add(-24*time.Hour))
		if err != nil {
			return nil, err
		}
		for _, i := range old.Incidents {
			if i.ID == id {
				return i, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: there is no incident %q: nines incidents lists them", console.ErrNotFound, id)
}

// ConfirmIncident implements console.JournalKeeper.
func (n *Node) ConfirmIncident(ctx context.Context, c console.Confirmation) (console.ConfirmResult, error) {
	if err := errors.Join(CheckOwner(c.By), plain("why", "999 and 101 tried by hand", c.Why, maxWhy)); err != nil {
		return console.ConfirmResult{}, console.Mistake(err.Error())
	}
	ctx, cancel := acting(ctx)
	defer cancel()
	i, err := n.findIncident(ctx, c.Incident)
	switch {
	case err != nil:
		return console.ConfirmResult{}, err
	case i.Restored.IsZero():
		return console.ConfirmResult{}, console.Mistake(i.ID + " goes on: it is confirmed when its rooms have proven themselves, or were released")
	case !i.Confirmed.IsZero():
		return console.ConfirmResult{}, console.Mistake(fmt.Sprintf("%s was confirmed by %s already", i.ID, i.ConfirmedBy))
	}
	e := journal.ConfirmIncident(i.ID, c.By, c.Why)
	e.At = time.Now()
	i.Confirmed, i.ConfirmedBy = e.At, c.By
	result := console.ConfirmResult{Incident: i}
	if err := n.acted(ctx, e); err != nil {
		result.NotKept = err.Error()
	}
	kept(n.log.Info(), result.NotKept).Str("incident", i.ID).Str("by", c.By).Msg("an operator confirms that an incident is over")
	return result, nil
}

// Ledger implements console.JournalKeeper.
func (n *Node) Ledger(ctx context.Context, since, until time.Time) (console.LedgerList, error) {
	if since.IsZero() {
		since = time.Now().Add(-incidentsFor)
	}
	if until.IsZero() {
		until = time.Now()
	}
	l := console.LedgerList{Since: since, Until: until, Uses: []journal.Use{}}
	r, err := n.reader()
	if err != nil {
		return l, err
	}
	defer r.Close()
	uses, err := r.Ledger(ctx, n.setup(), since, until)
	l.Uses = append(l.Uses, uses...)
	return l, err
}

// reader opens the book to read it.
func (n *Node) reader() (*journal.Reader, error) {
	if err := n.hasBook(); err != nil {
		return nil, err
	}
	return journal.OpenReader(n.book.Path())
}

// Journal implements console.JournalKeeper.
func (n *Node) Journal(ctx context.Context, q journal.Query, each func(journal.Entry) error) error {
	if err := n.hasBook(); err != nil {
		return err
	}
	for e, err := range n.book.Read(ctx, q) {
		if err != nil {
			return err
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// JournalHealth implements console.JournalKeeper.
func (n *Node) JournalHealth() journal.Health { return n.book.Health() }

// VerifyJournal implements console.JournalKeeper.
func (n *Node) VerifyJournal(ctx context.Context, known []journal.Signature) (journal.Verdict, error) {
	r, err := n.reader()
	if err != nil {
		return journal.Verdict{}, err
	}
	defer r.Close()
	return r.Verify(ctx, known...)
}

// EraseNumber implements console.JournalKeeper.
func (n *Node) EraseNumber(ctx context.Context, req console.EraseRequest) (journal.Erasure, error) {
	if err := errors.Join(CheckOwner(req.By), plain("why", "request 17 of the data protection officer", req.Why, maxWhy)); err != nil {
		return journal.Erasure{}, console.Mistake(err.Error())
	}
	if !journal.Erasable(req.Number) {
		return journal.Erasure{}, console.Mistake(fmt.Sprintf("%q is no person's number", req.Number))
	}
	if call := n.tally.records.calls.erase(req.Number); call != "" {
		return journal.Erasure{}, console.Mistake("call " + call + " with this number is in progress: erase it when that is over")
	}
	done, err := n.book.Erase(ctx, req.Number, req.By, req.Why)
	if err == nil {
		n.outside.Forget(func(t *notify.Thread) bool { return noticedNumber(t, req.Number) })
		err = n.desk.erase(ctx, req.Number)
	}
	if err == nil {
		n.log.Info().Str("by", req.By).Str("reason", req.Why).Int("entries", done.Entries).Msg("a person's number was erased from the book and the call-back list")
	}
	return done, err
}

// VerifyBook reads a book's file, with no node running or beside one, and says whether it holds together. It reports whether it does.
func VerifyBook(ctx context.Context, path string, known []journal.Signature) (journal.Verdict, error) {
	r, err := journal.OpenReader(path)
	if err != nil {
		return journal.Verdict{}, err
	}
	defer r.Close()
	return r.Verify(ctx, known...)
}

// ExportBook writes a book's file as lines of JSON.
func ExportBook(ctx context.Context, path string, q journal.Query, w io.Writer) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	r, err := journal.OpenReader(path)
	if err != nil {
		return err
	}
	defer r.Close()
	q.Mask = journal.Full // who may read the file may read all of it
	lines := json.NewEncoder(w)
	for e, err := range r.Entries(ctx, q) {
		if err != nil {
			return err
		}
		if err := lines.Encode(e); err != nil {
			return err
		}
	}
	return nil
}
