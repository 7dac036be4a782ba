package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"nines/console"
)

// newToken is a token as it is shown once.
type newToken struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	Token string `json:"token"`
	Line  string `json:"line"` // for the tokens file
}

func (p program) tokenCommand() *cobra.Command {
	var asJSON bool
	t := newToken{Role: "operator"}
	cmd := &cobra.Command{
		Use:   "token NAME [--role operator]",
		Short: "Make a token for somebody who is to act in the console, and the line for the tokens file",
		Long: "token makes a secret that is shown this once, and the line that lets the console know it: put it into the file console.tokens_file, which counts a second\n" +
			"later. A viewer reads from other machines, with telephone numbers masked; an operator reads numbers and acts; an admin reloads the configuration too.",
		Args: takes(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			t.Name = args[0]
			if t.Token, t.Line, err = console.NewToken(t.Name, t.Role); err != nil {
				return usageError{err}
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), t, nil)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "for %s, who keeps it secret:  %s\nfor the tokens file:  %s\n", t.Name, t.Token, t.Line)
			return err
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&t.Role, "role", t.Role, console.Roles)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"viewer", "operator", "admin"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}
