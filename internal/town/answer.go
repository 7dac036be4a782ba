package town

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
)

// invited takes a new call and lets the script decide.
func (p *Phone) invited(s *served) {
	m := s.request
	c := p.newCall(false)
	s.call, c.served = c, s
	c.flow = s.from
	c.rec.Invite, c.rec.CallID, c.rec.ID = m, m.Get("Call-ID"), m.Get(conversation)
	c.talk, _ = strconv.ParseUint(c.rec.ID, 16, 64) // a call from elsewhere has no number: nothing is foreign to it
	c.remoteTag = param(m.Get("From"), "tag")
	c.remote, c.local = withoutTag(m.Get("From")), withoutTag(m.Get("To"))
	c.theirs, _ = m.cseq()
	c.knows = true
	c.cseq = p.rng.Uint32() >> 16
	c.learn(m, true)

	b := p.script(m)
	if len(p.waiting) > 0 {
		p.waiting[0] <- c
		p.waiting = p.waiting[1:]
	} else if len(p.incoming) < 1000 {
		p.incoming = append(p.incoming, c)
	}
	if len(b) == 0 {
		c.rec.State = Ignored
		p.after(timeout, func() {
			delete(p.asked, s.key)
			delete(p.dialogs, c.localTag)
		})
		return
	}
	c.play(b)
}

// play does the steps of a script one after another.
func (c *Call) play(b Behaviour) {
	for len(b) > 0 {
		step := b[0]
		if step.After > 0 {
			rest := append(Behaviour{now(step)}, b[1:]...)
			c.later(step.After, func() { c.play(rest) })
			return
		}
		c.do(step)
		b = b[1:]
	}
}

func now(s Step) Step {
	s.After = 0
	return s
}

// do does one step.
func (c *Call) do(s Step) {
	p := c.phone
	if s.Raw != nil {
		p.send(c.served.from, s.Raw)
	}
	if s.Code != 0 {
		c.respond(s)
	}
	switch s.Act {
	case Stay:
	case HangUp:
		if c.rec.State == Talking {
			c.bye()
		}
	case Freeze:
		p.freeze(true)
	case Die:
		p.kill()
	case Reset:
		if k := c.flow.link; k != nil {
			k.reset()
			delete(p.links, k.addr)
		}
		c.over(ByTransport)
	}
}

// respond sends a response to the INVITE that started the call, unless it has its final one.
func (c *Call) respond(s Step) {
	if c.rec.State == Over || c.rec.Placed || c.served.final || c.rec.State == Ignored {
		return
	}
	m := c.phone.response(c.served, s.Code)
	switch {
	case s.Code < 200:
		c.progress(s, m)
	case s.Code < 300:
		c.accept(s, m)
	default:
		for _, contact := range s.Contacts {
			m.add("Contact", "<"+contact+">")
		}
		m.Headers = append(m.Headers, s.Headers...)
		c.reject(m, ByRefusal)
	}
}

// reject ends the call with a final refusal.
func (c *Call) reject(m *Message, end End) {
	c.reliable.stop()
	c.rec.Finals = append(c.rec.Finals, m.Code)
	c.phone.refuse(c.served, m)
	c.over(end)
}

// progress sends a 1xx.
func (c *Call) progress(s Step, m *Message) {
	c.rec.Provisionals = append(c.rec.Provisionals, s.Code)
	if s.Code > 100 {
		m.add("Contact", c.self())
		if c.rec.State == Asked {
			c.rec.State = Ringing
		}
	}
	m.Headers = append(m.Headers, s.Headers...)
	if s.SDP && !c.describe(m) {
		return
	}
	invite := c.served.request
	needs := strings.Contains(invite.Get("Require"), "100rel")
	if s.Code == 100 || !needs && !(s.Reliable && strings.Contains(strings.Join(invite.All("Supported"), ","), "100rel")) {
		c.phone.transmit(c.served, m)
		return
	}
	c.rseq++
	m.add("Require", "100rel")
	m.add("RSeq", strconv.FormatUint(uint64(c.rseq), 10))
	c.served.last = m.bytes()
	c.reliable.stop()
	c.reliable = c.phone.repeatedly(c.served.from, c.served.last, 0, true, func() {
		c.phone.complain("nobody PRACKed our %d of %s", s.Code, c.rec.CallID)
		c.respond(Step{Code: 500})
	})
}

// describe puts our session description into a response: the answer to the INVITE's offer, or an offer. false: it refused the call instead.
func (c *Call) describe(m *Message) bool {
	if err := c.listen(); err != nil {
		c.reject(c.phone.response(c.served, 500), ByRefusal)
		return false
	}
	text := ""
	switch theirs := c.served.request.sdp(); {
	case theirs == "":
		text = c.offer()
		c.offered = true
	case !c.agreed() && !c.hear(theirs):
		c.reject(c.phone.response(c.served, 488), ByRefusal)
		return false
	default:
		text = c.reply(theirs)
	}
	m.add("Content-Type", "application/sdp")
	m.Body = []byte(text)
	return true
}

// agreed says whether the INVITE's offer has been taken in an earlier response.
func (c *Call) agreed() bool { return len(c.heard) > 0 }

// accept sends a 2xx and repeats it until the ACK (RFC 3261 §13.3.1.4).
func (c *Call) accept(s Step, m *Message) {
	contact := c.self()
	if len(s.Contacts) > 0 {
		contact = "<" + s.Contacts[0] + ">"
	}
	m.add("Contact", contact)
	m.add("Allow", allow)
	m.Headers = append(m.Headers, s.Headers...)
	if !s.NoSDP && !c.describe(m) {
		return
	}
	if s.NoSDP {
		if err := c.listen(); err != nil {
			c.reject(c.phone.response(c.served, 500), ByRefusal)
			return
		}
	}
	c.reliable.stop()
	c.rec.Finals = append(c.rec.Finals, m.Code)
	c.confirmBy(c.served, m)
	c.talks()
}

// confirmBy sends a 2xx to an INVITE and repeats it until its ACK comes; else the call ends with a BYE.
func (c *Call) confirmBy(s *served, m *Message) {
	c.served = s
	s.last, s.final = m.bytes(), true
	s.out = c.phone.repeatedly(s.from, s.last, t2, true, func() {
		delete(c.phone.asked, s.key)
		if c.rec.State == Talking {
			c.rec.Unacked = true
			c.bye()
			c.rec.End = BySilence
		}
	})
	c.phone.after(timeout, func() { delete(c.phone.asked, s.key) })
}

// acked takes an ACK: of a refusal by its branch, of a 2xx by its dialog.
func (p *Phone) acked(m *Message) {
	if s := p.asked[m.branch()+" "+m.sentBy()+" INVITE"]; s != nil && s.final {
		s.out.stop()
		p.after(timeout, func() { delete(p.asked, s.key) })
		return
	}
	c := p.dialogs[param(m.Get("To"), "tag")]
	if c == nil || c.served == nil || c.served.request.Get("CSeq") == "" {
		return
	}
	want, _ := c.served.request.cseq()
	if got, _ := m.cseq(); got != want || !c.served.final {
		return
	}
	c.served.out.stop()
	sdp := m.sdp()
	switch {
	case sdp != "" && c.offered && c.served.request.sdp() == "":
		c.offered = false
		c.hear(sdp)
	case sdp == "" && c.offered && c.served.request.sdp() == "":
		c.phone.complain("an ACK without the answer to our offer, call %s", c.rec.CallID)
	case sdp != "" && c.served.request.sdp() != "": // RFC 6337 §2.1
		c.phone.complain("an ACK with a session description, though our 2xx was the answer, call %s", c.rec.CallID)
	}
}

// cancelled takes a CANCEL.
func (p *Phone) cancelled(s *served) {
	inv := p.asked[s.request.branch()+" "+s.request.sentBy()+" INVITE"]
	switch {
	case inv == nil:
		p.answer(s, 481)
		return
	case inv.call == nil: // a re-INVITE: it was answered at once
		p.answer(s, 200)
		return
	}
	c := inv.call
	c.rec.Reasons = append(c.rec.Reasons, s.request.All("Reason")...)
	if c.rec.State == Ignored {
		c.over(ByCancel)
		return
	}
	s.call = c
	p.answer(s, 200)
	if !inv.final {
		c.reject(p.response(inv, 487), ByCancel)
	}
}

// inside takes a request of the dialog.
func (c *Call) inside(s *served) {
	m := s.request
	number, _ := m.cseq()
	if c.knows && number <= c.theirs {
		c.phone.answer(s, 500) // RFC 3261 §12.2.2
		return
	}
	c.theirs, c.knows = number, true
	c.rec.Requests = append(c.rec.Requests, m.Method)
	if m.Method == "BYE" {
		c.hungUp(s)
		return
	}
	if c.rec.State == Over {
		c.phone.answer(s, 481)
		return
	}
	switch m.Method {
	case "INVITE", "UPDATE":
		c.reoffered(s)
	case "PRACK":
		c.wasPracked(s)
	case "REFER":
		c.phone.answer(s, 202)
	default:
		c.phone.answer(s, 200)
	}
}

// hungUp takes a BYE. One that crosses ours is answered 200 too.
func (c *Call) hungUp(s *served) {
	c.rec.Reasons = append(c.rec.Reasons, s.request.All("Reason")...)
	c.phone.answer(s, 200)
	if c.served != nil {
		c.served.out.stop()
		if !c.served.final { // RFC 3261 §15.1.2: a BYE to a call that rings
			c.reject(c.phone.response(c.served, 487), ByPeer)
			return
		}
	}
	c.over(ByPeer)
}

// reoffered takes a re-INVITE or UPDATE.
func (c *Call) reoffered(s *served) {
	m := s.request
	if c.reinvite != nil || c.served != nil && !c.served.final && m.Method == "INVITE" {
		c.phone.answer(s, 491)
		return
	}
	r := c.phone.response(s, 200)
	c.learn(m, false)
	r.add("Contact", c.self())
	switch theirs := m.sdp(); {
	case theirs != "":
		if !c.hear(theirs) {
			c.refuseAgain(s, 488)
			return
		}
		r.add("Content-Type", "application/sdp")
		r.Body = []byte(c.reply(theirs))
	case m.Method == "INVITE":
		c.version++
		c.payloads = c.phone.cfg.Codecs
		c.offered = true
		r.add("Content-Type", "application/sdp")
		r.Body = []byte(c.offer())
	}
	if m.Method == "UPDATE" {
		c.phone.transmit(s, r)
		return
	}
	c.confirmBy(s, r)
}

// refuseAgain refuses a re-INVITE or UPDATE; the session stays as it was.
func (c *Call) refuseAgain(s *served, code int) {
	r := c.phone.response(s, code)
	if s.request.Method == "INVITE" {
		c.phone.refuse(s, r)
		return
	}
	c.phone.transmit(s, r)
}

// wasPracked takes the PRACK of a reliable 1xx.
func (c *Call) wasPracked(s *served) {
	want := strconv.FormatUint(uint64(c.rseq), 10) + " " + c.served.request.Get("CSeq")
	if got := strings.Join(strings.Fields(s.request.Get("RAck")), " "); c.reliable == nil || got != want {
		c.phone.answer(s, 481)
		return
	}
	c.reliable.stop()
	if sdp := s.request.sdp(); sdp != "" && c.offered {
		c.offered = false
		c.hear(sdp)
	}
	c.phone.answer(s, 200)
}

// withoutTag takes the tag from a From or To.
func withoutTag(value string) string {
	var head, params string
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		head, params = value[:i+1], value[i+1:]
	} else {
		head, params, _ = strings.Cut(value, ";")
		params = ";" + params
	}
	kept := ""
	for part := range strings.SplitSeq(params, ";") {
		if part = strings.TrimSpace(part); part != "" && !strings.HasPrefix(strings.ToLower(part), "tag=") {
			kept += ";" + part
		}
	}
	return head + kept
}

// withRport fills in what rport asks for (RFC 3581).
func withRport(via string, from flow) string {
	parts := strings.Split(via, ";")
	for i, part := range parts {
		if strings.EqualFold(strings.TrimSpace(part), "rport") {
			parts[i] = "rport=" + strconv.Itoa(int(from.addr.Port())) + ";received=" + from.addr.Addr().String()
		}
	}
	return strings.Join(parts, ";")
}

// addrPortOf is the sender's host with another port.
func addrPortOf(from flow, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(from.addr.Addr(), cmp.Or(port, 5060))
}
