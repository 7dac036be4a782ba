package town

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// until looks at what a world has counted again and again.
func until(ctx context.Context, t *testing.T, w *World, what string, reached func(Summary) bool) Summary {
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

// Without nines in between the carrier calls the primary itself: what the world counts must then be what a bare PBX does.
func TestWorldCountsWhatAPBXLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := NewWorld(WorldConfig{Rate: 20, Talk: 400 * time.Millisecond, Answer: 50 * time.Millisecond, net: NewNetwork(1)})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		w.Start(ctx, w.Rooms()[primary].Addr)

		before := until(ctx, t, w, "ten answered calls", func(s Summary) bool { return s.Answered["primary"] >= 10 })
		if before.Lost != 0 {
			t.Errorf("%d calls were lost while the primary lived", before.Lost)
		}
		w.Kill()
		if w.Rooms()[primary].Alive {
			t.Error("a killed primary is shown alive")
		}
		dead := until(ctx, t, w, "five calls that nobody answers", func(s Summary) bool { return s.Open >= 5 })
		if dead.Cut == 0 {
			t.Error("no call was cut, although some were talking")
		}
		if err := w.Restore(); err != nil {
			t.Fatal(err)
		}
		until(ctx, t, w, "calls of the dead time answered after all, by their repeats", func(s Summary) bool { return s.Setup["during"].Calls > 0 && s.Setup["after"].Calls >= 5 })
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
		if end.Cut == 0 || end.Rescued != 0 || end.Waiting != 0 || end.Cut != end.LeftEarly+end.LostTalking {
			t.Errorf("of %d cut calls %d were rescued, %d left early, %d were lost, %d wait; nobody rescues them here, and every caller has hung up", end.Cut, end.Rescued, end.LeftEarly, end.LostTalking, end.Waiting)
		}
		if end.Gap != nil {
			t.Errorf("gaps %+v were measured although no call went on elsewhere", *end.Gap)
		}
		if a := end.Audio; a.Sent == 0 || a.Received == 0 || a.Changed+a.Foreign != 0 || a.Received > a.Sent {
			t.Errorf("audio was %+v, want packets both ways and none changed", a)
		}
	})
}

// TestAWorldOnLoopback: the same on real sockets, on which nothing can be said about when. It is enough that it goes on after the primary's death.
func TestAWorldOnLoopback(t *testing.T) {
	w, err := NewWorld(WorldConfig{Rate: 20, Talk: 200 * time.Millisecond, Answer: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	w.Start(ctx, w.Rooms()[primary].Addr)
	until(ctx, t, w, "answered calls with audio", func(s Summary) bool { return s.Answered["primary"] >= 3 && s.Audio.Received > 0 })
	w.Kill()
	placed := w.Stats().Summary().Placed
	until(ctx, t, w, "calls to a dead primary", func(s Summary) bool { return s.Placed > placed && s.Open > 0 })
	if err := w.Restore(); err != nil {
		t.Fatal(err)
	}
	s := until(ctx, t, w, "answered calls after its return", func(s Summary) bool { return s.Setup["after"].Calls >= 3 })
	if s.Audio.Changed+s.Audio.Foreign != 0 {
		t.Errorf("audio was %+v, want no packet changed, and none of another call", s.Audio)
	}
}

func TestEveryCutCallHasOneFate(t *testing.T) {
	cut := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := func(after time.Duration) time.Time { return cut.Add(after) }
	calls := []struct {
		name string
		call WorldCall
		want CutFate
	}{
		{"a call that nobody cut", WorldCall{Delay: 1, Over: true, End: ByUs}, NotCut},
		{"a call that nobody cut and somebody ended", WorldCall{Delay: 1, Over: true, End: ByPeer}, Dropped},
		{"a call that was refused", WorldCall{Over: true, End: ByRefusal}, NotCut},
		{"it hears nobody yet", WorldCall{Delay: 1, CutAt: cut}, Waits},
		{"it heard somebody and talks", WorldCall{Delay: 1, CutAt: cut, Heard: true, Gap: time.Second}, Rescued},
		{"it heard somebody and has hung up", WorldCall{Delay: 1, CutAt: cut, Heard: true, Gap: 3 * time.Second, Over: true, End: ByUs, Ended: at(time.Second)}, Rescued},
		{"it heard somebody who hung up on it", WorldCall{Delay: 1, CutAt: cut, Heard: true, Over: true, End: ByPeer}, Dropped},
		{"its caller had said enough", WorldCall{Delay: 1, CutAt: cut, Over: true, End: ByUs, Ended: at(dueKilled - 1), due: dueKilled}, LeftEarly},
		{"its caller gave up", WorldCall{Delay: 1, CutAt: cut, Over: true, End: ByUs, Ended: at(dueKilled), due: dueKilled}, LostTalking},
		{"its caller heard BYE", WorldCall{Delay: 1, CutAt: cut, Over: true, End: ByPeer, Ended: at(0), due: dueKilled}, Dropped},
	}
	var s Stats
	for _, c := range calls {
		if got := c.call.Fate(); got != c.want {
			t.Errorf("%s: fate %d, want %d", c.name, got, c.want)
		}
		s.Calls = append(s.Calls, c.call)
	}
	sum := s.Summary()
	if sum.Cut != 7 || sum.Rescued != 2 || sum.LostTalking != 1 || sum.Dropped != 3 || sum.LeftEarly != 1 || sum.Waiting != 1 {
		t.Errorf("the summary counts %+v; want 7 cut, 2 rescued, 1 lost, 3 dropped, 1 left early, 1 waiting", sum)
	}
	if sum.Gap == nil || *sum.Gap != (Gaps{P50: 1000, P99: 3000, Max: 3000}) {
		t.Errorf("the gaps are %+v, want 1 s and 3 s: the worst of a few is their 99th percentile", sum.Gap)
	}
}
