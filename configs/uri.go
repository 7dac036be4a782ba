package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// URI is a SIP URI of an endpoint.
type URI struct {
	Raw       string    // as written
	Scheme    string    // sip or sips
	User      string    // as written; empty: the called number goes there (R46)
	Host      string    // IP address without brackets, or DNS name
	Port      uint16    // 0: not written, DNS or the transport's default decides
	Transport Transport // empty: not written, DNS decides; sips is always tls
}

// String gives the URI as it was written.
func (u URI) String() string { return u.Raw }

// Addr is the host as an IP address; not ok for a DNS name.
func (u URI) Addr() (netip.Addr, bool) {
	a, err := netip.ParseAddr(u.Host)
	return a, err == nil
}

// userForm is RFC 3261 §25.1: user, without the password.
var userForm = regexp.MustCompile(`^(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|%[0-9A-Fa-f]{2})+$`)

// hostForm is RFC 1123 with the underscores that people use.
var hostForm = regexp.MustCompile(`^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?$`)

// dottedForm looks like an IPv4 address; a name never ends in a label of digits only.
var dottedForm = regexp.MustCompile(`(?:^|\.)[0-9]+\.?$`)

func isHost(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	return len(h) <= 253 && hostForm.MatchString(h) && !dottedForm.MatchString(h)
}

// parseURI reads sip:user@host:port;transport=tcp. The error says what is wrong, to be followed by the URI.
func parseURI(s string) (URI, error) {
	u := URI{Raw: s}
	scheme, rest, ok := strings.Cut(s, ":")
	u.Scheme = strings.ToLower(scheme)
	if !ok || u.Scheme != "sip" && u.Scheme != "sips" {
		return u, errors.New("is no sip or sips URI")
	}
	if strings.ContainsAny(s, " \t\r\n<>\"") {
		return u, errors.New("has blanks, quotes or angle brackets in it")
	}
	// The last @ divides: a user may hold ; and ? but no bare @.
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		u.User, rest = rest[:i], rest[i+1:]
		if strings.Contains(u.User, ":") {
			return u, errors.New("has a password in it")
		}
		if !userForm.MatchString(u.User) {
			return u, fmt.Errorf("has no valid user: %q", u.User)
		}
	}
	if strings.Contains(rest, "?") {
		return u, errors.New("has headers (?) in it")
	}
	hostport, params, _ := strings.Cut(rest, ";")
	if err := u.hostPort(hostport); err != nil {
		return u, err
	}
	if err := u.params(params); err != nil {
		return u, err
	}
	return u, nil
}

func (u *URI) hostPort(s string) error {
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		var ok bool
		host, port, ok = strings.Cut(s[1:], "]")
		a, err := netip.ParseAddr(host)
		if !ok || err != nil || !a.Is6() || port != "" && port[0] != ':' {
			return fmt.Errorf("has no valid host: %q", s)
		}
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i:]
		if strings.Count(s, ":") > 1 {
			return fmt.Errorf("has no valid host: %q (IPv6 goes in brackets)", s)
		}
	}
	if !isHost(host) {
		return fmt.Errorf("has no valid host: %q", host)
	}
	if a, err := netip.ParseAddr(host); err == nil && (a.IsUnspecified() || a.IsMulticast()) {
		return fmt.Errorf("leads to no machine: %s", a)
	}
	u.Host = host
	if port == "" {
		return nil
	}
	n, err := strconv.ParseUint(port[1:], 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("has no valid port: %q", port[1:])
	}
	u.Port = uint16(n)
	return nil
}

func (u *URI) params(s string) error {
	if u.Scheme == "sips" {
		u.Transport = TLSOverTCP
	}
	for p := range strings.SplitSeq(s, ";") {
		key, val, _ := strings.Cut(p, "=")
		if !strings.EqualFold(key, "transport") {
			continue
		}
		switch t := Transport(strings.ToLower(val)); t {
		case UDP, TCP, TLSOverTCP:
			if u.Scheme == "sips" && t == UDP {
				return errors.New("is sips, which UDP can't carry")
			}
			if u.Scheme != "sips" {
				u.Transport = t
			}
		default:
			return fmt.Errorf("has a transport we don't speak: %q", val)
		}
	}
	return nil
}
