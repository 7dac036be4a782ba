package journal

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// tidyAt has the book forget what it would at a time.
func (s *shelf) tidyAt(b *Book, now time.Time) {
	s.t.Helper()
	for more := true; more; {
		if err := b.do(context.Background(), func(st *store) error {
			st.key = b.key
			var err error
			more, err = b.tidySlice(now)
			return err
		}); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestWhatIsOldIsForgottenAndTheRestIsProven(t *testing.T) {
	s := newShelf(t)
	s.cfg.Keep = 30 * 24 * time.Hour
	b, stop := s.open()
	for n := range 2000 { // one call every hour, for 83 days
		for _, e := range callEntries(n, began.Add(time.Duration(n)*time.Hour)) {
			b.Append(e)
		}
		if n%40 == 0 {
			s.commit(b, Entry{At: began.Add(time.Duration(n) * time.Hour), Type: OperatorAct})
		}
	}
	s.commit(b, Entry{At: began.Add(2000 * time.Hour), Type: OperatorAct, By: "alice"})
	before := s.sound()
	s.tidyAt(b, began.Add(2000*time.Hour))
	v := s.sound()
	limit := began.Add(2000 * time.Hour).Add(-s.cfg.Keep)
	if !v.Cut || v.First < 9000 || v.From.Before(limit.Add(-10*24*time.Hour)) || v.To.Before(limit) {
		t.Errorf("after 83 days with 30 days kept the book has entries %d to %d, from %s; it had %d", v.First, v.Last, v.From, before.Last)
	}
	cuts := s.read(Query{Types: []Type{Cut}})
	if len(cuts) == 0 || !strings.Contains(cuts[len(cuts)-1].Why, "older than 30d") {
		t.Errorf("the cuts in the book are %+v", cuts)
	}
	if got := s.read(Query{Call: "c000001"}); len(got) != 0 {
		t.Errorf("a forgotten call is still found: %+v", got)
	}
	if got := s.read(Query{Call: "c001999"}); len(got) != 8 {
		t.Errorf("the newest call has %d entries, want 8", len(got))
	}
	stop()
	b, _ = s.open()
	s.commit(b, Entry{Type: OperatorAct})
	s.sound()
}

func TestABookThatIsTooBigForgetsItsBeginning(t *testing.T) {
	s := newShelf(t)
	s.cfg.MaxBytes = 2 << 20
	b, _ := s.open()
	for n := range 12_000 {
		for _, e := range callEntries(n, began) {
			b.Append(e)
		}
		if n%100 == 0 {
			s.commit(b, Entry{At: began, Type: OperatorAct})
		}
	}
	s.commit(b, Entry{At: began, Type: OperatorAct, By: "alice"})
	s.tidyAt(b, began)
	if err := b.do(context.Background(), func(st *store) error {
		var busy, x, y int
		return st.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &x, &y)
	}); err != nil {
		t.Fatal(err)
	}
	v := s.sound()
	if size := b.Health().Size; size > 3<<20 || !v.Cut || v.Last-v.First < 4000 {
		t.Errorf("the book has %d bytes and entries %d to %d; want about 2 MB", size, v.First, v.Last)
	}
}

func TestTheTextOfMessagesIsForgottenEarlier(t *testing.T) {
	s := newShelf(t)
	s.cfg.Keep, s.cfg.KeepMessages = 400*24*time.Hour, 24*time.Hour
	b, _ := s.open()
	for n := range 300 {
		at := began.Add(time.Duration(n) * time.Hour)
		b.Append(Entry{At: at, Type: CallSignalingMessage, Call: fmt.Sprint(n), Data: []byte(`"` + strings.Repeat("SIP/2.0 200 OK ", 60) + `"`)})
		b.Append(Entry{At: at, Type: MediaEnd, Call: fmt.Sprint(n), Data: []byte(`{"packets":1}`)})
	}
	s.commit(b, Entry{At: began.Add(300 * time.Hour), Type: OperatorAct})
	s.tidyAt(b, began.Add(300*time.Hour))
	v := s.sound()
	if v.Erased < 150 {
		t.Errorf("%d texts were forgotten, want those older than a day", v.Erased)
	}
	for _, e := range s.read(Query{Mask: Full}) {
		old := e.At.Before(began.Add((300 - 24 - 40) * time.Hour)) // blocks go as a whole
		switch {
		case e.Type == MediaEnd && e.Data == nil:
			t.Fatalf("entry %d lost data that is no message", e.Seq)
		case e.Type == CallSignalingMessage && old && e.Data != nil:
			t.Fatalf("entry %d of %s still has its text", e.Seq, e.At)
		case e.Type == CallSignalingMessage && e.At.After(began.Add(277*time.Hour)) && e.Data == nil:
			t.Fatalf("entry %d of %s lost its text too early", e.Seq, e.At)
		}
	}
}

func TestTheHeadIsSignedOnceADay(t *testing.T) {
	s := newShelf(t)
	b, _ := s.open()
	s.commit(b, Entry{At: began, Type: OperatorAct})
	for hours := range 72 {
		s.tidyAt(b, began.Add(time.Duration(hours)*time.Hour))
	}
	if v := s.sound(); v.Heads != 3 {
		t.Errorf("in three days the head was signed %d times", v.Heads)
	}
}

func TestFeedsBringEachEntryOnceAndCountWhatTheyMiss(t *testing.T) {
	s := newShelf(t)
	b := New(s.cfg)
	fast, slow := b.Subscribe(10_000), b.Subscribe(1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }() // ends with ctx
	for n := range 200 {
		b.Append(Entry{Type: CallStart, Call: fmt.Sprint(n)})
		if n%10 == 0 {
			s.commit(b, Entry{Type: OperatorAct})
		}
	}
	cancel()
	<-done
	var seq int64
	for batch := range fast.C {
		for _, e := range batch {
			if seq++; e.Seq != seq {
				t.Fatalf("entry %d came when %d was due", e.Seq, seq)
			}
		}
	}
	if seq != 220 || fast.Missed() != 0 {
		t.Errorf("the feed brought %d entries of 220 and missed %d", seq, fast.Missed())
	}
	got := int64(0)
	for batch := range slow.C {
		got += int64(len(batch))
	}
	if got+slow.Missed() != 220 || slow.Missed() == 0 {
		t.Errorf("the slow feed brought %d and missed %d of 220", got, slow.Missed())
	}
	slow.Close() // twice closed is closed
}
