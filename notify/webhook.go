package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// The headers of a webhook. A receiver computes HMAC-SHA256 over the timestamp, a full stop and the body as it came, with the shared secret, and
// compares it with each v1= of the signature; it refuses timestamps that are more than five minutes off, and messages whose id it has seen.
const (
	HeaderTimestamp = "Nines-Timestamp" // Unix seconds
	HeaderSignature = "Nines-Signature" // v1=<hex>, one for each line of the secret file, with commas
	HeaderID        = "Nines-Id"        // the same for every try of a message
)

// Webhook posts messages as JSON.
type Webhook struct {
	url     string
	secrets string // a file, a secret a line; empty: not signed
	headers map[string]string
	client  *http.Client
}

// WebhookConfig says where to and how.
type WebhookConfig struct {
	URL        string
	SecretFile string            // a secret a line: the first is the one in use, others are being replaced
	Headers    map[string]string // further ones, such as Authorization
	TLS        *tls.Config       // nil: the system's certificates
}

const (
	mostSecret = 4 << 10
	mostReply  = 4 << 10
)

// NewWebhook makes the way to a URL.
func NewWebhook(cfg WebhookConfig) *Webhook {
	return &Webhook{url: cfg.URL, secrets: cfg.SecretFile, headers: cfg.Headers, client: newClient(cfg.TLS)}
}

// newClient is an HTTP client that keeps no connections, because between two notices lie minutes, and follows nobody elsewhere: a redirect is a
// wrong address.
func newClient(conf *tls.Config) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig:       conf,
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: 10 * time.Second,
			DisableKeepAlives:     true,
			ForceAttemptHTTP2:     true,
		},
	}
}

// payload is the body of a webhook. Its members are a contract: add, never rename.
type payload struct {
	Version      int               `json:"version"` // of this form: 1
	ID           string            `json:"id"`
	Thread       string            `json:"thread"`
	Number       int               `json:"number"` // of the thread's messages, from 1
	Reminder     bool              `json:"reminder"`
	Node         string            `json:"node"`
	Code         Code              `json:"code"`
	Severity     Severity          `json:"severity"`
	State        string            `json:"state"` // open, over, event (it happened and does not last)
	Acknowledged string            `json:"acknowledged_by,omitempty"`
	Title        string            `json:"title"`
	Text         string            `json:"text"`
	Details      []string          `json:"details,omitempty"`
	Do           string            `json:"do"`
	Room         string            `json:"room,omitempty"`
	Began        time.Time         `json:"began"`
	Updated      time.Time         `json:"updated"`
	Facts        json.RawMessage   `json:"facts,omitempty"`
	PublicNotice map[string]string `json:"public_notice,omitempty"` // by language
	Acknowledge  string            `json:"acknowledge,omitempty"`   // the command
}

func payloadOf(m *Message) payload {
	t := &m.Thread
	p := payload{
		Version: 1, ID: m.ID, Thread: t.ID, Number: m.Number, Reminder: m.Reminder, Node: m.Node, Code: t.Code, Severity: t.Severity, State: "open",
		Acknowledged: t.By, Title: m.Title(), Text: t.Text, Details: t.Details, Do: t.Code.Kind().Do, Room: t.Room, Began: t.Began, Updated: t.Updated,
		Facts: t.Facts, PublicNotice: t.Public, Acknowledge: m.command(),
	}
	switch {
	case t.Ended():
		p.State = "over"
	case t.Over:
		p.State = "event"
	}
	return p
}

// command is what an operator types to stop the reminders; empty when nobody waits for it.
func (m *Message) command() string {
	if !m.Thread.Waits() {
		return ""
	}
	return "nines acknowledge " + m.Thread.ID + " --by NAME"
}

// Send implements Way. Any 2xx is an arrival.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(payloadOf(&m))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return bare(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", m.Agent)
	req.Header.Set(HeaderID, m.ID)
	for name, value := range w.headers {
		req.Header.Set(name, value)
	}
	if err := w.sign(req, body, time.Now()); err != nil {
		return err
	}
	return answer(w.client.Do(req))
}

// sign says by two headers that the body is ours and when it was said.
func (w *Webhook) sign(req *http.Request, body []byte, now time.Time) error {
	if w.secrets == "" {
		return nil
	}
	secrets, err := lines(w.secrets)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	var signatures []string
	for _, s := range secrets {
		signatures = append(signatures, "v1="+Signature(s, stamp, body))
	}
	req.Header.Set(HeaderTimestamp, stamp)
	req.Header.Set(HeaderSignature, strings.Join(signatures, ","))
	return nil
}

// Signature is what a body that is sent at a time is signed with.
func Signature(secret, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(timestamp))
	h.Write([]byte{'.'})
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// lines reads a file of secrets anew each time, so that one can be replaced without a reload.
func lines(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostSecret+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > mostSecret:
		return nil, fmt.Errorf("%s is longer than %d bytes", path, mostSecret)
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			found = append(found, line)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s holds no secret", path)
	}
	return found, nil
}

// answer says what a response means.
func answer(resp *http.Response, err error) error {
	if err != nil {
		return bare(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, mostReply) // nobody reads it
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	err = fmt.Errorf("it answered %s", resp.Status)
	if s, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil && s > 0 {
		return &Later{Err: err, After: time.Duration(min(s, 3600)) * time.Second}
	}
	return err
}

// bare takes the URL out of an error: it may hold a secret.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
