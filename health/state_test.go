package health

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestWhatCallsTrippedSurvivesARestart(t *testing.T) {
	s := begin(Config{})
	s.hearAll("+ Sa1 Sb1")
	b, err := EncodeState(s.j.State())
	if err != nil {
		t.Fatal(err)
	}
	state, err := DecodeState(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.j.State(), state, cmp.Transformer("holds", func(h []Hold) int { return len(h) })); diff != "" {
		t.Errorf("the state came back differently (-want +got):\n%s", diff)
	}

	now := noon.Add(time.Hour)
	s = &story{j: New(now, Config{Endpoints: []Endpoint{{Name: "room"}, {Name: "other"}}}), now: now}
	state.Trips = append(state.Trips, Trip{Endpoint: "gone", Since: noon})
	s.j.Restore(now, state)
	if got := s.standing(); got != "down" {
		t.Errorf("after the restart it is %s, want down: nobody has shown that it answers calls", got)
	}
	e, _ := s.j.Explain(now, "room")
	if !e.Tripped || !e.Since.Equal(noon.Add(3*time.Second)) || !strings.HasPrefix(e.Evidence, "2 calls of 2 callers failed in a row") {
		t.Errorf("it is explained as %+v, want with the evidence of before", e)
	}
	s.hearAll("+ + + + + +")
	if got := s.standing(); got != "down" {
		t.Errorf("OPTIONS lifted at once what calls tripped: %s, want down for hold_down", got)
	}
	s.hearAll(". + Ta1r Tb1r Tc1r")
	if got := s.standing(); got != "up" {
		t.Errorf("three calls with audio make it %s, want up", got)
	}
	if got := s.j.State().Trips; len(got) != 0 {
		t.Errorf("proven, and still written down: %+v", got)
	}
}

func TestARestoredHoldNeverOutlastsWhatTheOperatorSaid(t *testing.T) {
	h := Hold{Endpoint: "room", By: "alice", Why: "power work", From: noon, Until: noon.Add(2 * time.Hour)}
	for _, tt := range []struct {
		why  string
		now  time.Time
		left time.Duration
	}{
		{"half an hour later", noon.Add(30 * time.Minute), 90 * time.Minute},
		{"the clock was put back by a year", noon.AddDate(-1, 0, 0), 2 * time.Hour},
		{"the clock of the machine starts in 1970", time.Unix(0, 0), 2 * time.Hour},
		{"the clock was put forward by a year", noon.AddDate(1, 0, 0), 0},
	} {
		j := New(tt.now, Config{Endpoints: []Endpoint{{Name: "room"}}})
		j.RestoreHolds(tt.now, []Hold{h})
		var left time.Duration
		if hs := j.Holds(); len(hs) > 0 {
			left = hs[0].Until.Sub(tt.now)
			if whole := hs[0].Until.Sub(hs[0].From); whole != 2*time.Hour {
				t.Errorf("%s: the hold is %s long, want 2h", tt.why, whole)
			}
		}
		if left != tt.left {
			t.Errorf("%s: %s are left, want %s", tt.why, left, tt.left)
		}
	}
}

func TestAnEndReadFromTheWallRunsOnTheMonotonicClock(t *testing.T) {
	now := time.Now() //nolint:forbidigo // the monotonic reading is what is tested
	j := New(now, Config{Endpoints: []Endpoint{{Name: "room"}}})
	if err := j.Hold(now, "room", alices(now.Add(time.Hour).Round(0))); err != nil {
		t.Fatal(err)
	}
	if got := j.Holds()[0].Until; !strings.Contains(got.String(), "m=+") {
		t.Errorf("the end of the hold, %s, does not carry the monotonic clock", got)
	}
}

func TestADamagedStateFileIsAClearError(t *testing.T) {
	good, err := EncodeState(State{Holds: []Hold{{Endpoint: "room", By: "alice", Why: "power work", From: noon, Until: noon.Add(time.Hour)}}})
	if err != nil {
		t.Fatal(err)
	}
	seal := func(body string) []byte { return sealState([]byte(body)) }
	for _, tt := range []struct {
		why  string
		file []byte
		want error
		says string
	}{
		{"empty", nil, ErrNotState, "no state file"},
		{"zeros after a power cut", make([]byte, 4096), ErrNotState, "no state file"},
		{"the first version's bare JSON", []byte("[{\"endpoint\":\"room\"}]\n"), ErrNotState, "no state file"},
		{"no version", []byte("nines-health-state x abc\n{}"), ErrNotState, "no state file"},
		{"cut short", good[:len(good)-5], ErrStateDamaged, "damaged"},
		{"one letter changed", bytes.Replace(good, []byte("alice"), []byte("malice"), 1), ErrStateDamaged, "damaged"},
		{"a newer version", bytes.Replace(good, []byte(" 1 "), []byte(" 2 "), 1), ErrStateVersion, "version 2"},
		{"no JSON", seal("{"), nil, "decode health state"},
		{"a hold without owner", seal(`{"holds":[{"endpoint":"room","why":"x","from":"2026-11-23T12:00:00Z","until":"2026-11-23T13:00:00Z"}]}`), ErrNoOwner, `holds[0] of "room"`},
		{"a hold without reason", seal(`{"holds":[{"endpoint":"room","by":"x","from":"2026-11-23T12:00:00Z","until":"2026-11-23T13:00:00Z"}]}`), ErrNoReason, `holds[0]`},
		{"a hold of nobody", seal(`{"holds":[{"by":"x","why":"x"}]}`), ErrNoEndpoint, `holds[0]`},
		{"a hold without end", seal(`{"holds":[{"endpoint":"room","by":"x","why":"x"}]}`), ErrNoEnd, `holds[0]`},
		{"a trip of nobody", seal(`{"holds":[],"trips":[{}]}`), ErrNoEndpoint, `trips[0]`},
	} {
		s, err := DecodeState(tt.file)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %v with %q", tt.why, err, tt.want, tt.says)
		}
		if len(s.Holds) > 0 {
			t.Errorf("%s: holds came out of it: %+v", tt.why, s.Holds)
		}
	}
	if s, err := DecodeState(good); err != nil || len(s.Holds) != 1 {
		t.Errorf("a good file: %+v, %v", s, err)
	}
}

func TestPropertyStateIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want State
		for range rapid.IntRange(0, 4).Draw(t, "holds") {
			from := noon.Add(time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "from")))
			want.Holds = append(want.Holds, Hold{
				Endpoint: EndpointName(rapid.StringN(1, 20, -1).Draw(t, "endpoint")), By: rapid.StringN(1, 20, -1).Draw(t, "by"), Why: rapid.StringN(1, 20, -1).Draw(t, "why"),
				From: from, Until: from.Add(time.Duration(rapid.Int64Range(1, 1e15).Draw(t, "for"))),
			})
		}
		for range rapid.IntRange(0, 2).Draw(t, "trips") {
			want.Trips = append(want.Trips, Trip{Endpoint: EndpointName(rapid.StringN(1, 20, -1).Draw(t, "endpoint")), Since: noon, Evidence: rapid.String().Draw(t, "evidence"), HoldDown: time.Minute})
		}
		b, err := EncodeState(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeState(b)
		if err != nil {
			t.Fatal(err)
		}
		if want.Holds == nil {
			want.Holds = []Hold{}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("it came back differently (-want +got):\n%s", diff)
		}
	})
}

// FuzzDecodeState: whatever stands in the file, it is an error or a state that is written and read again as it is, and that a judge can take.
func FuzzDecodeState(f *testing.F) {
	good, err := EncodeState(State{
		Holds: []Hold{{Endpoint: "room", By: "alice", Why: "power work", From: noon, Until: noon.Add(time.Hour)}},
		Trips: []Trip{{Endpoint: "room", Since: noon, Evidence: "2 calls failed", HoldDown: time.Minute}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, false)
	f.Add(good[:40], false)
	f.Add([]byte(`{"holds":[{"endpoint":"room","by":"a","why":"b","from":"0001-01-01T00:00:00Z","until":"9999-12-31T23:59:59Z"}]}`), true)
	f.Add([]byte(`{"trips":[{"endpoint":"room","since":"9999-12-31T23:59:59Z","hold_down":-9223372036854775808}]}`), true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			b = sealState(b)
		}
		s, err := DecodeState(b)
		if err != nil {
			return
		}
		again, err := EncodeState(s)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := DecodeState(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		twice, err := EncodeState(back)
		if err != nil || !bytes.Equal(again, twice) {
			t.Fatalf("it changed when it was read again: %v\n%s\n%s", err, again, twice)
		}
		j := New(noon, Config{Endpoints: []Endpoint{{Name: "room"}}})
		j.Restore(noon, s)
		if w := j.of["room"]; w.holdDown > maxHoldDown || w.since.After(noon) {
			t.Fatalf("a state gave a hold-down of %s, down since %s", w.holdDown, w.since)
		}
		for _, name := range []EndpointName{"room"} {
			if e, ok := j.Explain(noon, name); !ok || e.Words() == "" {
				t.Fatal("it is not explained")
			}
		}
	})
}
