package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// shellPrompt is printed when the shell waits for a command on a terminal.
const shellPrompt = "mixminion> "

// maxLine bounds a line of the shell.
const maxLine = 1 << 16

func newShell(s *streams) *cobra.Command {
	var showWords bool
	cmd := &cobra.Command{
		Use:   "shell",
		Short: "Run commands that you type, one on each line",
		Long: "Reads commands, without the word mixminion in front, and runs them. Words are separated by\n" +
			"blanks; quotes and backslashes keep a blank inside a word. A line that begins with # is a\n" +
			"remark. The options given to shell itself, like --config, hold for every command.\n\n" +
			"A command that reads standard input takes the lines that follow: end them with Ctrl-D.\n" +
			"Exit and quit end the shell, and so does Ctrl-C, together with the command that runs.\n" +
			"When the lines come from a file or a pipe there is no prompt, and the status is 1 if a\n" +
			"command failed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sh := &shell{streams: s, prompt: isTerminal(s.in), showWords: showWords}
			cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
				if f.Changed {
					sh.common = append(sh.common, "--"+f.Name+"="+f.Value.String())
				}
			})
			if err := s.checkStatus(); err != nil {
				return err
			}
			return sh.run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&showWords, "debug-shlex", false, "print the words that each line is split into")
	return cmd
}

type shell struct {
	*streams
	common    []string // options for every command
	prompt    bool
	showWords bool
}

func (sh *shell) run(ctx context.Context) error {
	failed := false
	for {
		line, err := sh.readLine(ctx)
		if errors.Is(err, io.EOF) || err == nil && isExit(line) {
			break
		}
		if err != nil {
			return err
		}
		if !sh.runLine(ctx, line) {
			failed = true
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if failed && !sh.prompt {
		return errors.New("not all commands of the shell succeeded")
	}
	return nil
}

func isExit(line string) bool {
	word := strings.TrimSpace(line)
	return word == "exit" || word == "quit"
}

// runLine runs one command and reports whether it succeeded.
func (sh *shell) runLine(ctx context.Context, line string) bool {
	words, err := splitWords(line)
	if err != nil {
		_, _ = fmt.Fprintf(sh.err, "mixminion: %v\n", err)
		return false
	}
	if sh.showWords {
		_, _ = fmt.Fprintf(sh.err, "%q\n", words)
	}
	if len(words) == 0 {
		return true
	}
	// The status descriptor is opened once: whoever opens it also closes it at some time.
	s := &streams{in: sh.in, out: sh.out, err: sh.err, machine: statusFD{open: sh.machine.open}}
	root := newMixminion(s)
	for _, c := range root.Commands() {
		if c.Name() == "shell" {
			root.RemoveCommand(c)
		}
	}
	err = execute(ctx, root, slices.Concat(sh.common, words), s)
	if ctx.Err() != nil {
		return false // the shell ends too, and says so
	}
	return exitStatus(ctx, root, err, s) == 0
}

// readLine prompts for a line and reads it, without its end, and without a byte more, because what follows may be for a command.
func (sh *shell) readLine(ctx context.Context) (string, error) {
	if sh.prompt {
		if _, err := io.WriteString(sh.out, shellPrompt); err != nil {
			return "", err
		}
	}
	return interruptible(ctx, func() (string, error) { return readBareLine(sh.in) })
}

// readBareLine reads up to the next newline, byte by byte. The last line may lack its newline.
func readBareLine(r io.Reader) (string, error) {
	var line []byte
	var b [1]byte
	for {
		n, err := r.Read(b[:])
		if n == 1 {
			if b[0] == '\n' {
				return string(line), nil
			}
			if line = append(line, b[0]); len(line) > maxLine {
				return "", fmt.Errorf("a line is longer than %d bytes", maxLine)
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) && len(line) > 0 {
				return string(line), nil
			}
			return "", err
		}
	}
}

// splitWords splits a line into words as the shells of Unix do. Blanks separate words; '...' is taken as it is; in "..." a backslash
// stands in front of " and \; outside of quotes a backslash takes any character as it is; # begins a remark.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, escaped := false, false
	var quote rune
	for _, r := range line {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteRune('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case r == '#' && !inWord:
			return words, nil
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	switch {
	case quote != 0:
		return nil, fmt.Errorf("a quote (%c) is not closed", quote)
	case escaped:
		return nil, errors.New("nothing stands behind the backslash")
	case inWord:
		words = append(words, word.String())
	}
	return words, nil
}
