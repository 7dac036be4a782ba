package leg

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts plays each story in testdata. Lines that begin with > are what happens, +2s lets time pass, and the lines between are what the leg says:
// < what is due with the time since the start, = answers. The first comment of a file says what it promises. After every line the leg is encoded and decoded:
// each story is a story of a restart, too.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("got %d transcripts (%v)", len(files), err)
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

// player runs a transcript against a leg.
type player struct {
	t      *testing.T
	leg    *Leg
	now    time.Time
	begin  time.Time
	out    strings.Builder
	cseq   uint32            // of the peer's last request
	theirs map[string]uint32 // and by method
	opts   map[string]string
}

func play(t *testing.T, script string) string {
	begin := time.Date(2026, 11, 5, 3, 0, 0, 0, time.UTC)
	p := &player{t: t, now: begin, begin: begin, theirs: map[string]uint32{}}
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "<") || strings.HasPrefix(line, "=") {
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
		case strings.HasPrefix(line, ">"):
			p.do(strings.Fields(line[1:]))
			p.restart()
		}
	}
	return p.out.String()
}

func (p *player) restart() {
	data, err := Encode(p.leg)
	if err != nil {
		p.t.Fatal(err)
	}
	back, err := Decode(data)
	if err != nil {
		p.t.Fatal(err)
	}
	if diff := cmp.Diff(p.leg, back); diff != "" {
		p.t.Fatalf("a leg changed on disk (-before +after):\n%s", diff)
	}
	p.leg = back
}

func (p *player) pass(to time.Time) {
	for next := p.leg.Next(); !next.IsZero() && !next.After(to); next = p.leg.Next() {
		if next.Before(p.now) {
			p.t.Fatalf("Next is in the past: %s before %s", next, p.now)
		}
		p.now = next
		eff := p.leg.Tick(p.now, nil)
		if len(eff) == 0 {
			p.t.Fatalf("nothing was due at %s", p.now.Sub(p.begin))
		}
		p.show(eff)
	}
	p.now = to
}

func (p *player) show(eff []Effect) {
	for _, e := range eff {
		fmt.Fprintf(&p.out, "< %-6s %s", p.now.Sub(p.begin), e.Kind)
		switch e.Kind {
		case Resend:
			fmt.Fprintf(&p.out, " %q", e.Data)
		case NeverAcked, NeverPracked:
			fmt.Fprintf(&p.out, " %d", e.CSeq)
		case RetryDue, RefreshDue, SessionExpired:
		}
		fmt.Fprintln(&p.out)
	}
}

// say prints the parts that are not empty.
func (p *player) say(parts ...string) {
	var said []string
	for _, s := range parts {
		if s != "" {
			said = append(said, s)
		}
	}
	if len(said) == 0 {
		said = []string{"ok"}
	}
	p.out.WriteString("= " + strings.Join(said, ", ") + "\n")
}

func when(is bool, s string) string {
	if is {
		return s
	}
	return ""
}

func meaning(m Meaning) string { return when(m != None, m.String()) }

func (p *player) sdp() []byte {
	if s, ok := p.opts["sdp"]; ok {
		return []byte(s)
	}
	return nil
}

func (p *player) number(name string, def uint32) uint32 {
	s, ok := p.opts[name]
	if !ok {
		return def
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		p.t.Fatal(err)
	}
	return uint32(n)
}

func (p *player) duration(name string) time.Duration {
	d, err := time.ParseDuration(p.opts[name] + "s")
	if err != nil {
		return 0
	}
	return d
}

func (p *player) list(name string) []string {
	if p.opts[name] == "" {
		return nil
	}
	return strings.Split(p.opts[name], ",")
}

func (p *player) session() Session {
	r := map[string]Refresher{"uac": RefresherUAC, "uas": RefresherUAS}[p.opts["refresher"]]
	return Session{p.duration("expires"), p.duration("min"), r}
}

func (p *player) saySession(s Session, more ...string) {
	if s == (Session{}) {
		p.say("no session timer")
		return
	}
	p.say(append([]string{
		when(s.Expires > 0, "Session-Expires: "+s.Expires.String()), when(s.Min > 0, "Min-SE: "+s.Min.String()),
		map[Refresher]string{RefresherUAC: "refresher=uac", RefresherUAS: "refresher=uas"}[s.Refresher],
	}, more...)...)
}

func (p *player) sayLine(r Line) {
	p.say(fmt.Sprintf("%s %s", r.Method, r.URI), fmt.Sprintf("CSeq %d", r.CSeq), "From "+r.From, "To "+r.To,
		when(len(r.Routes) > 0, "Route "+strings.Join(r.Routes, " ")))
}

func (p *player) do(f []string) {
	verb, args := f[0], []string{}
	p.opts = map[string]string{}
	for _, a := range f[1:] {
		if k, v, ok := strings.Cut(a, "="); ok {
			p.opts[k] = v
		} else {
			args = append(args, a)
		}
	}
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	num := func(i int) int {
		n, err := strconv.Atoi(arg(i))
		if err != nil {
			p.t.Fatalf("%v: %v", f, err)
		}
		return n
	}
	l := p.leg
	switch verb {
	case "uas":
		p.cseq = p.number("cseq", 1)
		contact, ok := p.opts["contact"]
		if !ok {
			contact = "sip:peer@192.0.2.1"
		}
		p.leg = NewUAS(Invite{
			CallID: "call", From: "<sip:peer@carrier>", FromTag: "peer", To: "<sip:999@nines>", CSeq: p.cseq, Contact: contact,
			RecordRoutes: p.list("rr"), Supported: p.list("supported"), Allow: p.list("allow"), SDP: p.sdp(),
		}, "us", "<sip:nines@10.0.0.1>")
	case "uac":
		p.leg = NewUAC(Call{
			CallID: "call", LocalTag: "us", From: "<sip:peer@carrier>", To: "<sip:999@room>", CSeq: p.number("cseq", 1), Target: "sip:999@room",
			Routes: p.list("route"), Contact: "<sip:nines@10.0.0.1>",
		})
	case "request":
		line, err := l.Request(args[0], p.sdp())
		if err != nil {
			p.say("not now: " + err.Error())
			return
		}
		p.sayLine(line)
	case "ack":
		cseq := uint32(num(0)) //nolint:gosec // a number in a transcript
		p.sayLine(l.Ack(cseq, p.sdp()))
		l.KeepAck(cseq, []byte("ACK "+args[0]))
	case "reack":
		p.say(fmt.Sprintf("%q", l.ReAck(uint32(num(0))))) //nolint:gosec // a number in a transcript
	case "receive":
		p.cseq = p.number("cseq", p.cseq+1)
		d := l.Receive(Incoming{
			Method: args[0], CSeq: p.cseq, Contact: p.opts["contact"], SDP: p.sdp(), Supported: p.list("supported"), Allow: p.list("allow"),
		}, p.number("dice", 0))
		if d.Code == 0 {
			p.theirs[args[0]] = p.cseq
		}
		p.say(when(d.Code > 0, strconv.Itoa(d.Code)), when(d.RetryAfter > 0, "Retry-After "+d.RetryAfter.String()), meaning(d.SDP),
			when(d.Confirms, "proves that our 2xx arrived"))
	case "reply":
		cseq, ok := p.theirs[args[0]]
		if !ok {
			cseq = l.TheirInvite.CSeq
		}
		r := Reply{Method: args[0], CSeq: cseq, Code: num(1), SDP: p.sdp(), RSeq: p.number("rseq", 0)}
		if arg(2) == "reliably" {
			r.RSeq = l.NextRSeq(p.number("dice", 99))
		}
		r.Data = fmt.Appendf(nil, "%d to %s %d", r.Code, r.Method, r.CSeq)
		if r.RSeq > 0 {
			r.Data = fmt.Appendf(r.Data, " RSeq %d", r.RSeq)
		}
		s := l.Reply(p.now, r)
		p.say(when(s.Late, "too late"), when(s.Wait, "waits"), meaning(s.SDP), when(s.Undone, "offer undone"))
	case "mayanswer":
		p.say(map[bool]string{true: "yes", false: "no"}[l.MayAnswer()])
	case "acked":
		a := l.Acked(uint32(num(0)), p.sdp()) //nolint:gosec // a number in a transcript
		p.say(map[bool]string{true: "first", false: "not waited for"}[a.First], meaning(a.SDP), when(a.Undone, "offer undone"))
	case "pracked":
		p.cseq++
		p.theirs["PRACK"] = p.cseq
		rack := RAck{uint32(num(0)), p.number("invite", l.TheirInvite.CSeq), "INVITE"} //nolint:gosec // a number in a transcript
		d := l.Receive(Incoming{Method: "PRACK", CSeq: p.cseq}, 0)
		ok, m, eff := l.Pracked(p.now, p.cseq, rack, p.sdp(), nil)
		p.say(when(d.Code > 0, strconv.Itoa(d.Code)), when(!ok, "481"), meaning(m))
		p.show(eff)
	case "response":
		tag, ok := p.opts["tag"]
		if !ok {
			tag = "peer"
		}
		cseq := l.LocalCSeq
		if args[0] == "INVITE" {
			cseq = l.OurInvite.CSeq
		}
		o := l.Response(p.now, Response{
			Method: args[0], CSeq: p.number("cseq", cseq), Code: num(1), ToTag: tag, Contact: p.opts["contact"], RecordRoutes: p.list("rr"),
			RSeq: p.number("rseq", 0), SDP: p.sdp(), Supported: p.list("supported"), Allow: p.list("allow"),
		})
		p.say(map[News]string{
			Nothing: "nothing", Ringing: "ringing", Answered: "answered", Repeated: "repeated", Forked: "forked", Done: "done", Refused: "refused",
		}[o.News], meaning(o.SDP), when(o.RAck.RSeq != 0, "PRACK with RAck: "+o.RAck.String()), when(o.Undone, "offer undone"),
			when(o.NoAnswer, "no answer in it"), when(o.Gone, "the dialog is gone"))
	case "fork":
		p.leg = l.Fork()
		p.say()
	case "end":
		l.End()
		p.say(when(!l.Next().IsZero(), "something is still due"))
	case "backoff":
		p.say(l.BackOff(p.now, p.number("dice", 0)).String())
	case "show":
		p.say([]string{"early", "confirmed", "ended"}[l.State], fmt.Sprintf("sent %q", l.Sent), fmt.Sprintf("received %q", l.Received),
			[]string{"no offer open", "our offer open", "their offer open"}[l.Offer.By], when(l.Offer.Frozen, "frozen"), "target "+l.Target)
	case "timer":
		l.Timer.Want, l.Timer.Floor = p.duration("want"), p.duration("floor")
		p.say()
	case "asktimer":
		p.saySession(l.AskTimer())
	case "toobrief":
		p.say(map[bool]string{true: "yes: 422", false: "no"}[l.TooBrief(p.session())])
	case "grant":
		s, require := l.GrantTimer(p.now, p.session())
		p.saySession(s, when(require, "Require: timer"))
	case "granted":
		l.TimerAnswered(p.now, p.session())
		p.say(when(l.Timer.Ours, "we refresh"))
	case "refresh":
		method, sdp := l.Refresh()
		p.say(map[bool]string{true: "no way to refresh", false: method}[method == ""], when(sdp != nil, fmt.Sprintf("offering %q", sdp)))
	case "refreshrefused":
		gone := l.RefreshRefused(p.now, args[0], num(1), p.duration("min"), p.number("dice", 0))
		p.say(when(!l.Timer.RefreshAt.IsZero(), "next "+l.Timer.RefreshAt.Sub(p.begin).String()), when(gone, "the peer is gone"))
	case "422":
		p.say(map[bool]string{true: "try again", false: "pointless"}[l.TimerTooBrief(p.duration("min"))])
	default:
		p.t.Fatalf("no such verb: %s", verb)
	}
}
