package sip

import (
	"strings"

	"nines/sip/wire"
)

// A Session-ID (RFC 7989) names a call end to end: the sender's half first, then the other end's. Halves pass us unchanged. What we say ourselves has the half
// of the end for which we speak, and the half of the one who hears it, as far as they are known.

// nobodysHalf stands for an end that is not known yet (RFC 7989 §5).
const nobodysHalf = "00000000000000000000000000000000"

// sessionHalf is the sender's half of a message's Session-ID. Empty: there is none, or none that can be read.
func sessionHalf(m *wire.Message) string {
	v, _ := m.Get("Session-ID")
	half, _, _ := strings.Cut(v, ";")
	half = strings.TrimSpace(half)
	if len(half) != len(nobodysHalf) || half == nobodysHalf || strings.Trim(half, "0123456789abcdefABCDEF") != "" {
		return ""
	}
	return strings.Clone(half)
}

// learnHalf takes the half of who sent a message. Where the caller has none, there is nothing to say to anybody.
func (s *session) learnHalf(p *party, m *wire.Message) {
	if s.caller.half == "" && p != &s.caller {
		return
	}
	if half := sessionHalf(m); half != "" {
		p.half = half
	}
}

// identified adds to the headers of a message of our own to p what it is about.
func (s *session) identified(p *party, headers ...wire.Header) []wire.Header {
	if s.caller.half == "" {
		return headers
	}
	return append(headers, wire.Header{Name: "Session-ID", Value: s.sessionID(p)})
}

// appendSessionID is identified for a message that is being written.
func (s *session) appendSessionID(b []byte, p *party) []byte {
	if s.caller.half == "" {
		return b
	}
	return wire.AppendHeader(b, "Session-ID", s.sessionID(p))
}

func (s *session) sessionID(p *party) string {
	other := s.caller.half
	if p == &s.caller {
		other = ""
		if s.winner != nil {
			other = s.winner.half
		}
	}
	return halfOr(other) + ";remote=" + halfOr(p.half)
}

func halfOr(half string) string {
	if half == "" {
		return nobodysHalf
	}
	return half
}
