package call

import (
	"time"

	"nines/policy"
)

// State is what has become of an attempt. The numbers are stored: add at the end.
type State uint8

// The states. Asked and Ringing count; the others don't.
const (
	StateAsked   State = iota // asked, does not ring
	StateRinging              // rings
	StateStopped              // told to stop; a 200 from it wins while nobody has answered
	StateWon                  // bound to the caller
	StateEnded                // refused, or discarded
)

// Attempt is one INVITE to one endpoint. An endpoint that was full was not asked and leaves no attempt behind.
type Attempt struct {
	ID      AttemptID
	Step    int                 // index into Plan.Steps; -1: it is of an earlier plan
	Was     policy.EndpointName `json:",omitempty"` // its endpoint, if it is of an earlier plan
	Target  string              `json:",omitempty"` // a contact of a followed redirect; else the endpoint's own URI
	State   State
	Heard   bool      `json:",omitempty"` // it has sent a 1xx and has not died since
	Silent  bool      `json:",omitempty"` // it has gone silent and given its reason
	RungOwn bool      `json:",omitempty"` // it has rung long enough for the next own room
	RungOut bool      `json:",omitempty"` // it has rung long enough for a partner
	AsWell  bool      `json:",omitempty"` // it is on trial and has had its time: others are asked as well (R17)
	Held    bool      `json:",omitempty"` // its INVITE waits for its turn among other rescues
	AskedAt time.Time // when the INVITE was due to leave
	MuteAt  time.Time // since when it has sent nothing, unless it is Heard: its ask, or its death
	RangAt  time.Time `json:",omitzero"` // when it began to ring
}

// counts says whether the attempt is one of those the call goes by.
func (a *Attempt) counts() bool {
	return a.State == StateAsked || a.State == StateRinging
}

// hopeful says whether the attempt may still turn out well without anybody else being asked.
func (a *Attempt) hopeful() bool {
	return !a.AsWell && (a.State == StateRinging || a.State == StateAsked && !a.Silent)
}

// find returns an attempt by number, or nil.
func (c *Call) find(id AttemptID) *Attempt {
	for i := range c.Attempts {
		if c.Attempts[i].ID == id {
			return &c.Attempts[i]
		}
	}
	return nil
}

// live returns an attempt that counts, or nil. None does when nobody is asked any more: the winner is bound and the others are stopped.
func (c *Call) live(id AttemptID) *Attempt {
	a := c.find(id)
	if a == nil || !a.counts() {
		return nil
	}
	return a
}

// counting returns how many attempts count.
func (c *Call) counting() int {
	n := 0
	for i := range c.Attempts {
		if c.Attempts[i].counts() {
			n++
		}
	}
	return n
}

func (c *Call) step(a *Attempt) *policy.Step {
	return &c.Plan.Steps[a.Step]
}

func (c *Call) name(a *Attempt) policy.EndpointName {
	if a.Was != "" {
		return a.Was
	}
	return c.step(a).Endpoint
}

func (c *Call) patience(a *Attempt) time.Duration {
	if p := c.step(a).Patience; p > 0 {
		return p
	}
	return defaultPatience
}

// silentAt says when an attempt goes silent: both delays count from our INVITE (R6). Zero: not in its present state.
func (c *Call) silentAt(a *Attempt) time.Time {
	switch {
	case a.State != StateAsked || a.Silent:
		return time.Time{}
	case a.Heard, a.Held:
		return a.AskedAt.Add(c.Plan.Progress)
	default:
		return a.AskedAt.Add(c.patience(a))
	}
}

// rungOwnAt says when an attempt has rung long enough for the next own room. Zero: never, or passed.
func (c *Call) rungOwnAt(a *Attempt) time.Time {
	if a.State != StateRinging || a.RungOwn || c.Plan.Ringing <= 0 {
		return time.Time{}
	}
	return a.RangAt.Add(c.Plan.Ringing)
}

// rungOutAt says when an attempt has rung long enough for a partner. Zero: never, or passed.
func (c *Call) rungOutAt(a *Attempt) time.Time {
	if a.State != StateRinging || a.RungOut {
		return time.Time{}
	}
	limit := c.ringLimit(a)
	if limit <= 0 {
		return time.Time{}
	}
	return a.RangAt.Add(limit)
}

// asWellAt says when an endpoint on trial has had its time, whatever it says (R17). Zero: it is on no trial, or has had it.
func (c *Call) asWellAt(a *Attempt) time.Time {
	if a.AsWell || a.Held || a.State != StateAsked && a.State != StateRinging || c.step(a).AsWell <= 0 {
		return time.Time{}
	}
	return a.AskedAt.Add(c.step(a).AsWell)
}

// ringLimit is how long an attempt rings before a partner may be asked as well; 0 means for ever.
func (c *Call) ringLimit(a *Attempt) time.Duration {
	if c.step(a).Partner {
		return partnerRing
	}
	return c.Plan.RingingToPartners
}

// stop ends an attempt that counts.
func (c *Call) stop(a *Attempt, elsewhere bool, why string) {
	a.State = StateStopped
	c.do(Stop{Attempt: a.ID, Elsewhere: elsewhere, Why: why})
}

// stopAll ends every attempt that counts.
func (c *Call) stopAll(elsewhere bool, why string) {
	for i := range c.Attempts {
		if a := &c.Attempts[i]; a.counts() {
			c.stop(a, elsewhere, why)
		}
	}
}
