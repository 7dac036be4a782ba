package voice

import (
	"strings"
	"testing"
)

func TestKeysInTheBodyOfAnInfo(t *testing.T) {
	for _, c := range []struct{ kind, body, want string }{
		{"application/dtmf-relay", "Signal=9\r\nDuration=160\r\n", "9"},
		{"application/dtmf-relay", "Signal= 5\nDuration= 100\n", "5"},
		{"Application/DTMF-Relay;charset=utf-8", "Duration=160\r\nsignal=#\r\n", "#"},
		{"application/dtmf-relay", "Signal=10\r\n", "*"},
		{"application/dtmf-relay", "Signal=11", "#"},
		{"application/dtmf-relay", "Signal=a", "A"},
		{"application/dtmf-relay", "Signal=16\r\n", ""},
		{"application/dtmf-relay", "Signal=\r\n", ""},
		{"application/dtmf-relay", "9", ""},
		{"application/dtmf", "9", "9"},
		{"application/dtmf", " * \r\n", "*"},
		{"application/dtmf", "Signal=7\r\nDuration=250\r\n", "7"},
		{"application/dtmf", "Duration=7\r\n", ""},
		{"application/dtmf", "99", ""},
		{"application/dtmf", "", ""},
		{"application/sdp", "Signal=9", ""},
		{"", "9", ""},
	} {
		key, ok := InfoKey(c.kind, []byte(c.body))
		got := ""
		if ok {
			got = string(key)
		}
		if got != c.want {
			t.Errorf("%s %q tells of key %q, want %q", c.kind, c.body, got, c.want)
		}
	}
}

func TestCodecsByTheirNamesInSDP(t *testing.T) {
	for rtpmap, want := range map[string]Codec{
		"PCMA/8000": PCMA, "pcmu/8000/1": PCMU, "G722/8000": G722, "PCMA/16000": "", "PCMU/8000/2": "", "opus/48000/2": "", "telephone-event/8000": "", "": "",
	} {
		if got := CodecOf(rtpmap); got != want {
			t.Errorf("%q is codec %q, want %q", rtpmap, got, want)
		}
	}
	for payload, want := range map[uint8]Codec{0: PCMU, 8: PCMA, 9: G722, 3: "", 101: ""} {
		if got := StaticCodec(payload); got != want {
			t.Errorf("payload type %d is codec %q, want %q", payload, got, want)
		}
	}
}

func FuzzInfoKey(f *testing.F) {
	f.Add("application/dtmf-relay", []byte("Signal=9\r\nDuration=160\r\n"))
	f.Add("application/dtmf", []byte("#"))
	f.Add("application/dtmf;a=\"", []byte("Signal=\n\n=Signal"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		if key, ok := InfoKey(kind, body); ok != strings.ContainsRune(eventKeys, rune(key)) {
			t.Errorf("%q %q tells of key %q: %v", kind, body, key, ok)
		}
	})
}
