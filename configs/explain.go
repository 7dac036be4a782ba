package configs

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Explain says in plain words what happens to a call: who is asked for which number, in which order, after how long. It speaks of a File without errors,
// and of what this version does.
func (f *File) Explain() string {
	var b strings.Builder
	f.explainBox(&b)
	for i := range f.Routes {
		b.WriteString("\n")
		f.explainRoute(&b, &f.Routes[i])
	}
	b.WriteString("\n")
	f.explainTheRest(&b)
	return b.String()
}

func (f *File) explainBox(b *strings.Builder) {
	var on []string
	for _, l := range f.Listeners() {
		on = append(on, l.String())
	}
	var addresses []string
	for _, a := range f.Media.Addresses {
		addresses = append(addresses, a.String())
	}
	fmt.Fprintf(b, "%s listens on %s.\n", f.Name, list(on))
	for _, s := range f.Sides {
		f.explainSide(b, s)
	}
	calls := 0
	for _, e := range f.Endpoints {
		calls += e.Calls
	}
	fmt.Fprintf(b, "Media goes through %s, ports %d-%d: %s, for %s promised by the endpoints.\n",
		list(addresses), f.Media.PortMin, f.Media.PortMax, plural(f.Media.Pairs(), "pair"), plural(calls, "call"))
}

// explainSide says what is particular to one side of the box.
func (f *File) explainSide(b *strings.Builder, s Side) {
	var on, there []string
	for _, l := range s.On {
		on = append(on, l.String())
	}
	for _, t := range f.Trunks {
		if t.Via == s.Name {
			there = append(there, t.Name)
		}
	}
	for _, e := range f.Endpoints {
		if e.Via == s.Name {
			there = append(there, e.Name)
		}
	}
	fmt.Fprintf(b, "  %s: %s", s.Name, list(on))
	if s.Advertise != "" {
		fmt.Fprintf(b, ", called %s", s.Advertise)
	}
	if s.Media.IsValid() {
		fmt.Fprintf(b, ", media through %s", s.Media)
	}
	if len(there) > 0 {
		fmt.Fprintf(b, "; %s", list(there))
	}
	b.WriteString(".\n")
}

func (f *File) explainRoute(b *strings.Builder, t *Route) {
	from := "any trunk"
	if len(t.Trunks) > 0 {
		from = list(t.Trunks)
	}
	class := string(t.Class)
	if t.Aid {
		class += ", mutual aid"
	}
	fmt.Fprintf(b, "%s (%s): %s from %s\n", t.Name, class, list(t.Numbers), from)
	for i, step := range t.Ask {
		fmt.Fprintf(b, "  %d. %s\n", i+1, f.explainStep(step))
	}
	if len(slices.Concat(t.Ask...)) > 1 {
		f.explainLadder(b, t)
	}
	f.explainPartners(b, t)
	f.explainEnd(b, t)
	f.explainRescue(b, t)
}

// explainRescue says what becomes of a talking call whose endpoint is lost (R21).
func (f *File) explainRescue(b *strings.Builder, t *Route) {
	switch {
	case !t.Rescue:
		b.WriteString("  A talking call whose endpoint is lost is lost with it.\n")
	case t.RescueBye == SuspiciousRescueBye:
		b.WriteString("  A talking call whose endpoint is lost, or hangs up like a dying one, keeps its caller, who hears " + t.Hearing.words() + " until the next answers.\n")
	case t.RescueBye == NeverRescueBye:
		b.WriteString("  A talking call whose endpoint is lost keeps its caller, who hears " + t.Hearing.words() + " until the next answers.\n")
	}
}

// words is what is heard, in words.
func (h Hearing) words() string {
	switch h {
	case HearComfort:
		return "comfort noise"
	case HearHoldTheLine:
		return "hold-the-line"
	case HearNothing:
	}
	return "nothing"
}

func (f *File) explainStep(step []string) string {
	names := make([]string, len(step))
	for i, name := range step {
		e, _ := f.Endpoint(name)
		var notes []string
		if e.Partner {
			notes = append(notes, "partner")
		}
		if e.Calls > 0 {
			notes = append(notes, plural(e.Calls, "call"))
		}
		if e.Answers == Queue {
			notes = append(notes, "queue")
		}
		names[i] = name
		if len(notes) > 0 {
			names[i] += " (" + strings.Join(notes, ", ") + ")"
		}
	}
	if len(names) == 1 {
		return names[0]
	}
	return "the one with the most free slots first: " + list(names)
}

func (f *File) explainLadder(b *strings.Builder, t *Route) {
	how := "as well"
	if !t.Overlap {
		how = "instead"
	}
	fmt.Fprintf(b, "  The next is asked at once after a refusal or a dead address, and %s after %s of silence or %s with only a 100.\n", how, words(t.Patience), words(t.Progress))
	if t.Ringing > 0 {
		fmt.Fprintf(b, "  After %s of ringing the next own room is asked %s.\n", words(t.Ringing), how)
	}
}

func (f *File) explainPartners(b *strings.Builder, t *Route) {
	var partners []string
	for _, step := range t.Ask {
		for _, name := range step {
			if e, _ := f.Endpoint(name); e.Partner {
				partners = append(partners, name)
			}
		}
	}
	if len(partners) == 0 {
		return
	}
	when := "own rooms are down, silent or refusing"
	if t.Overflow {
		when += ", or full by our count"
	}
	if t.RingingToPartners > 0 {
		when += fmt.Sprintf(", or have rung %s", words(t.RingingToPartners))
	}
	fmt.Fprintf(b, "  Partners are asked when %s.", when)
	if aid := f.aidTrunks(t); t.Aid {
		b.WriteString(" These calls came as mutual aid and go to no partner.")
	} else if len(aid) > 0 {
		fmt.Fprintf(b, " Calls from %s came as mutual aid and go to no partner.", list(aid))
	}
	b.WriteString("\n")
}

// aidTrunks are the trunks of a route whose calls came as mutual aid.
func (f *File) aidTrunks(t *Route) []string {
	var names []string
	for _, trunk := range f.Trunks {
		if trunk.Kind == Aid && t.serves(trunk) {
			names = append(names, trunk.Name)
		}
	}
	return names
}

func (f *File) explainEnd(b *strings.Builder, t *Route) {
	back := "500 goes back"
	if t.Class != Emergency {
		b.WriteString("  Busy, declined or a wrong number (486, 600, 603, 404, 484) ends the asking and goes back")
		if len(t.Otherwise) > 0 {
			b.WriteString(", unless one of these endpoints is down, held or full")
		}
		b.WriteString(". A full endpoint is not asked.")
		f.explainReserve(b, t)
		b.WriteString("\n")
		back = "480 or 500 goes back"
	}
	if len(t.Otherwise) > 0 {
		f.explainOtherwise(b, t)
		return
	}
	if ends := f.ends(t); ends != "" {
		fmt.Fprintf(b, "  %s when all refused, when nobody has even said 100 for 4 s, or when nothing rings after %s.\n", back, ends)
	}
}

// ends says when a route's calls are given up: one time for all trunks, or each with its own.
func (f *File) ends(t *Route) string {
	var times, ends []string
	names := map[string][]string{}
	for _, trunk := range f.Trunks {
		if t.serves(trunk) {
			after := words(t.giveUp(trunk))
			if names[after] == nil {
				times = append(times, after)
			}
			names[after] = append(names[after], trunk.Name)
		}
	}
	for _, after := range times {
		ends = append(ends, fmt.Sprintf("%s (%s)", after, list(names[after])))
	}
	if len(times) == 1 {
		return times[0]
	}
	return list(ends)
}

// explainOtherwise says what follows when nobody takes a routine call (R24).
func (f *File) explainOtherwise(b *strings.Builder, t *Route) {
	b.WriteString("  When nobody takes the call:\n")
	for i, s := range t.Otherwise {
		fmt.Fprintf(b, "    %c. %s\n", 'a'+i, f.explainFollowing(t, i, s))
	}
	if last := t.Otherwise[len(t.Otherwise)-1]; last.Reject == 0 {
		b.WriteString("    Then a caller who was answered gets a BYE, any other 480.\n")
	}
	if t.Relay == RelayPerson {
		b.WriteString("  Who comes by the text relay (18001) is not announced to: that call goes on as an emergency.\n")
	} else {
		fmt.Fprintf(b, "  Who comes by the text relay (18001) hears %s instead.\n", t.Relay)
	}
	if s := t.Shed; s != nil {
		when := plural(s.When, "emergency call") + " or more wait for an answer"
		until := fmt.Sprintf("%d or fewer wait", s.Until)
		if s.WhenSlots >= 0 {
			when += fmt.Sprintf(" or partners have %d free slots or fewer", s.WhenSlots)
			until += fmt.Sprintf(" and partners have %d", s.UntilSlots)
		}
		fmt.Fprintf(b, "  Nobody is asked, and %s is heard at once, from when %s until %s for %s.\n", s.Announce, when, until, words(s.For))
	}
}

func (f *File) explainFollowing(t *Route, i int, s Step) string {
	text := ""
	if s.Announce != "" {
		a := f.Announcement(s.Announce)
		how := "after a 200 of ours"
		if a.Answer == Early {
			how = "as early media"
		}
		text = fmt.Sprintf("hears %s %s, %s", s.Announce, how, times(a.Times))
		if s.Wait > 0 {
			text = fmt.Sprintf("hears %s %s all the while", s.Announce, how)
		}
		if s.Escape != nil {
			text += fmt.Sprintf("; %s makes an emergency of it on %s", s.Escape.Digit, s.Escape.To)
		}
	}
	switch {
	case s.Wait > 0:
		line := fmt.Sprintf("it waits up to %s for a person, oldest first", words(s.Wait))
		if s.Cap > 0 {
			line += fmt.Sprintf(", %d at most", s.Cap)
		}
		if text == "" {
			return line + ", and hears that it rings"
		}
		return line + ", and " + text
	case s.Announce != "":
		return "it " + text
	case len(s.Divert) > 0:
		line := "these are asked, in this order: " + list(s.Divert)
		if s.Cap > 0 {
			line += fmt.Sprintf(", for %s at once", plural(s.Cap, "call"))
		}
		return line
	default:
		return fmt.Sprintf("it is refused with %d and told when to try again", s.Reject)
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return plural(n, "time")
}

func (f *File) explainReserve(b *strings.Builder, t *Route) {
	var kept []string
	for _, step := range t.Ask {
		for _, name := range step {
			if e, _ := f.Endpoint(name); e.Reserve > 0 {
				kept = append(kept, fmt.Sprintf("%d of %d at %s", e.Reserve, e.Calls, name))
			}
		}
	}
	if len(kept) > 0 {
		fmt.Fprintf(b, " Kept free for emergency: %s.", list(kept))
	}
}

func (f *File) explainTheRest(b *strings.Builder) {
	f.explainUnrouted(b)
	for _, t := range f.Trunks {
		switch {
		case t.Kind != PBX:
		case len(t.Out) == 0:
			fmt.Fprintf(b, "From %s (a PBX) a number on no route that names it gets 404.\n", t.Name)
		default:
			fmt.Fprintf(b, "From %s (a PBX) a number on no route that names it goes out by %s.\n", t.Name, list(t.Out))
		}
	}
	switch f.UnknownSources {
	case Drop:
		b.WriteString("From any other address nothing is answered.\n")
	case AnswerEmergency:
		b.WriteString("From any other address emergency numbers are routed; the rest gets 403.\n")
	}
	h := f.Health
	fmt.Fprintf(b, "Endpoints are probed every %s, partners every %s; down after %d misses, up again after %d answers and %s.\n",
		words(h.Every), words(h.PartnersEvery), h.DownAfter, h.UpAfter, words(h.HoldDown))
	b.WriteString("Calls judge too: two callers who got silence or a failure bring one down, and then answered probes alone do not bring it back.\n")
	b.WriteString(h.FailBack.explain())
	f.explainLoss(b)
	b.WriteString("One that an operator holds is asked last, and no emergency call leaves it out.\n")
	f.explainRecord(b)
	f.explainNotices(b)
}

// explainRecord says where what happened is written down, and what leaves the house, as far as it is not the usual.
func (f *File) explainRecord(b *strings.Builder) {
	if f.HEP.To != "" {
		fmt.Fprintf(b, "A copy of each SIP message of a call goes to %s, callers' numbers included.\n", f.HEP.To)
	}
}

// explainNotices says who is told of an outage.
func (f *File) explainNotices(b *strings.Builder) {
	var told, rooms, beats []string
	for _, n := range f.Notify {
		to := n.Mail
		if n.Webhook != "" {
			to = hostOf(n.Webhook)
		}
		switch {
		case n.Heartbeat != "":
			beats = append(beats, fmt.Sprintf("%s every %s", hostOf(n.Heartbeat), words(n.Every)))
		case len(n.Rooms) > 0:
			rooms = append(rooms, fmt.Sprintf("%s for %s", to, list(n.Rooms)))
		default:
			what := ""
			if n.Severity != UrgencyInfo {
				what = string(n.Severity) + " and worse, "
			}
			told = append(told, fmt.Sprintf("%s (%severy %s)", to, what, words(n.Repeat)))
		}
	}
	if len(told) > 0 {
		fmt.Fprintf(b, "Notices go to %s until somebody acknowledges them.\n", list(told))
	}
	if len(rooms) > 0 {
		fmt.Fprintf(b, "Emergency callers who give up are told, with their number, to %s.\n", list(rooms))
	}
	if len(beats) > 0 {
		fmt.Fprintf(b, "A heartbeat goes to %s while calls are taken.\n", list(beats))
	}
}

// hostOf names a link without what may be secret in it.
func hostOf(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return "?"
	}
	return u.Host
}

// explainLoss says when an endpoint is lost to a talking call (R20).
func (f *File) explainLoss(b *strings.Builder) {
	if slices.ContainsFunc(f.Routes, func(t Route) bool { return t.Rescue }) {
		fmt.Fprintf(b, "To a talking call an endpoint is lost when its media has stopped for %s, or its media port is closed, and a second witness agrees: no answer within the call, a broken connection, or down.\n",
			words(f.Health.MediaGap))
	}
}

// explain says how an endpoint that was down gets emergency calls again (R17).
func (b FailBack) explain() string {
	const proof = "three of those were heard both ways, a test call passed, an operator released it, or, after 10 min, by one call at a time"
	switch b {
	case FailBackAuto:
		return "One that was down or held takes routine calls first; emergency calls follow when " + proof + ".\n"
	case FailBackProbes:
		return "Answered probes bring its emergency calls back, unless calls had brought it down: then routine calls come first, and emergency calls when " + proof + ".\n"
	case FailBackManual:
		return "One that was down is asked last until an operator releases it.\n"
	}
	return ""
}

// explainUnrouted says where numbers go that are on no route (R1), trunks with the same end together.
func (f *File) explainUnrouted(b *strings.Builder) {
	for i := range f.Routes {
		var names []string
		for _, trunk := range f.Trunks {
			if f.unrouted(trunk) == i {
				names = append(names, trunk.Name)
			}
		}
		if len(names) > 0 {
			fmt.Fprintf(b, "From %s a number on no route is an emergency on %s.\n", list(names), f.Routes[i].Name)
		}
	}
}

// unrouted is the index of the route that takes a trunk's unknown numbers: its first emergency route, else the first at all. It is -1 for a PBX, and
// where a route takes every number.
func (f *File) unrouted(trunk Trunk) int {
	if trunk.Kind == PBX || slices.ContainsFunc(f.Routes, func(t Route) bool { return t.serves(trunk) && slices.Contains(t.Numbers, "*") }) {
		return -1
	}
	emergency := func(t Route) bool { return t.Class == Emergency && !t.Aid }
	if i := slices.IndexFunc(f.Routes, func(t Route) bool { return emergency(t) && t.serves(trunk) }); i >= 0 {
		return i
	}
	return slices.IndexFunc(f.Routes, emergency)
}
