package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// town moves packets over a Network: a goroutine per socket. It is for tests; the kernel path has one loop.
type town struct {
	relay *Relay

	mu      sync.Mutex
	ports   []*port
	running bool
	readers sync.WaitGroup
}

func newTown(r *Relay) *town { return &town{relay: r} }

// open binds p and, once the relay runs, starts its reader; close stops it.
func (t *town) open(p *port, addr netip.AddrPort) error {
	conn, err := t.relay.cfg.Network.ListenPacket(addr)
	if err != nil {
		return fmt.Errorf("listen %s: %w", addr, err)
	}
	p.conn = conn
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ports = append(t.ports, p)
	if t.running {
		t.readers.Go(func() { t.read(p) })
	}
	return nil
}

// shut takes back an open.
func (t *town) shut(p *port) { p.conn.Close() }

// drain has nothing to do: the reader empties the socket, and a stream is never used for two calls.
func (t *town) drain(*port) int { return 0 }

// released has nothing to do.
func (t *town) released(*pair) {}

func (t *town) run(ctx context.Context) error {
	t.mu.Lock()
	t.running = true
	for _, p := range t.ports {
		t.readers.Go(func() { t.read(p) })
	}
	t.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (t *town) close() {
	t.mu.Lock()
	t.running = false
	for _, p := range t.ports {
		p.conn.Close()
	}
	t.mu.Unlock()
	t.readers.Wait()
}

// read relays what arrives at one socket until that is closed.
func (t *town) read(p *port) {
	buf := make([]byte, maxDatagram)
	for {
		n, src, err := p.conn.ReadFrom(buf)
		now := t.relay.now()
		if err != nil {
			if !t.failed(p, err, now) {
				return
			}
			continue
		}
		out, to, h := t.relay.arrived(p, source(src), buf[:n], now)
		if out == nil {
			continue
		}
		if _, err := out.conn.WriteTo(buf[:n], net.UDPAddrFromAddrPort(to.at)); err != nil {
			t.relay.counts.failed.Add(1)
			t.failed(out, err, now)
			continue
		}
		t.relay.sent(h, n)
	}
}

// send sends a packet of ours.
func (t *town) send(p *port, to *peer, b []byte, now time.Duration) bool {
	if _, err := p.conn.WriteTo(b, net.UDPAddrFromAddrPort(to.at)); err != nil {
		t.failed(p, err, now)
		return false
	}
	return true
}

// failed counts an ICMP error; it says false when the socket is closed.
func (t *town) failed(p *port, err error, now time.Duration) bool {
	var errno syscall.Errno
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
		return false
	case errors.As(err, &errno):
		t.relay.refused(p, netip.AddrPort{}, errno, now)
	}
	return true
}

// source is the address a packet came from.
func source(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
