package console

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAStatusReadsAtAGlance(t *testing.T) {
	want := `
west-mercia  takes calls  (nines v0.1.0, up 3h, media in userspace)
  ! the last configuration was refused; the one of 2026-11-23 11:02:15 runs
    nines.yaml:9: routes[0].ask[1]: no endpoint is called "soth"; did you mean "north"?

  ENDPOINT                VERDICT   SINCE  CALLS    PROBE    WHY
  control-room            DOWN      12s    0 of 60  -        14:02:14 OPTIONS silent for 800ms
  warwickshire (partner)  up, HELD  3h     4 of 12  11.2 ms  answers OPTIONS; held by alice until 2026-11-23 16:02:15: power work

  TRUNK        KIND     CALLS  LAST SEEN
  bt           carrier  5      2s ago
  desk-phones  pbx      0      never

  calls    5 now: 4 talking, 1 ringing; 101: 1; 999: 4
           1235 placed, 1230 answered, 0 refused, 4 cleared by the caller
  rescues  6 begun, 1 now; 3 rescued, 1 kept by their endpoint, 1 LOST WHILE TALKING; gap 812 ms the last, 640 median, 2310 p99
  callers  2 MUST BE RUNG BACK: nines callbacks; 1 rang an emergency number within ten minutes of an announcement
  book     1234 entries written to nines.db (3 MB)
  routine  12 hear an announcement now, 340 have since the start, 7 went to a person, 1 could not be played to
           101: 3 wait for a person
           101 HEARS THE ANNOUNCEMENT AT ONCE since 2026-11-23 13:57:15 (5m): 6 emergency calls wait for an answer (limit 5)
           101 IS TREATED AS EMERGENCY until 2026-11-23 15:02:15 (60m), by alice: 999 is down
  ports    20 used, 9980 free (20000-29999)
  sip      9000 in, 9100 out, 3 sent again, 0 came again, 9 dropped (garbage 7, unknown source 2)
  media    8 streams, 1000000 packets, 2 lost on the way to us, none dropped
  file     /etc/nines/nines.yaml, loaded 2026-11-23 11:02:15
  listens  udp://192.0.2.10:5060
  tls      nines.example, until 2027-02-21
`
	status := exampleStatus()
	expectText(t, want, func(b *strings.Builder) error { return status.WriteText(b, exampleNow()) })
}

func TestANodeThatTakesNoCallsSaysSoFirst(t *testing.T) {
	status := exampleStatus()
	status.Ready, status.NotReady = false, "draining"
	var b strings.Builder
	if err := status.WriteText(&b, exampleNow()); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.SplitN(b.String(), "\n", 2)[0], "west-mercia  ENDING: draining  (nines v0.1.0, up 3h, media in userspace)"; got != want {
		t.Errorf("first line %q, want %q", got, want)
	}
}

func TestAnEndpointExplainsItself(t *testing.T) {
	status := exampleStatus()
	expectText(t, `
control-room  DOWN since 2026-11-23 14:02:03 (12s)
  3 probes running were silent

  asked at    sip:10.0.0.10:5060
  calls       0 of 60
  last probe  1s ago, round trip -
  next probe  in 300ms
  back when   5 probes answered running, then 30s
  evidence    14:02:14 OPTIONS silent for 800ms
              14:02:13 OPTIONS silent for 800ms
`, func(b *strings.Builder) error { return status.Endpoints[0].WriteText(b, exampleNow()) })
	expectText(t, `
warwickshire (partner)  up, HELD since 2026-11-23 11:02:15 (3h)
  answers OPTIONS

  asked at    sip:pbx.warks.example
  calls       4 of 12
  last probe  4s ago, round trip 11.2 ms
  held        by alice until 2026-11-23 16:02:15: power work
`, func(b *strings.Builder) error { return status.Endpoints[1].WriteText(b, exampleNow()) })
	e := status.Endpoints[0]
	e.Verdict, e.Returning, e.ResponseMillis, e.LongRunMillis = "up", true, 812.34, 90
	e.RecentCalls = []CallWindow{
		{From: exampleNow().Add(-9 * time.Minute), To: exampleNow(), Calls: 17, Outcomes: map[string]int{"talked": 12, "failed 503": 4, "answered": 1}},
		{
			Class: "routine", Number: "101", From: exampleNow().Add(-8 * time.Minute), To: exampleNow().Add(-time.Minute), Calls: 4,
			Outcomes: map[string]int{"failed 503": 4}, Fails: "fails for 101",
		},
	}
	expectText(t, `
control-room  up, RETURNING since 2026-11-23 14:02:03 (12s)
  3 probes running were silent

  asked at        sip:10.0.0.10:5060
  calls           0 of 60
  last probe      1s ago, round trip -
  next probe      in 300ms
  back when       5 probes answered running, then 30s
  evidence        14:02:14 OPTIONS silent for 800ms
                  14:02:13 OPTIONS silent for 800ms
  first response  812.3 ms to calls lately, 90.0 ms in the long run

  CALLS OF LATE  NUMBER  FROM      TO        CALLS  OUTCOMES
  all            all     13:53:15  14:02:15  17     12 talked, 4 failed 503, 1 answered
  routine        101     13:54:15  14:01:15  4      4 failed 503, IT fails for 101
`, func(b *strings.Builder) error { return e.WriteText(b, exampleNow()) })
}

func TestAReloadSaysWhatBecameOfIt(t *testing.T) {
	refused := ReloadResult{Problems: []string{"nines.yaml:3: listen: no such transport"}}
	expectText(t, `
refused; the running configuration stays:
  nines.yaml:3: listen: no such transport
`, func(b *strings.Builder) error { return refused.WriteText(b) })
	accepted := ReloadResult{Accepted: true, Changed: []string{"endpoint north is new"}, Restart: []string{"listen"}}
	expectText(t, `
accepted
  endpoint north is new
needs a restart:
  listen
`, func(b *strings.Builder) error { return accepted.WriteText(b) })
}

func TestDurationsAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 999 * time.Millisecond: "0s", time.Second: "1s", 119 * time.Second: "119s", 2 * time.Minute: "2m",
		119 * time.Minute: "119m", 2 * time.Hour: "2h", 47 * time.Hour: "47h", 48 * time.Hour: "2d",
	} {
		if got := short(d); got != want {
			t.Errorf("%v reads %q, want %q", d, got, want)
		}
	}
}

func expectText(t *testing.T, want string, write func(*strings.Builder) error) {
	t.Helper()
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), strings.TrimPrefix(want, "\n")); diff != "" {
		t.Errorf("it reads differently (-got +want):\n%s", diff)
	}
}

func TestRescuesAreSaidWhenThereWereAny(t *testing.T) {
	for _, tt := range []struct {
		status RescueStatus
		want   string
	}{
		{RescueStatus{}, "none"},
		{RescueStatus{Begun: 2, Running: 2}, "2 begun, 2 now; 0 rescued, 0 kept by their endpoint, none lost"},
		{RescueStatus{LostTalking: 1}, "0 begun, 0 now; 0 rescued, 0 kept by their endpoint, 1 LOST WHILE TALKING"}, // the caller left before the loss was sure
	} {
		if got := tt.status.words(); got != tt.want {
			t.Errorf("%+v reads %q, want %q", tt.status, got, tt.want)
		}
	}
}
