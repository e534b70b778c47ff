package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"mixminion/internal/testnet/postfix"

	"github.com/rogpeppe/go-internal/testscript"
)

// postfixes finds the Postfix of a script: *testscript.TestScript to *postfix.Server.
var postfixes sync.Map

// startPostfix starts a Postfix that hands the mail of one address to mixminiond by pipe(8), with arguments as the
// operator guide has them, in the directory of the script:
//
//	postfix ADDRESS ARGUMENTS
//
// Postfix hands over nothing as root. So when we are root, all files of the script become another user's, and a file as is written with
// which "sh as" runs a command as that user. $POSTFIX is the directory of the instance.
func startPostfix(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: postfix address arguments")
	}
	work := ts.Getenv("WORK")
	program, err := exec.LookPath("mixminiond")
	ts.Check(err)
	account, err := user.LookupId(strconv.Itoa(postfix.User()))
	ts.Check(err)
	if os.Getuid() == 0 {
		as := fmt.Sprintf("exec setpriv --reuid=%s --regid=%s --clear-groups \"$@\"\n", account.Uid, account.Gid)
		ts.Check(os.WriteFile(filepath.Join(work, "as"), []byte(as), 0o600))
		ts.Check(ts.Exec("chown", "-R", account.Uid, work))
		for _, dir := range []string{filepath.Dir(filepath.Dir(program)), filepath.Dir(program), filepath.Dir(work), work} {
			ts.Check(os.Chmod(dir, 0o755))
		}
	}
	name, host, _ := strings.Cut(args[0], "@")
	s, err := postfix.Start(postfix.Config{
		Main:   fmt.Sprintf("relay_domains = %s\ntransport_maps = inline:{ %s@%[1]s=program: }\n", host, name),
		Master: fmt.Sprintf("program unix - n n - 1 pipe user=%s directory=%s argv=%s %s\n", account.Username, work, program, args[1]),
	})
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.Stop()) })
	postfixes.Store(ts, s)
	ts.Setenv("POSTFIX", s.Dir)
}

// postMail hands a mail to Postfix: postmail FROM TO FILE. FROM is "" for a bounce.
func postMail(ts *testscript.TestScript, neg bool, args []string) {
	s, ok := postfixes.Load(ts)
	if neg || len(args) != 3 || !ok {
		ts.Fatalf("usage: postmail from to file, after postfix")
	}
	ts.Check(s.(*postfix.Server).Send(args[0], args[1], []byte(ts.ReadFile(args[2]))))
}

// postFlush has Postfix try what waits until its log matches: postflush REGEXP.
func postFlush(ts *testscript.TestScript, neg bool, args []string) {
	s, ok := postfixes.Load(ts)
	if neg || len(args) != 1 || !ok {
		ts.Fatalf("usage: postflush regexp, after postfix")
	}
	server := s.(*postfix.Server)
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	if !postfix.Until(func() bool {
		ts.Check(server.Flush())
		log, err := os.ReadFile(filepath.Join(server.Dir, "log"))
		ts.Check(err)
		return re.Match(log)
	}) {
		ts.Fatalf("the log of Postfix never matched %s", args[0])
	}
}
