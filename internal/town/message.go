package town

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Message is a SIP message as it was on the wire: headers in order, values byte for byte.
type Message struct {
	Method string // of a request; empty for a response
	URI    string // Request-URI
	Code   int    // of a response
	Reason string // its phrase

	Headers []Header
	Body    []byte

	local bool // nobody sent it: silence or a broken connection, said as a response
}

// Header is one header line.
type Header struct{ Name, Value string }

// compact are the short forms of RFC 3261 §7.3.3 and later RFCs.
var compact = map[string]string{
	"v": "Via", "f": "From", "t": "To", "i": "Call-ID", "m": "Contact", "l": "Content-Length", "c": "Content-Type", "k": "Supported", "s": "Subject",
	"e": "Content-Encoding", "u": "Allow-Events", "o": "Event", "r": "Refer-To", "x": "Session-Expires",
}

var errNoSIP = errors.New("not a SIP message")

// ParseMessage reads a message. It takes what can be read; whether the message is good is [Message.Wrong]'s question.
func ParseMessage(data []byte) (*Message, error) {
	head, body, ok := bytes.Cut(data, []byte("\r\n\r\n"))
	if !ok {
		return nil, errNoSIP
	}
	lines := strings.Split(string(head), "\r\n")
	m := &Message{Headers: make([]Header, 0, len(lines)), Body: body}
	if err := m.startLine(lines[0]); err != nil {
		return nil, err
	}
	for _, line := range lines[1:] {
		if k := len(m.Headers); k > 0 && line != "" && (line[0] == ' ' || line[0] == '\t') {
			m.Headers[k-1].Value += " " + strings.TrimSpace(line) // RFC 3261 §7.3.1: a folded line
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, errNoSIP
		}
		name = strings.TrimSpace(name)
		if long := compact[strings.ToLower(name)]; long != "" {
			name = long
		}
		m.Headers = append(m.Headers, Header{name, strings.TrimSpace(value)})
	}
	return m, nil
}

func (m *Message) startLine(line string) error {
	if rest, ok := strings.CutPrefix(line, "SIP/2.0 "); ok {
		code, reason, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(code)
		if err != nil || n < 100 || n > 699 {
			return errNoSIP
		}
		m.Code, m.Reason = n, reason
		return nil
	}
	method, rest, ok := strings.Cut(line, " ")
	uri, ok2 := strings.CutSuffix(rest, " SIP/2.0")
	if !ok || !ok2 || method == "" || uri == "" {
		return errNoSIP
	}
	m.Method, m.URI = method, uri
	return nil
}

// Get gives the first value of a header, or nothing.
func (m *Message) Get(name string) string {
	for i := range m.Headers {
		if strings.EqualFold(m.Headers[i].Name, name) {
			return m.Headers[i].Value
		}
	}
	return ""
}

// All gives every value of a header, in order.
func (m *Message) All(name string) []string {
	var values []string
	for i := range m.Headers {
		if strings.EqualFold(m.Headers[i].Name, name) {
			values = append(values, m.Headers[i].Value)
		}
	}
	return values
}

// Brief is the message in a few words: "INVITE sip:999@…", "180 Ringing (INVITE)".
func (m *Message) Brief() string {
	if m.Method != "" {
		return m.Method
	}
	_, method := m.cseq()
	return fmt.Sprintf("%d %s (%s)", m.Code, m.Reason, method)
}

// bytes writes the message with its Content-Length.
func (m *Message) bytes() []byte {
	b := make([]byte, 0, 1024)
	if m.Method != "" {
		b = fmt.Appendf(b, "%s %s SIP/2.0\r\n", m.Method, m.URI)
	} else {
		b = fmt.Appendf(b, "SIP/2.0 %d %s\r\n", m.Code, m.Reason)
	}
	for _, h := range m.Headers {
		b = append(b, h.Name...)
		b = append(b, ": "...)
		b = append(b, h.Value...)
		b = append(b, "\r\n"...)
	}
	b = fmt.Appendf(b, "Content-Length: %d\r\n\r\n", len(m.Body))
	return append(b, m.Body...)
}

func (m *Message) add(name, value string) {
	if value != "" {
		m.Headers = append(m.Headers, Header{name, value})
	}
}

// cseq reads number and method of CSeq.
func (m *Message) cseq() (uint32, string) {
	number, method, _ := strings.Cut(m.Get("CSeq"), " ")
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return 0, ""
	}
	return uint32(n), strings.TrimSpace(method)
}

// branch reads the topmost Via's branch.
func (m *Message) branch() string { return param(firstOf(m.Get("Via")), "branch") }

// sentBy reads the topmost Via's host and port.
func (m *Message) sentBy() string {
	via, _, _ := strings.Cut(firstOf(m.Get("Via")), ";")
	if _, host, ok := strings.Cut(strings.TrimSpace(via), " "); ok {
		return strings.TrimSpace(host)
	}
	return ""
}

// firstOf gives the first of several values in one line. It is used for Via and Route, where no comma is quoted.
func firstOf(value string) string {
	first, _, _ := strings.Cut(value, ",")
	return first
}

// param reads a parameter behind the address of a header value.
func param(value, name string) string {
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		value = value[i+1:]
	}
	for part := range strings.SplitSeq(value, ";") {
		k, v, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// hasParam says whether a parameter is there, with or without a value.
func hasParam(value, name string) bool {
	for part := range strings.SplitSeq(value, ";") {
		k, _, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(k), name) {
			return true
		}
	}
	return false
}

// address reads the URI of a From, To, Contact or Route.
func address(value string) string {
	if i := strings.IndexByte(value, '<'); i >= 0 {
		uri, _, _ := strings.Cut(value[i+1:], ">")
		return uri
	}
	uri, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(uri)
}

// sdp gives the session description in the body, also when it is one part of several.
func (m *Message) sdp() string {
	kind := m.Get("Content-Type")
	body := string(m.Body)
	if strings.HasPrefix(strings.ToLower(kind), "application/sdp") {
		return body
	}
	boundary := strings.Trim(param(kind, "boundary"), `"`)
	if boundary == "" {
		return ""
	}
	for part := range strings.SplitSeq(body, "--"+boundary) {
		head, text, ok := strings.Cut(part, "\r\n\r\n")
		if ok && strings.Contains(strings.ToLower(head), "application/sdp") {
			return strings.TrimSuffix(text, "\r\n")
		}
	}
	return ""
}

// mandatory are the headers that every message carries (RFC 3261 §8.1.1, §8.2.6.2).
var mandatory = []string{"Via", "From", "To", "Call-ID", "CSeq"}

// Wrong says what is wrong with a message that another user agent sent: what sipgo's parser refuses, and what the RFC demands of all.
func (m *Message) Wrong(raw []byte) []string {
	var wrong []string
	if _, err := sip.ParseMessage(raw); err != nil {
		wrong = append(wrong, "sipgo cannot parse it: "+err.Error())
	}
	for _, name := range mandatory {
		if n := len(m.All(name)); n == 0 || n > 1 && name != "Via" {
			wrong = append(wrong, fmt.Sprintf("%d headers %s", n, name))
		}
	}
	if length := m.Get("Content-Length"); length != "" && length != strconv.Itoa(len(m.Body)) {
		wrong = append(wrong, fmt.Sprintf("Content-Length %s of a body of %d bytes", length, len(m.Body)))
	}
	_, method := m.cseq()
	if !strings.HasPrefix(m.branch(), "z9hG4bK") {
		wrong = append(wrong, "a branch without the magic cookie: "+m.branch())
	}
	if param(m.Get("From"), "tag") == "" {
		wrong = append(wrong, "a From without a tag")
	}
	if m.Method == "" {
		if m.Code > 100 && param(m.Get("To"), "tag") == "" {
			wrong = append(wrong, fmt.Sprintf("a %d without a To tag", m.Code))
		}
		return wrong
	}
	if method != m.Method {
		wrong = append(wrong, "CSeq of another method: "+m.Get("CSeq"))
	}
	if m.Get("Max-Forwards") == "" {
		wrong = append(wrong, "no Max-Forwards")
	}
	if slices.Contains([]string{"INVITE", "UPDATE"}, m.Method) && m.Get("Contact") == "" {
		wrong = append(wrong, "no Contact")
	}
	return wrong
}
