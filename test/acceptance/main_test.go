package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nines/console"
	"nines/internal/town"
)

const root = "../.."

// program is the file under test; TestMain builds it.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait more than they work, so there may be more of them at once than there are cores; too many would see each other in their delays.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "nines-acceptance")
	if err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "nines")
	build := exec.Command("go", "build", "-o", program, "./cmd/nines")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "acceptance: build nines: %v\n%s", err, out)
		return 1
	}
	claim, err := claimNetwork()
	if err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		return 1
	}
	defer claim.Close()
	return m.Run()
}

// district is the second byte of every address of this process (see claimNetwork), places and phones count what was made.
var district, places, phones atomic.Uint32

// claimNetwork finds a part of 127.0.0.0/8 that no other run of these tests uses now.
func claimNetwork() (net.PacketConn, error) {
	var err error
	for i := range 200 {
		n := 40 + (os.Getpid()+i)%200
		var c net.PacketConn
		if c, err = net.ListenPacket("udp4", fmt.Sprintf("127.%d.255.254:5059", n)); err == nil {
			district.Store(uint32(n))
			return c, nil
		}
	}
	return nil, fmt.Errorf("no free network on loopback: %w", err)
}

// place is a network of one test's own, 127.a.b.0/24. By custom nines is host 1, rooms are hosts 10 and up, carriers 200 and up.
type place struct{ prefix string }

func newPlace() place {
	return place{fmt.Sprintf("127.%d.%d.", district.Load(), places.Add(1))}
}

func (p place) ip(host int) netip.Addr {
	return netip.MustParseAddr(p.prefix + strconv.Itoa(host))
}

func (p place) at(host int, port uint16) netip.AddrPort { return netip.AddrPortFrom(p.ip(host), port) }

// sip is where a host of the place speaks SIP.
func (p place) sip(host int) netip.AddrPort { return p.at(host, 5060) }

var hostMark = regexp.MustCompile(`\{(\d+)\}`)

// fill writes the place's addresses for {10} and the like.
func (p place) fill(text string) string { return hostMark.ReplaceAllString(text, p.prefix+"$1") }

// head is the part of nines.yaml that is the same in every test. Each line can be had otherwise by giving another head.
const head = `
name: acceptance
listen: [udp://{1}:5060, tcp://{1}:5060]
media: { address: {1}, ports: 20000-35999 }
console: { listen: "{1}:8080" }
`

// node is a nines that runs as a process of its own.
type node struct {
	t       *testing.T
	place   place
	dir     string
	config  string
	cmd     *exec.Cmd
	log     *logBook
	console *console.Client
	exited  chan error
	gone    bool
	flags   []string // of the program, besides its configuration
}

// start runs nines with a configuration, and with flags if any, and waits until it takes calls. The test's end stops it, and looks for faults in its log.
func start(t *testing.T, p place, yaml string, flags ...string) *node {
	t.Helper()
	n := &node{t: t, place: p, dir: shortDir(t), flags: flags}
	n.config = filepath.Join(n.dir, "nines.yaml")
	n.write(yaml)
	n.launch()
	return n
}

// shortDir is a folder with a name short enough for a control socket in it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// write replaces the configuration.
func (n *node) write(yaml string) {
	n.t.Helper()
	text := "state: " + n.dir + "/state\nrun: " + n.dir + "/run\n" + n.place.fill(yaml)
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// launch starts the process. It can be called again when the process has ended.
func (n *node) launch() {
	t := n.t
	t.Helper()
	n.log = newLogBook("taking calls")
	n.cmd = exec.Command(program, append([]string{"run", "--config", n.config}, n.flags...)...)
	n.cmd.Stderr = n.log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.exited, n.gone = make(chan error, 1), false
	exited, cmd := n.exited, n.cmd
	go func() { exited <- cmd.Wait() }() // ends with the process
	t.Cleanup(n.stop)
	select {
	case <-n.log.seen:
	case err := <-n.exited:
		n.gone = true
		t.Fatalf("nines ended instead of taking calls: %v\n%s", err, n.log.tail(20))
	case <-time.After(time.Minute):
		t.Fatalf("nines does not take calls after a minute\n%s", n.log.tail(20))
	}
}

// stop ends the process as an operator would.
func (n *node) stop() {
	t := n.t
	t.Helper()
	if n.gone {
		return
	}
	n.gone = true
	if err := n.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Errorf("nines had ended before it was told to: %v\n%s", err, n.log.tail(20))
	}
	patience := 10 * time.Second
	if t.Failed() {
		patience = time.Second // calls may be left, which nines waits for
	}
	select {
	case err := <-n.exited:
		if err != nil {
			t.Errorf("nines ended with %v, want 0\n%s", err, n.log.tail(20))
		}
	case <-time.After(patience):
		if !t.Failed() {
			t.Errorf("nines still runs %v after it was told to stop", patience)
		}
		_ = n.cmd.Process.Kill()
		t.Logf("nines was killed: %v", <-n.exited)
	}
	for _, line := range n.log.with("broke an invariant", "panic") {
		t.Errorf("nines met a fault of its own: %s", line)
	}
	if loud := n.log.with(`"level":"warn"`, `"level":"error"`); t.Failed() && len(loud) > 0 {
		t.Logf("the last warnings in its log:\n%s", strings.Join(loud[max(0, len(loud)-30):], "\n"))
	}
}

// status asks the node how it is.
func (n *node) status() console.Status {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if n.console == nil {
		n.console = console.NewClient(n.dir + "/run") // one for all questions: each keeps a connection
	}
	st, err := n.console.Status(ctx)
	if err != nil {
		n.t.Fatalf("nines does not say how it is: %v\n%s", err, n.log.tail(20))
	}
	return st
}

// verdict waits until an endpoint is believed to be so. A node that has stood still believes nothing for two seconds after that (R13).
func (n *node) verdict(want string, endpoints ...string) {
	n.t.Helper()
	for _, name := range endpoints {
		eventually(n.t, time.Minute, name+" is "+want, func() bool {
			st := n.status()
			e, ok := st.Endpoint(name)
			return ok && e.Verdict == want
		})
	}
}

// empty waits until nothing is left of any call: not a call, not a port.
func (n *node) empty(within time.Duration) {
	n.t.Helper()
	var st console.Status
	ok := within > 0 && poll(within, func() bool {
		st = n.status()
		return st.Calls.Total == 0 && st.Ports.Used == 0 && st.Media.Streams == 0
	})
	if !ok {
		n.t.Errorf("%v after the last call there are %d calls, %d ports and %d streams left; want none", within, st.Calls.Total, st.Ports.Used, st.Media.Streams)
	}
	for _, e := range st.Endpoints {
		if e.Calls != 0 {
			n.t.Errorf("%s still has %d calls after the last; want none", e.Name, e.Calls)
		}
	}
}

// cli runs the program with a command line of a user and gives what it said and its exit code.
func (n *node) cli(args ...string) (out string, code int) {
	n.t.Helper()
	return cli(n.t, n.dir, args...)
}

func cli(t *testing.T, dir string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "NINES_RUN="+dir+"/run")
	both, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(both), cmd.ProcessState.ExitCode()
}

// eventually waits until something is true.
func eventually(t *testing.T, within time.Duration, what string, is func() bool) {
	t.Helper()
	if !poll(within, is) {
		t.Fatalf("not after %v: %s", within, what)
	}
}

// poll looks again and again whether something is true. What happens in another process sends no event. Time in which this process had no turn does not
// count: nobody could look.
func poll(within time.Duration, is func() bool) bool {
	const pause, most = 20 * time.Millisecond, 200 * time.Millisecond
	for spent := time.Duration(0); !is(); {
		if spent >= within {
			return false
		}
		slept := time.Now()
		time.Sleep(pause)
		spent += min(time.Since(slept), most)
	}
	return true
}

// stalls is how often nines has said that it stood still, and for how long. What it saw then it believes nobody (R13).
func (n *node) stalls() (count int, sum time.Duration) {
	n.t.Helper()
	for _, line := range n.log.with(`"message":"we were late ourselves`) {
		var stall struct {
			Late float64 `json:"late_ms"`
		}
		if err := json.Unmarshal([]byte(line), &stall); err != nil {
			n.t.Fatal(err)
		}
		count, sum = count+1, sum+time.Duration(stall.Late*float64(time.Millisecond))
	}
	return count, sum
}

// phone starts a phone of the town on the real network. The test's end closes it, and complains of what others told it.
func phone(t *testing.T, cfg town.PhoneConfig) *town.Phone {
	t.Helper()
	cfg.Seed = uint64(phones.Add(1)) // two with the same would use the same tags and branches
	cfg.Net = homed{local: cfg.Addr.Addr()}
	p, err := town.NewPhone(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		wrong := p.Wrong()
		for i, w := range wrong {
			if i == 10 {
				t.Errorf("and %d more", len(wrong)-i)
				break
			}
			t.Errorf("nines said something wrong: %s", w)
		}
	})
	return p
}

// homed is the kernel's network for a phone with one address: it dials from there too, and not from where the routing table would.
type homed struct {
	town.Kernel
	local netip.Addr
}

// Dial opens a TCP connection.
func (h homed) Dial(ctx context.Context, _ netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	return h.Kernel.Dial(ctx, h.local, remote)
}

// logBook keeps what a process logs and notices one sentence.
type logBook struct {
	seen chan struct{} // closed when the sentence was written
	want []byte
	text chan []byte // holds the text; whoever has it may touch it
}

func newLogBook(want string) *logBook {
	b := &logBook{seen: make(chan struct{}), want: []byte(want), text: make(chan []byte, 1)}
	b.text <- nil
	return b
}

// Write takes a line of the log.
func (b *logBook) Write(line []byte) (int, error) {
	text := append(<-b.text, line...)
	if b.want != nil && bytes.Contains(text, b.want) {
		b.want = nil
		close(b.seen)
	}
	b.text <- text
	return len(line), nil
}

// all is everything up to now. Its last line may not be whole yet: a pipe hands over what fits.
func (b *logBook) all() string {
	text := <-b.text
	s := string(text)
	b.text <- text
	return s
}

func (b *logBook) lines() []string { return strings.Split(strings.TrimSuffix(b.all(), "\n"), "\n") }

// with gives the whole lines that hold one of the words.
func (b *logBook) with(words ...string) []string {
	var out []string
	text := b.all()
	for line := range strings.Lines(text[:strings.LastIndexByte(text, '\n')+1]) {
		for _, w := range words {
			if strings.Contains(line, w) {
				out = append(out, strings.TrimSuffix(line, "\n"))
				break
			}
		}
	}
	return out
}

func (b *logBook) tail(n int) string {
	lines := b.lines()
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
