package voice

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// lookEvery is how often a library looks at its files.
const lookEvery = 5 * time.Second

// Announcement is a spoken text of a configuration.
type Announcement struct {
	Name    string
	Files   []string  // WAV files, heard in this order (one for each language); none: the built-in text of this name
	Expires time.Time // from then on it is not played any more; zero: never
}

// Library knows which tapes an announcement is heard from. It keeps them in memory: [Library.Find] reads no file and waits for nobody. Where a file is
// not what was loaded, the built-in text is heard, until the file is as it was or another library is loaded: what was never accepted, or was taken
// away by somebody, is not played to callers.
//
// [Load] reads the files, [Library.Watch] looks after them. A reload of the configuration makes another library.
type Library struct {
	entries map[string]*entry
	order   []string
}

// entry is one announcement.
type entry struct {
	Announcement
	tapes []*Tape // nil: they could not be read
	files []*reel // by file
	state atomic.Pointer[Doubt]
}

// reel is a file that tapes were made of, and what it looked like.
type reel struct {
	path string
	hash string
	seen stamp
	same bool // it still holds what was loaded
}

// Doubt says why a built-in text is heard instead of an announcement's own files.
type Doubt struct {
	Announcement string
	File         string // as it was written; "" where the announcement itself is meant
	Why          Why
	Err          error // for Unreadable: what is wrong with it, to be read by an operator
}

// Why is what is wrong with an announcement.
type Why string

// What may be wrong with an announcement.
const (
	Fine       Why = ""           // nothing any more: its own files are heard again
	Unreadable Why = "unreadable" // when it was loaded
	Vanished   Why = "vanished"   // since it was loaded
	Changed    Why = "changed"    // its contents, since it was loaded
	Expired    Why = "expired"
)

// Sequence is what a caller is to hear for an announcement.
type Sequence struct {
	Name    string  // the announcement's
	Tapes   []*Tape // never empty
	BuiltIn bool    // they ship with nines
	Doubt   *Doubt  // why they are heard instead of the announcement's own; nil: they are not
}

// Hashes are the SHA-256 of what is heard, for the book.
func (s Sequence) Hashes() []string {
	var list []string
	for _, t := range s.Tapes {
		list = append(list, t.Hash)
	}
	return list
}

// Load reads the files of announcements, relative to dir. It cannot fail: what is wrong with them stands in [Library.Doubts]. It reads from disk
// and takes a moment; call it where nobody waits.
func Load(dir string, announcements []Announcement) *Library {
	builtInTapes()
	l := &Library{entries: make(map[string]*entry)}
	now := time.Now()
	for _, a := range announcements {
		if len(a.Files) == 0 && a.Expires.IsZero() {
			continue
		}
		e := &entry{Announcement: a}
		e.state.Store(e.load(dir))
		if e.expired(now) && e.state.Load() == nil {
			e.state.Store(e.doubt("", Expired, nil))
		}
		l.entries[a.Name] = e
		l.order = append(l.order, a.Name)
	}
	return l
}

// load reads the files of one announcement.
func (e *entry) load(dir string) *Doubt {
	for _, name := range e.Files {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		seen, _ := look(path) // before it is read: what changes meanwhile is seen to have changed
		t, err := readTape(path)
		if err != nil {
			e.tapes = nil
			return e.doubt(name, Unreadable, err)
		}
		e.files = append(e.files, &reel{path: path, hash: t.Hash, seen: seen, same: true})
		e.tapes = append(e.tapes, t)
	}
	return nil
}

func (e *entry) expired(now time.Time) bool { return !e.Expires.IsZero() && !now.Before(e.Expires) }

func (e *entry) doubt(file string, why Why, err error) *Doubt {
	return &Doubt{Announcement: e.Name, File: file, Why: why, Err: err}
}

// standIn is the built-in announcement of a name, or the one that stands in for any other.
func standIn(name string, way WayOut) []*Tape {
	if tapes := BuiltIn(name, way); tapes != nil {
		return tapes
	}
	if strings.HasSuffix(name, welshToo) {
		return BuiltIn(Fallback+welshToo, way)
	}
	return BuiltIn(Fallback, way)
}

// Find gives what is heard for an announcement: its own files where they are as they were loaded, else the built-in text of its name, else
// [Fallback]. The way out is told with a built-in text only; a recording of one's own tells it itself. An unknown name is answered too.
func (l *Library) Find(name string, way WayOut) Sequence {
	s := Sequence{Name: name, BuiltIn: true}
	if e := l.entries[name]; e != nil {
		if s.Doubt = e.state.Load(); s.Doubt == nil && e.tapes != nil {
			s.Tapes, s.BuiltIn = e.tapes, false
			return s
		}
	}
	s.Tapes = standIn(name, way)
	return s
}

// Doubts are the announcements whose own files are not heard now, in the order they were given.
func (l *Library) Doubts() []Doubt {
	var list []Doubt
	for _, name := range l.order {
		if d := l.entries[name].state.Load(); d != nil {
			list = append(list, *d)
		}
	}
	return list
}

// Watch makes ready what [Load] left for later, then looks at the files every few seconds, until ctx ends, and tells of each announcement that became
// doubtful, or fine again. It blocks; the caller starts the goroutine. A disk that hangs holds up nobody but it.
func (l *Library) Watch(ctx context.Context, tell func(Doubt)) {
	l.prepare(ctx)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, d := range l.look(time.Now()) {
				tell(d)
			}
		}
	}
}

// prepare makes every tape ready in every codec.
func (l *Library) prepare(ctx context.Context) {
	tapes := builtInTapes()
	for _, name := range l.order {
		tapes = append(slices.Clone(l.entries[name].tapes), tapes...)
	}
	for _, t := range tapes {
		if ctx.Err() != nil {
			return
		}
		t.Prepare()
	}
}

// look judges every announcement and says what is new.
func (l *Library) look(now time.Time) []Doubt {
	var news []Doubt
	for _, name := range l.order {
		e := l.entries[name]
		was := e.state.Load()
		is := e.judge(now)
		if was != nil && is != nil && was.Why == is.Why && was.File == is.File || was == nil && is == nil {
			continue
		}
		e.state.Store(is)
		if is == nil {
			is = &Doubt{Announcement: name, Why: Fine}
		}
		news = append(news, *is)
	}
	return news
}

// judge says what is wrong with an announcement now. What could not be read when it was loaded stays so: a reload reads it again.
func (e *entry) judge(now time.Time) *Doubt {
	if was := e.state.Load(); was != nil && was.Why == Unreadable {
		return was
	}
	if e.expired(now) {
		return e.doubt("", Expired, nil)
	}
	for i, r := range e.files {
		if why := r.look(); why != Fine {
			return e.doubt(e.Files[i], why, nil)
		}
	}
	return nil
}

// look says whether the file still holds what was loaded. It is read again only when it looks different.
func (r *reel) look() Why {
	seen, err := look(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.seen = stamp{}
		return Vanished
	case err == nil && seen != r.seen: // who can't look can't say that it changed
		b, err := readFile(r.path)
		r.seen, r.same = seen, err == nil && hashOf(b) == r.hash
	}
	if !r.same {
		return Changed
	}
	return Fine
}

// stamp is what a file looks like without reading it.
type stamp struct {
	size, modified, changed int64
	device, inode           uint64
}

// look takes a file's stamp.
func look(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	s := stamp{size: info.Size(), modified: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.changed, s.device, s.inode = sys.Ctim.Nano(), uint64(sys.Dev), sys.Ino
	}
	return s, nil
}

// String says what is wrong in a sentence.
func (d Doubt) String() string {
	what := "announcement " + d.Announcement
	if d.File != "" {
		what += ": " + d.File
	}
	switch d.Why {
	case Fine:
		return what + " is as it was loaded; it is played again"
	case Unreadable:
		return fmt.Sprintf("%s cannot be played: %v; the built-in text is played instead", what, d.Err)
	case Vanished:
		return what + " is gone; the built-in text is played until it is back, or a reload"
	case Changed:
		return what + " is not what was loaded; the built-in text is played until a reload accepts it"
	case Expired:
		return what + " is out of date; the built-in text is played instead"
	}
	return what
}

// Names are the announcements that were loaded.
func (l *Library) Names() []string { return slices.Clone(l.order) }
