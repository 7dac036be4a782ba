package leg

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Line is the part of a request that its dialog decides (RFC 3261 §12.2.1.1).
type Line struct {
	Method string
	URI    string
	Routes []string // Route values; do not change them
	CSeq   uint32
	From   string // with tag
	To     string // with tag, once there is one
	CallID string
}

// Reasons why a request may not be sent.
var (
	ErrEnded = errors.New("the dialog has ended")
	// ErrBusy: an INVITE or an offer is open, ours or theirs; try again when it is closed (RFC 3261 §14.1, RFC 3311 §5.1).
	ErrBusy = errors.New("another exchange is open")
	// ErrUnacked: a BYE must wait for the ACK of our 2xx, or for NeverAcked (RFC 3261 §15).
	ErrUnacked = errors.New("our 2xx has no ACK yet")
	// ErrEarly: who was called refuses the INVITE instead of sending a BYE (RFC 3261 §15).
	ErrEarly = errors.New("the dialog is early and the peer's")
)

// Request numbers a request of ours and notes it. sdp is the session description that it will carry, nil for none: in INVITE, UPDATE and PRACK it is an offer,
// except in a PRACK for an offer of theirs, where it is the answer. For an ACK see [Leg.Ack]; a CANCEL repeats its INVITE's and has no line of its own.
// A BYE does not end the leg: say [Leg.End].
func (l *Leg) Request(method string, sdp []byte) (Line, error) {
	if err := l.May(method, sdp != nil); err != nil {
		return Line{}, fmt.Errorf("%s in dialog %s: %w", method, l.CallID, err)
	}
	l.LocalCSeq++
	switch method {
	case "INVITE":
		l.OurInvite = Pending{Open: true, CSeq: l.LocalCSeq, Dealt: sdp != nil, Offered: sdp != nil}
		l.TheirRSeq = 0
		l.ourOffer(inInvite, l.LocalCSeq, sdp)
	case "UPDATE":
		l.OurUpdate = Pending{Open: true, CSeq: l.LocalCSeq, Dealt: sdp != nil, Offered: sdp != nil}
		l.ourOffer(inUpdate, l.LocalCSeq, sdp)
	case "PRACK":
		l.ourPrack(sdp)
	}
	return l.line(method, l.LocalCSeq), nil
}

// Ack is the line of the ACK for a 2xx to our INVITE (RFC 3261 §13.2.2.4). sdp is the answer, when the 2xx was an offer. Give the bytes to [Leg.KeepAck].
func (l *Leg) Ack(cseq uint32, sdp []byte) Line {
	switch {
	case l.Offer.By != Them || l.Offer.In != inInviteResponse || l.Offer.CSeq != cseq:
	case sdp != nil:
		l.ourAnswer(sdp)
	default:
		l.withdraw(Us, cseq, inInviteResponse) // we owe an answer and have none: what counted before still does
	}
	return l.line("ACK", cseq)
}

// May says whether a request, with or without an offer, may be sent now: nil, or one of the reasons above. It is what [Leg.Request] asks.
func (l *Leg) May(method string, offer bool) error {
	if l.State == Ended && method != "BYE" {
		return ErrEnded
	}
	open := l.Offer.By != Nobody
	switch method {
	case "INVITE":
		// Without an offer too: the 2xx will be one.
		if l.OurInvite.Open || l.TheirInvite.Open || open || l.OurUpdate.Open {
			return ErrBusy
		}
	case "UPDATE":
		if l.OurUpdate.Open || offer && open {
			return ErrBusy
		}
	case "PRACK":
		if offer && open && !(l.Offer.By == Them && l.Offer.In == inInviteResponse) {
			return ErrBusy
		}
	case "BYE":
		switch {
		case l.UAS && l.State == Early:
			return ErrEarly
		case l.UAS && l.Pending2xx != nil && l.Pending2xx.First:
			return ErrUnacked
		}
	}
	return nil
}

func (l *Leg) line(method string, cseq uint32) Line {
	r := Line{Method: method, URI: l.Target, Routes: l.Routes, CSeq: cseq, From: l.Local + ";tag=" + l.LocalTag, To: l.Remote, CallID: l.CallID}
	if l.RemoteTag != "" {
		r.To += ";tag=" + l.RemoteTag
	}
	if len(l.Routes) > 0 && !loose(l.Routes[0]) {
		// A strict router: it becomes the Request-URI, and the target the last Route (RFC 3261 §12.2.1.1).
		r.URI = requestURI(addressURI(l.Routes[0]))
		r.Routes = append(append(make([]string, 0, len(l.Routes)), l.Routes[1:]...), "<"+l.Target+">")
	}
	return r
}

// KeepAck keeps the bytes of an ACK, so that a 2xx that repeats gets the same ACK again. The two newest are kept.
func (l *Leg) KeepAck(cseq uint32, data []byte) {
	for i := range l.Acks {
		if l.Acks[i].CSeq == cseq {
			l.Acks[i].Data = data
			return
		}
	}
	if len(l.Acks) == 2 {
		l.Acks[0] = l.Acks[1]
		l.Acks = l.Acks[:1]
	}
	l.Acks = append(l.Acks, Ack{cseq, data})
}

// ReAck is the ACK that a 2xx got, nil if it is not known any more.
func (l *Leg) ReAck(cseq uint32) []byte {
	for i := range l.Acks {
		if l.Acks[i].CSeq == cseq {
			return l.Acks[i].Data
		}
	}
	return nil
}

// Incoming is what a leg needs of a request in its dialog. Strings may point into the message.
type Incoming struct {
	Method    string
	CSeq      uint32
	Contact   string // URI; INVITE and UPDATE refresh the target
	SDP       []byte
	Allow     []string
	Supported []string
}

// Decision is what to do with a request.
type Decision struct {
	Code       int           // 0: deal with it. Otherwise answer with this
	RetryAfter time.Duration // for the Retry-After of a 500; 0 without one
	SDP        Meaning       // what its session description is: Offer or None. For PRACK see Pracked
	// Confirms says that it proves that the peer has our 2xx, whose ACK must have been lost; the 2xx is not repeated any more.
	Confirms bool
}

// maxCSeq is the first number that a CSeq may not have (RFC 3261 §8.1.1.5).
const maxCSeq = 1 << 31

// Receive judges a request of the peer in this dialog, anything but ACK and CANCEL. dice is a random number.
func (l *Leg) Receive(in Incoming, dice uint32) Decision {
	switch {
	case in.Method == "BYE" && l.State == Ended:
		return Decision{} // two BYEs crossed
	case l.State == Ended:
		return Decision{Code: 481}
	case in.CSeq >= maxCSeq:
		return Decision{Code: 400}
	case in.Method == "PRACK" && l.Reliable != nil && in.CSeq < l.RemoteCSeq:
		// It was overtaken, its first copies were lost. RFC 3261 §12.2.2 would refuse it, but then our 2xx, which waits for it, would wait in vain; and
		// nothing depends on its order: RAck names what it acknowledges.
		return Decision{}
	case l.Heard && (in.CSeq < l.RemoteCSeq || in.CSeq == l.RemoteCSeq && in.Method != "BYE"):
		// RFC 3261 §12.2.2. The same number again is no repetition, that would have found its transaction; only a BYE is taken even so, because
		// a peer that has hung up is gone, whatever its numbers say.
		return Decision{Code: 500}
	}
	l.RemoteCSeq, l.Heard = in.CSeq, true
	l.learn(in.Allow, in.Supported)
	switch in.Method {
	case "INVITE":
		return l.receiveInvite(in, dice)
	case "UPDATE":
		return l.receiveUpdate(in, dice)
	}
	return Decision{}
}

// receiveInvite: RFC 3261 §14.2.
func (l *Leg) receiveInvite(in Incoming, dice uint32) Decision {
	switch {
	case l.TheirInvite.Open:
		return Decision{Code: 500, RetryAfter: retryAfter(dice)}
	case l.OurInvite.Open || l.Offer.By == Us:
		return Decision{Code: 491}
	case l.Offer.By == Them || l.TheirUpdate.Open:
		return Decision{Code: 500, RetryAfter: retryAfter(dice)}
	}
	d := Decision{SDP: l.theirOffer(inInvite, in.CSeq, in.SDP)}
	l.TheirInvite = Pending{Open: true, CSeq: in.CSeq, Dealt: in.SDP != nil, Offered: in.SDP != nil, Contact: copied(in.Contact)}
	if l.Pending2xx != nil {
		// RFC 5407 §3.1.5: who sends a new INVITE has our 2xx.
		l.Pending2xx = nil
		d.Confirms = true
	}
	return d
}

// receiveUpdate: RFC 3311 §5.2.
func (l *Leg) receiveUpdate(in Incoming, dice uint32) Decision {
	switch {
	case l.TheirUpdate.Open:
		return Decision{Code: 500, RetryAfter: retryAfter(dice)}
	case in.SDP != nil && l.Offer.By == Us:
		return Decision{Code: 491}
	case in.SDP != nil && l.Offer.By == Them:
		return Decision{Code: 500, RetryAfter: retryAfter(dice)}
	}
	l.TheirUpdate = Pending{Open: true, CSeq: in.CSeq, Dealt: in.SDP != nil, Offered: in.SDP != nil, Contact: copied(in.Contact)}
	return Decision{SDP: l.theirOffer(inUpdate, in.CSeq, in.SDP)}
}

// retryAfter is a whole number of seconds from 0 to 10 (RFC 3261 §14.2).
func retryAfter(dice uint32) time.Duration { return time.Duration(dice%11) * time.Second }

// BackOff is how long to wait after a 491 before the request is tried again; [Leg.Tick] says RetryDue then. RFC 3261 §14.1: 2.1 to 4 s for who owns the
// Call-ID, 0 to 2 s for the other, in steps of 10 ms, so that the two don't meet again.
func (l *Leg) BackOff(now time.Time, dice uint32) time.Duration {
	wait := l.glare(dice)
	l.RetryAt = now.Add(wait)
	return wait
}

func (l *Leg) glare(dice uint32) time.Duration {
	if l.UAS {
		return time.Duration(dice%201) * 10 * time.Millisecond
	}
	return 2100*time.Millisecond + time.Duration(dice%191)*10*time.Millisecond
}

// RAck names the reliable provisional that a PRACK acknowledges (RFC 3262 §7.2).
type RAck struct {
	RSeq   uint32
	CSeq   uint32
	Method string
}

// String is the value of the RAck header.
func (r RAck) String() string {
	return strconv.FormatUint(uint64(r.RSeq), 10) + " " + strconv.FormatUint(uint64(r.CSeq), 10) + " " + r.Method
}
