package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sessions know who signed in on a page. Nothing is kept but a key: the cookie says who and until when, and is signed. So a screen on the wall stays
// signed in when nines is started again, and a line that is taken out of the tokens file ends that person's sessions.
type sessions struct {
	key    []byte
	tokens *tokens
	now    func() time.Time
}

const (
	cookieName = "nines"
	// A screen on the wall that only looks stays signed in for long, a person who can act does not.
	watching = 30 * 24 * time.Hour
	acting   = 12 * time.Hour
	keyBytes = 32
)

// newSessions reads the key, or makes one. A key that cannot be kept lasts as long as the process.
func newSessions(path string, t *tokens) *sessions {
	s := &sessions{tokens: t, now: time.Now}
	if key, err := os.ReadFile(path); err == nil && len(key) == keyBytes {
		s.key = key
		return s
	}
	s.key = make([]byte, keyBytes)
	_, _ = rand.Read(s.key) // never fails
	if path != "" {
		_ = keepKey(path, s.key)
	}
	return s
}

func keepKey(path string, key []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, key, 0o600)
}

// sign is what only we can say about the parts.
func (s *sessions) sign(parts ...string) string {
	m := hmac.New(sha256.New, s.key)
	for _, p := range parts {
		_, _ = m.Write([]byte(strconv.Itoa(len(p)) + ":" + p)) // a hash never fails
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// begin signs a person in.
func (s *sessions) begin(w http.ResponseWriter, t token) {
	length := acting
	if t.role == viewer {
		length = watching
	}
	until := s.now().Add(length)
	claim := base64.RawURLEncoding.EncodeToString([]byte(t.name)) + "." + strconv.FormatInt(until.Unix(), 10)
	s.set(w, claim+"."+s.sign("session", claim, string(t.hash[:])), int(length/time.Second))
}

func (s *sessions) end(w http.ResponseWriter) { s.set(w, "", -1) }

func (s *sessions) set(w http.ResponseWriter, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// visitor reads the cookie of a request.
func (s *sessions) visitor(r *http.Request) (visitor, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return visitor{}, false
	}
	parts := strings.Split(c.Value, ".")
	if len(parts) != 3 {
		return visitor{}, false
	}
	name, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return visitor{}, false
	}
	until, err := strconv.ParseInt(parts[1], 10, 64)
	t, known := s.tokens.named(string(name))
	good := hmac.Equal([]byte(parts[2]), []byte(s.sign("session", parts[0]+"."+parts[1], string(t.hash[:]))))
	if err != nil || !known || !good || s.now().Unix() >= until {
		return visitor{}, false
	}
	return visitor{name: t.name, role: t.role, session: true, csrf: s.sign("form", c.Value)}, true
}

// same compares what a form carries with what it should.
func same(got, want string) bool { return want != "" && hmac.Equal([]byte(got), []byte(want)) }
