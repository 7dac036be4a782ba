package voice

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestEveryTextHasItsRecording: who changes a text makes its recording again, and no recording is left over.
func TestEveryTextHasItsRecording(t *testing.T) {
	var made []string
	for _, text := range Texts() {
		name := text.Name + "." + string(text.Language) + ".wav"
		file, err := os.ReadFile(filepath.Join("texts", name))
		if err != nil {
			t.Errorf("%s: %v; run make announcements", name, err)
			continue
		}
		made = append(made, fmt.Sprintf("%s text=%s recording=%s", name, hashOf([]byte(text.Words)), hashOf(file)))
		tape, err := ParseWAV(name, file)
		if err != nil {
			t.Error(err)
			continue
		}
		// Somebody who speaks fast says 20 letters a second, and a machine that says less than 8 has stopped in the middle.
		if letters := float64(len(text.Words)) / tape.Length.Seconds(); letters < 8 || letters > 20 {
			t.Errorf("%s: %.0f letters a second: this is not what the text says", name, letters)
		}
	}
	list, err := os.ReadFile("texts/made.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(list)), "\n") {
		if i >= len(made) || line != made[i] {
			t.Fatalf("made.txt says %q, which is not so; run make announcements", line)
		}
	}
	files, err := filepath.Glob("texts/*.wav")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(made) {
		t.Errorf("there are %d recordings for %d texts; run make announcements", len(files), len(made))
	}
}

// TestEveryBuiltInAnnouncementCanBeHeardWithEveryWayOut, in both languages.
func TestEveryBuiltInAnnouncementCanBeHeardWithEveryWayOut(t *testing.T) {
	ways := []WayOut{{}, {Stay: true}}
	for _, key := range "0123456789*#" {
		ways = append(ways, WayOut{Key: byte(key)})
	}
	for _, name := range BuiltIns() {
		for _, way := range ways {
			var want []string
			base, welsh := strings.CutSuffix(name, "-cy")
			for _, l := range []string{".cy", ".en"} {
				if l == ".cy" && !welsh {
					continue
				}
				want = append(want, base+l)
				if base != "hold-the-line" && (base != "relay" || way != WayOut{}) {
					want = append(want, way.text()+l)
				}
			}
			var got []string
			for _, tape := range BuiltIn(name, way) {
				got = append(got, tape.Name)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s with %+v is %q, want %q", name, way, got, want)
			}
		}
	}
	if BuiltIn("nothing", WayOut{}) != nil {
		t.Error("an unknown name is built in")
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		recordings.Clear()
		Load("", nil)
	}
}

func BenchmarkPrepare(b *testing.B) {
	for b.Loop() {
		recordings.Clear()
		for _, t := range builtInTapes() {
			t.Prepare()
		}
	}
}
