package journal

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// BenchmarkAppend is what a call pays for an entry: nothing but this happens on its goroutine.
func BenchmarkAppend(b *testing.B) {
	book := New(Config{Path: filepath.Join(b.TempDir(), "nines.db"), Queue: 1 << 30, Log: zerolog.Nop()})
	entries := callEntries(1, began)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%8192 == 0 { // nobody writes: what waits is thrown away, as take would
			book.queue = book.queue[:0]
		}
		book.Append(entries[i%len(entries)])
	}
}

// BenchmarkAppendToAFullBook is what a call pays when the disk is dead.
func BenchmarkAppendToAFullBook(b *testing.B) {
	book := New(Config{Path: filepath.Join(b.TempDir(), "nines.db"), Queue: 1, Log: zerolog.Nop()})
	entries := callEntries(1, began)
	b.ReportAllocs()
	for b.Loop() {
		book.Append(entries[0])
	}
}

// BenchmarkWrite is what the writing goroutine does for an entry, in batches as they come at 200 calls a second.
func BenchmarkWrite(b *testing.B) {
	s, err := openStore(filepath.Join(b.TempDir(), "nines.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	const batch = 400
	var entries []Entry
	n := 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += batch {
		b.StopTimer()
		entries = entries[:0]
		for ; len(entries) < batch; n++ {
			entries = append(entries, callEntries(n, began.Add(time.Duration(n)*5*time.Millisecond))...)
		}
		b.StartTimer()
		if err := s.write(entries); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(s.size())/float64(s.chain.seq), "bytes/entry")
}

var million = flag.Int("million", 0, "TestABigBook makes a book of so many million entries and measures what reading it takes")

// A big book is that of a room with 4,320 calls a day, whose primary is dead for a night each ten days.
const (
	apart     = 20 * time.Second
	bigOutage = 16*time.Hour + 15*time.Minute
)

var bigSetup = Setup{
	Places: []Place{{Name: "control-room", Limit: 60}, {Name: "standby-room", Limit: 30}, {Name: "warwickshire", Partner: true, Limit: 12}},
	First:  map[string]string{"999": "control-room"},
}

func goesDown(at time.Time) []Entry {
	return []Entry{
		{At: at, Type: KeepAliveFailure, Endpoint: "control-room", Outcome: "silent"},
		{At: at.Add(time.Second), Type: ServiceStateChange, Endpoint: "control-room", What: "up→down", Why: "3 probes running were silent"},
	}
}

func backAgain(at time.Time) []Entry {
	return []Entry{
		{At: at, Type: ServiceStateChange, Endpoint: "control-room", What: "down→up", Why: "5 probes running were answered"},
		{At: at.Add(time.Second), Type: Notice, What: "proven", Endpoint: "control-room", Why: "3 calls talked"},
	}
}

// divertedCall is a call that a partner answers.
func divertedCall(n int, at time.Time) []Entry {
	all := callEntries(n, at)
	for i := range all {
		if all[i].Endpoint != "" {
			all[i].Endpoint, all[i].Partner = "warwickshire", true
		}
	}
	return append(all, Entry{At: at, Type: AttemptOutcome, Call: all[0].Call, Endpoint: "control-room", Attempt: 1, Outcome: "silent"})
}

// TestABigBook measures; it fails only when the book is wrong.
func TestABigBook(t *testing.T) {
	if *million == 0 {
		t.Skip("a measurement: go test ./journal -run TestABigBook -million 10 -v")
	}
	path := filepath.Join(t.TempDir(), "nines.db")
	if dir := os.Getenv("BIGBOOK"); dir != "" {
		path = filepath.Join(dir, "nines.db")
	}
	s, err := openStore(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	n, nights := 0, 0
	for s.chain.seq < int64(*million)*1e6 {
		var entries []Entry
		for range 125 {
			at := began.Add(time.Duration(n) * apart)
			calls := callEntries(n, at)
			switch night := at.Sub(began) % (10 * 24 * time.Hour); { // each tenth day the first room is dead from 16:30 to 08:45
			case night < bigOutage && night+apart >= bigOutage:
				entries = append(entries, backAgain(at)...)
			case night < bigOutage && night < apart:
				entries = append(entries, goesDown(at)...)
				nights++
				fallthrough
			case night < bigOutage:
				calls = divertedCall(n, at)
			}
			entries = append(entries, calls...)
			n++
		}
		if err := s.write(entries); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(start)
	t.Logf("%d entries written in %s: %.1f µs each, %d bytes each", s.chain.seq, took, float64(took.Microseconds())/float64(s.chain.seq), s.size()/s.chain.seq)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	clock := func(what string, do func() int) {
		start := time.Now()
		got := do()
		t.Logf("%-32s %8d entries in %s", what, got, time.Since(start).Round(10*time.Microsecond))
	}
	count := func(q Query) func() int {
		return func() int {
			got := 0
			for _, err := range r.Entries(ctx, q) {
				if err != nil {
					t.Fatal(err)
				}
				got++
			}
			return got
		}
	}
	middle := began.Add(time.Duration(n/2) * apart)
	fold := func(since, until time.Time, want func(i *Incident) bool) func() int {
		return func() int {
			f, err := r.Incidents(ctx, bigSetup, since, until, 0)
			if err != nil {
				t.Fatal(err)
			}
			report := Report{Node: "big", Made: began}
			for _, report.Incident = range f.List() {
				if !want(report.Incident) {
					t.Errorf("the incident is %+v", report.Incident)
				}
				if err := errors.Join(report.WriteHTML(io.Discard), report.WriteMarkdown(io.Discard)); err != nil {
					t.Fatal(err)
				}
			}
			return len(f.List())
		}
	}
	clock("a call", count(Query{Call: "c004711"}))
	clock("a Call-ID", count(Query{Call: "c004712@bt"}))
	clock("a number", count(Query{Number: "01905334711"}))
	clock("a minute", count(Query{Since: middle, Until: middle.Add(time.Minute)}))
	clock("a day", count(Query{Since: middle, Until: middle.Add(24 * time.Hour)}))
	clock("the newest hundred", count(Query{Newest: true, Limit: 100}))
	clock("operators' acts of all time", count(Query{Types: []Type{OperatorAct}}))
	night := began.Add(10 * 24 * time.Hour)
	whole := func(i *Incident) bool { return i.Calls.Touched > 2900 && !i.Restored.IsZero() }
	clock("a day's report (incidents)", fold(night.Add(-time.Hour), night.Add(23*time.Hour), whole))
	clock("a month's incidents", fold(began.Add(time.Duration(n)*apart-31*24*time.Hour), time.Time{}, func(i *Incident) bool { return i.Calls.Touched > 0 }))
	clock("all incidents", fold(time.Time{}, time.Time{}, func(i *Incident) bool { return i.Calls.Touched > 0 }))
	clock("a month's ledger (partners)", func() int {
		uses, err := r.Ledger(ctx, bigSetup, night, night.Add(31*24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return len(uses)
	})
	clock("everything", count(Query{}))
	clock("verify", func() int {
		v, err := r.Verify(ctx)
		if err != nil || !v.OK {
			t.Fatalf("%v: %+v", err, v.Broken)
		}
		return int(v.Last)
	})
}
