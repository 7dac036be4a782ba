package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"
)

// ErrUnreachable says that no node answers on the control socket.
var ErrUnreachable = errors.New("no nines answers")

const maxAnswer = 64 << 20

// Client talks to a running node through its control socket.
type Client struct {
	socket string
	http   http.Client
}

// NewClient makes a client of the node whose run folder this is.
func NewClient(run string) *Client {
	c := &Client{socket: filepath.Join(run, SocketName)}
	c.http = http.Client{
		Timeout: 60 * time.Second, // a reload resolves names
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				dialer := net.Dialer{Timeout: 2 * time.Second}
				return dialer.DialContext(ctx, "unix", c.socket)
			},
		},
	}
	return c
}

// Status asks the node how it is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.do(ctx, http.MethodGet, "/api/v1/status", &s)
}

// Endpoint asks for one endpoint.
func (c *Client) Endpoint(ctx context.Context, name string) (EndpointStatus, error) {
	var e EndpointStatus
	return e, c.do(ctx, http.MethodGet, "/api/v1/status/endpoints/"+url.PathEscape(name), &e)
}

// Version asks what is running.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var v Version
	return v, c.do(ctx, http.MethodGet, "/api/v1/version", &v)
}

// Reload has the node read its configuration again. A refused file is a result with Accepted false.
func (c *Client) Reload(ctx context.Context) (ReloadResult, error) {
	var r ReloadResult
	return r, c.do(ctx, http.MethodPost, "/api/v1/reload", &r)
}

func (c *Client) do(ctx context.Context, method, path string, into any) error {
	return c.send(ctx, method, path, nil, into)
}

// send asks with a body; nil is none.
func (c *Client) send(ctx context.Context, method, path string, body, into any) error {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
		text = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://nines"+path, text)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.socket, err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusUnprocessableEntity: // 422 is a refused file, with its problems
		if file, ok := into.(*raw); ok {
			*file = got
			return nil
		}
		if err := json.Unmarshal(got, into); err != nil {
			return fmt.Errorf("understand the answer of %s: %w", c.socket, err)
		}
		return nil
	default:
		var p Problem
		if json.Unmarshal(got, &p) == nil && p.Error != "" {
			return errors.New(p.Error)
		}
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
}

// unreachable says why a node did not answer.
func (c *Client) unreachable(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w on %s: %w", ErrUnreachable, c.socket, op.Err)
	}
	return fmt.Errorf("ask %s: %w", c.socket, err)
}
