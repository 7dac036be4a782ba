package txn

import "time"

// Receive reports a request of a peer (never an ACK, see [Table.Acked]). A new one starts a server transaction, to be answered by [Table.Respond];
// a repetition is answered with the last response, on the flow it came by, and owner is that of the first.
func (t *Table[F]) Receive(now time.Time, key Key, owner uint64, flow F, invite, reliable bool, eff []Effect[F]) (isNew bool, _ uint64, _ []Effect[F]) {
	if _, e := t.find(key); e != nil {
		if len(e.data) > 0 { // Trying has nothing to say, Accepted and Confirmed nothing more (RFC 6026 §7.1, RFC 3261 §17.2.1)
			again := t.send(e, e.data)
			again.Flow = flow
			eff = append(eff, again)
		}
		return false, e.owner, eff
	}
	at := t.at(now)
	r, s, end := server, Trying, t.linger // after 64·T1 the client has given up (RFC 4320 §4)
	if invite {
		r, s, end = inviteServer, Proceeding, t.timers.Ring
	}
	place, e := t.add(key, r, s, owner, flow, reliable)
	e.end = at + int64(end)
	t.arm(at, place, e)
	return true, owner, eff
}

// Respond sends a response and keeps it for repetitions. After a final response nothing more goes out, with one exception: the 2xx to an INVITE may be
// repeated through here by its leg until Timer L (RFC 6026 §7.1).
func (t *Table[F]) Respond(now time.Time, key Key, code int, data []byte, eff []Effect[F]) []Effect[F] {
	place, e := t.find(key)
	if e == nil {
		return eff
	}
	at := t.at(now)
	switch e.role {
	case inviteServer:
		eff = t.respondInvite(at, e, code, data, eff)
	case server:
		if !e.state.unanswered() {
			return eff
		}
		eff = append(eff, t.send(e, data))
		switch {
		case code < 200:
			t.enter(e, Proceeding)
		case e.reliable:
			return t.finish(place, e, eff) // Timer J is zero
		default:
			t.enter(e, Completed)
			e.end = at + int64(t.linger) // Timer J
		}
		e.data = data
	case client, inviteClient:
		return eff
	}
	t.arm(at, place, e)
	return eff
}

// respondInvite: RFC 3261 §17.2.1 as changed by RFC 6026.
func (t *Table[F]) respondInvite(at int64, e *entry[F], code int, data []byte, eff []Effect[F]) []Effect[F] {
	twoxx := code >= 200 && code < 300
	if e.state != Proceeding {
		if e.state == Accepted && twoxx {
			return append(eff, t.send(e, data))
		}
		return eff
	}
	eff = append(eff, t.send(e, data))
	switch {
	case code < 200:
		e.data, e.end = data, at+int64(t.timers.Ring)
	case twoxx:
		t.enter(e, Accepted)
		e.data, e.end = nil, at+int64(t.linger) // Timer L; the leg keeps the 2xx
	default:
		t.enter(e, Completed)
		e.data, e.end = data, at+int64(t.linger) // Timer H
		if !e.reliable {                         // Timer G
			e.every = t.timers.T1
			e.again = at + int64(e.every)
		}
	}
	return eff
}

// Acked reports an ACK. It is known when it acknowledges a final refusal of ours, and then it needs nothing more. Otherwise it belongs to a 2xx, whatever
// its branch: give it to the leg.
func (t *Table[F]) Acked(now time.Time, key Key, eff []Effect[F]) (known bool, _ []Effect[F]) {
	place, e := t.find(key)
	if e == nil || e.role != inviteServer {
		return false, eff
	}
	switch e.state {
	case Completed:
		if e.reliable {
			return true, t.finish(place, e, eff) // Timer I is zero
		}
		t.enter(e, Confirmed)
		at := t.at(now)
		e.data, e.again, e.end = nil, never, at+int64(t.timers.T4) // Timer I
		t.arm(at, place, e)
		return true, eff
	case Confirmed:
		return true, eff
	case Trying, Proceeding, Accepted, Expired:
	}
	return false, eff
}
