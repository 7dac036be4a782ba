package call

import "nines/policy"

// Action is something to be done. The set is sealed. Actions are done in the order they were returned.
//
//sumtype:decl
type Action interface{ action() }

// The actions.
type (
	// NeedPlan asks the driver for a Planned event: for a rescue, unless it says otherwise.
	NeedPlan struct {
		Why string
		// Turn: the caller waits in the line of its route; Waits is an answer too. Divert: for a divert step. Step is the step of the plan's Otherwise,
		// counted from 1.
		Turn, Divert bool
		Step         int
		// Person: the call has become an emergency on this route, second line. Each later plan is for it too.
		Person policy.RouteName
	}
	// Ask starts an attempt: one INVITE to one endpoint.
	Ask struct {
		Attempt  AttemptID
		Endpoint policy.EndpointName
		Partner  bool
		Target   string // a contact to use instead of the endpoint's URI (a followed 3xx); else empty
		Retarget bool   // not the first attempt: History-Info and Diversion say why (R10)
		Cause    int    // SIP cause for the Reason inside History-Info: 408 silence, 480 …, or the refusal's code
		Why      string // one sentence for the record: "control-room silent for 1s"
	}
	// Stop ends an attempt that has no final response: CANCEL as soon as that is allowed. Elsewhere: somebody else answered
	// (Reason: SIP;cause=200;text="Call completed elsewhere").
	Stop struct {
		Attempt   AttemptID
		Elsewhere bool
		Why       string
	}
	// Resume takes a Stop back, in answer to Woke: the attempt counts again and gets no CANCEL.
	Resume struct {
		Attempt AttemptID
		Why     string
	}
	// Discard ends an attempt whose 2xx nobody wants: ACK, then BYE with a Reason.
	Discard struct {
		Attempt AttemptID
		Why     string
	}
	// Ring sends a 180 without SDP to the caller, or repeats it.
	Ring struct{}
	// Early sends a 183 with this attempt's SDP to the caller and joins their media; from here on the answer is frozen (R44).
	Early struct{ Attempt AttemptID }
	// Aim joins the caller's media with this attempt's.
	Aim struct{ Attempt AttemptID }
	// Answer sends the 200 to the caller, with this attempt's answer.
	Answer struct{ Attempt AttemptID }
	// Reject sends a final refusal to the caller. Later: it says when to try again, a different time to each caller.
	Reject struct {
		Code  int
		Text  string
		Why   string
		Later bool
	}
	// HangUp sends a BYE to one side.
	HangUp struct {
		Side Side
		Why  string
	}
	// Check sends an in-dialog OPTIONS to the endpoint that talks; the driver says Checked, whatever becomes of it. One is out at a time.
	Check struct{}
	// Rescuing says that the endpoint that talks is lost and somebody else is being asked; the caller hears what the route says. It is said once for each
	// loss. Witnesses are the sentences that speak for it, with their times.
	Rescuing struct {
		Lost      AttemptID
		Witnesses []string
	}
	// Kept says that the endpoint came back before anybody else had answered: it keeps the call, the rescue is off.
	Kept struct{ Attempt AttemptID }
	// Replace puts this attempt in the place of the lost endpoint: the relay is aimed at it, and the caller is re-INVITEd if codec, direction, crypto,
	// payload numbers or ptime must change (R21).
	Replace struct{ Attempt AttemptID }
	// Abandon ends the leg of an endpoint that was lost: BYE, for what it is worth, unless its own BYE has come before. That one touches nothing.
	Abandon struct {
		Attempt AttemptID
		Why     string
	}
	// Play has the caller hear an announcement Times times (0: until Hush), after a 200 of ours, or by a 183 where Early is set; a caller who has our 200
	// hears it at once. Ringing: it hears that it rings instead, until Hush. The driver says Announced when it has sent a 200, Played when the last
	// time is over, Unplayable if nothing can be played; where Key is set, Pressed for each key. Key and Stay are what the text may tell: which key leads to
	// a person, or that staying on the line does.
	Play struct {
		Name    policy.AnnouncementName
		Ringing bool
		Early   bool
		Times   int
		Key     string
		Stay    bool
	}
	// Hush ends what Play began.
	Hush struct{ Why string }
	// Escaping says that the call has become an emergency: its caller has left an announcement for a person, or may never be announced to.
	Escaping struct {
		To  policy.RouteName
		Why string
	}
	// Note puts a sentence into the call's record.
	Note struct{ Text string }
	// Over says that the call has ended and everything asked is stopped, discarded or hung up. The driver forgets the call when its transactions are done.
	Over struct{ Why string }
)

func (NeedPlan) action() {}
func (Ask) action()      {}
func (Stop) action()     {}
func (Resume) action()   {}
func (Discard) action()  {}
func (Ring) action()     {}
func (Early) action()    {}
func (Aim) action()      {}
func (Answer) action()   {}
func (Reject) action()   {}
func (HangUp) action()   {}
func (Check) action()    {}
func (Rescuing) action() {}
func (Kept) action()     {}
func (Replace) action()  {}
func (Abandon) action()  {}
func (Play) action()     {}
func (Hush) action()     {}
func (Escaping) action() {}
func (Note) action()     {}
func (Over) action()     {}
