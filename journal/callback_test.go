package journal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var three = time.Date(2026, time.November, 5, 3, 0, 0, 0, time.UTC)

// callStory makes the entries of a call of so many seconds: "lost", "cancelled", "500", or how long it talked.
func callStory(name, number string, from time.Duration, what string) []Entry {
	began := three.Add(from)
	start := Entry{At: began, Type: CallStart, Call: name, Class: "emergency", Trunk: "bt", Route: "999", Caller: number, Called: "999", CallID: name + "@bt"}
	end := start
	end.Type, end.At, end.CallID = CallEnd, began.Add(5*time.Second), name+"@bt"
	end.Data, _ = json.Marshal(map[string]any{"began": began})
	answered := Entry{At: began.Add(time.Second), Type: CallStateChange, What: "answered", Call: name, Class: "emergency", Endpoint: "room"}
	if number == "" {
		end.Data, _ = json.Marshal(map[string]any{"began": began, "from": `"Anonymous" <sip:anonymous@anonymous.invalid>`})
	}
	switch what {
	case "cancelled":
		end.Outcome, end.Code, end.Why = "cancelled", 487, "the caller cancelled"
		return []Entry{start, end}
	case "500":
		end.Outcome, end.Code, end.Why = "refused", 500, "everybody refused"
		return []Entry{start, end}
	case "lost":
		end.Outcome, end.Code, end.Endpoint, end.Took = "lost_talking", 200, "room", 4*time.Second
		return []Entry{start, answered, end}
	case "starts":
		return []Entry{start}
	}
	talk, err := time.ParseDuration(what)
	if err != nil {
		panic(err)
	}
	end.Outcome, end.Code, end.Endpoint, end.Took, end.At = "answered", 200, "room", talk, answered.At.Add(talk)
	return []Entry{start, answered, end}
}

func foldAll(c *CallBacks, entries ...[]Entry) (told []Entry) {
	for _, es := range entries {
		for _, e := range es {
			told = append(told, c.Fold(e)...)
		}
	}
	return told
}

// numbersOf are the numbers that wait, withheld ones by the name of their call.
func numbersOf(c *CallBacks) string {
	var out []string
	for _, l := range c.Lines(false) {
		if l.Number == "" {
			out = append(out, l.ID)
			continue
		}
		out = append(out, l.Number)
	}
	return strings.Join(out, " ")
}

func TestWhoMustBeRungBack(t *testing.T) {
	act := func(e Entry) []Entry {
		e.Type, e.At = OperatorAct, three.Add(time.Hour)
		e.What, e.By, e.Why = "callback", "alice", "spoke to caller"
		return []Entry{e}
	}
	of := func(e []Entry, change func(*Entry)) []Entry {
		for i := range e {
			change(&e[i])
		}
		return e
	}
	for _, test := range []struct {
		name    string
		entries [][]Entry
		want    string
	}{
		{"who gave up before an answer", [][]Entry{callStory("a", "+441", 0, "cancelled")}, "+441"},
		{"who was refused", [][]Entry{callStory("a", "+441", 0, "500")}, "+441"},
		{"who was lost while talking", [][]Entry{callStory("a", "+441", 0, "lost")}, "+441"},
		{"not who was answered", [][]Entry{callStory("a", "+441", 0, "5s")}, ""},
		{"a number has one line", [][]Entry{callStory("a", "+441", 0, "500"), callStory("b", "+441", time.Minute, "cancelled")}, "+441"},
		{"a later talk of ten seconds clears", [][]Entry{callStory("a", "+441", 0, "500"), callStory("b", "+441", time.Minute, "10s")}, ""},
		{"nine seconds don't", [][]Entry{callStory("a", "+441", 0, "500"), callStory("b", "+441", time.Minute, "9s")}, "+441"},
		{"another number's talk does not", [][]Entry{callStory("a", "+441", 0, "500"), callStory("b", "+442", time.Minute, "60s")}, "+441"},
		{"an earlier talk that is told late does not", [][]Entry{callStory("a", "+441", time.Hour, "500"), callStory("b", "+441", 0, "60s")}, "+441"},
		{"missed again after it was cleared", [][]Entry{callStory("a", "+441", 0, "500"), callStory("b", "+441", time.Minute, "10s"), callStory("c", "+441", time.Hour, "500")}, "+441"},
		{"a talk on the routine number clears too", [][]Entry{
			callStory("a", "+441", 0, "500"), of(callStory("b", "+441", time.Minute, "30s"), func(e *Entry) { e.Class = "routine" }),
		}, ""},
		{"a drill is on no list", [][]Entry{of(callStory("a", "+441", 0, "500"), func(e *Entry) { e.Class = "test" })}, ""},
		{"a drill clears nobody", [][]Entry{callStory("a", "+441", 0, "500"), of(callStory("b", "+441", time.Minute, "30s"), func(e *Entry) { e.Class = "test" })}, "+441"},
		{"a routine caller is on no list", [][]Entry{of(callStory("a", "+441", 0, "500"), func(e *Entry) { e.Class = "routine" })}, ""},
		{"an announcement is no talk", [][]Entry{callStory("a", "+441", 0, "500"), of(callStory("b", "+441", time.Minute, "30s"), func(e *Entry) { e.Endpoint = "" })}, "+441"},
		{"an answer that never arrived", [][]Entry{of(callStory("a", "+441", 0, "32s"), func(e *Entry) {
			if e.Type == CallEnd {
				e.What = "unacknowledged"
			}
		})}, "+441"},
		{"withheld numbers have a line each", [][]Entry{callStory("a", "", 0, "500"), callStory("b", "", time.Minute, "500")}, "a b"},
		{"and no later call clears them", [][]Entry{callStory("a", "", 0, "500"), callStory("b", "", time.Minute, "60s")}, "a"},
		{"a person clears by number", [][]Entry{callStory("a", "+441", 0, "500"), act(Entry{Caller: "+441"})}, ""},
		{"a person clears by name", [][]Entry{callStory("a", "", 0, "500"), callStory("b", "", 0, "500"), act(Entry{Call: "a"})}, "b"},
		{"a call told twice is listed once", [][]Entry{callStory("a", "+441", 0, "500"), act(Entry{Caller: "+441"}), callStory("a", "+441", 0, "500")}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := NewCallBacks()
			foldAll(c, test.entries...)
			if got := numbersOf(c); got != test.want {
				t.Errorf("the list has %q, want %q", got, test.want)
			}
		})
	}
}

func TestFiftyFailTwentyRedialThirtyWait(t *testing.T) {
	c := NewCallBacks()
	for i := range 50 {
		foldAll(c, callStory(fmt.Sprint("f", i), fmt.Sprintf("+4419050001%02d", i), time.Duration(i)*time.Second, []string{"500", "cancelled", "lost"}[i%3]))
	}
	for i := range 20 {
		foldAll(c, callStory(fmt.Sprint("r", i), fmt.Sprintf("+4419050001%02d", i*2), 5*time.Minute, "30s"))
	}
	if got := c.Open(); got != 30 {
		t.Errorf("%d wait, want 30: fifty failed and twenty got through", got)
	}
}

func TestWhyACallIsListed(t *testing.T) {
	c := NewCallBacks()
	told := foldAll(c, callStory("a", "+441", 0, "500"), callStory("b", "+442", 0, "cancelled"), callStory("c", "+443", 0, "lost"), callStory("d", "", 0, "cancelled"))
	var got []string
	for _, e := range told {
		got = append(got, string(e.Type)+" "+e.What+" "+e.Call+" "+e.Caller+": "+e.Why)
	}
	want := []string{
		"NinesCallback listed a +441: 500: the carrier may have connected it elsewhere (everybody refused)",
		"NinesCallback listed b +442: the caller gave up after 5s, before anybody answered",
		"NinesCallback listed c +443: lost while talking to room, and nobody else had taken over when the caller left",
		"NinesCallback listed d : the caller gave up after 5s, before anybody answered",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	l := c.Lines(false)[3]
	if l.From == "" || l.Missed[0].CallID != "d@bt" || l.Missed[0].Trunk != "bt" || l.Missed[0].Called != "999" || !l.Missed[0].Began.Equal(three) {
		t.Errorf("of a withheld number all that is known must be said: %+v", l)
	}
}

func TestWhoTalksNowNeedNotBeRungBack(t *testing.T) {
	c := NewCallBacks()
	foldAll(c, callStory("a", "+441", 0, "500"), callStory("b", "+441", time.Minute, "30s")[:2])
	if told := c.Talking(three.Add(time.Minute + 9*time.Second)); told != nil || c.Open() != 1 {
		t.Errorf("cleared after 8 s of talk: %v", told)
	}
	told := c.Talking(three.Add(time.Minute + 12*time.Second))
	if len(told) != 1 || told[0].What != "cleared" || told[0].Call != "b" || c.Open() != 0 {
		t.Errorf("told %+v, open %d; a caller who has talked for 11 s has got through", told, c.Open())
	}
}

func TestCallsInWhichTheNodeEndedAreListed(t *testing.T) {
	c := NewCallBacks()
	foldAll(c, callStory("a", "+441", 0, "starts"), callStory("b", "+442", 0, "30s")[:2], callStory("c", "+443", 0, "30s"), callStory("d", "+444", 0, "starts"))
	told := c.Interrupted(three.Add(time.Minute), func(call string) bool { return call == "d" })
	if len(told) != 2 || numbersOf(c) != "+441 +442" {
		t.Errorf("told %d, listed %q; want the two calls that nobody carries on", len(told), numbersOf(c))
	}
	foldAll(c, callStory("d", "+444", 0, "30s")[1:])
	if got := numbersOf(c); got != "+441 +442" {
		t.Errorf("listed %q; the call that was carried on has ended well", got)
	}
}

func TestAnEmergencyCallAfterAnAnnouncementIsCounted(t *testing.T) {
	announced := func(number string, from time.Duration) []Entry {
		return []Entry{{At: three.Add(from), Type: AnnouncementStart, Class: "routine", Caller: number}}
	}
	c := NewCallBacks()
	told := foldAll(c,
		announced("+441", 0), callStory("a", "+441", 9*time.Minute, "30s"), callStory("b", "+441", 9*time.Minute+50*time.Second, "30s"), // once
		announced("+442", 0), callStory("c", "+442", 11*time.Minute, "30s"), // too late
		announced("+443", 0), callStory("d", "+444", time.Minute, "30s"), // another
	)
	if c.Redials() != 1 || len(told) != 1 || told[0].Call != "a" {
		t.Errorf("counted %d, told %+v; want call a alone", c.Redials(), told)
	}
}

func TestWhatIsOldIsForgottenAndWhoIsErasedToo(t *testing.T) {
	c := NewCallBacks()
	foldAll(c, callStory("a", "+441905000001", 0, "500"), callStory("b", "+441905000002", time.Hour, "500"), callStory("c", "+441905000003", time.Hour, "500"))
	if open := c.Forget(three.Add(30*time.Minute+24*time.Hour), 24*time.Hour); open != 1 || c.Len() != 2 {
		t.Errorf("%d forgotten, %d left; want 1 and 2", open, c.Len())
	}
	c.Erase("+441905000002")
	if got := numbersOf(c); got != "+441905000003" {
		t.Errorf("left %q, want the one who was not erased", got)
	}
}

// TestTheSameEntriesGiveTheSameList folds a random day straight, in pieces with the list written down and read back between them, and with pieces told
// twice.
func TestTheSameEntriesGiveTheSameList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var day []Entry
		for i := range rapid.IntRange(1, 30).Draw(t, "calls") {
			number := rapid.SampledFrom([]string{"", "+441905000001", "+441905000002", "+441905000003"}).Draw(t, "number")
			what := rapid.SampledFrom([]string{"500", "cancelled", "lost", "5s", "30s"}).Draw(t, "what")
			day = append(day, callStory(fmt.Sprint("c", i), number, time.Duration(i)*time.Minute, what)...)
			if rapid.IntRange(0, 5).Draw(t, "act") == 0 {
				day = append(day, Entry{At: three.Add(time.Duration(i)*time.Minute + 45*time.Second), Type: OperatorAct, What: "callback", By: "alice", Caller: number, Call: fmt.Sprint("c", i)})
			}
		}
		straight := NewCallBacks()
		foldAll(straight, day)

		pieces := NewCallBacks()
		for at := 0; at < len(day); {
			n := rapid.IntRange(1, 10).Draw(t, "piece")
			upto := min(at+n, len(day))
			from := max(at-rapid.IntRange(0, 10).Draw(t, "again"), 0)
			foldAll(pieces, slices.Clone(day[from:upto]))
			at = upto
			b, err := json.Marshal(pieces.State(three))
			if err != nil {
				t.Fatal(err)
			}
			var s CallBackState
			if err := json.Unmarshal(b, &s); err != nil {
				t.Fatal(err)
			}
			pieces = RestoreCallBacks(s)
		}
		if diff := cmp.Diff(straight.Lines(true), pieces.Lines(true)); diff != "" {
			t.Fatalf("the list differs (-straight +in pieces):\n%s", diff)
		}
	})
}
