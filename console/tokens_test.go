package console

import (
	"strings"
	"testing"
)

// FuzzTokens reads what people write into the tokens file. A line counts or is said to be wrong.
func FuzzTokens(f *testing.F) {
	_, line, err := NewToken("alice", "operator")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line + "\n# a comment\n\n" + line)
	f.Add("bob admin 00\n\x00 operator " + strings.Repeat("f", 64))
	f.Fuzz(func(t *testing.T, text string) {
		all, problems := parseTokens(text)
		lines := 0
		for _, l := range strings.Split(text, "\n") {
			if w := strings.Fields(l); len(w) > 0 && !strings.HasPrefix(w[0], "#") {
				lines++
			}
		}
		if len(all)+len(problems) != lines {
			t.Fatalf("of %d lines %d count and %d are wrong", lines, len(all), len(problems))
		}
		for _, k := range all {
			if _, err := ownerName(k.name); err != nil || k.role == nobody {
				t.Fatalf("%q may act as %v: %v", k.name, k.role, err)
			}
		}
	})
}
