package acceptance

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// TestEachPanelOfTheDashboardHasData runs a real Prometheus with the configuration and the rules that we ship, beside a nines that has an outage. Each query
// of the Grafana dashboard must give data, each rule must work, and the alerts that the outage is worth must ring.
func TestEachPanelOfTheDashboardHasData(t *testing.T) {
	t.Parallel()
	file, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("there is no Prometheus here: it is in Debian's package prometheus")
	}
	p := newPlace()
	told := newHook(t, "")
	n := start(t, p, head+fmt.Sprintf(`
trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 20 }
  neighbour: { uri: "sip:{12}:5060", calls: 10, partner: true }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, neighbour] }
notify: [{ webhook: "%[1]s" }, { heartbeat: "%[1]s", every: 10s }]
`, told.URL))
	primary := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Picked()), Voice: 20 * time.Millisecond})
	neighbour := phone(t, town.PhoneConfig{Name: "neighbour", Addr: p.sip(12), Script: town.Always(town.Picked()), Voice: 20 * time.Millisecond})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200), Voice: 20 * time.Millisecond})
	n.verdict("up", "control-room", "neighbour")
	prom := startPrometheus(t, file, p)
	prom.eventually("nines is scraped", func() bool { return len(prom.ask(`up{job="nines"} == 1`)) == 1 })
	place := func() *town.Call {
		c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String()})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	talk := func() *town.Call {
		c := place()
		if err := c.Talks(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	talk().Clear()
	cut := talk()
	primary.Kill()
	eventually(t, 30*time.Second, "the cut call goes on at the neighbour's", func() bool { _, _, talking := neighbour.Live(); return talking > 0 })
	talk().Clear()
	neighbour.Script(town.Always(town.Refuses(486, 0)))
	if err := place().Ends(t.Context()); err != nil {
		t.Fatal(err)
	}
	neighbour.Script(town.Always(town.Picked()))
	cut.Clear()
	stranger, err := net.Dial("udp", p.sip(1).String()) // from an address that is no trunk
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(stranger, "INVITE sip:999@x SIP/2.0\r\n\r\n")
	_ = stranger.Close()

	text, err := os.ReadFile(filepath.Join(root, "configs/grafana/nines.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	if len(board.Panels) < 15 {
		t.Fatalf("found only %d panels; the test has lost its way", len(board.Panels))
	}
	var empty []string
	if !poll(60*time.Second, func() bool {
		empty = nil
		for _, panel := range board.Panels {
			for _, target := range panel.Targets {
				if query := strings.ReplaceAll(target.Expr, "$instance", ".*"); len(prom.ask(query)) == 0 {
					empty = append(empty, panel.Title+": "+query)
				}
			}
		}
		return len(empty) == 0
	}) {
		t.Errorf("these panels show nothing after an outage:\n%s", strings.Join(empty, "\n"))
	}
	prom.eventually("the alerts of an outage ring", func() bool {
		ringing := prom.alerts()
		return slices.Contains(ringing, "NinesPartnersAnswer") && slices.Contains(ringing, "NinesEmergencyNotAnswered")
	})
	if slices.Contains(prom.alerts(), "NinesDown") {
		t.Error("NinesDown rings while nines answers")
	}
}

// prometheus is a running Prometheus.
type prometheus struct {
	t    *testing.T
	base string
}

// startPrometheus starts one with the files that we ship; only whom it asks, and how often, is the test's.
func startPrometheus(t *testing.T, file string, p place) prometheus {
	t.Helper()
	dir := t.TempDir()
	shipped := func(name string, changes ...string) {
		text, err := os.ReadFile(filepath.Join(root, "configs", name))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.NewReplacer(changes...).Replace(string(text))
		if len(changes) > 0 && changed == string(text) {
			t.Fatalf("%s is not what this test changes", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shipped("prometheus.yml", "nines:8080", p.at(1, 8080).String(), "scrape_interval: 5s", "scrape_interval: 1s, evaluation_interval: 1s")
	shipped("prometheus-rules.yml")
	at := p.at(1, 9090).String()
	cmd := exec.Command(file, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+at, "--log.level=warn")
	log := newLogBook("")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // Wait says when it had ended before
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("Prometheus ended with %v\n%s", err, log.tail(20))
		}
	})
	prom := prometheus{t, "http://" + at}
	prom.eventually("Prometheus is ready", func() bool {
		resp, err := http.Get(prom.base + "/-/ready")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	return prom
}

func (p prometheus) eventually(what string, is func() bool) {
	p.t.Helper()
	eventually(p.t, 60*time.Second, what, is)
}

// get asks its API.
func (p prometheus) get(path string, into any) {
	p.t.Helper()
	resp, err := http.Get(p.base + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		p.t.Fatalf("Prometheus does not understand %s: %v %s", path, err, answer.Error)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		p.t.Fatal(err)
	}
}

// ask gives the series of a query that have a number now.
func (p prometheus) ask(query string) (values []string) {
	p.t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	p.get("/api/v1/query?query="+url.QueryEscape(query), &data)
	for _, r := range data.Result {
		if v, _ := r.Value[1].(string); v != "NaN" {
			values = append(values, v)
		}
	}
	return values
}

// alerts names those that ring. A rule that does not work fails the test.
func (p prometheus) alerts() (ringing []string) {
	p.t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, State, Health, LastError string }
		}
	}
	p.get("/api/v1/rules", &data)
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			if r.Health == "err" {
				p.t.Errorf("the rule %s does not work: %s", r.Name, r.LastError)
			}
			if r.State == "firing" {
				ringing = append(ringing, r.Name)
			}
		}
	}
	return ringing
}
