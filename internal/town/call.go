package town

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Call is one leg at a phone. Its methods may be called from anywhere except from a script.
type Call struct {
	phone *Phone
	plan  Dial // of a call that we placed

	// Owned by the phone's loop.
	rec       Record
	talk      uint64
	localTag  string
	remoteTag string
	local     string // From of our requests, To of theirs
	remote    string // To of our requests, without tag until we know it
	contact   string // where the other end wants its requests
	routes    []string
	flow      flow
	cseq      uint32
	theirs    uint32 // the highest CSeq received
	knows     bool   // theirs is set

	invite *asking  // our INVITE
	served *served  // theirs
	cancel bool     // we want to end the call before an answer
	clock  []*alarm // what is planned for the call

	session
	beat     *alarm
	muted    bool    // see Mute
	offered  bool    // an offer of ours waits for an answer
	reinvite *asking // a re-INVITE of ours without a final
	missed   int     // keepalives in a row without an answer
	reliable *repeat // a reliable 1xx without a PRACK
	rseq     uint32
	pracked  uint32 // the highest RSeq we sent a PRACK for

	answered chan struct{}
	done     chan struct{}
}

// newCall makes the state of a leg.
func (p *Phone) newCall(placed bool) *Call {
	c := &Call{
		phone: p, localTag: p.token(),
		session:  session{name: p.cfg.Name, codecs: p.cfg.Codecs, id: p.rng.Uint64() >> 16, version: 1, payloads: p.cfg.Codecs},
		answered: make(chan struct{}), done: make(chan struct{}),
	}
	c.rec.Placed, c.rec.Asked = placed, time.Now()
	p.calls = append(p.calls, c)
	p.dialogs[c.localTag] = c
	return c
}

// Record is what the phone knows of the call now.
func (c *Call) Record() Record {
	var r Record
	c.phone.do(func() { r = c.record() })
	return r
}

func (c *Call) record() Record {
	r := c.rec.clone()
	r.SDP = slices.Clone(c.session.heard)
	r.Audio = c.audio
	if c.voice != nil {
		r.Voice = c.voice.counted()
	}
	return r
}

// Answered is closed when the call talks.
func (c *Call) Answered() <-chan struct{} { return c.answered }

// Done is closed when the call is over.
func (c *Call) Done() <-chan struct{} { return c.done }

var errOver = errors.New("the call is over")

// Talks waits until the call talks.
func (c *Call) Talks(ctx context.Context) error {
	select {
	case <-c.answered:
		return nil
	case <-c.done:
		select {
		case <-c.answered:
			return nil
		default:
		}
		return fmt.Errorf("%v: %w", c.Record(), errOver)
	case <-ctx.Done():
		return fmt.Errorf("%v: %w", c.Record(), context.Cause(ctx))
	}
}

// Ends waits until the call is over.
func (c *Call) Ends(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%v: %w", c.Record(), context.Cause(ctx))
	}
}

// Clear ends the call as a person does who puts the receiver down: CANCEL before the answer, BYE after it, a refusal of a call that came in.
func (c *Call) Clear() { c.phone.post(c.clear) }

func (c *Call) clear() {
	switch {
	case c.rec.State == Over || c.rec.State == Ignored:
	case c.rec.State == Talking:
		c.bye()
	case c.rec.Placed:
		c.sendCancel()
	default:
		c.respond(Step{Code: 486})
	}
}

// Answer sends a 200 for a call that came in and has none yet, whatever the script says.
func (c *Call) Answer() {
	c.phone.post(func() {
		c.stopClock()
		c.respond(Step{Code: 200})
	})
}

// Ask sends a request inside the call and gives the code of its final response: 408 for none, 481 when there is no dialog to send it in.
func (c *Call) Ask(method, contentType string, body []byte) <-chan int {
	code := make(chan int, 1)
	c.phone.post(func() {
		if c.rec.State != Talking && (c.remoteTag == "" || c.rec.State == Over) {
			code <- 481
			return
		}
		c.request(method, contentType, body, nil, func(m *Message) { code <- m.Code })
	})
	return code
}

// Reinvite offers the session again with a direction (sendrecv, sendonly, inactive) and gives the code of the final response.
func (c *Call) Reinvite(direction string) <-chan int {
	code := make(chan int, 1)
	c.phone.post(func() { c.sendReinvite("INVITE", direction, code) })
	return code
}

// Update is Reinvite by UPDATE (RFC 3311).
func (c *Call) Update(direction string) <-chan int {
	code := make(chan int, 1)
	c.phone.post(func() { c.sendReinvite("UPDATE", direction, code) })
	return code
}

// over ends the call at this phone.
func (c *Call) over(end End) {
	if c.rec.State == Over {
		return
	}
	c.rec.State, c.rec.End, c.rec.Ended = Over, end, time.Now()
	c.stopClock()
	c.beat.stop()
	if c.voice != nil {
		v := c.voice
		c.voice = nil
		v.close()
		c.rec.Voice = v.counted()
	}
	close(c.done)
	p := c.phone
	p.after(timeout, func() { delete(p.dialogs, c.localTag) }) // repeats and late requests still find it
}

func (c *Call) stopClock() {
	for _, a := range c.clock {
		a.stop()
	}
	c.clock = nil
}

// later plans something for the call; it is not done when the call is over before.
func (c *Call) later(d time.Duration, f func()) {
	c.clock = append(c.clock, c.phone.after(d, f))
}

// talks marks the call as answered.
func (c *Call) talks() {
	c.rec.State, c.rec.Answer = Talking, time.Now()
	close(c.answered)
	c.startVoice()
	if c.phone.cfg.Keepalive > 0 {
		c.later(c.phone.cfg.Keepalive, c.keepalive)
	}
}

// keepalive asks whether the other end still knows the call.
func (c *Call) keepalive() {
	if c.rec.State != Talking {
		return
	}
	c.request("OPTIONS", "", nil, nil, func(m *Message) {
		switch {
		case m.Code == 481:
			c.over(ByUnknown)
		case m.Code == 408:
			if c.missed++; c.missed == 2 {
				c.over(BySilence)
			}
		default:
			c.missed = 0
		}
	})
	c.later(c.phone.cfg.Keepalive, c.keepalive)
}

// listen opens the media socket when the phone has media, and gives the call a port that nobody uses when it has not.
func (c *Call) listen() error {
	if c.audio.IsValid() {
		return nil
	}
	p := c.phone
	if p.cfg.Voice == 0 {
		p.port += 2
		if p.port < 40000 {
			p.port = 40000
		}
		c.audio = netip.AddrPortFrom(p.addr.Addr(), p.port)
		return nil
	}
	if err := c.openVoice(p.cfg.Net, p.addr.Addr(), c.talk, p.rng.Uint32()); err != nil {
		return err
	}
	c.voice.freeze(p.frozen)
	return nil
}

// startVoice lets the call speak, a packet each interval, while it talks.
func (c *Call) startVoice() {
	if c.voice == nil || c.beat != nil || c.muted {
		return
	}
	interval := c.phone.cfg.Voice
	next := time.Now()
	var tick func()
	tick = func() {
		if c.voice == nil {
			return
		}
		c.voice.say()
		next = next.Add(interval)
		c.beat = c.phone.alarms.set(next, tick)
	}
	tick()
}

// hear takes a session description of the other end; false: it cannot be used.
func (c *Call) hear(text string) bool {
	if wrong := c.session.hear(text); wrong != "" {
		c.phone.complain("%s: %q", wrong, text)
		return false
	}
	return true
}

// learn takes contact and route set from a message that makes or refreshes the dialog (RFC 3261 §12).
func (c *Call) learn(m *Message, fresh bool) {
	if contact := m.Get("Contact"); contact != "" {
		c.contact = address(contact)
	}
	if !fresh {
		return
	}
	var routes []string
	for _, line := range m.All("Record-Route") {
		for r := range strings.SplitSeq(line, ",") {
			routes = append(routes, strings.TrimSpace(r))
		}
	}
	if m.Method == "" {
		slices.Reverse(routes)
	}
	c.routes = routes
}

// build makes a request inside the dialog, and says where it goes.
func (c *Call) build(method string, cseq uint32) (*Message, flow) {
	p := c.phone
	next := c.contact
	if len(c.routes) > 0 {
		next = address(c.routes[0])
	}
	to, ok := p.target(next, false)
	if !ok {
		to = c.flow // a contact that is no address: the way it came
	}
	m := &Message{Method: method, URI: c.contact}
	m.add("Via", p.via(to))
	m.add("Max-Forwards", "70")
	for _, r := range c.routes {
		m.add("Route", r)
	}
	m.add("From", c.local+";tag="+c.localTag)
	remote := c.remote
	if c.remoteTag != "" {
		remote += ";tag=" + c.remoteTag
	}
	m.add("To", remote)
	m.add("Call-ID", c.rec.CallID)
	m.add("CSeq", strconv.FormatUint(uint64(cseq), 10)+" "+method)
	return m, to
}

// via makes a Via with a new branch.
func (p *Phone) via(to flow) string {
	transport := "UDP"
	if to.link != nil {
		transport = p.stream()
	}
	return "SIP/2.0/" + transport + " " + p.addr.String() + ";branch=z9hG4bK" + p.token() + ";rport"
}

// stream is what SIP calls the phone's connections.
func (p *Phone) stream() string {
	if p.cfg.TLS != nil {
		return "TLS"
	}
	return "TCP"
}

// self is our Contact.
func (c *Call) self() string {
	uri := c.phone.URI()
	if c.flow.link != nil {
		uri += ";transport=" + strings.ToLower(c.phone.stream())
	}
	return "<" + uri + ">"
}

// request sends a request inside the dialog; then is called with the final response, a 408 of our own when none comes.
func (c *Call) request(method, contentType string, body []byte, extra []Header, then func(*Message)) *asking {
	c.cseq++
	m, to := c.build(method, c.cseq)
	switch method {
	case "INVITE", "UPDATE":
		m.add("Contact", c.self())
	}
	m.Headers = append(m.Headers, extra...)
	m.add("Content-Type", contentType)
	m.Body = body
	return c.phone.ask(m, to, func(r *Message) {
		if r.Code >= 200 {
			c.rec.Replies = append(c.rec.Replies, method+" "+strconv.Itoa(r.Code))
			then(r)
		}
	})
}

// bye ends a talking call.
func (c *Call) bye(extra ...Header) {
	c.request("BYE", "", nil, extra, func(*Message) {})
	c.over(ByUs)
}

// sendReinvite offers the session again.
func (c *Call) sendReinvite(method, direction string, code chan<- int) {
	if c.rec.State != Talking {
		code <- 481
		return
	}
	if c.reinvite != nil {
		code <- 491 // RFC 3261 §14.1: one at a time
		return
	}
	c.hold = direction
	if direction == "sendrecv" {
		c.hold = ""
	}
	c.version++
	c.payloads = c.phone.cfg.Codecs
	c.reinvite = c.request(method, "application/sdp", []byte(c.offer()), nil, func(m *Message) {
		c.reinvite = nil
		if m.Code/100 == 2 {
			if method == "INVITE" {
				c.learn(m, false)
				c.ack(m)
			}
			if sdp := m.sdp(); sdp == "" || !c.hear(sdp) {
				c.phone.complain("%d to our %s without an answer", m.Code, method)
			}
		}
		code <- m.Code
	})
}
