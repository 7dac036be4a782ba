package journal

import (
	"bytes"
	"context"
	"os"
	"slices"
	"testing"
)

func TestAnErasedNumberIsNowhereAndTheChainHolds(t *testing.T) {
	s := newShelf(t)
	b, stop := s.open()
	for n := range 400 {
		for _, e := range callEntries(n, began) {
			b.Append(e)
		}
	}
	b.Append(Entry{At: began, Type: CallSignalingMessage, Call: "c000123", Data: []byte(`{"text":"INVITE sip:999@nines\r\nFrom: <tel:01905330123>"}`)})
	b.Append(Entry{At: began, Type: CallSignalingMessage, Call: "c000123", Data: []byte(`{"text":"SIP/2.0 100 Trying"}`)})
	b.Append(Entry{At: began, Type: Callback, What: "listed", Call: "c000399", Caller: "+44 1905 330123"})
	done, err := b.Erase(context.Background(), "01905 330123", "dpo", "request 17")
	if err != nil {
		t.Fatal(err)
	}
	if done.Entries != 3 || !slices.Equal(done.Calls, []string{"c000123", "c000399"}) {
		t.Errorf("erased %+v; want the call's start, its message and the line of the call-back list", done)
	}
	v := s.sound()
	if v.Erased != 3 {
		t.Errorf("the verdict counts %d erased entries, want 3", v.Erased)
	}
	if got := s.read(Query{Number: "+441905330123", Mask: Full}); len(got) != 0 {
		t.Errorf("the number is still found: %+v", got)
	}
	got := s.read(Query{Call: "c000123", Types: []Type{CallStart}, Mask: Full})
	if len(got) != 1 || got[0].Caller != "" || !got[0].Erased || got[0].Called != "999" {
		t.Errorf("the call's start is %+v; want it without its caller", got)
	}
	if got := s.read(Query{Number: "+441905330124", Mask: Full}); len(got) != 1 {
		t.Errorf("somebody else's number was erased too: %+v", got)
	}
	if got := s.read(Query{Types: []Type{Erased}}); len(got) != 1 || got[0].By != "dpo" || got[0].Count != 3 {
		t.Errorf("the act stands in the book as %+v", got)
	}
	stop()
	for _, end := range []string{"", "-wal"} {
		raw, err := os.ReadFile(s.path + end)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, spelling := range []string{"+441905330123", "01905330123", "1905 330123"} {
			if bytes.Contains(raw, []byte(spelling)) {
				t.Errorf("%s is still in nines.db%s", spelling, end)
			}
		}
		if end == "" && !bytes.Contains(raw, []byte("+441905330124")) {
			t.Error("the check looks at the wrong bytes: other numbers must be there")
		}
	}
	b, _ = s.open()
	s.commit(b, Entry{Type: OperatorAct})
	s.sound()
	if _, err := b.Erase(context.Background(), "999", "dpo", "why"); err == nil {
		t.Error("999 is nobody's number, and was erased")
	}
}
