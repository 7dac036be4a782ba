// Package sip speaks SIP. It turns messages into a call's events and a call's actions into messages; what happens to a call is decided in package
// call, who is asked in package policy, what we believe of an endpoint in package health.
//
// A [Server] has one loop per core. A loop owns its calls: it reads their messages in the order in which they arrived, steps them, and writes what
// they send, all in one goroutine, so that nothing of a call needs a lock. Our branches, tags and Call-IDs carry the loop's and the call's number;
// a message finds its owner by them, and a new INVITE and its CANCEL go to the loop that their branch hashes to.
//
// Loop 0 also owns what is believed about the endpoints (health.Judge) and sends the OPTIONS probes. Everybody else reads its snapshot.
//
// Drive it with [New], [Server.Run]; [Server.Swap] takes a new [Routing] without touching the calls in progress.
package sip

import (
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"nines/health"
	"nines/media"
	"nines/media/voice"
	"nines/policy"
	"nines/sip/wire"
)

// Trunk is a carrier or PBX that sends us calls, as this room needs to know it.
type Trunk struct {
	policy.Trunk
	Via       string         // the side that it is on; empty: any
	From      []netip.Prefix // its messages come from here
	Truthful  bool           // OPTIONS gets 500 once real calls have failed for ten seconds (R19)
	Symmetric bool           // its media comes from behind a NAT (R29)
}

// Endpoint is a place that can answer, as this room needs to know it.
type Endpoint struct {
	policy.Endpoint
	URI       string         // sip: URI; with a user it is the Request-URI, else the called number at its host (R46)
	Via       string         // the side that it is on; empty: as the routing table says
	Addresses []netip.Addr   // used while DNS has no answer
	MediaFrom []netip.Prefix // networks its media may come from beside the negotiated address
	Symmetric bool
	Queue     bool // answers: queue: its 200 connects, but a person may not be there
	// RequireTLS keeps an emergency call from being retried over TCP when TLS fails (R12).
	RequireTLS bool
}

// Routing is what a reload swaps. It is never changed after it was given to [Server.Swap].
type Routing struct {
	Name            string // who we are, told to partners
	Trunks          []Trunk
	Endpoints       []Endpoint
	Routes          []policy.Route
	Health          health.Config
	TLS             TLS
	AnswerEmergency bool          // unknown_sources: answer_emergency
	MediaGap        time.Duration // so long without a packet and an endpoint's media has stopped (R20); 0 means 2 s
	Messages        Tracing       // of which calls each message is told
}

// Observer is told what happened, from the loops; it must not block.
type Observer interface {
	// CallBegan says that a call was taken.
	CallBegan(trunk policy.TrunkName, route policy.RouteName)
	// CallAnswered says which endpoint answered and how long the set-up took, from the INVITE's arrival to our 200.
	CallAnswered(route policy.RouteName, class policy.Class, endpoint policy.EndpointName, setup time.Duration)
	// CallFailed says which final response a caller got instead; 487 is the caller's own wish.
	CallFailed(route policy.RouteName, class policy.Class, code int)
	// CallOver says that a call has ended; each CallBegan is followed by one.
	CallOver(trunk policy.TrunkName, route policy.RouteName, answered bool)
	// Rescued says that a talking call has been moved to another endpoint, and how long the caller heard nobody (R22).
	Rescued(route policy.RouteName, class policy.Class, endpoint policy.EndpointName, gap time.Duration)
	// Attempted says how an attempt went: answered, refused, failed, silent, stopped, unusable.
	Attempted(endpoint policy.EndpointName, outcome string)
	// Probed says what became of an OPTIONS probe.
	Probed(health.Probe)
	// Heard says that a trunk sent a request outside a dialog.
	Heard(trunk policy.TrunkName)
	// Noticed says what an operator should know besides verdicts; it is in the log already.
	Noticed(health.Notice)
	// Announced says that a caller has heard an announcement, to its end or not, and for how long.
	Announced(route policy.RouteName, name policy.AnnouncementName, finished bool, heard time.Duration)
	// Shed says that load protection has switched a route.
	Shed(route policy.RouteName, on bool)
	// Recorded says what happened, for the book. It is called often, from every loop.
	Recorded(Record)
}

// Side is a network that this machine stands in, beside others. Sockets name it (wire.Listen).
type Side struct {
	Name      string
	Advertise string     // as Config.Advertise, for this side
	Media     netip.Addr // where its audio goes through; invalid: as without sides
}

// Config is what a Server needs once, at its start.
type Config struct {
	Listen    []wire.Listen
	Advertise string // host for Via and Contact; empty means the socket's own address
	Sides     []Side
	Network   wire.Network // nil means the kernel
	Loops     int          // 0 means one per core
	Media     *media.Relay
	Observer  Observer
	Log       zerolog.Logger
	// Tapes gives the recordings of an announcement, with the way out that it may tell; it must not block. Nil, or none: it can't be played.
	Tapes func(policy.AnnouncementName, voice.WayOut) []*voice.Tape
	// MostPlaying is how many announcements are played at one time; 0 means 1000.
	MostPlaying int
	DNS         DNS
	// Names keeps DNS answers over a restart; nil: nobody.
	Names NameStore
	// Resolve looks a host name up in place of DNS.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Seed makes tags, branches and jitter repeatable in simulations; zero means real randomness.
	Seed uint64
}

// Server is the SIP side of a node.
type Server struct {
	cfg     Config
	log     zerolog.Logger
	born    time.Time // no call of another process has a name of ours
	stack   *wire.Stack
	loops   []*loop
	routing atomic.Pointer[routing]
	known   atomic.Pointer[hostSet]         // hosts of trunks and endpoints
	health  atomic.Pointer[health.Snapshot] // what loop 0 last published
	comfort atomic.Pointer[voice.Tape]      // nil: not ready, or no route wants it
	shared  shared
	count   counters
	names   *resolver
	said    sayings
	gate    gate
	listen  []wire.Listen                              // our concrete sockets
	treats  atomic.Pointer[map[policy.RouteName]Treat] // replaced whole, under shared.mu

	draining     atomic.Bool
	lastHeard    atomic.Int64                   // Unix nanoseconds
	breaks       atomic.Pointer[func(what any)] // tests break invariants by it
	strangerSaid atomic.Int64                   // Unix seconds of the last notice about an unknown source
	failedSince  atomic.Int64                   // Unix nanoseconds since which every emergency call has failed; 0 when they don't
	failedLast   atomic.Int64                   // Unix nanoseconds of the latest that did
}

// shared is what calls of different loops must agree on.
type shared struct {
	mu       sync.Mutex
	shedding policy.Shedding
	sheds    bool // the routing that was judged last sheds
	slots    *policy.Slots
	pace     *policy.Pace              // of rescues
	held     map[policy.Place]*attempt // those that wait for their turn
	out      map[string]int            // caller numbers that are in a call at a partner (R9)
	// options says which endpoints answer in-dialog OPTIONS with 2xx: learned in their first call, kept (R20).
	options  map[policy.EndpointName]bool
	byeTimes map[policy.EndpointName][]time.Time // the last BYEs of each endpoint (R23)
	paused   map[policy.EndpointName]time.Time   // when one that makes no reports was last silent for a while and then went on
}

// New binds the sockets and prepares the loops; nothing is read before Run.
func New(cfg Config, r Routing) (*Server, error) {
	if cfg.Media == nil {
		return nil, errors.New("sip: no media relay")
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	if cfg.Loops <= 0 {
		cfg.Loops = runtime.GOMAXPROCS(0)
	}
	if cfg.Loops > maxLoops {
		cfg.Loops = maxLoops
	}
	s := &Server{cfg: cfg, log: cfg.Log, born: time.Now(), gate: newGate(), shared: shared{out: map[string]int{}, options: map[policy.EndpointName]bool{}, byeTimes: map[policy.EndpointName][]time.Time{}, paused: map[policy.EndpointName]time.Time{}}}
	look := cfg.DNS.look
	if cfg.Resolve != nil {
		look = plainLook(cfg.Resolve)
	}
	s.names = newResolver(look, cfg.Names, cfg.Log, s.resolved)
	compiled, err := s.compile(r)
	if err != nil {
		return nil, err
	}
	s.shared.slots = policy.NewSlots(policyEndpoints(r.Endpoints))
	s.shared.pace, s.shared.held = policy.NewPace(), map[policy.Place]*attempt{}
	s.routing.Store(compiled)
	s.prepareHearing(r)
	s.names.want(compiled)
	s.resolved()
	now := time.Now()
	for n := range cfg.Loops {
		s.loops = append(s.loops, newLoop(s, n, s.seed(uint64(n))))
	}
	s.loops[0].watch(now, compiled)
	stack, err := wire.Open(wire.Config{
		Listen: cfg.Listen, Network: cfg.Network, Accept: s.accept, Guest: s.isGuest,
		TLS: wire.ServerTLS{Config: s.serverTLS, Name: s.peerName, Failed: s.handshakeFailed},
	}, s)
	if err != nil {
		return nil, err
	}
	s.stack = stack
	s.listen = stack.Listeners()
	return s, nil
}

// seed makes the randomness of one loop.
func (s *Server) seed(n uint64) *rand.Rand {
	var key [32]byte
	if s.cfg.Seed == 0 {
		if _, err := crand.Read(key[:]); err != nil {
			panic("sip: no randomness: " + err.Error()) // tags must not be guessable; crypto/rand does not fail on Linux
		}
	} else {
		binary.LittleEndian.PutUint64(key[:], s.cfg.Seed)
		binary.LittleEndian.PutUint64(key[8:], n)
	}
	return rand.New(rand.NewChaCha8(key))
}

// Run serves until ctx ends. The loops, the sockets' readers and the resolver end with it.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, l := range s.loops {
		wg.Add(1)
		go func() { defer wg.Done(); l.run(ctx) }() // ends with ctx
	}
	wg.Add(1)
	go func() { defer wg.Done(); s.names.run(ctx) }() // ends with ctx
	err := s.stack.Run(ctx)
	cancel()
	wg.Wait()
	return err
}

// Swap takes a new routing for new calls. Calls in progress keep the plan they have; verdicts and holds survive (R3).
func (s *Server) Swap(r Routing) error {
	compiled, err := s.compile(r)
	if err != nil {
		return err
	}
	s.shared.mu.Lock()
	s.shared.slots.Reconfigure(policyEndpoints(r.Endpoints))
	s.shared.mu.Unlock()
	s.routing.Store(compiled)
	s.prepareHearing(r)
	s.names.want(compiled)
	s.resolved()
	s.loops[0].post(func(now time.Time) { s.loops[0].rewatch(now, compiled) })
	return nil
}

// Drain stops answering OPTIONS, so that carriers send new calls elsewhere; calls that come all the same are still taken (R19).
func (s *Server) Drain() { s.draining.Store(true) }

// Listeners gives the concrete sockets.
func (s *Server) Listeners() []wire.Listen { return s.stack.Listeners() }

// Packets implements wire.Sink: each message goes to the loop that owns it.
func (s *Server) Packets(batch []wire.Packet) {
	if len(s.loops) == 1 {
		s.loops[0].packets(batch)
		return
	}
	for i := range batch {
		l := s.loops[s.owner(batch[i].Data)]
		l.packets(batch[i : i+1])
	}
}

// ICMP implements wire.Sink.
func (s *Server) ICMP(e wire.ICMP) {
	s.count.icmp.Add(1)
	if p, ok := wire.Peek(e.Quote); ok && len(p.Branch) > 0 {
		if tok, ok := parseToken(branchToken(p.Branch)); ok && tok.loop < len(s.loops) {
			branch := string(p.Branch)
			l := s.loops[tok.loop]
			l.post(func(now time.Time) { l.icmp(now, branch, e) })
		}
	}
}

// Closed implements wire.Sink: a stream connection ended.
func (s *Server) Closed(f wire.Flow, err error) {
	for _, l := range s.loops {
		l.post(func(now time.Time) { l.closed(now, f, err) })
	}
}

// owner finds the loop a message belongs to.
func (s *Server) owner(data []byte) int {
	p, ok := wire.Peek(data)
	if !ok {
		return 0
	}
	if len(p.Method) == 0 { // a response: its topmost branch is ours
		if tok, ok := parseToken(branchToken(p.Branch)); ok && tok.loop < len(s.loops) {
			return tok.loop
		}
		return 0
	}
	if len(p.ToTag) > 0 {
		if tok, ok := parseToken(p.ToTag); ok && tok.loop < len(s.loops) {
			return tok.loop
		}
	}
	h := uint32(2166136261) // FNV-1a over branch and sent-by: an INVITE and its CANCEL share both
	for _, b := range p.Branch {
		h = (h ^ uint32(b)) * 16777619
	}
	for _, b := range p.Host {
		h = (h ^ uint32(b)) * 16777619
	}
	if len(p.Branch) == 0 {
		for _, b := range p.CallID {
			h = (h ^ uint32(b)) * 16777619
		}
	}
	return int(h % uint32(len(s.loops)))
}

// resolved rebuilds the set of hosts whose messages are read.
func (s *Server) resolved() {
	r := s.routing.Load()
	if r == nil {
		return
	}
	set := &hostSet{hosts: map[netip.Addr]bool{}, partners: map[netip.Addr]bool{}}
	for i := range r.Trunks {
		set.nets = append(set.nets, r.Trunks[i].From...)
	}
	for i := range r.Endpoints {
		for _, h := range s.names.targets(r.byName[r.Endpoints[i].Name], nil) {
			set.hosts[h.addr.Addr()] = true
			if r.Endpoints[i].Partner {
				set.partners[h.addr.Addr()] = true
			}
		}
	}
	s.known.Store(set)
}

type hostSet struct {
	nets     []netip.Prefix
	hosts    map[netip.Addr]bool
	partners map[netip.Addr]bool // of the hosts
}

func (h *hostSet) has(a netip.Addr) bool {
	if h.hosts[a] {
		return true
	}
	for _, n := range h.nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// routing is a Routing made ready.
type routing struct {
	Routing
	policy *policy.Policy
	sheds  bool // a route of it does
	byName map[policy.EndpointName]*endpoint
	tls    tlsConfigs
}

// endpoint is an Endpoint with its URI taken apart.
type endpoint struct {
	Endpoint
	uri   wire.URI
	proto wire.Proto // as its URI says; DNS may know better
	host  string
	ip    netip.Addr // of a host that is no name
	asks  question   // of one that is
	port  uint16
	tls   *tls.Config // to its host
}

func (s *Server) compile(r Routing) (*routing, error) {
	c := &routing{Routing: r, byName: make(map[policy.EndpointName]*endpoint, len(r.Endpoints)), tls: s.compileTLS(r.TLS)}
	pc := policy.Config{Endpoints: policyEndpoints(r.Endpoints), Routes: r.Routes}
	for _, t := range r.Trunks {
		pc.Trunks = append(pc.Trunks, t.Trunk)
	}
	for _, e := range r.Endpoints {
		u, ok := wire.ParseURI(e.URI)
		if !ok {
			return nil, fmt.Errorf("endpoint %s: %q is no URI", e.Name, e.URI)
		}
		ep := &endpoint{Endpoint: e, uri: u, host: u.Host, port: u.Port, proto: wire.UDP}
		ep.ip, _ = netip.ParseAddr(u.Host)
		ep.ip = ep.ip.Unmap()
		ep.asks = question{host: key(u.Host), port: u.Port, proto: u.Transport(), sips: u.Scheme == "sips"}
		if t := u.Transport(); t != 0 {
			ep.proto = t
		}
		if ep.port == 0 {
			ep.port = 5060
			if ep.proto == wire.TLS {
				ep.port = 5061
			}
		}
		ep.tls = s.clientTLS(r.TLS, ep.host)
		c.byName[e.Name] = ep
	}
	c.policy = policy.New(pc)
	c.sheds = slices.ContainsFunc(r.Routes, func(rt policy.Route) bool { return rt.Shed != nil })
	return c, nil
}

func policyEndpoints(es []Endpoint) []policy.Endpoint {
	out := make([]policy.Endpoint, len(es))
	for i, e := range es {
		out[i] = e.Endpoint
	}
	return out
}

// mediaGap is health.media_gap.
func (r *routing) mediaGap() time.Duration {
	if r.MediaGap <= 0 {
		return 2 * time.Second
	}
	return r.MediaGap
}

// trunk finds who a source address is; the longest prefix wins.
func (r *routing) trunk(a netip.Addr) *Trunk {
	a = a.Unmap()
	var best *Trunk
	bits := -1
	for i := range r.Trunks {
		for _, n := range r.Trunks[i].From {
			if n.Bits() > bits && n.Contains(a) {
				best, bits = &r.Trunks[i], n.Bits()
			}
		}
	}
	return best
}

// nobody is the Observer of a server that nobody watches.
type nobody struct{}

func (nobody) CallBegan(policy.TrunkName, policy.RouteName)                                    {}
func (nobody) CallAnswered(policy.RouteName, policy.Class, policy.EndpointName, time.Duration) {}
func (nobody) CallFailed(policy.RouteName, policy.Class, int)                                  {}
func (nobody) CallOver(policy.TrunkName, policy.RouteName, bool)                               {}
func (nobody) Rescued(policy.RouteName, policy.Class, policy.EndpointName, time.Duration)      {}
func (nobody) Attempted(policy.EndpointName, string)                                           {}
func (nobody) Probed(health.Probe)                                                             {}
func (nobody) Heard(policy.TrunkName)                                                          {}
func (nobody) Noticed(health.Notice)                                                           {}
func (nobody) Announced(policy.RouteName, policy.AnnouncementName, bool, time.Duration)        {}
func (nobody) Shed(policy.RouteName, bool)                                                     {}
func (nobody) Recorded(Record)                                                                 {}
