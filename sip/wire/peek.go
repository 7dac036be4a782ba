package wire

// Peeked is what a glance at a message shows: views into its bytes, empty where there is nothing.
type Peeked struct {
	Method  []byte // empty in a response
	URI     []byte // Request-URI; empty in a response
	Status  int    // 0 in a request
	Branch  []byte // of the topmost Via
	Host    []byte // sent-by of the topmost Via
	Port    uint16 // of sent-by; 0 when absent
	ToTag   []byte
	FromTag []byte
	CallID  []byte
}

// Peek looks at a message without parsing it: enough to find who owns it and what number it calls. It sees what [Parse] will see. False means
// that Parse would fail.
func Peek(data []byte) (p Peeked, ok bool) {
	if len(data) > maxMessage {
		return p, false
	}
	l := linesOf(trimFront(view(data)))
	start, ok := parseStart(l.next())
	if !ok {
		return p, false
	}
	p.Method, p.URI, p.Status = bytesOf(start.method), bytesOf(start.uri), start.status
	var seen [contentLength + 1]bool
	for {
		name, value, ok := l.field()
		if !ok {
			return p, l.n <= maxLines
		}
		k := kindOf(name)
		if seen[k] {
			continue
		}
		switch k {
		case via:
			v, _ := ParseVia(value)
			p.Branch, p.Host, p.Port = bytesOf(v.Branch), bytesOf(v.Host), v.Port
		case from:
			p.FromTag = bytesOf(TagOf(value))
		case to:
			p.ToTag = bytesOf(TagOf(value))
		case callID:
			p.CallID = bytesOf(word(value))
		case cseq, maxForwards, contentType, contentLength, other:
			continue
		}
		seen[k] = true
	}
}
