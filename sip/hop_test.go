package sip_test

import (
	"context"
	"net/netip"
	"testing"
	"time"
)

// An endpoint with two addresses of which one is dead: the call goes on to the other within the same attempt, at once.
func TestADeadAddressIsFollowedByTheNextOfTheSameEndpoint(t *testing.T) {
	for name, c := range map[string]struct {
		uri   string
		spoil func(sc *scene)
	}{
		"a closed UDP port":      {"sip:room.example:5060", func(sc *scene) { sc.stage.rooms["partner"].close() }},
		"a refused connection":   {"sip:room.example:5060;transport=tcp", func(sc *scene) { sc.stage.rooms["partner"].close(); sc.stage.byTCP(sc.stage.rooms["control-room"]) }},
		"the dead one is second": {"sip:room.example:5060", func(sc *scene) { sc.stage.rooms["partner"].close() }},
	} {
		t.Run(name, func(t *testing.T) {
			addrs := []netip.Addr{netip.MustParseAddr("10.0.1.3"), netip.MustParseAddr("10.0.1.1")}
			if name == "the dead one is second" {
				addrs[0], addrs[1] = addrs[1], addrs[0]
			}
			onScene(t, func(sc *scene) {
				sc.server.Resolve = func(context.Context, string) ([]netip.Addr, error) { return addrs, nil }
				c.spoil(sc)
				delete(sc.stage.rooms, "partner")
				sc.Endpoints[0].URI = c.uri
				sc.Endpoints = sc.Endpoints[:2]
				sc.Routes[0].Ask = sc.Routes[0].Ask[:2]
			}, func(st *stage) {
				room := st.rooms["control-room"]
				began := time.Now()
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				m := room.expect("INVITE")
				if took := time.Since(began); took > 50*time.Millisecond {
					t.Errorf("the living address was asked after %v, want at once", took)
				}
				called := callee(room, m, "room")
				room.replyBody(m, 200, "room", sdpOf(room, 50000))
				caller.ack(st.carrier.expect("200 INVITE"), "")
				room.expect("ACK")
				if n := len(st.rooms["standby-room"].in); n != 0 {
					t.Errorf("the standby was asked %d times; it is the same turn of the same endpoint", n)
				}
				st.hangUp(caller, called)
				time.Sleep(5 * time.Second) // probes
				all, err := st.server.Explain(context.Background())
				if err != nil || len(all[0].Addresses) != 2 {
					t.Fatalf("the explanation is %+v (%v), want two addresses", all, err)
				}
				verdicts := map[string]string{}
				for _, a := range all[0].Addresses {
					verdicts[a.Address[:8]] = a.Verdict.String()
				}
				if verdicts["10.0.1.3"] != "down" || verdicts["10.0.1.1"] != "up" || all[0].Verdict.String() != "up" {
					t.Errorf("the addresses are %v and the endpoint %s, want each its own, and the endpoint as its best", verdicts, all[0].Verdict)
				}
			})
		})
	}
}
