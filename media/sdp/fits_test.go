package sdp_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"nines/media/sdp"
)

func TestAnAnswerFitsWhenItsWriterCanBeHeard(t *testing.T) {
	const offer = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8 0 96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\nm=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n"
	tests := []struct {
		name, answer string
		want         bool
	}{
		{"one of the codecs", "v=0\r\nm=audio 5000 RTP/AVP 0\r\nm=video 0 RTP/AVP 97\r\n", true},
		{"a codec under another number", "v=0\r\nm=audio 5000 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\nm=video 0 RTP/AVP 97\r\n", true},
		{"too few streams", "v=0\r\nm=audio 5000 RTP/AVP 8\r\n", true},
		{"too many streams", "v=0\r\nm=audio 5000 RTP/AVP 8\r\nm=video 0 RTP/AVP 97\r\nm=text 5004 RTP/AVP 98\r\n", true},
		{"video alone", "v=0\r\nm=audio 0 RTP/AVP 8\r\nm=video 5002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n", true},
		{"held", "v=0\r\nm=audio 5000 RTP/AVP 8\r\na=inactive\r\nm=video 0 RTP/AVP 97\r\n", true},
		{"never offered", "v=0\r\nm=audio 5000 RTP/AVP 18\r\nm=video 0 RTP/AVP 97\r\n", false},
		{"an offered number for another codec", "v=0\r\nm=audio 5000 RTP/AVP 96\r\na=rtpmap:96 AMR/8000\r\n", false},
		{"key presses only", "v=0\r\nm=audio 5000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n", false},
		{"all refused", "v=0\r\nm=audio 0 RTP/AVP 8\r\nm=video 0 RTP/AVP 97\r\n", false},
		{"streams in another order", "v=0\r\nm=video 5002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n", false},
		{"no stream", "v=0\r\n", false},
		{"nothing", "", false},
	}
	for _, tt := range tests {
		if got := sdp.Fits([]byte(offer), []byte(tt.answer)); got != tt.want {
			t.Errorf("%s: fits %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWhoIsBoundToADescriptionUnderstandsOnlyWhatIsWithinIt(t *testing.T) {
	const bound = "v=0\r\nm=audio 4000 RTP/SAVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=crypto:1 A inline:one\r\n"
	for _, tt := range []struct {
		name, sdp string
		want      bool
	}{
		{"the same", bound, true},
		{"less, elsewhere", "v=0\r\nm=audio 5000 RTP/SAVP 8\r\na=crypto:1 A inline:one\r\n", true},
		{"another codec", "v=0\r\nm=audio 5000 RTP/SAVP 0\r\na=crypto:1 A inline:one\r\n", false},
		{"another number for key presses", "v=0\r\nm=audio 5000 RTP/SAVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\na=crypto:1 A inline:one\r\n", false},
		{"another key", "v=0\r\nm=audio 5000 RTP/SAVP 8\r\na=crypto:1 A inline:two\r\n", false},
		{"refused", "v=0\r\nm=audio 0 RTP/SAVP 0\r\n", true},
		{"a second stream", bound + "m=video 5002 RTP/AVP 97\r\n", false},
	} {
		if got := sdp.Within([]byte(tt.sdp), []byte(bound)); got != tt.want {
			t.Errorf("%s: within %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestADescriptionIsMadeAlike(t *testing.T) {
	const audio, two = "v=0\r\nm=audio 5000 RTP/AVP 8\r\na=ptime:20\r\n", "v=0\r\nm=audio 1 RTP/AVP 8\r\nm=video 2 RTP/AVP 97 98\r\n"
	for _, tt := range []struct{ name, sdp, to, want string }{
		{"the same number", audio, "v=0\r\nm=audio 1 RTP/AVP 0\r\n", audio},
		{"one is missing", audio, two, audio + "m=video 0 RTP/AVP 97 98\r\n"},
		{"one is missing and the last line has no end", "v=0\r\nm=audio 5000 RTP/AVP 8", two, "v=0\r\nm=audio 5000 RTP/AVP 8\r\nm=video 0 RTP/AVP 97 98\r\n"},
		{"one too many", audio + "m=video 7 RTP/AVP 97\r\na=sendonly\r\n", audio, audio},
	} {
		if diff := cmp.Diff(tt.want, string(sdp.Alike([]byte(tt.sdp), []byte(tt.to)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
