package acceptance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nines/internal/town"
)

// TestNobodyHarmsTheGoodCalls: PRODUCT section 12. Everything that strangers and broken carriers send comes at once, while good calls come too: those
// must not notice.
func TestNobodyHarmsTheGoodCalls(t *testing.T) {
	t.Parallel()
	p := newPlace()
	n := start(t, p, head+`
trunks:
  carrier: { from: ["{200}/32"] }
  other: { from: ["{201}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 1000 }
  desk: { uri: "sip:{11}:5060", calls: 1000 }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room] }
  - { name: "112", class: emergency, numbers: ["112"], ask: [desk] }
`)
	newDesk(t, p.sip(11), func(string) string { return strings.ReplaceAll(offer, "HOST", p.ip(11).String()) })
	room := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Picked()), Voice: 20 * time.Millisecond})
	n.verdict("up", "control-room", "desk")
	memory := resident(t, n.cmd.Process.Pid)

	good := phone(t, town.PhoneConfig{Name: "good", Addr: p.at(200, 5062)})
	ctx, stop := context.WithCancel(t.Context())
	tally, placed := &callTally{}, make(chan int, 1)
	go func() { // ends with stop
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		for count := 0; ; count++ {
			select {
			case <-ctx.Done():
				placed <- count
				return
			case <-pace.C:
			}
			if _, err := good.Place(town.Dial{URI: "sip:999@" + p.sip(1).String(), TalkFor: 200 * time.Millisecond}); err != nil {
				t.Error(err)
			}
		}
	}()

	t.Run("strangers", func(t *testing.T) {
		t.Run("a datagram that is no SIP gets no answer", func(t *testing.T) { noSIP(t, n) })
		t.Run("a scanner gets no answer", func(t *testing.T) { scanner(t, n) })
		t.Run("a call is taken whatever is wrong with it", func(t *testing.T) { oddCalls(t, n) })
		t.Run("an offer that comes in the ACK", func(t *testing.T) { lateOffer(t, n, room) })
		t.Run("a wrong CSeq", func(t *testing.T) { wrongCSeq(t, n) })
		t.Run("the same Call-ID from two carriers", func(t *testing.T) { sameCallID(t, n) })
		t.Run("everything is sent three times", func(t *testing.T) { thrice(t, n) })
		t.Run("endless and idle TCP streams", func(t *testing.T) { endlessStreams(t, n) })
		t.Run("a flood", func(t *testing.T) { flood(t, n) })
	})

	stop()
	want := <-placed
	eventually(t, 10*time.Second, "every good call is over", func() bool {
		tally.sweep(good)
		return len(tally.placed) == want
	})
	tally.judge(t, nil, 0, late)
	if want < 20 {
		t.Errorf("only %d good calls were placed meanwhile", want)
	}
	t.Logf("%d good calls meanwhile; resident memory %d MB before, %d MB after\n%s", want, memory>>20, resident(t, n.cmd.Process.Pid)>>20, histogram(tally.delays()))
	if grown := resident(t, n.cmd.Process.Pid) - memory; grown > 100<<20 {
		t.Errorf("nines holds %d MB more than before", grown>>20)
	}
	n.empty(5 * time.Second)
}

// resident is how much memory a process has.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func noSIP(t *testing.T, n *node) {
	rng := rand.New(rand.NewPCG(7, 8))
	noise := func(size int) []byte {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	before := n.status().SIP.Dropped["garbage"]
	s := listen(t, n.place.at(200, 0))
	all := [][]byte{
		{0},
		[]byte("x"), []byte("INVITE"), []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), []byte("SIP/2.0\r\n\r\n"),
		[]byte("SIP/2.0 2000 OK\r\n\r\n"), bytes.Repeat([]byte("\x00"), 1200), bytes.Repeat([]byte("A"), 65000), bytes.Repeat([]byte("\r\n"), 600), noise(100), noise(1400),
		request("INVITE", s.at, n.place, dialog{extra: strings.Repeat("X: y\r\n", 5000)}), noise(65000), []byte("\x16\x03\x01\x02\x00\x01\x00"), []byte("\x00\x01\x00\x00\x21\x12\xa4\x42"), []byte(strings.Repeat("Via: x\r\n", 8000)),
	}
	for _, b := range all {
		s.says(t, n.place.sip(1), b)
	}
	if got, _, ok := s.hears(t, 300*time.Millisecond); ok && len(bytes.Trim(got, "\r\n")) > 0 {
		t.Errorf("something that is no SIP was answered with %q", got)
	}
	eventually(t, 3*time.Second, "what is no SIP is counted", func() bool { return n.status().SIP.Dropped["garbage"] >= before+uint64(len(all)/2) })
}

func scanner(t *testing.T, n *node) {
	before := n.status().SIP.Dropped["unknown_source"]
	s := listen(t, n.place.at(66, 0))
	for _, method := range []string{"OPTIONS", "REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE"} {
		s.says(t, n.place.sip(1), request(method, s.at, n.place, dialog{}))
	}
	if got, _, ok := s.hears(t, 300*time.Millisecond); ok {
		t.Errorf("a scanner was answered with %q", got)
	}
	eventually(t, 3*time.Second, "a scanner is counted", func() bool { return n.status().SIP.Dropped["unknown_source"] >= before+5 })
}

const offer = "v=0\r\no=- 1 1 IN IP4 HOST\r\ns=-\r\nc=IN IP4 HOST\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"

// dialog is what a hand-written request says about its call.
type dialog struct{ callID, branch, toTag, cseq, contact, body, extra string }

var serial = struct {
	sync.Mutex // tests run beside each other
	*rand.Rand
}{Rand: rand.New(rand.NewPCG(9, 10))}

// unique is a name that no other request has.
func unique() string {
	serial.Lock()
	defer serial.Unlock()
	return strconv.FormatUint(serial.Uint64(), 36)
}

// request writes a request by hand.
func request(method string, from netip.AddrPort, p place, d dialog) []byte {
	if d.callID == "" {
		d.callID = unique()
	}
	if d.branch == "" {
		d.branch = "z9hG4bK" + unique()
	}
	if d.cseq == "" {
		d.cseq = "1 " + method
	}
	to := "<sip:112@" + p.sip(1).String() + ">"
	if d.toTag != "" {
		to += ";tag=" + d.toTag
	}
	contact := "Contact: <sip:x@" + from.String() + ">\r\n"
	if d.contact != "" {
		contact = strings.TrimPrefix(d.contact, "none")
	}
	body := strings.ReplaceAll(d.body, "HOST", from.Addr().String())
	kind := ""
	if body != "" {
		kind = "Content-Type: application/sdp\r\n"
	}
	return fmt.Appendf(nil, "%s sip:112@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:x@%s>;tag=f%s\r\nTo: %s\r\nCall-ID: %s\r\n"+
		"CSeq: %s\r\n%s%s%sContent-Length: %d\r\n\r\n%s", method, p.sip(1), from, d.branch, from, d.callID, to, d.callID, d.cseq, contact, d.extra, kind, len(body), body)
}

// final sends a request and waits for its final response; code 0 is none within five seconds.
func (s socket) final(t *testing.T, p place, msg []byte) *town.Message {
	t.Helper()
	s.says(t, p.sip(1), msg)
	return s.answers(t, msg, 5*time.Second)
}

// answers waits for the final response to a request.
func (s socket) answers(t *testing.T, msg []byte, within time.Duration) *town.Message {
	t.Helper()
	_, branch, _ := bytes.Cut(msg, []byte("branch="))
	branch, _, _ = bytes.Cut(branch, []byte(";"))
	for end := time.Now().Add(within); time.Now().Before(end); {
		data, _, ok := s.hears(t, time.Until(end))
		if !ok {
			break
		}
		if m, err := town.ParseMessage(data); err == nil && m.Code >= 200 && strings.Contains(m.Get("Via"), string(branch)) {
			return m
		}
	}
	return &town.Message{}
}

// toTag reads the tag of a response.
func toTag(m *town.Message) string {
	_, tag, _ := strings.Cut(m.Get("To"), ";tag=")
	return tag
}

// hangUp ACKs a 200 and ends the call.
func (s socket) hangUp(t *testing.T, p place, ok *town.Message) {
	t.Helper()
	d := dialog{callID: ok.Get("Call-ID"), toTag: toTag(ok)}
	number, _, _ := strings.Cut(ok.Get("CSeq"), " ")
	d.cseq = number + " ACK"
	s.says(t, p.sip(1), request("ACK", s.at, p, d))
	next, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	d.cseq = fmt.Sprint(next+1, " BYE")
	if m := s.final(t, p, request("BYE", s.at, p, d)); m.Code != 200 {
		t.Errorf("BYE got %d, want 200", m.Code)
	}
}

// oddCalls sends INVITEs that are wrong in one way each. A carrier's 999 is answered as long as method and number can be seen.
func oddCalls(t *testing.T, n *node) {
	p := n.place
	replace := func(old, with string) func([]byte) []byte {
		return func(b []byte) []byte {
			out := bytes.Replace(b, []byte(old), []byte(with), 1)
			if bytes.Equal(out, b) {
				t.Fatalf("%q is not in the request", old)
			}
			return out
		}
	}
	tests := []struct {
		name string
		d    dialog
		edit func([]byte) []byte
	}{
		{"no Contact", dialog{body: offer, contact: "none"}, nil},
		{"a Contact that is no address", dialog{body: offer, contact: "Contact: \"unfinished\r\n"}, nil},
		{"no session description and no late answer", dialog{}, nil},
		{"a session description that is none", dialog{body: "this is no SDP\r\n"}, nil},
		{"half a session description", dialog{body: offer[:40]}, nil},
		{"a session description without c=", dialog{body: strings.Replace(offer, "c=IN IP4 HOST\r\n", "", 1)}, nil},
		{"c= after t=", dialog{body: "v=0\r\no=- 1 1 IN IP4 HOST\r\ns=-\r\nt=0 0\r\nc=IN IP4 HOST\r\nm=audio 40000 RTP/AVP 8\r\n"}, nil},
		{"bare line feeds in the session description", dialog{body: strings.ReplaceAll(offer, "\r\n", "\n")}, nil},
		{"a body of 60,000 bytes", dialog{body: offer + strings.Repeat("a=x-filler:0123456789012345678901234567890123456789\r\n", 1150)}, nil},
		{"a header of 60,000 bytes", dialog{body: offer, extra: "X-Long: " + strings.Repeat("y", 60000) + "\r\n"}, nil},
		{"nine hundred headers", dialog{body: offer, extra: strings.Repeat("X-Many: value\r\n", 900)}, nil},
		{"no Max-Forwards", dialog{body: offer}, replace("Max-Forwards: 70\r\n", "")},
		{"a Max-Forwards that is no number", dialog{body: offer}, replace("Max-Forwards: 70", "Max-Forwards: seventy")},
		{"Max-Forwards 0", dialog{body: offer}, replace("Max-Forwards: 70", "Max-Forwards: 0")},
		{"a line without a colon", dialog{body: offer, extra: "this is no header\r\n"}, nil},
		{"bare line feeds", dialog{}, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }},
		{"a line break first", dialog{body: offer}, func(b []byte) []byte { return append([]byte("\r\n"), b...) }},
		{"two blanks in the request line", dialog{body: offer}, replace(" SIP/2.0\r\n", "  SIP/2.0\r\n")},
		{"a Content-Length that is too long", dialog{body: offer}, replace("Content-Length: ", "Content-Length: 9")},
		{"two blanks in CSeq", dialog{body: offer, cseq: "1  INVITE"}, nil},
		{"the highest CSeq", dialog{body: offer, cseq: "2147483646 INVITE"}, nil},
		{"Require of something unknown", dialog{body: offer, extra: "Require: resource-priority\r\nResource-Priority: esnet.1\r\n"}, nil},
		{"everything in short form", dialog{body: offer}, func(b []byte) []byte {
			return []byte(strings.NewReplacer("Via:", "v:", "From:", "f:", "To:", "t:", "Call-ID:", "i:", "Contact:", "m:", "Content-Type:", "c:", "Content-Length:", "l:").Replace(string(b)))
		}},
		{"folded lines", dialog{body: offer, extra: "Subject: help\r\n me\r\n"}, nil},
	}
	s := listen(t, p.at(200, 0))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			msg := request("INVITE", s.at, p, tt.d)
			if tt.edit != nil {
				msg = tt.edit(msg)
			}
			m := s.final(t, p, msg)
			if m.Code != 200 {
				t.Fatalf("the call got %d %s, want 200", m.Code, m.Reason)
			}
			s.hangUp(t, p, m)
		})
	}
}

// lateOffer is a call whose offer comes in the 200 and whose answer comes in the ACK (RFC 3264 §4, RFC 3261 §13.2.1).
func lateOffer(t *testing.T, n *node, room *town.Phone) {
	carrier := phone(t, town.PhoneConfig{Name: "late", Addr: n.place.at(201, 5062), Voice: 20 * time.Millisecond})
	c, err := carrier.Place(town.Dial{URI: "sip:999@" + n.place.sip(1).String(), Late: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Talks(t.Context()); err != nil {
		t.Fatal(err)
	}
	poll(3*time.Second, func() bool { // what is still on its way when somebody hangs up is not heard any more
		there := record(room, c.Record().ID)
		return c.Record().Voice.Heard >= 30 && there != nil && there.Voice.Heard >= 30
	})
	c.Clear()
	if err := c.Ends(t.Context()); err != nil {
		t.Fatal(err)
	}
	rec := c.Record()
	there := record(room, rec.ID)
	if rec.Finals[0] != 200 || rec.Voice.Heard < 30 || there == nil || there.Voice.Heard < 30 || rec.Voice.Changed+there.Voice.Changed > 0 {
		t.Errorf("%v: the caller heard %+v, the room %+v; want a second of voice both ways", rec, rec.Voice, there)
	}
}

func wrongCSeq(t *testing.T, n *node) {
	p := n.place
	s := listen(t, p.at(200, 0))
	m := s.final(t, p, request("INVITE", s.at, p, dialog{body: offer, cseq: "100 INVITE"}))
	if m.Code != 200 {
		t.Fatalf("the call got %d, want 200", m.Code)
	}
	d := dialog{callID: m.Get("Call-ID"), toTag: toTag(m), cseq: "100 ACK"}
	s.says(t, p.sip(1), request("ACK", s.at, p, d))
	// RFC 3261 §12.2.2: a lower number than the last is 500.
	for _, method := range []string{"BYE", "INFO", "INVITE"} {
		d.cseq = "99 " + method
		if got := s.final(t, p, request(method, s.at, p, d)); got.Code != 500 {
			t.Errorf("%s with a CSeq lower than the last got %d, want 500", method, got.Code)
		}
		if method == "INVITE" {
			d.cseq = "99 ACK"
			s.says(t, p.sip(1), request("ACK", s.at, p, d))
		}
	}
	d.toTag = "wrong"
	d.cseq = "101 BYE"
	if got := s.final(t, p, request("BYE", s.at, p, d)); got.Code != 481 {
		t.Errorf("a BYE with a tag of nobody got %d, want 481", got.Code)
	}
	d.toTag, d.cseq = toTag(m), "101 BYE"
	if got := s.final(t, p, request("BYE", s.at, p, d)); got.Code != 200 {
		t.Errorf("the good BYE got %d, want 200", got.Code)
	}
}

func sameCallID(t *testing.T, n *node) {
	p := n.place
	one, two := listen(t, p.at(200, 0)), listen(t, p.at(201, 0))
	d := dialog{callID: "the-same", body: offer, branch: "z9hG4bKthesame"}
	first := one.final(t, p, request("INVITE", one.at, p, d))
	second := two.final(t, p, request("INVITE", two.at, p, d))
	if first.Code != 200 || second.Code != 200 {
		t.Fatalf("two carriers with the same Call-ID got %d and %d, want 200 both", first.Code, second.Code)
	}
	if toTag(first) == toTag(second) {
		t.Error("both have the same To tag: they are one call")
	}
	one.hangUp(t, p, first)
	d = dialog{callID: "the-same", toTag: toTag(second), cseq: "1 ACK"}
	two.says(t, p.sip(1), request("ACK", two.at, p, d))
	d.cseq = "2 INFO"
	if got := two.final(t, p, request("INFO", two.at, p, d)); got.Code != 200 {
		t.Errorf("the second call after the first has ended: INFO got %d, want 200", got.Code)
	}
	d.cseq = "3 BYE"
	if got := two.final(t, p, request("BYE", two.at, p, d)); got.Code != 200 {
		t.Errorf("the second call's BYE got %d, want 200", got.Code)
	}
}

// thrice sends every message three times: each has its effect once, and each repeat its answer.
func thrice(t *testing.T, n *node) {
	p := n.place
	s := listen(t, p.at(200, 0))
	again := func(msg []byte) {
		for range 3 {
			s.says(t, p.sip(1), msg)
		}
	}
	before := n.status().Calls.Placed
	d := dialog{callID: "thrice", body: offer}
	invite := request("INVITE", s.at, p, d)
	again(invite)
	m := s.final(t, p, invite)
	if m.Code != 200 {
		t.Fatalf("the call got %d, want 200", m.Code)
	}
	d = dialog{callID: "thrice", toTag: toTag(m), cseq: "1 ACK"}
	again(request("ACK", s.at, p, d))
	d.cseq = "2 BYE"
	bye := request("BYE", s.at, p, d)
	again(bye)
	answers := 0
	for end := time.Now().Add(10 * time.Second); answers < 3 && time.Now().Before(end); {
		data, _, ok := s.hears(t, time.Until(end))
		if !ok {
			break
		}
		if r, err := town.ParseMessage(data); err == nil && r.Get("CSeq") == "2 BYE" {
			if r.Code != 200 {
				t.Errorf("a BYE or its repeat got %d, want 200", r.Code)
			}
			answers++
		}
	}
	if answers != 3 {
		t.Errorf("three BYEs got %d answers, want 3", answers)
	}
	var mine []string
	eventually(t, 10*time.Second, "the log tells of the call's end", func() bool { // it comes to us by another way than the answers
		mine = n.log.with(`"call_id":"thrice"`)
		return len(mine) > 0 && slices.ContainsFunc(n.log.with(`"message":"call over"`), func(line string) bool { return field(line, "call") == field(mine[0], "call") })
	})
	if len(mine) != 1 {
		t.Errorf("one INVITE, sent four times, became %d calls (%d placed in all meanwhile); want 1", len(mine), n.status().Calls.Placed-before)
	}
}

// endlessStreams are connections of a trunk that never end a message, say nothing, or talk nonsense.
func endlessStreams(t *testing.T, n *node) {
	p := n.place
	dial := func() net.Conn {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(p.at(200, 0)), Timeout: 2 * time.Second}
		c, err := d.DialContext(t.Context(), "tcp", p.sip(1).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for range 50 {
		dial() // says nothing
	}
	tests := []struct {
		name  string
		start string
		goOn  string
	}{
		{"a header without end", "INVITE sip:999@x SIP/2.0\r\nX: ", strings.Repeat("y", 4096)},
		{"headers without end", "INVITE sip:999@x SIP/2.0\r\n", strings.Repeat("X-Many: value\r\n", 300)},
		{"a body of a gigabyte", "INVITE sip:999@x SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bKx\r\nContent-Length: 1000000000\r\n\r\n", strings.Repeat("z", 4096)},
		{"a binary protocol", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", strings.Repeat("\x00\xff\x17", 1000)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial()
			if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, err := io.WriteString(c, tt.start)
			for sent := 0; err == nil && sent < 256<<20; sent += len(tt.goOn) {
				_, err = io.WriteString(c, tt.goOn)
			}
			if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("writing ended with %v after as much as we liked; want the connection closed by nines", err)
			}
		})
	}
	c := dial()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	from := c.LocalAddr().(*net.TCPAddr).AddrPort()
	msg := bytes.Replace(request("OPTIONS", from, p, dialog{}), []byte("SIP/2.0/UDP"), []byte("SIP/2.0/TCP"), 1)
	for _, b := range msg { // one byte at a time
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	answer := make([]byte, 4096)
	k, err := c.Read(answer)
	if err != nil || !bytes.HasPrefix(answer[:k], []byte("SIP/2.0 200")) {
		t.Errorf("a message that comes byte by byte got %q, %v; want 200", answer[:k], err)
	}
}

// flood sends as much nonsense as a socket takes, from a trunk and from a stranger.
func flood(t *testing.T, n *node) {
	trunk, stranger := listen(t, n.place.at(200, 0)), listen(t, n.place.at(66, 0))
	junk := []byte("SIP/2.0 999\r\nVia: SIP/2.0/UDP x\r\n\x00\xff garbage\r\n\r\n")
	invite := request("INVITE", stranger.at, n.place, dialog{body: offer})
	for i := range 20000 {
		trunk.says(t, n.place.sip(1), junk[:len(junk)-i%20])
		stranger.says(t, n.place.sip(1), invite)
	}
}
