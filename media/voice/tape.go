// Package voice turns recordings into what a telephone can hear.
//
// A [Tape] is a recording made ready once: 20 ms payloads for each codec that an announcement is played in, all in memory, so that playing it needs no
// file, no conversion and no memory. [ReadWAV] makes one from a WAV file; [BuiltIn] has the texts that ship with nines; a [Library] knows the
// announcements of a configuration and which tape to play when a file has become doubtful.
//
// It knows no socket, no call and no clock of a call. media plays tapes, sip says which.
package voice

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaf/g711"
)

// Frame is how much of a tape one packet carries.
const Frame = 20 * time.Millisecond

// frameLen is a frame's payload in bytes. All three codecs have 64 kbit/s.
const frameLen = 160

// Codec is a payload format by its name in SDP (RFC 3551 §6).
type Codec string

// The codecs that a tape is made in. All have 160 bytes and 160 timestamp units for 20 ms: G.722's RTP clock is 8000 Hz by an old mistake that
// stays (RFC 3551 §4.5.2).
const (
	PCMU Codec = "PCMU"
	PCMA Codec = "PCMA"
	G722 Codec = "G722"
)

// CodecOf finds the codec of an rtpmap such as "PCMA/8000". Other codecs, and these with another rate or two channels, are none: "".
func CodecOf(rtpmap string) Codec {
	name, rest, _ := strings.Cut(rtpmap, "/")
	if rest != "8000" && rest != "8000/1" {
		return ""
	}
	for _, c := range []Codec{PCMU, PCMA, G722} {
		if strings.EqualFold(name, string(c)) {
			return c
		}
	}
	return ""
}

// StaticCodec is the codec of a payload type that needs no rtpmap (RFC 3551 §6); "" for one that tapes are not made in.
func StaticCodec(payload uint8) Codec {
	switch payload {
	case 0:
		return PCMU
	case 8:
		return PCMA
	case 9:
		return G722
	}
	return ""
}

// Tape is a recording that can be played. What it says never changes.
//
// G.711 is there at once. G.722 takes more work (a second for five minutes of speech) and is made when it is first asked for, beside everything else:
// see [Tape.Ready].
type Tape struct {
	Name   string        // what it is called in the book: a built-in text's name, or the file's
	Hash   string        // SHA-256 of the file, in hexadecimal
	Length time.Duration // how long it is heard
	pcmu   []byte
	pcma   []byte
	peak   float32 // the loudest sample, between 0 and 1

	widen sync.Once
	sound sound                  // G.722 is made of it; given back then
	g722  atomic.Pointer[[]byte] // nil: not yet made
}

// The sampling rates of the codecs.
const (
	phoneRate = 8000  // G.711
	wideRate  = 16000 // G.722
)

// newTape converts a sound. The last frame is filled up with silence.
func newTape(name, hash string, s sound) *Tape {
	phone := resample(&s, phoneRate)
	frames := max(1, (len(phone)+frameLen-1)/frameLen)
	phone = append(phone, make([]float32, frames*frameLen-len(phone))...)
	t := &Tape{
		Name: name, Hash: hash, Length: time.Duration(frames) * Frame,
		pcmu: make([]byte, len(phone)), pcma: make([]byte, len(phone)), sound: s,
	}
	for i, v := range phone {
		t.peak = max(t.peak, v, -v)
		n := whole(v)
		t.pcmu[i], t.pcma[i] = g711.EncodeUlawFrame(n), g711.EncodeAlawFrame(n)
	}
	return t
}

// Ready says whether payloads of a codec are there. If not, it has them made and says so later: whoever plays waits without waiting for anybody.
func (t *Tape) Ready(c Codec) bool {
	if c != G722 || t.g722.Load() != nil {
		return true
	}
	go t.Prepare() // ends by itself; of several only one works
	return false
}

// Prepare makes what is not yet made, and returns when it is.
func (t *Tape) Prepare() {
	t.widen.Do(func() {
		wide := resample(&t.sound, wideRate)
		t.sound = sound{}
		wide = append(wide, make([]float32, max(0, 2*len(t.pcma)-len(wide)))...)
		e, coded := newG722Encoder(), make([]byte, len(t.pcma))
		for i := range coded {
			coded[i] = e.encode(whole(wide[2*i]), whole(wide[2*i+1]))
		}
		t.g722.Store(&coded)
	})
}

// whole makes a 16-bit sample; a filter may overshoot.
func whole(v float32) int16 {
	return int16(min(max(math.Round(float64(v)*(1<<15)), -1<<15), 1<<15-1))
}

// hashOf is the SHA-256 of a file in hexadecimal.
func hashOf(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

// Frames is how many packets the tape has.
func (t *Tape) Frames() int { return len(t.pcma) / frameLen }

// Payload is the i-th packet's content; nil behind the end, for a codec that tapes are not made in, and while it is not [Tape.Ready]. The bytes belong
// to the tape.
func (t *Tape) Payload(c Codec, i int) []byte {
	var b []byte
	switch c {
	case PCMU:
		b = t.pcmu
	case PCMA:
		b = t.pcma
	case G722:
		if made := t.g722.Load(); made != nil {
			b = *made
		}
	}
	if i < 0 || (i+1)*frameLen > len(b) {
		return nil
	}
	return b[i*frameLen : (i+1)*frameLen : (i+1)*frameLen]
}
