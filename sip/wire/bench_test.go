package wire

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

func BenchmarkParseInvite(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(inviteText)))
	data := []byte(inviteText)
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseOK(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(okText)))
	data := []byte(okText)
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPeek(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(inviteText)))
	data := []byte(inviteText)
	for b.Loop() {
		if _, ok := Peek(data); !ok {
			b.Fatal("not seen")
		}
	}
}

// counter is a Sink that only counts.
type counter struct {
	n    atomic.Int64
	more chan struct{} // one token: n has grown
}

func (c *counter) Packets(batch []Packet) {
	c.n.Add(int64(len(batch)))
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *counter) ICMP(ICMP) {}

func (c *counter) Closed(Flow, error) {}

// BenchmarkSendReceive is an 1.1 KB INVITE from socket to socket: kernel, both system calls, the copy for the receiver.
func BenchmarkSendReceive(b *testing.B) {
	for _, c := range []struct {
		name  string
		proto Proto
		batch int
	}{{"UDP in batches of 16", UDP, 16}, {"UDP one by one", UDP, 1}, {"TCP in batches of 16", TCP, 16}, {"TCP one by one", TCP, 1}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			sink := &counter{more: make(chan struct{}, 1)}
			s, err := Open(Config{Listen: []Listen{udpOn("127.0.0.1:0"), tcpOn("127.0.0.1:0")}}, sink)
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			flow, _ := s.UDPFlow(s.Listeners()[0].Addr)
			if c.proto == TCP {
				got := make(chan Flow, 1)
				s.Connect(TCP, netip.Addr{}, s.Listeners()[1].Addr, time.Second, func(f Flow, _ error) { got <- f })
				flow = <-got
			}
			out := make([]Out, c.batch)
			for i := range out {
				out[i] = Out{Flow: flow, Data: []byte(inviteText)}
			}
			sent := int64(0)
			b.ResetTimer()
			for range b.N {
				s.Send(out)
				sent += int64(c.batch)
				for sent-sink.n.Load() > 256 { // neither buffer may overflow
					<-sink.more
				}
			}
			for sink.n.Load() < sent {
				<-sink.more
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent), "ns/msg")
			b.ReportMetric(float64(sent)/float64(b.Elapsed().Seconds()), "msg/s")
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	b.ReportAllocs()
	m, err := Parse([]byte(inviteText))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 2048)
	for b.Loop() {
		buf = AppendStatusLine(buf[:0], 180, "")
		for via := range m.Each("Via") {
			buf = AppendHeader(buf, "Via", via)
		}
		buf = AppendHeader(buf, "From", m.From)
		buf = AppendHeader(buf, "To", m.To)
		buf = AppendHeader(buf, "Call-ID", m.CallID)
		buf = AppendCSeq(buf, m.CSeq, m.Method)
		buf = AppendBody(buf, nil)
	}
}
