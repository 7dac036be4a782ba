package sip

import (
	"time"

	"nines/policy"
)

// Outlook says in which order a route's endpoints would be asked by a call that came now, in the first line, to a number that no endpoint fails for.
// It takes no canary's seat. A route that is not in the configuration has none.
func (s *Server) Outlook(name policy.RouteName) []policy.Step {
	rt, now := s.routing.Load(), time.Now()
	route, ok := rt.policy.Route(name)
	if !ok {
		return nil
	}
	snap := s.health.Load()
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	return rt.policy.Plan(policy.Match{Route: route, Found: true}, policy.View{
		State: func(name policy.EndpointName) policy.State {
			st := snap.For(name, "")
			return policy.State{Verdict: st.Verdict, Held: st.Held, Busy: st.Full(now), Used: s.shared.slots.Used(name), Words: st.Words, Returning: st.Returning}
		},
		MaxForwards: 70,
	}).Steps
}
