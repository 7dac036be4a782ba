package leg

import (
	"slices"
	"strings"
)

// pack moves strings into one new piece of memory, so that a leg keeps no message alive and costs one allocation for all of them.
func pack(parts ...*string) {
	n := 0
	for _, p := range parts {
		n += len(*p)
	}
	var b strings.Builder
	b.Grow(n)
	for _, p := range parts {
		b.WriteString(*p)
	}
	rest := b.String()
	for _, p := range parts {
		*p, rest = rest[:len(*p)], rest[len(*p):]
	}
}

// packAll copies a list and its strings.
func packAll(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	all := strings.Join(list, "")
	out := make([]string, len(list))
	for i, s := range list {
		out[i], all = all[:len(s)], all[len(s):]
	}
	return out
}

// known are the method and option names that need no copy.
var known = func() map[string]string {
	m := map[string]string{}
	for _, s := range []string{
		"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "REGISTER", "PUBLISH",
		"100rel", "timer", "replaces", "norefersub", "histinfo", "path", "outbound", "gruu", "tdialog", "precondition", "answermode", "resource-priority",
	} {
		m[s] = s
	}
	return m
}()

// mostNames is how many names a peer may tell us: a leg stays lean whatever comes.
const mostNames = 32

// internAll copies a list of names; had is returned when it says the same already.
func internAll(had, list []string) []string {
	list = list[:min(len(list), mostNames)]
	if slices.Equal(had, list) && had != nil {
		return had
	}
	out := make([]string, len(list))
	for i, s := range list {
		name, ok := known[s]
		if !ok {
			name = strings.Clone(s)
		}
		out[i] = name
	}
	return out
}
