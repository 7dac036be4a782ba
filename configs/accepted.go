package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// acceptedName is the last accepted file inside the state folder.
const acceptedName = "accepted.yaml"

// SaveAccepted keeps a copy of a file that was accepted in the state folder, which is made if it is missing. After a crash there is the old copy or the
// new one, never half of one.
func SaveAccepted(dir string, data []byte) (err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("keep accepted file: %w", err)
	}
	tmp, err := os.CreateTemp(dir, acceptedName+".*")
	if err != nil {
		return fmt.Errorf("keep accepted file: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep accepted file: %w", errors.Join(err, os.Remove(tmp.Name())))
		}
	}()
	if _, err := tmp.Write(data); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Sync(); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(dir, acceptedName)); err != nil {
		return err
	}
	syncFolder(dir)
	return nil
}

// syncFolder makes a rename durable where the file system can; where it can't, the copy is in place all the same.
func syncFolder(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	_ = d.Sync()  // some file systems refuse to sync a folder
	_ = d.Close() // nothing was written through it
}

// LoadAccepted gives the last accepted file. The error is fs.ErrNotExist where none was ever accepted.
func LoadAccepted(dir string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, acceptedName))
	if err != nil {
		return nil, fmt.Errorf("load accepted file: %w", err)
	}
	return data, nil
}

// ReadAccepted reads the last accepted copy of the file at path out of the state folder. Relative paths in it are relative to path's folder, as they were
// when it was accepted.
func ReadAccepted(path, dir string) (*File, Problems, error) {
	data, err := LoadAccepted(dir)
	if err != nil {
		return nil, nil, err
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, nil, fmt.Errorf("find folder of %s: %w", path, err)
	}
	f, problems := Parse(filepath.Join(dir, acceptedName), data, InFolder(folder))
	return f, problems, nil
}
