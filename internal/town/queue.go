package town

import (
	"sync"
	"time"
)

// event is something that happens on the network at an instant.
type event struct {
	at  time.Time
	seq uint64 // of two events at one instant the older is first
	do  func()
}

// queue runs events one after another, each at an instant of its own. Under testing/synctest that means: everybody has finished with one packet before
// the next one arrives, which is what makes a run repeatable. It owns no goroutine; a timer starts one when something is due.
type queue struct {
	mu      sync.Mutex
	heap    []event
	seq     uint64
	timer   *time.Timer
	running bool // an event is being run: it arms the timer when it is done
}

// after runs do once d has passed.
func (q *queue) after(d time.Duration, do func()) { q.at(time.Now().Add(d), do) }

// at runs do at an instant, or as soon as the events before it have run.
func (q *queue) at(at time.Time, do func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seq++
	q.push(event{at: at, seq: q.seq, do: do})
	if !q.running && q.heap[0].seq == q.seq {
		q.arm()
	}
}

// arm sets the timer for the first event. At least a nanosecond passes between two events.
func (q *queue) arm() {
	if len(q.heap) == 0 {
		return
	}
	wait := max(time.Until(q.heap[0].at), 1)
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.fire)
		return
	}
	q.timer.Reset(wait)
}

// fire runs the first event when it is due.
func (q *queue) fire() {
	q.mu.Lock()
	if q.running || len(q.heap) == 0 {
		q.mu.Unlock()
		return
	}
	if time.Now().Before(q.heap[0].at) {
		q.arm()
		q.mu.Unlock()
		return
	}
	ev := q.pop()
	q.running = true
	q.mu.Unlock()

	ev.do()

	q.mu.Lock()
	q.running = false
	q.arm()
	q.mu.Unlock()
}

func (q *queue) less(i, j int) bool {
	a, b := &q.heap[i], &q.heap[j]
	if a.at.Equal(b.at) {
		return a.seq < b.seq
	}
	return a.at.Before(b.at)
}

func (q *queue) push(ev event) {
	q.heap = append(q.heap, ev)
	for i := len(q.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.less(i, parent) {
			return
		}
		q.heap[i], q.heap[parent] = q.heap[parent], q.heap[i]
		i = parent
	}
}

func (q *queue) pop() event {
	first := q.heap[0]
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && q.less(child+1, child) {
			child++
		}
		if !q.less(child, i) {
			break
		}
		q.heap[i], q.heap[child] = q.heap[child], q.heap[i]
		i = child
	}
	return first
}
