package leg

import (
	"strings"
	"time"
)

// MinSE is the smallest session interval that there may be (RFC 4028 §4).
const MinSE = 90 * time.Second

// Refresher says who refreshes a session: the side that sends the request in which it stands, or the other.
type Refresher uint8

// The values of the refresher parameter.
const (
	RefresherUnset Refresher = iota
	RefresherUAC
	RefresherUAS
)

// Session is what a message says about session timers (RFC 4028 §4 and §5). Zero durations: the header is missing.
type Session struct {
	Expires   time.Duration // Session-Expires
	Min       time.Duration // Min-SE
	Refresher Refresher
}

// SessionTimer is the session timer of one leg. The driver sets Want and Floor, the rest is negotiated.
type SessionTimer struct {
	Want      time.Duration `json:"want,omitzero"`       // the interval we ask for; 0: we ask for none, but do our part if the peer does
	Floor     time.Duration `json:"floor,omitzero"`      // the smallest we accept, and the largest Min-SE that a peer told us
	Raised    uint8         `json:"raised,omitzero"`     // how often a peer told us a larger one
	Expires   time.Duration `json:"expires,omitzero"`    // agreed; 0: this session does not expire
	Ours      bool          `json:"ours,omitzero"`       // we refresh
	RefreshAt time.Time     `json:"refresh_at,omitzero"` // when we do
	ExpiresAt time.Time     `json:"expires_at,omitzero"` // when it is too late (RFC 4028 §10: some seconds before the interval ends)
}

// AskTimer is what an INVITE or UPDATE of ours says (RFC 4028 §7.1 and §7.4).
func (l *Leg) AskTimer() Session {
	t := l.Timer
	s := Session{Expires: t.Want}
	if t.Floor > MinSE {
		s.Min = t.Floor
	}
	if t.Expires > 0 { // a refresh: the roles stay, seen from who sends it
		s.Expires, s.Refresher = t.Expires, RefresherUAS
		if t.Ours {
			s.Refresher = RefresherUAC
		}
	}
	if s.Expires > 0 {
		s.Expires = max(s.Expires, t.Floor, MinSE)
	}
	return s
}

// Refresh is what renews the session with what counts already (RFC 4028 §7.4): an UPDATE without an offer where the peer takes one, else an INVITE that
// offers once more what it has of us. Empty: there is nothing to offer. Give it to [Leg.Request], and the final response to [Leg.TimerAnswered] or
// [Leg.RefreshRefused].
func (l *Leg) Refresh() (method string, sdp []byte) {
	switch {
	case l.State != Confirmed:
		return "", nil
	case contains(l.Allow, "UPDATE"):
		return "UPDATE", nil
	case l.Sent != nil:
		return "INVITE", l.Sent
	}
	return "", nil
}

// RefreshRefused reports the final refusal of a refresh of ours; 408 stands for silence, 491 also for a leg that was busy. It sets when to try again: at
// once where another request or a longer interval may help, after the time of RFC 3261 §14.1 where two requests met, else when it is due again. gone says
// that the peer does not know the dialog or does not answer: RFC 4028 §10 says BYE, the driver decides.
func (l *Leg) RefreshRefused(now time.Time, method string, code int, minSE time.Duration, dice uint32) (gone bool) {
	t := &l.Timer
	if t.Expires == 0 || l.State == Ended {
		return false
	}
	switch code {
	case 405, 501:
		if method == "UPDATE" {
			l.Allow = without(l.Allow, "UPDATE")
			t.RefreshAt = now
		}
	case 422:
		if l.TimerTooBrief(minSE) {
			t.RefreshAt = now
		}
	case 491:
		t.RefreshAt = now.Add(l.glare(dice))
	}
	return code == 408 || code == 481
}

func without(list []string, what string) []string {
	kept := make([]string, 0, len(list))
	for _, s := range list {
		if !strings.EqualFold(s, what) {
			kept = append(kept, s)
		}
	}
	return kept
}

// TimerAnswered reports what the 2xx to our INVITE or UPDATE said (RFC 4028 §7.2).
func (l *Leg) TimerAnswered(now time.Time, s Session) {
	if s.Expires == 0 {
		l.Timer.Expires, l.Timer.Ours = 0, false
		l.Timer.RefreshAt, l.Timer.ExpiresAt = time.Time{}, time.Time{}
		return
	}
	l.startTimer(now, s.Expires, s.Refresher != RefresherUAS)
}

// mostRaised is how often a peer, and who stands on the way to it, may want a longer interval.
const mostRaised = 4

// TimerTooBrief reports a 422 and its Min-SE (RFC 4028 §7.3). It says whether trying again makes sense: [Leg.AskTimer] asks for more now.
func (l *Leg) TimerTooBrief(minSE time.Duration) bool {
	if minSE <= max(l.AskTimer().Expires, l.Timer.Floor) || l.Timer.Raised == mostRaised {
		return false
	}
	l.Timer.Raised++
	l.Timer.Floor = minSE
	l.Timer.Want = max(l.Timer.Want, minSE)
	return true
}

// TooBrief says whether an INVITE or UPDATE asks for a shorter interval than we accept, and may be told so by a 422 with [SessionTimer.Floor] as Min-SE
// (RFC 4028 §9): only a peer that knows timers understands that.
func (l *Leg) TooBrief(asked Session) bool {
	return asked.Expires > 0 && asked.Expires < l.Timer.Floor && l.Supports("timer")
}

// GrantTimer starts the session timer that our 2xx to an INVITE or UPDATE grants, and gives what the 2xx must say; require says that it needs
// Require: timer (RFC 4028 §9 and table 2). Without Session-Expires in the request it grants Want, if the peer knows timers.
func (l *Leg) GrantTimer(now time.Time, asked Session) (granted Session, require bool) {
	knows := l.Supports("timer")
	granted.Expires = asked.Expires
	if granted.Expires == 0 && knows && l.Timer.Want > 0 {
		granted.Expires = max(l.Timer.Want, asked.Min, l.Timer.Floor, MinSE)
	}
	if granted.Expires < MinSE {
		// Nothing was asked, or less than RFC 4028 §4 allows. We may not grant more than was asked (§9), so this session does not expire.
		l.TimerAnswered(now, Session{})
		return Session{}, false
	}
	granted.Refresher = RefresherUAS // a peer that does not know timers cannot refresh
	if knows && asked.Refresher != RefresherUAS {
		granted.Refresher = RefresherUAC // nobody said: the one who wants it does it
	}
	l.startTimer(now, granted.Expires, granted.Refresher == RefresherUAS)
	return granted, granted.Refresher == RefresherUAC
}

// soonestRefresh is how often we refresh at most, whatever a peer says.
const soonestRefresh = 5 * time.Second

// startTimer starts an interval anew. RFC 4028 §10: refresh at half of it; give up the smaller of 32 s and a third before its end. A peer that says less
// than RFC 4028 §4 allows may hang up by what it said: it is refreshed in that time, but not taken for gone so soon.
func (l *Leg) startTimer(now time.Time, expires time.Duration, ours bool) {
	t := &l.Timer
	t.Ours, t.RefreshAt = ours, time.Time{}
	if ours {
		t.RefreshAt = now.Add(max(expires/2, soonestRefresh))
	}
	expires = max(expires, MinSE)
	t.Expires = expires
	t.ExpiresAt = now.Add(expires - min(linger, expires/3))
}

func (l *Leg) tickTimer(now time.Time, eff []Effect) []Effect {
	t := &l.Timer
	if due(t.ExpiresAt, now) { // said once; who keeps the session goes on refreshing it, if that is its part
		t.ExpiresAt = time.Time{}
		eff = append(eff, Effect{Kind: SessionExpired})
	}
	if due(t.RefreshAt, now) {
		t.RefreshAt = now.Add(linger)
		eff = append(eff, Effect{Kind: RefreshDue})
	}
	return eff
}
