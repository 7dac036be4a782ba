package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"nines/console"
)

func TestTopPrintsOnePictureWhereThereIsNoTerminal(t *testing.T) {
	run := startNode(t, node{})
	got := program{}.try(t, "top", "--run", run)
	if got.code != exitDone || !strings.Contains(got.out, "west-mercia  takes calls") || !strings.Contains(got.out, "control-room  DOWN") || strings.Contains(got.out, "\x1b") {
		t.Errorf("top gave %d, %q, %q; want one picture without a terminal's sequences", got.code, got.out, got.errors)
	}
	got = program{}.try(t, "top", "--run", run, "--json", "--once")
	var l console.Live
	if err := json.Unmarshal([]byte(got.out), &l); err != nil || got.code != exitDone || l.Status.Name != "west-mercia" || l.At.IsZero() {
		t.Errorf("top --json --once gave %d, %q: %v; want one line with the picture", got.code, got.out, err)
	}
	if got := (program{}).try(t, "top", "--run", t.TempDir()); got.code != exitUnreachable {
		t.Errorf("top without a node exits with %d, want %d", got.code, exitUnreachable)
	}
}

func TestAScreenIsCutToItsSize(t *testing.T) {
	s := &screen{width: 5, height: 2}
	_, _ = s.Write([]byte("one\n\x1b[1;31mred and lo"))
	_, _ = s.Write([]byte("ng\x1b[0m\nthree\n"))
	if got, want := s.String(), "one\x1b[K\r\n\x1b[1;31mred a\x1b[0m\x1b[K"; got != want {
		t.Errorf("the screen is %q, want %q", got, want)
	}
	s.last("not live")
	if got := s.String(); !strings.HasSuffix(got, "not l\x1b[0m\x1b[K") {
		t.Errorf("the last line is not replaced: %q", got)
	}
}

func TestATokenComesWithItsLine(t *testing.T) {
	got := program{}.try(t, "token", "alice", "--role", "admin", "--json")
	var made newToken
	if err := json.Unmarshal([]byte(got.out), &made); err != nil || got.code != exitDone {
		t.Fatalf("token gave %d, %q: %v", got.code, got.out, err)
	}
	if !strings.HasPrefix(made.Line, "alice admin ") || len(made.Token) < 32 || strings.Contains(made.Line, made.Token) {
		t.Errorf("made %+v; want a secret, and a line that does not hold it", made)
	}
	for _, args := range [][]string{{"token"}, {"token", "a b"}, {"token", "alice", "--role", "king"}} {
		if got := (program{}).try(t, args...); got.code != exitUsage {
			t.Errorf("nines %q exits with %d, want %d", args, got.code, exitUsage)
		}
	}
}

// TestEveryShellCompletes has each shell that is here read its script.
func TestEveryShellCompletes(t *testing.T) {
	for shell, check := range map[string][]string{"bash": {"bash", "-n"}, "zsh": {"zsh", "-n"}, "fish": {"fish", "--no-execute"}, "powershell": nil} {
		got := program{}.try(t, "completion", shell)
		if got.code != exitDone || !strings.Contains(got.out, "nines") {
			t.Errorf("completion %s gave %d, %q", shell, got.code, got.errors)
		}
		if check == nil {
			continue
		}
		if _, err := exec.LookPath(check[0]); err != nil {
			t.Logf("%s is not here; its script was not read by it", shell)
			continue
		}
		cmd := exec.Command(check[0], check[1:]...)
		cmd.Stdin = strings.NewReader(got.out)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s does not read its script: %v\n%s", shell, err, out)
		}
	}
	got := program{}.try(t, "__complete", "to")
	if !strings.Contains(got.out, "top\t") || !strings.Contains(got.out, "token\t") {
		t.Errorf("completing \"to\" offered %q, want top and token", got.out)
	}
	if got := (program{}).try(t, "__complete", "token", "x", "--role", ""); !strings.HasPrefix(got.out, "viewer\noperator\nadmin\n") {
		t.Errorf("completing --role offered %q", got.out)
	}
}
