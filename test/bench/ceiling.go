package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// ceiling measures CPU per call and searches the highest clean rate, over each transport.
func (b *bench) ceiling(ctx context.Context) error {
	for _, way := range b.ways {
		for round := range b.rounds {
			for _, s := range b.systems {
				b.log("cost over %s, round %d: %s", way, round+1, s.name)
				if err := b.costOver(ctx, s, way); err != nil {
					return fmt.Errorf("%s over %s: %w", s.name, way, err)
				}
			}
		}
		for _, s := range b.systems {
			b.log("ceiling over %s: %s", way, s.name)
			if err := b.search(ctx, s, way); err != nil {
				return fmt.Errorf("%s over %s: %w", s.name, way, err)
			}
		}
	}
	return nil
}

// calling starts a control room, a system and a carrier that has its connection and has placed a few calls.
func (b *bench) calling(ctx context.Context, s *system, way string, f func(*callers) error) error {
	c, err := b.newCallers(way)
	if err != nil {
		return err
	}
	defer c.close()
	defer s.stop()
	if err := s.start(b, way); err != nil {
		return err
	}
	if err := c.reach(b, s.address); err != nil {
		return err
	}
	if _, err := c.place(ctx, 100, 3*time.Second); err != nil {
		return fmt.Errorf("warm up: %w: %s", err, s.said())
	}
	return f(c)
}

func (b *bench) costOver(ctx context.Context, s *system, way string) error {
	return b.calling(ctx, s, way, func(c *callers) error {
		before := s.cpu()
		r, err := c.place(ctx, b.rate, b.duration/2)
		if err != nil {
			return err
		}
		b.report.addCostOver(way, s, s.cpu().minus(before), r)
		return nil
	})
}

// search goes up from somewhat below what the CPU per call promises until a rate fails twice, then closes in.
func (b *bench) search(ctx context.Context, s *system, way string) error {
	top, dirty := peak{}, 0
	rate := min(b.upTo, int(800/b.report.bestCostOver(way, s).perCall()))
	for rate >= 20 && rate <= b.upTo && (dirty == 0 || dirty-top.rate > max(20, top.rate/15)) {
		r, ok, err := b.cleanTwice(ctx, s, way, rate)
		if err != nil {
			return err
		}
		if ok {
			top = peak{rate, r.busy}
		} else {
			dirty = rate
		}
		switch {
		case dirty == 0:
			rate = rate * 5 / 4
		case top.rate == 0:
			rate = dirty * 4 / 5
		default:
			rate = (top.rate + dirty) / 2
		}
	}
	b.report.addCeiling(way, s, top)
	return nil
}

// cleanTwice reports whether one of two tries at this rate was clean, each with a fresh system.
func (b *bench) cleanTwice(ctx context.Context, s *system, way string, rate int) (r result, clean bool, err error) {
	for range 2 {
		err := b.calling(ctx, s, way, func(c *callers) error {
			begin, used := time.Now(), cpuOf(os.Getpid())
			var err error
			r, err = c.place(ctx, rate, 6*time.Second)
			r.busy = float64(cpuOf(os.Getpid())-used) / float64(time.Since(begin))
			return err
		})
		b.log("  %s over %s at %d/s: %s, generators busy %.0f %%", s.name, way, rate, r, 100*r.busy)
		if ctx.Err() != nil {
			return r, false, ctx.Err()
		}
		if err == nil && r.keptUp(rate) {
			return r, true, nil
		}
	}
	return r, false, nil
}
