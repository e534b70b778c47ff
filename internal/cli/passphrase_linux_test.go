package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPTY makes a terminal: what is typed is written to the first file, the program uses the second.
func openPTY(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keyboard.Close() }) // some tests close it to hang up
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return keyboard, tty
}

// echoes reports whether the terminal shows what is typed.
func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// awaitSilence waits until the terminal does not show any more what is typed.
func awaitSilence(t *testing.T, tty *os.File) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); echoes(t, tty); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the terminal goes on showing what is typed")
		}
	}
}

type answer struct {
	line []byte
	err  error
}

func ask(ctx context.Context, tty *os.File) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		line, err := askTerminal(ctx, tty, tty, "Passphrase: ")
		done <- answer{line, err}
	}()
	return done
}

func TestAskTerminal(t *testing.T) {
	keyboard, tty := openPTY(t)
	done := ask(t.Context(), tty)
	awaitSilence(t, tty)
	if _, err := keyboard.WriteString("open sesamw\x7fe\r"); err != nil {
		t.Fatal(err)
	}
	if a := <-done; a.err != nil || string(a.line) != "open sesame" {
		t.Fatalf("got %q: %v", a.line, a.err)
	}
	if !echoes(t, tty) {
		t.Error("the terminal stays silent")
	}
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	shown, err := io.ReadAll(keyboard)
	if err != nil && !errors.Is(err, unix.EIO) { // which is how a terminal that nobody uses ends
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(string(shown), "\r", ""); got != "Passphrase: \n" {
		t.Errorf("the terminal shows %q", got)
	}
}

func TestAskTerminalInterrupted(t *testing.T) {
	keyboard, tty := openPTY(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := ask(ctx, tty)
	awaitSilence(t, tty)
	cancel()
	if a := <-done; !errors.Is(a.err, context.Canceled) || a.line != nil {
		t.Errorf("got %q: %v", a.line, a.err)
	}
	if !echoes(t, tty) {
		t.Error("the terminal stays silent")
	}
	if err := keyboard.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAskTerminalHangUp(t *testing.T) {
	keyboard, tty := openPTY(t)
	done := ask(t.Context(), tty)
	awaitSilence(t, tty)
	if err := keyboard.Close(); err != nil {
		t.Fatal(err)
	}
	if a := <-done; a.err == nil {
		t.Errorf("got %q", a.line)
	}
}

// TestTerminalAsPassphraseSource: without a controlling terminal, the one on standard input is used.
func TestTerminalAsPassphraseSource(t *testing.T) {
	_, tty := openPTY(t)
	if got, prompts := openTerminal(&streams{in: tty, err: io.Discard}); got == nil || prompts == nil {
		t.Error("no terminal found")
	}
	if _, err := os.Stat("/dev/tty"); err != nil {
		t.Fatal(err)
	}
	if f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		_ = f.Close()
		return // whoever runs the tests sits at one
	}
	u := newUser(t)
	saveKeyring(t, u, "open sesame")
	_, _, err := u.keyring(t.Context(), &streams{in: strings.NewReader("open sesame\n")}, passphrase{fd: -1, stdinTaken: true})
	if !errors.Is(err, errNoPassphrase) {
		t.Error(err)
	}
}
