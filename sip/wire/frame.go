package wire

import (
	"bytes"
	"strings"
)

const (
	maxStartLine = 8192
	readChunk    = 4096
)

// framer cuts a stream into messages. Bytes go in by space and took; next gives what is complete.
type framer struct {
	buf    []byte
	start  int // what lies before is done with
	scan   int // in the message at start: the line at buf[start+scan:] has not been looked at
	lines  int
	head   int // length of the head, once its end was seen
	length int // length of the message, once known
	breaks int // line breaks since the last message or ping
}

type frame uint8

const (
	more    frame = iota // nothing whole in the buffer
	message              // a message
	ping                 // CRLF CRLF, to be answered with CRLF (RFC 5626 §4.4.1)
)

// space gives room for reading.
func (f *framer) space() []byte {
	if f.start == len(f.buf) {
		f.buf, f.start = f.buf[:0], 0
		if cap(f.buf) > 4*readChunk {
			f.buf = nil // one large message must not cost its size for as long as the connection lives
		}
	}
	if cap(f.buf)-len(f.buf) < readChunk/4 {
		rest := f.buf[f.start:]
		to := f.buf[:0]
		if len(rest) > cap(f.buf)/2 || cap(f.buf) == 0 {
			to = make([]byte, 0, max(readChunk, 2*len(rest)))
		}
		f.buf, f.start = append(to, rest...), 0
	}
	return f.buf[len(f.buf):cap(f.buf)]
}

// took says how much of the space was filled.
func (f *framer) took(n int) { f.buf = f.buf[:len(f.buf)+n] }

// partial says that a message has begun and is not whole.
func (f *framer) partial() bool { return f.start < len(f.buf) }

// next gives the next whole thing. The data are the caller's. After an error ([ErrGarbage], [ErrTooLarge]) there is no way on: where the next
// message begins cannot be known.
func (f *framer) next() (what frame, data []byte, err error) {
	if f.scan == 0 && f.skipBreaks() {
		return ping, nil, nil
	}
	if f.length == 0 {
		if err := f.findLength(); err != nil || f.length == 0 {
			return more, nil, err
		}
	}
	rest := f.buf[f.start:]
	if len(rest) < f.length {
		return more, nil, nil
	}
	data = bytes.Clone(rest[:f.length])
	f.start += f.length
	f.scan, f.lines, f.head, f.length, f.breaks = 0, 0, 0, 0, 0
	return message, data, nil
}

// skipBreaks drops line breaks and blanks before a message (RFC 3261 §7.5); two line breaks are a ping.
func (f *framer) skipBreaks() bool {
	for f.start < len(f.buf) && blank(f.buf[f.start]) {
		if f.buf[f.start] == '\n' {
			f.breaks++
		}
		f.start++
		if f.breaks == 2 {
			f.breaks = 0
			return true
		}
	}
	return false
}

// findLength looks for the end of the head and learns the message's length from it; the length stays 0 while there is too little.
func (f *framer) findLength() error {
	rest := f.buf[f.start:]
	if len(rest) == 0 {
		return nil
	}
	if !tokenChar[rest[0]] {
		return ErrGarbage // TLS on the wrong port, most likely
	}
	for f.head == 0 {
		i := bytes.IndexByte(rest[f.scan:], '\n')
		switch {
		case i < 0 && len(rest) > maxMessage:
			return ErrTooLarge
		case i < 0 && f.lines == 0 && len(rest) > maxStartLine:
			return ErrGarbage
		case i < 0:
			return nil
		}
		line := strings.TrimRight(view(rest[f.scan:f.scan+i]), "\r")
		f.scan += i + 1
		f.lines++
		if f.lines == 1 {
			if _, ok := parseStart(line); !ok {
				return ErrGarbage
			}
		}
		if f.lines > maxLines {
			return ErrTooLarge
		}
		if line == "" {
			f.head = f.scan
		}
	}
	if f.head > maxMessage {
		return ErrTooLarge
	}
	body, known := f.bodyLength(rest)
	if !known {
		return nil
	}
	if f.head+body > maxMessage {
		return ErrTooLarge
	}
	f.length = f.head + body
	return nil
}

// bodyLength reads Content-Length. Without a readable one (RFC 3261 §18.3 demands it) a message has no body unless it names a type; then the
// body ends where another message begins, or with the last whole line that is there.
func (f *framer) bodyLength(rest []byte) (n int, known bool) {
	l := linesOf(view(rest[:f.head]))
	l.next()
	typed := false
	for name, value, ok := l.field(); ok; name, value, ok = l.field() {
		switch kindOf(name) {
		case contentLength:
			if n, ok := number(value, 1<<31-1); ok {
				return int(n), true
			}
			if isDigits(value) {
				return maxMessage, true // longer than anybody may
			}
		case contentType:
			typed = true
		case via, from, to, callID, cseq, maxForwards, other:
		}
	}
	if !typed {
		return 0, true
	}
	body := view(rest[f.head:])
	if body == "" || body[len(body)-1] != '\n' {
		return len(body), len(body) > maxMessage
	}
	l = lines{s: body, end: '\n'}
	for l.pos < len(body) {
		at := l.pos
		if start, ok := parseStart(l.next()); ok && start.clean {
			return at, true
		}
	}
	return len(body), true
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
