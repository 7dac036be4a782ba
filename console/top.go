package console

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"nines/journal"
)

// WriteTop writes a live picture for a terminal of so many columns and lines; without a size it writes all of it, and no colours. The first lines say what is read
// from two metres, and evidence is cut rather than an endpoint left out.
func WriteTop(w io.Writer, l *Live, now time.Time, width, height int) error {
	t := &top{printer: printer{w: w}, width: width, colours: height > 0}
	b := newBoard(snapshot{At: l.At, Status: l.Status}, journal.LastThree)
	t.head(&b, l, now)
	t.answers(&b)
	t.figures(&l.Status)
	t.endpoints(&b, now)
	t.notices(&b, height)
	return t.err
}

// top draws; used counts lines.
type top struct {
	printer
	width   int
	used    int
	colours bool
}

func (t *top) say(format string, args ...any) {
	t.used++
	t.line(format, args...)
}

// paint colours a text; the words say the same without it.
func (t *top) paint(c tone, text string) string {
	if !t.colours {
		return text
	}
	code := map[tone]string{good: "1;32", warning: "1;30;43", alarm: "1;37;41"}[c]
	if code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (t *top) head(b *board, l *Live, now time.Time) {
	state := "takes calls"
	if b.NotReady != "" {
		state = t.paint(alarm, " ENDING: "+b.NotReady+" ")
	}
	age := ""
	if old := now.Sub(l.At); old > 3*time.Second {
		age = t.paint(alarm, fmt.Sprintf("  data is %s old ", short(old)))
	}
	quit := ""
	if t.colours {
		quit = "  q quits"
	}
	t.say("%s  %s  up %s  %s%s%s", b.Node, state, short(time.Duration(l.Status.UptimeSeconds)*time.Second), now.Format(time.TimeOnly), quit, age)
}

func (t *top) answers(b *board) {
	lines := append([]answerLine{b.Answer}, b.Others...)
	for i := range lines {
		a := &lines[i]
		if a.Route == "" {
			continue
		}
		sign := map[tone]string{good: "●", warning: "▲", alarm: "■"}[a.Tone]
		t.say("%s", t.paint(a.Tone, fmt.Sprintf(" %s %s %s ", sign, a.Lead, strings.ToUpper(a.Who)))+"  "+a.Word+then(a.Then))
	}
	t.say("")
}

func then(next []string) string {
	if len(next) == 0 {
		return ""
	}
	return ", then " + strings.Join(next, ", ")
}

func (t *top) figures(s *Status) {
	c := s.Calls
	t.say("calls    %d now, %d talking, %d ringing", c.Total, c.Talking, c.Ringing)
	t.say("         %d placed, %d answered, %d refused, %d cleared by the caller", c.Placed, c.Answered, c.Refused, c.Cleared)
	t.wrapped("rescues  ", s.Rescues.words())
	for _, x := range newTiles(s) {
		if x.Words {
			t.say("%-8s %s %s", strings.TrimPrefix(x.Label, "Routine: "), strings.ToLower(x.Value), x.Note)
		}
	}
	t.say("")
}

func (t *top) endpoints(b *board, now time.Time) {
	wide := len("ENDPOINT")
	for _, e := range b.Endpoints {
		wide = max(wide, utf8.RuneCountInString(e.title()))
	}
	beside := t.width == 0 || t.width >= wide+80 // else what is wrong has lines of its own
	head := ""
	if beside {
		head = "  EVIDENCE"
	}
	t.say("%-*s  %-9s %6s %9s %8s%s", wide, "ENDPOINT", "VERDICT", "SINCE", "CALLS", "PROBE", head)
	var wrong []endpointRow
	for _, e := range b.Endpoints {
		word := e.State.Word
		tone := e.State.Tone
		for _, m := range e.More {
			if m.Tone == warning {
				word = m.Word
				if tone != alarm {
					tone = warning
				}
			}
		}
		if e.Verdict == "down" {
			word = "DOWN"
		}
		name := e.title() + strings.Repeat(" ", wide-utf8.RuneCountInString(e.title()))
		evidence := ""
		if beside {
			evidence = "  " + e.Why
		} else if tone != good {
			wrong = append(wrong, e)
		}
		t.say("%s  %s %6s %9s %8s%s", name, t.paint(tone, fmt.Sprintf("%-9s", word)), ago(now, e.Since), e.load(), e.rtt(), evidence)
	}
	if len(wrong) > 0 {
		t.say("")
	}
	for _, e := range wrong {
		t.wrapped(e.Name+": ", e.Why)
	}
}

// wrapped says a text under a label, in as many lines as it takes.
func (t *top) wrapped(label, text string) {
	indent := strings.Repeat(" ", min(utf8.RuneCountInString(label), 12))
	line := label
	for _, word := range strings.Fields(text) {
		if t.width > 0 && utf8.RuneCountInString(line)+utf8.RuneCountInString(word) > t.width {
			t.say("%s", strings.TrimRight(line, " "))
			line = indent
		}
		line += word + " "
	}
	t.say("%s", strings.TrimRight(line, " "))
}

// notices fill what is left of the screen.
func (t *top) notices(b *board, height int) {
	all := append(append([]string(nil), b.Refused...), b.Notices...)
	if len(all) == 0 {
		return
	}
	t.say("")
	for i, n := range all {
		if height > 0 && t.used >= height-1 {
			t.say("… %d more: nines status", len(all)-i)
			return
		}
		t.say("! %s", n)
	}
}
