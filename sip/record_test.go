package sip_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nines/health"
	"nines/internal/town"
	"nines/policy"
	"nines/sip"
)

var update = flag.Bool("update", false, "rewrite testdata/records/*.txt with what is told now")

// clerk is an observer that writes down what it is told.
type clerk struct {
	mu    sync.Mutex
	told  []sip.Record
	keeps func(sip.Record) bool // nil: all but messages
}

func (c *clerk) Recorded(r sip.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keeps == nil && r.Kind != sip.CallMessage || c.keeps != nil && c.keeps(r) {
		c.told = append(c.told, r)
	}
}

// all is what it was told so far.
func (c *clerk) all() []sip.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

func (*clerk) CallBegan(policy.TrunkName, policy.RouteName)                                    {}
func (*clerk) CallAnswered(policy.RouteName, policy.Class, policy.EndpointName, time.Duration) {}
func (*clerk) CallFailed(policy.RouteName, policy.Class, int)                                  {}
func (*clerk) CallOver(policy.TrunkName, policy.RouteName, bool)                               {}
func (*clerk) Rescued(policy.RouteName, policy.Class, policy.EndpointName, time.Duration)      {}
func (*clerk) Attempted(policy.EndpointName, string)                                           {}
func (*clerk) Probed(health.Probe)                                                             {}
func (*clerk) Heard(policy.TrunkName)                                                          {}
func (*clerk) Noticed(health.Notice)                                                           {}

// story is what was told of calls, a line each, with the seconds since the first came in: no finer, for a packet of voice that comes as we look may be seen or not. What loop 0 tells of endpoints is left out: at the same
// instant it may come before or after.
func (c *clerk) story() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	var began time.Time
	names := map[string]int{}
	for _, r := range c.told {
		if r.Call == "" {
			continue
		}
		if began.IsZero() {
			began = r.At
		}
		if names[r.Call] == 0 {
			names[r.Call] = len(names) + 1
		}
		fmt.Fprintf(&b, "%7.1f call %d %s\n", r.At.Sub(began).Seconds(), names[r.Call], told(r))
	}
	return b.String()
}

// random is what differs from one version of a test's network to the next.
var random = regexp.MustCompile(`n[0-9a-z]+-[0-9a-z]+-[0-9a-z]+-[0-9a-z]{12,13}`)

// told is a record in one line.
func told(r sip.Record) string {
	var b strings.Builder
	b.WriteString(kindName(r.Kind))
	say := func(name string, v any) {
		if s := fmt.Sprint(v); s != "" && s != "0" && s != "0s" && s != "false" {
			fmt.Fprintf(&b, " %s=%s", name, s)
		}
	}
	say("trunk", r.Trunk)
	say("caller", r.Caller)
	say("called", r.Called)
	say("endpoint", r.Endpoint)
	say("attempt", r.Attempt)
	say("partner", r.Partner)
	say("outcome", r.Outcome)
	say("code", r.Code)
	if r.Kind != sip.CallHeard {
		say("took", r.Took.Round(100*time.Millisecond))
	}
	say("malformed", r.Malformed)
	say("second_line", r.SecondLine)
	for _, s := range r.Plan {
		fmt.Fprintf(&b, " [%s: %s]", s.Endpoint, s.Why)
	}
	if r.Kind == sip.CallMedia {
		fmt.Fprintf(&b, " caller_heard=%v endpoint_heard=%v", r.Media[0].Packets > 0, r.Media[1].Packets > 0)
	}
	say("what", r.What)
	if r.Why != "" {
		fmt.Fprintf(&b, ": %s", r.Why)
	}
	return random.ReplaceAllString(inUTC(b.String(), r.At), "~")
}

var ofTheDay = regexp.MustCompile(`\b\d\d:\d\d:\d\d\.\d{3}\b`)

// inUTC turns times of the day, which are told as the clock on the wall of this machine shows them, into those of a machine that keeps UTC.
func inUTC(text string, day time.Time) string {
	return ofTheDay.ReplaceAllStringFunc(text, func(clock string) string {
		const form = "15:04:05.000"
		at, err := time.ParseInLocation(time.DateOnly+" "+form, day.Local().Format(time.DateOnly)+" "+clock, time.Local)
		if err != nil {
			return clock
		}
		return at.UTC().Format(form)
	})
}

func kindName(k sip.RecordKind) string {
	return map[sip.RecordKind]string{
		sip.CallCame: "came", sip.CallPlanned: "planned", sip.CallAsked: "asked", sip.CallAskedOn: "asked on", sip.AttemptOver: "attempt", sip.CallRang: "rang",
		sip.CallAnswered: "answered", sip.CallHeard: "heard", sip.CallWitness: "witness", sip.CallLost: "lost", sip.CallKept: "kept",
		sip.CallTakenOver: "taken over", sip.CallRescued: "rescued", sip.CallMedia: "media", sip.CallNoted: "noted", sip.CallEnded: "ended",
		sip.CallMessage: "message", sip.VerdictChanged: "verdict", sip.ProbeMissed: "probe missed", sip.NoticeGiven: "notice", sip.MessageMalformed: "malformed",
	}[k]
}

// compare holds a story against the one that was reviewed.
func compare(t *testing.T, got string) {
	t.Helper()
	file := filepath.Join("testdata", "records", strings.NewReplacer("Test", "", "/", "-").Replace(t.Name())+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("what is told has changed (-written +now); if the new story is right, run with -update:\n%s", diff)
	}
}

func TestTheRecordOfAGoodCall(t *testing.T) {
	c := &clerk{}
	inWardOf(t, 20*time.Millisecond, c, nil, func(w *ward) {
		w.call().Clear()
		time.Sleep(time.Minute)
	})
	compare(t, c.story())
}

func TestTheRecordOfAFailover(t *testing.T) {
	c := &clerk{}
	onScene(t, func(sc *scene) { sc.server.Observer = c }, func(st *stage) {
		room, standby, partner := st.rooms["control-room"], st.rooms["standby-room"], st.rooms["partner"]
		room.mute.Store(true)
		d := st.place()
		room.expect("INVITE") // and no answer
		standby.reply(standby.expect("INVITE"), 486, "b")
		standby.expect("ACK")
		m := partner.expect("INVITE")
		partner.reply(m, 180, "p")
		st.carrier.expect("180 INVITE")
		partner.replyBody(m, 200, "p", sdpOf(partner, 50000))
		ok := st.carrier.expect("200 INVITE")
		partner.expect("ACK")
		d.ack(ok, "")
		time.Sleep(10 * time.Second)
		room.until("INVITE", "INVITE") // it repeats
		d.request("BYE", "")
		st.carrier.expect("200 BYE")
		partner.reply(partner.expect("BYE"), 200, "")
		time.Sleep(time.Minute)
	})
	compare(t, c.story())
}

func TestTheRecordOfARescue(t *testing.T) {
	c := &clerk{}
	inWardOf(t, 20*time.Millisecond, c, nil, func(w *ward) {
		call := w.call()
		w.rooms["control-room"].Kill()
		w.movesWithin(call, "standby-room", 650*time.Millisecond)
		time.Sleep(5 * time.Second)
		call.Clear()
		time.Sleep(time.Minute)
	})
	compare(t, c.story())
}

func TestTheRecordOfALostCall(t *testing.T) {
	c := &clerk{}
	inWardOf(t, 20*time.Millisecond, c, nil, func(w *ward) {
		for _, r := range []string{"standby-room", "partner"} {
			w.rooms[r].Script(town.Always(town.Refuses(486, 0)))
		}
		call := w.call()
		w.rooms["control-room"].Kill()
		time.Sleep(3 * time.Second)
		call.Clear()
		time.Sleep(time.Minute)
	})
	compare(t, c.story())
}

func TestTheRecordOfACancel(t *testing.T) {
	c := &clerk{}
	onScene(t, func(sc *scene) { sc.server.Observer = c }, func(st *stage) {
		d := st.place()
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		room.reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		time.Sleep(3 * time.Second)
		d.cancelled()
		room.reply(room.expect("CANCEL"), 200, "")
		room.reply(m, 487, "r")
		room.expect("ACK")
		time.Sleep(time.Minute)
	})
	compare(t, c.story())
}

func TestTheRecordOfACallThatNobodyTakes(t *testing.T) {
	c := &clerk{}
	onScene(t, func(sc *scene) { sc.server.Observer = c }, func(st *stage) {
		d := st.place()
		for i, name := range []string{"control-room", "standby-room", "partner"} {
			room := st.rooms[name]
			room.reply(room.expect("INVITE"), []int{503, 486, 404}[i], "r")
			room.expect("ACK")
		}
		d.ack(st.carrier.expect("500 INVITE"), "")
		time.Sleep(time.Minute)
	})
	compare(t, c.story())
}

func TestTheRecordOfAnEndpoint(t *testing.T) {
	c := &clerk{}
	onScene(t, func(sc *scene) { sc.server.Observer = c }, func(st *stage) {
		room := st.rooms["control-room"]
		room.mute.Store(true)
		time.Sleep(20 * time.Second)
		room.ping.Store(503)
		room.mute.Store(false)
		time.Sleep(20 * time.Second)
		room.ping.Store(200)
		time.Sleep(2 * time.Minute)
	})
	var got []string
	for _, r := range c.told {
		if r.Endpoint == "control-room" {
			got = append(got, told(r))
		}
	}
	compare(t, strings.Join(got, "\n")+"\n")
}

func TestNoCallOfAnotherRunHasTheSameName(t *testing.T) {
	names := map[string]bool{}
	for range 2 {
		c := &clerk{}
		onScene(t, func(sc *scene) {
			time.Sleep(time.Duration(len(names)) * time.Second) // a restart
			sc.server.Observer = c
		}, func(st *stage) {
			for range 3 {
				st.place().cancelled()
			}
		})
		for _, r := range c.told {
			if r.Kind != sip.CallCame {
				continue
			}
			if names[r.Call] {
				t.Errorf("call %s is told twice; a name is given once, also over restarts", r.Call)
			}
			names[r.Call] = true
		}
	}
	if len(names) != 6 {
		t.Errorf("%d names for 6 calls", len(names))
	}
}

func (*clerk) Announced(policy.RouteName, policy.AnnouncementName, bool, time.Duration) {}
func (*clerk) Shed(policy.RouteName, bool)                                              {}

func TestEveryMessageOfACallIsTold(t *testing.T) {
	c := &clerk{keeps: func(r sip.Record) bool { return r.Kind == sip.CallMessage }}
	onScene(t, func(sc *scene) { sc.server.Observer = c; sc.Messages = sip.TraceEmergency }, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		d := st.place()
		m := room.expect("INVITE")
		room.reply(m, 100, "")
		standbyTakes := func(n heard) {
			standby.reply(n, 180, "s")
			st.carrier.expect("180 INVITE")
			standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
		}
		standbyTakes(standby.expect("INVITE")) // after 4 s with only a 100
		ok := st.carrier.expect("200 INVITE")
		standby.expect("ACK")
		room.reply(room.expect("CANCEL"), 200, "")
		room.reply(m, 487, "r")
		room.expect("ACK")
		d.ack(ok, "")
		time.Sleep(time.Second)
		d.bye(standby)
		time.Sleep(time.Second)
		st.place().cancelled()
		st.carrier.invite("sip:101@nines", sdpOf(st.carrier, 40000)) // routine: not asked for
		time.Sleep(time.Minute)
	})
	var b strings.Builder
	names := map[string]int{}
	for _, r := range c.told {
		if names[r.Call] == 0 {
			names[r.Call] = len(names) + 1
		}
		line, _, _ := strings.Cut(string(r.Data), "\r\n")
		arrow := "->"
		if r.In {
			arrow = "<-"
		}
		cseq := regexp.MustCompile(`CSeq: .*`).FindString(string(r.Data))
		fmt.Fprintf(&b, "%7.1f call %d leg %d %s %s  %s (%s)\n", r.At.Sub(c.told[0].At).Seconds(), names[r.Call], r.Attempt, arrow, r.Flow.Remote, line, strings.TrimSpace(cseq))
	}
	compare(t, b.String())
}
