package sip

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"nines/health"
	"nines/policy"
	"nines/sip/txn"
	"nines/sip/wire"
)

// watch starts loop 0's second office: judging the endpoints.
func (l *loop) watch(now time.Time, r *routing) {
	hc := r.Health
	if hc.Seed == 0 {
		hc.Seed = l.rnd.Uint64()
	}
	l.judge = health.New(now, hc)
	l.s.health.Store(l.judge.Snapshot())
}

// rewatch takes a new configuration; verdicts and holds survive.
func (l *loop) rewatch(now time.Time, r *routing) {
	l.judge.Reconfigure(now, r.Health)
	l.publish(now)
}

// heard notes that anybody was heard: whether everything is silent tells a dead endpoint from a dead link of ours (R13).
func (l *loop) heard(now time.Time, _ wire.Flow) {
	at := now.UnixNano()
	if at-l.s.lastHeard.Load() > int64(10*time.Millisecond) {
		l.s.lastHeard.Store(at)
	}
}

// stalled tells the judge that we were late ourselves.
func (l *loop) stalled(now time.Time, late time.Duration) {
	l.voided(now)
	if l.judge == nil {
		return
	}
	l.s.count.stalls.Add(1)
	l.log.Warn().Dur("late_ms", late).Msg("we were late ourselves: bad evidence of that time does not count")
	l.judge.Stalled(now, late)
	l.publish(now)
}

// watchTick probes what is due.
func (l *loop) watchTick(now time.Time) {
	l.s.untreat(now)
	l.s.weigh(now)
	next := l.judge.Next()
	if next.IsZero() || next.After(now) {
		return
	}
	l.tellHeard()
	for _, name := range l.judge.Due(now) {
		l.sendProbe(now, name)
	}
	l.publish(now)
}

func (l *loop) tellHeard() {
	if at := l.s.lastHeard.Load(); at > l.toldHeard {
		l.toldHeard = at
		l.judge.Heard(time.Unix(0, at), "somebody")
	}
}

// publish makes what is believed visible to every loop, and says what changed.
func (l *loop) publish(now time.Time) {
	was, is := l.s.health.Load(), l.judge.Snapshot()
	l.s.health.Store(is)
	if was.Generation != is.Generation {
		l.condemn(was, is)
	}
	for _, c := range l.judge.Changes() {
		if c.From != c.To {
			l.log.Warn().Str("endpoint", string(c.Name)).Stringer("from", c.From).Stringer("to", c.To).Str("why", c.Why).Msg("verdict changed")
			l.s.cfg.Observer.Recorded(Record{Kind: VerdictChanged, At: now, Endpoint: c.Name, What: c.From.String() + "→" + c.To.String(), Why: c.Why})
		}
		if c.Died {
			for _, o := range l.s.loops {
				o.post(func(now time.Time) { o.died(now, c.Name) })
			}
		}
	}
	if l.s.health.Load().Self != "" && now.Sub(l.selfSaid) >= time.Second {
		l.selfSaid = now
		for _, o := range l.s.loops {
			o.post(o.voided) // R13: everything is silent at once, nobody is moved
		}
	}
	for _, n := range l.judge.Notices() {
		l.log.Warn().Str("endpoint", string(n.Endpoint)).Str("notice", string(n.Kind)).Msg(n.Text)
		l.s.cfg.Observer.Noticed(n)
		l.s.cfg.Observer.Recorded(Record{Kind: NoticeGiven, At: n.At, Endpoint: n.Endpoint, What: string(n.Kind), Why: n.Text})
	}
}

// condemn tells every loop which endpoints have become a witness against the calls that talk there (R20 c), and which are none any more.
func (l *loop) condemn(was, is *health.Snapshot) {
	r := l.s.routing.Load()
	for i := range r.Endpoints {
		name := r.Endpoints[i].Name
		st := is.Of(name)
		if st.Dead() == was.Of(name).Dead() {
			continue
		}
		for _, o := range l.s.loops {
			o.post(func(now time.Time) { o.condemned(now, name, st.Dead(), string(name)+" is "+st.Words) })
		}
	}
}

// died tells the calls that ask or ring at an endpoint that it is gone (R6).
func (l *loop) died(now time.Time, name policy.EndpointName) {
	for _, s := range l.sorted() {
		for _, at := range s.attempts {
			if at.ep != nil && at.ep.Name == name && (at.sent || at.waits) && !at.final && !at.stopped {
				at.died(now)
			}
		}
	}
}

// sorted lists the loop's calls, so that a night is replayed in the same order.
func (l *loop) sorted() []*session {
	out := make([]*session, 0, len(l.calls))
	for _, id := range slices.Sorted(maps.Keys(l.calls)) {
		out = append(out, l.calls[id])
	}
	return out
}

// probe is one OPTIONS to one endpoint.
type probe struct {
	l    *loop
	name policy.EndpointName
	addr netip.AddrPort
	sent time.Time
	key  txn.Key
	flow wire.Flow
	done bool

	timeout time.Duration                   // 0: health.timeout
	then    func(now time.Time, alive bool) // who asked, if it is not the judge
}

// sendProbe asks an endpoint whether it lives. The request has its own timeout, not Timer F (R13).
func (l *loop) sendProbe(now time.Time, name policy.EndpointName) {
	p := &probe{l: l, name: name, sent: now}
	p.begin(now)
}

func (p *probe) begin(now time.Time) {
	l := p.l
	ep := l.s.routing.Load().byName[p.name]
	if ep == nil {
		return
	}
	ts := l.s.names.targets(ep)
	if len(ts) == 0 {
		p.result(now, health.Unreachable, 0)
		return
	}
	p.addr = ts[0]
	if ep.proto.Stream() {
		l.s.stack.ConnectTo(ep.to(ep.proto, p.addr), func(f wire.Flow, err error) {
			l.post(func(now time.Time) {
				if err != nil {
					p.result(now, health.Unreachable, 0)
					return
				}
				p.send(now, f, ep)
			})
		})
		return
	}
	f, ok := l.s.stack.UDPFlow(p.addr)
	if !ok {
		p.result(now, health.Unreachable, 0)
		return
	}
	p.send(now, f, ep)
}

func (p *probe) send(now time.Time, f wire.Flow, ep *endpoint) {
	l := p.l
	p.flow = f
	tok := token{loop: l.n}
	branch := tok.branch(l.rnd)
	here := l.s.here(f)
	uri := "sip:" + hostPort(ep.host, ep.port)
	if f.Proto.Stream() {
		uri += ";transport=" + strings.ToLower(f.Proto.String())
	}
	b := wire.AppendRequestLine(make([]byte, 0, 512), "OPTIONS", uri)
	b = l.s.appendVia(b, f, branch)
	b = append(b, "Max-Forwards: 70\r\n"...)
	b = wire.AppendHeader(b, "From", "<sip:"+here+">;tag="+tok.text(l.rnd))
	b = wire.AppendHeader(b, "To", "<"+uri+">")
	b = wire.AppendHeader(b, "Call-ID", tok.text(l.rnd))
	b = wire.AppendCSeq(b, 1, "OPTIONS")
	b = wire.AppendHeader(b, "Contact", l.s.contact(f, nil))
	b = wire.AppendHeader(b, "Accept", "application/sdp")
	timeout := p.timeout
	if timeout <= 0 {
		timeout = l.s.routing.Load().Health.Timeout
	}
	if timeout <= 0 {
		timeout = 800 * time.Millisecond
	}
	p.key = l.request(now, "OPTIONS", branch, f, wire.AppendBody(b, nil), timeout, p)
}

func (p *probe) result(now time.Time, o health.Outcome, code int) {
	if p.done {
		return
	}
	p.done = true
	if p.then != nil {
		p.then(now, o == health.Alive)
		return
	}
	out := health.Probe{Endpoint: p.name, Address: p.addr.String(), Outcome: o, Code: code}
	if code != 0 {
		out.RTT = now.Sub(p.sent)
	}
	p.l.tellHeard()
	p.l.judge.Probed(now, out)
	p.l.s.cfg.Observer.Probed(out)
	p.l.probed(now, out)
	p.l.publish(now)
}

func (p *probe) response(now time.Time, m *wire.Message, _ wire.Flow) {
	if m.Status >= 200 {
		p.result(now, health.OutcomeOf(m.Status), m.Status)
	}
}

func (p *probe) failed(now time.Time, why failure) {
	if why == broken {
		p.result(now, health.Unreachable, 0)
		return
	}
	p.l.s.stack.Doubt(p.flow)
	p.result(now, health.Silent, 0)
}

func (p *probe) icmp(now time.Time) {
	p.result(now, health.Unreachable, 0)
	p.l.txns.Forget(p.key)
	delete(p.l.waiting, p.key)
}

// reportSilence tells health about attempts whose patience is spent, also where nobody is left to be asked: a call that got nothing is evidence (R5).
func (s *session) reportSilence(now time.Time) {
	for i := range s.machine.Attempts {
		if !s.machine.Attempts[i].Silent {
			continue
		}
		at := s.attempt(s.machine.Attempts[i].ID)
		if !at.sent || at.final || at.stopped || at.rang || at.reported {
			continue
		}
		at.reported = true
		at.firstWord(now, true)
		why := "got no response for " + now.Sub(at.asked).Round(10*time.Millisecond).String()
		if at.spoke {
			why = "got only a 100 for " + now.Sub(at.asked).Round(10*time.Millisecond).String()
		} else {
			s.loop.s.stack.Doubt(at.flow)
		}
		at.silent(now, why)
		s.loop.s.cfg.Observer.Attempted(at.ep.Name, outcomeSilent)
		at.outcome(now, outcomeSilent, 0, why)
	}
}
