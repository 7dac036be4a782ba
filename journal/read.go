package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"
)

// Mask says how much of a number a reader may see.
type Mask int

// The masks. The zero value shows nothing, so that who forgets to say shows nothing.
const (
	NoNumbers Mask = iota // "(number)" where there is one
	LastThree             // "…101"
	Full                  // all of it, and the text of messages
)

// Query says which entries are wanted. What is zero does not matter.
type Query struct {
	Call     string    // our name of a call, or a Call-ID
	Number   string    // of the caller or the called, in any spelling
	Endpoint string    // that is spoken of
	Types    []Type    // any of them
	Since    time.Time // made then or later
	Until    time.Time // made before
	After    int64     // entries with greater numbers
	Before   int64     // entries with smaller numbers
	Newest   bool      // the newest first
	Limit    int       // as many
	Mask     Mask
}

// Reader reads a book's file. It may be used beside the node that writes it, also from another process, and from several goroutines.
type Reader struct {
	path string
	db   *sql.DB
}

// readSlice is how many blocks are fetched at once: no reader keeps SQLite's log from being emptied for long.
const readSlice = 32

// OpenReader opens a book to read it. The file is not changed.
func OpenReader(path string) (*Reader, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("read the book: %w", err)
	}
	r, err := openReader(path, "mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)")
	if err == nil {
		return r, nil
	}
	// A book in a folder that can't be written to, on a read-only medium say, is read as it lies there.
	if _, missing := os.Stat(path + "-wal"); errors.Is(missing, fs.ErrNotExist) && !damaged(err) {
		return openReader(path, "mode=ro&immutable=1&_pragma=query_only(1)")
	}
	return nil, err
}

func openReader(path, params string) (*Reader, error) {
	db, err := sql.Open("sqlite", address(path, params))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	db.SetMaxOpenConns(2)
	r := &Reader{path: path, db: db}
	var id, have int
	err = db.QueryRow("PRAGMA application_id").Scan(&id)
	if err == nil {
		err = db.QueryRow("PRAGMA user_version").Scan(&have)
	}
	if err == nil && (id != applicationID || have > schemaVersion) {
		err = notOurs(db, id)
	}
	if err == nil {
		err = db.QueryRow("SELECT count(*) FROM meta").Scan(&have)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), db.Close())
	}
	return r, nil
}

// notOurs says why a file with this application id cannot be read. One without any table may be ours all the same: its node has just made it.
func notOurs(db *sql.DB, id int) error {
	var tables int
	if err := db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	if id == 0 && tables == 0 {
		return errBegun
	}
	return errNoBook
}

// Last is the number of the last entry, 0 when there is none.
func (r *Reader) Last(ctx context.Context) (int64, error) {
	var n sql.NullInt64
	if err := r.db.QueryRowContext(ctx, "SELECT max(last) FROM block WHERE first = (SELECT max(first) FROM block)").Scan(&n); err != nil {
		return 0, fmt.Errorf("read %s: %w", r.path, err)
	}
	return n.Int64, nil
}

// Path is where the book is.
func (b *Book) Path() string { return b.cfg.Path }

// Close closes the file.
func (r *Reader) Close() error { return r.db.Close() }

// Read gives the entries that a query asks for, as they are on the disk now.
func (b *Book) Read(ctx context.Context, q Query) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r, err := OpenReader(b.cfg.Path)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer r.Close()
		for e, err := range r.Entries(ctx, q) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// Entries gives the entries that a query asks for, in the order of their numbers. After an error there is nothing more.
func (r *Reader) Entries(ctx context.Context, q Query) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		given := 0
		for b, err := range r.blocks(ctx, q) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			entries, err := b.find(q)
			for i := range entries {
				if !yield(entries[i], nil) {
					return
				}
				if given++; given == q.Limit {
					return
				}
			}
			if err != nil {
				yield(Entry{}, fmt.Errorf("read %s: %w", r.path, err))
				return
			}
		}
	}
}

// find gives the entries of a block that a query asks for, in its order.
func (b *block) find(q Query) ([]Entry, error) {
	var found []Entry
	var rec record
	var err error
	seq := b.first
	for body := b.body; len(body) > 0 && err == nil; seq++ {
		if body, err = rec.next(body); err != nil {
			err = fmt.Errorf("entry %d: %w", seq, err)
			break
		}
		if seq <= q.After || q.Before > 0 && seq >= q.Before || !q.inTime(rec.public) {
			continue
		}
		e, bad := rec.fields(seq)
		if bad == nil && !q.wants(&e) {
			continue
		}
		if bad == nil && !(q.Mask != Full && e.hasMessages()) {
			bad = rec.readData(&e)
		}
		if bad != nil {
			err = fmt.Errorf("entry %d: %w", seq, bad)
			break
		}
		e.mask(q.Mask)
		found = append(found, e)
	}
	if q.Newest {
		slices.Reverse(found)
	}
	return found, err
}

func (q *Query) inTime(public []byte) bool {
	if q.Since.IsZero() && q.Until.IsZero() {
		return true
	}
	at, _, err := publicAt(public)
	return err == nil && (q.Since.IsZero() || at >= q.Since.UnixNano()) && (q.Until.IsZero() || at < q.Until.UnixNano())
}

func (q *Query) wants(e *Entry) bool {
	switch {
	case q.Call != "" && e.Call != q.Call && e.CallID != q.Call:
	case q.Number != "" && (e.Caller == "" || !sameNumber(e.Caller, q.Number)) && (e.Called == "" || !sameNumber(e.Called, q.Number)):
	case q.Endpoint != "" && e.Endpoint != q.Endpoint:
	case len(q.Types) > 0 && !slices.Contains(q.Types, e.Type):
	default:
		return true
	}
	return false
}

// mask hides what a reader may not see.
func (e *Entry) mask(m Mask) {
	if m == Full {
		return
	}
	e.Caller, e.Called = m.Number(e.Caller), m.Number(e.Called)
	if e.hasMessages() {
		e.Data = nil
	}
}

// hasMessages says whether an entry's Data is the text of messages.
func (e *Entry) hasMessages() bool {
	return e.Type == CallSignalingMessage || e.Type == MalformedMessage
}

// Number gives a number as a reader may see it. Short ones, 999 or 101, are nobody's and stay.
func (m Mask) Number(number string) string {
	switch {
	case m == Full || number == "" || len(digitsOf(number)) > 0 && len(digitsOf(number)) < 6:
		return number
	case m == LastThree && len(number) > 3:
		return "…" + number[len(number)-3:]
	}
	return "(number)"
}

// blocks gives the blocks in which there may be what a query asks for.
func (r *Reader) blocks(ctx context.Context, q Query) iter.Seq2[block, error] {
	return func(yield func(block, error) bool) {
		err := r.eachBlock(ctx, q, func(b block) bool { return yield(b, nil) })
		if err != nil {
			yield(block{}, fmt.Errorf("read %s: %w", r.path, err))
		}
	}
}

// eachBlock gives blocks until do says no.
func (r *Reader) eachBlock(ctx context.Context, q Query, do func(block) bool) error {
	s, err := r.span(ctx, q)
	if err != nil {
		return err
	}
	if q.Call != "" || q.Number != "" {
		if s.only, err = r.named(ctx, q, s); err != nil {
			return err
		}
	}
	for {
		some, more, err := r.someBlocks(ctx, &s, q)
		for i := range some {
			if !do(some[i]) {
				return nil
			}
		}
		if err != nil || !more {
			return err
		}
	}
}

// span is the blocks that are left to be read.
type span struct {
	from, to int64   // numbers of first entries
	only     []int64 // nil: any
}

// span says between which blocks a query's entries are.
func (r *Reader) span(ctx context.Context, q Query) (span, error) {
	s := span{from: 0, to: 1 << 62}
	var err error
	bound := func(none int64, query string, arg int64) int64 {
		n := sql.NullInt64{}
		if err == nil {
			err = r.db.QueryRowContext(ctx, query, arg).Scan(&n)
		}
		if !n.Valid {
			return none
		}
		return n.Int64
	}
	if !q.Since.IsZero() {
		s.from = bound(1<<62, "SELECT min(first) FROM block WHERE hi >= ?", q.Since.UnixNano())
	}
	if !q.Until.IsZero() {
		s.to = bound(0, "SELECT max(first) FROM block WHERE lo < ?", q.Until.UnixNano())
	}
	if q.After > 0 {
		s.from = max(s.from, bound(0, "SELECT max(first) FROM block WHERE first <= ?", q.After+1))
	}
	if q.Before > 0 {
		s.to = min(s.to, q.Before-1)
	}
	return s, err
}

// named gives the blocks in which the call and the number of a query occur.
func (r *Reader) named(ctx context.Context, q Query, s span) ([]int64, error) {
	rows, err := r.db.QueryContext(ctx, "SELECT block, calls, numbers FROM names WHERE block BETWEEN ? AND ? ORDER BY block", s.from, s.to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	call, number := key(q.Call), key(numberTail(q.Number))
	found := []int64{}
	for rows.Next() {
		var first int64
		var calls, numbers sql.RawBytes
		if err := rows.Scan(&first, &calls, &numbers); err != nil {
			return nil, err
		}
		if (q.Call == "" || nameIn(calls, call)) && (q.Number == "" || nameIn(numbers, number)) {
			found = append(found, first)
		}
	}
	if q.Newest {
		slices.Reverse(found)
	}
	return found, rows.Err()
}

// someBlocks fetches the next blocks.
func (r *Reader) someBlocks(ctx context.Context, s *span, q Query) (some []block, more bool, err error) {
	text := "SELECT " + blockColumns + " FROM block WHERE first BETWEEN ? AND ?"
	args := []any{s.from, s.to}
	if s.only != nil {
		n := min(readSlice, len(s.only))
		text += " AND first IN (" + strings.TrimSuffix(strings.Repeat("?,", n), ",") + ")"
		for _, first := range s.only[:n] {
			args = append(args, first)
		}
		s.only = s.only[n:]
		more = len(s.only) > 0
	}
	if len(q.Types) > 0 {
		text += " AND kinds & ? != 0"
		args = append(args, int64(kindsOf(q.Types)))
	}
	text += " ORDER BY first"
	if q.Newest {
		text += " DESC"
	}
	rows, err := r.db.QueryContext(ctx, fmt.Sprintf("%s LIMIT %d", text, readSlice), args...)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		b, err := scanBlock(rows)
		if err != nil {
			return some, false, err
		}
		some = append(some, b)
	}
	if s.only == nil && len(some) == readSlice {
		more = true
		if last := some[len(some)-1].first; q.Newest {
			s.to = last - 1
		} else {
			s.from = last + 1
		}
	}
	return some, more, rows.Err()
}

func kindsOf(types []Type) (kinds uint64) {
	for _, t := range types {
		kinds |= kindBit(t)
	}
	return kinds
}

// Minute is how often something happened in a minute.
type Minute struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`          // came, answered, rescued, lost…; "ended " and an outcome
	Who  string    `json:"who,omitempty"` // the endpoint, or the class of the call
	N    int       `json:"n"`
}

// Minutes counts calls a minute: those that came and ended by class, what happened to them by endpoint.
func (r *Reader) Minutes(ctx context.Context, since, until time.Time) ([]Minute, error) {
	rows, err := r.db.QueryContext(ctx, "SELECT at, what, who, n FROM minute WHERE at >= ? AND at < ? ORDER BY at, what, who", since.Unix()/60, (until.Unix()+59)/60)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.path, err)
	}
	defer rows.Close()
	var all []Minute
	for rows.Next() {
		var m Minute
		var at int64
		if err := rows.Scan(&at, &m.What, &m.Who, &m.N); err != nil {
			return nil, fmt.Errorf("read %s: %w", r.path, err)
		}
		m.At = time.Unix(at*60, 0)
		all = append(all, m)
	}
	return all, rows.Err()
}
