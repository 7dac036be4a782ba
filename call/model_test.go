package call

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nines/policy"
)

// TestMain lets the model run a few thousand histories where nobody asked for a number: -rapid.checks=100000 for a long night.
func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		if err := flag.Set("rapid.checks", "3000"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// TestPromisesHoldInEveryHistory plays random histories against a model that knows the promises but not how they are kept.
func TestPromisesHoldInEveryHistory(t *testing.T) {
	rapid.Check(t, history)
}

// FuzzPromises searches the same histories with coverage as its guide.
func FuzzPromises(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(history))
}

// asked is what the model knows of one attempt.
type asked struct {
	id      AttemptID
	step    int
	partner bool
	at      time.Time
	heard   bool
	muteAt  time.Time // since when it was not heard: its ask, or its death
	ringing bool
	rangAt  time.Time
	silent  bool // by ICMP or death; silence by time is judged when it matters
	stopped bool
	final   bool // it has reported a final response
	over    bool // refused, discarded
	quiet   bool // nothing was reported yet: the driver may still say Full
}

func (a *asked) counts() bool { return !a.stopped && !a.over }

// dice draws numbers. Small ones shrink well, and rapid prefers them; wild ones are even, and reach deeper.
type dice struct {
	t    *rapid.T
	wild *rand.Rand
}

func (d dice) n(n int, what string) int {
	if d.wild != nil {
		return d.wild.IntN(n)
	}
	return rapid.IntRange(0, n-1).Draw(d.t, what)
}

func (d dice) oneIn(n int, what string) bool { return d.n(n, what) == n-1 }

func one[T any](d dice, what string, of ...T) T { return of[d.n(len(of), what)] }

// model is the world around one call: a driver, some endpoints, a caller, and the promises.
type model struct {
	t     *rapid.T
	dice  dice
	call  *Call
	twin  *Call // written down and read back at some moment, then told the same
	now   time.Time
	plan  policy.Plan
	class policy.Class

	attempts  []*asked
	tried     map[int]bool // steps whose endpoint was asked and not put off
	ended     bool         // a routine refusal ended the asking
	quietAt   time.Time    // since when nothing rings
	rangEver  bool
	early     AttemptID
	lastAsk   time.Time
	cancelled bool
	planned   bool
	winner    *asked
	final     bool // the caller has its one final response
	over      bool
}

func history(t *rapid.T) {
	d := dice{t: t}
	if seed := rapid.Uint64().Draw(t, "seed of a wild history"); seed%4 != 0 {
		d.wild = rand.New(rand.NewPCG(seed, 0))
	}
	class := one(d, "class", policy.Emergency, policy.Emergency, policy.Routine, policy.Test)
	m := &model{t: t, dice: d, now: epoch, tried: map[int]bool{}, class: class, plan: drawPlan(d, class)}
	m.call = New(Params{Class: m.class})
	if d.oneIn(30, "cancelled before the plan") {
		m.cancelled = true
		m.tell(Cancelled{})
	}
	m.planned = true
	m.tell(Planned{Plan: m.plan})
	for range d.n(40, "length") {
		if m.twin == nil && d.oneIn(8, "write down") {
			m.twin = reborn(t, m.call)
		}
		m.pass()
		m.tell(m.draw())
	}
	m.finish()
}

func drawPlan(d dice, class policy.Class) policy.Plan {
	p := policy.Plan{
		Class:             class,
		Progress:          one(d, "progress", 4*time.Second, 2*time.Second, 0),
		Ringing:           one(d, "ringing", 0, 2*time.Second, 30*time.Second),
		RingingToPartners: one(d, "ringing to partners", 0, 0, 10*time.Second),
		Overlap:           !d.oneIn(4, "no overlap"),
		EarlyMedia:        d.oneIn(2, "early media"),
		GiveUp:            one(d, "give-up", 20*time.Second, 5*time.Second, 0),
	}
	for i := range d.n(8, "steps") {
		p.Steps = append(p.Steps, policy.Step{
			Endpoint:  policy.EndpointName(fmt.Sprintf("e%d", i)),
			Partner:   d.oneIn(3, "partner"),
			Patience:  one(d, "patience", time.Second, 300*time.Millisecond, 0),
			Follow3xx: d.oneIn(3, "follow"),
		})
	}
	return p
}

// pass lets time go by, never past the moment at which the driver would have ticked.
func (m *model) pass() {
	m.until(m.now.Add(one[time.Duration](m.dice, "ms", 0, 0, 1, 50, 50, 400, 1100, 5000, 25000, 70000) * time.Millisecond))
}

func (m *model) until(then time.Time) {
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

// draw makes up what happens next: what a driver would say, and now and then what it should not.
func (m *model) draw() Event {
	d := m.dice
	var open []*asked
	for _, a := range m.attempts {
		if !a.final {
			open = append(open, a)
		}
	}
	switch {
	case d.oneIn(30, "rude"):
		return m.rude()
	case m.winner == nil && d.oneIn(40, "cancel"):
		return Cancelled{}
	case m.winner != nil && d.oneIn(3, "talk"):
		return one[Event](d, "talk",
			Confirmed{}, Confirmed{}, Cancelled{}, NeverAcked{}, HungUp{Side: Caller}, HungUp{Side: Callee}, Lost{Side: Caller}, Lost{Side: Callee})
	case len(open) == 0:
		return Tick{}
	}
	a := one(d, "attempt", open...)
	if a.quiet && !a.stopped && d.oneIn(3, "full") {
		return Full{Attempt: a.id, Until: one(d, "until", 0, m.now.UnixNano(), m.now.Add(time.Second).UnixNano(), m.now.Add(9*time.Second).UnixNano())}
	}
	if a.stopped && d.oneIn(3, "wakes") {
		return Woke{Attempt: a.id}
	}
	switch d.n(13, "does") {
	case 0, 1:
		return Trying{Attempt: a.id}
	case 2, 3, 4, 5, 6:
		return Rang{Attempt: a.id, Code: one(d, "1xx", 180, 180, 180, 183, 183, 181, 182, 199), SDP: d.oneIn(2, "sdp")}
	case 7:
		return Unreachable{Attempt: a.id}
	case 8:
		return Died{Attempt: a.id}
	case 9:
		return Answered{Attempt: a.id, Usable: !d.oneIn(3, "unusable")}
	case 10:
		return Refused{Attempt: a.id, Cause: one(d, "cause", Transport, NoAddress, Timeout)}
	default:
		ev := Refused{Attempt: a.id, Code: one(d, "code", 302, 302, 302, 403, 404, 408, 480, 484, 486, 487, 488, 500, 500, 503, 503, 600, 603, 606)}
		if ev.Code == 302 {
			ev.Contacts = []string{"sip:a", "sip:b", "sip:c", "sip:d"}[:d.n(5, "contacts")]
		}
		return ev
	}
}

// rude is an event that no driver should send. It must do no harm.
func (m *model) rude() Event {
	return one[Event](m.dice, "rude event",
		Trying{Attempt: 99}, Rang{Attempt: 99, Code: 180}, Refused{Attempt: 99, Code: 486}, Died{Attempt: 99}, Woke{Attempt: 99}, Woke{Attempt: 1}, Unreachable{}, Full{Attempt: 99},
		Answered{Attempt: 99, Usable: true}, Planned{Plan: m.plan})
}

// finish ends whatever is still going on, and looks at what is left.
func (m *model) finish() {
	if m.dice.oneIn(2, "refuse in the end") {
		m.refuseAll()
	}
	for n := 0; !m.over; n++ {
		if n > 100 {
			m.t.Fatalf("the call does not end: %+v", m.call)
		}
		switch {
		case m.winner != nil:
			m.tell(HungUp{Side: Caller})
		case m.dice.oneIn(4, "cancel in the end"):
			m.tell(Cancelled{})
		default: // every transaction ends some day
			m.refuseAll()
			if wake := m.call.Wake(); !wake.IsZero() {
				m.until(wake)
			}
		}
	}
	for _, a := range m.attempts {
		if a == m.winner || a.final || a.stopped {
			continue
		}
		m.t.Fatalf("attempt %d was asked and neither answered, stopped, discarded nor refused", a.id)
	}
	m.refuseAll()
	for _, a := range m.attempts {
		m.tell(Answered{Attempt: a.id, Usable: true}) // a late one each; tell checks that it goes nowhere
	}
	m.tell(Tick{})
	if m.winner == nil && !m.final {
		m.t.Fatalf("the caller never heard a final response")
	}
}

func (m *model) refuseAll() {
	for i := 0; i < len(m.attempts); i++ { // the list grows while we go
		if a := m.attempts[i]; !a.final {
			m.tell(Refused{Attempt: a.id, Cause: Timeout})
		}
	}
}

// tell steps the call and its twin and holds what they do against the promises.
func (m *model) tell(ev Event) {
	late := m.before(ev)
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
	for i, a := range actions {
		m.check(ev, actions, i, a)
	}
	m.after(ev, late, actions)
}

// before notes in the model what happened, and says whether it is a first 2xx.
func (m *model) before(ev Event) (fresh *asked) {
	switch ev := ev.(type) {
	case Cancelled:
		m.cancelled = m.cancelled || !m.final
	case Trying:
		m.hear(ev.Attempt, func(a *asked) {})
	case Rang:
		m.hear(ev.Attempt, func(a *asked) {
			if ev.Code == 180 || !a.partner && ev.Code >= 180 && ev.Code <= 183 {
				if !a.ringing {
					a.ringing, a.rangAt, a.silent = true, m.now, false
				}
			}
		})
	case Unreachable:
		m.touch(ev.Attempt, func(a *asked) { a.silent = true })
	case Died:
		m.touch(ev.Attempt, func(a *asked) {
			if a.heard {
				a.muteAt = m.now
			}
			a.silent, a.ringing, a.heard = true, false, false
		})
	case Refused:
		m.touch(ev.Attempt, func(a *asked) {
			if a.counts() && ev.Cause == Status && m.class != policy.Emergency && policy.Means(m.class, ev.Code) == policy.End {
				m.ended = true
			}
			a.final, a.over, a.ringing = true, true, false
		})
	case Full:
		m.touch(ev.Attempt, func(a *asked) {
			a.final, a.over = true, true
			if ev.Until != 0 {
				delete(m.tried, a.step) // it is to be tried again
			}
		})
	case Answered:
		m.touch(ev.Attempt, func(a *asked) {
			if !a.final {
				fresh = a
			}
			a.final = true
			if !ev.Usable {
				a.over, a.ringing = true, false
			}
		})
	}
	m.clocks()
	return fresh
}

// clocks keeps the model's own idea of since when nothing rings.
func (m *model) clocks() {
	ringing := false
	for _, a := range m.attempts {
		ringing = ringing || a.counts() && a.ringing
	}
	m.quietAt = since(m.quietAt, ringing, m.now)
}

// mute says whether somebody who counts is left, and none of them has been heard for four seconds.
func (m *model) mute() bool {
	live := false
	if m.now.Sub(m.lastAsk) < 4*time.Second {
		return false
	}
	for _, a := range m.attempts {
		if !a.counts() {
			continue
		}
		live = true
		if a.heard || m.now.Sub(a.muteAt) < 4*time.Second {
			return false
		}
	}
	return live
}

func (m *model) touch(id AttemptID, f func(*asked)) {
	for _, a := range m.attempts {
		if a.id == id {
			a.quiet = false
			f(a)
		}
	}
}

func (m *model) hear(id AttemptID, f func(*asked)) {
	m.touch(id, func(a *asked) {
		if a.counts() {
			a.heard = true
			f(a)
		}
	})
}

// check holds one action against the promises.
func (m *model) check(ev Event, all []Action, i int, a Action) {
	switch a := a.(type) {
	case Ask:
		m.checkAsk(a)
	case Stop:
		m.checkStop(a)
	case Resume:
		m.checkResume(ev, a)
	case Discard:
		answer, ok := ev.(Answered)
		if !ok || answer.Attempt != a.Attempt {
			m.t.Fatalf("attempt %d discarded without an answer, on %#v", a.Attempt, ev)
		}
	case Ring:
		m.checkRing()
	case Early:
		if m.early != 0 || !m.plan.EarlyMedia {
			m.t.Fatalf("early media of attempt %d, after %d", a.Attempt, m.early)
		}
		if rang, ok := ev.(Rang); !ok || !rang.SDP || rang.Attempt != a.Attempt {
			m.t.Fatalf("early media of attempt %d on %#v", a.Attempt, ev)
		}
		m.early = a.Attempt
		m.rangEver = m.rangEver || m.anyRings()
	case Aim:
		answer, ok := all[i+1].(Answer)
		if !ok || answer.Attempt != a.Attempt {
			m.t.Fatalf("aimed at %d, then %#v: media first, then the answer", a.Attempt, all[i+1])
		}
	case Answer:
		m.checkAnswer(ev, all, i, a)
	case Reject:
		m.checkReject(a)
	case HangUp:
		if m.winner == nil {
			m.t.Fatalf("hung up on somebody who does not talk")
		}
	case Over:
		if m.over || !m.final {
			m.t.Fatalf("over %v, final response sent %v", m.over, m.final)
		}
		if i != len(all)-1 {
			m.t.Fatalf("something is done after the call is over: %#v", all[i+1:])
		}
		m.over = true
	case Note:
	case NeedPlan:
		m.t.Fatalf("the call wants another plan")
	}
}

func (m *model) checkAsk(a Ask) {
	if m.final || m.cancelled || m.over || m.ended {
		m.t.Fatalf("asked %s although: final %v, cancelled %v, over %v, ended %v", a.Endpoint, m.final, m.cancelled, m.over, m.ended)
	}
	if want := AttemptID(len(m.attempts) + 1); a.Attempt != want {
		m.t.Fatalf("attempt %d asked, want number %d", a.Attempt, want)
	}
	if a.Retarget != (a.Attempt > 1) || a.Retarget && a.Cause == 0 || a.Why == "" {
		m.t.Fatalf("the endpoint is not told why: %#v", a)
	}
	now := &asked{id: a.Attempt, partner: a.Partner, at: m.now, muteAt: m.now, quiet: true, step: -1}
	for i := range m.plan.Steps {
		if m.plan.Steps[i].Endpoint == a.Endpoint {
			now.step = i
		}
	}
	if now.step < 0 || m.plan.Steps[now.step].Partner != a.Partner {
		m.t.Fatalf("asked somebody who is not in the plan: %#v", a)
	}
	live := 0
	for _, other := range m.attempts {
		if other.counts() {
			live++
		}
	}
	m.lastAsk = m.now
	if live >= 3 || live >= 1 && !m.plan.Overlap {
		m.t.Fatalf("attempt %d while %d others live", a.Attempt, live)
	}
	if a.Partner {
		m.checkPartner(a)
	}
	m.tried[now.step] = true
	m.attempts = append(m.attempts, now)
	m.clocks()
}

// checkPartner: mere ringing at home never reaches a partner unless the route says so, and partners are asked one after another.
func (m *model) checkPartner(a Ask) {
	longest := time.Duration(0)
	for _, other := range m.attempts {
		if other.counts() && other.ringing && !other.partner {
			longest = max(longest, m.now.Sub(other.rangAt))
		}
	}
	mayRing := m.plan.RingingToPartners > 0 && longest >= m.plan.RingingToPartners
	for _, other := range m.attempts {
		if !other.counts() {
			continue
		}
		waited := m.now.Sub(other.at)
		limit := orElse(m.plan.Steps[other.step].Patience, time.Second)
		if other.heard {
			limit = orElse(m.plan.Progress, 4*time.Second)
		}
		gone := other.silent || waited >= limit || waited >= orElse(m.plan.Steps[other.step].Patience, time.Second)
		switch {
		case other.ringing && other.partner && m.now.Sub(other.rangAt) < 20*time.Second:
			m.t.Fatalf("%s asked while another partner has rung for %s", a.Endpoint, m.now.Sub(other.rangAt))
		case other.ringing && !other.partner && !mayRing:
			m.t.Fatalf("%s asked because an own room rings", a.Endpoint)
		case !other.ringing && !gone && (other.partner || !mayRing):
			m.t.Fatalf("%s asked although attempt %d was asked only %s ago", a.Endpoint, other.id, waited)
		}
	}
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func (m *model) checkStop(a Stop) {
	found := false
	m.touch(a.Attempt, func(x *asked) {
		found = true
		if x.stopped || x.final {
			m.t.Fatalf("attempt %d stopped although stopped %v, final %v", a.Attempt, x.stopped, x.final)
		}
		x.stopped = true
	})
	if !found {
		m.t.Fatalf("attempt %d stopped, which was never asked", a.Attempt)
	}
	if a.Elsewhere != (m.winner != nil) {
		m.t.Fatalf("attempt %d stopped with elsewhere %v", a.Attempt, a.Elsewhere)
	}
	m.clocks()
}

// checkResume: who was told to stop is wanted again only when it wakes and nobody else rings, and never more than three at a time.
func (m *model) checkResume(ev Event, a Resume) {
	if woke, ok := ev.(Woke); !ok || woke.Attempt != a.Attempt || a.Why == "" {
		m.t.Fatalf("%#v on %#v", a, ev)
	}
	if m.final || m.cancelled || m.ended || m.anyRings() {
		m.t.Fatalf("attempt %d resumed although: final %v, cancelled %v, ended %v, somebody rings %v", a.Attempt, m.final, m.cancelled, m.ended, m.anyRings())
	}
	live := 0
	m.touch(a.Attempt, func(x *asked) {
		if !x.stopped || x.over {
			m.t.Fatalf("attempt %d resumed although stopped %v, over %v", a.Attempt, x.stopped, x.over)
		}
		x.stopped, x.heard, x.silent, x.ringing = false, true, true, false // if it rings, it says so next
	})
	for _, x := range m.attempts {
		if x.counts() {
			live++
		}
	}
	if live > 3 || live > 1 && !m.plan.Overlap {
		m.t.Fatalf("attempt %d resumed: %d live", a.Attempt, live)
	}
	m.clocks()
}

func (m *model) checkRing() {
	if m.final {
		m.t.Fatalf("a 180 after the final response")
	}
	if !m.rangEver && !m.anyRings() {
		m.t.Fatalf("the caller hears ringing and nothing has rung")
	}
	m.rangEver = true
}

func (m *model) anyRings() bool {
	for _, a := range m.attempts {
		if a.counts() && a.ringing {
			return true
		}
	}
	return false
}

func (m *model) checkAnswer(ev Event, all []Action, i int, a Answer) {
	answer, ok := ev.(Answered)
	if !ok || answer.Attempt != a.Attempt || !answer.Usable {
		m.t.Fatalf("answered with attempt %d on %#v", a.Attempt, ev)
	}
	if m.final || i == 0 {
		m.t.Fatalf("second final response to the caller, or media not aimed: %#v", all)
	}
	m.final = true
	m.touch(a.Attempt, func(x *asked) { m.winner = x })
}

func (m *model) checkReject(a Reject) {
	if m.final {
		m.t.Fatalf("second final response to the caller: %d", a.Code)
	}
	m.final = true
	if m.cancelled != (a.Code == 487) || a.Why == "" || a.Text == "" {
		m.t.Fatalf("cancelled %v, rejected with %#v", m.cancelled, a)
	}
	if a.Code == 503 || a.Code >= 600 && a.Code != 603 {
		m.t.Fatalf("rejected with %d", a.Code)
	}
	if m.class != policy.Emergency || m.cancelled {
		return
	}
	if a.Code != 500 {
		m.t.Fatalf("an emergency caller's carrier got %d", a.Code)
	}
	everybody := len(m.tried) == len(m.plan.Steps)
	live := false
	for _, x := range m.attempts {
		live = live || x.counts()
	}
	quiet := !m.quietAt.IsZero() && m.now.Sub(m.quietAt) >= orElse(m.plan.GiveUp, 20*time.Second)
	mute := everybody && m.mute()
	if !quiet && !mute && (!everybody || live) {
		m.t.Fatalf("an emergency call is refused (%s) although: everybody asked %v, somebody live %v, quiet since %v", a.Why, everybody, live, m.quietAt)
	}
}

// after holds the call as it stands now against the promises.
func (m *model) after(ev Event, fresh *asked, actions []Action) {
	bound, discarded := false, 0
	for _, a := range actions {
		switch a.(type) {
		case Answer:
			bound = true
		case Discard:
			discarded++
			if fresh != nil {
				fresh.over = true
			}
		}
	}
	answer, isAnswer := ev.(Answered)
	if fresh != nil && bound == (discarded == 1) {
		m.t.Fatalf("a 200 is either bound or discarded, got bound %v, discarded %d", bound, discarded)
	}
	if fresh != nil && answer.Usable && !bound && m.winner == nil && !m.over {
		m.t.Fatalf("attempt %d answered while nobody had, and was discarded", fresh.id)
	}
	if isAnswer && m.winner != nil && answer.Attempt == m.winner.id && discarded > 0 {
		m.t.Fatalf("the winner was discarded")
	}
	if isAnswer && answer.Attempt == 99 && discarded != 1 {
		m.t.Fatalf("an answer from nowhere is left talking")
	}
	if woke, ok := ev.(Woke); ok {
		m.checkWoke(woke)
	}
	wake := m.call.Wake()
	if asking := m.planned && !m.final; asking == wake.IsZero() {
		m.t.Fatalf("%#v: wake %v while asking is %v", ev, wake, asking)
	}
	if !wake.IsZero() && !wake.After(m.now) {
		m.t.Fatalf("%#v: wake is in the past, the driver would spin: %v at %v", ev, wake, m.now)
	}
	m.checkHope()
	m.checkPatience()
}

// checkWoke: who wakes is taken if nobody else is hoped for. R4: a call that rings is never given up.
func (m *model) checkWoke(ev Woke) {
	if m.call.Phase != PhaseAsking || m.call.Closed || m.call.hope() {
		return
	}
	m.touch(ev.Attempt, func(a *asked) {
		if a.stopped && !a.over {
			m.t.Fatalf("attempt %d woke and was not taken, although nobody is hoped for", a.id)
		}
	})
}

// checkHope: as long as somebody is left to ask, either somebody is hoped for, or somebody full has a time to be tried again.
func (m *model) checkHope() {
	if m.call.Phase != PhaseAsking || m.call.hope() {
		return
	}
	for _, turn := range m.call.Turns {
		if turn.NotBefore.IsZero() {
			m.t.Fatalf("nobody is hoped for and %s is not asked: %+v", m.plan.Steps[turn.Step].Endpoint, m.call)
		}
	}
}

// checkPatience: a caller is not kept longer than promised either.
func (m *model) checkPatience() {
	if m.call.Phase != PhaseAsking {
		return
	}
	if limit := orElse(m.plan.GiveUp, 20*time.Second); !m.quietAt.IsZero() && m.now.Sub(m.quietAt) >= limit {
		m.t.Fatalf("nothing has rung for %s and the call goes on", m.now.Sub(m.quietAt))
	}
	if len(m.call.Turns) == 0 && m.mute() {
		m.t.Fatalf("everybody was asked, nobody was heard for %s, and the call goes on", muteLimit)
	}
}
