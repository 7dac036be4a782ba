// Command order measures whether messages that arrive one after the other are also handled one after the other: by sipgo's transaction layer, and by
// our sockets and transactions (docs/decisions/0001-own-sockets-and-transactions.md).
//
// Two questions are asked over UDP on loopback, each pair or triple sent only after the one before was handled. Does an INVITE's CANCEL, sent right
// behind it, reach the program before the INVITE does? Are 180, 183 and 200, sent in one breath, reported in this order?
//
//	go run ./test/measure/order
//	GOMAXPROCS=1 go run ./test/measure/order     one processor: the newest goroutine runs first
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/emiago/sipgo/sip"
)

// result is how one question was answered by one system.
type result struct {
	question string
	system   string
	asked    int
	wrong    int // handled in another order than they were sent, or some of them never handed out
	lost     int // no final response, or not both requests, within a second
}

func main() {
	n := flag.Int("n", 1000, "repetitions of each question")
	flag.Parse()
	sip.SetDefaultLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err := run(*n); err != nil {
		fmt.Fprintln(os.Stderr, "order:", err)
		os.Exit(1)
	}
}

func run(n int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var results []result
	for _, ask := range []func(context.Context, int) (result, error){sipgoCancel, oursCancel, sipgoResponses, oursResponses} {
		r, err := ask(ctx, n)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	fmt.Printf("%s, %d processors\n", runtime.Version(), runtime.GOMAXPROCS(0))
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "question\tsystem\tasked\tin another order\tnothing heard")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", r.question, r.system, r.asked, r.wrong, r.lost)
	}
	return w.Flush()
}

// far is the other end of the wire: a plain socket that sends in the order in which it is told to.
type far struct{ *net.UDPConn }

func newFar() (far, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	return far{c}, err
}

// addr is where the far end listens.
func (f far) addr() *net.UDPAddr { return f.LocalAddr().(*net.UDPAddr) }

// request writes an INVITE or its CANCEL.
func (f far) request(method string, n int, to net.Addr) []byte {
	return fmt.Appendf(nil, "%[1]s sip:999@%[2]s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;branch=z9hG4bK%[4]d\r\nFrom: <sip:carrier@%[3]s>;tag=f%[4]d\r\n"+
		"To: <sip:999@%[2]s>\r\nCall-ID: %[4]d@order\r\nCSeq: 1 %[1]s\r\nContact: <sip:carrier@%[3]s>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
		method, to, f.addr(), n)
}

// response writes a response to a request whose headers were read.
func response(code int, via, from, to, callID, cseq string) []byte {
	return fmt.Appendf(nil, "SIP/2.0 %d Whatever\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=room\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:room@127.0.0.1>\r\n"+
		"Content-Length: 0\r\n\r\n", code, via, from, to, callID, cseq)
}

// await waits for n handled messages, or a second.
func await[T any](seen <-chan T, n int) (got []T) {
	late := time.NewTimer(time.Second)
	defer late.Stop()
	for len(got) < n {
		select {
		case m := <-seen:
			got = append(got, m)
		case <-late.C:
			return got
		}
	}
	return got
}
