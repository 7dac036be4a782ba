package media

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"nines/media/voice"
)

// heard is a packet that a far end got.
type heard struct {
	at        time.Duration // since the playback was asked for
	marker    bool
	kind      uint8
	seq       uint16
	timestamp uint32
	ssrc      uint32
	payload   string
}

// listenTo collects what arrives at a far end until the test ends. Read it when everything is quiet.
func listenTo(c *memoryConn) *[]heard {
	var list []heard
	start := time.Now()
	go func() { // ended by closing c
		buf := make([]byte, 2048)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			b := buf[:n]
			list = append(list, heard{
				at: time.Since(start), marker: b[1]&0x80 != 0, kind: b[1] & 0x7f, seq: binary.BigEndian.Uint16(b[2:]),
				timestamp: binary.BigEndian.Uint32(b[4:]), ssrc: binary.BigEndian.Uint32(b[8:]), payload: string(b[headerLen:]),
			})
		}
	}()
	return &list
}

func play(t *testing.T, s *Side, b Playback) (*Playing, <-chan Ending) {
	t.Helper()
	ended := make(chan Ending, 1)
	b.Ended = func(e Ending) { ended <- e }
	p, err := s.Play(b)
	if err != nil {
		t.Fatal(err)
	}
	return p, ended
}

// TestTenMinutesOfSpeechComeWithoutDrift: every packet of ten minutes comes at its time to the millisecond.
func TestTenMinutesOfSpeechComeWithoutDrift(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
		caller := far(t, m, "10.0.0.1:4000")
		defer caller.Close()
		side := reserve(t, r, lo, 1)
		defer side.Release()
		side.Expect(0, Remote{RTP: caller.addr}) // nobody is joined: nines itself answered
		got := listenTo(caller)
		_, ended := play(t, side, Playback{Tapes: []*voice.Tape{voice.Comfort()}, Rounds: 10, Codec: voice.PCMA, Payload: 8})
		if e := <-ended; e.Why != Finished || e.Rounds != 10 || e.Packets != 30000 || e.Heard != 10*time.Minute {
			t.Errorf("it ended as %+v, want ten rounds of a minute", e)
		}
		synctest.Wait()
		if len(*got) != 30000 {
			t.Fatalf("%d packets were heard, want 30000", len(*got))
		}
		first := (*got)[0]
		for i, p := range *got {
			want := heard{
				at: first.at + time.Duration(i)*20*time.Millisecond, marker: i == 0, kind: 8, seq: first.seq + uint16(i),
				timestamp: first.timestamp + uint32(i)*160, ssrc: first.ssrc, payload: string(voice.Comfort().Payload(voice.PCMA, i%3000)),
			}
			if p != want {
				t.Fatalf("packet %d is %+v, want %+v", i, p, want)
			}
		}
		if st := side.Stats(nil)[0]; st.Sent != 30000 || r.Stats().Played != 30000 {
			t.Errorf("%d packets are counted for the far end and %d as played, want 30000", st.Sent, r.Stats().Played)
		}
	})
}

func TestAPlaybackMutesTheRelayUntilItEnds(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
		caller, room := far(t, m, "10.0.0.1:4000"), far(t, m, "10.9.0.1:5000")
		a, b := reserve(t, r, lo, 1), reserve(t, r, lo, 1)
		a.Expect(0, Remote{RTP: caller.addr})
		b.Expect(0, Remote{RTP: room.addr})
		r.Join(a, b)
		toRoom, _ := b.Local(0)
		toCaller, _ := a.Local(0)
		says := func(c *memoryConn, port uint16, text string, hearer *memoryConn, want bool, why string) {
			t.Helper()
			c.send(port, text)
			synctest.Wait()
			got := false
			for b := hearer.got(); b != nil; b = hearer.got() {
				got = got || string(b) == text
			}
			if got != want {
				t.Errorf("%q came through: %v, want %v: %s", text, got, want, why)
			}
		}
		hold := Playback{Tapes: []*voice.Tape{voice.Comfort()}, Codec: voice.PCMU}
		says(room, toRoom, "before", caller, true, "nothing is played")
		p, ended := play(t, a, hold)
		says(room, toRoom, "meanwhile", caller, false, "the caller hears the tape")
		says(caller, toCaller, "meanwhile", room, true, "the room still hears the caller")
		time.Sleep(time.Second)
		p.Stop()
		says(room, toRoom, "after", caller, true, "it was stopped")
		if e := <-ended; e.Why != Stopped {
			t.Errorf("it ended as %q, want stopped", e.Why)
		}
		hold.Through = true
		_, ended = play(t, a, hold)
		says(room, toRoom, "through", caller, true, "both were asked for")
		_, other := play(t, a, hold)
		if e := <-ended; e.Why != Replaced {
			t.Errorf("it ended as %q, want replaced", e.Why)
		}
		a.Release()
		if e := <-other; e.Why != Released {
			t.Errorf("it ended as %q, want released", e.Why)
		}
		if got := r.Stats().Muted; got != 1 {
			t.Errorf("%d packets were muted, want 1", got)
		}
	})
}

// TestKeyPressesAreHeardOnce: RFC 4733 repeats everything, and the network loses and turns round what it likes.
func TestKeyPressesAreHeardOnce(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
		caller := far(t, m, "10.0.0.1:4000")
		side := reserve(t, r, lo, 1)
		side.Expect(0, Remote{RTP: caller.addr})
		port, _ := side.Local(0)
		var keys string
		side.Keys(&Keys{Events: []uint8{101}, Pressed: func(p Press) { keys += string(p.Key) }})
		seq := uint16(0)
		event := func(kind, code byte, end bool, marker bool, timestamp uint32, duration uint16) {
			b := spoken(7, seq, timestamp)
			seq++
			b[1] = kind
			if marker {
				b[1] |= 0x80
			}
			flags := byte(10)
			if end {
				flags |= 0x80
			}
			caller.send(port, string(append(b, code, flags, byte(duration>>8), byte(duration))))
			synctest.Wait()
			time.Sleep(20 * time.Millisecond)
		}
		expect := func(want, why string) {
			t.Helper()
			if keys != want {
				t.Errorf("heard %q, want %q: %s", keys, want, why)
			}
			keys = ""
		}
		press := func(code byte, timestamp uint32) {
			for i := range 5 {
				event(101, code, false, i == 0, timestamp, uint16(160*(i+1)))
			}
			for range 3 {
				event(101, code, true, false, timestamp, 960)
			}
		}
		press(9, 1000)
		expect("9", "one press")
		press(9, 9000)
		press(11, 17000)
		expect("9#", "the same key again, and another")
		event(101, 9, true, false, 9000, 960)
		expect("", "a late packet of the press before")
		event(101, 5, false, true, 33000, 160)
		event(101, 5, false, true, 41000, 160)
		expect("55", "two presses whose ends were lost")
		event(101, 5, true, false, 41000, 320)
		event(101, 6, true, false, 49000, 800)
		expect("6", "only the end arrived")
		for i := range 50 {
			event(101, 7, false, i == 0, 57000, uint16(160*(i+1)))
		}
		event(101, 7, false, false, 57000+65535, 160)
		event(101, 7, true, false, 57000+65535, 320)
		expect("7", "a press so long that it needs a second segment")
		event(96, 8, false, true, 200000, 160)
		event(101, 16, false, true, 208000, 160)
		expect("", "another payload type, and a flash, which is no key")
		side.Keys(nil)
		press(3, 300000)
		expect("", "nobody listens any more")
	})
}

func TestWhatCannotBePlayedIsRefused(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, _ *memory) {
		side := reserve(t, r, lo, 1)
		for why, b := range map[string]Playback{
			"no tape":        {Codec: voice.PCMA},
			"no such codec":  {Tapes: []*voice.Tape{voice.Ringing()}, Codec: "opus"},
			"no such number": {Tapes: []*voice.Tape{voice.Ringing()}, Codec: voice.PCMA, Payload: 200},
			"an empty tape":  {Tapes: []*voice.Tape{{Name: "empty"}}, Codec: voice.PCMA},
			"a nil tape":     {Tapes: []*voice.Tape{nil}, Codec: voice.PCMA},
		} {
			if _, err := side.Play(b); err == nil {
				t.Errorf("a playback with %s was begun", why)
			}
		}
		side.Release()
		if _, err := side.Play(Playback{Tapes: []*voice.Tape{voice.Ringing()}, Codec: voice.PCMA}); err == nil {
			t.Error("a side without ports was played to")
		}
	})
}
