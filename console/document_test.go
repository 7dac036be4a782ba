package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
	{"GET", "/api/v1/treats", "", 200},
	{"POST", "/api/v1/treats", `{"route":"101","for":"1h","why":"999 is down","by":"alice"}`, 200},
	{"POST", "/api/v1/treats", `{"route":101}`, 400},
	{"DELETE", "/api/v1/treats/101?by=alice", "", 200},
	{"GET", "/api/v1/calls?number=%2B441905000001&since=2026-11-23T14:00:00Z&limit=5", "", 200},
	{"GET", "/api/v1/calls?limit=0", "", 400},
	{"GET", "/api/v1/calls?since=yesterday", "", 400},
	{"GET", "/api/v1/calls/mi0-0-1", "", 200},
	{"GET", "/api/v1/calls/nobody", "", 404},
	{"GET", "/api/v1/calls/mi0-0-1/pcap", "", 200},
	{"GET", "/api/v1/calls/nobody/pcap", "", 404},
	{"GET", "/api/v1/callbacks", "", 200},
	{"GET", "/api/v1/callbacks?format=csv", "", 200},
	{"POST", "/api/v1/callbacks/done", `{"who":"+441905000001","outcome":"spoke to caller","by":"alice"}`, 200},
	{"POST", "/api/v1/callbacks/done", `{"who":"nobody","outcome":"spoke to caller","by":"alice"}`, 404},
	{"GET", "/api/v1/journal?call=mi0-0-1&after=0&type=CallStartLogEvent&newest=no", "", 200},
	{"GET", "/api/v1/journal?format=jsonl&limit=0", "", 200},
	{"GET", "/api/v1/journal?after=minus", "", 400},
	{"GET", "/api/v1/journal?limit=1000000", "", 400},
	{"GET", "/api/v1/journal/health", "", 200},
	{"GET", "/api/v1/journal/verify", "", 200},
	{"GET", "/api/v1/journal/verify?head=3", "", 400},
	{"POST", "/api/v1/journal/erase", `{"number":"+441905000001","by":"dpo","why":"request 17"}`, 200},
	{"POST", "/api/v1/journal/erase", `{"number":"+441905000001"}`, 400},
	{"GET", "/api/v1/incidents?since=2026-11-23T14:00:00Z", "", 200},
	{"GET", "/api/v1/incidents?since=yesterday", "", 400},
	{"GET", "/api/v1/incidents/20261123-140000-control-room", "", 200},
	{"GET", "/api/v1/incidents/20261123-140000-control-room?format=html", "", 200},
	{"GET", "/api/v1/incidents/20261123-140000-control-room?format=markdown", "", 200},
	{"GET", "/api/v1/incidents/20261123-140000-control-room?format=pdf", "", 400},
	{"GET", "/api/v1/incidents/nobody", "", 404},
	{"POST", "/api/v1/incidents/20261123-140000-control-room/confirm", `{"by":"alice","why":"999 tried by hand"}`, 200},
	{"GET", "/api/v1/ledger", "", 200},
	{"GET", "/api/v1/ledger?format=csv", "", 200},
	{"GET", "/api/v1/notices", "", 200},
	{"POST", "/api/v1/notices/acknowledge", `{"id":"1123-1","by":"alice"}`, 200},
	{"POST", "/api/v1/notices/acknowledge", `{"id":"0","by":"alice"}`, 400},
	{"POST", "/api/v1/notices/trial", `{"by":"alice"}`, 200},
	{"GET", "/api/v1/notices/public", "", 200},
	{"GET", "/api/v1/openapi.json", "", 200},
}

func TestEveryRouteAnswersAsTheDocumentSays(t *testing.T) {
	doc, compile := schemas(t)
	paths := doc["paths"].(object)
	visited := map[string]bool{}
	handler := inside(lively())
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
		if !visited[r.method+" "+r.path] && !r.stream { // a stream has a test of its own
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
	order := TreatStatus{Route: "101", By: "alice", Why: "999 is down", From: exampleNow(), Until: exampleNow().Add(time.Hour), LeftSeconds: 3600}
	n.treat = func(TreatRequest) (TreatResult, error) { return TreatResult{Treat: order, Replaced: &order}, nil }
	n.untreat = func(string, string) (UntreatResult, error) { return UntreatResult{Treat: order}, nil }
	n.treats = func() (TreatList, error) { return TreatList{Treats: []TreatStatus{order}}, nil }
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

func TestTheLiveStreamIsFollowed(t *testing.T) {
	_, compile := schemas(t)
	status := make(chan Status, 1)
	status <- livelyStatus()
	n := lively()
	n.status = func() Status { s := <-status; status <- s; return s }
	run := runDir(t)
	start(t, Config{Run: run}, n)
	ended := errors.New("seen enough")
	beats, pictures, minutes := 0, 0, map[time.Time]bool{} // a minute that begins changes the picture
	err := NewClient(run).Follow(t.Context(), func(l *Live) error {
		switch {
		case l == nil:
			if beats++; beats == 1 { // nothing changes, and the node lives
				dead := livelyStatus() // one of its own: the console may be writing the other
				dead.Endpoints[0].Verdict = "down"
				<-status
				status <- dead
			}
			return nil
		case l.Status.Endpoints[0].Verdict == "down":
			return ended
		}
		pictures++
		minutes[l.Minutes[len(l.Minutes)-1].At] = true
		b, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if err := compile("/components/schemas/Live").Validate(unmarshal(t, b)); err != nil {
			t.Errorf("the picture is not as the document says: %v", err)
		}
		if time.Since(l.At) > time.Minute || l.Status.Name != "west-mercia" {
			t.Errorf("the picture is of %v, %q", l.At, l.Status.Name)
		}
		return nil
	})
	if !errors.Is(err, ended) || pictures == 0 || pictures != len(minutes) || beats == 0 {
		t.Errorf("following ended with %v after %d pictures and %d beats; want one picture before the change, and beats between", err, pictures, beats)
	}
}
