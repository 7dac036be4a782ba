package call

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nines/policy"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what the call does now")

// epoch is the moment at which every story begins.
var epoch = time.Date(2026, time.November, 5, 3, 0, 0, 0, time.UTC)

// TestTranscripts plays the stories in testdata: what happens to a call, and indented below it what the call wants done and when it wakes.
//
// A file begins with its title. Then come settings ("call: routine", "plan: give-up=5s ringing=2s no-overlap early-media", "ask: name partner
// patience=300ms follow-3xx", "otherwise: announce=report-online times=2 key=9 to=999") and events, each with the time since the story began. "again:" begins a variation with the same settings, "new-plan:"
// a plan without steps; "down:" moves an endpoint to the end of the plans that follow in this variation.
// Each story is played twice: once straight through, and once with a call that is written down and read back before every event.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(raw), func(c *Call) *Call { return c })
			if again := play(t, string(raw), func(c *Call) *Call { return reborn(t, c) }); again != got {
				t.Errorf("a call that was written down and read back acts differently (-straight +reborn):\n%s", cmp.Diff(got, again))
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(raw), got); diff != "" {
				t.Errorf("the story has changed (-written +now); if the new one is right, run with -update:\n%s", diff)
			}
		})
	}
}

// reborn writes a call down and reads it back.
func reborn(t interface{ Fatal(...any) }, c *Call) *Call {
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again := &Call{}
	if err := json.Unmarshal(raw, again); err != nil {
		t.Fatal(err)
	}
	return again
}

// play runs a story and returns it as it should read.
func play(t *testing.T, story string, between func(*Call) *Call) string {
	t.Helper()
	s := &stage{}
	for n, line := range strings.Split(strings.TrimRight(story, "\n"), "\n") {
		if strings.HasPrefix(line, "\t") {
			continue // what the call did when the story was written
		}
		if err := s.line(line, between); err != nil {
			t.Fatalf("line %d: %q: %v", n+1, line, err)
		}
	}
	return s.out.String()
}

// stage holds a story while it is played.
type stage struct {
	class policy.Class
	plan  policy.Plan
	down  policy.EndpointName
	call  *Call
	out   strings.Builder
}

func (s *stage) line(line string, between func(*Call) *Call) error {
	fmt.Fprintln(&s.out, line)
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "call:":
		return s.callIs(rest)
	case "plan:":
		return s.planIs(rest)
	case "ask:":
		return s.asks(rest)
	case "otherwise:":
		return s.follows(rest)
	case "again:":
		s.call, s.down = nil, ""
		return nil
	case "down:":
		s.down = policy.EndpointName(rest)
		return nil
	case "new-plan:":
		s.plan.Steps = nil
		return nil
	}
	at, err := time.ParseDuration(word)
	if err != nil {
		return err
	}
	return s.event(at, rest, between)
}

func (s *stage) callIs(class string) error {
	switch class {
	case "emergency":
		s.class = policy.Emergency
	case "routine":
		s.class = policy.Routine
	default:
		return fmt.Errorf("no such class")
	}
	s.plan = policy.Plan{Class: s.class, Overlap: true, Progress: 4 * time.Second, GiveUp: 20 * time.Second}
	return nil
}

func (s *stage) planIs(words string) (err error) {
	for _, word := range strings.Fields(words) {
		key, value, _ := strings.Cut(word, "=")
		var d time.Duration
		if value != "" {
			if d, err = time.ParseDuration(value); err != nil {
				return err
			}
		}
		switch key {
		case "progress":
			s.plan.Progress = d
		case "ringing":
			s.plan.Ringing = d
		case "ringing-to-partners":
			s.plan.RingingToPartners = d
		case "give-up":
			s.plan.GiveUp = d
		case "no-overlap":
			s.plan.Overlap = false
		case "early-media":
			s.plan.EarlyMedia = true
		case "rescue":
			s.plan.Rescue = true
		case "impaired":
			s.plan.Impaired = true
		case "rescue-bye":
			s.plan.RescueBye = true
		default:
			return fmt.Errorf("plan has no %q", key)
		}
	}
	return nil
}

func (s *stage) asks(words string) (err error) {
	fields := strings.Fields(words)
	step := policy.Step{Endpoint: policy.EndpointName(fields[0]), Patience: time.Second, Why: "up"}
	for _, word := range fields[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "partner":
			step.Partner = true
		case "follow-3xx":
			step.Follow3xx = true
		case "patience":
			if step.Patience, err = time.ParseDuration(value); err != nil {
				return err
			}
		default:
			return fmt.Errorf("a step has no %q", key)
		}
	}
	s.plan.Steps = append(s.plan.Steps, step)
	return nil
}

// follows adds a step of what follows when nobody takes the call.
func (s *stage) follows(words string) (err error) {
	var o policy.Otherwise
	for _, word := range strings.Fields(words) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "wait":
			o.Wait, err = time.ParseDuration(value)
		case "announce":
			o.Announce = policy.AnnouncementName(value)
		case "early":
			o.Early = true
		case "times":
			o.Times, err = strconv.Atoi(value)
		case "key":
			o.Escape.Key = value
		case "to":
			o.Escape.To = policy.RouteName(value)
		case "divert":
			o.Divert = append(o.Divert, policy.EndpointName(value))
		case "reject":
			o.Reject, err = strconv.Atoi(value)
		case "person":
			o.Person = policy.RouteName(value)
		default:
			return fmt.Errorf("a step has no %q", key)
		}
		if err != nil {
			return err
		}
	}
	s.plan.Otherwise = append(s.plan.Otherwise, o)
	return nil
}

// event tells the call what the line says and writes down what it does.
func (s *stage) event(at time.Duration, words string, between func(*Call) *Call) error {
	ev, err := s.parse(strings.Fields(words))
	if err != nil {
		return err
	}
	if s.call == nil {
		s.call = New(Params{Class: s.class})
	}
	s.call = between(s.call)
	now := epoch.Add(at)
	if _, tick := ev.(Tick); !tick && !s.call.Wake().IsZero() && s.call.Wake().Before(now) {
		return fmt.Errorf("the driver would have ticked at %s", s.call.Wake().Sub(epoch))
	}
	for _, a := range s.call.Step(now, ev) {
		fmt.Fprintf(&s.out, "\t%s\n", describe(a))
		if _, over := a.(Over); over && s.call.LostTalking {
			fmt.Fprintln(&s.out, "\tfor the call-back list: lost while talking")
		}
	}
	if wake := s.call.Wake(); !wake.IsZero() {
		fmt.Fprintf(&s.out, "\twake %s\n", wake.Sub(epoch))
	}
	return nil
}

func (s *stage) parse(f []string) (Event, error) {
	f = append(f, "", "", "")
	n, _ := strconv.Atoi(f[1])
	id := AttemptID(n)
	switch f[0] {
	case "planned":
		return Planned{Plan: s.planned()}, nil
	case "trying":
		return Trying{Attempt: id}, nil
	case "rang":
		code, err := strconv.Atoi(f[2])
		return Rang{Attempt: id, Code: code, SDP: f[3] == "sdp"}, err
	case "answered":
		return Answered{Attempt: id, Usable: f[2] != "unusable"}, nil
	case "refused":
		return refusal(id, f[2:])
	case "unreachable":
		return Unreachable{Attempt: id}, nil
	case "died":
		return Died{Attempt: id}, nil
	case "woke":
		return Woke{Attempt: id}, nil
	case "held-back":
		return HeldBack{Attempt: id}, nil
	case "left":
		return Left{Attempt: id}, nil
	case "full":
		if f[2] == "" {
			return Full{Attempt: id}, nil
		}
		until, err := time.ParseDuration(f[2])
		return Full{Attempt: id, Until: epoch.Add(until).UnixNano()}, err
	case "cancelled":
		return Cancelled{}, nil
	case "confirmed":
		return Confirmed{}, nil
	case "never-acked":
		return NeverAcked{}, nil
	case "hung-up":
		of, _ := strconv.Atoi(f[2])
		return HungUp{Side: side(f[1]), Attempt: AttemptID(of), Suspicious: f[2] == "suspicious"}, nil
	case "lost":
		return Lost{Side: side(f[1])}, nil
	case "tick":
		return Tick{}, nil
	case "announced":
		return Announced{}, nil
	case "played":
		return Played{}, nil
	case "unplayable":
		return Unplayable{Why: strings.TrimSpace(strings.Join(f[1:], " "))}, nil
	case "pressed":
		return Pressed{Key: f[1], How: f[2]}, nil
	case "waits":
		until, err := time.ParseDuration(f[1])
		if err != nil {
			return Waits{Why: strings.TrimSpace(strings.Join(f[1:], " "))}, nil //nolint:nilerr // no time but a reason
		}
		return Waits{Until: epoch.Add(until)}, nil
	}
	return testimony(f)
}

// testimony reads what is said for and against the endpoint that talks.
func testimony(f []string) (Event, error) {
	rest := strings.TrimSpace(strings.Join(f[2:], " "))
	switch f[0] {
	case "hushed":
		ev := Hushed{ICMP: f[2] == "icmp"}
		if f[1] != "never" {
			last, err := time.ParseDuration(f[1])
			if err != nil {
				return nil, err
			}
			ev.Since = epoch.Add(last)
		}
		return ev, nil
	case "voiced":
		return Voiced{}, nil
	case "muted":
		return Muted{On: f[1] == "on"}, nil
	case "checked":
		why, icmp := strings.CutPrefix(rest, "icmp ")
		return Checked{Dead: f[1] == "dead", ICMP: icmp, Why: why}, nil
	case "condemned":
		return Condemned{On: f[1] == "on", Why: rest}, nil
	case "voided":
		until, err := time.ParseDuration(f[1])
		return Voided{Until: epoch.Add(until)}, err
	}
	return nil, fmt.Errorf("no such event")
}

// planned is the plan as policy would make it now.
func (s *stage) planned() policy.Plan {
	plan := s.plan
	plan.Steps = slices.Clone(plan.Steps)
	slices.SortStableFunc(plan.Steps, func(a, b policy.Step) int {
		switch s.down {
		case a.Endpoint:
			return 1
		case b.Endpoint:
			return -1
		}
		return 0
	})
	return plan
}

func side(word string) Side {
	if word == "callee" {
		return Callee
	}
	return Caller
}

func refusal(id AttemptID, f []string) (Event, error) {
	switch f[0] {
	case "transport":
		return Refused{Attempt: id, Cause: Transport}, nil
	case "no-address":
		return Refused{Attempt: id, Cause: NoAddress}, nil
	case "timeout":
		return Refused{Attempt: id, Cause: Timeout}, nil
	}
	code, err := strconv.Atoi(f[0])
	ev := Refused{Attempt: id, Code: code}
	for _, contact := range f[1:] {
		if contact != "" {
			ev.Contacts = append(ev.Contacts, contact)
		}
	}
	return ev, err
}

// describe writes an action as one line.
func describe(a Action) string {
	switch a := a.(type) {
	case NeedPlan:
		return "need-plan" + wanted(a) + ": " + a.Why
	case Play:
		return played(a)
	case Hush:
		return "hush: " + a.Why
	case Escaping:
		return fmt.Sprintf("escaping to %s: %s", a.To, a.Why)
	case Ask:
		words := fmt.Sprintf("ask %d %s", a.Attempt, a.Endpoint)
		if a.Partner {
			words += " partner"
		}
		if a.Target != "" {
			words += " at " + a.Target
		}
		if a.Retarget {
			words += fmt.Sprintf(" retarget cause=%d", a.Cause)
		}
		return words + ": " + a.Why
	case Stop:
		if a.Elsewhere {
			return fmt.Sprintf("stop %d elsewhere: %s", a.Attempt, a.Why)
		}
		return fmt.Sprintf("stop %d: %s", a.Attempt, a.Why)
	case Resume:
		return fmt.Sprintf("resume %d: %s", a.Attempt, a.Why)
	case Discard:
		return fmt.Sprintf("discard %d: %s", a.Attempt, a.Why)
	case Ring:
		return "ring"
	case Early:
		return fmt.Sprintf("early %d", a.Attempt)
	case Aim:
		return fmt.Sprintf("aim %d", a.Attempt)
	case Answer:
		return fmt.Sprintf("answer %d", a.Attempt)
	case Reject:
		words := fmt.Sprintf("reject %d %s", a.Code, a.Text)
		if a.Later {
			words += ", later"
		}
		return words + ": " + a.Why
	case HangUp:
		if a.Side == Callee {
			return "hang-up callee: " + a.Why
		}
		return "hang-up caller: " + a.Why
	case Check:
		return "check"
	case Rescuing:
		return fmt.Sprintf("rescuing, lost is %d: %s", a.Lost, strings.Join(a.Witnesses, "; "))
	case Kept:
		return fmt.Sprintf("kept %d", a.Attempt)
	case Replace:
		return fmt.Sprintf("replace %d", a.Attempt)
	case Abandon:
		return fmt.Sprintf("abandon %d: %s", a.Attempt, a.Why)
	case Note:
		return "note: " + a.Text
	case Over:
		return "over: " + a.Why
	}
	return fmt.Sprintf("%#v", a)
}

// wanted says what a plan is wanted for.
func wanted(a NeedPlan) string {
	switch {
	case a.Person != "":
		return fmt.Sprintf(" on %s", a.Person)
	case a.Turn:
		return fmt.Sprintf(" for step %d, a turn", a.Step)
	case a.Divert:
		return fmt.Sprintf(" for step %d, a diversion", a.Step)
	}
	return ""
}

func played(a Play) string {
	words := "play " + string(a.Name)
	if a.Ringing {
		words = "play ringing"
	}
	if a.Early {
		words += " early"
	}
	if a.Times > 0 {
		words += fmt.Sprintf(" times=%d", a.Times)
	}
	if a.Key != "" {
		words += ", key=" + a.Key
	}
	if a.Stay {
		words += ", then who stays is put through"
	}
	return words
}
