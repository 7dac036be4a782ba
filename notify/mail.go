package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/netip"
	"net/smtp"
	"slices"
	"strings"
	"time"
)

// Mail sends messages to one address by one server.
type Mail struct{ cfg MailConfig }

// MailConfig says to whom and by which server.
type MailConfig struct {
	To       string
	From     string
	Host     string // the server's name; its certificate must say so
	Port     string
	Implicit bool        // TLS from the first byte (smtps); else STARTTLS where the server offers it
	AuthFile string      // user and password, a line each; then nothing is sent without TLS
	TLS      *tls.Config // nil: the system's certificates
}

// NewMail makes the way to an address.
func NewMail(cfg MailConfig) *Mail { return &Mail{cfg} }

// Send implements Way: an arrival is the server's 250 after the text.
func (w *Mail) Send(ctx context.Context, m Message) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(w.cfg.Host, w.cfg.Port))
	if err != nil {
		return err
	}
	defer conn.Close()
	// net/smtp knows no context: whatever hangs ends with the connection.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	err = w.talk(ctx, conn, m)
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

func (w *Mail) talk(ctx context.Context, conn net.Conn, m Message) error {
	secure := w.cfg.Implicit
	if secure {
		t := tls.Client(conn, w.tls())
		if err := t.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		conn = t
	}
	c, err := smtp.NewClient(conn, w.cfg.Host)
	if err != nil {
		return err
	}
	if err := c.Hello(ourName(conn)); err != nil {
		return fmt.Errorf("EHLO: %w", err)
	}
	if ok, _ := c.Extension("STARTTLS"); ok && !secure {
		if err := c.StartTLS(w.tls()); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
		secure = true
	}
	if err := w.login(c, secure); err != nil {
		return err
	}
	if err := w.hand(c, w.text(m, time.Now())); err != nil {
		return err
	}
	_ = c.Quit() // it has the mail already
	return nil
}

// ourName is our address, as RFC 5321 §4.1.3 writes it: a machine in a control room often has no name that a mail server knows.
func ourName(conn net.Conn) string {
	a, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return "localhost"
	}
	if ip := a.Addr().Unmap().WithZone(""); ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + a.Addr().WithZone("").String() + "]"
}

func (w *Mail) login(c *smtp.Client, secure bool) error {
	if w.cfg.AuthFile == "" {
		return nil
	}
	if !secure {
		return errors.New("the server offers no STARTTLS: a password is not sent in the clear")
	}
	secret, err := lines(w.cfg.AuthFile)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	if len(secret) != 2 {
		return fmt.Errorf("log in: %s must hold a user and a password, a line each", w.cfg.AuthFile)
	}
	ok, offers := c.Extension("AUTH")
	if !ok {
		return errors.New("log in: the server offers no AUTH")
	}
	var auth smtp.Auth = &login{user: secret[0], password: secret[1]}
	if slices.Contains(strings.Fields(offers), "PLAIN") {
		auth = smtp.PlainAuth("", secret[0], secret[1], w.cfg.Host)
	}
	if err := c.Auth(auth); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return nil
}

// login is AUTH LOGIN, the only way into some servers.
type login struct{ user, password string }

// Start implements smtp.Auth.
func (l *login) Start(*smtp.ServerInfo) (proto string, toServer []byte, err error) {
	return "LOGIN", nil, nil
}

// Next implements smtp.Auth.
func (l *login) Next(fromServer []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if strings.HasPrefix(strings.ToLower(string(fromServer)), "user") {
		return []byte(l.user), nil
	}
	return []byte(l.password), nil
}

func (w *Mail) hand(c *smtp.Client, text []byte) error {
	if err := c.Mail(w.cfg.From); err != nil {
		return fmt.Errorf("MAIL FROM: %w", err)
	}
	if err := c.Rcpt(w.cfg.To); err != nil {
		return fmt.Errorf("RCPT TO: %w", err)
	}
	body, err := c.Data()
	if err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	if _, err := body.Write(text); err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	if err := body.Close(); err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	return nil
}

// text is the mail. All messages of a thread stand under the first one in a mail reader.
func (w *Mail) text(m Message, now time.Time) []byte {
	_, domain, _ := strings.Cut(w.cfg.From, "@")
	root := fmt.Sprintf("<%s.%d.nines@%s>", m.Thread.ID, m.Thread.Began.Unix(), domain)
	var b bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, oneLine(value)) }
	header("From", "nines <"+w.cfg.From+">")
	header("To", "<"+w.cfg.To+">")
	header("Subject", mime.QEncoding.Encode("utf-8", oneLine(m.Title())))
	header("Date", now.Format(time.RFC1123Z))
	if m.Number == 1 {
		header("Message-ID", root)
	} else {
		header("Message-ID", fmt.Sprintf("<%s.nines@%s>", m.ID, domain))
		header("In-Reply-To", root)
		header("References", root)
	}
	header("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	if m.Thread.Severity == Critical {
		header("Importance", "high")
	}
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(m.body())) // a buffer takes everything
	_ = q.Close()
	return b.Bytes()
}

// oneLine keeps a value from becoming another header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}, s)
}

// body is a message as a person reads it.
func (m *Message) body() string {
	t := &m.Thread
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("%s", t.Text)
	for _, d := range t.Details {
		line("- %s", d)
	}
	line("")
	line("Do: %s.", t.Code.Kind().Do)
	line("Since: %s", t.Began.Format("Mon 2 Jan 2006 15:04:05 MST"))
	switch {
	case t.Ended():
		line("Over: %s", t.OverAt.Format("Mon 2 Jan 2006 15:04:05 MST"))
	case t.Acknowledged():
		line("Acknowledged by %s.", t.By)
	}
	if cmd := m.command(); cmd != "" {
		line("This is repeated until somebody says: %s", cmd)
	}
	for _, lang := range slices.Sorted(maps.Keys(t.Public)) {
		line("")
		line("Text for the public (%s):", lang)
		line("%s", t.Public[lang])
	}
	line("")
	line("-- ")
	line("%s, notice %s (%s)", m.Node, t.ID, t.Code)
	return b.String()
}

func (w *Mail) tls() *tls.Config {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if w.cfg.TLS != nil {
		conf = w.cfg.TLS.Clone()
	}
	conf.ServerName = w.cfg.Host
	return conf
}
