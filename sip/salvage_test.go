package sip_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"nines/policy"
	"nines/sip"
)

// TestFiveThousandBrokenInvitesReachARoom: PRODUCT §12. Whatever a trunk's INVITE has become, as long as its method and the digits of its number are there,
// somebody is called.
func TestFiveThousandBrokenInvitesReachARoom(t *testing.T) {
	count := 5000
	if testing.Short() {
		count = 500
	}
	onStage(t, func(r *sip.Routing) {
		r.Routes[0].Ask = [][]policy.EndpointName{{"control-room"}}
	}, func(st *stage) {
		for _, a := range append(slices.Collect(mapValues(st.rooms)), st.carrier) {
			a.lenient.Store(true)
		}
		room := st.rooms["control-room"]
		rnd := rand.New(rand.NewPCG(4475, 3261))
		before := map[string]bool{}
		lost := 0
		for i := range count {
			for len(st.carrier.in) > 0 {
				<-st.carrier.in
			}
			text := realInvite(i)
			var how []string
			kinds := make([]int, 1+rnd.IntN(3))
			for k := range kinds {
				kinds[k] = rnd.IntN(breaks)
			}
			slices.Sort(kinds) // those that leave no lines to break come last
			for _, kind := range kinds {
				var h string
				text, h = breakIt(rnd, text, kind)
				how = append(how, h)
			}
			if before[string(text)] {
				continue // to the byte what was sent before: a repeat, and no second call
			}
			before[string(text)] = true
			if !bytes.Contains(text, []byte("Call-ID: broken")) {
				time.Sleep(33 * time.Second) // so little is left that it may look like one of before: a repeat comes within 64·T1
			}
			if _, err := st.carrier.conn.WriteTo(text, nodeUDP); err != nil {
				t.Fatal(err)
			}
			select {
			case m := <-room.in:
				for m.Method != "INVITE" { // of a call before
					m = <-room.in
				}
				room.reply(m, 486, "busy")
			case <-time.After(300 * time.Millisecond):
				if lost++; lost <= 10 {
					t.Errorf("%d (%s) reached nobody:\n%q", i, strings.Join(how, ", "), text)
				}
			}
			time.Sleep(10 * time.Millisecond) // its ACK
			for len(room.in) > 0 {
				<-room.in
			}
		}
		if lost > 0 {
			t.Errorf("%d of %d broken INVITEs reached nobody; want none", lost, count)
		}
		c := st.server.Counters()
		t.Logf("%d INVITEs, %d of them malformed: all but %d reached a room", count, c.Malformed, lost)
	})
}

func mapValues(m map[string]*actor) func(func(*actor) bool) {
	return func(yield func(*actor) bool) {
		for _, name := range []string{"control-room", "standby-room", "partner"} {
			if !yield(m[name]) {
				return
			}
		}
	}
}

// realInvite is one of a few INVITEs as carriers send them.
func realInvite(i int) []byte {
	number := []string{"sip:999@10.0.0.1;user=phone", "tel:999", "urn:service:sos.police", "sip:112@10.0.0.1:5060"}[i%4]
	body := "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n"
	return fmt.Appendf(nil, "INVITE %[1]s SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKbroken%[2]d;rport\r\nMax-Forwards: 70\r\n"+
		"From: \"A Caller\" <sip:+4477009%05[2]d@bt.example;user=phone>;tag=t%[2]d\r\nTo: <%[1]s>\r\nCall-ID: broken-%[2]d@10.0.0.9\r\nCSeq: 1 INVITE\r\n"+
		"Contact: <sip:carrier@10.0.0.9:5060>\r\nP-Asserted-Identity: <tel:+4477009%05[2]d>\r\nAllow: INVITE, ACK, BYE\r\nSupported: 100rel\r\n"+
		"Content-Type: application/sdp\r\nContent-Length: %[3]d\r\n\r\n%[4]s", number, i, len(body), body)
}

// kept says whether a byte belongs to what must stay: the method, and the Request-URI's scheme and number, or service.
func kept(text []byte, at int) bool {
	end := bytes.IndexByte(text, '\n')
	line := text[:end]
	for _, stop := range []string{"@", " SIP/2.0", "\r"} {
		if i := bytes.Index(line, []byte(stop)); i > 0 {
			return at < i
		}
	}
	return at <= end
}

// breaks is how many ways breakIt knows.
const breaks = 14

// breakIt breaks an INVITE in one way.
func breakIt(rnd *rand.Rand, text []byte, kind int) ([]byte, string) {
	head, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	lines := bytes.Split(bytes.Clone(head), []byte("\r\n"))
	at := 0
	if len(lines) > 1 {
		at = 1 + rnd.IntN(len(lines)-1)
	}
	join := func(ls [][]byte) []byte {
		return append(append(bytes.Join(ls, []byte("\r\n")), "\r\n\r\n"...), body...)
	}
	switch kind {
	case 0: // a byte becomes another
		for range 50 {
			if i := rnd.IntN(len(text)); !kept(text, i) {
				out := bytes.Clone(text)
				out[i] = byte(rnd.IntN(256))
				return out, fmt.Sprintf("byte %d became %q", i, out[i])
			}
		}
		return text, "nothing"
	case 1: // bytes are lost
		i := rnd.IntN(len(text))
		n := 1 + rnd.IntN(8)
		if kept(text, i) || i+n > len(text) {
			return text, "nothing"
		}
		return slices.Concat(text[:i], text[i+n:]), fmt.Sprintf("%d bytes at %d are lost", n, i)
	case 2: // bytes are inserted
		i := rnd.IntN(len(text))
		if kept(text, i) {
			return text, "nothing"
		}
		junk := [][]byte{{0}, []byte("\""), []byte("<"), []byte("\r"), []byte("\n"), []byte("\t\t"), []byte("%"), {0xff, 0xfe}, []byte(";;"), []byte(",")}[rnd.IntN(10)]
		return slices.Concat(text[:i], junk, text[i:]), fmt.Sprintf("%q at %d", junk, i)
	case 3:
		if at == 0 {
			return text, "nothing"
		}
		return join(slices.Delete(lines, at, at+1)), "a line is lost"
	case 4:
		return join(slices.Insert(lines, at, lines[at])), "a line comes twice"
	case 5:
		return join(slices.Insert(lines, max(at, 1), []byte("this is no header"))), "a line without colon"
	case breaks - 2:
		return append(append(bytes.Join(lines, []byte("\n")), "\n\n"...), body...), "bare line feeds"
	case 7:
		i := bytes.IndexByte(lines[at], ':')
		if at == 0 || i < 0 {
			return text, "nothing"
		}
		lines[at] = lines[at][:i+1]
		return join(lines), "a value is lost"
	case 8:
		for i, l := range lines {
			if bytes.HasPrefix(l, []byte("Content-Length")) {
				lines[i] = fmt.Appendf(nil, "Content-Length: %d", rnd.IntN(1<<20))
			}
		}
		return join(lines), "a wrong length"
	case breaks - 1:
		return append([]byte("\r\n\r\n"), text...), "leading line ends"
	case 6:
		i := bytes.Index(lines[0], []byte(" SIP/2.0"))
		if i < 0 {
			return text, "nothing"
		}
		lines[0] = slices.Concat(lines[0][:i], []byte([]string{"  SIP/2.0", " SIP/2.0 ", " sip/2.0", " SIP/3.0", ""}[rnd.IntN(5)]))
		return join(lines), "an odd version"
	case 9:
		n := rnd.IntN(len(body) + 1)
		return append(append(slices.Clone(head), "\r\n\r\n"...), body[:n]...), "the body is cut"
	case breaks - 3:
		return head[:len(head)-rnd.IntN(len(head)-len(lines[0])+1)], "the rest is cut"
	default:
		if at == 0 {
			return text, "nothing"
		}
		lines[at] = append(lines[at], bytes.Repeat([]byte("x"), 1+rnd.IntN(2000))...)
		return join(lines), "a long line"
	}
}
