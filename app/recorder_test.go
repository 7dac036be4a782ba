package app

import (
	"context"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"nines/configs"
	"nines/console"
	"nines/journal"
	"nines/policy"
	"nines/sip"
	"nines/sip/wire"
)

// shelf is a book that keeps what it is given.
type shelf struct {
	mu      sync.Mutex
	entries []journal.Entry
}

func (s *shelf) Append(e journal.Entry) {
	s.mu.Lock()
	s.entries = append(s.entries, e)
	s.mu.Unlock()
}

func (s *shelf) of(t journal.Type) (found []journal.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.Type == t {
			found = append(found, e)
		}
	}
	return found
}

func newTestRecorder(t *testing.T, s *shelf) *recorder {
	r := newRecorder(s)
	r.desk = newCallBackDesk(t.TempDir()+"/"+callBackName, 24*time.Hour, zerolog.Nop())
	r.configure(&configs.File{Journal: configs.Journal{Messages: configs.EmergencyMessages}})
	return r
}

func cameRecord(call string) sip.Record {
	return sip.Record{Kind: sip.CallCame, At: time.Now(), Call: call, Trunk: "bt", Route: "999", Caller: "+441905001001", Called: "999"}
}

func TestWhatFindsNoRoomIsCountedAndTheBookSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		r := newTestRecorder(t, s)
		for range maxRecords + 100 { // nobody takes them away: a loop that waited would stand here for ever
			r.tell(cameRecord("mi0-0-1"))
		}
		r.tell(sip.Record{Kind: sip.CallMessage, Call: "mi0-0-1", Data: []byte("x")})
		if got := r.losses(); got.records != 100 || got.messages != 1 {
			t.Errorf("lost %+v, want 100 records and a message", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.run(ctx) }()
		time.Sleep(time.Second)
		cancel()
		<-done
		if got := len(s.of(journal.CallStart)); got != maxRecords {
			t.Errorf("%d entries, want the %d for which there was room", got, maxRecords)
		}
		if gaps := s.of(journal.Gap); len(gaps) != 1 || gaps[0].Count != 100 {
			t.Errorf("gaps %+v; the book must say that 100 are missing", gaps)
		}
	})
}

func TestMessagesOfACallGatherAndAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		r := newTestRecorder(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.run(ctx) }()
		say := func(text string, class policy.Class) {
			r.tell(sip.Record{Kind: sip.CallMessage, At: time.Now(), Call: "mi0-0-1", Class: class, In: true, Data: []byte(text), Flow: wire.Flow{
				Proto: wire.TCP, Local: netip.MustParseAddrPort("10.0.0.1:5060"), Remote: netip.MustParseAddrPort("10.0.0.9:5060"),
			}})
		}
		r.tell(cameRecord("mi0-0-1"))
		for range 5 {
			say("INVITE sip:999@nines SIP/2.0\r\n\r\n", policy.Emergency)
			time.Sleep(100 * time.Millisecond)
		}
		say("of a routine call", policy.Routine)
		time.Sleep(5 * time.Second)
		got := s.of(journal.CallSignalingMessage)
		if len(got) != 1 || got[0].Count != 5 || got[0].Caller != "+441905001001" {
			t.Fatalf("%+v; want one entry of five messages that names the caller, so that erasing the number erases it", got)
		}
		m := messagesOf(journal.Spelt(got[0].Data))
		if len(m) != 5 || m[0].Text != "INVITE sip:999@nines SIP/2.0\r\n\r\n" || !m[0].In || m[0].Proto != "TCP" || m[0].Remote != "10.0.0.9:5060" {
			t.Errorf("messages %+v", m)
		}
		for range 2 * callMessages {
			say("OPTIONS sip:999@nines SIP/2.0\r\n\r\n", policy.Emergency)
		}
		cancel()
		<-done
		n := 0
		for _, e := range s.of(journal.CallSignalingMessage) {
			n += e.Count
		}
		if n != callMessages {
			t.Errorf("%d messages of one call are kept, want at most %d", n, callMessages)
		}
		if lost := r.losses().messages; lost != 5+callMessages {
			t.Errorf("%d messages are counted as lost, want %d", lost, 5+callMessages)
		}
	})
}

func TestARecordThatMeetsAFaultOfOursCostsItselfOnly(t *testing.T) {
	s := &shelf{}
	r := newTestRecorder(t, s)
	r.calls.calls = nil // a broken invariant: writing to it panics
	rec := cameRecord("mi0-0-1")
	r.writeDown(&rec)
	if gaps := s.of(journal.Gap); len(gaps) != 1 || !strings.Contains(gaps[0].Why, "a fault of ours") {
		t.Errorf("the book says %+v", gaps)
	}
}

// TestAMessageIsReadAsJSON packs what comes and reads it as everybody else does.
func TestAMessageIsReadAsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		if rapid.Bool().Draw(t, "text") {
			data = []byte(rapid.String().Draw(t, "string"))
		}
		r := sip.Record{
			At: time.Now(), In: rapid.Bool().Draw(t, "in"), Attempt: rapid.IntRange(0, 9).Draw(t, "attempt"), Data: data,
			Flow: wire.Flow{Proto: wire.UDP, Local: netip.MustParseAddrPort("[fd00::1]:5060"), Remote: netip.MustParseAddrPort("10.0.0.9:5060")},
		}
		var d struct{ Messages []console.CallMessage }
		if err := json.Unmarshal(journal.Spelt(appendMessage(appendMessage(nil, &r), &r)), &d); err != nil {
			t.Fatal(err)
		}
		if len(d.Messages) != 2 {
			t.Fatalf("%d messages of two", len(d.Messages))
		}
		m := d.Messages[1]
		got := []byte(m.Text)
		if len(m.Base64) > 0 {
			got = m.Base64
		}
		if string(got) != string(data) || m.In != r.In || m.Attempt != r.Attempt || m.Local != "[fd00::1]:5060" || !m.At.Equal(r.At) {
			t.Fatalf("%q is read back as %+v", data, m)
		}
	})
}

func BenchmarkTellingARecord(b *testing.B) {
	r := newRecorder(nil)
	rec := cameRecord("mi0-0-1")
	n := 0
	for b.Loop() {
		r.tell(rec)
		if n++; n == maxRecords/2 {
			n = 0
			r.mu.Lock()
			r.told = r.told[:0]
			r.mu.Unlock()
		}
	}
}

// BenchmarkACallInTheBook is what a good call costs on its way from the loop to the disk, without and with its messages.
func BenchmarkACallInTheBook(b *testing.B) {
	var said [1000][13][]byte // made before; so many that no cache has them all
	for n := range said {
		for k := range said[n] {
			said[n][k] = setUpMessage(n, k)
		}
	}
	for _, messages := range []int{0, len(said[0])} {
		b.Run(strconv.Itoa(messages)+" messages", func(b *testing.B) {
			dir := b.TempDir()
			book := journal.New(journal.Config{Path: dir + "/nines.db", Key: dir + "/key", Log: zerolog.Nop()})
			r := newRecorder(book)
			r.desk = newCallBackDesk(dir+"/"+callBackName, 24*time.Hour, zerolog.Nop())
			r.configure(&configs.File{Journal: configs.Journal{Messages: configs.EmergencyMessages}})
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			wg.Go(func() { book.Run(ctx) }) // ended below
			n, before := 0, spentCPU(b)
			b.ReportAllocs()
			for b.Loop() {
				n++
				name := "mi0-0-" + strconv.Itoa(n)
				rec := cameRecord(name)
				r.writeDown(&rec)
				for _, k := range []sip.RecordKind{sip.CallPlanned, sip.CallAsked, sip.CallRang, sip.AttemptOver, sip.CallAnswered, sip.CallHeard, sip.CallMedia} {
					r.writeDown(&sip.Record{Kind: k, At: rec.At, Call: name, Route: "999", Endpoint: "control-room", Attempt: 1, Plan: []policy.Step{{Endpoint: "control-room", Why: "up"}}})
				}
				for _, m := range said[n%len(said)][:messages] {
					r.writeDown(&sip.Record{Kind: sip.CallMessage, At: rec.At, Call: name, Data: m, Flow: wire.Flow{Proto: wire.UDP, Local: netip.MustParseAddrPort("10.0.0.1:5060"), Remote: netip.MustParseAddrPort("10.0.0.9:5060")}})
				}
				r.writeDown(&sip.Record{Kind: sip.CallEnded, At: rec.At, Call: name, Route: "999", Outcome: "answered", Code: 200, Endpoint: "control-room", Caller: "+441905001001"})
				if n%50 == 0 {
					for _, e := range r.calls.gathered(rec.At, true) {
						r.enter(e)
					}
					for book.Health().Waiting > 5000 { // as fast as the disk takes them
						time.Sleep(time.Millisecond)
					}
				}
			}
			cancel()
			wg.Wait()
			b.ReportMetric(float64((spentCPU(b)-before).Nanoseconds())/1000/float64(n), "µs-cpu/call")
		})
	}
}

// setUpMessage is one of the messages of a call, with what differs from call to call and from leg to leg.
func setUpMessage(call, k int) []byte {
	leg := strconv.FormatUint(uint64(call*2+k%2+1)*0x9e3779b97f4a7c15, 36)
	m := "INVITE sip:999@nines.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK" + leg + ";rport\r\nMax-Forwards: 69\r\nFrom: <sip:+44190533" + leg[:4] +
		"@bt.example;user=phone>;tag=" + leg + "\r\nTo: <sip:999@nines.example>\r\nCall-ID: " + leg + "@192.0.2.10\r\nCSeq: " + strconv.Itoa(k) +
		" INVITE\r\nContact: <sip:192.0.2.10:5060>\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK, INFO\r\nSupported: timer, 100rel\r\n" +
		"P-Asserted-Identity: <sip:+44190533" + leg[:4] + "@bt.example>\r\nGeolocation: <cid:" + leg + "@bt.example>\r\n"
	if k%3 == 0 {
		m += "Content-Type: application/sdp\r\nContent-Length: 210\r\n\r\nv=0\r\no=- " + leg + " 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n" +
			"m=audio 20" + leg[:3] + " RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
	}
	return []byte(m)
}

// spentCPU is what this process has used.
func spentCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestNoKeyOfSRTPIsWrittenDown(t *testing.T) {
	for in, want := range map[string]string{
		"v=0": "v=0",
		"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFC+/aVm==|2^20|1:4;inline:abc\r\na=crypto:2 X inline:": "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:*******************|2^20|1:4;inline:***\r\na=crypto:2 X inline:",
		"a=key-mgmt:mikey AQAFgM0X\r\na=x": "a=key-mgmt:mikey ********\r\na=x",
	} {
		data := []byte(in)
		if got := withoutKeys(data); string(got) != want || string(data) != in {
			t.Errorf("%q was made\n%q, want\n%q, and the message itself untouched", in, got, want)
		}
	}
}
