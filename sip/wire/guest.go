package wire

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// ErrCrowded is why a guest was closed: another needed its place.
var ErrCrowded = errors.New("another stranger needed the place")

// place is what an accepted connection takes up; the zero value is one that we dialled.
type place struct {
	source netip.Addr
	guest  bool // it is counted apart: guests never use up the places of those who are known
}

// admit gives a connection that came in a place; false when there is none. A guest gets that of the guest who has said nothing for longest.
func (s *Stack) admit(p place) bool {
	s.mu.Lock()
	mostOfSource, full := s.cfg.MaxStreamsPerSource, s.accepted >= s.cfg.MaxStreams
	var leaves guest
	if p.guest {
		mostOfSource, full = s.cfg.MaxGuestsPerSource, false
		if s.guests >= s.cfg.MaxGuests {
			leaves = s.idlest()
			full = leaves == nil
		}
	}
	if s.closed || full || s.sources[p.source] >= mostOfSource {
		s.mu.Unlock()
		return false
	}
	s.sources[p.source]++
	if leaves != nil {
		s.left(*leaves.seat())
		*leaves.seat() = place{}
	}
	if p.guest {
		s.guests++
	} else {
		s.accepted++
	}
	s.mu.Unlock()
	if leaves != nil {
		s.count.streamsRefused.Add(1)
		leaves.makeWay()
	}
	return true
}

// guest is a connection of a stranger, who may have to make way for another: a stream, or a greeting.
type guest interface {
	seat() *place  // zero once another has it; guarded by Stack.mu
	spoken() int64 // when it last said something that was let in, or else when it came; Unix nanoseconds
	makeWay()
}

func (st *stream) seat() *place { return &st.place }

func (st *stream) spoken() int64 { return max(st.useful.Load(), st.born) }

func (st *stream) makeWay() { st.fail(ErrCrowded) }

// greeting is the TLS handshake of an accepted connection, which is no stream yet.
type greeting struct {
	conn  net.Conn
	place place
	born  int64 // Unix nanoseconds
}

func (g *greeting) seat() *place { return &g.place }

func (g *greeting) spoken() int64 { return g.born }

func (g *greeting) makeWay() { reset(g.conn) }

// greet notes a handshake that begins; ended takes it back.
func (s *Stack) greet(conn net.Conn, p place) *greeting {
	g := &greeting{conn: conn, place: p, born: time.Now().UnixNano()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.guest {
		s.greetings[g] = struct{}{}
	}
	return g
}

// ended gives the place that a handshake has kept; false: it had to make way.
func (s *Stack) ended(g *greeting) (place, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.greetings, g)
	return g.place, g.place.source.IsValid()
}

// idlest is the guest who has said nothing for longest, but for those that are kept; nil: there is none. The caller holds s.mu.
func (s *Stack) idlest() guest {
	var first *stream
	for _, st := range s.streams {
		if !st.place.guest || st.kept {
			continue
		}
		if first == nil || st.spoken() < first.spoken() || st.spoken() == first.spoken() && st.flow.Conn < first.flow.Conn {
			first = st
		}
	}
	var found guest
	if first != nil {
		found = first
	}
	for g := range s.greetings {
		if g.place.guest && (found == nil || g.spoken() < found.spoken()) {
			found = g
		}
	}
	return found
}

// Keep says that a guest's connection carries a call: its place goes to nobody else.
func (s *Stack) Keep(f Flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[f.Conn]; st != nil {
		st.kept = true
	}
}

// lets says whether a message of a guest may go on. It is asked for each: the connection was accepted before it said anything.
func (st *stream) lets(data []byte, now time.Time) bool {
	if !st.guest {
		return true
	}
	if !st.s.cfg.Accept(st.flow.Remote, st.flow.Proto, data) {
		st.s.count.notAccepted.Add(1)
		return false
	}
	st.useful.Store(now.UnixNano())
	return true
}

// leave takes back an admit.
func (s *Stack) leave(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left(p)
}

// left is leave; the caller holds s.mu.
func (s *Stack) left(p place) {
	if !p.source.IsValid() {
		return
	}
	if p.guest {
		s.guests--
	} else {
		s.accepted--
	}
	if s.sources[p.source]--; s.sources[p.source] == 0 {
		delete(s.sources, p.source)
	}
}
