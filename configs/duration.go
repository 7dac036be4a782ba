package configs

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

var (
	errNoUnit   = errors.New("has no unit")
	errDuration = errors.New("is no duration")
	errNegative = errors.New("is negative")
)

// Duration reads a duration as the file has it: "90s", "2h", "1d12h".
func Duration(s string) (time.Duration, error) { return parseDuration(s) }

// parseDuration reads a duration as Go writes it, with d for days in front ("90s", "1m30s", "400d", "1d12h"), and a bare 0.
// A bare number would be seconds to one reader and milliseconds to the next, so it is refused.
func parseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if strings.HasPrefix(s, "-") {
		return 0, errNegative
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, errNoUnit
	}
	rest := s
	var days time.Duration
	if n, after, ok := strings.Cut(s, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 32)
		if err != nil || v > uint64(math.MaxInt64/day) {
			return 0, errDuration
		}
		days, rest = time.Duration(v)*day, after
		if rest == "" {
			return days, nil
		}
	}
	if strings.ContainsAny(rest, "+-") {
		return 0, errDuration
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d > math.MaxInt64-days {
		return 0, errDuration
	}
	return days + d, nil
}

// words gives a duration as one says it: "800 ms", "1 s", "2 min", "1m30s".
func words(d time.Duration) string {
	switch {
	case d == 0:
		return "0 s"
	case d >= day && d%day == 0:
		return plural(int(d/day), "day")
	case d >= time.Hour && d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	case d > time.Minute && d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d <= 2*time.Minute && d%time.Second == 0:
		return strconv.Itoa(int(d/time.Second)) + " s"
	case d < time.Second && d%time.Millisecond == 0:
		return strconv.Itoa(int(d/time.Millisecond)) + " ms"
	}
	return d.String()
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
