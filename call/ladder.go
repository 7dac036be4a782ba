package call

import (
	"fmt"
	"slices"
	"time"

	"nines/policy"
)

// What the ladder goes by when a plan says nothing, and what no plan says.
const (
	defaultPatience = time.Second
	defaultProgress = 4 * time.Second
	defaultGiveUp   = 20 * time.Second

	maxLive     = 3                      // attempts that count at one time
	partnerRing = 20 * time.Second       // how long a partner rings alone
	minRetry    = 100 * time.Millisecond // a full endpoint is not tried again sooner
)

// Turn is a chance to be asked that has not been used yet.
type Turn struct {
	Step      int       // index into Plan.Steps
	Target    string    `json:",omitempty"` // a contact of a followed redirect; else the endpoint's own URI
	NotBefore time.Time `json:",omitzero"`  // a full endpoint's time to be tried again
}

// Reason is a cause to ask one more endpoint.
type Reason struct {
	Want  Want
	Cause int    // for Ask.Cause
	Why   string // for Ask.Why
	Said  bool   `json:",omitempty"` // the record knows that it waits
}

// Want is what a reason may ask. The numbers are stored: add at the end.
type Want uint8

// The wants.
const (
	WantAny     Want = iota // own room or partner, as the plan has it
	WantOwn                 // an own room rings long
	WantPartner             // ringing has lasted long enough for a partner
)

// planned starts the asking, or begins a round of a rescue.
func (c *Call) planned(now time.Time, ev Planned) {
	switch c.Phase {
	case PhasePlanning:
		why := "first in the plan"
		if len(ev.Plan.Steps) > 0 && ev.Plan.Steps[0].Why != "" {
			why = ev.Plan.Steps[0].Why
		}
		c.Phase = PhaseAsking
		c.Attempts = make([]Attempt, 0, len(ev.Plan.Steps))
		c.followed(ev.Plan)
		c.carryOut(now, ev.Plan, Reason{Why: why})
	case PhaseRescuing:
		c.again(now, ev.Plan)
	case PhaseAside:
		c.turn(now, ev.Plan)
	case PhaseAsking, PhaseAnswered, PhaseTalking, PhaseOver:
		// Nobody wants a plan.
	}
}

// carryOut asks the first in a plan.
func (c *Call) carryOut(now time.Time, plan policy.Plan, r Reason) {
	c.Plan = plan
	c.fillPlan()
	if c.Plan.Class == policy.Emergency {
		c.Class = policy.Emergency
	}
	if len(c.Plan.Steps) == 0 {
		return // climb finds that nobody is left
	}
	c.Turns = make([]Turn, len(c.Plan.Steps))
	for i := range c.Turns {
		c.Turns[i].Step = i
	}
	c.ask(now, 0, r)
}

// fillPlan gives a plan the delays without which a ladder would stand still. A step's patience is filled in where it is read: the steps may be
// shared with other calls.
func (c *Call) fillPlan() {
	if c.Plan.Progress <= 0 {
		c.Plan.Progress = defaultProgress
	}
	if c.Plan.GiveUp <= 0 {
		c.Plan.GiveUp = defaultGiveUp
	}
}

// climb judges the deadlines and asks whoever there is reason to ask.
func (c *Call) climb(now time.Time) {
	c.pass(now)
	c.listen(now)
	if why := c.spent(now); why != "" {
		c.inVain(now, why)
		return
	}
	for c.askNext(now) {
	}
	c.dropReasons()
	c.listen(now) // an ask may have stopped something that rang
	if why := c.exhausted(); why != "" {
		c.inVain(now, why)
		return
	}
	c.ringAgain(now)
}

// climbs says whether a ladder is being climbed, in the set-up or in a round of a rescue.
func (c *Call) climbs() bool {
	return c.Phase == PhaseAsking || c.Phase == PhaseRescuing && c.Rescue.PlanAt.IsZero()
}

// inVain ends a ladder that has led nowhere: the call is given up, unless its caller has talked to somebody already.
func (c *Call) inVain(now time.Time, why string) {
	switch {
	case c.Aside.Step > 0:
		c.goOn(now, why)
	case c.mayTurnAside():
		c.turnAside(now, c.becauseOf(why))
	case c.Phase == PhaseRescuing:
		c.endRound(now, why)
	default:
		c.giveUp(why)
	}
}

// becauseOf is why nobody was found, in the plan's words where it asked nobody.
func (c *Call) becauseOf(why string) string {
	if len(c.Plan.Steps) == 0 && c.Plan.Why != "" {
		return c.Plan.Why
	}
	return why
}

// pass turns deadlines that have come into reasons.
func (c *Call) pass(now time.Time) {
	for i := range c.Attempts {
		a := &c.Attempts[i]
		if due(now, c.silentAt(a)) {
			a.Silent, c.Aside.Impaired = true, true
			c.because(WantAny, 408, c.silence(a))
		}
		if due(now, c.asWellAt(a)) {
			a.AsWell = true
			c.because(WantAny, 408, fmt.Sprintf("%s is on trial and has not answered for %s", c.name(a), c.step(a).AsWell))
		}
		if due(now, c.rungOwnAt(a)) {
			a.RungOwn = true
			c.because(WantOwn, 480, fmt.Sprintf("%s rang for %s and nobody picked up", c.name(a), c.Plan.Ringing))
		}
		if due(now, c.rungOutAt(a)) {
			a.RungOut = true
			c.because(WantPartner, 480, fmt.Sprintf("%s rang for %s and nobody picked up", c.name(a), c.ringLimit(a)))
		}
	}
	for i := range c.Turns {
		if due(now, c.Turns[i].NotBefore) {
			c.Turns[i].NotBefore = time.Time{}
		}
	}
}

// silence says in words how an attempt went silent.
func (c *Call) silence(a *Attempt) string {
	switch {
	case a.Held:
		return fmt.Sprintf("so many ask %s that this call's turn has not come for %s", c.name(a), c.Plan.Progress)
	case !a.Heard:
		return fmt.Sprintf("%s silent for %s", c.name(a), c.patience(a))
	case c.step(a).Partner:
		return fmt.Sprintf("%s answered but did not ring for %s", c.name(a), c.Plan.Progress)
	default:
		return fmt.Sprintf("%s sent only a 100 for %s", c.name(a), c.Plan.Progress)
	}
}

// because adds a reason.
func (c *Call) because(want Want, cause int, why string) {
	c.Reasons = append(c.Reasons, Reason{Want: want, Cause: cause, Why: why})
}

// askNext asks for the latest reason that has a turn, if any: when one that waited may go at last, the latest is what set it free.
func (c *Call) askNext(now time.Time) bool {
	for i, r := range slices.Backward(c.Reasons) {
		turn, held := c.pick(r.Want)
		if turn < 0 {
			if held != "" && !r.Said {
				c.Reasons[i].Said = true
				c.do(Note{Text: r.Why + "; " + held})
			}
			continue
		}
		c.Reasons = slices.Delete(c.Reasons, i, i+1)
		c.makeRoom()
		c.ask(now, turn, r)
		return true
	}
	return false
}

// pick finds the first turn that a reason may use: its index, or -1 and in words what holds it back, if that is worth telling.
func (c *Call) pick(want Want) (turn int, held string) {
	if !c.hasRoom() {
		return -1, "three ring, the next waits"
	}
	for i := range c.Turns {
		t := &c.Turns[i]
		step := &c.Plan.Steps[t.Step]
		if !want.allows(step.Partner) || !t.NotBefore.IsZero() {
			continue
		}
		if !step.Partner {
			return i, ""
		}
		by := c.holdsPartners()
		if by == nil {
			return i, ""
		}
		if held == "" {
			held = fmt.Sprintf("%s waits while %s is hoped for", step.Endpoint, c.name(by))
		}
	}
	return -1, held
}

// allows says whether a reason may ask an endpoint of this kind.
func (w Want) allows(partner bool) bool {
	switch w {
	case WantOwn:
		return !partner
	case WantPartner:
		return partner
	case WantAny:
		return true
	}
	return true
}

// holdsPartners returns an attempt because of which no partner may be asked now, or nil.
func (c *Call) holdsPartners() *Attempt {
	var own *Attempt
	rungLong := false
	for i := range c.Attempts {
		a := &c.Attempts[i]
		if !a.counts() {
			continue
		}
		partner := c.step(a).Partner
		rungOut := a.State == StateRinging && a.RungOut
		switch {
		case rungOut && !partner:
			rungLong = true
		case rungOut || !a.hopeful():
			// Its time is up: it holds nobody back.
		case partner:
			return a
		case own == nil:
			own = a
		}
	}
	if rungLong {
		return nil
	}
	return own
}

// hasRoom says whether one more attempt may be made, at the cost of another if need be.
func (c *Call) hasRoom() bool {
	return !c.Plan.Overlap || c.counting() < maxLive || c.oldestMute() != nil
}

// makeRoom stops what must stop before one more attempt is made.
func (c *Call) makeRoom() {
	if !c.Plan.Overlap {
		c.stopAll(false, "the next is asked instead")
		return
	}
	if c.counting() < maxLive {
		return
	}
	c.stop(c.oldestMute(), false, "a fourth attempt is due and this is the oldest that does not ring")
}

// oldestMute returns the attempt that has to go when a fourth is due: the oldest that counts and has not rung, else the oldest that has rung and died,
// for its telephones may be ringing yet. Nil: all ring.
func (c *Call) oldestMute() *Attempt {
	var died *Attempt
	for i := range c.Attempts {
		a := &c.Attempts[i]
		switch {
		case a.State != StateAsked:
		case a.RangAt.IsZero():
			return a
		case died == nil:
			died = a
		}
	}
	return died
}

// ask uses a turn.
func (c *Call) ask(now time.Time, turn int, r Reason) {
	t := c.Turns[turn]
	c.Turns = slices.Delete(c.Turns, turn, turn+1)
	c.Last++
	c.AskedAt = now
	c.Attempts = append(c.Attempts, Attempt{ID: c.Last, Step: t.Step, Target: t.Target, AskedAt: now, MuteAt: now})
	step := &c.Plan.Steps[t.Step]
	c.do(Ask{
		Attempt:  c.Last,
		Endpoint: step.Endpoint,
		Partner:  step.Partner,
		Target:   t.Target,
		Retarget: c.Last > 1,
		Cause:    r.Cause,
		Why:      r.Why,
	})
}

// dropReasons forgets the reasons for which no turn is left, and tells the record.
func (c *Call) dropReasons() {
	c.Reasons = slices.DeleteFunc(c.Reasons, func(r Reason) bool {
		for i := range c.Turns {
			if r.Want.allows(c.Plan.Steps[c.Turns[i].Step].Partner) {
				return false
			}
		}
		if !r.Said {
			c.do(Note{Text: r.Why + "; " + r.Want.nobody()})
		}
		return true
	})
}

// nobody says in words that no turn is left for a want.
func (w Want) nobody() string {
	switch w {
	case WantOwn:
		return "no own room is left to ask"
	case WantPartner:
		return "no partner is left to ask"
	case WantAny:
		return "nobody is left to ask"
	}
	return "nobody is left to ask"
}
