// Package health decides what we believe about each endpoint, from probes and from calls, and keeps the operators' holds.
//
// The driver owns one [Judge] and does this, in one goroutine:
//
//   - sleep until [Judge.Next], then send one OPTIONS to each endpoint that [Judge.Due] names, and tell what became of it with [Judge.Probed];
//   - tell what calls showed with [Judge.Observed], who was heard with [Judge.Heard], and when it woke late with [Judge.Stalled];
//   - after each of these look at [Judge.Changes] and [Judge.Notices] (to log, and to tell ringing attempts that their endpoint died) and publish
//     [Judge.Snapshot];
//   - write [Judge.State] to a file when it has changed, and give it to [Judge.Restore] after a restart.
//
// How it judges. Two missed probes in a row, or one call that got silence or a failure, make an endpoint suspect; down_after missed probes in a row
// bring it down. One answer lifts a suspicion that probes raised; one that a call raised is lifted by an answered call or by up_after good probes. From
// down it comes up after up_after good probes in a row, once hold_down has passed since it went down. An endpoint that goes down again within ten
// times hold_down after it came up has twice its last hold-down to wait, at most ten minutes. With fail_back: manual it waits for a release as well.
// An answered call counts as a good probe.
//
// Real calls judge by themselves (R14). Silence, 408, 5xx and broken connections of two different callers, with no call going well between them, bring
// an endpoint down; so do three who heard nothing after its 200, or whose audio is one-way by the endpoint's own reports ([Audio]). Busy, other refusals and the caller's CANCEL count neither way. Where only the calls
// to one number are refused while others are answered, the number is named, and the endpoint is down in the plans for that number only
// ([Snapshot.For]). Slow first responses, half of the calls failing, and half of them gone quiet make it suspect for as long as they last. OPTIONS alone never lift what calls
// brought down.
//
// The way back is earned (R17). With fail_back: auto an endpoint that was down or held is returning once probes and hold-down allow: routine calls go
// there in its place, emergency calls last, until three calls had two-way audio, a test call passed, or an operator released it. After ten minutes one
// emergency call at a time may try it, the canary.
//
// What it does not believe: evidence from a window in which we ourselves stalled or lost the link, and 2 s more; and that everything died at once. If
// every endpoint that was not down leaves a probe unanswered since anybody was last heard, trunks too, it suspects ourselves, says so, and moves nothing.
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
	Unreachable                // ICMP from the network, or the connection was refused; an error of our own stack (no route, link down) is Silent
)

// Probe is the result of one OPTIONS. Of an endpoint with several addresses it is the best result of the round.
type Probe struct {
	Endpoint EndpointName
	Address  string // the address that answered, or the last one that did not; for the explanation
	Outcome  Outcome
	Code     int           // status code, 0 without a response
	RTT      time.Duration // with a response
}

// CallOutcome is what one real call showed about an endpoint.
type CallOutcome uint8

// The call outcomes that health is told about.
const (
	CallAnswered  CallOutcome = iota // 2xx with a usable answer
	CallRang                         // 18x
	CallSilent                       // nothing within patience, or only a 100 within progress
	CallFailed                       // 408, 5xx, or the transport failed
	CallBusy                         // 480, 486, 600: full for 5 s, no evidence of death
	CallRefused                      // any other refusal: it blames the number, the offer or us (404, 484, 488, 606), and counts neither way
	CallTalked                       // after its 2xx audio flows both ways
	CallOneWay                       // it talked, and then its audio flowed one way only, by the endpoint's own reports ([Audio])
	CallNoMedia                      // after its 2xx no media came from it
	CallCleared                      // the caller cleared within 30 s of its 2xx; tell it behind answers: queue, it is listed "perhaps not reached"
	CallCancelled                    // the caller's CANCEL: counts neither way; tell nothing when a call was answered elsewhere
	CallTrying                       // a 100 after CallSilent was told: slow, but not silent
	CallQuiet                        // it talked, and then nothing came from an endpoint that makes no reports: one-way audio, or a phone that is muted
)
