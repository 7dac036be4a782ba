package leg

import (
	"encoding/json"
	"fmt"
)

// Encode writes a leg down.
func Encode(l *Leg) ([]byte, error) {
	data, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode leg %s: %w", l.CallID, err)
	}
	return data, nil
}

// Decode reads what [Encode] wrote.
func Decode(data []byte) (*Leg, error) {
	l := new(Leg)
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("decode leg: %w", err)
	}
	switch {
	case l.CallID == "" || l.LocalTag == "":
		return nil, fmt.Errorf("decode leg %q: Call-ID or local tag missing", l.CallID)
	case l.State > Ended:
		return nil, fmt.Errorf("decode leg %q: state %d is not known", l.CallID, l.State)
	case l.Offer.By > Them || l.Offer.In > inPrack:
		return nil, fmt.Errorf("decode leg %q: offer %d/%d is not known", l.CallID, l.Offer.By, l.Offer.In)
	}
	return l, nil
}

// Restored says that a leg was read back after a restart: requests may have gone out after it was written, so the numbers jump ahead. A lower CSeq gets 500
// from the peer; a higher one is always right (RFC 3261 §12.2.2).
func (l *Leg) Restored() {
	const ahead = 1000
	if l.State == Confirmed {
		l.LocalCSeq += ahead
		l.SDPVersion += ahead
	}
}
