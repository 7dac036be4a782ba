package leg

import "time"

// Repeat is a response that is repeated until it is acknowledged.
type Repeat struct {
	CSeq  uint32        `json:"cseq,omitzero"`
	Data  []byte        `json:"data,omitzero"`
	At    time.Time     `json:"at,omitzero"` // when it is repeated next
	Every time.Duration `json:"every,omitzero"`
	End   time.Time     `json:"end,omitzero"`   // when to give up
	First bool          `json:"first,omitzero"` // a 2xx: it is the one that made the dialog
}

// Reliable is our reliable provisional that waits for its PRACK, and those that wait for it (RFC 3262 §3).
type Reliable struct {
	Repeat
	RSeq    uint32   `json:"rseq,omitzero"`
	SDP     bool     `json:"sdp,omitzero"`
	Stopped bool     `json:"stopped,omitzero"` // a final response went out: it is not repeated any more, but its PRACK is still taken
	Queue   []Queued `json:"queue,omitzero"`
}

// Queued is a reliable provisional that has not gone out yet.
type Queued struct {
	CSeq uint32 `json:"cseq,omitzero"`
	RSeq uint32 `json:"rseq,omitzero"`
	SDP  bool   `json:"sdp,omitzero"`
	Data []byte `json:"data,omitzero"`
}

func (r *Reliable) waitsWithSDP() bool {
	if r.Stopped {
		return false
	}
	for _, q := range r.Queue {
		if q.SDP {
			return true
		}
	}
	return r.SDP
}

func (r *Reliable) stop() {
	r.Stopped, r.Queue = true, nil
}

// NextRSeq is the number for the next reliable provisional: random for the first one, then one more each time (RFC 3262 §3).
func (l *Leg) NextRSeq(dice uint32) uint32 {
	if l.OurRSeq == 0 {
		return dice%(1<<31-1) + 1
	}
	return l.OurRSeq + 1
}

// sentReliable notes a reliable provisional and says whether it goes out now.
func (l *Leg) sentReliable(now time.Time, r Reply) bool {
	l.OurRSeq = r.RSeq
	q := Queued{r.CSeq, r.RSeq, r.SDP != nil, r.Data}
	if l.Reliable != nil && !l.Reliable.Stopped {
		l.Reliable.Queue = append(l.Reliable.Queue, q)
		return false
	}
	l.Reliable = reliable(now, q, nil)
	return true
}

func reliable(now time.Time, q Queued, queue []Queued) *Reliable {
	return &Reliable{
		Repeat: Repeat{CSeq: q.CSeq, Data: q.Data, At: now.Add(T1), Every: T1, End: now.Add(linger)},
		RSeq:   q.RSeq, SDP: q.SDP, Queue: queue,
	}
}

// Pracked reports a PRACK that [Leg.Receive] has let through. ok is false when it acknowledges nothing that waits: answer it 481. Its session description is the
// answer to an offer in our provisional, or a new offer. A provisional that waited its turn comes as a Resend.
func (l *Leg) Pracked(now time.Time, cseq uint32, rack RAck, sdp []byte, eff []Effect) (ok bool, m Meaning, _ []Effect) {
	r := l.Reliable
	if r == nil || rack.RSeq != r.RSeq || rack.CSeq != r.CSeq || rack.Method != "INVITE" {
		return false, None, eff
	}
	l.Reliable = nil
	if len(r.Queue) > 0 {
		l.Reliable = reliable(now, r.Queue[0], r.Queue[1:])
		eff = append(eff, Effect{Resend, l.Reliable.CSeq, l.Reliable.Data})
	}
	switch {
	case sdp == nil:
	case l.Offer.By == Us && l.Offer.In == inInviteResponse:
		m = l.theirAnswer(sdp)
	case l.Offer.By == Nobody:
		m = l.theirOffer(inPrack, cseq, sdp)
	}
	return true, m, eff
}

// ourPrack notes the session description in a PRACK of ours.
func (l *Leg) ourPrack(sdp []byte) {
	if l.Offer.By == Them && l.Offer.In == inInviteResponse {
		if sdp != nil {
			l.ourAnswer(sdp)
		}
		return
	}
	l.ourOffer(inPrack, l.LocalCSeq, sdp)
}
