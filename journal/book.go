package journal

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Config says where the book is and how long it is kept.
type Config struct {
	Path         string        // the SQLite file
	Key          string        // the file of the Ed25519 key that signs it; made when missing, empty: not signed
	Keep         time.Duration // entries older than that are forgotten; 0: never
	KeepMessages time.Duration // the text of messages older than that is forgotten; 0: as Keep
	MaxBytes     int64         // when the book takes more of the disk the oldest entries are forgotten; 0: no limit
	Node         string        // this node's name, for other places
	Also         []Sink        // other places where entries go
	Thread       func()        // called first on the goroutine that writes; nil: nothing
	Log          zerolog.Logger

	// What a test replaces. Zero values mean the usual.
	Queue int           // how many entries wait for the disk before they are lost
	Every time.Duration // how long an entry waits for others to be written with
}

const (
	queueMost  = 50_000   // entries
	queueBytes = 64 << 20 // of Data, in those entries
	actsMost   = 1000     // operators' acts that may wait besides
	writeEvery = 500 * time.Millisecond
	writeMost  = 1000 // entries that are written at once without waiting any longer
	retryFirst = 250 * time.Millisecond
	retryMost  = 10 * time.Second
	slowWrite  = 2 * time.Second // a disk that takes longer is worth a word
	closeWait  = 5 * time.Second // how long an end waits for the disk
	otherWait  = time.Second     // and for other places
	headEvery  = 24 * time.Hour
	tidyEvery  = time.Minute
	tidyUrgent = 20 * time.Millisecond // while there is more to tidy
)

// ErrClosed says that the book takes no more entries.
var ErrClosed = errors.New("the book is closed")

// Book is the journal. Make one with [New], run it with [Book.Run], and tell it with [Book.Append] and [Book.Commit] from any goroutine, before Run too.
//
// Run's goroutine alone writes the file. Whatever happens to the disk, who appends never waits and never hears of it: entries wait in memory, and when too
// many wait the next are lost and counted. When there is room again an entry of type [Gap] says how many.
type Book struct {
	cfg Config
	log zerolog.Logger

	some chan struct{} // something waits
	now  chan struct{} // and should be written at once

	mu     sync.Mutex // guards what follows
	queue  []item
	spare  []item // the other buffer, emptied
	data   int    // bytes of Data in the queue
	inHand int    // entries that were taken and are not written yet
	weight int    // bytes of their Data
	oldest time.Time
	acts   int // of the queue
	lost   int // since the last gap was written
	closed bool
	feeds  map[*Feed]bool
	others []*also

	state state // what Health tells

	// The writing goroutine's own.
	store    *store
	key      ed25519.PrivateKey
	opened   bool // the file was open once in this run
	failed   int  // attempts in a row
	lastTidy time.Time
	retried  bool     // what is in hand was told to the feeds already
	trouble  string   // what was wrong with the disk since the queue was emptied last
	head     struct { // where the chain ends if the last attempt was written after all
		seq  int64
		hash hash
	}
	works chan work
}

// item is an entry that waits; done is nil unless somebody waits for it.
type item struct {
	entry Entry
	done  chan<- error
}

// work is something else that the writing goroutine is to do with the file.
type work struct {
	do   func(*store) error
	done chan<- error
}

// New makes a book. The file is opened by Run.
func New(cfg Config) *Book {
	if cfg.Queue == 0 {
		cfg.Queue = queueMost
	}
	if cfg.Every == 0 {
		cfg.Every = writeEvery
	}
	b := &Book{
		cfg: cfg, log: cfg.Log, some: make(chan struct{}, 1), now: make(chan struct{}, 1), feeds: map[*Feed]bool{}, works: make(chan work),
	}
	b.state.path = cfg.Path
	for _, s := range cfg.Also {
		b.others = append(b.others, b.newAlso(s))
	}
	return b
}

// Append puts an entry into the book. It returns at once whatever the disk does; an entry for which there is no room is counted and lost. Without a time
// it gets the present one. Data is JSON, or messages as [AppendMessage] packs them; what it points to must not change afterwards.
func (b *Book) Append(e Entry) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	b.mu.Lock()
	if b.closed || len(b.queue)-b.acts+b.inHand >= b.cfg.Queue || b.data+b.weight+len(e.Data) > queueBytes {
		b.lost++
		b.mu.Unlock()
		b.state.lost.Add(1)
		return
	}
	b.queue = append(b.queue, item{entry: e})
	b.data += len(e.Data)
	n := len(b.queue)
	b.mu.Unlock()
	if n == 1 {
		poke(b.some)
	}
	if n == writeMost || urgent(e.Type) {
		poke(b.now)
	}
}

// urgent says that somebody may be looking at a page for that entry now; it comes there when it is written.
func urgent(t Type) bool {
	return t == ServiceStateChange || t == ElementStateChange || t == ModeSwitch || t == PolicyChange
}

// Commit puts an entry into the book and waits until it is on the disk, where a power cut leaves it. An error says that it is not there yet: after ctx ends it
// still waits for the disk, and is written when that is possible.
func (b *Book) Commit(ctx context.Context, e Entry) error {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	done := make(chan error, 1)
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		return ErrClosed
	case b.acts >= actsMost:
		b.lost++
		b.mu.Unlock()
		b.state.lost.Add(1)
		return fmt.Errorf("%d others wait for the disk: %w", actsMost, b.why(context.DeadlineExceeded))
	}
	b.queue = append(b.queue, item{entry: e, done: done})
	b.data += len(e.Data)
	b.acts++
	b.mu.Unlock()
	poke(b.some)
	poke(b.now)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return b.why(ctx.Err())
	}
}

// why says what is wrong with the disk, if that is known, instead of that the time was over.
func (b *Book) why(err error) error {
	if trouble := b.Health().Error; trouble != "" {
		return errors.New(trouble)
	}
	return fmt.Errorf("the disk has not answered: %w", err)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends, then writes what waits and closes the file. A disk that hangs keeps it no longer than some seconds.
func (b *Book) Run(ctx context.Context) {
	passing, enough := context.WithCancel(context.WithoutCancel(ctx))
	defer enough()
	var others sync.WaitGroup
	for _, a := range b.others {
		others.Go(func() { a.run(passing) }) // ends when its feed is closed, or with passing
	}
	done := make(chan struct{})
	go func() { // ends with ctx, or when a disk that hangs lets go
		defer close(done)
		b.write(ctx)
	}()
	<-ctx.Done()
	late := time.NewTimer(closeWait)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		b.log.Error().Int("entries", b.Health().Waiting).Msg("the book's disk does not answer: ending without what waits")
	}
	b.shut()
	time.AfterFunc(otherWait, enough)
	others.Wait()
}

// shut takes no more entries and lets go who waits.
func (b *Book) shut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, it := range b.queue {
		if it.done != nil {
			it.done <- ErrClosed
		}
	}
	b.queue = nil
	for f := range b.feeds {
		close(f.c)
		delete(b.feeds, f)
	}
}

// write is the writing goroutine.
func (b *Book) write(ctx context.Context) {
	if b.cfg.Thread != nil {
		b.cfg.Thread()
	}
	b.loadKey()
	b.lastTidy = time.Now() // not in the first minute, when there is enough to do
	b.reopen()
	for ctx.Err() == nil {
		b.wait(ctx)
		b.writeAll(ctx)
		b.tidy()
	}
	b.writeAll(ctx)
	if b.store != nil {
		b.finish()
	}
}

// loadKey reads or makes the key. Without one the book is kept all the same, unsigned.
func (b *Book) loadKey() {
	if b.cfg.Key == "" {
		return
	}
	key, err := readKey(b.cfg.Key)
	if err != nil {
		b.log.Error().Err(err).Msg("the book's key cannot be used: the book is kept, and not signed")
		b.state.unsigned.Store(true)
		return
	}
	b.key = key
	b.state.unsigned.Store(false)
}

// wait sleeps until something should be written, a failed attempt may be repeated, or there is something to tidy.
func (b *Book) wait(ctx context.Context) {
	pause := tidyEvery
	if b.state.tidying.Load() {
		pause = tidyUrgent
	}
	if b.failed > 0 {
		pause = min(retryFirst<<min(b.failed-1, 10), retryMost)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	if b.failed > 0 {
		select {
		case <-timer.C:
		case w := <-b.works:
			w.done <- errors.New(b.Health().Error)
		case <-ctx.Done():
		}
		return
	}
	select {
	case <-b.some:
	case <-b.now:
		return
	case w := <-b.works:
		b.work(w)
		return
	case <-timer.C:
		return
	case <-ctx.Done():
		return
	}
	gather := time.NewTimer(b.cfg.Every)
	defer gather.Stop()
	select {
	case <-b.now:
	case <-gather.C:
	case <-ctx.Done():
	}
}

// take takes what waits, as much as is written at once.
func (b *Book) take() (batch []item, lost int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch, b.queue, b.spare = b.queue, b.spare[:0], nil
	b.inHand, b.weight, b.acts, b.data = len(batch), b.data, 0, 0
	if len(batch) > 0 {
		b.oldest = batch[0].entry.At
	}
	lost, b.lost = b.lost, 0
	return batch, lost
}

// writeAll writes until nothing waits or the disk fails. What is in hand is kept until it is written.
func (b *Book) writeAll(ctx context.Context) {
	for {
		batch, lost := b.take()
		if lost > 0 {
			batch = append(batch, item{entry: b.gap(lost)})
		}
		if b.failed == 0 {
			b.trouble = ""
		}
		if len(batch) == 0 {
			if b.store == nil || b.store.inPlace() != nil {
				b.reopen()
			}
			b.putBack(nil)
			return
		}
		for !b.writeBatch(batch) {
			if ctx.Err() != nil {
				b.putBack(nil)
				return
			}
			b.wait(ctx)
		}
		more := len(batch) >= writeMost
		b.putBack(batch)
		if !more {
			return
		}
	}
}

// putBack gives a buffer back for reuse.
func (b *Book) putBack(batch []item) {
	clear(batch)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inHand, b.weight = 0, 0
	if cap(batch) <= 4*writeMost { // a great one was for a bad time
		b.spare = batch[:0]
	}
}

// gap is the entry that says that others are missing.
func (b *Book) gap(lost int) Entry {
	why := "too many came at once"
	if b.trouble != "" { // it may be over: what was lost meanwhile was lost to it
		why = b.trouble
	}
	return Entry{At: time.Now(), Type: Gap, Count: lost, Why: why}
}

// writeBatch tries to write entries and reports whether they are on the disk.
func (b *Book) writeBatch(batch []item) bool {
	entries := make([]Entry, len(batch))
	for i, it := range batch {
		entries[i] = it.entry
	}
	began := time.Now()
	err := b.attempt(entries)
	took := time.Since(began)
	b.tell(entries, err)
	if err != nil {
		b.fail(err)
		return false
	}
	b.wrote(entries, took)
	for _, it := range batch {
		if it.done != nil {
			it.done <- nil
		}
	}
	return true
}

func (b *Book) attempt(entries []Entry) error {
	if b.store == nil {
		if err := b.open(); err != nil {
			return err
		}
		if b.head.seq > 0 && b.store.chain.seq == b.head.seq && b.store.chain.head == b.head.hash {
			for i := range entries { // the attempt before had been written after all, though it said otherwise
				entries[i].Seq = b.head.seq - int64(len(entries)-1-i)
			}
			return nil
		}
	}
	before := b.store.chain.seq
	err := b.store.write(entries)
	b.head.seq = 0
	if now := b.store.chain; now.seq == before+int64(len(entries)) { // it may be on the disk even if err says that it is not
		b.head.seq, b.head.hash = now.seq, now.head
	}
	return err
}

// wrote notes a success.
func (b *Book) wrote(entries []Entry, took time.Duration) {
	if b.failed > 0 {
		b.log.Info().Int("attempts", b.failed+1).Msg("the book is written again")
	}
	if took > slowWrite {
		b.log.Warn().Dur("took", took).Int("entries", len(entries)).Msg("the book's disk is slow; calls do not wait for it")
	}
	b.failed, b.retried = 0, false
	b.head.seq = 0
	b.state.wrote(len(entries), took, b.store)
	for i := range entries {
		if entries[i].Type == Head {
			b.sayHead(&entries[i])
		}
	}
}

// sayHead prints a signed head, so that a copy of it is kept where the log goes.
func (b *Book) sayHead(e *Entry) {
	var s Signature
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return
	}
	b.log.Info().Int64("seq", s.Seq).Str("hash", s.Hash).Str("key", s.Key).Str("sig", s.Sig).Msg("the book's head")
}

// fail notes that the disk did not take something, and closes the file: what is in memory may say more than it.
func (b *Book) fail(err error) {
	if b.failed == 0 {
		b.log.Error().Err(err).Str("path", b.cfg.Path).Msg("the book could not be written: entries wait in memory, calls are not touched; it is tried again")
	}
	b.failed++
	b.trouble = b.state.fail(err)
	b.drop()
	switch {
	case errors.Is(err, errVanished):
		b.log.Error().Str("path", b.cfg.Path).Msg("the book's file was taken away: one that is gone is begun anew and continues the chain")
	case damaged(err):
		b.moveAside(err)
	}
}

// drop closes the file after an error.
func (b *Book) drop() {
	if b.store == nil {
		return
	}
	s := b.store
	b.store = nil
	if err := s.close(); err != nil {
		b.log.Debug().Err(err).Msg("the book's file was closed")
	}
}

// reopen opens the file when nothing is to be written yet.
func (b *Book) reopen() {
	b.drop()
	if err := b.open(); err != nil {
		b.fail(err)
		return
	}
	b.failed = 0
	b.state.ok(b.store)
}

// open opens the file, and says in the book what became of the one before.
func (b *Book) open() error {
	s, err := openStore(b.cfg.Path, b.key)
	if err != nil {
		return fmt.Errorf("open %s: %w", b.cfg.Path, err)
	}
	first := b.firstWords(s)
	if s.chain.seq == 0 && b.state.seq.Load() > 0 {
		err = s.continueAfter(b.state.seq.Load(), b.state.headHash(), time.Now())
	}
	if err == nil && len(first) > 0 {
		err = s.write(first)
	}
	if err == nil {
		err = s.setOpen(true)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open %s: %w", b.cfg.Path, err), s.close())
	}
	b.store, b.opened = s, true
	b.state.ok(s)
	if len(first) > 0 {
		b.tell(first, nil)
	}
	return nil
}

// firstWords are the entries that a file that was just opened begins with.
func (b *Book) firstWords(s *store) []Entry {
	now := time.Now()
	switch {
	case b.opened && s.chain.seq == 0:
		return []Entry{{At: now, Type: Gap, Why: "the book's file was gone or damaged; this one continues its chain"}}
	case b.state.aside() != "" && s.chain.seq == 0:
		return []Entry{{At: now, Type: Gap, Why: "the book before was damaged and moved to " + b.state.aside()}}
	case !b.opened && s.wasOpen():
		b.log.Warn().Str("path", b.cfg.Path).Msg("the book was not closed: its last moments may be missing")
		return []Entry{{At: now, Type: Gap, Why: "the node ended without closing the book; its last moments may be missing"}}
	}
	return nil
}

// moveAside puts a file that is no book any more where somebody can look at it.
func (b *Book) moveAside(why error) {
	to := b.cfg.Path + ".corrupt-" + time.Now().Format("20060102T150405.000")
	err := os.Rename(b.cfg.Path, to)
	for _, end := range []string{"-wal", "-shm"} {
		if e := os.Rename(b.cfg.Path+end, to+end); e != nil && !os.IsNotExist(e) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		b.log.Error().AnErr("damage", why).Err(err).Msg("the book is damaged and could not be moved aside; it is tried again")
		return
	}
	b.state.setAside(to)
	b.log.Error().Err(why).Str("aside", to).Msg("the book is damaged: it was moved aside, and a fresh one is begun")
}

// finish closes the file for good.
func (b *Book) finish() {
	if err := b.store.setOpen(false); err != nil {
		b.log.Warn().Err(err).Msg("the book could not be closed properly")
	}
	b.drop()
}

// do has the writing goroutine do something with the file.
func (b *Book) do(ctx context.Context, do func(*store) error) error {
	done := make(chan error, 1)
	select {
	case b.works <- work{do, done}:
	case <-ctx.Done():
		return b.why(ctx.Err())
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return b.why(ctx.Err())
	}
}

func (b *Book) work(w work) {
	if b.store == nil {
		w.done <- errors.New("the book is not open")
		return
	}
	err := w.do(b.store)
	if err != nil {
		b.fail(err)
	} else {
		b.state.ok(b.store)
	}
	w.done <- err
}

// state is what Health tells. It is read by others while the writing goroutine hangs in a system call.
type state struct {
	path     string
	lost     atomic.Int64
	written  atomic.Int64
	seq      atomic.Int64
	size     atomic.Int64
	unsigned atomic.Bool
	tidying  atomic.Bool

	mu    sync.Mutex
	open  bool
	err   string
	since time.Time // of err
	took  time.Duration
	last  time.Time
	hash  hash
	moved string
}

func (s *state) wrote(n int, took time.Duration, st *store) {
	s.written.Add(int64(n))
	s.mu.Lock()
	s.took, s.last = took, time.Now()
	s.mu.Unlock()
	s.ok(st)
}

func (s *state) ok(st *store) {
	s.seq.Store(st.chain.seq)
	s.size.Store(st.size())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open, s.err, s.hash = true, "", st.chain.head
}

// fail notes an error, and gives it on one line.
func (s *state) fail(err error) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == "" {
		s.since = time.Now()
	}
	s.open, s.err = false, strings.ReplaceAll(err.Error(), "\n", "; ")
	return s.err
}

func (s *state) headHash() hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hash
}

func (s *state) aside() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moved
}

func (s *state) setAside(to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved = to
}

// Health is how the book is.
type Health struct {
	Path     string        `json:"path"`
	Open     bool          `json:"open"`
	Seq      int64         `json:"seq"`     // the last entry on the disk
	Head     string        `json:"head"`    // its hash
	Written  int64         `json:"written"` // entries since the start
	Waiting  int           `json:"waiting"` // entries that wait for the disk
	Lag      time.Duration `json:"lag"`     // how long the oldest of them has waited
	Lost     int64         `json:"lost"`    // entries since the start for which there was no room
	Took     time.Duration `json:"took"`    // the last write
	Last     time.Time     `json:"last"`    // when that was
	Size     int64         `json:"size"`    // bytes on the disk
	Error    string        `json:"error,omitempty"`
	Since    time.Time     `json:"since,omitzero"`     // of Error
	Aside    string        `json:"aside,omitempty"`    // where a damaged book was moved to in this run
	Unsigned bool          `json:"unsigned,omitempty"` // there is no key to sign with
	Also     []SinkHealth  `json:"also,omitempty"`     // other places where entries go
}

// Health says how the book is. It never waits for the disk.
func (b *Book) Health() Health {
	h := Health{
		Path: b.state.path, Seq: b.state.seq.Load(), Written: b.state.written.Load(), Lost: b.state.lost.Load(), Size: b.state.size.Load(), Unsigned: b.state.unsigned.Load(),
	}
	b.state.mu.Lock()
	h.Open, h.Error, h.Took, h.Last, h.Aside = b.state.open, b.state.err, b.state.took, b.state.last, b.state.moved
	h.Head = fmt.Sprintf("%x", b.state.hash)
	if h.Error != "" {
		h.Since = b.state.since
	}
	b.state.mu.Unlock()
	b.mu.Lock()
	h.Waiting = len(b.queue) + b.inHand
	switch {
	case b.inHand > 0:
		h.Lag = time.Since(b.oldest)
	case len(b.queue) > 0:
		h.Lag = time.Since(b.queue[0].entry.At)
	}
	b.mu.Unlock()
	for _, a := range b.others {
		h.Also = append(h.Also, a.health())
	}
	return h
}
