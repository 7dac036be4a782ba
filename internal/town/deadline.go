package town

import (
	"sync"
	"time"
)

// deadline is the read or write deadline of a connection: a channel that is closed while the deadline has passed.
type deadline struct {
	mu     sync.Mutex
	passed chan struct{}
	closed bool
	timer  *time.Timer
	gen    int // of the timer that counts; an older one that fires late changes nothing
}

// done gives the channel to wait on.
func (d *deadline) done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

// set changes the deadline; the zero time is none. Who already waits on done sees the change.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gen++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.passed == nil || d.closed {
		d.passed, d.closed = make(chan struct{}), false
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expire()
		return
	}
	gen := d.gen
	d.timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.gen == gen {
			d.expire()
		}
	})
}

func (d *deadline) expire() {
	if !d.closed {
		close(d.passed)
		d.closed = true
	}
}

// over says whether the deadline has passed.
func (d *deadline) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}
