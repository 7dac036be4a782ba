package sip_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// greets sends an OPTIONS by a connection of its own; it says that it listens at a port, and perhaps that its connection may be used for requests.
func (a *actor) greets(port int, params string) {
	a.t.Helper()
	a.seq++
	a.send(a.node, fmt.Sprintf("OPTIONS sip:nines SIP/2.0\nVia: SIP/2.0/%s %s:%d;branch=z9hG4bKping%d;rport%s\nMax-Forwards: 70\nFrom: <sip:room@x>;tag=p%d\nTo: <sip:nines>\nCall-ID: ping%d\nCSeq: 1 OPTIONS",
		a.proto, a.addr.Addr(), port, a.seq, params, a.seq, a.seq), "")
	a.expect("200 OPTIONS")
}

// TestWhoHasCalledUsIsAskedByItsOwnConnection: nobody listens where the room's URI leads, but the room has connected to us (RFC 5923).
func TestWhoHasCalledUsIsAskedByItsOwnConnection(t *testing.T) {
	for _, alias := range []bool{true, false} {
		t.Run(fmt.Sprint(alias), func(t *testing.T) {
			onScene(t, func(sc *scene) {
				tcpRooms(sc)
				sc.Endpoints[0].URI = "sip:10.0.1.1:5070;transport=tcp"
			}, func(st *stage) {
				room, standby := st.rooms["control-room"], st.rooms["standby-room"]
				params := ""
				if alias {
					params = ";alias"
				}
				room.greets(5070, params)
				room.greets(5070, params)
				time.Sleep(40 * time.Second) // it is probed, and up if it can be
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				if !alias {
					standby.reply(standby.expect("INVITE"), 486, "s") // nobody is asked by a connection that did not offer itself
					room.silence(time.Millisecond)
					return
				}
				m := room.expect("INVITE")
				if via, _ := m.Get("Via"); !strings.HasSuffix(via, ";alias") {
					t.Errorf("our Via over TCP is %q; it offers our connection as well", via)
				}
				called := callee(room, m, "room")
				room.replyBody(m, 200, "room", sdpOf(room, 50000))
				ok := st.carrier.expect("200 INVITE")
				room.expect("ACK")
				caller.ack(ok, "")
				time.Sleep(10 * time.Millisecond)
				room.lines().mu.Lock()
				if n := len(room.lines().order); n != 1 {
					t.Errorf("there are %d connections; want the one that the room made", n)
				}
				room.lines().mu.Unlock()
				st.hangUp(caller, called)
				st.nothingLeft()
				room.lines().reset() // it is found no more
				time.Sleep(40 * time.Second)
				st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				standby.reply(standby.expect("INVITE"), 486, "s")
			})
		})
	}
}

// TestByTLSOnlyTheRightNameIsAskedByItsOwnConnection: a connection that came in shows a certificate of ours, and its name must be the room's.
func TestByTLSOnlyTheRightNameIsAskedByItsOwnConnection(t *testing.T) {
	for name, right := range map[string]bool{"10.0.1.1": true, "elsewhere.example": false} {
		t.Run(name, func(t *testing.T) {
			onScene(t, func(sc *scene) {
				g := newGuild()
				g.node(sc)
				g.room(sc, g.Issue(name))
				sc.Endpoints[0].URI = "sip:10.0.1.1:5071;transport=tls"
				sc.Endpoints[0].RequireTLS = true
			}, func(st *stage) {
				room, standby := st.rooms["control-room"], st.rooms["standby-room"]
				room.greets(5071, ";alias")
				time.Sleep(40 * time.Second)
				st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				if right {
					room.reply(room.expect("INVITE"), 486, "r")
				} else {
					room.silence(time.Millisecond)
				}
				standby.reply(standby.expect("INVITE"), 486, "s")
			})
		})
	}
}
