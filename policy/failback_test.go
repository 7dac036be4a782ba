package policy

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nines/health"
)

func TestEmergencyStaysWithOthersUntilARoomHasProvenItself(t *testing.T) {
	for _, tt := range []struct {
		why, ask, world  string
		emergency, other string // the orders for an emergency call and for a routine or test call
	}{
		{"a returning room", "north south p1", "north=returning", "south p1 north", "north south p1"},
		{"power is back but nobody has logged in: the partners keep it", "north p1 p2", "north=returning,busy", "p1 p2 north", "north p1 p2"},
		{"what calls brought down stands in its place for routine calls once it returns", "north south", "north=down,returning", "south north", "north south"},
		{"one that answers OPTIONS comes before one that is down", "north south p1", "north=down south=returning p1=down", "south north p1", "south north p1"},
		{"held is held", "north south p1", "north=held,returning south=down", "p1 south north", "p1 south north"},
		{"all are returning: the order of the file", "north south", "north=returning south=returning", "north south", "north south"},
		{"the canary stands first", "north south p1", "north=canary", "north south p1", "north south p1"},
		{"in its place, and no further forward", "north south p1", "south=canary", "north p1 south", "north south p1"},
		{"a partner's canary does not come before a healthy own room", "north p1 p2", "p1=canary", "north p2 p1", "north p1 p2"},
		{"the room before it is down: the canary's turn", "north south p1", "north=down south=canary", "south p1 north", "south p1 north"},
		{"two of them: one canary", "north south p1", "north=canary south=canary", "north p1 south", "north south p1"},
		{"a held room has no canary", "north south", "north=held,canary", "south north", "south north"},
		{"a full one neither", "north south", "north=canary,9/9", "south north", "south north"},
	} {
		lists := ask(tt.ask)
		p, v := world(t, lists, tt.world)
		for class, want := range map[Class]string{Emergency: tt.emergency, Routine: tt.other, Test: tt.other} {
			plan := p.Plan(Match{Found: true, Route: Route{Ask: lists, Class: class, Patience: time.Second}}, v)
			if got := order(plan); got != want {
				t.Errorf("%s: a %s call asks %q, want %q", tt.why, class, got, want)
			}
		}
	}
}

func TestOneCanaryAtATime(t *testing.T) {
	lists := ask("north south p1")
	p, v := world(t, lists, "north=canary south=canary")
	s := NewSlots(nil)
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var asked []string
	v.TakeCanary = func(n EndpointName) bool {
		asked = append(asked, string(n))
		return s.TakeCanary(now, n)
	}
	m := Match{Found: true, Route: Route{Ask: lists, Patience: time.Second}}
	plan := p.Plan(m, v)
	first := plan.Steps[0]
	if first.Endpoint != "north" || !first.Canary || first.AsWell != 8*time.Second || !strings.Contains(first.Why, "canary") {
		t.Errorf("the canary is %+v, want north, and the next asked as well after 8s", first)
	}
	if strings.Join(asked, " ") != "north" {
		t.Errorf("seats of %v were taken, want north's only: nobody else is asked first", asked)
	}
	plan = p.Plan(m, v)
	if got := order(plan); got != "south p1 north" || !plan.Steps[0].Canary {
		t.Errorf("while north has its canary, the next call asks %q, want south's canary", got)
	}
	plan = p.Plan(m, v)
	if got := order(plan); got != "p1 north south" {
		t.Errorf("while both have theirs the next asks %q, want p1 north south", got)
	}
	for _, step := range plan.Steps {
		if step.Canary || step.AsWell != 0 {
			t.Errorf("%+v is a canary, but the seat is taken", step)
		}
	}
	s.LeaveCanary("north")
	if plan = p.Plan(m, v); order(plan) != "north p1 south" || !plan.Steps[0].Canary {
		t.Errorf("north's canary is over, and the next call asks %q, want north first", order(plan))
	}
	now = now.Add(3 * time.Minute)
	if plan = p.Plan(m, v); !plan.Steps[0].Canary {
		t.Error("a canary that was never said to be over keeps its seat for ever")
	}
	routine := m
	routine.Route.Class = Routine
	asked = nil
	if plan = p.Plan(routine, v); plan.Steps[0].Canary || len(asked) > 0 {
		t.Error("a routine call took the canary's seat")
	}
	pv := v
	pv.MaxForwards = 0
	lists = ask("p1 north")
	p, _ = world(t, lists, "")
	pv.State = func(n EndpointName) State { return State{Verdict: health.Up, Returning: n == "p1", Canary: n == "p1"} }
	if plan = p.Plan(Match{Found: true, Route: Route{Ask: lists}}, pv); len(asked) > 0 || order(plan) != "north" {
		t.Errorf("the loop guard takes the partner out: asked %q, seats %v; want north and none", order(plan), asked)
	}
}

func TestAPlanSaysWhetherItsCallIsRescued(t *testing.T) {
	lists := ask("north")
	p, v := world(t, lists, "")
	for _, off := range []bool{false, true} {
		if got := p.Plan(Match{Found: true, Route: Route{Ask: lists, NoRescue: off}}, v).Rescue; got == off {
			t.Errorf("rescue: off is %t and the plan says rescue %t", off, got)
		}
	}
}

func TestExplainSaysWhatTheCanaryIs(t *testing.T) {
	lists := ask("north south")
	p, v := world(t, lists, "north=canary")
	m := Match{Found: true, Why: "999 is on route 999", Route: Route{Ask: lists, Patience: time.Second, Overlap: true}}
	lines := strings.Join(Explain(m, p.Plan(m, v)), "\n")
	for _, want := range []string{"1. north (up, returning, this call is the canary that tries it)", "or 8s whatever it says"} {
		if !strings.Contains(lines, want) {
			t.Errorf("%q does not say %q", lines, want)
		}
	}
	v.State = func(n EndpointName) State { return State{Verdict: health.Up, Returning: n == "north"} }
	lines = strings.Join(Explain(m, p.Plan(m, v)), "\n")
	if !strings.Contains(lines, "2. north (up, returning)") {
		t.Errorf("%q does not say that north is returning", lines)
	}
}

func TestPropertyOneCanaryAndFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNight(t)
		for name, s := range n.state {
			s.Canary = s.Returning && len(name)%2 == 0
			n.state[name] = s
		}
		taken := 0
		n.view.TakeCanary = func(EndpointName) bool {
			ok := rapid.Bool().Draw(t, "free")
			if ok {
				taken++
			}
			return ok
		}
		plan := New(n.cfg).Plan(n.match, n.view)
		seated := 0
		for i, s := range plan.Steps {
			if !s.Canary {
				continue
			}
			seated++
			st := n.state[s.Endpoint]
			if i > 0 || n.match.Route.Class != Emergency || !st.Returning || st.Held || s.AsWell == 0 {
				t.Errorf("step %d is a canary of a %s call: %+v", i+1, n.match.Route.Class, st)
			}
		}
		if seated != taken {
			t.Errorf("%d seats were taken for %d canaries", taken, seated)
		}
	})
}

func TestClassesAreTheSameToHealth(t *testing.T) {
	for _, c := range []Class{Emergency, Routine, Test} {
		if got := c.Health().String(); got != c.String() {
			t.Errorf("%s is %s to health", c, got)
		}
	}
}

func TestEvidenceSaysTheSameAsHealth(t *testing.T) {
	for code := 100; code < 700; code++ {
		what, ok := Evidence(code)
		all, _ := health.CallOutcomeOf(code)
		if ok && what != all || !ok && code > 100 && all != health.CallRefused {
			t.Errorf("%d is %s (%t) in the refusal table and %s to health", code, what, ok, all)
		}
	}
}
