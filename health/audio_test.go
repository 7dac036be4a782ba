package health

import (
	"strings"
	"testing"
	"time"
)

// TestAudioThatIsOneWayIsToldFromSilence: each word is five seconds of a call. What a call-taker or a phone does by itself is never found.
func TestAudioThatIsOneWayIsToldFromSilence(t *testing.T) {
	tests := []struct {
		name string
		call string // talk, mute (RTCP goes on), …; see audioStep
		want string // the findings after each
	}{
		{"a call that talks", "talk talk talk talk", "fine fine fine fine"},
		{"a muted headset: the phone sends RTCP and says that it sends no audio", "talk talk mute mute mute mute mute mute", "fine fine fine fine fine fine fine fine"},
		{"silence suppression with a packet now and then", "talk dtx dtx dtx dtx", "fine fine fine fine fine"},
		{"a caller who says nothing", "talk hush hush hush hush", "fine fine fine fine fine"},
		{"both say nothing", "talk dead-quiet dead-quiet dead-quiet dead-quiet", "fine fine fine fine fine"},
		{"it says that it sends, and nothing arrives", "talk talk lost lost lost", "fine fine fine unheard unheard"},
		{"one report of that is a network that hiccups", "talk lost talk lost talk", "fine fine fine fine fine"},
		{"it is heard again", "talk lost lost talk talk", "fine fine unheard fine fine"},
		{"it does not hear the caller any more", "talk talk deaf deaf deaf", "fine fine fine deaf deaf"},
		{"it hears the caller again", "talk deaf deaf talk", "fine fine deaf fine"},
		{"it does not hear, but there is nothing to hear", "talk deaf-hush deaf-hush deaf-hush", "fine fine fine fine"},
		{"it never said what it hears", "no-blocks no-blocks no-blocks no-blocks", "fine fine fine fine"},
		{"audio and RTCP are gone", "talk talk gone gone gone gone", "fine fine fine fine unheard unheard"},
		{"audio and RTCP are gone for ten seconds", "talk talk gone gone talk", "fine fine fine fine fine"},
		{"nothing comes from anybody", "talk talk all-gone all-gone all-gone all-gone", "fine fine fine fine fine fine"},
		{"a phone without RTCP falls silent", "rtp rtp gone gone gone", "fine fine fine fine unheard"},
		{"one that is known to pause", "pauses rtp rtp gone gone gone gone", "fine fine fine fine fine fine fine"},
		{"it comes back from a long silence", "rtp gone gone gone rtp", "fine fine fine unheard fine"},
		{"it was never heard: that is another finding", "gone gone gone gone", "fine fine fine fine"},
		{"encrypted reports tell nothing", "sealed talk lost lost lost deaf deaf deaf", "fine fine fine fine fine fine fine fine"},
		{"another source takes over, and its count begins anew", "talk talk restart restart", "fine fine fine fine"},
	}
	names := map[AudioFinding]string{AudioFine: "fine", AudioUnheard: "unheard", AudioDeaf: "deaf"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var a Audio
			var got []string
			now, seen := noon, AudioSeen{}
			for _, word := range strings.Fields(tt.call) {
				for range 5 {
					now = now.Add(time.Second)
					audioSecond(now, &seen, word)
					a.Look(now, seen)
				}
				audioReport(now, &seen, word)
				found, why := a.Look(now, seen)
				if (found == AudioFine) != (why == "") {
					t.Errorf("%s: found %s, because %q", word, names[found], why)
				}
				got = append(got, names[found])
			}
			if words := strings.Join(got, " "); words != tt.want {
				t.Errorf("%s\ngot  %s\nwant %s", tt.call, words, tt.want)
			}
		})
	}
}

// audioSecond is a second of RTP.
func audioSecond(now time.Time, seen *AudioSeen, word string) {
	switch word {
	case "talk", "hush", "rtp", "no-blocks", "deaf", "deaf-hush":
		seen.Packets += 50
		seen.Last = now
	case "dtx":
		seen.Packets++
		seen.Last = now
	}
	switch word {
	case "hush", "dead-quiet", "deaf-hush", "all-gone":
	default:
		seen.Caller += 50
		seen.CallerLast = now
	}
}

// audioReport is what the endpoint says of these five seconds.
func audioReport(now time.Time, seen *AudioSeen, word string) {
	switch word {
	case "gone", "all-gone", "rtp", "pauses", "sealed":
		seen.Pauses = seen.Pauses || word == "pauses"
		seen.Sealed = seen.Sealed || word == "sealed"
		return
	}
	seen.Reports++
	seen.Last = now
	switch word {
	case "talk", "hush", "lost", "no-blocks", "deaf", "deaf-hush":
		seen.Claims += 250
	case "dtx":
		seen.Claims += 5
	case "restart":
		seen.Claims = uint32(seen.Reports)
	}
	switch word {
	case "no-blocks", "deaf", "deaf-hush", "hush", "dead-quiet":
	default:
		seen.Blocks++
		seen.Hears += 250
	}
}
