package sip

import (
	"strings"

	"nines/sip/wire"
)

// marker is what a mutual-aid hop carries in History-Info, so that the next node does not send the call on to a partner again (R9).
const marker = "nines:mutual-aid"

// marked says that a History-Info value has the marker, escaped (RFC 7044 §5) or not.
func marked(historyInfo string) bool {
	if !strings.Contains(historyInfo, "nines") {
		return false
	}
	v := strings.ToLower(historyInfo)
	return strings.Contains(v, marker) || strings.Contains(v, "nines%3amutual-aid") || strings.Contains(v, "nines%3amutual%2daid")
}

// appendHistory says where a call comes from, on every attempt after the first and on every partner (R10): the entry of who was asked for before
// gets the reason, and a new entry names who is asked now. Entries that came with the call stay untouched.
func (at *attempt) appendHistory(b []byte, f wire.Flow) []byte {
	if !at.ask.Retarget && !at.ep.Partner {
		return b
	}
	s := at.s
	m := s.invite
	name := s.routing.Name
	index := "1"
	if last := m.List("History-Info"); len(last) > 0 {
		if _, _, params := wire.NameAddr(last[len(last)-1]); params != "" {
			if v, ok := wire.Param(params, "index"); ok && v != "" {
				index = v
			}
		}
	}
	b = append(b, "History-Info: <"...)
	b = append(b, m.URI...)
	sep := byte('?')
	if strings.IndexByte(m.URI, '?') >= 0 {
		sep = '&'
	}
	if at.ask.Retarget {
		b = append(b, sep)
		b = appendReason(b, at.ask.Cause, "nines:"+name+" "+at.ask.Why)
		sep = '&'
	}
	if at.ep.Partner {
		b = append(b, sep)
		b = appendReason(b, 1, marker+" "+name)
	}
	b = append(b, ">;index="...)
	b = append(b, index...)
	b = append(b, ", <"...)
	b = append(b, at.uri...)
	b = append(b, ">;index="...)
	b = append(b, index...)
	b = append(b, ".1\r\n"...)

	b = append(b, `Diversion: "`...)
	b = append(b, quoteless(name)...)
	b = append(b, `" <sip:`...)
	if n := s.match.Number; n != "" && !strings.Contains(n, ":") {
		b = append(b, n...)
		b = append(b, '@')
	}
	b = append(b, s.loop.s.here(f)...)
	b = append(b, ">;reason="...)
	b = append(b, diversionReason(at.ask.Cause)...)
	return append(b, ";counter=1\r\n"...)
}

// appendReason writes a Reason header as a URI header (RFC 3261 §19.1.1, RFC 7044 §5.3): everything that is not unreserved is escaped.
func appendReason(b []byte, cause int, text string) []byte {
	b = append(b, "Reason="...)
	v := "SIP;cause=" + utoa(uint64(max(cause, 0))) + `;text="` + quoteless(text) + `"`
	const hex = "0123456789ABCDEF"
	for i := range len(v) {
		switch c := v[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '!', c == '~', c == '*', c == '(', c == ')':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// diversionReason maps a cause to RFC 5806's words.
func diversionReason(cause int) string {
	switch cause {
	case 486, 600:
		return "user-busy"
	case 408, 480, 487:
		return "no-answer"
	case 500, 502, 503, 504:
		return "unavailable"
	}
	return "unknown"
}
