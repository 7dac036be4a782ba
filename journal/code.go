package journal

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
)

// An entry in the book is a record:
//
//	uvarint           how many bytes follow
//	8 bytes           the first of the entry's hash, so that a broken entry is found and not only a broken block
//	uvarint, public   the fields that stay for ever, see appendPublic
//	caller, called and data, each if public's bits say that the entry has it:
//	    1, salt, uvarint, value     it is there
//	    0, commitment               it was erased
//
// The entry's hash is SHA-256 over the hash of the entry before, the entry's number, public, and the commitments of what is personal. A commitment is SHA-256 over a
// random salt and the value: with value and salt gone nobody can tell from it what stood there, and the chain still holds.
type hash = [sha256.Size]byte

const (
	saltSize  = 16
	checkSize = 8
	version   = 1 // of public
)

// typeCodes are the types by their number in a record. Add at the end, change nothing. Number 0 stands for a type that is spelt out.
var typeCodes = []Type{
	"", CallStart, CallEnd, CallStateChange, CallSignalingMessage, MalformedMessage, RouteRule, Route, MediaStart, MediaEnd, KeepAliveFailure, ElementStateChange,
	ServiceStateChange, PolicyChange, AnnouncementStart, AnnouncementEnd, AttemptOutcome, Witness, OperatorAct, ModeSwitch, Callback, Notice, Drill, Gap, Erased, Head, Cut,
}

var codeOfType = func() map[Type]byte {
	m := make(map[Type]byte, len(typeCodes))
	for i, t := range typeCodes[1:] {
		m[t] = byte(i + 1)
	}
	return m
}()

// The bits of public: which fields an entry has. Their order is that of the fields in the record.
const (
	hasCall = 1 << iota
	hasCallID
	hasTrunk
	hasRoute
	hasClass
	hasEndpoint
	isPartner
	hasAttempt
	hasOutcome
	hasCode
	hasWhat
	hasWhy
	hasBy
	hasCount
	hasTook
	hasCaller
	hasCalled
	hasData
)

// bits says which fields an entry has.
func bits(e *Entry) uint64 {
	var b uint64
	set := func(bit uint64, is bool) {
		if is {
			b |= bit
		}
	}
	set(hasCall, e.Call != "")
	set(hasCallID, e.CallID != "")
	set(hasTrunk, e.Trunk != "")
	set(hasRoute, e.Route != "")
	set(hasClass, e.Class != "")
	set(hasEndpoint, e.Endpoint != "")
	set(isPartner, e.Partner)
	set(hasAttempt, e.Attempt != 0)
	set(hasOutcome, e.Outcome != "")
	set(hasCode, e.Code != 0)
	set(hasWhat, e.What != "")
	set(hasWhy, e.Why != "")
	set(hasBy, e.By != "")
	set(hasCount, e.Count != 0)
	set(hasTook, e.Took != 0)
	set(hasCaller, e.Caller != "")
	set(hasCalled, e.Called != "")
	set(hasData, len(e.Data) > 0)
	return b
}

// appendPublic appends the one encoding of what an entry says beside its personal fields.
func appendPublic(b []byte, e *Entry) []byte {
	has := bits(e)
	b = append(b, version)
	b = binary.AppendUvarint(b, has)
	b = binary.BigEndian.AppendUint64(b, uint64(e.At.UnixNano()))
	code := codeOfType[e.Type]
	b = append(b, code)
	if code == 0 {
		b = appendText(b, string(e.Type))
	}
	for _, f := range [...]struct {
		bit  uint64
		text string
	}{
		{hasCall, e.Call},
		{hasCallID, e.CallID},
		{hasTrunk, e.Trunk},
		{hasRoute, e.Route},
		{hasClass, e.Class},
		{hasEndpoint, e.Endpoint},
		{hasOutcome, e.Outcome},
		{hasWhat, e.What},
		{hasWhy, e.Why},
		{hasBy, e.By},
	} {
		if has&f.bit != 0 {
			b = appendText(b, f.text)
		}
	}
	for _, f := range [...]struct {
		bit uint64
		n   int64
	}{{hasAttempt, int64(e.Attempt)}, {hasCode, int64(e.Code)}, {hasCount, int64(e.Count)}, {hasTook, int64(e.Took)}} {
		if has&f.bit != 0 {
			b = binary.AppendVarint(b, f.n)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

var errRecord = errors.New("the record makes no sense")

// cursor reads a record. Once something makes no sense it stays bad.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)) {
		c.bad = true
		return nil
	}
	got := c.b[:n:n]
	c.b = c.b[n:]
	return got
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.take(uint64(n))
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.take(uint64(n))
	return v
}

func (c *cursor) text() string { return string(c.take(c.uvarint())) }

// at reads when an entry was made, without the rest.
func publicAt(public []byte) (at int64, has uint64, err error) {
	c := cursor{b: public}
	if c.byte() != version {
		return 0, 0, errRecord
	}
	has = c.uvarint()
	t := c.take(8)
	if c.bad {
		return 0, 0, errRecord
	}
	return int64(binary.BigEndian.Uint64(t)), has, nil
}

// readPublic reads what appendPublic wrote.
func readPublic(public []byte, e *Entry) error {
	at, has, err := publicAt(public)
	if err != nil {
		return err
	}
	c := cursor{b: public}
	c.byte()
	c.uvarint()
	c.take(8)
	e.At = time.Unix(0, at)
	switch code := int(c.byte()); {
	case code == 0:
		e.Type = Type(c.text())
	case code < len(typeCodes):
		e.Type = typeCodes[code]
	default:
		return fmt.Errorf("%w: it has a type of a later version", errRecord)
	}
	for _, f := range [...]struct {
		bit uint64
		to  *string
	}{
		{hasCall, &e.Call},
		{hasCallID, &e.CallID},
		{hasTrunk, &e.Trunk},
		{hasRoute, &e.Route},
		{hasClass, &e.Class},
		{hasEndpoint, &e.Endpoint},
		{hasOutcome, &e.Outcome},
		{hasWhat, &e.What},
		{hasWhy, &e.Why},
		{hasBy, &e.By},
	} {
		if has&f.bit != 0 {
			*f.to = c.text()
		}
	}
	e.Partner = has&isPartner != 0
	if has&hasAttempt != 0 {
		e.Attempt = int(c.varint())
	}
	if has&hasCode != 0 {
		e.Code = int(c.varint())
	}
	if has&hasCount != 0 {
		e.Count = int(c.varint())
	}
	if has&hasTook != 0 {
		e.Took = time.Duration(c.varint())
	}
	if c.bad || len(c.b) > 0 {
		return errRecord
	}
	return nil
}

// The personal fields, in the order of their bits.
const (
	callerField = iota
	calledField
	dataField
	personalFields
)

var personalBits = [personalFields]uint64{hasCaller, hasCalled, hasData}

// personal is one field that can be erased. With Erased only the commitment is left.
type personal struct {
	has        bool
	erased     bool
	salt       []byte
	value      []byte
	commitment hash
}

// commit is what the chain says of a personal field.
func (p *personal) commit(field int, buf []byte) (hash, []byte) {
	if p.erased {
		return p.commitment, buf
	}
	buf = append(buf[:0], "nines "...)
	buf = append(buf, byte(field))
	buf = append(buf, p.salt...)
	buf = append(buf, p.value...)
	return sha256.Sum256(buf), buf
}

// erase forgets what stood there.
func (p *personal) erase(field int) {
	p.commitment, _ = p.commit(field, nil)
	p.erased, p.salt, p.value = true, nil, nil
}

func (p *personal) appendTo(b []byte) []byte {
	if p.erased {
		b = append(b, 0)
		return append(b, p.commitment[:]...)
	}
	b = append(b, 1)
	b = append(b, p.salt...)
	b = binary.AppendUvarint(b, uint64(len(p.value)))
	return append(b, p.value...)
}

// record is an entry as it is kept. Its slices point into the block it was read from.
type record struct {
	check    []byte
	public   []byte
	personal [personalFields]personal
}

// next reads the record at the head of a block's body and returns the rest.
func (r *record) next(body []byte) (rest []byte, err error) {
	c := cursor{b: body}
	whole := c.take(c.uvarint())
	if c.bad {
		return nil, errRecord
	}
	rest = c.b
	c = cursor{b: whole}
	r.check = c.take(checkSize)
	r.public = c.take(c.uvarint())
	_, has, err := publicAt(r.public)
	if err != nil {
		return nil, err
	}
	for i, bit := range personalBits {
		p := &r.personal[i]
		p.has = has&bit != 0
		if !p.has {
			continue
		}
		switch c.byte() {
		case 0:
			p.erased, p.salt, p.value = true, nil, nil
			copy(p.commitment[:], c.take(sha256.Size))
		case 1:
			p.erased = false
			p.salt = c.take(saltSize)
			p.value = c.take(c.uvarint())
		default:
			return nil, errRecord
		}
	}
	if c.bad || len(c.b) > 0 {
		return nil, errRecord
	}
	return rest, nil
}

// append appends the record to a block's body.
func (r *record) append(b, buf []byte) (body, scratch []byte) {
	buf = append(buf[:0], r.check...)
	buf = binary.AppendUvarint(buf, uint64(len(r.public)))
	buf = append(buf, r.public...)
	for i := range r.personal {
		if r.personal[i].has {
			buf = r.personal[i].appendTo(buf)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(buf)))
	return append(b, buf...), buf
}

// entry gives the record as it was written.
func (r *record) entry(seq int64) (Entry, error) {
	e, err := r.fields(seq)
	if err == nil {
		err = r.readData(&e)
	}
	return e, err
}

// fields gives the record without its Data, which most who read do not look at.
func (r *record) fields(seq int64) (Entry, error) {
	e := Entry{Seq: seq}
	if err := readPublic(r.public, &e); err != nil {
		return e, err
	}
	e.Caller = r.text(callerField, &e)
	e.Called = r.text(calledField, &e)
	if d := &r.personal[dataField]; d.has && d.erased {
		e.Erased = true
	}
	return e, nil
}

// readData puts Data into an entry, as JSON.
func (r *record) readData(e *Entry) error {
	told, err := r.told()
	if err != nil || told == nil {
		return err
	}
	if e.Data = Spelt(told); e.Data == nil {
		return errRecord
	}
	return nil
}

// told is Data as the book was told it, JSON or packed messages; nil: there is none, or it was erased.
func (r *record) told() ([]byte, error) {
	d := &r.personal[dataField]
	if !d.has || d.erased {
		return nil, nil
	}
	return unsqueezed(d.value)
}

func (r *record) text(field int, e *Entry) string {
	p := &r.personal[field]
	if p.has && p.erased {
		e.Erased = true
		return ""
	}
	if !p.has {
		return ""
	}
	return string(p.value)
}

// chain makes the hashes of entries, each from the one before.
type chain struct {
	seq     int64 // of the last entry
	head    hash  // its hash
	buf     []byte
	scratch []byte
}

// add makes the hash of the next entry.
func (c *chain) add(r *record) hash {
	c.seq++
	c.buf = append(c.buf[:0], c.head[:]...)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(c.seq))
	c.buf = append(c.buf, r.public...)
	for i := range r.personal {
		if !r.personal[i].has {
			continue
		}
		var h hash
		h, c.scratch = r.personal[i].commit(i, c.scratch)
		c.buf = append(c.buf, h[:]...)
	}
	c.head = sha256.Sum256(c.buf)
	return c.head
}

// pen is what records are made with.
type pen struct {
	salts   []byte // random bytes, fetched many at a time
	squeeze []byte // for Data of the record that was made last
}

func (p *pen) salt() []byte {
	if len(p.salts) < saltSize {
		p.salts = make([]byte, 256*saltSize)
		if _, err := io.ReadFull(rand.Reader, p.salts); err != nil {
			panic("journal: the system has no randomness: " + err.Error()) // crypto/rand never returns an error
		}
	}
	salt := p.salts[:saltSize:saltSize]
	p.salts = p.salts[saltSize:]
	return salt
}

// recordOf makes a record of an entry, without its hash. It is good until the next one is made.
func recordOf(e *Entry, p *pen, public []byte) record {
	r := record{public: appendPublic(public, e)}
	put := func(field int, value []byte) {
		if len(value) > 0 {
			r.personal[field] = personal{has: true, salt: p.salt(), value: value}
		}
	}
	put(callerField, []byte(e.Caller))
	put(calledField, []byte(e.Called))
	var data []byte
	data, p.squeeze = squeezed(e.Data, p.squeeze)
	put(dataField, data)
	return r
}

// Long Data is kept squeezed: a call's messages repeat each other. Neither JSON nor packed messages begin with the byte that says so.
const (
	squeezedMark  = 0x01
	squeezedFrom  = 1 << 10
	unsqueezeMost = 64 << 20 // what claims to be longer is broken
)

// squeezed gives data as it is kept, in buf if that is shorter.
func squeezed(data, buf []byte) (kept, scratch []byte) {
	if len(data) < squeezedFrom || data[0] == squeezedMark {
		return data, buf
	}
	buf = slices.Grow(buf[:0], 1+s2.MaxEncodedLen(len(data)))
	buf = append(buf, squeezedMark)
	buf = buf[:1+len(s2.Encode(buf[1:cap(buf)], data))]
	if len(buf) >= len(data) {
		return data, buf
	}
	return buf, buf
}

// Squeezed gives Data as the book keeps it, in memory of its own: text that waits for the disk takes less of it then. scratch is for the next time.
func Squeezed(data, scratch []byte) (kept, again []byte) {
	kept, scratch = squeezed(data, scratch)
	return bytes.Clone(kept), scratch
}

// unsqueezed gives Data as it was, in memory of its own.
func unsqueezed(value []byte) ([]byte, error) {
	if len(value) == 0 || value[0] != squeezedMark {
		return append([]byte(nil), value...), nil
	}
	if n, err := s2.DecodedLen(value[1:]); err != nil || n > unsqueezeMost {
		return nil, errRecord
	}
	data, err := s2.Decode(nil, value[1:])
	if err != nil {
		return nil, errRecord
	}
	return data, nil
}

// key is the short hash under which a name is looked up. What is found by it is compared with the name itself.
func key(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // io.WriteString would want memory for it
	return h.Sum32()
}

// tailDigits is how many digits of a number two spellings of it have in common: +44 1905 331101 and 01905 331101.
const tailDigits = 9

// numberTail is what all spellings of a number have in common. What is no number is itself, in lower case.
func numberTail(number string) string {
	digits := digitsOf(number)
	if digits == "" {
		return strings.ToLower(number)
	}
	return digits[max(0, len(digits)-tailDigits):]
}

// digitsOf gives a telephone number's digits, empty for what is none.
func digitsOf(number string) string {
	plain := strings.TrimPrefix(number, "+")
	if strings.Trim(plain, "0123456789*#") == "" { // as nearly always
		return plain
	}
	var b strings.Builder
	for i, r := range number {
		switch {
		case r >= '0' && r <= '9', r == '*', r == '#':
			b.WriteRune(r)
		case r == '+' && i == 0, strings.ContainsRune(" -.()", r):
		default:
			return ""
		}
	}
	return b.String()
}

// sameNumber says whether two spellings are one number: of two international ones all digits count, else those that both have.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	da, db := digitsOf(a), digitsOf(b)
	if da == "" || db == "" {
		return strings.EqualFold(a, b)
	}
	ia, ib := international(a, da), international(b, db)
	if ia != "" && ib != "" {
		return ia == ib
	}
	if len(da) < tailDigits || len(db) < tailDigits {
		return da == db
	}
	return strings.HasSuffix(strings.TrimPrefix(da, "00"), strings.TrimLeft(db, "0")) || strings.HasSuffix(strings.TrimPrefix(db, "00"), strings.TrimLeft(da, "0"))
}

// international gives the digits from the country's code on, empty if a number does not begin with one.
func international(number, digits string) string {
	if strings.HasPrefix(number, "+") {
		return digits
	}
	if after, ok := strings.CutPrefix(digits, "00"); ok {
		return after
	}
	return ""
}
