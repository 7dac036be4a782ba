package sdp

import (
	"slices"
	"strings"
)

// Fits says whether an answer gives the offer's writer something to hear or say: one stream at least, in its place and of its kind, that is not refused
// and has an offered codec. The number of streams is not compared; see [Alike].
func Fits(offer, answer []byte) bool {
	o, a := sections(offer), sections(answer)
	for i := range min(len(o), len(a)) {
		if o[i].port == 0 || a[i].port == 0 || !equal(o[i].kind, a[i].kind) {
			continue
		}
		if slices.ContainsFunc(o[i].list, func(f string) bool { return o[i].carries(f) && o[i].agreed(f, a[i]) }) {
			return true
		}
	}
	return false
}

// Within says whether who is bound to a description understands all that the writer of another one may send: each stream that is not refused has no codec or
// number beyond those of the first, and its keys.
func Within(sdp, bound []byte) bool {
	told := sections(bound)
	for i, s := range sections(sdp) {
		if s.port == 0 {
			continue
		}
		if i >= len(told) || told[i].port == 0 || !slices.Equal(s.security, told[i].security) {
			return false
		}
		for _, pt := range s.list {
			if !slices.Contains(told[i].list, pt) || told[i].codecs[pt] != s.codecs[pt] {
				return false
			}
		}
	}
	return true
}

// Alike gives a description as many m= sections as another one has, for a re-INVITE may not have fewer (RFC 3264 §8) and an answer must have the same
// number (§6): what is too much is cut off, what is missing is added as refused.
func Alike(sdp, to []byte) []byte {
	var out []byte
	have := 0
	want := sections(to)
	for text := string(sdp); text != ""; {
		var ln line
		ln, text = cut(text)
		if ln.kind == 'm' {
			if have == len(want) {
				return out
			}
			have++
		}
		out = append(out, ln.text...)
		out = append(out, ln.end...)
	}
	for _, s := range want[have:] {
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, "\r\n"...)
		}
		out = append(out, "m="+s.kind+" 0 "+s.proto+" "+strings.Join(s.list, " ")+"\r\n"...)
	}
	return out
}
