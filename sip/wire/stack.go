package wire

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Listen is an address to bind. A wildcard address is expanded to one socket per local address of its family, so that answers leave from where
// they were asked.
type Listen struct {
	Proto Proto
	Addr  netip.AddrPort
}

// Config says what to bind and what to bear. Zero limits mean the defaults.
type Config struct {
	Listen  []Listen
	Network Network // nil is the kernel

	// Accept is asked before anything else is done with a datagram or, with nil data, a new connection; nil accepts everybody. It runs on
	// reader goroutines and must be cheap and safe for concurrent use.
	Accept func(src netip.AddrPort, proto Proto, data []byte) bool

	MaxStreams          int           // accepted connections at one time; 1,024
	MaxStreamsPerSource int           // of them from one IPv4 address or IPv6 /64; 64
	IdleStream          time.Duration // a connection on which nothing came or went is closed after this; 10 min
	SlowMessage         time.Duration // one message on a stream may take this long to arrive; 10 s
	StuckStream         time.Duration // a connection whose peer takes nothing is closed after this; 5 s
	StreamQueue         int           // bytes that may wait to be written to one connection; 1 MB
}

// Why a stream was closed by us.
var (
	ErrIdle    = errors.New("idle too long")
	ErrSlow    = errors.New("message took too long to arrive")
	ErrStuck   = errors.New("peer takes nothing")
	ErrGarbage = errors.New("not SIP, or no end to be found")
)

// Counters is a snapshot of what happened since Open.
type Counters struct {
	Received        uint64 // messages handed to the sink
	Sent            uint64 // messages given to the kernel
	NotAccepted     uint64 // datagrams and connections turned away by Accept
	Garbage         uint64 // datagrams without a SIP start line, connections closed for the same
	TooLarge        uint64 // messages over 65,535 bytes or 1,000 header lines
	KeepAlives      uint64 // CRLF, NUL and other empty datagrams; CRLF CRLF on streams
	KernelDrops     uint64 // datagrams the kernel threw away because a receive buffer was full
	StreamsRefused  uint64 // connections over MaxStreams or MaxStreamsPerSource
	StreamsSlow     uint64 // connections closed because a message took too long
	StreamsIdle     uint64 // connections closed for silence
	StreamsStuck    uint64 // connections closed because the peer takes nothing
	StreamOverflow  uint64 // messages not sent because the connection's queue was full
	NoStream        uint64 // messages not sent because the connection is gone
	SendErrors      uint64 // messages the kernel refused twice, or had no room for
	ICMP            uint64 // ICMP errors for datagrams of ours
	StreamsAccepted uint64
	StreamsDialled  uint64
	Streams         uint64 // open now
}

// Stack is the open sockets of a node.
type Stack struct{}

var errUnfinished = errors.New("not built yet")

// Open binds everything, or nothing and says why. Nothing is read until Run.
func Open(cfg Config, sink Sink) (*Stack, error) { return nil, errUnfinished }

// Run reads until ctx ends, then closes all sockets and returns when the last reader has stopped.
func (s *Stack) Run(ctx context.Context) error { return errUnfinished }

// Close closes a stack that will not be Run; after Run it does nothing.
func (s *Stack) Close() error { return nil }

// Send gives the messages to the kernel, in order per flow. It does not block and never calls the sink: what fails is reported as ICMP or Closed
// by another goroutine.
func (s *Stack) Send(batch []Out) {}

// Connect finds or makes a connection to remote. A live connection is used again, one that is being dialled is shared. The zero local lets the
// routing table choose, limit 0 means 10 s. done is called once, from another goroutine, before anything of that connection reaches the sink
// as Closed.
func (s *Stack) Connect(proto Proto, local netip.Addr, remote netip.AddrPort, limit time.Duration, done func(Flow, error)) {
}

// UDPFlow gives the flow on which a datagram to remote would leave; false when we listen on no UDP socket of its family.
func (s *Stack) UDPFlow(remote netip.AddrPort) (Flow, bool) { return Flow{}, false }

// Listeners lists the sockets after expansion of wildcards and port 0, in the order of the configuration.
func (s *Stack) Listeners() []Listen { return nil }

// Counters tells what happened since Open.
func (s *Stack) Counters() Counters { return Counters{} }
