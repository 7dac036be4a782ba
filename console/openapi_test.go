package console

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTheDocumentIsTheAPI makes the document of the table of routes, the Go types and their comments, and compares it with the one that is served.
func TestTheDocumentIsTheAPI(t *testing.T) {
	want := writeDocument(t)
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(document, want) {
		t.Error("openapi.json is not what the routes and their types say; write it anew and look at what changed: go test ./console -run TestTheDocument -update")
	}
}

// object keeps JSON short to write. Its keys are sorted when it is written.
type object = map[string]any

func writeDocument(t *testing.T) []byte {
	t.Helper()
	w := &writer{comments: readComments(t), schemas: object{}}
	paths := object{}
	for _, r := range routes() {
		at, ok := paths[r.path].(object)
		if !ok {
			at = object{}
			paths[r.path] = at
		}
		at[strings.ToLower(r.method)] = w.operation(r)
	}
	doc := object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "nines",
			"version":     "v1",
			"description": "The API of one node. Over the control socket everything may be done, and each act says by whom. Over HTTP who is on the machine may read; everybody else, and every act, needs a bearer token of the tokens file, and acts are done in the name of its owner. Viewers see telephone numbers masked.",
		},
		"servers":  []any{object{"url": "/"}},
		"security": []any{object{}, object{"token": []any{}}},
		"paths":    paths,
		"components": object{
			"schemas":         w.schemas,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
	}
	w.schema(reflect.TypeFor[Problem]())
	b, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// writer writes operations and schemas.
type writer struct {
	comments map[string]string // "Type" and "Type.Field"
	schemas  object
}

var inPath = regexp.MustCompile(`\{(\w+)\}`)

func (w *writer) operation(r route) object {
	op := object{"summary": r.about, "operationId": operationID(r), "tags": []any{strings.Split(r.path, "/")[3]}}
	var params []any
	for _, m := range inPath.FindAllStringSubmatch(r.path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, q := range r.query {
		params = append(params, object{"name": q.name, "in": "query", "description": q.about, "schema": object{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.body != nil {
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": w.schema(r.body)}}}
	}
	if r.method != http.MethodGet {
		op["security"] = []any{object{"token": []any{}}}
		op["description"] = "For " + r.role.String() + "s and above."
	}
	problem := object{"description": "what is wrong", "content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Problem"}}}}
	responses := object{"200": w.success(r), "default": problem}
	if r.gives != nil && r.gives.Implements(reflect.TypeFor[interface{ refused() bool }]()) {
		responses["422"] = object{"description": "refused", "content": object{"application/json": object{"schema": w.schema(r.gives)}}}
	}
	op["responses"] = responses
	return op
}

func (w *writer) success(r route) object {
	content := object{}
	switch {
	case r.stream:
		content["text/event-stream"] = object{"schema": object{"type": "string"}}
		if r.gives != nil {
			w.schema(r.gives)
		}
	case r.binary != "":
		content[r.binary] = object{}
	case r.gives != nil:
		content["application/json"] = object{"schema": w.schema(r.gives)}
	default:
		content["application/json"] = object{"schema": object{}}
	}
	if r.lines {
		content["application/jsonl"] = object{"schema": object{"type": "string"}}
	}
	if r.report {
		content["text/html"] = object{"schema": object{"type": "string"}}
		content["text/markdown"] = object{"schema": object{"type": "string"}}
	}
	if r.csv {
		content["text/csv"] = object{"schema": object{"type": "string"}}
	}
	return object{"description": "done", "content": content}
}

func operationID(r route) string {
	id := strings.ToLower(r.method)
	for _, part := range strings.FieldsFunc(strings.TrimPrefix(r.path, "/api/v1"), func(c rune) bool { return !isWord(c) }) {
		id += strings.ToUpper(part[:1]) + part[1:]
	}
	return id
}

func isWord(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }

// schema describes how encoding/json writes a type.
func (w *writer) schema(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return w.schema(t.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Slice, reflect.Array:
		return object{"type": []any{"array", "null"}, "items": w.schema(t.Elem())}
	case reflect.Map:
		return object{"type": []any{"object", "null"}, "additionalProperties": w.schema(t.Elem())}
	case reflect.Struct:
		if _, done := w.schemas[t.Name()]; !done {
			w.schemas[t.Name()] = object{} // it may contain itself
			w.schemas[t.Name()] = w.structure(t)
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	}
	panic("the API cannot say what a " + t.String() + " is")
}

func (w *writer) structure(t reflect.Type) object {
	properties, required := object{}, []string{}
	w.fields(t, properties, &required)
	s := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		slices.Sort(required)
		s["required"] = required
	}
	if about := w.comments[t.Name()]; about != "" {
		s["description"] = about
	}
	return s
}

func (w *writer) fields(t reflect.Type, properties object, required *[]string) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			w.fields(f.Type, properties, required)
			continue
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			name = f.Name
		}
		p := w.schema(f.Type)
		if about := w.comments[t.Name()+"."+f.Name]; about != "" {
			p["description"] = about
		}
		properties[name] = p
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
}

// readComments reads what the code says about the types: of this room and of the ones whose types it shows.
func readComments(t *testing.T) map[string]string {
	t.Helper()
	said := map[string]string{}
	for _, dir := range []string{".", "../journal", "../health", "../call"} {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if path.Ext(f.Name()) != ".go" || strings.HasSuffix(f.Name(), "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(gotoken.NewFileSet(), path.Join(dir, f.Name()), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			noteComments(parsed, said)
		}
	}
	return said
}

func noteComments(f *ast.File, said map[string]string) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			ts, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			note(said, ts.Name.Name, g.Doc, ts.Doc)
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, field := range st.Fields.List {
				for _, name := range field.Names {
					note(said, ts.Name.Name+"."+name.Name, field.Doc, field.Comment)
				}
			}
		}
	}
}

func note(said map[string]string, what string, groups ...*ast.CommentGroup) {
	var words []string
	for _, g := range groups {
		if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
			words = append(words, text)
		}
	}
	if len(words) > 0 && said[what] == "" {
		said[what] = strings.Join(words, " ")
	}
}
