package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"time"
	"unicode/utf8"
)

// Message is one SIP message of a call.
type Message struct {
	At      time.Time
	In      bool // it came to us; else it went
	Attempt int  // whose leg; 0: the caller's
	Proto   string
	Local   netip.AddrPort
	Remote  netip.AddrPort
	Text    []byte
}

// packedMark begins Data that is packed messages. JSON never begins with that byte.
const packedMark = 0x02

// cameIn is the bit of a packed message's first byte that is In.
const cameIn = 1

// AppendMessage adds a message to Data, which is empty or has others. Such Data is kept as it is, because to write text as JSON costs more than all else that the
// book does with it. Who reads the book gets JSON, and so do the second places; only a [Feed] has it packed.
func AppendMessage(data []byte, m *Message) []byte {
	if len(data) == 0 {
		data = append(data, packedMark)
	}
	bits := byte(0)
	if m.In {
		bits |= cameIn
	}
	data = append(data, bits)
	data = binary.BigEndian.AppendUint64(data, uint64(m.At.UnixNano()))
	data = binary.AppendUvarint(data, uint64(m.Attempt))
	data = appendText(data, m.Proto)
	data = appendAddress(data, m.Local)
	data = appendAddress(data, m.Remote)
	data = binary.AppendUvarint(data, uint64(len(m.Text)))
	return append(data, m.Text...)
}

// appendAddress writes an address with its length before it.
func appendAddress(b []byte, a netip.AddrPort) []byte {
	at := len(b)
	b, _ = a.AppendBinary(append(b, 0)) // it never fails
	b[at] = byte(len(b) - at - 1)       // a zone is the name of an interface, 15 bytes at most
	return b
}

// messagesJSON is the Data of a CallSignalingMessage as it is read.
type messagesJSON struct {
	Messages []messageJSON `json:"messages"`
}

type messageJSON struct {
	At      time.Time      `json:"at"`
	In      bool           `json:"in"`
	Attempt int            `json:"attempt,omitempty"`
	Proto   string         `json:"proto"`
	Local   netip.AddrPort `json:"local"`
	Remote  netip.AddrPort `json:"remote"`
	Text    string         `json:"text,omitempty"`
	Base64  []byte         `json:"base64,omitempty"` // instead of text where that is no UTF-8
}

// Spelt gives Data as JSON: what is squeezed is made whole, packed messages are spelt out. Nil: it is nothing of ours.
func Spelt(data []byte) json.RawMessage {
	if len(data) > 0 && data[0] == squeezedMark {
		data, _ = unsqueezed(data)
	}
	if len(data) == 0 || data[0] != packedMark {
		return data
	}
	all := messagesJSON{Messages: []messageJSON{}}
	for c := (cursor{b: data[1:]}); len(c.b) > 0; {
		m := c.message()
		if c.bad {
			return nil
		}
		all.Messages = append(all.Messages, m)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // the text is full of < and >
	if e.Encode(&all) != nil {
		return nil // ours are plain fields, but for a time that no calendar has
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// message reads what AppendMessage wrote.
func (c *cursor) message() messageJSON {
	var m messageJSON
	m.In = c.byte()&cameIn != 0
	if at := c.take(8); at != nil {
		m.At = time.Unix(0, int64(binary.BigEndian.Uint64(at)))
	}
	m.Attempt = int(c.uvarint())
	m.Proto = c.text()
	m.Local, m.Remote = c.address(), c.address()
	if text := c.take(c.uvarint()); utf8.Valid(text) {
		m.Text = string(text)
	} else {
		m.Base64 = text
	}
	return m
}

func (c *cursor) address() netip.AddrPort {
	var a netip.AddrPort
	if a.UnmarshalBinary(c.take(uint64(c.byte()))) != nil {
		c.bad = true
	}
	return a
}
