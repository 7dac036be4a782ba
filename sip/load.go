package sip

import (
	"time"

	"nines/policy"
)

// Emergency load, and what it takes from routine callers (R26). Deciding is policy.Shedding's.

// weighs counts the call among the emergency calls that wait for an answer, or no longer.
func (s *session) weighs(now time.Time) {
	waits := !s.over && s.machine.Class == policy.Emergency && (s.winner == nil || !s.watch.lostAt.IsZero())
	if waits == s.aside.counted {
		return
	}
	s.aside.counted = waits
	if waits {
		s.loop.s.count.emergencyWaiting.Add(1)
	} else {
		s.loop.s.count.emergencyWaiting.Add(-1)
	}
	s.loop.s.weigh(now)
}

// weigh looks at the emergency load and switches the routes that it is too much for, or no more.
func (s *Server) weigh(now time.Time) {
	r := s.routing.Load()
	s.shared.mu.Lock()
	if !r.sheds && !s.shared.sheds {
		s.shared.mu.Unlock()
		return
	}
	changes := s.shared.shedding.Judge(now, r.Routes, s.load(r))
	s.shared.sheds = r.sheds
	s.shared.mu.Unlock()
	for _, c := range changes {
		s.switched(now, c)
	}
}

// load is the emergency load. The caller holds the lock.
func (s *Server) load(r *routing) policy.Load {
	l := policy.Load{Waiting: int(s.count.emergencyWaiting.Load())}
	for i := range r.Endpoints {
		if e := &r.Endpoints[i]; e.Partner {
			if n, ok := s.shared.slots.Room(e.Name); ok {
				l.Slots += n
				l.Partners = true
			}
		}
	}
	return l
}

// switched says that load protection has switched a route, and why.
func (s *Server) switched(now time.Time, c policy.ShedChange) {
	what := "off"
	if c.On {
		what = "on"
		s.log.Warn().Str("route", string(c.Route)).Str("why", c.Why).Msg("routine callers hear the announcement at once: emergency calls need everybody")
	} else {
		s.log.Warn().Str("route", string(c.Route)).Str("why", c.Why).Dur("for_ms", now.Sub(c.Since)).Msg("routine callers are put through again: the emergency load has fallen")
	}
	s.cfg.Observer.Shed(c.Route, c.On)
	s.cfg.Observer.Recorded(Record{Kind: ShedChanged, At: now, Route: c.Route, Class: policy.Routine, What: what, Why: c.Why})
}

// Shed gives the routes that are shed now.
func (s *Server) Shed() []policy.ShedState {
	r := s.routing.Load()
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	return s.shared.shedding.States(r.Routes)
}

// Load gives the emergency load of now.
func (s *Server) Load() policy.Load {
	r := s.routing.Load()
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	return s.load(r)
}

// Waiting is how many callers stand in a route's line.
func (s *Server) Waiting(route policy.RouteName) int {
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	return s.shared.slots.Waiting(route)
}
