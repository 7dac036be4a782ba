// Package app puts the rooms together: start, two-phase reload, drain, stop. Tests start it too.
//
// It is the only room that knows the configuration file: it reads it, says what is wrong with it, and gives each room its own Config. [Start] makes
// a [Node] and binds what it needs; [Node.Run] serves until its context ends.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"

	"nines/configs"
	"nines/console"
	"nines/journal"
	"nines/media"
	"nines/notify"
	"nines/sip"
	"nines/sip/wire"
)

// Options says what to run.
type Options struct {
	ConfigPath string
	Version    string
	Log        zerolog.Logger
	Reload     <-chan os.Signal // each value asks for a reload (SIGHUP)
	Drain      time.Duration    // how long calls in progress may go on once Run is told to end

	// What a test replaces. Zero values mean the machine's own.
	Network   Network // the sockets
	Loops     int
	Seed      uint64
	NoConsole bool
	NoBook    bool // nothing that happens is recorded: what the record costs is measured against this
}

// Network is where SIP's and media's sockets come from; nil means the kernel.
type Network interface {
	wire.Network
	media.Network
}

// Node is a running nines.
type Node struct {
	opt       Options
	log       zerolog.Logger
	sip       *sip.Server
	relay     *media.Relay
	console   *console.Console
	tally     *tally
	memory    *memory
	desk      *callBackDesk
	book      *journal.Book
	incidents incidents
	certs     *certificates
	since     time.Time
	outside   *notify.Desk
	outages   *outages
	treats    *treats
	voices    *voices

	draining atomic.Bool

	mu       sync.Mutex // guards what a reload changes
	file     *configs.File
	loaded   time.Time
	accepted bool // the last file that was read is the one that runs
	problems []string
	notices  []string
}

// gcPercent lets the heap grow to three times what lives before it is swept. A call leaves some 30 KB of garbage and a node holds little that lives:
// with Go's 100 the collector would run several times a second, for nothing.
const gcPercent = 200

// Run takes calls until ctx ends.
func Run(ctx context.Context, o Options) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if cores := makeRoom(); o.Loops == 0 {
		o.Loops = cores
	}
	n, err := Start(o)
	if err != nil {
		return err
	}
	return n.Run(ctx)
}

// Start reads the configuration and binds sockets and ports. A refused file yields to the last accepted copy, loudly (R2).
func Start(o Options) (*Node, error) {
	n := &Node{opt: o, log: o.Log, tally: newTally(), since: time.Now()}
	n.certs = &certificates{log: o.Log, notice: n.tally.Noticed}
	if err := n.load(); err != nil {
		return nil, err
	}
	f := n.file
	n.book = journal.New(bookConfig(f, n.log))
	n.openOutside()
	n.tally.outages = n.outages
	relay, err := media.Open(media.Config{Addresses: mediaAddresses(f), PortMin: f.Media.PortMin, PortMax: f.Media.PortMax, Network: mediaNetwork(o.Network), Random: mediaRandom(o.Seed)})
	if err != nil {
		return nil, err
	}
	n.relay = relay
	n.voices = newVoices(n.log, n.tally.records.say)
	n.voices.want(f)
	n.voices.ready()
	n.sip, err = sip.New(sip.Config{
		Listen: listeners(f), Advertise: f.Advertise, Sides: sides(f), Network: sipNetwork(o.Network), Loops: o.Loops, Media: relay, Observer: n.tally, Names: nameStore{filepath.Join(f.State, namesName)}, Log: o.Log, Seed: o.Seed,
		Tapes: n.voices.tapes,
	}, n.routing(f))
	if err != nil {
		relay.Close()
		return nil, err
	}
	n.memory = newMemory(filepath.Join(f.State, memoryName), n.sip, n.log)
	n.memory.restore()
	n.treats = newTreats(filepath.Join(f.State, treatsName), n.sip, n.log)
	n.treats.restore()
	n.openRecords()
	if !o.NoConsole {
		n.openConsole()
	}
	for _, l := range n.sip.Listeners() {
		n.log.Info().Str("transport", l.Proto.String()).Stringer("address", l.Addr).Msg("listening")
	}
	return n, nil
}

// A nil Network in an interface of another type would not be nil.
func mediaNetwork(n Network) media.Network {
	if n == nil {
		return nil
	}
	return n
}

// mediaRandom picks ports; nil means that nobody can tell the next one (R29). A simulation can be repeated only if its ports are the same.
func mediaRandom(seed uint64) func(n int) int {
	if seed == 0 {
		return nil
	}
	return rand.New(rand.NewPCG(seed, 0x6d65646961)).IntN
}

func sipNetwork(n Network) wire.Network {
	if n == nil {
		return nil
	}
	return n
}

// routing is what a file has sip do, with what stands in other files.
func (n *Node) routing(f *configs.File) sip.Routing {
	r := routing(f)
	if n.opt.NoBook {
		r.Messages = sip.TraceNone
	}
	r.TLS = n.certs.load(f.TLS)
	return r
}

func (n *Node) openConsole() {
	reg := prometheus.NewRegistry()
	live := collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: liveHeap})
	reg.MustRegister(collectors.NewGoCollector(live), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), console.Collector(n.scrape))
	cfg := console.Config{Run: n.file.Run, Tokens: n.tokensFile, Key: filepath.Join(n.file.State, consoleKey)}
	if n.file.Console.Listen.IsValid() {
		cfg.Listen = n.file.Console.Listen.String()
	}
	n.console = console.New(cfg, n, reg, n.log)
	if err := n.console.Open(); err != nil {
		n.log.Error().Err(err).Msg("the console is not reachable; calls are taken all the same")
	}
}

// liveHeap adds what the last collection of garbage found in use: memory that grows is seen there. go_memstats_… counts garbage that waits, too.
var liveHeap = regexp.MustCompile(`^/gc/heap/live:bytes$`)

// consoleKey is the file in the state folder with the key that signs the sessions of the console's pages.
const consoleKey = "console.key"

// tokensFile says who may act in the console; a reload may name another file.
func (n *Node) tokensFile() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.file.Console.TokensFile
}

// load reads the file, or the last accepted copy of one that is refused.
func (n *Node) load() error {
	path := n.opt.ConfigPath
	f, problems, err := configs.Read(path)
	if err == nil && problems.OK() {
		n.accept(f, problems)
		n.keep()
		return nil
	}
	refusal := err
	if err == nil {
		refusal = fmt.Errorf("%s is refused:\n%s", path, problems.Of(configs.Error))
	}
	state := ""
	if f != nil {
		state = f.State
	}
	old, oldProblems, oldErr := configs.ReadAccepted(path, state)
	if oldErr != nil || !oldProblems.OK() {
		return refusal
	}
	n.log.Error().Str("file", path).Msg("the configuration is refused; running with the last accepted copy. Mend the file and reload: nines check " + path)
	for _, p := range problems.Of(configs.Error) {
		n.log.Error().Msg(p.String())
	}
	n.accept(old, oldProblems)
	n.accepted = false
	n.problems = []string{refusal.Error()}
	if problems != nil {
		n.problems = texts(problems.Of(configs.Error))
	}
	return nil
}

func texts(ps configs.Problems) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.String()
	}
	return out
}

// accept takes a file as the one that runs.
func (n *Node) accept(f *configs.File, problems configs.Problems) {
	n.file, n.loaded, n.accepted, n.problems = f, time.Now(), true, nil
	n.notices = texts(problems.Of(configs.Warning))
	for _, w := range n.notices {
		n.log.Warn().Msg(w)
	}
	for _, p := range problems.Of(configs.Notice) {
		n.log.Info().Msg(p.String())
	}
}

// keep saves the file as the last accepted one. A full disk costs the copy, not the start.
func (n *Node) keep() {
	data, err := os.ReadFile(n.opt.ConfigPath)
	if err == nil {
		err = configs.SaveAccepted(n.file.State, data)
	}
	if err != nil {
		n.log.Warn().Err(err).Msg("the accepted configuration could not be kept; a later start with a broken file will have nothing to fall back to")
	}
}

// Run serves until ctx ends: it takes calls, relays media, answers the console and reloads on request. When ctx ends it drains: OPTIONS get no
// answer any more, so that carriers send their calls elsewhere (R19), calls in progress go on for up to Options.Drain, and calls that come all the
// same are taken.
func (n *Node) Run(ctx context.Context) error {
	rooms, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	closeBook := n.openBook(rooms)
	var wg sync.WaitGroup
	failed := make(chan error, 2)
	wg.Go(func() { failed <- n.sip.Run(rooms) })   // ends with rooms
	wg.Go(func() { failed <- n.relay.Run(rooms) }) // ends with rooms
	wg.Go(func() { n.memory.run(rooms) })          // ends with rooms
	wg.Go(func() { n.treats.run(rooms) })          // ends with rooms
	wg.Go(func() { n.voices.run(rooms) })          // ends with rooms
	wg.Go(func() { n.certs.run(rooms) })           // ends with rooms
	wg.Go(func() { n.outside.Run(rooms) })         // ends with rooms
	wg.Go(func() { n.watchOutages(rooms) })        // ends with rooms
	wg.Go(func() { n.inspect(rooms) })             // ends with rooms
	if n.console != nil {
		wg.Go(func() { n.console.Run(rooms) }) // ends with rooms
	}
	n.log.Info().Str("name", n.file.Name).Str("version", n.opt.Version).Msg("taking calls")
	n.tally.records.say(journal.Entry{Type: journal.ElementStateChange, What: "started", Why: "nines " + n.opt.Version + " takes calls"})
	err := n.serve(ctx, failed)
	if err == nil {
		n.drain()
	}
	stop()
	wg.Wait()
	closeBook()
	n.relay.Close()
	return err
}

// serve reloads on request until ctx ends or a room fails.
func (n *Node) serve(ctx context.Context, failed <-chan error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-n.opt.Reload:
			if _, err := n.Reload(ctx); err != nil {
				n.log.Error().Err(err).Msg("reload")
			}
		}
	}
}

// drain waits for the calls in progress.
func (n *Node) drain() {
	n.sip.Drain()
	n.draining.Store(true)
	n.tally.records.say(journal.Entry{Type: journal.ElementStateChange, What: "draining", Count: int(n.sip.Counters().Active), Why: "told to end: the calls in progress go on"})
	limit := time.NewTimer(n.opt.Drain)
	defer limit.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for active := n.sip.Counters().Active; active > 0; active = n.sip.Counters().Active {
		n.log.Warn().Int64("calls", active).Msg("draining: waiting for the calls in progress; a second signal ends at once")
		for was := active; n.sip.Counters().Active == was; {
			select {
			case <-limit.C:
				n.log.Error().Int64("calls", active).Msg("ending although calls are in progress")
				return
			case <-look.C:
			}
		}
	}
}

// Reload reads the configuration again, in two phases: everything is prepared, then swapped (R3). A refused file changes nothing.
func (n *Node) Reload(context.Context) (console.ReloadResult, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, problems, err := configs.Read(n.opt.ConfigPath)
	if err != nil {
		problems = configs.Problems{{Severity: configs.Error, File: n.opt.ConfigPath, What: err.Error(), Fix: "make the file readable; the old configuration runs on"}}
	}
	if !problems.OK() {
		n.accepted, n.problems = false, texts(problems.Of(configs.Error))
		for _, p := range n.problems {
			n.log.Error().Msg(p)
		}
		n.log.Error().Msg("the new configuration is refused; the old one runs on")
		n.tally.records.say(journal.Entry{Type: journal.PolicyChange, What: "refused", Count: len(n.problems), Why: strings.Join(n.problems, "\n")})
		return console.ReloadResult{Problems: n.problems}, nil
	}
	restart := f.RestartOnly(n.file)
	n.voices.want(f)
	n.voices.again()
	if err := n.sip.Swap(n.routing(f)); err != nil {
		n.accepted, n.problems = false, []string{err.Error()}
		n.tally.records.say(journal.Entry{Type: journal.PolicyChange, What: "refused", Count: 1, Why: err.Error()})
		return console.ReloadResult{Problems: n.problems}, nil
	}
	changed := changes(n.file, f)
	n.accept(f, problems)
	n.outside.Swap(receivers(f), heartbeats(f))
	n.outages.configure(f)
	n.keep()
	n.desk.keepFor(f.CallBacks.Keep)
	n.tally.records.configure(f)
	n.tally.records.say(journal.Entry{Type: journal.PolicyChange, What: "taken", Count: len(changed), Why: strings.Join(changed, "\n")})
	n.log.Info().Strs("changed", changed).Strs("needs_restart", restart).Msg("configuration reloaded")
	return console.ReloadResult{Accepted: true, Changed: changed, Restart: restart}, nil
}

// changes says in a sentence each what a reload changed.
func changes(old, now *configs.File) []string {
	var out []string
	names := func(kind string, before, after []string) {
		for _, n := range after {
			if !slices.Contains(before, n) {
				out = append(out, kind+" "+n+" is new")
			}
		}
		for _, n := range before {
			if !slices.Contains(after, n) {
				out = append(out, kind+" "+n+" is gone")
			}
		}
	}
	list := func(f *configs.File) (trunks, endpoints, routes []string) {
		for _, t := range f.Trunks {
			trunks = append(trunks, t.Name)
		}
		for _, e := range f.Endpoints {
			endpoints = append(endpoints, e.Name)
		}
		for _, r := range f.Routes {
			routes = append(routes, r.Name)
		}
		return trunks, endpoints, routes
	}
	ot, oe, or := list(old)
	nt, ne, nr := list(now)
	names("trunk", ot, nt)
	names("endpoint", oe, ne)
	names("route", or, nr)
	for _, r := range now.Routes {
		if was, ok := old.Route(r.Name); ok && fmt.Sprintf("%+v", was) != fmt.Sprintf("%+v", r) {
			out = append(out, "route "+r.Name+" has changed")
		}
	}
	for _, e := range now.Endpoints {
		if was, ok := old.Endpoint(e.Name); ok && fmt.Sprintf("%+v", was) != fmt.Sprintf("%+v", e) {
			out = append(out, "endpoint "+e.Name+" has changed")
		}
	}
	for _, t := range now.Trunks {
		if was, ok := old.Trunk(t.Name); ok && fmt.Sprintf("%+v", was) != fmt.Sprintf("%+v", t) {
			out = append(out, "trunk "+t.Name+" has changed")
		}
	}
	if !reflect.DeepEqual(old.Notify, now.Notify) {
		out = append(out, "notify has changed")
	}
	return out
}

// Check writes every problem of a configuration to w, and what it would do in words. It reports whether the file would be accepted.
func Check(path string, w io.Writer) bool {
	f, problems, err := configs.Read(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s: there is no such file; examples are in configs/", path)
		}
		fmt.Fprintln(w, err)
		return false
	}
	if len(problems) > 0 {
		fmt.Fprint(w, problems)
	}
	if !problems.OK() {
		fmt.Fprintf(w, "%s is refused: %d errors\n", filepath.Base(path), len(problems.Of(configs.Error)))
		return false
	}
	fmt.Fprintf(w, "%s is accepted\n\n%s", filepath.Base(path), f.Explain())
	return true
}

// Checked is what Check says, for machines.
type Checked struct {
	File     string           `json:"file"`
	Accepted bool             `json:"accepted"`
	Problems []CheckedProblem `json:"problems"`
	Meaning  string           `json:"meaning,omitempty"` // of an accepted file: what it would do, in words
}

// CheckedProblem is one problem: where, what, and what to do.
type CheckedProblem struct {
	Severity string `json:"severity"` // error: the file is refused; warning; notice: a key that does nothing yet
	Line     int    `json:"line,omitempty"`
	Path     string `json:"path,omitempty"`
	What     string `json:"what"`
	Fix      string `json:"fix,omitempty"`
}

// CheckFile reads a configuration as Check does.
func CheckFile(path string) Checked {
	c := Checked{File: path, Problems: []CheckedProblem{}}
	f, problems, err := configs.Read(path)
	if err != nil {
		c.Problems = append(c.Problems, CheckedProblem{Severity: configs.Error.String(), What: err.Error(), Fix: "name a file that can be read; examples are in configs/"})
		return c
	}
	for _, p := range problems {
		c.Problems = append(c.Problems, CheckedProblem{Severity: p.Severity.String(), Line: p.Line, Path: p.Path, What: p.What, Fix: p.Fix})
	}
	if c.Accepted = problems.OK(); c.Accepted {
		c.Meaning = f.Explain()
	}
	return c
}

// Ready reports why no calls are taken; nil while they are.
func (n *Node) Ready() error {
	if n.draining.Load() {
		return errors.New("draining: this node is about to end")
	}
	return nil
}

// Addresses are the sockets that take calls.
func (n *Node) Addresses() []wire.Listen { return n.sip.Listeners() }

// Console is the address of the console's HTTP listener, empty when there is none.
func (n *Node) Console() string {
	if n.console == nil || n.console.Addr() == nil {
		return ""
	}
	return n.console.Addr().String()
}

// SIP is the node's SIP side, for tests that look for what is left behind.
func (n *Node) SIP() *sip.Server { return n.sip }

// Media is the node's relay, for the same.
func (n *Node) Media() *media.Relay { return n.relay }
