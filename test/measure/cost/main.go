// Command cost measures the CPU time of a call: through nines, and through the smallest back-to-back user agent that sipgo's client, server and
// dialogs make (docs/decisions/0001-own-sockets-and-transactions.md). It needs SIPp, nice and taskset; as root it runs before its neighbours.
//
// Each system in turn is pinned to core 0; a SIPp carrier and a SIPp control room on the last core place INVITE 180 200 ACK BYE through it. Runs
// alternate, because machines are noisy: believe the ratio of one run. nines does more for it: it anchors media, judges, logs and counts.
//
//	go run ./test/measure/cost
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Where everybody is: away from whatever else is tested on this machine.
const (
	proxyAddress   = "127.0.9.1:5060"
	roomAddress    = "127.0.9.2:5060"
	carrierAddress = "127.0.9.3:5060"
)

const config = `name: cost
listen: [udp://` + proxyAddress + `]
media: { address: 127.0.9.1, ports: 20000-29999 }
state: %[1]s/state
run: %[1]s/run
trunks: { carrier: { from: [127.0.9.3] } }
endpoints: { room: { uri: "sip:` + roomAddress + `" } }
routes: [{ name: "999", class: emergency, numbers: ["999"], ask: [room] }]
health: { every: 1h }
`

func main() {
	if len(os.Args) == 2 && os.Args[1] == "sipgo" {
		fail(serveSipgo(context.Background()))
	}
	rate := flag.Int("rate", 300, "calls a second")
	length := flag.Duration("for", 6*time.Second, "length of a measured run")
	rounds := flag.Int("rounds", 2, "rounds of one system after the other")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fail(run(ctx, *rate, *length, *rounds))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
}

// system is one of the two.
type system struct {
	name string
	args []string
}

func run(ctx context.Context, rate int, length time.Duration, rounds int) error {
	dir, err := os.MkdirTemp("", "nines-cost")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	systems, err := prepare(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d calls a second for %s on one core\n", runtime.Version(), rate, length)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "round\tsystem\tcalls\tfailed\trepeated\tCPU ms a call\tmemory MB")
	for round := range rounds {
		for _, s := range systems {
			m, err := measure(ctx, dir, s, rate, length)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%.3f\t%.0f\n", round+1, s.name, m.calls, m.failed, m.repeated,
				m.cpu.Seconds()*1000/float64(max(m.calls, 1)), m.megabytes)
		}
	}
	return nil
}

// prepare builds nines and writes its file. The other system is this program.
func prepare(ctx context.Context, dir string) ([]system, error) {
	binary, file := filepath.Join(dir, "nines"), filepath.Join(dir, "nines.yaml")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "nines/cmd/nines")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build nines: %w: %s", err, out)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, config, dir), 0o600); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return []system{
		{"sipgo's stack", []string{self, "sipgo"}},
		{"nines", []string{binary, "run", "--log-level", "error", "--config", file}},
	}, nil
}

// measured is one run.
type measured struct {
	calls, failed, repeated int
	cpu                     time.Duration
	megabytes               float64
}

// measure places calls through one system and reads what it used meanwhile.
func measure(ctx context.Context, dir string, s system, rate int, length time.Duration) (m measured, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sut, err := start(ctx, "0", s.args...)
	if err != nil {
		return m, err
	}
	defer sut.stop()
	generators := strconv.Itoa(runtime.NumCPU() - 1)
	room, err := start(ctx, generators, sipp("uas", roomAddress, dir)...)
	if err != nil {
		return m, err
	}
	defer room.stop()
	time.Sleep(500 * time.Millisecond) // until both listen
	if _, err := carry(ctx, generators, dir, rate, rate); err != nil {
		return m, fmt.Errorf("warm up: %w", err)
	}
	before, err := sut.cpu()
	if err != nil {
		return m, err
	}
	m, err = carry(ctx, generators, dir, rate, int(float64(rate)*length.Seconds()))
	if err != nil {
		return m, err
	}
	after, err := sut.cpu()
	if err != nil {
		return m, err
	}
	m.cpu = after - before
	m.megabytes, err = sut.megabytes()
	return m, err
}

// sipp is the command line of one end of the calls. The scenarios are those of the benchmark.
func sipp(scenario, address, dir string) []string {
	host, port, _ := strings.Cut(address, ":")
	return []string{
		"sipp", "-sf", filepath.Join("test", "bench", scenario+".xml"), "-i", host, "-mi", host, "-p", port, "-nostdin",
		"-trace_stat", "-stf", filepath.Join(dir, scenario+".csv"), "-fd", "1", "-buff_size", "4194304",
	}
}

// carry places calls and reads SIPp's counts.
func carry(ctx context.Context, core, dir string, rate, calls int) (m measured, err error) {
	args := append(sipp("uac", carrierAddress, dir), "-r", strconv.Itoa(rate), "-m", strconv.Itoa(calls), "-d", "100", "-timeout", "60", proxyAddress)
	p, err := start(ctx, core, args...)
	if err != nil {
		return m, err
	}
	waited := p.cmd.Wait()
	last, err := lastLine(filepath.Join(dir, "uac.csv"))
	if err != nil {
		return m, errors.Join(waited, err)
	}
	m.calls, m.failed, m.repeated = last["SuccessfulCall(C)"], last["FailedCall(C)"], last["Retransmissions(C)"]
	if m.calls == 0 {
		return m, fmt.Errorf("no call succeeded: %w: %s", waited, p.said.String())
	}
	return m, nil
}

// lastLine reads the numbers of the last line of SIPp's statistics, by column.
func lastLine(path string) (map[string]int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) < 2 {
		return nil, fmt.Errorf("%s: no statistics", path)
	}
	values := strings.Split(lines[len(lines)-1], ";")
	numbers := map[string]int{}
	for i, name := range strings.Split(lines[0], ";") {
		if i < len(values) {
			numbers[name], _ = strconv.Atoi(values[i]) // most columns are no numbers
		}
	}
	return numbers, nil
}

// process is a program on a core of its own.
type process struct {
	cmd  *exec.Cmd
	said *bytes.Buffer
}

func start(ctx context.Context, core string, args ...string) (process, error) {
	p := process{exec.CommandContext(ctx, "nice", append([]string{"-n", "-15", "taskset", "-c", core}, args...)...), &bytes.Buffer{}}
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	if err := p.cmd.Start(); err != nil {
		return p, fmt.Errorf("start %s: %w", args[0], err)
	}
	return p, nil
}

func (p process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// cpu is the user and system time that the process has used, as the kernel accounts it.
func (p process) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("it has ended: %w: %s", err, p.said.String())
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc: %q", rest)
	}
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2) // a tick is 10 ms on Linux
}

// megabytes is the memory that the process has touched.
func (p process) megabytes() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	return float64(kb) / 1024, err
}
