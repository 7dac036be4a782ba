package health

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// FailBack says how an endpoint that was down comes back.
type FailBack uint8

// The ways back (R17).
const (
	Auto   FailBack = iota // after good probes and hold-down it returns: routine calls prove it before emergency calls go there
	Probes                 // good probes and hold-down are enough, unless calls tripped it
	Manual                 // only a release by an operator
)

// Endpoint is what health knows of a place that can answer.
type Endpoint struct {
	Name    EndpointName
	Partner bool // probed every PartnersEvery
	Queue   bool // answers: queue: its 200 says that a call is connected, not that a person took it
}

// Config is what a Judge is made from. Zero values mean the defaults of nines.yaml.
type Config struct {
	Every         time.Duration // between probes of an own room; 1 s
	PartnersEvery time.Duration // between probes of a partner; 10 s
	Timeout       time.Duration // after which the driver calls a probe silent; 800 ms
	DownAfter     int           // missed probes in a row; 3
	UpAfter       int           // good probes in a row; 5
	HoldDown      time.Duration // 30 s
	Patience      time.Duration // the routes' patience: an endpoint whose first responses take half of it is slow; 1 s
	FailBack      FailBack
	Endpoints     []Endpoint
	Seed          uint64 // of the jitter
}

func (c Config) withDefaults() Config {
	c.Every = orDefault(c.Every, time.Second)
	c.PartnersEvery = orDefault(c.PartnersEvery, 10*time.Second)
	c.Timeout = orDefault(c.Timeout, 800*time.Millisecond)
	c.HoldDown = orDefault(c.HoldDown, 30*time.Second)
	c.Patience = orDefault(c.Patience, time.Second)
	c.DownAfter = orDefault(c.DownAfter, 3)
	c.UpAfter = orDefault(c.UpAfter, 5)
	return c
}

func orDefault[T int | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// suspectAfter is how many missed probes in a row make an endpoint suspect.
func (c Config) suspectAfter() int { return min(2, c.DownAfter) }

// Durations that are not configured.
const (
	// StallLimit is the lateness of a tick from which we call it a stall of our own.
	StallLimit = 300 * time.Millisecond

	voidAfter   = 2 * time.Second  // evidence is void for this much longer than the stall that voided it
	busyFor     = 5 * time.Second  // a busy endpoint is as good as full for this time (R14)
	maxHoldDown = 10 * time.Minute // what flap damping may reach
	flapWithin  = 10               // times hold_down: down again so soon after it came up is flapping
	lostAfter   = 2 * time.Second  // a probe whose result the driver still owes this long after its timeout is lost, and says nothing
)

// Judge holds what we believe about each endpoint. It is driven by one owner; see the package comment.
type Judge struct {
	cfg   Config
	order []*watch
	of    map[EndpointName]*watch
	rng   *rand.Rand

	heard     time.Time // when anybody was last heard
	void      time.Time // bad evidence that began before this is void
	voidWhy   string
	alone     bool // everything is silent: we suspect ourselves
	aloneWhy  string
	changes   []Change
	notices   []Notice
	snapshot  *Snapshot // nil when it must be made anew
	snapshots uint64
}

// watch is one endpoint under observation.
type watch struct {
	endpoint Endpoint
	belief
	marks     []mark // beliefs before each recent bad evidence, oldest first
	last      *report
	hold      *Hold
	warned    bool
	busy      time.Time // until when it is as good as full
	calls     window    // what real calls showed
	addresses []Address

	ails string // how calls find it slow or flaky; empty: not

	next   time.Time // when it is due
	sent   time.Time // when it was last probed
	out    bool      // a probe is under way
	silent time.Time // when the first silent probe of this silence was sent; see isSilent
}

// belief is what bad evidence changes, and what is restored when that evidence turns out to be void.
type belief struct {
	verdict  Verdict
	since    time.Time
	evidence string // the sentence behind the verdict
	good     int    // good probes in a row
	missed   int    // missed probes in a row
	failed   int    // failed calls in a row
	byCall   bool   // a call raised the suspicion
	tripped  bool   // calls brought it down: OPTIONS alone never lifts that
	died     bool   // told that ringing attempts there are lost
	released bool   // an operator waived hold-down
	downAt   time.Time
	upAt     time.Time     // when it last came up from down; zero if never
	holdDown time.Duration // the one that it has now, after damping

	returning bool      // it was down or held and must prove itself: emergency calls go to others (R17)
	proofs    int       // calls with two-way audio since
	canaryAt  time.Time // when one emergency call may try it
}

// mark is what was believed before bad evidence: that of one moment, or what came so soon after it that it would fill the marks.
type mark struct {
	at, last time.Time
	belief   belief
}

const (
	maxMarks  = 32
	markGrain = 250 * time.Millisecond
)

type report struct {
	at    time.Time
	probe Probe
	void  bool
}

// Change is a verdict that changed, or (From equal to To) an endpoint that died while it was suspect already.
type Change struct {
	Name EndpointName
	From Verdict
	To   Verdict
	Why  string
	At   time.Time
	// Died: it is down or missed two probes in a row. An attempt that rings there counts as silent (R6).
	Died bool
}

// New starts to judge: everything is unknown and is probed at once.
func New(now time.Time, cfg Config) *Judge {
	j := &Judge{of: map[EndpointName]*watch{}, rng: rand.New(rand.NewPCG(cfg.Seed, 0x6e696e6573))} //nolint:gosec // jitter, and it must repeat
	j.Reconfigure(now, cfg)
	return j
}

// Reconfigure takes a new configuration (R3). Verdicts, evidence and holds of endpoints that stay survive; a new endpoint is unknown.
func (j *Judge) Reconfigure(now time.Time, cfg Config) {
	j.cfg = cfg.withDefaults()
	j.snapshot = nil
	old := j.of
	j.of = make(map[EndpointName]*watch, len(cfg.Endpoints))
	j.order = j.order[:0:0]
	for _, e := range j.cfg.Endpoints {
		if j.of[e.Name] != nil {
			continue
		}
		w := old[e.Name]
		if w == nil {
			w = &watch{belief: belief{since: now, evidence: "not probed yet"}}
			w.next = now.Add(j.share(j.cfg.Every / 10))
		}
		w.endpoint = e
		if soon := now.Add(j.interval(w)); w.next.After(soon) {
			w.next = soon
		}
		j.of[e.Name] = w
		j.order = append(j.order, w)
	}
	for _, w := range j.order {
		if w.returning && !w.tripped && j.cfg.FailBack == Probes {
			j.proven(now, w, "fail_back is probes now")
		}
	}
	for name, w := range old {
		if j.of[name] == nil && w.hold != nil {
			j.notice(now, name, HoldEnded, "hold by %s has ended: %s is no longer configured", w.hold.By, name)
		}
	}
}

// Next is when Due should be asked again; zero: never.
func (j *Judge) Next() time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, w := range j.order {
		if w.out {
			sooner(w.sent.Add(j.cfg.Timeout + lostAfter))
		} else {
			sooner(w.next)
		}
		sooner(w.holdWakes())
		sooner(w.calls.ripens())
	}
	return next
}

// Due names the endpoints to be probed now, and takes them as probed: each must be followed by Probed. It also lets holds end.
func (j *Judge) Due(now time.Time) []EndpointName {
	var due []EndpointName
	for _, w := range j.order {
		j.tickHold(now, w)
		j.ripen(now, w)
		j.ageCalls(now, w)
		if w.out && !now.Before(w.sent.Add(j.cfg.Timeout+lostAfter)) {
			w.out = false
			w.next = now
		}
		if w.out || w.next.After(now) {
			continue
		}
		w.out, w.sent = true, now
		w.next = now.Add(j.jitter(j.interval(w)))
		due = append(due, w.endpoint.Name)
	}
	return due
}

// interval is the time between two probes: shorter while a verdict is open.
func (j *Judge) interval(w *watch) time.Duration {
	every := j.cfg.Every
	if w.endpoint.Partner {
		every = j.cfg.PartnersEvery
	}
	switch {
	case w.verdict == Down && w.good == 0:
		return every
	case w.verdict == Down:
		return min(every, j.cfg.Every) // on its way back
	case w.verdict == Up && w.missed == 0:
		return every
	default:
		return min(every, j.cfg.Every/2)
	}
}

// jitter is d, give or take a tenth, so that many nodes never probe in step.
func (j *Judge) jitter(d time.Duration) time.Duration { return d - d/10 + j.share(d/5) }

func (j *Judge) share(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(j.rng.Int64N(int64(d)))
}

// hurry brings the next probe forward: at once, but never more than four in Every.
func (j *Judge) hurry(now time.Time, w *watch) {
	at := w.sent.Add(j.cfg.Every / 4)
	if at.Before(now) {
		at = now
	}
	if at.Before(w.next) {
		w.next = at
	}
}

// Probed tells what became of a probe.
func (j *Judge) Probed(now time.Time, p Probe) {
	w := j.of[p.Endpoint]
	if w == nil {
		return // it was taken out of the configuration meanwhile
	}
	asked, sent := w.out, now
	if asked {
		sent = w.sent
	}
	w.out = false
	w.last = &report{at: now, probe: p}
	switch p.Outcome {
	case Alive:
		j.hears(now, w)
		j.proved(now, w, fmt.Sprintf("answered OPTIONS with %d", p.Code))
	case Refused, Unreachable:
		j.hears(now, w) // our link is alive, whatever it brought
		j.missed(now, w, sent)
	case Silent:
		if !j.isSilent(w) {
			w.silent = sent
		}
		j.missed(now, w, sent)
		j.suspectOurselves(now, w)
	}
	if next := later(now, sent.Add(j.jitter(j.interval(w)))); asked || next.Before(w.next) {
		w.next = next // by the verdict as it is now
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// proved is good evidence: an answered probe or call.
func (j *Judge) proved(now time.Time, w *watch, what string) {
	if w.tripped && w.missed >= j.cfg.DownAfter {
		j.snapshot = nil // it is no longer silent
	}
	w.missed, w.died = 0, false
	w.good++
	switch w.verdict {
	case Up:
	case Unknown:
		j.turn(now, w, Up, what)
	case Suspect:
		switch {
		case w.ails != "":
		case !w.byCall:
			j.turn(now, w, Up, what)
		case w.good >= j.cfg.UpAfter:
			j.turn(now, w, Up, fmt.Sprintf("%s, the last of %d in a row", what, w.good))
		}
	case Down:
		if !w.returning && j.earned(now, w) {
			j.returns(now, w, fmt.Sprintf("%s, the last of %d in a row", what, w.good))
		}
	}
}

// spoke is good evidence that proves no more than life: it lifts what probes suspected.
func (j *Judge) spoke(now time.Time, w *watch, what string) {
	if w.tripped && w.missed >= j.cfg.DownAfter {
		j.snapshot = nil
	}
	w.missed, w.died, w.failed = 0, false, 0
	if w.verdict == Suspect && !w.byCall {
		j.turn(now, w, Up, what)
	}
}

// earned says whether a down endpoint may come up.
func (j *Judge) earned(now time.Time, w *watch) bool {
	if w.good < j.cfg.UpAfter {
		return false
	}
	switch j.cfg.FailBack {
	case Manual:
		return w.released
	case Auto, Probes:
		return w.released || now.Sub(w.downAt) >= w.holdDown
	default:
		panic("health: unknown fail_back")
	}
}

// missed is a probe that was sent at sent and got no good answer.
func (j *Judge) missed(now time.Time, w *watch, sent time.Time) {
	if j.voided(sent) {
		w.last.void = true
		return
	}
	w.remember(now)
	w.good = 0
	w.missed++
	if w.verdict == Down && !w.returning {
		j.missedDown(now, w)
		return
	}
	evidence := w.missedWords()
	died := w.missed >= j.cfg.suspectAfter() && !w.died
	switch {
	case w.missed >= j.cfg.DownAfter:
		j.bringDown(now, w, evidence, died)
	case died && (w.verdict == Suspect || w.verdict == Down):
		w.died = true
		w.evidence += "; " + evidence
		j.changed(Change{Name: w.endpoint.Name, From: w.verdict, To: w.verdict, Why: w.evidence, At: now, Died: true})
	case died:
		w.died = true
		j.turn(now, w, Suspect, evidence)
	}
}

// missedDown is a missed probe of an endpoint that is down already. Calls may have brought it down while it answered probes, and it may have let a call ring
// since: then its death has not been told yet (R6).
func (j *Judge) missedDown(now time.Time, w *watch) {
	if w.missed >= j.cfg.suspectAfter() && !w.died {
		w.died = true
		j.changed(Change{Name: w.endpoint.Name, From: Down, To: Down, Why: w.evidence + "; " + w.missedWords(), At: now, Died: true})
	}
	if w.tripped && w.missed == j.cfg.DownAfter {
		j.snapshot = nil // it is silent now, too
	}
}

func (w *watch) missedWords() string {
	return fmt.Sprintf("%s missed, the last %s", probes(w.missed), describe(w.last.probe))
}

func (j *Judge) bringDown(now time.Time, w *watch, evidence string, died bool) {
	w.holdDown = j.damped(now, w)
	w.downAt, w.died = now, true
	w.returning, w.proofs, w.canaryAt = false, 0, time.Time{}
	j.turnDied(now, w, Down, evidence, died)
}

// damped is the hold-down of an endpoint that goes down now.
func (j *Judge) damped(now time.Time, w *watch) time.Duration {
	if w.upAt.IsZero() || now.Sub(w.upAt) >= flapWithin*j.cfg.HoldDown {
		return j.cfg.HoldDown
	}
	return max(j.cfg.HoldDown, min(2*w.holdDown, maxHoldDown))
}

func (w *watch) remember(now time.Time) {
	if n := len(w.marks); n > 0 && now.Sub(w.marks[n-1].at) < markGrain {
		w.marks[n-1].last = now
		return
	}
	if len(w.marks) == maxMarks {
		copy(w.marks, w.marks[1:])
		w.marks = w.marks[:maxMarks-1]
	}
	w.marks = append(w.marks, mark{at: now, last: now, belief: w.belief})
}

func (j *Judge) turn(now time.Time, w *watch, to Verdict, why string) {
	j.turnDied(now, w, to, why, to == Suspect && w.died)
}

func (j *Judge) turnDied(now time.Time, w *watch, to Verdict, why string, died bool) {
	from := w.verdict
	w.verdict, w.since, w.evidence = to, now, why
	if to == Up {
		w.byCall, w.tripped, w.failed, w.released = false, false, 0, false
	}
	j.changed(Change{Name: w.endpoint.Name, From: from, To: to, Why: why, At: now, Died: died})
}

func (j *Judge) changed(c Change) {
	j.changes = append(j.changes, c)
	j.snapshot = nil
}

// Changes gives what changed since it was last asked.
func (j *Judge) Changes() []Change {
	c := j.changes
	j.changes = nil
	return c
}
