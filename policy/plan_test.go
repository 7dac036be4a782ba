package policy

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nines/health"
)

// world reads "north=down south=60/60 warks=held,busy": a verdict, calls used of calls, held, busy. What is not named is up, unlimited and idle. A name
// that begins with p is a partner.
func world(t *testing.T, lists [][]EndpointName, s string) (*Policy, View) {
	t.Helper()
	states := map[EndpointName]State{}
	var cfg Config
	said := map[EndpointName]string{}
	for _, f := range strings.Fields(s) {
		name, what, _ := strings.Cut(f, "=")
		said[EndpointName(name)] = what
	}
	for _, list := range lists {
		for _, name := range list {
			e := Endpoint{Name: name, Partner: strings.HasPrefix(string(name), "p")}
			st := State{Verdict: health.Up}
			for _, word := range strings.Split(said[name], ",") {
				switch word {
				case "", "up":
				case "down":
					st.Verdict = health.Down
				case "suspect":
					st.Verdict = health.Suspect
				case "unknown":
					st.Verdict = health.Unknown
				case "held":
					st.Held = true
				case "busy":
					st.Busy = true
				case "returning":
					st.Returning = true
				case "canary":
					st.Returning, st.Canary = true, true
				default:
					used, calls, ok := strings.Cut(word, "/")
					var err1, err2 error
					st.Used, err1 = strconv.Atoi(used)
					calls, reserve, _ := strings.Cut(calls, "-")
					e.Calls, err2 = strconv.Atoi(calls)
					if reserve != "" {
						e.Reserve, _ = strconv.Atoi(reserve)
					}
					if !ok || err1 != nil || err2 != nil {
						t.Fatalf("cannot read %q in %q", word, s)
					}
				}
			}
			states[name] = st
			cfg.Endpoints = append(cfg.Endpoints, e)
		}
	}
	return New(cfg), View{MaxForwards: 70, State: func(n EndpointName) State { return states[n] }}
}

func order(p Plan) string {
	var names []string
	for _, s := range p.Steps {
		names = append(names, string(s.Endpoint))
	}
	return strings.Join(names, " ")
}

func TestPlanOrder(t *testing.T) {
	for _, tt := range []struct{ why, ask, world, want string }{
		{"a good day: the order of the file", "north south p1 last", "", "north south p1 last"},
		{"start-up: unknown is asked in plan order", "north south p1", "north=unknown south=unknown p1=unknown", "north south p1"},
		{"suspect stays in its place", "north south p1", "north=suspect", "north south p1"},
		{"down goes last", "north south p1", "north=down", "south p1 north"},
		{"all down: the order of the file, nobody is left out", "north south p1", "north=down south=down p1=down", "north south p1"},
		{"held goes last, behind down", "north south p1", "north=held south=down", "p1 south north"},
		{"held and down is the very last", "north south p1", "north=held,down south=held", "p1 south north"},
		{"a full room goes behind the other own room", "north south p1", "north=60/60", "south north p1"},
		{"over its limit is full", "north south p1", "north=61/60", "south north p1"},
		{"busy is as good as full", "north south p1", "north=busy,3/60", "south north p1"},
		{"all own rooms full: still before partners", "north south p1", "north=60/60 south=30/30", "north south p1"},
		{"a full partner goes behind the other partner", "north p1 p2 last", "p1=8/8", "north p2 p1 last"},
		{"full does not push a room behind the last resort after the partners", "north p1 last", "north=60/60", "north p1 last"},
		{"a down partner does not hide that two own rooms are neighbours", "north p1 south", "north=60/60 p1=down", "south north p1"},
		{"full and down is down", "north south p1", "north=down,60/60", "south p1 north"},
		{"a full down room goes behind another down room", "north south p1", "north=down,60/60 south=down", "p1 south north"},
		{"an inner list shares: most free first", "north [p1 p2]", "p1=10/12 p2=2/8", "north p2 p1"},
		{"ties in written order", "north [p1 p2]", "p1=4/8 p2=4/8", "north p1 p2"},
		{"unlimited is most free", "[south north]", "south=0/500", "north south"},
		{"two unlimited in written order, whatever they carry less counts as more", "[south north]", "south=3/0 north=1/0", "north south"},
		{"busy in an inner list goes behind", "[south north]", "south=busy,0/500 north=400/500", "north south"},
		{"down leaves its inner list", "[south north] p1", "south=down,0/500 north=400/500", "north p1 south"},
		{"own before partner in a mixed list", "[p1 south] last", "south=29/30", "south p1 last"},
		{"an endpoint that is written twice is asked once", "north south north", "", "north south"},
	} {
		lists := ask(tt.ask)
		p, v := world(t, lists, tt.world)
		plan := p.Plan(Match{Found: true, Route: Route{Ask: lists, Patience: time.Second}}, v)
		if got := order(plan); got != tt.want {
			t.Errorf("%s: ask %q in %q is %q, want %q", tt.why, tt.ask, tt.world, got, tt.want)
		}
	}
}

func TestOverflowLetsAFullRoomGoBehindPartners(t *testing.T) {
	for _, tt := range []struct{ why, ask, world, want string }{
		{"a full own room is reason enough", "north p1 last", "north=60/60", "p1 last north"},
		{"when all are full the order of the file stands", "north south p1", "north=60/60 south=30/30 p1=8/8", "north south p1"},
		{"a mixed list shares without regard to kind", "[south p1]", "south=29/30 p1=0/8", "p1 south"},
		{"full is still before down", "north p1", "north=60/60 p1=down", "north p1"},
	} {
		lists := ask(tt.ask)
		p, v := world(t, lists, tt.world)
		plan := p.Plan(Match{Found: true, Route: Route{Ask: lists, Patience: time.Second, Overflow: true}}, v)
		if got := order(plan); got != tt.want {
			t.Errorf("%s: ask %q in %q is %q, want %q", tt.why, tt.ask, tt.world, got, tt.want)
		}
	}
}

func TestRoutineAndSecondLineCallsFindARoomFullEarlier(t *testing.T) {
	for _, tt := range []struct {
		why    string
		class  Class
		second bool
		world  string
		want   string
	}{
		{"an emergency call has all slots", Emergency, false, "north=50/60-10", "north south"},
		{"a routine call leaves the reserve", Routine, false, "north=50/60-10", "south north"},
		{"a routine call below it does not move", Routine, false, "north=49/60-10", "north south"},
		{"the second line leaves a third", Emergency, true, "north=40/60-10", "south north"},
		{"the second line below it does not move", Emergency, true, "north=39/60-10", "north south"},
	} {
		lists := ask("north south")
		p, v := world(t, lists, tt.world)
		plan := p.Plan(Match{Found: true, SecondLine: tt.second, Route: Route{Ask: lists, Class: tt.class}}, v)
		if got := order(plan); got != tt.want {
			t.Errorf("%s: %q is %q, want %q", tt.why, tt.world, got, tt.want)
		}
	}
}

func TestTheLoopGuardTakesPartnersAndOnlyPartners(t *testing.T) {
	for _, tt := range []struct {
		why, ask string
		m        Match
		view     View
		want     string
		says     string
	}{
		{"aid goes to own rooms only", "north p1 south p2", Match{Aid: true}, View{MaxForwards: 70}, "north south", "mutual aid"},
		{"aid with nobody left is a fast 500", "p1 p2", Match{Aid: true}, View{MaxForwards: 70}, "", "nobody is left to ask"},
		{"Max-Forwards spent", "north p1", Match{}, View{MaxForwards: 0}, "north", "Max-Forwards is spent"},
		{"one hop left is enough", "north p1", Match{}, View{MaxForwards: 1}, "north p1", ""},
		{"a caller who is out at a partner: one partner, last", "p1 north p2 south", Match{}, View{MaxForwards: 70, CallerOut: true}, "north south p1", "already out"},
		{"that caller on a route without own rooms", "p1 p2", Match{}, View{MaxForwards: 70, CallerOut: true}, "p1", "already out"},
		{"aid is stronger than that", "north p1", Match{Aid: true}, View{MaxForwards: 70, CallerOut: true}, "north", "mutual aid"},
		{"a route without partners has nothing to lose", "north south", Match{Aid: true}, View{MaxForwards: 0, CallerOut: true}, "north south", ""},
	} {
		lists := ask(tt.ask)
		p, v := world(t, lists, "")
		tt.m.Found, tt.m.Route = true, Route{Ask: lists}
		tt.view.State = v.State
		plan := p.Plan(tt.m, tt.view)
		if got := order(plan); got != tt.want {
			t.Errorf("%s: asks %q, want %q", tt.why, got, tt.want)
		}
		if !strings.Contains(plan.Why, tt.says) || (tt.says == "") != (plan.Why == "") {
			t.Errorf("%s: says %q, want something with %q", tt.why, plan.Why, tt.says)
		}
	}
}

func TestPatienceIsShortWithWhoMayBeDead(t *testing.T) {
	lists := ask("north")
	for _, tt := range []struct {
		world    string
		patience time.Duration
		want     time.Duration
	}{
		{"", time.Second, time.Second},
		{"north=suspect", time.Second, 300 * time.Millisecond},
		{"north=unknown", time.Second, 300 * time.Millisecond},
		{"north=down", time.Second, 300 * time.Millisecond},
		{"north=suspect", 200 * time.Millisecond, 200 * time.Millisecond},
		{"north=held", time.Second, time.Second},
		{"north=60/60", time.Second, time.Second},
	} {
		p, v := world(t, lists, tt.world)
		plan := p.Plan(Match{Found: true, Route: Route{Ask: lists, Patience: tt.patience}}, v)
		if got := plan.Steps[0].Patience; got != tt.want {
			t.Errorf("patience of %s with %q is %s, want %s", tt.patience, tt.world, got, tt.want)
		}
	}
}

func TestPlanCarriesItsRouteAndTrunk(t *testing.T) {
	cfg := county()
	cfg.Trunks[0].GiveUp = 12 * time.Second
	cfg.Routes[1].Ringing, cfg.Routes[1].RingingToPartners, cfg.Routes[1].Overlap, cfg.Routes[1].EarlyMedia = 15*time.Second, 25*time.Second, true, true
	cfg.Endpoints[2].Follow3xx = true
	p := New(cfg)
	plan := p.Plan(p.Match(Query{Trunk: "bt", RequestURI: "sip:999@h"}), View{MaxForwards: 70})
	if plan.GiveUp != 12*time.Second || plan.Ringing != 15*time.Second || plan.RingingToPartners != 25*time.Second || !plan.Overlap || !plan.EarlyMedia ||
		plan.Progress != 4*time.Second || plan.Route != "999" || plan.Class != Emergency {
		t.Errorf("the plan is %+v, want what route and trunk say", plan)
	}
	if got := plan.Steps[2]; got.Endpoint != "warks" || !got.Partner || !got.Follow3xx {
		t.Errorf("step 3 is %+v, want the partner that may redirect", got)
	}
	for _, q := range []Query{
		{Trunk: "from-warks", RequestURI: "sip:999@h"},
		{Trunk: "bt", RequestURI: "sip:+441905331998@h"},
		{Trunk: "bt", RequestURI: "sip:999@h", Marked: true},
	} {
		if got := p.Plan(p.Match(q), View{MaxForwards: 70}).GiveUp; got != 5*time.Second {
			t.Errorf("%+v gives up after %s, want 5s for mutual aid (R9)", q, got)
		}
	}
}

func TestEachStepSaysWhy(t *testing.T) {
	lists := ask("north south p1 p2")
	p, v := world(t, lists, "north=down south=30/30 p1=busy,1/8 p2=held")
	state := v.State
	v.State = func(n EndpointName) State {
		s := state(n)
		if n == "north" {
			s.Words = "down since 14:02:11: 3 probes missed"
		}
		return s
	}
	plan := p.Plan(Match{Found: true, Route: Route{Ask: lists}}, v)
	want := map[EndpointName]string{
		"north": "down since 14:02:11: 3 probes missed", "south": "up, full (30 of 30)", "p1": "up, said it is busy", "p2": "held, up",
	}
	for _, s := range plan.Steps {
		if s.Why != want[s.Endpoint] {
			t.Errorf("%s stands there because %q, want %q", s.Endpoint, s.Why, want[s.Endpoint])
		}
	}
}

func TestARoutineCallIsToldThatOnlyTheReserveIsLeft(t *testing.T) {
	lists := ask("north")
	p, v := world(t, lists, "north=55/60-10")
	plan := p.Plan(Match{Found: true, Route: Route{Ask: lists, Class: Routine}}, v)
	if got, want := plan.Steps[0].Why, "up, full for this kind of call (55 of 50)"; got != want {
		t.Errorf("north stands there because %q, want %q", got, want)
	}
}

// night is a random route in a random world.
type night struct {
	match Match
	view  View
	cfg   Config
	state map[EndpointName]State
	place map[EndpointName]int
}

func drawNight(t *rapid.T) night {
	n := night{state: map[EndpointName]State{}, place: map[EndpointName]int{}}
	count := rapid.IntRange(0, 10).Draw(t, "endpoints")
	for i := range count {
		name := EndpointName(fmt.Sprintf("e%d", i))
		n.cfg.Endpoints = append(n.cfg.Endpoints, Endpoint{
			Name: name, Partner: rapid.Bool().Draw(t, "partner"), Calls: rapid.IntRange(0, 4).Draw(t, "calls"), Reserve: rapid.IntRange(0, 5).Draw(t, "reserve"),
		})
		n.state[name] = State{
			Verdict: health.Verdict(rapid.IntRange(0, 3).Draw(t, "verdict")), Held: rapid.Bool().Draw(t, "held"),
			Used: rapid.IntRange(0, 6).Draw(t, "used"), Busy: rapid.Bool().Draw(t, "busy"), Returning: rapid.IntRange(0, 3).Draw(t, "returning") == 0,
		}
		if i == 0 || rapid.Bool().Draw(t, "new list") {
			n.match.Route.Ask = append(n.match.Route.Ask, nil)
		}
		last := len(n.match.Route.Ask) - 1
		n.match.Route.Ask[last] = append(n.match.Route.Ask[last], name)
		n.place[name] = last
	}
	n.match.Found = true
	n.match.Route.Patience = time.Duration(rapid.IntRange(1, 2000).Draw(t, "patience")) * time.Millisecond
	n.match.Route.Overflow = rapid.Bool().Draw(t, "overflow")
	n.match.Route.Class = Class(rapid.IntRange(0, 2).Draw(t, "class"))
	n.match.SecondLine = rapid.Bool().Draw(t, "second line")
	n.match.Aid = rapid.Bool().Draw(t, "aid")
	n.view = View{
		MaxForwards: rapid.IntRange(0, 2).Draw(t, "max-forwards"), CallerOut: rapid.Bool().Draw(t, "caller out"),
		State: func(e EndpointName) State { return n.state[e] },
	}
	return n
}

// rank is what health and operators say, as R5 and R17 write it.
func (n night) rank(name EndpointName) (r int) {
	if n.state[name].Held {
		r = 3
	}
	switch {
	case n.state[name].Returning && n.match.Route.Class == Emergency:
		r++
	case n.state[name].Verdict == health.Down && !n.state[name].Returning:
		r += 2
	}
	return r
}

func TestPropertyNothingButTheLoopGuardEmptiesAPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNight(t)
		plan := New(n.cfg).Plan(n.match, n.view)
		times, partners := map[EndpointName]int{}, 0
		for _, s := range plan.Steps {
			times[s.Endpoint]++
			if s.Partner {
				partners++
			}
			if s.Why == "" {
				t.Errorf("%s does not say why it stands there", s.Endpoint)
			}
			if s.Patience > n.match.Route.Patience {
				t.Errorf("%s has more patience than its route", s.Endpoint)
			}
		}
		guarded := n.match.Aid || n.view.MaxForwards == 0
		all := 0
		for _, e := range n.cfg.Endpoints {
			if e.Partner {
				all++
			}
			want := 1
			if e.Partner && guarded {
				want = 0
			}
			if e.Partner && !guarded && n.view.CallerOut {
				continue
			}
			if times[e.Name] != want {
				t.Errorf("%s (partner %t) is asked %d times, want %d: health orders the plan, it never empties it", e.Name, e.Partner, times[e.Name], want)
			}
		}
		if !guarded && n.view.CallerOut && partners != min(1, all) {
			t.Errorf("%d partners are asked for a caller who is out at one, want one", partners)
		}
	})
}

func TestPropertyHealthOrdersThePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNight(t)
		n.match.Aid, n.view.CallerOut, n.view.MaxForwards = false, false, 70
		plan := New(n.cfg).Plan(n.match, n.view)
		for i := 1; i < len(plan.Steps); i++ {
			a, b := plan.Steps[i-1], plan.Steps[i]
			switch ra, rb := n.rank(a.Endpoint), n.rank(b.Endpoint); {
			case ra > rb:
				t.Errorf("%s before %s: held after down after returning (for emergency calls) after the rest", a.Endpoint, b.Endpoint)
			case ra == rb && a.Partner != b.Partner && n.place[a.Endpoint] > n.place[b.Endpoint] && !n.match.Route.Overflow:
				t.Errorf("%s before %s: nothing but health brings one kind before another that is written earlier", a.Endpoint, b.Endpoint)
			case ra == rb && a.Partner == b.Partner && n.place[a.Endpoint] > n.place[b.Endpoint] && !n.full(b.Endpoint):
				t.Errorf("%s before %s, which is written earlier and has room", a.Endpoint, b.Endpoint)
			}
		}
	})
}

func TestPropertyFullOwnRoomsStillComeBeforePartners(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNight(t)
		n.match.Aid, n.match.Route.Overflow, n.view.MaxForwards = false, false, 70
		plan := New(n.cfg).Plan(n.match, n.view)
		for i, a := range plan.Steps {
			for _, b := range plan.Steps[i+1:] {
				if a.Partner && !b.Partner && n.rank(a.Endpoint) == n.rank(b.Endpoint) && n.place[b.Endpoint] <= n.place[a.Endpoint] {
					t.Errorf("partner %s before own room %s, which is as healthy and written no later", a.Endpoint, b.Endpoint)
				}
			}
		}
	})
}

func (n night) full(name EndpointName) bool {
	for _, e := range n.cfg.Endpoints {
		if e.Name == name {
			s := n.state[name]
			return s.Busy || s.Used >= limit(e, n.match.Route.Class, n.match.SecondLine)
		}
	}
	return false
}

func BenchmarkPlan(b *testing.B) {
	p := New(county())
	m := p.Match(Query{Trunk: "bt", RequestURI: "sip:999@h"})
	v := View{MaxForwards: 70, State: func(EndpointName) State { return State{Verdict: health.Up, Used: 3} }}
	b.ReportAllocs()
	for b.Loop() {
		if plan := p.Plan(m, v); len(plan.Steps) != 4 {
			b.Fatal("not 4 steps")
		}
	}
}
