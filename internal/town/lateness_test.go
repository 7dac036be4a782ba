package town

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestWhoHadNoTurnKnowsIt: the stall that has just ended counts, though the watch itself had no turn since.
func TestWhoHadNoTurnKnowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := WatchLateness()
		time.Sleep(time.Second)
		if got := l.Worst(); got > 0 {
			t.Errorf("on a clock that nobody holds up we are %v late", got)
		}
		l.mu.Lock() // as if the process stood still
		l.last = l.last.Add(-2 * time.Second)
		l.mu.Unlock()
		if got := l.Stop(); got < 1900*time.Millisecond || got > 2*time.Second || l.Stalls() != 1 {
			t.Errorf("after two seconds without a turn we are %v late, and had %d stalls", got, l.Stalls())
		}
		if got := l.Stop(); got < 1900*time.Millisecond {
			t.Errorf("asked again it is %v", got)
		}
	})
}
