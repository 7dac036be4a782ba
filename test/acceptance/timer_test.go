package acceptance

import (
	"strings"
	"testing"
	"time"
)

const timedRooms = `ringing: 2s, rescue: off`

// TestARoomThatWantsToBeRefreshedIs: the room gives its session 20 s and leaves the refreshing to nines. It hangs up if none comes,
// as a PBX does, and then the carrier's call has failed.
func TestARoomThatWantsToBeRefreshedIs(t *testing.T) {
	sippPath(t)
	t.Parallel()
	p := newPlace()
	n := start(t, p, strings.Replace(twoRooms, "ringing: 2s", timedRooms, 1))
	sippRoom(t, p, 10, "room-timer.xml")
	sippRoom(t, p, 11, "room.xml", "-d", "20")
	n.verdict("up", "control-room", "standby")
	sippCall(t, p, "carrier.xml", "-m", "1", "-d", "25000")
	n.empty(10 * time.Second)
}
