package leg

import "time"

// Response is what a leg needs of a response to a request of ours. Strings may point into the message.
type Response struct {
	Method       string // of the CSeq
	CSeq         uint32
	Code         int
	ToTag        string
	Contact      string   // URI
	RecordRoutes []string // full values in the order of the message
	RSeq         uint32   // of a reliable provisional (it has Require: 100rel); else 0
	SDP          []byte
	Allow        []string
	Supported    []string
}

// News is what a response means.
type News uint8

// The kinds of news.
const (
	Nothing  News = iota // not for us, too late, out of order, or a 100
	Ringing              // a provisional
	Answered             // the first 2xx to this INVITE: ACK it
	Repeated             // a 2xx that was ACKed before, or a reliable provisional that was PRACKed: see ReAck
	Forked               // of another dialog of our INVITE: see Fork
	Done                 // a 2xx to another request
	Refused              // a final refusal
)

// Outcome is what a response means and changed.
type Outcome struct {
	News   News
	SDP    Meaning
	RAck   RAck // RSeq ≠ 0: a PRACK with this RAck must be sent
	Undone bool // our offer came to nothing; Leg.Sent and Leg.Received are what they were before it
	// NoAnswer says that a 2xx should have answered our offer and did not, and no provisional had either.
	NoAnswer bool
	// Gone says that the peer does not know the dialog, or is not there (RFC 3261 §12.2.1.2: 481, 408). The leg has not ended: the driver decides.
	Gone bool
}

// Response reports a response to a request of ours in this dialog, or to the INVITE that makes it. 64·T1 without one may be reported as a 408.
func (l *Leg) Response(_ time.Time, r Response) Outcome {
	switch r.Method {
	case "INVITE":
		switch {
		case r.Code <= 100:
			return Outcome{}
		case r.Code < 200:
			return l.rang(r)
		case r.Code < 300:
			return l.answered(r)
		}
		return l.inviteRefused(r)
	case "UPDATE":
		return l.updated(r)
	case "PRACK":
		return l.concluded(inPrack, r)
	}
	return l.concluded(inNothing, r)
}

// rang is a provisional response to our INVITE.
func (l *Leg) rang(r Response) Outcome {
	if !l.OurInvite.Open || r.CSeq != l.OurInvite.CSeq {
		return Outcome{}
	}
	if r.ToTag != "" && l.RemoteTag != "" && r.ToTag != l.RemoteTag {
		return Outcome{News: Forked}
	}
	out := Outcome{News: Ringing}
	if r.RSeq != 0 {
		// RFC 3262 §4: each must follow the one before; a repetition and one out of order are dropped.
		switch {
		case l.TheirRSeq != 0 && r.RSeq == l.TheirRSeq:
			return Outcome{News: Repeated}
		case l.TheirRSeq != 0 && r.RSeq != l.TheirRSeq+1:
			return Outcome{}
		}
		l.TheirRSeq = r.RSeq
		out.RAck = RAck{r.RSeq, r.CSeq, "INVITE"}
	}
	if l.State != Confirmed {
		l.establish(r)
	} else if r.RSeq != 0 {
		l.refresh(r.Contact) // RFC 6141 §4.3: of a re-INVITE only what arrives for sure moves the target
	}
	if r.RSeq != 0 {
		out.SDP = l.heardSDP(r)
	} else if r.SDP != nil {
		out.SDP = l.preview(r)
	}
	return out
}

// preview is a session description in an unreliable provisional.
func (l *Leg) preview(r Response) Meaning {
	if l.OurInvite.Dealt && l.Offer.By != Us {
		return Again
	}
	if l.Offer.By == Us { // the answer to come; without an offer of ours it is an offer to come, and counts for nothing yet
		l.Received = append([]byte(nil), r.SDP...)
		l.Offer.Shown = true
	}
	return Preview
}

// heardSDP deals with a session description in a reliable provisional or a 2xx to our INVITE.
func (l *Leg) heardSDP(r Response) Meaning {
	switch {
	case r.SDP == nil:
		return None
	case l.Offer.By == Us && l.Offer.In == inInvite && l.Offer.CSeq == r.CSeq:
		return l.theirAnswer(r.SDP)
	case !l.OurInvite.Dealt && l.Offer.By == Nobody:
		l.OurInvite.Dealt = true
		return l.theirOffer(inInviteResponse, r.CSeq, r.SDP)
	}
	return Again
}

// answered is a 2xx to our INVITE. It makes the dialog, whatever we thought of it before: a 200 that crossed our CANCEL has to be ACKed and hung up.
func (l *Leg) answered(r Response) Outcome {
	switch {
	case r.CSeq == 0 || l.OurInvite.CSeq == 0:
		return Outcome{}
	case l.RemoteTag != "" && r.ToTag != l.RemoteTag:
		return Outcome{News: Forked}
	case r.CSeq != l.OurInvite.CSeq || l.OurInvite.Accepted:
		return Outcome{News: Repeated}
	}
	if !l.OurInvite.Open && l.State != Confirmed && l.OurInvite.Offered && l.Offer.By == Nobody {
		l.open(Us, inInvite, r.CSeq) // it was refused, or reported as silent, before; so this is the answer to an offer that we had closed
	}
	if l.State == Confirmed {
		l.refresh(r.Contact)
		l.learn(r.Allow, r.Supported)
	} else {
		l.establish(r)
	}
	l.State = Confirmed
	l.OurInvite.Open, l.OurInvite.Accepted = false, true
	out := Outcome{News: Answered, SDP: l.heardSDP(r)}
	if r.SDP == nil && l.Offer.By == Us && l.Offer.In == inInvite && l.Offer.CSeq == r.CSeq {
		out.Undone = l.unanswered(Us, r.CSeq, inInvite)
		out.NoAnswer = out.Undone
	}
	return out
}

// establish makes the dialog, or completes it: RFC 3261 §12.1.2, and §13.2.2.4 for the 2xx, which settles the route set.
func (l *Leg) establish(r Response) {
	l.learn(r.Allow, r.Supported)
	if r.ToTag == "" {
		if r.Code >= 200 { // RFC 2543: a peer without tags
			l.Routes = reversed(r.RecordRoutes)
			l.refresh(r.Contact)
		}
		return
	}
	if l.RemoteTag == "" {
		l.RemoteTag = copied(r.ToTag)
	}
	if r.Code >= 200 || len(r.RecordRoutes) > 0 || r.Contact != "" {
		l.Routes = reversed(r.RecordRoutes)
	}
	l.refresh(r.Contact)
}

func (l *Leg) refresh(contact string) {
	if contact != "" && contact != l.Target {
		l.Target = copied(contact)
	}
}

// inviteRefused is a final refusal of our INVITE.
func (l *Leg) inviteRefused(r Response) Outcome {
	if !l.OurInvite.Open || r.CSeq != l.OurInvite.CSeq {
		return Outcome{}
	}
	l.OurInvite.Open = false
	sent := l.Sent
	out := Outcome{News: Refused, Undone: l.withdraw(Us, r.CSeq, inInvite, inInviteResponse), Gone: l.gone(r.Code)}
	if l.State != Confirmed && l.OurInvite.Offered {
		l.Sent = sent // there was nothing before it, and a fork may still answer it
	}
	return out
}

// gone says whether a refusal means that there is no dialog any more; before the 2xx there was none to lose.
func (l *Leg) gone(code int) bool { return l.State == Confirmed && (code == 481 || code == 408) }

func (l *Leg) updated(r Response) Outcome {
	if !l.OurUpdate.Open || r.CSeq != l.OurUpdate.CSeq || r.Code < 200 {
		return Outcome{}
	}
	l.OurUpdate.Open = false
	if r.Code < 300 {
		l.refresh(r.Contact)
		l.learn(r.Allow, r.Supported)
	}
	return l.concluded(inUpdate, r)
}

// concluded is the final response to anything but INVITE.
func (l *Leg) concluded(in Carrier, r Response) Outcome {
	ours := l.Offer.By == Us && l.Offer.In == in && l.Offer.CSeq == r.CSeq
	switch {
	case r.Code < 200:
		return Outcome{}
	case r.Code >= 300:
		return Outcome{News: Refused, Undone: l.withdraw(Us, r.CSeq, in), Gone: l.gone(r.Code)}
	case ours && r.SDP != nil:
		return Outcome{News: Done, SDP: l.theirAnswer(r.SDP)}
	case ours:
		return Outcome{News: Done, Undone: l.withdraw(Us, r.CSeq, in), NoAnswer: true}
	}
	return Outcome{News: Done}
}
