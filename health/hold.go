package health

import (
	"errors"
	"fmt"
	"time"
)

// Hold is an operator's override: the endpoint is asked last until the hold ends (R18). It is plain data; [EncodeState] writes it down.
type Hold struct {
	Endpoint EndpointName `json:"endpoint"`
	By       string       `json:"by"`
	Why      string       `json:"why"`
	From     time.Time    `json:"from"`
	// Until is when it ends. While we run it carries the monotonic clock, so that a clock jump moves no end (R45).
	Until time.Time `json:"until"`
}

// warnBefore is how long before its end an operator's order is warned of; a shorter one in its last quarter.
const warnBefore = 10 * time.Minute

// WarnAt says when to warn that an operator's order, a hold or another, will be over.
func WarnAt(from, until time.Time) time.Time { return until.Add(-min(warnBefore, until.Sub(from)/4)) }

func (h *Hold) warnAt() time.Time { return WarnAt(h.From, h.Until) }

// Errors of Hold and Release.
var (
	ErrNoEndpoint = errors.New("no endpoint has this name")
	ErrNoOwner    = errors.New("a hold needs an owner")
	ErrNoReason   = errors.New("a hold needs a reason")
	ErrNoEnd      = errors.New("a hold needs an end in the future")
	ErrNotHeld    = errors.New("it is neither held nor down, returning or failing for a number")
)

// Hold holds an endpoint from now on until h.Until; an older hold of it is replaced. h.Endpoint and h.From are filled in.
func (j *Judge) Hold(now time.Time, name EndpointName, h Hold) error {
	w := j.of[name]
	switch {
	case w == nil:
		return fmt.Errorf("hold %s: %w", name, ErrNoEndpoint)
	case h.By == "":
		return fmt.Errorf("hold %s: %w", name, ErrNoOwner)
	case h.Why == "":
		return fmt.Errorf("hold %s: %w", name, ErrNoReason)
	case !h.Until.After(now):
		return fmt.Errorf("hold %s: %w", name, ErrNoEnd)
	}
	h.Endpoint, h.From = name, now
	h.Until = now.Add(h.Until.Sub(now)) // on our monotonic clock, if the caller read the wall's
	j.keep(w, h)
	j.notice(now, name, HoldSet, "held by %s until %s: %s", h.By, clock(h.Until), h.Why)
	return nil
}

func (j *Judge) keep(w *watch, h Hold) {
	w.hold, w.warned = &h, false
	j.snapshot = nil
}

// Release ends an endpoint's hold, and speaks for an endpoint that is returning: emergency calls go there again. A down endpoint is let off its
// hold-down and its proof, and with fail_back: manual allowed back; it still needs its good probes. What failed for some numbers is forgotten.
func (j *Judge) Release(now time.Time, name EndpointName, by string) error {
	w := j.of[name]
	switch {
	case w == nil:
		return fmt.Errorf("release %s: %w", name, ErrNoEndpoint)
	case by == "":
		return fmt.Errorf("release %s: %w", name, ErrNoOwner)
	case w.hold == nil && w.verdict != Down && !w.returning && !w.calls.blamed(now):
		return fmt.Errorf("release %s: %w", name, ErrNotHeld)
	}
	held := w.hold != nil
	w.hold = nil
	w.calls.absolve()
	j.snapshot = nil
	if held {
		j.notice(now, name, HoldEnded, "released by %s", by)
	}
	switch {
	case w.returning:
		j.proven(now, w, "released by "+by)
	case w.verdict == Down:
		w.released = true
		w.calls.pardon = now
		j.notice(now, name, Released, "let off its hold-down by %s", by)
		if j.earned(now, w) {
			j.returns(now, w, "released by "+by)
		}
	case !held:
		j.notice(now, name, Released, "what failed for some numbers is forgotten, by %s", by)
	}
	return nil
}

// blamed says whether the endpoint fails for some number.
func (d *window) blamed(now time.Time) bool {
	for _, n := range d.numbers {
		if n.failing(now) {
			return true
		}
	}
	return false
}

// absolve forgets what failed for some numbers.
func (d *window) absolve() {
	for _, n := range d.numbers {
		n.from, n.until, n.lasts = time.Time{}, time.Time{}, 0
	}
}

// Holds gives all holds, in the order of the configuration.
func (j *Judge) Holds() []Hold {
	var holds []Hold
	for _, w := range j.order {
		if w.hold != nil {
			holds = append(holds, *w.hold)
		}
	}
	return holds
}

// RestoreHolds takes holds that were written down before a restart. Those that ended meanwhile, or whose endpoint is gone, are told as ended.
func (j *Judge) RestoreHolds(now time.Time, holds []Hold) {
	for _, h := range holds {
		w := j.of[h.Endpoint]
		switch {
		case w == nil:
			j.notice(now, h.Endpoint, HoldEnded, "hold by %s has ended: %s is no longer configured", h.By, h.Endpoint)
		case !h.Until.After(now):
			j.notice(now, h.Endpoint, HoldEnded, "hold by %s has ended at %s%s", h.By, clock(h.Until), j.holdRunsOut(now, w))
		default:
			// On this process's monotonic clock, and never for longer than the operator said: the wall clock may have been put back meanwhile.
			whole := h.Until.Sub(h.From)
			h.Until = now.Add(min(h.Until.Sub(now), whole))
			h.From = h.Until.Add(-whole)
			j.keep(w, h)
		}
	}
}

func (w *watch) holdWakes() time.Time {
	switch {
	case w.hold == nil:
		return time.Time{}
	case w.warned:
		return w.hold.Until
	default:
		return w.hold.warnAt()
	}
}

// tickHold warns before a hold ends, and ends it. Probing went on during the hold, so that the verdict that counts then is an earned one.
func (j *Judge) tickHold(now time.Time, w *watch) {
	switch {
	case w.hold == nil:
	case !now.Before(w.hold.Until):
		j.notice(now, w.endpoint.Name, HoldEnded, "hold by %s has ended%s", w.hold.By, j.holdRunsOut(now, w))
		w.hold = nil
		j.snapshot = nil
	case !w.warned && !now.Before(w.hold.warnAt()):
		w.warned = true
		j.notice(now, w.endpoint.Name, HoldEnds, "hold by %s ends at %s: %s", w.hold.By, clock(w.hold.Until), w.hold.Why)
	}
}
