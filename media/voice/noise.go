package voice

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// Comfort is a minute of very quiet noise, shaped like that of a room at the other end of a telephone line: a caller who hears it does not take the
// line for dead, and nobody beside the caller hears it. It can be played over and over.
var Comfort = sync.OnceValue(func() *Tape {
	const length, overlap = 60 * phoneRate, phoneRate / 2
	random := rand.New(rand.NewPCG(1, 2)) // always the same noise, so that it has one hash
	noise := make([]float64, length+overlap)
	low := 0.0
	for i := range noise {
		low += 0.25 * (random.NormFloat64() - low) // falls by 6 dB an octave above 400 Hz, as room noise does
		noise[i] = low
	}
	samples := make([]int16, length)
	for i := range samples {
		v := noise[i]
		if i < overlap { // the end runs into the beginning without a step
			at := float64(i) / overlap * math.Pi / 2
			v = v*math.Sin(at) + noise[length+i]*math.Cos(at)
		}
		samples[i] = int16(math.Round(v * 55)) // about -58 dBm0
	}
	return made("comfort noise", samples)
})

// Ringing is what a caller in the United Kingdom hears while it rings at the other end: 400 and 450 Hz, twice for 0.4 s in 3 s (BT SIN 350).
var Ringing = sync.OnceValue(func() *Tape {
	samples := make([]int16, 3*phoneRate)
	for _, start := range []time.Duration{0, 600 * time.Millisecond} {
		from := int(start * phoneRate / time.Second)
		for i := range 4 * phoneRate / 10 {
			at := 2 * math.Pi * float64(i) / phoneRate
			edge := min(1, float64(min(i, 4*phoneRate/10-i))/40) // 5 ms, so that it does not click
			samples[from+i] = int16(1200 * edge * (math.Sin(400*at) + math.Sin(450*at)))
		}
	}
	return made("ringing", samples)
})

// made is a tape that no file stands behind. Its hash is that of its samples.
func made(name string, phone []int16) *Tape {
	b := make([]byte, 0, 2*len(phone))
	for _, s := range phone {
		b = append(b, byte(s), byte(uint16(s)>>8))
	}
	return newTape(name, hashOf(b), sound{rate: phoneRate, channels: 1, width: 2, decode: decoders[[2]int{wavPCM, 16}], data: b})
}
