package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func TestRoomsKeepTheHouseRules(t *testing.T) {
	problems, files := check(os.DirFS(root))
	if files < 5 {
		t.Fatalf("read only %d Go files below %s; the check has lost its way", files, root)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// TestEveryRuleCanFail builds houses that break one rule each.
func TestEveryRuleCanFail(t *testing.T) {
	tests := []struct {
		name string
		file string
		code string
		want []string
	}{
		{"a room may import what its arrow says", "call/a.go", `package call; import ("time"; "nines/policy"); var D time.Duration = policy.D`, nil},
		{
			"an arrow against the order", "policy/a.go", `package policy; import _ "nines/call"`,
			[]string{"policy/a.go:1: policy imports nines/call; policy may import only health: policy makes plans from a view of the world and knows only health's types"},
		},
		{
			"a room that may import nobody", "media/a.go", `package media; import _ "nines/sip"`,
			[]string{"media/a.go:1: media imports nines/sip; media may import only media/sdp, media/voice: media relays packets and knows no call"},
		},
		{
			"sipgo outside sip", "health/a.go", `package health; import _ "github.com/emiago/sipgo/sip"`,
			[]string{"health/a.go:1: health imports sipgo; only sip, sip/wire, internal/town may: sockets and transactions are ours, and the decisions know no messages"},
		},
		{
			"sipgo in a test of a pure room", "sip/leg/a_test.go", `package leg; import _ "github.com/emiago/sipgo"`,
			[]string{"sip/leg/a_test.go:1: sip/leg imports sipgo; only sip, sip/wire, internal/town may: sockets and transactions are ours, and the decisions know no messages"},
		},
		{"sipgo in the wire", "sip/wire/a.go", `package wire; import _ "github.com/emiago/sipgo/sip"`, nil},
		{
			"configs in a room", "sip/a.go", `package sip; import _ "nines/configs"`,
			[]string{"sip/a.go:1: sip imports nines/configs; only app may: only app imports configs: each room has its own Config struct and can live without YAML"},
		},
		{
			"configs in a command", "cmd/nines/a.go", `package main; import _ "nines/configs"`,
			[]string{"cmd/nines/a.go:1: cmd imports nines/configs; only app may: only app imports configs: each room has its own Config struct and can live without YAML"},
		},
		{
			"app in a room", "console/a.go", `package console; import _ "nines/app"`,
			[]string{"console/a.go:1: console imports nines/app; only cmd, test, internal/town may: app stands above the rooms; what a room needs from it is handed over through a small interface"},
		},
		{
			"the console and sip", "console/a.go", `package console; import _ "nines/sip"`,
			[]string{"console/a.go:1: console imports nines/sip; console may import only journal, health, call: the console shows what app hands it"},
		},
		{"a test may use the town", "sip/a_test.go", `package sip; import _ "nines/internal/town"`, nil},
		{
			"the program may not", "sip/a.go", `package sip; import _ "nines/internal/town"`,
			[]string{"sip/a.go:1: sip imports nines/internal/town; sip may import only call, policy, health, sip/leg, sip/txn, sip/wire, media, media/sdp, media/voice: sip turns messages into events and actions into messages, and decides nothing about configuration or display"},
		},
		{
			"a room nobody named", "managers/a.go", `package managers`,
			[]string{"managers/a.go:1: managers is no room of the house: add it to the table in internal/house with its arrows and the reason"},
		},
		{
			"the clock in a pure room", "call/a.go", "package call\nimport \"time\"\nvar T = time.Now()\n",
			[]string{"call/a.go:3: call calls time.Now; a pure room is told the time, so that a bad night can be replayed"},
		},
		{
			"the clock under another name", "sip/txn/a.go", "package txn\nimport clock \"time\"\nvar T = clock.NewTimer(0)\n",
			[]string{"sip/txn/a.go:3: sip/txn calls time.NewTimer; a pure room is told the time, so that a bad night can be replayed"},
		},
		{
			"the clock as a value", "health/a.go", "package health\nimport \"time\"\nvar now = time.Now\n",
			[]string{"health/a.go:3: health calls time.Now; a pure room is told the time, so that a bad night can be replayed"},
		},
		{"the clock in a test of a pure room", "call/a_test.go", "package call\nimport \"time\"\nvar T = time.Now()\n", nil},
		{"the clock in a doing room", "media/a.go", "package media\nimport \"time\"\nvar T = time.Now()\n", nil},
		{
			"a goroutine in a pure room", "policy/a.go", "package policy\nfunc f() {\n\tgo f()\n}\n",
			[]string{"policy/a.go:3: policy starts a goroutine; a pure room is stepped by its driver"},
		},
		{
			"a socket in a pure room", "media/sdp/a.go", `package sdp; import _ "net"`,
			[]string{"media/sdp/a.go:1: media/sdp imports net, which gives it sockets; a pure room has no hands"},
		},
		{"an address is no socket", "media/sdp/a.go", `package sdp; import _ "net/netip"`, nil},
		{
			"a subpackage of hands", "sip/leg/a.go", `package leg; import _ "golang.org/x/sys/unix"`,
			[]string{"sip/leg/a.go:1: sip/leg imports golang.org/x/sys/unix, which gives it system calls; a pure room has no hands"},
		},
		{"code that does not parse", "call/a.go", "package", []string{"call/a.go:1:8: expected 'IDENT', found 'EOF'"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, files := check(fstest.MapFS{tt.file: {Data: []byte(tt.code)}})
			if files != 1 {
				t.Errorf("read %d files; the house has 1", files)
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("%s: problems of %q (-got +want):\n%s", tt.file, tt.code, diff)
			}
		})
	}
}

func TestNoTrackedFileNamesAMachine(t *testing.T) {
	for _, name := range trackedFiles(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // deleted in the work tree, or a link to nowhere
		}
		for _, p := range machinePaths(name, text) {
			t.Error(p)
		}
	}
}

func TestMachinePathsAreFound(t *testing.T) {
	for text, want := range map[string]int{
		"cd /" + "root/project":             1,
		"\"/" + "home/alice/nines.yaml\"":   1,
		"see https://example.com/home/":     0,
		"/var/lib/nines and /run/nines":     0,
		"a\x00b /" + "root/ in a recording": 0,
	} {
		if got := len(machinePaths("f", []byte(text))); got != want {
			t.Errorf("%q: found %d machine paths, want %d", text, got, want)
		}
	}
}

// check reads every Go file of a tree and returns the broken rules and the number of files that it read.
func check(tree fs.FS) (problems []string, files int) {
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != "." && (base == "testdata" || base == "node_modules" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		files++
		problems = append(problems, checkFile(name, src)...)
		return nil
	})
	if err != nil {
		problems = append(problems, err.Error())
	}
	return problems, files
}

func checkFile(name string, src []byte) []string {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}
	}
	r, ok := roomOf(path.Dir(name))
	if !ok {
		return []string{fmt.Sprintf("%s:1: %s is no room of the house: add it to the table in internal/house with its arrows and the reason", name, path.Dir(name))}
	}
	test := strings.HasSuffix(name, "_test.go")
	var problems []string
	for _, imp := range file.Imports {
		p, _ := strconv.Unquote(imp.Path.Value)
		if why := refuseImport(r, p, test); why != "" {
			problems = append(problems, fmt.Sprintf("%s: %s", at(fset, imp), why))
		}
	}
	if r.pure && !test {
		problems = append(problems, checkPure(fset, file, r)...)
	}
	return problems
}

// refuseImport says why room r must not import p, or nothing.
func refuseImport(r room, p string, test bool) string {
	if p == "github.com/emiago/sipgo" || strings.HasPrefix(p, "github.com/emiago/sipgo/") {
		if r.sipgo || r.path == "test" {
			return ""
		}
		return fmt.Sprintf("%s imports sipgo; only %s may: sockets and transactions are ours, and the decisions know no messages", r.path, strings.Join(sipgoRooms(), ", "))
	}
	if ours, ok := strings.CutPrefix(p, "nines/"); ok {
		return refuseRoom(r, ours, test)
	}
	if r.pure && !test {
		if gives := handsOf(p); gives != "" {
			return fmt.Sprintf("%s imports %s, which gives it %s; a pure room has no hands", r.path, p, gives)
		}
	}
	return ""
}

func refuseRoom(r room, p string, test bool) string {
	to, ok := roomOf(p)
	if !ok || to.path == r.path {
		return ""
	}
	for _, o := range onlyFor {
		if o.path == to.path && !slices.Contains(o.by, r.path) {
			return fmt.Sprintf("%s imports nines/%s; only %s may: %s", r.path, p, strings.Join(o.by, ", "), o.why)
		}
	}
	if slices.Contains(r.may, to.path) || slices.Contains(r.may, anyRoom) && to.path != "cmd" && to.path != "test" && to.path != "internal/house" {
		return ""
	}
	if test && (slices.Contains(sideways, to.path) || r.path == "internal/town") {
		return ""
	}
	return fmt.Sprintf("%s imports nines/%s; %s may import only %s: %s", r.path, p, r.path, orNothing(r.may), r.why)
}

// checkPure finds the clock and goroutines.
func checkPure(fset *token.FileSet, file *ast.File, r room) []string {
	clockName := ""
	for _, imp := range file.Imports {
		if imp.Path.Value == `"time"` {
			clockName = "time"
			if imp.Name != nil {
				clockName = imp.Name.Name
			}
		}
	}
	var problems []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			problems = append(problems, fmt.Sprintf("%s: %s starts a goroutine; a pure room is stepped by its driver", at(fset, n), r.path))
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && clockName != "" && x.Name == clockName && clock[n.Sel.Name] {
				problems = append(problems, fmt.Sprintf("%s: %s calls time.%s; a pure room is told the time, so that a bad night can be replayed", at(fset, n), r.path, n.Sel.Name))
			}
		}
		return true
	})
	return problems
}

func roomOf(p string) (room, bool) {
	for ; p != "." && p != "/"; p = path.Dir(p) {
		for _, r := range rooms {
			if r.path == p {
				return r, true
			}
		}
	}
	return room{}, false
}

func sipgoRooms() []string {
	var names []string
	for _, r := range rooms {
		if r.sipgo {
			names = append(names, r.path)
		}
	}
	return names
}

func handsOf(p string) string {
	for q := p; q != "."; q = path.Dir(q) {
		if gives, ok := hands[q]; ok && (q == p || strings.Contains(q, ".")) {
			return gives
		}
	}
	return ""
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing of ours"
	}
	return strings.Join(names, ", ")
}

func at(fset *token.FileSet, n ast.Node) string {
	pos := fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", pos.Filename, pos.Line)
}

// trackedFiles asks git; without git (a source archive) every file counts.
func trackedFiles(t *testing.T) []string {
	t.Helper()
	if out, err := exec.Command("git", "-C", root, "ls-files", "-z").Output(); err == nil {
		return strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	}
	var names []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatalf("list files: %v", err)
	}
	return names
}

var machinePath = regexp.MustCompile(`(^|[^A-Za-z0-9_./-])/(` + "root|home" + `)/`)

func machinePaths(name string, text []byte) []string {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil
	}
	var problems []string
	for i, line := range bytes.Split(text, []byte("\n")) {
		if machinePath.Match(line) {
			problems = append(problems, fmt.Sprintf("%s:%d: a path of somebody's machine: it is true on one machine only", name, i+1))
		}
	}
	return problems
}
