package notify

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestThePageForTheNightKnowsEveryNotice compares docs/OPERATIONS.md with the table.
func TestThePageForTheNightKnowsEveryNotice(t *testing.T) {
	page, err := os.ReadFile("../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range Kinds() {
		line := fmt.Sprintf("| `%s` | %s | %s | %s |", k.Code, k.Severity, k.Title, k.Do)
		if !strings.Contains(string(page), line) {
			t.Errorf("docs/OPERATIONS.md must have the line\n%s", line)
		}
	}
}
