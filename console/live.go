package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"nines/journal"
)

// live shows everybody the same moving picture. One goroutine looks at the node a few times a second and renders each view that somebody looks at
// once, however many look and however much happens between two looks. A viewer gets what has changed since what it got last: one that reads slowly
// skips pictures, and one that does not read at all is dropped. So neither calls nor memory know how many screens there are.
type live struct {
	node   Watched
	failed func(error)   // told of a fault of ours
	every  time.Duration // between two looks while somebody watches
	hours  history

	mu      sync.Mutex
	now     snapshot
	views   map[string]*view
	viewers int
	ended   bool
}

// snapshot is the node at one moment.
type snapshot struct {
	At     time.Time
	Status Status
	Hour   []minute
	Calls  []CallSummary // that live, the newest first, with whole numbers; nil when there are too many to list
	Back   map[journal.Mask]CallBackList
	Told   NoticeList // what people outside are told, with whole numbers

	Incidents *IncidentList // nil while nobody looks at a page of them
}

// picture is a view, rendered: its pieces by name.
type picture map[string]string

// view is what some of the viewers look at.
type view struct {
	render  func(snapshot) picture
	picture picture
	at      time.Time
	watched map[chan struct{}]bool // each has room for one word: look again
}

const (
	lookEvery  = 250 * time.Millisecond
	idleEvery  = time.Second // when nobody watches: for the hour that the plot shows
	beatEvery  = time.Second
	maxViewers = 64
	writeTime  = 5 * time.Second // then a viewer that does not read is dropped
)

// Mask is how much of a telephone number is shown.
type Mask = journal.Mask

// Watched is the part of [Node] that the live view looks at.
type Watched interface {
	Status() Status
	Calls(ctx context.Context, q CallQuery, mask journal.Mask) (CallList, error)
	CallBackList(ctx context.Context, all bool, mask journal.Mask) (CallBackList, error)
	Notices() NoticeList
	Incidents(ctx context.Context, since time.Time) (IncidentList, error)
}

func newLive(node Watched) *live {
	return &live{node: node, every: lookEvery, views: map[string]*view{}}
}

// run looks until ctx ends; then every viewer is sent away.
func (l *live) run(ctx context.Context) {
	last := time.Time{}
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	defer l.end()
	for {
		if l.watched() || time.Since(last) >= idleEvery {
			last = time.Now()
			l.turn()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (l *live) watched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.viewers > 0
}

// turn looks once and renders what is watched. A fault of ours costs a picture, not the process, which has calls to look after.
func (l *live) turn() {
	defer func() {
		if what := recover(); what != nil && l.failed != nil {
			l.failed(fmt.Errorf("panic: %v\n%s", what, debug.Stack()))
		}
	}()
	s := l.take()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = s
	for _, v := range l.views {
		l.renew(v)
	}
}

// take looks at the node. It may wait for the loops, so no lock is held.
func (l *live) take() snapshot {
	s := snapshot{At: time.Now(), Status: l.node.Status(), Back: map[journal.Mask]CallBackList{}, Told: l.node.Notices()}
	l.hours.note(s.At, s.Status.Endpoints)
	s.Hour = l.hours.hour()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.Status.Calls.Total <= maxListed {
		if calls, err := l.node.Calls(ctx, CallQuery{Live: true, Limit: maxListed}, journal.Full); err == nil {
			s.Calls = calls.Calls
		}
	}
	for _, mask := range []journal.Mask{journal.LastThree, journal.Full} {
		if back, err := l.node.CallBackList(ctx, false, mask); err == nil {
			s.Back[mask] = back
		}
	}
	if l.looksAt(incidentViews) {
		if found, err := l.node.Incidents(ctx, time.Time{}); err == nil {
			s.Incidents = &found
		}
	}
	return s
}

// looksAt says whether somebody looks at a view whose name begins so.
func (l *live) looksAt(prefix string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.views {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// maxListed is how many calls may live for the board to list the latest of them: to look for them costs something for each.
const maxListed = 500

// latest is the snapshot of now; old ones are not shown.
func (l *live) latest() snapshot {
	l.mu.Lock()
	s := l.now
	l.mu.Unlock()
	if time.Since(s.At) > 2*l.every {
		return l.take()
	}
	return s
}

// renew renders a view and tells its viewers. Pieces that are as they were keep their string, so that to compare them costs nothing.
func (l *live) renew(v *view) {
	fresh := v.render(l.now)
	for name, old := range v.picture {
		if fresh[name] == old {
			fresh[name] = old
		}
	}
	v.picture, v.at = fresh, l.now.At
	for word := range v.watched {
		select {
		case word <- struct{}{}:
		default: // it has not looked yet
		}
	}
}

func (l *live) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for _, v := range l.views {
		for word := range v.watched {
			close(word)
			delete(v.watched, word)
		}
	}
}

// watch joins a view, which is made when nobody looks at it yet. The channel closes when the show is over; leave is called once.
func (l *live) watch(name string, render func(snapshot) picture) (word chan struct{}, leave func(), ok bool) {
	first := snapshot{}
	if !l.watched() {
		first = l.take() // the last look may be a second old
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.viewers >= maxViewers || l.ended {
		return nil, nil, false
	}
	if first.At.After(l.now.At) {
		l.now = first
	}
	v := l.views[name]
	if v == nil {
		v = &view{render: render, watched: map[chan struct{}]bool{}}
		l.views[name] = v
		l.renew(v)
	}
	word = make(chan struct{}, 1)
	word <- struct{}{}
	v.watched[word] = true
	l.viewers++
	return word, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.viewers--
		delete(v.watched, word)
		if len(v.watched) == 0 && l.views[name] == v {
			delete(l.views, name)
		}
	}, true
}

// see gives a view's picture of now.
func (l *live) see(name string) (picture, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.views[name]
	if v == nil {
		return nil, time.Time{}
	}
	return v.picture, v.at
}

// beat goes out each second, so that a page knows whether its data is of now and its clock is right.
type beat struct {
	Now    int64  `json:"now"`    // milliseconds since 1970, by the node's clock
	At     int64  `json:"at"`     // when the node was looked at
	Offset int    `json:"offset"` // of the node's time zone, in seconds
	Build  string `json:"build"`  // of the page's script: another one means that the page must be loaded anew
}

// serve sends a view to one viewer until they go, do not read, or the show ends. encode turns the pieces that have changed into an event.
func (l *live) serve(w http.ResponseWriter, r *http.Request, name string, render func(snapshot) picture, encode func(at time.Time, changed picture) (event string, data any)) {
	word, leave, ok := l.watch(name, render)
	if !ok {
		w.Header().Set("Retry-After", "10")
		write(w, http.StatusServiceUnavailable, Problem{"too many look already, or this node is ending"})
		return
	}
	defer leave()
	s := stream{w: w, rc: http.NewResponseController(w)}
	if !s.begin() {
		return
	}
	beats := time.NewTicker(beatEvery)
	defer beats.Stop()
	sent := picture{}
	for {
		select {
		case <-r.Context().Done():
			return
		case _, on := <-word:
			if !on {
				return
			}
			now, at := l.see(name)
			changed := picture{}
			for piece, text := range now {
				if old, had := sent[piece]; !had || old != text {
					changed[piece], sent[piece] = text, text
				}
			}
			if len(changed) > 0 {
				event, data := encode(at, changed)
				s.event(event, data)
			}
		case <-beats.C:
		}
		_, at := l.see(name)
		now := time.Now()
		_, offset := now.Zone()
		s.event("beat", beat{now.UnixMilli(), at.UnixMilli(), offset, build})
		if s.err != nil {
			return
		}
	}
}

// stream writes server-sent events.
type stream struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	err error
}

// begin sends the header. The server's own time limits are for requests that end.
func (s *stream) begin() bool {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that buffers would show the past
	if s.rc.SetReadDeadline(time.Time{}) != nil {
		http.Error(s.w, "this connection cannot stream", http.StatusNotImplemented)
		return false
	}
	s.w.WriteHeader(http.StatusOK)
	_, s.err = fmt.Fprint(s.w, "retry: 1000\n\n")
	return s.err == nil
}

func (s *stream) event(name string, data any) {
	if s.err != nil {
		return
	}
	b, err := json.Marshal(data) // JSON has no line breaks of its own
	if err != nil {
		s.err = err
		return
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTime))
	if _, s.err = fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", name, b); s.err == nil {
		s.err = s.rc.Flush()
	}
}
