package voice

// G.722 at 64 kbit/s (ITU-T Rec. G.722, 09/2012): sound at 16 kHz is split into two bands; the lower one is coded with six bits a sample pair, the
// upper one with two. Blocks and variables have the names of the Recommendation's tables.

// g722Filter is the quadrature mirror filter's first half; the second is its mirror image.
var g722Filter = [12]int{3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11}

// Tables 14 to 21 of the Recommendation: decision levels, codes and quantiser outputs of the two bands, and how the scale factors move.
var (
	g722q6 = [30]int{
		0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195,
		2557, 2919,
	}
	g722qm6 = [64]int{
		-136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856, -7192, -6576, -6000, -5456,
		-4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232,
		9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
	}
	g722qm4 = [16]int{0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0}
	g722qm2 = [4]int{-7408, -1616, 7408, 1616}
	g722wl  = [16]int{-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60}
	g722wh  = [4]int{798, -214, 798, -214}
	g722ilb = [32]int{
		2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444,
		3520, 3597, 3676, 3756, 3838, 3922, 4008,
	}
)

// band is the adaptive predictor and quantiser scale of one band.
type band struct {
	s, sp, sz int // predicted signal, and its parts from poles and zeros
	det, nb   int // quantiser scale factor, linear and logarithmic
	a         [3]int
	b, d      [7]int
	r, p      [3]int
}

// g722Encoder codes one stream.
type g722Encoder struct {
	low, high band
	x         [24]int
}

func newG722Encoder() *g722Encoder {
	return &g722Encoder{low: band{det: 32}, high: band{det: 8}}
}

// encode makes one byte of two samples.
func (e *g722Encoder) encode(first, second int16) byte {
	copy(e.x[:], e.x[2:])
	e.x[22], e.x[23] = int(first), int(second)
	var even, odd int
	for i, h := range g722Filter {
		odd += e.x[2*i] * h
		even += e.x[23-2*i] * h
	}
	// 12 bits are the filter's gain, one is for the sum of two, and one because the Recommendation counts in 15 bits.
	il, ih := e.low.quantizeLow((even+odd)>>14), e.high.quantizeHigh((even-odd)>>14)
	e.low.adaptLow(il)
	e.high.adaptHigh(ih)
	return byte(ih<<6 | il)
}

// quantizeLow codes the difference to what was predicted with six bits (SUBTRA, QUANTL).
func (b *band) quantizeLow(x int) int {
	e := clip(x - b.s)
	size := e
	if e < 0 {
		size = -(e + 1)
	}
	m := 1
	for m < len(g722q6) && size >= g722q6[m]*b.det>>12 {
		m++
	}
	switch { // Table 16: the codes that six bits must not have are those that four bits can't tell from silence
	case e >= 0:
		return 62 - m
	case m < 3:
		return 64 - m
	default:
		return 34 - m
	}
}

// quantizeHigh codes it with two bits (QUANTH).
func (b *band) quantizeHigh(x int) int {
	e := clip(x - b.s)
	size, code := e, 3
	if e < 0 {
		size, code = -(e + 1), 1
	}
	if size >= 564*b.det>>12 {
		code--
	}
	return code
}

// adaptLow follows what a decoder makes of a code (INVQAL, LOGSCL, SCALEL).
func (b *band) adaptLow(il int) {
	d := b.det * g722qm4[il>>2] >> 15
	b.scale(g722wl[il>>2], 18432, 8)
	b.predict(d)
}

// adaptHigh is the same for the upper band (INVQAH, LOGSCH, SCALEH).
func (b *band) adaptHigh(ih int) {
	d := b.det * g722qm2[ih] >> 15
	b.scale(g722wh[ih], 22528, 10)
	b.predict(d)
}

func (b *band) scale(w, limit, shift int) {
	b.nb = min(max(b.nb*127>>7+w, 0), limit)
	det := g722ilb[b.nb>>6&31]
	if down := shift - b.nb>>11; down >= 0 {
		det >>= down
	} else {
		det <<= -down
	}
	b.det = det << 2
}

// predict takes a quantised difference and predicts the next sample (blocks 4L and 4H).
func (b *band) predict(d int) {
	b.d[0], b.r[0], b.p[0] = d, clip(b.s+d), clip(b.sz+d) // RECONS, PARREC
	a1, a2 := b.poles()
	zeros := b.zeros()
	copy(b.d[1:], b.d[:6]) // DELAYA
	copy(b.r[1:], b.r[:2])
	copy(b.p[1:], b.p[:2])
	b.a[1], b.a[2], b.b = a1, a2, zeros
	b.sp = clip(b.a[1]*clip(2*b.r[1])>>15 + b.a[2]*clip(2*b.r[2])>>15) // FILTEP
	b.sz = 0                                                           // FILTEZ
	for i := 1; i < 7; i++ {
		b.sz += b.b[i] * clip(2*b.d[i]) >> 15
	}
	b.sz = clip(b.sz)
	b.s = clip(b.sp + b.sz) // PREDIC
}

// poles adapts the two pole coefficients (UPPOL2, UPPOL1).
func (b *band) poles() (a1, a2 int) {
	same1, same2 := (b.p[0] < 0) == (b.p[1] < 0), (b.p[0] < 0) == (b.p[2] < 0)
	w := clip(4 * b.a[1])
	if same1 {
		w = min(-w, 32767)
	}
	w >>= 7
	if same2 {
		w += 128
	} else {
		w -= 128
	}
	a2 = min(max(w+b.a[2]*32512>>15, -12288), 12288)
	step := -192
	if same1 {
		step = 192
	}
	limit := clip(15360 - a2)
	return min(max(clip(step+b.a[1]*32640>>15), -limit), limit), a2
}

// zeros adapts the six zero coefficients (UPZERO).
func (b *band) zeros() (next [7]int) {
	for i := 1; i < 7; i++ {
		step := 0
		if b.d[0] != 0 {
			step = 128
			if (b.d[i] < 0) != (b.d[0] < 0) {
				step = -128
			}
		}
		next[i] = clip(step + b.b[i]*32640>>15)
	}
	return next
}

// g722Decoder decodes one stream.
type g722Decoder struct {
	low, high band
	x         [24]int
}

func newG722Decoder() *g722Decoder {
	return &g722Decoder{low: band{det: 32}, high: band{det: 8}}
}

// decode makes two samples of one byte.
func (d *g722Decoder) decode(code byte) (first, second int16) {
	il, ih := int(code&0x3f), int(code>>6)
	rl := min(max(d.low.s+d.low.det*g722qm6[il]>>15, -16384), 16383)   // INVQBL, RECONS, LIMIT
	rh := min(max(d.high.s+d.high.det*g722qm2[ih]>>15, -16384), 16383) // INVQAH
	d.low.adaptLow(il)
	d.high.adaptHigh(ih)
	copy(d.x[:], d.x[2:])
	d.x[22], d.x[23] = rl+rh, rl-rh
	var one, two int
	for i, h := range g722Filter {
		two += d.x[2*i] * h
		one += d.x[23-2*i] * h
	}
	return int16(clip(one >> 11)), int16(clip(two >> 11))
}

// narrow gives the lower band of one byte alone: sound at 8 kHz.
func (d *g722Decoder) narrow(code byte) int16 {
	il := int(code & 0x3f)
	rl := min(max(d.low.s+d.low.det*g722qm6[il]>>15, -16384), 16383)
	d.low.adaptLow(il)
	return int16(2 * rl)
}

// clip keeps a value in 16 bits.
func clip(v int) int { return min(max(v, -32768), 32767) }
