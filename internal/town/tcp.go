package town

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	window     = 64 << 10               // how much a TCP sender may have on the way and unread
	retransmit = 200 * time.Millisecond // how late a lost TCP segment comes; doubles while the path is cut
	patience   = 2 * time.Minute        // how long TCP tries a dead path before the connection is given up
)

// listener is a TCP listener in memory.
type listener struct {
	host   *Host
	addr   netip.AddrPort
	queue  chan *conn
	closed chan struct{}
	once   sync.Once
}

func newListener(h *Host, addr netip.AddrPort) *listener {
	return &listener{host: h, addr: addr, queue: make(chan *conn, 128), closed: make(chan struct{})}
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Close frees the port; connections that nobody has accepted are reset.
func (l *listener) Close() error {
	err := error(&net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed})
	l.once.Do(func() {
		n := l.host.net
		n.mu.Lock()
		delete(l.host.listeners, l.addr)
		n.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.queue:
				c.Reset()
				continue
			default:
			}
			break
		}
		err = nil
	})
	return err
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// handshake is a connection that is being opened.
type handshake struct {
	from, to      *Host
	local, remote netip.AddrPort
	done          chan struct{}
	conn          *conn
	err           error
	gone          bool // the dialler has given up; guarded by net.mu
}

// dial opens a connection: SYN, SYN-ACK, repeated while the path is dead.
func (n *Network) dial(ctx context.Context, from *Host, local netip.Addr, remote netip.AddrPort) (*conn, error) {
	h := &handshake{from: from, remote: remote, done: make(chan struct{})}
	n.mu.Lock()
	if !local.IsValid() {
		local = netip.IPv4Unspecified()
		if remote.Addr().Is6() {
			local = netip.IPv6Unspecified()
		}
	}
	bound, err := from.bind(tcp, netip.AddrPortFrom(local, 0), func(netip.AddrPort) bool { return false })
	if err != nil {
		n.mu.Unlock()
		return nil, err
	}
	h.local = from.source(bound, remote.Addr())
	n.syn(h, time.Second)
	n.mu.Unlock()

	select {
	case <-h.done:
		return h.conn, h.err
	case <-ctx.Done():
	}
	n.mu.Lock()
	h.gone = true
	c := h.conn
	n.mu.Unlock()
	if c != nil {
		c.Reset()
	}
	return nil, context.Cause(ctx)
}

// finish ends a handshake. The caller holds n.mu.
func (h *handshake) finish(c *conn, err error) {
	h.conn, h.err = c, err
	close(h.done)
}

// syn sends the first segment of a connection; it is repeated after wait. The caller holds n.mu.
func (n *Network) syn(h *handshake, wait time.Duration) {
	if h.gone {
		return
	}
	if wait > time.Minute { // 1+2+4+…: Linux gives up after six repeats
		h.finish(nil, syscall.ETIMEDOUT)
		return
	}
	again := func() {
		n.queue.after(wait, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.syn(h, 2*wait)
		})
	}
	h.to = n.hostAt(h.from, h.remote.Addr())
	if h.from.power != On || h.to == nil {
		again()
		return
	}
	j := n.chance(tcp, h.local, h.remote).travel(n.path(h.from, h.to).Path, time.Now(), 0)
	if j.lost {
		again()
		return
	}
	n.queue.at(j.at, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.synCame(h, again)
	})
}

// synCame decides at the far end: nobody there, refused, or accepted. The caller holds n.mu.
func (n *Network) synCame(h *handshake, again func()) {
	back := n.path(h.to, h.from)
	if h.to.power == Dead || n.path(h.from, h.to).Cut || back.Cut {
		again()
		return
	}
	var (
		err error
		far *conn
		l   = lookup(h.to.listeners, h.remote)
	)
	switch {
	case h.to.power == Off:
		err = syscall.EHOSTUNREACH
	case l == nil:
		err = syscall.ECONNREFUSED
	default:
		far = newConn(h.to, h.from, h.remote, h.local)
		select {
		case l.queue <- far:
			h.to.conns[far] = struct{}{}
		default: // a full backlog drops the SYN
			again()
			return
		}
	}
	n.queue.after(n.chance(tcp, h.remote, h.local).late(back.Path), func() { n.synAnswered(h, far, err) })
}

// synAnswered ends the handshake at the dialler.
func (n *Network) synAnswered(h *handshake, far *conn, err error) {
	var near *conn
	if err == nil {
		near = newConn(h.from, h.to, h.local, h.remote)
		near.join(far)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case h.gone && near != nil:
		n.queue.after(0, far.reset)
	case h.gone:
	case err != nil:
		h.finish(nil, err)
	default:
		h.from.conns[near] = struct{}{}
		h.finish(near, nil)
	}
}

// conn is one end of a TCP connection in memory.
type conn struct {
	host, far     *Host
	local, remote netip.AddrPort

	mu       sync.Mutex
	peer     *conn     // nil until the handshake is over at the other end
	flight   []segment // sent by us, not yet arrived
	pumping  bool      // an event will move the flight on
	retry    time.Duration
	tried    time.Duration // how long the path has been dead
	inbox    []byte        // arrived, not yet read
	unread   int           // bytes of ours that are on the way or unread at the other end
	finished bool          // the other end will send no more
	broken   error         // reset, or given up
	shut     bool          // closed by us

	readable chan struct{}
	writable chan struct{}
	closed   chan struct{}
	read     deadline
	write    deadline
}

// segment is a piece of the byte stream on its way.
type segment struct {
	sent, at time.Time
	data     []byte
	fin      bool
}

func newConn(host, far *Host, local, remote netip.AddrPort) *conn {
	return &conn{
		host: host, far: far, local: local, remote: remote,
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), closed: make(chan struct{}),
	}
}

// join makes two ends one connection. What the accepting end has sent in the meantime starts to move.
func (c *conn) join(far *conn) {
	c.peer = far
	far.mu.Lock()
	defer far.mu.Unlock()
	far.peer = c
	if len(far.flight) > 0 {
		far.pump()
	}
}

func token(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Read waits for bytes.
func (c *conn) Read(b []byte) (int, error) {
	for {
		if c.read.over() {
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		}
		n, done, err := c.take(b)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, c.fail("read", err)
		}
		if done {
			return n, err
		}
		select {
		case <-c.readable:
		case <-c.closed:
		case <-c.read.done():
		}
	}
}

// take reads what is there; done says that waiting brings nothing more.
func (c *conn) take(b []byte) (n int, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.shut:
		return 0, true, net.ErrClosed
	case len(c.inbox) > 0:
		n = copy(b, c.inbox)
		c.inbox = c.inbox[n:]
		if len(c.inbox) > 0 || c.finished || c.broken != nil {
			token(c.readable) // another reader may sleep
		}
		if peer := c.peer; peer != nil {
			c.host.net.queue.after(0, func() { peer.credit(n) })
		}
		return n, true, nil
	case c.broken != nil:
		return 0, true, c.broken
	case c.finished:
		return 0, true, io.EOF
	}
	return 0, len(b) == 0, nil
}

// credit says that the other end has read n bytes.
func (c *conn) credit(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread -= n
	token(c.writable)
}

// Write sends bytes. It waits while the window is full.
func (c *conn) Write(b []byte) (int, error) {
	total := 0
	for {
		if c.write.over() {
			return total, c.fail("write", os.ErrDeadlineExceeded)
		}
		n, err := c.push(b[total:])
		total += n
		if err != nil {
			return total, c.fail("write", err)
		}
		if total == len(b) {
			return total, nil
		}
		select {
		case <-c.writable:
		case <-c.closed:
		case <-c.write.done():
		}
	}
}

// push sends as much as the window allows.
func (c *conn) push(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.shut:
		return 0, net.ErrClosed
	case c.broken != nil:
		return 0, c.broken
	}
	n := min(len(b), window-c.unread)
	if n <= 0 {
		return 0, nil
	}
	c.unread += n
	c.launch(segment{data: slices.Clone(b[:n])})
	return n, nil
}

// launch puts a segment on the way. The caller holds c.mu.
func (c *conn) launch(s segment) {
	n := c.host.net
	n.mu.Lock()
	now := time.Now()
	path, luck := n.path(c.host, c.far), n.chance(tcp, c.local, c.remote)
	late := luck.late(path.Path)
	if luck.rng.Float64() < path.Loss {
		late += retransmit
	}
	n.mu.Unlock()
	s.sent, s.at = now, now.Add(late)
	if k := len(c.flight); k > 0 && !s.at.After(c.flight[k-1].at) {
		s.at = c.flight[k-1].at.Add(1)
	}
	c.flight = append(c.flight, s)
	if c.peer != nil {
		c.pump()
	}
}

// pump makes sure that the first segment of the flight arrives. The caller holds c.mu.
func (c *conn) pump() {
	if c.pumping || len(c.flight) == 0 {
		return
	}
	c.pumping = true
	c.host.net.queue.at(c.flight[0].at, c.move)
}

// move lets the first segment arrive, or tries again later when the path is dead.
func (c *conn) move() {
	n := c.host.net
	n.mu.Lock()
	open := c.host.power == On && c.far.power == On && !n.path(c.host, c.far).Cut
	n.mu.Unlock()

	c.mu.Lock()
	c.pumping = false
	if len(c.flight) == 0 {
		c.mu.Unlock()
		return
	}
	if !open {
		c.wait()
		c.mu.Unlock()
		return
	}
	s, peer := c.flight[0], c.peer
	c.flight = c.flight[1:]
	c.retry, c.tried = 0, 0
	c.pump()
	c.mu.Unlock()

	fate := Delivered
	if !peer.came(s) {
		fate = Refused
		n.queue.after(0, c.reset)
	}
	if len(s.data) > 0 {
		n.mu.Lock()
		n.show(Packet{Sent: s.sent, Came: time.Now(), TCP: true, From: c.local, To: c.remote, Data: s.data, Fate: fate})
		n.mu.Unlock()
	}
}

// wait tries the first segment again later, and breaks the connection when that has lasted too long. The caller holds c.mu.
func (c *conn) wait() {
	c.retry = max(2*c.retry, retransmit)
	c.tried += c.retry
	if c.tried > patience {
		c.flight = nil
		c.broken = syscall.ETIMEDOUT
		token(c.readable)
		token(c.writable)
		c.leave()
		return
	}
	c.pumping = true
	c.host.net.queue.after(c.retry, c.move)
}

// came takes a segment that arrived; false: the connection is gone here, the sender gets a reset.
func (c *conn) came(s segment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil || c.shut && !s.fin {
		return false
	}
	if s.fin {
		c.finished = true
		if c.shut {
			c.leave()
		}
	} else {
		c.inbox = append(c.inbox, s.data...)
	}
	token(c.readable)
	return true
}

// leave takes the connection out of its host's table. It runs later, because the caller may hold locks.
func (c *conn) leave() {
	n := c.host.net
	n.queue.after(0, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(c.host.conns, c)
	})
}

// reset breaks this end, as an RST does that arrives.
func (c *conn) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return
	}
	c.broken = syscall.ECONNRESET
	c.flight = nil
	c.inbox = nil
	token(c.readable)
	token(c.writable)
	c.leave()
}

// Reset ends the connection with an RST. On a dead path the other end never learns of it.
func (c *conn) Reset() {
	c.mu.Lock()
	peer := c.peer
	if c.shut && c.broken != nil {
		c.mu.Unlock()
		return
	}
	if !c.shut {
		c.shut = true
		close(c.closed)
	}
	c.broken = net.ErrClosed
	c.flight, c.inbox = nil, nil
	c.leave()
	c.mu.Unlock()
	if peer == nil {
		return
	}
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	path := n.path(c.host, c.far)
	if c.host.power != On || c.far.power == Dead || path.Cut {
		return
	}
	n.queue.after(n.chance(tcp, c.local, c.remote).late(path.Path), peer.reset)
}

// Close ends our side: what was written still arrives, then the other end reads EOF.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		return c.fail("close", net.ErrClosed)
	}
	c.shut = true
	close(c.closed)
	if c.broken != nil {
		return nil
	}
	c.inbox = nil
	c.launch(segment{fin: true})
	c.leave()
	return nil
}

func (c *conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *conn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}

// Resets breaks every TCP connection between two hosts, at both ends, as a firewall does that has lost its table.
func (n *Network) Resets(a, b *Host) {
	n.mu.Lock()
	var broken []*conn
	for c := range a.conns {
		if c.far == b {
			broken = append(broken, c)
		}
	}
	for c := range b.conns {
		if c.far == a {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	slices.SortFunc(broken, func(x, y *conn) int { return x.local.Compare(y.local) })
	for _, c := range broken {
		c.reset()
	}
}
