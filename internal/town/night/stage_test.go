package night

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"nines/app"
	"nines/internal/town"
)

// stage is everything that a night is played on: the network, the node, the phones.
type stage struct {
	t     *testing.T
	plan  *plan
	net   *town.Network
	tape  *tape
	start time.Time

	node *app.Node
	host *town.Host // the node's
	file string     // its configuration

	rooms    []*room
	carriers []*carrier
	files    []filed // the configurations that ran, oldest first
	reload   chan os.Signal

	failures []failure
}

// filed is a configuration and since when it ran.
type filed struct {
	since time.Time
	file  file
}

// carrier is a phone that calls us.
type carrier struct {
	*town.Phone
	name  string
	host  *town.Host
	aid   bool
	via   netip.AddrPort // where it sends its calls
	calls []*placed
	bad   bool // its own process died, so that its view of its calls is worth nothing
}

// placed is one call of the night.
type placed struct {
	order
	carrier *carrier
	call    *town.Call
}

var (
	nodeAddr  = netip.MustParseAddr("10.0.0.1")
	nodeAddr6 = netip.MustParseAddr("2001:db8::1")
)

// open builds the town and starts the node in it.
func open(t *testing.T, p *plan, dir string) *stage {
	s := &stage{t: t, plan: p, net: town.NewNetwork(p.seed), start: time.Now(), reload: make(chan os.Signal, 1)}
	s.net.Everywhere(p.path)
	s.host = s.net.Host("nines", nodeAddr, nodeAddr6)
	s.tape = newTape(s.net, s.start)
	for i, c := range p.carriers {
		h := s.net.Host(c.name, c.addr)
		phone := s.phone(town.PhoneConfig{Name: c.name, Net: h, Addr: netip.AddrPortFrom(c.addr, 5060), TCP: true, Seed: p.seed + uint64(i), Voice: p.voice})
		via := netip.AddrPortFrom(nodeAddr, 5060)
		if c.addr.Is6() {
			via = netip.AddrPortFrom(nodeAddr6, 5060)
		}
		s.carriers = append(s.carriers, &carrier{Phone: phone, name: c.name, host: h, aid: c.aid, via: via})
	}
	for i, r := range p.rooms {
		h := s.net.Host(r.name, r.addr)
		s.rooms = append(s.rooms, newRoom(s, h, r, p.seed+100+uint64(i)))
	}
	s.file = filepath.Join(dir, "nines.yaml")
	s.write(p.file.text(dir))
	s.files = append(s.files, filed{time.Now(), p.file})
	node, err := app.Start(app.Options{
		ConfigPath: s.file, Version: "night", Log: zerolog.New(s.tape.log).Level(zerolog.DebugLevel).Hook(s.tape), Reload: s.reload,
		Network: s.host, Loops: p.loops, Seed: p.seed | 1, NoConsole: true,
	})
	if err != nil {
		t.Fatalf("seed %d: the node does not start: %v", p.seed, err)
	}
	s.node = node
	return s
}

func (s *stage) phone(cfg town.PhoneConfig) *town.Phone {
	p, err := town.NewPhone(cfg)
	if err != nil {
		s.t.Fatalf("seed %d: %v", s.plan.seed, err)
	}
	return p
}

func (s *stage) write(text string) {
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// room finds a room by its name.
func (s *stage) room(name string) *room {
	i := slices.IndexFunc(s.rooms, func(r *room) bool { return r.name == name })
	return s.rooms[i]
}

// play runs the night to its end and returns when everything should be still.
func (s *stage) play() {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.node.Run(ctx) }() // ended by cancel
	for _, a := range s.plan.acts {
		if wait := time.Until(s.start.Add(a.at)); wait > 0 {
			time.Sleep(wait)
		}
		a.do(s)
	}
	s.morning()
	s.checkStill()
	cancel()
	if err := <-done; err != nil {
		s.failed("", "the node ended with %v", err)
	}
	for _, c := range s.carriers {
		c.Close()
	}
	for _, r := range s.rooms {
		r.Close()
	}
	time.Sleep(time.Second) // what was closed is closed at both ends
	if p, l, c := s.host.Sockets(); p+l+c != 0 {
		s.failed("", "the node left sockets behind: %d UDP, %d listeners, %d connections", p, l, c)
	}
}

// morning repairs everything, lets the calls end, and waits until nothing can be left.
func (s *stage) morning() {
	for _, r := range s.rooms {
		r.repair()
		r.feels(mood{kind: answers, after: 200 * time.Millisecond})
	}
	for _, c := range s.carriers {
		s.net.Usual(s.host, c.host)
	}
	s.net.Everywhere(town.Path{Delay: 5 * time.Millisecond})
	time.Sleep(3 * time.Second)
	for _, c := range s.carriers {
		for _, call := range c.Calls() {
			call.Clear()
		}
	}
	time.Sleep(40 * time.Second)
	for _, r := range s.rooms { // what rings for a caller whose phone died is picked up at last
		for _, call := range r.Calls() {
			if call.Record().State == town.Ringing && s.callerDied(call.Record().ID) {
				call.Answer()
			}
		}
	}
	time.Sleep(180 * time.Second)
}

func (s *stage) callerDied(id string) bool {
	for _, c := range s.carriers {
		if c.bad {
			for _, p := range c.calls {
				if p.call.Record().ID == id {
					return true
				}
			}
		}
	}
	return false
}

// failure is a promise that was not kept.
type failure struct {
	talk string // the conversation, if it is about one
	text string
}

func (s *stage) failed(talk, format string, args ...any) {
	if len(s.failures) < 200 {
		s.failures = append(s.failures, failure{talk, fmt.Sprintf(format, args...)})
	}
}

// report prints what failed: every sentence, and the ladder and log of the first few calls.
func (s *stage) report(verbose bool) {
	if len(s.failures) == 0 {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d promises broken; again with:\n\tgo test ./internal/town/night -run 'TestNight$' -seed=%d -v\n", s.plan.seed, len(s.failures), s.plan.seed)
	for _, f := range s.failures {
		fmt.Fprintf(&b, "  %s\n", f.text)
	}
	s.t.Error(b.String())
	if !verbose {
		return
	}
	s.t.Logf("%s", s.plan.words())
	shown := map[string]bool{}
	for _, f := range s.failures {
		if f.talk == "" || shown[f.talk] || len(shown) == 8 {
			continue
		}
		shown[f.talk] = true
		s.t.Logf("%s\n\n%s\n%s", f.text, s.tape.ladder.Talk(f.talk), s.tape.logOf(f.talk))
	}
}
