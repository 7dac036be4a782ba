package call

import (
	"fmt"
	"time"

	"nines/policy"
)

// turnAgain is the pause of a waiting caller whose turn has come and whom nobody has taken.
const turnAgain = time.Second

// Aside is how far a routine call has come that nobody on its route has taken (R24).
type Aside struct {
	Steps    []policy.Otherwise `json:",omitempty"` // what follows when nobody takes the call
	Step     int                `json:",omitempty"` // the step that is carried out, counted from 1; 0: none
	Impaired bool               `json:",omitempty"` // an endpoint of the route is down, held, full or has failed this call (R6)
	Until    time.Time          `json:",omitzero"`  // how long the step waits
	PlanAt   time.Time          `json:",omitzero"`  // when a plan is asked for, or again; zero: none is wanted
	InLine   bool               `json:",omitempty"` // it has a place in the line
	Plays    bool               `json:",omitempty"` // the caller hears something of ours
	Key      policy.Escape      `json:",omitzero"`  // the way out that the caller was told of last
}

// step is the step that is carried out; its zero value, if none is.
func (a *Aside) step() policy.Otherwise {
	if a.Step == 0 || a.Step > len(a.Steps) {
		return policy.Otherwise{}
	}
	return a.Steps[a.Step-1]
}

// followed keeps what follows by a plan. An emergency call is never turned aside.
func (c *Call) followed(plan policy.Plan) {
	if c.Class == policy.Emergency || plan.Class == policy.Emergency {
		c.Aside.Steps = nil
		return
	}
	c.Aside.Steps, c.Aside.Impaired = plan.Otherwise, plan.Impaired
}

// mayTurnAside says whether something follows now that nobody takes the call. A callee's own refusal is the caller's answer while all endpoints of the
// route are well (R6).
func (c *Call) mayTurnAside() bool {
	return c.Class != policy.Emergency && c.Aside.Step == 0 && len(c.Aside.Steps) > 0 && (c.Aside.Impaired || !c.Closed)
}

// turnAside begins with what follows. An endpoint that was lost is given up: its caller is told something.
func (c *Call) turnAside(now time.Time, why string) {
	c.stopAll(false, why)
	if c.Winner != 0 {
		c.do(Abandon{Attempt: c.Winner, Why: why})
		c.find(c.Winner).State = StateEnded
		c.Winner, c.Watch = 0, Watch{Until: c.Watch.Until}
		c.Taken, c.Acked, c.LostTalking = true, true, true
	}
	c.rest()
	c.Phase, c.Rescue = PhaseAside, Rescue{}
	c.next(now, why)
}

// next carries out the next step.
func (c *Call) next(now time.Time, why string) {
	a := &c.Aside
	a.Step++
	a.Until, a.PlanAt = time.Time{}, time.Time{}
	if a.Step > len(a.Steps) {
		c.dismiss(480, "Temporarily Unavailable", why)
		return
	}
	o := a.step()
	switch {
	case o.Person != "":
		c.escape(now, o.Person, why+"; the text relay goes to a person")
	case o.Wait > 0:
		c.wait(now, o, why)
	case o.Announce != "":
		c.do(Note{Text: fmt.Sprintf("%s: the caller hears %s", why, o.Announce)})
		c.play(o)
	case len(o.Divert) > 0:
		c.do(Note{Text: why + ": others are asked"})
		c.wantPlan(now)
	default:
		c.dismiss(o.Reject, refusalText(o.Reject), why)
	}
}

func refusalText(code int) string {
	switch code {
	case 486:
		return "Busy Here"
	case 600:
		return "Busy Everywhere"
	default:
		return "Temporarily Unavailable"
	}
}

// wait puts the caller into the line of its route.
func (c *Call) wait(now time.Time, o policy.Otherwise, why string) {
	c.do(Note{Text: fmt.Sprintf("%s: the caller waits for a person, %s at most", why, o.Wait)})
	c.Aside.Until, c.Aside.InLine = now.Add(o.Wait), false
	c.wantPlan(now)
}

// lineUp has a caller who has got a place in the line hear so.
func (c *Call) lineUp(now time.Time) {
	c.Aside.InLine = true
	switch o := c.Aside.step(); {
	case o.Announce != "":
		c.play(o)
	case c.Taken:
		c.hush("the text is over")
		c.ringback()
	case !c.Rung:
		c.Rung, c.RingAt = true, now
		c.do(Ring{})
	}
}

// play has the caller hear an announcement; in the line over and over.
func (c *Call) play(o policy.Otherwise) {
	times := max(o.Times, 1)
	if o.Wait > 0 {
		times = 0
	}
	if o.Escape.Key != "" {
		c.Aside.Key = o.Escape
	}
	c.hush("another one follows")
	c.Aside.Plays = true
	c.do(Play{Name: o.Announce, Early: o.Early && !c.Taken, Times: times, Key: c.Aside.Key.Key, Stay: c.staysOn()})
}

// staysOn says whether who hears the present step's announcement to its end is put to a person then.
func (c *Call) staysOn() bool {
	a := &c.Aside
	return a.Step < len(a.Steps) && a.Steps[a.Step].Wait > 0
}

// ringback has a caller who was answered hear that it rings.
func (c *Call) ringback() {
	c.Aside.Plays = true
	c.do(Play{Ringing: true, Key: c.Aside.Key.Key})
}

// hush ends what the caller hears of ours.
func (c *Call) hush(why string) {
	if c.Aside.Plays {
		c.Aside.Plays = false
		c.do(Hush{Why: why})
	}
}

// wantPlan asks for the plan of a step, and asks again if none comes.
func (c *Call) wantPlan(now time.Time) {
	a := &c.Aside
	a.PlanAt = now.Add(planLimit)
	need := NeedPlan{Person: c.Escaped}
	switch o := a.step(); {
	case c.Escaped != "":
		need.Why = "the caller wants a person"
	case o.Wait > 0:
		need.Turn, need.Step, need.Why = true, a.Step, "the caller waits for a person"
	default:
		need.Divert, need.Step, need.Why = true, a.Step, "nobody of its route took the call"
	}
	c.do(need)
}

// linger judges the deadlines of a call that was turned aside and asks nobody.
func (c *Call) linger(now time.Time) {
	a := &c.Aside
	switch {
	case due(now, a.Until):
		c.next(now, fmt.Sprintf("no person was free for %s", a.step().Wait))
	case due(now, a.PlanAt):
		c.wantPlan(now)
	}
	if c.Phase == PhaseAside && !c.Taken && due(now, c.ringAgainAt()) {
		c.RingAt = now
		c.do(Ring{})
	}
}

// lingerAt says when a call that was turned aside has something to do.
func (c *Call) lingerAt() time.Time {
	var w waker
	w.at(c.Aside.Until)
	w.at(c.Aside.PlanAt)
	if !c.Taken {
		w.at(c.ringAgainAt())
	}
	return w.next
}

// turn carries out the plan of a step: whoever has waited, is diverted, or wants a person.
func (c *Call) turn(now time.Time, plan policy.Plan) {
	a := &c.Aside
	if a.PlanAt.IsZero() {
		return // nobody wants it
	}
	if len(plan.Steps) == 0 && c.Escaped == "" {
		if a.step().Wait > 0 {
			a.PlanAt = now.Add(turnAgain)
			return
		}
		c.next(now, "nobody can be asked")
		return
	}
	why := "the caller has waited and it is its turn"
	switch {
	case c.Escaped != "":
		why = "the caller wants a person"
	case a.step().Wait == 0:
		why = "nobody of its route took the call"
	}
	a.PlanAt = time.Time{}
	c.retire(len(plan.Steps))
	c.rest()
	c.Phase = PhaseAsking
	if c.Taken {
		c.Phase, c.Rescue = PhaseRescuing, Rescue{Round: 1, Why: why}
	}
	c.carryOut(now, plan, Reason{Cause: 480, Why: why})
}

// waits notes that it is not the caller's turn yet, or that it can't wait.
func (c *Call) waits(now time.Time, ev Waits) {
	a := &c.Aside
	switch {
	case c.Phase != PhaseAside || a.PlanAt.IsZero() || c.Escaped != "":
	case ev.Why != "":
		c.next(now, ev.Why)
	default:
		a.PlanAt = ev.Until
		if soonest := now.Add(minRetry); a.PlanAt.Before(soonest) {
			a.PlanAt = soonest
		}
		if !a.InLine {
			c.lineUp(now)
		}
	}
}

// goOn goes on with what follows when a turn or a diversion has led nowhere. Who waits keeps its place, unless a callee has said that waiting is no use.
func (c *Call) goOn(now time.Time, why string) {
	a := &c.Aside
	final := c.Closed
	for _, code := range c.Codes {
		final = final && !policy.Busy(code)
	}
	c.stopAll(false, why)
	c.rest()
	c.Phase, c.Rescue = PhaseAside, Rescue{}
	if a.step().Wait == 0 || final || due(now, a.Until) {
		c.next(now, why)
		return
	}
	c.do(Note{Text: why + ": the caller keeps its place in the line"})
	a.PlanAt = now.Add(turnAgain)
}

// announced notes that the caller has our own 200.
func (c *Call) announced() {
	if c.Phase == PhaseAside {
		c.Taken = true
	}
}

// played goes on when an announcement has been heard as often as it was to be.
func (c *Call) played(now time.Time) {
	a := &c.Aside
	if !a.Plays {
		return
	}
	a.Plays = false
	if o := a.step(); c.Phase == PhaseAside && o.Announce != "" && o.Wait == 0 {
		c.next(now, "the announcement has ended")
	}
}

// unplayable goes on without an announcement. Who waits goes on waiting.
func (c *Call) unplayable(now time.Time, ev Unplayable) {
	a := &c.Aside
	if !a.Plays {
		return
	}
	a.Plays = false
	switch o := a.step(); {
	case c.Phase != PhaseAside || o.Announce == "":
	case o.Wait == 0:
		c.next(now, ev.Why)
	case !c.Taken && !c.Rung:
		c.Rung, c.RingAt = true, now
		c.do(Ring{})
	}
}

// pressed moves a caller to a person who has pressed the key for it, whatever the load (R25).
func (c *Call) pressed(now time.Time, ev Pressed) {
	a := &c.Aside
	if a.Step == 0 || c.Class == policy.Emergency || a.Key.Key == "" || ev.Key != a.Key.Key {
		return
	}
	switch c.Phase {
	case PhaseAside, PhaseAsking, PhaseRescuing:
		c.escape(now, a.Key.To, fmt.Sprintf("the caller pressed %s (%s)", ev.Key, ev.How))
	case PhasePlanning, PhaseAnswered, PhaseTalking, PhaseOver:
		// Somebody talks to the caller, or nobody ever will.
	}
}

// escape makes an emergency of the call: it goes to a person, and round again for as long as the caller stays.
func (c *Call) escape(now time.Time, to policy.RouteName, why string) {
	c.stopAll(false, why)
	c.rest()
	c.hush("the caller goes to a person")
	c.Class, c.Escaped, c.LostTalking = policy.Emergency, to, false
	c.Aside = Aside{}
	c.do(Escaping{To: to, Why: why})
	if !c.Taken {
		c.Phase = PhaseAside
		c.wantPlan(now)
		return
	}
	c.Phase, c.Rescue = PhaseRescuing, Rescue{Why: why}
	c.ringback()
	c.needPlan(now)
}

// dismiss ends a call that was turned aside: who was answered gets a BYE, any other a refusal that says to try again later.
func (c *Call) dismiss(code int, text, why string) {
	c.hush(why)
	if !c.Taken {
		c.do(Reject{Code: code, Text: text, Why: why, Later: true})
		c.stopAll(false, why)
		c.over(why)
		return
	}
	c.do(HangUp{Side: Caller, Why: why})
	c.over(why)
}

// leaveAside ends a call whose caller leaves while nobody talks to it and nobody was lost. Who is gone without a BYE gets one.
func (c *Call) leaveAside(why string, gone bool) {
	if !c.Taken {
		c.cancelled()
		return
	}
	switch {
	case c.Class == policy.Emergency:
		why += " before a person answered"
	case c.Aside.Step > 0:
		why += " before anybody took the call"
	}
	c.hush(why)
	c.stopAll(false, why)
	if gone {
		c.do(HangUp{Side: Caller, Why: why})
	}
	c.over(why)
}

// InLine says whether the caller stands in the line of its route, be it that its turn has come and somebody is asked.
func (c *Call) InLine() bool { return c.Aside.step().Wait > 0 }
