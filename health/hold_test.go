package health

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func alices(until time.Time) Hold { return Hold{By: "alice", Why: "power work", Until: until} }

func TestAHoldMovesAnEndpointAndEnds(t *testing.T) {
	s := begin(Config{})
	s.tell('+')
	s.j.Notices()
	from := s.now
	if err := s.j.Hold(from, "room", alices(from.Add(2*time.Hour))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		after   time.Duration
		held    bool
		notices string
	}{
		{0, true, "hold set"},
		{109 * time.Minute, true, ""},
		{110 * time.Minute, true, "hold ends soon"},
		{115 * time.Minute, true, ""},
		{2*time.Hour - time.Nanosecond, true, ""},
		{2 * time.Hour, false, "hold ended"},
		{3 * time.Hour, false, ""},
	} {
		s.j.Due(from.Add(tt.after))
		if got := s.j.Snapshot().Of("room").Held; got != tt.held {
			t.Errorf("after %s it is held: %t, want %t", tt.after, got, tt.held)
		}
		if got := kinds(s.j.Notices()); got != tt.notices {
			t.Errorf("after %s notices are %q, want %q", tt.after, got, tt.notices)
		}
	}
	if got := s.verdict(); got != Up {
		t.Errorf("after the hold the verdict is %s, want up: probing went on", got)
	}
}

func TestNextWakesForHolds(t *testing.T) {
	j := New(noon, Config{Every: 24 * time.Hour, Endpoints: []Endpoint{{Name: "room"}}})
	now := noon.Add(3 * time.Hour)
	j.Due(now)
	j.Probed(now, Probe{Endpoint: "room", Code: 200})
	if err := j.Hold(now, "room", alices(now.Add(8*time.Minute))); err != nil {
		t.Fatal(err)
	}
	if got, want := j.Next(), now.Add(6*time.Minute); !got.Equal(want) {
		t.Errorf("Next is %s, want %s: a short hold is warned of in its last quarter", got, want)
	}
	j.Due(j.Next())
	if got, want := j.Next(), now.Add(8*time.Minute); !got.Equal(want) {
		t.Errorf("Next is %s, want %s, when the hold ends", got, want)
	}
}

func TestAHoldNeedsOwnerReasonAndEnd(t *testing.T) {
	j := New(noon, Config{Endpoints: []Endpoint{{Name: "room"}}})
	for _, tt := range []struct {
		name EndpointName
		h    Hold
		want error
	}{
		{"soth", alices(noon.Add(time.Hour)), ErrNoEndpoint},
		{"room", Hold{Why: "power work", Until: noon.Add(time.Hour)}, ErrNoOwner},
		{"room", Hold{By: "alice", Until: noon.Add(time.Hour)}, ErrNoReason},
		{"room", alices(noon), ErrNoEnd},
		{"room", Hold{By: "alice", Why: "power work"}, ErrNoEnd},
	} {
		if err := j.Hold(noon, tt.name, tt.h); !errors.Is(err, tt.want) {
			t.Errorf("Hold(%s, %+v): %v, want %v", tt.name, tt.h, err, tt.want)
		}
	}
	if err := j.Release(noon, "soth", "alice"); !errors.Is(err, ErrNoEndpoint) {
		t.Errorf("releasing nobody: %v, want %v", err, ErrNoEndpoint)
	}
	if err := j.Release(noon, "room", "alice"); !errors.Is(err, ErrNotHeld) {
		t.Errorf("releasing what is neither held nor down: %v, want %v", err, ErrNotHeld)
	}
}

func TestReleaseLetsADownEndpointEarnItsWayBackSooner(t *testing.T) {
	s := begin(Config{FailBack: Manual})
	s.verdicts("---++++++")
	if err := s.j.Release(s.now, "room", "alice"); err != nil {
		t.Fatal(err)
	}
	if got := s.verdict(); got != Up {
		t.Errorf("after its good probes and a release it is %s, want up", got)
	}

	s = begin(Config{FailBack: Manual})
	s.verdicts("---+")
	if err := s.j.Release(s.now, "room", "alice"); err != nil {
		t.Fatal(err)
	}
	if got, want := s.verdicts("++++"), "down down down up"; got != want {
		t.Errorf("released after one good probe it goes %s, want %s: a release does not raise the dead", got, want)
	}
	if got, want := s.verdicts("---.+++++"), "up suspect down down down down down down down"; got != want {
		t.Errorf("a release counts once: the next time it goes %s, want %s", got, want)
	}

	s = begin(Config{})
	s.verdicts("---+++++")
	if err := s.j.Release(s.now, "room", "alice"); err != nil {
		t.Fatal(err)
	}
	if got := s.verdict(); got != Up {
		t.Errorf("a release within hold-down leaves it %s, want up", got)
	}
}

func TestReleaseEndsAHold(t *testing.T) {
	s := begin(Config{})
	s.tell('+')
	if err := s.j.Hold(s.now, "room", alices(s.now.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	if err := s.j.Release(s.now, "room", "bob"); err != nil {
		t.Fatal(err)
	}
	if s.j.Snapshot().Of("room").Held || len(s.j.Holds()) != 0 {
		t.Error("it is still held")
	}
	notices := s.j.Notices()
	if got := notices[len(notices)-1]; got.Kind != HoldEnded || got.Text != "released by bob" {
		t.Errorf("the last notice is %+v, want that bob released it", got)
	}
}

func TestHoldsSurviveARestart(t *testing.T) {
	j := New(noon, Config{Endpoints: []Endpoint{{Name: "north"}, {Name: "south"}, {Name: "warks"}}})
	for name, d := range map[EndpointName]time.Duration{"north": time.Hour, "south": time.Minute, "warks": time.Hour} {
		if err := j.Hold(noon, name, alices(noon.Add(d))); err != nil {
			t.Fatal(err)
		}
	}
	b, err := EncodeHolds(j.Holds())
	if err != nil {
		t.Fatal(err)
	}
	holds, err := DecodeHolds(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(j.Holds(), holds); diff != "" {
		t.Errorf("holds came back differently (-got +want):\n%s", diff)
	}

	now := noon.Add(10 * time.Minute)
	j = New(now, Config{Endpoints: []Endpoint{{Name: "south"}, {Name: "north"}}})
	j.RestoreHolds(now, holds)
	if got := j.Holds(); len(got) != 1 || got[0].Endpoint != "north" || !got[0].Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("restored holds are %+v, want north's until 13:00", got)
	}
	if got := kinds(j.Notices()); got != "hold ended; hold ended" {
		t.Errorf("notices are %q, want that south's hold has ended and that warks is gone", got)
	}
	if _, err := DecodeHolds([]byte("[{")); err == nil {
		t.Error("half a file was read")
	}
}

func TestAClockJumpMovesNoEndOfAHold(t *testing.T) {
	now := time.Now() //nolint:forbidigo // the monotonic reading is what is tested
	j := New(now, Config{Endpoints: []Endpoint{{Name: "room"}}})
	j.RestoreHolds(now, []Hold{{Endpoint: "room", By: "alice", Why: "power work", From: now.Round(0), Until: now.Add(time.Hour).Round(0)}})
	if got := j.Holds()[0].Until; !strings.Contains(got.String(), "m=+") {
		t.Errorf("the end of a restored hold, %s, does not carry the monotonic clock", got)
	}
}

func TestExplainTellsTheExactEvidence(t *testing.T) {
	s := begin(Config{})
	for _, tt := range []struct{ signs, want string }{
		{"", "room is unknown since 12:00:00: not probed yet, next at 12:00:00; what brings it back: one answered probe or call"},
		{"+", "room is up since 12:00:01: answered OPTIONS with 200; last probe at 12:00:01 answered 200 at 192.0.2.1:5060, next at 12:00:01"},
		{"--", "room is suspect since 12:00:03: 2 probes missed, the last silent; last probe at 12:00:03 silent at 192.0.2.1:5060, next at 12:00:03; what brings it back: one answered probe or call"},
		{
			"r+",
			"room is down since 12:00:04: 3 probes missed, the last refused with 503; last probe at 12:00:05 answered 200 at 192.0.2.1:5060, next at 12:00:05; " +
				"what brings it back: 5 good probes in a row (1 so far), and the end of its hold-down of 30s in 29s; " +
				"then, for emergency calls, 3 routine calls with two-way audio, or a passed test call, or release, or the canary 10m0s later",
		},
		{
			".++++",
			"room is up since 12:00:39: answered OPTIONS with 200, the last of 5 in a row; last probe at 12:00:39 answered 200 at 192.0.2.1:5060, next at 12:00:39; " +
				"it is returning, and emergency calls go to others until it has proven itself; " +
				"what brings it back: 3 routine calls with two-way audio (0 so far), or a passed test call, or release, or the canary at 12:10:39",
		},
		{
			"FB",
			"room is suspect since 12:00:40: a call was refused with 500; last probe at 12:00:39 answered 200 at 192.0.2.1:5060, next at 12:00:39; " +
				"it is returning, and emergency calls go to others until it has proven itself; 2 calls from 12:00:40 to 12:00:41: 1 busy, 1 failed; " +
				"what brings it back: an answered call, or 5 good probes in a row (0 so far); then, for emergency calls, " +
				"3 routine calls with two-way audio (0 so far), or a passed test call, or release, or the canary at 12:10:39; said it is busy, counts as full until 12:00:46",
		},
	} {
		for _, sign := range tt.signs {
			s.tell(sign)
		}
		e, ok := s.j.Explain(s.now, "room")
		if got := e.Words(); !ok || got != tt.want {
			t.Errorf("after %s\n got %s\nwant %s", tt.signs, got, tt.want)
		}
	}
}

func TestExplainTellsOfHoldsAndDoubt(t *testing.T) {
	s := begin(Config{FailBack: Manual})
	s.verdicts("---+++++")
	if err := s.j.Hold(s.now, "room", alices(s.now.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	s.j.Void(s.now, s.now, "the link was lost")
	e, _ := s.j.Explain(s.now, "room")
	for _, want := range []string{
		"what brings it back: a release by an operator", "held by alice until 13:00:08: power work",
		"bad evidence does not count now: evidence is void until 12:00:10: the link was lost",
	} {
		if !strings.Contains(e.Words(), want) {
			t.Errorf("%q does not say %q", e.Words(), want)
		}
	}
	if got, want := s.j.Snapshot().Of("room").Words, "held by alice until 13:00:08 (power work), down since 12:00:03: 3 probes missed, the last silent"; got != want {
		t.Errorf("in a plan it is %q, want %q", got, want)
	}
	s.j.Release(s.now, "room", "alice") //nolint:errcheck // it is held
	if got := len(s.j.ExplainAll(s.now)); got != 2 {
		t.Errorf("%d endpoints are explained, want both", got)
	}
}

func TestExplanationIsPlainJSON(t *testing.T) {
	s := begin(Config{})
	s.tell('+')
	s.j.Probed(s.now, Probe{Endpoint: "room", Address: "192.0.2.1:5060", Outcome: Alive, Code: 200, RTT: 1500 * time.Microsecond})
	e, _ := s.j.Explain(s.now, "room")
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"endpoint":"room"`, `"verdict":"up"`, `"outcome":"ok"`, `"rtt_ms":1.5`, `"since":"2026-11-23T12:00:01Z"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s does not carry %s", b, want)
		}
	}
	var back Explanation
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, back); diff != "" {
		t.Errorf("the explanation came back differently (-want +got):\n%s", diff)
	}
}

func TestWordsThatDoNotExistAreNotRead(t *testing.T) {
	var v Verdict
	if err := v.UnmarshalText([]byte("dead")); err == nil {
		t.Error("a verdict that does not exist was read")
	}
	var o Outcome
	if err := o.UnmarshalText([]byte("fine")); err == nil {
		t.Error("an outcome that does not exist was read")
	}
}

func TestOutcomeOfACode(t *testing.T) {
	for code, want := range map[int]Outcome{200: Alive, 404: Alive, 405: Alive, 408: Refused, 481: Alive, 486: Alive, 500: Refused, 501: Alive, 503: Refused, 603: Alive} {
		if got := OutcomeOf(code); got != want {
			t.Errorf("a probe that got %d is %s, want %s (R13)", code, got, want)
		}
	}
}
