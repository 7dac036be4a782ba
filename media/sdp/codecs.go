package sdp

import (
	"slices"
	"strings"
)

// Restrict takes out of an offer what a frozen answer did not agree to: formats with their rtpmap, fmtp and rtcp-fb lines; a stream that the
// answer refused is offered refused (port 0). Later attempts are offered the result, so that whoever answers fits what the caller already hears
// (R44). A stream with nothing in common stays whole: a re-INVITE is better than a call without sound.
func Restrict(sdp, to []byte) []byte {
	offer, answer := sections(sdp), sections(to)
	out := make([]byte, 0, len(sdp))
	stream := -1
	var dropped []string
	for text := string(sdp); text != ""; {
		var ln line
		ln, text = cut(text)
		switch ln.kind {
		case 'm':
			stream++
			dropped = nil
			if stream < len(answer) && answer[stream].port != 0 {
				dropped = offer[stream].disagreed(answer[stream])
			}
			refused := stream < len(answer) && answer[stream].port == 0
			out = restrictMedia(out, ln, dropped, refused)
		case 'a':
			if aboutFormat(ln.value, dropped) {
				continue
			}
			fallthrough
		default:
			out = append(out, ln.text...)
			out = append(out, ln.end...)
		}
	}
	return out
}

// restrictMedia writes an m= line without some of its formats.
func restrictMedia(out []byte, ln line, dropped []string, refused bool) []byte {
	m := mediaLine(ln.value)
	text := ln.text[:len(ln.text)-len(m.formats)]
	if refused && m.port != 0 {
		at := len(ln.text) - len(ln.value) + m.at
		out = append(out, text[:at]...)
		out = append(out, '0')
		out = append(out, text[at+len(m.digits):]...)
	} else {
		out = append(out, text...)
	}
	for rest := m.formats; rest != ""; {
		word, after := field(rest)
		if word == "" || !slices.Contains(dropped, word) {
			out = append(out, rest[:len(rest)-len(after)]...)
		}
		rest = after
	}
	return append(out, ln.end...)
}

// aboutFormat says whether an a= line belongs to one of these formats only.
func aboutFormat(value string, formats []string) bool {
	if len(formats) == 0 {
		return false
	}
	name, rest, _ := strings.Cut(value, ":")
	name = strings.TrimSpace(name)
	if !equal(name, "rtpmap") && !equal(name, "fmtp") && !equal(name, "rtcp-fb") {
		return false
	}
	pt, _ := field(rest)
	return slices.Contains(formats, pt)
}

// SameCodecs says whether two answers to one offer are the same to whoever sends and plays: codecs, payload numbers, direction, packet time,
// keys and fingerprints. Then the caller need not be told that another endpoint has answered.
func SameCodecs(a, b []byte) bool {
	return slices.EqualFunc(sections(a), sections(b), section.same)
}

// section is what one m= section says about its formats.
type section struct {
	media
	list      []string          // the formats
	codecs    map[string]string // payload type → encoding, lower case, without a channel count of 1
	params    map[string]string // payload type → fmtp
	direction string
	ptime     string
	security  []string // crypto, fingerprint, setup, key-mgmt; sorted
	mux       bool
}

// sections reads all m= sections; what the session says counts for each that does not say it itself.
func sections(sdp []byte) []section {
	var (
		all     []section
		session section
	)
	for text := string(sdp); text != ""; {
		var ln line
		ln, text = cut(text)
		switch ln.kind {
		case 'm':
			m := mediaLine(ln.value)
			all = append(all, section{
				media: m, list: strings.Fields(m.formats), codecs: map[string]string{}, params: map[string]string{},
				direction: session.direction, ptime: session.ptime,
			})
		case 'a':
			if len(all) > 0 {
				all[len(all)-1].attribute(ln.value)
			} else {
				session.attribute(ln.value)
			}
		}
	}
	for i := range all {
		s := &all[i]
		s.security = append(s.security, inherited(session.security, s.security)...)
		slices.Sort(s.security)
		if s.direction == "" {
			s.direction = string(SendRecv)
		}
		for _, pt := range s.list {
			if _, ok := s.codecs[pt]; !ok {
				s.codecs[pt] = encoding(static[pt])
			}
		}
	}
	return all
}

// inherited are the session's security lines whose kind a stream does not have itself.
func inherited(session, own []string) []string {
	var list []string
	for _, s := range session {
		name, _, _ := strings.Cut(s, ":")
		if !slices.ContainsFunc(own, func(o string) bool { return strings.HasPrefix(o, name+":") }) {
			list = append(list, s)
		}
	}
	return list
}

func (s *section) attribute(value string) {
	name, rest, _ := strings.Cut(value, ":")
	name, rest = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(rest)
	switch name {
	case string(SendRecv), string(SendOnly), string(RecvOnly), string(Inactive):
		s.direction = name
	case "ptime":
		s.ptime = rest
	case "rtcp-mux":
		s.mux = true
	case "fingerprint", "setup":
		rest = strings.ToLower(rest)
		fallthrough
	case "crypto", "key-mgmt":
		s.security = append(s.security, name+":"+strings.Join(strings.Fields(rest), " "))
	case "rtpmap":
		if pt, codec := field(rest); s.codecs != nil {
			s.codecs[pt] = encoding(codec)
		}
	case "fmtp":
		if pt, params := field(rest); s.params != nil {
			s.params[pt] = strings.Join(strings.Fields(params), "")
		}
	}
}

// encoding makes rtpmap values comparable: "PCMU/8000/1" is "pcmu/8000".
func encoding(rtpmap string) string {
	return strings.TrimSuffix(strings.ToLower(strings.TrimSpace(rtpmap)), "/1")
}

// disagreed lists the formats of an offer's section that the answer's has not. It is empty when they have nothing in common.
func (s section) disagreed(answer section) []string {
	var kept, dropped []string
	for _, pt := range s.list {
		if s.agreed(pt, answer) {
			kept = append(kept, pt)
		} else {
			dropped = append(dropped, pt)
		}
	}
	if !slices.ContainsFunc(kept, s.carries) {
		return nil
	}
	return dropped
}

// agreed says whether the answer has this format: under the same number, or under another where the codec is offered but once.
func (s section) agreed(pt string, answer section) bool {
	codec := s.codecs[pt]
	if slices.Contains(answer.list, pt) && answer.codecs[pt] == codec {
		return true
	}
	if codec == "" {
		return false
	}
	for _, other := range answer.list {
		if answer.codecs[other] != codec {
			continue
		}
		if same := slices.Contains(s.list, other) && s.codecs[other] == codec; !same {
			return true
		}
	}
	return false
}

// carries says whether a format carries the sound itself and not only key presses, noise or repairs.
func (s section) carries(pt string) bool {
	name, _, _ := strings.Cut(s.codecs[pt], "/")
	switch name {
	case "telephone-event", "cn", "rtx", "red", "ulpfec", "flexfec-03":
		return false
	}
	return true
}

// same compares two answers' sections.
func (s section) same(o section) bool {
	if !equal(s.kind, o.kind) || !equal(s.proto, o.proto) || (s.port == 0) != (o.port == 0) {
		return false
	}
	if s.port == 0 {
		return true
	}
	if !slices.Equal(s.list, o.list) || s.direction != o.direction || s.ptime != o.ptime || s.mux != o.mux ||
		!slices.Equal(s.security, o.security) {
		return false
	}
	for _, pt := range s.list {
		if s.codecs[pt] != o.codecs[pt] {
			return false
		}
		// A telephone-event without parameters means events 0 to 15 (RFC 4733 §2.4.1); what is listed there needs no new agreement.
		if s.params[pt] != o.params[pt] && !strings.HasPrefix(s.codecs[pt], "telephone-event") {
			return false
		}
	}
	return true
}
