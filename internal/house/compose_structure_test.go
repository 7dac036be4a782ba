package house

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// readYAML reads a file of ours.
func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestTheComposeFileBringsUpTheDashboard follows the way from nines to the dashboard without a container engine: each file is mounted where the next one
// looks for it.
func TestTheComposeFileBringsUpTheDashboard(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Volumes []string `yaml:"volumes"`
			Ports   []string `yaml:"ports"`
		} `yaml:"services"`
	}
	readYAML(t, "docker-compose.yml", &compose)
	mounts := map[string]map[string]string{} // service, place in the container: file of ours
	for service, s := range compose.Services {
		mounts[service] = map[string]string{}
		for _, v := range s.Volumes {
			from, rest, _ := strings.Cut(v, ":")
			to, mode, _ := strings.Cut(rest, ":")
			file, ours := strings.CutPrefix(from, "./")
			if !ours {
				continue // a volume
			}
			if !exists(file) {
				t.Errorf("%s mounts %s, which is not there", service, file)
			}
			if mode != "ro" {
				t.Errorf("%s mounts %s so that it can be written", service, file)
			}
			mounts[service][to] = file
		}
	}

	var prometheus struct {
		RuleFiles []string `yaml:"rule_files"`
		Scrape    []struct {
			Job    string `yaml:"job_name"`
			Static []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "configs/prometheus.yml", &prometheus)
	if got := mounts["prometheus"]["/etc/prometheus/prometheus.yml"]; got != "configs/prometheus.yml" {
		t.Errorf("Prometheus reads %q; want configs/prometheus.yml", got)
	}
	if len(prometheus.RuleFiles) == 0 {
		t.Error("Prometheus has no rules")
	}
	for _, r := range prometheus.RuleFiles {
		if !path.IsAbs(r) {
			r = path.Join("/etc/prometheus", r)
		}
		if mounts["prometheus"][r] != "configs/prometheus-rules.yml" {
			t.Errorf("Prometheus looks for rules at %s, where %q is mounted", r, mounts["prometheus"][r])
		}
	}
	if len(prometheus.Scrape) != 1 || prometheus.Scrape[0].Job != "nines" || !slices.Equal(prometheus.Scrape[0].Static[0].Targets, []string{"nines:8080"}) {
		t.Errorf("Prometheus scrapes %+v; want the job nines at nines:8080, as the rules say", prometheus.Scrape)
	}

	var sources struct {
		Datasources []struct {
			Type, URL string
			Default   bool `yaml:"isDefault"`
		}
	}
	readYAML(t, "configs/grafana/datasources.yml", &sources)
	if len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" || sources.Datasources[0].URL != "http://prometheus:9090" || !sources.Datasources[0].Default {
		t.Errorf("Grafana's data sources are %+v; want Prometheus, by default", sources.Datasources)
	}
	var dashboards struct {
		Providers []struct {
			Options struct{ Path string }
		}
	}
	readYAML(t, "configs/grafana/dashboards.yml", &dashboards)
	grafana := mounts["grafana"]
	const provisioning = "/etc/grafana/provisioning/"
	if grafana[provisioning+"datasources/nines.yml"] != "configs/grafana/datasources.yml" || grafana[provisioning+"dashboards/nines.yml"] != "configs/grafana/dashboards.yml" {
		t.Errorf("Grafana's provisioning is %v; want datasources.yml and dashboards.yml in their folders", grafana)
	}
	if len(dashboards.Providers) != 1 || grafana[dashboards.Providers[0].Options.Path+"/nines.json"] != "configs/grafana/nines.json" {
		t.Errorf("Grafana looks for dashboards in %+v; nines.json is mounted elsewhere: %v", dashboards.Providers, grafana)
	}
}
