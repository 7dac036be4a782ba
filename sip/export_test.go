package sip

// Breaks lets a test break an invariant: f is told of each message that was read, each action that is to be done and each call whose deadline has
// come, and may panic.
func (s *Server) Breaks(f func(what any)) { s.breaks.Store(&f) }

// Deadline says that what Breaks told of is a deadline, and of which call.
func Deadline(what any) (callID string, ok bool) {
	s, ok := what.(*session)
	if !ok {
		return "", false
	}
	return s.invite.CallID, true
}
