package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"nines/media"
)

// serve is the relay's process: it prints where packets are taken, a port for each stream, and relays until it is killed.
func serve(kind, from, to, streams string) error {
	n, err := strconv.Atoi(streams)
	if err != nil {
		return err
	}
	near, err := netip.ParseAddrPort(from)
	if err != nil {
		return err
	}
	far, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	if kind == "epoll" {
		return epoll(near, far, n)
	}
	return goroutines(near, far, n)
}

func ready(ports []netip.AddrPort) {
	var b strings.Builder
	for _, p := range ports {
		b.WriteString(p.String() + " ")
	}
	fmt.Println(b.String())
}

// epoll relays with package media, as nines does.
func epoll(near, far netip.AddrPort, n int) error {
	relay, err := media.Open(media.Config{Addresses: []netip.Addr{near.Addr()}, PortMin: 50000, PortMax: 59999})
	if err != nil {
		return err
	}
	var ports []netip.AddrPort
	for range n {
		in, err := relay.Reserve(near.Addr(), 1)
		if err != nil {
			return err
		}
		out, err := relay.Reserve(near.Addr(), 1)
		if err != nil {
			return err
		}
		in.Expect(0, media.Remote{RTP: near})
		out.Expect(0, media.Remote{RTP: far})
		relay.Join(in, out)
		port, _ := in.Local(0)
		ports = append(ports, netip.AddrPortFrom(near.Addr(), port))
	}
	ready(ports)
	return relay.Run(context.Background())
}

// goroutines relays with a goroutine that reads each socket, and as strict a look at the source.
func goroutines(near, far netip.AddrPort, n int) error {
	var ports []netip.AddrPort
	for range n {
		in, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(near.Addr(), 0)))
		if err != nil {
			return err
		}
		out, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(near.Addr(), 0)))
		if err != nil {
			return err
		}
		go func() { // ends with the process
			buf := make([]byte, 2048)
			for {
				size, source, err := in.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				if netip.AddrPortFrom(source.Addr().Unmap(), source.Port()) == near {
					_, _ = out.WriteToUDPAddrPort(buf[:size], far)
				}
			}
		}()
		ports = append(ports, in.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	ready(ports)
	select {}
}
