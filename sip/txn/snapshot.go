package txn

import (
	"fmt"
	"time"
)

// Snapshot is an INVITE transaction without a final response, as plain data: what a restart needs so that no 999 that rings is orphaned. Its JSON is read
// back by later versions. The flow is not in it; the driver saves its own description of that.
type Snapshot struct {
	Key      Key       `json:"key"`
	Owner    uint64    `json:"owner"`
	State    State     `json:"state"`
	Reliable bool      `json:"reliable,omitempty"`
	Rang     bool      `json:"rang,omitempty"`   // client: a provisional response came
	Data     []byte    `json:"data,omitempty"`   // client: the request, until the first provisional; server: the last response
	Asked    bool      `json:"asked,omitempty"`  // client: a CANCEL was asked for
	Cancel   []byte    `json:"cancel,omitempty"` // client: the CANCEL, until somebody answers it
	End      time.Time `json:"end"`              // when it gives up
}

// Save takes a snapshot of one INVITE transaction. It is false for any other, and for one that has its final response: peers repeat those.
func (t *Table[F]) Save(key Key) (Snapshot, bool) {
	_, e := t.find(key)
	if e == nil || e.role != inviteClient && e.role != inviteServer || !e.state.unanswered() {
		return Snapshot{}, false
	}
	cancel := t.cancels[key]
	if e.cancelled && e.rang {
		if _, c := t.find(cancelKey(key)); c != nil && c.state.unanswered() {
			cancel = c.data
		}
	}
	return Snapshot{
		Key: e.key, Owner: e.owner, State: e.state, Reliable: e.reliable, Rang: e.rang, Data: e.data,
		Asked: e.cancelled, Cancel: cancel, End: t.epoch.Add(time.Duration(e.end)),
	}, true
}

// Live calls yield for each INVITE transaction without a final response, in no particular order, until it says false.
func (t *Table[F]) Live(yield func(Snapshot) bool) {
	for key := range t.index {
		if s, ok := t.Save(key); ok && !yield(s) {
			return
		}
	}
}

// Restore brings a saved transaction back on a flow. A request that nobody has answered is sent again at once; the rest waits for what comes.
func (t *Table[F]) Restore(now time.Time, s Snapshot, flow F, eff []Effect[F]) ([]Effect[F], error) {
	r := inviteServer
	switch {
	case len(s.Key) > len("c INVITE ") && s.Key[:len("c INVITE ")] == "c INVITE ":
		r = inviteClient
	case len(s.Key) > len("s INVITE ") && s.Key[:len("s INVITE ")] == "s INVITE ":
	default:
		return eff, fmt.Errorf("restore transaction %q: not an INVITE", s.Key)
	}
	if !s.State.unanswered() || r == inviteServer && s.State != Proceeding {
		return eff, fmt.Errorf("restore transaction %q: it was %s", s.Key, s.State)
	}
	if _, taken := t.index[s.Key]; taken {
		return eff, fmt.Errorf("restore transaction %q: it is here already", s.Key)
	}
	at := t.at(now)
	place, e := t.add(s.Key, r, s.State, s.Owner, flow, s.Reliable)
	e.data, e.rang, e.cancelled = s.Data, s.Rang, s.Asked
	e.end = max(at+int64(t.timers.T1), int64(s.End.Sub(t.epoch))) // at least one round trip to find out
	if s.Cancel != nil {
		t.cancels[s.Key] = s.Cancel
	}
	if r == inviteClient && s.State == Trying {
		eff = append(eff, t.send(e, e.data))
		if !e.reliable {
			e.every = t.timers.T1
			e.again = at + int64(e.every)
		}
	}
	if e.rang {
		eff = t.cancelNow(at, e, eff)
	}
	t.arm(at, place, e)
	return eff, nil
}
