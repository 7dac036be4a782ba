//go:build soak

package browser

import "time"

// Eight hours of updates, four a second: as many as the node ever sends.
const (
	updates  = 8 * 3600 * 4
	longWait = 40 * time.Minute
)
