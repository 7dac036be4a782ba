package sip_test

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mouth is a media socket of somebody.
type mouth struct {
	t    *testing.T
	conn net.PacketConn
	n    int
}

// opens opens a media socket of an actor.
func (a *actor) opens(port int) *mouth {
	a.t.Helper()
	c, err := a.host.ListenPacket(netip.AddrPortFrom(a.addr.Addr(), uint16(port)))
	if err != nil {
		a.t.Fatal(err)
	}
	return &mouth{t: a.t, conn: c}
}

func (m *mouth) close() { _ = m.conn.Close() }

// says sends a packet to a port of ours; what it holds is unlike any other.
func (m *mouth) says(to netip.AddrPort) string {
	m.t.Helper()
	m.n++
	what := fmt.Sprintf("\x80\x08\x00%c packet %d of %s \x00\xff", byte(m.n), m.n, m.conn.LocalAddr())
	if _, err := m.conn.WriteTo([]byte(what), net.UDPAddrFromAddrPort(to)); err != nil {
		m.t.Fatal(err)
	}
	return what
}

// hears waits for a packet: empty when none comes.
func (m *mouth) hears() string {
	m.t.Helper()
	buf := make([]byte, 65536)
	_ = m.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, _, err := m.conn.ReadFrom(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

var (
	mediaLine = regexp.MustCompile(`(?m)^m=\S+ (\d+)`)
	connLine  = regexp.MustCompile(`(?m)^c=IN IP\d (\S+?)\r?$`)
)

// ours are our addresses in a session description, by m= line.
func ours(body []byte) []netip.AddrPort {
	addr := netip.MustParseAddr(string(connLine.FindSubmatch(body)[1]))
	var list []netip.AddrPort
	for _, m := range mediaLine.FindAllSubmatch(body, -1) {
		port, _ := strconv.Atoi(string(m[1]))
		list = append(list, netip.AddrPortFrom(addr, uint16(port)))
	}
	return list
}

func next(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

// flows checks that RTP and RTCP of a call pass both ways, as they are. near is what the caller was told, far what the room was told.
func (st *stage) flows(callerPort, roomPort int, near, far heard) {
	st.t.Helper()
	st.flowsTo(st.rooms["control-room"], callerPort, roomPort, ours(near.Body)[0], ours(far.Body)[0])
}

func (st *stage) flowsTo(room *actor, callerPort, roomPort int, near, far netip.AddrPort) {
	st.t.Helper()
	for i, what := range []string{"RTP", "RTCP"} {
		c, r := st.carrier.opens(callerPort+i), room.opens(roomPort+i)
		if want, got := c.says(near), r.hears(); got != want {
			st.t.Errorf("%s of the caller: %s heard %q, want %q", what, room.host.Name(), got, want)
		}
		if want, got := r.says(far), c.hears(); got != want {
			st.t.Errorf("%s of %s: the caller heard %q, want %q", what, room.host.Name(), got, want)
		}
		c.close()
		r.close()
		near, far = next(near), next(far)
	}
}

// setUp is talk for tests that look at the descriptions: what the room was offered and what the caller was told.
func (st *stage) setUp(offer, answer string) (caller, called *dialog, told, asked heard) {
	st.t.Helper()
	room := st.rooms["control-room"]
	caller = st.carrier.invite("sip:999@nines", offer)
	st.carrier.expect("100 INVITE")
	asked = room.expect("INVITE")
	called = callee(room, asked, "room")
	room.replyBody(asked, 200, "room", answer)
	told = st.carrier.expect("200 INVITE")
	room.expect("ACK")
	caller.ack(told, "")
	time.Sleep(10 * time.Millisecond)
	return caller, called, told, asked
}

// renews sends a re-INVITE through and gives what the other side was offered and what the asker was told.
func (st *stage) renews(from, to *dialog, offer, answer string) (told, asked heard) {
	st.t.Helper()
	from.request("INVITE", offer, from.a.contact())
	from.a.expect("100 INVITE")
	asked = to.a.expect("INVITE")
	to.a.replyBody(asked, 200, "", answer)
	told = from.a.expect("200 INVITE")
	to.a.expect("ACK")
	from.ack(told, "")
	time.Sleep(10 * time.Millisecond)
	return told, asked
}

func TestAudioFlowsUntilTheByeAndNotAfter(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		caller, called, told, asked := st.setUp(sdpOf(st.carrier, 40000), sdpOf(st.rooms["control-room"], 50000))
		st.flows(40000, 50000, told, asked)
		near, far := ours(told.Body)[0], ours(asked.Body)[0]
		phone, desk := st.carrier.opens(40000), called.a.opens(50000)
		defer phone.close()
		defer desk.close()
		stranger := st.carrier.opens(40100) // same host, other port
		defer stranger.close()
		stranger.says(near)
		if got := desk.hears(); got != "" {
			t.Errorf("the room heard a stranger: %q", got)
		}
		if got := st.relay.Stats().Foreign; got != 1 {
			t.Errorf("%d foreign packets are counted, want 1", got)
		}
		caller.request("BYE", "")
		st.carrier.expect("200 BYE")
		bye := called.a.expect("BYE")
		phone.says(near)
		desk.says(far)
		if a, b := desk.hears(), phone.hears(); a != "" || b != "" {
			t.Errorf("after the BYE the room heard %q and the caller %q", a, b)
		}
		called.a.reply(bye, 200, "")
		st.nothingLeft()
	})
}

func TestAReInviteMovesTheAudio(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		caller, called, told, asked := st.setUp(sdpOf(st.carrier, 40000), sdpOf(room, 50000))
		near, far := ours(told.Body)[0], ours(asked.Body)[0]
		told, asked = st.renews(caller, called, sdpOf(st.carrier, 40010), sdpOf(room, 50010))
		if ours(told.Body)[0] != near || ours(asked.Body)[0] != far {
			t.Errorf("our own ports have moved; a change on one side is no business of the other")
		}
		st.flows(40010, 50010, told, asked)
		old, desk := st.carrier.opens(40000), room.opens(50010)
		old.says(near)
		if got := desk.hears(); got != "" {
			t.Errorf("the room heard the caller's old port: %q", got)
		}
		old.close()
		desk.close()
		// A re-INVITE that is refused moves nothing.
		called.request("INVITE", sdpOf(room, 50020), room.contact())
		room.expect("100 INVITE")
		st.carrier.reply(st.carrier.expect("INVITE"), 488, "")
		st.carrier.expect("ACK")
		called.ack(room.expect("488 INVITE"), "")
		st.flows(40010, 50010, told, asked)
		// From the room, by UPDATE.
		called.request("UPDATE", sdpOf(room, 50030), room.contact())
		st.carrier.replyBody(st.carrier.expect("UPDATE"), 200, "", sdpOf(st.carrier, 40030))
		room.expect("200 UPDATE")
		st.flows(40030, 50030, told, asked)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestALateOfferCarriesAudioToo(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		caller := st.carrier.invite("sip:999@nines", "")
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		told := st.carrier.expect("200 INVITE")
		caller.ack(told, sdpOf(st.carrier, 40000))
		ack := room.expect("ACK")
		st.flows(40000, 50000, told, ack)
		caller.request("INVITE", "", st.carrier.contact())
		st.carrier.expect("100 INVITE")
		m = room.expect("INVITE")
		room.replyBody(m, 200, "", sdpOf(room, 50010))
		told = st.carrier.expect("200 INVITE")
		caller.ack(told, sdpOf(st.carrier, 40010))
		ack = room.expect("ACK")
		st.flows(40010, 50010, told, ack)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestEarlyMediaIsHeardAndNoOtherRoom(t *testing.T) {
	onScene(t, func(sc *scene) { sc.Routes[0].EarlyMedia = true }, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		phone, first, second := st.carrier.opens(40000), room.opens(50000), standby.opens(50000)
		defer phone.close()
		defer first.close()
		defer second.close()
		first.says(ours(m.Body)[0])
		if got := phone.hears(); got != "" {
			t.Errorf("the caller heard %q before anybody was aimed at", got)
		}
		room.replyBody(m, 183, "r", sdpOf(room, 50000))
		told := st.carrier.expect("183 INVITE")
		near := ours(told.Body)[0]
		if want, got := first.says(ours(m.Body)[0]), phone.hears(); got != want {
			t.Errorf("early media: the caller heard %q, want %q", got, want)
		}
		if want, got := phone.says(near), first.hears(); got != want {
			t.Errorf("early media: the room heard %q, want %q", got, want)
		}
		room.mute.Store(true) // it dies
		n := standby.expect("INVITE")
		called := callee(standby, n, "s")
		standby.replyBody(n, 183, "s", sdpOf(standby, 50000))
		time.Sleep(10 * time.Millisecond)
		second.says(ours(n.Body)[0])
		if got := phone.hears(); got != "" {
			t.Errorf("the caller hears the first room; it heard the second too: %q", got)
		}
		standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
		caller.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		time.Sleep(10 * time.Millisecond)
		first.says(ours(m.Body)[0])
		if got := phone.hears(); got != "" {
			t.Errorf("the standby has the call, but the caller heard the first room: %q", got)
		}
		if want, got := second.says(ours(n.Body)[0]), phone.hears(); got != want {
			t.Errorf("the caller heard %q, want %q", got, want)
		}
		if want, got := phone.says(near), second.hears(); got != want {
			t.Errorf("the standby heard %q, want %q", got, want)
		}
		if got := first.hears(); got != "" {
			t.Errorf("the first room heard the call: %q", got)
		}
		room.reply(room.skipTo("CANCEL"), 200, "r")
		room.reply(m, 487, "r")
		room.expect("ACK")
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestOverlappingAttemptsDontLeakAudio(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		n := standby.expect("INVITE")
		called := callee(standby, n, "s")
		standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
		told := st.carrier.expect("200 INVITE")
		standby.expect("ACK")
		caller.ack(told, "")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		room.skipTo("ACK")
		room.reply(room.expect("BYE"), 200, "")
		phone, loser := st.carrier.opens(40000), room.opens(50000)
		defer loser.close()
		loser.says(ours(m.Body)[0])
		if got := phone.hears(); got != "" {
			t.Errorf("the caller heard the room that lost: %q", got)
		}
		phone.close()
		st.flowsTo(standby, 40000, 50000, ours(told.Body)[0], ours(n.Body)[0])
		if got := loser.hears(); got != "" {
			t.Errorf("the room that lost heard the call: %q", got)
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestWithoutPortsACallGoesPastUsAndSaysSo(t *testing.T) {
	for _, ports := range []uint16{0, 1, 2} { // pairs
		t.Run(fmt.Sprint(ports), func(t *testing.T) {
			onScene(t, func(sc *scene) { sc.media.PortMin, sc.media.PortMax = 20000, 20000+2*ports+1 }, func(st *stage) {
				if ports == 0 { // one pair, and it is taken
					side, err := st.relay.Reserve(netip.MustParseAddr(nodeAddr), 1)
					if err != nil {
						t.Fatal(err)
					}
					defer side.Release()
				}
				room := st.rooms["control-room"]
				caller, called, told, asked := st.setUp(sdpOf(st.carrier, 40000), sdpOf(room, 50000))
				anchored := ours(told.Body)[0].Addr().String() == nodeAddr
				if ours(asked.Body)[0].Addr().String() == nodeAddr != anchored && ports < 1 {
					t.Errorf("one side was told our address and the other not:\n%s\n%s", asked.Body, told.Body)
				}
				if anchored != (ports >= 1) {
					t.Errorf("anchored is %v with %d pairs free", anchored, ports+1)
				}
				if anchored {
					st.flows(40000, 50000, told, asked)
				} else if st.server.Counters().NoPorts == 0 {
					t.Errorf("a call without ports must be counted")
				}
				// A second stream finds no ports: it goes past us, on both sides.
				video := "m=video %d RTP/AVP 96\r\n"
				told, asked = st.renews(caller, called, sdpOf(st.carrier, 40000)+fmt.Sprintf(video, 40002), sdpOf(room, 50000)+fmt.Sprintf(video, 50002))
				got := [2]uint16{ours(asked.Body)[1].Port(), ours(told.Body)[1].Port()}
				if got != [2]uint16{40002, 50002} {
					t.Errorf("the second stream's ports are %v; without ports of ours it must go from end to end", got)
				}
				if !anchored {
					time.Sleep(2 * time.Minute) // its media is past us: its silence says nothing (R44)
					if n := len(st.carrier.in); n > 0 {
						t.Errorf("the caller got %d messages; want none", n)
					}
				}
				st.hangUp(caller, called)
			})
		})
	}
}

var originLine = regexp.MustCompile(`(?m)^o=(\S+) (\d+) (\d+) IN IP\d (\S+?)\r?$`)

// origin is the session id and the version of a description of ours.
func origin(t *testing.T, m heard) (id string, version int) {
	t.Helper()
	f := originLine.FindSubmatch(m.Body)
	if f == nil {
		t.Fatalf("no o= line:\n%s", m.raw)
	}
	version, _ = strconv.Atoi(string(f[3]))
	return string(f[2]), version
}

func TestTheOriginIsOursAndItsVersionGrowsOncePerChange(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		caller, called, told, asked := st.setUp(sdpOf(st.carrier, 40000), sdpOf(room, 50000))
		nearID, near := origin(t, told)
		farID, far := origin(t, asked)
		if nearID == farID || nearID == "1" {
			t.Errorf("session ids %s and %s; each leg has its own", nearID, farID)
		}
		check := func(what string, told, asked heard, dNear, dFar int) {
			t.Helper()
			id, v := origin(t, told)
			if id != nearID || v != near+dNear {
				t.Errorf("%s: the caller was told %s version %d, want %s version %d", what, id, v, nearID, near+dNear)
			}
			near = v
			id, v = origin(t, asked)
			if id != farID || v != far+dFar {
				t.Errorf("%s: the room was told %s version %d, want %s version %d", what, id, v, farID, far+dFar)
			}
			far = v
		}
		told, asked = st.renews(caller, called, sdpOf(st.carrier, 40000), sdpOf(room, 50000))
		check("a refresh", told, asked, 0, 0)
		told, asked = st.renews(caller, called, sdpOf(st.carrier, 40000, "a=sendonly"), sdpOf(room, 50000, "a=recvonly"))
		check("hold", told, asked, 1, 1)
		asked, told = st.renews(called, caller, sdpOf(room, 50000, "a=recvonly"), sdpOf(st.carrier, 40000, "a=sendonly"))
		check("a refresh from the room", told, asked, 0, 0)
		told, asked = st.renews(caller, called, sdpOf(st.carrier, 40002), sdpOf(room, 50000))
		check("resume, from another port", told, asked, 1, 1)
		told, asked = st.renews(caller, called, sdpOf(st.carrier, 40004), sdpOf(room, 50002))
		check("ports behind us", told, asked, 0, 0) // nothing that they can see has changed
		// A refusal takes back what was offered, but not its number.
		caller.request("INVITE", sdpOf(st.carrier, 40004, "a=inactive"), st.carrier.contact())
		st.carrier.expect("100 INVITE")
		no := room.expect("INVITE")
		room.reply(no, 488, "")
		room.expect("ACK")
		caller.ack(st.carrier.expect("488 INVITE"), "")
		told, asked = st.renews(caller, called, sdpOf(st.carrier, 40004), sdpOf(room, 50002))
		check("after a refusal", told, asked, 0, 2)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestHoldAndResumeFromBothEnds(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		caller, called, told, asked := st.setUp(sdpOf(st.carrier, 40000), sdpOf(room, 50000))
		near, far := ours(told.Body)[0], ours(asked.Body)[0]
		for _, way := range []struct {
			from, to           *dialog
			fromPort, toPort   int
			fromTalks, toTalks netip.AddrPort
		}{
			{caller, called, 40000, 50000, near, far},
			{called, caller, 50000, 40000, far, near},
		} {
			from, to := way.from.a, way.to.a
			offer := strings.ReplaceAll(sdpOf(from, way.fromPort), "c=IN IP4 "+from.addr.Addr().String(), "c=IN IP4 0.0.0.0")
			told, asked := st.renews(way.from, way.to, offer, sdpOf(to, way.toPort))
			if !strings.Contains(string(asked.Body), "c=IN IP4 0.0.0.0") {
				t.Errorf("the old way to hold must pass:\n%s", asked.Body)
			}
			if ours(told.Body)[0] != way.fromTalks {
				t.Errorf("our port moved at hold: %v", ours(told.Body)[0])
			}
			a, b := from.opens(way.fromPort), to.opens(way.toPort)
			b.says(way.toTalks)
			if got := a.hears(); got != "" {
				t.Errorf("who holds asked for nothing, and heard %q", got)
			}
			a.close()
			b.close()
			st.renews(way.from, way.to, sdpOf(from, way.fromPort, "a=sendonly"), sdpOf(to, way.toPort, "a=recvonly"))
			a, b = from.opens(way.fromPort), to.opens(way.toPort)
			if want, got := a.says(way.fromTalks), b.hears(); got != want {
				t.Errorf("music on hold: heard %q, want %q", got, want)
			}
			a.close()
			b.close()
			told, asked = st.renews(way.from, way.to, sdpOf(from, way.fromPort), sdpOf(to, way.toPort))
			if way.from == caller {
				st.flows(40000, 50000, told, asked)
			} else {
				st.flows(40000, 50000, asked, told)
			}
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAReInviteMayAddAStreamAndTakeItAway(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		caller, called, _, _ := st.setUp(sdpOf(st.carrier, 40000), sdpOf(room, 50000))
		told, asked := st.renews(called, caller, sdpOf(room, 50000)+"m=video 50010 RTP/AVP 96\r\n", sdpOf(st.carrier, 40000)+"m=video 40010 RTP/AVP 96\r\n")
		if n := len(ours(told.Body)); n != 2 {
			t.Fatalf("%d streams; want 2:\n%s", n, told.Body)
		}
		st.flows(40000, 50000, asked, told)
		st.flowsTo(room, 40010, 50010, ours(asked.Body)[1], ours(told.Body)[1])
		told, asked = st.renews(caller, called, sdpOf(st.carrier, 40000)+"m=video 0 RTP/AVP 96\r\n", sdpOf(room, 50000)+"m=video 0 RTP/AVP 96\r\n")
		if a, b := ours(asked.Body)[1].Port(), ours(told.Body)[1].Port(); a != 0 || b != 0 {
			t.Errorf("ports %d and %d; a stream that is refused has port 0 on both legs", a, b)
		}
		st.flows(40000, 50000, told, asked)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestAFaxTakesTheCallOver(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		caller, called, _, _ := st.setUp(sdpOf(st.carrier, 40000), sdpOf(room, 50000))
		fax := func(a *actor, port int) string {
			return strings.Join([]string{
				"v=0", "o=- 1 2 IN IP4 " + a.addr.Addr().String(), "s=-", "c=IN IP4 " + a.addr.Addr().String(), "t=0 0",
				fmt.Sprintf("m=image %d udptl t38", port), "a=T38FaxVersion:0", "a=T38FaxUdpEC:t38UDPRedundancy",
			}, "\r\n") + "\r\n"
		}
		told, asked := st.renews(called, caller, fax(room, 50000), fax(st.carrier, 40000))
		if !strings.Contains(string(asked.Body), "udptl t38\r\na=T38FaxVersion:0\r\n") {
			t.Errorf("T.38 must pass as it is:\n%s", asked.Body)
		}
		a, b := st.carrier.opens(40000), room.opens(50000)
		if want, got := a.says(ours(asked.Body)[0]), b.hears(); got != want {
			t.Errorf("the room's fax heard %q, want %q", got, want)
		}
		if want, got := b.says(ours(told.Body)[0]), a.hears(); got != want {
			t.Errorf("the caller's fax heard %q, want %q", got, want)
		}
		a.close()
		b.close()
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestRTCPTravelsAsBothSidesAgree(t *testing.T) {
	for _, c := range []struct {
		name                 string
		offer, answer        string
		callerRTCP, roomRTCP int
		nearMux, farMux      bool // RTCP goes to our RTP port
	}{
		{"the port above", "", "", 40001, 50001, false, false},
		{"mux on both sides", "a=rtcp-mux", "a=rtcp-mux", 40000, 50000, true, true},
		{"mux offered, not taken", "a=rtcp-mux", "", 40001, 50001, false, false},
		{"a=rtcp", "a=rtcp:40077", "a=rtcp:50077 IN IP4 10.0.1.1", 40077, 50077, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				room := st.rooms["control-room"]
				lines := func(s string) []string {
					if s == "" {
						return nil
					}
					return []string{s}
				}
				caller, called, told, asked := st.setUp(sdpOf(st.carrier, 40000, lines(c.offer)...), sdpOf(room, 50000, lines(c.answer)...))
				near, far := ours(told.Body)[0], ours(asked.Body)[0]
				if !c.nearMux {
					near = next(near)
				}
				if !c.farMux {
					far = next(far)
				}
				rtcp := regexp.MustCompile(`(?m)^a=rtcp:(\d+)`)
				if f := rtcp.FindSubmatch(told.Body); f != nil && string(f[1]) != fmt.Sprint(near.Port()) {
					t.Errorf("the caller was told a=rtcp:%s, our port is %d", f[1], near.Port())
				}
				report := "\x80\xc8\x00\x06 a sender report"
				a, b := st.carrier.opens(c.callerRTCP), room.opens(c.roomRTCP)
				_, _ = a.conn.WriteTo([]byte(report), net.UDPAddrFromAddrPort(near))
				if got := b.hears(); got != report {
					t.Errorf("the room heard %q, want the caller's report", got)
				}
				_, _ = b.conn.WriteTo([]byte(report), net.UDPAddrFromAddrPort(far))
				if got := a.hears(); got != report {
					t.Errorf("the caller heard %q, want the room's report", got)
				}
				a.close()
				b.close()
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

func TestOddDescriptionsPass(t *testing.T) {
	v4 := func(a *actor) string { return a.addr.Addr().String() }
	for _, c := range []struct {
		name          string
		offer, answer func(a *actor) string
		streams       [2]int // in the offer that went out, and in the answer
		flows         bool
	}{
		{
			"disorder and bare line feeds",
			func(a *actor) string {
				return "v=0\nt=0 0\nc=IN IP4 " + v4(a) + "\no=x 1 1 IN IP4 h\nz z z\ns=\nm=audio 40000 RTP/AVP 8\na=what ever\n"
			},
			func(a *actor) string { return sdpOf(a, 50000) },
			[2]int{1, 1},
			true,
		},
		{
			"a longer answer than the offer",
			func(a *actor) string { return sdpOf(a, 40000) },
			func(a *actor) string { return sdpOf(a, 50000) + "m=video 50002 RTP/AVP 96\r\n" },
			[2]int{1, 2},
			true,
		},
		{
			"a shorter answer than the offer",
			func(a *actor) string { return sdpOf(a, 40000) + "m=video 40002 RTP/AVP 96\r\n" },
			func(a *actor) string { return sdpOf(a, 50000) },
			[2]int{2, 1},
			true,
		},
		{
			"a refused stream",
			func(a *actor) string { return sdpOf(a, 40000) + "m=video 40002 RTP/AVP 96\r\n" },
			func(a *actor) string { return sdpOf(a, 50000) + "m=video 0 RTP/AVP 96\r\n" },
			[2]int{2, 2},
			true,
		},
		{
			"an address of its own for each stream",
			func(a *actor) string {
				return "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\nc=IN IP4 " + v4(a) + "\r\nm=text 40002 RTP/AVP 98\r\nc=IN IP4 " + v4(a) + "\r\n"
			},
			func(a *actor) string { return sdpOf(a, 50000) + "m=text 50002 RTP/AVP 98\r\n" },
			[2]int{2, 2},
			true,
		},
		{
			"forty streams",
			func(a *actor) string { return sdpOf(a, 40000) + strings.Repeat("m=video 40002 RTP/AVP 96\r\n", 39) },
			func(a *actor) string { return sdpOf(a, 50000) + strings.Repeat("m=video 0 RTP/AVP 96\r\n", 39) },
			[2]int{40, 40},
			false, // more than the relay takes: past us
		},
		{
			"no stream at all",
			func(*actor) string { return "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n" },
			func(*actor) string { return "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 10.0.1.1\r\nt=0 0\r\n" },
			[2]int{0, 0},
			false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				room := st.rooms["control-room"]
				caller, called, told, asked := st.setUp(c.offer(st.carrier), c.answer(room))
				if a, b := len(ours(asked.Body)), len(ours(told.Body)); a != c.streams[0] || b != c.streams[1] {
					t.Errorf("%d streams went out and %d came back, want %v", a, b, c.streams)
				}
				if c.flows {
					near, far := ours(told.Body)[0], ours(asked.Body)[0]
					phone, desk := st.carrier.opens(40000), room.opens(50000)
					if want, got := phone.says(near), desk.hears(); got != want {
						t.Errorf("the room heard %q, want %q", got, want)
					}
					if want, got := desk.says(far), phone.hears(); got != want {
						t.Errorf("the caller heard %q, want %q", got, want)
					}
					phone.close()
					desk.close()
				}
				st.hangUp(caller, called)
				st.nothingLeft()
			})
		})
	}
}

func TestADescriptionInsideNestedPartsIsFoundAndTheRestStays(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		wrap := func(sdp string) string {
			return "preamble \xff\r\n--out\r\nContent-Type: multipart/alternative; boundary=\"in ner\"\r\n\r\n--in ner\r\nContent-Type: text/plain\r\n\r\nm=audio 1 no\r\n" +
				"--in ner\r\nContent-Type: application/sdp\r\nContent-ID: <1@x>\r\n\r\n" + sdp + "\r\n--in ner--\r\n\r\n--out\r\nContent-Type: application/pidf+xml\r\n\r\n<presence/>\x00\r\n--out--\r\nepilogue"
		}
		multi := "Content-Type: multipart/mixed;boundary=out"
		room := st.rooms["control-room"]
		caller := st.carrier.invite("sip:999@nines", wrap(sdpOf(st.carrier, 40000)), multi)
		st.carrier.expect("100 INVITE")
		asked := room.expect("INVITE")
		called := callee(room, asked, "r")
		outside := regexp.MustCompile(`(?s)v=0.*event/8000\r\n`)
		if got, want := outside.ReplaceAllString(string(asked.Body), ""), outside.ReplaceAllString(wrap(sdpOf(st.carrier, 40000)), ""); got != want {
			t.Errorf("around the description everything stays:\n%q\nwant\n%q", got, want)
		}
		room.replyBody(asked, 200, "r", wrap(sdpOf(room, 50000)), multi)
		told := st.carrier.expect("200 INVITE")
		if v, _ := told.Get("Content-Type"); v != "multipart/mixed;boundary=out" {
			t.Errorf("Content-Type is %q", v)
		}
		room.expect("ACK")
		caller.ack(told, "")
		inner := func(m heard) netip.AddrPort { return ours(outside.Find(m.Body))[0] }
		st.flowsTo(room, 40000, 50000, inner(told), inner(asked))
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestWhoCallsByIPv6MayTalkByIPv4(t *testing.T) {
	onScene(t, sixCarrier, func(st *stage) {
		room := st.rooms["control-room"]
		offer := strings.NewReplacer("IP6 fd00::9", "IP4 10.0.0.9").Replace(sdpOf(st.carrier, 40000))
		caller, called, told, _ := st.setUp(offer, sdpOf(room, 50000))
		if got := ours(told.Body)[0].Addr().String(); got != nodeAddr {
			t.Errorf("the answer names %s; who offers an IPv4 address need not have another", got)
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestSourcesMayMoveOnlyWhereTheyAreAllowedTo(t *testing.T) {
	onScene(t, func(sc *scene) {
		sc.Trunks[0].Symmetric = true
		sc.Endpoints[0].MediaFrom = []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")}
	}, func(st *stage) {
		room, pair := st.rooms["control-room"], st.rooms["standby-room"]
		caller, called, told, asked := st.setUp(sdpOf(st.carrier, 40000), sdpOf(room, 50000))
		near, far := ours(told.Body)[0], ours(asked.Body)[0]
		phone, desk := st.carrier.opens(41234), room.opens(50000) // the carrier's media comes from behind a NAT
		if want, got := phone.says(near), desk.hears(); got != want {
			t.Errorf("symmetric: the room heard %q, want %q", got, want)
		}
		if want, got := desk.says(far), phone.hears(); got != want {
			t.Errorf("symmetric: the caller heard %q, want %q, where it sends from", got, want)
		}
		other := st.carrier.opens(40002) // neither the first source nor the one that was told
		other.says(near)
		if got := desk.hears(); got != "" {
			t.Errorf("the first source is locked; the room heard another: %q", got)
		}
		time.Sleep(300 * time.Millisecond)
		moved := pair.opens(50000) // the PBX's twin takes the audio over
		if want, got := moved.says(far), phone.hears(); got != want {
			t.Errorf("media_from: the caller heard %q, want %q", got, want)
		}
		if want, got := phone.says(near), moved.hears(); got != want {
			t.Errorf("media_from: the twin heard %q, want %q", got, want)
		}
		for _, m := range []*mouth{phone, desk, other, moved} {
			m.close()
		}
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}

func TestWhoOffersWithoutPortsOfOursGetsNoEarlyMedia(t *testing.T) {
	onScene(t, func(sc *scene) {
		sc.Routes[0].EarlyMedia = true
		sc.media.PortMin, sc.media.PortMax = 20000, 20001 // one pair: the caller's
	}, func(st *stage) {
		room := st.rooms["control-room"]
		caller := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
		st.carrier.expect("100 INVITE")
		m := room.expect("INVITE")
		called := callee(room, m, "r")
		room.replyBody(m, 183, "r", sdpOf(room, 50000))
		st.carrier.expect("180 INVITE")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		told := st.carrier.expect("200 INVITE")
		room.expect("ACK")
		if a, b := ours(m.Body)[0], ours(told.Body)[0]; a.Port() != 40000 || b.Port() != 50000 {
			t.Errorf("the room was told %v and the caller %v; want each other", a, b)
		}
		caller.ack(told, "")
		time.Sleep(10 * time.Millisecond)
		st.hangUp(caller, called)
		st.nothingLeft()
	})
}
