package configs

import (
	"fmt"
	"strings"
)

// suggest finds what the writer probably meant, or "".
func suggest(written string, known []string) string {
	if len(written) > 64 {
		return "" // nobody misspells that long, and the distance is quadratic
	}
	best, bestDistance := "", 1+max(1, len(written)/2)
	for _, k := range known {
		d := distance(strings.ToLower(written), strings.ToLower(k))
		// "control" was meant to be "control-room", however many letters are missing.
		if len(written) >= 3 && strings.HasPrefix(k, written) {
			d = 1
		}
		if d < bestDistance && d < len(k) {
			best, bestDistance = k, d
		}
	}
	return best
}

// didYouMean says what was probably meant, else what there is. things names the known in the plural.
func didYouMean(written string, known []string, things string) string {
	if s := suggest(written, known); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	if len(known) == 0 {
		return "there are no " + things + " in this file"
	}
	return "the " + things + " are " + list(known)
}

// DidYouMean says what was probably meant, else what there is: did you mean "north"? things names the known in the plural.
func DidYouMean(written string, known []string, things string) string {
	return didYouMean(written, known, things)
}

// distance counts the letters that were added, dropped, changed or swapped with their neighbour (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, now := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		now[0] = i + 1
		for j := range y {
			change := 1
			if x[i] == y[j] {
				change = 0
			}
			now[j+1] = min(last[j]+change, last[j+1]+1, now[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(y)]
}

// list joins words: "a, b and c".
func list(words []string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
}
