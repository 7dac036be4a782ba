// Command nines answers emergency calls when the control room's PBX cannot: flags and subcommands, the work is done in package app.
//
// Exit codes: 0 done, 1 failed, 2 the command line is wrong, 3 no running node answers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"nines/app"
	"nines/console"
)

// version is set by the linker (make build).
var version = "dev"

// The exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
)

// errSaid ends a command whose output has said already what went wrong.
var errSaid = errors.New("failed")

// usageError is a mistake on the command line.
type usageError struct{ error }

// program is what the commands call; tests put their own in.
type program struct {
	run   func(context.Context, app.Options) error
	check func(path string, w io.Writer) bool
	demo  func(context.Context, app.DemoOptions) (app.DemoSummary, error)
	now   func() time.Time
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	p := program{run: app.Run, check: app.Check, demo: app.Demo, now: time.Now}
	os.Exit(p.main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// main runs one command line and returns its exit code.
func (p program) main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := p.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errSaid):
		return exitFailed
	}
	fmt.Fprintln(stderr, "nines:", err)
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "nines help says more")
		return exitUsage
	case errors.Is(err, console.ErrUnreachable):
		return exitUnreachable
	}
	return exitFailed
}

func (p program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "nines",
		Short: "A SIP failover proxy for emergency control rooms",
		Long: "nines stands between the carriers and a control room and keeps emergency calls answered when the PBX is not.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 the command line is wrong, 3 no running node answers.",
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		p.runCommand(),
		p.checkCommand(),
		p.reloadCommand(),
		p.statusCommand(),
		p.topCommand(),
		p.holdCommand(),
		p.releaseCommand(),
		p.holdsCommand(),
		p.treatCommand(),
		p.untreatCommand(),
		p.treatsCommand(),
		p.callsCommand(),
		p.callCommand(),
		p.callbacksCommand(),
		p.journalCommand(),
		p.incidentsCommand(),
		p.reportCommand(),
		p.ledgerCommand(),
		p.noticesCommand(),
		p.acknowledgeCommand(),
		p.noticeCommand(),
		p.tokenCommand(),
		p.versionCommand(),
		p.demoCommand(),
	)
	return root
}

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	err := fmt.Errorf("there is no command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w; did you mean %q?", err, near[0])
	}
	return usageError{err}
}

// takes says how many arguments a command takes; another number is a mistake on the command line.
func takes(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%s: %w", cmd.Name(), err)}
		}
		return nil
	}
}

// newLog writes for people on a terminal, else JSON, a line an event.
func newLog(w io.Writer, level zerolog.Level) zerolog.Logger {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		w = zerolog.ConsoleWriter{Out: f, TimeFormat: "15:04:05.000"}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

func thisVersion() console.Version { return console.Version{Version: version, Go: runtime.Version()} }
