package acceptance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nines/console"
	"nines/internal/town"
)

// late is how much later than promised something may be on a busy machine with two cores.
const late = 450 * time.Millisecond

// rung is one behaviour of an endpoint, and when the next must have answered.
type rung struct {
	name  string
	does  town.Behaviour
	tcp   bool
	dies  func(*town.Phone) // just before the call
	after time.Duration     // when the next endpoint is asked
	// What the endpoint is told when the next one has answered.
	cancelled bool
	ended     bool // it answered, uselessly: ACK, BYE
}

// rungs are the behaviours of R6.
func rungs() []rung {
	list := []rung{
		{name: "dead port", does: town.Picked(), dies: (*town.Phone).Kill},
		{name: "black hole", does: town.Picked(), dies: (*town.Phone).Freeze, after: time.Second},
		{name: "hung PBX that answers OPTIONS", does: town.Ignores(), after: time.Second},
		{name: "100 only", does: town.TriesOnly(), after: 4 * time.Second, cancelled: true},
		{name: "180 then nothing", does: town.Rings(0), after: 2 * time.Second, cancelled: true},
		{name: "302", does: town.Redirects("sip:999@192.0.2.1")},
		{name: "300 without a contact", does: town.Behaviour{{Code: 300}}},
		{name: "305", does: town.Behaviour{{Code: 305, Contacts: []string{"sip:192.0.2.1"}}}},
		{name: "garbage instead of SIP", does: town.Garbles(), after: time.Second},
		{name: "200 without SDP", does: town.Behaviour{{Code: 200, NoSDP: true}}, ended: true},
		{name: "TCP refused", tcp: true, does: town.Picked(), dies: (*town.Phone).Kill},
		{name: "TCP black hole", tcp: true, does: town.Picked(), dies: (*town.Phone).Freeze, after: time.Second},
		{name: "TCP reset mid-INVITE", tcp: true, does: town.ResetsTCP()},
		{name: "TCP reset while it rings", tcp: true, does: town.Behaviour{{Code: 180}, {After: 300 * time.Millisecond, Act: town.Reset}}, after: 300 * time.Millisecond},
		{name: "486 after it rang", does: town.ChangesItsMind(486, 300*time.Millisecond), after: 300 * time.Millisecond},
	}
	for _, code := range []int{400, 403, 404, 408, 480, 481, 484, 486, 487, 488, 500, 502, 503, 504, 600, 603, 604, 606} {
		list = append(list, rung{name: fmt.Sprint(code), does: town.Refuses(code, 0)})
	}
	return list
}

// TestNextEndpointAnswersWhateverTheFirstDoes is the ladder of R6. Each row has an endpoint of its own, which is up when the call comes and then does
// what the row says; the standby behind it is the same for all.
func TestNextEndpointAnswersWhateverTheFirstDoes(t *testing.T) {
	t.Parallel()
	p := newPlace()
	rows := rungs()
	var endpoints, routes strings.Builder
	var first []*town.Phone
	for i, r := range rows {
		transport := ""
		if r.tcp {
			transport = ";transport=tcp"
		}
		fmt.Fprintf(&endpoints, "  room-%d: { uri: \"sip:{%d}:5060%s\", calls: 10 }\n", i, 20+i, transport)
		fmt.Fprintf(&routes, "  - { name: \"%d\", class: emergency, numbers: [\"%s\"], ask: [room-%d, standby], ringing: 2s }\n", i, number(i), i)
		script := town.Always(r.does)
		first = append(first, phone(t, town.PhoneConfig{Name: fmt.Sprintf("room-%d", i), Addr: p.sip(20 + i), TCP: r.tcp, Script: script}))
	}
	standby := phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(10), Script: town.Always(town.Picked())})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n := start(t, p, head+"trunks:\n  carrier: { from: [\"{200}/32\"] }\nendpoints:\n  standby: { uri: \"sip:{10}:5060\", calls: 100 }\n"+endpoints.String()+"routes:\n"+routes.String())
	eventually(t, time.Minute, "every endpoint is up", func() bool {
		return !slices.ContainsFunc(n.status().Endpoints, func(e console.EndpointStatus) bool { return e.Verdict != "up" })
	})

	calls := make([]*town.Call, len(rows))
	for i, r := range rows {
		if r.dies != nil {
			r.dies(first[i])
		}
		c, err := carrier.Place(town.Dial{URI: "sip:" + number(i) + "@" + p.sip(1).String()})
		if err != nil {
			t.Fatal(err)
		}
		calls[i] = c
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if err := calls[i].Talks(ctx); err != nil {
				t.Fatalf("the call was not answered: %v", err)
			}
			rec := calls[i].Record()
			if d := rec.Delay(); d < r.after || d > r.after+late {
				t.Errorf("answered after %v; the next endpoint is due after %v", d, r.after)
			}
			if got := record(standby, rec.ID); got == nil || got.State != town.Talking {
				t.Errorf("the standby knows of the call: %v; want it talking there", got)
			}
			if len(rec.Finals) != 1 || len(rec.Tags) != 1 {
				t.Errorf("the carrier heard finals %v with %d To tags; want one answer, one tag", rec.Finals, len(rec.Tags))
			}
			r.checkLoser(t, first[i], rec.ID)
		})
	}
	for _, c := range calls {
		c.Clear()
	}
	n.empty(5 * time.Second)
}

// checkLoser looks at what the first endpoint was told.
func (r rung) checkLoser(t *testing.T, room *town.Phone, id string) {
	t.Helper()
	if !r.cancelled && !r.ended {
		return
	}
	var rec *town.Record
	if !poll(2*time.Second, func() bool {
		rec = record(room, id)
		return rec != nil && rec.State == town.Over
	}) {
		t.Fatalf("the endpoint that lost was not told: %v", rec)
	}
	if r.cancelled && !slices.ContainsFunc(rec.Reasons, func(s string) bool { return strings.Contains(s, `cause=200`) && strings.Contains(s, "elsewhere") }) {
		t.Errorf("the endpoint that lost was cancelled with the reasons %q; want \"Call completed elsewhere\" (R6)", rec.Reasons)
	}
	if r.ended && (rec.Unacked || rec.End != town.ByPeer) {
		t.Errorf("its useless answer ended by %v, unacked %v; want ACK and BYE", rec.End, rec.Unacked)
	}
}

func number(row int) string { return fmt.Sprintf("999%02d", row) }

// record finds what a phone knows of a conversation, of one that talks if it was asked more than once; nil if it never heard of it.
func record(p *town.Phone, id string) (found *town.Record) {
	for _, r := range p.Records() {
		if r.ID == id && (found == nil || r.State == town.Talking) {
			found = &r
		}
	}
	return found
}

// TestAnswerWhoseContactIsDeadKeepsTheCall: R6. The ACK goes to a place where nobody listens; the 200 repeats, and then the ACK takes the way that the
// 200 came. The caller never notices.
func TestAnswerWhoseContactIsDeadKeepsTheCall(t *testing.T) {
	t.Parallel()
	p := newPlace()
	n := start(t, p, head+`
trunks:
  carrier: { from: ["{200}/32"] }
endpoints:
  control-room: { uri: "sip:{10}:5060", calls: 10 }
  standby: { uri: "sip:{11}:5060", calls: 10 }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby] }
`)
	room := phone(t, town.PhoneConfig{
		Name: "control-room", Addr: p.sip(10), Voice: 20 * time.Millisecond,
		Script: town.Always(town.AnswersElsewhere(0, "sip:nobody@"+p.at(99, 5060).String())),
	})
	standby := phone(t, town.PhoneConfig{Name: "standby", Addr: p.sip(11)})
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200), Voice: 20 * time.Millisecond})
	n.verdict("up", "control-room", "standby")

	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	c, err := carrier.Place(town.Dial{URI: "sip:999@" + p.sip(1).String(), TalkFor: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ends(ctx); err != nil {
		t.Fatal(err)
	}
	rec := c.Record()
	if len(rec.Finals) != 1 || rec.Finals[0] != 200 || rec.End != town.ByUs {
		t.Errorf("the carrier's call: %v; want one 200 and its own BYE four seconds later", rec)
	}
	eventually(t, 5*time.Second, "the control room's call is over", func() bool {
		r := record(room, rec.ID)
		return r != nil && r.State == town.Over
	})
	got := record(room, rec.ID)
	if got.Unacked || got.End != town.ByPeer {
		t.Errorf("at the control room the call ended by %v, unacked %v; want the caller's BYE by the way that the 200 came", got.End, got.Unacked)
	}
	if rec.Voice.Heard < 100 || rec.Voice.Changed != 0 {
		t.Errorf("the caller heard %d packets in 4 s, %d of them changed; want about 200", rec.Voice.Heard, rec.Voice.Changed)
	}
	if standby.Heard("INVITE") != 0 {
		t.Error("the standby was asked although the control room had answered")
	}
	n.empty(5 * time.Second)
}
