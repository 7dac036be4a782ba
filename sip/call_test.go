package sip_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"nines/sip"
)

func TestACallIsCarriedAndLeavesNothing(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, _ := st.talk("control-room")
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		bye := st.rooms["control-room"].expect("BYE")
		st.rooms["control-room"].reply(bye, 200, "")
		st.nothingLeft()
	})
}

func TestAnEndpointThatHangsUpIsAnsweredAtOnceAndTheCallerHearsWhy(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		_, called := st.talk("control-room")
		called.request("BYE", "", `Reason: Q.850;cause=16;text="Normal"`)
		called.a.expect("200 BYE")
		bye := st.carrier.expect("BYE")
		if v, _ := bye.Get("Reason"); v != `Q.850;cause=16;text="Normal"` {
			t.Errorf("the BYE's Reason is %q; it must pass", v)
		}
		st.carrier.reply(bye, 200, "")
		st.nothingLeft()
	})
}

func TestHeadersAndBodiesPassByteForByte(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		pidf := "--b\r\nContent-Type: application/pidf+xml\r\nContent-ID: <loc@x>\r\n\r\n<presence>\xe9</presence>\r\n--b\r\nContent-Type: application/sdp\r\n\r\n" +
			sdpOf(st.carrier, 40000, "a=x-unknown:  kept ") + "\r\n--b--\r\n"
		st.carrier.invite("sip:999@nines;user=phone", pidf, "Content-Type: multipart/mixed;boundary=b", "P-Asserted-Identity: \"Caf\xe9\" <sip:+447700900123@bt>",
			"P-Asserted-Identity: <tel:+447700900123>", "Geolocation: <cid:loc@x>;x=1", "X-Strange:   two  blanks", "Resource-Priority: esnet.1", "Privacy: id",
			"Supported: timer, 100rel", "Require: geolocation, 100rel", "s: short")
		m := st.rooms["control-room"].expect("INVITE")
		for _, want := range []string{
			"P-Asserted-Identity: \"Caf\xe9\" <sip:+447700900123@bt>\r\nP-Asserted-Identity: <tel:+447700900123>\r\n", "Geolocation: <cid:loc@x>;x=1\r\n",
			"X-Strange: two  blanks\r\n", "Resource-Priority: esnet.1\r\n", "Privacy: id\r\n", "s: short\r\n", "Max-Forwards: 69\r\n",
			"From: \"A Caller\" <sip:+447700900123@carrier.example>;tag=", "To: <sip:999@nines;user=phone>\r\n", "INVITE sip:999@10.0.1.1:5060 SIP/2.0\r\n",
			"<presence>\xe9</presence>", "a=x-unknown:  kept \r\n", "Supported: 100rel, geolocation, timer\r\n", "m=audio 2",
		} {
			if !strings.Contains(string(m.raw), want) {
				t.Errorf("the INVITE that went out has no %q:\n%s", want, m.raw)
			}
		}
		for _, never := range []string{"Session-Expires", "Require:", "carrier1", "10.0.0.9", "History-Info", "Diversion"} {
			if strings.Contains(string(m.raw), never) {
				t.Errorf("the INVITE that went out has %q; it belongs to the caller's leg or to a retarget:\n%s", never, m.raw)
			}
		}
	})
}

func TestARefusalIsFollowedByTheNextAtOnceAndSaysWhy(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		d := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		began := time.Now()
		for i, name := range []string{"control-room", "standby-room", "partner"} {
			m := st.rooms[name].expect("INVITE")
			if got := time.Since(began); got > 50*time.Millisecond {
				t.Errorf("%s was asked after %v; a refusal is followed at once", name, got)
			}
			hist, div := strings.Join(m.All("History-Info"), ", "), strings.Join(m.All("Diversion"), ", ")
			switch {
			case i == 0 && hist+div != "":
				t.Errorf("the first attempt has History-Info %q, Diversion %q; nothing was retargeted yet", hist, div)
			case i > 0 && (!strings.Contains(hist, "Reason=SIP%3Bcause%3D486") || !strings.Contains(div, `"west-mercia"`) || !strings.Contains(div, "reason=user-busy")):
				t.Errorf("%s sees History-Info %q and Diversion %q; both must say who sent the call on and why", name, hist, div)
			case i == 2 && !strings.Contains(hist, "nines%3Amutual-aid%20west-mercia"):
				t.Errorf("the partner's History-Info %q has no mutual-aid marker", hist)
			}
			st.rooms[name].reply(m, 486, "x")
			st.rooms[name].expect("ACK")
		}
		final := st.carrier.expect("500 INVITE")
		d.ack(final, "")
		st.nothingLeft()
	})
}

func TestSilenceAsksTheNextAsWellAndTheLoserIsCancelled(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		first := st.rooms["control-room"].expect("INVITE")
		began := time.Now()
		m := st.rooms["standby-room"].expect("INVITE")
		if got := time.Since(began); got < 900*time.Millisecond || got > 1100*time.Millisecond {
			t.Errorf("the standby was asked after %v, want the patience of 1 s", got)
		}
		st.rooms["standby-room"].replyBody(m, 200, "sb", sdpOf(st.rooms["standby-room"], 50000))
		ok := st.carrier.expect("200 INVITE")
		caller.ack(ok, "")
		st.rooms["standby-room"].expect("ACK")
		// The first room hears a repeat or two; it wakes up with a 180, gets the CANCEL, and answers all the same.
		for len(st.rooms["control-room"].in) > 0 {
			<-st.rooms["control-room"].in
		}
		st.rooms["control-room"].reply(first, 180, "late")
		cancel := st.rooms["control-room"].expect("CANCEL")
		if v, _ := cancel.Get("Reason"); v != `SIP;cause=200;text="Call completed elsewhere"` {
			t.Errorf("the CANCEL's Reason is %q", v)
		}
		st.rooms["control-room"].reply(cancel, 200, "late")
		st.rooms["control-room"].replyBody(first, 200, "late", sdpOf(st.rooms["control-room"], 50000))
		st.rooms["control-room"].expect("ACK")
		bye := st.rooms["control-room"].expect("BYE")
		st.rooms["control-room"].reply(bye, 200, "")
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		bye = st.rooms["standby-room"].expect("BYE")
		st.rooms["standby-room"].reply(bye, 200, "")
		st.nothingLeft()
	})
}

func TestACallerWhoCancelsHears487AndNothingRingsOn(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		d := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		m := st.rooms["control-room"].expect("INVITE")
		st.rooms["control-room"].reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		d.cancel(`Reason: Q.850;cause=31`)
		st.carrier.expect("200 CANCEL")
		final := st.carrier.expect("487 INVITE")
		d.ack(final, "")
		cancel := st.rooms["control-room"].expect("CANCEL")
		if v, _ := cancel.Get("Reason"); v != "Q.850;cause=31" {
			t.Errorf("the CANCEL's Reason is %q; what the caller's CANCEL said must pass", v)
		}
		st.rooms["control-room"].reply(cancel, 200, "r")
		st.rooms["control-room"].reply(m, 487, "r")
		st.rooms["control-room"].expect("ACK")
		st.nothingLeft()
	})
}

func TestAReInviteAndItsAnswerPassWithOurAddresses(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		caller.request("INVITE", sdpOf(st.carrier, 40002, "a=sendonly"), "Contact: <sip:carrier@"+st.carrier.addr.String()+">")
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		if strings.Contains(string(m.raw), "10.0.0.9") || !strings.Contains(string(m.raw), "a=sendonly") {
			t.Errorf("the re-INVITE must hold our address and the caller's direction:\n%s", m.raw)
		}
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002, "a=recvonly"))
		ok := st.carrier.expect("200 INVITE")
		if strings.Contains(string(ok.Body), "10.0.1.1") || !strings.Contains(string(ok.Body), "a=recvonly") {
			t.Errorf("the answer must hold our address and the room's direction:\n%s", ok.raw)
		}
		called.a.expect("ACK")
		caller.ack(ok, "")
		// And from the other side, refused: the refusal passes.
		called.request("INVITE", sdpOf(called.a, 50004), "Contact: <sip:desk@"+called.a.addr.String()+">")
		called.a.expect("100 INVITE")
		m = st.carrier.expect("INVITE")
		st.carrier.reply(m, 488, "")
		st.carrier.expect("ACK")
		final := called.a.expect("488 INVITE")
		called.ack(final, "")
		for _, method := range []string{"UPDATE", "INFO", "OPTIONS", "MESSAGE"} {
			called.request(method, "", "X-Kept: yes")
			m = st.carrier.expect(method)
			if v, _ := m.Get("X-Kept"); v != "yes" {
				t.Errorf("%s lost its header", method)
			}
			st.carrier.reply(m, 200, "", "X-Back: yes")
			back := called.a.expect("200 " + method)
			if v, _ := back.Get("X-Back"); v != "yes" {
				t.Errorf("the response to %s lost its header", method)
			}
		}
		called.request("BYE", "")
		called.a.expect("200 BYE")
		st.carrier.reply(st.carrier.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}

func TestAnInviteWithoutOfferGetsTheOfferInThe200(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", "")
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		if len(m.Body) != 0 {
			t.Errorf("an INVITE without offer goes out without one:\n%s", m.raw)
		}
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		if !strings.Contains(string(ok.Body), "c=IN IP4 "+nodeAddr) {
			t.Errorf("the offer in the 200 must hold our address:\n%s", ok.raw)
		}
		room.silence(300 * time.Millisecond) // the ACK waits for the caller's answer
		caller.ack(ok, sdpOf(st.carrier, 40000))
		ack := room.expect("ACK")
		if !strings.Contains(string(ack.Body), "c=IN IP4 "+nodeAddr) {
			t.Errorf("the ACK must carry the caller's answer with our address:\n%s", ack.raw)
		}
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		room.reply(room.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}

func TestA200WithoutAnAnswerIsAckedAndEndedAndTheNextIsAsked(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		room.reply(room.expect("INVITE"), 200, "r")
		room.expect("ACK")
		room.reply(room.expect("BYE"), 200, "")
		m := st.rooms["standby-room"].expect("INVITE")
		st.rooms["standby-room"].replyBody(m, 200, "s", sdpOf(st.rooms["standby-room"], 50000))
		st.carrier.expect("200 INVITE")
	})
}

func TestARepeated200GetsItsAckAgainByTheWayItCame(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		// Its Contact leads nowhere.
		answer := func() {
			room.replyBody(m, 200, "r", sdpOf(room, 50000), "Contact: <sip:desk@10.9.9.9>")
		}
		answer()
		ok := st.carrier.expect("200 INVITE")
		caller.ack(ok, "")
		room.silence(400 * time.Millisecond)
		answer() // it repeats, because our ACK went astray
		ack := room.expect("ACK")
		if ack.CSeq != m.CSeq {
			t.Errorf("the ACK has CSeq %d, want the INVITE's %d", ack.CSeq, m.CSeq)
		}
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		room.reply(room.expect("BYE"), 200, "") // later requests take the same way
		st.nothingLeft()
	})
}

func TestAForkThatAnswersTooIsAckedAndEnded(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		room.reply(m, 180, "one")
		room.reply(m, 180, "two")
		st.carrier.expect("180 INVITE")
		room.replyBody(m, 200, "two", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		caller.ack(ok, "")
		if ack := room.expect("ACK"); ack.ToTag != "two" {
			t.Errorf("the ACK goes to %q, want the dialog that answered", ack.ToTag)
		}
		room.replyBody(m, 200, "one", sdpOf(room, 50002))
		if ack := room.expect("ACK"); ack.ToTag != "one" {
			t.Errorf("the second ACK goes to %q, want the fork", ack.ToTag)
		}
		bye := room.expect("BYE")
		if bye.ToTag != "one" {
			t.Errorf("the BYE goes to %q, want the fork", bye.ToTag)
		}
		room.reply(bye, 200, "")
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		room.reply(room.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}

func TestA200IsRepeatedUntilTheCallerAcknowledgesAndEndedWhenItNeverDoes(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		room.expect("ACK")
		began := time.Now()
		copies := 0
		for {
			m := <-st.carrier.in
			if kind(m.Message) == "BYE" {
				st.carrier.reply(m, 200, "")
				break
			}
			copies++
		}
		if got := time.Since(began).Round(time.Second); got != 32*time.Second || copies != 11 {
			t.Errorf("%d copies of the 200 in %v; want 11 in 32 s, then a BYE (RFC 3261 §13.3.1.4)", copies, got)
		}
		room.reply(room.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}

func TestReliableProvisionalsEndAtUsOnEachLeg(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), "Require: 100rel")
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		room.replyBody(m, 183, "r", sdpOf(room, 50000), "Require: 100rel", "RSeq: 77")
		prack := room.expect("PRACK")
		if v, _ := prack.Get("RAck"); !strings.HasPrefix(v, "77 ") {
			t.Errorf("RAck is %q, want 77 and the INVITE's CSeq", v)
		}
		room.reply(prack, 200, "")
		ring := st.carrier.expect("180 INVITE")
		rseq, ok := ring.Get("RSeq")
		if !ok || len(ring.Body) != 0 || !ring.HasToken("Require", "100rel") {
			t.Errorf("the caller demanded 100rel: the 180 must be reliable, and without SDP:\n%s", ring.raw)
		}
		caller.learn(ring)
		caller.request("PRACK", "", "RAck: "+rseq+" 1 INVITE")
		st.carrier.expect("200 PRACK")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		answer := st.carrier.expect("200 INVITE")
		caller.ack(answer, "")
		room.expect("ACK")
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		room.reply(room.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}

func TestAnAnswerTheCallerHasSeenIsFrozen(t *testing.T) {
	early := func(r *sip.Routing) { r.Routes[0].EarlyMedia = true }
	onStage(t, early, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		m := room.expect("INVITE")
		room.replyBody(m, 183, "r", sdpOf(room, 50000, "a=ptime:20"))
		progress := st.carrier.expect("183 INVITE")
		if !strings.Contains(string(progress.Body), "c=IN IP4 "+nodeAddr) {
			t.Errorf("the first endpoint's SDP must go up with our address:\n%s", progress.raw)
		}
		room.reply(m, 480, "r")
		room.expect("ACK")
		m = standby.expect("INVITE")
		if strings.Contains(string(m.Body), "a=rtpmap:0 ") {
			t.Errorf("only the agreed codecs may be offered now:\n%s", m.raw)
		}
		other := strings.ReplaceAll(sdpOf(standby, 50002), "101", "96") // another number for telephone-event
		standby.replyBody(m, 200, "s", other)
		ok := st.carrier.expect("200 INVITE")
		if string(ok.Body) != string(progress.Body) {
			t.Errorf("the 200 must carry the answer that the 183 had:\n%s\nwant\n%s", ok.Body, progress.Body)
		}
		if ok.ToTag != progress.ToTag {
			t.Errorf("To tags %q and %q; the carrier sees one", progress.ToTag, ok.ToTag)
		}
		caller.ack(ok, "")
		standby.expect("ACK")
		again := standby.expect("INVITE") // it answered otherwise: asked again with the agreed codecs
		standby.replyBody(again, 200, "", sdpOf(standby, 50002))
		standby.expect("ACK")
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		standby.reply(standby.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}

func TestRequestsThatCrossAreAnsweredByTheRules(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		contact := "Contact: <sip:carrier@" + st.carrier.addr.String() + ">"
		caller.request("INVITE", sdpOf(st.carrier, 40002), contact)
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		called.request("INVITE", sdpOf(called.a, 50002), "Contact: <sip:desk@"+called.a.addr.String()+">")
		glare := called.a.expect("491 INVITE") // RFC 3261 §14.2
		called.ack(glare, "")
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50000))
		ok := st.carrier.expect("200 INVITE")
		called.a.expect("ACK")
		caller.ack(ok, "")
		old := caller.seq
		caller.seq = 0 // a lower CSeq
		caller.request("INFO", "")
		st.carrier.expect("500 INFO")
		caller.seq = old
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		called.a.reply(called.a.expect("BYE"), 200, "")
		caller.request("INFO", "")
		st.carrier.expect("481 INFO")
		st.nothingLeft()
	})
}

func TestMutualAidIsNotSentOn(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		d := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000),
			"History-Info: <sip:999@x?Reason=SIP%3Bcause%3D1%3Btext%3D%22nines%3Amutual-aid%20elsewhere%22>;index=1, <sip:999@y>;index=1.1")
		st.carrier.expect("100 INVITE")
		for _, name := range []string{"control-room", "standby-room"} {
			st.rooms[name].reply(st.rooms[name].expect("INVITE"), 503, "x")
			st.rooms[name].expect("ACK")
		}
		d.ack(st.carrier.expect("500 INVITE"), "")
		st.rooms["partner"].silence(time.Second)
		st.nothingLeft()
	})
}

func TestAnUnroutedNumberFromACarrierIsAnEmergencyAndAURNStays(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		for _, uri := range []string{"sip:12345@nines", "urn:service:sos.police", "tel:+44999"} {
			d := st.carrier.invite(uri, sdpOf(st.carrier, 40000))
			st.carrier.expect("100 INVITE")
			m := st.rooms["control-room"].expect("INVITE")
			if strings.HasPrefix(uri, "urn:") && (m.URI != uri || len(m.All("Route")) != 1) {
				t.Errorf("Request-URI %q, Route %q; a URN stays and the endpoint is a Route", m.URI, m.All("Route"))
			}
			st.rooms["control-room"].reply(m, 180, "r")
			st.carrier.expect("180 INVITE")
			d.cancel()
			st.carrier.expect("200 CANCEL")
			d.ack(st.carrier.expect("487 INVITE"), "")
			c := st.rooms["control-room"].expect("CANCEL")
			st.rooms["control-room"].reply(c, 200, "r")
			st.rooms["control-room"].reply(m, 487, "r")
			st.rooms["control-room"].expect("ACK")
		}
		st.nothingLeft()
	})
}

func TestRingThenDieMovesOnWithinFourSeconds(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		m := room.expect("INVITE")
		room.reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		room.mute.Store(true)
		began := time.Now()
		n := standby.expect("INVITE")
		if got := time.Since(began); got > 4*time.Second {
			t.Errorf("the standby was asked %v after the room died; want within 4 s", got)
		}
		standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		room.expect("CANCEL")
		room.replyBody(m, 200, "r", sdpOf(room, 50000)) // the delayed answer
		room.expect("ACK")
		bye := room.expect("BYE")
		if v, _ := bye.Get("Reason"); !strings.Contains(v, "completed elsewhere") {
			t.Errorf("the BYE's Reason is %q", v)
		}
		room.reply(bye, 200, "")
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		standby.reply(standby.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}

func TestOptionsAreAnsweredWhileWeTakeCalls(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		d := &dialog{a: st.carrier, callID: "ping", local: "<sip:bt@x>;tag=1", remote: "<sip:nines>", target: "sip:nines", branch: "z9hG4bKping1", seq: 1}
		d.write("OPTIONS", "")
		m := st.carrier.expect("200 OPTIONS")
		if v, _ := m.Get("Allow"); !strings.Contains(v, "INVITE") {
			t.Errorf("Allow is %q", v)
		}
		st.server.Drain()
		d.branch = "z9hG4bKping2"
		d.write("OPTIONS", "")
		st.carrier.silence(5 * time.Second)
	})
}

func TestStrangersHearNothing(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		stranger := newActor(t, st.net.Host("stranger", netip.MustParseAddr("10.6.6.6")))
		defer stranger.close()
		stranger.invite("sip:999@nines", sdpOf(stranger, 1))
		stranger.silence(3 * time.Second)
		if got := st.server.Counters(); got.UnknownInvites != 1 || got.Calls != 0 {
			t.Errorf("unknown INVITEs %d, calls %d; want it counted and not carried", got.UnknownInvites, got.Calls)
		}
	})
}

func TestATCPEndpointIsAskedByTCP(t *testing.T) {
	tcp := func(r *sip.Routing) { r.Endpoints[0].URI = "sip:10.0.1.1:5060;transport=tcp" }
	onStage(t, tcp, func(st *stage) {
		// Nobody listens: refused, so the next is asked at once.
		began := time.Now()
		st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		st.rooms["standby-room"].expect("INVITE")
		if got := time.Since(began); got > 250*time.Millisecond {
			t.Errorf("the standby was asked after %v; a refused connection is followed at once", got)
		}
	})
}
