package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"nines/console"
	"nines/journal"
	"nines/sip"
)

// TestACallerOfAFutureClockCanBeCleared: a call failed while the clock was ahead, which has been set right since. Whoever rings back takes the line off.
func TestACallerOfAFutureClockCanBeCleared(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dir)
		defer h.close()
		ahead := time.Now().Add(90 * 24 * time.Hour)
		for call, number := range map[string]string{"ahead": "+447700900123", "ahead-too": "+447700900124"} {
			h.node.desk.fold(journal.Entry{At: ahead, Type: journal.CallEnd, Call: call, Class: "emergency", Caller: number, Outcome: "cancelled"})
		}
		done := func(who string) {
			t.Helper()
			r, err := h.node.CallBackDone(t.Context(), console.CallBackDone{Who: who, By: "alice", Outcome: "spoke to caller"})
			if err != nil || r.NotKept != "" {
				t.Errorf("clearing %s: %v, not kept: %q", who, err, r.NotKept)
			}
			for _, l := range h.waiting().Lines {
				if l.ID == who {
					t.Errorf("%s is said to be cleared and still waits", who)
				}
			}
		}
		done("ahead")
		h.stop()
		h.start()
		done("ahead-too")
		if l := h.waiting(); l.Open != 0 {
			t.Errorf("%d wait, want none: %+v", l.Open, l.Lines)
		}
	})
}

// TestAnOrderStandsNoLongerThanItWasSaid: the clock was set back between two runs, so that an order for an hour would stand for a quarter of a year.
func TestAnOrderStandsNoLongerThanItWasSaid(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ahead := time.Now().Add(90 * 24 * time.Hour)
		text, err := json.Marshal([]sip.Treat{{Route: "101", By: "alice", Why: "999 is down", From: ahead, Until: ahead.Add(time.Hour)}})
		if err != nil {
			t.Fatal(err)
		}
		state := filepath.Join(dir, "state")
		if err := os.MkdirAll(state, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(state, treatsName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		h := newHouse(t, dir)
		defer h.close()
		l, err := h.node.Treats(t.Context())
		if err != nil || len(l.Treats) != 1 || l.Treats[0].LeftSeconds > 3600 {
			t.Errorf("%+v, %v; want the order to stand for an hour at most", l.Treats, err)
		}
		time.Sleep(time.Hour)
		if l, _ := h.node.Treats(t.Context()); len(l.Treats) != 0 {
			t.Errorf("after an hour %+v stands", l.Treats)
		}
	})
}
