package sip_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"nines/health"
	"nines/internal/town"
	"nines/media"
	"nines/policy"
	"nines/sip"
	"nines/sip/wire"
)

// A stage is a proxy in the middle of a town: a carrier in front of it, two own rooms and a partner behind. Every one of them is a script of raw SIP
// text, so that a test says exactly what crosses the wire and when. It runs in a synctest bubble: minutes pass in microseconds.
type stage struct {
	t       *testing.T
	net     *town.Network
	node    *town.Host
	server  *sip.Server
	relay   *media.Relay
	carrier *actor
	rooms   map[string]*actor
}

// Everybody has an address of each kind; the proxy has a second one of the old kind.
const (
	nodeAddr  = "10.0.0.1"
	nodeOther = "10.0.0.2"
	nodeSix   = "fd00::1"
)

// A scene is what a test may change before the curtain rises.
type scene struct {
	sip.Routing
	media  media.Config
	server sip.Config
	stage  *stage
}

// onStage plays one test. change may edit the routing before the curtain rises.
func onStage(t *testing.T, change func(*sip.Routing), play func(*stage)) {
	t.Helper()
	onScene(t, func(sc *scene) {
		if change != nil {
			change(&sc.Routing)
		}
	}, play)
}

// onScene is onStage for tests that change more than the routing.
func onScene(t *testing.T, change func(*scene), play func(*stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := town.NewNetwork(1)
		node := n.Host("nines", netip.MustParseAddr(nodeAddr), netip.MustParseAddr(nodeOther), netip.MustParseAddr(nodeSix))
		st := &stage{t: t, net: n, node: node, rooms: map[string]*actor{}}
		st.carrier = newActor(t, n.Host("carrier", netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fd00::9")))
		for i, name := range []string{"control-room", "standby-room", "partner"} {
			st.rooms[name] = newActor(t, n.Host(name, netip.MustParseAddr(fmt.Sprintf("10.0.1.%d", i+1)), netip.MustParseAddr(fmt.Sprintf("fd00:1::%d", i+1))))
		}
		r := sip.Routing{
			Name:   "west-mercia",
			Trunks: []sip.Trunk{{Trunk: policy.Trunk{Name: "bt", GiveUp: 20 * time.Second}, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/32")}}},
			Endpoints: []sip.Endpoint{
				{Endpoint: policy.Endpoint{Name: "control-room"}, URI: "sip:10.0.1.1:5060"},
				{Endpoint: policy.Endpoint{Name: "standby-room"}, URI: "sip:10.0.1.2:5060"},
				{Endpoint: policy.Endpoint{Name: "partner", Partner: true}, URI: "sip:+441926415000@10.0.1.3:5060"},
			},
			Routes: []policy.Route{
				{
					Name: "999", Class: policy.Emergency, Numbers: []string{"999", "112", "urn:service:sos*"}, Overlap: true,
					NoRescue: true, // its OPTIONS would come between the lines of the scripts; rescue has tests of its own
					Ask:      [][]policy.EndpointName{{"control-room"}, {"standby-room"}, {"partner"}},
					Patience: time.Second, Progress: 4 * time.Second,
				},
				{
					Name: "101", Class: policy.Routine, Numbers: []string{"101"}, Overlap: true, NoRescue: true,
					Ask: [][]policy.EndpointName{{"control-room"}, {"standby-room"}}, Patience: time.Second, Progress: 4 * time.Second,
				},
			},
			Health: health.Config{FailBack: health.Probes, Endpoints: []health.Endpoint{{Name: "control-room"}, {Name: "standby-room"}, {Name: "partner", Partner: true}}},
		}
		out := io.Discard
		if os.Getenv("NINES_LOG") != "" {
			out = zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true}
		}
		sc := &scene{
			Routing: r, stage: st,
			media: media.Config{Addresses: []netip.Addr{netip.MustParseAddr(nodeAddr)}, PortMin: 20000, PortMax: 20999, Network: st.node},
			server: sip.Config{
				Listen:  []wire.Listen{{Proto: wire.UDP, Addr: netip.MustParseAddrPort(nodeAddr + ":5060")}, {Proto: wire.TCP, Addr: netip.MustParseAddrPort(nodeAddr + ":5060")}},
				Network: st.node, Loops: 2, Log: zerolog.New(out), Seed: 7,
			},
		}
		change(sc)
		var err error
		if st.relay, err = media.Open(sc.media); err != nil {
			t.Fatal(err)
		}
		sc.server.Media = st.relay
		if st.server, err = sip.New(sc.server, sc.Routing); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 2)
		go func() { done <- st.server.Run(ctx) }()
		go func() { done <- st.relay.Run(ctx) }()
		defer func() { // a test that fails ends here too, and the others go on
			cancel()
			for range 2 {
				if err := <-done; err != nil {
					t.Errorf("the end: %v", err)
				}
			}
			st.relay.Close()
			st.carrier.close()
			for _, a := range st.rooms {
				a.close()
			}
		}()
		time.Sleep(2 * time.Second) // the first probes are answered: everybody is up
		play(st)
	})
}

// nothingLeft checks that a call leaves nothing behind: no session, no port, and after 64·T1 no transaction.
func (st *stage) nothingLeft() {
	st.t.Helper()
	time.Sleep(2 * time.Minute)
	r, err := st.server.Residue(context.Background())
	if err != nil {
		st.t.Fatal(err)
	}
	if r.Sessions != 0 {
		st.t.Errorf("%d sessions are left two minutes after everything ended; want none", r.Sessions)
	}
	if r.Waiting != 0 {
		st.t.Errorf("%d requests still wait for responses; want none", r.Waiting)
	}
	if used := st.relay.Stats().InUse; used != 0 {
		st.t.Errorf("%d media ports are still in use; want none", used)
	}
	c := st.server.Counters()
	if c.Active != 0 || c.Talking != 0 {
		st.t.Errorf("active %d, talking %d; want 0 and 0", c.Active, c.Talking)
	}
	if c.Panics != 0 {
		st.t.Errorf("%d faults of ours; want none", c.Panics)
	}
}

// actor is somebody who speaks raw SIP.
type actor struct {
	t       *testing.T
	host    *town.Host
	conn    net.PacketConn
	addr    netip.AddrPort
	in      chan heard
	mute    atomic.Bool  // answers no OPTIONS
	ping    atomic.Int32 // how it answers OPTIONS; 0 means 200
	lenient atomic.Bool  // what others said may have gone into our requests: sipgo may refuse them

	present atomic.Bool // answers OPTIONS inside a call too

	wrote atomic.Int64 // bytes

	proto string   // as Via has it: UDP unless said
	node  net.Addr // where it knows the proxy
	seq   int
}

type heard struct {
	*wire.Message
	from net.Addr
	raw  []byte
}

func newActor(t *testing.T, h *town.Host) *actor {
	t.Helper()
	addr := netip.AddrPortFrom(h.Addr(), 5060)
	conn, err := h.ListenPacket(addr)
	if err != nil {
		t.Fatal(err)
	}
	return cast(t, h, conn, addr, "UDP", nodeUDP)
}

// cast makes an actor of a socket.
func cast(t *testing.T, h *town.Host, conn net.PacketConn, addr netip.AddrPort, proto string, node net.Addr) *actor {
	a := &actor{t: t, host: h, conn: conn, addr: addr, in: make(chan heard, 1000), proto: proto, node: node}
	go a.listen()
	return a
}

func (a *actor) close() { _ = a.conn.Close() }

func (a *actor) listen() {
	buf := make([]byte, 65536)
	for {
		n, from, err := a.conn.ReadFrom(buf)
		if err != nil {
			if _, icmp := err.(*wire.ICMPError); icmp { //nolint:errorlint // the network returns it bare
				continue
			}
			return
		}
		raw := bytes.Clone(buf[:n])
		m, err := wire.Parse(raw)
		if err != nil {
			a.t.Errorf("%s got something that is no SIP: %q", a.host.Name(), raw)
			continue
		}
		if m.IsRequest() && !a.lenient.Load() {
			if strict, err := town.ParseMessage(raw); err != nil || len(strict.Wrong(raw)) > 0 {
				a.t.Errorf("%s got a request that is wrong: %q (%v):\n%s", a.host.Name(), strict.Wrong(raw), err, raw)
			}
		}
		if m.IsRequest() && (m.Malformed || m.URI == "") {
			a.t.Errorf("%s got a malformed request:\n%s", a.host.Name(), raw)
		}
		if m.IsRequest() && m.Method == "OPTIONS" && (m.ToTag == "" || a.present.Load()) {
			if !a.mute.Load() {
				a.reply(heard{Message: m, from: from}, max(int(a.ping.Load()), 200), "")
			}
			continue
		}
		a.in <- heard{Message: m, from: from, raw: raw}
	}
}

// send writes a message; line ends may be bare, Content-Length is counted.
func (a *actor) send(to net.Addr, head, body string) {
	text := strings.ReplaceAll(strings.TrimSpace(head), "\n", "\r\n")
	text += fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	a.wrote.Add(int64(len(text)))
	if _, err := a.conn.WriteTo([]byte(text), to); err != nil {
		a.t.Errorf("%s: %v", a.host.Name(), err)
	}
}

// expect waits for the next message and checks that it is what was meant: a method, or "180 INVITE".
func (a *actor) expect(what string) heard {
	a.t.Helper()
	select {
	case m := <-a.in:
		if got := kind(m.Message); got != what {
			a.t.Fatalf("%s got %s, want %s:\n%s", a.host.Name(), got, what, m.raw)
		}
		return m
	case <-time.After(40 * time.Second):
		a.t.Fatalf("%s waited 40 s for %s", a.host.Name(), what)
		return heard{}
	}
}

// silence checks that nothing comes for a while.
func (a *actor) silence(d time.Duration) {
	a.t.Helper()
	select {
	case m := <-a.in:
		a.t.Fatalf("%s got %s, want silence:\n%s", a.host.Name(), kind(m.Message), m.raw)
	case <-time.After(d):
	}
}

func kind(m *wire.Message) string {
	if m.IsRequest() {
		return m.Method
	}
	return fmt.Sprintf("%d %s", m.Status, m.Method)
}

// reply answers a request; extra are header lines.
func (a *actor) reply(m heard, code int, tag string, extra ...string) {
	a.replyBody(m, code, tag, "", extra...)
}

func (a *actor) replyBody(m heard, code int, tag, body string, extra ...string) {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d %s\n", code, wire.Phrase(code))
	for _, v := range m.All("Via") {
		fmt.Fprintf(&b, "Via: %s\n", v)
	}
	fmt.Fprintf(&b, "From: %s\n", m.From)
	if tag != "" && m.ToTag == "" {
		fmt.Fprintf(&b, "To: %s;tag=%s\n", m.To, tag)
	} else {
		fmt.Fprintf(&b, "To: %s\n", m.To)
	}
	fmt.Fprintf(&b, "Call-ID: %s\nCSeq: %d %s\n", m.CallID, m.CSeq, m.Method)
	if !strings.Contains(strings.Join(extra, "\n"), "Contact:") {
		fmt.Fprintf(&b, "Contact: <%s>\n", a.uri("desk"))
	}
	if body != "" && !strings.Contains(strings.Join(extra, "\n"), "Content-Type:") {
		b.WriteString("Content-Type: application/sdp\n")
	}
	for _, e := range extra {
		b.WriteString(e + "\n")
	}
	a.send(m.from, b.String(), body)
}

// sdpOf is a plain description of somebody's audio.
func sdpOf(a *actor, port int, extra ...string) string {
	addr := "IN IP4 " + a.addr.Addr().String()
	if a.addr.Addr().Is6() {
		addr = "IN IP6 " + a.addr.Addr().String()
	}
	lines := append([]string{
		"v=0", "o=- 1 1 " + addr, "s=-", "c=" + addr, "t=0 0",
		fmt.Sprintf("m=audio %d RTP/AVP 8 101", port), "a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000",
	}, extra...)
	return strings.Join(lines, "\r\n") + "\r\n"
}

// dialog is one actor's view of a dialog it takes part in.
type dialog struct {
	a              *actor
	callID         string
	local, remote  string // From or To values with tags
	target         string // where requests go: the Contact we were given
	seq            int
	branch         string // of the last request
	inviteBranch   string
	inviteSequence int
}

var nodeUDP = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(nodeAddr + ":5060"))

// uri is the actor's Contact.
func (a *actor) uri(user string) string {
	if a.proto == "UDP" {
		return "sip:" + user + "@" + a.addr.String()
	}
	return "sip:" + user + "@" + a.addr.String() + ";transport=" + strings.ToLower(a.proto)
}

// invite places a call. extra are header lines; body may be empty.
func (a *actor) invite(uri, body string, extra ...string) *dialog {
	a.seq++
	d := &dialog{
		a: a, callID: fmt.Sprintf("call-%d@carrier", a.seq), local: fmt.Sprintf("\"A Caller\" <sip:+447700900123@carrier.example>;tag=from%d", a.seq),
		remote: "<" + uri + ">", target: uri, seq: 1, branch: fmt.Sprintf("z9hG4bKcarrier%d", a.seq),
	}
	d.inviteBranch, d.inviteSequence = d.branch, 1
	if body != "" && !strings.Contains(strings.Join(extra, "\n"), "Content-Type") {
		extra = append(extra, "Content-Type: application/sdp")
	}
	d.write("INVITE", body, append(extra, "Contact: <"+a.uri("carrier")+">")...)
	return d
}

func (d *dialog) write(method, body string, extra ...string) {
	head := fmt.Sprintf("%s %s SIP/2.0\nVia: SIP/2.0/%s %s;branch=%s;rport\nMax-Forwards: 70\nFrom: %s\nTo: %s\nCall-ID: %s\nCSeq: %d %s",
		method, d.target, d.a.proto, d.a.addr, d.branch, d.local, d.remote, d.callID, d.seq, method)
	for _, e := range extra {
		head += "\n" + e
	}
	d.a.send(d.a.node, head, body)
}

// request sends a request inside the dialog.
func (d *dialog) request(method, body string, extra ...string) {
	if method != "ACK" && method != "CANCEL" {
		d.seq++
	}
	d.a.seq++
	d.branch = fmt.Sprintf("z9hG4bK%s%d", strings.ToLower(method), d.a.seq)
	if method == "INVITE" {
		d.inviteBranch, d.inviteSequence = d.branch, d.seq
	}
	if body != "" {
		extra = append(extra, "Content-Type: application/sdp")
	}
	d.write(method, body, extra...)
}

// cancel sends the CANCEL of the dialog's INVITE.
func (d *dialog) cancel(extra ...string) {
	d.branch, d.seq = d.inviteBranch, d.inviteSequence
	d.write("CANCEL", "", extra...)
}

// ack acknowledges a final response to the dialog's INVITE.
func (d *dialog) ack(m heard, body string) {
	d.learn(m)
	seq, branch := d.seq, d.branch
	d.seq, d.branch = d.inviteSequence, d.inviteBranch
	if m.Status < 300 {
		d.branch += "ack"
	}
	var extra []string
	if body != "" {
		extra = append(extra, "Content-Type: application/sdp")
	}
	d.write("ACK", body, extra...)
	d.seq, d.branch = seq, branch
}

// learn takes tag and target from a response.
func (d *dialog) learn(m heard) {
	d.remote = m.To
	if v, ok := m.Get("Contact"); ok {
		_, d.target, _ = wire.NameAddr(v)
	}
}

// callee is the view of who was asked.
func callee(a *actor, m heard, tag string) *dialog {
	d := &dialog{a: a, callID: m.CallID, local: m.To + ";tag=" + tag, remote: m.From, seq: 100}
	v, _ := m.Get("Contact")
	_, d.target, _ = wire.NameAddr(v)
	return d
}

// talk sets a call up with a room and gives both ends' dialogs.
func (st *stage) talk(room string) (caller, called *dialog) {
	st.t.Helper()
	a := st.rooms[room]
	caller = st.carrier.invite("sip:999@nines", sdpOf(st.carrier, 40000))
	st.carrier.expect("100 INVITE")
	m := a.expect("INVITE")
	called = callee(a, m, "room")
	a.reply(m, 180, "room")
	st.carrier.expect("180 INVITE")
	a.replyBody(m, 200, "room", sdpOf(a, 50000))
	ok := st.carrier.expect("200 INVITE")
	a.expect("ACK")
	caller.ack(ok, "")
	time.Sleep(10 * time.Millisecond) // the ACK is there
	return caller, called
}
