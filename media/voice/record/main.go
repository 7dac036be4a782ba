// Command record speaks the built-in texts with espeak-ng, as media/voice/texts/README.md says. It is run by make announcements and is no part of nines.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"nines/media/voice"
)

// speakers are espeak-ng's voice and words a minute, by language.
var speakers = map[voice.Language][]string{
	voice.English: {"-v", "en-gb", "-s", "145"},
	voice.Welsh:   {"-v", "cy", "-s", "140"},
}

func main() {
	if err := run("media/voice/texts"); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

// run makes the recordings in dir that are missing or old, removes those without a text, and writes down what was made of what.
func run(dir string) error {
	list := filepath.Join(dir, "made.txt")
	old, err := os.ReadFile(list)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	had := strings.Split(string(old), "\n")
	var made bytes.Buffer
	names := []string{}
	for _, t := range voice.Texts() {
		name := t.Name + "." + string(t.Language) + ".wav"
		names = append(names, name)
		path := filepath.Join(dir, name)
		if file, err := os.ReadFile(path); err != nil || !slices.Contains(had, line(t, name, file)) {
			fmt.Println("speaking", name)
			if err := speak(t, path); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		file, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintln(&made, line(t, name, file))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.wav"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if !slices.Contains(names, filepath.Base(f)) {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(list, made.Bytes(), 0o644)
}

// line is a recording's line in made.txt.
func line(t voice.Text, name string, file []byte) string {
	return fmt.Sprintf("%s text=%s recording=%s", name, sum([]byte(t.Words)), sum(file))
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// speak makes one recording.
func speak(t voice.Text, path string) error {
	raw, err := os.CreateTemp("", "nines-*.wav")
	if err != nil {
		return err
	}
	defer os.Remove(raw.Name())
	defer raw.Close()
	out, err := exec.Command("espeak-ng", append(slices.Clone(speakers[t.Language]), "-a", "45", "-w", raw.Name(), t.Words)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("espeak-ng: %w: %s", err, out)
	}
	tape, err := voice.ReadWAV(raw.Name())
	if err != nil {
		return err
	}
	var sound []byte
	for i := range tape.Frames() {
		sound = append(sound, tape.Payload(voice.PCMA, i)...)
	}
	return os.WriteFile(path, wav(sound), 0o644)
}

// wav is a WAV file of A-law at 8 kHz.
func wav(sound []byte) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt ")
	b = binary.LittleEndian.AppendUint32(b, 18)
	for _, v := range []uint16{6, 1} { // A-law, mono
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	for range 2 { // samples and bytes a second
		b = binary.LittleEndian.AppendUint32(b, 8000)
	}
	for _, v := range []uint16{1, 8, 0} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(sound)))
	b = append(b, sound...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	return b
}
