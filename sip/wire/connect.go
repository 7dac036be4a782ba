package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// dialKey is what a connection in the making is found by.
type dialKey struct {
	peer
	local netip.Addr
	name  string // that the certificate must show
}

// dial is a connection in the making and those who wait for it.
type dial struct {
	key     dialKey
	cfg     *tls.Config
	waiters map[*waiter]struct{}
	cancel  context.CancelFunc
}

// waiter is one call of Connect.
type waiter struct {
	done      func(Flow, error)
	limit     *time.Timer
	handshake time.Duration
}

// Connect is [Stack.ConnectTo] for a peer that needs no certificate.
func (s *Stack) Connect(proto Proto, local netip.Addr, remote netip.AddrPort, limit time.Duration, done func(Flow, error)) {
	s.ConnectTo(Target{Proto: proto, Local: local, Remote: remote, Limit: limit}, done)
}

// ConnectTo finds or makes a connection. A live one is used again, one that is being dialled is shared, each caller with its own limit. done is
// called once, from another goroutine, and not after the connection was reported Closed.
func (s *Stack) ConnectTo(to Target, done func(Flow, error)) {
	if to.Limit <= 0 {
		to.Limit = 10 * time.Second
	}
	if to.Handshake <= 0 {
		to.Handshake = to.Limit
	}
	if !to.Local.IsValid() && to.Proto.Stream() {
		to.Local = s.departure(to.Proto, to.Side, to.Remote.Addr().Unmap())
	}
	key := to.key()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		go done(Flow{}, net.ErrClosed)
		return
	case !to.Proto.Stream():
		s.wg.Go(func() { done(Flow{}, fmt.Errorf("connect %s %s: %w", to.Proto, to.Remote, errors.ErrUnsupported)) })
		return
	case to.Proto == TLS && to.TLS == nil:
		s.wg.Go(func() { done(Flow{}, fmt.Errorf("connect %s %s: %w", to.Proto, to.Remote, ErrNoTLS)) })
		return
	}
	if st := s.live(key); st != nil {
		s.wg.Go(func() {
			if !st.tell(done) { // it ended this moment
				s.ConnectTo(to, done)
			}
		})
		return
	}
	d := s.dials[key]
	if d == nil {
		ctx, cancel := context.WithCancel(s.ctx)
		d = &dial{key: key, cfg: to.TLS, waiters: make(map[*waiter]struct{}), cancel: cancel}
		s.dials[key] = d
		s.wg.Go(func() { s.dial(ctx, d) }) // ended by cancel, or by the end of the connection
	}
	w := &waiter{done: done, handshake: to.Handshake}
	d.waiters[w] = struct{}{}
	w.limit = time.AfterFunc(to.Limit, func() { s.giveUp(d, w) })
}

func (t *Target) key() dialKey {
	return dialKey{peer{t.Proto, netip.AddrPortFrom(t.Remote.Addr().Unmap(), t.Remote.Port())}, t.Local.Unmap(), t.name()}
}

// Live finds a connection that is there already; it makes none.
func (s *Stack) Live(to Target) (Flow, bool) {
	if !to.Local.IsValid() {
		to.Local = s.departure(to.Proto, to.Side, to.Remote.Addr().Unmap())
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if st := s.live(to.key()); st != nil {
		return st.flow, true
	}
	return Flow{}, false
}

// maxAliases bounds what one connection can be found by.
const maxAliases = 4

// Alias has a connection that came in found by the port that its far end says that it listens on (RFC 5923 §5): what is sent to there goes by it, and none is
// dialled. The address stays the one that it comes from. Whether the far end may ask for that is the caller's to judge; by TLS the name in its certificate
// must be the one that the dial would have wanted.
func (s *Stack) Alias(f Flow, port uint16) {
	p := peer{f.Proto, netip.AddrPortFrom(f.Remote.Addr().Unmap(), port)}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[f.Conn]
	if st == nil || !st.place.source.IsValid() || len(st.aliases) == maxAliases || slices.Contains(s.peers[p], st) {
		return
	}
	st.aliases = append(st.aliases, p)
	s.peers[p] = append(s.peers[p], st)
}

// live finds a connection to use again.
func (s *Stack) live(key dialKey) *stream {
	for _, st := range s.peers[key.peer] {
		if (!key.local.IsValid() || key.local == st.flow.Local.Addr()) && key.name == st.flow.Name && st.alive() && !st.doubted.Load() {
			return st
		}
	}
	return nil
}

// tell gives the stream's flow to a caller of Connect; false when it has ended.
func (st *stream) tell(done func(Flow, error)) bool {
	st.telling.Lock()
	defer st.telling.Unlock()
	if st.ended || !st.alive() {
		return false
	}
	done(st.flow, nil)
	return true
}

// giveUp ends one caller's waiting; the dial ends with the last of them.
func (s *Stack) giveUp(d *dial, w *waiter) {
	s.mu.Lock()
	_, waiting := d.waiters[w]
	delete(d.waiters, w)
	if len(d.waiters) == 0 {
		d.cancel()
		if s.dials[d.key] == d {
			delete(s.dials, d.key) // the next caller dials anew
		}
	}
	s.mu.Unlock()
	if waiting {
		w.done(Flow{}, fmt.Errorf("connect %s %s: %w", d.key.proto, d.key.remote, context.DeadlineExceeded))
	}
}

// dial makes the connection, tells those who still wait, and reads it to its end.
func (s *Stack) dial(ctx context.Context, d *dial) {
	defer d.cancel()
	conn, err := s.net.Dial(ctx, d.key.local, d.key.remote)
	raw := conn
	if err == nil && d.key.proto == TLS {
		if conn, err = s.dialTLS(ctx, d, raw); err != nil {
			_ = raw.Close()
		}
	}
	var st *stream
	if err == nil {
		if st = s.adopt(conn, raw, d.key.proto, d.key.name, place{}); st == nil {
			err = net.ErrClosed
		}
	}
	s.mu.Lock()
	if s.dials[d.key] == d {
		delete(s.dials, d.key)
	}
	waiters := d.waiters
	d.waiters = nil
	s.mu.Unlock()
	for w := range waiters {
		w.limit.Stop()
		if err != nil {
			w.done(Flow{}, fmt.Errorf("connect %s %s: %w", d.key.proto, d.key.remote, err))
		} else {
			w.done(st.flow, nil)
		}
	}
	if st != nil {
		s.count.streamsDialled.Add(1)
		s.wg.Go(st.write) // ended by fail
		st.read()
	}
}
