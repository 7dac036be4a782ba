package media

import (
	"encoding/binary"
	"time"
)

// Limits of RFC 3550 A.1.
const (
	maxDropout    = 3000 // a jump ahead of more is no loss but another source or a bogus packet
	maxMisorder   = 100  // as far back a packet is merely late
	seqMod        = 1 << 16
	headerLen     = 12
	defaultClock  = 8000
	rtpVersion    = 2
	minSequential = 2 // packets in order before a new source is believed
)

// tally counts what arrives at and leaves from one half of a stream.
type tally struct {
	packets, bytes, controls, foreign, sent, icmp uint64
	first, last, lastRTP, lastICMP                time.Duration
	icmpErr                                       error

	claims uint32 // what its latest sender report says it has sent
	blocks uint64 // reports that say what it hears
	hears  uint32 // what the latest of them says

	ssrc     uint32
	known    bool   // a source is being followed
	maxSeq   uint16 // RFC 3550 A.1, with its names
	cycles   uint32
	baseSeq  uint32
	badSeq   uint32
	received uint64
	lost     uint64 // of earlier sources and before restarts

	nextSSRC uint32 // a source on probation
	nextSeq  uint16
	nextRun  int

	clock   uint32
	transit uint32
	jitter  uint32 // in timestamp units, scaled by 16
	settled bool   // transit is known
}

// The RTCP packets that report (RFC 3550 §12.1), and the lengths of what is in them (§6.4).
const (
	senderReport   = 200
	receiverReport = 201
	reportHead     = 8
	senderInfo     = 20
	reportBlock    = 24
)

// control counts an RTCP packet and reads what the far end reports of both directions (RFC 3550 §6.4). In one that is encrypted there is nothing to read, only numbers
// without sense.
func (t *tally) control(b []byte, now time.Duration) {
	t.controls++
	t.seen(now)
	at := reportHead
	switch {
	case len(b) < reportHead || b[0]>>6 != rtpVersion:
		return
	case b[1] == senderReport && len(b) >= reportHead+senderInfo:
		t.claims = binary.BigEndian.Uint32(b[20:])
		at += senderInfo
	case b[1] != receiverReport:
		return
	}
	blocks, hears := int(b[0]&0x1f), uint32(0)
	if blocks == 0 || at+blocks*reportBlock > len(b) {
		return
	}
	for ; blocks > 0; blocks-- {
		hears += binary.BigEndian.Uint32(b[at+8:]) // the highest sequence number received; the sum moves when any of them does
		at += reportBlock
	}
	t.blocks++
	t.hears = hears
}

// packet counts any packet on an RTP port and follows its sequence if it is RTP.
func (t *tally) packet(b []byte, now time.Duration, from *peer) {
	t.packets++
	t.bytes += uint64(len(b))
	t.lastRTP = now
	t.seen(now)
	if len(b) < headerLen || b[0]>>6 != rtpVersion {
		return
	}
	seq := binary.BigEndian.Uint16(b[2:])
	ssrc := binary.BigEndian.Uint32(b[8:])
	if t.known && ssrc == t.ssrc {
		t.nextRun = 0
		if t.update(seq) {
			t.spread(binary.BigEndian.Uint32(b[4:]), now)
		}
		return
	}
	if !t.probation(ssrc, seq) {
		return
	}
	t.lost = t.allLost()
	t.ssrc, t.known = ssrc, true
	t.clock = defaultClock
	if from != nil && from.clock > 0 {
		t.clock = from.clock
	}
	t.restart(seq)
	if t.received = 1; t.nextRun >= minSequential { // the packet before it was the first of this source
		t.baseSeq--
		t.received++
	}
	t.nextRun, t.jitter, t.settled = 0, 0, false
	t.spread(binary.BigEndian.Uint32(b[4:]), now)
}

// seen notes the time of a packet.
func (t *tally) seen(now time.Duration) {
	if t.first == 0 {
		t.first = now
	}
	t.last = now
}

// probation says whether a new source may be followed: the very first at once, a later one after two packets in order, so that a single
// bogus packet does not throw the count (RFC 3550 A.1).
func (t *tally) probation(ssrc uint32, seq uint16) bool {
	if !t.known {
		return true
	}
	if t.nextRun > 0 && t.nextSSRC == ssrc && seq == t.nextSeq {
		t.nextRun++
	} else {
		t.nextRun = 1
	}
	t.nextSSRC, t.nextSeq = ssrc, seq+1
	return t.nextRun >= minSequential
}

// restart begins to count from this sequence number.
func (t *tally) restart(seq uint16) {
	t.baseSeq = uint32(seq)
	t.maxSeq = seq
	t.badSeq = seqMod + 1
	t.cycles = 0
	t.received = 0
}

// update is update_seq of RFC 3550 A.1: it says whether the packet belongs to the sequence.
func (t *tally) update(seq uint16) bool {
	delta := seq - t.maxSeq
	switch {
	case delta < maxDropout: // in order, with a permissible gap
		if seq < t.maxSeq {
			t.cycles += seqMod
		}
		t.maxSeq = seq
	case delta <= 0xffff-maxMisorder: // a very large jump
		if uint32(seq) != t.badSeq {
			t.badSeq = (uint32(seq) + 1) & (seqMod - 1)
			return false
		}
		// Two in sequence after the jump: the other side started again without telling us.
		t.lost = t.allLost()
		t.restart(seq)
		t.baseSeq--
		t.received++
		t.settled = false
	default: // late or duplicated
	}
	t.received++
	return true
}

// allLost is what is missing of the current source plus what was missing of earlier ones. Duplicates never make it negative.
func (t *tally) allLost() uint64 {
	if !t.known {
		return t.lost
	}
	expected := uint64(t.cycles) + uint64(t.maxSeq) - uint64(t.baseSeq) + 1
	if int64(expected) <= int64(t.received) {
		return t.lost
	}
	return t.lost + expected - t.received
}

// spread is the jitter of RFC 3550 A.8.
func (t *tally) spread(timestamp uint32, now time.Duration) {
	arrival := uint32(uint64(now) / 1000 * uint64(t.clock) / 1_000_000)
	transit := arrival - timestamp
	if t.settled {
		d := int32(transit - t.transit)
		if d < 0 {
			d = -d
		}
		if uint32(d) < 10*t.clock {
			t.jitter += uint32(d) - (t.jitter+8)>>4
		}
	}
	t.transit, t.settled = transit, true
}

// jitterTime is the jitter as a time.
func (t *tally) jitterTime() time.Duration {
	if t.clock == 0 {
		return 0
	}
	return time.Duration(uint64(t.jitter>>4) * uint64(time.Second) / uint64(t.clock))
}

// isRTCP tells RTCP from RTP on a shared port: RTP payload types 64 to 95 with the marker bit are RTCP's packet types (RFC 5761 §4).
func isRTCP(b []byte) bool {
	if len(b) < 2 || b[0]>>6 != rtpVersion {
		return false
	}
	pt := b[1] & 0x7f
	return pt >= 64 && pt <= 95
}
