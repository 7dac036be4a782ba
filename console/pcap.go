package console

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"nines/journal"
)

// pcapOfCall serves the messages of a call as a capture file.
var pcapOfCall = route{
	method: http.MethodGet, path: "/api/v1/calls/{id}/pcap", role: viewer, binary: "application/vnd.tcpdump.pcap",
	about: "The SIP messages of one call as a capture file for Wireshark, for operators and above. Each is shown as a UDP datagram, whatever carried it.",
	serve: func(w http.ResponseWriter, a *ask) {
		d, err := a.node.Call(a.Context(), a.PathValue("id"), a.mask())
		switch {
		case err == nil && a.mask() != journal.Full:
			err = fmt.Errorf("%w: numbers are in the messages: they are shown to operators", ErrNotFound)
		case err == nil && len(d.Messages) == 0:
			err = fmt.Errorf("%w: no messages of this call are kept; see journal.messages", ErrNotFound)
		}
		if err != nil {
			answer(w, nil, err)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.tcpdump.pcap")
		w.Header().Set("Content-Disposition", `attachment; filename="call.pcap"`)
		w.Header().Set("Cache-Control", "no-store")
		_ = WritePCAP(w, d.Messages) // the reader has gone: nobody to tell
	},
}

// CallPCAP asks for the messages of a call as a capture file.
func (c *Client) CallPCAP(ctx context.Context, id string) ([]byte, error) {
	var file raw
	return file, c.do(ctx, http.MethodGet, "/api/v1/calls/"+url.PathEscape(id)+"/pcap", &file)
}

// raw is an answer that is no JSON.
type raw []byte

const (
	pcapMagic  = 0xa1b2c3d4 // microseconds
	linkRaw    = 101        // LINKTYPE_RAW: packets begin with their IP header
	ip4Head    = 20
	ip6Head    = 40
	udpHead    = 8
	maxPayload = 65535 - ip4Head - udpHead
)

// WritePCAP writes messages as a capture file: libpcap's classic format, IP and UDP headers made for them.
func WritePCAP(w io.Writer, messages []CallMessage) error {
	var b bytes.Buffer
	le := binary.LittleEndian
	head := le.AppendUint32(nil, pcapMagic)
	head = le.AppendUint16(le.AppendUint16(head, 2), 4) // the version
	head = le.AppendUint32(le.AppendUint32(head, 0), 0)
	head = le.AppendUint32(le.AppendUint32(head, 65535), linkRaw)
	b.Write(head)
	for i := range messages {
		packet := datagram(&messages[i])
		if packet == nil {
			continue
		}
		at := messages[i].At
		record := le.AppendUint32(nil, uint32(at.Unix()))
		record = le.AppendUint32(record, uint32(at.Nanosecond()/int(time.Microsecond)))
		record = le.AppendUint32(le.AppendUint32(record, uint32(len(packet))), uint32(len(packet)))
		b.Write(record)
		b.Write(packet)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// datagram is a message with the headers that UDP would have given it.
func datagram(m *CallMessage) []byte {
	src, err := netip.ParseAddrPort(m.Local)
	dst, err2 := netip.ParseAddrPort(m.Remote)
	if err != nil || err2 != nil {
		return nil
	}
	if m.In {
		src, dst = dst, src
	}
	payload := []byte(m.Text)
	if len(m.Base64) > 0 {
		payload = m.Base64
	}
	payload = payload[:min(len(payload), maxPayload)]
	be := binary.BigEndian
	length := udpHead + len(payload)
	from, to := src.Addr().Unmap(), dst.Addr().Unmap()
	var ip []byte
	pseudo := be.AppendUint32(be.AppendUint32(nil, uint32(length)), 17)
	if from.Is6() || to.Is6() {
		f, t := from.As16(), to.As16()
		ip = be.AppendUint32(make([]byte, 0, ip6Head+length), 6<<28)
		ip = append(be.AppendUint16(ip, uint16(length)), 17, 64) // next header UDP, hop limit
		ip = append(append(ip, f[:]...), t[:]...)
		pseudo = append(append(pseudo, f[:]...), t[:]...)
	} else {
		f, t := from.As4(), to.As4()
		ip = append(make([]byte, 0, ip4Head+length), 0x45, 0)
		ip = be.AppendUint16(ip, uint16(ip4Head+length))
		ip = append(ip, 0, 0, 0x40, 0, 64, 17, 0, 0) // don't fragment, TTL, UDP
		ip = append(append(ip, f[:]...), t[:]...)
		be.PutUint16(ip[10:], checksum(ip))
		pseudo = append(append(pseudo, f[:]...), t[:]...)
	}
	udp := be.AppendUint16(be.AppendUint16(nil, src.Port()), dst.Port())
	udp = be.AppendUint16(be.AppendUint16(udp, uint16(length)), 0)
	udp = append(udp, payload...)
	sum := checksum(append(pseudo, udp...))
	if sum == 0 {
		sum = 0xffff // RFC 768: 0 would say that there is none
	}
	be.PutUint16(udp[6:], sum)
	return append(ip, udp...)
}

// checksum is the Internet's (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
