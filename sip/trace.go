package sip

import (
	"time"

	"nines/policy"
	"nines/sip/wire"
)

// Tracing says of which calls every message is told as a CallMessage.
type Tracing uint8

// Whose messages are told.
const (
	TraceNone Tracing = iota
	TraceEmergency
	TraceAll
)

// traces says whether the messages of a call are told.
func (r *routing) traces(class policy.Class) bool {
	return r.Messages == TraceAll || r.Messages == TraceEmergency && class == policy.Emergency
}

// traced is a call whose messages are told.
type traced struct {
	name  string
	route policy.RouteName
	class policy.Class
}

// trace is which messages a loop tells.
type trace struct {
	calls  map[uint64]traced // that live, and the latest that don't: their last responses come when nobody waits for them any more
	over   []uint64          // of them, oldest first
	now    time.Time         // of this turn
	packet *wire.Packet      // that is being read
}

// lately is how many calls that are over are still known.
const lately = 512

// forget notes that a call is over.
func (t *trace) forget(call uint64) {
	if _, ok := t.calls[call]; !ok {
		return
	}
	t.over = append(t.over, call)
	if len(t.over) > lately {
		delete(t.calls, t.over[0])
		t.over = t.over[1:]
	}
}

// message tells of one message of a call. The bytes are those that came or went: nobody changes them.
func (l *loop) message(c traced, in bool, part int, f wire.Flow, data []byte) {
	l.s.cfg.Observer.Recorded(Record{Kind: CallMessage, At: l.trace.now, Call: c.name, Route: c.route, Class: c.class, In: in, Attempt: part, Flow: f, Data: data})
}

// sent tells of a message that goes, if it is of a call whose messages are told. Our branch or our tag says whose it is.
func (l *loop) sent(f wire.Flow, data []byte) {
	p, ok := wire.Peek(data)
	if !ok {
		return
	}
	mark := p.ToTag // a response's; the 100, which has none, is told with its INVITE
	if len(p.Method) > 0 {
		mark = branchToken(p.Branch)
	}
	if c, part, ok := tracedBy(l, mark); ok {
		l.message(c, false, part, f, data)
	}
}

// came tells of a message that came in the same way. What begins or cancels a call has no mark of ours yet; see opened and onCancel.
func (l *loop) came(m *wire.Message, p *wire.Packet) {
	mark := m.ToTag
	if !m.IsRequest() {
		mark = branchToken(m.Via.Branch)
	}
	if c, part, ok := tracedBy(l, mark); ok {
		l.message(c, true, part, p.Flow, p.Data)
	}
}

// tracedBy is the call that a token of ours names, if its messages are told, and which of its dialogs.
func tracedBy[T string | []byte](l *loop, mark T) (traced, int, bool) {
	tok, ok := parseToken(mark)
	if !ok || tok.loop != l.n {
		return traced{}, 0, false
	}
	c, ok := l.trace.calls[tok.call]
	return c, tok.part, ok
}

// opened tells of the messages that begin a call.
func (s *session) opened(trying []byte) {
	l := s.loop
	if !s.routing.traces(s.machine.Class) {
		return
	}
	c := traced{s.name, s.match.Route.Name, s.machine.Class}
	l.trace.calls[s.id] = c
	l.message(c, true, 0, s.src, l.trace.packet.Data)
	l.message(c, false, 0, s.caller.flow, trying)
}

// cancelCame tells of a caller's CANCEL, which has no mark of ours.
func (s *session) cancelCame(f wire.Flow) {
	if c, ok := s.loop.trace.calls[s.id]; ok {
		s.loop.message(c, true, 0, f, s.loop.trace.packet.Data)
	}
}
