package acceptance

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nines/console"
	"nines/internal/town"
)

// TestAnAcknowledgedHoldSurvivesKill9: R18. The command line said that the room is held; from then on nothing may lose it.
func TestAnAcknowledgedHoldSurvivesKill9(t *testing.T) {
	t.Parallel()
	p := newPlace()
	control := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Picked())})
	standby := phone(t, town.PhoneConfig{Name: "standby-room", Addr: p.sip(11), Script: town.Always(town.Picked())})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n := start(t, p, head+`trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060" }
  standby-room: { uri: "sip:{11}:5060" }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby-room] }
`)
	n.verdict("up", "control-room", "standby-room")
	for i, by := range []string{"alice", "bob", "carol"} {
		if out, code := n.cli("hold", "control-room", "--for", "2h", "--why", "power work", "--by", by); code != 0 || !strings.HasPrefix(out, "control-room is held by "+by+" until ") {
			t.Fatalf("nines hold: exit %d, %q", code, out)
		}
		n.kill9()
		n.launch()
		n.verdict("up", "control-room", "standby-room")
		var list console.HoldList
		out, code := n.cli("holds", "--json")
		if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
			t.Fatalf("nines holds --json: exit %d, %q: %v", code, out, err)
		}
		if len(list.Holds) != 1 || list.Holds[0].By != by || list.Holds[0].Why != "power work" || list.NotKept != "" {
			t.Fatalf("after kill -9 number %d the holds are %+v; want %s's", i+1, list, by)
		}
	}
	if got := answeredBy(t, carrier, p, control, standby); got != "standby-room" {
		t.Errorf("%s answered while control-room is held, want standby-room", got)
	}
	n.verdict("up", "control-room") // again: the machine may have stood still meanwhile
	if out, code := n.cli("status", "control-room"); code != 0 || !strings.Contains(out, "up, HELD") || !strings.Contains(out, "by carol until ") {
		t.Errorf("nines status control-room: exit %d\n%s", code, out)
	}
	if out, code := n.cli("release", "control-room", "--by", "dave"); code != 0 || !strings.HasPrefix(out, "control-room is released\n  it was held by carol until ") {
		t.Fatalf("nines release: exit %d, %q", code, out)
	}
	n.kill9()
	n.launch()
	n.verdict("up", "control-room", "standby-room")
	if out, code := n.cli("holds"); code != 0 || out != "nobody is held\n" {
		t.Errorf("after a release and kill -9 nines holds says %q, exit %d", out, code)
	}
	if got := answeredBy(t, carrier, p, control, standby); got != "control-room" {
		t.Errorf("%s answered after the release, want control-room", got)
	}
	n.empty(10 * time.Second)
	n.stop() // while it runs it may be writing
	left, err := filepath.Glob(n.dir + "/state/*")
	if err != nil || len(left) < 2 {
		t.Errorf("the state folder holds %v, %v; want the accepted configuration and health's state", left, err)
	}
	for _, name := range left {
		if strings.HasSuffix(name, ".new") || strings.Contains(name, ".corrupt") {
			t.Errorf("%s is half-written, or could not be read", name)
		}
	}
}

// kill9 ends the process without a word to it.
func (n *node) kill9() {
	n.t.Helper()
	if err := n.cmd.Process.Kill(); err != nil {
		n.t.Fatal(err)
	}
	if err := <-n.exited; err == nil {
		n.t.Error("nines ended by itself before it was killed")
	}
	n.gone = true
}

// answeredBy places an emergency call, says which room answers and hangs up.
func answeredBy(t *testing.T, carrier *town.Phone, p place, rooms ...*town.Phone) string {
	t.Helper()
	c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Talks(ctx); err != nil {
		t.Fatalf("nobody answered: %v", err)
	}
	defer c.Clear()
	for _, room := range rooms {
		if r := record(room, c.Record().ID); r != nil && r.State == town.Talking {
			return room.Name()
		}
	}
	return "nobody"
}
