package health

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// What calls must show before a verdict moves (R14).
const (
	failCallers    = 2                // different callers in a row that got silence or a failure bring an endpoint down
	deafCallers    = 3                // different callers in a row that heard nothing bring it down
	numberFails    = 10 * time.Minute // a number that fails at an endpoint is asked behind the others for this time, doubled each time
	maxNumberFails = time.Hour
	flakyCalls     = 6 // of so many calls that tell, half failed: suspect
	flakyCallers   = 3
	quietCallers   = 3                // so many callers, and half of the calls that talk, hear nothing any more: suspect
	paceFloor      = 10               // patience/paceFloor is fast whatever the long run was
	clearedRow     = 3                // callers in a row who clear soon after a queue's 200 are worth a notice
	reachedAfter   = 30 * time.Second // behind a queue a call that talks for so long has reached a person
)

// Called tells what a real call showed about an endpoint, of a caller and a number that are not known. The words of why continue "a call": "got no
// answer for 1 s", "was refused with 503".
func (j *Judge) Called(now time.Time, name EndpointName, what CallOutcome, why string) {
	j.Observed(now, CallEvidence{Endpoint: name, Outcome: what, Why: why})
}

// Observed tells what a real call showed about an endpoint (R14).
func (j *Judge) Observed(now time.Time, ev CallEvidence) {
	w := j.of[ev.Endpoint]
	if w == nil {
		return
	}
	if len(ev.Number) > maxNumber {
		ev.Number = ev.Number[:maxNumber]
	}
	if ev.Canary {
		j.canaryTold(now, w, ev)
	}
	switch ev.Outcome {
	case CallAnswered, CallRang:
		j.called(now, w, ev)
	case CallBusy, CallRefused:
		j.refused(now, w, ev)
	case CallSilent, CallFailed:
		j.callFailed(now, w, ev)
	case CallTalked:
		j.talked(now, w, ev)
	case CallOneWay, CallNoMedia:
		j.deaf(now, w, ev)
	case CallQuiet:
		j.quiet(now, w, ev)
	case CallCleared:
		j.cleared(now, w, ev)
	case CallTrying:
		j.trying(now, w, ev)
	case CallCancelled:
		if o := w.calls.take(now, ev); !o.told || o.ripe.After(now) {
			o.told, o.signal, o.since = true, CallCancelled, now
		}
	}
}

// called is a call that rings or was answered.
func (j *Judge) called(now time.Time, w *watch, ev CallEvidence) {
	j.hears(now, w)
	o := w.calls.take(now, ev)
	if !o.told || !o.signal.good() {
		o.since = now
	}
	if !o.told || o.signal != CallAnswered { // a 180 of another fork may come after the 200
		o.signal = ev.Outcome
	}
	o.told, o.code = true, 0
	j.paced(now, w, o, ev)
	j.numberAnswers(now, w, ev.Number)
	j.complains(now, w)
	if ev.Outcome == CallRang {
		j.spoke(now, w, "let a call ring")
		return
	}
	w.failed = 0
	w.byCall = w.byCall && w.ails != ""
	j.proved(now, w, "answered a call")
}

// refused is a refusal that says nothing against the endpoint, and that it lives.
func (j *Judge) refused(now time.Time, w *watch, ev CallEvidence) {
	j.hears(now, w)
	o := w.calls.take(now, ev)
	o.told, o.signal, o.since, o.code = true, ev.Outcome, now, ev.Code
	j.paced(now, w, o, ev)
	what := "refused a call"
	if ev.Outcome == CallBusy {
		w.busy = now.Add(busyFor)
		j.snapshot = nil
		what = "refused a call as busy"
	}
	j.spoke(now, w, what)
}

// callFailed is a real call that got silence or a failure.
func (j *Judge) callFailed(now time.Time, w *watch, ev CallEvidence) {
	if ev.Code > 0 {
		j.hears(now, w)
	}
	if j.voided(now) {
		return
	}
	w.remember(now)
	o := w.calls.take(now, ev)
	o.told, o.signal, o.since, o.code, o.why, o.ripe = true, ev.Outcome, now, ev.Code, ev.Why, time.Time{}
	if ev.Code > 0 {
		j.paced(now, w, o, ev)
	}
	if j.tooSoon(now, w, ev) {
		o.ripe = now.Add(j.cfg.Patience - ev.Waited)
		w.calls.unripe = keep(w.calls.unripe, o, windowCalls)
		if !w.calls.failing(now, ev.Number) {
			j.suspectByCall(now, w, "a call "+ev.Why)
			j.hurry(now, w)
		}
		return
	}
	j.counts(now, w, o)
}

// tooSoon says whether a silence may still be slowness: it was shorter than patience, a late answer would be told, and no other caller has failed there
// since a call went well.
func (j *Judge) tooSoon(now time.Time, w *watch, ev CallEvidence) bool {
	if ev.Outcome != CallSilent || ev.Call == "" || ev.Waited <= 0 || ev.Waited >= j.cfg.Patience {
		return false
	}
	bad, _ := failures(now, w.calls.recent, w.calls.pardon)
	return callers(bad, func(o *outcome) bool { return o.caller != ev.Caller }) == 0
}

// counts judges a failed call.
func (j *Judge) counts(now time.Time, w *watch, o *outcome) {
	w.failed++
	w.good = 0
	unproven := w.tripped && w.returning && w.proofs == 0
	w.proofs = 0
	known := w.calls.failing(now, o.number)
	switch {
	case unproven && !known:
		j.trip(now, w, "a call "+o.why+" as it was returning") // half open: one failure is enough
	case j.failsForAll(now, w, o.number):
		j.trip(now, w, j.tripWords(now, w, o.why))
	case j.failsForNumber(now, w, o.number):
		j.blameNumber(now, w, o)
	case known:
		return // and says nothing about others
	default:
		j.suspectByCall(now, w, "a call "+o.why)
	}
	j.complains(now, w)
	j.hurry(now, w)
}

// ripen counts the short silences into which nothing has come since.
func (j *Judge) ripen(now time.Time, w *watch) {
	w.calls.unripe = slices.DeleteFunc(w.calls.unripe, func(o *outcome) bool {
		if o.ripe.After(now) {
			return false
		}
		if o.fails(now) && !j.voided(now) {
			w.remember(now)
			j.counts(now, w, o)
		}
		return true
	})
}

// ripens is when the next short silence may count; zero: none.
func (d *window) ripens() (at time.Time) {
	for _, o := range d.unripe {
		if at.IsZero() || o.ripe.Before(at) {
			at = o.ripe
		}
	}
	return at
}

// trying is a 100 that came late.
func (j *Judge) trying(now time.Time, w *watch, ev CallEvidence) {
	j.hears(now, w)
	o := w.calls.take(now, ev)
	if !o.told || o.signal == CallSilent {
		o.told, o.signal, o.since = true, CallTrying, now
	}
	j.paced(now, w, o, ev)
	j.complains(now, w)
	j.spoke(now, w, "answered a call with 100")
}

func (d *window) failing(now time.Time, text string) bool {
	n := d.numbers[text]
	return n != nil && n.failing(now)
}

func (j *Judge) suspectByCall(now time.Time, w *watch, why string) {
	switch w.verdict {
	case Up, Unknown:
		w.byCall = true
		j.turn(now, w, Suspect, why)
	case Suspect:
		w.byCall = true
	case Down:
	}
}

// failsForAll says whether calls in a row of two different callers failed, and not only for one number while others are answered: two silences (each
// cost a caller patience), two numbers, or nobody answered lately.
func (j *Judge) failsForAll(now time.Time, w *watch, text string) bool {
	bad, _ := failures(now, w.calls.recent, w.calls.pardon)
	if callers(bad, anyCall) < failCallers {
		return false
	}
	if callers(bad, func(o *outcome) bool { return o.code == 0 }) >= failCallers {
		return true
	}
	for _, o := range bad {
		if o.number != bad[0].number {
			return true
		}
	}
	return text == "" || !w.calls.answersOthers(text)
}

func (j *Judge) tripWords(now time.Time, w *watch, why string) string {
	bad, good := failures(now, w.calls.recent, w.calls.pardon)
	words := fmt.Sprintf("%d calls of %d callers failed in a row", len(bad), callers(bad, anyCall))
	if !good.IsZero() {
		words += ", nobody was answered since " + clock(good)
	}
	return words + ", the last " + why
}

// trip brings an endpoint down by what calls showed: OPTIONS alone never lifts that.
func (j *Judge) trip(now time.Time, w *watch, why string) {
	if w.verdict == Down && !w.returning {
		if w.missed == 0 && !w.tripped { // it answers OPTIONS again, but no calls
			w.tripped = true
			w.evidence = why
			j.snapshot = nil
		}
		return
	}
	w.tripped = true
	w.byCall = true
	j.bringDown(now, w, why, !w.died)
}

// failsForNumber says whether calls to one number fail while others are answered: two different callers in a row, or one where it failed before.
func (j *Judge) failsForNumber(now time.Time, w *watch, text string) bool {
	n := w.calls.numbers[text]
	if n == nil || n.failing(now) || !w.calls.answersOthers(text) {
		return false
	}
	bad, _ := failures(now, n.recent, w.calls.pardon)
	return n.lasts > 0 && len(bad) > 0 || callers(bad, anyCall) >= failCallers
}

// blameNumber puts the endpoint behind in the plans for one number.
func (j *Judge) blameNumber(now time.Time, w *watch, o *outcome) {
	n := w.calls.numbers[o.number]
	n.lasts = min(max(2*n.lasts, numberFails), maxNumberFails)
	n.from, n.until = now, now.Add(n.lasts)
	bad, _ := failures(now, n.recent, w.calls.pardon)
	n.words = fmt.Sprintf("fails for %s: %d of %d calls, answers the others; the last %s", n.text, len(bad), n.told(), o.why)
	j.notice(now, w.endpoint.Name, NumberFails, "%s", n.words)
	j.snapshot = nil
	all, _ := failures(now, w.calls.recent, w.calls.pardon)
	for _, other := range all {
		if other.number != o.number {
			return
		}
	}
	if w.verdict == Suspect && w.byCall && w.ails == "" && w.missed < j.cfg.suspectAfter() {
		j.turn(now, w, Up, "it answers calls, only not those to "+n.text)
	}
}

// told counts the calls that say whether the number is answered.
func (n *number) told() int {
	count := 0
	for _, o := range n.recent {
		if o.told && (o.signal.good() || o.signal.bad()) {
			count++
		}
	}
	return count
}

// numberAnswers is a good call to a number.
func (j *Judge) numberAnswers(now time.Time, w *watch, text string) {
	n := w.calls.numbers[text]
	if n == nil || n.lasts == 0 {
		return
	}
	if n.failing(now) {
		j.notice(now, w.endpoint.Name, NumberAnswers, "answers %s again", n.text)
		j.snapshot = nil
	}
	n.from, n.until, n.lasts = time.Time{}, time.Time{}, 0
}

// talked is a call with audio both ways.
func (j *Judge) talked(now time.Time, w *watch, ev CallEvidence) {
	j.hears(now, w)
	o := w.calls.take(now, ev)
	if !o.heard || o.audio != CallTalked {
		o.audioAt = now
	}
	o.heard, o.audio = true, CallTalked
	if w.ails != "" {
		j.complains(now, w)
	}
	if !w.endpoint.Queue || ev.Talk >= reachedAfter {
		w.calls.cleared = 0
	}
	j.proves(now, w, o, ev)
}

// deaf is a call that did not get the endpoint's audio.
func (j *Judge) deaf(now time.Time, w *watch, ev CallEvidence) {
	if j.voided(now) {
		return
	}
	w.remember(now)
	o := w.calls.take(now, ev)
	if o.heard && o.audio == ev.Outcome {
		return // it is known
	}
	o.heard, o.audio, o.audioAt = true, ev.Outcome, now
	w.proofs = 0
	what := "one-way audio"
	if ev.Outcome == CallNoMedia {
		what = "no media after its answer"
	} else if ev.Why != "" {
		what += ": " + ev.Why
	}
	j.notice(now, w.endpoint.Name, AudioMissing, "a call had %s", what)
	silent := deafs(w.calls.recent, w.calls.pardon)
	if n := callers(silent, anyCall); n >= deafCallers {
		j.trip(now, w, fmt.Sprintf("%d calls of %d callers in a row were answered but not heard, the last had %s", len(silent), n, what))
	}
	j.hurry(now, w)
}

// quiet is a call whose endpoint went silent and makes no reports. One such call is a muted telephone; when half of its calls are so, it may be more than that,
// and never enough to bring it down.
func (j *Judge) quiet(now time.Time, w *watch, ev CallEvidence) {
	if j.voided(now) {
		return
	}
	w.remember(now)
	o := w.calls.take(now, ev)
	if o.heard && o.audio == CallQuiet {
		return
	}
	o.heard, o.audio, o.audioAt = true, CallQuiet, now
	j.complains(now, w)
}

// cleared is a caller who cleared soon after a queue's 200: it may be that nobody was there.
func (j *Judge) cleared(now time.Time, w *watch, ev CallEvidence) {
	w.calls.take(now, ev)
	if !w.endpoint.Queue {
		return
	}
	w.calls.cleared++
	if w.calls.cleared%clearedRow == 0 {
		j.notice(now, w.endpoint.Name, PerhapsNotReached, "%d callers in a row cleared within %s of its answer: perhaps nobody takes calls from its queue", w.calls.cleared, reachedAfter)
	}
}

// paced counts, once, how fast a call got its first response.
func (j *Judge) paced(now time.Time, w *watch, o *outcome, ev CallEvidence) {
	if ev.Answer > 0 && !o.paced && !j.voided(now.Add(-ev.Answer)) {
		o.paced = true
		w.calls.pace.add(now, ev.Answer)
	}
}

// complains looks whether an endpoint that lives is slow or flaky: that makes it suspect until it is neither.
func (j *Judge) complains(now time.Time, w *watch) {
	w.ails = w.slow(now, j.cfg.Patience)
	if w.ails == "" {
		w.ails = w.flaky(now)
	}
	if w.ails == "" {
		w.ails = w.hushed()
	}
	if w.ails != "" {
		j.suspectByCall(now, w, w.ails)
	}
}

// slow says how an endpoint's first responses are slow.
func (w *watch) slow(now time.Time, patience time.Duration) string {
	late, long := w.calls.pace.medians(now)
	switch {
	case late == 0:
		return ""
	case late > patience/2:
		return fmt.Sprintf("slow: its first responses take %s, patience is %s", round(late), round(patience))
	case long > 0 && late >= paceTime*long && late > patience/paceFloor:
		return fmt.Sprintf("slow: its first responses take %s, %s in the long run", round(late), round(long))
	default:
		return ""
	}
}

// flaky says how many of an endpoint's calls fail while others go well. Numbers that are known to fail there don't count.
func (w *watch) flaky(now time.Time) string {
	told, bad := 0, 0
	for _, o := range w.calls.recent {
		if w.calls.tells(now, o) {
			told++
			if o.signal.bad() {
				bad++
			}
		}
	}
	if told < flakyCalls || 2*bad < told || bad == told ||
		callers(w.calls.recent, func(o *outcome) bool { return w.calls.tells(now, o) && o.signal.bad() }) < flakyCallers {
		return ""
	}
	return fmt.Sprintf("%d of its last %d calls failed", bad, told)
}

// hushed says how many of an endpoint's calls hear nothing any more.
func (w *watch) hushed() string {
	quiet, judged := 0, 0
	for _, o := range w.calls.recent {
		if !o.heard || o.audioAt.Before(w.calls.pardon) {
			continue
		}
		judged++
		if o.audio == CallQuiet {
			quiet++
		}
	}
	if 2*quiet < judged || callers(w.calls.recent, func(o *outcome) bool { return o.heard && o.audio == CallQuiet && !o.audioAt.Before(w.calls.pardon) }) < quietCallers {
		return ""
	}
	return fmt.Sprintf("%d of its last %d calls that talked went quiet and stay so: muted, or one-way audio", quiet, judged)
}

// tells says whether a call speaks for or against the endpoint as a whole.
func (d *window) tells(now time.Time, o *outcome) bool {
	switch {
	case !o.told || o.since.Before(d.pardon):
		return false
	case o.signal.good():
		return true
	case o.fails(now):
		n := d.numbers[o.number]
		return n == nil || n.lasts == 0
	default:
		return false
	}
}

// ageCalls lets what calls showed grow old.
func (j *Judge) ageCalls(now time.Time, w *watch) {
	if w.ails != "" {
		w.calls.forget(now)
		if w.slow(now, j.cfg.Patience) == "" && w.flaky(now) == "" && w.hushed() == "" {
			w.ails = ""
		}
	}
	for _, n := range w.calls.numbers {
		if !n.from.IsZero() && !n.failing(now) {
			n.from = time.Time{}
			j.snapshot = nil
		}
	}
}

// numberKey names a called number at an endpoint.
type numberKey struct {
	name   EndpointName
	number string
}

func calls(n int) string {
	if n == 1 {
		return "1 call"
	}
	return strconv.Itoa(n) + " calls"
}
