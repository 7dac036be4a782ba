package wire

import "errors"

// Header is one header line of a message. A comma list is one Header.
type Header struct {
	Name  string // as received
	Value string // unfolded and trimmed, bytes otherwise untouched: UTF-8 and Latin-1 survive
}

// Via is one hop of a Via header.
type Via struct {
	Transport string // as received: UDP, TCP, TLS, …; [ParseProto] reads it
	Host      string // without brackets in the case of IPv6
	Port      uint16 // 0 when absent
	Branch    string
	Received  string
	RPort     string // value of rport; see HasRPort
	HasRPort  bool   // rport is there, with or without a value
	Alias     bool   // its connection may be used for requests to it (RFC 5923)
	Raw       string // the hop as received, without its neighbours in a comma list; folding removed
}

// Message is a SIP request or response.
type Message struct {
	Method      string // in a response the method of CSeq, empty when unreadable
	URI         string // Request-URI, byte for byte; empty in a response
	Status      int    // 0 in a request
	Reason      string
	Headers     []Header // in order, repeated ones too
	Body        []byte   // part of the data given to Parse
	Via         Via      // the topmost
	CallID      string
	From, To    string // whole header values
	FromTag     string
	ToTag       string
	CSeq        uint32
	MaxForwards int    // -1 when absent or unreadable, at most 255
	ContentType string // whole value
	Malformed   bool   // had to be mended, or lacks something RFC 3261 §8.1.1 demands
}

// Why a message is no message.
var (
	ErrNoSIP    = errors.New("no SIP start line")
	ErrTooLarge = errors.New("message too large") // over 65,535 bytes or 1,000 header lines
)

// IsRequest says that the message is a request.
func (m *Message) IsRequest() bool { return m.Status == 0 }
