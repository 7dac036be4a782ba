// Package call decides what happens to one call.
//
// A [Call] is a state machine with no hands: it opens no socket, starts no goroutine and reads no clock. What happens is told to it as an
// [Event]; what it wants done it returns as [Action] values, in the order they must be done. Between events the driver sleeps until
// [Call.Wake] and then says [Tick].
//
// It knows nothing of SIP messages: SDP is opaque to it and stays with the driver, keyed by attempt. Transactions repeat themselves (sip/txn), a leg
// repeats its 2xx (sip/leg); the ladder, give-up and the races between answer, cancel and timer are decided here.
package call

import "nines/policy"

// AttemptID numbers a call's attempts from 1 in the order they were asked.
type AttemptID int

// Side names one side of a call that talks.
type Side uint8

// The sides.
const (
	Caller Side = iota
	Callee
)

// Event is something that happened. The set is sealed; Step handles every one.
//
//sumtype:decl
type Event interface{ event() }

// The events.
type (
	// Planned brings a plan. It is the first event of a call, and the answer to NeedPlan.
	Planned struct{ Plan policy.Plan }
	// Trying is a 100 from an attempt.
	Trying struct{ Attempt AttemptID }
	// Rang is a 101–199 from an attempt. SDP says that it carried a session description that the caller could hear.
	Rang struct {
		Attempt AttemptID
		Code    int
		SDP     bool
	}
	// Answered is a first 2xx from an attempt. Usable is false when it carried no answer to our offer.
	Answered struct {
		Attempt AttemptID
		Usable  bool
	}
	// Refused is a final refusal or a failure of the way there. The attempt is over.
	Refused struct {
		Attempt  AttemptID
		Code     int      // status code; 0 when Cause is not Status
		Cause    Cause    // what kind of refusal it was
		Contacts []string // of a 3xx, in order
	}
	// Unreachable is an ICMP error in answer to an attempt. It is spoofable: the attempt lives on, its silence is spent.
	Unreachable struct{ Attempt AttemptID }
	// Died says that the endpoint of an attempt that lives is gone (verdict down, two probes missed, connection lost after it rang): it counts as silent.
	Died struct{ Attempt AttemptID }
	// Full says that an endpoint has no slot now; the driver did not ask it. Until is when it may be tried again (zero: not in this call).
	Full struct {
		Attempt AttemptID
		Until   int64 // Unix nanoseconds, 0 for never
	}
	// Cancelled is the caller's CANCEL (or the loss of the caller before an answer).
	Cancelled struct{}
	// Confirmed is the caller's ACK to our 2xx.
	Confirmed struct{}
	// NeverAcked says that the caller did not ACK our 2xx within 64·T1.
	NeverAcked struct{}
	// HungUp is a BYE from one side of a talking call; the driver has answered it.
	HungUp struct{ Side Side }
	// Lost says that one side of a talking call is gone without a BYE (R44: the caller's leg; a refused ACK or session).
	Lost struct{ Side Side }
	// Tick says that Wake has come.
	Tick struct{}
)

// Cause is the kind of a refusal.
type Cause uint8

// The causes.
const (
	Status    Cause = iota // a final response, see Code
	Transport              // the connection was refused, reset or timed out; TLS failed
	NoAddress              // the name has no address, and never had one
	Timeout                // the transaction ended without a final response
)

// Action is something to be done. The set is sealed. Actions are done in the order they were returned.
//
//sumtype:decl
type Action interface{ action() }

// The actions.
type (
	// NeedPlan asks the driver for a Planned event.
	NeedPlan struct{ Why string }
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
	// Reject sends a final refusal to the caller.
	Reject struct {
		Code int
		Text string
		Why  string
	}
	// HangUp sends a BYE to one side.
	HangUp struct {
		Side Side
		Why  string
	}
	// Note puts a sentence into the call's record.
	Note struct{ Text string }
	// Over says that the call has ended and everything asked is stopped, discarded or hung up. The driver forgets the call when its transactions are done.
	Over struct{ Why string }
)
