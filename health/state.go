package health

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// State is what must survive a restart: holds, and what calls brought down (R18, R45). It is plain data.
type State struct {
	Holds []Hold `json:"holds"`
	Trips []Trip `json:"trips,omitempty"`
}

// Trip is an endpoint that calls brought down.
type Trip struct {
	Endpoint EndpointName  `json:"endpoint"`
	Since    time.Time     `json:"since"`
	Evidence string        `json:"evidence"`
	HoldDown time.Duration `json:"hold_down"`
}

// State gives what should be written down now. The driver writes it when it differs from what it wrote last.
func (j *Judge) State() State {
	s := State{Holds: j.Holds()}
	for _, w := range j.order {
		if w.tripped {
			s.Trips = append(s.Trips, Trip{Endpoint: w.endpoint.Name, Since: w.since, Evidence: w.evidence, HoldDown: w.holdDown})
		}
	}
	return s
}

// Restore takes what was written down before a restart. Holds keep their ends; what calls brought down is down, and begins its hold-down anew.
func (j *Judge) Restore(now time.Time, s State) {
	j.RestoreHolds(now, s.Holds)
	for _, t := range s.Trips {
		w := j.of[t.Endpoint]
		if w == nil || w.tripped {
			continue
		}
		from := w.verdict
		w.verdict, w.since, w.evidence = Down, now.Add(min(0, t.Since.Sub(now))), t.Evidence
		w.tripped, w.byCall, w.died, w.returning, w.good = true, true, true, false, 0
		w.downAt, w.holdDown = now, min(max(t.HoldDown, j.cfg.HoldDown), max(maxHoldDown, j.cfg.HoldDown))
		j.changed(Change{Name: t.Endpoint, From: from, To: Down, Why: "before the restart: " + t.Evidence, At: now, Died: true})
	}
}

// stateHead begins a state file: what it is and its version. A checksum of all that follows the first line stands behind it.
const stateHead = "nines-health-state"

const stateVersion = 1

// Errors of DecodeState.
var (
	ErrNotState     = errors.New("this is no state file of ours")
	ErrStateVersion = errors.New("a newer version of nines wrote it")
	ErrStateDamaged = errors.New("it is damaged: its checksum does not match")
)

// EncodeState writes a state down, for a file: a line with version and checksum, then JSON.
func EncodeState(s State) ([]byte, error) {
	if s.Holds == nil {
		s.Holds = []Hold{}
	}
	body, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("encode health state: %w", err)
	}
	return sealState(append(body, '\n')), nil
}

func sealState(body []byte) []byte {
	sum := sha256.Sum256(body)
	head := fmt.Sprintf("%s %d %s\n", stateHead, stateVersion, hex.EncodeToString(sum[:]))
	return append([]byte(head), body...)
}

// DecodeState reads what EncodeState wrote. A file that is cut short, changed or of a newer version is an error: start without it.
func DecodeState(b []byte) (State, error) {
	body, err := openState(b)
	if err != nil {
		return State{}, fmt.Errorf("decode health state: %w", err)
	}
	var s State
	if err := json.Unmarshal(body, &s); err != nil {
		return State{}, fmt.Errorf("decode health state: %w", err)
	}
	for i, h := range s.Holds {
		if err := h.check(); err != nil {
			return State{}, fmt.Errorf("decode health state: holds[%d] of %q: %w", i, h.Endpoint, err)
		}
	}
	for i, t := range s.Trips {
		if t.Endpoint == "" {
			return State{}, fmt.Errorf("decode health state: trips[%d]: %w", i, ErrNoEndpoint)
		}
	}
	return s, nil
}

// openState checks the first line and gives the rest.
func openState(b []byte) ([]byte, error) {
	head, body, ok := bytes.Cut(b, []byte("\n"))
	words := bytes.Split(head, []byte(" "))
	if !ok || len(words) != 3 || string(words[0]) != stateHead {
		return nil, ErrNotState
	}
	version, err := strconv.Atoi(string(words[1]))
	switch {
	case err != nil || version < 1:
		return nil, ErrNotState
	case version > stateVersion:
		return nil, fmt.Errorf("version %d: %w", version, ErrStateVersion)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != string(words[2]) {
		return nil, ErrStateDamaged
	}
	return body, nil
}

// check says what is missing in a hold that was written down.
func (h *Hold) check() error {
	switch {
	case h.Endpoint == "":
		return ErrNoEndpoint
	case h.By == "":
		return ErrNoOwner
	case h.Why == "":
		return ErrNoReason
	case !h.Until.After(h.From):
		return ErrNoEnd
	default:
		return nil
	}
}

// EncodeHolds writes down holds alone.
func EncodeHolds(holds []Hold) ([]byte, error) { return EncodeState(State{Holds: holds}) }

// DecodeHolds reads the holds of what EncodeHolds or EncodeState wrote.
func DecodeHolds(b []byte) ([]Hold, error) {
	s, err := DecodeState(b)
	return s.Holds, err
}
