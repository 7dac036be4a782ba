package journal

import "encoding/binary"

// packedHead is the bytes that say how long the public fields are.
const packedHead = 4

// Pack appends an entry without its number to b: some hundred bytes and no pointers, where an [Entry] has four times that and twelve. [Unpack] reads it.
func Pack(b []byte, e *Entry) []byte {
	from := len(b)
	b = appendPublic(append(b, make([]byte, packedHead)...), e)
	binary.BigEndian.PutUint32(b[from:], uint32(len(b)-from-packedHead))
	b = appendText(b, e.Caller)
	b = appendText(b, e.Called)
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	return append(b, e.Data...)
}

// Unpack gives the entries that were packed into b, their Data as JSON. What is broken ends it.
func Unpack(b []byte) []Entry {
	var out []Entry
	for c := (cursor{b: b}); len(c.b) > 0; {
		var e Entry
		head := c.take(packedHead)
		if c.bad {
			return out
		}
		public := c.take(uint64(binary.BigEndian.Uint32(head)))
		e.Caller, e.Called = c.text(), c.text()
		if data := c.take(c.uvarint()); len(data) > 0 {
			e.Data = Spelt(append([]byte(nil), data...))
		}
		if c.bad || readPublic(public, &e) != nil {
			return out
		}
		out = append(out, e)
	}
	return out
}
