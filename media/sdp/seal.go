package sdp

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
)

// Seal is how the packets of whoever wrote a description are encrypted: an a=crypto: line (RFC 4568 §4) that we can follow.
type Seal struct {
	Tag   string // which the answer repeats
	Suite string // one of sealSuites
	Key   []byte // master key and salt, [SealKey] bytes (§6.1)
}

// SealKey is how long master key and salt are together (RFC 4568 §6.2).
const SealKey = 30

// sealSuites are those that RFC 4568 §6.2 demands of everybody, the better first.
var sealSuites = []string{"AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"}

// sealed are the profiles of RTP that is encrypted by keys in SDP.
func (s section) sealed() bool { return equal(s.proto, "RTP/SAVP") || equal(s.proto, "RTP/SAVPF") }

// seals are the crypto lines of a section that we can follow, the best suite first. One with several keys, a key's index in every packet (MKI) or parameters that
// change what is encrypted is none.
func (s section) seals() []Seal {
	var all []Seal
	for _, line := range s.security {
		value, ok := strings.CutPrefix(line, "crypto:")
		if !ok {
			continue
		}
		words := strings.Fields(value)
		if len(words) < 3 || !slices.Contains(sealSuites, words[1]) || slices.ContainsFunc(words[3:], func(w string) bool { return !strings.HasPrefix(w, "WSH=") }) {
			continue
		}
		inline, ok := strings.CutPrefix(words[2], "inline:")
		if !ok || strings.ContainsAny(inline, ";:") {
			continue
		}
		text, _, _ := strings.Cut(inline, "|") // how long it may be used is hours, longer than anything of ours is heard
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != SealKey {
			continue
		}
		all = append(all, Seal{Tag: words[0], Suite: words[1], Key: key})
	}
	slices.SortStableFunc(all, func(a, b Seal) int { return slices.Index(sealSuites, a.Suite) - slices.Index(sealSuites, b.Suite) })
	return all
}

// Same says whether packets are encrypted as before.
func (s *Seal) Same(o *Seal) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.Suite == o.Suite && bytes.Equal(s.Key, o.Key)
}

// line is an a=crypto: line.
func (s Seal) line() string {
	return "a=crypto:" + s.Tag + " " + s.Suite + " inline:" + base64.StdEncoding.EncodeToString(s.Key)
}

// seal gives the two seals of a stream whose ends wrote s and o: none where both are plain. False: they do not fit.
func (s section) seal(o section) (mine, theirs *Seal, ok bool) {
	if !s.sealed() && !o.sealed() {
		return nil, nil, true
	}
	for _, m := range s.seals() {
		for _, t := range o.seals() {
			if m.Tag == t.Tag && m.Suite == t.Suite {
				return &m, &t, true
			}
		}
	}
	return nil, nil, false
}
