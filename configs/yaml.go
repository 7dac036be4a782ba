package configs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// reader walks the YAML tree, and remembers where everything was written and what is wrong with it.
type reader struct {
	file     string
	folder   string
	problems Problems
	marks    []mark
	at       map[string]int  // path → index into marks
	unread   map[string]bool // paths where keys and values were expected, and something else stood
}

// mark remembers where a path was written, and a scalar's text.
type mark struct {
	path         string
	line, column int
	text         string
}

// value is a node of the tree and the path that leads to it.
type value struct {
	node ast.Node
	path string
}

// entry is a key of a mapping and its value.
type entry struct {
	key string
	value
}

func (r *reader) mark(path string, n ast.Node) {
	m := mark{path: path}
	m.line, m.column = position(n)
	m.text, _ = scalarText(n)
	r.at[path] = len(r.marks)
	r.marks = append(r.marks, m)
}

// position is where a path was written; for what was not written, where its nearest parent was.
func (r *reader) position(path string) (line, column int) {
	for {
		if i, ok := r.at[path]; ok {
			return r.marks[i].line, r.marks[i].column
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return 1, 1
		}
		path = path[:i]
	}
}

// has says that a path was written.
func (r *reader) has(path string) bool {
	_, ok := r.at[path]
	return ok
}

func (r *reader) report(s Severity, path, what, fix string) {
	line, column := r.position(path)
	r.problems = append(r.problems, Problem{Severity: s, File: r.file, Line: line, Column: column, Path: path, What: what, Fix: fix})
}

func (r *reader) wrong(path, what, fix string)    { r.report(Error, path, what, fix) }
func (r *reader) doubtful(path, what, fix string) { r.report(Warning, path, what, fix) }

// maxDepth is how deep brackets and dashes may nest: our own format needs seven. The YAML parser recurses, and a stack overflow can't be recovered from.
const maxDepth = 64

// tooDeep says on which line a file nests deeper than any of ours could. It counts what is inside quotes and comments as well; nobody writes
// sixty-four brackets there.
func tooDeep(data []byte) (line int, deep bool) {
	depth := 0
	for i, row := range bytes.Split(data, []byte("\n")) {
		blocks := 0
		for _, c := range row {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(depth-1, 0)
			case '-', '?', ':', '!', '&':
				blocks++
			}
			if depth > maxDepth {
				return i + 1, true
			}
		}
		// A row such as "- - - - …" opens a block with every dash. A comment may hold a ruler of dashes.
		if blocks > 16*maxDepth && !bytes.HasPrefix(bytes.TrimSpace(row), []byte("#")) {
			return i + 1, true
		}
	}
	return 0, false
}

// tree parses YAML into its root; without one it has said why.
func (r *reader) tree(data []byte) (root ast.Node, ok bool) {
	// The parser is not ours and the text may be anything: a panic of its must not take a running node down at reload.
	defer func() {
		if p := recover(); p != nil {
			r.wrong("", "this is no YAML that can be read", "check indentation, quotes and brackets")
			root, ok = nil, false
		}
	}()
	if line, deep := tooDeep(data); deep {
		r.broken(line, 1, "lists and mappings are nested too deep", "")
		return nil, false
	}
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line, column, what := 1, 1, err.Error()
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			what = syntax.GetMessage()
			if t := syntax.GetToken(); t != nil && t.Position != nil {
				line, column = max(1, t.Position.Line), max(1, t.Position.Column)
			}
		}
		r.broken(line, column, "this is no YAML: "+firstLine(what), "mend it, and the rest can be checked; a text with brackets or colons belongs in quotes")
		return nil, false
	}
	var bodies []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	switch len(bodies) {
	case 0:
		r.wrong("", "the file is empty", "configs/small.yaml is the smallest useful one")
		return nil, false
	case 1:
		if !isMapping(value{node: bodies[0]}) {
			r.wrong("", "keys and values are expected here, not "+kind(bodies[0]), "configs/small.yaml is the smallest useful file")
			return nil, false
		}
		return bodies[0], true
	default:
		line, column := position(bodies[1])
		r.broken(line, column, "a second document starts here", "keep one, without --- in the middle")
		return nil, false
	}
}

func (r *reader) broken(line, column int, what, fix string) {
	r.problems = append(r.problems, Problem{Severity: Error, File: r.file, Line: line, Column: column, What: what, Fix: fix})
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// plain takes off what YAML can wrap around a node. What we don't support is said once, and what is inside is still read.
func (r *reader) plain(v value) (value, bool) {
	for {
		switch n := v.node.(type) {
		case nil:
			r.wrong(v.path, "has no value", "give it one, or take the key out")
			return v, false
		case *ast.NullNode:
			r.wrong(v.path, "has no value", "give it one, or take the key out")
			return v, false
		case *ast.AnchorNode:
			r.wrong(v.path, "anchors (&) are not supported", "write the value out where it is used")
			v.node = n.Value
		case *ast.TagNode:
			r.wrong(v.path, "tags (!) are not supported", "take the tag out")
			v.node = n.Value
		case *ast.AliasNode:
			r.wrong(v.path, "aliases (*) are not supported", "write the value out")
			return v, false
		default:
			return v, true
		}
	}
}

// scalarText is what was written for a scalar, unquoted: 0800 stays 0800, +44 keeps its plus, on stays on.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		if n.Value == nil {
			return "", true
		}
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		if t := n.GetToken(); t != nil {
			return t.Value, true
		}
	}
	return "", false
}

// text reads a scalar that must not be empty.
func (r *reader) text(v value) (string, bool) {
	v, ok := r.plain(v)
	if !ok {
		return "", false
	}
	s, ok := scalarText(v.node)
	if !ok {
		r.wrong(v.path, "one value is expected here, not "+kind(v.node), "")
		return "", false
	}
	if strings.TrimSpace(s) == "" {
		r.wrong(v.path, "is empty", "give it a value, or take the key out")
		return "", false
	}
	return s, true
}

func kind(n ast.Node) string {
	switch {
	case isList(value{node: n}):
		return "a list"
	case isMapping(value{node: n}):
		return "a mapping"
	}
	return "one value"
}

// isList says that a list was written.
func isList(v value) bool {
	_, ok := v.node.(*ast.SequenceNode)
	return ok
}

// isMapping says that a mapping was written.
func isMapping(v value) bool {
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

// list reads a list and marks each place in it.
func (r *reader) list(v value) ([]value, bool) {
	v, ok := r.plain(v)
	if !ok {
		return nil, false
	}
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		r.wrong(v.path, "a list is expected here", "put it in brackets: [ … ]")
		return nil, false
	}
	items := make([]value, 0, len(n.Values))
	for i, item := range n.Values {
		item = unglue(item)
		v := value{item, v.path + "[" + strconv.Itoa(i) + "]"}
		r.mark(v.path, item)
		items = append(items, v)
	}
	return items, true
}

// unglue puts together what the parser took apart: inside { … } it takes the colon of a list's plain udp://10.0.0.2:5060 or 2001:db8::/48 for the one
// between key and value, which needs a blank after it (YAML 1.2.2 §7.3.3, ns-plain-char).
func unglue(n ast.Node) ast.Node {
	m, ok := n.(*ast.MappingNode)
	if !ok || len(m.Values) != 1 || m.Start == nil || m.Start.Type != token.MappingValueType {
		return n
	}
	key, val := m.Values[0].Key.GetToken(), m.Values[0].Value.GetToken()
	head, okKey := scalarText(m.Values[0].Key)
	tail, okVal := scalarText(m.Values[0].Value)
	if !okKey || !okVal || key == nil || val == nil || key.Position == nil || val.Position == nil || quoted(key) || quoted(val) {
		return n
	}
	if key.Position.Line != val.Position.Line || key.Position.Column+utf8.RuneCountInString(head)+1 != val.Position.Column {
		return n
	}
	whole := key.Clone()
	whole.Value = head + ":" + tail
	return ast.String(whole)
}

func quoted(t *token.Token) bool { return t.Indicator == token.QuotedScalarIndicator }

// oneOrList reads a list, or one value as a list of one.
func (r *reader) oneOrList(v value) ([]value, bool) {
	v, ok := r.plain(v)
	if !ok {
		return nil, false
	}
	if isList(v) || isMapping(v) {
		return r.list(v)
	}
	return []value{v}, true
}

// entries reads a mapping in the order of the file and marks each key. Keys that come twice are said and left out.
func (r *reader) entries(v value) ([]entry, bool) {
	v, ok := r.plain(v)
	if !ok {
		r.unread[v.path] = true
		return nil, false
	}
	var pairs []*ast.MappingValueNode
	switch n := v.node.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		r.unread[v.path] = true
		r.wrong(v.path, "keys and values are expected here, not "+kind(v.node), "write it as key: value")
		return nil, false
	}
	entries := make([]entry, 0, len(pairs))
	for _, p := range pairs {
		key, ok := scalarText(p.Key)
		path := join(v.path, key)
		if !ok {
			r.markAt(join(v.path, "?"), p.Key)
			r.wrong(join(v.path, "?"), "a key must be a plain word", "anchors and merges (<<) are not supported; write the keys out")
			continue
		}
		if i, twice := r.at[path]; twice {
			line, column := position(p.Key)
			r.problems = append(r.problems, Problem{
				Severity: Error, File: r.file, Line: line, Column: column, Path: path,
				What: fmt.Sprintf("the key is written twice, first on line %d", r.marks[i].line), Fix: "keep one",
			})
			continue
		}
		r.markAt(path, p.Key)
		r.marks[len(r.marks)-1].text, _ = scalarText(p.Value)
		entries = append(entries, entry{key, value{p.Value, path}})
	}
	return entries, true
}

// markAt marks a path at its key, without a text.
func (r *reader) markAt(path string, key ast.Node) {
	r.mark(path, key)
	r.marks[len(r.marks)-1].text = ""
}

// position is where a node starts; line and column 1 if it does not know.
func position(n ast.Node) (line, column int) {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1, 1
	}
	p := n.GetToken().Position
	return max(1, p.Line), max(1, p.Column)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fields reads a mapping whose keys are fixed; each known key has its own way of being read.
func (r *reader) fields(v value, known map[string]func(value)) {
	entries, ok := r.entries(v)
	if !ok {
		return
	}
	for _, e := range entries {
		read, ok := known[e.key]
		if !ok {
			r.wrong(e.path, fmt.Sprintf("there is no key %q", e.key), didYouMean(e.key, slices.Sorted(maps.Keys(known)), "keys here"))
			continue
		}
		read(e.value)
	}
}
