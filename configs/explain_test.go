package configs

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExplainSaysWhatHappensInPlainWords(t *testing.T) {
	every := spoil(
		t, base, "class: emergency", "class: emergency\n    overlap: false\n    ringing: 20s\n    ringing_to_partners: 30s\n    overflow_to_partners: true\n    rescue_bye: never",
		"class: routine", "class: test\n    trunks: [phones]\n    rescue: off",
		"calls: 30", "calls: 30, answers: queue",
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

func TestEachWayBackIsExplained(t *testing.T) {
	for _, tt := range []struct {
		way  FailBack
		want string
	}{
		{FailBackAuto, "takes routine calls first"},
		{FailBackProbes, "Answered probes bring its emergency calls back, unless calls had brought it down"},
		{FailBackManual, "until an operator releases it"},
	} {
		text := spoil(t, base, "routes:", "health: { fail_back: "+string(tt.way)+" }\nroutes:")
		if got := parsed(t, text).Explain(); !strings.Contains(got, tt.want) {
			t.Errorf("fail_back: %s is not explained with %q:\n%s", tt.way, tt.want, got)
		}
	}
}
