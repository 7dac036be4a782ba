package app

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"nines/configs"
	"nines/journal"
)

// bookConfig says where the book is and how long it is kept.
func bookConfig(f *configs.File, log zerolog.Logger) journal.Config {
	c := journal.Config{
		Path: f.Journal.Path, Key: f.Journal.SignKey, Keep: f.Journal.Keep, KeepMessages: f.Journal.KeepMessages, MaxBytes: f.Journal.KeepSize, Node: f.Name, Thread: stepBehind, Log: log,
	}
	for _, a := range f.Journal.Also {
		c.Also = append(c.Also, journal.Sink{File: a.File, I3: a.I3})
	}
	return c
}

// openRecords gives the recorder its book and the call-back list of before.
func (n *Node) openRecords() {
	n.desk = newCallBackDesk(filepath.Join(n.file.State, callBackName), n.file.CallBacks.Keep, n.log)
	n.desk.restore(time.Now())
	n.tally.records.book, n.tally.records.desk = n.book, n.desk
	n.tally.records.configure(n.file)
	n.tally.records.off = n.opt.NoBook
}

// openBook lets the book, the call-back list and the recorder run. They outlive the rooms, which tell to their last moment: what it returns closes them,
// who tells before who writes down.
func (n *Node) openBook(rooms context.Context) (closeBook func()) {
	if n.opt.NoBook {
		return func() {}
	}
	before := n.hasBook() == nil // looked at before the book makes its file
	runs := []func(context.Context){n.tally.records.run, n.tally.records.copies.Run, n.desk.run, n.book.Run}
	var stops []func()
	for _, run := range runs {
		ctx, cancel := context.WithCancel(context.WithoutCancel(rooms))
		var wg sync.WaitGroup
		wg.Go(func() { run(ctx) }) // ended by closeBook
		stops = append(stops, func() { cancel(); wg.Wait() })
	}
	var caughtUp sync.WaitGroup
	caughtUp.Go(func() { n.catchUp(rooms, before) }) // ends when the book is read, or with the rooms
	caughtUp.Go(func() { n.followIncidents(rooms) }) // ends with the rooms
	return func() {
		caughtUp.Wait()
		n.tally.records.say(journal.Entry{Type: journal.ElementStateChange, What: "stopped"})
		for _, stop := range stops {
			stop()
		}
	}
}

// acted puts an operator's act into the book. The error says why it is not on the disk: then it waits for that, and whoever acted is told. A book that is
// known to be in trouble is not waited for.
func (n *Node) acted(ctx context.Context, e journal.Entry) error {
	if n.opt.NoBook {
		return nil
	}
	if trouble := n.book.Health().Error; trouble != "" {
		n.book.Append(e)
		return errors.New(trouble)
	}
	err := n.book.Commit(ctx, e)
	if err != nil {
		n.log.Warn().Err(err).Str("act", e.What).Str("by", e.By).Msg("an operator's act is done, but it is not in the book yet")
	}
	return err
}

// catchUp has the call-back list read what the book has of the run before, if there was one.
func (n *Node) catchUp(ctx context.Context, before bool) {
	ctx, cancel := context.WithTimeout(ctx, catchUpLimit)
	defer cancel()
	read := func(since time.Time, each func(journal.Entry)) error {
		if !before {
			return nil // the first start; the file that is there now may be half made
		}
		q := journal.Query{Since: since, Until: n.since, Mask: journal.Full, Types: callBackTypes}
		for e, err := range n.book.Read(ctx, q) {
			if err != nil {
				return err
			}
			each(e)
		}
		return nil
	}
	for _, e := range n.desk.catchUp(read, n.tally.records.calls.lives) {
		n.book.Append(e)
	}
}
