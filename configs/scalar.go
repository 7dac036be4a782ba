package configs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ways to read one value into one place. Each leaves the default where the value is wrong, having said so.

func (r *reader) word(to *string) func(value) {
	return func(v value) {
		if s, ok := r.text(v); ok {
			*to = s
		}
	}
}

// oneOf reads one of a few words.
func oneOf[T ~string](r *reader, to *T, words ...T) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		if slices.Contains(words, T(s)) {
			*to = T(s)
			return
		}
		plain := make([]string, len(words))
		for i, w := range words {
			plain[i] = string(w)
		}
		r.wrong(v.path, fmt.Sprintf("%q is not possible here", s), "use "+or(plain))
	}
}

// or joins words: "a, b or c".
func or(words []string) string {
	n := len(words)
	if n == 1 {
		return words[0]
	}
	return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
}

func (r *reader) flag(to *bool) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		switch strings.ToLower(s) {
		case "true", "on", "yes":
			*to = true
		case "false", "off", "no":
			*to = false
		default:
			r.wrong(v.path, fmt.Sprintf("%q is neither true nor false", s), "use true or false")
		}
	}
}

// count reads a whole number within bounds.
func (r *reader) count(to *int, least, most int) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			r.wrong(v.path, fmt.Sprintf("%q is not possible here", s), fmt.Sprintf("use a whole number from %d to %d", least, most))
			return
		}
		*to = n
	}
}

// length reads a duration that must be longer than nothing.
func (r *reader) length(to *time.Duration) func(value) {
	return func(v value) {
		d, ok := r.duration(v, false)
		if !ok {
			return
		}
		if d == 0 {
			r.wrong(v.path, "must be longer than 0", "")
			return
		}
		*to = d
	}
}

// lengthOrNone reads a duration that may be 0.
func (r *reader) lengthOrNone(to *time.Duration) func(value) {
	return func(v value) {
		if d, ok := r.duration(v, false); ok {
			*to = d
		}
	}
}

// lengthOrNever reads a duration, or never.
func (r *reader) lengthOrNever(to *time.Duration) func(value) {
	return func(v value) {
		if d, ok := r.duration(v, true); ok {
			*to = d
		}
	}
}

func (r *reader) duration(v value, never bool) (time.Duration, bool) {
	s, ok := r.text(v)
	if !ok {
		return 0, false
	}
	if s == "never" {
		if !never {
			r.wrong(v.path, "can't be never", "use a time such as 1s or 30s")
		}
		return 0, never
	}
	d, err := parseDuration(s)
	switch {
	case errors.Is(err, errNoUnit):
		r.wrong(v.path, fmt.Sprintf("%q has no unit", s), fmt.Sprintf("write %ss, %sms or %sm", s, s, s))
		return 0, false
	case err != nil:
		r.wrong(v.path, fmt.Sprintf("%q %s", s, err), "use a time such as 800ms, 30s, 5m, 2h or 400d")
		return 0, false
	}
	return d, true
}

// path reads a file or folder name; relative ones are relative to the file's own folder.
func (r *reader) path(to *string) func(value) {
	return func(v value) {
		if s, ok := r.text(v); ok {
			*to = r.resolve(s)
		}
	}
}

func (r *reader) resolve(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(r.folder, path)
}

// date reads a day.
func (r *reader) date(to *time.Time) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		t, err := time.Parse(time.DateOnly, s)
		if err != nil {
			r.wrong(v.path, fmt.Sprintf("%q is no date", s), "write it as 2027-06-30")
			return
		}
		*to = t
	}
}

// address reads an IP address that somebody can send to.
func (r *reader) address(v value) (netip.Addr, bool) {
	s, ok := r.text(v)
	if !ok {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		r.wrong(v.path, fmt.Sprintf("%q is no IP address", s), "use an address such as 203.0.113.10 or 2001:db8::10")
		return netip.Addr{}, false
	}
	a = a.Unmap()
	switch {
	case a.IsUnspecified():
		r.wrong(v.path, fmt.Sprintf("%s is nobody's address", a), "use the address that the others send to")
		return netip.Addr{}, false
	case a.IsMulticast():
		r.wrong(v.path, fmt.Sprintf("%s is a multicast address", a), "use an address of one machine")
		return netip.Addr{}, false
	}
	return a, true
}

func (r *reader) addresses(to *[]netip.Addr) func(value) {
	return func(v value) {
		items, ok := r.oneOrList(v)
		if !ok {
			return
		}
		for _, item := range items {
			a, ok := r.address(item)
			switch {
			case !ok:
			case slices.Contains(*to, a):
				r.wrong(item.path, fmt.Sprintf("%s is listed twice", a), "keep one")
			default:
				*to = append(*to, a)
			}
		}
	}
}

// networks reads networks; an address without /bits is that one host.
func (r *reader) networks(to *[]netip.Prefix) func(value) {
	return func(v value) {
		items, ok := r.oneOrList(v)
		if !ok {
			return
		}
		for _, item := range items {
			if p, ok := r.network(item); ok {
				*to = append(*to, p)
			}
		}
	}
}

func (r *reader) network(v value) (netip.Prefix, bool) {
	s, ok := r.text(v)
	if !ok {
		return netip.Prefix{}, false
	}
	if !strings.Contains(s, "/") {
		a, ok := r.address(v)
		if !ok || a.Zone() != "" {
			if ok {
				r.wrong(v.path, "a network has no zone", "write "+a.WithZone("").String())
			}
			return netip.Prefix{}, false
		}
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		r.wrong(v.path, fmt.Sprintf("%q is no network", s), "use one such as 192.0.2.0/24 or 2001:db8::/48, or a single address")
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			r.wrong(v.path, fmt.Sprintf("%q is no network", s), "write it as IPv4")
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p.Masked() != p {
		r.wrong(v.path, fmt.Sprintf("%s is an address inside a network", p), fmt.Sprintf("write %s for the network, or %s for the one machine", p.Masked(), p.Addr()))
		return netip.Prefix{}, false
	}
	return p, true
}

// host reads an IP address or a DNS name without a port.
func (r *reader) host(to *string) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		h := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
		if !isHost(h) {
			r.wrong(v.path, fmt.Sprintf("%q is no host name or IP address", s), "use a name or an address, without a port")
			return
		}
		if a, err := netip.ParseAddr(h); err == nil && a.IsUnspecified() {
			r.wrong(v.path, fmt.Sprintf("%s is nobody's address", a), "use the address that the others send to")
			return
		}
		*to = h
	}
}

// listener reads udp://address:port.
func (r *reader) listener(v value) (Listener, bool) {
	s, ok := r.text(v)
	if !ok {
		return Listener{}, false
	}
	const form = "use udp://address:port, tcp://… or tls://…"
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		r.wrong(v.path, fmt.Sprintf("%q is no listener", s), form)
		return Listener{}, false
	}
	t := Transport(strings.ToLower(scheme))
	port := "5060"
	switch t {
	case UDP, TCP:
	case TLSOverTCP:
		port = "5061"
	default:
		r.wrong(v.path, fmt.Sprintf("no transport is called %q", scheme), "use udp, tcp or tls")
		return Listener{}, false
	}
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]")); err == nil {
		rest = net.JoinHostPort(a.String(), port)
	}
	addr, err := netip.ParseAddrPort(rest)
	if err != nil {
		r.wrong(v.path, fmt.Sprintf("%q is no listener", s), form+"; the address is an IP address, [in brackets] if it is IPv6")
		return Listener{}, false
	}
	if addr.Addr().IsMulticast() {
		r.wrong(v.path, fmt.Sprintf("%s is a multicast address", addr.Addr()), "use an address of this machine, or 0.0.0.0 for all")
		return Listener{}, false
	}
	if addr.Port() == 0 {
		r.doubtful(v.path, "port 0 is any free port, a new one at each start", "use the port that your carrier sends to")
	}
	return Listener{t, addr}, true
}

func (r *reader) listeners(to *[]Listener) func(value) {
	return func(v value) {
		items, ok := r.oneOrList(v)
		if !ok {
			return
		}
		for _, item := range items {
			if l, ok := r.listener(item); ok {
				*to = append(*to, l)
			}
		}
	}
}

// ports reads first-last.
func (r *reader) ports(least, most *uint16) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		from, to, ok := strings.Cut(s, "-")
		a, errA := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
		b, errB := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
		switch {
		case !ok || errA != nil || errB != nil:
			r.wrong(v.path, fmt.Sprintf("%q is no range of ports", s), "write it as 20000-29999")
		case a < 1024:
			r.wrong(v.path, fmt.Sprintf("port %d belongs to the system", a), "start at 1024 or higher")
		case a >= b:
			r.wrong(v.path, fmt.Sprintf("%q ends before it starts", s), "write the lower port first, as in 20000-29999")
		default:
			*least, *most = uint16(a), uint16(b)
		}
	}
}

// names reads names of other things; what they name is checked when everything is read.
func (r *reader) names(to *[]string) func(value) {
	return func(v value) {
		items, ok := r.oneOrList(v)
		if !ok {
			return
		}
		for _, item := range items {
			if s, ok := r.text(item); ok {
				*to = append(*to, s)
			}
		}
	}
}

// web reads an http or https address.
func (r *reader) web(to *string) func(value) { return r.link(to, "https://host/path", "http", "https") }

func (r *reader) link(to *string, form string, schemes ...string) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || !goodPort(u.Port()) || !slices.Contains(schemes, u.Scheme) {
			r.wrong(v.path, outline(u)+" is no address to send to", "use "+form)
			return
		}
		*to = s
	}
}

// goodPort says whether a port of an address, if it has one, is a port.
func goodPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

// outline is as much of an address as may be said: what is wrong with it is read by more people than the file, and it may hold a password or a secret path.
func outline(u *url.URL) string {
	switch {
	case u == nil || u.Scheme == "" || u.Host == "":
		return "this"
	case u.User == nil && u.Path == "" && u.RawQuery == "" && u.Fragment == "":
		return strconv.Quote(u.String())
	}
	return strconv.Quote(u.Scheme + "://" + u.Host + "/…")
}

// nameForm keeps names usable in logs, on the command line and as metric labels.
var nameForm = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N}_-]{0,63}$`)

// goodName checks the name of a trunk, endpoint, side or announcement.
func (r *reader) goodName(path, name string) {
	if !nameForm.MatchString(name) {
		r.wrong(path, fmt.Sprintf("%q is no name", name), "use letters, digits, - and _, at most 64")
	}
}

// titleForm is for names that people read: ours and the routes'. They end up inside quoted strings of SIP headers.
var titleForm = regexp.MustCompile(`^[\p{L}\p{N}+*#][\p{L}\p{N} +*#._-]{0,63}$`)

func (r *reader) title(to *string) func(value) {
	return func(v value) {
		s, ok := r.text(v)
		if !ok {
			return
		}
		if !titleForm.MatchString(s) {
			r.wrong(v.path, fmt.Sprintf("%q is no name", s), "use letters, digits, blanks and + * # . - _, at most 64")
			return
		}
		*to = s
	}
}
