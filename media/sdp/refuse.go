package sdp

import (
	"bytes"
	"fmt"
	"net/netip"
)

// Refuse is an answer that takes none of an offer's streams, each with port 0 (RFC 3264 §6): for an offer that came in a 2xx which nobody wants, because
// its ACK must carry an answer (RFC 3261 §13.2.1). id is the session id and at the address of the o= line. It is nil when no stream is offered.
func Refuse(offer []byte, id uint64, at netip.Addr) []byte {
	v, err := Look(offer)
	if err != nil || len(v.Streams) == 0 {
		return nil
	}
	family := "IP4"
	if at.Unmap().Is6() {
		family = "IP6"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "v=0\r\no=- %d 1 IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n", id, family, at.Unmap(), family, at.Unmap())
	for i := range v.Streams {
		s := &v.Streams[i]
		fmt.Fprintf(&b, "m=%s 0 %s", s.Kind, s.Proto)
		for _, f := range s.Formats {
			b.WriteString(" " + f)
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()
}
