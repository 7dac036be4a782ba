package app

import (
	"math"
	"slices"
	"sync"
	"time"

	"nines/console"
	"nines/health"
	"nines/policy"
	"nines/sip"
)

// tally is what the loops tell while calls are made. It is a mutex and some maps: a few hundred nanoseconds a call.
type tally struct {
	notices *noticeBoard
	records *recorder
	outages *outages

	mu        sync.Mutex
	routes    map[policy.RouteName]*routeTally
	trunks    map[policy.TrunkName]*trunkTally
	attempts  map[attemptKey]uint64
	probes    map[probeKey]uint64
	rtt       map[health.EndpointName]time.Duration
	setup     map[policy.Class]*console.Histogram
	gaps      map[policy.Class]*console.Histogram
	latest    []time.Duration // gaps, a ring of maxGaps; gapAt is where the next one goes
	gapAt     int
	lastGap   time.Duration
	answers   map[policy.EndpointName]answerCount
	moved     []console.Rescue // oldest first, at most maxMoved
	announced map[announcedKey]announcedTally
	shed      map[policy.RouteName]uint64 // times that it began
}

// maxGaps is how many gaps of rescues the status makes its median of.
const maxGaps = 1000

// maxMoved is how many rescues the status lists.
const maxMoved = 60

type routeTally struct {
	class                      policy.Class
	active, talking            int
	answered, refused, cleared uint64
	latest                     *console.Answer
}

// answerCount is how many calls an endpoint answered.
type answerCount struct{ all, emergency uint64 }

type trunkTally struct {
	active int
	seen   time.Time
}

type attemptKey struct {
	endpoint policy.EndpointName
	outcome  string
}

type probeKey struct {
	endpoint health.EndpointName
	outcome  health.Outcome
}

func newTally() *tally {
	return &tally{
		notices: &noticeBoard{}, records: newRecorder(nil), announced: map[announcedKey]announcedTally{}, shed: map[policy.RouteName]uint64{},
		routes: map[policy.RouteName]*routeTally{}, trunks: map[policy.TrunkName]*trunkTally{}, attempts: map[attemptKey]uint64{},
		probes: map[probeKey]uint64{}, rtt: map[health.EndpointName]time.Duration{}, setup: map[policy.Class]*console.Histogram{}, gaps: map[policy.Class]*console.Histogram{},
		answers: map[policy.EndpointName]answerCount{},
	}
}

func (t *tally) route(name policy.RouteName) *routeTally {
	r := t.routes[name]
	if r == nil {
		r = &routeTally{}
		t.routes[name] = r
	}
	return r
}

func (t *tally) trunk(name policy.TrunkName) *trunkTally {
	tr := t.trunks[name]
	if tr == nil {
		tr = &trunkTally{}
		t.trunks[name] = tr
	}
	return tr
}

// CallBegan implements sip.Observer.
func (t *tally) CallBegan(trunk policy.TrunkName, route policy.RouteName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.route(route).active++
	t.trunk(trunk).active++
}

// CallAnswered implements sip.Observer.
func (t *tally) CallAnswered(route policy.RouteName, class policy.Class, endpoint policy.EndpointName, setup time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.route(route)
	r.class = class
	r.answered++
	r.talking++
	r.latest = &console.Answer{At: time.Now(), Endpoint: string(endpoint), SetupMillis: millis(setup)}
	n := t.answers[endpoint]
	n.all++
	if class == policy.Emergency {
		n.emergency++
	}
	t.answers[endpoint] = n
	observe(t.setup, class, console.SetupBuckets, setup)
}

// observe puts a duration into a class's histogram.
func observe(into map[policy.Class]*console.Histogram, class policy.Class, bounds []float64, d time.Duration) {
	h := histogram(into, class, bounds)
	s := d.Seconds()
	i := 0
	for i < len(h.Bounds) && s > h.Bounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += s
}

// histogram is that of a class; the first to ask makes it.
func histogram(of map[policy.Class]*console.Histogram, class policy.Class, bounds []float64) *console.Histogram {
	h := of[class]
	if h == nil {
		h = &console.Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
		of[class] = h
	}
	return h
}

// Rescued implements sip.Observer.
func (t *tally) Rescued(route policy.RouteName, class policy.Class, endpoint policy.EndpointName, gap time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	gap = max(gap, 0) // the new one may be heard before the lost one's last packet: early media
	observe(t.gaps, class, console.GapBuckets, gap)
	t.lastGap = gap
	if len(t.moved) == maxMoved {
		t.moved = slices.Delete(t.moved, 0, 1)
	}
	t.moved = append(t.moved, console.Rescue{At: time.Now(), Route: string(route), Endpoint: string(endpoint), GapMillis: millis(gap)})
	if len(t.latest) < maxGaps {
		t.latest = append(t.latest, gap)
		return
	}
	t.latest[t.gapAt] = gap
	t.gapAt = (t.gapAt + 1) % maxGaps
}

// rescues says how long the gaps of rescues were.
func (t *tally) rescues(into *console.RescueStatus) {
	t.mu.Lock()
	gaps, last := slices.Clone(t.latest), t.lastGap
	into.Latest = slices.Clone(t.moved)
	t.mu.Unlock()
	if len(gaps) == 0 {
		return
	}
	slices.Sort(gaps)
	into.LastGapMillis, into.GapP50Millis, into.GapP99Millis = millis(last), millis(quantile(gaps, .5)), millis(quantile(gaps, .99))
}

// quantile is the nearest rank of sorted durations: of few the 99th percentile is the greatest.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// CallFailed implements sip.Observer.
func (t *tally) CallFailed(route policy.RouteName, class policy.Class, code int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.route(route)
	r.class = class
	if code == 487 {
		r.cleared++
	} else {
		r.refused++
	}
}

// CallOver implements sip.Observer.
func (t *tally) CallOver(trunk policy.TrunkName, route policy.RouteName, answered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.route(route).active--
	if answered {
		t.route(route).talking--
	}
	t.trunk(trunk).active--
}

// Attempted implements sip.Observer.
func (t *tally) Attempted(endpoint policy.EndpointName, outcome string) {
	t.mu.Lock()
	t.attempts[attemptKey{endpoint, outcome}]++
	t.mu.Unlock()
}

// Probed implements sip.Observer.
func (t *tally) Probed(p health.Probe) {
	t.mu.Lock()
	t.probes[probeKey{p.Endpoint, p.Outcome}]++
	if p.RTT > 0 {
		t.rtt[p.Endpoint] = p.RTT
	}
	t.mu.Unlock()
}

// Heard implements sip.Observer.
func (t *tally) Heard(trunk policy.TrunkName) {
	t.mu.Lock()
	t.trunk(trunk).seen = time.Now()
	t.mu.Unlock()
}

// Noticed implements sip.Observer.
func (t *tally) Noticed(n health.Notice) {
	t.notices.add(n)
	if t.outages != nil {
		t.outages.noticed(n)
	}
}

// Recorded implements sip.Observer.
func (t *tally) Recorded(r sip.Record) {
	t.records.tell(r)
	if t.outages != nil {
		t.outages.recorded(&r)
	}
}

// Announced implements sip.Observer.
func (t *tally) Announced(route policy.RouteName, name policy.AnnouncementName, finished bool, heard time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := announcedKey{route, name, finished}
	a := t.announced[k]
	a.n++
	a.heard += max(heard, 0)
	t.announced[k] = a
}

// Shed implements sip.Observer.
func (t *tally) Shed(route policy.RouteName, on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if on {
		t.shed[route]++
	}
}

type announcedKey struct {
	route    policy.RouteName
	name     policy.AnnouncementName
	finished bool
}

type announcedTally struct {
	n     uint64
	heard time.Duration
}
