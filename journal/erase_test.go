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

func TestWhereANumberIsMentioned(t *testing.T) {
	for text, want := range map[string]bool{
		"Diversion: <sip:+441905330123@bt.example>": true,
		"<tel:01905330123;phone-context=uk>":        true,
		"00441905330123":                            true,
		"+441905330123":                             true,
		"+491905330123":                             false, // another country
		"+4419053301234":                            false, // longer
		"branch=z9hG4bK1905330123":                  false,
		"branch=z9hG4bK-9905330123, 01905330123":    true, // the second place
		"Call-ID: 441905330124":                     false,
		"":                                          false,
	} {
		if got := Mentions(text, "+44 1905 330123"); got != want {
			t.Errorf("%q mentions the number: %v, want %v", text, got, want)
		}
	}
	if Mentions("call 123456", "123456") {
		t.Error("a short number is found in a text, where so few digits may mean anything")
	}
}

// TestANumberInAHeaderIsErasedToo: of a call whose caller and called are others.
func TestANumberInAHeaderIsErasedToo(t *testing.T) {
	s := newShelf(t)
	b, stop := s.open()
	for n := range 2000 {
		for _, e := range callEntries(n, began) {
			b.Append(e)
		}
	}
	b.Append(Entry{At: began, Type: CallSignalingMessage, Call: "c001500", Data: []byte(`{"text":"INVITE sip:999@nines\r\nDiversion: <sip:+441905440001@bt>"}`)})
	b.Append(Entry{At: began, Type: CallSignalingMessage, Call: "c001501", Data: []byte(`{"text":"INVITE sip:999@nines\r\nDiversion: <sip:+441905440002@bt>"}`)})
	done, err := b.Erase(t.Context(), "+441905440001", "dpo", "request 18")
	if err != nil || done.Entries != 1 || !slices.Equal(done.Calls, []string{"c001500"}) {
		t.Errorf("erased %+v, %v; want the message of one call", done, err)
	}
	s.sound()
	stop()
	raw, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("905440001")) || !bytes.Contains(raw, []byte("905440002")) {
		t.Error("the wrong message was erased, or none")
	}
}
