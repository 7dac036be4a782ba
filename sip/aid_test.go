package sip_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"nines/health"
	"nines/internal/town"
	"nines/media"
	"nines/policy"
	"nines/sip"
	"nines/sip/wire"
)

// neighbour starts a second node on the stage: another force's nines, whose only room is at room and whose partner is the stage's node.
func (st *stage) neighbour(kind policy.TrunkKind, room netip.Addr) (srv *sip.Server, stop func()) {
	st.t.Helper()
	addr := netip.MustParseAddr("10.0.2.1")
	host := st.net.Host("warks", addr)
	relay, err := media.Open(media.Config{Addresses: []netip.Addr{addr}, PortMin: 20000, PortMax: 20999, Network: host})
	if err != nil {
		st.t.Fatal(err)
	}
	srv, err = sip.New(sip.Config{
		Listen:  []wire.Listen{{Proto: wire.UDP, Addr: netip.AddrPortFrom(addr, 5060)}},
		Network: host, Loops: 2, Media: relay, Log: zerolog.Nop(), Seed: 8,
	}, sip.Routing{
		Name:   "warks",
		Trunks: []sip.Trunk{{Trunk: policy.Trunk{Name: "from-west-mercia", Kind: kind, GiveUp: 20 * time.Second}, From: []netip.Prefix{netip.MustParsePrefix(nodeAddr + "/32")}}},
		Endpoints: []sip.Endpoint{
			{Endpoint: policy.Endpoint{Name: "desk"}, URI: "sip:" + room.String()},
			{Endpoint: policy.Endpoint{Name: "west-mercia", Partner: true}, URI: "sip:+441905331998@" + nodeAddr},
		},
		Routes: []policy.Route{{
			Name: "999", Class: policy.Emergency, Numbers: []string{"999", "+441926415000"}, Overlap: true,
			Ask: [][]policy.EndpointName{{"desk"}, {"west-mercia"}}, Patience: time.Second, Progress: 4 * time.Second,
		}},
		Health: health.Config{Endpoints: []health.Endpoint{{Name: "desk"}, {Name: "west-mercia", Partner: true}}},
	})
	if err != nil {
		st.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- srv.Run(ctx) }()
	go func() { done <- relay.Run(ctx) }()
	return srv, func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				st.t.Errorf("the end: %v", err)
			}
		}
		relay.Close()
	}
}

// partners makes the stage's node and the neighbour each other's partner.
func partners(kind policy.TrunkKind) func(*sip.Routing) {
	return func(r *sip.Routing) {
		r.Trunks = append(r.Trunks, sip.Trunk{Trunk: policy.Trunk{Name: "from-warks", Kind: kind, GiveUp: 20 * time.Second}, From: []netip.Prefix{netip.MustParsePrefix("10.0.2.1/32")}})
		r.Endpoints[2].URI = "sip:+441926415000@10.0.2.1"
		r.Routes[0].Numbers = append(r.Routes[0].Numbers, "+441905331998")
	}
}

func TestTwoNodesThatAreEachOthersPartnerEndACallAfterOneHop(t *testing.T) {
	for _, kind := range []policy.TrunkKind{policy.Aid, policy.Carrier} { // by the trunk, or by the marker alone
		for _, rooms := range []string{"silent", "closed", "dead for long", "refusing"} {
			t.Run(kind.String()+" "+rooms, func(t *testing.T) {
				onStage(t, partners(kind), func(st *stage) {
					desk := newActor(t, st.net.Host("desk", netip.MustParseAddr("10.0.3.1")))
					dead := []*actor{st.rooms["control-room"], st.rooms["standby-room"], desk}
					switch rooms {
					case "silent", "dead for long":
						for _, a := range dead {
							a.host.Power(town.Dead)
						}
					case "closed":
						for _, a := range dead {
							a.close()
						}
					}
					warks, stop := st.neighbour(kind, desk.addr.Addr())
					defer stop()
					defer desk.close()
					if rooms == "dead for long" {
						time.Sleep(time.Minute)
					} else {
						time.Sleep(50 * time.Millisecond)
					}
					hops := map[string]int{}
					var mu sync.Mutex
					st.net.Tap(func(p town.Packet) {
						m, err := wire.Parse(p.Data)
						if err == nil && m.Method == "INVITE" && m.IsRequest() {
							mu.Lock()
							hops[fmt.Sprint(p.From.Addr(), " to ", p.To.Addr(), " ", m.CallID)]++
							mu.Unlock()
						}
					})
					began := time.Now()
					d := st.place()
					if rooms == "refusing" {
						for _, a := range dead {
							a.reply(a.expect("INVITE"), 486, "x")
							a.expect("ACK")
						}
					}
					d.ack(st.carrier.expect("500 INVITE"), "")
					limit := 7 * time.Second // patience twice, and the neighbour's four seconds without a 100
					switch rooms {
					case "refusing":
						limit = atOnce
					case "dead for long":
						limit = 9 * time.Second // the neighbour comes first: its four seconds, then those of the rooms that are down
					}
					within(t, "the 500 came", began, 0, limit)
					mu.Lock()
					there, back := 0, 0
					for hop := range hops {
						if strings.HasPrefix(hop, "10.0.0.1 to 10.0.2.1 ") {
							there++
						}
						if strings.HasPrefix(hop, "10.0.2.1 to 10.0.0.1 ") {
							back++
						}
					}
					if there != 1 || back != 0 {
						t.Errorf("%d calls went to the neighbour and %d came back; want one and none: %v", there, back, hops)
					}
					mu.Unlock()
					st.nothingLeft()
					if r, err := warks.Residue(context.Background()); err != nil || r.Sessions != 0 || r.Waiting != 0 {
						t.Errorf("the neighbour holds %+v (%v); want nothing", r, err)
					}
				})
			})
		}
	}
}

func TestTheNeighboursRoomAnswersOurCaller(t *testing.T) {
	onStage(t, partners(policy.Aid), func(st *stage) {
		desk := newActor(t, st.net.Host("desk", netip.MustParseAddr("10.0.3.1")))
		defer desk.close()
		st.rooms["control-room"].host.Power(town.Dead)
		st.rooms["standby-room"].host.Power(town.Off)
		_, stop := st.neighbour(policy.Aid, desk.addr.Addr())
		defer stop()
		time.Sleep(time.Second)
		d := st.place("Geolocation: <cid:here>")
		m := desk.expect("INVITE")
		if v, _ := m.Get("Max-Forwards"); v != "68" {
			t.Errorf("Max-Forwards is %s after two nodes, want 68: it is copied and decremented", v)
		}
		if v, _ := m.Get("Geolocation"); v != "<cid:here>" {
			t.Errorf("Geolocation is %q", v)
		}
		if v := strings.Join(m.All("History-Info"), ", "); !strings.Contains(v, "nines%3Amutual-aid%20west-mercia") {
			t.Errorf("the neighbour's room can't see where the call comes from: %q", v)
		}
		desk.replyBody(m, 200, "d", sdpOf(desk, 50000))
		d.ack(st.carrier.until("200 INVITE", "180 INVITE"), "")
		desk.expect("ACK")
		d.bye(desk)
		st.nothingLeft()
	})
}

func TestACallThatCameAsMutualAidIsGivenUpAfterFiveSeconds(t *testing.T) {
	onStage(t, func(r *sip.Routing) { r.Trunks[0].Kind = policy.Aid }, func(st *stage) {
		d := st.place()
		began := time.Now()
		ms := map[string]heard{}
		for _, name := range []string{"control-room", "standby-room"} {
			ms[name] = st.rooms[name].expect("INVITE")
			st.rooms[name].reply(ms[name], 100, "")
		}
		d.ack(st.carrier.expect("500 INVITE"), "")
		within(t, "the 500 came", began, 5*time.Second, 5*time.Second+atOnce)
		for name, m := range ms {
			st.rooms[name].reply(st.rooms[name].expect("CANCEL"), 200, "x")
			st.rooms[name].reply(m, 487, "x")
			st.rooms[name].expect("ACK")
		}
		st.rooms["partner"].silence(time.Second)
		st.nothingLeft()
	})
}

func TestACallerWhoIsOutAtAPartnerAsksOnePartnerLast(t *testing.T) {
	two := func(sc *scene) {
		sc.build(true, "second-partner")
		sc.Routes[0].Ask = [][]policy.EndpointName{{"partner"}, {"second-partner"}, {"control-room"}}
	}
	onScene(t, two, func(st *stage) {
		partner, room := st.rooms["partner"], st.rooms["control-room"]
		first := st.place()
		m := partner.expect("INVITE")
		partner.reply(m, 180, "p")
		st.carrier.expect("180 INVITE")
		// The same caller again, without any marker: it may have come around.
		second := st.place()
		n := room.expect("INVITE")
		room.reply(n, 486, "r")
		room.expect("ACK")
		p := partner.expect("INVITE")
		partner.reply(p, 486, "p2")
		partner.expect("ACK")
		second.ack(st.carrier.expect("500 INVITE"), "")
		st.rooms["second-partner"].silence(time.Second)
		// Another caller is treated as ever.
		third := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40004), "P-Asserted-Identity: <sip:+447700900777@bt>")
		st.carrier.expect("100 INVITE")
		q := partner.expect("INVITE")
		third.cancelled()
		partner.reply(q, 487, "p3")
		partner.expect("ACK")
		partner.replyBody(m, 200, "p", sdpOf(partner, 50000))
		first.ack(st.carrier.expect("200 INVITE"), "")
		partner.expect("ACK")
		first.bye(partner)
		// When the first has ended, the caller is not out any more.
		again := st.place()
		q = partner.expect("INVITE")
		again.cancelled()
		partner.reply(q, 487, "p4")
		partner.expect("ACK")
		st.nothingLeft()
	})
}

func TestAMarkerIsSeenHoweverItIsEscaped(t *testing.T) {
	for _, h := range []string{
		"<sip:999@x?Reason=SIP%3Bcause%3D1%3Btext%3D%22nines%3Amutual-aid%20elsewhere%22>;index=1",
		"<sip:999@x?Reason=SIP%3bcause%3d1%3btext%3d%22nines%3amutual-aid+elsewhere%22>;index=1",
		"<sip:a@b>;index=1, <sip:999@x?Privacy=history&Reason=SIP;cause=1;text=\"nines:mutual-aid elsewhere\">;index=1.1",
	} {
		onStage(t, nil, func(st *stage) {
			d := st.place("History-Info: " + h)
			for _, name := range []string{"control-room", "standby-room"} {
				st.rooms[name].reply(st.rooms[name].expect("INVITE"), 503, "x")
				st.rooms[name].expect("ACK")
			}
			d.ack(st.carrier.expect("500 INVITE"), "")
			st.rooms["partner"].silence(time.Second)
			st.nothingLeft()
		})
	}
}
