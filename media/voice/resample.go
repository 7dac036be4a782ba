package voice

import "math"

const (
	// lobes are the zero crossings of the low-pass filter on each side, and kaiser shapes its window: 80 dB less of what would fold back.
	lobes  = 24
	kaiser = 8.0
	// passed is how much of the lower of the two bands passes.
	passed = 0.94
	// resampleBlock is how many samples are made at a time.
	resampleBlock = 4096
)

// resample gives a sound at another rate. What the lower of the two rates cannot carry is filtered out.
func resample(s *sound, rate int) []float32 {
	out := make([]float32, (int64(s.len())*int64(rate)+int64(s.rate)-1)/int64(s.rate))
	if s.rate == rate {
		s.read(0, out)
		return out
	}
	k := newKernel(s.rate, rate)
	var in []float32
	for from := 0; from < len(out); from += resampleBlock {
		block := out[from:min(from+resampleBlock, len(out))]
		first, _ := k.place(from)
		last, _ := k.place(from + len(block) - 1)
		in = append(in[:0], make([]float32, last-first+2*k.half)...)
		s.read(first-k.half+1, in)
		for i := range block {
			at, phase := k.place(from + i)
			block[i] = k.apply(phase, in[at-first:])
		}
	}
	return out
}

// kernel is a low-pass filter for the conversion of one rate into another: a windowed sinc at each place that a new sample can have between two old
// ones.
type kernel struct {
	up, down int         // the ratio of the rates
	half     int         // old samples on each side of a new one
	phases   [][]float32 // by place; made when it is needed
	cutoff   float64     // in cycles per old sample
}

func newKernel(from, to int) *kernel {
	d := gcd(from, to)
	k := &kernel{up: to / d, down: from / d}
	k.cutoff = passed / 2 * min(1, float64(to)/float64(from))
	k.half = int(math.Ceil(lobes / (2 * k.cutoff)))
	k.phases = make([][]float32, k.up)
	return k
}

// place says between which old samples the i-th new one lies: at the old one's number or after it, by phase.
func (k *kernel) place(i int) (at, phase int) {
	n := int64(i) * int64(k.down)
	return int(n / int64(k.up)), int(n % int64(k.up))
}

// apply makes a new sample from the old ones around it.
func (k *kernel) apply(phase int, in []float32) float32 {
	taps := k.phases[phase]
	if taps == nil {
		taps = k.taps(float64(phase) / float64(k.up))
		k.phases[phase] = taps
	}
	var sum float32
	for i, v := range in[:len(taps)] {
		sum += v * taps[i]
	}
	return sum
}

// taps makes the filter for a place between two old samples. It leaves a constant as it is.
func (k *kernel) taps(frac float64) []float32 {
	taps, sum := make([]float64, 2*k.half), 0.0
	for i := range taps {
		x := float64(i-k.half+1) - frac
		taps[i] = sinc(2*k.cutoff*x) * window(x/float64(k.half))
		sum += taps[i]
	}
	out := make([]float32, len(taps))
	for i, v := range taps {
		out[i] = float32(v / sum)
	}
	return out
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// window is Kaiser's, from -1 to 1.
func window(x float64) float64 {
	if x <= -1 || x >= 1 {
		return 0
	}
	return bessel(kaiser*math.Sqrt(1-x*x)) / bessel(kaiser)
}

// bessel is the modified Bessel function of the first kind and order 0.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for n := 1.0; term > sum*1e-12; n++ {
		term *= x / 2 / n * x / 2 / n
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
