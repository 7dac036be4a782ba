package town

import (
	"net"
	"net/netip"

	"nines/sip/wire"
)

// session is one side's offer/answer state and its audio.
type session struct {
	name     string // of the origin line
	codecs   []int  // what we can, best first
	id       uint64
	version  uint64
	payloads []int          // what was agreed, or what we offer
	hold     string         // the direction we want, if not sendrecv
	audio    netip.AddrPort // where we listen
	voice    *voice         // nil: no media
	heard    []string       // every session description of the other side
}

// openVoice opens the media socket and starts its reader. RFC 3550 §11: RTP has an even port, so that the next one is left for RTCP.
func (s *session) openVoice(network wire.Network, at netip.Addr, talk uint64, ssrc uint32) error {
	var odd []net.PacketConn
	defer func() {
		for _, conn := range odd {
			_ = conn.Close()
		}
	}()
	for {
		conn, err := network.ListenPacket(netip.AddrPortFrom(at, 0))
		if err != nil {
			return err
		}
		if s.audio, err = addrPort(conn.LocalAddr()); err != nil {
			_ = conn.Close()
			return err
		}
		if s.audio.Port()%2 == 0 || len(odd) == 8 {
			s.voice = newVoice(conn, talk, ssrc)
			return nil
		}
		odd = append(odd, conn)
	}
}

// offer describes our side as it stands.
func (s *session) offer() string {
	direction := s.hold
	if direction == "" {
		direction = "sendrecv"
	}
	return writeSDP(s.name, s.id, s.version, s.audio, s.payloads, direction)
}

// hear takes a description of the other side. It says what is wrong with it; empty: we have agreed.
func (s *session) hear(text string) string {
	s.heard = append(s.heard, text)
	d, ok := readSDP(text)
	if !ok {
		return "a session description without audio"
	}
	payload := d.choose(s.codecs)
	if payload < 0 {
		return "no codec in common"
	}
	s.payloads = []int{payload}
	to := d.audio
	if !d.hears {
		to = netip.AddrPort{}
	}
	if s.voice != nil {
		s.voice.aim(to, payload)
	}
	return ""
}

// reply is our answer to an offer: the direction mirrors theirs (RFC 3264 §6.1).
func (s *session) reply(text string) string {
	d, _ := readSDP(text)
	direction := s.hold
	if direction == "" {
		switch {
		case d.sends && d.hears:
			direction = "sendrecv"
		case d.sends:
			direction = "recvonly"
		case d.hears:
			direction = "sendonly"
		default:
			direction = "inactive"
		}
	}
	s.version++
	return writeSDP(s.name, s.id, s.version, s.audio, s.payloads, direction)
}
