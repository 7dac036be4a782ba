package sip

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nines/media"
	"nines/policy"
	"nines/sip/wire"
)

// gatekeeper is a server with a trunk, behind whose gate nobody waits.
func gatekeeper(tb testing.TB, change func(*Routing)) *Server {
	tb.Helper()
	relay, err := media.Open(media.Config{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, PortMin: 36000, PortMax: 36099})
	if err != nil {
		tb.Skip(err)
	}
	tb.Cleanup(relay.Close)
	r := Routing{
		Trunks:    []Trunk{{Trunk: policy.Trunk{Name: "bt"}, From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}},
		Endpoints: []Endpoint{{Endpoint: policy.Endpoint{Name: "room"}, URI: "sip:10.0.0.10:5060"}},
		Routes: []policy.Route{
			{Name: "999", Numbers: []string{"999"}, Ask: [][]policy.EndpointName{{"room"}}},
			{Name: "101", Class: policy.Routine, Numbers: []string{"101"}, Ask: [][]policy.EndpointName{{"room"}}},
		},
	}
	if change != nil {
		change(&r)
	}
	s, err := New(Config{Listen: []wire.Listen{{Proto: wire.UDP, Addr: netip.MustParseAddrPort("127.0.0.1:0")}}, Media: relay, Loops: 1}, r)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.stack.Close() })
	return s
}

func scan(method, called string) []byte {
	text := method + " sip:" + called + "@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bK-524287-1;rport\nMax-Forwards: 70\n" +
		"From: \"sipvicious\"<sip:100@1.1.1.1>;tag=6437393533\nTo: \"sipvicious\"<sip:100@1.1.1.1>\nCall-ID: 934857230945\nCSeq: 1 " + method + "\n" +
		"Contact: <sip:100@203.0.113.66:5060>\nUser-Agent: friendly-scanner\nAccept: application/sdp\nContent-Length: 0\n\n"
	return []byte(strings.ReplaceAll(text, "\n", "\r\n"))
}

// BenchmarkGate says what a datagram costs before anything is parsed.
func BenchmarkGate(b *testing.B) {
	s := gatekeeper(b, nil)
	trunk, scanner := netip.MustParseAddrPort("192.0.2.7:5060"), netip.MustParseAddrPort("203.0.113.66:5060")
	swarm := func(i int) netip.AddrPort {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(i)*2654435761|0x80000000)
		return netip.AddrPortFrom(netip.AddrFrom4(a), 5060)
	}
	b.Run("a trunk's INVITE", func(b *testing.B) { atTheGate(b, s, func(int) netip.AddrPort { return trunk }, scan("INVITE", "999")) })
	b.Run("a scanner's INVITE", func(b *testing.B) {
		atTheGate(b, s, func(int) netip.AddrPort { return scanner }, scan("INVITE", "900441904"))
	})
	b.Run("a scanner's OPTIONS", func(b *testing.B) {
		atTheGate(b, s, func(int) netip.AddrPort { return scanner }, scan("OPTIONS", "100"))
	})
	b.Run("garbage", func(b *testing.B) {
		atTheGate(b, s, func(int) netip.AddrPort { return scanner }, []byte(strings.Repeat("\x00\xff garbage", 30)))
	})
	b.Run("a swarm's INVITE", func(b *testing.B) { atTheGate(b, s, swarm, scan("INVITE", "900441904")) })
	b.Run("a swarm's OPTIONS", func(b *testing.B) { atTheGate(b, s, swarm, scan("OPTIONS", "100")) })
}

func atTheGate(b *testing.B, s *Server, src func(i int) netip.AddrPort, data []byte) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.accept(src(i), wire.UDP, data)
		i++
	}
}

var _ = time.Second
