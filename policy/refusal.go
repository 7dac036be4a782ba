package policy

import "nines/health"

// Meaning is what a refusal means for the call.
type Meaning uint8

// The meanings.
const (
	Next Meaning = iota // ask the next endpoint at once
	End                 // the called party was reached and said no: nobody else is asked
)

// Means says what a final refusal means for a call of a class (R6). Everything that is not listed means the next.
//
// On an emergency call nothing ends the asking: RFC 3261 §16.7 lets a 6xx end a search, but a PBX that says Decline must not end a 999 call.
// A test call is treated as the routine call it is for everybody else.
func Means(class Class, code int) Meaning {
	if class == Emergency {
		return Next
	}
	switch code {
	case 404, 484, 486, 600, 603:
		return End
	default:
		return Next
	}
}

// FinalCode is the refusal that the caller hears after the given refusals of endpoints, in the order in which they came.
//
// An emergency caller's carrier gets 500 whatever happened, so that its own fallback fires (R4). Others get what tells them most: the refusal that
// ended the asking, else a 480, else 500. Never 503, which would stop the carrier's next calls as well, and no 6xx but a person's 603.
func FinalCode(class Class, codes []int) (code int, text string) {
	if class == Emergency {
		return 500, "Server Internal Error"
	}
	unavailable := false
	for i := len(codes) - 1; i >= 0; i-- {
		switch codes[i] {
		case 404:
			return 404, "Not Found"
		case 484:
			return 484, "Address Incomplete"
		case 486, 600:
			return 486, "Busy Here"
		case 603:
			return 603, "Decline"
		case 480:
			unavailable = true
		}
	}
	if unavailable {
		return 480, "Temporarily Unavailable"
	}
	return 500, "Server Internal Error"
}

// Busy says whether a refusal means that the endpoint is full for the next 5 s (R14).
func Busy(code int) bool { return code == 480 || code == 486 || code == 600 }

// Evidence says what a response to a call's INVITE tells health about the endpoint that sent it (R14). ok is false where it tells nothing: a 100,
// and refusals that blame the number, the offer, the caller or our own CANCEL.
func Evidence(code int) (what health.CallOutcome, ok bool) {
	switch {
	case code > 100 && code < 200:
		return health.CallRang, true
	case code >= 200 && code < 300:
		return health.CallAnswered, true
	case Busy(code):
		return health.CallBusy, true
	case code == 408, code >= 500 && code < 600:
		return health.CallFailed, true
	default:
		return 0, false
	}
}
