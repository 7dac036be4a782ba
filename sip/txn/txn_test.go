package txn

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts plays each story in testdata. Lines that begin with > are what happens, +2s lets time pass, and the lines between are what the table does:
// < effects with the time since the start, = answers. The first comment of a file says what it promises.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 30 {
		t.Fatalf("got %d transcripts (%v); every timer and every crossing has one", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the story differs from %s (-want +got); review it, then -update:\n%s", file, diff)
			}
		})
	}
}

// player runs a transcript against a table.
type player struct {
	t      *testing.T
	table  *Table[string]
	now    time.Time
	begin  time.Time
	out    strings.Builder
	saved  map[Key]Snapshot
	owners uint64
}

func play(t *testing.T, script string) string {
	begin := time.Date(2026, 11, 5, 3, 0, 0, 0, time.UTC)
	p := &player{t: t, table: New[string](Timers{}), now: begin, begin: begin, saved: map[Key]Snapshot{}}
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "<"), strings.HasPrefix(line, "="):
			continue // what it said last time
		}
		fmt.Fprintln(&p.out, line)
		switch {
		case strings.HasPrefix(line, "+"):
			d, err := time.ParseDuration(line[1:])
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			p.pass(p.now.Add(d))
		case line == "> until nothing is left":
			for next := p.table.Next(); !next.IsZero() && next.Sub(begin) < 24*time.Hour; next = p.table.Next() {
				p.pass(next)
			}
			if n := p.table.Len(); n != 0 {
				t.Errorf("%d transactions are left without a deadline", n)
			}
		case strings.HasPrefix(line, ">"):
			p.do(strings.Fields(line[1:]))
		}
	}
	return p.out.String()
}

// pass lets time go by, and wakes the table whenever it wants to be woken.
func (p *player) pass(to time.Time) {
	for next := p.table.Next(); !next.IsZero() && !next.After(to); next = p.table.Next() {
		p.now = next
		p.show(p.table.Tick(p.now, nil))
	}
	p.now = to
}

func (p *player) show(eff []Effect[string]) {
	for _, e := range eff {
		fmt.Fprintf(&p.out, "< %-8s", p.now.Sub(p.begin))
		switch e.Kind {
		case Send:
			fmt.Fprintf(&p.out, " send %q on %s\n", e.Data, e.Flow)
		case TimedOut:
			fmt.Fprintf(&p.out, " timed out %s of call %d\n", name(e.Key), e.Owner)
		case Failed:
			fmt.Fprintf(&p.out, " failed %s of call %d\n", name(e.Key), e.Owner)
		case Ended:
			fmt.Fprintf(&p.out, " ended %s of call %d\n", name(e.Key), e.Owner)
		}
	}
}

func name(k Key) string {
	parts := strings.Fields(string(k))
	return parts[1] + " " + parts[2]
}

func (p *player) say(format string, args ...any) { fmt.Fprintf(&p.out, "= "+format+"\n", args...) }

// do runs one line: a verb, a method, a branch (c1 is our client's, s1 a peer's) and options.
func (p *player) do(f []string) {
	verb, method, branch := f[0], f[1], ""
	if len(f) > 2 {
		branch = f[2]
	}
	key := ClientKey(branch, method)
	if strings.HasPrefix(branch, "s") {
		key = ServerKey(branch, "peer:5060", method)
	}
	has := func(opt string) bool {
		return slices.Contains(f, opt)
	}
	arg := func(prefix, def string) string {
		for _, o := range f {
			if v, ok := strings.CutPrefix(o, prefix); ok {
				return v
			}
		}
		return def
	}
	flow := arg("flow=", "A")
	msg := func(what string) []byte { return []byte(what + " " + branch) }
	tb := p.table
	switch verb {
	case "request":
		timeout, err := time.ParseDuration(arg("timeout=", "0s"))
		if err != nil {
			p.t.Fatal(err)
		}
		p.owners++
		p.show(tb.Request(p.now, key, p.owners, flow, method == "INVITE", has("tcp"), msg(method), timeout, nil))
	case "response":
		var code int
		if _, err := fmt.Sscan(f[3], &code); err != nil {
			p.t.Fatal(err)
		}
		v, owner, needAck, eff := tb.Response(p.now, key, code, nil)
		p.say("%s%s", map[Verdict]string{Unknown: "unknown", Pass: "pass", Repeat: "repeat", Late: "late"}[v],
			map[bool]string{true: ", to be ACKed"}[needAck])
		if v != Unknown && owner == 0 {
			p.t.Errorf("%v: a known response has no owner", f)
		}
		p.show(eff)
	case "ack":
		p.show(tb.Ack(p.now, key, msg("ACK"), nil))
	case "cancel":
		p.show(tb.Cancel(p.now, key, msg("CANCEL"), nil))
	case "receive":
		p.owners++
		isNew, owner, eff := tb.Receive(p.now, key, p.owners, flow, method == "INVITE", has("tcp"), nil)
		if isNew {
			p.say("new, call %d", owner)
		} else {
			p.owners--
			p.say("a repetition, call %d", owner)
		}
		p.show(eff)
	case "respond":
		var code int
		if _, err := fmt.Sscan(f[3], &code); err != nil {
			p.t.Fatal(err)
		}
		p.show(tb.Respond(p.now, key, code, msg(f[3]), nil))
	case "acked":
		known, eff := tb.Acked(p.now, key, nil)
		p.say("%s", map[bool]string{true: "of a refusal", false: "for the leg"}[known])
		p.show(eff)
	case "find":
		info, ok := tb.Find(key)
		if !ok {
			p.say("not there")
			return
		}
		p.say("%s, call %d, flow %s", info.State, info.Owner, info.Flow)
	case "forget":
		p.say("%v", tb.Forget(key))
	case "move":
		p.say("%v", tb.Move(key, flow))
	case "broken": // broken flow B
		p.show(tb.Broken(func(fl string) bool { return fl == branch }, nil))
	case "save":
		s, ok := tb.Save(key)
		data, err := json.Marshal(s)
		if err != nil {
			p.t.Fatal(err)
		}
		if ok {
			var back Snapshot
			if err := json.Unmarshal(data, &back); err != nil {
				p.t.Fatal(err)
			}
			p.saved[key] = back
		}
		p.say("%v", ok)
	case "restart": // everything not saved is gone
		p.table = New[string](Timers{})
	case "restore":
		eff, err := p.table.Restore(p.now, p.saved[key], flow, nil)
		if err != nil {
			p.say("%v", err)
		}
		p.show(eff)
	case "count":
		c := tb.Counts()
		p.say("INVITE client %v, client %v, INVITE server %v, server %v", c.InviteClient, c.Client, c.InviteServer, c.Server)
	default:
		p.t.Fatalf("no such verb: %s", verb)
	}
}
