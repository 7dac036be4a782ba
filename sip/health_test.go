package sip_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"nines/health"
	"nines/internal/town"
	"nines/policy"
	"nines/sip"
)

// verdict is what the server believes now.
func (st *stage) verdict(name health.EndpointName) health.Verdict {
	return st.server.Snapshot().Of(name).Verdict
}

// believes checks a verdict.
func (st *stage) believes(name health.EndpointName, want health.Verdict, when string) {
	st.t.Helper()
	if got := st.verdict(name); got != want {
		st.t.Errorf("%s is %v %s; want %v", name, got, when, want)
	}
}

// pings sends an OPTIONS as a carrier does, and gives the code of the answer.
func (a *actor) pings() int {
	a.t.Helper()
	a.seq++
	d := &dialog{
		a: a, callID: fmt.Sprint("ping", a.seq), local: "<sip:bt@x>;tag=1", remote: "<sip:nines>", target: "sip:nines",
		branch: fmt.Sprint("z9hG4bKping", a.seq), seq: 1,
	}
	d.write("OPTIONS", "")
	select {
	case m := <-a.in:
		return m.Status
	case <-time.After(time.Second):
		return 0
	}
}

func TestWhatAnOptionsCodeMeans(t *testing.T) {
	for _, c := range []struct {
		code int
		want health.Verdict
	}{
		{200, health.Up},
		{202, health.Up},
		{302, health.Up},
		{401, health.Up},
		{403, health.Up},
		{404, health.Up},
		{405, health.Up},
		{481, health.Up},
		{486, health.Up},
		{501, health.Up},
		{603, health.Up},
		{408, health.Down},
		{500, health.Down},
		{503, health.Down},
		{504, health.Down},
	} {
		t.Run(fmt.Sprint(c.code), func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				st.rooms["control-room"].ping.Store(int32(c.code)) //nolint:gosec // a status code
				time.Sleep(6 * time.Second)
				st.believes("control-room", c.want, fmt.Sprintf("when it answers OPTIONS with %d", c.code))
				st.believes("standby-room", health.Up, "all the while")
			})
		})
	}
}

func TestAnEndpointGoesDownAndEarnsItsWayBack(t *testing.T) {
	for _, how := range []string{"silent", "black hole", "port closed", "host gone"} {
		t.Run(how, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				room := st.rooms["control-room"]
				back := func() {}
				switch how {
				case "silent":
					room.mute.Store(true)
					back = func() { room.mute.Store(false) }
				case "black hole":
					room.host.Power(town.Dead)
					back = func() { room.host.Power(town.On) }
				case "port closed":
					room.close()
					back = func() { st.rooms["control-room"] = newActor(t, room.host) }
				case "host gone":
					room.host.Power(town.Off)
					back = func() { room.host.Power(town.On) }
				}
				time.Sleep(5 * time.Second)
				st.believes("control-room", health.Down, "after three probes were missed")
				d := st.place()
				began := time.Now()
				n := st.rooms["standby-room"].expect("INVITE")
				within(t, "the standby was asked", began, 0, atOnce) // down: asked last
				st.win(d, st.rooms["standby-room"], n)
				back()
				time.Sleep(15 * time.Second)
				st.believes("control-room", health.Down, "before its hold-down of 30 s has passed")
				time.Sleep(25 * time.Second)
				st.believes("control-room", health.Up, "with good probes and hold-down behind it")
				d = st.place()
				m := st.rooms["control-room"].expect("INVITE")
				st.win(d, st.rooms["control-room"], m)
				st.nothingLeft()
			})
		})
	}
}

func TestWhatACallTellsOfAnEndpoint(t *testing.T) {
	for _, c := range []struct {
		say  int
		want health.Verdict
	}{
		{500, health.Suspect},
		{503, health.Suspect},
		{408, health.Suspect},
		{404, health.Up},
		{484, health.Up},
		{488, health.Up},
		{606, health.Up},
		{486, health.Up},
		{480, health.Up},
	} {
		t.Run(fmt.Sprint(c.say), func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				room, standby := st.rooms["control-room"], st.rooms["standby-room"]
				d := st.place()
				room.reply(room.expect("INVITE"), c.say, "r")
				room.expect("ACK")
				st.win(d, standby, standby.expect("INVITE"))
				st.believes("control-room", c.want, fmt.Sprintf("after it refused a call with %d", c.say))
				next, busy := room, policy.Busy(c.say)
				if busy { // as good as full for 5 s (R14): its neighbour comes first
					next = standby
				}
				d = st.place()
				st.win(d, next, next.expect("INVITE"))
				if busy {
					time.Sleep(5 * time.Second)
					d = st.place()
					st.win(d, room, room.expect("INVITE"))
				}
				st.nothingLeft()
			})
		})
	}
	t.Run("the caller's CANCEL is neutral", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			d := st.place()
			m := st.rooms["control-room"].expect("INVITE")
			time.Sleep(500 * time.Millisecond)
			d.cancelled()
			st.believes("control-room", health.Up, "after a caller cancelled")
			st.rooms["control-room"].reply(m, 487, "r")
			st.rooms["control-room"].until("ACK", "INVITE")
			st.nothingLeft()
		})
	})
	t.Run("silence counts also where nobody else is left", func(t *testing.T) {
		onStage(t, oneRoom, func(st *stage) {
			d := st.place()
			m := st.rooms["control-room"].expect("INVITE")
			time.Sleep(1100 * time.Millisecond)
			st.believes("control-room", health.Suspect, "after a second without a word")
			st.rooms["control-room"].reply(m, 100, "")
			time.Sleep(5 * time.Second)
			st.win(d, st.rooms["control-room"], m)
			st.nothingLeft()
		})
	})
}

func TestEverythingSilentAtOnceMovesNothing(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		for _, r := range st.rooms {
			r.mute.Store(true)
		}
		time.Sleep(time.Minute)
		for _, name := range []health.EndpointName{"control-room", "standby-room", "partner"} {
			if got := st.verdict(name); got == health.Down {
				t.Errorf("%s is down, but everything was silent at once, trunks too: that is our own link (R13)", name)
			}
		}
		if st.server.Snapshot().Self == "" {
			t.Error("we must say that we suspect ourselves")
		}
		// The carrier is heard: our link is alive, so the silence is theirs.
		for range 20 {
			if got := st.carrier.pings(); got != 200 {
				t.Errorf("OPTIONS got %d", got)
			}
			time.Sleep(500 * time.Millisecond)
		}
		st.believes("control-room", health.Down, "when the trunk is heard and it is not")
	})
}

// pause is an observer that holds loop 0 up.
type pause struct {
	sip.Observer
	next atomic.Int64 // nanoseconds
}

func (p *pause) Probed(health.Probe) {
	if d := p.next.Swap(0); d > 0 {
		time.Sleep(time.Duration(d))
	}
}

func (*pause) Heard(policy.TrunkName) {}

func (*pause) Noticed(health.Notice) {}

func (*pause) Recorded(sip.Record) {}

func TestOurOwnStallVoidsTheEvidence(t *testing.T) {
	for _, stall := range []time.Duration{100 * time.Millisecond, 1500 * time.Millisecond} {
		t.Run(fmt.Sprint(stall), func(t *testing.T) {
			p := &pause{}
			onScene(t, func(sc *scene) { sc.server.Observer = p }, func(st *stage) {
				room := st.rooms["control-room"]
				room.mute.Store(true)
				for st.verdict("control-room") != health.Suspect {
					time.Sleep(10 * time.Millisecond)
				}
				p.next.Store(int64(stall))
				time.Sleep(stall + 1200*time.Millisecond)
				room.mute.Store(false)
				time.Sleep(3 * time.Second)
				stalls := st.server.Counters().Stalls
				if long := stall > time.Second; long != (stalls > 0) {
					t.Errorf("%d stalls counted after one of %v; they count from 300 ms (R13)", stalls, stall)
				}
				e, err := st.server.Explain(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if got := e[0].Verdict; stall > time.Second && got != health.Up {
					t.Errorf("control-room is %v: %s; evidence from a stall of ours does not count", got, e[0].Evidence)
				}
			})
		})
	}
}

func TestAReloadKeepsVerdictsSlotsAndCalls(t *testing.T) {
	var first sip.Routing
	onStage(t, func(r *sip.Routing) { r.Endpoints[1].Calls = 5; first = *r }, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		room.mute.Store(true)
		time.Sleep(5 * time.Second)
		st.believes("control-room", health.Down, "before the reload")
		d := st.place()
		m := standby.expect("INVITE")
		standby.reply(m, 180, "s")
		st.carrier.expect("180 INVITE")
		// The new file knows no partner, and another class for 101; the standby room is gone.
		next := first
		next.Endpoints = first.Endpoints[:1]
		next.Routes = []policy.Route{first.Routes[0]}
		next.Routes[0].Ask = [][]policy.EndpointName{{"control-room"}}
		next.Health.Endpoints = []health.Endpoint{{Name: "control-room"}}
		if err := st.server.Swap(next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		st.believes("control-room", health.Down, "after the reload")
		standby.replyBody(m, 200, "s", sdpOf(standby, 50000)) // the call in progress keeps its plan
		d.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		if got := st.server.Used("standby-room"); got != 1 {
			t.Errorf("standby-room has %d calls; a call in progress is still counted", got)
		}
		e := st.place()
		n := room.expect("INVITE")
		e.cancelled()
		room.reply(n, 487, "r")
		room.expect("ACK")
		if err := st.server.Swap(first); err != nil { // and back
			t.Fatal(err)
		}
		if got := st.server.Used("standby-room"); got != 1 {
			t.Errorf("standby-room has %d calls after it came back; want the one that talks", got)
		}
		d.bye(standby)
		if got := st.server.Used("standby-room"); got != 0 {
			t.Errorf("standby-room has %d calls after the BYE", got)
		}
		bad := first
		bad.Endpoints = []sip.Endpoint{{Endpoint: policy.Endpoint{Name: "x"}, URI: ""}}
		if err := st.server.Swap(bad); err == nil {
			t.Error("an endpoint without a URI was accepted")
		}
		f := st.place() // the running routing stays
		n = standby.expect("INVITE")
		f.cancelled()
		standby.reply(n, 487, "s")
		standby.expect("ACK")
		room.mute.Store(false)
		st.nothingLeft()
	})
}

func TestATruthfulNodeSaysThatCallsFail(t *testing.T) {
	fail := func(st *stage) {
		d := st.place()
		room := st.rooms["control-room"]
		room.reply(room.expect("INVITE"), 500, "r")
		room.expect("ACK")
		d.ack(st.carrier.expect("500 INVITE"), "")
	}
	for _, truthful := range []bool{true, false} {
		t.Run(fmt.Sprint(truthful), func(t *testing.T) {
			onStage(t, func(r *sip.Routing) { oneRoom(r); r.Trunks[0].Truthful = truthful }, func(st *stage) {
				want := func(code int, when string) {
					t.Helper()
					if !truthful {
						code = 200
					}
					if got := st.carrier.pings(); got != code {
						t.Errorf("OPTIONS got %d %s; want %d", got, when, code)
					}
				}
				want(200, "before anything failed")
				fail(st)
				want(200, "after one call failed")
				time.Sleep(5 * time.Second)
				fail(st)
				want(200, "when calls have failed for 5 s")
				time.Sleep(5 * time.Second)
				fail(st)
				want(500, "when calls have failed for 10 s")
				d := st.place()
				m := st.rooms["control-room"].expect("INVITE")
				st.win(d, st.rooms["control-room"], m)
				want(200, "when a call was answered")
				fail(st)
				time.Sleep(10 * time.Second)
				fail(st)
				want(500, "when calls fail again")
				time.Sleep(time.Minute + time.Second)
				want(200, "a minute later: who is told 500 sends no calls, and only calls can show that they are answered")
				fail(st)
				want(200, "when one failed after a long time")
			})
		})
	}
}

func TestADrainingNodeStillTakesCalls(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		st.server.Drain()
		if got := st.carrier.pings(); got != 0 {
			t.Errorf("OPTIONS got %d; a draining node stops answering (R19)", got)
		}
		d := st.place()
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		st.win(d, room, m)
		caller.request("OPTIONS", "") // inside a call it is the call's
		room.reply(room.expect("OPTIONS"), 200, "")
		st.carrier.expect("200 OPTIONS")
		caller.bye(called.a)
		st.nothingLeft()
	})
}

func TestAnEndpointMayPingUs(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		if got := st.rooms["control-room"].pings(); got != 200 {
			t.Errorf("OPTIONS from an endpoint got %d, want 200", got)
		}
		d := &dialog{
			a: st.rooms["control-room"], callID: "call", local: "<sip:desk@x>;tag=1", remote: "<sip:nines>", target: "sip:999@nines",
			branch: "z9hG4bKnotrunk", seq: 1,
		}
		d.inviteBranch, d.inviteSequence = d.branch, 1
		d.write("INVITE", "", "Contact: <sip:desk@10.0.1.1>")
		d.ack(st.rooms["control-room"].expect("403 INVITE"), "") // it is no trunk, and shall know it
		st.nothingLeft()
	})
}

func TestATCPEndpointIsProbedByTCP(t *testing.T) {
	onStage(t, func(r *sip.Routing) { r.Endpoints[0].URI = "sip:10.0.1.1:5060;transport=tcp" }, func(st *stage) {
		time.Sleep(3 * time.Second)
		st.believes("control-room", health.Down, "while nobody listens for TCP")
		server := newTCPActor(t, st.rooms["control-room"].host)
		defer server.close()
		time.Sleep(time.Minute)
		st.believes("control-room", health.Up, "after half a minute of answers")
		server.mute.Store(true)
		time.Sleep(5 * time.Second)
		st.believes("control-room", health.Down, "when it takes connections and says nothing")
	})
}
