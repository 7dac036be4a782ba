package wire

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// guests is a node that knows 10.0.0.x and lets INVITEs of others in.
func guests() Config {
	known := netip.MustParsePrefix("10.0.0.0/24")
	return Config{
		MaxStreams: 3, MaxGuests: 4, MaxGuestsPerSource: 2,
		Accept: func(src netip.AddrPort, _ Proto, data []byte) bool {
			return known.Contains(src.Addr()) || data == nil || strings.HasPrefix(string(data), "INVITE")
		},
		Guest: func(src netip.AddrPort) bool { return !known.Contains(src.Addr()) },
	}
}

func open(t *testing.T, m *memory, n *node, from string) net.Conn {
	t.Helper()
	c := m.dial(from, n.at(TCP))
	synctest.Wait()
	return c
}

// closed says that the far end of a connection is gone.
func closed(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	ne, ok := err.(net.Error) //nolint:errorlint // as the network in memory returns it
	return err != nil && !(ok && ne.Timeout())
}

func TestGuestsNeverUseUpThePlacesOfThoseWhoAreKnown(t *testing.T) {
	inMemory(t, guests(), func(t *testing.T, m *memory, n *node) {
		for i := range 200 {
			open(t, m, n, fmt.Sprintf("203.0.113.%d", i+1))
		}
		for range 3 {
			c := open(t, m, n, "10.0.0.2")
			say(t, c, options(1))
			if got := len(n.got()); got != 1 {
				t.Fatalf("beside 200 strangers a trunk's connection brought %d messages, want 1", got)
			}
		}
		if got := n.Counters(); got.StreamsOpen != 7 {
			t.Errorf("%d connections are open, want 4 of strangers and 3 of the trunk", got.StreamsOpen)
		}
	})
}

func TestTheGuestWhoSaysNothingMakesWay(t *testing.T) {
	inMemory(t, guests(), func(t *testing.T, m *memory, n *node) {
		kept, speaks := open(t, m, n, "203.0.113.1"), open(t, m, n, "203.0.113.2")
		say(t, kept, strings.ReplaceAll(options(1), "OPTIONS", "INVITE"))
		n.Keep((<-n.packets).Flow)
		time.Sleep(time.Second)
		silent := open(t, m, n, "203.0.113.3")
		other := open(t, m, n, "203.0.113.4")
		time.Sleep(time.Second)
		say(t, speaks, strings.ReplaceAll(options(2), "OPTIONS", "INVITE"))
		say(t, silent, options(3)) // is not let in: it says nothing that counts
		if got := n.got(); len(got) != 1 {
			t.Errorf("the sink was told of %v, want the INVITE", got)
		}
		open(t, m, n, "203.0.113.5")
		if !closed(silent) || closed(kept) || closed(speaks) || closed(other) {
			t.Errorf("closed: silent %v, kept %v, speaks %v, other %v; want the one that came first and has said nothing", closed(silent), closed(kept), closed(speaks), closed(other))
		}
		for i := range 20 {
			open(t, m, n, fmt.Sprintf("203.0.113.%d", i+10))
		}
		if closed(kept) {
			t.Error("a connection that carries a call made way")
		}
		first, second, third := open(t, m, n, "203.0.113.99"), open(t, m, n, "203.0.113.99"), open(t, m, n, "203.0.113.99")
		if closed(first) || closed(second) || !closed(third) {
			t.Error("of three connections of one stranger two are wanted")
		}
	})
}

func TestASilentGuestIsClosedSoon(t *testing.T) {
	inMemory(t, guests(), func(t *testing.T, m *memory, n *node) {
		silent, pings, trunk := open(t, m, n, "203.0.113.1"), open(t, m, n, "203.0.113.2"), open(t, m, n, "10.0.0.2")
		go func() { _, _ = io.Copy(io.Discard, pings) }() // ends with the connection
		for range 6 {
			time.Sleep(2 * time.Second)
			_, _ = io.WriteString(pings, "\r\n\r\n")
		}
		if !closed(silent) || closed(trunk) {
			t.Errorf("after 12 s: silent stranger closed %v, trunk closed %v; want the stranger", closed(silent), closed(trunk))
		}
		if got := n.Counters().StreamsOpen; got != 1 {
			t.Errorf("%d connections are open, want the trunk's: pings are nothing to say", got)
		}
		if len(n.ends) > 0 {
			t.Error("the sink was told of the end of one that it has never heard of")
		}
	})
}
