package sip_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"nines/policy"
	"nines/sip"
)

// open lets strangers call emergency numbers.
func open(r *sip.Routing) { r.AnswerEmergency = true }

// stranger is somebody on no trunk.
func (st *stage) stranger() *actor { return st.elsewhere("203.0.113.66") }

// hearsAll collects what comes to an actor for a while.
func (a *actor) hearsAll(d time.Duration) (all []heard, bytes int) {
	for end := time.After(d); ; {
		select {
		case m := <-a.in:
			all = append(all, m)
			bytes += len(m.raw)
		case <-end:
			return all, bytes
		}
	}
}

var ourToken = regexp.MustCompile(`n[0-9a-z]+-[0-9a-z]+-[0-9a-z]+-[0-9a-z]{12,13}`)

func TestAStrangerIsRefusedOnceAndInFewerBytes(t *testing.T) {
	onStage(t, open, func(st *stage) {
		scanner := st.stranger()
		defer scanner.close()
		var before string
		for range 2 { // a repeat is answered like the first
			d := &dialog{a: scanner, callID: "scan", local: "<sip:100@x>;tag=1", remote: "<sip:101@nines>", target: "sip:101@nines", branch: "z9hG4bKscan", seq: 1}
			d.write("INVITE", "", "Contact: <sip:100@203.0.113.66>", "User-Agent: friendly-scanner")
			all, bytes := scanner.hearsAll(40 * time.Second)
			if len(all) != 1 || all[0].Status != 403 {
				t.Fatalf("an INVITE for 101 got %d answers, want one 403", len(all))
			}
			if sent := int(scanner.wrote.Swap(0)); bytes > sent {
				t.Errorf("%d bytes were answered with %d", sent, bytes)
			}
			if found := ourToken.Find(all[0].raw); found != nil {
				t.Errorf("the refusal shows %s, which opens the gate", found)
			}
			if before != "" && before != string(all[0].raw) {
				t.Errorf("the repeat got\n%s\nthe first\n%s", all[0].raw, before)
			}
			before = string(all[0].raw)
		}
		scanner.raw("INVITE sip:5@n SIP/2.0\nv:SIP/2.0/UDP 1;branch=z9hG4bKa\nf:<a:b>;tag=1\nt:<a:c>\ni:1\nCSeq:1 INVITE\n\n")
		if all, _ := scanner.hearsAll(5 * time.Second); len(all) > 0 {
			t.Errorf("an INVITE that is shorter than any answer got %s", all[0].raw)
		}
	})
}

func TestAStrangersOtherRequestsGetNoAnswer(t *testing.T) {
	for name, change := range map[string]func(*sip.Routing){"drop": nil, "answer_emergency": open} {
		t.Run(name, func(t *testing.T) {
			onStage(t, change, func(st *stage) {
				caller, _ := st.talk("control-room")
				evil := st.stranger()
				defer evil.close()
				guessed := ourToken.ReplaceAllString(caller.remote, "n0-1-0-3zzzzzzzzzzzz")
				for i, method := range []string{"OPTIONS", "REGISTER", "SUBSCRIBE", "MESSAGE", "CANCEL", "ACK", "BYE", "INFO", "INVITE", "PRACK", "FOO"} {
					d := &dialog{a: evil, callID: "x", local: "<sip:100@x>;tag=1", remote: "<sip:999@nines>", target: "sip:999@nines", branch: fmt.Sprint("z9hG4bKevil", i), seq: 1}
					if method != "INVITE" {
						d.write(method, "")
					}
					d.branch += "guess"
					d.remote = guessed // a token that looks like ours, of a loop that there is
					d.write(method, "")
				}
				if all, _ := evil.hearsAll(20 * time.Second); len(all) > 0 {
					t.Errorf("a stranger was answered with %s", all[0].raw)
				}
				if r, err := st.server.Residue(context.Background()); err != nil || r.Sessions != 1 {
					t.Errorf("%d sessions, %v; want the call that talks", r.Sessions, err)
				}
			})
		})
	}
}

func TestWhoKnowsACallsTagsButIsNotInItIsRefusedOnce(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		evil := st.stranger()
		defer evil.close()
		evil.raw(forged(evil, caller, "INVITE"))
		all, _ := evil.hearsAll(20 * time.Second)
		if len(all) != 1 || all[0].Status != 403 {
			t.Errorf("a forged re-INVITE got %d answers, want one 403, never repeated", len(all))
		}
		st.hangUp(caller, called)
	})
}

// TestAStrangersEmergencyCallIsTaken is a carrier's new address: it rings half a second later than a trunk's, when its INVITE repeats, and is like any other
// call once it has acknowledged the answer.
func TestAStrangersEmergencyCallIsTaken(t *testing.T) {
	onStage(t, func(r *sip.Routing) { open(r); r.Routes[0].Ask = [][]policy.EndpointName{{"control-room"}} }, func(st *stage) {
		carrier, room := st.stranger(), st.rooms["control-room"]
		defer carrier.close()
		invite := func() *dialog {
			carrier.seq = 0
			return carrier.invite("sip:999@nines", sdpOf(carrier, 40000))
		}
		d := invite()
		asked := room.expect("INVITE")
		called := callee(room, asked, "room")
		room.reply(asked, 180, "room")
		carrier.silence(490 * time.Millisecond)
		invite()
		carrier.expect("180 INVITE")
		room.replyBody(asked, 200, "room", sdpOf(room, 50000))
		room.expect("ACK")
		ok := carrier.expect("200 INVITE")

		// Nobody's audio goes to an address that has proven nothing.
		phone, desk := carrier.opens(40000), room.opens(50000)
		defer phone.close()
		defer desk.close()
		near, far := ours(ok.Body)[0], ours(asked.Body)[0]
		desk.says(far)
		if got := phone.hears(); got != "" {
			t.Errorf("before its ACK a stranger heard %q", got)
		}
		d.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		if want, got := desk.says(far), phone.hears(); got != want {
			t.Errorf("after its ACK the caller heard %q, want %q", got, want)
		}
		if want, got := phone.says(near), desk.hears(); got != want {
			t.Errorf("after its ACK the room heard %q, want %q", got, want)
		}
		d.request("BYE", "")
		carrier.expect("200 BYE")
		bye := room.expect("BYE")
		room.reply(bye, 200, "")
		_ = called
		st.nothingLeft()
	})
}

// TestAForgedCallHitsNobody is an INVITE for 999 with the address of somebody who did not send it: what comes back to that address is not much more than
// what was sent in its name.
func TestAForgedCallHitsNobody(t *testing.T) {
	oneInvite := func(st *stage, victim *actor, number string) (sent int) {
		victim.invite("sip:"+number+"@nines", sdpOf(victim, 40000))
		return int(victim.wrote.Load())
	}
	t.Run("it rings", func(t *testing.T) {
		onStage(t, func(r *sip.Routing) { open(r); oneRoom(r) }, func(st *stage) {
			victim, room := st.stranger(), st.rooms["control-room"]
			defer victim.close()
			oneInvite(st, victim, "999")
			room.reply(room.expect("INVITE"), 180, "room")
			if all, _ := victim.hearsAll(10 * time.Minute); len(all) > 0 {
				t.Errorf("the victim got %d messages, the first %s", len(all), all[0].raw)
			}
		})
	})
	t.Run("it is answered", func(t *testing.T) {
		onStage(t, func(r *sip.Routing) { open(r); oneRoom(r) }, func(st *stage) {
			victim, room := st.stranger(), st.rooms["control-room"]
			defer victim.close()
			sent := oneInvite(st, victim, "999")
			asked := room.expect("INVITE")
			room.replyBody(asked, 200, "room", sdpOf(room, 50000))
			room.expect("ACK")
			desk := room.opens(50000)
			defer desk.close()
			ear := victim.opens(40000)
			defer ear.close()
			desk.says(ours(asked.Body)[0])
			if got := ear.hears(); got != "" {
				t.Errorf("the victim heard %q", got)
			}
			all, bytes := victim.hearsAll(5 * time.Minute)
			for _, m := range all {
				if m.Status != 200 || m.Method != "INVITE" {
					t.Errorf("the victim got %s", m.raw)
				}
			}
			if len(all) == 0 || bytes > 5*sent {
				t.Errorf("%d bytes in the victim's name brought %d messages of %d bytes; want the 200, a few times", sent, len(all), bytes)
			}
			room.expect("BYE")
		})
	})
	t.Run("nobody answers", func(t *testing.T) {
		onStage(t, func(r *sip.Routing) { open(r); oneRoom(r) }, func(st *stage) {
			victim, room := st.stranger(), st.rooms["control-room"]
			defer victim.close()
			sent := oneInvite(st, victim, "999")
			room.reply(room.expect("INVITE"), 503, "room")
			all, bytes := victim.hearsAll(5 * time.Minute)
			if len(all) != 1 || all[0].Status != 500 || bytes > sent {
				t.Errorf("%d bytes in the victim's name brought %d messages of %d bytes; want one 500", sent, len(all), bytes)
			}
		})
	})
}

func TestAStrangersCancelIsAnswered(t *testing.T) {
	onStage(t, func(r *sip.Routing) { open(r); oneRoom(r) }, func(st *stage) {
		carrier, room := st.stranger(), st.rooms["control-room"]
		defer carrier.close()
		d := carrier.invite("sip:999@nines", sdpOf(carrier, 40000))
		room.reply(room.expect("INVITE"), 180, "room")
		time.Sleep(10 * time.Millisecond)
		d.cancel()
		carrier.expect("200 CANCEL")
		d.ack(carrier.expect("487 INVITE"), "")
		room.reply(room.expect("CANCEL"), 200, "room")
		carrier.silence(time.Minute)
	})
}

// TestRoutineCallsAreBoundedBySourceAndEmergenciesAreNot: whoever forges a trunk's address, or a trunk that has gone mad, can have so many routine calls.
func TestRoutineCallsAreBoundedBySourceAndEmergenciesAreNot(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		over := make(chan struct{})
		defer close(over)
		for _, name := range []string{"control-room", "standby-room", "partner"} {
			room := st.rooms[name]
			go func() { // ends with the test
				for {
					select {
					case m := <-room.in:
						if m.Method == "INVITE" {
							room.reply(m, 486, "busy")
						}
					case <-over:
						return
					}
				}
			}()
		}
		count := map[string]int{}
		place := func(number string, calls int) {
			for range calls {
				st.carrier.invite("sip:"+number+"@nines", "")
			}
			all, _ := st.carrier.hearsAll(40 * time.Second)
			clear(count)
			seen := map[string]bool{}
			for _, m := range all {
				if m.Status >= 200 && !seen[m.CallID] {
					seen[m.CallID] = true
					count[fmt.Sprint(m.Status)]++
				}
				if _, later := m.Get("Retry-After"); m.Status == 480 && !later {
					t.Errorf("a 480 does not say when to try again: %s", m.raw)
				}
			}
		}
		place("101", 400)
		if count["480"] < 90 || count["480"] > 100 {
			t.Errorf("400 routine calls at once got %v, want about 300 let in", count)
		}
		if got := st.server.Counters(); got.Limited != uint64(count["480"]) {
			t.Errorf("%d are counted as limited, want %d", got.Limited, count["480"])
		}
		place("999", 400)
		if count["480"] > 0 || count["500"] != 400 {
			t.Errorf("400 emergency calls at once got %v, want 500 for each", count)
		}
	})
}

func TestAFloodOfStrangersLeavesRoomForOneWhoCalls999(t *testing.T) {
	onStage(t, func(r *sip.Routing) { open(r); oneRoom(r) }, func(st *stage) {
		scanner, carrier, room := st.stranger(), st.elsewhere("203.0.113.7"), st.rooms["control-room"]
		defer scanner.close()
		defer carrier.close()
		for range 2000 { // of one address
			scanner.invite("sip:00441904@nines", "")
		}
		all, bytes := scanner.hearsAll(time.Second)
		if len(all) > 100 || bytes > int(scanner.wrote.Load()) {
			t.Errorf("2000 INVITEs of %d bytes got %d answers of %d bytes", scanner.wrote.Load(), len(all), bytes)
		}
		carrier.invite("sip:999@nines", sdpOf(carrier, 40000))
		room.expect("INVITE")
		if got := st.server.Counters(); got.Limited < 1900 {
			t.Errorf("%d are counted as limited, want nearly 2000", got.Limited)
		}
	})
}

// TestMalformedInvitesAreInTheBook: those that were mended, with their call, and those that nothing could be made of; a flood of them does not fill it.
func TestMalformedInvitesAreInTheBook(t *testing.T) {
	book := &clerk{keeps: func(r sip.Record) bool { return r.Kind == sip.MessageMalformed }}
	onScene(t, func(sc *scene) { oneRoom(&sc.Routing); sc.server.Observer = book }, func(st *stage) {
		room := st.rooms["control-room"]
		st.carrier.raw("INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:+447700900123@b>\nnonsense\nTo: <sip:999@nines>\nCall-ID: odd\nCSeq: 1 INVITE\n\n")
		room.reply(room.expect("INVITE"), 486, "r")
		st.carrier.until("500 INVITE", "100 INVITE")
		broken := "INVITE sip:999@nines SIP/2.0\n" + strings.Repeat("X: y\n", 2000) + "\n"
		st.carrier.raw(broken)
		time.Sleep(10 * time.Millisecond)
		told := book.all()
		if len(told) != 2 {
			t.Fatalf("%d entries, want one of each", len(told))
		}
		if r := told[0]; r.What != "salvaged" || r.Call == "" || r.CallID != "odd" || r.Trunk != "bt" || r.Caller != "+447700900123" {
			t.Errorf("the salvaged one is told as %+v", r)
		}
		if r := told[1]; r.What != "refused" || r.Trunk != "bt" || len(r.Data) == 0 || len(r.Data) > 2048 || !strings.Contains(r.Why, "too large") {
			t.Errorf("the refused one is told as %s %s %s, %d bytes", r.What, r.Trunk, r.Why, len(r.Data))
		}
		for range 1000 {
			st.carrier.raw(broken)
		}
		time.Sleep(10 * time.Millisecond)
		if n := len(book.all()); n > 40 {
			t.Errorf("a thousand of them made %d entries, want about 30", n)
		}
	})
}

// TestStrangersRingOnlySoOften: a swarm that calls 999 must not take the rooms from the trunks.
func TestStrangersRingOnlySoOften(t *testing.T) {
	onStage(t, func(r *sip.Routing) { open(r); oneRoom(r) }, func(st *stage) {
		swarm := st.stranger()
		defer swarm.close()
		for range 50 {
			swarm.invite("sip:999@nines", "")
		}
		time.Sleep(time.Millisecond)
		if got := st.server.Counters().Calls; got != 20 {
			t.Errorf("50 calls of strangers at once became %d calls, want 20", got)
		}
		time.Sleep(time.Second)
		swarm.invite("sip:999@nines", "")
		time.Sleep(time.Millisecond)
		if got := st.server.Counters().Calls; got != 21 {
			t.Errorf("a second later there are %d calls, want one more", got)
		}
		for range 30 {
			st.carrier.invite("sip:999@nines", "")
		}
		time.Sleep(time.Millisecond)
		if got := st.server.Counters().Calls; got != 51 {
			t.Errorf("with 30 of a trunk there are %d calls, want all of them", got)
		}
	})
}
