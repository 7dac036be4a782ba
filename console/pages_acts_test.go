package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"nines/journal"
)

// asked is what a page's forms had the fake program do.
type asked struct {
	node
	treat     []TreatRequest
	untreat   []string
	seen      []string
	confirmed []Confirmation
	book      []journal.Query
	over      *journal.Incident
}

func (n *asked) Treat(_ context.Context, req TreatRequest) (TreatResult, error) {
	n.treat = append(n.treat, req)
	return TreatResult{}, nil
}

func (n *asked) Untreat(_ context.Context, route, by string) (UntreatResult, error) {
	n.untreat = append(n.untreat, route+" by "+by)
	return UntreatResult{NotKept: "the disk is full"}, nil
}

func (n *asked) Acknowledge(_ context.Context, id, by string) (AcknowledgeResult, error) {
	n.seen = append(n.seen, id+" by "+by)
	return AcknowledgeResult{}, nil
}

func (n *asked) ConfirmIncident(_ context.Context, c Confirmation) (ConfirmResult, error) {
	n.confirmed = append(n.confirmed, c)
	return ConfirmResult{Incident: n.over}, nil
}

func (n *asked) Incident(context.Context, string) (journal.Report, error) {
	return journal.Report{Incident: n.over}, nil
}

func (n *asked) Journal(_ context.Context, q journal.Query, each func(journal.Entry) error) error {
	n.book = append(n.book, q)
	return each(journal.Entry{At: fourteen, Type: journal.ServiceStateChange, Endpoint: "control-room", What: "up→down", Why: "3 probes were silent"})
}

func newAsked() *asked {
	n := &asked{node: lively(), over: outage()}
	n.status = livelyStatus
	n.over.Restored = fourteen.Add(time.Hour)
	return n
}

func TestFormsActInTheNameOfTheSession(t *testing.T) {
	n := newAsked()
	h := outsideWith(n, tokensFile(t, "alice operator", "vera viewer"))
	alice := &person{t, h, map[string]string{}}
	alice.do("POST", "/login", url.Values{"token": {"alice-secret"}})
	word := csrf(alice.do("GET", "/routes/101", nil).Body.String())
	incident := "/incidents/" + n.over.ID
	forms := []struct {
		path string
		form url.Values
		back string
	}{
		{"/routes/101/treat", url.Values{"for": {"1h"}, "why": {"999 is down"}, "by": {"bob"}}, "/routes/101?done=treated"},
		{"/routes/101/untreat", url.Values{"by": {"bob"}}, "/routes/101?done=unkept"},
		{"/notices/acknowledge", url.Values{"id": {"1123-1"}, "by": {"bob"}}, "/?done=acknowledged"},
		{incident + "/confirm", url.Values{"why": {"999 tried by hand"}, "by": {"bob"}}, incident + "?done=confirmed"},
	}
	vera := &person{t, h, map[string]string{}}
	vera.do("POST", "/login", url.Values{"token": {"vera-secret"}})
	for _, f := range forms {
		f.form.Set("csrf", "guessed")
		if got := alice.do("POST", f.path, f.form); got.Code != http.StatusForbidden {
			t.Errorf("%s without the session's word: %d, want 403", f.path, got.Code)
		}
		f.form.Set("csrf", word)
		if got := vera.do("POST", f.path, f.form); got.Code != http.StatusUnauthorized {
			t.Errorf("%s by a viewer: %d, want 401", f.path, got.Code)
		}
		if got := alice.do("GET", f.path, f.form); got.Code == http.StatusSeeOther {
			t.Errorf("%s acts by GET", f.path)
		}
	}
	if len(n.treat)+len(n.untreat)+len(n.seen)+len(n.confirmed) > 0 {
		t.Fatalf("something was done for who may not: %+v", n)
	}
	for _, f := range forms {
		if got := alice.do("POST", f.path, f.form); got.Code != http.StatusSeeOther || got.Header().Get("Location") != f.back {
			t.Errorf("%s: %d to %q, want 303 to %q", f.path, got.Code, got.Header().Get("Location"), f.back)
		}
	}
	if want := (TreatRequest{Route: "101", For: "1h", Why: "999 is down", By: "alice"}); len(n.treat) != 1 || n.treat[0] != want {
		t.Errorf("the node was asked to treat %+v, want %+v", n.treat, want)
	}
	if len(n.untreat) != 1 || n.untreat[0] != "101 by alice" || len(n.seen) != 1 || n.seen[0] != "1123-1 by alice" {
		t.Errorf("the node was asked to untreat %v and acknowledge %v, want both once, by alice", n.untreat, n.seen)
	}
	if want := (Confirmation{Incident: n.over.ID, By: "alice", Why: "999 tried by hand"}); len(n.confirmed) != 1 || n.confirmed[0] != want {
		t.Errorf("the node was told %+v, want %+v", n.confirmed, want)
	}
	if got := alice.do("POST", "/notices/acknowledge", url.Values{"csrf": {word}}); got.Code != http.StatusBadRequest || len(n.seen) != 1 {
		t.Errorf("no notice in particular: %d and %v; want 400, and not all of them acknowledged", got.Code, n.seen)
	}
}

func TestAPageShowsWhatItSaysWasDone(t *testing.T) {
	n := newAsked()
	var treats []TreatStatus
	n.status = func() Status { s := livelyStatus(); s.Routine.Treats = treats; return s }
	people := &tokens{path: func() string { return "" }}
	l := newLive(n)
	l.every = time.Hour // the look before the act is the latest for long
	l.turn()
	h := publicHandler(n, newRegistry(), &guard{tokens: people, sessions: newSessions("", people), slow: newBrake()}, l, zerolog.Nop())
	treats = []TreatStatus{{Route: "101", By: "alice", Why: "999 is dead", From: exampleNow(), Until: exampleNow()}}
	for path, want := range map[string]bool{"/routes/101": false, "/routes/101?done=treated": true, "/?done=treated": true} {
		if page := knock(h, "GET", path, "127.0.0.1:4711", "localhost").Body.String(); strings.Contains(page, "999 is dead") != want {
			t.Errorf("%s shows the act: %v, want %v", path, !want, want)
		}
	}
}

func TestTheBoardShowsWhatPeopleAreTold(t *testing.T) {
	h := outsideWith(newAsked(), tokensFile(t, "alice operator"))
	alice := &person{t, h, map[string]string{}}
	alice.do("POST", "/login", url.Values{"token": {"alice-secret"}})
	page := alice.do("GET", "/", nil).Body.String()
	for _, want := range []string{"emergency calls are answered elsewhere", `form="acknowledge" name="id" value="1123-1"`, `id="acknowledge" hidden>`} {
		if !strings.Contains(page, want) {
			t.Errorf("alice's board lacks %q", want)
		}
	}
	if page := knock(h, "GET", "/", "127.0.0.1:4711", "localhost").Body.String(); strings.Contains(page, `form="acknowledge"`) || !strings.Contains(page, "NOT ACKNOWLEDGED") {
		t.Error("who may not act is shown the button, or not that somebody must")
	}
	if told := newBoardNotices(NoticeList{Notices: []NoticeStatus{{ID: "1", Room: "control-room", Title: "abandoned", Text: "+441905000001 called 999", Waits: true}}}, journal.LastThree); len(told) != 1 || strings.Contains(told[0].Text, "0000") {
		t.Errorf("who sees no numbers is told %+v", told)
	}
}

func TestTheValveSaysWhoHasSwitchedItAndWhy(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*Status)
		want  []string
	}{
		{"a good day", func(*Status) {}, []string{"#i-up", "Open", "answered by control-room", "load protection off", "0 hear an announcement"}},
		{"load protection", func(s *Status) {
			s.Routine.Announcing, s.Routine.Shed = 3, []ShedStatus{{Route: "101", Since: exampleNow(), Why: "12 emergency calls wait"}}
		}, []string{"#i-held", "Shed", "load protection on", "12 emergency calls wait", "3 hear an announcement"}},
		{"treated", func(s *Status) {
			s.Routine.Treats = []TreatStatus{{Route: "101", By: "alice", Why: "999 is dead", From: exampleNow(), Until: exampleNow().Add(time.Hour), LeftSeconds: 3600}}
		}, []string{"#i-suspect", "As emergency", "by alice: 999 is dead", exampleNow().Add(time.Hour).Format("15:04:05")}},
		{"no room", func(s *Status) { s.Endpoints[0].Verdict = "down" }, []string{"#i-down", "No room"}},
	} {
		s := livelyStatus()
		s.Routine = RoutineStatus{}
		tt.spoil(&s)
		p := &pages{log: zerolog.Nop()}
		got := p.pieces("board", newBoard(snapshot{At: exampleNow(), Status: s}, journal.LastThree), "routine")["routine"]
		d, _ := newRoutePage(&s, "101")
		page := p.pieces("route", d, "route")["route"]
		for i, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: the board lacks %q:\n%s", tt.name, want, got)
			}
			if i < 2 && !strings.Contains(page, want) {
				t.Errorf("%s: the route's page lacks %q:\n%s", tt.name, want, page)
			}
		}
	}
}

func TestIncidentsAndVerdictsAreRead(t *testing.T) {
	n := newAsked()
	h := outsideWith(n, tokensFile(t, "alice operator"))
	get := func(path string) string {
		got := knock(h, "GET", path, "127.0.0.1:4711", "localhost")
		if got.Code != http.StatusOK {
			t.Errorf("GET %s: %d", path, got.Code)
		}
		return got.Body.String()
	}
	for path, words := range map[string][]string{
		"/incidents":              {"Goes on", `href="/incidents/` + n.over.ID + `"`, "<kbd>4</kbd>"},
		"/incidents/" + n.over.ID: {"Over, not confirmed", "&lt;b&gt;silent", "?format=html", "nines incidents confirm"},
		"/endpoints/control-room": {"Verdicts of late", "up→down", "3 probes were silent"},
	} {
		page := get(path)
		for _, want := range words {
			if !strings.Contains(page, want) {
				t.Errorf("%s lacks %q", path, want)
			}
		}
	}
	if q := n.book[0]; q.Endpoint != "control-room" || !q.Newest || q.Limit != maxVerdicts || q.Mask != journal.LastThree {
		t.Errorf("the book was asked for %+v", q)
	}
	n.over.Confirmed, n.over.ConfirmedBy = fourteen, "alice"
	if page := get("/incidents/" + n.over.ID); strings.Contains(page, "nines incidents confirm") || !strings.Contains(page, "by alice") {
		t.Error("an incident that is confirmed asks to be confirmed")
	}
	if got := knock(h, "GET", "/routes/nowhere", "127.0.0.1:4711", "localhost"); got.Code != http.StatusNotFound {
		t.Errorf("a route that is not there: %d, want 404", got.Code)
	}
}

func TestWhoSeesNoNumbersCannotLookForOne(t *testing.T) {
	for _, path := range []string{"/api/v1/calls?number=01905000001", "/api/v1/journal?number=01905000001", "/api/v1/journal?number=01905000001&format=jsonl"} {
		for who, want := range map[visitor]int{{role: viewer}: 403, {role: viewer, name: "vera"}: 403, {role: operator, name: "alice"}: 200, {role: admin, control: true}: 200} {
			mux := http.NewServeMux()
			handleAPI(mux, example(), newLive(example()), func(*http.Request) visitor { return who }, zerolog.Nop())
			if got := knock(mux, "GET", path, "127.0.0.1:4711", "localhost"); got.Code != want {
				t.Errorf("%s for %+v: %d %s, want %d", path, who, got.Code, got.Body, want)
			}
		}
	}
}
