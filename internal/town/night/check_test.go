package night

import (
	"context"
	"strings"
	"time"

	"nines/internal/town"
)

// checkStill looks for what the night has left behind.
func (s *stage) checkStill() {
	for _, r := range s.rooms {
		s.checkRest(r.Phone)
	}
	for _, c := range s.carriers {
		s.checkRest(c.Phone)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	left, err := s.node.SIP().Residue(ctx)
	if err != nil {
		s.failed("", "the node does not say what it holds: %v", err)
	}
	if left.Sessions+left.Waiting+left.Alarms != 0 {
		s.failed("", "the node still holds %+v", left)
	}
	n := s.node.SIP().Counters()
	if n.Panics != 0 {
		s.failed("", "%d messages or timers met a fault of ours", n.Panics)
	}
	if n.Active != 0 || n.Talking != 0 {
		s.failed("", "the node counts %d active and %d talking calls", n.Active, n.Talking)
	}
	if n.Stalls != 0 {
		s.failed("", "the node says that it was late %d times, on a clock that waits for it", n.Stalls)
	}
	if m := s.node.Media().Stats(); m.InUse != 0 {
		s.failed("", "%d port pairs are still in use", m.InUse)
	}
	for _, st := range s.node.Status().Endpoints {
		if st.Calls != 0 {
			s.failed("", "%s has %d calls by our count", st.Name, st.Calls)
		}
	}
}

// checkRest looks for calls that are not over at a phone. A room of which the node heard no response at all is told nothing either (RFC 3261 §9.1).
func (s *stage) checkRest(p *town.Phone) {
	for _, r := range p.Records() {
		if r.State != town.Over && r.State != town.Ignored && (r.Placed || s.responded(r)) {
			s.failed(r.ID, "%s is left with a call that is %s, provisionals %v, finals %v: %s", p.Name(), r.State, r.Provisionals, r.Finals, r.ID)
		}
	}
}

// responded says whether a response to the INVITE that a room received came to the node.
func (s *stage) responded(r town.Record) bool {
	for _, m := range s.tape.talk(r.ID) {
		if m.callID == r.CallID && m.method == "INVITE" && m.code >= 100 && m.fate == town.Delivered {
			return true
		}
	}
	return false
}

// check judges the calls of a night that is over.
func (s *stage) check() {
	for _, c := range s.carriers {
		for _, p := range c.calls {
			s.checkCall(p)
		}
		if c.bad {
			continue
		}
		s.checkWrong(c.Phone)
	}
	for _, r := range s.rooms {
		s.checkWrong(r.Phone)
		for _, rec := range r.Records() {
			s.checkVoice(rec, r.name)
		}
	}
}

// checkWrong passes on what a phone complains of. The last word may name a leg.
func (s *stage) checkWrong(p *town.Phone) {
	for _, w := range p.Wrong() {
		callID := w[strings.LastIndexByte(w, ' ')+1:]
		talk := s.tape.conversation(callID)
		if strings.Contains(w, "nobody ACKed our") && !s.refusalCame(talk, callID) {
			continue // it was lost, or held up for so long that the phone had given up
		}
		s.failed(talk, "%s", w)
	}
}

// refusalCame says whether a room's refusal of an INVITE came to the node in time to be ACKed.
func (s *stage) refusalCame(talk, callID string) bool {
	for _, r := range s.tape.talk(talk) {
		if r.callID == callID && r.method == "INVITE" && r.code >= 300 && r.fate == town.Delivered && r.came.Sub(r.sent) < 20*time.Second {
			return true
		}
	}
	return false
}

func (s *stage) checkVoice(r town.Record, who string) {
	if r.Voice.Changed != 0 {
		s.failed(r.ID, "%s heard %d changed packets in call %s", who, r.Voice.Changed, r.ID)
	}
	if r.Voice.Foreign > s.mayBeForeign() {
		s.failed(r.ID, "%s heard %d packets of somebody else in call %s", who, r.Voice.Foreign, r.ID)
	}
}

// mayBeForeign is how many packets of others a call may hear. Where a room is symmetric nobody can tell, before its first packet comes from where it said,
// that what comes from its host is a leftover of another call that was held up on the way (R29).
func (s *stage) mayBeForeign() int {
	for _, f := range s.files {
		for _, e := range f.file.endpoints {
			if e.symmetric {
				return 5
			}
		}
	}
	return 0
}

// checkCall judges one call.
func (s *stage) checkCall(p *placed) {
	rec := p.call.Record()
	s.checkVoice(rec, p.carrier.name)
	if p.carrier.bad {
		return
	}
	if len(rec.Tags) > 1 {
		s.failed(rec.ID, "the caller of %s saw %d To tags", rec.ID, len(rec.Tags))
	}
	st := s.story(p, rec)
	if len(rec.Finals) == 0 && st.began.IsZero() && (rec.End == town.ByTransport || p.carrier.troubledIn(rec.Asked, rec.Ended)) {
		return // its INVITE never came
	}
	if len(rec.Finals) != 1 {
		s.failed(rec.ID, "the caller of %s heard %d finals: %v", rec.ID, len(rec.Finals), rec)
		return
	}
	if st.began.IsZero() {
		s.failed(rec.ID, "the caller of %s heard a final although no INVITE reached the node", rec.ID)
		return
	}
	s.checkAsked(st)
	s.checkHeard(st)
	if p.class != emergency {
		if code := rec.Finals[0]; code == 503 || code >= 600 && code != 603 {
			s.failed(rec.ID, "the caller of %s was told %d", rec.ID, code)
		}
		return
	}
	switch code := rec.Finals[0]; {
	case code == 500:
		s.checkRefused(st)
	case code == 487 && rec.CancelSent, code/100 == 2:
		s.checkPatience(st)
	default:
		s.failed(rec.ID, "the emergency caller of %s was told %d", rec.ID, code)
	}
}

// story is one emergency call as it was on the wires.
type story struct {
	*placed
	rec    town.Record
	file   file
	began  time.Time // when the INVITE came to the node
	left   time.Time // when the caller's CANCEL came to it
	ended  time.Time // when the node first sent its final response, or the caller's CANCEL came
	asked  []endpoint
	legs   map[string]*legStory // by room
	strict bool                 // the caller's number was at no partner already
}

// legStory is what went on between the node and one room.
type legStory struct {
	first time.Time // the first INVITE left, whether it arrived or not
	asked time.Time // the first INVITE that arrived left
	heard time.Time // the first response above 100 came to the node
	rang  time.Time // the first 18x that came
	final time.Time // the first final that came
	lost  int       // packets that did not arrive
}

func (s *stage) story(p *placed, rec town.Record) *story {
	st := &story{placed: p, rec: rec, legs: map[string]*legStory{}}
	for _, r := range s.tape.talk(rec.ID) {
		if r.callID == rec.CallID {
			switch {
			case r.method == "INVITE" && r.code == 0 && !r.toTag && st.began.IsZero() && r.fate == town.Delivered:
				st.began = r.came
			case r.method == "CANCEL" && r.code == 0 && st.left.IsZero() && r.fate == town.Delivered:
				st.left = r.came
			case r.method == "INVITE" && r.code >= 200 && r.cseq == 1 && (st.ended.IsZero() || r.sent.Before(st.ended)):
				st.ended = r.sent
			}
			continue
		}
		st.leg(s, r)
	}
	for _, f := range s.files {
		if !f.since.After(st.began) {
			st.file = f.file
		}
	}
	st.asked = st.file.asked(p.order)
	st.strict = true
	for _, c := range s.carriers {
		for _, other := range c.calls {
			if other != p && other.dial.From == p.dial.From {
				st.strict = false
			}
		}
	}
	return st
}

func (st *story) leg(s *stage, r *rung) {
	for _, room := range s.rooms {
		out, in := r.to.Addr() == room.host.Addr(), r.from.Addr() == room.host.Addr()
		if !out && !in {
			continue
		}
		l := st.legs[room.name]
		if l == nil {
			l = &legStory{}
			st.legs[room.name] = l
		}
		if r.method != "INVITE" || r.cseq > 1 || r.code == 0 && r.toTag {
			return
		}
		if out && r.code == 0 {
			first(&l.first, r.sent)
		}
		if r.fate != town.Delivered {
			l.lost++
			return
		}
		switch {
		case out && r.code == 0 && (l.asked.IsZero() || r.sent.Before(l.asked)):
			l.asked = r.sent
		case in && r.code > 100:
			first(&l.heard, r.came)
			if r.code < 200 {
				first(&l.rang, r.came)
			} else {
				first(&l.final, r.came)
			}
		}
	}
}

func first(at *time.Time, t time.Time) {
	if at.IsZero() || t.Before(*at) {
		*at = t
	}
}

// may says whether the call may be sent to an endpoint at all (R9).
func (st *story) may(e endpoint) bool { return !e.partner || !st.aid && st.strict }

// checkAsked: nobody is asked after the caller's CANCEL (R8), and a call that came as mutual aid goes to no partner (R9). A CANCEL that crossed our 200
// is none: a rescue goes on until the BYE arrives.
func (s *stage) checkAsked(st *story) {
	for name, l := range st.legs {
		if !st.left.IsZero() && st.left.Before(st.ended) && l.asked.After(st.left) && l.first.After(st.left) {
			s.failed(st.rec.ID, "%s was asked %v after the caller of %s had left", name, l.first.Sub(st.left), st.rec.ID)
		}
		if st.aid && s.room(name).partner && !l.first.IsZero() && !s.redirectedTo(name) {
			s.failed(st.rec.ID, "%s, a partner, was asked for call %s, which came as mutual aid", name, st.rec.ID)
		}
	}
}

// redirectedTo says whether some room may have sent calls on to another.
func (s *stage) redirectedTo(string) bool {
	for _, f := range s.files {
		for _, e := range f.file.endpoints {
			if e.follow {
				return true
			}
		}
	}
	return false
}

// checkHeard: who talks for a while over good wires hears the other.
func (s *stage) checkHeard(st *story) {
	if st.holds || st.rec.Answer.IsZero() || st.rec.End != town.ByUs && st.rec.End != town.ByPeer || s.plan.path.Loss > 0 {
		return
	}
	for _, r := range s.rooms {
		for _, far := range r.Records() {
			if far.ID != st.rec.ID || far.Answer.IsZero() || far.End != town.ByUs && far.End != town.ByPeer || len(far.Reasons) > 0 {
				continue // one with a Reason was told that somebody else had answered
			}
			from, to := later(far.Answer, st.rec.Answer), earlier(far.Ended, st.rec.Ended)
			if to.Sub(from) < 3*time.Second || !r.reachableFrom(far.Asked, to) || st.carrier.troubledIn(st.rec.Asked, to) {
				continue
			}
			if far.Voice.Heard == 0 || st.rec.Voice.Heard == 0 {
				s.failed(st.rec.ID, "call %s talked to %s for %v, and they heard %d and %d packets", st.rec.ID, r.name, to.Sub(from), st.rec.Voice.Heard, far.Voice.Heard)
			}
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// checkRefused: no emergency caller is refused while a room that would have answered could still be asked in time.
func (s *stage) checkRefused(st *story) {
	for _, e := range st.asked {
		r := s.room(e.name)
		if !st.may(e) || !r.able(st.began.Add(-time.Second), st.ended.Add(time.Second)) {
			continue
		}
		l := st.legs[e.name]
		after := st.ended.Sub(st.began)
		giveUp := st.file.giveUp
		if st.aid {
			giveUp = 5 * time.Second
		}
		switch {
		case l != nil && !l.heard.IsZero() && l.heard.Before(st.ended):
			if !st.file.overlap && (l.lost > 0 || r.lied || s.plan.path.Loss > 0) {
				continue // lost packets or lost OPTIONS made it look dead: then others are asked instead of it
			}
			s.failed(st.rec.ID, "the caller of %s got 500 after %v although %s had been heard from and would have answered", st.rec.ID, after, e.name)
		case l != nil && (l.lost > 0 || !l.asked.IsZero() && st.ended.Sub(l.asked) < 300*time.Millisecond && after >= giveUp):
			// The wires kept it from being heard, or its turn came at the very end.
		case after >= giveUp:
			// Nothing rang for so long. Whether that was the ladder's fault is checkPatience's question.
		case e.tcp && l == nil && s.tcpTrouble(r):
			// The connection could not be made in time.
		default:
			s.failed(st.rec.ID, "the caller of %s got 500 after %v although %s would have answered (asked: %v)", st.rec.ID, after, e.name, l != nil)
		}
	}
}

// tcpTrouble says whether a connection to a room may take longer than nines waits for it.
func (s *stage) tcpTrouble(*room) bool { return s.plan.path.Loss > 0 }

// checkPatience: whoever waits is answered as soon as the ladder allows.
func (s *stage) checkPatience(st *story) {
	if st.ended.IsZero() {
		return
	}
	waited := st.ended.Sub(st.began)
	for _, e := range st.asked {
		r := s.room(e.name)
		if !st.may(e) || !r.able(st.began.Add(-time.Second), st.ended.Add(time.Second)) {
			continue
		}
		if l := st.legs[e.name]; l != nil && l.lost > 0 {
			continue
		}
		limit := answerIn + 500*time.Millisecond
		known := true
		for _, o := range st.asked {
			if o.name == e.name {
				continue
			}
			limit += max(st.file.patience, st.file.progress)
			held, ends := s.heldBy(st, o)
			limit += held
			known = known && ends
		}
		if !known || e.partner && e.calls < 60 {
			continue
		}
		if waited > limit {
			s.failed(st.rec.ID, "the caller of %s waited %v although %s would have answered all the time; the ladder takes %v at most", st.rec.ID, waited, e.name, limit)
		}
	}
}

// heldBy says how long the ringing of an endpoint may have kept others from being asked, and whether that had an end.
func (s *stage) heldBy(st *story, e endpoint) (held time.Duration, ends bool) {
	l := st.legs[e.name]
	switch {
	case l == nil || l.rang.IsZero():
		return 0, true
	case !l.final.IsZero() && l.final.Before(st.ended):
		return max(l.final.Sub(l.rang), 0), true
	case e.partner || st.rec.CancelSent:
		return 0, false
	}
	r := s.room(e.name)
	for _, t := range r.troubles {
		if t.from.After(l.rang) && (t.to.IsZero() || t.to.After(st.ended)) { // it rang, then it died for good
			return t.from.Sub(l.rang) + ringThenDie + st.file.every, true
		}
	}
	return 0, false
}

// ringThenDie is how long it takes to find out that an own room has died while it rang: two probes, each with its timeout (R6).
const ringThenDie = 3 * time.Second
