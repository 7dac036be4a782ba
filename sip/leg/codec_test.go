package leg

import (
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// fill sets every field of v to something that is not zero, so that a new field is in the round trip from its first day.
func fill(t *rapid.T, v reflect.Value, name string) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(1, 4e9).Draw(t, name), rapid.Int64Range(0, 999999999).Draw(t, name)).UTC()))
		return
	case State:
		v.SetUint(uint64(rapid.SampledFrom([]State{Confirmed, Ended}).Draw(t, name)))
		return
	case Party:
		v.SetUint(uint64(rapid.SampledFrom([]Party{Us, Them}).Draw(t, name)))
		return
	case Carrier:
		v.SetUint(uint64(rapid.SampledFrom([]Carrier{inInvite, inInviteResponse, inUpdate, inPrack}).Draw(t, name)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), name+"."+v.Type().Field(i).Name)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), name)
	case reflect.Slice:
		n := rapid.IntRange(1, 3).Draw(t, name)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i), fmt.Sprintf("%s[%d]", name, i))
		}
	case reflect.String:
		v.SetString(rapid.StringN(1, 20, -1).Draw(t, name))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint32:
		v.SetUint(uint64(rapid.Uint8Range(1, 255).Draw(t, name)))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64Min(1).Draw(t, name))
	case reflect.Int64:
		v.SetInt(rapid.Int64Min(1).Draw(t, name))
	default:
		t.Fatalf("%s is of a kind that this test does not fill: %s", name, v.Kind())
	}
}

func TestEveryFieldSurvivesARestart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := new(Leg)
		fill(t, reflect.ValueOf(l).Elem(), "Leg")
		data, err := Encode(l)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, back); diff != "" {
			t.Fatalf("a leg changed on disk (-before +after):\n%s", diff)
		}
	})
}

// TestAnOldLegIsStillRead reads a leg that was written once and is never rewritten: a renamed key would lose a call at the next upgrade.
func TestAnOldLegIsStillRead(t *testing.T) {
	data, err := os.ReadFile("testdata/leg-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	var empty func(v reflect.Value, name string)
	empty = func(v reflect.Value, name string) {
		switch {
		case v.Kind() == reflect.Pointer && !v.IsNil():
			empty(v.Elem(), name)
		case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
			for i := range v.NumField() {
				empty(v.Field(i), name+"."+v.Type().Field(i).Name)
			}
		case v.IsZero():
			t.Errorf("%s is empty after reading the old leg; if it is a new field, add it to the file", name)
		}
	}
	empty(reflect.ValueOf(l), "Leg")
}

func TestDecodeRefusesWhatIsNoLeg(t *testing.T) {
	for _, tt := range []struct{ why, data string }{
		{"no JSON", "{"},
		{"no Call-ID", `{"local_tag":"x"}`},
		{"no local tag", `{"call_id":"x"}`},
		{"a state from the future", `{"call_id":"x","local_tag":"y","state":9}`},
		{"an offer by nobody we know", `{"call_id":"x","local_tag":"y","offer":{"by":9}}`},
		{"an offer in a message we don't know", `{"call_id":"x","local_tag":"y","offer":{"in":9}}`},
	} {
		if l, err := Decode([]byte(tt.data)); err == nil {
			t.Errorf("%s: got %+v, want an error", tt.why, l)
		}
	}
}

func TestNumbersJumpAheadAfterARestart(t *testing.T) {
	l := NewUAC(Call{CallID: "c", LocalTag: "us", CSeq: 1})
	if _, err := l.Request("INVITE", []byte("o")); err != nil {
		t.Fatal(err)
	}
	l.Restored()
	if got := l.LocalCSeq; got != 1 {
		t.Errorf("CSeq of an INVITE that still rings: got %d, want 1, because its CANCEL needs it", got)
	}
	l.Response(time.Time{}, Response{Method: "INVITE", CSeq: 1, Code: 200, ToTag: "t", SDP: []byte("a")})
	l.Restored()
	if line, err := l.Request("BYE", nil); err != nil || line.CSeq <= 1000 {
		t.Errorf("CSeq after a restart: got %d (%v), want more than 1000, because requests may have gone out after the leg was written", line.CSeq, err)
	}
	if l.SDPVersion != 1000 {
		t.Errorf("o= version after a restart: got %d, want 1000, for the same reason", l.SDPVersion)
	}
}

// FuzzDecode: a leg may come from another node or from a disk. Whatever it says, nothing that is asked of it may panic or spin.
func FuzzDecode(f *testing.F) {
	if data, err := os.ReadFile("testdata/leg-v1.json"); err == nil {
		f.Add(data)
	}
	f.Add([]byte(`{"call_id":"c","local_tag":"t","reliable":{"queue":[{}]},"pending_2xx":{},"offer":{"by":2,"in":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(l)
		if err != nil {
			return // a time that JSON cannot write
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("what we wrote is not read: %v", err)
		}
		now := time.Date(2026, 11, 5, 3, 0, 0, 0, time.UTC)
		l.Tick(now, nil)
		l.Receive(Incoming{Method: "INVITE", CSeq: 9, SDP: []byte("o")}, 1)
		l.Reply(now, Reply{Method: "INVITE", CSeq: 9, Code: 200, SDP: []byte("a")})
		l.Acked(9, nil)
		l.Pracked(now, 10, RAck{RSeq: 1, CSeq: 9, Method: "INVITE"}, nil, nil)
		if _, err := l.Request("UPDATE", []byte("o")); err == nil {
			l.Response(now, Response{Method: "UPDATE", CSeq: l.LocalCSeq, Code: 200, SDP: []byte("a")})
		}
		if next := l.Next(); !next.IsZero() && !next.After(now) {
			if l.Tick(now, nil); l.Next().Equal(next) {
				t.Fatalf("Tick leaves the deadline %s where it is", next)
			}
		}
		l.End()
	})
}
