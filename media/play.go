package media

import (
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nines/media/voice"
)

const (
	// playGrain is what the packets of all playbacks are aligned to, so that one wake-up serves many.
	playGrain = 2 * time.Millisecond
	// playStall is how late a packet may be and still be sent where it belongs. After a longer stall of ours the rest is put off instead: the
	// listener misses no word, and no burst is sent.
	playStall = 100 * time.Millisecond
	// playUnits are the RTP timestamp units of a millisecond, in all codecs that a tape is made in.
	playUnits = 8
)

// Playback says what the far end of a side shall hear. Tapes are heard one after the other, the whole sequence as often as Rounds says.
type Playback struct {
	Tapes   []*voice.Tape // at least one
	Gap     time.Duration // silence between two tapes of the sequence
	Rounds  int           // how often the sequence is heard; 0 means until it is stopped
	Pause   time.Duration // silence between two rounds
	Tail    time.Duration // silence after the last round, before the playback ends: the far end has yet to play what it was sent
	Fill    *voice.Tape   // heard in gaps and pauses, over and over; nil: nothing is sent then
	Codec   voice.Codec   // agreed in SDP
	Payload uint8         // its payload type in the far end's own session description
	Seal    *Seal         // encrypts the packets, as the far end was told; nil: nothing does
	Through bool          // relayed packets reach the far end as well; else they are counted and dropped while the playback lasts

	// Ended is told once how the playback ended, within 20 ms; nil: nobody. It is called by the goroutine that sends for everybody: it must
	// return at once and must not wait for a lock that is held while a Side's method is called.
	Ended func(Ending)
}

// Ending is how a playback ended.
type Ending struct {
	Why     End
	Rounds  int           // heard to their end
	Packets int           // sent
	Heard   time.Duration // from the first packet's time to the end
}

// End is why a playback ended.
type End string

// The ends of a playback.
const (
	Finished End = "finished" // every round was played
	Stopped  End = "stopped"  // [Playing.Stop]
	Replaced End = "replaced" // another playback began on the same side
	Released End = "released" // the side was released
	Closed   End = "closed"   // the relay ended
)

// ErrPlayback is what [Side.Play] says about a playback that cannot be played. It is compared with [errors.Is].
var ErrPlayback = errors.New("this cannot be played")

// Playing is a playback under way.
type Playing struct {
	what   Playback
	stream *stream
	sealed *envelope           // nil: its packets are plain
	why    atomic.Pointer[End] // set: it is over, and at its next turn it is told so

	// The rest belongs to the goroutine that sends.
	cursor
	due     time.Duration // of the next packet
	began   time.Duration
	packets int
	silent  bool // nothing was sent before: the next packet starts a talkspurt (RFC 3551 §4.1)
}

// Play sends a playback to the far end of the side's first stream, from that stream's RTP port, wherever [Side.Expect] says and whether the side is
// joined or not. It replaces what is playing there. SSRC and sequence number stay the side's own from one playback to the next, and timestamps follow
// the clock. What the far end sends is accepted and relayed as ever. Nothing is sent while there is no address, but time goes on.
//
//	playing, err := caller.Play(media.Playback{
//		Tapes: announcements.Find("report-online").Tapes, Rounds: 3, Pause: 2 * time.Second,
//		Codec: voice.PCMA, Payload: 8,
//		Ended: func(e media.Ending) { loop.post(announced{call, e}) },
//	})
//	…
//	playing.Stop() // a person answered; what the endpoint says is heard from now on
func (s *Side) Play(what Playback) (*Playing, error) {
	if err := what.check(); err != nil {
		return nil, err
	}
	sealed, err := newEnvelope(what.Seal)
	if err != nil {
		return nil, err
	}
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	if s.gone || s.relay.ended {
		return nil, fmt.Errorf("play: %w", ErrClosed)
	}
	if len(s.streams) == 0 {
		return nil, fmt.Errorf("%w: the side has no stream", ErrPlayback)
	}
	what.Tapes = slices.Clone(what.Tapes)
	p := &Playing{what: what, stream: s.streams[0], sealed: sealed, silent: true}
	if old := p.stream.playing.Swap(p); old != nil {
		old.end(Replaced)
	}
	s.relay.players.add(p)
	return p, nil
}

// check says what is wrong with a playback.
func (b *Playback) check() error {
	if len(b.Tapes) == 0 {
		return fmt.Errorf("%w: it has no tapes", ErrPlayback)
	}
	if !slices.Contains([]voice.Codec{voice.PCMU, voice.PCMA, voice.G722}, b.Codec) {
		return fmt.Errorf("%w: no tape is made in codec %q", ErrPlayback, b.Codec)
	}
	for _, t := range b.Tapes {
		if t == nil || t.Frames() == 0 {
			return fmt.Errorf("%w: a tape is empty", ErrPlayback)
		}
	}
	if b.Fill != nil && b.Fill.Frames() == 0 {
		return fmt.Errorf("%w: what fills its pauses is empty", ErrPlayback)
	}
	if b.Payload > 127 {
		return fmt.Errorf("%w: %d is no payload type", ErrPlayback, b.Payload)
	}
	return nil
}

// Stop ends the playback, and the relay goes on where it was muted. A packet that is just being sent may still leave. Stopping what has ended does no
// harm.
func (p *Playing) Stop() { p.end(Stopped) }

// end lets relayed packets through at once; the goroutine that sends does the rest.
func (p *Playing) end(why End) {
	p.why.CompareAndSwap(nil, &why)
	p.stream.playing.CompareAndSwap(p, nil)
}

// mutes says whether relayed packets to a stream are dropped because it is played to.
func (st *stream) mutes() bool {
	p := st.playing.Load()
	return p != nil && !p.what.Through
}

// cursor is a place in a playback.
type cursor struct {
	round, tape, frame int
	quiet              time.Duration // left of a gap or pause
	filled             int           // frames of Fill that were sent in it
}

// next gives the payload of the next 20 ms, nil for silence, and false when everything was played.
func (c *cursor) next(b *Playback) ([]byte, bool) {
	if c.quiet > 0 {
		c.quiet -= voice.Frame
		return c.fill(b), true
	}
	if c.over(b) {
		return nil, false
	}
	t := b.Tapes[c.tape]
	payload := t.Payload(b.Codec, c.frame)
	if c.frame++; c.frame < t.Frames() {
		return payload, true
	}
	c.frame, c.filled, c.quiet = 0, 0, b.Gap
	if c.tape++; c.tape < len(b.Tapes) {
		return payload, true
	}
	c.tape, c.quiet = 0, b.Pause
	if c.round++; c.round == b.Rounds {
		c.quiet = b.Tail // nothing else follows
	}
	return payload, true
}

// over says whether every round was played.
func (c *cursor) over(b *Playback) bool { return b.Rounds > 0 && c.round >= b.Rounds }

// ready says whether what comes next can be played yet.
func (c *cursor) ready(b *Playback) bool {
	switch {
	case c.over(b):
		return true
	case c.quiet > 0:
		return b.Fill == nil || b.Fill.Ready(b.Codec)
	}
	return b.Tapes[c.tape].Ready(b.Codec)
}

// fill is what is heard in a gap.
func (c *cursor) fill(b *Playback) []byte {
	if b.Fill == nil || c.over(b) {
		return nil
	}
	payload := b.Fill.Payload(b.Codec, c.filled%b.Fill.Frames())
	c.filled++
	return payload
}

// source is what the packets of one stream have in common, from one playback to the next. Only the goroutine that sends touches it.
type playSource struct {
	known  bool
	ssrc   uint32
	seq    uint16
	offset uint32 // of the timestamps
	sealed *envelope
}

// players sends for all playbacks of a relay in one goroutine: each has its packets' absolute times on the relay's clock, so that lateness never adds up.
type players struct {
	relay *Relay
	wake  chan struct{} // somebody was added

	mu   sync.Mutex // guards due
	due  playHeap
	turn []*Playing // those whose time has come; the goroutine's own
	buf  [headerLen + 160]byte
}

func newPlayers(r *Relay) *players { return &players{relay: r, wake: make(chan struct{}, 1)} }

// add has p begin at the next grain.
func (ps *players) add(p *Playing) {
	p.due = (ps.relay.now() + playGrain - 1).Truncate(playGrain)
	p.began = p.due
	ps.mu.Lock()
	heap.Push(&ps.due, p)
	first := ps.due[0] == p
	ps.mu.Unlock()
	if first {
		select {
		case ps.wake <- struct{}{}:
		default:
		}
	}
}

// run sends until ctx ends, then ends every playback.
func (ps *players) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(ps.pass(ps.relay.now()))
		select {
		case <-ctx.Done():
			ps.close()
			return
		case <-ps.wake:
		case <-timer.C:
		}
	}
}

// pass gives everybody their turn whose time has come, and says how long to sleep.
func (ps *players) pass(now time.Duration) time.Duration {
	ps.mu.Lock()
	for len(ps.due) > 0 && ps.due[0].due <= now {
		ps.turn = append(ps.turn, heap.Pop(&ps.due).(*Playing))
	}
	ps.mu.Unlock()
	stay := ps.turn[:0]
	for _, p := range ps.turn {
		if ps.step(p, now) {
			stay = append(stay, p)
		}
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range stay {
		heap.Push(&ps.due, p)
	}
	clear(ps.turn)
	ps.turn = ps.turn[:0]
	if len(ps.due) == 0 {
		return time.Hour
	}
	return max(0, ps.due[0].due-ps.relay.now())
}

// step sends the next packet of a playback; it says false when that is over.
func (ps *players) step(p *Playing, now time.Duration) bool {
	if why := p.why.Load(); why != nil {
		ps.over(p, *why)
		return false
	}
	if now-p.due > playStall {
		p.due, p.silent = now.Truncate(playGrain), true
	}
	if !p.ready(&p.what) { // the next frame is being made
		p.due, p.silent = p.due+voice.Frame, true
		return true
	}
	payload, more := p.next(&p.what)
	if !more {
		p.end(Finished)
		ps.over(p, *p.why.Load())
		return false
	}
	if payload == nil {
		p.silent = true
	} else {
		ps.send(p, payload, now)
	}
	p.due += voice.Frame
	return true
}

// over tells how a playback ended.
func (ps *players) over(p *Playing, why End) {
	if p.what.Ended != nil {
		p.what.Ended(Ending{Why: why, Rounds: p.round, Packets: p.packets, Heard: max(0, p.due-p.began)})
	}
}

// send sends one packet.
func (ps *players) send(p *Playing, payload []byte, now time.Duration) {
	st := p.stream
	to := st.halves[rtp].peer.Load()
	if to == nil { // on hold, or no answer yet
		p.silent = true
		return
	}
	s := &st.played
	if !s.known {
		// A sequence number in the lower half leaves no doubt over its rollovers when the first packets are lost (RFC 3711 §3.3.1).
		*s = playSource{known: true, ssrc: rand.Uint32(), seq: uint16(rand.Uint32()) & 0x7fff, offset: rand.Uint32()}
	}
	b := ps.buf[:headerLen+len(payload)]
	b[0], b[1] = rtpVersion<<6, p.what.Payload
	if p.silent {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], s.seq)
	binary.BigEndian.PutUint32(b[4:], s.offset+uint32(p.due/time.Millisecond)*playUnits)
	binary.BigEndian.PutUint32(b[8:], s.ssrc)
	copy(b[headerLen:], payload)
	s.seq++
	if !s.sealed.same(p.sealed) {
		s.sealed = p.sealed
	}
	if s.sealed != nil {
		var err error
		if b, err = s.sealed.close(b); err != nil {
			ps.relay.counts.failed.Add(1)
			return
		}
	}
	p.silent = false
	p.packets++
	if ps.relay.engine.send(&st.pair.ports[rtp], to, b, now) {
		st.halves[rtp].wrote()
		ps.relay.counts.played.Add(1)
	} else {
		ps.relay.counts.failed.Add(1)
	}
}

// close ends every playback.
func (ps *players) close() {
	ps.mu.Lock()
	left := ps.due
	ps.due = nil
	ps.mu.Unlock()
	for _, p := range left {
		p.end(Closed)
		ps.over(p, *p.why.Load())
	}
}

// playHeap has the playback first whose packet is due first.
type playHeap []*Playing

func (h playHeap) Len() int           { return len(h) }
func (h playHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h playHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *playHeap) Push(x any)        { *h = append(*h, x.(*Playing)) }
func (h *playHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
