package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// book is the file in which open threads outlive the process.
type book struct {
	Day     string    `json:"day"`
	Count   int       `json:"count"`
	Threads []*thread `json:"threads"`
}

const (
	mostBook  = 4 << 20 // bytes that are read
	mostID    = 64      // bytes of a thread's name; ours have far fewer
	keepWait  = 5 * time.Second
	keepRetry = 10 * time.Second
)

// keeper writes the book. A disk that hangs delays the writing and nothing else.
type keeper struct {
	path string
	tell func(Event)
	work chan struct{}

	mu      sync.Mutex
	next    book
	asked   uint64 // generations of next
	tried   uint64 // the last one that was written, or could not be
	done    uint64 // the last one on the disk
	unkept  error
	written chan struct{} // closed at each attempt
}

func newKeeper(path string, tell func(Event)) *keeper {
	return &keeper{path: path, tell: tell, work: make(chan struct{}, 1), written: make(chan struct{})}
}

// read gives what the run before has left.
func (k *keeper) read() (book, error) {
	var b book
	if k.path == "" {
		return b, nil
	}
	_ = os.Remove(k.path + ".new") // half of a book, where the run before was killed while it wrote; else there is none
	info, err := os.Stat(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	var text []byte
	switch {
	case err != nil:
	case info.Size() > mostBook:
		err = fmt.Errorf("it is longer than %d bytes", mostBook)
	default:
		text, err = os.ReadFile(k.path)
	}
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err == nil {
		err = b.check()
	}
	if err != nil {
		aside := k.path + ".corrupt-" + time.Now().Format("20060102T150405")
		return book{}, fmt.Errorf("read %s: %w", k.path, errors.Join(err, os.Rename(k.path, aside)))
	}
	b.settle(time.Now())
	return b, nil
}

// check says what is wrong with a book that is JSON and still none of ours.
func (b *book) check() error {
	for i, t := range b.Threads {
		if t == nil || t.ID == "" || len(t.ID) > mostID {
			return fmt.Errorf("threads[%d] has no name that somebody could say", i)
		}
	}
	return nil
}

// settle makes the times of another run good for this one. The clock may have been set back meanwhile: a reminder waits for no time that has not come.
func (b *book) settle(now time.Time) {
	for _, t := range b.Threads {
		for _, at := range []*time.Time{&t.Began, &t.Updated, &t.AckedAt, &t.OverAt} {
			*at = past(*at, now)
		}
		if t.Heard == nil {
			t.Heard = map[string]heard{}
		}
		for name, h := range t.Heard {
			h.At = past(h.At, now)
			t.Heard[name] = h
		}
	}
}

func past(at, now time.Time) time.Time {
	if at.After(now) {
		return now.Round(0)
	}
	return at
}

// keep has a book written; it never waits.
func (k *keeper) keep(b book) {
	k.mu.Lock()
	k.next = b
	k.asked++
	k.mu.Unlock()
	select {
	case k.work <- struct{}{}:
	default:
	}
}

// run writes what is asked until ctx ends, and once more then.
func (k *keeper) run(ctx context.Context) {
	for {
		var retry <-chan time.Time
		if k.lost() != nil {
			retry = time.After(keepRetry)
		}
		select {
		case <-ctx.Done():
			k.write()
			return
		case <-k.work:
		case <-retry:
		}
		k.write()
	}
}

func (k *keeper) write() {
	k.mu.Lock()
	b, gen := k.next, k.asked
	done := k.done
	k.mu.Unlock()
	if k.path == "" || gen == done {
		return
	}
	err := replaceFile(k.path, b)
	k.mu.Lock()
	was := k.unkept
	k.unkept, k.tried = err, gen
	if err == nil {
		k.done = gen
	}
	close(k.written)
	k.written = make(chan struct{})
	k.mu.Unlock()
	switch {
	case err != nil && was == nil:
		k.tell(Event{At: time.Now(), What: Unkept, Err: err})
	case err == nil && was != nil:
		k.tell(Event{At: time.Now(), What: Kept})
	}
}

// wait waits until what was asked so far is on the disk. The error says why it is not.
func (k *keeper) wait(ctx context.Context) error {
	if k.path == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepWait)
	defer cancel()
	k.mu.Lock()
	gen := k.asked
	k.mu.Unlock()
	for {
		k.mu.Lock()
		done, tried, err, written := k.done, k.tried, k.unkept, k.written
		k.mu.Unlock()
		switch {
		case done >= gen:
			return nil
		case tried >= gen:
			return err
		}
		select {
		case <-written:
		case <-ctx.Done():
			return fmt.Errorf("the disk has not answered for %s", keepWait)
		}
	}
}

func (k *keeper) lost() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.unkept
}

// replaceFile puts a new book in the place of the old one: whatever happens meanwhile one of them is there, never half of one.
func replaceFile(path string, b book) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	fresh := path + ".new"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = os.Remove(fresh) // what is left of it is no use to anybody
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
