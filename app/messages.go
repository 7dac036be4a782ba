package app

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"nines/configs"
	"nines/console"
	"nines/hep"
	"nines/journal"
	"nines/policy"
	"nines/sip"
)

const (
	messagesGather = 2 * time.Second // how long messages of a call gather before they are one entry
	callMessages   = 500             // of one call
	callText       = 512 << 10       // bytes of one call's messages
	entryText      = 48 << 10        // bytes of an entry's messages: then it is made at once
	usualText      = 12 << 10        // bytes of a set-up
)

// messageData is the Data of a CallSignalingMessage: some messages of one call, in order.
type messageData struct {
	Messages []console.CallMessage `json:"messages"`
}

// messagesOf reads the messages of an entry.
func messagesOf(data json.RawMessage) []console.CallMessage {
	var d messageData
	if len(data) > 0 {
		_ = json.Unmarshal(data, &d) // ours
	}
	return d.Messages
}

// tracing says of which calls sip is to tell the messages.
func tracing(f *configs.File) sip.Tracing {
	switch {
	case f.HEP.To != "" || f.Journal.Messages == configs.AllMessages:
		return sip.TraceAll
	case f.Journal.Messages == configs.EmergencyMessages:
		return sip.TraceEmergency
	}
	return sip.TraceNone
}

// keepsMessages says whether the book keeps the messages of a call.
func keepsMessages(m configs.Messages, class policy.Class) bool {
	return m == configs.AllMessages || m == configs.EmergencyMessages && class == policy.Emergency
}

// heldMessages are the messages of a call that wait to become an entry.
type heldMessages struct {
	text       []byte // as JSON, without the end
	n          int
	since      time.Time
	last       time.Time
	allN, allB int // of the call
	lost       int
}

// add takes a message. False: it was lost, the call has too many.
func (h *heldMessages) add(r *sip.Record) bool {
	if h.allN >= callMessages || h.allB+len(r.Data) > callText {
		h.lost++
		return false
	}
	if h.n == 0 {
		h.text, h.since = append(make([]byte, 0, usualText), `{"messages":[`...), r.At
	} else {
		h.text = append(h.text, ',')
	}
	h.text = appendMessage(h.text, r)
	h.n++
	h.allN++
	h.allB += len(r.Data)
	h.last = r.At
	return true
}

// take makes an entry's Data of what waits.
func (h *heldMessages) take() (data json.RawMessage, n int) {
	data, n = append(h.text, "]}"...), h.n
	h.text, h.n = nil, 0
	return data, n
}

// appendMessage writes a message as a console.CallMessage, without encoding/json: there are a dozen in each call.
func appendMessage(b []byte, r *sip.Record) []byte {
	b = append(b, `{"at":"`...)
	b = r.At.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","in":`...)
	b = strconv.AppendBool(b, r.In)
	if r.Attempt > 0 {
		b = append(b, `,"attempt":`...)
		b = strconv.AppendInt(b, int64(r.Attempt), 10)
	}
	b = append(b, `,"proto":"`...)
	b = append(b, r.Flow.Proto.String()...)
	b = append(b, `","local":"`...)
	b = r.Flow.Local.AppendTo(b)
	b = append(b, `","remote":"`...)
	b = r.Flow.Remote.AppendTo(b)
	if !utf8.Valid(r.Data) {
		b = append(b, `","base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, r.Data)
		return append(b, `"}`...)
	}
	b = append(b, `","text":"`...)
	b = appendQuoted(b, r.Data)
	return append(b, `"}`...)
}

// escaped are the bytes that may not stand in a JSON string as they are.
var escaped = func() (e [256]bool) {
	for c := range ' ' {
		e[c] = true
	}
	e['"'], e['\\'] = true, true
	return e
}()

// appendQuoted writes text inside a JSON string (RFC 8259 §7).
func appendQuoted(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	from := 0
	for i, c := range text {
		if !escaped[c] {
			continue
		}
		b = append(b, text[from:i]...)
		from = i + 1
		switch c {
		case '\r':
			b = append(b, '\\', 'r')
		case '\n':
			b = append(b, '\\', 'n')
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, text[from:]...)
}

// message takes a message into its call and gives the entry that it completes, if it does.
func (l *callList) message(r *sip.Record) (e journal.Entry, complete, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[r.Call]
	if c == nil {
		return e, false, true
	}
	if !c.messages.add(r) {
		return e, false, true
	}
	l.talks[r.Call] = c
	if len(c.messages.text) < entryText {
		return e, false, false
	}
	return l.messageEntry(c), true, false
}

// messageEntry makes an entry of the messages of a call that wait. It names the caller, so that erasing that number erases them.
func (l *callList) messageEntry(c *heldCall) journal.Entry {
	delete(l.talks, c.sum.ID)
	last := c.messages.last
	data, n := c.messages.take()
	return journal.Entry{
		At: last, Type: journal.CallSignalingMessage, Call: c.sum.ID, CallID: c.sum.CallID, Route: c.sum.Route, Class: c.sum.Class, Caller: c.sum.Caller, Called: c.sum.Called,
		Count: n, Data: data,
	}
}

// gathered gives the entries of messages that have waited for long enough; with all those of every call.
func (l *callList) gathered(now time.Time, all bool) []journal.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []journal.Entry
	for _, c := range l.talks {
		if all || now.Sub(c.messages.since) >= messagesGather {
			out = append(out, l.messageEntry(c))
		}
	}
	return out
}

// copied is a message for the capture server.
func copied(r *sip.Record) hep.Packet {
	p := hep.Packet{At: r.At, Src: r.Flow.Local, Dst: r.Flow.Remote, Stream: r.Flow.Proto.Stream(), Call: r.Call, Payload: r.Data}
	if r.In {
		p.Src, p.Dst = p.Dst, p.Src
	}
	return p
}
