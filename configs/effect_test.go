package configs

import (
	"testing"
)

func noticesOf(t *testing.T, text string) []string {
	t.Helper()
	_, problems := Parse("nines.yaml", []byte(text), At(today), Loading(noFiles))
	if !problems.OK() {
		t.Fatalf("a file that should be accepted is refused:\n%s", problems)
	}
	var lines []string
	for _, p := range problems.Of(Notice) {
		lines = append(lines, p.String())
	}
	return lines
}

func TestAKeyThatDoesNothingYetIsSaid(t *testing.T) {
	if got := noticesOf(t, product(t)); got != nil {
		t.Errorf("the contract's file has keys that do nothing: %q", got)
	}
}

func TestAKeyThatSaysWhatHappensAnywayIsNoNotice(t *testing.T) {
	text := spoil(
		t, base, "class: emergency", "class: emergency\n    rescue: on\n    rescue_bye: suspicious\n    hearing: nothing",
		"calls: 60", "calls: 60, answers: queue, require_tls: false",
		"203.0.113.10 }", "203.0.113.10, fast_path: auto }",
	)
	if got := noticesOf(t, text); got != nil {
		t.Errorf("there are notices for what is so anyway: %q", got)
	}
}

// A line of the table that no file can reach would hide a key.
func TestEveryLineOfTheTableCanBeSaid(t *testing.T) {
	sides := spoil(
		t, base, "[udp://0.0.0.0:5060]", "{ outside: { on: [udp://203.0.113.10:5060] } }",
		"from: [192.0.2.0/24]", "from: [192.0.2.0/24], via: outside",
		"calls: 60", "calls: 60, via: outside",
	)
	others := spoil(
		t, base, "[udp://0.0.0.0:5060]", "tls://0.0.0.0:5061",
		"203.0.113.10 }", "203.0.113.10, fast_path: require }",
		"class: emergency", "class: emergency\n    hearing: comfort",
		`"sip:10.0.0.10:5060", calls: 60`, `"sips:10.0.0.10:5061", calls: 60, require_tls: true`,
	)
	said := map[string]bool{}
	for _, text := range []string{product(t), sides, others} {
		_, problems := Parse("nines.yaml", []byte(text), At(today), Loading(noFiles))
		for _, p := range problems.Of(Notice) {
			for _, w := range withoutEffect {
				if pathForm(w.path).MatchString(p.Path) && p.Fix == w.what {
					said[w.path] = true
				}
			}
		}
	}
	for _, w := range withoutEffect {
		if !said[w.path] {
			t.Errorf("no file of the tests brings the notice for %s", w.path)
		}
	}
}
