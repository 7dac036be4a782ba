package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// vault is a node that knows secrets, each of which must never be seen.
type vault struct {
	n       *node
	p       place
	dir     string // of the files with secrets
	yaml    string
	token   string // alice's, an admin
	secrets map[string]string
	call    string // our name of a call that was answered
}

func newVault(t *testing.T, flags ...string) *vault {
	t.Helper()
	p := newPlace()
	v := &vault{p: p, dir: sealed(t, p)}
	out, code := cli(t, v.dir, "token", "alice", "--role", "admin", "--json")
	var made struct {
		Secret string `json:"token"`
		Line   string
	}
	if err := json.Unmarshal([]byte(out), &made); code != 0 || err != nil || made.Secret == "" || made.Line == "" {
		t.Fatalf("nines token: %d, %v\n%s", code, err, out)
	}
	v.token = made.Secret
	fields := strings.Fields(made.Line)
	hash := fields[len(fields)-1]
	tokens := v.write(t, "tokens", made.Line+"\n")
	hook, mail := v.write(t, "hook", "hook-secret-7d1f\n"), v.write(t, "mail", "ops\nmail-password-93aa\n")
	v.yaml = strings.Replace(strings.Replace(head, "udp://{1}:5060,", "udp://{1}:5060, tls://{1}:5061,", 1), `"{1}:8080"`, `"{1}:8080", tokens_file: `+tokens, 1) + fmt.Sprintf(`
tls: { certificate: %[1]s/tls.pem, key: %[1]s/tls.key, client_ca: %[1]s/ca.pem }
trunks: { carrier: { from: ["{200}/32"] } }
endpoints: { control-room: { uri: "sip:{10}:5060", calls: 50 }, standby: { uri: "sip:{11}:5060" } }
routes: [{ name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby] }, { name: "101", class: routine, numbers: ["101"], ask: [control-room] }]
journal: { also: [{ i3: "http://ops:i3-password-2c61@127.0.0.1:9/log?key=i3-key-0e77" }] }
notify:
  - { webhook: "http://127.0.0.1:9/path-secret-51c0", secret_file: %[2]s, headers: { Authorization: "Bearer header-secret-88e2" } }
  - { mail: ops@force.example, smtp: "smtp://127.0.0.1:9", auth_file: %[3]s }
  - { heartbeat: "http://127.0.0.1:9/beat-secret-6b44", every: 60s }
`, v.dir, hook, mail)
	v.n = start(t, p, v.yaml, flags...)
	phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Picked())})
	v.n.verdict("up", "control-room")
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	const srtp = "c3J0cC1rZXktNGQ5ZS1vZi10aGUtY2FsbGVyLTAw" // of whoever offers to encrypt: a party's, in every message with SDP
	c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String(), TalkFor: 100 * time.Millisecond, Wrap: func(sdp string) (string, []byte) {
		return "application/sdp", []byte(sdp + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + srtp + "|2^20\r\n")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ends(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.n.cli("notices", "--trial")
	eventually(t, 10*time.Second, "the log says what we call the call", func() bool {
		list := v.n.log.with(`"message":"call answered"`)
		if len(list) > 0 {
			v.call = field(list[0], "call")
		}
		return v.call != ""
	})

	v.secrets = map[string]string{
		"the token": made.Secret, "the token's hash": hash, "the webhook's secret": "hook-secret-7d1f", "the webhook's header": "header-secret-88e2", "the webhook's path": "path-secret-51c0",
		"the heartbeat's path": "beat-secret-6b44", "the mail password": "mail-password-93aa", "the password of the second place for the book": "i3-password-2c61", "its key": "i3-key-0e77", "the key of a caller's SRTP": srtp,
	}
	lines := func(what, path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range bytes.Fields(text) {
			if len(line) > 20 && !bytes.HasPrefix(line, []byte("-")) {
				v.secrets[what] = string(line)
				return
			}
		}
		if v.secrets[what] = fmt.Sprintf("%x", text); len(text) == 0 {
			t.Fatalf("%s is empty", path)
		}
	}
	lines("the TLS key", filepath.Join(v.dir, "tls.key"))
	key := filepath.Join(v.n.dir, "state", "journal.key")
	eventually(t, 10*time.Second, "the book has its key", func() bool { // it is made beside the calls
		info, err := os.Stat(key)
		return err == nil && info.Size() > 0
	})
	lines("the book's key", key)
	return v
}

// write puts a text into one of the files with secrets.
func (v *vault) write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(v.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// places is everything that can be read in the console.
func (v *vault) places(t *testing.T) []string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	_, text := get(t, v.p, "/api/v1/openapi.json")
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Paths) < 10 {
		t.Fatalf("the API describes %d paths, %v", len(doc.Paths), err)
	}
	all := []string{"/", "/help", "/login", "/calls", "/calls/" + v.call, "/callbacks", "/incidents", "/endpoints/control-room", "/routes/999", "/routes/101", "/metrics", "/healthz", "/readyz", "/nowhere"}
	for path, methods := range doc.Paths {
		if methods["get"] == nil {
			continue
		}
		all = append(all, strings.NewReplacer("{id}", v.call, "{name}", "control-room", "{endpoint}", "control-room", "{route}", "101", "{number}", "999").Replace(path))
	}
	return all
}

// judge looks for secrets in what was said, by where.
func (v *vault) judge(t *testing.T, said map[string]string) {
	t.Helper()
	for where, text := range said {
		if text == "" {
			t.Errorf("%s says nothing", where)
		}
		for what, secret := range v.secrets {
			if at := strings.Index(strings.ToLower(text), strings.ToLower(secret)); at >= 0 {
				t.Errorf("%s shows %s: %.200q", where, what, text[max(0, at-100):])
			}
		}
	}
	t.Logf("%d secrets are looked for in %d answers", len(v.secrets), len(said))
}

// TestNoSecretIsShown looks for everything that is secret in all that nines says: API, pages, metrics, log, book, command line.
func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	n, p := v.n, v.p
	said := map[string]string{"the log": strings.Join(n.log.lines(), "\n")}
	for _, args := range [][]string{
		{"check", n.config},
		{"check", "--json", n.config},
		{"status"},
		{"status", "--json"},
		{"notices"},
		{"notices", "--json"},
		{"calls", "--json"},
		{"holds", "--json"},
		{"callbacks", "--json"},
		{"incidents", "--json"},
		{"ledger", "--csv"},
		{"journal", "export", "--since", "1h"},
		{"journal", "verify"},
		{"notice"},
		{"status", "control-room", "--json"},
	} {
		said["nines "+strings.Join(args, " ")], _ = n.cli(args...)
	}
	for _, path := range v.places(t) {
		said["GET "+path] = begins(t, p, path)
	}
	v.judge(t, said)
}

// begins is what the console says to a request, or of one that goes on, like the live events, its first second.
func begins(t *testing.T, p place, path string, headers ...string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", p.at(1, 8080).String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", path, p.at(1, 8080), strings.Join(headers, "")); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	first := make([]byte, 1)
	if _, err := c.Read(first); err != nil {
		t.Fatalf("the console does not answer GET %s: %v", path, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second)) // the live events go on for ever
	text, _ := io.ReadAll(c)
	return string(first) + string(text)
}
