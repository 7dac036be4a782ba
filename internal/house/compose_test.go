package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// compose finds a docker compose of either generation.
func compose(t *testing.T) []string {
	t.Helper()
	for _, c := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.Command(c[0], append(c[1:], "version")...).Run() == nil {
			return c
		}
	}
	t.Skip("neither docker compose nor docker-compose is installed")
	return nil
}

func TestTheComposeFileIsValid(t *testing.T) {
	c := compose(t)
	cmd := exec.Command(c[0], append(c[1:], "config", "--services")...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s config: %v\n%s", strings.Join(c, " "), err, out)
	}
	for _, service := range []string{"nines", "carrier", "primary", "standby", "prometheus", "grafana"} {
		if !strings.Contains("\n"+string(out), "\n"+service+"\n") {
			t.Errorf("the compose file has the services %q; %s is missing", strings.Fields(string(out)), service)
		}
	}
}

func TestTheImageBuilds(t *testing.T) {
	if out, err := exec.Command("docker", "info", "--format", "{{.ServerVersion}}").CombinedOutput(); err != nil {
		t.Skipf("no container engine runs here: %s", strings.TrimSpace(string(out)))
	}
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	bases := regexp.MustCompile(`(?m)^ARG (?:BUILD_)?BASE=(\S+)$`).FindAllSubmatch(text, -1)
	if len(bases) != 2 {
		t.Fatalf("the Dockerfile has %d bases, want two; the test has lost its way", len(bases))
	}
	for _, base := range bases { // a registry that is down is no fault of ours
		if exec.Command("docker", "image", "inspect", string(base[1])).Run() == nil {
			continue
		}
		if out, err := exec.Command("docker", "pull", "-q", string(base[1])).CombinedOutput(); err != nil {
			t.Skipf("the image %s cannot be fetched: %s", base[1], strings.TrimSpace(string(out)))
		}
	}
	if out, err := exec.Command("docker", "build", "--target", "nines", "-t", "nines-test", root).CombinedOutput(); err != nil {
		t.Fatalf("build the image: %v\n%s", err, out)
	}
	out, err := exec.Command("docker", "run", "--rm", "nines-test", "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "nines ") {
		t.Errorf("the image says %q, %v; want its version", out, err)
	}
}
