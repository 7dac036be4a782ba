package configs

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExplainSaysWhatHappensInPlainWords(t *testing.T) {
	every := spoil(
		t, base, "class: emergency", "class: emergency\n    overlap: false\n    ringing: 20s\n    ringing_to_partners: 30s\n    overflow_to_partners: true",
		"class: routine", "class: test\n    trunks: [phones]",
		"endpoints:", "  phones: { kind: pbx, from: [10.0.0.10] }\nendpoints:\n  solo: { uri: \"sip:10.9.9.9\" }",
		"routes:", "unknown_sources: answer_emergency\nroutes:\n  - { name: aid, aid: true, numbers: [\"1998\"], ask: [solo, warks] }",
	)
	shipped, err := os.ReadFile("nines.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, text, golden string }{
		{"the shipped example", string(shipped), "testdata/explain.txt"},
		{"a file with every switch thrown", every, "testdata/explain-switched.txt"},
	} {
		got := parsed(t, tt.text).Explain()
		if *update {
			if err := os.WriteFile(tt.golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(tt.golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(got, "\n"), strings.Split(string(want), "\n")); diff != "" {
			t.Errorf("%s is explained so (- got, + want; -update writes it):\n%s", tt.name, diff)
		}
	}
}
