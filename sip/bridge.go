package sip

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"nines/call"
	"nines/health"
	"nines/media/sdp"
	"nines/sip/leg"
	"nines/sip/txn"
	"nines/sip/wire"
)

// owns says that a request with this To tag belongs to this part of the call.
func (s *session) owns(part int, m *wire.Message) bool {
	if part == 0 {
		return m.ToTag == s.caller.leg.LocalTag && m.CallID == s.caller.leg.CallID && m.FromTag == s.caller.leg.RemoteTag
	}
	if part > len(s.attempts) {
		return false
	}
	at := s.attempts[part-1]
	return at.leg != nil && m.ToTag == at.tag && m.CallID == at.callID
}

func (s *session) party(part int) *party {
	if part == 0 {
		return &s.caller
	}
	return &s.attempts[part-1].party
}

// across is the other side of a talking call; nil where nobody is there.
func (s *session) across(part int) *party {
	switch {
	case s.winner == nil || s.over:
		return nil
	case part == 0:
		return &s.winner.party
	case s.attempts[part-1] == s.winner:
		return &s.caller
	}
	return nil
}

// inDialog is a request inside one of the call's dialogs; its transaction is new.
func (s *session) inDialog(now time.Time, part int, key txn.Key, m *wire.Message, f wire.Flow) {
	p := s.party(part)
	if tag := p.leg.RemoteTag; part > 0 && tag != "" && tag != m.FromTag {
		s.fromFork(now, part, key, m, f)
		return
	}
	s.learnHalf(p, m)
	in := leg.Incoming{Method: m.Method, CSeq: m.CSeq, Contact: contactURI(m), SDP: describe(m).sdp()}
	if m.Has("Supported") {
		in.Supported = m.List("Supported")
	}
	if m.Has("Allow") {
		in.Allow = m.List("Allow")
	}
	d := p.leg.Receive(in, s.loop.rnd.Uint32())
	if d.Confirms { // its ACK was lost
		if p == &s.caller && !s.isConfirmed() {
			s.confirm(now)
		}
		s.ackMissing(now, p)
		s.unacked(now, p)
	}
	if d.Code != 0 {
		s.reply(now, key, m, f, d.Code, wire.Phrase(d.Code), retryAfter(d.RetryAfter)...)
		return
	}
	switch m.Method {
	case "BYE":
		s.onBye(now, part, key, m, f)
	case "PRACK":
		s.onPrack(now, p, key, m, f)
	default:
		if part == 0 && s.alone() && s.onAlone(now, key, m, f) {
			return
		}
		if s.across(part) == nil || !s.watch.lostAt.IsZero() { // in a rescue nobody is there to answer
			s.onEarly(now, p, key, m, f)
			return
		}
		s.pass(now, part, key, m, f)
	}
}

// fromFork is a request from another branch of a PBX that forked: its dialog is early, or was ended by us. What it says, its BYE above all, is not
// said by the one who answered.
func (s *session) fromFork(now time.Time, part int, key txn.Key, m *wire.Message, f wire.Flow) {
	code := 481
	for _, d := range s.attempts[part-1].dialogs {
		if d.RemoteTag != m.FromTag {
			continue
		}
		switch in := (leg.Incoming{Method: m.Method, CSeq: m.CSeq, Contact: contactURI(m)}); {
		case m.Method == "BYE":
			code = 200
			d.End()
		case d.Receive(in, s.loop.rnd.Uint32()).Code != 481:
			code = 500 // it may ask again when somebody has answered
		}
	}
	s.loop.respond(now, key, code, simpleReply(m, f.Remote, code, wire.Phrase(code), ""))
}

func retryAfter(d time.Duration) []wire.Header {
	if d <= 0 {
		return nil
	}
	return []wire.Header{{Name: "Retry-After", Value: utoa(uint64((d + time.Second - 1) / time.Second))}}
}

// reply answers a request in dialog without a body.
func (s *session) reply(now time.Time, key txn.Key, m *wire.Message, f wire.Flow, code int, reason string, headers ...wire.Header) {
	if tok, ok := parseToken(m.ToTag); ok && tok.part <= len(s.attempts) {
		p := s.party(tok.part)
		p.leg.Reply(now, leg.Reply{Method: m.Method, CSeq: m.CSeq, Code: code})
		headers = s.identified(p, headers...)
	}
	s.loop.respond(now, key, code, simpleReply(m, f.Remote, code, reason, "", headers...))
}

// onBye answers a BYE at once, then the call decides what follows (R46).
func (s *session) onBye(now time.Time, part int, key txn.Key, m *wire.Message, f wire.Flow) {
	s.reply(now, key, m, f, 200, "OK")
	switch {
	case s.over:
	case part == 0 && !s.final:
		s.callerLeft(now, m) // RFC 3261 §15: a caller may leave an early dialog by BYE
	case part == 0 || s.attempts[part-1] == s.winner:
		s.party(part).leg.End()
		s.byeMsg = m
		if part == 0 {
			s.cleared(now)
			s.feed(now, call.HungUp{Side: call.Caller})
			return
		}
		s.suspiciousBye(now, s.winner, m)
	}
}

// onPrack acknowledges a reliable provisional of ours (RFC 3262 §3).
func (s *session) onPrack(now time.Time, p *party, key txn.Key, m *wire.Message, f wire.Flow) {
	v, _ := m.Get("RAck")
	rack := parseRAck(v)
	d := describe(m)
	ok, what, due := p.leg.Pracked(now, m.CSeq, rack, d.sdp(), nil)
	switch {
	case !ok:
		s.reply(now, key, m, f, 481, "Call/Transaction Does Not Exist")
		return
	case what == leg.Offered && p == &s.caller && s.frozen != nil && s.frozen.attempt != nil:
		s.offeredAgain(now, key, m, f, d)
	default:
		s.reply(now, key, m, f, 200, "OK")
	}
	for _, e := range due {
		if !s.final {
			s.loop.send(p.reply, e.Data)
		}
	}
	if s.waits && p == &s.caller {
		s.answer(now, s.winner)
	}
}

// offeredAgain is an offer in the PRACK of our early answer (RFC 3262 §5). Its answer is the frozen one once more: that is what the caller hears.
func (s *session) offeredAgain(now time.Time, key txn.Key, m *wire.Message, f wire.Flow, d description) {
	s.caller.far = d.text()
	s.pair(&s.caller, s.caller.far, &s.frozen.attempt.party, s.frozen.theirs)
	text := s.rewrite(&s.caller, s.frozen.theirs)
	s.caller.leg.Reply(now, leg.Reply{Method: "PRACK", CSeq: m.CSeq, Code: 200, SDP: text})
	b := appendReply(make([]byte, 0, 512+len(text)), m, f.Remote, 200, "OK", "")
	b = wire.AppendHeader(b, "Content-Type", "application/sdp")
	s.loop.respond(now, key, 200, wire.AppendBody(b, text))
}

// onEarly is a request in a dialog that has nobody on the other side yet, or no more.
func (s *session) onEarly(now time.Time, p *party, key txn.Key, m *wire.Message, f wire.Flow) {
	switch {
	case s.over:
		s.reply(now, key, m, f, 481, "Call/Transaction Does Not Exist")
	case p.renews(m, describe(m)): // a session lasts, whoever is looked for
		s.renew(now, p, key, m, f)
	case m.Method == "OPTIONS" || m.Method == "INFO" || m.Method == "UPDATE" && !describe(m).ok:
		s.reply(now, key, m, f, 200, "OK", wire.Header{Name: "Allow", Value: allow}, wire.Header{Name: "Contact", Value: p.leg.Contact})
	default:
		// RFC 3311 §5.2: no answer can be given before somebody has answered; ask again.
		s.reply(now, key, m, f, 500, "Nobody Has Answered Yet", wire.Header{Name: "Retry-After", Value: utoa(uint64(1 + s.loop.rnd.IntN(9)))})
	}
}

// relay is a request in dialog that was passed to the other side and waits for its answer.
type relay struct {
	s        *session
	part     int // where the request came from; -1 for one of our own
	from, to *party
	key      txn.Key // of the request that came in
	req      *wire.Message
	src      wire.Flow
	offer    description // what came in; after a late offer's 2xx what that offered
	sent     []byte      // the session description as it went out
	body     []byte      // the whole body around it
	ctype    string
	own      string  // our own request's method; empty: INVITE
	refresh  bool    // it is a refresh of ours (RFC 4028)
	renews   bool    // the request that came in is a refresh of its session and no more
	client   txn.Key // of the request that went out
	line     leg.Line
	branch   string
	flow     wire.Flow
	until    time.Time // a re-INVITE is taken back then

	answered  bool // its 2xx came
	acked     bool // and has its ACK
	lost      bool // the connection that the request came by has ended
	cancelled bool // by who asked
	done      bool // who asked has its answer, or there is nobody any more who waits for it
	ack       []byte
}

// pass sends a request of one side to the other.
func (s *session) pass(now time.Time, part int, key txn.Key, m *wire.Message, f wire.Flow) {
	r := &relay{s: s, part: part, from: s.party(part), to: s.across(part), key: key, req: m, src: f}
	if negotiates(m.Method) {
		r.offer = describe(m)
	}
	if m.Method == "INVITE" {
		s.loop.invites[key] = s
		s.loop.respond(now, key, 100, simpleReply(m, f.Remote, 100, "Trying", ""))
	}
	body := m.Body
	if r.offer.ok {
		body, r.sent = s.rewritten(r.to, r.offer)
	}
	r.renews = r.from.renews(m, r.offer)
	s.relays = append(s.relays, r)
	r.send(now, m, body, m.ContentType)
}

// negotiates says that a session description in a request of this method is an offer, and that in its 2xx an answer or an offer (RFC 6337 §2.2). In
// others it is information, and passes as it is. PRACK ends at us.
func negotiates(method string) bool { return method == "INVITE" || method == "UPDATE" }

// passTimeout is how long the other side may take to answer anything but an INVITE. Who asked gives up after 64·T1: it shall hear of ours before
// (RFC 4320 §4.2 wants no response after that).
const passTimeout = 30 * time.Second

// reinviteLimit is how long a re-INVITE may stay unanswered, whatever provisionals come: while it is open nobody can change the session (RFC 3261 §16.6,
// Timer C).
const reinviteLimit = 3*time.Minute + time.Second

// send writes the request on the other side's dialog.
func (r *relay) send(now time.Time, from *wire.Message, body []byte, ctype string) {
	s, l := r.s, r.s.loop
	method := r.method()
	r.body, r.ctype = body, ctype
	if method == "INVITE" && r.to.leg.Pending2xx != nil {
		r.busy(now) // our 2xx has no ACK yet: the INVITE before this one is still under way there (RFC 3261 §14.1)
		return
	}
	line, err := r.to.leg.Request(method, r.sent)
	if err != nil {
		r.busy(now)
		return
	}
	r.line = line
	timeout := passTimeout
	if method == "INVITE" {
		timeout = 0
		r.until = now.Add(reinviteLimit)
	}
	s.reach(now, r.to, r.line, func(now time.Time, flow wire.Flow, err error) {
		if err != nil || r.cancelled || r.done {
			r.failed(now, broken)
			return
		}
		r.flow = flow
		r.branch = token{loop: l.n, call: s.id, part: s.partOf(r.to)}.branch(l.rnd)
		r.client = l.request(now, method, r.branch, flow, l.build(r.to, r.line, flow, r.branch, from, ctype, body, r.timer()), timeout, r)
	})
}

// timer is what a request of ours says about its leg's session timer (RFC 4028 §7.4). What the request that it was made of said is of that one's leg.
func (r *relay) timer() []wire.Header {
	if !negotiates(r.line.Method) {
		return nil
	}
	var extra []wire.Header
	if r.req == nil {
		extra = r.s.identified(r.to, wire.Header{Name: "Supported", Value: "timer"})
	}
	return append(extra, sessionHeaders(r.to.leg.AskTimer())...)
}

// busy says that the other side is in the middle of an exchange of its own: glare (RFC 3261 §14.2).
func (r *relay) busy(now time.Time) {
	if r.part >= 0 {
		r.s.reply(now, r.key, r.req, r.src, 491, "Request Pending")
	} else {
		r.again(now)
	}
	r.finish()
}

// again tries our own re-INVITE later: the other side is busy with an exchange of its own (RFC 3261 §14.1).
func (r *relay) again(now time.Time) {
	if r.refresh {
		r.refreshRefused(now, 491, 0)
		return
	}
	if r.to == &r.s.caller {
		r.s.retellDue = true
		r.s.caller.leg.BackOff(now, r.s.loop.rnd.Uint32())
		return
	}
	r.s.refitLater(now)
}

func (s *session) partOf(p *party) int {
	if p == &s.caller {
		return 0
	}
	for _, at := range s.attempts {
		if &at.party == p {
			return int(at.id)
		}
	}
	return 0
}

// response implements waiter.
func (r *relay) response(now time.Time, m *wire.Message, f wire.Flow) {
	s := r.s
	s.learnHalf(r.to, m)
	defer s.loop.touch(s)
	switch {
	case m.Status < 200:
		r.provisional(now, m)
	case m.Status < 300 && r.answered:
		if r.ack != nil { // a repeated 2xx: our ACK was lost. From now on we use the way that the 2xx came by (R6)
			r.to.flow, r.to.pinned, r.to.dead = f, true, false
			s.loop.send(f, r.ack)
		}
	case m.Status < 300:
		r.succeeded(now, m)
	case !r.answered:
		r.to.leg.Response(now, legResponse(m))
		switch {
		case r.done:
		case r.refresh:
			r.refreshRefused(now, m.Status, minSE(m))
		case m.Status == 422 && !r.cancelled && r.to.leg.TimerTooBrief(minSE(m)):
			r.send(now, r.req, r.body, r.ctype) // RFC 4028 §7.3: the interval is ours to mend, and nobody else's business
			return
		case r.renews && m.Status != 491 && !r.cancelled:
			s.renew(now, r.from, r.key, r.req, r.src)
		case r.part >= 0:
			s.copyReply(now, r, m, m.Body, nil)
		case m.Status == 491:
			r.again(now)
		case r.to == &s.caller:
			s.log.Warn().Int("code", m.Status).Msg("the caller refused the codecs of the endpoint that it talks to")
		default:
			s.log.Warn().Int("code", m.Status).Msg("the winner refused the codecs that the caller was told")
			if s.winner != nil && r.to == &s.winner.party {
				s.retell(now)
			}
		}
		r.finish()
	}
}

// provisional is a 1xx to a request that was passed. The other side was told 100 and needs no more; a reliable one gets its PRACK from us (R44).
func (r *relay) provisional(now time.Time, m *wire.Message) {
	if o := r.to.leg.Response(now, legResponse(m)); o.RAck.RSeq != 0 {
		r.s.prack(now, r.to, o.RAck)
	}
}

func (r *relay) method() string {
	switch {
	case r.req != nil:
		return r.req.Method
	case r.own != "":
		return r.own
	}
	return "INVITE"
}

// succeeded passes a 2xx back, with its session description rewritten and the relay aimed anew.
func (r *relay) succeeded(now time.Time, m *wire.Message) {
	s := r.s
	r.answered = true
	var d description
	if negotiates(r.method()) {
		d = describe(m)
	}
	r.to.leg.Response(now, legResponse(m))
	if negotiates(r.method()) && r.to.leg.State == leg.Confirmed {
		r.to.leg.TimerAnswered(now, sessionOf(m))
	}
	if r.refresh && !r.done {
		r.refreshed(now, d)
		return
	}
	if r.done { // the call has ended meanwhile: the 2xx wants its ACK all the same
		if r.method() == "INVITE" {
			r.sendAck(now, nil, nil, "")
		}
		return
	}
	if r.part < 0 { // our own re-INVITE: only one side's media is concerned
		if d.ok && s.winner != nil && r.to == &s.caller {
			s.caller.far = d.text()
			s.pair(&s.winner.party, s.winner.far, &s.caller, s.caller.far)
			s.noteMuted(now)
		} else if d.ok && s.winner != nil {
			s.winner.far = d.text()
			s.pair(&s.caller, s.caller.far, &s.winner.party, d.text())
			if s.frozen != nil && !sdp.Within(d.text(), s.frozen.theirs) {
				s.retell(now) // it goes on with codecs, numbers or keys of its own: only the caller is left to be asked
			}
		}
		r.sendAck(now, nil, nil, "")
		r.finish()
		return
	}
	if d.ok && r.offer.ok {
		s.refitDue = false // both sides have agreed anew
		r.from.far, r.to.far = r.offer.text(), d.text()
		s.pair(r.from, r.from.far, r.to, r.to.far)
		s.rejoin()
		s.noteMuted(now)
	}
	body, text := m.Body, []byte(nil)
	if d.ok {
		body, text = s.rewritten(r.from, d)
	}
	s.copyReply(now, r, m, body, text)
	switch {
	case r.method() != "INVITE":
		r.finish()
	case r.offer.ok || !d.ok:
		r.sendAck(now, nil, nil, "")
		r.finish() // what repeats is dealt with by its transaction: the 2xx gets this ACK again, ours is repeated by the leg
	default:
		r.offer = d // the 2xx was the offer: the ACK that comes answers it
	}
}

func (s *session) rejoin() {
	if s.caller.media != nil && s.winner != nil && s.winner.media != nil {
		s.loop.s.cfg.Media.Join(s.caller.media, s.winner.media)
	}
}

// copyReply passes a final response to the side that asked.
func (s *session) copyReply(now time.Time, r *relay, m *wire.Message, body, text []byte) {
	code, reason := m.Status, m.Reason
	if endsDialog(code, r.req.Method) {
		code, reason = 500, "Server Internal Error"
	}
	b := appendReply(make([]byte, 0, 800+len(body)), r.req, r.src.Remote, code, reason, "")
	if code < 300 && refreshes(r.req.Method) {
		b = wire.AppendHeader(b, "Contact", r.from.leg.Contact)
	}
	for i := range m.Headers {
		if h := &m.Headers[i]; !perLeg(h.Name) && (len(body) > 0 || !bodyHeader(h.Name)) {
			b = wire.AppendHeader(b, h.Name, h.Value)
		}
	}
	tags := optionTags(m, "Supported")
	if code < 300 && negotiates(r.req.Method) {
		tags = r.from.knownTags(tags)
	}
	b = appendTags(b, "Supported", tags)
	if code < 300 {
		b = s.grantTimer(b, now, r.from, r.req)
	}
	b = wire.AppendBody(b, body)
	if r.req.Method == "INVITE" {
		r.from.answers(r.req, r.src)
		r.from.lost = r.lost
	}
	r.from.leg.Reply(now, leg.Reply{Method: r.req.Method, CSeq: r.req.CSeq, Code: code, SDP: text, Data: b})
	s.loop.respond(now, r.key, code, b)
}

// endsDialog says that a refusal tells who gets it that its dialog is over, or its peer to be avoided (RFC 5057 §5.1; 503: RFC 3261 §16.7). It is about
// the other leg: on this one the call lives, and it is not for us to end it (R21). A subscription's own end is its own business.
func endsDialog(code int, method string) bool {
	if method == "SUBSCRIBE" || method == "NOTIFY" {
		return code == 503
	}
	switch code {
	case 404, 408, 410, 416, 480, 481, 482, 483, 484, 485, 502, 503, 604:
		return true
	}
	return false
}

// refreshes says that a method carries a Contact that renews the dialog's target (RFC 3261 §12.2, RFC 3311, RFC 6665).
func refreshes(method string) bool {
	switch method {
	case "INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER":
		return true
	}
	return false
}

// sendAck acknowledges the 2xx to the re-INVITE that went out.
func (r *relay) sendAck(now time.Time, body, text []byte, ctype string) {
	s, l := r.s, r.s.loop
	if r.acked {
		return
	}
	r.acked = true
	line := r.to.leg.Ack(r.line.CSeq, text)
	s.reach(now, r.to, line, func(_ time.Time, flow wire.Flow, err error) {
		if err != nil {
			flow = r.flow
		}
		r.ack = l.build(r.to, line, flow, token{loop: l.n, call: s.id, part: s.partOf(r.to)}.branch(l.rnd), nil, ctype, body, s.identified(r.to))
		l.send(flow, r.ack)
	})
}

// ackRefusal implements acker.
func (r *relay) ackRefusal(m *wire.Message) []byte {
	line := r.line
	line.To = m.To
	return r.s.loop.refusalAck(r.flow, r.branch, line)
}

// failed implements waiter.
func (r *relay) failed(now time.Time, why failure) {
	s := r.s
	defer s.loop.touch(s)
	if r.answered {
		return
	}
	r.to.leg.Response(now, leg.Response{Method: r.method(), CSeq: r.line.CSeq, Code: 408, ToTag: r.to.leg.RemoteTag})
	s.log.Info().Str("method", r.method()).Bool("broken", why == broken).Msg("no answer to a request inside the call")
	switch {
	case r.done:
	case r.refresh:
		r.refreshRefused(now, 408, 0)
	case r.renews && !r.cancelled:
		s.renew(now, r.from, r.key, r.req, r.src)
	case r.part >= 0:
		code, reason := 500, "Server Internal Error" // not 408, which would end the dialog that asks (see endsDialog)
		if r.cancelled {
			code, reason = 487, "Request Terminated"
		}
		s.reply(now, r.key, r.req, r.src, code, reason)
	}
	r.finish()
}

// abandon ends the wait for an answer because the call ends: who asked is told so (RFC 3261 §15.1.2), and a 2xx that comes yet gets its ACK.
func (r *relay) abandon(now time.Time) {
	switch {
	case r.answered:
		r.sendAck(now, nil, nil, "") // the answer to its offer will not come
	case r.part >= 0:
		r.s.reply(now, r.key, r.req, r.src, 487, "Request Terminated")
	}
	r.done = true
}

func (r *relay) icmp(time.Time) {}

// finish takes the relay off the session's list; its transaction may still repeat.
func (r *relay) finish() {
	for i, x := range r.s.relays {
		if x == r {
			r.s.relays = append(r.s.relays[:i], r.s.relays[i+1:]...)
			return
		}
	}
}

// cancelRelay passes the CANCEL of a re-INVITE on.
func (s *session) cancelRelay(now time.Time, invite txn.Key) {
	for _, r := range s.relays {
		if r.key == invite && !r.answered {
			r.cancel(now)
		}
	}
}

// cancel takes a re-INVITE back that was passed on.
func (r *relay) cancel(now time.Time) {
	r.cancelled = true
	if r.client == "" {
		return // no connection yet; then it will not be sent
	}
	l := r.s.loop
	b := make([]byte, 0, 512)
	b = wire.AppendRequestLine(b, "CANCEL", r.line.URI)
	b = l.s.appendVia(b, r.flow, r.branch)
	for _, route := range r.line.Routes {
		b = wire.AppendHeader(b, "Route", route)
	}
	b = append(b, "Max-Forwards: 70\r\n"...)
	b = wire.AppendHeader(b, "From", r.line.From)
	b = wire.AppendHeader(b, "To", r.line.To)
	b = wire.AppendHeader(b, "Call-ID", r.line.CallID)
	b = wire.AppendCSeq(b, r.line.CSeq, "CANCEL")
	b = r.s.appendSessionID(b, r.to)
	l.effects = l.txns.Cancel(now, r.client, wire.AppendBody(b, nil), l.effects)
	l.apply(now)
}

// acked is an ACK of a 2xx that we sent.
func (s *session) acked(now time.Time, part int, m *wire.Message) {
	p := s.party(part)
	d := describe(m)
	if !p.leg.Acked(m.CSeq, d.sdp()).First {
		return
	}
	s.unacked(now, p)
	if part == 0 && m.CSeq == s.invite.CSeq {
		s.confirmed(now, m, d)
		return
	}
	if part == 0 && s.alone() {
		s.renegotiated(now, d)
		return
	}
	for _, r := range s.relays {
		if r.from == p && r.answered && r.req != nil && r.req.CSeq == m.CSeq {
			r.concluded(now, m, d)
			return
		}
	}
}

// concluded is the ACK that answers the offer in the 2xx to a re-INVITE without one.
func (r *relay) concluded(now time.Time, m *wire.Message, d description) {
	s := r.s
	body, text := m.Body, []byte(nil)
	if d.ok {
		s.refitDue = false
		r.to.far, r.from.far = r.offer.text(), d.text()
		s.pair(r.to, r.to.far, r.from, r.from.far)
		s.rejoin()
		body, text = s.rewritten(r.to, d)
	}
	r.sendAck(now, body, text, m.ContentType)
	r.finish()
}

// ackMissing ends what waited for an ACK of p that will not come: the other side's 2xx, an offer, gets its ACK without an answer.
func (s *session) ackMissing(now time.Time, p *party) {
	for _, r := range s.relays {
		if r.from == p && r.answered {
			r.sendAck(now, nil, nil, "")
			r.finish()
			return
		}
	}
}

// unacked sends the BYE that waited for the ACK of our 2xx.
func (s *session) unacked(now time.Time, p *party) {
	if then := p.later; then != nil {
		p.later = nil
		then(now)
	}
}

// confirmed is the caller's ACK to our 200.
func (s *session) confirmed(now time.Time, m *wire.Message, d description) {
	at := s.winner
	if at != nil && !at.acked { // late offer: the ACK brings the answer
		body, text := m.Body, []byte(nil)
		if d.ok {
			s.caller.far = d.text()
			s.pair(&at.party, at.far, &s.caller, s.caller.far)
			s.rejoin()
			body, text = s.rewritten(&at.party, d)
		}
		at.ackNow(now, body, text, m.ContentType)
	}
	s.answersOurs(now, d)
	s.confirm(now)
}

// confirm begins the talking: the caller has our 200.
func (s *session) confirm(now time.Time) {
	if at := s.winner; at != nil {
		at.ackNow(now, nil, nil, "") // a late offer that will get no answer
	}
	if !s.over {
		s.check.next = now.Add(callerSilence)
		s.slim()
	}
	s.feed(now, call.Confirmed{})
}

// isConfirmed says that the caller has our 200.
func (s *session) isConfirmed() bool { return !s.check.next.IsZero() }

// slim lets go of what only the set-up needed.
func (s *session) slim() {
	for _, at := range s.attempts {
		at.earlyMsgs, at.answerMsg = nil, nil
		at.dialogs = at.ended()
	}
}

// legTick repeats what a leg has to repeat.
func (s *session) legTick(now time.Time, p *party) {
	if next := p.leg.Next(); next.IsZero() || next.After(now) {
		return
	}
	for _, e := range p.leg.Tick(now, nil) {
		switch e.Kind {
		case leg.Resend:
			if p == &s.caller && !s.affords(e.Data) {
				continue
			}
			s.loop.s.count.resent.Add(1)
			if p.lost {
				s.callBack(p)
			} else {
				s.loop.send(p.reply, e.Data)
			}
		case leg.NeverAcked:
			s.neverAcked(now, p)
		case leg.NeverPracked:
			s.log.Warn().Msg("the caller never acknowledged a reliable provisional; the call goes on")
			if s.waits {
				s.answer(now, s.winner)
			}
		case leg.RetryDue:
			if s.retellDue && p == &s.caller {
				s.retell(now)
			}
			if s.refitDue && s.winner != nil && p == &s.winner.party {
				s.refit(now, s.winner)
			}
		case leg.SessionExpired:
			s.expired(now, p)
		case leg.RefreshDue:
			s.refresh(now, p)
		}
	}
}

func (s *session) neverAcked(now time.Time, p *party) {
	s.unacked(now, p)
	switch {
	case p != &s.caller || s.isConfirmed():
	case !s.over && s.hearsCaller() && s.callerHeard(now):
		// RFC 3261 §13.3.1.4: the session SHOULD be ended. But it talks: an ACK that goes astray is no reason to hang up on somebody who called for help.
		s.log.Warn().Msg("the caller never acknowledged our 200, but its audio comes: the call goes on")
		s.confirm(now)
		return
	default:
		s.unconfirmed = true
		s.log.Warn().Msg("the caller never acknowledged our 200")
		s.feed(now, call.NeverAcked{})
		return
	}
	s.ackMissing(now, p)
	s.log.Warn().Msg("a re-INVITE's 200 was never acknowledged; the call goes on as it was")
}

// bye ends a dialog of ours.
func (s *session) bye(now time.Time, p *party, from *wire.Message, reason, why string) {
	if p.leg == nil || p.leg.State == leg.Ended {
		return
	}
	line, err := p.leg.Request("BYE", nil)
	if errors.Is(err, leg.ErrUnacked) {
		p.later = func(now time.Time) { s.bye(now, p, from, reason, why) }
		return
	}
	if err != nil {
		s.log.Error().Err(err).Msg("no BYE could be sent")
		return
	}
	p.leg.End()
	if p == &s.caller && s.stranger != nil {
		return // nobody has shown that there is a dialog at the other end
	}
	var extra []wire.Header
	if reason != "" {
		extra = append(extra, wire.Header{Name: "Reason", Value: reason})
	}
	if from == nil {
		extra = s.identified(p, extra...)
	}
	s.log.Debug().Int("part", s.partOf(p)).Str("why", why).Msg("hanging up")
	s.sendBye(now, p, line, from, extra, func(now time.Time) { s.sendBye(now, p, line, from, extra, nil) })
}

func (s *session) sendBye(now time.Time, p *party, line leg.Line, from *wire.Message, extra []wire.Header, again func(now time.Time)) {
	l, part := s.loop, s.partOf(p)
	s.reach(now, p, line, func(now time.Time, flow wire.Flow, err error) {
		if err != nil {
			s.log.Info().AnErr("error", err).Msg("no way to send a BYE")
			return
		}
		branch := token{loop: l.n, call: s.id, part: part}.branch(l.rnd)
		body, ctype := []byte(nil), ""
		if from != nil {
			body, ctype = from.Body, from.ContentType
		}
		l.request(now, "BYE", branch, flow, l.build(p, line, flow, branch, from, ctype, body, extra), 0, farewell{s: s, p: p, flow: flow, again: again})
	})
}

// farewell waits for the response to a BYE. What it says changes nothing; but a connection that broke under it may have lost it, and a peer that
// was not told talks on to nobody: it is sent once more.
type farewell struct {
	quiet
	s     *session
	p     *party
	flow  wire.Flow
	again func(now time.Time)
}

func (w farewell) failed(now time.Time, why failure) {
	if why != broken || w.again == nil {
		return
	}
	if w.p.flow == w.flow {
		w.p.dead = true
	}
	w.again(now)
}

// quiet waits for responses that change nothing.
type quiet struct{}

func (quiet) response(time.Time, *wire.Message, wire.Flow) {}
func (quiet) failed(time.Time, failure)                    {}
func (quiet) icmp(time.Time)                               {}

// ownReinvite asks an endpoint again with a session description of ours.
func (s *session) ownReinvite(now time.Time, at *attempt, text []byte) {
	r := &relay{s: s, part: -1, to: &at.party, from: &s.caller, sent: text}
	s.relays = append(s.relays, r)
	r.send(now, nil, text, "application/sdp")
}

// build writes a request inside a dialog; from's end-to-end headers go with it.
func (l *loop) build(p *party, line leg.Line, flow wire.Flow, branch string, from *wire.Message, ctype string, body []byte, extra []wire.Header) []byte {
	b := make([]byte, 0, 512+len(body))
	b = wire.AppendRequestLine(b, line.Method, line.URI)
	b = l.s.appendVia(b, flow, branch)
	for _, r := range line.Routes {
		b = wire.AppendHeader(b, "Route", r)
	}
	hops := 70
	if from != nil {
		hops = max(maxForwards(from)-1, 1)
	}
	b = wire.AppendHeader(b, "Max-Forwards", utoa(uint64(hops)))
	b = wire.AppendHeader(b, "From", line.From)
	b = wire.AppendHeader(b, "To", line.To)
	b = wire.AppendHeader(b, "Call-ID", line.CallID)
	b = wire.AppendCSeq(b, line.CSeq, line.Method)
	if refreshes(line.Method) {
		b = wire.AppendHeader(b, "Contact", p.leg.Contact)
	}
	if from != nil {
		b = appendOptionTags(b, from, line.Method == "INVITE")
		b = appendEndToEnd(b, from, len(body) > 0)
	} else if ctype != "" {
		b = wire.AppendHeader(b, "Content-Type", ctype)
	}
	for _, h := range extra {
		b = wire.AppendHeader(b, h.Name, h.Value)
	}
	return wire.AppendBody(b, body)
}

// refusalAck is the ACK of a non-2xx final response to an INVITE of ours.
func (l *loop) refusalAck(f wire.Flow, branch string, line leg.Line) []byte {
	b := wire.AppendRequestLine(make([]byte, 0, 400), "ACK", line.URI)
	b = l.s.appendVia(b, f, branch)
	for _, r := range line.Routes {
		b = wire.AppendHeader(b, "Route", r)
	}
	b = append(b, "Max-Forwards: 70\r\n"...)
	b = wire.AppendHeader(b, "From", line.From)
	b = wire.AppendHeader(b, "To", line.To)
	b = wire.AppendHeader(b, "Call-ID", line.CallID)
	b = wire.AppendCSeq(b, line.CSeq, "ACK")
	return wire.AppendBody(b, nil)
}

// nextHop is where a request of a dialog goes: to the first route or the target, from the socket that the dialog uses. A host that is a name, or
// a pinned party, is reached by the flow that we know.
func (l *loop) nextHop(p *party, line leg.Line) wire.Flow {
	f := p.flow
	if p.pinned && !p.dead {
		return f
	}
	to, proto, ok := hopOf(p, line)
	if !ok {
		if p.dead && l.s.listens(f) { // it had called us: we can't call the port that it left from
			return wire.Flow{Proto: f.Proto, Remote: netip.AddrPortFrom(f.Remote.Addr(), defaultPort(f.Proto))}
		}
		return f
	}
	switch {
	case proto.Stream():
		if f.Proto == proto && !p.dead && f.Remote.Addr().Unmap() == to.Addr() && (f.Remote.Port() == to.Port() || l.s.listens(f)) {
			return f // the connection to there, or the one that came from there
		}
		return wire.Flow{Proto: proto, Remote: to}
	case f.Proto == wire.UDP && f.Local.Addr().Unmap().Is4() == to.Addr().Is4():
		f.Remote = to
		return f
	}
	if g, ok := l.s.stack.UDPFlowVia(l.s.via(f), to); ok {
		return g
	}
	return f
}

// hopOf is the address that the next request goes to: that of the first Route, or the target's (RFC 3261 §12.2.1.1). It is false where the address is a
// name, or asks for a transport that we don't speak.
func hopOf(p *party, line leg.Line) (netip.AddrPort, wire.Proto, bool) {
	hop := line.URI
	if len(line.Routes) > 0 && line.URI == p.leg.Target { // else the first router is a strict one, and stands in the Request-URI
		_, hop, _ = wire.NameAddr(line.Routes[0])
	}
	u, ok := wire.ParseURI(hop)
	if !ok {
		return netip.AddrPort{}, 0, false
	}
	host := u.Host
	if v := u.MAddr(); v != "" {
		host = v
	}
	a, err := netip.ParseAddr(host)
	proto := u.Transport()
	if proto == 0 {
		proto = p.flow.Proto
	}
	if err != nil {
		return netip.AddrPort{}, 0, false
	}
	return netip.AddrPortFrom(a.Unmap(), portOr(u.Port, defaultPort(proto))), proto, true
}

// reached is what happens once there is a flow to where a request goes, or none to be had.
type reached func(now time.Time, f wire.Flow, err error)

// reach finds the flow for a request and calls then with it, at once or when a broken connection has been made anew.
func (s *session) reach(now time.Time, p *party, line leg.Line, then reached) {
	l := s.loop
	f := l.nextHop(p, line)
	live := !f.Proto.Stream() || f == p.flow && !p.dead
	if live && len(p.queue) == 0 {
		then(now, f, nil)
		return
	}
	if p.queue = append(p.queue, then); len(p.queue) > 1 {
		return // a connection is being made: what follows must not overtake
	}
	limit := connectLimit
	if p.dead && line.Method == "BYE" {
		limit = lastWord
	}
	l.s.stack.ConnectTo(l.s.back(p, f.Proto, f.Remote, limit), func(f wire.Flow, err error) {
		l.post(func(now time.Time) {
			switch {
			case err == nil:
				revived := p.dead
				p.flow, p.dead = f, false
				if revived && s.winner != nil && p == &s.winner.party && l.s.health.Load().Of(s.winner.ep.Name).Verdict != health.Down {
					s.feed(now, call.Condemned{Why: "a new connection was accepted"})
				}
			case !p.dead:
				f, err = p.flow, nil // where the Contact points nobody listens; the way that we know is better than none
			}
			queue := p.queue
			p.queue = nil
			for _, then := range queue {
				then(now, f, err)
			}
			l.touch(s)
		})
	})
}

// answers notes where the responses to a request of p go.
func (p *party) answers(m *wire.Message, f wire.Flow) {
	p.reply, p.lost = replyFlow(m, f), false
	p.back = netip.AddrPortFrom(f.Remote.Addr(), portOr(m.Via.Port, defaultPort(f.Proto)))
}

// broke notes that a connection has ended. A caller who waits for an answer is called back at once.
func (s *session) broke(f wire.Flow) {
	for part := range len(s.attempts) + 1 {
		p := s.party(part)
		p.dead = p.dead || p.flow == f
		p.lost = p.lost || p.reply == f
	}
	for _, r := range s.relays {
		r.lost = r.lost || r.src == f
	}
	if s.caller.reply == f && (!s.final || s.caller.leg.Pending2xx != nil) {
		s.callBack(&s.caller)
	}
}

// callBack opens a connection to who waits for a response when its own has ended, to its address at the port that its Via names (RFC 3261 §18.2.2), and
// says there what was said last.
func (s *session) callBack(p *party) {
	if p.dials {
		return
	}
	p.dials = true
	l := s.loop
	l.s.stack.ConnectTo(l.s.back(p, p.reply.Proto, p.back, connectLimit), func(f wire.Flow, err error) {
		l.post(func(now time.Time) {
			p.dials = false
			if err != nil {
				s.log.Info().AnErr("error", err).Msg("no connection to the caller for our response")
				return
			}
			p.reply, p.lost = f, false
			if p.dead {
				p.flow, p.dead = f, false
			}
			if p == &s.caller && l.txns.Move(s.key, f) {
				_, _, l.effects = l.txns.Receive(now, s.key, 0, f, true, true, l.effects)
				l.apply(now)
			}
			if again := p.leg.Pending2xx; again != nil {
				l.send(f, again.Data)
			}
		})
	})
}

// parseRAck reads a RAck value: RSeq, CSeq and method (RFC 3262 §7.2). A garbled one matches nothing.
func parseRAck(v string) leg.RAck {
	f := strings.Fields(v)
	if len(f) != 3 {
		return leg.RAck{}
	}
	rseq, err1 := strconv.ParseUint(f[0], 10, 32)
	cseq, err2 := strconv.ParseUint(f[1], 10, 32)
	if err1 != nil || err2 != nil {
		return leg.RAck{}
	}
	return leg.RAck{RSeq: uint32(rseq), CSeq: uint32(cseq), Method: f[2]}
}

func contactURI(m *wire.Message) string {
	v, ok := m.Get("Contact")
	if !ok {
		return ""
	}
	if _, uri, _ := wire.NameAddr(v); usable(uri) {
		return uri
	}
	return ""
}

// usable says that a URI can be called: it goes into a request line as it stands.
func usable(uri string) bool {
	_, ok := wire.ParseURI(uri)
	return ok && only(uri, uriUnescaped)
}
