package town

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// flow is the way to somebody: a TCP connection, or a UDP address.
type flow struct {
	link *link // nil: UDP
	addr netip.AddrPort
}

// link is a TCP connection of a phone. Its writer never keeps the loop waiting.
type link struct {
	phone *Phone
	addr  netip.AddrPort
	mail  mailbox // holds the writes; the writer takes them
	conn  net.Conn
	stop  context.CancelFunc // ends the dialling
	dead  bool               // owned by the loop
	home  netip.AddrPort     // where its other end listens, by its requests; owned by the loop
}

// readUDP hands every datagram to the loop. It ends when the socket closes.
func (p *Phone) readUDP(c net.PacketConn) {
	buf := make([]byte, 65535)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			if isICMP(err) {
				continue
			}
			return
		}
		addr, err := addrPort(from)
		if err != nil {
			continue
		}
		addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		data := bytes.Clone(buf[:n])
		p.post(func() { p.came(flow{addr: addr}, data) })
	}
}

// accept takes TCP connections. It ends when the listener closes.
func (p *Phone) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p.do(func() {
			if p.off {
				_ = c.Close()
				return
			}
			addr, _ := addrPort(c.RemoteAddr())
			k := &link{phone: p, addr: addr, mail: newMailbox(), conn: c, stop: func() {}}
			p.links[addr] = k
			k.start()
		})
	}
}

// start runs the link's reader and writer; both end when the connection closes.
func (k *link) start() {
	k.phone.readers.Go(k.read)
	k.phone.readers.Go(k.write)
}

// linkTo gives the connection to an address, dialling it when there is none.
func (p *Phone) linkTo(addr netip.AddrPort) *link {
	if k := p.links[addr]; k != nil {
		return k
	}
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	k := &link{phone: p, addr: addr, mail: newMailbox(), stop: stop}
	p.links[addr] = k
	p.readers.Go(func() {
		c, err := p.dial(ctx, addr)
		stop()
		p.post(func() {
			switch {
			case err != nil:
				p.linkDown(k)
			case k.dead:
				_ = c.Close()
			default:
				k.conn = c
				k.start()
			}
		})
	})
	return k
}

// dial opens a connection, by TLS if it is a phone that does so: then the handshake is over.
func (p *Phone) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	c, err := p.cfg.Net.Dial(ctx, netip.Addr{}, addr)
	if err != nil || p.cfg.TLS == nil {
		return c, err
	}
	config := p.cfg.TLS.Clone()
	if config.ServerName == "" {
		config.ServerName = addr.Addr().String()
	}
	secure := tls.Client(c, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return secure, nil
}

// write sends what waits. It ends when the mailbox closes.
func (k *link) write() {
	for {
		if job, ok := k.mail.take(); ok {
			job()
			continue
		}
		if _, open := <-k.mail.ready; !open {
			return
		}
	}
}

// send queues a message.
func (k *link) send(data []byte) {
	k.mail.put(func() {
		_ = k.conn.SetWriteDeadline(time.Now().Add(timeout))
		if _, err := k.conn.Write(data); err != nil {
			k.phone.post(func() { k.phone.linkDown(k) })
		}
	})
}

// read cuts the stream into messages. It ends with the connection.
func (k *link) read() {
	var (
		pending []byte
		buf     = make([]byte, 16<<10)
	)
	for {
		n, err := k.conn.Read(buf)
		pending = append(pending, buf[:n]...)
		for {
			message, rest := cutMessage(pending)
			if message == nil {
				pending = rest
				break
			}
			pending = rest
			data := bytes.Clone(message)
			k.phone.post(func() { k.phone.came(flow{link: k, addr: k.addr}, data) })
		}
		if err != nil || len(pending) > 1<<20 {
			k.phone.post(func() { k.phone.linkDown(k) })
			return
		}
	}
}

// cutMessage takes one whole message from the start of a stream (RFC 3261 §18.3), or nil when it is not all there.
func cutMessage(b []byte) (message, rest []byte) {
	b = bytes.TrimLeft(b, "\r\n")
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, b
	}
	end += 4
	length := 0
	for line := range strings.SplitSeq(string(b[:end]), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "l") {
			length, _ = strconv.Atoi(strings.TrimSpace(value)) // not a number: no body; Wrong complains
		}
	}
	if length < 0 || len(b) < end+length {
		return nil, b
	}
	return b[:end+length], b[end+length:]
}

// reset ends the connection with an RST where the network can.
func (k *link) reset() {
	if k.dead {
		return
	}
	k.dead = true
	k.stop()
	k.mail.close()
	under := k.conn
	if secure, ok := under.(*tls.Conn); ok {
		under = secure.NetConn()
	}
	switch c := under.(type) {
	case nil:
	case *conn:
		c.Reset()
	case *net.TCPConn:
		_ = c.SetLinger(0)
		_ = c.Close()
	default:
		_ = c.Close()
	}
}

// linkDown forgets a connection; requests that wait for an answer on it have failed.
func (p *Phone) linkDown(k *link) {
	if p.links[k.addr] == k {
		delete(p.links, k.addr)
	}
	if k.dead {
		return
	}
	k.dead = true
	k.stop()
	k.mail.close()
	if k.conn != nil {
		_ = k.conn.Close()
	}
	p.failOn(k)
}

// send puts a message on the way. A frozen phone says nothing, or over TCP later.
func (p *Phone) send(to flow, data []byte) {
	if p.off || p.frozen && to.link == nil {
		return
	}
	if p.frozen {
		p.held = append(p.held, func() { p.send(to, data) })
		return
	}
	if k := to.link; k != nil {
		if k.dead && k.home.IsValid() { // RFC 3261 §18.2.2: a response whose connection is gone makes a new one
			k = p.linkTo(k.home)
		}
		k.send(data)
		return
	}
	_, _ = p.udp.WriteTo(data, net.UDPAddrFromAddrPort(to.addr)) // a datagram that does not leave is a lost datagram
}

// target gives the way to a URI; ok is false for what is not an IP address: phones have no DNS.
func (p *Phone) target(uri string, tcp bool) (flow, bool) {
	addr, overTCP, ok := hostOf(uri)
	if !ok {
		return flow{}, false
	}
	if tcp || overTCP {
		return flow{link: p.linkTo(addr), addr: addr}, true
	}
	return flow{addr: addr}, true
}

// hostOf reads address and transport of a sip URI; tcp means a connection, which a phone's TLS may stand on.
func hostOf(uri string) (addr netip.AddrPort, tcp, ok bool) {
	rest, isSIP := strings.CutPrefix(uri, "sip:")
	if !isSIP {
		return netip.AddrPort{}, false, false
	}
	rest, _, _ = strings.Cut(rest, "?")
	hostport, params, _ := strings.Cut(rest, ";")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 { // a user may hold ;
		hostport, params, _ = strings.Cut(rest[i+1:], ";")
	}
	for part := range strings.SplitSeq(params, ";") {
		if strings.EqualFold(part, "transport=tcp") || strings.EqualFold(part, "transport=tls") {
			tcp = true
		}
	}
	if a, err := netip.ParseAddrPort(hostport); err == nil {
		return a, tcp, true
	}
	a, err := netip.ParseAddr(strings.Trim(hostport, "[]"))
	return netip.AddrPortFrom(a, 5060), tcp, err == nil
}
