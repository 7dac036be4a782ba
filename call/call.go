// Package call decides what happens to one call.
//
// A [Call] is a state machine with no hands: it opens no socket, starts no goroutine and reads no clock. What happens is told to it as an
// [Event]; what it wants done it returns as [Action] values, in the order they must be done. Between events the driver sleeps until
// [Call.Wake] and then says [Tick].
//
// It knows nothing of SIP messages: SDP is opaque to it and stays with the driver, keyed by attempt. Transactions repeat themselves (sip/txn), a leg
// repeats its 2xx (sip/leg); the ladder, give-up and the races between answer, cancel and timer are decided here.
//
// # The ladder
//
// The plan's steps are turns in a queue. The first is asked when [Planned] comes. After that nobody is asked without a reason, and a reason asks
// one endpoint: the first turn in plan order that it allows.
//
//   - Gone silent: no response for the step's patience, or no ringing for the plan's progress, both from our INVITE; [Unreachable]; [Died]. The
//     attempt lives on and its 200 still wins. Any turn may be next.
//   - Refused: a final refusal, a failure of the way there, a 2xx without a usable answer, [Full]. Any turn may be next, at once. An attempt that
//     had gone silent before has given its reason already. A redirect that is followed puts its contacts (three at most, one hop) in front of the
//     queue as turns of the same step.
//   - Rang for the plan's ringing, from the attempt's first 18x: the next own room may be asked.
//   - Rang for the plan's ringing to partners (a partner: for 20 s): the next partner may be asked.
//
// Own rooms may ring together. A partner waits, and its reason with it, while an own room is hoped for (it rings, or it was asked and has not
// gone silent), unless an own room has rung for ringing to partners; and while another partner is hoped for, unless that has rung for 20 s.
// So mere ringing or a fresh ask never leads to a partner while there is hope at home, and a death at home lets the partner be asked at once.
//
// Ringing is 180 to 183 at an own room and 180 only at a partner, whose 183 may be an announcement. An attempt that had gone silent or died and then
// rings is hoped for again, and its ringing counts anew. ICMP does not end ringing, because anybody can send it; [Died] does.
//
// At most three attempts count. When a fourth is due the oldest that has not rung is told to stop (else the oldest that rang and died); it counts no more, but its 200 wins while
// nobody has answered. When all three ring the fourth waits. Without overlap every ask stops what was asked before. An attempt that was told to stop
// in vain, because it had not said a word yet, and wakes when nobody else is hoped for, counts again: a call that rings is never given up.
//
// An endpoint that is full comes back to the end of the queue, to be tried when it allows; without a time for that it is busy. Our own count is
// not the callee's word: it never ends the asking.
//
// # The end
//
// The first usable answer wins: the caller's media is aimed, the caller is answered, the others are told to stop, in this order. Whatever
// answers later is discarded, after the call's end too. Before an answer a call ends with one refusal to the caller, when
//
//   - the caller cancels (487),
//   - everybody in the plan has refused: nobody counts and no turn is left,
//   - nothing has rung anywhere for the plan's give-up; time in which something rings does not count, and ringing that ends starts it anew,
//   - everybody was asked, and four seconds after the last ask nobody who counts has sent even a 100 since its own ask or death,
//   - a refusal ended the asking (routine only) and nobody is hoped for any more.
//
// The code is policy's, except 487. An event is judged before the deadlines that came due with it, so whatever speaks for the caller wins.
//
// # A talking call
//
// Where the plan says Rescue, a call that talks looks for the loss of its endpoint (R20). Three witnesses are heard:
//
//   - (a) its media has stopped: [Hushed], until [Voiced]. It doesn't matter whether there ever was a packet.
//   - (b) its signalling is dead: two Checks in a row are, sent a second apart, or 200 ms where ICMP answered the first and its media port sent ICMP too.
//   - (c) its verdict is down or its connection was reset: [Condemned].
//
// It is lost on (a) with (b) or (c). An endpoint that SDP tells not to send ([Muted]) is lost on (b) with (c), when both have spoken for ten seconds.
// No one witness is enough, and media goes before signalling: a packet takes back (a) and (b), and what is in doubt is in doubt from the beginning.
// Nobody is lost before the caller's ACK.
//
// A Check is sent at once when (a) arises, or when a muted endpoint is condemned; without doubt there is none. A dead one is followed after a second,
// a living one after five, for as long as the doubt lasts; one whose outcome never comes, after five. ICMP that comes after mere silence is a reason
// to check at once. One Check is out at a time, and one that was sent before the doubt arose tells nothing.
//
// While we could not see ([Voided]) nothing is witnessed: dead Checks and verdicts of before its end don't count, silence that lasts is doubted anew.
//
// A BYE ends the call, unless it is suspicious and the plan says RescueBye (R23). Then the caller's BYE is withheld for 700 ms: a condemnation in this time
// is the loss of the endpoint; its withdrawal, a BYE without suspicion or the end of the time is an honest end. What the dialog and the media tell
// meanwhile says nothing, because 481 and stragglers follow every BYE.
//
// # The rescue
//
// The caller's dialog stays and nothing is sent on it: no 18x, no answer, no refusal (R21). A plan is asked for and its ladder is climbed as in the set-up,
// with the same patience, partners and three attempts. The lost endpoint is asked like any other. The first usable answer takes its place, the lost
// one is abandoned, the others are told to stop. An attempt that was told to stop in this rescue may still win, in a later round too; one that was told
// so before the loss, or by a rescue that is over, does not.
//
// When a room dies all its calls look for another at once, and the driver asks each endpoint no faster than it answers. An attempt that is [HeldBack] is as
// good as one that has said 100: others are asked as well after the plan's progress. Its own patience begins when it has [Left].
//
// When all have refused, or the set-up would have been given up, the round has failed: after a pause of 1, 2 and then always 5 seconds a fresh plan is
// asked for, for as long as the caller stays; who waits its turn at a full endpoint pauses half a second only. What rings is never given up. Routine calls go the same way: whom they may ask is their plan's matter.
// A plan that does not come within a second is asked for again.
//
// The lost endpoint keeps the call if it sends again before anybody has answered; a muted one, which is checked every five seconds, if it answers. Once
// it has said BYE it can't; that BYE touches nothing else. The rescue ends with its caller too, and then LostTalking says that the caller must be called
// back; so it does when the caller leaves silence and a first dead Check behind. After a rescue everything starts again with the new endpoint.
//
// # Aside
//
// Where nobody takes a routine call, the plan's Otherwise follows, step by step (R24): it waits in the line of its route, is announced to, is diverted to
// others, or is refused. A callee's own refusal (busy, declined, wrong number) goes back to the caller as long as all endpoints of the route are
// well (R6). An emergency call is never turned aside, whatever its plan says.
//
// Who waits asks for its turn ([NeedPlan] with Turn), again and again when [Waits] says so, and keeps its place when the turn led nowhere. Who is announced to
// has our own 200 from [Announced] on (Taken), or hears early media. From then on whoever answers takes the call over by [Replace], as in a rescue.
//
// The key that an announcement names makes an emergency of the call ([Escaping]): it is planned on another route, the caller hears ringing, and if nobody
// answers all are asked again for as long as the caller stays. So does the way of the text relay, but there a caller who has no answer yet is refused
// like any other emergency. A routine call that was lost while it talked goes aside when the first round of its rescue has failed.
//
// # The driver's contract
//
// Do the actions in order before the next Step. Report each attempt's 100, first 2xx and final refusal once, and each 18x. After [Over] the call
// wants nothing, but it may still be told of late answers, and it returns a [Discard] for each.
//
// Testimony is about the endpoint that is bound to the caller, which is the lost one during a rescue. From [Answer] and from [Replace] on the driver says
// what holds of the new one: Muted and Condemned if they are so, Hushed when its media does not come. It says Hushed once for each silence, and Voiced
// when a packet comes after it; of a muted endpoint it says Voiced when packets came while a Check was out, before its outcome. A connection that was
// reset condemns only until the endpoint has been heard again: the driver withdraws it. An attempt that was stopped with Elsewhere will not be used
// again; any other one must stay usable until its final response, or until Kept, Replace or Over.
package call

import (
	"time"

	"nines/policy"
)

// Params is what a call knows that is not in its plan.
type Params struct {
	// Class says how the call is treated while it has no plan. A plan may raise it to Emergency, never lower it.
	Class policy.Class
}

// Phase is how far a call has come. The numbers are stored: add at the end.
type Phase uint8

// The phases.
const (
	PhasePlanning Phase = iota // waits for its plan
	PhaseAsking                // endpoints are asked
	PhaseAnswered              // the caller has our 200, we don't have its ACK
	PhaseTalking               // confirmed
	PhaseOver                  // ended
	PhaseRescuing              // its endpoint is lost, or it was answered by us alone; others are asked
	PhaseAside                 // nobody has taken it: it waits, is announced to, or wants a plan for what follows (R24)
)

// Call is the fate of one call. It is plain data: encoding/json writes it down and reads it back, and the copy goes on where the first one stood.
// One goroutine owns a call; the zero value is an emergency call that waits for its plan. The fields are for storing and showing, only Step changes
// them.
type Call struct {
	Class    policy.Class
	Phase    Phase
	Plan     policy.Plan
	Turns    []Turn    `json:",omitempty"` // who may still be asked, in order
	Attempts []Attempt `json:",omitempty"` // who was asked, in order
	Reasons  []Reason  `json:",omitempty"` // reasons to ask that wait for a turn
	Last     AttemptID // the number of the latest attempt
	Winner   AttemptID `json:",omitempty"` // who is bound to the caller
	Heard    AttemptID `json:",omitempty"` // whose early media the caller hears (R44)
	Codes    []int     `json:",omitempty"` // how endpoints refused, each code once
	Closed   bool      `json:",omitempty"` // a refusal ended the asking
	Rung     bool      `json:",omitempty"` // the caller has a 180
	AskedAt  time.Time `json:",omitzero"`  // the latest ask
	QuietAt  time.Time `json:",omitzero"`  // since when nothing rings; zero while something does
	RingAt   time.Time `json:",omitzero"`  // when the caller last got an 18x that said ringing
	Why      string    `json:",omitempty"` // why it is over

	Watch       Watch            `json:",omitzero"`  // what speaks for the loss of the endpoint that talks
	Rescue      Rescue           `json:",omitzero"`  // how far the search for another has come
	Aside       Aside            `json:",omitzero"`  // what becomes of it when nobody takes it
	Taken       bool             `json:",omitempty"` // the caller has a 200 of ours that no endpoint stands behind
	Acked       bool             `json:",omitempty"` // and has acknowledged it
	Escaped     policy.RouteName `json:",omitempty"` // it has become an emergency on this route (R25)
	LostTalking bool             `json:",omitempty"` // it ended while nobody talked to the caller any more: for the call-back list (R34)

	out []Action // what the current Step returns; the memory is kept for the next one
}

// New returns a call that waits for its [Planned] event.
func New(p Params) *Call {
	return &Call{Class: p.Class}
}

// Step tells the call what happened and returns what to do about it, in order. The slice is the call's own and is overwritten by the next Step, so an
// event that comes up while actions are done waits until all of them are.
func (c *Call) Step(now time.Time, ev Event) []Action {
	c.out = c.out[:0]
	switch ev := ev.(type) {
	case Planned:
		c.planned(now, ev)
	case Trying:
		c.trying(ev)
	case Rang:
		c.rang(now, ev)
	case Answered:
		c.answered(ev)
	case Refused:
		c.refused(ev)
	case Unreachable:
		c.unreachable(ev)
	case Died:
		c.died(now, ev)
	case Woke:
		c.woke(ev)
	case Full:
		c.full(now, ev)
	case HeldBack:
		c.heldBack(ev)
	case Left:
		c.left(now, ev)
	case Cancelled:
		c.cancelled()
	case Confirmed:
		c.confirmed()
	case NeverAcked:
		c.neverAcked()
	case HungUp:
		c.hungUp(now, ev)
	case Lost:
		c.lost(now, ev)
	case Hushed:
		c.hushed(now, ev)
	case Voiced:
		c.voiced(now)
	case Muted:
		c.muted(now, ev)
	case Checked:
		c.checked(now, ev)
	case Condemned:
		c.condemned(now, ev)
	case Voided:
		c.voided(ev)
	case Waits:
		c.waits(now, ev)
	case Announced:
		c.announced()
	case Played:
		c.played(now)
	case Unplayable:
		c.unplayable(now, ev)
	case Pressed:
		c.pressed(now, ev)
	case Tick:
		// Nothing happened but time: the deadlines are judged below.
	}
	switch c.Phase {
	case PhaseAsking:
		c.climb(now)
	case PhaseAnswered, PhaseTalking:
		c.watch(now)
	case PhaseRescuing:
		c.search(now)
	case PhaseAside:
		c.linger(now)
	case PhasePlanning, PhaseOver:
		// No deadline.
	}
	return c.out
}

// Wake says when the call wants a [Tick] if nothing else happens before. Zero: nothing to wait for.
func (c *Call) Wake() time.Time {
	switch c.Phase {
	case PhaseAsking:
		return c.climbAt()
	case PhaseAnswered, PhaseTalking:
		return c.watchAt()
	case PhaseRescuing:
		return c.searchAt()
	case PhaseAside:
		return c.lingerAt()
	case PhasePlanning, PhaseOver:
		return time.Time{}
	}
	return time.Time{}
}

// climbAt says when the ladder has something to do.
func (c *Call) climbAt() time.Time {
	var w waker
	for i := range c.Attempts {
		a := &c.Attempts[i]
		w.at(c.silentAt(a))
		w.at(c.rungOwnAt(a))
		w.at(c.rungOutAt(a))
		w.at(c.asWellAt(a))
	}
	for i := range c.Turns {
		w.at(c.Turns[i].NotBefore)
	}
	w.at(c.giveUpAt())
	w.at(c.muteAt())
	if c.Phase == PhaseAsking {
		w.at(c.ringAgainAt())
	}
	return w.next
}

// waker keeps the earliest of the times it is told; zero means never.
type waker struct{ next time.Time }

func (w *waker) at(t time.Time) {
	if t.IsZero() {
		return
	}
	if w.next.IsZero() || t.Before(w.next) {
		w.next = t
	}
}

// due says whether a deadline has come; zero means never.
func due(now, deadline time.Time) bool {
	return !deadline.IsZero() && !now.Before(deadline)
}

// do adds an action to what the current Step returns.
func (c *Call) do(a Action) {
	c.out = append(c.out, a)
}
