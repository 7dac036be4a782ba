package acceptance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"nines/app"
	"nines/console"
	"nines/internal/town"
	"nines/sip"
)

// TestNoCancelLeavesAnythingBehind: callers give up at every moment of a call's set-up (R8): before the 100, before it rings, while it rings, while the
// next is asked as well, in the same instant in which somebody answers. Afterwards nothing may ring, talk, be bound or run because of them.
//
// nines runs inside the test, so that what it holds can be counted.
func TestNoCancelLeavesAnythingBehind(t *testing.T) {
	t.Parallel()
	const calls, rate = 2000, 200
	p := newPlace()
	dir := shortDir(t)
	n := &node{t: t, place: p, dir: dir, config: filepath.Join(dir, "nines.yaml")}
	n.write(strings.NewReplacer("ringing: 2s", "ringing: 200ms, patience: 150ms").Replace(twoRooms))
	log := newLogBook("taking calls")
	n.log = log
	inside, err := app.Start(app.Options{ConfigPath: n.config, Version: "test", Log: zerolog.New(log).Level(zerolog.WarnLevel)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- inside.Run(ctx) }() // ends with stop

	rng := rand.New(rand.NewPCG(1, 2))
	// One in ten is never picked up, one in ten gets only a 100, or in the long version no response at all (such an INVITE is remembered for twice
	// 64·T1, for answers that come late); the others are answered after up to 150 ms.
	fate := func(*town.Message) town.Behaviour {
		switch rng.IntN(10) {
		case 0:
			return town.Rings(0)
		case 1:
			if soaking {
				return town.Ignores()
			}
			return town.TriesOnly()
		}
		return town.Answers(time.Duration(rng.IntN(150)) * time.Millisecond)
	}
	primary := phone(t, town.PhoneConfig{Name: "control-room", Addr: p.sip(10), Script: fate})
	// In the long version the primary's silence brings it down sooner or later, and the standby has all calls: it leaves time for a CANCEL, too.
	standby := phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11), Script: town.Always(town.Answers(200 * time.Millisecond))})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n.verdict("up", "control-room", "standby")
	before := ours(t)
	if len(before) < 5 {
		t.Fatalf("nines runs with %d goroutines; the count has lost its way", len(before))
	}

	pace := time.NewTicker(time.Second / rate)
	defer pace.Stop()
	when := rand.New(rand.NewPCG(3, 4))
	for range calls {
		<-pace.C
		// TalkFor: a caller whose CANCEL came too late hangs up.
		d := town.Dial{URI: "sip:999@" + p.sip(1).String(), CancelAfter: time.Duration(1 + when.IntN(300e6)), TalkFor: 100 * time.Millisecond}
		if _, err := carrier.Place(d); err != nil {
			t.Fatal(err)
		}
	}
	atRest := func(who *town.Phone) {
		t.Helper()
		var asked, ringing, talking int
		if !poll(10*time.Second, func() bool {
			asked, ringing, talking = who.Live()
			return asked+ringing+talking == 0
		}) {
			t.Errorf("10 s after the last CANCEL at %s: %d asked, %d ringing, %d talking; want none", who.Name(), asked, ringing, talking)
		}
	}
	atRest(carrier)
	atRest(primary)
	atRest(standby)
	// Who is told 200 in the moment of its CANCEL is at rest before it hears what became of that.
	heard := func(r *town.Record) bool { return !r.CancelSent || slices.Contains(r.Replies, "CANCEL 200") }
	poll(10*time.Second, func() bool {
		return !slices.ContainsFunc(carrier.Records(), func(r town.Record) bool { return !heard(&r) })
	})
	ends := map[string]int{}
	for _, r := range carrier.Records() {
		if len(r.Finals) != 1 || r.Finals[0] != 200 && r.Finals[0] != 487 || len(r.Tags) > 1 {
			t.Errorf("the carrier's call: %v; want one final, 487 or 200", r)
		}
		if !heard(&r) {
			t.Errorf("a CANCEL got %v; want 200: %v", r.Replies, r)
		}
		ends[r.End.String()]++
	}
	if ends["CANCEL"] < calls/4 {
		t.Errorf("the calls ended by %v; a test of CANCEL needs more of them to end so", ends)
	}
	for _, room := range []*town.Phone{primary, standby} {
		for _, r := range room.Records() {
			if r.Unacked {
				t.Errorf("%s: nobody ACKed a 200: %v", room.Name(), r)
			}
		}
	}
	t.Logf("%d calls ended by %v; %d INVITEs at the primary, %d at the standby", calls, ends, primary.Heard("INVITE"), standby.Heard("INVITE"))

	// What is left: seen by the command line, then inside.
	eventually(t, 10*time.Second, "nines status shows no port in use", func() bool {
		out, code := n.cli("status", "--json")
		return code == 0 && strings.Contains(out, `"used": 0`)
	})
	n.empty(5 * time.Second)
	var residue sip.Residue
	if !poll(75*time.Second, func() bool {
		var err error
		residue, err = inside.SIP().Residue(ctx)
		return err == nil && residue.Sessions == 0 && residue.Waiting == 0
	}) {
		t.Errorf("more than twice 64·T1 after the last call nines still holds %+v", residue)
	}
	var left []string
	if !poll(5*time.Second, func() bool { left = diff(ours(t), before); return len(left) == 0 }) { // what answered us may be on its way out
		t.Errorf("goroutines that were not there before the calls:\n%s", strings.Join(left, "\n\n"))
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("nines ended with %v", err)
	}
	if !poll(10*time.Second, func() bool { left = ours(t); return len(left) == 0 }) {
		t.Errorf("goroutines that outlive nines:\n%s", strings.Join(left, "\n\n"))
	}
	for _, line := range log.with("broke an invariant", "panic") {
		t.Errorf("nines met a fault of its own: %s", line)
	}
	if _, err := console.NewClient(dir + "/run").Status(t.Context()); err == nil {
		t.Error("the control socket answers after the end")
	}
}

// ours gives the stacks of the goroutines that nines has in this process. The phones of the tests have others.
func ours(t *testing.T) []string {
	t.Helper()
	var b strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&b, 2); err != nil {
		t.Fatal(err)
	}
	var out []string
	for g := range strings.SplitSeq(b.String(), "\n\n") {
		for _, room := range []string{"nines/sip.", "nines/sip/wire.", "nines/media.", "nines/app.", "nines/console."} {
			if strings.Contains(g, "\n"+room) || strings.Contains(g, "created by "+room) {
				out = append(out, g)
				break
			}
		}
	}
	return out
}

// diff gives the goroutines that are more than before, by where they were started.
func diff(now, before []string) []string {
	had := map[string]int{}
	for _, g := range before {
		had[origin(g)]++
	}
	var out []string
	for _, g := range now {
		if had[origin(g)]--; had[origin(g)] < 0 {
			out = append(out, g)
		}
	}
	return out
}

// origin says where a goroutine was started.
func origin(stack string) string {
	_, by, ok := strings.Cut(stack, "created by ")
	if !ok {
		return fmt.Sprintf("%.80s", stack)
	}
	by, _, _ = strings.Cut(by, " in goroutine")
	return by
}
