package acceptance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nines/internal/town"
)

// socket is one end of a media stream.
type socket struct {
	*net.UDPConn
	at netip.AddrPort
}

// sockets counts those that were opened at any port.
var sockets atomic.Uint32

// listen opens a socket. Any port (0) is none that a test names, and none that the kernel gives: what has a port of its own may open it later.
func listen(t *testing.T, at netip.AddrPort) socket {
	t.Helper()
	if at.Port() == 0 {
		at = netip.AddrPortFrom(at.Addr(), uint16(10000+sockets.Add(1)%10000))
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return socket{c, c.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// hears waits for one datagram.
func (s socket) hears(t *testing.T, within time.Duration) (data []byte, from netip.AddrPort, ok bool) {
	t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	n, from, err := s.ReadFromUDPAddrPort(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) { // if we had no turn meanwhile it may lie there already
		if err := s.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, from, err = s.ReadFromUDPAddrPort(buf)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, from, false
	case err != nil:
		t.Fatal(err)
	}
	return buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), true
}

func (s socket) says(t *testing.T, to netip.AddrPort, data []byte) {
	t.Helper()
	if _, err := s.WriteToUDPAddrPort(data, to); err != nil {
		t.Fatal(err)
	}
}

// datagrams are what travels in media streams; the relay has no business to understand any of it.
func datagrams() map[string][]byte {
	rng := rand.New(rand.NewPCG(5, 6))
	noise := func(head string, n int) []byte {
		b := []byte(head)
		for len(b) < n {
			b = append(b, byte(rng.Uint32()))
		}
		return b
	}
	return map[string][]byte{
		"20 ms of G.711":             noise("\x80\x08\x12\x34\x00\x00\x00\xa0\xde\xad\xbe\xef", 172),
		"comfort noise":              noise("\x80\x0d\x12\x35\x00\x00\x01\x40\xde\xad\xbe\xef", 13),
		"a key press (RFC 4733)":     noise("\x80\xe5\x12\x36\x00\x00\x01\xe0\xde\xad\xbe\xef", 16),
		"a video packet":             noise("\xb0\x60\x00\x01\x00\x00\x00\x01\xca\xfe\xba\xbe", 1400),
		"SRTP with extension":        noise("\x90\x6f\x00\x01\x00\x00\x00\x01\xca\xfe\xba\xbe\xbe\xde\x00\x01", 182),
		"T.140 with redundancy":      noise("\x80\x62\x00\x01\x00\x00\x00\x01\x0b\xad\xf0\x0d", 40),
		"RTCP sender report":         noise("\x80\xc8\x00\x06\xde\xad\xbe\xef", 64),
		"RTCP goodbye":               noise("\x81\xcb\x00\x01\xde\xad\xbe\xef", 8),
		"DTLS":                       noise("\x16\xfe\xfd", 120),
		"STUN":                       noise("\x00\x01\x00\x00\x21\x12\xa4\x42", 20),
		"one byte":                   {0x80},
		"nothing at all":             {},
		"a datagram over any MTU":    noise("\x80\x60\x00\x02\x00\x00\x00\x01\xca\xfe\xba\xbe", 9000),
		"no RTP, with zeros and NUL": make([]byte, 33),
	}
}

// TestDatagramsPassUnchanged: R27. Audio and video, RTP and RTCP, with RTCP on the next port, on a port of its own (a=rtcp), or on the same (rtcp-mux).
func TestDatagramsPassUnchanged(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		rtcp int // how far RTCP is from RTP at the phones
		attr func(port uint16) string
	}{
		{"RTCP on the next port", 1, func(uint16) string { return "" }},
		{"RTCP on a port of its own", 7, func(port uint16) string { return fmt.Sprintf("a=rtcp:%d\r\n", port+7) }},
		{"RTCP on the same port", 0, func(uint16) string { return "a=rtcp-mux\r\n" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace()
			n := start(t, p, twoRooms)
			sdp := func(host int, codecs string) string {
				s := fmt.Sprintf("v=0\r\no=- 7 7 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\n", p.ip(host))
				for i, kind := range []string{"audio", "video"} {
					port := uint16(40000 + 20*i)
					s += fmt.Sprintf("m=%s %d RTP/AVP %s\r\n", kind, port, codecs) + tt.attr(port)
				}
				return s
			}
			answer := sdp(10, "8")
			room := newDesk(t, p.sip(10), func(string) string { return answer })
			newDesk(t, p.sip(11), func(string) string { return answer })
			carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
			n.verdict("up", "control-room", "standby")

			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c, err := carrier.Place(town.Dial{
				URI: "sip:999@" + p.sip(1).String(), Wrap: func(string) (string, []byte) { return "application/sdp", []byte(sdp(200, "8 0")) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Talks(ctx); err != nil {
				t.Fatal(err)
			}
			rec := c.Record()
			up, down := streams(t, rec.SDP[len(rec.SDP)-1]), streams(t, room.offer(rec.ID))
			if len(up) != 2 || len(down) != 2 {
				t.Fatalf("nines names %v to the carrier and %v to the control room; want two streams each", up, down)
			}
			sent := uint64(0)
			for i := range up {
				for _, rtcp := range []bool{false, true} {
					if rtcp && tt.rtcp == 0 {
						continue // the same port
					}
					port := uint16(40000 + 20*i)
					nearCaller, nearRoom := up[i], down[i]
					if rtcp {
						port += uint16(tt.rtcp)
						nearCaller, nearRoom = netip.AddrPortFrom(up[i].Addr(), up[i].Port()+1), netip.AddrPortFrom(down[i].Addr(), down[i].Port()+1)
					}
					caller, person := listen(t, p.at(200, port)), listen(t, p.at(10, port))
					for what, data := range datagrams() {
						crosses(t, what, caller, nearCaller, person, nearRoom, data)
						crosses(t, what+", back", person, nearRoom, caller, nearCaller, data)
						sent += 2
					}
				}
			}
			// R29: whoever was not negotiated is not heard, whatever address of the right host it has.
			caller, person := listen(t, p.at(200, 0)), listen(t, p.at(66, 40000))
			listener := listen(t, p.at(10, 40010))
			eventually(t, 5*time.Second, "every packet is counted", func() bool { return n.status().Media.Packets >= sent }) // that is done when it has gone
			before := n.status().Media
			for range 10 {
				caller.says(t, up[0], datagrams()["20 ms of G.711"])
				person.says(t, up[0], datagrams()["20 ms of G.711"])
				person.says(t, down[0], datagrams()["20 ms of G.711"])
			}
			eventually(t, 3*time.Second, "thirty foreign packets are counted", func() bool {
				return n.status().Media.Dropped["foreign"] >= before.Dropped["foreign"]+30
			})
			if _, from, ok := listener.hears(t, 50*time.Millisecond); ok {
				t.Errorf("a packet reached a port that nobody negotiated, from %v", from)
			}
			if got := n.status().Media.Packets; got != before.Packets || got != sent {
				t.Errorf("%d packets were relayed, %d with the foreign ones; want the %d that were sent", before.Packets, got, sent)
			}
			c.Clear()
			n.empty(5 * time.Second)
		})
	}
}

// crosses sends one datagram through nines and compares what comes out, and where from.
func crosses(t *testing.T, what string, from socket, via netip.AddrPort, to socket, out netip.AddrPort, data []byte) {
	t.Helper()
	from.says(t, via, data)
	got, source, ok := to.hears(t, 10*time.Second)
	switch {
	case !ok:
		t.Errorf("%s (%d bytes) from %v to %v did not arrive", what, len(data), from.at, to.at)
	case !bytes.Equal(got, data):
		t.Errorf("%s came out changed:\n in %x\nout %x", what, data, got)
	case source != out:
		t.Errorf("%s came from %v; nines said it would be %v", what, source, out)
	}
}

// TestSessionDescriptionIsEditedNowhereElse: R28. What both sides see of the other's text is what it was, but for addresses, ports and o=.
func TestSessionDescriptionIsEditedNowhereElse(t *testing.T) {
	t.Parallel()
	p := newPlace()
	n := start(t, p, twoRooms)
	const odd = "v=0\r\no=carrier 1 1 IN IP4 ADDR\r\ns=A call  with \"blanks\"\r\ni=\xc3\xa9t\xc3\xa9\r\nt=0 0\r\nc=IN IP4 ADDR\r\na=x-unknown:1 2  3\r\n" +
		"m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15,66\r\na=ptime:20\r\na=maxptime:40\r\na=sendrecv\r\n" +
		"m=text 40010 RTP/AVP 98\r\na=rtpmap:98 t140/1000\r\na=label:caption\r\n"
	person := strings.ReplaceAll(odd, "ADDR", p.ip(10).String())
	offer := strings.ReplaceAll(odd, "ADDR", p.ip(200).String())
	room := newDesk(t, p.sip(10), func(string) string { return person })
	newDesk(t, p.sip(11), func(string) string { return person })
	carrier := phone(t, town.PhoneConfig{Name: "carrier", Addr: p.sip(200)})
	n.verdict("up", "control-room", "standby")

	// With a location beside it, as carriers send 999 calls (RFC 6442): the other part must stay byte for byte.
	const location = "<?xml version=\"1.0\"?>\n<presence entity=\"pres:caller@example.com\">\n <geopriv/>\n</presence>\n"
	wrapped := "--edge\r\nContent-Type: application/sdp\r\n\r\n" + offer + "\r\n--edge\r\nContent-Type: application/pidf+xml\r\nContent-ID: <loc@carrier.example>\r\n\r\n" + location + "\r\n--edge--\r\n"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := carrier.Place(town.Dial{
		URI: "sip:999@" + p.sip(1).String(), Headers: []town.Header{{Name: "Geolocation", Value: "<cid:loc@carrier.example>"}},
		Wrap: func(string) (string, []byte) { return "multipart/mixed;boundary=edge", []byte(wrapped) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Talks(ctx); err != nil {
		t.Fatal(err)
	}
	rec := c.Record()
	body := room.offer(rec.ID)
	head, rest, ok := strings.Cut(body, "\r\n\r\n")
	if !ok || head != "--edge\r\nContent-Type: application/sdp" {
		t.Fatalf("the body begins with %q", head)
	}
	text, rest, _ := strings.Cut(rest, "\r\n--edge\r\n")
	if want := "Content-Type: application/pidf+xml\r\nContent-ID: <loc@carrier.example>\r\n\r\n" + location + "\r\n--edge--\r\n"; rest != want {
		t.Errorf("the caller's location came out as %q, want %q", rest, want)
	}
	sameBut(t, "the offer", text, offer)
	sameBut(t, "the answer", rec.SDP[len(rec.SDP)-1], person)
	c.Clear()
	n.empty(5 * time.Second)
}

// sameBut compares two session descriptions but for what nines must change in them.
func sameBut(t *testing.T, what, got, want string) {
	t.Helper()
	g, w := strings.Split(strings.TrimSuffix(got, "\r\n"), "\r\n"), strings.Split(strings.TrimSuffix(want, "\r\n"), "\r\n")
	if len(g) != len(w) {
		t.Fatalf("%s has %d lines, want %d:\n%s", what, len(g), len(w), got)
	}
	for i := range w {
		switch {
		case strings.HasPrefix(w[i], "o="), strings.HasPrefix(w[i], "c="):
			if g[i] == w[i] {
				t.Errorf("%s still says %q", what, g[i])
			}
		case strings.HasPrefix(w[i], "m="):
			gf, wf := strings.Fields(g[i]), strings.Fields(w[i])
			if len(gf) != len(wf) || gf[0] != wf[0] || gf[1] == wf[1] || strings.Join(gf[2:], " ") != strings.Join(wf[2:], " ") {
				t.Errorf("%s says %q for %q; only the port may differ, and must", what, g[i], w[i])
			}
		case g[i] != w[i]:
			t.Errorf("%s: line %d is %q, want %q", what, i+1, g[i], w[i])
		}
	}
}
