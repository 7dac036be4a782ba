package wire

import (
	"net/netip"
	"strings"
)

// ParseVia reads the first hop of a Via value; false when something in it could not be read, the rest is filled nevertheless.
func ParseVia(value string) (v Via, ok bool) {
	if i := indexOutside(value, ','); i >= 0 {
		value = value[:i]
	}
	v.Raw = trim(value)
	sent, params := v.Raw, ""
	if i := strings.IndexByte(sent, ';'); i >= 0 {
		sent, params = sent[:i], sent[i:]
	}
	ok = v.sentBy(sent)
	p := parts{rest: params, sep: ';'}
	for p.next() {
		key, text, has := strings.Cut(p.part, "=")
		text = unquote(trim(text))
		switch key = trim(key); {
		case strings.EqualFold(key, "branch") && v.Branch == "":
			v.Branch = word(text)
		case strings.EqualFold(key, "received") && v.Received == "":
			v.Received = unbracket(text)
		case strings.EqualFold(key, "rport") && !v.HasRPort:
			v.HasRPort = true
			if has {
				v.RPort = text
			}
		case strings.EqualFold(key, "alias"):
			v.Alias = true
		}
	}
	return v, ok
}

// sentBy reads "SIP/2.0/UDP host:port"; blanks may stand around the slashes and the colon (RFC 3261 §25.1).
func (v *Via) sentBy(s string) bool {
	name, s, ok := strings.Cut(s, "/")
	_, s, ok2 := strings.Cut(s, "/")
	if !ok || !ok2 {
		return false
	}
	s = trim(s)
	i := 0
	for i < len(s) && !blank(s[i]) {
		i++
	}
	v.Transport = s[:i]
	v.Host, v.Port, ok = hostPort(trim(s[i:]))
	v.Host = word(v.Host)
	return ok && v.Host != "" && isToken(v.Transport) && strings.EqualFold(trim(name), "SIP")
}

// hostPort takes "host:port" apart. IPv6 comes in brackets, from the careless without.
func hostPort(s string) (host string, port uint16, ok bool) {
	s = trim(s)
	rest := ""
	if strings.HasPrefix(s, "[") {
		host, rest, ok = strings.Cut(s[1:], "]")
		if rest = trim(rest); !ok || rest == "" {
			return host, 0, ok && isHost(host)
		}
		if rest[0] != ':' {
			return host, 0, false
		}
		rest = rest[1:]
	} else {
		host, rest, ok = strings.Cut(s, ":")
		if !ok {
			return s, 0, isHost(s)
		}
		if strings.IndexByte(rest, ':') >= 0 {
			a, err := netip.ParseAddr(s)
			return s, 0, err == nil && a.Is6()
		}
	}
	n, ok := number(trim(rest), 65535)
	if !ok {
		n = 0
	}
	host = trim(host)
	return host, uint16(n), ok && isHost(host)
}

func isHost(s string) bool { return s != "" && !strings.ContainsAny(s, " \t\r\n<>\"@[]/") }

// unbracket takes the brackets off an IPv6 address: some write them in received, some don't.
func unbracket(s string) string {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		return s[1 : len(s)-1]
	}
	return s
}

// word is s up to the first blank: branches and Call-IDs have none inside.
func word(s string) string {
	for i := range len(s) {
		if blank(s[i]) {
			return s[:i]
		}
	}
	return s
}
