package main

import (
	"encoding/json"
	"strings"
)

// screen cuts what is written to it to the size of a terminal.
type screen struct {
	width, height int
	rest          string
	lines         []string
}

// Write takes text for the screen.
func (s *screen) Write(b []byte) (int, error) {
	text := s.rest + string(b)
	for {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			s.rest = text
			return len(b), nil
		}
		s.line(line)
		text = rest
	}
}

func (s *screen) line(text string) { s.lines = append(s.lines, text) }

// last replaces the last line that is seen.
func (s *screen) last(text string) {
	for len(s.lines) < s.height {
		s.line("")
	}
	s.lines[s.height-1] = text
}

// String is what the terminal gets: every line ends where the terminal does.
func (s *screen) String() string {
	var b strings.Builder
	for i, line := range s.lines {
		if i == s.height {
			break
		}
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(cut(line, s.width))
		b.WriteString(restOfLine)
	}
	return b.String()
}

// cut shortens a line to so many letters; the sequences that colour it take no room.
func cut(line string, width int) string {
	room, escaped := width, false
	for i, r := range line {
		switch {
		case escaped:
			escaped = r != 'm'
		case r == '\x1b':
			escaped = true
		case room == 0:
			return line[:i] + "\x1b[0m"
		default:
			room--
		}
	}
	return line
}

func jsonLine(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(b, '\n'), err
}
