package health

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Standing is what is believed of one endpoint.
type Standing struct {
	Verdict Verdict
	Since   time.Time
	Held    bool
	Busy    time.Time // until when it is as good as full
	Words   string    // the verdict in a few words, for a plan: "down since 14:02:11: 3 probes missed, the last silent"

	// Returning: it answers OPTIONS again (or its hold has ended) and must prove itself. Routine calls go there in its place, emergency calls stand
	// behind as if it were down. The verdict is up, suspect, or still down where calls brought it down.
	Returning bool
	Tripped   bool      // down by what calls showed, whatever the probes say
	Silent    bool      // so many probes in a row were missed that they alone would bring it down
	Proofs    int       // calls with two-way audio since, of three
	CanaryAt  time.Time // returning: when one emergency call at a time may try it; zero: never
}

// Dead says whether it is believed dead: down because it does not answer probes, and not on its way back. Only that is a witness against a talking call
// (R20): what calls tripped, missing audio for one, is no second witness beside that call's own silence, unless the probes are silent as well.
func (s Standing) Dead() bool { return s.Verdict == Down && !s.Returning && (!s.Tripped || s.Silent) }

// CanaryDue says whether an emergency call may try a returning endpoint now. That it is one at a time is the driver's matter.
func (s Standing) CanaryDue(now time.Time) bool {
	return s.Returning && !s.Held && !s.CanaryAt.IsZero() && !now.Before(s.CanaryAt)
}

// Full says whether the endpoint said it is busy within the last 5 s.
func (s Standing) Full(now time.Time) bool { return now.Before(s.Busy) }

// Snapshot is what is believed at one moment. It never changes; everybody may read it at once. A nil Snapshot knows nothing.
type Snapshot struct {
	Generation uint64 // grows with each snapshot that differs
	Self       string // why we suspect ourselves; empty when we don't
	of         map[EndpointName]Standing
	numbers    map[numberKey]Standing // only of numbers that fail there
	addresses  map[addressKey]Verdict // only of endpoints with several
}

// Of is what is believed of an endpoint; unknown for one that is not configured.
func (s *Snapshot) Of(name EndpointName) Standing {
	if s == nil {
		return Standing{}
	}
	return s.of[name]
}

// For is what is believed of an endpoint in the plan for a called number: down, if it fails for that number.
func (s *Snapshot) For(name EndpointName, number string) Standing {
	if s == nil {
		return Standing{}
	}
	if len(s.numbers) > 0 {
		if len(number) > maxNumber {
			number = number[:maxNumber]
		}
		if st, ok := s.numbers[numberKey{name, number}]; ok {
			return st
		}
	}
	return s.of[name]
}

// Snapshot gives the present beliefs, the same pointer for as long as they stay.
func (j *Judge) Snapshot() *Snapshot {
	if j.snapshot != nil {
		return j.snapshot
	}
	j.snapshots++
	s := &Snapshot{Generation: j.snapshots, of: make(map[EndpointName]Standing, len(j.order))}
	if j.alone {
		s.Self = j.aloneWhy
	}
	for _, w := range j.order {
		st := Standing{
			Verdict: w.verdict, Since: w.since, Held: w.hold != nil, Busy: w.busy, Words: w.words(), Returning: w.returning, Tripped: w.tripped, Proofs: w.proofs,
			Silent: w.missed >= j.cfg.DownAfter,
		}
		if j.cfg.FailBack != Manual {
			st.CanaryAt = w.canaryAt
		}
		s.of[w.endpoint.Name] = st
		s.addNumbers(w, st)
		s.addAddresses(w)
	}
	j.snapshot = s
	return s
}

// addNumbers adds the numbers that fail at an endpoint.
func (s *Snapshot) addNumbers(w *watch, st Standing) {
	for _, n := range w.calls.numbers {
		if n.from.IsZero() {
			continue
		}
		if s.numbers == nil {
			s.numbers = map[numberKey]Standing{}
		}
		st.Verdict, st.Since, st.Words, st.Returning, st.CanaryAt = Down, n.from, n.words, false, time.Time{}
		s.numbers[numberKey{w.endpoint.Name, n.text}] = st
	}
}

// words is the verdict in the few words that stand in a plan.
func (w *watch) words() string {
	var b strings.Builder
	if w.hold != nil {
		fmt.Fprintf(&b, "held by %s until %s (%s), ", w.hold.By, clock(w.hold.Until), w.hold.Why)
	}
	b.WriteString(w.verdict.String())
	switch w.verdict {
	case Up:
	case Unknown, Suspect, Down:
		fmt.Fprintf(&b, " since %s: %s", clock(w.since), w.evidence)
	}
	if w.returning {
		fmt.Fprintf(&b, ", returning: %d of %d calls have proven it", w.proofs, proofCalls)
	}
	return b.String()
}

// LastProbe is the newest probe result of an endpoint.
type LastProbe struct {
	At      time.Time `json:"at"`
	Address string    `json:"address,omitempty"`
	Outcome Outcome   `json:"outcome"`
	Code    int       `json:"code,omitempty"`
	RTT     float64   `json:"rtt_ms,omitempty"`
	Void    bool      `json:"void,omitempty"` // it does not count: we ourselves were in doubt
}

// Explanation is all there is to say about an endpoint's verdict (R16). The same words go to CLI, API and console.
type Explanation struct {
	Endpoint    EndpointName `json:"endpoint"`
	Partner     bool         `json:"partner,omitempty"`
	Verdict     Verdict      `json:"verdict"`
	Since       time.Time    `json:"since"`
	Evidence    string       `json:"evidence"`
	Good        int          `json:"good"`         // good probes in a row
	Missed      int          `json:"missed"`       // missed probes in a row
	FailedCalls int          `json:"failed_calls"` // failed calls in a row
	LastProbe   *LastProbe   `json:"last_probe,omitempty"`
	Addresses   []Address    `json:"addresses,omitempty"` // of one with several, in DNS's order
	NextProbe   time.Time    `json:"next_probe"`
	BringsBack  string       `json:"brings_back,omitempty"`
	BusyUntil   *time.Time   `json:"busy_until,omitempty"`
	Hold        *Hold        `json:"hold,omitempty"`
	Self        string       `json:"self,omitempty"` // why bad evidence does not count now

	Returning bool     `json:"returning,omitempty"` // emergency calls go to others until it has proven itself
	Tripped   bool     `json:"tripped,omitempty"`   // calls brought it down: OPTIONS alone never lifts that
	Response  float64  `json:"response_ms,omitempty"`
	LongRun   float64  `json:"long_run_response_ms,omitempty"` // medians of its first responses to calls, lately and in the long run
	Calls     []Window `json:"calls,omitempty"`                // what calls of the last ten minutes showed; the first is all of them
}

// Window is what calls of one class to one number showed at an endpoint within the last ten minutes.
type Window struct {
	Class  string         `json:"class,omitempty"`  // empty: all
	Number string         `json:"number,omitempty"` // empty: all
	From   time.Time      `json:"from"`
	To     time.Time      `json:"to"`
	Calls  int            `json:"calls"`
	Counts map[string]int `json:"counts"`          // by outcome: answered, talked, "refused 404", "failed 503", silent, …
	Fails  string         `json:"fails,omitempty"` // that the endpoint fails for this number, in words
}

// Explain explains one endpoint's verdict. ok is false when no endpoint has this name.
func (j *Judge) Explain(now time.Time, name EndpointName) (e Explanation, ok bool) {
	w := j.of[name]
	if w == nil {
		return Explanation{}, false
	}
	e = Explanation{
		Endpoint: name, Partner: w.endpoint.Partner, Verdict: w.verdict, Since: w.since, Evidence: w.evidence,
		Good: w.good, Missed: w.missed, FailedCalls: w.failed, NextProbe: w.next, BringsBack: j.bringsBack(now, w),
	}
	if w.out {
		e.NextProbe = now // one is under way
	}
	if w.last != nil {
		p := w.last.probe
		e.LastProbe = &LastProbe{
			At: w.last.at, Address: p.Address, Outcome: p.Outcome, Code: p.Code,
			RTT: float64(p.RTT) / float64(time.Millisecond), Void: w.last.void,
		}
	}
	if now.Before(w.busy) {
		until := w.busy
		e.BusyUntil = &until
	}
	if w.hold != nil {
		h := *w.hold
		e.Hold = &h
	}
	_, e.Self = j.Self(now)
	e.Returning, e.Tripped = w.returning, w.tripped
	late, long := w.calls.pace.medians(now)
	e.Response, e.LongRun = float64(late)/float64(time.Millisecond), float64(long)/float64(time.Millisecond)
	e.Calls = w.calls.explain(now)
	if len(w.addresses) > 1 {
		e.Addresses = slices.Clone(w.addresses)
	}
	return e, true
}

// ExplainAll explains every endpoint, in the order of the configuration.
func (j *Judge) ExplainAll(now time.Time) []Explanation {
	all := make([]Explanation, 0, len(j.order))
	for _, w := range j.order {
		e, _ := j.Explain(now, w.endpoint.Name)
		all = append(all, e)
	}
	return all
}

// bringsBack says what makes the endpoint up again, and what makes emergency calls go there again.
func (j *Judge) bringsBack(now time.Time, w *watch) string {
	words := j.bringsVerdict(now, w)
	switch {
	case w.returning && words == "":
		return j.proofWords(now, w)
	case w.returning, w.verdict == Down && !w.released && (j.cfg.FailBack == Auto || j.cfg.FailBack == Probes && w.tripped):
		return words + "; then, for emergency calls, " + j.proofWords(now, w)
	default:
		return words
	}
}

func (j *Judge) bringsVerdict(now time.Time, w *watch) string {
	switch w.verdict {
	case Up:
		return ""
	case Unknown:
		return "one answered probe or call"
	case Suspect:
		switch {
		case w.ails != "":
			return "calls that go better"
		case w.byCall:
			return fmt.Sprintf("an answered call, or %s", j.goodProbes(w))
		default:
			return "one answered probe or call"
		}
	case Down:
		if w.returning {
			return ""
		}
		return j.bringsUp(now, w)
	default:
		panic("health: unknown verdict")
	}
}

func (j *Judge) bringsUp(now time.Time, w *watch) string {
	var needs []string
	if w.good < j.cfg.UpAfter {
		needs = append(needs, j.goodProbes(w))
	}
	switch left := w.downAt.Add(w.holdDown).Sub(now); {
	case w.released:
	case j.cfg.FailBack == Manual:
		needs = append(needs, "a release by an operator")
	case left > 0:
		needs = append(needs, fmt.Sprintf("the end of its hold-down of %s in %s", round(w.holdDown), round(left)))
	}
	if len(needs) == 0 {
		needs = append(needs, "the next good probe")
	}
	return strings.Join(needs, ", and ")
}

func (j *Judge) goodProbes(w *watch) string {
	return fmt.Sprintf("%d good probes in a row (%d so far)", j.cfg.UpAfter, min(w.good, j.cfg.UpAfter))
}

// Words is the explanation in one line.
func (e Explanation) Words() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s since %s: %s", e.Endpoint, e.Verdict, clock(e.Since), e.Evidence)
	if p := e.LastProbe; p != nil {
		fmt.Fprintf(&b, "; last probe at %s %s", clock(p.At), p.words())
	}
	if !e.NextProbe.IsZero() {
		fmt.Fprintf(&b, ", next at %s", clock(e.NextProbe))
	}
	if e.Returning {
		b.WriteString("; it is returning, and emergency calls go to others until it has proven itself")
	}
	for i, c := range e.Calls {
		switch {
		case i == 0:
			b.WriteString("; " + c.words())
		case c.Fails != "" && (i == 1 || c.Fails != e.Calls[i-1].Fails): // one number has a window for each class
			b.WriteString("; it " + c.Fails)
		}
	}
	if e.BringsBack != "" {
		fmt.Fprintf(&b, "; what brings it back: %s", e.BringsBack)
	}
	if e.BusyUntil != nil {
		fmt.Fprintf(&b, "; said it is busy, counts as full until %s", clock(*e.BusyUntil))
	}
	if h := e.Hold; h != nil {
		fmt.Fprintf(&b, "; held by %s until %s: %s", h.By, clock(h.Until), h.Why)
	}
	if e.Self != "" {
		fmt.Fprintf(&b, "; bad evidence does not count now: %s", e.Self)
	}
	return b.String()
}

func (p *LastProbe) words() string {
	words := describe(Probe{Outcome: p.Outcome, Code: p.Code})
	if p.RTT > 0 {
		words += fmt.Sprintf(" after %.1f ms", p.RTT)
	}
	if p.Address != "" {
		words += " at " + p.Address
	}
	if p.Void {
		words += " (void)"
	}
	return words
}

// describe says what became of a probe.
func describe(p Probe) string {
	switch p.Outcome {
	case Alive:
		return fmt.Sprintf("answered %d", p.Code)
	case Refused:
		return fmt.Sprintf("refused with %d", p.Code)
	case Silent, Unreachable:
		return p.Outcome.String()
	default:
		panic("health: unknown outcome of a probe")
	}
}

func probes(n int) string {
	if n == 1 {
		return "1 probe"
	}
	return fmt.Sprintf("%d probes", n)
}

func clock(t time.Time) string { return t.Format(time.TimeOnly) }

// round makes a duration readable.
func round(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
