package health

import (
	"fmt"
	"strings"
	"time"
)

// How a returning endpoint proves itself (R17).
const (
	proofCalls  = 3                // calls with two-way audio
	canaryAfter = 10 * time.Minute // so long after it began to return, or after a canary that proved nothing, one emergency call may try it
)

// returns begins the way back of an endpoint that has its good probes and its hold-down behind it.
func (j *Judge) returns(now time.Time, w *watch, why string) {
	w.upAt = now
	switch {
	case w.released:
		j.proven(now, w, why)
	case j.cfg.FailBack == Probes && !w.tripped:
		j.turn(now, w, Up, why)
	default:
		j.beginReturn(now, w)
		if !w.tripped {
			j.turn(now, w, Up, why)
		}
		j.notice(now, w.endpoint.Name, ReturnBegins, "%s: emergency calls go to others until it has proven itself: %s", why, j.proofWords(now, w))
	}
}

func (j *Judge) beginReturn(now time.Time, w *watch) {
	w.returning, w.proofs, w.canaryAt = true, 0, now.Add(canaryAfter)
	j.snapshot = nil
}

// holdRunsOut takes an endpoint whose hold has ended on the way back that a down one takes.
func (j *Judge) holdRunsOut(now time.Time, w *watch) (words string) {
	if w.returning {
		w.canaryAt = now.Add(canaryAfter)
	}
	if w.verdict == Down || w.returning || j.cfg.FailBack == Probes {
		return ""
	}
	j.beginReturn(now, w)
	return ": emergency calls go to others until it has proven itself: " + j.proofWords(now, w)
}

// proves counts a call with two-way audio as proof of a returning endpoint.
func (j *Judge) proves(now time.Time, w *watch, o *outcome, ev CallEvidence) {
	switch {
	case !w.returning || o.proof:
		return
	case ev.Class == Test:
		o.proof = true
		j.proven(now, w, "a test call passed")
		return
	case j.cfg.FailBack == Manual:
		return
	case w.endpoint.Queue && ev.Talk < reachedAfter:
		return // connected, person unknown
	}
	o.proof = true
	w.proofs++
	j.snapshot = nil
	if w.proofs >= proofCalls {
		j.proven(now, w, fmt.Sprintf("%d calls in a row had two-way audio", w.proofs))
	}
}

// proven ends the way back: emergency calls go there again.
func (j *Judge) proven(now time.Time, w *watch, why string) {
	returning := w.returning
	w.returning, w.tripped, w.proofs, w.canaryAt = false, false, 0, time.Time{}
	w.calls.pardon = now
	w.ails = ""
	j.snapshot = nil
	if w.verdict == Down {
		j.turn(now, w, Up, why)
	}
	if returning {
		j.notice(now, w.endpoint.Name, Proven, "emergency calls go there again: %s", why)
	}
}

// canaryTold puts the next canary off until this one has proven something.
func (j *Judge) canaryTold(now time.Time, w *watch, ev CallEvidence) {
	if !w.returning {
		return
	}
	w.canaryAt = now.Add(canaryAfter)
	if ev.Outcome == CallTalked && (!w.endpoint.Queue || ev.Talk >= reachedAfter) {
		w.canaryAt = now
	}
	j.snapshot = nil
}

// proofWords says what a returning endpoint still needs.
func (j *Judge) proofWords(now time.Time, w *watch) string {
	if j.cfg.FailBack == Manual {
		return "a release by an operator, or a passed test call"
	}
	needs := []string{fmt.Sprintf("%s (%d so far)", j.proofCallsWords(w), w.proofs), "a passed test call", "release"}
	switch {
	case w.canaryAt.IsZero(): // it does not return yet
		needs[0] = j.proofCallsWords(w)
		needs = append(needs, fmt.Sprintf("the canary %s later", round(canaryAfter)))
	case w.canaryAt.After(now):
		needs = append(needs, "the canary at "+clock(w.canaryAt))
	default:
		needs = append(needs, "the canary, due since "+clock(w.canaryAt))
	}
	return strings.Join(needs, ", or ")
}

func (j *Judge) proofCallsWords(w *watch) string {
	if w.endpoint.Queue {
		return fmt.Sprintf("%d routine calls with two-way audio for %s", proofCalls, reachedAfter)
	}
	return fmt.Sprintf("%d routine calls with two-way audio", proofCalls)
}
