package wire

import "sync/atomic"

// Counters is a snapshot of what happened since Open.
type Counters struct {
	Received        uint64 // messages handed to the sink
	Sent            uint64 // messages given to the kernel, or to the queue of a connection
	NotAccepted     uint64 // datagrams and connections turned away by Accept
	Garbage         uint64 // datagrams without a SIP start line, connections closed for the same
	TooLarge        uint64 // connections closed because a message had over 65,535 bytes or 1,000 header lines
	KeepAlives      uint64 // datagrams of line breaks or NULs, CRLF CRLF on streams
	KernelDrops     uint64 // datagrams the kernel threw away because a receive buffer was full
	StreamsAccepted uint64
	StreamsDialled  uint64
	StreamsRefused  uint64 // connections that found no place, or whose place another guest got
	StreamsSlow     uint64 // connections closed because a message took too long
	StreamsIdle     uint64 // connections closed for silence
	Handshakes      uint64 // TLS handshakes of those who connect that came to nothing
	StreamsStuck    uint64 // connections closed because the peer takes nothing
	StreamsOpen     uint64 // open now
	NoFlow          uint64 // messages not sent because the connection is gone or the socket is not ours
	SendErrors      uint64 // datagrams the kernel refused, or had no room for
	ICMP            uint64 // ICMP errors for datagrams of ours
}

// counters are the live ones behind [Counters].
type counters struct {
	received, sent, notAccepted, garbage, tooLarge, keepAlives                                          atomic.Uint64
	streamsAccepted, streamsDialled, streamsRefused, streamsSlow, streamsIdle, streamsStuck, handshakes atomic.Uint64
	noFlow, sendErrors, icmp                                                                            atomic.Uint64
}

// Counters tells what happened since Open.
func (s *Stack) Counters() Counters {
	c := Counters{
		Received:        s.count.received.Load(),
		Sent:            s.count.sent.Load(),
		NotAccepted:     s.count.notAccepted.Load(),
		Garbage:         s.count.garbage.Load(),
		TooLarge:        s.count.tooLarge.Load(),
		KeepAlives:      s.count.keepAlives.Load(),
		StreamsAccepted: s.count.streamsAccepted.Load(),
		StreamsDialled:  s.count.streamsDialled.Load(),
		StreamsRefused:  s.count.streamsRefused.Load(),
		StreamsSlow:     s.count.streamsSlow.Load(),
		StreamsIdle:     s.count.streamsIdle.Load(),
		Handshakes:      s.count.handshakes.Load(),
		StreamsStuck:    s.count.streamsStuck.Load(),
		NoFlow:          s.count.noFlow.Load(),
		SendErrors:      s.count.sendErrors.Load(),
		ICMP:            s.count.icmp.Load(),
	}
	for _, u := range s.udp {
		c.KernelDrops += u.drops()
	}
	s.mu.RLock()
	c.StreamsOpen = uint64(len(s.streams))
	s.mu.RUnlock()
	return c
}
