package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report collects figures and prints them as one table.
type report struct {
	b       *bench
	costs   map[*system][]cost
	delays  map[*system][]result
	packets map[*system][]packetCost
	over    map[over][]cost
	ceiling map[over]peak
	memory  map[*system]memory
	garbage map[*system][]garbage
	direct  result
}

type cost struct {
	used usage
	result
}

// over is a system and how SIP goes to it.
type over struct {
	transport string
	system    *system
}

// peak is a highest clean rate, and the share of their core that the generators took for it.
type peak struct {
	rate int
	busy float64
}

type packetCost struct {
	used usage
	flow
}

// garbage is the set-up delay with a flood sent past the system, and with the same flood sent to it.
type garbage struct {
	past, under result
	used        time.Duration // CPU under it, calls included
}

type memory struct{ before, after, calls int }

func (r *report) start(b *bench) {
	*r = report{
		b: b, costs: map[*system][]cost{}, delays: map[*system][]result{}, packets: map[*system][]packetCost{},
		over: map[over][]cost{}, ceiling: map[over]peak{}, memory: map[*system]memory{}, garbage: map[*system][]garbage{},
	}
}

func (r *report) addCost(s *system, used usage, res result) {
	c := cost{used, res}
	r.b.log("  %s a call; %s", c.text(), res)
	r.costs[s] = append(r.costs[s], c)
}

func (r *report) addCostOver(transport string, s *system, used usage, res result) {
	c := cost{used, res}
	r.b.log("  %s a call; %s", c.text(), res)
	r.over[over{transport, s}] = append(r.over[over{transport, s}], c)
}

func (r *report) addCeiling(transport string, s *system, p peak) {
	r.b.log("  %d/s", p.rate)
	r.ceiling[over{transport, s}] = p
}

func (r *report) addDelay(s *system, res result) {
	r.b.log("  %s", res)
	r.delays[s] = append(r.delays[s], res)
}

func (r *report) addPackets(s *system, used usage, f flow) {
	p := packetCost{used, f}
	r.b.log("  %.1f µs a packet; %d of %d came through, %d changed", p.perPacket(), f.received, f.sent, f.changed)
	r.packets[s] = append(r.packets[s], p)
}

func (r *report) addGarbage(s *system, past, under result, used time.Duration) {
	r.b.log("  a flood past it: %s", past)
	r.b.log("  a flood at it: %s; %.0f ms of CPU a second", under, ms(used)/under.elapsed.Seconds())
	r.garbage[s] = append(r.garbage[s], garbage{past, under, used})
}

func (r *report) addMemory(s *system, before, after, calls int) {
	m := memory{before, after, calls}
	r.b.log("  %.1f MB idle, %.1f MB with %d calls", mb(before), mb(after), calls)
	r.memory[s] = m
}

// perCall is CPU per call in milliseconds.
func (c cost) perCall() float64 { return ms(c.used.total()) / float64(c.calls) }

func (c cost) text() string {
	if len(c.used) < 2 {
		return fmt.Sprintf("%.2f ms", c.perCall())
	}
	var parts []string
	for name, t := range c.used {
		parts = append(parts, fmt.Sprintf("%s %.2f", name, ms(t)/float64(c.calls)))
	}
	slices.Sort(parts)
	return fmt.Sprintf("%.2f ms (%s)", c.perCall(), strings.Join(parts, ", "))
}

func (p packetCost) perPacket() float64 {
	return p.used.total().Seconds() * 1e6 / float64(max(1, p.received))
}

// print writes the table: a line a figure, a column a system, and the ratio when there are two.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\nOne core for the system, one for the generators; loopback, UDP where nothing else is said; media anchored; %d rounds in turn, the best of each; at the end of a line the ratio to the first.\n\n", r.b.rounds)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	defer t.Flush()
	row := func(name string, cell func(*system) (string, float64)) {
		fmt.Fprint(t, name)
		var values []float64
		for _, s := range r.b.systems {
			text, value := cell(s)
			values = append(values, value)
			fmt.Fprint(t, "\t"+text)
		}
		for _, v := range values[1:] {
			if values[0] > 0 && v > 0 {
				fmt.Fprintf(t, "\t%.2f", v/values[0])
			}
		}
		fmt.Fprintln(t)
	}
	row("", func(s *system) (string, float64) { return s.name, 0 })
	if len(r.costs) > 0 {
		row(fmt.Sprintf("CPU per call at %d/s", r.b.rate), func(s *system) (string, float64) { c := r.bestCost(s); return c.text(), c.perCall() })
		row("  each round", func(s *system) (string, float64) { return rounds(r.costs[s]), 0 })
		row("  calls, failed, sent twice", func(s *system) (string, float64) { return r.faults(s), 0 })
	}
	if len(r.delays) > 0 {
		for _, q := range []struct {
			name string
			q    float64
		}{{"half", .5}, {"99 of 100", .99}} {
			direct := r.direct.quantile(q.q)
			row(fmt.Sprintf("set-up delay added, %s", q.name), func(s *system) (string, float64) {
				best := r.bestDelay(s, q.q)
				return fmt.Sprintf("%.2f ms (direct %.2f)", best-direct, direct), best - direct
			})
		}
	}
	if len(r.garbage) > 0 {
		for _, q := range []struct {
			name string
			q    float64
		}{{"half", .5}, {"99 of 100", .99}} {
			row(fmt.Sprintf("set-up delay under %d garbage/s, %s", garbageRate, q.name), func(s *system) (string, float64) {
				if len(r.garbage[s]) == 0 {
					return "", 0
				}
				g := slices.MinFunc(r.garbage[s], func(a, b garbage) int { return compare(a.under.quantile(q.q), b.under.quantile(q.q)) })
				past, under := g.past.quantile(q.q), g.under.quantile(q.q)
				return fmt.Sprintf("%.2f ms (sent past it %.2f, ratio %.2f)", under, past, under/past), under
			})
		}
		row("  calls, failed", func(s *system) (string, float64) {
			calls, failed := 0, 0
			for _, g := range r.garbage[s] {
				calls, failed = calls+g.under.calls, failed+g.under.failed
			}
			return fmt.Sprintf("%d, %d", calls, failed), 0
		})
	}
	for _, way := range r.b.ways {
		if len(r.over) == 0 {
			break
		}
		name := strings.ToUpper(way)
		row(fmt.Sprintf("%s: CPU per call at %d/s", name, r.b.rate), func(s *system) (string, float64) {
			c := r.bestCostOver(way, s)
			return c.text(), c.perCall()
		})
		row("  each round", func(s *system) (string, float64) { return rounds(r.over[over{way, s}]), 0 })
		row("  highest clean rate", func(s *system) (string, float64) {
			p := r.ceiling[over{way, s}]
			return fmt.Sprintf("%d/s (generators' core %.0f %%)", p.rate, 100*p.busy), float64(p.rate)
		})
	}
	if len(r.memory) > 0 {
		row("memory per talking call", func(s *system) (string, float64) {
			m := r.memory[s]
			each := float64(m.after-m.before) / float64(max(1, m.calls)) / 1024
			return fmt.Sprintf("%.1f KB", each), each
		})
		row("  whole, idle and talking", func(s *system) (string, float64) {
			m := r.memory[s]
			return fmt.Sprintf("%.1f, %.1f MB (%d calls)", mb(m.before), mb(m.after), m.calls), 0
		})
	}
	if len(r.packets) > 0 {
		row("CPU per relayed packet", func(s *system) (string, float64) {
			p := r.bestPackets(s)
			return fmt.Sprintf("%.1f µs", p.perPacket()), p.perPacket()
		})
		row("  packet delay, half and 99 of 100", func(s *system) (string, float64) {
			p := r.bestPackets(s)
			return fmt.Sprintf("%.0f, %.0f µs", p.p50, p.p99), 0
		})
		row("  packets, lost, changed", func(s *system) (string, float64) {
			p := r.bestPackets(s)
			return fmt.Sprintf("%d, %d, %d", p.sent, p.sent-p.received, p.changed), 0
		})
	}
}

func (r *report) bestCost(s *system) cost { return cheapest(r.costs[s]) }

func (r *report) bestCostOver(transport string, s *system) cost {
	return cheapest(r.over[over{transport, s}])
}

func cheapest(all []cost) cost {
	return slices.MinFunc(all, func(a, b cost) int { return compare(a.perCall(), b.perCall()) })
}

func (r *report) bestPackets(s *system) packetCost {
	return slices.MinFunc(r.packets[s], func(a, b packetCost) int { return compare(a.perPacket(), b.perPacket()) })
}

func (r *report) bestDelay(s *system, q float64) float64 {
	best := r.delays[s][0].quantile(q)
	for _, d := range r.delays[s][1:] {
		best = min(best, d.quantile(q))
	}
	return best
}

func rounds(costs []cost) string {
	var all []string
	for _, c := range costs {
		all = append(all, fmt.Sprintf("%.2f", c.perCall()))
	}
	return strings.Join(all, ", ") + " ms"
}

func (r *report) faults(s *system) string {
	calls, failed, again := 0, 0, 0
	for _, c := range r.costs[s] {
		calls, failed, again = calls+c.calls, failed+c.failed, again+c.retransmissions
	}
	return fmt.Sprintf("%d, %d, %d", calls, failed, again)
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

func mb(n int) float64 { return float64(n) / (1 << 20) }
