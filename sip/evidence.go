package sip

import (
	"hash/fnv"
	"strconv"
	"time"

	"nines/call"
	"nines/health"
	"nines/policy"
)

// What real calls show about endpoints is told to health from here (R14).

// noMediaAfter is how long an endpoint may take after its 200 to send the first packet while the caller's arrive.
const noMediaAfter = 5 * time.Second

// quietAfter is how long an endpoint that has sent may then be silent, alive and not on hold, before the record says so.
const quietAfter = 10 * time.Second

// audioEvery is how often both directions of a call are looked at for one-way audio.
const audioEvery = time.Second

// pausesFor is how long it is remembered that an endpoint sends nothing at all while nobody speaks there.
const pausesFor = time.Hour

// clearedWithin is how soon a caller who clears behind a queue has perhaps not reached a person.
const clearedWithin = 30 * time.Second

// observed tells the judge what a call showed.
func (l *loop) observed(now time.Time, ev health.CallEvidence) {
	if l.judge == nil {
		first := l.s.loops[0]
		first.post(func(now time.Time) { first.observed(now, ev) })
		return
	}
	l.tellHeard()
	l.judge.Observed(now, ev)
	l.publish(now)
}

// shows tells the judge what this attempt showed.
func (at *attempt) shows(now time.Time, what health.CallOutcome, code int, why string) {
	at.s.loop.observed(now, at.evidence(now, what, code, why))
}

func (at *attempt) evidence(now time.Time, what health.CallOutcome, code int, why string) health.CallEvidence {
	s := at.s
	ev := health.CallEvidence{
		Endpoint: at.ep.Name, Class: healthClass(s.machine.Class), Number: s.match.Number, Outcome: what, Code: code, Why: why, Caller: s.callerKey(),
		Call: s.name + "/" + strconv.Itoa(int(at.id)), Canary: at.canary,
	}
	if !at.firstAt.IsZero() && !at.rescue { // how soon one of many rescues was answered says how many there were
		ev.Answer = at.firstAt.Sub(at.asked)
	}
	if s.winner == at && !s.talksSince.IsZero() {
		ev.Talk = now.Sub(s.talksSince)
	}
	return ev
}

// silent tells the judge about an attempt whose patience is spent. How long it was waited for tells a dead endpoint from a slow one.
func (at *attempt) silent(now time.Time, why string) {
	ev := at.evidence(now, health.CallSilent, 0, why)
	ev.Waited = now.Sub(at.asked)
	at.s.loop.observed(now, ev)
}

// callerKey tells callers apart without naming them. A withheld number is told apart by its call.
func (s *session) callerKey() string {
	who := s.number
	if who == "" {
		who = s.caller.leg.CallID
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(who))
	return strconv.FormatUint(h.Sum64(), 36)
}

func healthClass(c policy.Class) health.Class {
	switch c {
	case policy.Routine:
		return health.Routine
	case policy.Test:
		return health.Test
	case policy.Emergency:
	}
	return health.Emergency
}

// audible tells the judge, once, what the audio of a talking call shows.
func (s *session) audible(now time.Time, endpoint, caller time.Time) {
	w := &s.watch
	if w.judged || w.muted || s.winner == nil {
		return
	}
	talks := now.Sub(s.talksSince)
	heardIt, heardCaller := endpoint.After(s.talksSince), caller.After(s.talksSince)
	switch {
	case heardIt && heardCaller && talks >= time.Second:
		w.judged = !s.winner.ep.Queue || talks >= clearedWithin // behind a queue a person is there only after a while
		if w.told && !w.judged {
			return
		}
		w.told = true
		s.winner.shows(now, health.CallTalked, 0, "")
		s.winner.leaveCanary()
	case !heardIt && heardCaller && talks >= noMediaAfter && now.Sub(caller) < othersHeard:
		w.judged = true
		s.winner.shows(now, health.CallNoMedia, 0, "got no media for "+noMediaAfter.String()+" after its 200")
	}
}

// quiet notes an endpoint that fell silent although it lives. It may be muted or suppress silence, so that counts for nothing by itself (R14): three muted
// telephones are no reason to condemn their room, and with it every call that is quiet just then.
func (s *session) quiet(now time.Time) {
	w := &s.watch
	if w.toldQuiet || !w.hushed || w.muted || !w.lostAt.IsZero() || now.Sub(w.last) < quietAfter {
		return
	}
	w.toldQuiet = true
	s.record(now, Record{Kind: CallNoted, Endpoint: s.winner.ep.Name, Why: "no audio from the endpoint for " + quietAfter.String() + "; it is there: muted, silent, or one-way audio"})
	s.log.Info().Str("endpoint", string(s.winner.ep.Name)).Msg("has had no audio from the endpoint for " + quietAfter.String() + "; it is there: muted, silent, or one-way audio")
}

// oneWay looks for one-way audio in a call that has had it both ways (R14, R30). What is one-way audio, and what only silence, is health.Audio's to say.
func (s *session) oneWay(now time.Time) {
	w := &s.watch
	if now.Before(w.audioAt) {
		return
	}
	w.audioAt = now.Add(audioEvery)
	if !w.told || !w.bothWays || !w.lostAt.IsZero() || s.caller.media == nil {
		return
	}
	seen, ok := s.audioSeen(now)
	if !ok {
		return
	}
	found, why := w.audio.Look(now, seen)
	if found == w.found {
		return
	}
	w.found = found
	what := health.CallOneWay
	switch {
	case found == health.AudioFine:
		what, why = health.CallTalked, "audio passes both ways again"
	case seen.Reports == 0:
		what, why = health.CallQuiet, "one-way audio or muted: "+why
	default:
		why = "one-way audio: " + why
	}
	s.winner.shows(now, what, 0, why)
	s.record(now, Record{Kind: CallNoted, Endpoint: s.winner.ep.Name, Why: why})
	s.log.Info().Str("endpoint", string(s.winner.ep.Name)).Str("why", why).Msg("the audio of a call has changed")
}

// audioSeen is what the relay has counted on the first stream of both sides.
func (s *session) audioSeen(now time.Time) (health.AudioSeen, bool) {
	l := s.loop
	l.stats = s.winner.media.Stats(l.stats[:0])
	ours := len(l.stats)
	l.stats = s.caller.media.Stats(l.stats)
	if ours == 0 || len(l.stats) == ours {
		return health.AudioSeen{}, false
	}
	e, c := &l.stats[0], &l.stats[ours]
	return health.AudioSeen{
		Packets: e.Packets, Last: e.Last, Reports: e.RTCP, Claims: e.Claims, Blocks: e.Blocks, Hears: e.Hears,
		Sealed: s.watch.sealed, Pauses: l.s.shared.pauses(now, s.winner.ep.Name), Caller: c.Packets, CallerLast: c.LastRTP,
	}, true
}

// pausing remembers that an endpoint was silent for a while, without a report, and then went on.
func (s *session) pausing(now time.Time) {
	if seen, ok := s.audioSeen(now); ok && seen.Reports == 0 {
		s.loop.s.shared.learnPause(now, s.winner.ep.Name)
	}
}

func (sh *shared) learnPause(now time.Time, name policy.EndpointName) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.paused[name] = now
}

func (sh *shared) pauses(now time.Time, name policy.EndpointName) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at, ok := sh.paused[name]
	return ok && now.Sub(at) < pausesFor
}

// cleared tells the judge about a caller who cleared soon after a queue's 200.
func (s *session) cleared(now time.Time) {
	if s.winner != nil && s.winner.ep.Queue && now.Sub(s.talksSince) < clearedWithin {
		s.winner.shows(now, health.CallCleared, 0, "")
		s.perhaps = true
		s.log.Warn().Msg("the caller cleared within 30 s of a queue's answer: perhaps no person was reached")
	}
}

// leaveCanary gives the seat of a returning endpoint's canary back.
func (at *attempt) leaveCanary() {
	if !at.canary || at.canaryLeft {
		return
	}
	at.canaryLeft = true
	sh := &at.s.loop.s.shared
	sh.mu.Lock()
	sh.slots.LeaveCanary(at.ep.Name)
	sh.mu.Unlock()
}

// isCanary says whether an attempt is the one call that tries a returning endpoint: only a plan's first step can be one.
func (s *session) isCanary(a call.Ask) bool {
	steps := s.machine.Plan.Steps
	return len(steps) > 0 && steps[0].Canary && steps[0].Endpoint == a.Endpoint && a.Target == ""
}
