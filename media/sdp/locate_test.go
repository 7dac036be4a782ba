package sdp

import (
	"strings"
	"testing"
)

const tiny = "v=0\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\n"

func TestLocateFindsTheOneDescription(t *testing.T) {
	pidf := "--b\r\nContent-Type: application/pidf+xml\r\nContent-ID: <x@y>\r\n\r\n<presence>application/sdp</presence>\r\n"
	for _, c := range []struct{ name, contentType, body, want string }{
		{"the whole body", "application/sdp", tiny, tiny},
		{"with parameters and capitals", "Application/SDP;charset=utf-8", tiny, tiny},
		{"no Content-Type", "", tiny, tiny},
		{"first part", "multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\n\r\n" + tiny + "\r\n" + pidf + "--b--\r\n", tiny},
		{"second part", "multipart/mixed; boundary=b", pidf + "--b\r\nContent-Type: application/sdp\r\n\r\n" + tiny + "\r\n--b--\r\n", tiny},
		{"a quoted boundary", `multipart/mixed; boundary="a b:c"`, "--a b:c\r\nContent-Type: application/sdp\r\n\r\n" + tiny + "\r\n--a b:c--", tiny},
		{"a garbled parameter", `multipart/mixed; x=y=z; ;boundary="b`, "--b\r\nContent-Type: application/sdp\r\n\r\n" + tiny + "\r\n--b--", tiny},
		{"no boundary said", "multipart/mixed", "--b\r\nContent-Type: application/sdp\r\n\r\n" + tiny + "\r\n--b--", tiny},
		{"bare LF", "multipart/mixed;boundary=b", "--b\nContent-Type: application/sdp\n\nv=0\nm=audio 1 RTP/AVP 0\n\n--b--\n", "v=0\nm=audio 1 RTP/AVP 0\n"},
		{"a preamble", "multipart/mixed;boundary=b", "for old mailers\r\n--bb\r\n--b \r\ncontent-type:application/sdp\r\n\r\n" + tiny + "\r\n--b--", tiny},
		{"a folded header", "multipart/mixed;boundary=b", "--b\r\nContent-Type:\r\n application/sdp;\r\n\tx=y\r\n\r\n" + tiny + "\r\n--b--", tiny},
		{"no closing delimiter", "multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\n\r\n" + tiny, tiny},
		{"no line end of its own", "multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\n\r\nm=audio 1 RTP/AVP 0\r\n--b--", "m=audio 1 RTP/AVP 0"},
		{"nested", "multipart/mixed;boundary=b", pidf + "--b\r\nContent-Type: multipart/alternative;boundary=b-in\r\n\r\n--b-in\r\n\r\ntext\r\n" +
			"--b-in\r\nContent-Type: application/sdp\r\n\r\n" + tiny + "\r\n--b-in--\r\n\r\n--b--\r\n", tiny},
		{"a description of something else first", "multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\nContent-Disposition: icon\r\n\r\nv=9\r\n" +
			"--b\r\nContent-Type: application/sdp\r\nContent-Disposition: session;handling=required\r\n\r\n" + tiny + "\r\n--b--", tiny},
	} {
		t.Run(c.name, func(t *testing.T) {
			span, ok := Locate(c.contentType, []byte(c.body))
			if !ok {
				t.Fatal("nothing found")
			}
			if got := c.body[span.Start:span.End]; got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
			if got := string(Splice([]byte(c.body), span, []byte("NEW"))); got != c.body[:span.Start]+"NEW"+c.body[span.End:] {
				t.Errorf("every byte outside the description stays, got %q", got)
			}
		})
	}
}

func TestLocateFindsNothingElse(t *testing.T) {
	deep := strings.Repeat("--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n", 50) + tiny
	for _, c := range []struct{ name, contentType, body string }{
		{"text", "text/plain", tiny},
		{"no Content-Type and no description", "", "hello"},
		{"no such part", "multipart/mixed;boundary=b", "--b\r\nContent-Type: text/plain\r\n\r\n" + tiny + "\r\n--b--"},
		{"behind the end", "multipart/mixed;boundary=b", "--b--\r\n--b\r\nContent-Type: application/sdp\r\n\r\n" + tiny},
		{"base64 is not text", "multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--b--"},
		{"an empty multipart", "multipart/mixed;boundary=b", ""},
		{"no delimiter anywhere", "multipart/mixed", tiny},
		{"without end", "multipart/mixed;boundary=b", deep},
	} {
		if span, ok := Locate(c.contentType, []byte(c.body)); ok {
			t.Errorf("%s: found %q", c.name, c.body[span.Start:span.End])
		}
	}
}

func FuzzLocate(f *testing.F) {
	f.Add("application/sdp", []byte(tiny))
	f.Add("multipart/mixed;boundary=b", []byte("--b\r\nContent-Type: application/sdp\r\n\r\n"+tiny+"\r\n--b--\r\n"))
	f.Add("multipart/mixed;boundary=\"", []byte("--b\nContent-Type: multipart/x;boundary=b\n\n--b\nc:application/sdp\n\n\n--b"))
	f.Add("multipart/mixed", []byte("--b\r\n\r\n--b--"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		span, ok := Locate(contentType, body)
		if !ok {
			return
		}
		if span.Start < 0 || span.End < span.Start || span.End > len(body) {
			t.Fatalf("%v is no place in a body of %d bytes", span, len(body))
		}
		if got := Splice(body, span, body[span.Start:span.End]); string(got) != string(body) {
			t.Fatalf("the same description in the same place changes nothing, got %q", got)
		}
	})
}
