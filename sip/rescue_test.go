package sip_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nines/health"
	"nines/internal/town"
	"nines/media"
	"nines/policy"
	"nines/sip"
	"nines/sip/wire"

	"github.com/rs/zerolog"
)

// A ward is a proxy between phones that really talk: a carrier, a control room, a standby and a partner, each on its own host, with 20 ms of voice.
type ward struct {
	t       *testing.T
	net     *town.Network
	node    *town.Host
	server  *sip.Server
	relay   *media.Relay
	carrier *town.Phone
	rooms   map[string]*town.Phone
	hosts   map[string]*town.Host
}

func inWard(t *testing.T, change func(*sip.Routing), play func(*ward)) {
	t.Helper()
	inWardOf(t, 20*time.Millisecond, nil, change, play)
}

// inWardOf is inWard with phones that send a packet at an interval of the test's choice, and with somebody who is told what happened.
func inWardOf(t *testing.T, voice time.Duration, observer sip.Observer, change func(*sip.Routing), play func(*ward)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := town.NewNetwork(3)
		w := &ward{t: t, net: n, node: n.Host("nines", netip.MustParseAddr(nodeAddr)), rooms: map[string]*town.Phone{}, hosts: map[string]*town.Host{}}
		phone := func(name, addr string, script func(*town.Message) town.Behaviour) *town.Phone {
			h := n.Host(name, netip.MustParseAddr(addr))
			w.hosts[name] = h
			p, err := town.NewPhone(town.PhoneConfig{Name: name, Net: h, Addr: netip.AddrPortFrom(h.Addr(), 5060), Seed: 5, Script: script, Voice: voice})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {})
			return p
		}
		w.carrier = phone("carrier", "10.0.0.9", nil)
		r := sip.Routing{
			Name:   "west-mercia",
			Trunks: []sip.Trunk{{Trunk: policy.Trunk{Name: "bt", GiveUp: 20 * time.Second}, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/32")}}},
			Routes: []policy.Route{{
				Name: "999", Class: policy.Emergency, Numbers: []string{"999"}, Overlap: true, RescueBye: true,
				Ask:      [][]policy.EndpointName{{"control-room"}, {"standby-room"}, {"partner"}},
				Patience: time.Second, Progress: 4 * time.Second,
			}},
		}
		for i, name := range []string{"control-room", "standby-room", "partner"} {
			addr := fmt.Sprintf("10.0.1.%d", i+1)
			w.rooms[name] = phone(name, addr, town.Always(town.Answers(100*time.Millisecond)))
			r.Endpoints = append(r.Endpoints, sip.Endpoint{Endpoint: policy.Endpoint{Name: policy.EndpointName(name), Partner: i == 2}, URI: "sip:" + addr + ":5060"})
			r.Health.Endpoints = append(r.Health.Endpoints, health.Endpoint{Name: policy.EndpointName(name), Partner: i == 2})
		}
		if change != nil {
			change(&r)
		}
		out := io.Discard
		if os.Getenv("NINES_LOG") != "" {
			out = zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true, TimeFormat: "15:04:05.000"}
		}
		var err error
		w.relay, err = media.Open(media.Config{Addresses: []netip.Addr{netip.MustParseAddr(nodeAddr)}, PortMin: 20000, PortMax: 29999, Network: w.node})
		if err != nil {
			t.Fatal(err)
		}
		w.server, err = sip.New(sip.Config{
			Listen:  []wire.Listen{{Proto: wire.UDP, Addr: netip.MustParseAddrPort(nodeAddr + ":5060")}},
			Network: w.node, Loops: 2, Log: zerolog.New(out).With().Timestamp().Logger(), Seed: 7, Media: w.relay, Observer: observer, Tapes: text,
		}, r)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 2)
		go func() { done <- w.server.Run(ctx) }()
		go func() { done <- w.relay.Run(ctx) }()
		defer func() {
			cancel()
			for range 2 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			w.relay.Close()
			w.carrier.Close()
			for _, p := range w.rooms {
				p.Close()
			}
		}()
		time.Sleep(2 * time.Second)
		play(w)
	})
}

// call places a call and lets it talk for four seconds.
func (w *ward) call() *town.Call {
	w.t.Helper()
	c, err := w.carrier.Place(town.Dial{URI: "sip:999@" + nodeAddr + ":5060", From: "+441905000001"})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Talks(ctx); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(4 * time.Second)
	return c
}

// talking counts the calls that a room has.
func (w *ward) talking(room string) int {
	_, _, n := w.rooms[room].Live()
	return n
}

// heardAnew waits until the caller hears somebody new and checks that it took no longer than limit.
func (w *ward) movesWithin(c *town.Call, room string, limit time.Duration) {
	w.t.Helper()
	began := time.Now()
	for time.Since(began) < limit+time.Second {
		time.Sleep(20 * time.Millisecond)
		if v := c.Record().Voice; v.Streams > 1 && time.Since(v.Last) < 100*time.Millisecond {
			if got := time.Since(began); got > limit {
				w.t.Errorf("the caller heard %s after %v, want within %v", room, got, limit)
			}
			if n := w.talking(room); n != 1 {
				w.t.Errorf("%s has %d calls, want the one that was moved", room, n)
			}
			if c.Record().End != town.NotYet {
				w.t.Errorf("the caller's call ended (%v); the caller must never hear of it", c.Record().End)
			}
			return
		}
	}
	w.t.Fatalf("nobody new was heard within %v; rescues %d", limit+time.Second, w.server.Counters().Rescues)
}

func (w *ward) notMoved(c *town.Call, d time.Duration) {
	w.t.Helper()
	time.Sleep(d)
	if n := w.server.Counters().Rescues; n != 0 {
		w.t.Errorf("%d rescues; the call was not dead", n)
	}
	if w.talking("standby-room") != 0 || w.talking("partner") != 0 {
		w.t.Error("somebody else was asked although the endpoint lives")
	}
	if e := c.Record().End; e != town.NotYet {
		w.t.Errorf("the call ended: %v", e)
	}
}

func TestACallWhosePBXIsKilledGoesOnElsewhereWithinASecond(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		c := w.call()
		w.rooms["control-room"].Kill()
		w.movesWithin(c, "standby-room", 650*time.Millisecond) // 250 ms without a packet, 200 ms between two OPTIONS, 100 ms of ringing, and some way
		c.Clear()
		time.Sleep(time.Minute)
		if n := w.talking("standby-room"); n != 0 {
			t.Errorf("%d calls are left at the standby after the caller hung up", n)
		}
	})
}

// TestACallWhoseInviteHadNoOfferIsRescuedByOne: whoever takes it over is offered what the caller has, and its ACK says nothing more of the session.
func TestACallWhoseInviteHadNoOfferIsRescuedByOne(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		c, err := w.carrier.Place(town.Dial{URI: "sip:999@" + nodeAddr + ":5060", From: "+441905000001", Late: true})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if w.talking("control-room") != 1 {
			t.Fatalf("the control room has no call: %v", c.Record())
		}
		w.rooms["control-room"].Kill()
		w.movesWithin(c, "standby-room", 650*time.Millisecond)
		there := w.rooms["standby-room"].Calls()[0].Record()
		if len(there.SDP) != 1 || !strings.Contains(there.SDP[0], "m=audio ") || strings.Contains(there.SDP[0], "m=audio 0 ") {
			t.Errorf("the standby was told %q; want one offer, and nothing in the ACK", there.SDP)
		}
		time.Sleep(2 * time.Second)
		if v := w.rooms["standby-room"].Calls()[0].Record().Voice; v.Heard < 50 {
			t.Errorf("the standby hears %d packets of the caller in two seconds", v.Heard)
		}
		c.Clear()
		w.leavesNothing()
		if wrong := w.rooms["standby-room"].Wrong(); len(wrong) > 0 {
			t.Errorf("the standby complains: %v", wrong)
		}
	})
}

func TestACallWhosePBXVanishesGoesOnElsewhereWithinFiveSeconds(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		c := w.call()
		w.hosts["control-room"].Power(town.Dead)
		w.movesWithin(c, "standby-room", 5*time.Second)
		time.Sleep(200 * time.Millisecond) // the gap is measured when the first packet is seen
		if got := w.server.Counters(); got.Rescues != 1 || got.Rescued != 1 {
			t.Errorf("rescues %d, rescued %d; want 1 and 1", got.Rescues, got.Rescued)
		}
	})
}

func TestDeadSignallingWithLivingMediaIsNoDeath(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		c := w.call()
		w.rooms["control-room"].Options(0) // silent to OPTIONS, in dialog and out of it
		w.notMoved(c, 30*time.Second)
	})
}

func TestAPauseOfTheNetworkIsNoDeath(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		c := w.call()
		w.net.Between(w.hosts["control-room"], w.node, town.Path{Cut: true})
		time.Sleep(1500 * time.Millisecond)
		w.net.Usual(w.hosts["control-room"], w.node)
		w.notMoved(c, 20*time.Second)
	})
}

func TestEverythingSilentMovesNobody(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		c := w.call()
		for _, h := range w.hosts {
			w.net.Between(h, w.node, town.Path{Cut: true})
		}
		time.Sleep(6 * time.Second)
		for _, h := range w.hosts {
			w.net.Usual(h, w.node)
		}
		w.notMoved(c, 20*time.Second)
	})
}

func TestAnEndpointThatComesBackFirstKeepsTheCall(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		w.rooms["standby-room"].Script(town.Always(town.Rings(0)))
		w.rooms["partner"].Script(town.Always(town.Rings(0)))
		c := w.call()
		w.hosts["control-room"].Power(town.Dead)
		time.Sleep(7 * time.Second)
		if n := w.server.Counters().Rescues; n != 1 {
			t.Fatalf("%d rescues, want 1", n)
		}
		w.hosts["control-room"].Power(town.On)
		time.Sleep(5 * time.Second)
		if e := c.Record().End; e != town.NotYet || w.talking("control-room") != 1 {
			t.Errorf("call %v, control room talks to %d; want the call kept where it was", e, w.talking("control-room"))
		}
		if asked, ringing, talking := w.rooms["standby-room"].Live(); asked+ringing+talking != 0 {
			t.Errorf("the standby still has a call (%d asked, %d ringing, %d talking)", asked, ringing, talking)
		}
	})
}

func TestNobodyAnswersARescueAndTheCallerStays(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		for _, r := range []string{"standby-room", "partner"} {
			w.rooms[r].Script(town.Always(town.Refuses(486, 0)))
		}
		c := w.call()
		w.rooms["control-room"].Kill()
		time.Sleep(40 * time.Second)
		if e := c.Record().End; e != town.NotYet {
			t.Fatalf("the caller was hung up: %v", e)
		}
		w.rooms["standby-room"].Script(town.Always(town.Answers(0)))
		w.movesWithin(c, "standby-room", 9*time.Second) // a round every five seconds, and who is down is asked first
	})
}

func TestACallOnHoldIsNoDeath(t *testing.T) {
	inWard(t, nil, func(w *ward) {
		c := w.call()
		if code := <-c.Reinvite("sendonly"); code != 200 {
			t.Fatalf("hold: %d", code)
		}
		w.notMoved(c, 60*time.Second)
	})
}
