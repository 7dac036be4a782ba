package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Erasure is what became of an erasure.
type Erasure struct {
	Entries int      `json:"entries"` // that were touched
	Calls   []string `json:"calls"`   // our names of the calls it was about
}

// Erase forgets a person's number: wherever it stands as caller or called, and the text of messages and other data of those calls in which it stands. What is
// left in each place is a commitment from which nobody can tell it; the chain still holds. The act itself is an entry, which says by whom and why, and not which
// number. It returns when it is on the disk. The sinks beside the book keep what they were told.
func (b *Book) Erase(ctx context.Context, number, by, why string) (Erasure, error) {
	if !Erasable(number) {
		return Erasure{}, fmt.Errorf("%s is nobody's number", number)
	}
	var done Erasure
	if err := b.settled(ctx); err != nil {
		return done, err
	}
	calls, err := b.mentioned(ctx, number)
	if err != nil {
		return done, err
	}
	entry := []Entry{{At: time.Now(), Type: Erased, By: by, Why: why}}
	err = b.do(ctx, func(s *store) error {
		var err error
		done, err = s.erase(number, calls, entry)
		return err
	})
	if err != nil {
		return Erasure{}, err
	}
	b.mu.Lock()
	for f := range b.feeds {
		select {
		case f.c <- entry:
		default:
			f.missed.Add(1)
		}
	}
	b.mu.Unlock()
	return done, nil
}

// Erasable says whether something may be a person's number. 999 and 101 are nobody's.
func Erasable(number string) bool {
	digits := digitsOf(number)
	return strings.TrimSpace(number) != "" && (digits == "" || len(digits) >= 6)
}

// settled waits until what was told before is on the disk, so that it can be erased too.
func (b *Book) settled(ctx context.Context) error {
	for {
		b.mu.Lock()
		waiting := len(b.queue) + b.inHand
		b.mu.Unlock()
		if waiting == 0 {
			return nil
		}
		poke(b.some)
		poke(b.now)
		select {
		case <-ctx.Done():
			return b.why(ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// mentioned names the calls in whose data a number stands though it need be neither caller nor called: of somebody who withheld it, or in a header of a
// message. The whole file is read for that, beside the writing.
func (b *Book) mentioned(ctx context.Context, number string) (map[string]bool, error) {
	calls := map[string]bool{}
	tail := numberTail(number)
	if len(digitsOf(number)) < tailDigits {
		return calls, nil // so few digits stand in many a place
	}
	r, err := OpenReader(b.cfg.Path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for block, err := range r.blocks(ctx, Query{}) {
		if err != nil {
			return nil, err
		}
		block.mentioned(number, []byte(tail), calls)
	}
	return calls, nil
}

// mentioned adds the calls of a block in whose data a number stands. What is damaged cannot be erased, and stays for verify to find.
func (b *block) mentioned(number string, tail []byte, calls map[string]bool) {
	var rec record
	for body := b.body; len(body) > 0; {
		var err error
		if body, err = rec.next(body); err != nil {
			return
		}
		told, err := rec.told()
		if err != nil || !bytes.Contains(told, tail) || !Mentions(string(told), number) {
			continue
		}
		if e, err := rec.fields(0); err == nil && e.Call != "" {
			calls[e.Call] = true
		}
	}
}

// Mentions says whether a number stands in a text, in whatever spelling that has no gaps.
func Mentions(text, number string) bool {
	tail := numberTail(number)
	if len(tail) < tailDigits || digitsOf(number) == "" {
		return false
	}
	digit := func(i int) bool { return i >= 0 && i < len(text) && text[i] >= '0' && text[i] <= '9' }
	for at := 0; ; {
		i := strings.Index(text[at:], tail)
		if i < 0 {
			return false
		}
		from, end := at+i, at+i+len(tail)
		at = from + 1
		for digit(from - 1) {
			from--
		}
		if from > 0 && text[from-1] == '+' {
			from--
		}
		if !digit(end) && !inWord(text[:from]) && sameNumber(text[from:end], number) {
			return true
		}
	}
}

// inWord says whether what follows a text goes on with a word of it: a token that ends in digits is no number. JSON's \n ends a line.
func inWord(before string) bool {
	if before == "" || strings.HasSuffix(before, `\n`) {
		return false
	}
	c := before[len(before)-1] | 0x20
	return c >= 'a' && c <= 'z'
}

// erase does it in one transaction. calls are those that are known to be about the number.
func (s *store) erase(number string, calls map[string]bool, entry []Entry) (Erasure, error) {
	ctx := context.Background()
	done := Erasure{Calls: slices.Sorted(maps.Keys(calls))}
	if done.Calls == nil {
		done.Calls = []string{}
	}
	err := s.writeWith(entry, func(ctx context.Context) error {
		blocks, err := s.named(ctx, nil, number)
		if err != nil {
			return err
		}
		for _, first := range blocks { // which calls it is about
			b, err := s.blockAt(ctx, first)
			if err != nil {
				return err
			}
			entries, _ := b.find(Query{Number: number, Mask: Full}) // what is damaged cannot be erased, and stays for verify to find
			for i := range entries {
				if c := entries[i].Call; c != "" && !calls[c] {
					calls[c] = true
					done.Calls = append(done.Calls, c)
				}
			}
		}
		more, err := s.named(ctx, calls, number)
		if err != nil {
			return err
		}
		for _, first := range more {
			n, err := s.eraseIn(ctx, first, calls, number)
			if err != nil {
				return err
			}
			done.Entries += n
		}
		entry[0].Count = done.Entries
		return nil
	})
	if err != nil {
		return done, err
	}
	// The log of SQLite still has the old pages: it is emptied. A reader that is at work may keep it busy; the next one empties it.
	var busy, a, b int
	return done, s.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &a, &b)
}

// eraseIn forgets a number in one block.
func (s *store) eraseIn(ctx context.Context, first int64, calls map[string]bool, number string) (int, error) {
	b, err := s.blockAt(ctx, first)
	if err != nil {
		return 0, err
	}
	spellings := spellingsOf(number)
	n, err := b.edit(func(e *Entry, r *record) (did bool, err error) {
		forget := func(field int, is bool) {
			if p := &r.personal[field]; is && p.has && !p.erased {
				p.erase(field)
				did = true
			}
		}
		forget(callerField, e.Caller != "" && sameNumber(e.Caller, number))
		forget(calledField, e.Called != "" && sameNumber(e.Called, number))
		if calls[e.Call] || did {
			told, err := r.told()
			if err != nil {
				return false, err
			}
			forget(dataField, containsAny(string(told), spellings))
		}
		return did, nil
	})
	if err != nil || n == 0 {
		return 0, nil //nolint:nilerr // a damaged block stays as it is, for verify to find
	}
	return n, s.replace(ctx, &b)
}

// named gives the blocks in which a number or one of some calls occurs.
func (s *store) named(ctx context.Context, calls map[string]bool, number string) ([]int64, error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT block, calls, numbers FROM names ORDER BY block")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	want := key(numberTail(number))
	keys := make(map[uint32]bool, len(calls))
	for c := range calls {
		keys[key(c)] = true
	}
	var found []int64
	for rows.Next() {
		var first int64
		var names, numbers []byte
		if err := rows.Scan(&first, &names, &numbers); err != nil {
			return nil, err
		}
		if nameIn(numbers, want) || anyIn(names, keys) {
			found = append(found, first)
		}
	}
	return found, errors.Join(rows.Err(), rows.Close())
}

func anyIn(list []byte, keys map[uint32]bool) bool {
	if len(keys) == 0 {
		return false
	}
	for ; len(list) >= 4; list = list[4:] {
		if keys[uint32(list[0])<<24|uint32(list[1])<<16|uint32(list[2])<<8|uint32(list[3])] {
			return true
		}
	}
	return false
}

func (s *store) blockAt(ctx context.Context, first int64) (block, error) {
	return scanBlock(s.conn.QueryRowContext(ctx, "SELECT "+blockColumns+" FROM block WHERE first = ?", first))
}

// spellingsOf gives how a number may be written in a message: its digits without what differs between spellings.
func spellingsOf(number string) []string {
	digits := digitsOf(number)
	if digits == "" {
		return []string{number}
	}
	return []string{number, digits[max(0, len(digits)-tailDigits):]}
}

func containsAny(text string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}
