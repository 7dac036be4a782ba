package house

import (
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
	"sync"
	"testing"
)

// A page is read by somebody who believes it. What it names must be there, what it shows must work.

// pages are the README and everything below docs, by path, without METRICS.md's table, which console tests.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	add := func(name string) {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(b)
	}
	add("README.md")
	err := fs.WalkDir(os.DirFS(root), "docs", func(name string, d fs.DirEntry, err error) error {
		if err == nil && path.Ext(name) == ".md" {
			add(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 8 {
		t.Fatalf("read only %d pages; the check has lost its way", len(all))
	}
	return all
}

// built is the folder of the program, once it was built.
var built string

// program builds nines once for all tests of this file.
var program = sync.OnceValues(func() (binary string, err error) {
	if built, err = os.MkdirTemp("", "nines-docs"); err != nil {
		return "", err
	}
	binary = filepath.Join(built, "nines")
	build := exec.Command("go", "build", "-o", binary, "./cmd/nines")
	build.Dir = root
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build nines: %w\n%s", err, out)
	}
	return binary, err
})

// TestMain takes the built program away.
func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// nines runs the program in the project's folder.
func nines(t *testing.T, args ...string) (out string, ok bool) {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir = root
	b, err := cmd.CombinedOutput()
	return string(b), err == nil
}

var (
	fence = regexp.MustCompile("(?ms)^```(\\w*)\\n(.*?)^```$")
	span  = regexp.MustCompile("`([^`\n]+)`")
	link  = regexp.MustCompile(`\[[^\]\n]+\]\(([^)\s]+)\)`)
	words = regexp.MustCompile(`[^\p{L}\p{N} _-]+`)
)

// blocks gives the fenced blocks of a language.
func blocks(text, language string) (found []string) {
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		if m[1] == language {
			found = append(found, m[2])
		}
	}
	return found
}

// prose is a page without its fenced blocks.
func prose(text string) string { return fence.ReplaceAllString(text, "") }

func TestEveryConfigurationInThePagesIsAccepted(t *testing.T) {
	small, err := os.ReadFile(filepath.Join(root, "configs/small.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for name, text := range pages(t) {
		for _, block := range blocks(text, "yaml") {
			seen++
			file := filepath.Join(t.TempDir(), "nines.yaml")
			if err := os.WriteFile(file, []byte(overlay(string(small), block)), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, ok := nines(t, "check", file); !ok || strings.Contains(out, "does nothing yet") {
				t.Errorf("%s shows\n%s\nwhich nines check does not take as it is:\n%s", name, block, out)
			}
		}
	}
	if seen == 0 {
		t.Error("no page shows a configuration; the check has lost its way")
	}
}

var topKey = regexp.MustCompile(`(?m)^(\w+):`)

// overlay puts the top-level keys of a part in place of the same keys of a whole file.
func overlay(whole, part string) string {
	sections := func(text string) (names []string, bodies map[string]string) {
		bodies = map[string]string{}
		at := topKey.FindAllStringSubmatchIndex(text, -1)
		for i, m := range at {
			end := len(text)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			name := text[m[2]:m[3]]
			names = append(names, name)
			bodies[name] = text[m[0]:end]
		}
		return names, bodies
	}
	names, bodies := sections(whole)
	more, with := sections(part)
	for _, name := range more {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		bodies[name] = with[name]
	}
	var b strings.Builder
	for _, name := range names {
		b.WriteString(strings.TrimRight(bodies[name], "\n") + "\n")
	}
	return b.String()
}

func TestTheSmallestFileIsTheOneWeShip(t *testing.T) {
	shipped, err := os.ReadFile(filepath.Join(root, "configs/small.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	plain := func(text string) string {
		var b strings.Builder
		for line := range strings.Lines(text) {
			if line = strings.TrimRight(strings.SplitN(line, "#", 2)[0], " \n"); line != "" {
				b.WriteString(line + "\n")
			}
		}
		return b.String()
	}
	if got, want := blocks(pages(t)["README.md"], "yaml")[0], plain(string(shipped)); got != want {
		t.Errorf("the README's first configuration is\n%s\nconfigs/small.yaml without its comments is\n%s", got, want)
	}
}

func TestWhatCheckSaysIsWhatTheREADMEShows(t *testing.T) {
	out, ok := nines(t, "check", "configs/small.yaml")
	if !ok {
		t.Fatalf("configs/small.yaml is refused:\n%s", out)
	}
	if shown := blocks(pages(t)["README.md"], "text"); !slices.Contains(shown, out) {
		t.Errorf("nines check configs/small.yaml says\n%s\nthe README shows\n%s", out, strings.Join(shown, "\n"))
	}
}

// TestEveryCommandInThePagesExists looks at each line of the shell blocks, and at `nines …`, `make …` and `go run …` in the text.
func TestEveryCommandInThePagesExists(t *testing.T) {
	seen := 0
	for name, text := range pages(t) {
		var lines []string
		for _, block := range blocks(text, "sh") {
			lines = append(lines, strings.Split(strings.TrimSpace(block), "\n")...)
		}
		for _, m := range span.FindAllStringSubmatch(prose(text), -1) {
			lines = append(lines, m[1])
		}
		for _, line := range lines {
			line, _, _ = strings.Cut(line, " #")
			if args := strings.Fields(line); len(args) > 1 {
				if known, why := commandExists(t, args); why != "" {
					t.Errorf("%s: %q: %s", name, line, why)
				} else if known {
					seen++
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("found only %d commands; the check has lost its way", seen)
	}
}

// commandExists says whether a command is one of those that are checked, and what is wrong with it.
func commandExists(t *testing.T, args []string) (known bool, why string) {
	t.Helper()
	switch args[0] {
	case "nines", "bin/nines":
		return true, subcommandExists(t, args[1:])
	case "make":
		return true, targetsExist(t, args[1:])
	case "go":
		return true, goWorks(t, args[1:])
	case "sipp":
		return true, scenarioExists(args[1:])
	}
	return false, ""
}

func subcommandExists(t *testing.T, args []string) string {
	t.Helper()
	help, ok := nines(t, args[0], "--help")
	if !ok || !strings.Contains(help, "nines "+args[0]) {
		return "nines has no command " + args[0]
	}
	if len(args) > 1 && strings.Contains(help, "\n  "+args[1]+" ") { // a command of its own below it
		below, _ := nines(t, args[0], args[1], "--help")
		help += below
	}
	for _, a := range args[1:] {
		flag, _, _ := strings.Cut(a, "=")
		if strings.HasPrefix(flag, "-") && !strings.Contains(help, flag+" ") {
			return fmt.Sprintf("nines %s has no %s", args[0], flag)
		}
		if path.Ext(a) == ".yaml" && !path.IsAbs(a) && !exists(a) {
			return a + " is not there"
		}
	}
	return ""
}

func targetsExist(t *testing.T, args []string) string {
	t.Helper()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range args {
		variable, _, assigned := strings.Cut(a, "=")
		switch {
		case assigned && !regexp.MustCompile(`(?m)^`+variable+`\s*\?=`).Match(makefile):
			return "the Makefile does not take " + variable
		case !assigned && !regexp.MustCompile(`(?m)^`+a+`:`).Match(makefile):
			return "the Makefile has no target " + a
		}
	}
	return ""
}

// goWorks looks at go run, whose program must be there with the flags that are given, and go test, whose package must be.
func goWorks(t *testing.T, args []string) string {
	t.Helper()
	for i, a := range args {
		if !strings.HasPrefix(a, "./") {
			continue
		}
		if !exists(a) {
			return a + " is not there"
		}
		if args[0] == "run" && a == "./cmd/nines" && len(args) > i+1 {
			return subcommandExists(t, args[i+1:])
		}
		if args[0] == "run" && a != "./cmd/nines" {
			return flagsExist(a, args[i+1:])
		}
		return ""
	}
	return "names no package of ours"
}

// flagsExist looks for flag declarations in a program's source.
func flagsExist(dir string, args []string) string {
	for _, a := range args {
		name := strings.TrimLeft(a, "-")
		if name == a {
			continue
		}
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			return err.Error()
		}
		if !slices.ContainsFunc(files, func(f string) bool {
			src, err := os.ReadFile(f)
			return err == nil && regexp.MustCompile(`flag\.\w+\((&[\w.]+, )?"`+name+`"`).Match(src)
		}) {
			return dir + " has no flag -" + name
		}
	}
	return ""
}

func scenarioExists(args []string) string {
	for i, a := range args {
		if a == "-sf" && i+1 < len(args) && !exists(args[i+1]) {
			return args[i+1] + " is not there"
		}
	}
	return ""
}

func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	all := pages(t)
	for name, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			if !exists(file) {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
			if page, ok := all[file]; ok && anchor != "" && !slices.Contains(anchors(page), anchor) {
				t.Errorf("%s links to %s; that page has no such heading", name, m[1])
			}
		}
	}
}

// anchors are a page's headings as links name them.
func anchors(page string) (found []string) {
	for line := range strings.Lines(prose(page)) {
		if title := strings.TrimLeft(line, "#"); title != line {
			title = words.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			found = append(found, strings.ReplaceAll(title, " ", "-"))
		}
	}
	return found
}

// TestEveryFileInThePagesExists looks at what stands in code marks and has the form of a path of ours.
func TestEveryFileInThePagesExists(t *testing.T) {
	top, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, e := range top {
		if e.IsDir() {
			folders = append(folders, e.Name())
		}
	}
	pathForm := regexp.MustCompile(`^\.?[\w-]+(/[\w.-]+)*/?$`)
	for name, text := range pages(t) {
		for _, m := range span.FindAllStringSubmatch(prose(text), -1) {
			first, _, deep := strings.Cut(m[1], "/")
			if deep && pathForm.MatchString(m[1]) && slices.Contains(folders, first) && first != "bin" && !exists(m[1]) {
				t.Errorf("%s names %s, which is not there", name, m[1])
			}
		}
	}
}

func TestEveryMetricInThePagesExists(t *testing.T) {
	src, err := os.ReadFile(filepath.Join(root, "console/metrics.go"))
	if err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`\bnines_[a-z_]+\b`)
	for name, text := range pages(t) {
		for _, m := range metric.FindAllString(text, -1) {
			if !strings.Contains(string(src), `"`+m+`"`) {
				t.Errorf("%s names the metric %s, which console does not show", name, m)
			}
		}
	}
}

func TestExitCodesAreTheSameEverywhere(t *testing.T) {
	help, _ := nines(t, "help")
	codes := regexp.MustCompile(`Exit codes: .*\.`).FindString(help)
	if codes == "" || !strings.Contains(pages(t)["docs/OPERATIONS.md"], codes) {
		t.Errorf("nines help says %q; docs/OPERATIONS.md must say the same", codes)
	}
}

func TestThePageForTheNightKnowsEverySentenceOfTheLog(t *testing.T) {
	page := pages(t)["docs/OPERATIONS.md"]
	said := sentences(t)
	if len(said) < 20 {
		t.Fatalf("found only %d sentences in the code; the check has lost its way", len(said))
	}
	var texts []string
	for _, s := range said {
		texts = append(texts, s.text)
		if s.alarm && !strings.Contains(page, "`"+s.text+"`") {
			t.Errorf("%s logs %q as a warning or an error; docs/OPERATIONS.md must say what it means and what to do", s.where, s.text)
		}
	}
	_, page, _ = strings.Cut(page, "## What the log says")
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(page, -1) {
		if !slices.Contains(texts, m[1]) {
			t.Errorf("docs/OPERATIONS.md explains the log sentence %q; nothing logs it", m[1])
		}
	}
}

// sentence is what one call of Msg says.
type sentence struct {
	where string
	text  string
	alarm bool // at warning or error
}

// sentences reads them out of the rooms that log. Where a sentence is put together its fixed part counts.
func sentences(t *testing.T) (found []sentence) {
	t.Helper()
	for _, room := range []string{"app", "console", "journal", "sip"} {
		files, err := filepath.Glob(filepath.Join(root, room, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, f, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 1 {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || sel.Sel.Name != "Msg" {
					return true
				}
				if text := fixedPart(call.Args[0]); text != "" {
					found = append(found, sentence{where: strings.TrimPrefix(at(fset, n), root+"/"), text: text, alarm: alarms(sel.X)})
				}
				return true
			})
		}
	}
	return found
}

func fixedPart(e ast.Expr) (text string) {
	ast.Inspect(e, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && len(s) > len(text) {
				text = s
			}
		}
		return true
	})
	return strings.TrimSpace(text)
}

// alarms says that a chain of calls begins at Warn or Error.
func alarms(e ast.Expr) (yes bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && (sel.Sel.Name == "Warn" || sel.Sel.Name == "Error") {
			yes = true
		}
		return true
	})
	return yes
}

func TestEveryDecisionSaysWhyAndWhatWouldChangeIt(t *testing.T) {
	all := pages(t)
	index := all["docs/decisions/README.md"]
	n := 0
	for name, text := range all {
		if path.Dir(name) != "docs/decisions" || path.Base(name) == "README.md" {
			continue
		}
		n++
		if !regexp.MustCompile(`^\d{4}-[a-z0-9-]+\.md$`).MatchString(path.Base(name)) {
			t.Errorf("%s: a decision is called NNNN-title.md", name)
		}
		if !strings.Contains(index, "("+path.Base(name)+")") {
			t.Errorf("%s is not in docs/decisions/README.md", name)
		}
		for _, part := range []string{"Context", "Decision", "Why", "Figures", "What would change our mind"} {
			if !strings.Contains(text, "\n## "+part+"\n") {
				t.Errorf("%s has no part %q", name, part)
			}
		}
	}
	if n < 5 {
		t.Errorf("found only %d decisions", n)
	}
}
