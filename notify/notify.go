// Package notify tells people outside what they must know: by webhook and by mail, again and again until somebody acknowledges it, and by a heartbeat
// whose silence is a message too.
//
// A [Desk] keeps what there is to tell as threads: one outage is one thread, however often it is told of. What is newer replaces what is older, so that
// nothing piles up while a receiver is dead, and a receiver that comes back hears how it is now. Every receiver has a goroutine of its own, with its own
// back-off: one that hangs delays nobody else, and whoever tells something never waits.
//
// The room decides nothing about calls and knows nobody: what happened comes in as a [Notice], how it leaves is a [Way]. Drive it with [Open] and
// [Desk.Run]; [Desk.Swap] takes other receivers.
package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Severity says how much a notice matters.
type Severity string

// The severities.
const (
	Info     Severity = "info"     // worth knowing; told once
	Warning  Severity = "warning"  // somebody must see to it; repeated until acknowledged or over
	Critical Severity = "critical" // callers are concerned; repeated until acknowledged, even when it is over
)

// rank orders severities.
func (s Severity) rank() int {
	switch s {
	case Info:
		return 1
	case Warning:
		return 2
	case Critical:
		return 3
	}
	return 0
}

// Notice is something to tell.
type Notice struct {
	// Key says what it is about. A notice with the key of an open thread is news of that thread; with an empty key it stands for itself.
	Key  string
	Code Code
	// Text is the news, in a sentence or two: other words are sent as an update.
	Text string
	// Details are what stands beside it now, a sentence each. They go along with whatever is sent next, and are no reason to send anything.
	Details []string
	// Facts are the same for machines.
	Facts json.RawMessage
	// Public are texts for the public, by language.
	Public map[string]string
	// Room names the control room that alone is told, and only by receivers that are its own.
	Room string
}

// Thread is one thing that is told of: what is known now, and who has seen to it.
type Thread struct {
	ID       string            `json:"id"` // short enough to be typed at night
	Key      string            `json:"key,omitempty"`
	Code     Code              `json:"code"`
	Severity Severity          `json:"severity"`
	Text     string            `json:"text"`
	Details  []string          `json:"details,omitempty"`
	Facts    json.RawMessage   `json:"facts,omitempty"`
	Public   map[string]string `json:"public,omitempty"`
	Room     string            `json:"room,omitempty"`
	Began    time.Time         `json:"began"`
	Updated  time.Time         `json:"updated"` // when Text became what it is
	Version  int               `json:"version"` // counts the texts, from 1
	Over     bool              `json:"over"`
	OverAt   time.Time         `json:"over_at,omitzero"`
	By       string            `json:"acknowledged_by,omitempty"`
	AckedAt  time.Time         `json:"acknowledged_at,omitzero"`
}

// Acknowledged says that somebody has seen to it.
func (t *Thread) Acknowledged() bool { return t.By != "" }

// Waits says that the thread is repeated until somebody acknowledges it.
func (t *Thread) Waits() bool {
	switch t.Severity {
	case Critical:
		return !t.Acknowledged()
	case Warning:
		return !t.Acknowledged() && !t.Over
	case Info:
	}
	return false
}

// Ended says that what lasted is over. What only happened never ends.
func (t *Thread) Ended() bool { return t.Over && t.Key != "" }

// Message is what one receiver is told of a thread.
type Message struct {
	ID       string // the same for every try; a receiver that has seen it may forget the second
	Thread   Thread
	Number   int  // of the thread's messages to this receiver, from 1
	Reminder bool // nothing is new since the last one, nobody has acknowledged
	Node     string
	Agent    string // the program, for User-Agent
}

// Title is the message in a line.
func (m *Message) Title() string {
	word := map[Severity]string{Info: "info", Warning: "WARNING", Critical: "CRITICAL"}[m.Thread.Severity]
	switch {
	case m.Thread.Ended():
		word = "over"
	case m.Reminder:
		word += ", reminder"
	}
	return fmt.Sprintf("%s: %s: %s", m.Node, word, m.Thread.Code.Kind().Title)
}

// Way is how messages reach somebody.
type Way interface {
	// Send sends one message and returns when it has arrived, or why it has not. It returns soon after ctx has ended.
	Send(ctx context.Context, m Message) error
}

// Receiver is somebody who is told.
type Receiver struct {
	Name   string        // for logs and the status; no secret
	Way    Way           // how
	Repeat time.Duration // how often, until somebody acknowledges; 0 means five minutes
	Least  Severity      // nothing below it; empty means everything
	Rooms  []string      // own control rooms: told what is for these rooms alone, and nothing else. Empty: everything else
	Limit  time.Duration // how long one try may take; 0 means 15 s
}

const (
	defaultRepeat = 5 * time.Minute
	defaultLimit  = 15 * time.Second
)

func (r *Receiver) repeat() time.Duration { return cmp.Or(r.Repeat, defaultRepeat) }
func (r *Receiver) limit() time.Duration  { return cmp.Or(r.Limit, defaultLimit) }

// hears says whether a thread is this receiver's business.
func (r *Receiver) hears(t *Thread) bool {
	if t.Room == "" {
		return len(r.Rooms) == 0 && t.Severity.rank() >= r.Least.rank()
	}
	for _, room := range r.Rooms {
		if room == t.Room {
			return true
		}
	}
	return false
}

// What says what became of a thread or message.
type What string

// What may become of them.
const (
	Told         What = "told" // a thread began, or has news
	Ended        What = "over"
	Acknowledged What = "acknowledged"
	Sent         What = "sent" // a receiver has it
	Failed       What = "failed"
	Dropped      What = "dropped" // too many threads
	BeatFailed   What = "heartbeat failed"
	BeatBack     What = "heartbeat arrives again"
	BeatSilent   What = "heartbeat silent" // on purpose: this node takes no calls
	Unkept       What = "not written down"
	Kept         What = "written down again"
)

// Event is told to whoever keeps the book.
type Event struct {
	At       time.Time
	What     What
	Thread   Thread
	Receiver string
	By       string        // who acknowledged
	Err      error         // why something failed
	Tries    int           // of this message, so far
	Took     time.Duration // of the last one
	Retry    time.Duration // when it is tried again
}
