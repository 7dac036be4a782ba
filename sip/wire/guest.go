package wire

import (
	"errors"
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
	var leaves *stream
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
	switch {
	case leaves != nil:
		s.left(leaves.place)
		leaves.place = place{}
		s.guests++
	case p.guest:
		s.guests++
	default:
		s.accepted++
	}
	s.mu.Unlock()
	if leaves != nil {
		s.count.streamsRefused.Add(1)
		leaves.fail(ErrCrowded)
	}
	return true
}

// idlest is the guest who has said nothing for longest, but for those that are kept. The caller holds s.mu.
func (s *Stack) idlest() *stream {
	var found *stream
	for _, st := range s.streams {
		if !st.place.guest || st.kept {
			continue
		}
		if found == nil || st.spoken() < found.spoken() || st.spoken() == found.spoken() && st.flow.Conn < found.flow.Conn {
			found = st
		}
	}
	return found
}

// spoken is when a guest last said something that was let in, or else when it came; Unix nanoseconds.
func (st *stream) spoken() int64 { return max(st.useful.Load(), st.born) }

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
