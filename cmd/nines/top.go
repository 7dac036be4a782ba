package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"nines/console"
)

const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	goHome      = "\x1b[H"
	restOfLine  = "\x1b[K"
	restOfPage  = "\x1b[J"
)

func (p program) topCommand() *cobra.Command {
	var f nodeFlags
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show the live state of the running node in the terminal; q quits",
		Long: "top shows who answers, who is up, who is down and why, and follows the node until q. Without a terminal, or with --once, it prints one picture;\n" +
			"with --json every picture as a line, as the node changes.",
		Args: takes(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			client := console.NewClient(f.run)
			if f.json {
				return followJSON(cmd.Context(), client, out, once)
			}
			keys, restore := terminalKeys(os.Stdin, out)
			if once || keys == nil {
				s, err := client.Status(cmd.Context())
				if err != nil {
					return err
				}
				return console.WriteTop(out, &console.Live{At: p.now(), Status: s}, p.now(), 0, 0)
			}
			defer restore()
			return p.top(cmd.Context(), client, out.(*os.File), keys)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "print one picture and end")
	return cmd
}

var errEnough = errors.New("enough")

// followJSON writes each picture as a line.
func followJSON(ctx context.Context, client *console.Client, out io.Writer, once bool) error {
	err := client.Follow(ctx, func(l *console.Live) error {
		if l == nil {
			return nil
		}
		if err := printLine(out, l); err != nil {
			return err
		}
		if once {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// top draws pictures until q. While the node is away it says so and tries again.
func (p program) top(ctx context.Context, client *console.Client, out *os.File, keys <-chan byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if _, err := client.Version(ctx); err != nil {
		return err // who never saw a node is told on the usual screen, with the exit code for it
	}
	pictures := make(chan *console.Live)
	lost := make(chan error)
	go func() { // ends with ctx
		for ctx.Err() == nil {
			err := client.Follow(ctx, func(l *console.Live) error {
				select {
				case pictures <- l:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if err == nil {
				err = errors.New("the node has ended the connection")
			}
			select {
			case lost <- err:
			case <-ctx.Done():
				return
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}()
	_, _ = io.WriteString(out, enterScreen)
	defer func() { _, _ = io.WriteString(out, leaveScreen) }()
	var latest *console.Live
	var trouble error
	clock := time.NewTicker(time.Second)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case k, ok := <-keys:
			if !ok || k == 'q' || k == 'Q' || k == 3 || k == 27 {
				return nil
			}
		case l := <-pictures:
			trouble = nil
			switch {
			case l != nil:
				latest = l
			case latest != nil:
				latest.At = p.now() // nothing has changed since
			}
		case trouble = <-lost:
		case <-clock.C:
		}
		if err := p.draw(out, latest, trouble); err != nil {
			return err
		}
	}
}

// draw paints over the picture before, a line at a time, so that nothing flickers.
func (p program) draw(out *os.File, l *console.Live, trouble error) error {
	width, height, err := term.GetSize(int(out.Fd()))
	if err != nil {
		width, height = 80, 24
	}
	page := &screen{width: width, height: height}
	switch {
	case l == nil:
		page.line("waiting for the node")
	default:
		if err := console.WriteTop(page, l, p.now(), width, height); err != nil {
			return err
		}
	}
	if trouble != nil {
		page.last(fmt.Sprintf("NOT LIVE: %v; it is tried again   q quits", trouble))
	}
	_, err = io.WriteString(out, goHome+page.String()+restOfPage)
	return err
}

func printLine(w io.Writer, v any) error {
	b, err := jsonLine(v)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}
