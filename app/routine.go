package app

import (
	"cmp"
	"slices"

	"nines/configs"
	"nines/console"
	"nines/policy"
)

// routine fills in how routine callers are served whom nobody takes.
func (n *Node) routine(st *console.Status, f *configs.File) {
	c := n.sip.Counters()
	r := &st.Routine
	r.Announcing, r.EmergencyWaiting = max(int(c.Announcing), 0), max(int(c.EmergencyWaiting), 0)
	r.Announced, r.Escaped, r.Unplayable = c.Announced, c.Escaped, c.Unplayable
	if l := n.sip.Load(); l.Partners {
		r.PartnerSlots = &l.Slots
	}
	for _, s := range n.sip.Shed() {
		r.Shed = append(r.Shed, console.ShedStatus{Route: string(s.Route), Since: s.Since, Why: s.Why, Low: s.Low})
	}
	r.Treats = n.treatStatuses()
	for _, route := range f.Routes {
		if w := n.sip.Waiting(policy.RouteName(route.Name)); w > 0 {
			r.Lines = append(r.Lines, console.LineStatus{Route: route.Name, Waiting: w})
		}
	}
	n.tally.heard(r)
	st.Notices = append(st.Notices, n.voices.words()...)
	if lost := n.treats.file.lost(); lost != "" {
		st.Notices = append(st.Notices, "which routes are treated as emergency is not written down, a restart goes back to before: "+lost)
	}
}

// heard gives what was announced.
func (t *tally) heard(r *console.RoutineStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, a := range t.announced {
		r.Heard = append(r.Heard, console.HeardStatus{
			Route: string(k.route), Announcement: string(k.name), Finished: k.finished, Times: a.n, Seconds: a.heard.Seconds(),
		})
	}
	slices.SortFunc(r.Heard, func(a, b console.HeardStatus) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Announcement, b.Announcement), cmp.Compare(one(b.Finished), one(a.Finished)))
	})
	if len(t.shed) > 0 {
		r.Sheds = map[string]uint64{}
	}
	for route, times := range t.shed {
		r.Sheds[string(route)] = times
	}
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
