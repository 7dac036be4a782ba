package sip

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"nines/call"
	"nines/health"
	"nines/media/sdp"
	"nines/policy"
	"nines/sip/leg"
	"nines/sip/txn"
	"nines/sip/wire"
)

// attempt is one INVITE to one endpoint.
type attempt struct {
	party
	s        *session
	id       call.AttemptID
	tried    hop   // where it is, or was last
	hops     []hop // what is left to try
	plain    bool  // by TCP, where the endpoint's URI asks for TLS
	narrowed bool  // by UDP, because that TCP brought nothing
	wide     bool  // by TCP, because the INVITE is too large for UDP
	ask      call.Ask
	asked    time.Time

	tag    string // our tag in its dialogs, also when a PBX forks
	callID string
	cseq   uint32           // of its INVITE
	brief  leg.SessionTimer // what a 422 wants of it; then its INVITE is another one in the same would-be dialog
	branch string
	key    txn.Key
	uri    string   // Request-URI of the INVITE
	routes []string // its Route headers
	from   string   // its From value, with our tag
	to     string   // its To value

	fromBare string // its From value without a tag

	why       string // it was told to stop
	ticket    policy.Ticket
	slot      bool         // holds one of the endpoint's slots
	rescue    bool         // its call has lost its endpoint
	waits     bool         // a rescue that waits for its turn to ask
	place     policy.Place // its place
	paced     bool         // a rescue that may ask and has not got the first word
	marked    bool         // the caller's number is counted as being out at this partner
	sent      bool         // the INVITE has left
	stopped   bool
	held      bool // stopped, but its CANCEL waits for what the call says when it wakes
	cancelled bool // its transaction has a CANCEL
	final     bool // its INVITE has a final response, or will never have one
	released  bool
	reported  bool // its silence has been told to health

	dialogs    []*leg.Leg      // one per To tag; leg is the one that counts
	earlyMsgs  []*wire.Message // the first provisional with SDP of each dialog
	answered   bool
	answerMsg  *wire.Message // its 2xx; nil once it is not needed any more
	acked      bool          // our ACK to it went out, or waits for a connection
	ack        []byte        // that ACK
	madeOffer  bool          // its INVITE carried an offer
	firstAt    time.Time     // its first response of any kind
	canary     bool          // it tries a returning endpoint (R17)
	canaryLeft bool          // and has given the seat back
	rang       bool
	spoke      bool // any response came
	counted    bool // what its media has shown is told
}

// connectLimit is how long a TCP or TLS connection may take (R12).
const connectLimit = 200 * time.Millisecond

// lastWord is how long we try to make a connection for a BYE or a CANCEL whose own is gone: as long as one is repeated over UDP (RFC 3261 §17.1.2.2). A
// peer that is not told rings or talks on to nobody.
const lastWord = 30 * time.Second

// ask starts an attempt.
func (s *session) ask(now time.Time, a call.Ask) {
	at := &attempt{s: s, id: a.Attempt, ask: a, asked: now}
	at.ep = s.routing.byName[a.Endpoint]
	at.canary, at.rescue = s.isCanary(a), !s.watch.lostAt.IsZero()
	s.attempts = append(s.attempts, at)
	if at.ep == nil {
		at.final = true
		at.outcome(now, outcomeFailed, 0, "it is no longer in the configuration")
		s.feed(now, call.Refused{Attempt: at.id, Cause: call.NoAddress})
		return
	}
	if !at.takeSlot(now) || !at.takeTurn(now) {
		return
	}
	at.begin(now)
}

// begin looks for the way to the endpoint and sends the INVITE.
func (at *attempt) begin(now time.Time) {
	s, a := at.s, at.ask
	at.asked = now
	s.log.Info().Str("endpoint", string(a.Endpoint)).Int("attempt", int(a.Attempt)).Str("why", a.Why).Msg("asking")
	at.record(now, Record{Kind: CallAsked, What: a.Target, Why: a.Why})
	at.hops = at.ways()
	at.try(now, call.NoAddress)
}

// takeSlot asks for one of the endpoint's slots (R7).
func (at *attempt) takeSlot(now time.Time) bool {
	s, sh := at.s, &at.s.loop.s.shared
	sh.mu.Lock()
	g := sh.slots.Ask(now, policy.Asking{
		Endpoint: at.ep.Name, Class: s.machine.Class, SecondLine: s.match.SecondLine, Since: s.aloneSince(), Ticket: s.ticket(at.ep.Name),
		Route: s.match.Route.Name, Turn: s.aside.ticket != 0 || s.aside.diverted != 0,
	})
	if g.OK && at.ep.Partner && s.number != "" {
		sh.out[s.number]++
		at.marked = true
	}
	sh.mu.Unlock()
	if g.OK {
		at.slot = true
		return true
	}
	at.ticket = g.Ticket
	at.final = true
	at.outcome(now, outcomeFull, 0, "no slot is free")
	ev := call.Full{Attempt: at.id}
	if !g.Until.IsZero() {
		ev.Until = g.Until.UnixNano()
	}
	s.feed(now, ev)
	return false
}

// ticket is this call's place in the queue of a full partner.
func (s *session) ticket(name policy.EndpointName) policy.Ticket {
	for i := len(s.attempts) - 1; i >= 0; i-- {
		if at := s.attempts[i]; at.ep != nil && at.ep.Name == name && at.ticket != 0 {
			return at.ticket
		}
	}
	return 0
}

func portOr(p, otherwise uint16) uint16 {
	if p == 0 {
		return otherwise
	}
	return p
}

// send writes the INVITE.
func (at *attempt) send(now time.Time, f wire.Flow) {
	l := at.s.loop
	at.sent = true
	msg := at.invite(f)
	if g, ok := at.wider(f, len(msg)); ok {
		f, at.wide = g, true
		msg = at.invite(f)
	}
	at.flow = f
	at.key = l.request(now, "INVITE", at.branch, f, msg, 0, at)
}

// invite builds the INVITE of this attempt from the caller's.
func (at *attempt) invite(f wire.Flow) []byte {
	s, l := at.s, at.s.loop
	m := s.invite
	tok := token{loop: l.n, call: s.id, part: int(at.id)}
	if at.cseq++; at.brief == (leg.SessionTimer{}) {
		at.tag, at.callID, at.cseq = tok.text(l.rnd), tok.text(l.rnd), 1
	}
	at.branch = tok.branch(l.rnd)
	at.uri, at.routes = at.requestURI()
	at.fromBare, _ = leg.SplitTag(m.From)
	at.to, _ = leg.SplitTag(m.To)
	contact := l.s.contact(f, m)
	at.leg = at.newLeg(contact)
	at.dialogs = []*leg.Leg{at.leg}

	body, text := at.offerBody(f)
	line, err := at.leg.Request("INVITE", text)
	if err != nil {
		panic(err) // a new leg takes its INVITE
	}
	at.from = line.From
	b := make([]byte, 0, 1536+len(body))
	b = wire.AppendRequestLine(b, "INVITE", at.uri)
	b = l.s.appendVia(b, f, at.branch)
	for _, r := range at.routes {
		b = wire.AppendHeader(b, "Route", r)
	}
	b = wire.AppendHeader(b, "Max-Forwards", utoa(uint64(max(maxForwards(m)-1, 0)))) // R9: it must run out, or a loop never ends
	b = wire.AppendHeader(b, "From", at.from)
	b = wire.AppendHeader(b, "To", at.to)
	b = wire.AppendHeader(b, "Call-ID", at.callID)
	b = wire.AppendCSeq(b, line.CSeq, "INVITE")
	b = wire.AppendHeader(b, "Contact", contact)
	b = appendOptionTags(b, m, s.machine.Class != policy.Routine)
	for _, h := range sessionHeaders(at.leg.AskTimer()) {
		b = wire.AppendHeader(b, h.Name, h.Value)
	}
	b = at.appendDiversion(b, f)
	b = appendEndToEnd(b, m, true)
	if at.madeOffer && !s.offer.ok { // a rescue of a call whose INVITE had no body
		b = wire.AppendHeader(b, "Content-Type", "application/sdp")
	}
	b = at.appendHistory(b, f)
	return wire.AppendBody(b, body)
}

// requestURI follows R46: an endpoint's own user wins; else the called number at its host; a URN stays and the endpoint becomes a Route.
func (at *attempt) requestURI() (uri string, routes []string) {
	m := at.s.invite
	if at.ask.Target != "" {
		return at.ask.Target, nil
	}
	if at.ep.uri.User != "" {
		return at.epURI(), nil
	}
	number := at.s.match.Number
	u, _ := wire.ParseURI(m.URI)
	switch isURN := strings.HasPrefix(number, "urn:"); {
	case u.Scheme == "urn":
		return string(appendEscaped(nil, m.URI, uriUnescaped)), []string{"<" + withLR(at.epURI()) + ">"}
	case u.User != "" && only(u.User, userUnescaped+";?/%") && (isURN || policy.Number(m.URI) == number): // as the caller wrote it; where a URN stood in another header, too
		return at.at(u.User), nil
	case isURN:
		return string(appendEscaped(nil, number, uriUnescaped)), []string{"<" + withLR(at.epURI()) + ">"}
	case number == "":
		return at.epURI(), nil
	}
	return at.at(string(appendEscaped(nil, number, userUnescaped))), nil
}

// at is a user at the endpoint's host.
func (at *attempt) at(user string) string {
	scheme, rest, _ := strings.Cut(at.epURI(), ":")
	return scheme + ":" + user + "@" + rest
}

func withLR(uri string) string {
	if strings.Contains(uri, ";lr") {
		return uri
	}
	return uri + ";lr"
}

// offerBody is the caller's body with this attempt's ports in it. After a frozen answer only its codecs are offered (R44).
func (at *attempt) offerBody(f wire.Flow) (body, text []byte) {
	s := at.s
	rescue := s.final // the caller's last description is offered, whatever it was when it was sent (R21)
	switch {
	case rescue:
		text = s.caller.far
	case s.offer.ok:
		text = s.offer.text()
	}
	if text == nil {
		return s.invite.Body, nil
	}
	at.madeOffer = true
	if s.frozen != nil {
		text = sdp.Restrict(text, s.frozen.theirs)
	}
	if s.caller.media != nil && at.media == nil {
		at.media = s.reserve(f, f.Remote.Addr().Unmap().Is6(), s.caller.media.Len())
	}
	text = s.rewrite(&at.party, text)
	if !s.offer.ok {
		return text, text
	}
	return sdp.Splice(s.offer.body, s.offer.span, text), text
}

// response is a response to this attempt's INVITE.
func (at *attempt) response(now time.Time, m *wire.Message, f wire.Flow) {
	defer at.s.loop.touch(at.s)
	at.s.learnHalf(&at.party, m)
	if !at.spoke {
		at.spoke, at.firstAt = true, now
		at.firstWord(now, false)
	}
	if at.held && m.Status < 200 {
		at.held = false
		at.s.feed(now, call.Woke{Attempt: at.id})
		if at.stopped {
			at.cancelFor(now, at.why)
		}
	}
	switch {
	case m.Status == 100:
		at.s.feed(now, call.Trying{Attempt: at.id})
	case m.Status < 200:
		at.provisional(now, m, f)
	case m.Status < 300:
		at.accepted(now, m, f)
	default:
		at.refused(now, m)
	}
}

func (at *attempt) provisional(now time.Time, m *wire.Message, f wire.Flow) {
	if at.final {
		return
	}
	d, o := at.hear(now, m)
	if o.RAck.RSeq != 0 {
		at.s.prack(now, &party{leg: d, flow: f, pinned: at.pinned, half: at.half}, o.RAck)
	}
	if o.News != leg.Ringing {
		return // a repeat, or one whose forerunner is missing
	}
	s := at.s
	withSDP := false
	if s.offer.ok && describe(m).ok {
		at.keepEarly(m)
		withSDP = true
	}
	if !at.rang && m.Status != 199 { // a branch of its fork has ended (RFC 6228): that is no ringing
		at.rang = true
		at.shows(now, health.CallRang, m.Status, "") // also one that was stopped for its silence: it was slow, not dead
		s.log.Info().Str("endpoint", string(at.ep.Name)).Int("attempt", int(at.id)).Int("code", m.Status).Dur("after_ms", now.Sub(at.asked)).Msg("rings")
		at.record(now, Record{Kind: CallRang, Code: m.Status, Took: now.Sub(at.asked)})
	}
	s.feed(now, call.Rang{Attempt: at.id, Code: m.Status, SDP: withSDP})
}

// prack acknowledges a reliable provisional (RFC 3262 §4). An offer in it can't be answered by us; it is not passed, PRACK carries nothing.
func (s *session) prack(now time.Time, p *party, rack leg.RAck) {
	l := s.loop
	line, err := p.leg.Request("PRACK", nil)
	if err != nil {
		return
	}
	s.reach(now, p, line, func(now time.Time, flow wire.Flow, err error) {
		if err != nil {
			return
		}
		branch := token{loop: l.n, call: s.id, part: s.partOf(p)}.branch(l.rnd)
		msg := l.build(p, line, flow, branch, nil, "", nil, s.identified(p, wire.Header{Name: "RAck", Value: rack.String()}))
		l.request(now, "PRACK", branch, flow, msg, 0, dialogWaiter{l: l, leg: p.leg})
	})
}

// dialogWaiter tells a dialog about the responses to a small request of ours.
type dialogWaiter struct {
	quiet
	l   *loop
	leg *leg.Leg
}

func (w dialogWaiter) response(now time.Time, m *wire.Message, _ wire.Flow) {
	w.leg.Response(now, legResponse(m))
}

// accepted is a 2xx: the first, a repeat, or one from another branch of a PBX that forked.
func (at *attempt) accepted(now time.Time, m *wire.Message, f wire.Flow) {
	if at.answered && m.ToTag == at.leg.RemoteTag {
		at.reack(f)
		return
	}
	d, o := at.hear(now, m)
	if at.answered {
		switch o.News {
		case leg.Answered:
			at.endFork(now, d, m, f)
		case leg.Repeated:
			at.s.loop.send(f, d.ReAck(at.cseq))
		case leg.Nothing, leg.Ringing, leg.Forked, leg.Done, leg.Refused:
		}
		return
	}
	s := at.s
	if f.Proto.Stream() {
		at.flow, at.dead = f, false // RFC 3261 §18.2.2: it may have come by a new connection, because the one that we asked by is gone
	}
	at.answerMsg, at.answered, at.final, at.leg = m, true, true, d
	d.TimerAnswered(now, sessionOf(m))
	usable := !o.NoAnswer
	if !at.madeOffer {
		usable = describe(m).ok
	}
	usable = usable && at.fits(m)
	if usable {
		at.shows(now, health.CallAnswered, m.Status, "")
		s.loop.s.cfg.Observer.Attempted(at.ep.Name, outcomeAnswered)
		at.outcome(now, outcomeAnswered, m.Status, "")
	} else {
		at.outcome(now, outcomeUnusable, m.Status, "its answer has no audio that the caller could hear")
	}
	s.feed(now, call.Answered{Attempt: at.id, Usable: usable})
}

// sdpOf finds the answer of this attempt: in the 2xx, or in a provisional of the same dialog before it.
func (at *attempt) sdpOf(m *wire.Message) description {
	d := describe(m)
	if d.ok || m.Status < 200 {
		return d
	}
	for _, e := range at.earlyMsgs {
		if e.ToTag == m.ToTag {
			return describe(e)
		}
	}
	return d
}

// keepEarly keeps the first provisional with SDP of each branch of a PBX that forks.
func (at *attempt) keepEarly(m *wire.Message) {
	for _, e := range at.earlyMsgs {
		if e.ToTag == m.ToTag {
			return
		}
	}
	if len(at.earlyMsgs) < maxForks {
		at.earlyMsgs = append(at.earlyMsgs, m)
	}
}

// early is the first provisional with SDP, or nil.
func (at *attempt) early() *wire.Message {
	if len(at.earlyMsgs) == 0 {
		return nil
	}
	return at.earlyMsgs[0]
}

func (at *attempt) refused(now time.Time, m *wire.Message) {
	if at.final || m.Status == 422 && at.askLonger(now, m) {
		return
	}
	at.final = true
	s := at.s
	s.log.Info().Str("endpoint", string(at.ep.Name)).Int("attempt", int(at.id)).Int("code", m.Status).Str("reason", m.Reason).Msg("refused")
	if !at.stopped {
		if what, ok := health.CallOutcomeOf(m.Status); ok {
			at.shows(now, what, m.Status, "was refused with "+utoa(uint64(m.Status)))
		}
	}
	outcome := outcomeRefused
	if at.stopped {
		outcome = outcomeStopped // its stop is told already, with the reason
	} else {
		at.outcome(now, outcome, m.Status, m.Reason)
	}
	s.loop.s.cfg.Observer.Attempted(at.ep.Name, outcome)
	at.release()
	ev := call.Refused{Attempt: at.id, Code: m.Status}
	if m.Status < 400 {
		ev.Contacts = contacts(m)
	}
	s.feed(now, ev)
}

// askLonger asks again with the session interval that a 422 wants (RFC 4028 §7.3). It is no refusal: nobody else is asked for it.
func (at *attempt) askLonger(now time.Time, m *wire.Message) bool {
	if at.stopped || !at.leg.TimerTooBrief(minSE(m)) {
		return false
	}
	delete(at.s.loop.waiting, at.key) // its transaction stays, and acknowledges a 422 that repeats
	at.brief, at.earlyMsgs = at.leg.Timer, nil
	at.s.log.Info().Str("endpoint", string(at.ep.Name)).Dur("min_se_ms", minSE(m)).Msg("asking again with a longer session interval")
	at.send(now, at.flow)
	return true
}

// contacts gives the SIP URIs that a redirect names, the most wanted first (RFC 3261 §8.1.3.4, §20.10).
func contacts(m *wire.Message) []string {
	type contact struct {
		uri string
		q   float64
	}
	var list []contact
	for _, v := range m.List("Contact") {
		_, uri, params := wire.NameAddr(v)
		if !sipURI(uri) || !usable(uri) {
			continue
		}
		q := 1.0
		if s, ok := wire.Param(params, "q"); ok {
			if n, err := strconv.ParseFloat(s, 64); err == nil {
				q = n
			}
		}
		list = append(list, contact{uri, q})
	}
	slices.SortStableFunc(list, func(a, b contact) int { return cmp.Compare(b.q, a.q) })
	uris := make([]string, len(list))
	for i := range list {
		uris[i] = list[i].uri
	}
	return uris
}

// fail ends an attempt whose way was broken.
func (at *attempt) fail(now time.Time, cause call.Cause, code int) {
	if at.final {
		return
	}
	at.final = true
	if !at.stopped && cause != call.NoAddress {
		at.shows(now, health.CallFailed, 0, causeText(cause))
	}
	if !at.stopped {
		at.outcome(now, outcomeFailed, code, causeText(cause))
	}
	at.s.loop.s.cfg.Observer.Attempted(at.ep.Name, outcomeFailed)
	at.release()
	at.s.feed(now, call.Refused{Attempt: at.id, Code: code, Cause: cause})
}

func causeText(c call.Cause) string {
	switch c {
	case call.Status:
		return "refused a call"
	case call.Transport:
		return "the connection failed"
	case call.NoAddress:
		return "its name has no address"
	case call.Timeout:
		return "did not answer an INVITE"
	}
	return ""
}

// failed implements waiter.
func (at *attempt) failed(now time.Time, why failure) {
	defer at.s.loop.touch(at.s)
	cause := call.Timeout
	if why == broken {
		if at.narrow(now) || at.another(now, "lost its connection") {
			return
		}
		cause = call.Transport
	} else {
		at.held = false
		at.cancel(now, `SIP;cause=408;text="no answer in time"`) // it goes out if it rings after all, or its telephones ring for nobody
	}
	at.fail(now, cause, 0)
}

// done implements the end of the transaction: nothing more can come.
func (at *attempt) done() {
	at.final = true
	at.s.loop.touch(at.s)
}

// icmp implements waiter: spoofable, so it only spends the silence (R6).
func (at *attempt) icmp(now time.Time) {
	if at.final || at.spoke {
		return // it has spoken: an ICMP error can't be about a dead port
	}
	defer at.s.loop.touch(at.s)
	if len(at.hops) > 0 && !at.stopped {
		at.forgo()
		at.another(now, "met a closed port (ICMP)")
		return
	}
	at.firstWord(now, true)
	at.shows(now, health.CallSilent, 0, "met a closed port (ICMP)")
	at.reported = true
	at.s.feed(now, call.Unreachable{Attempt: at.id})
}

// outlives implements outliver: where the endpoint rang, its answer may still come by a new connection (RFC 3261 §18.2.2); until then it counts as
// silent (R6). One that has not rung is as good as refused; but it may have our INVITE, and if it rings after all it is told that nobody waits.
func (at *attempt) outlives(now time.Time) bool {
	if at.final || (at.wide || len(at.hops) > 0) && !at.spoke && !at.stopped {
		return false
	}
	at.dead = true
	switch {
	case at.stopped && at.spoke:
		at.cancel(now, `SIP;cause=487;text="the connection was lost"`) // the one before may have been lost with the connection
	case at.stopped:
		// Its CANCEL waits for the first sign of life.
	case at.rang:
		at.shows(now, health.CallFailed, 0, "lost its connection while it rang")
		at.died(now)
	default:
		at.fail(now, call.Transport, 0)
		at.cancel(now, `SIP;cause=503;text="the connection was lost"`)
	}
	at.s.loop.touch(at.s)
	return true
}

// died says that the endpoint is gone.
func (at *attempt) died(now time.Time) {
	at.reported = true // health knows
	at.firstWord(now, true)
	at.s.feed(now, call.Died{Attempt: at.id})
}

// stop ends an attempt without a final response.
func (at *attempt) stop(now time.Time, a call.Stop) {
	if at.final || at.stopped {
		return
	}
	at.stopped = true
	at.outcome(now, outcomeStopped, 0, a.Why)
	at.giveUpTurn()
	if at.waits {
		at.waits, at.final = false, true
		at.release()
		return
	}
	if !at.sent {
		return // the dial is still under way; connected sees it
	}
	switch {
	case a.Elsewhere:
		at.cancel(now, elsewhere)
	case at.spoke:
		at.cancelFor(now, a.Why)
	default:
		at.held, at.why = true, a.Why // a CANCEL must not go out before a provisional response (RFC 3261 §9.1), and by then it may be all that the caller has
	}
}

const elsewhere = `SIP;cause=200;text="Call completed elsewhere"`

// cancelFor takes the INVITE back for a reason of ours, or for the caller's.
func (at *attempt) cancelFor(now time.Time, why string) {
	if at.s.cancelMsg != nil {
		at.cancel(now, at.s.cancelMsg.All("Reason")...)
		return
	}
	at.cancel(now, `SIP;cause=487;text="`+quoteless(why)+`"`)
}

// resume takes a stop back.
func (at *attempt) resume(now time.Time, why string) {
	at.s.log.Info().Str("endpoint", string(at.ep.Name)).Int("attempt", int(at.id)).Str("why", why).Msg("asking on")
	at.record(now, Record{Kind: CallAskedOn, Why: why})
	at.stopped = false
}

// letGo cancels those that were told to stop and could not be told: the call wants nobody any more.
func (s *session) letGo(now time.Time, why string) {
	for _, at := range s.attempts {
		switch {
		case !at.held:
			continue
		case s.winner != nil:
			at.cancel(now, elsewhere)
		default:
			at.cancelFor(now, why)
		}
		at.held = false
	}
}

// cancel takes the INVITE back: at once when a provisional response came, else with the first one (RFC 3261 §9.1).
func (at *attempt) cancel(now time.Time, reasons ...string) {
	l := at.s.loop
	b := make([]byte, 0, 512)
	b = wire.AppendRequestLine(b, "CANCEL", at.uri)
	b = l.s.appendVia(b, at.flow, at.branch)
	for _, r := range at.routes {
		b = wire.AppendHeader(b, "Route", r)
	}
	b = append(b, "Max-Forwards: 70\r\n"...)
	b = wire.AppendHeader(b, "From", at.from)
	b = wire.AppendHeader(b, "To", at.to)
	b = wire.AppendHeader(b, "Call-ID", at.callID)
	b = wire.AppendCSeq(b, at.cseq, "CANCEL")
	b = at.s.appendSessionID(b, &at.party)
	for _, v := range reasons {
		b = wire.AppendHeader(b, "Reason", v)
	}
	b = wire.AppendBody(b, nil)
	if !at.dead || !at.spoke {
		at.sendCancel(now, b)
		return
	}
	// Its connection broke: its telephones would ring on.
	l.s.stack.ConnectTo(l.s.back(&at.party, at.flow.Proto, at.flow.Remote, lastWord), func(f wire.Flow, err error) {
		l.post(func(now time.Time) {
			if err == nil && l.move(at.key, f) {
				at.flow, at.dead = f, false
				if at.cancelled {
					l.send(f, b) // a repetition, if the first arrived
				}
			}
			at.sendCancel(now, b) // without a connection it reaches nobody, but the INVITE has an end now
		})
	})
}

// sendCancel gives the CANCEL to the INVITE's transaction, once.
func (at *attempt) sendCancel(now time.Time, b []byte) {
	if at.cancelled {
		return
	}
	at.cancelled = true
	l := at.s.loop
	l.effects = l.txns.Cancel(now, at.key, b, l.effects)
	l.apply(now)
}

func quoteless(s string) string {
	return strings.NewReplacer(`"`, "'", "\r", " ", "\n", " ", `\`, "/").Replace(s)
}

// discard ends an answered attempt that nobody wants: ACK, then BYE (R6, R8).
func (at *attempt) discard(now time.Time, why string) {
	if !at.answered {
		return
	}
	at.ackNow(now, nil, nil, "")
	reason := `SIP;cause=200;text="Call completed elsewhere"`
	if at.s.winner == nil {
		reason = `SIP;cause=487;text="` + quoteless(why) + `"`
	}
	at.s.bye(now, &at.party, nil, reason, why)
	at.s.loop.s.cfg.Observer.Attempted(at.ep.Name, outcomeDiscarded)
	at.outcome(now, outcomeDiscarded, 0, why)
	at.release()
}

// confirm ACKs the winner's 2xx. Where the 2xx was the offer the ACK waits for the caller's answer.
func (at *attempt) confirm(now time.Time) {
	if !at.madeOffer && describe(at.answerMsg).ok {
		return
	}
	at.ackNow(now, nil, nil, "")
}

// ackNow sends the ACK of the 2xx, in the dialog's own route, and keeps it for repeats.
func (at *attempt) ackNow(now time.Time, body, text []byte, ctype string) {
	s, l := at.s, at.s.loop
	if at.acked {
		return
	}
	at.acked = true
	if body == nil && !at.madeOffer && at.answerMsg != nil { // a rescue of a call whose INVITE had no offer makes one
		body, ctype = l.noThanks(at.answerMsg, at.flow)
		text = body
	}
	line := at.leg.Ack(at.cseq, text)
	s.reach(now, &at.party, line, func(_ time.Time, flow wire.Flow, err error) {
		if err != nil {
			flow = at.flow // it is kept for the 2xx that repeats, and goes where that comes from
		}
		at.ack = l.build(&at.party, line, flow, token{loop: l.n, call: s.id, part: int(at.id)}.branch(l.rnd), nil, ctype, body, s.identified(&at.party))
		l.send(flow, at.ack)
	})
}

// reack answers a repeated 2xx. It repeats because our ACK did not arrive: from now on we use the flow that the 2xx came from (R6).
func (at *attempt) reack(f wire.Flow) {
	if at.ack == nil {
		return
	}
	at.flow, at.pinned, at.dead = f, true, false
	at.s.loop.send(f, at.ack)
}

// noThanks is the answer to the offer in a 2xx that nobody wants: the ACK must carry one (RFC 3261 §13.2.1).
func (l *loop) noThanks(m *wire.Message, f wire.Flow) (body []byte, ctype string) {
	d := describe(m)
	if !d.ok {
		return nil, ""
	}
	if body = sdp.Refuse(d.text(), sessionID(l), f.Local.Addr()); body == nil {
		return nil, ""
	}
	return body, "application/sdp"
}

// endFork ends a second dialog that a forking PBX answered with: ACK and BYE (RFC 3261 §13.2.2.4).
func (at *attempt) endFork(now time.Time, d *leg.Leg, m *wire.Message, f wire.Flow) {
	s, l := at.s, at.s.loop
	body, ctype := []byte(nil), ""
	if !at.madeOffer {
		body, ctype = l.noThanks(m, f)
	}
	fork := &party{leg: d, flow: f, ep: at.ep}
	s.learnHalf(fork, m)
	line := d.Ack(at.cseq, body)
	s.reach(now, fork, line, func(_ time.Time, flow wire.Flow, err error) {
		if err != nil {
			flow = f
		}
		ack := l.build(fork, line, flow, token{loop: l.n, call: s.id, part: int(at.id)}.branch(l.rnd), nil, ctype, body, s.identified(fork))
		d.KeepAck(at.cseq, ack)
		l.send(flow, ack)
	})
	s.bye(now, fork, nil, `SIP;cause=200;text="Call completed elsewhere"`, "the PBX forked and answered twice")
}

// ended is the forks that answered and were hung up: their 2xx may repeat.
func (at *attempt) ended() []*leg.Leg {
	var kept []*leg.Leg
	for _, d := range at.dialogs {
		if d != at.leg && len(d.Acks) > 0 {
			kept = append(kept, d)
		}
	}
	return kept
}

// ackRefusal implements acker: it belongs to the INVITE's transaction and has its branch (RFC 3261 §17.1.1.3).
func (at *attempt) ackRefusal(m *wire.Message) []byte {
	return at.s.loop.refusalAck(at.flow, at.branch, leg.Line{URI: at.uri, Routes: at.routes, From: at.from, To: m.To, CallID: at.callID, CSeq: m.CSeq})
}

// open says that something can still come of this attempt.
func (at *attempt) open() bool { return !at.final && (at.sent || !at.stopped) && at.ep != nil }

// release gives the slot and the ports back.
func (at *attempt) release() {
	if at.released {
		return
	}
	if at.s.over || at.final {
		at.released = true
	} else {
		return // still asked: its end releases it
	}
	at.leaveCanary()
	at.giveUpTurn()
	sh := &at.s.loop.s.shared
	sh.mu.Lock()
	if at.slot {
		sh.slots.Release(at.ep.Name)
		at.slot = false
	}
	if at.ticket != 0 {
		sh.slots.Leave(at.ep.Name, at.ticket)
	}
	if at.marked {
		if sh.out[at.s.number]--; sh.out[at.s.number] <= 0 {
			delete(sh.out, at.s.number)
		}
		at.marked = false
	}
	sh.mu.Unlock()
	if at.media != nil {
		at.media.Release()
		at.media = nil
	}
}

// remnant answers what may still come for a call that is over: a repeated 2xx gets its ACK again, and one that comes late, or from another branch of
// a PBX that forks, is ACKed and ended.
type remnant struct {
	l    *loop
	call uint64
	part int
	dlg  leg.Call // what a dialog of the INVITE begins with
	late bool     // the INVITE had no offer
	acks []tagAck

	branch string // of the INVITE
	flow   wire.Flow
	line   leg.Line
}

type tagAck struct {
	tag string
	ack []byte
}

func (r *remnant) response(now time.Time, m *wire.Message, f wire.Flow) {
	if m.Status < 200 || m.Status > 299 {
		return
	}
	for _, a := range r.acks {
		if a.tag == m.ToTag {
			r.l.send(f, a.ack)
			return
		}
	}
	if len(r.acks) < maxForks {
		r.end(now, m, f)
	}
}

// end ACKs a 2xx that nobody wants any more and hangs up.
func (r *remnant) end(now time.Time, m *wire.Message, f wire.Flow) {
	l := r.l
	p := &party{leg: leg.NewUAC(r.dlg), flow: f}
	line, err := p.leg.Request("INVITE", nil)
	if err != nil {
		return
	}
	p.leg.Response(now, legResponse(m))
	tok := token{loop: l.n, call: r.call, part: r.part}
	body, ctype := []byte(nil), ""
	if r.late {
		body, ctype = l.noThanks(m, f)
	}
	line = p.leg.Ack(line.CSeq, body)
	flow := l.nextHop(p, line)
	if flow.Proto.Stream() {
		flow = f // the connection that it came by: nobody waits here for another
	}
	ack := l.build(p, line, flow, tok.branch(l.rnd), nil, ctype, body, nil)
	r.acks = append(r.acks, tagAck{strings.Clone(m.ToTag), ack})
	l.send(flow, ack)
	if line, err = p.leg.Request("BYE", nil); err != nil {
		return
	}
	branch := tok.branch(l.rnd)
	reason := []wire.Header{{Name: "Reason", Value: `SIP;cause=487;text="the call is over"`}}
	l.request(now, "BYE", branch, flow, l.build(p, line, flow, branch, nil, "", nil, reason), 0, quiet{})
}

// ackRefusal implements acker.
func (r *remnant) ackRefusal(m *wire.Message) []byte {
	line := r.line
	line.To, line.CSeq = m.To, m.CSeq
	return r.l.refusalAck(r.flow, r.branch, line)
}

func (*remnant) failed(time.Time, failure) {}
func (*remnant) icmp(time.Time)            {}

// leaveRemnant replaces the attempt by what a 2xx needs that comes now, so that the session's memory is free while the transaction lingers (RFC 6026
// timer M).
func (at *attempt) leaveRemnant() {
	l := at.s.loop
	w, ok := l.waiting[at.key]
	if !ok || w.waiter != waiter(at) {
		return
	}
	uri := strings.Clone(at.uri) // not the message around it
	r := &remnant{
		l: l, call: at.s.id, part: int(at.id), branch: at.branch, flow: at.flow, late: !at.madeOffer,
		dlg: leg.Call{
			CallID: at.callID, LocalTag: at.tag, From: at.leg.Local, To: at.leg.Remote, CSeq: at.cseq, Target: uri, Routes: at.routes, Contact: at.leg.Contact,
		},
		line: leg.Line{URI: uri, Routes: at.routes, From: at.from, CallID: at.callID},
	}
	if at.ack != nil {
		r.acks = append(r.acks, tagAck{at.leg.RemoteTag, at.ack})
	}
	for _, d := range at.dialogs {
		if ack := d.ReAck(at.cseq); ack != nil {
			r.acks = append(r.acks, tagAck{d.RemoteTag, ack})
		}
	}
	l.waiting[at.key] = pending{r, w.flow}
}
