package sip

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// resolver keeps the addresses of the endpoints' names. It asks in the background; a call never waits for it, and the last good answer is kept for
// ever (R11). A name that never had an answer falls back to the endpoint's addresses.
type resolver struct {
	look    func(context.Context, string) ([]netip.Addr, error)
	changed func() // called when an answer changed
	kick    chan struct{}

	mu    sync.Mutex
	names map[string][]netip.Addr // wanted names and their last good answers
}

// refresh is how often names are looked up again; TTLs are not seen through the system's resolver.
const refresh = 30 * time.Second

func newResolver(look func(context.Context, string) ([]netip.Addr, error), changed func()) *resolver {
	if look == nil {
		look = systemResolve
	}
	return &resolver{look: look, changed: changed, kick: make(chan struct{}, 1), names: map[string][]netip.Addr{}}
}

// want takes the names of a routing; answers of names that are wanted still are kept.
func (r *resolver) want(rt *routing) {
	r.mu.Lock()
	names := map[string][]netip.Addr{}
	for _, e := range rt.byName {
		if _, err := netip.ParseAddr(e.host); err != nil {
			names[e.host] = r.names[e.host]
		}
	}
	r.names = names
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// targets gives the addresses of an endpoint in the order in which they are tried; none means that it never had one.
func (r *resolver) targets(e *endpoint) []netip.AddrPort {
	if a, err := netip.ParseAddr(e.host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a, e.port)}
	}
	r.mu.Lock()
	found := r.names[e.host]
	r.mu.Unlock()
	if len(found) == 0 {
		found = e.Addresses
	}
	out := make([]netip.AddrPort, len(found))
	for i, a := range found {
		out[i] = netip.AddrPortFrom(a.Unmap(), e.port)
	}
	return out
}

// run looks names up until ctx ends.
func (r *resolver) run(ctx context.Context) {
	t := time.NewTimer(refresh)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.kick:
		case <-t.C:
		}
		r.lookAll(ctx)
		t.Reset(refresh)
	}
}

func (r *resolver) lookAll(ctx context.Context) {
	r.mu.Lock()
	names := make([]string, 0, len(r.names))
	for n := range r.names {
		names = append(names, n)
	}
	r.mu.Unlock()
	for _, n := range names {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		found, err := r.look(one, n)
		cancel()
		if err != nil || len(found) == 0 {
			continue // the last good answer stays
		}
		r.mu.Lock()
		if _, wanted := r.names[n]; wanted {
			r.names[n] = found
		}
		r.mu.Unlock()
		r.changed()
	}
}
