package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zaf/g711"

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
		_ = side.Keys(&Keys{Events: []uint8{101}, Pressed: func(p Press) { keys += string(p.Key) }})
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
		_ = side.Keys(nil)
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

// TestKeysInTheSoundAreHeardWithoutEvents, and a gateway that sends both is not taken for two presses.
func TestKeysInTheSoundAreHeardWithoutEvents(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
		caller := far(t, m, "10.0.0.1:4000")
		side := reserve(t, r, lo, 1)
		side.Expect(0, Remote{RTP: caller.addr})
		port, _ := side.Local(0)
		var keys []Press
		_ = side.Keys(&Keys{Events: []uint8{101}, Codec: voice.PCMU, Payload: 0, Pressed: func(p Press) { keys = append(keys, p) }})
		seq := uint16(0)
		say := func(kind byte, payload []byte) {
			b := spoken(7, seq, uint32(seq)*160)
			seq++
			b[1] = kind
			caller.send(port, string(append(b, payload...)))
			synctest.Wait()
			time.Sleep(20 * time.Millisecond)
		}
		tone := func(low, high float64) {
			for i := range 10 {
				payload := make([]byte, 160)
				for j := range payload {
					x := 2 * math.Pi * float64(160*i+j) / 8000
					payload[j] = g711.EncodeUlawFrame(int16(6000*math.Sin(low*x) + 6000*math.Sin(high*x)))
				}
				if i > 3 {
					payload = bytes.Repeat([]byte{0xff}, 160)
				}
				say(0, payload)
			}
		}
		tone(852, 1477)
		tone(941, 1336)
		time.Sleep(pressAgain)
		say(101, []byte{5, 10, 0, 160})
		tone(770, 1336) // the same press again, in the sound
		tone(770, 1477)
		want := []Press{{'9', ByTone}, {'0', ByTone}, {'5', ByEvent}, {'6', ByTone}}
		if !slices.Equal(keys, want) {
			t.Errorf("heard %v, want %v", keys, want)
		}
	})
}

// TestAPlaybackFollowsItsPlan: languages one after the other, a pause, again; with noise in the pauses or nothing.
func TestAPlaybackFollowsItsPlan(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
		caller := far(t, m, "10.0.0.1:4000")
		defer caller.Close()
		side := reserve(t, r, lo, 1)
		defer side.Release()
		side.Expect(0, Remote{RTP: caller.addr})
		got := listenTo(caller)
		welsh, english := voice.BuiltIn("hold-the-line-cy", voice.WayOut{})[0], voice.BuiltIn("hold-the-line", voice.WayOut{})[0]
		welsh.Prepare()
		english.Prepare()
		b := Playback{Tapes: []*voice.Tape{welsh, english}, Gap: time.Second, Rounds: 2, Pause: 3 * time.Second, Codec: voice.G722, Payload: 9}
		_, ended := play(t, side, b)
		if e := <-ended; e.Why != Finished || e.Rounds != 2 {
			t.Errorf("it ended as %+v", e)
		}
		b.Fill, b.Codec, b.Payload, b.Tail = voice.Comfort(), voice.PCMU, 0, 300*time.Millisecond
		_, ended = play(t, side, b)
		heard := 2*(welsh.Length+english.Length) + 5*time.Second
		if e := <-ended; e.Why != Finished || e.Heard != heard+b.Tail || e.Packets != int(heard/voice.Frame) {
			t.Errorf("it ended as %+v, want it to have been heard without a hole, and nothing in its tail", e)
		}
		synctest.Wait()
		first := (*got)[0]
		var talkspurts []time.Duration
		for i, p := range *got {
			if p.ssrc != first.ssrc || p.seq != first.seq+uint16(i) {
				t.Fatalf("packet %d has SSRC %x and number %d: they do not go on", i, p.ssrc, p.seq)
			}
			if p.timestamp-first.timestamp != uint32((p.at-first.at)/time.Millisecond)*8 {
				t.Fatalf("packet %d of %s has the timestamp of another time", i, p.at)
			}
			if p.marker {
				talkspurts = append(talkspurts, p.at-first.at)
			}
		}
		pair := welsh.Length + time.Second + english.Length
		want := []time.Duration{0, welsh.Length + time.Second, pair + 3*time.Second, pair + 3*time.Second + welsh.Length + time.Second, 2*pair + 3*time.Second}
		if len(talkspurts) != len(want) || !slices.Equal(talkspurts[:4], want[:4]) || talkspurts[4]-want[4] > playGrain+voice.Frame {
			t.Errorf("talkspurts begin at %v, want %v", talkspurts, want)
		}
		n := 2 * (welsh.Frames() + english.Frames())
		if len(*got) != 2*n+250 {
			t.Errorf("%d packets were heard, want %d and then %d with noise in 5 s of pauses", len(*got), n, n+250)
		}
	})
}

// TestAStallOfOursLosesNoWord: after a second in which nothing ran the text goes on where it was, without a burst.
func TestAStallOfOursLosesNoWord(t *testing.T) {
	r, err := newRelay(Config{Addresses: []netip.Addr{lo}, Network: &memory{}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	side := reserve(t, r, lo, 1)
	m := r.cfg.Network.(*memory)
	caller := far(t, m, "10.0.0.1:4000")
	side.Expect(0, Remote{RTP: caller.addr})
	tape := voice.Comfort()
	if _, err := side.Play(Playback{Tapes: []*voice.Tape{tape}, Codec: voice.PCMA, Payload: 8}); err != nil {
		t.Fatal(err)
	}
	at := r.players.due[0].due
	count := func() (n int, last []byte) {
		for b := caller.got(); b != nil; b = caller.got() {
			n, last = n+1, b
		}
		return n, last
	}
	step := func(d time.Duration) (n int, marker bool, frame int) {
		at += d
		for r.players.due[0].due <= at {
			r.players.pass(at)
		}
		n, last := count()
		for i := range tape.Frames() {
			if string(last[headerLen:]) == string(tape.Payload(voice.PCMA, i)) {
				return n, last[1]&0x80 != 0, i
			}
		}
		return n, false, -1
	}
	if n, marker, frame := step(0); n != 1 || !marker || frame != 0 {
		t.Errorf("first %d packets, marker %v, frame %d; want one with marker", n, marker, frame)
	}
	if n, marker, frame := step(80 * time.Millisecond); n != 4 || marker || frame != 4 {
		t.Errorf("80 ms later %d packets, marker %v, frame %d; want four: so short a stall is made up for", n, marker, frame)
	}
	if n, marker, frame := step(time.Second); n != 1 || !marker || frame != 5 {
		t.Errorf("a second later %d packets, marker %v, frame %d; want the one that was due, with a marker", n, marker, frame)
	}
}

// TestAPlaybackHoldsItsTongueWhileTheFarEndIsOnHold, and goes on behind what it did not say.
func TestAPlaybackHoldsItsTongueWhileTheFarEndIsOnHold(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
		caller := far(t, m, "10.0.0.1:4000")
		defer caller.Close()
		side := reserve(t, r, lo, 1)
		got := listenTo(caller)
		_, ended := play(t, side, Playback{Tapes: []*voice.Tape{voice.Ringing()}, Rounds: 2, Codec: voice.PCMA, Payload: 8})
		time.Sleep(time.Second)
		side.Expect(0, Remote{RTP: caller.addr})
		time.Sleep(time.Second)
		side.Expect(0, Remote{})
		time.Sleep(time.Second)
		side.Expect(0, Remote{RTP: caller.addr})
		if e := <-ended; e.Packets != 200 || e.Heard != 6*time.Second {
			t.Errorf("it ended as %+v, want 200 packets of 300 in 6 s", e)
		}
		synctest.Wait()
		for i, p := range *got {
			if p.marker != (i == 0 || i == 50) {
				t.Errorf("packet %d has marker %v", i, p.marker)
			}
		}
	})
}

func TestEveryPlaybackEndsWithTheRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Open(Config{Addresses: []netip.Addr{lo}, Network: &memory{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }() // ended below
		_, ended := play(t, reserve(t, r, lo, 1), Playback{Tapes: []*voice.Tape{voice.Ringing()}, Codec: voice.PCMA, Payload: 8})
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if e := <-ended; e.Why != Closed {
			t.Errorf("it ended as %q, want closed", e.Why)
		}
	})
}

func FuzzKeys(f *testing.F) {
	event := append(spoken(7, 1, 160), 9, 0x8a, 0, 160)
	event[1] = 101
	f.Add(event, uint16(16))
	f.Add(append(event, event...), uint16(16))
	f.Add(append(spoken(7, 1, 160), bytes.Repeat([]byte{0xd5}, 160)...), uint16(172))
	f.Add([]byte{0xbf, 101, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, uint16(16))
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		l := listener{Keys: Keys{Events: []uint8{101}, Codec: voice.PCMA, Payload: 8, Pressed: func(p Press) {
			if !bytes.ContainsRune([]byte("0123456789*#ABCD"), rune(p.Key)) {
				t.Errorf("%q is no key", p.Key)
			}
		}}}
		for now := time.Duration(0); len(b) > 0; now += 20 * time.Millisecond {
			n := min(len(b), max(1, int(size)))
			l.hear(b[:n], now)
			b = b[n:]
		}
	})
}

// TestWhatIsHeardIsWhatWasRecorded: a file in stereo at 44.1 kHz is played over real sockets, IPv4 and IPv6, and what arrives is decoded and compared.
func TestWhatIsHeardIsWhatWasRecorded(t *testing.T) {
	melody := func(at float64) float64 {
		return 0.2*math.Sin(2*math.Pi*440*at)*(1+math.Sin(2*math.Pi*3*at))/2 + 0.1*math.Sin(2*math.Pi*1730*at) + 0.08*math.Sin(2*math.Pi*2900*at+1)
	}
	const rate, seconds = 44100, 0.6
	var sound []byte
	for i := range int(seconds * rate) {
		v := int16(32767 * melody(float64(i)/rate))
		sound = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(sound, uint16(v)), uint16(v))
	}
	wav := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00\x44\xac\x00\x00\x10\xb1\x02\x00\x04\x00\x10\x00data")
	wav = append(binary.LittleEndian.AppendUint32(wav, uint32(len(sound))), sound...)
	tape, err := voice.ParseWAV("melody.wav", wav)
	if err != nil {
		t.Fatal(err)
	}
	decode := map[voice.Codec]func(byte) int16{voice.PCMA: g711.DecodeAlawFrame, voice.PCMU: g711.DecodeUlawFrame}
	for _, local := range []netip.Addr{lo, netip.IPv6Loopback()} {
		for codec, payload := range map[voice.Codec]uint8{voice.PCMA: 8, voice.PCMU: 0} {
			conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
			if err != nil {
				t.Skipf("no socket on %s: %v", local, err)
			}
			defer conn.Close()
			r := running(t, Config{Addresses: []netip.Addr{local}})
			side := reserve(t, r, local, 1)
			side.Expect(0, Remote{RTP: conn.LocalAddr().(*net.UDPAddr).AddrPort()})
			_, ended := play(t, side, Playback{Tapes: []*voice.Tape{tape}, Rounds: 1, Codec: codec, Payload: payload})
			if e := <-ended; e.Packets != tape.Frames() {
				t.Fatalf("it ended as %+v, want %d packets", e, tape.Frames())
			}
			var signal, noise float64
			buf := make([]byte, 2048)
			for n := range tape.Frames() {
				if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				size, from, err := conn.ReadFromUDPAddrPort(buf)
				if err != nil {
					t.Fatal(err)
				}
				if port, _ := side.Local(0); from.Port() != port {
					t.Fatalf("packet %d came from port %d, want %d: the far end accepts no other", n, from.Port(), port)
				}
				for i, b := range buf[headerLen:size] {
					want := melody(float64(160*n+i) / 8000)
					if n > 2 && n < tape.Frames()-3 {
						signal += want * want
						noise += math.Pow(float64(decode[codec](b))/32768-want, 2)
					}
				}
			}
			if got := 10 * math.Log10(signal/noise); got < 32 {
				t.Errorf("%s over %s: what is heard is %.1f dB better than noise, want 32", codec, local, got)
			}
		}
	}
}
