package leg

import "time"

// EffectKind says what an [Effect] asks for.
type EffectKind uint8

// The kinds of effect.
const (
	Resend         EffectKind = iota // send Data as a response to their INVITE of CSeq, on its flow
	NeverAcked                       // our 2xx got no ACK in 64·T1; RFC 3261 §13.3.1.4 says BYE, the driver decides
	NeverPracked                     // our reliable provisional got no PRACK in 64·T1; RFC 3262 §3 says reject with a 5xx, the driver decides
	RetryDue                         // the time after a 491 is over
	RefreshDue                       // we are to refresh the session (RFC 4028 §10); said again each 32 s until it is done, and after SessionExpired, too
	SessionExpired                   // nobody refreshed it in time; RFC 4028 §10 says BYE, the driver decides
)

// String gives the kind's name.
func (k EffectKind) String() string {
	switch k {
	case Resend:
		return "resend"
	case NeverAcked:
		return "never-acked"
	case NeverPracked:
		return "never-pracked"
	case RetryDue:
		return "retry-due"
	case RefreshDue:
		return "refresh-due"
	case SessionExpired:
		return "session-expired"
	}
	return "?"
}

// Effect is one thing that is due.
type Effect struct {
	Kind EffectKind
	CSeq uint32 // Resend, NeverAcked, NeverPracked: of the INVITE
	Data []byte // Resend
}

// Next says when [Leg.Tick] should be called; the zero time means that there is nothing to wait for.
func (l *Leg) Next() time.Time {
	next := soonest(l.RetryAt, l.Timer.RefreshAt)
	next = soonest(next, l.Timer.ExpiresAt)
	if p := l.Pending2xx; p != nil {
		next = soonest(next, soonest(p.At, p.End))
	}
	if r := l.Reliable; r != nil && !r.Stopped {
		next = soonest(next, soonest(r.At, r.End))
	}
	return next
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func due(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

// Tick appends what is due.
func (l *Leg) Tick(now time.Time, eff []Effect) []Effect {
	if p := l.Pending2xx; p != nil {
		if due(p.End, now) {
			l.Pending2xx = nil
			l.withdraw(Them, p.CSeq, inInviteResponse) // the ACK would have brought the answer
			eff = append(eff, Effect{Kind: NeverAcked, CSeq: p.CSeq})
		} else if due(p.At, now) {
			p.again(now, T2)
			eff = append(eff, Effect{Resend, p.CSeq, p.Data})
		}
	}
	if r := l.Reliable; r != nil && !r.Stopped {
		if due(r.End, now) {
			r.stop()
			eff = append(eff, Effect{Kind: NeverPracked, CSeq: r.CSeq})
		} else if due(r.At, now) {
			r.again(now, linger) // RFC 3262 §3: it doubles, without T2
			eff = append(eff, Effect{Resend, r.CSeq, r.Data})
		}
	}
	if due(l.RetryAt, now) {
		l.RetryAt = time.Time{}
		eff = append(eff, Effect{Kind: RetryDue})
	}
	return l.tickTimer(now, eff)
}

// again sets the next repetition, no rarer than limit.
func (r *Repeat) again(now time.Time, limit time.Duration) {
	r.Every = min(2*max(r.Every, T1/2), limit) // one that was read from a disk may have none, and must not be due for ever
	r.At = now.Add(r.Every)
}
