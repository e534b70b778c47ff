package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"mixminion/internal/config"
	"mixminion/internal/store/durable"
	"mixminion/mix"

	"github.com/spf13/cobra"
)

const systemConfig = "/etc/mixminion/mixminiond.conf"

// initOptions are the answers that may be given beforehand.
type initOptions struct {
	nickname, contact, hostname, baseDir, smtp, port, storeKey string
	noExit, overwrite, ipv6                                    bool
	passphrase                                                 passphrase
}

func newInit(s *streams, configFile *string) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write the configuration of a new mix, and make its keys",
		Long: "Asks for what a new mix needs to know, unless options say it, writes a configuration with\n" +
			"comments, makes the identity key, a packet key and the first descriptor, and says what to do\n" +
			"next. The configuration goes to the file given by --config, or else to ~/.mixminiond.conf, or\n" +
			"as root to " + systemConfig + ". Keys that are there already are kept.\n\n" +
			"Without a terminal nothing is asked: then --nickname, --contact, --hostname, and one of --smtp and\n" +
			"--no-exit are needed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return initMix(cmd.Context(), s, *configFile, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.nickname, "nickname", "", "the `NAME` of the mix: at most 24 letters, digits and hyphens, a letter first")
	f.StringVar(&o.contact, "contact", "", "the mail `ADDRESS` of the operator, which is published")
	f.StringVar(&o.hostname, "hostname", "", "the host `NAME` by which others reach the mix")
	f.BoolVar(&o.ipv6, "ipv6", false, "be reached over IPv6, too, and connect to others over it")
	f.StringVar(&o.port, "port", "", "the `PORT` by which others reach it (default 48099)")
	f.StringVar(&o.baseDir, "base-dir", "", "the `DIRECTORY` for the mix's files (default ~/.mixminiond, as root /var/lib/mixminion)")
	f.StringVar(&o.smtp, "smtp", "", "deliver messages by this mail server, `HOST[:PORT]`")
	f.StringVar(&o.storeKey, "store-key", "", "what unlocks the encryption of waiting packets at each start: file `NAME`, passphrase, credential NAME, or none;\n"+
		"a file that does not exist is made (default none)")
	o.passphrase.registerStore(cmd)
	f.BoolVar(&o.noExit, "no-exit", false, "deliver nothing, pass packets on only")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace the configuration if there is one")
	return cmd
}

func initMix(ctx context.Context, s *streams, file string, o initOptions) error {
	home, err := userHomeDir()
	if err != nil {
		return fmt.Errorf("find the home directory: %w", err)
	}
	if file == "" {
		file = usualConfig(home)
	}
	if _, err := os.Lstat(file); err == nil && !o.overwrite {
		return fmt.Errorf("%s exists already; to replace it give --overwrite, to make another one --config", file)
	}
	cfg, err := askConfig(ctx, s, o, usualBase(home))
	if err != nil {
		return err
	}
	text := []byte(cfg.Commented())
	parsed, err := config.ParseServer(text, file)
	if err != nil {
		return err
	}
	if parsed.Main.BaseDir != cfg.Main.BaseDir {
		return fmt.Errorf("the name of the directory %s does not fit into a configuration: take a simpler one", cfg.Main.BaseDir)
	}

	// The keys come first: if they cannot be made, the same command can be given again.
	fresh, key, err := makeKeys(ctx, s, parsed, home, o.passphrase)
	if err != nil {
		return err
	}
	if err := writeNewConfig(file, text, o.overwrite); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	paths := parsed.Paths(home)
	s.say("Wrote the configuration %s.", file)
	if fresh {
		s.say("%s has a new identity, key %s.", parsed.Main.Nickname, key)
	} else {
		s.say("%s has its identity from the keys that were in %s, key %s.", parsed.Main.Nickname, paths.KeyDir, key)
	}
	s.say("What to do next:")
	s.say("  mixminiond check -f %s   looks for what could keep the mix from running well", file)
	s.say("  mixminiond start -f %s   runs it", file)
	s.say("  Give %s to those who are to use it.", filepath.Join(paths.KeyDir, mix.CurrentDescriptorFile))
	return nil
}

// usualBase is the base directory of a new mix.
func usualBase(home string) string {
	if os.Geteuid() == 0 {
		return "/var/lib/mixminion"
	}
	return filepath.Join(home, ".mixminiond")
}

// usualConfig is where a new configuration goes.
func usualConfig(home string) string {
	if os.Geteuid() == 0 {
		return systemConfig
	}
	return filepath.Join(home, ".mixminiond.conf")
}

// makeKeys makes keys and descriptor as a first start does, and returns the fingerprint of the identity.
func makeKeys(ctx context.Context, s *streams, cfg *config.Server, home string, p passphrase) (fresh bool, key string, err error) {
	base := cfg.Paths(home).BaseDir
	if err := os.MkdirAll(base, 0o700); err != nil {
		return false, "", fmt.Errorf("make the base directory: %w", err)
	}
	lock, err := lockBase(base)
	if err != nil {
		return false, "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return makeKeysLocked(ctx, s, cfg, home, p)
}

// makeKeysLocked is makeKeys for who has locked the base directory.
func makeKeysLocked(ctx context.Context, s *streams, cfg *config.Server, home string, p passphrase) (fresh bool, key string, err error) {
	mixConfig, err := mix.FromConfig(cfg, home, software, terminalLogger(s, slog.LevelWarn))
	if err != nil {
		return false, "", err
	}
	if err := makeStoreKey(s, cfg, home); err != nil {
		return false, "", err
	}
	if mixConfig.Vault, err = unlock(ctx, s, cfg, home, p); err != nil {
		return false, "", err
	}
	return openOnce(mixConfig)
}

// openOnce opens a mix, which makes what is missing, and closes it.
func openOnce(c mix.Config) (fresh bool, key string, err error) {
	m, err := mix.Open(c)
	if err != nil {
		return false, "", err
	}
	return m.Fresh(), m.KeyID().Fingerprint(), m.Close()
}

func writeNewConfig(file string, text []byte, overwrite bool) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if overwrite {
		return durable.WriteFile(file, text, 0o600)
	}
	return createWhole(file, text)
}

// A question is one thing that the configuration needs to know.
type question struct {
	flag   string
	given  string // by the flag
	prompt string
	usual  string // the answer when none is given; then it need not be
	set    func(string) error
}

// askConfig makes a configuration of flags and answers.
func askConfig(ctx context.Context, s *streams, o initOptions, base string) (*config.Server, error) {
	if o.noExit && o.smtp != "" {
		return nil, errors.New("--smtp and --no-exit contradict each other")
	}
	cfg := config.DefaultServer()
	in, smtp := &cfg.IncomingMMTP, &cfg.DeliverySMTP
	in.Enabled, cfg.OutgoingMMTP.Enabled = true, true
	questions := []question{
		{flag: "--nickname", given: o.nickname, set: cfg.Main.Nickname.Set,
			prompt: "Nickname of the mix, by which users name it in paths"},
		{flag: "--contact", given: o.contact, set: cfg.Main.ContactEmail.Set,
			prompt: "Mail address of the operator; it is published"},
		{flag: "--hostname", given: o.hostname, set: in.Hostname.Set,
			prompt: "Host name of this machine, by which others reach it"},
		{flag: "--ipv6", given: map[bool]string{true: "yes"}[o.ipv6], usual: "no", set: func(text string) error { return setIPv6(cfg, text) },
			prompt: "Whether this machine and its name have IPv6, yes or no"},
		{flag: "--base-dir", given: o.baseDir, usual: base, set: func(text string) error { return setBaseDir(cfg, text) },
			prompt: "Directory for its files"},
	}
	if !o.noExit {
		questions = append(questions, question{flag: "--smtp or --no-exit", given: o.smtp,
			prompt: "Mail server that takes the messages to deliver, host or host:port, or \"none\" to pass packets on only",
			set: func(text string) error {
				if smtp.Enabled = text != "none"; smtp.Enabled {
					return smtp.SMTPServer.Set(text)
				}
				return nil
			}})
	}
	questions = append(questions, question{flag: "--store-key", given: o.storeKey, usual: "none", set: cfg.Main.StoreKey.Set,
		prompt: "What unlocks the encryption of waiting packets at each start: file NAME, passphrase, credential NAME, or none"})
	if o.port != "" {
		if err := in.Port.Set(o.port); err != nil {
			return nil, fmt.Errorf("--port: %w", err)
		}
	}
	if err := answerAll(ctx, s, questions); err != nil {
		return nil, err
	}
	if smtp.Enabled {
		smtp.ReturnAddress = cfg.Main.ContactEmail
		if _, err := netip.ParseAddr(string(in.Hostname)); err != nil {
			if err := smtp.ReturnAddress.Set("nobody@" + string(in.Hostname)); err != nil {
				return nil, fmt.Errorf("return address: %w", err)
			}
		}
		cfg.DeliveryFragmented.Enabled, cfg.DeliveryFragmented.MaximumSize = true, config.MB
	}
	return cfg, nil
}

// setIPv6 lets the mix listen on all addresses of IPv6, and connect over it, if the answer is yes.
func setIPv6(cfg *config.Server, text string) error {
	switch text {
	case "yes":
		cfg.IncomingMMTP.ListenIP6, cfg.OutgoingMMTP.IPv6 = netip.IPv6Unspecified(), true
	case "no":
	default:
		return fmt.Errorf("%q is neither yes nor no", text)
	}
	return nil
}

// setBaseDir makes the directory's name one that means the same wherever the mix is started.
func setBaseDir(cfg *config.Server, text string) error {
	if text != "" && text != "~" && !strings.HasPrefix(text, "~/") {
		abs, err := filepath.Abs(text)
		if err != nil {
			return err
		}
		text = abs
	}
	return cfg.Main.BaseDir.Set(text)
}

// answerAll takes the answers that the flags give and asks for the others, as often as a person needs.
func answerAll(ctx context.Context, s *streams, questions []question) error {
	var open []question
	var missing []string
	for _, q := range questions {
		if q.given == "" {
			open = append(open, q)
			if q.usual == "" {
				missing = append(missing, q.flag)
			}
			continue
		}
		if err := q.set(q.given); err != nil {
			return fmt.Errorf("%s: %w", q.flag, err)
		}
	}
	if !isTerminal(s.in) {
		if len(missing) > 0 {
			return fmt.Errorf("there is no terminal to ask at, and these options are missing: %s", strings.Join(missing, ", "))
		}
		for _, q := range open {
			if err := q.set(q.usual); err != nil {
				return fmt.Errorf("%s: %w", q.flag, err)
			}
		}
		return nil
	}
	typed := bufio.NewReader(s.in)
	for _, q := range open {
		if err := askTyped(ctx, s, typed, q); err != nil {
			return err
		}
	}
	return nil
}

// maxAnswer bounds an answer; terminals give no longer lines.
const maxAnswer = 4096

// askTyped puts a question until the answer is good.
func askTyped(ctx context.Context, s *streams, typed *bufio.Reader, q question) error {
	for {
		prompt := q.prompt
		if q.usual != "" {
			prompt += " [" + q.usual + "]"
		}
		_, _ = fmt.Fprint(s.err, prompt+": ")
		line, err := interruptible(ctx, func() (string, error) { return typed.ReadString('\n') })
		if errors.Is(err, io.EOF) {
			_, _ = fmt.Fprintln(s.err)
			return errors.New("the questions were not answered; nothing was written")
		}
		if err != nil {
			return err
		}
		text := strings.TrimSpace(line)
		if text == "" {
			text = q.usual
		}
		if text == "" {
			_, _ = fmt.Fprintln(s.err, "This is needed.")
			continue
		}
		if len(text) > maxAnswer {
			_, _ = fmt.Fprintln(s.err, "That is too long.")
			continue
		}
		if err := q.set(text); err != nil {
			_, _ = fmt.Fprintf(s.err, "%v. Try again.\n", err)
			continue
		}
		return nil
	}
}
