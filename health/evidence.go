package health

import (
	"fmt"
	"time"
)

// Class is the class of a call, as policy has it. The zero value is Emergency: what nobody classified is treated as the worst case.
type Class uint8

// The classes.
const (
	Emergency Class = iota
	Routine
	Test // a test call of ours
)

// CallEvidence is what one real call showed about an endpoint (R14). One call may be told of several times as it goes on: rang, answered, talked.
type CallEvidence struct {
	Endpoint EndpointName
	Class    Class
	Number   string // the called number as matched; empty: not known
	Outcome  CallOutcome
	Code     int    // status code of a refusal, 0 without a response: with CallFailed, that the transport failed
	Why      string // the words continue "a call": "got no answer for 1 s", "was refused with 503"
	// Caller tells callers apart: a key made of the caller's number, the same for each of its calls. Empty: not known, and never counted as another.
	Caller string
	// Call names the attempt, so that what is told of it later joins what was told before. Empty: each evidence stands for a call of its own.
	Call string
	// Waited is how long a CallSilent has been waited for; 0: long enough. A silence shorter than Config.Patience (a suspect endpoint gets 300 ms)
	// raises a suspicion at once, and counts as a failure if nothing has come by then.
	Waited time.Duration
	Answer time.Duration // from our INVITE to its first response of any kind; 0: not known
	Talk   time.Duration // how long it has been talking by now; 0: not known
	Canary bool          // the call was the canary of a returning endpoint
}

// CallOutcomeOf is what a final or provisional response to an INVITE shows (R14). ok is false for a 100, which shows nothing yet.
func CallOutcomeOf(code int) (what CallOutcome, ok bool) {
	switch {
	case code <= 100:
		return 0, false
	case code < 200:
		return CallRang, true
	case code < 300:
		return CallAnswered, true
	case code == 480, code == 486, code == 600:
		return CallBusy, true
	case code == 408, code >= 500 && code < 600:
		return CallFailed, true
	default:
		return CallRefused, true
	}
}

// String gives the word that operators and metrics use.
func (c Class) String() string {
	switch c {
	case Emergency:
		return "emergency"
	case Routine:
		return "routine"
	case Test:
		return "test"
	default:
		return fmt.Sprintf("class %d", uint8(c))
	}
}

// MarshalText makes a class a word in JSON.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a class's word.
func (c *Class) UnmarshalText(text []byte) error {
	for _, w := range []Class{Emergency, Routine, Test} {
		if w.String() == string(text) {
			*c = w
			return nil
		}
	}
	return fmt.Errorf("read class: %q is none", text)
}

// good says whether a new call reached somebody or something that rings.
func (c CallOutcome) good() bool { return c == CallAnswered || c == CallRang }

// bad says whether an outcome of signalling counts against an endpoint.
func (c CallOutcome) bad() bool { return c == CallSilent || c == CallFailed }

// deaf says whether an outcome of audio counts against an endpoint.
func (c CallOutcome) deaf() bool { return c == CallOneWay || c == CallNoMedia }
