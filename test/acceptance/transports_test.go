package acceptance

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"nines/internal/town"
)

// TestEveryTransportMeetsEveryOther: R12. UDP, TCP and TLS, IPv4 and IPv6, in any pair; signalling and voice both ways, and either side hangs up.
func TestEveryTransportMeetsEveryOther(t *testing.T) {
	t.Parallel()
	p := newPlace()
	six := netip.IPv6Loopback()
	probe, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(six, 0)))
	if err != nil {
		t.Skipf("no IPv6 on loopback here: %v", err)
	}
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	port, second := freePort(t, six).Port(), freePort(t, six).Port() // there is only one ::1 for all
	dir := sealed(t, p)
	secure := identity(t, dir)
	// Media ports of its own, for the same reason.
	media := 10000 + os.Getpid()%90*100
	v6, tls6 := netip.AddrPortFrom(six, port), netip.AddrPortFrom(six, second)
	sides := []struct {
		name string
		tcp  bool
		tls  *tls.Config
		addr netip.AddrPort // of the carrier
		room netip.AddrPort
		via  netip.AddrPort // nines
	}{
		{"UDP over IPv4", false, nil, p.sip(200), p.sip(10), p.sip(1)},
		{"TCP over IPv4", true, nil, p.sip(201), p.sip(11), p.sip(1)},
		{"UDP over IPv6", false, nil, netip.AddrPortFrom(six, 0), netip.AddrPortFrom(six, 0), v6},
		{"TCP over IPv6", true, nil, netip.AddrPortFrom(six, 0), netip.AddrPortFrom(six, 0), v6},
		{"TLS over IPv4", true, secure, p.sip(202), p.sip(12), p.at(1, 5061)},
		{"TLS over IPv6", true, secure, netip.AddrPortFrom(six, 0), netip.AddrPortFrom(six, 0), tls6},
	}
	var carriers, rooms []*town.Phone
	endpoints, routes := "", ""
	for i, s := range sides {
		voice := 20 * time.Millisecond
		carriers = append(carriers, phone(t, town.PhoneConfig{Name: fmt.Sprint("carrier", i), Addr: s.addr, TCP: s.tcp, TLS: s.tls, Voice: voice}))
		room := phone(t, town.PhoneConfig{Name: fmt.Sprint("room", i), Addr: s.room, TCP: s.tcp, TLS: s.tls, Voice: voice, Script: town.Always(town.Answers(20 * time.Millisecond))})
		rooms = append(rooms, room)
		transport := ""
		switch {
		case s.tls != nil:
			transport = ";transport=tls"
		case s.tcp:
			transport = ";transport=tcp"
		}
		endpoints += fmt.Sprintf("  room%d: { uri: \"sip:%s%s\", calls: 2, require_tls: %v }\n", i, room.Addr(), transport, s.tls != nil)
		routes += fmt.Sprintf("  - { name: \"%d\", class: emergency, numbers: [\"99%d\"], ask: [room%d] }\n", i, i, i)
	}
	n := start(t, p, fmt.Sprintf(`
name: acceptance
listen: ["udp://{1}:5060", "tcp://{1}:5060", "udp://%[1]s", "tcp://%[1]s", "tls://{1}:5061", "tls://%[6]s"]
tls: { certificate: %[7]s/tls.pem, key: %[7]s/tls.key, client_ca: %[7]s/ca.pem }
media: { address: ["{1}", "::1"], ports: %[2]d-%[3]d }
console: { listen: "{1}:8080" }
trunks:
  four: { from: ["{200}/30"] }
  six: { from: ["::1/128"] }
endpoints:
%[4]sroutes:
%[5]s`, v6, media, media+99, endpoints, routes, tls6, dir))
	n.verdict("up", "room0", "room1", "room2", "room3", "room4", "room5")

	for i, from := range sides {
		for j, to := range sides {
			for _, callerClears := range []bool{true, false} {
				name := fmt.Sprintf("%s to %s, the %s hangs up", from.name, to.name, map[bool]string{true: "caller", false: "room"}[callerClears])
				t.Run(name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					c, err := carriers[i].Place(town.Dial{URI: fmt.Sprintf("sip:99%d@%s", j, from.via), Via: from.via, TCP: from.tcp})
					if err != nil {
						t.Fatal(err)
					}
					defer c.Clear()
					if err := c.Talks(ctx); err != nil {
						t.Fatal(err)
					}
					there := callOf(rooms[j], c.Record().ID)
					if there == nil {
						t.Fatal("the room does not know the call that it answered")
					}
					eventually(t, 5*time.Second, "each hears ten packets of the other", func() bool {
						return c.Record().Voice.Heard >= 10 && there.Record().Voice.Heard >= 10
					})
					if code := <-c.Ask("INFO", "application/dtmf-relay", []byte("Signal=5\r\n")); code != 200 {
						t.Errorf("an INFO of the caller got %d, want 200", code)
					}
					if code := <-there.Reinvite("sendonly"); code != 200 {
						t.Errorf("the room's re-INVITE got %d, want 200", code)
					}
					if callerClears {
						c.Clear()
					} else {
						there.Clear()
					}
					if err := c.Ends(ctx); err != nil {
						t.Fatal(err)
					}
					if err := there.Ends(ctx); err != nil {
						t.Fatal(err)
					}
					for _, r := range []town.Record{c.Record(), there.Record()} {
						if r.Voice.Changed+r.Voice.Foreign+r.Voice.Repeated != 0 {
							t.Errorf("%v heard %+v; want nothing changed, foreign or twice", r, r.Voice)
						}
					}
				})
			}
		}
	}
	n.empty(5 * time.Second)
}

// callOf finds a phone's call of a conversation; nil if it never heard of it.
func callOf(p *town.Phone, id string) *town.Call {
	for _, c := range p.Calls() {
		if c.Record().ID == id {
			return c
		}
	}
	return nil
}
