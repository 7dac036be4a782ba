package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"nines/configs"
	"nines/console"
	"nines/health"
	"nines/journal"
	"nines/policy"
)

const (
	minHold = time.Second
	maxHold = 7 * 24 * time.Hour
	maxWhy  = 200 // letters
	maxBy   = 64
	actTime = 5 * time.Second // how long an act waits for loop 0
)

// HoldLength says how long a hold is to last, or what is wrong with it: the words are for who asked.
func HoldLength(req console.HoldRequest) (time.Duration, error) {
	d, err := configs.Duration(req.For)
	switch {
	case req.For == "":
		return 0, console.Mistake("for how long? Say 30m, 2h or 1d, at most 7d")
	case err != nil:
		return 0, console.Mistake(fmt.Sprintf("for %q %v: say 30m, 2h or 1d, at most 7d", req.For, err))
	case d < minHold:
		return 0, console.Mistake(fmt.Sprintf("for %q is too short: at least 1s", req.For))
	case d > maxHold:
		return 0, console.Mistake(fmt.Sprintf("for %q is too long: at most 7d; whoever needs more says it again before it ends", req.For))
	}
	if err := plain("why", "power work", req.Why, maxWhy); err != nil {
		return 0, err
	}
	return d, CheckOwner(req.By)
}

// CheckOwner says what is wrong with the name of who acts.
func CheckOwner(by string) error { return plain("by", "alice", by, maxBy) }

// plain checks a text that operators will read in logs and tables.
func plain(what, example, text string, most int) error {
	switch {
	case strings.TrimSpace(text) == "":
		return console.Mistake(fmt.Sprintf("%s? Say it, for instance %q", what, example))
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return console.Mistake(what + " must be plain text on one line")
	case utf8.RuneCountInString(text) > most:
		return console.Mistake(fmt.Sprintf("%s has more than %d letters", what, most))
	}
	return nil
}

// Hold implements console.Node: an operator holds an endpoint (R18). When it returns without an error the hold is in force, and on the disk unless
// NotKept says why it is not.
func (n *Node) Hold(ctx context.Context, req console.HoldRequest) (console.HoldResult, error) {
	length, err := HoldLength(req)
	if err != nil {
		return console.HoldResult{}, err
	}
	ctx, cancel := acting(ctx)
	defer cancel()
	name := policy.EndpointName(req.Endpoint)
	before, err := n.held(ctx, name)
	if err != nil {
		return console.HoldResult{}, err
	}
	err = n.sip.Hold(ctx, name, health.Hold{By: req.By, Why: req.Why, Until: time.Now().Add(length)})
	if err != nil {
		return console.HoldResult{}, n.explainUnknown(req.Endpoint, err)
	}
	after, err := n.held(ctx, name)
	switch {
	case err != nil:
		return console.HoldResult{}, err
	case after == nil:
		return console.HoldResult{}, fmt.Errorf("hold %s: it was held, and somebody released it in the same moment", name)
	}
	result := console.HoldResult{Hold: *after, Replaced: before}
	if err := n.memory.file.write(ctx); err != nil {
		result.NotKept = err.Error()
	}
	_ = n.acted(ctx, journal.Entry{Type: journal.OperatorAct, What: "hold", Endpoint: req.Endpoint, By: req.By, Why: req.Why, Took: length}) // acted says it
	kept(n.log.Info(), result.NotKept).Str("endpoint", req.Endpoint).Str("by", req.By).Str("reason", req.Why).Time("until", after.Until).Msg("an operator holds an endpoint")
	return result, nil
}

// Release implements console.Node: an operator ends an endpoint's hold, or lets it off its way back (R17).
func (n *Node) Release(ctx context.Context, endpoint, by string) (console.ReleaseResult, error) {
	if err := CheckOwner(by); err != nil {
		return console.ReleaseResult{}, err
	}
	ctx, cancel := acting(ctx)
	defer cancel()
	name := policy.EndpointName(endpoint)
	before, err := n.held(ctx, name)
	if err != nil {
		return console.ReleaseResult{}, err
	}
	if err := n.sip.Release(ctx, name, by); err != nil {
		return console.ReleaseResult{}, n.explainUnknown(endpoint, err)
	}
	result := console.ReleaseResult{Endpoint: endpoint, Hold: before}
	if err := n.memory.file.write(ctx); err != nil {
		result.NotKept = err.Error()
	}
	_ = n.acted(ctx, journal.Entry{Type: journal.OperatorAct, What: "release", Endpoint: endpoint, By: by}) // acted says it
	log := kept(n.log.Info(), result.NotKept).Str("endpoint", endpoint).Str("by", by)
	if before != nil {
		log = log.Str("held_by", before.By).Str("reason", before.Why).Time("until", before.Until)
	}
	log.Msg("an operator releases an endpoint")
	if all, err := n.sip.Explain(ctx); err == nil {
		for _, e := range all {
			if e.Endpoint == name {
				result.Explanation = e.Words()
			}
		}
	}
	return result, nil
}

// Holds implements console.Node.
func (n *Node) Holds(ctx context.Context) (console.HoldList, error) {
	ctx, cancel := acting(ctx)
	defer cancel()
	all, err := n.sip.Holds(ctx)
	if err != nil {
		return console.HoldList{}, err
	}
	list := console.HoldList{Holds: []console.HoldStatus{}, NotKept: n.memory.file.lost()}
	for _, h := range all {
		list.Holds = append(list.Holds, holdStatus(h))
	}
	return list, nil
}

// kept adds why an act would not survive a restart, if there is a reason.
func kept(e *zerolog.Event, not string) *zerolog.Event {
	if not != "" {
		e = e.Str("not_kept", not)
	}
	return e
}

// acting is the time that an act has. It goes on when who asked has gone: an act is done whole or not at all.
func acting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), actTime)
}

// held is an endpoint's hold, nil when it has none.
func (n *Node) held(ctx context.Context, name policy.EndpointName) (*console.HoldStatus, error) {
	all, err := n.sip.Holds(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range all {
		if h.Endpoint == name {
			s := holdStatus(h)
			return &s, nil
		}
	}
	return nil, nil //nolint:nilnil // no hold is no error
}

func holdStatus(h health.Hold) console.HoldStatus {
	return console.HoldStatus{
		Endpoint: string(h.Endpoint), By: h.By, Why: h.Why, From: h.From, Until: h.Until, LeftSeconds: int64((max(0, time.Until(h.Until)) + time.Second - 1) / time.Second),
	}
}

// explainUnknown says what was probably meant by an endpoint that does not exist.
func (n *Node) explainUnknown(name string, err error) error {
	if !errors.Is(err, health.ErrNoEndpoint) {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	known := make([]string, len(n.file.Endpoints))
	for i, e := range n.file.Endpoints {
		known[i] = e.Name
	}
	return unknownEndpoint{fmt.Sprintf("no endpoint is called %q; %s", name, configs.DidYouMean(name, known, "endpoints"))}
}

// unknownEndpoint is health.ErrNoEndpoint in better words.
type unknownEndpoint struct{ words string }

func (e unknownEndpoint) Error() string { return e.words }
func (unknownEndpoint) Unwrap() error   { return health.ErrNoEndpoint }
