package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nines/console"
	"nines/internal/town"
	"nines/journal"
)

// from places an emergency call of a number and does not wait for it.
func (h *house) from(number string, d town.Dial) *town.Call {
	h.t.Helper()
	d.URI, d.From = "sip:999@10.0.0.1:5060", number
	c, err := h.carrier.Place(d)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *house) waiting() console.CallBackList {
	h.t.Helper()
	l, err := h.node.CallBackList(h.t.Context(), false, journal.Full)
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

func numbers(l console.CallBackList) map[string]string {
	m := map[string]string{}
	for _, b := range l.Lines {
		m[b.Number] = b.Missed[len(b.Missed)-1].Reason
	}
	return m
}

// TestFiftyCallersFailTwentyGetThroughThirtyWait is R34, in a restarted node too: by the file alone, and by the book alone.
func TestFiftyCallersFailTwentyGetThroughThirtyWait(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dir)
		defer h.close()
		number := func(i int) string { return fmt.Sprintf("+4419050010%02d", i) }

		for _, room := range []*town.Phone{h.control, h.standby} {
			room.Script(town.Always(town.Refuses(503, 0)))
		}
		for i := range 30 {
			h.from(number(i), town.Dial{})
			time.Sleep(100 * time.Millisecond)
		}
		for _, room := range []*town.Phone{h.control, h.standby} {
			room.Script(town.Always(town.Rings(100 * time.Millisecond)))
		}
		for i := range 20 {
			h.from(number(30+i), town.Dial{CancelAfter: 4 * time.Second})
		}
		time.Sleep(10 * time.Second)
		if got := len(h.waiting().Lines); got != 50 {
			t.Fatalf("%d wait after fifty calls failed; want 50", got)
		}
		for _, room := range []*town.Phone{h.control, h.standby} {
			room.Script(town.Always(town.Answers(100 * time.Millisecond)))
		}
		for i := range 20 {
			talk := 12 * time.Second
			h.from(number(2*i), town.Dial{TalkFor: talk})
			time.Sleep(time.Second)
		}
		h.from(number(1), town.Dial{TalkFor: 8 * time.Second}) // too short to be sure
		time.Sleep(5 * time.Second)
		if got := len(h.waiting().Lines); got >= 50 {
			t.Errorf("%d wait while callers talk; who has talked for 10 s has got through", got)
		}
		time.Sleep(20 * time.Second)

		check := func(when string) {
			t.Helper()
			l := h.waiting()
			if l.Open != 30 || len(l.Lines) != 30 || l.NotKept != "" {
				t.Errorf("%s: %d wait (%q, %q), want 30", when, l.Open, l.NotKept, l.Trouble)
			}
			said := numbers(l)
			for i := range 50 {
				reason, waits := said[number(i)]
				if want := i%2 == 1 || i >= 40; waits != want {
					t.Errorf("%s: %s waits: %v, want %v", when, number(i), waits, want)
				}
				if i < 30 && waits && !strings.HasPrefix(reason, "500: the carrier may have connected it elsewhere") {
					t.Errorf("%s: %s waits because %q", when, number(i), reason)
				}
			}
		}
		check("before a restart")
		state := filepath.Join(dir, "state")
		for _, without := range []string{"", callBackName, "nines.db"} {
			h.stop()
			for _, end := range []string{"", "-wal", "-shm"} {
				if without != "" {
					_ = os.Remove(filepath.Join(state, without+end)) // it may not be there
				}
			}
			h.start()
			check("after a restart without " + without)
		}

		if _, err := h.node.CallBackDone(t.Context(), console.CallBackDone{Who: "01905 001001", By: "alice", Outcome: "spoke to caller"}); err != nil {
			t.Errorf("a number as people write it: %v", err)
		}
		for _, wrong := range []console.CallBackDone{
			{Who: number(1), By: "alice", Outcome: "again"}, {Who: number(3), Outcome: "nobody's act"}, {Who: number(3), By: "alice"}, {Who: "", By: "alice", Outcome: "x"},
		} {
			if _, err := h.node.CallBackDone(t.Context(), wrong); err == nil {
				t.Errorf("%+v is taken", wrong)
			}
		}
		h.stop()
		h.start()
		if l := h.waiting(); l.Open != 29 || numbers(l)[number(1)] != "" {
			t.Errorf("%d wait after one was rung back and a restart; want 29", l.Open)
		}
	})
}

// TestAnErasedNumberIsNowhere: not in the book, the call-back list, the notices or the calls in memory, whoever it was: caller, called, somebody who
// withheld it, or a name in a header. No file has it, and a restart does not bring it back.
func TestAnErasedNumberIsNowhere(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dir)
		for _, room := range []*town.Phone{h.control, h.standby} {
			room.Script(town.Always(town.Rings(100 * time.Millisecond)))
		}
		h.from("+441905002001", town.Dial{CancelAfter: 3 * time.Second})
		h.from("+441905002002", town.Dial{CancelAfter: 3 * time.Second})
		h.from("anonymous", town.Dial{CancelAfter: 3 * time.Second, Headers: []town.Header{{Name: "P-Asserted-Identity", Value: "<tel:+441905002001>"}, {Name: "Privacy", Value: "id"}}})
		h.from("+441905002003", town.Dial{CancelAfter: 3 * time.Second, Headers: []town.Header{{Name: "Diversion", Value: "<sip:01905002001@bt.example>"}}})
		if _, err := h.carrier.Place(town.Dial{URI: "sip:+441905002001@10.0.0.1:5060", From: "+441905002004", CancelAfter: 3 * time.Second}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		request := console.EraseRequest{Number: "01905 002001", By: "alice", Why: "request 17"}
		if _, err := h.node.EraseNumber(t.Context(), request); err == nil || !strings.Contains(err.Error(), "in progress") {
			t.Errorf("to erase the number of a call in progress gave %v; want to be told to wait", err)
		}
		time.Sleep(8 * time.Second)
		if got := h.waiting(); got.Open != 4 {
			t.Fatalf("%d wait; want four callers, one of whom called twice: %+v", got.Open, got.Lines)
		}
		if _, err := h.node.EraseNumber(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		others := func(when string) {
			t.Helper()
			if got := numbers(h.waiting()); len(got) != 3 || got["+441905002002"] == "" || got["+441905002003"] == "" || got["+441905002004"] == "" {
				t.Errorf("%s %v wait; want the others", when, got)
			}
		}
		others("after one number was erased")
		calls, err := h.node.Calls(t.Context(), console.CallQuery{}, journal.Full)
		if err != nil || len(calls.Calls) != 5 {
			t.Errorf("%d calls are listed (%v); want all five, without the number", len(calls.Calls), err)
		}
		for _, c := range calls.Calls {
			d, err := h.node.Call(t.Context(), c.ID, journal.Full)
			if err != nil {
				t.Error(err)
			}
			if text := string(asJSON(d)); strings.Contains(text, "5002001") {
				t.Errorf("a call still shows the number: %s", text)
			}
		}
		if text := string(asJSON(h.node.Notices())); strings.Contains(text, "5002001") {
			t.Errorf("a notice still has the number: %s", text)
		}
		time.Sleep(5 * time.Second) // for what comes late
		h.close()
		err = filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), "5002001") {
				t.Errorf("%s still has the erased number", filepath.Base(name))
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		h = newHouse(t, dir)
		defer h.close()
		time.Sleep(5 * time.Second)
		others("after a restart")
	})
}

// TestCallsInWhichTheNodeEndedAreListed: what became of them nobody knows.
func TestCallsInWhichTheNodeEndedAreListed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dir)
		defer h.close()
		h.from("+441905001001", town.Dial{TalkFor: time.Hour})
		time.Sleep(5 * time.Second)
		h.stop() // the call has more time than the drain: it is cut
		h.start()
		if l := h.waiting(); l.Open != 1 || numbers(l)["+441905001001"] == "" {
			t.Errorf("%+v; want the call that talked when the node ended", l)
		}
	})
}

func TestWhatACallLeavesInTheBook(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, dir)
		defer h.close()
		h.from("+441905001001", town.Dial{TalkFor: 5 * time.Second})
		time.Sleep(2 * time.Second)
		live, err := h.node.Calls(t.Context(), console.CallQuery{Live: true}, journal.LastThree)
		if err != nil || len(live.Calls) != 1 || live.Calls[0].State != "talking" || live.Calls[0].Caller != "…001" || live.Calls[0].Endpoint != "control-room" {
			t.Errorf("live: %+v, %v", live, err)
		}
		time.Sleep(10 * time.Second)
		name := live.Calls[0].ID
		inMemory, err := h.node.Call(t.Context(), name, journal.Full)
		if err != nil {
			t.Fatal(err)
		}
		h.stop()
		h.start() // now it is in the book only
		booked, err := h.node.Call(t.Context(), name, journal.Full)
		if err != nil {
			t.Fatal(err)
		}
		story := func(d console.CallDetail) string {
			var said []string
			for _, e := range d.Entries {
				said = append(said, strings.TrimSpace(string(e.Type)+" "+e.What+" "+e.Endpoint+" "+e.Outcome))
			}
			return strings.Join(said, "\n")
		}
		want := strings.Join([]string{
			"CallStartLogEvent", "RouteRuleMsgLogEvent control-room, standby-room", "RouteLogEvent  control-room", "CallStateChangeLogEvent ringing control-room",
			"NinesAttemptOutcome  control-room answered", "CallStateChangeLogEvent answered control-room", "MediaStartLogEvent  control-room", "MediaEndLogEvent  control-room",
			"CallEndLogEvent  control-room answered",
		}, "\n")
		if got := story(inMemory); got != want {
			t.Errorf("in memory:\n%s\nwant:\n%s", got, want)
		}
		if got := story(booked); got != want {
			t.Errorf("in the book:\n%s\nwant:\n%s", got, want)
		}
		if booked.Call.Caller != "+441905001001" || booked.Call.TalkSeconds < 4.9 || booked.Call.Attempts != 1 || booked.Call.SetupMillis < 100 {
			t.Errorf("its line: %+v", booked.Call)
		}
		var first []string
		for _, m := range booked.Messages {
			line, _, _ := strings.Cut(m.Text, " ")
			if strings.HasPrefix(m.Text, "SIP/2.0") {
				line = m.Text[8:11]
			}
			first = append(first, line)
		}
		if got, want := strings.Join(first, " "), "INVITE 100 INVITE 180 180 200 200 ACK ACK"; !strings.HasPrefix(got, want) || !strings.Contains(got, "BYE") {
			t.Errorf("messages %s, want %s … BYE", got, want)
		}
		byCallID, err := h.node.Call(t.Context(), booked.Call.CallID, journal.LastThree)
		if err != nil || byCallID.Call.ID != name || byCallID.Messages != nil || strings.Contains(fmt.Sprint(byCallID), "905001001") {
			t.Errorf("by Call-ID, for who may not see numbers: %+v, %v", byCallID, err)
		}
		past, err := h.node.Calls(t.Context(), console.CallQuery{Number: "01905001001", Limit: 10}, journal.Full)
		if err != nil || len(past.Calls) != 1 || past.Calls[0].ID != name {
			t.Errorf("by number: %+v, %v", past, err)
		}
	})
}
