package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"
)

// ErrNoTLS says that there is no TLS to be spoken with a peer: no certificate of ours, or none to check theirs against.
var ErrNoTLS = errors.New("no TLS for this peer")

// PeerName tells the name that a verified certificate shows. It is kept in the flow; empty: the peer showed none that counts.
type PeerName func(tls.ConnectionState) string

// ServerTLS is how connections that come in are secured. The functions run on connection goroutines and must be safe for concurrent use.
type ServerTLS struct {
	// Config is asked for each new connection, so that a new certificate counts from the next one on; nil refuses it.
	Config func(remote netip.AddrPort) *tls.Config
	// Name tells who the peer is.
	Name PeerName
	// Failed is told why a handshake came to nothing; nil tells nobody.
	Failed func(remote netip.AddrPort, err error)
}

// secure makes an accepted connection a TLS stream, or closes it.
func (s *Stack) secure(g *greeting) {
	conn := g.conn
	remote := addrPort(conn.RemoteAddr())
	secured, name, err := s.shake(conn, remote)
	p, stays := s.ended(g)
	if !stays {
		return // it is closed: another stranger has its place
	}
	if err != nil {
		s.count.handshakes.Add(1)
		s.leave(p)
		reset(conn)
		if s.cfg.TLS.Failed != nil {
			s.cfg.TLS.Failed(remote, err)
		}
		return
	}
	if st := s.adopt(secured, conn, TLS, name, p); st != nil {
		s.count.streamsAccepted.Add(1)
		s.wg.Go(st.write) // ended by fail
		st.read()
	}
}

func (s *Stack) shake(conn net.Conn, remote netip.AddrPort) (*tls.Conn, string, error) {
	var cfg *tls.Config
	if s.cfg.TLS.Config != nil {
		cfg = s.cfg.TLS.Config(remote)
	}
	if cfg == nil {
		return nil, "", ErrNoTLS
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.SlowHandshake)
	defer cancel()
	secured := tls.Server(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, "", err
	}
	name := ""
	if s.cfg.TLS.Name != nil {
		name = s.cfg.TLS.Name(secured.ConnectionState())
	}
	return secured, name, nil
}

// Target is who a connection leads to.
type Target struct {
	Proto  Proto
	Local  netip.Addr // where it leaves from; zero lets the routing table choose
	Side   string     // among the addresses of this side; empty: of all
	Remote netip.AddrPort

	// TLS is the configuration for this peer, with the name to verify as ServerName. A connection is used again only for the same name.
	TLS *tls.Config

	Limit     time.Duration // until it is connected; 0 means 10 s
	Handshake time.Duration // for the handshake that follows; 0 means the same again
}

func (t *Target) name() string {
	if t.Proto == TLS && t.TLS != nil {
		return t.TLS.ServerName
	}
	return ""
}

// dialTLS shakes hands on a connection that was dialled. From here those who wait give the handshake its own time.
func (s *Stack) dialTLS(ctx context.Context, d *dial, conn net.Conn) (net.Conn, error) {
	if d.cfg == nil {
		return nil, ErrNoTLS
	}
	s.mu.Lock()
	for w := range d.waiters {
		w.limit.Reset(w.handshake)
	}
	s.mu.Unlock()
	secured := tls.Client(conn, d.cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secured, nil
}
