package sdp

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// The key of RFC 4568 §6.1's example.
const inline = "inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"

func sealedOffer(crypto ...string) []byte {
	l := []string{"v=0", "c=IN IP4 192.0.2.1", "m=audio 4000 RTP/SAVP 8 101", "a=rtpmap:101 telephone-event/8000"}
	for _, c := range crypto {
		l = append(l, "a=crypto:"+c)
	}
	return lines(l...)
}

func TestAcceptAnswersTheBestSealThatItCanFollow(t *testing.T) {
	ours := slices.Repeat([]byte{1}, SealKey)
	line := "inline:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
	for name, tt := range map[string]struct {
		crypto []string
		want   string // empty: it can't be followed
	}{
		"one":                              {[]string{"1 AES_CM_128_HMAC_SHA1_80 " + inline}, "1 AES_CM_128_HMAC_SHA1_80"},
		"with a lifetime":                  {[]string{"7 AES_CM_128_HMAC_SHA1_32 " + inline + "|2^20"}, "7 AES_CM_128_HMAC_SHA1_32"},
		"the better suite":                 {[]string{"1 AES_CM_128_HMAC_SHA1_32 " + inline, "2 AES_CM_128_HMAC_SHA1_80 " + inline}, "2 AES_CM_128_HMAC_SHA1_80"},
		"beside one that is strange":       {[]string{"1 AEAD_AES_256_GCM inline:AAAA", "2 AES_CM_128_HMAC_SHA1_80 " + inline + " WSH=64"}, "2 AES_CM_128_HMAC_SHA1_80"},
		"none":                             {nil, ""},
		"with an index in each packet":     {[]string{"1 AES_CM_128_HMAC_SHA1_80 " + inline + "|2^20|1:32"}, ""},
		"with two keys":                    {[]string{"1 AES_CM_128_HMAC_SHA1_80 " + inline + "|2^20|1:4;" + inline + "|2^20|2:4"}, ""},
		"without sealing what it is about": {[]string{"1 AES_CM_128_HMAC_SHA1_80 " + inline + " UNENCRYPTED_SRTP"}, ""},
		"with a short key":                 {[]string{"1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVe"}, ""},
		"with what is no key":              {[]string{"1 AES_CM_128_HMAC_SHA1_80 inline:!", "2 AES_CM_128_HMAC_SHA1_80", "3"}, ""},
	} {
		offer := sealedOffer(tt.crypto...)
		answer, sound, err := Accept(offer, 1, netip.MustParseAddr("192.0.2.9"), ours, g711)
		if tt.want == "" {
			if !errors.Is(err, ErrEncrypted) || answer != nil {
				t.Errorf("%s: %v, and an answer of %d bytes; want that it can't", name, err, len(answer))
			}
			continue
		}
		want := "a=crypto:" + tt.want + " " + line + "\r\n"
		if err != nil || !strings.Contains(string(answer), want) || strings.Count(string(answer), "crypto") != 1 || !strings.Contains(string(answer), "m=audio 9 RTP/SAVP 8 101\r\n") {
			t.Errorf("%s: the answer is %v\n%s\nwant RTP/SAVP and %s", name, err, answer, want)
			continue
		}
		agreed, err := Agreed(offer, answer, g711)
		if err != nil || !agreed.Ours.Same(sound.Ours) || !agreed.Theirs.Same(sound.Theirs) || !bytes.Equal(agreed.Ours.Key, ours) || bytes.Equal(agreed.Theirs.Key, ours) {
			t.Errorf("%s: agreed is %+v, %v; want our key and theirs", name, agreed, err)
		}
	}
}

func TestSealsMustFitOneAnother(t *testing.T) {
	far := sealedOffer("1 AES_CM_128_HMAC_SHA1_80 " + inline)
	plain := lines("v=0", "m=audio 4000 RTP/AVP 8")
	for name, told := range map[string][]byte{
		"plain": plain, "another tag": sealedOffer("2 AES_CM_128_HMAC_SHA1_80 " + inline), "another suite": sealedOffer("1 AES_CM_128_HMAC_SHA1_32 " + inline),
	} {
		if s, err := Agreed(far, told, g711); !errors.Is(err, ErrEncrypted) {
			t.Errorf("%s: %+v, %v; want that nothing is agreed", name, s, err)
		}
	}
	if s, err := Agreed(plain, plain, g711); err != nil || s.Ours != nil || s.Theirs != nil {
		t.Errorf("plain sound: %+v, %v; want no seal", s, err)
	}
	// Optimists offer keys for packets that need not be encrypted: they are answered without.
	optimist := lines("v=0", "m=audio 4000 RTP/AVP 8", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 "+inline)
	if answer, s, err := Accept(optimist, 1, netip.MustParseAddr("192.0.2.9"), nil, g711); err != nil || s.Ours != nil || strings.Contains(string(answer), "crypto") {
		t.Errorf("RTP/AVP with keys: %v, %+v\n%s\nwant plain sound", err, s, answer)
	}
}

// FuzzAccept: whatever a caller offers, what we answer it with can be played, unless it does not listen.
func FuzzAccept(f *testing.F) {
	f.Add(sealedOffer("1 AES_CM_128_HMAC_SHA1_80 " + inline))
	f.Add(lines("v=0", "m=audio 4000 RTP/AVP 18 8 0 96 101", "a=rtpmap:96 opus/48000/2", "a=rtpmap:101 telephone-event/8000", "a=sendonly", "m=video 4002 RTP/AVP 34"))
	f.Fuzz(func(t *testing.T, offer []byte) {
		answer, sound, err := Accept(offer, 1, netip.MustParseAddr("192.0.2.9"), slices.Repeat([]byte{1}, SealKey), g711)
		if err != nil {
			return
		}
		agreed, err := Agreed(offer, answer, g711)
		if errors.Is(err, ErrOnHold) {
			return
		}
		if err != nil || agreed.Codec != sound.Codec || !agreed.Ours.Same(sound.Ours) || !agreed.Theirs.Same(sound.Theirs) {
			t.Errorf("offer\n%q\nanswer\n%q\naccepted %+v, agreed %+v, %v", offer, answer, sound, agreed, err)
		}
	})
}
