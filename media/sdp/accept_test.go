package sdp

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func g711(codec string) bool {
	return codec == "pcma/8000" || codec == "pcmu/8000" || codec == "g722/8000"
}

func TestAcceptTakesTheFirstStreamWithOneCodecAndKeys(t *testing.T) {
	offer := lines("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", "m=audio 4000 RTP/AVP 18 8 0 96 101", "a=rtpmap:96 opus/48000/2",
		"a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=sendonly", "a=rtcp-mux", "m=video 4002 RTP/AVP 34")
	answer, sound, err := Accept(offer, 77, netip.MustParseAddr("2001:db8::1"), nil, g711)
	want := lines("v=0", "o=- 77 1 IN IP6 2001:db8::1", "s=-", "c=IN IP6 2001:db8::1", "t=0 0", "m=audio 9 RTP/AVP 8 101", "a=rtpmap:8 PCMA/8000",
		"a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:20", "a=rtcp-mux", "a=recvonly", "m=video 0 RTP/AVP 34")
	if err != nil || string(answer) != string(want) {
		t.Errorf("the answer is %v\n%s\nwant\n%s", err, answer, want)
	}
	if sound.Codec != "pcma/8000" || sound.Payload != 8 || len(sound.Events) != 1 || sound.Events[0] != 101 {
		t.Errorf("the sound is %+v, want PCMA as 8, keys as 101", sound)
	}
}

func lines(l ...string) []byte { return []byte(strings.Join(l, "\r\n") + "\r\n") }

func TestAcceptSaysWhyNothingCanBePlayed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		media string
		want  error
	}{
		{"SRTP", "m=audio 4000 RTP/SAVP 8", ErrEncrypted},
		{"DTLS", "m=audio 4000 UDP/TLS/RTP/SAVPF 8", ErrEncrypted},
		{"a codec that we lack", "m=audio 4000 RTP/AVP 18", ErrNoCodec},
		{"keys alone", "m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000", ErrNoCodec},
		{"video first", "m=video 4000 RTP/AVP 34\r\nm=audio 4000 RTP/AVP 8", ErrNoSound},
		{"a refused stream", "m=audio 0 RTP/AVP 8", ErrNoSound},
		{"no stream", "a=nothing", ErrNoSound},
		{"a payload type that is none", "m=audio 4000 RTP/AVP 300\r\na=rtpmap:300 PCMA/8000", ErrNoCodec},
	} {
		if answer, _, err := Accept(lines("v=0", "c=IN IP4 192.0.2.1", tt.media), 1, netip.IPv4Unspecified(), nil, g711); !errors.Is(err, tt.want) || answer != nil {
			t.Errorf("%s: %v with an answer of %d bytes, want %v", tt.name, err, len(answer), tt.want)
		}
	}
}

func TestAgreedIsWhatBothSidesHave(t *testing.T) {
	far := lines("v=0", "m=audio 4000 RTP/AVP 0 97 101", "a=rtpmap:97 PCMA/8000", "a=rtpmap:101 telephone-event/8000")
	told := lines("v=0", "m=audio 5000 RTP/AVP 8 96", "a=rtpmap:96 telephone-event/8000")
	sound, err := Agreed(far, told, g711)
	if err != nil || sound.Codec != "pcma/8000" || sound.Payload != 97 || len(sound.Events) != 1 || sound.Events[0] != 96 {
		t.Errorf("%+v, %v; want PCMA by the number of who hears it and keys by the number of who was told", sound, err)
	}
	held := lines("v=0", "m=audio 4000 RTP/AVP 0", "a=sendonly")
	if _, err := Agreed(held, told, g711); !errors.Is(err, ErrOnHold) {
		t.Errorf("played to somebody who does not listen: %v", err)
	}
	if _, err := Agreed(lines("v=0", "m=audio 4000 RTP/AVP 0"), told, g711); !errors.Is(err, ErrNoCodec) {
		t.Errorf("played what was not agreed: %v", err)
	}
}

func TestWhoAnswersOurOfferIsPlayedTo(t *testing.T) {
	offer := Offer(5, netip.MustParseAddr("192.0.2.9"))
	for answer, want := range map[string]Sound{
		"m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000": {Codec: "pcma/8000", Payload: 8, Events: []uint8{101}},
		"m=audio 4000 RTP/AVP 0":   {Codec: "pcmu/8000", Payload: 0, Events: []uint8{101}},
		"m=audio 4000 RTP/AVP 9 0": {Codec: "g722/8000", Payload: 9, Events: []uint8{101}},
	} {
		if got, err := Agreed(lines("v=0", "c=IN IP4 192.0.2.1", answer), offer, g711); err != nil || got.Codec != want.Codec || got.Payload != want.Payload || !slices.Equal(got.Events, want.Events) {
			t.Errorf("%q: %+v, %v; want %+v", answer, got, err, want)
		}
	}
	for answer, want := range map[string]error{"a=nothing": ErrNoSound, "m=audio 0 RTP/AVP 8": ErrNoSound, "m=audio 4000 RTP/AVP 18": ErrNoCodec, "m=audio 4000 RTP/SAVP 8": ErrEncrypted} {
		if _, err := Agreed(lines("v=0", answer), offer, g711); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", answer, err, want)
		}
	}
}
