package wire

import (
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// parser cuts the head into headers and reads none of them: one it could not read would cost the whole message (ENGINE.md §3), and values must
// come out byte for byte. What we need of Via, Content-Length and the others is read here, where the unreadable can be borne.
var parser = sip.NewParser(sip.WithHeadersParsers(sip.HeadersParser{}))

// Parse reads one message: a datagram, or what was cut off a stream. A message that shows a method and a Request-URI, or a status, comes out,
// mended where it had to be; [ErrNoSIP] and [ErrTooLarge] are the only errors. Header values are copies, the Body is a part of data.
func Parse(data []byte) (*Message, error) {
	if len(data) > maxMessage {
		return nil, ErrTooLarge
	}
	head := data[len(data)-len(trimFront(view(data))):]
	end, start, state := inspect(view(head))
	if state == hopeless {
		return nil, ErrNoSIP
	}
	if state == endless {
		return nil, ErrTooLarge
	}
	body := head[end:]
	head = head[:end]
	m := &Message{Malformed: state == broken}
	parsed, _, err := parser.ParseHeaders(head, false)
	if state == broken || err != nil {
		m.Malformed = true
		if parsed, _, err = parser.ParseHeaders(mend(view(head)), false); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoSIP, err)
		}
	}
	switch p := parsed.(type) {
	case *sip.Request:
		m.request(start)
		m.fill(p.Headers(), body)
	case *sip.Response:
		m.response(start)
		m.fill(p.Headers(), body)
	}
	return m, nil
}

// trimFront drops what stands before a start line in datagrams: line breaks, blanks, NULs of somebody's keep-alive.
func trimFront(s string) string { return strings.TrimLeft(s, "\r\n\t \x00") }

type headState uint8

const (
	sound    headState = iota // the parser can have it
	broken                    // it must be mended first
	hopeless                  // no SIP
	endless                   // too many lines
)

// inspect finds the end of the head and tells its state.
func inspect(s string) (end int, start startLine, state headState) {
	l := linesOf(s)
	start, ok := parseStart(l.next())
	if !ok {
		return 0, start, hopeless
	}
	if !start.clean || !crlf(s, l.pos) {
		state = broken
	}
	for {
		from := l.pos
		line := l.next()
		if l.n > maxLines {
			return 0, start, endless
		}
		if !crlf(s, l.pos) || len(line)+2 != l.pos-from || strings.IndexByte(line, '\r') >= 0 {
			state = broken
		}
		if line == "" {
			return l.pos, start, state
		}
		if blank(line[0]) && l.n > 2 {
			continue
		}
		if name, _, ok := strings.Cut(line, ":"); !ok || !isToken(name) && !isToken(trim(name)) {
			state = broken
		}
	}
}

// crlf says that a line that ends before pos ends as it should.
func crlf(s string, pos int) bool { return pos >= 2 && s[pos-1] == '\n' && s[pos-2] == '\r' }

// mend writes the head anew: lines ended by CR LF, without those that are no header, with a start line that the parser takes (ours is read
// already) and the empty line at the end.
func mend(s string) []byte {
	l := linesOf(s)
	b := make([]byte, 0, len(s)+64)
	if start, _ := parseStart(l.next()); start.status != 0 {
		b = append(b, "SIP/2.0 200 Mended\r\n"...)
	} else {
		b = append(b, "OPTIONS sip:mended.invalid SIP/2.0\r\n"...)
	}
	for {
		name, value, ok := l.field()
		if !ok {
			return append(b, "\r\n"...)
		}
		if name != "" {
			b = append(b, name...)
			b = append(b, ": "...)
			b = appendUnfolded(b, value)
			b = append(b, "\r\n"...)
		}
	}
}

// appendUnfolded puts a value on one line: a line break with the blanks around it becomes one blank, a lone CR too.
func appendUnfolded(b []byte, value string) []byte {
	for {
		i := strings.IndexAny(value, "\r\n")
		if i < 0 {
			return append(b, value...)
		}
		b = append(b, strings.TrimRight(value[:i], " \t")...)
		b = append(b, ' ')
		value = strings.TrimLeft(value[i:], "\r\n\t ")
	}
}

func (m *Message) request(start startLine) {
	m.Method, m.URI = strings.Clone(start.method), strings.Clone(start.uri)
}

func (m *Message) response(start startLine) {
	m.Status, m.Reason = start.status, strings.Clone(start.reason)
}

// fill copies the headers and reads those that every message has.
func (m *Message) fill(headers []sip.Header, body []byte) {
	m.MaxForwards = -1
	m.Headers = make([]Header, len(headers))
	length := ""
	var seen [contentLength + 1]bool
	for i, h := range headers {
		name, value := h.Name(), h.Value()
		m.Headers[i] = Header{Name: name, Value: value}
		k := kindOf(name)
		if seen[k] {
			// RFC 4475 §3.3.8: several values for what may have one. The first counts.
			m.Malformed = m.Malformed || k != other && k != via
			continue
		}
		seen[k] = true
		switch k {
		case via:
			var ok bool
			m.Via, ok = ParseVia(value)
			m.doubt(ok)
		case from:
			m.From, m.FromTag = value, m.tag(value)
		case to:
			m.To, m.ToTag = value, m.tag(value)
		case callID:
			m.CallID = word(value)
			m.doubt(m.CallID == value)
		case cseq:
			m.readCSeq(value)
		case maxForwards:
			m.readMaxForwards(value)
		case contentType:
			m.ContentType = value
		case contentLength:
			length = value
		case other:
			seen[other] = false
		}
	}
	m.doubt(seen[via] && seen[from] && seen[to] && seen[callID] && seen[cseq])
	m.cutBody(body, length, seen[contentLength])
}

// doubt marks the message as malformed unless ok.
func (m *Message) doubt(ok bool) { m.Malformed = m.Malformed || !ok }

func (m *Message) tag(value string) string {
	if strings.IndexByte(value, '"') >= 0 {
		var o outside
		o.index(value, 0)
		m.doubt(!o.noQuote)
	}
	return TagOf(value)
}

// readCSeq reads "1 INVITE", with any number of blanks and with none.
func (m *Message) readCSeq(value string) {
	i := 0
	for i < len(value) && value[i] >= '0' && value[i] <= '9' {
		i++
	}
	n, ok := number(value[:i], 1<<32-1)
	m.CSeq = uint32(n)
	method := trim(value[i:])
	m.doubt(ok && n < 1<<31 && isToken(method)) // RFC 3261 §8.1.1.5: less than 2**31
	if m.Status != 0 {
		m.Method = strings.ToUpper(method)
	} else {
		m.doubt(method == m.Method)
	}
}

func (m *Message) readMaxForwards(value string) {
	n, ok := number(value, 255)
	m.doubt(ok)
	if ok || n == 255 {
		m.MaxForwards = int(n)
	}
}

// cutBody applies Content-Length to what follows the head. RFC 3261 §18.3: the rest of a datagram is thrown away. But an SDP that would be
// cut in the middle of a line is kept whole: a box that rewrites addresses and forgets the length must not cost the last m= line.
func (m *Message) cutBody(body []byte, length string, has bool) {
	m.Body = body
	if !has {
		return
	}
	n, ok := number(length, maxMessage)
	m.doubt(ok && n <= uint64(len(body)))
	if !ok || n >= uint64(len(body)) {
		return
	}
	if n > 0 && body[n-1] != '\n' && len(m.ContentType) >= 15 && strings.EqualFold(m.ContentType[:15], "application/sdp") {
		m.Malformed = true
		return
	}
	m.Body = body[:n]
}
