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
