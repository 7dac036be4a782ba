package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"nines/console"
	"nines/health"
	"nines/internal/town"
)

// house is a node between a carrier and two rooms, in memory.
type house struct {
	t       *testing.T
	dir     string
	net     *town.Network
	host    *town.Host
	carrier *town.Phone
	control *town.Phone
	standby *town.Phone
	log     logBook

	node *Node
	stop func()
}

// logBook keeps what a node logs.
type logBook struct {
	mu   sync.Mutex // the node's goroutines write, the test reads
	text strings.Builder
}

func (b *logBook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

const houseFile = `
listen: [udp://10.0.0.1:5060]
media: { address: 10.0.0.1, ports: 20000-20999 }
trunks:
  bt: { from: [192.0.2.10] }
endpoints:
  control-room: { uri: "sip:10.0.1.1:5060", calls: 10 }
  standby-room: { uri: "sip:10.0.1.2:5060", calls: 10 }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby-room] }
  - { name: "101", class: routine, numbers: ["101"], ask: [control-room, standby-room] }
health: { fail_back: probes }
`

func newHouse(t *testing.T, dir string) *house {
	h := &house{t: t, dir: dir, net: town.NewNetwork(1)}
	h.net.Everywhere(town.Path{Delay: 5 * time.Millisecond})
	h.host = h.net.Host("nines", netip.MustParseAddr("10.0.0.1"))
	h.carrier = h.phone("carrier", "192.0.2.10")
	h.control = h.phone("control-room", "10.0.1.1")
	h.standby = h.phone("standby-room", "10.0.1.2")
	h.write(houseFile)
	h.start()
	return h
}

func (h *house) phone(name, addr string) *town.Phone {
	ip := netip.MustParseAddr(addr)
	p, err := town.NewPhone(town.PhoneConfig{
		Name: name, Net: h.net.Host(name, ip), Addr: netip.AddrPortFrom(ip, 5060), Seed: uint64(len(addr) + len(name)), Voice: 100 * time.Millisecond,
		Script: town.Always(town.Answers(100 * time.Millisecond)),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *house) write(file string) {
	text := file + "state: " + h.dir + "/state\nrun: " + h.dir + "/run\n"
	if err := os.WriteFile(filepath.Join(h.dir, "nines.yaml"), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// start runs a node until stop.
func (h *house) start() {
	h.t.Helper()
	node, err := Start(Options{
		ConfigPath: filepath.Join(h.dir, "nines.yaml"), Log: zerolog.New(&h.log), Network: h.host, Loops: 2, Seed: 1, NoConsole: true, Drain: time.Second,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }() // ends with ctx
	h.node = node
	h.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Errorf("the node ended with %v", err)
		}
	}
	time.Sleep(3500 * time.Millisecond) // of the bubble's time: the rooms are probed, and it is not the instant at which the file is looked at
}

func (h *house) close() {
	h.stop()
	for _, p := range []*town.Phone{h.carrier, h.control, h.standby} {
		p.Close()
		for _, w := range p.Wrong() {
			h.t.Errorf("nines said something wrong: %s", w)
		}
	}
}

// call places an emergency call and says who answers it.
func (h *house) call() (c *town.Call, by string) {
	h.t.Helper()
	return h.callTo("999")
}

func (h *house) callTo(number string) (c *town.Call, by string) {
	h.t.Helper()
	c, err := h.carrier.Place(town.Dial{URI: "sip:" + number + "@10.0.0.1:5060"})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Talks(ctx); err != nil {
		h.t.Fatalf("nobody answered: %v", err)
	}
	for _, room := range []*town.Phone{h.control, h.standby} {
		for _, r := range room.Records() {
			if r.ID == c.Record().ID && r.State == town.Talking {
				return c, room.Name()
			}
		}
	}
	return c, "nobody"
}

// answeredBy places a call that ends once it is answered.
func (h *house) answeredBy(want, why string) {
	h.t.Helper()
	c, got := h.call()
	if got != want {
		h.t.Errorf("%s: %s answered, want %s", why, got, want)
	}
	c.Clear()
	synctest.Wait()
}

func (h *house) hold(endpoint, length string) console.HoldResult {
	h.t.Helper()
	r, err := h.node.Hold(h.t.Context(), console.HoldRequest{Endpoint: endpoint, For: length, Why: "power work", By: "alice"})
	if err != nil {
		h.t.Fatalf("hold %s: %v", endpoint, err)
	}
	return r
}

func (h *house) release(endpoint string) console.ReleaseResult {
	h.t.Helper()
	r, err := h.node.Release(h.t.Context(), endpoint, "bob")
	if err != nil {
		h.t.Fatalf("release %s: %v", endpoint, err)
	}
	return r
}

// held names who is held.
func (h *house) held() string {
	h.t.Helper()
	l, err := h.node.Holds(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for _, x := range l.Holds {
		names = append(names, x.Endpoint)
	}
	return strings.Join(names, " ")
}

// play gives a test a house of its own and the bubble's time.
func play(t *testing.T, story func(t *testing.T, h *house)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dir)
		defer h.close()
		story(t, h)
	})
}

func TestAHeldEndpointIsAskedLastAndKeepsItsCalls(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		talking, by := h.call()
		if by != "control-room" {
			t.Fatalf("%s answered the first call, want control-room", by)
		}
		r := h.hold("control-room", "2h")
		if r.NotKept != "" || r.Replaced != nil || r.Hold.LeftSeconds < 7199-1 {
			t.Errorf("the hold was answered with %+v", r)
		}
		h.answeredBy("standby-room", "control-room is held")
		time.Sleep(time.Minute)
		if s := talking.Record().State; s != town.Talking {
			t.Errorf("the call that talked to the held room is %v; holds end no call", s)
		}
		talking.Clear()

		h.hold("standby-room", "1h")
		h.answeredBy("control-room", "both are held: the file's order counts, and somebody is asked")
		h.control.Script(town.Always(town.Refuses(503, 0)))
		h.answeredBy("standby-room", "both are held and one refuses: the other is in the plan")
		h.control.Script(town.Always(town.Answers(100 * time.Millisecond)))

		if r := h.release("control-room"); r.Hold == nil || r.Hold.By != "alice" {
			t.Errorf("the release was answered with %+v; want whose hold it ended", r)
		}
		time.Sleep(10 * time.Second) // the refusal had made it suspect
		h.answeredBy("control-room", "it was released")
		h.release("standby-room")
		if got := h.held(); got != "" {
			t.Errorf("%s still held", got)
		}
	})
}

func TestAHoldEndsByItself(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		h.hold("control-room", "20m")
		time.Sleep(12 * time.Minute)
		h.answeredBy("standby-room", "eight minutes are left")
		said := "control-room: hold by alice ends at "
		if notices := strings.Join(h.node.Status().Notices, "\n"); strings.Contains(notices, said) {
			t.Errorf("with eight minutes of twenty left there is no warning yet: %q", notices)
		}
		time.Sleep(4 * time.Minute)
		if notices := strings.Join(h.node.Status().Notices, "\n"); !strings.Contains(notices, said) {
			t.Errorf("the status says %q, want the warning that the hold ends", notices)
		}
		time.Sleep(5 * time.Minute)
		if got := h.held(); got != "" {
			t.Errorf("%s held after the end", got)
		}
		if notices := strings.Join(h.node.Status().Notices, "\n"); !strings.Contains(notices, "control-room: hold by alice has ended") || strings.Contains(notices, said) {
			t.Errorf("the status says %q, want that the hold has ended, and no warning of it", notices)
		}
		h.answeredBy("control-room", "the hold has ended")
		for _, sentence := range []string{"held by alice until", "ends at", "has ended", `"an operator holds an endpoint"`} {
			if !strings.Contains(h.log.String(), sentence) {
				t.Errorf("the log does not say %q", sentence)
			}
		}
		time.Sleep(2 * time.Second)
		if s, err := readMemory(h.node.memory.path); err != nil || len(s.Holds) != 0 {
			t.Errorf("the file says %+v, %v; want no hold any more", s, err)
		}
	})
}

// TestAHoldThatRunsOutIsFollowedByProof: R17. Nobody said that the room is ready; routine calls prove it, then emergency calls go there.
func TestAHoldThatRunsOutIsFollowedByProof(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		h.write(strings.NewReplacer("fail_back: probes", "fail_back: auto").Replace(houseFile))
		if r, err := h.node.Reload(t.Context()); err != nil || !r.Accepted {
			t.Fatalf("the reload: %+v, %v", r, err)
		}
		h.hold("control-room", "1m")
		time.Sleep(61 * time.Second)
		h.answeredBy("standby-room", "the hold has run out, and nothing proves that somebody sits there")
		st := h.node.Status()
		if e, _ := st.Endpoint("control-room"); !e.Returning || e.Held || !strings.Contains(e.WhatBringsBack, "3 routine calls") {
			t.Errorf("the status of the room is %+v; want that it is returning, and what brings it back", e)
		}
		for range 3 {
			c, by := h.callTo("101")
			if by != "control-room" {
				t.Errorf("%s answered a routine call, want control-room: it proves the room", by)
			}
			time.Sleep(15 * time.Second)
			c.Clear()
			synctest.Wait()
		}
		h.answeredBy("control-room", "three routine calls have proven it")
		h.hold("control-room", "1m")
		time.Sleep(61 * time.Second)
		h.release("control-room")
		h.answeredBy("control-room", "an operator speaks for it")
	})
}

// TestWhatCallsShowedOutlivesARestart: R45. The room answers OPTIONS and refuses every call; a restart must not make callers find that out anew.
func TestWhatCallsShowedOutlivesARestart(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		h.control.Script(town.Always(town.Refuses(503, 0)))
		for caller := range 4 {
			c, err := h.carrier.Place(town.Dial{URI: "sip:999@10.0.0.1:5060", From: fmt.Sprintf("+44190533199%d", caller)})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Talks(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.Clear()
			synctest.Wait()
		}
		st := h.node.Status()
		if e, _ := st.Endpoint("control-room"); e.Verdict != "down" || len(e.RecentCalls) == 0 || e.RecentCalls[0].Outcomes["failed 503"] == 0 {
			t.Fatalf("after four refusals the room is %+v; want it down, and the refusals counted", e)
		}
		time.Sleep(2 * time.Second)
		asked := h.control.Heard("INVITE")
		h.stop()
		h.start()
		st = h.node.Status()
		if e, _ := st.Endpoint("control-room"); e.Verdict != "down" {
			t.Errorf("after the restart the room is %s (%s); OPTIONS alone do not lift what calls showed", e.Verdict, e.Explanation)
		}
		h.answeredBy("standby-room", "the room was down before the restart")
		if now := h.control.Heard("INVITE"); now != asked {
			t.Errorf("the room was asked %d times after the restart; the caller must not pay for what is known", now-asked)
		}
	})
}

func TestAHoldOutlivesARestart(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		h.hold("control-room", "1h")
		h.stop()
		time.Sleep(20 * time.Minute)
		h.start()
		l, err := h.node.Holds(t.Context())
		if err != nil || len(l.Holds) != 1 {
			t.Fatalf("after the restart holds are %+v, %v", l, err)
		}
		if got := l.Holds[0]; got.By != "alice" || got.Why != "power work" || got.LeftSeconds < 39*60 || got.LeftSeconds > 40*60 {
			t.Errorf("after twenty minutes of one hour the hold is %+v; want forty minutes left", got)
		}
		h.answeredBy("standby-room", "control-room is held since before the restart")
		h.release("control-room")
		h.stop()
		h.start()
		if got := h.held(); got != "" {
			t.Errorf("%s is held again, although it was released before the restart", got)
		}
		h.answeredBy("control-room", "it was released before the restart")
	})
}

func TestAHoldThatEndedDuringTheStopIsToldAsEnded(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		h.hold("control-room", "10m")
		h.stop()
		time.Sleep(20 * time.Minute)
		h.start()
		if got := h.held(); got != "" {
			t.Errorf("%s is held after the end", got)
		}
		if notices := strings.Join(h.node.Status().Notices, "\n"); !strings.Contains(notices, "hold by alice has ended") {
			t.Errorf("the status says %q, want that the hold ended", notices)
		}
	})
}

func TestAHoldOfAnEndpointThatIsGoneEnds(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		h.hold("standby-room", "1h")
		h.write(strings.NewReplacer("  standby-room: { uri: \"sip:10.0.1.2:5060\", calls: 10 }\n", "", ", standby-room", "").Replace(houseFile))
		if r, err := h.node.Reload(t.Context()); err != nil || !r.Accepted {
			t.Fatalf("the reload: %+v, %v", r, err)
		}
		time.Sleep(2 * time.Second)
		if got := h.held(); got != "" {
			t.Errorf("%s is held and not configured", got)
		}
		if s, err := readMemory(h.node.memory.path); err != nil || len(s.Holds) != 0 {
			t.Errorf("the file says %+v, %v; want no hold any more", s, err)
		}
	})
}

func TestADamagedFileStartsWithoutHoldsAndSaysSo(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		h.hold("control-room", "1h")
		h.stop()
		path := h.node.memory.path
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b[:len(b)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		h.start()
		if got := h.held(); got != "" {
			t.Errorf("%s is held by half a file", got)
		}
		if notices := strings.Join(h.node.Status().Notices, "\n"); !strings.Contains(notices, "could not be read, and nobody is held") || !strings.Contains(notices, ".corrupt-") {
			t.Errorf("the status says %q, want that the holds are lost and where the file is", notices)
		}
		if !strings.Contains(h.log.String(), "nobody is held; hold again what must be") {
			t.Error("the log does not say that the holds are lost")
		}
		aside, err := filepath.Glob(path + ".corrupt-*")
		if err != nil || len(aside) != 1 {
			t.Fatalf("moved aside: %v, %v; want one file", aside, err)
		}
		if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != string(b[:len(b)/2]) {
			t.Errorf("the file that was moved aside has changed: %v", err)
		}
		h.hold("control-room", "1h")
		h.stop()
		h.start()
		if got := h.held(); got != "control-room" {
			t.Errorf("held is %q; a new hold is kept again", got)
		}
	})
}

// TestAFullDiskCostsTheRestartNotTheHold puts a device in the file's way that is always full.
func TestAFullDiskCostsTheRestartNotTheHold(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no device that is always full")
	}
	play(t, func(t *testing.T, h *house) {
		fresh := h.node.memory.path + ".new"
		if err := os.Symlink("/dev/full", fresh); err != nil {
			t.Fatal(err)
		}
		r := h.hold("control-room", "1h")
		if !strings.Contains(r.NotKept, "no space left on device") {
			t.Errorf("not kept: %q; want the disk's words", r.NotKept)
		}
		h.answeredBy("standby-room", "the hold is in force all the same")
		if l, err := h.node.Holds(t.Context()); err != nil || l.NotKept == "" {
			t.Errorf("holds are %+v, %v; want that they are not kept", l, err)
		}
		if notices := strings.Join(h.node.Status().Notices, "\n"); !strings.Contains(notices, "a restart goes back to those before") {
			t.Errorf("the status says %q, want that holds are not written down", notices)
		}
		time.Sleep(15 * time.Second) // the full device went with the first attempt
		if l, err := h.node.Holds(t.Context()); err != nil || l.NotKept != "" {
			t.Errorf("holds are %+v, %v; want that they were written down when the disk had room", l, err)
		}
		if s, err := readMemory(h.node.memory.path); err != nil || len(s.Holds) != 1 {
			t.Errorf("the file says %+v, %v", s, err)
		}
	})
}

// TestAFolderThatTakesNoFileCostsTheRestartNotTheHold puts a file where the state folder should be: that stops root as well.
func TestAFolderThatTakesNoFileCostsTheRestartNotTheHold(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		state := filepath.Dir(h.node.memory.path)
		if err := os.RemoveAll(state); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(state, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := h.hold("control-room", "1h"); !strings.Contains(r.NotKept, "not a directory") {
			t.Errorf("not kept: %q; want why", r.NotKept)
		}
		h.answeredBy("standby-room", "the hold is in force all the same")
		if r := h.release("control-room"); !strings.Contains(r.NotKept, "not a directory") {
			t.Errorf("the release was answered with %+v; want that the file still says the hold", r)
		}
	})
}

func TestHoldsThatMakeNoSenseAreRefused(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		long := strings.Repeat("x", 300)
		tests := []struct{ endpoint, length, why, by, says string }{
			{"kontrol-room", "2h", "w", "a", `no endpoint is called "kontrol-room"; did you mean "control-room"?`},
			{"zzz", "2h", "w", "a", `no endpoint is called "zzz"; the endpoints are control-room and standby-room`},
			{"", "2h", "w", "a", `no endpoint is called ""`},
			{"control-room", "", "w", "a", "for how long? Say 30m, 2h or 1d, at most 7d"},
			{"control-room", "2", "w", "a", `for "2" has no unit: say 30m, 2h or 1d, at most 7d`},
			{"control-room", "-2h", "w", "a", `for "-2h" is negative`},
			{"control-room", "soon", "w", "a", `for "soon" is no duration`},
			{"control-room", "0", "w", "a", `for "0" is too short: at least 1s`},
			{"control-room", "7d1s", "w", "a", `for "7d1s" is too long: at most 7d`},
			{"control-room", "99999999999h", "w", "a", `is no duration`},
			{"control-room", "2h", " ", "a", `why? Say it, for instance "power work"`},
			{"control-room", "2h", "w", "", `by? Say it, for instance "alice"`},
			{"control-room", "2h", "two\nlines", "a", "why must be plain text on one line"},
			{"control-room", "2h", "w", "\x1b[31mroot", "by must be plain text on one line"},
			{"control-room", "2h", "\xff", "a", "why must be plain text on one line"},
			{"control-room", "2h", long, "a", "why has more than 200 letters"},
			{"control-room", "2h", "w", long, "by has more than 64 letters"},
		}
		for _, tt := range tests {
			_, err := h.node.Hold(t.Context(), console.HoldRequest{Endpoint: tt.endpoint, For: tt.length, Why: tt.why, By: tt.by})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("hold %q for %q, %q by %q: %v; want %q", tt.endpoint, tt.length, tt.why, tt.by, err, tt.says)
			}
		}
		if got := h.held(); got != "" {
			t.Errorf("%s is held after refusals only", got)
		}
		for _, tt := range []struct{ endpoint, by, says string }{
			{"control-room", "bob", "neither held nor down"},
			{"control-rom", "bob", `did you mean "control-room"?`},
			{"control-room", "", "by? Say it"},
		} {
			if _, err := h.node.Release(t.Context(), tt.endpoint, tt.by); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("release %q by %q: %v; want %q", tt.endpoint, tt.by, err, tt.says)
			}
		}
	})
}

func TestTheLongestHoldAndAReplacedOne(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		if r := h.hold("control-room", "7d"); r.Hold.LeftSeconds < 7*86400-2 {
			t.Errorf("seven days were cut to %d s", r.Hold.LeftSeconds)
		}
		r, err := h.node.Hold(t.Context(), console.HoldRequest{Endpoint: "control-room", For: "1d12h", Why: "new plan", By: "bob"})
		if err != nil || r.Replaced == nil || r.Replaced.By != "alice" || r.Hold.By != "bob" || r.Hold.LeftSeconds > 36*3600 {
			t.Errorf("the second hold gave %+v, %v; want that it replaced alice's", r, err)
		}
		if got := h.held(); got != "control-room" {
			t.Errorf("held is %q, want control-room once", got)
		}
	})
}

// TestAClockThatIsSetMovesNoEnd: R45. The hold was set at now for an hour; a quarter of an hour later the clock on the wall is set a day forward.
func TestAClockThatIsSetMovesNoEnd(t *testing.T) {
	then := time.Now()
	h := oneHold(then)
	m := &memory{written: stateOf(h), at: then, wall: then.Round(0)}
	now := then.Add(15 * time.Minute)
	if m.clockSet(now, now.Round(0)) {
		t.Error("a quarter of an hour that went by was taken for a clock that was set")
	}
	wall := now.Round(0).Add(24 * time.Hour)
	if !m.clockSet(now, wall) {
		t.Error("the clock was set, and the file stays as it is: after a restart the hold would have ended")
	}
	got := byWall(now, wall, stateOf(h)).Holds[0]
	if left := got.Until.Sub(wall); left != 45*time.Minute {
		t.Errorf("by the new clock %v are left, want 45m", left)
	}
	if h.Until.Sub(now) != 45*time.Minute {
		t.Error("the hold itself was changed")
	}
}

func oneHold(now time.Time) health.Hold {
	return health.Hold{Endpoint: "control-room", By: "alice", Why: "power work", From: now, Until: now.Add(time.Hour)}
}

func stateOf(holds ...health.Hold) health.State { return health.State{Holds: holds} }

func TestTwoActsAtOnceAreBothKept(t *testing.T) {
	play(t, func(t *testing.T, h *house) {
		done := make(chan error, 2)
		for _, name := range []string{"control-room", "standby-room"} {
			go func() { // ends with its hold
				_, err := h.node.Hold(t.Context(), console.HoldRequest{Endpoint: name, For: "1h", Why: "storm", By: "alice"})
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		s, err := readMemory(h.node.memory.path)
		if err != nil || len(s.Holds) != 2 {
			t.Errorf("the file says %+v, %v; want both holds", s, err)
		}
	})
}

func TestAWriteThatDiesHalfwayLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), memoryName)
	now := time.Now()
	first := byWall(now, now.Round(0), stateOf(oneHold(now)))
	if err := writeMemory(path, first); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("half a fi"), 0o600); err != nil { // what a kill -9 leaves
		t.Fatal(err)
	}
	if s, err := readMemory(path); err != nil || len(s.Holds) != 1 {
		t.Errorf("with half a new file beside it the old one reads %+v, %v", s, err)
	}
	if err := writeMemory(path, stateOf()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v; want the file alone", left, err)
	}
}

func TestAFileThatIsNoneOfOursIsNotRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty": "", "garbage": "\x00\xff", "old JSON": `[{"endpoint":"control-room"}]`, "huge": strings.Repeat("x", maxMemory+1),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := readMemory(path); err == nil {
			t.Errorf("%s was read as %+v", name, s)
		}
	}
	if _, err := readMemory(dir); err == nil {
		t.Error("a folder was read as a file")
	}
}

// TestADiskThatHangsDoesNotHoldUpTheOperator has nobody at the file, as when a write never returns.
func TestADiskThatHangsDoesNotHoldUpTheOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory("", nil, zerolog.Nop())
		begin := time.Now()
		err := m.file.write(t.Context())
		if !errors.Is(err, errSlowDisk) || m.file.lost() == "" {
			t.Errorf("got %v, lost %q; want that the disk does not answer", err, m.file.lost())
		}
		if took := time.Since(begin); took != memoryWait {
			t.Errorf("the operator waited %v, want %v", took, memoryWait)
		}
	})
}
