package console

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// node is a fake program.
type node struct {
	status func() Status
	ready  error
	reload func(context.Context) (ReloadResult, error)

	hold    func(HoldRequest) (HoldResult, error)
	release func(endpoint, by string) (ReleaseResult, error)
	holds   func() (HoldList, error)
	treat   func(TreatRequest) (TreatResult, error)
	untreat func(route, by string) (UntreatResult, error)
	treats  func() (TreatList, error)
}

func (n node) Status() Status { return n.status() }
func (n node) Ready() error   { return n.ready }

func (n node) Reload(ctx context.Context) (ReloadResult, error) { return n.reload(ctx) }

func (n node) Hold(_ context.Context, req HoldRequest) (HoldResult, error) { return n.hold(req) }

func (n node) Release(_ context.Context, endpoint, by string) (ReleaseResult, error) {
	return n.release(endpoint, by)
}

func (n node) Holds(context.Context) (HoldList, error) { return n.holds() }

func (n node) Treat(_ context.Context, req TreatRequest) (TreatResult, error) { return n.treat(req) }

func (n node) Untreat(_ context.Context, route, by string) (UntreatResult, error) {
	return n.untreat(route, by)
}

func (n node) Treats(context.Context) (TreatList, error) { return n.treats() }

func example() node {
	return node{
		status: exampleStatus,
		reload: func(context.Context) (ReloadResult, error) { return ReloadResult{Accepted: true}, nil },
	}
}

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(Collector(func(s Scrape) { s.Status(exampleStatus()) }))
	return registry
}

// start runs a console until the test ends.
func start(t *testing.T, cfg Config, n Node) *Console {
	t.Helper()
	c := New(cfg, n, newRegistry(), zerolog.Nop())
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }() // ends with ctx
	t.Cleanup(func() { cancel(); <-done })
	return c
}

// runDir is a folder with a short name: a socket's path is limited.
func runDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "run")
}

func TestTheControlSocketReadsAndActs(t *testing.T) {
	run := runDir(t)
	start(t, Config{Run: run}, example())
	client := NewClient(run)

	status, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(status, exampleStatus()); diff != "" {
		t.Errorf("the status changed on its way (-got +want):\n%s", diff)
	}
	e, err := client.Endpoint(t.Context(), "control-room")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, exampleStatus().Endpoints[0]); diff != "" {
		t.Errorf("the endpoint changed on its way (-got +want):\n%s", diff)
	}
	version, err := client.Version(t.Context())
	if want := exampleStatus().Version; err != nil || version != want {
		t.Errorf("version %+v, %v; want %+v", version, err, want)
	}
	if r, err := client.Reload(t.Context()); err != nil || !r.Accepted {
		t.Errorf("reload gave %+v, %v; want it accepted", r, err)
	}
}

func TestAnUnknownEndpointNamesTheKnownOnes(t *testing.T) {
	run := runDir(t)
	start(t, Config{Run: run}, example())
	_, err := NewClient(run).Endpoint(t.Context(), "control/room")
	if want := `no endpoint is called "control/room"; there are control-room, warwickshire`; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func TestARefusedReloadIsAResultWithItsProblems(t *testing.T) {
	n := example()
	want := ReloadResult{Problems: []string{"nines.yaml:3: listen: no such transport"}}
	n.reload = func(context.Context) (ReloadResult, error) { return want, nil }
	run := runDir(t)
	start(t, Config{Run: run}, n)
	got, err := NewClient(run).Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("the result changed on its way (-got +want):\n%s", diff)
	}
}

func TestAReloadThatWasNotTriedIsAnError(t *testing.T) {
	n := example()
	n.reload = func(context.Context) (ReloadResult, error) {
		return ReloadResult{}, errors.New("another reload is under way")
	}
	run := runDir(t)
	start(t, Config{Run: run}, n)
	if _, err := NewClient(run).Reload(t.Context()); err == nil || err.Error() != "reload: another reload is under way" {
		t.Errorf("got error %v, want the node's words", err)
	}
}

func TestNobodyAtTheSocketIsUnreachable(t *testing.T) {
	_, err := NewClient(runDir(t)).Status(t.Context())
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable: the CLI has an exit code of its own for it", err)
	}
}

func TestTheControlSocketIsForItsOwnerOnly(t *testing.T) {
	run := runDir(t)
	start(t, Config{Run: run}, example())
	info, err := os.Stat(filepath.Join(run, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("the control socket has mode %o, want 600", got)
	}
	left, err := os.ReadDir(run)
	if err != nil || len(left) != 1 {
		t.Errorf("the run folder holds %v, %v; want the socket alone", left, err)
	}
}

func TestADeadNodesSocketIsReplaced(t *testing.T) {
	run := runDir(t)
	if err := os.Mkdir(run, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(run, SocketName)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	start(t, Config{Run: run}, example())
	if _, err := NewClient(run).Status(t.Context()); err != nil {
		t.Errorf("the stale socket is in the way: %v", err)
	}
}

func TestALivingNodesSocketStays(t *testing.T) {
	run := runDir(t)
	start(t, Config{Run: run}, example())
	second := New(Config{Run: run}, example(), newRegistry(), zerolog.Nop())
	if err := second.Open(); err == nil || !strings.Contains(err.Error(), "another nines answers there") {
		t.Errorf("a second node opened the first one's socket: %v", err)
	}
	if _, err := NewClient(run).Status(t.Context()); err != nil {
		t.Errorf("the first node's socket does not answer any more: %v", err)
	}
}

func TestAFileInTheWayIsNotRemoved(t *testing.T) {
	run := runDir(t)
	if err := os.Mkdir(run, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(run, SocketName)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(Config{Run: run}, example(), newRegistry(), zerolog.Nop()).Open(); err == nil {
		t.Error("a file was taken for a stale socket")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}

func TestTheSocketGoesWithItsNode(t *testing.T) {
	run := runDir(t)
	c := New(Config{Run: run}, example(), newRegistry(), zerolog.Nop())
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Run(ctx)
	if _, err := os.Lstat(filepath.Join(run, SocketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the control socket is still there after the end: %v", err)
	}
}

func TestARunFolderTooLongForASocketIsSaid(t *testing.T) {
	run := filepath.Join(runDir(t), strings.Repeat("x", 100))
	err := New(Config{Run: run}, example(), newRegistry(), zerolog.Nop()).Open()
	if err == nil || !strings.Contains(err.Error(), "shorter run folder") {
		t.Errorf("got %v, want what to do", err)
	}
}

func TestADoorThatFailsDoesNotCloseTheOther(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	run := runDir(t)
	c := New(Config{Run: run, Listen: taken.Addr().String()}, example(), newRegistry(), zerolog.Nop())
	if err := c.Open(); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("got %v; want the address that is taken", err)
	}
	if c.Addr() != nil {
		t.Errorf("the closed door has the address %v", c.Addr())
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }() // ends with ctx
	defer func() { cancel(); <-done }()
	if _, err := NewClient(run).Status(t.Context()); err != nil {
		t.Errorf("the control socket does not answer: %v", err)
	}
}

func TestADoorThatFailedIsTriedAgain(t *testing.T) {
	c := New(Config{Listen: "127.0.0.1:0"}, example(), newRegistry(), zerolog.Nop())
	c.reopen = time.Millisecond
	open, tries, opened := c.doors[0].open, 0, make(chan struct{})
	c.doors[0].open = func() (net.Listener, error) {
		if tries++; tries < 4 {
			return nil, errors.New("address in use")
		}
		defer close(opened)
		return open()
	}
	if err := c.Open(); err == nil {
		t.Fatal("the first failure was not said")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }() // ends with ctx
	<-opened
	cancel()
	<-done
	if tries != 4 {
		t.Errorf("the door was tried %d times, want 4", tries)
	}
}

func TestProbesAndMetricsAreServed(t *testing.T) {
	n := example()
	c := start(t, Config{Listen: "127.0.0.1:0"}, n)
	tests := []struct {
		path string
		code int
		has  string
	}{
		{"/healthz", 200, "alive\n"},
		{"/readyz", 200, "takes calls\n"},
		{"/metrics", 200, "\nnines_endpoint_verdict{endpoint=\"control-room\",verdict=\"down\"} 1\n"},
		{"/api/v1/version", 200, `{"version":"v0.1.0","go":"go1.26.0"}`},
		{"/api/v1/status", 200, `"verdict":"down"`},
		{"/api/v1/status/endpoints/warwickshire", 200, `"by":"alice"`},
		{"/api/v1/status/endpoints/nowhere", 404, `there are control-room, warwickshire`},
		{"/api/v1/reload", 405, ""},
		{"/nowhere", 404, "There is no such page"},
	}
	for _, tt := range tests {
		resp, err := http.Get("http://" + c.Addr().String() + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.code || !strings.Contains(string(body), tt.has) {
			t.Errorf("GET %s: %d %q, %v; want %d and %q", tt.path, resp.StatusCode, body, err, tt.code, tt.has)
		}
	}
}

func TestADrainingNodeIsNotReady(t *testing.T) {
	n := example()
	n.ready = errors.New("draining")
	got := knock(outside(n), "GET", "/readyz", "127.0.0.1:4711", "127.0.0.1:8080")
	if got.Code != 503 || got.Body.String() != "takes no calls: draining\n" {
		t.Errorf("got %d %q, want 503 and why", got.Code, got.Body)
	}
}

func TestWithoutATokenTheTCPDoorOnlyReads(t *testing.T) {
	n := example()
	n.reload = func(context.Context) (ReloadResult, error) {
		t.Error("the TCP door reloaded the node")
		return ReloadResult{}, nil
	}
	got := knock(outside(n), "POST", "/api/v1/reload", "127.0.0.1:4711", "localhost:8080")
	if got.Code != 401 || !strings.Contains(got.Body.String(), "the nines command on the machine") {
		t.Errorf("POST reload over TCP: %d %q, want 401 and the way that works", got.Code, got.Body)
	}
}

func TestTheAPIIsReadFromThisMachineOnly(t *testing.T) {
	handler := outside(example())
	tests := []struct {
		name, path, from, host string
		want                   int
	}{
		{"loopback", "/api/v1/status", "127.0.0.1:4711", "127.0.0.1:8080", 200},
		{"IPv6 loopback", "/api/v1/status", "[::1]:4711", "[::1]:8080", 200},
		{"mapped loopback", "/api/v1/status", "[::ffff:127.0.0.1]:4711", "localhost", 200},
		{"another machine", "/api/v1/status", "192.0.2.7:4711", "192.0.2.1:8080", 401},
		{"a page with a rebound name", "/api/v1/status", "127.0.0.1:4711", "evil.example:8080", 401},
		{"metrics from another machine", "/metrics", "192.0.2.7:4711", "nines:8080", 200},
		{"readiness from another machine", "/readyz", "192.0.2.7:4711", "nines:8080", 200},
	}
	for _, tt := range tests {
		if got := knock(handler, "GET", tt.path, tt.from, tt.host); got.Code != tt.want {
			t.Errorf("%s: GET %s from %s as %s: %d, want %d", tt.name, tt.path, tt.from, tt.host, got.Code, tt.want)
		}
	}
}

// inside is the control socket's door.
func inside(n Node) http.Handler {
	return controlHandler(n, newRegistry(), newLive(n), zerolog.Nop())
}

// outside is the TCP door of a node without a tokens file.
func outside(n Node) http.Handler { return outsideWith(n, "") }

// outsideWith is the TCP door of a node with this tokens file.
func outsideWith(n Node, file string) http.Handler {
	people := &tokens{path: func() string { return file }}
	g := &guard{tokens: people, sessions: newSessions("", people), slow: newBrake()}
	return publicHandler(n, newRegistry(), g, newLive(n), zerolog.Nop())
}

func knock(h http.Handler, method, path, from, host string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr, r.Host = from, host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAStatusSurvivesJSON(t *testing.T) {
	text, err := json.Marshal(exampleStatus())
	if err != nil {
		t.Fatal(err)
	}
	var got Status
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, exampleStatus()); diff != "" {
		t.Errorf("a field is lost (-got +want):\n%s", diff)
	}
}
