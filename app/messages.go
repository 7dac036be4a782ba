package app

import (
	"encoding/json"

	"nines/console"
	"nines/journal"
)

// messageData is the Data of a CallSignalingMessage: some messages of one call, in order.
type messageData struct {
	Messages []console.CallMessage `json:"messages"`
	Lost     int                   `json:"lost,omitempty"` // others before them, for which there was no room
}

// messagesOf reads the messages of an entry.
func messagesOf(e *journal.Entry) []console.CallMessage {
	var d messageData
	if len(e.Data) > 0 {
		_ = json.Unmarshal(e.Data, &d) // ours
	}
	return d.Messages
}
