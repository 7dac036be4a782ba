//go:build soak

package acceptance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// TestNewCallsGoOnWhileFiveHundredAreRescued: 100 new calls a second come before, during and after the death of a room with five hundred talking calls.
func TestNewCallsGoOnWhileFiveHundredAreRescued(t *testing.T) {
	const talking, rate, seconds = 500, 100, 20
	k := talk(t, strings.Replace(rescueRooms, `["{200}/32"]`, `["{200}/31"]`, 1), false, town.Always(town.Picked()), talking, 100*time.Millisecond)
	caller := phone(t, town.PhoneConfig{Name: "newcomer", Addr: k.place.sip(201)})
	watch := watchOurselves()
	defer watch.stop()
	pace := time.NewTicker(time.Second / rate)
	defer pace.Stop()
	var placed []*town.Call
	for i := range rate * seconds {
		<-pace.C
		if i == 5*rate {
			k.primary.Kill()
		}
		c, err := caller.Place(town.Dial{URI: "sip:999@" + k.place.sip(1).String(), TalkFor: 500 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		placed = append(placed, c)
	}
	k.moved(k.calls, 2*time.Second, watch) // one phone answers all five hundred; the promise of a second is for two hundred
	var delays []time.Duration
	lost := 0
	for _, c := range placed {
		r := c.Record()
		switch {
		case r.Answer.IsZero() || len(r.Finals) != 1 || r.Finals[0] != 200:
			lost++
			t.Errorf("lost: %v", r)
		case r.End == town.ByPeer:
			// Its room died while it talked and said nothing: nobody may hang up on it.
			t.Errorf("hung up by nines: %v", r)
		default:
			delays = append(delays, r.Delay())
		}
	}
	slices.Sort(delays)
	if lost > 0 {
		t.Fatalf("%d of %d new calls were lost", lost, len(placed))
	}
	p99 := delays[len(delays)*99/100]
	t.Logf("%d new calls; set-up p50 %v, p99 %v, at most %v", len(delays), delays[len(delays)/2], p99, delays[len(delays)-1])
	if p99 >= 500*time.Millisecond {
		t.Errorf("p99 of the set-up is %v while %d calls are rescued; promised are 500 ms", p99, talking)
	}
	k.clear()
}
