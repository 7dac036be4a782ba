package media

import (
	"encoding/binary"
	"time"

	"nines/media/voice"
)

// Keys says how a far end's key presses are recognised. All packets are relayed unchanged meanwhile.
type Keys struct {
	Events  []uint8     // payload types of telephone-event, as the far end was told to send them; none: they were not agreed
	Codec   voice.Codec // tones are looked for in the sound too, which is in this codec; "": they are not
	Payload uint8       // and has this payload type
	Seal    *Seal       // encrypts the packets; nil: nothing does

	// Pressed is told each press once, when it begins. It is called on the way of a packet: it must return at once.
	Pressed func(Press)
}

// Press is one key press.
type Press struct {
	Key byte // '0' to '9', '*', '#', 'A' to 'D'
	How PressedBy
}

// PressedBy is how a key press came.
type PressedBy string

// The ways a key press comes.
const (
	ByEvent PressedBy = "event" // RFC 4733
	ByTone  PressedBy = "tone"  // in the sound
	ByInfo  PressedBy = "info"  // a SIP INFO; media never sees those, [voice.InfoKey] reads them
)

const (
	// pressAgain is the time within which the same key, by event and by tone, is one press: gateways send both.
	pressAgain = time.Second
	// pressOngoing is how long an event may go without a packet and still be the same press.
	pressOngoing = 200 * time.Millisecond
)

// Keys begins to listen for key presses from the far end of the side's first stream; nil stops it. What was heard before is forgotten.
//
//	caller.Keys(&media.Keys{Events: []uint8{101}, Codec: voice.PCMA, Payload: 8, Pressed: func(p media.Press) {
//		if p.Key == '9' {
//			loop.post(escaped{call, p.How})
//		}
//	}})
func (s *Side) Keys(k *Keys) error {
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	if s.gone || len(s.streams) == 0 {
		return nil
	}
	if k == nil || k.Pressed == nil {
		s.streams[0].keys.Store(nil)
		return nil
	}
	sealed, err := newEnvelope(k.Seal)
	if err != nil {
		s.streams[0].keys.Store(nil)
		return err
	}
	s.streams[0].keys.Store(&listener{Keys: *k, sealed: sealed})
	return nil
}

// listener hears key presses on one stream. Only who reads the stream's RTP port touches it.
type listener struct {
	Keys
	sealed *envelope
	event  event
	tones  *voice.Tones
	last   Press
	at     time.Duration // of last
}

// event is the key press that RFC 4733 packets told of last.
type event struct {
	known     bool
	ssrc      uint32
	timestamp uint32
	code      uint8
	ended     bool
	at        time.Duration // of its last packet
}

// hear looks at one RTP packet.
func (l *listener) hear(packet []byte, now time.Duration) {
	if l.sealed != nil {
		var err error
		if packet, err = l.sealed.open(packet); err != nil {
			return // it is not from who has the key
		}
	}
	payload, ok := rtpPayload(packet)
	if !ok {
		return
	}
	kind := packet[1] & 0x7f
	for _, pt := range l.Events {
		if kind == pt {
			if code, ok := l.event.packet(packet, payload, now); ok {
				l.pressed(Press{voice.EventKey(code), ByEvent}, now)
			}
			return
		}
	}
	if l.Codec == "" || kind != l.Payload {
		return
	}
	if l.tones == nil {
		l.tones = voice.NewTones(l.Codec)
	}
	if key := l.tones.Hear(payload); key != 0 {
		l.pressed(Press{key, ByTone}, now)
	}
}

// pressed tells of a press, unless it was told already because it came the other way too.
func (l *listener) pressed(p Press, now time.Duration) {
	if l.last.Key == p.Key && l.last.How != p.How && now-l.at < pressAgain {
		return
	}
	l.last, l.at = p, now
	l.Pressed(p)
}

// packet takes a telephone-event packet and says whether a key press begins with it. All packets of one press have the timestamp of its beginning
// (RFC 4733 §2.3), the end is repeated, and any of them may be lost. A very long press goes on under a new timestamp without a marker (§2.5.1.3), and
// some telephones count the timestamp on within a press.
func (e *event) packet(header, payload []byte, now time.Duration) (code uint8, begins bool) {
	if len(payload) < 4 || voice.EventKey(payload[0]) == 0 {
		return 0, false
	}
	code, ended, marker := payload[0], payload[1]&0x80 != 0, header[1]&0x80 != 0
	timestamp, ssrc := binary.BigEndian.Uint32(header[4:]), binary.BigEndian.Uint32(header[8:])
	switch {
	case !e.known || ssrc != e.ssrc:
	case timestamp == e.timestamp:
		e.ended, e.at = e.ended || ended, now
		return 0, false
	case int32(timestamp-e.timestamp) < 0 && now-e.at < pressAgain: // late, of a press before
		return 0, false
	case code == e.code && !e.ended && !marker && now-e.at < pressOngoing:
		e.timestamp, e.ended, e.at = timestamp, ended, now
		return 0, false
	}
	*e = event{known: true, ssrc: ssrc, timestamp: timestamp, code: code, ended: ended, at: now}
	return code, true
}

// rtpPayload is what an RTP packet carries behind its header, contributing sources and extension, without padding (RFC 3550 §5.1).
func rtpPayload(b []byte) ([]byte, bool) {
	if len(b) < headerLen || b[0]>>6 != rtpVersion {
		return nil, false
	}
	at := headerLen + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < at+4 {
			return nil, false
		}
		at += 4 + 4*int(binary.BigEndian.Uint16(b[at+2:]))
	}
	end := len(b)
	if b[0]&0x20 != 0 {
		end -= int(b[len(b)-1])
	}
	if at > end {
		return nil, false
	}
	return b[at:end], true
}
