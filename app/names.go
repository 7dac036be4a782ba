package app

import (
	"errors"
	"io/fs"
	"os"
)

// namesName is the file in the state folder that holds the last good answers of DNS (R45).
const namesName = "dns.json"

// nameStore is that file.
type nameStore struct{ path string }

// LoadNames implements sip.NameStore.
func (s nameStore) LoadNames() ([]byte, error) {
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// SaveNames implements sip.NameStore.
func (s nameStore) SaveNames(b []byte) error { return replaceFile(s.path, b, 0o640) }
