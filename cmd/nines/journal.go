package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nines/app"
	"nines/console"
)

func (p program) journalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "Read, prove and export the book; erase a person's number from it",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.verifyCommand(), p.exportCommand(), p.tailCommand(), p.eraseCommand())
	return cmd
}

func (p program) verifyCommand() *cobra.Command {
	var f nodeFlags
	var file string
	var heads []string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Follow the chain of the whole book; name the first entry that is not what was written",
		Long: "verify reads the whole book and follows its chain of hashes, in the running node or, with --file, in the file itself, with or without a node beside it.\n" +
			"--head takes a head that was kept elsewhere, for instance from the log: the book must still have it. It exits with 1 when the book is broken.",
		Args: takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			known, err := console.KnownHeads(heads)
			if err != nil {
				return usageError{err}
			}
			var v console.JournalVerdict
			name := file
			if file != "" {
				v, err = app.VerifyBook(cmd.Context(), file, known)
			} else {
				name = "the book"
				v, err = console.NewClient(f.run).VerifyJournal(cmd.Context(), heads)
			}
			if err != nil {
				return err
			}
			if f.json {
				err = printJSON(cmd.OutOrStdout(), v, nil)
			} else {
				err = console.WriteVerdict(cmd.OutOrStdout(), name, &v)
			}
			if err == nil && !v.OK {
				return errSaid
			}
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&file, "file", "", "this file instead of the running node's book")
	cmd.Flags().StringArrayVar(&heads, "head", nil, "SEQ:HASH that the book must have; may be repeated")
	return cmd
}

// bookFlags say which entries are wanted.
type bookFlags struct {
	since, until, call, number, endpoint string
	types                                []string
}

func (b *bookFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.since, "since", "", "made then or later: 2026-11-26T21:00:00Z, or so long ago: 30m, 12h")
	cmd.Flags().StringVar(&b.until, "until", "", "made before: as --since")
	cmd.Flags().StringVar(&b.call, "call", "", "of this call: our name for it, or a Call-ID")
	cmd.Flags().StringVar(&b.number, "number", "", "of this caller or called, in any spelling")
	cmd.Flags().StringVar(&b.endpoint, "endpoint", "", "that speak of this endpoint")
	cmd.Flags().StringSliceVar(&b.types, "type", nil, "of these types: CallEndLogEvent,NinesOperatorAct")
}

func (b *bookFlags) query(now time.Time) (console.JournalQuery, error) {
	q := console.JournalQuery{Call: b.call, Number: b.number, Endpoint: b.endpoint}
	for _, t := range b.types {
		q.Types = append(q.Types, console.JournalType(t))
	}
	var err error
	q.Since, q.Until, err = span(b.since, b.until, now)
	return q, err
}

// span reads a time from --since until --until.
func span(since, until string, now time.Time) (from, end time.Time, err error) {
	from, err = when("since", since, now)
	end, err2 := when("until", until, now)
	return from, end, errors.Join(err, err2)
}

// when reads a time, or how long ago it was.
func when(name, said string, now time.Time) (time.Time, error) {
	if said == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, said); err == nil {
		return t, nil
	}
	d, err := time.ParseDuration(said)
	if err != nil {
		return time.Time{}, usageError{fmt.Errorf("--%s %q: say a time such as 2026-11-26T21:00:00Z, or how long ago: 30m, 12h", name, said)}
	}
	return now.Add(-d), nil
}

func (p program) exportCommand() *cobra.Command {
	var f nodeFlags
	var b bookFlags
	var file, out string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the book's entries, a line of JSON each",
		Long: "export prints entries in their order, a line of JSON each, from the running node or, with --file, from the file itself. It prints callers' numbers: mind where it goes.\n" +
			"--type NinesHead prints the signed heads.",
		Args: takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := b.query(p.now())
			if err != nil {
				return err
			}
			return to(cmd, out, func(w io.Writer) error {
				if file != "" {
					return app.ExportBook(cmd.Context(), file, q, w)
				}
				lines := json.NewEncoder(w)
				return console.NewClient(f.run).Journal(cmd.Context(), q, func(e console.JournalEntry) error { return lines.Encode(e) })
			})
		},
	}
	f.add(cmd)
	b.add(cmd)
	cmd.Flags().StringVar(&file, "file", "", "this file instead of the running node's book")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this file instead of the terminal")
	return cmd
}

// to writes to a file, or to where a command prints.
func to(cmd *cobra.Command, name string, write func(io.Writer) error) error {
	if name == "" {
		return write(cmd.OutOrStdout())
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func (p program) tailCommand() *cobra.Command {
	var f nodeFlags
	var b bookFlags
	var follow bool
	var n int
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print the newest entries of the book; with -f those that come",
		Args:  takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := b.query(p.now())
			if err != nil {
				return err
			}
			client := console.NewClient(f.run)
			var newest []console.JournalEntry
			q.Newest, q.Limit = true, max(n, 1)
			if err := client.Journal(cmd.Context(), q, func(e console.JournalEntry) error { newest = append(newest, e); return nil }); err != nil {
				return err
			}
			slices.Reverse(newest)
			var last int64
			show := func(e console.JournalEntry) error {
				last = e.Seq
				if f.json {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(e)
				}
				return console.WriteEntry(cmd.OutOrStdout(), &e)
			}
			for _, e := range newest {
				if err := show(e); err != nil {
					return err
				}
			}
			for q.Newest, q.Limit = false, 0; follow; {
				q.After = last
				if err := client.Journal(cmd.Context(), q, show); err != nil {
					return err
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(500 * time.Millisecond):
				}
			}
			return nil
		},
	}
	f.add(cmd)
	b.add(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	cmd.Flags().IntVarP(&n, "lines", "n", 20, "as many of the newest")
	return cmd
}

func (p program) eraseCommand() *cobra.Command {
	var f nodeFlags
	var req console.EraseRequest
	cmd := &cobra.Command{
		Use:   "erase NUMBER --by alice --why \"request 17\"",
		Short: "Forget a person's number; the chain of the book still holds",
		Long: "erase forgets a number wherever it stands as caller or called, in messages that name it, in the call-back list and in notices. It cannot be undone.\n" +
			"That it was done, by whom and why, is an entry. What was sent elsewhere by journal.also stays there.",
		Args: takes(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := said(cmd, "why", "by"); err != nil {
				return err
			}
			req.Number = strings.TrimSpace(args[0])
			e, err := console.NewClient(f.run).EraseNumber(cmd.Context(), req)
			if err != nil || f.json {
				return printJSON(cmd.OutOrStdout(), e, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "erased in %d entries of %d calls\n", e.Entries, len(e.Calls))
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&req.Why, "why", "", "the reason, for the book")
	cmd.Flags().StringVar(&req.By, "by", "", "who you are")
	return cmd
}

func (p program) incidentsCommand() *cobra.Command {
	var f nodeFlags
	var since string
	cmd := &cobra.Command{
		Use:   "incidents",
		Short: "List outages of own rooms: what happened to callers, and what to do now",
		Args:  takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := when("since", since, p.now())
			if err != nil {
				return err
			}
			l, err := console.NewClient(f.run).Incidents(cmd.Context(), from)
			return f.show(cmd, l, err, l.WriteText)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&since, "since", "", "begun then or later: 2026-11-26T21:00:00Z, or so long ago: 30m, 12h; a month when left out")
	cmd.AddCommand(p.confirmCommand())
	return cmd
}

func (p program) confirmCommand() *cobra.Command {
	var f nodeFlags
	var c console.Confirmation
	cmd := &cobra.Command{
		Use:   "confirm ID --by alice --why \"999 and 101 tried by hand\"",
		Short: "Say that you have seen an incident to be over",
		Args:  takes(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := said(cmd, "why", "by"); err != nil {
				return err
			}
			c.Incident = args[0]
			r, err := console.NewClient(f.run).ConfirmIncident(cmd.Context(), c)
			return f.show(cmd, r, err, r.WriteText)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&c.Why, "why", "", "what was tried")
	cmd.Flags().StringVar(&c.By, "by", "", "who you are")
	return cmd
}

func (p program) reportCommand() *cobra.Command {
	var f nodeFlags
	var html, markdown bool
	var out string
	cmd := &cobra.Command{
		Use:   "report INCIDENT",
		Short: "Write the report of an incident: Markdown, HTML to print, or JSON",
		Long:  "report writes what happened in an incident, who answered, and what a regulator asks for as far as the book knows it. nines incidents lists their names.",
		Args:  takes(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if html && markdown || f.json && (html || markdown) {
				return usageError{errors.New("--html, --markdown or --json, not several")}
			}
			format := "markdown"
			switch {
			case html:
				format = "html"
			case f.json:
				format = ""
			}
			body, err := console.NewClient(f.run).Incident(cmd.Context(), args[0], format)
			if err != nil {
				return err
			}
			defer body.Close()
			return to(cmd, out, func(w io.Writer) error {
				_, err := io.Copy(w, body)
				return err
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&html, "html", false, "a page that needs nothing else, to be read and printed")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "Markdown, which is what you get when you say nothing")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this file instead of the terminal")
	return cmd
}

func (p program) ledgerCommand() *cobra.Command {
	var f nodeFlags
	var since, until string
	var asCSV bool
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Say what each partner did for us: calls, minutes, peak",
		Args:  takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asCSV && f.json {
				return usageError{errors.New("--csv or --json, not both")}
			}
			from, end, err := span(since, until, p.now())
			if err != nil {
				return err
			}
			l, err := console.NewClient(f.run).Ledger(cmd.Context(), from, end)
			if err != nil || f.json {
				return printJSON(cmd.OutOrStdout(), l, err)
			}
			if asCSV {
				return l.WriteCSV(cmd.OutOrStdout())
			}
			return l.WriteText(cmd.OutOrStdout())
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&since, "since", "", "from then on: 2026-11-26T21:00:00Z, or so long ago: 720h; a month when left out")
	cmd.Flags().StringVar(&until, "until", "", "until then: as --since")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "print a table for a spreadsheet")
	return cmd
}
