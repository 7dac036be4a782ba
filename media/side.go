package media

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Side is one leg's media: a port pair for each stream of its session description, all on one local address.
// Its methods may be called from any goroutine.
type Side struct {
	relay   *Relay
	pool    *pool
	streams []*stream // the n-th m= line; replaced whole when it grows
	mate    *Side     // the side it is joined with
	gone    bool
}

// Remote is the far end of one stream, as its session description says.
type Remote struct {
	RTP       netip.AddrPort // invalid, unspecified or port 0: nothing is sent there and nothing is accepted (hold, a refused stream)
	RTCP      netip.AddrPort // the same for RTCP; not used with Mux
	Mux       bool           // a=rtcp-mux was agreed: its RTCP comes from and goes to the RTP address
	Symmetric bool           // the first source from the same host is taken, and locked
	From      []netip.Prefix // networks the source may move to once 200 ms went by without a packet
	Clock     uint32         // RTP clock rate in Hz, for the jitter; 0 means 8000
}

// Reserve takes port pairs for a number of streams on a local address. It fails with [ErrNoPorts] when there are
// none. Streams beyond [MaxStreams] get no ports.
func (r *Relay) Reserve(addr netip.Addr, streams int) (*Side, error) {
	addr = addr.Unmap()
	i := slices.IndexFunc(r.pools, func(p *pool) bool { return p.addr == addr })
	if i < 0 {
		return nil, fmt.Errorf("reserve media ports: %s is no media address of ours", addr)
	}
	s := &Side{relay: r, pool: r.pools[i]}
	if err := s.Grow(streams); err != nil {
		return nil, err
	}
	return s, nil
}

// Grow adds port pairs until the side has that many streams, [MaxStreams] at most: a re-INVITE added m= lines. If it is joined, the new streams are joined too.
func (s *Side) Grow(streams int) error {
	streams = min(streams, MaxStreams)
	now := s.relay.now()
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	if s.gone || s.relay.ended {
		return fmt.Errorf("reserve media ports: %w", ErrClosed)
	}
	had := len(s.streams)
	grown := slices.Clone(s.streams)
	for len(grown) < streams {
		pair, err := s.pool.take(now)
		if err != nil {
			for _, st := range grown[had:] {
				st.part()
				s.pool.give(st.pair, now)
			}
			if !errors.Is(err, ErrNoPorts) { // out of file descriptors: to a call it is the same
				err = fmt.Errorf("%w: %w", ErrNoPorts, err)
			}
			return fmt.Errorf("reserve %d media streams: %w", streams, err)
		}
		grown = append(grown, newStream(pair))
	}
	s.streams = grown
	if s.mate != nil {
		wire(s, s.mate)
	}
	return nil
}

// Addr is the local address of its ports.
func (s *Side) Addr() netip.Addr { return s.pool.addr }

// Len is how many streams it has.
func (s *Side) Len() int {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	return len(s.streams)
}

// Local gives the local ports of stream i; zeros when it has no such stream.
func (s *Side) Local(i int) (rtpPort, rtcpPort uint16) {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	if i < 0 || i >= len(s.streams) {
		return 0, 0
	}
	pair := s.streams[i].pair
	return pair.ports[rtp].number, pair.ports[rtcp].number
}

// Expect says where packets of stream i go and the only source they are accepted from. It may be called again whenever the session description
// changes; the same words again change nothing, so that a source once locked stays locked through a session refresh.
func (s *Side) Expect(i int, to Remote) {
	now := s.relay.now()
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	if s.gone || i < 0 || i >= len(s.streams) {
		return
	}
	s.streams[i].expect(to, now)
}

// Join pairs two sides: what arrives at stream i of one leaves from stream i of the other. Earlier joins of either are replaced.
// A packet goes either to the old or to the new place, never to both and never to none.
func (r *Relay) Join(a, b *Side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.gone || b.gone || a == b {
		return
	}
	if a.mate != b {
		former, other := a.mate, b.mate
		a.mate, b.mate = b, a
		for _, f := range []*Side{former, other} {
			if f != nil {
				f.mate = nil
				for _, st := range f.streams {
					st.out.Store(nil)
				}
			}
		}
	}
	wire(a, b)
}

// wire points every stream of two sides at its counterpart, and what has none at nothing.
func wire(a, b *Side) {
	for i, st := range a.streams {
		if i < len(b.streams) {
			st.out.Store(b.streams[i])
			b.streams[i].out.Store(st)
		} else {
			st.out.Store(nil)
		}
	}
	for _, st := range b.streams[min(len(a.streams), len(b.streams)):] {
		st.out.Store(nil)
	}
}

// Part ends the join of a side, both ways. Packets of either are then accepted and dropped.
func (r *Relay) Part(s *Side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.part()
}

func (s *Side) part() {
	if s.mate == nil {
		return
	}
	for _, st := range s.mate.streams {
		st.out.Store(nil)
	}
	for _, st := range s.streams {
		st.out.Store(nil)
	}
	s.mate.mate = nil
	s.mate = nil
}

// Release parts the side and gives its ports back; they rest for [Quarantine]. Its counters can still be read. Releasing twice does no harm.
func (s *Side) Release() {
	now := s.relay.now()
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	if s.gone {
		return
	}
	s.gone = true
	s.part()
	for _, st := range s.streams {
		st.part()
		s.pool.give(st.pair, now)
	}
}

// StreamStats is what was seen from the far end of one stream. All times are zero for never.
type StreamStats struct {
	Packets  uint64         // accepted at the RTP port, RTCP not counted
	Bytes    uint64         // their payload
	RTCP     uint64         // RTCP packets accepted, on either port
	Claims   uint32         // RTP packets that it says it has sent: its latest sender report (RFC 3550 §6.4.1); no sense where RTCP is encrypted
	Blocks   uint64         // of its RTCP packets those that say what it hears
	Hears    uint32         // a number of the latest of them that moves for as long as it hears anything
	Lost     uint64         // RTP packets missing, RFC 3550 A.3, over all sources
	Jitter   time.Duration  // RFC 3550 A.8, of the current source
	SSRC     uint32         // the current source
	Foreign  uint64         // dropped: not from the negotiated source
	Sent     uint64         // packets sent to it
	ICMP     uint64         // ICMP errors in answer to packets sent to it
	ICMPErr  error          // the last of them: an errno such as ECONNREFUSED
	First    time.Time      // the first packet accepted, RTP or RTCP
	Last     time.Time      // the last packet accepted, RTP or RTCP: silence is now minus Last
	LastRTP  time.Time      // the last RTP packet accepted
	LastICMP time.Time      // the last ICMP error
	Source   netip.AddrPort // where its RTP is sent to and accepted from now, after any lock
}

// Last is when its far end was last heard on any stream, RTP or RTCP, and when an ICMP error last came back from it; zero: never. It costs a fraction of
// what Stats does.
func (s *Side) Last() (packet, icmp time.Time) {
	s.relay.mu.Lock()
	streams := s.streams
	s.relay.mu.Unlock()
	var p, e time.Duration
	for _, st := range streams {
		for i := range st.halves {
			last, lastICMP := st.halves[i].latest()
			p, e = max(p, last), max(e, lastICMP)
		}
	}
	return s.relay.at(p), s.relay.at(e)
}

// Stats appends what was seen of each stream to dst. It stays readable after [Side.Release].
func (s *Side) Stats(dst []StreamStats) []StreamStats {
	s.relay.mu.Lock()
	streams := s.streams
	s.relay.mu.Unlock()
	for _, st := range streams {
		dst = append(dst, st.stats(s.relay))
	}
	return dst
}
