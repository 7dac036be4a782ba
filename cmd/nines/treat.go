package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"nines/app"
	"nines/console"
)

func (p program) treatCommand() *cobra.Command {
	var f nodeFlags
	var req console.TreatRequest
	cmd := &cobra.Command{
		Use:   "treat ROUTE as emergency --for 1h --why \"999 is down, the press gave out 101\" --by alice",
		Short: "Have the calls of a routine route treated as emergencies for a while",
		Long: "treat has the calls of a routine route, named by its name or a number on it, treated as emergencies, for at most 7d. They are asked for on the\n" +
			"emergency route, in the second line: new calls to 999 come first. Nothing is announced to them. It survives a restart.\n" +
			"nines treat ROUTE as routine --by alice ends it, and so does nines untreat.",
		Args: takes(cobra.ExactArgs(3)),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Route = args[0]
			switch {
			case args[1] != "as":
				return usageError{errors.New("say: nines treat " + args[0] + " as emergency, or as routine")}
			case args[2] == "routine":
				return f.untreat(cmd, req.Route, req.By)
			case args[2] != "emergency":
				return usageError{fmt.Errorf("a route is treated as emergency or as routine, not as %q", args[2])}
			}
			if err := said(cmd, "for", "why", "by"); err != nil {
				return err
			}
			if _, err := app.TreatLength(req); err != nil {
				return usageError{err}
			}
			r, err := console.NewClient(f.run).Treat(cmd.Context(), req)
			return f.show(cmd, r, err, r.WriteText)
		},
	}
	f.add(cmd)
	orderFlags(cmd, &req.For, &req.Why, &req.By)
	return cmd
}

func (p program) untreatCommand() *cobra.Command {
	var f nodeFlags
	var by string
	cmd := &cobra.Command{
		Use:   "untreat ROUTE --by alice",
		Short: "Have a route treated as routine again",
		Args:  takes(cobra.ExactArgs(1)),
		RunE:  func(cmd *cobra.Command, args []string) error { return f.untreat(cmd, args[0], by) },
	}
	f.add(cmd)
	cmd.Flags().StringVar(&by, "by", "", "who you are")
	return cmd
}

// untreat ends an order.
func (f *nodeFlags) untreat(cmd *cobra.Command, route, by string) error {
	if err := owner(cmd, by); err != nil {
		return err
	}
	r, err := console.NewClient(f.run).Untreat(cmd.Context(), route, by)
	return f.show(cmd, r, err, r.WriteText)
}

func (p program) treatsCommand() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "treats",
		Short: "Say which routine routes are treated as emergency, by whom, until when and why",
		Args:  takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := console.NewClient(f.run).Treats(cmd.Context())
			return f.show(cmd, l, err, l.WriteText)
		},
	}
	f.add(cmd)
	return cmd
}
