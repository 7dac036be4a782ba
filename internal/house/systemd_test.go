package house

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheServiceMayDoLittle has systemd say how exposed the service is; the page for operators says the same figure.
func TestTheServiceMayDoLittle(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", filepath.Join(root, "configs/systemd/nines.service")).CombinedOutput()
	m := regexp.MustCompile(`Overall exposure level for nines\.service: (\d+\.\d+)`).FindSubmatch(out)
	if m == nil {
		t.Skipf("this systemd-analyze cannot look at a file: %v: %s", err, strings.TrimSpace(string(out[max(0, len(out)-200):])))
	}
	said := regexp.MustCompile("`systemd-analyze security` gives it (\\d+\\.\\d+)").FindStringSubmatch(pages(t)["docs/OPERATIONS.md"])
	if said == nil {
		t.Fatal("docs/OPERATIONS.md does not say how exposed the service is")
	}
	if string(m[1]) > said[1] { // as text: both have one digit before the point
		t.Errorf("systemd gives the service %s; docs/OPERATIONS.md promises %s", m[1], said[1])
	}
	t.Logf("exposure %s", m[1])
}
