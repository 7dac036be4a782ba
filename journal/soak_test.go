//go:build soak

package journal

import "testing"

func TestKilledAHundredTimes(t *testing.T) { killed(t, 100) }
