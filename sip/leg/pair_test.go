package leg

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// wire is one message between two ends.
type message struct {
	kind   string // request, response, ack
	method string
	cseq   uint32
	code   int
	sdp    []byte
	rseq   uint32
	rack   RAck
}

// owed is a request that an end has let through and not answered.
type owed struct {
	message
	offer bool // it carries an offer
	rang  bool
}

// end is one end of a dialog with what it has sent and what it owes.
type end struct {
	name string
	leg  *Leg
	out  []message
	owes []owed
	n    int
}

func (e *end) sdp() []byte {
	e.n++
	return fmt.Appendf(nil, "%s%d", e.name, e.n)
}

// TestTwoEndsAgree runs both ends of a dialog against each other: INVITE, UPDATE and PRACK, with and without offers, early and late, accepted and refused, crossing as
// they may. When everything is answered, each end must believe to have sent what the other believes to have received, and nothing may be open.
func TestTwoEndsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 5, 3, 0, 0, 0, time.UTC)
		a := &end{name: "a", leg: NewUAC(Call{CallID: "c", LocalTag: "a", From: "<sip:a>", To: "<sip:b>", CSeq: 1, Target: "sip:b"})}
		b := &end{name: "b"}
		bools := rapid.Bool()
		maybe := func(e *end, yes bool) []byte {
			if yes {
				return e.sdp()
			}
			return nil
		}
		request := func(e *end, method string, sdp []byte, rack RAck) bool {
			line, err := e.leg.Request(method, sdp)
			if err != nil {
				return false
			}
			e.out = append(e.out, message{kind: "request", method: method, cseq: line.CSeq, sdp: sdp, rack: rack})
			return true
		}
		reply := func(e *end, m message, code int, rseq uint32, sdp []byte) {
			s := e.leg.Reply(now, Reply{Method: m.method, CSeq: m.cseq, Code: code, RSeq: rseq, SDP: sdp})
			if s.Late || s.Wait {
				t.Fatalf("%s: a %d to %s %d: got %+v, want it to go out", e.name, code, m.method, m.cseq, s)
			}
			e.out = append(e.out, message{kind: "response", method: m.method, cseq: m.cseq, code: code, rseq: rseq, sdp: sdp})
		}
		deliver := func(from, to *end) {
			if len(from.out) == 0 {
				return
			}
			m := from.out[0]
			from.out = from.out[1:]
			switch m.kind {
			case "request":
				if to.leg == nil {
					to.leg = NewUAS(Invite{CallID: "c", From: "<sip:a>", FromTag: "a", To: "<sip:b>", CSeq: m.cseq, Contact: "sip:a", SDP: m.sdp}, "b", "<sip:b>")
					to.owes = append(to.owes, owed{message: m, offer: m.sdp != nil})
					return
				}
				in := Incoming{Method: m.method, CSeq: m.cseq, SDP: m.sdp}
				d := to.leg.Receive(in, 1)
				if d.Code != 0 {
					to.out = append(to.out, message{kind: "response", method: m.method, cseq: m.cseq, code: d.Code})
					return
				}
				o := owed{message: m, offer: d.SDP == Offered}
				if m.method == "PRACK" {
					ok, meaning, _ := to.leg.Pracked(now, m.cseq, m.rack, m.sdp, nil)
					if !ok {
						t.Fatalf("%s does not know its provisional %v", to.name, m.rack)
					}
					o.offer = meaning == Offered
				}
				to.owes = append(to.owes, o)
			case "response":
				out := to.leg.Response(now, Response{Method: m.method, CSeq: m.cseq, Code: m.code, ToTag: from.leg.LocalTag, RSeq: m.rseq, SDP: m.sdp})
				if out.RAck.RSeq != 0 {
					var sdp []byte
					if out.SDP == Offered || to.leg.May("PRACK", true) == nil && bools.Draw(t, "offer in PRACK") {
						sdp = to.sdp()
					}
					if !request(to, "PRACK", sdp, out.RAck) {
						t.Fatalf("%s may not send a PRACK", to.name)
					}
				}
				if m.method == "INVITE" && out.News == Answered {
					var sdp []byte
					if out.SDP == Offered {
						sdp = to.sdp()
					}
					to.leg.Ack(m.cseq, sdp)
					to.out = append(to.out, message{kind: "ack", cseq: m.cseq, sdp: sdp})
				}
			case "ack":
				if !to.leg.Acked(m.cseq, m.sdp).First && to.leg.Pending2xx != nil && to.leg.Pending2xx.CSeq == m.cseq {
					t.Fatalf("%s did not take the ACK %d", to.name, m.cseq)
				}
			}
		}
		answer := func(e *end, i int, accept bool) {
			o := e.owes[i]
			if o.method == "INVITE" && e.leg.Reliable != nil && !e.leg.Reliable.Stopped {
				return // an answer waits for the PRACK here
			}
			e.owes = append(e.owes[:i:i], e.owes[i+1:]...)
			initial := o.method == "INVITE" && e.leg.State == Early
			if !accept && !initial && o.method != "PRACK" {
				reply(e, o.message, 488, 0, nil)
				return
			}
			var sdp []byte
			switch {
			case o.offer && o.method != "INVITE":
				sdp = e.sdp()
			case o.method != "INVITE":
			case o.offer && e.leg.Offer.By == Them, !e.leg.TheirInvite.Dealt && e.leg.Offer.By == Nobody:
				sdp = e.sdp()
			}
			reply(e, o.message, 200, 0, sdp)
		}
		ring := func(e *end) {
			for i := range e.owes {
				o := &e.owes[i]
				if o.method != "INVITE" || o.rang || e.leg.Reliable != nil && !e.leg.Reliable.Stopped {
					continue
				}
				o.rang = true
				opens := !e.leg.TheirInvite.Dealt && e.leg.Offer.By == Nobody || e.leg.Offer.By == Them && e.leg.Offer.In == inInvite
				reply(e, o.message, 183, e.leg.NextRSeq(7), maybe(e, opens && bools.Draw(t, "sdp")))
				return
			}
		}
		side := func() (*end, *end) {
			if bools.Draw(t, "a") || b.leg == nil {
				return a, b
			}
			return b, a
		}
		restart := func(e *end) {
			data, err := Encode(e.leg)
			if err != nil {
				t.Fatal(err)
			}
			if e.leg, err = Decode(data); err != nil {
				t.Fatal(err)
			}
		}
		request(a, "INVITE", maybe(a, bools.Draw(t, "early offer")), RAck{})
		t.Repeat(map[string]func(*rapid.T){
			"deliver":  func(*rapid.T) { deliver(a, b) },
			"deliver2": func(*rapid.T) { deliver(b, a) },
			"answer": func(t *rapid.T) {
				e, _ := side()
				if len(e.owes) > 0 {
					answer(e, rapid.IntRange(0, len(e.owes)-1).Draw(t, "which"), rapid.IntRange(0, 2).Draw(t, "accept") > 0)
				}
			},
			"ring": func(*rapid.T) { e, _ := side(); ring(e) },
			"restart": func(*rapid.T) {
				if e, _ := side(); e.leg != nil {
					restart(e)
				}
			},
			"invite": func(t *rapid.T) {
				if e, _ := side(); e.leg != nil && e.leg.State == Confirmed {
					request(e, "INVITE", maybe(e, e.leg.May("INVITE", true) == nil && bools.Draw(t, "offer")), RAck{})
				}
			},
			"update": func(t *rapid.T) {
				if e, _ := side(); e.leg != nil && e.leg.RemoteTag != "" {
					offer := e.leg.May("UPDATE", true) == nil && bools.Draw(t, "offer")
					// A UAC must not offer in an UPDATE before its INVITE's own exchange is done (RFC 3311 §5.1).
					if offer && (e.leg.OurInvite.Open && !e.leg.OurInvite.Dealt || e.leg.TheirInvite.Open && !e.leg.TheirInvite.Dealt) {
						offer = false
					}
					request(e, "UPDATE", maybe(e, offer), RAck{})
				}
			},
		})
		for range 1000 {
			deliver(a, b)
			deliver(b, a)
			for _, e := range []*end{a, b} {
				for i := len(e.owes) - 1; i >= 0; i-- {
					if i < len(e.owes) {
						answer(e, i, true)
					}
				}
			}
		}
		if len(a.out)+len(b.out)+len(a.owes)+len(b.owes) != 0 {
			t.Fatalf("something is never answered: %v %v %v %v", a.out, b.out, a.owes, b.owes)
		}
		for _, e := range []*end{a, b} {
			if l := e.leg; l.State != Confirmed || l.Offer.By != Nobody || l.OurInvite.Open || l.TheirInvite.Open || l.OurUpdate.Open || l.TheirUpdate.Open {
				t.Fatalf("%s has something open: %+v", e.name, l)
			}
			if next := e.leg.Next(); !next.IsZero() {
				t.Fatalf("%s still waits for something: %+v %+v", e.name, e.leg.Pending2xx, e.leg.Reliable)
			}
		}
		if string(a.leg.Sent) != string(b.leg.Received) || string(b.leg.Sent) != string(a.leg.Received) {
			t.Fatalf("the ends disagree: a sent %q, b received %q; b sent %q, a received %q", a.leg.Sent, b.leg.Received, b.leg.Sent, a.leg.Received)
		}
	})
}
