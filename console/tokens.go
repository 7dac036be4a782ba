package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

// role is what a visitor may. Each may what the one before may.
type role int

const (
	nobody   role = iota
	viewer        // reads; telephone numbers are masked
	operator      // reads numbers, and acts: holds, releases, switches, call-backs, notices
	admin         // and has the configuration read again
)

var roleNames = map[string]role{"viewer": viewer, "operator": operator, "admin": admin}

// String is the role as the tokens file writes it.
func (r role) String() string {
	for name, x := range roleNames {
		if x == r {
			return name
		}
	}
	return "nobody"
}

// Roles are the words that a line of the tokens file may say.
const Roles = "viewer, operator or admin"

// token is one line of the tokens file: a person.
type token struct {
	name string
	role role
	hash [sha256.Size]byte
}

const (
	maxTokens   = 1000
	maxTokensIn = 256 << 10 // bytes that are read of the file
)

// NewToken makes a token and the line for the tokens file. role must be one of [Roles].
func NewToken(name, role string) (secret, line string, err error) {
	if _, err := ownerName(name); err != nil {
		return "", "", err
	}
	if roleNames[role] == nobody {
		return "", "", fmt.Errorf("role %q: say %s", role, Roles)
	}
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	secret = base64.RawURLEncoding.EncodeToString(b[:])
	hash := sha256.Sum256([]byte(secret))
	return secret, fmt.Sprintf("%s %s %s", name, role, hex.EncodeToString(hash[:])), nil
}

// ownerName checks a name of the tokens file: it stands in the book, and in a file whose fields are separated by spaces.
func ownerName(name string) (string, error) {
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' || r == ':' }) {
		return "", fmt.Errorf("name %q: up to 64 letters without a space, # or colon", name)
	}
	return name, nil
}

// parseTokens reads a tokens file. A line that is wrong is left out and said; the others count.
func parseTokens(text string) (all []token, problems []string) {
	seen := map[string]bool{}
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		t, err := parseToken(fields)
		switch {
		case err == nil && seen[t.name]:
			err = fmt.Errorf("%s stands there twice", t.name)
		case err == nil && len(all) == maxTokens:
			err = fmt.Errorf("more than %d lines", maxTokens)
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("line %d: %v", i+1, err))
			continue
		}
		seen[t.name] = true
		all = append(all, t)
	}
	return all, problems
}

func parseToken(fields []string) (t token, err error) {
	if len(fields) != 3 {
		return t, errors.New("want a name, a role and the token's SHA-256")
	}
	// What stands in the wrong place may be the token itself, and this goes into the log: it is not repeated.
	if t.name, err = ownerName(fields[0]); err != nil {
		return t, errors.New("the first word must be a name, up to 64 letters without # or colon")
	}
	if t.role = roleNames[fields[1]]; t.role == nobody {
		return t, errors.New("the second word must be " + Roles)
	}
	hash, err := hex.DecodeString(fields[2])
	if err != nil || len(hash) != sha256.Size {
		return t, errors.New("the third word must be the token's SHA-256 in 64 hexadecimal digits: nines token makes such a line")
	}
	copy(t.hash[:], hash)
	return t, nil
}

// tokens is the tokens file, read again when it has changed.
type tokens struct {
	path func() string // empty: there is none
	warn func(problem string)

	mu     sync.Mutex
	looked time.Time
	was    fileMark
	all    []token
	said   string // the last problem that was said
}

// fileMark tells one state of a file from another.
type fileMark struct {
	path string
	size int64
	at   time.Time
}

const lookAgain = time.Second

// list gives the tokens of now. A file that is gone or cannot be read gives none: nobody can act, everything else goes on (R2).
func (t *tokens) list() []token {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.looked) < lookAgain {
		return t.all
	}
	t.looked = time.Now()
	mark, text, err := readTokens(t.path(), t.was)
	switch {
	case errors.Is(err, fs.ErrNotExist) && t.was == (fileMark{}): // it need not be there; whoever named it in the configuration was told
	case err != nil:
		t.all, t.was = nil, fileMark{}
		t.say("nobody can act in the console: " + err.Error())
	case mark != t.was:
		var problems []string
		t.all, problems = parseTokens(text)
		t.was = mark
		t.say(strings.Join(problems, "; "))
	}
	return t.all
}

// say warns once about each state.
func (t *tokens) say(problem string) {
	if problem != "" && problem != t.said && t.warn != nil {
		t.warn(problem)
	}
	t.said = problem
}

// readTokens reads the file unless it is as it was. A path that is empty is a file with nothing in it.
func readTokens(path string, was fileMark) (fileMark, string, error) {
	if path == "" {
		return fileMark{}, "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		var where *fs.PathError
		if errors.As(err, &where) {
			err = where.Err
		}
		return fileMark{}, "", fmt.Errorf("read %s: %w", path, err)
	}
	mark := fileMark{path, info.Size(), info.ModTime()}
	if mark == was {
		return mark, "", nil
	}
	if !info.Mode().IsRegular() || info.Size() > maxTokensIn {
		return fileMark{}, "", fmt.Errorf("read %s: it is no file of at most %d bytes", path, maxTokensIn)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fileMark{}, "", err
	}
	return mark, string(b), nil
}

// owner finds whose a secret is. It takes the same time for every secret.
func (t *tokens) owner(secret string) (found token, ok bool) {
	hash := sha256.Sum256([]byte(secret))
	for _, known := range t.list() {
		if subtle.ConstantTimeCompare(hash[:], known.hash[:]) == 1 {
			found, ok = known, true
		}
	}
	return found, ok
}

// named finds a person.
func (t *tokens) named(name string) (token, bool) {
	for _, known := range t.list() {
		if known.name == name {
			return known, true
		}
	}
	return token{}, false
}
