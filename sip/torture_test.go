package sip_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// torture is what becomes of each message of RFC 4475 when a trunk sends it. "routed": it reaches the control room, as an emergency call, since from a
// carrier a number of no route is one (R1). A code is our answer. "dropped": silence, as it should be for a response to nothing.
var torture = []struct{ name, want, why string }{
	{"3.1.1.1-wsinv", "481", "its To tag is of no dialog of ours (RFC 3261 §12.2.2)"},
	{"3.1.1.2-intmeth", "405, malformed", "a method that has no business outside a call; it is no longer the method when its letters are raised"},
	{"3.1.1.3-esc01", "routed", "a number of no route is an emergency (R1)"},
	{"3.1.1.4-escnull", "405", "we are no registrar"},
	{"3.1.1.5-esc02", "405", "% does not escape in a method"},
	{"3.1.1.6-lwsdisp", "200", "a ping is answered"},
	{"3.1.1.7-longreq", "routed", "a number of no route is an emergency (R1)"},
	{"3.1.1.8-dblreq", "405", "the second message in a datagram is not read"},
	{"3.1.1.9-semiuri", "200", "a ping is answered"},
	{"3.1.1.10-transports", "200", "a ping is answered"},
	{"3.1.1.11-mpart01", "405", "a MESSAGE outside a call"},
	{"3.1.1.12-unreason", "dropped", "it answers nothing of ours"},
	{"3.1.1.13-noreason", "dropped", "it answers nothing of ours"},
	{"3.1.2.1-badinv01", "routed", "the Via says nothing: the answer goes to where it came from"},
	{"3.1.2.2-clerr", "routed, malformed", "the body is what came"},
	{"3.1.2.3-ncl", "routed, malformed", "the body is what came"},
	{"3.1.2.4-scalar02", "405, malformed", "we are no registrar"},
	{"3.1.2.5-scalarlg", "dropped, malformed", "it answers nothing of ours"},
	{"3.1.2.6-quotbal", "routed, malformed", "the From and To that go out are mended"},
	{"3.1.2.7-ltgtruri", "routed, malformed", "the number can be seen"},
	{"3.1.2.8-lwsruri", "routed, malformed", "the number can be seen"},
	{"3.1.2.9-lwsstart", "routed, malformed", "the number can be seen"},
	{"3.1.2.10-trws", "200, malformed", "a ping is answered"},
	{"3.1.2.11-escruri", "routed", "a number of no route is an emergency (R1)"},
	{"3.1.2.12-baddate", "routed", "a number of no route is an emergency (R1)"},
	{"3.1.2.13-regbadct", "405", "we are no registrar"},
	{"3.1.2.14-badaspec", "200", "a ping is answered"},
	{"3.1.2.15-baddn", "200", "a ping is answered"},
	{"3.1.2.16-badvers", "200, malformed", "it is read as what it looks like"},
	{"3.1.2.17-mismatch01", "200, malformed", "the request line counts"},
	{"3.1.2.18-mismatch02", "405, malformed", "the request line counts"},
	{"3.1.2.19-bigcode", "dropped", "no status"},
	{"3.2.1-badbranch", "200", "a ping is answered"},
	{"3.3.1-insuf", "routed, malformed", "From, To and Call-ID are made (RFC 3261 §8.1.1)"},
	{"3.3.2-unkscm", "200", "a ping is answered"},
	{"3.3.3-novelsc", "200, malformed", "a ping is answered"},
	{"3.3.4-unksm2", "405", "we are no registrar"},
	{"3.3.5-bext01", "200", "no call and no ping dies of a 420"},
	{"3.3.6-invut", "routed", "the endpoint says whether it can read the body"},
	{"3.3.7-regaut01", "405", "we are no registrar"},
	{"3.3.8-multi01", "routed, malformed", "the first counts"},
	{"3.3.9-mcl01", "200, malformed", "the answer needs no body"},
	{"3.3.10-bcast", "dropped", "it answers nothing of ours"},
	{"3.3.11-zeromf", "200", "the OPTIONS is for us"},
	{"3.3.12-cparam01", "405", "we are no registrar"},
	{"3.3.13-cparam02", "405", "we are no registrar"},
	{"3.3.14-regescrt", "405", "we are no registrar"},
	{"3.3.15-sdp01", "routed", "the endpoint says what it can"},
	{"3.4.1-inv2543", "routed", "RFC 2543: no branch, no tag"},
}

// TestEveryTortureMessageHasItsAnswer sends what RFC 4475 lists, and a good call after each: whatever came, that one is taken.
func TestEveryTortureMessageHasItsAnswer(t *testing.T) {
	files, err := filepath.Glob("testdata/torture/*.sip")
	if err != nil || len(files) != 49 || len(torture) != 49 {
		t.Fatalf("%d messages and %d answers (%v); RFC 4475 has 49", len(files), len(torture), err)
	}
	for _, c := range torture {
		t.Run(c.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata/torture", c.name+".sip"))
			if err != nil {
				t.Fatal(err)
			}
			onStage(t, nil, func(st *stage) {
				for _, a := range st.rooms {
					a.lenient.Store(true)
				}
				room := st.rooms["control-room"]
				before := st.server.Counters()
				if _, err := st.carrier.conn.WriteTo(text, nodeUDP); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond)
				got := "dropped"
				for len(st.carrier.in) > 0 {
					if m := <-st.carrier.in; m.Status >= 200 {
						got = fmt.Sprint(m.Status)
					}
				}
				for len(room.in) > 0 {
					m := <-room.in
					got = strings.ToLower(kind(m.Message)) + " routed"
					room.reply(m, 603, "x")
				}
				got = strings.TrimPrefix(got, "invite ")
				if st.server.Counters().Malformed > before.Malformed {
					got += ", malformed"
				}
				if got != c.want {
					t.Errorf("%s is %s, want %s (%s)", c.name, got, c.want, c.why)
				}
				time.Sleep(time.Minute)
				for _, a := range []*actor{st.carrier, room, st.rooms["standby-room"], st.rooms["partner"]} {
					for len(a.in) > 0 {
						<-a.in
					}
				}
				st.carrier.seq = 1000 // another call than the one before
				caller, called := st.talk("control-room")
				st.hangUp(caller, called)
			})
		})
	}
}
