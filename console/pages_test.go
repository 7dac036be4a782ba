package console

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nines/journal"
)

// evil is what strangers put where a name or a number belongs.
const evil = `<script>alert("x")</script>"'><img src=x onerror=alert(1)>`

func TestWhatStrangersWroteIsShownAsText(t *testing.T) {
	n := example()
	n.status = func() Status {
		s := exampleStatus()
		s.Endpoints[0].Evidence = []string{evil}
		s.Endpoints[0].Explanation = evil
		s.Endpoints[0].URI = evil
		s.Notices = []string{evil}
		s.Name = evil
		return s
	}
	h := outside(n)
	for _, path := range []string{"/", "/endpoints/control-room", "/login?back=" + url.QueryEscape(evil), "/endpoints/" + url.PathEscape(evil), "/" + url.PathEscape(evil)} {
		page := knock(h, "GET", path, "127.0.0.1:4711", "localhost").Body.String()
		if strings.Contains(page, "<img src=x") || strings.Contains(page, "<script>alert") {
			t.Errorf("%s shows what a stranger wrote as markup:\n%s", path, page)
		}
	}
}

func TestPagesCarryNoStyleOfTheirOwn(t *testing.T) {
	h := outside(example())
	for _, path := range []string{"/", "/endpoints/control-room", "/routes/999", "/incidents", "/incidents/" + outage().ID, "/help", "/login"} {
		got := knock(h, "GET", path, "127.0.0.1:4711", "localhost")
		page := got.Body.String()
		if got.Code != 200 {
			t.Errorf("GET %s: %d", path, got.Code)
		}
		for _, bad := range []string{" style=", " onclick=", "<style", "javascript:", `src="http`, `href="http`, "ZgotmplZ", "%!"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s holds %q, which the content policy forbids or the internet would have to bring", path, bad)
			}
		}
	}
}

func TestAnotherMachineIsAskedToSignIn(t *testing.T) {
	h := outside(example())
	got := knock(h, "GET", "/endpoints/control-room", "192.0.2.7:4711", "nines.example")
	if got.Code != 401 || !strings.Contains(got.Body.String(), `value="/endpoints/control-room"`) || strings.Contains(got.Body.String(), "silent") {
		t.Errorf("got %d %s; want 401, the form that leads back, and nothing of what is known", got.Code, got.Body)
	}
	if got := knock(h, "GET", "/live/board", "192.0.2.7:4711", "nines.example"); got.Code != 401 {
		t.Errorf("the live view: %d, want 401", got.Code)
	}
}

// person is a browser with its cookies.
type person struct {
	t       *testing.T
	h       http.Handler
	cookies map[string]string
}

func (p *person) do(method, path string, form url.Values) *httptest.ResponseRecorder {
	p.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.RemoteAddr, r.Host = "192.0.2.7:4711", "nines.example:8080"
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "http://nines.example:8080")
	}
	for name, value := range p.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		p.cookies[c.Name] = c.Value
		if c.Name == cookieName && (!c.HttpOnly || c.SameSite != http.SameSiteStrictMode) {
			p.t.Errorf("the session's cookie is %v; want it out of scripts' and other sites' reach", c)
		}
	}
	return w
}

// csrf reads the word that a page's forms carry.
func csrf(page string) string {
	_, rest, _ := strings.Cut(page, `name="csrf" value="`)
	word, _, _ := strings.Cut(rest, `"`)
	return word
}

func TestAPersonSignsInAndHolds(t *testing.T) {
	n := lively()
	var held HoldRequest
	n.hold = func(req HoldRequest) (HoldResult, error) { held = req; return HoldResult{Hold: exampleHold()}, nil }
	p := &person{t, outsideWith(n, tokensFile(t, "alice operator", "vera viewer")), map[string]string{}}
	if got := p.do("POST", "/login", url.Values{"token": {"alice-secret"}, "back": {"/endpoints/control-room"}}); got.Code != 303 || got.Header().Get("Location") != "/endpoints/control-room" {
		t.Fatalf("signing in: %d to %q, want 303 to where she came from", got.Code, got.Header().Get("Location"))
	}
	form := url.Values{"for": {"2h"}, "why": {"power work"}, "by": {"bob"}, "csrf": {csrf(p.do("GET", "/endpoints/control-room", nil).Body.String())}}
	if got := p.do("POST", "/endpoints/control-room/hold", form); got.Code != 303 {
		t.Errorf("the hold: %d %s, want 303", got.Code, got.Body)
	}
	if want := (HoldRequest{Endpoint: "control-room", For: "2h", Why: "power work", By: "alice"}); held != want {
		t.Errorf("the node was asked for %+v, want %+v", held, want)
	}
	held = HoldRequest{}
	form.Set("csrf", "guessed")
	if got := p.do("POST", "/endpoints/control-room/hold", form); got.Code != 403 || held.By != "" {
		t.Errorf("a form without the session's word: %d and %+v, want 403 and nothing held", got.Code, held)
	}
	if got := p.do("POST", "/api/v1/holds", nil); got.Code != 403 {
		t.Errorf("the API's act with a page's cookie: %d, want 403", got.Code)
	}
	if got := p.do("GET", "/api/v1/status", nil); got.Code != 200 {
		t.Errorf("reading the API with a page's cookie: %d, want 200", got.Code)
	}
	if got := p.do("POST", "/reload", form); got.Code != 401 {
		t.Errorf("an operator reloads: %d, want 401", got.Code)
	}
	p.do("POST", "/logout", nil)
	if got := p.do("GET", "/", nil); got.Code != 401 {
		t.Errorf("after signing out: %d, want 401", got.Code)
	}
	p.do("POST", "/login", url.Values{"token": {"vera-secret"}})
	if page := p.do("GET", "/endpoints/control-room", nil).Body.String(); csrf(page) != "" || !strings.Contains(page, "only looks") {
		t.Error("a viewer is shown forms that act")
	}
}

func TestASessionEndsWithItsLineItsTimeAndItsKey(t *testing.T) {
	path := tokensFile(t, "alice operator")
	people := &tokens{path: func() string { return path }}
	key := t.TempDir() + "/state/console.key"
	s := newSessions(key, people)
	w := httptest.NewRecorder()
	alice, _ := people.named("alice")
	s.begin(w, alice)
	request := func(change func(string) string) *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: change(w.Result().Cookies()[0].Value)})
		return r
	}
	as := func(v string) string { return v }
	if v, ok := s.visitor(request(as)); !ok || v.name != "alice" || v.role != operator {
		t.Fatalf("the session is %+v, %t; want alice's", v, ok)
	}
	if _, ok := newSessions(key, people).visitor(request(as)); !ok {
		t.Error("the session did not survive a restart")
	}
	if _, ok := newSessions("", people).visitor(request(as)); ok {
		t.Error("the session is good under another key")
	}
	for _, forged := range []func(string) string{
		func(v string) string { return v[:len(v)-1] },
		func(v string) string { return strings.Replace(v, ".", ".9", 1) },
		func(string) string { return "" },
		func(string) string { return "a.b.c" },
		func(string) string { return "YWxpY2U.99999999999." },
	} {
		if _, ok := s.visitor(request(forged)); ok {
			t.Errorf("the cookie %q is good", forged(w.Result().Cookies()[0].Value))
		}
	}
	s.now = func() time.Time { return time.Now().Add(acting + time.Second) }
	if _, ok := s.visitor(request(as)); ok {
		t.Error("an operator's session is good for ever")
	}
	s.now = time.Now
	path = tokensFile(t, "bob operator")
	people.looked = time.Time{}
	if _, ok := s.visitor(request(as)); ok {
		t.Error("alice's line is gone and her session is good")
	}
}

func TestWaysBackStayHere(t *testing.T) {
	for back, want := range map[string]string{
		"/endpoints/x?y=1": "/endpoints/x?y=1", "": "/", "http://evil.example/": "/", "//evil.example": "/", `/\evil.example`: "/", "javascript:alert(1)": "/", "/\n": "/",
	} {
		if got := local(back); got != want {
			t.Errorf("back to %q leads to %q, want %q", back, got, want)
		}
	}
}

// events reads server-sent events.
type events struct{ scan *bufio.Scanner }

func (e *events) next(t *testing.T) (name string, data json.RawMessage) {
	t.Helper()
	for e.scan.Scan() {
		line := e.scan.Text()
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			name = v
		}
		if v, ok := strings.CutPrefix(line, "data: "); ok {
			return name, json.RawMessage(v)
		}
	}
	t.Fatalf("the stream ended: %v", e.scan.Err())
	return "", nil
}

func (e *events) patch(t *testing.T) patch {
	t.Helper()
	for {
		name, data := e.next(t)
		if name != "patch" {
			continue
		}
		var p patch
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func TestAPageFollowsTheNode(t *testing.T) {
	status := make(chan Status, 1)
	status <- livelyStatus()
	n := example()
	n.status = func() Status { s := <-status; status <- s; return s }
	c := start(t, Config{Listen: "127.0.0.1:0"}, n)
	resp, err := http.Get("http://" + c.Addr().String() + "/live/board")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	e := &events{bufio.NewScanner(resp.Body)}
	e.scan.Buffer(nil, 1<<20)
	first := e.patch(t)
	if !strings.Contains(first.Title, "999: control-room") || len(first.HTML) != len(boardPieces) {
		t.Errorf("the first picture is titled %q and has %d pieces; want who answers, and all %d", first.Title, len(first.HTML), len(boardPieces))
	}
	dead := livelyStatus()
	dead.Endpoints[0].Verdict = "down"
	dead.Routes[0].Order = []string{"standby", "control-room"}
	<-status
	status <- dead
	plots := first.HTML["plots"]
	next := e.patch(t)
	for ; ; next = e.patch(t) { // a minute that ends moves the plots, and nothing else
		if next.HTML["plots"] == plots && plots != "" {
			t.Error("a piece that has not changed was sent again")
		}
		if next.HTML["plots"] != "" {
			plots = next.HTML["plots"]
		}
		if next.Title != "" || len(next.HTML) != 1 || next.HTML["plots"] == "" {
			break
		}
	}
	if next.Title != "▲ 999: standby · west-mercia" || !strings.Contains(next.HTML["answer"], "Not as usual") {
		t.Errorf("the outage is titled %q with %s", next.Title, next.HTML["answer"])
	}
}

// TestAnOutageIsSeenWithinASecond is on the bubble's clock: a machine that stands still is no slow page.
func TestAnOutageIsSeenWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := make(chan Status, 1)
		status <- livelyStatus()
		n := lively()
		n.status = func() Status { s := <-status; status <- s; return s }
		l := newLive(n)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.run(ctx) }() // ends with ctx
		word, leave, _ := l.watch("board", func(s snapshot) picture { return picture{"control-room": s.Status.Endpoints[0].Verdict} })
		<-word
		time.Sleep(10 * time.Second)
		dead := livelyStatus()
		dead.Endpoints[0].Verdict = "down"
		<-status
		began := time.Now()
		status <- dead
		for {
			if now, _ := l.see("board"); now["control-room"] == "down" {
				break
			}
			<-word
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the outage was seen after %v, want within a second", took)
		}
		leave()
		cancel()
		<-done
	})
}

// livelyStatus is a node on a good day.
func livelyStatus() Status {
	s := exampleStatus()
	s.Endpoints[0] = EndpointStatus{Name: "control-room", Verdict: "up", Explanation: "answers OPTIONS", Since: exampleNow(), Limit: 60, Calls: 4}
	s.Endpoints = append(s.Endpoints, EndpointStatus{Name: "standby", Verdict: "up", Explanation: "answers OPTIONS", Since: exampleNow(), Limit: 30})
	s.Routes = []RouteStatus{
		{Name: "999", Class: "emergency", Numbers: []string{"999", "112"}, Order: []string{"control-room", "standby", "warwickshire"}, Usual: "control-room", Latest: &Answer{exampleNow(), "control-room", 201}},
		{Name: "101", Class: "routine", Numbers: []string{"101"}, Order: []string{"control-room"}, Usual: "control-room"},
	}
	s.Config.Accepted, s.Config.Problems = true, nil
	return s
}

func TestViewersAreBoundedAndLeave(t *testing.T) {
	l := newLive(lively())
	var leave []func()
	for range maxViewers {
		_, l, ok := l.watch("board", func(snapshot) picture { return picture{} })
		if !ok {
			t.Fatal("refused too early")
		}
		leave = append(leave, l)
	}
	if _, _, ok := l.watch("board", nil); ok {
		t.Error("one viewer too many was let in")
	}
	for _, l := range leave {
		l()
	}
	if len(l.views) != 0 || l.viewers != 0 {
		t.Errorf("%d views and %d viewers are left behind", len(l.views), l.viewers)
	}
}

func TestAViewIsRenderedOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks, renders := 0, 0
		counted := lively()
		counted.status = func() Status { looks++; return livelyStatus() }
		l := newLive(counted)
		for range 10 {
			word, leave, ok := l.watch("board", func(snapshot) picture { renders++; return picture{"a": "same"} })
			if !ok || word == nil {
				t.Fatal("not let in")
			}
			defer leave()
		}
		looks, renders = 0, 0
		for range 4 {
			l.turn()
		}
		if looks != 4 || renders != 4 {
			t.Errorf("4 turns looked %d times and rendered %d times, want 4 each however many watch", looks, renders)
		}
	})
}

func TestTheAnswerLineSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*Status)
		tone  tone
		say   string
	}{
		{"a good day", func(*Status) {}, good, "999 is answered by control-room"},
		{"the usual one is down", func(s *Status) {
			s.Endpoints[0].Verdict, s.Routes[0].Order = "down", []string{"standby", "warwickshire", "control-room"}
		}, warning, "999 is answered by standby; control-room is down"},
		{"own rooms are down", func(s *Status) {
			s.Endpoints[0].Verdict, s.Endpoints[2].Verdict, s.Routes[0].Order = "down", "down", []string{"warwickshire", "control-room", "standby"}
		}, alarm, "999 is answered by warwickshire; control-room is down; standby is down"},
		{"everybody is down", func(s *Status) {
			for i := range s.Endpoints {
				s.Endpoints[i].Verdict = "down"
			}
		}, alarm, "999 asks everybody, first control-room; control-room is down; standby is down"},
		{"the usual one is held", func(s *Status) {
			h := exampleHold()
			s.Endpoints[0].Held, s.Endpoints[0].Hold, s.Routes[0].Order = true, &h, []string{"standby", "control-room"}
		}, warning, "999 is answered by standby; control-room is held"},
		{"in doubt", func(s *Status) { s.Endpoints[0].Verdict = "suspect" }, warning, "999 is answered by control-room; control-room is suspect"},
		{"ending", func(s *Status) { s.NotReady = "draining" }, good, "This node is ending: draining"},
	} {
		s := livelyStatus()
		tt.spoil(&s)
		b := newBoard(snapshot{At: exampleNow(), Status: s}, journal.LastThree)
		if b.Answer.Tone != tt.tone || b.say() != tt.say {
			t.Errorf("%s: %s, %q; want %s, %q", tt.name, b.Answer.Tone, b.say(), tt.tone, tt.say)
		}
	}
}

func TestTheHourIsCountedByMinute(t *testing.T) {
	var h history
	at := exampleNow().Truncate(time.Minute)
	count := func(now time.Time, n uint64) { h.note(now, []EndpointStatus{{Name: "a", Answered: n}}) }
	count(at, 100) // from before we looked
	count(at.Add(10*time.Second), 103)
	count(at.Add(70*time.Second), 104)
	count(at.Add(200*time.Second), 110)
	count(at.Add(201*time.Second), 0) // began anew
	count(at.Add(202*time.Second), 2)
	var got []int
	for _, m := range h.hour() {
		got = append(got, m.Total)
	}
	if want := []int{3, 1, 0, 8}; len(got) != 4 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("the minutes are %v, want %v", got, want)
	}
	count(at.Add(3*time.Hour), 5)
	if n := len(h.hour()); n != 1 {
		t.Errorf("after three hours %d minutes are shown, want the running one", n)
	}
	for i := range 100 {
		count(at.Add(3*time.Hour+time.Duration(i)*time.Minute), 5)
	}
	if n := len(h.hour()); n != historyMinutes {
		t.Errorf("%d minutes are kept, want %d", n, historyMinutes)
	}
}
