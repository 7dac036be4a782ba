package house

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const mostBytes = 35 << 20

// TestOneStaticBinary builds the program as make build and the Dockerfile do and looks at what came out (R40).
func TestOneStaticBinary(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "nines")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=v9.9.9-test", "-o", binary, "./cmd/nines")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= mostBytes {
		t.Errorf("the binary has %.1f MB; it must stay under %d MB", float64(info.Size())/(1<<20), mostBytes>>20)
	}
	t.Logf("the binary has %.1f MB", float64(info.Size())/(1<<20))

	file, err := elf.Open(binary)
	if err != nil {
		t.Fatalf("it is no ELF file: %v", err)
	}
	defer file.Close()
	if libs, err := file.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("it needs the libraries %v, %v; it must run in an image without any", libs, err)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it asks for a dynamic loader; it must be static")
		}
	}
	if file.Section(".symtab") != nil || file.Section(".debug_info") != nil {
		t.Error("it carries symbols or debug information; it must be stripped")
	}
	if out, err := exec.Command(binary, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "nines v9.9.9-test,") {
		t.Errorf("nines version says %q, %v; want the version that was linked in", out, err)
	}
}
