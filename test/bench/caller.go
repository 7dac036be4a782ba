package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// callers place calls at a steady rate and answer them, to measure the way from INVITE to 180 more finely than SIPp's milliseconds allow. They repeat
// nothing: on loopback, below the ceiling, nothing is lost, and a call that is lost shows as unfinished.
type callers struct {
	carrier, room *net.UDPConn
	target        *net.UDPAddr

	mu     sync.Mutex // guards what follows: two readers and the timers
	calls  map[string]*placed
	delays []float64 // ms
}

// placed is one call as the carrier sees it.
type placed struct {
	begun                time.Time
	rang, answered, over bool
}

const (
	answerAfter = 50 * time.Millisecond
	hangUpAfter = 100 * time.Millisecond
)

// measureDelay places calls to an address for a while and returns the time of each from INVITE to 180.
func measureDelay(ctx context.Context, to string, rate int, d time.Duration) (result, error) {
	c := &callers{calls: map[string]*placed{}}
	var err error
	if c.target, err = net.ResolveUDPAddr("udp", to); err != nil {
		return result{}, err
	}
	if c.carrier, err = listenUDP("127.0.0.1:" + carrierPort); err != nil {
		return result{}, err
	}
	defer c.carrier.Close()
	if c.room, err = listenUDP(roomAddress); err != nil {
		return result{}, err
	}
	defer c.room.Close()
	go read(c.carrier, c.heardByCarrier) // ends when its socket is closed
	go read(c.room, c.heardByRoom)       // likewise

	calls := int(float64(rate) * d.Seconds())
	begin := time.Now()
	for i := range calls {
		if err := sleep(ctx, time.Until(begin.Add(time.Duration(i)*time.Second/time.Duration(rate)))); err != nil {
			return result{}, err
		}
		c.invite(fmt.Sprintf("%d-%d", begin.UnixNano(), i))
	}
	if err := sleep(ctx, answerAfter+hangUpAfter+time.Second); err != nil {
		return result{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := 0
	for _, p := range c.calls {
		if !p.over {
			failed++
		}
	}
	slices.Sort(c.delays)
	return result{calls: calls, failed: failed, elapsed: time.Since(begin), delays: c.delays}, nil
}

func listenUDP(address string) (*net.UDPConn, error) {
	a, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", a)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetReadBuffer(4 << 20)
}

func read(conn *net.UDPConn, heard func(message, *net.UDPAddr)) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFromUDP(buf)
		if err != nil {
			return
		}
		heard(message{strings.Split(string(bytes.TrimRight(buf[:n], "\x00")), "\r\n")}, from)
	}
}

// message is a SIP message by lines, enough of it for this.
type message struct{ lines []string }

func (m message) first() string { return m.lines[0] }

// all returns the header lines of one name.
func (m message) all(name string) []string {
	var found []string
	for _, l := range m.lines[1:] {
		if l == "" {
			break
		}
		if n, _, ok := strings.Cut(l, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			found = append(found, l)
		}
	}
	return found
}

func (m message) value(name string) string {
	for _, l := range m.all(name) {
		_, v, _ := strings.Cut(l, ":")
		return strings.TrimSpace(v)
	}
	return ""
}

func (c *callers) invite(id string) {
	head := fmt.Sprintf("INVITE sip:999@%s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%s;branch=z9hG4bK%s\r\nFrom: <sip:+441905000000@127.0.0.1>;tag=%s\r\n"+
		"To: <sip:999@%s>\r\nCall-ID: %s\r\nCSeq: 1 INVITE\r\nContact: <sip:carrier@127.0.0.1:%s>\r\nMax-Forwards: 70\r\n",
		c.target, carrierPort, id, id, c.target, id, carrierPort)
	c.mu.Lock()
	c.calls[id] = &placed{begun: time.Now()}
	c.mu.Unlock()
	c.send(c.carrier, c.target, head, sdp(carrierRTP+4))
}

func sdp(port int) string {
	return fmt.Sprintf("v=0\r\no=bench 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 8 101\r\n"+
		"a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n", port)
}

func (c *callers) send(conn *net.UDPConn, to *net.UDPAddr, head, body string) {
	if body != "" {
		head += "Content-Type: application/sdp\r\n"
	}
	_, _ = conn.WriteToUDP(fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", head, len(body), body), to) // a call that is lost shows
}

// heardByCarrier takes responses to INVITE and BYE.
func (c *callers) heardByCarrier(m message, _ *net.UDPAddr) {
	ok, cseq := strings.HasPrefix(m.first(), "SIP/2.0 200"), m.value("CSeq")
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.calls[m.value("Call-ID")]
	switch {
	case p == nil:
	case !p.rang && strings.HasPrefix(m.first(), "SIP/2.0 180"):
		p.rang = true
		c.delays = append(c.delays, ms(time.Since(p.begun)))
	case ok && strings.HasSuffix(cseq, "INVITE"):
		c.request("ACK", 1, m)
		if !p.answered {
			p.answered = true
			time.AfterFunc(hangUpAfter, func() { c.request("BYE", 2, m) })
		}
	case ok && strings.HasSuffix(cseq, "BYE"):
		p.over = true
	}
}

// request sends a request inside the dialog of a 200.
func (c *callers) request(method string, cseq int, ok message) {
	uri := strings.Trim(ok.value("Contact"), "<>")
	if i := strings.Index(ok.value("Contact"), "<"); i >= 0 {
		uri, _, _ = strings.Cut(ok.value("Contact")[i+1:], ">")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%s;branch=z9hG4bK%s%s\r\n", method, uri, carrierPort, ok.value("Call-ID"), method)
	routes := ok.all("Record-Route")
	slices.Reverse(routes)
	for _, r := range routes {
		_, v, _ := strings.Cut(r, ":")
		fmt.Fprintf(&b, "Route:%s\r\n", v)
	}
	for _, name := range []string{"From", "To", "Call-ID"} {
		fmt.Fprintf(&b, "%s: %s\r\n", name, ok.value(name))
	}
	fmt.Fprintf(&b, "CSeq: %d %s\r\nMax-Forwards: 70\r\n", cseq, method)
	c.send(c.carrier, c.target, b.String(), "")
}

// heardByRoom takes requests.
func (c *callers) heardByRoom(m message, from *net.UDPAddr) {
	method, _, _ := strings.Cut(m.first(), " ")
	switch method {
	case "INVITE":
		c.respond("180 Ringing", m, from, "")
		time.AfterFunc(answerAfter, func() { c.respond("200 OK", m, from, sdp(roomRTP+4)) })
	case "BYE", "OPTIONS":
		c.respond("200 OK", m, from, "")
	}
}

func (c *callers) respond(status string, m message, to *net.UDPAddr, body string) {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %s\r\n", status)
	for _, name := range []string{"Via", "Record-Route", "From", "Call-ID", "CSeq"} {
		for _, l := range m.all(name) {
			b.WriteString(l + "\r\n")
		}
	}
	target := m.value("To")
	if !strings.Contains(target, ";tag=") {
		target += ";tag=room" + m.value("Call-ID")
	}
	fmt.Fprintf(&b, "To: %s\r\nContact: <sip:room@%s>\r\n", target, roomAddress)
	c.send(c.room, to, b.String(), body)
}
