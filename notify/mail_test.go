package notify

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"
)

// postOffice is an SMTP server for one connection at a time. What it says can be changed by the command it answers.
type postOffice struct {
	listener net.Listener
	says     map[string]string // by verb, in place of the usual; "HANG" never answers, "RESET" resets
	implicit bool
	conf     *tls.Config
	offers   []string

	mu    sync.Mutex
	mails []string
	auth  []string
}

func newPostOffice(t *testing.T, p *postOffice) *postOffice {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.listener = l
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) }) // ends with its connection, which the client closes
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return p
}

func (p *postOffice) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	if p.implicit {
		c = tls.Server(c, p.conf)
	}
	r := bufio.NewReader(c)
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\r\n", args...) }
	if p.deviates(c, "GREETING", say) {
		return
	}
	say("220 post.example ESMTP")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		if p.deviates(c, verb, say) {
			continue
		}
		switch verb {
		case "EHLO":
			say("250-post.example")
			for _, o := range p.offers {
				say("250-%s", o)
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go ahead")
			c = tls.Server(c, p.conf)
			r = bufio.NewReader(c)
		case "AUTH":
			p.note(&p.auth, rest)
			if rest == "LOGIN" {
				for _, ask := range []string{"Username:", "Password:"} {
					say("334 %s", base64.StdEncoding.EncodeToString([]byte(ask)))
					answer, _ := r.ReadString('\n')
					word, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(answer))
					p.note(&p.auth, string(word))
				}
			}
			say("235 welcome")
		case "MAIL", "RCPT":
			say("250 fine")
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				text.WriteString(strings.TrimPrefix(l, "."))
			}
			if !p.deviates(c, "END", say) {
				p.note(&p.mails, text.String())
				say("250 kept")
			}
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

func (p *postOffice) note(into *[]string, s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*into = append(*into, s)
}

func (p *postOffice) deviates(c net.Conn, verb string, say func(string, ...any)) bool {
	switch what := p.says[verb]; what {
	case "":
		return false
	case "HANG":
		_, _ = io.Copy(io.Discard, c)
	case "RESET":
		if tc, ok := c.(*net.TCPConn); ok {
			_ = tc.SetLinger(0)
		}
		_ = c.Close()
	default:
		say("%s", what)
	}
	return true
}

func (p *postOffice) way(cfg MailConfig) *Mail {
	cfg.Host, cfg.Port, _ = net.SplitHostPort(p.listener.Addr().String())
	cfg.To, cfg.From, cfg.Implicit = "ops@force.example", "nines@force.example", p.implicit
	return NewMail(cfg)
}

// papers makes a certificate for 127.0.0.1, and the pool that knows it.
func papers(t *testing.T) (*tls.Config, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "post"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}

func TestAMailArrivesByEachKindOfServer(t *testing.T) {
	server, client := papers(t)
	tests := []struct {
		name   string
		office *postOffice
		auth   bool
		want   []string // what was said at AUTH
	}{
		{name: "in the clear", office: &postOffice{}},
		{name: "STARTTLS", office: &postOffice{offers: []string{"STARTTLS"}, conf: server}},
		{name: "STARTTLS and PLAIN", office: &postOffice{offers: []string{"STARTTLS", "AUTH LOGIN PLAIN"}, conf: server}, auth: true, want: []string{"PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00alice\x00s3cret"))}},
		{name: "TLS and LOGIN", office: &postOffice{implicit: true, offers: []string{"AUTH LOGIN"}, conf: server}, auth: true, want: []string{"LOGIN", "alice", "s3cret"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPostOffice(t, tt.office)
			cfg := MailConfig{TLS: client}
			if tt.auth {
				cfg.AuthFile = secretFile(t, "alice\ns3cret\n")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			m := example()
			m.Thread.Text = "control-room is down\r\n.\r\nétat"
			if err := p.way(cfg).Send(ctx, m); err != nil {
				t.Fatal(err)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.mails) != 1 {
				t.Fatalf("%d mails arrived; want 1", len(p.mails))
			}
			got, err := mail.ReadMessage(strings.NewReader(p.mails[0]))
			if err != nil {
				t.Fatalf("what arrived is no mail: %v\n%s", err, p.mails[0])
			}
			text, _ := io.ReadAll(quotedprintable.NewReader(got.Body))
			for _, want := range []string{"control-room is down", "état", "nines acknowledge 0906-1 --by NAME", "Ffoniwch 999"} {
				if !strings.Contains(string(text), want) {
					t.Errorf("the mail has no %q:\n%s", want, text)
				}
			}
			if s := got.Header.Get("Subject"); s != "west-mercia: CRITICAL: emergency calls are answered elsewhere" {
				t.Errorf("the subject is %q", s)
			}
			if strings.Join(p.auth, "|") != strings.Join(tt.want, "|") {
				t.Errorf("the server was told %q at AUTH; want %q", p.auth, tt.want)
			}
		})
	}
}

func TestABadMailServerIsAnErrorInTime(t *testing.T) {
	server, client := papers(t)
	stranger, _ := papers(t)
	tests := []struct {
		name   string
		office *postOffice
		auth   bool
		want   string
	}{
		{name: "it never greets", office: &postOffice{says: map[string]string{"GREETING": "HANG"}}, want: "deadline exceeded"},
		{name: "it hangs at the end", office: &postOffice{says: map[string]string{"END": "HANG"}}, want: "deadline exceeded"},
		{name: "it resets", office: &postOffice{says: map[string]string{"MAIL": "RESET"}}, want: "MAIL FROM"},
		{name: "4xx for the recipient", office: &postOffice{says: map[string]string{"RCPT": "450 try later"}}, want: "RCPT TO: 450"},
		{name: "5xx for the text", office: &postOffice{says: map[string]string{"END": "554 no"}}, want: "DATA: 554"},
		{name: "421 as a greeting", office: &postOffice{says: map[string]string{"GREETING": "421 busy"}}, want: "421"},
		{name: "a certificate of somebody else", office: &postOffice{offers: []string{"STARTTLS"}, conf: stranger}, want: "STARTTLS: "},
		{name: "STARTTLS that is refused", office: &postOffice{offers: []string{"STARTTLS"}, conf: server, says: map[string]string{"STARTTLS": "454 not now"}}, want: "STARTTLS: 454"},
		{name: "a password in the clear", office: &postOffice{offers: []string{"AUTH PLAIN"}}, auth: true, want: "not sent in the clear"},
		{name: "a wrong password", office: &postOffice{offers: []string{"STARTTLS", "AUTH PLAIN"}, conf: server, says: map[string]string{"AUTH": "535 no"}}, auth: true, want: "log in: 535"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPostOffice(t, tt.office)
			cfg := MailConfig{TLS: client}
			if tt.auth {
				cfg.AuthFile = secretFile(t, "alice\ns3cret\n")
			}
			limit := 30 * time.Second
			if strings.Contains(tt.want, "deadline") {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := p.way(cfg).Send(ctx, example())
			switch late := errors.Is(err, context.DeadlineExceeded); { // said in other words when it is over before the connection is there
			case strings.Contains(tt.want, "deadline") && late:
			case err == nil || !strings.Contains(err.Error(), tt.want):
				t.Errorf("send: %v; want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error %q shows the password", err)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.mails) != 0 {
				t.Errorf("a mail arrived all the same")
			}
		})
	}
}

func TestTheMailsOfAThreadStandTogether(t *testing.T) {
	w := NewMail(MailConfig{To: "ops@force.example", From: "nines@force.example"})
	first, second := example(), example()
	second.Number, second.Reminder, second.ID = 2, true, "0906-1.1788712200.1.2"
	second.Node = "west\r\nBcc: everybody@example"
	a, err := mail.ReadMessage(strings.NewReader(string(w.text(first, time.Now()))))
	if err != nil {
		t.Fatal(err)
	}
	b, err := mail.ReadMessage(strings.NewReader(string(w.text(second, time.Now()))))
	if err != nil {
		t.Fatal(err)
	}
	if a.Header.Get("Message-ID") == "" || b.Header.Get("In-Reply-To") != a.Header.Get("Message-ID") || b.Header.Get("Message-ID") == a.Header.Get("Message-ID") {
		t.Errorf("the second mail answers %q and is %q; the first is %q", b.Header.Get("In-Reply-To"), b.Header.Get("Message-ID"), a.Header.Get("Message-ID"))
	}
	if b.Header.Get("Bcc") != "" {
		t.Error("a name with a line break became a header")
	}
}
