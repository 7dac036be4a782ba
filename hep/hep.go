// Package hep sends copies of SIP messages to a capture server such as Homer, in HEP3.
//
// [Append] writes a packet; [Sender] sends them by UDP from a goroutine of its own. Whatever becomes of the capture server, its name and the way there, who
// has a message to copy never waits: what finds no room is lost and counted.
package hep

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Packet is one message and where it went.
type Packet struct {
	At       time.Time
	Src, Dst netip.AddrPort
	Stream   bool   // TCP or TLS; else UDP
	Call     string // what the legs of a call have in common: our name for it
	Payload  []byte // the message
}

// Agent is who captures.
type Agent struct {
	ID       uint32
	Password string // empty: none
	Name     string
}

// The chunks of HEP3 that we write: generic ones, vendor 0 ("HEP3 Network Protocol Specification", §2.2).
const (
	chunkFamily      = 1  // 2: IPv4, 10: IPv6
	chunkProtocol    = 2  // of IP
	chunkSrc4        = 3  //
	chunkDst4        = 4  //
	chunkSrc6        = 5  //
	chunkDst6        = 6  //
	chunkSrcPort     = 7  //
	chunkDstPort     = 8  //
	chunkSeconds     = 9  //
	chunkMicros      = 10 //
	chunkType        = 11 // 1: SIP
	chunkAgent       = 12 //
	chunkAuth        = 14 //
	chunkPayload     = 15 //
	chunkCorrelation = 17 //
	chunkNode        = 19 //

	headLen, chunkHead = 6, 6
	maxPacket          = 65507 // what fits in a UDP datagram
)

// Append writes a packet to b. A message that is too long for a datagram is cut.
func Append(b []byte, a Agent, p Packet) []byte {
	start := len(b)
	b = append(b, "HEP3\x00\x00"...)
	src, dst := p.Src.Addr().Unmap(), p.Dst.Addr().Unmap()
	six := src.Is6() || dst.Is6()
	protocol := byte(17)
	if p.Stream {
		protocol = 6
	}
	if six {
		b = chunk(b, chunkFamily, []byte{10})
	} else {
		b = chunk(b, chunkFamily, []byte{2})
	}
	b = chunk(b, chunkProtocol, []byte{protocol})
	if six {
		from, to := src.As16(), dst.As16()
		b = chunk(chunk(b, chunkSrc6, from[:]), chunkDst6, to[:])
	} else {
		from, to := src.As4(), dst.As4()
		b = chunk(chunk(b, chunkSrc4, from[:]), chunkDst4, to[:])
	}
	b = short(short(b, chunkSrcPort, p.Src.Port()), chunkDstPort, p.Dst.Port())
	b = long(b, chunkSeconds, uint32(p.At.Unix()))
	b = long(b, chunkMicros, uint32(p.At.Nanosecond()/1000))
	b = chunk(b, chunkType, []byte{1})
	b = long(b, chunkAgent, a.ID)
	if a.Password != "" {
		b = chunk(b, chunkAuth, []byte(a.Password))
	}
	if p.Call != "" {
		b = chunk(b, chunkCorrelation, []byte(p.Call))
	}
	if a.Name != "" {
		b = chunk(b, chunkNode, []byte(a.Name))
	}
	payload := p.Payload
	if room := maxPacket - (len(b) - start) - chunkHead; len(payload) > room {
		payload = payload[:max(room, 0)]
	}
	b = chunk(b, chunkPayload, payload)
	binary.BigEndian.PutUint16(b[start+4:], uint16(len(b)-start))
	return b
}

func chunk(b []byte, kind uint16, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, 0) // the generic vendor
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(chunkHead+len(data)))
	return append(b, data...)
}

func short(b []byte, kind, v uint16) []byte {
	return chunk(b, kind, binary.BigEndian.AppendUint16(nil, v))
}

func long(b []byte, kind uint16, v uint32) []byte {
	return chunk(b, kind, binary.BigEndian.AppendUint32(nil, v))
}

// Config says where copies go.
type Config struct {
	To    string // udp://host:9060; empty: nowhere
	Agent Agent
}

const (
	queueMost   = 4096
	defaultPort = "9060"
	dialAgain   = 5 * time.Second
	dialLimit   = 5 * time.Second
)

// Sender sends packets. Its zero value sends none; [Sender.Configure] says where to.
type Sender struct {
	cfg        atomic.Pointer[Config]
	once       sync.Once
	queue      chan Packet
	sent, lost atomic.Uint64
}

func (s *Sender) init() { s.once.Do(func() { s.queue = make(chan Packet, queueMost) }) }

// Configure says where to send from now on.
func (s *Sender) Configure(c Config) { s.cfg.Store(&c) }

// On says whether copies are wanted.
func (s *Sender) On() bool {
	c := s.cfg.Load()
	return c != nil && c.To != ""
}

// Send takes a packet and returns at once.
func (s *Sender) Send(p Packet) {
	if !s.On() {
		return
	}
	s.init()
	select {
	case s.queue <- p:
	default:
		s.lost.Add(1)
	}
}

// Counts are packets that were sent, and that were lost for want of room, of a name or of a way.
func (s *Sender) Counts() (sent, lost uint64) { return s.sent.Load(), s.lost.Load() }

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	s.init()
	var w way
	defer w.close()
	var b []byte
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-s.queue:
			c := s.cfg.Load()
			conn := w.to(ctx, c.To)
			if conn == nil {
				s.lost.Add(1)
				continue
			}
			b = Append(b[:0], c.Agent, p)
			if _, err := conn.Write(b); err != nil {
				s.lost.Add(1) // nobody listens there now; the next may arrive
				continue
			}
			s.sent.Add(1)
		}
	}
}

// way is a socket to the capture server.
type way struct {
	target string
	conn   net.Conn
	failed time.Time
}

// to gives the socket to a target, nil while there is no way. A name that cannot be looked up now is tried again in a while.
func (w *way) to(ctx context.Context, target string) net.Conn {
	if w.target != target {
		w.close()
		*w = way{target: target}
	}
	if w.conn != nil || time.Since(w.failed) < dialAgain {
		return w.conn
	}
	u, err := url.Parse(target)
	if err == nil {
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), defaultPort)
		}
		d := net.Dialer{Timeout: dialLimit}
		w.conn, err = d.DialContext(ctx, "udp", host)
	}
	if err != nil {
		w.conn, w.failed = nil, time.Now()
	}
	return w.conn
}

func (w *way) close() {
	if w.conn != nil {
		_ = w.conn.Close()
	}
}
