package wire

import (
	"net/netip"
	"testing"
)

func TestADoubtedConnectionIsNotUsedForWhatComesNext(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, m *memory, n *node) {
		other := netip.MustParseAddrPort(other1)
		peer := start(t, Config{Network: m, Listen: []Listen{{Proto: TCP, Addr: other}}})
		first := n.connect(other)
		n.Doubt(first)
		second := n.connect(other)
		if second == first {
			t.Errorf("got the connection that is doubted")
		}
		if f := n.connect(other); f != second {
			t.Errorf("got %v, want the new connection %v again", f, second)
		}
		n.Doubt(second)
		n.Send([]Out{{Flow: first, Data: []byte(options(1))}})
		p := <-peer.packets
		peer.Send([]Out{{Flow: p.Flow, Data: []byte(okText)}})
		<-n.packets
		if f := n.connect(other); f != first || m.dials != 2 {
			t.Errorf("got %v after %d dials, want the first one: something came by it, so it is not stuck", f, m.dials)
		}
		n.Doubt(first)
		third := n.connect(other)
		n.Doubt(third)
		if f := n.connect(other); f != third || m.dials != 3 {
			t.Errorf("got %v after %d dials, want the third: it is the peer that says nothing", f, m.dials)
		}
		n.Doubt(Flow{Proto: UDP, Remote: other}) // no connection: nothing happens
		n.wantOpen("calls may be under way on each of them")
		peer.stop()
	})
}
