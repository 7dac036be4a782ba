package acceptance

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"nines/internal/town"
)

// rescueRooms is a route whose talking calls are carried over from the control room to the standby.
const rescueRooms = head + `
trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 1000 }
  standby: { uri: "sip:{11}:5060", calls: 1000 }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby] }
`

// talkers are calls that talk, and who is in them.
type talkers struct {
	t                         *testing.T
	place                     place
	carrier, primary, standby *town.Phone
	node                      *node
	calls                     []*town.Call
}

// talk starts nines between phones with voice and lets that many calls talk, long enough for nines to know what the room answers inside a call.
func talk(t *testing.T, yaml string, tcp bool, script func(*town.Message) town.Behaviour, calls int, voice time.Duration) *talkers {
	t.Helper()
	k := &talkers{t: t, place: newPlace()}
	k.primary = phone(t, town.PhoneConfig{Name: "control-room", Addr: k.place.sip(10), TCP: tcp, Script: script, Voice: voice})
	k.standby = phone(t, town.PhoneConfig{Name: "standby", Addr: k.place.sip(11), Script: town.Always(town.Picked()), Voice: voice})
	k.carrier = phone(t, town.PhoneConfig{Name: "carrier", Addr: k.place.sip(200), Voice: voice})
	k.node = start(t, k.place, yaml)
	k.node.verdict("up", "control-room", "standby")
	k.calls = k.place999(calls, 100)
	await(t, 3*time.Second)
	return k
}

// place999 places calls, so many a second, and waits until they talk.
func (k *talkers) place999(calls, rate int) []*town.Call {
	k.t.Helper()
	pace := time.NewTicker(time.Second / time.Duration(rate))
	defer pace.Stop()
	placed := make([]*town.Call, calls)
	for i := range placed {
		<-pace.C
		c, err := k.carrier.Place(town.Dial{URI: "sip:999@" + k.place.sip(1).String()})
		if err != nil {
			k.t.Fatal(err)
		}
		placed[i] = c
	}
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	defer cancel()
	for _, c := range placed {
		if err := c.Talks(ctx); err != nil {
			k.t.Fatalf("the call was not answered: %v", err)
		}
	}
	return placed
}

// await lets time pass for what happens between others.
func await(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// moved waits until every caller hears the standby and holds the silences between against the promise, and against what this machine was capable of
// meanwhile: see late.
func (k *talkers) moved(calls []*town.Call, within time.Duration, watch *lateness) {
	k.t.Helper()
	poll(within+time.Minute, func() bool {
		return !slices.ContainsFunc(calls, func(c *town.Call) bool { return c.Record().Voice.Streams < 2 })
	})
	await(k.t, time.Second) // both sides talk
	records := make([]town.Record, len(calls))
	for i, c := range calls {
		records[i] = c.Record()
	}
	slack := k.late(watch)
	poll(10*time.Second, func() bool {
		return !slices.ContainsFunc(k.standby.Records(), func(r town.Record) bool { return r.State == town.Talking && r.Voice.Heard == 0 })
	})
	k.story()
	at := map[string]*town.Record{} // at the standby; read once, for there may be thousands
	for _, r := range k.standby.Records() {
		if at[r.ID] == nil || r.State == town.Talking {
			at[r.ID] = &r
		}
	}
	var gaps []time.Duration
	rescued := 0
	for _, r := range records {
		there := at[r.ID]
		switch {
		case r.End != town.NotYet:
			k.t.Errorf("the caller's call ended (%v, asked inside it: %v); the caller must never hear of it", r.End, r.Requests)
			continue
		case r.Voice.Streams < 2 || there == nil || there.State != town.Talking:
			continue
		case there.Voice.Heard == 0:
			k.t.Errorf("the standby talks to %s and does not hear it", r.ID)
			continue
		}
		if v := r.Voice; v.Changed+v.Foreign != 0 {
			k.t.Errorf("the caller %s heard %d changed packets and %d of other calls", r.ID, v.Changed, v.Foreign)
		}
		rescued++
		gaps = append(gaps, r.Voice.Gap)
	}
	if rescued*100 < len(calls)*99 {
		k.t.Fatalf("%d of %d talking calls were carried over; want 99 of 100", rescued, len(calls))
	}
	slices.Sort(gaps)
	p99 := gaps[len(gaps)*99/100]
	k.t.Logf("%d of %d carried over; the caller heard nobody for p50 %v, p99 %v, at most %v", rescued, len(calls), gaps[len(gaps)/2].Round(time.Millisecond),
		p99.Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond))
	if p99 > within+slack {
		k.t.Errorf("p99 of the silence is %v; promised are %v (and %v for this machine)", p99, within, slack)
	}
	told := 0
	if !poll(10*time.Second, func() bool {
		told = len(k.node.log.with(`"message":"rescued: the new endpoint is heard"`))
		return told >= rescued
	}) {
		k.t.Errorf("the log tells of %d rescues that were heard; want %d", told, rescued)
	}
}

// story logs when the calls were lost, the standby was asked and had answered, counted from the first loss: where a rescue's time goes.
func (k *talkers) story() {
	var first time.Time
	for _, step := range []struct{ words, means string }{
		{`"message":"a talking call has lost its endpoint`, "lost"}, {`was lost while it talked","time"`, "asked"}, {`"message":"another endpoint has taken the call over"`, "taken over"},
	} {
		var after []time.Duration
		for _, line := range k.node.log.with(step.words) {
			var at struct{ Time time.Time }
			if json.Unmarshal([]byte(line), &at) != nil {
				continue
			}
			if first.IsZero() {
				first = at.Time
			}
			after = append(after, at.Time.Sub(first))
		}
		if len(after) > 0 {
			slices.Sort(after)
			k.t.Logf("%s: %d, p50 %v, p99 %v, at most %v", step.means, len(after), after[len(after)/2], after[len(after)*99/100], after[len(after)-1])
		}
	}
}

// late is how much longer than promised a rescue may have taken because the machine had other things to do: a rescue is a chain of nines, a phone, nines,
// and each link may have waited as long as we have at worst; and where nines has seen itself stand still it has, as R13 wants, believed nothing for two
// seconds after that.
func (k *talkers) late(watch *lateness) time.Duration {
	k.t.Helper()
	count, stood := k.node.stalls()
	slack := 3*watch.stop() + stood + time.Duration(count)*2*time.Second
	if slack > 100*time.Millisecond {
		k.t.Logf("this machine was late by %v while the calls were moved", slack.Round(time.Millisecond))
	}
	return slack
}

// clear ends the calls and checks that nothing is left.
func (k *talkers) clear() {
	k.t.Helper()
	for _, c := range k.calls {
		c.Clear()
	}
	k.node.empty(10 * time.Second)
	live := func(r town.Record) bool { return r.State != town.Over }
	poll(10*time.Second, func() bool { return !slices.ContainsFunc(k.standby.Records(), live) }) // hundreds of BYEs are on their way to one phone
	for _, r := range k.standby.Records() {
		if live(r) {
			k.t.Errorf("the standby still has a call after every caller hung up: %v, unacked %v, asked inside it %v", r, r.Unacked, r.Requests)
		}
	}
}

// size gives the number of calls and how often they speak: at full length as phones do, else as a machine can that runs other tests too.
func size(calls int) (int, time.Duration) {
	if soaking {
		return calls, 20 * time.Millisecond
	}
	return calls, 100 * time.Millisecond
}

// TestTalkingCallsOfAKilledRoomGoOnWithinASecond: R21, R22. All ports of the primary close: media and OPTIONS get ICMP.
func TestTalkingCallsOfAKilledRoomGoOnWithinASecond(t *testing.T) {
	if !soaking {
		t.Parallel()
	}
	calls, voice := size(200)
	k := talk(t, rescueRooms, false, town.Always(town.Picked()), calls, voice)
	watch := watchOurselves()
	defer watch.stop()
	k.primary.Kill()
	k.moved(k.calls, time.Second, watch)
	k.clear()
}

// TestTalkingCallsOfAVanishedRoomGoOnWithinFiveSeconds: R20's slow way. The primary says nothing any more, and nobody says so.
func TestTalkingCallsOfAVanishedRoomGoOnWithinFiveSeconds(t *testing.T) {
	if !soaking {
		t.Parallel()
	}
	calls, voice := size(200)
	k := talk(t, rescueRooms, false, town.Always(town.Picked()), calls, voice)
	watch := watchOurselves()
	defer watch.stop()
	k.primary.Freeze()
	k.moved(k.calls, 5*time.Second, watch)

	// R21: what the old room says when it is back touches nobody.
	k.primary.Thaw()
	await(t, 3*time.Second)
	for _, c := range k.calls {
		if r := c.Record(); r.End != town.NotYet || time.Since(r.Voice.Last) > time.Second {
			t.Errorf("the old room came back and %s ended (%v) or hears nobody (since %v)", r.ID, r.End, time.Since(r.Voice.Last))
		}
	}
	k.clear()
}

// TestTalkingCallsOfARoomThatResetsItsConnectionGoOnWithinThreeSeconds: R20 (c). The media falls silent, then the TCP connection is reset.
func TestTalkingCallsOfARoomThatResetsItsConnectionGoOnWithinThreeSeconds(t *testing.T) {
	t.Parallel()
	yaml := head + `
trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060;transport=tcp", calls: 1000 }
  standby: { uri: "sip:{11}:5060", calls: 1000 }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby] }
`
	k := talk(t, yaml, true, town.Always(town.Picked()), 29, 100*time.Millisecond)
	// All calls share the connection; the last one resets it.
	k.primary.Script(town.Always(town.Behaviour{{Code: 200}, {After: 1900 * time.Millisecond, Act: town.Freeze}, {After: 100 * time.Millisecond, Act: town.Reset}}))
	watch := watchOurselves()
	defer watch.stop()
	k.calls = append(k.calls, k.place999(1, 100)...)
	k.moved(k.calls, 3*time.Second, watch)
	k.clear()
}
