package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"nines/console"
)

// nodeFlags are what every command takes that talks to a running node.
type nodeFlags struct {
	run  string
	json bool
}

func (f *nodeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.run, "run", cmp.Or(os.Getenv("NINES_RUN"), "/run/nines"), "the node's run folder, as its configuration says ($NINES_RUN)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

func (p program) statusCommand() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "status [ENDPOINT]",
		Short: "Say how the running node is, or what it believes about one endpoint and why",
		Args:  takes(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, out := console.NewClient(f.run), cmd.OutOrStdout()
			if len(args) == 1 {
				e, err := client.Endpoint(cmd.Context(), args[0])
				if err != nil || f.json {
					return printJSON(out, e, err)
				}
				return e.WriteText(out, p.now())
			}
			s, err := client.Status(cmd.Context())
			if err != nil || f.json {
				return printJSON(out, s, err)
			}
			return s.WriteText(out, p.now())
		},
		ValidArgsFunction: f.endpoints(func(console.EndpointStatus) bool { return true }),
	}
	f.add(cmd)
	return cmd
}

func (p program) reloadCommand() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running node read its configuration again",
		Args:  takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := console.NewClient(f.run).Reload(cmd.Context())
			if err != nil {
				return err
			}
			if f.json {
				err = printJSON(cmd.OutOrStdout(), r, nil)
			} else {
				err = r.WriteText(cmd.OutOrStdout())
			}
			if err == nil && !r.Accepted {
				return errSaid
			}
			return err
		},
	}
	f.add(cmd)
	return cmd
}

func (p program) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which nines this is",
		Args:  takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := thisVersion()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), v, nil)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "nines %s, %s\n", v.Version, v.Go)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// show prints what the node answered, as it was asked for, unless asking went wrong.
func (f *nodeFlags) show(cmd *cobra.Command, v any, err error, text func(io.Writer) error) error {
	if err != nil || f.json {
		return printJSON(cmd.OutOrStdout(), v, err)
	}
	return text(cmd.OutOrStdout())
}

// printJSON prints v, unless asking for it went wrong.
func printJSON(w io.Writer, v any, err error) error {
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
