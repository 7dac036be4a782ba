package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	garbageRate = 20000            // datagrams a second
	nobody      = "127.0.0.1:5099" // a socket that nobody reads: the same flood beside the system
)

// garbage measures the set-up delay while scanners send, each datagram from another address. It is compared with the same flood sent past the system: what the
// flood itself costs the generators' core is in both.
func (b *bench) garbage(ctx context.Context) error {
	return b.each(ctx, "garbage", b.rounds, func(s *system) error {
		if s.strangers {
			return nil // it has no list of whom it knows, and would pass the scanners' INVITEs on
		}
		if _, err := b.measureDelay(ctx, s.address, b.rate, 3*time.Second); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		past, err := b.underGarbage(ctx, s, nobody)
		if err != nil {
			return err
		}
		before := s.cpu()
		under, err := b.underGarbage(ctx, s, s.address)
		if err != nil {
			return err
		}
		b.report.addGarbage(s, past, under, s.cpu().minus(before).total())
		return nil
	})
}

func (b *bench) underGarbage(ctx context.Context, s *system, to string) (result, error) {
	sink, err := listenUDP(nobody)
	if err != nil {
		return result{}, err
	}
	defer sink.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	sent := make(chan error, 1)
	go func() { sent <- sendGarbage(ctx, netip.MustParseAddrPort(to)) }() // ends with stop
	r, err := b.measureDelay(ctx, s.address, b.rate, b.duration/2)
	stop()
	if e := <-sent; e != nil {
		return result{}, fmt.Errorf("garbage: %w", e)
	}
	return r, err
}

// sendGarbage sends what scanners send, from a million addresses of 127.1.0.0 to 127.16.255.255, until ctx ends.
func sendGarbage(ctx context.Context, to netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	sa := &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	scan := func(method string) []byte {
		return fmt.Appendf(nil, "%s sip:900441904@%s SIP/2.0\r\nVia: SIP/2.0/UDP 127.1.1.1:5060;branch=z9hG4bK-5242\r\nMax-Forwards: 70\r\nFrom: \"sipvicious\" <sip:100@1.1.1.1>;tag=6437\r\n"+
			"To: <sip:900441904@%s>\r\nCall-ID: 9348\r\nCSeq: 1 %s\r\nContact: <sip:100@127.1.1.1>\r\nUser-Agent: friendly-scanner\r\nContent-Length: 0\r\n\r\n", method, to, to, method)
	}
	words := [][]byte{scan("INVITE"), scan("OPTIONS"), scan("REGISTER"), bytes.Repeat([]byte("\x00\xff garbage"), 50)}
	const each = garbageRate / 500 // every 2 ms
	begin := time.Now()
	for n := 0; ; n++ {
		if n%each == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Until(begin.Add(time.Duration(n) * time.Second / garbageRate))):
			}
		}
		src := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{127, byte(1 + n>>16&15), byte(n >> 8), byte(n)}})
		if err := unix.Sendmsg(fd, words[n%len(words)], src, sa, 0); err != nil {
			return err
		}
	}
}
