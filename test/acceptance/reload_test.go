package acceptance

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"nines/console"
	"nines/internal/town"
)

// broken has three mistakes that a tired person makes.
const broken = head + `
trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: many }
  standby: { uri: "sip:{11}:5060", calls: 1000 }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-rom, standby], patienc: 1s }
`

// reasons are what a refusal of broken must name.
var reasons = []string{"many", "control-rom", "control-room", "patienc", "patience"}

// TestReloadUnderLoadLosesNoCall: R3. Calls come and talk all the time while the file is swapped, by signal and by command, for good ones and a broken one.
func TestReloadUnderLoadLosesNoCall(t *testing.T) {
	t.Parallel()
	const rate, lasts, least = 100, 8 * time.Second, 5
	p := newPlace()
	swapped := strings.Replace(twoRooms, "ask: [control-room, standby]", "ask: [standby, control-room]", 1)
	script := town.Always(town.Answers(20 * time.Millisecond))
	room := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: script})
	standby := phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: script})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n := start(t, p, twoRooms)
	n.verdict("up", "control-room", "standby")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	calls := make(chan int, 1)
	go func() { // ends with stop
		pace := time.NewTicker(time.Second / rate)
		defer pace.Stop()
		for placed := 0; ; placed++ {
			select {
			case <-ctx.Done():
				calls <- placed
				return
			case <-pace.C:
			}
			// Half a second of talk: each call lives through a reload or two.
			if _, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String(), TalkFor: 500 * time.Millisecond}); err != nil {
				t.Error(err)
			}
		}
	}()
	loaded := n.status().Config.Loaded
	swaps, refusals := 0, 0
	tally := &callTally{}
	enough := func() bool {
		tally.sweep(carrier, room, standby)
		return refusals >= least && tally.at(room) >= rate && tally.at(standby) >= rate
	}
	for begin := time.Now(); time.Since(begin) < lasts || !enough() && time.Since(begin) < time.Minute; await(t, 200*time.Millisecond) { // however long a command takes, calls come to each
		switch swaps % 3 {
		case 0:
			n.write(swapped)
			if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, "SIGHUP has the file read", func() bool { return n.status().Config.Loaded.After(loaded) })
		case 1:
			n.write(broken)
			n.refuses("reload")
			refusals++
		case 2:
			n.write(twoRooms)
			if out, code := n.cli("reload"); code != 0 {
				t.Errorf("nines reload: exit code %d, want 0\n%s", code, out)
			}
		}
		swaps++
		loaded = n.status().Config.Loaded
	}
	stop()
	placed := <-calls
	eventually(t, 10*time.Second, "every call is over", func() bool {
		tally.sweep(carrier, room, standby)
		return len(tally.placed) == placed
	})
	tally.judge(t, nil, 20*time.Millisecond, late)
	t.Logf("%d calls, %d reloads of which %d were refused; %d calls at control-room, %d at standby\n%s", len(tally.placed), swaps, refusals,
		tally.at(room), tally.at(standby), histogram(tally.delays()))
	if tally.at(room) < rate || tally.at(standby) < rate {
		t.Errorf("%d calls were at the control room, %d at the standby; the swapped order shows at neither", tally.at(room), tally.at(standby))
	}
	if refusals < least {
		t.Errorf("a broken file was refused %d times; the test has lost its way", refusals)
	}
	n.empty(5 * time.Second)
}

// refuses runs a command that must refuse the broken file with every reason.
func (n *node) refuses(args ...string) {
	n.t.Helper()
	out, code := n.cli(args...)
	if code != 1 {
		n.t.Errorf("nines %s with a broken file: exit code %d, want 1", strings.Join(args, " "), code)
	}
	for _, why := range reasons {
		if !strings.Contains(out, why) {
			n.t.Errorf("nines %s says nothing of %q:\n%s", strings.Join(args, " "), why, out)
		}
	}
}

// TestBrokenFileIsRefusedWithEveryReason: R2, R3. Before anything runs, at a reload, and at a start, which takes the last accepted copy instead.
func TestBrokenFileIsRefusedWithEveryReason(t *testing.T) {
	t.Parallel()
	p := newPlace()
	phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Picked())})
	phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Picked())})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n := start(t, p, twoRooms)
	answers := func() {
		t.Helper()
		c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String(), TalkFor: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Talks(t.Context()); err != nil {
			t.Errorf("a call is not answered: %v", err)
		}
		if err := c.Ends(t.Context()); err != nil {
			t.Error(err)
		}
	}
	refused := func(when string) {
		t.Helper()
		st := n.status()
		if st.Config.Accepted || len(st.Config.Problems) < 3 {
			t.Errorf("%s the status says accepted=%v and %d problems; want a refusal with three:\n%s", when, st.Config.Accepted, len(st.Config.Problems),
				strings.Join(st.Config.Problems, "\n"))
		}
		if out, _ := n.cli("status"); !strings.Contains(out, "refused") {
			t.Errorf("%s nines status does not say that the file was refused:\n%s", when, out)
		}
		answers()
	}
	n.verdict("up", "control-room", "standby")
	answers()
	n.write(broken)
	n.refuses("check", n.config)
	n.refuses("reload")
	refused("after nines reload")
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the log names the reasons of a refusal by SIGHUP", func() bool { return len(n.log.with("control-rom")) >= 2 })
	refused("after SIGHUP")

	n.stop()
	n.launch()
	refused("after a start with the broken file")
	if len(n.log.with("last accepted copy")) == 0 {
		t.Errorf("the log does not say which file runs:\n%s", n.log.tail(20))
	}

	// Half a file, as a full disk leaves it. It is no YAML any more, but it still says where the copies are.
	n.stop()
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.config, text[:len(text)*3/4], 0o600); err != nil {
		t.Fatal(err)
	}
	n.launch()
	answers()
	if n.status().Config.Accepted {
		t.Error("half a file was accepted")
	}

	n.write(twoRooms)
	if out, code := n.cli("reload"); code != 0 {
		t.Errorf("nines reload of the mended file: exit code %d, want 0\n%s", code, out)
	}
	if st := n.status(); !st.Config.Accepted {
		t.Errorf("the mended file is not accepted: %v", st.Config.Problems)
	}
	answers()
}

// TestOperatorsAndMonitorsAreAnswered: the commands and pages of issue 3, point 6.
func TestOperatorsAndMonitorsAreAnswered(t *testing.T) {
	t.Parallel()
	p := newPlace()
	phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Picked())})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n := start(t, p, twoRooms)
	n.verdict("up", "control-room")
	n.verdict("down", "standby")
	c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String(), From: "+441905123456"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Talks(t.Context()); err != nil {
		t.Fatal(err)
	}

	eventually(t, 5*time.Second, "the call talks", func() bool { return n.status().Calls.Talking == 1 })
	out, code := n.cli("check", n.config)
	for _, want := range []string{"999", "control-room", "standby", "emergency"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("nines check: exit code %d, and no %q:\n%s", code, want, out)
		}
	}
	out, code = n.cli("status", "--json")
	var st console.Status
	if err := json.Unmarshal([]byte(out), &st); code != 0 || err != nil {
		t.Errorf("nines status --json: exit code %d, %v\n%s", code, err, out)
	}
	if e, _ := st.Endpoint("standby"); e.Verdict != "down" || e.Explanation == "" || len(e.Evidence) == 0 || e.WhatBringsBack == "" {
		t.Errorf("the status of an endpoint that is down: %+v; want the verdict, its evidence, and what brings it back", e)
	}
	if e, _ := st.Endpoint("control-room"); e.Calls != 1 || st.Calls.Talking != 1 || st.Ports.Used == 0 {
		t.Errorf("with one call talking the status says %d calls at the control room, %d talking, %d ports", e.Calls, st.Calls.Talking, st.Ports.Used)
	}
	if out, code = n.cli("status", "standby"); code != 0 || !strings.Contains(out, "probes missed") {
		t.Errorf("nines status standby: exit code %d\n%s", code, out)
	}
	if out, code = n.cli("version"); code != 0 || !strings.HasPrefix(out, "nines ") {
		t.Errorf("nines version: exit code %d, %q", code, out)
	}
	if out, code = cli(t, t.TempDir(), "status"); code != 3 {
		t.Errorf("nines status where no node runs: exit code %d, want 3\n%s", code, out)
	}
	if out, code = n.cli("statsu"); code != 2 || !strings.Contains(out, "status") {
		t.Errorf("nines statsu: exit code %d, want 2 and a suggestion\n%s", code, out)
	}

	for path, want := range map[string]string{
		"/healthz": "alive", "/readyz": "takes calls", "/api/v1/status": `"verdict"`,
		"/metrics": `nines_endpoint_verdict{endpoint="control-room",verdict="up"} 1`,
	} {
		code, body := get(t, p, path)
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d without %q\n%.2000s", path, code, want, body)
		}
	}
	_, metrics := get(t, p, "/metrics")
	for _, want := range []string{
		`nines_calls{state="talking"} 1`, `nines_endpoint_verdict{endpoint="standby",verdict="down"} 1`, `nines_loop_panics_total 0`,
		`nines_call_setup_seconds_count{class="emergency"} 1`, `nines_attempts_total{endpoint="control-room",outcome="answered"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no %q; it says\n%s", want, linesWith(metrics, strings.SplitN(want, "{", 2)[0]))
		}
	}
	for _, line := range n.log.lines() {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log is not JSON: %q", line)
		}
		if strings.Contains(line, "1905123456") {
			t.Errorf("the log shows a caller's number above debug level: %q", line)
		}
	}
	c.Clear()
	n.empty(5 * time.Second)
}

// get asks the console.
func get(t *testing.T, p place, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.at(1, 8080).String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// linesWith gives the lines of a text that begin so.
func linesWith(text, prefix string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
