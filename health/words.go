package health

import "fmt"

// String gives the word that operators read.
func (v Verdict) String() string {
	switch v {
	case Unknown:
		return "unknown"
	case Up:
		return "up"
	case Suspect:
		return "suspect"
	case Down:
		return "down"
	default:
		return fmt.Sprintf("verdict %d", uint8(v))
	}
}

// MarshalText makes a verdict a word in JSON.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a verdict's word.
func (v *Verdict) UnmarshalText(text []byte) error {
	for _, w := range []Verdict{Unknown, Up, Suspect, Down} {
		if w.String() == string(text) {
			*v = w
			return nil
		}
	}
	return fmt.Errorf("read verdict: %q is none", text)
}

// String gives the word that operators and metrics use.
func (o Outcome) String() string {
	switch o {
	case Alive:
		return "ok"
	case Refused:
		return "refused"
	case Silent:
		return "silent"
	case Unreachable:
		return "unreachable"
	default:
		return fmt.Sprintf("outcome %d", uint8(o))
	}
}

// MarshalText makes an outcome a word in JSON.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads an outcome's word.
func (o *Outcome) UnmarshalText(text []byte) error {
	for _, w := range []Outcome{Alive, Refused, Silent, Unreachable} {
		if w.String() == string(text) {
			*o = w
			return nil
		}
	}
	return fmt.Errorf("read outcome of a probe: %q is none", text)
}

// String gives the word that operators and metrics use.
func (c CallOutcome) String() string {
	switch c {
	case CallAnswered:
		return "answered"
	case CallRang:
		return "rang"
	case CallSilent:
		return "silent"
	case CallFailed:
		return "failed"
	case CallBusy:
		return "busy"
	case CallRefused:
		return "refused"
	case CallTalked:
		return "talked"
	case CallOneWay:
		return "one-way audio"
	case CallNoMedia:
		return "no media"
	case CallCleared:
		return "cleared"
	case CallCancelled:
		return "cancelled"
	case CallTrying:
		return "trying"
	case CallQuiet:
		return "quiet"
	default:
		return fmt.Sprintf("call outcome %d", uint8(c))
	}
}

// OutcomeOf is the outcome of a probe that got a final response with this status code (R13): alive, except 408 and 5xx, but 501 is alive.
func OutcomeOf(code int) Outcome {
	if code == 408 || code >= 500 && code < 600 && code != 501 {
		return Refused
	}
	return Alive
}
