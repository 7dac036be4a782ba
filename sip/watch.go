package sip

import (
	"maps"
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

// round is the OPTIONS to all addresses of an endpoint. The best of them speaks for it.
type round struct {
	l    *loop
	name policy.EndpointName
	left int // addresses that have not said anything yet
	told bool
	best health.Probe

	timeout time.Duration                   // 0: health.timeout
	then    func(now time.Time, alive bool) // who asked, if it is not the judge
}

// probe is one OPTIONS to one address.
type probe struct {
	*round
	hop  hop
	sent time.Time
	key  txn.Key
	flow wire.Flow
	done bool
}

// sendProbe asks an endpoint whether it lives. The requests have their own timeout, not Timer F (R13).
func (l *loop) sendProbe(now time.Time, name policy.EndpointName) {
	r := &round{l: l, name: name}
	r.begin(now)
}

func (r *round) begin(now time.Time) {
	l := r.l
	ep := l.s.routing.Load().byName[r.name]
	if ep == nil {
		return
	}
	hops := l.s.names.targets(ep, nil)
	if l.judge != nil {
		names := make([]string, len(hops))
		for i, h := range hops {
			names[i] = h.String()
		}
		l.judge.Addresses(now, r.name, names)
	}
	if r.left = len(hops); r.left == 0 {
		r.tell(now, health.Probe{Endpoint: r.name, Outcome: health.Unreachable})
		return
	}
	r.widen(now, ep, hops)
	for _, h := range hops {
		p := &probe{round: r, hop: h, sent: now}
		p.begin(now, ep)
	}
}

// add takes what one address showed. The first that is alive is the endpoint's answer; else the best of all when all have been heard.
func (r *round) add(now time.Time, p health.Probe) {
	r.left--
	if r.best.Endpoint == "" || better(p.Outcome, r.best.Outcome) {
		r.best = p
	}
	if p.Outcome == health.Alive || r.left == 0 {
		r.tell(now, r.best)
	}
}

// better says that an outcome shows more life than another.
func better(a, b health.Outcome) bool {
	life := func(o health.Outcome) int {
		switch o {
		case health.Alive:
			return 3
		case health.Refused:
			return 2
		case health.Unreachable:
			return 1
		case health.Silent:
		}
		return 0
	}
	return life(a) > life(b)
}

func (r *round) tell(now time.Time, out health.Probe) {
	if r.told {
		return
	}
	r.told = true
	if r.then != nil {
		r.then(now, out.Outcome == health.Alive)
		return
	}
	r.l.tellHeard()
	r.l.judge.Probed(now, out)
	r.l.s.cfg.Observer.Probed(out)
	r.l.probed(now, out)
	r.l.publish(now)
}

func (p *probe) begin(now time.Time, ep *endpoint) {
	l := p.l
	if p.hop.proto.Stream() {
		l.s.stack.ConnectTo(ep.to(p.hop.proto, p.hop.addr), func(f wire.Flow, err error) {
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
	f, ok := l.s.stack.UDPFlowVia(ep.Via, p.hop.addr)
	if !ok {
		p.result(now, health.Unreachable, 0)
		return
	}
	p.send(now, f, ep)
}

// port is the port in the Request-URI of a probe: the endpoint's own, where its URI or its transport says one.
func (p *probe) port(ep *endpoint) uint16 {
	if ep.ip.IsValid() || ep.uri.Port != 0 {
		return ep.port
	}
	return p.hop.addr.Port()
}

func (p *probe) send(now time.Time, f wire.Flow, ep *endpoint) {
	l := p.l
	p.flow = f
	tok := token{loop: l.n}
	branch := tok.branch(l.rnd)
	here := l.s.here(f)
	uri := "sip:" + hostPort(ep.host, p.port(ep))
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
	out := health.Probe{Endpoint: p.name, Address: p.hop.String(), Outcome: o, Code: code}
	if code != 0 {
		out.RTT = now.Sub(p.sent)
	}
	if p.l.judge != nil {
		p.l.tellHeard()
		p.l.judge.AddressProbed(now, p.sent, out)
		if p.told {
			p.l.publish(now)
		}
	}
	p.add(now, out)
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
		if at.wide && !at.spoke { // our change of transport is no fault of the endpoint's
			s.loop.s.stack.Doubt(at.flow)
			at.forgo()
			if at.narrow(now) {
				continue
			}
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
