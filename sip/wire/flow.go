package wire

import (
	"net/netip"
	"strings"
	"time"
)

// Proto is a transport protocol of SIP. The zero value is none.
type Proto uint8

// The transports.
const (
	UDP Proto = iota + 1
	TCP
	TLS
)

// String gives the name as Via writes it: UDP, TCP, TLS.
func (p Proto) String() string {
	switch p {
	case UDP:
		return "UDP"
	case TCP:
		return "TCP"
	case TLS:
		return "TLS"
	}
	return "?"
}

// Stream says that messages share a connection: TCP and TLS.
func (p Proto) Stream() bool { return p == TCP || p == TLS }

// ParseProto reads a transport's name as Via and the transport parameter write it, in any case; 0 for one we don't speak.
func ParseProto(name string) Proto {
	switch {
	case strings.EqualFold(name, "UDP"):
		return UDP
	case strings.EqualFold(name, "TCP"):
		return TCP
	case strings.EqualFold(name, "TLS"):
		return TLS
	}
	return 0
}

// Flow is one conversation of sockets: ours and theirs. It is comparable; what came in on a flow is answered on it.
type Flow struct {
	Proto  Proto
	Local  netip.AddrPort // the concrete address of our socket, never a wildcard
	Remote netip.AddrPort
	Conn   uint64 // numbers a stream connection, never used twice; 0 for UDP
	Name   string // TLS: the name that was verified in the peer's certificate; empty when it showed none that counts
}

// String is for logs: "UDP 10.0.0.1:5060 10.0.0.2:5060".
func (f Flow) String() string {
	return f.Proto.String() + " " + f.Local.String() + " " + f.Remote.String()
}

// Packet is one complete SIP message as it arrived: a datagram, or one message cut off a stream.
type Packet struct {
	Flow Flow
	Data []byte // belongs to the receiver
	At   time.Time
}

// Out is one SIP message to send.
type Out struct {
	Flow Flow
	Data []byte // must not be changed after Send: it may be kept for repeats and queues
}

// ICMP says that a datagram of ours did not arrive: an ICMP error came back, or the kernel had no way to send it.
type ICMP struct {
	Flow  Flow
	Quote []byte // the start of our message, as far as the error quotes it; may be empty
	Err   error  // ECONNREFUSED, EHOSTUNREACH, …
}

// Sink takes what arrives. It is called from reader goroutines and must not block; what belongs to one flow comes in order.
type Sink interface {
	// Packets hands over messages. The slice is used again after the return, the Data are not.
	Packets(batch []Packet)
	// ICMP reports a datagram that came back. Anybody can forge one.
	ICMP(ICMP)
	// Closed says that a stream connection ended; nothing comes from it after this. The error is never nil: io.EOF when the peer hung up,
	// [ErrIdle], [ErrStuck], [ErrGarbage], [ErrTooLarge], net.ErrClosed when we stop, or what the kernel says.
	Closed(flow Flow, err error)
}
