package media

import (
	"encoding/binary"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// spoken makes the header of an RTP packet.
func spoken(ssrc uint32, seq uint16, timestamp uint32) []byte {
	b := []byte{0x80, 8}
	b = binary.BigEndian.AppendUint16(b, seq)
	b = binary.BigEndian.AppendUint32(b, timestamp)
	return binary.BigEndian.AppendUint32(b, ssrc)
}

// hear counts packets that come 20 ms apart.
func hear(t *tally, from uint32, seqs ...int) {
	for _, n := range seqs {
		t.packet(spoken(from, uint16(n), uint32(n)*160), t.last+20*time.Millisecond, nil)
	}
}

// run is n numbers from first.
func run(first, n int) []int {
	var list []int
	for i := range n {
		list = append(list, first+i)
	}
	return list
}

func TestLostPacketsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name string
		hear func(t *tally)
		lost uint64
		ssrc uint32
	}{
		{"nothing heard", func(*tally) {}, 0, 0},
		{"all there", func(t *tally) { hear(t, 7, run(100, 50)...) }, 0, 7},
		{"three missing", func(t *tally) { hear(t, 7, 1, 2, 5, 7) }, 3, 7},
		{"disorder is no loss", func(t *tally) { hear(t, 7, 1, 3, 2, 5, 4, 6) }, 0, 7},
		{"a packet repeated hides no more than it fills", func(t *tally) { hear(t, 7, 1, 2, 2, 3) }, 0, 7},
		{"the number wraps", func(t *tally) { hear(t, 7, 65533, 65534, 0, 1) }, 1, 7},
		{"the number wraps in disorder", func(t *tally) { hear(t, 7, 65534, 0, 65535, 1) }, 0, 7},
		{"late from before the beginning", func(t *tally) { hear(t, 7, 100, 99, 101) }, 0, 7},
		{"one bogus packet of the same source", func(t *tally) { hear(t, 7, 1, 2, 31153, 3, 4) }, 0, 7},
		{"one bogus packet of another source", func(t *tally) { hear(t, 7, 1, 2); hear(t, 8, 31153); hear(t, 7, 3, 4) }, 0, 7},
		{"bogus packets of another source out of order", func(t *tally) { hear(t, 7, 1, 2); hear(t, 8, 31153, 5, 900); hear(t, 7, 3, 4) }, 0, 7},
		{"interleaved with bogus ones", func(t *tally) {
			for i := range 20 {
				hear(t, 7, i)
				hear(t, 8, 5000+i)
			}
		}, 0, 7},
		{"another source takes over", func(t *tally) { hear(t, 7, 1, 2, 4); hear(t, 8, run(40000, 10)...) }, 1, 8},
		{"another source takes over and loses too", func(t *tally) { hear(t, 7, 1, 2, 4); hear(t, 8, 40000, 40001, 40005) }, 4, 8},
		{"the same source starts again", func(t *tally) { hear(t, 7, 1, 2, 4); hear(t, 7, run(40000, 10)...) }, 1, 7},
		{"no RTP at all", func(t *tally) {
			for range 5 {
				t.packet([]byte("UDPTL, or anything else"), t.last+1, nil)
				t.packet([]byte{0x80, 8}, t.last+1, nil)
			}
		}, 0, 0},
	} {
		var tally tally
		c.hear(&tally)
		if got := tally.allLost(); got != c.lost {
			t.Errorf("%s: %d lost, want %d", c.name, got, c.lost)
		}
		if tally.ssrc != c.ssrc {
			t.Errorf("%s: the source is %d, want %d", c.name, tally.ssrc, c.ssrc)
		}
	}
}

func TestLossIsWhatIsMissing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.IntRange(0, 65535).Draw(t, "first")
		var seqs []int
		for i := range rapid.IntRange(2, 3000).Draw(t, "length") {
			if i == 0 || rapid.IntRange(0, 9).Draw(t, "chance") > 0 {
				seqs = append(seqs, first+i)
			}
		}
		var tally tally
		hear(&tally, 7, seqs...)
		want := uint64(seqs[len(seqs)-1]-seqs[0]+1) - uint64(len(seqs))
		if got := tally.allLost(); got != want {
			t.Fatalf("%d lost, want %d", got, want)
		}
	})
}

func TestJitterIsMeasuredInTime(t *testing.T) {
	steady, shaky, fast := tally{}, tally{}, tally{}
	video := &peer{clock: 90000}
	for i := range 500 {
		at := time.Duration(i+1) * 20 * time.Millisecond
		steady.packet(spoken(7, uint16(i), uint32(i)*160), at, nil)
		late := time.Duration(i%2) * 10 * time.Millisecond
		shaky.packet(spoken(7, uint16(i), uint32(i)*160), at+late, nil)
		fast.packet(spoken(7, uint16(i), uint32(i)*1800), at+late, video)
	}
	if got := steady.jitterTime(); got != 0 {
		t.Errorf("packets on the dot have a jitter of %v", got)
	}
	for name, tally := range map[string]*tally{"8 kHz": &shaky, "90 kHz": &fast} {
		if got := tally.jitterTime(); got < 9*time.Millisecond || got > 10*time.Millisecond {
			t.Errorf("at %s every other packet 10 ms late is a jitter of %v, want nearly 10 ms (RFC 3550 A.8)", name, got)
		}
	}
	was := steady.jitterTime()
	steady.packet(spoken(7, 500, 4_000_000_000), 501*20*time.Millisecond, nil) // a mixer changes its time base
	steady.packet(spoken(7, 501, 4_000_000_160), 502*20*time.Millisecond, nil)
	if got := steady.jitterTime(); got != was {
		t.Errorf("a new time base is no jitter: %v became %v", was, got)
	}
}

func TestRTCPIsToldFromRTP(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"sender report", []byte{0x80, 200}, true},
		{"receiver report", []byte{0x81, 201}, true},
		{"payload feedback", []byte{0x81, 206}, true},
		{"PCMA", []byte{0x80, 8}, false},
		{"PCMA with marker", []byte{0x80, 0x88}, false},
		{"telephone-event with marker", []byte{0x80, 0x80 | 101}, false},
		{"DTLS", []byte{22, 254}, false},
		{"STUN", []byte{0, 200}, false},
		{"too short", []byte{0x80}, false},
		{"nothing", nil, false},
	} {
		if got := isRTCP(c.packet); got != c.want {
			t.Errorf("%s: isRTCP says %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzTally(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(spoken(7, 65535, 1), uint16(1))
	f.Add(append(spoken(7, 65535, 1), spoken(8, 1, 1)...), uint16(12))
	f.Fuzz(func(t *testing.T, stream []byte, size uint16) {
		var tally tally
		for n := max(1, int(size)); len(stream) > 0; {
			packet := stream[:min(n, len(stream))]
			stream = stream[len(packet):]
			tally.packet(packet, tally.last+time.Millisecond, nil)
			isRTCP(packet)
			if tally.allLost() > tally.packets*65536 || tally.jitterTime() < 0 {
				t.Fatalf("%d lost of %d, jitter %v", tally.allLost(), tally.packets, tally.jitterTime())
			}
		}
	})
}
