package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	packetSize  = 172 // RTP header and 20 ms of PCMA
	packetEvery = 20 * time.Millisecond
	ticks       = 20 // a packet interval is cut into so many ticks, each has its share of the streams
)

// flood sends and receives the packets of many calls from one thread.
type flood struct {
	fds     []int
	poll    int
	packet  [packetSize]byte
	seq     []uint16
	started time.Time

	sent, received, changed int
	delays                  []float64 // µs
}

// newFlood opens a socket for each end, joined to its port of the relay.
func newFlood(ends []end) (*flood, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := &flood{poll: poll, seq: make([]uint16, len(ends)), started: time.Now()}
	for i := range f.packet {
		f.packet[i] = byte(i * 7)
	}
	for _, e := range ends {
		if err := f.open(e); err != nil {
			f.close()
			return nil, fmt.Errorf("media port %d to %d: %w", e.ours, e.relay, err)
		}
	}
	return f, nil
}

func (f *flood) open(e end) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f.fds = append(f.fds, fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: e.ours, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: e.relay, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	return unix.EpollCtl(f.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (f *flood) close() {
	for _, fd := range f.fds {
		_ = unix.Close(fd)
	}
	_ = unix.Close(f.poll)
}

func (f *flood) reset() { f.sent, f.received, f.changed, f.delays = 0, 0, 0, f.delays[:0] }

// run sends for a while and goes on receiving a little longer.
func (f *flood) run(ctx context.Context, d time.Duration) error {
	begin, tick := time.Now(), 0
	for time.Since(begin) < d {
		if err := ctx.Err(); err != nil {
			return err
		}
		for due := int(time.Since(begin) / (packetEvery / ticks)); tick < due; tick++ {
			for i := tick % ticks; i < len(f.fds); i += ticks {
				f.send(i)
			}
		}
		f.receive(1)
	}
	for quiet := time.Now(); time.Since(quiet) < 300*time.Millisecond; {
		f.receive(10)
	}
	return nil
}

// send sends one packet of stream i. After the RTP header stand the stream and the time, the rest is a pattern.
func (f *flood) send(i int) {
	p := f.packet[:]
	p[0], p[1] = 0x80, 8
	f.seq[i]++
	binary.BigEndian.PutUint16(p[2:], f.seq[i])
	binary.BigEndian.PutUint32(p[4:], uint32(f.seq[i])*160)
	binary.BigEndian.PutUint32(p[8:], uint32(i)+1)
	binary.BigEndian.PutUint64(p[12:], uint64(time.Since(f.started)))
	if _, err := unix.Write(f.fds[i], p); err == nil {
		f.sent++
	}
}

// receive takes what has come, waiting at most so many milliseconds.
func (f *flood) receive(wait int) {
	var events [256]unix.EpollEvent
	n, err := unix.EpollWait(f.poll, events[:], wait)
	if err != nil {
		return
	}
	var buf [2048]byte
	for _, e := range events[:n] {
		for {
			n, err := unix.Read(int(e.Fd), buf[:])
			if err != nil {
				break
			}
			f.take(buf[:n])
		}
	}
}

func (f *flood) take(p []byte) {
	f.received++
	if len(p) != packetSize || !slices.Equal(p[20:], f.packet[20:]) {
		f.changed++
		return
	}
	sent := time.Duration(binary.BigEndian.Uint64(p[12:]))
	f.delays = append(f.delays, float64(time.Since(f.started)-sent)/1000)
}

// flow is what became of the packets.
type flow struct {
	sent, received, changed int
	p50, p99                float64 // µs
}

func (f *flood) result() flow {
	slices.Sort(f.delays)
	r := result{delays: f.delays}
	return flow{f.sent, f.received, f.changed, r.quantile(.5), r.quantile(.99)}
}
