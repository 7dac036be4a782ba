package sdp

import (
	"net/netip"
	"strconv"
	"strings"
)

// Edition is what a description shall say instead.
type Edition struct {
	SessionID uint64     // of our o= line: the same for the whole leg
	Version   uint64     // of our o= line: one more whenever what we send changes (RFC 3264 §8)
	Origin    netip.Addr // of our o= line; invalid leaves the o= line as it is
	Streams   []Local    // by m= line; a stream that has none here, or a zero one, is left alone
}

// Local is where we take the packets of a stream.
type Local struct {
	Addr netip.Addr
	RTP  uint16
	RTCP uint16
}

// serves says whether there is an address to write.
func (l Local) serves() bool { return l.Addr.IsValid() && l.RTP != 0 }

// Edit gives a description our addresses and ports in c=, m=, a=rtcp and o=, and drops ICE (a=candidate, a=ice-*, a=remote-candidates,
// a=end-of-candidates) so that media stays on us. Everything else stays byte for byte: also c=0.0.0.0, port 0 and streams over TCP.
//
// One line may be added: where a TCP stream lives on the session's c= line and others need ours there, the TCP stream gets that line as its own.
func Edit(sdp []byte, e Edition) []byte {
	text := string(sdp)
	ed := editor{Edition: e, out: make([]byte, 0, len(sdp)+128), stream: -1}
	ed.survey(text)
	for text != "" {
		var ln line
		ln, text = cut(text)
		ed.line(ln)
	}
	return ed.out
}

// editor is an edit under way.
type editor struct {
	Edition
	out     []byte
	stream  int    // the m= line we are in; -1 before the first
	media   media  // that line
	local   Local  // where we take it; zero when it is left alone
	session string // the session's c= line, when a TCP stream must keep it as its own
	shared  netip.Addr
	lonely  []int // TCP streams without a c= line of their own
}

// survey decides what becomes of the session's c= line: shared is the address to put there, invalid when it stays.
func (e *editor) survey(text string) {
	var (
		stream  = -1
		session string
		own     bool // the stream has its own c=
		inherit netip.Addr
		first   netip.Addr
		m       media
	)
	finish := func() {
		l := e.localOf(stream, m)
		switch {
		case stream < 0:
		case overTCP(m.proto) && !own && m.port != 0:
			e.lonely = append(e.lonely, stream)
		case l.serves() && !own && !inherit.IsValid():
			inherit = l.Addr
		}
		if l.serves() && !first.IsValid() {
			first = l.Addr
		}
	}
	for text != "" {
		var ln line
		ln, text = cut(text)
		switch {
		case ln.kind == 'm':
			finish()
			stream, own, m = stream+1, false, mediaLine(ln.value)
		case ln.kind == 'c' && stream < 0:
			session = strings.TrimLeft(ln.text, " \t")
		case ln.kind == 'c':
			own = true
		}
	}
	finish()
	switch {
	case session == "" || held(session[2:]):
		e.lonely = nil
	case inherit.IsValid():
		e.shared, e.session = inherit, session
	case len(e.lonely) == 0:
		e.shared = first
	default: // only TCP streams live on it
		e.lonely = nil
	}
}

// localOf is where we take a stream, zero when it is left alone.
func (e *editor) localOf(stream int, m media) Local {
	if stream < 0 || stream >= len(e.Streams) || m.port == 0 || overTCP(m.proto) || !e.Streams[stream].serves() {
		return Local{}
	}
	return e.Streams[stream]
}

// line writes one line, changed or not.
func (e *editor) line(ln line) {
	switch ln.kind {
	case 'o':
		e.origin(ln)
	case 'm':
		e.mediaLine(ln)
	case 'c':
		e.connection(ln)
	case 'a':
		e.attribute(ln)
	default:
		e.keep(ln)
	}
}

func (e *editor) keep(ln line) {
	e.out = append(e.out, ln.text...)
	e.out = append(e.out, ln.end...)
}

// before writes a line as far as its value.
func (e *editor) before(ln line) {
	e.out = append(e.out, ln.text[:len(ln.text)-len(ln.value)]...)
}

func (e *editor) origin(ln line) {
	if !e.Origin.IsValid() {
		e.keep(ln)
		return
	}
	user, _ := field(ln.value)
	if user == "" {
		user = "-"
	}
	e.before(ln)
	e.out = append(e.out, user...)
	e.out = append(e.out, ' ')
	e.out = strconv.AppendUint(e.out, e.SessionID, 10)
	e.out = append(e.out, ' ')
	e.out = strconv.AppendUint(e.out, e.Version, 10)
	e.out = append(e.out, ' ')
	e.address(e.Origin)
	e.out = append(e.out, ln.end...)
}

func (e *editor) mediaLine(ln line) {
	e.stream++
	e.media = mediaLine(ln.value)
	e.local = e.localOf(e.stream, e.media)
	if !e.local.serves() {
		e.keep(ln)
	} else {
		e.before(ln)
		e.out = append(e.out, ln.value[:e.media.at]...)
		e.out = strconv.AppendUint(e.out, uint64(e.local.RTP), 10)
		e.out = append(e.out, ln.value[e.media.at+len(e.media.digits):]...)
		e.out = append(e.out, ln.end...)
	}
	if len(e.lonely) > 0 && e.lonely[0] == e.stream {
		e.lonely = e.lonely[1:]
		if ln.end == "" {
			e.out = append(e.out, "\r\n"...)
		}
		e.out = append(e.out, e.session...)
		e.out = append(e.out, ln.end...)
	}
}

func (e *editor) connection(ln line) {
	to := e.local.Addr
	if e.stream < 0 {
		to = e.shared
	}
	if !to.IsValid() || held(ln.value) {
		e.keep(ln)
		return
	}
	e.before(ln)
	e.address(to)
	e.out = append(e.out, ln.end...)
}

func (e *editor) attribute(ln line) {
	name, _, _ := strings.Cut(ln.value, ":")
	name = strings.TrimSpace(name)
	switch {
	case ice(name):
	case equal(name, "rtcp") && e.local.serves():
		e.rtcp(ln)
	default:
		e.keep(ln)
	}
}

// rtcp writes an a=rtcp line (RFC 3605): a port, perhaps an address. Who put RTP's own port there (RFC 5761) gets our RTP port.
func (e *editor) rtcp(ln line) {
	colon := strings.IndexByte(ln.value, ':')
	digits, rest := field(ln.value[colon+1:])
	was, err := strconv.ParseUint(digits, 10, 16)
	if colon < 0 || err != nil || was == 0 {
		e.keep(ln)
		return
	}
	port := e.local.RTCP
	if uint16(was) == e.media.port || port == 0 {
		port = e.local.RTP
	}
	e.before(ln)
	e.out = append(e.out, ln.value[:colon+1]...)
	e.out = strconv.AppendUint(e.out, uint64(port), 10)
	if host := connectionHost(rest); host == "" || unspecified(host) {
		e.out = append(e.out, rest...)
	} else {
		e.out = append(e.out, ' ')
		e.address(e.local.Addr)
	}
	e.out = append(e.out, ln.end...)
}

// address writes "IN IP4 address".
func (e *editor) address(a netip.Addr) {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		e.out = append(e.out, "IN IP4 "...)
	} else {
		e.out = append(e.out, "IN IP6 "...)
	}
	e.out = a.AppendTo(e.out)
}

// ice says that an attribute belongs to ICE (RFC 8839 §5).
func ice(name string) bool {
	return equal(name, "candidate") || equal(name, "remote-candidates") || equal(name, "end-of-candidates") ||
		len(name) > 4 && equal(name[:4], "ice-")
}

// held says that a connection address is the old way to hold.
func held(value string) bool { return unspecified(connectionHost(value)) }

func unspecified(host string) bool {
	switch host {
	case "0.0.0.0", "::":
		return true
	case "":
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsUnspecified()
}
