package sip

import (
	"context"
	"fmt"
	"time"

	"nines/health"
)

// Hold holds an endpoint until h.Until: it is asked last from the next plan on (R18). Calls in progress stay where they are. The error is one of
// health's, or ctx's when loop 0 did not come to it in time; then nothing was done.
func (s *Server) Hold(ctx context.Context, name health.EndpointName, h health.Hold) error {
	failed, err := askJudge(ctx, s, func(now time.Time, j *health.Judge) error { return j.Hold(now, name, h) })
	if err != nil {
		return fmt.Errorf("hold %s: %w", name, err)
	}
	return failed
}

// Release ends an endpoint's hold, or lets a down endpoint off its hold-down.
func (s *Server) Release(ctx context.Context, name health.EndpointName, by string) error {
	failed, err := askJudge(ctx, s, func(now time.Time, j *health.Judge) error { return j.Release(now, name, by) })
	if err != nil {
		return fmt.Errorf("release %s: %w", name, err)
	}
	return failed
}

// Holds gives all holds, in the order of the configuration.
func (s *Server) Holds(ctx context.Context) ([]health.Hold, error) {
	holds, err := askJudge(ctx, s, func(_ time.Time, j *health.Judge) []health.Hold { return j.Holds() })
	if err != nil {
		return nil, fmt.Errorf("look at the holds: %w", err)
	}
	return holds, nil
}

// HealthState gives what should survive a restart: the holds, and what calls brought down (R18, R45).
func (s *Server) HealthState(ctx context.Context) (health.State, error) {
	state, err := askJudge(ctx, s, func(_ time.Time, j *health.Judge) health.State { return j.State() })
	if err != nil {
		return health.State{}, fmt.Errorf("look at the health: %w", err)
	}
	return state, nil
}

// RestoreHealth takes what was written down before a restart. It must be called before Run, so that the first call's plan knows it.
func (s *Server) RestoreHealth(now time.Time, state health.State) {
	l := s.loops[0]
	l.judge.Restore(now, state)
	l.publish(now)
}

// askJudge has loop 0, which owns the judge, do something and publishes what came of it before it returns: a plan that is made after that knows it.
func askJudge[T any](ctx context.Context, s *Server, do func(now time.Time, j *health.Judge) T) (T, error) {
	l := s.loops[0]
	done := make(chan T, 1)
	l.post(func(now time.Time) {
		if ctx.Err() != nil {
			return // who asked has been told that nothing was done
		}
		v := do(now, l.judge)
		l.publish(now)
		done <- v
	})
	select {
	case v := <-done:
		return v, nil
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}
