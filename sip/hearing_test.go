package sip_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"nines/internal/town"
	"nines/media/voice"
	"nines/policy"
	"nines/sip"
)

// coded is a tape as it is heard over and over in G.711 A-law.
func coded(t *voice.Tape, rounds int) []byte {
	var b []byte
	for range rounds {
		for i := range t.Frames() {
			b = append(b, t.Payload(voice.PCMA, i)...)
		}
	}
	return b
}

// TestWhatACallerHearsWhileSomebodyIsLookedFor: R21. Nothing unless the route says so; from the loss until somebody talks, in the caller's codec.
func TestWhatACallerHearsWhileSomebodyIsLookedFor(t *testing.T) {
	comfort := voice.Comfort() // before the clock of the test runs
	tests := []struct {
		name    string
		hearing policy.Hearing
		want    []byte // what is heard begins so; empty: nothing
	}{
		{"nothing", policy.HearNothing, nil},
		{"comfort", policy.HearComfort, coded(comfort, 1)},
		{"hold-the-line", policy.HearHoldTheLine, coded(voice.Ringing(), 1)}, // the text of these tests
	}
	for _, tt := range tests {
		for _, ends := range []string{"answered", "kept", "left"} {
			t.Run(tt.name+", "+ends, func(t *testing.T) {
				inWard(t, func(r *sip.Routing) { r.Routes[0].Hearing = tt.hearing }, func(w *ward) {
					for _, room := range []string{"standby-room", "partner"} {
						w.rooms[room].Script(town.Always(town.Answers(3 * time.Second)))
						if ends != "answered" {
							w.rooms[room].Script(town.Always(town.Rings(0)))
						}
					}
					c, err := w.carrier.Place(town.Dial{URI: "sip:999@" + nodeAddr + ":5060", From: "+441905000001", Tapes: true})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					defer cancel()
					if err := c.Talks(ctx); err != nil {
						t.Fatal(err)
					}
					time.Sleep(4 * time.Second)
					w.hosts["control-room"].Power(town.Dead)
					time.Sleep(6 * time.Second) // two seconds of silence and two OPTIONS, then two seconds of what is heard
					if w.server.Counters().Rescuing != 1 {
						t.Fatal("nobody is looked for")
					}
					got := c.Record().Voice.Tape
					switch {
					case len(tt.want) == 0 && len(got) > 0:
						t.Errorf("the caller heard %d bytes, want nothing: it may be in danger", len(got))
					case len(tt.want) > 0 && (len(got) < 8000 || !bytes.HasPrefix(append(tt.want, tt.want...), got)):
						t.Errorf("the caller heard %d bytes that are not what the route says", len(got))
					}
					switch ends {
					case "answered":
						w.movesWithin(c, "standby-room", 3*time.Second)
					case "kept":
						w.hosts["control-room"].Power(town.On)
						time.Sleep(2 * time.Second)
						if n := w.server.Counters().Kept; n != 1 {
							t.Fatalf("kept %d, want 1", n)
						}
					case "left":
						c.Clear()
						time.Sleep(2 * time.Second)
					}
					before := len(c.Record().Voice.Tape)
					time.Sleep(5 * time.Second)
					if after := len(c.Record().Voice.Tape); after != before {
						t.Errorf("the caller hears %d bytes more of it after the end", after-before)
					}
					if v := c.Record().Voice; ends != "left" && time.Since(v.Last) > time.Second {
						t.Errorf("the caller has heard nobody for %v", time.Since(v.Last))
					}
				})
			})
		}
	}
}

// TestACallerWhoCannotBePlayedToIsRescuedAllTheSame: on hold it wants to hear nothing.
func TestACallerWhoCannotBePlayedToIsRescuedAllTheSame(t *testing.T) {
	voice.Comfort()
	inWard(t, func(r *sip.Routing) { r.Routes[0].Hearing = policy.HearComfort }, func(w *ward) {
		c := w.call()
		if code := <-c.Reinvite("sendonly"); code != 200 {
			t.Fatalf("hold: %d", code)
		}
		w.rooms["control-room"].Kill()
		time.Sleep(25 * time.Second)
		if n := w.talking("standby-room"); n != 1 {
			t.Errorf("the standby has %d calls, want the one that was moved", n)
		}
		if v := c.Record().Voice; v.Changed+v.Foreign != 0 {
			t.Errorf("a caller on hold was sent %d packets that nobody said", v.Changed+v.Foreign)
		}
		w.stays(c)
	})
}

// TestComfortNoiseIsQuiet: who stands beside a hidden caller must not hear it. -50 dBm0 is what a telephone line has by itself; 0 dBm0 is a sine of 3.14 dB below full
// scale.
func TestComfortNoiseIsQuiet(t *testing.T) {
	loudest := 0
	for _, b := range coded(voice.Comfort(), 1) {
		loudest = max(loudest, alawLevel(b))
	}
	if loudest > 400 { // of 32768: -38 dB for a single sample
		t.Errorf("the loudest sample of comfort noise is %d of 32768", loudest)
	}
}

// alawLevel is the magnitude of an A-law sample (ITU-T G.711).
func alawLevel(b byte) int {
	b ^= 0x55
	exponent, mantissa := int(b>>4)&7, int(b&15)
	if exponent == 0 {
		return mantissa<<4 + 8
	}
	return (mantissa<<4 + 0x108) << (exponent - 1)
}
