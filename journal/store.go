package journal

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The book's file. Entries stand in blocks of some hundred, because a row for each would cost more than the call it speaks of. For the same reason no index has a
// row for each call: beside each block stand the short hashes of the calls and numbers in it, and a search reads all of those. A table counts what happened
// in each minute.
const schema = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE block (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL, kinds INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
CREATE INDEX block_time ON block (hi, lo, first);
CREATE TABLE names (block INTEGER PRIMARY KEY, calls BLOB NOT NULL, numbers BLOB NOT NULL);
CREATE TABLE minute (at INTEGER, what TEXT, who TEXT, n INTEGER NOT NULL, PRIMARY KEY (at, what, who)) WITHOUT ROWID;
`

const (
	applicationID = 0x6e696e65 // "nine"
	schemaVersion = 3          // since 2 long Data is squeezed, since 3 messages are packed
	pageSize      = 8192
	blockSize     = 24 << 10 // a block that has grown to this is full
)

var (
	errNoBook   = errors.New("it is no book of ours")
	errBegun    = errors.New("the book is only being begun; ask again in a moment")
	errVanished = errors.New("the file is not where it was any more")
	errRival    = errors.New("somebody else has written to it")
)

// store is the open file. One goroutine owns it. After any error it must be closed and opened anew: what is in memory may say more than the file.
type store struct {
	path string
	db   *sql.DB
	conn *sql.Conn
	key  ed25519.PrivateKey
	file os.FileInfo

	chain chain
	pen   pen
	block block // the last one, which grows until it is full; empty: the next entry begins one
	cut   int64 // the first entry that is kept

	putBlock, putNames, putMinute, lastBlock *sql.Stmt

	public, scratch []byte
	body            []byte // of a block that was full, for the next
	minutes         map[minuteKey]int64
}

// block is a row of the table of that name.
type block struct {
	first, last int64
	lo, hi      int64 // the earliest and latest time in it
	kinds       uint64
	head        hash
	body        []byte

	calls   nameSet
	numbers nameSet
	dirty   bool
}

type minuteKey struct {
	at        int64 // Unix time in minutes
	what, who string
}

// fast has SQLite use fdatasync, which is as durable as fsync and does not write the file's times down.
var fast = sync.OnceFunc(func() { _, _ = sqlite.Fdatasync(true) }) // where there is none fsync stays

// address is how SQLite is told of a file, whatever is in its name.
func address(path, params string) string {
	if !filepath.IsAbs(path) {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: params}).String()
}

// openStore opens the book, or begins one.
func openStore(path string, key ed25519.PrivateKey) (*store, error) {
	fast()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	if err := touch(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", address(path, "_pragma=busy_timeout(2000)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s := &store{path: path, db: db, key: key, body: make([]byte, 0, blockSize+blockSize/4), minutes: map[minuteKey]int64{}}
	if err := s.begin(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// touch makes the file, if there is none, readable for nobody else: it will hold callers' numbers. One that exists must not be opened beside SQLite: closing it
// would take away SQLite's locks.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func (s *store) begin() error {
	ctx := context.Background()
	var err error
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return err
	}
	if err := s.prepareFile(ctx); err != nil {
		return err
	}
	for _, p := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&s.putBlock, "INSERT OR REPLACE INTO block (first, last, lo, hi, kinds, head, body) VALUES (?, ?, ?, ?, ?, ?, ?)"},
		{&s.putNames, "INSERT OR REPLACE INTO names (block, calls, numbers) VALUES (?, ?, ?)"},
		{&s.putMinute, "INSERT INTO minute (at, what, who, n) VALUES (?, ?, ?, ?) ON CONFLICT (at, what, who) DO UPDATE SET n = n + excluded.n"},
		{&s.lastBlock, "SELECT last, head FROM block ORDER BY first DESC LIMIT 1"},
	} {
		if *p.to, err = s.conn.PrepareContext(ctx, p.text); err != nil {
			return err
		}
	}
	if err := s.resume(ctx); err != nil {
		return err
	}
	s.file, err = os.Stat(s.path)
	return err
}

// prepareFile gives a new file its tables and says whether an old one is ours.
func (s *store) prepareFile(ctx context.Context) error {
	var id, have, tables int
	if err := s.row(ctx, "PRAGMA application_id", &id); err != nil {
		return err
	}
	if err := s.row(ctx, "PRAGMA user_version", &have); err != nil {
		return err
	}
	if err := s.row(ctx, "SELECT count(*) FROM sqlite_schema", &tables); err != nil {
		return err
	}
	fresh := id == 0 && have == 0 && tables == 0
	switch {
	case fresh:
		if err := s.exec(ctx, fmt.Sprintf("PRAGMA page_size = %d", pageSize), "PRAGMA auto_vacuum = INCREMENTAL"); err != nil {
			return err
		}
	case id != applicationID:
		return errNoBook
	case have > schemaVersion:
		return fmt.Errorf("%w: a later version wrote it", errNoBook)
	}
	// secure_delete leaves nothing of what was replaced in the file, or an erased number could still stand on a page that is free.
	// In WAL with FULL every commit is on the disk before it returns, when the power fails too: what Commit has promised.
	if err := s.exec(ctx, "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA journal_size_limit = 67108864", "PRAGMA cache_size = -4000", "PRAGMA temp_store = MEMORY",
		"PRAGMA secure_delete = ON"); err != nil {
		return err
	}
	if !fresh {
		return s.exec(ctx, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
	}
	return s.exec(ctx, "BEGIN IMMEDIATE", schema, fmt.Sprintf("PRAGMA application_id = %d", applicationID), fmt.Sprintf("PRAGMA user_version = %d", schemaVersion), "COMMIT")
}

// resume goes on where the book ends.
func (s *store) resume(ctx context.Context) error {
	var cut cutMark
	switch err := s.meta(ctx, "cut", &cut); {
	case errors.Is(err, sql.ErrNoRows):
		s.cut = 1
	case err != nil:
		return err
	default:
		s.cut = cut.Seq
		s.chain.seq, s.chain.head = cut.Seq-1, cut.head()
	}
	b, err := scanBlock(s.conn.QueryRowContext(ctx, "SELECT "+blockColumns+" FROM block ORDER BY first DESC LIMIT 1"))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	s.chain.seq, s.chain.head = b.last, b.head
	if len(b.body) < blockSize && b.sound() { // one that was damaged stays as it is, for verify to find
		b.rename()
		s.block = b
	}
	return nil
}

const blockColumns = "first, last, lo, hi, kinds, head, body"

func scanBlock(row interface{ Scan(into ...any) error }) (block, error) {
	var b block
	var head []byte
	var kinds int64
	if err := row.Scan(&b.first, &b.last, &b.lo, &b.hi, &kinds, &head, &b.body); err != nil {
		return b, err
	}
	b.kinds = uint64(kinds)
	copy(b.head[:], head)
	return b, nil
}

// sound says whether a block's records can be read.
func (b *block) sound() bool {
	var r record
	seq := b.first
	for body := b.body; len(body) > 0; seq++ {
		var err error
		if body, err = r.next(body); err != nil {
			return false
		}
	}
	return seq == b.last+1
}

func (s *store) row(ctx context.Context, query string, into any) error {
	return s.conn.QueryRowContext(ctx, query).Scan(into)
}

func (s *store) exec(ctx context.Context, statements ...string) error {
	for _, text := range statements {
		if _, err := s.conn.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// meta reads what is written under a name.
func (s *store) meta(ctx context.Context, name string, into any) error {
	return readMeta(s.conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = ?", name), into)
}

func readMeta(row *sql.Row, into any) error {
	var b []byte
	if err := row.Scan(&b); err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func (s *store) setMeta(ctx context.Context, name string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = s.conn.ExecContext(ctx, "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", name, b)
	return err
}

// inPlace says whether the file that is open is still the one under its name: a deleted one could be written to for ever.
func (s *store) inPlace() error {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errVanished
	case err != nil:
		return err
	case !os.SameFile(info, s.file):
		return errVanished
	}
	if _, err := os.Stat(s.path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		return errVanished
	}
	return nil
}

// write appends entries in one transaction, and gives them their numbers. When it returns nil they are on the disk.
func (s *store) write(entries []Entry) error {
	ctx := context.Background()
	if err := s.inPlace(); err != nil {
		return err
	}
	if err := s.change(ctx, func() error { return s.put(ctx, entries) }); err != nil {
		return err
	}
	return s.inPlace()
}

// change does one transaction.
func (s *store) change(ctx context.Context, do func() error) error {
	if err := s.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := s.alone(ctx)
	if err == nil {
		err = do()
	}
	if err == nil {
		err = s.exec(ctx, "COMMIT")
	}
	if err != nil {
		_ = s.exec(ctx, "ROLLBACK") // what went wrong is err
	}
	return err
}

// alone says whether the book still ends where we ended it.
func (s *store) alone(ctx context.Context) error {
	var last int64
	var head []byte
	err := s.lastBlock.QueryRowContext(ctx).Scan(&last, &head)
	if errors.Is(err, sql.ErrNoRows) {
		last, head, err = s.chain.seq, s.chain.head[:], nil
	}
	if err == nil && (last != s.chain.seq || string(head) != string(s.chain.head[:])) {
		err = errRival
	}
	return err
}

func (s *store) put(ctx context.Context, entries []Entry) error {
	for i := range entries {
		if err := s.add(ctx, &entries[i]); err != nil {
			return err
		}
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	for k, n := range s.minutes {
		if _, err := s.putMinute.ExecContext(ctx, k.at, k.what, k.who, n); err != nil {
			return err
		}
	}
	clear(s.minutes)
	return nil
}

// add puts one entry into the last block.
func (s *store) add(ctx context.Context, e *Entry) error {
	if e.Type == Head {
		s.sign(e)
	}
	withoutNumbers(e)
	r := recordOf(e, &s.pen, s.public[:0])
	s.public = r.public
	h := s.chain.add(&r)
	r.check = s.chain.head[:checkSize]
	e.Seq = s.chain.seq
	b := &s.block
	if b.body == nil {
		b.first, b.lo, b.hi, b.body = e.Seq, e.At.UnixNano(), e.At.UnixNano(), s.body[:0]
	}
	b.body, s.scratch = r.append(b.body, s.scratch)
	b.last, b.head, b.dirty = e.Seq, h, true
	b.lo, b.hi = min(b.lo, e.At.UnixNano()), max(b.hi, e.At.UnixNano())
	b.kinds |= kindBit(e.Type)
	b.name(e)
	if k, ok := counted(e); ok {
		s.minutes[k]++
	}
	if len(b.body) >= blockSize {
		return s.flush(ctx)
	}
	return nil
}

// nameSet is the names that occur in a block, four bytes of a hash each.
type nameSet struct {
	list []byte
	have map[uint32]bool
	late [2]string // the latest two that were added: entries of one call follow each other
}

func (n *nameSet) add(name string) {
	if name == "" || name == n.late[0] || name == n.late[1] {
		return
	}
	n.late[0], n.late[1] = n.late[1], name
	if n.have == nil {
		n.have = map[uint32]bool{}
	}
	k := key(name)
	if n.have[k] {
		return
	}
	n.have[k] = true
	n.list = binary.BigEndian.AppendUint32(n.list, k)
}

// nameIn says whether a name may be in a list; a few times in a thousand million it is another one.
func nameIn(list []byte, k uint32) bool {
	for ; len(list) >= 4; list = list[4:] {
		if binary.BigEndian.Uint32(list) == k {
			return true
		}
	}
	return false
}

// name notes under which names an entry is found.
func (b *block) name(e *Entry) {
	b.calls.add(e.Call)
	b.calls.add(e.CallID)
	for _, number := range [...]string{e.Caller, e.Called} {
		if number != "" {
			b.numbers.add(numberTail(number))
		}
	}
}

// rename finds the names of a block anew.
func (b *block) rename() {
	b.calls, b.numbers = nameSet{}, nameSet{}
	var r record
	for body := b.body; len(body) > 0; {
		var err error
		if body, err = r.next(body); err != nil {
			return
		}
		if e, err := r.fields(0); err == nil {
			b.name(&e)
		}
	}
}

// flush writes the last block down. A full one is closed.
func (s *store) flush(ctx context.Context) error {
	b := &s.block
	if !b.dirty {
		return nil
	}
	if err := s.putWhole(ctx, b); err != nil {
		return err
	}
	b.dirty = false
	if len(b.body) >= blockSize {
		s.body = b.body // SQLite has its own copy
		b.calls.empty()
		b.numbers.empty()
		s.block = block{calls: b.calls, numbers: b.numbers}
	}
	return nil
}

// empty forgets the names and keeps the room for others.
func (n *nameSet) empty() {
	n.list, n.late = n.list[:0], [2]string{}
	clear(n.have)
}

func (s *store) putWhole(ctx context.Context, b *block) error {
	if _, err := s.putBlock.ExecContext(ctx, b.first, b.last, b.lo, b.hi, int64(b.kinds), b.head[:], b.body); err != nil {
		return err
	}
	_, err := s.putNames.ExecContext(ctx, b.first, blob(b.calls.list), blob(b.numbers.list))
	return err
}

// blob is bytes that SQLite does not take for NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// kindBit is a type's bit in a block's kinds; types that are spelt out share the first.
func kindBit(t Type) uint64 { return 1 << (codeOfType[t] & 63) }

// counted says under what an entry counts for its minute, if it does.
func counted(e *Entry) (minuteKey, bool) {
	k := minuteKey{at: e.At.Unix() / 60}
	switch e.Type {
	case CallStart:
		k.what, k.who = "came", e.Class
	case CallStateChange:
		k.what, k.who = e.What, e.Endpoint
	case CallEnd:
		k.what, k.who = "ended "+e.Outcome, e.Class
	default:
		return k, false
	}
	return k, true
}

// withoutNumbers keeps a caller's number out of the sentences, which stay when the number is erased.
func withoutNumbers(e *Entry) {
	for _, number := range [...]string{e.Caller, e.Called} {
		if len(digitsOf(number)) < 6 { // 999 is nobody's
			continue
		}
		e.Why = strings.ReplaceAll(e.Why, number, "(number)")
		e.What = strings.ReplaceAll(e.What, number, "(number)")
	}
}

// size is how much of the disk the book takes.
func (s *store) size() int64 {
	var n int64
	for _, end := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(s.path + end); err == nil {
			n += info.Size()
		}
	}
	return n
}

// close closes the file. Whatever happens the store is done with.
func (s *store) close() error {
	var errs []error
	for _, st := range []*sql.Stmt{s.putBlock, s.putNames, s.putMinute, s.lastBlock} {
		if st != nil {
			errs = append(errs, st.Close())
		}
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	errs = append(errs, s.db.Close())
	return errors.Join(errs...)
}

// damaged says that an error is the file's, and that the file will not get better by itself.
func damaged(err error) bool {
	if errors.Is(err, errNoBook) {
		return true
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	case sqlite3.SQLITE_ERROR: // no such table: a file that was begun and never finished, or somebody's own work
		return strings.Contains(e.Error(), "no such table") || strings.Contains(e.Error(), "no such column")
	}
	return false
}

// cutMark says where a book begins whose beginning is no longer here: the entry before was Seq-1 with the hash Before.
type cutMark struct {
	Seq    int64     `json:"seq"`
	Before string    `json:"before"` // in hexadecimal digits
	At     time.Time `json:"at"`
	Key    string    `json:"key"`
	Sig    string    `json:"sig"`
}

func (c *cutMark) data() []byte {
	b, _ := json.Marshal(c) // plain fields
	return b
}

func (c *cutMark) head() hash {
	var h hash
	b, _ := hex.DecodeString(c.Before) // what is no hash matches nothing
	copy(h[:], b)
	return h
}
