package app

import (
	"bytes"
	"encoding/json"
	"time"

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
	usualText      = 4 << 10         // bytes of what a call says within messagesGather
	spareRoom      = 500             // buffers for messages that are kept for the calls to come
	spareBytes     = 4 * usualText   // of one of them
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
	waits       []byte // packed
	n           int    // of them
	bytes       int    // of their text
	since, last time.Time
	allN, allB  int // of the call
	lost        int
}

// add takes a message. False: it was lost, the call has too many.
func (h *heldMessages) add(r *sip.Record) bool {
	if h.allN >= callMessages || h.allB+len(r.Data) > callText {
		h.lost++
		return false
	}
	if h.n == 0 {
		h.since = r.At
	}
	h.waits, h.last = appendMessage(h.waits, r), r.At
	h.bytes += len(r.Data)
	h.n++
	h.allN++
	h.allB += len(r.Data)
	return true
}

// shown are the messages that wait, for the console.
func (h *heldMessages) shown() []console.CallMessage { return messagesOf(journal.Spelt(h.waits)) }

// appendMessage packs a message for the book.
func appendMessage(b []byte, r *sip.Record) []byte {
	return journal.AppendMessage(b, &journal.Message{
		At: r.At, In: r.In, Attempt: r.Attempt, Proto: r.Flow.Proto.String(), Local: r.Flow.Local, Remote: r.Flow.Remote, Text: r.Data,
	})
}

// keyMarks stand before the keys of SRTP in a session description: RFC 4568 §9.1, RFC 4567 §3.
var keyMarks = [][]byte{[]byte("inline:"), []byte("key-mgmt:mikey ")}

// withoutKeys gives a message of the same length in which no key of SRTP can be read: who has the book, or the capture server's, must not be able to listen to what
// was said. The message that came or went stays as it is.
func withoutKeys(data []byte) []byte {
	hidden := false
	for _, mark := range keyMarks {
		for at := 0; ; {
			i := bytes.Index(data[at:], mark)
			if i < 0 {
				break
			}
			if !hidden {
				data, hidden = bytes.Clone(data), true
			}
			for at += i + len(mark); at < len(data) && isBase64(data[at]); at++ {
				data[at] = '*'
			}
		}
	}
	return data
}

func isBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '='
}

// message takes a message into its call and gives the entry that it completes, if it does.
func (l *callList) message(r *sip.Record) (e journal.Entry, complete, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[r.Call]
	if c == nil {
		return e, false, true
	}
	if c.messages.waits == nil {
		c.messages.waits = l.buffer()
	}
	if !c.messages.add(r) {
		return e, false, true
	}
	if c.messages.n == 1 {
		l.talks[r.Call] = c
	}
	if c.messages.bytes < entryText {
		return e, false, false
	}
	return l.messageEntry(c), true, false
}

// buffer is an empty one for messages.
func (l *callList) buffer() []byte {
	n := len(l.spare)
	if n == 0 {
		return make([]byte, 0, usualText)
	}
	b := l.spare[n-1]
	l.spare = l.spare[:n-1]
	return b
}

// messageEntry makes an entry of the messages of a call that wait. It names the caller, so that erasing that number erases them.
func (l *callList) messageEntry(c *heldCall) journal.Entry {
	delete(l.talks, c.sum.ID)
	h := &c.messages
	n := h.n
	var data []byte
	data, l.squeeze = journal.Squeezed(h.waits, l.squeeze)
	if cap(h.waits) <= spareBytes && len(l.spare) < spareRoom {
		l.spare = append(l.spare, h.waits[:0])
	}
	h.waits, h.n, h.bytes = nil, 0, 0
	return journal.Entry{
		At: h.last, Type: journal.CallSignalingMessage, Call: c.sum.ID, CallID: c.sum.CallID, Route: c.sum.Route, Class: c.sum.Class, Caller: c.sum.Caller, Called: c.sum.Called,
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
