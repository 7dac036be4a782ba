package sip

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"nines/sip/wire"
)

// DNS says where names are looked up. Its files are read at each look, so that a change counts without a restart.
type DNS struct {
	Resolv string // resolv.conf: the servers to ask; empty: /etc/resolv.conf
	Hosts  string // the hosts file; empty: /etc/hosts
	Port   uint16 // of the servers; 0: 53
}

const (
	dnsTimeout = time.Second // for one server to answer once
	dnsTries   = 2           // times each server is asked
	maxChain   = 8           // CNAMEs in a row
	maxRecords = 32          // of one answer that are looked at
)

// errNoAnswer says that no server gave a usable answer: it may be the network, and says nothing about the name.
var errNoAnswer = errors.New("no DNS server answers")

// question is what an endpoint's URI asks of DNS (RFC 3263).
type question struct {
	host  string
	port  uint16     // 0: not in the URI
	proto wire.Proto // 0: not in the URI
	sips  bool
}

func (q question) String() string {
	s := "sip:"
	if q.sips {
		s = "sips:"
	}
	s += q.host
	if q.port != 0 {
		s += ":" + strconv.Itoa(int(q.port))
	}
	if q.proto != 0 {
		s += ";transport=" + strings.ToLower(q.proto.String())
	}
	return s
}

// way is a machine that DNS names: all its addresses are tried before the next.
type way struct {
	Rank   int          `json:"rank"`             // lower first; of one rank they share by weight (RFC 2782)
	Weight int          `json:"weight,omitempty"` // 0: only where nobody has one
	Proto  wire.Proto   `json:"proto"`
	Port   uint16       `json:"port"`
	Addrs  []netip.Addr `json:"addrs"`
}

// lookup is one walk through DNS for one question.
type lookup struct {
	ask    func(ctx context.Context, name string, kind uint16) ([]dns.RR, time.Duration, error)
	hosts  map[string][]netip.Addr
	ttl    time.Duration // of the answer that ends first
	failed error         // a part that no server answered: the whole is not to be trusted
}

// walk follows RFC 3263 §4: NAPTR where neither port nor transport is given, SRV where no port is, else the addresses.
func (l *lookup) walk(ctx context.Context, q question) []way {
	proto := q.proto
	if proto == 0 {
		proto = wire.UDP
		if q.sips {
			proto = wire.TLS
		}
	}
	if _, local := l.hosts[key(q.host)]; q.port != 0 || local {
		return l.plain(ctx, q.host, proto, cmp.Or(q.port, defaultPort(proto)))
	}
	var ways []way
	if q.proto == 0 {
		ways = l.naptr(ctx, q)
	}
	if ways == nil {
		for _, p := range l.protos(q) {
			ways = append(ways, l.srv(ctx, service(p)+"."+q.host, p, (int(p)-1)<<16)...)
		}
	}
	if ways == nil {
		return l.plain(ctx, q.host, proto, defaultPort(proto))
	}
	return ways
}

// protos are the transports to ask SRV for, the most wanted first.
func (l *lookup) protos(q question) []wire.Proto {
	switch {
	case q.proto != 0:
		return []wire.Proto{q.proto}
	case q.sips:
		return []wire.Proto{wire.TLS}
	}
	return []wire.Proto{wire.UDP, wire.TCP, wire.TLS}
}

func service(p wire.Proto) string {
	switch p {
	case wire.TCP:
		return "_sip._tcp"
	case wire.TLS:
		return "_sips._tcp"
	case wire.UDP:
	}
	return "_sip._udp"
}

// naptr follows the NAPTR records that lead to SRV (RFC 3263 §4.1), in their order.
func (l *lookup) naptr(ctx context.Context, q question) (ways []way) {
	var records []*dns.NAPTR
	for _, rr := range l.records(ctx, q.host, dns.TypeNAPTR) {
		if n, ok := rr.(*dns.NAPTR); ok && strings.EqualFold(n.Flags, "s") && naptrProto(n.Service, q.sips) != 0 {
			records = append(records, n)
		}
	}
	slices.SortStableFunc(records, func(a, b *dns.NAPTR) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Preference, b.Preference))
	})
	for i, n := range records {
		ways = append(ways, l.srv(ctx, n.Replacement, naptrProto(n.Service, q.sips), i<<16)...)
	}
	return ways
}

func naptrProto(service string, sips bool) wire.Proto {
	switch strings.ToUpper(service) {
	case "SIPS+D2T":
		return wire.TLS
	case "SIP+D2U":
		if !sips {
			return wire.UDP
		}
	case "SIP+D2T":
		if !sips {
			return wire.TCP
		}
	}
	return 0
}

// srv gives the machines of an SRV name, each with its addresses.
func (l *lookup) srv(ctx context.Context, name string, proto wire.Proto, rank int) (ways []way) {
	for _, rr := range l.records(ctx, name, dns.TypeSRV) {
		s, ok := rr.(*dns.SRV)
		if !ok || s.Target == "." || s.Port == 0 { // RFC 2782: the service is decidedly not available
			continue
		}
		if addrs := l.addrs(ctx, s.Target); len(addrs) > 0 {
			ways = append(ways, way{Rank: rank + int(s.Priority), Weight: int(s.Weight), Proto: proto, Port: s.Port, Addrs: addrs})
		}
	}
	return ways
}

func (l *lookup) plain(ctx context.Context, host string, proto wire.Proto, port uint16) []way {
	if addrs := l.addrs(ctx, host); len(addrs) > 0 {
		return []way{{Proto: proto, Port: port, Addrs: addrs}}
	}
	return nil
}

// addrs gives a host's addresses of both families: those of the hosts file, else those of DNS.
func (l *lookup) addrs(ctx context.Context, host string) (addrs []netip.Addr) {
	if own, ok := l.hosts[key(host)]; ok {
		return own
	}
	add := func(ip net.IP) {
		if a, ok := netip.AddrFromSlice(ip); ok {
			if a = a.Unmap(); !a.IsUnspecified() && !a.IsMulticast() && !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
	}
	for _, kind := range [...]uint16{dns.TypeA, dns.TypeAAAA} {
		for _, rr := range l.records(ctx, host, kind) {
			switch rr := rr.(type) {
			case *dns.A:
				add(rr.A)
			case *dns.AAAA:
				add(rr.AAAA)
			}
		}
	}
	return addrs
}

// records asks for one kind and follows the aliases. What an answer says about other names is not believed.
func (l *lookup) records(ctx context.Context, name string, kind uint16) []dns.RR {
	name = dns.Fqdn(strings.ToLower(name))
	for range maxChain {
		rrs, ttl, err := l.ask(ctx, name, kind)
		if err != nil {
			l.failed = fmt.Errorf("%s %s: %w", strings.TrimSuffix(name, "."), dns.TypeToString[kind], err)
			return nil
		}
		l.ends(ttl)
		if len(rrs) > maxRecords {
			rrs = rrs[:maxRecords]
		}
		asked := name
		for range maxChain { // the aliases in this answer
			if next := alias(rrs, name); next != "" {
				name = next
			}
		}
		var found []dns.RR
		for _, rr := range rrs {
			if rr.Header().Rrtype == kind && strings.EqualFold(rr.Header().Name, name) {
				l.ends(time.Duration(rr.Header().Ttl) * time.Second)
				found = append(found, rr)
			}
		}
		if len(found) > 0 || name == asked {
			return found
		}
	}
	return nil // aliases without an end
}

// alias is where a name leads by a CNAME, if it does.
func alias(rrs []dns.RR, name string) string {
	for _, rr := range rrs {
		if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, name) {
			return strings.ToLower(c.Target)
		}
	}
	return ""
}

func (l *lookup) ends(ttl time.Duration) {
	if l.ttl == 0 || ttl < l.ttl {
		l.ttl = max(ttl, time.Second)
	}
}

// look asks DNS one question. The time is how long the answer may be kept; the error says that DNS has not answered, or not all of it.
func (d DNS) look(ctx context.Context, q question) ([]way, time.Duration, error) {
	servers := d.servers()
	l := &lookup{hosts: d.hostsFile(), ask: func(ctx context.Context, name string, kind uint16) ([]dns.RR, time.Duration, error) {
		return exchange(ctx, servers, name, kind)
	}}
	ways := l.walk(ctx, q)
	return ways, l.ttl, l.failed
}

func (d DNS) servers() []string {
	conf, err := dns.ClientConfigFromFile(cmp.Or(d.Resolv, "/etc/resolv.conf"))
	if err != nil || len(conf.Servers) == 0 {
		conf = &dns.ClientConfig{Servers: []string{"127.0.0.1"}, Port: "53"}
	}
	port := conf.Port
	if d.Port != 0 {
		port = strconv.Itoa(int(d.Port))
	}
	out := make([]string, len(conf.Servers))
	for i, s := range conf.Servers {
		out[i] = net.JoinHostPort(s, port)
	}
	return out
}

// exchange asks the servers in turn until one answers. That a name does not exist is an answer.
func exchange(ctx context.Context, servers []string, name string, kind uint16) ([]dns.RR, time.Duration, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, kind)
	m.SetEdns0(1232, false)
	why := errNoAnswer
	for range dnsTries {
		for _, s := range servers {
			r, err := exchangeWith(ctx, s, m)
			if err == nil {
				return r.Answer, negative(r), nil
			}
			why = fmt.Errorf("%s: %w", s, err)
			if ctx.Err() != nil {
				return nil, 0, why
			}
		}
	}
	return nil, 0, why
}

// exchangeWith asks one server by UDP, and by TCP where the answer did not fit.
func exchangeWith(ctx context.Context, server string, m *dns.Msg) (*dns.Msg, error) {
	c := dns.Client{Net: "udp", Timeout: dnsTimeout, UDPSize: 1232}
	r, _, err := c.ExchangeContext(ctx, m, server)
	if err == nil && r.Truncated {
		c.Net = "tcp"
		r, _, err = c.ExchangeContext(ctx, m, server)
	}
	switch {
	case err != nil:
		return nil, err
	case !r.Response || len(r.Question) != 1 || r.Question[0].Qtype != m.Question[0].Qtype || !strings.EqualFold(r.Question[0].Name, m.Question[0].Name):
		return nil, errors.New("it answers something else")
	case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError:
		return nil, errors.New("it says " + dns.RcodeToString[r.Rcode])
	}
	return r, nil
}

// negative is how long an answer without records may be kept (RFC 2308 §5).
func negative(r *dns.Msg) time.Duration {
	if len(r.Answer) > 0 {
		return time.Hour // the records say it
	}
	for _, rr := range r.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return time.Duration(min(soa.Minttl, soa.Hdr.Ttl)) * time.Second
		}
	}
	return time.Minute
}

// hostsFile reads the names of this machine.
func (d DNS) hostsFile() map[string][]netip.Addr {
	f, err := os.Open(cmp.Or(d.Hosts, "/etc/hosts"))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	names := map[string][]netip.Addr{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) < 2 {
			continue
		}
		a, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		for _, w := range words[1:] {
			names[key(w)] = append(names[key(w)], a.Unmap())
		}
	}
	return names
}

// key is a name as it is compared.
func key(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }
