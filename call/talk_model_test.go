package call

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nines/policy"
)

// TestTalkingCallIsNeverDropped plays random histories of calls that talk and lose their endpoints, in any order of any events, against a model that
// knows R20, R21 and R23 in its own words: nobody is lost without two witnesses, nobody is kept with them, an emergency caller is not hung up on, one
// endpoint at most is bound to the caller, whatever was asked is ended, and nothing is left after the end.
func TestTalkingCallIsNeverDropped(t *testing.T) {
	rapid.Check(t, talking)
}

// FuzzTalking searches the same histories with coverage as its guide.
func FuzzTalking(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(talking))
}

// party is what the model knows of one attempt.
type party struct {
	id      AttemptID
	partner bool
	at      time.Time
	quiet   bool // nothing was reported yet
	heard   bool // it has sent a provisional response
	rings   bool
	stopped bool
	shut    bool // stopped where its answer can't be used any more
	final   bool // it has reported a final response
	ended   bool // refused, discarded, abandoned, hung up, or has hung up itself
}

func (p *party) counts() bool { return !p.stopped && !p.final && !p.ended }

// talk is the world around one call that talks.
type talk struct {
	t     *rapid.T
	dice  dice
	call  *Call
	twin  *Call
	now   time.Time
	class policy.Class
	plan  policy.Plan // that is carried out
	next  policy.Plan // that the call will get

	parties   []*party
	bound     *party
	wants     bool // a plan
	answered  bool
	confirmed bool
	rescuing  bool
	over      bool
	rejected  bool

	// What speaks against the endpoint that is bound.
	muted    bool
	hushed   bool
	icmp     bool
	doubtAt  time.Time // zero: none
	dead     []time.Time
	deadICMP bool // the latest dead Check was refused by ICMP
	lived    bool // a Check has found life in this silence
	downAt   time.Time
	until    time.Time
	byeAt    time.Time
	check    time.Time // the latest Check
	checking bool
}

func talking(t *rapid.T) {
	d := dice{t: t}
	if seed := rapid.Uint64().Draw(t, "seed of a wild history"); seed%4 != 0 {
		d.wild = rand.New(rand.NewPCG(seed, 0))
	}
	class := one(d, "class", policy.Emergency, policy.Emergency, policy.Emergency, policy.Routine)
	m := &talk{t: t, dice: d, now: epoch, class: class, wants: true}
	m.call = New(Params{Class: class})
	m.drawPlan()
	m.tell(Planned{Plan: m.next})
	if !d.oneIn(5, "the long way") && len(m.parties) > 0 {
		m.tell(Answered{Attempt: 1, Usable: true})
		m.tell(Confirmed{})
	}
	for range d.n(60, "length") {
		if m.twin == nil && d.oneIn(10, "write down") {
			m.twin = reborn(t, m.call)
		}
		m.pass()
		m.tell(m.draw())
	}
	m.finish()
}

func (m *talk) drawPlan() {
	m.next = drawPlan(m.dice, m.class)
	m.next.Rescue = !m.dice.oneIn(6, "rescue: off")
	m.next.RescueBye = !m.dice.oneIn(3, "rescue_bye: never")
}

func (m *talk) pass() {
	m.reach(m.now.Add(one[time.Duration](m.dice, "ms", 0, 0, 1, 50, 150, 200, 400, 700, 1000, 1100, 5000, 10000, 25000) * time.Millisecond))
}

func (m *talk) reach(then time.Time) {
	for {
		wake := m.call.Wake()
		if wake.IsZero() || wake.After(then) {
			break
		}
		m.now = wake
		m.tell(Tick{})
	}
	m.now = then
}

// draw makes up what happens next.
func (m *talk) draw() Event {
	d := m.dice
	if m.wants && !d.oneIn(10, "plan is late") {
		return Planned{Plan: m.next}
	}
	if m.checking && d.oneIn(2, "outcome") {
		dead := !d.oneIn(5, "life")
		return Checked{Dead: dead, ICMP: dead && d.oneIn(2, "ICMP"), Why: "a reason"}
	}
	switch d.n(16, "what") {
	case 0, 1, 2:
		return Hushed{Since: one(d, "since", m.now.Add(-2*time.Second), m.now, time.Time{}), ICMP: d.oneIn(3, "ICMP")}
	case 3:
		return Voiced{}
	case 4:
		return Muted{On: d.oneIn(2, "on")}
	case 5, 6:
		return Condemned{On: !d.oneIn(4, "off"), Why: "a reason"}
	case 7:
		if d.oneIn(3, "voided") {
			return Voided{Until: one(d, "until", m.now, m.now.Add(2*time.Second), m.now.Add(-time.Second))}
		}
		return Tick{}
	case 8:
		return one[Event](d, "side", HungUp{Side: Callee, Suspicious: true}, HungUp{Side: Callee, Suspicious: true},
			HungUp{Side: Callee, Attempt: AttemptID(1 + d.n(4, "whose")), Suspicious: d.oneIn(2, "suspicious")}, Lost{Side: Callee}, HungUp{Side: Callee})
	case 9:
		if d.oneIn(6, "end") {
			return one[Event](d, "end", HungUp{Side: Caller}, Lost{Side: Caller}, NeverAcked{}, Cancelled{})
		}
		return Confirmed{}
	case 10:
		return one[Event](d, "rude", Planned{Plan: m.plan}, Checked{Dead: true, Why: "?"}, Checked{}, Answered{Attempt: 99, Usable: true}, Refused{Attempt: 99, Code: 486},
			Died{Attempt: 99}, Full{Attempt: 99}, Trying{}, NeverAcked{}, Cancelled{})
	default:
		return m.drawAttempt()
	}
}

func (m *talk) drawAttempt() Event {
	d := m.dice
	var open []*party
	for _, p := range m.parties {
		if !p.final && p != m.bound {
			open = append(open, p)
		}
	}
	if len(open) == 0 {
		return Tick{}
	}
	p := one(d, "attempt", open...)
	if p.stopped && !p.heard && d.oneIn(3, "wakes") {
		return Woke{Attempt: p.id}
	}
	if p.quiet && !p.stopped && d.oneIn(3, "full") {
		return Full{Attempt: p.id, Until: one(d, "until", 0, m.now.UnixNano(), m.now.Add(time.Second).UnixNano(), m.now.Add(9*time.Second).UnixNano())}
	}
	if p.quiet && !p.stopped && d.oneIn(5, "held back") {
		return one[Event](d, "held", HeldBack{Attempt: p.id}, HeldBack{Attempt: p.id}, Left{Attempt: p.id})
	}
	if d.oneIn(8, "leaves") {
		return Left{Attempt: p.id}
	}
	switch d.n(12, "does") {
	case 0:
		return Trying{Attempt: p.id}
	case 1, 2:
		return Rang{Attempt: p.id, Code: one(d, "1xx", 180, 180, 183, 181), SDP: d.oneIn(2, "sdp")}
	case 3:
		return Unreachable{Attempt: p.id}
	case 4:
		return Died{Attempt: p.id}
	case 5, 6, 7:
		return Answered{Attempt: p.id, Usable: !d.oneIn(3, "unusable")}
	case 8:
		return Refused{Attempt: p.id, Cause: one(d, "cause", Transport, NoAddress, Timeout)}
	default:
		return Refused{Attempt: p.id, Code: one(d, "code", 302, 404, 408, 480, 486, 488, 500, 503, 600, 603), Contacts: []string{"sip:a", "sip:b"}[:d.n(3, "contacts")]}
	}
}

// finish ends the call and looks at what is left.
func (m *talk) finish() {
	if !m.over && m.dice.oneIn(2, "stay a while") {
		m.reach(m.now.Add(2 * time.Minute)) // a rescue goes round and round without an answer
	}
	if !m.over && m.wants && m.dice.oneIn(2, "the plan comes") {
		m.tell(Planned{Plan: m.next})
	}
	if !m.over {
		m.tell(HungUp{Side: Caller})
	}
	if !m.over {
		m.t.Fatalf("the caller has hung up and the call is not over: %+v", m.call)
	}
	if wake := m.call.Wake(); !wake.IsZero() {
		m.t.Fatalf("a timer is left after the end: %v", wake)
	}
	for _, p := range m.parties {
		if !p.ended && !p.final && !p.stopped {
			m.t.Fatalf("attempt %d was asked and neither ended, stopped, discarded nor refused", p.id)
		}
		if p.final && !p.ended {
			m.t.Fatalf("attempt %d has answered and was never ended", p.id)
		}
	}
	for _, p := range m.parties {
		if !p.final {
			m.tell(Answered{Attempt: p.id, Usable: true}) // a late one each; tell checks that it goes nowhere
		}
	}
	for _, ev := range []Event{Hushed{}, Voiced{}, Muted{On: true}, Condemned{On: true}, Checked{Dead: true}, Voided{Until: m.now}, Tick{}} {
		m.tell(ev)
	}
	if wake := m.call.Wake(); !wake.IsZero() {
		m.t.Fatalf("a timer after the end: %v", wake)
	}
}

// tell steps the call and its twin and holds what they do against the promises.
func (m *talk) tell(ev Event) {
	was := *m
	fresh := m.before(ev)
	actions := m.call.Step(m.now, ev)
	m.t.Logf("%s %#v → %#v", m.now.Sub(epoch), ev, actions) // shown of the history that fails
	if m.twin != nil {
		twins := m.twin.Step(m.now, ev)
		if diff := cmp.Diff(actions, twins); diff != "" && len(actions)+len(twins) > 0 {
			m.t.Fatalf("%#v: a call that was written down and read back acts differently (-call +twin):\n%s", ev, diff)
		}
		if !m.twin.Wake().Equal(m.call.Wake()) {
			m.t.Fatalf("%#v: the twin wakes at %s, the call at %s", ev, m.twin.Wake(), m.call.Wake())
		}
	}
	if was.over && len(actions) > 0 && fresh == nil && !isAnswer(ev) {
		m.t.Fatalf("something is done after the end: %#v", actions)
	}
	replaced := false
	for i, a := range actions {
		switch a := a.(type) {
		case Ask:
			m.asked(a)
		case Stop:
			m.stoppedBy(a)
		case Resume:
			m.resumed(ev, a)
		case Discard:
			m.discarded(ev, a)
		case Answer:
			m.bind(ev, a.Attempt)
			m.answered = true
		case Replace:
			m.replaced(ev, actions[i:])
			replaced = true
		case Abandon:
			m.abandoned(a)
		case HangUp:
			m.hungUp(ev, was.byeAt, a)
		case Check:
			m.checked()
		case Rescuing:
			m.lost(a)
		case Kept:
			m.kept(ev)
		case NeedPlan:
			if !m.rescuing {
				m.t.Fatalf("a plan is wanted and nobody is lost")
			}
			m.wants = true
			m.drawPlan()
		case Ring, Early, Aim:
			if m.answered {
				m.t.Fatalf("the caller was answered, and now %#v", a)
			}
		case Reject:
			if m.answered || m.rejected {
				m.t.Fatalf("the caller was answered or rejected, and now %#v", a)
			}
			m.rejected = true
		case Over:
			m.ends(ev, was)
		case Note:
		}
	}
	m.after(ev, fresh, replaced)
}

func isAnswer(ev Event) bool {
	_, ok := ev.(Answered)
	return ok
}

func (m *talk) touch(id AttemptID, f func(*party)) {
	for _, p := range m.parties {
		if p.id == id {
			p.quiet = false
			f(p)
		}
	}
}

// before notes in the model what happened.
func (m *talk) before(ev Event) (fresh *party) {
	talks := m.bound != nil && !m.over
	switch ev := ev.(type) {
	case Planned:
		if m.wants || m.rescuing && m.call.Phase == PhaseRescuing && !m.call.Rescue.PlanAt.IsZero() {
			m.plan, m.wants = ev.Plan, false
		}
	case Trying:
		m.touch(ev.Attempt, func(p *party) { p.heard = true })
	case Rang:
		m.touch(ev.Attempt, func(p *party) {
			p.heard = true
			p.rings = p.rings || ev.Code == 180 || !p.partner && ev.Code < 184
		})
	case Died:
		m.touch(ev.Attempt, func(p *party) { p.rings = false })
	case Refused:
		m.touch(ev.Attempt, func(p *party) {
			if p != m.bound {
				p.final, p.ended = true, true
			}
		})
	case Full:
		m.touch(ev.Attempt, func(p *party) { p.final, p.ended = true, true })
	case Answered:
		m.touch(ev.Attempt, func(p *party) {
			if !p.final {
				fresh = p
			}
			p.final = true
		})
	case Confirmed:
		m.confirmed = m.confirmed || talks
	case HungUp:
		if talks && ev.Side == Callee && (ev.Attempt == 0 || ev.Attempt == m.bound.id) && m.byeAt.IsZero() &&
			(m.rescuing || ev.Suspicious && m.plan.Rescue && m.plan.RescueBye) {
			m.byeAt = m.now
		}
	case Lost:
		if talks && ev.Side == Callee && m.plan.Rescue && !m.rescuing && !m.doubtAt.IsZero() && !m.checking && len(m.dead) == 0 && !m.now.Before(m.until) {
			m.dead, m.check, m.deadICMP = append(m.dead, m.now), m.now, false
		}
	case Hushed:
		if talks && !m.rescuing && m.plan.Rescue && !m.muted {
			m.hushed, m.icmp = true, m.icmp || ev.ICMP
			m.doubt()
		}
	case Voiced:
		if talks && !m.rescuing {
			m.believe()
		}
	case Muted:
		if talks && m.muted != ev.On {
			m.muted = ev.On
			m.believe()
		}
	case Condemned:
		switch {
		case !talks:
		case !ev.On:
			m.downAt = time.Time{}
		case m.downAt.IsZero() || m.downAt.Before(m.until) || m.downAt.Before(m.byeAt):
			m.downAt = m.now
		}
		if talks && !m.rescuing {
			m.doubt()
		}
	case Checked:
		if !m.checking {
			break
		}
		m.checking = false
		if m.doubtAt.IsZero() || m.check.Before(m.doubtAt) || m.check.Before(m.until) || m.now.Before(m.until) || !m.byeAt.IsZero() {
			break
		}
		if ev.Dead {
			m.dead, m.deadICMP = append(m.dead, m.now), ev.ICMP
		} else {
			m.dead, m.lived = nil, true
		}
	case Voided:
		if ev.Until.After(m.until) {
			m.until, m.dead = ev.Until, nil
		}
	}
	return fresh
}

func (m *talk) believe() {
	m.hushed, m.icmp, m.dead, m.lived = false, false, nil, false
	m.doubt()
}

func (m *talk) doubt() {
	switch {
	case !m.muted && !m.hushed, m.muted && m.downAt.IsZero():
		m.doubtAt, m.dead, m.lived = time.Time{}, nil, false
	case m.doubtAt.IsZero():
		m.doubtAt = m.now
	}
}

// gone says, in the model's words, that the endpoint is lost.
func (m *talk) gone() bool {
	down := !m.downAt.IsZero() && !m.downAt.Before(m.until)
	switch {
	case m.bound == nil || m.rescuing || m.over || !m.confirmed || !m.plan.Rescue:
		return false
	case !m.byeAt.IsZero():
		return down && !m.downAt.Before(m.byeAt)
	case m.muted:
		return down && len(m.dead) >= 2 && m.now.Sub(m.downAt) >= 10*time.Second && m.now.Sub(m.dead[1]) >= 10*time.Second
	default:
		return m.hushed && (down || len(m.dead) >= 3 || len(m.dead) >= 2 && (!m.lived || m.icmp))
	}
}

func (m *talk) asked(a Ask) {
	if m.over || m.rejected || m.answered && !m.rescuing {
		m.t.Fatalf("asked %s while over %v, rejected %v, rescuing %v", a.Endpoint, m.over, m.rejected, m.rescuing)
	}
	if want := AttemptID(len(m.parties) + 1); a.Attempt != want {
		m.t.Fatalf("attempt %d asked, want number %d", a.Attempt, want)
	}
	if a.Why == "" || a.Retarget && a.Cause == 0 || m.rescuing && !a.Retarget {
		m.t.Fatalf("the endpoint is not told why: %#v", a)
	}
	live, found := 0, false
	for _, p := range m.parties {
		if p.counts() {
			live++
		}
	}
	for _, s := range m.plan.Steps {
		found = found || s.Endpoint == a.Endpoint && s.Partner == a.Partner
	}
	if !found {
		m.t.Fatalf("asked somebody who is not in the plan: %#v", a)
	}
	if live >= 3 || live >= 1 && !m.plan.Overlap {
		m.t.Fatalf("attempt %d while %d others live", a.Attempt, live)
	}
	m.parties = append(m.parties, &party{id: a.Attempt, partner: a.Partner, at: m.now, quiet: true})
}

func (m *talk) stoppedBy(a Stop) {
	m.touch(a.Attempt, func(p *party) {
		if !p.counts() {
			m.t.Fatalf("attempt %d stopped again", a.Attempt)
		}
		p.stopped, p.shut = true, a.Elsewhere
	})
}

// resumed: who was told to stop in this rescue counts again when it wakes and nobody rings.
func (m *talk) resumed(ev Event, a Resume) {
	if woke, ok := ev.(Woke); !ok || woke.Attempt != a.Attempt || m.over || m.answered && !m.rescuing || m.anyRings() {
		m.t.Fatalf("%#v on %#v", a, ev)
	}
	live := 0
	m.touch(a.Attempt, func(p *party) {
		if !p.stopped || p.shut || p.final {
			m.t.Fatalf("attempt %d resumed although stopped %v, shut %v, final %v", a.Attempt, p.stopped, p.shut, p.final)
		}
		p.stopped, p.heard = false, true
	})
	for _, p := range m.parties {
		if p.counts() {
			live++
		}
	}
	if live > 3 || live > 1 && !m.plan.Overlap {
		m.t.Fatalf("attempt %d resumed: %d live", a.Attempt, live)
	}
}

func (m *talk) discarded(ev Event, a Discard) {
	if answer, ok := ev.(Answered); !ok || answer.Attempt != a.Attempt {
		m.t.Fatalf("attempt %d discarded without an answer, on %#v", a.Attempt, ev)
	}
	m.touch(a.Attempt, func(p *party) { p.ended = true })
}

func (m *talk) bind(ev Event, id AttemptID) {
	if answer, ok := ev.(Answered); !ok || answer.Attempt != id || !answer.Usable || m.over || m.rejected {
		m.t.Fatalf("attempt %d is bound on %#v", id, ev)
	}
	if m.bound != nil {
		m.t.Fatalf("attempt %d is bound, and %d is too", id, m.bound.id)
	}
	m.touch(id, func(p *party) { m.bound = p })
	m.muted, m.downAt, m.byeAt = false, time.Time{}, time.Time{}
	m.believe()
}

// replaced: the new one first, then the old one is ended, then the others are stopped.
func (m *talk) replaced(ev Event, rest []Action) {
	if !m.rescuing {
		m.t.Fatalf("replaced without a loss")
	}
	if old, ok := rest[1].(Abandon); !ok || old.Attempt != m.bound.id {
		m.t.Fatalf("attempt %d is replaced, then %#v", m.bound.id, rest[1])
	}
	for _, a := range rest[2:] {
		if s, ok := a.(Stop); !ok || !s.Elsewhere {
			m.t.Fatalf("after the replacement: %#v", a)
		}
	}
	m.bound.ended, m.bound, m.rescuing, m.wants = true, nil, false, false
	m.bind(ev, rest[0].(Replace).Attempt)
}

func (m *talk) abandoned(a Abandon) {
	m.touch(a.Attempt, func(p *party) {
		if p == m.bound && !m.rescuing {
			m.t.Fatalf("attempt %d talks and is abandoned", a.Attempt)
		}
		p.ended = true
	})
}

// hungUp: an emergency caller is not hung up on unless somebody has left.
func (m *talk) hungUp(ev Event, byeAt time.Time, a HangUp) {
	if m.bound == nil {
		m.t.Fatalf("hung up on somebody who does not talk")
	}
	if a.Side == Callee {
		m.bound.ended = true
		return
	}
	switch ev := ev.(type) {
	case HungUp:
		if ev.Side == Callee && !m.rescuing {
			return
		}
	case Lost:
		if ev.Side == Caller || !m.plan.Rescue {
			return
		}
	case NeverAcked:
		if !m.confirmed {
			return
		}
	case Condemned:
		if !ev.On && !byeAt.IsZero() && !m.rescuing {
			return
		}
	default:
		if !byeAt.IsZero() && !m.rescuing && m.now.Sub(byeAt) >= 700*time.Millisecond {
			return
		}
	}
	if byeAt.IsZero() || m.rescuing || m.now.Sub(byeAt) < 700*time.Millisecond {
		m.t.Fatalf("the caller is hung up on, on %#v (rescuing %v, bye %v)", ev, m.rescuing, byeAt)
	}
}

// checked: Checks come while there is doubt, one at a time, and no closer than R20 wants them.
func (m *talk) checked() {
	if m.doubtAt.IsZero() || m.now.Before(m.until) || !m.byeAt.IsZero() {
		m.t.Fatalf("a Check without doubt, or in a void")
	}
	since := m.now.Sub(m.check)
	apart := time.Second
	if m.icmp && m.deadICMP {
		apart = 200 * time.Millisecond
	}
	if m.checking && since < 5*time.Second || len(m.dead) > 0 && since < apart {
		m.t.Fatalf("a Check %s after the last one; out %v, dead %d", since, m.checking, len(m.dead))
	}
	m.check, m.checking = m.now, true
}

func (m *talk) lost(a Rescuing) {
	if !m.gone() {
		m.t.Fatalf("lost without two witnesses: %v; muted %v, hushed %v, dead %d, down %v, bye %v", a.Witnesses, m.muted, m.hushed, len(m.dead), m.downAt, m.byeAt)
	}
	if a.Lost != m.bound.id || len(a.Witnesses) < 2 {
		m.t.Fatalf("attempt %d is bound, lost is %#v", m.bound.id, a)
	}
	m.rescuing = true
	for _, p := range m.parties {
		p.shut = p.shut || p.stopped
	}
}

func (m *talk) kept(ev Event) {
	checked, life := ev.(Checked)
	life = life && !checked.Dead && m.muted
	if _, voice := ev.(Voiced); !m.rescuing || !m.byeAt.IsZero() || !voice && !life {
		m.t.Fatalf("kept on %#v, rescuing %v, bye %v", ev, m.rescuing, m.byeAt)
	}
	m.rescuing, m.wants = false, false
	m.believe()
}

// ends: a rescue ends with its caller only.
func (m *talk) ends(ev Event, was talk) {
	m.over = true
	if m.bound != nil && (!m.byeAt.IsZero() || isHungUp(ev, Callee)) {
		m.bound.ended = true // it has left by itself
	}
	if was.rescuing && !isHungUp(ev, Caller) && ev != Event(Lost{Side: Caller}) {
		m.t.Fatalf("a rescue ends on %#v", ev)
	}
	if was.rescuing && !m.call.LostTalking {
		m.t.Fatalf("lost while talking, and the call-back list does not know")
	}
	m.rescuing = false
}

func isHungUp(ev Event, side Side) bool {
	h, ok := ev.(HungUp)
	return ok && h.Side == side
}

// after holds the call as it stands now against the promises.
func (m *talk) after(ev Event, fresh *party, replaced bool) {
	if m.gone() {
		m.t.Fatalf("%#v: two witnesses agree and nobody is asked: %+v", ev, m.call.Watch)
	}
	if _, voice := ev.(Voiced); voice && m.rescuing && m.byeAt.IsZero() {
		m.t.Fatalf("the lost endpoint sends again and does not keep the call")
	}
	answer, _ := ev.(Answered)
	if fresh != nil && !fresh.ended && fresh != m.bound {
		m.t.Fatalf("attempt %d answered and is neither bound nor discarded", fresh.id)
	}
	if fresh != nil && m.rescuing && answer.Usable && !fresh.shut && !replaced && !m.forgotten(fresh) {
		m.t.Fatalf("attempt %d answered while nobody had, and was discarded", fresh.id)
	}
	if m.over {
		return
	}
	wake := m.call.Wake()
	if !wake.IsZero() && !wake.After(m.now) {
		m.t.Fatalf("%#v: wake is in the past, the driver would spin: %v at %v", ev, wake, m.now)
	}
	if m.rescuing && wake.IsZero() && !m.anyRings() {
		m.t.Fatalf("%#v: a rescue has come to a standstill: %+v", ev, m.call)
	}
	if want := m.phase(); m.call.Phase != want {
		m.t.Fatalf("%#v: got phase %d, want %d", ev, m.call.Phase, want)
	}
}

// forgotten says whether an attempt was stopped so long ago that the call may not know it any more.
func (m *talk) forgotten(old *party) bool {
	newer := 0
	for _, p := range m.parties {
		if p.stopped && p.id > old.id {
			newer++
		}
	}
	return old.stopped && newer >= maxStopped
}

func (m *talk) phase() Phase {
	switch {
	case m.rescuing:
		return PhaseRescuing
	case m.bound != nil && m.confirmed:
		return PhaseTalking
	case m.bound != nil:
		return PhaseAnswered
	default:
		return PhaseAsking
	}
}

func (m *talk) anyRings() bool {
	for _, p := range m.parties {
		if p.counts() && p.rings {
			return true
		}
	}
	return false
}
