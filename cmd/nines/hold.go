package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"nines/app"
	"nines/console"
)

func (p program) holdCommand() *cobra.Command {
	var f nodeFlags
	var req console.HoldRequest
	cmd := &cobra.Command{
		Use:   "hold ENDPOINT --for 2h --why \"power work\" --by alice",
		Short: "Have an endpoint asked last until the hold ends or is released",
		Long: "hold has an endpoint asked last, for at most 7d, until the hold ends or somebody releases it. No emergency call's plan leaves it out, and calls in\n" +
			"progress go on there. A hold survives a restart. Holding it again replaces the hold.",
		Args:              takes(cobra.ExactArgs(1)),
		ValidArgsFunction: f.endpoints(func(console.EndpointStatus) bool { return true }),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := said(cmd, "for", "why", "by"); err != nil {
				return err
			}
			req.Endpoint = args[0]
			if _, err := app.HoldLength(req); err != nil {
				return usageError{err}
			}
			r, err := console.NewClient(f.run).Hold(cmd.Context(), req)
			return f.show(cmd, r, err, r.WriteText)
		},
	}
	f.add(cmd)
	orderFlags(cmd, &req.For, &req.Why, &req.By)
	return cmd
}

func (p program) releaseCommand() *cobra.Command {
	var f nodeFlags
	var by string
	cmd := &cobra.Command{
		Use:   "release ENDPOINT --by alice",
		Short: "End an endpoint's hold, or let one that comes back off its way back",
		Long: "release ends an endpoint's hold. An endpoint that is down is let off its hold-down, one that must prove itself takes emergency calls again:\n" +
			"say it when you know that somebody sits there.",
		Args:              takes(cobra.ExactArgs(1)),
		ValidArgsFunction: f.endpoints(func(e console.EndpointStatus) bool { return e.Held || e.Returning || e.Verdict != "up" }),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := owner(cmd, by); err != nil {
				return err
			}
			r, err := console.NewClient(f.run).Release(cmd.Context(), args[0], by)
			return f.show(cmd, r, err, r.WriteText)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&by, "by", "", "who you are")
	return cmd
}

func (p program) holdsCommand() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "holds",
		Short: "Say which endpoints are held, by whom, until when and why",
		Args:  takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := console.NewClient(f.run).Holds(cmd.Context())
			return f.show(cmd, l, err, l.WriteText)
		},
	}
	f.add(cmd)
	return cmd
}

// said says which flags are missing that must be given.
func said(cmd *cobra.Command, flags ...string) error {
	var missing []string
	for _, name := range flags {
		if !cmd.Flags().Changed(name) {
			missing = append(missing, "--"+name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return usageError{errors.New(cmd.Name() + " needs " + strings.Join(missing, " and ") + ": nines " + cmd.Use)}
}

// owner says what is wrong with who acts.
func owner(cmd *cobra.Command, by string) error {
	if err := said(cmd, "by"); err != nil {
		return err
	}
	if err := app.CheckOwner(by); err != nil {
		return usageError{err}
	}
	return nil
}

// orderFlags are those of an order that stands for a while.
func orderFlags(cmd *cobra.Command, length, why, by *string) {
	cmd.Flags().StringVar(length, "for", "", "how long, as in the configuration: 30m, 2h, 1d; at most 7d")
	cmd.Flags().StringVar(why, "why", "", "the reason, for whoever sees it at night")
	cmd.Flags().StringVar(by, "by", "", "who you are")
}

// endpoints completes a first argument with the names of the running node's endpoints.
func (f *nodeFlags) endpoints(which func(console.EndpointStatus) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s, _ := console.NewClient(f.run).Status(cmd.Context()) // no node: no names
		var names []string
		for _, e := range s.Endpoints {
			if which(e) {
				names = append(names, e.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
