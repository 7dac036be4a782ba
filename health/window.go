package health

import (
	"slices"
	"time"
)

// How much is remembered of real calls.
const (
	windowFor   = 10 * time.Minute // older outcomes count no more
	windowCalls = 64               // outcomes of an endpoint
	numberCalls = 20               // outcomes of one called number at an endpoint
	maxNumbers  = 64               // called numbers of an endpoint
	maxNumber   = 64               // bytes of a called number
	sweepEvery  = time.Second
)

// outcome is what one call showed. Signalling and audio are judged apart: the audio of an old call says nothing about what happens to new ones.
type outcome struct {
	at     time.Time // when it was first told of
	class  Class
	number string
	caller string
	call   string
	code   int
	why    string // of a failure

	told   bool // signal is set
	signal CallOutcome
	since  time.Time // since when the signal is as good or bad as it is; good is dated by the first good sign of that call

	ripe time.Time // when a short silence counts as a failure; zero: at once

	heard   bool // audio is set
	audio   CallOutcome
	audioAt time.Time

	paced bool // its first response is counted
	proof bool // it counted as proof of a returning endpoint
}

// fails says whether the call has failed.
func (o *outcome) fails(now time.Time) bool { return o.told && o.signal.bad() && !o.ripe.After(now) }

// last is what the call showed last.
func (o *outcome) last() CallOutcome {
	if o.heard {
		return o.audio
	}
	return o.signal
}

// number is what is known of one called number at one endpoint.
type number struct {
	text   string
	recent []*outcome
	used   time.Time

	from  time.Time     // since when it counts as failing there; zero: it does not
	until time.Time     // until when plans for it put the endpoint behind
	lasts time.Duration // how long that was the last time; not 0: one more failure is enough
	words string
}

func (n *number) failing(now time.Time) bool { return now.Before(n.until) }

// window is what is remembered of an endpoint's calls.
type window struct {
	recent  []*outcome // in the order in which they were first told of
	numbers map[string]*number
	pardon  time.Time // failures until then count no more: it was proven or released
	swept   time.Time // when the numbers were last looked through for what is too old
	pace    pace
	unripe  []*outcome
	cleared int // callers in a row who cleared soon after a queue's 200
}

// take finds the call's entry, or makes one.
func (d *window) take(now time.Time, ev CallEvidence) *outcome {
	d.forget(now)
	if ev.Call != "" {
		for i := len(d.recent) - 1; i >= 0; i-- {
			if d.recent[i].call == ev.Call {
				return d.recent[i]
			}
		}
	}
	o := &outcome{at: now, class: ev.Class, number: ev.Number, caller: ev.Caller, call: ev.Call}
	d.recent = keep(d.recent, o, windowCalls)
	if ev.Number != "" {
		n := d.number(now, ev.Number)
		n.recent = keep(n.recent, o, numberCalls)
	}
	return o
}

func keep(os []*outcome, o *outcome, limit int) []*outcome {
	if len(os) >= limit {
		os = slices.Delete(os, 0, len(os)-limit+1)
	}
	return append(os, o)
}

// number finds what is known of a number. When there are too many, the one that was called longest ago is forgotten, those that fail last.
func (d *window) number(now time.Time, text string) *number {
	n := d.numbers[text]
	if n == nil {
		if d.numbers == nil {
			d.numbers = map[string]*number{}
		}
		if len(d.numbers) >= maxNumbers {
			delete(d.numbers, d.stalest(now))
		}
		n = &number{text: text}
		d.numbers[text] = n
	}
	n.used = now
	n.recent = fresh(n.recent, now)
	return n
}

func (d *window) stalest(now time.Time) string {
	var old *number
	for _, n := range d.numbers {
		switch {
		case old == nil:
			old = n
		case old.failing(now) != n.failing(now):
			if old.failing(now) {
				old = n
			}
		case n.used.Before(old.used), n.used.Equal(old.used) && n.text < old.text: // the same choice each time: maps have no order
			old = n
		}
	}
	return old.text
}

// forget drops what is too old to count. A number that is asked about itself is always fresh; the others are looked through now and then.
func (d *window) forget(now time.Time) {
	d.recent = fresh(d.recent, now)
	if now.Sub(d.swept) < sweepEvery {
		return
	}
	d.swept = now
	for text, n := range d.numbers {
		n.recent = fresh(n.recent, now)
		if len(n.recent) == 0 && !n.failing(now) && now.Sub(n.until) > maxNumberFails {
			delete(d.numbers, text)
		}
	}
}

func fresh(os []*outcome, now time.Time) []*outcome {
	i := 0
	for i < len(os) && now.Sub(os[i].at) >= windowFor {
		i++
	}
	return slices.Delete(os, 0, i)
}

// void drops bad evidence since a time.
func (d *window) void(since time.Time) (lifted bool) {
	bad := func(o *outcome) bool {
		return o.told && o.signal.bad() && !(o.since.Before(since) && o.ripe.Before(since)) || o.heard && o.audio.deaf() && !o.audioAt.Before(since)
	}
	d.recent = slices.DeleteFunc(d.recent, bad)
	for _, n := range d.numbers {
		n.recent = slices.DeleteFunc(n.recent, bad)
		if !n.from.IsZero() && !n.from.Before(since) {
			n.from, n.until, n.lasts, lifted = time.Time{}, time.Time{}, 0, true
		}
	}
	d.unripe = slices.DeleteFunc(d.unripe, bad)
	d.pace.void(since)
	return lifted
}

// failures are the calls that failed since the last good one began.
func failures(now time.Time, os []*outcome, pardon time.Time) (bad []*outcome, good time.Time) {
	good = pardon
	for _, o := range os {
		if o.told && o.signal.good() && o.since.After(good) {
			good = o.since
		}
	}
	for _, o := range os {
		if o.fails(now) && o.since.After(good) {
			bad = append(bad, o)
		}
	}
	return bad, good
}

// deafs are the calls without the endpoint's audio since the last that had it both ways.
func deafs(os []*outcome, pardon time.Time) (deaf []*outcome) {
	good := pardon
	for _, o := range os {
		if o.heard && o.audio == CallTalked && o.audioAt.After(good) {
			good = o.audioAt
		}
	}
	for _, o := range os {
		if o.heard && o.audio.deaf() && o.audioAt.After(good) {
			deaf = append(deaf, o)
		}
	}
	return deaf
}

// callers counts the different callers of some calls.
func callers(os []*outcome, which func(*outcome) bool) int {
	n := 0
	for i, o := range os {
		if o.caller == "" || !which(o) {
			continue
		}
		if !slices.ContainsFunc(os[:i], func(p *outcome) bool { return p.caller == o.caller && which(p) }) {
			n++
		}
	}
	return n
}

func anyCall(*outcome) bool { return true }

// answersOthers says whether a call to another number went well there.
func (d *window) answersOthers(text string) bool {
	return slices.ContainsFunc(d.recent, func(o *outcome) bool { return o.told && o.signal.good() && o.number != "" && o.number != text })
}

// pace is how fast an endpoint responds: lately, and in the long run.
type pace struct {
	late []sample // the newest first responses
	long []time.Duration
	at   int // where the next long-run sample goes
	mid  time.Duration
	due  int // new long-run samples until their median is looked for again
}

type sample struct {
	at   time.Time
	took time.Duration
}

const (
	paceLate = 9   // slowness shows in five of these
	paceMin  = 5   // fewer say nothing
	paceLong = 101 // the long run
	paceOld  = 20  // fewer are no long run
	paceTime = 4   // times its long-run median is slow
	paceSeek = 10  // the long-run median is looked for after so many samples
)

func (p *pace) add(now time.Time, took time.Duration) {
	if len(p.late) == paceLate {
		old := p.late[0].took
		p.late = slices.Delete(p.late, 0, 1)
		if len(p.long) < paceLong {
			p.long = append(p.long, old)
		} else {
			p.long[p.at] = old
			p.at = (p.at + 1) % paceLong
		}
		p.settle()
	}
	p.late = append(p.late, sample{at: now, took: took})
}

func (p *pace) void(since time.Time) {
	p.late = slices.DeleteFunc(p.late, func(s sample) bool { return !s.at.Before(since) })
}

// medians are how fast it responds lately and in the long run; 0: not known.
func (p *pace) medians(now time.Time) (late, long time.Duration) {
	var room [paceLate]time.Duration
	ds := room[:0]
	for _, s := range p.late {
		if now.Sub(s.at) < windowFor {
			ds = append(ds, s.took)
		}
	}
	if len(ds) >= paceMin {
		late = median(ds)
	}
	return late, p.mid
}

// settle looks for the long-run median.
func (p *pace) settle() {
	if p.due--; p.due > 0 || len(p.long) < paceOld {
		return
	}
	p.due = paceSeek
	var room [paceLong]time.Duration
	p.mid = median(append(room[:0], p.long...))
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[(len(ds)-1)/2]
}
