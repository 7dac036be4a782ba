package sip

import (
	"time"

	"nines/media/sdp"
	"nines/sip/wire"
)

// truthfulAfter is how long real calls must have failed before a truthful node says so (R19).
const truthfulAfter = 10 * time.Second

// truthfulFor is how long after the latest call that failed it says so.
const truthfulFor = time.Minute

// onOptions answers a ping. A node that takes calls says 200, whatever it believes of its endpoints: it would ask them anyway (R19). A draining node
// says nothing, so that carriers send their calls elsewhere. It is answered without a transaction: the same question gets the same answer.
func (l *loop) onOptions(now time.Time, m *wire.Message, f wire.Flow, trunk *Trunk) {
	switch {
	case l.s.draining.Load():
		return
	case trunk == nil && !l.isEndpoint(f):
		l.s.count.unknown.Add(1)
		return
	}
	code, reason := 200, "OK"
	if trunk != nil && trunk.Truthful && l.s.fails(now) {
		code, reason = 500, "No Endpoint Answers"
	}
	l.send(replyFlow(m, f), simpleReply(m, f.Remote, code, reason, l.stray(),
		wire.Header{Name: "Allow", Value: allow}, wire.Header{Name: "Accept", Value: accept}, wire.Header{Name: "Supported", Value: supported}))
}

// failing notes an emergency call that nobody answered. Failures long ago are no part of a series.
func (s *Server) failing(now time.Time) {
	at := now.UnixNano()
	last := s.failedLast.Swap(at)
	if at-last > int64(truthfulFor) {
		s.failedSince.Store(0)
	}
	s.failedSince.CompareAndSwap(0, at)
}

// fails says that real calls have failed for so long that a truthful node says so. A node that says 500 gets no calls, so it takes it back when it has
// seen none fail for a while: only calls can show that they are answered again.
func (s *Server) fails(now time.Time) bool {
	at, since := now.UnixNano(), s.failedSince.Load()
	return since != 0 && at-since >= int64(truthfulAfter) && at-s.failedLast.Load() <= int64(truthfulFor)
}

// isEndpoint says that a message comes from a host that we ask.
func (l *loop) isEndpoint(f wire.Flow) bool { return l.s.known.Load().hosts[f.Remote.Addr().Unmap()] }

// callerSilence is how long a caller's media may be away before we ask whether the caller is still there (R44).
const callerSilence = 30 * time.Second

// callerCheck is the watch over a talking caller.
type callerCheck struct {
	next time.Time
	bad  int
	out  bool
}

// checkCaller asks a caller who has sent no media for thirty seconds whether it is still there. Twice silence or 481 means gone (R44); a silent
// caller whose phone answers is never cut off.
func (s *session) checkCaller(now time.Time) {
	s.check.next = now.Add(callerSilence / 3)
	if s.check.out || s.winner == nil && !s.alone() || s.caller.leg.Pending2xx != nil || !s.hearsCaller() || s.callerHeard(now) {
		return
	}
	line, err := s.caller.leg.Request("OPTIONS", nil)
	if err != nil {
		return
	}
	s.check.out = true
	l := s.loop
	s.reach(now, &s.caller, line, func(now time.Time, flow wire.Flow, err error) {
		if err != nil {
			s.checked(now, false)
			return
		}
		branch := token{loop: l.n, call: s.id}.branch(l.rnd)
		l.request(now, "OPTIONS", branch, flow, l.build(&s.caller, line, flow, branch, nil, "", nil, s.identified(&s.caller)), callerTimeout, callerWaiter{s})
	})
}

// hearsCaller says that the caller's media comes by us. Where it goes past us, or is none that we could take, its silence is nothing that we can
// know of, and a phone that merely answers no OPTIONS must not cost a call.
func (s *session) hearsCaller() bool {
	if s.caller.media == nil {
		return false
	}
	v, err := sdp.Look(s.caller.far)
	if err != nil {
		return false
	}
	for i := range v.Streams {
		if v.Streams[i].UDP() && v.Streams[i].RTP().IsValid() {
			return true
		}
	}
	return false
}

// callerHeard says that the caller has sent media lately. Then everything is forgotten that spoke against it.
func (s *session) callerHeard(now time.Time) bool {
	last := s.answeredAt
	for _, st := range s.caller.media.Stats(nil) {
		if st.Last.After(last) {
			last = st.Last
		}
	}
	if now.Sub(last) >= callerSilence {
		return false
	}
	s.check.bad = 0
	s.check.next = last.Add(callerSilence)
	return true
}

// callerTimeout is how long the caller may take to say that it is there: its carrier is far away, and packets get lost.
const callerTimeout = 4 * time.Second

func (s *session) checked(now time.Time, there bool) {
	s.check.out = false
	if s.over {
		return
	}
	if there {
		s.check.bad = 0
		return
	}
	if !s.hearsCaller() || s.callerHeard(now) {
		s.loop.touch(s)
		return // it was silent, but it has begun to talk
	}
	if s.check.bad++; s.check.bad < 2 {
		s.check.next = now.Add(time.Second)
		s.loop.touch(s)
		return
	}
	s.callerGone(now)
}

type callerWaiter struct{ s *session }

func (w callerWaiter) response(now time.Time, m *wire.Message, _ wire.Flow) {
	if m.Status >= 200 {
		w.s.checked(now, m.Status != 481 && m.Status != 408) // 408: somebody on the way says that it is silent
	}
}
func (w callerWaiter) failed(now time.Time, _ failure) { w.s.checked(now, false) }
func (w callerWaiter) icmp(time.Time)                  {}
