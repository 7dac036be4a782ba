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
		w.silent = time.Time{}
		j.hurry(now, w)
	}
}

func (j *Judge) hears(now time.Time, w *watch) {
	w.silent = time.Time{}
	j.Heard(now, string(w.endpoint.Name))
}

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
		for i, m := range w.marks {
			if m.at.Before(since) {
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

// suspectOurselves looks, after a silent probe of w, whether everything fell silent at once. Endpoints that were down before do not count, an
// endpoint whose last probe was not silent is probed at once to find out.
func (j *Judge) suspectOurselves(now time.Time, w *watch) {
	if j.alone || j.voided(w.silent) {
		return
	}
	window := 2 * (j.cfg.Every + j.cfg.Timeout)
	first, open, silent := w.silent, false, 0
	for _, o := range j.order {
		switch {
		case o.verdict == Down && now.Sub(o.since) > window:
		case o.silent.IsZero():
			open = true
		case now.Sub(o.silent) > window:
			return // it fell silent long before the others
		default:
			silent++
			if o.silent.Before(first) {
				first = o.silent
			}
		}
	}
	if !j.heard.Before(first) {
		return
	}
	if open {
		for _, o := range j.order {
			if o.silent.IsZero() && !o.out {
				j.hurry(now, o)
			}
		}
		return
	}
	if silent < 2 {
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
