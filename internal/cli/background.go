package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"mixminion/internal/config"
	"mixminion/internal/vault"
)

// startInBackground runs the daemon in a process of its own, which outlives the terminal, and returns when it is ready. Go cannot fork, so
// the program is started anew; it reports like a service, to a socket that serves this process as service manager.
func (d *daemon) startInBackground(ctx context.Context) (err error) {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	file, err := filepath.Abs(d.file)
	if err != nil {
		return err
	}
	args := []string{os.Args[0], "--quiet", "start", "--nodaemon", "--config", file}
	if d.options.severity != "" {
		args = append(args, "--severity", d.options.severity)
	}
	passphrase, err := d.passphraseForChild(ctx)
	if err != nil {
		return err
	}
	var inherited []*os.File
	if passphrase != nil {
		defer func() { err = errors.Join(err, passphrase.Close()) }()
		inherited = append(inherited, passphrase)
		args = append(args, "--passphrase-fd", strconv.Itoa(firstInherited))
	}

	dir, err := os.MkdirTemp("", "mixminiond")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	reports, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("listen for the process in the background: %w", err)
	}
	// What it says until it is ready is shown here. A pipe would be broken afterwards, and its writer killed.
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		return errors.Join(err, reports.Close())
	}
	defer func() { err = errors.Join(err, said.Close()) }()

	child := &exec.Cmd{Path: program, Args: args, ExtraFiles: inherited, Stdout: said, Stderr: said}
	child.Env = append(os.Environ(), notifySocket+"="+filepath.Join(dir, "notify"), watchdogPeriod+"=")
	if err := detach(child); err != nil {
		return errors.Join(err, reports.Close())
	}
	if err := child.Start(); err != nil {
		return errors.Join(fmt.Errorf("start the process in the background: %w", err), reports.Close())
	}
	ready := make(chan bool, 1)
	go func() { ready <- isReady(reports) }() // it ends when reports is closed
	ended := make(chan struct{})
	go func() { // it ends with the child or, if that goes on, with this process
		_ = child.Wait() // what it said counts
		close(ended)
	}()
	interrupted := ctx.Done()
	for {
		select {
		case ok := <-ready:
			if !ok {
				return errors.Join(errors.New("nothing more can be heard of the process in the background"), reports.Close())
			}
			d.s.say("It runs in the background, process %d. To end it: mixminiond stop.", child.Process.Pid)
			return reports.Close()
		case <-interrupted:
			interrupted = nil
			_ = child.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		case <-ended:
			return errors.Join(lastWords(said), ctx.Err(), reports.Close())
		}
	}
}

// firstInherited is the descriptor by which a child knows the first of exec.Cmd.ExtraFiles.
const firstInherited = 3

// isReady waits until a daemon reports that it is ready; false if the socket is closed before.
func isReady(reports *net.UnixConn) bool {
	state := make([]byte, 512)
	for {
		n, err := reports.Read(state)
		if err != nil {
			return false
		}
		for line := range bytes.Lines(state[:n]) {
			if string(bytes.TrimSpace(line)) == stateReady {
				return true
			}
		}
	}
}

// maxLastWords bounds what is shown of a daemon that could not start.
const maxLastWords = 64 << 10

// lastWords is the error that a daemon has ended with.
func lastWords(said *os.File) error {
	text, err := io.ReadAll(io.NewSectionReader(said, 0, maxLastWords))
	if err != nil {
		return err
	}
	words := strings.TrimPrefix(strings.TrimSpace(string(text)), "mixminiond: ")
	if words == "" {
		words = "it has ended before it was ready; see its log"
	}
	return errors.New(words)
}

// passphraseForChild returns a pipe with the passphrase of StoreKey, which a process without a terminal cannot ask for; nil if none is
// needed.
func (d *daemon) passphraseForChild(ctx context.Context) (_ *os.File, err error) {
	if d.cfg.Main.StoreKey.From != config.StoreKeyPassphrase {
		return nil, nil
	}
	text, err := d.askForChild(ctx)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// It fits: passphrases are shorter than what any pipe holds.
	line := append(text, '\n')
	defer clear(line)
	_, err = w.Write(line)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// askForChild asks once for the passphrase that opens the master key, twice for a new one.
func (d *daemon) askForChild(ctx context.Context) ([]byte, error) {
	ask, tries, err := d.options.passphrase.ask()(ctx, d.s)
	if err != nil {
		return nil, err
	}
	_, err = os.Lstat(filepath.Join(d.cfg.Paths(d.home).BaseDir, vault.FileName))
	if err == nil {
		return ask("Passphrase of the mix: ")
	}
	text, err := ask("New passphrase of the mix, which each start will ask for: ")
	if err != nil || tries <= 1 {
		return text, err
	}
	again, err := ask("The same passphrase again: ")
	if err != nil {
		return nil, err
	}
	defer clear(again)
	if !bytes.Equal(text, again) {
		clear(text)
		return nil, errMismatch
	}
	return text, nil
}
