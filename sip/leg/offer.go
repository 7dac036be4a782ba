package leg

import (
	"bytes"
	"strings"
)

// Party is one end of a leg.
type Party uint8

// The parties.
const (
	Nobody Party = iota
	Us
	Them
)

// Carrier is what carried an offer.
type Carrier uint8

// The carriers.
const (
	inNothing Carrier = iota
	inInvite
	inInviteResponse // a reliable provisional or a 2xx: a late offer
	inUpdate
	inPrack
)

// Offer is where the offer/answer exchange of a leg stands (RFC 3264, RFC 3261 §13.2.1, RFC 6337).
type Offer struct {
	By   Party   `json:"by,omitzero"` // whose offer waits for an answer; Nobody: none is open
	In   Carrier `json:"in,omitzero"`
	CSeq uint32  `json:"cseq,omitzero"` // of the request that carried it or whose response did
	// Shown says that an unreliable provisional has shown the answer already.
	Shown bool `json:"shown,omitzero"`
	// Frozen says that a session description of ours went out in a provisional: the 2xx must carry the same (PRODUCT R44), see Leg.Sent.
	Frozen bool `json:"frozen,omitzero"`
	// What counted before the open offer, to return to if it comes to nothing.
	SentBefore     []byte `json:"sent_before,omitzero"`
	ReceivedBefore []byte `json:"received_before,omitzero"`
}

// Meaning is what a session description is in its place.
type Meaning uint8

// The meanings.
const (
	None    Meaning = iota // there is none, or it means nothing there
	Offered                // an offer
	Answer                 // the answer to the open offer
	Preview                // what the answer will be, in an unreliable provisional: usable for early media, not binding
	Again                  // a repetition in a later response of what was dealt with before
)

// String gives the meaning's name.
func (m Meaning) String() string {
	switch m {
	case None:
		return "none"
	case Offered:
		return "offer"
	case Answer:
		return "answer"
	case Preview:
		return "preview"
	case Again:
		return "again"
	}
	return "?"
}

func (l *Leg) open(by Party, in Carrier, cseq uint32) {
	l.Offer = Offer{By: by, In: in, CSeq: cseq, Frozen: l.Offer.Frozen, SentBefore: l.Sent, ReceivedBefore: l.Received}
}

func (l *Leg) ourOffer(in Carrier, cseq uint32, sdp []byte) {
	if sdp == nil {
		return
	}
	l.open(Us, in, cseq)
	l.Sent = sdp
}

func (l *Leg) theirOffer(in Carrier, cseq uint32, sdp []byte) Meaning {
	if sdp == nil {
		return None
	}
	l.open(Them, in, cseq)
	l.Received = bytes.Clone(sdp)
	return Offered
}

func (l *Leg) close() { l.Offer = Offer{Frozen: l.Offer.Frozen} }

func (l *Leg) ourAnswer(sdp []byte) {
	l.Sent = sdp
	l.close()
}

func (l *Leg) theirAnswer(sdp []byte) Meaning {
	l.Received = bytes.Clone(sdp)
	l.close()
	return Answer
}

// withdraw undoes the open offer if it belongs to the request cseq of party: what counted before counts again (RFC 3261 §14.1). The o= version stays where
// it is, because the peer has seen it.
func (l *Leg) withdraw(asker Party, cseq uint32, in ...Carrier) bool {
	o := l.Offer
	if o.By == Nobody || o.CSeq != cseq {
		return false
	}
	for _, c := range in {
		by := asker
		if c == inInviteResponse { // the offer came from who was asked
			by = other(asker)
		}
		if o.In == c && o.By == by {
			l.Sent, l.Received = o.SentBefore, o.ReceivedBefore
			l.close()
			return true
		}
	}
	return false
}

func other(p Party) Party {
	if p == Us {
		return Them
	}
	return Us
}

func copied(s string) string { return strings.Clone(s) }
