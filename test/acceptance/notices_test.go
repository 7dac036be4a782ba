package acceptance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nines/internal/town"
	"nines/notify"
)

// noticed is one message of a webhook.
type noticed struct {
	at     time.Time
	signed bool

	Thread   string            `json:"thread"`
	Code     string            `json:"code"`
	State    string            `json:"state"`
	Text     string            `json:"text"`
	Room     string            `json:"room"`
	Reminder bool              `json:"reminder"`
	Public   map[string]string `json:"public_notice"`
	Facts    struct {
		Diverted map[string]int `json:"diverted"`
		Caller   string         `json:"caller"`
	} `json:"facts"`
}

// hook is a receiver of webhooks that checks signatures as its owner would.
type hook struct {
	*httptest.Server
	secret string

	mu   sync.Mutex
	said []noticed
}

func newHook(t *testing.T, secret string) *hook {
	t.Helper()
	h := &hook{secret: secret}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

// ServeHTTP takes one message.
func (h *hook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	n := noticed{at: time.Now()}
	n.signed = r.Header.Get(notify.HeaderSignature) == "v1="+notify.Signature(h.secret, r.Header.Get(notify.HeaderTimestamp), body)
	_ = json.Unmarshal(body, &n)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, n)
}

func (h *hook) heard(is func(noticed) bool) []noticed {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []noticed
	for _, n := range h.said {
		if is(n) {
			all = append(all, n)
		}
	}
	return all
}

// TestADeadPrimaryIsToldUntilSomebodyAcknowledges: R36. Calls run, the primary is killed, the first call that somebody else answers brings the notice
// within the minute; beside it hang a webhook that never answers, one that refuses, a mail server that says 450 and a name that resolves nowhere.
func TestADeadPrimaryIsToldUntilSomebodyAcknowledges(t *testing.T) {
	t.Parallel()
	p := newPlace()
	dir := shortDir(t)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("between us\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good, room := newHook(t, "between us"), newHook(t, "")
	hang := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	t.Cleanup(func() { close(hang); hanging.Close() })
	refusing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(refusing.Close)
	post := busyPost(t)

	yaml := head + fmt.Sprintf(`
trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 50 }
  standby: { uri: "sip:{11}:5060", calls: 50 }
  neighbour: { uri: "sip:{12}:5060", calls: 10, partner: true }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby, neighbour] }
  - { name: "101", class: routine, numbers: ["101"], ask: [control-room] }
public: { name: Acceptance Police, online: "https://report.example/" }
notify:
  - { webhook: "%s/hook", secret_file: %s, repeat: 2s }
  - { webhook: "%s/room", rooms: [standby, control-room] }
  - { webhook: "%s/hangs", repeat: 2s }
  - { webhook: "%s/refuses", repeat: 2s }
  - { webhook: "https://nowhere.invalid/", repeat: 2s }
  - { mail: ops@force.example, smtp: "smtp://%s", repeat: 2s }
`, good.URL, secret, room.URL, hanging.URL, refusing.URL, post)
	n := start(t, p, yaml)
	primary := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Picked())})
	standby := phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Answers(time.Second))})
	phone(t, town.PhoneConfig{Name: "neighbour", Addr: p.sip(12), Script: town.Always(town.Picked())})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n.verdict("up", "control-room", "standby", "neighbour")
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	call := func(give time.Duration) *town.Call {
		c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String(), TalkFor: give})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := call(time.Second).Ends(ctx); err != nil {
		t.Fatal(err)
	}
	if told := good.heard(func(n noticed) bool { return strings.HasPrefix(n.Code, "calls-") }); len(told) != 0 {
		t.Fatalf("a call that the first room answered was told: %+v", told)
	}

	primary.Kill()
	var slowest time.Duration
	var first time.Time
	for i := range 6 {
		c := call(500 * time.Millisecond)
		if err := c.Talks(ctx); err != nil {
			t.Fatalf("call %d in the outage: %v", i, err)
		}
		if first.IsZero() {
			first = time.Now()
		}
		slowest = max(slowest, c.Record().Delay())
		if err := c.Ends(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if limit := 2*time.Second + late; slowest > limit {
		t.Errorf("a call was answered after %v; want at most %v, whatever the receivers do", slowest, limit)
	}
	diverted := func(n noticed) bool { return n.Code == "calls-diverted" }
	eventually(t, 60*time.Second, "the webhook has heard of the first diverted call", func() bool { return len(good.heard(diverted)) > 0 })
	told := good.heard(diverted)[0]
	if wait := told.at.Sub(first); wait > 60*time.Second {
		t.Errorf("the notice came %v after the first diverted call; want within 60 s", wait)
	}
	t.Logf("the notice came %v after the first diverted call: %s", told.at.Sub(first).Round(time.Millisecond), told.Text)
	if !told.signed || told.State != "open" || !strings.Contains(told.Text, "standby") || !strings.Contains(told.Public["en"], "999") {
		t.Errorf("the notice is %+v; want it signed, open, with who answers and the text for the public", told)
	}

	// Several deaths are one thread, and a caller who gives up is told to the room where it rang.
	standby.Script(town.Always(town.Rings(0)))
	if _, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String(), From: "+441905000001", CancelAfter: 400 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the room has heard of the caller who gave up", func() bool {
		return len(room.heard(func(n noticed) bool { return n.Code == "abandoned-call" && n.Room == "standby" })) == 1
	})
	if got := room.heard(func(noticed) bool { return true }); len(got) != 1 || !strings.Contains(got[0].Text, "+441905000001") || got[0].Facts.Caller != "+441905000001" {
		t.Errorf("the room's receiver heard %+v; want the abandoned call alone", got)
	}
	if got := good.heard(func(n noticed) bool { return n.Code == "abandoned-call" }); len(got) != 0 {
		t.Errorf("somebody else than the room heard of the caller: %+v", got)
	}

	// Not acknowledged: it is repeated, after a crash too.
	eventually(t, 20*time.Second, "it is repeated", func() bool { return len(good.heard(func(n noticed) bool { return diverted(n) && n.Reminder })) >= 2 })
	if err := n.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Logf("nines was killed: %v", <-n.exited)
	n.gone = true
	before := len(good.heard(diverted))
	n.launch()
	eventually(t, 20*time.Second, "it is repeated after the crash", func() bool { return len(good.heard(diverted)) >= before+2 })
	threads := map[string]bool{}
	for _, m := range good.heard(func(n noticed) bool { return diverted(n) || n.Code == "room-down" }) {
		threads[m.Thread] = true
	}
	if len(threads) != 1 {
		t.Errorf("one outage is %d threads: %v; want one", len(threads), threads)
	}
	list, code := n.cli("notices")
	if code != 0 || !strings.Contains(list, told.Thread+"  CRITICAL") || !strings.Contains(list, "NOT ACKNOWLEDGED") {
		t.Errorf("nines notices: exit %d\n%s", code, list)
	}
	if out, code := n.cli("acknowledge", told.Thread, "--by", "alice"); code != 0 {
		t.Fatalf("acknowledge: exit %d\n%s", code, out)
	}
	acknowledged := len(good.heard(func(m noticed) bool { return m.Thread == told.Thread && m.Reminder }))
	await(t, 5*time.Second)
	if more := len(good.heard(func(m noticed) bool { return m.Thread == told.Thread && m.Reminder })) - acknowledged; more > 1 { // one may have been under way
		t.Errorf("after the acknowledgement there were %d more reminders; want none", more)
	}
	var said []string
	if !poll(20*time.Second, func() bool {
		said = n.status().Notices
		return slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "takes no notices since") })
	}) {
		t.Errorf("the status does not name the receivers that are dead: %q", said)
	}
	if log := n.log.with("between us", "/hook"); len(log) != 0 {
		t.Errorf("the log shows a secret: %s", log[0])
	}
	if out, code := n.cli("notice", "--lang", "cy"); code != 0 || !strings.Contains(out, "999") {
		t.Errorf("nines notice --lang cy: exit %d, %s", code, out)
	}
	n.empty(40 * time.Second)
}

// busyPost is a mail server that says 450 to everything.
func busyPost(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with its connection
				defer c.Close()
				fmt.Fprint(c, "220 post.example\r\n")
				for s := bufio.NewScanner(c); s.Scan(); {
					answer := "450 try again later"
					if strings.HasPrefix(s.Text(), "EHLO") {
						answer = "250 post.example"
					}
					fmt.Fprint(c, answer+"\r\n")
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestTheHeartbeatOfAStoppedNodeIsSilent: R36. It beats while calls are taken, falls silent while nines drains, and when it is stopped.
func TestTheHeartbeatOfAStoppedNodeIsSilent(t *testing.T) {
	t.Parallel()
	p := newPlace()
	beats := make(chan time.Time, 1000)
	watch := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { beats <- time.Now() }))
	t.Cleanup(watch.Close)
	n := start(t, p, head+fmt.Sprintf(`
trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060" }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room] }
notify: [{ heartbeat: "%s", every: 200ms }]
`, watch.URL))
	phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Picked())})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n.verdict("up", "control-room")
	c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Talks(ctx); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		select {
		case <-beats:
		case <-time.After(10 * time.Second):
			t.Fatal("no heartbeat for 10 s")
		}
	}
	// It drains: a call talks, so it goes on living, but no new one should come.
	if err := n.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "it says that the heartbeat is silent", func() bool { return len(n.log.with("the heartbeat is silent")) > 0 })
	await(t, 500*time.Millisecond) // one may have been under way
	for len(beats) > 0 {
		<-beats
	}
	await(t, time.Second)
	if len(beats) > 0 {
		t.Errorf("%d heartbeats came while it takes no calls", len(beats))
	}
	c.Clear()
	if err := <-n.exited; err != nil {
		t.Errorf("nines ended with %v", err)
	}
	n.gone = true
}
