package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
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
	sink   Sink
	feed   *Feed
	log    zerolog.Logger
	http   *http.Client
	file   *os.File
	i3     *i3
	events []logEvent // of the entry that is sent; nil: none
	bare   bool       // without our extension
	sent   atomic.Int64
	lost   atomic.Int64
	words  atomic.Pointer[string] // what is wrong
}

// SinkHealth is how a second place is.
type SinkHealth struct {
	To    string `json:"to"`
	Sent  int64  `json:"sent"` // entries since the start
	Lost  int64  `json:"lost"` // for which it was too slow, or that it refused
	Error string `json:"error,omitempty"`
}

func (b *Book) newAlso(s Sink) *also {
	return &also{sink: s, i3: newI3(b.cfg.Node), feed: b.Subscribe(sinkBatches), log: b.log.With().Str("to", s.name()).Logger(), http: &http.Client{Timeout: sinkTimeout}}
}

func (s Sink) name() string {
	if s.File != "" {
		return s.File
	}
	u, err := url.Parse(s.I3)
	if err != nil {
		return "an i3 Logging Service"
	}
	return u.Scheme + "://" + u.Host + u.Path // without a password and a key: it is seen in the log and the status
}

// run passes on what comes until the feed ends. Then there is only as much time as ctx leaves.
func (a *also) run(ctx context.Context) {
	defer a.close()
	missed := int64(0)
	for batch := range a.feed.C {
		batch = spelt(batch)
		if now := a.feed.Missed(); now > missed {
			batch = append([]Entry{{At: time.Now(), Type: Gap, Count: int(now - missed), Why: "this place was too slow"}}, batch...)
			missed = now
		}
		a.pass(ctx, batch)
	}
}

// spelt gives entries whose Data is JSON. They are shared with others, who find them as they were.
func spelt(batch []Entry) []Entry {
	batch = slices.Clone(batch)
	for i := range batch {
		batch[i].Data = Spelt(batch[i].Data)
	}
	return batch
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
		if err := a.tell(ctx, &batch[i]); err != nil {
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

// tell sends what i3 knows of an entry. What has arrived of one that is tried again is not sent twice.
func (a *also) tell(ctx context.Context, e *Entry) error {
	if a.events == nil {
		a.events = a.i3.events(e)
	}
	for len(a.events) > 0 {
		ev := a.events[0]
		if a.bare {
			ev.Extension = nil
		}
		err := a.post(ctx, &ev)
		if errors.Is(err, errExtension) && !a.bare {
			a.bare = true // this service wants no more than i3 says
			continue
		}
		if err != nil {
			var refused refusal
			if errors.As(err, &refused) || errors.Is(err, errExtension) {
				a.events = nil
			}
			return err
		}
		a.events = a.events[1:]
	}
	a.events = nil
	return nil
}

// errExtension is the answer of a service that takes no extensions but its own: 462 and 463.
var errExtension = fmt.Errorf("it takes no such extension: %w", refusal("462"))

// post sends one event.
func (a *also) post(ctx context.Context, ev *logEvent) error {
	body, err := unsigned(ev)
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
		var with *url.Error
		if errors.As(err, &with) {
			err = with.Err // the address may hold a key
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode == 462, resp.StatusCode == 463:
		return errExtension
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
