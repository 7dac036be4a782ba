package app

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nines/configs"
	"nines/notify"
	"nines/sip"
)

// TestAnOrderThatEndsSoonIsSaid: a route that becomes routine again in the night must not surprise who ordered otherwise in the evening.
func TestAnOrderThatEndsSoonIsSaid(t *testing.T) {
	desk, err := notify.Open(notify.Config{Path: filepath.Join(t.TempDir(), "notices.state")})
	if err != nil {
		t.Fatal(err)
	}
	i := inspector{desk: desk}
	began := time.Now()
	routes := []configs.Route{{Name: "999"}, {Name: "101"}}
	order := func(length time.Duration) []sip.Treat {
		return []sip.Treat{{Route: "101", By: "alice", Why: "the web form is down", From: began, Until: began.Add(length)}}
	}
	for _, step := range []struct {
		after  time.Duration
		orders []sip.Treat
		open   bool
	}{
		{0, order(8 * time.Hour), false},
		{7*time.Hour + 49*time.Minute, order(8 * time.Hour), false},
		{7*time.Hour + 51*time.Minute, order(8 * time.Hour), true},
		{7*time.Hour + 52*time.Minute, order(12 * time.Hour), false}, // ordered again
		{11*time.Hour + 55*time.Minute, order(12 * time.Hour), true},
		{12 * time.Hour, nil, false},
		{14 * time.Minute, order(20 * time.Minute), false}, // a short one: its last quarter
		{16 * time.Minute, order(20 * time.Minute), true},
	} {
		i.treats(began.Add(step.after), routes, step.orders)
		if got := desk.Open("treat 101"); got != step.open {
			t.Errorf("after %v the notice is open: %v, want %v", step.after, got, step.open)
		}
		if desk.Open("treat 999") {
			t.Error("a notice speaks of a route that nobody spoke of")
		}
	}
	threads := desk.Threads()
	if len(threads) == 0 || !strings.Contains(threads[len(threads)-1].Text, "as alice ordered (the web form is down)") {
		t.Errorf("the notices are %+v", threads)
	}
}
