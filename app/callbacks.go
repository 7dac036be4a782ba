package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"nines/journal"
)

// callBackName is the file in the state folder that holds the call-back list, for a start with a book that cannot be read.
const callBackName = "callbacks.state"

const (
	callBackEvery = 30 * time.Second // how often the file follows the calls that live; a change of the list itself is written at once
	callBackBack  = 10 * time.Second // so far before the file's time the book is read again: entries may come late
	catchUpLimit  = time.Minute      // how long the book may take to be read at the start
	catchUpMost   = 200_000          // entries that wait for it
	maxCallBack   = 64 << 20         // bytes that are read of the file
)

// callBackDesk keeps the call-back list (R34). The recorder folds what happens into it, who acts and who looks ask it; its goroutine alone writes the
// file.
type callBackDesk struct {
	path string
	log  zerolog.Logger
	file *scribe

	mu        sync.Mutex // guards what follows
	list      *journal.CallBacks
	keep      time.Duration
	behind    bool            // the book is being read; what happens meanwhile waits
	later     []journal.Entry // and is here
	since     time.Time       // from when the book must be read
	changed   bool            // the list is not what the file says
	moved     bool            // only the calls that live are not
	redialsAt int             // redials that were counted before this run
	trouble   string          // what became of the file or the book at the start
}

func newCallBackDesk(path string, keep time.Duration, log zerolog.Logger) *callBackDesk {
	d := &callBackDesk{path: path, log: log, keep: keep, list: journal.NewCallBacks()}
	d.file = newScribe(d.say)
	return d
}

// restore takes the list that the run before has left. What is younger is in the book: see catchUp.
func (d *callBackDesk) restore(now time.Time) {
	d.behind = true
	d.since = now.Add(-d.keep)
	s, err := readCallBacks(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		where, _ := setAside(d.path)
		d.log.Error().Err(err).Str("aside", where).Msg("the call-back list of before the restart could not be read; it is made anew from the book")
	default:
		d.list = journal.RestoreCallBacks(byNow(now, s))
		d.since = past(s.At, now).Add(-callBackBack)
	}
}

func readCallBacks(path string) (journal.CallBackState, error) {
	var s journal.CallBackState
	info, err := os.Stat(path)
	if err != nil {
		return s, err
	}
	if info.Size() > maxCallBack {
		return s, fmt.Errorf("read %s: it is longer than %d bytes", path, maxCallBack)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", path, err)
	}
	for i := range s.Lines {
		if !hasNames(&s.Lines[i]) {
			return s, fmt.Errorf("read %s: lines[%d] could not be cleared: it has no call, or one without a name", path, i)
		}
	}
	for i := range s.Open {
		if s.Open[i].Start.Call == "" {
			return s, fmt.Errorf("read %s: open[%d] is a call without a name", path, i)
		}
	}
	return s, nil
}

// hasNames says whether an operator can say which line they mean.
func hasNames(l *journal.CallBack) bool {
	return len(l.Missed) > 0 && l.ID == l.Missed[0].Call && !slices.ContainsFunc(l.Missed, func(m journal.MissedCall) bool { return m.Call == "" })
}

// byNow takes times out of a list that have not come yet: the clock has been set back. A line whose call ends in time to come could not be cleared.
func byNow(now time.Time, s journal.CallBackState) journal.CallBackState {
	for i := range s.Lines {
		for k := range s.Lines[i].Missed {
			m := &s.Lines[i].Missed[k]
			m.Began, m.Ended = past(m.Began, now), past(m.Ended, now)
		}
		if d := s.Lines[i].Cleared; d != nil {
			d.At = past(d.At, now)
		}
	}
	return s
}

func past(at, now time.Time) time.Time {
	if at.After(now) {
		return now.Round(0)
	}
	return at
}

// fold takes an entry and gives what belongs into the book because of it.
func (d *callBackDesk) fold(e journal.Entry) []journal.Entry {
	if !d.wants(&e) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.behind {
		if len(d.later) < catchUpMost {
			d.later = append(d.later, e)
		}
		return nil
	}
	return d.take(e)
}

// callBackTypes are the entries that can mean anything to the list.
var callBackTypes = []journal.Type{
	journal.CallStart, journal.CallEnd, journal.CallStateChange, journal.OperatorAct, journal.Callback, journal.AnnouncementStart,
}

// wants says whether an entry can mean anything to the list: most don't.
func (d *callBackDesk) wants(e *journal.Entry) bool {
	switch e.Type {
	case journal.CallStart, journal.CallEnd, journal.OperatorAct, journal.Callback, journal.AnnouncementStart:
		return true
	case journal.CallStateChange:
		return e.What == "answered" || e.What == "taken over"
	default:
		return false
	}
}

// take folds an entry under the lock.
func (d *callBackDesk) take(e journal.Entry) []journal.Entry {
	d.moved = true
	before := d.list.Open()
	out := d.list.Fold(e)
	if len(out) > 0 || d.list.Open() != before {
		d.changed = true
	}
	return out
}

// look does what time alone brings: who has talked for long enough is cleared, what is too old is forgotten.
func (d *callBackDesk) look(now time.Time) []journal.Entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.behind {
		return nil
	}
	out := d.list.Talking(now)
	before := d.list.Len()
	if open := d.list.Forget(now, d.keep); open > 0 {
		d.log.Warn().Int("lines", open).Msg("callers whom nobody had rung back were forgotten: they were older than callbacks.keep")
	}
	d.changed = d.changed || len(out) > 0 || d.list.Len() != before
	return out
}

// catchUp folds what the book has of after the file was written, then what has happened meanwhile, and lists the calls in which the run before ended.
// It gives what belongs into the book because of that.
func (d *callBackDesk) catchUp(read func(since time.Time, each func(journal.Entry)) error, alive func(call string) bool) []journal.Entry {
	err := read(d.since, func(e journal.Entry) {
		if d.wants(&e) {
			d.mu.Lock()
			d.take(e) // what follows from it is in the book
			d.mu.Unlock()
		}
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.trouble = "the book could not be read at the start, so the list may lack what happened just before: " + err.Error()
		d.log.Warn().Err(err).Msg("the book could not be read for the call-back list: it may lack what happened just before the restart")
	}
	var out []journal.Entry
	for _, e := range d.later {
		out = append(out, d.take(e)...)
	}
	d.later, d.behind = nil, false
	d.redialsAt = d.list.Redials()
	interrupted := d.list.Interrupted(time.Now(), alive)
	if len(interrupted) > 0 {
		d.changed = true
		d.log.Warn().Int("calls", len(interrupted)).Msg("emergency calls were in progress when nines ended last: they are on the call-back list")
	}
	return append(out, interrupted...)
}

// keepFor says how long lines are kept from now on.
func (d *callBackDesk) keepFor(keep time.Duration) {
	d.mu.Lock()
	d.keep = keep
	d.mu.Unlock()
}

// run keeps the file until ctx ends.
func (d *callBackDesk) run(ctx context.Context) {
	var last time.Time
	d.file.serve(ctx, func() bool { return d.due(last) }, func() error {
		defer func() { last = time.Now() }()
		return d.write()
	})
	_ = d.write() // note has said it
}

func (d *callBackDesk) due(last time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.behind && (d.changed || d.file.lost() != "" || d.moved && time.Since(last) >= callBackEvery)
}

// write replaces the file.
func (d *callBackDesk) write() error {
	d.mu.Lock()
	if d.behind { // it would say that it knows what it has not read yet
		d.mu.Unlock()
		return nil
	}
	s := d.list.State(time.Now().Round(0))
	d.changed, d.moved = false, false
	d.mu.Unlock()
	b, err := json.Marshal(s)
	if err == nil {
		err = replaceFile(d.path, b, 0o600)
	}
	return d.file.note(err)
}

func (d *callBackDesk) say(err error) {
	if err != nil {
		d.log.Error().Err(err).Msg("the call-back list could not be written down: it is in memory and in the book; it is tried again")
		return
	}
	d.log.Info().Msg("the call-back list is written down again")
}

// erase forgets a person's number, in the file too before it returns.
func (d *callBackDesk) erase(ctx context.Context, number string) error {
	d.mu.Lock()
	d.list.Erase(number)
	d.changed = true
	d.mu.Unlock()
	return d.file.write(ctx)
}
