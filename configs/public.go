package configs

import (
	"cmp"
	"slices"
	"strings"
)

// Languages are those in which there is a text for the public.
var Languages = []string{"en", "cy"}

// PublicNotice is a text for web page and social media while our telephones are disturbed. Each number in it is one of the routes': nobody has to type one
// at night. lang is one of [Languages].
func (f *File) PublicNotice(lang string) string {
	emergency, routine := f.shortNumbers(Emergency), f.shortNumbers(Routine)
	p := f.Public
	t := english
	name, online := cmp.Or(p.Name, f.Name), p.Online
	if lang == "cy" {
		t, name, online = welsh, cmp.Or(p.NameCY, name), cmp.Or(p.OnlineCY, online)
	}
	var said []string
	say := func(text string, with ...string) {
		said = append(said, strings.NewReplacer(with...).Replace(text))
	}
	say(t.fault, "{name}", name)
	if len(emergency) > 0 {
		say(t.emergency, "{numbers}", strings.Join(emergency, t.or))
	}
	if f.takes("18000") {
		say(t.relay, "{number}", "18000")
	}
	if len(routine) > 0 {
		say(t.routine, "{numbers}", strings.Join(routine, t.or))
	}
	switch {
	case online != "":
		say(t.online, "{link}", online)
	case p.Alternative == "":
		say(t.later)
	}
	if p.Alternative != "" {
		say(t.alternative, "{number}", p.Alternative)
	}
	return strings.Join(said, " ")
}

// publicWords are the sentences of a text for the public.
type publicWords struct{ fault, emergency, relay, routine, online, alternative, later, or string }

var english = publicWords{
	fault:       "{name}: our telephones are disturbed at the moment.",
	emergency:   "In an emergency dial {numbers} as usual, and stay on the line until somebody answers.",
	relay:       "If you are deaf or cannot speak, use {number} or the emergency services you have registered for.",
	routine:     "Calls to {numbers} may not be answered.",
	online:      "If it is not an emergency, please use {link}.",
	alternative: "If it cannot wait and is not an emergency, call {number}.",
	later:       "If it is not an emergency, please call later.",
	or:          " or ",
}

var welsh = publicWords{
	fault:       "{name}: mae problem gyda'n ffonau ar hyn o bryd.",
	emergency:   "Mewn argyfwng, deialwch {numbers} fel arfer, ac arhoswch ar y llinell nes i rywun ateb.",
	relay:       "Os ydych yn fyddar neu'n methu siarad, defnyddiwch {number} neu'r gwasanaethau brys rydych wedi cofrestru ar eu cyfer.",
	routine:     "Efallai na fydd galwadau i {numbers} yn cael eu hateb.",
	online:      "Os nad yw'n argyfwng, defnyddiwch {link}.",
	alternative: "Os na all aros ac nad yw'n argyfwng, ffoniwch {number}.",
	later:       "Os nad yw'n argyfwng, ffoniwch yn nes ymlaen.",
	or:          " neu ",
}

// mostDigits is the length of a number that the public dials by heart; longer ones are connect-to numbers of carriers.
const mostDigits = 4

// shortNumbers are the numbers of a class that the public dials, in the order of the file.
func (f *File) shortNumbers(c Class) []string {
	var all []string
	for _, t := range f.Routes {
		for _, n := range t.Numbers {
			if t.Class == c && !t.Aid && len(n) <= mostDigits && strings.Trim(n, "0123456789") == "" && !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all
}

// takes says that an emergency route has a number.
func (f *File) takes(number string) bool {
	return slices.ContainsFunc(f.Routes, func(t Route) bool { return t.Class == Emergency && slices.Contains(t.Numbers, number) })
}
