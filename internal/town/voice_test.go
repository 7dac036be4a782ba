package town

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// TestTheEndOfATapeIsHeardThoughTheByeIsReadFirst: the reader had no turn; five packets wait when the call ends.
func TestTheEndOfATapeIsHeardThoughTheByeIsReadFirst(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	v := newVoice(conn, 1, 2)
	v.mu.Lock() // the reader gets no further than to the first packet
	v.tapes = true
	sound := bytes.Repeat([]byte{0xd5}, payloadSize)
	for i := range byte(5) {
		packet := append([]byte{0x80, 8, 0, i, 0, 0, 0, 160, 3, 3, 3, 3}, sound...)
		if _, err := conn.WriteTo(packet, conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan struct{})
	go func() { defer close(closed); v.close() }() // ends when the reader has
	time.Sleep(50 * time.Millisecond)              // an earlier turn only makes it easier
	v.mu.Unlock()
	<-closed
	if got := v.counted().Tape; !bytes.Equal(got, bytes.Repeat(sound, 5)) {
		t.Errorf("%d bytes were heard, want %d", len(got), 5*payloadSize)
	}
}
