package sdp

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// crlf turns a readable description into one as sent.
func crlf(s string) []byte {
	return []byte(strings.ReplaceAll(strings.TrimLeft(s, "\n"), "\n", "\r\n"))
}

func addrPort(s string) netip.AddrPort {
	if s == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(s)
}

var addrs = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

func TestLookReadsWhatARelayNeeds(t *testing.T) {
	got, err := Look(crlf(`
v=0
o=alice 2890844526 7 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
t=0 0
a=sendonly
a=ptime:30
m=audio 49170 RTP/AVP 8 0 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=rtcp:53020 IN IP4 192.0.2.9
a=sendrecv
m=video 51372/2 RTP/SAVPF 99
c=IN IP6 2001:db8::7
a=rtpmap:99 H264/90000
a=rtcp-mux
m=text 11000 RTP/AVP 98
a=rtcp:11009
a=ptime:300
m=image 0 udptl t38
m=message 7654 TCP/MSRP *
`))
	if err != nil {
		t.Fatal(err)
	}
	one, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::7")
	want := View{
		Origin: Origin{User: "alice", ID: 2890844526, Version: 7, Addr: one},
		Streams: []Stream{
			{
				Kind: "audio", Port: 49170, Ports: 1, Proto: "RTP/AVP", Formats: []string{"8", "0", "101"}, Host: "192.0.2.1", Addr: one,
				RTCP: addrPort("192.0.2.9:53020"), Direction: SendRecv, Ptime: 30, Clock: 8000,
			},
			{
				Kind: "video", Port: 51372, Ports: 2, Proto: "RTP/SAVPF", Formats: []string{"99"}, Host: "2001:db8::7", Addr: six,
				RTCP: addrPort("[2001:db8::7]:51373"), Mux: true, Direction: SendOnly, Ptime: 30, Clock: 90000,
			},
			{
				Kind: "text", Port: 11000, Ports: 1, Proto: "RTP/AVP", Formats: []string{"98"}, Host: "192.0.2.1", Addr: one,
				RTCP: addrPort("192.0.2.1:11009"), Direction: SendOnly, Ptime: 300,
			},
			{Kind: "image", Port: 0, Ports: 1, Proto: "udptl", Formats: []string{"t38"}, Host: "192.0.2.1", Addr: one, Direction: SendOnly, Ptime: 30},
			{
				Kind: "message", Port: 7654, Ports: 1, Proto: "TCP/MSRP", Formats: []string{"*"}, Host: "192.0.2.1", Addr: one,
				RTCP: addrPort("192.0.2.1:7655"), Direction: SendOnly, Ptime: 30,
			},
		},
	}
	if diff := cmp.Diff(want, got, addrs); diff != "" {
		t.Errorf("the view differs (-want +got):\n%s", diff)
	}
	if got.Streams[4].UDP() || !got.Streams[3].UDP() {
		t.Error("MSRP runs over TCP and T.38 over UDP")
	}
}

func TestLookTakesWhatStrangersWrite(t *testing.T) {
	for _, c := range []struct{ name, sdp, rtp string }{
		{"c= after t=", "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\n", "1.2.3.4:4000"},
		{"bare LF", "v=0\no=- 1 1 IN IP4 1.2.3.4\ns=-\nc=IN IP4 1.2.3.4\nt=0 0\nm=audio 4000 RTP/AVP 0\n", "1.2.3.4:4000"},
		{"no final line end", "c=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0", "1.2.3.4:4000"},
		{"only c= and m=", "c=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\n", "1.2.3.4:4000"},
		{"unknown lines", "v=0\r\nhello\r\n\r\nq=what\r\nc=IN IP4 1.2.3.4\r\n=\r\nm=audio 4000 RTP/AVP 0\r\n", "1.2.3.4:4000"},
		{"indented, as test scripts do", "  v=0\n  c=IN IP4 1.2.3.4\n  m=audio 4000 RTP/AVP 0\n", "1.2.3.4:4000"},
		{"many blanks", "c=IN  IP4   1.2.3.4 \r\nm=audio   4000  RTP/AVP  0 \r\n", "1.2.3.4:4000"},
		{"a time to live", "c=IN IP4 1.2.3.4/127\r\nm=audio 4000 RTP/AVP 0\r\n", "1.2.3.4:4000"},
		{"IPv4 mapped", "c=IN IP6 ::ffff:1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\n", "1.2.3.4:4000"},
		{"a name has no address", "c=IN IP4 pbx.example\r\nm=audio 4000 RTP/AVP 0\r\n", ""},
		{"no c= at all", "v=0\r\nm=audio 4000 RTP/AVP 0\r\n", ""},
		{"held the old way", "c=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n", ""},
		{"held in IPv6", "c=IN IP6 ::\r\nm=audio 4000 RTP/AVP 0\r\n", ""},
		{"no number for a port", "c=IN IP4 1.2.3.4\r\nm=audio eggs RTP/AVP 0\r\n", ""},
		{"a port that is none", "c=IN IP4 1.2.3.4\r\nm=audio 70000 RTP/AVP 0\r\n", ""},
		{"an empty m=", "c=IN IP4 1.2.3.4\r\nm=\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := Look([]byte(c.sdp))
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Streams) != 1 {
				t.Fatalf("one m= line made %d streams", len(v.Streams))
			}
			if got := v.Streams[0].RTP(); got != addrPort(c.rtp) {
				t.Errorf("packets go to %v, want %q", got, c.rtp)
			}
		})
	}
}

func TestHoldIsSeen(t *testing.T) {
	v, err := Look([]byte("c=IN IP4 pbx.example\r\na=inactive\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4002 RTP/AVP 0\r\na=RECVONLY\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !v.Streams[0].Unspecified || v.Streams[1].Unspecified {
		t.Error("only the stream with 0.0.0.0 is held that way")
	}
	if v.Streams[1].Host != "pbx.example" {
		t.Errorf("the host is %q, want the name that can be resolved", v.Streams[1].Host)
	}
	if d := v.Streams[0].Direction; d != Inactive || d.Sends() || d.Receives() {
		t.Errorf("the first stream is %s, want the session's inactive", d)
	}
	if d := v.Streams[1].Direction; d != RecvOnly || d.Sends() || !d.Receives() {
		t.Errorf("the second stream is %s, want its own recvonly", d)
	}
}

func TestLookRefusesOnlyNothing(t *testing.T) {
	for _, s := range []string{"", "\r\n", "hello", "INVITE sip:999@nines SIP/2.0\r\n\r\n", "{\"a\":1}"} {
		if _, err := Look([]byte(s)); !errors.Is(err, ErrNothing) {
			t.Errorf("%q gave %v, want ErrNothing", s, err)
		}
	}
	if v, err := Look([]byte("v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\n")); err != nil || len(v.Streams) != 0 {
		t.Errorf("a description without streams is one (RFC 3264 §5): %v, %d streams", err, len(v.Streams))
	}
}
