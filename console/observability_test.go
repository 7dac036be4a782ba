package console

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

const (
	rulesFile     = "../configs/prometheus-rules.yml"
	rulesTestFile = "../configs/prometheus-rules-test.yml"
	dashboardFile = "../configs/grafana/nines.json"
)

func promtool(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is not installed: it is in Debian's package prometheus")
	}
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPrometheusTakesTheRules(t *testing.T) { promtool(t, nil, "check", "rules", rulesFile) }

func TestEachAlertRingsWhenItShould(t *testing.T) { promtool(t, nil, "test", "rules", rulesTestFile) }

// TestPrometheusTakesTheMetrics lints a scrape in which every metric has a value.
func TestPrometheusTakesTheMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Collector(func(s Scrape) {
		for _, m := range Metrics() {
			values := make([]string, len(m.Labels))
			for i, l := range m.Labels {
				values[i] = strings.Fields(strings.ReplaceAll(l.Values, ",", ""))[0]
			}
			if m.Kind == prometheus.UntypedValue {
				s.Histogram(m, Histogram{Bounds: []float64{1}, Counts: []uint64{1, 1}, Sum: 2}, values...)
			} else {
				s.Set(m, 1, values...)
			}
		}
	}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != len(Metrics()) {
		t.Errorf("the scrape shows %d metrics of %d", len(families), len(Metrics()))
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, text.Bytes(), "check", "metrics")
}

var (
	selector = regexp.MustCompile(`\b(nines_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*\\?"([^"\\]*)\\?"`)
)

// misspelt says which metrics, labels and values of a query there are not.
func misspelt(query string) (wrong []string) {
	for _, s := range selector.FindAllStringSubmatch(query, -1) {
		name := s[1]
		i := slices.IndexFunc(Metrics(), func(m *Metric) bool {
			return m.Name == name || m.Kind == prometheus.UntypedValue && m.Name+"_bucket" == name
		})
		if i < 0 {
			wrong = append(wrong, "no metric is called "+name)
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(s[2], -1) {
			if l[1] == "instance" || l[1] == "job" {
				continue
			}
			j := slices.IndexFunc(Metrics()[i].Labels, func(k Label) bool { return k.Name == l[1] })
			switch {
			case j < 0:
				wrong = append(wrong, name+" has no label "+l[1])
			case l[2] == "=" || l[2] == "!=":
				if k := Metrics()[i].Labels[j]; strings.Contains(k.Values, ", ") && !slices.Contains(strings.Split(k.Values, ", "), l[3]) {
					wrong = append(wrong, name+": "+l[1]+" is never "+l[3])
				}
			}
		}
	}
	return wrong
}

func TestRulesAndDashboardAskForWhatThereIs(t *testing.T) {
	for _, file := range []string{rulesFile, rulesTestFile, dashboardFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(selector.FindAllString(string(text), -1)) < 20 {
			t.Errorf("%s asks for little; the check has lost its way", file)
		}
		for _, wrong := range misspelt(string(text)) {
			t.Errorf("%s: %s", file, wrong)
		}
	}
	for query, want := range map[string]int{
		`nines_ready == 0`: 0, `nines_reddy == 0`: 1, `nines_calls_total{klass="emergency"}`: 1, `nines_calls_total{outcome="refuzed"}`: 1,
		`rate(nines_call_setup_seconds_bucket{class="emergency"}[5m])`: 0, `nines_ready_bucket`: 1,
	} {
		if got := misspelt(query); len(got) != want {
			t.Errorf("%s: found %q; want %d faults", query, got, want)
		}
	}
}

func TestEveryAlertIsTestedAndSaysWhatToDo(t *testing.T) {
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(rulesTestFile)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(rules), "- alert: ")[1:]
	if len(blocks) < 10 {
		t.Fatalf("found only %d alerts; the check has lost its way", len(blocks))
	}
	for _, block := range blocks {
		name, rest, _ := strings.Cut(block, "\n")
		if !strings.Contains(string(tests), "  - name: "+name+"\n") {
			t.Errorf("%s has no test in %s", name, rulesTestFile)
		}
		for _, part := range []string{"severity: ", "summary: ", "description: "} {
			if !strings.Contains(rest, part) {
				t.Errorf("%s has no %s", name, strings.TrimSuffix(part, ": "))
			}
		}
	}
}

// TestTheDashboardCanBeImported looks at what Grafana would trip over: a data source that is not chosen by variable, panels on each other, ids twice.
func TestTheDashboardCanBeImported(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	type source struct{ Type, UID string }
	type target struct {
		RefID      string
		Expr       string
		Datasource source
	}
	var d struct {
		UID, Title string
		Templating struct {
			List []struct{ Name, Type, Query any }
		}
		Panels []struct {
			ID          int
			Type, Title string
			Description string
			Datasource  source
			GridPos     struct{ X, Y, W, H int }
			Targets     []target
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID != "nines" || len(d.Templating.List) == 0 || d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Type != "datasource" || d.Templating.List[0].Query != "prometheus" {
		t.Errorf("the dashboard is %q with the variables %+v; want nines, and a data source of Prometheus as the first variable", d.UID, d.Templating.List)
	}
	want := source{"prometheus", "${datasource}"}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: the id %d is another's", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Datasource != want || p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("%q: data source %v, %d queries, description %q; want ${datasource}, a query, and a word on it", p.Title, p.Datasource, len(p.Targets), p.Description)
		}
		for i, q := range p.Targets {
			if q.Datasource != want || q.Expr == "" || q.RefID != string(rune('A'+i)) {
				t.Errorf("%s: query %+v", p.Title, q)
			}
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s stands on %q, or beside the page, at %d,%d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
