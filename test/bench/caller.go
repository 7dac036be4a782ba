package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// callers place calls at a steady rate and answer them, over any transport, and measure the way from INVITE to 180 more finely than SIPp's milliseconds
// allow (Debian's SIPp has no TLS either). Over UDP they repeat what nobody answers, as SIPp does.
type callers struct {
	transport string
	target    string
	proxy     link
	closers   []io.Closer

	mu     sync.Mutex // guards what follows: readers and timers
	calls  map[string]*placed
	open   map[string]bool // calls of the room, by its Call-ID, whose 200 has had no ACK
	delays []float64       // ms
	again  int             // messages that were repeated
}

// placed is one call as the carrier sees it.
type placed struct {
	begun                       time.Time
	heard, rang, answered, over bool
}

const (
	answerAfter = 50 * time.Millisecond
	hangUpAfter = 100 * time.Millisecond
)

// newCallers opens the control room; the system under test can be started then.
func (b *bench) newCallers(transport string) (*callers, error) {
	c := &callers{transport: transport, calls: map[string]*placed{}, open: map[string]bool{}}
	room, err := b.open(transport, roomAddress, c.heardByRoom)
	if err != nil {
		return nil, err
	}
	c.closers = append(c.closers, room)
	return c, nil
}

// reach makes the carrier's way to who is called: over a stream one connection for all calls, as trunks have it.
func (c *callers) reach(b *bench, to string) error {
	proxy, closer, err := b.dial(c.transport, to, c.heardByCarrier)
	if err != nil {
		return err
	}
	c.target, c.proxy, c.closers = to, proxy, append(c.closers, closer)
	return nil
}

func (c *callers) close() {
	for _, closer := range c.closers {
		_ = closer.Close()
	}
}

// measureDelay places calls to an address for a while and returns the time of each from INVITE to 180.
func (b *bench) measureDelay(ctx context.Context, to string, rate int, d time.Duration) (result, error) {
	c, err := b.newCallers("udp")
	if err != nil {
		return result{}, err
	}
	defer c.close()
	if err := c.reach(b, to); err != nil {
		return result{}, err
	}
	return c.place(ctx, rate, d)
}

// place places calls for a while and waits until they should be over.
func (c *callers) place(ctx context.Context, rate int, d time.Duration) (result, error) {
	c.mu.Lock()
	c.calls, c.delays, c.again = map[string]*placed{}, nil, 0
	c.mu.Unlock()
	calls := int(float64(rate) * d.Seconds())
	begin := time.Now()
	for i := range calls {
		if err := sleep(ctx, time.Until(begin.Add(time.Duration(i)*time.Second/time.Duration(rate)))); err != nil {
			return result{}, err
		}
		c.invite(fmt.Sprintf("%d-%d", begin.UnixNano(), i))
	}
	elapsed := time.Since(begin)
	for end := time.Now().Add(answerAfter + hangUpAfter + 4*time.Second); c.unfinished() > 0 && time.Now().Before(end); {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return result{}, err
		}
	}
	failed := c.unfinished()
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.delays)
	r := result{calls: calls, failed: failed, retransmissions: c.again, elapsed: elapsed, delays: slices.Clone(c.delays)}
	if len(r.delays) == 0 {
		return r, errors.New("not one call rang")
	}
	return r, nil
}

func (c *callers) unfinished() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.calls {
		if !p.over {
			n++
		}
	}
	return n
}

// via is the head of a Via, contact a URI by which its owner is reached.
func (c *callers) via() string { return "Via: SIP/2.0/" + strings.ToUpper(c.transport) }

func (c *callers) contact(user, address string) string {
	return fmt.Sprintf("Contact: <sip:%s@%s;transport=%s>", user, address, c.transport)
}

func (c *callers) invite(id string) {
	head := fmt.Sprintf("INVITE sip:999@%s SIP/2.0\r\n%s 127.0.0.1:%s;branch=z9hG4bK%s\r\nFrom: <sip:+441905000000@127.0.0.1>;tag=%s\r\n"+
		"To: <sip:999@%s>\r\nCall-ID: %s\r\nCSeq: 1 INVITE\r\n%s\r\nMax-Forwards: 70\r\n",
		c.target, c.via(), carrierPort, id, id, c.target, id, c.contact("carrier", "127.0.0.1:"+carrierPort))
	p := &placed{begun: time.Now()}
	c.mu.Lock()
	c.calls[id] = p
	c.mu.Unlock()
	c.repeat(t1, func() { say(c.proxy, head, sdp(carrierRTP+4)) }, func() bool { return p.heard })
}

// repeat sends, and over UDP again and again until it is done.
func (c *callers) repeat(after time.Duration, send func(), done func() bool) {
	send()
	if c.transport != "udp" || after > 4*t1 {
		return
	}
	time.AfterFunc(after, func() {
		c.mu.Lock()
		over := done()
		if !over {
			c.again++
		}
		c.mu.Unlock()
		if !over {
			c.repeat(2*after, send, done)
		}
	})
}

func sdp(port int) string {
	return fmt.Sprintf("v=0\r\no=bench 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 8 101\r\n"+
		"a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n", port)
}

func say(to link, head, body string) {
	if body != "" {
		head += "Content-Type: application/sdp\r\n"
	}
	to.send(fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", head, len(body), body))
}

// heardByCarrier takes responses to INVITE and BYE.
func (c *callers) heardByCarrier(m message, _ link) {
	ok, cseq := strings.HasPrefix(m.first(), "SIP/2.0 200"), m.value("CSeq")
	ack := false
	c.mu.Lock()
	p := c.calls[m.value("Call-ID")]
	if p != nil {
		p.heard = true
	}
	switch {
	case p == nil:
	case !p.rang && strings.HasPrefix(m.first(), "SIP/2.0 180"):
		p.rang = true
		c.delays = append(c.delays, ms(time.Since(p.begun)))
	case ok && strings.HasSuffix(cseq, "INVITE"):
		ack = true
		if !p.answered {
			p.answered = true
			time.AfterFunc(hangUpAfter, func() {
				c.repeat(t1, func() { c.request("BYE", 2, m) }, func() bool { return p.over })
			})
		}
	case ok && strings.HasSuffix(cseq, "BYE"):
		p.over = true
	}
	c.mu.Unlock()
	if ack {
		c.request("ACK", 1, m)
	}
}

// request sends a request inside the dialog of a 200.
func (c *callers) request(method string, cseq int, ok message) {
	uri := strings.Trim(ok.value("Contact"), "<>")
	if i := strings.Index(ok.value("Contact"), "<"); i >= 0 {
		uri, _, _ = strings.Cut(ok.value("Contact")[i+1:], ">")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\n%s 127.0.0.1:%s;branch=z9hG4bK%s%s\r\n", method, uri, c.via(), carrierPort, ok.value("Call-ID"), method)
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
	say(c.proxy, b.String(), "")
}

// heardByRoom takes requests.
func (c *callers) heardByRoom(m message, from link) {
	method, _, _ := strings.Cut(m.first(), " ")
	id := m.value("Call-ID")
	switch method {
	case "INVITE":
		c.mu.Lock()
		known := c.open[id]
		c.open[id] = true
		c.mu.Unlock()
		c.respond("180 Ringing", m, from, "")
		if !known {
			time.AfterFunc(answerAfter, func() {
				c.repeat(t1, func() { c.respond("200 OK", m, from, sdp(roomRTP+4)) }, func() bool { return !c.open[id] })
			})
		}
	case "ACK":
		c.mu.Lock()
		delete(c.open, id)
		c.mu.Unlock()
	case "BYE", "OPTIONS":
		c.respond("200 OK", m, from, "")
	}
}

func (c *callers) respond(status string, m message, to link, body string) {
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
	fmt.Fprintf(&b, "To: %s\r\n%s\r\n", target, c.contact("room", roomAddress))
	say(to, b.String(), body)
}
