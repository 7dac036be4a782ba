package main

import (
	"fmt"
	"io"
	"os"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"nines/app"
)

func (p program) demoCommand() *cobra.Command {
	var o app.DemoOptions
	var asJSON, verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the main job on loopback: a carrier calls 999, the primary dies, somebody else answers",
		Long: "demo starts a carrier that keeps calling 999, a primary, a standby, two partners and nines itself, all on loopback with real SIP and RTP.\n" +
			"On a terminal k kills the primary, r restores it and q quits. It exits 0 only if no call was lost, no caller was hung up on and no packet changed.",
		Args: takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkStory(o); err != nil {
				return usageError{err}
			}
			o.Version = version
			o.Log = newLog(cmd.ErrOrStderr(), logLevel(verbose))
			if !asJSON {
				o.View = cmd.OutOrStdout()
			}
			if keys, restore := terminalKeys(os.Stdin, o.View); keys != nil {
				defer restore()
				o.Keys = keys
			}
			summary, err := p.demo(cmd.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), summary, nil)
			} else {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), summary)
			}
			if err == nil && !summary.OK() {
				return errSaid
			}
			return err
		},
	}
	cmd.Flags().DurationVar(&o.For, "for", 0, "end after this time (0: when told to)")
	cmd.Flags().DurationVar(&o.KillAfter, "kill-after", 0, "kill the primary after this time (0: when told to)")
	cmd.Flags().DurationVar(&o.RestoreAfter, "restore-after", 0, "restore the primary after this time (0: when told to)")
	cmd.Flags().Float64Var(&o.Rate, "rate", 5, "calls a second")
	cmd.Flags().StringVar(&o.Console, "console", "", "where the console listens (default 127.0.0.1:8080, or any port when that is taken)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON summary and nothing else")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the log")
	return cmd
}

// checkStory refuses a story that cannot be told.
func checkStory(o app.DemoOptions) error {
	switch {
	case o.Rate <= 0:
		return fmt.Errorf("--rate %v: must be more than 0", o.Rate)
	case o.RestoreAfter != 0 && o.RestoreAfter <= o.KillAfter:
		return fmt.Errorf("--restore-after %v: must be after --kill-after %v", o.RestoreAfter, o.KillAfter)
	case o.For != 0 && max(o.KillAfter, o.RestoreAfter) >= o.For:
		return fmt.Errorf("--for %v: ends before the story does at %v", o.For, max(o.KillAfter, o.RestoreAfter))
	}
	return nil
}

func logLevel(verbose bool) zerolog.Level {
	if verbose {
		return zerolog.InfoLevel
	}
	return zerolog.ErrorLevel
}

// terminalKeys delivers single keys when both ends are a terminal, else nil. Ctrl-C stays a signal.
func terminalKeys(in *os.File, view io.Writer) (keys <-chan byte, restore func()) {
	out, ok := view.(*os.File)
	if !ok || !term.IsTerminal(int(out.Fd())) || !term.IsTerminal(int(in.Fd())) {
		return nil, nil
	}
	before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		return nil, nil
	}
	silent := *before
	silent.Lflag &^= unix.ICANON | unix.ECHO
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &silent); err != nil {
		return nil, nil
	}
	c := make(chan byte)
	go func() { // ends with the process: a read from a terminal cannot be stopped
		defer close(c)
		var key [1]byte
		for {
			if n, err := in.Read(key[:]); n == 0 || err != nil {
				return
			}
			c <- key[0]
		}
	}()
	return c, func() { _ = unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, before) }
}
