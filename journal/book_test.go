package journal

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

var began = time.Date(2026, 11, 23, 16, 30, 0, 123456789, time.UTC)

// shelf is a folder with a book, and its log.
type shelf struct {
	t    *testing.T
	path string
	log  *syncedLog
	cfg  Config
}

type syncedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *syncedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newShelf(t *testing.T) *shelf {
	dir := t.TempDir()
	s := &shelf{t: t, path: filepath.Join(dir, "nines.db"), log: &syncedLog{}}
	s.cfg = Config{Path: s.path, Key: filepath.Join(dir, "journal.key"), Every: time.Millisecond, Log: zerolog.New(io.MultiWriter(s.log, testWriter{t}))}
	return s
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

// open runs the book until the function that it returns is called.
func (s *shelf) open() (*Book, func()) {
	b := New(s.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		b.Run(ctx)
	}()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	s.t.Cleanup(stop)
	return b, stop
}

// commit puts an entry on the disk, with all that came before it.
func (s *shelf) commit(b *Book, e Entry) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.Commit(ctx, e); err != nil {
		s.t.Fatalf("commit: %v", err)
	}
}

func (s *shelf) read(q Query) []Entry {
	s.t.Helper()
	r, err := OpenReader(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	var all []Entry
	for e, err := range r.Entries(context.Background(), q) {
		if err != nil {
			s.t.Fatalf("after %d entries: %v", len(all), err)
		}
		all = append(all, e)
	}
	return all
}

func (s *shelf) verify(known ...Signature) Verdict {
	s.t.Helper()
	r, err := OpenReader(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	v, err := r.Verify(context.Background(), known...)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *shelf) sound() Verdict {
	s.t.Helper()
	v := s.verify()
	if !v.OK {
		s.t.Fatalf("the book is broken at entry %d of %s: %s", v.Broken.Seq, v.Broken.At, v.Broken.Why)
	}
	return v
}

// call is what the book says of one call.
func callEntries(n int, at time.Time) []Entry {
	call := fmt.Sprintf("c%06d", n)
	caller := fmt.Sprintf("+44190533%04d", n%10000)
	return []Entry{
		{At: at, Type: CallStart, Call: call, CallID: call + "@bt", Trunk: "bt", Route: "999", Class: "emergency", Caller: caller, Called: "999"},
		{At: at, Type: RouteRule, Call: call, What: "control-room, standby-room", Why: "control-room is up and first in the file"},
		{At: at, Type: Route, Call: call, CallID: call + ".1@nines", Endpoint: "control-room", Attempt: 1, Why: "it is first"},
		{At: at.Add(200 * time.Millisecond), Type: CallStateChange, Call: call, What: "ringing", Endpoint: "control-room"},
		{At: at.Add(2 * time.Second), Type: AttemptOutcome, Call: call, Endpoint: "control-room", Attempt: 1, Outcome: "answered", Code: 200, Took: 2 * time.Second},
		{At: at.Add(2 * time.Second), Type: CallStateChange, Call: call, What: "answered", Endpoint: "control-room", Took: 2 * time.Second},
		{At: at.Add(time.Minute), Type: MediaEnd, Call: call, Endpoint: "control-room", Data: []byte(`{"packets":2900,"lost":0}`)},
		{At: at.Add(time.Minute), Type: CallEnd, Call: call, Class: "emergency", Outcome: "answered", Code: 200, Took: 58 * time.Second, Why: "the caller hung up"},
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	s := newShelf(t)
	b, stop := s.open()
	want := callEntries(1, began)
	want = append(want, Entry{At: began, Type: "NinesOfTomorrow", Partner: true, Count: 3, By: "alice", What: "hold", Code: -1, Took: -time.Second})
	for _, e := range want[:len(want)-1] {
		b.Append(e)
	}
	s.commit(b, want[len(want)-1])
	for i := range want {
		want[i].Seq = int64(i + 1)
	}
	same := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	if diff := cmp.Diff(s.read(Query{Mask: Full}), want, same); diff != "" {
		t.Errorf("the book changed what was told (-got +want):\n%s", diff)
	}
	v := s.sound()
	if v.First != 1 || v.Last != int64(len(want)) || v.Head != b.Health().Head {
		t.Errorf("the verdict is %+v, want entries 1 to %d and the head %s", v, len(want), b.Health().Head)
	}
	stop()
	b, _ = s.open()
	s.commit(b, Entry{Type: OperatorAct, What: "hold", By: "bob"})
	got := s.read(Query{After: int64(len(want))})
	if len(got) != 1 || got[0].By != "bob" || got[0].Seq != int64(len(want)+1) {
		t.Errorf("after a restart the book goes on with %+v", got)
	}
	s.sound()
	if info, err := os.Stat(s.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the book's file is %v, %v; nobody else must read callers' numbers", info.Mode(), err)
	}
}

func TestQueriesFindWhatTheyAskFor(t *testing.T) {
	s := newShelf(t)
	b, _ := s.open()
	for n := range 500 {
		for _, e := range callEntries(n, began.Add(time.Duration(n)*time.Minute)) {
			b.Append(e)
		}
	}
	s.commit(b, Entry{At: began.Add(500 * time.Minute), Type: OperatorAct, What: "hold", Endpoint: "control-room", By: "alice"})
	tests := []struct {
		name string
		q    Query
		want int
	}{
		{"one call by our name", Query{Call: "c000123"}, 8},
		{"one leg by its Call-ID", Query{Call: "c000123.1@nines"}, 1},
		{"a call that never was", Query{Call: "c999999"}, 0},
		{"a number as it was written", Query{Number: "+441905330007"}, 1},
		{"a number as it is dialled at home", Query{Number: "01905 330007"}, 1},
		{"a number as it is dialled abroad", Query{Number: "0044 1905 330007"}, 1},
		{"somebody else's number with the same end", Query{Number: "+491905330007"}, 0},
		{"what was called", Query{Number: "999"}, 500},
		{"a type", Query{Types: []Type{CallEnd, OperatorAct}}, 501},
		{"an hour", Query{Since: began.Add(time.Hour), Until: began.Add(2 * time.Hour)}, 480},
		{"an endpoint", Query{Endpoint: "control-room", Types: []Type{OperatorAct}}, 1},
		{"the newest", Query{Newest: true, Limit: 10}, 10},
		{"after a number", Query{After: 3990}, 11},
		{"before a number", Query{Before: 11}, 10},
	}
	for _, tt := range tests {
		got := s.read(tt.q)
		if len(got) != tt.want {
			t.Errorf("%s: %d entries, want %d", tt.name, len(got), tt.want)
		}
		for i := 1; i < len(got); i++ {
			if (got[i-1].Seq < got[i].Seq) == tt.q.Newest {
				t.Errorf("%s: entry %d stands before %d", tt.name, got[i-1].Seq, got[i].Seq)
				break
			}
		}
	}
	r, err := OpenReader(s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	minutes, err := r.Minutes(context.Background(), began.Add(10*time.Minute), began.Add(11*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range minutes {
		if m.What == "answered" && m.Who == "control-room" && m.N == 1 {
			return
		}
	}
	t.Errorf("the minutes are %+v, want one call answered by control-room in each", minutes)
}

func TestNumbersAreMasked(t *testing.T) {
	s := newShelf(t)
	b, _ := s.open()
	b.Append(Entry{At: began, Type: CallSignalingMessage, Call: "c1", Data: []byte(`{"text":"From: <sip:+441905330007@bt>"}`)})
	s.commit(b, Entry{At: began, Type: CallStart, Call: "c1", Caller: "+441905330007", Called: "999", Why: "+441905330007 called 999"})
	for mask, want := range map[Mask]string{Full: "+441905330007", LastThree: "…007", NoNumbers: "(number)"} {
		got := s.read(Query{Mask: mask})
		if got[1].Caller != want || got[1].Called != "999" {
			t.Errorf("with mask %d the caller is %q and the called %q; want %q and 999", mask, got[1].Caller, got[1].Called, want)
		}
		if (got[0].Data != nil) != (mask == Full) {
			t.Errorf("with mask %d the text of a message is %q", mask, got[0].Data)
		}
		if got[1].Why != "(number) called 999" {
			t.Errorf("the sentence says %q: a number in it could never be erased", got[1].Why)
		}
	}
}

func TestTheHeadIsSignedAndPrinted(t *testing.T) {
	s := newShelf(t)
	b, _ := s.open()
	s.commit(b, Entry{At: began, Type: OperatorAct, By: "alice"})
	if err := b.do(context.Background(), func(*store) error { return b.signHead(time.Now()) }); err != nil {
		t.Fatal(err)
	}
	v := s.sound()
	if v.Heads != 1 || len(v.Signed) != 1 || v.Signed[0].Seq != 1 || !v.Signed[0].Valid() {
		t.Fatalf("the verdict is %+v, want one signed head of entry 1", v)
	}
	if !strings.Contains(s.log.String(), v.Signed[0].Sig) {
		t.Error("the log does not have the signed head")
	}
	if info, err := os.Stat(s.cfg.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	if v := s.verify(v.Signed[0]); !v.OK {
		t.Errorf("the head that was kept elsewhere is not found: %+v", v.Broken)
	}
	other := v.Signed[0]
	other.Hash = strings.Repeat("0", 64)
	if v := s.verify(other); v.OK || v.Broken.Seq != 1 {
		t.Errorf("a book that is not the one that was signed passes: %+v", v)
	}
	other.Seq = 99
	if v := s.verify(other); v.OK {
		t.Error("a book whose end was torn out passes")
	}
}
