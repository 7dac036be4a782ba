package sip

import (
	"time"

	"nines/call"
	"nines/policy"
)

// How rescues ask an endpoint no faster than it answers. Who goes when is policy.Pace's to decide.

// aloneSince is since when the caller has had nobody to talk to.
func (s *session) aloneSince() time.Time {
	if !s.watch.lostAt.IsZero() {
		return s.watch.lostAt
	}
	return s.began
}

// patienceFor is how long the plan waits for an endpoint's first word.
func (s *session) patienceFor(name policy.EndpointName) time.Duration {
	for i := range s.machine.Plan.Steps {
		if step := &s.machine.Plan.Steps[i]; step.Endpoint == name {
			return step.Patience
		}
	}
	return 0
}

// takeTurn says whether the attempt may ask now. A rescue may have to wait; its call is told so, and turn goes on with it.
func (at *attempt) takeTurn(now time.Time) bool {
	s := at.s
	if !at.rescue {
		return true // a new call waits for no rescue
	}
	sh := &s.loop.s.shared
	sh.mu.Lock()
	place, ok := sh.pace.Ask(at.ep.Name, s.machine.Class, s.aloneSince(), s.patienceFor(at.ep.Name))
	if !ok {
		sh.held[place] = at
	}
	sh.mu.Unlock()
	if ok {
		at.paced = true
		return true
	}
	at.place, at.waits = place, true
	s.feed(now, call.HeldBack{Attempt: at.id})
	return false
}

// turn is the turn of an attempt that was held back.
func (at *attempt) turn(now time.Time) {
	defer at.s.loop.touch(at.s)
	at.place, at.waits, at.paced = 0, false, true
	if at.stopped || at.final || at.s.over {
		at.giveUpTurn()
		return
	}
	at.s.feed(now, call.Left{Attempt: at.id})
	if at.paced && !at.final {
		at.begin(now)
	}
}

// firstWord says that the endpoint has said its first word, or that it was silent for as long as it has.
func (at *attempt) firstWord(now time.Time, silent bool) {
	at.passTurn(max(now.Sub(at.asked), 1), silent)
}

// passTurn lets the next one ask.
func (at *attempt) passTurn(took time.Duration, silent bool) {
	if !at.paced {
		return
	}
	at.paced = false
	sh := &at.s.loop.s.shared
	sh.mu.Lock()
	sh.pace.Heard(at.ep.Name, took, silent)
	sh.mu.Unlock()
	at.s.loop.s.letNextAsk(at.ep.Name)
}

// giveUpTurn lets others have the turn that the attempt does not need any more.
func (at *attempt) giveUpTurn() {
	at.passTurn(0, false)
	if at.place == 0 {
		return
	}
	sh := &at.s.loop.s.shared
	sh.mu.Lock()
	waits := sh.pace.Leave(at.ep.Name, at.place)
	delete(sh.held, at.place)
	sh.mu.Unlock()
	if waits { // else its turn is on the way to its loop, and is passed on there
		at.place = 0
	}
}

// letNextAsk gives their turn to those that an endpoint has room for, each in its own loop.
func (s *Server) letNextAsk(name policy.EndpointName) {
	sh := &s.shared
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for {
		place, ok := sh.pace.Next(name)
		if !ok {
			return
		}
		next := sh.held[place]
		delete(sh.held, place)
		next.s.loop.post(next.turn)
	}
}
