package town

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"nines/sip/wire"
)

// WorldConfig describes a world on loopback. The zero value is a good demo.
type WorldConfig struct {
	Rate   float64       // calls a second; 0 is 5
	Talk   time.Duration // how long an answered call talks; 0 is 3 s
	Answer time.Duration // how long a call-taker lets it ring; 0 is 200 ms
	Voice  time.Duration // between two audio packets; 0 is 20 ms
	GiveUp time.Duration // how long the caller waits for an answer; 0 is 30 s
	Number string        // what is dialled; empty is 999
	Other  string        // what every fifth call dials; empty: the same
	Seed   uint64
	TCP    bool // the rooms listen on TCP as well

	net *Network // nil: loopback; tests let years pass in memory
}

// Room is a control room of a world.
type Room struct {
	Name    string
	Addr    netip.AddrPort
	Partner bool
	Alive   bool
}

// World is a telephone network on loopback, all real sockets: a carrier that keeps calling, a primary control room, a standby, and two partner forces on
// sipgo's stack. What stands between carrier and rooms is somebody else's: [World.Start] is told where it listens.
type World struct {
	cfg     WorldConfig
	carrier *Phone
	rooms   []*SipgoPhone // primary, standby, partners
	running sync.WaitGroup
	stop    context.CancelFunc
	placed  chan struct{} // closed when no more calls are placed

	mu       sync.Mutex // guards the tally; the world's goroutines add to it, Stats reads it
	calls    map[string]*WorldCall
	order    []string
	audio    Audio
	started  time.Time
	killed   time.Time
	restored time.Time
	down     bool
}

// WorldCall is one call of the carrier.
type WorldCall struct {
	ID    string
	At    time.Time
	Delay time.Duration // until its 200; 0: none yet
	By    string        // the room that answered
	CutAt time.Time     // it talked to the primary when that died; zero: it did not
	Heard bool          // it was cut, and heard another room afterwards
	Gap   time.Duration // of a call that heard another room: the longest silence its caller heard
	Over  bool
	Ended time.Time
	End   End
	Final int // the last final response

	due     time.Duration // from CutAt on: by then another room should have been heard
	now     int           // senders that its caller has heard
	streams int           // the same when it was cut
	talked  time.Duration // to By
}

// CutFate is what became of a call that talked to the primary when that died.
type CutFate uint8

// The fates.
const (
	NotCut      CutFate = iota
	Waits               // its caller still hears nobody
	Rescued             // it heard another room
	LeftEarly           // its caller, who had said enough, hung up before a rescue was due
	LostTalking         // its caller hung up after that, having heard nobody
	Dropped             // its caller was hung up on, be it cut or not
)

// Fate says what became of a call when its room died.
func (c WorldCall) Fate() CutFate {
	switch {
	case c.Over && c.Delay > 0 && c.End != ByUs:
		return Dropped
	case c.CutAt.IsZero():
		return NotCut
	case c.Heard:
		return Rescued
	case !c.Over:
		return Waits
	case c.Ended.Before(c.CutAt.Add(c.due)):
		return LeftEarly
	}
	return LostTalking
}

// Lost says that the caller got no answer.
func (c WorldCall) Lost() bool { return c.Over && c.Delay == 0 }

// Audio counts packets of all calls that are over.
type Audio struct {
	Sent     int `json:"sent"`
	Received int `json:"received"`
	Changed  int `json:"changed"` // datagrams that are not byte for byte what was sent
	Foreign  int `json:"foreign"` // packets of another call
	Missing  int `json:"missing"` // gaps in what was received
}

func (a *Audio) add(v Voice) {
	a.Sent += v.Sent
	a.Received += v.Heard
	a.Changed += v.Changed
	a.Foreign += v.Foreign
	a.Missing += v.Missing
}

// Stats is what a world has seen so far.
type Stats struct {
	Calls    []WorldCall // in the order they were placed
	Rooms    []Room
	Audio    Audio
	Started  time.Time
	Killed   time.Time // zero: not yet
	Restored time.Time
}

// primary is the first of the rooms.
const primary = 0

// NewWorld opens the sockets of carrier and rooms, each on a loopback address of its own where the system has them.
func NewWorld(cfg WorldConfig) (*World, error) {
	cfg.Rate = cmp.Or(cfg.Rate, 5)
	cfg.Talk = cmp.Or(cfg.Talk, 3*time.Second)
	cfg.Answer = cmp.Or(cfg.Answer, 200*time.Millisecond)
	cfg.Voice = cmp.Or(cfg.Voice, 20*time.Millisecond)
	cfg.GiveUp = cmp.Or(cfg.GiveUp, 30*time.Second)
	cfg.Number = cmp.Or(cfg.Number, "999")
	w := &World{cfg: cfg, calls: make(map[string]*WorldCall), placed: make(chan struct{}), stop: func() {}}
	var err error
	w.carrier, err = at(cfg.net, "carrier", netip.AddrFrom4([4]byte{127, 0, 0, 2}), func(where wire.Network, at netip.AddrPort) (*Phone, error) {
		return NewPhone(PhoneConfig{Name: "carrier", Net: where, Addr: at, Voice: cfg.Voice, Seed: cfg.Seed})
	})
	if err != nil {
		return nil, err
	}
	for i, name := range []string{"primary", "standby", "warwickshire", "staffordshire"} {
		room, err := at(cfg.net, name, netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}), func(where wire.Network, at netip.AddrPort) (*SipgoPhone, error) {
			return NewSipgoPhone(PhoneConfig{Name: name, Net: where, Addr: at, TCP: cfg.TCP, Voice: cfg.Voice, Seed: cfg.Seed + uint64(i), Script: Always(Answers(cfg.Answer))})
		})
		if err != nil {
			w.Close()
			return nil, err
		}
		w.rooms = append(w.rooms, room)
	}
	return w, nil
}

// at opens a phone at an address of loopback, or at 127.0.0.1 where the system has no other; in memory on a host of its own.
func at[P any](n *Network, name string, addr netip.Addr, open func(wire.Network, netip.AddrPort) (P, error)) (P, error) {
	if n != nil {
		b := addr.As4()
		addr = netip.AddrFrom4([4]byte{10, b[1], b[2], b[3]})
		return open(n.Host(name, addr), netip.AddrPortFrom(addr, 5060))
	}
	p, err := open(Kernel{}, netip.AddrPortFrom(addr, 0))
	if err != nil {
		p, err = open(Kernel{}, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))
	}
	return p, err
}

// Carrier is where the calls come from.
func (w *World) Carrier() netip.AddrPort { return w.carrier.Addr() }

// Rooms lists the control rooms: primary, standby, partners.
func (w *World) Rooms() []Room {
	w.mu.Lock()
	down := w.down
	w.mu.Unlock()
	rooms := make([]Room, len(w.rooms))
	for i, r := range w.rooms {
		rooms[i] = Room{Name: r.Name(), Addr: r.Addr(), Partner: i >= 2, Alive: i != primary || !down}
	}
	return rooms
}

// Start lets the carrier call the number at an address until ctx ends, [World.Drain] or [World.Close].
func (w *World) Start(ctx context.Context, nines netip.AddrPort) {
	ctx, w.stop = context.WithCancel(ctx)
	w.mu.Lock()
	w.started = time.Now()
	w.mu.Unlock()
	w.running.Go(func() { // ends with ctx
		defer close(w.placed)
		w.call(ctx, nines)
	})
}

// call places calls at the rate.
func (w *World) call(ctx context.Context, nines netip.AddrPort) {
	t := time.NewTicker(time.Duration(float64(time.Second) / w.cfg.Rate))
	defer t.Stop()
	for n := 0; ; n++ {
		number := w.cfg.Number
		if n%5 == 4 {
			number = cmp.Or(w.cfg.Other, number)
		}
		d := Dial{URI: "sip:" + number + "@" + nines.String(), From: fmt.Sprintf("+441905%06d", n%1_000_000), TalkFor: w.cfg.Talk, CancelAfter: w.cfg.GiveUp}
		if _, err := w.carrier.Place(d); err == nil && n%8 == 7 {
			w.gather()
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// When a caller should hear another room, at the latest, after the primary was killed, or frozen: twice what is promised for 99 of 100.
const (
	dueKilled = 2 * time.Second
	dueFrozen = 10 * time.Second
)

// Kill ends the primary's process: its ports answer with ICMP.
func (w *World) Kill() { w.strike(w.rooms[primary].Kill, dueKilled) }

// Freeze makes the primary a black hole. The audio of its calls stops too.
func (w *World) Freeze() { w.strike(w.rooms[primary].Freeze, dueFrozen) }

// strike takes the primary away and marks the calls that talked to it.
func (w *World) strike(how func(), due time.Duration) {
	w.gather()
	talking := make(map[string]bool)
	for _, r := range w.rooms[primary].Records() {
		if r.State == Talking {
			talking[r.ID] = true
		}
	}
	how()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down, w.killed, w.restored = true, time.Now(), time.Time{}
	for id := range talking {
		if c := w.calls[id]; c != nil && !c.Over {
			c.CutAt, c.due, c.Heard, c.streams = w.killed, due, false, c.now
		}
	}
}

// Restore brings the primary back, without the calls it had when it was killed.
func (w *World) Restore() error {
	if err := w.rooms[primary].Restart(); err != nil {
		return err
	}
	w.rooms[primary].Thaw()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		w.down, w.restored = false, time.Now()
	}
	return nil
}

// Drain places no more calls and waits until those in progress are over, or ctx is.
func (w *World) Drain(ctx context.Context) {
	w.stop()
	if !w.begun() {
		return
	}
	<-w.placed
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		if asked, ringing, talking := w.carrier.Live(); asked+ringing+talking == 0 {
			break
		}
		select {
		case <-t.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	w.gather()
}

func (w *World) begun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.started.IsZero()
}

// Close ends carrier and rooms.
func (w *World) Close() {
	w.stop()
	w.running.Wait()
	w.carrier.Close()
	for _, r := range w.rooms {
		r.Close()
	}
}

// Stats is what has been seen up to now.
func (w *World) Stats() Stats {
	w.gather()
	rooms := w.Rooms()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Stats{Rooms: rooms, Audio: w.audio, Started: w.started, Killed: w.killed, Restored: w.restored, Calls: make([]WorldCall, len(w.order))}
	for i, id := range w.order {
		s.Calls[i] = *w.calls[id]
	}
	return s
}

// gather takes what the phones remember into the tally, and lets them forget what is over.
func (w *World) gather() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.carrier.Sweep() {
		w.audio.add(r.Voice)
		w.placedBy(r)
	}
	for _, r := range w.carrier.Records() {
		w.placedBy(r)
	}
	for _, room := range w.rooms {
		for _, r := range room.Sweep() {
			w.audio.add(r.Voice)
			w.answeredBy(room.Name(), r)
		}
		for _, r := range room.Records() {
			w.answeredBy(room.Name(), r)
		}
	}
}

// placedBy notes what the carrier knows of a call.
func (w *World) placedBy(r Record) {
	c := w.calls[r.ID]
	if c == nil {
		c = &WorldCall{ID: r.ID, At: r.Asked}
		w.calls[r.ID] = c
		w.order = append(w.order, r.ID)
	}
	c.Delay, c.Over = r.Delay(), r.State == Over
	if n := len(r.Finals); n > 0 {
		c.Final = r.Finals[n-1]
	}
	c.End, c.Ended, c.now = r.End, r.Ended, r.Voice.Streams
	if !c.CutAt.IsZero() && c.now > c.streams {
		c.Heard, c.Gap = true, r.Voice.Gap
	}
}

// answeredBy notes what a room knows of a call. Of two rooms that both answered, the one that talked longer is the one that kept it.
func (w *World) answeredBy(room string, r Record) {
	c := w.calls[r.ID]
	if c == nil || r.Answer.IsZero() {
		return
	}
	end := r.Ended
	if end.IsZero() {
		end = time.Now()
	}
	if talked := end.Sub(r.Answer); c.By == "" || c.By == room || talked > c.talked {
		c.By, c.talked = room, talked
	}
}

// Delays are the set-up delays of some calls, in milliseconds.
type Delays struct {
	Calls int     `json:"calls"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// Gaps are the silences that the callers of rescued calls heard, in milliseconds.
type Gaps struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Summary is a world's story in one object.
type Summary struct {
	Placed   int            `json:"placed"`
	Answered map[string]int `json:"answered"` // by room
	Lost     int            `json:"lost"`     // no 200 to the INVITE
	Open     int            `json:"open"`     // neither answered nor over yet

	// The calls that talked to the primary when it died, and what became of them.
	Cut         int   `json:"cut"`
	Rescued     int   `json:"rescued"`      // heard another room afterwards
	LostTalking int   `json:"lost_talking"` // heard nobody any more, until their caller gave up
	Dropped     int   `json:"dropped"`      // answered calls, these and others, whose caller was hung up on
	LeftEarly   int   `json:"left_early"`   // their caller had said enough before a rescue was due
	Waiting     int   `json:"waiting"`      // their caller still waits for a room
	Gap         *Gaps `json:"gap_ms,omitempty"`

	Setup map[string]Delays `json:"setup"` // before, during and after the primary's death; whole is all
	Audio Audio             `json:"audio"`
}

// Summary counts. During is from the primary's death to its return.
func (s Stats) Summary() Summary {
	sum := Summary{Placed: len(s.Calls), Answered: make(map[string]int), Setup: make(map[string]Delays), Audio: s.Audio}
	delays := make(map[string][]time.Duration)
	var gaps []time.Duration
	for _, c := range s.Calls {
		switch {
		case c.Lost():
			sum.Lost++
		case c.Delay == 0:
			sum.Open++
		default:
			sum.Answered[cmp.Or(c.By, "unknown")]++
			delays[s.phase(c.At)] = append(delays[s.phase(c.At)], c.Delay)
			delays["whole"] = append(delays["whole"], c.Delay)
		}
		if !c.CutAt.IsZero() {
			sum.Cut++
		}
		if sum.count(c.Fate()) {
			gaps = append(gaps, c.Gap)
		}
	}
	if len(gaps) > 0 {
		d := measure(gaps)
		sum.Gap = &Gaps{P50: d.P50, P99: d.P99, Max: d.Max}
	}
	for _, phase := range slices.Sorted(maps.Keys(delays)) {
		sum.Setup[phase] = measure(delays[phase])
	}
	return sum
}

// count counts what became of one call and says whether it was rescued.
func (s *Summary) count(f CutFate) (rescued bool) {
	switch f {
	case NotCut:
	case Waits:
		s.Waiting++
	case Rescued:
		s.Rescued++
	case LeftEarly:
		s.LeftEarly++
	case LostTalking:
		s.LostTalking++
	case Dropped:
		s.Dropped++
	}
	return f == Rescued
}

// phase says when a call was placed, seen from the primary.
func (s Stats) phase(at time.Time) string {
	switch {
	case s.Killed.IsZero() || at.Before(s.Killed):
		return "before"
	case s.Restored.IsZero() || at.Before(s.Restored):
		return "during"
	}
	return "after"
}

// measure gives median, 99th percentile (of a few, the greatest) and maximum.
func measure(d []time.Duration) Delays {
	slices.Sort(d)
	at := func(q float64) float64 {
		return float64(d[max(int(math.Ceil(q*float64(len(d))))-1, 0)]) / float64(time.Millisecond)
	}
	return Delays{Calls: len(d), P50: at(0.5), P99: at(0.99), Max: at(1)}
}
