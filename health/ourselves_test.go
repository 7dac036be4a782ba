package health

import (
	"strings"
	"testing"
	"time"
)

func kinds(notices []Notice) string {
	var words []string
	for _, n := range notices {
		words = append(words, string(n.Kind))
	}
	return strings.Join(words, "; ")
}

func TestAStallOfOurOwnVoidsWhatItBrought(t *testing.T) {
	for _, tt := range []struct {
		why   string
		signs string
		stall time.Duration // told a moment after the last sign
		want  Verdict
	}{
		{"a suspicion of that time is taken back", "++--", 2500 * time.Millisecond, Up},
		{"a fall of that time is taken back", "++---", 4 * time.Second, Up},
		{"a call's suspicion is taken back", "++S", 1100 * time.Millisecond, Up},
		{"unknown becomes unknown again", "--", 2500 * time.Millisecond, Unknown},
		{"a suspicion from before stays, the fall goes", "++---", 500 * time.Millisecond, Suspect},
		{"a tick a little late is no stall", "++---", 299 * time.Millisecond, Down},
		{"an old fall stands", "++---....", 10 * time.Second, Down},
	} {
		s := begin(Config{})
		s.verdicts(tt.signs)
		s.j.Stalled(s.now.Add(10*time.Millisecond), tt.stall)
		if got := s.verdict(); got != tt.want {
			t.Errorf("%s: %s, then a stall of %s: %s, want %s", tt.why, tt.signs, tt.stall, got, tt.want)
		}
	}
}

func TestEvidenceIsVoidForTwoSecondsAfterAStall(t *testing.T) {
	s := begin(Config{})
	s.tell('+')
	s.j.Notices()
	s.j.Stalled(s.now, 400*time.Millisecond)
	if n := s.j.Notices(); kinds(n) != "evidence void" || !strings.Contains(n[0].Text, "our own stall of 400ms") {
		t.Errorf("notices are %+v, want that the evidence is void", n)
	}
	if suspect, why := s.j.Self(s.now); !suspect || !strings.Contains(why, "our own stall of 400ms") {
		t.Errorf("Self is %t, %q; want our stall", suspect, why)
	}
	if got, want := s.verdicts("-SF"), "up suspect suspect"; got != want {
		t.Errorf("a probe that was sent 0.2 s after the stall, and calls that failed 2 and 3 s after it, make it %s; want %s", got, want)
	}
	if e, _ := s.j.Explain(s.now, "room"); e.Missed != 0 || !e.LastProbe.Void || !strings.Contains(e.Words(), "(void)") {
		t.Errorf("the void probe is explained as %q", e.Words())
	}
	if suspect, _ := s.j.Self(s.now); suspect {
		t.Error("we still suspect ourselves 3 s after the stall")
	}
}

func TestAVoidFallIsNoFlap(t *testing.T) {
	s := begin(Config{UpAfter: 1, HoldDown: 10 * time.Second})
	s.verdicts("---.+") // down and back
	s.verdicts("---")
	s.j.Changes()
	s.j.Stalled(s.now, 5*time.Second)
	changes := s.j.Changes()
	if len(changes) != 1 || changes[0].From != Down || changes[0].To != Up || !strings.Contains(changes[0].Why, "void") {
		t.Errorf("changes are %+v, want one from down to up because the evidence is void", changes)
	}
	s.tell('.')
	s.tell('.')
	s.tell('.')
	s.tell('.') // longer ago than 10 × hold_down
	s.verdicts("---")
	e, _ := s.j.Explain(s.now, "room")
	if !strings.Contains(e.BringsBack, "hold-down of 10s") {
		t.Errorf("what brings it back: %q, want a hold-down that was not doubled", e.BringsBack)
	}
}

// everybody tells results of one round: the two rooms and a partner, probed at the same moment.
func everybody(j *Judge, now time.Time, results map[EndpointName]Outcome) {
	sent := now.Add(-800 * time.Millisecond)
	for _, w := range j.order {
		w.next = sent
	}
	for _, name := range j.Due(sent) {
		o := results[name]
		code := 0
		if o == Alive {
			code = 200
		}
		j.Probed(now, Probe{Endpoint: name, Outcome: o, Code: code})
	}
}

func all(o Outcome) map[EndpointName]Outcome {
	return map[EndpointName]Outcome{"north": o, "south": o, "warks": o}
}

func threeRooms() *Judge {
	j := New(noon, Config{Endpoints: []Endpoint{{Name: "north"}, {Name: "south"}, {Name: "warks", Partner: true}}})
	everybody(j, noon.Add(time.Second), all(Alive))
	j.Changes()
	return j
}

func verdictsOf(j *Judge) string {
	var words []string
	for _, w := range j.order {
		words = append(words, w.verdict.String())
	}
	return strings.Join(words, " ")
}

func TestEverythingSilentAtOnceMovesNothing(t *testing.T) {
	j := threeRooms()
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	for s := 2; s < 60; s++ {
		everybody(j, at(s), all(Silent))
	}
	if got := verdictsOf(j); got != "up up up" {
		t.Errorf("all is silent for a minute: verdicts are %s, want up up up", got)
	}
	if n := j.Notices(); kinds(n) != "we suspect ourselves" || !strings.Contains(n[0].Text, "all 3 endpoints fell silent at once") {
		t.Errorf("notices are %+v, want that we suspect ourselves, once", n)
	}
	if suspect, _ := j.Self(at(60)); !suspect || j.Snapshot().Self == "" {
		t.Error("Self and the snapshot do not say that we suspect ourselves")
	}
	j.Called(at(60), "north", CallSilent, "got no answer for 1s")
	if got := verdictsOf(j); got != "up up up" {
		t.Errorf("a call fails meanwhile: verdicts are %s, want up up up", got)
	}

	// The link comes back, and north is really dead.
	j.Heard(at(61), "bt")
	if n := j.Notices(); kinds(n) != "we trust ourselves again" || !strings.HasPrefix(n[0].Text, "bt was heard") {
		t.Errorf("notices are %+v, want that we trust ourselves again", n)
	}
	for s := 62; s < 65; s++ {
		everybody(j, at(s), map[EndpointName]Outcome{"north": Silent, "south": Alive, "warks": Alive})
	}
	if got := verdictsOf(j); got != "down up up" {
		t.Errorf("north stays silent when others are heard again: verdicts are %s, want down up up", got)
	}
}

func TestWhoIsHeardSpeaksForOurLink(t *testing.T) {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	for _, tt := range []struct {
		why     string
		results map[EndpointName]Outcome
		heard   bool
		want    string
	}{
		{"a trunk was heard meanwhile: the rooms are dead", all(Silent), true, "down down down"},
		{"a partner answers", map[EndpointName]Outcome{"north": Silent, "south": Silent, "warks": Alive}, false, "down down up"},
		{"ICMP is not silence of our link", map[EndpointName]Outcome{"north": Unreachable, "south": Silent, "warks": Silent}, false, "down down down"},
		{"nor is a 503", map[EndpointName]Outcome{"north": Silent, "south": Silent, "warks": Refused}, false, "down down down"},
	} {
		j := threeRooms()
		for s := 2; s < 5; s++ {
			if tt.heard {
				j.Heard(at(s).Add(-500*time.Millisecond), "bt")
			}
			everybody(j, at(s), tt.results)
		}
		if got := verdictsOf(j); got != tt.want {
			t.Errorf("%s: verdicts are %s, want %s", tt.why, got, tt.want)
		}
		if suspect, why := j.Self(at(5)); suspect {
			t.Errorf("%s: we suspect ourselves: %s", tt.why, why)
		}
	}
}

func TestRoomsThatDieOneAfterTheOtherAreDead(t *testing.T) {
	j := threeRooms()
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	for s := 2; s < 30; s++ {
		everybody(j, at(s), map[EndpointName]Outcome{"north": Silent, "south": Alive, "warks": Alive})
	}
	for s := 30; s < 60; s++ {
		everybody(j, at(s), map[EndpointName]Outcome{"north": Silent, "south": Silent, "warks": Alive})
	}
	for s := 60; s < 64; s++ {
		everybody(j, at(s), all(Silent))
	}
	if got := verdictsOf(j); got != "down down down" {
		t.Errorf("verdicts are %s, want down down down: they died half a minute apart", got)
	}
}

func TestTheOnlyEndpointMayDie(t *testing.T) {
	j := New(noon, Config{Endpoints: []Endpoint{{Name: "north"}}})
	for s := range 3 {
		everybody(j, noon.Add(time.Duration(s+1)*time.Second), map[EndpointName]Outcome{"north": Silent})
	}
	if got := verdictsOf(j); got != "down" {
		t.Errorf("the verdict is %s, want down: one endpoint's silence is no sign of our own", got)
	}
}

func TestSilenceMakesUsAskTheOthersAtOnce(t *testing.T) {
	// The link is lost. Partners are probed every 10 s only: unless they are asked at once, the rooms are down long before we know better.
	j := New(noon, Config{Endpoints: []Endpoint{{Name: "room"}, {Name: "warks", Partner: true}, {Name: "staffs", Partner: true}}, Seed: 3})
	rounds(j, noon, 15*time.Second, alive)
	j.Changes()
	rounds(j, noon.Add(15*time.Second), 30*time.Second, func(EndpointName) (Outcome, time.Duration) { return Silent, 800 * time.Millisecond })
	if got := verdictsOf(j); got != "up up up" {
		t.Errorf("verdicts are %s after our link was lost, want up up up", got)
	}
	for _, c := range j.Changes() {
		if c.To == Down {
			t.Errorf("%s went down although our own link was lost", c.Name)
		}
	}
}

func TestASuspicionThatCameBeforeWeKnewBetterIsTakenBack(t *testing.T) {
	j := threeRooms()
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	silent := func(name EndpointName, ms int) {
		w := j.of[name]
		w.out, w.sent = true, at(ms-800)
		j.Probed(at(ms), Probe{Endpoint: name, Outcome: Silent})
	}
	silent("south", 2000)
	silent("south", 3000)
	if got := verdictsOf(j); got != "up suspect up" {
		t.Fatalf("verdicts are %s, want south suspect: nobody knows yet whether the others are silent", got)
	}
	silent("north", 3100)
	silent("warks", 3200)
	if got := verdictsOf(j); got != "up up up" {
		t.Errorf("verdicts are %s when all turned out to be silent, want up up up", got)
	}
}

func TestWhoIsHeardWhileTheFirstWereSilentAlreadySpeaksForOurLink(t *testing.T) {
	j := threeRooms()
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	for _, r := range []struct {
		name EndpointName
		sent int
	}{{"north", 2000}, {"south", 2600}, {"warks", 2600}} {
		if r.name == "south" {
			j.Heard(at(2500), "bt")
		}
		w := j.of[r.name]
		w.out, w.sent = true, at(r.sent)
		j.Probed(at(r.sent+800), Probe{Endpoint: r.name, Outcome: Silent})
	}
	if suspect, why := j.Self(at(3500)); suspect {
		t.Errorf("we suspect ourselves (%s), although bt was heard while north was silent", why)
	}
}

func TestWhoWasDeadBeforeDoesNotVouchForOurLink(t *testing.T) {
	j := threeRooms()
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	for s := 2; s < 30; s++ {
		everybody(j, at(s), map[EndpointName]Outcome{"north": Silent, "south": Alive, "warks": Alive})
	}
	for s := 30; s < 40; s++ {
		everybody(j, at(s), all(Silent))
	}
	if got := verdictsOf(j); got != "down up up" {
		t.Errorf("verdicts are %s, want down up up: the two that lived fell silent at once", got)
	}
}

func TestWeMaySuspectOurselvesAgain(t *testing.T) {
	j := threeRooms()
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	everybody(j, at(2), all(Silent))
	j.Heard(at(20), "bt")
	if got := j.Next(); got.After(at(20)) {
		t.Errorf("after we heard somebody again the next probe is due at %s, want at once", got)
	}
	for _, w := range j.order { // sent before bt was heard
		w.out, w.sent = true, at(20).Add(-100*time.Millisecond)
		j.Probed(at(20).Add(700*time.Millisecond), Probe{Endpoint: w.endpoint.Name, Outcome: Silent})
	}
	for _, name := range []EndpointName{"north", "south", "warks"} {
		if e, _ := j.Explain(at(21), name); e.Missed != 0 {
			t.Errorf("%s has missed %d probes, want none: it was asked while our link was in doubt", name, e.Missed)
		}
	}
	for s := 22; s < 30; s++ {
		everybody(j, at(s), all(Silent))
	}
	if got := verdictsOf(j); got != "up up up" {
		t.Errorf("verdicts are %s after all fell silent again, want up up up", got)
	}
}

func TestASilenceThatBeginsWithAStallIsStillSeen(t *testing.T) {
	j := threeRooms()
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	j.Stalled(at(2), time.Second)
	everybody(j, at(3), all(Silent)) // void
	if suspect, why := j.Self(at(4)); suspect {
		t.Errorf("we suspect ourselves by void evidence: %s", why)
	}
	for s := 5; s < 10; s++ {
		everybody(j, at(s), all(Silent))
	}
	if got := verdictsOf(j); got != "up up up" {
		t.Errorf("verdicts are %s, want up up up: the silence went on after the stall", got)
	}
	if suspect, _ := j.Self(at(10)); !suspect {
		t.Error("we do not suspect ourselves although everything is silent")
	}
}

func TestALostLinkIsVoid(t *testing.T) {
	s := begin(Config{})
	s.verdicts("++---")
	s.j.Void(s.now, s.now.Add(-10*time.Second), "the link of eth0 was lost")
	if got := s.verdict(); got != Up {
		t.Errorf("the verdict is %s, want up", got)
	}
	if _, why := s.j.Self(s.now); !strings.Contains(why, "eth0") {
		t.Errorf("we suspect ourselves because %q, want the link", why)
	}
}
