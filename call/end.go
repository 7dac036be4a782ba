package call

import (
	"fmt"
	"slices"
	"time"

	"nines/policy"
)

// muteLimit is how long a call lives after everybody was asked and nobody has sent even a 100 (R6): the carrier's own fallback is the better bet.
const muteLimit = 4 * time.Second

// giveUpAt says when the call is given up because nothing rings. Zero: something rings.
func (c *Call) giveUpAt() time.Time {
	if c.QuietAt.IsZero() {
		return time.Time{}
	}
	return c.QuietAt.Add(c.Plan.GiveUp)
}

// muteAt says when the call is given up because nobody has sent anything. Zero: somebody has, or may yet be asked. A partner that spoke and then refused
// does not give the silent rooms before it another four seconds (R9).
func (c *Call) muteAt() time.Time {
	if len(c.Turns) > 0 {
		return time.Time{}
	}
	from, live := c.AskedAt, false
	for i := range c.Attempts {
		a := &c.Attempts[i]
		if !a.counts() {
			continue
		}
		if a.Heard || a.Held {
			return time.Time{}
		}
		live = true
		if a.MuteAt.After(from) {
			from = a.MuteAt
		}
	}
	if !live {
		return time.Time{}
	}
	return from.Add(muteLimit)
}

// spent says in words why there is no more time, or nothing.
func (c *Call) spent(now time.Time) string {
	switch {
	case due(now, c.giveUpAt()):
		return fmt.Sprintf("nothing rang anywhere for %s", c.Plan.GiveUp)
	case due(now, c.muteAt()):
		return fmt.Sprintf("everybody was asked and nobody sent even a 100 for %s", muteLimit)
	default:
		return ""
	}
}

// exhausted says in words why nobody can answer any more, or nothing.
func (c *Call) exhausted() string {
	switch {
	case len(c.Turns) > 0:
		return ""
	case len(c.Plan.Steps) == 0:
		return "the plan asks nobody"
	case c.counting() == 0:
		return "everybody refused"
	case c.Closed && !c.hope():
		return "the callee refused for everybody and nobody else is hoped for"
	default:
		return ""
	}
}

// hope says whether an attempt is hoped for.
func (c *Call) hope() bool {
	return slices.ContainsFunc(c.Attempts, func(a Attempt) bool { return a.hopeful() })
}

// giveUp refuses the caller with policy's code.
func (c *Call) giveUp(why string) {
	code, text := policy.FinalCode(c.Class, c.Codes)
	c.reject(code, text, why)
}

// cancelled ends a call that its caller does not want any more. After our 200 it is too late for that (RFC 3261 §9.2): a BYE will follow.
func (c *Call) cancelled() {
	switch c.Phase {
	case PhasePlanning, PhaseAsking, PhaseAside:
		if c.Taken {
			return // it crossed our 200
		}
		c.hush("the caller cancelled")
		c.reject(487, "Request Terminated", "the caller cancelled")
	case PhaseAnswered, PhaseTalking, PhaseRescuing, PhaseOver:
		// It crossed our final response.
	}
}

// reject refuses the caller, who waits longest, and then stops the rest.
func (c *Call) reject(code int, text, why string) {
	c.do(Reject{Code: code, Text: text, Why: why})
	c.stopAll(false, why)
	c.over(why)
}

// over ends the call.
func (c *Call) over(why string) {
	c.Phase = PhaseOver
	c.Why = why
	c.Turns, c.Reasons = nil, nil
	c.Watch, c.Rescue, c.Aside = Watch{}, Rescue{}, Aside{}
	c.do(Over{Why: why})
}
