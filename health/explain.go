package health

import (
	"fmt"
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
}

// Full says whether the endpoint said it is busy within the last 5 s.
func (s Standing) Full(now time.Time) bool { return now.Before(s.Busy) }

// Snapshot is what is believed at one moment. It never changes; everybody may read it at once. A nil Snapshot knows nothing.
type Snapshot struct {
	Generation uint64 // grows with each snapshot that differs
	Self       string // why we suspect ourselves; empty when we don't
	of         map[EndpointName]Standing
}

// Of is what is believed of an endpoint; unknown for one that is not configured.
func (s *Snapshot) Of(name EndpointName) Standing {
	if s == nil {
		return Standing{}
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
		s.of[w.endpoint.Name] = Standing{Verdict: w.verdict, Since: w.since, Held: w.hold != nil, Busy: w.busy, Words: w.words()}
	}
	j.snapshot = s
	return s
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
	NextProbe   time.Time    `json:"next_probe"`
	BringsBack  string       `json:"brings_back,omitempty"`
	BusyUntil   *time.Time   `json:"busy_until,omitempty"`
	Hold        *Hold        `json:"hold,omitempty"`
	Self        string       `json:"self,omitempty"` // why bad evidence does not count now
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

// bringsBack says what makes the endpoint up again.
func (j *Judge) bringsBack(now time.Time, w *watch) string {
	switch w.verdict {
	case Up:
		return ""
	case Unknown:
		return "one answered probe or call"
	case Suspect:
		if w.byCall {
			return fmt.Sprintf("an answered call, or %s", j.goodProbes(w))
		}
		return "one answered probe or call"
	case Down:
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
		return "the next good probe"
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
