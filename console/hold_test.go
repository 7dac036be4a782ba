package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nines/health"
)

func exampleHold() HoldStatus {
	return HoldStatus{
		Endpoint: "control-room", By: "alice", Why: "power work", From: exampleNow(), Until: exampleNow().Add(2 * time.Hour), LeftSeconds: 7200,
	}
}

func TestHoldsGoThroughTheControlSocket(t *testing.T) {
	n := example()
	old := exampleHold()
	old.By = "bob"
	held := HoldResult{Hold: exampleHold(), Replaced: &old, NotKept: "the disk is full"}
	released := ReleaseResult{Endpoint: "control room/1", Hold: &old, Explanation: "up"}
	list := HoldList{Holds: []HoldStatus{exampleHold()}, NotKept: "the disk is full"}
	want := HoldRequest{Endpoint: "control-room", For: "2h", Why: "power work", By: "alice"}
	n.hold = func(req HoldRequest) (HoldResult, error) {
		if req != want {
			t.Errorf("the node was asked for %+v, want %+v", req, want)
		}
		return held, nil
	}
	n.release = func(endpoint, by string) (ReleaseResult, error) {
		if endpoint != "control room/1" || by != "bob & co" {
			t.Errorf("%q was to be released by %q", endpoint, by)
		}
		return released, nil
	}
	n.holds = func() (HoldList, error) { return list, nil }
	run := runDir(t)
	start(t, Config{Run: run}, n)
	client := NewClient(run)

	gotHeld, err := client.Hold(t.Context(), want)
	if diff := cmp.Diff(gotHeld, held); err != nil || diff != "" {
		t.Errorf("hold: %v (-got +want):\n%s", err, diff)
	}
	gotReleased, err := client.Release(t.Context(), "control room/1", "bob & co")
	if diff := cmp.Diff(gotReleased, released); err != nil || diff != "" {
		t.Errorf("release: %v (-got +want):\n%s", err, diff)
	}
	gotList, err := client.Holds(t.Context())
	if diff := cmp.Diff(gotList, list); err != nil || diff != "" {
		t.Errorf("holds: %v (-got +want):\n%s", err, diff)
	}
}

func TestAnActThatFailsSaysWhoseFaultItIs(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{Mistake(`for "2" has no unit`), 400},
		{fmt.Errorf("hold x: %w", health.ErrNoOwner), 400},
		{fmt.Errorf("hold x: %w", health.ErrNoReason), 400},
		{fmt.Errorf("hold x: %w", health.ErrNoEnd), 400},
		{fmt.Errorf("hold x: %w", health.ErrNoEndpoint), 404},
		{fmt.Errorf("release x: %w", health.ErrNotHeld), 409},
		{errors.New("loop 0 does not answer"), 500},
	}
	for _, tt := range tests {
		n := example()
		n.hold = func(HoldRequest) (HoldResult, error) { return HoldResult{}, tt.err }
		n.release = func(string, string) (ReleaseResult, error) { return ReleaseResult{}, tt.err }
		handler := inside(n)
		for _, r := range []*http.Request{
			httptest.NewRequest("POST", "/api/v1/holds", strings.NewReader(`{"endpoint":"x"}`)),
			httptest.NewRequest("DELETE", "/api/v1/holds/x?by=bob", nil),
		} {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			var p Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != tt.want || p.Error != tt.err.Error() {
				t.Errorf("%s with %q: %d %q, want %d and the words", r.Method, tt.err, w.Code, w.Body, tt.want)
			}
		}
	}
}

func TestAHoldThatIsNoJSONIsRefused(t *testing.T) {
	n := example()
	n.hold = func(req HoldRequest) (HoldResult, error) {
		t.Errorf("the node was asked for %+v", req)
		return HoldResult{}, nil
	}
	handler := inside(n)
	for _, body := range []string{"", "{", `[]`, `{"endpoint": 5}`, `{"endpoint":"x","until":"tomorrow"}`} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/holds", strings.NewReader(body)))
		if w.Code != 400 || !strings.Contains(w.Body.String(), "read the request") {
			t.Errorf("POST %q: %d %q, want 400 and what is wrong", body, w.Code, w.Body)
		}
	}
}

func TestNobodyHoldsOverTCP(t *testing.T) {
	n := example()
	n.hold = func(HoldRequest) (HoldResult, error) { t.Error("held over TCP"); return HoldResult{}, nil }
	n.release = func(string, string) (ReleaseResult, error) { t.Error("released over TCP"); return ReleaseResult{}, nil }
	n.holds = func() (HoldList, error) { return HoldList{Holds: []HoldStatus{exampleHold()}}, nil }
	handler := outside(n)
	tests := []struct {
		method, path, from, host string
		want                     int
	}{
		{"POST", "/api/v1/holds", "127.0.0.1:4711", "localhost:8080", 401},
		{"DELETE", "/api/v1/holds/control-room?by=bob", "127.0.0.1:4711", "localhost:8080", 401},
		{"PUT", "/api/v1/holds", "127.0.0.1:4711", "localhost:8080", 405},
		{"POST", "/api/v1/holds", "192.0.2.7:4711", "192.0.2.1:8080", 401},
		{"DELETE", "/api/v1/holds/control-room", "192.0.2.7:4711", "192.0.2.1:8080", 401},
		{"POST", "/api/v1/holds", "127.0.0.1:4711", "evil.example", 401},
		{"GET", "/api/v1/holds", "127.0.0.1:4711", "localhost:8080", 200},
		{"GET", "/api/v1/holds", "192.0.2.7:4711", "192.0.2.1:8080", 401},
	}
	for _, tt := range tests {
		if got := knock(handler, tt.method, tt.path, tt.from, tt.host); got.Code != tt.want {
			t.Errorf("%s %s from %s as %s: %d, want %d", tt.method, tt.path, tt.from, tt.host, got.Code, tt.want)
		}
	}
}

func TestHoldsAreReadByPeople(t *testing.T) {
	old := exampleHold()
	old.By, old.Why = "bob", "drill"
	held := HoldResult{Hold: exampleHold()}
	expectText(t, `
control-room is held by alice until 2026-11-23 16:02:15 (2h): power work
  it is asked last, but no emergency call's plan leaves it out; its calls in progress go on
`, func(b *strings.Builder) error { return held.WriteText(b) })
	held.Replaced, held.NotKept = &old, "write /var/lib/nines/health.state: no space left on device"
	expectText(t, `
control-room is held by alice until 2026-11-23 16:02:15 (2h): power work
  it is asked last, but no emergency call's plan leaves it out; its calls in progress go on
  this replaces the hold by bob until 2026-11-23 16:02:15: drill
  ! THIS HOLD WILL NOT SURVIVE A RESTART: write /var/lib/nines/health.state: no space left on device
`, func(b *strings.Builder) error { return held.WriteText(b) })

	released := ReleaseResult{Endpoint: "control-room", Hold: &old, Explanation: "control-room is up since 14:00:00: answered OPTIONS with 200"}
	expectText(t, `
control-room is released
  it was held by bob until 2026-11-23 16:02:15: drill
  control-room is up since 14:00:00: answered OPTIONS with 200
`, func(b *strings.Builder) error { return released.WriteText(b) })
	released.Hold, released.NotKept = nil, "the disk has not answered for 5s"
	expectText(t, `
control-room is released
  control-room is up since 14:00:00: answered OPTIONS with 200
  ! THE HOLD WILL COME BACK WITH A RESTART: the disk has not answered for 5s
`, func(b *strings.Builder) error { return released.WriteText(b) })

	var list HoldList
	expectText(t, "nobody is held\n", func(b *strings.Builder) error { return list.WriteText(b) })
	list = HoldList{Holds: []HoldStatus{exampleHold()}, NotKept: "read-only file system"}
	expectText(t, `
ENDPOINT      BY     SINCE                UNTIL                LEFT  WHY
control-room  alice  2026-11-23 14:02:15  2026-11-23 16:02:15  2h    power work
! not written down: a restart goes back to the holds before: read-only file system
`, func(b *strings.Builder) error { return list.WriteText(b) })
}
