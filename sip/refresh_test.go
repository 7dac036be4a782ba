package sip_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"nines/sip"
)

// timed sets a call up whose legs have the session timers that the headers ask for.
func (st *stage) timed(callers, rooms string) (caller, called *dialog, told, asked heard) {
	st.t.Helper()
	st.carrier.present.Store(true)
	room := st.rooms["control-room"]
	lines := func(s string) []string {
		if s == "" {
			return nil
		}
		return strings.Split(s, "\n")
	}
	caller = st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), lines(callers)...)
	st.carrier.expect("100 INVITE")
	asked = room.expect("INVITE")
	called = callee(room, asked, "room")
	room.replyBody(asked, 200, "room", sdpOf(room, 50000), lines(rooms)...)
	told = st.carrier.expect("200 INVITE")
	room.expect("ACK")
	caller.ack(told, "")
	time.Sleep(10 * time.Millisecond)
	return caller, called, told, asked
}

func TestWeRefreshWhereItIsOurPart(t *testing.T) {
	const oursAtRoom = "Require: timer\nSession-Expires: 90;refresher=uac"
	const oursAtCaller = "Supported: timer\nSession-Expires: 90;refresher=uas"
	for _, c := range []struct{ name, callers, rooms, method string }{
		{"the room's leg, by INVITE", "", oursAtRoom, "INVITE"},
		{"the room's leg, by UPDATE", "Supported: timer", oursAtRoom + "\nAllow: INVITE, UPDATE", "UPDATE"},
		{"the caller's leg, by INVITE", oursAtCaller, "", "INVITE"},
		{"the caller's leg, by UPDATE", oursAtCaller + "\nAllow: UPDATE", "Session-Expires: 300;refresher=uas", "UPDATE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				caller, called, told, asked := st.timed(c.callers, c.rooms)
				them, others, before := called.a, st.carrier, asked.Body
				if c.callers != "" && strings.Contains(c.callers, "uas") {
					them, others, before = st.carrier, called.a, told.Body
				}
				for range 3 {
					began := time.Now()
					time.Sleep(30 * time.Second)
					m := them.expect(c.method)
					if took := time.Since(began); took < 44*time.Second || took > 46*time.Second {
						t.Errorf("refreshed after %v; want half of 90 s", took)
					}
					checkHeader(t, m, "Session-Expires", "90;refresher=uac")
					checkHeader(t, m, "Supported", "timer")
					if c.method == "INVITE" && !bytes.Equal(m.Body, before) || c.method == "UPDATE" && len(m.Body) > 0 {
						t.Errorf("a refresh changes nothing, not even the version (RFC 4028 §7.4):\n%s\nwas\n%s", m.raw, before)
					}
					answer := ""
					if c.method == "INVITE" {
						answer = sdpOf(them, 50000)
					}
					them.replyBody(m, 200, "", answer, "Require: timer", "Session-Expires: 90;refresher=uac")
					if c.method == "INVITE" {
						them.expect("ACK")
					}
				}
				others.silence(time.Second)
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

func checkHeader(t *testing.T, m heard, name, want string) {
	t.Helper()
	if got, _ := m.Get(name); got != want {
		t.Errorf("%s is %q, want %q:\n%s", name, got, want, m.raw)
	}
}

func TestARefreshThatIsRefusedEndsNoCall(t *testing.T) {
	for _, code := range []int{0, 408, 481, 491, 500, 503} {
		t.Run(phrase(code), func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				caller, called, _, _ := st.timed("", "Require: timer\nSession-Expires: 90;refresher=uac")
				end := time.After(5 * time.Minute)
				tries := map[uint32]bool{}
				for over := false; !over; {
					select {
					case m := <-called.a.in:
						switch {
						case m.Method == "INVITE" && m.IsRequest():
							tries[m.CSeq] = true
							if code != 0 {
								called.a.reply(m, code, "")
							}
						case m.Method != "ACK":
							t.Fatalf("the room got %s; nobody may end the call (FIELD 1.2):\n%s", m.Method, m.raw)
						}
					case <-end:
						over = true
					}
				}
				if len(tries) < 3 || len(tries) > 200 {
					t.Errorf("%d refreshes in five minutes; it must be tried again, but not like a flood", len(tries))
				}
				st.carrier.silence(time.Millisecond)
				caller.request("BYE", "")
				st.carrier.expect("200 BYE")
				called.a.reply(called.a.skipTo("BYE"), 200, "")
				st.nothingLeft()
			})
		})
	}
}

func phrase(code int) string {
	if code == 0 {
		return "silence"
	}
	return strconv.Itoa(code)
}

func TestARefreshFindsAnotherWayAndALongerInterval(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called, _, asked := st.timed("", "Require: timer\nSession-Expires: 90;refresher=uac\nAllow: INVITE, UPDATE")
		room := called.a
		time.Sleep(30 * time.Second)
		room.reply(room.expect("UPDATE"), 405, "") // it said that it takes UPDATE, and does not
		began := time.Now()
		m := room.expect("INVITE")
		room.reply(m, 422, "", "Min-SE: 200")
		room.expect("ACK")
		m = room.expect("INVITE")
		checkHeader(t, m, "Session-Expires", "200;refresher=uac")
		checkHeader(t, m, "Min-SE", "200")
		if time.Since(began) > time.Second {
			t.Errorf("it took %v; both are tried at once", time.Since(began))
		}
		if !bytes.Equal(m.Body, asked.Body) {
			t.Errorf("a refresh changes nothing:\n%s", m.raw)
		}
		room.replyBody(m, 200, "", sdpOf(room, 50000), "Session-Expires: 200;refresher=uas") // from now on it is the room's part
		room.expect("ACK")
		room.silence(10 * time.Minute)
		st.carrier.silence(time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestA422IsAskedAgainWithALongerInterval(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		room.reply(m, 422, "no", "Min-SE: 300")
		room.expect("ACK")
		again := room.expect("INVITE")
		checkHeader(t, again, "Session-Expires", "300")
		checkHeader(t, again, "Min-SE", "300")
		if again.CallID != m.CallID || again.From != m.From || again.CSeq != m.CSeq+1 || again.ToTag != "" || again.Via.Branch == m.Via.Branch {
			t.Errorf("it is the same call once more (RFC 4028 §7.3, RFC 3261 §8.1.3.5):\n%s\n%s", m.raw, again.raw)
		}
		room.reply(m, 422, "no", "Min-SE: 300") // our ACK was lost
		room.expect("ACK")
		called := callee(room, again, "room")
		room.reply(again, 180, "room")
		st.carrier.expect("180 INVITE")
		st.rooms["standby-room"].silence(35 * time.Second) // past the end of the first INVITE's transaction
		room.replyBody(again, 200, "room", sdpOf(room, 50000), "Session-Expires: 300;refresher=uas")
		ok := st.carrier.expect("200 INVITE")
		if m := room.expect("ACK"); m.CSeq != again.CSeq {
			t.Errorf("the ACK has CSeq %d, want %d", m.CSeq, again.CSeq)
		}
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestA422WithoutEndIsARefusal(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		st.carrier.present.Store(true)
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		for i := range 5 {
			room.reply(room.expect("INVITE"), 422, "no", "Min-SE: "+strconv.Itoa(100+100*i))
			room.expect("ACK")
		}
		m := standby.expect("INVITE")
		if m.Has("Session-Expires") {
			t.Errorf("what one endpoint wants is no other's:\n%s", m.raw)
		}
		called := callee(standby, m, "room")
		standby.replyBody(m, 200, "room", sdpOf(standby, 50000))
		ok := st.carrier.expect("200 INVITE")
		standby.expect("ACK")
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		room.silence(time.Minute)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAReinviteThatPassesSpeaksForItsOwnLegsTimer(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called, _, _ := st.timed("Supported: timer\nSession-Expires: 1800;refresher=uac", "Require: timer\nSession-Expires: 90;refresher=uac")
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact(), "Supported: timer", "Session-Expires: 1800;refresher=uac")
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		checkHeader(t, m, "Session-Expires", "90;refresher=uac")
		called.a.reply(m, 422, "", "Min-SE: 120")
		called.a.expect("ACK")
		m = called.a.expect("INVITE")
		checkHeader(t, m, "Session-Expires", "120;refresher=uac")
		if !strings.Contains(string(m.Body), "c=IN IP4 "+nodeAddr) {
			t.Errorf("the offer is the same:\n%s", m.raw)
		}
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002), "Require: timer", "Session-Expires: 120;refresher=uac")
		ok := st.carrier.expect("200 INVITE")
		checkTimer(t, ok, "1800;refresher=uac")
		caller.ack(ok, "")
		called.a.expect("ACK")
		began := time.Now()
		time.Sleep(30 * time.Second)
		called.a.reply(called.a.expect("INVITE"), 500, "")
		if took := time.Since(began); took < 59*time.Second || took > 61*time.Second {
			t.Errorf("refreshed after %v; the re-INVITE that passed has begun the time anew, want half of 120 s", took)
		}
		called.a.expect("ACK")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestARefreshOfOneSideDoesNotFailBecauseOfTheOther(t *testing.T) {
	for _, c := range []struct {
		method string
		code   int
	}{{"INVITE", 481}, {"INVITE", 488}, {"INVITE", 0}, {"UPDATE", 405}, {"UPDATE", 0}, {"UPDATE", 500}} {
		t.Run(c.method+" "+phrase(c.code), func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				caller, called, told, _ := st.timed("Supported: timer\nSession-Expires: 600;refresher=uac", "")
				body := ""
				if c.method == "INVITE" {
					body = sdpOf(st.carrier, 40000)
				}
				caller.request(c.method, body, st.carrier.contact(), "Supported: timer", "Session-Expires: 600;refresher=uac")
				if c.method == "INVITE" {
					st.carrier.expect("100 INVITE")
				}
				m := called.a.expect(c.method)
				if c.code != 0 {
					called.a.reply(m, c.code, "")
				}
				ok := st.carrier.expect("200 " + c.method)
				checkTimer(t, ok, "600;refresher=uac")
				if c.method == "INVITE" {
					if !bytes.Equal(ok.Body, told.Body) {
						t.Errorf("what counts is told once more:\n%s\nwas\n%s", ok.raw, told.Body)
					}
					caller.ack(ok, "")
				}
				time.Sleep(40 * time.Second)
				for len(called.a.in) > 0 {
					if m := <-called.a.in; m.Method == "BYE" {
						t.Fatalf("the call was ended:\n%s", m.raw)
					}
				}
				st.carrier.silence(time.Millisecond)
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

// TestARescueBringsItsOwnTimer: the room that is lost had a timer, and so has the one that takes the call over; neither is the other's. The caller refreshes
// while nobody is there to be asked, and gets what it wants.
func TestARescueBringsItsOwnTimer(t *testing.T) {
	onStage(t, func(r *sip.Routing) { r.Routes[0].NoRescue = false }, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		room.present.Store(true)
		const callers = "Supported: timer\nSession-Expires: 600;refresher=uac"
		caller, _, told, _ := st.timed(callers, "Require: timer\nSession-Expires: 90;refresher=uac")
		time.Sleep(5 * time.Second) // it is known to answer
		room.mute.Store(true)
		m := standby.expect("INVITE")
		if m.Has("Session-Expires") {
			t.Errorf("the lost room's timer is not the next one's:\n%s", m.raw)
		}
		caller.request("INVITE", sdpOf(st.carrier, 40000), append(strings.Split(callers, "\n"), st.carrier.contact())...)
		ok := st.carrier.expect("200 INVITE")
		checkTimer(t, ok, "600;refresher=uac")
		if !bytes.Equal(ok.Body, told.Body) {
			t.Errorf("what counts is told once more:\n%s\nwas\n%s", ok.raw, told.Body)
		}
		caller.ack(ok, "")
		standby.present.Store(true)
		called := callee(standby, m, "next")
		standby.replyBody(m, 200, "next", sdpOf(standby, 50000), "Require: timer", "Session-Expires: 120;refresher=uac")
		standby.expect("ACK")
		began := time.Now()
		time.Sleep(30 * time.Second)
		refresh := standby.expect("INVITE")
		if took := time.Since(began); took < 59*time.Second || took > 61*time.Second {
			t.Errorf("refreshed after %v; want half of 120 s", took)
		}
		checkHeader(t, refresh, "Session-Expires", "120;refresher=uac")
		standby.replyBody(refresh, 200, "", sdpOf(standby, 50000), "Session-Expires: 120;refresher=uas")
		standby.expect("ACK")
		st.carrier.silence(time.Millisecond)
		for len(room.in) > 0 { // its BYE, which it does not answer
			if m := <-room.in; m.Method != "BYE" {
				t.Errorf("the lost room got %s", kind(m.Message))
			}
		}
		st.hangUp(caller, called)
	})
}
