package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// tidySlice is how many blocks are forgotten in one go, so that what waits is written in between.
const tidySlice = 64

// openMark is written while a node has the book open.
type openMark struct {
	Open bool      `json:"open"`
	At   time.Time `json:"at"`
}

// headMark is when the head was signed last.
type headMark struct {
	At time.Time `json:"at"`
}

func (s *store) wasOpen() bool {
	var m openMark
	return s.meta(context.Background(), "open", &m) == nil && m.Open
}

func (s *store) setOpen(open bool) error {
	ctx := context.Background()
	return s.change(ctx, func() error { return s.setMeta(ctx, "open", openMark{Open: open, At: time.Now().UTC()}) })
}

// continueAfter makes an empty file the continuation of a chain whose entries are elsewhere.
func (s *store) continueAfter(seq int64, head hash, now time.Time) error {
	ctx := context.Background()
	mark := s.mark(seq+1, head, now)
	if err := s.change(ctx, func() error { return s.setMeta(ctx, "cut", mark) }); err != nil {
		return err
	}
	s.chain.seq, s.chain.head, s.cut = seq, head, seq+1
	return nil
}

// tidy does a slice of what is not urgent: sign the head once a day, forget what is too old or too much.
func (b *Book) tidy() {
	more := b.state.tidying.Load()
	if b.store == nil || b.failed > 0 || !more && time.Since(b.lastTidy) < tidyEvery {
		return
	}
	b.lastTidy = time.Now()
	if b.key == nil && b.cfg.Key != "" {
		b.loadKey()
		b.store.key = b.key
	}
	more, err := b.tidySlice(time.Now())
	b.state.tidying.Store(more)
	if err != nil {
		b.fail(err)
		return
	}
	b.state.ok(b.store)
}

func (b *Book) tidySlice(now time.Time) (more bool, err error) {
	if err := b.signHead(now); err != nil {
		return false, err
	}
	gone, err := b.store.forget(now, b.cfg)
	if err != nil || gone {
		return gone, err
	}
	return b.store.forgetMessages(now, b.cfg)
}

// signHead signs the head when it was not signed for a day.
func (b *Book) signHead(now time.Time) error {
	var last headMark
	err := b.store.meta(context.Background(), "head", &last)
	switch {
	case errors.Is(err, sql.ErrNoRows) && b.store.chain.seq == 0:
		return nil // nothing to sign yet
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	case err == nil && now.Sub(last.At) < headEvery && !last.At.After(now.Add(headEvery)):
		return nil
	}
	e := []Entry{{At: now, Type: Head}}
	if err := b.store.writeWith(e, func(ctx context.Context) error {
		return b.store.setMeta(ctx, "head", headMark{At: now.UTC()})
	}); err != nil {
		return err
	}
	b.tell(e, nil)
	b.sayHead(&e[0])
	return nil
}

// writeWith writes entries, and something else with them.
func (s *store) writeWith(entries []Entry, do func(context.Context) error) error {
	ctx := context.Background()
	if err := s.inPlace(); err != nil {
		return err
	}
	return s.change(ctx, func() error {
		if err := do(ctx); err != nil {
			return err
		}
		return s.put(ctx, entries)
	})
}

// forget drops the oldest blocks when they are too old, or the book is too big. The cut is an entry in the chain and signed, so that what is left can be proven.
func (s *store) forget(now time.Time, cfg Config) (bool, error) {
	ctx := context.Background()
	limit := int64(-1 << 62)
	if cfg.Keep > 0 {
		limit = now.Add(-cfg.Keep).UnixNano()
	}
	used, err := s.used(ctx)
	if err != nil {
		return false, err
	}
	tooBig := cfg.MaxBytes > 0 && used > cfg.MaxBytes
	old, err := s.oldest(ctx, limit, tooBig)
	if err != nil || len(old) == 0 {
		return false, err
	}
	last := old[len(old)-1]
	mark := s.mark(last.last+1, last.head, now)
	why := fmt.Sprintf("entries up to %d are older than %s and were forgotten", last.last, words(cfg.Keep))
	if last.hi >= limit {
		why = fmt.Sprintf("the book had more than %d bytes: entries up to %d were forgotten", cfg.MaxBytes, last.last)
	}
	err = s.writeWith([]Entry{{At: now, Type: Cut, Count: int(last.last - old[0].first + 1), Why: why, Data: mark.data()}}, func(ctx context.Context) error {
		for i := range old {
			if err := s.drop(ctx, old[i].first); err != nil {
				return err
			}
		}
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM minute WHERE at < ?", last.hi/int64(time.Minute)); err != nil {
			return err
		}
		return s.setMeta(ctx, "cut", mark)
	})
	if err != nil {
		return false, err
	}
	s.cut = mark.Seq
	return true, s.exec(ctx, "PRAGMA incremental_vacuum")
}

// used is how many bytes are in use; what was freed goes back to the disk when SQLite next empties its log.
func (s *store) used(ctx context.Context) (int64, error) {
	var pages, free int64
	err := errors.Join(s.row(ctx, "PRAGMA page_count", &pages), s.row(ctx, "PRAGMA freelist_count", &free))
	return (pages - free) * pageSize, err
}

// oldest gives the blocks to forget: those before limit, or the first ones whatever their age. The last block always stays.
func (s *store) oldest(ctx context.Context, limit int64, any bool) ([]block, error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT "+blockColumns+" FROM block ORDER BY first LIMIT ?", tidySlice+1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var old []block
	for rows.Next() {
		b, err := scanBlock(rows)
		if err != nil {
			return nil, err
		}
		if b.hi >= limit && !any || len(old) == tidySlice || b.last == s.chain.seq {
			break
		}
		old = append(old, b)
	}
	return old, rows.Err()
}

// drop deletes a block.
func (s *store) drop(ctx context.Context, first int64) error {
	if _, err := s.conn.ExecContext(ctx, "DELETE FROM names WHERE block = ?", first); err != nil {
		return err
	}
	_, err := s.conn.ExecContext(ctx, "DELETE FROM block WHERE first = ?", first)
	return err
}

// forgetMessages erases the text of messages that are old enough.
func (s *store) forgetMessages(now time.Time, cfg Config) (bool, error) {
	if cfg.KeepMessages <= 0 {
		return false, nil
	}
	ctx := context.Background()
	limit := now.Add(-cfg.KeepMessages).UnixNano()
	rows, err := s.conn.QueryContext(ctx, "SELECT "+blockColumns+" FROM block WHERE kinds & ? != 0 AND hi < ? ORDER BY first LIMIT ?", int64(messageKinds), limit, tidySlice)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	var blocks []block
	for rows.Next() {
		b, err := scanBlock(rows)
		if err != nil {
			return false, err
		}
		blocks = append(blocks, b)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(blocks) == 0 {
		return false, err
	}
	err = s.change(ctx, func() error {
		for i := range blocks {
			b := &blocks[i]
			_, _ = b.edit(func(e *Entry, r *record) (bool, error) { // a damaged one stays as it is
				if !e.hasMessages() || !r.personal[dataField].has || r.personal[dataField].erased {
					return false, nil
				}
				r.personal[dataField].erase(dataField)
				return true, nil
			})
			b.kinds &^= messageKinds
			if err := s.replace(ctx, b); err != nil {
				return err
			}
		}
		return nil
	})
	return err == nil, err
}

var messageKinds = kindBit(CallSignalingMessage) | kindBit(MalformedMessage)

// replace writes a block that was edited.
func (s *store) replace(ctx context.Context, b *block) error {
	b.rename()
	if s.block.body != nil && b.first == s.block.first {
		s.block.body, s.block.kinds, s.block.calls, s.block.numbers = b.body, b.kinds, b.calls, b.numbers
	}
	return s.putWhole(ctx, b)
}

// edit changes records of a block, and reports how many. change says whether it did something; it sees the entry without its Data.
func (b *block) edit(change func(*Entry, *record) (bool, error)) (int, error) {
	var out, scratch []byte
	n := 0
	seq := b.first
	for body := b.body; len(body) > 0; seq++ {
		var r record
		rest, err := r.next(body)
		if err != nil {
			return 0, err
		}
		e, err := r.fields(seq)
		if err != nil {
			return 0, err
		}
		did, err := change(&e, &r)
		if err != nil {
			return 0, err
		}
		if did {
			n++
			out, scratch = r.append(out, scratch)
		} else {
			out = append(out, body[:len(body)-len(rest)]...)
		}
		body = rest
	}
	if n > 0 {
		b.body = out
	}
	return n, nil
}

// words writes a length of time as the configuration does.
func words(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}
