package voice

import (
	"math"

	"github.com/zaf/g711"
)

// Key tones after ITU-T Q.23 and the limits of Q.24, Annex A: found from 40 ms on, down to -27 dBm0 each, off by up to 1.5 % and 2 Hz, the upper up to 8 dB
// weaker or 5 dB louder than the lower; not found where they last less than 23 ms, are off by 3.5 %, or somebody speaks.
const (
	toneBlock = 102           // samples looked at together: 12.75 ms, a resolution of 78 Hz
	toneHop   = toneBlock / 2 // a new look each 6.4 ms
	toneHits  = 4             // looks in a row that make a key: 32 ms
	toneGaps  = 5             // looks in a row without it that end it: a break of 10 ms does not

	toneLevel   = 0.031 // the least amplitude of one tone: -27 dBm0, where 0 dBm0 is 3.14 dB below full scale
	tonePurity  = 0.65  // of the power is in the two tones
	toneStrong  = 4     // times a tone's power is that of any other of its group: 6 dB
	twistDown   = 11    // times the lower tone's power is that of the upper, at most: 8 dB, and the 2 dB that they lend each other in a block
	twistUp     = 4.5   // and the other way round: 5 dB
	toneDecimal = 1.0 / (1 << 15)
)

// toneKeys are the keys by lower and upper tone.
const toneKeys = "123A456B789C*0#D"

// toneTurns are 2·cos(2πf/8000) of the eight tones: four lower ones, then four upper ones.
var toneTurns = func() (turns [8]float32) {
	for i, hertz := range []float64{697, 770, 852, 941, 1209, 1336, 1477, 1633} {
		turns[i] = float32(2 * math.Cos(2*math.Pi*hertz/phoneRate))
	}
	return turns
}()

// Tones finds key presses in the sound of one stream, where no telephone-event was agreed. It costs a few microseconds a packet.
type Tones struct {
	codec Codec
	g722  *g722Decoder

	samples [toneBlock]float32
	filled  int
	next    byte // the key that the last looks saw, and how many they were
	hits    int
	key     byte // the key that is pressed; 0: none
	gaps    int  // looks since that did not see it
}

// NewTones begins to listen to sound in a codec.
func NewTones(c Codec) *Tones { return &Tones{codec: c, g722: newG722Decoder()} }

// Hear takes the next payload and gives the key whose press was recognised in it; 0: none. Each press is told once.
func (t *Tones) Hear(payload []byte) byte {
	var found byte
	for _, b := range payload {
		t.samples[t.filled] = t.sample(b)
		if t.filled++; t.filled < toneBlock {
			continue
		}
		if key := t.step(keyIn(&t.samples)); key != 0 {
			found = key
		}
		t.filled = copy(t.samples[:], t.samples[toneHop:])
	}
	return found
}

// sample decodes one byte to what it says of 8 kHz.
func (t *Tones) sample(b byte) float32 {
	switch t.codec {
	case PCMU:
		return float32(g711.DecodeUlawFrame(b)) * toneDecimal
	case PCMA:
		return float32(g711.DecodeAlawFrame(b)) * toneDecimal
	case G722:
		return float32(t.g722.narrow(b)) * toneDecimal
	}
	return 0
}

// step follows what one look after the other sees, and says which key is recognised with this one.
func (t *Tones) step(seen byte) byte {
	if seen != t.next {
		t.next, t.hits = seen, 0
	}
	t.hits++
	switch {
	case t.key != 0 && seen == t.key:
		t.gaps = 0
	case t.key != 0:
		if t.gaps++; t.gaps >= toneGaps {
			t.key = 0
		}
	}
	if seen == 0 || seen == t.key || t.hits < toneHits {
		return 0
	}
	t.key, t.gaps = seen, 0
	return seen
}

// keyIn says which key is heard in a block; 0: none. It is Goertzel's filter for each of the eight tones.
func keyIn(block *[toneBlock]float32) byte {
	var energy float32
	for _, v := range block {
		energy += v * v
	}
	const least = toneLevel * toneBlock / 2 // the square root of a tone's power below
	if energy < toneLevel*toneLevel*toneBlock {
		return 0
	}
	var power [8]float32
	for i, turn := range toneTurns {
		var one, two float32
		for _, v := range block {
			one, two = v+turn*one-two, one
		}
		power[i] = one*one + two*two - turn*one*two
	}
	low, lower := strongest(power[:4])
	high, upper := strongest(power[4:])
	switch {
	case low < 0 || high < 0:
		return 0
	case lower < least*least || upper < least*least:
		return 0
	case lower > twistDown*upper || upper > twistUp*lower:
		return 0
	case lower+upper < tonePurity*energy*toneBlock/2:
		return 0
	}
	return toneKeys[4*low+high]
}

// strongest gives the tone of a group that is much stronger than the others; -1: there is none.
func strongest(group []float32) (int, float32) {
	best := 0
	for i, p := range group {
		if p > group[best] {
			best = i
		}
	}
	for i, p := range group {
		if i != best && p*toneStrong > group[best] {
			return -1, 0
		}
	}
	return best, group[best]
}
