package journal

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

func TestPackedEntriesComeBack(t *testing.T) {
	var want []Entry
	var b []byte
	for n := range 3 {
		for _, e := range callEntries(n, began) {
			e.At = time.Unix(0, e.At.UnixNano())
			want = append(want, e)
			b = Pack(b, &e)
		}
	}
	want = append(want, Entry{At: time.Unix(0, 5), Type: "AnotherLogEvent", Caller: "+441905001001", Called: "999", Why: "why", Took: -1, Data: []byte(`{"a":1}`), Partner: true})
	b = Pack(b, &want[len(want)-1])
	got := Unpack(b)
	for i := range want {
		if i >= len(got) || !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("entry %d of %d does not come back: %+v, want %+v", i, len(got), got[min(i, len(got)-1)], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d came back of %d", len(got), len(want))
	}
	for cut := range b {
		Unpack(bytes.Clone(b[:cut]))
	}
}

func TestLongDataIsSqueezedAndComesBack(t *testing.T) {
	random := make([]byte, 3000)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(random); i++ {
		random[i] = '0' + byte(r.IntN(200))
	}
	for _, data := range [][]byte{
		[]byte(`{}`), bytes.Repeat([]byte(`{"text":"INVITE sip:999@nines SIP/2.0\r\n"},`), 400), random,
	} {
		kept, _ := squeezed(data, nil)
		got, err := unsqueezed(kept)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes come back as %d: %v", len(data), len(got), err)
		}
		if len(data) > 10_000 && len(kept) > len(data)/4 {
			t.Errorf("%d bytes that repeat take %d", len(data), len(kept))
		}
	}
	if _, err := unsqueezed([]byte{squeezedMark, 0xff, 0xff, 0xff, 0xff, 0xff}); err == nil {
		t.Error("nonsense was accepted")
	}
}
