package town

import (
	"strconv"
	"time"
)

// Behaviour is what a phone does with one INVITE, step by step. A phone without any step ignores the INVITE and its CANCEL, as a hung PBX does.
type Behaviour []Step

// Step is one thing that a phone does with a call.
type Step struct {
	After    time.Duration // since the step before
	Code     int           // the response to send; 0: none
	SDP      bool          // a 101–199 with a session description
	NoSDP    bool          // a 2xx without one
	Reliable bool          // a 101–199 that wants a PRACK, where the caller can (RFC 3262)
	Contacts []string      // instead of our own: where a 3xx points, or what a 2xx lies about
	Headers  []Header      // further headers of the response
	Raw      []byte        // sent instead of a response
	Act      Act           // done after that
}

// Act is something a phone does besides answering.
type Act uint8

// The acts.
const (
	Stay   Act = iota
	HangUp     // BYE
	Freeze     // the whole phone falls silent: it hears nothing and says nothing, but its call-takers go on
	Die        // the whole phone is killed: its sockets close
	Reset      // the TCP connection of the call is reset
)

// Answers rings at once and answers after d.
func Answers(d time.Duration) Behaviour {
	return Behaviour{{Code: 180}, {After: d, Code: 200}}
}

// Ignores says nothing at all.
func Ignores() Behaviour { return nil }

// TriesOnly sends a 100 and nothing else.
func TriesOnly() Behaviour { return Behaviour{{Code: 100}} }

// Rings rings after d and never answers.
func Rings(d time.Duration) Behaviour { return Behaviour{{Code: 100}, {After: d, Code: 180}} }

// Refuses sends a final refusal after d.
func Refuses(code int, d time.Duration) Behaviour {
	return Behaviour{{Code: 100}, {After: d, Code: code}}
}

// Redirects sends a 302 to other places.
func Redirects(contacts ...string) Behaviour { return Behaviour{{Code: 302, Contacts: contacts}} }

// AnswersEmpty answers 200 without a session description.
func AnswersEmpty(d time.Duration) Behaviour {
	return Behaviour{{Code: 180}, {After: d, Code: 200, NoSDP: true}}
}

// AnswersElsewhere answers with a Contact where nobody listens.
func AnswersElsewhere(d time.Duration, contact string) Behaviour {
	return Behaviour{{Code: 180}, {After: d, Code: 200, Contacts: []string{contact}}}
}

// EarlyMedia sends a 183 with a session description and answers after d.
func EarlyMedia(d time.Duration, reliable bool) Behaviour {
	return Behaviour{{Code: 183, SDP: true, Reliable: reliable}, {After: d, Code: 200}}
}

// Garbles sends something that is not SIP.
func Garbles() Behaviour {
	return Behaviour{{Raw: []byte("HTTP/1.1 200 OK\r\nServer: printer\r\n\r\n<html>\x00\xff")}}
}

// RingsThenFreezes rings, and d later the whole phone is a black hole.
func RingsThenFreezes(d time.Duration) Behaviour {
	return Behaviour{{Code: 180}, {After: d, Act: Freeze}}
}

// RingsThenDies rings, and d later the phone's process is gone.
func RingsThenDies(d time.Duration) Behaviour { return Behaviour{{Code: 180}, {After: d, Act: Die}} }

// ChangesItsMind rings, and refuses d later.
func ChangesItsMind(code int, d time.Duration) Behaviour {
	return Behaviour{{Code: 180}, {After: d, Code: code}}
}

// AnswersAndClears answers after d and hangs up talk later.
func AnswersAndClears(d, talk time.Duration) Behaviour {
	return Behaviour{{Code: 180}, {After: d, Code: 200}, {After: talk, Act: HangUp}}
}

// ResetsTCP takes the INVITE and resets the connection.
func ResetsTCP() Behaviour { return Behaviour{{Act: Reset}} }

// Picked answers at once.
func Picked() Behaviour { return Behaviour{{Code: 200}} }

// Always is a script that does the same with every call.
func Always(b Behaviour) func(*Message) Behaviour {
	return func(*Message) Behaviour { return b }
}

// phrases are the reason phrases a phone uses.
var phrases = map[int]string{
	100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress", 199: "Early Dialog Terminated",
	200: "OK", 202: "Accepted", 300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
	400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 480: "Temporarily Unavailable",
	481: "Call/Transaction Does Not Exist", 484: "Address Incomplete", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
	491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Server Time-out",
	600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}

func phrase(code int) string {
	if p := phrases[code]; p != "" {
		return p
	}
	return "Code " + strconv.Itoa(code)
}
