package media

import (
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"nines/media/voice"
)

// BenchmarkRelay sends 172-byte packets through many streams of the kernel path, a few at a time, and reads them at the other end.
// µs-cpu/packet is what the relay costs: the process's CPU time without the sending thread's.
func BenchmarkRelay(b *testing.B) {
	for _, streams := range []int{1, 200} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) { benchmarkRelay(b, streams) })
	}
}

func benchmarkRelay(b *testing.B, streams int) {
	r := running(b, Config{})
	in, out := make([]int, streams), make([]int, streams)
	for i := range streams {
		in[i], out[i] = route(b, r)
	}
	packet, buf := make([]byte, 172), make([]byte, 2048)
	packet[0] = 0x80
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, start := cpu(syscall.RUSAGE_SELF)-cpu(rusageThread), time.Now()
	b.ReportAllocs()
	b.ResetTimer()
	const batch = 10
	sent := 0
	for i := 0; i < b.N; i += batch {
		for j := range batch {
			if _, err := syscall.Write(in[(i+j)%streams], packet); err != nil {
				b.Fatal(err)
			}
			sent++
		}
		for j := range batch {
			if _, err := syscall.Read(out[(i+j)%streams], buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.StopTimer()
	spent := cpu(syscall.RUSAGE_SELF) - cpu(rusageThread) - before
	b.ReportMetric(float64(spent.Nanoseconds())/1000/float64(sent), "µs-cpu/packet")
	b.ReportMetric(float64(sent)/time.Since(start).Seconds(), "packets/s")
}

// route joins two new sides and gives the sockets of their far ends, connected to the relay.
func route(b *testing.B, r *Relay) (in, out int) {
	x, y := reserve(b, r, lo, 1), reserve(b, r, lo, 1)
	in, out = farEnd(b, x), farEnd(b, y)
	r.Join(x, y)
	return in, out
}

func farEnd(b *testing.B, s *Side) int {
	fd := farSocket(b)
	name, err := syscall.Getsockname(fd)
	if err != nil {
		b.Fatal(err)
	}
	port, _ := s.Local(0)
	s.Expect(0, Remote{RTP: netip.AddrPortFrom(lo, uint16(name.(*syscall.SockaddrInet4).Port))})
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Addr: lo.As4(), Port: int(port)}); err != nil {
		b.Fatal(err)
	}
	return fd
}

func farSocket(b *testing.B) int {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: lo.As4()}); err != nil {
		b.Fatal(err)
	}
	return fd
}

// BenchmarkForward steps the packet loop in the sender's thread: a packet is sent, relayed and read, without a wake-up. It shows what a change
// of the path costs where BenchmarkRelay drowns it in the scheduler's noise. Direct is the same without the relay.
func BenchmarkForward(b *testing.B) {
	packet, buf := make([]byte, 172), make([]byte, 2048)
	packet[0] = 0x80
	for _, lane := range []bool{false, true} {
		b.Run(fmt.Sprintf("lane=%v", lane), func(b *testing.B) {
			after := 1 << 40
			if lane {
				after = 1
			}
			r, err := Open(Config{Addresses: []netip.Addr{lo}, PortMin: 42000, PortMax: 42999, laneAfter: after})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			in, out := route(b, r)
			l := r.engine.(*loop)
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				if _, err := syscall.Write(in, packet); err != nil {
					b.Fatal(err)
				}
				if err := l.pass(); err != nil {
					b.Fatal(err)
				}
				if _, err := syscall.Read(out, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("direct", func(b *testing.B) {
		in, out := farSocket(b), farSocket(b)
		name, err := syscall.Getsockname(out)
		if err != nil {
			b.Fatal(err)
		}
		if err := syscall.Connect(in, name); err != nil {
			b.Fatal(err)
		}
		defer reportCPU(b)()
		for b.Loop() {
			if _, err := syscall.Write(in, packet); err != nil {
				b.Fatal(err)
			}
			if _, err := syscall.Read(out, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// reportCPU begins to measure the thread's CPU time, which other work on the machine does not lengthen; what it returns reports it.
func reportCPU(b *testing.B) func() {
	runtime.LockOSThread()
	before := cpu(rusageThread)
	return func() {
		b.ReportMetric(float64((cpu(rusageThread)-before).Nanoseconds())/1000/float64(b.N), "µs-cpu/packet")
		runtime.UnlockOSThread()
	}
}

const rusageThread = 1

// cpu is the CPU time that a process or thread has used.
func cpu(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkReserveRelease is the media work of one call: two sides, their far ends, a join, and all of it back.
func BenchmarkReserveRelease(b *testing.B) {
	r := running(b, Config{PortMin: 42000, PortMax: 42999})
	one, two := netip.MustParseAddrPort("127.0.0.2:4000"), netip.MustParseAddrPort("127.0.0.3:4000")
	b.ReportAllocs()
	for b.Loop() {
		x, y := reserve(b, r, lo, 1), reserve(b, r, lo, 1)
		x.Expect(0, Remote{RTP: one, RTCP: netip.AddrPortFrom(one.Addr(), 4001)})
		y.Expect(0, Remote{RTP: two, RTCP: netip.AddrPortFrom(two.Addr(), 4001)})
		r.Join(x, y)
		x.Release()
		y.Release()
		r.mu.Lock()
		for _, pair := range r.pools[0].resting.list[r.pools[0].resting.head:] {
			pair.freed = -Quarantine // at this pace every port would be resting
		}
		r.mu.Unlock()
	}
}

// BenchmarkOpen is what a port pair costs that was not opened ahead.
func BenchmarkOpen(b *testing.B) {
	r, err := newRelay(Config{Addresses: []netip.Addr{lo}, PortMin: 42000, PortMax: 42999})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.ReportAllocs()
	for b.Loop() {
		pair, err := r.pools[0].bind(42000)
		if err != nil {
			b.Fatal(err)
		}
		for i := range pair.ports {
			r.engine.shut(&pair.ports[i])
		}
	}
}

// BenchmarkPlay plays to many far ends at once over loopback for as long as the benchmark lasts, in real time. core/500 is how much of one core
// the process uses for 500 playbacks, without the thread that reads at the far end but with the kernel's delivery to it; packets/s are
// 25,000 unless the machine stalls.
func BenchmarkPlay(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkPlay(b, nil) })
	b.Run("sealed", func(b *testing.B) { benchmarkPlay(b, sealOf("AES_CM_128_HMAC_SHA1_80", 1)) })
}

func benchmarkPlay(b *testing.B, seal *Seal) {
	const callers = 500
	r := running(b, Config{PortMin: 42000, PortMax: 43999, Spare: callers})
	fd := farSocket(b)
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 8<<20); err != nil {
		b.Skipf("the far end needs a large buffer, which only root can have: %v", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		b.Fatal(err)
	}
	at := netip.AddrPortFrom(lo, uint16(name.(*syscall.SockaddrInet4).Port))
	for range callers {
		side := reserve(b, r, lo, 1)
		side.Expect(0, Remote{RTP: at})
		if _, err := side.Play(Playback{Tapes: []*voice.Tape{voice.Comfort()}, Codec: voice.PCMA, Payload: 8, Seal: seal}); err != nil {
			b.Fatal(err)
		}
	}
	buf := make([]byte, 2048)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, start := cpu(syscall.RUSAGE_SELF)-cpu(rusageThread), time.Now()
	played := r.Stats().Played
	for b.Loop() {
		if _, err := syscall.Read(fd, buf); err != nil {
			b.Fatal(err)
		}
	}
	spent, took, packets := cpu(syscall.RUSAGE_SELF)-cpu(rusageThread)-before, time.Since(start), r.Stats().Played-played
	b.ReportMetric(spent.Seconds()/took.Seconds(), "core/500")
	b.ReportMetric(float64(packets)/took.Seconds(), "packets/s")
	b.ReportMetric(float64(spent.Nanoseconds())/1000/float64(packets), "µs-cpu/packet")
}
