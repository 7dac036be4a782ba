package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if so() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}

// filled makes a closed book with some calls.
func (s *shelf) filled(calls int) {
	b, stop := s.open()
	for n := range calls {
		for _, e := range callEntries(n, began.Add(time.Duration(n)*time.Minute)) {
			b.Append(e)
		}
	}
	s.commit(b, Entry{At: began, Type: OperatorAct})
	stop()
}

func TestAFlippedByteIsFoundAndNamed(t *testing.T) {
	s := newShelf(t)
	s.filled(300)
	whole, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 123, 299} {
		name := fmt.Sprintf("c%06d@bt", n)
		if bytes.Count(whole, []byte(name)) != 1 {
			t.Fatalf("call %d is %d times in the file, want once", n, bytes.Count(whole, []byte(name)))
		}
		torn := bytes.Replace(whole, []byte(name), []byte(strings.Replace(name, "c0", "c1", 1)), 1)
		if err := os.WriteFile(s.path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		v := s.verify()
		want := Broken{Seq: int64(8*n + 1), At: began.Add(time.Duration(n) * time.Minute), Why: "it is not what was written"}
		if v.OK || v.Broken.Seq != want.Seq || !v.Broken.At.Equal(want.At) || v.Broken.Why != want.Why {
			t.Errorf("a byte of call %d flipped: verify says %+v, want %+v", n, v.Broken, want)
		}
		if v.Last != want.Seq-1 {
			t.Errorf("the last right entry is %d, want %d", v.Last, want.Seq-1)
		}
	}
	if err := os.WriteFile(s.path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s.sound()
}

// Whatever byte flips: either verify says so, or what is read is still what was written.
func TestNoFlippedByteGoesUnseen(t *testing.T) {
	s := newShelf(t)
	s.filled(60)
	whole, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	want := s.read(Query{Mask: Full})
	random := rand.New(rand.NewPCG(1, 2))
	found := 0
	for range 400 {
		at := random.IntN(len(whole))
		torn := slices.Clone(whole)
		torn[at] ^= 1 << random.IntN(8)
		if err := os.WriteFile(s.path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenReader(s.path)
		if err != nil {
			found++
			continue
		}
		v, err := r.Verify(context.Background())
		if err != nil || !v.OK {
			found++
			_ = r.Close()
			continue
		}
		var got []Entry
		for e, err := range r.Entries(context.Background(), Query{Mask: Full}) {
			if err != nil {
				break
			}
			got = append(got, e)
		}
		_ = r.Close()
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("byte %d flipped, verify found nothing, and the book reads otherwise (-got +want):\n%s", at, diff)
		}
	}
	if found < 40 {
		t.Errorf("only %d of 400 flips were found; most of the file is entries", found)
	}
	t.Logf("%d of 400 flips were found; the others were where nothing is", found)
}

func TestADamagedBookIsMovedAsideAndAFreshOneBegun(t *testing.T) {
	s := newShelf(t)
	s.filled(30)
	for name, damage := range map[string]func([]byte) []byte{
		"somebody's text":  func([]byte) []byte { return []byte(strings.Repeat("this is no database\n", 1000)) },
		"a torn header":    func(b []byte) []byte { copy(b, "garbage garbage"); return b },
		"noise everywhere": func(b []byte) []byte { fillNoise(b[100:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			s.filled(30)
			whole, err := os.ReadFile(s.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.path, damage(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			b, _ := s.open()
			b.Append(Entry{Type: CallStart, Call: "c1"})
			s.commit(b, Entry{Type: OperatorAct, By: "alice"})
			s.sound()
			if got := s.read(Query{}); len(got) != 3 || got[0].Type != Gap || got[2].By != "alice" {
				t.Errorf("the fresh book has %+v", got)
			}
			aside, _ := filepath.Glob(s.path + ".corrupt-*")
			if len(aside) == 0 || b.Health().Aside != aside[0] {
				t.Errorf("the old file is at %v, and the health says %q", aside, b.Health().Aside)
			}
			if !strings.Contains(s.log.String(), "the book is damaged: it was moved aside") {
				t.Error("the log does not say it")
			}
		})
	}
}

func fillNoise(b []byte) {
	random := rand.New(rand.NewPCG(3, 4))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
}

func TestAnEmptyFileBecomesABook(t *testing.T) {
	s := newShelf(t)
	if err := os.WriteFile(s.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b, _ := s.open()
	s.commit(b, Entry{Type: OperatorAct})
	s.sound()
}

func TestABookThatVanishesIsBegunAnewAndContinuesTheChain(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"deleted": os.Remove,
		"all of it deleted": func(path string) error {
			return errors.Join(os.Remove(path), os.Remove(path+"-wal"), os.Remove(path+"-shm"))
		},
		"its log deleted": func(path string) error { return os.Remove(path + "-wal") },
		"renamed":         func(path string) error { return os.Rename(path, path+".old") },
		"its folder gone": func(path string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			b, stop := s.open()
			b.Append(Entry{Type: CallStart, Call: "c1"})
			s.commit(b, Entry{Type: OperatorAct, By: "alice"})
			if err := take(s.path); err != nil {
				t.Fatal(err)
			}
			b.Append(Entry{Type: CallEnd, Call: "c1"})
			s.commit(b, Entry{Type: OperatorAct, By: "bob"})
			v := s.sound()
			got := s.read(Query{})
			if n := len(got); got[n-1].By != "bob" || got[n-2].Type != CallEnd {
				t.Errorf("after it vanished the book has %+v", got)
			}
			if name != "its log deleted" && (v.First != 3 || !v.Cut) {
				t.Errorf("the fresh file begins with entry %d, want 3: it continues the chain", v.First)
			}
			stop()
			b, _ = s.open()
			s.commit(b, Entry{Type: OperatorAct, By: "carol"})
			s.sound()
		})
	}
}

func TestWhatDoesNotFitIsCountedAndTheChainSaysSo(t *testing.T) {
	s := newShelf(t)
	s.cfg.Queue = 100
	inTheWay := filepath.Join(filepath.Dir(s.path), "folder")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.path = filepath.Join(inTheWay, "nines.db")
	s.cfg.Path = s.path
	b, _ := s.open()
	eventually(t, "the disk was tried", func() bool { return b.Health().Error != "" })
	for n := range 250 {
		b.Append(Entry{Type: CallStart, Call: fmt.Sprint(n)})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := b.Commit(ctx, Entry{Type: OperatorAct, By: "alice"}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("an act that is not on the disk was acknowledged, or not explained: %v", err)
	}
	if h := b.Health(); h.Lost != 150 || h.Waiting != 101 || h.Open {
		t.Errorf("the health is %+v; want 150 lost and 101 waiting", h)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all was written", func() bool { return b.Health().Waiting == 0 })
	s.sound()
	var calls, gaps, lost int
	for _, e := range s.read(Query{}) { // what the writer takes first may be any part of it
		switch {
		case e.Type == CallStart:
			calls++
		case e.By == "alice" && calls != 100:
			t.Errorf("the act stands after %d calls, want all hundred before it", calls)
		case e.Type == Gap:
			gaps, lost = gaps+1, lost+e.Count
			if !strings.Contains(e.Why, "not a directory") {
				t.Errorf("the gap's reason is %q, want what was wrong with the disk", e.Why)
			}
		}
	}
	if acts := s.read(Query{Types: []Type{OperatorAct}}); calls != 100 || len(acts) != 1 || lost != 150 {
		t.Errorf("the book has %d calls, the acts %+v and gaps of %d; want 100, the act and 150", calls, acts, lost)
	}
	if v := s.verify(); v.Gaps != gaps || v.Lost != 150 {
		t.Errorf("the verdict counts %d gaps with %d lost, want %d with 150", v.Gaps, v.Lost, gaps)
	}
}

func TestADiskThatHangsHoldsNobodyUp(t *testing.T) {
	s := newShelf(t)
	b, stop := s.open()
	s.commit(b, Entry{Type: OperatorAct})
	release := make(chan struct{})
	hangs, hung := make(chan struct{}), make(chan error, 1)
	go func() { // ends when released
		hung <- b.do(context.Background(), func(*store) error { close(hangs); <-release; return nil })
	}()
	<-hangs
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := b.Commit(ctx, Entry{Type: OperatorAct, By: "alice"}); err == nil {
		t.Error("an act was acknowledged while the disk hangs")
	}
	start := time.Now()
	for range 1000 {
		b.Append(Entry{Type: CallStart})
	}
	h := b.Health()
	if took := time.Since(start); took > 30*time.Second { // the disk hangs until we release it: who waited for it would never be here
		t.Errorf("appending to a book that hangs took %s", took)
	}
	if h.Waiting < 1000 || h.Lag <= 0 {
		t.Errorf("the health is %+v, want what waits and for how long", h)
	}
	close(release)
	if err := <-hung; err != nil {
		t.Fatal(err)
	}
	eventually(t, "all was written", func() bool { return b.Health().Waiting == 0 })
	stop()
	s.sound()
	if got := s.read(Query{Types: []Type{CallStart}}); len(got) != 1000 {
		t.Errorf("%d entries of 1000 were written", len(got))
	}
}

func TestWhatWaitsAtTheEndIsWritten(t *testing.T) {
	s := newShelf(t)
	s.cfg.Every = time.Hour
	b, stop := s.open()
	for range 10 {
		b.Append(Entry{Type: CallEnd})
	}
	stop()
	if got := s.read(Query{}); len(got) != 10 {
		t.Errorf("%d entries of 10 were written at the end", len(got))
	}
	b.Append(Entry{Type: CallEnd}) // is lost, and nothing breaks
	if err := b.Commit(context.Background(), Entry{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed book says %v", err)
	}
}

// tmpfs mounts a small file system, which only root can.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system to fill")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small file system can't be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestAFullDiskIsWaitedFor(t *testing.T) {
	dir := tmpfs(t, "2m")
	s := newShelf(t)
	s.path = filepath.Join(dir, "nines.db")
	s.cfg.Path, s.cfg.Queue = s.path, 20_000
	b, _ := s.open()
	s.commit(b, Entry{Type: OperatorAct, By: "alice"})
	full := filepath.Join(dir, "full")
	if err := os.WriteFile(full, make([]byte, 2<<20), 0o600); err == nil {
		t.Fatal("the small file system is not small")
	}
	n := 0
	var h Health // an attempt later says for a moment that the file is open
	eventually(t, "the disk is full", func() bool {
		for range 200 {
			for _, e := range callEntries(n, began) {
				b.Append(e)
			}
			n++
		}
		h = b.Health()
		return h.Error != ""
	})
	if !strings.Contains(strings.ToLower(h.Error), "full") && !strings.Contains(h.Error, "no space") {
		t.Errorf("the health says %q, want that the disk is full", h.Error)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the book is written again", func() bool { return b.Health().Error == "" && b.Health().Waiting == 0 })
	s.commit(b, Entry{Type: OperatorAct, By: "bob"})
	v := s.sound()
	if aside, _ := filepath.Glob(s.path + ".corrupt-*"); len(aside) > 0 {
		t.Errorf("a book that only had no room was moved aside: %v", aside)
	}
	if got, want := int64(len(s.read(Query{Types: []Type{CallStart}}))), int64(n)-v.Lost; v.Lost == 0 && got != want {
		t.Errorf("%d calls are in the book, want %d", got, want)
	}
}

func TestAReadOnlyDiskIsWaitedFor(t *testing.T) {
	dir := tmpfs(t, "8m")
	s := newShelf(t)
	s.path = filepath.Join(dir, "nines.db")
	s.cfg.Path = s.path
	b, stop := s.open()
	s.commit(b, Entry{Type: OperatorAct, By: "alice"})
	stop() // an open file keeps a file system from becoming read-only
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("it can't be made read-only: %v", err)
	}
	b, _ = s.open()
	b.Append(Entry{Type: CallStart, Call: "c1"})
	eventually(t, "the disk is read-only", func() bool { return b.Health().Error != "" })
	s.sound() // it can be read all the same
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	s.commit(b, Entry{Type: OperatorAct, By: "bob"})
	s.sound()
	if got := s.read(Query{}); len(got) != 3 || got[2].By != "bob" {
		t.Errorf("the book has %+v", got)
	}
}

func TestAFolderThatMayNotBeWrittenIsWaitedFor(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	s := newShelf(t)
	dir := filepath.Dir(s.path)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	b, _ := s.open()
	eventually(t, "the folder is closed", func() bool { return b.Health().Error != "" })
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.commit(b, Entry{Type: OperatorAct})
	s.sound()
}

// TestBookKeeper is no test: it is the process that TestKilledAtAnyMoment kills. It commits acts under load and says each number when it is acknowledged.
func TestBookKeeper(t *testing.T) {
	path := os.Getenv("NINES_TEST_BOOK")
	if path == "" {
		t.Skip("it is started by another test")
	}
	b := New(Config{Path: path, Key: path + ".key", Every: 5 * time.Millisecond})
	go b.Run(context.Background()) // ends with the process
	go func() {                    // ends with the process
		for n := 0; ; n++ {
			for _, e := range callEntries(n, time.Now()) {
				b.Append(e)
			}
			if n%20 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	for n := 0; ; n++ {
		name := fmt.Sprintf("%s-%d", os.Getenv("NINES_TEST_ROUND"), n)
		if err := b.Commit(context.Background(), Entry{Type: OperatorAct, By: name}); err != nil {
			fmt.Println("failed", err)
			return
		}
		fmt.Println("acked", name)
	}
}

func TestKilledAtAnyMoment(t *testing.T) {
	killed(t, 8)
}

// killed kills a process that writes a book, so many times, and looks whether all it had acknowledged is there.
func killed(t *testing.T, times int) {
	s := newShelf(t)
	var acked []string
	for round := range times {
		cmd := exec.Command(os.Args[0], "-test.run=^TestBookKeeper$", "-test.v")
		cmd.Env = append(os.Environ(), "NINES_TEST_BOOK="+s.path, fmt.Sprintf("NINES_TEST_ROUND=%d", round))
		var out bytes.Buffer
		first := make(chan struct{}, 1)
		cmd.Stdout = writerFunc(func(p []byte) (int, error) {
			if bytes.Contains(p, []byte("acked")) {
				poke(first)
			}
			return out.Write(p)
		})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if round%4 != 3 { // every fourth is killed while it opens
			select {
			case <-first:
			case <-time.After(30 * time.Second):
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				t.Fatalf("round %d never acknowledged anything: %s", round, out.String())
			}
		}
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		lines := strings.Split(out.String(), "\n")
		for _, line := range lines[:len(lines)-1] { // the last may be half a line
			if name, ok := strings.CutPrefix(line, "acked "); ok {
				acked = append(acked, name)
			}
			if strings.HasPrefix(line, "failed") {
				t.Fatalf("round %d: %s", round, line)
			}
		}
	}
	v := s.sound()
	have := map[string]bool{}
	for _, e := range s.read(Query{Types: []Type{OperatorAct}}) {
		have[e.By] = true
	}
	for _, name := range acked {
		if !have[name] {
			t.Errorf("act %s was acknowledged and is not in the book", name)
		}
	}
	if aside, _ := filepath.Glob(s.path + ".corrupt-*"); len(aside) > 0 {
		t.Errorf("a book was moved aside: %v", aside)
	}
	t.Logf("killed %d times: %d acts acknowledged and there, %d entries, %d gaps said", times, len(acked), v.Last, v.Gaps)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
