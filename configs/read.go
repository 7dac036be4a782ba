package configs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxSize is far more than any file of ours needs.
const maxSize = 1 << 20

// Option changes how a file is read.
type Option func(*options)

type options struct {
	folder string
	now    time.Time
	load   func(path string) ([]byte, error)
}

// InFolder says which folder relative paths in the file are relative to. Without it, the folder of the file's name.
func InFolder(folder string) Option { return func(o *options) { o.folder = folder } }

// At says what time it is, for certificates and announcements that expire. Without it, now.
func At(now time.Time) Option { return func(o *options) { o.now = now } }

// Loading says how the files are read that the file names (certificates, announcements, tokens). Without it, from disk.
func Loading(load func(path string) ([]byte, error)) Option {
	return func(o *options) { o.load = load }
}

// Read reads and checks the file at path. Relative paths in it are relative to its folder. The error says that the file itself could not be read.
func Read(path string) (*File, Problems, error) {
	data, err := loadFile(path)
	if err != nil {
		return nil, nil, err
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, nil, fmt.Errorf("find folder of %s: %w", path, err)
	}
	f, problems := Parse(path, data, InFolder(folder))
	return f, problems, nil
}

// mostLoaded bounds what is read of a file, so that a wrong one cannot take the memory that calls need. Announcements have the same bound.
const mostLoaded = 64 << 20

// loadFile reads a file that is a file: a pipe or a device could keep us waiting for ever.
func loadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	if info.Size() > mostLoaded {
		return nil, fmt.Errorf("read %s: it is too big: %d MiB, at most %d", path, info.Size()>>20, mostLoaded>>20)
	}
	return os.ReadFile(path)
}

// Parse reads and checks YAML; name stands for the file in the problems. The File is never nil. With an [Error] among the problems it must not be run, but
// its State is the best that could be made out: that is where the last accepted copy lies.
func Parse(name string, data []byte, opts ...Option) (*File, Problems) {
	o := options{folder: filepath.Dir(name), now: time.Now(), load: loadFile}
	for _, opt := range opts {
		opt(&o)
	}
	r := &reader{file: name, folder: o.folder, at: map[string]int{}, unread: map[string]bool{}}
	f := defaults()
	f.Console.TokensFile = r.resolve(f.Console.TokensFile)
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(data) > maxSize {
		r.wrong("", fmt.Sprintf("the file has %d bytes, more than a megabyte", len(data)), "this is hardly a nines.yaml")
		return f, r.problems
	}
	root, ok := r.tree(data)
	if !ok {
		if s := stateLine(data); s != "" {
			f.State = r.resolve(s)
		}
		return f, r.problems
	}
	r.root(value{root, ""}, f)
	f.settle()
	(&linter{reader: r, f: f}).lint()
	(&outside{reader: r, f: f, now: o.now, load: o.load}).check()
	r.withoutEffect()
	r.problems.sort()
	return f, r.problems
}

// stateLine finds state: in a file that is no YAML.
func stateLine(data []byte) string {
	for line := range strings.Lines(string(data)) {
		if s, ok := strings.CutPrefix(line, "state:"); ok {
			s, _, _ = strings.Cut(s, " #")
			return strings.Trim(s, " \t\r\n\"'")
		}
	}
	return ""
}

// settle puts journal and key into the state folder, once all is read.
func (f *File) settle() {
	for _, p := range []*string{&f.Journal.Path, &f.Journal.SignKey} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(f.State, *p)
		}
	}
	for i := range f.Journal.Also {
		if a := &f.Journal.Also[i]; a.File != "" && !filepath.IsAbs(a.File) {
			a.File = filepath.Join(f.State, a.File)
		}
	}
}
