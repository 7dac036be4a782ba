package sip_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// actor puts somebody who speaks raw SIP in the place of a room's phone.
func (w *ward) actor(room string) *actor {
	w.t.Helper()
	w.rooms[room].Close()
	delete(w.rooms, room)
	a := newActor(w.t, w.hosts[room])
	w.t.Cleanup(a.close)
	return a
}

// stays checks that the caller's call goes on.
func (w *ward) stays(c *town.Call) {
	w.t.Helper()
	if r := c.Record(); r.End != town.NotYet {
		w.t.Errorf("the caller's call ended (%v, asked inside it: %v); want that it stays", r.End, r.Requests)
	}
}

// TestARescueThatIsAnsweredUselesslyGoesOnElsewhere: an answer that the caller could not hear is none. It is ACKed and BYEd, and the next one is asked.
func TestARescueThatIsAnsweredUselesslyGoesOnElsewhere(t *testing.T) {
	describe := func(media string) func(a *actor) string {
		return func(a *actor) string {
			return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\n%[2]s", a.addr.Addr(), media)
		}
	}
	tests := []struct {
		name string
		body func(a *actor) string
	}{
		{"no SDP", func(*actor) string { return "" }},
		{"a codec that was never offered", describe("m=audio 50000 RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n")},
		{"a payload number that was never offered", describe("m=audio 50000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n")},
		{"port 0", describe("m=audio 0 RTP/AVP 8\r\n")},
		{"another kind of stream", describe("m=video 50002 RTP/AVP 8\r\n")},
		{"no stream at all", describe("")},
		{"nothing that is SDP", func(*actor) string { return "hello" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWard(t, nil, func(w *ward) {
				standby := w.actor("standby-room")
				c := w.call()
				w.rooms["control-room"].Kill()
				m := standby.expect("INVITE")
				standby.replyBody(m, 200, "s", tt.body(standby))
				standby.expect("ACK")
				bye := standby.expect("BYE")
				standby.reply(bye, 200, "s")
				w.movesWithin(c, "partner", time.Second)
				if r := c.Record(); strings.Contains(fmt.Sprint(r.Requests), "INVITE") {
					t.Errorf("the caller was asked again (%v) for an answer that was useless", r.Requests)
				}
			})
		})
	}
}

// TestARescueThatIsAnsweredWithAnotherNumberOfStreamsKeepsTheCall: somebody has picked up, so the caller gets them; it is never told a number of streams
// that it can't have (RFC 3264 §6, §8).
func TestARescueThatIsAnsweredWithAnotherNumberOfStreamsKeepsTheCall(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		standby := w.actor("standby-room")
		standby.present.Store(true)
		c := w.call()
		w.rooms["control-room"].Kill()
		m := standby.expect("INVITE")
		standby.replyBody(m, 200, "s", sdpOf(standby, 50000, "m=video 50002 RTP/AVP 34", "m=text 50004 RTP/AVP 98"))
		standby.expect("ACK")
		standby.silence(5 * time.Second)
		w.stays(c)
		for _, text := range c.Record().SDP {
			if n := strings.Count(text, "m="); n != 1 {
				t.Errorf("the caller offered one stream and was told %d:\n%s", n, text)
			}
		}
		c.Clear()
		standby.reply(standby.expect("BYE"), 200, "s")
	})
}

// TestTwoAnswersToARescueInTheSameInstant: one has the call, the other is ACKed and BYEd. The caller hears of neither.
func TestTwoAnswersToARescueInTheSameInstant(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		standby, partner := w.actor("standby-room"), w.actor("partner")
		standby.present.Store(true)
		partner.present.Store(true)
		c := w.call()
		w.rooms["control-room"].Kill()
		first := standby.expect("INVITE")
		second := partner.expect("INVITE") // after a second of silence
		standby.replyBody(first, 200, "s", sdpOf(standby, 50000))
		partner.replyBody(second, 200, "p", sdpOf(partner, 50000))
		standby.skipTo("ACK") // after repeats of its INVITE
		partner.expect("ACK")
		var winner, loser *actor
		select {
		case m := <-standby.in:
			winner, loser = partner, standby
			standby.reply(m, 200, "s")
		case m := <-partner.in:
			winner, loser = standby, partner
			partner.reply(m, 200, "p")
		case <-time.After(5 * time.Second):
			t.Fatal("both answered, and nobody was told to go")
		}
		winner.silence(5 * time.Second)
		loser.silence(5 * time.Second)
		w.stays(c)
		c.Clear()
		winner.reply(winner.expect("BYE"), 200, "")
	})
}

// byes sends a BYE inside the dialog that an INVITE of nines made at an actor.
func (a *actor) byes(m heard, extra string) {
	a.t.Helper()
	a.send(nodeUDP, fmt.Sprintf("BYE sip:nines@%s SIP/2.0\nVia: SIP/2.0/UDP %s;branch=z9hG4bKbye%d\nMax-Forwards: 70\nFrom: %s;tag=%s\nTo: %s\nCall-ID: %s\nCSeq: 77 BYE\n%s",
		nodeUDP, a.addr, time.Now().UnixNano(), m.To, "r", m.From, m.CallID, extra), "")
}

// TestAByeThatLiesAboutItsReason: R23. A room that lives means its BYE, whatever Reason it gives; one that does not answer the probe has died, and the
// caller never hears of it.
func TestAByeThatLiesAboutItsReason(t *testing.T) {
	for _, reason := range []string{"Q.850;cause=38", "Q.850 ;cause=41;text=\"x\"", "q.850;cause=42", "SIP;cause=200, Q.850;cause=38"} {
		for _, lives := range []bool{true, false} {
			t.Run(fmt.Sprint(reason, lives), func(t *testing.T) {
				inWard(t, nil, func(w *ward) {
					room := w.actor("control-room")
					room.present.Store(true)
					done := make(chan heard, 1)
					go func() {
						m := <-room.in
						room.replyBody(m, 200, "r", sdpOf(room, 50000))
						done <- m
					}()
					c := w.call()
					m := <-done
					room.expect("ACK")
					if !lives {
						room.mute.Store(true)
					}
					began := time.Now()
					room.byes(m, "Reason: "+reason)
					room.expect("200 BYE") // at once, whatever becomes of the call
					if got := time.Since(began); got > 50*time.Millisecond {
						t.Errorf("its BYE was answered after %v", got)
					}
					time.Sleep(2 * time.Second)
					if lives {
						if r := c.Record(); r.End != town.ByPeer || r.Ended.Sub(began) > 700*time.Millisecond {
							t.Errorf("the room lives and has hung up; the caller's call: %v after %v", r.End, r.Ended.Sub(began))
						}
						return
					}
					w.stays(c)
					if n := w.talking("standby-room"); n != 1 {
						t.Errorf("the standby talks to %d callers; the room died with a BYE, so it has its call", n)
					}
				})
			})
		}
	}
}

// TestWhatTheCallerAsksDuringARescueKeepsTheCall: a re-INVITE, an UPDATE, an INFO, a REFER while nobody is there to answer.
func TestWhatTheCallerAsksDuringARescueKeepsTheCall(t *testing.T) {
	tests := []struct {
		name string
		ask  func(*town.Call) <-chan int
	}{
		{"re-INVITE", func(c *town.Call) <-chan int { return c.Reinvite("sendrecv") }},
		{"hold", func(c *town.Call) <-chan int { return c.Reinvite("sendonly") }},
		{"UPDATE", func(c *town.Call) <-chan int { return c.Update("sendrecv") }},
		{"INFO", func(c *town.Call) <-chan int { return c.Ask("INFO", "application/dtmf-relay", []byte("Signal=1\r\n")) }},
		{"REFER", func(c *town.Call) <-chan int { return c.Ask("REFER", "", nil) }},
		{"OPTIONS", func(c *town.Call) <-chan int { return c.Ask("OPTIONS", "", nil) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWard(t, nil, func(w *ward) {
				w.rooms["standby-room"].Script(town.Always(town.Answers(8 * time.Second)))
				w.rooms["partner"].Script(town.Always(town.Refuses(486, 0)))
				c := w.call()
				w.hosts["control-room"].Power(town.Dead)
				time.Sleep(5 * time.Second)
				if n := w.server.Counters().Rescues; n != 1 {
					t.Fatalf("%d rescues, want 1", n)
				}
				code := tt.ask(c)
				began := time.Now()
				var got int
				select {
				case got = <-code:
				case <-time.After(40 * time.Second):
					t.Fatal("the caller got no answer")
				}
				if after := time.Since(began); after > time.Second {
					t.Errorf("the caller was answered %d after %v; nobody else can answer, so we do, at once", got, after)
				}
				if got == 408 || got == 481 || got/100 == 6 {
					t.Errorf("the caller was told %d; its phone may end the call on that", got)
				}
				time.Sleep(15 * time.Second)
				w.stays(c)
				if n := w.talking("standby-room"); n != 1 {
					t.Errorf("the standby talks to %d callers, want the one that was moved", n)
				}
				if tt.name != "hold" {
					if v := c.Record().Voice; time.Since(v.Last) > time.Second {
						t.Errorf("the caller has heard nobody for %v", time.Since(v.Last))
					}
				}
				c.Clear()
				time.Sleep(40 * time.Second)
				if n := w.talking("standby-room"); n != 0 {
					t.Errorf("%d calls are left at the standby", n)
				}
			})
		})
	}
}

// TestACallerWhoLeavesDuringARescueLeavesNothing: BYE while nobody, somebody silent, or somebody ringing is asked.
func TestACallerWhoLeavesDuringARescueLeavesNothing(t *testing.T) {
	for name, does := range map[string]town.Behaviour{"silent": town.Ignores(), "tries": town.TriesOnly(), "rings": town.Rings(0), "refuses": town.Refuses(486, 0)} {
		t.Run(name, func(t *testing.T) {
			inWard(t, nil, func(w *ward) {
				for _, r := range []string{"standby-room", "partner"} {
					w.rooms[r].Script(town.Always(does))
				}
				c := w.call()
				w.rooms["control-room"].Kill()
				time.Sleep(3 * time.Second)
				c.Clear()
				time.Sleep(2 * time.Minute)
				asked := w.rooms["standby-room"].Heard("INVITE") + w.rooms["partner"].Heard("INVITE")
				if asked == 0 {
					t.Error("nobody was asked; this test shows nothing")
				}
				for _, r := range []string{"standby-room", "partner"} {
					if a, b, talking := w.rooms[r].Live(); name != "silent" && a+b+talking != 0 {
						t.Errorf("%s still has a call (%d asked, %d ringing, %d talking) after the caller has left", r, a, b, talking)
					}
				}
				if got := w.server.Counters(); got.LostTalking != 1 || got.Active != 0 {
					t.Errorf("lost while talking %d, active %d; want 1 and 0", got.LostTalking, got.Active)
				}
				time.Sleep(time.Minute)
				if n := w.rooms["standby-room"].Heard("INVITE") + w.rooms["partner"].Heard("INVITE"); n != asked {
					t.Errorf("%d INVITEs after the caller left", n-asked)
				}
				if used := w.relay.Stats().InUse; used != 0 {
					t.Errorf("%d media ports are still in use", used)
				}
			})
		})
	}
}
