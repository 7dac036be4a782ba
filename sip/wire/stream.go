package wire

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// stream is a TCP or TLS connection. Two goroutines own it: one reads and at the end says Closed, one writes what Send has queued.
type stream struct {
	s        *Stack
	conn     net.Conn
	raw      net.Conn // below TLS, else conn
	flow     Flow
	place    place // guarded by Stack.mu
	guest    bool
	kept     bool         // guarded by Stack.mu
	born     int64        // unix nanoseconds
	useful   atomic.Int64 // when a guest last said something that was let in
	lastSent atomic.Int64 // unix nanoseconds
	doubted  atomic.Bool  // it may be stuck; see Doubt
	aliases  []peer       // what it is found by besides; the stack's mutex guards it

	mu     sync.Mutex
	queue  [][]byte
	queued int // bytes in queue and in the writer's hands
	closed bool
	cause  error
	wake   chan struct{} // one token: the queue has something
	done   chan struct{} // closed with closed

	telling sync.Mutex // held while the sink or a caller of Connect is told of the stream's life or end
	ended   bool
}

// peer is what a live connection is found by.
type peer struct {
	proto  Proto
	remote netip.AddrPort
}

// accept takes connections until the listener closes.
func (s *Stack) accept(ln net.Listener, proto Proto) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.pause(10 * time.Millisecond) // out of file descriptors, most likely: the calls we have go on
			continue
		}
		remote := addrPort(conn.RemoteAddr())
		if !s.cfg.Accept(remote, proto, nil) {
			s.count.notAccepted.Add(1)
			reset(conn)
			continue
		}
		p := place{source: sourceOf(remote.Addr()), guest: s.cfg.Guest != nil && s.cfg.Guest(remote)}
		if !s.admit(p) {
			s.count.streamsRefused.Add(1)
			reset(conn)
			continue
		}
		if proto == TLS {
			g := s.greet(conn, p)
			s.wg.Go(func() { s.secure(g) }) // ended by the handshake's limit, then by the connection's end
			continue
		}
		if st := s.adopt(conn, conn, proto, "", p); st != nil {
			s.count.streamsAccepted.Add(1)
			s.wg.Go(st.write) // ended by fail
			s.wg.Go(st.read)  // ended by the connection's end
		}
	}
}

// pause waits, but not beyond the end of the stack.
func (s *Stack) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
}

// sourceOf is what connections are counted by: an IPv6 customer has a /64.
func sourceOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// reset closes without lingering in TIME-WAIT: a scanner must not fill our tables.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// adopt makes a connection a stream; nil, and the connection closed, when the stack is closing. The place, if any, was given by admit.
func (s *Stack) adopt(conn, raw net.Conn, proto Proto, name string, p place) *stream {
	now := time.Now().UnixNano()
	st := &stream{s: s, conn: conn, raw: raw, place: p, guest: p.guest, born: now, wake: make(chan struct{}, 1), done: make(chan struct{})}
	st.lastSent.Store(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = raw.Close()
		s.left(p)
		return nil
	}
	s.lastConn++
	st.flow = Flow{Proto: proto, Local: addrPort(raw.LocalAddr()), Remote: addrPort(raw.RemoteAddr()), Conn: s.lastConn, Name: name}
	s.streams[s.lastConn] = st
	at := peer{st.flow.Proto, st.flow.Remote}
	s.peers[at] = append(s.peers[at], st)
	return st
}

// forget takes a stream out of the tables.
func (s *Stack) forget(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st.flow.Conn)
	for _, p := range append(st.aliases, peer{st.flow.Proto, st.flow.Remote}) {
		s.peers[p] = slices.DeleteFunc(s.peers[p], func(o *stream) bool { return o == st })
		if len(s.peers[p]) == 0 {
			delete(s.peers, p)
		}
	}
	s.left(st.place)
}

// fail ends the stream; the first cause counts. The reader notices and says Closed.
func (st *stream) fail(cause error) {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return
	}
	st.closed, st.cause, st.queue = true, cause, nil
	st.mu.Unlock()
	close(st.done)
	switch {
	case errors.Is(cause, ErrStuck):
		st.s.count.streamsStuck.Add(1)
	case errors.Is(cause, ErrSlow):
		st.s.count.streamsSlow.Add(1)
	case errors.Is(cause, ErrIdle):
		st.s.count.streamsIdle.Add(1)
	case errors.Is(cause, ErrTooLarge):
		st.s.count.tooLarge.Add(1)
	case errors.Is(cause, ErrGarbage):
		st.s.count.garbage.Add(1)
	}
	_ = st.raw.Close() // not the TLS above it: its farewell may wait for a peer that takes nothing, and we may be a loop
}

func (st *stream) alive() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return !st.closed
}

// send queues messages. A queue that is full means a peer that takes nothing: it is closed, so that its owner can go elsewhere at once.
func (st *stream) send(outs []Out) {
	st.mu.Lock()
	for i := range outs {
		if st.closed {
			st.s.count.noFlow.Add(uint64(len(outs) - i))
			break
		}
		if st.queued += len(outs[i].Data); st.queued > st.s.cfg.StreamQueue {
			st.mu.Unlock()
			st.s.count.noFlow.Add(uint64(len(outs) - i))
			st.fail(ErrStuck)
			return
		}
		st.queue = append(st.queue, outs[i].Data)
		st.s.count.sent.Add(1)
	}
	st.mu.Unlock()
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// write puts what is queued on the connection until the stream fails.
func (st *stream) write() {
	var taken, spare [][]byte
	for {
		select {
		case <-st.wake:
		case <-st.done:
			return
		}
		st.mu.Lock()
		taken, st.queue = st.queue, spare[:0]
		st.mu.Unlock()
		spare = taken
		if len(taken) == 0 {
			continue
		}
		now := time.Now()
		st.lastSent.Store(now.UnixNano())
		_ = st.conn.SetWriteDeadline(now.Add(st.s.cfg.StuckStream)) // an error shows in the write
		buffers := net.Buffers(taken)
		n, err := buffers.WriteTo(st.conn)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = ErrStuck
			}
			st.fail(err)
			return
		}
		clear(spare)
		st.mu.Lock()
		st.queued -= int(n)
		st.mu.Unlock()
	}
}

// read hands messages to the sink until the connection ends, and says so.
func (st *stream) read() {
	st.fail(st.readAll())
	st.s.forget(st)
	st.telling.Lock()
	defer st.telling.Unlock()
	st.ended = true
	st.mu.Lock()
	cause := st.cause
	st.mu.Unlock()
	if st.guest && st.useful.Load() == 0 {
		return // nobody has heard of it, and each end is a search through all calls
	}
	st.s.sink.Closed(st.flow, cause)
}

func (st *stream) readAll() error {
	var (
		f     framer
		batch = make([]Packet, 0, 4)
		heard = time.Now() // the last byte
		began time.Time    // the first byte of a message that is not whole
	)
	for {
		deadline := st.idleAt(heard)
		if !began.IsZero() {
			deadline = began.Add(st.s.cfg.SlowMessage)
		}
		if err := st.conn.SetReadDeadline(deadline); err != nil {
			return err
		}
		n, err := st.conn.Read(f.space())
		if n > 0 {
			heard = time.Now()
			st.doubted.Store(false)
			f.took(n)
			whole, err := st.cut(&f, batch[:0], heard)
			if err != nil {
				return err
			}
			switch {
			case !f.partial():
				began = time.Time{}
			case began.IsZero() || whole:
				began = heard
			}
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			if errors.Is(err, io.EOF) {
				err = io.EOF
			}
			return err
		case !began.IsZero():
			return ErrSlow
		case !time.Now().Before(st.idleAt(heard)):
			return ErrIdle
		}
	}
}

// idleAt is when the connection counts as idle: nothing came, nothing went.
func (st *stream) idleAt(heard time.Time) time.Time {
	if st.guest && st.useful.Load() == 0 { // a stranger who connects has something to say
		return time.Unix(0, st.born).Add(st.s.cfg.SlowMessage)
	}
	if sent := time.Unix(0, st.lastSent.Load()); sent.After(heard) {
		heard = sent
	}
	return heard.Add(st.s.cfg.IdleStream)
}

// pong answers a ping.
var pong = []byte("\r\n")

// cut hands over what is whole in the buffer, and says whether anything was.
func (st *stream) cut(f *framer, batch []Packet, now time.Time) (whole bool, err error) {
	for {
		what, data, err := f.next()
		switch {
		case what == message && !st.lets(data, now):
		case what == message:
			batch = append(batch, Packet{Flow: st.flow, Data: data, At: now})
		case what == ping:
			st.s.count.keepAlives.Add(1)
			st.send([]Out{{Flow: st.flow, Data: pong}})
		}
		if stop := err != nil || what == more; stop && len(batch) > 0 || len(batch) == maxBatch {
			whole = true
			st.s.count.received.Add(uint64(len(batch)))
			st.s.sink.Packets(batch)
			clear(batch)
			batch = batch[:0]
		}
		if err != nil || what == more {
			return whole, err
		}
	}
}
