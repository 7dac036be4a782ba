package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"nines/health"
)

// memoryName is the file in the state folder that holds what must survive a restart: the operators' holds, and what calls brought down.
const memoryName = "health.state"

const (
	maxMemory = 1 << 20     // bytes that are read
	wallShift = time.Second // a clock that jumped so far makes the times in the file wrong
)

// memory keeps health's state in a file. Its goroutine alone writes the file; who acts asks it to and waits.
type memory struct {
	path string
	sip  healthKeeper
	log  zerolog.Logger
	file *scribe

	// What the file says, as the judge has it; the goroutine's own.
	written health.State
	known   bool      // it has been written, or read and understood
	at      time.Time // when, by the monotonic clock
	wall    time.Time // and by the one on the wall

	notices []string // what became of the file of the run before
}

func newMemory(path string, s healthKeeper, log zerolog.Logger) *memory {
	m := &memory{path: path, sip: s, log: log}
	m.file = newScribe(m.say)
	return m
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
	where, moved := setAside(m.path)
	m.known = m.known || moved
	m.log.Error().Err(why).Str("aside", where).Msg("the holds from before the restart could not be read: nobody is held; hold again what must be")
	m.notices = append(m.notices, fmt.Sprintf("the holds from before the restart could not be read, and nobody is held: hold again what must be (%v; %s)", why, where))
}

// run writes the file whenever what it should say has changed, until ctx ends.
func (m *memory) run(ctx context.Context) {
	m.file.serve(ctx, always, func() error { return m.keep(ctx) })
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
		return m.file.note(nil)
	}
	if err := writeMemory(m.path, byWall(now, wall, state)); err != nil {
		m.known = false
		return m.file.note(err)
	}
	m.written, m.known, m.at, m.wall = state, true, now, wall
	return m.file.note(nil)
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

func (m *memory) say(err error) {
	if err != nil {
		m.log.Error().Err(err).Msg("holds could not be written down: they hold, but a restart goes back to those before; it is tried again")
		return
	}
	m.log.Info().Msg("holds are written down again")
}

// words is what an operator should know of the file.
func (m *memory) words() []string {
	said := slices.Clone(m.notices)
	if why := m.file.lost(); why != "" {
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
	for i := range s.Holds {
		if h := &s.Holds[i]; h.Until.Sub(h.From) > maxHold {
			return health.State{}, fmt.Errorf("read %s: the hold of %q is longer than an operator may say", path, h.Endpoint)
		}
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
