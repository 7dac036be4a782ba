package configs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func publicFile(t *testing.T, text string) *File {
	t.Helper()
	f, problems := Parse("nines.yaml", []byte(text), At(today), Loading(noFiles))
	if !problems.OK() {
		t.Fatalf("a file that should be accepted is refused:\n%s", problems)
	}
	return f
}

// TestEveryNumberForThePublicComesFromTheConfiguration: a number that is typed at night has been somebody else's before.
func TestEveryNumberForThePublicComesFromTheConfiguration(t *testing.T) {
	with := publicFile(t, product(t)+"\npublic: { name: West Mercia Police, name_cy: Heddlu, online: \"https://report.example/form\", alternative: \"+441905331101\" }\n")
	other := publicFile(t, strings.ReplaceAll(product(t), `"999", "112", "18000"`, `"112", "911"`))
	for name, f := range map[string]*File{"the contract's file": with, "another country's": other} {
		var known []string
		for _, r := range f.Routes {
			known = append(known, r.Numbers...)
		}
		for _, lang := range Languages {
			text := f.PublicNotice(lang)
			numbers := regexp.MustCompile(`\+?\d[\d ]*\d`).FindAllString(text, -1)
			if len(numbers) == 0 {
				t.Errorf("%s, %s: no number in %q", name, lang, text)
			}
			for _, n := range numbers {
				if !slices.Contains(known, n) {
					t.Errorf("%s, %s: the number %s is on no route: %s", name, lang, n, text)
				}
			}
		}
	}
}

func TestAPublicNoticeReadsLikeOne(t *testing.T) {
	f := publicFile(t, product(t)+"\npublic: { name: West Mercia Police, online: \"https://report.example/form\", alternative: \"+441905331101\" }\n")
	want := "West Mercia Police: our telephones are disturbed at the moment. In an emergency dial 999 or 112 as usual, and stay on the line until somebody answers. " +
		"If you are deaf or cannot speak, use 18000 or the emergency services you have registered for. Calls to 101 may not be answered. " +
		"If it is not an emergency, please use https://report.example/form. If it cannot wait and is not an emergency, call +441905331101."
	if got := f.PublicNotice("en"); got != want {
		t.Errorf("the notice is\n%s\nwant\n%s", got, want)
	}
	want = "west-mercia: mae problem gyda'n ffonau ar hyn o bryd. Mewn argyfwng, deialwch 999 neu 112 fel arfer, ac arhoswch ar y llinell nes i rywun ateb. " +
		"Os ydych yn fyddar neu'n methu siarad, defnyddiwch 18000 neu'r gwasanaethau brys rydych wedi cofrestru ar eu cyfer. " +
		"Efallai na fydd galwadau i 101 yn cael eu hateb. Os nad yw'n argyfwng, ffoniwch yn nes ymlaen."
	if got := publicFile(t, product(t)).PublicNotice("cy"); got != want {
		t.Errorf("the notice is\n%s\nwant\n%s", got, want)
	}
}
