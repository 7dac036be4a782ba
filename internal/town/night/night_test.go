package night

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedFlag   = flag.String("seed", "", "play the night of this seed and show the calls that failed")
	forFlag    = flag.Duration("for", 0, "how long to play nights; 0 is two minutes, with -short 3 s")
	nightsFlag = flag.Uint64("nights", 0, "how many nights to play at most; 0 is as many as fit")
)

// aCounty is the seed before the first of the nights that are always played, as far as the time allows.
const (
	aCounty        = 20210906
	aCountysNights = 300
)

// night plays one seed and reports what went wrong. A bubble that fails ends the goroutine that made it, so it has one of its own.
func night(t *testing.T, seed uint64, verbose bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
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
	}()
	<-done
}

// TestNight plays nights until its time is up.
func TestNight(t *testing.T) {
	if seed := replayed(t); seed != 0 {
		night(t, seed, true)
		return
	}
	length := *forFlag
	if length == 0 {
		length = 2 * time.Minute
		if testing.Short() {
			length = 3 * time.Second
		}
	}
	base, nights := uint64(aCounty), *nightsFlag // the same nights each time: a change is judged by what it changes
	if *forFlag == 0 && nights == 0 {
		nights = aCountysNights
	}
	if *forFlag != 0 {
		base = rand.Uint64() >> 16 // whoever asks for a length wants new ones
	}
	t.Logf("nights from seed %d on, for %v", base, length)
	var next atomic.Uint64
	end := time.Now().Add(length)
	t.Run("of", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				for time.Now().Before(end) {
					n := next.Add(1)
					if nights != 0 && n > nights {
						return
					}
					night(t, base+n, false)
				}
			})
		}
	})
	t.Logf("%d nights", next.Load())
}

// replayed is the seed of a night to be played again; 0: play new ones.
func replayed(t *testing.T) uint64 {
	t.Helper()
	if *seedFlag == "" {
		return 0
	}
	seed, err := strconv.ParseUint(*seedFlag, 10, 64)
	if err != nil {
		t.Fatalf("-seed: %v", err)
	}
	return seed
}

// TestSeedsThatFailedOnce plays the nights that found something.
func TestSeedsThatFailedOnce(t *testing.T) {
	for _, tt := range seeds {
		t.Run(strconv.FormatUint(tt.seed, 10), func(t *testing.T) {
			t.Parallel()
			t.Log(tt.found)
			night(t, tt.seed, true)
		})
	}
}
