// Package txn is the transactions of RFC 3261 §17 and RFC 6026 as pure machines, with all their deadlines in one [Table].
//
// A Table opens no socket, starts no goroutine and reads no clock. What happened is told to it by a method with the time at which it happened; what has to
// be done it appends to a slice of [Effect] values that the driver hands in and does in order. Messages are bytes to it and a flow is a type parameter:
// it never looks into either.
//
// It decides when a request, an ACK or a final refusal is repeated, which message is a repetition of another, and when a transaction is over. It does not
// build messages, choose flows, answer 100 by itself, or repeat the 2xx to an INVITE: that is the leg's (package leg), because a 2xx is end to end.
//
// # Driving it
//
// One goroutine owns a Table. It sleeps until [Table.Next], calls [Table.Tick], and in between reports messages:
//
//	eff = table.Request(now, txn.ClientKey(branch, "INVITE"), call, flow, true, false, bytes, 0, eff[:0])
//	for _, e := range eff { // Send: put e.Data on e.Flow; TimedOut, Failed: tell e.Owner
//
// The bytes given to a Table are kept, not copied, until it needs them no more, and come back in effects: nobody may write into them afterwards.
//
// Every transaction made by [Table.Request], [Table.Receive] or [Table.Restore] ends with exactly one [Ended], unless the driver says [Table.Forget].
// A CANCEL is a transaction of its own that nobody owns: it sends, repeats itself and disappears without a word.
package txn

import (
	"math"
	"time"
)

// Timers are the durations that everything else follows from (RFC 3261 §17.1.1.1 and table 4). Zero fields get the default.
type Timers struct {
	T1 time.Duration // round-trip estimate; 500 ms
	T2 time.Duration // longest interval between repetitions, of non-INVITE requests and of final refusals; 4 s
	T4 time.Duration // how long a message may live in the network; 5 s
	// Ring is how long an INVITE may stay between its last provisional and its final response before the transaction gives up; one hour. It is our
	// Timer C (RFC 3261 §16.6), so long because a room that rings is never given up: it only keeps a forgotten transaction from living for ever.
	Ring time.Duration
}

func (t Timers) withDefaults() Timers {
	if t.T1 == 0 {
		t.T1 = 500 * time.Millisecond
	}
	if t.T2 == 0 {
		t.T2 = 4 * time.Second
	}
	if t.T4 == 0 {
		t.T4 = 5 * time.Second
	}
	if t.Ring == 0 {
		t.Ring = time.Hour
	}
	return t
}

// EffectKind says what an [Effect] asks for.
type EffectKind uint8

// The kinds of effect.
const (
	// Send: put Data on Flow.
	Send EffectKind = iota
	// TimedOut: a client transaction got no final response in time (Timers B, F; 64·T1 after its CANCEL; [Timers.Ring]), or a server transaction's
	// final refusal was never ACKed (Timer H), or the driver never answered it. A client INVITE lingers after this and reports late responses as [Late].
	TimedOut
	// Failed: the flow of an unanswered client transaction broke, see [Table.Broken].
	Failed
	// Ended: the transaction is forgotten. It is the last effect of a transaction.
	Ended
)

// Effect is one thing to be done, or to be told to an owner.
type Effect[F any] struct {
	Kind  EffectKind
	Key   Key
	Owner uint64
	Flow  F
	Data  []byte // Send only
}

// State is where a transaction stands (RFC 3261 figures 5–8, RFC 6026 §7).
type State uint8

// The states.
const (
	// Trying: nothing has been heard (client; the RFC says Calling for INVITE) or said (server, non-INVITE).
	Trying State = iota + 1
	// Proceeding: a provisional response came or went, or may go (server INVITE).
	Proceeding
	// Accepted: a 2xx to INVITE came or went (RFC 6026).
	Accepted
	// Completed: another final response came or went.
	Completed
	// Confirmed: the ACK of a final refusal came.
	Confirmed
	// Expired: a client INVITE that timed out, remembered so that a late response still finds its owner.
	Expired
)

// String gives the state's name.
func (s State) String() string {
	switch s {
	case Trying:
		return "trying"
	case Proceeding:
		return "proceeding"
	case Accepted:
		return "accepted"
	case Completed:
		return "completed"
	case Confirmed:
		return "confirmed"
	case Expired:
		return "expired"
	}
	return "none"
}

// unanswered says that a final response is still missing.
func (s State) unanswered() bool { return s == Trying || s == Proceeding }

// role says which of the four machines an entry runs.
type role uint8

const (
	inviteClient role = iota
	client
	inviteServer
	server
)

// entry is one transaction. A finished one keeps little: key, the bytes it may have to repeat, flow and expiry.
type entry[F any] struct {
	key    Key
	owner  uint64
	flow   F
	data   []byte        // what is repeated: the request, the ACK of a refusal, or the last response
	again  int64         // when data is repeated next, or never
	end    int64         // when the present state ends; every entry has one
	queued int64         // when the queue looks at this entry next, or never
	every  time.Duration // the present interval of repetition
	gen    uint32        // counts the uses of this place, so that the queue notices that it was freed
	role   role
	state  State

	reliable  bool // the transport repeats for us
	rang      bool // a provisional response came (client INVITE)
	cancelled bool // a CANCEL was asked for
	late      bool // the owner has already been told that it timed out
	quiet     bool // a CANCEL: nobody owns it
}

// never is a deadline that does not come.
const never = math.MaxInt64

// Table holds transactions and their deadlines. It is owned by one goroutine.
type Table[F any] struct {
	timers  Timers
	linger  time.Duration // 64·T1
	epoch   time.Time     // all times inside are nanoseconds since this; it keeps the monotonic clock, so that a clock jump moves no deadline
	index   map[Key]uint32
	places  places[F]
	queue   queue
	cancels map[Key][]byte // CANCELs that wait for their INVITE's first provisional response
	counts  [4]Count
}

// New makes an empty table.
func New[F any](t Timers) *Table[F] {
	t = t.withDefaults()
	return &Table[F]{timers: t, linger: 64 * t.T1, index: map[Key]uint32{}, cancels: map[Key][]byte{}}
}

// at turns a time into the table's own clock.
func (t *Table[F]) at(now time.Time) int64 {
	if t.epoch.IsZero() {
		t.epoch = now
	}
	return int64(now.Sub(t.epoch))
}

// Next says when [Table.Tick] should be called; the zero time means that there is nothing to wait for. It may be earlier than anything happens.
func (t *Table[F]) Next() time.Time {
	for len(t.queue) > 0 {
		top := t.queue[0]
		if e := t.places.get(top.place); e.gen == top.gen && e.queued == top.at {
			return t.epoch.Add(time.Duration(top.at))
		}
		t.queue.pop() // its transaction is gone, or is looked at earlier
	}
	return time.Time{}
}

// Tick does what is due.
func (t *Table[F]) Tick(now time.Time, eff []Effect[F]) []Effect[F] {
	at := t.at(now)
	for len(t.queue) > 0 && t.queue[0].at <= at {
		top := t.queue.pop()
		e := t.places.get(top.place)
		if e.gen != top.gen || e.queued != top.at {
			continue
		}
		e.queued = never
		switch {
		case e.end <= at:
			eff = t.expire(at, top.place, e, eff)
		case e.again <= at:
			eff = t.repeat(at, e, eff)
		}
		if e.gen == top.gen {
			t.arm(at, top.place, e)
		}
	}
	return eff
}

// repeat sends an entry's data once more and chooses the next interval. A late Tick repeats once, not once per interval missed.
func (t *Table[F]) repeat(at int64, e *entry[F], eff []Effect[F]) []Effect[F] {
	e.every *= 2
	// RFC 3261 §17.1.1.2: Timer A doubles without limit. §17.1.2.2 and §17.2.1: E and G stop at T2; §17.1.2.2: once Proceeding, E is T2.
	if e.role != inviteClient && (e.every > t.timers.T2 || e.role == client && e.state == Proceeding) {
		e.every = t.timers.T2
	}
	e.again = at + int64(e.every)
	return append(eff, t.send(e, e.data))
}

// expire does what the end of an entry's present state means.
func (t *Table[F]) expire(at int64, place uint32, e *entry[F], eff []Effect[F]) []Effect[F] {
	switch e.role {
	case inviteClient:
		if e.state.unanswered() {
			// The RFC destroys the transaction here. We remember it for another 64·T1: a late 2xx must find its owner to be ACKed and hung up, and a late
			// 180 must still be answered by a CANCEL, or a phone rings for nobody.
			t.enter(e, Expired)
			e.late, e.data, e.again, e.end = true, nil, never, at+int64(t.linger)
			return append(eff, t.tell(TimedOut, e))
		}
	case inviteServer:
		if e.state.unanswered() || e.state == Completed { // Timer H
			eff = append(eff, t.tell(TimedOut, e))
		}
	case client, server:
		if e.state.unanswered() && !e.quiet {
			eff = append(eff, t.tell(TimedOut, e))
		}
	}
	return t.finish(place, e, eff)
}

// Count is how many transactions of one kind there are.
type Count struct {
	Live      int // without a final response
	Lingering int // finished, remembered for repetitions
}

// Counts is how many transactions there are of each kind.
type Counts struct {
	InviteClient, Client, InviteServer, Server Count
}

// Counts counts the transactions by kind.
func (t *Table[F]) Counts() Counts {
	return Counts{t.counts[inviteClient], t.counts[client], t.counts[inviteServer], t.counts[server]}
}

// Len is how many transactions there are.
func (t *Table[F]) Len() int { return len(t.index) }

// Info is what is known of one transaction.
type Info[F any] struct {
	Owner  uint64
	Flow   F
	State  State
	Client bool
	Invite bool
}

// Find looks a transaction up: for a CANCEL from a peer, ServerKey(branch, sentBy, "INVITE") finds what it cancels, and State says whether that can still be
// cancelled (Proceeding). RFC 3261 §9.2: found or not decides between 200 and 481.
func (t *Table[F]) Find(key Key) (Info[F], bool) {
	_, e := t.find(key)
	if e == nil {
		return Info[F]{}, false
	}
	return Info[F]{e.owner, e.flow, e.state, e.role == client || e.role == inviteClient, e.role == inviteClient || e.role == inviteServer}, true
}

// Forget ends a transaction without any effect, and with it a CANCEL that waits for it. It says whether there was one.
func (t *Table[F]) Forget(key Key) bool {
	place, e := t.find(key)
	if e == nil {
		return false
	}
	t.free(place, e)
	return true
}

// Move puts a transaction on another flow: a TCP connection broke and was dialled again (RFC 3261 §18.2.2), say. Nothing is sent.
func (t *Table[F]) Move(key Key, flow F) bool {
	_, e := t.find(key)
	if e == nil {
		return false
	}
	e.flow = flow
	return true
}

// Broken ends every unanswered client transaction whose flow matches, with [Failed] and [Ended]. Server transactions stay: their answers may go another way
// ([Table.Move]). It looks at every transaction, so call it only for flows that carried requests.
func (t *Table[F]) Broken(match func(F) bool, eff []Effect[F]) []Effect[F] {
	for place := range t.places.used {
		e := t.places.get(place)
		if e.state == 0 || !e.state.unanswered() || e.role != client && e.role != inviteClient || !match(e.flow) {
			continue
		}
		if !e.quiet {
			eff = append(eff, t.tell(Failed, e))
		}
		eff = t.finish(place, e, eff)
	}
	return eff
}

func (t *Table[F]) find(key Key) (uint32, *entry[F]) {
	place, ok := t.index[key]
	if !ok {
		return 0, nil
	}
	return place, t.places.get(place)
}

// add makes an entry. It has no deadline yet: the caller sets end and arms it.
func (t *Table[F]) add(key Key, r role, s State, owner uint64, flow F, reliable bool) (uint32, *entry[F]) {
	place, e := t.places.take()
	*e = entry[F]{key: key, owner: owner, flow: flow, again: never, end: never, queued: never, gen: e.gen, role: r, state: s, reliable: reliable}
	t.index[key] = place
	t.counts[r].Live++
	return place, e
}

// enter changes an entry's state and keeps the counts right.
func (t *Table[F]) enter(e *entry[F], s State) {
	if e.state.unanswered() && !s.unanswered() {
		t.counts[e.role].Live--
		t.counts[e.role].Lingering++
	}
	e.state = s
}

// finish frees an entry and says so.
func (t *Table[F]) finish(place uint32, e *entry[F], eff []Effect[F]) []Effect[F] {
	if !e.quiet {
		eff = append(eff, t.tell(Ended, e))
	}
	t.free(place, e)
	return eff
}

func (t *Table[F]) free(place uint32, e *entry[F]) {
	if e.state.unanswered() {
		t.counts[e.role].Live--
	} else {
		t.counts[e.role].Lingering--
	}
	delete(t.index, e.key)
	if e.cancelled {
		delete(t.cancels, e.key)
	}
	t.places.release(place, e)
}

func (t *Table[F]) tell(kind EffectKind, e *entry[F]) Effect[F] {
	return Effect[F]{Kind: kind, Key: e.key, Owner: e.owner, Flow: e.flow}
}

func (t *Table[F]) send(e *entry[F], data []byte) Effect[F] {
	return Effect[F]{Kind: Send, Key: e.key, Owner: e.owner, Flow: e.flow, Data: data}
}
