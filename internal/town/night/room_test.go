package night

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"nines/internal/town"
)

// kind is how a room treats calls.
type kind uint8

const (
	answers    kind = iota // rings, answers
	picks                  // answers without ringing
	early                  // 183 with a session description, answers
	clears                 // answers, and hangs up
	refuses                // a final refusal
	changes                // rings, then refuses
	ringsOn                // rings for ever
	triesOnly              // a 100 and nothing else
	ignores                // nothing at all
	late                   // a 100, and much later a 200
	lateSilent             // nothing, and much later a 200
	empty                  // 200 without a session description
	elsewhere              // 200 with a Contact where nobody listens
	redirects              // 302 to another room
	garbles                // something that is no SIP
	resets                 // resets the connection
	freezes                // rings, then falls silent
	dies                   // rings, then its process is gone
	moody                  // a different thing with each call
	kinds
)

var kindNames = [...]string{
	"answers", "picks up at once", "early media", "answers and clears", "refuses", "changes its mind", "rings for ever", "100 only", "ignores", "late",
	"late out of nowhere", "answers without SDP", "lies about its contact", "redirects", "garbles", "resets", "rings and freezes", "rings and dies", "moody",
}

// mood is a kind with its numbers.
type mood struct {
	kind  kind
	after time.Duration
	talk  time.Duration
	code  int
	other netip.AddrPort // where it redirects to
}

func (m mood) String() string {
	switch m.kind {
	case refuses, changes:
		return fmt.Sprintf("%s with %d after %v", kindNames[m.kind], m.code, m.after)
	case redirects:
		return fmt.Sprintf("%s to %v", kindNames[m.kind], m.other)
	default:
		return fmt.Sprintf("%s (%v)", kindNames[m.kind], m.after)
	}
}

// able says that whoever asks a room in this mood is answered, within answerIn.
func (m mood) able() bool {
	switch m.kind {
	case answers, picks, early, clears:
		return true
	default:
		return false
	}
}

// answerIn is the longest that a room in an able mood takes to answer.
const answerIn = 3 * time.Second

// script is what the mood makes of one call.
func (m mood) script() town.Behaviour {
	switch m.kind {
	case answers:
		return town.Answers(m.after)
	case picks:
		return town.Picked()
	case early:
		return town.EarlyMedia(m.after, m.talk > 0)
	case clears:
		return town.AnswersAndClears(m.after, m.talk)
	case refuses:
		return town.Refuses(m.code, m.after)
	case changes:
		return town.ChangesItsMind(m.code, m.after)
	case ringsOn:
		return town.Rings(m.after)
	case triesOnly:
		return town.TriesOnly()
	case late:
		return town.Behaviour{{Code: 100}, {After: 3*time.Second + 5*m.after, Code: 200}}
	case lateSilent:
		return town.Behaviour{{After: 4 * m.talk, Code: 200}}
	case empty:
		return town.AnswersEmpty(m.after)
	case elsewhere:
		return town.AnswersElsewhere(m.after, "sip:nobody@192.0.2.99:5060")
	case redirects:
		return town.Redirects("sip:" + m.other.String())
	case garbles:
		return town.Garbles()
	case resets:
		return town.ResetsTCP()
	case freezes:
		return town.RingsThenFreezes(m.after)
	case dies:
		return town.RingsThenDies(m.after)
	case ignores, moody, kinds:
	}
	return town.Ignores()
}

// refusals are the codes that rooms refuse with.
var refusals = []int{400, 403, 404, 408, 480, 481, 484, 486, 487, 488, 500, 502, 503, 504, 600, 603, 604, 606}

func randomMood(rng *rand.Rand, others []netip.AddrPort) mood {
	m := mood{
		kind: kind(rng.IntN(int(kinds))), after: time.Duration(rng.Int64N(int64(2500 * time.Millisecond))), talk: time.Duration(rng.Int64N(int64(12 * time.Second))),
		code: refusals[rng.IntN(len(refusals))], other: others[rng.IntN(len(others))],
	}
	if rng.IntN(2) == 0 {
		m.kind = []kind{answers, answers, picks, early, clears}[rng.IntN(5)]
	}
	if rng.IntN(8) == 0 {
		m.after = 0
	}
	if m.kind == early && rng.IntN(2) == 0 {
		m.talk = 0 // not reliably
	}
	return m
}

// room is a place that can answer, and what we know of its ability to do so.
type room struct {
	*town.Phone
	name    string
	partner bool
	tcp     bool
	host    *town.Host
	stage   *stage
	rng     *rand.Rand // of moody scripts; the phone's
	others  []netip.AddrPort

	mood   mood
	down   bool // its process was killed
	frozen bool
	power  town.Power
	cut    bool
	trap   time.Time // until when a call of before may take it down
	wary   bool      // and nobody has repaired it since
	lied   bool      // it answered OPTIONS otherwise than calls, at some time
	spans  []span    // when it was able, up to now

	troubles []trouble // when it could not be reached
	unsure   []trouble // when calls may have taken it down
}

// span is a time in which a room was able without a break. Zero to: it still is.
type span struct{ from, to time.Time }

// trouble is a time in which a room could not be reached at all.
type trouble struct{ from, to time.Time }

func newRoom(s *stage, h *town.Host, p roomPlan, seed uint64) *room {
	r := &room{name: p.name, partner: p.partner, tcp: p.tcp, host: h, stage: s, rng: rand.New(rand.NewPCG(seed, 1)), others: s.plan.addrs(), power: town.On}
	r.Phone = s.phone(town.PhoneConfig{
		Name: p.name, Net: h, Addr: netip.AddrPortFrom(p.addr, 5060), TCP: true, Seed: seed, Voice: s.plan.voice, Keepalive: 5 * time.Second,
		Script: town.Always(town.Ignores()),
	})
	r.feels(p.mood)
	return r
}

// feels changes the room's mood.
func (r *room) feels(m mood) {
	r.leave()
	r.mood = m
	if m.kind == moody {
		r.Script(func(*town.Message) town.Behaviour {
			one := randomMood(r.rng, r.others)
			for one.kind == moody || one.kind == freezes || one.kind == dies {
				one = randomMood(r.rng, r.others)
			}
			return one.script()
		})
	} else {
		r.Script(town.Always(m.script()))
	}
	r.note()
}

// leave is the end of a mood. One that takes the room down does so for the calls that ring yet.
func (r *room) leave() {
	if r.mood.kind == freezes || r.mood.kind == dies {
		r.trap, r.wary = time.Now().Add(2900*time.Millisecond), true
	}
}

// keep begins or ends a time in a history.
func keep(history *[]trouble, lasts bool) {
	n := len(*history)
	open := n > 0 && (*history)[n-1].to.IsZero()
	switch {
	case lasts && !open:
		*history = append(*history, trouble{from: time.Now()})
	case !lasts && open:
		(*history)[n-1].to = time.Now()
	}
}

// note keeps the history of what the room was able to do. It is called after every change.
func (r *room) note() {
	now := time.Now()
	n := len(r.spans)
	open := n > 0 && r.spans[n-1].to.IsZero()
	able := r.reachable() && r.mood.able() && !r.wary
	switch {
	case able && !open:
		r.spans = append(r.spans, span{from: now})
	case !able && open:
		r.spans[n-1].to = now
	}
	keep(&r.troubles, !r.reachable())
	keep(&r.unsure, r.wary || r.mood.kind == freezes || r.mood.kind == dies)
}

// blink breaks what the room was able to do for an instant: calls of before may have been lost.
func (r *room) blink() {
	cut := r.cut
	r.cut = true
	r.note()
	r.cut = cut
	r.note()
}

func (r *room) reachable() bool { return !r.down && !r.frozen && r.power == town.On && !r.cut }

// ableFrom says whether the room was able from one instant to another without a break.
func (r *room) able(from, to time.Time) bool {
	for _, s := range r.spans {
		if !s.from.After(from) && (s.to.IsZero() || s.to.After(to)) {
			return true
		}
	}
	return false
}

// reachableFrom says whether the room could be reached from one instant to another without a break.
func (r *room) reachableFrom(from, to time.Time) bool {
	for _, t := range slices.Concat(r.troubles, r.unsure) {
		if t.from.Before(to) && (t.to.IsZero() || t.to.After(from)) {
			return false
		}
	}
	return true
}

// repair makes the room well, whatever happened to it. Its mood stays.
func (r *room) repair() {
	if err := r.Restart(); err != nil {
		r.stage.t.Fatal(err)
	}
	r.Thaw()
	r.host.Power(town.On)
	r.stage.net.Usual(r.stage.host, r.host)
	r.down, r.frozen, r.power, r.cut = false, false, town.On, false
	r.leave()
	if !time.Now().Before(r.trap) {
		r.wary = false
	}
	if r.mood.kind == freezes || r.mood.kind == dies {
		r.mood.kind = ringsOn // until the next mood
		r.Script(town.Always(r.mood.script()))
	}
	r.note()
}
