package sip

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"nines/sip/wire"
)

// What we say of ourselves on every leg: PRACK and UPDATE end at us or pass, everything else passes.
const (
	allow     = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY, MESSAGE, SUBSCRIBE"
	accept    = "application/sdp, multipart/mixed, */*"
	supported = "100rel, replaces, timer"
)

// perLeg says that a header belongs to one leg: it is written anew on the other (RFC 3261 §8.1.1, §20; FIELD 1.2).
func perLeg(name string) bool {
	switch len(name) {
	case 1:
		switch name[0] | 0x20 {
		case 'v', 'f', 't', 'i', 'm', 'l', 'k', 'x':
			return true
		}
	case 2:
		return strings.EqualFold(name, "To")
	case 3:
		return strings.EqualFold(name, "Via")
	case 4:
		return strings.EqualFold(name, "From") || strings.EqualFold(name, "CSeq") || strings.EqualFold(name, "RSeq") || strings.EqualFold(name, "RAck")
	case 5:
		return strings.EqualFold(name, "Route")
	case 6:
		return strings.EqualFold(name, "Min-SE")
	case 7:
		return strings.EqualFold(name, "Call-ID") || strings.EqualFold(name, "Contact") || strings.EqualFold(name, "Require")
	case 9:
		return strings.EqualFold(name, "Supported")
	case 12:
		return strings.EqualFold(name, "Max-Forwards") || strings.EqualFold(name, "Record-Route")
	case 13:
		return strings.EqualFold(name, "Proxy-Require")
	case 14:
		return strings.EqualFold(name, "Content-Length")
	case 15:
		return strings.EqualFold(name, "Session-Expires")
	}
	return false
}

// bodyHeader says that a header describes a body, and must not stand on a message without it.
func bodyHeader(name string) bool {
	if len(name) == 1 {
		c := name[0] | 0x20
		return c == 'c' || c == 'e'
	}
	return len(name) > 8 && strings.EqualFold(name[:8], "Content-")
}

// appendEndToEnd copies every header that is not of one leg, byte for byte and in order.
func appendEndToEnd(b []byte, m *wire.Message, withBody bool) []byte {
	typed := false
	for i := range m.Headers {
		h := &m.Headers[i]
		if perLeg(h.Name) || (!withBody && bodyHeader(h.Name)) {
			continue
		}
		if wire.SameName(h.Name, "Content-Type") {
			if typed { // the first counts (RFC 4475 §3.3.8), and the next would refuse both
				continue
			}
			typed = true
		}
		b = wire.AppendHeader(b, h.Name, h.Value)
	}
	return b
}

// appendOptionTags writes Supported and Require for the other leg. We negotiate reliable provisionals and session timers on each leg ourselves (R44). On an emergency call other required tags become supported ones: a call must not die of a 420 (FIELD 1.2).
func appendOptionTags(b []byte, m *wire.Message, emergency bool) []byte {
	sup := optionTags(m, "Supported")
	if m.Method == "INVITE" && len(m.Body) == 0 { // a reliable provisional would bring an offer, and its PRACK must answer it: we can't (RFC 3262 §5)
		sup = slices.DeleteFunc(sup, func(tag string) bool { return strings.EqualFold(tag, "100rel") })
	}
	req := optionTags(m, "Require")
	if emergency {
		for _, tag := range req {
			if !slices.ContainsFunc(sup, func(s string) bool { return strings.EqualFold(s, tag) }) {
				sup = append(sup, tag)
			}
		}
		req = nil
	}
	if negotiates(m.Method) {
		sup = append(sup, "timer") // RFC 4028 §7.1
	}
	b = appendTags(b, "Supported", sup)
	return appendTags(b, "Require", req)
}

func optionTags(m *wire.Message, name string) []string {
	var tags []string
	for _, v := range m.All(name) {
		for tag := range strings.SplitSeq(v, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "" || strings.EqualFold(tag, "timer") || (name == "Require" && strings.EqualFold(tag, "100rel")) {
				continue
			}
			tags = append(tags, tag)
		}
	}
	return tags
}

func appendTags(b []byte, name string, tags []string) []byte {
	if len(tags) == 0 {
		return b
	}
	b = append(b, name...)
	b = append(b, ": "...)
	for i, t := range tags {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, t...)
	}
	return append(b, "\r\n"...)
}

// appendVias copies the Via headers of a request into its response; the topmost says where the request came from (RFC 3261 §18.2.1, RFC 3581 §4).
func appendVias(b []byte, req *wire.Message, src netip.AddrPort) []byte {
	first := true
	for i := range req.Headers {
		h := &req.Headers[i]
		if !wire.SameName(h.Name, "Via") {
			continue
		}
		b = append(b, "Via: "...)
		if first {
			b = appendStamped(b, h.Value, &req.Via, src)
			first = false
		} else {
			b = append(b, h.Value...)
		}
		b = append(b, "\r\n"...)
	}
	return b
}

func appendStamped(b []byte, value string, via *wire.Via, src netip.AddrPort) []byte {
	top, rest := value, ""
	if n := len(via.Raw); n > 0 && n < len(value) && strings.HasPrefix(value, via.Raw) {
		top, rest = value[:n], value[n:]
	}
	addr := src.Addr().Unmap().String()
	if via.HasRPort && via.RPort == "" {
		if i := indexParam(top, "rport"); i >= 0 {
			b = append(b, top[:i]...)
			b = append(b, ";rport="...)
			b = strconv.AppendUint(b, uint64(src.Port()), 10)
			top = strings.TrimPrefix(strings.TrimLeft(top[i+len(";rport"):], " \t"), "=")
		}
	}
	b = append(b, top...)
	if (via.HasRPort || via.Host != addr) && via.Received == "" {
		b = append(b, ";received="...)
		b = append(b, addr...)
	}
	return append(b, rest...)
}

// indexParam finds ";name" in a header value, case-insensitively and as a whole word.
func indexParam(v, name string) int {
	for i := 0; i+len(name) < len(v); i++ {
		if v[i] != ';' || !strings.EqualFold(v[i+1:i+1+len(name)], name) {
			continue
		}
		if end := i + 1 + len(name); end == len(v) || v[end] == ';' || v[end] == '=' || v[end] == ',' || v[end] == ' ' {
			return i
		}
	}
	return -1
}

// replyFlow is where the responses to a request go (RFC 3261 §18.2.2, RFC 3581): back on a connection, or to the source address; to the port in
// Via where no rport was asked for.
func replyFlow(req *wire.Message, f wire.Flow) wire.Flow {
	if f.Proto != wire.UDP || req.Via.HasRPort || req.Via.Host == "" { // a Via that can't be read says nothing
		return f
	}
	port := req.Via.Port
	if port == 0 {
		port = 5060
	}
	f.Remote = netip.AddrPortFrom(f.Remote.Addr(), port)
	return f
}

// appendReply writes the part of a response that only the request decides.
func appendReply(b []byte, req *wire.Message, src netip.AddrPort, code int, reason, toTag string) []byte {
	b = wire.AppendStatusLine(b, code, reason)
	b = appendVias(b, req, src)
	b = wire.AppendHeader(b, "From", req.From)
	if toTag != "" && req.ToTag == "" {
		b = append(b, "To: "...)
		b = append(b, req.To...)
		b = append(b, ";tag="...)
		b = append(b, toTag...)
		b = append(b, "\r\n"...)
	} else {
		b = wire.AppendHeader(b, "To", req.To)
	}
	b = wire.AppendHeader(b, "Call-ID", req.CallID)
	b = append(b, "CSeq: "...)
	b = strconv.AppendUint(b, uint64(req.CSeq), 10)
	b = append(b, ' ')
	b = append(b, req.Method...)
	return append(b, "\r\n"...)
}

// simpleReply is a whole response without a body.
func simpleReply(req *wire.Message, src netip.AddrPort, code int, reason, toTag string, headers ...wire.Header) []byte {
	b := appendReply(make([]byte, 0, 512), req, src, code, reason, toTag)
	for _, h := range headers {
		b = wire.AppendHeader(b, h.Name, h.Value)
	}
	return wire.AppendBody(b, nil)
}

// here is what we call ourselves on a flow: host and port for Via and Contact.
func (s *Server) here(f wire.Flow) string {
	port := f.Local.Port()
	if f.Proto.Stream() {
		port = s.listenPort(f)
	}
	if host := s.advertise(f); host != "" {
		a, err := netip.ParseAddr(host)
		if err != nil || a.Unmap().Is4() == f.Local.Addr().Unmap().Is4() { // an address of the other kind is of no use to who talks this one
			return hostPort(host, port)
		}
	}
	return netip.AddrPortFrom(f.Local.Addr().Unmap().WithZone(""), port).String()
}

// listenPort is the port that we are called at on a connection's transport: the port of one that was dialled is nobody's to call. The listener of its
// address is meant, or the first of its kind.
func (s *Server) listenPort(f wire.Flow) uint16 {
	if s.listens(f) {
		return f.Local.Port()
	}
	port := uint16(0)
	for i := range s.listen {
		switch l := &s.listen[i]; {
		case l.Proto != f.Proto:
		case l.Addr.Addr().Unmap() == f.Local.Addr().Unmap():
			return l.Addr.Port()
		case port == 0:
			port = l.Addr.Port()
		}
	}
	return portOr(port, f.Local.Port()) // without a listener of its kind there is only the connection
}

// listens says that a flow's own end is one of our sockets: a connection that was accepted, not dialled.
func (s *Server) listens(f wire.Flow) bool {
	for i := range s.listen {
		if l := &s.listen[i]; l.Proto == f.Proto && l.Addr.Port() == f.Local.Port() && l.Addr.Addr().Unmap() == f.Local.Addr().Unmap() {
			return true
		}
	}
	return false
}

func hostPort(host string, port uint16) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(port))
}

// appendVia writes our Via.
func (s *Server) appendVia(b []byte, f wire.Flow, branch string) []byte {
	b = append(b, "Via: SIP/2.0/"...)
	b = append(b, f.Proto.String()...)
	b = append(b, ' ')
	b = append(b, s.here(f)...)
	b = append(b, ";branch="...)
	b = append(b, branch...)
	b = append(b, ";rport"...)
	if f.Proto == wire.TCP || f.Proto == wire.TLS && s.routing.Load().TLS.Certificate != nil {
		b = append(b, ";alias"...) // RFC 5923 §5: what comes to us may come by this connection
	}
	return append(b, "\r\n"...)
}

// contact is our Contact on a flow, with the user and the header parameters of the far leg's, if it had any.
func (s *Server) contact(f wire.Flow, far *wire.Message) string {
	user, params := "", ""
	if far != nil {
		if v, ok := far.Get("Contact"); ok {
			_, uri, p := wire.NameAddr(v)
			if u, ok := wire.ParseURI(uri); ok {
				user = u.User
			}
			params = withoutParam(p, "expires")
		}
	}
	b := make([]byte, 0, 64)
	b = append(b, "<sip:"...)
	if user != "" {
		b = append(b, user...)
		b = append(b, '@')
	}
	b = append(b, s.here(f)...)
	if f.Proto.Stream() {
		b = append(b, ";transport="...)
		b = append(b, strings.ToLower(f.Proto.String())...)
	}
	b = append(b, '>')
	if params != "" {
		if params[0] != ';' {
			b = append(b, ';')
		}
		b = append(b, params...)
	}
	return string(b)
}

func withoutParam(params, name string) string {
	p := params
	if p != "" && p[0] != ';' {
		p = ";" + p
	}
	i := indexParam(p+";", name)
	if i < 0 {
		return params
	}
	rest := p[i+1:]
	if j := strings.IndexByte(rest, ';'); j >= 0 {
		return p[:i] + rest[j:]
	}
	return p[:i]
}
