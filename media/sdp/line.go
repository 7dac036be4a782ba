package sdp

import (
	"strconv"
	"strings"
)

// line is one line of a description.
type line struct {
	text  string // without its ending
	end   string // CRLF, LF, or nothing at the very end
	kind  byte   // the letter before the equals sign; 0 when it has none
	value string // what follows the equals sign
}

// cut takes the first line off a text.
func cut(text string) (line, string) {
	var l line
	rest := ""
	if i := strings.IndexByte(text, '\n'); i < 0 {
		l.text = text
	} else {
		l.text, l.end, rest = text[:i], text[i:i+1], text[i+1:]
		if i > 0 && text[i-1] == '\r' {
			l.text, l.end = text[:i-1], text[i-1:i+1]
		}
	}
	// Blanks before the letter are wrong, but there is no doubt what they mean.
	if t := strings.TrimLeft(l.text, " \t"); len(t) >= 2 && t[1] == '=' {
		l.kind, l.value = t[0], t[2:]
	}
	return l, rest
}

// field takes the first word off a text.
func field(text string) (word, rest string) {
	text = strings.TrimLeft(text, " \t")
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		return text[:i], text[i:]
	}
	return text, ""
}

// media is an m= line taken apart. The parts are substrings of it, in order.
type media struct {
	kind    string
	digits  string // the port without its count
	at      int    // where in the value it stands
	port    uint16 // 0 when it is no number
	ports   int
	proto   string
	formats string // all of them, with the blanks before
}

func mediaLine(value string) media {
	var m media
	whole := len(value)
	m.kind, value = field(value)
	portField, value := field(value)
	m.at = whole - len(value) - len(portField)
	m.proto, m.formats = field(value)
	m.ports = 1
	digits, count, counted := strings.Cut(portField, "/")
	m.digits = digits
	if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
		m.port = uint16(n)
	}
	if n, err := strconv.ParseUint(count, 10, 16); counted && err == nil && n > 0 {
		m.ports = int(n)
	}
	return m
}

// connectionHost is the address in "IN IP4 address/ttl".
func connectionHost(value string) string {
	_, value = field(value)
	_, value = field(value)
	host, _ := field(value)
	host, _, _ = strings.Cut(host, "/")
	return host
}

// overTCP says that a protocol does not run over UDP: TCP/MSRP, TCP/TLS/BFCP, TCP.
func overTCP(proto string) bool {
	for len(proto) >= 3 {
		if equal(proto[:3], "TCP") {
			return true
		}
		proto = proto[1:]
	}
	return false
}

// equal compares names without regard to case.
func equal(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }
