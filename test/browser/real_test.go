package browser

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"nines/console"
	"nines/internal/town"
	"nines/journal"
)

// built is the folder of the file under test; empty: nobody needed it.
var built string

// program builds the file under test, once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nines-browser")
	if err != nil {
		return "", err
	}
	built = dir
	file := filepath.Join(dir, "nines")
	build := exec.Command("go", "build", "-o", file, "./cmd/nines")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return file, fmt.Errorf("build nines: %w\n%s", err, out)
	}
	return file, nil
})

// station is a nines that runs as a process of its own, with telephones on real sockets around it.
type station struct {
	t                *testing.T
	dir              string
	sip, web         string // where it listens
	carrier          *town.Phone
	control, standby *town.Phone
	spare            []*town.Phone // old-town and harbour, whom nobody needs
	client           *console.Client
}

// A probe each 400 ms makes a verdict in a second; everything else is as shipped.
const stationFile = `
name: acceptance
listen: [udp://%[1]s]
media: { address: 127.0.0.1, ports: 18000-18999 }
state: %[2]s/state
run: %[2]s/run
trunks:
  bt: { from: [127.0.0.2/32] }
endpoints:
  control-room: { uri: "sip:%[3]s", calls: 20 }
  standby-room: { uri: "sip:%[4]s", calls: 20 }
  old-town: { uri: "sip:%[6]s", calls: 5 }
  harbour: { uri: "sip:%[7]s", calls: 5 }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby-room, old-town, harbour] }
  - { name: "101", class: routine, numbers: ["101"], ask: [control-room, standby-room] }
health: { every: 400ms, timeout: 300ms }
console: { listen: "%[5]s", tokens_file: %[2]s/tokens }
`

func newStation(t *testing.T) *station {
	t.Helper()
	needChromium(t)
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nines") // short enough for a control socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &station{t: t, dir: dir, sip: freeAddress(t), web: freeAddress(t)}
	s.carrier, s.control, s.standby = s.phone("carrier", "127.0.0.2"), s.phone("control-room", "127.0.0.3"), s.phone("standby-room", "127.0.0.4")
	s.spare = []*town.Phone{s.phone("old-town", "127.0.0.5"), s.phone("harbour", "127.0.0.6")}
	text := fmt.Sprintf(stationFile, s.sip, dir, s.control.Addr(), s.standby.Addr(), s.web, s.spare[0].Addr(), s.spare[1].Addr())
	tokens := fmt.Sprintf("alice operator %x\n", sha256.Sum256([]byte("alices-secret")))
	for name, text := range map[string]string{"nines.yaml": text, "tokens": tokens} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer // read when the process has ended
	cmd := exec.Command(file, "run", "--config", filepath.Join(dir, "nines.yaml"))
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // Wait says when it had ended before
		end := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer end.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("nines ended with %v\n%s", err, log.String())
		}
	})
	s.client = console.NewClient(filepath.Join(dir, "run"))
	s.until("all rooms are up", func() bool {
		st, err := s.client.Status(t.Context())
		return err == nil && !slices.ContainsFunc(st.Endpoints, func(e console.EndpointStatus) bool { return e.Verdict != "up" })
	})
	return s
}

// seeds are of telephones: two with the same would use the same tags and branches.
var seeds atomic.Uint64

// phone starts a telephone of the town on the kernel's network.
func (s *station) phone(name, ip string) *town.Phone {
	s.t.Helper()
	addr := netip.AddrPortFrom(netip.MustParseAddr(ip), 0)
	p, err := town.NewPhone(town.PhoneConfig{Name: name, Addr: addr, Seed: seeds.Add(1), Voice: 20 * time.Millisecond, Script: town.Always(town.Picked())})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		p.Close()
		for _, w := range p.Wrong() {
			s.t.Errorf("nines said something wrong to %s: %s", name, w)
		}
	})
	return p
}

func (s *station) until(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// call places a call and waits until somebody talks.
func (s *station) call(number string, d town.Dial) *town.Call {
	s.t.Helper()
	d.URI = "sip:" + number + "@" + s.sip
	c, err := s.carrier.Place(d)
	if err != nil {
		s.t.Fatal(err)
	}
	if d.CancelAfter > 0 {
		return c
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := c.Talks(ctx); err != nil {
		s.t.Fatalf("nobody answered a call to %s: %v", number, err)
	}
	return c
}

func (s *station) ends(c *town.Call) {
	s.t.Helper()
	c.Clear()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := c.Ends(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// book is what nines journal tail prints.
func (s *station) book() []journal.Entry {
	s.t.Helper()
	file, err := program()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := exec.Command(file, "journal", "tail", "--run", filepath.Join(s.dir, "run"), "-n", "500", "--json").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	var all []journal.Entry
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var e journal.Entry
		if err := d.Decode(&e); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// written waits until the book has an entry.
func (s *station) written(what string, is func(e *journal.Entry) bool) (found journal.Entry) {
	s.t.Helper()
	s.until("the book has "+what, func() bool {
		all := s.book()
		i := slices.IndexFunc(all, func(e journal.Entry) bool { return is(&e) })
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

// act waits until the book has what an operator did, in their name.
func (s *station) act(what, why string) {
	s.t.Helper()
	s.written(fmt.Sprintf("alice's act %q with the reason %q", what, why), func(e *journal.Entry) bool {
		return e.Type == journal.OperatorAct && e.What == what && e.By == "alice" && strings.Contains(e.Why, why)
	})
}

// TestANightAtTheConsole is a real outage at a real node, and everything that an operator does about it through the page.
func TestANightAtTheConsole(t *testing.T) {
	s := newStation(t)
	b := newTab(t, "http://"+s.web)
	b.signIn()
	b.live("/")
	eval[bool](b, `new MutationObserver(() => {
		for (const row of document.querySelectorAll("#endpoints tr[data-key]"))
			if (row.innerText.includes("Down")) shownAt[row.dataset.key] ??= Date.now();
	}).observe(document.getElementById("endpoints"), { childList: true, subtree: true, characterData: true, attributes: true }), window.shownAt = {}, true`)
	b.wait(`document.querySelector("#answer .who").innerText.trim() === "control-room"`)
	s.ends(s.call("999", town.Dial{}))

	// The primary dies, and one room after the other.
	var took []time.Duration
	dies := func(name string, room *town.Phone) (verdict journal.Entry) {
		t.Helper()
		room.Kill()
		b.wait(fmt.Sprintf(`shownAt[%q] > 0`, name))
		verdict = s.written("the verdict on "+name, func(e *journal.Entry) bool {
			return e.Type == journal.ServiceStateChange && e.Endpoint == name && strings.HasSuffix(e.What, "→down")
		})
		took = append(took, time.UnixMilli(int64(eval[float64](b, fmt.Sprintf(`shownAt[%q]`, name)))).Sub(verdict.At))
		return verdict
	}
	verdict := dies("control-room", s.control)
	b.wait(`document.querySelector("#answer .who").innerText.trim() === "standby-room"`)
	for _, room := range s.spare {
		dies(room.Name(), room)
	}
	t.Logf("the page showed the verdicts after %v", took)
	if slices.Min(took) > time.Second { // the machine may be busy with something else once, not three times
		t.Errorf("the page showed the verdicts after %v, want within a second", took)
	}
	if got := b.text("#answer"); !strings.Contains(got, verdict.Why) {
		t.Errorf("the page says %q; want the evidence that the book has: %q", got, verdict.Why)
	}
	talks := s.call("999", town.Dial{})
	b.wait(`document.getElementById("calls").innerText.includes("standby-room")`)
	s.ends(talks)

	// It is acknowledged.
	b.wait(`document.querySelector("#notices button") !== null`)
	b.do(chromedp.Click(chromedp.CSS("#notices button")))
	b.wait(`document.querySelector("main .banner.good")?.innerText === "The notice is acknowledged." && document.getElementById("notices").innerText.includes("acknowledged by alice")`)
	s.act("acknowledge", "")

	// The dead room is held, so that it does not come back by surprise.
	b.visit("/endpoints/control-room")
	b.do(chromedp.SendKeys(chromedp.CSS("#why"), "the PBX is dead"), chromedp.Submit(chromedp.CSS("#why")))
	b.wait(`document.querySelector("main .banner.good")?.innerText === "The endpoint is held." && document.getElementById("verdict").innerText.includes("by alice")`)
	s.act("hold", "the PBX is dead")

	// People who cannot reach 999 dial 101.
	b.live("/routes/101")
	b.do(chromedp.SendKeys(chromedp.CSS("#why"), "999 is dead"), chromedp.Submit(chromedp.CSS("#why")))
	b.wait(`document.querySelector("main .banner.good")?.innerText === "Its calls are treated as emergencies."`)
	s.act("treat", "999 is dead")
	s.ends(s.call("101", town.Dial{From: "+441905000101"}))
	s.written("a call to 101 on the emergency route", func(e *journal.Entry) bool {
		return e.Type == journal.CallStart && e.Called == "101" && e.Class == "emergency"
	})

	// Somebody gives up and must be rung back.
	s.standby.Script(town.Always(town.Rings(0)))
	s.call("999", town.Dial{From: "+441905000002", CancelAfter: 300 * time.Millisecond})
	b.live("/")
	b.wait(`document.getElementById("callbacks").innerText.includes("+441905000002")`)
	b.visit("/callbacks")
	b.do(chromedp.SendKeys(chromedp.CSS("input[name=outcome]"), "reached, all well"), chromedp.Submit(chromedp.CSS("input[name=outcome]")))
	b.wait(`document.querySelector("main").innerText.includes("Nobody must be rung back")`)
	s.act("callback", "reached, all well")

	// The incident is there, with the evidence and the acts.
	b.visit("/incidents")
	b.do(chromedp.Click(chromedp.CSS("main tbody th a")))
	b.wait(`location.pathname.startsWith("/incidents/") && document.querySelector(".timeline") !== null`)
	for _, want := range []string{verdict.Why, "alice: hold control-room (the PBX is dead)"} {
		b.wait(fmt.Sprintf(`document.querySelector("main").innerText.includes(%q)`, want)) // the story is told a little after the book was written
	}
	if _, err := s.client.Release(t.Context(), "control-room", "bob"); err != nil {
		t.Fatal(err)
	}
	b.wait(`document.querySelector(".timeline").innerText.includes("bob: release control-room")`) // without loading it again
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(file, "journal", "verify", "--run", filepath.Join(s.dir, "run")).CombinedOutput(); err != nil {
		t.Errorf("the book does not hold together: %v\n%s", err, out)
	}
}

// TestARealCallersMarkupIsText has a caller and a room who write markup wherever SIP lets them. Names in the configuration cannot have any: nines check refuses them.
func TestARealCallersMarkupIsText(t *testing.T) {
	const evil = `<img src=x onerror=window.hurt=1><script>window.hurt=1</script>`
	const user = `%3Cimg%20src=x%20onerror=window.hurt=1%3E`
	s := newStation(t)
	s.control.Script(town.Always(town.Behaviour{{Code: 180, Headers: []town.Header{{Name: "Server", Value: evil}}}, {Code: 200, Headers: []town.Header{{Name: "Server", Value: evil}, {Name: "User-Agent", Value: evil}}}}))
	c := s.call("999", town.Dial{Display: evil, From: user, Headers: []town.Header{
		{Name: "User-Agent", Value: evil}, {Name: "Subject", Value: evil}, {Name: "P-Asserted-Identity", Value: `"` + evil + `" <sip:` + user + `@carrier.example>`},
	}})
	b := newTab(t, "http://"+s.web)
	b.signIn()
	harmless := func(path string) {
		t.Helper()
		if eval[bool](b, `window.hurt === 1 || document.querySelector("main img, main script") !== null`) {
			t.Errorf("%s ran what a caller wrote", path)
		}
	}
	b.live("/")
	b.wait(`document.querySelector("#calls tbody th a") !== null`)
	harmless("/")
	call := eval[string](b, `document.querySelector("#calls tbody th a").getAttribute("href")`)
	s.standby.Script(town.Always(town.Rings(0)))
	s.ends(c)
	s.control.Script(town.Always(town.Rings(0)))
	s.call("999", town.Dial{Display: evil, From: user, CancelAfter: 200 * time.Millisecond}) // one for the call-back list
	b.wait(`document.querySelector("#callbacks li strong") !== null`)
	harmless("/ with a caller to be rung back")
	for _, path := range []string{"/calls", "/callbacks"} {
		b.visit(path)
		harmless(path)
	}
	s.until("the call's messages are kept", func() bool {
		b.visit(call)
		return eval[bool](b, `document.querySelectorAll("details pre").length > 3`)
	})
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach(d => d.open = true)`))
	harmless(call)
	shown := b.text("main")
	for _, want := range []string{`From: "` + evil + `"`, "User-Agent: " + evil, "Server: " + evil, `P-Asserted-Identity: "` + evil + `"`} {
		if !strings.Contains(shown, want) {
			t.Errorf("the call's page does not show as text: %s\n%s", want, shown)
		}
	}
	// A name of ours with markup never gets as far.
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(s.dir, "nines.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(s.dir, "bad.yaml")
	if err := os.WriteFile(bad, bytes.Replace(good, []byte("  standby-room:"), []byte(`  "<script>":`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(file, "check", bad).CombinedOutput(); err == nil || !strings.Contains(string(out), `"<script>" is no name`) {
		t.Errorf("nines check takes an endpoint that is called <script>: %v\n%s", err, out)
	}
}
