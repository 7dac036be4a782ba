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

// appendText writes a string with its quotes (RFC 8259 §7). What is no UTF-8 becomes U+FFFD.
func appendText(b []byte, text string) []byte {
	const hex = "0123456789abcdef"
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	b = append(b, '"')
	done := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, text[done:i]...)
		done = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, text[done:]...), '"')
}
