package journal

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Sink is a second place where entries go: a file of JSON lines, or an i3 Logging Service. Either may fail for as long as it likes: entries for it wait
// in memory, bounded, and the others are lost for it alone and counted.
type Sink struct {
	File string // a file that lines of JSON are appended to
	I3   string // the address of an i3 Logging Service, without /LogEvents; entries whose type i3 knows go there
}

const (
	sinkBatches = 256             // that wait for a sink that is slow
	sinkTimeout = 5 * time.Second // of one POST
	sinkFirst   = time.Second     // pause after a failure, doubled up to
	sinkMost    = time.Minute
)

// also is a running sink.
type also struct {
	sink  Sink
	node  string
	feed  *Feed
	log   zerolog.Logger
	http  *http.Client
	file  *os.File
	sent  atomic.Int64
	lost  atomic.Int64
	words atomic.Pointer[string] // what is wrong
}

// SinkHealth is how a second place is.
type SinkHealth struct {
	To    string `json:"to"`
	Sent  int64  `json:"sent"` // entries since the start
	Lost  int64  `json:"lost"` // for which it was too slow, or that it refused
	Error string `json:"error,omitempty"`
}

func (b *Book) newAlso(s Sink) *also {
	return &also{sink: s, node: b.cfg.Node, feed: b.Subscribe(sinkBatches), log: b.log.With().Str("to", s.name()).Logger(), http: &http.Client{Timeout: sinkTimeout}}
}

func (s Sink) name() string {
	if s.File != "" {
		return s.File
	}
	return s.I3
}

// run passes on what comes until the feed ends. Then there is only as much time as ctx leaves.
func (a *also) run(ctx context.Context) {
	defer a.close()
	missed := int64(0)
	for batch := range a.feed.C {
		if now := a.feed.Missed(); now > missed {
			batch = append([]Entry{{At: time.Now(), Type: Gap, Count: int(now - missed), Why: "this place was too slow"}}, batch...)
			missed = now
		}
		a.pass(ctx, batch)
	}
}

// pass tries until the batch is there, or ctx ends. What the other side refuses is lost.
func (a *also) pass(ctx context.Context, batch []Entry) {
	pause := sinkFirst
	for len(batch) > 0 {
		n, err := a.send(ctx, batch)
		a.sent.Add(int64(n))
		batch = batch[n:]
		var refused refusal
		if errors.As(err, &refused) {
			a.lost.Add(1)
			batch = batch[1:]
		}
		a.note(err)
		if err == nil || refused != "" {
			continue
		}
		a.close()
		select {
		case <-ctx.Done():
			a.lost.Add(int64(len(batch)))
			return
		case <-time.After(pause):
			pause = min(2*pause, sinkMost)
		}
	}
}

// note logs when it begins and ends to fail.
func (a *also) note(err error) {
	was := a.words.Load()
	if err == nil {
		if was != nil {
			a.words.Store(nil)
			a.log.Info().Msg("the second place for the book takes entries again")
		}
		return
	}
	text := err.Error()
	a.words.Store(&text)
	if was == nil {
		a.log.Warn().Err(err).Msg("the second place for the book takes no entries; the book is not touched, it is tried again")
	}
}

// refusal is an answer that says that trying again is no use.
type refusal string

func (r refusal) Error() string { return string(r) }

// send passes on entries and says how many are there.
func (a *also) send(ctx context.Context, batch []Entry) (int, error) {
	if a.sink.File != "" {
		return a.append(batch)
	}
	for i := range batch {
		if err := a.post(ctx, &batch[i]); err != nil {
			return i, err
		}
	}
	return len(batch), nil
}

// append writes lines. A file that was moved away is begun anew, as log files are.
func (a *also) append(batch []Entry) (int, error) {
	if a.file != nil {
		now, err := os.Stat(a.sink.File)
		was, err2 := a.file.Stat()
		if err != nil || err2 != nil || !os.SameFile(now, was) {
			a.close()
		}
	}
	if a.file == nil {
		if err := os.MkdirAll(filepath.Dir(a.sink.File), 0o750); err != nil {
			return 0, err
		}
		f, err := os.OpenFile(a.sink.File, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return 0, err
		}
		a.file = f
	}
	var lines bytes.Buffer
	e := json.NewEncoder(&lines)
	for i := range batch {
		if err := e.Encode(&batch[i]); err != nil {
			return 0, refusal(err.Error())
		}
	}
	if _, err := a.file.Write(lines.Bytes()); err != nil {
		return 0, err
	}
	return len(batch), nil
}

func (a *also) close() {
	if a.file != nil {
		_ = a.file.Close() // a write had its own error
		a.file = nil
	}
}

// logEvent is the prologue of an i3 LogEvent (NENA-STA-010.3 §4.12.3.1). What is ours stands in the extension.
type logEvent struct {
	Type      string `json:"logEventType"`
	At        string `json:"timestamp"`
	Agency    string `json:"agencyId"`
	Element   string `json:"elementId"`
	Call      string `json:"callId,omitempty"`
	CallIDSIP string `json:"callIdSip,omitempty"`
	Extension *Entry `json:"extension"`
}

// post sends one event as an unsigned JWS in flattened form, which is what a Logging Service takes.
func (a *also) post(ctx context.Context, e *Entry) error {
	if !strings.HasSuffix(string(e.Type), "LogEvent") {
		return nil // ours: i3 has no name for it
	}
	event := logEvent{
		Type: string(e.Type), At: e.At.Format("2006-01-02T15:04:05.000-07:00"), Agency: a.node, Element: a.node, CallIDSIP: e.CallID, Extension: e,
	}
	if e.Call != "" {
		event.Call = "urn:emergency:uid:callid:" + e.Call + ":" + a.node
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return refusal(err.Error())
	}
	body, err := json.Marshal(map[string]string{
		"protected": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)), "payload": base64.RawURLEncoding.EncodeToString(payload), "signature": "",
	})
	if err != nil {
		return refusal(err.Error())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(a.sink.I3, "/")+"/LogEvents", bytes.NewReader(body))
	if err != nil {
		return refusal(err.Error())
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout:
		return refusal("it refuses: " + resp.Status)
	}
	return fmt.Errorf("it answers %s", resp.Status)
}

func (a *also) health() SinkHealth {
	h := SinkHealth{To: a.sink.name(), Sent: a.sent.Load(), Lost: a.lost.Load() + a.feed.Missed()}
	if w := a.words.Load(); w != nil {
		h.Error = *w
	}
	return h
}
