package town

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// SipgoPhone is a phone on sipgo's whole stack: a second opinion about what is good SIP. It takes the same configuration and the same scripts as a
// [Phone], as far as the stack allows: it sends no reliable 1xx, and Raw and Reset steps are left out. Over a [Network] it places calls by UDP only,
// because sipgo dials TCP itself.
//
// sipgo handles each message in a goroutine of its own, so the order of messages is not kept.
type SipgoPhone struct {
	cfg PhoneConfig

	mu     sync.Mutex // guards what follows, and the records of the calls
	addr   netip.AddrPort
	rng    *rand.Rand
	script func(*Message) Behaviour
	code   int // to OPTIONS
	stack  *stack
	calls  []*SipgoCall
	heard  map[string]int
}

// stack is sipgo's user agent with its sockets; a killed phone has none.
type stack struct {
	ua       *sipgo.UserAgent
	overUDP  dialogs
	overTCP  dialogs
	gate     *gate
	listener net.Listener
	ctx      context.Context // ends with the stack
	stop     context.CancelCauseFunc
	running  sync.WaitGroup // the stack's readers and the calls
}

// dialogs are sipgo's dialogs over one transport. On UDP requests leave from the phone's socket; on TCP the same wish would send them to whoever connected
// last.
type dialogs struct {
	servers *sipgo.DialogServerCache
	clients *sipgo.DialogClientCache
}

// by gives the dialogs of a request's transport.
func (s *stack) by(req *sip.Request) dialogs {
	if strings.EqualFold(req.Transport(), "TCP") {
		return s.overTCP
	}
	return s.overUDP
}

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

// silence keeps sipgo's own log out of the tests' output.
var silence = sync.OnceFunc(func() { sip.SetDefaultLogger(slog.New(slog.NewTextHandler(io.Discard, nil))) })

// NewSipgoPhone opens a phone's sockets and starts it.
func NewSipgoPhone(cfg PhoneConfig) (*SipgoPhone, error) {
	silence()
	if cfg.Net == nil {
		cfg.Net = Kernel{}
	}
	if cfg.Script == nil {
		cfg.Script = Always(Answers(time.Second))
	}
	if cfg.Codecs == nil {
		cfg.Codecs = []int{8, 0}
	}
	p := &SipgoPhone{
		cfg: cfg, addr: cfg.Addr, script: cfg.Script, code: 200, rng: rand.New(rand.NewPCG(cfg.Seed, 0x736970676f)), heard: make(map[string]int),
	}
	if err := p.Restart(); err != nil {
		return nil, err
	}
	return p, nil
}

// Restart starts a killed phone again, at the same address, without its calls. A phone that runs stays as it is.
func (p *SipgoPhone) Restart() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stack != nil {
		return nil
	}
	s, err := p.open()
	if err != nil {
		return fmt.Errorf("phone %s: %w", p.cfg.Name, err)
	}
	p.stack = s
	return nil
}

// open starts a stack. Kill ends it.
func (p *SipgoPhone) open() (*stack, error) {
	conn, err := p.cfg.Net.ListenPacket(p.addr)
	if err != nil {
		return nil, err
	}
	addr, err := addrPort(conn.LocalAddr())
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	p.addr = addr
	s := &stack{gate: newGate(conn)}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	if err := p.build(s); err != nil {
		_ = conn.Close()
		return nil, err
	}
	server, err := p.serve(s)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	s.running.Go(func() { _ = server.ServeUDP(s.gate) }) // ends when the socket closes
	<-s.gate.serving                                     // from now on requests leave from this socket
	if p.cfg.TCP {
		if s.listener, err = p.cfg.Net.Listen(addr); err != nil {
			p.shut(s)
			return nil, err
		}
		s.running.Go(func() { _ = server.ServeTCP(s.listener) }) // ends when the listener closes
	}
	return s, nil
}

// build makes user agent, client and dialogs.
func (p *SipgoPhone) build(s *stack) error {
	host := p.addr.Addr().String()
	var err error
	if s.ua, err = sipgo.NewUA(sipgo.WithUserAgent(p.cfg.Name), sipgo.WithUserAgentHostname(host)); err != nil {
		return err
	}
	self := sip.Uri{Scheme: "sip", User: p.cfg.Name, Host: bracketed(p.addr.Addr()), Port: int(p.addr.Port())}
	options := []sipgo.ClientOption{sipgo.WithClientAddr(p.addr.String()), sipgo.WithClientNAT()}
	if s.overTCP, err = newDialogs(s.ua, self, "tcp", options...); err != nil {
		return err
	}
	s.overUDP, err = newDialogs(s.ua, self, "", append(options, sipgo.WithClientConnectionAddr(p.addr.String()))...)
	return err
}

func newDialogs(ua *sipgo.UserAgent, self sip.Uri, transport string, options ...sipgo.ClientOption) (dialogs, error) {
	client, err := sipgo.NewClient(ua, options...)
	if err != nil {
		return dialogs{}, err
	}
	if transport != "" {
		self.UriParams = sip.NewParams()
		self.UriParams.Add("transport", transport)
	}
	contact := sip.ContactHeader{Address: self}
	return dialogs{sipgo.NewDialogServerCache(client, contact), sipgo.NewDialogClientCache(client, contact)}, nil
}

// bracketed is how an address is written in a URI.
func bracketed(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// serve makes the server and says what it does with each method.
func (p *SipgoPhone) serve(s *stack) (*sipgo.Server, error) {
	server, err := sipgo.NewServer(s.ua)
	if err != nil {
		return nil, err
	}
	counted := func(h sipgo.RequestHandler) sipgo.RequestHandler {
		return func(req *sip.Request, tx sip.ServerTransaction) {
			p.mu.Lock()
			p.heard[string(req.Method)]++
			p.mu.Unlock()
			h(req, tx)
		}
	}
	server.OnInvite(counted(func(req *sip.Request, tx sip.ServerTransaction) { p.invited(s, req, tx) }))
	server.OnAck(counted(func(req *sip.Request, tx sip.ServerTransaction) { p.acked(s, req, tx) }))
	server.OnBye(counted(func(req *sip.Request, tx sip.ServerTransaction) { p.hungUp(s, req, tx) }))
	server.OnOptions(counted(func(req *sip.Request, tx sip.ServerTransaction) { p.optioned(s, req, tx) }))
	for _, method := range []sip.RequestMethod{sip.INFO, sip.UPDATE, sip.MESSAGE, sip.NOTIFY, sip.PRACK} {
		server.OnRequest(method, counted(func(req *sip.Request, tx sip.ServerTransaction) { p.inside(s, req, tx) }))
	}
	return server, nil
}

// Addr is where the phone listens.
func (p *SipgoPhone) Addr() netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

// Name is what the phone is called.
func (p *SipgoPhone) Name() string { return p.cfg.Name }

// Close ends the phone without a word to anybody, and waits for its goroutines.
func (p *SipgoPhone) Close() { p.Kill() }

// Kill ends the phone's process: its sockets close, its calls are over.
func (p *SipgoPhone) Kill() {
	p.mu.Lock()
	s := p.stack
	p.stack = nil
	for _, c := range p.calls {
		if c.stack == s && c.rec.State != Over {
			c.rec.State, c.rec.End, c.rec.Ended = Over, ByDeath, time.Now()
		}
	}
	p.mu.Unlock()
	if s != nil {
		p.shut(s)
	}
}

func (p *SipgoPhone) shut(s *stack) {
	s.gate.freeze(true)                    // a process that dies says nothing more
	s.stop(sipgo.WaitAnswerForceCancelErr) // or sipgo would wait for an answer to its CANCEL
	_ = s.gate.Close()
	if s.listener != nil {
		_ = s.listener.Close()
	}
	_ = s.ua.Close()
	s.running.Wait()
}

// Freeze makes the phone a black hole. Thaw ends it. TCP connections are not frozen.
func (p *SipgoPhone) Freeze() { p.freeze(true) }

// Thaw ends Freeze.
func (p *SipgoPhone) Thaw() { p.freeze(false) }

func (p *SipgoPhone) freeze(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stack == nil {
		return
	}
	p.stack.gate.freeze(on)
	for _, c := range p.calls {
		if c.sess.voice != nil {
			c.sess.voice.freeze(on)
		}
	}
}

// Script changes what the phone does with calls from now on.
func (p *SipgoPhone) Script(f func(invite *Message) Behaviour) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = f
}

// Options changes what the phone says to OPTIONS outside of calls: a code, or 0 for silence.
func (p *SipgoPhone) Options(code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.code = code
}

// Heard counts the requests that came, by method.
func (p *SipgoPhone) Heard(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard[method]
}

// Live counts the calls that are asked, ringing, and talking.
func (p *SipgoPhone) Live() (asked, ringing, talking int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		switch c.rec.State {
		case Asked:
			asked++
		case Ringing:
			ringing++
		case Talking:
			talking++
		case Over, Ignored:
		}
	}
	return asked, ringing, talking
}

// Records gives what the phone knows of every call, oldest first.
func (p *SipgoPhone) Records() []Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	records := make([]Record, 0, len(p.calls))
	for _, c := range p.calls {
		records = append(records, c.record())
	}
	return records
}

// Sweep is Records of the calls that are over, and forgets them.
func (p *SipgoPhone) Sweep() []Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	var (
		records []Record
		left    []*SipgoCall
	)
	for _, c := range p.calls {
		if c.rec.State == Over || c.rec.State == Ignored {
			records = append(records, c.record())
		} else {
			left = append(left, c)
		}
	}
	p.calls = left
	return records
}

// Record is what the phone knows of the call now.
func (c *SipgoCall) Record() Record {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	return c.record()
}

func (c *SipgoCall) record() Record {
	r := c.rec.clone()
	r.SDP = append([]string(nil), c.sess.heard...)
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

// talks marks the call as answered and lets it speak until it is over.
func (c *SipgoCall) talks() {
	c.edit(func(r *Record) { r.State, r.Answer = Talking, time.Now() })
	close(c.answered)
	if c.sess.voice == nil {
		return
	}
	v, interval := c.sess.voice, c.phone.cfg.Voice
	c.stack.running.Go(func() { // ends with the call
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			v.say()
			select {
			case <-t.C:
			case <-c.done:
				return
			}
		}
	})
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

// respond answers a request outside of what sipgo's dialogs answer.
func (s *stack) respond(req *sip.Request, tx sip.ServerTransaction, code int, body string) {
	res := sip.NewResponseFromRequest(req, code, phrase(code), []byte(body))
	if body != "" {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	}
	if req.Method == sip.INVITE && code/100 == 2 || req.Method == sip.UPDATE {
		contact := s.contact()
		res.AppendHeader(&contact)
	}
	_ = tx.Respond(res) // a response that does not leave is a lost response
}

func (s *stack) contact() sip.ContactHeader {
	a, _ := addrPort(s.gate.LocalAddr())
	return sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: "phone", Host: bracketed(a.Addr()), Port: int(a.Port())}}
}

// invited takes a call and plays its script; a re-INVITE is answered at once.
func (p *SipgoPhone) invited(s *stack, req *sip.Request, tx sip.ServerTransaction) {
	if _, inDialog := req.To().Params.Get("tag"); inDialog {
		p.inside(s, req, tx)
		return
	}
	m, err := ParseMessage([]byte(req.String()))
	if err != nil {
		s.respond(req, tx, 400, "")
		return
	}
	dlg, err := s.by(req).servers.ReadInvite(req, tx)
	if err != nil {
		s.respond(req, tx, 400, "")
		return
	}
	defer func() { _ = dlg.Close() }()
	c := p.newCall(s, false)
	p.mu.Lock()
	c.dlg = dlg
	c.talk, _ = strconv.ParseUint(m.Get(conversation), 16, 64) // from elsewhere: 0, nothing is foreign to it
	c.rec.Invite, c.rec.CallID, c.rec.ID = m, m.Get("Call-ID"), m.Get(conversation)
	script := p.script
	p.mu.Unlock()
	b := script(m)
	if len(b) == 0 {
		c.edit(func(r *Record) { r.State = Ignored })
	}
	end := c.play(dlg, b)
	c.over(end)
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

// callOf finds the call of a request inside a dialog.
func (p *SipgoPhone) callOf(callID string) *SipgoCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.calls) - 1; i >= 0; i-- {
		if c := p.calls[i]; c.rec.CallID == callID && c.rec.State != Over {
			return c
		}
	}
	return nil
}

// acked takes an ACK; one with a description answers our offer.
func (p *SipgoPhone) acked(s *stack, req *sip.Request, tx sip.ServerTransaction) {
	if c := p.callOf(req.CallID().Value()); c != nil && len(req.Body()) > 0 {
		c.edit(func(*Record) { c.sess.hear(string(req.Body())) })
	}
	_ = s.by(req).servers.ReadAck(req, tx) // an ACK of nothing is nothing
}

// hungUp takes a BYE of either side's dialogs.
func (p *SipgoPhone) hungUp(s *stack, req *sip.Request, tx sip.ServerTransaction) {
	if c := p.callOf(req.CallID().Value()); c != nil {
		c.edit(func(r *Record) {
			r.Requests = append(r.Requests, "BYE")
			if h := req.GetHeader("Reason"); h != nil {
				r.Reasons = append(r.Reasons, h.Value())
			}
		})
	}
	if s.by(req).servers.ReadBye(req, tx) == nil || s.by(req).clients.ReadBye(req, tx) == nil {
		return
	}
	s.respond(req, tx, 481, "")
}

// optioned answers OPTIONS.
func (p *SipgoPhone) optioned(s *stack, req *sip.Request, tx sip.ServerTransaction) {
	if _, inDialog := req.To().Params.Get("tag"); inDialog {
		p.inside(s, req, tx)
		return
	}
	p.mu.Lock()
	code := p.code
	p.mu.Unlock()
	if code != 0 {
		s.respond(req, tx, code, "")
	}
}

// inside takes another request of a call: 200, with our description when it offers one.
func (p *SipgoPhone) inside(s *stack, req *sip.Request, tx sip.ServerTransaction) {
	c := p.callOf(req.CallID().Value())
	if c == nil {
		s.respond(req, tx, 481, "")
		return
	}
	if c.dlg != nil {
		if err := c.dlg.ReadRequest(req, tx); err != nil {
			s.respond(req, tx, 500, "")
			return
		}
	}
	body := ""
	c.edit(func(r *Record) {
		r.Requests = append(r.Requests, string(req.Method))
		m, err := ParseMessage([]byte(req.String()))
		if err != nil {
			return
		}
		offer := m.sdp()
		switch {
		case offer != "" && (req.Method == sip.INVITE || req.Method == sip.UPDATE) && c.sess.hear(offer) == "":
			body = c.sess.reply(offer)
		case offer == "" && req.Method == sip.INVITE:
			c.sess.version++
			body = c.sess.offer()
		}
	})
	s.respond(req, tx, 200, body)
}

// gate is a phone's UDP socket: it says when sipgo reads from it, swallows ICMP, after which sipgo would stop reading, and can be frozen.
type gate struct {
	net.PacketConn
	serving chan struct{} // closed at the first read
	once    sync.Once

	mu     sync.Mutex
	frozen bool
}

func newGate(c net.PacketConn) *gate { return &gate{PacketConn: c, serving: make(chan struct{})} }

func (g *gate) freeze(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = on
}

func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.frozen
}

func (g *gate) ReadFrom(b []byte) (int, net.Addr, error) {
	g.once.Do(func() { close(g.serving) })
	for {
		n, addr, err := g.PacketConn.ReadFrom(b)
		if err != nil && isICMP(err) || err == nil && g.shut() {
			continue
		}
		return n, addr, err
	}
}

func (g *gate) WriteTo(b []byte, addr net.Addr) (int, error) {
	if g.shut() {
		return len(b), nil
	}
	return g.PacketConn.WriteTo(b, addr)
}
