package sip

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"nines/sip/wire"
)

// resolver keeps the addresses of the endpoints' names. It asks in the background; a call never waits for it, and the last good answer is kept for
// ever (R11), also on the disk (R45). A name that never had an answer falls back to the endpoint's addresses.
type resolver struct {
	look    func(context.Context, question) ([]way, time.Duration, error)
	store   NameStore
	log     zerolog.Logger
	changed func() // called when an answer changed
	kick    chan struct{}

	mu    sync.Mutex
	names map[question]*name // those that are wanted
	saved map[string][]way   // what the disk held at the start, by question
}

// name is one question and the last good answer to it.
type name struct {
	ways  []way
	at    time.Time // of the answer; zero: none since the start
	next  time.Time // when it is asked again
	asked bool      // a look is under way
	ill   string    // why the last look brought nothing
}

// NameStore keeps the answers of DNS over a restart. It is called by the resolver's goroutine, which no call waits for.
type NameStore interface {
	LoadNames() ([]byte, error)
	SaveNames(data []byte) error
}

const (
	soonest = 5 * time.Second  // answers that end sooner are asked for again after this
	latest  = 10 * time.Minute // and those that end later after this: a change shall show
	illNext = 5 * time.Second  // after a failure
	lookFor = 15 * time.Second // how long one look may take
	maxWays = 16               // addresses of an endpoint that are tried and probed
)

func newResolver(look func(context.Context, question) ([]way, time.Duration, error), store NameStore, log zerolog.Logger, changed func()) *resolver {
	r := &resolver{look: look, store: store, log: log, changed: changed, kick: make(chan struct{}, 1), names: map[question]*name{}}
	if store == nil {
		return r
	}
	data, err := store.LoadNames()
	if err == nil && len(data) > 0 {
		r.saved, err = readNames(data)
	}
	if err != nil {
		r.saved = nil
		log.Error().Err(err).Msg("the DNS answers from before the restart could not be read: names are asked for anew, and until then addresses: are used")
	}
	return r
}

// readNames reads what was saved. What no DNS answer could have said is left out: a call goes by it, and must not meet a fault of ours over a file.
func readNames(data []byte) (map[string][]way, error) {
	var saved map[string][]way
	if err := json.Unmarshal(data, &saved); err != nil {
		return nil, err
	}
	for q, ways := range saved {
		kept := ways[:0]
		for _, w := range ways {
			w.Addrs = slices.DeleteFunc(w.Addrs, func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() || a.IsMulticast() })
			known := w.Proto == wire.UDP || w.Proto == wire.TCP || w.Proto == wire.TLS
			if known && w.Port != 0 && len(w.Addrs) > 0 && w.Weight >= 0 && w.Weight <= math.MaxUint16 && w.Rank >= 0 && w.Rank <= math.MaxInt32 {
				kept = append(kept, w)
			}
		}
		saved[q] = kept
	}
	return saved, nil
}

// want takes the names of a routing; answers of names that are wanted still are kept.
func (r *resolver) want(rt *routing) {
	r.mu.Lock()
	names := map[question]*name{}
	for _, e := range rt.byName {
		if e.ip.IsValid() {
			continue
		}
		n := r.names[e.asks]
		if n == nil {
			n = &name{ways: r.saved[e.asks.String()]}
		}
		names[e.asks] = n
	}
	r.names = names
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// targets gives the addresses of an endpoint in the order in which they are tried; none means that it never had one. Machines of one rank share by
// weight (RFC 2782), by chance; a nil rnd keeps them in order.
func (r *resolver) targets(e *endpoint, rnd *rand.Rand) []hop {
	if e.ip.IsValid() {
		return []hop{{proto: e.proto, addr: netip.AddrPortFrom(e.ip, e.port)}}
	}
	r.mu.Lock()
	var ways []way
	if n := r.names[e.asks]; n != nil {
		ways = n.ways
	}
	r.mu.Unlock()
	if len(ways) == 0 {
		ways = []way{{Proto: e.proto, Port: e.port, Addrs: e.Addresses}}
	}
	var hops []hop
	for _, w := range ordered(ways, rnd) {
		for _, a := range w.Addrs {
			h := hop{proto: w.Proto, addr: netip.AddrPortFrom(a.Unmap(), w.Port)}
			if !slices.Contains(hops, h) && len(hops) < maxWays {
				hops = append(hops, h)
			}
		}
	}
	return hops
}

// ordered sorts by rank and draws by weight within one.
func ordered(ways []way, rnd *rand.Rand) []way {
	if len(ways) < 2 {
		return ways
	}
	ways = slices.Clone(ways)
	slices.SortStableFunc(ways, func(a, b way) int { return a.Rank - b.Rank })
	for start := 0; rnd != nil && start < len(ways); {
		end := start + 1
		for end < len(ways) && ways[end].Rank == ways[start].Rank {
			end++
		}
		draw(ways[start:end], rnd)
		start = end
	}
	return ways
}

// draw puts machines into an order by chance: each place goes to one of those that are left, by their weights. One without a weight has a small chance
// still (RFC 2782).
func draw(ways []way, rnd *rand.Rand) {
	for i := range ways {
		sum := 0
		for _, w := range ways[i:] {
			sum += 100*w.Weight + 1
		}
		at := rnd.IntN(sum)
		for j := i; j < len(ways); j++ {
			if at -= 100*ways[j].Weight + 1; at < 0 {
				ways[i], ways[j] = ways[j], ways[i]
				break
			}
		}
	}
}

// run looks names up until ctx ends; the looks end with it.
func (r *resolver) run(ctx context.Context) {
	var looks sync.WaitGroup
	defer looks.Wait()
	for {
		now := time.Now()
		wait := time.Hour
		r.mu.Lock()
		for q, n := range r.names {
			if n.asked {
				continue
			}
			if !n.next.After(now) {
				n.asked = true
				looks.Go(func() { r.lookOne(ctx, q, n) }) // one that hangs delays no other
				continue
			}
			wait = min(wait, n.next.Sub(now))
		}
		r.mu.Unlock()
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-r.kick:
		case <-t.C:
		}
		t.Stop()
	}
}

func (r *resolver) lookOne(ctx context.Context, q question, n *name) {
	one, cancel := context.WithTimeout(ctx, lookFor)
	ways, ttl, err := r.look(one, q)
	cancel()
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	r.mu.Lock()
	n.asked = false
	was := n.ill
	n.next = now.Add(min(max(ttl, soonest), latest))
	fresh := false
	switch {
	case err != nil && (len(ways) == 0 || len(n.ways) > 0): // a part of the answer is no reason to forget the whole
		n.ill, n.next = err.Error(), now.Add(illNext)
	case len(ways) == 0:
		n.ill = "the name has no address" // the last good answer stays
	default:
		fresh = !same(n.ways, ways)
		n.ways, n.at, n.ill = ways, now, ""
		if err != nil {
			n.next = now.Add(illNext)
		}
	}
	ill, known := n.ill, len(n.ways) > 0
	r.mu.Unlock()
	switch {
	case ill != "" && was == "" && known:
		r.log.Warn().Str("name", q.String()).Str("error", ill).Msg("DNS has no answer for an endpoint: the last good one is used on")
	case ill != "" && was == "":
		r.log.Error().Str("name", q.String()).Str("error", ill).Msg("DNS has never had an answer for an endpoint: only its addresses: can be asked")
	case ill == "" && was != "":
		r.log.Info().Str("name", q.String()).Msg("DNS answers again for an endpoint")
	}
	if fresh {
		r.changed()
		r.save()
	}
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func same(a, b []way) bool {
	return slices.EqualFunc(a, b, func(a, b way) bool {
		return a.Rank == b.Rank && a.Weight == b.Weight && a.Proto == b.Proto && a.Port == b.Port && slices.Equal(a.Addrs, b.Addrs)
	})
}

// save writes all good answers down.
func (r *resolver) save() {
	if r.store == nil {
		return
	}
	r.mu.Lock()
	all := map[string][]way{}
	for q, n := range r.names {
		if len(n.ways) > 0 {
			all[q.String()] = n.ways
		}
	}
	r.mu.Unlock()
	data, err := json.MarshalIndent(all, "", "\t")
	if err == nil {
		err = r.store.SaveNames(data)
	}
	if err != nil {
		r.log.Error().Err(err).Msg("DNS answers could not be written down: a restart without DNS would use older ones, or addresses:")
	}
}

// plainLook looks up addresses only, by a function that a test or a program brings.
func plainLook(look func(context.Context, string) ([]netip.Addr, error)) func(context.Context, question) ([]way, time.Duration, error) {
	return func(ctx context.Context, q question) ([]way, time.Duration, error) {
		addrs, err := look(ctx, q.host)
		if err != nil || len(addrs) == 0 {
			return nil, 0, err
		}
		proto := q.proto
		if proto == 0 {
			proto = wire.UDP
			if q.sips {
				proto = wire.TLS
			}
		}
		return []way{{Proto: proto, Port: portOr(q.port, defaultPort(proto)), Addrs: addrs}}, 30 * time.Second, nil
	}
}
