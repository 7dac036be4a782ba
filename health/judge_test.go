package health

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// story tells a judge what happens to the endpoint "room", a second apart, while "other" answers all the time.
type story struct {
	j   *Judge
	now time.Time
}

func begin(cfg Config) *story {
	if cfg.Endpoints == nil {
		cfg.Endpoints = []Endpoint{{Name: "room"}, {Name: "other"}}
	}
	return &story{j: New(noon, cfg), now: noon}
}

// tell reads one sign: + an answer to OPTIONS, - none, r a 503, i ICMP; A a call answered, S one silent, F one failed, R one that rang, B one that was
// refused as busy; . half a minute passes.
func (s *story) tell(sign rune) {
	s.now = s.now.Add(time.Second)
	probe := func(o Outcome, code int) {
		sent := s.now.Add(-800 * time.Millisecond)
		if w := s.j.of["room"]; w != nil {
			w.next = sent // the schedule has tests of its own
		}
		s.j.Due(sent)
		s.j.Probed(s.now, Probe{Endpoint: "room", Address: "192.0.2.1:5060", Outcome: o, Code: code})
		s.j.Probed(s.now, Probe{Endpoint: "other", Outcome: Alive, Code: 200})
	}
	call := func(what CallOutcome, why string) { s.j.Called(s.now, "room", what, why) }
	switch sign {
	case '+':
		probe(Alive, 200)
	case '-':
		probe(Silent, 0)
	case 'r':
		probe(Refused, 503)
	case 'i':
		probe(Unreachable, 0)
	case 'A':
		call(CallAnswered, "")
	case 'S':
		call(CallSilent, "got no answer for 1s")
	case 'F':
		call(CallFailed, "was refused with 500")
	case 'R':
		call(CallRang, "")
	case 'B':
		call(CallBusy, "")
	case '.':
		s.now = s.now.Add(29 * time.Second)
	default:
		panic("no such sign: " + string(sign))
	}
}

// verdicts tells a whole story and gives the verdict after each sign.
func (s *story) verdicts(signs string) string {
	var words []string
	for _, sign := range signs {
		s.tell(sign)
		words = append(words, s.verdict().String())
	}
	return strings.Join(words, " ")
}

func (s *story) verdict() Verdict { return s.j.Snapshot().Of("room").Verdict }

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct{ why, signs, want string }{
		{"one answer at start-up is enough", "+", "up"},
		{"one miss is nothing", "+-+", "up up up"},
		{"two misses are a suspicion", "+--", "up up suspect"},
		{"three misses bring it down", "+---", "up up suspect down"},
		{"one answer does not bring it back", "---+", "unknown suspect down down"},
		{"one answer lifts a suspicion of probes", "+--+", "up up suspect up"},
		{"misses must be in a row", "+-+-+-", "up up up up up up"},
		{"a 503 is a miss", "+rr", "up up suspect"},
		{"ICMP is a miss", "+iii", "up up suspect down"},
		{"misses of every kind add up", "+-ri", "up up suspect down"},
		{"five answers in a row are not enough before hold-down", "---+++++", "unknown suspect down down down down down down"},
		{"hold-down alone is not enough", "---.+", "unknown suspect down down down"},
		{"five answers and hold-down bring it up", "---.+++++", "unknown suspect down down down down down down up"},
		{"hold-down may end after the answers", "---+++++.+", "unknown suspect down down down down down down down up"},
		{"the five must be in a row", "---.++++-+++++", "unknown suspect down down down down down down down down down down down up"},
		{"one silent call is a suspicion", "+S", "up suspect"},
		{"one failed call is a suspicion", "+F", "up suspect"},
		{"also at start-up", "S", "suspect"},
		{"an answered call lifts it", "+SA", "up suspect up"},
		{"four answers to OPTIONS do not lift what a call raised", "+S++++", "up suspect suspect suspect suspect suspect"},
		{"five do", "+S+++++", "up suspect suspect suspect suspect suspect up"},
		{"ringing does not lift what a call raised", "+SR", "up suspect suspect"},
		{"a second failed call begins the count of answers anew", "+S++++F++++", "up suspect suspect suspect suspect suspect suspect suspect suspect suspect suspect"},
		{"a call makes a suspicion of probes its own", "+--S+", "up up suspect suspect suspect"},
		{"ringing lifts what probes raised", "+--R", "up up suspect up"},
		{"busy is a sign of life, too", "+--B", "up up suspect up"},
		{"an answered call stands for a good probe", "+--A", "up up suspect up"},
		{"answered calls stand against missed probes", "+-A-A-A", "up up up up up up up"},
		{"a call and probes together bring it down by the probes", "+S---", "up suspect suspect suspect down"},
		{"a failed call does not bring it down", "+SSSSFF", "up suspect suspect suspect suspect suspect suspect"},
		{"busy says nothing against it", "+BBB", "up up up up"},
		{"answered calls bring it back, if nobody answered elsewhere", "---.AAAAA", "unknown suspect down down down down down down up"},
		{"a failed call on the way back begins the count anew", "---.++++F++++", "unknown suspect down down down down down down down down down down down"},
		{"unknown stays unknown while it only rings", "R", "unknown"},
	} {
		if got := begin(Config{}).verdicts(tt.signs); got != tt.want {
			t.Errorf("%s: %s is\n %s, want\n %s", tt.why, tt.signs, got, tt.want)
		}
	}
}

func TestThresholdsAreConfigured(t *testing.T) {
	for _, tt := range []struct {
		why         string
		cfg         Config
		signs, want string
	}{
		{"down_after: 1 leaves no time for a suspicion", Config{DownAfter: 1}, "+-", "up down"},
		{"down_after: 2", Config{DownAfter: 2}, "+--", "up up down"},
		{"down_after: 4", Config{DownAfter: 4}, "+----", "up up suspect suspect down"},
		{"up_after: 1 and hold_down: 1s", Config{UpAfter: 1, HoldDown: time.Second}, "---+", "unknown suspect down up"},
		{"up_after: 2", Config{UpAfter: 2, HoldDown: time.Second}, "---++", "unknown suspect down down up"},
		{"up_after: 2 counts for what calls raised", Config{UpAfter: 2}, "+S++", "up suspect suspect up"},
		{"fail_back: manual waits for a person", Config{FailBack: Manual, UpAfter: 1, HoldDown: time.Second}, "---.+++", "unknown suspect down down down down down"},
		{"fail_back: probes", Config{FailBack: Probes, UpAfter: 1, HoldDown: time.Second}, "---.+", "unknown suspect down down up"},
	} {
		if got := begin(tt.cfg).verdicts(tt.signs); got != tt.want {
			t.Errorf("%s: %s is\n %s, want\n %s", tt.why, tt.signs, got, tt.want)
		}
	}
}

func TestHoldDownDoublesForWhatFlaps(t *testing.T) {
	s := begin(Config{UpAfter: 1, HoldDown: 10 * time.Second})
	holdDown := func() time.Duration { // takes it down and tells how long it stays there while it answers
		for s.verdict() != Down {
			s.tell('-')
		}
		from := s.now
		for s.verdict() == Down {
			s.tell('+')
		}
		return s.now.Sub(from)
	}
	for i, want := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600} {
		if got := holdDown(); got != want*time.Second {
			t.Errorf("time %d down in quick succession: it stays down for %s, want %s", i+1, got, want*time.Second)
		}
	}
	for range 95 { // with the misses to come it stays up for a little less than 10 × hold_down
		s.tell('+')
	}
	if got, want := holdDown(), 600*time.Second; got != want {
		t.Errorf("down again within ten times hold_down: it stays down for %s, want %s", got, want)
	}
	for range 100 {
		s.tell('+')
	}
	if got, want := holdDown(), 10*time.Second; got != want {
		t.Errorf("down again after a long good time: it stays down for %s, want %s", got, want)
	}
}

func TestChangesTellWhoDiedAndWhy(t *testing.T) {
	s := begin(Config{})
	for _, tt := range []struct {
		sign rune
		want string
	}{
		{'+', "unknown>up answered OPTIONS with 200"},
		{'-', ""},
		{'-', "up>suspect died 2 probes missed, the last silent"},
		{'-', "suspect>down 3 probes missed, the last silent"},
		{'-', ""},
		{'+', ""},
		{'.', ""},
		{'+', ""},
		{'+', ""},
		{'+', ""},
		{'+', "down>up answered OPTIONS with 200, the last of 5 in a row"},
		{'F', "up>suspect a call was refused with 500"},
		{'F', ""},
		{'-', ""},
		{'r', "suspect>suspect died a call was refused with 500; 2 probes missed, the last refused with 503"},
		{'i', "suspect>down 3 probes missed, the last unreachable"},
	} {
		s.tell(tt.sign)
		var got []string
		for _, c := range s.j.Changes() {
			if c.Name != "room" {
				continue
			}
			died := " "
			if c.Died {
				died = " died "
			}
			got = append(got, c.From.String()+">"+c.To.String()+died+c.Why)
			if !c.At.Equal(s.now) {
				t.Errorf("the change after %c is from %s, want %s", tt.sign, c.At, s.now)
			}
		}
		if strings.Join(got, "; ") != tt.want {
			t.Errorf("after %c: %q, want %q", tt.sign, got, tt.want)
		}
	}
}

func TestEveryNewSilenceIsANewDeath(t *testing.T) {
	for _, signs := range []string{"+--+--", "+--A--", "+--R--", "+--B--"} {
		s := begin(Config{})
		s.verdicts(signs)
		died := 0
		for _, c := range s.j.Changes() {
			if c.Died {
				died++
			}
		}
		if died != 2 {
			t.Errorf("%s: it died %d times, want 2: calls may ring there again after a sign of life", signs, died)
		}
	}
}

func TestADeadPartnerIsProbedSeldomAndAReturningOneOften(t *testing.T) {
	j := New(noon, Config{UpAfter: 50, Endpoints: []Endpoint{{Name: "room", Partner: true}, {Name: "other"}}, Seed: 7})
	gap := func(sent []time.Time) time.Duration { return sent[len(sent)-1].Sub(sent[len(sent)-2]) }
	if got := gap(rounds(j, noon, time.Minute, roomSilent)); got < 8*time.Second {
		t.Errorf("a dead partner is probed every %s, want about every 10s", got)
	}
	if got := gap(rounds(j, noon.Add(time.Minute), 15*time.Second, alive)); got > 1200*time.Millisecond {
		t.Errorf("a partner that answers again is probed every %s, want about every second", got)
	}
}

func TestADeadRoomDoesNotMakeUsProbeTheOthersMoreOften(t *testing.T) {
	j := New(noon, Config{Endpoints: []Endpoint{{Name: "dead"}, {Name: "room", Partner: true}}, Seed: 7})
	sent := rounds(j, noon, 10*time.Minute, func(name EndpointName) (Outcome, time.Duration) {
		if name == "dead" {
			return Silent, 800 * time.Millisecond
		}
		return alive(name)
	})
	if len(sent) < 55 || len(sent) > 70 {
		t.Errorf("a partner got %d probes in ten minutes, want about 60", len(sent))
	}
	if got := verdictsOf(j); got != "down up" {
		t.Errorf("verdicts are %s, want down up", got)
	}
}

func TestDownAtOnceIsADeath(t *testing.T) {
	s := begin(Config{DownAfter: 1})
	s.tell('-')
	for _, c := range s.j.Changes() {
		if c.Name == "room" && !c.Died {
			t.Errorf("%+v does not say that the endpoint died: calls ring there", c)
		}
	}
}

func TestBusyCountsAsFullForFiveSeconds(t *testing.T) {
	s := begin(Config{})
	s.tell('+')
	s.tell('B')
	at := s.now
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {4999 * time.Millisecond, true}, {5 * time.Second, false}} {
		if got := s.j.Snapshot().Of("room").Full(at.Add(tt.after)); got != tt.want {
			t.Errorf("%s after it said it is busy it counts as full: %t, want %t", tt.after, got, tt.want)
		}
	}
}

func TestSnapshotStaysTheSameUntilSomethingChanges(t *testing.T) {
	s := begin(Config{})
	s.tell('+')
	a := s.j.Snapshot()
	s.tell('+')
	if b := s.j.Snapshot(); a != b {
		t.Error("nothing changed, but there is a new snapshot")
	}
	s.tell('F')
	b := s.j.Snapshot()
	if a == b || b.Generation <= a.Generation {
		t.Errorf("generation %d after %d, want a later one", b.Generation, a.Generation)
	}
	if a.Of("room").Verdict != Up || b.Of("room").Verdict != Suspect {
		t.Errorf("verdicts are %s, then %s; want up (an old snapshot never changes), then suspect", a.Of("room").Verdict, b.Of("room").Verdict)
	}
	if got := b.Of("nobody").Verdict; got != Unknown {
		t.Errorf("an endpoint that is not configured is %s, want unknown", got)
	}
	if got := (*Snapshot)(nil).Of("room").Verdict; got != Unknown {
		t.Errorf("without a snapshot everything is %s, want unknown", got)
	}
}

// rounds runs the schedule for a time: each due probe is answered or missed after its time. It gives the times of the probes of "room".
func rounds(j *Judge, from time.Time, d time.Duration, result func(EndpointName) (Outcome, time.Duration)) []time.Time {
	type flying struct {
		at time.Time
		p  Probe
	}
	var sent []time.Time
	var air []flying
	for now := from; now.Before(from.Add(d)); now = now.Add(10 * time.Millisecond) {
		for i := 0; i < len(air); i++ {
			if !air[i].at.After(now) {
				j.Probed(now, air[i].p)
				air = append(air[:i], air[i+1:]...)
				i--
			}
		}
		for _, name := range j.Due(now) {
			if name == "room" {
				sent = append(sent, now)
			}
			o, after := result(name)
			p := Probe{Endpoint: name, Outcome: o, RTT: after}
			if o == Alive {
				p.Code = 200
			}
			air = append(air, flying{at: now.Add(after), p: p})
		}
	}
	return sent
}

func alive(EndpointName) (Outcome, time.Duration) { return Alive, 10 * time.Millisecond }

func roomSilent(name EndpointName) (Outcome, time.Duration) {
	if name == "room" {
		return Silent, 800 * time.Millisecond
	}
	return alive(name)
}

func TestProbesAreJitteredAroundTheirInterval(t *testing.T) {
	for _, tt := range []struct {
		why   string
		room  Endpoint
		every time.Duration
	}{
		{"an own room", Endpoint{Name: "room"}, time.Second},
		{"a partner", Endpoint{Name: "room", Partner: true}, 10 * time.Second},
	} {
		j := New(noon, Config{Endpoints: []Endpoint{tt.room}, Seed: 7})
		sent := rounds(j, noon, 200*time.Second, alive)
		if first := sent[0].Sub(noon); first > 100*time.Millisecond {
			t.Errorf("%s is probed first after %s, want at once", tt.why, first)
		}
		distinct := map[time.Duration]bool{}
		for i := 1; i < len(sent); i++ {
			gap := sent[i].Sub(sent[i-1])
			distinct[gap] = true
			if gap < tt.every*9/10-10*time.Millisecond || gap > tt.every*11/10+10*time.Millisecond {
				t.Errorf("%s: %s between probes %d and %d, want %s give or take a tenth", tt.why, gap, i, i+1, tt.every)
			}
		}
		if len(distinct) < 5 {
			t.Errorf("%s is probed in step: only %d different gaps", tt.why, len(distinct))
		}
	}
}

func TestTheScheduleRepeatsWithItsSeed(t *testing.T) {
	cfg := Config{Endpoints: []Endpoint{{Name: "room"}}, Seed: 7}
	a, b := rounds(New(noon, cfg), noon, time.Minute, alive), rounds(New(noon, cfg), noon, time.Minute, alive)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("the same seed gave two schedules")
	}
	cfg.Seed = 8
	if c := rounds(New(noon, cfg), noon, time.Minute, alive); fmt.Sprint(a) == fmt.Sprint(c) {
		t.Error("two seeds gave the same schedule: two nodes would probe in step")
	}
}

func TestASilentRoomIsSuspectWithinTwoAndDownWithinThreeTimeouts(t *testing.T) {
	j := New(noon, Config{Endpoints: []Endpoint{{Name: "room"}, {Name: "other"}}, Seed: 7})
	now := noon.Add(10 * time.Second)
	rounds(j, noon, 10*time.Second, alive)
	j.Changes()
	rounds(j, now, 5*time.Second, roomSilent)
	var got []string
	for _, c := range j.Changes() {
		got = append(got, c.To.String())
		// The last good probe may have been sent just before it died: 1.1 s until the next, then two timeouts; the third follows at once.
		limit := map[Verdict]time.Duration{Suspect: 2800 * time.Millisecond, Down: 3600 * time.Millisecond}[c.To]
		if took := c.At.Sub(now); took > limit {
			t.Errorf("it took %s until it was %s, want at most %s", took, c.To, limit)
		}
	}
	if strings.Join(got, " ") != "suspect down" {
		t.Errorf("verdicts were %q, want suspect, then down", got)
	}
}

func TestAFailedCallBringsTheNextProbeAtOnce(t *testing.T) {
	j := New(noon, Config{Endpoints: []Endpoint{{Name: "room", Partner: true}, {Name: "other"}}, Seed: 7})
	rounds(j, noon, 5*time.Second, alive)
	now := noon.Add(5 * time.Second)
	j.Called(now, "room", CallSilent, "got no answer for 1s")
	if got := j.Next(); got.After(now) {
		t.Errorf("the next probe is due at %s, want at once", got)
	}
	due := 0
	for i := range 100 { // 100 calls a second fail: the probes must not become as many
		at := now.Add(time.Duration(i) * 10 * time.Millisecond)
		for _, name := range j.Due(at) {
			if name == "room" {
				due++
				j.Probed(at, Probe{Endpoint: "room", Outcome: Alive, Code: 200})
			}
		}
		j.Called(at, "room", CallFailed, "met a closed port")
	}
	if due < 3 || due > 5 {
		t.Errorf("%d probes within a second of failing calls, want a few", due)
	}
}

func TestOneProbeAtATime(t *testing.T) {
	j := New(noon, Config{Endpoints: []Endpoint{{Name: "room"}}})
	now := noon.Add(time.Second)
	if got := j.Due(now); len(got) != 1 {
		t.Fatalf("due: %v, want room", got)
	}
	j.Called(now, "room", CallSilent, "got no answer")
	if got := j.Due(now.Add(time.Second)); len(got) != 0 {
		t.Errorf("due: %v, but a probe is under way", got)
	}
	late := j.Next()
	if got := j.Due(late); len(got) != 1 {
		t.Errorf("due: %v, want room again: the driver lost the first probe", got)
	}
	if got := late.Sub(now); got < 2*time.Second {
		t.Errorf("a probe counts as lost after %s, want longer than its timeout", got)
	}
	if got := j.Snapshot().Of("room").Verdict; got != Suspect {
		t.Errorf("the verdict is %s, want suspect: a lost probe is no evidence", got)
	}
}

func TestReloadKeepsVerdictsAndHolds(t *testing.T) {
	s := begin(Config{})
	s.verdicts("+---")
	if err := s.j.Hold(s.now, "other", Hold{By: "alice", Why: "power work", Until: s.now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	s.j.Reconfigure(s.now, Config{UpAfter: 1, HoldDown: time.Second, Endpoints: []Endpoint{{Name: "new"}, {Name: "other"}, {Name: "room"}}})
	snap := s.j.Snapshot()
	if snap.Of("room").Verdict != Down || !snap.Of("other").Held || snap.Of("new").Verdict != Unknown {
		t.Errorf("after the reload room is %s, other held %t, new %s; want down, held, unknown", snap.Of("room").Verdict, snap.Of("other").Held, snap.Of("new").Verdict)
	}
	s.tell('.')
	if s.tell('+'); s.verdict() != Up {
		t.Errorf("room is %s, want up by the new thresholds", s.verdict())
	}
	s.j.Notices()
	s.j.Reconfigure(s.now, Config{Endpoints: []Endpoint{{Name: "room"}}})
	if n := s.j.Notices(); len(n) != 1 || n[0].Kind != HoldEnded || n[0].Endpoint != "other" {
		t.Errorf("a held endpoint was taken out, notices are %+v, want that its hold has ended", n)
	}
	s.j.Probed(s.now, Probe{Endpoint: "other"})
	s.j.Called(s.now, "other", CallFailed, "")
	if _, ok := s.j.Explain(s.now, "other"); ok {
		t.Error("an endpoint that was taken out is still explained")
	}
}

func TestReloadBringsALongIntervalForward(t *testing.T) {
	j := New(noon, Config{PartnersEvery: time.Hour, Endpoints: []Endpoint{{Name: "room", Partner: true}}})
	rounds(j, noon, time.Second, alive)
	j.Reconfigure(noon.Add(time.Second), Config{Endpoints: []Endpoint{{Name: "room", Partner: true}}})
	if got := j.Next().Sub(noon); got > 11*time.Second {
		t.Errorf("the next probe is due after %s, want by the new interval of 10s", got)
	}
}

func TestPropertyTheJudgeKeepsItsWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			DownAfter: rapid.IntRange(1, 4).Draw(t, "down_after"), UpAfter: rapid.IntRange(1, 4).Draw(t, "up_after"),
			HoldDown: time.Duration(rapid.IntRange(1, 60).Draw(t, "hold_down")) * time.Second,
			FailBack: FailBack(rapid.IntRange(0, 2).Draw(t, "fail_back")),
		}
		s := begin(cfg)
		verdict, missed, good, downAt := Unknown, 0, 0, noon
		for _, sign := range rapid.SliceOfN(rapid.SampledFrom([]rune("++++----riASFRB.")), 1, 80).Draw(t, "story") {
			s.tell(sign)
			switch sign {
			case '+', 'A':
				missed, good = 0, good+1
			case '-', 'r', 'i':
				missed, good = missed+1, 0
			case 'R', 'B':
				missed = 0
			case 'S', 'F':
				good = 0
			}
			before := verdict
			verdict = s.verdict()
			switch {
			case verdict == Unknown && before != Unknown:
				t.Fatalf("after %c it is unknown again", sign)
			case verdict == Down && before != Down && missed < cfg.DownAfter:
				t.Fatalf("it went down after %d missed probes, want %d", missed, cfg.DownAfter)
			case before == Down && verdict != Down && (good < cfg.UpAfter || s.now.Sub(downAt) < cfg.HoldDown || cfg.FailBack == Manual):
				t.Fatalf("it came back after %d good probes and %s; want %d and %s, fail_back %d", good, s.now.Sub(downAt), cfg.UpAfter, cfg.HoldDown, cfg.FailBack)
			case before == Down && verdict == Suspect:
				t.Fatal("from down it became suspect")
			case missed >= cfg.DownAfter && verdict != Down:
				t.Fatalf("it is %s after %d missed probes, want down", verdict, missed)
			}
			if verdict == Down && before != Down {
				downAt = s.now
			}
			if e, ok := s.j.Explain(s.now, "room"); !ok || e.Verdict != verdict || e.Evidence == "" || e.Words() == "" || (e.BringsBack == "") != (verdict == Up && !e.Returning) {
				t.Fatalf("it is not explained: %+v", e)
			}
		}
	})
}

func BenchmarkProbed(b *testing.B) {
	s := begin(Config{})
	s.tell('+')
	b.ReportAllocs()
	for b.Loop() {
		s.j.Probed(s.now, Probe{Endpoint: "room", Outcome: Alive, Code: 200})
	}
}

func BenchmarkSnapshotOf(b *testing.B) {
	s := begin(Config{})
	s.tell('+')
	b.ReportAllocs()
	for b.Loop() {
		if s.j.Snapshot().Of("room").Verdict != Up {
			b.Fatal("not up")
		}
	}
}
