package voice

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// tone is a WAV file with a tone in it.
func tone(hertz float64) []byte {
	return form{wavPCM, 16, 1, 8000, false}.file(0.5, func(at float64) float64 { return 0.3 * math.Sin(2*math.Pi*hertz*at) })
}

// TestAFileThatIsNotWhatWasAcceptedIsNotPlayed: files are taken away, changed and put back while callers hear them.
func TestAFileThatIsNotWhatWasAcceptedIsNotPlayed(t *testing.T) {
	dir := t.TempDir()
	written := time.Now().Add(-time.Hour)
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		written = written.Add(time.Second) // the clock of a disk may be so coarse that two writes have one time
		if err := os.Chtimes(filepath.Join(dir, name), written, written); err != nil {
			t.Fatal(err)
		}
	}
	write("en.wav", tone(500))
	write("cy.wav", tone(700))
	write("bad.wav", []byte("RIFF"))
	tomorrow := time.Now().Add(24 * time.Hour)
	l := Load(dir, []Announcement{
		{Name: "report-online", Files: []string{"cy.wav", "en.wav"}, Expires: tomorrow},
		{Name: "ours", Files: []string{filepath.Join(dir, "bad.wav")}},
		{Name: "late", Files: []string{"en.wav"}, Expires: time.Now().Add(-time.Hour)},
		{Name: "high-demand-cy"},
		{Name: "high-demand", Expires: time.Now().Add(-time.Hour)},
	})
	hears := func(name string, want ...string) {
		t.Helper()
		var got []string
		for _, tape := range l.Find(name, WayOut{Key: '9'}).Tapes {
			got = append(got, tape.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is heard as %q, want %q", name, got, want)
		}
	}
	now := time.Now()
	says := func(want ...string) {
		t.Helper()
		var got []string
		for _, d := range l.look(now) {
			got = append(got, d.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("the library says\n%q, want\n%q", got, want)
		}
	}
	hears("report-online", "cy.wav", "en.wav")
	hears("ours", "report-online.en", "press-9.en")
	hears("late", "report-online.en", "press-9.en")
	hears("high-demand", "high-demand.en", "press-9.en")
	hears("high-demand-cy", "high-demand.cy", "press-9.cy", "high-demand.en", "press-9.en")
	hears("never heard of", "report-online.en", "press-9.en")
	if got, want := fmt.Sprint(l.Doubts()), fmt.Sprintf("[announcement ours: %s/bad.wav cannot be played: this is no WAV file; the built-in text is played instead "+
		"announcement late is out of date; the built-in text is played instead announcement high-demand is out of date; the built-in text is played instead]", dir); got != want {
		t.Errorf("at load it says\n%s, want\n%s", got, want)
	}
	says()

	write("en.wav", tone(900))
	says("announcement report-online: en.wav is not what was loaded; the built-in text is played until a reload accepts it")
	hears("report-online", "report-online.en", "press-9.en")
	says()
	if err := os.Remove(filepath.Join(dir, "en.wav")); err != nil {
		t.Fatal(err)
	}
	says("announcement report-online: en.wav is gone; the built-in text is played until it is back, or a reload")
	write("en.wav", tone(500))
	says("announcement report-online is as it was loaded; it is played again")
	hears("report-online", "cy.wav", "en.wav")

	if err := os.Chtimes(filepath.Join(dir, "cy.wav"), now, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	says() // touched, but the same
	if err := os.Truncate(filepath.Join(dir, "cy.wav"), 4<<30); err != nil {
		t.Fatal(err)
	}
	says("announcement report-online: cy.wav is not what was loaded; the built-in text is played until a reload accepts it")
	write("cy.wav", tone(700))
	write("bad.wav", tone(700))
	says("announcement report-online is as it was loaded; it is played again")
	hears("ours", "report-online.en", "press-9.en") // what was never accepted waits for a reload

	now = tomorrow
	says("announcement report-online is out of date; the built-in text is played instead")
	hears("report-online", "report-online.en", "press-9.en")
	if s := l.Find("report-online", WayOut{}); !s.BuiltIn || s.Doubt.Why != Expired || len(s.Hashes()) != 2 || s.Hashes()[0] != s.Tapes[0].Hash {
		t.Errorf("the book would say %+v", s)
	}
}
