package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// explain tells what calls showed: all of them first, then by number and class, numbers that fail before the others.
func (d *window) explain(now time.Time) []Window {
	d.forget(now)
	var windows []Window
	for _, n := range d.numbers {
		fails := ""
		if n.failing(now) {
			fails = n.words
		}
		found := false
		for _, class := range []Class{Emergency, Routine, Test} {
			w := Window{Class: class.String(), Number: n.text, Fails: fails}
			for _, o := range n.recent {
				if o.class == class {
					w.count(o)
				}
			}
			if w.Calls > 0 {
				windows, found = append(windows, w), true
			}
		}
		if fails != "" && !found {
			windows = append(windows, Window{Number: n.text, Fails: fails, From: n.from, To: n.from})
		}
	}
	slices.SortFunc(windows, func(a, b Window) int {
		return cmp.Or(-cmp.Compare(min(len(a.Fails), 1), min(len(b.Fails), 1)), cmp.Compare(a.Number, b.Number), cmp.Compare(a.Class, b.Class))
	})
	var all Window
	for _, o := range d.recent {
		all.count(o)
	}
	if all.Calls == 0 && len(windows) == 0 {
		return nil
	}
	return append([]Window{all}, windows...)
}

// count adds a call. One that talks or lacks audio counts as that only: it was answered.
func (w *Window) count(o *outcome) {
	if !o.told && !o.heard {
		return // a queue's caller who cleared is counted by what else was told of the call
	}
	if w.Counts == nil {
		w.Counts = map[string]int{}
		w.From = o.at
	}
	w.Calls++
	w.To = o.at
	what := o.last()
	word := what.String()
	if o.code > 0 && !o.heard && (what == CallRefused || what == CallFailed || what == CallBusy) {
		word = fmt.Sprintf("%s %d", word, o.code)
	}
	w.Counts[word]++
}

// words is a window in a few words: "3 calls from 12:00:01 to 12:03:20: 2 answered, 1 failed 503".
func (w *Window) words() string {
	names := make([]string, 0, len(w.Counts))
	for name := range w.Counts {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", w.Counts[name], name)
	}
	if w.Calls == 0 {
		return "no calls"
	}
	return fmt.Sprintf("%s from %s to %s: %s", calls(w.Calls), clock(w.From), clock(w.To), strings.Join(names, ", "))
}
