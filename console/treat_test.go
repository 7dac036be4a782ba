package console

import (
	"strings"
	"testing"
	"time"
)

func TestWhatBecameOfAnOrderReadsAtAGlance(t *testing.T) {
	order := TreatStatus{Route: "101", By: "alice", Why: "999 is down", From: exampleNow(), Until: exampleNow().Add(time.Hour), LeftSeconds: 3600}
	expectText(t, `
calls to 101 are emergencies until 2026-11-23 15:02:15 (60m), by alice: 999 is down
  they are asked for on the emergency route, in the second line: new calls to 999 come first. No announcement is played to them
  this replaces the order by alice until 2026-11-23 15:02:15: 999 is down
  ! THIS WILL NOT SURVIVE A RESTART: the disk is full
`, func(b *strings.Builder) error {
		r := TreatResult{Treat: order, Replaced: &order, NotKept: "the disk is full"}
		return r.WriteText(b)
	})
	expectText(t, `
calls to 101 are routine again
  alice had them treated as emergency until 2026-11-23 15:02:15: 999 is down
`, func(b *strings.Builder) error {
		r := UntreatResult{Treat: order}
		return r.WriteText(b)
	})
	expectText(t, `
every route is treated as the file says
`, func(b *strings.Builder) error {
		l := TreatList{}
		return l.WriteText(b)
	})
}
