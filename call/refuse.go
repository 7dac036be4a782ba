package call

import (
	"fmt"
	"slices"
	"time"

	"nines/policy"
)

// maxContacts is how many contacts of one redirect are asked.
const maxContacts = 3

// refused ends an attempt and asks the next at once.
func (c *Call) refused(ev Refused) {
	a := c.find(ev.Attempt)
	if a == nil || a.State == StateWon || a.State == StateEnded {
		return
	}
	counted := a.counts()
	a.State = StateEnded
	if !counted {
		return // it was told to stop: 487 is what we asked for
	}
	code, why := ev.Code, ""
	switch ev.Cause {
	case Status:
		why = fmt.Sprintf("%s refused with %d", c.name(a), code)
	case Transport:
		// RFC 3261 §16.9: a transport error is a 503 to the core; it goes into our records, never out to the caller.
		code, why = 503, fmt.Sprintf("%s can't be reached: transport failed", c.name(a))
	case NoAddress:
		code, why = 503, fmt.Sprintf("%s has no address", c.name(a))
	case Timeout:
		code, why = 408, fmt.Sprintf("%s gave no final response", c.name(a))
	}
	if c.follow(a, ev) {
		c.because(WantAny, code, fmt.Sprintf("%s redirected with %d", c.name(a), code))
		return
	}
	c.end(a, code, why)
	if policy.Means(c.Class, code) == policy.End {
		c.close(fmt.Sprintf("%s refused with %d, which ends the asking", c.name(a), code))
	}
}

// end makes an attempt's end a reason, unless it has given one already.
func (c *Call) end(a *Attempt, code int, why string) {
	a.State = StateEnded
	c.code(code)
	c.Aside.Impaired = c.Aside.Impaired || code == 408 || code/100 == 5
	if !a.Silent {
		c.because(WantAny, code, why)
	}
}

// code keeps how somebody refused. A code that is repeated moves to the end: policy goes by the latest.
func (c *Call) code(code int) {
	if i := slices.Index(c.Codes, code); i >= 0 {
		c.Codes = slices.Delete(c.Codes, i, i+1)
	}
	c.Codes = append(c.Codes, code)
}

// follow puts a redirect's contacts in front of the queue. One hop: a contact's own redirect is a refusal.
func (c *Call) follow(a *Attempt, ev Refused) bool {
	redirect := ev.Cause == Status && ev.Code/100 == 3
	if c.Closed || !redirect || !c.step(a).Follow3xx || a.Target != "" || len(ev.Contacts) == 0 {
		return false
	}
	turns := make([]Turn, 0, maxContacts+len(c.Turns))
	for _, contact := range ev.Contacts[:min(len(ev.Contacts), maxContacts)] {
		turns = append(turns, Turn{Step: a.Step, Target: contact})
	}
	c.Turns = append(turns, c.Turns...)
	return true
}

// close ends the asking: a routine callee has spoken for everybody. What rings rings on.
func (c *Call) close(why string) {
	c.Closed = true
	c.Turns, c.Reasons = nil, nil
	c.do(Note{Text: why})
}

// unreachable takes an ICMP error for silence. The attempt lives on, for anybody can send ICMP and a PBX that starts up does.
func (c *Call) unreachable(ev Unreachable) {
	a := c.live(ev.Attempt)
	if a == nil || a.Silent {
		return
	}
	a.Silent, c.Aside.Impaired = true, true
	c.because(WantAny, 408, fmt.Sprintf("%s can't be reached: ICMP", c.name(a)))
}

// died takes a dead endpoint's attempt for silent: it rings no more and has not been heard of.
func (c *Call) died(now time.Time, ev Died) {
	a := c.live(ev.Attempt)
	if a == nil {
		return
	}
	why := fmt.Sprintf("%s died", c.name(a))
	if a.State == StateRinging {
		why += " while it rang"
	}
	if a.Heard {
		a.Heard, a.MuteAt = false, now
	}
	a.State, c.Aside.Impaired = StateAsked, true
	if !a.Silent {
		a.Silent = true
		c.because(WantAny, 408, why)
	}
}

// woke lets an attempt count again that was told to stop and comes to life when nobody else is hoped for.
func (c *Call) woke(ev Woke) {
	a := c.find(ev.Attempt)
	if a == nil || a.State != StateStopped || !c.climbs() || a.Was != "" || c.Closed || c.hope() {
		return
	}
	why := fmt.Sprintf("%s wakes and nobody else is hoped for", c.name(a))
	c.makeRoom()
	a.State, a.Heard, a.Silent = StateAsked, true, true // its silence has been a reason already
	c.do(Resume{Attempt: a.ID, Why: why})
}

// full gives an endpoint its turn back, at the end of the queue. It was not asked, so the attempt never was.
func (c *Call) full(now time.Time, ev Full) {
	i := slices.IndexFunc(c.Attempts, func(a Attempt) bool { return a.ID == ev.Attempt })
	if i < 0 || c.Attempts[i].State == StateWon {
		return
	}
	a := c.Attempts[i]
	c.Attempts = slices.Delete(c.Attempts, i, i+1)
	if !a.counts() {
		return
	}
	c.code(486)
	c.Aside.Impaired = true
	why := fmt.Sprintf("%s is full", c.name(&a))
	if ev.Until != 0 && !c.Closed {
		wait := max(time.Duration(ev.Until-now.UnixNano()), minRetry)
		c.Turns = append(c.Turns, Turn{Step: a.Step, Target: a.Target, NotBefore: now.Add(wait)})
		why += fmt.Sprintf(" for %s", wait)
	}
	c.because(WantAny, 486, why)
}
