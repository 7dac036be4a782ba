package call

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nines/policy"
)

// TestLadder holds each rule of R4, R6, R8 and R44 against one short history. Between the events the driver ticks whenever the call wants it.
//
// The plan lists its steps, own rooms as a, b, c… and partners as p, q…, then what is special about it. In the outcome a line of actions stands
// behind the time at which they were wanted; notes, the reasons in words and the end of the call are left out.
func TestLadder(t *testing.T) {
	tests := []struct {
		sentence string
		plan     string
		happens  string
		want     string
	}{
		// Silence.
		{"the first is asked at once", "a b", "0s planned", "0s ask a"},
		{"no response for the patience asks the next as well", "a b", "1s end", "0s ask a | 1s ask b"},
		{"each endpoint has its own patience", "a/300ms b", "300ms end", "0s ask a | 300ms ask b"},
		{"patience that nobody set is a second", "a/0s b", "1s end", "0s ask a | 1s ask b"},
		{"a 100 ends patience", "a b", "999ms trying 1; 3.9s end", "0s ask a"},
		{"a 100 that comes with the deadline is in time", "a b", "1s trying 1; 3.9s end", "0s ask a"},
		{"a 100 alone for the progress, from our INVITE, asks the next as well", "a b", "500ms trying 1; 4s end", "0s ask a | 4s ask b"},
		{"progress that nobody set is four seconds", "a b progress=0s", "500ms trying 1; 4s end", "0s ask a | 4s ask b"},
		{"a 100 after patience is no new hope and no new reason", "a b c", "1.1s trying 1; 1.2s rang 2 180; 9s end", "0s ask a | 1s ask b | 1.2s ring"},
		{"a 199 is not ringing", "a b", "1ms rang 1 199; 4s end", "0s ask a | 4s ask b"},
		{"181 and 182 at an own room are ringing", "a b", "1ms rang 1 182; 9s end", "0s ask a | 1ms ring"},
		{"ICMP asks the next at once as well", "a b", "1ms unreachable 1", "0s ask a | 1ms ask b"},
		{"ICMP again is no new reason", "a b c", "1ms unreachable 1; 2ms unreachable 1", "0s ask a | 1ms ask b"},
		{"ICMP does not end ringing: own rooms may be asked", "a b", "1ms rang 1 180; 2ms unreachable 1", "0s ask a | 1ms ring | 2ms ask b"},
		{"ICMP does not end ringing: partners may not", "a p", "1ms rang 1 180; 2ms unreachable 1; 59s end", "0s ask a | 1ms ring"},
		{"an attempt with ICMP may answer", "a b", "1ms unreachable 1; 2s answered 1", "0s ask a | 1ms ask b | 2s aim 1, answer 1, stop 2"},

		// Refusal.
		{"a refusal asks the next at once", "a b", "1ms refused 1 503", "0s ask a | 1ms ask b"},
		{"a refusal after silence is no second reason", "a b c", "1s end; 1.1s refused 1 timeout", "0s ask a | 1s ask b"},
		{
			"a refusal after ringing that passed its time is a second reason", "a b c ringing=1s", "1ms rang 1 180; 1.002s rang 2 180; 1.5s refused 1 480",
			"0s ask a | 1ms ring | 1.001s ask b | 1.5s ask c",
		},
		{"487 without our CANCEL is a refusal", "a b", "1ms refused 1 487", "0s ask a | 1ms ask b"},
		{"a 2xx without an answer is discarded and a refusal", "a b", "1ms answered 1 unusable", "0s ask a | 1ms discard 1, ask b"},
		{"all refused: 500 at once", "a b", "1ms refused 1 486; 2ms refused 2 600", "0s ask a | 1ms ask b | 2ms reject 500"},
		{"all refused but one that is silent: not yet", "a b", "1s end; 1.1s refused 2 503; 4.9s end", "0s ask a | 1s ask b"},
		{"nobody is left but one that was told to stop: 500 at once", "a b no-overlap", "1s end; 1.1s refused 2 503", "0s ask a | 1s stop 1, ask b | 1.1s reject 500"},
		{"a stopped attempt's refusal moves nothing", "a b c d e", "3s end; 3.1s refused 1 487", "0s ask a | 1s ask b | 2s ask c | 3s stop 1, ask d"},
		{
			"a stopped attempt that was hoped for moves nothing either", "a b c no-overlap ringing=1s", "1ms rang 1 180; 1.1s refused 1 480",
			"0s ask a | 1ms ring | 1.001s stop 1, ask b",
		},
		{
			"nor does its unusable answer", "a b c no-overlap ringing=1s", "1ms rang 1 180; 1.1s answered 1 unusable",
			"0s ask a | 1ms ring | 1.001s stop 1, ask b | 1.1s discard 1",
		},
		{"nor a full endpoint that was stopped meanwhile", "a b c no-overlap", "1.1s full 1 2s", "0s ask a | 1s stop 1, ask b"},
		{
			"a stopped attempt's unusable answer moves nothing", "a b c d e", "3s end; 3.1s answered 1 unusable",
			"0s ask a | 1s ask b | 2s ask c | 3s stop 1, ask d | 3.1s discard 1",
		},
		{"an attempt that has refused can't answer", "a b", "1ms refused 1 503; 2ms answered 1", "0s ask a | 1ms ask b | 2ms discard 1"},
		{"a redirect that may not be followed is a refusal", "a b", "1ms refused 1 302 sip:x", "0s ask a | 1ms ask b"},
		{
			"a redirect is followed to its contacts first", "a/follow b", "1ms refused 1 302 sip:x sip:y; 2ms refused 2 404; 3ms refused 3 404",
			"0s ask a | 1ms ask a at sip:x | 2ms ask a at sip:y | 3ms ask b",
		},
		{"a redirect of a silent endpoint is news", "a/follow b", "1s end; 1.1s refused 1 302 sip:x", "0s ask a | 1s ask b | 1.1s ask a at sip:x"},
		{
			"a contact that is silent lets the next contact be asked", "a/follow b", "1ms refused 1 302 sip:x sip:y; 1.001s end",
			"0s ask a | 1ms ask a at sip:x | 1.001s ask a at sip:y",
		},

		// Ringing.
		{"ringing is not given up", "a b", "1ms rang 1 180; 150s answered 1", "0s ask a | 1ms ring | 1m0.001s ring | 2m0.001s ring | 2m30s aim 1, answer 1"},
		{"ringing for its time asks the next own room as well", "a b ringing=2s", "500ms rang 1 180; 2.5s end", "0s ask a | 500ms ring | 2.5s ask b"},
		{"ringing counts from the first 18x", "a b ringing=2s", "500ms rang 1 183; 2s rang 1 180; 2.5s end", "0s ask a | 500ms ring | 2.5s ask b"},
		{"ringing skips partners", "a p b ringing=2s", "1ms rang 1 180; 2.001s end", "0s ask a | 1ms ring | 2.001s ask b"},
		{"ringing never asks a partner", "a p ringing=2s", "1ms rang 1 180; 59s end", "0s ask a | 1ms ring"},
		{"ringing to partners skips own rooms", "a b p ringing-to-partners=5s", "1ms rang 1 180; 5.001s end", "0s ask a | 1ms ring | 5.001s ask p"},
		{
			"ringing to partners counts from the room that rang first", "a b p ringing=2s ringing-to-partners=5s", "0s rang 1 180; 2s end; 2.1s rang 2 180; 5s end",
			"0s ask a, ring | 2s ask b | 5s ask p",
		},
		{
			"a room that died and rings again rings anew", "a b p ringing-to-partners=5s", "0s rang 1 180; 4s died 1; 4.1s rang 1 180; 4.2s refused 2 503; 9s end; 9.1s end",
			"0s ask a, ring | 4s ask b | 9.1s ask p",
		},
		{
			"another own room's refusal asks only own rooms while one rings", "a b p c ringing=2s", "1ms rang 1 180; 2.001s end; 3s refused 2 503",
			"0s ask a | 1ms ring | 2.001s ask b | 3s ask c",
		},
		{
			"another own room's silence asks only own rooms while one rings", "a b p c ringing=2s", "1ms rang 1 180; 3.001s end",
			"0s ask a | 1ms ring | 2.001s ask b | 3.001s ask c",
		},
		{
			"late ringing is hope again, and its death a reason again", "a b c", "1s end; 1.5s rang 1 180; 1.6s rang 2 180; 9s died 1",
			"0s ask a | 1s ask b | 1.5s ring | 9s ask c",
		},
		{"death of a room that rings asks the next at once", "a p", "1ms rang 1 180; 5s died 1", "0s ask a | 1ms ring | 5s ask p"},
		{"death of a room that says nothing asks the next at once", "a p", "1ms trying 1; 50ms died 1", "0s ask a | 50ms ask p"},
		{"dying twice is no new reason", "a b c", "1ms died 1; 2ms died 1", "0s ask a | 1ms ask b"},
		{"who died and rings again rings", "a b give-up=5s", "1ms died 1; 1s rang 1 180; 1.1s refused 2 503; 50s end", "0s ask a | 1ms ask b | 1s ring"},

		// Partners.
		{"a partner is asked when the own room is silent", "a p", "1s end", "0s ask a | 1s ask p"},
		{"a partner waits while an own room was asked a moment ago", "a/300ms b p", "300ms end; 350ms refused 1 503; 1.2s end", "0s ask a | 300ms ask b"},
		{"a partner's 183 is not ringing", "p a", "1ms rang 1 183; 4s end", "0s ask p | 4s ask a"},
		{"a partner's 180 is", "p a", "1ms rang 1 180; 15s end", "0s ask p | 1ms ring"},
		{"the second partner waits while the first rings", "p q", "1ms rang 1 180; 19s end", "0s ask p | 1ms ring"},
		{"the second partner is asked when the first has rung for 20 s", "p q", "1ms rang 1 180; 20.001s end", "0s ask p | 1ms ring | 20.001s ask q"},
		{"the second partner is asked when the first is silent", "p q", "1s end", "0s ask p | 1s ask q"},
		{"the second partner is asked when the first refuses", "p q", "1ms rang 1 180; 3s refused 1 486", "0s ask p | 1ms ring | 3s ask q"},
		{"the second partner is asked when the first dies", "p q", "1ms rang 1 180; 3s died 1", "0s ask p | 1ms ring | 3s ask q"},
		{"the second partner is asked when the first sends ICMP", "p q", "1ms unreachable 1", "0s ask p | 1ms ask q"},
		{"an own room behind a partner is asked when the partner has rung long", "p a ringing=2s", "1ms rang 1 180; 2.001s end", "0s ask p | 1ms ring | 2.001s ask a"},
		{
			"a partner that rang long gives way to the next only with hope gone at home", "p a q ringing=2s", "1ms rang 1 180; 2.1s rang 2 180; 59s end",
			"0s ask p | 1ms ring | 2.001s ask a",
		},

		// Three at most.
		{"a fourth stops the oldest", "a b c d", "3s end", "0s ask a | 1s ask b | 2s ask c | 3s stop 1, ask d"},
		{"a fourth stops the oldest that does not ring", "a b c d", "0s rang 1 180; 0s unreachable 1; 2s end", "0s ask a, ring, ask b | 1s ask c | 2s stop 2, ask d"},
		{"one that rang and died goes after those that never rang", "a b c d", "0s rang 1 180; 1ms died 1; 2.001s end", "0s ask a, ring | 1ms ask b | 1.001s ask c | 2.001s stop 2, ask d"},
		{
			"while three ring the fourth waits", "a b c d ringing=1s", "0s rang 1 180; 1s end; 1s rang 2 180; 2s end; 2s rang 3 180; 9s end; 9s died 2",
			"0s ask a, ring | 1s ask b | 2s ask c | 9s stop 2, ask d",
		},

		// No overlap.
		{"without overlap silence moves on", "a b no-overlap", "1s end", "0s ask a | 1s stop 1, ask b"},
		{"without overlap a refusal needs no stop", "a b no-overlap", "1ms refused 1 503", "0s ask a | 1ms ask b"},
		{"without overlap ringing moves on after its time", "a b no-overlap ringing=2s", "1ms rang 1 180; 2.001s end", "0s ask a | 1ms ring | 2.001s stop 1, ask b"},
		{"without overlap the last stays asked", "a no-overlap", "3.9s end", "0s ask a"},
		{
			"without overlap what was stopped rings for nobody", "a b no-overlap ringing=2s give-up=5s", "1ms rang 1 180; 2.001s end; 3s trying 2; 7.001s end",
			"0s ask a | 1ms ring | 2.001s stop 1, ask b | 7.001s reject 500, stop 2",
		},

		// Full.
		{"full asks the next", "a p q", "1ms refused 1 503; 1ms full 2", "0s ask a | 1ms ask p, ask q"},
		{"full comes back after the others", "a p q", "1ms refused 1 503; 1ms full 2 50ms; 200ms refused 3 503", "0s ask a | 1ms ask p, ask q | 200ms ask p"},
		{"full with a time that has passed is not asked in a circle", "p", "1ms full 1 1ms; 100ms end", "0s ask p"},
		{"full with a time that has passed is asked again soon", "p", "1ms full 1 1ms; 101ms end", "0s ask p | 101ms ask p"},
		{"full for ever is busy", "a", "1ms full 1", "0s ask a | 1ms reject 500"},
		{"full is not tried while another partner rings", "a p q", "1ms refused 1 503; 1ms full 2 1s; 2ms rang 3 180; 9s end", "0s ask a | 1ms ask p, ask q | 2ms ring"},
		{"routine: full for ever does not end the asking", "routine a b", "1ms full 1", "0s ask a | 1ms ask b"},
		{"routine: full after the end of asking is not tried again", "routine a b", "1s end; 1s refused 1 486; 1s full 2 2s", "0s ask a | 1s ask b, reject 486"},

		// Answer.
		{"the first answer wins", "a b", "1s end; 1.1s answered 2; 1.1s answered 1", "0s ask a | 1s ask b | 1.1s aim 2, answer 2, stop 1, discard 1"},
		{"an answer that comes with the deadline wins", "a b", "1s answered 1", "0s ask a | 1s aim 1, answer 1"},
		{"an answer that comes with give-up wins", "a give-up=2s", "1ms trying 1; 2s answered 1", "0s ask a | 2s aim 1, answer 1"},
		{"what was told to stop is not told again", "a b c d", "3s end; 3.1s answered 4", "0s ask a | 1s ask b | 2s ask c | 3s stop 1, ask d | 3.1s aim 4, answer 4, stop 2, stop 3"},
		{"nobody is asked after an answer", "a b", "1ms answered 1; 9s refused 1 503; 9s died 1", "0s ask a | 1ms aim 1, answer 1"},

		// Giving up.
		{"nobody in the plan: 500 at once", "", "0s planned", "0s reject 500"},
		{"nothing rang for give-up", "a b give-up=3s", "1ms trying 1; 2s end; 3s end", "0s ask a | 3s reject 500, stop 1"},
		{"ringing that comes with give-up is in time", "a give-up=2s", "1ms trying 1; 2s rang 1 180; 9s end", "0s ask a | 2s ring"},
		{"a 100 that comes with the end of the four seconds is in time", "a", "1s end; 4s trying 1; 9s end", "0s ask a"},
		{"give-up that nobody set is 20 s", "a give-up=0s", "1ms trying 1; 19.9s end; 20s end", "0s ask a | 20s reject 500, stop 1"},
		{
			"give-up begins anew when ringing dies", "a give-up=5s", "1ms trying 1; 3s rang 1 180; 9s died 1; 9.1s trying 1; 13.9s end; 14s end",
			"0s ask a | 3s ring | 14s reject 500, stop 1",
		},
		{"all asked and no 100 for four seconds", "a b", "5s end", "0s ask a | 1s ask b | 5s reject 500, stop 1, stop 2"},
		{"a 100 from anybody stays the four seconds", "a b", "2s trying 2; 5s end", "0s ask a | 1s ask b"},
		{
			"a 100 from who refused since is none", "a b c", "1ms trying 1; 2ms refused 1 503; 1.002s end; 5.002s end",
			"0s ask a | 2ms ask b | 1.002s ask c | 5.002s reject 500, stop 2, stop 3",
		},
		{
			"a 100 from who was stopped since is none", "a b c d", "10ms trying 1; 10ms unreachable 1; 2.01s end; 6.01s end",
			"0s ask a | 10ms ask b | 1.01s ask c | 2.01s stop 1, ask d | 6.01s reject 500, stop 2, stop 3, stop 4",
		},
		{
			"four seconds begin when the last that was heard is gone", "a b", "1ms trying 1; 1ms unreachable 1; 8s died 1; 11.9s end; 12s end",
			"0s ask a | 1ms ask b | 12s reject 500, stop 1, stop 2",
		},
		{"an answer after our 500 is discarded", "a", "4s end; 4s answered 1", "0s ask a | 4s reject 500, stop 1, discard 1"},
		{"routine: 486 ends the asking", "routine a b", "1ms refused 1 486", "0s ask a | 1ms reject 486"},
		{"routine: 503 does not", "routine a b", "1ms refused 1 503", "0s ask a | 1ms ask b"},
		{"routine: a dead transport does not", "routine a b", "1ms refused 1 transport", "0s ask a | 1ms ask b"},
		{
			"routine: who rings may answer after another's 486", "routine a b ringing=1s", "0s rang 1 180; 1s end; 2s refused 2 486; 9s answered 1",
			"0s ask a, ring | 1s ask b | 9s aim 1, answer 1",
		},
		{
			"routine: who rings and refuses ends it", "routine a b ringing=1s", "0s rang 1 180; 1s end; 2s refused 2 486; 9s refused 1 480",
			"0s ask a, ring | 1s ask b | 9s reject 486",
		},
		{
			"routine: the last who said no is believed", "routine a b c ringing=1s", "0s rang 1 180; 1s rang 2 180; 2s end; 2s rang 3 180; 3s refused 1 486; 4s refused 2 404; 5s refused 3 486",
			"0s ask a, ring | 1s ask b | 2s ask c | 5s reject 486",
		},
		{"routine: time out says what was said last", "routine a b", "1ms refused 1 480; 4.001s end", "0s ask a | 1ms ask b | 4.001s reject 480, stop 2"},

		// Cancel.
		{"a cancel stops everything", "a b c", "1s end; 1.1s cancelled; 9s end", "0s ask a | 1s ask b | 1.1s reject 487, stop 1, stop 2"},
		{"a cancel does not stop twice", "a b c d", "3s end; 3.1s cancelled", "0s ask a | 1s ask b | 2s ask c | 3s stop 1, ask d | 3.1s reject 487, stop 2, stop 3, stop 4"},
		{"no attempt starts after a cancel", "a b", "1ms cancelled; 2ms refused 1 503; 2ms died 1; 2ms unreachable 1; 2ms full 1", "0s ask a | 1ms reject 487, stop 1"},
		{"an answer that crosses a cancel is discarded", "a", "1ms cancelled; 1ms answered 1", "0s ask a | 1ms reject 487, stop 1, discard 1"},
		{"a cancel that crosses an answer is nothing", "a", "1ms answered 1; 1ms cancelled", "0s ask a | 1ms aim 1, answer 1"},
		{"routine: a cancel is 487 too", "routine a", "1ms cancelled", "0s ask a | 1ms reject 487, stop 1"},

		// What the caller hears.
		{"no ringing before it rings", "a", "1ms trying 1; 3s end", "0s ask a"},
		{"ringing is sent once", "a b ringing=1s", "0s rang 1 180; 1ms rang 1 180; 1s end; 1s rang 2 180", "0s ask a, ring | 1s ask b"},
		{"and again each minute, after a death too", "a b give-up=90s", "0s rang 1 180; 50s died 1; 50s trying 2; 60s end", "0s ask a, ring | 50s ask b | 1m0s ring"},
		{"without early media SDP goes nowhere", "a", "1ms rang 1 183 sdp", "0s ask a | 1ms ring"},
		{"with early media the first SDP goes up", "a early-media", "1ms rang 1 183 sdp; 2ms rang 1 183 sdp; 3ms rang 1 180 sdp", "0s ask a | 1ms early 1 | 3ms ring"},
		{"a partner's announcement may be early media, but it does not ring", "p early-media", "1ms rang 1 183 sdp; 2ms rang 1 180", "0s ask p | 1ms early 1 | 2ms ring"},
		{"early media is one endpoint's only", "a b early-media", "1ms rang 1 183 sdp; 2ms refused 1 503; 3ms rang 2 183 sdp", "0s ask a | 1ms early 1 | 2ms ask b"},
		{"early media after ringing", "a early-media", "1ms rang 1 180; 2ms rang 1 183 sdp; 60.002s end", "0s ask a | 1ms ring | 2ms early 1 | 1m0.002s ring"},
		{"ringing of a stopped attempt is not heard", "a b no-overlap", "1s end; 1.1s rang 1 180 sdp", "0s ask a | 1s stop 1, ask b"},

		// Talking.
		{"the caller hangs up", "a", "1ms answered 1; 1s confirmed; 2s hung-up caller", "0s ask a | 1ms aim 1, answer 1 | 2s hang-up callee"},
		{"the callee hangs up", "a", "1ms answered 1; 1s confirmed; 2s hung-up callee", "0s ask a | 1ms aim 1, answer 1 | 2s hang-up caller"},
		{"both hang up", "a", "1ms answered 1; 2s hung-up callee; 2s hung-up caller", "0s ask a | 1ms aim 1, answer 1 | 2s hang-up caller"},
		{"the caller hangs up before its ACK", "a", "1ms answered 1; 2ms hung-up caller; 3ms confirmed; 4ms never-acked", "0s ask a | 1ms aim 1, answer 1 | 2ms hang-up callee"},
		{"the caller hangs up while it rings", "a", "1ms hung-up caller", "0s ask a | 1ms reject 487, stop 1"},
		{"nobody is called yet who could hang up", "a", "1ms hung-up callee; 2ms lost caller", "0s ask a"},
		{"an ACK that never comes ends the call", "a", "1ms answered 1; 32s never-acked", "0s ask a | 1ms aim 1, answer 1 | 32s hang-up caller, hang-up callee"},
		{"an ACK that came can't be missing", "a", "1ms answered 1; 2ms confirmed; 32s never-acked", "0s ask a | 1ms aim 1, answer 1"},
		{"a lost caller ends the call", "a", "1ms answered 1; 2ms confirmed; 9s lost caller", "0s ask a | 1ms aim 1, answer 1 | 9s hang-up caller, hang-up callee"},
		{
			"a late answer while they talk is discarded", "a b", "1s end; 1.1s answered 2; 1.2s confirmed; 2s answered 1",
			"0s ask a | 1s ask b | 1.1s aim 2, answer 2, stop 1 | 2s discard 1",
		},
		{
			"a late answer after they talked is discarded", "a b", "1s end; 1.1s answered 2; 1.2s hung-up caller; 2s answered 1",
			"0s ask a | 1s ask b | 1.1s aim 2, answer 2, stop 1 | 1.2s hang-up callee | 2s discard 1",
		},
	}
	for _, tt := range tests {
		t.Run(tt.sentence, func(t *testing.T) {
			got := outcome(t, tt.plan, tt.happens)
			if got != tt.want {
				t.Errorf("%s\n got: %s\nwant: %s", tt.happens, got, tt.want)
			}
		})
	}
}

// outcome plays a short history and writes down what the call wanted done, and when.
func outcome(t *testing.T, plan, happens string) string {
	t.Helper()
	s := stage{}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	class, rest := "emergency", plan
	if after, routine := strings.CutPrefix(plan, "routine"); routine {
		class, rest = "routine", after
	}
	must(s.callIs(class))
	for _, word := range strings.Fields(rest) {
		must(s.word(word))
	}
	c := New(Params{Class: s.class})
	var got lines
	tell := func(at time.Duration, ev Event) {
		for _, a := range c.Step(epoch.Add(at), ev) {
			got.add(at, brief(a))
		}
	}
	if !strings.HasPrefix(happens, "0s planned") {
		tell(0, Planned{Plan: s.plan})
	}
	for _, line := range strings.Split(happens, "; ") {
		when, words, _ := strings.Cut(line, " ")
		at, err := time.ParseDuration(when)
		must(err)
		end := words == "end" // the driver ticks until then, this moment included; before an event that comes with a deadline it does not
		for wake := c.Wake(); !wake.IsZero() && (wake.Before(epoch.Add(at)) || end && wake.Equal(epoch.Add(at))); wake = c.Wake() {
			tell(wake.Sub(epoch), Tick{})
		}
		if end {
			continue
		}
		ev, err := s.parse(strings.Fields(words))
		must(err)
		tell(at, ev)
	}
	return strings.Join(got.text, " | ")
}

// word reads one word of a short plan: "a", "p/300ms", "b/follow", or a setting of the plan.
func (s *stage) word(word string) error {
	name, extra, _ := strings.Cut(word, "/")
	if len(name) > 1 {
		return s.planIs(word)
	}
	words := name
	if name >= "p" {
		words += " partner"
	}
	switch {
	case extra == "follow":
		words += " follow-3xx"
	case extra != "":
		words += " patience=" + extra
	}
	return s.asks(words)
}

// lines gathers actions, one line for each moment.
type lines struct {
	text []string
	last time.Duration
}

func (l *lines) add(at time.Duration, action string) {
	switch {
	case action == "":
	case len(l.text) > 0 && l.last == at:
		l.text[len(l.text)-1] += ", " + action
	default:
		l.text = append(l.text, at.String()+" "+action)
		l.last = at
	}
}

// brief writes an action in a word or two; nothing for what only the record reads.
func brief(a Action) string {
	switch a := a.(type) {
	case Ask:
		if a.Target != "" {
			return fmt.Sprintf("ask %s at %s", a.Endpoint, a.Target)
		}
		return fmt.Sprintf("ask %s", a.Endpoint)
	case Stop:
		return fmt.Sprintf("stop %d", a.Attempt)
	case Resume:
		return fmt.Sprintf("resume %d", a.Attempt)
	case Discard:
		return fmt.Sprintf("discard %d", a.Attempt)
	case Reject:
		return fmt.Sprintf("reject %d", a.Code)
	case HangUp, Ring, Early, Aim, Answer:
		text, _, _ := strings.Cut(describe(a), ":")
		return text
	case Note, Over, NeedPlan:
		return ""
	}
	return fmt.Sprintf("%#v", a)
}

// TestAttemptsAreNumberedAndExplained: on every attempt after the first the endpoint is told why the call comes to it (R10).
func TestAttemptsAreNumberedAndExplained(t *testing.T) {
	plan := policy.Plan{Overlap: true, Steps: []policy.Step{{Endpoint: "a", Why: "up"}, {Endpoint: "p", Partner: true}}}
	c := New(Params{})
	first := c.Step(epoch, Planned{Plan: plan})[0].(Ask)
	if want := (Ask{Attempt: 1, Endpoint: "a", Why: "up"}); first != want {
		t.Errorf("the first ask\n got: %#v\nwant: %#v", first, want)
	}
	second := c.Step(epoch, Refused{Attempt: 1, Code: 486})[0].(Ask)
	if want := (Ask{Attempt: 2, Endpoint: "p", Partner: true, Retarget: true, Cause: 486, Why: "a refused with 486"}); second != want {
		t.Errorf("the second ask\n got: %#v\nwant: %#v", second, want)
	}
}

// TestPlanMakesACallAnEmergency: where the caller's class and the plan's disagree, emergency wins.
func TestPlanMakesACallAnEmergency(t *testing.T) {
	tests := []struct {
		sentence   string
		call, plan policy.Class
		want       policy.Class
	}{
		{"a plan raises the class", policy.Routine, policy.Emergency, policy.Emergency},
		{"a plan does not lower it", policy.Emergency, policy.Routine, policy.Emergency},
		{"a routine call stays one", policy.Routine, policy.Routine, policy.Routine},
	}
	for _, tt := range tests {
		c := New(Params{Class: tt.call})
		c.Step(epoch, Planned{Plan: policy.Plan{Class: tt.plan, Steps: []policy.Step{{Endpoint: "a"}}}})
		if c.Class != tt.want {
			t.Errorf("%s: got %v, want %v", tt.sentence, c.Class, tt.want)
		}
	}
}
