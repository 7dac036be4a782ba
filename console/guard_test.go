package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// tokensFile writes a tokens file in which each person's token is their name and "-secret".
func tokensFile(t *testing.T, people ...string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# name role SHA-256\n\n")
	for _, p := range people {
		name, role, _ := strings.Cut(p, " ")
		hash := sha256.Sum256([]byte(name + "-secret"))
		fmt.Fprintf(&b, "%s %s %s\n", name, role, hex.EncodeToString(hash[:]))
	}
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withToken asks from another machine with a token.
func withToken(h http.Handler, method, path, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr, r.Host = "192.0.2.7:4711", "nines.example:8080"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestATokenActsInItsOwnersName(t *testing.T) {
	n := example()
	var held HoldRequest
	n.hold = func(req HoldRequest) (HoldResult, error) { held = req; return HoldResult{}, nil }
	var releasedBy string
	n.release = func(_, by string) (ReleaseResult, error) { releasedBy = by; return ReleaseResult{}, nil }
	h := outsideWith(n, tokensFile(t, "alice operator"))
	got := withToken(h, "POST", "/api/v1/holds", "alice-secret", `{"endpoint":"control-room","for":"2h","why":"power","by":"bob"}`)
	if got.Code != 200 || held.By != "alice" {
		t.Errorf("POST hold: %d %s by %q; want 200, and alice whatever the request says", got.Code, got.Body, held.By)
	}
	got = withToken(h, "DELETE", "/api/v1/holds/control-room?by=bob", "alice-secret", "")
	if got.Code != 200 || releasedBy != "alice" {
		t.Errorf("DELETE hold: %d %s by %q; want 200, and alice whatever the request says", got.Code, got.Body, releasedBy)
	}
}

func TestARoleMayWhatItMay(t *testing.T) {
	n := example()
	n.hold = func(HoldRequest) (HoldResult, error) { return HoldResult{}, nil }
	h := outsideWith(n, tokensFile(t, "vera viewer", "olga operator", "ada admin"))
	for _, tt := range []struct {
		who, method, path string
		want              int
	}{
		{"vera", "GET", "/api/v1/status", 200},
		{"vera", "POST", "/api/v1/holds", 403},
		{"vera", "POST", "/api/v1/reload", 403},
		{"olga", "POST", "/api/v1/holds", 200},
		{"olga", "POST", "/api/v1/reload", 403},
		{"ada", "POST", "/api/v1/holds", 200},
		{"ada", "POST", "/api/v1/reload", 200},
	} {
		if got := withToken(h, tt.method, tt.path, tt.who+"-secret", "{}"); got.Code != tt.want {
			t.Errorf("%s of %s: %d %s, want %d", tt.method+" "+tt.path, tt.who, got.Code, got.Body, tt.want)
		}
	}
}

func TestNothingActsByGET(t *testing.T) {
	for _, r := range routes() {
		if r.method == http.MethodGet && r.role != viewer {
			t.Errorf("GET %s is for %ss: a GET must only read", r.path, r.role)
		}
		if r.method != http.MethodGet && r.role < operator {
			t.Errorf("%s %s is for %ss: an act needs an operator", r.method, r.path, r.role)
		}
	}
}

func TestAProxyOnThisMachineSpeaksForSomebodyElse(t *testing.T) {
	h := outside(example())
	r := httptest.NewRequest("GET", "/api/v1/status", nil)
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "localhost:8080"
	r.Header.Set("X-Forwarded-For", "192.0.2.7")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 401 {
		t.Errorf("got %d, want 401: who asks through a proxy is not on this machine", w.Code)
	}
}

func TestAMissingTokensFileStopsActsAlone(t *testing.T) {
	h := outsideWith(example(), filepath.Join(t.TempDir(), "tokens"))
	if got := knock(h, "GET", "/api/v1/status", "127.0.0.1:4711", "localhost"); got.Code != 200 {
		t.Errorf("reading without the file: %d, want 200", got.Code)
	}
	if got := withToken(h, "POST", "/api/v1/reload", "x", ""); got.Code != 401 {
		t.Errorf("an act without the file: %d, want 401", got.Code)
	}
}

func TestATokensFileIsReadAgainWhenItChanges(t *testing.T) {
	path := tokensFile(t, "alice operator")
	var said []string
	people := &tokens{path: func() string { return path }, warn: func(p string) { said = append(said, p) }}
	if _, ok := people.owner("alice-secret"); !ok {
		t.Fatal("alice is not known")
	}
	if err := os.Rename(tokensFile(t, "bob operator", "carol king"), path); err != nil {
		t.Fatal(err)
	}
	people.looked = time.Time{} // a second has passed
	if _, ok := people.owner("alice-secret"); ok {
		t.Error("alice was taken out of the file and is still known")
	}
	if b, ok := people.owner("bob-secret"); !ok || b.role != operator {
		t.Errorf("bob is %+v, %t; want the operator that the file says", b, ok)
	}
	if len(said) != 1 || !strings.Contains(said[0], "line 4: the second word") {
		t.Errorf("said %q; want the line that is wrong, once", said)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	people.looked = time.Time{}
	if _, ok := people.owner("bob-secret"); ok {
		t.Error("the file is gone and bob is still known")
	}
}

func TestALineOfTheTokensFileThatIsWrongIsSaid(t *testing.T) {
	good := strings.Repeat("0f", sha256.Size)
	for line, want := range map[string]string{
		"alice operator":                         "line 1: want a name, a role",
		"alice operator " + good[2:]:             "line 1: the third word must be",
		"alice operator secret":                  "line 1: the third word must be",
		"alice boss " + good:                     `line 1: the second word must be viewer, operator or admin`,
		"a:b admin " + good:                      "line 1: the first word must be a name",
		"a admin " + good + "\na viewer " + good: "line 2: a stands there twice",
	} {
		if _, problems := parseTokens(line); len(problems) != 1 || !strings.HasPrefix(problems[0], want) {
			t.Errorf("%q: %q, want %q", line, problems, want)
		}
	}
}

func TestANewTokenIsKnownByItsLine(t *testing.T) {
	secret, line, err := NewToken("alice", "operator")
	if err != nil {
		t.Fatal(err)
	}
	all, problems := parseTokens(line)
	if len(all) != 1 || problems != nil || all[0].hash != sha256.Sum256([]byte(secret)) {
		t.Errorf("the line %q gives %v, %q", line, all, problems)
	}
	for _, bad := range [][2]string{{"", "admin"}, {"a b", "admin"}, {"a", "root"}} {
		if _, _, err := NewToken(bad[0], bad[1]); err == nil {
			t.Errorf("NewToken(%q, %q) made one", bad[0], bad[1])
		}
	}
}

func TestWrongTokensAreSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := outsideWith(example(), tokensFile(t, "alice operator"))
		want := []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000}
		for i, ms := range want {
			began := time.Now()
			if got := withToken(h, "GET", "/api/v1/status", "guess", ""); got.Code != 401 {
				t.Fatalf("a guess: %d, want 401", got.Code)
			}
			if took := time.Since(began); took != ms*time.Millisecond {
				t.Errorf("guess %d was answered after %v, want %v", i+1, took, ms*time.Millisecond)
			}
		}
		began := time.Now()
		if got := withToken(h, "GET", "/api/v1/status", "alice-secret", ""); got.Code != 200 || time.Since(began) != 0 {
			t.Errorf("the right token: %d after %v; want 200 at once", got.Code, time.Since(began))
		}
	})
}

func TestGuessingInParallelIsRefusedUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := outsideWith(example(), tokensFile(t, "alice operator"))
		for range maxFromOne {
			go withToken(h, "GET", "/api/v1/status", "guess", "") // ends by itself
		}
		synctest.Wait()
		if got := withToken(h, "GET", "/api/v1/status", "alice-secret", ""); got.Code != 429 || got.Header().Get("Retry-After") == "" {
			t.Errorf("one more: %d, want 429 and Retry-After", got.Code)
		}
		time.Sleep(longestDelay)
		if got := withToken(h, "GET", "/api/v1/status", "alice-secret", ""); got.Code != 200 {
			t.Errorf("when they are through: %d, want 200", got.Code)
		}
	})
}

func TestTheBrakeForgetsTheOldestSource(t *testing.T) {
	b := newBrake()
	b.first = 0
	for i := range maxSources + 10 {
		from := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		if !b.enter(from) {
			t.Fatalf("source %d is not looked at", i)
		}
		b.wait(context.Background(), from)
		b.leave(from)
	}
	if len(b.sources) != maxSources {
		t.Errorf("%d sources are remembered, want %d", len(b.sources), maxSources)
	}
}

func TestEveryAnswerCarriesTheHeadersOfCare(t *testing.T) {
	h := outside(example())
	for _, path := range []string{"/api/v1/status", "/healthz", "/metrics", "/api/v1/nothing", "/nothing"} {
		got := knock(h, "GET", path, "127.0.0.1:4711", "localhost").Header()
		for name, want := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
			"Content-Security-Policy": policyOfContent,
		} {
			if got.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got.Get(name), want)
			}
		}
	}
	if strings.Contains(policyOfContent, "unsafe") {
		t.Error("the policy allows what is unsafe")
	}
}

func TestAnotherSitesPageCannotAct(t *testing.T) {
	h := outsideWith(example(), tokensFile(t, "ada admin"))
	r := httptest.NewRequest("POST", "/api/v1/reload", nil)
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "localhost:8080"
	r.Header.Set("Origin", "https://evil.example")
	r.Header.Set("Authorization", "Bearer ada-secret")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 403 {
		t.Errorf("a POST from another origin: %d, want 403", w.Code)
	}
}
