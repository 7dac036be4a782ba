package sip

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"nines/call"
	"nines/media"
	"nines/media/sdp"
	"nines/policy"
	"nines/sip/leg"
	"nines/sip/txn"
	"nines/sip/wire"
)

// session is one call as this room sees it: the messages, dialogs and ports around a call.Call, which decides. Its loop owns it.
type session struct {
	loop     *loop
	id       uint64
	name     string // in the log and in the book
	log      zerolog.Logger
	began    time.Time
	machine  *call.Call
	routing  *routing // the configuration it began with (R3)
	trunk    *Trunk
	stranger *stranger // nil: a trunk's, or one whose address is proven
	match    policy.Match
	number   string // the caller's number as far as it is known; for R9 only, never logged

	caller    party
	key       txn.Key       // the caller's INVITE
	invite    *wire.Message // nil once it is not needed any more
	src       wire.Flow     // where the INVITE came from
	offer     description   // what the caller offered; ok is false for an INVITE without
	attempts  []*attempt    // by AttemptID, from 1
	winner    *attempt
	last      *attempt // who was the winner last
	frozen    *frozen  // R44: the answer that the caller has seen before the call was answered
	lateOffer bool     // the caller's INVITE had no offer: the winner's 200 brings it, the caller's ACK answers

	answeredAt time.Time
	cancelMsg  *wire.Message // the caller's CANCEL, for its Reason
	byeMsg     *wire.Message // the BYE that is being passed on
	relays     []*relay      // requests in dialog that wait for the other side's answer
	refitDue   bool          // the winner must be asked again for the codecs that the caller was told (R44)
	check      callerCheck
	hearing    *media.Playing      // what the caller hears while somebody is looked for
	watch      watch               // over the endpoint's media (R20)
	aside      aside               // what the caller hears of ours (R24)
	onRoute    policy.RouteName    // the route that it came on
	talksSince time.Time           // since when the present endpoint talks
	retellDue  bool                // the caller must be asked again: the new endpoint answered otherwise (R21)
	byeJudge   func(now time.Time) // a suspicious BYE that waits for its burst (R23)
	byeJudgeAt time.Time

	events      []call.Event
	feeding     bool
	final       bool // the caller's INVITE has its final response
	waits       bool // the 200 waits for a PRACK
	over        bool
	code        int  // of that final response
	perhaps     bool // the caller cleared soon after a queue's answer
	unconfirmed bool // and the caller never acknowledged it
	callerDone  bool // the caller's INVITE transaction has ended
	touched     bool
	alarm       time.Time
	faults      int       // of ours that this call has met
	rest        time.Time // until when its deadlines wait after one
}

// party is one side of a call: its dialog, its flow, its ports.
type party struct {
	leg    *leg.Leg
	flow   wire.Flow
	reply  wire.Flow      // where the responses go that the leg repeats
	back   netip.AddrPort // where they go when that is a connection and ends (RFC 3261 §18.2.2)
	lost   bool           // it has ended
	dials  bool           // a new one is being made
	dead   bool           // the flow's connection has ended
	queue  []reached      // requests that wait for a connection
	pinned bool           // requests go to the flow, whatever the Contact says (R6)
	ep     *endpoint      // nil for the caller
	media  *media.Side
	half   string              // its half of the Session-ID
	far    []byte              // its last session description, as received
	later  func(now time.Time) // a BYE that waits for the ACK of our 2xx (RFC 3261 §15)
}

// frozen is an answer that the caller has been given in a provisional response.
type frozen struct {
	attempt *attempt
	theirs  []byte // as the endpoint sent it
	ours    []byte // as we sent it up
	body    []byte // the whole body around ours
	ctype   string
}

// description is the body of a message and the session description in it.
type description struct {
	ctype string
	body  []byte
	span  sdp.Span
	ok    bool
}

func describe(m *wire.Message) description {
	d := description{ctype: m.ContentType, body: m.Body}
	if len(m.Body) > 0 {
		d.span, d.ok = sdp.Locate(m.ContentType, m.Body)
	}
	return d
}

func (d description) text() []byte { return d.body[d.span.Start:d.span.End] }

func newSession(now time.Time, l *loop, key txn.Key, m *wire.Message, f wire.Flow, r *routing, trunk *Trunk, trying []byte) {
	l.next++
	s := &session{
		loop: l, id: l.next, name: l.s.callName(l.n, l.next), began: now, routing: r, trunk: trunk, key: key, invite: m, src: f,
	}
	s.log = l.log.With().Str("call", s.name).Logger()
	s.caller.flow = replyFlow(m, f)
	s.caller.answers(m, f)
	s.learnHalf(&s.caller, m)
	s.offer = describe(m)
	s.lateOffer = !s.offer.ok
	if s.offer.ok {
		s.caller.far = s.offer.text()
	}
	s.caller.leg = newCallerLeg(s, m)
	s.match = r.policy.Match(s.query(now))
	switch {
	case !s.match.Found && trunk.Name == "":
		l.refuse(now, key, m, f, 403, "Forbidden") // an endpoint that is no trunk reaches emergency numbers only
		return
	case !s.match.Found:
		l.refuse(now, key, m, f, 404, "Not Found")
		return
	case s.match.Route.Class != policy.Emergency && l.tooMany(now, l.s.gate.routine, f, "routine calls"):
		l.txns.Forget(key)
		l.turnAway(m, f, 480, "Temporarily Unavailable", wire.Header{Name: "Retry-After", Value: utoa(uint64(retryLeast + l.rnd.IntN(retryMost-retryLeast)))})
		return
	}
	s.number = callerNumber(m)
	s.machine = call.New(call.Params{Class: s.match.Route.Class})
	s.onRoute = s.match.Route.Name
	if s.match.Treated != "" {
		s.onRoute = s.match.Treated
	}
	l.calls[s.id] = s
	l.invites[key] = s
	if f.Proto.Stream() && trunk.Name == "" {
		l.s.stack.Keep(f)
	} else if trunk.Name == "" && l.isStranger(f) {
		s.stranger = &stranger{credit: l.size(), size: l.size()}
		l.unproven[key] = s
	}
	l.s.count.calls.Add(1)
	l.s.count.active.Add(1)
	l.s.cfg.Observer.CallBegan(trunk.Name, s.onRoute)
	s.log.Info().Str("trunk", string(trunk.Name)).Str("route", string(s.match.Route.Name)).Str("called", s.match.Number).
		Str("why", s.match.Why).Str("call_id", m.CallID).Bool("malformed", m.Malformed).Msg("call came in")
	s.came(now)
	s.opened(trying)
	s.reserveCaller()
	s.plan(now)
	l.touch(s)
}

// query is what the caller's INVITE says about who is called, and what an operator has ordered about it.
func (s *session) query(now time.Time) policy.Query {
	q := query(s.invite, s.trunk)
	q.Treated = s.loop.s.treatedNow(now)
	return q
}

// query is what a request says about who is called.
func query(m *wire.Message, trunk *Trunk) policy.Query {
	_, to, _ := wire.NameAddr(m.To)
	q := policy.Query{Trunk: trunk.Name, RequestURI: m.URI, To: to, Caller: callerNumber(m)}
	for _, name := range [...]string{"P-Called-Party-ID", "Route"} {
		for _, v := range m.All(name) {
			if _, uri, _ := wire.NameAddr(v); name != "Route" || strings.HasPrefix(strings.ToLower(uri), "urn:") {
				q.Others = append(q.Others, uri)
			}
		}
	}
	for _, v := range m.All("History-Info") {
		if marked(v) {
			q.Marked = true
		}
	}
	return q
}

// callerNumber is what a loop of mutual aid is recognised by when its marker was stripped (R9). Empty for withheld numbers.
func callerNumber(m *wire.Message) string {
	v, ok := m.Get("P-Asserted-Identity")
	if !ok {
		v = m.From
	}
	_, uri, _ := wire.NameAddr(v)
	n := policy.Number(uri)
	digits := 0
	for _, c := range n {
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	if digits < 5 {
		return ""
	}
	return n
}

// reserveCaller opens the caller's ports. Without ports the call goes on with its media past us: heard is better than anchored.
func (s *session) reserveCaller() {
	six := s.src.Local.Addr().Unmap().Is6()
	if !s.offer.ok {
		s.caller.media = s.reserve(s.src, six, 1)
		return
	}
	v, err := sdp.Look(s.offer.text())
	if err != nil {
		return // nothing in it that we could anchor
	}
	for i := range v.Streams {
		if a := v.Streams[i].Addr; a.IsValid() { // who calls by IPv6 may still talk by IPv4
			six = a.Unmap().Is6()
			break
		}
	}
	if s.caller.media = s.reserve(s.src, six, len(v.Streams)); s.caller.media != nil {
		s.expect(&s.caller, &v, nil)
	}
}

// reserve opens the ports of one side. The second line leaves a third of them to new emergency calls (R7). A rescue gets its ports all the same: the
// caller talks to ours, so audio that goes past us would be none, and the lost endpoint's are given back for them.
func (s *session) reserve(f wire.Flow, six bool, streams int) *media.Side {
	relay := s.loop.s.cfg.Media
	if s.match.SecondLine && !s.final {
		if t := relay.Stats(); t.Free < (t.Free+t.InUse)/3 {
			s.loop.s.count.noPorts.Add(1)
			s.log.Warn().Msg("few media ports are left, and they are kept for new emergency calls: this call's audio goes past us")
			return nil
		}
	}
	addr, ok := s.loop.s.mediaAddress(f, six)
	if !ok {
		return nil
	}
	side, err := relay.Reserve(addr, max(streams, 1))
	if err != nil {
		s.loop.s.count.noPorts.Add(1)
		s.log.Error().Err(err).Msg("no media ports for a call: its audio goes past us; widen media.ports")
		return nil
	}
	return side
}

// plan makes a plan of what is believed now and gives it to the call.
func (s *session) plan(now time.Time) {
	srv := s.loop.s
	if s.final { // a rescue: by the configuration that runs now, in the second line (R7, R21)
		s.rematch(now)
		s.match.SecondLine = true
	} else if s.match.Route.Shed != nil {
		srv.weigh(now)
	}
	srv.shared.mu.Lock()
	p := s.routing.policy.Plan(s.match, s.view(now))
	srv.shared.mu.Unlock()
	s.planned(now, p)
}

// planned gives a plan to the call.
func (s *session) planned(now time.Time, p policy.Plan) {
	p.RescueBye = p.Rescue && s.match.Route.RescueBye
	s.record(now, Record{Kind: CallPlanned, Plan: p.Steps, SecondLine: p.SecondLine, Why: p.Why})
	s.feed(now, call.Planned{Plan: p})
}

// view is the world as a plan of this call sees it. The caller holds the lock.
func (s *session) view(now time.Time) policy.View {
	srv := s.loop.s
	snap := srv.health.Load()
	own := 0
	for _, at := range s.attempts {
		if at.marked {
			own++
		}
	}
	return policy.View{
		State: func(name policy.EndpointName) policy.State {
			st := snap.For(name, s.match.Number)
			return policy.State{
				Verdict: st.Verdict, Held: st.Held, Busy: st.Full(now), Used: srv.shared.slots.Used(name), Words: st.Words,
				Returning: st.Returning, Canary: st.CanaryDue(now),
			}
		},
		TakeCanary:  func(name policy.EndpointName) bool { return srv.shared.slots.TakeCanary(now, name) },
		MaxForwards: maxForwards(s.invite),
		CallerOut:   s.number != "" && srv.shared.out[s.number] > own,
		Shed:        srv.shared.shedding.On(s.match.Route.Name),
	}
}

func maxForwards(m *wire.Message) int {
	if m.MaxForwards < 0 {
		return 70 // RFC 3261 §16.6.3
	}
	return m.MaxForwards
}

// feed tells the call what happened and does what it says. What happens while that is done waits for its turn.
func (s *session) feed(now time.Time, ev call.Event) {
	s.events = append(s.events, ev)
	if s.feeding {
		return
	}
	s.feeding = true
	defer func() { s.feeding = false }()
	for len(s.events) > 0 {
		ev := s.events[0]
		s.events = s.events[1:]
		for _, a := range s.machine.Step(now, ev) {
			s.safely(now, a)
		}
		s.reportSilence(now)
	}
	s.events = s.events[:0]
	s.tidyAside(now)
	s.loop.touch(s)
}

// safely does one action. One that meets a fault of ours does not keep the others from being done.
func (s *session) safely(now time.Time, a call.Action) {
	defer func() {
		if r := recover(); r != nil {
			s.loop.current = s
			s.loop.fault("an action", r)
			s.undone(now, a)
		}
	}()
	s.loop.meet(a)
	s.perform(now, a)
}

// undone is an action that met a fault of ours. Who could not be asked has refused; a caller who could not be answered is told so, while it can
// still go elsewhere; an end is tried once more.
func (s *session) undone(now time.Time, a call.Action) {
	defer func() {
		if r := recover(); r != nil {
			s.loop.fault("what follows a fault", r)
		}
	}()
	switch a := a.(type) {
	case call.Ask:
		if len(s.attempts) < int(a.Attempt) {
			s.attempts = append(s.attempts, &attempt{s: s, id: a.Attempt, ask: a, asked: now, final: true})
			s.feed(now, call.Refused{Attempt: a.Attempt, Cause: call.NoAddress})
		} else if at := s.attempt(a.Attempt); !at.sent {
			at.fail(now, call.NoAddress, 0)
		}
	case call.Answer, call.NeedPlan:
		s.faulted(now)
	case call.Play:
		s.feed(now, call.Unplayable{Why: "a fault of ours"})
	case call.Over:
		s.end(now, a.Why)
	case call.Reject:
		s.reject(now, a)
	case call.Stop, call.Resume, call.Discard, call.Ring, call.Early, call.Aim, call.HangUp, call.Note,
		call.Check, call.Rescuing, call.Kept, call.Replace, call.Abandon, call.Hush, call.Escaping:
		// The call goes by its deadlines.
	}
}

// faulted is a fault of ours in the middle of this call. What talks talks on, whatever state we are in; a caller who waits is kept as long as the
// call's own deadlines can be trusted.
func (s *session) faulted(now time.Time) {
	defer func() {
		if r := recover(); r != nil {
			s.loop.fault("what follows a fault", r)
		}
	}()
	s.faults++
	s.rest = now.Add(time.Duration(min(s.faults, 60)) * time.Second)
	s.loop.touch(s)
	phase := s.machine.Phase
	if s.final || s.over || s.waits || phase == call.PhaseAsking && s.faults < maxFaults {
		return
	}
	code, text := policy.FinalCode(s.machine.Class, nil)
	s.reject(now, call.Reject{Code: code, Text: text, Why: "a fault of ours"})
	if phase == call.PhaseAnswered {
		s.feed(now, call.HungUp{Side: call.Caller})
	} else {
		s.feed(now, call.Cancelled{})
	}
}

// maxFaults is how many faults of ours a call may meet before its caller is sent elsewhere.
const maxFaults = 3

// perform does one action.
func (s *session) perform(now time.Time, a call.Action) {
	switch a := a.(type) {
	case call.NeedPlan:
		s.needPlan(now, a)
	case call.Ask:
		s.ask(now, a)
	case call.Stop:
		s.attempt(a.Attempt).stop(now, a)
	case call.Resume:
		s.attempt(a.Attempt).resume(now, a.Why)
	case call.Discard:
		s.attempt(a.Attempt).discard(now, a.Why)
	case call.Ring:
		s.ring(now)
	case call.Early:
		s.early(now, s.attempt(a.Attempt))
	case call.Aim:
		s.aim(s.attempt(a.Attempt))
	case call.Answer:
		s.answer(now, s.attempt(a.Attempt))
	case call.Reject:
		s.reject(now, a)
	case call.HangUp:
		s.hangUp(now, a)
	case call.Check:
		s.checkEndpoint(now, false)
	case call.Rescuing:
		s.rescuing(now, a)
	case call.Kept:
		s.kept(now, a)
	case call.Replace:
		s.replace(now, s.attempt(a.Attempt))
	case call.Abandon:
		s.abandon(now, a)
	case call.Play:
		s.play(now, a)
	case call.Hush:
		s.endPlay(now, a.Why)
	case call.Escaping:
		s.escaping(now, a)
	case call.Note:
		s.log.Info().Msg(a.Text)
		s.record(now, Record{Kind: CallNoted, Why: a.Text})
	case call.Over:
		s.end(now, a.Why)
	}
}

func (s *session) attempt(id call.AttemptID) *attempt { return s.attempts[id-1] }

// ring sends a 180 without SDP to the caller (R44).
func (s *session) ring(now time.Time) {
	if s.final {
		return
	}
	s.provisional(now, 180, "Ringing", nil)
}

// early sends an attempt's session description to the caller; from here on that answer is frozen (R44).
func (s *session) early(now time.Time, at *attempt) {
	d := describe(at.early())
	if s.final || s.frozen != nil || !d.ok {
		return
	}
	if s.caller.media != nil && at.media == nil {
		s.ring(now) // no ports were left for it: its early media would not reach who is told ours
		return
	}
	s.frozen = &frozen{attempt: at, theirs: d.text(), ctype: d.ctype}
	s.aim(at)
	s.frozen.body, s.frozen.ours = s.rewritten(&s.caller, d)
	s.provisional(now, 183, "Session Progress", s.frozen)
}

// provisional sends a 18x, reliably where the caller demands it, or can do it and SDP is in it (RFC 3262 §3). To an INVITE without offer the first reliable
// response must bring one (RFC 3261 §13.2.1), and only the winner's may go up (R44): until then even who demands it hears of ringing unreliably, which at
// worst is ignored.
func (s *session) provisional(now time.Time, code int, reason string, with *frozen) {
	m, lg := s.invite, s.caller.leg
	b := appendReply(make([]byte, 0, 1024), m, s.src.Remote, code, reason, lg.LocalTag)
	b = appendRecordRoutes(b, m)
	b = wire.AppendHeader(b, "Contact", lg.Contact)
	b = wire.AppendHeader(b, "Allow", allow)
	b = s.appendSessionID(b, &s.caller)
	reply := leg.Reply{Method: "INVITE", CSeq: m.CSeq, Code: code}
	if with != nil && m.HasToken("Supported", "100rel") || m.HasToken("Require", "100rel") && !s.lateOffer {
		reply.RSeq = lg.NextRSeq(s.loop.rnd.Uint32())
		b = wire.AppendHeader(b, "Require", "100rel")
		b = wire.AppendHeader(b, "RSeq", utoa(uint64(reply.RSeq)))
	}
	if with == nil {
		b = wire.AppendBody(b, nil)
	} else {
		b = wire.AppendHeader(b, "Content-Type", with.ctype)
		b = wire.AppendBody(b, with.body)
		reply.SDP = with.ours
	}
	reply.Data = b
	if lg.Reply(now, reply).Wait {
		return // one at a time; it follows when the one before has its PRACK
	}
	s.loop.respond(now, s.key, code, b)
}

func appendRecordRoutes(b []byte, m *wire.Message) []byte {
	for _, v := range m.All("Record-Route") {
		b = wire.AppendHeader(b, "Record-Route", v)
	}
	return b
}

// aim joins the caller's ports with an attempt's.
func (s *session) aim(at *attempt) {
	msg := at.answerMsg
	if msg == nil {
		msg = at.early()
	}
	if msg == nil {
		return
	}
	if d := at.sdpOf(msg); d.ok {
		at.far = d.text()
		if !at.madeOffer && at.media == nil && s.caller.media != nil {
			at.media = s.reserve(at.flow, at.flow.Remote.Addr().Unmap().Is6(), s.caller.media.Len()) // the caller's answer will need it
		}
		if at.madeOffer {
			s.pair(&s.caller, s.caller.far, &at.party, at.far)
		}
	}
	switch {
	case s.caller.media == nil:
	case s.stranger != nil: // its ACK joins them
	case at.media != nil:
		s.loop.s.cfg.Media.Join(s.caller.media, at.media)
	case s.frozen == nil:
		// No ports were left for this attempt: it was offered the caller's own address, so the caller must be given the endpoint's.
		s.caller.media.Release()
		s.caller.media = nil
	}
}

// answer sends the 200 to the caller.
func (s *session) answer(now time.Time, at *attempt) {
	s.winner, s.last = at, at
	s.letGo(now, "")
	if !s.caller.leg.MayAnswer() {
		s.waits = true  // RFC 3262 §3: the 2xx waits for the PRACK of a provisional with SDP
		at.confirm(now) // but who answered does not wait
		return
	}
	s.waits = false
	s.answeredAt, s.talksSince = now, now
	m := at.answerMsg
	var body, text []byte
	ctype := ""
	if s.frozen != nil {
		body, text, ctype = s.frozen.body, s.frozen.ours, s.frozen.ctype
	} else if d := at.sdpOf(m); d.ok {
		body, text = s.rewritten(&s.caller, d)
		ctype = d.ctype
	}
	s.caller.leg.Contact = s.loop.s.contact(s.src, m)
	b := appendReply(make([]byte, 0, 1024+len(body)), s.invite, s.src.Remote, m.Status, m.Reason, s.caller.leg.LocalTag)
	b = appendRecordRoutes(b, s.invite)
	b = wire.AppendHeader(b, "Contact", s.caller.leg.Contact)
	b = s.appendAnswerHeaders(b, m)
	b = s.grantTimer(b, now, &s.caller, s.invite)
	if ctype != "" {
		b = wire.AppendHeader(b, "Content-Type", ctype)
	}
	b = wire.AppendBody(b, body)
	s.final = true
	s.caller.leg.Reply(now, leg.Reply{Method: "INVITE", CSeq: s.invite.CSeq, Code: m.Status, SDP: text, Data: b})
	s.loop.respond(now, s.key, m.Status, b)
	if s.caller.lost {
		s.callBack(&s.caller)
	}
	at.confirm(now)
	s.loop.s.failedSince.Store(0)
	setup := now.Sub(s.began)
	s.loop.s.count.answered.Add(1)
	s.loop.s.count.talking.Add(1)
	s.code = m.Status
	s.loop.s.cfg.Observer.CallAnswered(s.onRoute, s.machine.Class, at.ep.Name, setup)
	at.record(now, Record{Kind: CallAnswered, Code: m.Status, Took: setup})
	s.log.Info().Str("endpoint", string(at.ep.Name)).Dur("setup_ms", setup).Int("attempt", int(at.id)).Msg("call answered")
	s.refit(now, at)
	s.watchTalk(now)
}

// appendAnswerHeaders copies the end-to-end headers of a 200 up, with option tags that hold on the caller's leg.
func (s *session) appendAnswerHeaders(b []byte, m *wire.Message) []byte {
	hasAllow, hasID := false, false
	for i := range m.Headers {
		h := &m.Headers[i]
		if perLeg(h.Name) || bodyHeader(h.Name) {
			continue
		}
		hasAllow = hasAllow || strings.EqualFold(h.Name, "Allow")
		hasID = hasID || strings.EqualFold(h.Name, "Session-ID")
		b = wire.AppendHeader(b, h.Name, h.Value)
	}
	if !hasAllow {
		b = wire.AppendHeader(b, "Allow", allow)
	}
	if !hasID {
		b = s.appendSessionID(b, &s.caller)
	}
	return appendTags(b, "Supported", s.caller.knownTags(optionTags(m, "Supported")))
}

// refit re-INVITEs a winner that answered otherwise than the frozen answer that the caller already has (R44). If it does not do as it is asked, the caller
// is re-INVITEd with what it does speak: a call without sound helps nobody.
func (s *session) refit(now time.Time, at *attempt) {
	if s.frozen == nil || at.far == nil || sdp.SameCodecs(s.frozen.theirs, at.far) {
		return
	}
	s.refitDue = false
	text := s.reword(&at.party, sdp.Restrict(s.offer.text(), s.frozen.theirs), true)
	s.log.Info().Msg("the winner answered otherwise than the caller was told: asking it again with the agreed codecs")
	s.ownReinvite(now, at, text)
}

// refitLater notes that the winner was busy with an exchange of its own: it is asked again after the time that RFC 3261 §14.1 gives.
func (s *session) refitLater(now time.Time) {
	if s.winner == nil || s.over {
		return
	}
	s.refitDue = true
	s.winner.leg.BackOff(now, s.loop.rnd.Uint32())
}

// reject sends the final refusal.
func (s *session) reject(now time.Time, a call.Reject) {
	if s.final {
		return
	}
	s.final, s.code = true, a.Code
	m := s.invite
	b := appendReply(make([]byte, 0, 512), m, s.src.Remote, a.Code, a.Text, s.caller.leg.LocalTag)
	b = wire.AppendHeader(b, "Allow", allow)
	b = s.appendSessionID(b, &s.caller)
	if a.Later { // R24: not all of them at the same moment
		b = wire.AppendHeader(b, "Retry-After", utoa(uint64(retryLeast+s.loop.rnd.IntN(retryMost-retryLeast))))
	}
	s.caller.leg.Reply(now, leg.Reply{Method: "INVITE", CSeq: m.CSeq, Code: a.Code})
	s.loop.respond(now, s.key, a.Code, wire.AppendBody(b, nil))
	if s.caller.lost {
		s.callBack(&s.caller)
	}
	if a.Code == 487 {
		s.loop.s.count.cancelled.Add(1)
	} else {
		s.loop.s.count.rejected.Add(1)
		if s.machine.Class == policy.Emergency {
			s.loop.s.failing(now)
		}
	}
	s.loop.s.cfg.Observer.CallFailed(s.onRoute, s.machine.Class, a.Code)
	s.log.Warn().Int("code", a.Code).Str("why", a.Why).Msg("call was not answered")
}

// When a routine caller who is refused may try again, in seconds.
const (
	retryLeast = 30
	retryMost  = 120
)

// hangUp sends a BYE to one side. What the other side's BYE said goes with it (R46).
func (s *session) hangUp(now time.Time, a call.HangUp) {
	p := &s.caller
	if a.Side == call.Callee {
		if s.winner == nil {
			return
		}
		s.winner.ackNow(now, nil, nil, "") // where its ACK waited for the caller's, nothing more will come (RFC 3261 §13.2.2.4)
		p = &s.winner.party
	} else if !s.final {
		code, text := policy.FinalCode(s.machine.Class, nil)
		s.waits = false
		s.reject(now, call.Reject{Code: code, Text: text, Why: a.Why + " before the answer could go up"})
		return
	}
	s.bye(now, p, s.byeMsg, "", a.Why)
}

// cancelled is the caller's CANCEL to its INVITE, or to a re-INVITE.
func (s *session) cancelled(now time.Time, invite txn.Key, m *wire.Message) {
	if invite != s.key {
		s.cancelRelay(now, invite)
		return
	}
	s.callerLeft(now, m)
}

// callerLeft is a caller who wants no answer any more: a CANCEL, or a BYE in the early dialog. While an answer waits for a PRACK the call has its
// winner, but the caller was not told yet and hears 487 all the same.
func (s *session) callerLeft(now time.Time, m *wire.Message) {
	s.cancelMsg = m
	if !s.waits {
		s.feed(now, call.Cancelled{})
		return
	}
	s.waits = false
	s.reject(now, call.Reject{Code: 487, Text: "Request Terminated", Why: "the caller left while the answer waited for its PRACK"})
	s.feed(now, call.HungUp{Side: call.Caller})
}

// end is what remains to be done when the call is over: the ports go back, and what the session needed to be talked to is forgotten.
func (s *session) end(now time.Time, why string) {
	if s.over {
		return
	}
	s.over = true
	s.endPlay(now, why)
	s.tidyAside(now)
	s.letGo(now, why)
	s.log.Info().Str("why", why).Dur("age_ms", now.Sub(s.began)).Msg("call over")
	s.found()
	if s.machine.LostTalking {
		s.loop.s.count.lostTalking.Add(1)
		s.log.Warn().Str("why", why).Msg("the caller left while nobody talked to it any more: ring it back")
	}
	s.loop.s.count.active.Add(-1)
	s.loop.s.cfg.Observer.CallOver(s.trunk.Name, s.onRoute, !s.answeredAt.IsZero())
	s.counted(now, s.last)
	s.ended(now, why)
	if !s.answeredAt.IsZero() {
		s.loop.s.count.talking.Add(-1)
	}
	for _, at := range s.attempts {
		at.release()
	}
	if s.caller.media != nil {
		s.caller.media.Release()
		s.caller.media = nil
	}
	s.offer, s.frozen = description{}, nil
	for _, r := range s.relays {
		r.abandon(now)
	}
	s.relays = nil
}

// wake is the session's next deadline.
func (s *session) wake() time.Time {
	t := s.machine.Wake()
	t = earliest(t, s.caller.leg.Next())
	if s.winner != nil && s.winner.leg != nil {
		t = earliest(t, s.winner.leg.Next())
	}
	if !s.over {
		t = earliest(t, s.check.next)
		t = earliest(t, s.watch.next)
		if s.byeJudge != nil {
			t = earliest(t, s.byeJudgeAt)
		}
	}
	for _, r := range s.relays {
		if !r.answered && !r.cancelled {
			t = earliest(t, r.until)
		}
	}
	return t
}

// tick does what is due.
func (s *session) tick(now time.Time) {
	s.loop.meet(s)
	s.legTick(now, &s.caller)
	if s.winner != nil && s.winner.leg != nil {
		s.legTick(now, &s.winner.party)
	}
	if !s.over && !s.watch.next.IsZero() && !s.watch.next.After(now) {
		s.look(now) // before the call's own deadlines: a packet that has come speaks first
	}
	if judge := s.byeJudge; judge != nil && !s.byeJudgeAt.After(now) {
		s.byeJudge = nil
		judge(now)
	}
	if w := s.machine.Wake(); !w.IsZero() && !w.After(now) {
		s.feed(now, call.Tick{})
	}
	if !s.over && !s.check.next.IsZero() && !s.check.next.After(now) {
		s.checkCaller(now)
	}
	for _, r := range s.relays {
		if !r.answered && !r.cancelled && !r.until.IsZero() && !r.until.After(now) {
			s.log.Info().Msg("a re-INVITE was not answered in three minutes: taking it back")
			r.cancel(now)
		}
	}
}

// forgettable says that nobody can need the session any more.
func (s *session) forgettable() bool {
	if !s.over || s.caller.leg.Pending2xx != nil || s.caller.later != nil || len(s.relays) > 0 {
		return false
	}
	for _, at := range s.attempts {
		if at.open() {
			return false
		}
	}
	return true
}

// forget drops a session. What repeated 2xx responses still need stays behind in remnants.
func (l *loop) forget(s *session) {
	delete(l.calls, s.id)
	l.trace.forget(s.id)
	if l.invites[s.key] == s {
		delete(l.invites, s.key)
	}
	for _, at := range s.attempts {
		at.leaveRemnant()
	}
}

func utoa(v uint64) string { return strconv.FormatUint(v, 10) }
