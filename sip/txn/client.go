package txn

import "time"

// Verdict says what a response means to the driver.
type Verdict uint8

// The verdicts.
const (
	// Unknown: it belongs to no transaction of ours. A 2xx to INVITE may still belong to a leg.
	Unknown Verdict = iota
	// Pass: give it to the owner. Each 2xx to INVITE passes, repeated and forked ones too (RFC 6026): the leg tells them apart.
	Pass
	// Repeat: a repetition, or of no use any more; it has been dealt with.
	Repeat
	// Late: the owner has been told that this transaction ended, or had a refusal from it, and now it says something else. A 2xx has to be ACKed and hung
	// up (or used, if nobody has answered yet), a 1xx is a reason to say [Table.Cancel].
	Late
)

// Request starts a client transaction and sends its message. timeout is how long to wait for a response (Timer B) or a final response (Timer F);
// 0 means 64·T1. The key must not be in use: our branches are never used twice.
func (t *Table[F]) Request(now time.Time, key Key, owner uint64, flow F, invite, reliable bool, msg []byte, timeout time.Duration, eff []Effect[F]) []Effect[F] {
	if _, taken := t.index[key]; taken {
		panic("txn: branch used twice: " + string(key))
	}
	if timeout == 0 {
		timeout = t.linger
	}
	r := client
	if invite {
		r = inviteClient
	}
	return t.begin(t.at(now), key, r, owner, flow, reliable, msg, timeout, false, eff)
}

// begin is Request for those who know the role; quiet is for CANCEL.
func (t *Table[F]) begin(at int64, key Key, r role, owner uint64, flow F, reliable bool, msg []byte, timeout time.Duration, quiet bool, eff []Effect[F]) []Effect[F] {
	place, e := t.add(key, r, Trying, owner, flow, reliable)
	e.data, e.end, e.quiet = msg, at+int64(timeout), quiet
	if !reliable { // Timers A and E
		e.every = t.timers.T1
		e.again = at + int64(e.every)
	}
	t.arm(at, place, e)
	return append(eff, t.send(e, msg))
}

// Response reports a response to a request of ours. needAck says that it is a final refusal of an INVITE: build its ACK and give it to [Table.Ack].
func (t *Table[F]) Response(now time.Time, key Key, code int, eff []Effect[F]) (v Verdict, owner uint64, needAck bool, _ []Effect[F]) {
	place, e := t.find(key)
	if e == nil || code < 100 || code > 699 {
		return Unknown, 0, false, eff
	}
	at := t.at(now)
	switch e.role {
	case inviteClient:
		owner = e.owner
		switch {
		case code < 200:
			v, eff = t.invite1xx(at, e, eff)
		case code < 300:
			v = t.invite2xx(at, e)
		default:
			v, needAck, eff = t.inviteRefused(at, e, eff)
		}
		t.arm(at, place, e)
		return v, owner, needAck, eff
	case client:
		owner = e.owner
		v, eff = t.response(at, place, e, code, eff)
		return v, owner, false, eff
	case inviteServer, server:
	}
	return Unknown, 0, false, eff
}

// invite1xx: RFC 3261 §17.1.1.2. The request is not repeated any more.
func (t *Table[F]) invite1xx(at int64, e *entry[F], eff []Effect[F]) (Verdict, []Effect[F]) {
	switch e.state {
	case Trying, Proceeding:
		t.enter(e, Proceeding)
		e.data, e.again = nil, never
		if !e.cancelled {
			e.end = at + int64(t.timers.Ring)
		}
		e.rang = true
		return Pass, t.cancelNow(at, e, eff)
	case Expired:
		e.rang = true
		return Late, t.cancelNow(at, e, eff)
	case Accepted, Completed, Confirmed:
	}
	return Repeat, eff // overtaken by a final response
}

// invite2xx: RFC 6026 §7.2. Timer M starts with the first 2xx.
func (t *Table[F]) invite2xx(at int64, e *entry[F]) Verdict {
	switch e.state {
	case Trying, Proceeding, Expired:
		t.enter(e, Accepted)
		e.data, e.again, e.end = nil, never, at+int64(t.linger)
		t.hush(at, e)
	case Completed:
		// A fork that answers after another's refusal came through. The ACK of the refusal stays.
		e.end = max(e.end, at+int64(t.linger))
		return Late
	case Accepted, Confirmed:
	}
	if e.late {
		return Late
	}
	return Pass
}

// inviteRefused: RFC 3261 §17.1.1.2. Timer D starts; the ACK is kept for repetitions until it ends.
func (t *Table[F]) inviteRefused(at int64, e *entry[F], eff []Effect[F]) (v Verdict, needAck bool, _ []Effect[F]) {
	switch e.state {
	case Trying, Proceeding, Expired:
		t.enter(e, Completed)
		e.data, e.again, e.end = nil, never, at+int64(t.linger)
		t.hush(at, e)
		if e.late {
			return Late, true, eff
		}
		return Pass, true, eff
	case Completed:
		if e.data == nil {
			return Repeat, true, eff
		}
		return Repeat, false, append(eff, t.send(e, e.data))
	case Accepted, Confirmed:
	}
	return Repeat, false, eff
}

// response is the non-INVITE client machine, RFC 3261 §17.1.2.2.
func (t *Table[F]) response(at int64, place uint32, e *entry[F], code int, eff []Effect[F]) (Verdict, []Effect[F]) {
	v := Pass
	if e.quiet {
		v = Repeat // what a peer says to our CANCEL changes nothing: its INVITE has an end of its own
	}
	switch {
	case !e.state.unanswered():
		return Repeat, eff
	case code < 200:
		t.enter(e, Proceeding) // from now on Timer E is T2, see repeat
		return v, eff
	case e.reliable:
		return v, t.finish(place, e, eff) // Timer K is zero
	}
	t.enter(e, Completed)
	e.data, e.again, e.end = nil, never, at+int64(t.timers.T4) // Timer K
	t.arm(at, place, e)
	return v, eff
}

// Ack sends the ACK of a final refusal, and keeps it for repetitions of that refusal until Timer D. On a reliable transport the transaction ends here.
func (t *Table[F]) Ack(now time.Time, key Key, ack []byte, eff []Effect[F]) []Effect[F] {
	place, e := t.find(key)
	if e == nil || e.role != inviteClient || e.state != Completed {
		return eff
	}
	_ = t.at(now)
	eff = append(eff, t.send(e, ack))
	if e.reliable {
		return t.finish(place, e, eff)
	}
	e.data = ack
	return eff
}

// Cancel takes back an INVITE of ours (RFC 3261 §9.1): the CANCEL goes out at once if a provisional response came, else with the first one, and never after
// a final response. From the CANCEL on the INVITE has 64·T1 to end. A second Cancel is ignored. It does not hinder a 2xx that crosses: that passes.
func (t *Table[F]) Cancel(now time.Time, key Key, cancel []byte, eff []Effect[F]) []Effect[F] {
	place, e := t.find(key)
	if e == nil || e.role != inviteClient || e.cancelled || !e.state.unanswered() && e.state != Expired {
		return eff
	}
	e.cancelled = true
	t.cancels[key] = cancel
	if !e.rang {
		return eff
	}
	at := t.at(now)
	eff = t.cancelNow(at, e, eff)
	t.arm(at, place, e)
	return eff
}

// cancelNow sends the CANCEL that waits, if one does.
func (t *Table[F]) cancelNow(at int64, e *entry[F], eff []Effect[F]) []Effect[F] {
	msg, waits := t.cancels[e.key]
	if !waits {
		return eff
	}
	delete(t.cancels, e.key)
	e.end = at + int64(t.linger)
	return t.begin(at, cancelKey(e.key), client, e.owner, e.flow, e.reliable, msg, t.linger, true, eff)
}

// hush ends the CANCEL of an INVITE that has its final response: one that waits is not sent, one on its way is not repeated.
func (t *Table[F]) hush(at int64, e *entry[F]) {
	if !e.cancelled {
		return
	}
	delete(t.cancels, e.key)
	place, c := t.find(cancelKey(e.key))
	if c == nil || !c.state.unanswered() {
		return
	}
	if c.reliable {
		t.free(place, c)
		return
	}
	t.enter(c, Completed)
	c.data, c.again, c.end = nil, never, at+int64(t.timers.T4)
	t.arm(at, place, c)
}
