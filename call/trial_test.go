package call

import (
	"testing"
	"time"

	"nines/policy"
)

// R17: the one emergency call that tries a returning endpoint has the next asked as well after eight seconds, also a partner, also while it rings.
func TestAnEndpointOnTrialIsNotWaitedForLong(t *testing.T) {
	at := time.Date(2026, 11, 23, 16, 30, 0, 0, time.UTC)
	c := New(Params{})
	c.Step(at, Planned{Plan: policy.Plan{Overlap: true, Steps: []policy.Step{
		{Endpoint: "control-room", Canary: true, AsWell: 8 * time.Second, Patience: time.Second},
		{Endpoint: "warwickshire", Partner: true, Patience: time.Second},
	}}})
	c.Step(at.Add(100*time.Millisecond), Rang{Attempt: 1, Code: 180})
	if got, want := c.Wake(), at.Add(8*time.Second); !got.Equal(want) {
		t.Fatalf("it wakes %v after the ask, want 8 s", got.Sub(at))
	}
	var asked *Ask
	for _, a := range c.Step(at.Add(8*time.Second), Tick{}) {
		if ask, ok := a.(Ask); ok {
			asked = &ask
		}
	}
	if asked == nil || asked.Endpoint != "warwickshire" {
		t.Fatalf("asked %+v after eight seconds of ringing on trial, want the partner as well", asked)
	}
	won := false
	for _, a := range c.Step(at.Add(9*time.Second), Answered{Attempt: 1, Usable: true}) {
		if ans, ok := a.(Answer); ok && ans.Attempt == 1 {
			won = true
		}
	}
	if !won {
		t.Error("the endpoint on trial answered in the end and must win")
	}
}
