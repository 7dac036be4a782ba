package town

import (
	"container/heap"
	"time"
)

// alarm is something a phone does later.
type alarm struct {
	at    time.Time
	seq   uint64
	index int // in the heap; -1: not there
	ring  func()
	owner *alarms
}

// stop takes the alarm back. A nil alarm is stopped.
func (a *alarm) stop() {
	if a != nil && a.index >= 0 {
		heap.Remove(&a.owner.list, a.index)
	}
}

// alarms are a phone's deadlines.
type alarms struct {
	list alarmHeap
	seq  uint64
}

func (as *alarms) set(at time.Time, ring func()) *alarm {
	as.seq++
	a := &alarm{at: at, seq: as.seq, ring: ring, owner: as}
	heap.Push(&as.list, a)
	return a
}

// due takes the first alarm when its time has come.
func (as *alarms) due(now time.Time) *alarm {
	if len(as.list) == 0 || now.Before(as.list[0].at) {
		return nil
	}
	return heap.Pop(&as.list).(*alarm)
}

// wait says how long until the next alarm.
func (as *alarms) wait(now time.Time) (time.Duration, bool) {
	if len(as.list) == 0 {
		return 0, false
	}
	return as.list[0].at.Sub(now), true
}

func (as *alarms) clear() {
	for _, a := range as.list {
		a.index = -1
	}
	as.list = nil
}

type alarmHeap []*alarm

func (h alarmHeap) Len() int { return len(h) }

func (h alarmHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}

func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *alarmHeap) Push(x any) {
	a := x.(*alarm)
	a.index = len(*h)
	*h = append(*h, a)
}

func (h *alarmHeap) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.index = -1
	return a
}
