package txn

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestMain gives the property more runs than rapid's default of 100: a story needs several right steps in a row. The command line still wins.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.checks": "1000", "rapid.steps": "50"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// check looks for broken promises inside a table: each transaction has a deadline that the queue knows, and the counts are right.
func check(t *rapid.T, tb *Table[string]) {
	looks := map[item]int{}
	for i, it := range tb.queue {
		looks[it]++
		if i > 0 && it.at < tb.queue[(i-1)/4].at {
			t.Fatalf("the queue is out of order at %d", i)
		}
	}
	var counts [4]Count
	for key, place := range tb.index {
		e := tb.places.get(place)
		if e.key != key || e.state == 0 {
			t.Fatalf("%s points to a place of %q in state %s", key, e.key, e.state)
		}
		if e.end == never || e.queued > min(e.end, e.again) {
			t.Fatalf("%s (%s) is not looked at before its deadline", key, e.state)
		}
		if looks[item{e.queued, place, e.gen}] == 0 {
			t.Fatalf("%s (%s) has a deadline that the queue does not know", key, e.state)
		}
		if e.state.unanswered() {
			counts[e.role].Live++
		} else {
			counts[e.role].Lingering++
		}
	}
	if counts != tb.counts {
		t.Fatalf("counted %v, the table says %v", counts, tb.counts)
	}
	for key := range tb.cancels {
		if _, ok := tb.index[key]; !ok {
			t.Fatalf("a CANCEL waits for %s, which is gone", key)
		}
	}
}

// TestNothingIsLeftWithoutDeadline does anything in any order. Nothing may be left without a deadline, every transaction ends with exactly one Ended, a peer hears
// no second final answer, and in the end the table is empty.
func TestNothingIsLeftWithoutDeadline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 5, 3, 0, 0, 0, time.UTC)
		tb := New[string](Timers{})
		ends := map[Key]int{}      // Ended still owed
		finals := map[Key]string{} // first final refusal or non-INVITE final sent per server key
		flows := rapid.SampledFrom([]string{"A", "B"})
		bools := rapid.Bool()
		digest := func(eff []Effect[string]) {
			for _, e := range eff {
				switch e.Kind {
				case Ended:
					ends[e.Key]--
				case Send:
					if len(e.Data) == 0 {
						t.Fatalf("%s sends nothing", e.Key)
					}
					if e.Key[0] == 's' && e.Data[0] > '2' {
						if had := finals[e.Key]; had != "" && had != string(e.Data) {
							t.Fatalf("%s hears %s after %s", e.Key, e.Data, had)
						}
						finals[e.Key] = string(e.Data)
					}
				case TimedOut, Failed:
					if e.Key.Method() == "CANCEL" {
						t.Fatalf("somebody heard of a CANCEL: %v", e)
					}
				}
			}
		}
		branch := func() string { return fmt.Sprint(rapid.IntRange(0, 1).Draw(t, "branch")) }
		method := func() string { return rapid.SampledFrom([]string{"INVITE", "INVITE", "BYE"}).Draw(t, "method") }
		code := func() int { return rapid.SampledFrom([]int{100, 180, 200, 202, 302, 486, 500}).Draw(t, "code") }
		client := func() Key { return ClientKey(branch(), method()) }
		server := func() Key { return ServerKey(branch(), "peer", method()) }
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { check(t, tb) },
			"wait": func(t *rapid.T) {
				to := now.Add(time.Duration(rapid.IntRange(0, 40000).Draw(t, "ms")) * time.Millisecond)
				for next := tb.Next(); !next.IsZero() && !next.After(to); next = tb.Next() {
					if next.Before(now) {
						next = now
					}
					now = next
					digest(tb.Tick(now, nil))
				}
				now = to
			},
			"oversleep": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 90000).Draw(t, "ms")) * time.Millisecond)
				digest(tb.Tick(now, nil))
			},
			"request": func(t *rapid.T) {
				key := client()
				if _, ok := tb.Find(key); ok {
					return
				}
				ends[key]++
				timeout := rapid.SampledFrom([]time.Duration{0, 800 * time.Millisecond}).Draw(t, "timeout")
				digest(tb.Request(now, key, 1, flows.Draw(t, "flow"), key.Method() == "INVITE", bools.Draw(t, "reliable"), []byte("request"), timeout, nil))
			},
			"response": func(t *rapid.T) {
				key := client()
				if rapid.IntRange(0, 5).Draw(t, "of cancel") == 0 {
					key = ClientKey(branch(), "CANCEL")
				}
				_, _, _, eff := tb.Response(now, key, code(), nil)
				digest(eff)
			},
			"ack":    func(_ *rapid.T) { digest(tb.Ack(now, client(), []byte("ack"), nil)) },
			"cancel": func(_ *rapid.T) { digest(tb.Cancel(now, client(), []byte("cancel"), nil)) },
			"receive": func(t *rapid.T) {
				key := server()
				isNew, _, eff := tb.Receive(now, key, 2, flows.Draw(t, "flow"), key.Method() == "INVITE", bools.Draw(t, "reliable"), nil)
				if isNew {
					ends[key]++
					delete(finals, key)
				}
				digest(eff)
			},
			"respond": func(_ *rapid.T) {
				c := code()
				digest(tb.Respond(now, server(), c, fmt.Append(nil, c), nil))
			},
			"acked": func(_ *rapid.T) {
				_, eff := tb.Acked(now, server(), nil)
				digest(eff)
			},
			"forget": func(_ *rapid.T) {
				key := client()
				if tb.Forget(key) {
					ends[key]--
				}
			},
			"broken": func(t *rapid.T) {
				flow := flows.Draw(t, "flow")
				digest(tb.Broken(func(f string) bool { return f == flow }, nil))
			},
			"move": func(t *rapid.T) { tb.Move(client(), flows.Draw(t, "flow")) },
			"restart": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "seldom") > 0 {
					return
				}
				fresh := New[string](Timers{})
				clear(ends)
				tb.Live(func(s Snapshot) bool {
					data, err := json.Marshal(s)
					if err != nil {
						t.Fatal(err)
					}
					var back Snapshot
					if err := json.Unmarshal(data, &back); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(s, back); diff != "" {
						t.Fatalf("a snapshot changed on disk:\n%s", diff)
					}
					ends[s.Key]++
					eff, err := fresh.Restore(now, back, "A", nil)
					if err != nil {
						t.Fatal(err)
					}
					digest(eff)
					return true
				})
				tb = fresh
			},
		})
		end := now.Add(24 * time.Hour)
		for next := tb.Next(); !next.IsZero() && next.Before(end); next = tb.Next() {
			if next.After(now) {
				now = next
			}
			digest(tb.Tick(now, nil))
		}
		if tb.Len() != 0 || len(tb.cancels) != 0 || len(tb.queue) != 0 {
			t.Fatalf("left at the end: %d transactions, %d CANCELs, %d looks", tb.Len(), len(tb.cancels), len(tb.queue))
		}
		for key, n := range ends {
			if n != 0 {
				t.Fatalf("%s: %d Ended are missing", key, n)
			}
		}
	})
}

func TestABranchIsNeverUsedTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("got no panic: a second request on a branch would take the first one's responses")
		}
	}()
	tb := New[string](Timers{})
	tb.Request(time.Time{}, "c INVITE x", 1, "A", true, false, nil, 0, nil)
	tb.Request(time.Time{}, "c INVITE x", 2, "A", true, false, nil, 0, nil)
}

func TestKeys(t *testing.T) {
	legacy := LegacyBranch("call@x", "tag1", 7, "sip:999@nines", "SIP/2.0/UDP 192.0.2.1:5060")
	tests := []struct {
		why  string
		a, b Key
		same bool
	}{
		{"an ACK of a refusal belongs to its INVITE", ServerKey("z9hG4bK1", "a:5060", "ACK"), ServerKey("z9hG4bK1", "a:5060", "INVITE"), true},
		{"a CANCEL is a transaction of its own", ServerKey("z9hG4bK1", "a:5060", "CANCEL"), ServerKey("z9hG4bK1", "a:5060", "INVITE"), false},
		{"two peers may use the same branch", ServerKey("z9hG4bK1", "a:5060", "INVITE"), ServerKey("z9hG4bK1", "b:5060", "INVITE"), false},
		{"our own branch coming back to us is a new request", ServerKey("z9hG4bK1", "", "INVITE"), ClientKey("z9hG4bK1", "INVITE"), false},
		{"an old peer's ACK, with its To tag, finds its INVITE", ServerKey(legacy, "", "ACK"), ServerKey(legacy, "", "INVITE"), true},
		{
			"an old peer's next call has another Call-ID", ServerKey(legacy, "", "INVITE"),
			ServerKey(LegacyBranch("call2@x", "tag1", 7, "sip:999@nines", "SIP/2.0/UDP 192.0.2.1:5060"), "", "INVITE"), false,
		},
		{"the CANCEL of a client INVITE has its branch", cancelKey(ClientKey("z9hG4bK1", "INVITE")), ClientKey("z9hG4bK1", "CANCEL"), true},
	}
	for _, tt := range tests {
		if got := tt.a == tt.b; got != tt.same {
			t.Errorf("%s: %q and %q are the same: got %v, want %v", tt.why, tt.a, tt.b, got, tt.same)
		}
	}
	if got := ServerKey("z9hG4bK1", "a", "OPTIONS").Method(); got != "OPTIONS" {
		t.Errorf("a key knows its method: got %s, want OPTIONS", got)
	}
}

func TestAClockJumpMovesNoDeadline(t *testing.T) {
	// time.Now carries the monotonic clock; adding to it moves both, Round(0) strips it. What a table keeps must be monotonic (PRODUCT R45).
	tb := New[string](Timers{})
	now := time.Now() //nolint:forbidigo // the wall clock is what this test is about
	tb.Request(now, ClientKey("x", "INVITE"), 1, "A", true, false, []byte("m"), 0, nil)
	if got, want := tb.Next().Sub(now), 500*time.Millisecond; got != want {
		t.Errorf("time to Timer A: got %s, want %s", got, want)
	}
	if tb.Next().String() == tb.Next().Round(0).String() {
		t.Errorf("the deadline %s has lost its monotonic clock", tb.Next())
	}
}

func TestRestoreRefusesWhatIsNoLiveInvite(t *testing.T) {
	for _, s := range []Snapshot{
		{},
		{Key: "c BYE x", State: Trying},
		{Key: "c INVITE x", State: Completed},
		{Key: "s INVITE x y", State: Trying},
		{Key: "s INVITE x y", State: 77},
		{Key: "c INVITE ", State: Trying},
	} {
		tb := New[string](Timers{})
		if eff, err := tb.Restore(time.Unix(1, 0), s, "A", nil); err == nil || len(eff) != 0 || tb.Len() != 0 {
			t.Errorf("%+v: got %v, %v and %d transactions, want an error and nothing else", s, eff, err, tb.Len())
		}
	}
}
