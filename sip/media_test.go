package sip_test

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// mouth is a media socket of somebody.
type mouth struct {
	t    *testing.T
	conn net.PacketConn
	n    int
}

// opens opens a media socket of an actor.
func (a *actor) opens(port int) *mouth {
	a.t.Helper()
	c, err := a.host.ListenPacket(netip.AddrPortFrom(a.addr.Addr(), uint16(port)))
	if err != nil {
		a.t.Fatal(err)
	}
	return &mouth{t: a.t, conn: c}
}

func (m *mouth) close() { _ = m.conn.Close() }

// says sends a packet to a port of ours; what it holds is unlike any other.
func (m *mouth) says(to netip.AddrPort) string {
	m.t.Helper()
	m.n++
	what := fmt.Sprintf("\x80\x08\x00%c packet %d of %s \x00\xff", byte(m.n), m.n, m.conn.LocalAddr())
	if _, err := m.conn.WriteTo([]byte(what), net.UDPAddrFromAddrPort(to)); err != nil {
		m.t.Fatal(err)
	}
	return what
}

// hears waits for a packet: empty when none comes.
func (m *mouth) hears() string {
	m.t.Helper()
	buf := make([]byte, 65536)
	_ = m.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, _, err := m.conn.ReadFrom(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

var (
	mediaLine = regexp.MustCompile(`(?m)^m=\S+ (\d+)`)
	connLine  = regexp.MustCompile(`(?m)^c=IN IP\d (\S+?)\r?$`)
)

// ours are our addresses in a session description, by m= line.
func ours(body []byte) []netip.AddrPort {
	addr := netip.MustParseAddr(string(connLine.FindSubmatch(body)[1]))
	var list []netip.AddrPort
	for _, m := range mediaLine.FindAllSubmatch(body, -1) {
		port, _ := strconv.Atoi(string(m[1]))
		list = append(list, netip.AddrPortFrom(addr, uint16(port)))
	}
	return list
}

func next(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

// flows checks that RTP and RTCP of a call pass both ways, as they are. near is what the caller was told, far what the room was told.
func (st *stage) flows(callerPort, roomPort int, near, far heard) {
	st.t.Helper()
	st.flowsTo(st.rooms["control-room"], callerPort, roomPort, ours(near.Body)[0], ours(far.Body)[0])
}

func (st *stage) flowsTo(room *actor, callerPort, roomPort int, near, far netip.AddrPort) {
	st.t.Helper()
	for i, what := range []string{"RTP", "RTCP"} {
		c, r := st.carrier.opens(callerPort+i), room.opens(roomPort+i)
		if want, got := c.says(near), r.hears(); got != want {
			st.t.Errorf("%s of the caller: %s heard %q, want %q", what, room.host.Name(), got, want)
		}
		if want, got := r.says(far), c.hears(); got != want {
			st.t.Errorf("%s of %s: the caller heard %q, want %q", what, room.host.Name(), got, want)
		}
		c.close()
		r.close()
		near, far = next(near), next(far)
	}
}
