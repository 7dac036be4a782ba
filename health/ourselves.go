package health

import (
	"fmt"
	"time"
)

// Heard tells that a packet came from anybody: a trunk, an endpoint. It is enough to tell the latest before each Probed and Due.
func (j *Judge) Heard(now time.Time, from string) {
	if now.After(j.heard) {
		j.heard = now
	}
	if !j.alone {
		return
	}
	j.alone = false
	j.notice(now, "", SelfTrusted, "%s was heard again after everything had been silent: evidence counts again", from)
	j.voidBefore(now, "everything was silent until "+clock(now))
	for _, w := range j.order {
		j.hurry(now, w)
	}
}

func (j *Judge) hears(now time.Time, w *watch) { j.Heard(now, string(w.endpoint.Name)) }

// Stalled tells that we woke up late by this much: a stalled process, a suspended machine. From StallLimit on, all bad evidence of that time is void,
// what was found already included, and 2 s more (R13).
func (j *Judge) Stalled(now time.Time, late time.Duration) {
	if late >= StallLimit {
		j.Void(now, now.Add(-late), "our own stall of "+round(late))
	}
}

// Void takes back all bad evidence since a time, and believes none for 2 s more: we stalled, or our own link was lost.
func (j *Judge) Void(now, since time.Time, why string) {
	j.notice(now, "", EvidenceVoid, "evidence since %s is void: %s", clock(since), why)
	j.takeBack(now, since, why)
	j.voidBefore(now.Add(voidAfter), why)
}

func (j *Judge) voidBefore(t time.Time, why string) {
	if t.After(j.void) {
		j.void, j.voidWhy = t, why
		j.snapshot = nil
	}
}

// voided says whether bad evidence that began at this time is to be ignored.
func (j *Judge) voided(began time.Time) bool { return j.alone || began.Before(j.void) }

// takeBack restores what was believed before the first bad evidence since a time.
func (j *Judge) takeBack(now, since time.Time, why string) {
	for _, w := range j.order {
		if w.calls.void(since) {
			j.snapshot = nil
		}
		for i, m := range w.marks {
			if m.last.Before(since) {
				continue
			}
			w.marks = w.marks[:i]
			from := w.verdict
			w.belief = m.belief
			if w.verdict != from {
				j.changed(Change{Name: w.endpoint.Name, From: from, To: w.verdict, Why: "the evidence is void: " + why, At: now})
			}
			break
		}
	}
}

// isSilent says whether a probe that was sent to w since anybody was last heard got no answer.
func (j *Judge) isSilent(w *watch) bool { return w.silent.After(j.heard) && !j.voided(w.silent) }

// wasDead says whether an endpoint was down already when anybody was last heard: its silence is no sign of ours.
func (j *Judge) wasDead(w *watch) bool { return w.verdict == Down && !w.since.After(j.heard) }

// suspectOurselves looks, after a silent probe of an endpoint, whether everything is silent: since anybody was last heard, every endpoint that was not down by then
// has left a probe unanswered, and they are two at least. Those of which that is not known yet are probed at once.
func (j *Judge) suspectOurselves(now time.Time, after *watch) {
	if j.alone || j.wasDead(after) || !j.isSilent(after) {
		return
	}
	var first time.Time
	silent, open := 0, false
	for _, w := range j.order {
		switch {
		case j.wasDead(w):
		case j.isSilent(w):
			silent++
			if first.IsZero() || w.silent.Before(first) {
				first = w.silent
			}
		default:
			open = true
			if !w.out {
				j.hurry(now, w)
			}
		}
	}
	if open || silent < 2 {
		return
	}
	j.alone = true
	j.aloneWhy = fmt.Sprintf("all %d endpoints fell silent at once and nobody else is heard since %s", silent, clock(first))
	j.notice(now, "", SelfSuspected, "%s: we suspect ourselves and move nothing", j.aloneWhy)
	j.takeBack(now, first, "everything was silent at once")
	j.snapshot = nil
}

// Self says whether we suspect ourselves, and why.
func (j *Judge) Self(now time.Time) (suspect bool, why string) {
	switch {
	case j.alone:
		return true, j.aloneWhy
	case now.Before(j.void):
		return true, fmt.Sprintf("evidence is void until %s: %s", clock(j.void), j.voidWhy)
	default:
		return false, ""
	}
}
