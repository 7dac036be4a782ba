package sdp

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	ours  = netip.MustParseAddr("203.0.113.10")
	ours6 = netip.MustParseAddr("2001:db8::10")
	usual = Edition{SessionID: 77, Version: 3, Origin: ours, Streams: []Local{{ours, 20000, 20001}, {ours, 20002, 20003}, {ours, 20004, 20005}}}
)

func TestEditChangesAddressesAndPortsOnly(t *testing.T) {
	six := Edition{SessionID: 77, Version: 3, Origin: ours6, Streams: []Local{{ours6, 20000, 20001}, {ours6, 20002, 20003}}}
	for _, c := range []struct {
		name     string
		with     Edition
		in, want string
	}{
		{"a plain offer", usual, `
v=0
o=alice 1 1 IN IP4 192.0.2.1
s=a call
c=IN IP4 192.0.2.1
t=0 0
a=x-vendor: 192.0.2.1:49170
m=audio 49170 RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=fmtp:101 0-15
a=rtcp:49171 IN IP4 192.0.2.1
a=sendrecv
`, `
v=0
o=alice 77 3 IN IP4 203.0.113.10
s=a call
c=IN IP4 203.0.113.10
t=0 0
a=x-vendor: 192.0.2.1:49170
m=audio 20000 RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=fmtp:101 0-15
a=rtcp:20001 IN IP4 203.0.113.10
a=sendrecv
`},
		{"disorder and strange lines stay", usual, `
v=0
o=- 1 1 IN IP4 192.0.2.1
t=0 0
s=-
Z=what is this
c=IN IP4 192.0.2.1

m=audio  49170  RTP/AVP  8` + "  " + `
no equals sign
c=IN IP4 192.0.2.2
b=AS:64
m=video 49180/2 RTP/AVP 96
i=eyes`, `
v=0
o=- 77 3 IN IP4 203.0.113.10
t=0 0
s=-
Z=what is this
c=IN IP4 203.0.113.10

m=audio  20000  RTP/AVP  8` + "  " + `
no equals sign
c=IN IP4 203.0.113.10
b=AS:64
m=video 20002/2 RTP/AVP 96
i=eyes`},
		{"IPv4 becomes IPv6", six, `
o=- 1 1 IN IP4 192.0.2.1
c=IN IP4 192.0.2.1
m=audio 49170 RTP/AVP 8
a=rtcp:49171 IN IP4 192.0.2.1
`, `
o=- 77 3 IN IP6 2001:db8::10
c=IN IP6 2001:db8::10
m=audio 20000 RTP/AVP 8
a=rtcp:20001 IN IP6 2001:db8::10
`},
		{"IPv6 becomes IPv4", usual, `
o=- 1 1 IN IP6 2001:db8::1
m=audio 49170 RTP/AVP 8
c=IN IP6 2001:db8::1
a=rtcp:49171 IN IP6 2001:db8::1
`, `
o=- 77 3 IN IP4 203.0.113.10
m=audio 20000 RTP/AVP 8
c=IN IP4 203.0.113.10
a=rtcp:20001 IN IP4 203.0.113.10
`},
		{"hold and refused streams pass untouched", usual, `
c=IN IP4 192.0.2.1
m=audio 0 RTP/AVP 8
c=IN IP4 192.0.2.3
a=rtcp:49171
m=audio 49172 RTP/AVP 8
c=IN IP4 0.0.0.0
m=audio 49174 RTP/AVP 8
c=IN IP6 ::
`, `
c=IN IP4 203.0.113.10
m=audio 0 RTP/AVP 8
c=IN IP4 192.0.2.3
a=rtcp:49171
m=audio 20002 RTP/AVP 8
c=IN IP4 0.0.0.0
m=audio 20004 RTP/AVP 8
c=IN IP6 ::
`},
		{"a held session passes untouched", usual, `
c=IN IP4 0.0.0.0
m=audio 49170 RTP/AVP 8
`, `
c=IN IP4 0.0.0.0
m=audio 20000 RTP/AVP 8
`},
		{"ICE is dropped", usual, `
c=IN IP4 192.0.2.1
a=ice-lite
a=ice-options:trickle
m=audio 49170 RTP/AVP 8
a=ice-ufrag:8hhY
a=ice-pwd:asd88fgpdd777uzjYhagZg
a=candidate:1 1 UDP 2130706431 192.0.2.1 49170 typ host
a=remote-candidates:1 192.0.2.9 4000
a=end-of-candidates
a=icecream:stays
a=setup:actpass
`, `
c=IN IP4 203.0.113.10
m=audio 20000 RTP/AVP 8
a=icecream:stays
a=setup:actpass
`},
		{"RTCP on the RTP port stays there", usual, `
c=IN IP4 192.0.2.1
m=audio 49170 RTP/AVP 8
a=rtcp-mux
a=rtcp:49170
m=audio 49180 RTP/AVP 8
a=rtcp:9 IN IP4 0.0.0.0
`, `
c=IN IP4 203.0.113.10
m=audio 20000 RTP/AVP 8
a=rtcp-mux
a=rtcp:20000
m=audio 20002 RTP/AVP 8
a=rtcp:20003 IN IP4 0.0.0.0
`},
		{"a TCP stream is left alone", usual, `
c=IN IP4 192.0.2.1
m=message 7654 TCP/MSRP *
c=IN IP4 192.0.2.8
a=path:msrp://192.0.2.8:7654/x;tcp
m=audio 49170 RTP/AVP 8
`, `
c=IN IP4 203.0.113.10
m=message 7654 TCP/MSRP *
c=IN IP4 192.0.2.8
a=path:msrp://192.0.2.8:7654/x;tcp
m=audio 20002 RTP/AVP 8
`},
		{"a TCP stream keeps the address it shared with others", usual, `
c=IN IP4 192.0.2.1
m=audio 49170 RTP/AVP 8
m=message 7654 TCP/MSRP *
a=path:msrp://192.0.2.1:7654/x;tcp
`, `
c=IN IP4 203.0.113.10
m=audio 20000 RTP/AVP 8
m=message 7654 TCP/MSRP *
c=IN IP4 192.0.2.1
a=path:msrp://192.0.2.1:7654/x;tcp
`},
		{"the session's address stays when only a TCP stream lives on it", usual, `
c=IN IP4 192.0.2.1
m=message 7654 TCP/MSRP *
m=audio 49170 RTP/AVP 8
c=IN IP4 192.0.2.2
`, `
c=IN IP4 192.0.2.1
m=message 7654 TCP/MSRP *
m=audio 20002 RTP/AVP 8
c=IN IP4 203.0.113.10
`},
		{"streams without ports of ours are left alone", Edition{SessionID: 1, Version: 1, Origin: ours, Streams: []Local{{}, {ours, 20002, 20003}}}, `
m=audio 49170 RTP/AVP 8
c=IN IP4 192.0.2.1
m=video 49172 RTP/AVP 96
c=IN IP4 192.0.2.1
m=text 49174 RTP/AVP 98
c=IN IP4 192.0.2.1
`, `
m=audio 49170 RTP/AVP 8
c=IN IP4 192.0.2.1
m=video 20002 RTP/AVP 96
c=IN IP4 203.0.113.10
m=text 49174 RTP/AVP 98
c=IN IP4 192.0.2.1
`},
		{"names, garbled o= and garbled ports", usual, `
o=
c=IN IP4 pbx.example
m=audio eggs RTP/AVP 8
m=1 1 RTP/AVP 1
`, `
o=- 77 3 IN IP4 203.0.113.10
c=IN IP4 203.0.113.10
m=audio eggs RTP/AVP 8
m=1 20002 RTP/AVP 1
`},
		{"no o= wanted", Edition{Streams: usual.Streams}, `
o=- 1 1 IN IP4 192.0.2.1
c=IN IP4 192.0.2.1
m=audio 4000 RTP/AVP 8
`, `
o=- 1 1 IN IP4 192.0.2.1
c=IN IP4 203.0.113.10
m=audio 20000 RTP/AVP 8
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, ends := range []struct {
				name string
				as   func(string) []byte
			}{{"CRLF", crlf}, {"LF", func(s string) []byte { return []byte(s[1:]) }}} {
				in := ends.as(c.in)
				before := string(in)
				got := Edit(in, c.with)
				if diff := cmp.Diff(string(ends.as(c.want)), string(got)); diff != "" {
					t.Errorf("with %s (-want +got):\n%s", ends.name, diff)
				}
				if string(in) != before {
					t.Error("Edit must not touch what it was given")
				}
				if again := Edit(got, c.with); string(again) != string(got) {
					t.Errorf("editing twice is editing once:\n%s", cmp.Diff(string(got), string(again)))
				}
			}
		})
	}
}

// strange are descriptions that no library would parse, and some that all would: the seeds of every fuzz target.
var strange = []string{
	"",
	"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n",
	"m=audio 4000 RTP/AVP 0\nc=IN IP4 1.2.3.4\na=rtcp:4001 IN IP4 1.2.3.4\n",
	"c=IN IP4 1.2.3.4\r\nm=message 7 TCP/MSRP *\r\nm=audio 4000/3 RTP/SAVP 96 97\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc\r\n",
	"c=IN IP4 0.0.0.0\rm=audio\r\nm=\r\nm= \r\nc=\r\na=\r\na=rtcp:\r\na=rtcp\r\no=\r\n=",
	"  m=audio 0004000 RTP/AVP 0\n\tc=IN IP6 ::1/1/1\na=rtcp: 9 IN\na=ice-x\na=candidate",
	"m=1 1 1 1 1\nm=audio 1/0 udptl t38\nc=IN IP4 ::ffff:0.0.0.0\nc=IN IP6 fe80::1%eth0",
}

func FuzzEdit(f *testing.F) {
	for _, s := range strange {
		f.Add([]byte(s), uint16(20000))
	}
	f.Fuzz(func(t *testing.T, in []byte, port uint16) {
		before, err := Look(in)
		if err != nil {
			return
		}
		e := Edition{SessionID: 5, Version: 6, Origin: ours}
		for range before.Streams {
			e.Streams = append(e.Streams, Local{Addr: ours, RTP: port, RTCP: port + 1})
		}
		out := Edit(in, e)
		if again := Edit(out, e); string(again) != string(out) {
			t.Fatalf("editing twice is editing once:\n%q\n%q", out, again)
		}
		after, err := Look(out)
		if err != nil {
			t.Fatalf("what was edited can be read: %v", err)
		}
		if len(after.Streams) != len(before.Streams) {
			t.Fatalf("%d streams became %d", len(before.Streams), len(after.Streams))
		}
		for i, was := range before.Streams {
			is := after.Streams[i]
			if was.Port == 0 || !was.UDP() || port == 0 {
				if is.Port != was.Port {
					t.Fatalf("stream %d is none of ours, its port went from %d to %d", i, was.Port, is.Port)
				}
				continue
			}
			if is.Port != port {
				t.Fatalf("stream %d says port %d, want ours", i, is.Port)
			}
			if was.Host != "" && !was.Unspecified && is.Addr != ours {
				t.Fatalf("stream %d says address %q, want ours", i, is.Host)
			}
			if was.Unspecified != is.Unspecified || was.Direction != is.Direction || was.Mux != is.Mux {
				t.Fatalf("stream %d went from %+v to %+v", i, was, is)
			}
		}
	})
}

func FuzzLook(f *testing.F) {
	for _, s := range strange {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := Look(in)
		if err != nil && len(v.Streams) > 0 {
			t.Fatal("streams and an error")
		}
		// Nothing of ours to put in, no ICE to take out: every byte stays.
		lower := strings.ToLower(string(in))
		if kept := Edit(in, Edition{}); !strings.Contains(lower, "ice-") && !strings.Contains(lower, "candidate") && string(kept) != string(in) {
			t.Fatalf("%q became %q", in, kept)
		}
		if !SameCodecs(in, in) {
			t.Fatal("a description has the same codecs as itself")
		}
	})
}

const bigOffer = `v=0
o=PBX 1763900000 1763900000 IN IP4 192.0.2.1
s=a call
c=IN IP4 192.0.2.1
t=0 0
m=audio 49170 RTP/AVP 8 0 9 101
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:9 G722/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=maxptime:150
a=rtcp:49171 IN IP4 192.0.2.1
a=sendrecv
`

func BenchmarkEdit(b *testing.B) {
	in := crlf(bigOffer)
	b.ReportAllocs()
	for b.Loop() {
		Edit(in, usual)
	}
}

func BenchmarkLook(b *testing.B) {
	in := crlf(bigOffer)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Look(in); err != nil {
			b.Fatal(err)
		}
	}
}
