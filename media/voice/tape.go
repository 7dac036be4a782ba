// Package voice turns recordings into what a telephone can hear.
//
// A [Tape] is a recording made ready once: 20 ms payloads for each codec that an announcement is played in, all in memory, so that playing it needs no
// file, no conversion and no memory. [ReadWAV] makes one from a WAV file; [BuiltIn] has the texts that ship with nines; a [Library] knows the
// announcements of a configuration and which tape to play when a file has become doubtful.
//
// It knows no socket, no call and no clock of a call. media plays tapes, sip says which.
package voice

import (
	"strings"
	"time"
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

// Tape is a recording that is ready to be played. It never changes.
type Tape struct {
	Name   string        // what it is called in the book: a built-in text's name, or the file's
	Hash   string        // SHA-256 of the file, in hexadecimal
	Length time.Duration // how long it is heard
	coded  map[Codec][]byte
}

// Frames is how many packets the tape has.
func (t *Tape) Frames() int { return len(t.coded[PCMA]) / frameLen }

// Payload is the i-th packet's content; nil behind the end or for a codec that tapes are not made in. The bytes belong to the tape.
func (t *Tape) Payload(c Codec, i int) []byte {
	b := t.coded[c]
	if i < 0 || (i+1)*frameLen > len(b) {
		return nil
	}
	return b[i*frameLen : (i+1)*frameLen : (i+1)*frameLen]
}
