package app

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// object writes a JSON object field by field, without reflection: the book has half a dozen for each call. A field without a value is left out. Names need
// no escape.
type object struct {
	b     []byte
	inner int // where the fields begin
}

func objectIn(b []byte) object {
	b = append(b, '{')
	return object{b: b, inner: len(b)}
}

func (o *object) name(name string) {
	if len(o.b) > o.inner {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, `":`...)
}

func (o *object) text(name, value string) {
	if value == "" {
		return
	}
	o.name(name)
	o.b = appendText(o.b, value)
}

func (o *object) number(name string, value int64) {
	if value != 0 {
		o.name(name)
		o.b = strconv.AppendInt(o.b, value, 10)
	}
}

// count writes a number that stands there when it is 0, too.
func (o *object) count(name string, value uint64) {
	o.name(name)
	o.b = strconv.AppendUint(o.b, value, 10)
}

func (o *object) yes(name string, value bool) {
	if value {
		o.name(name)
		o.b = append(o.b, "true"...)
	}
}

func (o *object) time(name string, at time.Time) {
	if at.IsZero() {
		return
	}
	o.name(name)
	o.b = append(o.b, '"')
	o.b = at.AppendFormat(o.b, time.RFC3339Nano)
	o.b = append(o.b, '"')
}

func (o *object) end() json.RawMessage { return append(o.b, '}') }

// appendText writes a string with its quotes. What is no UTF-8 becomes U+FFFD.
func appendText(b []byte, text string) []byte {
	b = append(b, '"')
	from := len(b)
	b, ascii := appendQuoted(b, []byte(text))
	if !ascii && !utf8.Valid(b[from:]) {
		b, _ = appendQuoted(b[:from], []byte(string([]rune(text))))
	}
	return append(b, '"')
}

// appendQuoted writes what stands between a JSON string's quotes (RFC 8259 §7), and says whether that is ASCII. Others must be UTF-8 as they are.
func appendQuoted(b, text []byte) (quoted []byte, ascii bool) {
	const hex = "0123456789abcdef"
	ascii = true
	for len(text) > 0 {
		n, isASCII := unescaped(text)
		ascii = ascii && isASCII
		b = append(b, text[:n]...)
		if n == len(text) {
			break
		}
		switch c := text[n]; c {
		case '\r':
			b = append(b, '\\', 'r')
		case '\n':
			b = append(b, '\\', 'n')
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		text = text[n+1:]
	}
	return b, ascii
}

// unescaped is how many bytes may stand in a JSON string as they are, before the first that may not.
func unescaped(text []byte) (n int, ascii bool) {
	ascii = true
	for n < len(text) {
		switch c := text[n]; {
		case c < ' ' || c == '"' || c == '\\':
			return n, ascii
		case c >= utf8.RuneSelf:
			ascii = false
		}
		n++
	}
	return n, ascii
}
