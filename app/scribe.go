package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	memoryEvery = time.Second      // how often it is looked whether something has changed
	memoryRetry = 10 * time.Second // after a file could not be written
	memoryWait  = 5 * time.Second  // how long who acts waits for the disk
)

// errSlowDisk says that a disk hangs.
var errSlowDisk = fmt.Errorf("the disk has not answered for %s", memoryWait)

// scribe is a goroutine that alone writes a file of the state folder. Who acts asks it to and waits.
type scribe struct {
	asked chan chan error
	say   func(err error) // logs that the file is not what it should be, or with nil that it is again

	mu     sync.Mutex
	unkept error // why the file is not what it should be
}

func newScribe(say func(err error)) *scribe { return &scribe{asked: make(chan chan error), say: say} }

// note keeps whether the file is what it should be, has a change said, and gives err back.
func (s *scribe) note(err error) error {
	s.mu.Lock()
	was := s.unkept
	s.unkept = err
	s.mu.Unlock()
	if (was == nil) != (err == nil) {
		s.say(err)
	}
	return err
}

// lost says why the file is not what it should be; empty: it is.
func (s *scribe) lost() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unkept == nil {
		return ""
	}
	return s.unkept.Error()
}

// serve has the file written when somebody asks, and about once a second when it is due, until ctx ends. After a failure it is left alone for a while.
func (s *scribe) serve(ctx context.Context, due func() bool, write func() error) {
	look := time.NewTicker(memoryEvery)
	defer look.Stop()
	var failed time.Time
	for {
		var reply chan error
		select {
		case <-ctx.Done():
			return
		case reply = <-s.asked:
		case <-look.C:
			if time.Since(failed) < memoryRetry || !due() {
				continue
			}
		}
		err := write()
		failed = time.Time{}
		if err != nil {
			failed = time.Now()
		}
		if reply != nil {
			reply <- err
		}
	}
}

// always is for a file that its writer compares with what it should say.
func always() bool { return true }

// write has the file written and waits for it, as long as a person would; a disk that hangs longer is noted. It goes on when who asked has gone.
func (s *scribe) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), memoryWait, errSlowDisk)
	defer cancel()
	reply := make(chan error, 1)
	select {
	case s.asked <- reply:
	case <-ctx.Done():
		return s.note(context.Cause(ctx))
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return s.note(context.Cause(ctx))
	}
}

// setAside moves a file that cannot be understood out of the way, and says where it is or why it stays.
func setAside(path string) (where string, moved bool) {
	to := path + ".corrupt-" + time.Now().Format("20060102T150405")
	if err := os.Rename(path, to); err != nil {
		return err.Error(), false
	}
	return "it is now " + to, true
}

// replaceFile replaces a file in the state folder. Whatever happens meanwhile, the old one is there or the new one; when it returns nil the new one is on
// the disk.
func replaceFile(path string, b []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	fresh := path + ".new" // always the same name: a crash leaves one file behind, not many
	if err := writeSynced(fresh, b, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, removed(fresh)))
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, removed(fresh)))
	}
	if err := syncFolder(dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeSynced(name string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// removed takes a half-written file away; that it was never there is no error.
func removed(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	return nil
}

// syncFolder makes a rename last. Some file systems refuse to sync a folder; they have no better way.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
