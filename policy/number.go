package policy

import "strings"

// Number gives the called number or service that a URI names, in the one form in which numbers are compared.
//
// Of sip: and sips: it is the user part without password and parameters (;phone-context too: RFC 3966 §5.1.5 says it is no prefix), of tel: the
// number without parameters. Percent-escapes are decoded, the visual separators of telephone numbers are dropped, a leading + is kept. A urn: is
// compared without regard to case (RFC 5031 §4.1, RFC 8141 §3.1). What has no scheme is taken as a bare number, as configurations write it.
// A sip: URI that names only a host has no number, except where that host is all digits: "sip:999" is somebody who calls 999.
func Number(uri string) string {
	uri = strings.Trim(uri, " \t<>")
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return telephone(user(uri))
	}
	switch {
	case strings.EqualFold(scheme, "sip"), strings.EqualFold(scheme, "sips"):
		return sipNumber(rest)
	case strings.EqualFold(scheme, "tel"):
		return telephone(user(rest))
	case strings.EqualFold(scheme, "urn"):
		return urn(uri)
	default:
		return telephone(user(uri))
	}
}

func sipNumber(rest string) string {
	name, _, ok := strings.Cut(rest, "@")
	if ok {
		return telephone(user(name))
	}
	host := rest
	if i := strings.IndexAny(host, ":;?"); i >= 0 {
		host = host[:i]
	}
	for i := range len(host) {
		if (host[i] < '0' || host[i] > '9') && (i > 0 || host[i] != '+') {
			return ""
		}
	}
	return host
}

// user takes the name out of a user part: no parameters, no password, no escapes.
func user(s string) string {
	s, _, _ = strings.Cut(s, ";")
	if hasURN(s) {
		return urn(s)
	}
	if d := unescape(s); hasURN(d) { // urn%3Aservice%3Asos@psap.example
		return urn(d)
	}
	s, _, _ = strings.Cut(s, ":")
	return unescape(s)
}

func hasURN(s string) bool { return len(s) >= 4 && strings.EqualFold(s[:4], "urn:") }

// urn is the whole name in lower case, without parameters, query or fragment.
func urn(s string) string {
	if i := strings.IndexAny(s, ";?#"); i >= 0 {
		s = s[:i]
	}
	b := []byte(s)
	for i, c := range b { // ASCII only (RFC 8141 §3.1): a byte that is no UTF-8 stays what it is
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// telephone drops visual separators (RFC 3966 §5.1.1) where the name is a telephone number; any other name stays as it is.
func telephone(s string) string {
	separators := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '*', c == '#', c == '+' && i == 0:
		case isSeparator(c):
			separators++
		default:
			return s
		}
	}
	if separators == 0 || separators == len(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if !isSeparator(s[i]) {
			b = append(b, s[i])
		}
	}
	return string(b)
}

func isSeparator(c byte) bool { return c == '-' || c == '.' || c == '(' || c == ')' || c == ' ' }

// unescape decodes %XX (RFC 3261 §19.1.2). A broken escape stays as it is: an emergency call is not lost for it.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 16 && lo < 16 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	default:
		return 255
	}
}
