package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"
)

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
