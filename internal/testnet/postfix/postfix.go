// Package postfix starts a real mail server for tests: an instance of Postfix of our own, on loopback, whose configuration, queue, log and
// mailboxes lie in a directory that vanishes with it. The system's own instance is left alone.
package postfix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ErrMissing says what a machine lacks to start one.
var ErrMissing = errors.New("missing")

// patience bounds each wait for the server.
const patience = 30 * time.Second

// Config is what an instance is to do beside taking mail.
type Config struct {
	// Main and Master are lines of main.cf and master.cf beside the common ones. DIR stands for the directory of the instance, UID for User.
	Main, Master string
	// Files are more files in the directory, by name.
	Files map[string]string
}

// Server is an instance that runs.
type Server struct {
	Addr string // where it takes mail
	Dir  string // its log is the file "log" in it
	Conf string // the directory of its configuration

	program string
	sudo    []string
}

const mainCF = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = DIR
myhostname = smart.example.net
mydestination =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
`

const masterCF = `127.0.0.1:PORT inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
showq unix n - n - - showq
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`

// User is as whom the server delivers: ourselves, or nobody if we are root, as whom Postfix delivers nothing.
func User() int {
	if uid := os.Getuid(); uid != 0 {
		return uid
	}
	return 65534
}

// Start starts an instance, which must be stopped. The error wraps ErrMissing if that is not possible on this machine.
func Start(c Config) (_ *Server, err error) {
	s, err := find()
	if err != nil {
		return nil, err
	}
	if s.Dir, err = os.MkdirTemp("", "postfix"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.asRoot("rm", "-rf", s.Dir))
		}
	}()
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.Addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	s.Conf = filepath.Join(s.Dir, "conf")
	if err := s.write(c); err != nil {
		return nil, err
	}
	for _, command := range [][]string{
		{"chown", "-R", "root:root", s.Conf},
		{"chmod", "-R", "go+rX", s.Conf},
		{"install", "-d", "-o", "root", filepath.Join(s.Dir, "queue")},
		{"install", "-d", "-o", "postfix", filepath.Join(s.Dir, "data")},
		{"install", "-d", "-o", strconv.Itoa(User()), s.Mail()},
		{s.program, "-c", s.Conf, "start"},
	} {
		if err := s.asRoot(command...); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Available returns why Start would return ErrMissing, nil if it would not.
func Available() error {
	_, err := find()
	return err
}

// find looks for what is needed.
func find() (*Server, error) {
	s := &Server{}
	var err error
	if s.program, err = exec.LookPath("postfix"); err != nil {
		if s.program, err = exec.LookPath("/usr/sbin/postfix"); err != nil {
			return nil, fmt.Errorf("the program postfix (Debian package postfix) is %w", ErrMissing)
		}
	}
	if os.Getuid() != 0 {
		s.sudo = []string{"sudo", "-n"}
		if s.asRoot("true") != nil {
			return nil, fmt.Errorf("root's power to start Postfix (being root, or sudo without password) is %w", ErrMissing)
		}
	}
	return s, nil
}

// write writes the configuration.
func (s *Server) write(c Config) error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	fill := strings.NewReplacer("DIR", s.Dir, "UID", strconv.Itoa(User()), "PORT", port)
	files := map[string]string{"conf/main.cf": fill.Replace(mainCF + c.Main), "conf/master.cf": fill.Replace(masterCF + c.Master)}
	for name, text := range c.Files {
		files[name] = text
	}
	if err := os.MkdirAll(s.Conf, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Mail is a directory in which the server may make mailboxes.
func (s *Server) Mail() string { return filepath.Join(s.Dir, "mail") }

// Send hands it a mail, as soon as it takes one.
func (s *Server) Send(from, to string, mail []byte) (err error) {
	if !Until(func() bool {
		err = smtp.SendMail(s.Addr, nil, from, []string{to}, mail)
		var op *net.OpError
		return !errors.As(err, &op)
	}) {
		return fmt.Errorf("postfix takes no mail: %w", err)
	}
	return err
}

// Flush has it try at once what waits.
func (s *Server) Flush() error { return s.asRoot(s.program, "-c", s.Conf, "flush") }

// Stop stops it and removes all that it had.
func (s *Server) Stop() error {
	err := s.asRoot(s.program, "-c", s.Conf, "abort")
	// Its files can only be removed when it has gone.
	if !Until(func() bool { return s.asRoot(s.program, "-c", s.Conf, "status") != nil }) {
		err = errors.Join(err, errors.New("postfix does not stop"))
	}
	return errors.Join(err, s.asRoot("rm", "-rf", s.Dir))
}

// asRoot runs a command with root's power.
func (s *Server) asRoot(args ...string) error {
	args = append(s.sudo, args...)
	out, err := exec.CommandContext(context.Background(), args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Until waits until done, not for ever, and reports whether it came to that.
func Until(done func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			return false
		}
	}
	return true
}
