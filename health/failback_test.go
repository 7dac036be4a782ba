package health

import (
	"strings"
	"testing"
	"time"
)

func TestFailBackIsEarned(t *testing.T) {
	const (
		back    = "+ - - - . + + + + + " // down by probes, and all good probes and hold-down behind it
		tripped = "+ Sa1 Sb1 . + + + + + "
	)
	for _, tt := range []struct {
		why   string
		cfg   Config
		signs string
		want  string
	}{
		{"good probes and hold-down: returning", Config{}, back, "up returning 0"},
		{"not before hold-down is over", Config{}, "+ - - - + + + + + +", "down"},
		{"two routine calls with two-way audio are not enough", Config{}, back + "Aa1r Ta1r Ab1r Tb1r", "up returning 2"},
		{"three are", Config{}, back + "Aa1r Ta1r Ab1r Tb1r Ac1r Tc1r", "up"},
		{"answered without audio proves nothing", Config{}, back + "Aa1r Ab1r Ac1r Ad1r", "up returning 0"},
		{"a failed call between them begins the count anew", Config{}, back + "Ta1r Tb1r Fc1r Td1r", "suspect returning 1"},
		{"one-way audio between them, too", Config{}, back + "Ta1r Tb1r Oc1r Td1r", "up returning 1"},
		{"a passed test call", Config{}, back + "Tt1t", "up"},
		{"an emergency call that ended there because all others failed is proof like others", Config{}, back + "Ta1 Tb1r Tc1", "up"},
		{"power is back but nobody has logged in: 480", Config{}, back + "Ua1r Ub1r Uc1r Ud1r", "up returning 0"},
		{"power is back but nobody has logged in: it rings forever", Config{}, back + "Ra1r Rb1r Rc1r Rd1r", "up returning 0"},
		{"no canary for ten minutes", Config{}, back + ". . . . . . . . . . . . . . . . . . .", "up returning 0"},
		{"then the canary is due", Config{}, back + "*", "up returning 0 canary"},
		{"a canary that talks counts, and the next may go at once", Config{}, back + "* Rx1c Ax1c Tx1c", "up returning 1 canary"},
		{"three prove it", Config{}, back + "* Ax1c Tx1c Ay1c Ty1c Az1c Tz1c", "up"},
		{"a canary that rings puts the next off", Config{}, back + "* Rx1c", "up returning 0"},
		{"for ten minutes", Config{}, back + "* Rx1c *", "up returning 0 canary"},
		{"a canary that is refused as busy, too", Config{}, back + "* Ux1c", "up returning 0"},
		{"a silent canary", Config{}, back + "* Sx1c", "suspect returning 0"},
		{"a suspicion on the way back does not end it", Config{}, back + "- - +", "up returning 0"},
		{"missed probes do", Config{}, back + "- - -", "down"},
		{"what calls tripped stays down while it is returning", Config{}, tripped, "down returning 0"},
		{"three routine calls lift it", Config{}, tripped + "Ta1r Tb1r Tc1r", "up"},
		{"a test call lifts it", Config{}, tripped + "Tt1t", "up"},
		{"one failed call ends its way back", Config{}, tripped + "Sa1r", "down"},
		{"one 503 as well", Config{}, tripped + "Fz7r", "down"},
		{"busy does not", Config{}, tripped + "Ua1r", "down returning 0"},
		{"three missed probes do", Config{}, tripped + "- - -", "down"},
		{"a canary lifts it", Config{}, tripped + "* Ax1c Tx1c Ay1c Ty1c Az1c Tz1c", "up"},
		{"fail_back: probes, good probes and hold-down are enough", Config{FailBack: Probes}, back, "up"},
		{"unless calls tripped it", Config{FailBack: Probes}, tripped, "down returning 0"},
		{"then the canary", Config{FailBack: Probes}, tripped + "*", "down returning 0 canary"},
		{"fail_back: manual waits for a person", Config{FailBack: Manual}, back + "* + + + + +", "down"},
		{"whatever calls show", Config{FailBack: Manual}, back + "Aa1 Ta1 Ab1 Tb1 Ac1 Tc1", "down"},
	} {
		s := begin(tt.cfg)
		s.hearAll(tt.signs)
		if got := s.standing(); got != tt.want {
			e, _ := s.j.Explain(s.now, "room")
			t.Errorf("%s: %s is %s, want %s\n%s", tt.why, tt.signs, got, tt.want, e.Words())
		}
	}
}

func TestBehindAQueueA200IsNoProof(t *testing.T) {
	cfg := Config{Endpoints: []Endpoint{{Name: "room", Queue: true}, {Name: "other"}}}
	for _, tt := range []struct{ why, signs, want string }{
		{"connected, person unknown", "Ta1r Tb1r Tc1r Td1r", "up returning 0"},
		{"calls that talk for half a minute are proof", "Ta1r Ta1rl Tb1rl Tc1rl", "up"},
		{"a test call is", "Tt1t", "up"},
		{"a canary that has just been connected puts the next off", "* Ax1c Tx1c", "up returning 0"},
		{"one that talks for half a minute does not", "* Ax1c Tx1c Tx1cl", "up returning 1 canary"},
	} {
		s := begin(cfg)
		s.hearAll("+ - - - . + + + + + " + tt.signs)
		if got := s.standing(); got != tt.want {
			t.Errorf("%s: %s is %s, want %s", tt.why, tt.signs, got, tt.want)
		}
	}
}

func TestACallProvesOnce(t *testing.T) {
	s := begin(Config{})
	s.hearAll("+ - - - . + + + + +")
	for range 5 {
		s.now = s.now.Add(time.Second)
		s.j.Observed(s.now, CallEvidence{Endpoint: "room", Class: Routine, Call: "one", Caller: "a", Number: "101", Outcome: CallTalked})
	}
	if got := s.standing(); got != "up returning 1" {
		t.Errorf("one call that was told five times makes it %s, want one proof", got)
	}
}

func TestAReleaseProvesWhatReturns(t *testing.T) {
	for _, signs := range []string{"+ - - - . + + + + +", "+ Sa1 Sb1 . + + + + +", "+ Sa1 Sb1 + + + + +"} {
		for _, fb := range []FailBack{Auto, Probes, Manual} {
			s := begin(Config{FailBack: fb})
			s.hearAll(signs)
			if s.standing() == "up" {
				continue // fail_back: probes
			}
			if err := s.j.Release(s.now, "room", ""); err == nil {
				t.Error("a release without an owner was taken")
			}
			if err := s.j.Release(s.now, "room", "alice"); err != nil {
				t.Fatalf("%s, fail_back %d: %v", signs, fb, err)
			}
			if got := s.standing(); got != "up" {
				t.Errorf("%s, fail_back %d: released it is %s, want up", signs, fb, got)
			}
			s.hear("Sz1")
			if got := s.standing(); got != "suspect" {
				t.Errorf("%s, fail_back %d: one silent call after the release makes it %s, want suspect: what was before is forgiven", signs, fb, got)
			}
		}
	}
	s := begin(Config{})
	s.hearAll("+ Sa1 Sb1")
	if err := s.j.Release(s.now, "room", "alice"); err != nil {
		t.Fatal(err)
	}
	if got := s.standing(); got != "down" {
		t.Errorf("released without a good probe it is %s, want down: a release does not raise the dead", got)
	}
	s.hearAll("+ + + + +")
	if got := s.standing(); got != "up" {
		t.Errorf("released, and then five good probes: %s, want up without hold-down and proof", got)
	}
}

func TestAnEndedHoldTakesTheSamePath(t *testing.T) {
	for _, tt := range []struct {
		why   string
		cfg   Config
		signs string
		want  string
	}{
		{"up when its hold ends", Config{}, "+", "up returning 0"},
		{"down when its hold ends", Config{}, "+ - - -", "down"},
		{"fail_back: probes", Config{FailBack: Probes}, "+", "up"},
		{"fail_back: manual waits for a release", Config{FailBack: Manual}, "+", "up returning 0"},
	} {
		s := begin(tt.cfg)
		if err := s.j.Hold(s.now, "room", alices(s.now.Add(time.Minute))); err != nil {
			t.Fatal(err)
		}
		s.hearAll(tt.signs)
		s.now = s.now.Add(time.Minute)
		s.j.Due(s.now)
		if got := s.standing(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.why, got, tt.want)
		}
	}

	s := begin(Config{})
	s.hearAll("+ - - - . + + + + +")
	if err := s.j.Hold(s.now, "room", alices(s.now.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(30 * time.Minute)
	if s.j.Snapshot().Of("room").CanaryDue(s.now) {
		t.Error("a held endpoint is given a canary")
	}
	s.now = s.now.Add(30 * time.Minute)
	s.j.Due(s.now)
	if got := s.standing(); got != "up returning 0" {
		t.Errorf("a returning endpoint whose hold has ended is %s, want returning, and no canary for ten minutes", got)
	}
	s.j.RestoreHolds(s.now, []Hold{{Endpoint: "other", By: "alice", Why: "power work", From: s.now.Add(-2 * time.Hour), Until: s.now.Add(-time.Hour)}})
	if !s.j.Snapshot().Of("other").Returning {
		t.Error("a hold that ended while we were away left its endpoint unproven but trusted")
	}
}

func TestHoldDownGrowsForWhatCallsTripAgain(t *testing.T) {
	s := begin(Config{UpAfter: 1, HoldDown: 10 * time.Second})
	s.hearAll("+ Sa1 Sb1")
	for i, want := range []time.Duration{10, 20, 40, 80} {
		from := s.now
		for !s.j.Snapshot().Of("room").Returning {
			s.tell('+')
		}
		if got := s.now.Sub(from); got != want*time.Second {
			t.Errorf("time %d: it is returning after %s, want %s", i+1, got, want*time.Second)
		}
		s.hear("Sc1r") // a routine call finds that it is still dead
	}
}

func TestTheWayBackIsToldAndExplained(t *testing.T) {
	s := begin(Config{})
	s.hearAll("+ Sa1 Sb1")
	say := func(want string) {
		t.Helper()
		if e, _ := s.j.Explain(s.now, "room"); !strings.Contains(e.Words(), want) {
			t.Errorf("%q\ndoes not say %q", e.Words(), want)
		}
	}
	say("what brings it back: 5 good probes in a row (0 so far), and the end of its hold-down of 30s in 30s; then, for emergency calls, " +
		"3 routine calls with two-way audio, or a passed test call, or release, or the canary 10m0s later")
	s.hearAll(". + + + + + Ta1r")
	say("it is returning, and emergency calls go to others until it has proven itself")
	say("3 calls from 12:00:02 to 12:00:39: 2 silent, 1 talked")
	say("what brings it back: 3 routine calls with two-way audio (1 so far), or a passed test call, or release, or the canary at 12:10:38")
	if got, want := s.j.Snapshot().Of("room").Words, "down since 12:00:03: 2 calls of 2 callers failed in a row, the last got no answer for 1s, returning: 1 of 3 calls have proven it"; got != want {
		t.Errorf("in a plan it is %q, want %q", got, want)
	}
	st := s.j.Snapshot().Of("room")
	if st.Dead() {
		t.Error("a returning endpoint counts as dead: talking calls there would be taken away")
	}
	s.hearAll("* Rx1c")
	say("or the canary at 12:20:40")
	s.hear("Tx1c")
	say("or the canary, due since 12:10:41")
	s.hear("Ty1c")
	if got, want := kinds(s.j.Notices()), "returning; proven"; got != want {
		t.Errorf("notices are %q, want %q", got, want)
	}
	changes := s.j.Changes()
	if last := changes[len(changes)-1]; last.From != Down || last.To != Up || last.Why != "3 calls in a row had two-way audio" {
		t.Errorf("the last change is %+v, want from down to up by the calls", last)
	}
	m := begin(Config{FailBack: Manual})
	if err := m.j.Hold(m.now, "room", alices(m.now.Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	m.hearAll("+ . .")
	m.j.Due(m.now)
	if e, _ := m.j.Explain(m.now, "room"); e.BringsBack != "a release by an operator, or a passed test call" {
		t.Errorf("with fail_back: manual, after a hold, what brings it back is %q", e.BringsBack)
	}
	if m.hear("*"); m.j.Snapshot().Of("room").CanaryDue(m.now) {
		t.Error("with fail_back: manual a canary is due")
	}
}

func TestAReloadToProbesEndsTheProof(t *testing.T) {
	s := begin(Config{})
	s.hearAll("+ - - - . + + + + +")
	s.j.Reconfigure(s.now, Config{FailBack: Probes, Endpoints: []Endpoint{{Name: "room"}, {Name: "other"}}})
	if got := s.standing(); got != "up" {
		t.Errorf("after a reload to fail_back: probes it is %s, want up", got)
	}
}
