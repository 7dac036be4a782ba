package configs

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// builtIn are the announcements that ship with nines.
var builtIn = []string{"report-online", "report-online-down", "high-demand", "high-demand-down", "hold-the-line", "relay"}

// inWelshToo is what follows the name of a built-in announcement that is spoken in Welsh and then in English.
const inWelshToo = "-cy"

// isBuiltIn says that an announcement of this name ships with nines.
func isBuiltIn(name string) bool {
	return slices.Contains(builtIn, strings.TrimSuffix(name, inWelshToo))
}

// linter checks what only shows when everything is read.
type linter struct {
	*reader
	f             *File
	sides         []string
	trunks        []string
	endpoints     []string
	routes        []string // emergency routes
	announcements []string
}

func (l *linter) lint() {
	l.collect()
	l.missing()
	l.listening()
	l.mediaPorts()
	for _, t := range l.f.Trunks {
		l.trunk(t)
	}
	l.overlaps()
	for _, e := range l.f.Endpoints {
		l.endpoint(e)
	}
	for i, t := range l.f.Routes {
		l.route(at("routes", i), t)
	}
	l.routeNames()
	l.numbersTwice()
	l.emergencyRoute()
	l.unused()
	for _, a := range l.f.Announcements {
		l.announcement(a)
	}
	l.healthTimes()
	for i, n := range l.f.Notify {
		l.notification(at("notify", i), n)
	}
	for i, a := range l.f.Journal.Also {
		l.also(at("journal.also", i), a)
	}
	l.lacks("hep", "to", l.has("hep") && l.f.HEP.To == "", "copies of messages go nowhere", "write to: udp://host:9060, or take hep out")
	l.alternative()
}

func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func (l *linter) collect() {
	for _, s := range l.f.Sides {
		l.sides = append(l.sides, s.Name)
	}
	for _, t := range l.f.Trunks {
		l.trunks = append(l.trunks, t.Name)
	}
	for _, e := range l.f.Endpoints {
		l.endpoints = append(l.endpoints, e.Name)
	}
	for _, t := range l.f.Routes {
		if t.Class == Emergency && t.Name != "" {
			l.routes = append(l.routes, t.Name)
		}
	}
	l.announcements = slices.Clone(builtIn)
	for _, name := range builtIn {
		l.announcements = append(l.announcements, name+inWelshToo)
	}
	for _, a := range l.f.Announcements {
		if !isBuiltIn(a.Name) {
			l.announcements = append(l.announcements, a.Name)
		}
	}
}

// missing says which required keys are not there, or hold nothing.
func (l *linter) missing() {
	need := func(path string, empty bool, what, fix string) {
		switch {
		case !l.has(path):
			l.wrong(path, "is missing: "+what, fix)
		case empty && !l.saidAbout(path):
			l.wrong(path, "is empty: "+what, fix)
		}
	}
	need("listen", len(l.f.Listen) == 0 && len(l.f.Sides) == 0, "where SIP comes in", "write listen: [udp://0.0.0.0:5060]")
	need("media.address", len(l.f.Media.Addresses) == 0, "where callers and endpoints send media", "write media: { address: 203.0.113.10 }")
	need("trunks", len(l.f.Trunks) == 0, "who calls us", "write trunks: { bt: { from: [192.0.2.0/24] } }")
	need("endpoints", len(l.f.Endpoints) == 0, "who can answer", `write endpoints: { control-room: { uri: "sip:10.0.0.10:5060" } }`)
	need("routes", len(l.f.Routes) == 0, "which numbers ask which endpoints", `write routes: [{ name: "999", class: emergency, numbers: ["999"], ask: [control-room] }]`)
}

// saidAbout says that something below a path is wrong already: then its emptiness is no news.
func (l *linter) saidAbout(path string) bool {
	return slices.ContainsFunc(l.problems, func(p Problem) bool {
		rest, ok := strings.CutPrefix(p.Path, path)
		return ok && p.Severity == Error && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// lacks says that a key is needed and nothing is there, unless something about it was said already.
func (l *linter) lacks(path, key string, empty bool, what, fix string) {
	if empty && !l.unread[path] && !l.saidAbout(join(path, key)) {
		l.wrong(l.where(path, key), what, fix)
	}
}

func (l *linter) listening() {
	for i, s := range l.f.Sides {
		path := "listen." + s.Name
		l.lacks(path, "on", len(s.On) == 0, "this side listens nowhere", "write on: [udp://address:port]")
		for _, before := range l.f.Sides[:i] {
			l.samePorts(path+".on", s.On, before.On, false)
		}
		l.samePorts(path+".on", s.On, s.On, true)
	}
	l.samePorts("listen", l.f.Listen, l.f.Listen, true)
	for i, s := range l.f.Listen {
		l.insideMedia(at("listen", i), s)
	}
	for _, s := range l.f.Sides {
		for i, on := range s.On {
			l.insideMedia(at("listen."+s.Name+".on", i), on)
		}
	}
}

// samePorts finds sockets that can't be opened because others, or earlier ones of the same list, have their port.
func (l *linter) samePorts(path string, sockets, others []Listener, same bool) {
	for i, s := range sockets {
		if same {
			others = sockets[:i]
		}
		for _, o := range others {
			if s.Addr.Port() != 0 && s.clashes(o) {
				l.wrong(at(path, i), fmt.Sprintf("%s can't be opened beside %s", s, o), "keep one")
				break
			}
		}
	}
}

// clashes says that two sockets want the same port of the same address. TLS is TCP here. An IPv4 and an IPv6 wildcard live side by side.
func (l Listener) clashes(o Listener) bool {
	a, b := l.Addr.Addr(), o.Addr.Addr()
	return (l.Transport == UDP) == (o.Transport == UDP) && l.Addr.Port() == o.Addr.Port() &&
		(a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified()))
}

func (l *linter) insideMedia(path string, s Listener) {
	m := l.f.Media
	if s.Transport != UDP || s.Addr.Port() < m.PortMin || s.Addr.Port() > m.PortMax {
		return
	}
	if !s.Addr.Addr().IsUnspecified() && !slices.Contains(m.Addresses, s.Addr.Addr()) {
		return
	}
	l.wrong(path, fmt.Sprintf("UDP port %d lies among the media ports %d-%d", s.Addr.Port(), m.PortMin, m.PortMax), "move one of them")
}

// attemptsAtOnce is how many attempts of a call live at once (R6).
const attemptsAtOnce = 3

// mediaPorts compares the ports with the calls that the endpoints promise to take. A call that talks has a pair on the caller's side and one at its endpoint;
// while it is being set up each attempt has one.
func (l *linter) mediaPorts() {
	m, calls := l.f.Media, 0
	for _, e := range l.f.Endpoints {
		calls += e.Calls
	}
	talking, asking, have := 2*calls, (1+attemptsAtOnce)*calls, m.Pairs()
	path := "media.ports"
	if !l.has(path) {
		path = "media"
	}
	what := fmt.Sprintf("ports %d-%d are %s, and the endpoints promise %s", m.PortMin, m.PortMax, plural(have, "pair"), plural(calls, "call"))
	switch {
	case have < talking:
		l.wrong(path, fmt.Sprintf("%s, which need %d pairs when they talk (one on the caller's side and one at the endpoint)", what, talking), l.morePorts(talking, asking))
	case have < asking:
		l.doubtful(path, fmt.Sprintf("%s, which need %d pairs when each asks %d endpoints at once (one on the caller's side and one for each attempt)", what, asking, attemptsAtOnce),
			l.morePorts(asking))
	}
}

// morePorts proposes a range for the most pairs that fit, else fewer calls.
func (l *linter) morePorts(pairs ...int) string {
	slices.Sort(pairs)
	slices.Reverse(pairs)
	first := int(l.f.Media.PortMin)
	first += first % 2
	for _, n := range pairs {
		if last := first + 2*n - 1; last <= 65535 {
			return fmt.Sprintf("write ports: %d-%d, or lower the endpoints' calls", first, last)
		}
	}
	return "lower the endpoints' calls"
}

func (l *linter) trunk(t Trunk) {
	path := "trunks." + t.Name
	l.lacks(path, "from", len(t.From) == 0, "this trunk has no addresses", "write from: [192.0.2.0/24]")
	for i, p := range t.From {
		if p.Bits() == 0 {
			l.doubtful(at(path+".from", i), fmt.Sprintf("%s is the whole internet: anybody can call", p), "name the networks that calls come from")
		}
	}
	l.known(path+".out", t.Out, "endpoint", l.endpoints)
	l.twice(path+".out", t.Out)
	switch {
	case t.Kind != PBX && len(t.Out) > 0:
		l.wrong(path+".out", "only a trunk of kind pbx calls out", "write kind: pbx, or take out: away")
	case t.Kind == PBX && len(t.Out) == 0 && !l.saidAbout(path+".out"):
		l.doubtful(path, "this PBX has no out list: its calls to numbers on no route get 404", "write out: [an endpoint], if it shall call out")
	}
	if t.Kind == Aid && t.GiveUp != aidGiveUp {
		l.doubtful(path+".give_up", fmt.Sprintf("a call that came as mutual aid is given up after %s, whatever is written here", words(aidGiveUp)), "take give_up out")
	}
	l.side(path+".via", t.Via)
}

func (l *linter) endpoint(e Endpoint) {
	path := "endpoints." + e.Name
	l.lacks(path, "uri", e.URI.Raw == "", "this endpoint has no uri", `write uri: "sip:10.0.0.10:5060"`)
	switch {
	case e.Reserve > 0 && e.Calls == 0 && !l.saidAbout(path+".calls"):
		l.wrong(path+".reserve", "nothing can be kept free of an unknown number of calls", "write calls: as well")
	case e.Calls > 0 && e.Reserve > e.Calls:
		l.wrong(path+".reserve", fmt.Sprintf("%d of %s can't be kept free", e.Reserve, plural(e.Calls, "call")), fmt.Sprintf("use %d or less", e.Calls))
	}
	if e.RequireTLS && e.URI.Raw != "" && e.URI.Transport != TLSOverTCP {
		l.wrong(path+".require_tls", fmt.Sprintf("%s does not say TLS", e.URI), "add ;transport=tls to the uri")
	}
	l.side(path+".via", e.Via)
}

// side checks a via.
func (l *linter) side(path, name string) {
	switch {
	case name == "" || slices.Contains(l.sides, name):
	case len(l.sides) == 0:
		l.wrong(path, fmt.Sprintf("no side is called %q: listen has one side", name), "take via: out, or name the sides under listen")
	default:
		l.wrong(path, fmt.Sprintf("no side is called %q", name), didYouMean(name, l.sides, "sides"))
	}
}

// known checks that names name something. A single name is written without a list, and so has no place in one.
func (l *linter) known(path string, names []string, thing string, known []string) {
	for i, n := range names {
		if !slices.Contains(known, n) {
			l.wrong(l.place(path, i), fmt.Sprintf("no %s is called %q", thing, n), didYouMean(n, known, thing+"s"))
		}
	}
}

func (l *linter) place(path string, i int) string {
	if p := at(path, i); l.has(p) {
		return p
	}
	return path
}

// twice finds names that come twice in a list.
func (l *linter) twice(path string, names []string) {
	for i, n := range names {
		if slices.Contains(names[:i], n) {
			l.wrong(l.place(path, i), fmt.Sprintf("%s is listed twice", n), "keep one")
		}
	}
}

// overlaps finds networks of two trunks that share addresses: whose call would it be?
func (l *linter) overlaps() {
	for i, t := range l.f.Trunks {
		for j, p := range t.From {
			for _, before := range l.f.Trunks[:i] {
				k := slices.IndexFunc(before.From, p.Overlaps)
				if k < 0 {
					continue
				}
				l.wrong(l.place("trunks."+t.Name+".from", j), fmt.Sprintf("%s overlaps %s of trunk %s: a call could be on either", network(p), network(before.From[k]), before.Name),
					"give each address to one trunk")
			}
		}
	}
}

// network gives a prefix, and a single host without its bits.
func network(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func (l *linter) healthTimes() {
	h := l.f.Health
	for _, due := range []struct {
		key   string
		every time.Duration
	}{{"every", h.Every}, {"partners_every", h.PartnersEvery}} {
		if h.Timeout >= due.every {
			l.wrong(l.where("health", "timeout", due.key), fmt.Sprintf("a probe that waits %s is not over when the next is due after %s (%s)", words(h.Timeout), words(due.every), due.key),
				"make timeout the shorter one")
			return
		}
	}
}

func (l *linter) announcement(a Announcement) {
	path := "announcements." + a.Name
	l.lacks(path, "files", len(a.Files) == 0 && !isBuiltIn(a.Name), "this announcement has no files", "write files: [text.wav]; built in are "+list(builtIn))
}

func (l *linter) also(path string, a Also) {
	if !l.saidAbout(path) && (a.File == "") == (a.I3 == "") {
		l.wrong(path, "each place has one of file and i3", "write one list item for each")
	}
}

func (l *linter) notification(path string, n Notification) {
	if l.saidAbout(path) {
		return
	}
	ways := 0
	for _, w := range []string{n.Webhook, n.Mail, n.Heartbeat} {
		if w != "" {
			ways++
		}
	}
	switch {
	case ways != 1:
		l.wrong(path, "each notice has one of webhook, mail and heartbeat", "write one list item for each")
	case n.Mail != "" && n.SMTP == "":
		l.wrong(path, "mail needs a server", "write smtp: smtp://mail.example:25 beside it")
	case n.Mail == "" && n.SMTP != "":
		l.wrong(path+".smtp", "only mail has a server", "take it out")
	case n.Heartbeat == "" && l.has(path+".every"):
		l.wrong(path+".every", "only a heartbeat has an interval", "take it out; how often a notice is repeated is repeat")
	}
	for _, only := range []struct {
		key string
		has bool
		way string
	}{
		{"secret_file", n.Webhook != "", "a webhook is signed"},
		{"headers", n.Webhook != "", "a webhook has headers"},
		{"from", n.Mail != "", "a mail has a sender"},
		{"auth_file", n.Mail != "", "a mail server asks who we are"},
		{"repeat", n.Heartbeat == "", "a notice is repeated"},
		{"severity", n.Heartbeat == "", "a notice has a severity"},
		{"rooms", n.Heartbeat == "", "a notice is for rooms"},
	} {
		if ways == 1 && !only.has && l.has(path+"."+only.key) {
			l.wrong(path+"."+only.key, "only "+only.way, "take it out")
		}
	}
	l.known(path+".rooms", n.Rooms, "endpoint", l.endpoints)
	for key, link := range map[string]string{"webhook": n.Webhook, "heartbeat": n.Heartbeat} {
		if inTheClear(link) {
			l.doubtful(path+"."+key, "what is said there can be read and changed on the way", "use https")
		}
	}
}

// inTheClear says that a link goes over a network without TLS.
func inTheClear(link string) bool {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "http" {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return (err != nil || !a.IsLoopback()) && u.Hostname() != "localhost"
}

// alternative checks that the public is sent to a number that is ours: one that was typed at night has been somebody else's before.
func (l *linter) alternative() {
	n := l.f.Public.Alternative
	if n == "" || slices.ContainsFunc(l.f.Routes, func(t Route) bool { return slices.Contains(t.Numbers, n) }) {
		return
	}
	l.wrong("public.alternative", n+" is on no route: nobody has tested that it reaches us", "put it on a route, or take it out")
}
