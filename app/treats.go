package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"nines/configs"
	"nines/console"
	"nines/journal"
	"nines/policy"
	"nines/sip"
)

// treatsName is the file in the state folder that holds which routine routes are treated as emergency.
const treatsName = "treats.state"

// treats keeps those orders in a file. Its goroutine alone writes the file; who acts asks it to and waits.
type treats struct {
	path string
	sip  *sip.Server
	log  zerolog.Logger
	file *scribe

	written []sip.Treat // what the file says; the goroutine's own
	at      time.Time   // when it was written, by the monotonic clock
	wall    time.Time   // and by the one on the wall
}

func newTreats(path string, s *sip.Server, log zerolog.Logger) *treats {
	t := &treats{path: path, sip: s, log: log}
	t.file = newScribe(t.say)
	return t
}

// restore takes what the run before has left. A file that cannot be understood is moved aside.
func (t *treats) restore() {
	all, err := readTreats(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		where, _ := setAside(t.path)
		t.log.Error().Err(err).Str("aside", where).Msg("which routes were treated as emergency could not be read: all are as the file says; order again what must be")
		return
	}
	fromNow(time.Now(), all)
	for i := range all {
		x := &all[i]
		t.log.Info().Str("route", string(x.Route)).Str("by", x.By).Str("reason", x.Why).Time("until", x.Until).Msg("a route is treated as emergency since before the restart")
	}
	t.sip.RestoreTreats(all)
}

// fromNow puts orders on the monotonic clock (R45), and never for longer than the operator said: the clock on the wall may have been put back meanwhile.
func fromNow(now time.Time, all []sip.Treat) {
	for i := range all {
		x := &all[i]
		whole := x.Until.Sub(x.From)
		x.Until = now.Add(min(x.Until.Sub(now.Round(0)), whole))
		x.From = x.Until.Add(-whole)
	}
}

// readTreats reads a file of orders.
func readTreats(path string) ([]sip.Treat, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMemory+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxMemory {
		return nil, fmt.Errorf("read %s: it is longer than %d bytes", path, maxMemory)
	}
	var all []sip.Treat
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	for i := range all {
		x := &all[i]
		if x.Route == "" || x.By == "" || x.Why == "" || !x.Until.After(x.From) || x.Until.Sub(x.From) > maxHold {
			return nil, fmt.Errorf("read %s: order %d, of route %q, is none that an operator could have given", path, i+1, x.Route)
		}
	}
	return all, nil
}

// run writes the file whenever what it should say has changed, until ctx ends.
func (t *treats) run(ctx context.Context) {
	t.written, t.at, t.wall = t.sip.Treats(), time.Now(), time.Now().Round(0)
	t.file.serve(ctx, always, t.keep)
}

// keep writes the file if it says something else than what stands, or if the clock on the wall was set.
func (t *treats) keep() error {
	all := t.sip.Treats()
	now := time.Now()
	wall := now.Round(0)
	jump := wall.Sub(t.wall) - now.Sub(t.at)
	if slices.Equal(all, t.written) && (len(all) == 0 || jump.Abs() < wallShift) && t.file.lost() == "" {
		return nil
	}
	onWall := slices.Clone(all)
	for i := range onWall {
		onWall[i].From, onWall[i].Until = wall.Add(all[i].From.Sub(now)), wall.Add(all[i].Until.Sub(now))
	}
	b, err := json.MarshalIndent(onWall, "", "\t")
	if err == nil {
		err = replaceFile(t.path, append(b, '\n'), 0o640)
	}
	if err == nil {
		t.written, t.at, t.wall = all, now, wall
	}
	return t.file.note(err)
}

func (t *treats) say(err error) {
	if err != nil {
		t.log.Error().Err(err).Msg("which routes are treated as emergency could not be written down: a restart goes back to before; it is tried again")
		return
	}
	t.log.Info().Msg("which routes are treated as emergency is written down again")
}

// TreatLength says how long an order is to stand, or what is wrong with it: the words are for who asked.
func TreatLength(req console.TreatRequest) (time.Duration, error) {
	return HoldLength(console.HoldRequest{For: req.For, Why: req.Why, By: req.By})
}

// Treat implements console.Node: an operator has a routine route treated as emergency (R1).
func (n *Node) Treat(ctx context.Context, req console.TreatRequest) (console.TreatResult, error) {
	length, err := TreatLength(req)
	if err != nil {
		return console.TreatResult{}, err
	}
	ctx, cancel := acting(ctx)
	defer cancel()
	name, err := n.routineRoute(req.Route)
	if err != nil {
		return console.TreatResult{}, err
	}
	now := time.Now()
	order := sip.Treat{Route: name, By: req.By, Why: req.Why, From: now, Until: now.Add(length)}
	was, err := n.sip.Treat(order)
	if err != nil {
		return console.TreatResult{}, err
	}
	result := console.TreatResult{Treat: treatStatus(order)}
	if was != nil && now.Before(was.Until) {
		old := treatStatus(*was)
		result.Replaced = &old
	}
	if err := n.treats.file.write(ctx); err != nil {
		result.NotKept = err.Error()
	}
	_ = n.acted(ctx, journal.Entry{Type: journal.OperatorAct, What: "treat", Route: string(name), By: req.By, Why: req.Why, Took: length}) // acted says it
	kept(n.log.Info(), result.NotKept).Str("route", string(name)).Str("by", req.By).Str("reason", req.Why).Time("until", order.Until).
		Msg("an operator has a routine route treated as emergency")
	return result, nil
}

// Untreat implements console.Node: an operator has it treated as routine again.
func (n *Node) Untreat(ctx context.Context, route, by string) (console.UntreatResult, error) {
	if err := CheckOwner(by); err != nil {
		return console.UntreatResult{}, err
	}
	ctx, cancel := acting(ctx)
	defer cancel()
	order, err := n.sip.Untreat(policy.RouteName(route))
	if err != nil {
		return console.UntreatResult{}, fmt.Errorf("%w: %s is not treated as emergency", console.ErrNotFound, route)
	}
	result := console.UntreatResult{Treat: treatStatus(order)}
	if err := n.treats.file.write(ctx); err != nil {
		result.NotKept = err.Error()
	}
	_ = n.acted(ctx, journal.Entry{Type: journal.OperatorAct, What: "untreat", Route: string(order.Route), By: by}) // acted says it
	kept(n.log.Info(), result.NotKept).Str("route", string(order.Route)).Str("by", by).Str("ordered_by", order.By).Str("reason", order.Why).
		Msg("an operator has a route treated as routine again")
	return result, nil
}

// Treats implements console.Node.
func (n *Node) Treats(context.Context) (console.TreatList, error) {
	return console.TreatList{Treats: n.treatStatuses(), NotKept: n.treats.file.lost()}, nil
}

func (n *Node) treatStatuses() []console.TreatStatus {
	list := []console.TreatStatus{}
	for _, t := range n.sip.Treats() {
		list = append(list, treatStatus(t))
	}
	return list
}

func treatStatus(t sip.Treat) console.TreatStatus {
	return console.TreatStatus{
		Route: string(t.Route), By: t.By, Why: t.Why, From: t.From, Until: t.Until, LeftSeconds: int64((max(0, time.Until(t.Until)) + time.Second - 1) / time.Second),
	}
}

// routineRoute finds the routine route that is meant, or says what was probably meant.
func (n *Node) routineRoute(name string) (policy.RouteName, error) {
	found, err := n.sip.RoutineRoute(name)
	if err == nil {
		return found, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var known []string
	for _, r := range n.file.Routes {
		if r.Class == configs.Routine {
			known = append(known, r.Name)
		}
		if r.Name == name {
			return "", console.Mistake(fmt.Sprintf("%s is %s, not routine: only a routine route can be treated as emergency", name, r.Class))
		}
	}
	return "", fmt.Errorf("%w: no routine route has the name or number %q; %s", console.ErrNotFound, name, configs.DidYouMean(name, known, "routine routes"))
}
