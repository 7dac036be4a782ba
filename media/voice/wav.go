package voice

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/zaf/g711"
)

// Limits of a recording. They bound what a wrong file can cost.
const (
	MaxFile   = 64 << 20         // bytes that are read of a file
	MaxLength = 10 * time.Minute // of sound
	minRate   = 4000             // samples a second
	maxRate   = 192000
)

// quietest is the peak below which nothing can be heard in a recording: -50 dB below the loudest a file can hold.
const quietest = 0.003

// ReadWAV reads a WAV file and makes a tape of it: PCM of 8, 16, 24 or 32 bits, 32-bit float, A-law or µ-law, mono or stereo, 4 to 192 kHz. What is
// wrong with a file is said in words an operator can act upon. It reads no more than [MaxFile] bytes, and only of a regular file.
func ReadWAV(path string) (*Tape, error) {
	t, err := readTape(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// ParseWAV makes a tape of a WAV file's bytes.
func ParseWAV(name string, file []byte) (*Tape, error) {
	t, err := makeTape(name, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// readTape is ReadWAV without the path in its errors.
func readTape(path string) (*Tape, error) {
	file, err := readFile(path)
	var wrong *fs.PathError
	if errors.As(err, &wrong) {
		return nil, wrong.Err
	}
	if err != nil {
		return nil, err
	}
	return makeTape(filepath.Base(path), file)
}

// readFile reads a regular file of MaxFile bytes at most.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe has no writer and would hold us up
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("this is no file")
	case info.Size() > MaxFile:
		return nil, fmt.Errorf("it is too big: %d MiB, at most %d; save it at 8 or 16 kHz, mono, 16 bits", info.Size()>>20, MaxFile>>20)
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(b) > MaxFile {
		err = fmt.Errorf("it is growing: more than %d MiB", MaxFile>>20)
	}
	return b, err
}

// makeTape makes a tape in which something can be heard.
func makeTape(name string, file []byte) (*Tape, error) {
	s, err := parseWAV(file)
	if err != nil {
		return nil, err
	}
	t := newTape(name, hashOf(file), s)
	if t.peak < quietest {
		return nil, errors.New("nothing can be heard in it")
	}
	return t, nil
}

// sound is what a WAV file holds. Samples are decoded when they are wanted.
type sound struct {
	rate     int
	channels int
	width    int // bytes of a sample of one channel
	decode   func(b []byte) float32
	data     []byte
}

// len is how many samples there are, one for all channels.
func (s *sound) len() int { return len(s.data) / (s.width * s.channels) }

// read decodes samples from the i-th on, the mean of all channels, until dst is full. What lies outside is silence.
func (s *sound) read(i int, dst []float32) {
	n, step := s.len(), s.width*s.channels
	for j := range dst {
		dst[j] = 0
		if at := i + j; at >= 0 && at < n {
			for c := range s.channels {
				dst[j] += s.decode(s.data[at*step+c*s.width:])
			}
			dst[j] /= float32(s.channels)
		}
	}
}

// The formats of a WAV file's fmt chunk.
const (
	wavPCM        = 1
	wavFloat      = 3
	wavALaw       = 6
	wavMuLaw      = 7
	wavExtensible = 0xfffe
)

// decoders give a sample between -1 and 1, by format and bits.
var decoders = map[[2]int]func(b []byte) float32{
	{wavPCM, 8}:  func(b []byte) float32 { return (float32(b[0]) - 128) / 128 },
	{wavPCM, 16}: func(b []byte) float32 { return float32(int16(binary.LittleEndian.Uint16(b))) / (1 << 15) },
	{wavPCM, 24}: func(b []byte) float32 {
		return float32(int32(b[0])<<8|int32(b[1])<<16|int32(int8(b[2]))<<24) / (1 << 31)
	},
	{wavPCM, 32}:   func(b []byte) float32 { return float32(int32(binary.LittleEndian.Uint32(b))) / (1 << 31) },
	{wavFloat, 32}: func(b []byte) float32 { return tame(math.Float32frombits(binary.LittleEndian.Uint32(b))) },
	{wavALaw, 8}:   func(b []byte) float32 { return float32(g711.DecodeAlawFrame(b[0])) / (1 << 15) },
	{wavMuLaw, 8}:  func(b []byte) float32 { return float32(g711.DecodeUlawFrame(b[0])) / (1 << 15) },
}

// tame makes a number of what a float may hold.
func tame(v float32) float32 {
	if v != v { // not a number is not equal to itself
		return 0
	}
	return min(max(v, -1), 1)
}

// parseWAV finds format and samples among the chunks of a RIFF file (Multimedia Programming Interface and Data Specifications 1.0, Microsoft and IBM).
func parseWAV(b []byte) (sound, error) {
	switch {
	case len(b) == 0:
		return sound{}, errors.New("the file is empty")
	case len(b) >= 12 && string(b[:4]) == "RF64":
		return sound{}, errors.New("this is a 64-bit WAV file; save it as plain WAV")
	case len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE":
		return sound{}, errors.New("this is no WAV file")
	}
	var s sound
	for rest := b[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), int(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[8:]
		switch {
		case id == "data" && s.rate == 0:
			return sound{}, errors.New("its sound comes before its format")
		case id == "data" && size > len(rest):
			return sound{}, fmt.Errorf("it is cut short: %d bytes of sound are promised and %d are there; copy or save it again, not through a pipe", size, len(rest))
		case id == "data":
			s.data = rest[:size]
			return s, s.check()
		case size > len(rest):
			return sound{}, fmt.Errorf("it is damaged: a %q of %d bytes is promised and %d are there", printable(id), size, len(rest))
		case id == "fmt ":
			var err error
			if s, err = parseFormat(rest[:size]); err != nil {
				return sound{}, err
			}
		}
		rest = rest[min(size+size&1, len(rest)):] // chunks are padded to even length
	}
	return sound{}, errors.New("there is no sound in it")
}

// printable keeps a damaged chunk's name out of a terminal.
func printable(id string) string {
	for _, c := range []byte(id) {
		if c < ' ' || c > '~' {
			return "chunk"
		}
	}
	return id
}

// check says what is wrong with the amount of sound.
func (s *sound) check() error {
	n := s.len()
	if n == 0 {
		return errors.New("there is no sound in it")
	}
	if length := time.Duration(n) * time.Second / time.Duration(s.rate); length > MaxLength {
		return fmt.Errorf("it is too long: %s, at most %s", length.Round(time.Second), MaxLength)
	}
	return nil
}

// parseFormat reads a fmt chunk.
func parseFormat(b []byte) (sound, error) {
	if len(b) < 16 {
		return sound{}, errors.New("its format is cut short")
	}
	format, channels := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
	rate, block, bits := binary.LittleEndian.Uint32(b[4:]), int(binary.LittleEndian.Uint16(b[12:])), int(binary.LittleEndian.Uint16(b[14:]))
	if format == wavExtensible {
		if len(b) < 26 {
			return sound{}, errors.New("its format is cut short")
		}
		format = int(binary.LittleEndian.Uint16(b[24:])) // a sub-format's GUID begins with the number that it extends
	}
	decode := decoders[[2]int{format, bits}]
	switch {
	case decode == nil:
		return sound{}, fmt.Errorf("its format is %#x with %d bits; save it as PCM with 16 bits, A-law or µ-law", format, bits)
	case channels != 1 && channels != 2:
		return sound{}, fmt.Errorf("it has %d channels; save it as mono", channels)
	case rate < minRate || rate > maxRate:
		return sound{}, fmt.Errorf("its rate is %d Hz; save it at 8000 or 16000 Hz", rate)
	case block != channels*bits/8:
		return sound{}, fmt.Errorf("its format contradicts itself: %d bytes for %d channels of %d bits", block, channels, bits)
	}
	return sound{rate: int(rate), channels: channels, width: bits / 8, decode: decode}, nil
}
