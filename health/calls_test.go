package health

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// outcomes are the signs of real calls: what became of one, and its status code.
var outcomes = map[byte]struct {
	what CallOutcome
	code int
	why  string
}{
	'S': {CallSilent, 0, "got no answer for 1s"},
	'F': {CallFailed, 503, "was refused with 503"},
	'W': {CallFailed, 408, "was refused with 408"},
	'X': {CallFailed, 0, "met a closed connection"},
	'A': {CallAnswered, 200, ""},
	'R': {CallRang, 180, ""},
	'B': {CallBusy, 486, ""},
	'U': {CallBusy, 480, ""},
	'N': {CallRefused, 404, ""},
	'I': {CallRefused, 484, ""},
	'D': {CallRefused, 488, ""},
	'6': {CallRefused, 606, ""},
	'T': {CallTalked, 0, ""},
	'O': {CallOneWay, 0, ""},
	'Q': {CallQuiet, 0, ""},
	'M': {CallNoMedia, 0, ""},
	'L': {CallCleared, 0, ""},
	'C': {CallCancelled, 0, ""},
}

// hear reads a sign of several letters: an outcome, the caller (a letter), the called number (a digit), then r for a routine and t for a test call, c for
// the canary, l for one that talks long: "Sa1", "Tb2r". Signs of one letter are probes and pauses as tell reads them; * is ten minutes.
func (s *story) hear(sign string) {
	if sign == "*" {
		s.now = s.now.Add(10 * time.Minute)
		s.j.Due(s.now)
		for _, w := range s.j.order { // the schedule has tests of its own
			w.out = false
		}
		return
	}
	if len(sign) == 1 {
		s.tell(rune(sign[0]))
		return
	}
	s.now = s.now.Add(time.Second)
	o, ok := outcomes[sign[0]]
	if !ok {
		panic("no such sign: " + sign)
	}
	ev := CallEvidence{
		Endpoint: "room", Class: Emergency, Number: "0190533199" + sign[2:3], Outcome: o.what, Code: o.code, Why: o.why, Caller: sign[1:2],
		Answer: 20 * time.Millisecond,
	}
	for _, c := range sign[3:] {
		switch c {
		case 'r':
			ev.Class = Routine
		case 't':
			ev.Class = Test
		case 'c':
			ev.Canary = true
		case 'l':
			ev.Talk = time.Minute
		default:
			panic("no such mark: " + sign)
		}
	}
	s.j.Observed(s.now, ev)
}

func (s *story) hearAll(signs string) {
	for _, sign := range strings.Fields(signs) {
		s.hear(sign)
	}
}

// standing is a verdict in a few letters, as the plans for emergency calls see it.
func (s *story) standing() string {
	st := s.j.Snapshot().Of("room")
	words := st.Verdict.String()
	if st.Returning {
		words += fmt.Sprintf(" returning %d", st.Proofs)
		if st.CanaryDue(s.now) {
			words += " canary"
		}
	}
	return words
}

func TestCallsJudgeWithoutOPTIONS(t *testing.T) {
	for _, tt := range []struct{ why, signs, want string }{
		{"a first silent call is a suspicion", "+ Sa1", "suspect"},
		{"a PBX that answers OPTIONS but not calls is out within two calls", "+ Sa1 + + Sb1", "down"},
		{"also when OPTIONS had lifted the suspicion meanwhile", "+ Sa1 + + + + + + Sb1", "down"},
		{"two 503 of two callers, and nobody is answered", "+ Fa1 Fb1", "down"},
		{"two 408", "+ Wa1 Wb1", "down"},
		{"two broken connections", "+ Xa1 Xb1", "down"},
		{"a silence and a 503", "+ Sa1 Fb1", "down"},
		{"at start-up", "Sa1 Sb1", "down"},
		{"one caller who tries again and again is one caller", "+ Sa1 Sa1 Sa1 Sa1", "suspect"},
		{"an answered call between them", "+ Sa1 Ac1 Sb1", "suspect"},
		{"a call that rang between them", "+ Sa1 Rc1 Sb1", "suspect"},
		{"the first is forgotten after ten minutes", "+ Sa1 * + Sb1", "suspect"},
		{"busy is full, not dead", "+ Ba1 Bb1 Bc1 Ua1 Ub1 Uc1", "up"},
		{"busy does not clear what failed", "+ Sa1 Bc1 Sb1", "down"},
		{"404, 484, 488 and 606 blame the number or the offer", "+ Na1 Nb1 Ia1 Ib1 Da1 Db1 6a1 6b1", "up"},
		{"they do not clear what failed either", "+ Sa1 Nc1 Sb1", "down"},
		{"the caller's CANCEL is neutral", "+ Ca1 Cb1 Cc1 Cd1", "up"},
		{"no media after its 200: two callers are not enough", "+ Aa1 Ma1 Ab1 Mb1", "up"},
		{"three are", "+ Aa1 Ma1 Ab1 Mb1 Ac1 Mc1", "down"},
		{"the same caller three times is one", "+ Aa1 Ma1 Aa1 Ma1 Aa1 Ma1", "up"},
		{"audio both ways between them", "+ Ma1 Mb1 Td1 Mc1", "up"},
		{"one-way audio of three callers", "+ Oa1 Ob1 Oc1", "down"},
		{"that other calls are answered does not clear it", "+ Oa1 Ob1 Ad1 Rd2 Oc1", "down"},
		{"three telephones that went quiet are no more than a suspicion", "+ Ta1 Tb1 Tc1 Qa1 Qb1 Qc1", "suspect"},
		{"and OPTIONS don't lift it", "+ Qa1 Qb1 Qc1 + + + + + +", "suspect"},
		{"two are none", "+ Qa1 Qb1", "up"},
		{"the same caller three times is one", "+ Qa1 Qa1 Qa1", "up"},
		{"nor are three of many that talk", "+ Ta1 Tb1 Tc1 Td1 Qe1 Qf1 Qg1", "up"},
		{"more of them never bring it down", "+ Qa1 Qb1 Qc1 Qd1 Qe1 Qf1 Qa1 Qb1", "suspect"},
		{"calls that talk lift it", "+ Qa1 Qb1 Qc1 Td1 Te1 Tf1 Tg1 Ah1", "up"},
		{"it is old after ten minutes", "+ Qa1 Qb1 Qc1 * + + + + +", "up"},
		{"an old call that talks does not clear failed new ones", "+ Sa1 Td1 Sb1", "down"},
		{"answers to OPTIONS alone never lift what calls tripped, hold-down over or not", "+ Sa1 Sb1 + + + + + + . . + + + + + +", "down returning 0"},
		{"nor do they ten minutes later", "+ Sa1 Sb1 + + + + + + . + * + + + + +", "down returning 0 canary"},
		{"what probes brought down comes up by probes, and is returning", "+ - - - . + + + + +", "up returning 0"},
		{"silent to OPTIONS and then to calls: probes brought it down", "+ - - - Sa1 Sb1 . + + + + +", "up returning 0"},
		{"back to OPTIONS but not to calls: calls keep it down", "+ - - - + Sa1 Sb1 . + + + + +", "down returning 0"},
		{"half of the calls fail: suspect, whatever OPTIONS say", "+ Aa1 Sb1 Ac1 Sd1 Ae1 Sf1 + + + + + +", "suspect"},
		{"fewer than half", "+ Aa1 Aa1 Aa1 Sb1 Ac1 Sd1 Ae1 Sf1 Ag1", "up"},
		{"suspicion of half-failing calls ends with better calls", "+ Aa1 Sb1 Ac1 Sd1 Ae1 Sf1 Aa1 Ab1", "up"},
	} {
		s := begin(Config{})
		s.hearAll(tt.signs)
		if got := s.standing(); got != tt.want {
			e, _ := s.j.Explain(s.now, "room")
			t.Errorf("%s: %s is %s, want %s\n%s", tt.why, tt.signs, got, tt.want, e.Words())
		}
	}
}

func TestATripIsTold(t *testing.T) {
	s := begin(Config{})
	s.hearAll("+ Sa1")
	s.j.Changes()
	s.hear("Sb1")
	c := s.j.Changes()
	if len(c) != 1 || c[0].From != Suspect || c[0].To != Down || !c[0].Died {
		t.Fatalf("changes are %+v, want one from suspect to down that says that attempts there are lost", c)
	}
	if want := "2 calls of 2 callers failed in a row, the last got no answer for 1s"; c[0].Why != want {
		t.Errorf("why is %q, want %q", c[0].Why, want)
	}
	if got := s.j.Next(); got.After(s.now.Add(time.Second / 4)) {
		t.Errorf("the next probe is due at %s, want at once", got)
	}
	st := s.j.Snapshot().Of("room")
	if st.Verdict != Down || st.Returning || st.Dead() {
		t.Errorf("%+v: down, but no witness against a call that talks", st)
	}
	for _, tt := range []struct {
		signs, why string
		dead       bool
	}{
		{"- -", "two missed probes are a suspicion", false},
		{"-", "the third is a witness of its own", true},
		{"+", "an answered one takes it back", false},
	} {
		s.hearAll(tt.signs)
		if st := s.j.Snapshot().Of("room"); st.Dead() != tt.dead {
			t.Errorf("%s: %+v; want dead %t", tt.why, st, tt.dead)
		}
	}
}

// TestWhatRingsAtARoomThatCallsBroughtDownMayDieToo: it was down before it rang, so that its verdict does not change when it falls silent.
func TestWhatRingsAtARoomThatCallsBroughtDownMayDieToo(t *testing.T) {
	s := begin(Config{})
	s.hearAll("+ Sa1 Sb1 Rc1")
	s.j.Changes()
	s.hearAll("-")
	if c := s.j.Changes(); len(c) != 0 {
		t.Fatalf("one missed probe changed %+v; two are a death", c)
	}
	s.hearAll("-")
	if c := s.j.Changes(); len(c) != 1 || !c[0].Died || c[0].From != Down || c[0].To != Down {
		t.Fatalf("two missed probes changed %+v; want one death, told while it is down", c)
	}
	s.hearAll("- - -")
	if c := s.j.Changes(); len(c) != 0 {
		t.Errorf("more of them changed %+v; a death is told once", c)
	}
}

func TestANumberThatFailsIsFoundAndNamed(t *testing.T) {
	for _, tt := range []struct {
		why, signs string
		down       string // the verdict of the endpoint
		numbers    string // those that fail
	}{
		{"one DDI in five gets 503", "+ Aa1 Ab2 Ac3 Ad4 Fe5 Aa1 Ab2 Ac3 Ad4 Ff5", "up", "5"},
		{"calls to it one after another", "+ Aa1 Ab2 Fe5 Ff5 Fg5", "up", "5"},
		{"one DDI in five is silent", "+ Aa1 Ab2 Se5 Ac3 Ad4 Sf5", "up", "5"},
		{"one caller is not enough", "+ Aa1 Fe5 Fe5 Fe5", "suspect", ""},
		{"two DDIs in five", "+ Aa1 Fe5 Ab1 Ff4 Ac1 Ff5 Ad1 Fg4 Aa1", "up", "4 5"},
		{"nobody else is answered: it is the endpoint", "+ Fe5 Ff5", "down", ""},
		{"two silences in a row have cost two callers their patience: it is the endpoint", "+ Aa1 Se5 Sf5", "down", ""},
		{"then others fail as well: it is the endpoint", "+ Aa1 Ab2 Fe5 Ff5 Fg1", "down", "5"},
		{"an answered call to it clears it", "+ Aa1 Fe5 Ff5 Ag5", "up", ""},
		{"it failed at a busy hour: ten minutes later it is asked in its place", "+ Aa1 Fe5 Ff5 *", "up", ""},
		{"and behind again after one more failure", "+ Aa1 Fe5 Ff5 * + Aa1 Fg5", "up", "5"},
		{"for twice as long", "+ Aa1 Fe5 Ff5 * + Aa1 Fg5 *", "up", "5"},
		{"a 404 is its number's fault and no failure", "+ Aa1 Ne5 Nf5 Ng5", "up", ""},
	} {
		s := begin(Config{})
		s.hearAll(tt.signs)
		var failing []string
		for n := range 10 {
			st := s.j.Snapshot().For("room", fmt.Sprintf("0190533199%d", n))
			if st.Verdict == Down && s.verdict() != Down {
				failing = append(failing, fmt.Sprint(n))
			}
			if _, ok := s.j.Snapshot().numbers[numberKey{"room", fmt.Sprintf("0190533199%d", n)}]; ok && s.verdict() == Down {
				failing = append(failing, fmt.Sprint(n))
			}
		}
		if got := strings.Join(failing, " "); s.verdict().String() != tt.down || got != tt.numbers {
			e, _ := s.j.Explain(s.now, "room")
			t.Errorf("%s: %s is %s and fails for %q, want %s and %q\n%s", tt.why, tt.signs, s.verdict(), got, tt.down, tt.numbers, e.Words())
		}
	}
}

func TestANumberThatFailsIsExplained(t *testing.T) {
	s := begin(Config{})
	s.hearAll("+ Aa1 Ab2 Fe9 Ac3 Ff9 Aa1 Fg9")
	want := "fails for 01905331999: 2 of 2 calls, answers the others; the last was refused with 503"
	if got := s.j.Snapshot().For("room", "01905331999").Words; got != want {
		t.Errorf("in a plan it %q, want %q", got, want)
	}
	if got := s.j.Snapshot().For("room", "01905331991"); got.Verdict != Up || got.Words != "up" {
		t.Errorf("for another number it is %+v, want up", got)
	}
	if got := s.j.Snapshot().For("other", "01905331999").Verdict; got != Up {
		t.Errorf("another endpoint is %s for that number, want up", got)
	}
	n := s.j.Notices()
	if kinds(n) != "fails for a number" || n[0].Text != want || n[0].Endpoint != "room" {
		t.Errorf("notices are %+v, want %q", n, want)
	}
	e, _ := s.j.Explain(s.now, "room")
	if !strings.Contains(e.Words(), "7 calls from 12:00:02 to 12:00:08: 4 answered, 3 failed 503; it "+want) {
		t.Errorf("%q does not name the number and the counts", e.Words())
	}
	if len(e.Calls) != 5 || e.Calls[1].Number != "01905331999" || e.Calls[1].Class != "emergency" || e.Calls[1].Calls != 3 || e.Calls[1].Counts["failed 503"] != 3 {
		t.Errorf("the windows are %+v, want all, then the number that fails", e.Calls)
	}
	if err := s.j.Release(s.now, "room", "alice"); err != nil {
		t.Errorf("an operator cannot make it forget: %v", err)
	}
	if got := s.j.Snapshot().For("room", "01905331999").Verdict; got != Up {
		t.Errorf("after a release it is %s for that number, want up", got)
	}
}

func TestOneCallIsOneOutcome(t *testing.T) {
	s := begin(Config{})
	s.tell('+')
	tell := func(call string, what CallOutcome) {
		s.now = s.now.Add(time.Second)
		s.j.Observed(s.now, CallEvidence{Endpoint: "room", Number: "999", Caller: call, Call: call, Outcome: what, Why: "got no answer for 1s"})
	}
	for _, what := range []CallOutcome{CallRang, CallAnswered, CallTalked, CallTalked} {
		tell("a", what)
	}
	tell("b", CallSilent)
	tell("b", CallAnswered) // late, and not wasted
	tell("c", CallAnswered)
	tell("c", CallOneWay)
	tell("d", CallRang)
	tell("d", CallCancelled)
	tell("e", CallAnswered)
	tell("e", CallRang) // another fork's 180 comes late
	e, _ := s.j.Explain(s.now, "room")
	if got, want := e.Calls[0].words(), "5 calls from 12:00:02 to 12:00:12: 2 answered, 1 one-way audio, 1 rang, 1 talked"; got != want {
		t.Errorf("the window is %q, want %q", got, want)
	}
	tell("f", CallSilent)
	if s.verdict() != Suspect {
		t.Errorf("one silent call after one whose late answer came: %s, want suspect", s.verdict())
	}
	tell("a", CallAnswered) // a re-INVITE, a repeated 200: the call is old
	tell("g", CallSilent)
	if s.verdict() != Down {
		t.Errorf("two callers were silent since the last new call was answered: %s, want down", s.verdict())
	}
}

func TestASlowPBXIsSuspectBeforeItIsDown(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, tt := range []struct {
		why      string
		patience time.Duration
		then     []int // calls × first response in ms
		want     Verdict
		evidence string
	}{
		{"fast", time.Second, []int{40, 20}, Up, ""},
		{"more than half of patience", time.Second, []int{5, 600}, Suspect, "slow: its first responses take 600ms, patience is 1s"},
		{"four calls say nothing", time.Second, []int{4, 600}, Up, ""},
		{"half of a longer patience", 2 * time.Second, []int{5, 600}, Up, ""},
		{"four times its long run", time.Second, []int{60, 40, 5, 160}, Suspect, "slow: its first responses take 160ms, 40ms in the long run"},
		{"three times its long run", time.Second, []int{60, 40, 9, 120}, Up, ""},
		{"ten times a millisecond is still fast", time.Second, []int{60, 1, 9, 10}, Up, ""},
		{"a single slow call is nothing", time.Second, []int{60, 40, 1, 900}, Up, ""},
		{"no long run yet", time.Second, []int{15, 40, 9, 300}, Up, ""},
		{"fast again", time.Second, []int{9, 600, 5, 40}, Up, ""},
		{"slow for long does not become the measure of half its patience", time.Second, []int{200, 600}, Suspect, "slow: its first responses take 600ms, patience is 1s"},
	} {
		s := begin(Config{Patience: tt.patience})
		s.tell('+')
		for i := 0; i < len(tt.then); i += 2 {
			for n := range tt.then[i] {
				s.now = s.now.Add(time.Second)
				s.j.Observed(s.now, CallEvidence{Endpoint: "room", Number: "999", Caller: fmt.Sprint(n), Outcome: CallAnswered, Answer: ms(tt.then[i+1])})
			}
		}
		e, _ := s.j.Explain(s.now, "room")
		if s.verdict() != tt.want || tt.evidence != "" && e.Evidence != tt.evidence {
			t.Errorf("%s: %s, %q; want %s, %q", tt.why, s.verdict(), e.Evidence, tt.want, tt.evidence)
		}
		if tt.want == Suspect {
			for range 10 {
				s.tell('+')
			}
			if s.verdict() != Suspect {
				t.Errorf("%s: fast answers to OPTIONS made it %s, want suspect: calls are slow", tt.why, s.verdict())
			}
			s.hear("*")
			s.hearAll("+ + + + +")
			if s.verdict() != Up {
				t.Errorf("%s: ten minutes later it is %s, want up", tt.why, s.verdict())
			}
		}
	}
}

func TestAShortSilenceMayStillBeSlowness(t *testing.T) {
	type ev = CallEvidence
	short, long := 300*time.Millisecond, time.Second
	silent := func(caller string, waited time.Duration) ev {
		return ev{Caller: caller, Call: caller, Outcome: CallSilent, Waited: waited, Why: "got no response for " + waited.String()}
	}
	told := func(caller string, what CallOutcome) ev { return ev{Caller: caller, Call: caller, Outcome: what} }
	for _, tt := range []struct {
		why   string
		story []ev // 100 ms apart
		at    time.Duration
		want  Verdict
	}{
		{"two short silences are a suspicion at once", []ev{silent("a", short), silent("b", short)}, 0, Suspect},
		{"and bring it down when patience is over", []ev{silent("a", short), silent("b", short)}, 700 * time.Millisecond, Down},
		{"late answers redeem them", []ev{silent("a", short), silent("b", short), told("a", CallRang), told("b", CallRang)}, time.Second, Suspect},
		{"a late 100 does", []ev{silent("a", short), silent("b", short), told("a", CallTrying), told("b", CallTrying)}, time.Second, Suspect},
		{"one that stays silent is one", []ev{silent("a", short), silent("b", short), told("b", CallTrying)}, time.Second, Suspect},
		{"the caller's CANCEL makes a short silence neutral", []ev{silent("a", short), silent("b", short), told("a", CallCancelled)}, time.Second, Suspect},
		{"but not one that counts already", []ev{silent("a", long), told("a", CallCancelled), silent("b", long)}, 0, Down},
		{"after a full silence a short one of another caller is enough", []ev{silent("a", long), silent("b", short)}, 0, Down},
		{"of the same caller it is not", []ev{silent("a", long), silent("a", short)}, time.Second, Suspect},
		{"a call that goes well between them", []ev{silent("a", long), told("c", CallRang), silent("b", short)}, time.Second, Suspect},
		{"nobody could tell of a late answer to a call without a name", []ev{
			{Caller: "a", Outcome: CallSilent, Waited: short}, {Caller: "b", Outcome: CallSilent, Waited: short},
		}, 0, Down},
	} {
		s := begin(Config{})
		s.tell('+')
		for _, e := range tt.story {
			s.now = s.now.Add(100 * time.Millisecond)
			e.Endpoint, e.Number = "room", "999"
			s.j.Observed(s.now, e)
		}
		s.j.Due(s.now.Add(tt.at))
		if s.verdict() != tt.want {
			t.Errorf("%s: %s, want %s", tt.why, s.verdict(), tt.want)
		}
	}

	s := begin(Config{})
	s.tell('+')
	s.j.of["room"].next, s.j.of["other"].next = s.now.Add(time.Hour), s.now.Add(time.Hour)
	for _, caller := range []string{"a", "b"} {
		e := silent(caller, short)
		e.Endpoint = "room"
		s.j.Observed(s.now, e)
	}
	s.j.of["room"].next = s.now.Add(time.Hour)
	if got, want := s.j.Next(), s.now.Add(700*time.Millisecond); !got.Equal(want) {
		t.Errorf("Next is %s, want %s, when the silences count", got, want)
	}
	s.j.Stalled(s.now.Add(600*time.Millisecond), 500*time.Millisecond)
	s.j.Due(s.now.Add(time.Second))
	if s.verdict() == Down {
		t.Error("it is down, but we stalled when its answers could have come")
	}
}

func TestASlowPBXUnderLoadIsNeverDown(t *testing.T) {
	s := begin(Config{})
	s.tell('+')
	for i := range 600 { // each call's first response takes 700 ms, a suspect endpoint gets 300 ms, ten calls a second
		s.now = s.now.Add(100 * time.Millisecond)
		s.j.Due(s.now)
		name := func(n int) string { return fmt.Sprint("call", n) }
		if s.verdict() == Suspect {
			s.j.Observed(s.now, CallEvidence{Endpoint: "room", Number: "999", Caller: name(i), Call: name(i), Outcome: CallSilent, Waited: 300 * time.Millisecond, Why: "got no response for 300ms"})
		}
		if i >= 4 {
			s.j.Observed(s.now, CallEvidence{Endpoint: "room", Number: "999", Caller: name(i - 4), Call: name(i - 4), Outcome: CallRang, Answer: 700 * time.Millisecond})
		}
		if s.verdict() == Down {
			t.Fatalf("after call %d it is down: it is slow, and answers every call", i)
		}
	}
	if s.verdict() != Suspect {
		t.Errorf("it is %s, want suspect", s.verdict())
	}
}

func TestACallsFirstResponseCountsOnce(t *testing.T) {
	s := begin(Config{})
	s.tell('+')
	for _, call := range []string{"a", "b", "c", "d"} {
		for _, what := range []CallOutcome{CallRang, CallAnswered, CallTalked} {
			s.now = s.now.Add(time.Second)
			s.j.Observed(s.now, CallEvidence{Endpoint: "room", Number: "999", Caller: call, Call: call, Outcome: what, Answer: 600 * time.Millisecond})
		}
	}
	if s.verdict() != Up {
		t.Errorf("four slow calls, told of three times each, make it %s, want up: five are needed", s.verdict())
	}
	s.j.Observed(s.now, CallEvidence{Endpoint: "room", Number: "999", Caller: "e", Call: "e", Outcome: CallRang, Answer: 600 * time.Millisecond})
	if s.verdict() != Suspect {
		t.Errorf("the fifth makes it %s, want suspect", s.verdict())
	}
}

func TestAudioThatIsMissingIsAnEvent(t *testing.T) {
	s := begin(Config{})
	s.hearAll("+ Aa1 Oa1 Ab1 Mb1")
	if got := kinds(s.j.Notices()); got != "audio missing; audio missing" {
		t.Errorf("notices are %q, want two of missing audio", got)
	}
	s.hear("Oc1")
	e, _ := s.j.Explain(s.now, "room")
	if want := "3 calls of 3 callers in a row were answered but not heard, the last had one-way audio"; e.Evidence != want || !e.Tripped {
		t.Errorf("evidence is %q, tripped %t; want %q", e.Evidence, e.Tripped, want)
	}
}

func TestCallersWhoClearSoonBehindAQueueRaiseANotice(t *testing.T) {
	s := begin(Config{Endpoints: []Endpoint{{Name: "room", Queue: true}, {Name: "other"}}})
	s.hearAll("+ Aa1 La1 Ab1 Lb1 Tc1l Ac1 Lc1 Ad1 Ld1")
	if got := kinds(s.j.Notices()); got != "" {
		t.Errorf("notices are %q: a caller talked long between them", got)
	}
	s.hearAll("Ae1 Te1 Le1")
	if got := kinds(s.j.Notices()); got != "perhaps not reached" {
		t.Errorf("notices are %q, want that callers are perhaps not reached", got)
	}
	s = begin(Config{})
	s.hearAll("+ Aa1 La1 Ab1 Lb1 Tc1 Ac1 Lc1 Ad1 Ld1 Lf1 Lg1")
	if got := kinds(s.j.Notices()); got != "" {
		t.Errorf("notices are %q: persons answer there", got)
	}
}

func TestOurOwnStallVoidsWhatCallsShowed(t *testing.T) {
	s := begin(Config{})
	s.hearAll("+ Aa1 Ab2")
	for i := range 100 { // all of them time out at the moment at which we wake
		s.now = s.now.Add(10 * time.Millisecond)
		s.j.Observed(s.now, CallEvidence{Endpoint: "room", Number: "9", Caller: fmt.Sprint(i), Outcome: CallSilent, Why: "got no answer for 1s", Answer: 2 * time.Second})
	}
	if s.verdict() != Down {
		t.Fatalf("a hundred silent calls make it %s, want down", s.verdict())
	}
	s.j.Stalled(s.now, 5*time.Second)
	if got := s.standing(); got != "up" {
		t.Errorf("they were silent because we stalled: %s, want up", got)
	}
	s.hearAll(". Sa1")
	if got := s.standing(); got != "suspect" {
		t.Errorf("then one call is silent: %s, want suspect: the void ones count no more", got)
	}
	s.hearAll("Ac1 Fa5 Ac1 Fb5")
	if s.j.Snapshot().For("room", "01905331995").Verdict != Down {
		t.Fatal("a number that fails was not found")
	}
	s.j.Stalled(s.now, 5*time.Second)
	if s.j.Snapshot().For("room", "01905331995").Verdict == Down {
		t.Error("a number failed because we stalled, and still counts as failing")
	}
}

func TestWhatCallsShowedIsBounded(t *testing.T) {
	s := begin(Config{})
	s.hearAll("+ Aa1 Fa5 Ab1 Fb5")
	for i := range 5000 {
		s.now = s.now.Add(time.Millisecond)
		s.j.Observed(s.now, CallEvidence{
			Endpoint: "room", Number: strings.Repeat("9", i%300) + fmt.Sprint(i), Caller: fmt.Sprint(i), Call: fmt.Sprint(i), Outcome: CallAnswered, Answer: time.Millisecond,
		})
	}
	d := &s.j.of["room"].calls
	if len(d.recent) > windowCalls || len(d.numbers) > maxNumbers || len(d.pace.long) > paceLong {
		t.Errorf("%d outcomes, %d numbers, %d samples are kept", len(d.recent), len(d.numbers), len(d.pace.long))
	}
	for text, n := range d.numbers {
		if len(text) > maxNumber || len(n.recent) > numberCalls {
			t.Errorf("number %q has %d bytes and %d outcomes", text, len(text), len(n.recent))
		}
	}
	if s.j.Snapshot().For("room", "01905331995").Verdict != Down {
		t.Error("the number that fails was forgotten before those that don't")
	}
	long := strings.Repeat("1", 500)
	for _, c := range []string{"a", "b"} {
		s.j.Observed(s.now, CallEvidence{Endpoint: "room", Number: long, Caller: c, Outcome: CallFailed, Code: 503, Why: "was refused with 503"})
		s.j.Observed(s.now.Add(time.Millisecond), CallEvidence{Endpoint: "room", Number: "1", Caller: c, Outcome: CallAnswered})
		s.now = s.now.Add(time.Second)
	}
	if s.j.Snapshot().For("room", long).Verdict != Down {
		t.Error("a long number that fails is not found in a plan")
	}
}

func TestOutcomesOfResponses(t *testing.T) {
	for code, want := range map[int]string{
		180: "rang", 183: "rang", 200: "answered", 302: "refused", 404: "refused", 408: "failed", 480: "busy", 484: "refused", 486: "busy", 487: "refused",
		488: "refused", 500: "failed", 501: "failed", 503: "failed", 504: "failed", 600: "busy", 603: "refused", 606: "refused",
	} {
		if got, ok := CallOutcomeOf(code); !ok || got.String() != want {
			t.Errorf("a call that got %d: %s, want %s (R14)", code, got, want)
		}
	}
	if _, ok := CallOutcomeOf(100); ok {
		t.Error("a 100 shows something")
	}
	for _, c := range []Class{Emergency, Routine, Test} {
		text, err := c.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Class
		if err := back.UnmarshalText(text); err != nil || back != c {
			t.Errorf("%s came back as %s: %v", c, back, err)
		}
	}
	var c Class
	if err := c.UnmarshalText([]byte("vip")); err == nil {
		t.Error("a class that does not exist was read")
	}
}

// callSigns are what a random history is made of.
var callSigns = []string{
	"+", "+", "+", "-", ".", "Sa1", "Sb1", "Sc2", "Fa1", "Fb2", "Fc3", "Xd1", "Aa1", "Ab2", "Rc3", "Ba1", "Ub2", "Na1", "Db2", "Ca1", "Ta1", "Tb2r", "Tc3r", "Td1c", "Tt1t",
	"Oa1", "Ob1", "Mc2", "Rd1c", "Sd1c", "*",
}

func TestPropertyCallsAreJudgedFairly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{UpAfter: 2, HoldDown: 5 * time.Second, FailBack: FailBack(rapid.IntRange(0, 2).Draw(t, "fail_back"))}
		s := begin(cfg)
		bad, deaf := map[byte]bool{}, map[byte]bool{}
		missed, talks := 0, 0
		for _, sign := range rapid.SliceOfN(rapid.SampledFrom(callSigns), 1, 60).Draw(t, "story") {
			before := s.j.Snapshot().Of("room")
			tripped := s.j.of["room"].tripped
			s.hear(sign)
			after := s.j.Snapshot().Of("room")
			switch {
			case sign == "-":
				missed++
			case sign == "+":
				missed = 0
			case len(sign) > 1 && strings.IndexByte("SFX", sign[0]) >= 0:
				bad[sign[1]] = true
			case len(sign) > 1 && strings.IndexByte("OM", sign[0]) >= 0:
				deaf[sign[1]] = true
			case len(sign) > 1 && strings.IndexByte("ARBUND", sign[0]) >= 0:
				missed = 0
			}
			if sign[0] == 'T' && before.Returning {
				talks++
			}
			if after.Verdict == Down && !before.Returning && before.Verdict != Down && missed < 3 && len(bad) < 2 && len(deaf) < 3 {
				t.Fatalf("after %s it is down: %d probes missed in a row, %d callers failed, %d heard nothing", sign, missed, len(bad), len(deaf))
			}
			if tripped && before.Verdict == Down && after.Verdict != Down && sign[0] != 'T' {
				t.Fatalf("calls brought it down and %s lifted that", sign)
			}
			if before.Returning && !after.Returning && after.Verdict != Down {
				if sign != "Tt1t" && (sign[0] != 'T' || talks < 3 || cfg.FailBack == Manual) {
					t.Fatalf("%s proved it after %d calls with audio", sign, talks)
				}
			}
			if !after.Returning {
				talks = 0
			}
			if after.Returning && cfg.FailBack == Manual {
				t.Fatalf("fail_back: manual, and it is returning after %s", sign)
			}
			if after.Proofs > 0 && !after.Returning || after.CanaryDue(s.now) && !after.Returning {
				t.Fatalf("it proves itself but is not returning: %+v", after)
			}
			e, _ := s.j.Explain(s.now, "room")
			if (e.BringsBack == "") != (e.Verdict == Up && !e.Returning) || e.Words() == "" {
				t.Fatalf("it is not explained: %+v", e)
			}
			if e.Verdict != after.Verdict || e.Returning != after.Returning {
				t.Fatalf("the explanation says %s, returning %t; the plan %s, %t", e.Verdict, e.Returning, after.Verdict, after.Returning)
			}
		}
		good := s.j.Snapshot().Of("room")
		s.hearAll("Sy7 Sz8") // two new callers in a row: whatever was before, it is out
		if st := s.j.Snapshot().Of("room"); st.Verdict != Down || st.Returning {
			t.Fatalf("it was %s, two callers got silence, and it is %s", good.Words, st.Words)
		}
	})
}

func BenchmarkObserved(b *testing.B) {
	s := begin(Config{})
	s.tell('+')
	numbers := []string{"999", "112", "101", "01905331999"}
	names := make([]string, 256)
	for i := range names {
		names[i] = fmt.Sprint("call", i)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		s.now = s.now.Add(time.Millisecond)
		i++
		s.j.Observed(s.now, CallEvidence{
			Endpoint: "room", Number: numbers[i%4], Caller: names[i%256], Call: names[i%256], Outcome: CallAnswered, Answer: 20 * time.Millisecond,
		})
	}
}
