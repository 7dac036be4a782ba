package call

import (
	"fmt"
	"time"
)

// answered binds the first usable answer to the caller. Everything else that answers is discarded.
func (c *Call) answered(ev Answered) {
	a := c.find(ev.Attempt)
	switch {
	case a == nil && ev.Attempt <= c.Last:
		c.do(Discard{Attempt: ev.Attempt, Why: "the attempt was over"})
	case a == nil:
		c.do(Discard{Attempt: ev.Attempt, Why: "no such attempt"})
	case a.State == StateWon:
		// Its 200 was reported already; the leg acknowledges what repeats.
	case c.Phase != PhaseAsking && c.Phase != PhaseRescuing && c.Phase != PhaseAside || a.State == StateEnded:
		a.State = StateEnded
		c.do(Discard{Attempt: a.ID, Why: c.tooLate(a)})
	case !ev.Usable:
		c.unusable(a)
	default:
		c.win(a)
	}
}

// tooLate says in words why an answer is not wanted any more.
func (c *Call) tooLate(a *Attempt) string {
	switch c.Phase {
	case PhaseOver:
		return "too late: " + c.Why
	case PhaseAnswered, PhaseTalking:
		winner := c.find(c.Winner)
		if winner.Was != "" && a.Was == "" {
			return fmt.Sprintf("%s came back and kept the call", c.name(winner))
		}
		return fmt.Sprintf("%s answered first", c.name(winner))
	case PhasePlanning, PhaseAsking, PhaseRescuing, PhaseAside:
		return "the attempt was over"
	}
	return "the attempt was over"
}

// unusable refuses a 2xx without an answer to our offer: nobody could hear anybody (R6).
func (c *Call) unusable(a *Attempt) {
	why := fmt.Sprintf("%s answered without an answer to our offer", c.name(a))
	c.do(Discard{Attempt: a.ID, Why: why})
	if !a.counts() {
		a.State = StateEnded
		return
	}
	c.end(a, 488, why)
}

// win joins caller and callee. Media first, so that not a word is lost; then the caller; then the rest.
func (c *Call) win(a *Attempt) {
	if c.Phase == PhaseRescuing || c.Taken {
		c.replace(a)
		return
	}
	c.hush("somebody answered")
	c.Aside = Aside{}
	a.State = StateWon
	c.Winner = a.ID
	c.Phase = PhaseAnswered
	c.Turns, c.Reasons = nil, nil
	c.do(Aim{Attempt: a.ID})
	c.do(Answer{Attempt: a.ID})
	if c.counting() > 0 {
		c.stopAll(true, fmt.Sprintf("%s answered", c.name(a)))
	}
}

// confirmed notes the caller's ACK.
func (c *Call) confirmed() {
	c.Acked = c.Taken
	if c.Phase == PhaseAnswered {
		c.Phase = PhaseTalking
	}
}

// neverAcked ends a call whose caller does not acknowledge our 200. RFC 3261 §13.3.1.4: the session is ended with a BYE.
func (c *Call) neverAcked() {
	why := "the caller did not acknowledge our 200"
	switch {
	case c.Phase == PhaseAnswered:
		c.hangUpBoth(why)
	case c.Taken && !c.Acked && c.aside():
		c.leaveAside(why, true)
	}
}

// lost ends a call whose one side is gone. That side gets a BYE too, in case it still listens. A callee that is gone is no end where others can
// be asked.
func (c *Call) lost(now time.Time, ev Lost) {
	switch {
	case c.aside():
		if ev.Side == Caller && c.Taken {
			c.leaveAside("the caller is gone", true)
		}
	case c.Phase == PhaseRescuing && ev.Side == Caller:
		why := "the caller is gone"
		c.do(HangUp{Side: Caller, Why: why})
		c.leaveLost(why)
	case c.watched() && ev.Side == Callee:
		c.legGone(now)
	case c.Phase != PhaseAnswered && c.Phase != PhaseTalking:
		// Nobody talks, or the loss is known.
	case ev.Side == Callee:
		c.hangUpBoth("the callee is gone")
	default:
		c.hangUpBoth("the caller is gone")
	}
}

// aside says whether nobody is or was bound to a caller who has got something else to hear, or will.
func (c *Call) aside() bool {
	return c.Phase == PhaseAside || c.Phase == PhaseRescuing && c.Winner == 0
}

func (c *Call) hangUpBoth(why string) {
	c.do(HangUp{Side: Caller, Why: why})
	if c.Watch.LeftAt.IsZero() { // who has said BYE gets none
		c.do(HangUp{Side: Callee, Why: why})
	}
	c.over(why)
}
