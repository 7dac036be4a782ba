// Command relay measures what relaying a media packet costs: with the epoll loop of package media, and with a goroutine for each socket, the way
// that Go invites to (docs/decisions/0002-media-in-one-epoll-loop.md). It needs nice and taskset; as root it runs before its neighbours.
//
// Each relay in turn is a process on core 0; this one sends 172-byte packets, 50 a second for each stream, from the last core and takes the time
// that each needs. Runs alternate, because machines are noisy: believe the ratio of one run.
//
//	go run ./test/measure/relay
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) == 5 {
		fail(serve(os.Args[1], os.Args[2], os.Args[3], os.Args[4]))
		return
	}
	streams := flag.Int("streams", 200, "streams that carry packets at once")
	length := flag.Duration("for", 4*time.Second, "length of a run")
	rounds := flag.Int("rounds", 3, "rounds of one relay after the other")
	flag.Parse()
	fail(run(*streams, *length, *rounds))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

func run(streams int, length time.Duration, rounds int) error {
	if err := pin(runtime.NumCPU() - 1); err != nil {
		return err
	}
	fmt.Printf("%s, %d streams, %d packets a second\n", runtime.Version(), streams, streams*50)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "round\trelay\tsent\tlost\tCPU µs a packet\tdelay µs p50\tp99")
	for round := range rounds {
		for _, kind := range []string{"goroutines", "epoll"} {
			m, err := measure(kind, streams, length)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%.1f\t%d\t%d\n", round+1, kind, m.sent, m.sent-len(m.delays),
				float64(m.cpu.Microseconds())/float64(max(len(m.delays), 1)), m.quantile(0.5).Microseconds(), m.quantile(0.99).Microseconds())
		}
	}
	return nil
}

// pin keeps the generator off the relay's core.
func pin(core int) error {
	var set unix.CPUSet
	set.Set(core)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			if err := unix.SchedSetaffinity(id, &set); err != nil {
				return fmt.Errorf("pin to core %d: %w", core, err)
			}
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, -15) // before the neighbours, where that is allowed
		}
	}
	return nil
}

// measured is one run.
type measured struct {
	sent   int
	cpu    time.Duration
	delays []time.Duration // of what arrived, sorted
}

func (m measured) quantile(q float64) time.Duration {
	if len(m.delays) == 0 {
		return 0
	}
	return m.delays[int(q*float64(len(m.delays)-1))]
}

const packetSize = 172 // 20 ms of G.711

func measure(kind string, streams int, length time.Duration) (m measured, err error) {
	from, err := socket()
	if err != nil {
		return m, err
	}
	defer from.Close()
	to, err := socket()
	if err != nil {
		return m, err
	}
	defer to.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	cmd := exec.CommandContext(ctx, "nice", "-n", "-15", "taskset", "-c", "0", self, kind, from.LocalAddr().String(), to.LocalAddr().String(), strconv.Itoa(streams))
	var said bytes.Buffer
	cmd.Stderr = &said // nice complains where it may not
	out, err := cmd.StdoutPipe()
	if err != nil {
		return m, err
	}
	if err := cmd.Start(); err != nil {
		return m, err
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return m, fmt.Errorf("it did not start: %w: %s", err, said.String())
	}
	var ports []netip.AddrPort
	for _, p := range strings.Fields(line) {
		a, err := netip.ParseAddrPort(p)
		if err != nil {
			return m, err
		}
		ports = append(ports, a)
	}
	got := make(chan []time.Duration, 1)
	began := time.Now()
	go func() { got <- take(to, began) }() // ends at the deadline
	before, err := cpu(cmd.Process.Pid)
	if err != nil {
		return m, err
	}
	if m.sent, err = send(from, ports, began, length); err != nil {
		return m, err
	}
	if err := to.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return m, err
	}
	m.delays = <-got
	slices.Sort(m.delays)
	after, err := cpu(cmd.Process.Pid)
	m.cpu = after - before
	return m, err
}

func socket() (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return c, c.SetReadBuffer(4 << 20)
}

// send gives each stream its packet every 20 ms, spread evenly over them.
func send(from *net.UDPConn, ports []netip.AddrPort, began time.Time, length time.Duration) (sent int, err error) {
	packet := make([]byte, packetSize)
	packet[0] = 0x80
	each := 20 * time.Millisecond / time.Duration(len(ports))
	for next := began; next.Sub(began) < length; next = next.Add(each) {
		if wait := time.Until(next); wait > 0 {
			time.Sleep(wait)
		}
		binary.BigEndian.PutUint64(packet[12:], uint64(time.Since(began)))
		if _, err := from.WriteToUDPAddrPort(packet, ports[sent%len(ports)]); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// take reads what arrives until the deadline and notes how long it was on its way.
func take(to *net.UDPConn, began time.Time) (delays []time.Duration) {
	buf := make([]byte, 2048)
	for {
		n, _, err := to.ReadFromUDPAddrPort(buf)
		if err != nil {
			return delays
		}
		if n == packetSize {
			delays = append(delays, time.Since(began)-time.Duration(binary.BigEndian.Uint64(buf[12:])))
		}
	}
}

// cpu is what a process has used, in the nanoseconds of its scheduler.
func cpu(pid int) (sum time.Duration, err error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	for _, t := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, t.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // the thread has ended
		}
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}
