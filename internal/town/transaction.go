package town

import (
	"strings"
	"time"
)

// repeat sends the same bytes again and again, at growing intervals, until it is stopped or has gone on for 64·T1.
type repeat struct {
	phone *Phone
	to    flow
	data  []byte
	gap   time.Duration
	limit time.Duration // the gap grows to this; 0: it doubles without limit
	once  bool          // a reliable transport repeats nothing
	next  *alarm
	end   *alarm
}

// repeatedly sends data now and again until stopped; expired is called when nobody has stopped it.
func (p *Phone) repeatedly(to flow, data []byte, limit time.Duration, always bool, expired func()) *repeat {
	r := &repeat{phone: p, to: to, data: data, gap: t1, limit: limit, once: to.link != nil && !always}
	p.send(to, data)
	r.arm()
	r.end = p.after(timeout, func() {
		r.next.stop()
		expired()
	})
	return r
}

func (r *repeat) arm() {
	if r.once {
		return
	}
	r.next = r.phone.after(r.gap, func() {
		r.phone.send(r.to, r.data)
		if r.gap *= 2; r.limit > 0 {
			r.gap = min(r.gap, r.limit)
		}
		r.arm()
	})
}

// stop ends it. A nil repeat is stopped already.
func (r *repeat) stop() {
	if r != nil {
		r.next.stop()
		r.end.stop()
	}
}

// asking is a client transaction.
type asking struct {
	key     string
	request *Message
	to      flow
	out     *repeat
	code    int                // the first final response; 0: none yet
	heard   bool               // any response came
	acks    map[string]sentAck // by To tag: what repeated 2xx get again
	answer  func(*Message)
}

type sentAck struct {
	to   flow
	data []byte
}

// ask sends a request of ours. answer gets every response but repeats of a final one; when none comes, a 408 of our own.
func (p *Phone) ask(m *Message, to flow, answer func(*Message)) *asking {
	a := &asking{key: m.branch() + " " + m.Method, request: m, to: to, answer: answer}
	limit := t2
	if m.Method == "INVITE" {
		limit = 0
	}
	p.sent[a.key] = a
	a.out = p.repeatedly(to, m.bytes(), limit, false, func() { p.unanswered(a, 408) })
	return a
}

// unanswered ends a transaction that got no final response.
func (p *Phone) unanswered(a *asking, code int) {
	if p.sent[a.key] != a || a.code != 0 {
		return
	}
	a.code = code
	a.out.stop()
	delete(p.sent, a.key)
	a.answer(&Message{Code: code, Reason: phrase(code), local: true})
}

// failOn ends the transactions that waited for an answer on a connection: RFC 3261 §8.1.3.1, a 503 of our own.
func (p *Phone) failOn(k *link) {
	var lost []*asking
	for _, a := range p.sent {
		if a.to.link == k && a.code == 0 {
			lost = append(lost, a)
		}
	}
	sortAsking(lost)
	for _, a := range lost {
		p.unanswered(a, 503)
	}
}

// responded takes a response.
func (p *Phone) responded(m *Message) {
	_, method := m.cseq()
	a := p.sent[m.branch()+" "+method]
	if a == nil {
		return // late: the transaction is over
	}
	a.heard = true
	if method == "INVITE" && m.Code >= 300 {
		p.ackRefusal(a, m)
	}
	switch {
	case a.code == 0 && m.Code >= 200:
		a.code = m.Code
		a.out.stop()
		p.after(timeout, func() { // repeats and other branches still find it
			if p.sent[a.key] == a {
				delete(p.sent, a.key)
			}
		})
	case a.code == 0:
		if method == "INVITE" {
			a.out.stop() // RFC 3261 §17.1.1.2: a ringing call has no end of its own
		}
	case method != "INVITE" || m.Code < 200:
		return // late
	case m.Code < 300:
		if ack, ok := a.acks[param(m.Get("To"), "tag")]; ok {
			p.send(ack.to, ack.data)
			return
		}
	case m.Code == a.code:
		return // a repeat
	}
	a.answer(m)
}

// acksWith keeps the ACK of a 2xx for its repeats.
func (p *Phone) acksWith(m *Message, to flow, data []byte) {
	_, method := m.cseq()
	a := p.sent[m.branch()+" "+method]
	if a == nil {
		return
	}
	if a.acks == nil {
		a.acks = make(map[string]sentAck)
	}
	a.acks[param(m.Get("To"), "tag")] = sentAck{to, data}
}

// ackRefusal sends the ACK that belongs to the transaction (RFC 3261 §17.1.1.3).
func (p *Phone) ackRefusal(a *asking, m *Message) {
	ack := &Message{Method: "ACK", URI: a.request.URI}
	number, _ := a.request.cseq()
	ack.add("Via", a.request.Get("Via"))
	ack.add("Max-Forwards", "70")
	for _, r := range a.request.All("Route") {
		ack.add("Route", r)
	}
	ack.add("From", a.request.Get("From"))
	ack.add("To", m.Get("To"))
	ack.add("Call-ID", a.request.Get("Call-ID"))
	ack.add("CSeq", cseq(number, "ACK"))
	p.send(a.to, ack.bytes())
}

// served is a server transaction.
type served struct {
	key     string
	request *Message
	from    flow
	last    []byte // the last response
	final   bool
	out     *repeat // repeats a final response to INVITE until its ACK
	call    *Call
}

// came takes whatever arrived.
func (p *Phone) came(from flow, data []byte) {
	if p.frozen && from.link != nil {
		p.held = append(p.held, func() { p.came(from, data) })
		return
	}
	if p.frozen || p.off || len(strings.Trim(string(data), "\r\n\x00")) == 0 {
		return
	}
	m, err := ParseMessage(data)
	if err != nil {
		p.complain("%v sent something that is no SIP: %.60q", from.addr, data)
		return
	}
	if !p.cfg.Lenient {
		for _, w := range m.Wrong(data) {
			p.complain("%s from %v: %s", m.Brief(), from.addr, w)
		}
	}
	if m.Method == "" {
		p.responded(m)
		return
	}
	p.heard[m.Method]++
	p.requested(from, m)
}

// requested takes a request: a repeat gets the last response again, a new one goes to its method.
func (p *Phone) requested(from flow, m *Message) {
	if from.link != nil {
		if a, _, ok := hostOf("sip:" + m.sentBy()); ok {
			from.link.home = a
		}
	}
	if m.Method == "ACK" {
		p.acked(m)
		return
	}
	key := m.branch() + " " + m.sentBy() + " " + m.Method
	if s := p.asked[key]; s != nil {
		if from.link != nil {
			s.from = from // a repetition by a new connection
		}
		if s.last != nil {
			p.send(s.from, s.last)
		}
		return
	}
	s := &served{key: key, request: m, from: p.back(from, m)}
	p.asked[key] = s
	c := p.dialogs[param(m.Get("To"), "tag")]
	switch {
	case m.Method == "CANCEL":
		p.cancelled(s)
	case param(m.Get("To"), "tag") == "" && m.Method == "INVITE":
		p.invited(s)
	case param(m.Get("To"), "tag") == "" && m.Method == "OPTIONS":
		if p.options != 0 {
			p.answer(s, p.options)
		}
	case param(m.Get("To"), "tag") == "":
		p.answer(s, 405)
	case c == nil || c.rec.CallID != m.Get("Call-ID"):
		p.answer(s, 481)
	default:
		c.inside(s)
	}
	if m.Method != "INVITE" {
		p.after(timeout, func() { delete(p.asked, key) })
	}
}

// back is where responses go: RFC 3261 §18.2.2, RFC 3581.
func (p *Phone) back(from flow, m *Message) flow {
	via := firstOf(m.Get("Via"))
	if from.link != nil || hasParam(via, "rport") {
		return from
	}
	if a, _, ok := hostOf("sip:" + m.sentBy()); ok {
		return flow{addr: addrPortOf(from, a.Port())}
	}
	return from
}

// response makes a response to a request.
func (p *Phone) response(s *served, code int) *Message {
	m := &Message{Code: code, Reason: phrase(code)}
	for i, via := range s.request.All("Via") {
		if i == 0 && hasParam(via, "rport") {
			via = withRport(via, s.from)
		}
		m.add("Via", via)
	}
	if code/100 <= 2 {
		for _, r := range s.request.All("Record-Route") {
			m.add("Record-Route", r)
		}
	}
	m.add("From", s.request.Get("From"))
	to := s.request.Get("To")
	if code > 100 && param(to, "tag") == "" {
		tag := p.token()
		if s.call != nil {
			tag = s.call.localTag
		}
		to += ";tag=" + tag
	}
	m.add("To", to)
	m.add("Call-ID", s.request.Get("Call-ID"))
	m.add("CSeq", s.request.Get("CSeq"))
	return m
}

// answer sends a response without ado.
func (p *Phone) answer(s *served, code int, extra ...Header) {
	m := p.response(s, code)
	m.Headers = append(m.Headers, extra...)
	p.transmit(s, m)
}

// transmit sends a response and keeps it for repeats of the request.
func (p *Phone) transmit(s *served, m *Message) {
	s.last = m.bytes()
	if m.Code >= 200 {
		s.final = true
	}
	p.send(s.from, s.last)
}

// refuse sends a final refusal to an INVITE and repeats it until the ACK comes (RFC 3261 §17.2.1).
func (p *Phone) refuse(s *served, m *Message) {
	s.last, s.final = m.bytes(), true
	s.out = p.repeatedly(s.from, s.last, t2, false, func() {
		delete(p.asked, s.key)
		if s.from.link != nil && s.from.link.dead {
			return // the refusal or its ACK was lost with the connection
		}
		p.complain("nobody ACKed our %d to the INVITE of %s", m.Code, m.Get("Call-ID"))
	})
}
