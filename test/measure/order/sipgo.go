package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// sipgoCancel asks sipgo's server. Its CANCEL handler is called only for a CANCEL that finds no INVITE, so for each that overtook.
func sipgoCancel(ctx context.Context, n int) (result, error) {
	r := result{question: "INVITE, CANCEL", system: "sipgo", asked: n}
	ua, err := sipgo.NewUA()
	if err != nil {
		return r, err
	}
	defer ua.Close()
	server, err := sipgo.NewServer(ua)
	if err != nil {
		return r, err
	}
	seen := make(chan string, 16)
	server.OnInvite(func(_ *sip.Request, tx sip.ServerTransaction) {
		cancelled := make(chan struct{})
		tx.OnCancel(func(*sip.Request) { close(cancelled) })
		seen <- "INVITE"
		select {
		case <-cancelled:
			seen <- "CANCEL"
		case <-time.After(200 * time.Millisecond): // its CANCEL came too early: it would ring on
		}
	})
	server.OnCancel(func(*sip.Request, sip.ServerTransaction) { seen <- "CANCEL" })
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return r, err
	}
	defer conn.Close()
	go func() { _ = server.ServeUDP(conn) }() // ends when the socket closes
	return r, r.cancels(n, conn.LocalAddr(), seen)
}

// cancels sends the pairs.
func (r *result) cancels(n int, to net.Addr, seen <-chan string) error {
	f, err := newFar()
	if err != nil {
		return err
	}
	defer f.Close()
	for i := range n {
		invite, cancel := f.request("INVITE", i, to), f.request("CANCEL", i, to)
		for _, m := range [][]byte{invite, cancel} {
			if _, err := f.WriteTo(m, to); err != nil {
				return err
			}
		}
		switch got := await(seen, 2); {
		case len(got) < 2:
			r.lost++
		case got[0] != "INVITE":
			r.wrong++
		}
	}
	return nil
}

// sipgoResponses asks sipgo's client. What its transaction hands out up to the 200 is taken.
func sipgoResponses(ctx context.Context, n int) (result, error) {
	r := result{question: "180, 183, 200", system: "sipgo", asked: n}
	ua, err := sipgo.NewUA()
	if err != nil {
		return r, err
	}
	defer ua.Close()
	client, err := sipgo.NewClient(ua, sipgo.WithClientHostname("127.0.0.1"))
	if err != nil {
		return r, err
	}
	f, err := newFar()
	if err != nil {
		return r, err
	}
	defer f.Close()
	go f.answer() // ends when the socket closes
	for range n {
		var uri sip.Uri
		if err := sip.ParseUri(fmt.Sprintf("sip:999@%s", f.addr()), &uri); err != nil {
			return r, err
		}
		tx, err := client.TransactionRequest(ctx, sip.NewRequest(sip.INVITE, uri))
		if err != nil {
			return r, err
		}
		r.judge(sipgoHeard(tx))
		tx.Terminate()
	}
	return r, nil
}

// sipgoHeard is what a transaction hands out: up to three responses, or what comes within 10 ms of a 200 that overtook.
func sipgoHeard(tx sip.ClientTransaction) (codes []int) {
	late := time.NewTimer(time.Second)
	defer late.Stop()
	for len(codes) < 3 {
		select {
		case res := <-tx.Responses():
			codes = append(codes, res.StatusCode)
			if res.StatusCode == 200 {
				late.Reset(10 * time.Millisecond)
			}
		case <-tx.Done():
			return codes
		case <-late.C:
			return codes
		}
	}
	return codes
}

// judge counts one triple. Without a 200 it is lost; else it is wrong unless it is the one that was sent.
func (r *result) judge(codes []int) {
	switch {
	case !slices.Contains(codes, 200):
		r.lost++
	case !slices.Equal(codes, []int{180, 183, 200}):
		r.wrong++
	}
}

// answer sends 180, 183 and 200 to each INVITE, until the socket closes.
func (f far) answer() {
	parser := sip.NewParser()
	buf := make([]byte, 65535)
	for {
		n, from, err := f.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := parser.ParseSIP(slices.Clone(buf[:n]))
		req, ok := m.(*sip.Request)
		if err != nil || !ok || req.Method != sip.INVITE {
			continue
		}
		for _, code := range []int{180, 183, 200} {
			b := response(code, req.Via().Value(), req.From().Value(), req.To().Value(), req.CallID().Value(), req.CSeq().Value())
			if _, err := f.WriteTo(b, from); err != nil {
				return
			}
		}
	}
}
