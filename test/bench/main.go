// Command bench compares nines with Kamailio and rtpengine on the same work in the same run (docs: README, "Figures").
//
// A carrier calls a control room through the system under test: SIPp on both ends, or, for delays and for the ceiling over UDP, TCP and TLS, callers of
// its own. The system is pinned to one core, both ends and the packet source to the other. Runs alternate (A, B, A, B) because machines are noisy: believe
// the ratio of one run, not a figure. CPU is user + system of all processes of the system, as the kernel accounts it to them. As root everything happens
// in a network namespace of its own.
//
//	go run ./test/bench -nines bin/nines
//	go run ./test/bench -nines bin/nines -parts ceiling -transport tls
//	go run ./test/bench -nines "" -parts cost -for 20s       Kamailio + rtpengine alone
//	go run ./test/bench -nines bin/nines -journal -rate 200 -for 2m -parts cost,delay     what the book costs
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bench is one run of the comparison.
type bench struct {
	dir      string
	systems  []*system
	ways     []string // the transports whose ceiling is measured
	identity identity
	coreSUT  string
	coreGen  string
	rate     int
	duration time.Duration
	rounds   int
	upTo     int
	talking  int
	streams  int
	log      func(format string, args ...any)
	report   report
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var b bench
	var nines, parts, ways string
	var children int
	flag.StringVar(&nines, "nines", "", "the nines binary; empty: leave nines out")
	kamailio := flag.Bool("kamailio", true, "measure Kamailio + rtpengine")
	book := flag.Bool("journal", false, "measure nines without a book, with it, and with the text of messages in it, instead of Kamailio + rtpengine")
	flag.StringVar(&parts, "parts", "cost,delay,garbage,ceiling,memory,packets", "what to measure; garbage is the set-up delay while scanners send")
	flag.StringVar(&ways, "transport", "udp,tcp,tls", "transports whose ceiling is measured; the other parts go over UDP")
	flag.IntVar(&b.rate, "rate", 300, "calls a second for cost and delay")
	flag.DurationVar(&b.duration, "for", 20*time.Second, "length of a measured run")
	flag.IntVar(&b.rounds, "rounds", 2, "rounds of A, B")
	flag.IntVar(&b.upTo, "up-to", 5000, "last rate of the search for the highest clean one")
	flag.IntVar(&b.talking, "talking", 1000, "calls that talk while memory is read")
	flag.IntVar(&b.streams, "streams", 200, "calls that carry packets while the cost of a packet is measured")
	flag.IntVar(&children, "children", 2, "Kamailio's workers")
	flag.StringVar(&b.coreSUT, "core", "0", "core of the system under test")
	flag.StringVar(&b.coreGen, "generators", "1", "core of the generators")
	flag.Parse()
	b.ways = strings.Split(ways, ",")

	if entered, err := enterNamespace(ctx); entered || err != nil {
		return err
	}
	favour(os.Getpid())
	if err := pin(b.coreGen); err != nil {
		return err
	}
	b.log = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	dir, err := os.MkdirTemp("", "nines-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	if b.identity, err = newIdentity(dir); err != nil {
		return err
	}
	if modules, _ := filepath.Glob("/usr/lib/*/kamailio/modules/tls.so"); len(modules) == 0 && *kamailio && !*book && strings.Contains(parts, "ceiling") && slices.Contains(b.ways, "tls") {
		return errors.New("Kamailio has no TLS here: apt-get install kamailio-tls-modules, or say -transport udp,tcp")
	}
	for _, way := range b.ways {
		if !slices.Contains(transports, way) {
			return fmt.Errorf("transport %q is none of %s", way, strings.Join(transports, ", "))
		}
	}
	if *kamailio && !*book {
		b.systems = append(b.systems, newKamailio(children))
	}
	if nines != "" {
		path, err := filepath.Abs(nines)
		if err != nil {
			return err
		}
		b.systems = append(b.systems, ninesOf(path, *book)...)
	}
	if len(b.systems) == 0 {
		return errors.New("nothing to measure: give -nines or -kamailio")
	}
	b.report.start(&b)
	wanted := strings.Split(parts, ",")
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"cost", b.cost}, {"delay", b.delay}, {"garbage", b.garbage}, {"ceiling", b.ceiling}, {"memory", b.memory}, {"packets", b.packets},
	} {
		if !slices.Contains(wanted, part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	b.report.print(os.Stdout)
	return nil
}

// inside marks the process that runs in the namespace.
const inside = "NINES_BENCH_INSIDE"

// enterNamespace runs this program again in a network namespace of its own, when that is allowed: other people's ports and packets stay outside.
func enterNamespace(ctx context.Context) (entered bool, err error) {
	if os.Getenv(inside) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			return false, fmt.Errorf("bring loopback up: %w: %s", err, out)
		}
		return false, nil
	}
	if os.Geteuid() != 0 {
		return false, nil
	}
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Setsid: true, Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread() // Pdeathsig watches the thread that started it
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	if errors.Is(err, syscall.EPERM) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, cmd.Wait()
}

// pin keeps this process on the generators' core.
func pin(core string) error {
	n, err := strconv.Atoi(core)
	if err != nil {
		return fmt.Errorf("core %q is no number", core)
	}
	var set unix.CPUSet
	set.Set(n)
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, t := range threads { // threads to come inherit it
		id, err := strconv.Atoi(filepath.Base(t))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil {
			return fmt.Errorf("pin to core %d: %w", n, err)
		}
	}
	return nil
}

// each runs f for every system, rounds times, in turn, with a fresh system each time.
func (b *bench) each(ctx context.Context, what string, rounds int, f func(s *system) error) error {
	for round := range rounds {
		for _, s := range b.systems {
			b.log("%s, round %d: %s", what, round+1, s.name)
			if err := b.with(ctx, s, func() error { return f(s) }); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// with starts a system and a control room behind it, runs f and stops both.
func (b *bench) with(ctx context.Context, s *system, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer s.stop()
	if err := s.start(b, "udp"); err != nil {
		return err
	}
	return f()
}

// cost measures CPU per call, below the ceiling.
func (b *bench) cost(ctx context.Context) error {
	return b.each(ctx, "cost", b.rounds, func(s *system) error {
		room, err := b.startRoom(false)
		if err != nil {
			return err
		}
		defer room.stop()
		if _, err := b.callFor(ctx, s.address, b.rate, 3*time.Second, talk); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		roomBefore := room.stats()
		before := s.cpu()
		r, err := b.callFor(ctx, s.address, b.rate, b.duration, talk)
		if err != nil {
			return err
		}
		used := s.cpu().minus(before)
		r.retransmissions += room.settled().retransmissions - roomBefore.retransmissions
		b.report.addCost(s, used, r)
		return nil
	})
}

// delay measures what the system adds between INVITE and 180.
func (b *bench) delay(ctx context.Context) error {
	b.log("set-up delay: direct call")
	direct, err := b.measureDelay(ctx, roomAddress, b.rate, b.duration/2)
	if err != nil {
		return fmt.Errorf("direct: %w", err)
	}
	b.log("  %s", direct)
	b.report.direct = direct
	return b.each(ctx, "set-up delay", b.rounds, func(s *system) error {
		if _, err := b.measureDelay(ctx, s.address, b.rate, 3*time.Second); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		r, err := b.measureDelay(ctx, s.address, b.rate, b.duration/2)
		if err != nil {
			return err
		}
		b.report.addDelay(s, r)
		return nil
	})
}

// memory reads what a talking call takes.
func (b *bench) memory(ctx context.Context) error {
	return b.each(ctx, "memory", 1, func(s *system) error {
		room, err := b.startRoom(false)
		if err != nil {
			return err
		}
		defer room.stop()
		if _, err := b.callFor(ctx, s.address, 50, 2*time.Second, talk); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		before := s.pss()
		setup := time.Duration(b.talking) * time.Second / 200
		carrier, err := b.startCarrier(s.address, 200, b.talking, setup+12*time.Second, false)
		if err != nil {
			return err
		}
		defer carrier.stop()
		if err := sleep(ctx, setup+8*time.Second); err != nil {
			return err
		}
		b.report.addMemory(s, before, s.pss(), b.talking)
		r, err := carrier.wait(ctx)
		if err != nil {
			return err
		}
		if r.failed > 0 {
			return fmt.Errorf("%s: the figure would be false", r)
		}
		return nil
	})
}

// packets measures the relay: the calls stand, every side sends 50 packets a second of 172 bytes.
func (b *bench) packets(ctx context.Context) error {
	return b.each(ctx, "packets", b.rounds, func(s *system) error {
		room, err := b.startRoom(true)
		if err != nil {
			return err
		}
		defer room.stop()
		length := b.duration/2 + 3*time.Second
		setup := time.Duration(b.streams)*time.Second/50 + time.Second
		carrier, err := b.startCarrier(s.address, 50, b.streams, setup+length+10*time.Second, true)
		if err != nil {
			return err
		}
		defer carrier.stop()
		if err := sleep(ctx, setup+time.Second); err != nil {
			return err
		}
		ends, err := mediaEnds(carrier, room)
		if err != nil {
			return err
		}
		if len(ends) != 2*b.streams {
			return fmt.Errorf("%d of %d media ports are known: calls were not set up", len(ends), 2*b.streams)
		}
		flood, err := newFlood(ends)
		if err != nil {
			return err
		}
		defer flood.close()
		if err := flood.run(ctx, 3*time.Second); err != nil { // warm up: rtpengine learns its peers
			return err
		}
		flood.reset()
		before := s.cpu()
		if err := flood.run(ctx, b.duration/2); err != nil {
			return err
		}
		b.report.addPackets(s, s.cpu().minus(before), flood.result())
		return nil
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
