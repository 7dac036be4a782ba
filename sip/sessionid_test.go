package sip_test

import (
	"strings"
	"testing"
	"time"
)

const (
	callersHalf = "ab30317f1a784dc48ff824d0d3715d86"
	roomsHalf   = "47755a9de7794ba387653f2099600ef2"
	nobodysHalf = "00000000000000000000000000000000"
)

// TestASessionIDIsCompleted: halves pass unchanged, and what we say ourselves names both ends as far as they are known (RFC 7989).
func TestASessionIDIsCompleted(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		has := func(m heard, who, remote string) {
			t.Helper()
			if got, want := m.All("Session-ID"), who+";remote="+remote; len(got) != 1 || got[0] != want {
				t.Errorf("%s has Session-ID %q, want %q:\n%s", kind(m.Message), got, want, m.raw)
			}
		}
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), "Session-ID: "+callersHalf+";remote="+nobodysHalf)
		st.carrier.expect("100 INVITE")
		refuses := room.expect("INVITE")
		has(refuses, callersHalf, nobodysHalf)
		room.reply(refuses, 180, "r", "Require: 100rel", "RSeq: 1", "Session-ID: 11111111111111111111111111111111;remote="+callersHalf)
		prack := room.expect("PRACK")
		has(prack, callersHalf, "11111111111111111111111111111111")
		room.reply(prack, 200, "")
		has(st.carrier.expect("180 INVITE"), nobodysHalf, callersHalf) // several may ring
		room.reply(refuses, 486, "r")
		room.expect("ACK")
		m := standby.expect("INVITE")
		has(m, callersHalf, nobodysHalf)
		called := callee(standby, m, "room")
		standby.replyBody(m, 200, "room", sdpOf(standby, 50000), "Session-ID: "+roomsHalf+";remote="+callersHalf, "Require: timer", "Session-Expires: 90;refresher=uac")
		ok := st.carrier.expect("200 INVITE")
		has(ok, roomsHalf, callersHalf)
		has(standby.expect("ACK"), callersHalf, roomsHalf)
		caller.ack(ok, "")
		st.carrier.present.Store(true)
		time.Sleep(10 * time.Second)
		caller.request("INFO", "", "Session-ID: "+callersHalf+";remote="+roomsHalf)
		info := standby.expect("INFO")
		has(info, callersHalf, roomsHalf)
		standby.reply(info, 200, "", "Session-ID: "+roomsHalf+";remote="+callersHalf)
		has(st.carrier.expect("200 INFO"), roomsHalf, callersHalf)
		refresh := standby.expect("INVITE")
		has(refresh, callersHalf, roomsHalf)
		standby.replyBody(refresh, 200, "", sdpOf(standby, 50000), "Session-ID: "+roomsHalf+";remote="+callersHalf)
		has(standby.expect("ACK"), callersHalf, roomsHalf)
		called.request("BYE", "", "Session-ID: "+roomsHalf+";remote="+callersHalf)
		has(standby.expect("200 BYE"), callersHalf, roomsHalf)
		bye := st.carrier.expect("BYE")
		has(bye, roomsHalf, callersHalf)
		st.carrier.reply(bye, 200, "")
		st.nothingLeft()
	})
}

func TestNobodyIsGivenASessionIDWhoHasNone(t *testing.T) {
	for _, id := range []string{"", "Session-ID: short", "Session-ID: " + strings.Repeat("z", 32)} {
		onStage(t, nil, func(st *stage) {
			var headers []string
			if id != "" {
				headers = append(headers, id)
			}
			caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), headers...)
			st.carrier.expect("100 INVITE")
			room := st.rooms["control-room"]
			m := room.expect("INVITE")
			room.reply(m, 180, "r")
			if m := st.carrier.expect("180 INVITE"); m.Has("Session-ID") {
				t.Errorf("the 180 has a Session-ID:\n%s", m.raw)
			}
			caller.cancel()
			st.carrier.expect("200 CANCEL")
			if m := room.expect("CANCEL"); m.Has("Session-ID") {
				t.Errorf("the CANCEL has a Session-ID:\n%s", m.raw)
			}
		})
	}
}

// TestA199IsNoRinging: a branch of a PBX that forks has ended (RFC 6228). The PRACK that it asks for is sent, and the caller is told nothing.
func TestA199IsNoRinging(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), "Supported: 100rel, 199")
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		if !m.HasToken("Supported", "199") {
			t.Errorf("what the caller can do passes:\n%s", m.raw)
		}
		room.reply(m, 199, "one", "Require: 100rel", "RSeq: 7", `Reason: SIP;cause=486;text="Busy Here"`)
		room.reply(room.expect("PRACK"), 200, "")
		called := callee(room, m, "two")
		st.carrier.silence(time.Millisecond)
		room.reply(m, 180, "two")
		st.carrier.expect("180 INVITE")
		room.replyBody(m, 200, "two", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}
