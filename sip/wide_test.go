package sip_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// wideRoom gives the control room a TCP listener beside its UDP socket.
func wideRoom(tcp **actor) func(*scene) {
	return func(sc *scene) {
		room := sc.stage.rooms["control-room"]
		addr := netip.MustParseAddrPort("10.0.1.1:5060")
		*tcp = cast(sc.stage.t, room.host, newLines(sc.stage.t, room.host, addr), addr, "TCP", nodeTCP)
		sc.stage.rooms["control-room by TCP"] = *tcp
	}
}

var large = "X-Location: " + strings.Repeat("a", 1500)

func TestALargeInviteGoesByTheConnectionThatIsThere(t *testing.T) {
	var tcp *actor
	onScene(t, wideRoom(&tcp), func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), large)
		st.carrier.expect("100 INVITE")
		m := tcp.expect("INVITE")
		if m.Via.Transport != "TCP" {
			t.Errorf("the Via is %s, want TCP", m.Via.Raw)
		}
		called := callee(tcp, m, "room")
		tcp.replyBody(m, 200, "room", sdpOf(tcp, 50000))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		tcp.expect("ACK")
		st.hangUp(caller, called)
		st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		st.rooms["control-room"].expect("INVITE") // a small one goes by UDP
	})
}

func TestALargeInviteWithoutAConnectionGoesByUDPAtOnce(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		began := time.Now()
		st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), large)
		st.carrier.expect("100 INVITE")
		st.rooms["control-room"].expect("INVITE")
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("it took %v, want at once", took)
		}
	})
}

func TestAConnectionThatBreaksUnderALargeInviteCostsNothing(t *testing.T) {
	for name, end := range map[string]func(tcp *actor){
		"reset":  func(tcp *actor) { tcp.lines().reset() },
		"silent": func(*actor) {},
	} {
		t.Run(name, func(t *testing.T) {
			var tcp *actor
			onScene(t, wideRoom(&tcp), func(st *stage) {
				room := st.rooms["control-room"]
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), large)
				st.carrier.expect("100 INVITE")
				tcp.expect("INVITE")
				end(tcp)
				m := room.expect("INVITE")
				called := callee(room, m, "room")
				room.replyBody(m, 200, "room", sdpOf(room, 50000))
				caller.ack(st.carrier.expect("200 INVITE"), "")
				room.skipTo("ACK")
				if v := st.server.Snapshot().Of("control-room").Verdict.String(); v != "up" {
					t.Errorf("the room is %s, want up: our change of transport failed, not the room", v)
				}
				st.hangUp(caller, called)
			})
		})
	}
}
