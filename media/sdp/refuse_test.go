package sdp

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestARefusalAnswersEachStreamWithPortZero(t *testing.T) {
	offer := "v=0\r\no=pbx 7 7 IN IP4 10.0.1.1\r\ns=-\r\nc=IN IP4 10.0.1.1\r\nt=0 0\r\nm=audio 50000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\nm=video 50002 RTP/SAVP 96\r\n"
	want := "v=0\r\no=- 5 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 0 RTP/AVP 8 101\r\nm=video 0 RTP/SAVP 96\r\n"
	if diff := cmp.Diff(string(Refuse([]byte(offer), 5, netip.MustParseAddr("10.0.0.1"))), want); diff != "" {
		t.Errorf("the refusal (-got +want):\n%s", diff)
	}
	six := string(Refuse([]byte(offer), 5, netip.MustParseAddr("2001:db8::1")))
	if v, err := Look([]byte(six)); err != nil || len(v.Streams) != 2 || v.Streams[0].Port != 0 || v.Origin.Addr != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("over IPv6 it says %q", six)
	}
	if got := Refuse([]byte("hello"), 5, netip.MustParseAddr("10.0.0.1")); got != nil {
		t.Errorf("what is no offer is answered with %q, want nothing", got)
	}
}
