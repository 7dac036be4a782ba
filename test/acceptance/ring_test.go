package acceptance

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// TestRoomThatRingsAndVanishesLosesItsCallsToTheStandby: ten calls ring at the primary when all its packets begin to get lost. R6: that is silence, not
// ringing. Its call-takers pick up all the same, into the void; when the network is back their 200s come, long after the standby has the calls.
func TestRoomThatRingsAndVanishesLosesItsCallsToTheStandby(t *testing.T) {
	t.Parallel()
	const calls = 10
	p := newPlace()
	primary := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Answers(5 * time.Second))})
	standby := phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Answers(100 * time.Millisecond))})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	// ringing: never, so that only the death can bring the calls to the standby.
	n := start(t, p, strings.Replace(twoRooms, "ringing: 2s", "ringing: never", 1))
	n.verdict("up", "control-room", "standby")

	var placed []*town.Call
	for range calls {
		c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String()})
		if err != nil {
			t.Fatal(err)
		}
		placed = append(placed, c)
	}
	eventually(t, 3*time.Second, "all calls ring", func() bool {
		_, ringing, _ := carrier.Live()
		return ringing == calls
	})
	primary.Freeze()
	died := time.Now()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, c := range placed {
		if err := c.Talks(ctx); err != nil {
			t.Fatalf("a call that rang at the primary was not answered: %v", err)
		}
		rec := c.Record()
		if at := record(standby, rec.ID); at == nil {
			t.Errorf("%v: the standby knows nothing of it", rec)
		} else if wait := at.Asked.Sub(died); wait > 4*time.Second {
			t.Errorf("the call was at the standby %v after the primary died; at most 4 s are due", wait)
		}
		if len(rec.Finals) != 1 || rec.Finals[0] != 200 || len(rec.Tags) != 1 {
			t.Errorf("the carrier saw finals %v and %d To tags; want one 200 and one tag", rec.Finals, len(rec.Tags))
		}
	}
	// The call-takers of the primary pick up at five seconds.
	eventually(t, 8*time.Second, "the primary's people have picked up", func() bool {
		_, _, talking := primary.Live()
		return talking == calls
	})
	primary.Thaw()
	// Its 200s repeat until they are ACKed.
	eventually(t, 10*time.Second, "the primary's late answers are ended", func() bool {
		asked, ringing, talking := primary.Live()
		return asked+ringing+talking == 0
	})
	for _, r := range primary.Records() {
		if r.Unacked || r.End != town.ByPeer {
			t.Errorf("a late answer ended by %v, unacked %v; want an ACK and our BYE", r.End, r.Unacked)
		}
		if !slices.ContainsFunc(r.Reasons, func(s string) bool { return strings.Contains(s, `SIP;cause=200;text="Call completed elsewhere"`) }) {
			t.Errorf("a late answer was ended with the reasons %q; want \"Call completed elsewhere\"", r.Reasons)
		}
	}
	for _, c := range placed {
		if rec := c.Record(); rec.State != town.Talking {
			t.Errorf("the carrier's call did not survive the late answer: %v", rec)
		}
		c.Clear()
	}
	n.empty(5 * time.Second)
}
