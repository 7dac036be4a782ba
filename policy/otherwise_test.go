package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nines/health"
)

// force has a routine route with everything that may follow, and two emergency routes.
func force() Config {
	return Config{
		Trunks: []Trunk{{Name: "bt"}, {Name: "desk", Kind: PBX, Out: []EndpointName{"gateway"}}, {Name: "aid", Kind: Aid}},
		Endpoints: []Endpoint{
			{Name: "north", Calls: 4, Reserve: 2}, {Name: "south", Calls: 2}, {Name: "warks", Calls: 3, Partner: true}, {Name: "gateway"},
		},
		Routes: []Route{
			{Name: "999", Numbers: []string{"999"}, Ask: ask("north south warks")},
			{Name: "second", Numbers: []string{"112"}, Ask: ask("south north")},
			{
				Name: "101", Class: Routine, Numbers: []string{"101", "18001101"}, Ask: ask("north south"),
				Otherwise: []Otherwise{
					{Divert: []EndpointName{"warks"}, Cap: 1},
					{Wait: 2 * time.Minute},
					{Announce: "report-online", Times: 3, Escape: Escape{Key: "9", To: "second"}},
					{Reject: 480},
				},
				Shed: &Shed{Waiting: 5, UntilWaiting: 1, For: time.Minute, Announce: "high-demand", Times: 2},
			},
		},
	}
}

func nobodyDown(EndpointName) State { return State{Verdict: health.Up} }

func TestOtherwiseFollowsTheRoomsAndEmergencyHasNone(t *testing.T) {
	p := New(force())
	routine := p.Plan(p.Match(Query{Trunk: "bt", RequestURI: "sip:101@x"}), View{State: nobodyDown, MaxForwards: 70})
	if order(routine) != "north south" || len(routine.Otherwise) != 4 || routine.Impaired {
		t.Errorf("a good day: asks %q, %d steps follow, impaired %t; want the rooms first, all four steps, not impaired", order(routine), len(routine.Otherwise), routine.Impaired)
	}
	emergency := p.Plan(p.Match(Query{Trunk: "bt", RequestURI: "sip:999@x"}), View{State: nobodyDown, MaxForwards: 70, Shed: true, Turn: true})
	if order(emergency) != "north south warks" || emergency.Otherwise != nil {
		t.Errorf("an emergency: asks %q, %v follows; want everybody, nothing", order(emergency), emergency.Otherwise)
	}
}

func TestImpairedMeansDownHeldOrFull(t *testing.T) {
	p := New(force())
	m := p.Match(Query{Trunk: "bt", RequestURI: "sip:101@x"})
	for _, tt := range []struct {
		name  string
		south State
		want  bool
	}{
		{"up", State{Verdict: health.Up}, false},
		{"suspect", State{Verdict: health.Suspect}, false},
		{"returning", State{Verdict: health.Up, Returning: true}, false},
		{"down", State{Verdict: health.Down}, true},
		{"held", State{Verdict: health.Up, Held: true}, true},
		{"said it is busy", State{Verdict: health.Up, Busy: true}, true},
		{"full", State{Verdict: health.Up, Used: 2}, true},
	} {
		plan := p.Plan(m, View{MaxForwards: 70, State: func(name EndpointName) State {
			if name == "south" {
				return tt.south
			}
			return State{Verdict: health.Up}
		}})
		if plan.Impaired != tt.want {
			t.Errorf("a room is %s: impaired %t, want %t", tt.name, plan.Impaired, tt.want)
		}
		turn := p.Plan(m, View{MaxForwards: 70, Turn: true, State: func(name EndpointName) State {
			if name == "south" {
				return tt.south
			}
			return State{Verdict: health.Up}
		}})
		if asked := order(turn) != "north"; asked == tt.want {
			t.Errorf("a room is %s: who has waited asks %q; want nobody who is down, held or full", tt.name, order(turn))
		}
	}
}

func TestShedCallersHearThatDemandIsHighAndNobodyIsAsked(t *testing.T) {
	p := New(force())
	plan := p.Plan(p.Match(Query{Trunk: "bt", RequestURI: "sip:101@x"}), View{State: nobodyDown, MaxForwards: 70, Shed: true})
	if len(plan.Steps) != 0 || len(plan.Otherwise) != 2 || plan.Otherwise[0].Announce != "high-demand" || plan.Otherwise[0].Times != 2 || plan.Otherwise[0].Escape.Key != "9" {
		t.Errorf("shed: asks %q, then %+v; want nobody, then high-demand twice with the way out, then the refusal", order(plan), plan.Otherwise)
	}
	if force := force(); force.Routes[2].Otherwise[2].Announce != p.routes[2].Otherwise[2].Announce {
		t.Error("the route itself was changed")
	}
}

func TestTheTextRelayGoesToAPersonOrHearsTheLongerText(t *testing.T) {
	cfg := force()
	for _, q := range []Query{
		{Trunk: "bt", RequestURI: "sip:18001101@x"},
		{Trunk: "bt", RequestURI: "sip:101@x", Caller: "tel:18001-01905-331999"},
	} {
		p := New(cfg)
		m := p.Match(q)
		plan := p.Plan(m, View{State: nobodyDown, MaxForwards: 70, Shed: true})
		if !m.Relay || order(plan) != "north south" || len(plan.Otherwise) != 1 || plan.Otherwise[0].Person != "second" {
			t.Errorf("%+v: relay %t, asks %q, then %+v; want the rooms even when others are shed, then a person on the route that the key leads to", q, m.Relay, order(plan), plan.Otherwise)
		}
	}
	cfg.Routes[2].Relay = Relay{Text: "longer", Times: 1}
	p := New(cfg)
	plan := p.Plan(p.Match(Query{Trunk: "bt", RequestURI: "sip:18001101@x"}), View{State: nobodyDown, MaxForwards: 70})
	if len(plan.Otherwise) != 4 || plan.Otherwise[2].Announce != "longer" {
		t.Errorf("with a longer text: %+v, want it in the place of the announcement", plan.Otherwise)
	}
}

func TestTreatedAsEmergencyIsAnEmergencyOfTheSecondLine(t *testing.T) {
	p := New(force())
	treated := func(r RouteName) bool { return r == "101" }
	m := p.Match(Query{Trunk: "bt", RequestURI: "sip:101@x", Treated: treated})
	plan := p.Plan(m, View{State: nobodyDown, MaxForwards: 70, Shed: true})
	if m.Route.Name != "999" || !m.SecondLine || m.Treated != "101" || m.Number != "101" || order(plan) != "north south warks" || plan.Otherwise != nil {
		t.Errorf("101 as emergency: %+v asks %q; want route 999, second line, with partners and nothing else to follow", m, order(plan))
	}
	if m := p.Match(Query{Trunk: "bt", RequestURI: "sip:999@x", Treated: func(RouteName) bool { return true }}); m.SecondLine {
		t.Error("a real emergency was moved to the second line")
	}
	if m := p.Match(Query{Trunk: "desk", RequestURI: "sip:101@x", Treated: func(RouteName) bool { return true }}); m.Route.Class == Emergency {
		t.Error("a PBX's call out rings our own desk")
	}
}

func TestWhoEscapesIsAnEmergencyOfTheSecondLine(t *testing.T) {
	p := New(force())
	m := p.Match(Query{Trunk: "bt", RequestURI: "sip:101@x"})
	for _, tt := range []struct{ to, want RouteName }{{"second", "second"}, {"999", "999"}, {"gone since the reload", "999"}, {"101", "999"}} {
		got := p.Escaped(m, tt.to)
		if got.Route.Name != tt.want || got.Route.Class != Emergency || !got.SecondLine {
			t.Errorf("escape to %q: %s (%s), second line %t; want %s", tt.to, got.Route.Name, got.Route.Class, got.SecondLine, tt.want)
		}
	}
	if got := p.Escaped(p.Match(Query{Trunk: "aid", RequestURI: "sip:101@x"}), "second"); !got.Aid {
		t.Error("a call that came as mutual aid may go to a partner again")
	}
}

func TestDivertAsksOthersThanTheRoute(t *testing.T) {
	p := New(force())
	m := p.Match(Query{Trunk: "bt", RequestURI: "sip:101@x"})
	plan := p.Divert(m, m.Route.Otherwise[0], View{State: nobodyDown, MaxForwards: 70})
	if order(plan) != "warks" || plan.Otherwise != nil || plan.Class != Routine {
		t.Errorf("diverted: asks %q, class %s, then %v; want warks, routine, nothing new", order(plan), plan.Class, plan.Otherwise)
	}
	s := NewSlots(force().Endpoints)
	if !s.Divert("101", 0, 1) || s.Divert("101", 0, 1) || !s.Divert("101", 1, 1) || !s.Divert("112", 0, 0) {
		t.Error("a cap counts the calls of its own step, and only where there is one")
	}
	s.Undivert("101", 0)
	if !s.Divert("101", 0, 1) {
		t.Error("a diverted call that has ended left no room")
	}
}

// ms is a time of the line's tests.
func ms(n int) time.Time { return noon.Add(time.Duration(n) * time.Millisecond) }

func TestTheLineMovesOldestFirstAsSlotsComeFree(t *testing.T) {
	s := NewSlots([]Endpoint{{Name: "north", Calls: 2, Reserve: 1}})
	open := []EndpointName{"north"}
	s.Ask(noon, Asking{Endpoint: "north", Class: Routine, Route: "101"})
	first, _ := s.Join(noon, "101", 0)
	second, _ := s.Join(noon, "101", 0)
	for _, tt := range []Ticket{second, first} {
		if turn := s.Turn(ms(0), "101", tt, open); turn.OK {
			t.Errorf("ticket %d has its turn at a full room", tt)
		}
	}
	s.Release("north")
	if g := s.Ask(ms(250), Asking{Endpoint: "north", Class: Routine, Route: "101"}); g.OK {
		t.Error("a new call overtook the line")
	}
	if turn := s.Turn(ms(250), "101", second, open); turn.OK || turn.Place != 1 {
		t.Errorf("the second has its turn %t at place %d, want to wait at 1", turn.OK, turn.Place)
	}
	if turn := s.Turn(ms(260), "101", first, open); !turn.OK {
		t.Errorf("the first has to wait: %+v", turn)
	}
	if g := s.Ask(ms(260), Asking{Endpoint: "north", Class: Routine, Route: "101", Turn: true}); !g.OK {
		t.Error("who has its turn is refused the slot")
	}
	s.Release("north") // it was refused by the room
	if turn := s.Turn(ms(700), "101", first, open); !turn.OK {
		t.Errorf("who was not taken has lost its place: %+v", turn)
	}
	s.LeaveLine("101", first)
	if turn := s.Turn(ms(900), "101", second, open); !turn.OK {
		t.Errorf("the second is first now and has to wait: %+v", turn)
	}
	s.LeaveLine("101", second)
	if n := s.Waiting("101"); n != 0 {
		t.Errorf("%d wait in an empty line", n)
	}
}

func TestALineIsNoLongerThanItsCapAndForgetsTheLost(t *testing.T) {
	s := twoRooms()
	if _, ok := s.Join(noon, "101", 1); !ok {
		t.Fatal("an empty line is full")
	}
	if _, ok := s.Join(noon, "101", 1); ok {
		t.Error("a line of one took two")
	}
	later, ok := s.Join(noon.Add(lineForgets), "101", 1)
	if !ok {
		t.Fatal("a caller who was lost holds the line for ever")
	}
	if turn := s.Turn(noon.Add(lineForgets), "101", later, []EndpointName{"free"}); !turn.OK {
		t.Errorf("behind a caller who was lost: %+v", turn)
	}
}

func TestARoomThatComesBackIsNotRushedByTheLine(t *testing.T) {
	s := NewSlots([]Endpoint{{Name: "free"}})
	var tickets []Ticket
	for range 20 {
		ticket, _ := s.Join(noon, "101", 0)
		tickets = append(tickets, ticket)
	}
	let := 0
	for _, ticket := range tickets {
		if s.Turn(noon, "101", ticket, []EndpointName{"free"}).OK {
			let++
		}
	}
	if let != 1 {
		t.Errorf("%d callers were let through at one moment, want 1", let)
	}
}

func TestSheddingSwitchesAtOnceAndBackSlowly(t *testing.T) {
	routes := force().Routes
	var s Shedding
	for _, tt := range []struct {
		at   int // seconds
		load Load
		want string
	}{
		{0, Load{Waiting: 4}, ""},
		{1, Load{Waiting: 5}, "on: 5 emergency calls wait for an answer (limit 5)"},
		{2, Load{Waiting: 9}, ""},
		{3, Load{Waiting: 1}, ""},
		{50, Load{Waiting: 2}, ""},
		{51, Load{Waiting: 0}, ""},
		{110, Load{Waiting: 1}, ""},
		{111, Load{Waiting: 1}, "off: 1 emergency calls wait for an answer for 1m0s"},
		{112, Load{Waiting: 4}, ""},
	} {
		var said []string
		for _, c := range s.Judge(noon.Add(time.Duration(tt.at)*time.Second), routes, tt.load) {
			said = append(said, map[bool]string{true: "on: ", false: "off: "}[c.On]+c.Why)
		}
		if got := strings.Join(said, ", "); got != tt.want {
			t.Errorf("after %d s with %+v: %q, want %q", tt.at, tt.load, got, tt.want)
		}
	}
}

func TestSheddingLooksAtPartnersSlots(t *testing.T) {
	r := Route{Name: "101", Class: Routine, Shed: &Shed{Waiting: 5, Slots: 2, Partners: true, UntilWaiting: 1, UntilSlots: 4, For: time.Second}}
	var s Shedding
	if s.Judge(noon, []Route{r}, Load{Slots: 0}); s.On("101") {
		t.Error("shed for the slots of partners that there are not")
	}
	if c := s.Judge(noon, []Route{r}, Load{Slots: 2, Partners: true}); len(c) != 1 || c[0].Why != "partners have 2 free slots (limit 2)" {
		t.Errorf("with two slots left: %+v", c)
	}
	if s.Judge(ms(5000), []Route{r}, Load{Slots: 3, Partners: true}); !s.On("101") {
		t.Error("not shed any more with three slots, until says four")
	}
	s.Judge(ms(6000), []Route{r}, Load{Slots: 4, Partners: true})
	if s.Judge(ms(7000), []Route{r}, Load{Slots: 4, Partners: true}); s.On("101") {
		t.Error("shed although four slots have been free for a second")
	}
	s.Judge(ms(8000), []Route{r}, Load{Waiting: 5})
	r.Shed = nil
	if c := s.Judge(ms(8001), []Route{r}, Load{Waiting: 5}); len(c) != 1 || s.On("101") {
		t.Errorf("a new configuration without shed: %+v, on %t", c, s.On("101"))
	}
}

// TestPropertyNothingForRoutineCallersTouchesAnEmergency: no emergency call is ever queued behind an announcement, rejected for load, or counted
// against a routine cap (R4, R24, R26). Two worlds see the same emergency calls; one of them is full of routine callers who wait, are shed, diverted and
// announced to. Apart from slots that routine calls really hold, no emergency call may be able to tell the worlds apart.
func TestPropertyNothingForRoutineCallersTouchesAnEmergency(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := force()
		quiet, busy := NewSlots(cfg.Endpoints), NewSlots(cfg.Endpoints)
		p := New(cfg)
		var shedding Shedding
		var tickets []Ticket
		now := noon
		for range rapid.IntRange(1, 60).Draw(t, "length") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0: // a routine caller joins the line
				if ticket, ok := busy.Join(now, "101", rapid.IntRange(0, 5).Draw(t, "cap")); ok {
					tickets = append(tickets, ticket)
				}
			case 1: // one of them has its turn, maybe, and is refused again by the room
				if len(tickets) > 0 {
					ticket := rapid.SampledFrom(tickets).Draw(t, "ticket")
					if busy.Turn(now, "101", ticket, []EndpointName{"north", "south"}).OK && busy.Ask(now, Asking{Endpoint: "north", Class: Routine, Route: "101", Turn: true}).OK {
						busy.Release("north")
					}
				}
			case 2:
				busy.Divert("101", 0, 1)
			case 3:
				shedding.Judge(now, cfg.Routes, Load{Waiting: rapid.IntRange(0, 9).Draw(t, "waiting")})
			default:
				emergency(t, p, now, quiet, busy, shedding.On("101"))
			}
		}
	})
}

// emergency makes one emergency call in both worlds: by its number, by none, treated as one, or escaped.
func emergency(t *rapid.T, p *Policy, now time.Time, quiet, busy *Slots, shed bool) {
	q := Query{Trunk: "bt", RequestURI: rapid.SampledFrom([]string{"sip:999@x", "sip:112@x", "sip:4711@x", "sip:101@x", "sip:18001101@x"}).Draw(t, "called")}
	q.Treated = func(RouteName) bool { return true }
	m := p.Match(q)
	if rapid.Bool().Draw(t, "escapes") {
		q.Treated = nil
		m = p.Escaped(p.Match(q), "second")
	}
	if m.Route.Class != Emergency {
		t.Fatalf("%s is %s", q.RequestURI, m.Route.Class)
	}
	plans := make([]Plan, 2)
	for i, s := range []*Slots{quiet, busy} {
		v := View{MaxForwards: 70, State: func(name EndpointName) State { return State{Verdict: health.Up, Used: s.Used(name)} }}
		if i == 1 {
			v.Shed, v.Turn = shed, rapid.Bool().Draw(t, "turn")
		}
		plans[i] = p.Plan(m, v)
		if plans[i].Otherwise != nil {
			t.Fatalf("an emergency call may be announced to, queued or refused for load: %+v", plans[i].Otherwise)
		}
	}
	if fmt.Sprint(plans[0]) != fmt.Sprint(plans[1]) {
		t.Fatalf("an emergency call is planned otherwise because of routine callers:\n%+v\n%+v", plans[0], plans[1])
	}
	for _, step := range plans[0].Steps {
		a := Asking{Endpoint: step.Endpoint, SecondLine: m.SecondLine}
		g, h := quiet.Ask(now, a), busy.Ask(now, a)
		if g.OK != h.OK || !g.Until.Equal(h.Until) {
			t.Fatalf("%s: %+v without routine callers, %+v with them", step.Endpoint, g, h)
		}
		if g.Ticket != 0 {
			quiet.Leave(step.Endpoint, g.Ticket)
			busy.Leave(step.Endpoint, h.Ticket)
		}
	}
}

// TestPropertyTheLineKeepsItsOrder: whoever is let through has nobody before them who waits and could be.
func TestPropertyTheLineKeepsItsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewSlots([]Endpoint{{Name: "north", Calls: rapid.IntRange(1, 4).Draw(t, "calls")}})
		open := []EndpointName{"north"}
		var waiting []Ticket
		now := noon
		for range rapid.IntRange(1, 50).Draw(t, "length") {
			now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "ms")) * time.Millisecond)
			switch {
			case len(waiting) == 0 || rapid.IntRange(0, 3).Draw(t, "join") == 0:
				ticket, _ := s.Join(now, "101", 0)
				waiting = append(waiting, ticket)
			case rapid.IntRange(0, 4).Draw(t, "release") == 0:
				s.Release("north")
			default:
				i := rapid.IntRange(0, len(waiting)-1).Draw(t, "who")
				free := max(0, s.rooms(open))
				if !s.Turn(now, "101", waiting[i], open).OK {
					continue
				}
				if i >= free {
					t.Fatalf("number %d was let through although only %d slots are free", i, free)
				}
				if !s.Ask(now, Asking{Endpoint: "north", Class: Routine, Route: "101", Turn: true}).OK {
					t.Fatalf("who was let through found no slot")
				}
				s.LeaveLine("101", waiting[i])
				waiting = slices.Delete(waiting, i, i+1)
			}
		}
	})
}
