package acceptance

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"nines/console"
	"nines/internal/town"
)

// TestWhoFailedAndDidNotGetThroughIsRungBack: fifty callers fail, twenty of them redial and talk, nines is killed: thirty wait, in the new process too, until a
// person has rung them back (R34).
func TestWhoFailedAndDidNotGetThroughIsRungBack(t *testing.T) {
	t.Parallel()
	p := newPlace()
	n := start(t, p, twoRooms)
	control := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Refuses(486, 0))})
	standby := phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Refuses(600, 0))})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n.verdict("up", "control-room", "standby")

	number := func(i int) string { return fmt.Sprintf("+4419050010%02d", i) }
	place := func(i int, d town.Dial) {
		t.Helper()
		d.URI, d.From = "sip:999@"+p.sip(1).String(), number(i)
		if _, err := carrier.Place(d); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	over := func() { // before the rooms do something else
		t.Helper()
		eventually(t, 30*time.Second, "every caller has left", func() bool { asked, ringing, talking := carrier.Live(); return asked+ringing+talking == 0 })
	}
	list := func() (l console.CallBackList) {
		t.Helper()
		out, code := n.cli("callbacks", "--json")
		if code != 0 {
			t.Fatalf("nines callbacks: %d %s", code, out)
		}
		if err := json.Unmarshal([]byte(out), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	for i := range 40 {
		place(i, town.Dial{})
	}
	over()
	for _, room := range []*town.Phone{control, standby} {
		room.Script(town.Always(town.Rings(0)))
	}
	for i := range 10 {
		place(40+i, town.Dial{CancelAfter: 500 * time.Millisecond})
	}
	over()
	eventually(t, 30*time.Second, "fifty callers wait", func() bool { return list().Open == 50 })

	for _, room := range []*town.Phone{control, standby} {
		room.Script(town.Always(town.Answers(0)))
	}
	for i := range 20 {
		place(i, town.Dial{TalkFor: 11 * time.Second})
	}
	eventually(t, 30*time.Second, "thirty callers wait", func() bool { return list().Open == 30 })
	eventually(t, 30*time.Second, "nobody talks", func() bool { return n.status().Calls.Total == 0 })
	eventually(t, 20*time.Second, "the end of every call is in the book", func() bool {
		out, code := n.cli("journal", "export", "--type", "CallEndLogEvent")
		return code == 0 && strings.Count(out, "\n") == 70
	})

	check := func(when string, want int, missing ...string) {
		t.Helper()
		out, code := n.cli("callbacks", "--csv")
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if code != 0 || err != nil || len(rows) != want+1 {
			t.Errorf("%s: nines callbacks --csv: %d, %v, %d rows:\n%s\nwant %d and a head", when, code, err, len(rows), out, want)
			return
		}
		for i := range 20 {
			missing = append(missing, number(i))
		}
		for _, m := range missing {
			if strings.Contains(out, m) {
				t.Errorf("%s: %s is on the list, and has got through", when, m)
			}
		}
	}
	check("before the crash", 30)
	kill := func() {
		t.Helper()
		if err := n.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		t.Logf("nines was killed: %v", <-n.exited)
		n.gone = true
		n.console = nil
		n.launch()
		eventually(t, 30*time.Second, "the book is read", func() bool { l := list(); return l.Trouble == "" })
	}
	kill()
	check("after kill -9", 30)
	if out, code := n.cli("callbacks", "done", "01905 001020", "--by", "alice", "--outcome", "spoke to caller"); code != 0 || !strings.Contains(out, "29 more to ring back") {
		t.Errorf("ringing somebody back: %d %s", code, out)
	}
	kill() // an act that was acknowledged survives
	check("after an act and another kill -9", 29, number(20))
	if out, code := n.cli("callbacks", "done", number(20), "--by", "alice", "--outcome", "again"); code == 0 {
		t.Errorf("who was rung back can be rung back again: %s", out)
	}
	out, code := n.cli("calls", "--number", number(0), "--limit", "5")
	if code != 0 || strings.Count(out, number(0)) != 2 || !strings.Contains(out, "refused 500") || !strings.Contains(out, "answered") {
		t.Errorf("the calls of one number, from the book of the killed process: %d\n%s", code, out)
	}
}
