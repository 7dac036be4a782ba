// Package media relays the packets of a call between two sides, byte for byte, and says what it saw.
//
// It decides three things about a packet and nothing else: whose it is (the port it came to), whether its source is the one that was negotiated,
// and where it leaves. It never looks into a payload except to count, or for a key that somebody waits for: RTP, RTCP, SRTP, T.140, UDPTL or anything else passes as whole datagrams.
// It knows no SIP and no call; media/sdp edits the session descriptions that name its ports.
//
// # How to drive it
//
// [Open] binds ports ahead of need, [Relay.Run] moves packets until its context ends. For each leg the driver takes a [Side] with
// [Relay.Reserve], tells each stream's far end with [Side.Expect] (again after each new answer) and pairs two sides with [Relay.Join]; joining
// the caller's side with another one re-aims the call and loses no packet. [Side.Release] gives the ports back. All of these may be called from
// any goroutine while packets flow; none of them waits for the packet loop and the packet loop never waits for them.
//
// # What callers hear from us
//
// [Side.Play] sends recordings to a side's far end, joined or not: to answer a caller ourselves takes Reserve, Expect and Play. Meanwhile what is
// relayed there is dropped, unless it is asked for, and the other direction goes on. [Side.Keys] listens for key presses from the far end. One goroutine
// sends for everybody, beside the packet loop; recordings and codecs are media/voice's.
//
// # Sources
//
// A packet is accepted from the negotiated address and port only. [Remote.Symmetric] and [Remote.From] widen that on purpose. Everything else
// is foreign: counted for its stream and dropped (R29: no RTPbleed, no injection). That includes RTP that arrives before the answer is known.
//
// # How packets move
//
// On the kernel's sockets one goroutine waits in one epoll and reads, judges and sends one packet at a time; no packet costs memory. Port pairs
// are bound ahead and stay bound, so that a call's set-up costs only one read per port, to empty it. Each port is an unconnected socket, because
// the kernel drops what is foreign to a connected one before anybody can count it (and answers with ICMP, which a peer may take for our death).
// A port that has sent for a second gets a second socket on the same address, connected to the far end, only to send: there it saves the route
// lookup. The source of every packet is compared in userspace, whichever socket it came to.
//
// Measured over loopback, CPU time of the thread: 4.7 µs to relay a packet through second sockets, 5.2 µs without (BenchmarkForward less
// its direct case); comparing the source is not measurable. Connecting a pooled socket and dissolving that costs 1.8 µs, opening a fresh one
// 12 to 14 µs, reading an empty one 0.4 µs: so a call whose four sockets were connected at set-up would pay 7 µs, and one with fresh sockets
// 50 µs; this one pays 1.6 µs.
//
// ICMP errors are read from the sockets' error queues (IP_RECVERR), where the kernel says whom they are about.
package media

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of a relay. They are compared with [errors.Is].
var (
	// ErrNoPorts: every port pair of that address is in use.
	ErrNoPorts = errors.New("no free media ports")
	// ErrClosed: the relay has ended, or the side was released.
	ErrClosed = errors.New("media is closed")
)

// MaxStreams is how many streams one side may have, so that one strange session description cannot take every port.
const MaxStreams = 32

// Quarantine is how long a released port rests before it serves another call, so that a packet still on its way to the old call finds nobody.
// Only where nothing else is free does a port serve earlier: a caller comes before a stray packet, which the source check stops anyway.
const Quarantine = 300 * time.Millisecond

// maxDatagram is one more than the longest UDP payload.
const maxDatagram = 1 << 16

// Network is where sockets come from when they don't come from the kernel. internal/town has one in memory.
type Network interface {
	// ListenPacket opens a UDP socket. ReadFrom may return an error that wraps an errno (an ICMP message came back); the socket stays usable.
	ListenPacket(addr netip.AddrPort) (net.PacketConn, error)
}

// Config says where a relay may open ports.
type Config struct {
	Addresses []netip.Addr    // local addresses, IPv4 and IPv6; at least one
	PortMin   uint16          // the first port of the range; 0 means 20000
	PortMax   uint16          // the last port of the range; 0 means 29999
	Spare     int             // port pairs per address that are opened ahead; 0 means 64 on the kernel's sockets and none on a Network
	Network   Network         // nil means the kernel's sockets and one epoll loop
	Random    func(n int) int // a number in [0, n) that picks ports; nil means math/rand/v2

	laneAfter int // 0 means the constant; tests want it sooner
}

// Relay owns the ports and moves the packets.
type Relay struct {
	cfg     Config
	start   time.Time
	engine  engine
	players *players

	mu    sync.Mutex // guards pools and the wiring of sides; never held on the packet path nor during a system call that can wait
	pools []*pool
	ended bool

	counts counters
}

// engine is how packets move: the kernel's sockets with one epoll loop, or a Network with a goroutine per socket.
type engine interface {
	open(p *port, addr netip.AddrPort) error                  // binds p; packets may flow at once
	shut(p *port)                                             // takes back an open, before the port was given to a call
	drain(p *port) int                                        // throws away what waits in p's socket and says how much that was
	released(pr *pair)                                        // its ports serve no call any more
	send(p *port, to *peer, b []byte, now time.Duration) bool // sends a packet of ours from p; from any goroutine while run runs
	run(ctx context.Context) error                            // moves packets until ctx ends
	close()                                                   // closes every socket; run has returned or was never called
}

// counters are a relay's totals.
type counters struct {
	packets, bytes, foreign, noPeer, muted, played, failed, icmp atomic.Uint64
}

// Totals is what a relay has done since it was opened.
type Totals struct {
	Packets uint64 // relayed
	Bytes   uint64 // relayed, payload only
	Foreign uint64 // dropped: not from the negotiated source, or to a port that serves no call
	NoPeer  uint64 // dropped: accepted, but the other side has no address yet or is on hold
	Muted   uint64 // dropped: accepted, but the other side is being played to
	Played  uint64 // sent by playbacks
	Failed  uint64 // dropped: the kernel would not send it
	ICMP    uint64 // ICMP errors that came back for packets we sent
	InUse   int    // port pairs that serve a call
	Free    int    // port pairs that could serve one, open or not, resting ones included
	Resting int    // port pairs in quarantine
	Sockets int    // open sockets
}

// Open binds the spare ports. It starts nothing: packets wait in their sockets until [Relay.Run].
func Open(cfg Config) (*Relay, error) {
	r, err := newRelay(cfg)
	if err != nil {
		return nil, err
	}
	for _, p := range r.pools {
		if err := p.openSpare(r.cfg.Spare); err != nil {
			r.engine.close()
			return nil, err
		}
	}
	return r, nil
}

// newRelay checks the configuration and makes a relay without ports.
func newRelay(cfg Config) (*Relay, error) {
	if cfg.PortMin == 0 {
		cfg.PortMin = 20000
	}
	if cfg.PortMax == 0 {
		cfg.PortMax = 29999
	}
	if len(cfg.Addresses) == 0 {
		return nil, errors.New("media needs an address")
	}
	if cfg.Spare == 0 && cfg.Network == nil {
		cfg.Spare = 64
	}
	if cfg.Random == nil {
		cfg.Random = randomly
	}
	r := &Relay{cfg: cfg, start: time.Now()}
	r.players = newPlayers(r)
	for i, addr := range cfg.Addresses {
		if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
			return nil, fmt.Errorf("media address %s: a call needs one that can be written into SDP", addr)
		}
		pool := newPool(r, i, addr.Unmap())
		if len(pool.unopened) == 0 {
			return nil, fmt.Errorf("media ports %d-%d: no even and odd pair in them", cfg.PortMin, cfg.PortMax)
		}
		r.pools = append(r.pools, pool)
	}
	if cfg.Network != nil {
		r.engine = newTown(r)
		return r, nil
	}
	loop, err := newLoop(r)
	if err != nil {
		return nil, fmt.Errorf("open media loop: %w", err)
	}
	r.engine = loop
	return r, nil
}

// Run moves packets until ctx ends, then closes every socket. It blocks; the caller starts the goroutine. It runs once.
func (r *Relay) Run(ctx context.Context) error {
	playing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var players sync.WaitGroup
	players.Go(func() { r.players.run(playing) }) // ended below
	err := r.engine.run(ctx)
	first := r.finish()
	stop()
	players.Wait() // before the sockets that it sends from are closed
	if first {
		r.engine.close()
	}
	return err
}

// Close gives every socket back. [Relay.Run] does it when its context ends; only a relay that never ran needs it.
func (r *Relay) Close() {
	if r.finish() {
		r.engine.close()
	}
}

// finish has nothing begin any more; it says false when that was so before.
func (r *Relay) finish() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended := r.ended
	r.ended = true
	return !ended
}

// Address gives the first local address of a family, IPv6 if six.
func (r *Relay) Address(six bool) (netip.Addr, bool) {
	for _, p := range r.pools {
		if p.addr.Is6() == six {
			return p.addr, true
		}
	}
	return netip.Addr{}, false
}

// Stats gives the totals.
func (r *Relay) Stats() Totals {
	t := Totals{
		Packets: r.counts.packets.Load(),
		Bytes:   r.counts.bytes.Load(),
		Foreign: r.counts.foreign.Load(),
		NoPeer:  r.counts.noPeer.Load(),
		Muted:   r.counts.muted.Load(),
		Played:  r.counts.played.Load(),
		Failed:  r.counts.failed.Load(),
		ICMP:    r.counts.icmp.Load(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pools {
		t.InUse += p.inUse
		t.Resting += p.resting.len()
		t.Free += len(p.ready) + p.resting.len() + len(p.unopened)
		t.Sockets += 2 * p.opened
	}
	return t
}

// now is the monotonic time since the relay was opened; never zero.
func (r *Relay) now() time.Duration { return time.Since(r.start) + 1 }

// at turns a time of the relay into one of the day; zero stays zero.
func (r *Relay) at(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return r.start.Add(d)
}
