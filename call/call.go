// Package call decides what happens to one call.
//
// A [Call] is a state machine with no hands: it opens no socket, starts no goroutine and reads no clock. What happens is told to it as an
// [Event]; what it wants done it returns as [Action] values, in the order they must be done. Between events the driver sleeps until
// [Call.Wake] and then says [Tick].
//
// It knows nothing of SIP messages: SDP is opaque to it and stays with the driver, keyed by attempt. Transactions repeat themselves (sip/txn), a leg
// repeats its 2xx (sip/leg); the ladder, give-up and the races between answer, cancel and timer are decided here.
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

// Call is the fate of one call. It is plain data: encoding/json writes it down and reads it back, and the copy goes on where the first one stood.
// One goroutine owns a call; the zero value is an emergency call that waits for its plan.
type Call struct {
	Class policy.Class
	Plan  policy.Plan

	out []Action // what the current Step returns; the memory is kept for the next one
}

// New returns a call that waits for its [Planned] event.
func New(p Params) *Call {
	return &Call{Class: p.Class}
}

// Step tells the call what happened and returns what to do about it, in order. The slice is the call's own and is overwritten by the next Step.
func (c *Call) Step(now time.Time, ev Event) []Action {
	c.out = c.out[:0]
	return c.out
}

// Wake says when the call wants a [Tick] if nothing else happens before. Zero: nothing to wait for.
func (c *Call) Wake() time.Time {
	return time.Time{}
}
