package console

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"time"
)

// Live is one picture of the live view.
type Live struct {
	At      time.Time      `json:"at"` // when the node was looked at
	Status  Status         `json:"status"`
	Minutes []MinuteStatus `json:"minutes"` // of the last hour, oldest first
}

// MinuteStatus is what was answered in one minute.
type MinuteStatus struct {
	At      time.Time      `json:"at"`      // its begin
	Answers map[string]int `json:"answers"` // by endpoint
}

var liveRoutes = []route{{
	method: http.MethodGet, path: "/api/v1/live", role: viewer, stream: true, gives: reflect.TypeFor[Live](),
	about: "The node as it changes, as server-sent events: a live event with the schema Live whenever something has changed, at most four a second, and a beat event each second.",
	serve: func(w http.ResponseWriter, a *ask) { a.live.serve(w, a.Request, "json", livePicture, liveEvent) },
}}

// livePicture is the picture for programs. What changes with each look without meaning anything is no reason to send it.
func livePicture(s snapshot) picture {
	l := Live{At: s.At, Status: s.Status, Minutes: make([]MinuteStatus, len(s.Hour))}
	for i, m := range s.Hour {
		l.Minutes[i] = MinuteStatus{m.At, m.Answers}
	}
	l.At = time.Time{}
	b, err := json.Marshal(l)
	if err != nil {
		return picture{} // a status is plain data
	}
	return picture{"live": string(b)}
}

// liveEvent is what goes out when the picture has changed.
func liveEvent(at time.Time, changed picture) (string, any) {
	stamp, _ := json.Marshal(at) // a time of now
	return "live", json.RawMessage(bytes.Replace([]byte(changed["live"]), []byte(`"at":"0001-01-01T00:00:00Z"`), append([]byte(`"at":`), stamp...), 1))
}

const (
	maxEvent  = 16 << 20
	deafAfter = 5 * beatEvery // then the node is not there any more
)

// Follow tells the node's live pictures to show, until ctx or the stream ends or show returns an error. Between two pictures it says nil each second: the
// node lives, and nothing has changed.
func (c *Client) Follow(ctx context.Context, show func(*Live) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://nines/api/v1/live", nil)
	if err != nil {
		return err
	}
	endless := http.Client{Transport: c.http.Transport} // the usual limit is for answers that end
	resp, err := endless.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("follow %s: %s", c.socket, resp.Status)
	}
	deaf := time.AfterFunc(deafAfter, cancel) // a node that hangs says nothing
	defer deaf.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	event := ""
	for lines.Scan() {
		deaf.Reset(deafAfter)
		line := lines.Bytes()
		if name, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			event = string(name)
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		var l *Live
		if event == "live" {
			l = &Live{}
			if err := json.Unmarshal(data, l); err != nil {
				return fmt.Errorf("understand %s: %w", c.socket, err)
			}
		}
		if err := show(l); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("follow %s: %w", c.socket, err)
	}
	return nil
}
