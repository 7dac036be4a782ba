package policy

import (
	"slices"
	"time"
)

// How fast rescues ask one endpoint. What counts is how soon it says its first word, be it a 100.
const (
	paceBegins = 32  // so many rescues may wait for its first word at one time
	paceLeast  = 8   // of a slow one
	paceSilent = 4   // of one that says nothing
	paceMost   = 512 // of a fast one
	paceQuick  = 5   // patience/paceQuick later than its quickest, at most: one more may wait
	paceSlow   = 2   // times that: one fewer may. A suspect endpoint has 300 ms of patience, any other a second, and after half a second INVITEs repeat
)

// Pace lets rescues ask an endpoint no faster than it answers. When a room dies all its calls look for another in the same moment. Two hundred INVITEs at
// once make a slow endpoint late with all of them; then it looks dead, and the partners are asked for calls that it would have taken. So only
// some may wait for its first word at one time; each word lets the next one go. An endpoint that is quick soon gets all there are.
//
// New calls do not pass here, and so they never wait behind a rescue. It is not safe for concurrent use: the driver keeps it under a mutex.
type Pace struct {
	of     map[EndpointName]*lane
	places Place
}

// Place is a rescue's place in front of one endpoint. Zero is none.
type Place uint64

// lane is what one endpoint is asked by rescues.
type lane struct {
	out      int           // those that it was asked and has not said a word to
	window   int           // how many that may be
	patience time.Duration // what the latest rescue has for it
	quickest time.Duration // its first word to one of these rescues; what is above it is waiting in its queue, which is our doing
	line     []held
}

type held struct {
	place Place
	class Class
	since time.Time
}

// NewPace returns a pace that nobody has asked.
func NewPace() *Pace { return &Pace{of: map[EndpointName]*lane{}} }

// Ask says whether a rescue may ask an endpoint now. If not, it has a place and its turn comes with [Pace.Next]. Emergency goes before routine, then whoever
// has had nobody to talk to for longer. Each rescue that may go is followed by one [Pace.Heard].
func (p *Pace) Ask(name EndpointName, class Class, since time.Time, patience time.Duration) (Place, bool) {
	l := p.of[name]
	if l == nil {
		l = &lane{window: paceBegins}
		p.of[name] = l
	}
	l.patience = patience
	if l.out < l.window && len(l.line) == 0 {
		l.out++
		return 0, true
	}
	p.places++
	h := held{place: p.places, class: class, since: since}
	at := len(l.line)
	for at > 0 && servedFirst(class, since, l.line[at-1].class, l.line[at-1].since) {
		at--
	}
	l.line = slices.Insert(l.line, at, h)
	return h.place, false
}

// servedFirst says who of two that wait is served first (R7, R21): emergency before routine, then the oldest.
func servedFirst(class Class, since time.Time, other Class, otherSince time.Time) bool {
	if emergency := class == Emergency; emergency != (other == Emergency) {
		return emergency
	}
	return since.Before(otherSince)
}

// Heard says that a rescue that could go has got its first word after this time, or that it was silent for its patience; 0 and not silent: it never left.
func (p *Pace) Heard(name EndpointName, took time.Duration, silent bool) {
	l := p.of[name]
	if l == nil || l.out == 0 {
		return
	}
	l.out--
	switch {
	case silent:
		l.window = max(paceSilent, l.window/2)
	case took > 0:
		if l.quickest == 0 || took < l.quickest {
			l.quickest = took
		}
		l.adapt(took - l.quickest)
	}
	p.tidy(name, l)
}

// adapt lets more or fewer wait at one time, by how long the latest has stood in the endpoint's queue.
func (l *lane) adapt(queued time.Duration) {
	switch {
	case queued > paceSlow*l.patience/paceQuick:
		l.window = max(min(paceLeast, l.window), l.window-1)
	case queued <= l.patience/paceQuick:
		l.window = min(paceMost, l.window+1)
	}
}

// Next lets the next one go, if one waits and may.
func (p *Pace) Next(name EndpointName) (Place, bool) {
	l := p.of[name]
	if l == nil || len(l.line) == 0 || l.out >= l.window {
		return 0, false
	}
	place := l.line[0].place
	l.line = slices.Delete(l.line, 0, 1)
	l.out++
	return place, true
}

// Leave gives up a place. ok is false if it has had its turn already.
func (p *Pace) Leave(name EndpointName, place Place) (ok bool) {
	l := p.of[name]
	if l == nil {
		return false
	}
	had := len(l.line)
	l.line = slices.DeleteFunc(l.line, func(h held) bool { return h.place == place })
	ok = len(l.line) < had
	p.tidy(name, l)
	return ok
}

// Waiting is how many rescues wait for their turn at an endpoint.
func (p *Pace) Waiting(name EndpointName) int {
	if l := p.of[name]; l != nil {
		return len(l.line)
	}
	return 0
}

// tidy forgets an endpoint that no rescue asks.
func (p *Pace) tidy(name EndpointName, l *lane) {
	if l.out == 0 && len(l.line) == 0 {
		delete(p.of, name)
	}
}
