package acceptance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/internal/town"
)

// swarm is a million addresses of 127.1.0.0 to 127.16.255.255 that send to nines, each once and then again: what a scanner with forged addresses does.
type swarm struct {
	fd   int
	to   unix.SockaddrInet4
	sent int
}

func newSwarm(t *testing.T, to netip.AddrPort) *swarm {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &swarm{fd: fd, to: unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}}
}

// addresses is how many a swarm has.
const addresses = 16 << 16

// say sends one datagram from the next address.
func (s *swarm) say(data []byte) error {
	n := s.sent % addresses
	info := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{127, byte(1 + n>>16), byte(n >> 8), byte(n)}})
	err := unix.Sendmsg(s.fd, data, info, &s.to, 0)
	s.sent++
	return err
}

// flood says something else with each datagram, so many a second, until ctx ends or all are sent. It gives how long it took.
func (s *swarm) flood(ctx context.Context, p place, rate, count int, called ...string) (time.Duration, error) {
	from := p.at(66, 5060)
	var words [][]byte
	for _, called := range called {
		words = append(words, bytes.Replace(request("INVITE", from, p, dialog{body: offer}), []byte("sip:112@"), []byte("sip:"+called+"@"), 1))
	}
	words = append(words,
		request("OPTIONS", from, p, dialog{}), request("REGISTER", from, p, dialog{}), request("BYE", from, p, dialog{toTag: "n0-1-0-3zzzzzzzzzzzz"}),
		[]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKn0-1-1-3zzzzzzzzzzzz\r\nCSeq: 1 INVITE\r\n\r\n"),
		bytes.Repeat([]byte("\x00\xff garbage"), 60), []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), []byte("x"))
	begin := time.Now()
	for i := range count {
		if i%(rate/200) == 0 { // every 5 ms
			select {
			case <-ctx.Done():
				return time.Since(begin), nil
			case <-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate)))):
			}
		}
		if err := s.say(words[i%len(words)]); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

// pings measures how long a trunk waits for the answer to its OPTIONS, and counts those that get none. It repeats them as everybody does over UDP: the kernel
// drops what comes in a flood while nines has no turn.
func pings(ctx context.Context, t *testing.T, s socket, p place) (all []time.Duration, lost int) {
	t.Helper()
	for ctx.Err() == nil {
		begin, options, m := time.Now(), request("OPTIONS", s.at, p, dialog{}), &town.Message{}
		for try := 0; try < 6 && m.Code == 0; try++ {
			s.says(t, p.sip(1), options)
			m = s.answers(t, options, 500*time.Millisecond<<min(try, 3)) // RFC 3261 §17.1.2.1
		}
		if m.Code != 200 {
			lost++
			continue
		}
		all = append(all, time.Since(begin))
		time.Sleep(20 * time.Millisecond)
	}
	slices.Sort(all)
	return all, lost
}

func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	return fmt.Sprintf("half within %v, 99 of 100 within %v, all %d within %v", all[len(all)/2].Round(10*time.Microsecond), all[len(all)*99/100].Round(10*time.Microsecond), len(all), all[len(all)-1].Round(10*time.Microsecond))
}

// heap is how many bytes the program had in use on its heap at the last collection of garbage: what is kept, without what waits to be collected.
func (n *node) heap() int {
	n.t.Helper()
	resp, err := http.Get("http://" + n.place.at(1, 8080).String() + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^go_gc_heap_live_bytes (\S+)`).FindSubmatch(text)
	if m == nil {
		n.t.Fatal("no go_gc_heap_live_bytes in /metrics")
	}
	f, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		n.t.Fatal(err)
	}
	return int(f)
}

// TestAFloodOfStrangersHarmsNoTrunk: R28, PRODUCT §12. 20,000 datagrams a second from a million addresses, of all that scanners send, while SIPp calls from a
// trunk: no call is lost, a trunk is answered as fast as before, and no memory remembers the strangers. In both settings of unknown_sources.
func TestAFloodOfStrangersHarmsNoTrunk(t *testing.T) {
	sippPath(t)
	const rate = 20000
	count := 80_000
	if soaking {
		count = 1_000_000
	}
	for _, setting := range []string{"drop", "answer_emergency"} {
		t.Run(setting, func(t *testing.T) {
			p := newPlace()
			n := start(t, p, "unknown_sources: "+setting+"\n"+strings.Replace(twoRooms, `from: ["{200}/32"]`, `from: ["{200}/32", "{201}/32"]`, 1))
			for _, host := range []int{10, 11} {
				sippRoom(t, p, host, "room.xml", "-rtp_echo", "-d", "50")
			}
			n.verdict("up", "control-room", "standby")
			called := []string{"999", "00441904555555", "101"}
			if setting == "answer_emergency" {
				called[0] = "100" // else they were calls, and this test would want them answered
			}
			trunk := listen(t, p.at(201, 0))
			during := func(run func()) (all []time.Duration, lost int) {
				ctx, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { all, lost = pings(ctx, t, trunk, p) })
				run()
				stop()
				wg.Wait()
				return all, lost
			}
			quiet, _ := during(func() { sippCall(t, p, "carrier.xml", "-r", "20", "-m", "40", "-d", "200") })

			s := newSwarm(t, p.sip(1))
			if _, err := s.flood(t.Context(), p, rate, count/4, called...); err != nil { // what a flood takes once: the call list, buckets, buffers
				t.Fatal(err)
			}
			var took time.Duration
			loud, lost := during(func() {
				var wg sync.WaitGroup
				wg.Go(func() {
					var err error
					if took, err = s.flood(t.Context(), p, rate, count, called...); err != nil {
						t.Error(err)
					}
				})
				calls := 20 * count / rate
				sippCall(t, p, "carrier.xml", "-r", "20", "-m", strconv.Itoa(calls), "-d", "200", "-timeout", strconv.Itoa(count/rate+30))
				wg.Wait()
			})
			n.empty(40 * time.Second)
			resting, held := resident(t, n.cmd.Process.Pid), n.heap() // calls take memory, too: that of strangers is measured without any
			if _, err := s.flood(t.Context(), p, rate, count, called...); err != nil {
				t.Fatal(err)
			}
			after, inUse := resident(t, n.cmd.Process.Pid), n.heap()
			st := n.status()
			t.Logf("%d datagrams in %v; a trunk's OPTIONS were answered: without them %s; with them %s; resident %.1f MB before, %.1f MB after; heap %.1f and %.1f MB; dropped %v",
				count, took.Round(time.Millisecond), spread(quiet), spread(loud), mega(resting), mega(after), mega(held), mega(inUse), st.SIP.Dropped)
			if lost > 0 {
				t.Errorf("%d of %d OPTIONS of a trunk got no answer", lost, lost+len(loud))
			}
			if len(quiet) == 0 || len(loud) == 0 || loud[len(loud)*9/10] > quiet[len(quiet)*9/10]+late {
				t.Errorf("a trunk waits longer while strangers send")
			}
			if grown := max(after-resting, inUse-held); grown > 32<<20 {
				t.Errorf("nines holds %d MB more after %d datagrams of strangers", grown>>20, count)
			}
			if got := st.SIP.Dropped["unknown_source"] + st.SIP.Dropped["garbage"]; got < uint64(count)*9/10 {
				t.Errorf("%d of %d datagrams are counted as dropped", got, count)
			}
		})
	}
}

func mega(n int) float64 { return float64(n) / (1 << 20) }
