package wire

import (
	"strings"
	"unsafe"
)

const (
	maxMessage = 65535 // bytes of one message (PRODUCT section 12)
	maxLines   = 1000  // header lines of one message, folded ones counted one by one
)

// view is the bytes as a string without a copy; the bytes must not change while it is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf is the way back from a part of a view.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// lines walks the lines of a message's head. A line ends with LF, one or more CRs before it belong to the end; in a message without any LF it
// ends with CR. The RFC knows CR LF only (§7); the rest is salvage.
type lines struct {
	s    string
	pos  int // where the next line begins
	n    int // lines taken
	end  byte
	open bool // the last line taken had no end
}

func linesOf(s string) lines {
	end := byte('\n')
	if strings.IndexByte(s, '\n') < 0 {
		end = '\r'
	}
	return lines{s: s, end: end}
}

// next takes a line; at the end of the data an empty one.
func (l *lines) next() string {
	l.n++
	line := l.s[l.pos:]
	if i := strings.IndexByte(line, l.end); i >= 0 {
		line = line[:i]
		l.pos += i + 1
	} else {
		l.pos = len(l.s)
		l.open = true
	}
	for line != "" && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line
}

// folded says that the next line continues this one (RFC 3261 §7.3.1).
func (l *lines) folded() bool {
	return l.pos < len(l.s) && (l.s[l.pos] == ' ' || l.s[l.pos] == '\t')
}

// field takes a header with its continuation lines, unfolded not yet; false at the end of the head. A line that is no header has no name.
func (l *lines) field() (name, value string, ok bool) {
	start := l.pos
	line := l.next()
	if line == "" || l.n > maxLines {
		return "", "", false
	}
	for l.folded() && l.n <= maxLines {
		l.next()
		line = l.s[start:l.pos]
	}
	name, value, ok = strings.Cut(line, ":")
	if name = trim(name); !ok || !isToken(name) {
		return "", "", true
	}
	return name, trim(value), true
}

// kind is a header this package looks into.
type kind uint8

const (
	other kind = iota
	via
	from
	to
	callID
	cseq
	maxForwards
	contentType
	contentLength
)

func kindOf(name string) kind {
	switch len(name) {
	case 1:
		switch name[0] | 0x20 {
		case 'v':
			return via
		case 'f':
			return from
		case 't':
			return to
		case 'i':
			return callID
		case 'c':
			return contentType
		case 'l':
			return contentLength
		}
	case 2:
		return kindIf(name, "To", to)
	case 3:
		return kindIf(name, "Via", via)
	case 4:
		return max(kindIf(name, "From", from), kindIf(name, "CSeq", cseq))
	case 7:
		return kindIf(name, "Call-ID", callID)
	case 12:
		return max(kindIf(name, "Max-Forwards", maxForwards), kindIf(name, "Content-Type", contentType))
	case 14:
		return kindIf(name, "Content-Length", contentLength)
	}
	return other
}

func kindIf(name, want string, k kind) kind {
	if name == want || strings.EqualFold(name, want) {
		return k
	}
	return other
}

// startLine is the first line of a message.
type startLine struct {
	method, uri string // of a request
	status      int    // of a response
	reason      string
	clean       bool // exactly as RFC 3261 §7.1 and §7.2 write it
}

// parseStart reads a start line, a mistreated one too; false when it shows neither a method with a Request-URI nor a status.
func parseStart(line string) (startLine, bool) {
	if len(line) > 4 && strings.EqualFold(line[:4], "SIP/") {
		return parseStatusLine(line)
	}
	return parseRequestLine(line)
}

func parseStatusLine(line string) (startLine, bool) {
	version, rest := cutBlank(line)
	digits, reason := cutBlank(rest)
	if len(digits) != 3 || digits[0] < '1' || digits[0] > '6' {
		return startLine{}, false
	}
	status, ok := number(digits, 699)
	st := startLine{status: int(status), reason: trim(reason)}
	st.clean = version == "SIP/2.0" && len(line) == len(version)+1+len(digits)+1+len(st.reason)
	return st, ok
}

func parseRequestLine(line string) (startLine, bool) {
	method, rest := cutBlank(line)
	rest = trim(rest)
	if !isToken(method) || rest == "" {
		return startLine{}, false
	}
	st := startLine{method: strings.ToUpper(method), uri: rest}
	i := strings.LastIndexAny(rest, " \t")
	version := rest[i+1:]
	if i >= 0 && len(version) > 4 && strings.EqualFold(version[:4], "SIP/") {
		st.uri = trim(rest[:i])
	} else if !dialable(rest) {
		return startLine{}, false // HTTP, most likely
	} else {
		version = ""
	}
	st.clean = version == "SIP/2.0" && st.method == method && len(line) == len(method)+1+len(st.uri)+1+len(version) &&
		strings.IndexByte(st.uri, ' ') < 0 && st.uri[0] != '<'
	if !st.clean {
		st.uri = mendURI(st.uri)
	}
	return st, st.uri != ""
}

// dialable says that a Request-URI shows by itself that SIP is meant, where the version is missing.
func dialable(uri string) bool {
	uri = strings.TrimPrefix(uri, "<")
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok {
		return false
	}
	for _, known := range [...]string{"sip", "sips", "tel", "urn"} {
		if strings.EqualFold(scheme, known) {
			return true
		}
	}
	return false
}

// mendURI takes the angle brackets off a Request-URI and the blanks out of it (RFC 4475 §3.1.2.7 and §3.1.2.8 want a 400; an emergency call
// wants an answer).
func mendURI(uri string) string {
	if rest := strings.TrimLeft(uri, "<"); rest != uri {
		uri, _, _ = strings.Cut(rest, ">")
	}
	if strings.ContainsAny(uri, " \t\r") {
		uri = strings.Map(func(r rune) rune {
			if r == ' ' || r == '\t' || r == '\r' {
				return -1
			}
			return r
		}, uri)
	}
	return uri
}

// cutBlank cuts at the first run of blanks.
func cutBlank(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	word, rest = s[:i], s[i:]
	for rest != "" && (rest[0] == ' ' || rest[0] == '\t') {
		rest = rest[1:]
	}
	return word, rest
}

// isToken checks for RFC 3261 §25.1 token: what method and header names are made of.
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenChar[s[i]] {
			return false
		}
	}
	return s != ""
}

var tokenChar = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-.!%*_+`'~", byte(c)) >= 0
	}
	return t
}()

// number reads decimal digits and nothing else; what is over limit becomes limit and false.
func number(s string, limit uint64) (uint64, bool) {
	n := uint64(0)
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		if n = n*10 + uint64(d); n > limit {
			return limit, false
		}
	}
	return n, s != ""
}
