package sdp

import (
	"bytes"
	"mime"
	"strings"
)

// Span is a place in a body: body[Start:End].
type Span struct{ Start, End int }

// maxNesting is how deep multiparts are followed.
const maxNesting = 8

// Locate finds the session description in a body: the body itself, or the application/sdp part of a multipart, however nested.
// A body without a Content-Type counts as a description when it starts like one.
func Locate(contentType string, body []byte) (Span, bool) {
	if strings.TrimSpace(contentType) == "" {
		return Span{0, len(body)}, bytes.HasPrefix(body, []byte("v=0"))
	}
	return find(contentType, body, Span{0, len(body)}, maxNesting)
}

// Splice puts a changed description in the place of the old one. It returns a new body.
func Splice(body []byte, span Span, sdp []byte) []byte {
	out := make([]byte, 0, len(body)-(span.End-span.Start)+len(sdp))
	out = append(out, body[:span.Start]...)
	out = append(out, sdp...)
	return append(out, body[span.End:]...)
}

// find looks for the description in one entity of a body.
func find(contentType string, body []byte, at Span, depth int) (Span, bool) {
	kind, rest, _ := strings.Cut(contentType, ";")
	kind = strings.TrimSpace(kind)
	switch {
	case equal(kind, "application/sdp"):
		return at, true
	case len(kind) > 10 && equal(kind[:10], "multipart/") && depth > 0:
		return findPart(boundary(contentType, rest, body[at.Start:at.End]), body, at, depth)
	}
	return Span{}, false
}

// boundary is the parameter of a multipart, or, where that is missing, what its first delimiter shows.
func boundary(contentType, params string, body []byte) string {
	if _, p, err := mime.ParseMediaType(contentType); err == nil && p["boundary"] != "" {
		return p["boundary"]
	}
	for params != "" { // garbled for a strict reader
		var p string
		p, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(p, "=")
		if value = strings.Trim(strings.TrimSpace(value), `"`); equal(strings.TrimSpace(name), "boundary") && value != "" {
			return value
		}
	}
	for len(body) > 0 {
		var ln []byte
		ln, body, _ = bytes.Cut(body, []byte("\n"))
		if ln = bytes.TrimRight(ln, " \t\r"); len(ln) > 2 && bytes.HasPrefix(ln, []byte("--")) {
			return string(ln[2:])
		}
	}
	return ""
}

// findPart goes through the parts of a multipart (RFC 2046 §5.1.1).
func findPart(boundary string, body []byte, at Span, depth int) (Span, bool) {
	if boundary == "" {
		return Span{}, false
	}
	part := Span{-1, -1}
	for pos := at.Start; pos < at.End; {
		next := at.End
		if i := bytes.IndexByte(body[pos:at.End], '\n'); i >= 0 {
			next = pos + i + 1
		}
		delimiter, last := isDelimiter(body[pos:next], boundary)
		if delimiter {
			if part.Start >= 0 {
				// The line end before a delimiter belongs to the delimiter.
				part.End = max(part.Start, unended(body, pos))
				if span, ok := inPart(body, part, depth); ok {
					return span, true
				}
			}
			if last {
				return Span{}, false
			}
			part.Start = next
		}
		pos = next
	}
	if part.Start < 0 {
		return Span{}, false
	}
	part.End = at.End // the closing delimiter is missing
	return inPart(body, part, depth)
}

// unended steps back over the line end before pos.
func unended(body []byte, pos int) int {
	if pos > 0 && body[pos-1] == '\n' {
		pos--
		if pos > 0 && body[pos-1] == '\r' {
			pos--
		}
	}
	return pos
}

// isDelimiter says whether a line is "--boundary" or, as the last one, "--boundary--", blanks after it allowed.
func isDelimiter(ln []byte, boundary string) (delimiter, last bool) {
	ln = bytes.TrimRight(ln, " \t\r\n")
	if len(ln) < 2 || ln[0] != '-' || ln[1] != '-' || !bytes.HasPrefix(ln[2:], []byte(boundary)) {
		return false, false
	}
	switch string(ln[2+len(boundary):]) {
	case "":
		return true, false
	case "--":
		return true, true
	}
	return false, false
}

// inPart looks for the description in one part: its headers, an empty line, its body.
func inPart(body []byte, part Span, depth int) (Span, bool) {
	var contentType, disposition, encoding, name string
	pos := part.Start
	for pos < part.End {
		next := part.End
		if i := bytes.IndexByte(body[pos:part.End], '\n'); i >= 0 {
			next = pos + i + 1
		}
		ln := strings.TrimRight(string(body[pos:next]), "\r\n")
		pos = next
		if ln == "" {
			break
		}
		value := ln
		if ln[0] != ' ' && ln[0] != '\t' { // else it goes on with the header before
			name, value, _ = strings.Cut(ln, ":")
			name = strings.TrimSpace(name)
		}
		switch {
		case equal(name, "Content-Type"), equal(name, "c"):
			contentType += value
		case equal(name, "Content-Disposition"):
			disposition += value
		case equal(name, "Content-Transfer-Encoding"):
			encoding += value
		}
	}
	disposition, _, _ = strings.Cut(disposition, ";")
	if disposition = strings.TrimSpace(disposition); disposition != "" && !equal(disposition, "session") && !isMultipart(contentType) {
		return Span{}, false // a description of something else, RFC 3261 §20.11
	}
	if encoding = strings.TrimSpace(encoding); equal(encoding, "base64") || equal(encoding, "quoted-printable") {
		return Span{}, false // not text that could be edited
	}
	return find(contentType, body, Span{pos, part.End}, depth-1)
}

func isMultipart(contentType string) bool {
	t := strings.TrimSpace(contentType)
	return len(t) > 10 && equal(t[:10], "multipart/")
}
