package app

import (
	"strings"
	"testing"

	"nines/internal/town"
)

// goodDemo is a story in which everything went well.
func goodDemo() DemoSummary {
	return DemoSummary{town.Summary{
		Placed: 101, Answered: map[string]int{"primary": 40, "standby": 61}, Cut: 24, Rescued: 22, LeftEarly: 2,
		Gap: &town.Gaps{P50: 320, P99: 870, Max: 875}, Audio: town.Audio{Sent: 1000, Received: 990},
	}}
}

func TestADemoIsASuccessOnlyIfNoCallerWasLost(t *testing.T) {
	if !goodDemo().OK() {
		t.Error("a demo in which everything went well is no success")
	}
	for name, spoil := range map[string]func(*DemoSummary){
		"a call got no answer":           func(s *DemoSummary) { s.Lost = 1 },
		"a call has no answer yet":       func(s *DemoSummary) { s.Open = 1 },
		"a caller heard nobody any more": func(s *DemoSummary) { s.LostTalking = 1 },
		"a caller still hears nobody":    func(s *DemoSummary) { s.Waiting = 1 },
		"a caller was hung up on":        func(s *DemoSummary) { s.Dropped = 1 },
		"a packet was changed":           func(s *DemoSummary) { s.Audio.Changed = 1 },
		"a packet reached a stranger":    func(s *DemoSummary) { s.Audio.Foreign = 1 },
		"nobody was heard":               func(s *DemoSummary) { s.Audio.Received = 0 },
		"nobody called":                  func(s *DemoSummary) { s.Placed = 0 },
	} {
		s := goodDemo()
		spoil(&s)
		if s.OK() {
			t.Errorf("%s, and the demo is a success", name)
		}
	}
}

func TestADemoSaysItsRescuesInOneLine(t *testing.T) {
	want := "rescue: of 24 calls that talked to the primary when it died 22 went on elsewhere (silence: median 320 ms, longest 875 ms), 2 had said all before that, 0 lost, 0 hung up on"
	if got := goodDemo().String(); !strings.HasSuffix(got, "\n"+want) {
		t.Errorf("the summary is\n%s\nwant its last line to be\n%s", got, want)
	}
	quiet := DemoSummary{town.Summary{Placed: 3}}
	if got := quiet.String(); strings.Contains(got, "rescue") {
		t.Errorf("nobody was cut, and the summary says %q", got)
	}
}
