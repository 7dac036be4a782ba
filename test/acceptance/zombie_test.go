package acceptance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// TestZombieCostsTwoCallersTheirPatience: R14. The PBX answers every OPTIONS and no INVITE. The calls come one after another; two of them pay for the
// knowledge, and the verdict stands although OPTIONS go on being answered.
func TestZombieCostsTwoCallersTheirPatience(t *testing.T) {
	t.Parallel()
	const calls = 20
	p := newPlace()
	room := newPBX(t, p.sip(10), func(string) string { return "" })
	phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Picked())})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n := start(t, p, rescueRooms)
	n.verdict("up", "control-room", "standby")
	room.mood.Store(ignorant)

	waited := 0
	for i := range calls {
		c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String(), From: fmt.Sprintf("+4419050%05d", i), TalkFor: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ends(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := c.Record()
		if len(r.Finals) != 1 || r.Finals[0] != 200 {
			t.Errorf("call %d: %v; want an answer of the standby", i+1, r)
		}
		switch d := r.Delay(); {
		case d >= time.Second:
			waited++
		case d > late:
			t.Errorf("call %d waited %v; the room is known to be a zombie", i+1, d)
		}
	}
	t.Logf("%d of %d callers paid the patience", waited, calls)
	if waited > 2 {
		t.Errorf("%d callers waited for a room that answers no call; two are enough to know", waited)
	}
	await(t, 3*time.Second) // OPTIONS are answered all the time
	st := n.status()
	e, _ := st.Endpoint("control-room")
	if e.Verdict != "down" {
		t.Errorf("the room answers OPTIONS and no call, and is believed to be %q: %s", e.Verdict, e.Explanation)
	}
	out, code := n.cli("status", "control-room")
	if code != 0 || !strings.Contains(out, "call") {
		t.Errorf("nines status control-room (%d) does not speak of calls:\n%s", code, out)
	}
	t.Logf("nines status control-room:\n%s", out)
}

// TestARoomThatFailsForOneNumberIsFoundAndNamed: R14. One DDI in five gets 503, the others are answered, and OPTIONS too. The number is named, its calls go
// elsewhere at once, the others stay.
func TestARoomThatFailsForOneNumberIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	p := newPlace()
	const sick = "01905723003"
	script := func(m *town.Message) town.Behaviour {
		if strings.Contains(m.URI, sick) {
			return town.Refuses(503, 0)
		}
		return town.Picked()
	}
	room := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: script, Voice: 50 * time.Millisecond})
	phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Picked()), Voice: 50 * time.Millisecond})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200), Voice: 50 * time.Millisecond})
	n := start(t, p, strings.Replace(rescueRooms, `numbers: ["999"]`, `numbers: ["01905*"]`, 1))
	n.verdict("up", "control-room", "standby")

	for i := range 25 {
		ddi := fmt.Sprintf("0190572300%d", 1+i%5)
		c, err := carrier.Place(town.Dial{URI: "sip:" + ddi + "@" + p.sip(1).String(), From: fmt.Sprintf("+4419050%05d", i), TalkFor: 1200 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ends(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := c.Record()
		if len(r.Finals) != 1 || r.Finals[0] != 200 {
			t.Errorf("call %d to %s: %v; want an answer", i+1, ddi, r)
		}
		there := record(room, r.ID)
		if ddi != sick && (there == nil || there.Answer.IsZero()) {
			t.Errorf("call %d to %s did not reach the room, which answers for that number", i+1, ddi)
		}
	}
	asked := 0
	for _, r := range room.Records() {
		if strings.Contains(r.Invite.URI, sick) {
			asked++
		}
	}
	t.Logf("the room was asked %d times for the number that it fails for", asked)
	if asked > 2 {
		t.Errorf("the room was asked %d of 5 times for a number that it fails for; two are enough to know", asked)
	}
	st := n.status()
	e, _ := st.Endpoint("control-room")
	said := e.Explanation + "\n" + strings.Join(e.Evidence, "\n") + "\n" + strings.Join(st.Notices, "\n")
	if e.Verdict == "down" || !strings.Contains(said, "3003") {
		t.Errorf("the room is believed to be %s; want that it is not down and that the number is named:\n%s", e.Verdict, said)
	}
	if out, _ := n.cli("status", "control-room"); !strings.Contains(out, "3003") || !strings.Contains(out, "503") {
		t.Errorf("nines status control-room does not name the number and what it gets:\n%s", out)
	}
}
