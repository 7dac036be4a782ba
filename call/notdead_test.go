package call

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestNotADeath lists what must not be taken for the death of an endpoint (R20). Each history begins with a call that talks since 1 s; every Check gets the
// same answer, so much later; the driver ticks. Whatever happens, nobody else is asked and the caller is not hung up.
func TestNotADeath(t *testing.T) {
	const alive, mute = "alive", ""
	tests := []struct {
		sentence string
		checked  string // what becomes of each Check, after 20 ms, or after a second if that is silence
		happens  string
	}{
		{"a caller who says nothing for 30 minutes: the endpoint still sends", alive, "30m end"},
		{"a hold with a=sendonly, and the verdict stays good: OPTIONS are not even sent", "dead silent for 1s", "20s muted on; 30m muted off; 31m end"},
		{"a hold with a=inactive while OPTIONS are answered and the verdict is down", alive, "20s muted on; 30s condemned on down; 30m end"},
		{"a hold with c=0.0.0.0 of a host whose OPTIONS die for nine seconds", "dead silent for 1s", "20s muted on; 30s condemned on down; 39s condemned off; 30m end"},
		{"a held endpoint that sends music although it may not, seen every 5 s", "dead 481", "20s muted on; 30s condemned on down; 33s voiced; 38s voiced; 43s voiced; 48s voiced; 50s muted off; 60s end"},
		{"a hold that begins in the middle of a doubt", "dead silent for 1s", "62s hushed 60s; 63.5s muted on; 30m end"},
		{"a mute, VAD or DTX: no packet for half an hour, and OPTIONS are answered", alive, "62s hushed 60s; 30m voiced; 31m end"},
		{"DTX again and again", alive, "62s hushed 60s; 64s voiced; 67s hushed 64s; 69s voiced; 72s hushed 69s; 75s voiced; 80s end"},
		{"a PBX that answers 405 or 501 to OPTIONS in a dialog, and mutes", alive, "62s hushed 60s; 10m end"},
		{"a PBX that has never answered OPTIONS in a dialog, and mutes: the driver does not call that death", alive, "62s hushed 60s; 10m end"},
		{"one lost OPTIONS", alive, "62s hushed 60s; 62.001s checked dead silent for 1s; 10m end"},
		{"every second OPTIONS lost", mute, "62s hushed 60s; 63s checked dead silent for 1s; 63.1s checked alive; 68.5s checked dead silent for 1s; 69.5s checked alive; 70s voiced; 80s end"},
		{"two OPTIONS lost before and after a word", mute, "62s hushed 60s; 63s checked dead silent for 1s; 63.2s voiced; 65.2s hushed 63.2s; 66s checked dead silent for 1s; 67s voiced; 80s end"},
		{"an OPTIONS that dies when the media is back already", mute, "62s hushed 60s; 63s checked dead silent for 1s; 63.9s voiced; 64s checked dead silent for 1s; 80s end"},
		{"outcomes that nobody asked for", mute, "62s checked dead 481; 62.1s checked dead 481; 63s hushed 60s; 63.1s voiced; 63.2s checked dead 481; 64s checked dead 481; 80s end"},
		{"signalling dead while the telephones' RTP flows", "dead silent for 1s", "60s condemned on down; 30m end"},
		{"481 in the dialog while RTP flows", "dead 481", "60s lost callee; 61s lost callee; 30m end"},
		{"the verdict dies and RTP flows on after a word's pause", "dead silent for 1s", "61.9s hushed 59.9s; 62s voiced; 62.1s condemned on down; 30m end"},
		{"the connection is reset and is back before the media pauses", alive, "60s condemned on its connection was reset; 61s condemned off; 63s hushed 61s; 10m end"},
		{"the endpoint dies in the ladder's eyes only", alive, "60s died 1; 60s unreachable 1; 61s refused 1 503; 10m end"},
		{"a network pause of 2.5 s", mute, "62s hushed 60s; 62.5s voiced; 10m end"},
		{"ICMP from the media port alone: one telephone has closed its RTCP", alive, "60s hushed 60s icmp; 60.02s voiced; 61s hushed 61s icmp; 61.1s voiced; 10m end"},
		{"ICMP from the media port, and OPTIONS are answered", alive, "60s hushed 60s icmp; 10m end"},
		{
			"our own process stopped for 5 s: the silence was ours", mute,
			"62s hushed 60s; 67s voided 69s; 67s checked dead silent for 1s; 67.01s voiced; 10m end",
		},
		{
			"a suspended machine: silence, dead OPTIONS and resets come in at once", mute,
			"62s hushed 60s; 67s voided 69s; 67s checked dead silent for 1s; 67s condemned on its connection was reset; 67s hushed 60s icmp; 67.3s voiced; 10m end",
		},
		{
			"everything silent at once, for a minute: our own link is gone", "dead silent for 1s",
			"61s voided 63s; 62s hushed 60s; 62s condemned on down; 63s voided 65s; 65s voided 67s; 67s voided 69s; 69s voided 71s; 71s voided 73s; 72s voiced; 10m end",
		},
		{"the caller's own leg does not speak for the endpoint's death", alive, "60s cancelled; 61s planned; 10m end"},
	}
	for _, tt := range tests {
		t.Run(tt.sentence, func(t *testing.T) {
			s := &stage{}
			for _, line := range []string{"call: emergency", "plan: rescue rescue-bye", "ask: control-room", "ask: standby-room"} {
				if err := s.line(line, nil); err != nil {
					t.Fatal(err)
				}
			}
			c := New(Params{})
			c.Step(epoch, Planned{Plan: s.plan})
			c.Step(epoch.Add(time.Second), Answered{Attempt: 1, Usable: true})
			c.Step(epoch.Add(time.Second), Confirmed{})
			w := watcher{t: t, stage: s, call: c, checked: tt.checked}
			for _, line := range strings.Split(tt.happens, ";") {
				word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
				at, err := time.ParseDuration(word)
				if err != nil {
					t.Fatal(err)
				}
				w.until(epoch.Add(at))
				if rest == "end" {
					break
				}
				ev, err := s.parse(strings.Fields(rest))
				if err != nil {
					t.Fatal(err)
				}
				w.step(epoch.Add(at), ev)
			}
			if c.Phase != PhaseTalking {
				t.Errorf("got phase %d, want the call to talk on", c.Phase)
			}
		})
	}
}

// watcher drives a call that must be left alone.
type watcher struct {
	t       *testing.T
	stage   *stage
	call    *Call
	checked string
	outcome time.Time // when the Check that is out is answered
}

// until lets time go by.
func (w *watcher) until(then time.Time) {
	for range 10000 {
		wake := w.call.Wake()
		switch {
		case !w.outcome.IsZero() && !w.outcome.After(then) && (wake.IsZero() || !wake.Before(w.outcome)):
			at := w.outcome
			w.outcome = time.Time{}
			ev, err := w.stage.parse(strings.Fields("checked " + w.checked))
			if err != nil {
				w.t.Fatal(err)
			}
			w.step(at, ev)
		case !wake.IsZero() && !wake.After(then):
			w.step(wake, Tick{})
		default:
			return
		}
	}
	w.t.Fatal("the call spins")
}

func (w *watcher) step(now time.Time, ev Event) {
	for _, a := range w.call.Step(now, ev) {
		switch a := a.(type) {
		case Check:
			if w.checked != "" {
				w.outcome = now.Add(20 * time.Millisecond)
				if strings.Contains(w.checked, "silent") {
					w.outcome = now.Add(time.Second)
				}
			}
		case Note:
		default:
			w.t.Errorf("%s, on %s: got %q, want the call left alone", now.Sub(epoch), fmt.Sprintf("%#v", ev), describe(a))
		}
	}
}
