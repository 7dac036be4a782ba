package app

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"net/netip"
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

func (o *object) address(name string, a netip.AddrPort) {
	o.name(name)
	o.b = append(o.b, '"')
	o.b = a.AppendTo(o.b)
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
			if n+1 < len(text) && text[n+1] == '\n' { // as nearly always
				b = append(b, '\\', 'n')
				n++
			}
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

// unescaped is how many bytes may stand in a JSON string as they are, before the first that may not. It looks at eight at a time: SIP's lines are long.
func unescaped(text []byte) (n int, ascii bool) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	ascii = true
	for ; n+8 <= len(text); n += 8 {
		w := binary.LittleEndian.Uint64(text[n:])
		quote, slash := w^('"'*ones), w^('\\'*ones)
		// A byte's high bit stands where it is less than a space, a quote or a backslash; above the lowest such byte bits may stand by mistake.
		found := ((w - ' '*ones) | (quote - ones) | (slash - ones)) &^ w & highs
		if found != 0 {
			at := bits.TrailingZeros64(found) / 8
			return n + at, ascii && w&highs&(1<<(8*at)-1) == 0
		}
		ascii = ascii && w&highs == 0
	}
	for ; n < len(text); n++ {
		switch c := text[n]; {
		case c < ' ' || c == '"' || c == '\\':
			return n, ascii
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return n, ascii
}
