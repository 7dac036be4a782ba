package configs

import (
	"fmt"
	"slices"
)

func (l *linter) route(path string, t Route) {
	l.lacks(path, "name", t.Name == "", "this route has no name", `write name: "999"`)
	l.lacks(path, "numbers", len(t.Numbers) == 0, "this route has no numbers, so no call finds it", `write numbers: ["999", "112"]`)
	l.lacks(path, "ask", len(t.Ask) == 0, "this route asks nobody", "write ask: [control-room, standby-room]")
	l.known(path+".trunks", t.Trunks, "trunk", l.trunks)
	l.twice(path+".trunks", t.Trunks)
	if t.Class != Emergency && slices.Contains(t.Numbers, "*") {
		l.doubtful(l.place(path+".numbers", slices.Index(t.Numbers, "*")), "* takes every number, also those that would be treated as emergencies because they are on no route",
			"name the numbers")
	}
	l.asks(path, t)
	l.times(path, t)
	l.otherwiseOf(path, t)
	l.shedOf(path, t)
}

// asks checks whom a route asks.
func (l *linter) asks(path string, t Route) {
	var asked []string
	partnersOnly := true
	for i, step := range t.Ask {
		place := l.place(path+".ask", i)
		inner := l.has(at(place, 0))
		for j, name := range step {
			where := place
			if inner {
				where = at(place, j)
			}
			e, ok := l.f.Endpoint(name)
			switch {
			case !ok:
				l.wrong(where, fmt.Sprintf("no endpoint is called %q", name), didYouMean(name, l.endpoints, "endpoints"))
			case slices.Contains(asked, name):
				l.wrong(where, fmt.Sprintf("%s is asked twice", name), "keep one")
			case e.Partner && l.comesAsAid(t):
				l.doubtful(where, fmt.Sprintf("%s is a partner, and a call that came as mutual aid is not sent to a partner again", name), "take it out")
			}
			if ok && !e.Partner {
				partnersOnly = false
			}
			if ok && len(step) > 1 && e.Calls == 0 {
				l.doubtful(where, fmt.Sprintf("free slots are to be shared, and %s does not say how many calls it can take", name), "write calls: for it")
			}
			asked = append(asked, name)
		}
	}
	switch {
	case len(asked) == 0 || l.saidAbout(path+".ask"):
	case l.comesAsAid(t) && partnersOnly:
		l.wrong(path+".ask", "this route asks nobody: its calls come as mutual aid, and it names partners only", "name own rooms")
	case t.Class == Emergency && len(asked) == 1:
		l.doubtful(path+".ask", fmt.Sprintf("only %s is asked: when it fails nobody answers", asked[0]), "name a second endpoint")
	}
}

// comesAsAid says that every call on a route came as mutual aid.
func (l *linter) comesAsAid(t Route) bool {
	if t.Aid {
		return true
	}
	for _, name := range t.Trunks {
		if trunk, ok := l.f.Trunk(name); !ok || trunk.Kind != Aid {
			return false
		}
	}
	return len(t.Trunks) > 0
}

// times compares a route's patience with the give_up of the trunks it serves.
func (l *linter) times(path string, t Route) {
	if t.Progress < t.Patience {
		l.doubtful(l.where(path, "progress", "patience"), fmt.Sprintf("progress %s is shorter than patience %s: a room that says 100 is left earlier than a silent one",
			words(t.Progress), words(t.Patience)), "make progress the longer one")
	}
	for _, trunk := range l.f.Trunks {
		if !t.serves(trunk) {
			continue
		}
		giveUp := t.giveUp(trunk)
		switch {
		case t.Patience >= giveUp:
			l.wrong(l.where(path, "patience"), fmt.Sprintf("patience %s uses up the %s after which a call from %s is given up: a silent room's next is never asked",
				words(t.Patience), words(giveUp), trunk.Name), "make patience shorter")
		case t.Progress >= giveUp && len(t.Ask) > 1:
			l.doubtful(l.where(path, "progress"), fmt.Sprintf("progress %s uses up the %s after which a call from %s is given up: after a mere 100 the next is never asked",
				words(t.Progress), words(giveUp), trunk.Name), "make progress shorter, or the trunk's give_up longer")
		default:
			continue
		}
		return
	}
}

// where is the first of some keys that was written, else the whole.
func (l *linter) where(path string, keys ...string) string {
	for _, k := range keys {
		if p := join(path, k); l.has(p) {
			return p
		}
	}
	return path
}

func (l *linter) otherwiseOf(path string, t Route) {
	if t.Class == Emergency && l.has(path+".otherwise") {
		l.wrong(path+".otherwise", "an emergency call is never announced to, queued, diverted or rejected", "take otherwise: out; ask: names who answers")
		return
	}
	l.relay(path, t)
	for i, s := range t.Otherwise {
		place := l.place(path+".otherwise", i)
		l.step(place, s)
		if s.Reject != 0 && i < len(t.Otherwise)-1 {
			l.wrong(l.place(path+".otherwise", i+1), "nothing follows a reject", "put reject: last, or take this out")
		}
	}
}

// relay checks what follows for the text relay.
func (l *linter) relay(path string, t Route) {
	if t.Relay == RelayPerson {
		return
	}
	if !slices.Contains(l.announcements, t.Relay) {
		l.wrong(path+".relay", fmt.Sprintf("no announcement is called %q", t.Relay), didYouMean(t.Relay, append([]string{RelayPerson}, l.announcements...), "choices"))
	} else if !slices.ContainsFunc(t.Otherwise, func(s Step) bool { return s.Announce != "" }) {
		l.doubtful(path+".relay", "otherwise announces nothing, so that the longer text is never heard", "write otherwise: [{ announce: report-online }], or take relay out")
	}
}

func (l *linter) step(path string, s Step) {
	if l.saidAbout(path) {
		return
	}
	kinds := 0
	for _, is := range []bool{s.Wait != 0, s.Announce != "" && s.Wait == 0, len(s.Divert) > 0, s.Reject != 0} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		l.wrong(path, "each step is one of wait, announce, divert and reject", "write one list item for each; only wait may have an announce beside it")
		return
	}
	if s.Announce != "" && !slices.Contains(l.announcements, s.Announce) {
		l.wrong(path+".announce", fmt.Sprintf("no announcement is called %q", s.Announce), didYouMean(s.Announce, l.announcements, "announcements"))
	}
	l.known(path+".divert", s.Divert, "endpoint", l.endpoints)
	l.twice(path+".divert", s.Divert)
	if s.Cap != 0 && len(s.Divert) == 0 && s.Wait == 0 {
		l.wrong(path+".cap", "only divert and wait have a cap", "take it out")
	}
	if s.Escape != nil {
		l.escape(path+".escape", s)
	}
}

func (l *linter) escape(path string, s Step) {
	switch {
	case s.Announce == "":
		l.wrong(path, "only announce has an escape", "put it beside announce:")
		return
	case s.Escape.Digit == "":
		l.wrong(path, "an escape needs a key to press", `write digit: "9"`)
	case s.Escape.To == "":
		l.wrong(path, "an escape needs a route to go to", fmt.Sprintf("write to: %q", first(l.routes, "999")))
	case !slices.Contains(l.routes, s.Escape.To):
		l.wrong(path+".to", fmt.Sprintf("no emergency route is called %q", s.Escape.To), didYouMean(s.Escape.To, l.routes, "emergency routes"))
	}
	for _, a := range l.f.Announcements {
		if a.Name == s.Announce && a.Answer == Early { // R25
			l.wrong(path, fmt.Sprintf("%s is played as early media, and many carriers pass no key presses then", a.Name), "write answer: final for the announcement, or take escape out")
		}
	}
}

func first(words []string, otherwise string) string {
	if len(words) > 0 {
		return words[0]
	}
	return otherwise
}

func (l *linter) shedOf(path string, t Route) {
	path += ".shed"
	if t.Shed == nil || l.saidAbout(path) {
		return
	}
	switch {
	case t.Class == Emergency:
		l.wrong(path, "an emergency call is never shed", "take shed: out")
	case !slices.Contains(l.announcements, t.Shed.Announce):
		l.wrong(path+".announce", fmt.Sprintf("no announcement is called %q", t.Shed.Announce), didYouMean(t.Shed.Announce, l.announcements, "announcements"))
	case t.Shed.WhenSlots >= 0 && t.Shed.UntilSlots <= t.Shed.WhenSlots:
		l.wrong(path, fmt.Sprintf("until partners have %d free slots is not above when they have %d: it would never settle", t.Shed.UntilSlots, t.Shed.WhenSlots), "make until higher than when")
	case t.Shed.WhenSlots >= 0 && !slices.ContainsFunc(l.f.Endpoints, func(e Endpoint) bool { return e.Partner && e.Calls > 0 }):
		l.wrong(path+".when.partner_slots", "no partner says how many calls it can take", "write calls: for the partners, or take partner_slots out")
	case t.Shed.Until >= t.Shed.When:
		l.wrong(path, fmt.Sprintf("until %d emergency calls wait is not below when %d do: it would never settle", t.Shed.Until, t.Shed.When), "make until lower than when")
	case !slices.ContainsFunc(t.Otherwise, func(s Step) bool { return s.Announce != "" && s.Wait == 0 || s.Reject != 0 }):
		l.wrong(path, "there is nothing to tell the callers that are shed", "write otherwise: [{ announce: high-demand }]")
	}
}

func (l *linter) routeNames() {
	for i, t := range l.f.Routes {
		before := slices.IndexFunc(l.f.Routes[:i], func(b Route) bool { return b.Name == t.Name })
		if t.Name != "" && before >= 0 {
			l.wrong(at("routes", i)+".name", fmt.Sprintf("routes[%d] is called %q already", before, t.Name), "give each route its own name")
		}
	}
}

// numbersTwice finds a number that leads to two routes from one trunk.
func (l *linter) numbersTwice() {
	for i, t := range l.f.Routes {
		for j, n := range t.Numbers {
			place := l.place(at("routes", i)+".numbers", j)
			if slices.Contains(t.Numbers[:j], n) {
				l.doubtful(place, fmt.Sprintf("%s is listed twice", n), "keep one")
				continue
			}
			for k, before := range l.f.Routes[:i] {
				if !slices.Contains(before.Numbers, n) || !l.shareTrunk(t, before) {
					continue
				}
				title := first([]string{before.Name}, at("routes", k))
				if t.Class != before.Class {
					l.wrong(place, fmt.Sprintf("%s is %s here and %s on route %q", n, t.Class, before.Class, title), "keep one, or give the routes different trunks")
				} else {
					l.doubtful(place, fmt.Sprintf("%s is on route %q already, which comes first", n, title), "keep one, or give the routes different trunks")
				}
				break
			}
		}
	}
}

// shareTrunk says that a call from one trunk could be on either route.
func (l *linter) shareTrunk(a, b Route) bool {
	return slices.ContainsFunc(l.f.Trunks, func(t Trunk) bool { return a.serves(t) && b.serves(t) })
}

func (l *linter) emergencyRoute() {
	if len(l.f.Routes) == 0 || slices.ContainsFunc(l.f.Routes, func(t Route) bool { return t.Class == Emergency && !t.Aid }) {
		return
	}
	l.wrong("routes", "there is no emergency route", "write class: emergency on the route that answers 999; numbers on no route go there too")
}

// unused finds what was named and plays no part: most likely it was forgotten elsewhere. Where the routes are wrong it can't be told.
func (l *linter) unused() {
	if len(l.f.Routes) == 0 || l.saidAbout("routes") {
		return
	}
	var asked []string
	everyTrunk := false
	var served []string
	for _, t := range l.f.Routes {
		for _, step := range t.Ask {
			asked = append(asked, step...)
		}
		for _, s := range t.Otherwise {
			asked = append(asked, s.Divert...)
		}
		everyTrunk = everyTrunk || len(t.Trunks) == 0
		served = append(served, t.Trunks...)
	}
	for _, t := range l.f.Trunks {
		asked = append(asked, t.Out...)
		if t.Kind != PBX && !everyTrunk && !slices.Contains(served, t.Name) {
			l.doubtful("trunks."+t.Name, "no route names this trunk: all its calls are treated as emergencies", "name it in a route's trunks")
		}
	}
	for _, e := range l.f.Endpoints {
		if !slices.Contains(asked, e.Name) {
			l.doubtful("endpoints."+e.Name, "nobody ever asks this endpoint", "name it in a route's ask, or take it out")
		}
	}
}
