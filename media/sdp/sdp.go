// Package sdp edits session descriptions as text.
//
// It changes the addresses and ports that the relay stands in for and nothing else: order, unknown lines, odd spacing, line endings and every
// other part of a multipart body stay byte for byte (R28). It is no parser of SDP: what a strict one would refuse (c= after t=, bare LF, lines of
// nobody's invention) passes, as long as the c= and m= lines can be found.
//
// It decides nothing about a call. The driver finds the description in a body with [Locate], reads the far end's addresses with [Look], puts ours
// in with [Edit] and the result back with [Splice]. Streams are counted by their m= lines, from 0, in all of them alike.
package sdp

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// ErrNothing says that no session description was found in the text.
var ErrNothing = errors.New("no line of a session description")

// Direction is who sends in a stream, as the writer of the description sees it.
type Direction string

// The directions of RFC 4566 §6.
const (
	SendRecv Direction = "sendrecv"
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// Sends says whether the writer of the description sends.
func (d Direction) Sends() bool { return d == SendRecv || d == SendOnly }

// Receives says whether the writer of the description wants to receive.
func (d Direction) Receives() bool { return d == SendRecv || d == RecvOnly }

// View is what a description says, as far as a relay cares.
type View struct {
	Origin  Origin
	Streams []Stream
}

// Origin is the o= line; zero values where it is missing or garbled.
type Origin struct {
	User    string
	ID      uint64
	Version uint64
	Addr    netip.Addr
}

// Stream is one m= line with what belongs to it.
type Stream struct {
	Kind        string         // audio, video, text, image, message…
	Port        uint16         // 0: refused, or no number
	Ports       int            // how many; 1 unless the line says port/count
	Proto       string         // RTP/AVP, udptl, TCP/MSRP…
	Formats     []string       // payload types or names, in the writer's order
	Host        string         // the connection address as written: the stream's own or the session's
	Addr        netip.Addr     // Host as an address; invalid when it is a name or missing
	RTCP        netip.AddrPort // from a=rtcp, else the port after Port; zero when Port is 0
	Mux         bool           // a=rtcp-mux
	Direction   Direction      // the stream's own, else the session's, else sendrecv
	Unspecified bool           // the address is 0.0.0.0 or ::, the old way to hold
	Ptime       int            // milliseconds per packet; 0 when not said
	Clock       uint32         // RTP clock rate of the first format in Hz; 0 when unknown
}

// UDP says whether the stream runs over UDP, and so through the relay.
func (s Stream) UDP() bool { return !overTCP(s.Proto) }

// RTP is the address the stream's packets go to: invalid when it is refused, on hold or named.
func (s Stream) RTP() netip.AddrPort {
	if s.Port == 0 || s.Unspecified || !s.Addr.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(s.Addr, s.Port)
}

// Look reads a description. It fails with [ErrNothing] only when there is nothing that looks like one; garbled lines leave zero values.
func Look(sdp []byte) (View, error) {
	var (
		v      View
		l      looker
		usable bool
	)
	for text := string(sdp); text != ""; {
		var ln line
		ln, text = cut(text)
		switch ln.kind {
		case 'v', 't', 's':
			usable = true
		case 'o':
			usable = true
			v.Origin = origin(ln.value)
		case 'c':
			usable = true
			l.connection(ln.value, v.Streams)
		case 'm':
			usable = true
			if v.Streams == nil {
				v.Streams = make([]Stream, 0, 2)
			}
			l.finish(v.Streams)
			v.Streams = append(v.Streams, l.media(ln.value))
		case 'a':
			l.attribute(ln.value, v.Streams)
		}
	}
	l.finish(v.Streams)
	if !usable {
		return View{}, ErrNothing
	}
	l.inherit(v.Streams)
	return v, nil
}

// looker is what Look remembers between lines.
type looker struct {
	host      string // of the session
	direction Direction
	ptime     int
	own       bool   // the current stream has its own c=
	rtcp      string // the value of the current stream's a=rtcp
	rtpmap    string // the encoding of its first format
}

// connection takes a c= line. The first of a level counts: several are layers of one multicast stream.
func (l *looker) connection(value string, streams []Stream) {
	host := connectionHost(value)
	switch {
	case len(streams) == 0:
		if l.host == "" {
			l.host = host
		}
	case !l.own:
		l.own = true
		streams[len(streams)-1].Host = host
	}
}

// media takes an m= line.
func (l *looker) media(value string) Stream {
	l.own, l.rtcp, l.rtpmap = false, "", ""
	m := mediaLine(value)
	s := Stream{Kind: m.kind, Port: m.port, Ports: m.ports, Proto: m.proto}
	if m.formats != "" {
		s.Formats = strings.Fields(m.formats)
	}
	return s
}

// attribute takes an a= line.
func (l *looker) attribute(value string, streams []Stream) {
	name, rest, _ := strings.Cut(value, ":")
	name = strings.TrimSpace(name)
	var s *Stream
	if len(streams) > 0 {
		s = &streams[len(streams)-1]
	}
	switch {
	case equal(name, "sendrecv"), equal(name, "sendonly"), equal(name, "recvonly"), equal(name, "inactive"):
		d := Direction(strings.ToLower(name))
		if s == nil {
			l.direction = d
		} else {
			s.Direction = d
		}
	case equal(name, "ptime"):
		if n, err := strconv.Atoi(strings.TrimSpace(rest)); err == nil && n > 0 && s == nil {
			l.ptime = n
		} else if err == nil && n > 0 {
			s.Ptime = n
		}
	case s == nil:
	case equal(name, "rtcp"):
		l.rtcp = strings.TrimSpace(rest)
	case equal(name, "rtcp-mux"), equal(name, "rtcp-mux-only"):
		s.Mux = true
	case equal(name, "rtpmap"):
		if pt, encoding := field(rest); len(s.Formats) > 0 && pt == s.Formats[0] {
			l.rtpmap = strings.TrimSpace(encoding)
		}
	}
}

// finish completes the stream whose lines have all been seen, except for what it inherits.
func (l *looker) finish(streams []Stream) {
	if len(streams) == 0 {
		return
	}
	s := &streams[len(streams)-1]
	if len(s.Formats) > 0 {
		s.Clock = clock(s.Formats[0], l.rtpmap)
	}
	if s.Port == 0 {
		return
	}
	if port, rest := field(l.rtcp); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			addr, _ := netip.ParseAddr(connectionHost(rest))
			s.RTCP = netip.AddrPortFrom(addr.Unmap(), uint16(n))
			return
		}
	}
	if s.Port < 65535 {
		s.RTCP = netip.AddrPortFrom(netip.Addr{}, s.Port+1)
	}
}

// inherit gives the streams what the session says for all.
func (l *looker) inherit(streams []Stream) {
	for i := range streams {
		s := &streams[i]
		if s.Host == "" {
			s.Host = l.host
		}
		if addr, err := netip.ParseAddr(s.Host); err == nil {
			s.Addr = addr.Unmap()
		}
		s.Unspecified = s.Addr.IsValid() && s.Addr.IsUnspecified()
		if s.RTCP.Port() != 0 && !s.RTCP.Addr().IsValid() {
			s.RTCP = netip.AddrPortFrom(s.Addr, s.RTCP.Port())
		}
		if s.Direction == "" {
			s.Direction = l.direction
		}
		if s.Direction == "" {
			s.Direction = SendRecv
		}
		if s.Ptime == 0 {
			s.Ptime = l.ptime
		}
	}
}

// origin reads an o= line: user, id, version, IN, IP4, address.
func origin(value string) Origin {
	var o Origin
	o.User, value = field(value)
	id, value := field(value)
	version, value := field(value)
	o.ID, _ = strconv.ParseUint(id, 10, 64)
	o.Version, _ = strconv.ParseUint(version, 10, 64)
	if addr, err := netip.ParseAddr(connectionHost(value)); err == nil {
		o.Addr = addr.Unmap()
	}
	return o
}

// static are the payload types that need no rtpmap (RFC 3551 §6), with their encodings.
var static = map[string]string{
	"0": "PCMU/8000", "3": "GSM/8000", "4": "G723/8000", "5": "DVI4/8000", "6": "DVI4/16000", "7": "LPC/8000", "8": "PCMA/8000",
	"9": "G722/8000", "10": "L16/44100/2", "11": "L16/44100", "12": "QCELP/8000", "13": "CN/8000", "14": "MPA/90000", "15": "G728/8000",
	"16": "DVI4/11025", "17": "DVI4/22050", "18": "G729/8000", "25": "CELB/90000", "26": "JPEG/90000", "28": "NV/90000", "31": "H261/90000",
	"32": "MPV/90000", "33": "MP2T/90000", "34": "H263/90000",
}

// clock is the RTP clock rate of a payload type.
func clock(format, rtpmap string) uint32 {
	if rtpmap == "" {
		rtpmap = static[format]
	}
	_, rest, _ := strings.Cut(rtpmap, "/")
	rate, _, _ := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(rate, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
