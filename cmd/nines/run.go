package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"nines/app"
)

func (p program) runCommand() *cobra.Command {
	var path, level string
	var drain time.Duration
	var noBook bool
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Take calls until told to stop (SIGTERM); SIGHUP reads the file again",
		Args:  takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := zerolog.ParseLevel(level)
			if err != nil {
				return usageError{err}
			}
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			log := newLog(cmd.ErrOrStderr(), l)
			if err := noCore(); err != nil {
				log.Warn().Err(err).Msg("a crash may leave a core file with secrets and callers' numbers in it")
			}
			return p.run(cmd.Context(), app.Options{ConfigPath: path, Version: version, Log: log, Reload: hup, Drain: drain, NoBook: noBook})
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "/etc/nines/nines.yaml", "the configuration")
	cmd.Flags().DurationVar(&drain, "drain", time.Minute, "how long calls in progress may go on after SIGTERM; a second signal ends at once")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error; only debug shows callers' numbers")
	cmd.Flags().BoolVar(&noBook, "no-book", false, "record nothing, to measure what the record costs")
	_ = cmd.Flags().MarkHidden("no-book") // the flag is there
	return cmd
}

func (p program) checkCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say every problem of a configuration, and what it would do in words",
		Args:  takes(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON {
				c := app.CheckFile(args[0])
				if err := printJSON(cmd.OutOrStdout(), c, nil); err != nil || c.Accepted {
					return err
				}
				return errSaid
			}
			if !p.check(args[0], cmd.OutOrStdout()) {
				return errSaid
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
