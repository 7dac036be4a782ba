package sip_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nines/sip"
)

var updateTransparency = flag.Bool("update-transparency", false, "write what passes now into testdata/transparency")

// TestWhatPassesIsChangedOnlyWhereThePageSaysSo sends requests with everything in them through the proxy and compares, line by line, what came in with what
// goes out: to the first endpoint, and to a partner after a refusal. The differences are in golden files, and each is a header that docs/INTEROP.md lists.
func TestWhatPassesIsChangedOnlyWhereThePageSaysSo(t *testing.T) {
	listed := changedHeaders(t)
	files, err := filepath.Glob("testdata/transparency/*.sip")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %d requests (%v)", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sip")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := onTheWire(text)
			onStage(t, func(r *sip.Routing) { r.Routes[0].Ask = r.Routes[0].Ask[1:] }, func(st *stage) {
				for _, a := range st.rooms {
					a.lenient.Store(true)
				}
				if _, err := st.carrier.conn.WriteTo(in, nodeUDP); err != nil {
					t.Fatal(err)
				}
				m := st.rooms["standby-room"].expect("INVITE")
				first := difference(in, m.raw)
				st.rooms["standby-room"].reply(m, 503, "x")
				m2 := st.rooms["partner"].expect("INVITE")
				second := difference(in, m2.raw)
				story := "# to the first endpoint\n" + first + "\n# to a partner, after a refusal\n" + second
				golden(t, filepath.Join("testdata/transparency", name+".diff"), story)
				for _, line := range append(beyondBlanks(first), beyondBlanks(second)...) {
					if h := headerOf(line); h != "" && !slices.Contains(listed, strings.ToLower(h)) {
						t.Errorf("%s is changed, and docs/INTEROP.md does not say so: %s", h, line)
					}
				}
				st.rooms["partner"].reply(m2, 503, "x")
				time.Sleep(time.Minute)
			})
		})
	}
}

// beyondBlanks leaves out of a difference what differs in blanks only: a folded header is unfolded, and one blank follows the colon (RFC 3261 §7.3.1).
func beyondBlanks(difference string) []string {
	fold := regexp.MustCompile(`\n- ( |\\t)`)
	all := strings.Split(fold.ReplaceAllString(difference, " "), "\n")
	seen := map[string]int{}
	plain := func(line string) string {
		name, value, _ := strings.Cut(line[2:], ":")
		return name + ":" + strings.Join(strings.Fields(value), " ")
	}
	for _, l := range all {
		if len(l) > 2 {
			seen[l[:1]+plain(l)]++
		}
	}
	return slices.DeleteFunc(all, func(l string) bool { return len(l) < 3 || seen["-"+plain(l)] == seen["+"+plain(l)] })
}

// onTheWire gives a request its line ends, and its length.
func onTheWire(text []byte) []byte {
	head, body, _ := bytes.Cut(text, []byte("\n\n"))
	out := bytes.ReplaceAll(head, []byte("\n"), []byte("\r\n"))
	return append(fmt.Appendf(out, "\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
}

// difference lists the lines that are only in one of two messages, in order: - what came in and does not go out, + what goes out and did not come in. What
// is random in them is replaced.
func difference(in, out []byte) string {
	a, b := linesOf(in), linesOf(out)
	// The longest common subsequence keeps the order: a header that moved is a difference.
	most := make([][]int, len(a)+1)
	for i := range most {
		most[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				most[i][j] = most[i+1][j+1] + 1
			} else {
				most[i][j] = max(most[i+1][j], most[i][j+1])
			}
		}
	}
	var s strings.Builder
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && most[i+1][j] >= most[i][j+1]:
			fmt.Fprintf(&s, "- %s\n", a[i])
			i++
		default:
			fmt.Fprintf(&s, "+ %s\n", b[j])
			j++
		}
	}
	return s.String()
}

var unlike = []struct {
	form *regexp.Regexp
	text string
}{
	{regexp.MustCompile(`branch=z9hG4bKn[^;]*`), "branch=…"},
	{regexp.MustCompile(`tag=n[0-9a-z-]{6,}`), "tag=…"},
	{regexp.MustCompile(`^Call-ID: n[0-9a-z-]{6,}$`), "Call-ID: …"},
	{regexp.MustCompile(`^(m=[a-z]+ )2\d{4}`), "${1}PORT"},
	{regexp.MustCompile(`^(a=rtcp:)2\d{4}`), "${1}PORT"},
	{regexp.MustCompile(`^o=(\S+) \d+ \d+ IN IP4 10.0.0.1$`), "o=$1 ID VERSION IN IP4 10.0.0.1"},
}

// linesOf quotes what cannot be shown.
func linesOf(m []byte) []string {
	var out []string
	for _, l := range strings.Split(string(m), "\r\n") {
		for _, r := range unlike {
			l = r.form.ReplaceAllString(l, r.text)
		}
		q := fmt.Sprintf("%q", l)
		out = append(out, q[1:len(q)-1])
	}
	return out
}

var sdpLine = regexp.MustCompile(`^[a-z]=`)

// headerOf is the header, or the kind of line of a session description, that a line of a difference is about. Empty: none.
func headerOf(line string) string {
	if len(line) < 3 || line[0] == '#' {
		return ""
	}
	line = line[2:]
	switch {
	case strings.HasSuffix(line, "SIP/2.0"):
		return "Request-URI"
	case sdpLine.MatchString(line):
		if line[0] == 'a' {
			name, _, _ := strings.Cut(line, ":")
			if strings.HasPrefix(name, "a=ice-") {
				return "a=ice-*"
			}
			return name
		}
		return line[:2]
	}
	name, _, ok := strings.Cut(line, ":")
	if !ok {
		return "line without a header: " + line
	}
	if long, ok := longNames[strings.ToLower(name)]; ok {
		return long
	}
	return name
}

var longNames = map[string]string{"v": "Via", "f": "From", "t": "To", "i": "Call-ID", "m": "Contact", "l": "Content-Length", "k": "Supported", "x": "Session-Expires"}

// changedHeaders reads the table of docs/INTEROP.md: what stands in its first column.
func changedHeaders(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/INTEROP.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, ok := strings.Cut(string(page), "## What nines changes in a message")
	if !ok {
		t.Fatal("docs/INTEROP.md has no table of what nines changes")
	}
	part, _, _ = strings.Cut(part, "\n## ")
	var names []string
	for _, l := range strings.Split(part, "\n") {
		cells := strings.Split(l, "|")
		if len(cells) < 3 {
			continue
		}
		for _, code := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			names = append(names, strings.ToLower(code[1]))
		}
	}
	if len(names) < 10 {
		t.Fatalf("docs/INTEROP.md lists only %v", names)
	}
	return names
}

func golden(t *testing.T, file, now string) {
	t.Helper()
	if *updateTransparency {
		if err := os.WriteFile(file, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(was), now); diff != "" {
		t.Errorf("what is changed has changed (-written +now); if the new one is right, run with -update-transparency:\n%s", diff)
	}
}
