package call

import (
	"slices"
	"time"
)

// ringEvery is how often the caller is told that it still rings.
// RFC 3261 §13.3.1.1: a UAS that needs longer sends a non-100 provisional response every minute, lest proxies on the way cancel the call.
const ringEvery = time.Minute

// trying notes that somebody is there.
func (c *Call) trying(ev Trying) {
	if a := c.live(ev.Attempt); a != nil {
		a.Heard = true
	}
}

// rang notes ringing and lets the caller hear of it.
func (c *Call) rang(now time.Time, ev Rang) {
	a := c.live(ev.Attempt)
	if a == nil {
		return
	}
	a.Heard = true
	ringing := rings(ev.Code, c.step(a).Partner)
	if ringing && a.State != StateRinging {
		a.State, a.RangAt = StateRinging, now
		a.Silent, a.RungOwn, a.RungOut = false, false, false
	}
	switch {
	case c.Phase == PhaseRescuing:
		return // the caller has been answered: a 1xx means nothing to it
	case ev.SDP && c.Plan.EarlyMedia && c.Heard == 0:
		c.Heard = a.ID
		c.do(Early{Attempt: a.ID})
	case ringing && !c.Rung && (ev.Code == 180 || c.RingAt.IsZero()): // a 183 after early media that rang says nothing new
		c.Rung = true
		c.do(Ring{})
	default:
		return
	}
	if ringing {
		c.RingAt = now
	}
}

// rings says whether a provisional response means that somebody's telephone rings.
func rings(code int, partner bool) bool {
	if partner {
		return code == 180 // its 183 may be an announcement, its 181 and 182 a forward or a queue we can't see into
	}
	return code >= 180 && code <= 183
}

// listen keeps the clock of give-up: since when nothing rings.
func (c *Call) listen(now time.Time) {
	ringing := slices.ContainsFunc(c.Attempts, func(a Attempt) bool { return a.State == StateRinging })
	c.QuietAt = since(c.QuietAt, ringing, now)
}

// since keeps the time at which something ended; zero while it lasts.
func since(at time.Time, lasts bool, now time.Time) time.Time {
	switch {
	case lasts:
		return time.Time{}
	case at.IsZero():
		return now
	default:
		return at
	}
}

// ringAgainAt says when the caller is told again that it rings. Zero: ringing has not begun.
func (c *Call) ringAgainAt() time.Time {
	if c.RingAt.IsZero() {
		return time.Time{}
	}
	return c.RingAt.Add(ringEvery)
}

// ringAgain tells the caller that it still rings.
func (c *Call) ringAgain(now time.Time) {
	if c.Phase == PhaseAsking && due(now, c.ringAgainAt()) {
		c.Rung, c.RingAt = true, now
		c.do(Ring{})
	}
}
