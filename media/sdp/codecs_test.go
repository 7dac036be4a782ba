package sdp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLaterAttemptsAreOfferedOnlyTheFrozenCodecs(t *testing.T) {
	const offer = `
v=0
c=IN IP4 192.0.2.1
m=audio 49170 RTP/AVP 9 8 0 13 101
a=rtpmap:9 G722/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtcp-fb:* nack
a=ptime:20
m=video 49172 RTP/AVP 96 97 98 99
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=42e01f
a=rtpmap:97 H264/90000
a=fmtp:97 profile-level-id=640c1f
a=rtcp-fb:97 nack pli
a=rtpmap:98 VP8/90000
a=rtpmap:99 rtx/90000
`
	for _, c := range []struct{ name, offer, answer, want string }{
		{"one codec and key presses", offer, `
m=audio 6000 RTP/AVP 8 101
a=rtpmap:101 telephone-event/8000
m=video 6002 RTP/AVP 96
a=rtpmap:96 h264/90000
`, `
v=0
c=IN IP4 192.0.2.1
m=audio 49170 RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtcp-fb:* nack
a=ptime:20
m=video 49172 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=42e01f
`},
		{"without key presses; video refused", offer, `
m=audio 6000 RTP/AVP 0
m=video 0 RTP/AVP 96
`, `
v=0
c=IN IP4 192.0.2.1
m=audio 49170 RTP/AVP 0
a=rtcp-fb:* nack
a=ptime:20
m=video 0 RTP/AVP 96 97 98 99
a=rtpmap:96 H264/90000
a=fmtp:96 profile-level-id=42e01f
a=rtpmap:97 H264/90000
a=fmtp:97 profile-level-id=640c1f
a=rtcp-fb:97 nack pli
a=rtpmap:98 VP8/90000
a=rtpmap:99 rtx/90000
`},
		{"the same codec under another number", `
m=audio 49170 RTP/AVP 0 111 110
a=rtpmap:111 opus/48000/2
a=rtpmap:110 telephone-event/48000
`, `
m=audio 6000 RTP/AVP 96 97
a=rtpmap:96 OPUS/48000/2
a=rtpmap:97 telephone-event/48000
`, `
m=audio 49170 RTP/AVP 111 110
a=rtpmap:111 opus/48000/2
a=rtpmap:110 telephone-event/48000
`},
		{"nothing in common leaves the offer whole: a re-INVITE is better than silence", `
m=audio 49170 RTP/AVP 0 8 101
a=rtpmap:101 telephone-event/8000
`, `
m=audio 6000 RTP/AVP 18 101
a=rtpmap:101 telephone-event/8000
`, `
m=audio 49170 RTP/AVP 0 8 101
a=rtpmap:101 telephone-event/8000
`},
		{"fax", `
m=image 49170 udptl t38
a=T38FaxVersion:0
`, `
m=image 6000 udptl t38
`, `
m=image 49170 udptl t38
a=T38FaxVersion:0
`},
		{"a shorter answer restricts what it speaks of", `
m=audio 49170 RTP/AVP 0 8
m=text 49172 RTP/AVP 98
`, `
m=audio 6000 RTP/AVP 8
`, `
m=audio 49170 RTP/AVP 8
m=text 49172 RTP/AVP 98
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Restrict(crlf(c.offer), crlf(c.answer))
			if diff := cmp.Diff(string(crlf(c.want)), string(got)); diff != "" {
				t.Errorf("the offer differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSameCodecsSparesAReinvite(t *testing.T) {
	const answer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 49170 RTP/SAVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n" +
		"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AbC\r\n"
	for _, c := range []struct {
		name     string
		old, new string // replaced in the answer
		want     bool
	}{
		{"the same again", "", "", true},
		{"another address and port", "192.0.2.1\r\nm=audio 49170", "192.0.2.77\r\nm=audio 30000", true},
		{"another session", "o=- 1 1", "o=PBX 99 7", true},
		{"a static codec needs no rtpmap", "a=rtpmap:8 PCMA/8000\r\n", "", true},
		{"one channel said or not, capitals or not", "PCMA/8000", "pcma/8000/1", true},
		{"sendrecv said or not", "a=ptime", "a=sendrecv\r\na=ptime", true},
		{"key presses listed otherwise", "a=fmtp:101 0-15\r\n", "", true},
		{"direction for all or for one", "m=audio", "a=sendrecv\r\nm=audio", true},
		{"another codec", "8 101", "0 101", false},
		{"another order", "8 101", "101 8", false},
		{"another number", "101", "96", false},
		{"no key presses", "8 101", "8", false},
		{"on hold", "a=ptime", "a=sendonly\r\na=ptime", false},
		{"another packet time", "ptime:20", "ptime:30", false},
		{"another key, only in capitals", "inline:AbC", "inline:abc", false},
		{"a fingerprint", "a=ptime", "a=fingerprint:sha-256 AB\r\na=ptime", false},
		{"refused", "49170", "0", false},
		{"another protocol", "RTP/SAVP", "RTP/AVP", false},
		{"RTCP on the same port", "a=ptime", "a=rtcp-mux\r\na=ptime", false},
		{"one stream more", "a=ptime:20\r\n", "a=ptime:20\r\nm=text 0 RTP/AVP 98\r\n", false},
	} {
		other := strings.ReplaceAll(answer, c.old, c.new)
		if c.old == "" {
			other = answer
		}
		if got := SameCodecs([]byte(answer), []byte(other)); got != c.want {
			t.Errorf("%s: SameCodecs says %v, want %v", c.name, got, c.want)
		}
		if got := SameCodecs([]byte(other), []byte(answer)); got != c.want {
			t.Errorf("%s, the other way round: SameCodecs says %v, want %v", c.name, got, c.want)
		}
	}
	for set, want := range map[string]bool{"a=fingerprint:SHA-256 AB:CD\r\n": true, "a=fingerprint:sha-256 ab:cd\r\n": true, "a=fingerprint:sha-256 ab:ce\r\n": false} {
		for _, level := range []string{"", "m=audio 1 RTP/AVP 8\r\n"} {
			one := "a=fingerprint:SHA-256 AB:CD\r\nm=audio 1 RTP/AVP 8\r\n"
			other := level + set
			if level == "" {
				other = set + "m=audio 1 RTP/AVP 8\r\n"
			}
			if got := SameCodecs([]byte(one), []byte(other)); got != want {
				t.Errorf("%q against %q: SameCodecs says %v, want %v", one, other, got, want)
			}
		}
	}
}

func FuzzRestrict(f *testing.F) {
	for _, s := range strange {
		for _, to := range strange {
			f.Add([]byte(s), []byte(to))
		}
	}
	f.Fuzz(func(t *testing.T, offer, answer []byte) {
		out := Restrict(offer, answer)
		before, err := Look(offer)
		if err != nil {
			return
		}
		after, err := Look(out)
		if err != nil || len(after.Streams) != len(before.Streams) {
			t.Fatalf("%d streams became %d (%v)", len(before.Streams), len(after.Streams), err)
		}
		for i, s := range before.Streams {
			if len(s.Formats) > 0 && len(after.Streams[i].Formats) == 0 {
				t.Fatalf("stream %d has no format left: %q", i, out)
			}
		}
	})
}
