package town

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// SipgoCall is one leg at a [SipgoPhone].
type SipgoCall struct {
	phone *SipgoPhone
	stack *stack
	talk  uint64

	// Guarded by phone.mu.
	rec  Record
	sess session
	dlg  *sipgo.DialogServerSession // of a call that came in

	clear    chan struct{} // closed by Clear
	once     sync.Once
	answered chan struct{}
	done     chan struct{}
}

// Record is what the phone knows of the call now.
func (c *SipgoCall) Record() Record {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	return c.record()
}

func (c *SipgoCall) record() Record {
	r := c.rec.clone()
	r.SDP = slices.Clone(c.sess.heard)
	if c.sess.voice != nil {
		r.Voice = c.sess.voice.counted()
	}
	return r
}

// Answered is closed when the call talks.
func (c *SipgoCall) Answered() <-chan struct{} { return c.answered }

// Done is closed when the call is over.
func (c *SipgoCall) Done() <-chan struct{} { return c.done }

// Clear ends the call as a person does who puts the receiver down.
func (c *SipgoCall) Clear() { c.once.Do(func() { close(c.clear) }) }

// newCall makes the state of a leg.
func (p *SipgoPhone) newCall(s *stack, placed bool) *SipgoCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &SipgoCall{
		phone: p, stack: s,
		sess:  session{name: p.cfg.Name, codecs: p.cfg.Codecs, id: p.rng.Uint64() >> 16, version: 1, payloads: p.cfg.Codecs},
		clear: make(chan struct{}), answered: make(chan struct{}), done: make(chan struct{}),
	}
	c.rec.Placed, c.rec.Asked = placed, time.Now()
	c.talk = p.rng.Uint64() | 1
	p.calls = append(p.calls, c)
	return c
}

// listen opens the call's media socket, or gives it a port that nobody uses.
func (c *SipgoCall) listen() error {
	p := c.phone
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case c.sess.audio.IsValid():
		return nil
	case p.cfg.Voice == 0:
		c.sess.audio = netip.AddrPortFrom(p.addr.Addr(), 40000+uint16(p.rng.UintN(10000))*2)
		return nil
	}
	return c.sess.openVoice(p.cfg.Net, p.addr.Addr(), c.talk, p.rng.Uint32())
}

// edit changes the call's record.
func (c *SipgoCall) edit(f func(r *Record)) {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	f(&c.rec)
}

// talks marks the call as answered and lets it speak until it is over. One whose phone has been killed meanwhile stays over, and says nothing.
func (c *SipgoCall) talks() {
	c.phone.mu.Lock()
	alive := c.phone.stack == c.stack
	if alive {
		c.rec.State, c.rec.Answer = Talking, time.Now()
		c.stack.running.Add(1) // Kill, which takes the stack away under this lock, waits for it
	}
	c.phone.mu.Unlock()
	close(c.answered)
	if !alive {
		return
	}
	if c.sess.voice == nil {
		c.stack.running.Done()
		return
	}
	v, interval := c.sess.voice, c.phone.cfg.Voice
	go func() { // ends with the call, or with the stack
		defer c.stack.running.Done()
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			v.say()
			select {
			case <-t.C:
			case <-c.done:
				return
			case <-c.stack.ctx.Done():
				return
			}
		}
	}()
}

// over ends the call at this phone. Only the goroutine that runs the call says so.
func (c *SipgoCall) over(end End) {
	c.edit(func(r *Record) {
		if r.State != Over { // else the phone was killed
			r.State, r.End, r.Ended = Over, end, time.Now()
		}
	})
	close(c.done)
	if v := c.sess.voice; v != nil {
		v.close()
	}
}

// Place places a call. Prack and TCP over a [Network] are not supported.
func (p *SipgoPhone) Place(d Dial) (*SipgoCall, error) {
	p.mu.Lock()
	s := p.stack
	if s != nil {
		s.running.Add(1) // Kill waits for it
	}
	p.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("%s calls %s: %w", p.cfg.Name, d.URI, net.ErrClosed)
	}
	c := p.newCall(s, true)
	req, err := c.invitation(d)
	if err != nil {
		c.over(ByTransport)
		s.running.Done()
		return nil, fmt.Errorf("%s calls %s: %w", p.cfg.Name, d.URI, err)
	}
	go func() { // ends with the call, or with the stack
		defer s.running.Done()
		c.over(c.run(d, req))
	}()
	return c, nil
}

// invitation makes the INVITE that starts a call.
func (c *SipgoCall) invitation(d Dial) (*sip.Request, error) {
	p := c.phone
	var uri, from sip.Uri
	if err := sip.ParseUri(d.URI, &uri); err != nil {
		return nil, fmt.Errorf("request URI: %w", err)
	}
	if err := c.listen(); err != nil {
		return nil, err
	}
	req := sip.NewRequest(sip.INVITE, uri)
	user := d.From
	if user == "" {
		user = p.cfg.Name
	}
	from = sip.Uri{Scheme: "sip", User: user, Host: bracketed(p.addr.Addr()), Port: int(p.addr.Port())}
	fromHeader := &sip.FromHeader{Address: from, Params: sip.NewParams()}
	fromHeader.Params.Add("tag", strconv.FormatUint(c.talk, 36))
	req.AppendHeader(fromHeader)
	if d.To != "" {
		req.AppendHeader(sip.NewHeader("To", "<"+d.To+">"))
	}
	id := strconv.FormatUint(c.talk, 16)
	req.AppendHeader(sip.NewHeader(conversation, id))
	for _, h := range d.Headers {
		req.AppendHeader(sip.NewHeader(h.Name, h.Value))
	}
	if d.Via.IsValid() {
		req.SetDestination(d.Via.String())
	}
	if d.TCP {
		req.SetTransport("TCP")
	}
	if !d.Late {
		kind, body := "application/sdp", []byte(c.sess.offer())
		if d.Wrap != nil {
			kind, body = d.Wrap(string(body))
		}
		req.AppendHeader(sip.NewHeader("Content-Type", kind))
		req.SetBody(body)
	}
	c.edit(func(r *Record) { r.ID = id })
	return req, nil
}

// run places the call and stays with it until it is over.
func (c *SipgoCall) run(d Dial, req *sip.Request) End {
	ctx, cancel := context.WithCancel(c.stack.ctx)
	defer cancel()
	dlg, err := c.stack.by(req).clients.WriteInvite(ctx, req)
	if err != nil {
		return ByTransport
	}
	defer func() { _ = dlg.Close() }()
	if m, err := ParseMessage([]byte(req.String())); err == nil {
		c.edit(func(r *Record) { r.Invite, r.CallID = m, m.Get("Call-ID") })
	}
	waiting := make(chan struct{})
	c.stack.running.Go(func() { // ends with the answer
		var expired <-chan time.Time
		if d.CancelAfter > 0 {
			expired = time.After(d.CancelAfter)
		}
		select {
		case <-expired:
			cancel()
		case <-c.clear:
			cancel()
		case <-waiting:
		}
	})
	err = dlg.WaitAnswer(ctx, sipgo.AnswerOptions{OnResponse: c.responded})
	close(waiting)
	if err != nil {
		return c.unanswered(dlg, err)
	}
	return c.converse(d, dlg)
}

// responded notes a response to our INVITE.
func (c *SipgoCall) responded(res *sip.Response) error {
	m, err := ParseMessage([]byte(res.String()))
	if err != nil {
		return nil //nolint:nilerr // sipgo has taken it; what we cannot read again is not written down
	}
	c.edit(func(r *Record) {
		r.Responses = append(r.Responses, m)
		if tag := param(m.Get("To"), "tag"); tag != "" && m.Code > 100 && (len(r.Tags) == 0 || r.Tags[len(r.Tags)-1] != tag) {
			r.Tags = append(r.Tags, tag)
		}
		switch {
		case m.Code >= 200:
			r.Finals = append(r.Finals, m.Code)
		default:
			r.Provisionals = append(r.Provisionals, m.Code)
			if m.Code > 100 && r.State == Asked {
				r.State, r.Rang = Ringing, time.Now()
			}
		}
	})
	return nil
}

// unanswered says how a call ended that nobody answered. A 200 that crossed our CANCEL is ACKed and BYEd.
func (c *SipgoCall) unanswered(dlg *sipgo.DialogClientSession, err error) End {
	if res := dlg.InviteResponse; res != nil && res.IsSuccess() {
		_ = c.responded(res)
		if dlg.Ack(c.stack.ctx) == nil {
			_ = dlg.Bye(c.stack.ctx)
		}
		return ByCancel
	}
	var refusal *sipgo.ErrDialogResponse
	switch {
	case errors.As(err, &refusal):
		return ByRefusal
	case errors.Is(err, context.Canceled):
		if res := dlg.InviteResponse; res != nil && res.StatusCode >= 300 {
			_ = c.responded(res)
		}
		return ByCancel
	}
	return BySilence
}

// converse ACKs the answer and talks until somebody clears.
func (c *SipgoCall) converse(d Dial, dlg *sipgo.DialogClientSession) End {
	ctx := c.stack.ctx
	sdp := string(dlg.InviteResponse.Body())
	var answer string
	c.edit(func(*Record) {
		if sdp != "" && c.sess.hear(sdp) == "" && d.Late {
			answer = c.sess.reply(sdp)
		}
	})
	if err := c.ack(dlg, answer); err != nil {
		return ByTransport
	}
	c.talks()
	var expired <-chan time.Time
	if d.TalkFor > 0 {
		expired = time.After(d.TalkFor)
	}
	select {
	case <-dlg.Context().Done():
		return ByPeer
	case <-ctx.Done():
		return ByDeath
	case <-expired:
	case <-c.clear:
	}
	err := dlg.Bye(ctx)
	c.edit(func(r *Record) { r.Replies = append(r.Replies, "BYE "+replied(err)) })
	return ByUs
}

// ack sends the ACK of the answer, with our own answer when the offer was theirs.
func (c *SipgoCall) ack(dlg *sipgo.DialogClientSession, answer string) error {
	if answer == "" {
		return dlg.Ack(c.stack.ctx)
	}
	target := dlg.InviteResponse.Contact()
	if target == nil {
		return errors.New("a 200 without Contact")
	}
	ack := sip.NewRequest(sip.ACK, target.Address)
	ack.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	ack.SetBody([]byte(answer))
	return dlg.WriteAck(c.stack.ctx, ack)
}

// replied is the code that a request got.
func replied(err error) string {
	var refusal sipgo.ErrDialogResponse
	switch {
	case err == nil:
		return "200"
	case errors.As(err, &refusal):
		return strconv.Itoa(refusal.Res.StatusCode)
	}
	return "408"
}

// play does the steps of a script and stays until the call is over.
func (c *SipgoCall) play(dlg *sipgo.DialogServerSession, b Behaviour) End {
	for _, step := range b {
		select {
		case <-time.After(step.After):
		case <-dlg.Context().Done():
			return c.ended()
		case <-c.stack.ctx.Done():
			return ByDeath
		case <-c.clear:
			return c.putDown(dlg)
		}
		if end, over := c.do(dlg, step); over {
			return end
		}
	}
	select {
	case <-dlg.Context().Done():
		return c.ended()
	case <-c.stack.ctx.Done():
		return ByDeath
	case <-c.clear:
		return c.putDown(dlg)
	}
}

// ended says how a dialog ended that the other side ended.
func (c *SipgoCall) ended() End {
	if c.talking() {
		return ByPeer
	}
	c.edit(func(r *Record) { r.Finals = append(r.Finals, 487) })
	return ByCancel
}

func (c *SipgoCall) talking() bool {
	select {
	case <-c.answered:
		return true
	default:
		return false
	}
}

// putDown ends a call from our side.
func (c *SipgoCall) putDown(dlg *sipgo.DialogServerSession) End {
	if c.talking() {
		err := dlg.Bye(c.stack.ctx)
		c.edit(func(r *Record) { r.Replies = append(r.Replies, "BYE "+replied(err)) })
		return ByUs
	}
	c.edit(func(r *Record) { r.Finals = append(r.Finals, 486) })
	_ = dlg.Respond(486, phrase(486), nil)
	return ByRefusal
}

// do does one step; over says that the call is over.
func (c *SipgoCall) do(dlg *sipgo.DialogServerSession, s Step) (end End, over bool) {
	switch {
	case s.Code == 0:
	case s.Code < 200:
		c.progress(dlg, s)
	case s.Code < 300:
		if end, failed := c.accept(dlg, s); failed {
			return end, true
		}
	default:
		var headers []sip.Header
		for _, contact := range s.Contacts {
			headers = append(headers, sip.NewHeader("Contact", "<"+contact+">"))
		}
		c.edit(func(r *Record) { r.Finals = append(r.Finals, s.Code) })
		_ = dlg.Respond(s.Code, phrase(s.Code), nil, headers...)
		return ByRefusal, true
	}
	switch s.Act {
	case HangUp:
		return c.putDown(dlg), true
	case Freeze:
		c.phone.Freeze()
	case Die:
		go c.phone.Kill() // waits for this call to end
	case Stay, Reset:
	}
	return NotYet, false
}

// progress sends a 1xx.
func (c *SipgoCall) progress(dlg *sipgo.DialogServerSession, s Step) {
	var (
		body    []byte
		headers []sip.Header
	)
	if s.SDP {
		if text, ok := c.describe(); ok {
			body = []byte(text)
			headers = append(headers, sip.NewHeader("Content-Type", "application/sdp"))
		}
	}
	c.edit(func(r *Record) {
		r.Provisionals = append(r.Provisionals, s.Code)
		if s.Code > 100 && r.State == Asked {
			r.State = Ringing
		}
	})
	_ = dlg.Respond(s.Code, phrase(s.Code), body, headers...)
}

// describe makes our description for a response; ok is false when we have no codec in common.
func (c *SipgoCall) describe() (text string, ok bool) {
	if err := c.listen(); err != nil {
		return "", false
	}
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	theirs := c.rec.Invite.sdp()
	switch {
	case theirs == "":
		return c.sess.offer(), true
	case len(c.sess.heard) == 0 && c.sess.hear(theirs) != "":
		return "", false
	}
	return c.sess.reply(theirs), true
}

// accept sends a 2xx and waits for its ACK.
func (c *SipgoCall) accept(dlg *sipgo.DialogServerSession, s Step) (end End, failed bool) {
	res := sip.NewResponseFromRequest(dlg.InviteRequest, s.Code, phrase(s.Code), nil)
	if !s.NoSDP {
		text, ok := c.describe()
		if !ok {
			c.edit(func(r *Record) { r.Finals = append(r.Finals, 488) })
			_ = dlg.Respond(488, phrase(488), nil)
			return ByRefusal, true
		}
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
		res.SetBody([]byte(text))
	}
	if len(s.Contacts) > 0 {
		var uri sip.Uri
		if err := sip.ParseUri(s.Contacts[0], &uri); err == nil {
			res.AppendHeader(&sip.ContactHeader{Address: uri})
		}
	}
	if dlg.LoadState() == sip.DialogStateEnded {
		return c.ended(), true
	}
	c.edit(func(r *Record) { r.Finals = append(r.Finals, s.Code) })
	c.talks()
	if err := dlg.WriteResponse(res); err != nil { // waits for the ACK
		if dlg.LoadState() == sip.DialogStateEnded {
			return ByPeer, true
		}
		c.edit(func(r *Record) { r.Unacked = true })
		return BySilence, true
	}
	return NotYet, false
}
