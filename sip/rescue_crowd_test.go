package sip_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nines/health"
	"nines/internal/town"
	"nines/policy"
	"nines/sip"
	"nines/sip/wire"
)

// crowd places so many calls, each from a number of its own, and waits until they talk.
func (w *ward) crowd(number string, calls int, every time.Duration) []*town.Call {
	w.t.Helper()
	placed := make([]*town.Call, calls)
	for i := range placed {
		c, err := w.carrier.Place(town.Dial{URI: "sip:" + number + "@" + nodeAddr + ":5060", From: fmt.Sprintf("+4419050%05d", i)})
		if err != nil {
			w.t.Fatal(err)
		}
		placed[i] = c
		time.Sleep(every)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range placed {
		if err := c.Talks(ctx); err != nil {
			w.t.Fatal(err)
		}
	}
	return placed
}

// ended counts the calls that are over.
func ended(calls []*town.Call) int {
	n := 0
	for _, c := range calls {
		if c.Record().End != town.NotYet {
			n++
		}
	}
	return n
}

// TestABurstOfByesIsALoss: R23. A PBX that is switched off says BYE to all its calls and is gone; none of the callers hears of it.
func TestABurstOfByesIsALoss(t *testing.T) {
	inWardOf(t, 100*time.Millisecond, nil, nil, func(w *ward) {
		calls := w.crowd("999", 30, 10*time.Millisecond)
		time.Sleep(4 * time.Second)
		for _, c := range w.rooms["control-room"].Calls() {
			c.Clear()
		}
		time.Sleep(5 * time.Millisecond) // the last BYE has left
		w.rooms["control-room"].Kill()
		time.Sleep(3 * time.Second)
		if n := ended(calls); n != 0 {
			t.Errorf("%d of %d callers were hung up by a dying PBX", n, len(calls))
		}
		if n := w.talking("standby-room"); n != len(calls) {
			t.Errorf("the standby talks to %d callers, want all %d", n, len(calls))
		}
	})
}

// TestABurstOfByesOfALivingRoomIsPassedOn: a team that ends a conference, or a PBX that is drained, means it.
func TestABurstOfByesOfALivingRoomIsPassedOn(t *testing.T) {
	inWardOf(t, 100*time.Millisecond, nil, nil, func(w *ward) {
		calls := w.crowd("999", 30, 10*time.Millisecond)
		time.Sleep(4 * time.Second)
		began := time.Now()
		for _, c := range w.rooms["control-room"].Calls() {
			c.Clear()
		}
		time.Sleep(3 * time.Second)
		for _, c := range calls {
			if r := c.Record(); r.End != town.ByPeer || r.Ended.Sub(began) > 700*time.Millisecond {
				t.Errorf("the room lives and hung up, but its caller's call: %v after %v; want BYE within 700 ms", r.End, r.Ended.Sub(began))
			}
		}
		if n := w.server.Counters().Rescues; n != 0 || w.rooms["standby-room"].Heard("INVITE") != 0 {
			t.Errorf("%d rescues, %d INVITEs to the standby; nobody was lost", n, w.rooms["standby-room"].Heard("INVITE"))
		}
	})
}

// TestAnOrdinaryByeIsPassedOnAtOnce: one call-taker who hangs up ends one call, in a busy room too.
func TestAnOrdinaryByeIsPassedOnAtOnce(t *testing.T) {
	for _, others := range []int{0, 1, 20} {
		inWardOf(t, 100*time.Millisecond, nil, nil, func(w *ward) {
			calls := w.crowd("999", others+1, 10*time.Millisecond)
			time.Sleep(4 * time.Second)
			began := time.Now()
			w.rooms["control-room"].Calls()[others].Clear()
			time.Sleep(2 * time.Second)
			if r := calls[others].Record(); r.End != town.ByPeer || r.Ended.Sub(began) > 700*time.Millisecond {
				t.Errorf("with %d other calls: %v after %v; want BYE within 700 ms", others, r.End, r.Ended.Sub(began))
			}
			if n := ended(calls[:others]); n != 0 || w.server.Counters().Rescues != 0 {
				t.Errorf("with %d other calls: %d of them ended, %d rescues; want none", others, n, w.server.Counters().Rescues)
			}
		})
	}
}

// TestRescuesDoNotStampedeASmallPartner: R7. Two rooms die, one after the other, with a hundred calls, and the only one left is a partner with 12 slots.
// A third of them stays free for new emergency calls, the others wait; whoever has waited longest is next.
func TestRescuesDoNotStampedeASmallPartner(t *testing.T) {
	const calls, slots, rescued = 50, 12, 12 - 12/3
	inWardOf(t, 500*time.Millisecond, nil, func(r *sip.Routing) {
		second := r.Routes[0]
		second.Name, second.Numbers = "112", []string{"112"}
		r.Routes[0].Ask = [][]policy.EndpointName{{"control-room"}, {"partner"}}
		second.Ask = [][]policy.EndpointName{{"standby-room"}, {"partner"}}
		r.Routes = append(r.Routes, second)
		for i := range r.Endpoints {
			r.Endpoints[i].Calls = 1000
			if r.Endpoints[i].Name == "partner" {
				r.Endpoints[i].Calls = slots
			}
		}
	}, func(w *ward) {
		older, younger := w.crowd("999", calls, 10*time.Millisecond), w.crowd("112", calls, 10*time.Millisecond)
		time.Sleep(4 * time.Second)
		most := 0
		look := func(d time.Duration) {
			for range d / (50 * time.Millisecond) {
				time.Sleep(50 * time.Millisecond)
				a, b, c := w.rooms["partner"].Live()
				most = max(most, a+b+c)
			}
		}
		w.rooms["control-room"].Kill()
		look(5 * time.Second)
		w.rooms["standby-room"].Kill()
		look(10 * time.Second)
		if n := w.talking("partner"); n != rescued {
			t.Errorf("the partner talks to %d rescued callers; want %d of its %d slots filled", n, rescued, slots)
		}
		// Its call-takers get free one by one, until all of the first room's callers and some of the second's are served.
		const cleared = calls + 10
		for n := range cleared {
			for _, c := range w.rooms["partner"].Calls() {
				if c.Record().End == town.NotYet {
					c.Clear()
					break
				}
			}
			look(1500 * time.Millisecond)
			if got := w.talking("partner"); got != rescued {
				t.Fatalf("after %d of its calls ended the partner has %d; want that the next one waits no longer than a second and a half", n+1, got)
			}
		}
		if most > slots {
			t.Errorf("the partner had %d calls at once; it has %d slots", most, slots)
		}
		if heard := w.rooms["partner"].Heard("INVITE"); heard != rescued+cleared {
			t.Errorf("the partner heard %d INVITEs; want one for each of the %d calls that it could take", heard, rescued+cleared)
		}
		waits := map[string]bool{}
		for _, c := range older {
			waits[c.Record().ID] = true
		}
		for i, r := range w.rooms["partner"].Records() {
			if i < calls && !waits[r.ID] {
				t.Errorf("number %d that was served had waited five seconds less than others that were not", i+1)
			}
		}
		if n := ended(append(older, younger...)); n != cleared {
			t.Errorf("%d callers were hung up, want the %d whose call-taker did", n, cleared)
		}
	})
}

// TestABurstOfRescuesDoesNotDrownASlowStandby: a standby takes ten milliseconds for an INVITE and one for anything else. Two hundred at once would keep the
// last for two seconds, and look dead; asked at its pace it takes them all, nobody else is asked, and it is never suspected.
func TestABurstOfRescuesDoesNotDrownASlowStandby(t *testing.T) {
	const calls = 200
	inWardOf(t, 500*time.Millisecond, nil, nil, func(w *ward) {
		w.rooms["standby-room"].Close()
		delete(w.rooms, "standby-room")
		slow := newSlowRoom(w.t, w.hosts["standby-room"], 10*time.Millisecond)
		placed := w.crowd("999", calls, 5*time.Millisecond)
		time.Sleep(4 * time.Second)
		w.rooms["control-room"].Kill()
		worst := health.Up
		for range 40 { // after five seconds it counts that it sends no audio
			time.Sleep(100 * time.Millisecond)
			if v := w.server.Snapshot().Of("standby-room").Verdict; v != health.Up {
				worst = v
			}
		}
		if got := int(slow.answered.Load()); got != calls {
			t.Errorf("the standby took %d calls of %d", got, calls)
		}
		if got := slow.late.Load(); got != 0 {
			t.Errorf("the standby was late with %d INVITEs, by a second or more", got)
		}
		if worst != health.Up {
			t.Errorf("the standby was believed to be %v; it was busy with our own rescues", worst)
		}
		if n := w.rooms["partner"].Heard("INVITE"); n != 0 {
			t.Errorf("the partner got %d INVITEs; the standby could take them all", n)
		}
		if n := ended(placed); n != 0 {
			t.Errorf("%d callers were hung up", n)
		}
	})
}

// TestNewCallsDoNotWaitBehindRescues: R7, R21. While three hundred rescues ask the slow standby a new call is asked there at once, and finds no longer queue
// than the standby can work off within its patience.
func TestNewCallsDoNotWaitBehindRescues(t *testing.T) {
	inWardOf(t, 500*time.Millisecond, nil, nil, func(w *ward) {
		w.rooms["standby-room"].Close()
		delete(w.rooms, "standby-room")
		newSlowRoom(w.t, w.hosts["standby-room"], 12*time.Millisecond)
		w.crowd("999", 300, 5*time.Millisecond)
		time.Sleep(4 * time.Second)
		w.rooms["control-room"].Kill()
		time.Sleep(900 * time.Millisecond) // the rescues are under way
		c, err := w.carrier.Place(town.Dial{URI: "sip:999@" + nodeAddr + ":5060", From: "+441905999999"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Talks(ctx); err != nil {
			t.Fatal(err)
		}
		if d := c.Record().Delay(); d > time.Second {
			t.Errorf("the new call was answered after %v; want that it waits for no more INVITEs than the standby has before it", d)
		}
		if n := w.rooms["partner"].Heard("INVITE"); n != 0 {
			t.Errorf("the partner got %d INVITEs; the standby was there", n)
		}
	})
}

// TestEmergencyIsRescuedBeforeRoutine: R21. Calls of both classes lose their room at once, and the standby is slow: once rescues wait for it, no routine
// one is asked while an emergency one waits.
func TestEmergencyIsRescuedBeforeRoutine(t *testing.T) {
	const each = 60
	inWardOf(t, 50*time.Millisecond, nil, func(r *sip.Routing) {
		second := r.Routes[0]
		second.Name, second.Numbers, second.Class = "101", []string{"101"}, policy.Routine
		r.Routes = append(r.Routes, second)
	}, func(w *ward) {
		w.rooms["standby-room"].Close()
		delete(w.rooms, "standby-room")
		slow := newSlowRoom(w.t, w.hosts["standby-room"], 15*time.Millisecond)
		w.crowd("101", each, 5*time.Millisecond) // they talk longer, and are no more urgent for that
		w.crowd("999", each, 5*time.Millisecond)
		time.Sleep(4 * time.Second)
		w.rooms["control-room"].Kill()
		time.Sleep(10 * time.Second)
		var order []string
		for {
			select {
			case number := <-slow.order:
				order = append(order, number)
				continue
			default:
			}
			break
		}
		if len(order) != 2*each {
			t.Fatalf("the standby got %d calls, want %d", len(order), 2*each)
		}
		last := 0
		for i, number := range order {
			if number == "999" {
				last = i + 1
			}
		}
		ahead := last - each // routine calls that were asked before the last emergency one
		t.Logf("%d of %d routine calls went before the last emergency call", ahead, each)
		if ahead > 36 { // those that could go at once, before anybody waited
			t.Errorf("%d routine calls were asked before the last emergency call; want no more than could go before any had to wait", ahead)
		}
	})
}

// slowRoom is a PBX that does one thing at a time.
type slowRoom struct {
	answered, late atomic.Int32
	order          chan string // the called numbers, in the order in which they came
}

func newSlowRoom(t *testing.T, h *town.Host, takes time.Duration) *slowRoom {
	t.Helper()
	conn, err := h.ListenPacket(netip.AddrPortFrom(h.Addr(), 5060))
	if err != nil {
		t.Fatal(err)
	}
	r := &slowRoom{order: make(chan string, 1000)}
	gone, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(gone)
		_ = conn.Close()
		<-done
	})
	type job struct {
		m    *wire.Message
		from net.Addr
		at   time.Time
	}
	jobs := make(chan job, 10000)
	go func() { // ends with the socket
		defer close(jobs)
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if m, err := wire.Parse(bytes.Clone(buf[:n])); err == nil && m.IsRequest() {
				jobs <- job{m, from, time.Now()}
			}
		}
	}()
	go func() { // ends with jobs
		defer close(done)
		known := map[string]bool{}
		for j := range jobs {
			select {
			case <-gone:
				continue
			default:
			}
			body, contact := "", ""
			if j.m.Method == "INVITE" {
				time.Sleep(takes)
				contact = "Contact: <sip:slow@" + h.Addr().String() + ":5060>\r\nContent-Type: application/sdp\r\n"
				body = fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio 50000 RTP/AVP 8 0\r\n", h.Addr())
				if !known[j.m.CallID] {
					r.answered.Add(1)
					number, _, _ := strings.Cut(strings.TrimPrefix(j.m.URI, "sip:"), "@")
					r.order <- number
				}
				known[j.m.CallID] = true
				if time.Since(j.at) >= time.Second {
					r.late.Add(1)
				}
			} else {
				time.Sleep(takes / 10)
			}
			if j.m.Method == "ACK" {
				continue
			}
			to := j.m.To
			if j.m.ToTag == "" {
				to += ";tag=slow"
			}
			via, _ := j.m.Get("Via")
			reply := fmt.Sprintf("SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n%sContent-Length: %d\r\n\r\n%s",
				via, j.m.From, to, j.m.CallID, j.m.CSeq, j.m.Method, contact, len(body), body)
			_, _ = conn.WriteTo([]byte(reply), j.from)
		}
	}()
	return r
}
