package town

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Dial says how to place a call.
type Dial struct {
	URI     string         // the Request-URI, and the To unless To is given
	To      string         // the URI of the To header
	Via     netip.AddrPort // the next hop; zero: where the URI points
	TCP     bool
	From    string   // the caller's number; empty: the phone's name
	Display string   // the name that the caller gives; written between quotes as it is
	Headers []Header // sent as they are

	Late  bool                                               // no offer in the INVITE: it comes in the 200, our answer in the ACK
	Wrap  func(sdp string) (contentType string, body []byte) // puts the session description into a larger body
	Prack bool                                               // can PRACK (RFC 3262)
	Tapes bool                                               // keeps the sound that no phone of ours has made, see Voice.Tape

	CancelAfter time.Duration // 0: never
	TalkFor     time.Duration // then BYE; 0: until told
}

// Place places a call. It fails only where the next hop is no address.
func (p *Phone) Place(d Dial) (*Call, error) {
	var (
		c   *Call
		err error
	)
	p.do(func() { c, err = p.place(d) })
	if err != nil {
		return nil, fmt.Errorf("%s calls %s: %w", p.cfg.Name, d.URI, err)
	}
	return c, nil
}

func (p *Phone) place(d Dial) (*Call, error) {
	via := d.URI
	if d.Via.IsValid() {
		via = "sip:" + d.Via.String()
	}
	to, ok := p.target(via, d.TCP)
	if !ok {
		return nil, fmt.Errorf("no address in %q", via)
	}
	c := p.newCall(true)
	c.plan, c.flow, c.contact = d, to, d.URI
	c.talk = p.rng.Uint64() | 1
	c.rec.ID = strconv.FormatUint(c.talk, 16)
	c.rec.CallID = p.token() + "@" + p.addr.Addr().String()
	c.local = "<sip:" + cmp.Or(d.From, p.cfg.Name) + "@" + p.addr.String() + ">"
	if d.Display != "" {
		c.local = `"` + d.Display + `" ` + c.local
	}
	c.remote = "<" + cmp.Or(d.To, d.URI) + ">"
	c.cseq = 1
	if err := c.listen(); err != nil {
		return nil, err
	}
	if c.voice != nil {
		c.voice.tapes = d.Tapes
	}
	m := c.firstInvite(to)
	c.rec.Invite = m
	c.invite = p.ask(m, to, c.responded)
	if d.CancelAfter > 0 {
		c.later(d.CancelAfter, c.sendCancel)
	}
	return c, nil
}

// firstInvite makes the INVITE that starts a call.
func (c *Call) firstInvite(to flow) *Message {
	d := c.plan
	m := &Message{Method: "INVITE", URI: d.URI}
	m.add("Via", c.phone.via(to))
	m.add("Max-Forwards", "70")
	m.add("From", c.local+";tag="+c.localTag)
	m.add("To", c.remote)
	m.add("Call-ID", c.rec.CallID)
	m.add("CSeq", cseq(c.cseq, "INVITE"))
	m.add("Contact", c.self())
	m.add("Allow", allow)
	if d.Prack {
		m.add("Supported", "100rel")
	}
	m.add(conversation, c.rec.ID)
	m.Headers = append(m.Headers, d.Headers...)
	if d.Late {
		return m
	}
	kind, body := "application/sdp", []byte(c.offer())
	if d.Wrap != nil {
		kind, body = d.Wrap(string(body))
	}
	c.offered = true
	m.add("Content-Type", kind)
	m.Body = body
	return m
}

const (
	allow        = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, MESSAGE, NOTIFY, REFER"
	conversation = "X-Town-Call" // names the conversation on every leg
)

func cseq(n uint32, method string) string { return strconv.FormatUint(uint64(n), 10) + " " + method }

// sortAsking puts transactions into an order that does not depend on a map.
func sortAsking(list []*asking) {
	slices.SortFunc(list, func(a, b *asking) int { return strings.Compare(a.key, b.key) })
}

// responded takes a response to the INVITE that started the call.
func (c *Call) responded(m *Message) {
	c.rec.Responses = append(c.rec.Responses, m)
	if tag := param(m.Get("To"), "tag"); tag != "" && m.Code > 100 && !m.local && !slices.Contains(c.rec.Tags, tag) {
		c.rec.Tags = append(c.rec.Tags, tag)
	}
	switch {
	case m.Code < 200:
		c.provisional(m)
	case m.Code < 300:
		c.accepted(m)
	default:
		c.refused(m)
	}
}

func (c *Call) provisional(m *Message) {
	if c.rec.State == Over || c.rec.State == Talking {
		return
	}
	if c.repeated(m) {
		return
	}
	c.rec.Provisionals = append(c.rec.Provisionals, m.Code)
	if m.Code > 100 {
		if c.rec.State == Asked {
			c.rec.State, c.rec.Rang = Ringing, time.Now()
		}
		c.remoteTag = param(m.Get("To"), "tag")
		c.learn(m, true)
		if sdp := m.sdp(); sdp != "" {
			c.early(m, sdp)
		}
	}
	if strings.Contains(m.Get("Require"), "100rel") {
		c.prack(m)
	}
	if c.cancel {
		c.sendCancel()
	}
}

// repeated says whether a reliable 1xx has come before.
func (c *Call) repeated(m *Message) bool {
	n, err := strconv.ParseUint(m.Get("RSeq"), 10, 32)
	return err == nil && c.pracked != 0 && uint32(n) <= c.pracked
}

// early takes the session description of a 1xx.
func (c *Call) early(m *Message, sdp string) {
	if c.plan.Late && !strings.Contains(m.Get("Require"), "100rel") {
		return // RFC 3264: not reliable, so it is no offer yet
	}
	c.hear(sdp)
}

// prack acknowledges a reliable 1xx. An offer in it is answered here.
func (c *Call) prack(m *Message) {
	n, err := strconv.ParseUint(m.Get("RSeq"), 10, 32)
	if err != nil {
		c.phone.complain("a reliable %d without RSeq", m.Code)
		return
	}
	if !c.plan.Prack {
		c.phone.complain("a reliable %d, which we don't support", m.Code)
	}
	c.pracked = uint32(n)
	kind, body := "", []byte(nil)
	if sdp := m.sdp(); sdp != "" && c.plan.Late && !c.offered {
		kind, body = "application/sdp", []byte(c.reply(sdp))
		c.offered = true
	}
	c.request("PRACK", kind, body, []Header{{"RAck", strconv.FormatUint(n, 10) + " " + m.Get("CSeq")}}, func(*Message) {})
}

// accepted takes a 2xx that was not ACKed before: the first one, or one of another branch.
func (c *Call) accepted(m *Message) {
	tag := param(m.Get("To"), "tag")
	if c.rec.State == Over || c.rec.State == Talking {
		c.rec.Finals = append(c.rec.Finals, m.Code)
		c.phone.complain("a %d with tag %s after the final %v of call %s", m.Code, tag, c.rec.Finals[0], c.rec.ID)
		c.discard(m, tag)
		return
	}
	c.rec.Finals = append(c.rec.Finals, m.Code)
	c.remoteTag = tag
	c.learn(m, true)
	usable := c.settle(m)
	c.ack(m)
	switch {
	case c.cancel: // it crossed our CANCEL
		c.request("BYE", "", nil, nil, func(*Message) {})
		c.over(ByCancel)
	case !usable:
		c.bye()
	default:
		c.stopClock()
		c.talks()
		if c.plan.TalkFor > 0 {
			c.later(c.plan.TalkFor, func() { c.bye() })
		}
	}
}

// settle takes the session description of a 2xx: an answer, or the offer that we answer in the ACK.
func (c *Call) settle(m *Message) bool {
	sdp := m.sdp()
	switch {
	case sdp == "" && len(c.heard) == 0:
		c.phone.complain("a %d without a session description", m.Code)
		return false
	case sdp == "":
		return true // the answer was in a reliable 1xx
	}
	return c.hear(sdp)
}

// ack sends the ACK of a 2xx and keeps it for repeats (RFC 3261 §13.2.2.4).
func (c *Call) ack(m *Message) {
	number, _ := m.cseq()
	ack, to := c.build("ACK", number)
	if c.plan.Late && !c.offered && c.invite != nil && m.Get("CSeq") == c.invite.request.Get("CSeq") {
		if sdp := m.sdp(); sdp != "" {
			ack.add("Content-Type", "application/sdp")
			ack.Body = []byte(c.reply(sdp))
			c.offered = true
		}
	}
	data := ack.bytes()
	c.phone.acksWith(m, to, data)
	c.phone.send(to, data)
}

// discard ends a branch of the call that nobody wants: ACK, BYE.
func (c *Call) discard(m *Message, tag string) {
	branch := *c
	branch.remoteTag = tag
	branch.learn(m, true)
	branch.ack(m)
	branch.request("BYE", "", nil, nil, func(*Message) {})
	c.cseq = branch.cseq
}

func (c *Call) refused(m *Message) {
	if !m.local {
		c.rec.Finals = append(c.rec.Finals, m.Code)
	}
	switch {
	case m.local && m.Code == 503:
		c.over(ByTransport)
	case m.local:
		c.over(BySilence)
	case c.cancel && m.Code == 487:
		c.over(ByCancel)
	default:
		c.over(ByRefusal)
	}
}

// sendCancel ends the call before its answer: as soon as a provisional response allows a CANCEL (RFC 3261 §9.1).
func (c *Call) sendCancel() {
	if c.rec.State == Over || c.rec.State == Talking {
		return
	}
	c.cancel = true
	a := c.invite
	if !a.heard || a.code != 0 || c.rec.CancelSent {
		return
	}
	c.rec.CancelSent = true
	m := &Message{Method: "CANCEL", URI: a.request.URI}
	m.add("Via", a.request.Get("Via"))
	m.add("Max-Forwards", "70")
	m.add("From", a.request.Get("From"))
	m.add("To", a.request.Get("To"))
	m.add("Call-ID", a.request.Get("Call-ID"))
	m.add("CSeq", cseq(1, "CANCEL"))
	c.phone.ask(m, a.to, func(r *Message) {
		if r.Code >= 200 {
			c.rec.Replies = append(c.rec.Replies, "CANCEL "+strconv.Itoa(r.Code))
		}
	})
	c.phone.after(timeout, func() { // RFC 3261 §9.1: no 487 within 64·T1
		if c.rec.State != Talking {
			c.over(BySilence)
		}
	})
}
