package policy

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// burst lets so many rescues ask at once and says how many may.
func burst(p *Pace, n int) int {
	went := 0
	for range n {
		if _, ok := p.Ask("standby", Emergency, noon, time.Second); ok {
			went++
		}
	}
	return went
}

// next lets everybody go who may.
func next(p *Pace) int {
	n := 0
	for {
		if _, ok := p.Next("standby"); !ok {
			return n
		}
		n++
	}
}

func TestABurstOfRescuesAsksAnEndpointAsFastAsItAnswers(t *testing.T) {
	p := NewPace()
	if got := burst(p, 500); got != paceBegins {
		t.Fatalf("%d of 500 ask at once, want %d", got, paceBegins)
	}
	asked, rounds := paceBegins, 0
	for out := paceBegins; asked < 500; rounds++ { // each round all that are out get a quick word
		for range out {
			p.Heard("standby", 50*time.Millisecond, false)
		}
		out = next(p)
		if asked += out; out == 0 {
			t.Fatalf("nobody goes on although all were answered; %d asked", asked)
		}
	}
	if rounds > 4 {
		t.Errorf("a quick endpoint was asked by 500 rescues in %d rounds, want 4 at most", rounds)
	}
}

func TestASlowEndpointIsAskedByFewer(t *testing.T) {
	p := NewPace()
	burst(p, 500)
	out := paceBegins - 1
	p.Heard("standby", 10*time.Millisecond, false)
	for range 200 {
		p.Heard("standby", 600*time.Millisecond, false)
		out += next(p) - 1
	}
	if out != paceLeast {
		t.Errorf("%d wait for the first word of an endpoint that takes 600 ms, want %d", out, paceLeast)
	}
}

// TestAnEndpointThatIsFarAwayIsNotSlow: each first word takes 150 ms, however few wait for it.
func TestAnEndpointThatIsFarAwayIsNotSlow(t *testing.T) {
	p := NewPace()
	burst(p, 200)
	out, rounds := paceBegins, 0
	for ; p.Waiting("standby") > 0; rounds++ {
		for range out {
			p.Heard("standby", 150*time.Millisecond, false)
		}
		out = next(p)
	}
	if rounds > 2 {
		t.Errorf("200 rescues needed %d round trips after the first, want 2 at most", rounds)
	}
}

func TestASilentEndpointHoldsNobodyForGood(t *testing.T) {
	p := NewPace()
	burst(p, 100)
	asked, out := paceBegins, paceBegins
	for range 100 {
		for range out {
			p.Heard("standby", 0, true)
		}
		out = next(p)
		asked += out
	}
	if asked != 100 || p.Waiting("standby") != 0 {
		t.Errorf("%d of 100 were let go and %d wait", asked, p.Waiting("standby"))
	}
}

func TestEmergencyRescuesGoFirstThenTheOldest(t *testing.T) {
	p := NewPace()
	burst(p, paceBegins)
	at := func(class Class, second int) Place {
		place, ok := p.Ask("standby", class, noon.Add(time.Duration(second)*time.Second), time.Second)
		if ok {
			t.Fatal("there is no room, and somebody went")
		}
		return place
	}
	routine := at(Routine, 1)
	late, early := at(Emergency, 9), at(Emergency, 3)
	test := at(Test, 0)
	gone := at(Emergency, 2)
	if !p.Leave("standby", gone) || p.Leave("standby", gone) {
		t.Error("who leaves has left, once")
	}
	for i, want := range []Place{early, late, test, routine} {
		p.Heard("standby", 400*time.Millisecond, false)
		if got, ok := p.Next("standby"); !ok || got != want {
			t.Errorf("number %d to go is %d, want %d", i+1, got, want)
		}
	}
}

// TestPropertyAPaceLosesNobody: in any order of events everybody who waits goes or leaves, once, and what is over leaves nothing behind.
func TestPropertyAPaceLosesNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := NewPace()
		waits := map[Place]bool{}
		out := 0
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				for range rapid.IntRange(1, 60).Draw(t, "how many") {
					place, ok := p.Ask("standby", Class(rapid.IntRange(0, 2).Draw(t, "class")), noon.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "since"))*time.Second), time.Second)
					if ok {
						out++
					} else {
						waits[place] = true
					}
				}
			},
			"heard": func(t *rapid.T) {
				if out == 0 {
					t.Skip("nobody is out")
				}
				p.Heard("standby", time.Duration(rapid.IntRange(0, 1000).Draw(t, "ms"))*time.Millisecond, rapid.Bool().Draw(t, "silent"))
				out--
			},
			"leave": func(t *rapid.T) {
				for place := range waits {
					if !p.Leave("standby", place) {
						t.Fatalf("place %d waits and can't leave", place)
					}
					delete(waits, place)
					return
				}
			},
			"": func(t *rapid.T) {
				for {
					place, ok := p.Next("standby")
					if !ok {
						break
					}
					if !waits[place] {
						t.Fatalf("place %d goes and does not wait", place)
					}
					delete(waits, place)
					out++
				}
				if got := p.Waiting("standby"); got != len(waits) {
					t.Fatalf("%d wait, want %d", got, len(waits))
				}
				if out == 0 && len(waits) > 0 {
					t.Fatalf("%d wait and nobody is out: they would wait for ever", len(waits))
				}
				if out == 0 && len(p.of) != 0 {
					t.Fatal("nobody asks and something is left")
				}
			},
		})
	})
}
