package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"nines/sip/txn"
	"nines/sip/wire"
)

// loop is our side, as small as it can be: the sockets' reader hands messages to one goroutine that owns a table of transactions.
type loop struct {
	inbox  chan func()
	table  *txn.Table[wire.Flow]
	handle func(wire.Flow, *wire.Message)
}

// Packets implements wire.Sink.
func (l *loop) Packets(batch []wire.Packet) {
	for _, p := range batch {
		l.inbox <- func() {
			if m, err := wire.Parse(p.Data); err == nil {
				l.handle(p.Flow, m)
			}
		}
	}
}

// ICMP implements wire.Sink.
func (*loop) ICMP(wire.ICMP) {}

// Closed implements wire.Sink.
func (*loop) Closed(wire.Flow, error) {}

// run owns the table until ctx ends.
func (l *loop) run(ctx context.Context) {
	for {
		select {
		case do := <-l.inbox:
			do()
		case <-ctx.Done():
			return
		}
	}
}

func newLoop() *loop {
	return &loop{inbox: make(chan func(), 1024), table: txn.New[wire.Flow](txn.Timers{})}
}

// open starts our sockets and the loop; they end with ctx.
func (l *loop) open(ctx context.Context) (*wire.Stack, error) {
	stack, err := wire.Open(wire.Config{Listen: []wire.Listen{{Proto: wire.UDP, Addr: netip.MustParseAddrPort("127.0.0.1:0")}}}, l)
	if err != nil {
		return nil, err
	}
	go func() { _ = stack.Run(ctx) }() // ends with ctx
	go l.run(ctx)                      // ends with ctx
	return stack, nil
}

// oursCancel asks our sockets and transactions the question of sipgoCancel.
func oursCancel(ctx context.Context, n int) (result, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := result{question: "INVITE, CANCEL", system: "nines", asked: n}
	seen := make(chan string, 16)
	l := newLoop()
	l.handle = func(f wire.Flow, m *wire.Message) {
		key := txn.ServerKey(m.Via.Branch, m.Via.Host, m.Method)
		if isNew, _, _ := l.table.Receive(time.Now(), key, 0, f, m.Method == "INVITE", false, nil); isNew {
			seen <- m.Method
		}
	}
	stack, err := l.open(ctx)
	if err != nil {
		return r, err
	}
	return r, r.cancels(n, net.UDPAddrFromAddrPort(stack.Listeners()[0].Addr), seen)
}

// oursResponses asks our sockets and transactions the question of sipgoResponses.
func oursResponses(ctx context.Context, n int) (result, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := result{question: "180, 183, 200", system: "nines", asked: n}
	f, err := newFar()
	if err != nil {
		return r, err
	}
	defer f.Close()
	go f.answer() // ends when the socket closes
	seen := make(chan int, 16)
	l := newLoop()
	l.handle = func(_ wire.Flow, m *wire.Message) {
		verdict, _, _, _ := l.table.Response(time.Now(), txn.ClientKey(m.Via.Branch, m.Method), m.Status, nil)
		if verdict != txn.Unknown && verdict != txn.Repeat {
			seen <- m.Status
		}
	}
	stack, err := l.open(ctx)
	if err != nil {
		return r, err
	}
	flow, ok := stack.UDPFlow(f.addr().AddrPort())
	if !ok {
		return r, fmt.Errorf("no flow to %s", f.addr())
	}
	for i := range n {
		branch := fmt.Sprintf("z9hG4bK%d", i)
		invite := fmt.Appendf(nil, "INVITE sip:999@%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=%[3]s\r\nFrom: <sip:nines@%[2]s>;tag=f%[4]d\r\n"+
			"To: <sip:999@%[1]s>\r\nCall-ID: %[4]d@order\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", f.addr(), flow.Local, branch, i)
		l.inbox <- func() {
			l.table.Request(time.Now(), txn.ClientKey(branch, "INVITE"), 0, flow, true, false, invite, 0, nil)
		}
		stack.Send([]wire.Out{{Flow: flow, Data: invite}})
		r.judge(await(seen, 3))
	}
	return r, nil
}
