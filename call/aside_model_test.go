package call

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nines/policy"
)

// TestPromisesHoldForWhoeverIsTurnedAside plays random histories of calls that nobody takes at first, with a driver that may say anything at any time.
func TestPromisesHoldForWhoeverIsTurnedAside(t *testing.T) {
	rapid.Check(t, asideHistory)
}

// FuzzAside searches the same histories with coverage as its guide.
func FuzzAside(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(asideHistory))
}

// asideModel knows what such a caller is promised.
type asideModel struct {
	t     *rapid.T
	dice  dice
	call  *Call
	twin  *Call
	now   time.Time
	plan  policy.Plan
	final bool // a final response or our 200 went to the caller
	over  bool
	heard bool // something of ours is played
	out   map[AttemptID]bool
	taken bool
	won   AttemptID
	class policy.Class
}

func asideHistory(t *rapid.T) {
	m := &asideModel{t: t, dice: dice{t: t}, now: epoch, out: map[AttemptID]bool{}}
	m.class = one(m.dice, "class", policy.Routine, policy.Routine, policy.Routine, policy.Test, policy.Emergency)
	m.plan = drawPlan(m.dice, m.class)
	m.plan.Rescue, m.plan.Impaired = m.dice.oneIn(2, "rescue"), m.dice.oneIn(2, "impaired")
	m.plan.Steps = m.plan.Steps[:min(len(m.plan.Steps), 3)]
	for range m.dice.n(4, "what follows") {
		m.plan.Otherwise = append(m.plan.Otherwise, one(m.dice, "step",
			policy.Otherwise{Wait: 20 * time.Second},
			policy.Otherwise{Wait: 20 * time.Second, Announce: "wait", Escape: policy.Escape{Key: "1", To: "999"}},
			policy.Otherwise{Announce: "text", Times: 2, Escape: policy.Escape{Key: "9", To: "999"}},
			policy.Otherwise{Announce: "early", Early: true},
			policy.Otherwise{Divert: []policy.EndpointName{"e0"}},
			policy.Otherwise{Reject: 486},
			policy.Otherwise{Person: "999"}))
	}
	m.call = New(Params{Class: m.class})
	m.tell(Planned{Plan: m.plan})
	for range m.dice.n(40, "length") {
		if m.twin == nil && m.dice.oneIn(8, "write down") {
			m.twin = reborn(t, m.call)
		}
		m.until(m.now.Add(one[time.Duration](m.dice, "ms", 0, 1, 100, 900, 5000, 21000) * time.Millisecond))
		m.tell(m.draw())
	}
	for n := 0; !m.over; n++ {
		if n > 20 {
			t.Fatalf("a caller who leaves is not let go: %+v", m.call)
		}
		m.tell(Cancelled{})
		m.tell(HungUp{Side: Caller})
	}
	if m.heard {
		t.Fatal("the call is over and the announcement plays on")
	}
	if len(m.out) > 0 {
		t.Fatalf("the call is over and attempts %v were never stopped", m.out)
	}
}

func (m *asideModel) until(then time.Time) {
	for n := 0; ; n++ {
		if n > 1000 {
			m.t.Fatalf("the call does not rest: %+v", m.call)
		}
		wake := m.call.Wake()
		if wake.IsZero() || wake.After(then) {
			break
		}
		m.now = wake
		m.tell(Tick{})
	}
	m.now = then
}

func (m *asideModel) draw() Event {
	d := m.dice
	id := AttemptID(1)
	if m.call.Last > 0 {
		id = AttemptID(1 + d.n(int(m.call.Last), "attempt"))
	}
	return one[Event](d, "event",
		Planned{Plan: m.plan}, Planned{Plan: m.plan}, Planned{Plan: policy.Plan{Class: m.class}},
		Waits{Until: m.now.Add(time.Second)}, Waits{Why: "the line is full"}, Announced{}, Played{}, Played{}, Unplayable{Why: "no codec"},
		Pressed{Key: "9", How: "event"}, Pressed{Key: "1", How: "info"}, Pressed{Key: "", How: "tone"},
		Trying{Attempt: id}, Rang{Attempt: id, Code: 180}, Refused{Attempt: id, Code: 500}, Refused{Attempt: id, Code: 486}, Refused{Attempt: id, Code: 404},
		Refused{Attempt: id, Cause: Timeout}, Full{Attempt: id}, Full{Attempt: id, Until: m.now.Add(time.Second).UnixNano()}, Died{Attempt: id}, Woke{Attempt: id},
		Answered{Attempt: id, Usable: true}, Answered{Attempt: id}, Confirmed{}, NeverAcked{}, Cancelled{}, Lost{Side: Caller},
		HungUp{Side: Caller}, HungUp{Side: Callee}, HungUp{Side: Callee, Attempt: id}, Hushed{Since: m.now}, Voiced{}, Muted{On: true}, Muted{}, Checked{Dead: true, Why: "481"},
		Condemned{On: true, Why: "down"}, Voided{Until: m.now}, Tick{})
}

func (m *asideModel) tell(ev Event) {
	if _, ok := ev.(Announced); ok && (!m.heard || m.final || !m.mayAnswer()) {
		return // the driver says it after a Play that is not early, once
	}
	wasEmergency, wasTaken := m.call.Class == policy.Emergency, m.taken
	if _, ok := ev.(Announced); ok {
		m.final, m.taken = true, true
	}
	actions := m.call.Step(m.now, ev)
	m.t.Logf("%s %#v → %#v", m.now.Sub(epoch), ev, actions)
	if m.twin != nil {
		if diff := cmp.Diff(actions, m.twin.Step(m.now, ev)); diff != "" && len(actions) > 0 {
			m.t.Fatalf("%#v: a call that was written down and read back acts differently:\n%s", ev, diff)
		}
	}
	for _, a := range actions {
		if _, late := a.(Discard); m.over && !late {
			m.t.Fatalf("%#v after the end", a)
		}
		m.check(a, ev, wasEmergency, wasTaken)
	}
	switch ev := ev.(type) {
	case Refused:
		delete(m.out, ev.Attempt)
	case Full:
		delete(m.out, ev.Attempt)
	case Answered:
		delete(m.out, ev.Attempt)
	case Played, Unplayable:
		m.heard = m.call.Aside.Plays
	}
	if wake := m.call.Wake(); !wake.IsZero() && !wake.After(m.now) {
		m.t.Fatalf("%#v: wake is in the past: %v at %v", ev, wake, m.now)
	}
	if m.call.Phase == PhaseAside && !m.heard && m.call.Wake().IsZero() {
		m.t.Fatalf("%#v: the caller was forgotten: nothing is played and nothing is waited for: %+v", ev, m.call)
	}
}

// mayAnswer says whether the last thing played was no early media.
func (m *asideModel) mayAnswer() bool {
	return m.call.Phase == PhaseAside && !m.call.Aside.step().Early
}

func (m *asideModel) check(a Action, ev Event, wasEmergency, wasTaken bool) {
	switch a := a.(type) {
	case Play:
		m.heard = true
		if wasEmergency && !a.Ringing || m.class == policy.Emergency {
			m.t.Fatalf("an emergency caller is announced to: %#v", a)
		}
		if a.Early && wasTaken || a.Ringing && !m.taken {
			m.t.Fatalf("%#v to a caller who has our 200: %t", a, m.taken)
		}
	case Hush:
		if !m.heard {
			m.t.Fatal("hushed and nothing is played")
		}
		m.heard = false
	case Ask:
		m.out[a.Attempt] = true
	case Stop:
		delete(m.out, a.Attempt)
	case Reject:
		if m.final {
			m.t.Fatalf("a second final response: %#v", a)
		}
		m.final = true
		if a.Code == 503 || a.Code > 600 && a.Code != 603 || m.call.Class == policy.Emergency && a.Code != 500 && a.Code != 487 {
			m.t.Fatalf("%s call refused with %d", m.call.Class, a.Code)
		}
	case Answer:
		if m.final {
			m.t.Fatalf("a second final response: %#v", a)
		}
		m.final, m.won = true, a.Attempt
	case Replace:
		if !m.taken && m.won == 0 || !m.final {
			m.t.Fatalf("%#v for a caller who was not answered", a)
		}
		m.won = a.Attempt
	case HangUp:
		if a.Side == Caller && m.call.Class == policy.Emergency && m.call.Escaped != "" && m.won == 0 && ev != Event(Lost{Side: Caller}) && ev != Event(NeverAcked{}) {
			m.t.Fatalf("we hang up on somebody who pressed the key: %#v on %#v", a, ev)
		}
	case Over:
		m.over = true
		if !m.final {
			m.t.Fatal("over without a final response")
		}
	}
}
