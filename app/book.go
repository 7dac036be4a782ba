package app

import (
	"context"

	"github.com/rs/zerolog"

	"nines/configs"
	"nines/journal"
)

// bookConfig says where the book is and how long it is kept.
func bookConfig(f *configs.File, log zerolog.Logger) journal.Config {
	return journal.Config{Path: f.Journal.Path, Key: f.Journal.SignKey, Keep: f.Journal.Keep, KeepMessages: f.Journal.KeepMessages, Log: log}
}

// openBook lets the book run. It outlives the rooms, which write in it to their last moment: what it returns closes it.
func (n *Node) openBook(rooms context.Context) (closeBook func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(rooms))
	done := make(chan struct{})
	go func() { // ended by closeBook
		defer close(done)
		n.book.Run(ctx)
	}()
	return func() { cancel(); <-done }
}
