package wire

import (
	"iter"
	"strings"
)

// longNames are the compact forms of header names and what they stand for (RFC 3261 §7.3.3 and the IANA registry).
var longNames = [...]string{
	'a': "Accept-Contact",
	'b': "Referred-By",
	'c': "Content-Type",
	'd': "Request-Disposition",
	'e': "Content-Encoding",
	'f': "From",
	'i': "Call-ID",
	'j': "Reject-Contact",
	'k': "Supported",
	'l': "Content-Length",
	'm': "Contact",
	'n': "Identity-Info",
	'o': "Event",
	'r': "Refer-To",
	's': "Subject",
	't': "To",
	'u': "Allow-Events",
	'v': "Via",
	'x': "Session-Expires",
	'y': "Identity",
	'z': "",
}

// LongName gives the long form of a compact header name, and any other name as it is.
func LongName(name string) string {
	if len(name) == 1 {
		if c := name[0] | 0x20; c >= 'a' && c <= 'z' && longNames[c] != "" {
			return longNames[c]
		}
	}
	return name
}

// SameName says that two header names mean the same header: case does not matter, nor the compact form.
func SameName(a, b string) bool { return strings.EqualFold(LongName(a), LongName(b)) }

// Get gives the value of the first header of that name.
func (m *Message) Get(name string) (string, bool) {
	name = LongName(name)
	for i := range m.Headers {
		if h := &m.Headers[i]; strings.EqualFold(LongName(h.Name), name) {
			return h.Value, true
		}
	}
	return "", false
}

// Has says that there is a header of that name.
func (m *Message) Has(name string) bool {
	_, ok := m.Get(name)
	return ok
}

// All gives the values of all headers of that name in order, comma lists unsplit.
func (m *Message) All(name string) []string {
	var values []string
	name = LongName(name)
	for i := range m.Headers {
		if h := &m.Headers[i]; strings.EqualFold(LongName(h.Name), name) {
			values = append(values, h.Value)
		}
	}
	return values
}

// Each walks the elements of all headers of that name, split at the commas that stand outside quotes and angle brackets. It is for headers that
// are lists: Via, Route, Record-Route, Contact, Supported, Allow, History-Info and the like.
func (m *Message) Each(name string) iter.Seq[string] {
	name = LongName(name)
	return func(yield func(string) bool) {
		for i := range m.Headers {
			h := &m.Headers[i]
			if !strings.EqualFold(LongName(h.Name), name) {
				continue
			}
			for part := range Split(h.Value, ',') {
				if !yield(part) {
					return
				}
			}
		}
	}
}

// List is Each as a slice.
func (m *Message) List(name string) []string {
	var parts []string
	for part := range m.Each(name) {
		parts = append(parts, part)
	}
	return parts
}

// HasToken says that a list header (Supported, Require, Allow, …) holds the token, in any case.
func (m *Message) HasToken(name, token string) bool {
	for part := range m.Each(name) {
		if strings.EqualFold(part, token) {
			return true
		}
	}
	return false
}

// Split walks the parts of value between separators that stand outside quotes and angle brackets, trimmed, empty ones left out.
func Split(value string, sep byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		p := parts{rest: value, sep: sep}
		for p.next() {
			if !yield(p.part) {
				return
			}
		}
	}
}

// parts is Split for the hot path.
type parts struct {
	rest, part string
	sep        byte
	o          outside
}

func (p *parts) next() bool {
	for p.rest != "" {
		i := p.o.index(p.rest, p.sep)
		if i < 0 {
			p.part, p.rest = p.rest, ""
		} else {
			p.part, p.rest = p.rest[:i], p.rest[i+1:]
		}
		if p.part = trim(p.part); p.part != "" {
			return true
		}
	}
	return false
}

// outside finds characters outside quotes and angle brackets. One that is never closed does not count as one, and is remembered: nobody can make
// us look for its end again and again.
type outside struct{ noQuote, noAngle bool }

func (o *outside) index(s string, c byte) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case c:
			return i
		case '"':
			if o.noQuote {
				continue
			}
			n := quoted(s[i:])
			o.noQuote = n == 0
			i += max(n-1, 0)
		case '<':
			if o.noAngle {
				continue
			}
			n := strings.IndexByte(s[i:], '>')
			o.noAngle = n < 0
			i += max(n, 0)
		}
	}
	return -1
}

func indexOutside(s string, c byte) int {
	var o outside
	return o.index(s, c)
}

// quoted gives the length of the quoted string s begins with, quotes included; 0 when it is never closed.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// NameAddr takes a value of From, To, Contact, Route and the like apart: the display name (without its quotes, escapes left), the URI (without
// angle brackets) and the header's parameters from the first semicolon on, with it. Without angle brackets every parameter is the header's
// (RFC 3261 §20.10).
func NameAddr(value string) (display, uri, params string) {
	value = trim(value)
	open := indexOutside(value, '<')
	if open < 0 {
		uri, params = cutParams(value)
		return "", uri, params
	}
	display = unquote(trim(value[:open]))
	uri, rest, closed := strings.Cut(value[open+1:], ">")
	if !closed {
		uri, rest = cutParams(uri)
	}
	rest = trim(rest)
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		params = rest[i:]
	}
	return display, trim(uri), params
}

func cutParams(value string) (uri, params string) {
	if i := strings.IndexByte(value, ';'); i >= 0 {
		return trim(value[:i]), value[i:]
	}
	return value, ""
}

// Param finds a parameter in a string of them (";a=1;b"), without quotes around its value; true also when it has no value.
func Param(params, name string) (string, bool) {
	p := parts{rest: params, sep: ';'}
	for p.next() {
		key, value, _ := strings.Cut(p.part, "=")
		if strings.EqualFold(trim(key), name) {
			return unquote(trim(value)), true
		}
	}
	return "", false
}

// TagOf gives the tag of a From or To value; empty when there is none.
func TagOf(value string) string {
	_, _, params := NameAddr(value)
	tag, _ := Param(params, "tag")
	return word(tag)
}

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// blank is what RFC 3261 §25.1 calls LWS once lines are put together; CR and LF too, since [Peek] reads folded values as they are.
func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// trim takes blanks off both ends, by the same rule as the parser.
func trim(s string) string { return strings.TrimSpace(s) }
