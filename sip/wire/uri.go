package wire

import "strings"

// URI is a Request-URI or an address. sip:, sips:, tel:, urn: and every other scheme can be read.
type URI struct {
	Scheme   string // lower case
	User     string // as written, escapes and user parameters included; in tel: the number, in urn: and others all that follows the scheme
	Password string
	Host     string // without the brackets of IPv6; empty in tel: and urn:
	Port     uint16 // 0 when absent
	Params   string // from the first semicolon on, with it
	Headers  string // what follows the question mark
}

// ParseURI reads a URI without angle brackets; false when it has no scheme or no sense. What could be read is filled nevertheless: from
// "999@example.com" still the user.
func ParseURI(s string) (u URI, ok bool) {
	s = trim(s)
	i := strings.IndexByte(s, ':')
	scheme := i > 0 && isToken(s[:i])
	if scheme {
		u.Scheme = strings.ToLower(s[:i])
		s = s[i+1:]
	}
	switch u.Scheme {
	case "tel":
		u.User, u.Params = cutParams(s)
		return u, u.User != ""
	case "sip", "sips":
		return u, u.sip(strings.TrimPrefix(s, "//"))
	case "":
		u.sip(s)
		return u, false
	default:
		u.User = s
		return u, s != ""
	}
}

// sip reads what follows sip: or sips: (RFC 3261 §19.1.1).
func (u *URI) sip(s string) bool {
	if user, host, ok := strings.Cut(s, "@"); ok {
		u.User, u.Password, _ = strings.Cut(user, ":")
		s = host
	}
	if i := strings.IndexAny(s, ";?"); i >= 0 {
		u.Params, u.Headers, _ = strings.Cut(s[i:], "?")
		s = s[:i]
	}
	var ok bool
	u.Host, u.Port, ok = hostPort(s)
	return ok
}

// Param finds a parameter of the URI.
func (u *URI) Param(name string) (string, bool) { return Param(u.Params, name) }

// Transport gives what the transport parameter says, TLS for sips:, else 0.
func (u *URI) Transport() Proto {
	name, _ := u.Param("transport")
	p := ParseProto(name)
	if u.Scheme == "sips" && (p == TCP || p == 0) { // RFC 3261 §26.2.2: sips over TCP is TLS
		return TLS
	}
	return p
}

// LR says that the URI is that of a loose router.
func (u *URI) LR() bool {
	_, ok := u.Param("lr")
	return ok
}

// MAddr gives the maddr parameter without the brackets of IPv6.
func (u *URI) MAddr() string {
	maddr, _ := u.Param("maddr")
	return unbracket(maddr)
}

// Number gives who is called in a form to compare: a telephone number without visual separators, an unescaped user without its parameters, a URN
// in lower case with its "urn:".
func (u *URI) Number() string {
	if u.Scheme == "urn" {
		return "urn:" + strings.ToLower(u.User)
	}
	user, _, _ := strings.Cut(u.User, ";")
	user = unescape(user)
	if strings.ContainsAny(user, "-.() ") && strings.Trim(user, "+0123456789*#-.() ") == "" {
		user = strings.Map(func(r rune) rune {
			if strings.ContainsRune("-.() ", r) {
				return -1
			}
			return r
		}, user)
	}
	return user
}

// unescape resolves %XX; what is no escape stays.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16 {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
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
	}
	return 255
}

// Append writes the URI.
func (u *URI) Append(b []byte) []byte {
	if u.Scheme != "" {
		b = append(b, u.Scheme...)
		b = append(b, ':')
	}
	b = append(b, u.User...)
	if u.Password != "" {
		b = append(b, ':')
		b = append(b, u.Password...)
	}
	if u.Host != "" {
		if u.User != "" || u.Password != "" {
			b = append(b, '@')
		}
		b = AppendHostPort(b, u.Host, u.Port)
	}
	b = append(b, u.Params...)
	if u.Headers != "" {
		b = append(b, '?')
		b = append(b, u.Headers...)
	}
	return b
}

// String is the URI as text.
func (u *URI) String() string { return string(u.Append(nil)) }
