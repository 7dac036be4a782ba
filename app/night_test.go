package app

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"nines/console"
	"nines/internal/town"
	"nines/journal"
)

var update = flag.Bool("update", false, "write the golden report of the night anew")

// nightFile is a force with a control room, a standby and two neighbours. It probes less often than one would, so that a night is played in seconds.
const nightFile = `
name: west-mercia
listen: [udp://10.0.0.1:5060]
media: { address: 10.0.0.1, ports: 20000-20999 }
trunks:
  bt: { from: [192.0.2.10] }
endpoints:
  control-room: { uri: "sip:10.0.1.1:5060", calls: 60 }
  standby-room: { uri: "sip:10.0.1.2:5060", calls: 30 }
  warwickshire: { uri: "sip:10.0.2.1:5060", calls: 9, partner: true }
  staffordshire: { uri: "sip:10.0.2.2:5060", calls: 8, partner: true }
routes:
  - { name: "999", class: emergency, numbers: ["999"], ask: [control-room, standby-room, [warwickshire, staffordshire]] }
  - { name: "101", class: routine, numbers: ["101"], ask: [control-room, standby-room] }
health: { every: 10s, partners_every: 60s }
`

// darkNight is the night of 6 September 2021 as it is with nines: at 16:30 the power fails in both own rooms, and it is back at 08:45 the next day.
type darkNight struct {
	t      *testing.T
	day    time.Time // the midnight before
	dir    string
	random *rand.Rand
	net    *town.Network
	node   *Node
	stop   func()
	log    logBook

	carrier *town.Phone
	rooms   map[string]*town.Phone
	hosts   map[string]*town.Host
}

// nightDelay is how long a packet travels in the night.
const nightDelay = 5 * time.Millisecond

func newDarkNight(t *testing.T, day time.Time) *darkNight {
	n := &darkNight{t: t, day: day, dir: t.TempDir(), random: rand.New(rand.NewPCG(6, 9)), net: town.NewNetwork(6), rooms: map[string]*town.Phone{}, hosts: map[string]*town.Host{}}
	n.net.Everywhere(town.Path{Delay: nightDelay})
	nines := n.net.Host("nines", netip.MustParseAddr("10.0.0.1"))
	n.carrier = n.phone("bt", "192.0.2.10", 0)
	n.rooms["control-room"] = n.phone("control-room", "10.0.1.1", 3*time.Second)
	n.rooms["standby-room"] = n.phone("standby-room", "10.0.1.2", 4*time.Second)
	n.rooms["warwickshire"] = n.phone("warwickshire", "10.0.2.1", 5*time.Second)
	n.rooms["staffordshire"] = n.phone("staffordshire", "10.0.2.2", 6*time.Second)
	file := filepath.Join(n.dir, "nines.yaml")
	if err := os.WriteFile(file, []byte(nightFile+"state: "+n.dir+"/state\nrun: "+n.dir+"/run\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	node, err := Start(Options{ConfigPath: file, Version: "test", Log: zerolog.New(&n.log).Level(zerolog.WarnLevel), Network: nines, Loops: 1, Seed: 1, NoConsole: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }() // ends with ctx
	n.node = node
	n.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the node ended with %v", err)
		}
	}
	return n
}

// phone opens a telephone whose people pick up after a while.
func (n *darkNight) phone(name, addr string, after time.Duration) *town.Phone {
	ip := netip.MustParseAddr(addr)
	n.hosts[name] = n.net.Host(name, ip)
	p, err := town.NewPhone(town.PhoneConfig{
		Name: name, Net: n.hosts[name], Addr: netip.AddrPortFrom(ip, 5060), Seed: uint64(len(n.hosts)), Voice: 800 * time.Millisecond, Keepalive: 10 * time.Second,
		Script: town.Always(town.Behaviour{{Code: 100}, {After: 500 * time.Millisecond, Code: 180}, {After: after, Code: 200}}),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

// at is a time of the night; the hours go on after 24.
func (n *darkNight) at(h, m, s int) time.Time {
	return n.day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second)
}

func (n *darkNight) until(h, m, s int) { time.Sleep(time.Until(n.at(h, m, s))) }

// call places a call that talks for so long, or until its caller is told to clear when that is 0. A caller without patience waits as long as it takes.
func (n *darkNight) call(number string, talk, patience time.Duration) *town.Call {
	n.t.Helper()
	c, err := n.carrier.Place(town.Dial{
		URI: "sip:" + number + "@10.0.0.1:5060", From: fmt.Sprintf("+4477009%05d", n.random.IntN(100_000)), TalkFor: talk, CancelAfter: patience,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

func (n *darkNight) seconds(from, to int) time.Duration {
	return time.Duration(from*1000+n.random.IntN((to-from)*1000)) * time.Millisecond
}

// power switches the power of both own rooms.
func (n *darkNight) power(p town.Power) {
	n.hosts["control-room"].Power(p)
	n.hosts["standby-room"].Power(p)
}

// play lets the night happen.
func (n *darkNight) play(ctx context.Context) {
	n.until(15, 55, 0)
	for time.Now().Before(n.at(16, 20, 0)) {
		n.call("999", n.seconds(40, 90), 0)
		time.Sleep(n.seconds(100, 200))
		n.call("101", n.seconds(40, 90), 0)
		time.Sleep(n.seconds(100, 200))
	}
	n.until(16, 29, 0)
	saved := n.call("999", 0, 0)
	time.Sleep(10 * time.Second)
	gone := n.call("999", 0, 0)

	n.until(16, 30, 0)
	n.power(town.Dead)
	time.Sleep(300 * time.Millisecond)
	n.call("999", 3*time.Minute, 0)
	n.hangsUpInSilence(gone)
	n.until(16, 31, 0)
	n.call("999", 2*time.Minute, 0)
	n.until(16, 32, 10)
	n.must(n.node.Acknowledge(ctx, "", "alice"))
	n.until(16, 34, 0)
	saved.Clear()
	n.until(16, 40, 0)
	n.must(n.node.Hold(ctx, console.HoldRequest{Endpoint: "standby-room", For: "20h", Why: "the electrician works on its supply", By: "alice"}))
	for i := 0; time.Now().Before(n.at(24+8, 25, 0)); i++ {
		patience := time.Duration(0)
		if i%9 == 4 {
			patience = 3 * time.Second // the partners take longer to pick up
		}
		n.call("999", n.seconds(40, 180), patience)
		if i%5 == 0 { // an accident that several people see
			for range 3 {
				time.Sleep(n.seconds(1, 4))
				n.call("999", n.seconds(40, 180), 0)
			}
		}
		if i%3 == 0 {
			time.Sleep(n.seconds(20, 60))
			n.call("101", time.Minute, 0)
		}
		time.Sleep(n.seconds(500, 1200))
	}

	n.until(24+8, 45, 0)
	n.power(town.On)
	n.until(24+8, 47, 0)
	n.call("999", 30*time.Second, 0) // the control room has proven nothing yet
	for range 3 {
		n.call("101", 30*time.Second, 0)
		time.Sleep(time.Minute)
	}
	n.until(24+8, 52, 0)
	n.call("999", time.Minute, 0)
	n.until(24+8, 55, 0)
	n.must(n.node.Release(ctx, "standby-room", "bob"))
	n.until(24+9, 5, 0)
}

// hangsUpInSilence has a caller hang up whose room is dead, once another is asked for them.
func (n *darkNight) hangsUpInSilence(c *town.Call) {
	id := c.Record().ID
	for time.Now().Before(n.at(16, 31, 0)) {
		for _, name := range []string{"warwickshire", "staffordshire"} {
			if slices.ContainsFunc(n.rooms[name].Records(), func(r town.Record) bool { return r.ID == id }) {
				c.Clear()
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	n.t.Error("nobody was asked within a minute for a caller whose room was dead")
}

// must fails the test where an operator's act fails.
func (n *darkNight) must(_ any, err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// confirm has an operator confirm that the night is over, and gives the incident as the node knows it.
func (n *darkNight) confirm(ctx context.Context) *journal.Incident {
	n.t.Helper()
	list, err := n.node.Incidents(ctx, time.Time{})
	if err != nil || list.Trouble != "" || len(list.Incidents) != 1 {
		n.t.Fatalf("the night has %d incidents (%v, %q), want one", len(list.Incidents), err, list.Trouble)
	}
	id := list.Incidents[0].ID
	n.must(n.node.ConfirmIncident(ctx, console.Confirmation{Incident: id, By: "carol", Why: "999 and 101 tried by hand"}))
	time.Sleep(time.Second)
	report, err := n.node.Incident(ctx, id)
	n.must(report, err)
	return report.Incident
}

// fromTheBook folds the incident from the file that the node has left, and looks whether the book holds together.
func (n *darkNight) fromTheBook(ctx context.Context) (i *journal.Incident, names *strings.Replacer) {
	n.t.Helper()
	r, err := journal.OpenReader(n.node.book.Path())
	if err != nil {
		n.t.Fatal(err)
	}
	defer r.Close()
	if v, err := r.Verify(ctx); err != nil || !v.OK || v.Lost != 0 {
		n.t.Errorf("the book of the night does not hold together: %+v, %v", v, err)
	}
	fold, err := r.Incidents(ctx, n.node.setup(), time.Time{}, time.Time{}, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	if len(fold.List()) != 1 {
		n.t.Fatalf("the book has %d incidents, want one", len(fold.List()))
	}
	var pairs [][]string // what a call is called is no promise: the golden report counts them
	for e, err := range r.Entries(ctx, journal.Query{Types: []journal.Type{journal.CallStart}}) {
		if err != nil {
			n.t.Fatal(err)
		}
		pairs = append(pairs, []string{e.Call, fmt.Sprintf("c%d", len(pairs)+1)})
	}
	slices.SortStableFunc(pairs, func(a, b []string) int { return len(b[0]) - len(a[0]) }) // a name may begin with another
	return fold.List()[0], strings.NewReplacer(slices.Concat(pairs...)...)
}

// truth is what the telephones know of the night.
type truth struct {
	partners   map[string]int // calls that each answered
	gaveUp     int
	turnedAway int
	longest    time.Duration // wait of a caller whose room was dead
}

func (n *darkNight) truth() truth {
	w := truth{partners: map[string]int{}}
	for _, name := range []string{"warwickshire", "staffordshire"} {
		for _, r := range n.rooms[name].Records() {
			if !r.Answer.IsZero() {
				w.partners[name]++
			}
		}
	}
	for _, r := range n.carrier.Records() {
		if r.Asked.Before(n.at(16, 30, 0)) {
			continue
		}
		answered := r.Ended
		switch {
		case !r.Answer.IsZero():
			answered = r.Answer
		case strings.HasPrefix(r.Invite.URI, "sip:101@"):
			w.turnedAway++
		case r.CancelSent:
			w.gaveUp++
		}
		w.longest = max(w.longest, answered.Sub(r.Asked))
	}
	return w
}

// judge compares what the report says with what happened.
func (n *darkNight) judge(i *journal.Incident) {
	t := n.t
	within := func(what string, got, want time.Time, d time.Duration) {
		t.Helper()
		if got.Before(want) || got.Sub(want) > d {
			t.Errorf("%s at %s, want it within %s from %s", what, got.Format(time.DateTime), d, want.Format(time.DateTime))
		}
	}
	within("the outage began", i.Began, n.at(16, 30, 0), 15*time.Second)
	within("it was detected", i.Detected, n.at(16, 30, 0), time.Minute)
	within("the first call went elsewhere", i.Diverted, n.at(16, 30, 0), 30*time.Second)
	within("it was acknowledged", i.Acknowledged, n.at(16, 32, 10), time.Second)
	within("the rooms were back", i.Back, n.at(24+8, 45, 0), 2*time.Minute)
	within("it was over", i.Restored, n.at(24+8, 55, 0), time.Second)
	within("it was confirmed", i.Confirmed, n.at(24+9, 5, 0), time.Second)
	if i.AcknowledgeBy != "alice" || i.ConfirmedBy != "carol" {
		t.Errorf("%q acknowledged and %q confirmed, want alice and carol", i.AcknowledgeBy, i.ConfirmedBy)
	}
	w := n.truth()
	got := map[string]int{}
	for _, u := range i.Answered {
		if u.Partner {
			got[u.Name] = u.Calls
		}
	}
	if diff := cmp.Diff(got, w.partners); diff != "" {
		t.Errorf("calls that partners answered, by the report (-got) and by their telephones (+want):\n%s", diff)
	}
	c := i.Calls
	if c.LostEnd != 2 || c.Rescued != 1 || c.LostTalking != 1 || c.Refused != 0 {
		t.Errorf("of two callers who talked one was rescued, one hung up, and nobody was refused; the report counts %+v", c)
	}
	if c.GaveUp != w.gaveUp || c.TurnedAway != w.turnedAway || w.gaveUp < 3 || w.turnedAway < 10 {
		t.Errorf("the report counts %d who gave up and %d routine callers whom nobody answered, the carrier %d and %d", c.GaveUp, c.TurnedAway, w.gaveUp, w.turnedAway)
	}
	list, err := n.node.CallBackList(t.Context(), false, journal.Full)
	if err != nil || len(list.Lines) != w.gaveUp+c.LostTalking {
		t.Errorf("%d people must be rung back (%v), want the %d who gave up and the one who was lost", len(list.Lines), err, w.gaveUp)
	}
	if off := w.longest - i.LongestWait; off < 0 || off > 4*nightDelay {
		t.Errorf("the longest wait is %s by the report and %s by the carrier's telephone", i.LongestWait, w.longest)
	}
}

// golden compares the report with the one that was read and found good.
func (n *darkNight) golden(i *journal.Incident, names *strings.Replacer) {
	n.t.Helper()
	for l := range i.Timeline {
		i.Timeline[l].Seq = 0 // what happens in one instant has no order
	}
	r := journal.Report{Node: "west-mercia", Made: n.at(24+9, 30, 0), Version: "test", Incident: i, Zone: time.UTC}
	var markdown bytes.Buffer
	if err := r.WriteMarkdown(&markdown); err != nil {
		n.t.Fatal(err)
	}
	for name, got := range map[string]string{"night.md": markdown.String(), "night.json": incidentJSON(n.t, i)} {
		got = names.Replace(got)
		if strings.Contains(got, "+4477009") {
			n.t.Errorf("%s names a number", name)
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				n.t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			n.t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(got, "\n"), strings.Split(string(want), "\n")); diff != "" {
			n.t.Errorf("%s is not what it was; if that is right: go test ./app -run WholeNight -update (-got +want):\n%s", name, diff)
		}
	}
}

func incidentJSON(t *testing.T, i *journal.Incident) string {
	t.Helper()
	b, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

// close ends the telephones, which say what was wrong with what they heard.
func (n *darkNight) close() {
	for _, p := range []*town.Phone{n.carrier, n.rooms["warwickshire"], n.rooms["staffordshire"], n.rooms["control-room"], n.rooms["standby-room"]} {
		p.Close()
		for _, w := range p.Wrong() {
			n.t.Errorf("nines said something wrong: %s", w)
		}
	}
}

// The whole program through a whole night, on the clock of its bubble; the book's file is real. What its report says is compared with what the telephones
// know, and then word by word with the one that a person has read.
func TestTheReportOfAWholeNight(t *testing.T) {
	if testing.Short() {
		t.Skip("seventeen hours take a minute with the race detector; the nights of internal/town look for races")
	}
	synctest.Test(t, func(t *testing.T) {
		day := time.Date(2021, 9, 6, 0, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(day.Add(15*time.Hour + 50*time.Minute)))
		n := newDarkNight(t, day)
		n.play(t.Context())
		live := n.confirm(t.Context())
		n.stop()
		i, names := n.fromTheBook(t.Context())
		if diff := cmp.Diff(incidentJSON(t, i), incidentJSON(t, live)); diff != "" {
			t.Errorf("from the book (-got) and as the node knew it while it went on (+want):\n%s", diff)
		}
		n.judge(i)
		n.golden(i, names)
		n.close()
	})
}
