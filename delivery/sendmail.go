package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Exit codes of a command in the way of sendmail: sysexits.h.
const (
	exDataErr  = 65 // the mail is malformed
	exNoUser   = 67
	exNoHost   = 68
	exTempFail = 75
)

// killGrace is how long the children of a command that was killed may hold on to its files.
const killGrace = 5 * time.Second

var errCommand = errors.New("the mail command failed")

// sendmail is the Transport through a command. It runs the command once for each recipient, since one exit code cannot tell what became
// of several, and without a shell, so that no character of an address means anything.
type sendmail struct {
	path    string
	args    []string
	timeout time.Duration
	log     *slog.Logger
}

func newSendmail(cfg TransportConfig) (*sendmail, error) {
	path, err := exec.LookPath(cfg.Command[0])
	if err != nil {
		return nil, fmt.Errorf("mail command: %w", err)
	}
	if slices.Contains(cfg.Command[1:], "-t") {
		return nil, errors.New("mail command: leave out -t; it would send to all whom the mail names, and each recipient has a run of its own")
	}
	return &sendmail{
		path: path, args: cfg.Command[1:], timeout: 2 * orDefault(cfg.Timeout, DefaultTimeout), log: cfg.Logger,
	}, nil
}

// Begin implements Transport.
func (t *sendmail) Begin() Batch { return &sendmailBatch{sendmail: t} }

// Probe looks whether the command is still there.
func (t *sendmail) Probe(context.Context) error {
	if _, err := exec.LookPath(t.path); err != nil {
		return fmt.Errorf("mail command: %w", err)
	}
	return nil
}

// sendmailBatch is the state of one batch.
type sendmailBatch struct {
	*sendmail
	troubles int // failures in a row that are not about the mail
}

// Close implements Batch.
func (*sendmailBatch) Close() {}

// Send implements Batch.
func (b *sendmailBatch) Send(ctx context.Context, e Envelope, mail []byte) ([]Outcome, error) {
	outcomes := make([]Outcome, len(e.To))
	for i := range outcomes {
		outcomes[i] = retryLater(Unavailable)
	}
	text := bytes.ReplaceAll(mail, []byte("\r\n"), []byte("\n"))
	for i, to := range e.To {
		var err error
		outcomes[i], err = b.run(ctx, e.From, to, text)
		if outcomes[i].Status != Retry {
			e.settled(i)
		}
		if err == nil {
			b.troubles = 0
			continue
		}
		if b.troubles++; b.troubles >= maxTroubles || !errors.Is(err, errCommand) || ctx.Err() != nil {
			return outcomes, err
		}
		b.log.Warn("trouble with the mail command", "error", err)
	}
	return outcomes, nil
}

// run runs the command for one recipient. What it prints is not kept: it may name the recipient.
func (t *sendmail) run(ctx context.Context, from, to string, text []byte) (Outcome, error) {
	if strings.HasPrefix(to, "-") {
		// The command is told where its options end, but not every program listens. Nobody has such an address.
		return dropped(Malformed), nil
	}
	runCtx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	args := append(slices.Clone(t.args), "-i", "-f", from, "--", to)
	cmd := exec.CommandContext(runCtx, t.path, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + os.Getenv("HOME")}
	cmd.Stdin = bytes.NewReader(text)
	cmd.WaitDelay = killGrace
	if err := cmd.Start(); err != nil {
		return retryLater(Unavailable), fmt.Errorf("mail command: %w", withoutArguments(err))
	}
	err := cmd.Wait()
	if runCtx.Err() != nil {
		return retryLater(Unsure), fmt.Errorf("%w: it took more than %v", errCommand, t.timeout)
	}
	switch code := cmd.ProcessState.ExitCode(); code {
	case 0:
		if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			return retryLater(Unsure), fmt.Errorf("%w: it did not take the mail", errCommand)
		}
		return delivered(), nil
	case exDataErr, exNoUser, exNoHost:
		return dropped(Refused), nil
	case exTempFail:
		return retryLater(Deferred), nil
	case -1:
		return retryLater(Unsure), fmt.Errorf("%w: it was killed", errCommand)
	default:
		return retryLater(Unavailable), fmt.Errorf("%w: exit code %d", errCommand, code)
	}
}

// withoutArguments keeps of an error what the system says.
func withoutArguments(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s: %w", path.Path, path.Err)
	}
	return err
}
