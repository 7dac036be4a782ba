//go:build soak

package acceptance

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nines/internal/town"
)

// busyRooms are sixty desks, a hundred behind them, and a partner that must hear of nothing.
const busyRooms = head + `
trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 60 }
  standby: { uri: "sip:{11}:5060", calls: 100 }
  partner: { uri: "sip:{12}:5060", calls: 12, partner: true }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby, partner] }
`

// TestABusyRoomIsAHealthyRoom: R14. Seventy calls for sixty desks, seventy seconds of ringing, twenty callers who give up, two offers that the room can't take,
// and some OPTIONS that get no answer: nothing of that is a failure of the room, and no partner hears of it.
func TestABusyRoomIsAHealthyRoom(t *testing.T) {
	p := newPlace()
	var asked atomic.Int32
	room := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: func(*town.Message) town.Behaviour {
		switch n := asked.Add(1); {
		case n == 5 || n == 25:
			return town.Refuses(488, 0)
		case n%3 == 0:
			return town.Answers(70 * time.Second)
		default:
			return town.Answers(5 * time.Second)
		}
	}})
	standby := phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Answers(4 * time.Second))})
	partner := phone(t, town.PhoneConfig{Name: "partner", Addr: p.sip(12), Script: town.Always(town.Answers(2 * time.Second))})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n := start(t, p, busyRooms)
	n.verdict("up", "control-room", "standby", "partner")
	verdicts := len(n.log.with(`"message":"verdict changed"`))

	var stay, leave []*town.Call
	for i := range 90 {
		d := town.Dial{URI: "sip:999@" + p.sip(1).String(), From: fmt.Sprintf("+4419050%05d", i)}
		leaves := i%9 < 2 // twenty of them
		if leaves {
			d.CancelAfter = 3 * time.Second
		}
		c, err := carrier.Place(d)
		if err != nil {
			t.Fatal(err)
		}
		if leaves {
			leave = append(leave, c)
		} else {
			stay = append(stay, c)
		}
		await(t, 100*time.Millisecond)
	}
	for range 2 { // one probe of many is lost, and later another
		seen := room.Heard("OPTIONS")
		room.Options(0)
		eventually(t, 30*time.Second, "a probe is lost", func() bool { return room.Heard("OPTIONS") > seen })
		await(t, 100*time.Millisecond)
		room.Options(200)
		await(t, 20*time.Second)
	}
	talks := func() (n int) {
		for _, c := range stay {
			if c.Record().State == town.Talking {
				n++
			}
		}
		return n
	}
	eventually(t, 90*time.Second, "all seventy who stayed talk", func() bool { return talks() == len(stay) })
	await(t, 10*time.Second)
	if got := talks(); len(stay) != 70 || got != 70 {
		t.Errorf("%d of %d callers who stayed talk, want 70 of 70", got, len(stay))
	}
	if got := partner.Heard("INVITE"); got != 0 {
		t.Errorf("the partner got %d INVITEs; the own rooms had desks for all", got)
	}
	for _, line := range n.log.with(`"message":"verdict changed"`)[verdicts:] {
		if strings.Contains(line, `"to":"down"`) {
			t.Errorf("a room was believed to be dead: %s", line)
		}
	}
	if lost := n.log.with("has lost its endpoint"); len(lost) != 0 {
		t.Errorf("%d calls were taken for lost: %s", len(lost), lost[0])
	}
	for _, c := range leave {
		if r := c.Record(); r.Answer.IsZero() && r.End != town.NotYet {
			continue
		}
		t.Errorf("a caller who was to give up did not: %v", c.Record())
	}
	t.Logf("the control room got %d INVITEs, the standby %d", room.Heard("INVITE"), standby.Heard("INVITE"))
	for _, c := range stay {
		c.Clear()
	}
	n.empty(10 * time.Second)
}

// smallPartner is two rooms, each for a number, and a partner with twelve slots behind both.
const smallPartner = head + `
trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 1000 }
  second-room: { uri: "sip:{11}:5060", calls: 1000 }
  partner: { uri: "sip:{12}:5060", calls: 12, partner: true }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, partner] }
  - { name: "112", class: emergency, numbers: ["112"], ask: [second-room, partner] }
`

// TestRescuesDoNotStampedeASmallPartner: R7. Two rooms die, five seconds apart, with fifty talking calls each, and the only one left is a partner with 12 slots.
// A third of them stays free for new emergency calls, the others wait; whoever has waited longest is next.
func TestRescuesDoNotStampedeASmallPartner(t *testing.T) {
	const calls, slots, rescued, cleared = 50, 12, 12 - 12/3, 50 + 10
	p := newPlace()
	voice := 100 * time.Millisecond
	first := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Picked()), Voice: voice})
	second := phone(t, town.PhoneConfig{Name: "second-room", Addr: p.sip(11), Script: town.Always(town.Picked()), Voice: voice})
	partner := phone(t, town.PhoneConfig{Name: "partner", Addr: p.sip(12), Script: town.Always(town.Picked()), Voice: voice})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200), Voice: voice})
	n := start(t, p, smallPartner)
	n.verdict("up", "control-room", "second-room", "partner")
	place := func(number string) (placed []*town.Call) {
		for range calls {
			c, err := carrier.Place(town.Dial{URI: "sip:" + number + "@" + p.sip(1).String()})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Talks(t.Context()); err != nil {
				t.Fatal(err)
			}
			placed = append(placed, c)
		}
		return placed
	}
	older, younger := place("999"), place("112")
	await(t, 4*time.Second)

	most := 0
	talking := func() int {
		asked, ringing, talking := partner.Live()
		most = max(most, asked+ringing+talking)
		return talking
	}
	first.Kill()
	await(t, 5*time.Second)
	second.Kill()
	eventually(t, 10*time.Second, "the partner has as many as may be brought to it", func() bool { return talking() == rescued })
	await(t, 3*time.Second)
	if got := talking(); got != rescued {
		t.Errorf("the partner talks to %d rescued callers; want %d of its %d slots filled", got, rescued, slots)
	}
	// Its call-takers get free one by one, until all of the first room's callers and some of the second's are served.
	var slowest time.Duration
	for i := range cleared {
		for _, c := range partner.Calls() {
			if c.Record().State == town.Talking {
				c.Clear()
				break
			}
		}
		began := time.Now()
		eventually(t, 3*time.Second, fmt.Sprintf("after %d of its calls ended the next one is brought to it", i+1), func() bool {
			return talking() == rescued && len(partner.Calls()) == rescued+i+1 // calls and not INVITEs: one may be repeated
		})
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("a free slot was filled within %v; the partner had %d calls at once at most", slowest, most)
	if most > slots {
		t.Errorf("the partner had %d calls at once; it has %d slots", most, slots)
	}
	waits := map[string]bool{}
	for _, c := range older {
		waits[c.Record().ID] = true
	}
	for i, r := range partner.Records() {
		if i < calls && !waits[r.ID] {
			t.Errorf("number %d that was served had waited five seconds less than others that were not", i+1)
		}
	}
	over := 0
	count := func() bool {
		over = 0
		for _, c := range slices.Concat(older, younger) {
			if c.Record().End != town.NotYet {
				over++
			}
		}
		return over == cleared
	}
	if !poll(5*time.Second, count) { // the last BYE may be on its way to its caller yet
		t.Errorf("%d callers were hung up, want the %d whose call-taker did", over, cleared)
	}
	for _, c := range slices.Concat(older, younger) {
		c.Clear()
	}
	n.empty(30 * time.Second)
}

// TestNothingIsRescuedThatIsNotDead: a thousand calls live as calls do (hold from either side, mute, silence suppression, keys, re-INVITE, transfer), and then
// all packets of the room are lost for two seconds. R20: none of that is a death.
func TestNothingIsRescuedThatIsNotDead(t *testing.T) {
	const calls = 1000
	k := talk(t, strings.Replace(rescueRooms, "calls: 1000", "calls: 2000", 1), false, town.Always(town.Picked()), calls, time.Second)
	rooms := map[string]*town.Call{}
	for _, c := range k.primary.Calls() {
		rooms[c.Record().ID] = c
	}
	var answers []<-chan int
	for i, c := range k.calls {
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
		case 9:
			c.Press('5')
			other.Press('7')
		}
	}
	for i, code := range answers {
		if got := <-code; got/100 != 2 {
			t.Fatalf("request %d inside a call got %d", i, got)
		}
	}
	alive := func(when string) {
		t.Helper()
		if lost := k.node.log.with("has lost its endpoint"); len(lost) != 0 {
			t.Errorf("%s: %d calls were taken for lost; none was dead: %s", when, len(lost), lost[0])
		}
		if got := k.standby.Heard("INVITE"); got != 0 {
			t.Errorf("%s: the standby got %d INVITEs", when, got)
		}
		for _, c := range k.calls {
			if r := c.Record(); r.State != town.Talking {
				t.Fatalf("%s: a call has ended: %v", when, r)
			}
		}
	}
	await(t, 30*time.Second)
	alive("after 30 s of hold and silence")
	k.primary.Freeze()
	await(t, 2*time.Second)
	k.primary.Thaw()
	await(t, 15*time.Second)
	alive("after a pause of 2 s")
	for _, c := range k.calls {
		c.Clear()
	}
	k.node.empty(30 * time.Second)
}
