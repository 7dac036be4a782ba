package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"nines/console"
	"nines/journal"
)

// Calls implements console.CallReader: what lives, what is still in memory, and what the book has.
func (n *Node) Calls(ctx context.Context, q console.CallQuery, mask journal.Mask) (console.CallList, error) {
	list := console.CallList{Calls: n.tally.records.calls.lines(func(s *console.CallSummary) bool { return wantsCall(&q, s) })}
	if !q.Live {
		past, err := n.pastCalls(ctx, &q)
		if err != nil {
			list.Book = err.Error()
		}
		list.Calls = merged(list.Calls, past)
	}
	if q.Limit > 0 && len(list.Calls) > q.Limit {
		list.Calls, list.More = list.Calls[:q.Limit], true
	}
	if list.Calls == nil {
		list.Calls = []console.CallSummary{}
	}
	for i := range list.Calls {
		maskCall(&list.Calls[i], mask)
	}
	return list, nil
}

func maskCall(s *console.CallSummary, mask journal.Mask) {
	s.Caller, s.Called = mask.Number(s.Caller), mask.Number(s.Called)
}

// wantsCall says whether a call is asked for.
func wantsCall(q *console.CallQuery, s *console.CallSummary) bool {
	switch {
	case q.Live && s.State == "over":
	case q.Number != "" && !journal.SameNumber(s.Caller, q.Number):
	case q.Endpoint != "" && s.Endpoint != q.Endpoint:
	case q.Outcome != "" && s.Outcome != q.Outcome:
	case !q.Since.IsZero() && s.Began.Before(q.Since):
	case !q.Until.IsZero() && !s.Began.Before(q.Until):
	default:
		return true
	}
	return false
}

// longCall is how long before its end a call may have begun to be found by the time of its beginning.
const longCall = 24 * time.Hour

// pastCalls reads the ends of calls from the book, the newest first.
func (n *Node) pastCalls(ctx context.Context, q *console.CallQuery) ([]console.CallSummary, error) {
	if err := n.hasBook(); err != nil {
		return nil, err
	}
	query := journal.Query{Types: []journal.Type{journal.CallEnd}, Newest: true, Number: q.Number, Since: q.Since, Mask: journal.Full}
	if !q.Until.IsZero() {
		query.Until = q.Until.Add(longCall)
	}
	var found []console.CallSummary
	for e, err := range n.book.Read(ctx, query) {
		if err != nil {
			return found, err
		}
		s := summaryOf(&e)
		if wantsCall(q, &s) {
			found = append(found, s)
		}
		if q.Limit > 0 && len(found) > q.Limit {
			break
		}
	}
	return found, nil
}

// hasBook says what is wrong with the book; one that was never written is no trouble.
func (n *Node) hasBook() error {
	_, err := os.Stat(n.config().Journal.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is no book yet")
	}
	return err
}

// summaryOf is a call's line made of the entry of its end.
func summaryOf(e *journal.Entry) console.CallSummary {
	var d endData
	if len(e.Data) > 0 {
		_ = json.Unmarshal(e.Data, &d) // it says less then
	}
	s := console.CallSummary{
		ID: e.Call, State: "over", Began: d.Began, Ended: e.At, Trunk: e.Trunk, Route: e.Route, Class: e.Class, Caller: e.Caller, Called: e.Called, CallID: e.CallID,
		Endpoint: e.Endpoint, Partner: e.Partner, Outcome: e.Outcome, Code: e.Code, Why: e.Why, SetupMillis: millis(d.Setup), TalkSeconds: e.Took.Seconds(),
		Attempts: d.Attempts, Rescues: d.Rescues, Malformed: d.Malformed,
	}
	if d.Setup > 0 {
		s.Answered = d.Began.Add(d.Setup)
	}
	if s.Began.IsZero() {
		s.Began = e.At.Add(-e.Took)
	}
	return s
}

// merged puts what is in memory before what the book says of the same calls, the newest first.
func merged(held, past []console.CallSummary) []console.CallSummary {
	known := make(map[string]bool, len(held))
	for i := range held {
		known[held[i].ID] = true
	}
	for i := range past {
		if !known[past[i].ID] {
			held = append(held, past[i])
		}
	}
	slices.SortStableFunc(held, func(a, b console.CallSummary) int { return cmp.Or(b.Began.Compare(a.Began), cmp.Compare(b.ID, a.ID)) })
	return held
}

// Call implements console.CallReader.
func (n *Node) Call(ctx context.Context, id string, mask journal.Mask) (console.CallDetail, error) {
	d, held := n.tally.records.calls.detail(id)
	name := id
	if held {
		name = d.Call.ID
	}
	booked, err := n.booked(ctx, name)
	if len(booked) > 0 && !held {
		d = console.CallDetail{Call: lineOf(booked)}
	}
	switch {
	case err != nil:
		d.Book = err.Error()
	case !held && len(booked) == 0:
		return d, fmt.Errorf("%w: no call is called %q; nines calls lists them", console.ErrNotFound, id)
	}
	if !held && len(d.Entries)+len(booked) == 0 {
		return d, fmt.Errorf("%w: no call in memory is called %q, and the book cannot be read: %w", console.ErrNotFound, id, err)
	}
	withBook(&d, booked, held)
	maskCall(&d.Call, mask)
	if mask != journal.Full {
		d.Messages = nil
	}
	for i := range d.Entries {
		e := &d.Entries[i]
		e.Caller, e.Called = mask.Number(e.Caller), mask.Number(e.Called)
		if mask != journal.Full && (e.Type == journal.CallStart || e.Type == journal.CallEnd) {
			e.Data = nil // who a caller without a number said to be
		}
	}
	return d, nil
}

// booked reads the entries of a call, by name or Call-ID.
func (n *Node) booked(ctx context.Context, id string) ([]journal.Entry, error) {
	if err := n.hasBook(); err != nil {
		return nil, err
	}
	read := func(id string) (found []journal.Entry, err error) {
		for e, err := range n.book.Read(ctx, journal.Query{Call: id, Mask: journal.Full, Limit: 10 * keptEntries}) {
			if err != nil {
				return found, err
			}
			found = append(found, e)
		}
		return found, nil
	}
	found, err := read(id)
	if len(found) > 0 && found[0].Call != id && found[0].Call != "" {
		return read(found[0].Call)
	}
	return found, err
}

// lineOf makes a call's line of its entries.
func lineOf(entries []journal.Entry) console.CallSummary {
	s := console.CallSummary{ID: entries[0].Call, State: "unknown", Began: entries[0].At}
	for i := range entries {
		switch e := &entries[i]; e.Type {
		case journal.CallEnd:
			return summaryOf(e)
		case journal.CallStart:
			s.Trunk, s.Route, s.Class, s.Caller, s.Called, s.CallID = e.Trunk, e.Route, e.Class, e.Caller, e.Called, e.CallID
			var d startData
			if json.Unmarshal(e.Data, &d) == nil {
				s.Malformed = d.Malformed
			}
		default:
		}
	}
	return s
}

// withBook adds what the book has: the entries, where memory has none or not all, and the messages.
func withBook(d *console.CallDetail, booked []journal.Entry, held bool) {
	whole := held && len(d.Entries) < keptEntries
	if !whole && len(booked) > 0 {
		d.Entries = nil
	}
	for i := range booked {
		e := &booked[i]
		switch {
		case e.Type == journal.CallSignalingMessage:
			d.Messages = append(d.Messages, messagesOf(e.Data)...)
		case !whole:
			d.Entries = append(d.Entries, *e)
		}
	}
	slices.SortStableFunc(d.Messages, func(a, b console.CallMessage) int { return a.At.Compare(b.At) })
}
