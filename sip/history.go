package sip

import (
	"bytes"
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

// retargeted says that an attempt must show where the call comes from: on every attempt after the first, and on every partner (R10).
func (at *attempt) retargeted() bool { return at.ask.Retarget || at.ep.Partner }

// appendHistory adds the entries of this retarget to History-Info (R10): one for who was called, with the reason, and one for who is asked now.
// Entries that came with the call stay untouched; ours go one level below the last of them (RFC 7044).
func (at *attempt) appendHistory(b []byte, f wire.Flow) []byte {
	if !at.retargeted() {
		return b
	}
	m := at.s.invite
	index := lastIndex(m)
	b = append(b, "History-Info: "...)
	if index == "" {
		index = "1"
	} else {
		index += ".1"
	}
	if !sipURI(m.URI) {
		// A urn: or tel: URI takes no headers; RFC 7044 has the reason in a SIP URI of the same meaning.
		b = append(b, '<')
		b = appendEscaped(b, m.URI, uriUnescaped)
		b = append(b, ">;index="...)
		b = append(b, index...)
		b = append(b, ", "...)
		index += ".1"
	}
	b = append(b, '<')
	b = at.appendReasons(at.appendCalled(b, f))
	b = append(b, ">;index="...)
	b = append(b, index...)
	b = append(b, ", <"...)
	b = appendEscaped(b, at.uri, uriUnescaped)
	b = append(b, ">;index="...)
	b = append(b, index...)
	return append(b, ".1\r\n"...)
}

// lastIndex is the index of the last History-Info entry that came with a call; empty where none came. One without an index counts as the first.
func lastIndex(m *wire.Message) string {
	list := m.List("History-Info")
	if len(list) == 0 {
		return ""
	}
	_, _, params := wire.NameAddr(list[len(list)-1])
	if v, ok := wire.Param(params, "index"); ok && v != "" && strings.Trim(v, "0123456789.") == "" {
		return v
	}
	return "1"
}

func sipURI(uri string) bool {
	return len(uri) > 4 && (strings.EqualFold(uri[:4], "sip:") || strings.EqualFold(uri[:5], "sips:"))
}

// appendCalled writes who was called as a SIP URI.
func (at *attempt) appendCalled(b []byte, f wire.Flow) []byte {
	m := at.s.invite
	if sipURI(m.URI) {
		return appendEscaped(b, m.URI, uriUnescaped)
	}
	b = at.appendHere(append(b, "sip:"...), f)
	if u, ok := wire.ParseURI(m.URI); ok && u.Scheme == "tel" {
		b = append(b, ";user=phone"...)
	}
	return b
}

// appendHere writes the called number at our own address.
func (at *attempt) appendHere(b []byte, f wire.Flow) []byte {
	if n := at.s.match.Number; n != "" && !strings.Contains(n, ":") {
		b = appendEscaped(b, n, userUnescaped)
		b = append(b, '@')
	}
	return append(b, at.s.loop.s.here(f)...)
}

// appendReasons writes why the call was sent on, and the marker of mutual aid (R9), as headers of a URI.
func (at *attempt) appendReasons(b []byte) []byte {
	name := at.s.routing.Name
	sep := byte('?')
	if bytes.IndexByte(b[bytes.LastIndexByte(b, '<'):], '?') >= 0 {
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
	return b
}

// appendDiversion says the same to PBXs that know only that header. The newest stands first (RFC 5806), so it goes out before those that came.
func (at *attempt) appendDiversion(b []byte, f wire.Flow) []byte {
	if !at.retargeted() {
		return b
	}
	b = append(b, `Diversion: "`...)
	b = append(b, quoteless(at.s.routing.Name)...)
	b = append(b, `" <sip:`...)
	b = at.appendHere(b, f)
	b = append(b, ">;reason="...)
	b = append(b, diversionReason(at.ask.Cause)...)
	return append(b, ";counter=1\r\n"...)
}

// What may stand in a place without an escape, besides letters and digits (RFC 3261 §25.1).
const (
	userUnescaped = "-_.!~*'()&=+$,"
	uriUnescaped  = "-_.!~*'()&=+$,;/?:@%[]#"
)

// only says that text has nothing in it but letters, digits and what is allowed.
func only(text, allowed string) bool {
	for i := range len(text) {
		if c := text[i]; !alphanumeric(c) && strings.IndexByte(allowed, c) < 0 {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// appendEscaped writes text with everything escaped that is neither a letter nor a digit nor in allowed.
func appendEscaped(b []byte, text, allowed string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		if alphanumeric(c) || strings.IndexByte(allowed, c) >= 0 {
			b = append(b, c)
			continue
		}
		b = append(b, '%', hex[c>>4], hex[c&15])
	}
	return b
}

// appendReason writes a Reason header as a URI header (RFC 3261 §19.1.1, RFC 7044 §5.3): everything that is not unreserved is escaped.
func appendReason(b []byte, cause int, text string) []byte {
	b = append(b, "Reason="...)
	return appendEscaped(b, "SIP;cause="+utoa(uint64(max(cause, 0)))+`;text="`+quoteless(text)+`"`, "-_.!~*()")
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
