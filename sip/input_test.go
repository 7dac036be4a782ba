package sip_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nines/call"
	"nines/internal/town"
	"nines/policy"
	"nines/sip"
	"nines/sip/wire"
)

func TestGarbageIsDroppedAndCounted(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		for _, text := range []string{
			"", "\n\n", "\x00\x00\x00\x00", "hello", "GET / HTTP/1.1\nHost: x\n\n", "INVITE\n\n", "SIP/2.0\n\n", "SIP/2.0 xyz OK\n\n", strings.Repeat("A", 60000),
			"\xff\xfe\xfd", "SIP/2.0 200 OK\n\n", "SIP/2.0 180 Ringing\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKn0-1-1-3o3cun43rfmuj\nCSeq: 1 INVITE\n\n",
		} {
			st.carrier.raw(text)
		}
		st.carrier.silence(5 * time.Second)
		d := st.place() // and calls go on
		room := st.rooms["control-room"]
		st.win(d, room, room.expect("INVITE"))
		st.nothingLeft()
	})
}

func TestAMalformedInviteFromATrunkIsRouted(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"only a request line", "INVITE sip:999@nines SIP/2.0\n\n"},
		{"a line without colon", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nnonsense\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 1 INVITE\n\n"},
		{"no Via", "INVITE sip:999@nines SIP/2.0\nFrom: <sip:a@b>;tag=1\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 1 INVITE\n\n"},
		{"no From", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 1 INVITE\n\n"},
		{"no From tag", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 1 INVITE\n\n"},
		{"no To", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nCall-ID: x\nCSeq: 1 INVITE\n\n"},
		{"no Call-ID", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:999@nines>\nCSeq: 1 INVITE\n\n"},
		{"no CSeq", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:999@nines>\nCall-ID: x\n\n"},
		{"a huge CSeq", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 99999999999 INVITE\n\n"},
		{"an open quote", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: \"A <sip:a@b>;tag=1\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 1 INVITE\n\n"},
		{"a double blank", "INVITE  sip:999@nines  SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 1 INVITE\n\n"},
		{"a bad Contact", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 1 INVITE\nContact: <<>>\n\n"},
		{"a body that is too short", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 1 INVITE\nContent-Type: application/sdp\nContent-Length: 5000\n\nv=0\n"},
		{"broken SDP", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 1 INVITE\nContent-Type: application/sdp\n\nm=\nc=IN\nm=audio x y\n"},
		{"a To tag of nobody's", "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\nFrom: <sip:a@b>;tag=1\nTo: <sip:999@nines>\nCall-ID: x\nCSeq: 1 INVITE\nMax-Forwards: many\nDate: \n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, oneRoom, func(st *stage) {
				room := st.rooms["control-room"]
				st.carrier.raw(c.text)
				m := room.expect("INVITE")
				if !strings.HasPrefix(m.URI, "sip:999@") {
					t.Errorf("the Request-URI is %s", m.URI)
				}
				room.reply(m, 486, "r")
				room.expect("ACK")
				st.carrier.until("500 INVITE", "100 INVITE")
				st.nothingLeft()
			})
		})
	}
}

func TestALargeInvitePasses(t *testing.T) {
	onStage(t, oneRoom, func(st *stage) {
		room := st.rooms["control-room"]
		pidf := strings.Repeat("x", 55000)
		body := "--b\r\nContent-Type: application/sdp\r\n\r\n" + sdpOf(st.carrier, 40000) + "\r\n--b\r\nContent-Type: application/pidf+xml\r\n\r\n" + pidf + "\r\n--b--\r\n"
		var extra []string
		for i := range 200 {
			extra = append(extra, fmt.Sprintf("X-Header-%d: value %d", i, i))
		}
		d := st.carrier.invite("sip:999@nines", body, append(extra, "Content-Type: multipart/mixed;boundary=b")...)
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		if !bytes.Contains(m.Body, []byte(pidf)) || !bytes.Contains(m.raw, []byte("X-Header-199: value 199\r\n")) {
			t.Errorf("%d bytes came through; want the whole", len(m.raw))
		}
		st.win(d, room, m)
		st.nothingLeft()
	})
}

func TestTokensThatOnlyLookLikeOursMeetNobody(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		tags := []string{
			"n0-1-0-3zzzzzzzzzzzz", "n1-1-0-3zzzzzzzzzzzz", "n1-1-1-3zzzzzzzzzzzz", "n1-1-2-3zzzzzzzzzzzz", "n63-1-0-3zzzzzzzzzzzz", "n1-zzzzzzzzzzzz-0-3zzzzzzzzzzzz",
			"n1-1-1ekf-3zzzzzzzzzzzz", "n99-1-0-3zzzzzzzzzzzz", "n---", "n1-1-0-", "n1-0-0-3zzzzzzzzzzzz", "",
		}
		for i, tag := range tags {
			for _, method := range []string{"BYE", "INVITE", "INFO", "UPDATE", "PRACK", "OPTIONS", "FOO"} {
				if tag == "" && (method == "INVITE" || method == "OPTIONS" || method == "FOO") {
					continue
				}
				d := &dialog{
					a: st.carrier, callID: caller.callID, local: caller.local, remote: "<sip:999@nines>;tag=" + tag, target: "sip:nines",
					branch: fmt.Sprintf("z9hG4bKlook%d%s", i, method), seq: 50, inviteBranch: fmt.Sprintf("z9hG4bKlook%d%s", i, method), inviteSequence: 50,
				}
				d.write(method, "")
				m := st.carrier.expect("481 " + method)
				if method == "INVITE" {
					d.ack(m, "")
				}
			}
			// A response to nobody's request.
			st.carrier.raw("SIP/2.0 200 OK\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK" + tag + "\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>;tag=2\nCall-ID: x\nCSeq: 1 INVITE\n\n")
		}
		// The right tag with another Call-ID, or another From tag, is not the dialog.
		for i, change := range []func(*dialog){
			func(d *dialog) { d.callID = "other" },
			func(d *dialog) { d.local = "<sip:x@y>;tag=other" },
		} {
			d := *caller
			d.branch, d.seq = fmt.Sprint("z9hG4bKnear", i), 60
			change(&d)
			d.write("BYE", "")
			st.carrier.expect("481 BYE")
		}
		caller.bye(called.a)
		st.nothingLeft()
	})
}

func TestTheSameCallIDFromTwoTrunksIsTwoCalls(t *testing.T) {
	onStage(t, func(r *sip.Routing) {
		r.Trunks = append(r.Trunks, sip.Trunk{Trunk: policy.Trunk{Name: "other"}, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.8/32")}})
	}, func(st *stage) {
		other := newActor(t, st.net.Host("other", netip.MustParseAddr("10.0.0.8")))
		defer other.close()
		room := st.rooms["control-room"]
		// Everything the same, sent-by and branch included.
		text := "INVITE sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP sbc.example;branch=z9hG4bKsame;rport\nFrom: <sip:a@carrier>;tag=f\nTo: <sip:999@nines>\nCall-ID: same\nCSeq: 1 INVITE\nContact: <sip:c@%s>\n\n"
		st.carrier.raw(fmt.Sprintf(text, "10.0.0.9"))
		other.raw(fmt.Sprintf(text, "10.0.0.8"))
		m, n := room.expect("INVITE"), room.expect("INVITE")
		if m.CallID == n.CallID {
			t.Error("two calls went out with one Call-ID")
		}
		st.carrier.expect("100 INVITE")
		other.expect("100 INVITE")
		room.reply(m, 180, "m")
		room.reply(n, 180, "n")
		st.carrier.expect("180 INVITE")
		other.expect("180 INVITE")
		cancel := "CANCEL sip:999@nines SIP/2.0\nVia: SIP/2.0/UDP sbc.example;branch=z9hG4bKsame;rport\nFrom: <sip:a@carrier>;tag=f\nTo: <sip:999@nines>\nCall-ID: same\nCSeq: 1 CANCEL\n\n"
		other.raw(cancel)
		other.expect("200 CANCEL")
		other.expect("487 INVITE")
		c := room.expect("CANCEL")
		room.reply(c, 200, "x")
		st.carrier.silence(300 * time.Millisecond) // the other's CANCEL is not ours
		st.carrier.raw(cancel)
		st.carrier.expect("200 CANCEL")
		st.carrier.until("487 INVITE")
		room.reply(room.expect("CANCEL"), 200, "x")
		room.reply(m, 487, "m")
		room.reply(n, 487, "n")
		room.expect("ACK")
		room.expect("ACK")
		st.nothingLeft()
	})
}

func TestACallWhoseEveryPacketComesTwice(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		st.net.Everywhere(town.Path{Delay: 5 * time.Millisecond, Duplicate: 1})
		time.Sleep(2 * time.Second)
		room := st.rooms["control-room"]
		d := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		m := room.expect("INVITE")
		room.reply(m, 180, "r")
		st.carrier.until("180 INVITE", "100 INVITE")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		ok := st.carrier.until("200 INVITE", "180 INVITE", "100 INVITE")
		d.ack(ok, "")
		room.until("ACK", "INVITE")
		d.request("BYE", "")
		st.carrier.until("200 BYE", "200 INVITE")
		bye := room.until("BYE", "ACK")
		room.reply(bye, 200, "")
		if got := st.server.Counters().Calls; got != 1 {
			t.Errorf("%d calls; want one", got)
		}
		st.nothingLeft()
	})
}

func TestAFaultOfOursCostsOneCallAtMost(t *testing.T) {
	// what breaks, and what the caller whose call it is hears at last
	for _, c := range []struct {
		name string
		when func(what any, callID string) bool
		want string // "" means: the call is answered as if nothing had happened
	}{
		{"the INVITE is read", func(what any, id string) bool {
			m, ok := what.(*wire.Message)
			return ok && m.Method == "INVITE" && m.CallID == id
		}, "nothing"},
		{"the first endpoint is asked", first[call.Ask](), ""},
		{"every endpoint is asked", every[call.Ask](), "500 INVITE"},
		{"the caller is told that it rings", every[call.Ring](), ""},
		{"the media is aimed", every[call.Aim](), ""},
		{"the caller is answered", every[call.Answer](), "500 INVITE"},
		{"the call is over", every[call.Over](), ""},
		{"the caller is refused", every[call.Reject](), "500 INVITE"},
		{"deadlines come", func(what any, id string) bool { at, ok := sip.Deadline(what); return ok && at == id }, "500 INVITE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				talker, talked := st.talk("control-room") // another call, which must not notice
				var mu sync.Mutex
				armed := true
				next := fmt.Sprintf("call-%d@carrier", st.carrier.seq+1)
				st.server.Breaks(func(what any) {
					mu.Lock()
					defer mu.Unlock()
					if armed && c.when(what, next) {
						panic("broken on purpose")
					}
				})
				room := st.rooms["control-room"]
				d := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				answered := ""
				ms := map[string]heard{}
				limit := time.After(25 * time.Second)
			play:
				for {
					select {
					case m := <-st.carrier.in:
						if m.Status >= 200 && m.CallID == d.callID {
							answered = kind(m.Message)
							d.ack(m, "")
							break play
						}
					case m := <-room.in:
						switch {
						case c.want == "500 INVITE" && c.name == "deadlines come": // it says nothing, so that there are some
						case c.name == "the caller is refused" && m.Method == "INVITE":
							room.reply(m, 486, "r")
						case m.Method == "INVITE" && ms["control-room"].Message == nil:
							ms["control-room"] = m
							room.reply(m, 180, "r")
							room.replyBody(m, 200, "r", sdpOf(room, 50000))
						case m.Method == "BYE":
							room.reply(m, 200, "")
						}
					case m := <-st.rooms["standby-room"].in:
						switch {
						case c.name == "the caller is refused" && m.Method == "INVITE":
							st.rooms["standby-room"].reply(m, 486, "s")
						case m.Method == "INVITE" && ms["standby-room"].Message == nil:
							ms["standby-room"] = m
							st.rooms["standby-room"].replyBody(m, 200, "s", sdpOf(st.rooms["standby-room"], 50000))
						}
					case m := <-st.rooms["partner"].in:
						if m.Method == "INVITE" {
							st.rooms["partner"].reply(m, 486, "p")
						}
					case <-limit:
						answered = "nothing"
						break play
					}
				}
				want := c.want
				if want == "" {
					want = "200 INVITE"
				}
				if answered != want {
					t.Errorf("the caller heard %s; want %s", answered, want)
				}
				if answered == "200 INVITE" {
					d.request("BYE", "")
				}
				time.Sleep(time.Second)
				mu.Lock()
				armed = false
				mu.Unlock()
				for _, r := range st.rooms {
					for len(r.in) > 0 {
						if m := <-r.in; m.Method == "BYE" {
							r.reply(m, 200, "")
						}
					}
				}
				for len(st.carrier.in) > 0 {
					<-st.carrier.in
				}
				c := st.server.Counters()
				if c.Panics == 0 {
					t.Error("nothing was broken; the test tests nothing")
				}
				if c.Talking != 1 {
					t.Errorf("%d calls talk; want the other one", c.Talking)
				}
				if used := st.relay.Stats().InUse; used == 0 {
					t.Error("the other call has lost its ports")
				}
				talker.bye(talked.a)
				time.Sleep(2 * time.Minute)
				r, err := st.server.Residue(context.Background())
				if err != nil || r.Sessions != 0 || r.Waiting != 0 {
					t.Errorf("left behind: %+v (%v)", r, err)
				}
				if used := st.relay.Stats().InUse; used != 0 {
					t.Errorf("%d media ports are still in use", used)
				}
			})
		})
	}
}

// every breaks each action of a kind.
func every[A call.Action]() func(any, string) bool {
	return func(what any, _ string) bool { _, ok := what.(A); return ok }
}

// first breaks the first action of a kind.
func first[A call.Action]() func(any, string) bool {
	n := 0
	return func(what any, _ string) bool {
		if _, ok := what.(A); ok {
			n++
		}
		return n == 1
	}
}

func TestATalkingCallKeepsItsMediaThroughAFault(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called := st.talk("control-room")
		before := st.relay.Stats().InUse
		var armed atomic.Bool
		armed.Store(true)
		st.server.Breaks(func(what any) {
			if m, ok := what.(*wire.Message); ok && armed.Load() && m.Method == "INFO" {
				panic("broken on purpose")
			}
			if id, ok := sip.Deadline(what); ok && armed.Load() && id == caller.callID {
				panic("broken on purpose")
			}
		})
		for range 3 {
			caller.request("INFO", "")
			time.Sleep(20 * time.Second) // deadlines come and break, too
		}
		if got := st.relay.Stats().InUse; got != before || st.server.Counters().Talking != 1 {
			t.Errorf("%d ports, %d talking; want %d and 1: what talks talks on", got, st.server.Counters().Talking, before)
		}
		if got := st.server.Counters().Panics; got < 4 || got > 60 {
			t.Errorf("%d faults; a call that breaks at each deadline is left alone for a while", got)
		}
		armed.Store(false)
		for len(st.carrier.in) > 0 {
			<-st.carrier.in
		}
		caller.bye(called.a)
		time.Sleep(2 * time.Minute)
		if used := st.relay.Stats().InUse; used != 0 {
			t.Errorf("%d media ports are still in use", used)
		}
	})
}

// TestWhateverIsThrownAtUs plays real calls whose messages are repeated, cut, changed, delayed and swapped at random, from both sides.
func TestWhateverIsThrownAtUs(t *testing.T) {
	seeds := conversation(t)
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(r, "messages")
		type shot struct {
			text []byte
			who  string
			wait time.Duration
		}
		var shots []shot
		for range n {
			s := seeds[rapid.IntRange(0, len(seeds)-1).Draw(r, "which")]
			text := mutate(r, s.text)
			for range rapid.IntRange(1, 3).Draw(r, "times") {
				shots = append(shots, shot{text, s.who, time.Duration(rapid.IntRange(0, 2000).Draw(r, "wait")) * time.Millisecond})
			}
		}
		live, early := rapid.Bool().Draw(r, "rooms answer"), rapid.Bool().Draw(r, "early media")
		well := t.Run("night", func(t *testing.T) {
			onStage(t, func(ro *sip.Routing) { ro.Routes[0].EarlyMedia = early }, func(st *stage) {
				stop := make(chan struct{})
				for _, a := range append(slices.Collect(maps.Values(st.rooms)), st.carrier) {
					a.lenient.Store(true)
				}
				var wg sync.WaitGroup
				var mu sync.Mutex
				var answered []*dialog
				finals := map[string]map[int]bool{} // per call: the final responses that differ
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						case m := <-st.carrier.in:
							if m.Status >= 200 && m.Method == "INVITE" && strings.HasPrefix(m.Via.Branch, "z9hG4bKcarrier") {
								call := m.Via.Branch + " " + m.ToTag
								if finals[call] == nil {
									finals[call] = map[int]bool{}
								}
								finals[call][m.Status] = true
								if m.Status < 300 {
									mu.Lock()
									answered = append(answered, &dialog{a: st.carrier, callID: m.CallID, local: m.From, remote: m.To, target: "sip:nines", seq: 1000})
									mu.Unlock()
								}
							}
							switch {
							case !m.IsRequest() || m.Method == "ACK":
							case m.Method == "OPTIONS":
								st.carrier.reply(m, 481, "c") // it knows of no call: those that were answered end
							default:
								st.carrier.reply(m, 200, "c")
							}
						}
					}
				})
				for _, room := range st.rooms {
					wg.Go(func() {
						for {
							select {
							case <-stop:
								return
							case m := <-room.in:
								switch {
								case !m.IsRequest() || m.Method == "ACK" || !live:
								case m.Method == "INVITE":
									room.reply(m, 180, "r")
									room.replyBody(m, 200, "r", sdpOf(room, 50000))
									if m.ToTag == "" {
										mu.Lock()
										answered = append(answered, callee(room, m, "r"))
										mu.Unlock()
									}
								default:
									room.reply(m, 200, "r")
								}
							}
						}
					})
				}
				for _, s := range shots {
					a := st.carrier
					if s.who != "carrier" {
						a = st.rooms[s.who]
					}
					if _, err := a.conn.WriteTo(s.text, nodeUDP); err != nil {
						st.t.Error(err)
					}
					time.Sleep(s.wait)
				}
				time.Sleep(time.Second)
				mu.Lock()
				for _, d := range answered { // both ends hang up: a caller whose media we never knew is not judged
					d.request("BYE", "")
				}
				mu.Unlock()
				for _, room := range st.rooms {
					room.mute.Store(true) // or what rings would ring for ever
				}
				for i := range 180 { // longer than give_up, 64·T1 and the watch over silent callers; our link is alive
					st.carrier.raw(fmt.Sprintf("OPTIONS sip:nines SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKo%d\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: o\nCSeq: 1 OPTIONS\n\n", i))
					time.Sleep(time.Second)
				}
				c := st.server.Counters()
				if c.Panics != 0 {
					st.t.Errorf("%d faults of ours", c.Panics)
				}
				st.nothingLeft()
				close(stop)
				wg.Wait()
				for call, f := range finals {
					if len(f) > 1 {
						st.t.Errorf("%s got several final responses: %v", call, f)
					}
				}
				if c.Answered+c.Rejected+c.Cancelled != c.Calls {
					st.t.Errorf("%d calls, %d answered, %d refused, %d cancelled; every caller hears exactly one final response", c.Calls, c.Answered, c.Rejected, c.Cancelled)
				}
			})
		})
		if !well {
			r.Fatal("see above")
		}
	})
}

// said is a message of a real call, and who said it.
type said struct {
	text []byte
	who  string
}

// conversation records what carrier and rooms say in a few calls.
func conversation(t *testing.T) []said {
	t.Helper()
	var all []said
	var mu sync.Mutex
	names := map[string]string{"10.0.0.9": "carrier", "10.0.1.1": "control-room", "10.0.1.2": "standby-room"}
	onStage(t, nil, func(st *stage) {
		st.net.Tap(func(p town.Packet) {
			mu.Lock()
			defer mu.Unlock()
			if who := names[p.From.Addr().String()]; who != "" {
				all = append(all, said{bytes.Clone(p.Data), who})
			}
		})
		caller, called := st.talk("control-room")
		caller.request("INVITE", sdpOf(st.carrier, 40002), "Contact: <sip:carrier@10.0.0.9>")
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		called.a.expect("ACK")
		called.request("INFO", "")
		st.carrier.reply(st.carrier.expect("INFO"), 200, "")
		called.a.expect("200 INFO")
		caller.bye(called.a)
		d := st.place("Require: 100rel", "History-Info: <sip:a@b>;index=1", "Diversion: <sip:a@b>")
		m = st.rooms["control-room"].expect("INVITE")
		st.rooms["control-room"].replyBody(m, 183, "r", sdpOf(st.rooms["control-room"], 50000), "Require: 100rel", "RSeq: 7")
		st.rooms["control-room"].reply(st.rooms["control-room"].expect("PRACK"), 200, "")
		ring := st.carrier.expect("180 INVITE")
		d.learn(ring)
		rseq, _ := ring.Get("RSeq")
		d.request("PRACK", "", "RAck: "+rseq+" 1 INVITE")
		st.carrier.expect("200 PRACK")
		d.cancelled()
		st.rooms["control-room"].reply(st.rooms["control-room"].expect("CANCEL"), 200, "r")
		st.rooms["control-room"].reply(m, 487, "r")
		st.rooms["control-room"].expect("ACK")
		st.carrier.pings()
	})
	return all
}

// mutate changes a message a little, or not at all.
func mutate(r *rapid.T, text []byte) []byte {
	text = bytes.Clone(text)
	switch rapid.IntRange(0, 8).Draw(r, "how") {
	case 0: // cut
		return text[:rapid.IntRange(0, len(text)).Draw(r, "length")]
	case 1: // a byte
		if len(text) > 0 {
			text[rapid.IntRange(0, len(text)-1).Draw(r, "where")] = rapid.Byte().Draw(r, "byte")
		}
	case 2, 3: // a line less, or twice
		lines := bytes.SplitAfter(text, []byte("\r\n"))
		i := rapid.IntRange(0, len(lines)-1).Draw(r, "line")
		if rapid.Bool().Draw(r, "twice") {
			lines = append(lines[:i+1], lines[i:]...)
		} else {
			lines = append(lines[:i], lines[i+1:]...)
		}
		return bytes.Join(lines, nil)
	case 4: // another number somewhere
		for range rapid.IntRange(1, 3).Draw(r, "digits") {
			i := rapid.IntRange(0, len(text)-1).Draw(r, "from")
			if j := bytes.IndexAny(text[i:], "0123456789"); j >= 0 {
				text[i+j] = byte('0' + rapid.IntRange(0, 9).Draw(r, "digit"))
			}
		}
	case 5: // another method
		methods := []string{"INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "PRACK", "INFO", "OPTIONS", "REGISTER"}
		from, to := rapid.SampledFrom(methods).Draw(r, "of"), rapid.SampledFrom(methods).Draw(r, "becomes")
		return bytes.ReplaceAll(text, []byte(from), []byte(to))
	case 6: // another status
		if bytes.HasPrefix(text, []byte("SIP/2.0 ")) && len(text) > 11 {
			copy(text[8:11], fmt.Sprint(rapid.SampledFrom([]int{100, 180, 183, 200, 202, 302, 401, 481, 486, 487, 491, 500, 503, 603}).Draw(r, "status")))
		}
	case 7: // a new transaction
		return bytes.ReplaceAll(text, []byte("z9hG4bKc"), []byte(fmt.Sprint("z9hG4bKc", rapid.IntRange(0, 3).Draw(r, "branch"))))
	}
	return text
}

// FuzzATrunk sends what a carrier, or a room, could send: datagrams with a line of === between them. One that begins with > comes from the room.
func FuzzATrunk(f *testing.F) {
	f.Add([]byte("INVITE sip:999@nines SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:999@nines>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n===\n" +
		"CANCEL sip:999@nines SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:999@nines>\r\nCall-ID: x\r\nCSeq: 1 CANCEL\r\n\r\n"))
	f.Add([]byte("INVITE urn:service:sos SIP/2.0\n\n===\n>SIP/2.0 183 x\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKn1-1-1-3o3cun43rfmuj;rport\r\nTo: <sip:9>;tag=r\r\nRequire: 100rel\r\nRSeq: 1\r\n" +
		"Call-ID: x\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 10.0.1.1\r\nm=audio 1 RTP/AVP 0\r\n"))
	f.Add([]byte("INVITE tel:999;phone-context=+44 SIP/2.0\r\nv: SIP/2.0/UDP x,SIP/2.0/TCP y\r\nHistory-Info: <sip:a?Reason=x>;index=1\r\nCSeq:1INVITE\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n\r\n--b--"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		onStage(t, nil, func(st *stage) {
			for _, a := range append(slices.Collect(maps.Values(st.rooms)), st.carrier) {
				a.lenient.Store(true)
			}
			for text := range bytes.SplitSeq(data, []byte("===\n")) {
				a := st.carrier
				if room, ok := bytes.CutPrefix(text, []byte(">")); ok {
					a, text = st.rooms["control-room"], room
				}
				if len(text) > 60000 {
					continue
				}
				if _, err := a.conn.WriteTo(text, nodeUDP); err != nil {
					t.Error(err)
				}
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(40 * time.Second)
			if c := st.server.Counters(); c.Panics != 0 {
				t.Errorf("%d faults of ours", c.Panics)
			}
		})
	})
}
