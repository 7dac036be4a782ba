package call

import (
	"fmt"
	"time"
)

// How witnesses are heard (R20).
const (
	checkEvery  = time.Second            // after a dead Check: two deaths this far apart are a witness
	checkClosed = 200 * time.Millisecond // the same, when ICMP said it and the media port sent ICMP too
	checkSlow   = 5 * time.Second        // after a Check that found life, while the doubt lasts, and during a rescue
	checkLimit  = 5 * time.Second        // an outcome that takes longer was lost: the Check is repeated
	mutedLimit  = 10 * time.Second       // how long two witnesses must agree on an endpoint that may not send
	deaths      = 2                      // dead Checks in a row that are a witness
	deathsLate  = 3                      // the same, after a silence in which a Check has found life: a pause of two seconds kills two
)

// Witness is something that speaks for the loss of the endpoint that talks.
type Witness struct {
	At  time.Time `json:",omitzero"` // since when; zero: it does not speak
	Why string    `json:",omitempty"`
}

// Watch is what is known for and against the endpoint that talks (R20), with its times.
type Watch struct {
	Muted     bool      `json:",omitempty"` // SDP tells it not to send
	HushedAt  time.Time `json:",omitzero"`  // (a) since when its silence is a witness; zero: it sends, or may not
	LastAt    time.Time `json:",omitzero"`  // its last packet before that; zero: there never was one
	ICMP      bool      `json:",omitempty"` // its media port sent ICMP
	Deaths    []Witness `json:",omitempty"` // (b) the dead Checks in a row, no more of them than are a witness
	Lived     bool      `json:",omitempty"` // in this doubt a Check has found life: its silence is no news
	Condemned Witness   `json:",omitzero"`  // (c)
	DoubtAt   time.Time `json:",omitzero"`  // since when there is reason to check; zero: none
	CheckedAt time.Time `json:",omitzero"`  // the latest Check
	Out       bool      `json:",omitempty"` // its outcome is not in
	Refused   bool      `json:",omitempty"` // its outcome was ICMP
	Until     time.Time `json:",omitzero"`  // nothing of before counts (R13)
	LeftAt    time.Time `json:",omitzero"`  // its BYE
}

// watched says whether the call looks for the loss of its endpoint.
func (c *Call) watched() bool {
	return c.Plan.Rescue && (c.Phase == PhaseAnswered || c.Phase == PhaseTalking)
}

// bound says whether an endpoint is bound to the caller, be it lost.
func (c *Call) bound() bool {
	return c.Phase == PhaseAnswered || c.Phase == PhaseTalking || c.Phase == PhaseRescuing && c.Winner != 0
}

// hushed notes that the endpoint's media has stopped.
func (c *Call) hushed(now time.Time, ev Hushed) {
	w := &c.Watch
	if !c.watched() || w.Muted {
		return
	}
	if w.HushedAt.IsZero() {
		w.HushedAt, w.LastAt, w.ICMP = now, ev.Since, ev.ICMP
		w.doubt(now)
		return
	}
	if ev.ICMP && !w.ICMP {
		w.ICMP = true
		if len(w.Deaths) == 0 && !w.Out {
			w.CheckedAt = time.Time{} // news: check at once
		}
	}
}

// voiced believes an endpoint that sends, whatever else speaks against it. One that is lost keeps the call, unless it has said BYE.
func (c *Call) voiced(now time.Time) {
	switch c.Phase {
	case PhaseAnswered, PhaseTalking:
		c.Watch.believe()
		c.Watch.doubt(now)
	case PhaseRescuing:
		if c.Winner != 0 && c.Watch.LeftAt.IsZero() {
			c.keep(now, fmt.Sprintf("%s sends again", c.name(c.find(c.Winner))))
		}
	case PhasePlanning, PhaseAsking, PhaseAside, PhaseOver:
		// Nobody talks.
	}
}

// muted notes whether SDP lets the endpoint send. Either way what its silence told is void.
func (c *Call) muted(now time.Time, ev Muted) {
	if w := &c.Watch; c.bound() && w.Muted != ev.On {
		w.Muted = ev.On
		w.believe()
		w.doubt(now)
	}
}

// checked notes what became of a Check. A Check of before the present doubt, or of before Until, tells nothing.
func (c *Call) checked(now time.Time, ev Checked) {
	w := &c.Watch
	if !w.Out {
		return
	}
	w.Out = false
	doubt := w.doubtFrom()
	if doubt.IsZero() || w.CheckedAt.Before(doubt) || now.Before(w.Until) || !w.LeftAt.IsZero() {
		return
	}
	if ev.Dead {
		w.dead(Witness{At: now, Why: "in-dialog OPTIONS: " + ev.Why})
		w.Refused = ev.ICMP
		return
	}
	w.Deaths, w.Lived = nil, true
	if c.Phase == PhaseRescuing && w.Muted {
		c.keep(now, fmt.Sprintf("%s is there again", c.name(c.find(c.Winner))))
	}
}

// condemned notes the verdict about the endpoint.
func (c *Call) condemned(now time.Time, ev Condemned) {
	w := &c.Watch
	switch {
	case !c.bound():
		return
	case !ev.On:
		w.Condemned = Witness{}
	case w.Condemned.At.IsZero() || w.Condemned.At.Before(w.Until) || w.Condemned.At.Before(w.LeftAt):
		w.Condemned = Witness{At: now, Why: ev.Why}
	}
	if c.Phase == PhaseRescuing {
		return
	}
	w.doubt(now)
	if !ev.On && !w.LeftAt.IsZero() {
		c.passOn(Callee) // its probe was answered: it means what it says
	}
}

// voided throws away what was witnessed while we could not see.
func (c *Call) voided(ev Voided) {
	if w := &c.Watch; ev.Until.After(w.Until) {
		w.Until = ev.Until
		w.Deaths, w.Refused = nil, false
	}
}

// legGone counts a refused request in the endpoint's dialog as the first dead Check of a doubt. Without doubt it tells nothing: media goes before
// signalling.
func (c *Call) legGone(now time.Time) {
	w := &c.Watch
	if w.DoubtAt.IsZero() || w.Out || len(w.Deaths) > 0 || now.Before(w.Until) {
		return
	}
	w.CheckedAt, w.Refused = now, false // no ICMP has said so
	w.dead(Witness{At: now, Why: "its leg is gone"})
}

// believe forgets what speaks against an endpoint, but the verdict, which is not this call's to lift.
func (w *Watch) believe() {
	w.HushedAt, w.LastAt, w.ICMP, w.Deaths, w.Lived, w.Refused = time.Time{}, time.Time{}, false, nil, false, false
}

// doubt begins or ends the doubt. An endpoint that may not send is doubted when it is condemned, any other when its media has stopped.
func (w *Watch) doubt(now time.Time) {
	doubt := !w.HushedAt.IsZero()
	if w.Muted {
		doubt = !w.Condemned.At.IsZero()
	}
	switch {
	case !doubt:
		w.DoubtAt, w.Deaths, w.Lived = time.Time{}, nil, false
	case w.DoubtAt.IsZero():
		w.DoubtAt = now
	}
}

// doubtFrom says from when on a Check counts. Zero: there is no doubt.
func (w *Watch) doubtFrom() time.Time {
	if w.DoubtAt.IsZero() || w.DoubtAt.After(w.Until) {
		return w.DoubtAt
	}
	return w.Until
}

// dead counts one dead request.
func (w *Watch) dead(d Witness) {
	if len(w.Deaths) < w.enough() {
		w.Deaths = append(w.Deaths, d)
	}
}

// enough is how many dead Checks in a row are a witness. One who may not send needs the verdict besides, and for ten seconds; a pause sends no ICMP.
func (w *Watch) enough() int {
	if w.Lived && !w.Muted && !w.ICMP {
		return deathsLate
	}
	return deaths
}

// convicted says whether the verdict is a witness.
func (w *Watch) convicted() bool {
	return !w.Condemned.At.IsZero() && !w.Condemned.At.Before(w.Until)
}

// checkAt says when the next Check is due. Zero: there is no doubt.
func (c *Call) checkAt() time.Time {
	w := &c.Watch
	from := w.doubtFrom()
	if from.IsZero() || !w.LeftAt.IsZero() {
		return time.Time{}
	}
	next := w.CheckedAt
	switch {
	case w.Out:
		next = next.Add(checkLimit)
	case next.Before(from):
		next = from
	case len(w.Deaths) == 0, c.Phase == PhaseRescuing:
		next = next.Add(checkSlow)
	case w.ICMP && w.Refused && len(w.Deaths) < w.enough():
		next = next.Add(checkClosed)
	default:
		next = next.Add(checkEvery)
	}
	if next.Before(from) {
		return from
	}
	return next
}

// check sends the Check that is due.
func (c *Call) check(now time.Time) {
	if w := &c.Watch; due(now, c.checkAt()) {
		w.CheckedAt, w.Out, w.Refused = now, true, false
		c.do(Check{})
	}
}

// lostAt says since when the endpoint is lost, or when it will be if nothing is heard. Zero: it is not.
func (w *Watch) lostAt() time.Time {
	dead := len(w.Deaths) >= w.enough()
	switch {
	case w.Muted && dead && w.convicted():
		from := w.Deaths[deaths-1].At
		if w.Condemned.At.After(from) {
			from = w.Condemned.At
		}
		return from.Add(mutedLimit)
	case w.HushedAt.IsZero():
		return time.Time{}
	case dead, w.convicted():
		return w.doubtFrom() // passed: nothing of before counts
	default:
		return time.Time{}
	}
}

// watch judges the witnesses of a call that talks. Before the caller's ACK nobody is lost: there is no dialog yet that could be moved.
func (c *Call) watch(now time.Time) {
	switch {
	case !c.Plan.Rescue:
		return
	case !c.Watch.LeftAt.IsZero():
		c.withhold(now)
	case c.Phase == PhaseTalking && due(now, c.Watch.lostAt()):
		c.lose(now)
		c.search(now)
	default:
		c.check(now)
	}
}

// watchAt says when the witnesses are to be judged next. Zero: when something happens.
func (c *Call) watchAt() time.Time {
	var w waker
	if c.watched() {
		w.at(c.byeAt())
		w.at(c.checkAt())
		if c.Phase == PhaseTalking && c.Watch.LeftAt.IsZero() {
			w.at(c.Watch.lostAt())
		}
	}
	return w.next
}

// doubted says whether a caller who leaves now may have been talking to nobody: a first dead Check agrees with the silence.
func (w *Watch) doubted() bool {
	return !w.HushedAt.IsZero() && len(w.Deaths) > 0
}

// sentences are the witnesses in words, in the order of R20.
func (w *Watch) sentences() []string {
	var s []string
	if !w.HushedAt.IsZero() {
		s = append(s, w.HushedAt.Format(clock)+" "+w.silence())
	}
	for _, d := range w.Deaths {
		s = append(s, d.At.Format(clock)+" "+d.Why)
	}
	if w.convicted() {
		s = append(s, w.Condemned.At.Format(clock)+" "+w.Condemned.Why)
	}
	if !w.LeftAt.IsZero() {
		s = append(s, w.LeftAt.Format(clock)+" it said BYE like a dying endpoint")
	}
	return s
}

// clock is how a witness tells the time.
const clock = "15:04:05.000"

// silence is the first witness in words.
func (w *Watch) silence() string {
	last := "there never was a packet from it"
	if !w.LastAt.IsZero() {
		last = "its last packet came at " + w.LastAt.Format(clock)
	}
	if w.ICMP {
		return "its media port is closed (ICMP), " + last
	}
	return "its media has stopped, " + last
}
