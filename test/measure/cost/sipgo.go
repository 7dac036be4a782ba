package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// b2bua is the smallest of its kind: the happy path of a call, with sipgo's dialogs on both sides.
type b2bua struct {
	servers *sipgo.DialogServerCache
	clients *sipgo.DialogClientCache
	room    sip.Uri

	mu    sync.Mutex
	other map[string]*sipgo.DialogClientSession // by the caller's Call-ID
}

// serveSipgo takes calls until it is killed.
func serveSipgo(ctx context.Context) error {
	sip.SetDefaultLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	ua, err := sipgo.NewUA(sipgo.WithUserAgentHostname("127.0.9.1"))
	if err != nil {
		return err
	}
	server, err := sipgo.NewServer(ua)
	if err != nil {
		return err
	}
	client, err := sipgo.NewClient(ua, sipgo.WithClientAddr(proxyAddress), sipgo.WithClientConnectionAddr(proxyAddress))
	if err != nil {
		return err
	}
	contact := sip.ContactHeader{Address: sip.Uri{Scheme: "sip", Host: "127.0.9.1", Port: 5060}}
	b := &b2bua{
		servers: sipgo.NewDialogServerCache(client, contact), clients: sipgo.NewDialogClientCache(client, contact),
		other: map[string]*sipgo.DialogClientSession{},
	}
	if err := sip.ParseUri("sip:999@"+roomAddress, &b.room); err != nil {
		return err
	}
	server.OnInvite(func(req *sip.Request, tx sip.ServerTransaction) { _ = b.invite(ctx, req, tx) }) // what fails, SIPp counts
	server.OnAck(func(req *sip.Request, tx sip.ServerTransaction) { _ = b.servers.ReadAck(req, tx) })
	server.OnBye(func(req *sip.Request, tx sip.ServerTransaction) { _ = b.bye(ctx, req, tx) })
	conn, err := net.ListenPacket("udp4", proxyAddress)
	if err != nil {
		return err
	}
	return server.ServeUDP(conn)
}

func (b *b2bua) invite(ctx context.Context, req *sip.Request, tx sip.ServerTransaction) error {
	caller, err := b.servers.ReadInvite(req, tx)
	if err != nil {
		return err
	}
	if err := caller.Respond(100, "Trying", nil); err != nil {
		return err
	}
	callee, err := b.clients.Invite(ctx, b.room, req.Body(), sip.NewHeader("Content-Type", "application/sdp"))
	if err != nil {
		return err
	}
	err = callee.WaitAnswer(ctx, sipgo.AnswerOptions{OnResponse: func(res *sip.Response) error {
		if res.StatusCode == 180 {
			return caller.Respond(180, "Ringing", nil)
		}
		return nil
	}})
	if err != nil {
		return err
	}
	if err := callee.Ack(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	b.other[req.CallID().Value()] = callee
	b.mu.Unlock()
	return caller.RespondSDP(callee.InviteResponse.Body())
}

func (b *b2bua) bye(ctx context.Context, req *sip.Request, tx sip.ServerTransaction) error {
	if err := b.servers.ReadBye(req, tx); err != nil {
		return err
	}
	b.mu.Lock()
	callee := b.other[req.CallID().Value()]
	delete(b.other, req.CallID().Value())
	b.mu.Unlock()
	if callee == nil {
		return nil
	}
	defer callee.Close()
	return callee.Bye(ctx)
}
