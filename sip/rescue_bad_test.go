package sip_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nines/internal/town"
)

// actor puts somebody who speaks raw SIP in the place of a room's phone.
func (w *ward) actor(room string) *actor {
	w.t.Helper()
	w.rooms[room].Close()
	delete(w.rooms, room)
	a := newActor(w.t, w.hosts[room])
	w.t.Cleanup(a.close)
	return a
}

// stays checks that the caller's call goes on.
func (w *ward) stays(c *town.Call) {
	w.t.Helper()
	if r := c.Record(); r.End != town.NotYet {
		w.t.Errorf("the caller's call ended (%v, asked inside it: %v); want that it stays", r.End, r.Requests)
	}
}

// TestARescueThatIsAnsweredUselesslyGoesOnElsewhere: an answer that the caller could not hear is none. It is ACKed and BYEd, and the next one is asked.
func TestARescueThatIsAnsweredUselesslyGoesOnElsewhere(t *testing.T) {
	describe := func(media string) func(a *actor) string {
		return func(a *actor) string {
			return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\n%[2]s", a.addr.Addr(), media)
		}
	}
	tests := []struct {
		name string
		body func(a *actor) string
	}{
		{"no SDP", func(*actor) string { return "" }},
		{"a codec that was never offered", describe("m=audio 50000 RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n")},
		{"a payload number that was never offered", describe("m=audio 50000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n")},
		{"port 0", describe("m=audio 0 RTP/AVP 8\r\n")},
		{"another kind of stream", describe("m=video 50002 RTP/AVP 8\r\n")},
		{"no stream at all", describe("")},
		{"nothing that is SDP", func(*actor) string { return "hello" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWard(t, nil, func(w *ward) {
				standby := w.actor("standby-room")
				c := w.call()
				w.rooms["control-room"].Kill()
				m := standby.expect("INVITE")
				standby.replyBody(m, 200, "s", tt.body(standby))
				standby.expect("ACK")
				bye := standby.expect("BYE")
				standby.reply(bye, 200, "s")
				w.movesWithin(c, "partner", time.Second)
				if r := c.Record(); strings.Contains(fmt.Sprint(r.Requests), "INVITE") {
					t.Errorf("the caller was asked again (%v) for an answer that was useless", r.Requests)
				}
			})
		})
	}
}
