// Package app puts the rooms together: start, two-phase reload, drain, stop. Tests start it too.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// Options says what to run.
type Options struct {
	ConfigPath string
	Version    string
	Log        zerolog.Logger
	Reload     <-chan os.Signal // each value asks for a reload (SIGHUP)
}

// Run takes calls until ctx ends.
func Run(ctx context.Context, o Options) error {
	return errors.New("run: not yet")
}

// Check writes every problem of a configuration to w, and what it would do in words. It reports whether the file would be accepted.
func Check(path string, w io.Writer) bool {
	fmt.Fprintln(w, "check: not yet")
	return false
}

// DemoOptions is the story that the demo tells.
type DemoOptions struct {
	For          time.Duration // 0: until ctx ends or q
	KillAfter    time.Duration // 0: on k
	RestoreAfter time.Duration // 0: on r
	Rate         float64       // calls a second
	Version      string
	Log          zerolog.Logger
	View         io.Writer   // who answers, for a person; nil: nobody looks
	Keys         <-chan byte // k, r, q; nil: no keyboard
}

// DemoSummary is what the demo's story showed.
type DemoSummary struct {
	Placed int `json:"placed"`
}

// OK reports whether no call was lost and no packet changed.
func (s DemoSummary) OK() bool { return s.Placed > 0 }

// String says it for a person.
func (s DemoSummary) String() string { return fmt.Sprintf("%d calls placed", s.Placed) }

// Demo plays the main job on loopback.
func Demo(ctx context.Context, o DemoOptions) (DemoSummary, error) {
	return DemoSummary{}, errors.New("demo: not yet")
}
