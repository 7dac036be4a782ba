package console

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// visitor is who stands at a door.
type visitor struct {
	name    string // the token's owner; empty at the control socket, and for who reads without a token
	role    role
	control bool   // came through the control socket: says who they are in each request
	session bool   // known by a page's cookie, not by a token in this request
	csrf    string // what that session's forms must carry
}

// numbers says whether the visitor sees callers' numbers.
func (v visitor) numbers() bool { return v.role >= operator }

var (
	errWrongToken = errors.New("this token is not known")
	errTooMany    = errors.New("too many wrong tokens from there; wait a little. The nines command on the machine works meanwhile")
	errNoToken    = errors.New("this needs a token; without one the console is read on the machine itself only, by way of loopback")
)

// guard finds out who comes through the TCP door.
type guard struct {
	tokens   *tokens
	sessions *sessions
	slow     *brake
}

// visitor says who a request is from. The error is for them: whoever has no token, and is not on this machine, is nobody.
func (g *guard) visitor(r *http.Request) (visitor, error) {
	if secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		t, err := g.check(r, strings.TrimSpace(secret))
		return visitor{name: t.name, role: t.role}, err
	}
	if v, ok := g.sessions.visitor(r); ok {
		return v, nil
	}
	if isHere(r) {
		return visitor{role: viewer}, nil
	}
	return visitor{}, errNoToken
}

// check looks a secret up. A wrong one is answered late, and later each time.
func (g *guard) check(r *http.Request, secret string) (token, error) {
	from := source(r)
	if !g.slow.enter(from) {
		return token{}, errTooMany
	}
	defer g.slow.leave(from)
	t, ok := g.tokens.owner(secret)
	if !ok {
		g.slow.wait(r.Context(), from)
		return token{}, errWrongToken
	}
	g.slow.forget(from)
	return t, nil
}

// isHere says whether a request was made on this machine, by somebody who meant us.
func isHere(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" { // a proxy on this machine speaks for somebody elsewhere
			return false
		}
	}
	// A page from elsewhere that had its name resolved to loopback (DNS rebinding) comes with its own name.
	return isLocalHost(r.Host)
}

func isLocalHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	_, err = netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

// source is whom wrong tokens are counted for: an address, of IPv6 the network.
func source(r *http.Request) netip.Prefix {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	addr := peer.Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

// brake slows who tries tokens: each wrong one from a source waits twice as long as the one before.
type brake struct {
	first, longest time.Duration

	mu      sync.Mutex
	sources map[netip.Prefix]*tries
	inside  int
}

// tries are one source's.
type tries struct {
	wrong  int
	inside int // requests that are being looked at
	last   time.Time
}

const (
	maxSources    = 1024
	maxInside     = 64 // over all sources
	maxFromOne    = 4
	forgiveAfter  = 15 * time.Minute
	firstDelay    = 100 * time.Millisecond
	longestDelay  = 5 * time.Second
	wrongForLimit = 16 // more are not counted
)

func newBrake() *brake {
	return &brake{first: firstDelay, longest: longestDelay, sources: map[netip.Prefix]*tries{}}
}

// enter says whether a source's token is looked at at all. Every true is followed by leave.
func (b *brake) enter(from netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sources[from]
	if s == nil {
		if len(b.sources) >= maxSources && !b.makeRoom() {
			return false
		}
		s = &tries{}
		b.sources[from] = s
	}
	if time.Since(s.last) > forgiveAfter {
		s.wrong = 0
	}
	if s.inside >= maxFromOne || b.inside >= maxInside {
		return false
	}
	s.last = time.Now()
	s.inside++
	b.inside++
	return true
}

// makeRoom forgets the source that was quiet for longest.
func (b *brake) makeRoom() bool {
	var oldest netip.Prefix
	var at time.Time
	for from, s := range b.sources {
		if s.inside == 0 && (at.IsZero() || s.last.Before(at)) {
			oldest, at = from, s.last
		}
	}
	delete(b.sources, oldest)
	return !at.IsZero()
}

func (b *brake) leave(from netip.Prefix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inside--
	s := b.sources[from]
	s.inside--
	if s.wrong == 0 && s.inside == 0 {
		delete(b.sources, from)
	}
}

// wait is the punishment of one wrong token.
func (b *brake) wait(ctx context.Context, from netip.Prefix) {
	b.mu.Lock()
	s := b.sources[from]
	delay := min(b.first<<s.wrong, b.longest)
	s.wrong = min(s.wrong+1, wrongForLimit)
	b.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(delay):
	}
}

// forget clears a source that has shown a right token.
func (b *brake) forget(from netip.Prefix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sources[from].wrong = 0
}

// policyOfContent lets a page have what came with it from here, and nothing else.
const policyOfContent = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// careful sets the headers that keep a browser from doing harm.
func careful(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policyOfContent)
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		// Not no-referrer: with that a browser would call the origin of our own forms null.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
