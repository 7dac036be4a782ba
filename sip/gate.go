package sip

import (
	"bytes"
	"hash/maphash"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"nines/policy"
	"nines/sip/txn"
	"nines/sip/wire"
)

// What those may ask of us who are no trunk and no endpoint. A carrier's new address that calls 999 needs a dozen messages for a call; a scanner sends
// hundreds a second.
var (
	strangerRate  = rate{every: 50 * time.Millisecond, burst: 60}  // of one source, before anything is looked at
	strangersRate = rate{every: 4 * time.Millisecond, burst: 500}  // of all together, that come as far as a loop
	routineRate   = rate{every: 10 * time.Millisecond, burst: 300} // of one source of a trunk, but for emergency calls
	ringsRate     = rate{every: 200 * time.Millisecond, burst: 20} // of all strangers together, new emergency calls: the rooms answer trunks, too
	oddRate       = rate{every: time.Second, burst: 30}            // entries of the book
)

// gate is who may come in, and how often. The readers of the sockets and the loops use it at the same time; it has no lock and does not grow.
type gate struct {
	stranger *buckets
	calls    bucket // of strangers: INVITEs and what belongs to them
	tokens   bucket // of strangers who show a token that looks like ours
	routine  *buckets
	others   *buckets // requests of trunks and endpoints that have no business here
	rings    bucket   // of strangers: new calls
	odd      bucket   // entries about malformed messages
	tags     maphash.Seed
}

func newGate() gate {
	return gate{stranger: newBuckets(strangerRate), calls: bucket{rate: strangersRate}, tokens: bucket{rate: strangersRate}, routine: newBuckets(routineRate), others: newBuckets(routineRate), odd: bucket{rate: oddRate}, rings: bucket{rate: ringsRate}, tags: maphash.MakeSeed()}
}

// accept is the source check, before anything is parsed: trunks, endpoints, and whoever shows a token of ours.
func (s *Server) accept(src netip.AddrPort, _ wire.Proto, data []byte) bool {
	addr := src.Addr().Unmap()
	if s.known.Load().has(addr) {
		return true
	}
	r := s.routing.Load()
	if data == nil { // a stream connection is accepted before it says anything
		return r.AnswerEmergency
	}
	now := s.instant(time.Now())
	if !s.gate.stranger.take(addr, now) {
		s.count.limited.Add(1)
		return false
	}
	if marked := bytes.Contains(data, tagMark) || bytes.Contains(data, branchMark); marked && shown(data) {
		return s.within(&s.gate.tokens, now)
	}
	switch {
	case bytes.HasPrefix(data, inviteWord):
		s.count.unknownInvites.Add(1)
		if !s.within(&s.gate.calls, now) {
			return false
		}
		s.strangerCalls(src, data)
		return r.AnswerEmergency
	case bytes.HasPrefix(data, ackWord), bytes.HasPrefix(data, cancelWord):
		return r.AnswerEmergency && s.within(&s.gate.calls, now)
	}
	return false
}

// What a stranger's message is told by before it is taken apart: twenty thousand a second should cost hardly anything.
var (
	tagMark, branchMark             = []byte("tag=n"), []byte(branchCookie + "n")
	inviteWord, ackWord, cancelWord = []byte("INVITE "), []byte("ACK "), []byte("CANCEL ")
)

// shown says that a message shows a token that looks like ours: a request within a dialog, or a response.
func shown(data []byte) bool {
	p, ok := wire.Peek(data)
	if !ok {
		return false
	}
	mark := p.ToTag
	if len(p.Method) == 0 {
		mark = branchToken(p.Branch)
	}
	_, ours := parseToken(mark)
	return ours
}

// within counts what strangers do together.
func (s *Server) within(b *bucket, now instant) bool {
	if b.take(now) {
		return true
	}
	s.count.limited.Add(1)
	return false
}

// strangerCalls looks at an INVITE from nobody we know. Where it calls an emergency number it may be a carrier's new address, and somebody should
// know; once a minute is enough, whatever a scanner does.
func (s *Server) strangerCalls(src netip.AddrPort, data []byte) {
	now := time.Now().Unix()
	last := s.strangerSaid.Load()
	if now-last < 60 {
		return
	}
	p, _ := wire.Peek(data)
	m := s.routing.Load().policy.Match(policy.Query{RequestURI: string(p.URI)})
	if m.Found && s.strangerSaid.CompareAndSwap(last, now) {
		s.log.Warn().Stringer("from", src).Str("called", m.Number).
			Msg("an unknown source calls an emergency number: a carrier's new address? Add it to the trunk's from, or set unknown_sources: answer_emergency")
		s.cfg.Observer.Recorded(Record{
			Kind: NoticeGiven, At: time.Unix(now, 0), What: StrangerCalls, Called: m.Number,
			Why: src.Addr().Unmap().String() + " calls an emergency number and is on no trunk: a carrier's new address?",
		})
	}
}

// isStranger says that a message comes from nobody we know.
func (l *loop) isStranger(f wire.Flow) bool { return !l.s.known.Load().has(f.Remote.Addr().Unmap()) }

// isGuest says that a connection comes from nobody we know: its place must not be one that a trunk needs.
func (s *Server) isGuest(src netip.AddrPort) bool { return !s.known.Load().has(src.Addr().Unmap()) }

// size is how long the message is that is being read.
func (l *loop) size() int { return len(l.trace.packet.Data) }

// turnAway refuses a request without remembering it: the same request gets the same answer, nothing is repeated, and nothing of ours is in it that would
// open the gate. Over UDP the source may be forged and the answer hit somebody else, so it is never longer than the question; one that would be is not
// given at all.
func (l *loop) turnAway(m *wire.Message, f wire.Flow, code int, reason string, headers ...wire.Header) {
	b := appendReply(make([]byte, 0, 512), m, f.Remote, code, reason, l.s.gate.tag(m))
	whole := b
	for _, h := range headers {
		whole = wire.AppendHeader(whole, h.Name, h.Value)
	}
	whole = wire.AppendBody(whole, nil)
	if f.Proto == wire.UDP && len(whole) > l.size() && l.isStranger(f) {
		if whole = append(b, "\r\n"...); len(whole) > l.size() { // RFC 3261 §18.3: a datagram needs no Content-Length
			return
		}
	}
	l.send(replyFlow(m, f), whole)
}

// tag is a To tag that the next repeat of a request gets, too (RFC 3261 §8.2.7), and that no token is.
func (g *gate) tag(m *wire.Message) string {
	var h maphash.Hash
	h.SetSeed(g.tags)
	for _, part := range [...]string{m.Via.Branch, m.CallID, m.FromTag} {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0)
	}
	return "x" + strconv.FormatUint(h.Sum64(), 36)
}

// admits says whether a stranger's INVITE becomes a call: the first of one for an emergency number, and its repeats. Everything else gets one 403.
func (l *loop) admits(key txn.Key, m *wire.Message, f wire.Flow, r *routing) bool {
	if s, ok := l.invites[key]; ok {
		s.heardStranger(l.size())
		return true
	}
	if r.policy.Match(query(m, &Trunk{})).Found {
		return l.s.within(&l.s.gate.rings, l.s.instant(l.trace.now)) // its repeat may find room
	}
	l.turnAway(m, f, 403, "Forbidden")
	return false
}

// stranger is a caller by UDP whom no trunk knows and whose address is not proven yet: whoever sent the INVITE may have forged it, and what we send hits
// somebody else. Its own ACK proves it, because our tag is in it. Until then it gets no more bytes than came from it, but for the 200 of a call that
// a person has answered, which is sent a few times, and nobody's audio.
type stranger struct {
	credit  int // bytes that came, less those that went
	size    int // of the INVITE; the 200 will be about as long
	answers int // copies of our final response that went
}

// mostAnswers is how often an unproven caller gets our 200: they reach over three and a half seconds.
const mostAnswers = 4

// tooMany says that a source of a trunk has more routine calls than anybody can have: it is broken, or its address is forged. Emergency calls are never
// counted (R4), and nor are OPTIONS: a carrier must not believe us dead because somebody forges its address.
func (l *loop) tooMany(now time.Time, b *buckets, f wire.Flow, what string) bool {
	if b.take(f.Remote.Addr().Unmap(), l.s.instant(now)) {
		return false
	}
	l.s.count.limited.Add(1)
	if l.s.said.again("too many " + f.Remote.Addr().String()) {
		l.log.Warn().Stringer("from", f.Remote).Str("what", what).Msg("a known source sends more than anybody needs: some of it is turned away, emergency calls are not")
	}
	return true
}

// heardStranger notes what came from a caller whose address is not proven.
func (s *session) heardStranger(size int) {
	if s.stranger != nil {
		s.stranger.credit += size
	}
}

// proven notes that a request came in which our tag is: where it came from is no longer in doubt.
func (s *session) proven(part int) {
	if part == 0 && s.stranger != nil {
		s.stranger = nil
		delete(s.loop.unproven, s.key)
		s.rejoin()
	}
}

// affords says whether a response may go to a stranger. A provisional one leaves room for the 200: who has heard one repeats its INVITE no more, and each
// repeat brings room.
func (s *session) affords(data []byte) bool {
	if s == nil || s.stranger == nil {
		return true
	}
	st := s.stranger
	need, most := len(data), 1
	switch data[len("SIP/2.0 ")] {
	case '1':
		need, most = need+st.size, 0
	case '2':
		most = mostAnswers
	}
	if need > st.credit && st.answers >= most {
		return false
	}
	if most > 0 {
		st.answers++
	}
	st.credit -= len(data)
	return true
}

// mayStay says whether a stranger's request within a dialog is one: of a call that it is in, or a repeat of one that was answered. Who only made up a
// token hears nothing; who knows the tags of a call but is not in it hears once that this is refused.
func (l *loop) mayStay(now time.Time, key txn.Key, s *session, part int, m *wire.Message, f wire.Flow) bool {
	if _, known := l.txns.Find(key); known {
		return true
	}
	switch {
	case s == nil:
		l.s.count.stray.Add(1)
		return false
	case !s.comesFrom(part, f):
		l.spoofed(now, s, m, f)
		l.turnAway(m, f, 403, "Forbidden")
		return false
	}
	return true
}

// unreadable tells the book of an INVITE that nothing could be made of.
func (l *loop) unreadable(now time.Time, p *wire.Packet, err error) {
	if !bytes.HasPrefix(p.Data, inviteWord) || !l.s.gate.odd.take(l.s.instant(now)) {
		return
	}
	r := Record{Kind: MessageMalformed, At: now, What: "refused", Flow: p.Flow, In: true, Why: "an INVITE from " + p.Flow.Remote.String() + " could not be read: " + err.Error(), Data: p.Data[:min(len(p.Data), mostOdd)]}
	if t := l.s.routing.Load().trunk(p.Flow.Remote.Addr()); t != nil {
		r.Trunk = t.Name
	}
	if m := behind(r.Data); m != nil {
		r.CallID, r.Caller = m.CallID, callerNumber(m)
	}
	if r.Caller != "" { // a person may ask to be forgotten: the number must stand in the book as a number, not among bytes that are no text
		r.Data = bytes.ToValidUTF8(r.Data, []byte("\uFFFD"))
	}
	l.s.cfg.Observer.Recorded(r)
}

// behind reads what stands behind a start line that may be anything; nil: that cannot be read either.
func behind(data []byte) *wire.Message {
	_, rest, _ := bytes.Cut(data, []byte("\n"))
	m, err := wire.Parse(slices.Concat([]byte("INVITE sip:unreadable.invalid SIP/2.0\r\n"), rest))
	if err != nil {
		return nil
	}
	return m
}

// mostOdd is how much of a message that could not be read is kept.
const mostOdd = 2048

// onSide says whether a trunk's call came in where the trunk is. From another side its address is forged, or the configuration is wrong.
func (l *loop) onSide(now time.Time, m *wire.Message, f wire.Flow, trunk *Trunk) bool {
	side := l.s.via(f)
	if trunk == nil || trunk.Via == "" || side == trunk.Via {
		return true
	}
	l.s.count.spoofed.Add(1)
	if l.s.said.again("side " + f.Remote.Addr().String()) {
		l.log.Error().Stringer("from", f.Remote).Str("trunk", string(trunk.Name)).Str("via", trunk.Via).Str("side", side).Msg("a trunk's call came in on another side than its via says: refused")
		l.s.cfg.Observer.Recorded(Record{Kind: NoticeGiven, At: now, Trunk: trunk.Name, What: "wrong side", Why: "a call of " + string(trunk.Name) + " came in on side " + side + ", its via is " + trunk.Via + ": refused"})
	}
	l.turnAway(m, f, 403, "Forbidden")
	return false
}
