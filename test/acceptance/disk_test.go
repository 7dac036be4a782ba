//go:build linux

package acceptance

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nines/console"
	"nines/internal/town"
)

// TestAFullDiskHarmsNoCallAndNoOrder: the state folder has no byte left while 101 is treated as emergency. Calls go on, old and new orders stand, who gives one is
// told that it is not written down, and once there is room again everything is.
func TestAFullDiskHarmsNoCallAndNoOrder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	t.Parallel()
	p := newPlace()
	phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Refuses(500, 0))})
	partner := phone(t, town.PhoneConfig{Name: "partner", Addr: p.sip(11), Script: town.Always(town.Picked())})
	carrier := phone(t, town.PhoneConfig{Name: "routine", Addr: p.sip(200)})
	n := &node{t: t, place: p, dir: shortDir(t)}
	n.config = filepath.Join(n.dir, "nines.yaml")
	state := filepath.Join(n.dir, "state")
	if err := os.Mkdir(state, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) })
	if err := os.WriteFile(filepath.Join(n.dir, "ours.wav"), wav(440), 0o600); err != nil {
		t.Fatal(err)
	}
	n.write(outageOf101)
	n.launch()
	n.verdict("up", "partner")

	answered := func(number string) {
		t.Helper()
		call, err := carrier.Place(town.Dial{URI: "sip:" + number + "@" + p.sip(1).String()})
		if err != nil {
			t.Fatal(err)
		}
		defer call.Clear()
		eventually(t, 20*time.Second, number+" is answered by the partner", func() bool {
			r := record(partner, call.Record().ID)
			return r != nil && r.State == town.Talking
		})
	}
	given := map[string]int{}
	order := func(verb, what, length string) (out string, code int) {
		t.Helper()
		given[verb]++
		if verb == "treat" {
			return n.cli(verb, what, "as", "emergency", "--for", length, "--why", "999 is down", "--by", "alice")
		}
		return n.cli(verb, what, "--for", length, "--why", "power work", "--by", "alice")
	}
	orders := func() (l console.TreatList) {
		t.Helper()
		out, code := n.cli("treats", "--json")
		if err := json.Unmarshal([]byte(out), &l); err != nil || code != 0 || len(l.Treats) != 1 {
			t.Fatalf("nines treats: exit %d, %v, %q; want one order", code, err, out)
		}
		return l
	}
	if out, code := order("treat", "101", "1h"); code != 0 || strings.Contains(out, "RESTART") {
		t.Fatalf("nines treat: exit %d, %q", code, out)
	}

	filler := filepath.Join(state, "filler")
	refused := func(verb, what, length string) (out string, code int) { // by the disk; the program gives some of it back now and then
		t.Helper()
		for try := 0; try < 20 && code == 0 && !strings.Contains(out, "NOT SURVIVE A RESTART"); try++ {
			fill(t, filler)
			out, code = order(verb, what, length)
		}
		return out, code
	}
	fill(t, filler)
	for range 20 {
		answered("101")
		answered("999")
	}
	if out, code := refused("treat", "101", "2h"); code != 0 || !strings.Contains(out, "NOT SURVIVE A RESTART") || !strings.Contains(out, "no space left") {
		t.Errorf("an order on a full disk: exit %d, %q; want it obeyed, and the reason why it is not written down", code, out)
	}
	if out, code := refused("hold", "control-room", "2h"); code != 0 || !strings.Contains(out, "NOT SURVIVE A RESTART") {
		t.Errorf("a hold on a full disk: exit %d, %q; want it obeyed, and that it is not written down", code, out)
	}
	if l := orders(); l.NotKept == "" || time.Until(l.Treats[0].Until) < 90*time.Minute {
		t.Errorf("nines treats on a full disk: %+v; want the new order and that it is not kept", l)
	}
	answered("101")
	if out, code := n.cli("reload"); code != 0 {
		t.Errorf("a reload on a full disk: exit %d, %q", code, out)
	}
	answered("101")
	for _, what := range []string{"holds", "orders to treat a route as emergency"} {
		eventually(t, 30*time.Second, "a notice says that "+what+" are not written down", func() bool {
			fill(t, filler) // else they may be, before it is noticed
			out, code := n.cli("notices", "--json")
			return code == 0 && strings.Contains(out, what+" are not written down")
		})
	}
	eventually(t, 30*time.Second, "the log says that the book cannot be written", func() bool {
		return len(n.log.with("the book could not be written", "disk is full")) > 0
	})

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "the order is written down", func() bool { return orders().NotKept == "" })
	eventually(t, 60*time.Second, "both orders and the hold are in the book", func() bool {
		out, code := n.cli("journal", "tail", "--type", "NinesOperatorAct")
		return code == 0 && strings.Count(out, "treat") == given["treat"] && strings.Contains(out, "hold")
	})
	n.kill9()
	n.console = nil
	n.launch()
	if l := orders(); time.Until(l.Treats[0].Until) < 90*time.Minute {
		t.Errorf("after kill -9 the order is %+v; want the one that was given on the full disk", l)
	}
	if out, code := n.cli("journal", "verify"); code != 0 {
		t.Errorf("nines journal verify: exit %d\n%s", code, out)
	}
	answered("101")
}

// fill writes a file until not a byte fits on its disk.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
