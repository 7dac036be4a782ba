package voice

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os/exec"
	"testing"
)

// hard is sound at 16 kHz that takes a codec to its limits: a sweeping triangle at full scale, noise, a square wave, silence.
func hard() []int16 {
	random := rand.New(rand.NewPCG(7, 22))
	var s []int16
	phase := 0
	for i := range 2 * wideRate {
		phase += 200 + i // a triangle from 50 to 7800 Hz, in whole numbers: the same on every machine
		s = append(s, int16(2*max(phase&0xffff-1<<15, 1<<15-1-phase&0xffff)-1<<15))
	}
	for range wideRate {
		s = append(s, int16(random.IntN(1<<16)-1<<15))
	}
	for i := range wideRate / 2 {
		s = append(s, int16(20000*(2*(i/23%2)-1)))
	}
	return append(s, make([]int16, wideRate/2)...)
}

func encoded(s []int16) []byte {
	e := newG722Encoder()
	var coded []byte
	for i := 0; i+1 < len(s); i += 2 {
		coded = append(coded, e.encode(s[i], s[i+1]))
	}
	return coded
}

func decoded(coded []byte) []byte {
	d := newG722Decoder()
	var b []byte
	for _, c := range coded {
		one, two := d.decode(c)
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(one)), uint16(two))
	}
	return b
}

// TestG722IsTheSameAsOthers compares with sums of what FFmpeg's encoder and decoder made of the same sound, and with FFmpeg itself where it is
// installed.
func TestG722IsTheSameAsOthers(t *testing.T) {
	const wantCoded, wantDecoded = "60138edd7c6b2965bb05626772800dae66eb7dbfa08b957d6c0390e88a5ab62a", "a54b6a46a8b3c667efbce76b0315bf84a4e70e64b9ee9787ff0ff577fc80b432"
	s := hard()
	coded := encoded(s)
	back := decoded(coded)
	if got := hashOf(coded); got != wantCoded {
		t.Errorf("the code has the sum %s, want %s", got, wantCoded)
	}
	if got := hashOf(back); got != wantDecoded {
		t.Errorf("what is decoded has the sum %s, want %s", got, wantDecoded)
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: only its sums were compared")
	}
	var raw []byte
	for _, v := range s {
		raw = binary.LittleEndian.AppendUint16(raw, uint16(v))
	}
	theirs := ffmpeg(t, raw, "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-", "-c:a", "g722", "-f", "g722", "-")
	if !bytes.Equal(theirs[:len(coded)], coded) {
		t.Error("ffmpeg codes it otherwise")
	}
	if theirs := ffmpeg(t, coded, "-f", "g722", "-i", "-", "-f", "s16le", "-"); !bytes.Equal(theirs[:len(back)], back) {
		t.Error("ffmpeg decodes it otherwise")
	}
}

func ffmpeg(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-v", "error"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func BenchmarkG722Frame(b *testing.B) {
	e, s := newG722Encoder(), hard()
	for i := 0; b.Loop(); i++ {
		for j := range frameLen {
			e.encode(s[i%100*320+2*j], s[i%100*320+2*j+1])
		}
	}
}
