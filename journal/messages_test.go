package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// readMessages reads Data as everybody does who has the book's JSON.
func readMessages(t interface{ Fatalf(string, ...any) }, data json.RawMessage) []messageJSON {
	var d struct {
		Messages []messageJSON `json:"messages"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	return d.Messages
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	addresses := []netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("[2001:db8::1]:5061"), netip.MustParseAddrPort("[fe80::1%enp0s31f6]:5060"), netip.MustParseAddrPort("[::ffff:192.0.2.1]:5060"),
	}
	one := rapid.Custom(func(t *rapid.T) Message {
		text := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		if rapid.Bool().Draw(t, "words") {
			text = []byte(rapid.String().Draw(t, "text"))
		}
		return Message{
			At: began.Add(time.Duration(rapid.Int64Range(0, 1e18).Draw(t, "after"))), In: rapid.Bool().Draw(t, "in"), Attempt: rapid.IntRange(0, 300).Draw(t, "attempt"),
			Proto: rapid.SampledFrom([]string{"UDP", "TCP", "TLS"}).Draw(t, "proto"), Local: rapid.SampledFrom(addresses).Draw(t, "local"),
			Remote: rapid.SampledFrom(addresses).Draw(t, "remote"), Text: bytes.Repeat(text, rapid.IntRange(1, 80).Draw(t, "times")),
		}
	})
	var scratch []byte
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(one, 1, 20).Draw(t, "messages")
		var packed, kept []byte
		for i := range want {
			packed = AppendMessage(packed, &want[i])
		}
		kept, scratch = Squeezed(packed, scratch)
		if len(kept) > len(packed) {
			t.Fatalf("%d bytes became %d", len(packed), len(kept))
		}
		got := readMessages(t, Spelt(kept))
		if len(got) != len(want) {
			t.Fatalf("%d messages of %d", len(got), len(want))
		}
		for i, m := range got {
			w := want[i]
			text := []byte(m.Text)
			if len(m.Base64) > 0 {
				text = m.Base64
			}
			if !m.At.Equal(w.At) || m.In != w.In || m.Attempt != w.Attempt || m.Proto != w.Proto || m.Local != w.Local || m.Remote != w.Remote || !bytes.Equal(text, w.Text) {
				t.Fatalf("message %d is %+v, want %+v", i, m, w)
			}
		}
		Spelt(packed[:rapid.IntRange(0, len(packed)).Draw(t, "cut")]) // whatever is left of them
		packed[rapid.IntRange(0, len(packed)-1).Draw(t, "where")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		Spelt(packed)
	})
	for _, data := range []string{"", "{}", `{"messages":[]}`} {
		if got := Spelt([]byte(data)); string(got) != data {
			t.Errorf("%q is spelt %q", data, got)
		}
	}
	if got := Spelt([]byte{packedMark, 0, 1}); got != nil {
		t.Errorf("what is cut off is spelt %q", got)
	}
}

// saidBy are the messages of a call whose caller has a number, as they are given to the book; long ones are squeezed.
func saidBy(call int, number string, n int) json.RawMessage {
	var data []byte
	for k := range n {
		data = AppendMessage(data, &Message{
			At: began, In: k == 0, Proto: "UDP", Local: netip.MustParseAddrPort("10.0.0.1:5060"), Remote: netip.MustParseAddrPort("192.0.2.1:5060"),
			Text: fmt.Appendf(nil, "INVITE sip:999@nines SIP/2.0\r\nCall-ID: %d@bt\r\nP-Asserted-Identity: <sip:+441905999999@bt>\r\nFrom: <sip:%s@bt>\r\nCSeq: %d INVITE\r\n\r\n", call, number, k),
		})
	}
	kept, _ := Squeezed(data, nil)
	return kept
}

func TestTheBookGivesMessagesAsJSON(t *testing.T) {
	s := newShelf(t)
	second := filepath.Join(t.TempDir(), "second.jsonl")
	s.cfg.Also = []Sink{{File: second}}
	b, stop := s.open()
	feed := b.Subscribe(10)
	for n, said := range []int{2, 40} {
		b.Append(Entry{At: began, Type: CallSignalingMessage, Call: fmt.Sprint("c", n), Caller: "+441905330007", Count: said, Data: saidBy(n, "+441905330007", said)})
	}
	s.commit(b, Entry{Type: OperatorAct})
	shared := <-feed.C
	before := bytes.Clone(shared[0].Data)
	eventually(t, "the second place has all", func() bool { return b.Health().Also[0].Sent == 3 })
	if !bytes.Equal(shared[0].Data, before) {
		t.Error("the second place changed what it shares with others")
	}
	whole := s.read(Query{Mask: Full})
	for i, want := range []int{2, 40} {
		m := readMessages(t, whole[i].Data)
		if len(m) != want || !strings.HasSuffix(m[want-1].Text, fmt.Sprintf("CSeq: %d INVITE\r\n\r\n", want-1)) {
			t.Errorf("the book has %d messages of %d: %s", len(m), want, whole[i].Data)
		}
	}
	for _, e := range s.read(Query{Mask: LastThree}) {
		if e.Type == CallSignalingMessage && (e.Data != nil || strings.Contains(e.Caller, "330")) {
			t.Errorf("who may see three digits sees %+v", e)
		}
	}
	s.sound()
	stop()
	lines, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(bytes.TrimSpace(lines), []byte("\n"))[:2] {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil || len(readMessages(t, e.Data)) != []int{2, 40}[i] {
			t.Errorf("the second place has %s, %v", line, err)
		}
	}
}

// TestANumberInSqueezedTextIsErasedToo: of calls whose caller was withheld, so that nothing else names them. Squeezing takes a text apart.
func TestANumberInSqueezedTextIsErasedToo(t *testing.T) {
	s := newShelf(t)
	b, stop := s.open()
	for n := range 20 {
		b.Append(Entry{At: began, Type: CallSignalingMessage, Call: fmt.Sprint("packed", n), Data: saidBy(n, fmt.Sprintf("+44190599%04d", n), 30)})
		latin := AppendMessage(nil, &Message{At: began, Proto: "UDP", Text: fmt.Appendf(nil, "INVITE sip:999 SIP/2.0\r\nFrom: \"Jos\xe9\" <sip:+44190599%04d@bt>\r\n\r\n", n)})
		b.Append(Entry{At: began, Type: MalformedMessage, Call: fmt.Sprint("latin", n), Data: latin})
		plain := fmt.Appendf(nil, `{"messages":[{"text":"P-Asserted-Identity: <sip:+441905999999@bt>\r\nFrom: <sip:+44190599%04d@bt>%s"}]}`, n, strings.Repeat(" of before", 200))
		b.Append(Entry{At: began, Type: CallSignalingMessage, Call: fmt.Sprint("plain", n), Data: plain})
	}
	done, err := b.Erase(t.Context(), "01905 990007", "dpo", "request 19")
	slices.Sort(done.Calls)
	if err != nil || done.Entries != 3 || !slices.Equal(done.Calls, []string{"latin7", "packed7", "plain7"}) {
		t.Errorf("erased %+v, %v; want the messages of three calls", done, err)
	}
	for _, e := range s.read(Query{Mask: Full}) {
		if strings.Contains(string(e.Data), "1905990007") || e.Erased != slices.Contains(done.Calls, e.Call) {
			t.Errorf("after the erasure entry %d, of %s, is erased: %v", e.Seq, e.Call, e.Erased)
		}
	}
	s.sound()
	stop()
}

// TestABookOfBeforeGoesOn: one that the version before has written has its messages as JSON.
func TestABookOfBeforeGoesOn(t *testing.T) {
	s := newShelf(t)
	b, stop := s.open()
	plain := `{"messages":[{"at":"2021-09-06T16:30:00Z","in":true,"proto":"UDP","local":"10.0.0.1:5060","remote":"192.0.2.1:5060","text":"OPTIONS sip:x SIP/2.0\r\n\r\n` + strings.Repeat("v=0\\r\\n", 300) + `"}]}`
	b.Append(Entry{At: began, Type: CallSignalingMessage, Call: "c1", Data: []byte(plain)})
	b.Append(Entry{At: began, Type: CallStart, Call: "c1", Caller: "+441905330007", Data: []byte(`{"source":"UDP 192.0.2.1:5060"}`)})
	s.commit(b, Entry{Type: OperatorAct})
	stop()
	st, err := openStore(s.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.exec(t.Context(), "PRAGMA user_version = 2"); err != nil {
		t.Fatal(err)
	}
	if err := st.close(); err != nil {
		t.Fatal(err)
	}
	s.sound()
	b, stop = s.open()
	b.Append(Entry{At: began, Type: CallSignalingMessage, Call: "c2", Data: saidBy(2, "+441905330008", 30)})
	s.commit(b, Entry{Type: OperatorAct})
	stop()
	s.sound()
	all := s.read(Query{Types: []Type{CallSignalingMessage}, Mask: Full})
	if len(all) != 2 || string(all[0].Data) != plain || len(readMessages(t, all[1].Data)) != 30 {
		t.Errorf("the book has %d entries, or other messages than were put into it", len(all))
	}
}
