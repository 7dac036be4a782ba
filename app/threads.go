package app

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// behind is the niceness of who writes down: a tenth of the weight of who takes calls.
const behind = 10

// makeRoom lets one goroutine more run than there are cores, and says how many loops the cores want. A system call keeps its place among those that may run
// until the runtime finds it to be slow, which takes it up to 10 ms: on one core a sync of the book's disk would be a pause for every call. GOMAXPROCS in the
// environment has the last word.
func makeRoom() (loops int) {
	cores := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(cores + 1)
	}
	return cores
}

// stepBehind gives the calling goroutine a thread of its own that yields to every other. Without the right to be nice, which every process has, it stays as it is.
func stepBehind() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), behind)
}
