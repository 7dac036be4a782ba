package sip_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nines/health"
	"nines/policy"
	"nines/sip"
)

// within checks how long something took.
func within(t *testing.T, what string, began time.Time, least, most time.Duration) {
	t.Helper()
	if got := time.Since(began); got < least || got > most {
		t.Errorf("%s after %v; want between %v and %v", what, got, least, most)
	}
}

// at once is what a caller does not notice.
const atOnce = 50 * time.Millisecond

// build adds rooms to the stage: actors, endpoints, and their places in the 999 route.
func (sc *scene) build(partner bool, names ...string) {
	for _, name := range names {
		addr := fmt.Sprintf("10.0.1.%d", len(sc.stage.rooms)+1)
		sc.stage.rooms[name] = newActor(sc.stage.t, sc.stage.net.Host(name, netip.MustParseAddr(addr)))
		sc.Endpoints = append(sc.Endpoints, sip.Endpoint{Endpoint: policy.Endpoint{Name: policy.EndpointName(name), Partner: partner}, URI: "sip:" + addr})
		sc.Health.Endpoints = append(sc.Health.Endpoints, health.Endpoint{Name: health.EndpointName(name), Partner: partner})
		sc.Routes[0].Ask = append(sc.Routes[0].Ask, []policy.EndpointName{policy.EndpointName(name)})
	}
}

// win answers an INVITE, lets the caller confirm, and ends the call.
func (st *stage) win(d *dialog, room *actor, m heard) {
	st.t.Helper()
	room.replyBody(m, 200, "won", sdpOf(room, 50000))
	d.ack(st.carrier.until("200 INVITE", "180 INVITE"), "")
	room.until("ACK", "INVITE")
	d.bye(room)
}

func TestEveryRefusalIsFollowedAtOnceOnAnEmergencyCall(t *testing.T) {
	for _, code := range []int{
		300, 301, 302, 305, 380, 400, 401, 403, 404, 407, 408, 410, 415, 420, 480, 481, 482, 483, 484, 486, 487, 488, 491, 493, 500, 501, 502, 503, 504, 505, 513, 580,
		600, 603, 604, 606, 607,
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				room, standby := st.rooms["control-room"], st.rooms["standby-room"]
				d := st.place()
				m := room.expect("INVITE")
				room.reply(m, 100, "")
				began := time.Now()
				room.reply(m, code, "r", "Contact: <sip:elsewhere@10.0.1.3>", "Retry-After: 30")
				n := standby.expect("INVITE")
				within(t, "the next was asked", began, 0, atOnce)
				room.expect("ACK")
				st.win(d, standby, n)
				st.rooms["partner"].silence(time.Second) // a redirect is not followed unless follow_3xx says so
				st.nothingLeft()
			})
		})
	}
}

func TestADeadPortSpendsTheSilenceButTheAttemptLives(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		room.close()
		began := time.Now()
		d := st.place()
		n := standby.expect("INVITE")
		within(t, "the next was asked as well", began, 0, atOnce)
		standby.reply(n, 180, "s")
		st.carrier.expect("180 INVITE")
		back := newActor(t, room.host) // the PBX has started up
		defer back.close()
		m := back.expect("INVITE") // a repetition
		back.replyBody(m, 200, "r", sdpOf(back, 50000))
		d.ack(st.carrier.expect("200 INVITE"), "")
		back.expect("ACK")
		c := standby.expect("CANCEL")
		if v, _ := c.Get("Reason"); v != `SIP;cause=200;text="Call completed elsewhere"` {
			t.Errorf("the CANCEL's Reason is %q", v)
		}
		standby.reply(c, 200, "s")
		standby.reply(n, 487, "s")
		standby.expect("ACK")
		d.bye(back)
		st.nothingLeft()
	})
}

func TestOnlyClosedPortsEverywhereIsA500AfterFourSeconds(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		for _, r := range st.rooms {
			r.close()
		}
		began := time.Now()
		d := st.place()
		d.ack(st.carrier.expect("500 INVITE"), "")
		within(t, "the 500 came", began, 4*time.Second, 4200*time.Millisecond)
		st.nothingLeft()
	})
}

func TestARedirectIsFollowedWhereTheEndpointMayRedirect(t *testing.T) {
	follow := func(r *sip.Routing) { r.Endpoints[0].Follow3xx = true }
	t.Run("in order, then the next", func(t *testing.T) {
		onStage(t, follow, func(st *stage) {
			room, other := st.rooms["control-room"], st.rooms["partner"]
			desk := newActorAt(t, room.host, 5070)
			defer desk.close()
			d := st.place()
			began := time.Now()
			m := room.expect("INVITE")
			room.reply(m, 302, "r", "Contact: <sip:two@10.0.1.3>;q=0.2, <tel:+44999>;q=1", "Contact: <sip:one@10.0.1.1:5070;x=y>;q=0.7")
			room.expect("ACK")
			one := desk.expect("INVITE") // the most wanted first
			if one.URI != "sip:one@10.0.1.1:5070;x=y" {
				t.Errorf("the Request-URI is %s; it is the contact", one.URI)
			}
			desk.reply(one, 480, "d")
			desk.expect("ACK")
			two := other.expect("INVITE")
			other.reply(two, 302, "o", "Contact: <sip:three@10.0.1.1:5070>") // one hop only
			other.expect("ACK")
			n := st.rooms["standby-room"].expect("INVITE")
			within(t, "three refusals were followed", began, 0, atOnce)
			st.win(d, st.rooms["standby-room"], n)
			desk.silence(time.Second)
			st.nothingLeft()
		})
	})
	t.Run("by TCP", func(t *testing.T) {
		onStage(t, follow, func(st *stage) {
			room := st.rooms["control-room"]
			desk := newTCPActor(t, st.rooms["partner"].host)
			defer desk.close()
			d := st.place()
			room.reply(room.expect("INVITE"), 301, "r", "Contact: <sip:desk@10.0.1.3;transport=tcp>")
			room.expect("ACK")
			m := desk.expect("INVITE")
			desk.replyBody(m, 200, "d", sdpOf(desk, 50000), "Contact: <sip:desk@10.0.1.3;transport=tcp>")
			d.ack(st.carrier.expect("200 INVITE"), "")
			desk.expect("ACK")
			d.bye(desk)
			st.nothingLeft()
		})
	})
	t.Run("to nowhere", func(t *testing.T) {
		onStage(t, follow, func(st *stage) {
			room, standby := st.rooms["control-room"], st.rooms["standby-room"]
			d := st.place()
			began := time.Now()
			room.reply(room.expect("INVITE"), 302, "r", "Contact: <mailto:desk@x>, *")
			n := standby.expect("INVITE")
			within(t, "the next was asked", began, 0, atOnce)
			room.expect("ACK")
			st.win(d, standby, n)
			st.nothingLeft()
		})
	})
}

func TestRingingUnansweredAsksTheNextOwnRoomAsWell(t *testing.T) {
	onStage(t, func(r *sip.Routing) { r.Routes[0].Ringing = 2 * time.Second }, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		d := st.place()
		m := room.expect("INVITE")
		time.Sleep(400 * time.Millisecond)
		began := time.Now()
		room.reply(m, 183, "r") // the delay counts from here
		n := standby.expect("INVITE")
		within(t, "the standby was asked", began, 2*time.Second, 2*time.Second+atOnce)
		standby.reply(n, 180, "s")
		st.rooms["partner"].silence(time.Minute) // mere ringing reaches no partner
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		d.ack(st.carrier.until("200 INVITE", "180 INVITE"), "")
		room.expect("ACK")
		standby.reply(standby.expect("CANCEL"), 200, "s")
		standby.reply(n, 487, "s")
		standby.expect("ACK")
		d.bye(room)
		st.nothingLeft()
	})
}

func TestRingingReachesPartnersWhereTheRouteSaysSo(t *testing.T) {
	onStage(t, func(r *sip.Routing) { r.Routes[0].RingingToPartners = 5 * time.Second }, func(st *stage) {
		room, partner := st.rooms["control-room"], st.rooms["partner"]
		d := st.place()
		m := room.expect("INVITE")
		room.reply(m, 180, "r")
		began := time.Now()
		p := partner.expect("INVITE")
		within(t, "the partner was asked", began, 5*time.Second, 5*time.Second+atOnce)
		st.rooms["standby-room"].silence(time.Second) // ringing: never
		st.win(d, partner, p)
		room.reply(room.expect("CANCEL"), 200, "r")
		room.reply(m, 487, "r")
		room.expect("ACK")
		st.nothingLeft()
	})
}

func TestAFourthAttemptStopsTheOldestThatDoesNotRing(t *testing.T) {
	four := func(sc *scene) {
		sc.Routes[0].Ask = sc.Routes[0].Ask[:2]
		sc.build(false, "third", "fourth")
	}
	onScene(t, four, func(st *stage) {
		one, two, three, fourth := st.rooms["control-room"], st.rooms["standby-room"], st.rooms["third"], st.rooms["fourth"]
		d := st.place()
		m := one.expect("INVITE")
		one.reply(m, 100, "")
		time.Sleep(100 * time.Millisecond)
		// It sent a 100 and then nothing: progress is spent after 4 s. The others never answer.
		n := two.until("INVITE")
		o := three.until("INVITE")
		began := time.Now()
		f := fourth.until("INVITE")
		within(t, "the fourth was asked", began, 900*time.Millisecond, time.Second+atOnce)
		c := one.expect("CANCEL") // the oldest that does not ring; it said 100, so at once
		one.reply(c, 200, "r")
		one.replyBody(m, 200, "r", sdpOf(one, 50000)) // and it answers all the same: nobody else has
		d.ack(st.carrier.expect("200 INVITE"), "")
		one.expect("ACK")
		for _, x := range []struct {
			a *actor
			m heard
		}{{two, n}, {three, o}, {fourth, f}} {
			x.a.reply(x.m, 100, "")
			x.a.reply(x.a.until("CANCEL", "INVITE"), 200, "x")
			x.a.reply(x.m, 487, "x")
			x.a.expect("ACK")
		}
		d.bye(one)
		st.nothingLeft()
	})
}

func TestThreeThatRingKeepTheFourthWaiting(t *testing.T) {
	four := func(sc *scene) {
		sc.Routes[0].Ask = sc.Routes[0].Ask[:2]
		sc.Routes[0].Ringing = time.Second
		sc.build(false, "third", "fourth")
	}
	onScene(t, four, func(st *stage) {
		names := []string{"control-room", "standby-room", "third"}
		ms := map[string]heard{}
		d := st.place()
		for _, name := range names {
			ms[name] = st.rooms[name].expect("INVITE")
			st.rooms[name].reply(ms[name], 180, name)
		}
		st.rooms["fourth"].silence(30 * time.Second)
		st.rooms["third"].reply(ms["third"], 486, "third")
		st.rooms["third"].expect("ACK")
		f := st.rooms["fourth"].expect("INVITE")
		st.win(d, st.rooms["fourth"], f)
		for _, name := range names[:2] {
			st.rooms[name].reply(st.rooms[name].expect("CANCEL"), 200, name)
			st.rooms[name].reply(ms[name], 487, name)
			st.rooms[name].expect("ACK")
		}
		st.nothingLeft()
	})
}

func TestWithoutOverlapTheNextIsAskedInstead(t *testing.T) {
	onStage(t, func(r *sip.Routing) { r.Routes[0].Overlap = false }, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		d := st.place()
		m := room.expect("INVITE")
		room.reply(m, 100, "")
		began := time.Now()
		n := standby.expect("INVITE")
		within(t, "the standby was asked", began, 3900*time.Millisecond, 4*time.Second+atOnce)
		c := room.expect("CANCEL")
		if v, _ := c.Get("Reason"); strings.Contains(v, "elsewhere") {
			t.Errorf("the CANCEL's Reason is %q, but nobody has answered", v)
		}
		room.reply(c, 200, "r")
		room.reply(m, 487, "r")
		room.expect("ACK")
		st.win(d, standby, n)
		st.nothingLeft()
	})
}

func TestASecondPartnerWaitsForTheFirst(t *testing.T) {
	two := func(sc *scene) { sc.build(true, "second-partner") }
	refuse := func(st *stage) heard {
		for _, name := range []string{"control-room", "standby-room"} {
			st.rooms[name].reply(st.rooms[name].expect("INVITE"), 486, "x")
			st.rooms[name].expect("ACK")
		}
		return st.rooms["partner"].expect("INVITE")
	}
	for _, c := range []struct {
		name string
		say  int // what the first partner says
		wait time.Duration
	}{
		{"it rings", 180, 20 * time.Second},
		{"an announcement is no ringing", 183, 4 * time.Second},
		{"only a 100", 100, 4 * time.Second},
		{"silence", 0, time.Second},
		{"a refusal", 486, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			onScene(t, two, func(st *stage) {
				d := st.place()
				partner, second := st.rooms["partner"], st.rooms["second-partner"]
				m := refuse(st)
				began := time.Now()
				if c.say != 0 {
					partner.reply(m, c.say, "p")
				}
				n := second.expect("INVITE")
				within(t, "the second partner was asked", began, c.wait-atOnce, c.wait+atOnce)
				st.win(d, second, n)
				switch c.say {
				case 486:
					partner.expect("ACK")
				case 0:
					partner.reply(m, 487, "p")
					partner.until("ACK", "INVITE")
				default:
					partner.reply(partner.expect("CANCEL"), 200, "p")
					partner.reply(m, 487, "p")
					partner.expect("ACK")
				}
				st.nothingLeft()
			})
		})
	}
}

func TestGiveUpCountsOnlyWhileNothingRings(t *testing.T) {
	t.Run("only 100s", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			d := st.place()
			began := time.Now()
			ms := map[string]heard{}
			for _, name := range []string{"control-room", "standby-room", "partner"} {
				ms[name] = st.rooms[name].expect("INVITE")
				st.rooms[name].reply(ms[name], 100, "")
			}
			d.ack(st.carrier.expect("500 INVITE"), "")
			within(t, "the 500 came", began, 20*time.Second, 20*time.Second+atOnce)
			for name, m := range ms {
				st.rooms[name].reply(st.rooms[name].expect("CANCEL"), 200, "x")
				st.rooms[name].reply(m, 487, "x")
				st.rooms[name].expect("ACK")
			}
			st.nothingLeft()
		})
	})
	t.Run("a call that rings is never given up", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			room := st.rooms["control-room"]
			d := st.place()
			m := room.expect("INVITE")
			room.reply(m, 180, "r")
			time.Sleep(10 * time.Minute)
			st.win(d, room, m)
			st.nothingLeft()
		})
	})
	t.Run("ringing that dies is silence", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			room, standby, partner := st.rooms["control-room"], st.rooms["standby-room"], st.rooms["partner"]
			d := st.place()
			m := room.expect("INVITE")
			room.reply(m, 180, "r")
			st.carrier.expect("180 INVITE")
			time.Sleep(30 * time.Second)
			began := time.Now()
			room.mute.Store(true)
			n := standby.expect("INVITE")
			within(t, "the standby was asked", began, 0, 4*time.Second)
			standby.reply(n, 100, "")
			p := partner.expect("INVITE")
			partner.reply(p, 100, "")
			d.ack(st.carrier.until("500 INVITE", "180 INVITE"), "")
			within(t, "the 500 came", began, 20*time.Second, 24*time.Second)
			for _, x := range []struct {
				a *actor
				m heard
			}{{room, m}, {standby, n}, {partner, p}} {
				x.a.reply(x.a.expect("CANCEL"), 200, "x")
				x.a.reply(x.m, 487, "x")
				x.a.expect("ACK")
			}
			st.nothingLeft()
		})
	})
}

func TestAFullPartnerIsAskedOnceASecond(t *testing.T) {
	full := func(r *sip.Routing) {
		r.Endpoints[2].Calls = 1
		r.Routes[0].Ask = [][]policy.EndpointName{{"partner"}}
	}
	onStage(t, full, func(st *stage) {
		partner := st.rooms["partner"]
		var ds []*dialog
		var ms []heard
		began := time.Now()
		for i := range 4 {
			caller := fmt.Sprintf("P-Asserted-Identity: <tel:+4477009001%02d>", i)
			ds = append(ds, st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000+2*i), caller))
			st.carrier.expect("100 INVITE")
		}
		for i, want := range []time.Duration{0, 0, time.Second, 2 * time.Second} {
			m := partner.expect("INVITE")
			within(t, fmt.Sprintf("call %d reached the full partner", i+1), began, want, want+atOnce)
			partner.reply(m, 180, fmt.Sprint("p", i))
			ms = append(ms, m)
		}
		for range ms {
			st.carrier.expect("180 INVITE")
		}
		for _, d := range ds {
			d.cancelled()
		}
		for range ms {
			c := partner.until("CANCEL", "ACK")
			for i, m := range ms {
				if m.CallID == c.CallID {
					partner.reply(c, 200, fmt.Sprint("p", i))
					partner.reply(m, 487, fmt.Sprint("p", i))
				}
			}
		}
		partner.expect("ACK")
		if got := st.server.Used("partner"); got != 0 {
			t.Errorf("%d slots are still taken", got)
		}
		st.nothingLeft()
	})
}

func TestTheSecondLineWaitsItsTurnAtAFullPartner(t *testing.T) {
	full := func(r *sip.Routing) { r.Endpoints[2].Calls = 1 }
	onStage(t, full, func(st *stage) {
		partner := st.rooms["partner"]
		refuse := func() {
			for _, name := range []string{"control-room", "standby-room"} {
				st.rooms[name].reply(st.rooms[name].expect("INVITE"), 486, "x")
				st.rooms[name].expect("ACK")
			}
		}
		first := st.place()
		refuse()
		m := partner.expect("INVITE")
		partner.replyBody(m, 200, "p", sdpOf(partner, 50000))
		first.ack(st.carrier.expect("200 INVITE"), "")
		partner.expect("ACK")
		second := st.carrier.invite("sip:07000@nines", sdpOf(st.carrier, 40002), "P-Asserted-Identity: <tel:+447700900999>") // unrouted
		st.carrier.expect("100 INVITE")
		refuse()
		partner.silence(5 * time.Second)
		first.bye(partner)
		began := time.Now()
		n := partner.expect("INVITE")
		within(t, "the second line got its turn", began, 0, time.Second)
		partner.replyBody(n, 200, "p2", sdpOf(partner, 50002))
		second.ack(st.carrier.expect("200 INVITE"), "")
		partner.expect("ACK")
		second.bye(partner)
		st.nothingLeft()
	})
}

func TestWhatARefusalMeansToARoutineCall(t *testing.T) {
	for _, c := range []struct{ first, second, want int }{
		{486, 0, 486},
		{600, 0, 486},
		{603, 0, 603},
		{404, 0, 404},
		{484, 0, 484},
		{503, 503, 500},
		{480, 503, 480},
		{408, 500, 500},
		{488, 486, 486},
		{302, 404, 404},
	} {
		t.Run(fmt.Sprint(c.first, c.second), func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				d := st.carrier.invite("sip:101@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				refuse := func(name string, code int) {
					st.rooms[name].reply(st.rooms[name].expect("INVITE"), code, "x")
					st.rooms[name].expect("ACK")
				}
				refuse("control-room", c.first)
				if c.second != 0 {
					refuse("standby-room", c.second)
				}
				final := st.carrier.expect(fmt.Sprint(c.want, " INVITE"))
				d.ack(final, "")
				if _, ok := final.Get("Retry-After"); ok {
					t.Errorf("a Retry-After went up:\n%s", final.raw)
				}
				if c.second == 0 {
					st.rooms["standby-room"].silence(5 * time.Second)
				}
				st.nothingLeft()
			})
		})
	}
}

func TestALimitIsHardForRoutineCalls(t *testing.T) {
	limit := func(r *sip.Routing) { r.Endpoints[0].Calls, r.Endpoints[1].Calls, r.Endpoints[1].Reserve = 1, 2, 1 }
	onStage(t, limit, func(st *stage) {
		var talking []*dialog
		for i, name := range []string{"control-room", "standby-room"} {
			d := st.carrier.invite("sip:101@nines", sdpOf(st.carrier, 40000+2*i))
			st.carrier.expect("100 INVITE")
			room := st.rooms[name]
			room.replyBody(room.expect("INVITE"), 200, "x", sdpOf(room, 50000))
			d.ack(st.carrier.expect("200 INVITE"), "")
			room.expect("ACK")
			talking = append(talking, d)
		}
		began := time.Now()
		d := st.carrier.invite("sip:101@nines", sdpOf(st.carrier, 40010)) // the last slot is kept for emergency
		st.carrier.expect("100 INVITE")
		d.ack(st.carrier.expect("486 INVITE"), "")
		within(t, "the routine call was refused", began, 0, atOnce)
		e := st.place() // calls never refuses an emergency call
		m := st.rooms["standby-room"].expect("INVITE")
		st.win(e, st.rooms["standby-room"], m)
		talking[0].bye(st.rooms["control-room"])
		talking[1].bye(st.rooms["standby-room"])
		st.nothingLeft()
	})
}

func TestABrokenConnection(t *testing.T) {
	tcp := func(r *sip.Routing) { r.Endpoints[0].URI = "sip:10.0.1.1:5060;transport=tcp" }
	begin := func(st *stage) (*actor, *dialog, heard) {
		server := newTCPActor(st.t, st.rooms["control-room"].host)
		time.Sleep(time.Minute) // it is up
		d := st.place()
		m := server.expect("INVITE")
		return server, d, m
	}
	for _, code := range []int{0, 100} {
		t.Run(fmt.Sprint("mid-INVITE ", code), func(t *testing.T) {
			onStage(t, tcp, func(st *stage) {
				server, d, m := begin(st)
				defer server.close()
				if code != 0 {
					server.reply(m, code, "")
					time.Sleep(10 * time.Millisecond)
				}
				began := time.Now()
				server.conn.(*streams).hangUp()
				n := st.rooms["standby-room"].expect("INVITE")
				within(t, "the next was asked", began, 0, atOnce)
				st.win(d, st.rooms["standby-room"], n)
				st.nothingLeft()
			})
		})
	}
	t.Run("while it rings", func(t *testing.T) {
		onStage(t, tcp, func(st *stage) {
			server, d, m := begin(st)
			defer server.close()
			server.reply(m, 180, "r")
			st.carrier.expect("180 INVITE")
			began := time.Now()
			server.conn.(*streams).hangUp()
			n := st.rooms["standby-room"].expect("INVITE")
			within(t, "the next was asked as well", began, 0, atOnce)
			st.rooms["standby-room"].reply(n, 180, "s")
			// Its desk was not told: somebody picks up, and the 200 comes by a new connection (RFC 3261 §18.2.2).
			server.redial(st)
			server.replyBody(m, 200, "r", sdpOf(server, 50000), "Contact: <sip:desk@10.0.1.1;transport=tcp>")
			d.ack(st.carrier.until("200 INVITE", "180 INVITE"), "")
			server.expect("ACK")
			st.rooms["standby-room"].reply(st.rooms["standby-room"].expect("CANCEL"), 200, "s")
			st.rooms["standby-room"].reply(n, 487, "s")
			st.rooms["standby-room"].expect("ACK")
			d.bye(server)
			st.nothingLeft()
		})
	})
}

func TestAFourthOfASecondForASuspect(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		first := st.place()
		room.expect("INVITE")
		n := standby.expect("INVITE") // patience was spent: evidence
		standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
		first.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		if got := st.server.Snapshot().Of("control-room").Verdict; got != health.Suspect {
			t.Errorf("control-room is %v after a silent call; want suspect", got)
		}
		began := time.Now()
		second := st.place()
		o := standby.expect("INVITE")
		within(t, "the second caller reached the standby", began, 250*time.Millisecond, 300*time.Millisecond+atOnce) // R5
		standby.replyBody(o, 200, "s2", sdpOf(standby, 50002))
		second.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		first.bye(standby)
		second.bye(standby)
		st.nothingLeft()
	})
}
