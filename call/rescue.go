package call

import (
	"fmt"
	"slices"
	"time"

	"nines/policy"
)

// What a rescue goes by (R21).
const (
	planLimit  = time.Second            // a plan that takes longer is asked for again: a restart may have lost the question
	turnPause  = 500 * time.Millisecond // instead of a pause for who waits its turn at a full partner: the queue must not stand still for it (R7)
	maxStopped = 8                      // attempts of earlier rounds whose late answer is still hoped for
)

// pauses are the waits between the rounds of a rescue; the last one is repeated for as long as the caller stays.
var pauses = [...]time.Duration{time.Second, 2 * time.Second, 5 * time.Second}

// Rescue is how far the search for a new endpoint has come.
type Rescue struct {
	Round  int       `json:",omitempty"` // the plan that is carried out, counted from 1
	PlanAt time.Time `json:",omitzero"`  // when the next plan is asked for; zero: one is carried out
	Why    string    `json:",omitempty"` // why somebody else is asked
}

// lose begins a rescue. What was stopped before belongs to a caller who had been answered: it never wins any more.
func (c *Call) lose(now time.Time) {
	lost := c.find(c.Winner)
	c.Phase = PhaseRescuing
	for i := range c.Attempts {
		if a := &c.Attempts[i]; a.State == StateStopped {
			a.State = StateEnded
		}
	}
	c.Rescue = Rescue{Why: fmt.Sprintf("%s was lost while it talked", c.name(lost))}
	c.rest()
	c.do(Rescuing{Lost: lost.ID, Witnesses: c.Watch.sentences()})
	c.needPlan(now)
}

// rest forgets what a ladder has left behind.
func (c *Call) rest() {
	c.Turns, c.Reasons, c.Codes, c.Closed = nil, nil, nil, false
	c.AskedAt, c.QuietAt = time.Time{}, time.Time{}
}

// needPlan asks for a plan, and asks again if none comes.
func (c *Call) needPlan(now time.Time) {
	c.Rescue.PlanAt = now.Add(planLimit)
	c.do(NeedPlan{Why: c.Rescue.Why, Person: c.Escaped})
}

// search goes on with a rescue: it waits for a plan, or carries one out.
func (c *Call) search(now time.Time) {
	switch {
	case c.Rescue.PlanAt.IsZero():
		c.climb(now)
	case due(now, c.Rescue.PlanAt):
		c.needPlan(now)
	}
	if c.Watch.Muted {
		c.check(now) // its silence tells nothing: only its signalling can say that it is back
	}
}

// searchAt says when a rescue has something to do.
func (c *Call) searchAt() time.Time {
	var w waker
	if c.Rescue.PlanAt.IsZero() {
		w.at(c.climbAt())
	} else {
		w.at(c.Rescue.PlanAt)
	}
	if c.Watch.Muted {
		w.at(c.checkAt())
	}
	return w.next
}

// again begins a round of a rescue with a fresh plan.
func (c *Call) again(now time.Time, plan policy.Plan) {
	if c.Rescue.PlanAt.IsZero() {
		return // it was asked for twice and came twice
	}
	c.retire(len(plan.Steps))
	c.Rescue.PlanAt = time.Time{}
	c.Rescue.Round++
	c.followed(plan)
	c.Aside.Impaired = true
	c.carryOut(now, plan, Reason{Cause: 408, Why: c.Rescue.Why})
}

// retire makes room for the attempts of a fresh plan. Those that are over are forgotten, the others keep their names.
func (c *Call) retire(room int) {
	stopped := 0
	for i := range c.Attempts {
		if c.Attempts[i].State == StateStopped {
			stopped++
		}
	}
	kept := make([]Attempt, 0, 1+min(stopped, maxStopped)+room)
	for i := range c.Attempts {
		a := c.Attempts[i]
		switch {
		case a.State == StateStopped && stopped > maxStopped:
			stopped-- // the oldest; should it answer, nobody knows it and it is discarded
			continue
		case a.State != StateStopped && a.State != StateWon:
			continue
		}
		a.Was, a.Step = c.name(&a), -1
		kept = append(kept, a)
	}
	c.Attempts = kept
}

// heldBack notes that an endpoint is not asked yet: its silence is none.
func (c *Call) heldBack(ev HeldBack) {
	if a := c.live(ev.Attempt); a != nil && a.State == StateAsked && !a.Heard {
		a.Held = true
	}
}

// left begins the patience of an attempt that was held back.
func (c *Call) left(now time.Time, ev Left) {
	if a := c.live(ev.Attempt); a != nil && a.Held {
		a.Held = false
		a.AskedAt, c.AskedAt = now, now
	}
}

// endRound ends a round in which nobody could be found. The caller stays, and so do we.
func (c *Call) endRound(now time.Time, why string) {
	pause := pauses[min(max(c.Rescue.Round, 1), len(pauses))-1]
	if slices.ContainsFunc(c.Turns, func(t Turn) bool { return !t.NotBefore.IsZero() }) {
		pause = turnPause
	}
	c.do(Note{Text: fmt.Sprintf("%s: all are asked anew in %s", why, pause)})
	c.stopAll(false, why)
	c.rest()
	c.Rescue.PlanAt = now.Add(pause)
	c.Rescue.Why = fmt.Sprintf("%s in round %d", why, c.Rescue.Round)
}

// replace puts the endpoint that answered in the place of the lost one. The caller's dialog stays.
func (c *Call) replace(a *Attempt) {
	old := c.find(c.Winner)
	why := fmt.Sprintf("%s took the call", c.name(a))
	c.hush("somebody answered")
	a.State = StateWon
	c.do(Replace{Attempt: a.ID})
	if old != nil { // nil: the caller was announced to
		why += fmt.Sprintf(" over from %s", c.name(old))
		old.State = StateEnded
		c.do(Abandon{Attempt: old.ID, Why: why})
	}
	c.Winner = a.ID
	c.Watch = Watch{Until: c.Watch.Until, CheckedAt: c.Watch.CheckedAt, Out: c.Watch.Out}
	c.settle(true, why)
}

// keep leaves the call with the endpoint that was lost.
func (c *Call) keep(now time.Time, why string) {
	c.do(Kept{Attempt: c.Winner})
	c.Watch.believe()
	c.Watch.doubt(now)
	c.settle(false, why)
}

// settle ends a rescue: somebody talks to the caller.
func (c *Call) settle(elsewhere bool, why string) {
	c.Phase, c.LostTalking = PhaseTalking, false
	if c.Taken && !c.Acked {
		c.Phase = PhaseAnswered
	}
	c.Rescue, c.Aside = Rescue{}, Aside{}
	c.rest()
	c.stopAll(elsewhere, why)
}

// leaveLost ends a call whose caller leaves while nobody talks to it.
func (c *Call) leaveLost(why string) {
	why = fmt.Sprintf("lost while talking: %s before anybody took over from %s", why, c.name(c.find(c.Winner)))
	c.stopAll(false, why)
	c.do(Abandon{Attempt: c.Winner, Why: why})
	c.LostTalking = true
	c.over(why)
}
