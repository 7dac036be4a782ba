package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// dialKey is what a connection in the making is found by.
type dialKey struct {
	peer
	local netip.Addr
}

// dial is a connection in the making and those who wait for it.
type dial struct {
	key     dialKey
	waiters map[*waiter]struct{}
	cancel  context.CancelFunc
}

// waiter is one call of Connect.
type waiter struct {
	done  func(Flow, error)
	limit *time.Timer
}

// Connect finds or makes a connection to remote. A live one is used again, one that is being dialled is shared, each caller with its own limit.
// The zero local lets the routing table choose; limit 0 means 10 s. done is called once, from another goroutine, and not after the connection was
// reported Closed.
func (s *Stack) Connect(proto Proto, local netip.Addr, remote netip.AddrPort, limit time.Duration, done func(Flow, error)) {
	if limit <= 0 {
		limit = 10 * time.Second
	}
	if !local.IsValid() && proto == TCP {
		local = s.departure(remote.Addr().Unmap())
	}
	key := dialKey{peer{proto, netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())}, local.Unmap()}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		go done(Flow{}, net.ErrClosed)
		return
	case proto != TCP:
		s.wg.Go(func() { done(Flow{}, fmt.Errorf("connect %s %s: %w", proto, remote, errors.ErrUnsupported)) })
		return
	}
	if st := s.live(key); st != nil {
		s.wg.Go(func() {
			if !st.tell(done) { // it ended this moment
				s.Connect(proto, local, remote, limit, done)
			}
		})
		return
	}
	d := s.dials[key]
	if d == nil {
		ctx, cancel := context.WithCancel(s.ctx)
		d = &dial{key: key, waiters: make(map[*waiter]struct{}), cancel: cancel}
		s.dials[key] = d
		s.wg.Go(func() { s.dial(ctx, d) }) // ended by cancel, or by the end of the connection
	}
	w := &waiter{done: done}
	d.waiters[w] = struct{}{}
	w.limit = time.AfterFunc(limit, func() { s.giveUp(d, w) })
}

// live finds a connection to use again.
func (s *Stack) live(key dialKey) *stream {
	for _, st := range s.peers[key.peer] {
		if (!key.local.IsValid() || key.local == st.flow.Local.Addr()) && st.alive() && !st.doubted.Load() {
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
	var st *stream
	if err == nil {
		if st = s.adopt(conn, netip.Addr{}); st == nil {
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
