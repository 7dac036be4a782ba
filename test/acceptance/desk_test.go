package acceptance

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"nines/internal/town"
)

// desk is the plainest control room there is: a socket that answers each INVITE at once with a session description of the test's choice. It is there for
// the tests that want their own media, and costs a test of a thousand calls next to nothing.
type desk struct {
	conn   *net.UDPConn
	answer func(offer string) string

	mu     sync.Mutex
	offers map[string]string // by conversation: what nines offered us
}

// newDesk opens a desk; the test's end closes it.
func newDesk(t *testing.T, at netip.AddrPort, answer func(offer string) string) *desk {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{conn: conn, answer: answer, offers: map[string]string{}}
	done := make(chan struct{})
	go func() { defer close(done); d.serve() }() // ends with the socket
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return d
}

func (d *desk) serve() {
	buf := make([]byte, 65535)
	for {
		n, from, err := d.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m, err := town.ParseMessage(buf[:n])
		if err != nil || m.Method == "" || m.Method == "ACK" {
			continue
		}
		body := ""
		if m.Method == "INVITE" {
			d.mu.Lock()
			d.offers[m.Get("X-Town-Call")] = string(m.Body)
			d.mu.Unlock()
			body = d.answer(string(m.Body))
		}
		_, _ = d.conn.WriteToUDPAddrPort([]byte(response(m, "200 OK", d.conn.LocalAddr().String(), body)), from) // a lost datagram is repeated
	}
}

// offer is what nines offered in a conversation.
func (d *desk) offer(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.offers[id]
}

// response writes a response to a request, by hand, so that a test can write what no phone would.
func response(m *town.Message, status, contact, sdp string) string {
	var b strings.Builder
	b.WriteString("SIP/2.0 " + status + "\r\n")
	for _, h := range m.Headers {
		switch h.Name {
		case "Via", "From", "Call-ID", "CSeq", "Record-Route":
			b.WriteString(h.Name + ": " + h.Value + "\r\n")
		case "To":
			to := h.Value
			if !strings.Contains(to, ";tag=") {
				to += ";tag=desk" + m.Get("Call-ID")
			}
			b.WriteString("To: " + to + "\r\n")
		}
	}
	b.WriteString("Contact: <sip:" + contact + ">\r\n")
	if sdp != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(sdp), sdp)
	return b.String()
}

// streams reads where a session description wants its media: the address of each m= line, in order.
func streams(t *testing.T, sdp string) []netip.AddrPort {
	t.Helper()
	var out []netip.AddrPort
	host := netip.Addr{}
	for line := range strings.Lines(sdp) {
		f := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "c=") && len(f) == 3:
			host = netip.MustParseAddr(f[2])
			if len(out) > 0 {
				out[len(out)-1] = netip.AddrPortFrom(host, out[len(out)-1].Port())
			}
		case strings.HasPrefix(line, "m=") && len(f) > 3:
			port, err := parsePort(f[1])
			if err != nil {
				t.Errorf("%q: %v", line, err)
			}
			out = append(out, netip.AddrPortFrom(host, port))
		}
	}
	return out
}

func parsePort(s string) (uint16, error) {
	var p uint16
	_, err := fmt.Sscan(s, &p)
	return p, err
}
