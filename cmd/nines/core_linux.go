package main

import "golang.org/x/sys/unix"

// noCore keeps secrets and callers' numbers out of core files. The limit alone is not enough: the kernel asks a program that takes core files by a pipe
// whatever the limit says, but takes none of a process that is not dumpable.
func noCore() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
