package leg

import "strings"

// SplitTag takes the tag out of a From or To value: `"Al" <sip:al@x>;tag=1;p=2` becomes `"Al" <sip:al@x>;p=2` and `1`. Everything else stays byte for byte.
func SplitTag(value string) (rest, tag string) {
	from := headerParams(value)
	for i := from; i < len(value); {
		end := paramEnd(value, i+1)
		name, val, _ := strings.Cut(value[i+1:end], "=")
		if strings.EqualFold(strings.TrimSpace(name), "tag") {
			return strings.TrimRight(value[:i], " \t") + value[end:], strings.TrimSpace(val)
		}
		i = end
	}
	return value, ""
}

// headerParams is where the parameters of a name-addr or addr-spec begin: the index of a ';', or the length.
func headerParams(value string) int {
	start := 0
	if end := angleClose(value); end >= 0 {
		start = end + 1
	}
	// RFC 3261 §20.10: without angle brackets every parameter belongs to the header.
	if i := strings.IndexByte(value[start:], ';'); i >= 0 {
		return start + i
	}
	return len(value)
}

// paramEnd is the index of the ';' that ends the parameter at i, outside of quotes, or the length.
func paramEnd(value string, i int) int {
	quoted := false
	for ; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return i
		}
	}
	return len(value)
}

// angleOpen is the index of the '<' outside of the quoted display name, or -1.
func angleOpen(value string) int {
	quoted := false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			return i
		}
	}
	return -1
}

func angleClose(value string) int {
	open := angleOpen(value)
	if open < 0 {
		return -1
	}
	if i := strings.IndexByte(value[open:], '>'); i >= 0 {
		return open + i
	}
	return -1
}

// addressURI is the URI of a name-addr or addr-spec.
func addressURI(value string) string {
	open, end := angleOpen(value), angleClose(value)
	if open >= 0 && end > open {
		return value[open+1 : end]
	}
	return strings.TrimSpace(value[:headerParams(value)])
}

// loose says whether a Route value names a loose router: its URI has the lr parameter (RFC 3261 §19.1.1), with or without a value.
func loose(route string) bool {
	uri := addressURI(route)
	uri, _, _ = strings.Cut(uri, "?")
	_, params, _ := strings.Cut(uri, ";")
	for params != "" {
		var p string
		p, params, _ = strings.Cut(params, ";")
		name, _, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "lr") {
			return true
		}
	}
	return false
}

// requestURI takes out of a strict router's URI what a Request-URI may not have: headers and the method parameter (RFC 3261 §12.2.1.1, §19.1.1).
func requestURI(uri string) string {
	uri, _, _ = strings.Cut(uri, "?")
	base, params, found := strings.Cut(uri, ";")
	if !found {
		return uri
	}
	var b strings.Builder
	b.WriteString(base)
	for params != "" {
		var p string
		p, params, _ = strings.Cut(params, ";")
		if name, _, _ := strings.Cut(p, "="); !strings.EqualFold(name, "method") {
			b.WriteByte(';')
			b.WriteString(p)
		}
	}
	return b.String()
}

// reversed is the UAC's route set: the Record-Routes of the response from the last to the first (RFC 3261 §12.1.2).
func reversed(recordRoutes []string) []string {
	out := packAll(recordRoutes)
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}
