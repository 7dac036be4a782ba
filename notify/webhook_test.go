package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// example is a message of an outage.
func example() Message {
	began := time.Date(2026, 9, 6, 16, 30, 0, 0, time.UTC)
	return Message{
		ID: "0906-1.1788712200.1.1", Node: "west-mercia", Agent: "nines/test", Number: 1,
		Thread: Thread{
			ID: "0906-1", Key: "outage", Code: Diverted, Severity: Critical, Text: "control-room is down; standby-room answers", Details: []string{"3 calls at standby-room"},
			Began: began, Updated: began, Version: 1, Public: map[string]string{"en": "Dial 999 as usual.", "cy": "Ffoniwch 999 fel arfer."},
		},
	}
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTheSignatureCanBeCheckedByAnybody checks as a receiver would, by the documentation only.
func TestTheSignatureCanBeCheckedByAnybody(t *testing.T) {
	secrets := secretFile(t, "new secret\nold secret\n")
	var headers http.Header
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		headers = r.Header
		body, _ = io.ReadAll(r.Body)
	}))
	defer s.Close()
	w := NewWebhook(WebhookConfig{URL: s.URL, SecretFile: secrets, Headers: map[string]string{"Authorization": "Bearer token"}})
	if err := w.Send(t.Context(), example()); err != nil {
		t.Fatal(err)
	}
	stamp := headers.Get("Nines-Timestamp")
	for _, secret := range []string{"new secret", "old secret"} {
		if want := "v1=" + Signature(secret, stamp, body); !strings.Contains(headers.Get("Nines-Signature"), want) {
			t.Errorf("the signature is %q; want %s in it, for %s", headers.Get("Nines-Signature"), want, secret)
		}
	}
	if strings.Contains(headers.Get("Nines-Signature"), Signature("new secret", stamp, append(body, ' '))) {
		t.Error("another body has the same signature")
	}
	// Computed by openssl: printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
	if got, want := Signature("secret", "1700000000", []byte("{}")), "b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"; got != want {
		t.Errorf("the signature is %q, want %q", got, want)
	}
	sec, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || time.Since(time.Unix(sec, 0)).Abs() > time.Minute {
		t.Errorf("the timestamp is %q; want the time of sending", stamp)
	}
	if headers.Get("Nines-Id") != "0906-1.1788712200.1.1" || headers.Get("Authorization") != "Bearer token" || headers.Get("Content-Type") != "application/json" {
		t.Errorf("the headers are %v", headers)
	}
	var p map[string]any
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"version": 1.0, "thread": "0906-1", "code": "calls-diverted", "severity": "critical", "state": "open", "node": "west-mercia",
		"text": "control-room is down; standby-room answers", "acknowledge": "nines acknowledge 0906-1 --by NAME",
	} {
		if p[name] != want {
			t.Errorf("%s is %v, want %v", name, p[name], want)
		}
	}
	if p["public_notice"].(map[string]any)["cy"] != "Ffoniwch 999 fel arfer." {
		t.Errorf("public_notice is %v; want the texts", p["public_notice"])
	}
	if err := os.Remove(secrets); err != nil {
		t.Fatal(err)
	}
	if err := w.Send(t.Context(), example()); err == nil {
		t.Error("a message left unsigned, because the secret could not be read")
	}
}

// TestABadWebhookIsAnErrorInTime has a server for each thing that goes wrong.
func TestABadWebhookIsAnErrorInTime(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	code := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	tests := []struct {
		name  string
		serve http.HandlerFunc
		want  string
	}{
		{"it hangs for ever", func(http.ResponseWriter, *http.Request) { <-hang }, "deadline exceeded"},
		{"it resets the connection", func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}
		}, "reset"},
		{"400", code(400), "400 Bad Request"},
		{"404", code(404), "404 Not Found"},
		{"500", code(500), "500 Internal Server Error"},
		{"503 and when to come again", code(503, "Retry-After", "60"), "503 Service Unavailable"},
		{"a redirect to somebody else", code(302, "Location", "http://192.0.2.1/"), "302 Found"},
		{"a body without end", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, ""},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_, _ = c.Write([]byte("SSH-2.0-OpenSSH\r\n"))
				_ = c.Close()
			}
		}, "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(tt.serve)
			defer s.CloseClientConnections()
			limit := 30 * time.Second // what answers has the time that a busy machine needs
			if strings.Contains(tt.want, "deadline") {
				limit = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := NewWebhook(WebhookConfig{URL: s.URL + "/secret-path"}).Send(ctx, example())
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("send: %v; want that it has arrived", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("send: %v; want %q", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "secret-path"):
				t.Errorf("the error %q shows the URL, which may be a secret", err)
			}
			var later *Later
			if asks := strings.Contains(tt.name, "when to come"); asks != asError(err, &later) {
				t.Errorf("the error is %v; Retry-After is in it: %v, want %v", err, !asks, asks)
			}
		})
	}
}

func asError(err error, later **Later) bool {
	l, ok := err.(*Later) //nolint:errorlint // it is not wrapped
	*later = l
	return ok
}

func TestTLSOfAWebhookIsChecked(t *testing.T) {
	arrived := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived++ }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	if err := NewWebhook(WebhookConfig{URL: s.URL}).Send(t.Context(), example()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody we know: %v; want a refusal", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if err := NewWebhook(WebhookConfig{URL: s.URL, TLS: &tls.Config{RootCAs: roots}}).Send(t.Context(), example()); err != nil {
		t.Errorf("a certificate of somebody we know: %v", err)
	}
	if arrived != 1 {
		t.Errorf("%d messages arrived; want 1", arrived)
	}
}

func TestTheHeartbeatFallsSilentWhenNoCallsAreTaken(t *testing.T) {
	beats := make(chan struct{}, 3)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case beats <- struct{}{}:
		default: // enough
		}
	}))
	defer s.Close()
	dead := make(chan struct{})
	silent := make(chan Event, 10)
	d, err := Open(Config{
		Alive: func(context.Context) error {
			select {
			case <-dead:
				return io.EOF
			default:
				return nil
			}
		},
		Tell: func(e Event) {
			if e.What != BeatFailed && e.What != BeatBack { // on a machine that is busy a beat may take longer than there is time between two
				silent <- e
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }() // ends with ctx
	d.Swap(nil, []Heartbeat{{Name: "watch", URL: s.URL, Every: 20 * time.Millisecond}})
	for range 3 {
		<-beats
	}
	close(dead)
	if e := <-silent; e.What != BeatSilent {
		t.Errorf("the event is %q; want that the heartbeat is silent", e.What)
	}
	before := d.Beats()
	for d.Beats()["silent"] < 5 {
		time.Sleep(time.Millisecond)
	}
	if got := d.Beats()["sent"]; got != before["sent"] {
		t.Errorf("%d beats were sent although no calls are taken", got-before["sent"])
	}
	cancel()
	<-done
}
