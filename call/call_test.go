package call

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"nines/policy"
)

// TestEveryFieldIsWrittenDown: a call that is read back is the call that was written down, whatever its fields hold.
func TestEveryFieldIsWrittenDown(t *testing.T) {
	c := &Call{}
	fill(reflect.ValueOf(c).Elem(), 1)
	again := reborn(t, c)
	if diff := cmp.Diff(c, again, cmpopts.IgnoreUnexported(Call{})); diff != "" {
		t.Errorf("written down and read back (-before +after):\n%s", diff)
	}
	unexported := 0
	for i := range reflect.TypeFor[Call]().NumField() {
		if f := reflect.TypeFor[Call]().Field(i); !f.IsExported() {
			unexported++
		}
	}
	if unexported != 1 {
		t.Errorf("a call has %d fields that are not written down, want 1: the memory for its actions", unexported)
	}
}

// fill puts something that is not zero into every exported field.
func fill(v reflect.Value, n int) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(epoch.Add(time.Duration(n) * time.Nanosecond)))
	case v.Type() == reflect.TypeFor[policy.Class]():
		v.Set(reflect.ValueOf(policy.Test))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n+i)
			}
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n+1)
	case v.Kind() == reflect.String:
		v.SetString("ä\x01\"" + string(rune('a'+n%26)))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(n))
	case v.CanUint():
		v.SetUint(uint64(n))
	default:
		panic("a call holds a " + v.Kind().String())
	}
}

// TestTalkingCallFitsItsSlot: a call is written to a slot of 4 KB together with its legs (ENGINE.md §4).
func TestTalkingCallFitsItsSlot(t *testing.T) {
	c := New(Params{})
	c.Step(epoch, Planned{Plan: countyPlan()})
	c.Step(epoch, Rang{Attempt: 1, Code: 180})
	c.Step(epoch, Answered{Attempt: 1, Usable: true})
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 1500 {
		t.Errorf("a talking call takes %d bytes, want 1500 at most:\n%s", len(raw), raw)
	}
}

// TestRescueFitsItsSlot: a call does not outgrow its slot when its rescue goes round for an hour and nobody ever says a word.
func TestRescueFitsItsSlot(t *testing.T) {
	c := talkingCall()
	c.Step(epoch, Condemned{On: true, Why: "down since 03:12:04: 3 probes missed"})
	c.Step(epoch, Hushed{Since: epoch, ICMP: true})
	most := 0
	for now := epoch; now.Before(epoch.Add(time.Hour)); now = c.Wake() {
		wants := false
		for _, a := range c.Step(now, Tick{}) {
			_, isNeed := a.(NeedPlan)
			wants = wants || isNeed
		}
		if wants {
			c.Step(now, Planned{Plan: rescuePlan()})
		}
		raw, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 3000 {
			t.Fatalf("after %s a call in rescue takes %d bytes, want 3000 at most:\n%s", now.Sub(epoch), len(raw), raw)
		}
		stopped := 0
		for i := range c.Attempts {
			if c.Attempts[i].State == StateStopped {
				stopped++
			}
		}
		most = max(most, stopped)
	}
	if c.Phase != PhaseRescuing || c.Rescue.Round < 100 {
		t.Errorf("after an hour: got round %d in phase %d, want more than 100 rounds of a rescue", c.Rescue.Round, c.Phase)
	}
	if most < maxStopped {
		t.Errorf("the late answers of %d attempts were hoped for, want %d", most, maxStopped)
	}
}

// TestWakeIsZeroWithoutAnythingToWaitFor: a call that has no plan, talks or is over costs its driver no timer.
func TestWakeIsZeroWithoutAnythingToWaitFor(t *testing.T) {
	c := New(Params{})
	for _, step := range []struct {
		sentence string
		ev       Event
		waits    bool
	}{
		{"it has no plan", Tick{}, false},
		{"it asks", Planned{Plan: countyPlan()}, true},
		{"it rings", Rang{Attempt: 1, Code: 180}, true},
		{"it waits for the ACK: the leg's matter", Answered{Attempt: 1, Usable: true}, false},
		{"it talks", Confirmed{}, false},
		{"it is over", HungUp{Side: Callee}, false},
	} {
		c.Step(epoch, step.ev)
		if waits := !c.Wake().IsZero(); waits != step.waits {
			t.Errorf("%s: got a wake %v, want %v", step.sentence, waits, step.waits)
		}
	}
}

// TestTalkingCallCostsNoTimer: a call that may be rescued costs its driver a timer only while its endpoint is in doubt.
func TestTalkingCallCostsNoTimer(t *testing.T) {
	c := talkingCall()
	for _, step := range []struct {
		sentence string
		ev       Event
		waits    bool
	}{
		{"it talks", Tick{}, false},
		{"its verdict is down", Condemned{On: true}, false},
		{"and is not", Condemned{}, false},
		{"its media has stopped", Hushed{Since: epoch}, true},
		{"it is checked, and lives: to be checked again", Checked{}, true},
		{"it sends again", Voiced{}, false},
		{"it is muted", Muted{On: true}, false},
		{"muted and condemned", Condemned{On: true}, true},
		{"it may send again", Muted{}, false},
		{"and its media has stopped: a rescue", Hushed{Since: epoch}, true},
		{"the caller hangs up", HungUp{Side: Caller}, false},
	} {
		c.Step(epoch, step.ev)
		if waits := !c.Wake().IsZero(); waits != step.waits {
			t.Errorf("%s: got a wake %v, want %v", step.sentence, waits, step.waits)
		}
	}
}

// countyPlan is a plan as a county has it: two rooms, two partners.
func countyPlan() policy.Plan {
	return policy.Plan{
		Route: "999", Overlap: true, Progress: 4 * time.Second, GiveUp: 20 * time.Second,
		Steps: []policy.Step{
			{Endpoint: "control-room", Patience: time.Second, Why: "up"},
			{Endpoint: "standby-room", Patience: time.Second, Why: "up"},
			{Endpoint: "warwickshire", Partner: true, Patience: time.Second, Why: "up"},
			{Endpoint: "staffordshire", Partner: true, Patience: time.Second, Why: "up"},
		},
	}
}

// rescuePlan is the plan of a county whose calls are rescued.
func rescuePlan() policy.Plan {
	plan := countyPlan()
	plan.Rescue, plan.RescueBye = true, true
	return plan
}

// talkingCall talks to the control room.
func talkingCall() *Call {
	c := New(Params{})
	c.Step(epoch, Planned{Plan: rescuePlan()})
	c.Step(epoch, Answered{Attempt: 1, Usable: true})
	c.Step(epoch, Confirmed{})
	return c
}

// BenchmarkPause is what a pause of an endpoint's media costs a talking call: a doubt, a Check, its outcome, a packet.
func BenchmarkPause(b *testing.B) {
	b.ReportAllocs()
	c := talkingCall()
	for b.Loop() {
		for _, ev := range [...]Event{hushedEvent, checkedEvent, voicedEvent} {
			c.Step(epoch, ev)
			c.Wake()
		}
	}
	if c.Phase != PhaseTalking {
		b.Fatalf("the call does not talk: %+v", c)
	}
}

// Boxed once, so that the benchmark counts what a step allocates.
var (
	hushedEvent  Event = Hushed{Since: epoch}
	checkedEvent Event = Checked{}
	voicedEvent  Event = Voiced{}
)

// BenchmarkRescue is a call from its plan over the death of its endpoint to its end.
func BenchmarkRescue(b *testing.B) {
	benchmark(b, Planned{Plan: rescuePlan()}, Answered{Attempt: 1, Usable: true}, Confirmed{}, Condemned{On: true, Why: "down"}, Hushed{Since: epoch},
		Planned{Plan: rescuePlan()}, Trying{Attempt: 2}, Answered{Attempt: 2, Usable: true}, HungUp{Side: Callee, Attempt: 1}, HungUp{Side: Caller})
}

// BenchmarkGoodDay is a call from its plan to its end, with a look at Wake after each step as a driver takes it.
func BenchmarkGoodDay(b *testing.B) {
	benchmark(b, Planned{Plan: countyPlan()}, Trying{Attempt: 1}, Rang{Attempt: 1, Code: 180}, Answered{Attempt: 1, Usable: true}, Confirmed{},
		HungUp{Side: Caller})
}

// BenchmarkDeadPrimary is the call that this program is for.
func BenchmarkDeadPrimary(b *testing.B) {
	benchmark(b, Planned{Plan: countyPlan()}, Unreachable{Attempt: 1}, Trying{Attempt: 2}, Rang{Attempt: 2, Code: 180}, Answered{Attempt: 2, Usable: true},
		Refused{Attempt: 1, Cause: Timeout}, Confirmed{}, HungUp{Side: Caller})
}

func benchmark(b *testing.B, history ...Event) {
	b.ReportAllocs()
	var c *Call
	for b.Loop() {
		c = New(Params{})
		for _, ev := range history {
			c.Step(epoch, ev)
			c.Wake()
		}
	}
	if c.Phase != PhaseOver {
		b.Fatalf("the call is not over: %+v", c)
	}
}

// BenchmarkWriteDown is what a restart-proof driver pays for the state of a talking call.
func BenchmarkWriteDown(b *testing.B) {
	b.ReportAllocs()
	c := New(Params{})
	c.Step(epoch, Planned{Plan: countyPlan()})
	c.Step(epoch, Answered{Attempt: 1, Usable: true})
	for b.Loop() {
		if _, err := json.Marshal(c); err != nil {
			b.Fatal(err)
		}
	}
}
