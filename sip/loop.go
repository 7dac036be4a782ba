package sip

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"nines/call"
	"nines/health"
	"nines/media"
	"nines/policy"
	"nines/sip/txn"
	"nines/sip/wire"
)

// loop owns calls. Everything below its inbox is touched by its own goroutine only.
type loop struct {
	n   int
	s   *Server
	log zerolog.Logger
	rnd *rand.Rand

	mu     sync.Mutex
	inbox  []item
	spare  []item
	wakeup chan struct{}

	txns     *txn.Table[wire.Flow]
	effects  []txn.Effect[wire.Flow]
	applied  int // how many of the effects are done
	applying bool
	current  *session             // the call that was touched last, for faults
	waiting  map[txn.Key]pending  // who gets the responses to our requests
	invites  map[txn.Key]*session // calls by their caller's INVITE, for CANCEL
	unproven map[txn.Key]*session // of them, those of strangers whose address is not proven
	calls    map[uint64]*session
	next     uint64 // number of the next call
	alarms   alarms
	dirty    []*session
	out      []wire.Out
	trace    trace

	watched   []*session          // the calls that talk, whose media is looked at
	lookAt    time.Time           // when that is done next; zero: nothing talks
	stats     []media.StreamStats // memory for a look at a side
	voidUntil time.Time           // no witness counts before this (R13)

	judge  *health.Judge                  // loop 0 only
	missed map[policy.EndpointName]missed // and how endpoints missed their latest probe
	due    time.Time                      // when the loop meant to wake, to notice its own stalls

	widened map[policy.EndpointName]time.Time // when a connection for large requests is tried next

	toldHeard int64     // the last time that the judge was told about
	selfSaid  time.Time // when the calls were last told that we suspect ourselves
}

// item is one thing in the inbox: a packet, or something to do.
type item struct {
	packet wire.Packet
	do     func(now time.Time)
}

// waiter is whoever sent a request and waits for its responses.
type waiter interface {
	// response is called for every response that is not a repeat; a 2xx to an INVITE also when it repeats.
	response(now time.Time, m *wire.Message, flow wire.Flow)
	// failed is called when no final response came in time, or when the connection broke.
	failed(now time.Time, why failure)
	// icmp is called when an ICMP error came back for the request.
	icmp(now time.Time)
}

// pending is a request that waits, and the flow it went by.
type pending struct {
	waiter
	flow wire.Flow
}

type failure uint8

const (
	timedOut failure = iota
	broken
)

func newLoop(s *Server, n int, rnd *rand.Rand) *loop {
	return &loop{
		n: n, s: s, log: s.log, rnd: rnd,
		wakeup:  make(chan struct{}, 1),
		txns:    txn.New[wire.Flow](txn.Timers{}),
		waiting: map[txn.Key]pending{},
		invites: map[txn.Key]*session{}, unproven: map[txn.Key]*session{},
		calls:  map[uint64]*session{},
		missed: map[policy.EndpointName]missed{},
		trace:  trace{calls: map[uint64]traced{}},
	}
}

// packets puts messages into the inbox. It is called by the sockets' readers.
func (l *loop) packets(batch []wire.Packet) {
	l.mu.Lock()
	wasEmpty := len(l.inbox) == 0
	for i := range batch {
		if len(l.inbox) >= maxInbox {
			l.s.count.overflow.Add(1)
			continue
		}
		l.inbox = append(l.inbox, item{packet: batch[i]})
	}
	l.mu.Unlock()
	if wasEmpty {
		l.ring()
	}
}

// maxInbox bounds what a flood can make us hold. Peers repeat what is dropped.
const maxInbox = 65536

// post gives the loop something to do.
func (l *loop) post(do func(now time.Time)) {
	l.mu.Lock()
	l.inbox = append(l.inbox, item{do: do})
	l.mu.Unlock()
	l.ring()
}

func (l *loop) ring() {
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
}

// run is the loop's life. It ends with ctx.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		l.turn(now)
		wait := time.Hour
		l.due = time.Time{}
		if next := l.nextDeadline(); !next.IsZero() {
			wait = max(time.Until(next), grain)
			l.due = next // also when it is over already: a turn that takes too long is a stall of ours as well
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-l.wakeup:
		case <-timer.C:
		}
	}
}

// grain is how often timers alone may wake the loop. Most deadlines are those of lingering transactions, six a call; waking for each of them costs
// more than the calls do, and a patience of 305 ms is as good as one of 300.
const grain = 5 * time.Millisecond

// turn takes everything that is in the inbox, then everything that is due, then writes.
func (l *loop) turn(now time.Time) {
	l.trace.now = now
	if !l.due.IsZero() {
		if late := now.Sub(l.due); late >= stall {
			l.stalled(now, late)
		}
	}
	l.mu.Lock()
	batch := l.inbox
	l.inbox = l.spare[:0]
	l.mu.Unlock()
	for i := range batch {
		l.one(now, &batch[i])
		if len(l.out) >= 64 {
			l.flush()
		}
	}
	clear(batch)
	l.mu.Lock()
	l.spare = batch[:0]
	l.mu.Unlock()
	l.tick(now)
	l.flush()
}

// stall is how late a tick may be before we distrust our own evidence (R13).
const stall = 300 * time.Millisecond

// one handles one item. A broken invariant of ours costs the message, never the loop.
func (l *loop) one(now time.Time, it *item) {
	defer func() {
		if r := recover(); r != nil {
			l.unwind(now, "a message", r)
		}
		l.settle()
	}()
	l.current = nil
	if it.do != nil {
		it.do(now)
		return
	}
	l.trace.packet = &it.packet
	l.receive(now, it.packet)
}

func (l *loop) tick(now time.Time) {
	defer func() {
		if r := recover(); r != nil {
			l.unwind(now, "a timer", r)
		}
		l.settle()
	}()
	l.current = nil
	if next := l.txns.Next(); !next.IsZero() && !next.After(now) {
		l.effects = l.txns.Tick(now, l.effects)
		for i := range l.effects {
			if l.effects[i].Kind == txn.Send {
				l.s.count.resent.Add(1)
			}
		}
		l.apply(now)
	}
	for len(l.alarms) > 0 && !l.alarms[0].at.After(now) {
		a := heap.Pop(&l.alarms).(alarm)
		if s := l.calls[a.call]; s != nil && s.alarm.Equal(a.at) {
			s.alarm = time.Time{}
			l.touch(s) // before the tick: a call that meets a fault of ours still gets its next alarm
			s.tick(now)
		}
	}
	if due(now, l.lookAt) {
		l.lookAround(now)
	}
	if l.judge != nil {
		l.watchTick(now)
	}
}

func (l *loop) nextDeadline() time.Time {
	next := l.txns.Next()
	if len(l.alarms) > 0 {
		next = earliest(next, l.alarms[0].at)
	}
	if l.judge != nil {
		next = earliest(next, l.judge.Next())
	}
	return earliest(next, l.lookAt)
}

// due says whether a deadline has come; zero means never.
func due(now, deadline time.Time) bool { return !deadline.IsZero() && !deadline.After(now) }

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// touch says that a call may have a new deadline.
func (l *loop) touch(s *session) {
	l.current = s
	if !s.touched {
		s.touched = true
		l.dirty = append(l.dirty, s)
	}
}

// settle sets the alarms of the calls that were touched and forgets those that are done.
func (l *loop) settle() {
	for len(l.dirty) > 0 {
		s := l.dirty[len(l.dirty)-1]
		l.dirty = l.dirty[:len(l.dirty)-1]
		s.touched = false
		l.settleOne(s)
	}
}

func (l *loop) settleOne(s *session) {
	defer func() {
		if r := recover(); r != nil {
			l.fault("the end of a step", r)
		}
	}()
	if s.forgettable() {
		l.forget(s)
		return
	}
	wake := s.wake()
	if wake.IsZero() {
		return
	}
	if wake.Before(s.rest) {
		wake = s.rest
	}
	if s.alarm.IsZero() || wake.Before(s.alarm) {
		s.alarm = wake
		heap.Push(&l.alarms, alarm{at: wake, call: s.id})
	}
}

// apply does what the transactions say. What a waiter starts meanwhile is appended and done in its turn.
func (l *loop) apply(now time.Time) {
	if l.applying {
		return
	}
	l.applying = true
	for l.applied < len(l.effects) {
		e := l.effects[l.applied]
		l.applied++
		switch e.Kind {
		case txn.Send:
			if len(l.unproven) > 0 && !l.unproven[e.Key].affords(e.Data) {
				continue
			}
			l.send(e.Flow, e.Data)
		case txn.TimedOut, txn.Failed:
			if w, ok := l.waiting[e.Key]; ok { // it stays until Ended: an INVITE may be answered late
				w.failed(now, timedOut)
			}
		case txn.Ended:
			l.ended(e.Key)
		}
	}
	clear(l.effects)
	l.effects, l.applied = l.effects[:0], 0
	l.applying = false
}

// ended forgets a transaction.
func (l *loop) ended(key txn.Key) {
	if w, ok := l.waiting[key]; ok {
		delete(l.waiting, key)
		if d, ok := w.waiter.(interface{ done() }); ok {
			d.done()
		}
	}
	delete(l.unproven, key)
	if s, ok := l.invites[key]; ok {
		delete(l.invites, key)
		s.callerDone = true
		l.touch(s)
	}
}

// unwind makes the loop usable again after a panic: it costs the call that met it, and that call's media stays.
func (l *loop) unwind(now time.Time, what string, r any) {
	l.fault(what, r)
	if s := l.current; s != nil {
		s.faulted(now)
	}
	for l.applying { // the transactions of other calls have things to say yet
		l.applying = false
		l.resume(now)
	}
}

// resume goes on with what the transactions said behind the effect that met a fault.
func (l *loop) resume(now time.Time) {
	defer func() {
		if r := recover(); r != nil {
			l.fault("a transaction", r)
		}
	}()
	l.apply(now)
}

// fault counts a broken invariant of ours and writes it down.
func (l *loop) fault(what string, r any) {
	l.s.count.panics.Add(1)
	log := l.log
	if l.current != nil {
		log = l.current.log
	}
	log.Error().Str("panic", fmt.Sprint(r)).Bytes("stack", debug.Stack()).Msg(what + " broke an invariant of ours; the calls go on")
}

// meet lets a test break an invariant.
func (l *loop) meet(what any) {
	if f := l.s.breaks.Load(); f != nil {
		(*f)(what)
	}
}

// send queues one message; flush writes them all.
func (l *loop) send(f wire.Flow, data []byte) {
	if len(data) > 0 && f.Remote.IsValid() {
		l.out = append(l.out, wire.Out{Flow: f, Data: data})
		if len(l.trace.calls) > 0 {
			l.sent(f, data)
		}
	}
}

func (l *loop) flush() {
	if len(l.out) > 0 {
		l.s.stack.Send(l.out)
		clear(l.out)
		l.out = l.out[:0]
	}
}

// request starts a client transaction.
func (l *loop) request(now time.Time, method, branch string, flow wire.Flow, msg []byte, timeout time.Duration, w waiter) txn.Key {
	key := txn.ClientKey(branch, method)
	l.waiting[key] = pending{w, flow}
	l.effects = l.txns.Request(now, key, 0, flow, method == "INVITE", flow.Proto != wire.UDP, msg, timeout, l.effects)
	l.apply(now)
	return key
}

// respond sends a response on a server transaction.
func (l *loop) respond(now time.Time, key txn.Key, code int, msg []byte) {
	l.effects = l.txns.Respond(now, key, code, msg, l.effects)
	l.apply(now)
}

// icmp tells the request that an error came back for.
func (l *loop) icmp(now time.Time, branch string, e wire.ICMP) {
	for _, method := range [...]string{"INVITE", "OPTIONS", "BYE"} {
		if w, ok := l.waiting[txn.ClientKey(branch, method)]; ok {
			l.log.Debug().Stringer("to", e.Flow.Remote).AnErr("error", e.Err).Str("method", method).Msg("icmp in answer to our request")
			w.icmp(now)
			return
		}
	}
}

// closed ends the requests that were on a stream that broke.
func (l *loop) closed(now time.Time, f wire.Flow, err error) {
	l.log.Debug().Stringer("peer", f.Remote).AnErr("error", err).Msg("connection ended")
	var keys []txn.Key
	for key, w := range l.waiting {
		if w.flow == f {
			keys = append(keys, key)
		}
	}
	for _, s := range l.sorted() {
		s.broke(f)
		if s.winner != nil && !s.over && s.winner.flow == f {
			s.feed(now, call.Condemned{On: true, Why: "the connection to " + s.winner.named() + " was reset"})
		}
	}
	slices.Sort(keys) // a night is replayed in the same order
	for _, key := range keys {
		w := l.waiting[key]
		if o, ok := w.waiter.(outliver); ok && o.outlives(now) {
			continue
		}
		delete(l.waiting, key)
		l.txns.Forget(key)
		w.failed(now, broken)
	}
}

// move puts a request of ours that still waits on another connection.
func (l *loop) move(key txn.Key, f wire.Flow) bool {
	w, ok := l.waiting[key]
	if !ok || !l.txns.Move(key, f) {
		return false
	}
	l.waiting[key] = pending{w.waiter, f}
	return true
}

// outliver is a request that may be answered by another connection than the one that it went by.
type outliver interface {
	outlives(now time.Time) bool
}

// alarms is a heap of the calls' deadlines; an entry that its call no longer means is skipped.
type alarms []alarm

type alarm struct {
	at   time.Time
	call uint64 // not a pointer: an alarm must not keep the memory of a call that is over
}

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*a = old[:len(old)-1]
	return x
}
