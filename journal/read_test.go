package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestABookThatIsBeingBegunIsNotCalledSomebodyElses: whoever asks in the first moment of the first start finds a file that is SQLite's and has nothing in it.
func TestABookThatIsBeingBegunIsNotCalledSomebodyElses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nines.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := OpenReader(path); !errors.Is(err, errBegun) {
		t.Errorf("a file without tables is read as %v, %v; want to be told that the book is only being begun", r, err)
	}
	s, err := openStore(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close(), s.exec(t.Context(), "PRAGMA application_id = 7"), s.close()); err != nil {
		t.Fatal(err)
	}
	if r, err := OpenReader(path); !errors.Is(err, errNoBook) {
		t.Errorf("somebody else's file is read as %v, %v; want it refused", r, err)
	}
}
