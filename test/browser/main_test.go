// Package browser looks at the console as a person does, in a real browser: Chromium, driven without a window.
package browser

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"nines/console"
	"nines/journal"
)

// chromium is the browser that all tests share; empty with the reason when there is none.
var (
	chromium context.Context
	missing  string
)

func TestMain(m *testing.M) {
	flag.Parse()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		missing = "there is no Chromium here: install Debian's package chromium"
		os.Exit(m.Run())
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WindowSize(1280, 900))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox refuses root
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	browser, leave := chromedp.NewContext(allocator)
	if err := chromedp.Do(browser); err != nil {
		missing = "Chromium does not start: " + err.Error()
	}
	chromium = browser
	code := m.Run()
	leave()
	end()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// node is a fake program whose status a test changes.
type node struct {
	console.Node // what a test does not need

	mu     sync.Mutex
	status console.Status
	calls  []console.CallSummary
	back   []journal.CallBack
	held   []console.HoldRequest
	done   []console.CallBackDone
	looks  int

	treats    []console.TreatRequest
	seen      []string
	confirmed []console.Confirmation
	told      []console.NoticeStatus
	outage    journal.Incident
}

func (n *node) Status() console.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looks++
	s := n.status
	s.Endpoints = append([]console.EndpointStatus(nil), s.Endpoints...)
	return s
}

func (n *node) Ready() error { return nil }

func (n *node) change(do func(*console.Status)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.Endpoints = append([]console.EndpointStatus(nil), n.status.Endpoints...)
	n.status.Routes = append([]console.RouteStatus(nil), n.status.Routes...)
	do(&n.status)
}

func (n *node) Calls(context.Context, console.CallQuery, journal.Mask) (console.CallList, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return console.CallList{Calls: append([]console.CallSummary(nil), n.calls...)}, nil
}

func (n *node) Call(_ context.Context, id string, _ journal.Mask) (console.CallDetail, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.calls {
		if c.ID == id {
			return detail(c), nil
		}
	}
	return console.CallDetail{}, console.ErrNotFound
}

func (n *node) CallBackList(context.Context, bool, journal.Mask) (console.CallBackList, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return console.CallBackList{Open: len(n.back), Lines: append([]journal.CallBack(nil), n.back...)}, nil
}

func (n *node) CallBackDone(_ context.Context, d console.CallBackDone) (console.CallBackResult, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.done, n.back = append(n.done, d), nil
	return console.CallBackResult{}, nil
}

func (n *node) Hold(_ context.Context, req console.HoldRequest) (console.HoldResult, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = append(n.held, req)
	return console.HoldResult{}, nil
}

func (n *node) Treat(_ context.Context, req console.TreatRequest) (console.TreatResult, error) {
	n.change(func(s *console.Status) { n.treats = append(n.treats, req); treated(s, req.Why) })
	return console.TreatResult{}, nil
}

func (n *node) Untreat(context.Context, string, string) (console.UntreatResult, error) {
	n.change(func(s *console.Status) { s.Routine.Treats = nil })
	return console.UntreatResult{}, nil
}

func (n *node) Notices() console.NoticeList {
	n.mu.Lock()
	defer n.mu.Unlock()
	return console.NoticeList{Notices: append([]console.NoticeStatus(nil), n.told...)}
}

func (n *node) Acknowledge(_ context.Context, id, by string) (console.AcknowledgeResult, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, id+" by "+by)
	n.told[0].Waits, n.told[0].AcknowledgedBy = false, by
	return console.AcknowledgeResult{}, nil
}

func (n *node) Incidents(context.Context, time.Time) (console.IncidentList, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := n.outage
	return console.IncidentList{Incidents: []*journal.Incident{&i}}, nil
}

func (n *node) Incident(context.Context, string) (journal.Report, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := n.outage
	return journal.Report{Node: "west-mercia", Made: time.Now(), Incident: &i}, nil
}

// story changes the outage. What was handed out stays as it was.
func (n *node) story(change func(*journal.Incident)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := n.outage.Clone()
	change(i)
	n.outage = *i
}

func (n *node) ConfirmIncident(_ context.Context, c console.Confirmation) (console.ConfirmResult, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.confirmed = append(n.confirmed, c)
	n.outage.Confirmed, n.outage.ConfirmedBy = time.Now(), c.By
	return console.ConfirmResult{}, nil
}

func (n *node) Journal(_ context.Context, q journal.Query, each func(journal.Entry) error) error {
	n.mu.Lock()
	why := n.outage.Verdict
	n.mu.Unlock()
	return each(journal.Entry{At: time.Now(), Type: journal.ServiceStateChange, Endpoint: q.Endpoint, What: "up→down", Why: why})
}

// treated has 101 treated as emergency.
func treated(s *console.Status, why string) {
	s.Routine.Treats = []console.TreatStatus{{Route: "101", By: "alice", Why: why, From: time.Now(), Until: time.Now().Add(time.Hour), LeftSeconds: 3600}}
}

// shed has load protection switch 101.
func shed(s *console.Status) {
	s.Routine.Announcing = 3
	s.Routine.Shed = []console.ShedStatus{{Route: "101", Since: time.Now().Add(-time.Minute), Why: "12 emergency calls wait for an answer"}}
}

// pastOutage is one that nobody has confirmed to be over.
func pastOutage() journal.Incident {
	began := time.Now().Add(-2 * time.Hour)
	return journal.Incident{
		ID: "i-1", Endpoints: []string{"control-room"}, Routes: []string{"999"}, Began: began, Evidence: "a probe was silent", Detected: began.Add(3 * time.Second), Verdict: "3 probes running were silent",
		Diverted: began.Add(5 * time.Second), DivertedCall: "a-1", Back: began.Add(time.Hour), Restored: began.Add(time.Hour + time.Minute), Proof: "2 calls talked",
		Calls:    journal.CallCount{Touched: 12, Emergency: 12, Elsewhere: 9, ToPartners: 7, LostEnd: 3, Rescued: 3},
		Answered: []*journal.Use{{Name: "warwickshire", Partner: true, Calls: 7, Talk: 450 * time.Second, Peak: 2}, {Name: "standby-room", Calls: 2}},
		Timeline: []journal.Line{{At: began, Text: "control-room: a probe was silent"}, {At: began.Add(time.Hour), Text: "control-room answers OPTIONS again"}},
	}
}

// evil is what strangers put where a name or a number belongs.
const evil = `<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>"'>`

// goodDay is a node that everybody answers.
func goodDay() *node {
	now := time.Now()
	up := func(name string, partner bool) console.EndpointStatus {
		return console.EndpointStatus{Name: name, URI: "sip:" + name, Verdict: "up", Since: now.Add(-time.Hour), Explanation: "answered OPTIONS with 200", Limit: 60, Calls: 3, RTTMillis: 1.2, Partner: partner, Answered: 40}
	}
	talking := console.CallSummary{ID: "a-1", State: "talking", Began: now.Add(-time.Minute), Answered: now.Add(-59 * time.Second), Trunk: "bt", Route: "999", Class: "emergency", Caller: "+441905000001", Called: "999", Endpoint: "control-room", SetupMillis: 201, Attempts: 1}
	over := talking
	over.ID, over.State, over.Outcome, over.Ended, over.Why, over.Rescues = "a-2", "over", "answered", now, "the caller hung up", 1
	return &node{
		outage: pastOutage(),
		told:   []console.NoticeStatus{{ID: "n-1", Code: "calls-diverted", Severity: "critical", Title: "emergency calls are answered elsewhere", Text: "control-room is down", Began: now, Waits: true}},
		status: console.Status{
			Name: "west-mercia", Version: console.Version{Version: "v1"}, Ready: true, FastPath: "userspace", Config: console.ConfigStatus{Accepted: true},
			Endpoints: []console.EndpointStatus{up("control-room", false), up("standby-room", false), up("warwickshire", true)},
			Routes: []console.RouteStatus{
				{Name: "999", Class: "emergency", Order: []string{"control-room", "standby-room", "warwickshire"}, Usual: "control-room", Latest: &console.Answer{At: now, Endpoint: "control-room", SetupMillis: 201}},
				{Name: "101", Class: "routine", Order: []string{"control-room", "standby-room"}, Usual: "control-room"},
			},
			Calls:   console.CallStatus{Total: 1, Talking: 1, Placed: 41, Answered: 40},
			Rescues: console.RescueStatus{Begun: 2, Rescued: 2, Latest: []console.Rescue{{At: now, Route: "999", Endpoint: "standby-room", GapMillis: 640}, {At: now, Route: "999", Endpoint: "standby-room", GapMillis: 2400}}},
			Notices: []string{"3 INVITEs came from sources that are on no trunk"},
		},
		calls: []console.CallSummary{talking, over},
		back:  []journal.CallBack{{ID: "a-3", Number: "+441905000003", Missed: []journal.MissedCall{{Call: "a-2", Ended: now, Trunk: "bt", Outcome: "lost_talking", Reason: "lost while talking to control-room"}}}},
	}
}

// detail is a call with messages.
func detail(c console.CallSummary) console.CallDetail {
	at := func(ms int) time.Time { return c.Began.Add(time.Duration(ms) * time.Millisecond) }
	return console.CallDetail{
		Call: c,
		Entries: []journal.Entry{
			{At: at(0), Type: journal.CallStart, Caller: c.Caller, Called: c.Called},
			{At: at(1), Type: journal.Route, Endpoint: "control-room", Attempt: 1, Why: "up"},
			{At: at(900), Type: journal.CallStateChange, What: "lost", Endpoint: "control-room", Attempt: 1},
			{At: at(901), Type: journal.Route, Endpoint: "warwickshire", Partner: true, Attempt: 2, Why: "control-room was lost while it talked"},
		},
		Messages: []console.CallMessage{
			{At: at(0), In: true, Proto: "UDP", Remote: "192.0.2.1:5060", Text: "INVITE sip:999@nines SIP/2.0\r\nFrom: \"" + c.Caller + "\" <sip:x>\r\nUser-Agent: " + c.Caller + "\r\n\r\n"},
			{At: at(1), Attempt: 1, Proto: "UDP", Remote: "10.0.0.10:5060", Text: "INVITE sip:999@control-room SIP/2.0\r\n\r\n"},
			{At: at(200), In: true, Attempt: 1, Proto: "UDP", Remote: "10.0.0.10:5060", Text: "SIP/2.0 200 " + c.Called + "\r\n\r\n"},
			{At: at(201), Proto: "UDP", Remote: "192.0.2.1:5060", Text: "SIP/2.0 200 OK\r\n\r\n"},
		},
	}
}

// down makes an outage of the first endpoint.
func down(s *console.Status) {
	s.Endpoints[0].Verdict, s.Endpoints[0].Since, s.Endpoints[0].Evidence = "down", time.Now(), []string{"3 probes running were silent"}
	s.Routes[0].Order = []string{"standby-room", "warwickshire", "control-room"}
}

// up ends it.
func up(s *console.Status) {
	s.Endpoints[0].Verdict, s.Endpoints[0].Since, s.Endpoints[0].Evidence = "up", time.Now(), nil
	s.Routes[0].Order = []string{"control-room", "standby-room", "warwickshire"}
}

// serve opens a console; listen may name the port of one that was there before.
func serve(t *testing.T, n console.Node, listen, dir string) (address string, stop func()) {
	t.Helper()
	hash := sha256.Sum256([]byte("alices-secret"))
	if err := os.WriteFile(filepath.Join(dir, "tokens"), fmt.Appendf(nil, "alice operator %x\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	c := console.New(console.Config{Listen: listen, Tokens: func() string { return filepath.Join(dir, "tokens") }, Key: filepath.Join(dir, "key")}, n, prometheus.NewRegistry(), zerolog.Nop())
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }() // ended by stop
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return c.Addr().String(), stop
}

// tab is one tab of the browser, with cookies of its own.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string
}

// patience is how long a page may take on a busy machine; what must be fast is measured by itself.
const patience = time.Minute

func open(t *testing.T, n console.Node) *tab {
	t.Helper()
	needChromium(t)
	address, _ := serve(t, n, "127.0.0.1:0", t.TempDir())
	return newTab(t, "http://"+address)
}

func needChromium(t *testing.T) {
	t.Helper()
	if missing != "" {
		t.Skip(missing)
	}
}

func newTab(t *testing.T, base string) *tab {
	t.Helper()
	ctx, leave := chromedp.NewContext(chromium)
	t.Cleanup(leave)
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as the context of its first step
		t.Fatal(err)
	}
	tab := &tab{t: t, ctx: ctx, base: base}
	tab.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		if _, err := chromedp.Call(ctx, network.ClearBrowserCookies, none); err != nil {
			return err
		}
		_, err := chromedp.Call(ctx, page.BringToFront, none) // a page that nobody sees does not follow the node
		return err
	}))
	return tab
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) visit(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base+path), chromedp.WaitReady(chromedp.CSS("main")))
}

// live visits a page and waits until it follows the node.
func (b *tab) live(path string) {
	b.t.Helper()
	b.visit(path)
	b.wait(`document.getElementById("live").dataset.state === "live"`)
}

// wait waits until an expression is true.
func (b *tab) wait(expression string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression)) // an error: the page is on its way to another
		if err == nil && is {
			return
		}
		if time.Now().After(end) {
			text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText.slice(0, 1500)`))
			b.t.Fatalf("never true: %s: %v\n%s", expression, err, text)
		}
	}
}

// eval gives what an expression is.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q).innerText", selector))
}

func (b *tab) signIn() {
	b.t.Helper()
	b.visit("/login")
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), "alices-secret"), chromedp.Submit(chromedp.CSS("#token")))
	b.wait(`document.querySelector(".who-name")?.textContent === "alice"`)
}

var errNoAxe = errors.New("axe-core is not here and could not be fetched")

// axe gives the source of axe-core, from npm.
var axe = sync.OnceValues(func() (string, error) {
	const version = "4.14.1"
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "nines-test", "axe-core-"+version)
	file := filepath.Join(dir, "node_modules", "axe-core", "axe.min.js")
	if source, err := os.ReadFile(file); err == nil {
		return string(source), nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("%w: there is no npm", errNoAxe)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "axe-core@"+version).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %w: %s", errNoAxe, err, strings.TrimSpace(string(out)))
	}
	source, err := os.ReadFile(file)
	return string(source), err
})

// freeAddress is one where nobody listens now, for UDP and TCP, and nobody does by chance before it is used: the system gives its port to no connection.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprint("127.0.0.1:", 10000+(uint32(os.Getpid())*31+given.Add(1))%8000)
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", address)
		_ = l.Close()
		if err == nil && c.Close() == nil {
			return address
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return ""
}

// given counts the ports that freeAddress has tried.
var given atomic.Uint32
