package sip_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
	"nines/media/voice"
	"nines/policy"
	"nines/sip"
)

// text is what callers hear in these tests: the ringing tone, six seconds of it, under the name of an announcement.
func text(name policy.AnnouncementName, _ voice.WayOut) []*voice.Tape {
	if strings.HasPrefix(string(name), "missing") {
		return nil
	}
	return []*voice.Tape{voice.Ringing(), voice.Ringing()}
}

// outage is a ward with a routine route whose only room can be held down, and an emergency route with a partner.
func outage(t *testing.T, otherwise []policy.Otherwise, change func(*sip.Routing), play func(*ward)) {
	t.Helper()
	inWardOf(t, 20*time.Millisecond, nil, func(r *sip.Routing) {
		r.Routes = append(r.Routes, policy.Route{
			Name: "101", Class: policy.Routine, Numbers: []string{"101"}, Overlap: true, Ask: [][]policy.EndpointName{{"control-room"}},
			Patience: time.Second, Progress: 4 * time.Second, Otherwise: otherwise,
		})
		if change != nil {
			change(r)
		}
	}, play)
}

// refuses has the control room refuse what it is asked.
func (w *ward) refuses(code int) {
	w.rooms["control-room"].Script(town.Always(town.Refuses(code, 10*time.Millisecond)))
}

// routine places a call to 101 and waits until it is answered or over.
func (w *ward) routine(d town.Dial) *town.Call {
	w.t.Helper()
	d.URI, d.Tapes = "sip:101@"+nodeAddr+":5060", true
	if d.From == "" {
		d.From = "+441905000001"
	}
	c, err := w.carrier.Place(d)
	if err != nil {
		w.t.Fatal(err)
	}
	select {
	case <-c.Answered():
	case <-c.Done():
	case <-time.After(40 * time.Second):
		w.t.Fatalf("neither answered nor over: %v", c.Record())
	}
	return c
}

// tape is a recording as the far end of a G.711 A-law stream hears it.
func tape(n int) []byte {
	var b []byte
	for range n {
		for i := range voice.Ringing().Frames() {
			b = append(b, voice.Ringing().Payload(voice.PCMA, i)...)
		}
	}
	return b
}

var announced = []policy.Otherwise{{Announce: "report-online", Times: 2, Escape: policy.Escape{Key: "9", To: "999"}}}

func TestARoutineCallerInAnOutageHearsTheAnnouncementAndThenABye(t *testing.T) {
	outage(t, announced, nil, func(w *ward) {
		w.refuses(500)
		c := w.routine(town.Dial{})
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := c.Ends(ctx); err != nil {
			w.t.Fatal(err)
		}
		r := c.Record()
		if want := tape(4); !bytes.Equal(r.Voice.Tape, want) {
			w.t.Errorf("the caller heard %d bytes, want the text twice, %d bytes, unchanged", len(r.Voice.Tape), len(want))
		}
		if len(r.Finals) != 1 || r.Finals[0] != 200 || r.End != town.ByPeer {
			w.t.Errorf("final responses %v, ended by %v; want one 200, then our BYE", r.Finals, r.End)
		}
		w.leavesNothing()
		if got := w.server.Counters(); got.Announced != 1 || got.Announcing != 0 || got.Talking != 0 {
			w.t.Errorf("announced %d, announcing %d, talking %d; want 1, 0, 0", got.Announced, got.Announcing, got.Talking)
		}
	})
}

// leavesNothing checks that a call which is over has given everything back.
func (w *ward) leavesNothing() {
	w.t.Helper()
	time.Sleep(time.Minute)
	if got := w.server.Counters(); got.Active != 0 || got.EmergencyWaiting != 0 || got.Panics != 0 {
		w.t.Errorf("after the end: active %d, emergency waiting %d, faults %d; want none", got.Active, got.EmergencyWaiting, got.Panics)
	}
	for _, name := range []policy.EndpointName{"control-room", "standby-room", "partner"} {
		if n := w.server.Used(name); n != 0 {
			w.t.Errorf("%s has %d slots taken after the end", name, n)
		}
	}
	if n := w.server.Waiting("101"); n != 0 {
		w.t.Errorf("%d stand in the line after the end", n)
	}
	if n := w.relay.Stats().InUse; n != 0 {
		w.t.Errorf("%d ports are in use after the end", n)
	}
	if wrong := w.carrier.Wrong(); len(wrong) > 0 {
		w.t.Errorf("the carrier complains: %v", wrong)
	}
}

func TestAHealthyRoomIsAskedFirstAndItsRefusalStands(t *testing.T) {
	outage(t, announced, nil, func(w *ward) {
		if c := w.routine(town.Dial{}); w.talking("control-room") != 1 || len(c.Record().Voice.Tape) != 0 {
			w.t.Errorf("the control room has %d calls, the caller heard %d bytes of an announcement; want to talk to the room", w.talking("control-room"), len(c.Record().Voice.Tape))
		}
		w.refuses(486)
		if c := w.routine(town.Dial{From: "+441905000002"}); fmt.Sprint(c.Record().Finals) != "[486]" {
			w.t.Errorf("a busy room's caller got %v, want its 486", c.Record().Finals)
		}
		if c := w.routine(town.Dial{From: "+441905000003"}); fmt.Sprint(c.Record().Finals) != "[200]" || w.server.Counters().Announced != 1 {
			w.t.Errorf("the next caller, while the room counts as full, got %v, announced %d; want to be announced to", c.Record().Finals, w.server.Counters().Announced)
		}
	})
}

// press lets the announcement be heard for a while and presses a key.
func press(c *town.Call, by string) {
	time.Sleep(time.Second)
	switch by {
	case "event":
		c.Press('9')
	case "dtmf-relay":
		<-c.Ask("INFO", "application/dtmf-relay", []byte("Signal=9\r\nDuration=160\r\n"))
	case "tone":
		c.Mute(true) // its speech here is no speech, and would stand between the packets of the tone
		time.Sleep(100 * time.Millisecond)
		c.Tone('5')
		time.Sleep(300 * time.Millisecond)
		c.Tone('9')
		time.Sleep(100 * time.Millisecond)
		c.Mute(false)
	case "dtmf":
		<-c.Ask("INFO", "application/dtmf", []byte("9"))
	}
}

// withoutEvents takes telephone-event out of a session description.
func withoutEvents(sdp string) string {
	var b strings.Builder
	for line := range strings.Lines(sdp) {
		switch {
		case strings.Contains(line, "telephone-event"), strings.HasPrefix(line, "a=fmtp:101"):
		case strings.HasPrefix(line, "m=audio"):
			b.WriteString(strings.Replace(line, " 101", "", 1))
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestTheKeyMovesTheCallerToAPerson(t *testing.T) {
	for _, by := range []string{"event", "dtmf-relay", "dtmf", "tone"} {
		t.Run(by, func(t *testing.T) {
			outage(t, announced, nil, func(w *ward) {
				w.refuses(500)
				w.rooms["standby-room"].Script(town.Always(town.Refuses(486, 10*time.Millisecond)))
				d := town.Dial{}
				if by == "tone" { // R25: without telephone-event the tones themselves are looked for
					d.Wrap = func(sdp string) (string, []byte) { return "application/sdp", []byte(withoutEvents(sdp)) }
				}
				c := w.routine(d)
				c.Press('8') // another key does nothing
				press(c, by)
				time.Sleep(3 * time.Second)
				if n := w.talking("partner"); n != 1 {
					w.t.Fatalf("the partner has %d calls, want the caller who pressed 9; %v", n, c.Record())
				}
				there := w.rooms["partner"].Calls()[0].Record()
				if from := there.Invite.Get("From"); !strings.Contains(from, "+441905000001") {
					w.t.Errorf("the partner sees %q, want the caller's number", from)
				}
				r := c.Record()
				if since := time.Since(r.Voice.Last); r.Voice.Heard == 0 || since > 100*time.Millisecond || there.Voice.Heard == 0 || r.End != town.NotYet {
					w.t.Errorf("the caller heard %d packets of the partner, the last %v ago, the partner %d; ended %v; want a conversation", r.Voice.Heard, since, there.Voice.Heard, r.End)
				}
				if len(r.Finals) != 1 {
					w.t.Errorf("the caller got %v final responses, want one: the call is the same", r.Finals)
				}
				if got := w.server.Counters(); got.Escaped != 1 || got.Talking != 1 || got.Rescues != 0 {
					w.t.Errorf("escaped %d, talking %d, rescues %d; want 1, 1, 0", got.Escaped, got.Talking, got.Rescues)
				}
				c.Clear()
				w.leavesNothing()
			})
		})
	}
}

func TestWhoEscapesIsRescuedLikeAnyEmergency(t *testing.T) {
	outage(t, announced, nil, func(w *ward) {
		w.refuses(500)
		c := w.routine(town.Dial{})
		press(c, "event")
		time.Sleep(3 * time.Second)
		if w.talking("standby-room") != 1 {
			w.t.Fatal("the standby did not get the call")
		}
		w.rooms["standby-room"].Kill()
		time.Sleep(5 * time.Second)
		if n := w.talking("partner"); n != 1 || c.Record().End != town.NotYet {
			w.t.Errorf("the partner has %d calls, the caller's ended %v; want it rescued on the emergency route", n, c.Record().End)
		}
		c.Clear()
		w.leavesNothing()
	})
}

func TestNobodyAnswersAnEscapedCallerAndAllAreAskedAgain(t *testing.T) {
	outage(t, announced, nil, func(w *ward) {
		for _, room := range w.rooms {
			room.Script(town.Always(town.Refuses(500, 10*time.Millisecond)))
		}
		c := w.routine(town.Dial{})
		before := len(c.Record().Voice.Tape)
		press(c, "event")
		time.Sleep(20 * time.Second)
		if r := c.Record(); r.End != town.NotYet || len(r.Voice.Tape) < before+10*8000 {
			w.t.Errorf("ended %v, heard %d bytes; want the caller on the line, hearing that it rings", r.End, len(r.Voice.Tape)-before)
		}
		if n := w.server.Counters().EmergencyWaiting; n != 1 {
			w.t.Errorf("%d emergency calls wait, want this one", n)
		}
		w.rooms["partner"].Script(town.Always(town.Picked()))
		time.Sleep(10 * time.Second)
		if w.talking("partner") != 1 {
			w.t.Error("the partner answers again and has not got the caller")
		}
		c.Clear()
		w.leavesNothing()
	})
}

func TestHoldAndResumeDuringAnAnnouncement(t *testing.T) {
	outage(t, []policy.Otherwise{{Announce: "report-online", Times: 20}}, nil, func(w *ward) {
		w.refuses(500)
		c := w.routine(town.Dial{})
		for _, ask := range []func(string) <-chan int{c.Reinvite, c.Update} {
			time.Sleep(time.Second)
			if code := <-ask("inactive"); code != 200 {
				w.t.Fatalf("hold got %d", code)
			}
			time.Sleep(100 * time.Millisecond)
			held := len(c.Record().Voice.Tape)
			time.Sleep(3 * time.Second)
			if n := len(c.Record().Voice.Tape); n != held {
				w.t.Errorf("%d bytes were played to a caller on hold", n-held)
			}
			if code := <-ask("sendrecv"); code != 200 {
				w.t.Fatalf("resume got %d", code)
			}
			time.Sleep(3 * time.Second)
			if n := len(c.Record().Voice.Tape) - held; n < 2*8000 {
				w.t.Errorf("%d bytes were played in 3 s after the hold, want some 24000", n)
			}
		}
		c.Clear()
		w.leavesNothing()
	})
}

func TestWhoCanNotBePlayedToIsRefusedAndNotLeftInSilence(t *testing.T) {
	srtp := func(sdp string) (string, []byte) {
		return "application/sdp", []byte(strings.Replace(sdp, "RTP/AVP", "RTP/SAVP", 1))
	}
	for name, tt := range map[string]struct {
		dial      town.Dial
		otherwise []policy.Otherwise
		want      int
	}{
		"SRTP, no keys":  {town.Dial{Wrap: srtp}, announced, 480},
		"no offer, 183":  {town.Dial{Late: true}, []policy.Otherwise{{Announce: "report-online", Early: true}}, 480},
		"no such text":   {town.Dial{}, []policy.Otherwise{{Announce: "missing"}}, 480},
		"then a refusal": {town.Dial{Wrap: srtp}, append(announced[:1:1], policy.Otherwise{Reject: 600}), 600},
	} {
		t.Run(name, func(t *testing.T) {
			outage(t, tt.otherwise, nil, func(w *ward) {
				w.refuses(500)
				r := w.routine(tt.dial).Record()
				if len(r.Finals) != 1 || r.Finals[0] != tt.want {
					w.t.Fatalf("final responses %v, want %d", r.Finals, tt.want)
				}
				last := r.Responses[len(r.Responses)-1]
				if after, err := strconv.Atoi(last.Get("Retry-After")); err != nil || after < 30 || after > 120 {
					w.t.Errorf("Retry-After is %q, want 30 to 120", last.Get("Retry-After"))
				}
				w.leavesNothing()
			})
		})
	}
}

// TestACallerWithoutAnOfferIsPlayedTo: our 200 is the offer, its ACK the answer, and the key leads to a person as ever.
func TestACallerWithoutAnOfferIsPlayedTo(t *testing.T) {
	outage(t, announced, nil, func(w *ward) {
		w.refuses(500)
		c := w.routine(town.Dial{Late: true})
		time.Sleep(3 * time.Second)
		if r := c.Record(); len(r.Voice.Tape) < 120*160 || !bytes.HasPrefix(tape(4), r.Voice.Tape) {
			w.t.Fatalf("in 3 s the caller heard %d bytes, want the text from its beginning; %v", len(r.Voice.Tape), r)
		}
		press(c, "event")
		time.Sleep(3 * time.Second)
		if n := w.talking("standby-room"); n != 1 {
			w.t.Fatalf("the standby has %d calls, want the caller who pressed 9; %v", n, c.Record())
		}
		there := w.rooms["standby-room"].Calls()[0].Record()
		if r := c.Record(); r.Voice.Heard < 50 || there.Voice.Heard < 50 || len(r.Finals) != 1 {
			w.t.Errorf("the caller heard %d packets of the standby, it %d of the caller; finals %v", r.Voice.Heard, there.Voice.Heard, r.Finals)
		}
		if wrong := w.rooms["standby-room"].Wrong(); len(wrong) > 0 {
			w.t.Errorf("the standby complains: %v", wrong)
		}
		c.Clear()
		w.leavesNothing()
	})
}

// TestACallerWhoDemandsSRTPIsPlayedTo: the answer has a key of ours. That what it seals can be heard is shown in media's tests, and by another maker's telephone
// in test/acceptance.
func TestACallerWhoDemandsSRTPIsPlayedTo(t *testing.T) {
	sealed := func(sdp string) (string, []byte) {
		return "application/sdp", []byte(strings.Replace(sdp, "RTP/AVP", "RTP/SAVP", 1) + "a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR\r\n")
	}
	outage(t, announced, nil, func(w *ward) {
		w.refuses(500)
		c := w.routine(town.Dial{Wrap: sealed})
		time.Sleep(2 * time.Second)
		r := c.Record()
		if text := string(r.Responses[len(r.Responses)-1].Body); !strings.Contains(text, "RTP/SAVP 8 101") || !strings.Contains(text, "a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:") || strings.Contains(text, "PS1uQCVe") {
			w.t.Errorf("the answer is\n%s\nwant SRTP by a key of ours", text)
		}
		// A phone of the town cannot open them: it calls them changed.
		if v := c.Record().Voice; v.Changed < 90 || len(v.Tape) != 0 {
			w.t.Errorf("in 2 s %d packets came that are not plain, and %d bytes that are; want some 100 and none", v.Changed, len(v.Tape))
		}
		if code := <-c.Reinvite("sendrecv"); code != 200 { // a plain offer
			w.t.Fatalf("a new offer got %d", code)
		}
		sealedOnes := c.Record().Voice.Changed
		time.Sleep(2 * time.Second)
		if v := c.Record().Voice; v.Changed > sealedOnes+1 || len(v.Tape) < 90*160 {
			w.t.Errorf("after a plain offer %d more packets are sealed and %d bytes plain; want all plain", v.Changed-sealedOnes, len(v.Tape))
		}
		c.Clear()
		w.leavesNothing()
	})
}

func TestEarlyMediaIsNoAnswerUntilAPersonAnswers(t *testing.T) {
	otherwise := []policy.Otherwise{{Announce: "report-online", Early: true, Times: 1}, {Wait: 60 * time.Second}}
	outage(t, otherwise, nil, func(w *ward) {
		w.refuses(486)
		_ = w.routine(town.Dial{From: "+441905000009"}) // now the room counts as full for 5 s
		c, err := w.carrier.Place(town.Dial{URI: "sip:101@" + nodeAddr + ":5060", From: "+441905000001", Tapes: true, Prack: true})
		if err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if r := c.Record(); len(r.Finals) != 0 || len(r.Voice.Tape) == 0 {
			w.t.Errorf("after 3 s: final responses %v, %d bytes heard; want none and an announcement", r.Finals, len(r.Voice.Tape))
		}
		w.rooms["control-room"].Script(town.Always(town.Answers(100 * time.Millisecond)))
		time.Sleep(12 * time.Second)
		r := c.Record()
		if fmt.Sprint(r.Finals) != "[200]" || w.talking("control-room") != 1 || r.Voice.Heard == 0 {
			w.t.Errorf("final responses %v, the room has %d calls, the caller heard %d packets of it; want it put through", r.Finals, w.talking("control-room"), r.Voice.Heard)
		}
		c.Clear()
		w.leavesNothing()
	})
}

func TestCallersInTheLineArePutThroughOldestFirst(t *testing.T) {
	otherwise := []policy.Otherwise{{Wait: 2 * time.Minute, Announce: "please-wait", Cap: 3}, {Reject: 486}}
	outage(t, otherwise, func(r *sip.Routing) {
		r.Endpoints[0].Calls, r.Endpoints[0].Reserve = 3, 2
	}, func(w *ward) {
		first := w.routine(town.Dial{From: "+441905000001"}) // takes the one slot that is not kept for emergency calls
		var line []*town.Call
		for i := range 4 {
			line = append(line, w.routine(town.Dial{From: fmt.Sprintf("+44190500001%d", i)}))
			time.Sleep(100 * time.Millisecond)
		}
		if n := w.server.Waiting("101"); n != 3 {
			w.t.Fatalf("%d stand in the line, want the 3 that it takes", n)
		}
		if f := line[3].Record().Finals; fmt.Sprint(f) != "[486]" {
			w.t.Errorf("the fourth got %v, want 486: the line is full", f)
		}
		talks := first
		for i, next := range line[:3] {
			if w.talking("control-room") != 1 {
				w.t.Fatalf("the room has %d calls, its limit for routine calls is 1", w.talking("control-room"))
			}
			talks.Clear()
			time.Sleep(3 * time.Second)
			if v := next.Record().Voice; v.Heard == 0 {
				w.t.Fatalf("number %d of the line was not put through", i)
			}
			for _, later := range line[i+1 : 3] {
				if later.Record().Voice.Heard != 0 {
					w.t.Error("somebody overtook the oldest")
				}
			}
			talks = next
		}
		talks.Clear()
		w.leavesNothing()
	})
}

func TestEmergencyLoadLeavesRoutineCallersToTheAnnouncement(t *testing.T) {
	outage(t, announced, func(r *sip.Routing) {
		r.Routes[len(r.Routes)-1].Shed = &policy.Shed{Waiting: 3, UntilWaiting: 0, For: 10 * time.Second, Announce: "high-demand", Times: 1}
	}, func(w *ward) {
		for _, room := range w.rooms {
			room.Script(town.Always(town.Rings(0)))
		}
		var calls []*town.Call
		for i := range 3 {
			c, err := w.carrier.Place(town.Dial{URI: "sip:999@" + nodeAddr + ":5060", From: fmt.Sprintf("+44190500002%d", i)})
			if err != nil {
				w.t.Fatal(err)
			}
			calls = append(calls, c)
		}
		time.Sleep(time.Second)
		if shed := w.server.Shed(); len(shed) != 1 || shed[0].Why != "3 emergency calls wait for an answer (limit 3)" {
			w.t.Fatalf("shed: %+v, want 101, with the evidence", shed)
		}
		asked := w.rooms["control-room"].Heard("INVITE")
		c := w.routine(town.Dial{})
		if n := w.rooms["control-room"].Heard("INVITE") - asked; n != 0 || w.server.Counters().Announced != 1 {
			w.t.Errorf("the room was asked %d times, announced %d; want the announcement at once", n, w.server.Counters().Announced)
		}
		c.Clear()
		w.rooms["control-room"].Script(town.Always(town.Answers(100 * time.Millisecond)))
		for _, c := range calls {
			c.Clear()
		}
		time.Sleep(5 * time.Second)
		if len(w.server.Shed()) != 1 {
			w.t.Error("not shed any more although the load has been low for 5 s only")
		}
		time.Sleep(10 * time.Second)
		if c := w.routine(town.Dial{}); w.talking("control-room") != 1 {
			w.t.Errorf("10 s after the load fell the room has %d routine calls, want 1: %v", w.talking("control-room"), c.Record())
		}
	})
}

func TestTreatedAsEmergencyUntilItEnds(t *testing.T) {
	outage(t, announced, nil, func(w *ward) {
		w.refuses(500)
		order := sip.Treat{Route: "101", By: "alice", Why: "the press gave out 101", From: time.Now(), Until: time.Now().Add(time.Minute)}
		if was, err := w.server.Treat(order); err != nil || was != nil {
			w.t.Fatalf("treat: %v, replaced %v", err, was)
		}
		c := w.routine(town.Dial{})
		if w.talking("standby-room") != 1 {
			w.t.Errorf("the standby has %d calls, want the one to 101: it is asked on 999", w.talking("standby-room"))
		}
		c.Clear()
		time.Sleep(time.Minute)
		c = w.routine(town.Dial{})
		if n := w.server.Counters().Announced; n != 1 {
			w.t.Errorf("announced %d after the end of the order, want 1", n)
		}
		c.Clear()
		if got := w.server.Treats(); len(got) != 0 {
			w.t.Errorf("orders that stand after their end: %v", got)
		}
		if _, err := w.server.Treat(sip.Treat{Route: "999"}); err == nil {
			w.t.Error("an emergency route was treated as emergency")
		}
		if _, err := w.server.Treat(sip.Treat{Route: "4711"}); err == nil {
			w.t.Error("a route that there is not was treated as emergency")
		}
		w.leavesNothing()
	})
}

func TestARoutineCallThatIsLostIsToldWhatToDo(t *testing.T) {
	outage(t, announced, nil, func(w *ward) {
		c := w.routine(town.Dial{})
		time.Sleep(4 * time.Second)
		w.rooms["control-room"].Kill()
		time.Sleep(12 * time.Second)
		r := c.Record()
		if len(r.Voice.Tape) == 0 || r.End != town.NotYet && r.End != town.ByPeer {
			w.t.Fatalf("the caller heard %d bytes of an announcement, ended %v; want to be told what to do", len(r.Voice.Tape), r.End)
		}
		c.Press('9')
		time.Sleep(3 * time.Second)
		if w.talking("standby-room") != 1 {
			w.t.Errorf("the standby has %d calls, want the caller who pressed 9", w.talking("standby-room"))
		}
		c.Clear()
		w.leavesNothing()
	})
}

func TestADeadCallerLegEndsItsAnnouncement(t *testing.T) {
	outage(t, []policy.Otherwise{{Announce: "report-online", Times: 100}}, nil, func(w *ward) {
		w.refuses(500)
		w.routine(town.Dial{})
		time.Sleep(2 * time.Second)
		w.hosts["carrier"].Power(town.Dead)
		time.Sleep(2 * time.Minute)
		if got := w.server.Counters(); got.Active != 0 || got.Announcing != 0 {
			w.t.Errorf("two minutes after its carrier died: active %d, announcing %d; want none", got.Active, got.Announcing)
		}
	})
}
