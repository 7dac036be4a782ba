// Package leg is one SIP dialog as plain data: tags, CSeq, route set and target, the 2xx that waits for its ACK and the reliable provisional that waits for
// its PRACK, whose offer is open, glare, and the session timer.
//
// A [Leg] opens no socket, starts no goroutine, reads no clock and writes no message. The driver reports what came and what it is about to send, in small
// structs; the leg says what it means ([Decision], [Outcome], [Meaning]) and, from [Leg.Tick], what is due ([Effect]). Randomness comes in as dice.
// Every field is exported, and [Encode] and [Decode] carry a leg over a restart.
//
// # Driving it
//
// A call that comes in: [NewUAS], [Leg.Reply] for each response (before it goes out), [Leg.Acked] for the ACK.
// A call that goes out: [NewUAC], [Leg.Request] for the INVITE, [Leg.Response] for each response, [Leg.Ack] and [Leg.KeepAck] for the ACK of a 2xx.
// In the dialog: [Leg.Request] for what we send, [Leg.Receive] for what comes, [Leg.Pracked] for a PRACK, [Leg.End] at a BYE either way.
//
// It does not know transactions: package txn absorbs repetitions before they come here, and the ACK of a refusal is no business of a leg.
// It never hangs up: that a 2xx is not ACKed or a session timer has run out it only says.
package leg

import (
	"slices"
	"strings"
	"time"
)

// Timers of RFC 3261 table 4, as far as a leg repeats things.
const (
	T1     = 500 * time.Millisecond
	T2     = 4 * time.Second
	linger = 64 * T1
)

// State is how far a dialog has come.
type State uint8

// The states.
const (
	Early     State = iota // no 2xx yet
	Confirmed              // a 2xx came or went
	Ended                  // a BYE came or went, or there will be none
)

// Leg is one dialog. The zero value is of no use; see [NewUAS] and [NewUAC].
type Leg struct {
	UAS   bool  `json:"uas,omitzero"` // the peer sent the first INVITE
	State State `json:"state,omitzero"`

	CallID    string `json:"call_id,omitzero"`
	LocalTag  string `json:"local_tag,omitzero"`
	RemoteTag string `json:"remote_tag,omitzero"` // UAC: empty until a response brings one
	Local     string `json:"local,omitzero"`      // name-addr with parameters but without tag, as written in From (UAC) or To (UAS)
	Remote    string `json:"remote,omitzero"`     // the other one

	LocalCSeq  uint32 `json:"local_cseq,omitzero"`  // of our last request; 0 before the first
	RemoteCSeq uint32 `json:"remote_cseq,omitzero"` // of the peer's last request
	Heard      bool   `json:"heard,omitzero"`       // RemoteCSeq is set (RFC 3261 §12.1.2: the UAC's begins empty)

	Target  string   `json:"target,omitzero"`  // remote target URI (RFC 3261 §12.1)
	Routes  []string `json:"routes,omitzero"`  // route set in sending order, each a full Route value
	Contact string   `json:"contact,omitzero"` // our Contact value

	SDPID      uint64 `json:"sdp_id,omitzero"`      // o= session id of what we send
	SDPVersion uint64 `json:"sdp_version,omitzero"` // o= version of the last one; it only grows (RFC 3264 §8)
	Sent       []byte `json:"sent,omitzero"`        // last session description that counts, ours
	Received   []byte `json:"received,omitzero"`    // and theirs

	Offer       Offer   `json:"offer,omitzero"`
	OurInvite   Pending `json:"our_invite,omitzero"`   // our INVITE without a final response
	TheirInvite Pending `json:"their_invite,omitzero"` // theirs
	OurUpdate   Pending `json:"our_update,omitzero"`
	TheirUpdate Pending `json:"their_update,omitzero"`

	Pending2xx *Repeat   `json:"pending_2xx,omitzero"` // our 2xx to INVITE that waits for its ACK
	Reliable   *Reliable `json:"reliable,omitzero"`    // our reliable provisional that waits for its PRACK
	OurRSeq    uint32    `json:"our_rseq,omitzero"`    // of our last reliable provisional; 0 before the first
	TheirRSeq  uint32    `json:"their_rseq,omitzero"`  // of their last one in order, for OurInvite; 0 before the first
	Acks       []Ack     `json:"acks,omitzero"`        // our last ACKs of a 2xx, newest last

	Allow     []string `json:"allow,omitzero"`     // methods the peer takes
	Supported []string `json:"supported,omitzero"` // extensions the peer knows

	Timer   SessionTimer `json:"timer,omitzero"`
	RetryAt time.Time    `json:"retry_at,omitzero"` // when a request that met a 491 may be tried again
}

// Pending is a request that waits for its final response.
type Pending struct {
	Open bool   `json:"open,omitzero"`
	CSeq uint32 `json:"cseq,omitzero"` // of the last one, also when it is no longer open
	// Dealt says that the request's own offer/answer exchange has begun: a later session description in its responses is a repetition, no new offer.
	Dealt    bool   `json:"dealt,omitzero"`
	Offered  bool   `json:"offered,omitzero"`  // it carried an offer itself
	Accepted bool   `json:"accepted,omitzero"` // our INVITE: its 2xx came
	Contact  string `json:"contact,omitzero"`  // theirs: the target to use once we accept (RFC 6141 §4)
}

// Ack is an ACK of ours as it went out.
type Ack struct {
	CSeq uint32 `json:"cseq"`
	Data []byte `json:"data"`
}

// Invite is what a UAS leg takes from the INVITE that makes it. Strings may point into the message: the leg copies them.
type Invite struct {
	CallID       string
	From         string // From as received, without its tag (see [SplitTag])
	FromTag      string
	To           string
	CSeq         uint32
	Contact      string   // URI of the Contact; empty when it is missing
	RecordRoutes []string // full values in the order of the message
	Allow        []string
	Supported    []string
	SDP          []byte // nil: a late offer
}

// NewUAS makes the leg of a call that comes in (RFC 3261 §12.1.1). localTag and contact are ours.
func NewUAS(in Invite, localTag, contact string) *Leg {
	l := &Leg{
		UAS: true, CallID: in.CallID, LocalTag: localTag, RemoteTag: in.FromTag, Local: in.To, Remote: in.From,
		RemoteCSeq: in.CSeq, Heard: true, Target: in.Contact, Contact: contact,
		TheirInvite: Pending{Open: true, CSeq: in.CSeq},
	}
	if l.Target == "" {
		// RFC 3261 §8.1.1.8 demands a Contact; RFC 2543 §6.13 used From without one.
		l.Target = addressURI(l.Remote)
	}
	pack(&l.CallID, &l.LocalTag, &l.RemoteTag, &l.Local, &l.Remote, &l.Target, &l.Contact)
	l.Routes = packAll(in.RecordRoutes) // taken in order (§12.1.1)
	l.learn(in.Allow, in.Supported)
	l.theirOffer(inInvite, in.CSeq, in.SDP)
	l.TheirInvite.Dealt, l.TheirInvite.Offered = in.SDP != nil, in.SDP != nil
	return l
}

// Call is what a UAC leg begins with.
type Call struct {
	CallID   string
	LocalTag string
	From     string // without tag
	To       string // without tag
	CSeq     uint32 // of the first INVITE
	Target   string // its Request-URI
	Routes   []string
	Contact  string
}

// NewUAC makes the leg of a call that goes out. Its first [Leg.Request] is the INVITE.
func NewUAC(c Call) *Leg {
	l := &Leg{CallID: c.CallID, LocalTag: c.LocalTag, Local: c.From, Remote: c.To, LocalCSeq: c.CSeq - 1, Target: c.Target, Contact: c.Contact}
	pack(&l.CallID, &l.LocalTag, &l.Local, &l.Remote, &l.Target, &l.Contact)
	l.Routes = packAll(c.Routes)
	return l
}

// Fork makes the leg of another branch of our first INVITE, for a response whose To tag is not this leg's (RFC 3261 §13.2.2.4). Give it that response next.
func (l *Leg) Fork() *Leg {
	f := &Leg{
		CallID: l.CallID, LocalTag: l.LocalTag, Local: l.Local, Remote: l.Remote, Target: l.Target, Contact: l.Contact,
		LocalCSeq: l.OurInvite.CSeq, SDPID: l.SDPID, SDPVersion: l.SDPVersion,
		OurInvite: Pending{Open: true, CSeq: l.OurInvite.CSeq, Dealt: l.OurInvite.Offered, Offered: l.OurInvite.Offered},
	}
	if f.OurInvite.Offered {
		f.Sent = l.Sent
		f.Offer = Offer{By: Us, In: inInvite, CSeq: f.OurInvite.CSeq}
	}
	return f
}

// End says that the dialog is over: a BYE came or went, or nobody is there. Nothing is repeated or due any more; ACKs are kept for a 2xx that repeats.
//
// Our INVITE that was cancelled or timed out stays open here: a 200 that crosses makes the dialog all the same, and [Leg.Response] says Answered.
func (l *Leg) End() {
	waiting := !l.UAS && l.State == Early
	l.State = Ended
	if waiting {
		return
	}
	l.Pending2xx, l.Reliable = nil, nil
	l.Timer.RefreshAt, l.Timer.ExpiresAt, l.RetryAt = time.Time{}, time.Time{}, time.Time{}
	l.OurInvite.Open, l.TheirInvite.Open, l.OurUpdate.Open, l.TheirUpdate.Open = false, false, false, false
	l.Offer = Offer{Frozen: l.Offer.Frozen}
}

// Allows says whether the peer takes a method. A peer that sent no Allow is believed to take what every phone takes (RFC 3261 §20.5).
func (l *Leg) Allows(method string) bool {
	if len(l.Allow) == 0 {
		return method != "UPDATE" && method != "PRACK"
	}
	return contains(l.Allow, method)
}

// Supports says whether the peer knows an extension: 100rel, timer, replaces and the like.
func (l *Leg) Supports(option string) bool { return contains(l.Supported, option) }

func contains(list []string, what string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, what) })
}

// learn keeps what the peer says of itself; a message without the header changes nothing.
func (l *Leg) learn(allow, supported []string) {
	if allow != nil {
		l.Allow = internAll(l.Allow, allow)
	}
	if supported != nil {
		l.Supported = internAll(l.Supported, supported)
	}
}
