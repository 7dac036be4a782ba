package sip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"

	"nines/policy"
	"nines/sip/wire"
)

// zone is a DNS server on loopback.
type zone struct {
	t     *testing.T
	mu    sync.Mutex
	of    map[string][]dns.RR // by name and kind
	how   func(w dns.ResponseWriter, q *dns.Msg) bool
	asked atomic.Int64
	dns   DNS
}

// socketsOfDNS are a UDP and a TCP socket at one port.
func socketsOfDNS(t *testing.T) (net.PacketConn, net.Listener, int) {
	t.Helper()
	var err error
	for range 100 { // until nobody has the TCP port beside the UDP one
		pc, udp := net.ListenPacket("udp", "127.0.0.1:0")
		if udp != nil {
			t.Fatal(udp)
		}
		port := pc.LocalAddr().(*net.UDPAddr).Port
		var ln net.Listener
		if ln, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return pc, ln, port
		}
		_ = pc.Close()
	}
	t.Fatal(err)
	return nil, nil, 0
}

func newZone(t *testing.T, records ...string) *zone {
	z := &zone{t: t, of: map[string][]dns.RR{}}
	pc, ln, port := socketsOfDNS(t)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: z}, {Listener: ln, Handler: z}} {
		go func() { _ = s.ActivateAndServe() }() // ends with Shutdown
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	dir := t.TempDir()
	z.dns = DNS{Resolv: filepath.Join(dir, "resolv.conf"), Hosts: filepath.Join(dir, "hosts"), Port: uint16(port)}
	z.file("resolv.conf", "nameserver 127.0.0.1\n")
	z.set(records...)
	return z
}

func (z *zone) file(name, text string) {
	if err := os.WriteFile(filepath.Join(filepath.Dir(z.dns.Resolv), name), []byte(text), 0o600); err != nil {
		z.t.Fatal(err)
	}
}

func (z *zone) set(records ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.of = map[string][]dns.RR{}
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			z.t.Fatal(err)
		}
		k := strings.ToLower(rr.Header().Name) + dns.TypeToString[rr.Header().Rrtype]
		z.of[k] = append(z.of[k], rr)
	}
}

func (z *zone) bad(how func(w dns.ResponseWriter, q *dns.Msg) bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.how = how
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	z.asked.Add(1)
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.how != nil && z.how(w, q) {
		return
	}
	m := new(dns.Msg)
	m.SetReply(q)
	name := strings.ToLower(q.Question[0].Name)
	for range 3 {
		m.Answer = append(m.Answer, z.of[name+dns.TypeToString[q.Question[0].Qtype]]...)
		c := z.of[name+"CNAME"]
		if c == nil {
			break
		}
		m.Answer = append(m.Answer, c...)
		name = strings.ToLower(c[0].(*dns.CNAME).Target)
	}
	if len(m.Answer) == 0 {
		m.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(m)
}

func (z *zone) look(uri string) (hops []string, err error) {
	z.t.Helper()
	u, _ := wire.ParseURI(uri)
	ctx, cancel := context.WithTimeout(z.t.Context(), 20*time.Second)
	defer cancel()
	ways, _, err := z.dns.look(ctx, question{host: u.Host, port: u.Port, proto: u.Transport(), sips: u.Scheme == "sips"})
	for _, w := range ordered(ways, nil) {
		for _, a := range w.Addrs {
			hops = append(hops, hop{proto: w.Proto, addr: netip.AddrPortFrom(a, w.Port)}.String())
		}
	}
	return hops, err
}

func TestNamesAreFollowedAsRFC3263Says(t *testing.T) {
	z := newZone(t,
		`naptr.example. 60 NAPTR 20 10 "s" "SIP+D2T" "" _sip._tcp.naptr.example.`,
		`naptr.example. 60 NAPTR 10 20 "s" "SIP+D2U" "" _sip._udp.naptr.example.`,
		`naptr.example. 60 NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.naptr.example.`,
		`naptr.example. 60 NAPTR 1 1 "s" "SIP+D2W" "" _sip._ws.naptr.example.`,
		`_sip._tcp.naptr.example. 60 SRV 1 0 5070 a.example.`,
		`_sip._udp.naptr.example. 60 SRV 2 0 5080 b.example.`,
		`_sip._udp.naptr.example. 60 SRV 1 0 5060 a.example.`,
		`_sips._tcp.naptr.example. 60 SRV 1 0 5061 a.example.`,
		`_sip._udp.srv.example. 60 SRV 1 0 5062 b.example.`,
		`_sip._tcp.srv.example. 60 SRV 0 0 5063 b.example.`,
		`_sip._udp.gone.example. 60 SRV 0 0 0 .`,
		`a.example. 60 A 10.0.0.1`, `a.example. 60 A 10.0.0.2`, `a.example. 60 AAAA 2001:db8::1`,
		`b.example. 60 A 10.0.0.3`,
		`c.example. 60 CNAME d.example.`, `d.example. 60 CNAME b.example.`,
		`loop.example. 60 CNAME pool.example.`, `pool.example. 60 CNAME loop.example.`,
		`any.example. 60 A 0.0.0.0`, `any.example. 60 A 224.0.0.1`,
	)
	z.file("hosts", "10.9.9.9 local.example b-local # a comment\n::1 local.example\nnonsense\n")
	for uri, want := range map[string]string{
		"sip:naptr.example":               "10.0.0.1:5061/tls 10.0.0.2:5061/tls [2001:db8::1]:5061/tls 10.0.0.1:5060 10.0.0.2:5060 [2001:db8::1]:5060 10.0.0.3:5080 10.0.0.1:5070/tcp 10.0.0.2:5070/tcp [2001:db8::1]:5070/tcp",
		"sips:naptr.example":              "10.0.0.1:5061/tls 10.0.0.2:5061/tls [2001:db8::1]:5061/tls",
		"sip:naptr.example;transport=tcp": "10.0.0.1:5070/tcp 10.0.0.2:5070/tcp [2001:db8::1]:5070/tcp",
		"sip:naptr.example:5099":          "",
		"sip:srv.example":                 "10.0.0.3:5062 10.0.0.3:5063/tcp",
		"sip:a.example":                   "10.0.0.1:5060 10.0.0.2:5060 [2001:db8::1]:5060",
		"sip:A.Example:5070":              "10.0.0.1:5070 10.0.0.2:5070 [2001:db8::1]:5070",
		"sips:b.example":                  "10.0.0.3:5061/tls",
		"sip:c.example":                   "10.0.0.3:5060",
		"sip:loop.example":                "",
		"sip:any.example":                 "",
		"sip:gone.example":                "",
		"sip:nobody.example":              "",
		"sip:local.example":               "10.9.9.9:5060 [::1]:5060",
		"sip:b-local;transport=tls":       "10.9.9.9:5061/tls",
	} {
		got, err := z.look(uri)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s leads to %s, want %s", uri, strings.Join(got, " "), want)
		}
	}
}

func TestABadServerIsNotBelieved(t *testing.T) {
	const name = "sip:a.example:5060"
	spoil := func(change func(m, q *dns.Msg)) func(dns.ResponseWriter, *dns.Msg) bool {
		return func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := new(dns.Msg)
			m.SetReply(q)
			rr, _ := dns.NewRR("a.example. 60 A 10.6.6.6")
			m.Answer = append(m.Answer, rr)
			change(m, q)
			_ = w.WriteMsg(m)
			return true
		}
	}
	for what, c := range map[string]struct {
		how  func(dns.ResponseWriter, *dns.Msg) bool
		want string
		fail bool
	}{
		"it hangs":                          {func(dns.ResponseWriter, *dns.Msg) bool { return true }, "", true},
		"it refuses":                        {spoil(func(m, _ *dns.Msg) { m.Rcode, m.Answer = dns.RcodeRefused, nil }), "", true},
		"it is ill":                         {spoil(func(m, _ *dns.Msg) { m.Rcode, m.Answer = dns.RcodeServerFailure, nil }), "", true},
		"it answers another question":       {spoil(func(m, _ *dns.Msg) { m.Question[0].Name = "b.example." }), "", true},
		"it answers with another number":    {spoil(func(m, _ *dns.Msg) { m.Id++ }), "", true},
		"it tells of other names":           {spoil(func(m, _ *dns.Msg) { m.Answer[0].Header().Name = "b.example." }), "", false},
		"it answers with a question":        {spoil(func(m, _ *dns.Msg) { m.Response = false }), "", true},
		"it writes rubbish":                 {func(w dns.ResponseWriter, _ *dns.Msg) bool { _, _ = w.Write([]byte("rubbish")); return true }, "", true},
		"it cuts short, and TCP has it all": {spoil(nil), "10.0.0.1:5060", false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			z := newZone(t, "a.example. 60 A 10.0.0.1")
			if c.want != "" {
				c.how = func(w dns.ResponseWriter, q *dns.Msg) bool {
					if w.RemoteAddr().Network() == "tcp" {
						return false
					}
					m := new(dns.Msg)
					m.SetReply(q)
					m.Truncated = true
					_ = w.WriteMsg(m)
					return true
				}
			}
			z.bad(c.how)
			got, err := z.look(name)
			if strings.Join(got, " ") != c.want || (err != nil) != c.fail {
				t.Errorf("it leads to %v (%v), want %q and an error: %t", got, err, c.want, c.fail)
			}
		})
	}
}

func TestMachinesOfOneRankShareByWeight(t *testing.T) {
	a := func(s string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(s)} }
	ways := []way{{Rank: 2, Addrs: a("10.0.0.9")}, {Rank: 1, Weight: 30, Addrs: a("10.0.0.1")}, {Rank: 1, Weight: 10, Addrs: a("10.0.0.2")}, {Rank: 1, Addrs: a("10.0.0.3")}}
	first := map[string]int{}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		o := ordered(ways, rnd)
		if len(o) != 4 || o[3].Rank != 2 {
			t.Fatalf("the order is %v, want all four and the higher rank last", o)
		}
		first[o[0].Addrs[0].String()]++
	}
	if n := first["10.0.0.1"]; n < 2800 || n > 3200 {
		t.Errorf("weight 30 of 40 came first %d times of 4000, want about 3000", n)
	}
	if n := first["10.0.0.3"]; n > 20 {
		t.Errorf("weight 0 came first %d times of 4000, want next to never", n)
	}
}

// drawer is a NameStore in memory.
type drawer struct {
	mu    sync.Mutex
	data  []byte
	err   error
	saved chan struct{} // told of what is kept, if there is one
}

func (d *drawer) LoadNames() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.data, d.err
}

func (d *drawer) SaveNames(b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.data = b
	select {
	case d.saved <- struct{}{}:
	default:
	}
	return d.err
}

func roomAt(t *testing.T, uri string, addrs ...netip.Addr) (*routing, *endpoint) {
	t.Helper()
	r, err := new(Server).compile(Routing{Endpoints: []Endpoint{{Endpoint: policy.Endpoint{Name: "room"}, URI: uri, Addresses: addrs}}})
	if err != nil {
		t.Fatal(err)
	}
	return r, r.byName["room"]
}

// resolving runs a resolver until the test ends; the channel tells of changes.
func resolving(t *testing.T, d DNS, store NameStore, rt *routing) (*resolver, <-chan struct{}) {
	changed := make(chan struct{}, 100)
	r := newResolver(d.look, store, zerolog.Nop(), func() { changed <- struct{}{} })
	r.want(rt)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.run(ctx) }() // ends with the test
	t.Cleanup(func() { cancel(); <-done })
	return r, changed
}

func TestTheLastGoodAnswerIsKeptForEverAndOverARestart(t *testing.T) {
	z := newZone(t, "a.example. 0 A 10.0.0.1")
	d := &drawer{saved: make(chan struct{}, 100)}
	rt, room := roomAt(t, "sip:a.example:5060", netip.MustParseAddr("10.9.9.9"))
	idle := newResolver(z.dns.look, d, zerolog.Nop(), func() {})
	idle.want(rt)
	if got := idle.targets(room, nil); len(got) != 1 || got[0].addr.Addr() != netip.MustParseAddr("10.9.9.9") {
		t.Errorf("before any answer it leads to %v, want addresses: of the configuration", got)
	}
	r, changed := resolving(t, z.dns, d, rt)
	<-changed
	<-d.saved // which comes after it: calls first
	first := netip.MustParseAddrPort("10.0.0.1:5060")
	for what, bad := range map[string]func(){
		"an answer":           func() {},
		"no such name":        func() { z.set() },
		"a server that hangs": func() { z.bad(func(dns.ResponseWriter, *dns.Msg) bool { return true }) },
	} {
		bad()
		r.lookOne(t.Context(), room.asks, r.names[room.asks])
		if got := r.targets(room, nil); len(got) != 1 || got[0].addr != first {
			t.Errorf("after %s it leads to %v, want the last good answer", what, got)
		}
	}
	again, _ := resolving(t, DNS{Resolv: "/does/not/exist", Port: 1}, d, rt)
	if got := again.targets(room, nil); len(got) != 1 || got[0].addr != first {
		t.Errorf("after a restart without DNS it leads to %v, want what is on the disk", got)
	}
	broken := newResolver(z.dns.look, &drawer{err: errors.New("disk full")}, zerolog.Nop(), func() {})
	broken.want(rt)
	if got := broken.targets(room, nil); len(got) != 1 || got[0].addr.Addr() != netip.MustParseAddr("10.9.9.9") {
		t.Errorf("with a broken disk it leads to %v, want addresses:", got)
	}
}
