package sip

import (
	"hash/fnv"
	"io"
	"strings"
	"time"

	"nines/sip/txn"
	"nines/sip/wire"
)

// receive takes one message off a socket.
func (l *loop) receive(now time.Time, p wire.Packet) {
	m, err := wire.Parse(p.Data)
	if err != nil {
		l.s.count.garbage.Add(1)
		l.unreadable(now, &p, err)
		return
	}
	if m.Malformed {
		l.s.count.malformed.Add(1)
	}
	l.heard(now, p.Flow)
	l.meet(m)
	if len(l.trace.calls) > 0 {
		l.came(m, &p)
	}
	if m.IsRequest() {
		l.s.count.requests.Add(1)
		l.onRequest(now, m, p.Flow)
		return
	}
	l.s.count.responses.Add(1)
	l.onResponse(now, m, p.Flow)
}

// onResponse matches a response to the request it answers (RFC 3261 §17.1.3).
func (l *loop) onResponse(now time.Time, m *wire.Message, f wire.Flow) {
	key := txn.ClientKey(m.Via.Branch, m.Method)
	w, ok := l.waiting[key]
	if ok && w.flow != f && w.flow.Proto.Stream() && f.Proto.Stream() {
		l.move(key, f) // RFC 3261 §18.2.2: the connection of the request is gone, the response has made a new one; our CANCEL and ACK take it too
	}
	verdict, _, needAck, eff := l.txns.Response(now, key, m.Status, l.effects)
	l.effects = eff
	l.apply(now)
	switch {
	case verdict == txn.Repeat:
		l.s.count.repeats.Add(1)
	case verdict == txn.Unknown || !ok:
		l.s.count.stray.Add(1)
	default:
		if needAck {
			if a, ok := w.waiter.(acker); ok {
				l.effects = l.txns.Ack(now, key, a.ackRefusal(m), l.effects)
			}
		}
		w.response(now, m, f) // before the transaction's end, which over TCP comes with the ACK, says that nothing more will
		l.apply(now)
	}
}

// acker builds the ACK of a non-2xx final response; it belongs to the INVITE's transaction (RFC 3261 §17.1.1.3).
type acker interface {
	ackRefusal(m *wire.Message) []byte
}

// alias lets requests to who has called us go by its own connection, where it says so (RFC 5923 §5). It is heard only where its address is somebody's whom we
// know, and by TLS only if it has shown a certificate that one of ours has signed: whose name that must be, the connection that we would make says.
func (l *loop) alias(m *wire.Message, f wire.Flow) {
	switch {
	case !m.Via.Alias || !f.Proto.Stream() || f.Proto == wire.TLS && f.Name == "":
	case l.isEndpoint(f) || l.s.routing.Load().trunk(f.Remote.Addr()) != nil:
		l.s.stack.Alias(f, portOr(m.Via.Port, defaultPort(f.Proto)))
	}
}

func (l *loop) onRequest(now time.Time, m *wire.Message, f wire.Flow) {
	l.alias(m, f)
	switch m.Method {
	case "ACK":
		l.onAck(now, m, f)
	case "CANCEL":
		l.onCancel(now, m, f)
	default:
		if m.ToTag != "" {
			l.onInDialog(now, m, f)
			return
		}
		l.onNew(now, m, f)
	}
}

// serverKey is the key of a request's transaction. A Via without the magic cookie (RFC 2543) gets a key of what it has (RFC 3261 §17.2.3). The Call-ID
// belongs to it: a stack that uses a branch twice must not make a second caller a repeat of the first. What came without a Call-ID was cut short, and its
// branch may have been: then only a repeat, which has the same in it, is the same request.
func (l *loop) serverKey(m *wire.Message, f wire.Flow) txn.Key {
	branch := m.Via.Branch
	switch {
	case m.CallID == "":
		branch += "|" + utoa(digest(m))
	case len(branchToken(branch)) == 0:
		branch = m.CallID + "|" + m.FromTag + "|" + branch + "|" + utoa(uint64(m.CSeq))
	default:
		branch += "|" + m.CallID
	}
	return txn.ServerKey(branch, m.Via.Host+":"+utoa(uint64(m.Via.Port))+"/"+l.source(f), m.Method)
}

// digest tells messages apart that have nothing else to be told apart by.
func digest(m *wire.Message) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, m.URI)
	for i := range m.Headers {
		_, _ = io.WriteString(h, m.Headers[i].Name+":"+m.Headers[i].Value+"\n")
	}
	_, _ = h.Write(m.Body)
	return h.Sum64()
}

// source is who sends on a flow, for what belongs together: a carrier's CANCEL may come from another of its addresses than its INVITE, a stranger's never
// counts for somebody else's.
func (l *loop) source(f wire.Flow) string {
	if t := l.s.routing.Load().trunk(f.Remote.Addr()); t != nil {
		return string(t.Name)
	}
	return f.Remote.Addr().Unmap().String()
}

// onNew is a request outside any dialog.
func (l *loop) onNew(now time.Time, m *wire.Message, f wire.Flow) {
	r := l.s.routing.Load()
	trunk := r.trunk(f.Remote.Addr())
	if trunk != nil {
		l.s.cfg.Observer.Heard(trunk.Name)
	}
	switch m.Method {
	case "INVITE":
		if l.onSide(now, m, f, trunk) {
			l.onInvite(now, m, f, r, trunk)
		}
	case "OPTIONS":
		l.onOptions(now, m, f, trunk)
	default:
		if trunk == nil && !l.isEndpoint(f) {
			l.s.count.unknown.Add(1)
			return
		}
		if l.tooMany(now, l.s.gate.others, f, m.Method) {
			return
		}
		if ofDialog(m.Method) { // RFC 3261 §12.2.2, §15.1.2
			l.send(replyFlow(m, f), simpleReply(m, f.Remote, 481, "Call/Transaction Does Not Exist", l.stray()))
			return
		}
		// REGISTER, SUBSCRIBE, PUBLISH and the like have no business here.
		l.send(replyFlow(m, f), simpleReply(m, f.Remote, 405, "Method Not Allowed", l.stray(), wire.Header{Name: "Allow", Value: allow}))
	}
}

// ofDialog says that a method has its place only inside a dialog.
func ofDialog(method string) bool {
	switch method {
	case "BYE", "PRACK", "UPDATE", "INFO", "NOTIFY":
		return true
	}
	return false
}

// onInvite is a new call, a repeat of one, or a stranger.
func (l *loop) onInvite(now time.Time, m *wire.Message, f wire.Flow, r *routing, trunk *Trunk) {
	key := l.serverKey(m, f)
	flow := replyFlow(m, f)
	unproven := false
	if trunk == nil && l.isStranger(f) {
		if !l.admits(key, m, f, r) {
			return
		}
		unproven = f.Proto == wire.UDP
	}
	var isNew bool
	isNew, _, l.effects = l.txns.Receive(now, key, 0, flow, true, f.Proto.Stream(), l.effects)
	l.apply(now)
	if !isNew {
		l.s.count.repeats.Add(1)
		return
	}
	if trunk == nil {
		if !r.AnswerEmergency {
			// An endpoint that calls us is no trunk; it is told so, for it may be a mistake of configuration.
			l.refuse(now, key, m, f, 403, "Forbidden")
			return
		}
		trunk = &Trunk{} // an unknown carrier: emergency numbers only
	}
	// RFC 3261 §17.2.1: the 100 goes at once, before anything is decided.
	l.complete(m)
	trying := simpleReply(m, f.Remote, 100, "Trying", "")
	if unproven { // or when its INVITE repeats
		newSession(now, l, key, m, f, r, trunk, trying)
		l.respond(now, key, 100, trying)
		return
	}
	l.respond(now, key, 100, trying)
	newSession(now, l, key, m, f, r, trunk, trying)
}

// complete gives an INVITE that shows no more than who is called what RFC 3261 §8.1.1 demands of it, so that the endpoints can read ours.
func (l *loop) complete(m *wire.Message) {
	m.From = completed(m.From, m.FromTag, "sip:anonymous@anonymous.invalid")
	m.To = completed(m.To, m.ToTag, m.URI)
	if m.CallID == "" {
		m.CallID = l.stray()
	}
}

// completed is a From or To value as it came, or where it can't be read what can be saved of it.
func completed(value, tag, otherwise string) string {
	_, uri, _ := wire.NameAddr(value)
	if usable(uri) && strings.Count(value, `"`)%2 == 0 {
		return value
	}
	if i := strings.LastIndexByte(value, '<'); i >= 0 {
		if inside, _, ok := strings.Cut(value[i+1:], ">"); ok && usable(inside) {
			otherwise = inside
		}
	}
	value = "<" + string(appendEscaped(nil, otherwise, uriUnescaped)) + ">"
	if tag != "" {
		value += ";tag=" + tag
	}
	return value
}

// refuse ends a new INVITE without a call.
func (l *loop) refuse(now time.Time, key txn.Key, m *wire.Message, f wire.Flow, code int, reason string) {
	l.respond(now, key, code, simpleReply(m, f.Remote, code, reason, l.stray()))
}

// stray is a tag for responses that no call stands behind.
func (l *loop) stray() string { return token{loop: l.n}.text(l.rnd) }

// onAck is an ACK: of a refusal, which ends its transaction, or of a 2xx, which belongs to a dialog.
func (l *loop) onAck(now time.Time, m *wire.Message, f wire.Flow) {
	var known bool
	known, l.effects = l.txns.Acked(now, l.serverKey(m, f), l.effects)
	l.apply(now)
	if known {
		return
	}
	if s, part := l.dialog(m); s != nil && s.comesFrom(part, f) {
		s.proven(part)
		s.acked(now, part, m)
		l.touch(s)
	}
}

// onCancel matches a CANCEL to its INVITE (RFC 3261 §9.2).
func (l *loop) onCancel(now time.Time, m *wire.Message, f wire.Flow) {
	key := l.serverKey(m, f)
	flow := replyFlow(m, f)
	invite := *m
	invite.Method = "INVITE"
	s, ok := l.invites[l.serverKey(&invite, f)]
	if !ok && l.isStranger(f) { // of no call: it gets no answer
		l.s.count.unknown.Add(1)
		return
	}
	var isNew bool
	isNew, _, l.effects = l.txns.Receive(now, key, 0, flow, false, f.Proto.Stream(), l.effects)
	l.apply(now)
	if !isNew {
		l.s.count.repeats.Add(1)
		return
	}
	if !ok {
		l.respond(now, key, 481, simpleReply(m, f.Remote, 481, "Call/Transaction Does Not Exist", l.stray()))
		return
	}
	s.heardStranger(l.size())
	s.cancelCame(f)
	l.respond(now, key, 200, simpleReply(m, f.Remote, 200, "OK", s.caller.leg.LocalTag))
	s.cancelled(now, l.serverKey(&invite, f), m)
	l.touch(s)
}

// onInDialog is a request inside a dialog, or one that thinks so.
func (l *loop) onInDialog(now time.Time, m *wire.Message, f wire.Flow) {
	key := l.serverKey(m, f)
	flow := replyFlow(m, f)
	s, part := l.dialog(m)
	if l.isStranger(f) && !l.mayStay(now, key, s, part, m, f) {
		return
	}
	var isNew bool
	isNew, _, l.effects = l.txns.Receive(now, key, 0, flow, m.Method == "INVITE", f.Proto.Stream(), l.effects)
	l.apply(now)
	if !isNew {
		l.s.count.repeats.Add(1)
		return
	}
	if s == nil {
		l.s.count.stray.Add(1)
		l.respond(now, key, 481, simpleReply(m, f.Remote, 481, "Call/Transaction Does Not Exist", ""))
		return
	}
	if !s.comesFrom(part, f) {
		l.spoofed(now, s, m, f)
		l.respond(now, key, 403, simpleReply(m, f.Remote, 403, "Forbidden", ""))
		return
	}
	s.proven(part)
	s.inDialog(now, part, key, m, f)
	l.touch(s)
}

// dialog finds the call and the part of it that a request in a dialog belongs to.
func (l *loop) dialog(m *wire.Message) (*session, int) {
	tok, ok := parseToken(m.ToTag)
	if !ok || tok.loop != l.n {
		return nil, 0
	}
	s := l.calls[tok.call]
	if s == nil || !s.owns(tok.part, m) {
		return nil, 0
	}
	return s, tok.part
}
