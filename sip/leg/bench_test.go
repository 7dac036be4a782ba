package leg

import (
	"flag"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain gives the properties more runs than rapid's default of 100: a crossing needs several right steps in a row. The command line still wins.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.checks": "500", "rapid.steps": "50"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

var (
	benchInvite = Invite{
		CallID: "a84b4c76e66710@carrier.example", From: `"Unknown" <sip:+441905331234@carrier.example;user=phone>`, FromTag: "9fxced76sl",
		To: "<sip:999@nines.example;user=phone>", CSeq: 314159, Contact: "sip:sbc@192.0.2.7:5060;transport=udp",
		RecordRoutes: []string{"<sip:p1.carrier.example;lr>", "<sip:p2.carrier.example;lr;ftag=9fxced76sl>"},
		Allow:        []string{"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "PRACK", "UPDATE", "INFO", "NOTIFY"},
		Supported:    []string{"100rel", "timer", "replaces", "histinfo"},
	}
	benchSDP = []byte(strings.Repeat("a=rtpmap:8 PCMA/8000\r\n", 12))
	bench200 = make([]byte, 900)
)

// talking makes a leg that talks: INVITE, 180, 200, ACK.
func talking(now time.Time) *Leg {
	in := benchInvite
	in.SDP = benchSDP
	l := NewUAS(in, "nines-3-17-x8Yt5", "<sip:nines@10.0.0.1:5060>")
	l.Reply(now, Reply{Method: "INVITE", CSeq: in.CSeq, Code: 180})
	l.Reply(now, Reply{Method: "INVITE", CSeq: in.CSeq, Code: 200, SDP: benchSDP, Data: bench200})
	l.Acked(in.CSeq, nil)
	return l
}

// talkingOut is the other leg of the call; it keeps its ACK.
func talkingOut(now time.Time) *Leg {
	l := NewUAC(Call{
		CallID: "nines-3-17-9a7b2c", LocalTag: "nines-3-17-x8Yt5", From: benchInvite.From, To: benchInvite.To, CSeq: 1,
		Target: "sip:999@10.0.0.10:5060", Contact: "<sip:nines@10.0.0.1:5060>",
	})
	if _, err := l.Request("INVITE", benchSDP); err != nil {
		panic(err)
	}
	r := Response{
		Method: "INVITE", CSeq: 1, Code: 180, ToTag: "as4c1d2e3f", Contact: "sip:999@10.0.0.10:5060", RecordRoutes: benchInvite.RecordRoutes,
		Allow: benchInvite.Allow, Supported: benchInvite.Supported,
	}
	l.Response(now, r)
	r.Code, r.SDP = 200, benchSDP
	l.Response(now, r)
	l.Ack(1, nil)
	l.KeepAck(1, make([]byte, 500))
	return l
}

func TestATalkingLegIsLean(t *testing.T) {
	const n = 2000
	for name, dial := range map[string]func(time.Time) *Leg{"in": talking, "out": talkingOut} {
		now := time.Unix(1, 0)
		legs := make([]*Leg, n)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range legs {
			legs[i] = dial(now)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		sdp := len(legs[0].Received)
		got := int(after.HeapAlloc-before.HeapAlloc)/n - sdp
		runtime.KeepAlive(legs)
		t.Logf("a leg that talks (%s): %d bytes without its session descriptions", name, got)
		if got > 3000 {
			t.Errorf("memory of a leg that talks (%s): got %d bytes, want at most 3000", name, got)
		}
	}
}

func BenchmarkCallIn(b *testing.B) {
	now := time.Unix(1, 0)
	b.ReportAllocs()
	for b.Loop() {
		talking(now).End()
	}
}

func BenchmarkCallOut(b *testing.B) {
	now := time.Unix(1, 0)
	b.ReportAllocs()
	for b.Loop() {
		talkingOut(now).End()
	}
}

func BenchmarkRequestInDialog(b *testing.B) {
	l := talking(time.Unix(1, 0))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Request("INFO", nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReceiveInDialog(b *testing.B) {
	l := talking(time.Unix(1, 0))
	b.ReportAllocs()
	for b.Loop() {
		if l.RemoteCSeq > 1<<30 {
			l.RemoteCSeq = 0
		}
		l.Receive(Incoming{Method: "INFO", CSeq: l.RemoteCSeq + 1, Allow: benchInvite.Allow}, 0)
	}
}

func BenchmarkNextAndTick(b *testing.B) {
	now := time.Unix(1, 0)
	l := talking(now)
	b.ReportAllocs()
	for b.Loop() {
		if l.Next().IsZero() {
			l.Tick(now, nil)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	l := talkingOut(time.Unix(1, 0))
	b.ReportAllocs()
	for b.Loop() {
		data, err := Encode(l)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(data)))
	}
}
