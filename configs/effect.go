package configs

import (
	"regexp"
	"strings"
)

// withoutEffect lists the keys that are read and checked and do nothing in this version. When one starts to work, take its line out.
// A path's * stands for one name or one place in a list; in is the test of what was written (nil: anything).
var withoutEffect = []struct {
	path string
	in   func(text string) bool
	what string
}{
	{"media.fast_path", is("require"), "this version relays media in userspace only"},
}

func is(word string) func(string) bool { return func(text string) bool { return text == word } }

// withoutEffect says which written keys do nothing yet.
func (r *reader) withoutEffect() {
	for _, w := range withoutEffect {
		form := pathForm(w.path)
		for _, m := range r.marks {
			if form.MatchString(m.path) && (w.in == nil || w.in(m.text)) {
				r.report(Notice, m.path, "does nothing yet", w.what)
			}
		}
	}
}

// pathForm turns a path with * into an expression.
func pathForm(path string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(path), `\*`, `[^.\[\]]+`) + "$")
}
