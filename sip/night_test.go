package sip_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
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

func TestWhoWakesWhenNobodyElseIsHopedForIsNotTurnedAway(t *testing.T) {
	moveOn := func(r *sip.Routing) { r.Routes[0].Overlap, r.Routes[0].Ask = false, r.Routes[0].Ask[:2] }
	// The wires to both rooms were cut for two seconds; without overlap the first was told to stop, but no CANCEL could go out.
	begin := func(st *stage) (d *dialog, room, standby *actor, m, n heard) {
		room, standby = st.rooms["control-room"], st.rooms["standby-room"]
		d = st.place()
		m, n = room.expect("INVITE"), standby.until("INVITE")
		time.Sleep(2 * time.Second)
		room.reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		return d, room, standby, m, n
	}
	t.Run("it answers", func(t *testing.T) {
		onStage(t, moveOn, func(st *stage) {
			d, room, standby, m, n := begin(st)
			time.Sleep(22 * time.Second) // more than give_up: it rings
			st.win(d, room, m)
			standby.reply(n, 180, "s")
			c := standby.until("CANCEL", "INVITE")
			if v, _ := c.Get("Reason"); !strings.Contains(v, "cause=200") {
				t.Errorf("the other room hears the Reason %q; somebody else has answered", v)
			}
			standby.reply(c, 200, "s")
			standby.reply(n, 487, "s")
			standby.expect("ACK")
			st.nothingLeft()
		})
	})
	t.Run("the caller leaves", func(t *testing.T) {
		onStage(t, moveOn, func(st *stage) {
			d, room, _, m, _ := begin(st)
			d.cancelled()
			room.reply(room.until("CANCEL", "INVITE"), 200, "r")
			room.reply(m, 487, "r")
			room.expect("ACK")
			st.nothingLeft()
		})
	})
	t.Run("the other rings already", func(t *testing.T) {
		onStage(t, moveOn, func(st *stage) {
			room, standby := st.rooms["control-room"], st.rooms["standby-room"]
			d := st.place()
			m, n := room.expect("INVITE"), standby.until("INVITE")
			standby.reply(n, 180, "s")
			st.carrier.expect("180 INVITE")
			room.reply(m, 180, "r")
			room.reply(room.until("CANCEL", "INVITE"), 200, "r")
			room.reply(m, 487, "r")
			room.expect("ACK")
			st.win(d, standby, n)
			st.nothingLeft()
		})
	})
}

func TestAnOfferThatNobodyWantsIsRefusedInTheAck(t *testing.T) {
	refusal := func(t *testing.T, ack heard) {
		t.Helper()
		if !strings.Contains(string(ack.Body), "m=audio 0 RTP/AVP 8 101\r\n") || !strings.Contains(string(ack.raw), "\r\nContent-Type: application/sdp\r\n") {
			t.Errorf("the 200 brought an offer: its ACK must answer it, with every stream refused (RFC 3261 §13.2.1):\n%s", ack.raw)
		}
	}
	t.Run("too late", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			room, standby := st.rooms["control-room"], st.rooms["standby-room"]
			d := st.carrier.invite("sip:999@nines", "")
			st.carrier.expect("100 INVITE")
			m, n := room.expect("INVITE"), standby.expect("INVITE")
			standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
			d.ack(st.carrier.expect("200 INVITE"), sdpOf(st.carrier, 40000))
			standby.expect("ACK")
			room.replyBody(m, 200, "r", sdpOf(room, 50000)) // the CANCEL could not go out yet
			refusal(t, room.until("ACK", "INVITE"))
			room.reply(room.expect("BYE"), 200, "")
			d.bye(standby)
			st.nothingLeft()
		})
	})
	t.Run("the caller has left", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			room := st.rooms["control-room"]
			d := st.carrier.invite("sip:999@nines", "")
			st.carrier.expect("100 INVITE")
			m := room.expect("INVITE")
			d.cancelled()
			time.Sleep(40 * time.Second) // the call is forgotten
			room.replyBody(m, 200, "r", sdpOf(room, 50000))
			refusal(t, room.until("ACK", "INVITE"))
			room.reply(room.expect("BYE"), 200, "")
			st.nothingLeft()
		})
	})
	t.Run("a fork", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			room := st.rooms["control-room"]
			d := st.carrier.invite("sip:999@nines", "")
			st.carrier.expect("100 INVITE")
			m := room.expect("INVITE")
			room.replyBody(m, 200, "r", sdpOf(room, 50000))
			d.ack(st.carrier.expect("200 INVITE"), sdpOf(st.carrier, 40000))
			room.expect("ACK")
			room.replyBody(m, 200, "other", sdpOf(room, 50002))
			refusal(t, room.expect("ACK"))
			room.reply(room.expect("BYE"), 200, "")
			d.bye(room)
			st.nothingLeft()
		})
	})
}

func TestAStuckConnectionKeepsNobodyFromARoom(t *testing.T) {
	tcp := func(r *sip.Routing) {
		r.Endpoints[0].URI = "sip:10.0.1.1:5060;transport=tcp"
		r.Routes[0].Ask = r.Routes[0].Ask[:1]
	}
	onStage(t, tcp, func(st *stage) {
		host := st.rooms["control-room"].host
		server := newTCPActor(st.t, host)
		defer server.close()
		time.Sleep(time.Minute) // it is up
		st.net.Between(st.node, host, town.Path{Cut: true})
		time.Sleep(7 * time.Second) // what TCP sends again now waits for as long once more
		st.net.Usual(st.node, host)
		time.Sleep(1200 * time.Millisecond) // a probe
		d := st.place()
		began := time.Now()
		m := server.expect("INVITE")
		within(t, "the room was asked", began, 0, 50*time.Millisecond)
		st.win(d, server, m)
		st.nothingLeft()
	})
}

func TestARefusalOverTCPIsFollowedAtOnce(t *testing.T) {
	tcp := func(r *sip.Routing) { r.Endpoints[0].URI = "sip:10.0.1.1:5060;transport=tcp" }
	for _, rings := range []bool{false, true} {
		t.Run(fmt.Sprint("after ringing: ", rings), func(t *testing.T) {
			onStage(t, tcp, func(st *stage) {
				server, standby := newTCPActor(st.t, st.rooms["control-room"].host), st.rooms["standby-room"]
				defer server.close()
				time.Sleep(time.Minute) // it is up
				d := st.place()
				m := server.expect("INVITE")
				if rings {
					server.reply(m, 180, "r")
					st.carrier.expect("180 INVITE")
				}
				began := time.Now()
				server.reply(m, 486, "r")
				server.expect("ACK")
				n := standby.expect("INVITE")
				within(t, "the next was asked", began, 0, atOnce)
				st.win(d, standby, n)
				st.nothingLeft()
			})
		})
	}
}

func TestALastWordWaitsForAConnection(t *testing.T) {
	tcp := func(r *sip.Routing) {
		r.Endpoints[0].URI = "sip:10.0.1.1:5060;transport=tcp"
		r.Routes[0].Ask = r.Routes[0].Ask[:1]
	}
	for _, talks := range []bool{false, true} {
		t.Run(fmt.Sprint("talks: ", talks), func(t *testing.T) {
			onStage(t, tcp, func(st *stage) {
				host := st.rooms["control-room"].host
				server := newTCPActor(st.t, host)
				defer server.close()
				time.Sleep(time.Minute) // it is up
				d := st.place()
				m := server.expect("INVITE")
				if talks {
					server.replyBody(m, 200, "r", sdpOf(server, 50000), "Contact: <sip:desk@10.0.1.1;transport=tcp>")
					d.ack(st.carrier.expect("200 INVITE"), "")
					server.expect("ACK")
				} else {
					server.reply(m, 180, "r")
					st.carrier.expect("180 INVITE")
				}
				server.conn.(*streams).hangUp()
				time.Sleep(10 * time.Millisecond)
				st.net.Between(st.node, host, town.Path{Cut: true})
				if talks {
					d.request("BYE", "")
					st.carrier.expect("200 BYE")
				} else {
					d.cancelled()
				}
				time.Sleep(5 * time.Second)
				st.net.Usual(st.node, host)
				if talks {
					server.reply(server.expect("BYE"), 200, "")
				} else {
					c := server.expect("CANCEL")
					server.reply(c, 200, "r")
					m.from = c.from
					server.reply(m, 487, "r")
					server.expect("ACK")
				}
				st.nothingLeft()
			})
		})
	}
}
