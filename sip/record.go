package sip

import (
	"strconv"
	"time"

	"nines/health"
	"nines/media"
	"nines/policy"
	"nines/sip/wire"
)

// RecordKind says what a Record tells.
type RecordKind uint8

// The kinds, each with the fields it uses beside At and, where it is of a call, Call, Route and Class.
const (
	CallCame         RecordKind = iota + 1 // a call was taken: Trunk, Caller, Called, CallID, From, Asserted, Flow, Malformed, SecondLine; Why its route
	CallPlanned                            // a plan was made: Plan, and Why it is so besides health and slots
	CallAsked                              // an endpoint is asked: Endpoint, Partner, Attempt, Why it and why now; What is the contact of a redirect that is followed
	CallAskedOn                            // one that had been told to stop is wanted after all: Endpoint, Attempt, Why
	AttemptOver                            // what became of one ask: Endpoint, Partner, Attempt, Outcome, Code, Took since the ask, CallID, Why
	CallRang                               // the first 18x of an attempt: Endpoint, Attempt, Code, Took since the ask, CallID
	CallAnswered                           // the caller got our 200: Endpoint, Partner, Attempt, Code, Took since its INVITE
	CallHeard                              // the first packet of the endpoint that talks: Endpoint, Attempt, Took since its answer
	CallWitness                            // what speaks for the loss of the endpoint that talks: Endpoint, Why with its time
	CallLost                               // the endpoint that talks is lost, the caller stays: Endpoint, Attempt, Took since its last packet
	CallKept                               // the lost endpoint came back first: Endpoint, Attempt, Took since the loss
	CallTakenOver                          // another endpoint has the call now: Endpoint, Partner, Attempt, Took since the loss
	CallRescued                            // and was heard: Endpoint, Partner, Attempt, Took is the gap (R22)
	CallMedia                              // counters at the end of a talk: Endpoint, Attempt, Media
	CallNoted                              // a sentence: Why
	CallEnded                              // it is over: Trunk, Caller, Called, CallID, Outcome, Code, Endpoint, Partner, Took since the answer, Why; What "unacknowledged": the caller never ACKed; "perhaps_not_reached": it cleared soon after a queue's answer (R14)
	CallMessage                            // one message of the call went or came: Attempt (0: the caller's leg), In, Flow, Data
	VerdictChanged                         // what is believed of an endpoint: Endpoint, What "up→down", Why
	ProbeMissed                            // the first of a row of missed probes, or one that was missed otherwise: Endpoint, Outcome, Code
	MessageMalformed                       // an INVITE that was salvaged, then Call is its call, or refused, then Data is its text: What, Flow, Why; bounded in rate
	NoticeGiven                            // what an operator should know: Endpoint or none, What its kind, Why
)

// Record is one thing that happened, for the book. It is made in a loop, so it holds what is there already and costs no more than its copy: whoever
// is told makes sentences of it elsewhere. Plan and Data must not be changed.
type Record struct {
	Kind       RecordKind
	In         bool // CallMessage: it came; else it went
	Partner    bool
	Malformed  bool
	SecondLine bool
	Class      policy.Class
	Code       int
	Attempt    int
	At         time.Time
	Took       time.Duration
	Call       string // this node's name for the call, unique over restarts; the log's field "call" has the same
	CallID     string // of the leg that is spoken of
	Trunk      policy.TrunkName
	Route      policy.RouteName
	Endpoint   policy.EndpointName
	Caller     string // the caller's number; empty: withheld
	Called     string
	From       string // From as it came
	Asserted   string // P-Asserted-Identity as it came
	Outcome    string
	What       string
	Why        string
	Plan       []policy.Step
	Media      [2]MediaCount // of the caller, of the endpoint
	Flow       wire.Flow
	Data       []byte
}

// MediaCount is what was received from one side of a call.
type MediaCount struct {
	Packets uint64        `json:"packets"`
	Bytes   uint64        `json:"bytes"`
	Lost    uint64        `json:"lost,omitempty"`
	Foreign uint64        `json:"foreign,omitempty"`   // dropped: not from the negotiated source
	Jitter  time.Duration `json:"jitter_ns,omitempty"` // the greatest of its streams
}

// StrangerCalls is the What of a NoticeGiven about an INVITE for an emergency number from nobody we know; it comes once a minute at most, and not
// from a loop.
const StrangerCalls = "stranger calls"

// The outcomes of an attempt.
const (
	outcomeAnswered  = "answered"
	outcomeRefused   = "refused"
	outcomeFailed    = "failed"    // its way was broken, or its transaction ended without an answer
	outcomeSilent    = "silent"    // its patience is spent; it may still answer
	outcomeStopped   = "stopped"   // taken back
	outcomeUnusable  = "unusable"  // its 200 had no answer that the caller could use
	outcomeDiscarded = "discarded" // its 200 came when nobody wanted it any more
	outcomeFull      = "full"      // not asked: it had no slot
)

// The outcomes of a call.
const (
	callAnswered    = "answered"
	callRefused     = "refused"
	callCancelled   = "cancelled"
	callAnnounced   = "announced"    // it heard an announcement, and nobody answered
	callLostTalking = "lost_talking" // R34: the caller left while nobody talked to it any more
)

// callName names a call: when this process began, its loop, its number there. So it is unique over restarts.
func (s *Server) callName(loop int, id uint64) string {
	b := make([]byte, 0, 24)
	b = strconv.AppendInt(b, s.born.UnixMilli(), 36)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(loop), 36)
	b = append(b, '-')
	return string(strconv.AppendUint(b, id, 36))
}

// record tells the observer something about this call.
func (s *session) record(now time.Time, r Record) {
	r.At, r.Call, r.Route, r.Class = now, s.name, s.match.Route.Name, s.machine.Class
	s.loop.s.cfg.Observer.Recorded(r)
}

// record tells the observer something about this attempt.
func (at *attempt) record(now time.Time, r Record) {
	r.Endpoint, r.Attempt, r.CallID = at.ask.Endpoint, int(at.id), at.callID
	r.Partner = at.ep != nil && at.ep.Partner
	at.s.record(now, r)
}

// outcome tells the observer what became of this attempt.
func (at *attempt) outcome(now time.Time, outcome string, code int, why string) {
	at.record(now, Record{Kind: AttemptOver, Outcome: outcome, Code: code, Took: now.Sub(at.asked), Why: why})
}

// came tells of a call that was taken.
func (s *session) came(now time.Time) {
	m := s.invite
	r := Record{
		Kind: CallCame, Trunk: s.trunk.Name, Caller: s.number, Called: s.match.Number, CallID: m.CallID, From: m.From, Flow: s.src,
		Malformed: m.Malformed, SecondLine: s.match.SecondLine, Why: s.match.Why,
	}
	r.Asserted, _ = m.Get("P-Asserted-Identity")
	s.record(now, r)
	if m.Malformed && s.loop.s.gate.odd.take(s.loop.s.instant(now)) {
		s.record(now, Record{Kind: MessageMalformed, What: "salvaged", CallID: m.CallID, Trunk: s.trunk.Name, Caller: s.number, Called: s.match.Number, Flow: s.src, Why: "the INVITE from " + s.src.Remote.String() + " had to be mended"})
	}
}

// ended tells how the call has ended.
func (s *session) ended(now time.Time, why string) {
	r := Record{
		Kind: CallEnded, Trunk: s.trunk.Name, Caller: s.number, Called: s.match.Number, CallID: s.caller.leg.CallID, Outcome: callRefused, Code: s.code, Why: why,
	}
	if !s.answeredAt.IsZero() {
		r.Outcome, r.Took = callAnswered, now.Sub(s.answeredAt)
	}
	switch {
	case s.answeredAt.IsZero() && s.aside.answered:
		r.Outcome = callAnnounced
	case s.machine.LostTalking:
		r.Outcome = callLostTalking
	case s.code == 487:
		r.Outcome = callCancelled
	}
	if at := s.last; at != nil {
		r.Endpoint, r.Partner, r.Attempt = at.ep.Name, at.ep.Partner, int(at.id)
	}
	switch {
	case s.unconfirmed:
		r.What = "unacknowledged"
	case s.perhaps && s.machine.Class != policy.Test:
		r.What = "perhaps_not_reached"
	}
	s.record(now, r)
}

// counted tells what an endpoint's talk has shown of the media. It must be told before the ports are given back.
func (s *session) counted(now time.Time, at *attempt) {
	if at == nil || at.counted || s.caller.media == nil || at.media == nil {
		return
	}
	at.counted = true
	at.record(now, Record{Kind: CallMedia, Media: [2]MediaCount{s.loop.count(s.caller.media), s.loop.count(at.media)}})
}

// count adds up the streams of one side.
func (l *loop) count(side *media.Side) MediaCount {
	var c MediaCount
	l.stats = side.Stats(l.stats[:0])
	for i := range l.stats {
		st := &l.stats[i]
		c.Packets += st.Packets
		c.Bytes += st.Bytes
		c.Lost += st.Lost
		c.Foreign += st.Foreign
		c.Jitter = max(c.Jitter, st.Jitter)
	}
	return c
}

// missed is how an endpoint missed its latest probe.
type missed struct {
	outcome health.Outcome
	code    int
}

// probed tells of a missed probe: the first of a row, and one that was missed otherwise than the one before. The others would fill the book with
// what it says already.
func (l *loop) probed(now time.Time, p health.Probe) {
	was, row := l.missed[p.Endpoint]
	if p.Outcome == health.Alive {
		delete(l.missed, p.Endpoint)
		return
	}
	is := missed{p.Outcome, p.Code}
	if row && was == is {
		return
	}
	l.missed[p.Endpoint] = is
	l.s.cfg.Observer.Recorded(Record{Kind: ProbeMissed, At: now, Endpoint: p.Endpoint, Outcome: outcomeWord(p.Outcome), Code: p.Code})
}

func outcomeWord(o health.Outcome) string {
	switch o {
	case health.Alive:
		return "alive"
	case health.Refused:
		return outcomeRefused
	case health.Silent:
		return outcomeSilent
	case health.Unreachable:
		return "unreachable"
	}
	return ""
}
