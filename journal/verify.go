package journal

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Verdict says whether a book holds together.
type Verdict struct {
	OK     bool        `json:"ok"`
	First  int64       `json:"first"` // the first entry that is there
	Last   int64       `json:"last"`  // the last one that was found right
	From   time.Time   `json:"from,omitzero"`
	To     time.Time   `json:"to,omitzero"`
	Head   string      `json:"head"`             // the hash of Last
	Broken *Broken     `json:"broken,omitempty"` // the first thing that is wrong
	Gaps   int         `json:"gaps"`             // entries that say that others were lost
	Lost   int64       `json:"lost"`             // how many those were, as far as it is known
	Erased int64       `json:"erased"`           // entries of which something personal was erased
	Signed []Signature `json:"signed,omitempty"` // the first and the last signed head
	Heads  int         `json:"heads"`            // how many signed heads are right
	Keys   []string    `json:"keys,omitempty"`   // the keys that signed, hexadecimal
	Cut    bool        `json:"cut,omitempty"`    // the book no longer has its beginning
}

// Broken is the first thing that is wrong in a book.
type Broken struct {
	Seq int64     `json:"seq"`
	At  time.Time `json:"at,omitzero"` // the entry's time; if that can't be read, the one before
	Why string    `json:"why"`
}

// Verify reads the whole book and follows its chain. known are heads that were kept elsewhere: the book must have them. The error says that the book could not be
// read; a book that was read and is broken is no error.
func (r *Reader) Verify(ctx context.Context, known ...Signature) (Verdict, error) {
	v := &verifier{known: known}
	if err := v.begin(ctx, r.db); err != nil {
		return v.Verdict, err
	}
	for b, err := range r.blocks(ctx, Query{}) {
		if err != nil {
			if ctx.Err() != nil {
				return v.Verdict, ctx.Err()
			}
			v.broken(v.chain.seq+1, v.To, "the file is damaged here: "+err.Error())
			break
		}
		if v.block(&b); v.Broken != nil {
			break
		}
	}
	v.end()
	return v.Verdict, nil
}

type verifier struct {
	Verdict
	chain chain
	known []Signature
	cut   *cutMark
	cuts  []cutMark // that the chain itself speaks of
}

func (v *verifier) broken(seq int64, at time.Time, why string) {
	if v.Broken == nil {
		v.Broken = &Broken{Seq: seq, At: at, Why: why}
	}
}

func (v *verifier) begin(ctx context.Context, db *sql.DB) error {
	var m cutMark
	err := readMeta(db.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'cut'"), &m)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	v.cut, v.Cut = &m, true
	v.chain.seq, v.chain.head = m.Seq-1, m.head()
	if m.Sig != "" && !validSignature(cutPurpose, m.Seq, m.Before, m.Key, m.Sig) {
		v.broken(m.Seq, m.At, "the place where the book begins is signed wrongly")
	}
	return nil
}

// block follows the chain through a block.
func (v *verifier) block(b *block) {
	if b.first != v.chain.seq+1 {
		v.broken(v.chain.seq+1, v.To, fmt.Sprintf("entries %d to %d are missing", v.chain.seq+1, b.first-1))
		return
	}
	if v.First == 0 {
		v.First = b.first
	}
	var lo, hi int64
	var kinds uint64
	var rec record
	for body := b.body; len(body) > 0; {
		seq := v.chain.seq + 1
		var err error
		if body, err = rec.next(body); err != nil {
			v.broken(seq, v.To, err.Error())
			return
		}
		at, _, _ := publicAt(rec.public) // next has read it
		before := v.chain.head
		if h := v.chain.add(&rec); string(h[:checkSize]) != string(rec.check) {
			v.chain.seq, v.chain.head = seq-1, before
			v.broken(seq, time.Unix(0, at), "it is not what was written")
			return
		}
		if seq == b.first {
			lo, hi = at, at
		}
		lo, hi = min(lo, at), max(hi, at)
		kinds |= v.entry(seq, &rec, before)
		v.Last, v.Head, v.To = seq, "", time.Unix(0, at)
		if v.From.IsZero() {
			v.From = v.To
		}
	}
	switch {
	case b.head != v.chain.head, b.last != v.chain.seq:
		v.broken(b.last, v.To, "the block that ends here has another hash or another end than its entries")
	case b.lo != lo, b.hi != hi, b.kinds&^messageKinds != kinds&^messageKinds:
		v.broken(b.first, v.From, "the block that begins here says of itself what its entries do not")
	}
}

// entry looks at what an entry says of the book, and gives its kind.
func (v *verifier) entry(seq int64, rec *record, before hash) uint64 {
	for i := range rec.personal {
		if rec.personal[i].has && rec.personal[i].erased {
			v.Erased++
			break
		}
	}
	t := rec.kind()
	for _, k := range v.known {
		if k.Seq == seq && k.Hash != hex.EncodeToString(v.chain.head[:]) {
			v.broken(seq, time.Time{}, "it is not the entry that had been signed with the hash "+k.Hash)
		}
	}
	if t != Head && t != Gap && t != Cut {
		return kindBit(t)
	}
	e, err := rec.entry(seq)
	if err != nil {
		v.broken(seq, v.To, err.Error())
		return kindBit(t)
	}
	switch t {
	case Gap:
		v.Gaps++
		v.Lost += int64(e.Count)
	case Head:
		v.signedHead(&e, before)
	case Cut:
		var m cutMark
		if json.Unmarshal(e.Data, &m) == nil {
			v.cuts = append(v.cuts, m)
		}
	}
	return kindBit(t)
}

func (v *verifier) signedHead(e *Entry, before hash) {
	var s Signature
	switch err := json.Unmarshal(e.Data, &s); {
	case err != nil:
		v.broken(e.Seq, e.At, "the signed head can't be read: "+err.Error())
	case s.Seq != e.Seq-1 || s.Hash != hex.EncodeToString(before[:]):
		v.broken(e.Seq, e.At, "the signed head is not the chain's")
	case s.Sig == "":
	case !s.Valid():
		v.broken(e.Seq, e.At, "the head is signed wrongly")
	default:
		v.Heads++
		if len(v.Signed) == 2 {
			v.Signed = v.Signed[:1]
		}
		v.Signed = append(v.Signed, s)
		if !slices.Contains(v.Keys, s.Key) {
			v.Keys = append(v.Keys, s.Key)
		}
	}
}

// end says what is to be said when all was read.
func (v *verifier) end() {
	v.Head = hex.EncodeToString(v.chain.head[:])
	for _, k := range v.known {
		if k.Seq > v.chain.seq {
			v.broken(v.chain.seq+1, v.To, fmt.Sprintf("the book ends here; entry %d had been signed", k.Seq))
		}
	}
	v.OK = v.Broken == nil
}

// kind gives the type of a record without the rest.
func (r *record) kind() Type {
	c := cursor{b: r.public}
	c.byte()
	c.uvarint()
	c.take(8)
	code := int(c.byte())
	if code == 0 {
		return Type(c.text())
	}
	if code < len(typeCodes) {
		return typeCodes[code]
	}
	return ""
}
