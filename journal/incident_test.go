package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the recorded night and the golden reports anew")

var london = time.FixedZone("BST", 3600)

// night makes the entries of the night of 6 September 2021 as it would have been with nines: at 16:30 the power fails in the control room, which has no standby;
// two neighbours take the calls; at 08:45 the next day the room is back and proves itself.
type night struct {
	random  *rand.Rand
	entries []Entry
	n       int
}

func (n *night) add(e Entry) { n.entries = append(n.entries, e) }

// call is one call from its start to its end. fails is how long its room is asked in vain.
func (n *night) call(at time.Time, class string, to string, partner bool, wait, talk, fails time.Duration) string {
	n.n++
	name := fmt.Sprintf("ktb7q1-0-%d", n.n)
	route, called := "999", "+441905331999"
	plan := "control-room, warwickshire, staffordshire"
	if class == "routine" {
		route, called, plan = "101", "+441905331101", "control-room"
	}
	e := func(at time.Time, more Entry) {
		more.At, more.Call, more.Class, more.Route = at, name, class, route
		n.add(more)
	}
	e(at, Entry{Type: CallStart, Trunk: "bt", CallID: name + "@bt", Caller: fmt.Sprintf("+4477009%05d", n.random.IntN(1000)), Called: called})
	e(at, Entry{Type: RouteRule, What: plan})
	attempt := 1
	if fails > 0 {
		e(at, Entry{Type: Route, Endpoint: "control-room", Attempt: attempt, Why: "first in the file"})
		e(at.Add(fails), Entry{Type: AttemptOutcome, Endpoint: "control-room", Attempt: attempt, Outcome: "silent", Took: fails, Why: "no response for 1 s"})
		attempt++
	}
	if to == "" {
		e(at.Add(wait), Entry{Type: CallEnd, Trunk: "bt", Outcome: "refused", Code: 480, Why: "nobody took the call"})
		return name
	}
	e(at.Add(fails), Entry{Type: Route, Endpoint: to, Partner: partner, Attempt: attempt, Why: "the next one"})
	e(at.Add(wait), Entry{Type: AttemptOutcome, Endpoint: to, Partner: partner, Attempt: attempt, Outcome: "answered", Code: 200, Took: wait - fails})
	e(at.Add(wait), Entry{Type: CallStateChange, What: "answered", Endpoint: to, Partner: partner, Attempt: attempt, Code: 200, Took: wait})
	if talk > 0 {
		e(at.Add(wait+talk), Entry{Type: CallEnd, Trunk: "bt", Outcome: "answered", Code: 200, Endpoint: to, Partner: partner, Took: talk, Why: "the caller hung up"})
	}
	return name
}

func recordNight() []Entry {
	n := &night{random: rand.New(rand.NewPCG(6, 9))}
	day := time.Date(2021, 9, 6, 0, 0, 0, 0, london)
	at := func(h, m, s int, ms int) time.Time {
		return day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second + time.Duration(ms)*time.Millisecond)
	}
	seconds := func(from, to int) time.Duration {
		return time.Duration(from*1000+n.random.IntN((to-from)*1000)) * time.Millisecond
	}
	n.add(Entry{At: at(15, 50, 0, 0), Type: ElementStateChange, What: "started"})
	for _, name := range []string{"control-room", "warwickshire", "staffordshire"} {
		n.add(Entry{At: at(15, 50, 1, 0), Type: ServiceStateChange, Endpoint: name, What: "unknown→up", Why: "5 answered"})
	}
	for t := at(15, 55, 0, 0); t.Before(at(16, 28, 0, 0)); t = t.Add(seconds(200, 500)) {
		n.call(t, "emergency", "control-room", false, seconds(2, 6), seconds(40, 60), 0)
		n.call(t.Add(30*time.Second), "routine", "control-room", false, seconds(5, 15), seconds(40, 60), 0)
	}
	// Two callers talk when the power fails. One is carried over, the other has hung up before anybody else is there.
	saved := n.call(at(16, 28, 30, 0), "emergency", "control-room", false, 3*time.Second, 0, 0)
	gone := n.call(at(16, 29, 0, 0), "emergency", "control-room", false, 4*time.Second, 0, 0)
	n.call(at(16, 30, 0, 300), "emergency", "warwickshire", true, 3400*time.Millisecond, 4*time.Minute, time.Second)
	n.add(Entry{At: at(16, 30, 1, 100), Type: KeepAliveFailure, Endpoint: "control-room", Outcome: "silent"})
	for _, c := range []string{saved, gone} {
		n.add(Entry{At: at(16, 30, 2, 900), Type: Witness, Call: c, Class: "emergency", Route: "999", Endpoint: "control-room", Why: "no media for 2 s"})
		n.add(Entry{At: at(16, 30, 3, 100), Type: CallStateChange, Call: c, Class: "emergency", Route: "999", What: "lost", Endpoint: "control-room", Attempt: 1, Took: 3 * time.Second})
	}
	n.add(Entry{At: at(16, 30, 3, 150), Type: ServiceStateChange, Endpoint: "control-room", What: "up→down", Why: "3 probes running were silent"})
	n.add(Entry{At: at(16, 30, 4, 800), Type: CallEnd, Call: gone, Class: "emergency", Route: "999", Outcome: "lost_talking", Endpoint: "control-room", Took: time.Minute, Why: "the caller hung up"})
	n.add(Entry{At: at(16, 30, 6, 0), Type: CallStateChange, Call: saved, Class: "emergency", Route: "999", What: "taken over", Endpoint: "staffordshire", Partner: true, Attempt: 3, Took: 2900 * time.Millisecond})
	n.add(Entry{At: at(16, 30, 6, 100), Type: CallStateChange, Call: saved, Class: "emergency", Route: "999", What: "rescued", Endpoint: "staffordshire", Partner: true, Attempt: 3, Took: 6 * time.Second})
	n.add(Entry{At: at(16, 34, 0, 0), Type: CallEnd, Call: saved, Class: "emergency", Route: "999", Outcome: "answered", Code: 200, Endpoint: "staffordshire", Partner: true, Took: 5 * time.Minute})
	n.add(Entry{At: at(16, 32, 10, 0), Type: OperatorAct, What: "acknowledge", By: "alice", Why: "the power is off in the whole building"})
	for _, version := range []struct {
		at      time.Time
		what    string
		english string
	}{
		{at(16, 30, 4, 500), "told", "In an emergency dial 999 or 112 as usual, and stay on the line until somebody answers. Calls to 101 may not be answered."},
		{at(16, 30, 7, 0), "sent", ""},
		{at(16, 30, 9, 0), "told", "In an emergency dial 999 or 112 as usual, and stay on the line until somebody answers. Calls to 101 may not be answered."},                             // worse, and the same text
		{at(18, 5, 0, 0), "told", "In an emergency dial 999 or 112 as usual, and stay on the line until somebody answers. If it is not an emergency, please use https://report.example/."}, // a reload
		{at(18, 5, 2, 0), "sent", ""},
		{at(24+8, 47, 0, 0), "over", ""},
	} {
		d := NoticeData{Notice: "0906-1", Code: "calls-at-partners"}
		if version.what == "sent" {
			d.Receiver = "webhook hooks.example"
		}
		if version.english != "" {
			d.Public = map[string]string{"en": "West Mercia Police: our telephones are disturbed at the moment. " + version.english, "cy": "Heddlu West Mercia: mae problem gyda'n ffonau ar hyn o bryd."}
		}
		data, _ := json.Marshal(d) // plain fields
		n.add(Entry{At: version.at, Type: Notice, What: version.what, Why: "control-room is down since 16:30:03.", Data: data})
	}
	n.call(at(16, 30, 40, 0), "emergency", "warwickshire", true, 4*time.Second, 3*time.Minute, 0)
	partners := []string{"warwickshire", "staffordshire"}
	for t, i := at(16, 33, 0, 0), 0; t.Before(at(24+8, 40, 0, 0)); t, i = t.Add(seconds(240, 1200)), i+1 {
		n.call(t, "emergency", partners[i%2], true, seconds(3, 9), seconds(60, 400), 0)
		if i%3 == 0 {
			n.call(t.Add(100*time.Second), "routine", "", false, 500*time.Millisecond, 0, 0)
		}
	}
	n.add(Entry{At: at(24+8, 40, 0, 0), Type: ServiceStateChange, Endpoint: "control-room", What: "down→up", Why: "5 probes running were answered, 30 s have passed"})
	n.add(Entry{At: at(24+8, 40, 0, 0), Type: Notice, Endpoint: "control-room", What: "returning", Why: "it takes routine calls first"})
	for i := range 3 {
		n.call(at(24+8, 41, 30*i, 0), "routine", "control-room", false, 5*time.Second, time.Minute, 0)
	}
	n.add(Entry{At: at(24+8, 45, 0, 0), Type: Notice, Endpoint: "control-room", What: "proven", Why: "three routine calls were heard both ways"})
	n.call(at(24+8, 46, 0, 0), "emergency", "control-room", false, 3*time.Second, time.Minute, 0)
	id := at(16, 30, 1, 100).UTC().Format("20060102-150405") + "-control-room"
	confirmed := ConfirmIncident(id, "bob", "999 and 101 tried by hand")
	confirmed.At = at(24+9, 5, 0, 0)
	n.add(confirmed)
	slices.SortStableFunc(n.entries, func(a, b Entry) int { return a.At.Compare(b.At) })
	for i := range n.entries {
		n.entries[i].Seq = int64(i + 1)
	}
	return n.entries
}

// recording reads the recorded night.
func recording(t *testing.T) []Entry {
	t.Helper()
	path := filepath.Join("testdata", "night.jsonl")
	if *update {
		var b bytes.Buffer
		for _, e := range recordNight() {
			line, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []Entry
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

var westMercia = Setup{Places: []Place{
	{Name: "control-room", Limit: 60}, {Name: "warwickshire", Partner: true, Limit: 12}, {Name: "staffordshire", Partner: true, Limit: 8},
}}

func TestTheReportOfARecordedNight(t *testing.T) {
	f := NewIncidents(westMercia)
	all := recording(t)
	for i := range all {
		f.Take(&all[i])
	}
	list := f.List()
	if len(list) != 1 {
		t.Fatalf("the night has %d incidents, want 1: %+v", len(list), list)
	}
	i := list[0]
	c := i.Calls
	if c.LostEnd != 2 || c.Rescued != 1 || c.LostTalking != 1 || c.ToPartners != c.Elsewhere || c.ToPartners == 0 || c.TurnedAway == 0 || c.Refused != 0 {
		t.Errorf("the calls are %+v", c)
	}
	var elsewhere int
	for _, u := range i.Answered {
		elsewhere += u.Calls
	}
	if elsewhere != c.ToPartners+1 { // and the one that was rescued
		t.Errorf("partners answered %d calls and one rescue; who answered adds up to %d", c.ToPartners, elsewhere)
	}
	r := Report{Node: "west-mercia", Made: time.Date(2021, 9, 7, 9, 30, 0, 0, london), Version: "test", Incident: i, Zone: london}
	var html, markdown bytes.Buffer
	if err := r.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteMarkdown(&markdown); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var ledger bytes.Buffer
	if err := WriteLedger(&ledger, all[0].At, all[len(all)-1].At, f.Ledger()); err != nil {
		t.Fatal(err)
	}
	if len(i.Public) != 3 || i.Public[0].Lang != "cy" || !i.Public[1].Until.Equal(i.Public[2].At) || len(i.Public[2].To) != 1 || i.Public[0].Until.Before(i.Restored) {
		t.Errorf("the public was told %+v; want Welsh, English, and another English text, each with when", i.Public)
	}
	golden(t, "night.html", html.Bytes())
	golden(t, "night.md", markdown.Bytes())
	golden(t, "night.json", append(asJSON, '\n'))
	golden(t, "night.csv", ledger.Bytes())
	for _, forbidden := range []string{"+4477009", "http://", "<script", "src=", "href="} {
		if bytes.Contains(html.Bytes(), []byte(forbidden)) || bytes.Contains(markdown.Bytes(), []byte(forbidden)) || bytes.Contains(asJSON, []byte(forbidden)) {
			t.Errorf("a report has %q: it must name no number and need nothing else", forbidden)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), string(want)); diff != "" {
		t.Errorf("%s is not what it was; if that is right: go test ./journal -run RecordedNight -update (-got +want):\n%s", name, diff)
	}
}

// What is read from a book around outages only gives the same incidents as all of it, also of one that goes on.
func TestABookIsFoldedAsItsEntriesAre(t *testing.T) {
	all := recording(t)
	foldedAlike(t, all)
	foldedAlike(t, all[:len(all)/2])
}

func foldedAlike(t *testing.T, all []Entry) {
	s := newShelf(t)
	b, stop := s.open()
	for _, e := range all {
		b.Append(e)
	}
	eventually(t, "all was written", func() bool { return b.Health().Waiting == 0 }) // the end waits for the disk for seconds only
	stop()
	f := NewIncidents(westMercia)
	for i := range all {
		f.Take(&all[i])
	}
	r, err := OpenReader(s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := r.Incidents(t.Context(), westMercia, time.Time{}, time.Time{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	options := cmp.Options{
		cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }), cmpopts.IgnoreUnexported(Incident{}, Use{}, PublicText{}),
	}
	if diff := cmp.Diff(got.List(), f.List(), options); diff != "" {
		t.Errorf("from the book (-got) and from its entries (+want):\n%s", diff)
	}
	uses, err := r.Ledger(t.Context(), westMercia, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(uses, f.Ledger(), options); diff != "" {
		t.Errorf("the ledger from the book (-got) and from its entries (+want):\n%s", diff)
	}
}

func TestWhatIsAnIncident(t *testing.T) {
	verdict := func(s int, endpoint, what string) Entry {
		return Entry{At: began.Add(time.Duration(s) * time.Second), Type: ServiceStateChange, Endpoint: endpoint, What: what, Why: "why"}
	}
	miss := func(s int, endpoint string) Entry {
		return Entry{At: began.Add(time.Duration(s) * time.Second), Type: KeepAliveFailure, Endpoint: endpoint, Outcome: "silent"}
	}
	proven := func(s int, endpoint string) Entry {
		return Entry{At: began.Add(time.Duration(s) * time.Second), Type: Notice, Endpoint: endpoint, What: "proven", Why: "three calls"}
	}
	release := func(s int, endpoint string) Entry {
		return Entry{At: began.Add(time.Duration(s) * time.Second), Type: OperatorAct, Endpoint: endpoint, What: "release", By: "alice"}
	}
	tests := []struct {
		name    string
		entries []Entry
		want    []string // began-detected-restored of endpoints
	}{
		{"a probe that was missed is none", []Entry{miss(1, "a"), verdict(2, "a", "up→suspect"), verdict(3, "a", "suspect→up")}, nil},
		{"it begins with the first evidence", []Entry{miss(1, "a"), verdict(4, "a", "up→down"), verdict(9, "a", "down→up"), proven(12, "a")}, []string{"1-4-12 a"}},
		{"it goes on until proof", []Entry{miss(1, "a"), verdict(4, "a", "up→down"), verdict(9, "a", "down→up")}, []string{"1-4-on a"}},
		{"a release is proof", []Entry{verdict(4, "a", "up→down"), verdict(9, "a", "down→up"), release(10, "a")}, []string{"4-4-10 a"}},
		{"a release of what is down is none", []Entry{verdict(4, "a", "up→down"), release(10, "a")}, []string{"4-4-on a"}},
		{"a second room belongs to it", []Entry{miss(1, "a"), verdict(4, "a", "up→down"), miss(5, "b"), verdict(7, "b", "up→down"), verdict(8, "a", "down→up"), proven(9, "a"), verdict(10, "b", "down→up"), proven(11, "b")}, []string{"1-4-11 a b"}},
		{"old evidence is forgotten", []Entry{miss(1, "a"), miss(500, "a"), verdict(504, "a", "up→down")}, []string{"500-504-on a"}},
		{"a partner's death is none", []Entry{miss(1, "p"), verdict(4, "p", "up→down")}, nil},
		{"the next is another one", []Entry{verdict(4, "a", "up→down"), verdict(9, "a", "down→up"), proven(10, "a"), verdict(20, "a", "up→down")}, []string{"4-4-10 a", "20-20-on a"}},
		{"a room that falls again before its proof", []Entry{verdict(4, "a", "up→down"), verdict(9, "a", "down→up"), verdict(12, "a", "up→down"), verdict(20, "a", "down→up"), proven(21, "a")}, []string{"4-4-21 a"}},
	}
	for _, tt := range tests {
		f := NewIncidents(Setup{Places: []Place{{Name: "a"}, {Name: "b"}, {Name: "p", Partner: true}}})
		for i := range tt.entries {
			f.Take(&tt.entries[i])
		}
		var got []string
		for _, i := range f.List() {
			end := "on"
			if !i.Restored.IsZero() {
				end = fmt.Sprint(int(i.Restored.Sub(began).Seconds()))
			}
			got = append(got, fmt.Sprintf("%d-%d-%s %s", int(i.Began.Sub(began).Seconds()), int(i.Detected.Sub(began).Seconds()), end, strings.Join(i.Endpoints, " ")))
		}
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.name, diff)
		}
	}
}

// A room that real calls brought down is believed up only when it has proven itself. It answers again before that, and the report says when.
func TestARoomAnswersAgainBeforeItIsBelieved(t *testing.T) {
	f := NewIncidents(Setup{Places: []Place{{Name: "a"}, {Name: "b"}}})
	say := func(s int, kind Type, endpoint, what string) {
		f.Take(&Entry{At: began.Add(time.Duration(s) * time.Second), Type: kind, Endpoint: endpoint, What: what, Why: "why"})
	}
	say(1, ServiceStateChange, "a", "up→suspect")
	say(2, ServiceStateChange, "b", "up→suspect")
	say(3, ServiceStateChange, "a", "suspect→down")
	say(4, ServiceStateChange, "b", "suspect→down")
	say(60, Notice, "a", "returning")
	say(61, Notice, "b", "returning")
	say(90, ServiceStateChange, "a", "down→up")
	say(90, Notice, "a", "proven")
	say(99, ServiceStateChange, "b", "down→up")
	say(99, Notice, "b", "proven")
	i := f.List()[0]
	if got := i.Back.Sub(began).Seconds(); got != 61 {
		t.Errorf("the rooms answer again after %v s, want 61", got)
	}
	if got := i.Restored.Sub(began).Seconds(); got != 99 {
		t.Errorf("it is over after %v s, want 99", got)
	}
	if !slices.IsSortedFunc(i.Timeline, func(a, b Line) int { return a.At.Compare(b.At) }) {
		t.Errorf("the story of two rooms is not told in order: %+v", i.Timeline)
	}
}

// What was known of a second room before it went down is part of the outage: when it began, who was touched, who went elsewhere first.
func TestAnOutageBeginsWithTheFirstRoomInDoubt(t *testing.T) {
	f := NewIncidents(Setup{Places: []Place{{Name: "a"}, {Name: "b"}, {Name: "p", Partner: true}}, First: map[string]string{"101": "b"}})
	say := func(s int, e Entry) {
		e.At = began.Add(time.Duration(s) * time.Second)
		f.Take(&e)
	}
	say(0, Entry{Type: CallStart, Call: "c", Class: "routine", Route: "101"})
	say(1, Entry{Type: AttemptOutcome, Call: "c", Endpoint: "b", Outcome: "silent", Why: "no response for 1 s"})
	say(2, Entry{Type: ServiceStateChange, Endpoint: "b", What: "up→suspect", Why: "why"})
	say(3, Entry{Type: CallStateChange, Call: "c", What: "answered", Endpoint: "p", Partner: true})
	say(4, Entry{Type: KeepAliveFailure, Endpoint: "a", Outcome: "silent"})
	say(5, Entry{Type: ServiceStateChange, Endpoint: "a", What: "suspect→down", Why: "why"})
	say(6, Entry{Type: ServiceStateChange, Endpoint: "b", What: "suspect→down", Why: "why"})
	i := f.List()[0]
	if i.Began.After(began.Add(2*time.Second)) || !strings.HasPrefix(i.Evidence, "b: ") || i.Timeline[0].At.Before(i.Began) {
		t.Errorf("it began at %s with %q, want b's first failure", i.Began, i.Evidence)
	}
	if i.DivertedCall != "c" || i.Calls.FirstMinute != 1 || i.Calls.Touched != 1 {
		t.Errorf("first elsewhere was %q, and %+v were touched; want c", i.DivertedCall, i.Calls)
	}
}

// Whatever comes, in whatever order, the fold takes it.
func FuzzIncidentsTakeAnything(f *testing.F) {
	types := append(slices.Clone(typeCodes), "NinesOfTomorrow")
	f.Add([]byte("abcdefgh"))
	f.Fuzz(func(t *testing.T, in []byte) {
		fold := NewIncidents(westMercia)
		whats := []string{"up→down", "down→up", "answered", "lost", "taken over", "rescued", "kept", "returning", "proven", "release", "hold", "", "confirm", "control-room, warwickshire"}
		names := []string{"control-room", "standby", "warwickshire", ""}
		for i := 0; i+3 < len(in); i += 4 {
			e := Entry{
				At: began.Add(time.Duration(i) * time.Second), Type: types[int(in[i])%len(types)], What: whats[int(in[i+1])%len(whats)], Endpoint: names[int(in[i+2])%len(names)],
				Call: string('a' + rune(in[i+3]%5)), Partner: in[i+3] > 200, Class: "emergency", Route: "999", Outcome: []string{"silent", "refused", "cancelled", "lost_talking"}[in[i+3]%4], Code: 500,
			}
			fold.Take(&e)
		}
		for _, i := range fold.List() {
			r := Report{Incident: i}
			if err := r.WriteHTML(&bytes.Buffer{}); err != nil {
				t.Fatal(err)
			}
			if err := r.WriteMarkdown(&bytes.Buffer{}); err != nil {
				t.Fatal(err)
			}
			for _, u := range i.Answered {
				if u.running < 0 || u.Talk < 0 {
					t.Fatalf("%s has %d calls and %s", u.Name, u.running, u.Talk)
				}
			}
		}
	})
}

func TestACloneStaysAsItWas(t *testing.T) {
	f := NewIncidents(westMercia)
	var was []byte
	var clone *Incident
	for _, e := range recording(t) {
		f.Take(&e)
		list := f.List()
		if clone == nil && len(list) > 0 && len(list[0].Timeline) > 6 {
			clone, was = list[0].Clone(), asJSON(t, list[0])
		}
	}
	if clone == nil {
		t.Fatal("the night has no incident")
	}
	if got := asJSON(t, clone); !bytes.Equal(got, was) {
		t.Errorf("the clone went on with the fold:\n%s\nwant\n%s", got, was)
	}
	if bytes.Equal(asJSON(t, f.List()[0]), was) {
		t.Error("the fold stood still: the test shows nothing")
	}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
