package media

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"nines/media/voice"
)

func sealOf(suite string, fill byte) *Seal {
	return &Seal{Suite: suite, Key: slices.Repeat([]byte{fill}, sealSize)}
}

// TestSealingAgreesWithLibsrtp: the packet that libsrtp's srtp_driver.c seals (srtp_validate, AES-128 ICM and HMAC-SHA1-80).
func TestSealingAgreesWithLibsrtp(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	e, err := newEnvelope(&Seal{Suite: "AES_CM_128_HMAC_SHA1_80", Key: unhex("e1f97a0d3e018be0d64fa32c06de4139" + "0ec675ad498afeebb6960b3aabe6")})
	if err != nil {
		t.Fatal(err)
	}
	packet := append(unhex("800f1234decafbadcafebabe"), bytes.Repeat([]byte{0xab}, 16)...)
	want := unhex("800f1234decafbadcafebabe" + "4e55dc4ce79978d88ca4d215949d2402" + "b78d6acc99ea179b8dbb")
	got, err := e.close(packet)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("sealed %x, %v\nwant   %x", got, err, want)
	}
	if open, err := e.open(slices.Clone(got)); err != nil || !bytes.Equal(open, packet) {
		t.Errorf("opened %x, %v; want what was sealed", open, err)
	}
	got = slices.Clone(got)
	got[14] ^= 1
	if _, err := e.open(got); err == nil {
		t.Error("a packet that was changed on its way was taken")
	}
}

func TestWhatCannotBeSealedIsRefused(t *testing.T) {
	for _, s := range []*Seal{sealOf("AES_CM_256_HMAC_SHA1_80", 1), {Suite: "AES_CM_128_HMAC_SHA1_80", Key: make([]byte, 16)}} {
		if _, err := newEnvelope(s); !errors.Is(err, ErrPlayback) {
			t.Errorf("%s with %d bytes: %v; want that it cannot be played", s.Suite, len(s.Key), err)
		}
	}
}

// TestSealedPlaybacks: 25 minutes of speech, in which sequence numbers begin anew, then another text, by the same key: who has it hears every packet.
func TestSealedPlaybacks(t *testing.T) {
	for _, suite := range []string{"AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"} {
		inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
			caller := far(t, m, "10.0.0.1:4000")
			defer caller.Close()
			side := reserve(t, r, lo, 1)
			defer side.Release()
			side.Expect(0, Remote{RTP: caller.addr})
			theirs, err := newEnvelope(sealOf(suite, 7))
			if err != nil {
				t.Fatal(err)
			}
			var heard, deaf int
			var wrong bool
			comfort := voice.Comfort()
			go func() { // ended by closing caller
				buf := make([]byte, 2048)
				for {
					n, _, err := caller.ReadFrom(buf)
					if err != nil {
						return
					}
					open, err := theirs.open(buf[:n])
					if err != nil {
						deaf++
						continue
					}
					wrong = wrong || !bytes.Equal(open[headerLen:], comfort.Payload(voice.PCMA, heard%comfort.Frames()))
					heard++
				}
			}()
			for _, minutes := range []int{25, 1} { // the second goes on under the same key
				_, ended := play(t, side, Playback{Tapes: []*voice.Tape{comfort}, Rounds: minutes, Codec: voice.PCMA, Payload: 8, Seal: sealOf(suite, 7)})
				<-ended
				synctest.Wait()
				if heard != 3000*minutes || deaf != 0 || wrong {
					t.Errorf("%s: heard %d packets, %d could not be opened, wrong %v; want %d", suite, heard, deaf, wrong, 3000*minutes)
				}
				heard, deaf = 0, 0
			}
			_, ended := play(t, side, Playback{Tapes: []*voice.Tape{comfort}, Rounds: 1, Codec: voice.PCMA, Payload: 8, Seal: sealOf(suite, 8)})
			<-ended
			synctest.Wait()
			if heard != 0 || deaf != 3000 {
				t.Errorf("%s: with another key %d packets were heard and %d not; want none of 3000", suite, heard, deaf)
			}
		})
	}
}

func TestSealedKeyPressesAreHeardFromWhoHasTheKey(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, r *Relay, m *memory) {
		caller := far(t, m, "10.0.0.1:4000")
		side := reserve(t, r, lo, 1)
		side.Expect(0, Remote{RTP: caller.addr})
		port, _ := side.Local(0)
		var keys string
		if err := side.Keys(&Keys{Events: []uint8{101}, Seal: sealOf("AES_CM_128_HMAC_SHA1_80", 1), Pressed: func(p Press) { keys += string(p.Key) }}); err != nil {
			t.Fatal(err)
		}
		press := func(e *envelope, code byte, timestamp uint32) {
			for i := range 4 {
				b := append(spoken(7, uint16(timestamp/160)+uint16(i), timestamp), code, 10, 0, 160)
				b[1] = 101
				if e != nil {
					sealed, err := e.close(b)
					if err != nil {
						t.Fatal(err)
					}
					b = sealed
				}
				caller.send(port, string(b))
				synctest.Wait()
				time.Sleep(20 * time.Millisecond)
			}
		}
		own, _ := newEnvelope(sealOf("AES_CM_128_HMAC_SHA1_80", 1))
		foreign, _ := newEnvelope(sealOf("AES_CM_128_HMAC_SHA1_80", 2))
		press(nil, 1, 16000)
		press(foreign, 2, 32000)
		press(own, 9, 48000)
		press(foreign, 3, 64000)
		press(own, 8, 80000)
		if keys != "98" {
			t.Errorf("heard %q, want 98: plain packets and those of another key are nobody's", keys)
		}
		if err := side.Keys(&Keys{Seal: &Seal{Suite: "none"}, Pressed: func(Press) {}}); err == nil {
			t.Error("keys are listened for by a seal that cannot be")
		}
	})
}
