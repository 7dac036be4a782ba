package wire

// maxDoubted is how many connections to one peer may be doubted. If the third is silent as well it is the peer that says nothing, not the connection.
const maxDoubted = 2

// Doubt says that a request on a connection got no response in time. It may be stuck: while packets were lost TCP waited longer and longer, and what is
// sent now comes only when that wait is over, although the path has long been mended. [Stack.Connect] makes a new one until something comes by the
// old one, which lives on: what was sent by it may still be answered by it.
func (s *Stack) Doubt(f Flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[f.Conn]
	if st == nil {
		return
	}
	doubted := 0
	for _, o := range s.peers[peer{f.Proto, f.Remote}] {
		if o.doubted.Load() {
			doubted++
		}
	}
	if doubted < maxDoubted {
		st.doubted.Store(true)
	}
}
