package acceptance

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nines/internal/town"
	"nines/internal/town/certs"
)

// sealedTrunks is a carrier, a second one whose box is broken, and a partner who must show a certificate, all by TLS.
const sealedTrunks = `
trunks:
  carrier: { from: ["{200}/32"] }
  broken: { from: ["{201}/32"] }
  from-warwickshire: { kind: aid, from: ["{202}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 1000 }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room] }
  - { name: aid, class: emergency, numbers: ["112"], ask: [control-room], aid: true }
`

// TestStrangersOverTLSHarmNoTrunk: PRODUCT section 12. Beside who never ends a handshake, who shows a strange certificate, and who sends nonsense, lies and crumbs when it
// is over, a carrier's calls over TLS are answered as ever, on the connection that it has and on new ones. Strangers' connections are closed and counted.
func TestStrangersOverTLSHarmNoTrunk(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"drop", "answer_emergency"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			p := newPlace()
			dir := sealed(t, p)
			secure := identity(t, dir)
			n := start(t, p, "unknown_sources: "+setting+strings.Replace(head, "udp://{1}:5060,", "udp://{1}:5060, tls://{1}:5061,", 1)+
				fmt.Sprintf("tls: { certificate: %[1]s/tls.pem, key: %[1]s/tls.key, client_ca: %[1]s/ca.pem }", dir)+sealedTrunks)
			phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: town.Always(town.Picked()), Voice: 20 * time.Millisecond})
			n.verdict("up", "control-room")
			s := &sealedStage{t: t, n: n, secure: secure, strange: secure.Clone()}
			strange := certs.New("strangers").Issue("127.0.0.1")
			s.strange.Certificates = nil
			s.strange.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &strange, nil } // whoever's signature is asked for

			good := s.begin()
			before := n.status().SIP
			var said []func()
			if setting == "answer_emergency" { // before others take the strangers' places
				said = append(said, s.nonsense("strangers", 30, 1))
			}
			hung := s.hang()
			said = append(said, s.nonsense("a trunk", 200, 0))
			s.certificates()
			s.ends(hung, setting == "drop")
			for _, wait := range said {
				wait()
			}
			good()

			st := n.status().SIP
			t.Logf("dropped %v before, %v after", before.Dropped, st.Dropped)
			counted := func(reason string, least uint64) {
				if got := st.Dropped[reason] - before.Dropped[reason]; got < least {
					t.Errorf("%d connections or messages are counted as %s, want %d at least", got, reason, least)
				}
			}
			counted("garbage", 1)
			if setting == "drop" {
				counted("unknown_source", hungStrangers) // closed before a word was said
				counted("handshake", hungBroken)
			} else {
				counted("handshake", hungBroken+8)
				counted("too_many", hungStrangers-64) // there are so many places
			}
			named := 0
			for _, line := range n.log.with("a TLS connection came to nothing") {
				if from := netip.MustParseAddrPort(field(line, "from")).Addr(); from.Less(p.ip(200)) {
					named++
				}
			}
			if named > 1 {
				t.Errorf("the log names %d strangers whose handshake came to nothing, want one: else they can fill it", named)
			}
			eventually(t, 5*time.Second, "no connection of theirs is left", func() bool { return n.status().SIP.Connections <= 1 })
			n.empty(5 * time.Second)
		})
	}
}

// sealedStage is where carriers and strangers meet a node by TLS.
type sealedStage struct {
	t       *testing.T
	n       *node
	secure  *tls.Config // what a trunk shows
	strange *tls.Config // signed by nobody whom nines knows
}

// raw is a connection to the TLS port that has not said anything yet; nil where nines does not take it.
func (s *sealedStage) raw(host int) net.Conn {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(s.n.place.at(host, 0)), Timeout: 5 * time.Second}
	c, err := d.DialContext(s.t.Context(), "tcp", s.n.place.at(1, 5061).String())
	if err != nil {
		return nil
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// shaken is one that has shaken hands.
func (s *sealedStage) shaken(host int, cfg *tls.Config) (*tls.Conn, error) {
	raw := s.raw(host)
	if raw == nil {
		return nil, net.ErrClosed
	}
	cfg = cfg.Clone()
	cfg.ServerName = s.n.place.ip(1).String()
	c := tls.Client(raw, cfg)
	return c, c.HandshakeContext(s.t.Context())
}

// overSealed is a request as it is sent by TLS.
func (s *sealedStage) overSealed(method string, c net.Conn, d dialog) []byte {
	return bytes.Replace(overTCP(method, c, s.n.place, d), []byte("SIP/2.0/TCP"), []byte("SIP/2.0/TLS"), 1)
}

// pinged asks by a new connection whether nines is there, and gives what was answered.
func (s *sealedStage) pinged(host int, cfg *tls.Config) (string, error) {
	c, err := s.shaken(host, cfg)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := c.Write(s.overSealed("OPTIONS", c, dialog{})); err != nil {
		return "", err
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 4096)
	k, err := c.Read(answer)
	line, _, _ := strings.Cut(string(answer[:k]), "\r\n")
	return line, err
}

// begin has a carrier place calls until the function that it gives is called, which judges them. Every now and then it makes a new connection, too.
func (s *sealedStage) begin() (judge func()) {
	p := s.n.place
	carrier := phone(s.t, town.PhoneConfig{Name: "carrier", Addr: p.at(200, 5062), TCP: true, TLS: s.secure})
	ctx, stop := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	var placed, pinged atomic.Int32
	every := func(d time.Duration, do func()) {
		wg.Go(func() { // ends with stop
			pace := time.NewTicker(d)
			defer pace.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-pace.C:
					do()
				}
			}
		})
	}
	every(100*time.Millisecond, func() {
		placed.Add(1)
		if _, err := carrier.Place(town.Dial{URI: "sip:999@" + p.at(1, 5061).String(), Via: p.at(1, 5061), TCP: true, TalkFor: 200 * time.Millisecond}); err != nil {
			s.t.Error(err)
		}
	})
	every(300*time.Millisecond, func() {
		begin := time.Now()
		line, err := s.pinged(200, s.secure)
		if took := time.Since(begin); err != nil || line != "SIP/2.0 200 OK" || took > time.Second+late {
			s.t.Errorf("a trunk's new connection got %q, %v after %v; want 200 within a second", line, err, took)
		}
		pinged.Add(1)
	})
	tally := &callTally{}
	return func() {
		stop()
		wg.Wait()
		eventually(s.t, 10*time.Second, "every good call is over", func() bool {
			tally.sweep(carrier)
			return len(tally.placed) == int(placed.Load())
		})
		tally.judge(s.t, nil, 0, late)
		if placed.Load() < 20 || pinged.Load() < 5 {
			s.t.Errorf("only %d calls and %d connections meanwhile", placed.Load(), pinged.Load())
		}
		s.t.Logf("%d calls and %d new connections meanwhile\n%s", placed.Load(), pinged.Load(), histogram(tally.delays()))
	}
}

const (
	hungStrangers = 120 // connections
	hungBroken    = 20
)

// hang opens connections that never end their handshake: they say nothing, or begin as a client does.
func (s *sealedStage) hang() (hung []net.Conn) {
	open := func(host, i int) {
		c := s.raw(host)
		if c == nil {
			return // it is refused; the counters know
		}
		if i%2 == 1 {
			_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
		}
		hung = append(hung, c)
	}
	for i := range hungStrangers {
		open(60+i/6, i)
	}
	for i := range hungBroken {
		open(201, i)
	}
	return hung
}

// ends checks that nines has closed them: who is unknown at once, whoever is let in when a handshake has had its time.
func (s *sealedStage) ends(hung []net.Conn, drop bool) {
	begin := time.Now()
	for i, c := range hung {
		limit := 8 * time.Second
		if drop && i < len(hung)-hungBroken {
			limit = 2 * time.Second
		}
		_ = c.SetReadDeadline(begin.Add(limit))
		_, err := io.Copy(io.Discard, c)
		if isTimeout(err) { // if we had no turn meanwhile its end may lie there already
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err = io.Copy(io.Discard, c)
		}
		if isTimeout(err) {
			s.t.Errorf("connection %d from %v that never ends its handshake is still open", i, c.LocalAddr())
		}
	}
}

// isTimeout says that a connection was still open when the time was up.
func isTimeout(err error) bool {
	n, ok := err.(net.Error) //nolint:errorlint // of package net it is never wrapped
	return ok && n.Timeout()
}

// certificates tries who shows what: a partner must show one of ours, a carrier is known by its address and never fails for a certificate.
func (s *sealedStage) certificates() {
	none := s.secure.Clone()
	none.Certificates = nil
	old := s.secure.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for _, tt := range []struct {
		who  string
		host int
		cfg  *tls.Config
		want string
	}{
		{"a partner with a certificate", 202, s.secure, "SIP/2.0 200 OK"},
		{"a partner with a strange certificate", 202, s.strange, ""},
		{"a partner without a certificate", 202, none, ""},
		{"a carrier with a strange certificate", 200, s.strange, "SIP/2.0 200 OK"},
		{"a carrier without a certificate", 200, none, "SIP/2.0 200 OK"},
		{"a carrier with TLS of yesterday", 200, old, ""},
		{"a stranger with a certificate", 67, s.secure, ""},
		{"a stranger with a strange certificate", 67, s.strange, ""},
	} {
		before := s.n.status().SIP.Dropped["handshake"]
		line, err := s.pinged(tt.host, tt.cfg)
		if line != tt.want || (tt.want != "") != (err == nil) {
			s.t.Errorf("%s got %q, %v; want %q", tt.who, line, err, tt.want)
		}
		if known := tt.host >= 200; known && tt.want == "" {
			eventually(s.t, 2*time.Second, tt.who+" is counted", func() bool { return s.n.status().SIP.Dropped["handshake"] > before })
		}
	}
}

// nonsense is what somebody sends when the handshake is over, each by a connection of its own, from the same host or from the next. When it returns all have
// shaken hands; what it gives waits until they have done.
func (s *sealedStage) nonsense(who string, host, next int) (wait func()) {
	wrong := func(length string) func(net.Conn) []byte {
		return func(c net.Conn) []byte {
			return bytes.Replace(s.overSealed("OPTIONS", c, dialog{}), []byte("Content-Length: 0"), []byte("Content-Length: "+length), 1)
		}
	}
	text := func(text string) func(net.Conn) []byte { return func(net.Conn) []byte { return []byte(text) } }
	var wg sync.WaitGroup
	for _, tt := range []struct {
		what   string
		say    func(net.Conn) []byte
		again  string // and goes on with this for as long as it may
		closed bool
	}{
		{"a negative length", wrong("-1"), "", false},
		{"a length that is no number", wrong("many"), "", false},
		{"a length of four gigabytes", wrong("4294967297"), strings.Repeat("z", 4096), true},
		{"a length of many digits", wrong(strings.Repeat("9", 200)), "", false},
		{"a body of a gigabyte", text("INVITE sip:999@x SIP/2.0\r\nVia: SIP/2.0/TLS x;branch=z9hG4bKx\r\nContent-Length: 1000000000\r\n\r\n"), strings.Repeat("z", 4096), true},
		{"a header without end", text("INVITE sip:999@x SIP/2.0\r\nX: "), strings.Repeat("y", 4096), true},
		{"bytes of no protocol", text("\x00\xff\x17"), strings.Repeat("\x00\xff\x17", 1000), true},
		{"a second handshake", text("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), strings.Repeat("\x16\x03\x01", 1000), true},
		{"HTTP", text("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false},
	} {
		from := host
		host += next
		c, err := s.shaken(from, s.secure)
		if err != nil {
			s.t.Fatalf("%s: %s does not get through the handshake: %v", tt.what, who, err)
		}
		wg.Go(func() { // ends when nines closes the connection, or with its deadline
			defer c.Close()
			_, err := c.Write(tt.say(c))
			for sent := 0; tt.again != "" && err == nil && sent < 32<<20; sent += len(tt.again) {
				_, err = io.WriteString(c, tt.again)
			}
			if tt.closed && (err == nil || isTimeout(err)) {
				s.t.Errorf("%s: writing of %s ended with %v; want the connection closed by nines", tt.what, who, err)
			}
			answers, _ := io.ReadAll(io.LimitReader(deadline{c, 500 * time.Millisecond}, 1<<20))
			most := 1
			if from < 200 {
				most = 0 // a stranger hears nothing
			}
			if got := bytes.Count(answers, []byte("SIP/2.0 200")); got > most {
				s.t.Errorf("%s of %s got %d answers", tt.what, who, got)
			}
		})
	}
	c, err := s.shaken(host, s.secure)
	if err != nil {
		s.t.Fatalf("%s does not get through the handshake: %v", who, err)
	}
	wg.Go(func() { // ends when it has had its time
		defer c.Close()
		var err error
		crumbs, limit := 40, 2*time.Second
		if soaking {
			crumbs, limit = 400, 15*time.Second // a message has ten seconds
		}
		begin := time.Now()
		for _, b := range s.overSealed("OPTIONS", c, dialog{extra: "X: " + strings.Repeat("y", crumbs) + "\r\n"})[:crumbs] {
			if _, err = c.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(begin); soaking && (err == nil || took > limit) {
			s.t.Errorf("a message of %s that crawls ended with %v after %v; want the connection closed after 10 s", who, err, took)
		}
	})
	return wg.Wait
}
