package town

import (
	"context"
	"testing"
	"time"
)

// Without nines in between the carrier calls the primary itself: what the world counts must then be what a bare PBX does.
func TestWorldCountsWhatAPBXLoses(t *testing.T) {
	w, err := NewWorld(WorldConfig{Rate: 20, Talk: 400 * time.Millisecond, Answer: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	w.Start(ctx, w.Rooms()[primary].Addr)

	until := func(what string, reached func(Summary) bool) Summary {
		t.Helper()
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			s := w.Stats().Summary()
			if reached(s) {
				tick.Stop()
				return s
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("never came to pass: %s; %+v", what, s)
			}
		}
	}
	before := until("ten answered calls", func(s Summary) bool { return s.Answered["primary"] >= 10 })
	if before.Lost != 0 {
		t.Errorf("%d calls were lost while the primary lived", before.Lost)
	}
	w.Kill()
	if w.Rooms()[primary].Alive {
		t.Error("a killed primary is shown alive")
	}
	dead := until("five calls that nobody answers", func(s Summary) bool { return s.Open >= 5 })
	if dead.Cut == 0 {
		t.Error("no call was cut, although some were talking")
	}
	if err := w.Restore(); err != nil {
		t.Fatal(err)
	}
	until("calls of the dead time answered after all, by their repeats", func(s Summary) bool { return s.Setup["during"].Calls > 0 && s.Setup["after"].Calls >= 5 })
	brief, enough := context.WithTimeout(ctx, 2*time.Second) // what rang when the primary died rings on
	defer enough()
	w.Drain(brief)
	end := w.Stats().Summary()
	if end.Open > 3 || end.Placed != end.Answered["primary"]+end.Lost+end.Open {
		t.Errorf("%d placed, answered %v, %d lost, %d open: they must add up", end.Placed, end.Answered, end.Lost, end.Open)
	}
	if end.Setup["during"].Max <= end.Setup["before"].P50 {
		t.Errorf("set-up took %+v: calls placed in the dead time must have waited", end.Setup)
	}
	if a := end.Audio; a.Sent == 0 || a.Received == 0 || a.Changed+a.Foreign != 0 || a.Received > a.Sent {
		t.Errorf("audio was %+v, want packets both ways and none changed", a)
	}
}
