package acceptance

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// act does something through the API with alice's token, and gives what was answered: code, headers and body.
func (v *vault) act(t *testing.T, method, path, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+v.p.at(1, 8080).String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+v.token)
	return answered(t, http.DefaultClient, req)
}

func answered(t *testing.T, client *http.Client, req *http.Request) string {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(resp.Status, "\n", resp.Header, "\n", string(text))
}

var formToken = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// TestNoSecretIsShownToWhoActs: an admin does everything that there is, by API and by pages, while the log is at debug. Nothing of it repeats a secret: not the answers, not
// what is read afterwards, not the log.
func TestNoSecretIsShownToWhoActs(t *testing.T) {
	t.Parallel()
	v := newVault(t, "--log-level", "debug")
	n, p := v.n, v.p
	carrier := phone(t, town.PhoneConfig{Name: "impatient", Addr: p.at(200, 5062)})
	phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Rings(10 * time.Millisecond))})
	n.verdict("up", "standby")
	hold := `{"endpoint":"control-room","for":"10m","why":"power work"}`
	said := map[string]string{"a hold": v.act(t, "POST", "/api/v1/holds", hold)}
	c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String(), From: "+447700900123", CancelAfter: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ends(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the caller is on the call-back list", func() bool {
		return strings.Contains(v.act(t, "GET", "/api/v1/callbacks", ""), "+447700900123")
	})
	for _, a := range []struct{ what, method, path, body, want string }{
		{"another hold", "POST", "/api/v1/holds", hold, "200"},
		{"a hold of nobody", "POST", "/api/v1/holds", `{"endpoint":"nobody","for":"10m","why":"x"}`, "404"},
		{"a release", "DELETE", "/api/v1/holds/control-room", "", "200"},
		{"an order", "POST", "/api/v1/treats", `{"route":"101","for":"10m","why":"999 is down"}`, "200"},
		{"the end of an order", "DELETE", "/api/v1/treats/101", "", "200"},
		{"a call-back", "POST", "/api/v1/callbacks/done", `{"who":"+447700900123","outcome":"spoke to caller"}`, "200"},
		{"a call-back again", "POST", "/api/v1/callbacks/done", `{"who":"+447700900123","outcome":"spoke to caller"}`, "404"},
		{"a trial", "POST", "/api/v1/notices/trial", `{}`, "200"},
		{"an acknowledgement", "POST", "/api/v1/notices/acknowledge", `{"id":"nothing"}`, ""},
		{"a confirmation", "POST", "/api/v1/incidents/nothing/confirm", `{"why":"seen"}`, "404"},
		{"an erasure", "POST", "/api/v1/journal/erase", `{"number":"+447700900123","why":"request 17"}`, "200"},
		{"a reload", "POST", "/api/v1/reload", "", "200"},
		{"no JSON", "POST", "/api/v1/holds", v.token, "400"},
		{"no place", "POST", "/api/v1/nowhere", "", "404"},
	} {
		said[a.what] = v.act(t, a.method, a.path, a.body)
		if !strings.HasPrefix(said[a.what], a.want) {
			t.Errorf("%s was answered %.300s, want %s", a.what, said[a.what], a.want)
		}
	}
	said["a wrong token"] = begins(t, p, "/api/v1/status", "Authorization: Bearer x"+v.token+"\r\n")

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	post := func(path string, form url.Values) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.at(1, 8080).String()+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return answered(t, browser, req)
	}
	look := func(path string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.at(1, 8080).String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return answered(t, browser, req)
	}
	said["POST /login wrongly"] = post("/login", url.Values{"token": {"y" + v.token}, "back": {"/help"}})
	said["POST /login"] = post("/login", url.Values{"token": {v.token}, "back": {"/help"}})
	m := formToken.FindStringSubmatch(said["POST /login"])
	if m == nil {
		t.Fatalf("whoever signs in sees no form: %.2000s", said["POST /login"])
	}
	form := func(more ...string) url.Values {
		f := url.Values{"csrf": {m[1]}}
		for i := 0; i < len(more); i += 2 {
			f.Set(more[i], more[i+1])
		}
		return f
	}
	for path, f := range map[string]url.Values{
		"/endpoints/control-room/hold":    form("for", "10m", "why", "power work"),
		"/endpoints/control-room/release": form(),
		"/routes/101/treat":               form("for", "10m", "why", "999 is down"),
		"/routes/101/untreat":             form(),
		"/callbacks/done":                 form("who", "nobody", "outcome", "x"),
		"/notices/acknowledge":            form("id", ""),
		"/reload":                         form(),
		"/routes/999/treat":               form("for", v.token, "why", "x"),
	} {
		said["POST "+path] = post(path, f)
	}
	delete(said, "POST /routes/999/treat") // it may repeat what was typed into a field for something else
	for _, path := range v.places(t) {
		said["GET "+path+" with a token"] = begins(t, p, path, "Authorization: Bearer "+v.token+"\r\n")
		if strings.HasPrefix(path, "/api/") || path == "/metrics" {
			continue
		}
		said["GET "+path+" in a session"] = look(path)
	}
	said["the log"] = strings.Join(n.log.lines(), "\n")
	if !strings.Contains(said["the log"], `"level":"debug"`) {
		t.Error("the log is not at debug")
	}
	v.judge(t, said)
}

// TestAMistakeBesideASecretDoesNotShowIt: what is wrong with a file is said by nines check, by a reload and all that tells of it. More people read that than the file.
func TestAMistakeBesideASecretDoesNotShowIt(t *testing.T) {
	t.Parallel()
	v := newVault(t, "--log-level", "debug")
	n := v.n
	v.secrets["a password in an address"] = "address-password-77ab"
	said := map[string]string{}
	tell := func(what string) {
		t.Helper()
		said["nines check of "+what], _ = n.cli("check", n.config)
		said["a reload by the API of "+what] = v.act(t, "POST", "/api/v1/reload", "")
		said["the status after "+what] = begins(t, v.p, "/api/v1/status")
		said["the page after "+what] = begins(t, v.p, "/help", "Authorization: Bearer "+v.token+"\r\n")
		said["the board after "+what] = begins(t, v.p, "/")
	}
	const webhook, header = `webhook: "http://127.0.0.1:9/path-secret-51c0"`, `headers: { Authorization: "Bearer header-secret-88e2" }`
	for _, m := range []struct{ what, old, with string }{
		{"an address of another kind", webhook, `webhook: "ftp://127.0.0.1/path-secret-51c0"`},
		{"an address with a password", webhook, `webhook: "http://ops:address-password-77ab@127.0.0.1:port/path-secret-51c0"`},
		{"an address with a password that is good", webhook, `webhook: "http://ops:address-password-77ab@127.0.0.1:9/path-secret-51c0"`},
		{"an address with half a bracket", webhook, `webhook: "http://[127.0.0.1:9/path-secret-51c0"`},
		{"an address with a wrong escape", webhook, `webhook: "http://127.0.0.1:9/%zz/path-secret-51c0"`},
		{"an address without a host", webhook, `webhook: "http:///path-secret-51c0"`},
		{"an address in a list", webhook, `webhook: ["http://127.0.0.1:9/path-secret-51c0"]`},
		{"a header in a list", header, `headers: { Authorization: ["Bearer header-secret-88e2"] }`},
		{"a header on one line", header, `headers: "Authorization: Bearer header-secret-88e2"`},
		{"a header without an end", header, `headers: { Authorization: "Bearer header-secret-88e2 }`},
		{"a header with a line break", header, `headers: { Authorization: "Bearer\nheader-secret-88e2" }`},
		{"a header twice", header, `headers: { Authorization: "Bearer header-secret-88e2", Authorization: "header-secret-88e2" }`},
		{"a key that does not exist", header, `secret: hook-secret-7d1f`},
		{"a heartbeat without a host", `"http://127.0.0.1:9/beat-secret-6b44"`, `"http:///beat-secret-6b44"`},
		{"a heartbeat that is too quick", `beat-secret-6b44", every: 60s`, `beat-secret-6b44", every: soon`},
		{"a mail server with a password", `"smtp://127.0.0.1:9"`, `"smtp://ops:address-password-77ab@127.0.0.1:port"`},
		{"a log of another kind", `i3: "http://ops:`, `i3: "ftp://ops:`},
		{"a list that is none", "\nnotify:\n  - {", "\nnotify:\n    {"},
	} {
		bad := strings.Replace(v.yaml, m.old, m.with, 1)
		if bad == v.yaml {
			t.Fatalf("%s: %q is not in the file", m.what, m.old)
		}
		n.write(bad)
		tell(m.what)
	}
	n.write(v.yaml)
	said["nines check --json"], _ = n.cli("check", "--json", n.config)
	for _, f := range []struct{ what, name, text string }{
		{"a login on one line", "mail", "ops mail-password-93aa\n"},
		{"a login without a user", "mail", "mail-password-93aa\n"},
		{"a key that is none", "tls.key", "-----BEGIN PRIVATE KEY-----\nhook-secret-7d1f\n-----END PRIVATE KEY-----\n"},
		{"a certificate that is none", "tls.pem", "hook-secret-7d1f\n"},
		{"an authority that is none", "ca.pem", "hook-secret-7d1f\n"},
		{"an empty secret", "hook", ""},
	} {
		good, err := os.ReadFile(filepath.Join(v.dir, f.name))
		if err != nil {
			t.Fatal(err)
		}
		v.write(t, f.name, f.text)
		tell(f.what)
		n.cli("notices", "--trial")
		v.write(t, f.name, string(good))
	}
	const problem = "tokens file is not as it should be"
	for i, line := range []string{"alice " + v.token + " admin", "alice:" + v.token + " admin " + strings.Repeat("0f", 32), "alice admin " + v.token} {
		v.write(t, "tokens", line+"\n")
		eventually(t, 10*time.Second, "the log says what is wrong with the tokens file", func() bool {
			begins(t, v.p, "/api/v1/version", "Authorization: Bearer "+line+"\r\n")
			return len(n.log.with(problem)) == i+1
		})
	}
	said["nines journal export"], _ = n.cli("journal", "export", "--since", "1h")
	said["nines notices"], _ = n.cli("notices", "--json")
	said["the metrics"] = begins(t, v.p, "/metrics")
	said["the log"] = strings.Join(n.log.lines(), "\n")
	v.judge(t, said)
}
