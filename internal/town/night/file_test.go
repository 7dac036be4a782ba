package night

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// file is a configuration as the night knows it.
type file struct {
	endpoints []endpoint
	emergency []string // the ask list of 999, inner lists joined by +
	routine   []string
	aid       []string

	patience, progress, giveUp time.Duration
	ringing, toPartners        time.Duration // 0: never
	overlap, overflow, early   bool
	holdDown                   time.Duration
	every                      time.Duration
	upAfter                    int
	truthful                   bool
}

type endpoint struct {
	roomPlan
	calls     int
	follow    bool
	symmetric bool
}

// randomFile makes a configuration for some rooms: all own ones, most partners.
func randomFile(rng *rand.Rand, rooms []roomPlan) file {
	f := file{
		patience: between(rng, 500*time.Millisecond, 1500*time.Millisecond), progress: between(rng, 3*time.Second, 4*time.Second), giveUp: 20 * time.Second,
		overlap: rng.IntN(8) != 0, overflow: rng.IntN(4) == 0, early: rng.IntN(3) == 0,
		holdDown: between(rng, time.Second, 10*time.Second), every: between(rng, 700*time.Millisecond, 1500*time.Millisecond), upAfter: 1 + rng.IntN(5),
		truthful: rng.IntN(2) == 0,
	}
	if rng.IntN(4) == 0 {
		f.giveUp = between(rng, 10*time.Second, 30*time.Second)
	}
	if f.overlap && rng.IntN(2) == 0 {
		f.ringing = between(rng, 2*time.Second, 6*time.Second)
	}
	if f.overlap && rng.IntN(2) == 0 {
		f.toPartners = between(rng, 4*time.Second, 10*time.Second)
	}
	var own, partners []string
	for _, r := range rooms {
		e := endpoint{roomPlan: r, calls: 60, follow: rng.IntN(2) == 0, symmetric: rng.IntN(3) == 0}
		if rng.IntN(3) == 0 {
			e.calls = 2 + rng.IntN(6)
		}
		if r.partner && rng.IntN(6) == 0 {
			continue
		}
		f.endpoints = append(f.endpoints, e)
		if r.partner {
			partners = append(partners, r.name)
		} else {
			own = append(own, r.name)
		}
	}
	rng.Shuffle(len(own), func(i, j int) { own[i], own[j] = own[j], own[i] })
	rng.Shuffle(len(partners), func(i, j int) { partners[i], partners[j] = partners[j], partners[i] })
	f.aid = slices.Clone(own)
	f.routine = slices.Clone(own)
	f.emergency = slices.Clone(own)
	if len(partners) > 1 && rng.IntN(2) == 0 {
		f.emergency = append(f.emergency, strings.Join(partners, "+"))
	} else {
		f.emergency = append(f.emergency, partners...)
	}
	if len(own) > 1 && rng.IntN(4) == 0 { // the last room of our own is the last resort
		last := f.emergency[len(own)-1]
		f.emergency = append(slices.Delete(f.emergency, len(own)-1, len(own)), last)
	}
	if len(own) > 1 && rng.IntN(4) == 0 { // own rooms share
		f.routine = []string{strings.Join(own, "+")}
	}
	return f
}

func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)))
}

// asked lists the endpoints that a call may be offered to.
func (f file) asked(o order) []endpoint {
	list := f.emergency
	switch {
	case o.class == routine:
		list = f.routine
	case o.number == aidNumber:
		list = f.aid
	}
	var out []endpoint
	for _, names := range list {
		for name := range strings.SplitSeq(names, "+") {
			i := slices.IndexFunc(f.endpoints, func(e endpoint) bool { return e.name == name })
			out = append(out, f.endpoints[i])
		}
	}
	return out
}

func orNever(d time.Duration) string {
	if d == 0 {
		return "never"
	}
	return d.String()
}

// text is the configuration as YAML.
func (f file) text(dir string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("name: night")
	p("listen: [udp://10.0.0.1:5060, tcp://10.0.0.1:5060, %q, %q]", "udp://[2001:db8::1]:5060", "tcp://[2001:db8::1]:5060")
	p("media: { address: [10.0.0.1, %q], ports: 20000-22999 }", "2001:db8::1")
	p("state: %s", filepath.Join(dir, "state"))
	p("run: %s", filepath.Join(dir, "run"))
	p("trunks:")
	options := "serving"
	if f.truthful {
		options = "truthful"
	}
	p("  bt: { from: [192.0.2.10], give_up: %s, options: %s }", f.giveUp, options)
	p("  vf: { from: [%q], give_up: %s }", "2001:db8::10", f.giveUp)
	p("  from-warks: { kind: aid, from: [203.0.113.10] }")
	p("endpoints:")
	for _, e := range f.endpoints {
		transport := ""
		if e.tcp {
			transport = ";transport=tcp"
		}
		p("  %s: { uri: \"sip:%s:5060%s\", calls: %d, follow_3xx: %v, symmetric: %v, partner: %v }", e.name, e.host(), transport, e.calls, e.follow, e.symmetric, e.partner)
	}
	p("routes:")
	early := "none"
	if f.early {
		early = "first"
	}
	ladder := fmt.Sprintf("patience: %s, progress: %s, ringing: %s, ringing_to_partners: %s, overlap: %v, overflow_to_partners: %v, early_media: %s",
		f.patience, f.progress, orNever(f.ringing), orNever(f.toPartners), f.overlap, f.overflow, early)
	p("  - { name: \"999\", class: emergency, numbers: [\"999\", \"112\", \"urn:service:sos*\"], ask: %s, %s }", list(f.emergency), ladder)
	p("  - { name: aid, class: emergency, aid: true, numbers: [%q], ask: %s, %s }", aidNumber, list(f.aid), ladder)
	p("  - { name: \"101\", class: routine, numbers: [\"101\"], ask: %s, %s }", list(f.routine), ladder)
	p("health: { every: %s, timeout: 500ms, up_after: %d, hold_down: %s, fail_back: probes }", f.every, f.upAfter, f.holdDown)
	return b.String()
}

// list writes an ask list.
func list(names []string) string {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = n
		if strings.Contains(n, "+") {
			parts[i] = "[" + strings.ReplaceAll(n, "+", ", ") + "]"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
