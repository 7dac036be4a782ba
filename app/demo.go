package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"nines/internal/town"
)

// DemoOptions is the story that the demo tells.
type DemoOptions struct {
	For          time.Duration // 0: until ctx ends or q
	KillAfter    time.Duration // 0: on k
	RestoreAfter time.Duration // 0: on r
	Rate         float64       // calls a second; 0: 5
	Console      string        // host:port of the console; empty: 127.0.0.1:8080, or any port when that is taken
	Version      string
	Log          zerolog.Logger
	View         io.Writer   // who answers, for a person; nil: nobody looks
	Keys         <-chan byte // k, r, q; nil: no keyboard
}

// DemoSummary is what the demo's story showed.
type DemoSummary struct {
	town.Summary
}

// OK reports whether calls were placed, none was lost, whether it rang or talked, no caller was hung up on, and no packet was changed or reached a
// stranger.
func (s DemoSummary) OK() bool {
	return s.Placed > 0 && s.Lost == 0 && s.Open == 0 && s.LostTalking == 0 && s.Dropped == 0 && s.Waiting == 0 && s.Audio.Received > 0 && s.Audio.Changed == 0 && s.Audio.Foreign == 0
}

// String says it for a person.
func (s DemoSummary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d calls to 999 and 101, %d lost", s.Placed, s.Lost)
	if s.Open > 0 {
		fmt.Fprintf(&b, ", %d still open", s.Open)
	}
	b.WriteString("; answered by")
	for _, room := range sortedKeys(s.Answered) {
		fmt.Fprintf(&b, " %s %d", room, s.Answered[room])
	}
	fmt.Fprintf(&b, "\nset-up, median and longest:")
	for _, phase := range []string{"before", "during", "after"} {
		if d, ok := s.Setup[phase]; ok {
			fmt.Fprintf(&b, "  %s the outage %.0f and %.0f ms", phase, d.P50, d.Max)
		}
	}
	fmt.Fprintf(&b, "\naudio: %d packets sent, %d received, %d changed", s.Audio.Sent, s.Audio.Received, s.Audio.Changed)
	if s.Cut > 0 || s.Dropped > 0 {
		b.WriteString("\n" + s.rescues())
	}
	return b.String()
}

// rescues says in one line what became of the calls that were talking to the primary when it died.
func (s DemoSummary) rescues() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rescue: of %d calls that talked to the primary when it died %d went on elsewhere", s.Cut, s.Rescued)
	if s.Gap != nil {
		fmt.Fprintf(&b, " (silence: median %.0f ms, longest %.0f ms)", s.Gap.P50, s.Gap.Max)
	}
	if s.LeftEarly > 0 {
		fmt.Fprintf(&b, ", %d had said all before that", s.LeftEarly)
	}
	if s.Waiting > 0 {
		fmt.Fprintf(&b, ", %d wait", s.Waiting)
	}
	fmt.Fprintf(&b, ", %d lost, %d hung up on", s.LostTalking, s.Dropped)
	return b.String()
}

func sortedKeys(m map[string]int) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
	return out
}

// demoTalk is how long a call of the demo talks: long enough to be cut and to be heard going on.
const demoTalk = 6 * time.Second

// Demo plays the main job on loopback: real SIP and RTP over sockets, through the real proxy.
func Demo(ctx context.Context, o DemoOptions) (DemoSummary, error) {
	world, err := town.NewWorld(town.WorldConfig{Rate: o.Rate, Talk: demoTalk, Other: "101"})
	if err != nil {
		return DemoSummary{}, fmt.Errorf("open the demo's telephones: %w", err)
	}
	defer world.Close()
	dir, err := os.MkdirTemp("", "nines-demo-")
	if err != nil {
		return DemoSummary{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file, err := demoConfig(dir, world, o.Console)
	if err != nil {
		return DemoSummary{}, err
	}
	node, err := Start(Options{ConfigPath: file, Version: o.Version, Log: o.Log, Drain: 2 * time.Second})
	if err != nil {
		return DemoSummary{}, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // the proxy outlives the story: calls in progress end first
	ended := make(chan error, 1)
	go func() { ended <- node.Run(running) }() // ends with running
	defer func() {
		stop()
		if err := <-ended; err != nil {
			o.Log.Debug().Err(err).Msg("the demo's node ended badly") // it has said so itself
		}
	}()

	world.Start(ctx, node.Addresses()[0].Addr)
	d := demo{options: o, world: world, node: node}
	d.tell(ctx)
	d.say("no more calls; waiting for those in progress to end")
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), demoTalk+10*time.Second)
	defer cancel()
	world.Drain(last)
	return DemoSummary{world.Stats().Summary()}, nil
}

// demoMedia are the demo's media ports. They lie below the ports that the system hands out, of which the demo's phones take theirs.
const demoMedia = "20000-27999"

// demoConfig writes the demo's nines.yaml: one trunk, four rooms, quick to go back so that a person sees it.
func demoConfig(dir string, world *town.World, at string) (string, error) {
	sipPort, err := freePort("udp")
	if err != nil {
		return "", err
	}
	if at == "" {
		if at, err = demoConsole(); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "name: demo\nlisten: [udp://127.0.0.1:%d]\nmedia: { address: 127.0.0.1, ports: %s }\nstate: %s\nrun: %s\n", sipPort, demoMedia, filepath.Join(dir, "state"), filepath.Join(dir, "run"))
	fmt.Fprintf(&b, "trunks:\n  carrier: { from: [%s] }\nendpoints:\n", world.Carrier().Addr())
	var own, partners []string
	for _, r := range world.Rooms() {
		calls := 200
		if r.Partner {
			calls = 50
			partners = append(partners, r.Name)
		} else {
			own = append(own, r.Name)
		}
		fmt.Fprintf(&b, "  %s: { uri: \"sip:%s\", calls: %d, partner: %t }\n", r.Name, r.Addr, calls, r.Partner)
	}
	fmt.Fprintf(&b, "routes:\n  - { name: \"999\", class: emergency, numbers: [\"999\"], ask: [%s, [%s]] }\n", strings.Join(own, ", "), strings.Join(partners, ", "))
	fmt.Fprintf(&b, "  - { name: \"101\", class: routine, numbers: [\"101\"], ask: [%s] }\n", strings.Join(own, ", ")) // these calls prove a room that comes back
	fmt.Fprintf(&b, "health: { up_after: 2, hold_down: 2s }\nconsole: { listen: \"%s\" }\n", at)
	people := fmt.Sprintf("demo operator %x\n", sha256.Sum256([]byte(demoToken)))
	if err := os.WriteFile(filepath.Join(dir, "tokens"), []byte(people), 0o600); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "nines.yaml")
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}

// demoToken is what a person types to act in the demo's console.
const demoToken = "demo"

// demoConsole is where the demo's console listens: where one would look first, or, when that is taken, on any port.
func demoConsole() (string, error) {
	usual := "127.0.0.1:8080"
	if l, err := net.Listen("tcp", usual); err == nil {
		return usual, l.Close()
	}
	port, err := freePort("tcp")
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// freePort finds a port that nobody uses now.
func freePort(network string) (uint16, error) {
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		defer func() { _ = c.Close() }()
		return netip.MustParseAddrPort(c.LocalAddr().String()).Port(), nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return netip.MustParseAddrPort(l.Addr().String()).Port(), nil
}

// demo is one telling of the story.
type demo struct {
	options DemoOptions
	world   *town.World
	node    *Node
	drawn   int    // lines of the last picture
	note    string // what happened last
}

// tell lets the story run until its time is over, ctx ends, or q.
func (d *demo) tell(ctx context.Context) {
	began := time.Now()
	kill, restore, end := after(d.options.KillAfter), after(d.options.RestoreAfter), after(d.options.For)
	every := time.Second
	if d.options.Keys != nil {
		every = 250 * time.Millisecond
	}
	show := time.NewTicker(every)
	defer show.Stop()
	keys := d.options.Keys
	d.say("calling 999; the console is http://" + d.node.Console() + ", the token to act there is " + demoToken)
	for {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-kill:
			d.kill()
		case <-restore:
			d.restore()
		case k, ok := <-keys:
			if !ok {
				keys = nil
			}
			switch k {
			case 'k', 'K':
				d.kill()
			case 'r', 'R':
				d.restore()
			case 'q', 'Q':
				return
			}
		case <-show.C:
			d.show(time.Since(began))
		}
	}
}

// after is a channel that speaks once after d, or never.
func after(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}

func (d *demo) kill() {
	d.world.Kill()
	d.say("the primary is killed")
}

func (d *demo) restore() {
	if err := d.world.Restore(); err != nil {
		d.say("the primary does not come back: " + err.Error())
		return
	}
	d.say("the primary is back; it takes 101 first, and 999 when three of those calls were heard both ways")
}

// say notes what happened; without a keyboard it is a line of its own.
func (d *demo) say(what string) {
	d.note = time.Now().Format(time.TimeOnly) + "  " + what
	if d.options.View != nil && d.options.Keys == nil {
		fmt.Fprintln(d.options.View, d.note)
	}
}

// show draws who answers now.
func (d *demo) show(age time.Duration) {
	if d.options.View == nil {
		return
	}
	stats := d.world.Stats()
	if d.options.Keys == nil {
		sum := stats.Summary()
		fmt.Fprintf(d.options.View, "%s  %3d calls, %d lost%s; now: %s\n", time.Now().Format(time.TimeOnly), sum.Placed, sum.Lost, cutWords(sum), strings.Join(d.nowAnswering(stats), ", "))
		return
	}
	d.draw(stats, age)
}

// cutWords says how far the rescues are, once there was reason for one.
func cutWords(sum town.Summary) string {
	if sum.Cut == 0 {
		return ""
	}
	words := fmt.Sprintf(", %d of %d cut calls go on elsewhere", sum.Rescued, sum.Cut)
	if sum.Gap != nil {
		words += fmt.Sprintf(" after %.0f ms", sum.Gap.P50)
	}
	return words
}

// recent is how far back "now" goes.
const recent = 2 * time.Second

func (d *demo) nowAnswering(stats town.Stats) []string {
	count := map[string]int{}
	for i := len(stats.Calls) - 1; i >= 0; i-- {
		c := stats.Calls[i]
		if time.Since(c.At) > recent+time.Second {
			break
		}
		if c.By != "" && time.Since(c.At.Add(c.Delay)) < recent {
			count[c.By]++
		}
	}
	out := []string{}
	for _, room := range sortedKeys(count) {
		out = append(out, fmt.Sprintf("%s answers (%d)", room, count[room]))
	}
	if len(out) == 0 {
		out = append(out, "nobody yet")
	}
	return out
}

// rescues is the picture's line about the calls that talked to the primary when it died.
func (d *demo) rescues(sum town.Summary) string {
	if sum.Cut == 0 {
		return "no talking call was cut yet: press k"
	}
	return DemoSummary{sum}.rescues()
}

// draw paints the picture of a terminal: it goes back to where it began and paints over itself.
func (d *demo) draw(stats town.Stats, age time.Duration) {
	sum := stats.Summary()
	verdicts := map[string]string{}
	for _, e := range d.node.Status().Endpoints {
		verdicts[e.Name] = e.Verdict
		if e.Returning {
			verdicts[e.Name] = "returning"
		}
	}
	recently := map[string]int{}
	for _, c := range stats.Calls {
		if c.By != "" && time.Since(c.At.Add(c.Delay)) < recent {
			recently[c.By]++
		}
	}
	lines := []string{
		fmt.Sprintf("nines demo   %s   console http://%s (token: %s)", age.Round(time.Second), d.node.Console(), demoToken),
		"",
		fmt.Sprintf("  %-15s %-11s %9s   %s", "ROOM", "VERDICT", "ANSWERED", "NOW"),
	}
	for _, r := range stats.Rooms {
		name := r.Name
		if r.Partner {
			name += " *"
		}
		state := verdicts[r.Name]
		if !r.Alive {
			state += " †"
		}
		lines = append(lines, fmt.Sprintf("  %-15s %-11s %9d   %s", name, state, sum.Answered[r.Name], strings.Repeat("█", min(recently[r.Name]*2, 40))))
	}
	during := sum.Setup["during"]
	lines = append(lines, "",
		fmt.Sprintf("  %d calls placed, %d LOST", sum.Placed, sum.Lost),
		"  "+d.rescues(sum),
		fmt.Sprintf("  set-up: median %.0f ms, longest %.0f ms; in the outage longest %.0f ms", sum.Setup["whole"].P50, sum.Setup["whole"].Max, during.Max),
		fmt.Sprintf("  audio: %d packets received, %d changed", sum.Audio.Received, sum.Audio.Changed),
		"", "  "+d.note, "", "  k kills the primary   r restores it   q quits        * partner   † dead")
	var b strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", d.drawn)
	}
	for _, l := range lines {
		b.WriteString("\x1b[2K" + l + "\n")
	}
	d.drawn = len(lines)
	_, _ = io.WriteString(d.options.View, b.String())
}
