package sip

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"nines/health"
)

// TestAnActThatWasGivenUpIsNotDoneLater: who asked was told that it failed; it must not happen a minute later, when the loop has time again.
func TestAnActThatWasGivenUpIsNotDoneLater(t *testing.T) {
	now := time.Now()
	s := &Server{cfg: Config{Observer: nobody{}}, log: zerolog.Nop()}
	l := newLoop(s, 0, rand.New(rand.NewPCG(1, 1)))
	l.judge = health.New(now, health.Config{Endpoints: []health.Endpoint{{Name: "north"}}})
	s.loops = []*loop{l}
	s.routing.Store(&routing{})
	s.health.Store(l.judge.Snapshot())
	hold := health.Hold{By: "alice", Why: "power work", Until: now.Add(time.Hour)}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Hold(ctx, "north", hold); !errors.Is(err, context.Canceled) {
		t.Errorf("hold gave %v, want that it was given up", err)
	}
	work := func() {
		<-l.wakeup // once something was posted
		for _, it := range l.inbox {
			it.do(now)
		}
		l.inbox = nil
	}
	work()
	if s.Snapshot().Of("north").Held {
		t.Error("the hold was done after all")
	}

	done := make(chan error, 1)
	go func() { done <- s.Hold(t.Context(), "north", hold) }() // ends when the loop has done it
	work()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !s.Snapshot().Of("north").Held {
		t.Error("the hold was answered before plans know of it")
	}
}
