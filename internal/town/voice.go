package town

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pion/rtp"
	"github.com/zaf/g711"
)

// Voice counts the audio packets of one side of a call.
type Voice struct {
	Sent     int
	Heard    int // packets of this conversation, unchanged, each counted once
	Changed  int // datagrams that are not what somebody sent
	Foreign  int // packets of another conversation
	Missing  int // gaps in what was heard: packets between the first and the last of a stream that did not come
	Repeated int
	Late     int    // packets that came after a later one
	BadType  int    // packets with a payload type that was not agreed
	Tape     []byte // of a call that tapes: the sound that no phone of ours has made, an announcement

	First, Last time.Time     // of what was heard
	Gap         time.Duration // the longest silence between two packets heard
	Delay       time.Duration // the longest way of a packet
	Sources     map[netip.AddrPort]int
	Streams     int // different senders heard: two after a rescue
}

// The payload of a packet: a mark, who speaks to whom, which packet it is, when it was sent, filling, and a checksum over the whole datagram.
const (
	payloadSize = 160 // 20 ms of G.711
	headSize    = 12  // RTP header without extras
	packetSize  = headSize + payloadSize
	mark        = 0x544f574e // "TOWN"
)

// voice is the audio of one side of a call: a socket, a sender that its owner drives, and a reader of its own.
type voice struct {
	conn net.PacketConn
	talk uint64 // the conversation; 0: not known, nothing is foreign
	ssrc uint32
	done chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	to      netip.AddrPort
	payload uint8
	deaf    bool // frozen: neither sends nor hears
	tapes   bool // keeps what no phone of ours has made
	next    uint32
	presses uint32
	buf     [packetSize]byte
	v       Voice
	streams map[uint32]*heard
}

// heard is what came of one stream.
type heard struct {
	first, last uint32
	seen        uint64 // which of the last 64 packets came; bit 0 is last
	count       int
}

// newVoice starts a reader on a socket. It ends when the voice is closed.
func newVoice(conn net.PacketConn, talk uint64, ssrc uint32) *voice {
	v := &voice{conn: conn, talk: talk, ssrc: ssrc, done: make(chan struct{}), payload: 8, streams: make(map[uint32]*heard)}
	go v.listen()
	return v
}

// aim says where to send, with which payload type; the zero address is nowhere.
func (v *voice) aim(to netip.AddrPort, payload int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.to, v.payload = to, uint8(payload)
}

// freeze makes the voice deaf and dumb, or ends that.
func (v *voice) freeze(deaf bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.deaf = deaf
}

// keyPayload is the payload type of telephone-event in our session descriptions.
const keyPayload = 101

// press sends a key press (RFC 4733): it begins, goes on and ends, the end three times.
func (v *voice) press(event byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.to.IsValid() || v.deaf {
		return
	}
	v.presses++
	timestamp := (v.next + v.presses) * payloadSize
	for i, duration := range []uint16{160, 320, 480, 480, 480} {
		h := rtp.Header{Version: 2, PayloadType: keyPayload, SequenceNumber: uint16(v.next), Timestamp: timestamp, SSRC: v.ssrc, Marker: i == 0}
		b := make([]byte, headSize+4)
		if _, err := h.MarshalTo(b); err != nil {
			panic("town: RTP header: " + err.Error())
		}
		end := byte(10) // volume
		if i >= 2 {
			end |= 0x80
		}
		b[headSize], b[headSize+1] = event, end
		binary.BigEndian.PutUint16(b[headSize+2:], duration)
		_, _ = v.conn.WriteTo(b, net.UDPAddrFromAddrPort(v.to)) // lost like any packet
	}
}

// toneOf are the two frequencies of a key in Hz (ITU-T Q.23).
func toneOf(key byte) (low, high float64) {
	at := strings.IndexByte("123A456B789C*0#D", key)
	return [...]float64{697, 770, 852, 941}[at/4], [...]float64{1209, 1336, 1477, 1633}[at%4]
}

// tone sends eight packets of A-law with a key's tones in them, at once: their time is in their timestamps.
func (v *voice) tone(key byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.to.IsValid() || v.deaf {
		return
	}
	low, high := toneOf(key)
	const packets = 8
	sound := make([]byte, 2*packets*payloadSize)
	for i := range packets * payloadSize {
		at := 2 * math.Pi * float64(i) / 8000
		binary.LittleEndian.PutUint16(sound[2*i:], uint16(int16(4000*math.Sin(low*at)+4000*math.Sin(high*at))))
	}
	law := g711.EncodeAlaw(sound)
	for i := range packets {
		v.presses++
		h := rtp.Header{Version: 2, PayloadType: 8, SequenceNumber: uint16(v.next + v.presses), Timestamp: (v.next + v.presses) * payloadSize, SSRC: v.ssrc}
		b := make([]byte, packetSize)
		if _, err := h.MarshalTo(b); err != nil {
			panic("town: RTP header: " + err.Error())
		}
		copy(b[headSize:], law[i*payloadSize:(i+1)*payloadSize])
		_, _ = v.conn.WriteTo(b, net.UDPAddrFromAddrPort(v.to)) // lost like any packet
	}
}

// say sends one packet.
func (v *voice) say() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.to.IsValid() || v.deaf {
		return
	}
	h := rtp.Header{Version: 2, PayloadType: v.payload, SequenceNumber: uint16(v.next), Timestamp: v.next * payloadSize, SSRC: v.ssrc, Marker: v.next == 0}
	b := v.buf[:]
	if _, err := h.MarshalTo(b); err != nil {
		panic("town: RTP header: " + err.Error()) // our own header always fits
	}
	p := b[headSize:]
	binary.BigEndian.PutUint32(p, mark)
	binary.BigEndian.PutUint64(p[4:], v.talk)
	binary.BigEndian.PutUint32(p[12:], v.next)
	binary.BigEndian.PutUint64(p[16:], uint64(time.Now().UnixNano()))
	for i := 24; i < payloadSize-4; i++ {
		p[i] = byte(v.next) + byte(i)
	}
	binary.BigEndian.PutUint32(p[payloadSize-4:], crc32.ChecksumIEEE(b[:packetSize-4]))
	v.next++
	if _, err := v.conn.WriteTo(b, net.UDPAddrFromAddrPort(v.to)); err == nil {
		v.v.Sent++
	}
}

// listen reads until the socket closes.
func (v *voice) listen() {
	defer close(v.done)
	buf := make([]byte, 2048)
	for {
		n, from, err := v.conn.ReadFrom(buf)
		if err != nil {
			if isICMP(err) {
				continue
			}
			return
		}
		source, err := addrPort(from)
		if err != nil {
			continue
		}
		v.hear(buf[:n], netip.AddrPortFrom(source.Addr().Unmap(), source.Port()), time.Now())
	}
}

// hear counts one datagram.
func (v *voice) hear(b []byte, from netip.AddrPort, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.deaf {
		return
	}
	var h rtp.Header
	p := b[min(len(b), headSize):]
	var err error
	if _, err = h.Unmarshal(b); err != nil || len(b) != packetSize || binary.BigEndian.Uint32(p) != mark ||
		binary.BigEndian.Uint32(p[payloadSize-4:]) != crc32.ChecksumIEEE(b[:packetSize-4]) {
		if err == nil && v.tapes && len(b) == packetSize && binary.BigEndian.Uint32(p) != mark && h.PayloadType == v.payload {
			v.v.Tape = append(v.v.Tape, p...)
			return
		}
		v.v.Changed++
		return
	}
	if talk := binary.BigEndian.Uint64(p[4:]); v.talk != 0 && talk != 0 && talk != v.talk {
		v.v.Foreign++
		return
	}
	if !v.count(h.SSRC, binary.BigEndian.Uint32(p[12:])) {
		v.v.Repeated++
		return
	}
	if h.PayloadType != v.payload {
		v.v.BadType++
	}
	v.v.Heard++
	if v.v.Sources == nil {
		v.v.Sources = make(map[netip.AddrPort]int)
	}
	v.v.Sources[from]++
	if v.v.First.IsZero() {
		v.v.First = now
	} else {
		v.v.Gap = max(v.v.Gap, now.Sub(v.v.Last))
	}
	v.v.Last = now
	v.v.Delay = max(v.v.Delay, now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(p[16:])))))
}

// count notes that packet n of a stream came; false: it came before.
func (v *voice) count(ssrc, n uint32) bool {
	s := v.streams[ssrc]
	if s == nil {
		v.streams[ssrc] = &heard{first: n, last: n, seen: 1, count: 1}
		return true
	}
	switch {
	case n > s.last:
		if ahead := n - s.last; ahead < 64 {
			s.seen = s.seen<<ahead | 1
		} else {
			s.seen = 1
		}
		s.last = n
	default:
		v.v.Late++
		behind := s.last - n
		if behind >= 64 || s.seen&(1<<behind) != 0 {
			v.v.Late--
			return false
		}
		s.seen |= 1 << behind
		s.first = min(s.first, n)
	}
	s.count++
	return true
}

// counted gives the counters.
func (v *voice) counted() Voice {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.v
	c.Sources, c.Tape = maps.Clone(c.Sources), bytes.Clone(c.Tape)
	c.Streams = len(v.streams)
	for _, s := range v.streams {
		c.Missing += int(s.last-s.first) + 1 - s.count
	}
	return c
}

// close ends the voice and waits for its reader. What a tape is to have has come before the BYE, but after a while without a turn that may be read first.
func (v *voice) close() {
	if c, ok := v.conn.(*net.UDPConn); ok && v.tapes {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // ends the reader
		<-v.done
		v.rest(c)
	}
	_ = v.conn.Close()
	<-v.done
}

// rest hears what waits in the socket.
func (v *voice) rest(c *net.UDPConn) {
	_ = c.SetReadDeadline(time.Time{})
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 2048)
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n, from, err := syscall.Recvfrom(int(fd), buf, syscall.MSG_DONTWAIT)
			if err != nil {
				return true
			}
			v.hear(buf[:n], sourceOf(from), time.Now())
		}
	})
}

// sourceOf reads an address of the kernel.
func sourceOf(a syscall.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
