package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Config is what a Desk needs once, at its start.
type Config struct {
	Node  string // who we are
	Agent string // the program and its version
	Path  string // where threads are written down; empty: nowhere
	// Tell is told what became of threads and messages, from several goroutines, never with a lock held. It may be nil.
	Tell func(Event)
	// Alive says why this node takes no calls; nil while it does. The heartbeat asks it. A nil Alive means always.
	Alive func(context.Context) error
}

// Desk keeps what there is to tell, and tells it.
type Desk struct {
	cfg    Config
	keeper *keeper
	wake   chan struct{} // the receivers changed
	swap   chan []Receiver
	beats  chan []Heartbeat

	mu        sync.Mutex // guards what follows; held for moments, never while anything is sent
	threads   []*thread  // open ones, oldest first
	day       string
	count     int // threads of that day
	news      chan struct{}
	state     map[string]*receiverState
	receivers []Receiver
	sent      map[string]uint64 // by receiver
	failed    map[string]uint64
	dropped   uint64
	beaten    map[string]uint64 // heartbeats by outcome
}

// thread is a Thread and who has heard of it.
type thread struct {
	Thread
	Heard map[string]heard `json:"heard,omitempty"` // by receiver
}

// heard is what a receiver knows of a thread.
type heard struct {
	Version int       `json:"version"`
	Number  int       `json:"number"`
	At      time.Time `json:"at"`
	Code    Code      `json:"code"`
}

// receiverState is how a receiver does.
type receiverState struct {
	tries   int       // in vain since the last success
	retry   time.Time // nothing before it
	since   time.Time // of the first of those tries
	err     string
	arrived time.Time // the last success
}

const (
	mostThreads = 64
	settle      = 15 * time.Second // between two updates of a thread whose kind is the same
	firstRetry  = 2 * time.Second
	mostRetry   = 2 * time.Minute
	forgotten   = 24 * time.Hour // a thread that nobody waits for is kept no longer: not for receivers that never answer, nor because it is still so
)

// Open reads what was not acknowledged before a restart. What cannot be read is moved aside and is no reason not to start: the error says what became
// of it, and the desk is good all the same.
func Open(cfg Config) (*Desk, error) {
	d := &Desk{
		cfg: cfg, wake: make(chan struct{}, 1), swap: make(chan []Receiver, 1), beats: make(chan []Heartbeat, 1), news: make(chan struct{}),
		state: map[string]*receiverState{}, sent: map[string]uint64{}, failed: map[string]uint64{}, beaten: map[string]uint64{},
	}
	d.keeper = newKeeper(cfg.Path, d.tell)
	kept, err := d.keeper.read()
	d.threads, d.day, d.count = kept.Threads, kept.Day, max(0, kept.Count)
	return d, err
}

// Tell takes a notice. It never waits; it may be called from anywhere.
func (d *Desk) Tell(n Notice) { d.told(n, false) }

// Over says that what a key stands for has ended; the text says how. Without such a thread nothing happens.
func (d *Desk) Over(n Notice) { d.told(n, true) }

func (d *Desk) told(n Notice, over bool) {
	now := time.Now()
	d.mu.Lock()
	t, what := d.file(now, n, over)
	var events []Event
	if what != "" {
		events = append(events, Event{At: now, What: what, Thread: t.Thread})
		events = append(events, d.shorten(now)...)
		d.changed()
	}
	d.mu.Unlock()
	for _, e := range events {
		d.tell(e)
	}
}

// file puts a notice into its thread.
func (d *Desk) file(now time.Time, n Notice, over bool) (*thread, What) {
	d.threads = slices.DeleteFunc(d.threads, func(t *thread) bool { return t.settled(now, d.receivers) })
	k := n.Code.Kind()
	i := slices.IndexFunc(d.threads, func(t *thread) bool { return n.Key != "" && t.Key == n.Key && !t.Over })
	if i < 0 {
		if over {
			return nil, ""
		}
		t := &thread{Thread: Thread{ID: d.id(now), Key: n.Key, Code: n.Code, Severity: k.Severity, Room: n.Room, Began: now}, Heard: map[string]heard{}}
		t.Over = n.Key == "" // it has happened, it does not last
		d.threads = append(d.threads, t)
		t.take(now, n)
		return t, Told
	}
	t := d.threads[i]
	switch {
	case over:
		t.Over, t.OverAt = true, now
		n.Code = t.Code // what it was, it stays
		t.take(now, n)
		return t, Ended
	case n.Code != t.Code:
		if t.Acknowledged() && n.Code.rank() > t.Code.rank() {
			t.By, t.AckedAt = "", time.Time{} // who has seen to the lesser has not seen this
		}
		if n.Code.rank() < t.Code.rank() {
			n.Code = t.Code // the thread says the worst that has happened
		}
	case n.Text == t.Text:
		t.Details, t.Facts, t.Public = n.Details, n.Facts, n.Public
		return t, ""
	}
	t.take(now, n)
	return t, Told
}

func (t *thread) take(now time.Time, n Notice) {
	t.Code, t.Severity = n.Code, n.Code.Kind().Severity
	t.Text, t.Details, t.Facts, t.Public = n.Text, n.Details, n.Facts, n.Public
	t.Updated = now
	t.Version++
}

// rank orders codes within a thread: severity, then the place in the table.
func (c Code) rank() int {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Code == c })
	return c.Kind().Severity.rank()*len(kinds) + i
}

// id names a thread by day and number.
func (d *Desk) id(now time.Time) string {
	if day := now.Format("0102"); day != d.day {
		d.day, d.count = day, 0
	}
	d.count++
	return fmt.Sprintf("%s-%d", d.day, d.count)
}

// shorten lets go of threads that nobody waits for, and, when there are too many, of the least of them.
func (d *Desk) shorten(now time.Time) (events []Event) {
	d.threads = slices.DeleteFunc(d.threads, func(t *thread) bool { return t.settled(now, d.receivers) })
	for len(d.threads) > mostThreads {
		i := 0
		for j, t := range d.threads {
			if least := d.threads[i]; t.worth() < least.worth() {
				i = j
			}
		}
		events = append(events, Event{At: now, What: Dropped, Thread: d.threads[i].Thread})
		d.threads = slices.Delete(d.threads, i, i+1)
		d.dropped++
	}
	return events
}

// worth orders threads when there are too many.
func (t *thread) worth() int {
	w := t.Severity.rank() * 2
	if t.Waits() {
		w++
	}
	return w
}

// settled says that nothing more is to be told of a thread.
func (t *thread) settled(now time.Time, receivers []Receiver) bool {
	if t.Waits() {
		return false
	}
	if now.Sub(t.Updated) > forgotten && now.Sub(t.AckedAt) > forgotten {
		return true // what is still so then is told anew: somebody else is on duty
	}
	if !t.Over {
		return false
	}
	heardBy := 0
	for i := range receivers {
		if !receivers[i].hears(&t.Thread) {
			continue
		}
		if t.Heard[receivers[i].Name].Version < t.Version {
			return false
		}
		heardBy++
	}
	return heardBy > 0 || now.Sub(t.Updated) > time.Minute // the status shows for a while what nobody is told
}

// Open says whether a key has a thread that is not over.
func (d *Desk) Open(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.threads, func(t *thread) bool { return t.Key == key && !t.Over })
}

// changed wakes the receivers and has the threads written down. The lock is held.
func (d *Desk) changed() {
	close(d.news)
	d.news = make(chan struct{})
	d.keeper.keep(d.snapshot())
}

func (d *Desk) snapshot() book {
	b := book{Day: d.day, Count: d.count}
	for _, t := range d.threads {
		c := *t
		c.Heard = maps.Clone(t.Heard)
		b.Threads = append(b.Threads, &c)
	}
	return b
}

// Forget drops threads, as if they had never been told: they are about a person who must be forgotten.
func (d *Desk) Forget(which func(*Thread) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.threads)
	d.threads = slices.DeleteFunc(d.threads, func(t *thread) bool { return which(&t.Thread) })
	if len(d.threads) != before {
		d.changed()
	}
}

// ErrNoThread says that there is no such thread, or nothing to acknowledge.
var ErrNoThread = errors.New("no such notice")

// Acknowledge stops the reminders of a thread, or of all with an empty id. When it returns without an error the threads are acknowledged; kept says
// why a restart would forget that.
func (d *Desk) Acknowledge(ctx context.Context, id, by string) (acked []Thread, kept error, err error) {
	now := time.Now()
	d.mu.Lock()
	found := false
	for _, t := range d.threads {
		if id != "" && t.ID != id {
			continue
		}
		found = true
		if t.Acknowledged() || id == "" && !t.Waits() {
			continue
		}
		t.By, t.AckedAt = by, now
		acked = append(acked, t.Thread)
	}
	if len(acked) > 0 {
		d.shorten(now)
		d.changed()
	}
	d.mu.Unlock()
	switch {
	case len(acked) == 0 && id == "":
		return nil, nil, fmt.Errorf("%w waits to be acknowledged", ErrNoThread)
	case len(acked) == 0 && found:
		return nil, nil, fmt.Errorf("%w: %s is acknowledged already", ErrNoThread, id)
	case len(acked) == 0:
		return nil, nil, fmt.Errorf("%w is called %q; nines notices lists them", ErrNoThread, id)
	}
	for _, t := range acked {
		d.tell(Event{At: now, What: Acknowledged, Thread: t, By: by})
	}
	return acked, d.keeper.wait(ctx), nil
}

// Threads lists what is open: oldest first.
func (d *Desk) Threads() []Thread {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Thread
	for _, t := range d.threads {
		if !t.settled(now, d.receivers) {
			all = append(all, t.Thread)
		}
	}
	return all
}

// ReceiverStatus is how a receiver does.
type ReceiverStatus struct {
	Name    string    `json:"name"`
	Sent    uint64    `json:"sent"`
	Failed  uint64    `json:"failed"` // tries in vain
	Arrived time.Time `json:"arrived,omitzero"`
	Since   time.Time `json:"failing_since,omitzero"` // zero: it takes notices, or was never tried
	Error   string    `json:"error,omitempty"`
	Retry   time.Time `json:"retry,omitzero"`
}

// Receivers says how the receivers do, by name.
func (d *Desk) Receivers() []ReceiverStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []ReceiverStatus
	for _, name := range slices.Sorted(maps.Keys(d.state)) {
		s := d.state[name]
		r := ReceiverStatus{Name: name, Sent: d.sent[name], Failed: d.failed[name], Arrived: s.arrived}
		if s.tries > 0 {
			r.Since, r.Error, r.Retry = s.since, s.err, s.retry
		}
		all = append(all, r)
	}
	return all
}

// Beats counts heartbeats by outcome: sent, failed, silent.
func (d *Desk) Beats() map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.beaten)
}

// Lost is how many threads were dropped because there were too many.
func (d *Desk) Lost() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dropped
}

// Unkept says why the threads are not written down; nil: they are.
func (d *Desk) Unkept() error { return d.keeper.lost() }

func (d *Desk) tell(e Event) {
	if d.cfg.Tell != nil {
		d.cfg.Tell(e)
	}
}

// Swap takes other receivers and heartbeats. A receiver with the name of an old one knows what that one knew.
func (d *Desk) Swap(receivers []Receiver, beats []Heartbeat) {
	replace(d.swap, receivers)
	replace(d.beats, beats)
}

// replace puts v into a channel of one, in the place of what is there.
func replace[T any](c chan T, v T) {
	for {
		select {
		case c <- v:
			return
		default:
		}
		select {
		case <-c:
		default:
		}
	}
}

// Run tells until ctx ends.
func (d *Desk) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { d.keeper.run(ctx) }) // ends with ctx
	var staff, drums crew
	defer staff.dismiss()
	defer drums.dismiss()
	for {
		select {
		case <-ctx.Done():
			return
		case receivers := <-d.swap:
			staff.dismiss()
			d.enlist(receivers)
			staff.hire(ctx)
			for _, r := range receivers {
				staff.Go(func() { d.serve(staff.ctx, r) }) // ends when it is dismissed
			}
		case beats := <-d.beats:
			drums.dismiss()
			drums.hire(ctx)
			for _, b := range beats {
				drums.Go(func() { d.beat(drums.ctx, b) }) // ends when it is dismissed
			}
		}
	}
}

// crew are goroutines that come and go together.
type crew struct {
	sync.WaitGroup
	ctx    context.Context //nolint:containedctx // it is the crew's life
	cancel context.CancelFunc
}

func (c *crew) hire(ctx context.Context) { c.ctx, c.cancel = context.WithCancel(ctx) }

func (c *crew) dismiss() {
	if c.cancel != nil {
		c.cancel()
	}
	c.Wait()
}

// enlist makes the state of the receivers that there are.
func (d *Desk) enlist(receivers []Receiver) {
	d.mu.Lock()
	defer d.mu.Unlock()
	state := map[string]*receiverState{}
	for _, r := range receivers {
		state[r.Name] = cmp.Or(d.state[r.Name], &receiverState{})
		state[r.Name].retry = time.Time{} // its configuration may be mended
	}
	d.state, d.receivers = state, receivers
}

// serve tells one receiver what it must know, until ctx ends.
func (d *Desk) serve(ctx context.Context, r Receiver) {
	for ctx.Err() == nil {
		m, due, news := d.next(time.Now(), &r)
		if m == nil {
			pause(ctx, due, news)
			continue
		}
		d.send(ctx, &r, *m)
	}
}

// pause waits for a time, news, or the end. A zero time is never.
func pause(ctx context.Context, due time.Time, news <-chan struct{}) {
	var alarm <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-ctx.Done():
	case <-news:
	case <-alarm:
	}
}

// next is the message that a receiver must have now; without one it says when to look again, at the latest when there is news.
func (d *Desk) next(now time.Time, r *Receiver) (*Message, time.Time, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var due time.Time
	var best *thread
	for _, t := range d.threads {
		at, ok := t.due(r)
		if !ok {
			continue
		}
		if s := d.state[r.Name]; s != nil && s.retry.After(at) {
			at = s.retry
		}
		switch {
		case at.After(now):
			if due.IsZero() || at.Before(due) {
				due = at
			}
		case best == nil || t.Severity.rank() > best.Severity.rank():
			best = t
		}
	}
	if best == nil {
		return nil, due, d.news
	}
	h := best.Heard[r.Name]
	m := Message{
		Thread: best.Thread, Number: h.Number + 1, Reminder: h.Version == best.Version, Node: d.cfg.Node, Agent: d.cfg.Agent,
		ID: fmt.Sprintf("%s.%d.%d.%d", best.ID, best.Began.Unix(), best.Version, h.Number+1),
	}
	return &m, due, d.news
}

// due says when a receiver must hear of a thread next, or that it need not.
func (t *thread) due(r *Receiver) (time.Time, bool) {
	if !r.hears(&t.Thread) {
		return time.Time{}, false
	}
	h, told := t.Heard[r.Name]
	switch {
	case !told:
		return time.Time{}, true
	case h.Version < t.Version && (h.Code != t.Code || t.Over):
		return time.Time{}, true // worse, or over: at once
	case h.Version < t.Version:
		return h.At.Add(settle), true
	case t.Waits():
		return h.At.Add(r.repeat()), true
	}
	return time.Time{}, false
}

// send tries once.
func (d *Desk) send(ctx context.Context, r *Receiver, m Message) {
	began := time.Now()
	try, cancel := context.WithTimeout(ctx, r.limit())
	err := r.Way.Send(try, m)
	cancel()
	if ctx.Err() != nil && err != nil {
		return // we end; that says nothing about the receiver
	}
	now := time.Now()
	e := Event{At: now, What: Sent, Thread: m.Thread, Receiver: r.Name, Err: err, Took: now.Sub(began)}
	d.mu.Lock()
	s := d.state[r.Name]
	if s == nil {
		s = &receiverState{}
		d.state[r.Name] = s
	}
	if err != nil {
		e.What = Failed
		d.failed[r.Name]++
		e.Retry = s.fail(now, err)
		e.Tries = s.tries
	} else {
		e.Tries = s.tries + 1
		d.sent[r.Name]++
		*s = receiverState{arrived: now}
		d.noteHeard(now, r.Name, m)
		d.shorten(now)
		d.keeper.keep(d.snapshot())
	}
	d.mu.Unlock()
	d.tell(e)
}

// noteHeard keeps what a receiver knows now.
func (d *Desk) noteHeard(now time.Time, name string, m Message) {
	for _, t := range d.threads {
		if t.ID == m.Thread.ID && t.Began.Equal(m.Thread.Began) {
			t.Heard[name] = heard{Version: m.Thread.Version, Number: m.Number, At: now, Code: m.Thread.Code}
		}
	}
}

// Later is an error with the time after which a receiver wants to be tried again.
type Later struct {
	Err   error
	After time.Duration
}

// Error gives the reason.
func (l *Later) Error() string { return l.Err.Error() }

// Unwrap gives the cause.
func (l *Later) Unwrap() error { return l.Err }

// fail notes a try in vain and says how long to wait: twice as long each time, with jitter, so that many nodes don't come back in the same moment.
func (s *receiverState) fail(now time.Time, err error) time.Duration {
	s.tries++
	if s.tries == 1 {
		s.since = now
	}
	s.err = err.Error()
	wait := mostRetry
	if s.tries < 7 {
		wait = min(firstRetry<<(s.tries-1), mostRetry)
	}
	wait = wait/2 + rand.N(wait/2+1)
	var later *Later
	if errors.As(err, &later) {
		wait = min(max(wait, later.After), mostRetry)
	}
	s.retry = now.Add(wait)
	return wait
}
