package sip

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"nines/media"
	"nines/media/sdp"
	"nines/sip/leg"
	"nines/sip/wire"
)

// newCallerLeg makes the dialog of the call that came in.
func newCallerLeg(s *session, m *wire.Message) *leg.Leg {
	from, tag := leg.SplitTag(m.From)
	target := contactURI(m)
	if target == "" { // RFC 3261 §8.1.1.8 demands one; without it the caller is where its INVITE came from
		target = "sip:" + s.src.Remote.String()
		if s.src.Proto.Stream() {
			target += ";transport=" + strings.ToLower(s.src.Proto.String())
		}
	}
	l := leg.NewUAS(leg.Invite{
		CallID: m.CallID, From: from, FromTag: tag, To: m.To, CSeq: m.CSeq, Contact: target, RecordRoutes: m.List("Record-Route"),
		Allow: m.List("Allow"), Supported: m.List("Supported"), SDP: s.caller.far,
	}, token{loop: s.loop.n, call: s.id}.text(s.loop.rnd), s.loop.s.contact(s.src, nil))
	l.SDPID = sessionID(s.loop)
	return l
}

// newLeg makes the dialog of an attempt.
func (at *attempt) newLeg(contact string) *leg.Leg {
	l := leg.NewUAC(leg.Call{
		CallID: at.callID, LocalTag: at.tag, From: at.fromBare, To: at.to, CSeq: at.cseq, Target: at.uri, Routes: at.routes, Contact: contact,
	})
	l.Timer = at.brief
	l.SDPID = sessionID(at.s.loop)
	return l
}

// sessionID is a session id for o= lines: numeric, and small enough for every parser (RFC 4566 §5.2).
func sessionID(l *loop) uint64 { return l.rnd.Uint64()>>12 | 1 }

// legResponse is a response as a leg needs it.
func legResponse(m *wire.Message) leg.Response {
	r := leg.Response{
		Method: m.Method, CSeq: m.CSeq, Code: m.Status, ToTag: m.ToTag, Contact: contactURI(m), RecordRoutes: m.List("Record-Route"),
		SDP: describe(m).sdp(),
	}
	if m.Status < 300 {
		r.Allow, r.Supported = m.List("Allow"), m.List("Supported")
	}
	if m.Status > 100 && m.Status < 200 && m.HasToken("Require", "100rel") {
		if v, ok := m.Get("RSeq"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
			if err == nil {
				r.RSeq = uint32(n)
			}
		}
	}
	return r
}

// hear gives a response to the dialog that it belongs to; a PBX that forks has several (RFC 3261 §13.2.2.4).
func (at *attempt) hear(now time.Time, m *wire.Message) (*leg.Leg, leg.Outcome) {
	r := legResponse(m)
	for _, d := range at.dialogs {
		if o := d.Response(now, r); o.News != leg.Forked {
			return d, o
		}
	}
	fork := at.leg.Fork()
	if len(at.dialogs) < maxForks {
		at.dialogs = append(at.dialogs, fork)
	}
	return fork, fork.Response(now, r)
}

// maxForks bounds what an endpoint that invents To tags can make us hold.
const maxForks = 16

// sdp is the session description, nil where there is none.
func (d description) sdp() []byte {
	if !d.ok {
		return nil
	}
	return d.text()
}

// pair tells the relay where both sides of an offer and its answer want their packets and where they send from.
func (s *session) pair(offerer *party, offer []byte, answerer *party, answer []byte) {
	o, err := sdp.Look(offer)
	if err != nil {
		return
	}
	a, err := sdp.Look(answer)
	if err != nil {
		return
	}
	s.expect(offerer, &o, &a)
	s.expect(answerer, &a, &o)
}

// expect tells the relay about the far side of p: what it said of itself, and what the other said, since rtcp-mux needs both.
func (s *session) expect(p *party, far, other *sdp.View) {
	if p.media == nil {
		return
	}
	s.grow(p, len(far.Streams))
	for i := range min(len(far.Streams), p.media.Len()) {
		st := &far.Streams[i]
		to := media.Remote{RTP: st.RTP(), RTCP: st.RTCP, Clock: st.Clock}
		to.Mux = st.Mux && other != nil && i < len(other.Streams) && other.Streams[i].Mux
		if p.ep != nil {
			to.Symmetric, to.From = p.ep.Symmetric, p.ep.MediaFrom
		} else {
			to.Symmetric = s.trunk.Symmetric
		}
		if !st.UDP() {
			to.RTP, to.RTCP = netip.AddrPort{}, netip.AddrPort{}
		}
		p.media.Expect(i, to)
	}
}

func (s *session) grow(p *party, streams int) {
	if p.media.Len() >= streams {
		return
	}
	if err := p.media.Grow(streams); err != nil {
		s.loop.s.count.noPorts.Add(1)
		s.log.Error().Err(err).Msg("no media ports for another stream; widen media.ports")
	}
}

// rewrite puts our ports into a session description that goes to p.
func (s *session) rewrite(p *party, text []byte) []byte { return s.reword(p, text, false) }

// reword is rewrite; anew gives it a new version even where nothing has changed, so that it is looked at again.
func (s *session) reword(p *party, text []byte, anew bool) []byte {
	if p.media == nil {
		return text
	}
	v, err := sdp.Look(text)
	if err != nil {
		return text
	}
	e := sdp.Edition{SessionID: p.leg.SDPID, Version: p.leg.SDPVersion, Origin: p.media.Addr()}
	for i := range s.anchored(p, len(v.Streams)) {
		rtp, rtcp := p.media.Local(i)
		e.Streams = append(e.Streams, sdp.Local{Addr: p.media.Addr(), RTP: rtp, RTCP: rtcp})
	}
	if p.leg.Sent != nil && !anew {
		if same := sdp.Edit(text, e); bytes.Equal(same, p.leg.Sent) {
			return same // a refresh: nothing has changed, so the version does not either (RFC 3264 §8)
		}
	}
	p.leg.SDPVersion++
	e.Version = p.leg.SDPVersion
	return sdp.Edit(text, e)
}

// anchored grows both sides of a call to a number of streams, and says how many of them have ports on both: a stream with ports on one side only
// would end there.
func (s *session) anchored(p *party, streams int) int {
	s.grow(p, streams)
	n := min(streams, p.media.Len())
	if mate := s.mate(p); mate != nil && mate.media != nil {
		s.grow(mate, streams)
		n = min(n, mate.media.Len())
	}
	return n
}

// mate is who p is joined with, or will be.
func (s *session) mate(p *party) *party {
	switch {
	case p != &s.caller:
		return &s.caller
	case s.winner != nil:
		return &s.winner.party
	case s.frozen != nil && s.frozen.attempt != nil:
		return &s.frozen.attempt.party
	}
	return nil
}

// rewritten is a whole body with the session description in it rewritten for p, and that description.
func (s *session) rewritten(p *party, d description) (body, text []byte) {
	if !d.ok {
		return d.body, nil
	}
	text = s.rewrite(p, d.text())
	return sdp.Splice(d.body, d.span, text), text
}
