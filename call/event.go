package call

import (
	"time"

	"nines/policy"
)

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
	// Woke is the first sign of life of an attempt that was told to stop and could not be told: no CANCEL may go out before a provisional response.
	// The driver holds the CANCEL back until the call has seen this; unless the call says Resume it is sent then. Trying or Rang follows as usual.
	Woke struct{ Attempt AttemptID }
	// Full says that an endpoint has no slot now; the driver did not ask it. Until is when it may be tried again (zero: not in this call).
	Full struct {
		Attempt AttemptID
		Until   int64 // Unix nanoseconds, 0 for never
	}
	// HeldBack says that the driver has not asked an attempt yet: so many rescues ask its endpoint that this one's INVITE waits for its turn. Left follows
	// when it has come.
	HeldBack struct{ Attempt AttemptID }
	// Left says that the INVITE of an attempt that was held back leaves now.
	Left struct{ Attempt AttemptID }
	// Cancelled is the caller's CANCEL (or the loss of the caller before an answer).
	Cancelled struct{}
	// Confirmed is the caller's ACK to our 2xx.
	Confirmed struct{}
	// NeverAcked says that the caller did not ACK our 2xx within 64·T1.
	NeverAcked struct{}
	// HungUp is a BYE from one side of a talking call; the driver has answered it.
	HungUp struct {
		Side Side
		// Attempt is whose BYE it is, where Side is Callee; 0 means whoever is bound to the caller. From anybody else it touches nothing.
		Attempt AttemptID
		// Suspicious says that the BYE may come from a dying endpoint and that the driver probes it (R23). It counts only where Side is Callee and the
		// plan says RescueBye: then the caller's BYE is withheld until Condemned, or until this event comes again and is not suspicious.
		Suspicious bool
	}
	// Lost says that one side of a talking call is gone without a BYE (R44: the caller's leg; a refused ACK or session). A callee that is gone is no
	// end where the plan says Rescue: it is one dead request in its dialog, and R20 wants a second witness.
	Lost struct{ Side Side }
	// Hushed says that the media of the endpoint that talks has stopped (R20 a): no packet since Since although SDP lets it send and packets still
	// arrive from somebody else, or an ICMP error came back from its media port. The driver says it again when ICMP comes after mere silence.
	Hushed struct {
		Since time.Time // its last packet; zero if there never was one
		ICMP  bool
	}
	// Voiced says that a packet of the endpoint that talks has come again, after Hushed or while Muted; it is said before the Checked of the Check that
	// was out when the packet came.
	Voiced struct{}
	// Muted says whether SDP tells the endpoint that talks not to send (hold, recvonly, inactive, 0.0.0.0): then its silence is no witness.
	Muted struct{ On bool }
	// Checked is what became of a Check: an in-dialog OPTIONS to the endpoint that talks (R20 b). Dead is silence, 408 or 481 from an endpoint that is known
	// to answer such OPTIONS with 2xx, or an ICMP error; every other response is life.
	Checked struct {
		Dead bool
		ICMP bool
		Why  string // "silent for 1s", "481", "its port is closed (ICMP)"
	}
	// Condemned says that the verdict about the endpoint that talks is down, or that its connection was reset (R20 c). On false: it is no longer so.
	Condemned struct {
		On  bool
		Why string
	}
	// Voided says that we ourselves were late or cut off: no witness of before Until counts (R13). It is said before whatever came in meanwhile. Where
	// a condemnation still holds after Until the driver says it again; silence that lasts is dated anew by the call.
	Voided struct{ Until time.Time }
	// Waits answers a NeedPlan with Turn: it is not the caller's turn before Until. Why: it can't wait at all.
	Waits struct {
		Until time.Time
		Why   string
	}
	// Announced says that Play has answered the caller with a 200 of ours.
	Announced struct{}
	// Played says that what Play began was heard as often as it was to be.
	Played struct{}
	// Unplayable says that Play can't be done: nothing is played.
	Unplayable struct{ Why string }
	// Pressed is a key that the caller has pressed.
	Pressed struct {
		Key string // one of 0-9 * #
		How string // event, tone or info
	}
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

func (Planned) event()     {}
func (Trying) event()      {}
func (Rang) event()        {}
func (Answered) event()    {}
func (Refused) event()     {}
func (Unreachable) event() {}
func (Died) event()        {}
func (Woke) event()        {}
func (Full) event()        {}
func (HeldBack) event()    {}
func (Left) event()        {}
func (Cancelled) event()   {}
func (Confirmed) event()   {}
func (NeverAcked) event()  {}
func (HungUp) event()      {}
func (Lost) event()        {}
func (Hushed) event()      {}
func (Voiced) event()      {}
func (Muted) event()       {}
func (Checked) event()     {}
func (Condemned) event()   {}
func (Voided) event()      {}
func (Waits) event()       {}
func (Announced) event()   {}
func (Played) event()      {}
func (Unplayable) event()  {}
func (Pressed) event()     {}
func (Tick) event()        {}
