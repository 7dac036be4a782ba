package sip_test

import (
	"testing"
	"time"

	"nines/internal/town"
)

func TestACallerWhoLeavesWhileNobodyTalksIsCounted(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		for _, room := range []string{"standby-room", "partner"} {
			w.rooms[room].Script(town.Always(town.Rings(0)))
		}
		c := w.call()
		w.rooms["control-room"].Kill()
		time.Sleep(5 * time.Second)
		if got := w.server.Counters(); got.Rescues != 1 || got.Rescuing != 1 || got.LostTalking != 0 {
			t.Fatalf("rescues %d, running %d, lost %d while the caller waits; want 1, 1, 0", got.Rescues, got.Rescuing, got.LostTalking)
		}
		c.Clear()
		time.Sleep(5 * time.Second)
		if got := w.server.Counters(); got.Rescued != 0 || got.Rescuing != 0 || got.LostTalking != 1 || got.Talking != 0 {
			t.Errorf("rescued %d, running %d, lost %d, talking %d after the caller left; want 0, 0, 1, 0", got.Rescued, got.Rescuing, got.LostTalking, got.Talking)
		}
	})
}

func TestAnEndpointThatKeepsItsCallIsCountedAsThat(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		for _, room := range []string{"standby-room", "partner"} {
			w.rooms[room].Script(town.Always(town.Rings(0)))
		}
		c := w.call()
		w.hosts["control-room"].Power(town.Dead)
		time.Sleep(7 * time.Second)
		w.hosts["control-room"].Power(town.On)
		time.Sleep(5 * time.Second)
		c.Clear()
		time.Sleep(5 * time.Second)
		if got := w.server.Counters(); got.Rescues != 1 || got.Kept != 1 || got.Rescued != 0 || got.Rescuing != 0 || got.LostTalking != 0 {
			t.Errorf("rescues %d, kept %d, rescued %d, running %d, lost %d; want 1, 1, 0, 0, 0", got.Rescues, got.Kept, got.Rescued, got.Rescuing, got.LostTalking)
		}
	})
}
