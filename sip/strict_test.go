package sip_test

import (
	"strings"
	"testing"
	"time"

	"nines/sip"
)

// A strict carrier is an SBC that requires 100rel and binds the first session description it sees: what comes later in another one is not heard.
func strictly(r *sip.Routing) { r.Routes[0].EarlyMedia = true }

// pracks acknowledges a reliable provisional as the carrier does.
func (d *dialog) pracks(p heard, body string) {
	d.a.t.Helper()
	rseq, ok := p.Get("RSeq")
	if !ok || !p.HasToken("Require", "100rel") {
		d.a.t.Fatalf("who requires 100rel gets every provisional reliably (RFC 3262 §3):\n%s", p.raw)
	}
	d.learn(p)
	d.request("PRACK", body, "RAck: "+rseq+" 1 INVITE")
	d.a.expect("200 PRACK")
}

func TestAStrictCarrierHearsTheStandbyByTheAnswerThatItHasBound(t *testing.T) {
	onStage(t, strictly, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		offer := strings.ReplaceAll(sdpOf(st.carrier, 40000, "a=rtpmap:0 PCMU/8000"), "RTP/AVP 8 101", "RTP/AVP 8 0 101")
		caller := st.carrier.invite("sip:999@nines", offer, "Require: 100rel", "Supported: 100rel")
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		room.replyBody(m, 183, "r", sdpOf(room, 50000), "Require: 100rel", "RSeq: 7")
		room.reply(room.expect("PRACK"), 200, "")
		bound := st.carrier.expect("183 INVITE")
		caller.pracks(bound, "")
		room.mute.Store(true) // and it goes silent
		n := standby.expect("INVITE")
		called := callee(standby, n, "s")
		if !strings.Contains(string(n.Body), " RTP/AVP 8 101\r\n") {
			t.Errorf("the standby may be offered only what the carrier has bound:\n%s", n.Body)
		}
		own := strings.NewReplacer("RTP/AVP 8 101", "RTP/AVP 0 96", "rtpmap:8 PCMA", "rtpmap:0 PCMU", "rtpmap:101", "rtpmap:96").Replace(sdpOf(standby, 50000))
		standby.replyBody(n, 200, "s", own) // PCMU, and another number for key presses
		ok := st.carrier.expect("200 INVITE")
		if string(ok.Body) != string(bound.Body) || ok.ToTag != bound.ToTag {
			t.Errorf("the 200 says\n%s\nin %q; the carrier has bound\n%s\nin %q", ok.Body, ok.ToTag, bound.Body, bound.ToTag)
		}
		caller.ack(ok, "")
		standby.expect("ACK")
		again := standby.expect("INVITE") // what it answered is not what the carrier speaks: it is asked again
		if !strings.Contains(string(again.Body), " RTP/AVP 8 101\r\n") || again.ToTag != "s" {
			t.Errorf("the standby must be asked for PCMA and telephone-event 101:\n%s", again.raw)
		}
		standby.replyBody(again, 200, "", sdpOf(standby, 50000))
		standby.expect("ACK")
		time.Sleep(10 * time.Millisecond)
		st.flowsTo(standby, 40000, 50000, ours(ok.Body)[0], ours(again.Body)[0])
		room.reply(room.skipTo("CANCEL"), 200, "r")
		room.reply(m, 487, "r")
		room.expect("ACK")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

// Without an offer the carrier binds the offer that comes first. RFC 3261 §13.2.1 wants it in the first reliable response, and only the winner's
// goes up: so no provisional before it is reliable.
func TestAStrictCarrierWithoutAnOfferGetsOnlyTheWinners(t *testing.T) {
	onStage(t, strictly, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		caller := st.carrier.invite("sip:999@nines", "", "Require: 100rel", "Supported: 100rel")
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		if m.HasToken("Supported", "100rel") {
			t.Errorf("an offer in a reliable 183 would want its answer from us:\n%s", m.raw)
		}
		room.replyBody(m, 183, "r", sdpOf(room, 50000)) // so it is not reliable
		room.mute.Store(true)
		n := standby.expect("INVITE")
		called := callee(standby, n, "s")
		standby.reply(n, 180, "s")
		own := strings.NewReplacer("RTP/AVP 8 101", "RTP/AVP 0 96", "rtpmap:8 PCMA", "rtpmap:0 PCMU", "rtpmap:101", "rtpmap:96").Replace(sdpOf(standby, 50000))
		standby.replyBody(n, 200, "s", own)
		if ring := st.carrier.expect("180 INVITE"); ring.Has("RSeq") || len(ring.Body) > 0 {
			t.Errorf("a reliable 180 would have to bring an offer:\n%s", ring.raw)
		}
		ok := st.carrier.expect("200 INVITE")
		if !strings.Contains(string(ok.Body), " RTP/AVP 0 96\r\n") {
			t.Errorf("the offer must be the winner's:\n%s", ok.raw)
		}
		answer := strings.NewReplacer("RTP/AVP 8 101", "RTP/AVP 0 96", "rtpmap:8 PCMA", "rtpmap:0 PCMU", "rtpmap:101", "rtpmap:96").Replace(sdpOf(st.carrier, 40000))
		caller.ack(ok, answer)
		ack := standby.expect("ACK")
		if !strings.Contains(string(ack.Body), " RTP/AVP 0 96\r\n") {
			t.Errorf("the standby's ACK must carry the carrier's answer:\n%s", ack.raw)
		}
		time.Sleep(10 * time.Millisecond)
		st.flowsTo(standby, 40000, 50000, ours(ok.Body)[0], ours(ack.Body)[0])
		room.reply(room.skipTo("CANCEL"), 200, "r")
		room.reply(m, 487, "r")
		room.expect("ACK")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}
