package leg

import "time"

// Reply is a response of ours, as it is about to go out.
type Reply struct {
	Method string // of the request
	CSeq   uint32
	Code   int
	RSeq   uint32 // of a reliable provisional, from NextRSeq; else 0
	SDP    []byte
	Data   []byte // the whole message: kept of a 2xx to INVITE and of a reliable provisional, to repeat it
}

// Sending is what becomes of a response of ours.
type Sending struct {
	Wait   bool    // not now: it comes from Pracked as a Resend, when the one before has its PRACK
	Late   bool    // there is nothing to answer any more: don't send it
	SDP    Meaning // what its session description is
	Undone bool    // an offer came to nothing; Leg.Sent and Leg.Received are what they were before it
}

// MayAnswer says whether a 2xx to INVITE may go out: not while a reliable provisional with a session description waits for its PRACK (RFC 3262 §3).
func (l *Leg) MayAnswer() bool {
	return l.Reliable == nil || !l.Reliable.waitsWithSDP()
}

// Reply notes a response of ours before it goes out.
func (l *Leg) Reply(now time.Time, r Reply) Sending {
	switch r.Method {
	case "INVITE":
		if r.CSeq != l.TheirInvite.CSeq || !l.TheirInvite.Open {
			return Sending{Late: true}
		}
		switch {
		case r.Code < 200:
			return l.ring(now, r)
		case r.Code < 300:
			return l.accept(now, r)
		}
		return l.refuse(r)
	case "UPDATE":
		return l.replyUpdate(r)
	case "PRACK":
		return l.replyOffer(inPrack, r)
	}
	return Sending{}
}

// ring is a provisional response to their INVITE.
func (l *Leg) ring(now time.Time, r Reply) Sending {
	if r.RSeq == 0 {
		switch {
		case r.SDP == nil:
			return Sending{}
		case l.Offer.By == Them && l.Offer.In == inInvite:
			l.Sent, l.Offer.Shown, l.Offer.Frozen = r.SDP, true, true
			return Sending{SDP: Preview}
		case l.TheirInvite.Dealt:
			return Sending{SDP: Again}
		}
		return Sending{SDP: Preview} // of a late offer: it binds nobody yet
	}
	s := Sending{SDP: l.inResponse(r.CSeq, r.SDP), Wait: !l.sentReliable(now, r)}
	if r.SDP != nil {
		l.Offer.Frozen = true
	}
	return s
}

// inResponse deals with a session description in a response of ours to INVITE that arrives for sure.
func (l *Leg) inResponse(cseq uint32, sdp []byte) Meaning {
	switch {
	case sdp == nil:
		return None
	case l.Offer.By == Them && l.Offer.In == inInvite && l.Offer.CSeq == cseq:
		l.ourAnswer(sdp)
		return Answer
	case !l.TheirInvite.Dealt && l.Offer.By == Nobody:
		l.TheirInvite.Dealt = true
		l.ourOffer(inInviteResponse, cseq, sdp)
		return Offered
	}
	return Again
}

// accept is the 2xx to their INVITE. From here the leg repeats it until the ACK (RFC 3261 §13.3.1.4), on any transport.
func (l *Leg) accept(now time.Time, r Reply) Sending {
	s := Sending{SDP: l.inResponse(r.CSeq, r.SDP)}
	if r.SDP == nil {
		s.Undone = l.unanswered(Them, r.CSeq, inInvite)
	}
	first := l.State == Early
	l.State = Confirmed
	l.TheirInvite.Open, l.Offer.Frozen = false, false
	if l.TheirInvite.Contact != "" {
		l.Target, l.TheirInvite.Contact = l.TheirInvite.Contact, ""
	}
	if l.Reliable != nil {
		l.Reliable.stop()
	}
	l.Pending2xx = &Repeat{CSeq: r.CSeq, Data: r.Data, At: now.Add(T1), Every: T1, End: now.Add(linger), First: first}
	return s
}

// unanswered closes an offer whose final response carried no answer. If a provisional had shown one, that counts; else the offer came to nothing.
func (l *Leg) unanswered(by Party, cseq uint32, in Carrier) (undone bool) {
	if l.Offer.Shown && l.Offer.By == by && l.Offer.In == in && l.Offer.CSeq == cseq {
		l.close()
		return false
	}
	return l.withdraw(by, cseq, in)
}

// refuse is a final refusal of their INVITE. Of a re-INVITE nothing remains; of the first one no dialog.
func (l *Leg) refuse(r Reply) Sending {
	l.TheirInvite.Open, l.TheirInvite.Contact, l.Offer.Frozen = false, "", false
	undone := l.withdraw(Them, r.CSeq, inInvite, inInviteResponse)
	if l.Reliable != nil {
		l.Reliable.stop()
	}
	if l.UAS && l.State == Early {
		l.End()
	}
	return Sending{Undone: undone}
}

func (l *Leg) replyUpdate(r Reply) Sending {
	if !l.TheirUpdate.Open || r.CSeq != l.TheirUpdate.CSeq {
		return Sending{Late: true}
	}
	if r.Code < 200 {
		return Sending{}
	}
	l.TheirUpdate.Open = false
	if r.Code < 300 && l.TheirUpdate.Contact != "" {
		l.Target = l.TheirUpdate.Contact // RFC 3311 §5.2: UPDATE refreshes the target
	}
	l.TheirUpdate.Contact = ""
	return l.replyOffer(inUpdate, r)
}

// replyOffer is the final response to an UPDATE or a PRACK that may have carried an offer.
func (l *Leg) replyOffer(in Carrier, r Reply) Sending {
	if r.Code < 200 {
		return Sending{}
	}
	if r.Code < 300 && r.SDP != nil && l.Offer.By == Them && l.Offer.In == in && l.Offer.CSeq == r.CSeq {
		l.ourAnswer(r.SDP)
		return Sending{SDP: Answer}
	}
	return Sending{Undone: l.withdraw(Them, r.CSeq, in)}
}

// Acking is what an ACK of the peer means.
type Acking struct {
	First  bool    // it is the first for our 2xx; the 2xx is not repeated any more
	SDP    Meaning // Answer, when our 2xx was an offer
	Undone bool    // our 2xx was an offer, and the ACK brought no answer
}

// Acked reports an ACK of a 2xx.
func (l *Leg) Acked(cseq uint32, sdp []byte) Acking {
	if l.Pending2xx == nil || l.Pending2xx.CSeq != cseq {
		return Acking{}
	}
	l.Pending2xx = nil
	a := Acking{First: true}
	if l.Offer.By == Us && l.Offer.In == inInviteResponse && l.Offer.CSeq == cseq {
		if sdp == nil {
			a.Undone = l.withdraw(Them, cseq, inInviteResponse)
		} else {
			a.SDP = l.theirAnswer(sdp)
		}
	}
	return a
}
