package console

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// RoutineStatus is how routine callers are served whom nobody takes, and what load protection and operators have switched.
type RoutineStatus struct {
	Announcing       int           `json:"announcing"`              // callers who hear an announcement now
	EmergencyWaiting int           `json:"emergency_waiting"`       // emergency calls without an answer now: what load protection goes by
	PartnerSlots     *int          `json:"partner_slots,omitempty"` // free slots at partners; none: no partner says how many calls it takes
	Shed             []ShedStatus  `json:"shed,omitempty"`          // routes whose callers hear the announcement at once
	Treats           []TreatStatus `json:"treats,omitempty"`        // routes that an operator has treated as emergency
	Lines            []LineStatus  `json:"lines,omitempty"`         // routes in whose line somebody stands
	// Since the start of this process.
	Announced  uint64 `json:"announced"`  // calls that we answered ourselves, to announce to them
	Escaped    uint64 `json:"escaped"`    // callers who went to a person instead, by a key or the text relay
	Unplayable uint64 `json:"unplayable"` // times that nothing could be played to a caller
	// Heard is what was announced, by route, announcement, and whether it was heard to its end.
	Heard []HeardStatus     `json:"heard,omitempty"`
	Sheds map[string]uint64 `json:"sheds,omitempty"` // times that a route was shed
}

// ShedStatus is a route that load protection has switched (R26).
type ShedStatus struct {
	Route string    `json:"route"`
	Since time.Time `json:"since"`
	Why   string    `json:"why"`          // the evidence
	Low   time.Time `json:"low,omitzero"` // since when the load has been low enough to go back; zero: it is not
}

// LineStatus is a route's line.
type LineStatus struct {
	Route   string `json:"route"`
	Waiting int    `json:"waiting"` // callers
}

// HeardStatus counts announcements.
type HeardStatus struct {
	Route        string  `json:"route"`
	Announcement string  `json:"announcement"`
	Finished     bool    `json:"finished"` // heard to its end
	Times        uint64  `json:"times"`
	Seconds      float64 `json:"seconds"` // heard, altogether
}

// routine sets them.
func (s Scrape) routine(st *Status) {
	r := &st.Routine
	s.Set(Announcing, float64(r.Announcing))
	seconds := map[[2]string]float64{}
	for _, h := range r.Heard {
		end := "left"
		if h.Finished {
			end = "finished"
		}
		s.Set(Announcements, float64(h.Times), h.Route, h.Announcement, end)
		seconds[[2]string{h.Route, h.Announcement}] += h.Seconds
	}
	for k, v := range seconds {
		s.Set(AnnouncedSeconds, v, k[0], k[1])
	}
	s.Set(Unplayables, float64(r.Unplayable))
	s.Set(Escapes, float64(r.Escaped))
	s.Set(EmergencyWaiting, float64(r.EmergencyWaiting))
	for _, route := range st.Routes {
		if route.Class == "emergency" {
			continue
		}
		s.Set(Shed, one(r.sheds(route.Name)), route.Name)
		s.Set(Sheds, float64(r.Sheds[route.Name]), route.Name)
		s.Set(Treated, one(r.treated(route.Name)), route.Name)
		waiting := 0
		for _, l := range r.Lines {
			if l.Route == route.Name {
				waiting = l.Waiting
			}
		}
		s.Set(LineWaiting, float64(waiting), route.Name)
	}
}

func (r *RoutineStatus) sheds(route string) bool {
	for _, x := range r.Shed {
		if x.Route == route {
			return true
		}
	}
	return false
}

func (r *RoutineStatus) treated(route string) bool {
	for _, x := range r.Treats {
		if x.Route == route {
			return true
		}
	}
	return false
}

// writeText writes the lines of the status about routine callers.
func (r *RoutineStatus) writeText(t io.Writer, now time.Time) {
	words := []string{fmt.Sprintf("%d hear an announcement now, %d have since the start", r.Announcing, r.Announced)}
	if r.Escaped > 0 {
		words = append(words, fmt.Sprintf("%d went to a person", r.Escaped))
	}
	if r.Unplayable > 0 {
		words = append(words, fmt.Sprintf("%d could not be played to", r.Unplayable))
	}
	fmt.Fprintf(t, "  routine\t%s\n", strings.Join(words, ", "))
	for _, x := range r.Lines {
		fmt.Fprintf(t, "  \t%s: %d wait for a person\n", x.Route, x.Waiting)
	}
	for _, x := range r.Shed {
		fmt.Fprintf(t, "  \t%s HEARS THE ANNOUNCEMENT AT ONCE since %s (%s): %s\n", x.Route, clock(x.Since), ago(now, x.Since), x.Why)
	}
	for _, x := range r.Treats {
		fmt.Fprintf(t, "  \t%s IS TREATED AS EMERGENCY until %s (%s), by %s: %s\n", x.Route, clock(x.Until), x.left(), x.By, x.Why)
	}
}
