package app

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"nines/configs"
	"nines/console"
	"nines/health"
	"nines/notify"
	"nines/policy"
	"nines/sip/wire"
)

// Status says how the node is.
func (n *Node) Status() console.Status {
	now := time.Now()
	n.mu.Lock()
	f, loaded, accepted, problems, notices := n.file, n.loaded, n.accepted, n.problems, n.notices
	n.mu.Unlock()
	c := n.sip.Counters()
	m := n.relay.Stats()
	st := console.Status{
		Name: f.Name, Version: console.Version{Version: n.opt.Version, Go: runtime.Version()}, Since: n.since,
		UptimeSeconds: int64(now.Sub(n.since).Seconds()), Ready: true, FastPath: "userspace",
		Config:  console.ConfigStatus{Path: n.opt.ConfigPath, Loaded: loaded, Accepted: accepted, Problems: problems},
		Ports:   console.PortStatus{Range: fmt.Sprintf("%d-%d", f.Media.PortMin, f.Media.PortMax), Used: m.InUse, Free: m.Free},
		Media:   console.MediaStatus{Streams: m.InUse, Packets: m.Packets, Bytes: m.Bytes, Dropped: map[string]uint64{"foreign": m.Foreign, "unaimed": m.NoPeer, "send": m.Failed}},
		Notices: append([]string(nil), notices...),
		SIP: console.SIPStatus{
			Received: c.Wire.Received, Sent: c.Wire.Sent, Salvaged: c.Malformed, Retransmissions: c.Resent, Repeats: c.Repeats, Connections: int(c.Wire.StreamsOpen),
			Dropped: map[string]uint64{
				"garbage": c.Garbage + c.Wire.Garbage, "unknown_source": c.Unknown + c.Wire.NotAccepted, "too_large": c.Wire.TooLarge, "handshake": c.Wire.Handshakes,
				"stray": c.Stray, "queue_full": c.Overflow, "too_many": c.Limited + c.Wire.StreamsRefused,
			},
		},
	}
	if f.Media.FastPath == configs.FastPathRequire {
		st.FastPathReason = "this version relays in userspace only"
		st.Notices = append(st.Notices, "media.fast_path: require cannot be met: this version relays in userspace only; calls are not affected")
	}
	st.TLS = n.certs.status(now)
	if err := n.Ready(); err != nil {
		st.Ready, st.NotReady = false, err.Error()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if r, err := n.sip.Residue(ctx); err == nil {
		st.SIP.Transactions = r.Transactions
	}
	for _, l := range n.sip.Listeners() {
		st.Listen = append(st.Listen, lower(l.Proto)+"://"+l.Addr.String())
	}
	n.endpoints(ctx, &st, f)
	n.tallied(&st, f)
	n.routine(&st, f)
	st.Calls.Placed, st.Calls.Answered, st.Calls.Refused, st.Calls.Cleared = c.Calls, c.Answered, c.Rejected, c.Cancelled
	st.Calls.Total, st.Calls.Talking = int(c.Active), int(c.Talking)
	n.tally.rescues(&st.Rescues)
	st.Rescues.Begun, st.Rescues.Rescued, st.Rescues.Kept, st.Rescues.LostTalking = c.Rescues, c.Rescued, c.Kept, c.LostTalking
	st.Rescues.Running = max(int(c.Rescuing), 0)
	book, notices := n.bookStatus(now)
	st.Book, st.CallBacks = book, n.callBackStatus()
	st.Notices = append(st.Notices, notices...)
	st.Calls.Ringing = max(int(c.Active-c.Talking), 0)
	if c.NoPorts > 0 {
		st.Notices = append(st.Notices, fmt.Sprintf("%d times there was no media port for a call, and its audio went past us: widen media.ports", c.NoPorts))
	}
	if c.UnknownInvites > 0 {
		st.Notices = append(st.Notices, fmt.Sprintf("%d INVITEs came from sources that are on no trunk: scanners, or a carrier's new address (the log names it)", c.UnknownInvites))
	}
	if c.Panics > 0 {
		st.Notices = append(st.Notices, fmt.Sprintf("%d messages or timers met a fault of ours; the log has the details", c.Panics))
	}
	return st
}

// bookStatus says how the book is, in words for an operator.
func (n *Node) bookStatus(now time.Time) (console.BookStatus, []string) {
	h, lost := n.book.Health(), n.tally.records.losses()
	b := console.BookStatus{
		Path: h.Path, Written: h.Written, Waiting: h.Waiting, LagSeconds: h.Lag.Seconds(), Lost: h.Lost, RecordsLost: lost.records, MessagesLost: lost.messages, Bytes: h.Size,
		Trouble: h.Error, Since: h.Since,
	}
	b.HEPSent, b.HEPLost = n.tally.records.copies.Counts()
	missing := uint64(h.Lost) + lost.records
	var notices []string
	switch {
	case h.Error != "":
		b.Words = fmt.Sprintf("CANNOT BE WRITTEN for %s: %s; %d entries wait in memory", now.Sub(h.Since).Round(time.Second), h.Error, h.Waiting)
		notices = append(notices, "the book cannot be written, calls are not touched: "+h.Error)
	case h.Lag > bookBehind:
		b.Words = fmt.Sprintf("is behind: %d entries have waited for up to %s for the disk", h.Waiting, h.Lag.Round(time.Second))
		notices = append(notices, "the book "+b.Words)
	default:
		b.Words = fmt.Sprintf("%d entries written to %s (%d MB)", h.Written, h.Path, h.Size>>20)
	}
	if missing > 0 {
		b.Words += fmt.Sprintf("; %d ARE LOST", missing)
		notices = append(notices, fmt.Sprintf("%d things that happened are not in the book: there was no room for them; the book says where", missing))
	}
	if h.Aside != "" {
		notices = append(notices, "the book was damaged and a fresh one was begun; the old one is "+h.Aside)
	}
	return b, notices
}

// bookBehind is how long entries may wait before an operator hears of it.
const bookBehind = 5 * time.Second

// callBackStatus counts who must be rung back.
func (n *Node) callBackStatus() console.CallBackStatus {
	n.desk.mu.Lock()
	defer n.desk.mu.Unlock()
	return console.CallBackStatus{Open: n.desk.list.Open(), Redials: max(n.desk.list.Redials()-n.desk.redialsAt, 0)}
}

func lower(p wire.Proto) string {
	switch p {
	case wire.UDP:
		return "udp"
	case wire.TCP:
		return "tcp"
	case wire.TLS:
		return "tls"
	}
	return "?"
}

// endpoints fills in what is believed of each endpoint, in the order of the file.
func (n *Node) endpoints(ctx context.Context, st *console.Status, f *configs.File) {
	said := map[string]health.Explanation{}
	if all, err := n.sip.Explain(ctx); err == nil {
		for _, e := range all {
			said[string(e.Endpoint)] = e
		}
		if len(all) > 0 && all[0].Self != "" {
			st.Notices = append(st.Notices, all[0].Self)
		}
	}
	st.Notices = append(st.Notices, n.noticeWords()...)
	st.Notices = append(st.Notices, n.memory.words()...)
	st.Notices = append(st.Notices, n.tally.notices.words(time.Now())...)
	for _, e := range f.Endpoints {
		x := said[e.Name]
		es := console.EndpointStatus{
			Name: e.Name, URI: e.URI.String(), Partner: e.Partner, Verdict: x.Verdict.String(), Since: x.Since, Explanation: x.Words(),
			WhatBringsBack: x.BringsBack, NextProbe: x.NextProbe, Calls: n.sip.Used(policy.EndpointName(e.Name)), Limit: e.Calls, Busy: x.BusyUntil != nil,
		}
		es.Returning, es.ResponseMillis, es.LongRunMillis = x.Returning, x.Response, x.LongRun
		for _, c := range x.Calls {
			es.RecentCalls = append(es.RecentCalls, console.CallWindow{
				Class: c.Class, Number: c.Number, From: c.From, To: c.To, Calls: c.Calls, Outcomes: c.Counts, Fails: c.Fails,
			})
		}
		for _, a := range x.Addresses {
			es.Addresses = append(es.Addresses, console.AddressStatus{Address: a.Address, Verdict: a.Verdict.String(), Since: a.Since, Words: a.Words, RTTMillis: a.RTT})
		}
		if x.Evidence != "" {
			es.Evidence = []string{x.Evidence}
		}
		if x.LastProbe != nil {
			es.LastProbe, es.RTTMillis = x.LastProbe.At, x.LastProbe.RTT
		}
		if x.Hold != nil {
			es.Held = true
			h := holdStatus(*x.Hold)
			es.Hold = &h
		}
		st.Endpoints = append(st.Endpoints, es)
	}
}

func (n *Node) tallied(st *console.Status, f *configs.File) {
	orders := map[string][]string{}
	for _, r := range f.Routes {
		for _, step := range n.sip.Outlook(policy.RouteName(r.Name)) {
			orders[r.Name] = append(orders[r.Name], string(step.Endpoint))
		}
	}
	t := n.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tr := range f.Trunks {
		ts := console.TrunkStatus{Name: tr.Name, Kind: string(tr.Kind)}
		if x := t.trunks[policy.TrunkName(tr.Name)]; x != nil {
			ts.Calls, ts.LastSeen = x.active, x.seen
		}
		st.Trunks = append(st.Trunks, ts)
	}
	for _, r := range f.Routes {
		rs := console.RouteStatus{Name: r.Name, Class: string(r.Class), Numbers: r.Numbers, Aid: r.Aid, Order: orders[r.Name]}
		if len(r.Ask) > 0 && len(r.Ask[0]) > 0 {
			rs.Usual = r.Ask[0][0]
		}
		if x := t.routes[policy.RouteName(r.Name)]; x != nil {
			rs.Calls, rs.Latest = x.active, x.latest
		}
		st.Routes = append(st.Routes, rs)
	}
	for i := range st.Endpoints {
		n := t.answers[policy.EndpointName(st.Endpoints[i].Name)]
		st.Endpoints[i].Answered, st.Endpoints[i].AnsweredEmergency = n.all, n.emergency
	}
	st.Calls.ByRoute = map[string]int{}
	for name, r := range t.routes {
		if r.active > 0 {
			st.Calls.ByRoute[string(name)] = r.active
		}
	}
}

// scrape translates the counters of all rooms into metrics.
func (n *Node) scrape(s console.Scrape) {
	st := n.Status()
	s.Status(st)
	c := n.sip.Counters()
	s.Set(console.LoopPanics, float64(c.Panics))
	n.scrapeNotices(s)
	n.mu.Lock()
	f := n.file
	n.mu.Unlock()
	t := n.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known(f)
	for name, r := range t.routes {
		class := className(r.class)
		s.Set(console.CallsTotal, float64(r.answered), string(name), class, "answered")
		s.Set(console.CallsTotal, float64(r.refused), string(name), class, "refused")
		s.Set(console.CallsTotal, float64(r.cleared), string(name), class, "cleared")
	}
	for k, v := range t.attempts {
		s.Set(console.Attempts, float64(v), string(k.endpoint), k.outcome)
	}
	for k, v := range t.probes {
		s.Set(console.Probes, float64(v), string(k.endpoint), probeOutcome(k.outcome))
	}
	for class, h := range t.setup {
		s.Histogram(console.SetupDelay, *h, className(class))
	}
	for class, h := range t.gaps {
		s.Histogram(console.RescueGap, *h, className(class))
	}
}

// known makes counters for what the file names, so that the first of anything is a step from 0: Prometheus sees no increase in what has just appeared. The
// lock is held.
func (t *tally) known(f *configs.File) {
	for i := range f.Routes {
		name := policy.RouteName(f.Routes[i].Name)
		if _, ok := t.routes[name]; !ok {
			t.route(name).class = class(f.Routes[i].Class)
		}
		histogram(t.setup, class(f.Routes[i].Class), console.SetupBuckets)
		histogram(t.gaps, class(f.Routes[i].Class), console.GapBuckets)
	}
	for _, e := range f.Endpoints {
		k := attemptKey{policy.EndpointName(e.Name), "answered"}
		t.attempts[k] += 0
	}
}

func (n *Node) scrapeNotices(s console.Scrape) {
	waiting := map[notify.Severity]float64{notify.Warning: 0, notify.Critical: 0}
	for _, t := range n.outside.Threads() {
		if t.Waits() {
			waiting[t.Severity]++
		}
	}
	for severity, count := range waiting {
		s.Set(console.NoticesWaiting, count, string(severity))
	}
	for _, r := range n.outside.Receivers() {
		s.Set(console.NoticesTotal, float64(r.Sent), r.Name, "sent")
		s.Set(console.NoticesTotal, float64(r.Failed), r.Name, "failed")
		failing := 0.0
		if r.Error != "" {
			failing = 1
		}
		s.Set(console.ReceiverFailing, failing, r.Name)
	}
	beats := n.outside.Beats()
	for _, outcome := range []string{"sent", "failed", "silent"} {
		s.Set(console.Heartbeats, float64(beats[outcome]), outcome)
	}
}

func className(c policy.Class) string {
	switch c {
	case policy.Emergency:
		return "emergency"
	case policy.Routine:
		return "routine"
	case policy.Test:
		return "test"
	}
	return "?"
}

func probeOutcome(o health.Outcome) string {
	switch o {
	case health.Alive:
		return "ok"
	case health.Refused:
		return "refused"
	case health.Silent:
		return "silent"
	case health.Unreachable:
		return "unreachable"
	}
	return "?"
}
