// Package journal keeps the book: what happened to each call, what was believed of each endpoint, and what operators did, append-only and in order.
//
// It knows none of the other rooms. Whoever has something to tell fills an [Entry]; app carries entries from the rooms to the book. Event names follow
// NENA i3 LogEvents where one fits (NENA-STA-010.3 §4.12), the rest begins with "Nines".
package journal

import (
	"encoding/json"
	"time"
)

// Type is the kind of an entry: an i3 LogEvent name, or one of ours. The names are stored: add, never rename.
type Type string

// The types that i3 knows.
const (
	CallStart            Type = "CallStartLogEvent"            // a call came in: Trunk, Route, Class, Caller, Called
	CallEnd              Type = "CallEndLogEvent"              // it is over: Outcome, Code (what the caller got), Took (answer to end), Why
	CallStateChange      Type = "CallStateChangeLogEvent"      // What: ringing, answered, lost, kept, rescued, waiting, escaped; Endpoint, Took
	CallSignalingMessage Type = "CallSignalingMessageLogEvent" // some messages of one call: Count, their full text in Data; kept for journal.keep_messages
	MalformedMessage     Type = "MalformedMessageLogEvent"     // a message was salvaged, or could not be
	RouteRule            Type = "RouteRuleMsgLogEvent"         // the plan of a call: What the endpoints in order, Why
	Route                Type = "RouteLogEvent"                // an endpoint was asked: Endpoint, Partner, Attempt, Why it and why now
	MediaStart           Type = "MediaStartLogEvent"           // first packet of the endpoint: Endpoint
	MediaEnd             Type = "MediaEndLogEvent"             // counters of both sides in Data
	KeepAliveFailure     Type = "KeepAliveFailureLogEvent"     // a probe was missed: Endpoint, Code, Why
	ElementStateChange   Type = "ElementStateChangeLogEvent"   // this node: started, draining, stopped, suspects itself
	ServiceStateChange   Type = "ServiceStateChangeLogEvent"   // a verdict changed: Endpoint, What "up→down", Why
	PolicyChange         Type = "PolicyChangeLogEvent"         // a configuration was taken or refused: What, Why, By
	AnnouncementStart    Type = "AnnouncementStartLogEvent"    // What its name, Data the files' hashes
	AnnouncementEnd      Type = "AnnouncementEndLogEvent"      // What its name, Took, Why it ended
)

// The types that are ours.
const (
	AttemptOutcome Type = "NinesAttemptOutcome" // what became of one ask: Endpoint, Attempt, Outcome, Code, Took, Why
	Witness        Type = "NinesWitness"        // what spoke for the loss of a talking call's endpoint: Endpoint, Why
	OperatorAct    Type = "NinesOperatorAct"    // What (hold, release, treat, untreat, acknowledge, callback), By, Why, Endpoint
	ModeSwitch     Type = "NinesModeSwitch"     // an automatic switch: What (shed, unshed), Route, Why with the evidence
	Callback       Type = "NinesCallback"       // the call-back list: What (listed, cleared), Caller, Why
	Notice         Type = "NinesNotice"         // what an operator should know; also what was sent to whom, and whether it arrived
	Drill          Type = "NinesDrill"          // a rehearsal
	Gap            Type = "NinesGap"            // entries were lost: Count, Why
	Erased         Type = "NinesErased"         // a person's number was erased: Count entries, By, Why
	Head           Type = "NinesHead"           // the signed head of the chain, once a day: Data a Signature
	Cut            Type = "NinesCut"            // old entries were forgotten: Count, Why, Data the signed place where the book now begins
)

// Entry is one line of the book. Only At and Type are always set; what a type uses is said beside it. Caller and Called are personal data: they can be
// masked and erased without breaking the chain.
type Entry struct {
	Seq      int64           `json:"seq"`
	At       time.Time       `json:"at"`
	Type     Type            `json:"type"`
	Call     string          `json:"call,omitempty"`    // this node's name for the call, unique over restarts
	CallID   string          `json:"call_id,omitempty"` // Call-ID of the leg that is spoken of
	Trunk    string          `json:"trunk,omitempty"`
	Route    string          `json:"route,omitempty"`
	Class    string          `json:"class,omitempty"` // emergency, routine, test
	Endpoint string          `json:"endpoint,omitempty"`
	Partner  bool            `json:"partner,omitempty"`
	Attempt  int             `json:"attempt,omitempty"` // of the call, from 1
	Caller   string          `json:"caller,omitempty"`  // the caller's number; empty: withheld
	Called   string          `json:"called,omitempty"`
	Outcome  string          `json:"outcome,omitempty"` // CallEnd: answered, refused, cancelled, lost_talking; AttemptOutcome: answered, refused, failed, silent, stopped, unusable
	Code     int             `json:"code,omitempty"`    // a SIP status code
	What     string          `json:"what,omitempty"`
	Why      string          `json:"why,omitempty"` // a sentence
	By       string          `json:"by,omitempty"`  // who acted
	Count    int             `json:"count,omitempty"`
	Took     time.Duration   `json:"took,omitempty"` // nanoseconds
	Data     json.RawMessage `json:"data,omitempty"`
	Erased   bool            `json:"erased,omitempty"` // when read: something personal stood here and was erased
}
