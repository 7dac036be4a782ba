package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseReadsWhatEveryMessageHas(t *testing.T) {
	m, err := Parse([]byte(inviteText))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Headers) != 18 || m.Headers[1].Name != "Via" || m.Headers[17].Value != "269" {
		t.Errorf("headers %v: all of them, in order", m.Headers)
	}
	if string(m.Body) != sdpText {
		t.Errorf("body %q, want it byte for byte", m.Body)
	}
	m.Headers, m.Body = nil, nil
	want := &Message{
		Method: "INVITE", URI: "sip:999@203.0.113.10:5060;user=phone",
		Via: Via{
			Transport: "UDP", Host: "192.0.2.10", Port: 5060, Branch: "z9hG4bK0g3c9a30d8u0ksk5j4s0.1", HasRPort: true,
			Raw: "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK0g3c9a30d8u0ksk5j4s0.1;rport",
		},
		CallID: "3c26700857a87f84-524287@192.0.2.77",
		From:   `"Caller" <sip:+441905723000@bt.example;user=phone>;tag=as6f8b1d2e`, FromTag: "as6f8b1d2e",
		To:   "<sip:999@203.0.113.10;user=phone>",
		CSeq: 102, MaxForwards: 68, ContentType: "application/sdp",
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	m, err = Parse([]byte(okText))
	if err != nil {
		t.Fatal(err)
	}
	m.Headers = nil
	want = &Message{
		Method: "OPTIONS", Status: 200, Reason: "OK", Body: []byte{},
		Via: Via{
			Transport: "UDP", Host: "203.0.113.10", Port: 5060, Branch: "z9hG4bK7s1c42", Received: "203.0.113.10", RPort: "5060", HasRPort: true,
			Raw: "SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK7s1c42;rport=5060;received=203.0.113.10",
		},
		CallID: "7s1c42@nines", From: "<sip:nines@203.0.113.10>;tag=7s1c42", FromTag: "7s1c42",
		To: "<sip:10.0.0.10:5060>;tag=9fxced76sl", ToTag: "9fxced76sl", CSeq: 7, MaxForwards: -1,
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Errorf("response (-want +got):\n%s", d)
	}
}

// TestTortureThatIsValid follows RFC 4475 §3.1.1: strange, but right.
func TestTortureThatIsValid(t *testing.T) {
	for _, c := range []struct{ why, text, want string }{
		{"blanks, folding and compact forms wherever the grammar lets them stand", crlfText(`
INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \"\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33

`), "INVITE vivekg UDP 192.0.2.2:0 390skdjuw from=98asjd8 to=1918181833n id=wsinv.ndaksdj@192.0.2.1 cseq=9 mf=68 body=0"},
		{"the whole of what a token may hold", crlfText(`
!interesting-Method0123456789_*+` + "`" + `.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d@example.com SIP/2.0
Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+` + "`" + `'~
To: "BEL:` + "\a" + ` NUL:` + "\x00" + ` DEL:` + "\x7f" + `" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
From: token1~` + "`" + ` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%="работающий";tag=_token~1'+` + "`" + `*%!-.
Call-ID: intmeth.word%ZK-!.*_+'@word` + "`" + `~)(><:\/"][?}{
CSeq: 139122385 !interesting-Method0123456789_*+` + "`" + `.%indeed'~
Max-Forwards: 255

`), "!INTERESTING-METHOD0123456789_*+`.%INDEED'~ 1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;* TCP host1.example.com:0 z9hG4bK-.!%66*_+`'~" +
			" from=_token~1'+`*%!-. to= id=intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{ cseq=139122385 mf=255 body=0 malformed"}, // SIP methods keep their case; we don't
		{"the second message in a datagram is ignored", crlfText(`
REGISTER sip:example.com SIP/2.0
To: sip:j.user@example.com
From: sip:j.user@example.com;tag=43251j3j324
Max-Forwards: 8
I: dblreq.0ha0isndaksdj99sdfafnl3lk233412
CSeq: 8 REGISTER
Via: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492
Content-Length: 0

INVITE sip:joe@example.com SIP/2.0
t: sip:joe@example.com

`), "REGISTER  UDP 192.0.2.125:0 z9hG4bKkdjuw23492 from=43251j3j324 to= id=dblreq.0ha0isndaksdj99sdfafnl3lk233412 cseq=8 mf=8 body=0"},
		{"a response without a reason", crlfText(`
SIP/2.0 200 ` + `
Via: SIP/2.0/TLS [2001:db8::9:1]:5061;branch=z9hG4bKas3;received=[2001:db8::9:255]
From: <sip:a@a>;tag=a
To: <sip:b@b>;tag=b
Call-ID: x
CSeq: 8  INVITE
l: 0

`), "200 INVITE TLS 2001:db8::9:1:5061 z9hG4bKas3 from=a to=b id=x cseq=8 mf=-1 body=0"},
		{"IPv6 in brackets and a service URN", crlfText(`
INVITE urn:service:sos.police SIP/2.0
Via: SIP/2.0/UDP [2001:db8::10]:5070;branch=z9hG4bKas3-111,SIP/2.0/TCP x;branch=z9hG4bK2
From: "A, B <not an address>" <sip:a@[2001:db8::10]>;x="a;tag=wrong";tag=right
To: urn:service:sos;tag=t
Call-ID: x
CSeq: 1 INVITE

`), "INVITE service:sos.police UDP 2001:db8::10:5070 z9hG4bKas3-111 from=right to=t id=x cseq=1 mf=-1 body=0"},
	} {
		m, err := Parse([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if d := cmp.Diff(c.want, gist(m)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.why, d)
		}
	}
}

// gist is what a message says, on one line.
func gist(m *Message) string {
	var b strings.Builder
	if m.IsRequest() {
		u, _ := ParseURI(m.URI)
		fmt.Fprintf(&b, "%s %s", m.Method, u.User)
	} else {
		fmt.Fprintf(&b, "%d %s", m.Status, m.Method)
	}
	fmt.Fprintf(&b, " %s %s:%d %s from=%s to=%s id=%s cseq=%d mf=%d body=%d",
		m.Via.Transport, m.Via.Host, m.Via.Port, m.Via.Branch, m.FromTag, m.ToTag, m.CallID, m.CSeq, m.MaxForwards, len(m.Body))
	if m.Malformed {
		b.WriteString(" malformed")
	}
	return b.String()
}

// soundText is what the salvage table breaks.
const soundText = "INVITE sip:999@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=f\r\n" +
	"To: <sip:999@10.0.0.1>\r\nCall-ID: id@b\r\nCSeq: 7 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:a@10.0.0.2>\r\n" +
	"Route: <sip:10.0.0.9;lr>\r\nContent-Type: application/sdp\r\nContent-Length: 10\r\n\r\nv=0\r\ns=-\r\n"

func TestWhatStrangersBreakIsMended(t *testing.T) {
	const all = "INVITE 999 UDP 10.0.0.2:5060 z9hG4bKx from=f to= id=id@b cseq=7 mf=70 body=10 malformed"
	clean := strings.TrimSuffix(all, " malformed")
	swap := func(old, with string) string {
		if !strings.Contains(soundText, old) {
			t.Fatalf("the sample has no %q", old)
		}
		return strings.Replace(soundText, old, with, 1)
	}
	for _, c := range []struct{ why, text, want string }{
		{"sound", soundText, clean},
		{"line breaks before the start line", "\r\n\r\n" + soundText, clean},
		{"NULs and blanks before the start line", "\x00\x00 \r\n" + soundText, clean},
		{"a line without colon", swap("CSeq", "what is this\r\nCSeq"), all},
		{"a line with an impossible name", swap("CSeq", "what is: this\r\nCSeq"), all},
		{"a line without a name", swap("CSeq", ": this\r\nCSeq"), all},
		{"bare LF everywhere", strings.Replace(strings.ReplaceAll(soundText, "\r\n", "\n"), "Length: 10", "Length: 8", 1), strings.Replace(all, "body=10", "body=8", 1)},
		{"bare LF once", swap("To: <sip:999@10.0.0.1>\r\n", "To: <sip:999@10.0.0.1>\n"), all},
		{"CR everywhere", strings.ReplaceAll(strings.Split(soundText, "v=0")[0], "\r\n", "\r"), strings.Replace(all, "body=10", "body=0", 1)},
		{"CR CR LF", strings.ReplaceAll(strings.Split(soundText, "v=0")[0], "\r\n", "\r\r\n") + "v=0\r\ns=-\r\n", all},
		{"a lone CR inside a value", swap("CSeq", "Subject: a\rb\r\nCSeq"), all},
		{"Content-Length too long", swap("Length: 10", "Length: 11"), all},
		{"Content-Length cuts the SDP in the middle of a line", swap("Length: 10", "Length: 8"), all},
		{"Content-Length shorter, at a line's end", swap("Length: 10", "Length: 5"), strings.Replace(clean, "body=10", "body=5", 1)},
		{"no Content-Length", swap("Content-Length: 10\r\n", ""), clean},
		{"Content-Length unreadable", swap("Length: 10", "Length: ten"), all},
		{"Content-Length negative", swap("Length: 10", "Length: -999"), all},
		{"Content-Length beyond all numbers", swap("Length: 10", "Length: 99999999999999999999"), all},
		{"two Content-Lengths: the first counts", swap("Content-Length: 10", "Content-Length: 10\r\nl: 4"), all},
		{"Max-Forwards unreadable", swap("Forwards: 70", "Forwards: many"), strings.Replace(all, "mf=70", "mf=-1", 1)},
		{"Max-Forwards negative", swap("Forwards: 70", "Forwards: -1"), strings.Replace(all, "mf=70", "mf=-1", 1)},
		{"Max-Forwards too large", swap("Forwards: 70", "Forwards: 300"), strings.Replace(all, "mf=70", "mf=255", 1)},
		{"Contact no address", swap("Contact: <sip:a@10.0.0.2>", "Contact: <<sip:;;@@"), clean},
		{"Route no address", swap("Route: <sip:10.0.0.9;lr>", "Route: \"<"), clean},
		{"a quote that stays open in From", swap("From: <sip:a@b>;tag=f", "From: \"Alice <sip:a@b>;tag=f"), all},
		{"a bracket that stays open in From", swap("From: <sip:a@b>;tag=f", "From: <sip:a@b;tag=f"), clean},
		{"two blanks before the URI", swap("INVITE sip", "INVITE  sip"), all},
		{"two blanks after the URI", swap(" SIP/2.0\r\nVia", "  SIP/2.0\r\nVia"), all},
		{"tabs in the request line", swap("INVITE sip:999@10.0.0.1 SIP", "INVITE\tsip:999@10.0.0.1\tSIP"), all},
		{"a blank after the version", swap("SIP/2.0\r\nVia", "SIP/2.0 \r\nVia"), all},
		{"another version", swap("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), all},
		{"the version in small letters", swap("SIP/2.0\r\nVia", "sip/2.0\r\nVia"), all},
		{"no version", swap(" SIP/2.0\r\nVia", "\r\nVia"), all},
		{"angle brackets around the Request-URI", swap("sip:999@10.0.0.1 SIP", "<sip:999@10.0.0.1> SIP"), all},
		{"blanks in the Request-URI", swap("sip:999@10.0.0.1 SIP", "sip:999@10.0.0.1; user=phone SIP"), all},
		{"a Request-URI without a scheme", swap("sip:999@10.0.0.1 SIP", "999@10.0.0.1 SIP"), all},
		{"a Request-URI without an end", swap("sip:999@10.0.0.1 SIP", "sip:999@[10.0.0.1 SIP"), all},
		{"the method in small letters", swap("INVITE sip", "invite sip"), all},
		{"two blanks in CSeq", swap("7 INVITE", "7  INVITE"), clean},
		{"a tab in CSeq", swap("7 INVITE", "7\tINVITE"), clean},
		{"no blank in CSeq", swap("7 INVITE", "7INVITE"), clean},
		{"CSeq of another method", swap("7 INVITE", "7 BYE"), all},
		{"CSeq without a number", swap("CSeq: 7 INVITE", "CSeq: INVITE"), strings.Replace(all, "cseq=7", "cseq=0", 1)},
		{"CSeq too large", swap("CSeq: 7", "CSeq: 99999999999"), strings.Replace(all, "cseq=7", "cseq=4294967295", 1)},
		{"blanks inside the Call-ID", swap("id@b\r\n", "id@b c\r\n"), all},
		{"no Call-ID", swap("Call-ID: id@b\r\n", ""), strings.Replace(all, "id=id@b", "id=", 1)},
		{"no From", swap("From: <sip:a@b>;tag=f\r\n", ""), strings.Replace(all, "from=f", "from=", 1)},
		{"two From: the first counts", swap("To:", "f: <sip:c@d>;tag=g\r\nTo:"), all},
		{"Via without its protocol", swap("SIP/2.0/UDP 10.0.0.2:5060;", "10.0.0.2:5060;"), strings.Replace(all, "UDP 10.0.0.2:5060", " :0", 1)},
		{"Via with an impossible port", swap("10.0.0.2:5060;", "10.0.0.2:99999;"), strings.Replace(all, ":5060", ":0", 1)},
		{"Via with IPv6 without brackets", swap("10.0.0.2:5060;", "2001:db8::2;"), strings.Replace(clean, "10.0.0.2:5060", "2001:db8::2:0", 1)},
		{"the end is missing", strings.Split(soundText, "\r\n\r\n")[0], strings.Replace(all, "body=10", "body=0", 1)},
		{"only the request line", "INVITE sip:999@10.0.0.1 SIP/2.0", "INVITE 999  :0  from= to= id= cseq=0 mf=-1 body=0 malformed"},
		{"the first header is indented", swap("Via: SIP", " Via: SIP"), clean},
		{"a folded line of nothing", swap("id@b\r\n", "id@b\r\n \t\r\n"), clean},
	} {
		m, err := Parse([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if d := cmp.Diff(c.want, gist(m)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.why, d)
		}
		checkPeek(t, c.why, []byte(c.text))
	}
}

func TestWhatIsNoSIPIsNoMessage(t *testing.T) {
	for _, c := range []struct{ why, text string }{
		{"nothing", ""},
		{"a keep-alive", "\r\n\r\n"},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"TLS", "\x16\x03\x01\x00\xa5\x01\x00"},
		{"a method alone", "INVITE\r\n\r\n"},
		{"no method", " sip:999@x SIP/2.0\r\n\r\n"[1:]},
		{"a status of two digits", "SIP/2.0 20 OK\r\n\r\n"},
		{"a status over 699", "SIP/2.0 700 Beyond\r\n\r\n"},
		{"a status that is none", "SIP/2.0 2x0 OK\r\n\r\n"},
		{"only the version", "INVITE SIP/2.0\r\n\r\n"},
	} {
		if m, err := Parse([]byte(c.text)); !errors.Is(err, ErrNoSIP) {
			t.Errorf("%s: got %v, %v; want ErrNoSIP", c.why, m, err)
		}
		if p, ok := Peek([]byte(c.text)); ok {
			t.Errorf("%s: Peek saw %v", c.why, p)
		}
	}
}

func TestSizeIsBounded(t *testing.T) {
	lines := func(n int) []byte {
		return []byte("OPTIONS sip:a SIP/2.0\r\n" + strings.Repeat("X: 1\r\n", n) + "\r\n")
	}
	if _, err := Parse(lines(maxLines - 2)); err != nil {
		t.Errorf("998 headers, the start line and the end: %v", err)
	}
	if _, err := Parse(lines(maxLines - 1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a line more: %v, want too large", err)
	}
	folded := []byte("OPTIONS sip:a SIP/2.0\r\nX: 1" + strings.Repeat("\r\n ", 2000) + "\r\n\r\n")
	if _, err := Parse(folded); !errors.Is(err, ErrTooLarge) {
		t.Errorf("folded without end: %v, want too large", err)
	}
	if _, ok := Peek(folded); ok {
		t.Error("Peek sees what Parse refuses")
	}
	if _, err := Parse(make([]byte, 65536)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("65,536 bytes: %v, want too large", err)
	}
}

func TestNobodyCanMakeParsingSlow(t *testing.T) {
	// Each of these took a quadratic number of steps in some parser; a test that hangs here says so.
	for _, unit := range []string{"\"", "<", "\\\"", "\\\",", "\",\"", ";\"", "<\"", "\r\n ", ",", ";", "<,", "=\""} {
		for _, name := range []string{"Via: SIP/2.0/UDP a", "From: ", "To: x", "CSeq: "} {
			text := "INVITE sip:999@x SIP/2.0\r\n" + name + strings.Repeat(unit, 60000/len(unit)) + "\r\n\r\n"
			m, err := Parse([]byte(text))
			if err != nil {
				if !errors.Is(err, ErrTooLarge) {
					t.Errorf("%q in %q: %v", unit, name, err)
				}
				continue
			}
			for range m.Each("From") {
				continue
			}
			NameAddr(m.From)
			ParseURI(m.From)
		}
	}
}

func TestBytesSurvive(t *testing.T) {
	const latin1, utf8 = "\"J\xfcrgen\"", "\"Zoë 🚓\""
	text := "INVITE sip:999@x SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=b\r\nFrom: " + latin1 + " <sip:a@b>;tag=1\r\nTo: " + utf8 +
		" <sip:c@d>\r\nCall-ID: i\r\nCSeq: 1 INVITE\r\nSubject:  two  blanks \t inside  \r\nx-UNKNOWN: a,b;c=\"d\"\r\n\r\n\x00\xff\r\n"
	m, err := Parse([]byte(text))
	if err != nil || m.Malformed {
		t.Fatalf("parse: %v, malformed %v", err, m != nil && m.Malformed)
	}
	display, uri, params := NameAddr(m.From)
	if display != "J\xfcrgen" || uri != "sip:a@b" || params != ";tag=1" {
		t.Errorf("From is %q %q %q", display, uri, params)
	}
	if display, _, _ = NameAddr(m.To); display != "Zoë 🚓" {
		t.Errorf("To is %q", display)
	}
	if v, _ := m.Get("s"); v != "two  blanks \t inside" {
		t.Errorf("Subject is %q: only the ends are trimmed", v)
	}
	if h := m.Headers[6]; h != (Header{"x-UNKNOWN", `a,b;c="d"`}) {
		t.Errorf("got %v: names stay as received", h)
	}
	if string(m.Body) != "\x00\xff\r\n" {
		t.Errorf("body %q", m.Body)
	}
	broken := strings.Replace(text, "\r\nTo", "\nTo", 1)
	n, err := Parse([]byte(broken))
	if err != nil || !n.Malformed {
		t.Fatalf("parse: %v", err)
	}
	n.Malformed = false
	if d := cmp.Diff(m, n); d != "" {
		t.Errorf("a mended message differs in bytes (-sound +mended):\n%s", d)
	}
}

func TestCompactFormsAreTheirLongNames(t *testing.T) {
	long := map[string]string{
		"f": "From", "t": "To", "v": "Via", "i": "Call-ID", "m": "Contact", "c": "Content-Type", "l": "Content-Length", "k": "Supported",
		"s": "Subject", "o": "Event", "r": "Refer-To", "u": "Allow-Events", "b": "Referred-By", "x": "Session-Expires", "a": "Accept-Contact",
		"d": "Request-Disposition", "e": "Content-Encoding", "j": "Reject-Contact", "n": "Identity-Info", "y": "Identity",
	}
	for short, name := range long {
		m := &Message{Headers: []Header{{"Other", "0"}, {strings.ToUpper(short), "1"}, {strings.ToUpper(name), "2"}}}
		for _, ask := range []string{short, name, strings.ToLower(name)} {
			if v, ok := m.Get(ask); !ok || v != "1" {
				t.Errorf("Get(%q) is %q", ask, v)
			}
			if got := m.All(ask); len(got) != 2 || got[1] != "2" {
				t.Errorf("All(%q) is %q", ask, got)
			}
		}
		if !SameName(short, name) || SameName(short, "Other") {
			t.Errorf("%q must mean %q and nothing else", short, name)
		}
	}
	m := &Message{Headers: []Header{{"v", "1"}, {"Max-Forwards", "2"}}}
	if n := testing.AllocsPerRun(100, func() { m.Get("MAX-FORWARDS"); m.Has("Via"); m.HasToken("v", "x") }); n != 0 {
		t.Errorf("looking for a header costs %v allocations, want none", n)
	}
	if m.Has("z") || m.Has("") || m.Has("From") {
		t.Error("found what is not there")
	}
}

func TestListsSplitOnlyAtTheirCommas(t *testing.T) {
	m := &Message{Headers: []Header{
		{"Route", `<sip:a,b@c;lr>, "x, y \", z" <sip:d> ,, "open <sip:e>`},
		{"k", "timer,100rel"},
		{"route", "<sip:f>"},
		{"Supported", " replaces"},
	}}
	if d := cmp.Diff([]string{"<sip:a,b@c;lr>", `"x, y \", z" <sip:d>`, `"open <sip:e>`, "<sip:f>"}, m.List("Route")); d != "" {
		t.Errorf("Route (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"timer", "100rel", "replaces"}, m.List("Supported")); d != "" {
		t.Errorf("Supported (-want +got):\n%s", d)
	}
	if !m.HasToken("Supported", "100REL") || m.HasToken("Supported", "100") {
		t.Error("a token is found whole and in any case")
	}
	for first := range m.Each("Route") {
		if first != "<sip:a,b@c;lr>" {
			t.Errorf("first is %q", first)
		}
		break
	}
}

func TestNameAddr(t *testing.T) {
	for _, c := range []struct{ value, display, uri, params string }{
		{`<sip:a@b;x=y>;tag=1`, "", "sip:a@b;x=y", ";tag=1"},
		{`sip:a@b;tag=1`, "", "sip:a@b", ";tag=1"},
		{`"A <b>; c" <sip:a@b> ; tag=1`, "A <b>; c", "sip:a@b", "; tag=1"},
		{`A. B. Tel <tel:+1-2>`, "A. B. Tel", "tel:+1-2", ""},
		{`< sip:a@b >`, "", "sip:a@b", ""},
		{`<sip:a@b;tag=1`, "", "sip:a@b", ";tag=1"},
		{`"open <sip:a@b>;tag=1`, `"open`, "sip:a@b", ";tag=1"},
		{`*`, "", "*", ""},
		{``, "", "", ""},
	} {
		display, uri, params := NameAddr(c.value)
		if display != c.display || uri != c.uri || params != c.params {
			t.Errorf("%s is %q %q %q, want %q %q %q", c.value, display, uri, params, c.display, c.uri, c.params)
		}
	}
	if v, ok := Param(`;a="x;tag=no" ; TAG = yes;lr`, "tag"); !ok || v != "yes" {
		t.Errorf("tag is %q, %v", v, ok)
	}
	if v, ok := Param(";a;lr", "lr"); !ok || v != "" {
		t.Errorf("lr is %q, %v", v, ok)
	}
	if _, ok := Param(";a;lr", "l"); ok {
		t.Error("half a name was found")
	}
	if v, _ := Param(`;text="Call completed; elsewhere"`, "text"); v != "Call completed; elsewhere" {
		t.Errorf("text is %q, want it without quotes", v)
	}
}

func TestURI(t *testing.T) {
	for _, c := range []struct {
		text   string
		want   URI
		number string
	}{
		{"sip:999@10.0.0.1", URI{Scheme: "sip", User: "999", Host: "10.0.0.1"}, "999"},
		{"SIP:10.0.0.1:5070;transport=TCP;lr", URI{Scheme: "sip", Host: "10.0.0.1", Port: 5070, Params: ";transport=TCP;lr"}, ""},
		{
			"sips:+44-1905-(723)000;npdi:pw@[2001:db8::1]:5061;maddr=[::2]?Route=%3Csip:x%3E&a=b",
			URI{Scheme: "sips", User: "+44-1905-(723)000;npdi", Password: "pw", Host: "2001:db8::1", Port: 5061, Params: ";maddr=[::2]", Headers: "Route=%3Csip:x%3E&a=b"},
			"+441905723000",
		},
		{"sip:%39%39%39@x;user=phone", URI{Scheme: "sip", User: "%39%39%39", Host: "x", Params: ";user=phone"}, "999"},
		{"sip:j.user-x@x?Subject=a", URI{Scheme: "sip", User: "j.user-x", Host: "x", Headers: "Subject=a"}, "j.user-x"},
		{"tel:+44(0)1905-723.000;phone-context=x", URI{Scheme: "tel", User: "+44(0)1905-723.000", Params: ";phone-context=x"}, "+4401905723000"},
		{"tel:112", URI{Scheme: "tel", User: "112"}, "112"},
		{"urn:service:SOS.fire", URI{Scheme: "urn", User: "service:SOS.fire"}, "urn:service:sos.fire"},
		{"nobody:knows;this", URI{Scheme: "nobody", User: "knows;this"}, "knows"},
	} {
		u, ok := ParseURI(c.text)
		if d := cmp.Diff(c.want, u); d != "" || !ok {
			t.Errorf("%s: %v (-want +got):\n%s", c.text, ok, d)
		}
		if got := u.Number(); got != c.number {
			t.Errorf("%s calls %q, want %q", c.text, got, c.number)
		}
		if got := u.String(); !strings.EqualFold(got, c.text) {
			t.Errorf("%s is written %s", c.text, got)
		}
	}
	for _, c := range []struct{ text, user string }{{"999@x", "999"}, {"999", ""}, {"", ""}, {"sip:", ""}, {"sip:a@", "a"}, {"sip:a@b:x", "a"}, {"sip:a@[::1", "a"}, {":a", ""}} {
		if u, ok := ParseURI(c.text); ok || u.User != c.user {
			t.Errorf("%q: ok %v, user %q; want no, and %q", c.text, ok, u.User, c.user)
		}
	}
	for text, want := range map[string]Proto{"sip:a": 0, "sip:a;transport=udp": UDP, "sip:a;transport=TCP": TCP, "sips:a": TLS, "sips:a;transport=tcp": TLS, "sip:a;transport=tls": TLS, "sip:a;transport=sctp": 0} {
		if u, _ := ParseURI(text); u.Transport() != want {
			t.Errorf("%s goes by %s, want %s", text, u.Transport(), want)
		}
	}
	if u, _ := ParseURI("sip:a;LR;maddr=[2001:db8::1]"); !u.LR() || u.MAddr() != "2001:db8::1" {
		t.Errorf("lr %v maddr %q", u.LR(), u.MAddr())
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	b := AppendRequestLine(nil, "INVITE", "sip:999@x")
	b = AppendHeader(b, "Via", "SIP/2.0/UDP a;branch=b")
	b = AppendHeader(b, "From", "<sip:a@b>;tag=1\r\nEvil: header")
	b = AppendHeader(b, "To", "<sip:c@d>")
	b = AppendHeader(b, "Call-ID", "i")
	b = AppendCSeq(b, 4294967, "INVITE")
	b = AppendBody(b, []byte("body"))
	m, err := Parse(b)
	if err != nil || m.Malformed || m.Has("Evil") || m.CSeq != 4294967 || string(m.Body) != "body" {
		t.Errorf("%v %v from:\n%s", m, err, b)
	}
	b = AppendStatusLine(nil, 487, "")
	if got := string(AppendBody(b, nil)); got != "SIP/2.0 487 Request Terminated\r\nContent-Length: 0\r\n\r\n" {
		t.Errorf("got %q", got)
	}
	for status := 100; status < 700; status++ {
		if Phrase(status) == "" {
			t.Errorf("%d has no phrase", status)
		}
	}
	if got := string(AppendHostPort(AppendHostPort(nil, "2001:db8::1", 5060), "a", 0)); got != "[2001:db8::1]:5060a" {
		t.Errorf("got %q", got)
	}
}

// checkPeek compares Peek with Parse: what they see must be the same.
func checkPeek(t *testing.T, why string, data []byte) {
	t.Helper()
	m, err := Parse(data)
	p, ok := Peek(data)
	if ok != (err == nil) {
		t.Fatalf("%s: Peek says %v, Parse %v", why, ok, err)
	}
	if err != nil {
		return
	}
	want := fmt.Sprintf("%d %q %q %q %d from=%q to=%q id=%q", m.Status, m.URI, m.Via.Branch, m.Via.Host, m.Via.Port, m.FromTag, m.ToTag, m.CallID)
	got := fmt.Sprintf("%d %q %q %q %d from=%q to=%q id=%q", p.Status, p.URI, p.Branch, p.Host, p.Port, p.FromTag, p.ToTag, p.CallID)
	if got != want {
		t.Fatalf("%s: Peek and Parse differ on %q:\npeek  %s\nparse %s", why, data, got, want)
	}
	if m.IsRequest() && string(p.Method) != m.Method {
		t.Fatalf("%s: Peek sees %q, Parse %q", why, p.Method, m.Method)
	}
}

func TestPeekAgreesWithParse(t *testing.T) {
	for _, text := range []string{inviteText, okText, soundText, options(1)} {
		checkPeek(t, "sample", []byte(text))
	}
	data := []byte(inviteText)
	if n := testing.AllocsPerRun(100, func() { Peek(data) }); n != 0 {
		t.Errorf("a glance costs %v allocations, want none", n)
	}
}
