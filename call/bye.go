package call

import (
	"fmt"
	"time"
)

// byeLimit is how long a caller's BYE is withheld while a suspicious endpoint is probed (R23).
const byeLimit = 700 * time.Millisecond

// hungUp passes one side's BYE on to the other. A caller may say BYE before its ACK has reached us, and while it still rings (RFC 3261 §15).
func (c *Call) hungUp(now time.Time, ev HungUp) {
	if ev.Side == Callee && ev.Attempt != 0 && ev.Attempt != c.Winner {
		return // whoever it is, the caller does not talk to it
	}
	switch c.Phase {
	case PhaseAnswered, PhaseTalking:
		if ev.Side == Callee && ev.Suspicious && c.Plan.Rescue && c.Plan.RescueBye {
			c.suspect(now)
			return
		}
		c.passOn(ev.Side)
	case PhaseAside:
		if ev.Side == Caller {
			c.leaveAside("the caller hung up", false)
		}
	case PhaseRescuing:
		if c.Winner == 0 {
			if ev.Side == Caller {
				c.leaveAside("the caller hung up", false)
			}
			return
		}
		if ev.Side == Caller {
			c.leaveLost("the caller hung up")
			return
		}
		c.bury(now)
	case PhasePlanning, PhaseAsking:
		if ev.Side == Caller {
			c.cancelled()
		}
	case PhaseOver:
		// A BYE that crosses ours.
	}
}

// passOn ends a call that one side has left. Who has said BYE gets none.
func (c *Call) passOn(from Side) {
	if from == Callee {
		why := "the callee hung up"
		c.do(HangUp{Side: Caller, Why: why})
		c.over(why)
		return
	}
	why := "the caller hung up"
	if c.Watch.doubted() {
		c.LostTalking = true
		why = fmt.Sprintf("lost while talking, perhaps: %s while %s seemed dead", why, c.name(c.find(c.Winner)))
	}
	if c.Watch.LeftAt.IsZero() {
		c.do(HangUp{Side: Callee, Why: why})
	}
	c.over(why)
}

// suspect withholds the caller's BYE.
func (c *Call) suspect(now time.Time) {
	if !c.Watch.LeftAt.IsZero() {
		return
	}
	c.Watch.LeftAt = now
	c.do(Note{Text: fmt.Sprintf("%s hung up like a dying endpoint: the caller is kept for %s", c.name(c.find(c.Winner)), byeLimit)})
}

// bury notes the BYE of a lost endpoint. Its leg is gone: it can't keep the call any more, whatever it still sends.
func (c *Call) bury(now time.Time) {
	if !c.Watch.LeftAt.IsZero() {
		return
	}
	c.Watch.LeftAt = now
	c.do(Note{Text: fmt.Sprintf("%s, which is lost, hung up: the rescue goes on", c.name(c.find(c.Winner)))})
}

// byeAt says when a suspicious BYE is passed on. Zero: there is none.
func (c *Call) byeAt() time.Time {
	if c.Watch.LeftAt.IsZero() {
		return time.Time{}
	}
	return c.Watch.LeftAt.Add(byeLimit)
}

// withhold judges a suspicious BYE: with a verdict of after it, it was a death; without one it was meant. In its dialog nothing is asked any more,
// for 481 is right there, and its media tells nothing, for some comes after every BYE.
func (c *Call) withhold(now time.Time) {
	w := &c.Watch
	switch {
	case c.Phase == PhaseTalking && w.convicted() && !w.Condemned.At.Before(w.LeftAt):
		c.lose(now)
	case due(now, c.byeAt()):
		c.passOn(Callee)
	}
}
