package voice

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zaf/g711"
)

// form is a kind of WAV file.
type form struct {
	format, bits, channels, rate int
	extensible                   bool
}

func (f form) String() string {
	name := map[int]string{wavPCM: "PCM", wavFloat: "float", wavALaw: "A-law", wavMuLaw: "µ-law"}[f.format]
	return fmt.Sprintf("%s %d bits, %d channels, %d Hz, extensible %v", name, f.bits, f.channels, f.rate, f.extensible)
}

// file makes a WAV file of a signal between -1 and 1. With two channels, the right one is silent and the left one twice as loud.
func (f form) file(seconds float64, signal func(at float64) float64) []byte {
	var data []byte
	for i := range int(seconds * float64(f.rate)) {
		v := signal(float64(i) / float64(f.rate))
		for c := range f.channels {
			switch {
			case f.channels == 2 && c == 0:
				data = f.sample(data, 2*v)
			case f.channels == 2:
				data = f.sample(data, 0)
			default:
				data = f.sample(data, v)
			}
		}
	}
	return f.riff(data, len(data))
}

func (f form) sample(b []byte, v float64) []byte {
	whole := int32(math.Round(v * (1<<31 - 1)))
	switch {
	case f.format == wavALaw:
		return append(b, g711.EncodeAlawFrame(int16(whole>>16)))
	case f.format == wavMuLaw:
		return append(b, g711.EncodeUlawFrame(int16(whole>>16)))
	case f.format == wavFloat:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
	case f.bits == 8:
		return append(b, byte(math.Round(v*127)+128))
	case f.bits == 16:
		return binary.LittleEndian.AppendUint16(b, uint16(whole>>16))
	case f.bits == 24:
		return append(b, byte(whole>>8), byte(whole>>16), byte(whole>>24))
	default:
		return binary.LittleEndian.AppendUint32(b, uint32(whole))
	}
}

// riff puts data into a file whose header promises size bytes of it, behind a chunk of odd length that nobody wants.
func (f form) riff(data []byte, size int) []byte {
	head := []byte{}
	format := f.format
	if f.extensible {
		format = wavExtensible
	}
	head = binary.LittleEndian.AppendUint16(head, uint16(format))
	head = binary.LittleEndian.AppendUint16(head, uint16(f.channels))
	head = binary.LittleEndian.AppendUint32(head, uint32(f.rate))
	head = binary.LittleEndian.AppendUint32(head, uint32(f.rate*f.channels*f.bits/8))
	head = binary.LittleEndian.AppendUint16(head, uint16(f.channels*f.bits/8))
	head = binary.LittleEndian.AppendUint16(head, uint16(f.bits))
	if f.extensible {
		head = append(head, 22, 0, byte(f.bits), 0, 4, 0, 0, 0)
		head = append(head, byte(f.format), 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71)
	}
	b := []byte("RIFF\x00\x00\x00\x00WAVELIST\x03\x00\x00\x00abc\x00fmt ")
	b = append(binary.LittleEndian.AppendUint32(b, uint32(len(head))), head...)
	b = append(binary.LittleEndian.AppendUint32(append(b, "data"...), uint32(size)), data...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}

// melody is a signal whose parts all pass a telephone: three tones that come and go.
func melody(at float64) float64 {
	return 0.15*math.Sin(2*math.Pi*440*at)*(1+math.Sin(2*math.Pi*3*at)) + 0.1*math.Sin(2*math.Pi*1730*at) + 0.08*math.Sin(2*math.Pi*2900*at+1)
}

// heard decodes a tape.
func heard(t *Tape, c Codec) (samples []float64, rate int) {
	t.Prepare()
	rate = phoneRate
	d := newG722Decoder()
	for i := range t.Frames() {
		for _, b := range t.Payload(c, i) {
			switch c {
			case PCMU:
				samples = append(samples, float64(g711.DecodeUlawFrame(b))/(1<<15))
			case PCMA:
				samples = append(samples, float64(g711.DecodeAlawFrame(b))/(1<<15))
			case G722:
				one, two := d.decode(b)
				samples = append(samples, float64(one)/(1<<15), float64(two)/(1<<15))
			}
		}
	}
	if c == G722 {
		return samples[22:], wideRate // the two filters' delay
	}
	return samples, rate
}

// ratio is how many dB the difference between what is heard and a signal lies below the signal, without the edges.
func ratio(samples []float64, rate int, signal func(at float64) float64) float64 {
	var s, n float64
	for i := rate / 10; i < len(samples)-rate/10; i++ {
		want := signal(float64(i) / float64(rate))
		s += want * want
		n += (samples[i] - want) * (samples[i] - want)
	}
	return 10 * math.Log10(s/n)
}

// TestEveryCommonFileIsHeardAsItWasRecorded: every encoding, rate and number of channels comes out of every codec as the signal that went in.
func TestEveryCommonFileIsHeardAsItWasRecorded(t *testing.T) {
	var forms []form
	for _, rate := range []int{8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000} {
		for channels := 1; channels <= 2; channels++ {
			for _, bits := range []int{8, 16, 24, 32} {
				forms = append(forms, form{wavPCM, bits, channels, rate, bits == 24})
			}
			forms = append(forms, form{wavFloat, 32, channels, rate, false}, form{wavALaw, 8, channels, rate, false}, form{wavMuLaw, 8, channels, rate, false})
		}
	}
	least := map[Codec]float64{PCMU: 32, PCMA: 32, G722: 30}
	for _, f := range forms {
		t.Run(f.String(), func(t *testing.T) {
			tape, err := ParseWAV("melody.wav", f.file(1, melody))
			if err != nil {
				t.Fatal(err)
			}
			if tape.Length != time.Second || tape.Frames() != 50 {
				t.Errorf("it lasts %s in %d frames, want 1s in 50", tape.Length, tape.Frames())
			}
			for c, want := range least {
				if f.bits == 8 {
					want -= 4 // the file itself is noisy
				}
				samples, rate := heard(tape, c)
				if got := ratio(samples, rate, melody); got < want {
					t.Errorf("%s is %.1f dB better than noise, want %.0f", c, got, want)
				}
			}
		})
	}
}

// TestNothingFoldsBackIntoTheBand: what a telephone can't carry is gone, not heard as another tone.
func TestNothingFoldsBackIntoTheBand(t *testing.T) {
	for _, tone := range []float64{4300, 5000, 7000, 11000, 15000, 21000} {
		s, err := parseWAV(form{wavPCM, 16, 1, 48000, false}.file(1, func(at float64) float64 { return 0.5 * math.Sin(2*math.Pi*tone*at) }))
		if err != nil {
			t.Fatal(err)
		}
		loudest := float32(0)
		for _, v := range resample(&s, phoneRate)[400:7600] {
			loudest = max(loudest, v, -v)
		}
		if down := 20 * math.Log10(float64(loudest)/0.5); down > -60 {
			t.Errorf("a tone of %.0f Hz is heard at %.0f dB, want less than -60", tone, down)
		}
	}
}

// TestAWrongFileIsRefusedInWords: each bad file has its sentence, and none takes long.
func TestAWrongFileIsRefusedInWords(t *testing.T) {
	good := form{wavPCM, 16, 1, 8000, false}
	sound := good.file(1, melody)
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(sound)
		copy(c[at:], b)
		return c
	}
	const fmtAt = 32 // of the fmt chunk's contents
	cases := map[string]struct {
		file []byte
		want string
	}{
		"empty":                {nil, "the file is empty"},
		"a picture":            {[]byte("\x89PNG\r\n\x1a\n 0123456789abcdef"), "this is no WAV file"},
		"the first half":       {sound[:len(sound)/2], "it is cut short: 16000 bytes of sound are promised and 7972 are there; copy or save it again, not through a pipe"},
		"a header alone":       {sound[:56], "it is cut short: 16000 bytes of sound are promised and 0 are there; copy or save it again, not through a pipe"},
		"half a header":        {sound[:30], "there is no sound in it"},
		"from a pipe":          {good.riff(nil, 0xffffffff), "it is cut short: 4294967295 bytes of sound are promised and 0 are there; copy or save it again, not through a pipe"},
		"no samples":           {good.riff(nil, 0), "there is no sound in it"},
		"half a sample":        {good.riff([]byte{1}, 1), "there is no sound in it"},
		"silence":              {good.file(1, func(float64) float64 { return 0 }), "nothing can be heard in it"},
		"a format too long":    {change(28, 0xf0, 0xff, 0xff, 0xff), `it is damaged: a "fmt " of 4294967280 bytes is promised and 16024 are there`},
		"a format too short":   {change(28, 4), "its format is cut short"},
		"a bad chunk":          {change(12, 0, 1, 2, 3, 0xff, 0xff, 0xff, 0x7f), `it is damaged: a "chunk" of 2147483647 bytes is promised and 16036 are there`},
		"no rate":              {change(fmtAt+4, 0, 0, 0, 0), "its rate is 0 Hz; save it at 8000 or 16000 Hz"},
		"a wild rate":          {change(fmtAt+4, 0xff, 0xff, 0xff, 0xff), "its rate is 4294967295 Hz; save it at 8000 or 16000 Hz"},
		"no channel":           {change(fmtAt+2, 0, 0), "it has 0 channels; save it as mono"},
		"surround":             {form{wavPCM, 16, 6, 8000, false}.riff(make([]byte, 1200), 1200), "it has 6 channels; save it as mono"},
		"MP3 in WAV":           {change(fmtAt, 0x55, 0), "its format is 0x55 with 16 bits; save it as PCM with 16 bits, A-law or µ-law"},
		"12 bits":              {change(fmtAt+14, 12, 0), "its format is 0x1 with 12 bits; save it as PCM with 16 bits, A-law or µ-law"},
		"a contradiction":      {change(fmtAt+12, 7, 0), "its format contradicts itself: 7 bytes for 1 channels of 16 bits"},
		"64 bits":              {append([]byte("RF64"), sound[4:]...), "this is a 64-bit WAV file; save it as plain WAV"},
		"eleven minutes":       {good.riff(make([]byte, 11*60*16000), 11*60*16000), "it is too long: 11m0s, at most 10m0s"},
		"sound before format":  {[]byte("RIFF\x00\x00\x00\x00WAVEdata\x04\x00\x00\x00abcd"), "its sound comes before its format"},
		"cut within its name":  {[]byte("RIFF\x00\x00\x00\x00WAV"), "this is no WAV file"},
		"nothing after WAVE":   {[]byte("RIFF\x00\x00\x00\x00WAVE"), "there is no sound in it"},
		"a GUID that was lost": {form{wavExtensible, 16, 1, 8000, false}.riff(make([]byte, 20), 20), "its format is cut short"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseWAV("a.wav", c.file); err == nil || err.Error() != "a.wav: "+c.want {
				t.Errorf("got  %v\nwant a.wav: %s", err, c.want)
			}
		})
	}
}

// TestAFileCostsNoMoreThanItMay: what is too big, endless or no file is refused without being read.
func TestAFileCostsNoMoreThanItMay(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	sparse := path("sparse.wav")
	if err := os.WriteFile(sparse, form{wavPCM, 16, 1, 8000, false}.riff(nil, 0xfffffff0), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 4<<30); err != nil {
		t.Skipf("this disk has no sparse files: %v", err)
	}
	if err := syscall.Mkfifo(path("pipe.wav"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"sparse.wav":  ": it is too big: 4096 MiB, at most 64; save it at 8 or 16 kHz, mono, 16 bits",
		"pipe.wav":    ": this is no file",
		".":           ": this is no file",
		"missing.wav": ": no such file or directory",
	} {
		before := testing.AllocsPerRun(1, func() {
			if _, err := ReadWAV(path(name)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", name, err, want)
			}
		})
		if before > 100 {
			t.Errorf("%s: refusing it took %.0f allocations", name, before)
		}
	}
	if _, err := ReadWAV("/dev/zero"); err == nil {
		t.Error("a device without end was read")
	}
}

func FuzzWAV(f *testing.F) {
	for _, kind := range []form{{wavPCM, 16, 1, 8000, false}, {wavPCM, 24, 2, 44100, true}, {wavALaw, 8, 1, 8000, false}, {wavFloat, 32, 1, 16000, false}, {wavPCM, 8, 2, 11025, false}} {
		f.Add(kind.file(0.01, melody))
		f.Add(kind.file(0.01, melody)[:50])
	}
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEdata\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tape, err := ParseWAV("fuzz", b)
		if err != nil {
			return
		}
		tape.Prepare()
		for _, c := range []Codec{PCMU, PCMA, G722} {
			if tape.Payload(c, tape.Frames()-1) == nil || tape.Payload(c, tape.Frames()) != nil {
				t.Errorf("%s: it does not have %d frames", c, tape.Frames())
			}
		}
		if tape.Length > MaxLength+Frame {
			t.Errorf("it is %s long", tape.Length)
		}
	})
}
