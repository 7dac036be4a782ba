package sip

import "math/rand/v2"

// A token is what our branches, tags and Call-IDs are made of: it says which loop and which call a message belongs to, and can't be guessed.
//
//	n<loop>-<call>-<part>-<random>
//
// loop, call and part are in base 36, random has 64 bits. Part tells the dialogs of a call apart: 0 is the caller's, n that of attempt n.
type token struct {
	loop int
	call uint64
	part int
}

const (
	maxLoops     = 64
	branchCookie = "z9hG4bK" // RFC 3261 §8.1.1.7
	digits36     = "0123456789abcdefghijklmnopqrstuvwxyz"
)

func (t token) append(b []byte, rnd *rand.Rand) []byte {
	b = append(b, 'n')
	b = append36(b, uint64(t.loop))
	b = append(b, '-')
	b = append36(b, t.call)
	b = append(b, '-')
	b = append36(b, uint64(t.part))
	b = append(b, '-')
	return append36(b, rnd.Uint64()|1<<63) // the high bit keeps its length
}

func (t token) text(rnd *rand.Rand) string { return string(t.append(make([]byte, 0, 40), rnd)) }

func (t token) branch(rnd *rand.Rand) string {
	return string(t.append(append(make([]byte, 0, 48), branchCookie...), rnd))
}

func append36(b []byte, v uint64) []byte {
	var tmp [13]byte
	i := len(tmp)
	for {
		i--
		tmp[i] = digits36[v%36]
		v /= 36
		if v == 0 {
			return append(b, tmp[i:]...)
		}
	}
}

// branchToken is what follows the magic cookie.
func branchToken[T string | []byte](branch T) T {
	if len(branch) > len(branchCookie) && string(branch[:len(branchCookie)]) == branchCookie {
		return branch[len(branchCookie):]
	}
	return branch[:0]
}

// parseToken reads a token back. The random part is checked by its length only; whoever owns the call compares the whole text.
func parseToken[T string | []byte](s T) (token, bool) {
	if len(s) < 8 || s[0] != 'n' {
		return token{}, false
	}
	var fields [3]uint64
	i := 1
	for f := range fields {
		start := i
		for i < len(s) && s[i] != '-' {
			d := digit36(s[i])
			if d < 0 || i-start > 12 {
				return token{}, false
			}
			fields[f] = fields[f]*36 + uint64(d)
			i++
		}
		if i == start || i >= len(s) {
			return token{}, false
		}
		i++
	}
	if rest := len(s) - i; rest < 12 || rest > 13 {
		return token{}, false
	}
	for ; i < len(s); i++ {
		if digit36(s[i]) < 0 {
			return token{}, false
		}
	}
	if fields[0] >= maxLoops || fields[2] > 1<<16 {
		return token{}, false
	}
	return token{loop: int(fields[0]), call: fields[1], part: int(fields[2])}, true
}

func digit36(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 10
	}
	return -1
}
