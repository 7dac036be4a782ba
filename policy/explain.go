package policy

import (
	"fmt"
	"strings"
	"time"

	"nines/health"
)

// String gives the word of the configuration.
func (c Class) String() string {
	switch c {
	case Emergency:
		return "emergency"
	case Routine:
		return "routine"
	case Test:
		return "test"
	default:
		return fmt.Sprintf("class %d", uint8(c))
	}
}

// MarshalText makes a class a word in JSON.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a class's word.
func (c *Class) UnmarshalText(text []byte) error {
	for _, w := range []Class{Emergency, Routine, Test} {
		if w.String() == string(text) {
			*c = w
			return nil
		}
	}
	return fmt.Errorf("read class: %q is none of emergency, routine, test", text)
}

// Health is the class in health's words, for [health.CallEvidence].
func (c Class) Health() health.Class {
	switch c {
	case Emergency:
		return health.Emergency
	case Routine:
		return health.Routine
	case Test:
		return health.Test
	default:
		panic("policy: unknown class")
	}
}

// String gives the word of the configuration.
func (k TrunkKind) String() string {
	switch k {
	case Carrier:
		return "carrier"
	case PBX:
		return "pbx"
	case Aid:
		return "aid"
	default:
		return fmt.Sprintf("trunk kind %d", uint8(k))
	}
}

// Explain says in plain words, a line each, where a call goes and why: for `nines check`, `nines explain` and the console.
func Explain(m Match, plan Plan) []string {
	if !m.Found {
		return []string{m.Why + ": refused with 404"}
	}
	lines := []string{fmt.Sprintf("%s (%s)", m.Why, plan.Class)}
	if plan.Why != "" {
		lines = append(lines, plan.Why)
	}
	for i, s := range plan.Steps {
		kind := ""
		if s.Partner {
			kind = ", a partner"
		}
		line := fmt.Sprintf("%d. %s%s (%s)", i+1, s.Endpoint, kind, s.Why)
		if i+1 < len(plan.Steps) {
			line += ": " + handOver(plan, s, plan.Steps[i+1])
		}
		lines = append(lines, line)
	}
	return append(lines, ending(m, plan))
}

// handOver says when the call goes on to the next endpoint.
func handOver(plan Plan, s, next Step) string {
	var b strings.Builder
	how := "as well"
	if !plan.Overlap {
		how = "instead"
	}
	fmt.Fprintf(&b, "%s is asked %s after %s of silence or %s with only a 100", next.Endpoint, how, s.Patience, plan.Progress)
	ringing := plan.Ringing
	if next.Partner {
		ringing = plan.RingingToPartners
	}
	if ringing > 0 {
		fmt.Fprintf(&b, " or %s of ringing", ringing)
	}
	if s.AsWell > 0 {
		fmt.Fprintf(&b, " or %s whatever it says", s.AsWell)
	}
	b.WriteString(", at once if it refuses")
	return b.String()
}

// ending says what the caller's side gets when nobody answers.
func ending(m Match, plan Plan) string {
	give := fmt.Sprintf("if nothing rings for %s", plan.GiveUp.Round(time.Millisecond))
	switch {
	case len(plan.Steps) == 0:
		return "nobody can be asked: 500 at once"
	case plan.Class == Emergency:
		return fmt.Sprintf("500 to %s if all refuse, or %s", m.Trunk.Name, give)
	default:
		return fmt.Sprintf("the refusal that tells most to %s if all refuse or one says busy, declined or wrong number, or 500 %s", m.Trunk.Name, give)
	}
}
