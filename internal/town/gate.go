package town

import (
	"net"
	"sync"
)

// gate is a phone's UDP socket: it says when sipgo reads from it, swallows ICMP, after which sipgo would stop reading, and can be frozen.
type gate struct {
	net.PacketConn
	serving chan struct{} // closed at the first read
	once    sync.Once

	mu     sync.Mutex
	frozen bool
}

func newGate(c net.PacketConn) *gate { return &gate{PacketConn: c, serving: make(chan struct{})} }

func (g *gate) freeze(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = on
}

func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.frozen
}

func (g *gate) ReadFrom(b []byte) (int, net.Addr, error) {
	g.once.Do(func() { close(g.serving) })
	for {
		n, addr, err := g.PacketConn.ReadFrom(b)
		if err != nil && isICMP(err) || err == nil && g.shut() {
			continue
		}
		return n, addr, err
	}
}

func (g *gate) WriteTo(b []byte, addr net.Addr) (int, error) {
	if g.shut() {
		return len(b), nil
	}
	return g.PacketConn.WriteTo(b, addr)
}
