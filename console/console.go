// Package console is the face of the node on HTTP: the JSON API, /metrics, /healthz and /readyz.
//
// It shows what app hands it and decides nothing: [Node] is all it knows of the program. Two doors lead in. The control socket in the run folder
// (mode 0600) may read and act. Through the TCP listener who is on this machine may read, and who has a token may do what its line in the tokens file
// says; every act is done in that person's name. A door that cannot be opened is logged and tried again; it never touches a call.
//
// Drive it with [New], [Console.Open], then [Console.Run] in a goroutine of its own. The other end of the control socket is [Client].
package console

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
)

// SocketName is the control socket's name in the run folder.
const SocketName = "control.sock"

const (
	shutdown     = 2 * time.Second // how long requests may take to end
	maxBody      = 64 << 10
	maxConns     = 256 // at each door
	maxSocketLen = 107 // sun_path, less its final zero
)

// Config says where the console listens.
type Config struct {
	Listen string        // host:port for pages, API and metrics; empty: no TCP door
	Run    string        // folder of the control socket, made if missing; empty: no control socket
	Tokens func() string // the tokens file of now, a line a person: name, role, SHA-256 of the token; nil or empty: nobody can act over TCP
	Key    string        // the file of the key that signs pages' sessions, made if missing; empty: sessions end with the process
}

// Node is what the console needs of the program. Its methods are called from many goroutines.
type Node interface {
	Status() Status
	// Ready returns nil while this node takes calls, else why it does not.
	Ready() error
	// Reload reads the configuration again. A refused file is a result, not an error; an error means that nothing was tried.
	Reload(ctx context.Context) (ReloadResult, error)

	// Hold holds an endpoint. The error is a [Mistake], one of health's, or a fault of ours.
	Hold(ctx context.Context, req HoldRequest) (HoldResult, error)
	// Release ends an endpoint's hold, or lets it off its way back.
	Release(ctx context.Context, endpoint, by string) (ReleaseResult, error)
	Holds(ctx context.Context) (HoldList, error)
	// Treat has the calls of a routine route treated as emergencies. The error is a [Mistake], [ErrNotFound], or a fault of ours.
	Treat(ctx context.Context, req TreatRequest) (TreatResult, error)
	Untreat(ctx context.Context, route, by string) (UntreatResult, error)
	Treats(ctx context.Context) (TreatList, error)

	CallReader
	CallBackKeeper
	JournalKeeper

	// Notices lists what people outside are told.
	Notices() NoticeList
	// Acknowledge stops the reminders of one notice, or of all with an empty id.
	Acknowledge(ctx context.Context, id, by string) (AcknowledgeResult, error)
	// TryNotices has every receiver told a trial.
	TryNotices(ctx context.Context, by string) error
	// PublicNotice gives the text for the public by language.
	PublicNotice() PublicNotice
}

// Console serves HTTP about one node.
type Console struct {
	log    zerolog.Logger
	live   *live
	doors  []*door
	reopen time.Duration // how often a door that failed is tried again
}

// door is one place where the console listens.
type door struct {
	name   string
	open   func() (net.Listener, error)
	server *http.Server

	reported bool // the failure to open was logged

	mu       sync.Mutex // guards listener; Addr asks from elsewhere
	listener net.Listener
}

// New makes a console. metrics is what /metrics serves.
func New(cfg Config, node Node, metrics prometheus.Gatherer, log zerolog.Logger) *Console {
	c := &Console{log: log, live: newLive(node), reopen: 5 * time.Second}
	c.live.failed = func(err error) {
		log.Error().Err(err).Msg("the console's live view met a fault of ours; calls are not touched")
	}
	if cfg.Tokens == nil {
		cfg.Tokens = func() string { return "" }
	}
	people := &tokens{path: cfg.Tokens, warn: func(problem string) {
		log.Warn().Str("problem", problem).Msg("the console's tokens file is not as it should be; who stands there rightly can act")
	}}
	g := &guard{tokens: people, sessions: newSessions(cfg.Key, people), slow: newBrake()}
	if cfg.Run != "" {
		path := filepath.Join(cfg.Run, SocketName)
		c.doors = append(c.doors, &door{
			name:   path,
			open:   func() (net.Listener, error) { return listenControl(path) },
			server: newServer(controlHandler(node, metrics, c.live, log)),
		})
	}
	if cfg.Listen != "" {
		c.doors = append(c.doors, &door{
			name:   cfg.Listen,
			open:   func() (net.Listener, error) { return net.Listen("tcp", cfg.Listen) },
			server: newServer(publicHandler(node, metrics, g, c.live, log)),
		})
	}
	return c
}

func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           http.MaxBytesHandler(h, maxBody),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
}

// Open opens the doors. A door that fails is in the error and tried again by Run, so the caller need only say it.
func (c *Console) Open() error {
	var errs []error
	for _, d := range c.doors {
		if err := d.tryOpen(); err != nil {
			d.reported = true
			errs = append(errs, fmt.Errorf("console: listen on %s: %w", d.name, err))
		}
	}
	return errors.Join(errs...)
}

// Addr is the address of the TCP door, or nil while it is not open.
func (c *Console) Addr() net.Addr {
	for _, d := range c.doors {
		if l := d.current(); l != nil && l.Addr().Network() == "tcp" {
			return l.Addr()
		}
	}
	return nil
}

// Run serves until ctx ends, then lets the requests under way finish and closes the doors.
func (c *Console) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { c.live.run(ctx) }) // ends with ctx
	for _, d := range c.doors {
		wg.Go(func() { c.serve(ctx, d) }) // ends with ctx
	}
	wg.Wait()
}

// serve keeps one door open.
func (c *Console) serve(ctx context.Context, d *door) {
	finished := make(chan struct{})
	defer func() { <-finished }()
	context.AfterFunc(ctx, func() { // ends by itself
		defer close(finished)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
		defer cancel()
		if d.server.Shutdown(late) != nil {
			_ = d.server.Close()
		}
	})
	defer d.close()
	for ctx.Err() == nil {
		err := d.tryOpen()
		if err == nil {
			c.log.Info().Str("address", d.name).Msg("console listens")
			err = d.server.Serve(netutil.LimitListener(d.current(), maxConns))
			d.close()
			if errors.Is(err, http.ErrServerClosed) {
				return
			}
		}
		if !d.reported {
			d.reported = true
			c.log.Warn().Err(err).Str("address", d.name).Msg("console does not listen; calls are not touched, it is tried again")
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.reopen):
		}
	}
}

func (d *door) tryOpen() error {
	if d.current() != nil {
		return nil
	}
	l, err := d.open()
	if err != nil {
		return err
	}
	d.reported = false
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listener = l
	return nil
}

func (d *door) current() net.Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listener
}

func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != nil {
		_ = d.listener.Close()
		d.listener = nil
	}
}

// listenControl opens the control socket. A socket that a dead node left behind is replaced; one that answers is another node's and stays.
func listenControl(path string) (net.Listener, error) {
	if len(path) > maxSocketLen {
		return nil, fmt.Errorf("the path has %d bytes, a socket's may have %d: choose a shorter run folder", len(path), maxSocketLen)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close()
		return nil, errors.New("another nines answers there: stop it, or give this one its own run folder")
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, errors.New("something that is no socket is in the way: remove it")
	}
	// Bound in a folder nobody else can enter and moved when its mode is right: it is never open to others, whatever the umask.
	private, err := os.MkdirTemp(dir, ".")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	hidden := filepath.Join(private, "s")
	if len(hidden) > maxSocketLen {
		return nil, fmt.Errorf("the run folder's name is too long for a socket: choose one with fewer than %d bytes", maxSocketLen-14)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(hidden, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	if err := os.Rename(hidden, path); err != nil {
		_ = l.Close()
		return nil, err
	}
	return &control{Listener: l, path: path, id: identity(path)}, nil
}

// control is the control socket's listener. It takes its file along when it closes.
type control struct {
	net.Listener
	path string
	id   os.FileInfo
}

// Close closes the socket and removes its file, if no other node has put its own there.
func (c *control) Close() error {
	err := c.Listener.Close()
	if now := identity(c.path); now != nil && os.SameFile(now, c.id) {
		_ = os.Remove(c.path)
	}
	return err
}

func identity(path string) os.FileInfo {
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	return info
}
