package sip_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"nines/internal/town"
	"nines/policy"
	"nines/sip"
)

// crowd places so many calls, each from a number of its own, and waits until they talk.
func (w *ward) crowd(number string, calls int, every time.Duration) []*town.Call {
	w.t.Helper()
	placed := make([]*town.Call, calls)
	for i := range placed {
		c, err := w.carrier.Place(town.Dial{URI: "sip:" + number + "@" + nodeAddr + ":5060", From: fmt.Sprintf("+4419050%05d", i)})
		if err != nil {
			w.t.Fatal(err)
		}
		placed[i] = c
		time.Sleep(every)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range placed {
		if err := c.Talks(ctx); err != nil {
			w.t.Fatal(err)
		}
	}
	return placed
}

// ended counts the calls that are over.
func ended(calls []*town.Call) int {
	n := 0
	for _, c := range calls {
		if c.Record().End != town.NotYet {
			n++
		}
	}
	return n
}

// TestABurstOfByesIsALoss: R23. A PBX that is switched off says BYE to all its calls and is gone; none of the callers hears of it.
func TestABurstOfByesIsALoss(t *testing.T) {
	inWardOf(t, 100*time.Millisecond, nil, nil, func(w *ward) {
		calls := w.crowd("999", 30, 10*time.Millisecond)
		time.Sleep(4 * time.Second)
		for _, c := range w.rooms["control-room"].Calls() {
			c.Clear()
		}
		time.Sleep(5 * time.Millisecond) // the last BYE has left
		w.rooms["control-room"].Kill()
		time.Sleep(3 * time.Second)
		if n := ended(calls); n != 0 {
			t.Errorf("%d of %d callers were hung up by a dying PBX", n, len(calls))
		}
		if n := w.talking("standby-room"); n != len(calls) {
			t.Errorf("the standby talks to %d callers, want all %d", n, len(calls))
		}
	})
}

// TestABurstOfByesOfALivingRoomIsPassedOn: a team that ends a conference, or a PBX that is drained, means it.
func TestABurstOfByesOfALivingRoomIsPassedOn(t *testing.T) {
	inWardOf(t, 100*time.Millisecond, nil, nil, func(w *ward) {
		calls := w.crowd("999", 30, 10*time.Millisecond)
		time.Sleep(4 * time.Second)
		began := time.Now()
		for _, c := range w.rooms["control-room"].Calls() {
			c.Clear()
		}
		time.Sleep(3 * time.Second)
		for _, c := range calls {
			if r := c.Record(); r.End != town.ByPeer || r.Ended.Sub(began) > 700*time.Millisecond {
				t.Errorf("the room lives and hung up, but its caller's call: %v after %v; want BYE within 700 ms", r.End, r.Ended.Sub(began))
			}
		}
		if n := w.server.Counters().Rescues; n != 0 || w.rooms["standby-room"].Heard("INVITE") != 0 {
			t.Errorf("%d rescues, %d INVITEs to the standby; nobody was lost", n, w.rooms["standby-room"].Heard("INVITE"))
		}
	})
}

// TestAnOrdinaryByeIsPassedOnAtOnce: one call-taker who hangs up ends one call, in a busy room too.
func TestAnOrdinaryByeIsPassedOnAtOnce(t *testing.T) {
	for _, others := range []int{0, 1, 20} {
		inWardOf(t, 100*time.Millisecond, nil, nil, func(w *ward) {
			calls := w.crowd("999", others+1, 10*time.Millisecond)
			time.Sleep(4 * time.Second)
			began := time.Now()
			w.rooms["control-room"].Calls()[others].Clear()
			time.Sleep(2 * time.Second)
			if r := calls[others].Record(); r.End != town.ByPeer || r.Ended.Sub(began) > 700*time.Millisecond {
				t.Errorf("with %d other calls: %v after %v; want BYE within 700 ms", others, r.End, r.Ended.Sub(began))
			}
			if n := ended(calls[:others]); n != 0 || w.server.Counters().Rescues != 0 {
				t.Errorf("with %d other calls: %d of them ended, %d rescues; want none", others, n, w.server.Counters().Rescues)
			}
		})
	}
}

// TestRescuesDoNotStampedeASmallPartner: R7. Two rooms die, one after the other, with a hundred calls, and the only one left is a partner with 12 slots.
// A third of them stays free for new emergency calls, the others wait; whoever has waited longest is next.
func TestRescuesDoNotStampedeASmallPartner(t *testing.T) {
	const calls, slots, rescued = 50, 12, 12 - 12/3
	inWardOf(t, 500*time.Millisecond, nil, func(r *sip.Routing) {
		second := r.Routes[0]
		second.Name, second.Numbers = "112", []string{"112"}
		r.Routes[0].Ask = [][]policy.EndpointName{{"control-room"}, {"partner"}}
		second.Ask = [][]policy.EndpointName{{"standby-room"}, {"partner"}}
		r.Routes = append(r.Routes, second)
		for i := range r.Endpoints {
			r.Endpoints[i].Calls = 1000
			if r.Endpoints[i].Name == "partner" {
				r.Endpoints[i].Calls = slots
			}
		}
	}, func(w *ward) {
		older, younger := w.crowd("999", calls, 10*time.Millisecond), w.crowd("112", calls, 10*time.Millisecond)
		time.Sleep(4 * time.Second)
		most := 0
		look := func(d time.Duration) {
			for range d / (50 * time.Millisecond) {
				time.Sleep(50 * time.Millisecond)
				a, b, c := w.rooms["partner"].Live()
				most = max(most, a+b+c)
			}
		}
		w.rooms["control-room"].Kill()
		look(5 * time.Second)
		w.rooms["standby-room"].Kill()
		look(10 * time.Second)
		if n := w.talking("partner"); n != rescued {
			t.Errorf("the partner talks to %d rescued callers; want %d of its %d slots filled", n, rescued, slots)
		}
		// Its call-takers get free one by one, until all of the first room's callers and some of the second's are served.
		const cleared = calls + 10
		for n := range cleared {
			for _, c := range w.rooms["partner"].Calls() {
				if c.Record().End == town.NotYet {
					c.Clear()
					break
				}
			}
			look(1500 * time.Millisecond)
			if got := w.talking("partner"); got != rescued {
				t.Fatalf("after %d of its calls ended the partner has %d; want that the next one waits no longer than a second and a half", n+1, got)
			}
		}
		if most > slots {
			t.Errorf("the partner had %d calls at once; it has %d slots", most, slots)
		}
		if heard := w.rooms["partner"].Heard("INVITE"); heard != rescued+cleared {
			t.Errorf("the partner heard %d INVITEs; want one for each of the %d calls that it could take", heard, rescued+cleared)
		}
		waits := map[string]bool{}
		for _, c := range older {
			waits[c.Record().ID] = true
		}
		for i, r := range w.rooms["partner"].Records() {
			if i < calls && !waits[r.ID] {
				t.Errorf("number %d that was served had waited five seconds less than others that were not", i+1)
			}
		}
		if n := ended(append(older, younger...)); n != cleared {
			t.Errorf("%d callers were hung up, want the %d whose call-taker did", n, cleared)
		}
	})
}
