package voice

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/zaf/g711"
)

// dial is how a key is pressed in a test.
type dial struct {
	key    byte
	length time.Duration
	level  float64 // dBm0 of the lower tone
	twist  float64 // dB by which the upper tone is louder
	off    float64 // relative error of both frequencies
	hertz  float64 // and absolute
	noise  float64 // dB below the tones; 0: none
	hole   time.Duration
	start  time.Duration // silence before it, so that it begins anywhere in a block
	then   time.Duration // silence behind it
}

// samples are the sound of a key press.
func (d dial) samples(rate int) []float64 {
	at := strings.IndexByte(toneKeys, d.key)
	low, high := []float64{697, 770, 852, 941}[at/4], []float64{1209, 1336, 1477, 1633}[at%4]
	loud := func(db float64) float64 { return math.Pow(10, (db-3.14)/20) }
	a, b := loud(d.level), loud(d.level+d.twist)
	random := rand.New(rand.NewPCG(1, uint64(d.key)))
	hiss := 0.0
	if d.noise != 0 {
		hiss = math.Sqrt((a*a+b*b)/2) * math.Pow(10, -d.noise/20)
	}
	count := func(t time.Duration) int { return int(t.Seconds() * float64(rate)) }
	out := make([]float64, count(d.start)+count(d.length)+count(d.then))
	for i := range out {
		out[i] = hiss * random.NormFloat64()
		t := i - count(d.start)
		if middle := count(d.length) / 2; t < 0 || t >= count(d.length) || d.hole > 0 && t >= middle && t < middle+count(d.hole) {
			continue
		}
		x := 2 * math.Pi * float64(t) / float64(rate)
		out[i] += a*math.Sin(x*(low*(1+d.off)+d.hertz)) + b*math.Sin(x*(high*(1+d.off)+d.hertz))
	}
	return out
}

// coded makes payloads of samples at the codec's rate.
func coded(c Codec, samples []float64) []byte {
	var b []byte
	e := newG722Encoder()
	for i, v := range samples {
		switch c {
		case PCMU:
			b = append(b, g711.EncodeUlawFrame(whole(float32(v))))
		case PCMA:
			b = append(b, g711.EncodeAlawFrame(whole(float32(v))))
		case G722:
			if i%2 == 1 {
				b = append(b, e.encode(whole(float32(samples[i-1])), whole(float32(v))))
			}
		}
	}
	return b
}

// keysIn are the keys that are found in sound, given in packets.
func keysIn(c Codec, sound []byte) string {
	t := NewTones(c)
	var keys []byte
	for len(sound) > 0 {
		n := min(frameLen, len(sound))
		if key := t.Hear(sound[:n]); key != 0 {
			keys = append(keys, key)
		}
		sound = sound[n:]
	}
	return string(keys)
}

// TestKeyTonesAreFoundWithinTheLimitsOfQ24, and not beyond.
func TestKeyTonesAreFoundWithinTheLimitsOfQ24(t *testing.T) {
	usual := dial{length: 70 * time.Millisecond, level: -10, then: 60 * time.Millisecond}
	with := func(change func(*dial)) dial {
		d := usual
		change(&d)
		return d
	}
	for name, c := range map[string]struct {
		dial
		found bool
	}{
		"a usual press":           {usual, true},
		"40 ms":                   {with(func(d *dial) { d.length = 40 * time.Millisecond }), true},
		"20 ms are too short":     {with(func(d *dial) { d.length = 20 * time.Millisecond }), false},
		"as loud as can be":       {with(func(d *dial) { d.level = -3 }), true},
		"-25 dBm0":                {with(func(d *dial) { d.level = -25 }), true},
		"-40 dBm0 are crosstalk":  {with(func(d *dial) { d.level = -40 }), false},
		"upper tone 8 dB weaker":  {with(func(d *dial) { d.twist = -7.8 }), true},
		"upper tone 4 dB louder":  {with(func(d *dial) { d.twist = 4 }), true},
		"upper tone 14 dB weaker": {with(func(d *dial) { d.twist = -14 }), false},
		"upper tone 12 dB louder": {with(func(d *dial) { d.twist = 12; d.level = -16 }), false},
		"1.5 % and 2 Hz too high": {with(func(d *dial) { d.off, d.hertz = 0.015, 2 }), true},
		"1.5 % and 2 Hz too low":  {with(func(d *dial) { d.off, d.hertz = -0.015, -2 }), true},
		"3.5 % too high":          {with(func(d *dial) { d.off = 0.035 }), false},
		"3.5 % too low":           {with(func(d *dial) { d.off = -0.035 }), false},
		"noise 15 dB below":       {with(func(d *dial) { d.noise = 15 }), true},
		"a break of 10 ms":        {with(func(d *dial) { d.length, d.hole = 110*time.Millisecond, 10*time.Millisecond }), true},
		"1 s":                     {with(func(d *dial) { d.length = time.Second }), true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, codec := range []Codec{PCMA, PCMU, G722} {
				rate := phoneRate
				if codec == G722 {
					rate = wideRate
				}
				for _, key := range toneKeys {
					for start := range 3 {
						d := c.dial
						d.key, d.start = byte(key), time.Duration(start)*2100*time.Microsecond
						want := ""
						if c.found {
							want = string(key)
						}
						if got := keysIn(codec, coded(codec, d.samples(rate))); got != want {
							t.Fatalf("%s, key %c, begun at %s: found %q, want %q", codec, key, d.start, got, want)
						}
					}
				}
			}
		})
	}
}

// TestADialledNumberIsFoundWhole: 40 ms of tone and 40 ms of pause, the fastest that Q.24 allows, the same key twice running too.
func TestADialledNumberIsFoundWhole(t *testing.T) {
	const number = "9991120*#4455D"
	for _, codec := range []Codec{PCMA, PCMU, G722} {
		rate := phoneRate
		if codec == G722 {
			rate = wideRate
		}
		var sound []float64
		for i := range len(number) {
			sound = append(sound, dial{key: number[i], length: 40 * time.Millisecond, level: -8, then: 40 * time.Millisecond}.samples(rate)...)
		}
		if got := keysIn(codec, coded(codec, sound)); got != number {
			t.Errorf("%s: found %q, want %q", codec, got, number)
		}
	}
}

// TestSpeechPressesNoKey: all the built-in texts are six minutes of speech in two languages, and not one sound in them is taken for a key.
func TestSpeechPressesNoKey(t *testing.T) {
	heard := time.Duration(0)
	for _, tape := range builtInTapes() {
		tape.Prepare()
		for _, c := range []Codec{PCMA, PCMU, G722} {
			var sound []byte
			for i := range tape.Frames() {
				sound = append(sound, tape.Payload(c, i)...)
			}
			heard += tape.Length
			if keys := keysIn(c, sound); keys != "" {
				t.Errorf("%s in %s: found %q", tape.Name, c, keys)
			}
		}
	}
	if heard < 15*time.Minute {
		t.Errorf("only %s were listened to", heard)
	}
}

func TestNoisePressesNoKey(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var noise []float64
	for range 60 * phoneRate {
		noise = append(noise, 0.2*random.NormFloat64())
	}
	if keys := keysIn(PCMA, coded(PCMA, noise)); keys != "" {
		t.Errorf("found %q", keys)
	}
}

func FuzzTones(f *testing.F) {
	f.Add("PCMA", coded(PCMA, dial{key: '9', length: 60 * time.Millisecond, level: -10}.samples(phoneRate)))
	f.Add("G722", []byte{0, 255, 1, 254})
	f.Fuzz(func(t *testing.T, codec string, sound []byte) {
		for _, key := range keysIn(Codec(codec), sound) {
			if !strings.ContainsRune(toneKeys, key) {
				t.Errorf("found %q, which is no key", key)
			}
		}
	})
}

func BenchmarkTones(b *testing.B) {
	for _, c := range []Codec{PCMA, G722} {
		b.Run(string(c), func(b *testing.B) {
			tape := recording("relay", English)
			tape.Prepare()
			tones := NewTones(c)
			for i := 0; b.Loop(); i++ {
				tones.Hear(tape.Payload(c, i%tape.Frames()))
			}
		})
	}
}
