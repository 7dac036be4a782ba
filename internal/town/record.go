package town

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// State is where a call stands, as one phone sees it.
type State uint8

// The states. A phone at rest has calls that are Over or Ignored, and no others.
const (
	Asked   State = iota // an INVITE was sent or received; nothing but 100 since
	Ringing              // 101–199
	Talking              // 2xx
	Over
	Ignored // the script says nothing to this INVITE
)

// String names the state.
func (s State) String() string {
	switch s {
	case Asked:
		return "asked"
	case Ringing:
		return "ringing"
	case Talking:
		return "talking"
	case Over:
		return "over"
	case Ignored:
		return "ignored"
	}
	return fmt.Sprintf("State(%d)", s)
}

// End is how a call ended.
type End uint8

// The ends.
const (
	NotYet      End = iota
	ByUs            // we sent BYE
	ByPeer          // they sent BYE
	ByCancel        // CANCEL, and 487 to the INVITE
	ByRefusal       // a final refusal other than 487 after CANCEL
	BySilence       // no answer to our INVITE, our 200, or our keepalive
	ByTransport     // the TCP connection failed before an answer
	ByDeath         // this phone was killed
	ByUnknown       // they say they don't know the call (481)
)

// String names the end.
func (e End) String() string {
	names := [...]string{"not yet", "our BYE", "their BYE", "CANCEL", "refusal", "silence", "transport", "death", "unknown call"}
	if int(e) < len(names) {
		return names[e]
	}
	return fmt.Sprintf("End(%d)", e)
}

// Record is what a phone remembers of a call.
type Record struct {
	ID     string // the conversation: the same at caller and callee, if the header X-Town-Call got through
	CallID string // of this leg
	Placed bool   // this phone is the caller
	State  State
	End    End

	Invite *Message  // as sent, or as received
	Asked  time.Time // when the INVITE was sent or received
	Rang   time.Time
	Answer time.Time // when the 2xx was received, or sent
	Ended  time.Time

	Provisionals []int    // 1xx received or sent, in order
	Finals       []int    // finals to the INVITE received or sent; repeats left out: a good call has exactly one
	Tags         []string // different To tags in what a caller received
	CancelSent   bool
	Unacked      bool       // nobody ACKed our 2xx
	Requests     []string   // methods of requests received inside the call, in order, repeats left out
	Replies      []string   // what our requests inside the call got: "BYE 200"
	Reasons      []string   // Reason headers of the CANCEL and BYE received
	SDP          []string   // session descriptions received, in order
	Responses    []*Message // to the INVITE of a caller, in order
	Voice        Voice
	Audio        netip.AddrPort // where it hears, from its answer or its offer on; its RTCP would be the port after
}

// Delay is how long the caller waited for an answer; zero if there was none.
func (r Record) Delay() time.Duration {
	if r.Answer.IsZero() {
		return 0
	}
	return r.Answer.Sub(r.Asked)
}

// String is the call in one line.
func (r Record) String() string {
	role := "received"
	if r.Placed {
		role = "placed"
	}
	return fmt.Sprintf("call %s %s: %s, provisionals %v, finals %v, tags %d, ended by %s after %v", r.ID, role, r.State, r.Provisionals, r.Finals, len(r.Tags), r.End,
		r.Ended.Sub(r.Asked).Round(time.Millisecond))
}

func (r Record) clone() Record {
	r.Provisionals, r.Finals, r.Tags = slices.Clone(r.Provisionals), slices.Clone(r.Finals), slices.Clone(r.Tags)
	r.Requests, r.Replies, r.Reasons = slices.Clone(r.Requests), slices.Clone(r.Replies), slices.Clone(r.Reasons)
	r.Responses = slices.Clone(r.Responses)
	return r
}
