package acceptance

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// talking is a call between a carrier and a room that are both sockets of the test, so that the test knows everything that somebody on the way could have heard.
type talking struct {
	n            *node
	carrier      socket // SIP
	caller, room socket // audio
	near, far    netip.AddrPort
	d            dialog        // the caller's
	ok           *town.Message // what its INVITE got
}

// threeTrunks has two carriers, one of them with two addresses.
const threeTrunks = head + `
trunks:
  carrier: { from: ["{200}/32", "{201}/32"] }
  other: { from: ["{202}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 1000 }
routes:
  - { name: "999", class: emergency, numbers: ["999", "112"], ask: [control-room], rescue: off }
  - { name: "101", class: routine, numbers: ["101"], ask: [control-room] }
`

func newTalking(t *testing.T) talking {
	t.Helper()
	p := newPlace()
	n := start(t, p, threeTrunks)
	offers := make(chan string, 10)
	newDesk(t, p.sip(10), func(text string) string {
		if text != "" {
			offers <- text
		}
		return strings.ReplaceAll(strings.ReplaceAll(offer, "40000", "50000"), "HOST", p.ip(10).String())
	})
	n.verdict("up", "control-room")
	c := talking{n: n, caller: listen(t, p.at(200, 40000)), room: listen(t, p.at(10, 50000)), carrier: listen(t, p.at(200, 0))}
	c.d = dialog{callID: "talking", branch: "z9hG4bKtalking", body: offer}
	c.ok = c.carrier.final(t, p, request("INVITE", c.carrier.at, p, c.d))
	if c.ok.Code != 200 {
		t.Fatalf("the call got %d, want 200", c.ok.Code)
	}
	c.d = dialog{callID: "talking", toTag: toTag(c.ok), cseq: "1 ACK"}
	c.carrier.says(t, p.sip(1), request("ACK", c.carrier.at, p, c.d))
	c.near, c.far = streams(t, string(c.ok.Body))[0], streams(t, <-offers)[0]
	eventually(t, 5*time.Second, "the call talks", func() bool { return n.status().Calls.Talking == 1 })
	return c
}

// talks checks that both hear each other.
func (c talking) talks(t *testing.T, when string) {
	t.Helper()
	crosses(t, "the caller's voice "+when, c.caller, c.near, c.room, c.far, rtpPacket(1, 8))
	crosses(t, "the room's voice "+when, c.room, c.far, c.caller, c.near, rtpPacket(2, 8))
	if got := c.n.status().Calls.Talking; got != 1 {
		t.Errorf("%s %d calls talk, want 1", when, got)
	}
}

// rtpPacket is 20 ms of something.
func rtpPacket(ssrc byte, pt byte) []byte {
	return append([]byte{0x80, pt, 0, 1, 0, 0, 0, 160, ssrc, ssrc, ssrc, ssrc}, bytes.Repeat([]byte{0xd5}, 160)...)
}

// rtcpBye is a forged farewell (RFC 3550 §6.6).
func rtcpBye(ssrc byte) []byte {
	return []byte{0x80, 201, 0, 1, ssrc, ssrc, ssrc, ssrc, 0x81, 203, 0, 1, ssrc, ssrc, ssrc, ssrc}
}

// silent checks that nothing comes, but for repeats of responses that were had before: who answers waits half a second for our ACK.
func (s socket) silent(t *testing.T, what string, had ...*town.Message) {
	t.Helper()
	for {
		data, from, there := s.hears(t, 200*time.Millisecond)
		switch {
		case !there:
			return
		case slices.ContainsFunc(had, func(m *town.Message) bool { return repeats(data, m) }):
		default:
			t.Errorf("%s: %v came from %v:\n%.300q", what, len(data), from, data)
			return
		}
	}
}

// repeats says whether a datagram is a response that was had before.
func repeats(data []byte, had *town.Message) bool {
	m, err := town.ParseMessage(data)
	return err == nil && m.Code == had.Code && m.Get("Via") == had.Get("Via") && m.Get("CSeq") == had.Get("CSeq") && m.Get("To") == had.Get("To")
}

// TestForgeriesEndNoCall: somebody who has heard a call's Call-ID and tags on the way sends BYE, re-INVITE, CANCEL and more from an address that is not the
// dialog's, with guesses of a password too. All are refused, the book has it, and the call goes on. Another address of the same trunk may speak for it.
func TestForgeriesEndNoCall(t *testing.T) {
	t.Parallel()
	c := newTalking(t)
	p := c.n.place
	guess := "Authorization: Digest username=\"999\", realm=\"nines\", nonce=\"0\", uri=\"sip:nines\", response=\"00000000000000000000000000000000\"\r\n"
	cseq := 100
	for _, who := range []struct {
		name string
		host int
		want int // the answer to who is not in the call; 0: none
	}{{"a stranger", 66, 403}, {"another trunk", 202, 403}, {"the room", 10, 403}} {
		s := listen(t, p.at(who.host, 0))
		for _, method := range []string{"BYE", "INVITE", "UPDATE", "INFO", "REFER"} {
			for _, extra := range []string{"", guess} {
				cseq++
				d := c.d
				d.cseq, d.extra, d.branch = fmt.Sprintf("%d %s", cseq, method), extra, ""
				if method == "INVITE" {
					d.body = strings.ReplaceAll(offer, "40000", "41000")
				}
				m := s.final(t, p, request(method, s.at, p, d))
				if m.Code != who.want {
					t.Errorf("%s of %s within the call got %d, want %d", method, who.name, m.Code, who.want)
				}
				if m.Get("WWW-Authenticate")+m.Get("Proxy-Authenticate") != "" {
					t.Errorf("%s of %s was challenged", method, who.name)
				}
				if method == "INVITE" {
					d.cseq = fmt.Sprintf("%d ACK", cseq)
					s.says(t, p.sip(1), request("ACK", s.at, p, d))
				}
			}
		}
		// The INVITE's branch was heard, too.
		d := dialog{callID: "talking", branch: "z9hG4bKtalking", cseq: "1 CANCEL"}
		if m := s.final(t, p, request("CANCEL", s.at, p, d)); m.Code == 200 {
			t.Errorf("a CANCEL of %s was taken", who.name)
		}
	}
	c.talks(t, "after the forgeries")
	c.carrier.silent(t, "the carrier hears of forgeries", c.ok)
	eventually(t, 20*time.Second, "the book has the forgery", func() bool {
		out, _ := c.n.cli("journal", "export", "--since", "1h")
		return strings.Contains(out, "forged request") && strings.Contains(out, p.ip(66).String()) && strings.Contains(out, p.ip(202).String())
	})

	second := listen(t, p.at(201, 0))
	d := c.d
	d.cseq = "2 BYE"
	if m := second.final(t, p, request("BYE", second.at, p, d)); m.Code != 200 {
		t.Errorf("a BYE from the trunk's other address got %d, want 200", m.Code)
	}
	c.n.empty(10 * time.Second)
}

// TestAForgedCancelStopsNoCall: a call that rings is not cancelled by who has heard its INVITE but has another address.
func TestAForgedCancelStopsNoCall(t *testing.T) {
	t.Parallel()
	p := newPlace()
	phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Behaviour{{Code: 180}, {After: 1500 * time.Millisecond, Code: 200}})})
	n := start(t, p, threeTrunks)
	n.verdict("up", "control-room")
	carrier := listen(t, p.at(200, 0))
	d := dialog{callID: "rings", branch: "z9hG4bKrings", body: strings.ReplaceAll(offer, "HOST", p.ip(200).String())}
	carrier.says(t, p.sip(1), request("INVITE", carrier.at, p, d))
	for {
		data, _, there := carrier.hears(t, 5*time.Second)
		if !there {
			t.Fatal("nothing rings")
		}
		if bytes.HasPrefix(data, []byte("SIP/2.0 180")) {
			break
		}
	}
	for _, host := range []int{66, 202, 10} {
		s := listen(t, p.at(host, 0))
		s.says(t, p.sip(1), request("CANCEL", s.at, p, dialog{callID: "rings", branch: "z9hG4bKrings", cseq: "1 CANCEL"}))
		// and as if it came from the carrier's own socket, but for the source address
		s.says(t, p.sip(1), request("CANCEL", carrier.at, p, dialog{callID: "rings", branch: "z9hG4bKrings", cseq: "1 CANCEL"}))
	}
	var ok *town.Message
	for end := time.Now().Add(10 * time.Second); ok == nil && time.Now().Before(end); {
		data, _, there := carrier.hears(t, time.Until(end))
		if m, err := town.ParseMessage(data); there && err == nil && m.Code >= 200 && strings.HasSuffix(m.Get("CSeq"), "INVITE") {
			ok = m
		}
	}
	if ok == nil || ok.Code != 200 {
		t.Fatalf("the call got %v, want 200", ok)
	}
	carrier.hangUp(t, p, ok)
	n.empty(10 * time.Second)
}

// TestNobodyTalksIntoACall: R29. RTP and a farewell by RTCP from other hosts, and from other ports of the right hosts, to every port of a talking call: nobody
// hears them, nothing goes back to them, and the call goes on.
func TestNobodyTalksIntoACall(t *testing.T) {
	t.Parallel()
	c := newTalking(t)
	p := c.n.place
	c.talks(t, "before")
	before := c.n.status().Media.Dropped["foreign"]
	sent := uint64(0)
	callerRTCP, roomRTCP := listen(t, p.at(200, 40001)), listen(t, p.at(10, 50001))
	for _, host := range []int{66, 202, 200, 10} {
		s := listen(t, p.at(host, 0))
		for _, at := range []netip.AddrPort{c.near, c.far} {
			control := netip.AddrPortFrom(at.Addr(), at.Port()+1)
			for range 20 {
				s.says(t, at, rtpPacket(1, 8))
				s.says(t, at, rtcpBye(1))
				s.says(t, control, rtcpBye(1))
				s.says(t, control, rtcpBye(2))
				sent += 4
			}
		}
		s.silent(t, "audio leaks to an attacker") // RTP bleed
	}
	for name, s := range map[string]socket{"the caller": c.caller, "the room": c.room, "the caller's RTCP": callerRTCP, "the room's RTCP": roomRTCP} {
		s.silent(t, name+" hears an attacker")
	}
	eventually(t, 5*time.Second, "what is foreign is counted", func() bool { return c.n.status().Media.Dropped["foreign"] >= before+sent })
	for range 20 {
		c.talks(t, "after it")
	}
	d := c.d
	d.cseq = "2 BYE"
	if m := c.carrier.final(t, p, request("BYE", c.carrier.at, p, d)); m.Code != 200 {
		t.Errorf("BYE got %d, want 200", m.Code)
	}
	c.n.empty(10 * time.Second)
}

// from is a connection from a host of the place to nines.
func (p place) dial(t *testing.T, host int) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(p.at(host, 0)), Timeout: 10 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", p.sip(1).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// overTCP is a request as it is sent by TCP.
func overTCP(method string, c net.Conn, p place, d dialog) []byte {
	return bytes.Replace(request(method, c.LocalAddr().(*net.TCPAddr).AddrPort(), p, d), []byte("SIP/2.0/UDP"), []byte("SIP/2.0/TCP"), 1)
}

// TestConnectionsThatLieOrCrawlHarmNobody: Content-Length that is wrong in every way, messages a byte at a time, and more connections of strangers than there are places.
func TestConnectionsThatLieOrCrawlHarmNobody(t *testing.T) {
	t.Parallel()
	p := newPlace()
	n := start(t, p, "unknown_sources: answer_emergency\n"+threeTrunks)
	newDesk(t, p.sip(10), func(string) string { return strings.ReplaceAll(offer, "HOST", p.ip(10).String()) })
	n.verdict("up", "control-room")
	slow := p.dial(t, 200)
	type end struct {
		err  error
		took time.Duration
	}
	crawled := make(chan end, 1)
	go func() { // ends when nines closes the connection, or with its deadline
		var err error
		begin := time.Now()
		for _, b := range overTCP("OPTIONS", slow, p, dialog{extra: "X: " + strings.Repeat("y", 4000) + "\r\n"}) {
			if _, err = slow.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		crawled <- end{err, time.Since(begin)}
	}()

	for name, length := range map[string]string{"negative": "-1", "not a number": "many", "larger than anybody may": "4294967297", "of many digits": strings.Repeat("9", 200), "too long by a little": "1000"} {
		c := p.dial(t, 200)
		lie := bytes.Replace(overTCP("OPTIONS", c, p, dialog{}), []byte("Content-Length: 0"), []byte("Content-Length: "+length), 1)
		if _, err := c.Write(lie); err != nil {
			t.Fatal(err)
		}
		answers, _ := io.ReadAll(io.LimitReader(deadline{c, time.Second}, 1<<20))
		if got := bytes.Count(answers, []byte("SIP/2.0 200")); got > 1 {
			t.Errorf("a Content-Length that is %s got %d answers", name, got)
		}
	}
	c := p.dial(t, 200)
	smuggled := overTCP("OPTIONS", c, p, dialog{callID: "inner"})
	outer := bytes.Replace(overTCP("OPTIONS", c, p, dialog{callID: "outer"}), []byte("Content-Length: 0"), fmt.Appendf(nil, "Content-Length: %d\r\nContent-Length: 0", len(smuggled)), 1)
	if _, err := c.Write(append(append(outer, smuggled...), overTCP("OPTIONS", c, p, dialog{callID: "last"})...)); err != nil {
		t.Fatal(err)
	}
	var answers []byte
	for _, wait := range []time.Duration{10 * time.Second, time.Second} { // both answers, in either order: each has its own loop; then what must not come
		for buf := make([]byte, 4096); wait == time.Second || !bytes.Contains(answers, []byte("Call-ID: outer")) || !bytes.Contains(answers, []byte("Call-ID: last")); {
			k, err := deadline{c, wait}.Read(buf)
			if answers = append(answers, buf[:k]...); err != nil {
				break
			}
		}
	}
	if !bytes.Contains(answers, []byte("Call-ID: outer")) || bytes.Contains(answers, []byte("Call-ID: inner")) || !bytes.Contains(answers, []byte("Call-ID: last")) {
		t.Errorf("of two lengths the first counts; the answers are\n%s", answers)
	}

	for host := range 100 { // strangers take what places they get
		for range 3 {
			if s, err := (&net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(p.at(50+host, 0)), Timeout: 2 * time.Second}).DialContext(t.Context(), "tcp", p.sip(1).String()); err == nil {
				t.Cleanup(func() { _ = s.Close() })
			}
		}
	}
	eventually(t, 5*time.Second, "strangers have 64 places", func() bool { return n.status().SIP.Connections <= 64+10 })
	good := p.dial(t, 200)
	if _, err := good.Write(overTCP("OPTIONS", good, p, dialog{})); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	if k, err := io.ReadAtLeast(good, answer, len("SIP/2.0 200")); err != nil || !bytes.HasPrefix(answer[:k], []byte("SIP/2.0 200")) {
		t.Errorf("beside 300 connections of strangers a trunk got %q, %v; want 200", answer[:k], err)
	}
	caller := listen(t, p.at(200, 0))
	ok := caller.final(t, p, request("INVITE", caller.at, p, dialog{body: offer}))
	if ok.Code != 200 {
		t.Fatalf("a call meanwhile got %d, want 200", ok.Code)
	}
	caller.hangUp(t, p, ok)
	select {
	case end := <-crawled:
		if end.err == nil || end.took > 20*time.Second {
			t.Errorf("a message that takes for ever ended with %v after %v; want the connection closed after 10 s", end.err, end.took)
		}
	case <-time.After(25 * time.Second):
		t.Error("a connection may crawl for 25 s")
	}
}

// deadline is a connection that is read for so long.
type deadline struct {
	net.Conn
	after time.Duration
}

// Read reads, or ends.
func (d deadline) Read(b []byte) (int, error) {
	_ = d.SetReadDeadline(time.Now().Add(d.after))
	n, err := d.Conn.Read(b)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// TestTheLargestMessagesPass: R12, 65,535 bytes by TCP both ways.
func TestTheLargestMessagesPass(t *testing.T) {
	t.Parallel()
	p := newPlace()
	n := start(t, p, strings.Replace(threeTrunks, `"sip:{10}:5060"`, `"sip:{10}:5060;transport=tcp"`, 1))
	const most = 65535
	ln, err := net.Listen("tcp", p.sip(10).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	asked := make(chan []byte, 10)
	go serveLarge(ln, p.sip(10).String(), most, asked) // ends with the listener
	n.verdict("up", "control-room")
	c := p.dial(t, 200)
	bare := len(overTCP("INVITE", c, p, dialog{callID: "large", branch: "z9hG4bKlarge", body: offer, extra: "X-Large: \r\n"}))
	msg := overTCP("INVITE", c, p, dialog{callID: "large", branch: "z9hG4bKlarge", body: offer, extra: "X-Large: " + strings.Repeat("y", most-bare) + "\r\n"})
	if len(msg) != most {
		t.Fatalf("the INVITE has %d bytes, want %d", len(msg), most)
	}
	if _, err := c.Write(msg); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-asked:
		if bytes.Count(got, []byte("y")) < most-bare {
			t.Errorf("of %d bytes the room got %d", most, len(got))
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the room was not asked")
	}
	var answer []byte
	buf := make([]byte, 1<<17)
	for !bytes.Contains(answer, []byte("SIP/2.0 200")) || bytes.Count(answer, []byte("z")) < 60000 || !bytes.HasSuffix(answer, []byte("RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n")) {
		k, err := c.Read(buf)
		if err != nil {
			t.Fatalf("the 200 did not come whole: %v after %d bytes", err, len(answer))
		}
		answer = append(answer, buf[:k]...)
	}
	at := bytes.LastIndex(answer, []byte("SIP/2.0 200"))
	ok, err := town.ParseMessage(answer[at:])
	if err != nil {
		t.Fatal(err)
	}
	d := dialog{callID: "large", toTag: toTag(ok), cseq: "1 ACK"}
	bye := d
	bye.cseq = "2 BYE"
	if _, err := c.Write(append(overTCP("ACK", c, p, d), overTCP("BYE", c, p, bye)...)); err != nil {
		t.Fatal(err)
	}
	n.empty(10 * time.Second)
}

// serveLarge answers OPTIONS, and an INVITE with as many bytes as a message may have.
func serveLarge(ln net.Listener, contact string, most int, asked chan<- []byte) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() { // ends with the connection
			defer c.Close()
			var in []byte
			buf := make([]byte, 1<<17)
			for {
				k, err := c.Read(buf)
				if err != nil {
					return
				}
				in = append(in, buf[:k]...)
				for {
					head, rest, ok := bytes.Cut(in, []byte("\r\n\r\n"))
					if !ok {
						break
					}
					var length int
					if _, text, found := bytes.Cut(head, []byte("Content-Length: ")); found {
						_, _ = fmt.Sscan(string(text), &length)
					}
					if len(rest) < length {
						break
					}
					whole := in[:len(head)+4+length]
					in = rest[length:]
					m, err := town.ParseMessage(whole)
					if err != nil || m.Method == "" || m.Method == "ACK" {
						continue
					}
					sdp := ""
					if m.Method == "INVITE" {
						asked <- bytes.Clone(whole)
						sdp = strings.ReplaceAll(offer, "HOST", ln.Addr().(*net.TCPAddr).IP.String())
					}
					text := response(m, "200 OK", contact+";transport=tcp", sdp)
					if m.Method == "INVITE" {
						text = strings.Replace(text, "Contact:", "X-Large: "+strings.Repeat("z", most-len(text)-len("X-Large: \r\n"))+"\r\nContact:", 1)
					}
					_, _ = io.WriteString(c, text)
				}
			}
		}()
	}
}
