package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"nines/configs"
	"nines/console"
	"nines/journal"
)

// maxOutcome is how many letters may say what came of ringing somebody back.
const maxOutcome = 500

// CallBackList implements console.CallBackKeeper.
func (n *Node) CallBackList(_ context.Context, all bool, mask journal.Mask) (console.CallBackList, error) {
	maskCleared := n.config().CallBacks.Mask == configs.MaskCleared
	d := n.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	l := console.CallBackList{Open: d.list.Open(), Lines: d.list.Lines(all), Trouble: d.trouble, NotKept: d.file.lost()}
	if d.behind {
		l.Trouble = "the book is still being read: the list may lack what happened just before the restart"
	}
	for i := range l.Lines {
		m := mask
		if maskCleared && l.Lines[i].Cleared != nil {
			m = min(m, journal.LastThree)
		}
		hide(&l.Lines[i], m)
	}
	return l, nil
}

// hide masks what a reader of the list may not see. Who a caller without a number said to be may have a number in it.
func hide(b *journal.CallBack, m journal.Mask) {
	if m == journal.Full {
		return
	}
	b.Number = m.Number(b.Number)
	b.From, b.Asserted = "", ""
	for i := range b.Missed {
		b.Missed[i].Called = m.Number(b.Missed[i].Called)
	}
}

// CallBackDone implements console.CallBackKeeper: a person takes a line off the list. It is in the book, and on the disk, when this returns without NotKept.
func (n *Node) CallBackDone(ctx context.Context, done console.CallBackDone) (console.CallBackResult, error) {
	if strings.TrimSpace(done.Who) == "" {
		return console.CallBackResult{}, console.Mistake("who? Say a number of the list, or the name of a line")
	}
	if err := errors.Join(CheckOwner(done.By), plain("outcome", "spoke to caller", done.Outcome, maxOutcome)); err != nil {
		return console.CallBackResult{}, console.Mistake(err.Error())
	}
	ctx, cancel := acting(ctx)
	defer cancel()
	n.desk.mu.Lock()
	line, ok := n.desk.list.Find(strings.TrimSpace(done.Who))
	n.desk.mu.Unlock()
	if !ok {
		return console.CallBackResult{}, fmt.Errorf("%w: nobody on the call-back list is %q: nines callbacks says who is", console.ErrNotFound, done.Who)
	}
	at := time.Now()
	if last := line.Missed[len(line.Missed)-1].Ended; last.After(at) {
		at = last // the clock was set back since; an act is never before what it is about
	}
	e := journal.Entry{
		At: at, Type: journal.OperatorAct, What: "callback", By: done.By, Why: done.Outcome, Call: line.ID, Caller: line.Number,
	}
	n.desk.fold(e)
	booked := n.acted(ctx, e)
	written := n.desk.file.write(ctx)
	result := console.CallBackResult{Line: line}
	n.desk.mu.Lock()
	result.Open = n.desk.list.Open()
	n.desk.mu.Unlock()
	result.Line.Cleared = &journal.CallBackDone{At: e.At, By: done.By, Outcome: done.Outcome}
	if booked != nil && written != nil {
		result.NotKept = booked.Error()
	}
	kept(n.log.Info(), result.NotKept).Str("by", done.By).Str("line", line.ID).Msg("an operator takes a caller off the call-back list")
	return result, nil
}

// config is the file that runs.
func (n *Node) config() *configs.File {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.file
}
