package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"nines/app"
	"nines/console"
)

// result is what a command line did.
type result struct {
	code        int
	out, errors string
}

func (p program) try(t *testing.T, args ...string) result {
	t.Helper()
	if p.now == nil {
		p.now = func() time.Time { return now }
	}
	var stdout, stderr strings.Builder
	code := p.main(t.Context(), args, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

var now = time.Date(2026, 11, 23, 14, 2, 15, 0, time.UTC)

// node is a fake running node.
type node struct {
	console.JournalKeeper
	reload  func() (console.ReloadResult, error)
	hold    func(console.HoldRequest) (console.HoldResult, error)
	release func(endpoint, by string) (console.ReleaseResult, error)
	holds   console.HoldList
}

func (node) Ready() error { return nil }

func (n node) Reload(context.Context) (console.ReloadResult, error) { return n.reload() }

func (n node) Hold(_ context.Context, req console.HoldRequest) (console.HoldResult, error) {
	return n.hold(req)
}

func (n node) Release(_ context.Context, endpoint, by string) (console.ReleaseResult, error) {
	return n.release(endpoint, by)
}

func (n node) Holds(context.Context) (console.HoldList, error) { return n.holds, nil }

func (node) Treat(_ context.Context, req console.TreatRequest) (console.TreatResult, error) {
	if req.Route != "101" {
		return console.TreatResult{}, fmt.Errorf("%w: no routine route has the name or number %q", console.ErrNotFound, req.Route)
	}
	return console.TreatResult{Treat: console.TreatStatus{Route: req.Route, By: req.By, Why: req.Why, LeftSeconds: 3600}}, nil
}

func (node) Untreat(_ context.Context, route, by string) (console.UntreatResult, error) {
	return console.UntreatResult{Treat: console.TreatStatus{Route: route, By: "alice", Why: "999 is down"}}, nil
}

func (node) Treats(context.Context) (console.TreatList, error) {
	return console.TreatList{Treats: []console.TreatStatus{{Route: "101", By: "alice", Why: "999 is down", LeftSeconds: 60}}}, nil
}

func (node) Status() console.Status {
	return console.Status{
		Name: "west-mercia", Version: console.Version{Version: "v0.1.0"}, Ready: true, FastPath: "userspace",
		Config: console.ConfigStatus{Path: "nines.yaml", Loaded: now, Accepted: true},
		Endpoints: []console.EndpointStatus{
			{Name: "control-room", Verdict: "down", Since: now.Add(-12 * time.Second), Limit: 60, Explanation: "3 probes running were silent"},
			{Name: "standby-room", Verdict: "up", Since: now.Add(-time.Hour), Calls: 4, Explanation: "answers OPTIONS"},
		},
	}
}

// startNode serves n and returns its run folder.
func startNode(t *testing.T, n node) string {
	t.Helper()
	run, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	c := console.New(console.Config{Run: run}, n, prometheus.NewRegistry(), zerolog.Nop())
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }() // ends with ctx
	t.Cleanup(func() { cancel(); <-done; os.RemoveAll(run) })
	return run
}

func TestMistakesOnTheCommandLineExitWith2(t *testing.T) {
	tests := []struct {
		args string
		says string
	}{
		{"statsu", `there is no command "statsu"; did you mean "status"?`},
		{"fly", `there is no command "fly"`},
		{"status a b", "status: accepts at most 1 arg(s), received 2"},
		{"status --nonsense", "unknown flag: --nonsense"},
		{"check", "check: accepts 1 arg(s), received 0"},
		{"run nines.yaml", `run: unknown command "nines.yaml" for "nines run"`},
		{"run --log-level loud", "loud"},
		{"hold", "hold: accepts 1 arg(s), received 0"},
		{"hold control-room", `hold needs --for and --why and --by: nines hold ENDPOINT --for 2h --why "power work" --by alice`},
		{"hold control-room --for 2h --by alice", "hold needs --why: nines hold"},
		{"hold control-room --for 2 --why w --by alice", `for "2" has no unit: say 30m, 2h or 1d, at most 7d`},
		{"hold control-room --for 8d --why w --by alice", `for "8d" is too long: at most 7d`},
		{"hold control-room --for 0 --why w --by alice", `for "0" is too short: at least 1s`},
		{"hold control-room --for 2h --why= --by alice", `why? Say it`},
		{"hold control-room --for 2h --why w --by=", `by? Say it`},
		{"hold a b --for 2h --why w --by alice", "hold: accepts 1 arg(s), received 2"},
		{"release", "release: accepts 1 arg(s), received 0"},
		{"release control-room", "release needs --by: nines release ENDPOINT --by alice"},
		{"release control-room --by=", "by? Say it"},
		{"holds control-room", `holds: unknown command "control-room" for "nines holds"`},
		{"demo --for soon", `invalid argument "soon" for "--for"`},
		{"demo --rate 0", "--rate 0: must be more than 0"},
		{"demo --kill-after 5s --restore-after 5s", "--restore-after 5s: must be after --kill-after 5s"},
		{"demo --for 10s --kill-after 5s --restore-after 12s", "--for 10s: ends before the story does at 12s"},
	}
	for _, tt := range tests {
		got := program{}.try(t, strings.Fields(tt.args)...)
		if got.code != exitUsage || !strings.Contains(got.errors, tt.says) || got.out != "" {
			t.Errorf("nines %s: %+v; want exit %d and %q", tt.args, got, exitUsage, tt.says)
		}
	}
}

func TestNoRunningNodeExitsWith3(t *testing.T) {
	empty := t.TempDir()
	for _, args := range [][]string{
		{"status"},
		{"status", "control-room"},
		{"status", "--json"},
		{"reload"},
		{"holds"},
		{"hold", "control-room", "--for", "2h", "--why", "power work", "--by", "alice"},
		{"release", "control-room", "--by", "alice"},
	} {
		got := program{}.try(t, append(args, "--run", empty)...)
		if got.code != exitUnreachable || !strings.Contains(got.errors, filepath.Join(empty, console.SocketName)) || got.out != "" {
			t.Errorf("nines %v: %+v; want exit %d and where it looked", args, got, exitUnreachable)
		}
	}
}

func TestStatusIsShown(t *testing.T) {
	run := startNode(t, node{})
	t.Setenv("NINES_RUN", run)
	got := program{}.try(t, "status")
	for _, want := range []string{
		"west-mercia  takes calls",
		"  control-room  DOWN     12s    0 of 60  -      3 probes running were silent\n",
		"  standby-room  up       60m    4        -      answers OPTIONS\n",
	} {
		if !strings.Contains(got.out, want) {
			t.Errorf("nines status printed\n%swithout %q", got.out, want)
		}
	}
	if got := (program{}).try(t, "status", "control-room"); got.code != exitDone || !strings.HasPrefix(got.out, "control-room  DOWN since 2026-11-23 14:02:03 (12s)\n") {
		t.Errorf("nines status control-room: %+v", got)
	}
	if got := (program{}).try(t, "status", "kontrol-room"); got.code != exitFailed || !strings.Contains(got.errors, "there are control-room, standby-room") {
		t.Errorf("nines status kontrol-room: %+v; want exit %d and the names", got, exitFailed)
	}
}

func TestStatusAsJSONIsTheAPIs(t *testing.T) {
	run := startNode(t, node{})
	got := program{}.try(t, "status", "--json", "--run", run)
	var status console.Status
	if err := json.Unmarshal([]byte(got.out), &status); err != nil || got.code != exitDone {
		t.Fatalf("nines status --json: %+v: %v", got, err)
	}
	if diff := cmp.Diff(status, node{}.Status()); diff != "" {
		t.Errorf("the status changed on its way (-got +want):\n%s", diff)
	}
}

func TestEndpointNamesAreCompleted(t *testing.T) {
	run := startNode(t, node{})
	t.Setenv("NINES_RUN", run)
	got := program{}.try(t, "__complete", "status", "")
	if !strings.HasPrefix(got.out, "control-room\nstandby-room\n") {
		t.Errorf("completion offered %q, want the endpoints of the running node", got.out)
	}
}

func TestEachCommandOffersTheEndpointsItCanAct(t *testing.T) {
	run := startNode(t, node{})
	t.Setenv("NINES_RUN", run)
	for args, want := range map[string]string{
		"hold":                 "control-room\nstandby-room\n:4\n",
		"release":              "control-room\n:4\n", // the one that is up has nothing to be released from
		"status":               "control-room\nstandby-room\n:4\n",
		"status control-room":  ":4\n",
		"hold control-room":    ":4\n",
		"release control-room": ":4\n",
	} {
		got := program{}.try(t, append(append([]string{"__complete"}, strings.Fields(args)...), "")...)
		if got.out != want {
			t.Errorf("after nines %s completion offered %q, want %q", args, got.out, want)
		}
	}
}

func TestHoldReleaseAndHolds(t *testing.T) {
	hold := console.HoldStatus{Endpoint: "control-room", By: "alice", Why: "power work", From: now, Until: now.Add(2 * time.Hour), LeftSeconds: 7200}
	unknown := errors.New(`no endpoint is called "kontrol-room"; did you mean "control-room"?`)
	n := node{
		hold: func(req console.HoldRequest) (console.HoldResult, error) {
			if req.Endpoint == "kontrol-room" {
				return console.HoldResult{}, unknown
			}
			if want := (console.HoldRequest{Endpoint: "control-room", For: "2h", Why: "power work", By: "alice"}); req != want {
				t.Errorf("the node was asked for %+v, want %+v", req, want)
			}
			return console.HoldResult{Hold: hold}, nil
		},
		release: func(endpoint, by string) (console.ReleaseResult, error) {
			if endpoint == "kontrol-room" {
				return console.ReleaseResult{}, unknown
			}
			return console.ReleaseResult{Endpoint: endpoint, Hold: &hold, Explanation: "up, thanks to " + by}, nil
		},
		holds: console.HoldList{Holds: []console.HoldStatus{hold}},
	}
	t.Setenv("NINES_RUN", startNode(t, n))
	held := "control-room is held by alice until 2026-11-23 16:02:15 (2h): power work\n"
	tests := []struct {
		args []string
		want result
	}{
		{
			[]string{"hold", "control-room", "--for", "2h", "--why", "power work", "--by", "alice"},
			result{exitDone, held + "  it is asked last, but no emergency call's plan leaves it out; its calls in progress go on\n", ""},
		},
		{[]string{"hold", "kontrol-room", "--for", "2h", "--why", "w", "--by", "alice"}, result{exitFailed, "", "nines: " + unknown.Error() + "\n"}},
		{
			[]string{"release", "control-room", "--by", "bob"},
			result{exitDone, "control-room is released\n  it was held by alice until 2026-11-23 16:02:15: power work\n  up, thanks to bob\n", ""},
		},
		{[]string{"release", "kontrol-room", "--by", "bob"}, result{exitFailed, "", "nines: " + unknown.Error() + "\n"}},
		{
			[]string{"holds"},
			result{exitDone, "ENDPOINT      BY     SINCE                UNTIL                LEFT  WHY\n" +
				"control-room  alice  2026-11-23 14:02:15  2026-11-23 16:02:15  2h    power work\n", ""},
		},
	}
	for _, tt := range tests {
		if got := (program{}).try(t, tt.args...); got != tt.want {
			t.Errorf("nines %s: got %+v, want %+v", strings.Join(tt.args, " "), got, tt.want)
		}
	}
	for _, args := range [][]string{
		{"hold", "control-room", "--for", "2h", "--why", "power work", "--by", "alice", "--json"}, {"release", "control-room", "--by", "bob", "--json"}, {"holds", "--json"},
	} {
		got := program{}.try(t, args...)
		if got.code != exitDone || !json.Valid([]byte(got.out)) || !strings.Contains(got.out, `"why": "power work"`) {
			t.Errorf("nines %s: %+v; want JSON with the hold", strings.Join(args, " "), got)
		}
	}
}

func TestReloadExitsByWhatBecameOfIt(t *testing.T) {
	tests := []struct {
		name   string
		result console.ReloadResult
		err    error
		args   []string
		want   result
	}{
		{"accepted", console.ReloadResult{Accepted: true, Restart: []string{"listen"}}, nil, nil, result{exitDone, "accepted\nneeds a restart:\n  listen\n", ""}},
		{
			"refused",
			console.ReloadResult{Problems: []string{"nines.yaml:3: listen: no such transport"}},
			nil, nil,
			result{exitFailed, "refused; the running configuration stays:\n  nines.yaml:3: listen: no such transport\n", ""},
		},
		{"not tried", console.ReloadResult{}, errors.New("another is under way"), nil, result{exitFailed, "", "nines: reload: another is under way\n"}},
		{
			"refused, as JSON",
			console.ReloadResult{Problems: []string{"p"}},
			nil,
			[]string{"--json"},
			result{exitFailed, "{\n  \"accepted\": false,\n  \"problems\": [\n    \"p\"\n  ]\n}\n", ""},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run := startNode(t, node{reload: func() (console.ReloadResult, error) { return tt.result, tt.err }})
			if got := (program{}).try(t, append([]string{"reload", "--run", run}, tt.args...)...); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestRunHandsTheFileToTheApp(t *testing.T) {
	var got app.Options
	p := program{run: func(_ context.Context, o app.Options) error {
		got = o
		o.Log.Debug().Msg("too quiet")
		o.Log.Warn().Str("call", "17").Msg("heard")
		return nil
	}}
	r := p.try(t, "run", "--config", "some.yaml", "--log-level", "warn")
	if r.code != exitDone || got.ConfigPath != "some.yaml" || got.Version != version || got.Reload == nil {
		t.Errorf("%+v ran with %+v", r, got)
	}
	var line struct{ Level, Call, Message, Time string }
	if err := json.Unmarshal([]byte(r.errors), &line); err != nil {
		t.Fatalf("the log %q is not one line of JSON: %v", r.errors, err)
	}
	if line.Level != "warn" || line.Call != "17" || line.Message != "heard" || line.Time == "" {
		t.Errorf("the log says %q", r.errors)
	}
}

func TestARunThatFailsExitsWith1(t *testing.T) {
	p := program{run: func(context.Context, app.Options) error {
		return errors.New("listen on udp://0.0.0.0:5060: address in use")
	}}
	if got, want := p.try(t, "run"), (result{exitFailed, "", "nines: listen on udp://0.0.0.0:5060: address in use\n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCheckExitsByItsVerdict(t *testing.T) {
	for accepted, code := range map[bool]int{true: exitDone, false: exitFailed} {
		p := program{check: func(path string, w io.Writer) bool {
			_, _ = io.WriteString(w, path+" was read\n")
			return accepted
		}}
		if got, want := p.try(t, "check", "some.yaml"), (result{code, "some.yaml was read\n", ""}); got != want {
			t.Errorf("accepted %v: got %+v, want %+v", accepted, got, want)
		}
	}
}

func TestCheckSaysTheSameToMachines(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("lisen: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, accepted := range map[string]bool{"../../configs/small.yaml": true, bad: false, "none.yaml": false} {
		r := program{}.try(t, "check", "--json", file)
		var c app.Checked
		if err := json.Unmarshal([]byte(r.out), &c); err != nil {
			t.Fatalf("%s: %v in %q", file, err, r.out)
		}
		if c.Accepted != accepted || (r.code == exitDone) != accepted || accepted != (c.Meaning != "") {
			t.Errorf("%s: exit %d, %+v; want accepted %t", file, r.code, c, accepted)
		}
		if !accepted && (len(c.Problems) == 0 || c.Problems[0].What == "" || c.Problems[0].Fix == "") {
			t.Errorf("%s: %+v; want each problem with what to do", file, c.Problems)
		}
	}
}

func TestTheDemoGetsItsStory(t *testing.T) {
	var got app.DemoOptions
	p := program{demo: func(_ context.Context, o app.DemoOptions) (app.DemoSummary, error) {
		got = o
		return app.DemoSummary{}, errors.New("no loopback here")
	}}
	r := p.try(t, "demo", "--for", "20s", "--kill-after", "5s", "--restore-after", "12s", "--json", "--rate", "7")
	if r.code != exitFailed || r.out != "" || r.errors != "nines: no loopback here\n" {
		t.Errorf("got %+v", r)
	}
	if got.For != 20*time.Second || got.KillAfter != 5*time.Second || got.RestoreAfter != 12*time.Second || got.Rate != 7 {
		t.Errorf("the demo got %+v", got)
	}
	if got.View != nil || got.Keys != nil {
		t.Error("with --json nothing else is printed and no key is read")
	}
}

func TestADemoThatLostACallFails(t *testing.T) {
	bad := app.DemoSummary{}
	if bad.OK() {
		t.Fatal("a demo without a call is no success")
	}
	p := program{demo: func(context.Context, app.DemoOptions) (app.DemoSummary, error) { return bad, nil }}
	got := p.try(t, "demo", "--json")
	if got.code != exitFailed || !json.Valid([]byte(got.out)) {
		t.Errorf("got %+v; want exit %d and the summary", got, exitFailed)
	}
}

func TestVersionSaysWhich(t *testing.T) {
	if got := (program{}).try(t, "version"); got.code != exitDone || !strings.HasPrefix(got.out, "nines "+version+", go1.") {
		t.Errorf("got %+v", got)
	}
	if got := (program{}).try(t, "version", "--json"); !strings.Contains(got.out, `"version": "`+version+`"`) {
		t.Errorf("got %+v", got)
	}
}

func TestHelpAndCompletionWork(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"--help"}, {"completion", "bash"}, {"run", "--help"}} {
		if got := (program{}).try(t, args...); got.code != exitDone || got.out == "" || got.errors != "" {
			t.Errorf("nines %v: exit %d, errors %q, %d bytes", args, got.code, got.errors, len(got.out))
		}
	}
}

func TestTreatSaysWhatItNeeds(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"treat 101 as emergency", "treat needs --for and --why and --by"},
		{"treat 101 as urgent --by alice", `not as "urgent"`},
		{"treat 101 like emergency", "say: nines treat 101 as emergency, or as routine"},
		{"treat 101 as routine", "treat needs --by"},
		{"treat 101 as emergency --for 9d --why x --by alice", "too long"},
		{"untreat 101", "untreat needs --by"},
	} {
		got := program{}.try(t, strings.Fields(tt.args)...)
		if got.code != exitUsage || !strings.Contains(got.errors, tt.want) {
			t.Errorf("nines %s: exit %d, %q; want %d and %q", tt.args, got.code, got.errors, exitUsage, tt.want)
		}
	}
	t.Setenv("NINES_RUN", startNode(t, node{}))
	for args, want := range map[string]string{
		"treat 101 as emergency --for 1h --why 999-is-down --by alice": "calls to 101 are emergencies until",
		"treat 102 as emergency --for 1h --why 999-is-down --by alice": "no routine route has the name or number",
		"treat 101 as routine --by bob":                                "calls to 101 are routine again",
		"untreat 101 --by bob":                                         "calls to 101 are routine again",
		"treats":                                                       "101    emergency  alice",
		"treats --json":                                                `"left_seconds": 60`,
	} {
		if got := (program{}).try(t, strings.Fields(args)...); !strings.Contains(got.out+got.errors, want) {
			t.Errorf("nines %s: %+v, want %q", args, got, want)
		}
	}
}
