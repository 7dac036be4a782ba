package sip

import (
	"context"
	"sync/atomic"
	"time"

	"nines/call"
	"nines/health"
	"nines/policy"
	"nines/sip/wire"
)

// counters are written by the loops and readers and read by whoever asks.
type counters struct {
	calls, answered, rejected, cancelled                            atomic.Uint64
	active, talking                                                 atomic.Int64
	requests, responses, garbage, malformed, stray, overflow        atomic.Uint64
	unknown, unknownInvites, icmp, panics, stalls, noPorts, spoofed atomic.Uint64
	limited                                                         atomic.Uint64
	resent, repeats                                                 atomic.Uint64
	rescues, rescued, kept, lostTalking                             atomic.Uint64
	rescuing                                                        atomic.Int64
	announced, announcements, escaped, unplayable                   atomic.Uint64
	announcing, emergencyWaiting                                    atomic.Int64
}

// Counters are numbers since the start, but for Active, Talking and Rescuing, which are now.
type Counters struct {
	Calls     uint64 `json:"calls"`     // INVITEs that became calls
	Answered  uint64 `json:"answered"`  // 200 sent to the caller
	Rejected  uint64 `json:"rejected"`  // another final response but 487
	Cancelled uint64 `json:"cancelled"` // 487
	Active    int64  `json:"active"`
	Talking   int64  `json:"talking"`

	Requests         uint64 `json:"requests"`
	Responses        uint64 `json:"responses"`
	Garbage          uint64 `json:"garbage"`         // no SIP
	Malformed        uint64 `json:"malformed"`       // mended
	Stray            uint64 `json:"stray"`           // of no call and no request of ours
	Overflow         uint64 `json:"overflow"`        // dropped because a loop was full
	Unknown          uint64 `json:"unknown"`         // requests of hosts that are neither trunk nor endpoint
	UnknownInvites   uint64 `json:"unknown_invites"` // INVITEs of such hosts
	Limited          uint64 `json:"limited"`         // messages of such hosts, and of routine callers, that were too many
	Spoofed          uint64 `json:"spoofed"`         // requests within calls from others than those in them
	ICMP             uint64 `json:"icmp"`
	Panics           uint64 `json:"panics"`
	Stalls           uint64 `json:"stalls"`            // times we were late ourselves
	NoPorts          uint64 `json:"no_ports"`          // sides of calls that found no media ports
	Rescues          uint64 `json:"rescues"`           // times a talking call lost its endpoint
	Rescued          uint64 `json:"rescued"`           // of them, heard another endpoint afterwards
	Kept             uint64 `json:"kept"`              // of them, the endpoint came back before anybody else answered
	Rescuing         int64  `json:"rescuing"`          // of them, somebody else is being asked now
	LostTalking      uint64 `json:"lost_talking"`      // calls whose caller left while nobody talked to it any more
	Announced        uint64 `json:"announced"`         // calls that we answered ourselves, to be announced to
	Announcements    uint64 `json:"announcements"`     // texts that were played
	Announcing       int64  `json:"announcing"`        // of them, now
	Escaped          uint64 `json:"escaped"`           // routine calls that became emergencies
	Unplayable       uint64 `json:"unplayable"`        // texts that could not be played to a caller
	EmergencyWaiting int64  `json:"emergency_waiting"` // emergency calls without an answer
	Resent           uint64 `json:"resent"`            // messages that a timer sent again
	Repeats          uint64 `json:"repeats"`           // messages that came again

	Wire wire.Counters `json:"wire"`
}

// Counters reads the numbers.
func (s *Server) Counters() Counters {
	c := &s.count
	return Counters{
		Calls: c.calls.Load(), Answered: c.answered.Load(), Rejected: c.rejected.Load(), Cancelled: c.cancelled.Load(),
		Active: c.active.Load(), Talking: c.talking.Load(),
		Requests: c.requests.Load(), Responses: c.responses.Load(), Garbage: c.garbage.Load(), Malformed: c.malformed.Load(),
		Stray: c.stray.Load(), Overflow: c.overflow.Load(), Unknown: c.unknown.Load(), UnknownInvites: c.unknownInvites.Load(),
		ICMP: c.icmp.Load(), Panics: c.panics.Load(), Stalls: c.stalls.Load(), NoPorts: c.noPorts.Load(), Spoofed: c.spoofed.Load(), Limited: c.limited.Load(),
		Resent: c.resent.Load(), Repeats: c.repeats.Load(), Rescues: c.rescues.Load(), Rescued: c.rescued.Load(), Kept: c.kept.Load(), Rescuing: c.rescuing.Load(), LostTalking: c.lostTalking.Load(),
		Announced: c.announced.Load(), Announcements: c.announcements.Load(), Announcing: c.announcing.Load(), Escaped: c.escaped.Load(),
		Unplayable: c.unplayable.Load(), EmergencyWaiting: c.emergencyWaiting.Load(),
		Wire: s.stack.Counters(),
	}
}

// Used is how many calls an endpoint has now.
func (s *Server) Used(name policy.EndpointName) int {
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	return s.shared.slots.Used(name)
}

// Snapshot is what is believed now.
func (s *Server) Snapshot() *health.Snapshot { return s.health.Load() }

// Explain gives the evidence for every verdict, in the words that CLI, API and console share (R16).
func (s *Server) Explain(ctx context.Context) ([]health.Explanation, error) {
	l := s.loops[0]
	done := make(chan []health.Explanation, 1)
	l.post(func(now time.Time) { done <- l.judge.ExplainAll(now) })
	select {
	case e := <-done:
		return e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Residue is what the loops hold: for tests that nothing is left behind, and for status.
type Residue struct {
	Sessions     int `json:"sessions"`     // calls that live, or whose last messages are still awaited
	Transactions int `json:"transactions"` // 64·T1 after a call its transactions are gone too
	Waiting      int `json:"waiting"`      // requests of ours in calls, lingering ones included; probes are not counted
	Alarms       int `json:"alarms"`
}

// Residue asks every loop what it holds.
func (s *Server) Residue(ctx context.Context) (Residue, error) {
	var sum Residue
	for _, l := range s.loops {
		done := make(chan Residue, 1)
		l.post(func(time.Time) {
			r := Residue{Sessions: len(l.calls), Transactions: l.txns.Len(), Alarms: len(l.alarms)}
			for _, w := range l.waiting {
				if _, probing := w.waiter.(*probe); !probing {
					r.Waiting++
				}
			}
			done <- r
		})
		select {
		case r := <-done:
			sum.Sessions += r.Sessions
			sum.Transactions += r.Transactions
			sum.Waiting += r.Waiting
			sum.Alarms += r.Alarms
		case <-ctx.Done():
			return sum, ctx.Err()
		}
	}
	return sum, nil
}

// callerGone ends a call whose caller is there no more.
func (s *session) callerGone(now time.Time) {
	s.log.Warn().Msg("the caller's phone is gone: no media for 30 s and no answer twice")
	s.feed(now, call.Lost{Side: call.Caller})
}
