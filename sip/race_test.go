package sip_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nines/internal/town"
	"nines/sip"
)

// until waits for a message and passes over kinds that may repeat meanwhile.
func (a *actor) until(what string, over ...string) heard {
	a.t.Helper()
	limit := time.After(2 * time.Minute)
	for {
		select {
		case m := <-a.in:
			switch got := kind(m.Message); {
			case got == what:
				return m
			case !slices.Contains(over, got):
				a.t.Fatalf("%s got %s, want %s:\n%s", a.host.Name(), got, what, m.raw)
			}
		case <-limit:
			a.t.Fatalf("%s waited two minutes for %s", a.host.Name(), what)
		}
	}
}

// ended hears the ACK and the BYE that a 200 gets which nobody wants, and answers the BYE.
func (a *actor) ended(over ...string) heard {
	a.t.Helper()
	a.until("ACK", over...)
	bye := a.until("BYE", over...)
	a.reply(bye, 200, "")
	return bye
}

// place sends an INVITE for 999 and hears the 100.
func (st *stage) place(extra ...string) *dialog {
	st.t.Helper()
	d := st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000), extra...)
	st.carrier.expect("100 INVITE")
	return d
}

// cancelled sends the CANCEL of a call that has no final response, and hears what it must.
func (d *dialog) cancelled() {
	d.a.t.Helper()
	d.cancel()
	d.a.expect("200 CANCEL")
	d.ack(d.a.expect("487 INVITE"), "")
}

// bye ends a talking call from the caller's side.
func (d *dialog) bye(room *actor) {
	d.a.t.Helper()
	d.request("BYE", "")
	d.a.expect("200 BYE")
	room.reply(room.expect("BYE"), 200, "")
}

// oneRoom is a routing whose 999 asks the control room only.
func oneRoom(r *sip.Routing) { r.Routes[0].Ask = r.Routes[0].Ask[:1] }

func TestACancelBeforeAnyProvisionalWaitsForOne(t *testing.T) {
	for _, answer := range []string{"180", "100", "487", "486", "200"} {
		t.Run(answer, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				room := st.rooms["control-room"]
				d := st.place()
				m := room.expect("INVITE")
				d.cancelled() // the caller does not wait for anybody
				room.silence(400 * time.Millisecond)
				switch answer {
				case "180", "100":
					room.reply(m, map[string]int{"180": 180, "100": 100}[answer], "r")
					c := room.until("CANCEL", "INVITE") // RFC 3261 §9.1: not before a provisional response
					room.reply(c, 200, "r")
					room.reply(m, 487, "r")
					room.expect("ACK")
				case "200":
					room.replyBody(m, 200, "r", sdpOf(room, 50000))
					bye := room.ended("INVITE")
					if v, _ := bye.Get("Reason"); !strings.HasPrefix(v, "SIP;cause=487") {
						t.Errorf("the BYE's Reason is %q; nobody else answered, the caller has left", v)
					}
				default:
					room.reply(m, map[string]int{"486": 486, "487": 487}[answer], "r")
					room.until("ACK", "INVITE")
				}
				st.rooms["standby-room"].silence(5 * time.Second) // R8: no attempt starts after the caller's CANCEL
				st.nothingLeft()
			})
		})
	}
}

func TestASilentEndpointIsCancelledHoweverLateItWakes(t *testing.T) {
	for _, after := range []time.Duration{time.Second, 31 * time.Second, 40 * time.Second, 60 * time.Second} {
		for _, what := range []int{180, 200} {
			t.Run(fmt.Sprint(what, after), func(t *testing.T) {
				onStage(t, nil, func(st *stage) {
					room := st.rooms["control-room"]
					d := st.place()
					m := room.expect("INVITE")
					d.cancelled()
					time.Sleep(after)
					if what == 180 {
						room.reply(m, 180, "r")
						c := room.until("CANCEL", "INVITE")
						room.reply(c, 200, "r")
						room.reply(m, 487, "r")
						room.expect("ACK")
					} else {
						room.replyBody(m, 200, "r", sdpOf(room, 50000))
						room.ended("INVITE")
						room.replyBody(m, 200, "r", sdpOf(room, 50000)) // our ACK was lost
						room.expect("ACK")
					}
					room.silence(20 * time.Second)
					st.nothingLeft()
				})
			})
		}
	}
}

func TestA200After500IsAckedAndEnded(t *testing.T) {
	for _, after := range []time.Duration{0, 20 * time.Second, 40 * time.Second} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			onStage(t, oneRoom, func(st *stage) {
				room := st.rooms["control-room"]
				d := st.place()
				began := time.Now()
				m := room.expect("INVITE")
				d.ack(st.carrier.expect("500 INVITE"), "")
				if got := time.Since(began); got < 4*time.Second || got > 4100*time.Millisecond {
					t.Errorf("the 500 came after %v; nobody sent a 100, so 4 s are enough (R6)", got)
				}
				time.Sleep(after)
				room.replyBody(m, 200, "r", sdpOf(room, 50000))
				room.ended("INVITE")
				st.carrier.silence(time.Second)
				st.nothingLeft()
			})
		})
	}
}

func TestATimedOutAttemptThatRingsAtLastIsCancelled(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		d := st.place()
		m := room.expect("INVITE")
		n := standby.expect("INVITE")
		standby.reply(n, 180, "s")
		st.carrier.expect("180 INVITE")
		time.Sleep(40 * time.Second) // 64·T1 are over for the first
		room.reply(m, 180, "r")
		c := room.until("CANCEL", "INVITE") // or its telephones ring for nobody
		room.reply(c, 200, "r")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		room.ended()
		standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
		d.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		d.bye(standby)
		st.nothingLeft()
	})
}

func TestACancelThatCrossesA200(t *testing.T) {
	t.Run("the 200 is first", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			room := st.rooms["control-room"]
			d := st.place()
			m := room.expect("INVITE")
			room.replyBody(m, 200, "r", sdpOf(room, 50000))
			ok := st.carrier.expect("200 INVITE")
			room.expect("ACK")
			d.cancel()
			st.carrier.expect("200 CANCEL")
			st.carrier.until("200 INVITE") // RFC 3261 §9.2: it has no effect on a request that has its final response
			d.ack(ok, "")
			st.carrier.silence(10 * time.Second)
			d.seq = 1
			d.bye(room)
			st.nothingLeft()
		})
	})
	t.Run("the CANCEL is first", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			room := st.rooms["control-room"]
			d := st.place()
			m := room.expect("INVITE")
			room.reply(m, 180, "r")
			st.carrier.expect("180 INVITE")
			d.cancelled()
			c := room.expect("CANCEL")
			room.replyBody(m, 200, "r", sdpOf(room, 50000))
			room.ended()
			room.reply(c, 200, "r")
			st.nothingLeft()
		})
	})
}

func TestACancelThatCrossesARefusal(t *testing.T) {
	t.Run("the refusal is first", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			room, standby := st.rooms["control-room"], st.rooms["standby-room"]
			d := st.place()
			room.reply(room.expect("INVITE"), 486, "r")
			room.expect("ACK")
			n := standby.expect("INVITE")
			d.cancelled()
			standby.reply(n, 100, "")
			standby.reply(standby.until("CANCEL", "INVITE"), 200, "s")
			standby.reply(n, 487, "s")
			standby.expect("ACK")
			st.rooms["partner"].silence(5 * time.Second)
			st.nothingLeft()
		})
	})
	t.Run("the CANCEL is first", func(t *testing.T) {
		onStage(t, nil, func(st *stage) {
			room := st.rooms["control-room"]
			d := st.place()
			m := room.expect("INVITE")
			room.reply(m, 100, "")
			time.Sleep(10 * time.Millisecond)
			d.cancelled()
			room.reply(m, 486, "r") // it crosses our CANCEL
			room.until("ACK", "CANCEL")
			st.rooms["standby-room"].silence(5 * time.Second)
			st.nothingLeft()
		})
	})
}

func TestACancelThatMeetsATimer(t *testing.T) {
	for _, at := range []time.Duration{999 * time.Millisecond, 1001 * time.Millisecond} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				room, standby := st.rooms["control-room"], st.rooms["standby-room"]
				d := st.place()
				m := room.expect("INVITE")
				asked := time.Now()
				time.Sleep(at - time.Since(asked) - 10*time.Microsecond)
				if at > time.Second { // patience is spent: the standby was asked as well
					time.Sleep(20 * time.Millisecond)
				}
				d.cancelled()
				room.reply(m, 180, "r")
				room.reply(room.until("CANCEL", "INVITE"), 200, "r")
				room.reply(m, 487, "r")
				room.until("ACK", "INVITE")
				if at < time.Second {
					standby.silence(5 * time.Second)
				} else {
					n := standby.expect("INVITE")
					standby.reply(n, 487, "s")
					standby.until("ACK", "INVITE")
				}
				st.rooms["partner"].silence(5 * time.Second)
				st.nothingLeft()
			})
		})
	}
}

func TestACancelWhileAConnectionIsMadeAsksNobody(t *testing.T) {
	tcp := func(r *sip.Routing) { r.Endpoints[0].URI = "sip:10.0.1.1:5060;transport=tcp" }
	for _, at := range []time.Duration{10 * time.Millisecond, 150 * time.Millisecond} { // the connection is made after 100 ms
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			onStage(t, tcp, func(st *stage) {
				room := st.rooms["control-room"]
				server := newTCPActor(t, room.host)
				defer server.close()
				time.Sleep(time.Minute) // it is up
				server.conn.(*streams).hangUp()
				st.net.Between(st.node, room.host, town.Path{Delay: 50 * time.Millisecond})
				d := st.place()
				time.Sleep(at)
				d.cancelled()
				if at < 100*time.Millisecond {
					server.silence(5 * time.Second)
				} else {
					m := server.expect("INVITE")
					server.reply(m, 100, "")
					c := server.expect("CANCEL")
					server.reply(c, 200, "r")
					server.reply(m, 487, "r")
					server.expect("ACK")
				}
				st.rooms["standby-room"].silence(5 * time.Second)
				st.nothingLeft()
			})
		})
	}
}

// newTCPActor is an actor at a host who speaks over the TCP connections that are made to it.
func newTCPActor(t *testing.T, h *town.Host) *actor {
	t.Helper()
	addr := netip.AddrPortFrom(h.Addr(), 5060)
	ln, err := h.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &streams{ln: ln, in: make(chan segment, 100), conns: map[string]net.Conn{}}
	go s.accept() // ends with Close
	a := &actor{t: t, host: h, conn: s, addr: addr, in: make(chan heard, 1000)}
	go a.listen() // ends with Close
	return a
}

// streams makes a listener's connections look like one packet socket: a message is a packet.
type streams struct {
	net.PacketConn // what nobody calls
	ln             net.Listener
	in             chan segment
	mu             sync.Mutex
	conns          map[string]net.Conn
	last           net.Conn // that we made
	closed         bool
}

type segment struct {
	data []byte
	from net.Addr
}

func (s *streams) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			close(s.in)
			return
		}
		s.mu.Lock()
		s.conns[c.RemoteAddr().String()] = c
		s.mu.Unlock()
		go s.read(c) // ends with the connection
	}
}

func (s *streams) read(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		var msg []byte
		length := 0
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				return
			}
			msg = append(msg, line...)
			if name, v, ok := strings.Cut(string(line), ":"); ok && strings.EqualFold(name, "Content-Length") {
				length, _ = strconv.Atoi(strings.TrimSpace(v))
			}
			if len(bytes.TrimSpace(line)) == 0 {
				break
			}
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		s.mu.Lock()
		if !s.closed {
			s.in <- segment{append(msg, body...), c.RemoteAddr()}
		}
		s.mu.Unlock()
	}
}

func (s *streams) ReadFrom(b []byte) (int, net.Addr, error) {
	seg, ok := <-s.in
	if !ok {
		return 0, nil, net.ErrClosed
	}
	return copy(b, seg.data), seg.from, nil
}

func (s *streams) WriteTo(b []byte, to net.Addr) (int, error) {
	s.mu.Lock()
	c := s.conns[to.String()]
	if c == nil {
		c = s.last
	}
	s.mu.Unlock()
	if c == nil {
		return 0, net.ErrClosed
	}
	return c.Write(b)
}

// hangUp closes the connections that there are; new ones are taken.
func (s *streams) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, c := range s.conns {
		_ = c.Close()
		delete(s.conns, k)
	}
}

// redial makes a new connection to us; what the actor sends goes by it from now on, whatever connection it answers.
func (a *actor) redial(st *stage) {
	a.t.Helper()
	c, err := a.host.Dial(st.t.Context(), a.host.Addr(), nodeUDP.AddrPort())
	if err != nil {
		a.t.Fatal(err)
	}
	s := a.conn.(*streams)
	s.mu.Lock()
	s.conns[c.RemoteAddr().String()], s.last = c, c
	s.mu.Unlock()
	go s.read(c) // ends with the connection
}

func (s *streams) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.hangUp()
	return s.ln.Close()
}

func TestACallerMayLeaveAnEarlyDialogByBye(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.place()
		m := room.expect("INVITE")
		room.reply(m, 180, "r")
		d.learn(st.carrier.expect("180 INVITE"))
		d.request("BYE", "", "Reason: Q.850;cause=16")
		st.carrier.expect("200 BYE")
		final := st.carrier.expect("487 INVITE") // RFC 3261 §15.1.2: the INVITE gets its answer all the same
		d.ack(final, "")
		c := room.expect("CANCEL")
		if v, _ := c.Get("Reason"); v != "Q.850;cause=16" {
			t.Errorf("the CANCEL's Reason is %q; what the caller said must pass", v)
		}
		room.reply(c, 200, "r")
		room.reply(m, 487, "r")
		room.expect("ACK")
		st.nothingLeft()
	})
}

func TestTwoAnswersAtOnceMakeOneCall(t *testing.T) {
	for _, winner := range []string{"control-room", "standby-room"} {
		t.Run(winner, func(t *testing.T) {
			onStage(t, nil, func(st *stage) {
				room, standby := st.rooms["control-room"], st.rooms["standby-room"]
				d := st.place()
				m := room.expect("INVITE")
				n := standby.expect("INVITE")
				first, second := room, standby
				if winner == "control-room" {
					room.replyBody(m, 200, "r", sdpOf(room, 50000))
					time.Sleep(time.Millisecond)
					standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
				} else {
					first, second = standby, room
					standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
					time.Sleep(time.Millisecond)
					room.replyBody(m, 200, "r", sdpOf(room, 50000))
				}
				d.ack(st.carrier.expect("200 INVITE"), "")
				first.until("ACK", "INVITE")
				bye := second.ended("INVITE")
				if v, _ := bye.Get("Reason"); v != `SIP;cause=200;text="Call completed elsewhere"` {
					t.Errorf("the loser's BYE has Reason %q", v)
				}
				st.carrier.silence(time.Second)
				d.bye(first)
				st.nothingLeft()
			})
		})
	}
}

func TestTheLosersRefusalIsAckedAndChangesNothing(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		d := st.place()
		m := room.expect("INVITE")
		room.reply(m, 100, "")
		n := standby.expect("INVITE") // after progress
		standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
		d.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		c := room.expect("CANCEL")
		room.reply(c, 200, "r")
		for range 3 { // and repeated
			room.reply(m, 487, "r")
			room.expect("ACK")
		}
		d.bye(standby)
		st.nothingLeft()
	})
}

func TestAnEndpointThatRefusesAndThenAnswersIsAckedAndEnded(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room, standby := st.rooms["control-room"], st.rooms["standby-room"]
		d := st.place()
		m := room.expect("INVITE")
		room.reply(m, 486, "r")
		room.expect("ACK")
		n := standby.expect("INVITE")
		standby.replyBody(n, 200, "s", sdpOf(standby, 50000))
		d.ack(st.carrier.expect("200 INVITE"), "")
		standby.expect("ACK")
		room.replyBody(m, 200, "changed-its-mind", sdpOf(room, 50000))
		room.ended()
		d.bye(standby)
		time.Sleep(10 * time.Second)
		room.replyBody(m, 200, "again", sdpOf(room, 50000)) // after the call as well
		room.ended()
		st.nothingLeft()
	})
}

func TestACallerWhoLeavesWhileThe200WaitsForItsPRACK(t *testing.T) {
	early := func(r *sip.Routing) { r.Routes[0].EarlyMedia = true }
	begin := func(st *stage) (d, called *dialog) {
		room := st.rooms["control-room"]
		d = st.place("Supported: 100rel")
		m := room.expect("INVITE")
		room.replyBody(m, 183, "r", sdpOf(room, 50000))
		d.learn(st.carrier.expect("183 INVITE"))
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		time.Sleep(100 * time.Millisecond)
		return d, callee(room, m, "r")
	}
	t.Run("CANCEL", func(t *testing.T) {
		onStage(t, early, func(st *stage) {
			d, called := begin(st)
			d.cancel()
			st.carrier.expect("200 CANCEL")
			d.ack(st.carrier.until("487 INVITE", "183 INVITE"), "") // no final response has gone up: it is not too late
			called.a.ended()
			st.nothingLeft()
		})
	})
	t.Run("BYE", func(t *testing.T) {
		onStage(t, early, func(st *stage) {
			d, called := begin(st)
			d.request("BYE", "")
			st.carrier.expect("200 BYE")
			d.ack(st.carrier.until("487 INVITE", "183 INVITE"), "")
			called.a.ended()
			st.nothingLeft()
		})
	})
	t.Run("the endpoint hangs up", func(t *testing.T) {
		onStage(t, early, func(st *stage) {
			d, called := begin(st)
			called.request("BYE", "")
			called.a.until("200 BYE", "ACK")
			d.ack(st.carrier.until("500 INVITE", "183 INVITE"), "") // nobody is there any more, and the caller was told nothing yet
			st.nothingLeft()
		})
	})
}

func TestWhatALosingForkSaysDoesNotTouchTheCall(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.place()
		m := room.expect("INVITE")
		room.reply(m, 180, "one")
		st.carrier.expect("180 INVITE")
		room.reply(m, 180, "two")
		fork := callee(room, m, "one")
		room.replyBody(m, 200, "two", sdpOf(room, 50000))
		d.ack(st.carrier.expect("200 INVITE"), "")
		room.expect("ACK")
		room.replyBody(m, 200, "one", sdpOf(room, 50002))
		room.expect("ACK")
		bye := room.expect("BYE")
		fork.request("BYE", "") // it crosses ours
		room.expect("200 BYE")
		room.reply(bye, 200, "")
		room.replyBody(m, 200, "one", sdpOf(room, 50002)) // our ACK was lost
		if again := room.expect("ACK"); again.ToTag != "one" {
			t.Errorf("the ACK of the fork's repeated 200 goes to %q", again.ToTag)
		}
		fork.request("INFO", "")
		room.expect("481 INFO")
		st.carrier.silence(10 * time.Second) // the call talks on
		d.bye(room)
		room.replyBody(m, 200, "three", sdpOf(room, 50004)) // and one more, when the call is over
		room.ended()
		st.nothingLeft()
	})
}

func TestAnInviteInTheCallProvesThatThe200Arrived(t *testing.T) {
	onStage(t, nil, func(st *stage) {
		room := st.rooms["control-room"]
		d := st.place()
		m := room.expect("INVITE")
		room.replyBody(m, 200, "r", sdpOf(room, 50000))
		d.learn(st.carrier.expect("200 INVITE"))
		room.expect("ACK")
		d.request("INVITE", sdpOf(st.carrier, 40002), "Contact: <sip:carrier@10.0.0.9>") // its ACK was lost
		st.carrier.expect("100 INVITE")
		again := room.expect("INVITE")
		room.replyBody(again, 200, "", sdpOf(room, 50002))
		d.ack(st.carrier.expect("200 INVITE"), "")
		room.expect("ACK")
		// From here on the caller is watched as any other (R44): two 481 and no media for 30 s, and it is gone.
		for range 2 {
			st.carrier.reply(st.carrier.expect("OPTIONS"), 481, "")
		}
		st.carrier.reply(st.carrier.expect("BYE"), 481, "")
		room.reply(room.expect("BYE"), 200, "")
		st.nothingLeft()
	})
}
