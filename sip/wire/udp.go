package wire

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"
)

// take judges a datagram and copies one that is worth it: the buffer is used again, the copy is the receiver's.
func (s *Stack) take(local, src netip.AddrPort, data []byte) ([]byte, bool) {
	if !s.cfg.Accept(src, UDP, data) {
		s.count.notAccepted.Add(1)
		return nil, false
	}
	if reply := stunReply(src, data); reply != nil {
		s.count.keepAlives.Add(1)
		s.Send([]Out{{Flow: Flow{Proto: UDP, Local: local, Remote: src}, Data: reply}})
		return nil, false
	}
	rest := trimFront(view(data))
	if rest == "" {
		s.count.keepAlives.Add(1)
		return nil, false
	}
	l := linesOf(rest)
	if _, ok := parseStart(l.next()); !ok && !strings.HasPrefix(rest, "INVITE ") { // an INVITE that nobody can read may have been a call: it is told
		s.count.garbage.Add(1)
		return nil, false
	}
	return bytes.Clone(data), true
}

// packetSocket is a UDP socket of a network that is not the kernel.
type packetSocket struct {
	s     *Stack
	conn  net.PacketConn
	local netip.AddrPort
}

func (u *packetSocket) read() {
	buf := make([]byte, maxMessage)
	batch := make([]Packet, 1)
	for {
		n, from, err := u.conn.ReadFrom(buf)
		if err != nil {
			if !u.readError(err) {
				return
			}
			continue
		}
		remote := addrPort(from)
		if data, ok := u.s.take(u.local, remote, buf[:n]); ok {
			batch[0] = Packet{Flow: Flow{Proto: UDP, Local: u.local, Remote: remote}, Data: data, At: time.Now()}
			u.s.count.received.Add(1)
			u.s.sink.Packets(batch)
			batch[0] = Packet{}
		}
	}
}

// readError reports an ICMP error; false when the socket is closed.
func (u *packetSocket) readError(err error) bool {
	if u.s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return false
	}
	if !u.icmp(err) {
		u.s.pause(time.Millisecond)
	}
	return true
}

func (u *packetSocket) icmp(err error) bool {
	var i *ICMPError
	if !errors.As(err, &i) {
		return false
	}
	u.s.count.icmp.Add(1)
	u.s.report(ICMP{Flow: Flow{Proto: UDP, Local: u.local, Remote: i.Remote}, Quote: i.Quote, Err: i.Err})
	return true
}

func (u *packetSocket) send(batch []Out) {
	for i := range batch {
		to := net.UDPAddrFromAddrPort(batch[i].Flow.Remote)
		_, err := u.conn.WriteTo(batch[i].Data, to)
		if err != nil {
			u.icmp(err)
			_, err = u.conn.WriteTo(batch[i].Data, to) // the error may have been somebody else's
		}
		if err != nil {
			u.s.unsent(batch[i], err)
			continue
		}
		u.s.count.sent.Add(1)
	}
}

func (u *packetSocket) close() { _ = u.conn.Close() }

func (u *packetSocket) drops() uint64 { return 0 }
