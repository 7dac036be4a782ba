package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nines/app"
	"nines/console"
)

func (p program) callsCommand() *cobra.Command {
	var f nodeFlags
	var q console.CallQuery
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "calls",
		Short: "List calls: those that live and those of the book",
		Long:  "calls lists the calls that live and those that are over, the newest first. What is over comes from the book; nines call says all of one.",
		Args:  takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since > 0 {
				q.Since = p.now().Add(-since)
			}
			l, err := console.NewClient(f.run).Calls(cmd.Context(), q)
			if err != nil || f.json {
				return printJSON(cmd.OutOrStdout(), l, err)
			}
			return l.WriteText(cmd.OutOrStdout(), p.now())
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&q.Live, "live", false, "only those that live")
	cmd.Flags().StringVar(&q.Number, "number", "", "of this caller, in any spelling")
	cmd.Flags().StringVar(&q.Endpoint, "endpoint", "", "that this endpoint had last")
	cmd.Flags().StringVar(&q.Outcome, "outcome", "", "answered, refused, cancelled or lost_talking")
	cmd.Flags().DurationVar(&since, "since", 0, "begun so long ago or later: 30m, 12h")
	cmd.Flags().IntVar(&q.Limit, "limit", 50, "as many, at most 1000")
	return cmd
}

func (p program) callCommand() *cobra.Command {
	var f nodeFlags
	var pcap string
	cmd := &cobra.Command{
		Use:   "call ID",
		Short: "Say what happened to one call, in order, with its SIP messages as a ladder",
		Long:  "call says what happened to one call, by its name in nines calls and the log, or by a Call-ID. Its messages follow where journal.messages has them kept.",
		Args:  takes(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := console.NewClient(f.run)
			if pcap != "" {
				file, err := client.CallPCAP(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return os.WriteFile(pcap, file, 0o600) // callers' numbers are in it
			}
			d, err := client.Call(cmd.Context(), args[0])
			return f.show(cmd, d, err, d.WriteText)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&pcap, "pcap", "", "write its SIP messages to this file, for Wireshark")
	return cmd
}

func (p program) callbacksCommand() *cobra.Command {
	var f nodeFlags
	var all, asCSV bool
	cmd := &cobra.Command{
		Use:   "callbacks",
		Short: "List who must be rung back: emergency calls that nobody answered or that were lost",
		Long: "callbacks lists, by caller number, every emergency call that ended unanswered or was lost while it talked. A later call of that number of 10 s and\n" +
			"more takes it off the list, or a person with nines callbacks done. Calls with a withheld number have a line each, and only a person clears them.",
		Args: takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asCSV && f.json {
				return usageError{fmt.Errorf("--csv or --json, not both")}
			}
			l, err := console.NewClient(f.run).CallBackList(cmd.Context(), all)
			if err != nil || f.json {
				return printJSON(cmd.OutOrStdout(), l, err)
			}
			if asCSV {
				return l.WriteCSV(cmd.OutOrStdout())
			}
			return l.WriteText(cmd.OutOrStdout(), p.now())
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "those that are cleared too")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "print a table for a spreadsheet")
	cmd.AddCommand(p.callbackDoneCommand())
	return cmd
}

func (p program) callbackDoneCommand() *cobra.Command {
	var f nodeFlags
	var done console.CallBackDone
	cmd := &cobra.Command{
		Use:   "done NUMBER|ID --by alice --outcome \"spoke to caller\"",
		Short: "Take somebody off the call-back list",
		Args:  takes(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := said(cmd, "outcome", "by"); err != nil {
				return err
			}
			if err := app.CheckOwner(done.By); err != nil {
				return usageError{err}
			}
			done.Who = strings.TrimSpace(args[0])
			r, err := console.NewClient(f.run).CallBackDone(cmd.Context(), done)
			return f.show(cmd, r, err, r.WriteText)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&done.Outcome, "outcome", "", "what came of it, for whoever reads the list")
	cmd.Flags().StringVar(&done.By, "by", "", "who you are")
	return cmd
}
