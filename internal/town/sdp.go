package town

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// described is what a phone needs to know of a session description.
type described struct {
	audio    netip.AddrPort // where to send; zero: nowhere
	payloads []int          // payload types of the audio line, in order
	sends    bool           // the other side sends
	hears    bool           // the other side wants to hear
}

// readSDP finds the audio stream of a session description. It reads generously; ok says that there is an audio line.
func readSDP(text string) (d described, ok bool) {
	var host netip.Addr
	d.sends, d.hears = true, true
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "c=IN IP"):
			if f := strings.Fields(line); len(f) == 3 {
				host, _ = netip.ParseAddr(f[2]) // a name stays the zero address: we send nowhere
			}
		case strings.HasPrefix(line, "m=audio ") && !ok:
			f := strings.Fields(line)
			if len(f) < 4 {
				return d, false
			}
			port, err := strconv.ParseUint(f[1], 10, 16)
			if err != nil {
				return d, false
			}
			d.audio = netip.AddrPortFrom(netip.Addr{}, uint16(port))
			for _, p := range f[3:] {
				if n, err := strconv.Atoi(p); err == nil {
					d.payloads = append(d.payloads, n)
				}
			}
			ok = true
		case strings.HasPrefix(line, "m=") && ok:
			return d.at(host), ok // the c= and a= of later streams are not ours
		case line == "a=sendonly":
			d.hears = false
		case line == "a=recvonly":
			d.sends = false
		case line == "a=inactive":
			d.sends, d.hears = false, false
		case line == "a=sendrecv":
			d.sends, d.hears = true, true
		}
	}
	return d.at(host), ok
}

func (d described) at(host netip.Addr) described {
	if !host.IsValid() || host.IsUnspecified() || d.audio.Port() == 0 {
		d.audio = netip.AddrPort{} // RFC 3264 §5.1, §8.4: held the old way, or refused
		return d
	}
	d.audio = netip.AddrPortFrom(host, d.audio.Port())
	return d
}

// choose gives the first payload type of ours that the offer has, or -1.
func (d described) choose(ours []int) int {
	for _, o := range ours {
		for _, p := range d.payloads {
			if o == p {
				return p
			}
		}
	}
	return -1
}

// codecs names the static payload types a phone may use.
var codecs = map[int]string{0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000", 18: "G729/8000"}

// writeSDP makes a session description.
func writeSDP(name string, session, version uint64, at netip.AddrPort, payloads []int, direction string) string {
	family := "IP4"
	if at.Addr().Is6() {
		family = "IP6"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=%s %d %d IN %s %s\r\ns=%s\r\nc=IN %s %s\r\nt=0 0\r\nm=audio %d RTP/AVP", name, session, version, family, at.Addr(), name, family, at.Addr(), at.Port())
	for _, p := range payloads {
		fmt.Fprintf(&b, " %d", p)
	}
	b.WriteString(" 101\r\n")
	for _, p := range payloads {
		if c := codecs[p]; c != "" {
			fmt.Fprintf(&b, "a=rtpmap:%d %s\r\n", p, c)
		}
	}
	fmt.Fprintf(&b, "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=%s\r\n", direction)
	return b.String()
}
