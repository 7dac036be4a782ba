package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestDatagramsComeInOrderAndAnswersLeaveFromWhereTheyWereAsked(t *testing.T) {
	a := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0")}})
	b := start(t, Config{Listen: []Listen{udpOn("127.0.0.2:0"), udpOn("127.0.0.3:0")}})
	asked := b.Listeners()[1].Addr
	const n, at = 500, 100 // at a time: more than go in one call, and fewer than a receive buffer of an ordinary user may lose
	for i := range n {
		if i%at == 0 {
			outs := make([]Out, at)
			for j := range outs {
				outs[j] = Out{Flow: a.to(asked), Data: []byte(options(i + j))}
			}
			a.Send(outs)
		}
		p := await(t, b.packets, "a request")
		if got := branchOf(p); got != strconv.Itoa(i) {
			t.Fatalf("request %s came as number %d: order must be kept", got, i)
		}
		want := Flow{Proto: UDP, Local: asked, Remote: a.at(UDP)}
		if p.Flow != want {
			t.Fatalf("flow %v, want %v", p.Flow, want)
		}
		if i == 0 {
			b.Send([]Out{{Flow: p.Flow, Data: []byte(okText)}})
		}
	}
	if p := await(t, a.packets, "the answer"); p.Flow.Remote != asked {
		t.Errorf("the answer came from %s, want %s: it must leave from where it was asked", p.Flow.Remote, asked)
	}
	if c := b.Counters(); c.Received != n || c.Sent != 1 {
		t.Errorf("received %d, sent %d; want %d and 1", c.Received, c.Sent, n)
	}
}

func TestOneBatchReachesManySocketsInOrder(t *testing.T) {
	a := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0"), udpOn("127.0.0.2:0")}})
	b := start(t, Config{Listen: []Listen{udpOn("127.0.0.3:0")}})
	outs := make([]Out, 0, 300)
	for i := range 300 {
		f := Flow{Proto: UDP, Local: a.Listeners()[i%2].Addr, Remote: b.at(UDP)}
		outs = append(outs, Out{Flow: f, Data: []byte(options(i))})
	}
	a.Send(outs)
	next := map[netip.AddrPort]int{a.Listeners()[0].Addr: 0, a.Listeners()[1].Addr: 1}
	for range 300 {
		p := await(t, b.packets, "a request")
		if got, want := branchOf(p), strconv.Itoa(next[p.Flow.Remote]); got != want {
			t.Fatalf("from %s came %s, want %s: each socket keeps its order", p.Flow.Remote, got, want)
		}
		next[p.Flow.Remote] += 2
	}
}

func TestIPv6(t *testing.T) {
	hasIPv6(t)
	a := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0"), udpOn("[::1]:0"), tcpOn("[::1]:0")}})
	b := start(t, Config{Listen: []Listen{udpOn("[::1]:0"), tcpOn("[::1]:0")}})
	a.Send([]Out{{Flow: a.to(b.at(UDP)), Data: []byte(options(6))}})
	p := await(t, b.packets, "a datagram over IPv6")
	if want := a.Listeners()[1].Addr; p.Flow.Remote != want {
		t.Errorf("it came from %s, want %s", p.Flow.Remote, want)
	}
	f := a.connect(b.at(TCP))
	a.Send([]Out{{Flow: f, Data: []byte(options(7))}})
	if p := await(t, b.packets, "a message over TCP and IPv6"); p.Flow.Remote != f.Local || p.Flow.Proto != TCP {
		t.Errorf("flow %v, want the other end of %v", p.Flow, f)
	}
	dead := deadPort(t, "[::1]:0")
	a.Send([]Out{{Flow: a.to(dead), Data: []byte(options(8))}})
	if i := await(t, a.icmp, "ICMPv6"); i.Flow.Remote != dead || !errors.Is(i.Err, syscall.ECONNREFUSED) {
		t.Errorf("got %v from %v, want a refusal from %v", i.Err, i.Flow.Remote, dead)
	}
}

func TestTheLargestDatagramPasses(t *testing.T) {
	a := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0")}})
	b := start(t, Config{Listen: []Listen{udpOn("127.0.0.2:0")}})
	head := []byte("MESSAGE sip:999@127.0.0.2 SIP/2.0\r\nContent-Length: 65400\r\n\r\n")
	data := append(head, bytes.Repeat([]byte{'x'}, 65507-len(head))...)
	a.Send([]Out{{Flow: a.to(b.at(UDP)), Data: data}})
	if p := await(t, b.packets, "65,507 bytes"); !bytes.Equal(p.Data, data) {
		t.Errorf("%d bytes came, want %d unchanged", len(p.Data), len(data))
	}
	a.Send([]Out{{Flow: a.to(b.at(UDP)), Data: append(data, 'y')}})
	i := await(t, a.icmp, "the kernel's refusal of 65,508 bytes")
	if !errors.Is(i.Err, syscall.EMSGSIZE) || !bytes.HasPrefix(data, i.Quote) || len(i.Quote) == 0 {
		t.Errorf("got %v with %d bytes quoted, want EMSGSIZE with the start of the message", i.Err, len(i.Quote))
	}
}

func TestADeadPortIsReportedAndTheInnocentGetTheirMessages(t *testing.T) {
	a := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0")}})
	b := start(t, Config{Listen: []Listen{udpOn("127.0.0.2:0")}})
	dead := deadPort(t, "127.0.0.3:0")
	const n = 50
	for i := range n {
		a.Send([]Out{{Flow: a.to(dead), Data: []byte(options(1000 + i))}}) // the error comes back at once, on loopback
		a.Send([]Out{{Flow: a.to(b.at(UDP)), Data: []byte(options(i))}, {Flow: a.to(b.at(UDP)), Data: []byte(options(i))}})
	}
	for i := range 2 * n {
		if got := branchOf(await(t, b.packets, "an innocent's message")); got != strconv.Itoa(i/2) {
			t.Fatalf("message %d is %s: an error of somebody else's must cost nothing", i, got)
		}
	}
	i := await(t, a.icmp, "the ICMP error")
	want := Flow{Proto: UDP, Local: a.at(UDP), Remote: dead}
	if i.Flow != want || !errors.Is(i.Err, syscall.ECONNREFUSED) {
		t.Errorf("got %v on %v, want connection refused on %v", i.Err, i.Flow, want)
	}
	if p, _ := Peek(i.Quote); len(i.Quote) < 100 || !bytes.HasPrefix(p.Branch, []byte("z9hG4bK10")) {
		t.Errorf("quoted %q: the quote must show the branch", i.Quote)
	}
	if c := a.Counters(); c.SendErrors != 0 || c.Sent != 3*n || c.ICMP == 0 {
		t.Errorf("counted %+v; want %d sent, no send errors, some ICMP", c, 3*n)
	}
}

func TestICMPInTheMiddleOfABatchCostsNobody(t *testing.T) {
	a := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0")}})
	b := start(t, Config{Listen: []Listen{udpOn("127.0.0.2:0")}})
	dead := deadPort(t, "127.0.0.3:0")
	var batch []Out
	for i := range 60 {
		batch = append(batch, Out{Flow: a.to(dead), Data: []byte(options(1000 + i))}, Out{Flow: a.to(b.at(UDP)), Data: []byte(options(i))})
	}
	a.Send(batch)
	for i := range 60 {
		if got := branchOf(await(t, b.packets, "an innocent's message")); got != strconv.Itoa(i) {
			t.Fatalf("message %d is %s", i, got)
		}
	}
	await(t, a.icmp, "the ICMP error")
}

func TestASendTheKernelRefusesIsReported(t *testing.T) {
	a := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0")}})
	wrong := Flow{Proto: UDP, Local: a.at(UDP), Remote: netip.MustParseAddrPort("[::1]:5060")}
	b := start(t, Config{Listen: []Listen{udpOn("127.0.0.2:0")}})
	a.Send([]Out{{Flow: wrong, Data: []byte(options(1))}, {Flow: a.to(b.at(UDP)), Data: []byte(options(2))}})
	if i := await(t, a.icmp, "the refusal"); i.Flow != wrong || i.Err == nil {
		t.Errorf("got %v on %v, want the refusal on %v", i.Err, i.Flow, wrong)
	}
	if got := branchOf(await(t, b.packets, "the rest of the batch")); got != "2" {
		t.Errorf("got %s, want 2: one bad flow costs the others nothing", got)
	}
	a.Send([]Out{{Flow: Flow{Proto: UDP, Local: b.at(UDP), Remote: b.at(UDP)}, Data: []byte(options(1))}})
	if c := a.Counters(); c.SendErrors != 1 || c.NoFlow != 1 {
		t.Errorf("counted %d send errors and %d without a flow, want 1 and 1", c.SendErrors, c.NoFlow)
	}
}

func TestWhatIsNoSIPIsDroppedAndCounted(t *testing.T) {
	deny := netip.MustParseAddr("127.0.0.9")
	n := start(t, Config{
		Listen: []Listen{udpOn("127.0.0.1:0")},
		Accept: func(src netip.AddrPort, _ Proto, _ []byte) bool { return src.Addr() != deny },
	})
	to := n.at(UDP)
	good, bad := plain(t, "127.0.0.8:0"), plain(t, "127.0.0.9:0")
	write := func(data string) {
		if _, err := good.WriteToUDPAddrPort([]byte(data), to); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bad.WriteToUDPAddrPort([]byte(options(1)), to); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"", "\r\n\r\n", "\x00", "  \r\n"} {
		write(data)
	}
	for _, data := range []string{"\x16\x03\x01\x02\x00", "GET / HTTP/1.1\r\n\r\n", "hello", "\x80\x80\x00\x01abc", "SIP/2.0 99 What\r\n\r\n"} {
		write(data)
	}
	write("\r\n\r\n" + options(7))
	if got := branchOf(await(t, n.packets, "the message")); got != "7" {
		t.Errorf("got %s, want the SIP message with line breaks before it", got)
	}
	got := n.Counters()
	if got.NotAccepted != 1 || got.KeepAlives != 4 || got.Garbage != 5 || got.Received != 1 {
		t.Errorf("counted %+v; want 1 not accepted, 4 keep-alives, 5 garbage, 1 received", got)
	}
}

func TestAWildcardBecomesASocketPerAddress(t *testing.T) {
	port := freePort(t, "127.0.0.1", "127.0.0.2")
	on := func(addr string) string { return fmt.Sprint(addr, ":", port) }
	n := start(t, Config{
		Listen:  []Listen{udpOn(on("127.0.0.1")), udpOn(on("0.0.0.0")), udpOn(on("[::]")), tcpOn(on("0.0.0.0"))},
		Network: addrsOnly{kernel{}, []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("fe80::1")}},
	})
	got := fmt.Sprint(n.Listeners())
	want := fmt.Sprintf("[{UDP 127.0.0.1:%[1]d } {UDP 127.0.0.2:%[1]d } {TCP 127.0.0.1:%[1]d } {TCP 127.0.0.2:%[1]d }]", port)
	if got != want {
		t.Errorf("listens on %s, want %s", got, want)
	}
	peer := plain(t, "127.0.0.1:0")
	if _, err := peer.WriteToUDPAddrPort([]byte(options(1)), netip.MustParseAddrPort(on("127.0.0.2"))); err != nil {
		t.Fatal(err)
	}
	p := await(t, n.packets, "the request")
	n.Send([]Out{{Flow: p.Flow, Data: []byte(okText)}})
	_ = peer.SetReadDeadline(time.Now().Add(patience))
	_, from, err := peer.ReadFromUDPAddrPort(make([]byte, 2000))
	if err != nil || from.String() != on("127.0.0.2") {
		t.Errorf("the answer came from %v (%v), want 127.0.0.2: where it was asked", from, err)
	}
}

// addrsOnly is a network with other addresses.
type addrsOnly struct {
	Network
	addrs []netip.Addr
}

func (a addrsOnly) Addrs() ([]netip.Addr, error) { return a.addrs, nil }

func TestTheRealWildcardBinds(t *testing.T) {
	n := start(t, Config{Listen: []Listen{udpOn("0.0.0.0:0"), udpOn("[::]:0"), tcpOn("0.0.0.0:0")}})
	if f := n.to(netip.MustParseAddrPort("127.0.0.1:5060")); f.Local.Addr().String() != "127.0.0.1" {
		t.Errorf("127.0.0.1 is reached from %s, want 127.0.0.1", f.Local)
	}
	for _, l := range n.Listeners() {
		if l.Addr.Addr().IsUnspecified() || l.Addr.Port() == 0 {
			t.Errorf("%v is not concrete", l)
		}
	}
}

func TestBindsEverythingOrNothing(t *testing.T) {
	taken := plain(t, "127.0.0.1:0")
	at := addrPort(taken.LocalAddr())
	free := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), freePort(t, "127.0.0.2"))
	_, err := Open(Config{Listen: []Listen{{Proto: UDP, Addr: free}, {Proto: TCP, Addr: free}, {Proto: UDP, Addr: at}}}, newRecorder())
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("got %v, want address in use", err)
	}
	if want := "listen UDP " + at.String() + ": "; len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
		t.Errorf("got %q, want it to begin with %q: what, where", err, want)
	}
	start(t, Config{Listen: []Listen{{Proto: UDP, Addr: free}, {Proto: TCP, Addr: free}}}) // what was bound has been let go
	for _, cfg := range []Config{{}, {Listen: []Listen{{Proto: TLS, Addr: free}}}, {Listen: []Listen{{Proto: 0, Addr: free}}}} {
		if _, err := Open(cfg, newRecorder()); err == nil {
			t.Errorf("%v was opened", cfg.Listen)
		}
	}
}

func TestUDPFlowPicksTheListenerThatReaches(t *testing.T) {
	listen := func(addrs ...string) *Stack {
		s := &Stack{}
		for _, a := range addrs {
			s.listens = append(s.listens, udpOn(a))
		}
		return s
	}
	for _, c := range []struct {
		why, listen, remote, want string
	}{
		{"the same family", "10.0.0.1:5060 [2001:db8::1]:5060", "[2001:db8:9::9]:5060", "[2001:db8::1]:5060"},
		{"loopback to loopback", "10.0.0.1:5060 127.0.0.1:5060", "127.0.0.7:5060", "127.0.0.1:5060"},
		{"not from loopback", "127.0.0.1:5060 10.0.0.1:5060", "192.0.2.1:5060", "10.0.0.1:5060"},
		{"not from link-local", "[fe80::1]:5060 [2001:db8::1]:5060", "[2001:db9::1]:5060", "[2001:db8::1]:5060"},
		{"from the nearest network", "10.0.0.1:5060 192.0.2.1:5060", "192.0.2.7:5060", "192.0.2.1:5060"},
		{"the first listed", "10.0.0.1:5060 10.0.0.1:5070", "10.0.0.2:5060", "10.0.0.1:5060"},
		{"mapped addresses are IPv4", "10.0.0.1:5060", "[::ffff:10.0.0.2]:5060", "10.0.0.1:5060"},
		{"loopback when there is nothing else", "127.0.0.1:5060", "192.0.2.1:5060", "127.0.0.1:5060"},
	} {
		s := listen(splitWords(c.listen)...)
		f, ok := s.UDPFlow(netip.MustParseAddrPort(c.remote))
		if got := f.Local.String(); !ok || got != c.want {
			t.Errorf("%s: %s from %s, want %s", c.why, c.remote, got, c.want)
		}
	}
	if _, ok := listen("10.0.0.1:5060").UDPFlow(netip.MustParseAddrPort("[2001:db8::1]:5060")); ok {
		t.Error("an IPv4 listener does not reach IPv6")
	}
}

func TestTheRoutingTableIsAskedAndRemembered(t *testing.T) {
	n := start(t, Config{Listen: []Listen{udpOn("127.0.0.5:0"), udpOn("127.0.0.1:0")}})
	remote := netip.MustParseAddrPort("127.0.0.77:5060")
	if f := n.to(remote); f.Local != n.Listeners()[1].Addr || f.Remote != remote {
		t.Errorf("got %v: the kernel's source address for 127.0.0.77 is 127.0.0.1", f)
	}
	if r := n.routes.known[routeKey{remote: remote.Addr()}]; r.local != n.Listeners()[1].Addr {
		t.Errorf("remembered %v", r)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	n := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0"), tcpOn("127.0.0.1:0")}})
	f := n.connect(n.at(TCP))
	n.Send([]Out{{Flow: f, Data: []byte(options(1))}})
	await(t, n.packets, "the message: now both ends are known")
	n.stop()
	for range 2 { // both ends are ours
		if e := await(t, n.ends, "Closed"); e.err == nil {
			t.Errorf("%v closed without a reason", e.flow)
		}
	}
	n.Send([]Out{{Flow: f, Data: pong}, {Flow: Flow{Proto: UDP, Local: n.at(UDP), Remote: n.at(UDP)}, Data: pong}})
	if got := n.Counters().NoFlow; got != 2 {
		t.Errorf("%d messages had no flow, want 2", got)
	}
	if err := n.Run(t.Context()); err == nil {
		t.Error("a closed stack runs again")
	}
	done := make(chan error, 1)
	n.Connect(TCP, netip.Addr{}, f.Remote, 0, func(_ Flow, err error) { done <- err })
	if err := await(t, done, "the refusal"); err == nil {
		t.Error("a closed stack connects")
	}
}
