package town

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"nines/sip/wire"
)

// RFC 3261 §17: the timers of a phone.
const (
	t1      = 500 * time.Millisecond
	t2      = 4 * time.Second
	timeout = 64 * t1
)

// PhoneConfig describes a phone.
type PhoneConfig struct {
	Name string         // what it is called in ladders, and the user of its addresses
	Net  wire.Network   // where its sockets come from; nil is the kernel
	Addr netip.AddrPort // where it listens, UDP; port 0 is any
	TCP  bool           // listens on TCP as well, at the same port
	TLS  *tls.Config    // its connections are TLS, those that it makes too; a ServerName is added where there is none
	Seed uint64         // of its tags, branches and numbers

	Script    func(invite *Message) Behaviour // what it does with a call; nil answers after a second
	Codecs    []int                           // payload types it can, best first; nil is 8, 0
	Voice     time.Duration                   // how often it sends a packet while talking; 0: it has no media at all
	Keepalive time.Duration                   // how often it asks whether the other end still knows the call (OPTIONS); 0: never
	Lenient   bool                            // does not judge what it hears; saves half the time
}

// Phone is a SIP user agent with a script: a carrier, a control room, a partner.
//
// One goroutine owns its calls and takes messages, timers and commands one at a time, in order. [Phone.Close] stops it and all others.
type Phone struct {
	cfg  PhoneConfig
	addr netip.AddrPort
	mail mailbox
	quit chan struct{} // closed when the loop has ended

	// Owned by the loop.
	rng      *rand.Rand
	alarms   alarms
	udp      net.PacketConn
	tcp      net.Listener
	links    map[netip.AddrPort]*link
	readers  sync.WaitGroup
	script   func(*Message) Behaviour
	options  int // what it says to OPTIONS; 0: nothing
	frozen   bool
	held     []func() // what passes over TCP while the phone is frozen waits in the kernel's buffers
	off      bool
	calls    []*Call            // all, in order
	dialogs  map[string]*Call   // by our tag
	asked    map[string]*served // server transactions, by branch, sent-by and method
	sent     map[string]*asking // client transactions, by branch and method
	waiting  []chan *Call       // who waits for the next call
	incoming []*Call            // calls that nobody has waited for yet
	wrong    []string
	port     uint16 // the last port given to a call without media
	heard    map[string]int
}

// NewPhone opens a phone's sockets and starts it.
func NewPhone(cfg PhoneConfig) (*Phone, error) {
	if cfg.Net == nil {
		cfg.Net = Kernel{}
	}
	if cfg.Script == nil {
		cfg.Script = Always(Answers(time.Second))
	}
	if cfg.Codecs == nil {
		cfg.Codecs = []int{8, 0}
	}
	p := &Phone{
		cfg: cfg, addr: cfg.Addr, quit: make(chan struct{}), mail: newMailbox(),
		rng:    rand.New(rand.NewPCG(cfg.Seed, 0x70686f6e65)),
		script: cfg.Script, options: 200,
		links: make(map[netip.AddrPort]*link), dialogs: make(map[string]*Call),
		asked: make(map[string]*served), sent: make(map[string]*asking), heard: make(map[string]int),
		port: 40000,
	}
	if err := p.open(); err != nil {
		return nil, fmt.Errorf("phone %s: %w", cfg.Name, err)
	}
	go p.run() // Close stops it
	return p, nil
}

// open opens the sockets and starts their readers; kill ends them.
func (p *Phone) open() error {
	udp, tcp, addr, err := bind(p.cfg.Net, p.addr, p.cfg.TCP)
	if err != nil {
		return err
	}
	p.addr, p.udp = addr, udp
	if tcp != nil {
		if p.cfg.TLS != nil {
			tcp = tls.NewListener(tcp, p.cfg.TLS)
		}
		p.tcp = tcp
		p.readers.Go(func() { p.accept(tcp) })
	}
	p.readers.Go(func() { p.readUDP(udp) })
	return nil
}

// bind opens a phone's socket and, if it is wanted, a listener at the same port. Where any port will do it goes on until nobody has the other one: on
// loopback a connection that was closed a minute ago may.
func bind(n wire.Network, at netip.AddrPort, tcp bool) (net.PacketConn, net.Listener, netip.AddrPort, error) {
	for tries := 1; ; tries++ {
		udp, err := n.ListenPacket(at)
		if err != nil {
			return nil, nil, at, err
		}
		addr, err := addrPort(udp.LocalAddr())
		if err != nil {
			_ = udp.Close()
			return nil, nil, at, err
		}
		if !tcp {
			return udp, nil, addr, nil
		}
		l, err := n.Listen(addr)
		if err == nil {
			return udp, l, addr, nil
		}
		_ = udp.Close()
		if at.Port() != 0 || tries == 100 || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, at, err
		}
	}
}

// Addr is where the phone listens.
func (p *Phone) Addr() netip.AddrPort { return p.addr }

// URI is the phone's address.
func (p *Phone) URI() string { return "sip:" + p.cfg.Name + "@" + p.addr.String() }

// Name is what the phone is called.
func (p *Phone) Name() string { return p.cfg.Name }

// Close ends the phone without a word to anybody, and waits for its goroutines.
func (p *Phone) Close() {
	p.do(func() { p.kill() })
	p.mail.close()
	<-p.quit
	p.readers.Wait()
}

// Kill ends the phone's process: its sockets close, its calls are forgotten.
func (p *Phone) Kill() { p.do(p.kill) }

// Restart starts a killed phone again, at the same address, without its calls. A phone that runs stays as it is.
func (p *Phone) Restart() error {
	var err error
	p.do(func() {
		if p.off {
			if err = p.open(); err == nil {
				p.off = false
			}
		}
	})
	if err != nil {
		return fmt.Errorf("restart %s: %w", p.cfg.Name, err)
	}
	return nil
}

// Freeze makes the phone a black hole: it hears nothing and says nothing, but goes on inside. Thaw ends it; what was under way over TCP, which loses
// nothing, comes then.
func (p *Phone) Freeze() { p.do(func() { p.freeze(true) }) }

// Thaw ends Freeze.
func (p *Phone) Thaw() { p.do(func() { p.freeze(false) }) }

// Script changes what the phone does with calls from now on.
func (p *Phone) Script(f func(invite *Message) Behaviour) { p.do(func() { p.script = f }) }

// Options changes what the phone says to OPTIONS outside of calls: a code, or 0 for silence.
func (p *Phone) Options(code int) { p.do(func() { p.options = code }) }

// Live counts the calls that are asked (no provisional but 100), ringing, and talking.
func (p *Phone) Live() (asked, ringing, talking int) {
	p.do(func() {
		for _, c := range p.calls {
			switch c.rec.State {
			case Asked:
				asked++
			case Ringing:
				ringing++
			case Talking:
				talking++
			case Ignored, Over:
			}
		}
	})
	return asked, ringing, talking
}

// Calls gives every call of the phone, placed or received, oldest first.
func (p *Phone) Calls() []*Call {
	var calls []*Call
	p.do(func() { calls = slices.Clone(p.calls) })
	return calls
}

// Records gives what the phone knows of every call, oldest first.
func (p *Phone) Records() []Record {
	var records []Record
	p.do(func() {
		for _, c := range p.calls {
			records = append(records, c.record())
		}
	})
	return records
}

// Sweep is Records of the calls that are over, and forgets them.
func (p *Phone) Sweep() []Record {
	var records []Record
	p.do(func() {
		p.calls = slices.DeleteFunc(p.calls, func(c *Call) bool {
			if c.rec.State == Over || c.rec.State == Ignored {
				records = append(records, c.record())
				return true
			}
			return false
		})
	})
	return records
}

// Wrong lists what others said that they should not have said, in order.
func (p *Phone) Wrong() []string {
	var wrong []string
	p.do(func() { wrong = slices.Clone(p.wrong) })
	return wrong
}

// Heard counts the requests that came, by method, repeats included.
func (p *Phone) Heard(method string) int {
	var n int
	p.do(func() { n = p.heard[method] })
	return n
}

// Next waits for the next call that comes in. Calls that came before anybody waited are given first.
func (p *Phone) Next(ctx context.Context) (*Call, error) {
	ch := make(chan *Call, 1)
	p.do(func() {
		if len(p.incoming) > 0 {
			ch <- p.incoming[0]
			p.incoming = p.incoming[1:]
			return
		}
		p.waiting = append(p.waiting, ch)
	})
	select {
	case c := <-ch:
		return c, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("no call came to %s: %w", p.cfg.Name, context.Cause(ctx))
	}
}

// complain notes that somebody else broke a rule.
func (p *Phone) complain(format string, args ...any) {
	if len(p.wrong) < 1000 {
		p.wrong = append(p.wrong, p.cfg.Name+": "+fmt.Sprintf(format, args...))
	}
}

// run is the loop. It ends when the mailbox is closed.
func (p *Phone) run() {
	defer close(p.quit)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if job, ok := p.mail.take(); ok {
			job()
			continue
		}
		if a := p.alarms.due(time.Now()); a != nil {
			a.ring()
			continue
		}
		if wait, ok := p.alarms.wait(time.Now()); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case _, open := <-p.mail.ready:
			if !open {
				return
			}
		case <-timer.C:
		}
	}
}

// do runs f in the loop and waits for it; after Close it runs at once.
func (p *Phone) do(f func()) {
	done := make(chan struct{})
	if !p.mail.put(func() {
		defer close(done)
		f()
	}) {
		<-p.quit
		p.mail.last.Lock()
		defer p.mail.last.Unlock()
		f()
		return
	}
	<-done
}

// post runs f in the loop, later.
func (p *Phone) post(f func()) { p.mail.put(f) }

// after sets an alarm. The grain of less than a microsecond keeps it apart from what others do at round times; see path.jitter.
func (p *Phone) after(d time.Duration, f func()) *alarm {
	grain := time.Duration(p.alarms.seq*7919%1000 + 1)
	return p.alarms.set(time.Now().Add(d+grain), f)
}

// freeze is Freeze and Thaw in the loop.
func (p *Phone) freeze(on bool) {
	p.frozen = on
	if !on {
		held := p.held
		p.held = nil
		for _, job := range held {
			job()
		}
	}
	for _, c := range p.calls {
		if c.voice != nil {
			c.voice.freeze(on)
		}
	}
}

// kill closes everything and forgets every call.
func (p *Phone) kill() {
	if p.off {
		return
	}
	p.off, p.frozen, p.held = true, false, nil
	_ = p.udp.Close()
	if p.tcp != nil {
		_ = p.tcp.Close()
		p.tcp = nil
	}
	for _, l := range p.links {
		l.reset()
	}
	clear(p.links)
	for _, c := range p.calls {
		c.over(ByDeath)
	}
	clear(p.dialogs)
	clear(p.asked)
	clear(p.sent)
	p.alarms.clear()
}

// token makes a word for tags, branches and Call-IDs.
func (p *Phone) token() string { return fmt.Sprintf("%016x", p.rng.Uint64()) }

// mailbox is where work for a loop waits. It has no limit, so that nobody who fills it ever waits for the loop.
type mailbox struct {
	ready chan struct{} // holds one token while something waits; closed at the end
	in    *inbox
	last  *sync.Mutex // who runs a job after the end
}

type inbox struct {
	sync.Mutex
	jobs   []func()
	head   int
	closed bool
}

func newMailbox() mailbox {
	return mailbox{ready: make(chan struct{}, 1), in: &inbox{}, last: &sync.Mutex{}}
}

// put leaves a job; false when the mailbox is closed.
func (m mailbox) put(job func()) bool {
	m.in.Lock()
	defer m.in.Unlock()
	if m.in.closed {
		return false
	}
	m.in.jobs = append(m.in.jobs, job)
	token(m.ready)
	return true
}

// take gets the oldest job.
func (m mailbox) take() (func(), bool) {
	m.in.Lock()
	defer m.in.Unlock()
	if m.in.head == len(m.in.jobs) {
		m.in.jobs, m.in.head = m.in.jobs[:0], 0
		return nil, false
	}
	job := m.in.jobs[m.in.head]
	m.in.jobs[m.in.head] = nil
	m.in.head++
	return job, true
}

func (m mailbox) close() {
	m.in.Lock()
	defer m.in.Unlock()
	if !m.in.closed {
		m.in.closed = true
		close(m.ready)
	}
}

// isICMP says whether a read error is an ICMP answer, after which the socket goes on.
func isICMP(err error) bool {
	var icmp *wire.ICMPError
	return errors.As(err, &icmp)
}
