package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// ear is a Way that keeps what it hears.
type ear struct {
	mu    sync.Mutex
	heard []Message
	at    []time.Time
	send  func(ctx context.Context, m Message) error // nil: everything arrives
}

func (e *ear) Send(ctx context.Context, m Message) error {
	if e.send != nil {
		if err := e.send(ctx, m); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard, e.at = append(e.heard, m), append(e.at, time.Now())
	return nil
}

// said gives a line for each message.
func (e *ear) said() (all []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.heard {
		line := string(m.Thread.Code) + ": " + m.Thread.Text
		switch {
		case m.Reminder:
			line += " (reminder)"
		case m.Thread.Ended():
			line += " (over)"
		}
		all = append(all, line)
	}
	return all
}

func sameLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the receiver was told\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// in runs a desk with these receivers in a bubble of its own time.
func in(t *testing.T, cfg Config, receivers []Receiver, f func(*Desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.Run(ctx) }() // ends with ctx
		d.Swap(receivers, nil)
		synctest.Wait()
		f(d)
		cancel()
		<-done
	})
}

func outage(text string) Notice { return Notice{Key: "outage", Code: Diverted, Text: text} }

func TestANoticeIsRepeatedUntilSomebodyAcknowledges(t *testing.T) {
	e := &ear{}
	in(t, Config{Node: "west-mercia"}, []Receiver{{Name: "hook", Way: e, Repeat: time.Minute}}, func(d *Desk) {
		d.Tell(outage("control-room is down"))
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		sameLines(t, e.said(), "calls-diverted: control-room is down", "calls-diverted: control-room is down (reminder)", "calls-diverted: control-room is down (reminder)")
		id := d.Threads()[0].ID
		if _, _, err := d.Acknowledge(t.Context(), id, "alice"); err != nil {
			t.Fatalf("acknowledge %s: %v", id, err)
		}
		time.Sleep(time.Hour)
		if n := len(e.said()); n != 3 {
			t.Errorf("after the acknowledgement there were %d more messages; want none", n-3)
		}
		if _, _, err := d.Acknowledge(t.Context(), id, "bob"); !errors.Is(err, ErrNoThread) {
			t.Errorf("acknowledged twice: %v; want that it is acknowledged already", err)
		}
	})
}

func TestOneOutageIsOneThread(t *testing.T) {
	e := &ear{}
	in(t, Config{}, []Receiver{{Name: "hook", Way: e, Repeat: time.Hour}}, func(d *Desk) {
		for i := range 500 {
			d.Tell(Notice{Key: "outage", Code: Diverted, Text: fmt.Sprintf("%d rooms are down", i+1), Details: []string{"x"}})
		}
		time.Sleep(settle + time.Second)
		synctest.Wait()
		if n := len(e.said()); n > 2 {
			t.Errorf("500 deaths in one moment were %d messages; want the first and an update", n)
		}
		if last := e.said()[len(e.said())-1]; last != "calls-diverted: 500 rooms are down" {
			t.Errorf("the last thing said is %q; want the newest state", last)
		}
		if n := len(d.Threads()); n != 1 {
			t.Errorf("there are %d threads; want one for the outage", n)
		}
	})
}

func TestOtherDetailsAreNoNews(t *testing.T) {
	e := &ear{}
	in(t, Config{}, []Receiver{{Name: "hook", Way: e, Repeat: time.Minute}}, func(d *Desk) {
		for i := range 30 {
			d.Tell(Notice{Key: "outage", Code: Diverted, Text: "down", Details: []string{fmt.Sprintf("%d calls", i)}})
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := len(e.said()); n != 1 {
			t.Errorf("a count that grows was %d messages in 30 s; want 1", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := e.heard[1].Thread.Details[0]; got != "29 calls" {
			t.Errorf("the reminder says %q; want the newest count", got)
		}
	})
}

func TestWorseIsSaidAtOnceAndMustBeAcknowledgedAgain(t *testing.T) {
	e := &ear{}
	in(t, Config{}, []Receiver{{Name: "hook", Way: e, Repeat: time.Minute}}, func(d *Desk) {
		d.Tell(Notice{Key: "outage", Code: RoomDown, Text: "standby is down"})
		synctest.Wait()
		if _, _, err := d.Acknowledge(t.Context(), "", "alice"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		d.Tell(Notice{Key: "outage", Code: Unanswered, Text: "nobody answers"})
		synctest.Wait()
		sameLines(t, e.said(), "room-down: standby is down", "calls-unanswered: nobody answers")
		if late := e.at[1].Sub(began); late != 0 {
			t.Errorf("what is worse was said %v late; want at once", late)
		}
		if !d.Threads()[0].Waits() {
			t.Error("alice's acknowledgement of less covers what is worse; it must not")
		}
		d.Tell(Notice{Key: "outage", Code: Diverted, Text: "standby answers again"})
		if got := d.Threads()[0].Code; got != Unanswered {
			t.Errorf("the thread is called %s now; want the worst that has happened", got)
		}
	})
}

func TestACriticalNoticeIsRepeatedWhenItIsOverAWarningIsNot(t *testing.T) {
	e := &ear{}
	in(t, Config{}, []Receiver{{Name: "hook", Way: e, Repeat: time.Minute}}, func(d *Desk) {
		for _, tell := range []func(){
			func() { d.Tell(outage("down")) },
			func() { d.Tell(Notice{Key: "disk", Code: DiskFull, Text: "full"}) },
			func() { d.Over(Notice{Key: "disk", Text: "there is room again"}) },
			func() { d.Over(Notice{Key: "outage", Text: "all is well"}) },
		} {
			tell()
			synctest.Wait() // what is told together is said in an order of its own
		}
		time.Sleep(90 * time.Second)
		synctest.Wait()
		sameLines(t, e.said()[2:], "disk-full: there is room again (over)", "calls-diverted: all is well (over)", "calls-diverted: all is well (reminder)")
		if _, _, err := d.Acknowledge(t.Context(), "", "alice"); err != nil {
			t.Fatal(err)
		}
		if left := d.Threads(); len(left) != 0 {
			t.Errorf("open after all is over and acknowledged: %v; want nothing", left)
		}
		d.Tell(outage("down again"))
		synctest.Wait()
		if got := d.Threads(); len(got) != 1 || got[0].ID == e.heard[0].Thread.ID {
			t.Errorf("the next outage is %v; want a thread of its own", got)
		}
	})
}

func TestADeadReceiverHearsHowItIsNowAndDelaysNobody(t *testing.T) {
	alive := &ear{}
	dead := &ear{}
	var back atomic.Bool
	dead.send = func(ctx context.Context, _ Message) error {
		if !back.Load() {
			<-ctx.Done() // it hangs for ever
			return ctx.Err()
		}
		return nil
	}
	var events []Event
	var mu sync.Mutex
	cfg := Config{Tell: func(e Event) { mu.Lock(); defer mu.Unlock(); events = append(events, e) }}
	in(t, cfg, []Receiver{{Name: "alive", Way: alive, Repeat: time.Hour}, {Name: "dead", Way: dead, Repeat: time.Hour}}, func(d *Desk) {
		began := time.Now()
		for i := range 20 {
			d.Tell(outage(fmt.Sprintf("state %d", i)))
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if n := len(alive.said()); n != 20 {
			t.Errorf("the receiver that lives got %d of 20 updates", n)
		}
		if at := alive.at[0].Sub(began); at != 0 {
			t.Errorf("it got the first after %v; want at once", at)
		}
		mu.Lock()
		tries := 0
		for _, e := range events {
			if e.What == Failed {
				tries++
			}
		}
		mu.Unlock()
		if tries < 8 || tries > 22 {
			t.Errorf("the dead one was tried %d times in 20 minutes; want fewer and fewer, up to 2 minutes apart", tries)
		}
		back.Store(true)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		sameLines(t, dead.said(), "calls-diverted: state 19")
	})
}

func TestTellingIsBounded(t *testing.T) {
	e := &ear{send: func(ctx context.Context, _ Message) error { <-ctx.Done(); return ctx.Err() }}
	in(t, Config{}, []Receiver{{Name: "hook", Way: e}}, func(d *Desk) {
		d.Tell(outage("down"))
		for i := range 10_000 {
			d.Tell(Notice{Code: Abandoned, Text: fmt.Sprint(i)})
		}
		d.mu.Lock()
		n := len(d.threads)
		d.mu.Unlock()
		if n > mostThreads {
			t.Errorf("%d threads are kept; want at most %d", n, mostThreads)
		}
		if !d.Open("outage") {
			t.Error("the outage was dropped for notices that matter less")
		}
		if d.Lost() == 0 {
			t.Error("nobody counted what was dropped")
		}
	})
}

func TestOnlyItsOwnReceiverHearsWhatIsForARoom(t *testing.T) {
	all, room, pager := &ear{}, &ear{}, &ear{}
	in(t, Config{}, []Receiver{
		{Name: "all", Way: all},
		{Name: "room", Way: room, Rooms: []string{"control-room"}},
		{Name: "pager", Way: pager, Least: Critical},
	}, func(d *Desk) {
		d.Tell(Notice{Code: Abandoned, Room: "control-room", Text: "+441905000001 gave up"})
		d.Tell(Notice{Code: Abandoned, Room: "elsewhere", Text: "+441905000002 gave up"})
		d.Tell(outage("down"))
		d.Tell(Notice{Code: HoldEnded, Text: "the hold has ended"})
		synctest.Wait()
		sameLines(t, all.said(), "calls-diverted: down", "hold-ended: the hold has ended")
		sameLines(t, room.said(), "abandoned-call: +441905000001 gave up")
		sameLines(t, pager.said(), "calls-diverted: down")
	})
}

func TestWhatNobodyAcknowledgedIsKnownAfterARestart(t *testing.T) {
	cfg := Config{Path: filepath.Join(t.TempDir(), "state", "notices.state")}
	e := &ear{}
	receivers := []Receiver{{Name: "hook", Way: e, Repeat: 10 * time.Minute}}
	var id string
	in(t, cfg, receivers, func(d *Desk) {
		d.Tell(outage("down"))
		d.Tell(Notice{Key: "disk", Code: DiskFull, Text: "full"})
		synctest.Wait()
		threads := d.Threads()
		id = threads[0].ID
		if _, kept, err := d.Acknowledge(t.Context(), threads[1].ID, "alice"); kept != nil || err != nil {
			t.Fatalf("acknowledge: %v, %v", kept, err)
		}
	})
	in(t, cfg, receivers, func(d *Desk) {
		threads := d.Threads()
		if len(threads) != 2 || threads[0].ID != id || threads[0].Text != "down" || threads[1].By != "alice" {
			t.Fatalf("after the restart there are %+v; want both, the second acknowledged by alice", threads)
		}
		if n := len(e.said()); n != 2 {
			t.Errorf("the restart alone made %d messages", n-2)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		sameLines(t, e.said()[2:], "calls-diverted: down (reminder)")
		d.Tell(Notice{Code: HoldEnded, Text: "new"})
		if all := d.Threads(); all[len(all)-1].ID == id {
			t.Errorf("a new thread has the name %s of an old one", id)
		}
	})
}

func TestABrokenBookIsNoReasonNotToStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notices.state")
	if err := os.WriteFile(path, []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(Config{Path: path})
	if err == nil || d == nil {
		t.Fatalf("Open said %v; want an error and a desk", err)
	}
	if aside, _ := filepath.Glob(path + ".corrupt-*"); len(aside) != 1 {
		t.Errorf("the broken file was not moved aside: %v", aside)
	}
}

func TestWhatWasHalfWrittenIsTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notices.state")
	if err := os.WriteFile(path+".new", []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Path: path}); err != nil {
		t.Errorf("Open said %v; want none, nothing is read from there", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

func TestAFullDiskDelaysNoNotice(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	e := &ear{}
	in(t, Config{Path: filepath.Join(blocked, "notices.state")}, []Receiver{{Name: "hook", Way: e}}, func(d *Desk) {
		if err := os.WriteFile(blocked, nil, 0o600); err != nil { // where the folder should be
			t.Fatal(err)
		}
		d.Tell(outage("down"))
		synctest.Wait()
		sameLines(t, e.said(), "calls-diverted: down")
		_, kept, err := d.Acknowledge(t.Context(), "", "alice")
		if err != nil || kept == nil {
			t.Errorf("acknowledge on a broken disk: kept %v, error %v; want that it counts and would not survive", kept, err)
		}
		if d.Unkept() == nil {
			t.Error("nobody says that nothing is written down")
		}
	})
}

func TestAReceiverThatIsNewHearsWhatIsOpen(t *testing.T) {
	old, fresh := &ear{}, &ear{}
	in(t, Config{}, []Receiver{{Name: "old", Way: old}}, func(d *Desk) {
		d.Tell(outage("down"))
		synctest.Wait()
		d.Swap([]Receiver{{Name: "old", Way: old}, {Name: "fresh", Way: fresh}}, nil)
		synctest.Wait()
		sameLines(t, old.said(), "calls-diverted: down")
		sameLines(t, fresh.said(), "calls-diverted: down")
	})
}

func TestEveryCodeIsDeclaredOnce(t *testing.T) {
	seen := map[Code]bool{}
	for _, k := range Kinds() {
		if seen[k.Code] {
			t.Errorf("%s is declared twice", k.Code)
		}
		seen[k.Code] = true
		if k.Severity.rank() == 0 || k.Title == "" || k.Do == "" || strings.HasSuffix(k.Do, ".") {
			t.Errorf("%s lacks a severity, a title or what to do, or ends in a full stop: %+v", k.Code, k)
		}
	}
}
