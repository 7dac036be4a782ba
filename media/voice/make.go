package voice

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/zaf/g711"
)

// phoneRate is the sampling rate of G.711.
const phoneRate = 8000

// newTape makes a tape from samples at 8 kHz.
func newTape(name, hash string, phone []int16) *Tape {
	for len(phone) == 0 || len(phone)%frameLen != 0 {
		phone = append(phone, 0)
	}
	t := &Tape{
		Name: name, Hash: hash, Length: time.Duration(len(phone)) * time.Second / phoneRate,
		coded: map[Codec][]byte{PCMU: make([]byte, len(phone)), PCMA: make([]byte, len(phone))},
	}
	for i, s := range phone {
		t.coded[PCMU][i], t.coded[PCMA][i] = g711.EncodeUlawFrame(s), g711.EncodeAlawFrame(s)
	}
	return t
}

// hashOf is the SHA-256 of a file in hexadecimal.
func hashOf(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}
