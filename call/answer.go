package call

import "fmt"

// answered binds the first usable answer to the caller. Everything else that answers is discarded.
func (c *Call) answered(ev Answered) {
	a := c.find(ev.Attempt)
	switch {
	case a == nil:
		c.do(Discard{Attempt: ev.Attempt, Why: "no such attempt"})
	case a.State == StateWon:
		// Its 200 was reported already; the leg acknowledges what repeats.
	case c.Phase != PhaseAsking || a.State == StateEnded:
		a.State = StateEnded
		c.do(Discard{Attempt: a.ID, Why: c.tooLate()})
	case !ev.Usable:
		c.unusable(a)
	default:
		c.win(a)
	}
}

// tooLate says in words why an answer is not wanted any more.
func (c *Call) tooLate() string {
	switch c.Phase {
	case PhaseOver:
		return "too late: " + c.Why
	case PhaseAnswered, PhaseTalking:
		return fmt.Sprintf("%s answered first", c.name(c.find(c.Winner)))
	case PhasePlanning, PhaseAsking:
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
	if c.Phase == PhaseAnswered {
		c.Phase = PhaseTalking
	}
}

// neverAcked ends a call whose caller does not acknowledge our 200. RFC 3261 §13.3.1.4: the session is ended with a BYE.
func (c *Call) neverAcked() {
	if c.Phase == PhaseAnswered {
		c.hangUpBoth("the caller did not acknowledge our 200")
	}
}

// hungUp passes one side's BYE on to the other. A caller may say BYE before its ACK has reached us, and while it still rings (RFC 3261 §15).
func (c *Call) hungUp(ev HungUp) {
	switch c.Phase {
	case PhaseAnswered, PhaseTalking:
		other, why := Callee, "the caller hung up"
		if ev.Side == Callee {
			other, why = Caller, "the callee hung up"
		}
		c.do(HangUp{Side: other, Why: why})
		c.over(why)
	case PhasePlanning, PhaseAsking:
		if ev.Side == Caller {
			c.cancelled()
		}
	case PhaseOver:
		// A BYE that crosses ours.
	}
}

// lost ends a call whose one side is gone. That side gets a BYE too, in case it still listens.
func (c *Call) lost(ev Lost) {
	if c.Phase != PhaseAnswered && c.Phase != PhaseTalking {
		return
	}
	why := "the caller is gone"
	if ev.Side == Callee {
		why = "the callee is gone"
	}
	c.hangUpBoth(why)
}

func (c *Call) hangUpBoth(why string) {
	c.do(HangUp{Side: Caller, Why: why})
	c.do(HangUp{Side: Callee, Why: why})
	c.over(why)
}
