package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"nines/app"
	"nines/console"
)

func (p program) noticesCommand() *cobra.Command {
	var f nodeFlags
	var trial bool
	var by string
	cmd := &cobra.Command{
		Use:   "notices",
		Short: "Say what people outside are told, who waits to be acknowledged, and whether notices arrive",
		Long: "notices lists what is told by webhook and mail, and how each receiver does. With --trial every receiver is told a trial notice, to see whether\n" +
			"it arrives.",
		Args: takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := console.NewClient(f.run)
			ask := client.Notices
			if trial {
				if err := owner(cmd, by); err != nil {
					return err
				}
				if _, err := client.TryNotices(cmd.Context(), by); err != nil {
					return err
				}
			}
			l, err := ask(cmd.Context())
			if err != nil || f.json {
				return printJSON(cmd.OutOrStdout(), l, err)
			}
			return l.WriteText(cmd.OutOrStdout(), p.now())
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&trial, "trial", false, "tell every receiver a trial notice")
	cmd.Flags().StringVar(&by, "by", "", "who you are")
	return cmd
}

func (p program) acknowledgeCommand() *cobra.Command {
	var f nodeFlags
	var by string
	cmd := &cobra.Command{
		Use:   "acknowledge [ID] --by alice",
		Short: "Say that you see to a notice, or to all: it is repeated no more",
		Long: "acknowledge stops the reminders of a notice, or of all that wait. What gets worse after that is told again, and wants an acknowledgement of its own.\n" +
			"nines notices lists them.",
		Args: takes(cobra.MaximumNArgs(1)),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var ids []string
			l, _ := console.NewClient(f.run).Notices(cmd.Context()) // no node: no ids
			for _, n := range l.Notices {
				if n.Waits && len(args) == 0 {
					ids = append(ids, n.ID)
				}
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := owner(cmd, by); err != nil {
				return err
			}
			id := ""
			if len(args) == 1 {
				id = args[0]
			}
			r, err := console.NewClient(f.run).Acknowledge(cmd.Context(), id, by)
			return f.show(cmd, r, err, r.WriteText)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&by, "by", "", "who you are")
	return cmd
}

func (p program) noticeCommand() *cobra.Command {
	var f nodeFlags
	var lang, config string
	cmd := &cobra.Command{
		Use:   "notice [--lang en]",
		Short: "Print the text for the public, for web page and social media, with the numbers of the configuration",
		Args:  takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var texts console.PublicNotice
			var err error
			if config != "" {
				texts, err = app.PublicNotice(config)
			} else {
				texts, err = console.NewClient(f.run).PublicNotice(cmd.Context())
			}
			if err != nil || f.json {
				return printJSON(cmd.OutOrStdout(), texts, err)
			}
			text, ok := texts[lang]
			if !ok {
				return usageError{fmt.Errorf("there is no text in %q; there are en and cy", lang)}
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&lang, "lang", "en", "en or cy")
	cmd.Flags().StringVar(&config, "config", "", "take the numbers of this file, and ask no running node")
	return cmd
}
