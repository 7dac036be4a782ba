package sip_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"nines/sip"
)

// What nights in memory (internal/town/night) have found: each story once, as it was on the wires.

func TestAReInviteThatIsNeverAcknowledgedLeavesNothing(t *testing.T) {
	for _, late := range []bool{false, true} {
		for _, hangsUp := range []bool{false, true} {
			onStage(t, nil, func(st *stage) {
				caller, called := st.talk("control-room")
				contact := "Contact: <sip:carrier@" + st.carrier.addr.String() + ">"
				offer := sdpOf(st.carrier, 40002)
				if late {
					offer = ""
				}
				caller.request("INVITE", offer, contact)
				st.carrier.expect("100 INVITE")
				called.a.replyBody(called.a.expect("INVITE"), 200, "", sdpOf(called.a, 50000))
				st.carrier.expect("200 INVITE")
				if !late {
					called.a.expect("ACK") // ours; the caller's never comes
				}
				if !hangsUp {
					time.Sleep(33 * time.Second) // 64·T1 and a little
				}
				st.drainCarrier("200 INVITE", "OPTIONS")
				caller.request("BYE", "")
				st.carrier.expect("200 BYE")
				called.a.reply(called.a.until("BYE", "ACK"), 200, "")
				st.nothingLeft()
			})
		}
	}
}

// drainCarrier throws away what the carrier has heard by now, all of the given kinds.
func (st *stage) drainCarrier(kinds ...string) {
	st.t.Helper()
	for {
		select {
		case m := <-st.carrier.in:
			if got := kind(m.Message); !slices.Contains(kinds, got) {
				st.t.Fatalf("the carrier got %s, want only %v", got, kinds)
			}
		default:
			return
		}
	}
}

func TestARoomThatLostItsConnectionIsToldThatNobodyWaits(t *testing.T) {
	tcp := func(r *sip.Routing) { r.Endpoints[0].URI = "sip:10.0.1.1:5060;transport=tcp" }
	for _, code := range []int{0, 100, 180} {
		for _, cancelFirst := range []bool{false, true} {
			t.Run(fmt.Sprint(code, cancelFirst), func(t *testing.T) {
				onStage(t, tcp, func(st *stage) {
					server, standby := newTCPActor(st.t, st.rooms["control-room"].host), st.rooms["standby-room"]
					defer server.close()
					time.Sleep(time.Minute) // it is up
					d := st.place()
					m := server.expect("INVITE")
					if code != 0 {
						server.reply(m, code, "r")
					}
					if code == 180 {
						st.carrier.expect("180 INVITE")
					}
					if cancelFirst { // and the connection breaks before it is answered
						time.Sleep(10 * time.Millisecond)
						d.cancelled()
						if code != 0 {
							server.expect("CANCEL")
						}
					}
					server.conn.(*streams).hangUp()
					if !cancelFirst {
						n := standby.expect("INVITE")
						st.win(d, standby, n)
					}
					if code == 0 { // it rings after all
						server.redial(st)
						server.reply(m, 180, "r")
					}
					// Its telephones may still ring: it is told by a new connection that nobody waits.
					c := server.expect("CANCEL")
					server.reply(c, 200, "r")
					m.from = c.from
					server.reply(m, 487, "r")
					server.expect("ACK")
					st.nothingLeft()
				})
			})
		}
	}
}
