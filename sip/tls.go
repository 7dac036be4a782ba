package sip

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"nines/policy"
	"nines/sip/wire"
)

// TLS is what a node shows and whom it trusts. A reload swaps it whole; the next connection counts.
type TLS struct {
	Certificate *tls.Certificate // ours, to callers and endpoints; nil: none, and nobody can connect to us by TLS
	Partners    *x509.CertPool   // signs the certificates that partners must show when they connect; nil: none is asked for
	Roots       *x509.CertPool   // signs the certificates of endpoints; nil: whom the system trusts
}

// handshakeLimit is what a TLS handshake may take after the connection: with it and connectLimit an endpoint has spent the usual patience.
const handshakeLimit = 800 * time.Millisecond

// expiredAgain is how often it is said that somebody's certificate has expired, or that a handshake failed.
const expiredAgain = time.Hour

var (
	errNoCertificate = errors.New("it showed no certificate")
	errWrongName     = errors.New("its certificate is for another name")
)

// tlsConfigs are a Routing's TLS made ready.
type tlsConfigs struct {
	open     *tls.Config // for carriers and PBXes, whom their address has shown; nil: no certificate of ours
	partners *tls.Config // for partners
}

func (s *Server) compileTLS(t TLS) tlsConfigs {
	if t.Certificate == nil {
		return tlsConfigs{}
	}
	base := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*t.Certificate}}
	if t.Partners == nil {
		return tlsConfigs{open: base, partners: base}
	}
	open, partners := base.Clone(), base.Clone()
	open.ClientAuth = tls.RequestClientCert // whoever shows one is named in the flow; who shows none, or a strange one, is still a trunk
	partners.ClientAuth = tls.RequireAnyClientCert
	partners.VerifyConnection = func(cs tls.ConnectionState) error {
		_, err := s.verify(cs, t.Partners, "", x509.ExtKeyUsageClientAuth)
		return err
	}
	return tlsConfigs{open: open, partners: partners}
}

// serverTLS picks the configuration for a connection that comes in.
func (s *Server) serverTLS(remote netip.AddrPort) *tls.Config {
	r := s.routing.Load()
	if a := remote.Addr().Unmap(); s.known.Load().partners[a] {
		return r.tls.partners
	} else if t := r.trunk(a); t != nil && t.Kind == policy.Aid {
		return r.tls.partners
	}
	return r.tls.open
}

// peerName is the name in a caller's certificate, if one of ours has signed it.
func (s *Server) peerName(cs tls.ConnectionState) string {
	roots := s.routing.Load().TLS.Partners
	if roots == nil || len(cs.PeerCertificates) == 0 {
		return ""
	}
	name, err := s.verify(cs, roots, "", x509.ExtKeyUsageClientAuth)
	if err != nil {
		return ""
	}
	return name
}

// clientTLS is the configuration for connections to a name. With an empty one the chain is not checked either: it is for somebody who has called us and
// whom we call back at his address, as safe as TCP is.
func (s *Server) clientTLS(t TLS, name string) *tls.Config {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: name,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, and takes a certificate whose time is over
	}
	if t.Certificate != nil {
		cfg.Certificates = []tls.Certificate{*t.Certificate}
	}
	if name != "" {
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			_, err := s.verify(cs, t.Roots, name, x509.ExtKeyUsageServerAuth)
			return err
		}
	}
	return cfg
}

// verify checks a peer's certificate: its chain, and the name if one is given. One whose time is over is taken and said loudly: a call must not fail for
// a date (R2).
func (s *Server) verify(cs tls.ConnectionState, roots *x509.CertPool, name string, usage x509.ExtKeyUsage) (string, error) {
	if len(cs.PeerCertificates) == 0 {
		return "", errNoCertificate
	}
	leaf := cs.PeerCertificates[0]
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{usage}}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(opts)
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		for _, at := range [...]time.Time{leaf.NotAfter, leaf.NotBefore} { // when its authority was valid, whichever of the two has expired
			opts.CurrentTime = at
			if _, err = leaf.Verify(opts); err == nil {
				s.expired(leaf)
				break
			}
		}
	}
	if err != nil {
		return "", err
	}
	if name == "" {
		return certificateName(leaf), nil
	}
	if !isFor(leaf, name) {
		return "", fmt.Errorf("%w: not %s, but %s", errWrongName, name, certificateName(leaf))
	}
	return name, nil
}

// isFor says that a certificate is for a name or an address, also as a SIP domain (RFC 5922 §7.1).
func isFor(c *x509.Certificate, name string) bool {
	if c.VerifyHostname(name) == nil {
		return true
	}
	for _, u := range c.URIs {
		if strings.EqualFold(u.Scheme, "sip") && strings.EqualFold(u.Opaque, name) {
			return true
		}
	}
	return false
}

// certificateName is who a certificate says that it is for (RFC 5922 §7.1).
func certificateName(c *x509.Certificate) string {
	for _, u := range c.URIs {
		if strings.EqualFold(u.Scheme, "sip") && u.Opaque != "" {
			return u.Opaque
		}
	}
	switch {
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return c.Subject.CommonName
}

func (s *Server) expired(c *x509.Certificate) {
	name := certificateName(c)
	if s.said.again(name) {
		s.log.Error().Str("certificate", name).Time("expired", c.NotAfter).Msg("a peer's certificate has expired: it is taken all the same, have it renewed")
	}
}

// handshakeFailed says why somebody could not connect by TLS.
func (s *Server) handshakeFailed(remote netip.AddrPort, err error) {
	who := remote.Addr().String()
	if s.isGuest(remote) {
		who = "a stranger" // of a million of them one is named; the counter knows the others
	}
	if s.said.again(who) {
		s.log.Warn().Stringer("from", remote).AnErr("error", err).Msg("a TLS connection came to nothing")
	}
}

// sayings keeps what is said over and over from filling the log.
type sayings struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// maxSayings bounds what strangers can make us remember.
const maxSayings = 256

// again says that something may be said again.
func (y *sayings) again(what string) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	now := time.Now()
	if at, ok := y.last[what]; ok && now.Sub(at) < expiredAgain {
		return false
	}
	if y.last == nil || len(y.last) >= maxSayings {
		y.last = map[string]time.Time{}
	}
	y.last[what] = now
	return true
}

// to is a connection to an address of an endpoint.
func (e *endpoint) to(proto wire.Proto, addr netip.AddrPort) wire.Target {
	return wire.Target{Proto: proto, Side: e.Via, Remote: addr, TLS: e.tls, Limit: connectLimit, Handshake: handshakeLimit}
}

// back is a connection to a party whose own is gone: an endpoint's certificate is checked, a caller's is not.
func (s *Server) back(p *party, proto wire.Proto, addr netip.AddrPort, limit time.Duration) wire.Target {
	to := wire.Target{Proto: proto, Side: s.via(p.flow), Remote: addr, Limit: limit, Handshake: max(limit, handshakeLimit)}
	switch {
	case proto != wire.TLS:
	case p.ep != nil:
		to.TLS = p.ep.tls
	default:
		to.TLS = s.clientTLS(s.routing.Load().TLS, "")
	}
	return to
}
