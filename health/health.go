// Package health decides what we believe about each endpoint, from probes and from calls, and keeps the operators' holds.
//
// It is pure: what happened is told to a [Judge] with the time at which it happened; verdicts, explanations and the probes that are due are read
// from it. It opens no socket, starts no goroutine and reads no clock. One owner drives it; others read the immutable [Snapshot] it makes.
package health

import "time"

// EndpointName names a place that can answer.
type EndpointName string

// Verdict is what we believe about an endpoint. It orders a plan and never empties it.
type Verdict uint8

// The verdicts. Unknown (start-up) is treated as Suspect.
const (
	Unknown Verdict = iota
	Up
	Suspect
	Down
)

// Outcome is what became of one probe.
type Outcome uint8

// The outcomes of a probe.
const (
	Alive       Outcome = iota // a final response that is neither 408 nor 5xx (501 is alive)
	Refused                    // 408 or 5xx
	Silent                     // nothing within the timeout
	Unreachable                // ICMP, or the connection was refused
)

// Probe is the result of one OPTIONS.
type Probe struct {
	Endpoint EndpointName
	Address  string // the address that was probed, for the explanation
	Outcome  Outcome
	Code     int           // status code, 0 without a response
	RTT      time.Duration // with a response
}

// CallOutcome is what one real call showed about an endpoint.
type CallOutcome uint8

// The call outcomes that health is told about.
const (
	CallAnswered CallOutcome = iota // 2xx with a usable answer
	CallRang                        // 18x
	CallSilent                      // nothing within patience, or only a 100 within progress
	CallFailed                      // 408, 5xx, or the transport failed
	CallBusy                        // 480, 486, 600: full for 5 s, no evidence of death
)
