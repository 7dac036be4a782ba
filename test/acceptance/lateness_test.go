package acceptance

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lateness measures how late this process itself is: what it sees late was perhaps not late. watchOurselves begins, stop ends.
type lateness struct {
	quit chan struct{}
	done chan struct{}
	once sync.Once

	mu    sync.Mutex
	last  time.Time // when we had our last turn
	worst time.Duration
}

const latenessEvery = 5 * time.Millisecond

// watchOurselves begins to measure, beside a test that measures nines.
func watchOurselves() *lateness {
	l := &lateness{quit: make(chan struct{}), done: make(chan struct{}), last: time.Now()}
	go func() { // ends with Stop
		defer close(l.done)
		tick := time.NewTicker(latenessEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.look()
			case <-l.quit:
				return
			}
		}
	}()
	return l
}

// look takes what has gone by since the last turn.
func (l *lateness) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	late := now.Sub(l.last) - latenessEvery
	l.last = now
	l.worst = max(l.worst, late)
}

// stop ends it and gives the longest time that this process had no turn, to this moment: who asks may have waited for it, too.
func (l *lateness) stop() time.Duration {
	select {
	case <-l.quit:
	default:
		l.look()
	}
	l.once.Do(func() { close(l.quit) })
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.worst
}

// TestWhoHadNoTurnKnowsIt: the stall that has just ended counts, though the watch itself had no turn since.
func TestWhoHadNoTurnKnowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := watchOurselves()
		time.Sleep(time.Second)
		l.mu.Lock() // as if the process stood still
		l.last = l.last.Add(-2 * time.Second)
		l.mu.Unlock()
		if got := l.stop(); got < 1900*time.Millisecond || got > 2*time.Second {
			t.Errorf("after two seconds without a turn we are %v late", got)
		}
		if got := l.stop(); got < 1900*time.Millisecond {
			t.Errorf("asked again it is %v", got)
		}
	})
}
