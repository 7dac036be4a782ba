package console

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas compiles the document's schemas. In the test they know every field: one that the document does not have is a fault.
func schemas(t *testing.T) (doc object, compile func(pointer string) *jsonschema.Schema) {
	t.Helper()
	doc, _ = unmarshal(t, document).(object)
	for _, s := range doc["components"].(object)["schemas"].(object) {
		if s := s.(object); s["type"] == "object" {
			s["additionalProperties"] = false
		}
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return doc, func(pointer string) *jsonschema.Schema {
		s, err := c.Compile("openapi.json#" + pointer)
		if err != nil {
			t.Fatalf("schema %s: %v", pointer, err)
		}
		return s
	}
}

func unmarshal(t *testing.T, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

// visits are a request or more for each route of the API: what is asked and how it ends.
var visits = []struct {
	method, path, body string
	want               int
}{
	{"GET", "/api/v1/status", "", 200},
	{"GET", "/api/v1/status/endpoints/warwickshire", "", 200},
	{"GET", "/api/v1/status/endpoints/nowhere", "", 404},
	{"GET", "/api/v1/version", "", 200},
	{"POST", "/api/v1/reload", "", 200},
	{"GET", "/api/v1/holds", "", 200},
	{"POST", "/api/v1/holds", `{"endpoint":"control-room","for":"2h","why":"power work","by":"alice"}`, 200},
	{"POST", "/api/v1/holds", `{"endpoint":5}`, 400},
	{"DELETE", "/api/v1/holds/control-room?by=alice", "", 200},
	{"GET", "/api/v1/calls?number=%2B441905000001&since=2026-11-23T14:00:00Z&limit=5", "", 200},
	{"GET", "/api/v1/calls?limit=0", "", 400},
	{"GET", "/api/v1/calls?since=yesterday", "", 400},
	{"GET", "/api/v1/calls/mi0-0-1", "", 200},
	{"GET", "/api/v1/calls/nobody", "", 404},
	{"GET", "/api/v1/callbacks", "", 200},
	{"GET", "/api/v1/callbacks?format=csv", "", 200},
	{"POST", "/api/v1/callbacks/done", `{"who":"+441905000001","outcome":"spoke to caller","by":"alice"}`, 200},
	{"POST", "/api/v1/callbacks/done", `{"who":"nobody","outcome":"spoke to caller","by":"alice"}`, 404},
	{"GET", "/api/v1/openapi.json", "", 200},
}

func TestEveryRouteAnswersAsTheDocumentSays(t *testing.T) {
	doc, compile := schemas(t)
	paths := doc["paths"].(object)
	visited := map[string]bool{}
	handler := controlHandler(lively(), newRegistry(), zerolog.Nop())
	for _, v := range visits {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(v.method, v.path, strings.NewReader(v.body))
		handler.ServeHTTP(w, r)
		if w.Code != v.want {
			t.Errorf("%s %s: %d %s, want %d", v.method, v.path, w.Code, w.Body, v.want)
			continue
		}
		_, pattern, _ := strings.Cut(r.Pattern, " ")
		visited[v.method+" "+pattern] = true
		at, ok := paths[pattern].(object)[strings.ToLower(v.method)].(object)
		if !ok {
			t.Errorf("%s %s is not in the document", v.method, pattern)
			continue
		}
		code := strconv.Itoa(w.Code)
		if at["responses"].(object)[code] == nil {
			code = "default"
		}
		kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		if at["responses"].(object)[code].(object)["content"].(object)[kind] == nil {
			t.Errorf("%s %s answers %s with %q, which the document does not know", v.method, v.path, code, kind)
			continue
		}
		if kind != "application/json" {
			continue
		}
		escaped := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(pattern)
		schema := compile("/paths/" + escaped + "/" + strings.ToLower(v.method) + "/responses/" + code + "/content/application~1json/schema")
		if err := schema.Validate(unmarshal(t, w.Body.Bytes())); err != nil {
			t.Errorf("%s %s answers what the document does not say: %v\n%s", v.method, v.path, err, w.Body)
		}
	}
	for _, r := range routes() {
		if !visited[r.method+" "+r.path] {
			t.Errorf("%s %s is not visited by this test: add a line to visits, and what it needs to the lively node", r.method, r.path)
		}
	}
	if got, want := countOperations(paths), len(routes()); got != want {
		t.Errorf("the document has %d operations, the API has %d", got, want)
	}
}

func countOperations(paths object) (n int) {
	for _, p := range paths {
		n += len(p.(object))
	}
	return n
}

// lively is a node that answers everything.
func lively() node {
	n := example()
	hold := exampleHold()
	n.hold = func(HoldRequest) (HoldResult, error) { return HoldResult{Hold: hold, Replaced: &hold}, nil }
	n.release = func(endpoint, _ string) (ReleaseResult, error) {
		return ReleaseResult{Endpoint: endpoint, Hold: &hold, Explanation: "up"}, nil
	}
	n.holds = func() (HoldList, error) { return HoldList{Holds: []HoldStatus{hold}}, nil }
	return n
}

func TestEveryOperationHasANameOfItsOwn(t *testing.T) {
	var names []string
	for _, r := range routes() {
		names = append(names, operationID(r))
	}
	slices.Sort(names)
	if unique := slices.Compact(slices.Clone(names)); len(unique) != len(names) {
		t.Errorf("operation names %q: two are the same", names)
	}
	if !json.Valid(document) {
		t.Error("the document is no JSON")
	}
}
