package health

import "time"

// How one-way audio is told from somebody who is silent.
const (
	audioGone    = 15 * time.Second // without RTP and RTCP: three times RTCP's interval (RFC 3550 §6.2)
	audioOthers  = time.Second      // the caller's audio arrives meanwhile
	audioPackets = 50               // between two reports are sound; fewer are a straggler, or a phone that suppresses silence
	audioReports = 2                // reports in a row that say the same
)

// AudioSeen is what is seen of both directions of a call that talks.
type AudioSeen struct {
	Packets uint64    // RTP from the endpoint
	Last    time.Time // its latest packet of any kind; zero: there was none
	Reports uint64    // its RTCP packets
	Claims  uint32    // RTP packets that it says it has sent: its latest sender report
	Blocks  uint64    // its RTCP packets that say what it hears
	Hears   uint32    // what the latest of them says: it moves for as long as it hears anything
	Sealed  bool      // its reports are encrypted
	Pauses  bool      // the endpoint is known to send nothing at all while it is silent, no RTCP either

	Caller     uint64 // RTP from the caller, which is sent on to the endpoint
	CallerLast time.Time
}

// AudioFinding is what an [Audio] makes of it.
type AudioFinding uint8

// The findings.
const (
	AudioFine    AudioFinding = iota // or not known to be otherwise
	AudioUnheard                     // the endpoint is not heard
	AudioDeaf                        // the endpoint does not hear the caller
)

// Audio looks for one-way audio in a call that talks (R14, R30). Silence proves nothing: a call-taker mutes the headset, a phone suppresses silence.
// So it goes by what the endpoint itself says in its RTCP:
//
//   - it reports that it sends, and nothing arrives: it is not heard;
//   - it used to report what it hears, and that stands still while the caller's audio is sent on to it: it does not hear;
//   - it sent RTCP, which a muted phone goes on to do, and for 15 s neither audio nor RTCP has come: it is not heard. Of an endpoint that sends no RTCP
//     at all the same is held for one-way audio only while it is not known to pause.
//
// The zero value is a call that has just begun to talk. It is plain data.
type Audio struct {
	at     AudioSeen // when its latest report came
	mute   int       // reports in a row
	deaf   int
	found  AudioFinding
	since  AudioSeen // when that was found
	reason string
}

// Look takes what is seen now. why are the words of a finding that is not fine.
func (a *Audio) Look(now time.Time, seen AudioSeen) (found AudioFinding, why string) {
	if seen.Reports > a.at.Reports {
		a.reported(seen)
	}
	was := a.found
	switch {
	case a.found == AudioUnheard && seen.Packets-a.since.Packets < audioPackets:
	case a.found == AudioDeaf && a.deaf > 0:
	case a.mute >= audioReports:
		a.found, a.reason = AudioUnheard, "its reports say that it sends, and nothing arrives"
	case a.deaf >= audioReports:
		a.found, a.reason = AudioDeaf, "its reports say that it hears nothing of what is sent to it"
	case a.silent(now, seen):
		a.found, a.reason = AudioUnheard, "nothing has come from it for "+audioGone.String()+", no RTCP either"
	default:
		a.found, a.reason = AudioFine, ""
	}
	if a.found != was {
		a.since = seen
	}
	return a.found, a.reason
}

// silent says whether an endpoint that was heard, and the caller is, has gone silent as no phone does that lives.
func (a *Audio) silent(now time.Time, seen AudioSeen) bool {
	return seen.Packets > 0 && now.Sub(seen.Last) >= audioGone && now.Sub(seen.CallerLast) < audioOthers && (seen.Reports >= audioReports || seen.Reports == 0 && !seen.Pauses)
}

// reported judges a report against the one before.
func (a *Audio) reported(seen AudioSeen) {
	was := a.at
	a.at = seen
	if was.Reports == 0 || seen.Sealed {
		return
	}
	sends := seen.Claims - was.Claims // it wraps; another source begins anew, and that looks like going back
	if sends >= audioPackets && sends < 1<<31 && seen.Packets == was.Packets {
		a.mute++
	} else {
		a.mute = 0
	}
	hears := seen.Blocks > was.Blocks && seen.Hears != was.Hears
	switch {
	case hears || was.Blocks == 0:
		a.deaf = 0
	case seen.Caller-was.Caller >= audioPackets:
		a.deaf++
	}
}
