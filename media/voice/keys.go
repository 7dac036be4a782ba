package voice

import (
	"bytes"
	"mime"
	"strings"
)

// eventKeys are the keys of events 0 to 15 (RFC 4733 §3.2).
const eventKeys = "0123456789*#ABCD"

// EventKey is the key of a telephone-event; 0 for an event that is no key.
func EventKey(code uint8) byte {
	if int(code) >= len(eventKeys) {
		return 0
	}
	return eventKeys[code]
}

// InfoKey reads a key press from the body of a SIP INFO: "Signal=9" in application/dtmf-relay, or "9" alone in application/dtmf. The star and the
// hash are also told as events 10 and 11. False: it tells of no key.
func InfoKey(contentType string, body []byte) (byte, bool) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, false
	}
	switch kind {
	case "application/dtmf":
		signal, _, _ := bytes.Cut(bytes.TrimSpace(body), []byte("\n"))
		if name, value, named := bytes.Cut(signal, []byte("=")); named { // some write the other type's body here
			if !signalName(name) {
				return 0, false
			}
			signal = value
		}
		return signalKey(string(signal))
	case "application/dtmf-relay":
		for line := range bytes.Lines(body) {
			if name, value, _ := bytes.Cut(line, []byte("=")); signalName(name) {
				return signalKey(string(value))
			}
		}
	}
	return 0, false
}

func signalName(b []byte) bool { return strings.EqualFold(string(bytes.TrimSpace(b)), "Signal") }

// signalKey is the key that a signal names.
func signalKey(signal string) (byte, bool) {
	signal = strings.ToUpper(strings.TrimSpace(signal))
	switch signal {
	case "10":
		return '*', true
	case "11":
		return '#', true
	}
	if len(signal) != 1 || !strings.Contains(eventKeys, signal) {
		return 0, false
	}
	return signal[0], true
}
