package town

import (
	"sync"
	"time"
)

// Lateness measures how late this process itself is: what it sees late was perhaps not late. [WatchLateness] begins, Stop ends.
type Lateness struct {
	quit chan struct{}
	done chan struct{}
	once sync.Once

	mu     sync.Mutex
	last   time.Time // when we had our last turn
	worst  time.Duration
	stalls int
}

const (
	latenessEvery = 5 * time.Millisecond
	aStall        = 100 * time.Millisecond
)

// WatchLateness begins to measure.
func WatchLateness() *Lateness {
	l := &Lateness{quit: make(chan struct{}), done: make(chan struct{}), last: time.Now()}
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
func (l *Lateness) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	late := now.Sub(l.last) - latenessEvery
	l.last = now
	l.worst = max(l.worst, late)
	if late > aStall {
		l.stalls++
	}
}

// Worst is the longest time that this process had no turn, to this moment: who asks may have waited for it, too.
func (l *Lateness) Worst() time.Duration {
	select {
	case <-l.quit:
	default:
		l.look()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.worst
}

// Stalls counts how often this process had no turn for longer than 100 ms.
func (l *Lateness) Stalls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stalls
}

// Stop ends it and gives the worst.
func (l *Lateness) Stop() time.Duration {
	worst := l.Worst()
	l.once.Do(func() { close(l.quit) })
	<-l.done
	return worst
}
