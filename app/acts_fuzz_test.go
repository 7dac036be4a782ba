package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"nines/console"
	"nines/internal/town"
	"nines/journal"
	"nines/notify"
)

// public is a node in memory with its console on a real port, and somebody who may do everything there.
type public struct {
	node *Node
	base string
	key  string
	web  *http.Client
	acts []act
}

// act is a place of the API that changes something.
type act struct{ method, path string }

func newPublic(f *testing.F) *public {
	dir := f.TempDir()
	key, line, err := console.NewToken("alice", "admin")
	if err != nil {
		f.Fatal(err)
	}
	file := houseFile + "state: " + dir + "/state\nrun: " + dir + "/run\nconsole: { listen: \"127.0.0.1:0\", tokens_file: " + dir + "/tokens }\n"
	for name, text := range map[string]string{"tokens": line + "\n", "nines.yaml": file} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	p := &public{key: key, web: &http.Client{
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	p.node, err = Start(Options{
		ConfigPath: filepath.Join(dir, "nines.yaml"), Log: zerolog.Nop(), Network: town.NewNetwork(1).Host("nines", netip.MustParseAddr("10.0.0.1")), Loops: 1, Seed: 1, Drain: time.Millisecond,
	})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.node.Run(ctx) }() // ends with ctx
	f.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			f.Errorf("the node ended with %v", err)
		}
	})
	p.base = "http://" + p.node.console.Addr().String()
	p.comes(f, "the call-back list catches up", func() bool {
		p.node.desk.mu.Lock()
		defer p.node.desk.mu.Unlock()
		if p.node.desk.trouble != "" {
			f.Errorf("at the first start the list says %q", p.node.desk.trouble)
		}
		return !p.node.desk.behind
	})
	p.comes(f, "the book is made", func() bool {
		r, err := journal.OpenReader(p.node.file.Journal.Path)
		if err == nil {
			r.Close()
		}
		return err == nil
	})
	_, text, err := p.ask(http.MethodGet, "/api/v1/openapi.json", nil)
	if err != nil {
		f.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		f.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			if method != "get" && method != "parameters" {
				p.acts = append(p.acts, act{strings.ToUpper(method), path})
			}
		}
	}
	slices.SortFunc(p.acts, func(a, b act) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	if len(p.acts) < 9 {
		f.Fatalf("the API has %d acts: %v", len(p.acts), p.acts)
	}
	return p
}

func (p *public) comes(f *testing.F, what string, yes func() bool) {
	f.Helper()
	for end := time.Now().Add(20 * time.Second); !yes(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.Fatalf("not within 20 s: %s", what)
		}
	}
}

// at is the number of an act.
func (p *public) at(f *testing.F, method, path string) uint8 {
	i := slices.Index(p.acts, act{method, path})
	if i < 0 {
		f.Fatalf("%s %s is no act; there are %v", method, path, p.acts)
	}
	return uint8(i)
}

func (p *public) ask(method, path string, body []byte) (code int, text []byte, err error) {
	req, err := http.NewRequest(method, p.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	resp, err := p.web.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

// FuzzActs: whatever somebody with a token sends to an act of the API, the answer is JSON and no fault of ours; what is in force then is whole, is in
// their name, is on the disk as it is in memory, and every act that was done is in the book.
func FuzzActs(f *testing.F) {
	p := newPublic(f)
	n := p.node
	hold, treat, done := p.at(f, "POST", "/api/v1/holds"), p.at(f, "POST", "/api/v1/treats"), p.at(f, "POST", "/api/v1/callbacks/done")
	acknowledge, erase, confirm := p.at(f, "POST", "/api/v1/notices/acknowledge"), p.at(f, "POST", "/api/v1/journal/erase"), p.at(f, "POST", "/api/v1/incidents/{id}/confirm")
	for _, body := range []string{
		`{"endpoint":"control-room","for":"30m","why":"power work","by":"mallory"}`, `{"endpoint":"control-room","for":"7d","why":"ü","by":""}`, `{"endpoint":"nobody","for":"1s","why":"x"}`,
		`{"endpoint":"control-room","for":"-1s","why":"x"}`, `{"endpoint":"control-room","for":"999999999999999999h","why":"x"}`, `{"endpoint":"control-room","for":"1h","why":"a\u0000b\u202e"}`,
		`{"endpoint":"control-room","for":"1h","why":"x"}{}`, `{"endpoint":"control-room","unknown":1}`, `[]`, `null`, ``, `{"endpoint":{"a":[[[[`, "\xff\xfe", `{"ENDPOINT":"control-room","For":"1h","wHy":"case"}`,
	} {
		f.Add(hold, "", "", []byte(body))
	}
	f.Add(hold, "", "", bytes.Repeat([]byte("["), 40_000))
	f.Add(hold, "", "", bytes.Repeat([]byte(" "), 70_000))
	f.Add(p.at(f, "DELETE", "/api/v1/holds/{endpoint}"), "control-room", "by=mallory", []byte(nil))
	f.Add(p.at(f, "DELETE", "/api/v1/holds/{endpoint}"), "../..", "by=%zz", []byte("{"))
	f.Add(treat, "", "", []byte(`{"route":"101","for":"1h","why":"999 is down"}`))
	f.Add(treat, "", "", []byte(`{"route":"999","for":"1h","why":"x"}`))
	f.Add(p.at(f, "DELETE", "/api/v1/treats/{route}"), "101", "", []byte(nil))
	f.Add(p.at(f, "DELETE", "/api/v1/treats/{route}"), "\x00/%2f", "", []byte(nil))
	f.Add(done, "", "", []byte(`{"who":"07700 900123","outcome":"spoke to caller"}`))
	f.Add(done, "", "", []byte(`{"who":"waits","outcome":"spoke\nto caller","by":"x"}`))
	f.Add(acknowledge, "", "", []byte(`{"id":""}`))
	f.Add(acknowledge, "", "", []byte(`{"id":"0101-1","by":"x"}`))
	f.Add(p.at(f, "POST", "/api/v1/notices/trial"), "", "", []byte(`{}`))
	f.Add(erase, "", "", []byte(`{"number":"+447700900123","why":"request 17"}`))
	f.Add(erase, "", "", []byte(`{"number":"-","why":"request 17"}`))
	f.Add(confirm, "x", "", []byte(`{"incident":"y","why":"seen"}`))
	f.Add(p.at(f, "POST", "/api/v1/reload"), "", "", []byte(`x`))

	f.Fuzz(func(t *testing.T, which uint8, name, query string, body []byte) {
		if !n.desk.waits("waits") {
			n.desk.fold(journal.Entry{At: time.Now(), Type: journal.CallEnd, Call: "waits", Class: "emergency", Caller: "+447700900123", Outcome: "cancelled"})
		}
		n.outside.Tell(notify.Notice{Key: "outage", Code: notify.Diverted, Text: "control-room is down"})
		what := p.acts[int(which)%len(p.acts)]
		path := what.path
		if i := strings.Index(path, "{"); i >= 0 {
			end := strings.Index(path, "}")
			path = path[:i] + url.PathEscape(name) + path[end+1:]
		}
		path += "?" + (&url.URL{RawQuery: strings.Map(printable, query)}).RawQuery
		before := p.entries(t)
		code, text, err := p.ask(what.method, path, body)
		if err != nil {
			t.Fatalf("%s %s: %v", what.method, path, err)
		}
		if code == http.StatusMovedPermanently || code == http.StatusTemporaryRedirect || code == http.StatusPermanentRedirect {
			return // the name has dots and slashes
		}
		if !slices.Contains([]int{200, 400, 403, 404, 405, 409, 422}, code) {
			t.Errorf("%s %s answered %d: %.300s", what.method, path, code, text)
		}
		var said struct{ Error string }
		if err := json.Unmarshal(text, &said); err != nil || (code != 200 && code != 422) == (said.Error == "") {
			t.Errorf("%s %s answered %d and %.300q; want JSON, and an error that says what is wrong", what.method, path, code, text)
		}
		if len(text) > 20_000+12*(len(body)+len(name)) {
			t.Errorf("%s %s of %d bytes was answered with %d", what.method, path, len(body), len(text))
		}
		p.judge(t)
		// What has no entry of its own: a reload that changes nothing, a trial.
		silent := strings.HasSuffix(what.path, "/reload") || strings.HasSuffix(what.path, "/trial")
		if inBook := p.entries(t) > before; inBook != (code == 200) && !silent {
			t.Errorf("%s %s answered %d, and it is in the book: %v. The answer is %.300s", what.method, path, code, inBook, text)
		}
	})
}

func printable(r rune) rune {
	if r <= ' ' || r > '~' || r == '#' {
		return -1
	}
	return r
}

// waits says whether a line waits.
func (d *callBackDesk) waits(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.list.Find(id)
	return ok
}

// entries is the number of the last entry of something that alice did.
func (p *public) entries(t *testing.T) (last int64) {
	t.Helper()
	q := journal.Query{Types: []journal.Type{journal.OperatorAct, journal.Erased}, Mask: journal.Full, Newest: true, Limit: 1}
	for e, err := range p.node.book.Read(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		if e.By != "alice" {
			t.Errorf("an act is in the book in the name of %q, it was alice's: %+v", e.By, e)
		}
		last = e.Seq
	}
	return last
}

// judge looks at what is in force, and at the disk.
func (p *public) judge(t *testing.T) {
	t.Helper()
	n := p.node
	whole := func(what, by, why string, leftSeconds int64) {
		if by != "alice" || plain("why", "x", why, maxWhy) != nil || leftSeconds < 0 || leftSeconds > int64(maxHold/time.Second) {
			t.Errorf("%s is in force by %q because of %q for %d s more", what, by, why, leftSeconds)
		}
	}
	holds, err := n.Holds(t.Context())
	if err != nil || holds.NotKept != "" {
		t.Fatalf("holds: %v, not kept: %q", err, holds.NotKept)
	}
	for _, h := range holds.Holds {
		whole("a hold of "+h.Endpoint, h.By, h.Why, h.LeftSeconds)
	}
	if len(holds.Holds) > 0 {
		if s, err := readMemory(n.memory.path); err != nil || len(s.Holds) != len(holds.Holds) {
			t.Errorf("%d are held, and the file says %+v, %v", len(holds.Holds), s.Holds, err)
		}
	}
	treats, err := n.Treats(t.Context())
	if err != nil || treats.NotKept != "" {
		t.Fatalf("treats: %v, not kept: %q", err, treats.NotKept)
	}
	for _, x := range treats.Treats {
		if x.Route != "101" {
			t.Errorf("%s is treated as emergency", x.Route)
		}
		whole("an order for "+x.Route, x.By, x.Why, x.LeftSeconds)
	}
	if len(treats.Treats) > 0 {
		if all, err := readTreats(n.treats.path); err != nil || len(all) != len(treats.Treats) {
			t.Errorf("%d orders stand, and the file says %+v, %v", len(treats.Treats), all, err)
		}
	}
	list, err := n.CallBackList(t.Context(), true, journal.Full)
	if err != nil || list.NotKept != "" {
		t.Fatalf("call-backs: %v, not kept: %q", err, list.NotKept)
	}
	for _, l := range list.Lines {
		if d := l.Cleared; d != nil && (d.By != "alice" || plain("outcome", "x", d.Outcome, maxOutcome) != nil) {
			t.Errorf("a line was cleared by %q: %q", d.By, d.Outcome)
		}
	}
	for _, th := range n.outside.Threads() {
		if th.By != "" && th.By != "alice" {
			t.Errorf("a notice was acknowledged by %q", th.By)
		}
	}
}
