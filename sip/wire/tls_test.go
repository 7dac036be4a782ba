package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"nines/internal/town/certs"
)

// secured is a node that listens on TLS with a certificate for its name.
func secured(t *testing.T, ca *certs.Authority, cfg Config) *node {
	t.Helper()
	own := ca.Issue("rooms.example")
	if cfg.TLS.Config == nil {
		cfg.TLS.Config = func(netip.AddrPort) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: ca.Pool(), ClientAuth: tls.VerifyClientCertIfGiven}
		}
	}
	if cfg.TLS.Name == nil {
		cfg.TLS.Name = func(cs tls.ConnectionState) string {
			if len(cs.VerifiedChains) == 0 {
				return ""
			}
			return cs.PeerCertificates[0].DNSNames[0]
		}
	}
	if cfg.SlowHandshake == 0 {
		cfg.SlowHandshake = patience // ours, not the peer's: this machine may be slow
	}
	cfg.Listen = []Listen{{Proto: TLS, Addr: netip.MustParseAddrPort("127.0.0.1:0")}}
	return start(t, cfg)
}

func connectTo(t *testing.T, n *node, to Target) (Flow, error) {
	t.Helper()
	type answer struct {
		flow Flow
		err  error
	}
	got := make(chan answer, 1)
	if to.Limit == 0 {
		to.Limit = patience
	}
	n.ConnectTo(to, func(f Flow, err error) { got <- answer{f, err} })
	a := await(t, got, "the end of a dial")
	return a.flow, a.err
}

func TestTLSCarriesMessagesBothWaysAndSaysWhoThePeerIs(t *testing.T) {
	ca := certs.New("ca")
	a, b := secured(t, ca, Config{}), secured(t, ca, Config{})
	to := Target{Proto: TLS, Remote: b.at(TLS), TLS: &tls.Config{ServerName: "rooms.example", RootCAs: ca.Pool(), Certificates: []tls.Certificate{ca.Issue("carrier.example")}}}
	f, err := connectTo(t, a, to)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	if f.Proto != TLS || f.Name != "rooms.example" {
		t.Errorf("the flow is %s of %q, want TLS of rooms.example, the name that was verified", f.Proto, f.Name)
	}
	a.Send([]Out{{Flow: f, Data: []byte(options(1))}, {Flow: f, Data: []byte(options(2))}})
	first := await(t, b.packets, "the first request")
	await(t, b.packets, "the second request")
	if first.Flow.Proto != TLS || first.Flow.Name != "carrier.example" {
		t.Errorf("the request came by %s from %q, want TLS from carrier.example, as its certificate says", first.Flow.Proto, first.Flow.Name)
	}
	b.Send([]Out{{Flow: first.Flow, Data: []byte(options(3))}})
	if back := await(t, a.packets, "what goes back"); back.Flow != f {
		t.Errorf("it came back by %v, want the connection that was dialled: %v", back.Flow, f)
	}
	again, err := connectTo(t, a, to)
	if err != nil || again != f {
		t.Errorf("a second dial gives %v (%v), want the connection that is there", again, err)
	}
	if live, ok := a.Live(to); !ok || live != f {
		t.Errorf("live gives %v, %t, want the connection", live, ok)
	}
	to.TLS = &tls.Config{ServerName: "127.0.0.1", RootCAs: ca.Pool()}
	if other, err := connectTo(t, a, to); err == nil {
		t.Errorf("a connection that was verified for another name was used again: %v", other)
	}
}

func TestWhoIsNotTheNameInTheURIIsNoPeer(t *testing.T) {
	ca := certs.New("ca")
	a, b := secured(t, ca, Config{}), secured(t, ca, Config{})
	for what, cfg := range map[string]*tls.Config{
		"another name":      {ServerName: "elsewhere.example", RootCAs: ca.Pool()},
		"another authority": {ServerName: "rooms.example", RootCAs: certs.New("other").Pool()},
		"an old version":    {ServerName: "rooms.example", RootCAs: ca.Pool(), MaxVersion: tls.VersionTLS11},
	} {
		if f, err := connectTo(t, a, Target{Proto: TLS, Remote: b.at(TLS), TLS: cfg}); err == nil {
			t.Errorf("%s: connected by %v, want a refusal", what, f)
		}
	}
}

func TestANewCertificateCountsFromTheNextConnectionOn(t *testing.T) {
	ca := certs.New("ca")
	var now atomic.Pointer[tls.Certificate]
	b := secured(t, ca, Config{TLS: ServerTLS{Config: func(netip.AddrPort) *tls.Config {
		if c := now.Load(); c != nil {
			return &tls.Config{Certificates: []tls.Certificate{*c}}
		}
		return nil
	}}})
	serial := func() (string, error) {
		c, err := tls.Dial("tcp", b.at(TLS).String(), &tls.Config{ServerName: "rooms.example", RootCAs: ca.Pool()})
		if err != nil {
			return "", err
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
	}
	if _, err := serial(); err == nil {
		t.Error("a node without a certificate shook hands")
	}
	for range 2 {
		present := ca.Issue("rooms.example")
		now.Store(&present)
		if got, err := serial(); err != nil || got != present.Leaf.SerialNumber.String() {
			t.Errorf("the certificate is %s (%v), want the present one %s", got, err, present.Leaf.SerialNumber)
		}
	}
}

func TestAHandshakeThatHangsIsClosedAndCounted(t *testing.T) {
	ca := certs.New("ca")
	failed := make(chan error, 10)
	cfg := Config{SlowHandshake: 50 * time.Millisecond, MaxStreamsPerSource: 1}
	cfg.TLS.Failed = func(_ netip.AddrPort, err error) { failed <- err }
	b := secured(t, ca, cfg)
	for range 2 { // the place of the first must be free again for the second
		c, err := net.Dial("tcp", b.at(TLS).String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.ErrNoProgress) {
			t.Error("a peer that says nothing was answered")
		}
		if err := await(t, failed, "word of the failed handshake"); err == nil {
			t.Error("the handshake failed without a reason")
		}
		_ = c.Close()
	}
	if got := b.Counters().Handshakes; got != 2 {
		t.Errorf("%d failed handshakes are counted, want 2", got)
	}
}

func TestAPeerThatConnectsAndDoesNotShakeHandsCostsTheHandshakesLimit(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a := secured(t, certs.New("ca"), Config{})
	began := time.Now()
	_, err = connectTo(t, a, Target{Proto: TLS, Remote: addrPort(ln.Addr()), TLS: &tls.Config{ServerName: "x"}, Limit: 30 * time.Second, Handshake: 50 * time.Millisecond})
	if err == nil || time.Since(began) > 20*time.Second {
		t.Errorf("the dial ended with %v after %s, want an error after the handshake's own limit", err, time.Since(began))
	}
}

// BenchmarkTLSConnect is a connection with certificates of both sides, until its first message has arrived.
func BenchmarkTLSConnect(b *testing.B) {
	ca := certs.New("ca")
	own, peer := ca.Issue("rooms.example"), ca.Issue("carrier.example")
	r := newRecorder()
	s, err := Open(Config{
		Listen: []Listen{{Proto: TLS, Addr: netip.MustParseAddrPort("127.0.0.1:0")}}, MaxStreams: 1 << 20, MaxStreamsPerSource: 1 << 20,
		TLS: ServerTLS{Config: func(netip.AddrPort) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
		}},
	}, r)
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Run(b.Context()) }() // ends with the benchmark
	client := &tls.Config{ServerName: "rooms.example", RootCAs: ca.Pool(), Certificates: []tls.Certificate{peer}}
	for b.Loop() {
		c, err := tls.Dial("tcp", s.Listeners()[0].Addr.String(), client)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(c, options(1)); err != nil {
			b.Fatal(err)
		}
		<-r.packets
		_ = c.Close()
		<-r.ends
	}
}

// TestAHandshakeThatHangsMakesWayForAnotherGuest: strangers who connect and say nothing keep no other stranger out, whose call may be an emergency.
func TestAHandshakeThatHangsMakesWayForAnotherGuest(t *testing.T) {
	ca := certs.New("ca")
	cfg := Config{MaxGuests: 2, MaxGuestsPerSource: 64, Guest: func(netip.AddrPort) bool { return true }}
	failed := make(chan error, 100)
	cfg.TLS.Failed = func(_ netip.AddrPort, err error) { failed <- err }
	b := secured(t, ca, cfg)
	var hung []net.Conn
	for range 10 {
		c, err := net.Dial("tcp", b.at(TLS).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		hung = append(hung, c)
	}
	for range 3 { // each goes its way
		c, err := tls.Dial("tcp", b.at(TLS).String(), &tls.Config{ServerName: "rooms.example", RootCAs: ca.Pool()})
		if err != nil {
			t.Fatalf("beside handshakes that hang a stranger has no place: %v", err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, options(1)); err != nil {
			t.Fatal(err)
		}
		await(t, b.packets, "what a stranger says")
	}
	for i, c := range hung {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		var timeout net.Error
		if _, err := c.Read(make([]byte, 1)); errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("handshake %d hangs and keeps its place", i)
		}
	}
	await(t, b.ends, "the end of the first stranger, who has made way for the third: only then it is not counted any more")
	if got := b.Counters(); got.StreamsOpen != 2 || got.Handshakes != 0 || len(failed) != 0 {
		t.Errorf("%d connections are open, %d handshakes failed, and of %d it was told; want 2, none, none: they made way", got.StreamsOpen, got.Handshakes, len(failed))
	}
}
