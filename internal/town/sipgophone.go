package town

import (
	"context"
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
	conn, listener, addr, err := bind(p.cfg.Net, p.addr, p.cfg.TCP)
	if err != nil {
		return nil, err
	}
	p.addr = addr
	s := &stack{gate: newGate(conn), listener: listener}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	server, err := p.build(s)
	if err != nil {
		s.stop(err)
		_ = conn.Close()
		if listener != nil {
			_ = listener.Close()
		}
		return nil, err
	}
	s.running.Go(func() { _ = server.ServeUDP(s.gate) }) // ends when the socket closes
	<-s.gate.serving                                     // from now on requests leave from this socket
	if listener != nil {
		s.running.Go(func() { _ = server.ServeTCP(s.listener) }) // ends when the listener closes
	}
	return s, nil
}

// build makes user agent, client, dialogs and server.
func (p *SipgoPhone) build(s *stack) (*sipgo.Server, error) {
	host := p.addr.Addr().String()
	var err error
	if s.ua, err = sipgo.NewUA(sipgo.WithUserAgent(p.cfg.Name), sipgo.WithUserAgentHostname(host)); err != nil {
		return nil, err
	}
	self := sip.Uri{Scheme: "sip", User: p.cfg.Name, Host: bracketed(p.addr.Addr()), Port: int(p.addr.Port())}
	options := []sipgo.ClientOption{sipgo.WithClientAddr(p.addr.String()), sipgo.WithClientNAT()}
	if s.overTCP, err = newDialogs(s.ua, self, "tcp", options...); err != nil {
		return nil, err
	}
	if s.overUDP, err = newDialogs(s.ua, self, "", append(options, sipgo.WithClientConnectionAddr(p.addr.String()))...); err != nil {
		return nil, err
	}
	return p.serve(s)
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
