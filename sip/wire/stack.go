package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Listen is an address to bind. A wildcard address is expanded to one socket per local address of its family, so that answers leave from where
// they were asked; link-local IPv6 addresses are left out of that, they have to be listed.
type Listen struct {
	Proto Proto
	Addr  netip.AddrPort
	Side  string // of a machine with several networks: what is sent to one of a side leaves from that side's sockets; empty: there is one
}

// Config says what to bind and what to bear. Zero limits mean the defaults.
type Config struct {
	Listen  []Listen
	Network Network // nil is the kernel
	TLS     ServerTLS

	// Accept is asked before anything else is done with a datagram or, with nil data, a new connection; nil accepts everybody. It runs on
	// reader goroutines and must be cheap and safe for concurrent use. The data are the reader's: they must not be kept.
	Accept func(src netip.AddrPort, proto Proto, data []byte) bool

	// Guest is asked of a connection that Accept let in: true for one from nobody who is known. It gets one of the places for guests, and Accept is asked
	// again for each of its messages. Nil: there are none.
	Guest func(src netip.AddrPort) bool

	MaxStreams          int           // accepted connections at one time, without guests; 1,024
	MaxStreamsPerSource int           // of them from one IPv4 address or IPv6 /64; 64
	MaxGuests           int           // 64
	MaxGuestsPerSource  int           // 8
	IdleStream          time.Duration // a connection on which nothing came or went is closed after this; 10 min
	SlowHandshake       time.Duration // a TLS handshake of one who connects may take this long; 5 s
	SlowMessage         time.Duration // one message on a stream may take this long to arrive; 10 s
	StuckStream         time.Duration // a connection whose peer takes nothing is closed after this; 5 s
	StreamQueue         int           // bytes that may wait to be written to one connection; 1 MB
}

func (c *Config) setDefaults() {
	if c.Accept == nil {
		c.Accept = func(netip.AddrPort, Proto, []byte) bool { return true }
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = 1024
	}
	if c.MaxStreamsPerSource == 0 {
		c.MaxStreamsPerSource = 64
	}
	if c.MaxGuests == 0 {
		c.MaxGuests = 64
	}
	if c.MaxGuestsPerSource == 0 {
		c.MaxGuestsPerSource = 8
	}
	if c.IdleStream == 0 {
		c.IdleStream = 10 * time.Minute
	}
	if c.SlowHandshake == 0 {
		c.SlowHandshake = 5 * time.Second
	}
	if c.SlowMessage == 0 {
		c.SlowMessage = 10 * time.Second
	}
	if c.StuckStream == 0 {
		c.StuckStream = 5 * time.Second
	}
	if c.StreamQueue == 0 {
		c.StreamQueue = 1 << 20
	}
}

// Why a stream was closed by us; [ErrTooLarge] is another reason.
var (
	ErrIdle    = errors.New("idle too long")
	ErrSlow    = errors.New("message took too long to arrive")
	ErrStuck   = errors.New("peer takes nothing")
	ErrGarbage = errors.New("not SIP, or no end to be found")
)

// maxBatch is how many messages are read or written in one call to the kernel, and handed to the sink at one time.
const maxBatch = 64

// Stack is the open sockets of a node.
type Stack struct {
	cfg    Config
	sink   Sink
	net    Network // never nil
	kernel bool    // net is the kernel's

	listens   []Listen // concrete
	udp       map[netip.AddrPort]socket
	listeners []listener
	routes    routes

	count  counters
	failed chan ICMP // what Send has to tell the sink, told by another goroutine
	groups sync.Pool // *group

	ctx    context.Context // ends when the stack closes; dials hang on it
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the stack

	mu        sync.RWMutex // guards what follows
	running   bool
	closed    bool
	lastConn  uint64
	streams   map[uint64]*stream
	peers     map[peer][]*stream
	dials     map[dialKey]*dial
	sources   map[netip.Addr]int // accepted connections by source
	accepted  int                // without guests
	guests    int
	greetings map[*greeting]struct{} // of guests
}

// listener is a bound TCP socket, and what is spoken on it.
type listener struct {
	net.Listener
	proto Proto
}

// socket is a bound UDP socket.
type socket interface {
	read()            // until close
	send(batch []Out) // all of them on this socket
	close()
	drops() uint64
}

// Open binds everything, or nothing and says why. Nothing is read until Run.
func Open(cfg Config, sink Sink) (*Stack, error) {
	cfg.setDefaults()
	s := &Stack{
		cfg:       cfg,
		sink:      sink,
		net:       cfg.Network,
		udp:       make(map[netip.AddrPort]socket),
		failed:    make(chan ICMP, 1024),
		streams:   make(map[uint64]*stream),
		peers:     make(map[peer][]*stream),
		dials:     make(map[dialKey]*dial),
		sources:   make(map[netip.Addr]int),
		greetings: make(map[*greeting]struct{}),
	}
	if s.net == nil {
		s.net, s.kernel = kernel{}, true
	}
	s.groups.New = func() any { return new(group) }
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.bindAll(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stack) bindAll() error {
	for _, l := range s.cfg.Listen {
		addrs := []netip.Addr{l.Addr.Addr().Unmap()}
		if addrs[0].IsUnspecified() {
			var err error
			if addrs, err = s.expand(addrs[0]); err != nil {
				return fmt.Errorf("listen %s %s: %w", l.Proto, l.Addr, err)
			}
		}
		for _, a := range addrs {
			l := Listen{Proto: l.Proto, Addr: netip.AddrPortFrom(a, l.Addr.Port()), Side: l.Side}
			if slices.Contains(s.listens, l) {
				continue // a wildcard beside one of its own addresses
			}
			if err := s.bind(l); err != nil {
				return fmt.Errorf("listen %s %s: %w", l.Proto, l.Addr, err)
			}
		}
	}
	if len(s.listens) == 0 {
		return errors.New("listen: no address")
	}
	return nil
}

// expand lists the local addresses of the wildcard's family. None is no error: a machine without IPv6 may be told to listen on [::].
func (s *Stack) expand(wildcard netip.Addr) ([]netip.Addr, error) {
	all, err := s.net.Addrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range all {
		a = a.Unmap()
		if a.Is4() == wildcard.Is4() && !a.IsLinkLocalUnicast() && !a.IsMulticast() && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs, nil
}

func (s *Stack) bind(l Listen) error {
	switch l.Proto {
	case UDP:
		conn, err := s.net.ListenPacket(l.Addr)
		if err != nil {
			return err
		}
		addr := addrPort(conn.LocalAddr())
		s.listens = append(s.listens, Listen{Proto: UDP, Addr: addr, Side: l.Side})
		s.udp[addr] = s.newSocket(conn, addr)
		return nil
	case TCP, TLS:
		ln, err := s.net.Listen(l.Addr)
		if err != nil {
			return err
		}
		s.listens = append(s.listens, Listen{Proto: l.Proto, Addr: addrPort(ln.Addr()), Side: l.Side})
		s.listeners = append(s.listeners, listener{ln, l.Proto})
		return nil
	}
	return fmt.Errorf("no such transport: %d", l.Proto)
}

// Run reads until ctx ends, then closes all sockets and returns when the last reader has stopped; every connection was reported Closed by then.
func (s *Stack) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.closed || s.running {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.running = true
	for _, u := range s.udp {
		s.wg.Go(u.read) // ended by close
	}
	for _, ln := range s.listeners {
		s.wg.Go(func() { s.accept(ln, ln.proto) }) // ended by close
	}
	s.wg.Go(s.tell) // ended by close
	s.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	return s.Close()
}

// Close closes the sockets of a stack, also of one that was never Run, and waits for its goroutines.
func (s *Stack) Close() error {
	s.mu.Lock()
	s.closed = true
	open := make([]*stream, 0, len(s.streams))
	for _, st := range s.streams {
		open = append(open, st)
	}
	s.mu.Unlock()
	s.cancel()
	for _, u := range s.udp {
		u.close()
	}
	var err error
	for _, ln := range s.listeners {
		if e := ln.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, fmt.Errorf("close %s: %w", ln.Addr(), e))
		}
	}
	for _, st := range open {
		st.fail(net.ErrClosed)
	}
	s.wg.Wait()
	return err
}

// tell hands to the sink what was found out on goroutines that are not ours to block.
func (s *Stack) tell() {
	for {
		select {
		case i := <-s.failed:
			s.sink.ICMP(i)
		case <-s.ctx.Done():
			return
		}
	}
}

// report queues an ICMP error for tell; when nobody takes them, they are dropped like ICMP itself.
func (s *Stack) report(i ICMP) {
	select {
	case s.failed <- i:
	default:
	}
}

// unsent reports a datagram that the kernel would not send.
func (s *Stack) unsent(out Out, err error) {
	s.count.sendErrors.Add(1)
	s.report(ICMP{Flow: out.Flow, Quote: out.Data[:min(len(out.Data), 512)], Err: err})
}

// group is the part of a batch that leaves on one socket.
type group struct {
	outs  []Out
	taken []bool
}

// Send gives the messages to the kernel, in order per flow. It may be called from any goroutine; it does not block and never calls the sink: what
// fails is reported as ICMP or Closed by another goroutine. A message for a connection that is gone is counted and dropped; its owner was told by
// Closed.
func (s *Stack) Send(batch []Out) {
	if len(batch) == 1 {
		s.sendOn(batch[0].Flow, batch)
		return
	}
	g := s.groups.Get().(*group)
	g.taken = append(g.taken[:0], make([]bool, len(batch))...)
	for i := range batch {
		if g.taken[i] {
			continue
		}
		f := batch[i].Flow
		g.outs = g.outs[:0]
		for j := i; j < len(batch); j++ {
			if o := &batch[j]; !g.taken[j] && o.Flow.Proto == f.Proto && o.Flow.Conn == f.Conn && o.Flow.Local == f.Local {
				g.outs = append(g.outs, *o)
				g.taken[j] = true
			}
		}
		s.sendOn(f, g.outs)
	}
	clear(g.outs)
	s.groups.Put(g)
}

func (s *Stack) sendOn(f Flow, outs []Out) {
	if f.Proto == UDP {
		if u, ok := s.udp[f.Local]; ok {
			u.send(outs)
			return
		}
	} else {
		s.mu.RLock()
		st := s.streams[f.Conn]
		s.mu.RUnlock()
		if st != nil {
			st.send(outs)
			return
		}
	}
	s.count.noFlow.Add(uint64(len(outs)))
}

// Listeners lists the sockets after expansion of wildcards and port 0, in the order of the configuration.
func (s *Stack) Listeners() []Listen { return slices.Clone(s.listens) }

// addrPort reads an address of package net, or of a network in memory.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	case nil:
	default:
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
