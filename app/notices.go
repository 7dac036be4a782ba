package app

import (
	"slices"
	"sync"
	"time"

	"nines/health"
)

// noticeBoard keeps what health said lately, for the status. The log has had every word of it.
type noticeBoard struct {
	mu     sync.Mutex
	recent []health.Notice // oldest first; the newest of each kind and endpoint
}

const (
	noticeFor  = time.Hour       // how long a notice stands in the status
	warnedFor  = 24 * time.Hour  // a warning that a hold ends stands until it does: then it is overtaken
	voidFor    = 5 * time.Minute // that we stood still ourselves
	maxNotices = 64
)

// add takes a notice. It is called from the loops and does not block.
func (b *noticeBoard) add(n health.Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recent = slices.DeleteFunc(b.recent, func(o health.Notice) bool {
		return o.Endpoint == n.Endpoint && (o.Kind == n.Kind || overtakes(n.Kind, o.Kind))
	})
	b.recent = append(b.recent, n)
	if len(b.recent) > maxNotices {
		b.recent = slices.Delete(b.recent, 0, len(b.recent)-maxNotices)
	}
}

// overtakes says that a notice of one kind makes an older one of another untrue.
func overtakes(now, old health.NoticeKind) bool {
	for _, story := range [][]health.NoticeKind{
		{health.HoldSet, health.HoldEnds, health.HoldEnded},
		{health.ReturnBegins, health.Proven},
	} {
		if slices.Contains(story, now) && slices.Contains(story, old) {
			return true
		}
	}
	return false
}

// words gives what is worth saying now, oldest first. What the status says elsewhere is left out: who is held and until when, and that we suspect
// ourselves.
func (b *noticeBoard) words(now time.Time) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var said []string
	for _, n := range b.recent {
		if now.Sub(n.At) >= stands(n.Kind) {
			continue
		}
		text := n.Text
		if n.Endpoint != "" {
			text = string(n.Endpoint) + ": " + text
		}
		said = append(said, text+" (said at "+n.At.Format(time.TimeOnly)+")")
	}
	return said
}

// stands is how long a notice of a kind is worth saying.
func stands(k health.NoticeKind) time.Duration {
	switch k {
	case health.HoldSet, health.Released, health.SelfSuspected, health.SelfTrusted:
		return 0
	case health.HoldEnds, health.Certificate:
		return warnedFor
	case health.EvidenceVoid:
		return voidFor
	case health.HoldEnded, health.ReturnBegins, health.Proven, health.NumberFails, health.NumberAnswers, health.AudioMissing, health.PerhapsNotReached, health.AddressChanged:
	}
	return noticeFor
}
