package wire

import (
	"encoding/binary"
	"net/netip"
)

// STUN (RFC 8489), as far as a SIP port needs it: a peer behind a NAT keeps its way to us open with Binding requests and learns its address (RFC 5626
// §3.5.2). Only those whom Accept lets in are answered, because the answer is longer than the question.
const (
	stunHeader  = 20
	stunBinding = 0x0001
	stunSuccess = 0x0101
	stunMapped  = 0x0020 // XOR-MAPPED-ADDRESS
	stunMagic   = 0x2112A442
)

// stunReply answers a Binding request; nil when it is none.
func stunReply(src netip.AddrPort, data []byte) []byte {
	if len(data) < stunHeader || len(data)%4 != 0 || binary.BigEndian.Uint16(data) != stunBinding ||
		int(binary.BigEndian.Uint16(data[2:])) != len(data)-stunHeader || binary.BigEndian.Uint32(data[4:]) != stunMagic {
		return nil
	}
	addr := src.Addr().Unmap().AsSlice()
	b := make([]byte, stunHeader, stunHeader+8+len(addr))
	binary.BigEndian.PutUint16(b, stunSuccess)
	binary.BigEndian.PutUint16(b[2:], uint16(8+len(addr)))
	copy(b[4:], data[4:stunHeader]) // cookie and transaction
	b = binary.BigEndian.AppendUint16(b, stunMapped)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(addr)))
	family := byte(1)
	if len(addr) == 16 {
		family = 2
	}
	b = append(b, 0, family)
	b = binary.BigEndian.AppendUint16(b, src.Port()^uint16(stunMagic>>16))
	for i, x := range addr {
		b = append(b, x^data[4+i])
	}
	return b
}
