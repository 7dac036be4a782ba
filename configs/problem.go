package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says what a problem means for the file.
type Severity uint8

// The severities.
const (
	Error   Severity = iota // the file is refused
	Warning                 // the file is taken; a part is off, or probably not what was meant
	Notice                  // the key is accepted and does nothing in this version
)

// String gives the severity in lower case.
func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	case Notice:
		return "notice"
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// Problem is one thing to know about a file: where, what, and what to do.
type Problem struct {
	Severity Severity
	File     string
	Line     int    // from 1
	Column   int    // from 1
	Path     string // "routes[0].ask[1]"; empty for the whole file
	What     string
	Fix      string // may be empty
}

// String gives the problem on one line: "nines.yaml:9: routes[0].ask[1]: no endpoint is called "soth"; did you mean "north"?".
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	if p.Severity != Error {
		b.WriteString(p.Severity.String() + ": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.What)
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	return b.String()
}

// Problems is everything there is to know about a file, in the order of its lines.
type Problems []Problem

// OK says that the file is usable: it holds no Error.
func (ps Problems) OK() bool { return len(ps.Of(Error)) == 0 }

// Of gives the problems of one severity.
func (ps Problems) Of(s Severity) Problems {
	var of Problems
	for _, p := range ps {
		if p.Severity == s {
			of = append(of, p)
		}
	}
	return of
}

// String gives a line for each problem.
func (ps Problems) String() string {
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Severity, b.Severity))
	})
}
