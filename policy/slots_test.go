package policy

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func twoRooms() *Slots {
	return NewSlots([]Endpoint{{Name: "north", Calls: 2, Reserve: 1}, {Name: "warks", Calls: 3, Reserve: 1, Partner: true}, {Name: "free"}})
}

func TestAnOwnRoomNeverRefusesAnEmergencyCall(t *testing.T) {
	s := twoRooms()
	for i := range 10 {
		if g := s.Ask(noon, Asking{Endpoint: "north", SecondLine: i%2 == 1}); !g.OK {
			t.Fatalf("call %d was refused by an own room with 2 slots", i+1)
		}
	}
	if got := s.Used("north"); got != 10 {
		t.Errorf("10 calls are counted as %d", got)
	}
	if room, ok := s.Room("north"); room != 0 || !ok {
		t.Errorf("a room far over its limit has %d slots (%t), want none", room, ok)
	}
}

func TestAFullPartnerTakesOneNewEmergencyCallASecond(t *testing.T) {
	s := twoRooms()
	for range 3 {
		s.Ask(noon, Asking{Endpoint: "warks"})
	}
	for _, tt := range []struct {
		after time.Duration
		ok    bool
		until time.Duration
	}{
		{0, true, 0},
		{0, false, time.Second},
		{900 * time.Millisecond, false, time.Second},
		{time.Second, true, 0},
		{1500 * time.Millisecond, false, 2 * time.Second},
		{5 * time.Second, true, 0},
	} {
		g := s.Ask(noon.Add(tt.after), Asking{Endpoint: "warks"})
		if g.OK != tt.ok || !tt.ok && !g.Until.Equal(noon.Add(tt.until)) {
			t.Errorf("after %s: %+v, want ok %t, until %s", tt.after, g, tt.ok, tt.until)
		}
	}
	for range 4 {
		s.Release("warks")
	}
	if g := s.Ask(noon.Add(5*time.Second), Asking{Endpoint: "warks"}); !g.OK {
		t.Error("a partner with room again refused")
	}
}

func TestRoutineLimitIsHardAndKeepsTheReserve(t *testing.T) {
	for _, class := range []Class{Routine, Test} {
		s := twoRooms()
		if g := s.Ask(noon, Asking{Endpoint: "north", Class: class}); !g.OK {
			t.Errorf("the first %s call of two slots was refused", class)
		}
		if g := s.Ask(noon, Asking{Endpoint: "north", Class: class}); g.OK || !g.Until.IsZero() {
			t.Errorf("a %s call took the slot that is kept for emergency, or was told to wait: %+v", class, g)
		}
		for i := range 100 {
			if g := s.Ask(noon, Asking{Endpoint: "free", Class: class}); !g.OK {
				t.Fatalf("%s call %d was refused by an endpoint without limit", class, i+1)
			}
		}
	}
	if got := limit(Endpoint{Calls: 2, Reserve: 9}, Routine, false); got != 0 {
		t.Errorf("a reserve beyond all slots leaves %d slots, want 0", got)
	}
	s := NewSlots([]Endpoint{{Name: "all-kept", Calls: 2, Reserve: 9}})
	if g := s.Ask(noon, Asking{Endpoint: "all-kept", Class: Routine}); g.OK {
		t.Error("a reserve beyond all slots left room for a routine call")
	}
}

func TestTheSecondLineWaitsItsTurnOldestFirst(t *testing.T) {
	s := twoRooms() // three slots: one is left to new emergency calls
	second := Asking{Endpoint: "warks", SecondLine: true}
	s.Ask(noon, second)
	s.Ask(noon, second)
	first, later := s.Ask(noon, second), s.Ask(noon, second)
	if first.OK || later.OK || first.Ticket == 0 || later.Ticket <= first.Ticket || !first.Until.After(noon) {
		t.Fatalf("two that must wait got %+v and %+v", first, later)
	}
	if g := s.Ask(noon, Asking{Endpoint: "warks"}); !g.OK {
		t.Error("the third that the second line leaves was refused to a new emergency call")
	}
	s.Release("warks")
	s.Release("warks")
	if g := s.Ask(noon, Asking{Endpoint: "warks", Class: Routine}); g.OK {
		t.Error("a routine call passed emergencies that wait")
	}
	if g := s.Ask(first.Until, Asking{Endpoint: "warks", SecondLine: true}); g.OK {
		t.Error("a newcomer passed the queue")
	} else {
		s.Leave("warks", g.Ticket)
	}
	if g := s.Ask(first.Until, Asking{Endpoint: "warks", SecondLine: true, Ticket: later.Ticket}); g.OK || g.Ticket != later.Ticket {
		t.Errorf("the second in the queue passed the first: %+v", g)
	}
	if g := s.Ask(first.Until, Asking{Endpoint: "warks", SecondLine: true, Ticket: first.Ticket}); !g.OK {
		t.Error("the oldest was not let in, although there is room")
	}
	s.Release("warks")
	if g := s.Ask(first.Until, Asking{Endpoint: "warks", SecondLine: true, Ticket: later.Ticket}); !g.OK {
		t.Error("the next was not let in after the oldest")
	}
}

func TestACallThatStoppedWaitingBlocksNobody(t *testing.T) {
	s := twoRooms()
	second := Asking{Endpoint: "warks", SecondLine: true}
	s.Ask(noon, second)
	s.Ask(noon, second)
	gone, alive := s.Ask(noon, second), s.Ask(noon, second)
	s.Release("warks")
	alive.Until = noon.Add(4 * time.Second)
	if g := s.Ask(alive.Until, Asking{Endpoint: "warks", SecondLine: true, Ticket: alive.Ticket}); g.OK {
		t.Error("the oldest was passed although it may still come")
	}
	if g := s.Ask(noon.Add(5*time.Second), Asking{Endpoint: "warks", SecondLine: true, Ticket: alive.Ticket}); !g.OK {
		t.Error("a call that did not ask for 5 s still holds the queue up")
	}
	s.Release("warks")
	if g := s.Ask(noon.Add(6*time.Second), Asking{Endpoint: "warks", SecondLine: true, Ticket: gone.Ticket}); !g.OK {
		t.Error("a forgotten call that came back was not let in")
	}
}

func TestAForgottenCallThatComesBackHasItsOldPlace(t *testing.T) {
	s := twoRooms()
	second := Asking{Endpoint: "warks", SecondLine: true}
	s.Ask(noon, second)
	s.Ask(noon, second)
	oldest := s.Ask(noon, second)
	now := noon.Add(6 * time.Second)
	younger := s.Ask(now, second)
	s.Ask(now, Asking{Endpoint: "warks", SecondLine: true, Ticket: oldest.Ticket})
	s.Release("warks")
	if g := s.Ask(now, Asking{Endpoint: "warks", SecondLine: true, Ticket: younger.Ticket}); g.OK {
		t.Error("the younger call passed the older one, which waits again")
	}
	if g := s.Ask(now, Asking{Endpoint: "warks", SecondLine: true, Ticket: oldest.Ticket}); !g.OK {
		t.Error("the older call was not let in")
	}
}

func TestCountsSurviveAReload(t *testing.T) {
	s := twoRooms()
	s.Ask(noon, Asking{Endpoint: "north"})
	s.Ask(noon, Asking{Endpoint: "warks"})
	s.Take("free")
	s.Reconfigure([]Endpoint{{Name: "north", Calls: 1}})
	if got := s.Used("north"); got != 1 {
		t.Errorf("north has %d calls after the reload, want 1", got)
	}
	if g := s.Ask(noon, Asking{Endpoint: "north", Class: Routine}); g.OK {
		t.Error("the new limit does not hold")
	}
	s.Reconfigure([]Endpoint{{Name: "north", Calls: 1}, {Name: "warks", Calls: 3, Partner: true}})
	if got := s.Used("warks"); got != 1 {
		t.Errorf("warks was taken out and came back with %d calls, want the 1 that still talks", got)
	}
	s.Release("gone")
	s.Release("north")
	s.Release("north")
	if got := s.Used("north"); got != 0 {
		t.Errorf("a slot that was given back twice leaves %d", got)
	}
}

func TestPropertySlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partners := map[EndpointName]bool{"a": false, "b": true, "c": true}
		endpoints := []Endpoint{
			{Name: "a", Calls: rapid.IntRange(0, 4).Draw(t, "a"), Reserve: rapid.IntRange(0, 3).Draw(t, "reserve")},
			{Name: "b", Calls: rapid.IntRange(0, 6).Draw(t, "b"), Partner: true},
			{Name: "c", Calls: 1, Partner: true},
		}
		s := NewSlots(endpoints)
		granted := map[EndpointName]int{}
		over := map[EndpointName]time.Time{}
		tickets := map[EndpointName][]Ticket{}
		now := noon
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				a := Asking{
					Endpoint: rapid.SampledFrom([]EndpointName{"a", "b", "c"}).Draw(t, "endpoint"),
					Class:    Class(rapid.IntRange(0, 2).Draw(t, "class")), SecondLine: rapid.Bool().Draw(t, "second line"),
				}
				if w := tickets[a.Endpoint]; a.SecondLine && len(w) > 0 && rapid.Bool().Draw(t, "again") {
					a.Ticket = rapid.SampledFrom(w).Draw(t, "ticket")
				}
				room, limited := s.Room(a.Endpoint)
				g := s.Ask(now, a)
				if g.OK {
					granted[a.Endpoint]++
				}
				switch {
				case a.Class == Emergency && !partners[a.Endpoint] && !g.OK:
					t.Fatalf("an own room refused an emergency call (second line %t)", a.SecondLine)
				case a.Class == Emergency && !a.SecondLine && !g.OK && (!limited || room > 0):
					t.Fatalf("%s refused a new emergency call with %d slots free", a.Endpoint, room)
				case a.Class == Emergency && !g.OK && !g.Until.After(now):
					t.Fatalf("an emergency call was refused for good: %+v", g)
				case (a.Class != Emergency || a.SecondLine && partners[a.Endpoint]) && g.OK && limited && room == 0:
					t.Fatalf("%s took a call of class %s, second line %t, beyond its limit", a.Endpoint, a.Class, a.SecondLine)
				case g.OK && partners[a.Endpoint] && limited && room == 0:
					if last, ok := over[a.Endpoint]; ok && now.Sub(last) < time.Second {
						t.Fatalf("full partner %s was asked twice within %s", a.Endpoint, now.Sub(last))
					}
					over[a.Endpoint] = now
				}
				if g.Ticket != 0 {
					tickets[a.Endpoint] = append(tickets[a.Endpoint], g.Ticket)
				}
			},
			"release": func(t *rapid.T) {
				name := rapid.SampledFrom([]EndpointName{"a", "b", "c"}).Draw(t, "endpoint")
				s.Release(name)
				granted[name] = max(0, granted[name]-1)
			},
			"leave": func(t *rapid.T) {
				name := rapid.SampledFrom([]EndpointName{"b", "c"}).Draw(t, "endpoint")
				if w := tickets[name]; len(w) > 0 {
					s.Leave(name, w[0])
					tickets[name] = w[1:]
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
			},
			"reload": func(*rapid.T) { s.Reconfigure(endpoints) },
			"": func(t *rapid.T) {
				for name, want := range granted {
					if got := s.Used(name); got != want {
						t.Fatalf("%s is counted with %d calls, want %d", name, got, want)
					}
				}
			},
		})
	})
}

func TestPropertyTheQueueMovesOldestFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewSlots([]Endpoint{{Name: "p", Calls: 3, Partner: true}})
		s.Take("p")
		s.Take("p")
		var waits []Ticket
		for range rapid.IntRange(1, 6).Draw(t, "waiting") {
			waits = append(waits, s.Ask(noon, Asking{Endpoint: "p", SecondLine: true}).Ticket)
		}
		now := noon
		for next := 0; next < len(waits); now = now.Add(200 * time.Millisecond) {
			s.Release("p")
			for _, i := range rapid.Permutation(indexes(next, len(waits))).Draw(t, "they ask") {
				if s.Ask(now, Asking{Endpoint: "p", SecondLine: true, Ticket: waits[i]}).OK {
					if i != next {
						t.Fatalf("waiting call %d was let in before %d", i, next)
					}
					next++
				}
			}
		}
	})
}

func indexes(from, to int) []int {
	var is []int
	for i := from; i < to; i++ {
		is = append(is, i)
	}
	return is
}

func BenchmarkSlots(b *testing.B) {
	s := twoRooms()
	b.ReportAllocs()
	for b.Loop() {
		if s.Ask(noon, Asking{Endpoint: "north"}).OK {
			s.Release("north")
		}
	}
}

// TestEmergencyRescuesAreServedBeforeRoutineOnesThenTheOldest: R21, R7. The order is that of the loss, whoever asked first.
func TestEmergencyRescuesAreServedBeforeRoutineOnesThenTheOldest(t *testing.T) {
	s := NewSlots([]Endpoint{{Name: "p", Calls: 3, Partner: true}}) // two for the second line
	s.Take("p")
	s.Take("p")
	ask := func(class Class, second int) Asking {
		a := Asking{Endpoint: "p", Class: class, SecondLine: true, Since: noon.Add(time.Duration(second) * time.Second)}
		g := s.Ask(noon, a)
		if g.OK || g.Until.IsZero() {
			t.Fatalf("a rescue of class %s at a full partner got %+v, want that it waits", class, g)
		}
		a.Ticket = g.Ticket
		return a
	}
	routine, routineToo := ask(Routine, 0), ask(Routine, 5)
	young, old := ask(Emergency, 9), ask(Emergency, 2)
	waits := []Asking{routineToo, young, routine, old}
	for i, want := range []Asking{old, young, routine, routineToo} {
		s.Release("p")
		waits = slices.DeleteFunc(waits, func(a Asking) bool { return a == want })
		for _, other := range waits {
			if s.Ask(noon, other).OK {
				t.Fatalf("number %d that is served is %+v, want %+v", i+1, other, want)
			}
		}
		if !s.Ask(noon, want).OK {
			t.Fatalf("number %d waits on although there is room: %+v", i+1, want)
		}
	}
}
