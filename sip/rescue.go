package sip

import (
	"strings"
	"time"

	"nines/call"
	"nines/health"
	"nines/media/sdp"
	"nines/policy"
	"nines/sip/wire"
)

// How a talking call's endpoint is watched (R20). Deciding is the call's; this file is its eyes and hands.
const (
	lookEvery    = 100 * time.Millisecond // how often a talking call's media is looked at
	lookClosely  = 50 * time.Millisecond  // while somebody else is asked, and until the new endpoint's first packet
	checkTimeout = time.Second            // how long an endpoint may take to answer an in-dialog OPTIONS
	learnAfter   = 2 * time.Second        // when an endpoint is asked for the first time whether it answers such OPTIONS at all
	othersHeard  = time.Second            // how recently somebody else must have been heard for silence to be the endpoint's own
	byeWindow    = 500 * time.Millisecond // R23: so many BYEs of one endpoint within this time are suspicious
	byeBurst     = 3
	byeAgain     = byeWindow * 3 / 10 // when it is judged again whether its endpoint is dying: the probe must be over before call's limit
)

// watch is what a session knows of its endpoint's media.
type watch struct {
	listed    bool      // the loop looks at it
	next      time.Time // when it wants to be looked at before the loop does; zero: it needn't
	hushed    bool      // Hushed was said and nothing has come since
	icmp      bool      // and that ICMP speaks for it too
	muted     bool      // SDP tells the endpoint not to send
	last      time.Time // its last packet
	learn     time.Time // when it is asked whether it answers in-dialog OPTIONS; zero: known, or asked
	lostAt    time.Time // since when somebody else is asked; zero: nobody is
	gapFrom   time.Time // the lost endpoint's last packet
	heard     bool      // it has sent a packet
	told      bool      // CallTalked was said once
	judged    bool      // health knows what its audio shows
	toldQuiet bool
	gapWaits  bool // the first packet of the new one has not come yet

	bothWays bool // SDP lets both send
	sealed   bool // with encryption: what they report can't be read
	audio    health.Audio
	audioAt  time.Time // when it is looked at next
	found    health.AudioFinding
}

// watchTalk begins to watch an endpoint that has just answered.
func (s *session) watchTalk(now time.Time) {
	w := &s.watch
	if l := s.loop; !w.listed {
		l.watched = append(l.watched, s)
		l.lookAt = earliest(l.lookAt, now.Add(lookEvery))
	}
	*w = watch{listed: true, lostAt: w.lostAt, gapFrom: w.gapFrom, gapWaits: w.gapWaits}
	s.noteMuted(now)
	if !s.machine.Plan.Rescue {
		return
	}
	if _, known := s.loop.s.shared.answersOptions(s.winner.ep.Name); !known {
		s.watch.learn = now.Add(learnAfter)
	}
	if st := s.loop.s.health.Load().Of(s.winner.ep.Name); st.Dead() {
		s.feed(now, call.Condemned{On: true, Why: s.winner.named() + " is " + st.Words})
	}
}

// noteMuted says whether SDP lets the endpoint send: its own direction, the caller's, and the old way to hold by 0.0.0.0.
func (s *session) noteMuted(now time.Time) {
	w := &s.watch
	if s.winner == nil || s.winner.far == nil {
		return
	}
	sends := false
	mine, err := sdp.Look(s.winner.far)
	theirs, err2 := sdp.Look(s.caller.far)
	if err != nil || err2 != nil {
		return
	}
	w.audio, w.found = health.Audio{}, health.AudioFine
	w.bothWays, w.sealed = bothWays(&mine, &theirs)
	for i := range mine.Streams {
		st := &mine.Streams[i]
		if st.Port == 0 || !st.Direction.Sends() {
			continue
		}
		if i < len(theirs.Streams) && (!theirs.Streams[i].Direction.Receives() || theirs.Streams[i].Unspecified || theirs.Streams[i].Port == 0) {
			continue
		}
		sends = true
	}
	if w.muted == sends && s.machine.Plan.Rescue {
		w.muted = !sends
		s.feed(now, call.Muted{On: !sends})
	}
}

// bothWays says whether both ends may send and hear on the first stream, and whether it is encrypted.
func bothWays(mine, theirs *sdp.View) (both, sealed bool) {
	if len(mine.Streams) == 0 || len(theirs.Streams) == 0 {
		return false, false
	}
	both = true
	for _, st := range []sdp.Stream{mine.Streams[0], theirs.Streams[0]} {
		both = both && st.Port != 0 && !st.Unspecified && st.Direction == sdp.SendRecv
		sealed = sealed || strings.Contains(st.Proto, "SAVP")
	}
	return both, sealed
}

// lookAround looks at all calls that talk. That is cheaper than an alarm for each, ten times a second.
func (l *loop) lookAround(now time.Time) {
	watched := l.watched
	l.watched = nil // whoever begins to talk meanwhile
	kept := watched[:0]
	for _, s := range watched {
		if s.over {
			s.watch.listed = false
			continue
		}
		kept = append(kept, s)
		s.glance(now)
	}
	clear(watched[len(kept):])
	l.watched = append(kept, l.watched...)
	l.lookAt = time.Time{}
	if len(l.watched) > 0 {
		l.lookAt = now.Add(lookEvery)
	}
}

// glance looks at one call. One that meets a fault of ours does not keep the others from being looked at.
func (s *session) glance(now time.Time) {
	defer func() {
		if r := recover(); r != nil {
			s.loop.current = s
			s.loop.fault("a look at a call", r)
			s.faulted(now)
		}
	}()
	w := &s.watch
	if w.calm(now) && s.winner != nil && s.winner.media != nil {
		switch last, _ := s.winner.media.Last(); {
		case w.muted && !last.After(w.last):
			return
		case !w.muted && last.After(w.last):
			w.last = last
			return
		}
	}
	s.look(now)
	s.loop.touch(s)
}

// calm says that a packet of the endpoint, or none of one that may not send, is all there is to see.
func (w *watch) calm(now time.Time) bool {
	return (w.muted || w.judged && w.heard) && !w.hushed && w.learn.IsZero() && !w.gapWaits && w.lostAt.IsZero() && now.Before(w.audioAt)
}

// look looks at the media of a talking call and says what has changed.
func (s *session) look(now time.Time) {
	w := &s.watch
	w.next = time.Time{}
	if s.over || s.winner == nil {
		return
	}
	if !w.learn.IsZero() && !now.Before(w.learn) {
		w.learn = time.Time{}
		s.checkEndpoint(now, true)
	}
	if w.gapWaits {
		s.lookForFirst(now)
	}
	if !w.lostAt.IsZero() {
		w.next = now.Add(lookClosely)
	}
	if s.winner.media == nil || now.Before(s.loop.voidUntil) {
		return
	}
	last, icmp := s.winner.media.Last()
	if !w.heard && !last.IsZero() {
		w.heard = true
		s.winner.record(now, Record{Kind: CallHeard, Took: max(last.Sub(s.talksSince), 0)})
	}
	if !w.judged && s.caller.media != nil {
		heard, _ := s.caller.media.Last()
		s.audible(now, last, heard)
	}
	s.oneWay(now)
	if !s.machine.Plan.Rescue {
		return
	}
	s.quiet(now)
	gap := s.routing.mediaGap()
	switch {
	case last.After(w.last):
		w.last = last
		if w.hushed || w.muted {
			if w.hushed && !w.icmp && w.lostAt.IsZero() {
				s.pausing(now)
			}
			w.hushed, w.icmp = false, false
			s.feed(now, call.Voiced{})
		}
	case w.muted:
	case icmp.After(last) && now.Sub(last) < lookEvery:
		w.next = last.Add(lookEvery) // a packet may have crossed it: a whole interval without one is awaited, and no more
	case icmp.After(last) && !w.icmp:
		w.hushed, w.icmp = true, true
		s.feed(now, call.Hushed{Since: last, ICMP: true})
	case !w.hushed && now.Sub(later(last, s.talksSince)) >= gap && s.heardElsewhere(now):
		w.hushed = true
		s.feed(now, call.Hushed{Since: last})
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// heardElsewhere says that packets still arrive from somebody: else it is our own link that is silent (R13).
func (s *session) heardElsewhere(now time.Time) bool {
	if s.caller.media != nil {
		if last, _ := s.caller.media.Last(); now.Sub(last) < othersHeard {
			return true
		}
	}
	return now.UnixNano()-s.loop.s.lastHeard.Load() < int64(othersHeard)
}

// lookForFirst measures the gap of a rescue when the first packet of the new endpoint has come (R22).
func (s *session) lookForFirst(now time.Time) {
	s.watch.next = now.Add(lookClosely)
	if s.winner.media == nil {
		s.watch.gapWaits = false
		return
	}
	s.loop.stats = s.winner.media.Stats(s.loop.stats[:0])
	var first time.Time
	for i := range s.loop.stats {
		if f := s.loop.stats[i].First; !f.IsZero() && (first.IsZero() || f.Before(first)) {
			first = f
		}
	}
	if first.IsZero() {
		return
	}
	s.watch.gapWaits = false
	gap := first.Sub(s.watch.gapFrom)
	s.loop.s.count.rescued.Add(1)
	s.loop.s.cfg.Observer.Rescued(s.match.Route.Name, s.machine.Class, s.winner.ep.Name, gap)
	s.winner.record(now, Record{Kind: CallRescued, Took: gap})
	s.log.Info().Str("endpoint", string(s.winner.ep.Name)).Dur("gap_ms", gap).Msg("rescued: the new endpoint is heard")
}

// checkEndpoint asks the endpoint that talks, inside the dialog, whether it is there (R20 b).
func (s *session) checkEndpoint(now time.Time, learning bool) {
	at := s.winner
	if at == nil {
		return
	}
	c := &check{s: s, at: at, learning: learning, sent: now}
	line, err := at.leg.Request("OPTIONS", nil)
	if err != nil {
		c.done(now, false, false, "")
		return
	}
	l := s.loop
	s.reach(now, &at.party, line, func(now time.Time, flow wire.Flow, err error) {
		if err != nil {
			c.done(now, true, false, "no connection: "+err.Error())
			return
		}
		branch := token{loop: l.n, call: s.id, part: int(at.id)}.branch(l.rnd)
		l.request(now, "OPTIONS", branch, flow, l.build(&at.party, line, flow, branch, nil, "", nil, s.identified(&at.party)), checkTimeout, c)
	})
}

// check is one in-dialog OPTIONS to an endpoint.
type check struct {
	s        *session
	at       *attempt
	learning bool
	sent     time.Time
	over     bool
}

func (c *check) response(now time.Time, m *wire.Message, _ wire.Flow) {
	if m.Status < 200 || c.over {
		return
	}
	c.at.leg.Response(now, legResponse(m))
	if m.Status < 300 {
		c.s.loop.s.shared.learnOptions(c.at.ep.Name, true)
	} else if c.learning {
		c.s.loop.s.shared.learnOptions(c.at.ep.Name, false)
	}
	c.done(now, m.Status == 408 || m.Status == 481, false, utoa(uint64(m.Status)))
}

func (c *check) failed(now time.Time, why failure) {
	text := "silent for " + checkTimeout.String()
	if why == broken {
		text = "its connection was reset"
	}
	c.done(now, true, false, text)
}

func (c *check) icmp(now time.Time) { c.done(now, true, true, "its port is closed (ICMP)") }

// done tells the call. Silence counts only from an endpoint that is known to answer with 2xx; an ICMP error needs no such knowledge.
func (c *check) done(now time.Time, dead, icmp bool, why string) {
	if c.over {
		return
	}
	c.over = true
	s := c.s
	defer s.loop.touch(s)
	if c.learning || s.winner != c.at || s.over {
		return
	}
	if dead && !icmp {
		if answers, _ := s.loop.s.shared.answersOptions(c.at.ep.Name); !answers {
			dead = false
		}
	}
	if s.winner.media != nil { // a packet that came while the check was out is said first
		if last, _ := s.winner.media.Last(); last.After(s.watch.last) && s.watch.hushed {
			s.look(now)
		}
	}
	s.feed(now, call.Checked{Dead: dead, ICMP: icmp, Why: why})
}

// answersOptions says whether an endpoint is known to answer in-dialog OPTIONS with 2xx.
func (sh *shared) answersOptions(name policy.EndpointName) (answers, known bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	answers, known = sh.options[name]
	return answers, known
}

func (sh *shared) learnOptions(name policy.EndpointName, answers bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.options[name] = answers
}

// condemned tells every call that talks to an endpoint what the verdict has become (R20 c).
func (l *loop) condemned(now time.Time, name policy.EndpointName, on bool, why string) {
	for _, s := range l.sorted() {
		if s.winner != nil && s.winner.ep.Name == name && !s.over {
			s.feed(now, call.Condemned{On: on, Why: why})
		}
	}
}

// voided tells every call that what it has witnessed does not count: we ourselves were late, or everything was silent (R13).
func (l *loop) voided(now time.Time) {
	l.voidUntil = now.Add(2 * time.Second)
	for _, s := range l.sorted() {
		if s.winner != nil && !s.over && s.machine.Plan.Rescue {
			s.watch.hushed, s.watch.icmp = false, false
			s.feed(now, call.Voided{Until: l.voidUntil})
			if st := l.s.health.Load().Of(s.winner.ep.Name); st.Dead() {
				s.feed(now, call.Condemned{On: true, Why: s.winner.named() + " is " + st.Words})
			}
		}
	}
}

// rescuing is the loss of the endpoint that talks.
func (s *session) rescuing(now time.Time, a call.Rescuing) {
	w := &s.watch
	w.lostAt = now
	if !w.gapWaits { // a second loss before the first rescue was heard counts from the first
		w.gapFrom = later(w.last, s.talksSince)
	}
	w.next = now.Add(lookClosely)
	s.hearWhileLost()
	lost := s.attempt(a.Lost)
	for _, why := range a.Witnesses {
		lost.record(now, Record{Kind: CallWitness, Why: why})
	}
	lost.record(now, Record{Kind: CallLost, Took: now.Sub(later(w.last, s.talksSince))})
	s.loop.s.count.rescues.Add(1)
	s.loop.s.count.rescuing.Add(1)
	s.log.Warn().Str("endpoint", string(lost.ep.Name)).Strs("witnesses", a.Witnesses).Msg("a talking call has lost its endpoint: asking others, the caller stays")
}

// kept is an endpoint that came back first.
func (s *session) kept(now time.Time, a call.Kept) {
	s.attempt(a.Attempt).record(now, Record{Kind: CallKept, Took: now.Sub(s.watch.lostAt)})
	s.found()
	s.loop.s.count.kept.Add(1)
	s.watch.hushed, s.watch.icmp = false, false
	s.log.Info().Str("endpoint", string(s.attempt(a.Attempt).ep.Name)).Msg("the endpoint is heard again before anybody else has answered: it keeps the call")
}

// found ends the search of a rescue: somebody talks to the caller, or the caller has left.
func (s *session) found() {
	if !s.watch.lostAt.IsZero() {
		s.watch.lostAt = time.Time{}
		s.hearNoMore()
		s.loop.s.count.rescuing.Add(-1)
	}
}

// replace puts a new endpoint in the place of the lost one. The caller's dialog and ports stay; it is asked again only if what it was told does not
// fit any more (R21).
func (s *session) replace(now time.Time, at *attempt) {
	told := s.toldCaller()
	s.counted(now, s.winner)
	if lost := !s.watch.lostAt.IsZero(); lost {
		at.record(now, Record{Kind: CallTakenOver, Took: now.Sub(s.watch.lostAt)})
		s.watch.gapWaits = true
	} else {
		s.watch.gapWaits = false
	}
	s.winner, s.last = at, at
	if s.answeredAt.IsZero() {
		s.taken(now, at)
	}
	s.talksSince = now
	s.aim(at)
	if told != nil && at.far != nil {
		at.far = sdp.Alike(at.far, told)
	}
	at.confirm(now)
	s.found()
	s.watchTalk(now)
	s.watch.next = now.Add(lookClosely)
	s.log.Info().Str("endpoint", string(at.ep.Name)).Int("attempt", int(at.id)).Msg("another endpoint has taken the call over")
	at.answerMsg = nil
	if told != nil && at.far != nil && !sdp.SameCodecs(told, at.far) {
		s.retell(now)
	}
}

// fits says whether the answer to a rescue is one that the caller, who talks already, can hear. Otherwise it is as useless as none.
func (at *attempt) fits(m *wire.Message) bool {
	if !at.s.final || !at.madeOffer {
		return true
	}
	d := at.sdpOf(m)
	return d.ok && sdp.Fits(at.s.caller.far, d.text())
}

// toldCaller is the session description that the caller was last given, as its endpoint wrote it.
func (s *session) toldCaller() []byte {
	if s.winner == nil {
		return s.aside.told
	}
	return s.winner.far
}

// retell re-INVITEs the caller with what the new endpoint has answered.
func (s *session) retell(now time.Time) {
	if s.over || s.winner == nil || s.winner.far == nil {
		return
	}
	s.retellDue = false
	s.log.Info().Msg("the new endpoint answered otherwise than the caller was told: asking the caller again")
	text := s.rewrite(&s.caller, s.winner.far)
	r := &relay{s: s, part: -1, to: &s.caller, from: &s.winner.party, sent: text}
	s.relays = append(s.relays, r)
	r.send(now, nil, text, "application/sdp")
}

// abandon ends the leg of an endpoint that was lost.
func (s *session) abandon(now time.Time, a call.Abandon) {
	at := s.attempt(a.Attempt)
	s.counted(now, at)
	if s.winner == at { // nobody has taken over: the caller has left, or is announced to
		s.winner = nil
		s.aside.told, s.aside.answered = at.far, true
	}
	s.bye(now, &at.party, nil, `SIP;cause=503;text="`+quoteless(a.Why)+`"`, a.Why)
	at.release()
}

// suspiciousBye handles the BYE of an endpoint that may be dying (R23): the caller's BYE is withheld while its others and a probe are waited for.
func (s *session) suspiciousBye(now time.Time, at *attempt, m *wire.Message) {
	l := s.loop
	burst := l.s.shared.countBye(now, at.ep.Name)
	dying := dyingCause(m)
	if !s.machine.Plan.RescueBye || (!dying && burst < byeBurst && l.s.Used(at.ep.Name) < byeBurst) {
		s.feed(now, call.HungUp{Side: call.Callee, Attempt: at.id})
		return
	}
	s.feed(now, call.HungUp{Side: call.Callee, Attempt: at.id, Suspicious: true})
	name, left := at.ep.Name, now
	var judge func(now time.Time)
	judge = func(now time.Time) {
		if s.over || s.winner != at {
			return
		}
		defer l.touch(s)
		if !dying && l.s.shared.byes(now, name) < byeBurst {
			s.feed(now, call.HungUp{Side: call.Callee, Attempt: at.id})
			return
		}
		l.askAtOnce(now, name, func(now time.Time, alive bool) {
			defer l.touch(s)
			switch again := left.Add(byeAgain); {
			case s.over || s.winner != at:
				return
			case alive && now.Before(again):
				s.byeJudge, s.byeJudgeAt = judge, again // who says BYE to all and then goes may still answer in between
				return
			case alive:
				s.feed(now, call.HungUp{Side: call.Callee, Attempt: at.id})
				return
			}
			s.feed(now, call.Condemned{On: true, Why: string(name) + " hung up many calls at once and does not answer a probe"})
		})
	}
	if dying || burst >= byeBurst {
		judge(now)
		return
	}
	s.byeJudge, s.byeJudgeAt = judge, left.Add(byeAgain)
}

// dyingCause says that a BYE's Reason is one of a dying PBX: network out of order, temporary failure, congestion (Q.850 38, 41, 42).
func dyingCause(m *wire.Message) bool {
	for v := range m.Each("Reason") { // RFC 3326 §2: one header may give several
		if !strings.HasPrefix(strings.ToUpper(v), "Q.850") {
			continue
		}
		if cause, ok := wire.Param(v, "cause"); ok && (cause == "38" || cause == "41" || cause == "42") {
			return true
		}
	}
	return false
}

// countBye notes a BYE of an endpoint and says how many came within the window.
func (sh *shared) countBye(now time.Time, name policy.EndpointName) int {
	sh.mu.Lock()
	times := append(sh.byeTimes[name], now)
	if len(times) > 16 {
		times = times[len(times)-16:]
	}
	sh.byeTimes[name] = times
	sh.mu.Unlock()
	return sh.byes(now, name)
}

func (sh *shared) byes(now time.Time, name policy.EndpointName) int {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n := 0
	for _, t := range sh.byeTimes[name] {
		if now.Sub(t) <= byeWindow {
			n++
		}
	}
	return n
}

// askAtOnce probes an endpoint with a short patience and says whether it lives.
func (l *loop) askAtOnce(now time.Time, name policy.EndpointName, then func(now time.Time, alive bool)) {
	r := &round{l: l, name: name, timeout: byeWindow, then: then}
	r.begin(now)
}

// named is how an attempt's endpoint is called in sentences.
func (at *attempt) named() string { return string(at.ep.Name) }
