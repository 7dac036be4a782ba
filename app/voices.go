package app

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"nines/configs"
	"nines/journal"
	"nines/media/voice"
	"nines/policy"
)

// voices are the announcements' recordings. The loops read them; a goroutine reads the files and looks after them. Neither a start nor a reload waits for
// a disk: until the first recordings are there nothing can be announced, and after a reload the old ones are heard for a moment yet.
type voices struct {
	log zerolog.Logger
	say func(journal.Entry)

	mu      sync.RWMutex
	library *voice.Library // nil: none is ready yet
	wanted  []voice.Announcement
	old     bool          // the library is not of what is wanted
	spoken  bool          // a route has something to say: the recordings are made ready in every codec, and watched
	fresh   chan struct{} // other announcements are wanted, or ready
}

func newVoices(log zerolog.Logger, say func(journal.Entry)) *voices {
	return &voices{log: log, say: say, fresh: make(chan struct{}, 1)}
}

// want says which announcements a file names.
func (v *voices) want(f *configs.File) {
	var list []voice.Announcement
	for _, a := range f.Announcements {
		list = append(list, voice.Announcement{Name: a.Name, Files: a.Files, Expires: a.Expires})
	}
	v.mu.Lock()
	v.wanted, v.old, v.spoken = list, true, speaks(f)
	v.mu.Unlock()
}

// speaks says whether callers of any route may hear a recording. To make all of them ready costs a second of a core, which a file without is spared.
func speaks(f *configs.File) bool {
	return slices.ContainsFunc(f.Routes, func(r configs.Route) bool {
		return len(r.Otherwise) > 0 || r.Shed != nil || r.Hearing != configs.HearNothing
	})
}

// firstTapes is how long a start waits for the recordings: callers may be on their way. A disk that hangs holds up nobody for longer.
const firstTapes = time.Second

// ready reads what is wanted, and waits for it, but not for long.
func (v *voices) ready() {
	done := make(chan struct{})
	go func() { // ends when the disk has answered
		defer close(done)
		v.load()
		v.again()
	}()
	limit := time.NewTimer(firstTapes)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		v.log.Warn().Msg("the announcements' files take long to read: nothing can be announced until they are")
	}
}

// again has what is wanted read.
func (v *voices) again() {
	select {
	case v.fresh <- struct{}{}:
	default:
	}
}

// doubt says that an announcement is not heard from its own files, or is again.
func (v *voices) doubt(d voice.Doubt) {
	if d.Why == voice.Fine {
		v.log.Info().Str("announcement", d.Announcement).Msg("an announcement's own files are played again")
	} else {
		v.log.Warn().Str("announcement", d.Announcement).Str("file", d.File).AnErr("error", d.Err).Str("why", d.String()).
			Msg("an announcement's own files are not played: callers hear the built-in text")
	}
	v.say(journal.Entry{Type: journal.Notice, What: "announcement " + d.Announcement, Why: d.String()})
}

// tapes are what is heard for an announcement. It waits for no disk.
func (v *voices) tapes(name policy.AnnouncementName, way voice.WayOut) []*voice.Tape {
	v.mu.RLock()
	l := v.library
	v.mu.RUnlock()
	if l == nil {
		return nil
	}
	return l.Find(string(name), way).Tapes
}

// words is what an operator should know of the files.
func (v *voices) words() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.library == nil {
		return []string{"the announcements' files are still being read: nothing can be announced until they are"}
	}
	var said []string
	for _, d := range v.library.Doubts() {
		said = append(said, d.String())
	}
	return said
}

// load makes ready what is wanted. The names are resolved by configs already.
func (v *voices) load() {
	v.mu.Lock()
	list := v.wanted
	v.old = false
	v.mu.Unlock()
	l := voice.Load("", list)
	for _, d := range l.Doubts() {
		v.doubt(d)
	}
	v.mu.Lock()
	v.library = l
	v.mu.Unlock()
}

// run reads what is wanted and looks after the files until ctx ends.
func (v *voices) run(ctx context.Context) {
	for {
		select {
		case <-v.fresh:
		case <-ctx.Done():
			return
		}
		v.mu.RLock()
		l, old, spoken := v.library, v.old, v.spoken
		v.mu.RUnlock()
		if old || l == nil {
			v.load()
			v.again()
			continue
		}
		watching, stop := context.WithCancel(ctx)
		if spoken {
			go l.Watch(watching, v.doubt) // ends with watching, when the disk lets it: nobody waits for that
		}
		select {
		case <-ctx.Done():
		case <-v.fresh:
			v.again()
		}
		stop()
		if ctx.Err() != nil {
			return
		}
	}
}
