package night

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"nines/internal/town"
)

// plan is what will happen in a night. A seed makes it.
type plan struct {
	seed     uint64
	loops    int
	voice    time.Duration
	path     town.Path // the usual one
	carriers []carrierPlan
	rooms    []roomPlan
	file     file
	acts     []act
}

type carrierPlan struct {
	name string
	addr netip.Addr
	aid  bool
}

type roomPlan struct {
	name    string
	addr    netip.Addr
	partner bool
	tcp     bool
	mood    mood
}

func (r roomPlan) host() string { return r.addr.String() }

// act is one thing that happens.
type act struct {
	at  time.Duration
	say string
	do  func(*stage)
}

// class is how a call should be treated.
type class uint8

const (
	emergency class = iota
	routine
)

const aidNumber = "+441905331998"

// order is a call that will be placed.
type order struct {
	number string
	class  class
	aid    bool // it comes as mutual aid: partners are not asked
	second bool // it is on no route
	dial   town.Dial
	stays  bool // the caller waits for an answer, however long that takes
}

func (p *plan) addrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, r := range p.rooms {
		out = append(out, netip.AddrPortFrom(r.addr, 5060))
	}
	return out
}

// newPlan makes the plan of a seed.
func newPlan(seed uint64) *plan {
	rng := rand.New(rand.NewPCG(seed, 0x6e69676874))
	p := &plan{seed: seed, loops: 1 + rng.IntN(2), voice: between(rng, 100*time.Millisecond, 400*time.Millisecond)}
	p.path = randomPath(rng, rng.IntN(3) == 0)
	p.carriers = []carrierPlan{
		{"bt", netip.MustParseAddr("192.0.2.10"), false},
		{"vf", netip.MustParseAddr("2001:db8::10"), false},
		{"neighbour", netip.MustParseAddr("203.0.113.10"), true},
	}
	for i, name := range []string{"control", "standby", "annex"}[:2+rng.IntN(2)] {
		p.rooms = append(p.rooms, roomPlan{name: name, addr: netip.AddrFrom4([4]byte{10, 0, 1, byte(1 + i)}), tcp: rng.IntN(3) == 0})
	}
	for i, name := range []string{"warks", "staffs", "mercia"}[:1+rng.IntN(3)] {
		p.rooms = append(p.rooms, roomPlan{name: name, addr: netip.AddrFrom4([4]byte{10, 0, 2, byte(1 + i)}), partner: true, tcp: rng.IntN(3) == 0})
	}
	for i := range p.rooms {
		p.rooms[i].mood = randomMood(rng, p.addrs())
		for p.rooms[i].mood.kind == freezes || p.rooms[i].mood.kind == dies { // nobody would repair it
			p.rooms[i].mood = randomMood(rng, p.addrs())
		}
	}
	p.file = randomFile(rng, p.rooms)
	length := between(rng, 20*time.Second, 80*time.Second)
	p.orders(rng, length)
	p.moods(rng, length)
	p.troubles(rng, length)
	p.reloads(rng, length)
	slices.SortStableFunc(p.acts, func(a, b act) int { return cmp.Compare(a.at, b.at) })
	for i := range p.acts { // no two things at one instant
		if i > 0 && p.acts[i].at <= p.acts[i-1].at {
			p.acts[i].at = p.acts[i-1].at + 1
		}
	}
	return p
}

// randomPath makes a good path or a bad one.
func randomPath(rng *rand.Rand, bad bool) town.Path {
	p := town.Path{Delay: between(rng, time.Millisecond, 25*time.Millisecond), Jitter: between(rng, 1, 10*time.Millisecond)}
	if bad {
		p.Loss, p.Duplicate, p.Reorder = rng.Float64()*0.12, rng.Float64()*0.1, rng.Float64()*0.1
	}
	return p
}

func (p *plan) add(at time.Duration, say string, do func(*stage)) {
	p.acts = append(p.acts, act{at, say, do})
}

// orders plans the calls.
func (p *plan) orders(rng *rand.Rand, length time.Duration) {
	count := 10 + rng.IntN(60)
	at := between(rng, 0, 3*time.Second)
	for i := range count {
		if rng.IntN(3) != 0 { // else it comes with the one before
			at += between(rng, 0, 2*length/time.Duration(count))
		}
		if at > length {
			at = between(rng, 0, length)
		}
		p.order(rng, i, at)
	}
}

// order plans one call and what is done inside it.
func (p *plan) order(rng *rand.Rand, i int, at time.Duration) {
	who := rng.IntN(5) / 2
	o := order{aid: p.carriers[who].aid}
	switch n := rng.IntN(20); {
	case n < 11:
		o.number = []string{"999", "112"}[rng.IntN(2)]
	case n < 13:
		o.number, o.second = "5551234", true
	case n < 15:
		o.number, o.aid = aidNumber, true
	default:
		o.number, o.class = "101", routine
	}
	host := "10.0.0.1"
	if p.carriers[who].addr.Is6() {
		host = "[2001:db8::1]"
	}
	o.dial = town.Dial{URI: "sip:" + o.number + "@" + host + ":5060", From: fmt.Sprintf("+4419055%05d", i), TCP: rng.IntN(4) == 0, Late: rng.IntN(8) == 0, Prack: rng.IntN(3) == 0}
	if o.number == "112" && rng.IntN(3) == 0 {
		o.dial.URI, o.dial.To = "urn:service:sos.police", "urn:service:sos.police"
	}
	if rng.IntN(20) == 0 && i > 0 {
		o.dial.From = fmt.Sprintf("+4419055%05d", i-1) // calls again
	}
	if rng.IntN(3) != 0 {
		o.dial.TalkFor = between(rng, time.Millisecond, 15*time.Second)
	}
	switch rng.IntN(6) {
	case 0:
		o.dial.CancelAfter = between(rng, 1, 100*time.Millisecond)
	case 1, 2:
		o.dial.CancelAfter = between(rng, time.Millisecond, 12*time.Second)
	default:
		o.stays = true
	}
	var made *placed
	p.add(at, fmt.Sprintf("%s calls %s (%+v)", p.carriers[who].name, o.number, o.dial), func(s *stage) { made = s.place(who, o) })
	after := func(say string, do func(c *town.Call)) {
		p.add(at+between(rng, time.Millisecond, 14*time.Second), say, func(*stage) {
			if made != nil {
				do(made.call)
			}
		})
	}
	if rng.IntN(5) == 0 {
		after("the caller puts the call on hold", func(c *town.Call) { c.Reinvite("inactive") })
		after("the caller takes it back", func(c *town.Call) { c.Reinvite("sendrecv") })
	}
	if rng.IntN(8) == 0 {
		after("the caller updates", func(c *town.Call) { c.Update("sendrecv") })
	}
	if rng.IntN(8) == 0 {
		after("the caller sends INFO", func(c *town.Call) { c.Ask("INFO", "application/dtmf-relay", []byte("Signal=9\r\nDuration=160\r\n")) })
	}
	if o.dial.CancelAfter == 0 && rng.IntN(4) == 0 {
		o.stays = false
		after("the caller hangs up", func(c *town.Call) {
			if made != nil {
				made.stays = false
			}
			c.Clear()
		})
	}
}

// place places a call.
func (s *stage) place(who int, o order) *placed {
	c := s.carriers[who]
	o.dial.Via = c.via
	call, err := c.Place(o.dial)
	if err != nil {
		return nil // its carrier is dead
	}
	p := &placed{order: o, carrier: c, call: call}
	c.calls = append(c.calls, p)
	return p
}

// moods plans how the rooms change their minds.
func (p *plan) moods(rng *rand.Rand, length time.Duration) {
	calm := between(rng, 3*time.Second, 30*time.Second)
	for i := range p.rooms {
		for at := between(rng, 0, calm); at < length; at += between(rng, calm/4, calm*2) {
			m := randomMood(rng, p.addrs())
			p.add(at, fmt.Sprintf("%s: %v", p.rooms[i].name, m), func(s *stage) {
				s.rooms[i].feels(m)
			})
			if m.kind == freezes || m.kind == dies {
				end := at + between(rng, 4*time.Second, 14*time.Second)
				for _, at := range []time.Duration{end, end + 3*time.Second} { // a call that came just before the first may take it down again
					p.add(at, p.rooms[i].name+" is repaired", func(s *stage) { s.rooms[i].repair() })
				}
			}
			if rng.IntN(6) == 0 {
				code := []int{200, 200, 0, 500, 503, 404}[rng.IntN(6)]
				p.add(at, fmt.Sprintf("%s says %d to OPTIONS", p.rooms[i].name, code), func(s *stage) {
					s.rooms[i].Options(code)
					s.rooms[i].lied = s.rooms[i].lied || code != 200
				})
			}
		}
	}
}

// troubles plans what happens to machines and paths.
func (p *plan) troubles(rng *rand.Rand, length time.Duration) {
	if rng.IntN(5) == 0 {
		return // a calm night
	}
	calm := between(rng, 4*time.Second, 40*time.Second)
	for i, r := range p.rooms {
		for at := between(rng, 0, calm); at < length; at += between(rng, calm/2, calm*2) {
			end := at + between(rng, 100*time.Millisecond, 14*time.Second)
			p.trouble(rng, i, r, at, end)
			at = end
		}
	}
	if rng.IntN(8) == 0 { // a carrier's session border controller reboots
		who := rng.IntN(len(p.carriers))
		at := between(rng, 0, length)
		p.add(at, p.carriers[who].name+" dies", func(s *stage) {
			s.carriers[who].bad = true
			s.carriers[who].Kill()
		})
		p.add(at+between(rng, time.Second, 20*time.Second), p.carriers[who].name+" is back", func(s *stage) {
			if err := s.carriers[who].Restart(); err != nil {
				s.t.Fatal(err)
			}
		})
	}
}

// trouble plans one fault of a room and its repair.
func (p *plan) trouble(rng *rand.Rand, i int, r roomPlan, at, end time.Duration) {
	fault := func(say string, do func(s *stage, r *room)) {
		p.add(at, r.name+" "+say, func(s *stage) {
			do(s, s.rooms[i])
			s.rooms[i].note()
		})
	}
	switch rng.IntN(8) {
	case 0:
		fault("is killed", func(_ *stage, r *room) {
			r.Kill()
			r.down = true
		})
	case 1:
		fault("freezes", func(_ *stage, r *room) {
			r.Freeze()
			r.frozen = true
		})
	case 2:
		fault("is a black hole", func(_ *stage, r *room) {
			r.host.Power(town.Dead)
			r.power = town.Dead
		})
	case 3:
		fault("is switched off", func(_ *stage, r *room) {
			r.host.Power(town.Off)
			r.power = town.Off
		})
	case 4:
		fault("is cut off", func(s *stage, r *room) {
			s.net.Between(s.host, r.host, town.Path{Cut: true})
			r.cut = true
		})
	case 5:
		there := rng.IntN(2) == 0
		fault("is cut off one way", func(s *stage, r *room) {
			if there {
				s.net.OneWay(s.host, r.host, town.Path{Cut: true})
			} else {
				s.net.OneWay(r.host, s.host, town.Path{Cut: true})
			}
			r.cut = true
		})
	case 6:
		path := randomPath(rng, true)
		fault(fmt.Sprintf("has a bad path %+v", path), func(s *stage, r *room) { s.net.Between(s.host, r.host, path) })
	case 7:
		fault("loses its TCP connections", func(s *stage, r *room) {
			s.net.Resets(s.host, r.host)
			r.blink()
		})
		return
	}
	p.add(end, r.name+" is repaired", func(s *stage) { s.rooms[i].repair() })
}

// reloads plans how the configuration changes.
func (p *plan) reloads(rng *rand.Rand, length time.Duration) {
	for range rng.IntN(4) {
		at := between(rng, 0, length)
		switch rng.IntN(5) {
		case 0:
			p.add(at, "a broken file is loaded", func(s *stage) {
				s.write("listen: [udp://10.0.0.1:5060]\ntrunks: {}\nroutes: [{name: x, ask: [nobody]}]\n")
				s.load()
			})
		default:
			f := randomFile(rng, p.rooms)
			signal := rng.IntN(2) == 0
			p.add(at, fmt.Sprintf("a new file is loaded: 999 asks %v", f.emergency), func(s *stage) {
				s.write(f.text(s.t.TempDir()))
				if signal {
					s.reload <- syscall.SIGHUP
				} else {
					s.load()
				}
				s.files = append(s.files, filed{time.Now(), f})
			})
		}
	}
}

func (s *stage) load() {
	if _, err := s.node.Reload(context.Background()); err != nil {
		s.failed("", "a reload failed: %v", err)
	}
}

// words tells the plan.
func (p *plan) words() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the night of seed %d: %d loops, usual path %+v\n%s\n", p.seed, p.loops, p.path, p.file.text("/var/lib"))
	for _, r := range p.rooms {
		fmt.Fprintf(&b, "%10s %s: %v\n", "", r.name, r.mood)
	}
	for _, a := range p.acts {
		fmt.Fprintf(&b, "%9.3fs %s\n", a.at.Seconds(), a.say)
	}
	return b.String()
}
