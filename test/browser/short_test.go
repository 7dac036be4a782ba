//go:build !soak

package browser

import "time"

// A change run sends the page some minutes of updates; the soak sends eight hours.
const (
	updates  = 1000
	longWait = 3 * time.Minute
)
