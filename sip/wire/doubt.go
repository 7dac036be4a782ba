package wire

// maxDoubted is how many connections to one peer are kept that may be stuck. A peer that takes connections and says nothing gets no more of them.
const maxDoubted = 2

// Doubt says that a request on a connection got no response in time. It may be stuck: while packets were lost TCP waited longer and longer, and what is
// sent now comes only when that wait is over, although the path has long been mended. [Stack.Connect] makes a new one until something comes by the
// old one, which lives on: what was sent by it may still be answered by it.
func (s *Stack) Doubt(f Flow) {
	s.mu.Lock()
	st := s.streams[f.Conn]
	var oldest *stream
	if st != nil && !st.doubted.Swap(true) {
		doubted := 0
		for _, o := range s.peers[peer{f.Proto, f.Remote}] {
			if o.doubted.Load() {
				if doubted++; oldest == nil {
					oldest = o
				}
			}
		}
		if doubted <= maxDoubted {
			oldest = nil
		}
	}
	s.mu.Unlock()
	if oldest != nil {
		oldest.fail(ErrStuck)
	}
}
