package sip_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nines/sip"
	"nines/sip/wire"
)

// twoCards gives the proxy a network for carriers and one for rooms.
func twoCards(tcp bool) func(*scene) {
	return func(sc *scene) {
		outside, inside := netip.MustParseAddr(nodeAddr), netip.MustParseAddr(nodeOther)
		sc.server.Listen = []wire.Listen{
			{Proto: wire.UDP, Addr: netip.AddrPortFrom(outside, 5060), Side: "outside"},
			{Proto: wire.UDP, Addr: netip.AddrPortFrom(inside, 5060), Side: "inside"},
		}
		sc.server.Sides = []sip.Side{{Name: "outside", Advertise: "203.0.113.10", Media: outside}, {Name: "inside", Media: inside}}
		sc.media.Addresses = []netip.Addr{outside, inside}
		sc.Trunks[0].Via = "outside"
		for i := range sc.Endpoints {
			sc.Endpoints[i].Via = "inside"
		}
		if tcp {
			tcpRooms(sc)
			sc.server.Listen = append(sc.server.Listen, wire.Listen{Proto: wire.TCP, Addr: netip.AddrPortFrom(outside, 5060), Side: "outside"},
				wire.Listen{Proto: wire.TCP, Addr: netip.AddrPortFrom(inside, 5060), Side: "inside"})
		}
	}
}

func TestEachSideSeesOnlyItsOwnAddresses(t *testing.T) {
	for name, tcp := range map[string]bool{"udp": false, "tcp": true} {
		t.Run(name, func(t *testing.T) {
			onScene(t, twoCards(tcp), func(st *stage) {
				room := st.rooms["control-room"]
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				m := room.expect("INVITE")
				only := func(what string, text, want string, never ...string) {
					t.Helper()
					if !strings.Contains(text, want) {
						t.Errorf("%s does not say %s:\n%s", what, want, text)
					}
					for _, n := range never {
						if strings.Contains(text, n) {
							t.Errorf("%s says %s, an address of the other side:\n%s", what, n, text)
						}
					}
				}
				if m.Via.Host != nodeOther {
					t.Errorf("the INVITE's Via is %s, want the inside's %s", m.Via.Raw, nodeOther)
				}
				contact, _ := m.Get("Contact")
				only("the INVITE's Contact", contact, nodeOther, "203.0.113.10", nodeAddr+":")
				only("the INVITE's SDP", string(m.Body), "c=IN IP4 "+nodeOther, "203.0.113.10", "IP4 "+nodeAddr+"\r")
				called := callee(room, m, "room")
				room.replyBody(m, 200, "room", sdpOf(room, 50000))
				ok := st.carrier.expect("200 INVITE")
				contact, _ = ok.Get("Contact")
				only("the 200's Contact", contact, "203.0.113.10", nodeOther)
				only("the 200's SDP", string(ok.Body), "c=IN IP4 "+nodeAddr, nodeOther+"\r")
				room.expect("ACK")
				caller.ack(ok, "")
				called.request("INFO", "")
				info := st.carrier.expect("INFO")
				if info.Via.Host != "203.0.113.10" {
					t.Errorf("the INFO's Via is %s, want what the outside calls us", info.Via.Raw)
				}
				st.carrier.reply(info, 200, "")
				room.expect("200 INFO")
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

// TestATrunksCallFromAnotherSideIsRefused: its address there is forged, or the file is wrong.
func TestATrunksCallFromAnotherSideIsRefused(t *testing.T) {
	book := &clerk{}
	onScene(t, func(sc *scene) { twoCards(false)(sc); sc.server.Observer = book }, func(st *stage) {
		st.carrier.node = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(nodeOther + ":5060"))
		for range 2 {
			st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
			if all, _ := st.carrier.hearsAll(35 * time.Second); len(all) != 1 || all[0].Status != 403 {
				t.Fatalf("a call on the wrong side got %d answers, want one 403", len(all))
			}
		}
		st.carrier.node = nodeUDP
		st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		st.rooms["control-room"].expect("INVITE")
		said := 0
		for _, r := range book.all() {
			if r.Kind == sip.NoticeGiven && r.What == "wrong side" {
				said++
			}
		}
		if said != 1 {
			t.Errorf("the book was told %d times, want once an hour", said)
		}
	})
}
