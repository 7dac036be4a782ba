package sip

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"nines/sip/wire"
)

// sound says that an endpoint's addresses can be tried.
func sound(t *testing.T, ways []way, from any) {
	t.Helper()
	r := &resolver{names: map[question]*name{{host: "x"}: {ways: ways}}}
	for range 2 {
		hops := r.targets(&endpoint{asks: question{host: "x"}, proto: wire.UDP, port: 5060}, rand.New(rand.NewPCG(1, 2)))
		if len(hops) > maxWays {
			t.Fatalf("%d addresses are too many", len(hops))
		}
		for _, h := range hops {
			if !h.addr.IsValid() || h.addr.Port() == 0 || h.proto != wire.UDP && !h.proto.Stream() {
				t.Fatalf("%v came of %q", h, from)
			}
		}
	}
}

// FuzzNamesFile reads what the file of DNS answers may say after a bad night of its disk. Calls go by it.
func FuzzNamesFile(f *testing.F) {
	f.Add([]byte(`{"sip:x":[{"rank":1,"weight":5,"proto":1,"port":5060,"addrs":["192.0.2.1","2001:db8::1"]},{"rank":1,"proto":2,"port":5061,"addrs":["192.0.2.2"]}]}`))
	f.Add([]byte(`{"sip:x":[{"weight":-5,"proto":77,"port":0,"addrs":[""]},{"weight":-1},{"weight":9223372036854775807}],"":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		saved, err := readNames(data)
		if err != nil {
			return
		}
		for _, ways := range saved {
			sound(t, ways, data)
		}
	})
}

// FuzzDNSAnswer lets a server say the same to each question.
func FuzzDNSAnswer(f *testing.F) {
	seed := func(records ...string) {
		m := new(dns.Msg)
		m.SetQuestion("x.example.", dns.TypeA)
		m.Response = true
		for _, r := range records {
			rr, err := dns.NewRR(r)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		data, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	seed("x.example. 60 IN A 192.0.2.1", "x.example. 60 IN AAAA 2001:db8::1")
	seed("x.example. 60 IN CNAME y.example.", "y.example. 60 IN CNAME x.example.")
	seed(`x.example. 60 IN NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.x.example.`, "_sip._udp.x.example. 60 IN SRV 1 65535 5060 x.example.", "x.example. 0 IN A 192.0.2.1")
	f.Fuzz(func(t *testing.T, data []byte) {
		r := new(dns.Msg)
		if r.Unpack(data) != nil {
			return
		}
		for _, q := range []question{{host: "x.example"}, {host: "x.example", sips: true}, {host: "x.example", proto: wire.TCP}, {host: "x.example", port: 5060}} {
			l := &lookup{ask: func(context.Context, string, uint16) ([]dns.RR, time.Duration, error) {
				return r.Answer, negative(r), nil
			}}
			sound(t, l.walk(context.Background(), q), data)
		}
	})
}

// FuzzHeaders reads the small things that strangers write into headers and tags.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{
		"1800;refresher=uac", "90 ; refresher = UAS;x", "1 2 INVITE", "n0-1-0-3o3cun43rfmuj", "z9hG4bKn0-1-0-3o3cun43rfmuj", "<sip:a@b>;q=0.5, <sip:c@d;lr>;expires=3",
		callersSessionID, `"a\"b" <sip:x@[::1]:5060>;tag=1`, "SIP/2.0/UDP a:1;branch=z9hG4bKx;rport;alias, SIP/2.0/TCP b", `Q.850;cause=38;text="a,b"`, "<sip:a@b?Reason=SIP%3Bcause%3D1>;index=1.1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") {
			return
		}
		text := "INVITE sip:999@x SIP/2.0\r\nVia: " + s + "\r\nFrom: " + s + "\r\nTo: " + s + "\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"
		for _, h := range []string{"Session-Expires", "Min-SE", "Contact", "RAck", "Session-ID", "Reason", "History-Info", "Supported", "Require", "P-Asserted-Identity", "Record-Route"} {
			text += h + ": " + s + "\r\n"
		}
		m, err := wire.Parse([]byte(text + "\r\n"))
		if err != nil {
			t.Fatalf("a request that shows its method and number is no more: %v", err)
		}
		if se := sessionOf(m); se.Expires < 0 || se.Min < 0 {
			t.Fatalf("%v came of %q", se, s)
		}
		if id := sessionHalf(m); id != "" && (len(id) != 32 || !strings.Contains(s, id)) {
			t.Fatalf("half a Session-ID %q came of %q", id, s)
		}
		if tok, ok := parseToken(s); ok {
			if again, ok := parseToken(tok.text(rand.New(rand.NewPCG(1, 2)))); !ok || again != tok {
				t.Fatalf("%q is %v, written and read again %v", s, tok, again)
			}
		}
		if uri := contactURI(m); uri != "" && strings.ContainsAny(uri, " \t<>") {
			t.Fatalf("a Contact %q came of %q", uri, s)
		}
		for _, uri := range contacts(m) {
			if !usable(uri) {
				t.Fatalf("a Contact to follow %q came of %q", uri, s)
			}
		}
		parseRAck(s)
		dyingCause(m)
		callerNumber(m)
		marked(s)
		withoutParam(s, "expires")
		plainURI(s)
		if b := appendVias(nil, m, netip.MustParseAddrPort("192.0.2.1:5060")); strings.Count(string(b), "\r\n") != 1 {
			t.Fatalf("one Via became %q", b)
		}
		if v := completed(s, m.FromTag, "sip:x@x"); strings.ContainsAny(v, "\r\n") {
			t.Fatalf("%q became %q", s, v)
		}
		l := &loop{rnd: rand.New(rand.NewPCG(1, 2))}
		l.complete(m)
		if _, err := wire.Parse(simpleReply(m, netip.MustParseAddrPort("192.0.2.1:5060"), 500, "x", "t")); err != nil {
			t.Fatalf("our answer cannot be read: %v", err)
		}
	})
}

const callersSessionID = "ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000"
