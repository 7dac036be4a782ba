package app

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"nines/configs"
	"nines/hep"
	"nines/journal"
	"nines/sip"
)

const (
	maxRecords  = 16384                 // that wait to be written down; a loop that finds more loses its own
	maxWords    = 8 << 20               // bytes of messages among them
	hurry       = maxRecords / 8        // so many are not left to gather any longer
	recordEvery = 50 * time.Millisecond // how long records gather: waking for each would cost more than they do
)

// keeper is the part of the book that the recorder needs.
type keeper interface {
	Append(e journal.Entry)
}

// recorder carries what the loops tell to the book, to the list of calls and to the call-back list. A loop only puts a copy into a queue: it never
// waits, and when the queue is full the record is lost and counted. The recorder's goroutine does the rest.
type recorder struct {
	off  bool // nothing is recorded
	book keeper
	desk *callBackDesk
	wake chan struct{}

	mu    sync.Mutex // guards the queue
	busy  bool       // the recorder will look by itself; else it sleeps until it is woken
	told  []sip.Record
	spare []sip.Record
	said  []journal.Entry // of app itself
	words int             // bytes of messages in told
	lost  lostRecords     // since the last batch
	total lostRecords

	calls  *callList
	copies hep.Sender
	keeps  atomic.Pointer[configs.Messages] // of which calls the book keeps messages
}

// configure takes what a file says of messages.
func (r *recorder) configure(f *configs.File) {
	r.keeps.Store(&f.Journal.Messages)
	r.copies.Configure(hep.Config{To: f.HEP.To, Agent: hep.Agent{ID: uint32(f.HEP.ID), Password: f.HEP.Password, Name: f.Name}})
}

// lostRecords counts what the queue had no room for.
type lostRecords struct{ records, messages uint64 }

func newRecorder(book keeper) *recorder {
	return &recorder{book: book, wake: make(chan struct{}, 1), calls: newCallList()}
}

// tell takes a record. It is called from the loops.
func (r *recorder) tell(rec sip.Record) {
	if r.off {
		return
	}
	r.mu.Lock()
	switch {
	case rec.Kind == sip.CallMessage && (r.words+len(rec.Data) > maxWords || len(r.told) >= maxRecords/2):
		r.lost.messages++
		r.total.messages++
		r.mu.Unlock()
		return
	case len(r.told) >= maxRecords:
		r.lost.records++
		r.total.records++
		r.mu.Unlock()
		return
	}
	r.told = append(r.told, rec)
	r.words += len(rec.Data)
	wake := r.wakes()
	r.mu.Unlock()
	if wake {
		r.rouse()
	}
}

// wakes says, under the lock, whether the recorder must be woken for what was just put into a queue.
func (r *recorder) wakes() bool {
	wake := !r.busy || len(r.told) == hurry
	r.busy = true
	return wake
}

// say takes an entry of app itself.
func (r *recorder) say(e journal.Entry) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	r.mu.Lock()
	if len(r.said) >= maxRecords {
		r.lost.records++
		r.total.records++
	} else {
		r.said = append(r.said, e)
	}
	wake := r.wakes()
	r.mu.Unlock()
	if wake {
		r.rouse()
	}
}

func (r *recorder) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run writes down what is told until ctx ends, and then what is left.
func (r *recorder) run(ctx context.Context) {
	stepBehind()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	gather := time.NewTimer(recordEvery)
	defer gather.Stop()
	for {
		select {
		case <-ctx.Done():
			r.batch()
			for _, e := range r.calls.gathered(time.Now(), true) {
				r.enter(e)
			}
			return
		case now := <-look.C:
			for _, e := range r.desk.look(now) {
				r.book.Append(e)
			}
			for _, e := range r.calls.gathered(now, false) {
				r.enter(e)
			}
		case <-r.wake:
			gather.Reset(r.pause())
		case <-gather.C:
			if r.batch() {
				gather.Reset(recordEvery)
			}
		}
	}
}

// pause is how long what waits may wait for more.
func (r *recorder) pause() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.told) >= hurry {
		return 0
	}
	return recordEvery
}

// batch writes down what waits. False: that was nothing, and the next to come must wake the recorder.
func (r *recorder) batch() bool {
	r.mu.Lock()
	if len(r.told) == 0 && len(r.said) == 0 && r.lost.records == 0 {
		r.busy = false
		r.mu.Unlock()
		return false
	}
	told, said, lost := r.told, r.said, r.lost
	r.told, r.spare, r.said, r.lost, r.words = r.spare[:0], nil, nil, lostRecords{}, 0
	r.mu.Unlock()
	for i := range told {
		r.writeDown(&told[i])
	}
	for i := range said {
		r.enter(said[i])
	}
	if lost.records > 0 {
		r.enter(journal.Entry{At: time.Now(), Type: journal.Gap, Count: int(lost.records), Why: "the calls told more than could be written down"})
	}
	clear(told)
	if cap(told) > maxRecords/4 {
		told = nil // a great one was for a bad time
	}
	r.mu.Lock()
	r.spare = told[:0]
	r.mu.Unlock()
	return true
}

// writeDown turns one record into entries. A mistake of ours costs that record.
func (r *recorder) writeDown(rec *sip.Record) {
	defer func() {
		if fault := recover(); fault != nil {
			r.enter(journal.Entry{At: rec.At, Type: journal.Gap, Count: 1, Call: rec.Call, Why: fmt.Sprint("a record met a fault of ours: ", fault)})
		}
	}()
	rec.Data = withoutKeys(rec.Data)
	if rec.Kind == sip.CallMessage {
		r.message(rec)
		return
	}
	if rec.Kind == sip.MessageMalformed {
		if keeps := r.keeps.Load(); keeps == nil || !keepsMessages(*keeps, rec.Class) {
			rec.Data = nil
		}
	}
	r.enter(r.calls.record(rec))
}

// message takes a message of a call: a copy goes to the capture server, and to the book where it keeps them.
func (r *recorder) message(rec *sip.Record) {
	if r.copies.On() {
		r.copies.Send(copied(rec))
	}
	if keeps := r.keeps.Load(); keeps == nil || !keepsMessages(*keeps, rec.Class) {
		return
	}
	e, complete, lost := r.calls.message(rec)
	switch {
	case complete:
		r.enter(e)
	case lost:
		r.mu.Lock()
		r.total.messages++
		r.mu.Unlock()
	}
}

// enter puts an entry into the book, and what follows from it for the call-back list.
func (r *recorder) enter(e journal.Entry) {
	if r.book == nil {
		return
	}
	r.book.Append(e)
	for _, follows := range r.desk.fold(e) {
		r.book.Append(follows)
	}
}

// losses says what was lost on the way to the book since the start.
func (r *recorder) losses() lostRecords {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}
