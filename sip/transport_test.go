package sip_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nines/internal/town"
	"nines/sip/wire"
)

// lines is a TCP stack that looks like a socket of whole messages: what is sent to an address goes by the connection to there, or by a new one.
type lines struct {
	host *town.Host
	addr netip.AddrPort
	ln   net.Listener
	in   chan parcel

	server, client *tls.Config // of one that speaks TLS

	mu    sync.Mutex
	conns map[string]net.Conn
	order []net.Conn
	wg    sync.WaitGroup
}

type parcel struct {
	data []byte
	from net.Addr
}

// newLines listens for connections; with port 0 it only makes them.
func newLines(t *testing.T, h *town.Host, addr netip.AddrPort) *lines {
	t.Helper()
	l := &lines{host: h, addr: addr, in: make(chan parcel, 1000), conns: map[string]net.Conn{}}
	l.listen(t)
	return l
}

// newTLSLines is newLines with TLS on every connection.
func newTLSLines(t *testing.T, h *town.Host, addr netip.AddrPort, server, client *tls.Config) *lines {
	t.Helper()
	l := &lines{host: h, addr: addr, in: make(chan parcel, 1000), conns: map[string]net.Conn{}, server: server, client: client}
	l.listen(t)
	return l
}

func (l *lines) listen(t *testing.T) {
	ln, err := l.host.Listen(l.addr)
	if err != nil {
		t.Fatal(err)
	}
	l.ln = ln
	l.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if l.server != nil {
				l.adopt(c, tls.Server(c, l.server))
			} else {
				l.adopt(c, c)
			}
		}
	})
}

func (l *lines) adopt(raw, c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c.RemoteAddr().String()] = c
	l.order = append(l.order, raw)
	l.wg.Go(func() { l.read(c) })
}

// read cuts messages by their Content-Length.
func (l *lines) read(c net.Conn) {
	var buf []byte
	chunk := make([]byte, 4096)
	for {
		n, err := c.Read(chunk)
		if err != nil {
			l.mu.Lock()
			if l.conns[c.RemoteAddr().String()] == c {
				delete(l.conns, c.RemoteAddr().String())
			}
			l.mu.Unlock()
			return
		}
		buf = append(buf, chunk[:n]...)
		for {
			end := bytes.Index(buf, []byte("\r\n\r\n"))
			if end < 0 {
				break
			}
			size := end + 4
			for line := range strings.SplitSeq(string(buf[:end]), "\r\n") {
				if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
					n, _ := strconv.Atoi(v)
					size += n
				}
			}
			if len(buf) < size {
				break
			}
			l.in <- parcel{bytes.Clone(buf[:size]), c.RemoteAddr()}
			buf = buf[size:]
		}
	}
}

func (l *lines) ReadFrom(b []byte) (int, net.Addr, error) {
	p, ok := <-l.in
	if !ok {
		return 0, nil, net.ErrClosed
	}
	return copy(b, p.data), p.from, nil
}

func (l *lines) WriteTo(b []byte, to net.Addr) (int, error) {
	l.mu.Lock()
	c := l.conns[to.String()]
	l.mu.Unlock()
	if c == nil {
		var err error
		if c, err = l.host.Dial(context.Background(), netip.Addr{}, netip.MustParseAddrPort(to.String())); err != nil {
			return 0, err
		}
		raw := c
		if l.client != nil {
			secured := tls.Client(raw, l.client)
			if err := secured.Handshake(); err != nil { // before anybody reads: a mutex that two wait for stops the bubble's clock
				_ = raw.Close()
				return 0, err
			}
			c = secured
		}
		l.adopt(raw, c)
	}
	return c.Write(b)
}

// reset breaks every connection, as a reboot does.
func (l *lines) reset() {
	l.mu.Lock()
	conns := l.order
	l.order, l.conns = nil, map[string]net.Conn{}
	l.mu.Unlock()
	for _, c := range conns {
		c.(interface{ Reset() }).Reset()
	}
	time.Sleep(10 * time.Millisecond)
}

func (l *lines) Close() error {
	_ = l.ln.Close()
	l.reset()
	l.wg.Wait()
	close(l.in)
	return nil
}

func (l *lines) LocalAddr() net.Addr              { return net.TCPAddrFromAddrPort(l.addr) }
func (l *lines) SetDeadline(time.Time) error      { return nil }
func (l *lines) SetReadDeadline(time.Time) error  { return nil }
func (l *lines) SetWriteDeadline(time.Time) error { return nil }

var nodeTCP = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(nodeAddr + ":5060"))

// byTCP makes the carrier or a room one that speaks TCP.
func (st *stage) byTCP(a *actor) *actor {
	a.close()
	tcp := cast(st.t, a.host, newLines(st.t, a.host, a.addr), a.addr, "TCP", nodeTCP)
	if a == st.carrier {
		st.carrier = tcp
		return tcp
	}
	for name, r := range st.rooms {
		if r == a {
			st.rooms[name] = tcp
		}
	}
	return tcp
}

func (a *actor) lines() *lines { return a.conn.(*lines) }

func tcpRooms(sc *scene) {
	sc.Endpoints[0].URI = "sip:10.0.1.1:5060;transport=tcp"
	sc.stage.byTCP(sc.stage.rooms["control-room"])
}

func tcpCarrier(sc *scene) { sc.stage.byTCP(sc.stage.carrier) }

func both(sc *scene) {
	tcpRooms(sc)
	tcpCarrier(sc)
}

func TestACallPassesBetweenAnyTransports(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*scene)
		near, far string
	}{
		"udp to udp": {func(*scene) {}, "UDP", "UDP"},
		"udp to tcp": {tcpRooms, "UDP", "TCP"},
		"tcp to udp": {tcpCarrier, "TCP", "UDP"},
		"tcp to tcp": {both, "TCP", "TCP"},
	} {
		t.Run(name, func(t *testing.T) {
			onScene(t, c.change, func(st *stage) {
				room := st.rooms["control-room"]
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				m := room.expect("INVITE")
				if m.Via.Transport != c.far || m.Via.Host != nodeAddr || m.Via.Port != 5060 {
					t.Errorf("Via is %q, want %s and where we listen", m.Via.Raw, c.far)
				}
				checkContact(t, m, c.far)
				called := callee(room, m, "room")
				room.reply(m, 180, "room")
				checkContact(t, st.carrier.expect("180 INVITE"), c.near)
				room.replyBody(m, 200, "room", sdpOf(room, 50000))
				ok := st.carrier.expect("200 INVITE")
				checkContact(t, ok, c.near)
				if ack := room.expect("ACK"); ack.Via.Transport != c.far {
					t.Errorf("the ACK's Via is %q", ack.Via.Raw)
				}
				caller.ack(ok, "")
				time.Sleep(10 * time.Millisecond)
				called.request("INFO", "")
				info := st.carrier.expect("INFO")
				if info.Via.Transport != c.near {
					t.Errorf("the INFO's Via is %q, want %s", info.Via.Raw, c.near)
				}
				st.carrier.reply(info, 200, "")
				room.expect("200 INFO")
				if n := st.server.Counters().Wire.StreamsOpen; c.near == "TCP" && c.far == "TCP" && n != 3 {
					t.Errorf("%d connections are open, want three: the carrier called us, we the room, the room us", n)
				}
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

func checkContact(t *testing.T, m heard, proto string) {
	t.Helper()
	v, _ := m.Get("Contact")
	want := nodeAddr + ":5060>"
	if proto == "TCP" {
		want = nodeAddr + ":5060;transport=tcp>"
	}
	if !strings.Contains(v, want) {
		t.Errorf("the Contact of %s is %q, want %q", kind(m.Message), v, want)
	}
}

func TestAConnectionThatIsResetBeforeAnyAnswerIsFollowedAtOnce(t *testing.T) {
	onScene(t, tcpRooms, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		room.expect("INVITE")
		began := time.Now()
		room.lines().reset()
		m := standby.expect("INVITE")
		if got := time.Since(began); got > 50*time.Millisecond {
			t.Errorf("the standby was asked %v after the reset; want at once", got)
		}
		called := callee(standby, m, "s")
		standby.replyBody(m, 200, "s", sdpOf(standby, 50000))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAConnectionThatIsResetWhileItRingsIsFollowedAndTheCancelStillArrives(t *testing.T) {
	onScene(t, tcpRooms, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		m := room.expect("INVITE")
		room.reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		began := time.Now()
		room.lines().reset() // a firewall that lost its table: the telephones still ring
		n := standby.expect("INVITE")
		if got := time.Since(began); got > 50*time.Millisecond {
			t.Errorf("the standby was asked %v after the reset; want at once", got)
		}
		called := callee(standby, n, "s")
		standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		c := room.expect("CANCEL")
		if c.Via.Raw != m.Via.Raw {
			t.Errorf("the CANCEL's Via is %q, want its INVITE's %q (RFC 3261 §9.1)", c.Via.Raw, m.Via.Raw)
		}
		room.reply(c, 200, "r")
		m.from = c.from
		room.reply(m, 487, "r")
		room.expect("ACK")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestARingingEndpointMayAnswerByANewConnection(t *testing.T) {
	onScene(t, tcpRooms, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		room.reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		room.lines().reset()
		m.from = nodeTCP
		room.replyBody(m, 200, "r", sdpOf(room, 50000)) // to where our Via says
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		caller.ack(ok, "")
		st.hangUp(caller, called)
	})
}

func TestATalkingCallOutlivesItsConnections(t *testing.T) {
	onScene(t, both, func(st *stage) {
		caller, called := st.talk("control-room")
		room := called.a
		room.lines().reset()
		st.carrier.lines().reset()
		caller.request("INVITE", sdpOf(st.carrier, 40002), "Contact: <"+st.carrier.uri("carrier")+">")
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE") // by a new connection to its Contact
		room.replyBody(m, 200, "", sdpOf(room, 50002))
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		st.carrier.lines().reset()
		room.lines().reset()
		called.request("BYE", "")
		room.expect("200 BYE")
		st.carrier.reply(st.carrier.expect("BYE"), 200, "") // to the caller's Contact
		st.nothingLeft()
	})
}

func TestAByeThatItsConnectionTookAlongIsSentAgain(t *testing.T) {
	onScene(t, tcpRooms, func(st *stage) {
		caller, called := st.talk("control-room")
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		called.a.expect("BYE")
		called.a.lines().reset() // before it could answer, or read
		again := called.a.expect("BYE")
		called.a.reply(again, 200, "")
		st.nothingLeft()
	})
}

func TestACallerWhoseConnectionDiedIsCalledBackAtItsVia(t *testing.T) {
	for _, final := range []int{200, 487, 500} {
		t.Run(fmt.Sprint(final), func(t *testing.T) {
			onScene(t, tcpCarrier, func(st *stage) {
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				room := st.rooms["control-room"]
				m := room.expect("INVITE")
				called := callee(room, m, "r")
				room.reply(m, 180, "r")
				st.carrier.expect("180 INVITE")
				st.carrier.lines().reset()
				st.carrier.expect("180 INVITE") // said again on the new connection: RFC 3261 §18.2.2
				switch final {
				case 200:
					room.replyBody(m, 200, "r", sdpOf(room, 50000))
					ok := st.carrier.expect("200 INVITE")
					room.expect("ACK")
					caller.ack(ok, "")
					time.Sleep(10 * time.Millisecond)
					called.request("BYE", "")
					room.expect("200 BYE")
					st.carrier.reply(st.carrier.expect("BYE"), 200, "")
				case 487:
					caller.cancel()
					st.carrier.expect("200 CANCEL")
					caller.ack(st.carrier.expect("487 INVITE"), "")
					room.reply(room.expect("CANCEL"), 200, "r")
					room.reply(m, 487, "r")
					room.expect("ACK")
				case 500:
					room.reply(m, 480, "r")
					room.expect("ACK")
					for _, name := range []string{"standby-room", "partner"} {
						next := st.rooms[name]
						next.reply(next.expect("INVITE"), 503, "x")
						next.expect("ACK")
					}
					caller.ack(st.carrier.expect("500 INVITE"), "")
				}
				st.nothingLeft()
			})
		})
	}
}

func TestA200ToAReInviteFindsItsWayWhenItsConnectionDied(t *testing.T) {
	onScene(t, tcpCarrier, func(st *stage) {
		caller, called := st.talk("control-room")
		caller.request("INVITE", sdpOf(st.carrier, 40002), "Contact: <"+st.carrier.uri("carrier")+">")
		st.carrier.expect("100 INVITE")
		m := called.a.expect("INVITE")
		st.carrier.lines().reset()
		called.a.replyBody(m, 200, "", sdpOf(called.a, 50002))
		called.a.expect("ACK")
		ok := st.carrier.expect("200 INVITE")
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestA200FindsACallerWhoIsBackLater(t *testing.T) {
	onScene(t, tcpCarrier, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		room.reply(m, 180, "r")
		st.carrier.expect("180 INVITE")
		wires := st.carrier.lines()
		_ = wires.ln.Close() // it restarts: for a while nobody listens
		wires.reset()
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		room.expect("ACK")
		time.Sleep(2 * time.Second)
		wires.listen(t)
		ok := st.carrier.expect("200 INVITE") // it is repeated until the ACK, so each repetition tries
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAContactThatAsksForAnotherTransportIsReachedByIt(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		tcp := cast(t, room.host, newLines(t, room.host, room.addr), room.addr, "TCP", nodeTCP)
		defer tcp.close()
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		called := callee(tcp, m, "r")
		room.replyBody(m, 200, "r", sdpOf(room, 50000), "Contact: <"+tcp.uri("desk")+">")
		ok := st.carrier.expect("200 INVITE")
		if ack := tcp.expect("ACK"); ack.Via.Transport != "TCP" {
			t.Errorf("the ACK's Via is %q", ack.Via.Raw)
		}
		caller.ack(ok, "")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAContactAtAnotherPortIsDialled(t *testing.T) {
	onScene(t, tcpRooms, func(st *stage) {
		room := st.rooms["control-room"]
		ap := netip.AddrPortFrom(room.addr.Addr(), 5070)
		behind := cast(t, room.host, newLines(t, room.host, ap), ap, "TCP", nodeTCP) // a proxy took the INVITE, the PBX behind it answers
		defer behind.close()
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		called := callee(behind, m, "r")
		room.replyBody(m, 200, "r", sdpOf(room, 50000), "Contact: <"+behind.uri("desk")+">")
		caller.ack(st.carrier.expect("200 INVITE"), "")
		behind.expect("ACK")
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestA200IsSaidAgainAtOnceWhenItsConnectionBreaks(t *testing.T) {
	onScene(t, tcpCarrier, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		began := time.Now()
		st.carrier.lines().reset()
		st.carrier.expect("200 INVITE")
		if got := time.Since(began); got > 100*time.Millisecond {
			t.Errorf("said again after %v", got)
		}
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestWeAreCalledAtTheListenerOfTheAddressThatWeCallFrom(t *testing.T) {
	onScene(t, func(sc *scene) {
		both(sc)
		sc.stage.carrier.node = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(nodeAddr + ":5070"))
		for _, a := range []string{nodeOther + ":5080", nodeAddr + ":5060", nodeAddr + ":5070"} {
			sc.server.Listen = append(sc.server.Listen, wire.Listen{Proto: wire.TCP, Addr: netip.MustParseAddrPort(a)})
		}
		sc.server.Listen = sc.server.Listen[2:] // not the usual ones
		sc.server.Listen = append(sc.server.Listen, wire.Listen{Proto: wire.UDP, Addr: netip.MustParseAddrPort(nodeAddr + ":5060")})
	}, func(st *stage) {
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		room := st.rooms["control-room"]
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		if v, _ := m.Get("Contact"); !strings.Contains(v, nodeAddr+":5060;") || m.Via.Host != nodeAddr || m.Via.Port != 5060 {
			t.Errorf("Contact %q and Via %q; we called from %s", v, m.Via.Raw, nodeAddr)
		}
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		ok := st.carrier.expect("200 INVITE")
		if v, _ := ok.Get("Contact"); !strings.Contains(v, nodeAddr+":5070;") {
			t.Errorf("the caller called us at 5070; Contact is %q", v)
		}
		room.expect("ACK")
		caller.ack(ok, "")
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAContactThatNobodyListensAtIsReachedByTheConnectionThatWeHave(t *testing.T) {
	onScene(t, tcpRooms, func(st *stage) {
		room := st.rooms["control-room"]
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		room.replyBody(m, 200, "r", sdpOf(room, 50000), "Contact: <sip:desk@10.0.1.1:5099;transport=tcp>")
		ok := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		caller.ack(ok, "")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestEverythingLeavesFromTheSocketThatItCameTo(t *testing.T) {
	sockets := func(sc *scene) {
		sc.server.Listen = []wire.Listen{
			{Proto: wire.UDP, Addr: netip.MustParseAddrPort(nodeAddr + ":5060")},
			{Proto: wire.UDP, Addr: netip.MustParseAddrPort(nodeOther + ":5070")},
			{Proto: wire.TCP, Addr: netip.MustParseAddrPort(nodeAddr + ":5060")},
			{Proto: wire.TCP, Addr: netip.MustParseAddrPort(nodeOther + ":5070")},
		}
	}
	other := netip.MustParseAddrPort(nodeOther + ":5070")
	for _, proto := range []string{"UDP", "TCP"} {
		t.Run(proto, func(t *testing.T) {
			onScene(t, func(sc *scene) {
				sockets(sc)
				sc.stage.carrier.node = net.UDPAddrFromAddrPort(other)
				if proto == "TCP" {
					sc.stage.byTCP(sc.stage.carrier).node = net.TCPAddrFromAddrPort(other)
				}
			}, func(st *stage) {
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				check := func(m heard) {
					t.Helper()
					if m.from.String() != other.String() {
						t.Errorf("%s came from %s, want %s, where the call came in", kind(m.Message), m.from, other)
					}
					if v, ok := m.Get("Contact"); ok && !strings.Contains(v, other.String()) {
						t.Errorf("the Contact of %s is %q, want %s", kind(m.Message), v, other)
					}
					if m.IsRequest() && m.Via.Host+":"+strconv.Itoa(int(m.Via.Port)) != other.String() {
						t.Errorf("the Via of %s is %q, want %s", m.Method, m.Via.Raw, other)
					}
				}
				check(st.carrier.expect("100 INVITE"))
				room := st.rooms["control-room"]
				m := room.expect("INVITE")
				called := callee(room, m, "r")
				room.reply(m, 180, "r")
				check(st.carrier.expect("180 INVITE"))
				room.replyBody(m, 200, "r", sdpOf(room, 50000))
				ok := st.carrier.expect("200 INVITE")
				check(ok)
				room.expect("ACK")
				caller.ack(ok, "")
				time.Sleep(10 * time.Millisecond)
				called.request("UPDATE", "", room.contact())
				up := st.carrier.expect("UPDATE")
				check(up)
				st.carrier.reply(up, 200, "")
				room.expect("200 UPDATE")
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

func TestTheAdvertisedHostStandsInViaAndContact(t *testing.T) {
	for _, c := range []struct{ advertise, want string }{
		{"sip.west-mercia.example", "sip.west-mercia.example:5060"},
		{"203.0.113.10", "203.0.113.10:5060"},
		{"2001:db8::10", nodeAddr + ":5060"}, // of no use to who speaks IPv4
	} {
		t.Run(c.advertise, func(t *testing.T) {
			onScene(t, func(sc *scene) { sc.server.Advertise = c.advertise }, func(st *stage) {
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				room := st.rooms["control-room"]
				m := room.expect("INVITE")
				called := callee(room, m, "r")
				called.target = "sip:" + nodeAddr
				if !strings.HasPrefix(m.Via.Raw, "SIP/2.0/UDP "+c.want+";") {
					t.Errorf("Via is %q, want %q", m.Via.Raw, c.want)
				}
				room.replyBody(m, 200, "r", sdpOf(room, 50000))
				ok := st.carrier.expect("200 INVITE")
				for _, x := range []heard{m, ok} {
					if v, _ := x.Get("Contact"); !strings.Contains(v, c.want) {
						t.Errorf("Contact is %q, want %q", v, c.want)
					}
				}
				room.expect("ACK")
				caller.ack(ok, "")
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

// speaksSix makes an actor speak IPv6.
func (st *stage) speaksSix(a *actor, addr string) *actor {
	a.close()
	ap := netip.MustParseAddrPort(addr)
	conn, err := a.host.ListenPacket(ap)
	if err != nil {
		st.t.Fatal(err)
	}
	return cast(st.t, a.host, conn, ap, "UDP", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("["+nodeSix+"]:5060")))
}

// sixes gives the proxy sockets and media of both kinds.
func sixes(sc *scene) {
	sc.server.Listen = append(sc.server.Listen, wire.Listen{Proto: wire.UDP, Addr: netip.MustParseAddrPort("[" + nodeSix + "]:5060")})
	sc.media.Addresses = append(sc.media.Addresses, netip.MustParseAddr(nodeSix))
	sc.Trunks[0].From = append(sc.Trunks[0].From, netip.MustParsePrefix("fd00::9/128"))
}

func sixRoom(sc *scene) {
	sixes(sc)
	sc.Endpoints[0].URI = "sip:[fd00:1::1]:5060"
	sc.stage.rooms["control-room"] = sc.stage.speaksSix(sc.stage.rooms["control-room"], "[fd00:1::1]:5060")
}

func sixCarrier(sc *scene) {
	sixes(sc)
	sc.stage.carrier = sc.stage.speaksSix(sc.stage.carrier, "[fd00::9]:5060")
}

func TestIPv4AndIPv6MeetInOneCall(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*scene)
		near, far string
	}{
		"4 to 6": {sixRoom, "IP4 " + nodeAddr, "IP6 " + nodeSix},
		"6 to 4": {sixCarrier, "IP6 " + nodeSix, "IP4 " + nodeAddr},
		"6 to 6": {func(sc *scene) {
			sixRoom(sc)
			sc.stage.carrier = sc.stage.speaksSix(sc.stage.carrier, "[fd00::9]:5060")
		}, "IP6 " + nodeSix, "IP6 " + nodeSix},
	} {
		t.Run(name, func(t *testing.T) {
			onScene(t, c.change, func(st *stage) {
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				room := st.rooms["control-room"]
				m := room.expect("INVITE")
				called := callee(room, m, "r")
				if !strings.Contains(string(m.Body), "c=IN "+c.far+"\r\n") || strings.Contains(string(m.Body), st.carrier.addr.Addr().String()) {
					t.Errorf("the offer must have our address of the room's kind, %s:\n%s", c.far, m.Body)
				}
				room.replyBody(m, 200, "r", sdpOf(room, 50000))
				ok := st.carrier.expect("200 INVITE")
				if !strings.Contains(string(ok.Body), "c=IN "+c.near+"\r\n") {
					t.Errorf("the answer must have our address of the caller's kind, %s:\n%s", c.near, ok.Body)
				}
				room.expect("ACK")
				caller.ack(ok, "")
				time.Sleep(10 * time.Millisecond)
				st.flows(40000, 50000, ok, m)
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

func TestAContactThatWeCannotReadIsReachedByTheFlowWeKnow(t *testing.T) {
	for _, contact := range []string{
		"<sip:desk@pbx.example>", "<sips:desk@10.0.1.1>", "<sip:desk@10.0.1.1;transport=tls>", "<tel:999>", "garbage", "<sip:desk@10.9.9.9;maddr=10.0.1.1>",
	} {
		t.Run(contact, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				room := st.rooms["control-room"]
				caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
				st.carrier.expect("100 INVITE")
				m := room.expect("INVITE")
				called := callee(room, m, "r")
				room.replyBody(m, 200, "r", sdpOf(room, 50000), "Contact: "+contact)
				caller.ack(st.carrier.expect("200 INVITE"), "")
				room.expect("ACK")
				time.Sleep(10 * time.Millisecond)
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

func TestAContactOfTheOtherKindOfIPIsReachedFromThatSocket(t *testing.T) {
	onScene(t, sixes, func(st *stage) {
		room := st.rooms["control-room"]
		ap := netip.MustParseAddrPort("[fd00:1::1]:5060")
		conn, err := room.host.ListenPacket(ap)
		if err != nil {
			t.Fatal(err)
		}
		six := cast(t, room.host, conn, ap, "UDP", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("["+nodeSix+"]:5060")))
		defer six.close()
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		called := callee(six, m, "r")
		room.replyBody(m, 200, "r", sdpOf(room, 50000), "Contact: <sip:desk@[fd00:1::1]:5060>")
		caller.ack(st.carrier.expect("200 INVITE"), "")
		if ack := six.expect("ACK"); ack.Via.Host != nodeSix {
			t.Errorf("the ACK's Via is %q", ack.Via.Raw)
		}
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestACancelBeforeThereIsAConnectionStopsTheReInvite(t *testing.T) {
	onScene(t, tcpRooms, func(st *stage) {
		st.carrier.present.Store(true)
		caller, called := st.talk("control-room")
		room := called.a
		room.lines().reset()
		slow := town.Path{Delay: 50 * time.Millisecond} // the handshake takes a while
		st.net.Between(st.node, room.host, slow)
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact())
		st.carrier.expect("100 INVITE")
		seq := caller.seq
		caller.cancel()
		caller.seq = seq
		st.carrier.expect("200 CANCEL")
		caller.ack(st.carrier.expect("487 INVITE"), "")
		room.silence(time.Second)
		st.net.Usual(st.node, room.host)
		// What is sent while a connection is being made keeps its order.
		room.lines().reset()
		st.net.Between(st.node, room.host, slow)
		caller.request("INFO", "first")
		caller.request("MESSAGE", "second")
		for _, method := range []string{"INFO", "MESSAGE"} {
			room.reply(room.expect(method), 200, "")
			st.carrier.expect("200 " + method)
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestRequestsInACallFailWhereNobodyCanBeReached(t *testing.T) {
	onScene(t, tcpRooms, func(st *stage) {
		st.carrier.present.Store(true)
		caller, called := st.talk("control-room")
		wires := called.a.lines()
		_ = wires.ln.Close()
		wires.reset()
		caller.request("INVITE", sdpOf(st.carrier, 40002), st.carrier.contact())
		st.carrier.expect("100 INVITE")
		caller.ack(st.carrier.expect("500 INVITE"), "") // at once, and the call lives
		caller.request("INFO", "")
		st.carrier.expect("500 INFO")
		wires.listen(t)
		caller.request("INFO", "")
		called.a.reply(called.a.expect("INFO"), 200, "")
		st.carrier.expect("200 INFO")
		_ = wires.ln.Close()
		wires.reset()
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		st.nothingLeft()
	})
}
