package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"nines/internal/town/certs"
)

// transports are the ways that SIP can go, as -transport names them.
var transports = []string{"udp", "tcp", "tls"}

// link is a way to somebody: a socket and an address, or a connection.
type link interface{ send(message []byte) }

// datagrams is UDP towards one address.
type datagrams struct {
	conn *net.UDPConn
	to   *net.UDPAddr
}

func (d datagrams) send(m []byte) { _, _ = d.conn.WriteToUDP(m, d.to) } // a call that is lost shows

// stream is a connection; several write to it.
type stream struct {
	mu   sync.Mutex
	conn net.Conn
}

func (s *stream) send(m []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.conn.Write(m)
}

// identity is what the generators and the systems under test show each other in TLS.
type identity struct {
	dir    string // of tls.pem, tls.key and ca.pem
	config *tls.Config
}

func newIdentity(dir string) (identity, error) {
	guild := certs.New("bench")
	own := guild.Issue("127.0.0.1")
	if err := certs.Write(dir, "tls", own); err != nil {
		return identity{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), guild.PEM(), 0o600); err != nil {
		return identity{}, err
	}
	return identity{dir, &tls.Config{
		Certificates: []tls.Certificate{own}, RootCAs: guild.Pool(), ClientCAs: guild.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}}, nil
}

// heard is told of each message and of the way back to who sent it.
type heard func(message, link)

// open opens a socket at an address and tells of what comes there, until it is closed.
func (b *bench) open(transport, address string, h heard) (io.Closer, error) {
	if transport == "udp" {
		conn, err := listenUDP(address)
		if err != nil {
			return nil, err
		}
		go readDatagrams(conn, h) // ends when the socket is closed
		return conn, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if transport == "tls" {
		l = tls.NewListener(l, b.identity.config)
	}
	a := &accepter{l: l}
	go a.run(h) // ends when the listener is closed
	return a, nil
}

// accepter takes connections and closes them with itself.
type accepter struct {
	l     net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (a *accepter) run(h heard) {
	for {
		conn, err := a.l.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		a.conns = append(a.conns, conn)
		a.mu.Unlock()
		go readStream(conn, h) // ends when the connection is closed
	}
}

// Close ends it with its connections.
func (a *accepter) Close() error {
	err := a.l.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

// dial makes a way to an address and tells of what comes back on it.
func (b *bench) dial(transport, to string, h heard) (link, io.Closer, error) {
	switch transport {
	case "udp":
		a, err := net.ResolveUDPAddr("udp", to)
		if err != nil {
			return nil, nil, err
		}
		conn, err := listenUDP("127.0.0.1:" + carrierPort)
		if err != nil {
			return nil, nil, err
		}
		go readDatagrams(conn, h) // ends when the socket is closed
		return datagrams{conn, a}, conn, nil
	case "tls":
		conn, err := tls.Dial("tcp", to, b.identity.config)
		if err != nil {
			return nil, nil, err
		}
		go readStream(conn, h) // ends when the connection is closed
		return &stream{conn: conn}, conn, nil
	default:
		conn, err := net.Dial("tcp", to)
		if err != nil {
			return nil, nil, err
		}
		go readStream(conn, h) // likewise
		return &stream{conn: conn}, conn, nil
	}
}

func listenUDP(address string) (*net.UDPConn, error) {
	a, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", a)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetReadBuffer(4 << 20)
}

func readDatagrams(conn *net.UDPConn, h heard) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFromUDP(buf)
		if err != nil {
			return
		}
		h(parse(buf[:n]), datagrams{conn, from})
	}
}

// readStream takes messages off a connection: a head up to an empty line, and as much as its Content-Length says (RFC 3261 §18.3).
func readStream(conn net.Conn, h heard) {
	in, back := bufio.NewReaderSize(conn, 64<<10), &stream{conn: conn}
	for {
		m, err := readMessage(in)
		if err != nil {
			return
		}
		h(m, back)
	}
}

func readMessage(in *bufio.Reader) (message, error) {
	var head bytes.Buffer
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return message{}, err
		}
		if len(line) > 2 {
			head.Write(line)
			continue
		}
		if head.Len() == 0 {
			continue // a keep-alive
		}
		m := parse(head.Bytes())
		n, err := strconv.Atoi(m.value("Content-Length"))
		if err != nil {
			return message{}, fmt.Errorf("Content-Length: %w", err)
		}
		_, err = in.Discard(n)
		return m, err
	}
}

// message is a SIP message by lines, enough of it for this.
type message struct{ lines []string }

// parse takes the head of a message.
func parse(data []byte) message {
	head, _, _ := bytes.Cut(data, []byte("\r\n\r\n"))
	return message{strings.Split(strings.TrimRight(string(head), "\r\n"), "\r\n")}
}

func (m message) first() string { return m.lines[0] }

// all returns the header lines of one name.
func (m message) all(name string) []string {
	var found []string
	for _, l := range m.lines[1:] {
		if _, ok := headerValue(l, name); ok {
			found = append(found, l)
		}
	}
	return found
}

func (m message) value(name string) string {
	for _, l := range m.lines[1:] {
		if v, ok := headerValue(l, name); ok {
			return v
		}
	}
	return ""
}

func headerValue(line, name string) (string, bool) {
	if len(line) <= len(name) || !strings.EqualFold(line[:len(name)], name) {
		return "", false
	}
	rest := strings.TrimLeft(line[len(name):], " ")
	if !strings.HasPrefix(rest, ":") {
		return "", false
	}
	return strings.TrimSpace(rest[1:]), true
}
