package night

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "play the night of this seed and show the calls that failed")
	forFlag    = flag.Duration("for", 0, "how long to play nights; 0 is NINES_NIGHT, else 90s")
	nightsFlag = flag.Int("nights", 0, "how many nights to play; 0 is as many as fit")
)

// night plays one seed and reports what went wrong.
func night(t *testing.T, seed uint64, verbose bool) {
	defer func() {
		if r := recover(); r != nil { // a bubble that ends with goroutines in it
			t.Errorf("seed %d: %v\n%s", seed, r, debug.Stack())
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, newPlan(seed), t.TempDir())
		s.play()
		s.check()
		s.report(verbose)
	})
}

// TestNight plays nights until its time is up.
func TestNight(t *testing.T) {
	if *seedFlag != 0 {
		night(t, *seedFlag, true)
		return
	}
	length := *forFlag
	if length == 0 {
		length, _ = time.ParseDuration(os.Getenv("NINES_NIGHT"))
	}
	switch {
	case length != 0:
	case testing.Short():
		length = 5 * time.Second
	default:
		length = 90 * time.Second
	}
	base := rand.Uint64() >> 16
	t.Logf("nights from seed %d on, for %v", base, length)
	var played atomic.Int64
	end := time.Now().Add(length)
	t.Run("of", func(t *testing.T) {
		for worker := range 2 {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for n := uint64(0); time.Now().Before(end) && (*nightsFlag == 0 || int(played.Load()) < *nightsFlag); n++ {
					seed := base + 2*n + uint64(worker)
					t.Run(fmt.Sprint(seed), func(t *testing.T) { night(t, seed, false) })
					played.Add(1)
				}
			})
		}
	})
	t.Logf("%d nights", played.Load())
}
