package notify

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"
)

// Heartbeat asks for a URL again and again for as long as this node takes calls. Who watches it alarms when it falls silent: that is the one notice
// that a dead machine can still give.
type Heartbeat struct {
	Name  string // for logs; no secret
	URL   string
	Every time.Duration
	TLS   *tls.Config // nil: the system's certificates
}

const mostBeat = 10 * time.Second

// beat beats until ctx ends.
func (d *Desk) beat(ctx context.Context, b Heartbeat) {
	client := newClient(b.TLS)
	tick := time.NewTicker(b.Every)
	defer tick.Stop()
	state := What("")
	for {
		now, err := d.once(ctx, client, b)
		if ctx.Err() != nil {
			return
		}
		d.countBeat(now)
		if now != state && (now != BeatBack || state != "") {
			d.tell(Event{At: time.Now(), What: now, Receiver: b.Name, Err: err})
		}
		state = now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// once beats once, if this node takes calls.
func (d *Desk) once(ctx context.Context, client *http.Client, b Heartbeat) (What, error) {
	ctx, cancel := context.WithTimeout(ctx, min(b.Every, mostBeat))
	defer cancel()
	if d.cfg.Alive != nil {
		if err := d.cfg.Alive(ctx); err != nil {
			return BeatSilent, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL, nil)
	if err != nil {
		return BeatFailed, bare(err)
	}
	req.Header.Set("User-Agent", d.cfg.Agent)
	if err := answer(client.Do(req)); err != nil {
		return BeatFailed, err
	}
	return BeatBack, nil
}

func (d *Desk) countBeat(w What) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.beaten[map[What]string{BeatBack: "sent", BeatFailed: "failed", BeatSilent: "silent"}[w]]++
}
