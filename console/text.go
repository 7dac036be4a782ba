package console

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText writes the status as a person reads it at a glance; now is the reader's time.
func (s *Status) WriteText(w io.Writer, now time.Time) error {
	p := &printer{w: w}
	state := "takes calls"
	if !s.Ready {
		state = "ENDING: " + s.NotReady
	}
	p.line("%s  %s  (nines %s, up %s, media in %s)", s.Name, state, s.Version.Version, short(time.Duration(s.UptimeSeconds)*time.Second), s.FastPath)
	for _, n := range s.Notices {
		p.line("  ! %s", n)
	}
	if !s.Config.Accepted {
		p.line("  ! the last configuration was refused; the one of %s runs", clock(s.Config.Loaded))
		for _, problem := range s.Config.Problems {
			p.line("    %s", problem)
		}
	}
	p.line("")
	p.table(func(t io.Writer) {
		fmt.Fprintln(t, "  ENDPOINT\tVERDICT\tSINCE\tCALLS\tPROBE\tWHY")
		for _, e := range s.Endpoints {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\n", e.title(), e.shout(), ago(now, e.Since), e.load(), e.rtt(), e.why())
		}
	})
	if len(s.Trunks) > 0 {
		p.line("")
		p.table(func(t io.Writer) {
			fmt.Fprintln(t, "  TRUNK\tKIND\tCALLS\tLAST SEEN")
			for _, k := range s.Trunks {
				fmt.Fprintf(t, "  %s\t%s\t%d\t%s\n", k.Name, k.Kind, k.Calls, seen(now, k.LastSeen))
			}
		})
	}
	p.line("")
	p.table(func(t io.Writer) {
		fmt.Fprintf(t, "  calls\t%d now: %d talking, %d ringing%s\n", s.Calls.Total, s.Calls.Talking, s.Calls.Ringing, byRoute(s.Calls.ByRoute))
		fmt.Fprintf(t, "  \t%d placed, %d answered, %d refused, %d cleared by the caller\n", s.Calls.Placed, s.Calls.Answered, s.Calls.Refused, s.Calls.Cleared)
		fmt.Fprintf(t, "  rescues\t%s\n", s.Rescues.words())
		fmt.Fprintf(t, "  callers\t%s\n", s.CallBacks.words())
		fmt.Fprintf(t, "  book\t%s\n", s.Book.Words)
		s.Routine.writeText(t, now)
		fmt.Fprintf(t, "  ports\t%d used, %d free (%s)\n", s.Ports.Used, s.Ports.Free, s.Ports.Range)
		fmt.Fprintf(t, "  sip\t%d in, %d out, %d sent again, %d came again%s\n", s.SIP.Received, s.SIP.Sent, s.SIP.Retransmissions, s.SIP.Repeats, dropped(s.SIP.Dropped))
		fmt.Fprintf(t, "  media\t%d streams, %d packets, %d lost on the way to us%s\n", s.Media.Streams, s.Media.Packets, s.Media.Lost, dropped(s.Media.Dropped))
		fmt.Fprintf(t, "  file\t%s, loaded %s\n", s.Config.Path, clock(s.Config.Loaded))
		fmt.Fprintf(t, "  listens\t%s\n", strings.Join(s.Listen, ", "))
		if s.TLS != nil {
			fmt.Fprintf(t, "  tls\t%s\n", s.TLS.words())
		}
	})
	return p.err
}

// WriteText writes all that is known of the endpoint and why it is believed.
func (e *EndpointStatus) WriteText(w io.Writer, now time.Time) error {
	p := &printer{w: w}
	p.line("%s  %s since %s (%s)", e.title(), e.shout(), clock(e.Since), ago(now, e.Since))
	p.line("  %s", e.Explanation)
	p.line("")
	p.table(func(t io.Writer) {
		fmt.Fprintf(t, "  asked at\t%s\n", e.URI)
		fmt.Fprintf(t, "  calls\t%s\n", e.load())
		fmt.Fprintf(t, "  last probe\t%s, round trip %s\n", seen(now, e.LastProbe), e.rtt())
		if !e.NextProbe.IsZero() {
			fmt.Fprintf(t, "  next probe\tin %s\n", max(0, e.NextProbe.Sub(now)).Round(100*time.Millisecond))
		}
		if e.WhatBringsBack != "" {
			fmt.Fprintf(t, "  back when\t%s\n", e.WhatBringsBack)
		}
		if e.Hold != nil {
			fmt.Fprintf(t, "  held\tby %s until %s: %s\n", e.Hold.By, clock(e.Hold.Until), e.Hold.Why)
		}
		for i, line := range e.Evidence {
			head := ""
			if i == 0 {
				head = "evidence"
			}
			fmt.Fprintf(t, "  %s\t%s\n", head, line)
		}
		if e.ResponseMillis > 0 {
			fmt.Fprintf(t, "  first response\t%s to calls lately%s\n", millis(e.ResponseMillis), e.longRun())
		}
	})
	if len(e.Addresses) > 0 {
		p.line("")
		p.table(func(t io.Writer) {
			fmt.Fprintln(t, "  ADDRESS\tVERDICT\tSINCE\tLAST SEEN")
			for _, a := range e.Addresses {
				fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", a.Address, a.Verdict, ago(now, a.Since), a.Words)
			}
		})
	}
	if len(e.RecentCalls) > 0 {
		p.line("")
		p.table(func(t io.Writer) {
			fmt.Fprintln(t, "  CALLS OF LATE\tNUMBER\tFROM\tTO\tCALLS\tOUTCOMES")
			for _, c := range e.RecentCalls {
				fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%d\t%s\n", cmp.Or(c.Class, "all"), cmp.Or(c.Number, "all"), daytime(c.From), daytime(c.To), c.Calls, c.outcomes())
			}
		})
	}
	return p.err
}

// outcomes lists what became of the calls, the most frequent first.
func (c *CallWindow) outcomes() string {
	names := slices.SortedFunc(maps.Keys(c.Outcomes), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.Outcomes[b], c.Outcomes[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", c.Outcomes[name], name)
	}
	if c.Fails != "" {
		names = append(names, "IT "+c.Fails)
	}
	return strings.Join(names, ", ")
}

func (e *EndpointStatus) longRun() string {
	if e.LongRunMillis == 0 {
		return ""
	}
	return ", " + millis(e.LongRunMillis) + " in the long run"
}

// words says what became of the rescues.
func (r *RescueStatus) words() string {
	if r.Begun == 0 && r.LostTalking == 0 {
		return "none"
	}
	var b strings.Builder
	lost := "none lost"
	if r.LostTalking > 0 {
		lost = fmt.Sprintf("%d LOST WHILE TALKING", r.LostTalking)
	}
	fmt.Fprintf(&b, "%d begun, %d now; %d rescued, %d kept by their endpoint, %s", r.Begun, r.Running, r.Rescued, r.Kept, lost)
	if r.Rescued > 0 {
		fmt.Fprintf(&b, "; gap %.0f ms the last, %.0f median, %.0f p99", r.LastGapMillis, r.GapP50Millis, r.GapP99Millis)
	}
	return b.String()
}

// WriteText writes what became of a reload.
func (r *ReloadResult) WriteText(w io.Writer) error {
	p := &printer{w: w}
	if !r.Accepted {
		p.line("refused; the running configuration stays:")
		p.list(r.Problems)
		return p.err
	}
	p.line("accepted")
	p.list(r.Changed)
	if len(r.Restart) > 0 {
		p.line("needs a restart:")
		p.list(r.Restart)
	}
	return p.err
}

func (e *EndpointStatus) title() string {
	if e.Partner {
		return e.Name + " (partner)"
	}
	return e.Name
}

// shout is the verdict as it must be seen from afar.
func (e *EndpointStatus) shout() string {
	v := e.Verdict
	if v == "down" {
		v = "DOWN"
	}
	if e.Returning {
		v += ", RETURNING"
	}
	if e.Held {
		v += ", HELD"
	}
	return v
}

// why is the verdict's evidence at a glance; the explanation is for who asks about the endpoint.
func (e *EndpointStatus) why() string {
	why := e.Explanation
	if len(e.Evidence) > 0 {
		why = e.Evidence[0]
	}
	if e.Hold != nil {
		why += fmt.Sprintf("; held by %s until %s: %s", e.Hold.By, clock(e.Hold.Until), e.Hold.Why)
	}
	return why
}

func (e *EndpointStatus) load() string {
	if e.Limit == 0 {
		return fmt.Sprint(e.Calls)
	}
	return fmt.Sprintf("%d of %d", e.Calls, e.Limit)
}

func (e *EndpointStatus) rtt() string {
	if e.RTTMillis == 0 {
		return "-"
	}
	return millis(e.RTTMillis)
}

func millis(ms float64) string { return fmt.Sprintf("%.1f ms", ms) }

// daytime is a time of today.
func daytime(t time.Time) string { return t.Format(time.TimeOnly) }

func byRoute(routes map[string]int) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		fmt.Fprintf(&b, "; %s: %d", name, routes[name])
	}
	return b.String()
}

func dropped(reasons map[string]uint64) string {
	total := uint64(0)
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		if n := reasons[reason]; n > 0 {
			total += n
			parts = append(parts, fmt.Sprintf("%s %d", strings.ReplaceAll(reason, "_", " "), n))
		}
	}
	if total == 0 {
		return ", none dropped"
	}
	return fmt.Sprintf(", %d dropped (%s)", total, strings.Join(parts, ", "))
}

// short writes a duration in its largest unit that fits.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

func ago(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	return short(now.Sub(then))
}

func seen(now, then time.Time) string {
	if then.IsZero() {
		return "never"
	}
	return short(now.Sub(then)) + " ago"
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Format("2006-01-02 15:04:05")
}

// printer writes lines until the first error, which it keeps.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) list(lines []string) {
	for _, l := range lines {
		p.line("  %s", l)
	}
}

func (p *printer) table(fill func(io.Writer)) {
	if p.err != nil {
		return
	}
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fill(t)
	p.err = t.Flush()
}

func (t *TLSStatus) words() string {
	switch {
	case !t.Usable:
		return "NO CERTIFICATE: nobody can connect by TLS"
	case t.Expired:
		return t.Subject + ", EXPIRED on " + t.Expires.Format(time.DateOnly)
	}
	return t.Subject + ", until " + t.Expires.Format(time.DateOnly)
}

// words says who must be rung back.
func (c *CallBackStatus) words() string {
	said := "nobody must be rung back"
	if c.Open > 0 {
		said = fmt.Sprintf("%d MUST BE RUNG BACK: nines callbacks", c.Open)
	}
	if c.Redials > 0 {
		said += fmt.Sprintf("; %d rang an emergency number within ten minutes of an announcement", c.Redials)
	}
	return said
}
