package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

func (node) Notices() NoticeList {
	began := exampleNow().Add(-10 * time.Minute)
	return NoticeList{
		Notices: []NoticeStatus{
			{ID: "1123-1", Code: "calls-diverted", Severity: "critical", Title: "emergency calls are answered elsewhere", Text: "control-room is down since 13:52:15.", Details: []string{"standby-room answered 3 calls"}, Do: "mend it", Began: began, Updated: began, Waits: true},
			{ID: "1123-2", Code: "abandoned-call", Severity: "info", Title: "an emergency call was abandoned", Text: "+441905000001 called 999.", Room: "control-room", Do: "ring the caller back", Began: began, Updated: began, Over: true},
		},
		Receivers: []ReceiverStatus{{Name: "webhook hooks.example", Sent: 2, Failed: 1, Arrived: began}, {Name: "mail ops@force.example", Failed: 4, Since: began, Error: "it answered 450"}},
	}
}

func (node) Acknowledge(_ context.Context, id, by string) (AcknowledgeResult, error) {
	if id == "0" {
		return AcknowledgeResult{}, Mistake("no such notice")
	}
	return AcknowledgeResult{Notices: []NoticeStatus{{ID: id, Text: "control-room is down.", AcknowledgedBy: by}}}, nil
}

func (node) TryNotices(context.Context, string) error { return nil }

func (node) PublicNotice() PublicNotice { return PublicNotice{"en": "Dial 999 as usual."} }

func TestNoticesAsAPersonReadsThem(t *testing.T) {
	l := node{}.Notices()
	var b strings.Builder
	if err := l.WriteText(&b, exampleNow()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1123-1  CRITICAL  emergency calls are answered elsewhere", "NOT ACKNOWLEDGED", "control-room is down since 13:52:15.", "mail ops@force.example", "it answered 450"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the list has no %q:\n%s", want, b.String())
		}
	}
}

func TestAViewerSeesNoCallersNumberInANotice(t *testing.T) {
	for role, shown := range map[role]bool{viewer: false, operator: true} {
		h := http.NewServeMux()
		handleAPI(h, node{}, nil, func(*http.Request) visitor { return visitor{name: "alice", role: role} }, zerolog.Nop())
		got := ask1(t, h, http.MethodGet, "/api/v1/notices", "")
		if strings.Contains(got, "+441905000001") != shown {
			t.Errorf("role %v: the caller's number is shown: %v, want %v: %s", role, !shown, shown, got)
		}
	}
}

func TestAcknowledgingOverTheControlSocket(t *testing.T) {
	h := controlHandler(node{}, prometheus.NewRegistry(), nil, zerolog.Nop())
	var r AcknowledgeResult
	if err := json.Unmarshal([]byte(ask1(t, h, http.MethodPost, "/api/v1/notices/acknowledge", `{"id":"1123-1","by":"alice"}`)), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Notices) != 1 || r.Notices[0].AcknowledgedBy != "alice" {
		t.Errorf("acknowledged %+v; want 1123-1 by alice", r)
	}
	if got := ask1(t, h, http.MethodPost, "/api/v1/notices/acknowledge", `{"id":"0","by":"alice"}`); !strings.Contains(got, "no such notice") {
		t.Errorf("an unknown notice: %s", got)
	}
}

// ask1 asks a handler and gives the body of its answer.
func ask1(t *testing.T, h http.Handler, method, path, body string) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w.Body.String()
}
