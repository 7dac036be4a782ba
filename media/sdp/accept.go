package sdp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Sound is how something of ours is played to the first stream of a description, and how its key presses come back.
type Sound struct {
	Codec   string  // as in an rtpmap: "pcma/8000"
	Payload uint8   // its payload type, as who hears it has named it
	Events  []uint8 // the payload types of telephone-event at 8000 Hz, as the far end was told to send them; none: it knows none
	Ours    *Seal   // encrypts what it hears; nil: nothing does
	Theirs  *Seal   // and what it sends
}

// Errors of Accept and Agreed: why nothing can be played.
var (
	ErrNoSound   = errors.New("its first stream is no sound")
	ErrEncrypted = errors.New("its sound is to be encrypted in a way that we cannot")
	ErrNoCodec   = errors.New("it has no codec that we can play")
	ErrOnHold    = errors.New("it does not want to hear anything")
)

// plain are the profiles of RTP that is not encrypted.
func (s section) plain() bool { return equal(s.proto, "RTP/AVP") || equal(s.proto, "RTP/AVPF") }

// audible says why nothing of ours can be played to a section.
func (s section) audible() error {
	switch {
	case !equal(s.kind, "audio") || s.port == 0:
		return ErrNoSound
	case !s.plain() && (!s.sealed() || len(s.seals()) == 0):
		return ErrEncrypted
	}
	return nil
}

// sound finds the codec in a section that play says we have, the writer's favourite first, and the key presses. A number that is no payload type is none.
func (s section) sound(play func(codec string) bool) (Sound, bool) {
	var out Sound
	found := false
	for _, f := range s.list {
		n, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		switch codec := s.codecs[f]; {
		case codec == "telephone-event/8000":
			out.Events = append(out.Events, uint8(n))
		case !found && play(codec):
			found = true
			out.Codec, out.Payload = codec, uint8(n)
		}
	}
	return out, found
}

// Accept makes the answer of somebody who only has something to say, and can hear keys pressed: the first stream of an offer with one codec that play
// knows and with telephone-event, all other streams refused. The port is only a place for ours. id is the session id and at the address of the o= line; key,
// of [SealKey] bytes, encrypts what we send where the offer demands that.
func Accept(offer []byte, id uint64, at netip.Addr, key []byte, play func(codec string) bool) ([]byte, Sound, error) {
	all := sections(offer)
	if len(all) == 0 {
		return nil, Sound{}, ErrNoSound
	}
	s := all[0]
	if err := s.audible(); err != nil {
		return nil, Sound{}, err
	}
	sound, ok := s.sound(play)
	if !ok {
		return nil, Sound{}, ErrNoCodec
	}
	if s.sealed() {
		theirs := s.seals()[0]
		sound.Theirs, sound.Ours = &theirs, &Seal{Tag: theirs.Tag, Suite: theirs.Suite, Key: key}
	}
	var b bytes.Buffer
	begin(&b, id, at)
	fmt.Fprintf(&b, "m=%s 9 %s %d", s.kind, s.proto, sound.Payload)
	for _, pt := range sound.Events {
		fmt.Fprintf(&b, " %d", pt)
	}
	fmt.Fprintf(&b, "\r\na=rtpmap:%d %s\r\n", sound.Payload, strings.ToUpper(sound.Codec))
	for _, pt := range sound.Events {
		fmt.Fprintf(&b, "a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-16\r\n", pt, pt)
	}
	if sound.Ours != nil {
		b.WriteString(sound.Ours.line() + "\r\n")
	}
	b.WriteString("a=ptime:20\r\n")
	if s.mux {
		b.WriteString("a=rtcp-mux\r\n")
	}
	b.WriteString("a=" + string(mirrored(s.direction)) + "\r\n")
	for _, s := range all[1:] {
		fmt.Fprintf(&b, "m=%s 0 %s %s\r\n", s.kind, s.proto, strings.Join(s.list, " "))
	}
	return b.Bytes(), sound, nil
}

// begin writes what stands before the first stream.
func begin(b *bytes.Buffer, id uint64, at netip.Addr) {
	family := "IP4"
	if at.Unmap().Is6() {
		family = "IP6"
	}
	fmt.Fprintf(b, "v=0\r\no=- %d 1 IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n", id, family, at.Unmap(), family, at.Unmap())
}

// Offer is the offer of somebody who only has something to say, to a caller who has made none: all codecs that recordings are in, by the numbers of RFC 3551,
// and telephone-event. id and at are as in [Accept].
func Offer(id uint64, at netip.Addr) []byte {
	var b bytes.Buffer
	begin(&b, id, at)
	b.WriteString("m=audio 9 RTP/AVP 8 0 9 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:9 G722/8000\r\n" +
		"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n")
	return b.Bytes()
}

// mirrored is the direction that answers one (RFC 3264 §6.1).
func mirrored(d string) Direction {
	switch Direction(d) {
	case SendOnly:
		return RecvOnly
	case RecvOnly:
		return SendOnly
	case Inactive:
		return Inactive
	case SendRecv:
		return SendRecv
	}
	return SendRecv
}

// Agreed is the sound that can be played to whoever wrote far after it was told other, be that an offer or an answer: the same session goes on, so
// that nothing is agreed anew.
func Agreed(far, other []byte, play func(codec string) bool) (Sound, error) {
	f, o := sections(far), sections(other)
	if len(f) == 0 || len(o) == 0 {
		return Sound{}, ErrNoSound
	}
	if err := errors.Join(f[0].audible(), o[0].audible()); err != nil {
		return Sound{}, err
	}
	if d := Direction(f[0].direction); !d.Receives() {
		return Sound{}, ErrOnHold
	}
	shared := func(codec string) bool {
		return play(codec) && slices.ContainsFunc(o[0].list, func(pt string) bool { return o[0].codecs[pt] == codec })
	}
	sound, ok := f[0].sound(shared)
	if !ok {
		return Sound{}, ErrNoCodec
	}
	if sound.Ours, sound.Theirs, ok = o[0].seal(f[0]); !ok {
		return Sound{}, ErrEncrypted
	}
	told, _ := o[0].sound(func(string) bool { return false })
	sound.Events = told.Events // what it sends is named as we told it (RFC 3264 §5.1)
	return sound, nil
}
