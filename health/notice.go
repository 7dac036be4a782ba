package health

import (
	"fmt"
	"time"
)

// NoticeKind says what an operator should know besides verdicts.
type NoticeKind string

// The kinds of notice.
const (
	HoldSet       NoticeKind = "hold set"
	HoldEnds      NoticeKind = "hold ends soon"
	HoldEnded     NoticeKind = "hold ended"
	Released      NoticeKind = "released"
	EvidenceVoid  NoticeKind = "evidence void"
	SelfSuspected NoticeKind = "we suspect ourselves"
	SelfTrusted   NoticeKind = "we trust ourselves again"

	ReturnBegins      NoticeKind = "returning"           // it is back and must prove itself
	Proven            NoticeKind = "proven"              // it has
	NumberFails       NoticeKind = "fails for a number"  // and answers the others
	NumberAnswers     NoticeKind = "answers that number" // again
	AudioMissing      NoticeKind = "audio missing"       // a call without the endpoint's audio
	AddressChanged    NoticeKind = "address"             // one of several addresses of an endpoint went down, or came back
	Certificate       NoticeKind = "certificate"         // our TLS certificate ends soon, or has ended
	PerhapsNotReached NoticeKind = "perhaps not reached" // callers clear soon after a queue's answer
)

// Notice is something an operator should know.
type Notice struct {
	At       time.Time    `json:"at"`
	Kind     NoticeKind   `json:"kind"`
	Endpoint EndpointName `json:"endpoint,omitempty"` // empty: about ourselves
	Text     string       `json:"text"`
}

func (j *Judge) notice(now time.Time, name EndpointName, kind NoticeKind, format string, args ...any) {
	j.notices = append(j.notices, Notice{At: now, Kind: kind, Endpoint: name, Text: fmt.Sprintf(format, args...)})
}

// Notices gives what there is to tell since it was last asked.
func (j *Judge) Notices() []Notice {
	n := j.notices
	j.notices = nil
	return n
}
