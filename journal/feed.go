package journal

import "sync/atomic"

// A Feed brings what is put into the book, each entry once, in order, whether the disk takes it or not. An entry that the disk had refused has no number.
// Entries are shared: don't change them. Data that is messages may be packed: [Spelt].
type Feed struct {
	C      <-chan []Entry // closed by Close, and when the book ends
	c      chan []Entry
	book   *Book
	missed atomic.Int64
}

// Subscribe makes a feed that holds up to n batches for a reader that is behind. What comes when it is full is missed and counted: read the book again then.
func (b *Book) Subscribe(n int) *Feed {
	c := make(chan []Entry, n)
	f := &Feed{C: c, c: c, book: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		close(c)
		return f
	}
	b.feeds[f] = true
	return f
}

// Close ends the feed.
func (f *Feed) Close() {
	f.book.mu.Lock()
	defer f.book.mu.Unlock()
	if f.book.feeds[f] {
		delete(f.book.feeds, f)
		close(f.c)
	}
}

// Missed is how many entries the reader was too slow for.
func (f *Feed) Missed() int64 { return f.missed.Load() }

// tell gives entries to the feeds when they are tried for the first time.
func (b *Book) tell(entries []Entry, err error) {
	if b.retried {
		return
	}
	b.retried = err != nil
	b.mu.Lock()
	defer b.mu.Unlock()
	for f := range b.feeds {
		select {
		case f.c <- entries:
		default:
			f.missed.Add(int64(len(entries)))
		}
	}
}
