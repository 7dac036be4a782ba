package sip

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"nines/sip/leg"
	"nines/sip/txn"
	"nines/sip/wire"
)

// Session timers (RFC 4028) are of one leg: each is negotiated and kept by itself, and both may have one, with us or the far end as who refreshes. What they
// are and when something is due is the leg's; this file says it in messages. Nothing of it ends a call: silence never does (R20, docs/decisions).

// grantTimer starts the session timer that a request of p asks for (RFC 4028 §9), and appends what the 2xx must say of it. A peer that did not say that it
// knows timers has none: what stands in its request was put in on the way.
func (s *session) grantTimer(b []byte, now time.Time, p *party, m *wire.Message) []byte {
	if !negotiates(m.Method) {
		return b
	}
	asked := leg.Session{}
	if p.leg.Supports("timer") {
		asked = sessionOf(m)
	}
	granted, require := p.leg.GrantTimer(now, asked)
	for _, h := range sessionHeaders(granted) {
		b = wire.AppendHeader(b, h.Name, h.Value)
	}
	if require {
		b = append(b, "Require: timer\r\n"...)
	}
	return b
}

// knownTags adds to a 2xx's option tags that we know timers, for who knows them: a stranger is not told more than it needs.
func (p *party) knownTags(tags []string) []string {
	if p.leg.Supports("timer") {
		return append(tags, "timer")
	}
	return tags
}

// sessionOf is what a message says about session timers (RFC 4028 §4 and §5). What is garbled asks for nothing.
func sessionOf(m *wire.Message) leg.Session {
	s := leg.Session{Min: minSE(m)}
	v, ok := m.Get("Session-Expires")
	if !ok {
		return s
	}
	var params string
	if s.Expires, params, ok = deltaSeconds(v); !ok {
		return leg.Session{Min: s.Min}
	}
	switch who, _ := wire.Param(";"+params, "refresher"); strings.ToLower(who) {
	case "uac":
		s.Refresher = leg.RefresherUAC
	case "uas":
		s.Refresher = leg.RefresherUAS
	}
	return s
}

// minSE is the Min-SE of a message; 0: it has none.
func minSE(m *wire.Message) time.Duration {
	v, _ := m.Get("Min-SE")
	d, _, _ := deltaSeconds(v)
	return d
}

// deltaSeconds reads a number of seconds and what stands behind it.
func deltaSeconds(v string) (d time.Duration, params string, ok bool) {
	seconds, params, _ := strings.Cut(v, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(seconds), 10, 31)
	if err != nil {
		return 0, "", false
	}
	return time.Duration(n) * time.Second, params, true
}

// sessionHeaders says it in headers.
func sessionHeaders(t leg.Session) []wire.Header {
	var list []wire.Header
	if t.Expires > 0 {
		v := utoa(uint64(t.Expires / time.Second))
		switch t.Refresher {
		case leg.RefresherUAC:
			v += ";refresher=uac"
		case leg.RefresherUAS:
			v += ";refresher=uas"
		case leg.RefresherUnset:
		}
		list = append(list, wire.Header{Name: "Session-Expires", Value: v})
	}
	if t.Min > 0 {
		list = append(list, wire.Header{Name: "Min-SE", Value: utoa(uint64(t.Min / time.Second))})
	}
	return list
}

// refresh renews the session of one leg with what counts there already. The other leg hears nothing of it.
func (s *session) refresh(now time.Time, p *party) {
	method, text := p.leg.Refresh()
	if s.over || method == "" {
		return
	}
	s.log.Debug().Int("part", s.partOf(p)).Str("method", method).Msg("refreshing the session")
	r := &relay{s: s, part: -1, to: p, own: method, refresh: true, sent: text}
	s.relays = append(s.relays, r)
	r.send(now, nil, text, "application/sdp")
}

// refreshed is the 2xx to a refresh of ours.
func (r *relay) refreshed(now time.Time, d description) {
	s := r.s
	if r.own == "INVITE" {
		r.sendAck(now, nil, nil, "")
	}
	r.finish()
	other := s.mate(r.to)
	if s.over || !d.ok || bytes.Equal(d.text(), r.to.far) || other == nil || r.to != &s.caller && s.mate(&s.caller) != r.to {
		return
	}
	r.to.far = d.text() // it took the occasion to say something new: another address, another direction
	s.pair(other, other.far, r.to, r.to.far)
	s.noteMuted(now)
}

// refreshRefused is the refusal of a refresh of ours, or its silence, which is a 408. Nothing ends by it: while the far end is heard the call is there, and
// whether it is where it is not, other witnesses say (R20, R44).
func (r *relay) refreshRefused(now time.Time, code int, min time.Duration) {
	s := r.s
	gone := r.to.leg.RefreshRefused(now, r.own, code, min, s.loop.rnd.Uint32())
	if gone && !s.over {
		s.log.Warn().Int("part", s.partOf(r.to)).Int("code", code).Msg("a refresh of a session was refused; the call goes on")
		s.doubt(now, r.to)
	}
}

// expired is a session timer that ran out. RFC 4028 §10 says BYE, but it is only a SHOULD, and to end an emergency call that talks for a lost refresh is the
// worse error.
func (s *session) expired(now time.Time, p *party) {
	s.log.Warn().Int("part", s.partOf(p)).Msg("a session timer ran out without a refresh; the call goes on")
	why := "the caller's"
	if p != &s.caller {
		why = "the endpoint's"
	}
	s.record(now, Record{Kind: CallNoted, Why: why + " session timer ran out without a refresh; the call goes on"})
	s.doubt(now, p)
}

// doubt has a caller asked at once whether it is there, if it is not heard (R44). An endpoint that is not heard is asked anyway (R20).
func (s *session) doubt(now time.Time, p *party) {
	if p == &s.caller && s.isConfirmed() && !s.check.out {
		s.check.next = now
	}
}

// renews says that a request of p changes nothing but how long its session lasts (RFC 4028 §7.4): there is a timer, and it has no session description, or
// the one that counts.
func (p *party) renews(m *wire.Message, d description) bool {
	switch {
	case !negotiates(m.Method) || p.leg.State != leg.Confirmed || p.leg.Timer.Expires == 0 && sessionOf(m).Expires == 0:
		return false
	case d.ok:
		return p.leg.Sent != nil && bytes.Equal(d.text(), p.far)
	}
	return m.Method == "UPDATE" && len(m.Body) == 0
}

// renew answers a refresh ourselves, where nobody is on the other side, or refuses it there: its timer is none of the other side's business, and who is
// refused a refresh hangs up.
func (s *session) renew(now time.Time, p *party, key txn.Key, m *wire.Message, f wire.Flow) {
	var text []byte
	if describe(m).ok {
		text = p.leg.Sent
	}
	b := appendReply(make([]byte, 0, 800+len(text)), m, f.Remote, 200, "OK", "")
	b = wire.AppendHeader(b, "Contact", p.leg.Contact)
	b = wire.AppendHeader(b, "Allow", allow)
	b = appendTags(b, "Supported", p.knownTags(nil))
	b = s.appendSessionID(b, p)
	b = s.grantTimer(b, now, p, m)
	if text != nil {
		b = wire.AppendHeader(b, "Content-Type", "application/sdp")
	}
	b = wire.AppendBody(b, text)
	if m.Method == "INVITE" {
		p.answers(m, f)
	}
	p.leg.Reply(now, leg.Reply{Method: m.Method, CSeq: m.CSeq, Code: 200, SDP: text, Data: b})
	s.loop.respond(now, key, 200, b)
}
