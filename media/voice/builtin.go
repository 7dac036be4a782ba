package voice

import (
	"bufio"
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// texts are the recordings that ship with nines and the words that are spoken in them.
//
//go:embed texts/*.wav texts/texts.txt
var texts embed.FS

// Language is a language that built-in texts are spoken in.
type Language string

// The languages of the built-in texts.
const (
	English Language = "en"
	Welsh   Language = "cy"
)

// welshToo ends the name of an announcement that is spoken in Welsh and then in English, in this order (Welsh Language Standards).
const welshToo = "-cy"

// announcements are the built-in texts that can be announced, by their names in a configuration.
var announcements = []string{"report-online", "report-online-down", "high-demand", "high-demand-down", "hold-the-line", "relay"}

// Fallback is the built-in announcement that stands in for one of a name of its own.
const Fallback = "report-online"

// BuiltIns are the names of the built-in announcements. With "-cy" behind it, each is spoken in Welsh first.
func BuiltIns() []string {
	names := slices.Clone(announcements)
	for _, n := range announcements {
		names = append(names, n+welshToo)
	}
	return names
}

// WayOut is how a caller who hears an announcement gets to a person, so that a built-in one can say it. The zero value: by dialling 999.
type WayOut struct {
	Key  byte // by pressing this key
	Stay bool // by staying on the line
}

// text is the built-in text that tells of a way out.
func (w WayOut) text() string {
	switch {
	case w.Key == '*':
		return "press-star"
	case w.Key == '#':
		return "press-hash"
	case w.Key >= '0' && w.Key <= '9':
		return "press-" + string(w.Key)
	case w.Stay:
		return "stay-on-the-line"
	}
	return "dial-999"
}

// BuiltIn gives the tapes of a built-in announcement, one for each language; nil when none has this name. A way out is told behind each, unless
// the caller is just to wait (hold-the-line), or was told everything (relay, unless there is a way).
func BuiltIn(name string, way WayOut) []*Tape {
	base, welsh := strings.CutSuffix(name, welshToo)
	if !slices.Contains(announcements, base) {
		return nil
	}
	languages := []Language{English}
	if welsh {
		languages = []Language{Welsh, English}
	}
	var tapes []*Tape
	for _, l := range languages {
		tapes = append(tapes, recording(base, l))
		if base != "hold-the-line" && (base != "relay" || way != WayOut{}) {
			tapes = append(tapes, recording(way.text(), l))
		}
	}
	return tapes
}

// recordings are those that were made into tapes.
var recordings sync.Map // of func() *Tape by file name

// recording gives the tape of a text. It is made when it is first wanted.
func recording(text string, l Language) *Tape {
	name := text + "." + string(l)
	once, _ := recordings.LoadOrStore(name, sync.OnceValue(func() *Tape {
		file, err := texts.ReadFile("texts/" + name + ".wav")
		if err != nil {
			panic(err) // a test has read every one of them
		}
		t, err := ParseWAV(name, file)
		if err != nil {
			panic(err)
		}
		return t
	}))
	return once.(func() *Tape)()
}

// builtInTapes makes everything that is built in.
func builtInTapes() []*Tape {
	tapes := []*Tape{Comfort(), Ringing()}
	for _, t := range Texts() {
		tapes = append(tapes, recording(t.Name, t.Language))
	}
	return tapes
}

// Text is what is spoken in a built-in recording.
type Text struct {
	Name     string
	Language Language
	Words    string
}

// Texts are all built-in texts.
func Texts() []Text {
	file, err := texts.Open("texts/texts.txt")
	if err != nil {
		panic(err) // it is in the binary
	}
	defer file.Close()
	var list []Text
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		key, words, _ := strings.Cut(line, ": ")
		name, language, ok := strings.Cut(key, ".")
		if !ok || words == "" {
			panic(fmt.Sprintf("texts.txt: %q is no text", line))
		}
		list = append(list, Text{name, Language(language), words})
	}
	return list
}
