package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nines/configs"
	"nines/console"
	"nines/journal"
	"nines/notify"
)

// noticesName is the file in the state folder that holds the notices that nobody has acknowledged.
const noticesName = "notices.state"

// openOutside makes the desk that tells people outside. Nothing it meets keeps calls from being taken.
func (n *Node) openOutside() {
	var err error
	n.outside, err = notify.Open(notify.Config{
		Node: n.file.Name, Agent: "nines/" + cmp.Or(n.opt.Version, "dev"), Path: filepath.Join(n.file.State, noticesName), Tell: n.toldOutside, Alive: n.alive,
	})
	if err != nil {
		n.log.Error().Err(err).Msg("the notices from before the restart could not be read: nobody is reminded of them")
	}
	n.outside.Swap(receivers(n.file), heartbeats(n.file))
	n.outages = newOutages(n.outside)
	n.outages.configure(n.file)
}

// alive says why no calls are taken here. Every loop is asked: one that hangs takes none.
func (n *Node) alive(ctx context.Context) error {
	if err := n.Ready(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := n.sip.Residue(ctx); err != nil {
		return fmt.Errorf("a loop does not answer: %w", err)
	}
	return nil
}

// receivers makes everybody who is told.
func receivers(f *configs.File) []notify.Receiver {
	var all []notify.Receiver
	taken := map[string]int{}
	for _, c := range f.Notify {
		r := notify.Receiver{Repeat: c.Repeat, Least: notify.Severity(c.Severity), Rooms: c.Rooms}
		switch {
		case c.Webhook != "":
			r.Name = "webhook " + host(c.Webhook)
			w := notify.WebhookConfig{URL: c.Webhook, SecretFile: c.SecretFile, TLS: trusting(c.CA), Headers: map[string]string{}}
			for _, h := range c.Headers {
				w.Headers[h.Name] = h.Value
			}
			r.Way = notify.NewWebhook(w)
		case c.Mail != "":
			r.Name, r.Limit = "mail "+c.Mail, 45*time.Second
			r.Way = notify.NewMail(mail(c))
		default:
			continue
		}
		r.Name = once(taken, r.Name)
		all = append(all, r)
	}
	return all
}

// mail says how a mail leaves.
func mail(c configs.Notification) notify.MailConfig {
	_, domain, _ := strings.Cut(c.Mail, "@")
	m := notify.MailConfig{To: c.Mail, From: cmp.Or(c.From, "nines@"+domain), AuthFile: c.AuthFile, TLS: trusting(c.CA), Port: "25"}
	if u, err := url.Parse(c.SMTP); err == nil { // it was checked
		m.Host, m.Implicit = u.Hostname(), u.Scheme == "smtps"
		if m.Implicit {
			m.Port = "465"
		}
		m.Port = cmp.Or(u.Port(), m.Port)
	}
	return m
}

func heartbeats(f *configs.File) []notify.Heartbeat {
	var all []notify.Heartbeat
	taken := map[string]int{}
	for _, c := range f.Notify {
		if c.Heartbeat != "" {
			all = append(all, notify.Heartbeat{Name: once(taken, "heartbeat "+host(c.Heartbeat)), URL: c.Heartbeat, Every: c.Every, TLS: trusting(c.CA)})
		}
	}
	return all
}

// host names a link without what may be secret in it.
func host(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return "?"
	}
	return u.Host
}

// once keeps two receivers from having one name.
func once(taken map[string]int, name string) string {
	taken[name]++
	if n := taken[name]; n > 1 {
		return fmt.Sprintf("%s (%d)", name, n)
	}
	return name
}

// trusting gives the certificates of a file in place of the system's. They are read at each handshake: a file can be replaced.
func trusting(ca string) *tls.Config {
	if ca == "" {
		return nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, with the file as it is now
		VerifyConnection: func(s tls.ConnectionState) error {
			pem, err := os.ReadFile(ca)
			if err != nil {
				return err
			}
			roots, between := x509.NewCertPool(), x509.NewCertPool()
			if !roots.AppendCertsFromPEM(pem) {
				return errors.New("there is no certificate in " + ca)
			}
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: s.ServerName, Roots: roots, Intermediates: between})
			return err
		},
	}
}

// noticedCaller is whose call a notice is about; empty where it is about none, or the number was withheld.
func noticedCaller(t *notify.Thread) string {
	var facts struct {
		Caller string `json:"caller"`
	}
	_ = json.Unmarshal(t.Facts, &facts) // facts of another kind name nobody
	return facts.Caller
}

// noticedNumber says whether a notice is about a number: of the caller, or of whom they called.
func noticedNumber(t *notify.Thread, number string) bool {
	caller := noticedCaller(t)
	return caller != "" && journal.SameNumber(caller, number) || journal.Mentions(t.Text, number) || journal.Mentions(string(t.Facts), number)
}

// toldOutside writes down what became of a notice: in the log and in the book.
func (n *Node) toldOutside(e notify.Event) {
	t := &e.Thread
	entry := journal.Entry{At: e.At, Type: journal.Notice, What: string(e.What), Why: t.Text, Count: t.Version, By: e.By, Outcome: string(t.Severity)}
	if t.Code == notify.Abandoned { // its text has the caller's number, which must be erasable
		entry.Caller, entry.Why = noticedCaller(t), "a caller gave up before anybody answered"
	}
	switch e.What {
	case notify.Told, notify.Ended:
		text := t.Text
		if t.Code == notify.Abandoned {
			text = ""
		}
		n.log.Info().Str("notice", t.ID).Str("code", string(t.Code)).Str("state", string(e.What)).Str("text", text).Msg("notice")
	case notify.Sent:
		n.log.Info().Str("notice", t.ID).Str("receiver", e.Receiver).Int("try", e.Tries).Dur("took_ms", e.Took).Msg("notice has arrived")
	case notify.Failed:
		n.log.Warn().Str("notice", t.ID).Str("receiver", e.Receiver).Int("try", e.Tries).Dur("again_in_ms", e.Retry).Err(e.Err).
			Msg("notice did not arrive; calls are not affected, it is tried again")
	case notify.Acknowledged:
		n.log.Info().Str("notice", t.ID).Str("by", e.By).Msg("an operator acknowledges a notice")
		return // it is in the book already: Acknowledge waits for it
	case notify.Dropped:
		n.log.Warn().Str("notice", t.ID).Str("code", string(t.Code)).Msg("too many notices are open: one that matters less is not told any more")
	case notify.BeatFailed:
		n.log.Warn().Str("receiver", e.Receiver).Err(e.Err).Msg("the heartbeat did not arrive; calls are not affected, it goes on")
	case notify.BeatSilent:
		n.log.Warn().Str("receiver", e.Receiver).Err(e.Err).Msg("the heartbeat is silent, because this node takes no calls")
	case notify.BeatBack:
		n.log.Info().Str("receiver", e.Receiver).Msg("the heartbeat arrives again")
	case notify.Unkept:
		n.log.Error().Err(e.Err).Msg("notices could not be written down: they are told, but a restart forgets them; it is tried again")
		return // the book may be on the same disk, and has its own words
	case notify.Kept:
		n.log.Info().Msg("notices are written down again")
		return
	}
	if e.Err != nil {
		entry.Why = e.Err.Error()
	}
	entry.Data = noticeData(&e)
	n.book.Append(entry)
}

// noticeData is what the book keeps beside the words. The text for the public stands there when it is given out: a report must have it as it was.
func noticeData(e *notify.Event) json.RawMessage {
	d := journal.NoticeData{Notice: e.Thread.ID, Code: string(e.Thread.Code), Receiver: e.Receiver, Try: e.Tries}
	if e.What == notify.Told {
		d.Public = e.Thread.Public
	}
	b, err := json.Marshal(d)
	if err != nil {
		return nil
	}
	return b
}

// Notices implements console.Node: what is open, and how the receivers do.
func (n *Node) Notices() console.NoticeList {
	l := console.NoticeList{Notices: []console.NoticeStatus{}, Receivers: []console.ReceiverStatus{}}
	for _, t := range n.outside.Threads() {
		l.Notices = append(l.Notices, noticeStatus(&t))
	}
	for _, r := range n.outside.Receivers() {
		l.Receivers = append(l.Receivers, console.ReceiverStatus(r))
	}
	if err := n.outside.Unkept(); err != nil {
		l.NotKept = err.Error()
	}
	return l
}

func noticeStatus(t *notify.Thread) console.NoticeStatus {
	k := t.Code.Kind()
	return console.NoticeStatus{
		ID: t.ID, Code: string(t.Code), Severity: string(t.Severity), Title: k.Title, Text: t.Text, Details: t.Details, Do: k.Do, Room: t.Room,
		Began: t.Began, Updated: t.Updated, Over: t.Over, OverAt: t.OverAt, Waits: t.Waits(), AcknowledgedBy: t.By, AcknowledgedAt: t.AckedAt,
	}
}

// Acknowledge implements console.Node: an operator has seen to a notice, or to all.
func (n *Node) Acknowledge(ctx context.Context, id, by string) (console.AcknowledgeResult, error) {
	if err := CheckOwner(by); err != nil {
		return console.AcknowledgeResult{}, err
	}
	acked, kept, err := n.outside.Acknowledge(ctx, id, by)
	if err != nil {
		return console.AcknowledgeResult{}, console.Mistake(err.Error())
	}
	r := console.AcknowledgeResult{}
	for i := range acked {
		r.Notices = append(r.Notices, noticeStatus(&acked[i]))
	}
	for i := range acked {
		t := &acked[i]
		err := n.acted(ctx, journal.Entry{Type: journal.OperatorAct, What: "acknowledge", By: by, Why: t.ID + ", " + string(t.Code)})
		kept = cmp.Or(kept, err)
	}
	if kept != nil {
		r.NotKept = kept.Error()
	}
	return r, nil
}

// TryNotices implements console.Node: everybody is told, to see whether they hear it.
func (n *Node) TryNotices(_ context.Context, by string) error {
	if err := CheckOwner(by); err != nil {
		return err
	}
	n.outside.Tell(notify.Notice{Code: notify.Trial, Text: by + " tries whether notices arrive; nothing has happened"})
	return nil
}

// PublicNotice implements console.Node.
func (n *Node) PublicNotice() console.PublicNotice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return publicNotice(n.file)
}

func publicNotice(f *configs.File) console.PublicNotice {
	p := console.PublicNotice{}
	for _, lang := range configs.Languages {
		p[lang] = f.PublicNotice(lang)
	}
	return p
}

// noticeWords are the sentences for the status: who waits to be acknowledged, and receivers that take nothing.
func (n *Node) noticeWords() []string {
	var said []string
	for _, t := range n.outside.Threads() {
		if t.Waits() {
			said = append(said, fmt.Sprintf("notice %s (%s) waits for nines acknowledge %s: %s", t.ID, t.Severity, t.ID, t.Text))
		}
	}
	for _, r := range n.outside.Receivers() {
		if r.Error != "" {
			said = append(said, fmt.Sprintf("%s takes no notices since %s: %s", r.Name, r.Since.Format(time.TimeOnly), r.Error))
		}
	}
	if err := n.outside.Unkept(); err != nil {
		said = append(said, "notices are not written down, a restart forgets them: "+err.Error())
	}
	return said
}

// PublicNotice gives the text for the public by a configuration that need not run.
func PublicNotice(path string) (console.PublicNotice, error) {
	f, problems, err := configs.Read(path)
	if err != nil {
		return nil, err
	}
	if !problems.OK() {
		return nil, fmt.Errorf("%s is refused; nines check %s says why", filepath.Base(path), path)
	}
	return publicNotice(f), nil
}
