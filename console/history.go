package console

import (
	"sync"
	"time"
)

// history remembers for an hour who answered how many calls in which minute. It is fed with what each endpoint has answered so far, so that it costs
// the calls nothing.
type history struct {
	mu      sync.Mutex
	minutes []minute          // oldest first, one after the other without gaps, the last is the running one
	before  map[string]uint64 // what each endpoint had answered when it was last looked
}

// minute is what was answered in one minute.
type minute struct {
	At      time.Time      // its begin
	Answers map[string]int // by endpoint
	Total   int
}

const historyMinutes = 60

// note takes what is there at a time. Counters that went back began anew.
func (h *history) note(now time.Time, endpoints []EndpointStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.before == nil
	if first {
		h.before = map[string]uint64{}
	}
	h.turn(now.Truncate(time.Minute))
	m := &h.minutes[len(h.minutes)-1]
	for _, e := range endpoints {
		was := h.before[e.Name]
		h.before[e.Name] = e.Answered
		if first || e.Answered <= was {
			continue
		}
		m.Answers[e.Name] += int(e.Answered - was)
		m.Total += int(e.Answered - was)
	}
}

// turn goes on to a minute. A clock that was set back or far ahead begins anew.
func (h *history) turn(at time.Time) {
	if n := len(h.minutes); n > 0 {
		last := h.minutes[n-1].At
		if !at.After(last) && last.Sub(at) < 2*time.Minute { // also a clock that is set right by a little
			return
		}
		if at.Before(last) || at.Sub(last) > historyMinutes*time.Minute {
			h.minutes = nil
		}
	}
	for next := at; ; {
		if n := len(h.minutes); n > 0 {
			next = h.minutes[n-1].At.Add(time.Minute)
		}
		h.minutes = append(h.minutes, minute{At: next, Answers: map[string]int{}})
		if !next.Before(at) {
			break
		}
	}
	if extra := len(h.minutes) - historyMinutes; extra > 0 {
		h.minutes = append([]minute(nil), h.minutes[extra:]...)
	}
}

// hour gives the minutes until now, as many as there are.
func (h *history) hour() []minute {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]minute, len(h.minutes))
	for i, m := range h.minutes {
		out[i] = minute{At: m.At, Total: m.Total, Answers: make(map[string]int, len(m.Answers))}
		for name, n := range m.Answers {
			out[i].Answers[name] = n
		}
	}
	return out
}
