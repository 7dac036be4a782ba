package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"nines/configs"
	"nines/health"
	"nines/notify"
	"nines/policy"
	"nines/sip"
)

// calm is how long nothing must happen before an outage is told to be over.
const calm = 2 * time.Minute

const (
	outageKey   = "outage"
	partnersKey = "partners"
	othersKey   = "others"
)

// outages folds what verdicts and calls show into notices: an outage is one story, whatever dies in it. The loops tell it of calls, which takes a
// mutex for a moment; once a second it makes words of that.
type outages struct {
	desk *notify.Desk

	mu     sync.Mutex // guards what follows
	first  map[policy.RouteName][]policy.EndpointName
	own    map[policy.EndpointName]bool // own rooms of emergency routes
	named  map[policy.EndpointName]bool // partner or not
	public map[string]string
	held   map[policy.EndpointName]bool // as of the last look
	story
	last      time.Time            // something of it was seen
	inherited bool                 // an outage of before the restart is open
	came      map[string]time.Time // notices that are over when they don't come again
	waiting   map[string]waiting   // emergency calls that nobody has answered yet
}

// waiting is a call that nobody has answered yet.
type waiting struct {
	room  policy.EndpointName // where it rings, or was asked last
	rang  bool
	began time.Time
}

// story is what has happened since an outage began.
type story struct {
	began      time.Time
	diverted   map[policy.EndpointName]int // emergency calls answered elsewhere than at the first room
	firstCall  time.Time                   // the first of them
	unanswered int
	lost       int
	rescued    int
	longest    time.Duration // gap of a rescue
}

func newOutages(desk *notify.Desk) *outages {
	o := &outages{
		desk: desk, held: map[policy.EndpointName]bool{}, story: story{diverted: map[policy.EndpointName]int{}}, waiting: map[string]waiting{}, came: map[string]time.Time{},
		inherited: desk.Open(outageKey), last: time.Now(),
	}
	for _, t := range desk.Threads() {
		kind, _, _ := strings.Cut(t.Key, " ")
		if !t.Over && slices.Contains([]string{"audio", "queue", "ports", "fault", "stranger", "booklost"}, kind) {
			o.came[t.Key] = o.last
		}
	}
	return o
}

// configure takes a new file: who comes first on which route.
func (o *outages) configure(f *configs.File) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.first, o.own, o.named = map[policy.RouteName][]policy.EndpointName{}, map[policy.EndpointName]bool{}, map[policy.EndpointName]bool{}
	o.public = publicNotice(f)
	for _, e := range f.Endpoints {
		o.named[policy.EndpointName(e.Name)] = e.Partner
	}
	for _, t := range f.Routes {
		for i, step := range t.Ask {
			for _, name := range step {
				if i == 0 { // a routine route's too: its calls may be treated as emergencies
					o.first[policy.RouteName(t.Name)] = append(o.first[policy.RouteName(t.Name)], policy.EndpointName(name))
				}
				if t.Class == configs.Emergency && !o.named[policy.EndpointName(name)] {
					o.own[policy.EndpointName(name)] = true
				}
			}
		}
	}
}

// kindsOfOutage are the records that an outage is made of.
var kindsOfOutage = []sip.RecordKind{sip.CallAsked, sip.CallRang, sip.CallAnswered, sip.CallRescued, sip.CallEnded}

// recorded is told what happened to calls, from the loops.
func (o *outages) recorded(r *sip.Record) {
	if r.Kind == sip.NoticeGiven && r.What == sip.StrangerCalls {
		o.passing("stranger", notify.StrangerCalls, r.Why)
		return
	}
	if r.Class != policy.Emergency {
		return
	}
	if !slices.Contains(kindsOfOutage, r.Kind) {
		return // most records, and none of them takes the mutex
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch r.Kind { //nolint:exhaustive // kindsOfOutage are these
	case sip.CallAsked:
		if w := o.waiting[r.Call]; !w.rang {
			o.waiting[r.Call] = waiting{room: r.Endpoint, began: cmp.Or(w.began, r.At)}
		}
	case sip.CallRang:
		o.waiting[r.Call] = waiting{room: r.Endpoint, rang: true, began: cmp.Or(o.waiting[r.Call].began, r.At)}
	case sip.CallAnswered:
		delete(o.waiting, r.Call)
		o.answered(r)
	case sip.CallRescued:
		o.happens(r.At)
		o.rescued++
		o.longest = max(o.longest, r.Took)
	case sip.CallEnded:
		o.ended(r)
	}
}

// answered looks who answered an emergency call. The lock is held.
func (o *outages) answered(r *sip.Record) {
	rooms := o.first[r.Route]
	if len(rooms) == 0 || slices.Contains(rooms, r.Endpoint) {
		return
	}
	if onPurpose := !slices.ContainsFunc(rooms, func(e policy.EndpointName) bool { return !o.held[e] }); onPurpose && !r.Partner {
		return // the first room is held, and another own room answers: that is what was wanted
	}
	o.happens(r.At)
	o.diverted[r.Endpoint]++
	if o.firstCall.IsZero() {
		o.firstCall = r.At
	}
}

// ended looks what a caller got. The lock is held.
func (o *outages) ended(r *sip.Record) {
	w, unanswered := o.waiting[r.Call]
	delete(o.waiting, r.Call)
	switch r.Outcome {
	case "refused":
		o.happens(r.At)
		o.unanswered++
	case "lost_talking":
		o.happens(r.At)
		o.lost++
	case "cancelled":
		if unanswered {
			o.abandoned(r, w)
		}
	}
}

// abandoned tells the room that would have had a call that its caller gave up (NENA-STA-010.3 §4.2.2.9). Only that room's own receivers hear of it,
// with the number, so that somebody rings back.
func (o *outages) abandoned(r *sip.Record, w waiting) {
	caller := cmp.Or(r.Caller, "a withheld number")
	facts, err := json.Marshal(struct {
		Caller    string    `json:"caller,omitempty"`
		Called    string    `json:"called"`
		CallID    string    `json:"call_id"`
		Call      string    `json:"call"`
		Trunk     string    `json:"trunk"`
		Invited   time.Time `json:"invite_timestamp"`
		Cancelled time.Time `json:"cancel_timestamp"`
	}{r.Caller, r.Called, r.CallID, r.Call, string(r.Trunk), w.began, r.At})
	if err != nil {
		facts = nil
	}
	o.desk.Tell(notify.Notice{
		Code: notify.Abandoned, Room: string(w.room), Facts: facts,
		Text: fmt.Sprintf("%s called %s at %s and gave up after %s, before anybody answered.", caller, r.Called, w.began.Format(time.TimeOnly), r.At.Sub(w.began).Round(100*time.Millisecond)),
	})
}

// happens notes that it is going on. The lock is held.
func (o *outages) happens(now time.Time) {
	if o.began.IsZero() {
		o.began = now
	}
	o.last = now
}

// look makes notices of what is believed now and has happened since the last look.
func (o *outages) look(now time.Time, believed []health.Explanation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var down, back, partners, others []health.Explanation
	clear(o.held)
	for _, e := range believed {
		if e.Hold != nil {
			o.held[e.Endpoint] = true
			continue
		}
		switch {
		case e.Verdict == health.Down && o.own[e.Endpoint]:
			down = append(down, e)
		case e.Verdict == health.Down && e.Partner:
			partners = append(partners, e)
		case e.Verdict == health.Down:
			others = append(others, e)
		case e.Returning && o.own[e.Endpoint]:
			back = append(back, e)
		}
	}
	if len(down) > 0 {
		o.happens(now)
		for _, e := range down {
			if e.Since.Before(o.began) {
				o.began = e.Since
			}
		}
	}
	if len(back) > 0 && !o.began.IsZero() {
		o.last = now
	}
	o.expire(now)
	o.tellOutage(now, down, back)
	o.tellDown(partnersKey, notify.PartnerDown, partners)
	o.tellDown(othersKey, notify.RoomDown, others)
}

// passing tells of what is over when it does not come again.
func (o *outages) passing(key string, code notify.Code, text string) {
	o.mu.Lock()
	o.came[key] = time.Now()
	o.mu.Unlock()
	o.desk.Tell(notify.Notice{Key: key, Code: code, Text: text})
}

func (o *outages) expire(now time.Time) {
	for key, at := range o.came {
		if now.Sub(at) > someWhile {
			o.desk.Over(notify.Notice{Key: key, Text: "it has not come again for " + someWhile.String() + "."})
			delete(o.came, key)
		}
	}
}

// tellOutage tells the story, or its end.
func (o *outages) tellOutage(now time.Time, down, back []health.Explanation) {
	switch {
	case now.Sub(o.last) < calm && o.began.IsZero():
	case now.Sub(o.last) < calm:
		o.inherited = false
		o.desk.Tell(notify.Notice{Key: outageKey, Code: o.code(), Text: o.headline(down, back), Details: o.details(down), Facts: o.facts(down), Public: o.public})
	case !o.began.IsZero() || o.inherited:
		text := "no room is down and no emergency call was diverted or lost for " + calm.String() + "."
		if o.inherited {
			text = "since the restart " + text
		}
		o.desk.Over(notify.Notice{Key: outageKey, Text: text, Details: o.details(nil), Facts: o.facts(nil)})
		o.story = story{diverted: map[policy.EndpointName]int{}}
		o.inherited = false
	}
}

// code is the worst that has happened.
func (o *outages) code() notify.Code {
	partner := slices.ContainsFunc(slices.Collect(maps.Keys(o.diverted)), func(e policy.EndpointName) bool { return o.named[e] })
	switch {
	case o.unanswered > 0:
		return notify.Unanswered
	case o.lost > 0:
		return notify.CallersLost
	case partner:
		return notify.AtPartners
	case len(o.diverted) > 0:
		return notify.Diverted
	}
	return notify.RoomDown
}

// headline says what is new; numbers that grow with each call stand in the details.
func (o *outages) headline(down, back []health.Explanation) string {
	var said []string
	for _, e := range down {
		said = append(said, fmt.Sprintf("%s is down since %s", e.Endpoint, e.Since.Format(time.TimeOnly)))
	}
	for _, e := range back {
		said = append(said, fmt.Sprintf("%s answers again and must prove itself", e.Endpoint))
	}
	if len(o.diverted) > 0 {
		said = append(said, "emergency calls are answered by "+listed(o.answering()))
	}
	if o.unanswered > 0 {
		said = append(said, "emergency calls were not answered by anybody")
	}
	if o.lost > 0 {
		said = append(said, "callers were lost while they talked")
	}
	if len(said) == 0 {
		said = append(said, "talking calls lost their room and went on elsewhere")
	}
	return strings.Join(said, "; ") + "."
}

// answering are those who answer instead.
func (o *outages) answering() []string {
	var names []string
	for _, e := range slices.Sorted(maps.Keys(o.diverted)) {
		name := string(e)
		if o.named[e] {
			name += " (partner)"
		}
		names = append(names, name)
	}
	return names
}

func listed(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// details are the numbers, and the evidence.
func (o *outages) details(down []health.Explanation) []string {
	var said []string
	for _, e := range slices.Sorted(maps.Keys(o.diverted)) {
		said = append(said, fmt.Sprintf("%s answered %s since %s", e, calls(o.diverted[e]), o.firstCall.Format(time.TimeOnly)))
	}
	if o.unanswered > 0 {
		said = append(said, calls(o.unanswered)+" got no answer")
	}
	if o.rescued > 0 {
		said = append(said, fmt.Sprintf("%s went on elsewhere, the longest silence was %s", calls(o.rescued), o.longest.Round(10*time.Millisecond)))
	}
	if o.lost > 0 {
		said = append(said, calls(o.lost)+" lost while talking")
	}
	for _, e := range down {
		said = append(said, fmt.Sprintf("%s: %s", e.Endpoint, cmp.Or(e.Evidence, "no evidence")))
	}
	return said
}

func calls(n int) string {
	if n == 1 {
		return "1 call"
	}
	return fmt.Sprintf("%d calls", n)
}

// facts are the same for machines.
func (o *outages) facts(down []health.Explanation) json.RawMessage {
	type room struct {
		Endpoint string    `json:"endpoint"`
		Since    time.Time `json:"since"`
		Evidence string    `json:"evidence"`
	}
	f := struct {
		Began         time.Time                   `json:"began,omitzero"`
		FirstDiverted time.Time                   `json:"first_diverted,omitzero"`
		Diverted      map[policy.EndpointName]int `json:"diverted"`
		Unanswered    int                         `json:"unanswered"`
		Lost          int                         `json:"lost_talking"`
		Rescued       int                         `json:"rescued"`
		Down          []room                      `json:"down"`
	}{o.began, o.firstCall, maps.Clone(o.diverted), o.unanswered, o.lost, o.rescued, []room{}}
	for _, e := range down {
		f.Down = append(f.Down, room{string(e.Endpoint), e.Since, e.Evidence})
	}
	b, err := json.Marshal(f)
	if err != nil {
		return nil
	}
	return b
}

// tellDown tells who else is down: partners in one thread, the rest in another.
func (o *outages) tellDown(key string, code notify.Code, down []health.Explanation) {
	if len(down) == 0 {
		o.desk.Over(notify.Notice{Key: key, Text: "all of them answer again."})
		return
	}
	var said, why []string
	for _, e := range down {
		said = append(said, fmt.Sprintf("%s is down since %s", e.Endpoint, e.Since.Format(time.TimeOnly)))
		why = append(why, fmt.Sprintf("%s: %s", e.Endpoint, e.Evidence))
	}
	o.desk.Tell(notify.Notice{Key: key, Code: code, Text: strings.Join(said, "; ") + ".", Details: why})
}
