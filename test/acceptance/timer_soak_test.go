//go:build soak

package acceptance

import (
	"strings"
	"testing"
	"time"
)

// TestACarrierThatWantsToBeRefreshedIs: the carrier's session has 90 s, the least that RFC 4028 allows, and nines refreshes it by re-INVITE after half of them.
func TestACarrierThatWantsToBeRefreshedIs(t *testing.T) {
	sippPath(t)
	t.Parallel()
	p := newPlace()
	n := start(t, p, strings.Replace(twoRooms, "ringing: 2s", timedRooms, 1))
	sippRoom(t, p, 10, "room.xml", "-d", "20")
	sippRoom(t, p, 11, "room.xml", "-d", "20")
	n.verdict("up", "control-room", "standby")
	sippCall(t, p, "carrier-timer.xml", "-m", "1")
	n.empty(10 * time.Second)
}
