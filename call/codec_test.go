package call

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nines/policy"
)

// sound says whether a driver can go on with a call that was written down: what it points at is there.
func sound(c *Call) bool {
	if c.Phase > PhaseAside || c.Aside.Step < 0 || c.Aside.Step > len(c.Aside.Steps) || c.Last > 1e6 || len(c.Turns)+len(c.Attempts)+len(c.Plan.Steps)+len(c.Reasons) > 50 {
		return false
	}
	for _, t := range c.Turns {
		if t.Step < 0 || t.Step >= len(c.Plan.Steps) {
			return false
		}
	}
	for _, r := range c.Reasons {
		if r.Want > WantPartner {
			return false
		}
	}
	before := AttemptID(0)
	for i := range c.Attempts {
		a := &c.Attempts[i]
		old := a.Was != "" && a.Step == -1 && !a.counts()
		if a.State > StateEnded || !old && (a.Was != "" || a.Step < 0 || a.Step >= len(c.Plan.Steps)) || a.ID <= before || a.ID > c.Last || a.State == StateWon && a.ID != c.Winner {
			return false
		}
		before = a.ID
	}
	winner := c.find(c.Winner)
	switch c.Phase {
	case PhaseAnswered, PhaseTalking:
		return winner != nil && winner.State == StateWon
	case PhaseRescuing:
		return winner != nil || c.Taken && c.Winner == 0
	case PhasePlanning, PhaseAsking, PhaseAside, PhaseOver:
	}
	return true
}

// happens is what a byte of the fuzzer means.
func happens(b byte, now time.Time) Event {
	id := AttemptID(b >> 5)
	events := []Event{
		Planned{Plan: rescuePlan()},
		Trying{Attempt: id},
		Rang{Attempt: id, Code: 180},
		Rang{Attempt: id, Code: 183, SDP: true},
		Answered{Attempt: id, Usable: true},
		Answered{Attempt: id},
		Refused{Attempt: id, Code: 503},
		Refused{Attempt: id, Code: 486},
		Refused{Attempt: id, Code: 302, Contacts: []string{"sip:a", "sip:b"}},
		Unreachable{Attempt: id},
		Died{Attempt: id},
		Woke{Attempt: id},
		Full{Attempt: id, Until: now.Add(time.Second).UnixNano()},
		HeldBack{Attempt: id},
		Left{Attempt: id},
		Cancelled{},
		Confirmed{},
		HungUp{Side: Caller},
		HungUp{Side: Callee, Suspicious: b>>7 == 1},
		Lost{Side: Callee},
		Hushed{Since: now, ICMP: b>>7 == 1},
		Voiced{},
		Muted{On: b>>7 == 1},
		Checked{Dead: b>>7 == 0},
		Condemned{On: b>>7 == 0, Why: "down"},
		Waits{Until: now.Add(time.Second)},
		Announced{},
		Played{},
		Unplayable{Why: "no tape"},
		Pressed{Key: "9", How: "event"},
		Voided{Until: now},
		Tick{},
	}
	return events[int(b)%32%len(events)]
}

// FuzzCodec: whatever is read as a call is written and read again as it is. A call that is whole goes on, and its copy does the same; it never wants a
// Tick again and again at the same moment.
func FuzzCodec(f *testing.F) {
	asks, rescues, aside := New(Params{}), talkingCall(), New(Params{Class: policy.Routine})
	asks.Step(epoch, Planned{Plan: countyPlan()})
	asks.Step(epoch, Rang{Attempt: 1, Code: 180})
	asks.Step(epoch.Add(5*time.Second), Refused{Attempt: 1, Code: 503})
	rescues.Step(epoch, Condemned{On: true, Why: "down since 03:12:04: 3 probes missed"})
	rescues.Step(epoch, Hushed{Since: epoch, ICMP: true})
	rescues.Step(epoch, Planned{Plan: rescuePlan()})
	plan := countyPlan()
	plan.Class, plan.Steps = policy.Routine, nil
	plan.Otherwise = []policy.Otherwise{{Wait: time.Minute}}
	aside.Step(epoch, Planned{Plan: plan})
	for _, c := range []*Call{New(Params{}), asks, talkingCall(), rescues, aside} {
		raw, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		if !sound(c) {
			f.Fatalf("a call of ours is not sound: %s", raw)
		}
		f.Add(raw, []byte("\x00\x24\x44\x10\xff\x14\x13\x17\x18\x1f\x1f"))
		f.Add(raw[:len(raw)/2], []byte{0})
	}
	f.Add([]byte(`{"Phase":1,"Plan":{"Steps":[{}]},"Turns":[{"Step":0},{"Step":0}],"Attempts":[{"ID":1,"Step":0,"AskedAt":"0001-01-01T00:00:00Z"}],"Last":1,"QuietAt":"9999-12-31T23:59:59Z"}`), []byte("\x1f\x26\x1f"))
	f.Fuzz(func(t *testing.T, raw, story []byte) {
		var c Call
		if json.Unmarshal(raw, &c) != nil {
			return
		}
		first, err := json.Marshal(&c)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		twin := reborn(t, &c)
		second, err := json.Marshal(twin)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("it changed when it was read again: %v\n%s\n%s", err, first, second)
		}
		if !sound(&c) {
			return
		}
		now := epoch
		tell := func(ev Event) {
			got, want := fmt.Sprintf("%#v", twin.Step(now, ev)), fmt.Sprintf("%#v", c.Step(now, ev))
			if got != want {
				t.Fatalf("%#v: the copy does %s, the call %s", ev, got, want)
			}
		}
		for _, b := range story[:min(len(story), 64)] {
			tell(happens(b, now))
			now = now.Add(100 * time.Millisecond)
			for at := 0; ; at++ {
				wake := c.Wake()
				if wake.IsZero() || wake.After(now) {
					break
				}
				if at == 100 {
					t.Fatalf("at %v it wants a Tick for %v the hundredth time", now, wake)
				}
				tell(Tick{})
			}
		}
		if diff := cmp.Diff(state(t, &c), state(t, twin)); diff != "" {
			t.Fatalf("the copy is not as the call:\n%s", diff)
		}
	})
}

func state(t *testing.T, c *Call) string {
	t.Helper()
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
