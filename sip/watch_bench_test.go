package sip_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"nines/health"
	"nines/media"
	"nines/policy"
	"nines/sip"
	"nines/sip/wire"

	"github.com/rs/zerolog"
)

// BenchmarkWatchingTalkingCalls says what it costs that calls talk and are watched, without their audio: CPU of this process, for a call and a second.
func BenchmarkWatchingTalkingCalls(b *testing.B) {
	const calls, window = 1000, 3 * time.Second
	host := netip.MustParseAddr("127.0.0.1")
	relay, err := media.Open(media.Config{Addresses: []netip.Addr{host}, PortMin: 34000, PortMax: 39999})
	if err != nil {
		b.Skip(err)
	}
	defer relay.Close()
	room, carrier := listenOn(b), listenOn(b)
	server, err := sip.New(sip.Config{
		Listen: []wire.Listen{{Proto: wire.UDP, Addr: netip.AddrPortFrom(host, 0)}}, Loops: 1, Log: zerolog.Nop(), Media: relay,
	}, sip.Routing{
		Trunks:    []sip.Trunk{{Trunk: policy.Trunk{Name: "bt"}, From: []netip.Prefix{netip.PrefixFrom(host, 32)}}},
		Endpoints: []sip.Endpoint{{Endpoint: policy.Endpoint{Name: "room"}, URI: "sip:" + room.LocalAddr().String()}},
		Health:    health.Config{Endpoints: []health.Endpoint{{Name: "room"}}},
		Routes: []policy.Route{{
			Name: "999", Numbers: []string{"999"}, Ask: [][]policy.EndpointName{{"room"}}, Patience: 5 * time.Second, Progress: 5 * time.Second,
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = server.Run(b.Context()) }() // ends with the benchmark
	go func() { _ = relay.Run(b.Context()) }()
	go answer(room)
	to := net.UDPAddrFromAddrPort(server.Listeners()[0].Addr)
	talking := make(chan struct{}, calls)
	go acknowledge(carrier, to, talking)
	for i := range calls {
		text := "INVITE sip:999@nines SIP/2.0\r\nVia: SIP/2.0/UDP %[1]s;branch=z9hG4bKb%[2]d\r\nMax-Forwards: 70\r\nFrom: <sip:%[2]d@c>;tag=f%[2]d\r\nTo: <sip:999@nines>\r\n" +
			"Call-ID: b%[2]d\r\nCSeq: 1 INVITE\r\nContact: <sip:c@%[1]s>\r\nContent-Type: application/sdp\r\nContent-Length: %[3]d\r\n\r\n%[4]s"
		body := held("sendonly")
		_, _ = carrier.WriteTo(fmt.Appendf(nil, text, carrier.LocalAddr(), i, len(body), body), to)
		if i%20 == 19 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	for range calls {
		select {
		case <-talking:
		case <-time.After(20 * time.Second):
			b.Fatalf("the calls don't talk: %+v", server.Counters())
		}
	}
	time.Sleep(5 * time.Second) // what lingers of the set-up
	for b.Loop() {
		before := cpu(b)
		time.Sleep(window)
		b.ReportMetric(float64((cpu(b)-before).Microseconds())/calls/window.Seconds(), "cpu-µs/call/s")
	}
}

func listenOn(b *testing.B) net.PacketConn {
	b.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

// held is a session description whose writer wants no audio from the other side, so that silence is no witness.
func held(direction string) string {
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\na=" + direction + "\r\n"
}

// answer answers everything with 200.
func answer(room net.PacketConn) {
	buf := make([]byte, 65536)
	for {
		n, from, err := room.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := wire.Parse(append([]byte(nil), buf[:n]...))
		if err != nil || !m.IsRequest() || m.Method == "ACK" {
			continue
		}
		to, body := m.To, ""
		if m.ToTag == "" {
			to += ";tag=r"
		}
		if m.Method == "INVITE" {
			body = held("recvonly")
		}
		via, _ := m.Get("Via")
		_, _ = room.WriteTo(fmt.Appendf(nil, "SIP/2.0 200 OK\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:r@%s>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
			via, m.From, to, m.CallID, m.CSeq, m.Method, room.LocalAddr(), len(body), body), from)
	}
}

// acknowledge ACKs each 200 and says that the call talks.
func acknowledge(carrier net.PacketConn, to net.Addr, talking chan<- struct{}) {
	buf := make([]byte, 65536)
	known := map[string]bool{}
	for {
		n, _, err := carrier.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := wire.Parse(append([]byte(nil), buf[:n]...))
		if err != nil || m.Status != 200 {
			continue
		}
		contactHeader, _ := m.Get("Contact")
		_, contact, _ := strings.Cut(contactHeader, "<")
		contact, _, _ = strings.Cut(contact, ">")
		_, _ = carrier.WriteTo(fmt.Appendf(nil, "ACK %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKa%s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
			contact, carrier.LocalAddr(), m.CallID, m.From, m.To, m.CallID), to)
		if !known[m.CallID] {
			known[m.CallID] = true
			talking <- struct{}{}
		}
	}
}

// cpu is what the process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
