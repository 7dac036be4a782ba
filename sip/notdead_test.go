package sip_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"nines/health"
	"nines/internal/town"
	"nines/sip"
)

// TestNothingIsRescuedThatIsNotDead: a thousand calls live as calls do (hold from either side, mute, silence suppression, re-INVITE, transfer), and then the
// network pauses for two seconds. R20: none of that is a death.
func TestNothingIsRescuedThatIsNotDead(t *testing.T) {
	const calls = 1000
	inWardOf(t, 500*time.Millisecond, nil, func(r *sip.Routing) {
		for i := range r.Endpoints {
			r.Endpoints[i].Calls = 2 * calls
		}
	}, func(w *ward) {
		placed := w.crowd("999", calls, 3*time.Millisecond)
		rooms := map[string]*town.Call{}
		for _, c := range w.rooms["control-room"].Calls() {
			rooms[c.Record().ID] = c
		}
		time.Sleep(3 * time.Second)
		var answers []<-chan int
		for i, c := range placed {
			other := rooms[c.Record().ID]
			switch i % 10 {
			case 0:
				answers = append(answers, c.Reinvite("sendonly"))
			case 1:
				answers = append(answers, c.Reinvite("inactive"))
			case 2:
				answers = append(answers, other.Reinvite("sendonly"))
			case 3:
				answers = append(answers, other.Update("inactive"))
			case 4:
				answers = append(answers, c.Reinvite("sendrecv"))
			case 5:
				answers = append(answers, other.Ask("REFER", "", nil))
			case 6: // the call-taker's phone suppresses silence
				other.Mute(true)
			case 7: // the caller hides and says nothing
				c.Mute(true)
			case 8:
				c.Mute(true)
				other.Mute(true)
			}
		}
		for i, code := range answers {
			if got := <-code; got/100 != 2 {
				t.Fatalf("request %d inside a call got %d", i, got)
			}
		}
		alive := func(when string) {
			t.Helper()
			if n := w.server.Counters().Rescues; n != 0 {
				t.Errorf("%s: %d calls were taken for lost; none was dead", when, n)
			}
			for _, r := range []string{"standby-room", "partner"} {
				if n := w.rooms[r].Heard("INVITE"); n != 0 {
					t.Errorf("%s: %s got %d INVITEs", when, r, n)
				}
			}
			if n := ended(placed); n != 0 {
				t.Errorf("%s: %d calls have ended", when, n)
			}
		}
		time.Sleep(30 * time.Second)
		alive("after 30 s of hold and silence")
		w.net.Between(w.hosts["control-room"], w.node, town.Path{Cut: true})
		time.Sleep(2 * time.Second)
		w.net.Usual(w.hosts["control-room"], w.node)
		time.Sleep(15 * time.Second)
		alive("after a pause of 2 s")
	})
}

// TestWhatNewCallsShowTakesNobodyAway: three new callers are answered and hear nobody, so that calls bring the room down for new ones. Those whose
// call-taker has just fallen silent are no further from them than before: the room answers every OPTIONS, and the one silence must not be counted twice.
// When its probes fall silent too, they are lost.
func TestWhatNewCallsShowTakesNobodyAway(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		talking := w.crowd("999", 5, 10*time.Millisecond)
		time.Sleep(3 * time.Second)
		for _, c := range w.rooms["control-room"].Calls() {
			c.Mute(true)
		}
		for i := range 3 {
			_, err := w.carrier.Place(town.Dial{URI: "sip:999@" + nodeAddr + ":5060", From: fmt.Sprintf("+4419051%05d", i)})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond) // it rings
			for _, c := range w.rooms["control-room"].Calls() {
				c.Mute(true)
			}
		}
		time.Sleep(8 * time.Second)
		if st := w.server.Snapshot().Of("control-room"); st.Verdict != health.Down || !st.Tripped || st.Dead() {
			t.Fatalf("the room that three callers could not hear is %+v; want it brought down by calls, and not dead", st)
		}
		time.Sleep(20 * time.Second)
		if n := w.server.Counters().Rescues; n != 0 {
			t.Errorf("%d calls were taken for lost; their room answers every OPTIONS", n)
		}
		w.net.Between(w.hosts["control-room"], w.node, town.Path{Cut: true})
		time.Sleep(10 * time.Second)
		if st := w.server.Snapshot().Of("control-room"); !st.Dead() {
			t.Errorf("the room that answers nothing any more is %+v; want it dead", st)
		}
		if n := int(w.server.Counters().Rescues); n != len(talking)+3 {
			t.Errorf("%d calls were taken for lost when the room was cut off; want %d", n, len(talking)+3)
		}
	})
}

// TestABusyRoomIsAHealthyRoom: R14. Seventy calls for sixty desks, long ringing, callers who give up, an offer that it can't take, lost packets: nothing of
// that is a failure of the room, and no partner hears of it.
func TestABusyRoomIsAHealthyRoom(t *testing.T) {
	var asked atomic.Int32
	inWardOf(t, 500*time.Millisecond, nil, func(r *sip.Routing) {
		r.Endpoints[0].Calls, r.Endpoints[1].Calls, r.Endpoints[2].Calls = 60, 100, 12
	}, func(w *ward) {
		w.rooms["control-room"].Script(func(*town.Message) town.Behaviour {
			switch n := asked.Add(1); {
			case n == 5 || n == 25:
				return town.Refuses(488, 0)
			case n%3 == 0:
				return town.Answers(70 * time.Second)
			default:
				return town.Answers(5 * time.Second)
			}
		})
		w.net.Between(w.hosts["control-room"], w.node, town.Path{Loss: 0.02})
		down := ""
		watch := func(d time.Duration) {
			for range d / (100 * time.Millisecond) {
				time.Sleep(100 * time.Millisecond)
				if st := w.server.Snapshot().Of("control-room"); st.Verdict == health.Down && down == "" {
					down = st.Words
				}
			}
		}
		var stay []*town.Call
		for i := range 90 {
			d := town.Dial{URI: "sip:999@" + nodeAddr + ":5060", From: fmt.Sprintf("+4419050%05d", i)}
			leaves := i%9 < 2 // twenty of them
			if leaves {
				d.CancelAfter = 3 * time.Second
			}
			c, err := w.carrier.Place(d)
			if err != nil {
				t.Fatal(err)
			}
			if !leaves {
				stay = append(stay, c)
			}
			watch(100 * time.Millisecond)
		}
		watch(90 * time.Second)
		talking := 0
		for _, c := range stay {
			if c.Record().State == town.Talking {
				talking++
			}
		}
		if talking != 70 {
			t.Errorf("%d of 70 callers who stayed talk", talking)
		}
		if down != "" {
			t.Errorf("the room was believed to be dead: %s", down)
		}
		if n := w.rooms["partner"].Heard("INVITE"); n != 0 {
			t.Errorf("the partner got %d INVITEs; the own rooms had desks for all", n)
		}
		if n := w.server.Counters().Rescues; n != 0 {
			t.Errorf("%d rescues; nothing was dead", n)
		}
	})
}
