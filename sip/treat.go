package sip

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"nines/policy"
)

// Treat is an operator's order to treat a routine route's calls as emergencies for a while (R1). Its times are on the monotonic clock while we run (R45).
type Treat struct {
	Route policy.RouteName `json:"route"`
	By    string           `json:"by"`
	Why   string           `json:"why"`
	From  time.Time        `json:"from"`
	Until time.Time        `json:"until"`
}

// Errors of Treat and Untreat.
var (
	ErrNoRoute     = errors.New("no routine route has this name or number")
	ErrNotTreated  = errors.New("the route is not treated as emergency")
	errIsEmergency = errors.New("the route is an emergency route already")
)

// RoutineRoute finds the routine route that a name, or a number on it, means.
func (s *Server) RoutineRoute(name string) (policy.RouteName, error) {
	routes := s.routing.Load().Routes
	at := slices.IndexFunc(routes, func(r policy.Route) bool { return string(r.Name) == name })
	if at < 0 {
		at = slices.IndexFunc(routes, func(r policy.Route) bool { return slices.Contains(r.Numbers, name) })
	}
	switch {
	case at < 0:
		return "", ErrNoRoute
	case routes[at].Class == policy.Emergency:
		return "", errIsEmergency
	}
	return routes[at].Name, nil
}

// Treat has a route's calls treated as emergencies until t.Until, from the next call on. It gives the order that it replaces, if there was one.
func (s *Server) Treat(t Treat) (was *Treat, err error) {
	name, err := s.RoutineRoute(string(t.Route))
	if err != nil {
		return nil, fmt.Errorf("treat %s as emergency: %w", t.Route, err)
	}
	t.Route = name
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	all := s.treated()
	if old, ok := all[name]; ok {
		was = &old
	}
	all[name] = t
	s.treats.Store(&all)
	return was, nil
}

// Untreat ends such an order and gives it back.
func (s *Server) Untreat(name policy.RouteName) (Treat, error) {
	if found, err := s.RoutineRoute(string(name)); err == nil {
		name = found
	}
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	all := s.treated()
	t, ok := all[name]
	if !ok {
		return Treat{}, fmt.Errorf("treat %s as routine: %w", name, ErrNotTreated)
	}
	delete(all, name)
	s.treats.Store(&all)
	return t, nil
}

// Treats gives all orders that stand, by the names of their routes.
func (s *Server) Treats() []Treat {
	now := time.Now()
	var out []Treat
	all := s.treated()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if t := all[name]; now.Before(t.Until) {
			out = append(out, t)
		}
	}
	return out
}

// RestoreTreats takes what was written down before a restart.
func (s *Server) RestoreTreats(treats []Treat) {
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	all := s.treated()
	for _, t := range treats {
		all[t.Route] = t
	}
	s.treats.Store(&all)
}

// treated is a copy of all orders.
func (s *Server) treated() map[policy.RouteName]Treat {
	all := map[policy.RouteName]Treat{}
	if p := s.treats.Load(); p != nil {
		maps.Copy(all, *p)
	}
	return all
}

// treatedNow says which routes are treated as emergency at a moment.
func (s *Server) treatedNow(now time.Time) func(policy.RouteName) bool {
	p := s.treats.Load()
	if p == nil || len(*p) == 0 {
		return nil
	}
	return func(name policy.RouteName) bool {
		t, ok := (*p)[name]
		return ok && now.Before(t.Until)
	}
}

// untreat ends what has come to its end, and says so.
func (s *Server) untreat(now time.Time) {
	p := s.treats.Load()
	if p == nil {
		return
	}
	for name, t := range *p {
		if now.Before(t.Until) {
			continue
		}
		if _, err := s.Untreat(name); err == nil {
			s.log.Warn().Str("route", string(name)).Str("by", t.By).Str("reason", t.Why).Msg("a route is routine again: the time for which it was treated as emergency is over")
			s.cfg.Observer.Recorded(Record{Kind: TreatEnded, At: now, Route: name, Class: policy.Routine, What: t.By, Why: t.Why})
		}
	}
}
