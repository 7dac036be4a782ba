package app

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nines/policy"
	"nines/sip"
)

// TestDataIsWrittenAsJSON compares our own writer with encoding/json, for all that the book's entries have beside their fields.
func TestDataIsWrittenAsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }), rapid.Just(""))
		number := rapid.Uint64Range(0, 1<<62)
		length := rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) })
		start := startData{text.Draw(t, "source"), rapid.Bool().Draw(t, "second"), rapid.Bool().Draw(t, "malformed"), text.Draw(t, "from"), text.Draw(t, "asserted")}
		same(t, start, start.json())
		count := func(name string) sip.MediaCount {
			return sip.MediaCount{
				Packets: number.Draw(t, name+" packets"), Bytes: number.Draw(t, name+" bytes"), Lost: number.Draw(t, name+" lost"),
				Foreign: number.Draw(t, name+" foreign"), Jitter: length.Draw(t, name+" jitter"),
			}
		}
		media := mediaData{count("caller"), count("endpoint")}
		same(t, media, media.json())
		end := endData{
			Began: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "began"), rapid.Int64Range(0, 1e9).Draw(t, "nanoseconds")).UTC(), Setup: length.Draw(t, "setup"),
			Attempts: rapid.Int().Draw(t, "attempts"), Partners: rapid.Int().Draw(t, "partners"), Rescues: rapid.Int().Draw(t, "rescues"),
			From: text.Draw(t, "from"), Asserted: text.Draw(t, "asserted"), Malformed: rapid.Bool().Draw(t, "malformed"), Talked: rapid.SliceOf(rapid.String()).Draw(t, "talked"),
		}
		if rapid.Bool().Draw(t, "no beginning") {
			end.Began = time.Time{}
		}
		same(t, end, end.json())
		steps := rapid.SliceOf(rapid.Custom(func(t *rapid.T) policy.Step {
			return policy.Step{Endpoint: policy.EndpointName(text.Draw(t, "endpoint")), Partner: rapid.Bool().Draw(t, "partner"), Why: text.Draw(t, "why")}
		})).Draw(t, "steps")
		plan := []planStep{}
		for _, s := range steps {
			plan = append(plan, planStep{string(s.Endpoint), s.Partner, s.Why})
		}
		same(t, plan, planSteps(steps))
	})
}

// same wants got to be read as what encoding/json makes of want.
func same[T any](t *rapid.T, want T, got json.RawMessage) {
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var read, should T
	if err := json.Unmarshal(got, &read); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if err := json.Unmarshal(text, &should); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, should) {
		t.Fatalf("%s is read as %+v, want %+v", got, read, should)
	}
}
