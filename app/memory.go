package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"nines/health"
)

// memoryName is the file in the state folder that holds what must survive a restart: the operators' holds, and what calls brought down.
const memoryName = "health.state"

const (
	memoryEvery = time.Second      // how often it is looked whether something has changed
	memoryRetry = 10 * time.Second // after a file could not be written
	memoryWait  = 5 * time.Second  // how long who acts waits for the disk
	maxMemory   = 1 << 20          // bytes that are read
	wallShift   = time.Second      // a clock that jumped so far makes the times in the file wrong
)

// errSlowDisk says that a disk hangs.
var errSlowDisk = fmt.Errorf("the disk has not answered for %s", memoryWait)

// memory keeps health's state in a file. Its goroutine alone writes the file; who acts asks it to and waits.
type memory struct {
	path  string
	sip   healthKeeper
	log   zerolog.Logger
	asked chan chan error

	// What the file says, as the judge has it; the goroutine's own.
	written health.State
	known   bool      // it has been written, or read and understood
	at      time.Time // when, by the monotonic clock
	wall    time.Time // and by the one on the wall

	mu      sync.Mutex // guards what follows, for the status
	unkept  error      // why the file is not what is believed; nil: it is
	notices []string   // what became of the file of the run before
}

// healthKeeper is the part of sip.Server that memory needs.
type healthKeeper interface {
	HealthState(ctx context.Context) (health.State, error)
	RestoreHealth(now time.Time, state health.State)
}

// restore takes what the run before has left. A file that cannot be understood is moved aside: without it the node starts all the same.
func (m *memory) restore() {
	state, err := readMemory(m.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.known = true // it says as much as an empty one
		return
	case err != nil:
		m.moveAside(err)
		return
	}
	for _, h := range state.Holds {
		m.log.Info().Str("endpoint", string(h.Endpoint)).Str("by", h.By).Str("reason", h.Why).Time("until", h.Until).Msg("a hold from before the restart")
	}
	for _, t := range state.Trips {
		m.log.Info().Str("endpoint", string(t.Endpoint)).Str("why", t.Evidence).Msg("brought down by calls before the restart: it must prove itself")
	}
	m.sip.RestoreHealth(time.Now(), state)
}

func (m *memory) moveAside(why error) {
	to := m.path + ".corrupt-" + time.Now().Format("20060102T150405")
	where := "it is now " + to
	if err := os.Rename(m.path, to); err != nil {
		where = err.Error()
	} else {
		m.known = true
	}
	m.log.Error().Err(why).Str("aside", where).Msg("the holds from before the restart could not be read: nobody is held; hold again what must be")
	m.notices = append(m.notices, fmt.Sprintf("the holds from before the restart could not be read, and nobody is held: hold again what must be (%v; %s)", why, where))
}

// run writes the file whenever what it should say has changed, until ctx ends.
func (m *memory) run(ctx context.Context) {
	look := time.NewTicker(memoryEvery)
	defer look.Stop()
	var failed time.Time
	for {
		var reply chan error
		select {
		case <-ctx.Done():
			return
		case reply = <-m.asked:
		case <-look.C:
			if time.Since(failed) < memoryRetry {
				continue
			}
		}
		failed = time.Time{}
		err := m.keep(ctx)
		if err != nil {
			failed = time.Now()
		}
		if reply != nil {
			reply <- err
		}
	}
}

// now has the file written and waits for it. The error says why it is not.
func (m *memory) now(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), memoryWait, errSlowDisk)
	defer cancel()
	reply := make(chan error, 1)
	select {
	case m.asked <- reply:
	case <-ctx.Done():
		return m.note(context.Cause(ctx))
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return m.note(context.Cause(ctx))
	}
}

// keep writes the file if it says something else than what is believed.
func (m *memory) keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, memoryWait)
	defer cancel()
	state, err := m.sip.HealthState(ctx)
	if err != nil {
		return err // nothing is known to be wrong with the file
	}
	now := time.Now()
	wall := now.Round(0)
	if m.known && slices.Equal(state.Holds, m.written.Holds) && slices.Equal(state.Trips, m.written.Trips) && !m.clockSet(now, wall) {
		return m.note(nil)
	}
	if err := writeMemory(m.path, byWall(now, wall, state)); err != nil {
		m.known = false
		return m.note(err)
	}
	m.written, m.known, m.at, m.wall = state, true, now, wall
	return m.note(nil)
}

// clockSet says whether the clock on the wall was set since the file was written, so that the ends in it are wrong.
func (m *memory) clockSet(now, wall time.Time) bool {
	jump := wall.Sub(m.wall) - now.Sub(m.at)
	return jump.Abs() >= wallShift && len(m.written.Holds) > 0
}

// byWall gives a state its ends by the clock on the wall: while we run they are on the monotonic clock (R45).
func byWall(now, wall time.Time, s health.State) health.State {
	s.Holds = slices.Clone(s.Holds)
	for i := range s.Holds {
		h := &s.Holds[i]
		h.From = wall.Add(h.From.Sub(now))
		h.Until = wall.Add(h.Until.Sub(now))
	}
	return s
}

// note keeps and logs whether the file is what is believed.
func (m *memory) note(err error) error {
	m.mu.Lock()
	was := m.unkept
	m.unkept = err
	m.mu.Unlock()
	switch {
	case err != nil && was == nil:
		m.log.Error().Err(err).Msg("holds could not be written down: they hold, but a restart goes back to those before; it is tried again")
	case err == nil && was != nil:
		m.log.Info().Msg("holds are written down again")
	}
	return err
}

// lost says why the file is not what is believed; empty: it is.
func (m *memory) lost() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unkept == nil {
		return ""
	}
	return m.unkept.Error()
}

// words is what an operator should know of the file.
func (m *memory) words() []string {
	said := slices.Clone(m.notices)
	if why := m.lost(); why != "" {
		said = append(said, "holds are not written down, a restart goes back to those before: "+why)
	}
	return said
}

// readMemory reads a state file.
func readMemory(path string) (health.State, error) {
	f, err := os.Open(path)
	if err != nil {
		return health.State{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMemory+1))
	if err != nil {
		return health.State{}, err
	}
	if len(b) > maxMemory {
		return health.State{}, fmt.Errorf("read %s: it is longer than %d bytes", path, maxMemory)
	}
	s, err := health.DecodeState(b)
	if err != nil {
		return health.State{}, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// writeMemory replaces a state file.
func writeMemory(path string, s health.State) error {
	b, err := health.EncodeState(s)
	if err != nil {
		return err
	}
	return replaceFile(path, b, 0o640)
}

// replaceFile replaces a file in the state folder. Whatever happens meanwhile, the old one is there or the new one; when it returns nil the new one is on
// the disk.
func replaceFile(path string, b []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	fresh := path + ".new" // always the same name: a crash leaves one file behind, not many
	if err := writeSynced(fresh, b, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, removed(fresh)))
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, removed(fresh)))
	}
	if err := syncFolder(dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeSynced(name string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// removed takes a half-written file away; that it was never there is no error.
func removed(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	return nil
}

// syncFolder makes a rename last. Some file systems refuse to sync a folder; they have no better way.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
