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
		s.failed(s.tape.conversation(w[strings.LastIndexByte(w, ' ')+1:]), "%s", w)
	}
}

func (s *stage) checkVoice(r town.Record, who string) {
	if r.Voice.Changed != 0 {
		s.failed(r.ID, "%s heard %d changed packets in call %s", who, r.Voice.Changed, r.ID)
	}
	if r.Voice.Foreign != 0 {
		s.failed(r.ID, "%s heard %d packets of somebody else in call %s", who, r.Voice.Foreign, r.ID)
	}
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
	if len(rec.Finals) != 1 {
		s.failed(rec.ID, "the caller of %s heard %d finals: %v", rec.ID, len(rec.Finals), rec)
		return
	}
	if p.class != emergency {
		return
	}
	st := s.story(p, rec)
	if st.began.IsZero() {
		s.failed(rec.ID, "the caller of %s heard a final although no INVITE reached the node", rec.ID)
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
	ended  time.Time // when the node first sent its final response, or the caller's CANCEL came
	asked  []endpoint
	legs   map[string]*legStory // by room
	strict bool                 // the caller's number was at no partner already
}

// legStory is what went on between the node and one room.
type legStory struct {
	asked  time.Time // the first INVITE left
	heard  time.Time // the first response above 100 came to the node
	rang   time.Time // the first 18x that came
	final  time.Time // the first final that came
	lost   int       // packets that did not arrive
	copies int
}

func (s *stage) story(p *placed, rec town.Record) *story {
	st := &story{placed: p, rec: rec, legs: map[string]*legStory{}}
	for _, r := range s.tape.talk(rec.ID) {
		if r.callID == rec.CallID {
			switch {
			case r.method == "INVITE" && r.code == 0 && !r.toTag && st.began.IsZero() && r.fate == town.Delivered:
				st.began = r.came
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
		if r.method != "INVITE" {
			return
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
			if !st.file.overlap && (l.lost > 0 || r.lied) {
				continue // lost packets, or its silence to OPTIONS, made it look dead: then others are asked instead of it
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
		others := false
		for _, o := range st.asked {
			if o.name == e.name {
				continue
			}
			limit += max(st.file.patience, st.file.progress)
			if l := st.legs[o.name]; l != nil && !l.rang.IsZero() {
				others = true // it rang, so nobody else need be asked
			}
		}
		if others || e.partner && e.calls < 60 {
			continue
		}
		if waited > limit {
			s.failed(st.rec.ID, "the caller of %s waited %v although %s would have answered all the time; the ladder takes %v at most", st.rec.ID, waited, e.name, limit)
		}
	}
}
