package console

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestTheTopOfATerminalSaysWhoAnswersFirst(t *testing.T) {
	s := livelyStatus()
	s.Endpoints[0].Verdict, s.Endpoints[0].Evidence = "down", []string{"2 calls of 2 callers failed in a row, nobody was answered since 14:02:03, the last met a closed port (ICMP)"}
	s.Routes[0].Order = []string{"standby", "warwickshire", "control-room"}
	s.Endpoints[0].Since, s.Endpoints[2].Since = exampleNow().Add(-12*time.Second), exampleNow().Add(-3*time.Hour)
	s.Notices = []string{"one", "two", "three"}
	live := &Live{At: exampleNow(), Status: s}
	expectText(t, `
west-mercia  takes calls  up 3h  14:02:15
 ▲ 999 is answered by STANDBY   Not as usual, then warwickshire, control-room

calls    5 now, 4 talking, 1 ringing
         1235 placed, 1230 answered, 0 refused, 4 cleared by the caller
rescues  6 begun, 1 now; 3 rescued, 1 kept by their endpoint, 1 LOST WHILE TALKING; gap 812 ms the last, 640 median, 2310 p99
101      treated as emergency until 2026-11-23 15:02:15, by alice

ENDPOINT                VERDICT    SINCE     CALLS    PROBE  EVIDENCE
control-room            DOWN         12s   4 of 60        -  2 calls of 2 callers failed in a row, nobody was answered since 14:02:03, the last met a closed port (ICMP)
warwickshire (partner)  Held          3h   4 of 12  11.2 ms  answers OPTIONS; held by alice until 2026-11-23 16:02:15: power work
standby                 Up            3h   0 of 30        -  answers OPTIONS

! one
! two
! three
`, func(b *strings.Builder) error { return WriteTop(b, live, exampleNow(), 0, 0) })
	var b strings.Builder
	if err := WriteTop(&b, live, exampleNow().Add(9*time.Second), 80, 24); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"q quits", "data is 9s old", "\x1b[1;30;43m ▲ 999 is answered by STANDBY \x1b[0m", "\ncontrol-room: 2 calls of 2 callers", "\n            14:02:03, the last met"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("at 80 columns %q is missing:\n%s", want, b.String())
		}
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if len(lines) > 24 || !strings.HasPrefix(lines[len(lines)-1], "… 1 more") && !strings.HasPrefix(lines[len(lines)-1], "! three") {
		t.Errorf("%d lines, the last %q; want at most 24, and what is left out said", len(lines), lines[len(lines)-1])
	}
	for _, l := range lines {
		if strings.HasPrefix(l, "control-room: ") && utf8.RuneCountInString(l) > 80 {
			t.Errorf("evidence runs over the edge: %q", l)
		}
	}
}
