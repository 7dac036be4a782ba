package town

import (
	"net/netip"
	"testing"
)

// A call in memory: INVITE, 200, ACK, BYE, 200, judged by both ends.
func BenchmarkCallInMemory(b *testing.B) {
	for _, lenient := range []bool{false, true} {
		name := "judging"
		if lenient {
			name = "lenient"
		}
		b.Run(name, func(b *testing.B) {
			n := NewNetwork(1)
			open := func(name string, addr netip.Addr) *Phone {
				p, err := NewPhone(PhoneConfig{Name: name, Net: n.Host(name, addr), Addr: netip.AddrPortFrom(addr, 5060), Script: Always(Picked()), Lenient: lenient})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(p.Close)
				return p
			}
			carrier, room := open("carrier", addrA), open("room", addrB)
			b.ReportAllocs()
			for b.Loop() {
				c, err := carrier.Place(Dial{URI: "sip:999@" + room.Addr().String()})
				if err != nil {
					b.Fatal(err)
				}
				if err := c.Talks(b.Context()); err != nil {
					b.Fatal(err)
				}
				c.Clear()
				<-c.Done()
				carrier.Sweep()
				room.Sweep()
			}
		})
	}
}

// A datagram from one host to another.
func BenchmarkDatagram(b *testing.B) {
	n := NewNetwork(1)
	from, err := n.Host("a", addrA).ListenPacket(netip.AddrPortFrom(addrA, 5060))
	if err != nil {
		b.Fatal(err)
	}
	to, err := n.Host("b", addrB).ListenPacket(netip.AddrPortFrom(addrB, 5060))
	if err != nil {
		b.Fatal(err)
	}
	data, buf := make([]byte, 172), make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := from.WriteTo(data, to.LocalAddr()); err != nil {
			b.Fatal(err)
		}
		if _, _, err := to.ReadFrom(buf); err != nil {
			b.Fatal(err)
		}
	}
}
