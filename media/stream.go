package media

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// relockAfter is the silence after which a source may move within Remote.From.
const relockAfter = 200 * time.Millisecond

// stream is one call's use of one port pair. It is never used for a second call: a packet that was on its way through an old stream when its
// call ended can only meet streams of that call, whatever its ports do by then.
type stream struct {
	pair   *pair
	remote Remote                 // as last expected; Relay.mu guards it
	halves [2]half                // RTP and RTCP
	mux    atomic.Bool            // RTCP to the far end goes to its RTP address, from our RTP port
	out    atomic.Pointer[stream] // where accepted packets leave; nil while not joined

	playing atomic.Pointer[Playing]  // what its far end hears; nil: what is relayed
	played  playSource               // of what was played to it
	keys    atomic.Pointer[listener] // who listens for its key presses; nil: nobody
}

// half is the RTP or the RTCP part of a stream.
type half struct {
	peer  atomic.Pointer[peer] // nil: nothing is accepted and nothing is sent
	was   [2]leftover          // who sent to the port in the call before, and between that and this one
	mu    sync.Mutex           // guards tally; held for nanoseconds
	tally tally
}

// leftover is a far end that does not know that its call is over, because our BYE was lost, and goes on sending to a port that serves another call by
// now. It is told from a far end that has moved by its SSRC: to take one for the other would let two strangers hear each other.
type leftover struct {
	at   netip.AddrPort // zero: nobody
	ssrc uint32
}

// sent says whether a packet is the leftover's.
func (l leftover) sent(src netip.AddrPort, packet []byte) bool {
	if src != l.at || len(packet) < headerLen || packet[0]>>6 != rtpVersion {
		return false
	}
	at := 8
	if isRTCP(packet) {
		at = 4
	}
	return binary.BigEndian.Uint32(packet[at:]) == l.ssrc
}

// stray notes who sends to a port that serves no call: nobody was told of it, so it is a leftover of an earlier one. Only the packet loop calls it.
func (p *port) stray(src netip.AddrPort, packet []byte) {
	if len(packet) < headerLen || packet[0]>>6 != rtpVersion {
		return
	}
	if last := p.strayed.Load(); last != nil && last.sent(src, packet) {
		return
	}
	at := 8
	if isRTCP(packet) {
		at = 4
	}
	p.strayed.Store(&leftover{src, binary.BigEndian.Uint32(packet[at:])})
}

// peer is a far end. It never changes: a new answer or a lock puts another in its place.
type peer struct {
	at    netip.AddrPort // where packets go and, unless it may move, the only source they come from
	told  netip.AddrPort // the negotiated address: who comes from there is the right one, whatever a symmetric far end was locked to
	dest  sockaddr       // at, as the kernel wants it
	free  bool           // Symmetric and nobody has come yet: any port of this host
	from  []netip.Prefix // networks it may move to
	host  netip.Addr     // the negotiated host, always part of from
	since time.Duration  // when it was expected or locked
	clock uint32
}

// newStream gives the ports of a pair to a call.
func newStream(p *pair) *stream {
	st := &stream{pair: p}
	for i := range p.ports {
		st.halves[i].was[0] = p.ports[i].was
		if stray := p.ports[i].strayed.Load(); stray != nil {
			st.halves[i].was[1] = *stray
		}
		p.ports[i].stream.Store(st)
	}
	return st
}

// part takes the ports away again: nothing is accepted any more and nothing sent.
func (st *stream) part() {
	source := st.halves[rtp].read()
	for i := range st.halves {
		if p := st.halves[i].peer.Load(); p != nil && source.known {
			st.pair.ports[i].was = leftover{p.at, source.ssrc}
		}
		st.halves[i].peer.Store(nil)
		st.pair.ports[i].stream.Store(nil)
	}
	st.out.Store(nil)
	st.keys.Store(nil)
	if p := st.playing.Load(); p != nil {
		p.end(Released)
	}
}

// expect puts a new far end in place, unless it is the old one.
func (st *stream) expect(to Remote, now time.Duration) {
	to.RTP, to.RTCP = plain(to.RTP), plain(to.RTCP)
	if to.Mux {
		to.RTCP = to.RTP
	}
	old := st.remote
	st.remote = to
	st.remote.From = slices.Clone(to.From)
	st.mux.Store(to.Mux)
	same := old.Symmetric == to.Symmetric && old.Clock == to.Clock && slices.Equal(old.From, to.From)
	for i, at := range [2]netip.AddrPort{to.RTP, to.RTCP} {
		was := [2]netip.AddrPort{old.RTP, old.RTCP}[i]
		if same && was == at {
			continue
		}
		if !at.IsValid() {
			st.halves[i].peer.Store(nil)
			continue
		}
		st.halves[i].peer.Store(&peer{
			at: at, told: at, dest: destination(at), free: to.Symmetric, from: st.remote.From, host: at.Addr(), since: now, clock: to.Clock,
		})
	}
}

// plain makes an address comparable with the source of a packet; one that nothing can be sent to becomes the zero value.
func plain(a netip.AddrPort) netip.AddrPort {
	addr := a.Addr().Unmap()
	if !addr.IsValid() || addr.IsUnspecified() || a.Port() == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, a.Port())
}

// accept says whether a packet from src belongs to this half, and remembers a source that may move.
// Only the packet loop calls it, with the half's lock held.
func (h *half) accept(src netip.AddrPort, packet []byte, now time.Duration) bool {
	p := h.peer.Load()
	switch {
	case p == nil:
		return false
	case src == p.at:
		if p.free {
			return h.lock(p, src, now)
		}
		return true
	case src == p.told && len(p.from) == 0:
		return h.lock(p, src, now)
	case h.was[0].sent(src, packet), h.was[1].sent(src, packet):
		return false
	case p.free && src.Addr() == p.host:
		return h.lock(p, src, now)
	case len(p.from) > 0 && now-max(p.since, h.tally.last) >= relockAfter && p.allows(src.Addr()):
		return h.lock(p, src, now)
	}
	return false
}

// lock makes src the only source. It fails if a new answer came in between: the next packet is judged by that.
func (h *half) lock(old *peer, src netip.AddrPort, now time.Duration) bool {
	p := *old
	p.at, p.dest, p.free, p.since = src, destination(src), false, now
	return h.peer.CompareAndSwap(old, &p)
}

// allows says whether a source may move to this address.
func (p *peer) allows(addr netip.Addr) bool {
	if addr == p.host {
		return true
	}
	for _, net := range p.from {
		if net.Contains(addr) {
			return true
		}
	}
	return false
}

// arrived judges a packet that came to a port and counts it. It returns where it leaves, or nil when it is dropped.
// Only the packet loop calls it.
func (r *Relay) arrived(p *port, src netip.AddrPort, packet []byte, now time.Duration) (*port, *peer, *half) {
	st := p.stream.Load()
	if st == nil {
		p.stray(src, packet)
		r.counts.foreign.Add(1)
		return nil, nil, nil
	}
	control := p.kind == rtcp || st.mux.Load() && isRTCP(packet)
	h := &st.halves[p.kind]
	h.mu.Lock()
	if !h.accept(src, packet, now) {
		h.tally.foreign++
		h.mu.Unlock()
		r.counts.foreign.Add(1)
		return nil, nil, nil
	}
	if control {
		h.tally.control(packet, now)
	} else {
		h.tally.packet(packet, now, h.peer.Load())
	}
	h.mu.Unlock()
	if l := st.keys.Load(); l != nil && !control {
		l.hear(packet, now)
	}

	out := st.out.Load()
	if out == nil {
		r.counts.noPeer.Add(1)
		return nil, nil, nil
	}
	if !control && out.mutes() {
		r.counts.muted.Add(1)
		return nil, nil, nil
	}
	kind := rtp
	if control && !out.mux.Load() {
		kind = rtcp
	}
	to := out.halves[kind].peer.Load()
	if to == nil {
		r.counts.noPeer.Add(1)
		return nil, nil, nil
	}
	return &out.pair.ports[kind], to, &out.halves[kind]
}

// sent counts a packet that left through h.
func (r *Relay) sent(h *half, n int) {
	h.wrote()
	r.counts.packets.Add(1)
	r.counts.bytes.Add(uint64(n))
}

// wrote counts a packet that was sent to the far end.
func (h *half) wrote() {
	h.mu.Lock()
	h.tally.sent++
	h.mu.Unlock()
}

// refused counts an ICMP error that came back to a port for a packet sent to whom; an invalid address means unknown.
func (r *Relay) refused(p *port, whom netip.AddrPort, err error, now time.Duration) {
	r.counts.icmp.Add(1)
	st := p.stream.Load()
	if st == nil {
		return
	}
	h := &st.halves[p.kind]
	if to := h.peer.Load(); to == nil || whom.IsValid() && whom != to.at {
		return // for a packet of an earlier far end: no witness against this one
	}
	h.mu.Lock()
	h.tally.icmp++
	h.tally.icmpErr = err
	h.tally.lastICMP = now
	h.mu.Unlock()
}

// stats puts both halves together.
func (st *stream) stats(r *Relay) StreamStats {
	a, c := st.halves[rtp].read(), st.halves[rtcp].read()
	s := StreamStats{
		Packets: a.packets, Bytes: a.bytes, RTCP: a.controls + c.controls,
		Lost: a.allLost(), Jitter: a.jitterTime(), SSRC: a.ssrc,
		Foreign: a.foreign + c.foreign, Sent: a.sent + c.sent, ICMP: a.icmp + c.icmp,
		First: r.at(earlier(a.first, c.first)), Last: r.at(max(a.last, c.last)), LastRTP: r.at(a.lastRTP),
		ICMPErr: a.icmpErr, LastICMP: r.at(max(a.lastICMP, c.lastICMP)),
	}
	s.Claims, s.Blocks, s.Hears = c.claims, c.blocks, c.hears
	if c.controls == 0 { // rtcp-mux
		s.Claims, s.Blocks, s.Hears = a.claims, a.blocks, a.hears
	}
	if c.lastICMP > a.lastICMP {
		s.ICMPErr = c.icmpErr
	}
	if p := st.halves[rtp].peer.Load(); p != nil {
		s.Source = p.at
	}
	return s
}

// latest is when the half was last heard, and when an ICMP error last came.
func (h *half) latest() (packet, icmp time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tally.last, h.tally.lastICMP
}

// read copies the tally.
func (h *half) read() tally {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tally
}

// earlier is the smaller of two times of which zero means never.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
