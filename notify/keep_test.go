package notify

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzBook: whatever stands in the file, there is a desk that tells and can be acknowledged, it is written again as it was read, and who must be told is
// told in time.
func FuzzBook(f *testing.F) {
	at := time.Date(2026, 11, 23, 14, 2, 15, 0, time.UTC)
	good, err := json.Marshal(book{Day: "1123", Count: 2, Threads: []*thread{
		{
			Thread: Thread{ID: "1123-1", Key: "outage", Code: Diverted, Severity: Critical, Text: "down", Details: []string{"a"}, Facts: json.RawMessage(`{"a":1}`), Began: at, Updated: at, Version: 2},
			Heard:  map[string]heard{"hook": {Version: 2, Number: 3, At: at, Code: Diverted}},
		},
		{Thread: Thread{ID: "1123-2", Code: HoldEnded, Severity: Info, Text: "over", Began: at, Updated: at, Version: 1, Over: true, By: "alice", AckedAt: at}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-9])
	f.Add([]byte("null"))
	f.Add([]byte(`{"threads":[null]}`))
	f.Add([]byte(`{"threads":[{"id":"1","severity":"critical","code":"calls-diverted","version":1,"heard":{"hook":{"version":1,"code":"calls-diverted","at":"9999-12-31T23:59:59Z"}}}]}`))
	f.Add([]byte(`{"count":-9223372036854775808,"threads":[{"severity":"critical","facts":[],"version":-1},{"severity":"worst"}]}`))
	f.Add([]byte(`{"day":"1123","threads":[{"id":"","severity":"warning","updated":"0001-01-01T00:00:00Z","heard":{"hook":{}}}]}`))
	path := filepath.Join(f.TempDir(), "notices.state")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		e := &ear{}
		d, err := Open(Config{Path: path})
		if _, stat := os.Stat(path); (err == nil) != (stat == nil) {
			t.Fatalf("reading said %v, and the file is there: %v; want it moved aside when it cannot be read, and only then", err, stat == nil)
		}
		const repeat = 10 * time.Minute
		d.mu.Lock()
		d.receivers = []Receiver{{Name: "hook", Way: e, Repeat: repeat}}
		for _, th := range d.threads {
			if due, waits := th.due(&d.receivers[0]); waits && due.After(time.Now().Add(max(repeat, settle))) {
				t.Errorf("%s is to be told at %v, and it is %v", th.ID, due, time.Now())
			}
		}
		first := d.snapshot()
		d.mu.Unlock()

		if err := replaceFile(path, first); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := (&keeper{path: path}).read()
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if a, b := mustJSON(t, first), mustJSON(t, back); a != b {
			t.Fatalf("it changed when it was read again:\n%s\n%s", a, b)
		}

		d.Tell(outage("down again"))
		if !d.Open("outage") {
			t.Error("an outage was told and is not open")
		}
		before := len(d.Threads())
		if before > mostThreads {
			t.Errorf("%d threads are kept; want %d at most", before, mostThreads)
		}
		_, _, _ = d.next(time.Now(), &d.receivers[0])
		for _, th := range d.Threads() {
			if th.ID == "" || len(th.ID) > 100 {
				t.Errorf("a thread is called %.200q: nobody can say that", th.ID)
			}
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, th := range d.threads {
			th.settled(time.Now(), d.receivers)
		}
	})
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
