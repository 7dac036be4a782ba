package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoCoreFileIsLeft: secrets and callers' numbers must not lie on a disk after a crash. It asks another process, because this one would stay so.
func TestNoCoreFileIsLeft(t *testing.T) {
	if os.Getenv("NINES_TEST_NO_CORE") != "" {
		if err := noCore(); err != nil {
			t.Fatal(err)
		}
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
			t.Fatal(err)
		}
		dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("limit %d %d dumpable %d\n", limit.Cur, limit.Max, dumpable)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoCoreFileIsLeft$", "-test.v")
	cmd.Env = append(os.Environ(), "NINES_TEST_NO_CORE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "limit 0 0 dumpable 0\n"; !strings.Contains(string(out), want) {
		t.Errorf("the process says %s; want %q", out, want)
	}
}
