package configs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheLastAcceptedCopyComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet", "there")
	for _, text := range []string{"first", "second, and longer", "third"} {
		if err := SaveAccepted(dir, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := LoadAccepted(dir)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != text {
			t.Errorf("the accepted copy holds %q, want %q", got, text)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Errorf("saving left %d files behind, want the copy alone", len(files))
	}
}

func TestNothingAcceptedYetIsSaid(t *testing.T) {
	if _, err := LoadAccepted(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("loading where nothing was accepted gives %v, want fs.ErrNotExist", err)
	}
	if _, _, err := ReadAccepted("nines.yaml", t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading where nothing was accepted gives %v, want fs.ErrNotExist", err)
	}
}

func TestACopyThatCannotBeKeptIsAnErrorAndLeavesTheOldOne(t *testing.T) {
	dir := t.TempDir()
	// A folder in the place of the copy can't be replaced by a file, whoever runs the test.
	if err := os.MkdirAll(filepath.Join(dir, acceptedName, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := SaveAccepted(dir, []byte("new")); err == nil {
		t.Error("a copy that could not be put in place was reported as kept")
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Errorf("a failed save left %d files, want the old one alone", len(files))
	}
	if err := SaveAccepted(filepath.Join(os.DevNull, "state"), []byte("new")); err == nil {
		t.Error("a copy in a folder that can't be made was reported as kept")
	}
}

func TestAnAcceptedCopyKeepsTheMeaningOfItsRelativePaths(t *testing.T) {
	etc, state := t.TempDir(), t.TempDir()
	if err := SaveAccepted(state, []byte(base+"run: run\n")); err != nil {
		t.Fatal(err)
	}
	f, problems, err := ReadAccepted(filepath.Join(etc, "nines.yaml"), state)
	if err != nil {
		t.Fatal(err)
	}
	if !problems.OK() {
		t.Fatalf("the accepted copy is refused:\n%s", problems)
	}
	if want := filepath.Join(etc, "run"); f.Run != want {
		t.Errorf("run is %s, want %s: beside the file, not beside its copy", f.Run, want)
	}
}

func TestWhatNeedsARestartIsNamed(t *testing.T) {
	old := parsed(t, base)
	sides := spoil(t, base, "[udp://0.0.0.0:5060]", "{ outside: { on: [udp://203.0.113.10:5060] } }")
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", base, nil},
		{"what a reload can change", spoil(t, base, "calls: 60", "calls: 61", "[north, south, warks]", "[south, north]", "ask: [north, south]", "ask: [warks]"), nil},
		{"a socket", spoil(t, base, "5060]", "5070]"), []string{"listen"}},
		{"one side to named sides", sides, []string{"listen"}},
		{"the media address", spoil(t, base, "203.0.113.10", "203.0.113.11"), []string{"media.address"}},
		{"the media ports", spoil(t, base, "203.0.113.10 }", "203.0.113.10, ports: 30000-39999 }"), []string{"media.ports"}},
		{"folders and console", base + "run: /r\nstate: /s\nconsole: { listen: 127.0.0.1:9 }\n", []string{"state", "run", "console.listen"}},
	} {
		if diff := cmp.Diff(parsed(t, tt.text).RestartOnly(old), tt.want); diff != "" {
			t.Errorf("after a change of %s a restart is needed for (- got, + want):\n%s", tt.name, diff)
		}
	}
	a := parsed(t, sides)
	b := parsed(t, spoil(t, sides, "203.0.113.10:5060] }", "203.0.113.10:5060], media: 203.0.113.10 }"))
	if diff := cmp.Diff(a.RestartOnly(b), []string{"listen"}); diff != "" {
		t.Errorf("another media address of a side needs a restart for (- got, + want):\n%s", diff)
	}
}
