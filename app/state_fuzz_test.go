package app

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"nines/health"
	"nines/journal"
	"nines/policy"
	"nines/sip"
)

// left puts what a run before, or a bad disk, may have left into a file.
func left(t *testing.T, path string, text []byte) {
	t.Helper()
	aside, err := filepath.Glob(path + ".corrupt-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range aside {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// FuzzCallBackFile: whatever stands in callbacks.state, the list begins, each line that waits can be named and cleared by an operator, a call that fails
// is listed, and the list is written and read again as it is.
func FuzzCallBackFile(f *testing.F) {
	at := time.Date(2026, 11, 23, 14, 2, 15, 0, time.UTC)
	list := journal.NewCallBacks()
	for i, e := range []journal.Entry{
		{Type: journal.CallStart, Call: "a", Class: "emergency", Caller: "+441905001001", Called: "999"},
		{Type: journal.CallEnd, Call: "a", Class: "emergency", Caller: "+441905001001", Outcome: "cancelled"},
		{Type: journal.CallEnd, Call: "b", Class: "emergency", Outcome: "refused", Code: 503, Data: json.RawMessage(`{"from":"sip:anonymous@x"}`)},
		{Type: journal.CallEnd, Call: "c", Class: "emergency", Caller: "+441905001002", Outcome: "lost_talking", Took: time.Minute},
		{Type: journal.OperatorAct, What: "callback", Call: "c", By: "alice", Why: "spoken to"},
		{Type: journal.CallStart, Call: "d", Class: "emergency", Caller: "+441905001003"},
		{Type: journal.AnnouncementStart, Class: "routine", Caller: "+441905001004"},
	} {
		e.At = at.Add(time.Duration(i) * time.Second)
		list.Fold(e)
	}
	good, err := json.Marshal(list.State(at.Add(time.Minute)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("null"))
	f.Add([]byte(`{"at":"9999-12-31T23:59:59Z","lines":[{"id":"a","number":"999","missed":[{"call":"a","ended":"9999-12-31T23:59:59Z"}]}]}`))
	f.Add([]byte(`{"lines":[{"missed":[{}]},{"id":"a","missed":[{"call":"b"}]},{"id":"a","missed":[]}]}`))
	f.Add([]byte(`{"lines":[{"id":"a","number":"1","missed":[{"call":"a"}]},{"id":"a","number":"1","missed":[{"call":"a"}]}],"open":[{},{"start":{"call":"a","class":"emergency","caller":"1"},"answered":"0001-01-01T00:00:01Z"}]}`))
	f.Add([]byte(`{"lines":[{"id":"a","number":"0","missed":[{"call":"a"}],"cleared":{}}],"announced":{"":"9999-12-31T23:59:59Z"},"redials":-1}`))
	f.Add([]byte(`{"at":"-0001-01-01T00:00:00Z"}`))
	path := filepath.Join(f.TempDir(), callBackName)
	f.Fuzz(func(t *testing.T, text []byte) {
		left(t, path, text)
		now := time.Now()
		d := newCallBackDesk(path, time.Hour, zerolog.Nop())
		d.restore(now)
		if d.since.After(now) {
			t.Errorf("the book is read from %v on, and it is %v", d.since, now)
		}
		d.catchUp(func(time.Time, func(journal.Entry)) error { return nil }, func(string) bool { return false })

		d.fold(journal.Entry{At: now, Type: journal.CallEnd, Call: "a call of now", Class: "emergency", Caller: "+447700900123", Outcome: "cancelled"})
		if _, ok := d.list.Find("a call of now"); !ok {
			t.Error("a call that failed is not on the list")
		}
		d.look(now)
		if err := d.write(); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		s, err := readCallBacks(path)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(d.list.Lines(true), journal.RestoreCallBacks(s).Lines(true)); diff != "" {
			t.Fatalf("the list changed when it was read again:\n%s", diff)
		}

		for _, l := range d.list.Lines(false) {
			// As CallBackDone does. Lines with the same name, or the same number, are cleared one after the other.
			found, ok := d.list.Find(l.ID)
			if !ok {
				t.Fatalf("line %q of %q waits and cannot be found", l.ID, l.Number)
			}
			open := d.list.Open()
			d.fold(journal.Entry{At: time.Now(), Type: journal.OperatorAct, What: "callback", By: "alice", Why: "spoken to", Call: found.ID, Caller: found.Number})
			if d.list.Open() != open-1 {
				t.Fatalf("line %q of %q was cleared, and %d wait of %d", found.ID, found.Number, d.list.Open(), open)
			}
		}
		d.look(now.Add(2 * time.Hour))
		if n := d.list.Len(); n != 0 {
			t.Errorf("%d lines are kept for longer than callbacks.keep", n)
		}
	})
}

// FuzzTreatsFile: whatever stands in treats.state, it is refused or orders that an operator could have given; they stand no longer than was said, and are
// written and read again as they are.
func FuzzTreatsFile(f *testing.F) {
	at := time.Date(2026, 11, 23, 14, 2, 15, 0, time.UTC)
	good, err := json.Marshal([]sip.Treat{{Route: "101", By: "alice", Why: "999 is down", From: at, Until: at.Add(time.Hour)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[1:])
	f.Add(append(good, good...))
	f.Add([]byte("null"))
	f.Add([]byte(`[{"route":"101","by":"a","why":"b","from":"0001-01-01T00:00:00Z","until":"9999-12-31T23:59:59Z"}]`))
	f.Add([]byte(`[{"route":"101","by":"a","why":"b","from":"9999-12-31T00:00:00Z","until":"9999-12-31T23:59:59Z"}]`))
	f.Add([]byte(`[{"route":"101","by":"a","why":"b","from":"2026-11-23T14:00:00Z","until":"2026-11-23T14:00:00Z"},{}]`))
	path := filepath.Join(f.TempDir(), treatsName)
	f.Fuzz(func(t *testing.T, text []byte) {
		left(t, path, text)
		all, err := readTreats(path)
		if err != nil {
			return
		}
		said := make([]time.Duration, len(all))
		for i := range all {
			said[i] = all[i].Until.Sub(all[i].From)
		}
		now := time.Now()
		fromNow(now, all)
		for i := range all {
			switch left := all[i].Until.Sub(now); {
			case left > said[i] || left > maxHold:
				t.Errorf("an order for %v stands for %v more", said[i], left)
			case all[i].Until.Sub(all[i].From) != said[i]:
				t.Errorf("an order for %v is one for %v now", said[i], all[i].Until.Sub(all[i].From))
			}
			all[i].From, all[i].Until = all[i].From.Round(0).UTC(), all[i].Until.Round(0).UTC()
		}
		again, err := json.Marshal(all)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		left(t, path, again)
		back, err := readTreats(path)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, again)
		}
		if diff := cmp.Diff(all, back); diff != "" {
			t.Errorf("it changed when it was read again:\n%s", diff)
		}
	})
}

// judged is a judge as memory sees it.
type judged struct {
	judge    *health.Judge
	restored int
}

func (j *judged) HealthState(context.Context) (health.State, error) { return j.judge.State(), nil }

func (j *judged) RestoreHealth(now time.Time, s health.State) {
	j.restored++
	j.judge.Restore(now, s)
}

// FuzzMemoryFile: whatever stands in health.state, it is taken or moved aside and said; nobody is held for longer than an operator may say, and what is
// believed then is written down and read again.
func FuzzMemoryFile(f *testing.F) {
	now := time.Now()
	good, err := health.EncodeState(stateOf(oneHold(now)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{})
	for _, body := range []string{
		`{"holds":[{"endpoint":"control-room","by":"a","why":"b","from":"0001-01-01T00:00:00Z","until":"9999-12-31T23:59:59Z"}]}`,
		`{"holds":[{"endpoint":"control-room","by":"a","why":"b","from":"9999-12-31T00:00:00Z","until":"9999-12-31T23:59:59Z"}],"trips":[{"endpoint":"control-room","since":"9999-12-31T23:59:59Z","evidence":"x","hold_down":9223372036854775807}]}`,
	} {
		f.Add(sealed(body))
	}
	path := filepath.Join(f.TempDir(), memoryName)
	f.Fuzz(func(t *testing.T, text []byte) {
		now := time.Now()
		for _, text := range [][]byte{text, sealed(string(text))} { // a checksum is not found by chance
			left(t, path, text)
			j := &judged{judge: health.New(now, health.Config{Endpoints: []health.Endpoint{{Name: "control-room"}}})}
			m := newMemory(path, j, zerolog.Nop())
			m.restore()
			if taken := j.restored == 1; taken != there(path) || taken != (len(m.words()) == 0) {
				t.Fatalf("taken: %v, still there: %v, said: %q; want it taken, or moved aside and said", taken, there(path), m.words())
			}
			for _, h := range j.judge.State().Holds {
				if h.Endpoint != policy.EndpointName("control-room") || h.Until.Sub(now) > maxHold {
					t.Errorf("%s is held for %v", h.Endpoint, h.Until.Sub(now))
				}
			}
			if err := m.keep(t.Context()); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			want := j.judge.State()
			back, err := readMemory(path)
			if err != nil && !os.IsNotExist(err) {
				t.Fatalf("what was written cannot be read: %v", err)
			}
			if len(back.Holds) != len(want.Holds) || len(back.Trips) != len(want.Trips) {
				t.Errorf("it changed when it was read again: %+v became %+v", want, back)
			}
		}
	})
}

// sealed puts the checksum of a body before it.
func sealed(body string) []byte {
	return fmt.Appendf(nil, "nines-health-state 1 %x\n%s", sha256.Sum256([]byte(body)), body)
}
