// Package cli is what people type and read: the commands of mixminion and mixminiond, their help, and the demo. Nothing below it
// knows that a terminal exists.
//
// What a command was asked for goes to standard output. What it says about its work goes to standard error, in plain sentences, and
// not at all with --quiet. Errors go there as "program: what happened", with status 1.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"mixminion/internal/harden"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Version is the version of this software.
const Version = "0.1.0"

// software is how descriptors name this program.
const software = "Mixminion " + Version

// streams are what a program reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
	quiet    bool
	verbose  bool
	machine  statusFD
	// refresh, if not nil, is what openUser does for the command about the directory.
	refresh func(*user) error
}

// say writes a line about the work in hand.
func (s *streams) say(format string, args ...any) {
	if !s.quiet {
		_, _ = fmt.Fprintf(s.err, format+"\n", args...) // nobody to tell if standard error is gone
	}
}

// detail writes a line that only those who asked for more want to read.
func (s *streams) detail(format string, args ...any) {
	if s.verbose {
		s.say(format, args...)
	}
}

// isTerminal reports whether v is a terminal.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Mixminion runs the user's program and returns its exit status.
func Mixminion(args []string, in io.Reader, out, errOut io.Writer) int {
	s := &streams{in: in, out: out, err: errOut}
	return run(newMixminion(s), args, s)
}

// Mixminiond runs the server and returns its exit status.
func Mixminiond(args []string, in io.Reader, out, errOut io.Writer) int {
	s := &streams{in: in, out: out, err: errOut}
	return run(newMixminiond(s), args, s)
}

func run(root *cobra.Command, args []string, s *streams) int {
	if err := harden.NoCoreDumps(); err != nil {
		s.say("Warning: a crash could write secrets to disk: %v.", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first interrupt asks the command to end; a second one need not wait until it does.
	context.AfterFunc(ctx, stop)
	return exitStatus(ctx, root, execute(ctx, root, args, s), s)
}

// execute runs one command line; interrupting ctx ends it.
func execute(ctx context.Context, root *cobra.Command, args []string, s *streams) error {
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(newHelp())
	root.InitDefaultHelpCmd()
	explainArgs(root)
	// What a shell wants to have completed is no full command line.
	if len(args) == 0 || args[0] != cobra.ShellCompRequestCmd && args[0] != cobra.ShellCompNoDescRequestCmd {
		var err error
		if args, err = expandArgs(root, args); err != nil {
			return err
		}
	}
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// exitStatus says what went wrong with a command and returns its exit status.
func exitStatus(ctx context.Context, root *cobra.Command, err error, s *streams) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		_, _ = fmt.Fprintf(s.err, "%s: interrupted\n", root.Name())
	default:
		_, _ = fmt.Fprintf(s.err, "%s: %v\n", root.Name(), err)
	}
	if errors.As(err, new(tryLater)) {
		return exTempFail
	}
	return 1
}

// exTempFail is the status by which programs that take mail tell a mail server to keep it (sysexits.h).
const exTempFail = 75

// tryLater is an error after which a mail server keeps the mail.
type tryLater struct{ error }

func (t tryLater) Unwrap() error { return t.error }

func temporary(err error) error {
	if err == nil {
		return nil
	}
	return tryLater{err}
}

func newMixminion(s *streams) *cobra.Command {
	var configFile string
	root := &cobra.Command{
		Use:   "mixminion",
		Short: "Send mail that nobody can trace to you",
		Long: "Mixminion sends mail through a chain of mixes. Each mix takes off one layer of\n" +
			"encryption, waits, shuffles, and passes the packet on, so that nobody on the way\n" +
			"knows both who wrote and who reads.\n\n" +
			"To see it work on this machine alone: mixminion demo",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return errors.New("say which command you want")
		},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if s.quiet && s.verbose {
				return errors.New("--quiet and --verbose contradict each other")
			}
			return nil
		},
	}
	root.PersistentFlags().StringVarP(&configFile, "config", "f", "", "read the configuration from `FILE` (default ~/.mixminionrc)")
	root.PersistentFlags().BoolVarP(&s.quiet, "quiet", "Q", false, "say nothing but errors")
	root.PersistentFlags().BoolVarP(&s.verbose, "verbose", "v", false, "say more about the work in hand")
	s.machine.register(root)
	root.AddCommand(newSend(s, &configFile), newQueue(s, &configFile), newFlush(s, &configFile), newInspectQueue(s, &configFile), newCleanQueue(s, &configFile))
	root.AddCommand(newAgent(s, &configFile))
	root.AddCommand(newImportServer(s, &configFile), newDemo(s), newVersion(s, "Mixminion"))
	root.AddCommand(newListServers(s, &configFile), newUpdateServers(s, &configFile), newPing(s, &configFile), newCountPackets(s))
	root.AddCommand(newShell(s), newCompletion(s, "mixminion"))
	root.AddCommand(newDecode(s, &configFile), newListFragments(s, &configFile), newReassemble(s, &configFile), newPurgeFragments(s, &configFile))
	root.AddCommand(newGenerateSURB(s, &configFile), newGenerateKey(s, &configFile), newInspectSURB(s, &configFile))
	addDownload(root, s) // after all commands
	return root
}

func newVersion(s *streams, name string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(s.out, "%s version %s\n", name, Version)
			return err
		},
	}
}
