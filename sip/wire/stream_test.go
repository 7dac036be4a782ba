package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	server = "10.0.0.1:5060"
	other1 = "10.0.0.2:5060"
)

// inMemory runs a test in a bubble, with a node that listens on TCP at server.
func inMemory(t *testing.T, cfg Config, test func(t *testing.T, m *memory, n *node)) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		cfg.Network = m
		if cfg.Listen == nil {
			cfg.Listen = []Listen{tcpOn(server)}
		}
		n := start(t, cfg)
		test(t, m, n)
		n.stop()
	})
}

// say writes to a peer's connection and fails the test when nobody takes it.
func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("write: %v", err)
	}
	synctest.Wait()
}

// drain reads a peer's connection to its end, so that nothing is stuck.
func drain(c net.Conn) { go func() { _, _ = io.Copy(io.Discard, c) }() }

func (n *node) got() (branches []string) {
	synctest.Wait()
	for len(n.packets) > 0 {
		branches = append(branches, branchOf(<-n.packets))
	}
	return branches
}

func (n *node) wantClosed(want error, why string) {
	n.t.Helper()
	synctest.Wait()
	select {
	case e := <-n.ends:
		if !errors.Is(e.err, want) {
			n.t.Errorf("%s: closed with %v, want %v", why, e.err, want)
		}
	default:
		n.t.Errorf("%s: still open, want %v", why, want)
	}
}

func (n *node) wantOpen(why string) {
	n.t.Helper()
	synctest.Wait()
	if len(n.ends) > 0 {
		n.t.Errorf("%s: closed with %v", why, (<-n.ends).err)
	}
}

func TestStreamsCarryPartialAndPipelinedMessages(t *testing.T) {
	a := start(t, Config{Listen: []Listen{tcpOn("127.0.0.1:0")}})
	c, err := net.Dial("tcp", a.at(TCP).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var all strings.Builder
	for i := range 200 {
		all.WriteString(options(i))
	}
	all.WriteString(inviteText)
	text := all.String()
	for i, size := 0, 1; i < len(text); size = size*3%1999 + 1 { // pieces of every size
		j := min(i+size, len(text))
		if _, err := io.WriteString(c, text[i:j]); err != nil {
			t.Fatal(err)
		}
		i = j
	}
	var flow Flow
	for i := range 200 {
		p := await(t, a.packets, "a message")
		if got := branchOf(p); got != strconv.Itoa(i) || string(p.Data) != options(i) {
			t.Fatalf("message %d is %q", i, p.Data)
		}
		flow = p.Flow
	}
	if p := await(t, a.packets, "the INVITE"); string(p.Data) != inviteText {
		t.Errorf("got %q", p.Data)
	}
	if flow.Proto != TCP || flow.Local != a.at(TCP) || flow.Remote != addrPort(c.LocalAddr()) || flow.Conn == 0 {
		t.Errorf("flow %v of connection %d", flow, flow.Conn)
	}
	a.Send([]Out{{Flow: flow, Data: []byte(okText)}, {Flow: flow, Data: []byte(okText)}})
	back := make([]byte, 2*len(okText))
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, back); err != nil || string(back) != okText+okText {
		t.Errorf("the answers are %q, %v", back, err)
	}
	_ = c.Close()
	if e := await(t, a.ends, "the end"); e.flow != flow || !errors.Is(e.err, io.EOF) {
		t.Errorf("closed %v with %v, want %v with EOF", e.flow, e.err, flow)
	}
}

func TestAResetIsToldWithItsReason(t *testing.T) {
	a := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0")}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := a.connect(addrPort(ln.Addr()))
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	if e := await(t, a.ends, "the end"); e.flow != f || !errors.Is(e.err, syscall.ECONNRESET) {
		t.Errorf("closed %v with %v, want %v with a reset", e.flow, e.err, f)
	}
	_ = ln.Close()
	refused := make(chan error, 1)
	a.Connect(TCP, netip.Addr{}, addrPort(ln.Addr()), patience, func(_ Flow, err error) { refused <- err })
	if err := await(t, refused, "the refusal"); !errors.Is(err, syscall.ECONNREFUSED) || !strings.HasPrefix(err.Error(), "connect TCP 127.0.0.1:") {
		t.Errorf("got %v, want: connect, where, connection refused", err)
	}
	a.Connect(TLS, netip.Addr{}, addrPort(ln.Addr()), patience, func(_ Flow, err error) { refused <- err })
	if err := await(t, refused, "the refusal of TLS"); !errors.Is(err, ErrNoTLS) {
		t.Errorf("got %v", err)
	}
}

func TestConnectLeavesFromTheAddressItIsTold(t *testing.T) {
	a := start(t, Config{Listen: []Listen{udpOn("127.0.0.1:0")}})
	b := start(t, Config{Listen: []Listen{tcpOn("127.0.0.1:0")}})
	got := make(chan Flow, 1)
	a.Connect(TCP, netip.MustParseAddr("127.0.0.3"), b.at(TCP), patience, func(f Flow, _ error) { got <- f })
	f := await(t, got, "the connection")
	if f.Local.Addr().String() != "127.0.0.3" {
		t.Errorf("it left from %s, want 127.0.0.3", f.Local)
	}
	a.Connect(TCP, netip.MustParseAddr("127.0.0.4"), b.at(TCP), patience, func(f Flow, _ error) { got <- f })
	if g := await(t, got, "another connection"); g.Conn == f.Conn {
		t.Error("a connection from another address was taken for the one asked for")
	}
}

func TestPingsAreAnswered(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, m *memory, n *node) {
		c := m.dial("10.0.0.2", n.at(TCP))
		answers := make(chan string, 10)
		go func() {
			b := make([]byte, 100)
			for {
				k, err := c.Read(b)
				if err != nil {
					return
				}
				answers <- string(b[:k])
			}
		}()
		for _, piece := range []string{"\r\n\r\n", "\r", "\n", "\r\n", options(1) + "\r\n\r\n" + options(2), "\r\n"} {
			say(t, c, piece)
		}
		synctest.Wait()
		if len(answers) != 3 || <-answers != "\r\n" {
			t.Errorf("%d answers, want 3: each CRLF CRLF is answered with one CRLF, a single one is not", len(answers))
		}
		if got := n.got(); len(got) != 2 {
			t.Errorf("messages %v, want both", got)
		}
		if got := n.Counters().KeepAlives; got != 3 {
			t.Errorf("counted %d pings, want 3", got)
		}
	})
}

func TestABadMessageDoesNotCostTheConnection(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, m *memory, n *node) {
		c := m.dial("10.0.0.2", n.at(TCP))
		drain(c)
		for _, bad := range []string{
			strings.Replace(options(1), "CSeq", "no header\r\nCSeq", 1),
			strings.ReplaceAll(options(2), "\r\n", "\n"),
			strings.Replace(options(3), "OPTIONS sip", "OPTIONS  sip", 1),
			strings.Replace(options(4), "Content-Length: 0\r\n", "", 1),
			strings.Replace(options(5), "Content-Length: 0", "Content-Length: none", 1),
			strings.Replace(options(6), "Content-Length: 0\r\n", "Content-Type: text/plain\r\n", 1) + "a body\r\n" + options(7),
			strings.Replace(options(8), "Content-Length: 0", "l : 4", 1) + "body",
			" \r\n " + options(9),
		} {
			say(t, c, bad)
		}
		say(t, c, options(10))
		if got, want := strings.Join(n.got(), " "), "1 2 3 4 5 6 7 8 9 10"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		n.wantOpen("after bad messages")
	})
}

func TestABodyWithoutLengthIsWaitedFor(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, m *memory, n *node) {
		c := m.dial("10.0.0.2", n.at(TCP))
		head, body, _ := strings.Cut(strings.Replace(inviteText, "Content-Length: 269\r\n", "", 1), "\r\n\r\n")
		say(t, c, head+"\r\n\r\n")
		say(t, c, body[:100])
		if len(n.packets) > 0 {
			t.Fatal("the INVITE was taken without its SDP")
		}
		say(t, c, body[100:])
		p := await(t, n.packets, "the INVITE")
		if m, err := Parse(p.Data); err != nil || string(m.Body) != sdpText {
			t.Errorf("%v, body %q", err, m.Body)
		}
	})
}

func TestWhatHasNoEndClosesTheConnection(t *testing.T) {
	long := func(line string, times int) string {
		return "OPTIONS sip:a SIP/2.0\r\n" + strings.Repeat(line, times)
	}
	for _, c := range []struct {
		why, text string
		want      error
	}{
		{"TLS on the TCP port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ErrGarbage},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", ErrGarbage},
		{"a line without end", strings.Repeat("A", 9000), ErrGarbage},
		{"a body beyond 64 KB", long("Content-Length: 65535\r\n\r\n", 1), ErrTooLarge},
		{"a body beyond all numbers", long("Content-Length: 99999999999999999999\r\n\r\n", 1), ErrTooLarge},
		{"headers beyond 64 KB", long("X: "+strings.Repeat("x", 100)+"\r\n", 700), ErrTooLarge},
		{"a header beyond 64 KB", long("X: ", 1) + strings.Repeat("x", 66000), ErrTooLarge},
		{"thousands of headers", long("X: 1\r\n", 2000) + "\r\n", ErrTooLarge},
		{"a body without length beyond 64 KB", long("Content-Type: a/b\r\n\r\n", 1) + strings.Repeat("x", 66000), ErrTooLarge},
		{"garbage after a message", options(1) + "\x00\x01", ErrGarbage},
	} {
		inMemory(t, Config{}, func(t *testing.T, m *memory, n *node) {
			conn := m.dial("10.0.0.2", n.at(TCP))
			_, _ = io.WriteString(conn, c.text) // it may be cut off in the middle
			n.wantClosed(c.want, c.why)
			count := n.Counters()
			if count.Garbage+count.TooLarge != 1 || count.StreamsOpen != 0 {
				t.Errorf("%s: counted %+v, want it once, and no open stream", c.why, count)
			}
			if wantMessages := strings.Count(c.text, "z9hG4bK"); len(n.got()) != wantMessages {
				t.Errorf("%s: what came whole before it must not be lost", c.why)
			}
		})
	}
}

func TestSlowMessagesEndTheConnection(t *testing.T) {
	inMemory(t, Config{SlowMessage: 10 * time.Second}, func(t *testing.T, m *memory, n *node) {
		c := m.dial("10.0.0.2", n.at(TCP))
		text := options(1)
		for i := range 9 { // a byte a second: not idle, but slow
			say(t, c, text[i:i+1])
			time.Sleep(time.Second)
		}
		n.wantOpen("before ten seconds")
		say(t, c, text[9:]+text[:5])
		time.Sleep(9 * time.Second)
		n.wantOpen("the next message has its own ten seconds")
		time.Sleep(time.Second)
		n.wantClosed(ErrSlow, "after ten seconds")
		if got := n.Counters().StreamsSlow; got != 1 {
			t.Errorf("counted %d slow streams", got)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("the connection is still there")
		}
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	inMemory(t, Config{IdleStream: time.Minute}, func(t *testing.T, m *memory, n *node) {
		c := m.dial("10.0.0.2", n.at(TCP))
		drain(c)
		say(t, c, options(1))
		flow := (<-n.packets).Flow
		time.Sleep(50 * time.Second)
		say(t, c, options(2)) // hearing something keeps it
		time.Sleep(50 * time.Second)
		n.Send([]Out{{Flow: flow, Data: []byte(okText)}}) // saying something too
		time.Sleep(59 * time.Second)
		n.wantOpen("in use within the last minute")
		time.Sleep(2 * time.Second)
		n.wantClosed(ErrIdle, "a minute of silence")
		half := m.dial("10.0.0.2", n.at(TCP)) // never says a word
		time.Sleep(61 * time.Second)
		n.wantClosed(ErrIdle, "a connection that never spoke")
		if _, err := half.Read(make([]byte, 1)); err == nil {
			t.Error("the silent connection is still there")
		}
	})
}

func TestAStuckPeerBlocksNobody(t *testing.T) {
	inMemory(t, Config{StuckStream: 5 * time.Second}, func(t *testing.T, m *memory, n *node) {
		stuck, fine := m.dial("10.0.0.2", n.at(TCP)), m.dial("10.0.0.3", n.at(TCP))
		say(t, stuck, options(1))
		say(t, fine, options(2))
		to, toFine := (<-n.packets).Flow, (<-n.packets).Flow
		began := time.Now()
		n.Send([]Out{{Flow: to, Data: []byte(okText)}, {Flow: toFine, Data: []byte(okText)}, {Flow: to, Data: []byte(okText)}})
		if time.Since(began) != 0 {
			t.Error("Send blocked")
		}
		b := make([]byte, len(okText))
		if _, err := io.ReadFull(fine, b); err != nil || string(b) != okText || time.Since(began) != 0 {
			t.Errorf("the other peer got %q, %v after %v", b, err, time.Since(began))
		}
		time.Sleep(5 * time.Second)
		n.wantClosed(ErrStuck, "five seconds without a byte taken")
		if got := n.Counters(); got.StreamsStuck != 1 || got.StreamsOpen != 1 {
			t.Errorf("counted %+v, want one stuck, one open", got)
		}
	})
}

func TestAFullQueueEndsTheConnectionAtOnce(t *testing.T) {
	inMemory(t, Config{StreamQueue: 10 * len(okText)}, func(t *testing.T, m *memory, n *node) {
		c := m.dial("10.0.0.2", n.at(TCP))
		say(t, c, options(1))
		out := Out{Flow: (<-n.packets).Flow, Data: []byte(okText)}
		for range 10 {
			n.Send([]Out{out})
		}
		n.wantOpen("with room for ten")
		n.Send([]Out{out, out})
		n.wantClosed(ErrStuck, "at the eleventh")
		n.Send([]Out{out})
		if got := n.Counters(); got.NoFlow != 3 || got.Sent != 10 {
			t.Errorf("counted %d unsent, %d sent; want 3 and 10", got.NoFlow, got.Sent)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	deny := netip.MustParseAddr("10.9.9.9")
	accept := func(src netip.AddrPort, _ Proto, _ []byte) bool { return src.Addr() != deny }
	inMemory(t, Config{MaxStreams: 5, MaxStreamsPerSource: 3, Accept: accept}, func(t *testing.T, m *memory, n *node) {
		open := func(from string) net.Conn {
			c := m.dial(from, n.at(TCP))
			synctest.Wait()
			return c
		}
		first := open("10.0.0.2")
		for range 9 {
			open("10.0.0.2")
		}
		for range 9 {
			open("2001:db8:1:1::" + strconv.Itoa(int(m.port)%1000)) // one customer's /64
		}
		open("10.9.9.9")
		got := n.Counters()
		if got.StreamsOpen != 5 || got.StreamsAccepted != 5 || got.StreamsRefused != 14 || got.NotAccepted != 1 {
			t.Errorf("counted %+v; want 5 open, 14 refused, 1 not accepted", got)
		}
		f := n.connect(netip.MustParseAddrPort(server))
		if f.Conn == 0 {
			t.Error("strangers keep us from dialling")
		}
		if e := await(t, n.ends, "what we dialled"); e.flow != f { // our own listener is full
			t.Errorf("%v ended, want what we dialled, %v", e.flow, f)
		}
		_ = first.Close()
		n.wantClosed(io.EOF, "the first")
		open("10.0.0.3")
		if got := n.Counters().StreamsAccepted; got != 6 {
			t.Errorf("accepted %d, want 6: a place that is free again can be taken", got)
		}
	})
}

func TestCallersShareADialEachWithTheirOwnLimit(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, m *memory, n *node) {
		m.blackHole = netip.MustParseAddr("10.0.0.66")
		hole := netip.MustParseAddrPort("10.0.0.66:5060")
		type answer struct {
			after time.Duration
			err   error
		}
		answers := make(chan answer, 10)
		began := time.Now()
		connect := func(limit time.Duration) {
			n.Connect(TCP, netip.Addr{}, hole, limit, func(_ Flow, err error) { answers <- answer{time.Since(began), err} })
		}
		connect(200 * time.Millisecond)
		connect(time.Second)
		if len(answers) > 0 {
			t.Error("done was called inline")
		}
		for _, want := range []time.Duration{200 * time.Millisecond, time.Second} {
			if a := <-answers; a.after != want || !errors.Is(a.err, context.DeadlineExceeded) {
				t.Errorf("told after %v: %v, want a deadline after %v", a.after, a.err, want)
			}
		}
		if m.dials != 1 {
			t.Errorf("dialled %d times, want once for both", m.dials)
		}
		synctest.Wait()
		if got := m.hanging.Load(); got != 0 {
			t.Errorf("%d dials go on for nobody", got)
		}
		connect(0)
		if a := <-answers; a.after != 11*time.Second || m.dials != 2 {
			t.Errorf("without a limit it took until %v and %d dials, want ten seconds more and a new dial", a.after, m.dials)
		}
	})
}

func TestALiveConnectionIsUsedAgain(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, m *memory, n *node) {
		other := netip.MustParseAddrPort(other1)
		peer := start(t, Config{Network: m, Listen: []Listen{{Proto: TCP, Addr: other}}})
		flows := make(chan Flow, 10)
		for range 5 {
			n.Connect(TCP, netip.Addr{}, other, time.Second, func(f Flow, _ error) { flows <- f })
		}
		first := <-flows
		for range 4 {
			if f := <-flows; f != first {
				t.Errorf("got %v and %v, want one connection", first, f)
			}
		}
		if f := n.connect(other); f != first || m.dials != 1 {
			t.Errorf("got %v after %d dials, want the live one", f, m.dials)
		}
		n.Send([]Out{{Flow: first, Data: []byte(options(3))}})
		p := <-peer.packets
		if f := peer.connect(first.Local); f != p.Flow {
			t.Errorf("the peer got %v, want the connection that came from there", f)
		}
		peer.stop()
		n.wantClosed(io.EOF, "the peer stopped")
		synctest.Wait()
		refused := make(chan error, 1)
		delete(m.listeners, other)
		n.Connect(TCP, netip.Addr{}, other, time.Second, func(_ Flow, err error) { refused <- err })
		if err := <-refused; !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v: a connection that has ended must not be used again", err)
		}
	})
}

func TestDoneNeverComesAfterClosed(t *testing.T) {
	inMemory(t, Config{}, func(t *testing.T, m *memory, n *node) {
		var closed sync.Map
		for range 200 {
			f := n.connect(netip.MustParseAddrPort(server)) // to ourselves
			n.mu.RLock()
			st := n.streams[f.Conn]
			n.mu.RUnlock()
			go st.fail(errors.New("test"))
			over := make(chan bool, 3)
			for range 3 {
				n.Connect(TCP, netip.Addr{}, f.Remote, time.Second, func(g Flow, _ error) {
					for {
						select { // others read the ends as well
						case e := <-n.ends:
							closed.Store(e.flow, true)
							continue
						default:
						}
						break
					}
					_, late := closed.Load(g)
					over <- late
				})
			}
			for range 3 {
				if <-over {
					t.Fatal("a connection was handed out after it was closed")
				}
			}
			synctest.Wait()
		}
	})
}

func TestANetworkInMemoryReportsICMPToo(t *testing.T) {
	a, b := netip.MustParseAddrPort(server), netip.MustParseAddrPort(other1)
	inMemory(t, Config{Listen: []Listen{{Proto: UDP, Addr: a}, {Proto: UDP, Addr: b}}}, func(t *testing.T, m *memory, n *node) {
		ab := Flow{Proto: UDP, Local: a, Remote: b}
		dead := Flow{Proto: UDP, Local: a, Remote: netip.MustParseAddrPort("10.0.0.66:5060")}
		n.Send([]Out{{Flow: dead, Data: []byte(options(1))}, {Flow: ab, Data: []byte(options(2))}})
		if i := <-n.icmp; i.Flow != dead || !errors.Is(i.Err, syscall.ECONNREFUSED) || !strings.HasPrefix(options(1), string(i.Quote)) {
			t.Errorf("got %+v", i)
		}
		m.packets[a].pending = &ICMPError{Remote: dead.Remote, Err: syscall.EHOSTUNREACH}
		n.Send([]Out{{Flow: ab, Data: []byte(options(3))}})
		if i := <-n.icmp; i.Flow != dead || !errors.Is(i.Err, syscall.EHOSTUNREACH) {
			t.Errorf("got %+v, want the error for whom it belongs to", i)
		}
		if got := strings.Join(n.got(), " "); got != "2 3" {
			t.Errorf("got %s, want 2 3: the innocent lose nothing", got)
		}
		m.packets[b].in <- errors.New("out of memory for a moment")
		n.Send([]Out{{Flow: ab, Data: []byte(options(4))}})
		if got := branchOf(<-n.packets); got != "4" {
			t.Errorf("got %s, want 4: an error of reading is survived", got)
		}
	})
}

func TestADialledConnectionLeavesFromAnAddressThatListens(t *testing.T) {
	n := start(t, Config{Listen: []Listen{tcpOn("127.0.0.7:0")}})
	peer, err := net.Listen("tcp", "127.0.0.8:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	f := n.connect(addrPort(peer.Addr()))
	if got, want := f.Local.Addr(), n.at(TCP).Addr(); got != want {
		t.Errorf("a connection to %v left from %v, where nobody listens; want %v", peer.Addr(), got, want)
	}
}
