package sip_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nines/sip"
)

func (a *actor) contact() string { return "Contact: <sip:someone@" + a.addr.String() + ">" }

// hangUp ends a call from the caller's side and waits for the room's BYE.
func (st *stage) hangUp(caller, called *dialog) {
	st.t.Helper()
	caller.request("BYE", "")
	caller.a.expect("200 BYE")
	called.a.reply(called.a.expect("BYE"), 200, "")
}

// skipTo reads on to the message that is meant, past what repeats.
func (a *actor) skipTo(what string) heard {
	a.t.Helper()
	for {
		select {
		case m := <-a.in:
			if kind(m.Message) == what {
				return m
			}
		case <-time.After(40 * time.Second):
			a.t.Fatalf("%s waited 40 s for %s", a.host.Name(), what)
		}
	}
}

func TestAByeThatCrossesAByeIsAnsweredOnBothSides(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		caller.request("BYE", "")
		called.request("BYE", "")
		for _, a := range []*actor{st.carrier, called.a} {
			answered := false
			time.Sleep(time.Second)
			for len(a.in) > 0 {
				switch m := <-a.in; kind(m.Message) {
				case "200 BYE", "481 BYE": // 481: for us it is over already
					answered = true
				case "BYE":
					a.reply(m, 200, "")
				default:
					t.Errorf("%s got %s", a.host.Name(), kind(m.Message))
				}
			}
			if !answered {
				t.Errorf("%s got no answer to its BYE", a.host.Name())
			}
		}
		st.nothingLeft()
	})
}

func TestALostByeIsRepeatedAndA481EndsIt(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		caller.write("BYE", "") // its 200 was lost: the same request again
		st.carrier.expect("200 BYE")
		first := called.a.expect("BYE")
		for range 3 {
			again := called.a.expect("BYE")
			if string(again.raw) != string(first.raw) {
				t.Errorf("a repeated BYE is the same, byte for byte:\n%s\n%s", first.raw, again.raw)
			}
		}
		called.a.reply(first, 481, "")
		called.a.silence(20 * time.Second)
		st.nothingLeft()
	})
}

func TestAByeBeforeTheAckOfOur200Waits(t *testing.T) {
	for _, acked := range []bool{true, false} {
		t.Run(fmt.Sprintf("acked=%v", acked), func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				room := st.rooms["control-room"]
				m := room.expect("INVITE")
				called := callee(room, m, "room")
				room.replyBody(m, 200, "room", sdpOf(room, 50000))
				ok := st.carrier.expect("200 INVITE")
				room.expect("ACK")
				called.request("BYE", "", "X-Why: left")
				room.expect("200 BYE") // answered at once (R46)
				again := st.carrier.expect("200 INVITE")
				if string(again.raw) != string(ok.raw) {
					t.Errorf("the 200 must be repeated as it was")
				}
				began := time.Now()
				if acked {
					caller.ack(ok, "")
				}
				bye := st.carrier.skipTo("BYE") // RFC 3261 §15: not before the ACK, or its time is over
				if got := time.Since(began); acked != (got < time.Second) {
					t.Errorf("the BYE came %v after the 200", got)
				}
				if v, _ := bye.Get("X-Why"); v != "left" {
					t.Errorf("the BYE lost what the other side's said:\n%s", bye.raw)
				}
				st.carrier.reply(bye, 200, "")
				st.nothingLeft()
			})
		})
	}
}

func TestAForksByeDoesNotEndTheCall(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		room.reply(m, 180, "one")
		room.reply(m, 180, "two")
		st.carrier.expect("180 INVITE")
		one, two := callee(room, m, "one"), callee(room, m, "two")
		one.request("INFO", "")
		if got := room.expect("200 INFO"); got.FromTag != "one" {
			t.Errorf("an INFO in an early dialog is answered in it:\n%s", got.raw)
		}
		two.request("INVITE", sdpOf(room, 50002), room.contact())
		busy := room.expect("500 INVITE")
		two.ack(busy, "")
		room.replyBody(m, 200, "two", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		one.request("BYE", "") // the branch that did not answer
		if got := room.expect("481 BYE"); got.FromTag != "one" {
			t.Errorf("the BYE of the other branch is of no dialog any more:\n%s", got.raw)
		}
		st.carrier.silence(2 * time.Second)
		two.request("INFO", "") // and the call goes on
		info := st.carrier.expect("INFO")
		st.carrier.reply(info, 200, "")
		room.expect("200 INFO")
		two.request("BYE", "")
		room.expect("200 BYE")
		st.carrier.reply(st.carrier.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}

func TestRequestsOfAnAttemptThatLostStayThere(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		m := room.expect("INVITE")
		time.Sleep(900 * time.Millisecond)
		n := standby.skipTo("INVITE")
		loser := callee(room, m, "loser")
		winner := callee(standby, n, "winner")
		standby.replyBody(n, 200, "winner", sdpOf(standby, 50000))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		room.replyBody(m, 200, "loser", sdpOf(room, 50002))
		room.skipTo("ACK")
		bye := room.expect("BYE")
		for _, method := range []string{"INVITE", "INFO", "UPDATE", "BYE"} { // they cross our BYE
			body := ""
			if method == "INVITE" || method == "UPDATE" {
				body = sdpOf(room, 50004)
			}
			loser.request(method, body, room.contact())
			want := "481 " + method
			if method == "BYE" {
				want = "200 BYE"
			}
			got := room.expect(want)
			if method == "INVITE" {
				loser.ack(got, "")
			}
		}
		room.reply(bye, 200, "")
		st.carrier.silence(time.Second) // none of that reached the caller
		st.hangUp(caller, winner)
		st.nothingLeft()
	})
}

func TestACancelOfAReInvitePassesAndTheCallGoesOn(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		for _, way := range []struct{ from, to *dialog }{{caller, called}, {called, caller}} {
			way.from.request("INVITE", sdpOf(way.from.a, 40002), way.from.a.contact())
			way.from.a.expect("100 INVITE")
			m := way.to.a.expect("INVITE")
			way.to.a.reply(m, 180, "")
			time.Sleep(10 * time.Millisecond)
			seq := way.from.seq
			way.from.cancel()
			way.from.seq = seq
			way.from.a.expect("200 CANCEL")
			c := way.to.a.expect("CANCEL")
			if c.Via.Branch != m.Via.Branch || c.CSeq != m.CSeq {
				t.Errorf("the CANCEL has branch %q and CSeq %d, want its INVITE's %q and %d", c.Via.Branch, c.CSeq, m.Via.Branch, m.CSeq)
			}
			way.to.a.reply(c, 200, "")
			way.to.a.reply(m, 487, "")
			way.to.a.expect("ACK")
			final := way.from.a.expect("487 INVITE")
			way.from.ack(final, "")
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestRefusalsOfAReInvitePassUnlessTheyWouldEndTheOtherLeg(t *testing.T) {
	for _, c := range []struct{ code, want int }{
		{488, 488},
		{491, 491},
		{401, 401},
		{500, 500},
		{603, 603},
		{503, 500}, // RFC 3261 §16.7
		{481, 500}, // RFC 5057: the other leg's dialog is gone, not this one's
		{408, 500},
		{404, 500},
	} {
		t.Run(fmt.Sprint(c.code), func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				caller, called := st.talk("control-room")
				caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact())
				st.carrier.expect("100 INVITE")
				m := called.a.expect("INVITE")
				called.a.replyBody(m, c.code, "", "why it is so", "Content-Type: text/plain", "Warning: 370 x \"y\"", "Retry-After: 5")
				called.a.expect("ACK")
				final := st.carrier.expect(fmt.Sprintf("%d INVITE", c.want))
				for _, want := range []string{"Warning: 370 x \"y\"\r\n", "Retry-After: 5\r\n", "Content-Type: text/plain\r\n", "\r\n\r\nwhy it is so"} {
					if !strings.Contains(string(final.raw), want) {
						t.Errorf("the refusal lost %q:\n%s", want, final.raw)
					}
				}
				caller.ack(final, "")
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

func TestASilentFarEndCostsTheRequestNotTheCall(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		st.carrier.present.Store(true)
		caller, called := st.talk("control-room")
		caller.request("INFO", "")
		called.a.expect("INFO")
		began := time.Now()
		st.carrier.expect("500 INFO") // not 408: it would end the caller's dialog (RFC 5057), and RFC 4320 forbids it
		if got := time.Since(began); got >= 32*time.Second {
			t.Errorf("the answer came after %v, when the caller has given up", got)
		}
		for len(called.a.in) > 0 {
			<-called.a.in
		}
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact())
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		st.carrier.silence(31 * time.Second)
		final := st.carrier.expect("500 INVITE")
		caller.ack(final, "")
		for len(called.a.in) > 0 {
			<-called.a.in
		}
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002)) // late: it wants its ACK
		called.a.expect("ACK")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAReInviteWithoutOfferGetsItIn200AndTheAnswerInTheAck(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		for i, way := range []struct{ from, to *dialog }{{caller, called}, {called, caller}} {
			way.from.request("INVITE", "", way.from.a.contact(), "Supported: 100rel, replaces")
			way.from.a.expect("100 INVITE")
			m := way.to.a.expect("INVITE")
			if len(m.Body) > 0 || m.HasToken("Supported", "100rel") {
				t.Errorf("an offerless INVITE goes out without an offer, and without 100rel: an offer in a 183 would want its answer from us:\n%s", m.raw)
			}
			way.to.a.replyBody(m, 200, "", sdpOf(way.to.a, 50100+i))
			ok := way.from.a.expect("200 INVITE")
			if !strings.Contains(string(ok.Body), "c=IN IP4 "+nodeAddr) {
				t.Errorf("the offer in the 200 must have our address:\n%s", ok.raw)
			}
			way.to.a.silence(400 * time.Millisecond)
			way.from.ack(ok, sdpOf(way.from.a, 40100+i))
			ack := way.to.a.expect("ACK")
			if !strings.Contains(string(ack.Body), "c=IN IP4 "+nodeAddr) {
				t.Errorf("the answer in the ACK must have our address:\n%s", ack.raw)
			}
			way.to.a.replyBody(m, 200, "", sdpOf(way.to.a, 50100+i)) // that ACK was lost
			if again := way.to.a.expect("ACK"); string(again.raw) != string(ack.raw) {
				t.Errorf("a repeated 200 gets the same ACK:\n%s", again.raw)
			}
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAnOfferThatIsNeverAnsweredCostsNothingButItself(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		caller.request("INVITE", "", st.carrier.contact())
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002))
		st.carrier.expect("200 INVITE")
		ack := called.a.expect("ACK") // the caller's never comes: after 32 s the room is told so
		if len(ack.Body) > 0 {
			t.Errorf("there is no answer to pass:\n%s", ack.raw)
		}
		for len(st.carrier.in) > 0 {
			<-st.carrier.in
		}
		called.request("INFO", "")
		info := st.carrier.expect("INFO") // and the call goes on
		st.carrier.reply(info, 200, "")
		called.a.expect("200 INFO")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestA200ToAReInviteIsRepeatedUntilItsAckAndAckedAsOftenAsItComes(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact())
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		answer := sdpOf(called.a, 50002)
		called.a.replyBody(m, 200, "", answer)
		ack := called.a.expect("ACK")
		called.a.replyBody(m, 200, "", answer)
		if again := called.a.expect("ACK"); string(again.raw) != string(ack.raw) {
			t.Errorf("the same 200 gets the same ACK:\n%s\n%s", ack.raw, again.raw)
		}
		ok := st.carrier.expect("200 INVITE")
		if again := st.carrier.expect("200 INVITE"); string(again.raw) != string(ok.raw) {
			t.Errorf("the 200 is repeated as it was until the ACK comes")
		}
		caller.ack(ok, "")
		caller.ack(ok, "") // twice does no harm
		st.carrier.silence(10 * time.Second)
		called.a.silence(time.Second)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestA200IsRepeatedWhereItsInviteCameFrom(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		other := newActorAt(t, st.carrier.host, 5070)
		defer other.close()
		caller, called := st.talk("control-room")
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact())
		st.carrier.expect("100 INVITE")
		called.a.replyBody(called.a.expect("INVITE"), 200, "", sdpOf(called.a, 50002))
		called.a.expect("ACK")
		ok := st.carrier.expect("200 INVITE")
		info := *caller
		info.a = other // another socket of the carrier's
		info.request("INFO", "")
		called.a.reply(called.a.expect("INFO"), 200, "")
		other.expect("200 INFO")
		caller.seq = info.seq
		st.carrier.expect("200 INVITE")
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		if n := len(other.in); n > 0 {
			t.Errorf("%d messages went where only an INFO came from", n)
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestARepeated200ToAReInviteShowsTheWayToo(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact())
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		nowhere := "Contact: <sip:desk@10.9.9.9>"
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002), nowhere)
		caller.ack(st.carrier.expect("200 INVITE"), "")
		called.a.silence(400 * time.Millisecond)
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002), nowhere) // our ACK went to nobody
		called.a.expect("ACK")
		st.hangUp(caller, called) // R6: later requests go to where the 200 came from
		st.nothingLeft()
	})
}

func TestAReInviteWhoseAckNeverComesDoesNotEndTheCall(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact())
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002))
		called.a.expect("ACK")
		time.Sleep(20 * time.Second)
		for len(st.carrier.in) > 0 {
			if m := <-st.carrier.in; kind(m.Message) != "200 INVITE" {
				t.Errorf("the caller got %s", kind(m.Message))
			}
		}
		called.a.silence(20 * time.Second)
		for len(st.carrier.in) > 0 {
			<-st.carrier.in
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestANewReInviteProvesThatTheLast200Arrived(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		for i := range 2 { // the ACK of the first was lost
			caller.request("INVITE", sdpOf(st.carrier, 40002+2*i), st.carrier.contact())
			st.carrier.skipTo("100 INVITE")
			m := called.a.expect("INVITE")
			called.a.replyBody(m, 200, "", sdpOf(called.a, 50002))
			called.a.expect("ACK")
			st.carrier.expect("200 INVITE")
		}
		ok := st.carrier.expect("200 INVITE")
		if ok.CSeq != 3 {
			t.Errorf("the 200 of CSeq %d repeats; the first one's is proven", ok.CSeq)
		}
		caller.ack(ok, "")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAReInviteThatWouldOvertakeOur200IsToldToWait(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		called := callee(room, m, "room")
		room.replyBody(m, 200, "room", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		called.request("INVITE", sdpOf(room, 50002), room.contact()) // as PBXs do that move the media at once
		room.expect("100 INVITE")
		called.ack(room.expect("491 INVITE"), "")
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		called.request("INVITE", sdpOf(room, 50002), room.contact())
		room.expect("100 INVITE")
		again := st.carrier.expect("INVITE")
		st.carrier.replyBody(again, 200, "", sdpOf(st.carrier, 40000))
		st.carrier.expect("ACK")
		called.ack(room.expect("200 INVITE"), "")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestOffersThatCrossMeet491OnBothLegs(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		for _, method := range []string{"INVITE", "UPDATE"} {
			caller.request(method, sdpOf(st.carrier, 40002), st.carrier.contact())
			if method == "INVITE" {
				st.carrier.expect("100 INVITE")
			}
			m := called.a.expect(method)
			called.request(method, sdpOf(called.a, 50002), called.a.contact())
			glare := called.a.expect("491 " + method)
			if method == "INVITE" {
				called.ack(glare, "")
			}
			called.a.reply(m, 491, "") // the room says so as well
			if method == "INVITE" {
				called.a.expect("ACK")
			}
			glare = st.carrier.expect("491 " + method)
			if method == "INVITE" {
				caller.ack(glare, "")
			}
		}
		// After a while one of them tries again.
		called.request("UPDATE", sdpOf(called.a, 50002), called.a.contact())
		m := st.carrier.expect("UPDATE")
		st.carrier.replyBody(m, 200, "", sdpOf(st.carrier, 40002))
		called.a.expect("200 UPDATE")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAnUpdatePassesWithOfferAndAnswer(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		for _, way := range []struct{ from, to *dialog }{{caller, called}, {called, caller}} {
			way.from.request("UPDATE", sdpOf(way.from.a, 40002, "a=sendonly"), way.from.a.contact(), "Session-Expires: 90", "Min-SE: 90")
			m := way.to.a.expect("UPDATE")
			for _, bad := range []string{way.from.a.addr.Addr().String(), "Session-Expires", "Min-SE"} {
				if strings.Contains(string(m.raw), bad) {
					t.Errorf("the UPDATE has %q of the other leg:\n%s", bad, m.raw)
				}
			}
			if !strings.Contains(string(m.Body), "a=sendonly") || !m.Has("Contact") {
				t.Errorf("the UPDATE must carry the offer, and a Contact (RFC 3311 §5.1):\n%s", m.raw)
			}
			way.to.a.replyBody(m, 200, "", sdpOf(way.to.a, 50002, "a=recvonly"))
			ok := way.from.a.expect("200 UPDATE")
			if !strings.Contains(string(ok.Body), "a=recvonly") || !strings.Contains(string(ok.Body), "c=IN IP4 "+nodeAddr) {
				t.Errorf("the 200 must carry the answer with our address:\n%s", ok.raw)
			}
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAnUpdateInAnEarlyDialogWaits(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), "Supported: 100rel")
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		called := callee(room, m, "room")
		room.reply(m, 180, "room")
		caller.learn(st.carrier.expect("180 INVITE"))
		caller.request("UPDATE", sdpOf(st.carrier, 40002), st.carrier.contact())
		no := st.carrier.expect("500 UPDATE") // RFC 3311 §5.2: its first offer has no answer yet
		if v, ok := no.Get("Retry-After"); !ok {
			t.Errorf("Retry-After is %q; the caller must know that it may try again", v)
		}
		caller.request("UPDATE", "", st.carrier.contact()) // without an offer it only renews the target
		st.carrier.expect("200 UPDATE")
		called.request("UPDATE", sdpOf(room, 50002), room.contact())
		room.expect("491 UPDATE") // our offer to it has no answer yet
		called.request("UPDATE", "", room.contact())
		room.expect("200 UPDATE")
		room.replyBody(m, 200, "room", sdpOf(room, 50000))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		room.expect("ACK")
		caller.request("UPDATE", sdpOf(st.carrier, 40002), st.carrier.contact())
		up := room.expect("UPDATE")
		room.replyBody(up, 200, "", sdpOf(room, 50000))
		st.carrier.expect("200 UPDATE")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestRequestsPassWithTheirHeadersAndBodiesBothWays(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		for _, way := range []struct{ from, to *dialog }{{caller, called}, {called, caller}} {
			for _, c := range []struct{ method, ctype, body, headers string }{
				{"INFO", "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", "Info-Package: x"},
				{"MESSAGE", "text/plain;charset=UTF-8", "Grüße \xff\x00 \r\n", "Subject: hello"},
				{"REFER", "", "", "Refer-To: <sip:+441926415000@x>\nReferred-By: <sip:me@x>\nRequire: norefersub"},
				{"NOTIFY", "message/sipfrag;version=2.0", "SIP/2.0 100 Trying\r\n", "Event: refer\nSubscription-State: active;expires=60"},
				{"SUBSCRIBE", "", "", "Event: refer\nExpires: 60"},
				{"OPTIONS", "", "", "Accept: application/sdp"},
				{"MESSAGE", "application/sdp", sdpOf(way.from.a, 40000), "X-Note: this is no offer"},
				{"WHATEVER", "x/y", "z", "X-New: method"},
			} {
				extra := append(strings.Split(c.headers, "\n"), way.from.a.contact())
				way.from.seq++
				way.from.a.seq++
				way.from.branch = fmt.Sprintf("z9hG4bKany%d", way.from.a.seq)
				if c.ctype != "" {
					extra = append(extra, "Content-Type: "+c.ctype)
				}
				way.from.write(c.method, c.body, extra...)
				m := way.to.a.expect(c.method)
				if string(m.Body) != c.body {
					t.Errorf("the body of %s is %q, want %q", c.method, m.Body, c.body)
				}
				for _, h := range strings.Split(c.headers, "\n") {
					if !strings.Contains(string(m.raw), h+"\r\n") {
						t.Errorf("%s lost %q:\n%s", c.method, h, m.raw)
					}
				}
				if m.MaxForwards != 69 {
					t.Errorf("Max-Forwards is %d, want one less than 70", m.MaxForwards)
				}
				way.to.a.replyBody(m, 202, "", "back", "Content-Type: text/plain", "X-Back: yes", "Record-Route: <sip:10.6.6.6;lr>")
				back := way.from.a.expect("202 " + c.method)
				if v, _ := back.Get("X-Back"); v != "yes" || string(back.Body) != "back" || back.Has("Record-Route") {
					t.Errorf("the response to %s is not what was sent, without the other leg's route:\n%s", c.method, back.raw)
				}
			}
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAContactInAReInviteMovesTheTarget(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		moved := newActor(t, st.net.Host("elsewhere", netip.MustParseAddr("10.0.0.50")))
		defer moved.close()
		caller.request("INVITE", sdpOf(st.carrier, 40000), "Contact: <sip:carrier@10.0.0.50:5060>")
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50000))
		called.a.expect("ACK")
		caller.ack(st.carrier.expect("200 INVITE"), "")
		called.request("INFO", "")
		info := moved.expect("INFO")
		if info.URI != "sip:carrier@10.0.0.50:5060" {
			t.Errorf("the Request-URI is %q, want the new Contact", info.URI)
		}
		moved.reply(info, 200, "")
		called.a.expect("200 INFO")
		// A refused re-INVITE moves nothing.
		caller.request("INVITE", sdpOf(st.carrier, 40000), "Contact: <sip:carrier@10.0.0.51:5060>")
		st.carrier.expect("100 INVITE")
		called.a.reply(called.a.expect("INVITE"), 488, "")
		called.a.expect("ACK")
		caller.ack(st.carrier.expect("488 INVITE"), "")
		called.request("BYE", "")
		called.a.expect("200 BYE")
		moved.reply(moved.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}

func TestRequestsFollowTheRecordedRoutesOfTheirLeg(t *testing.T) {
	for _, c := range []struct {
		name, near, far string // parameters of the routers
		nearURI, farURI string // Request-URIs at them
		nearRte, farRte string
	}{
		{
			"loose", ";lr", ";lr", "sip:carrier@10.0.0.9:5060", "sip:desk@10.0.1.1:5060",
			"<sip:10.0.0.61;lr>, <sip:10.0.0.62;lr>", "<sip:10.0.0.63;lr>, <sip:10.0.0.64;lr>",
		},
		{
			"strict", "", "", "sip:10.0.0.61", "sip:10.0.0.63",
			"<sip:10.0.0.62>, <sip:carrier@10.0.0.9:5060>", "<sip:10.0.0.64>, <sip:desk@10.0.1.1:5060>",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				near := newActor(t, st.net.Host("near", netip.MustParseAddr("10.0.0.61")))
				far := newActor(t, st.net.Host("far", netip.MustParseAddr("10.0.0.63")))
				defer near.close()
				defer far.close()
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), "Record-Route: <sip:10.0.0.61"+c.near+">, <sip:10.0.0.62"+c.near+">")
				st.carrier.expect("100 INVITE")
				room := st.rooms["control-room"]
				m := room.expect("INVITE")
				if m.Has("Record-Route") {
					t.Errorf("Record-Route is of the other leg:\n%s", m.raw)
				}
				called := callee(room, m, "room")
				room.replyBody(m, 200, "room", sdpOf(room, 50000), "Record-Route: <sip:10.0.0.64"+c.far+">", "Record-Route: <sip:10.0.0.63"+c.far+">")
				ok := st.carrier.expect("200 INVITE")
				if got := strings.Join(ok.List("Record-Route"), ", "); got != "<sip:10.0.0.61"+c.near+">, <sip:10.0.0.62"+c.near+">" {
					t.Errorf("Record-Route of the 200 is %q, want the request's (RFC 3261 §12.1.1)", got)
				}
				ack := far.expect("ACK")
				if got := strings.Join(ack.List("Route"), ", "); got != c.farRte || ack.URI != c.farURI {
					t.Errorf("the ACK has Request-URI %q and Route %q, want %q and %q", ack.URI, got, c.farURI, c.farRte)
				}
				caller.ack(ok, "")
				called.request("INFO", "")
				info := near.expect("INFO")
				if got := strings.Join(info.List("Route"), ", "); got != c.nearRte || info.URI != c.nearURI {
					t.Errorf("the INFO has Request-URI %q and Route %q, want %q and %q", info.URI, got, c.nearURI, c.nearRte)
				}
				near.reply(info, 200, "")
				room.expect("200 INFO")
				caller.request("BYE", "")
				st.carrier.expect("200 BYE")
				far.reply(far.expect("BYE"), 200, "")
				st.nothingLeft()
			})
		})
	}
}

func TestAReliable183ToAReInviteGetsItsPrackFromUs(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact(), "Supported: 100rel")
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		called.a.reply(m, 183, "", "Require: 100rel", "RSeq: 900")
		prack := called.a.expect("PRACK")
		if v, _ := prack.Get("RAck"); v != fmt.Sprintf("900 %d INVITE", m.CSeq) {
			t.Errorf("RAck is %q", v)
		}
		called.a.reply(prack, 200, "")
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002))
		called.a.expect("ACK")
		ok := st.carrier.expect("200 INVITE")
		if ok.Has("RSeq") || ok.Has("Require") {
			t.Errorf("RSeq and Require are of the other leg:\n%s", ok.raw)
		}
		caller.ack(ok, "")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestACallThatEndsAnswersWhatIsStillAsked(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		called.request("INVITE", sdpOf(called.a, 50002), called.a.contact())
		called.a.expect("100 INVITE")
		m := st.carrier.expect("INVITE")
		caller.request("BYE", "") // it crosses
		st.carrier.expect("200 BYE")
		bye := called.a.expect("BYE")
		final := called.a.expect("487 INVITE") // RFC 3261 §15.1.2
		called.ack(final, "")
		called.a.reply(bye, 200, "")
		st.carrier.replyBody(m, 200, "", sdpOf(st.carrier, 40000)) // and this one crosses too
		st.carrier.expect("ACK")
		st.nothingLeft()
	})
}

func TestAWinnerThatIsBusyIsAskedAgainForTheFrozenCodecs(t *testing.T) {
	for _, settled := range []bool{false, true} {
		t.Run(fmt.Sprintf("settled=%v", settled), func(t *testing.T) { busyWinner(t, settled) })
	}
}

// TestTheCallerIsAskedWhereTheWinnerKeepsToItsOwn: a winner that refuses the frozen codecs, or goes on with its own, is heard all the same.
func TestTheCallerIsAskedWhereTheWinnerKeepsToItsOwn(t *testing.T) {
	early := func(r *sip.Routing) { r.Routes[0].EarlyMedia = true }
	for _, refuses := range []bool{true, false} {
		t.Run(fmt.Sprintf("refuses=%v", refuses), func(t *testing.T) {
			onStage(t, early, func(st *stage) {
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				room, standby := st.rooms["control-room"], st.rooms["standby-room"]
				m := room.expect("INVITE")
				room.replyBody(m, 183, "r", sdpOf(room, 50000))
				st.carrier.expect("183 INVITE")
				room.reply(m, 480, "r")
				room.expect("ACK")
				m = standby.expect("INVITE")
				called := callee(standby, m, "s")
				own := strings.ReplaceAll(sdpOf(standby, 50002), "101", "96")
				standby.replyBody(m, 200, "s", own)
				caller.ack(st.carrier.expect("200 INVITE"), "")
				standby.expect("ACK")
				again := standby.expect("INVITE")
				if refuses {
					standby.reply(again, 488, "")
				} else {
					standby.replyBody(again, 200, "", own)
				}
				standby.expect("ACK")
				m = st.carrier.expect("INVITE")
				if !strings.Contains(string(m.Body), "a=rtpmap:96 telephone-event") || !strings.Contains(string(m.Body), "c=IN IP4 "+nodeAddr) {
					t.Errorf("the caller is asked with\n%s\nwant what the winner speaks, at our address", m.Body)
				}
				st.carrier.replyBody(m, 200, "", strings.ReplaceAll(sdpOf(st.carrier, 40000), "101", "96"))
				st.carrier.expect("ACK")
				standby.silence(5 * time.Second) // it is asked no more
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

// busyWinner is a winner that says 491 to our re-INVITE; settled: caller and winner agree anew before we try again.
func busyWinner(t *testing.T, settled bool) {
	early := func(r *sip.Routing) { r.Routes[0].EarlyMedia = true }
	onStage(t, early, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		m := room.expect("INVITE")
		room.replyBody(m, 183, "r", sdpOf(room, 50000))
		st.carrier.expect("183 INVITE")
		room.reply(m, 480, "r")
		room.expect("ACK")
		m = standby.expect("INVITE")
		called := callee(standby, m, "s")
		standby.replyBody(m, 200, "s", strings.ReplaceAll(sdpOf(standby, 50002), "101", "96"))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		again := standby.expect("INVITE")
		began := time.Now()
		standby.reply(again, 491, "")
		standby.expect("ACK")
		if settled {
			caller.request("INVITE", sdpOf(st.carrier, 40000), st.carrier.contact())
			st.carrier.expect("100 INVITE")
			standby.replyBody(standby.expect("INVITE"), 200, "", sdpOf(standby, 50002))
			standby.expect("ACK")
			caller.ack(st.carrier.expect("200 INVITE"), "")
			standby.silence(10 * time.Second) // there is nothing to mend any more
			st.hangUp(caller, called)
			st.nothingLeft()
			return
		}
		again = standby.expect("INVITE")
		if got := time.Since(began); got < 2*time.Second || got > 4*time.Second {
			t.Errorf("asked again after %v; who owns the Call-ID waits 2.1 to 4 s (RFC 3261 §14.1)", got)
		}
		standby.replyBody(again, 200, "", sdpOf(standby, 50002))
		standby.expect("ACK")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestASessionTimerIsGrantedOnItsOwnLeg(t *testing.T) {
	for _, c := range []struct{ headers, want string }{
		{"Supported: timer\nSession-Expires: 1800\nMin-SE: 300", "1800;refresher=uac"},
		{"Require: timer\nSupported: timer\nx: 120;refresher=uac", "120;refresher=uac"},
		{"Supported: timer\nSession-Expires: 1800;refresher=uas", "1800;refresher=uas"},
		{"Session-Expires: 1800", ""}, // put in on the way: the peer knows nothing of it
		{"Supported: timer\nSession-Expires: soon", ""},
		{"Supported: timer\nSession-Expires: 10", ""}, // RFC 4028 §4: 90 s at least
		{"Supported: timer", ""},
	} {
		t.Run(c.headers, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				st.carrier.present.Store(true)
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), strings.Split(c.headers, "\n")...)
				st.carrier.expect("100 INVITE")
				room := st.rooms["control-room"]
				m := room.expect("INVITE")
				if m.Has("Session-Expires") || m.Has("Min-SE") || !m.HasToken("Supported", "timer") || m.HasToken("Require", "timer") {
					t.Errorf("session timers are of one leg:\n%s", m.raw)
				}
				called := callee(room, m, "room")
				var knows []string
				if strings.Contains(c.headers, "Supported: timer") {
					knows = append(knows, "Supported: timer")
				}
				room.replyBody(m, 200, "room", sdpOf(room, 50000), knows...)
				ok := st.carrier.expect("200 INVITE")
				checkTimer(t, ok, c.want)
				room.expect("ACK")
				caller.ack(ok, "")
				time.Sleep(10 * time.Millisecond)
				// Both ends refresh without changing anything.
				for i, way := range []struct{ from, to *dialog }{{caller, called}, {called, caller}, {caller, called}} {
					method := []string{"INVITE", "UPDATE", "UPDATE"}[i]
					body, answer := sdpOf(way.from.a, 40000), sdpOf(way.to.a, 50000)
					if i == 2 {
						body, answer = "", ""
					}
					way.from.request(method, body, append(strings.Split(c.headers, "\n"), way.from.a.contact())...)
					if method == "INVITE" {
						way.from.a.expect("100 INVITE")
					}
					m := way.to.a.expect(method)
					if i == 0 && m.Has("Session-Expires") || m.HasToken("Require", "timer") {
						t.Errorf("session timers are of one leg:\n%s", m.raw)
					}
					way.to.a.replyBody(m, 200, "", answer, "Session-Expires: 600;refresher=uas")
					ok := way.from.a.expect("200 " + method)
					checkTimer(t, ok, c.want)
					if method == "INVITE" {
						way.to.a.expect("ACK")
						way.from.ack(ok, "")
					}
				}
				// A peer that forgets to refresh is no reason to end a call (FIELD 1.2).
				if strings.HasPrefix(c.want, "120") {
					called.a.silence(5 * time.Minute)
				}
				st.carrier.silence(time.Second)
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

func checkTimer(t *testing.T, m heard, want string) {
	t.Helper()
	if got, _ := m.Get("Session-Expires"); got != want || m.HasToken("Require", "timer") != strings.HasSuffix(want, "=uac") {
		t.Errorf("Session-Expires is %q, want %q, with Require: timer where the peer must refresh:\n%s", got, want, m.raw)
	}
}

func TestACallerWhoIsGoneIsNoticed(t *testing.T) {
	type answers func(a *actor, m heard)
	silent := func(*actor, heard) {}
	code := func(c int) answers { return func(a *actor, m heard) { a.reply(m, c, "") } }
	for _, c := range []struct {
		name  string
		how   answers
		stays bool
	}{
		{"silent", silent, false},
		{"481", code(481), false},
		{"408", code(408), false},
		{"200", code(200), true},
		{"405", code(405), true},
		{"488", code(488), true},
		{"501", code(501), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				_, called := st.talk("control-room")
				began := time.Now()
				questions := map[uint32]int{}
				end := time.After(3 * time.Minute)
				for over := false; !over; {
					select {
					case m := <-st.carrier.in:
						switch kind(m.Message) {
						case "OPTIONS":
							if len(questions) == 0 && time.Since(began) < 29900*time.Millisecond {
								t.Errorf("asked after %v; want 30 s without media", time.Since(began))
							}
							questions[m.CSeq]++
							c.how(st.carrier, m)
						case "BYE":
							st.carrier.reply(m, 481, "")
							over = true
						default:
							t.Fatalf("the caller got %s", kind(m.Message))
						}
					case <-end:
						over = true
					}
				}
				if c.stays {
					if len(questions) < 2 || len(called.a.in) > 0 {
						t.Errorf("%d questions, and the room got %d messages; who answers stays for ever", len(questions), len(called.a.in))
					}
					called.request("BYE", "")
					called.a.expect("200 BYE")
					st.carrier.reply(st.carrier.skipTo("BYE"), 200, "")
				} else {
					if len(questions) != 2 {
						t.Errorf("gone after %d questions; want two", len(questions))
					}
					if got := time.Since(began); got > 45*time.Second {
						t.Errorf("gone after %v", got)
					}
					called.a.reply(called.a.expect("BYE"), 200, "")
				}
				st.nothingLeft()
			})
		})
	}
}

func TestACallerWhoTalksIsNeverAsked(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		room.reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		time.Sleep(5 * time.Minute) // never while it rings, however long that is
		for len(st.carrier.in) > 0 {
			st.carrier.expect("180 INVITE")
		}
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		caller.ack(ok, "")
		phone := st.carrier.opens(40001) // RTCP alone is enough: a silent caller is a caller
		defer phone.close()
		for range 30 {
			time.Sleep(29 * time.Second)
			phone.says(next(ours(ok.Body)[0]))
		}
		if n := len(st.carrier.in); n > 0 {
			t.Errorf("the caller was asked %d times", n)
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestACallerWhoBeginsToTalkBetweenTheQuestionsStays(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		caller.ack(ok, "")
		st.carrier.reply(st.carrier.expect("OPTIONS"), 481, "")
		st.carrier.expect("OPTIONS") // the second, unanswered
		phone := st.carrier.opens(40000)
		defer phone.close()
		phone.says(ours(ok.Body)[0])
		time.Sleep(20 * time.Second)
		for len(st.carrier.in) > 0 {
			if m := <-st.carrier.in; kind(m.Message) != "OPTIONS" {
				t.Errorf("the caller got %s; its media is back, so it is there", kind(m.Message))
			}
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestACallerWhoseAckIsLostAndWhoTalksIsNotHungUpOn(t *testing.T) {
	for _, talks := range []bool{true, false} {
		t.Run(fmt.Sprintf("talks=%v", talks), func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				st.carrier.present.Store(true)
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				room := st.rooms["control-room"]
				m := room.expect("INVITE")
				called := callee(room, m, "r")
				room.replyBody(m, 200, "r", sdpOf(room, 50000))
				ok := st.carrier.expect("200 INVITE")
				room.expect("ACK")
				caller.learn(ok)
				phone := st.carrier.opens(40000)
				defer phone.close()
				for range 40 {
					time.Sleep(time.Second)
					if talks {
						phone.says(ours(ok.Body)[0])
					}
				}
				if !talks {
					st.carrier.reply(st.carrier.skipTo("BYE"), 200, "") // RFC 3261 §13.3.1.4
					room.reply(room.expect("BYE"), 200, "")
					st.nothingLeft()
					return
				}
				for len(st.carrier.in) > 0 {
					st.carrier.expect("200 INVITE")
				}
				called.request("INFO", "")
				st.carrier.reply(st.carrier.expect("INFO"), 200, "")
				room.expect("200 INFO")
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

func TestAReInviteInsteadOfTheFirstAckConfirmsTheCall(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		caller.learn(st.carrier.expect("200 INVITE"))
		room.expect("ACK")
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact()) // RFC 5407 §3.1.5: the ACK was lost
		st.carrier.expect("100 INVITE")
		m = room.expect("INVITE")
		room.replyBody(m, 200, "", sdpOf(room, 50002))
		room.expect("ACK")
		time.Sleep(29 * time.Second) // and this one's ACK is lost as well
		for len(st.carrier.in) > 0 {
			if got := st.carrier.expect("200 INVITE"); got.CSeq != 2 {
				t.Errorf("the 200 of CSeq %d repeats", got.CSeq)
			}
		}
		st.carrier.present.Store(true)
		time.Sleep(time.Minute)
		for len(st.carrier.in) > 0 {
			st.carrier.skipTo("200 INVITE")
		}
		if n := len(room.in); n > 0 {
			t.Errorf("the room got %s; the call goes on", kind((<-room.in).Message))
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAReInviteThatNobodyAnswersIsTakenBack(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		st.carrier.present.Store(true)
		caller, called := st.talk("control-room")
		called.request("INVITE", sdpOf(called.a, 50002), called.a.contact())
		called.a.expect("100 INVITE")
		m := st.carrier.expect("INVITE")
		st.carrier.reply(m, 180, "")
		time.Sleep(3 * time.Minute)
		c := st.carrier.expect("CANCEL")
		st.carrier.reply(c, 200, "")
		st.carrier.silence(31 * time.Second) // and not even that is answered
		called.ack(called.a.expect("487 INVITE"), "")
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact()) // nothing is in the way any more
		st.carrier.expect("100 INVITE")
		m = called.a.expect("INVITE")
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002))
		called.a.expect("ACK")
		caller.ack(st.carrier.expect("200 INVITE"), "")
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAnOfferInAPrackGetsTheFrozenAnswer(t *testing.T) {
	onScene(t, func(sc *scene) { sc.Routes[0].EarlyMedia = true }, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), "Supported: 100rel")
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		room.replyBody(m, 183, "r", sdpOf(room, 50000))
		early := st.carrier.expect("183 INVITE")
		caller.learn(early)
		rseq, _ := early.Get("RSeq")
		caller.request("PRACK", "", "RAck: 77 1 INVITE")
		st.carrier.expect("481 PRACK") // RFC 3262 §3: it acknowledges nothing
		caller.request("PRACK", "", "RAck: what")
		st.carrier.expect("481 PRACK")
		caller.request("PRACK", sdpOf(st.carrier, 40010), "RAck: "+rseq+" 1 INVITE")
		ok := st.carrier.expect("200 PRACK")
		if string(ok.Body) != string(early.Body) {
			t.Errorf("the answer is\n%s\nwant the early one\n%s", ok.Body, early.Body)
		}
		st.flows(40010, 50000, ok, m)
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		answer := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		caller.ack(answer, "")
		time.Sleep(10 * time.Millisecond)
		st.flows(40010, 50000, answer, m)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestRequestsThatOnlyLookLikeTheDialogsAreOfNone(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		for _, change := range []func(d *dialog){
			func(d *dialog) { d.callID += "x" },
			func(d *dialog) { d.local += "x" },  // another From tag
			func(d *dialog) { d.remote += "x" }, // another To tag
			func(d *dialog) { d.remote = "<sip:nines>;tag=n0-1-9-" + strings.Repeat("a", 12) },
		} {
			for _, d := range []*dialog{caller, called} {
				bad := *d
				change(&bad)
				bad.request("BYE", "")
				bad.a.expect("481 BYE")
			}
		}
		for _, seq := range []int{caller.seq, caller.seq - 1, 1 << 31} {
			d := *caller
			d.seq = seq - 1
			d.request("INFO", "")
			want := "500 INFO" // RFC 3261 §12.2.2
			if seq == 1<<31 {
				want = "400 INFO"
			}
			st.carrier.expect(want)
		}
		called.a.silence(time.Second)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestARefitThatIsRefusedLeavesTheCallAlone(t *testing.T) {
	early := func(r *sip.Routing) { r.Routes[0].EarlyMedia = true }
	onStage(t, early, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		m := room.expect("INVITE")
		room.replyBody(m, 183, "r", sdpOf(room, 50000))
		st.carrier.expect("183 INVITE")
		room.reply(m, 480, "r")
		room.expect("ACK")
		m = standby.expect("INVITE")
		called := callee(standby, m, "s")
		standby.replyBody(m, 200, "s", strings.ReplaceAll(sdpOf(standby, 50002), "101", "96"))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		again := standby.expect("INVITE")
		_, before := origin(t, m)
		if _, after := origin(t, again); after != before+1 {
			t.Errorf("o= version %d after %d; the same words again must count as new, or they are not looked at", after, before)
		}
		standby.reply(again, 488, "")
		standby.expect("ACK")
		st.carrier.reply(st.carrier.expect("INVITE"), 488, "") // nor does the caller want what the winner speaks
		st.carrier.expect("ACK")
		standby.silence(10 * time.Second)
		st.carrier.silence(time.Second)
		// A re-INVITE of the caller settles it between the two.
		caller.request("INVITE", sdpOf(st.carrier, 40000), st.carrier.contact())
		st.carrier.expect("100 INVITE")
		m = standby.expect("INVITE")
		standby.replyBody(m, 200, "", sdpOf(standby, 50002))
		standby.expect("ACK")
		caller.ack(st.carrier.expect("200 INVITE"), "")
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}
