package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mixminion/internal/cli"
	"mixminion/internal/config"
	"mixminion/internal/testnet"
	"mixminion/internal/testnet/freeport"
	"mixminion/internal/testnet/postfix"
	"mixminion/mmtp"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"mixminion":  func() { os.Exit(cli.Mixminion(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"mixminiond": func() { os.Exit(cli.Mixminiond(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the programs as users do, in processes of their own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("MIXMINIONRC", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"descriptors": descriptorFile,
			"mixaddress":  mixAddress,
			"random":      randomFile,
			"smtpsink":    smtpSink,
			"waitmail":    waitMail,
			"waitfor":     waitFor,
			"mixes":       mixes,

			"authorities":   authorities,
			"grouplines":    groupLines,
			"httpget":       httpGet,
			"loopback":      loopback,
			"signdirectory": signDirectory,

			"directoryserver": directoryServer,
			"publish":         publishDirectory,
			"uploaded":        uploadedBy,
			"cmpre":           compareLines,
			"damage":          damageFile,

			"oldbase": oldBase,

			"postfix":   startPostfix,
			"postmail":  postMail,
			"postflush": postFlush,
		},
		RequireExplicitExec: true,
		Condition:           condition,
	})
}

// condition tells whether outside parts are there, and how the programs were built. On a machine that checks everything
// outside parts have to be there.
func condition(name string) (bool, error) {
	var err error
	switch name {
	case "legacytls":
		return mmtp.LegacyAvailable, nil
	case "unshare":
		err = exec.Command("unshare", "-Urm", "sh", "-c", "mkdir -p \"$0\" && mount -t tmpfs tmpfs \"$0\"", os.TempDir()).Run()
	case "postfix":
		err = postfix.Available()
	default:
		return false, fmt.Errorf("unknown condition %s", name)
	}
	if err != nil && os.Getenv("CI") == "true" {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	return err == nil, nil
}

// sinks finds the mail server of a script: *testscript.TestScript to *testnet.Sink.
var sinks sync.Map

// smtpSink starts a mail server and puts its address into $SMTP.
func smtpSink(ts *testscript.TestScript, neg bool, args []string) {
	sink, err := testnet.NewSink(context.Background())
	ts.Check(err)
	ts.Defer(func() { ts.Check(sink.Close()) })
	sinks.Store(ts, sink)
	ts.Setenv("SMTP", sink.Addr)
}

// loopback puts a free address of loopback into a variable.
func loopback(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv(args[0], fmt.Sprintf("127.0.0.1:%d", freePort(ts)))
}

// patience bounds every wait of a script.
const patience = 60 * time.Second

// waitMail waits for a mail and writes its data, with bare newlines, to a file.
func waitMail(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: waitmail file")
	}
	sink, ok := sinks.Load(ts)
	if !ok {
		ts.Fatalf("waitmail without smtpsink")
	}
	select {
	case m := <-sink.(*testnet.Sink).Mails:
		data := strings.ReplaceAll(string(m.Data), "\r\n", "\n")
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(data), 0o600))
	case <-time.After(patience):
		ts.Fatalf("no mail came")
	}
}

// waitFor waits until a file matches a regular expression.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: waitfor file regexp")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		if data, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && re.Match(data) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s never matched %s", args[0], args[1])
		}
	}
}

// mixes writes a configuration for each mix named: NAME.conf, with a port that is free. If there is a file users, the mixes deliver to the
// users in it.
func mixes(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		port := freePort(ts)
		conf := fmt.Sprintf(`[Host]
[Server]
BaseDir: %s
Mode: relay
Nickname: %s
Contact-Email: operator@example.com
MixAlgorithm: Timed
MixInterval: 1 second
MixCover: 0
LogLevel: INFO
[Incoming/MMTP]
Enabled: yes
IP: 127.0.0.1
Hostname: 127.0.0.1
Port: %d
[Outgoing/MMTP]
Enabled: yes
PrivateAddresses: yes
Retry: every 2 seconds for 10 minutes
[Delivery/SMTP]
Enabled: yes
ReturnAddress: nobody@%s.example
SMTPServer: %s
SMTPTLS: off
[Delivery/Fragmented]
Enabled: yes
MaximumSize: 1M
`, ts.MkAbs(name), name, port, name, ts.Getenv("SMTP"))
		if users := ts.MkAbs("users"); fileExists(users) {
			conf += fmt.Sprintf(`[Delivery/MBOX]
Enabled: yes
AddressFile: %s
RemoveContact: operator@%s.example
ReturnAddress: nobody@%s.example
SMTPServer: %s
SMTPTLS: off
`, users, name, name, ts.Getenv("SMTP"))
		}
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs("."), name+".conf"), []byte(conf), 0o600))
	}
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func freePort(ts *testscript.TestScript) uint16 {
	port, err := freeport.Find()
	ts.Check(err)
	return port
}

// runElsewhere are commands of the documents that no script runs: the first two are run by .ci/run itself, the third builds what the
// scripts run.
var runElsewhere = map[string]bool{
	"go run ./cmd/mixminion demo":                       true,
	"go test ./...":                                     true,
	"go build -o bin/ ./cmd/mixminion ./cmd/mixminiond": true,
}

// TestDocumentedCommands: every command that README and docs show with "$ " in front is run by a script, to the letter.
func TestDocumentedCommands(t *testing.T) {
	var scripts strings.Builder
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		scripts.Write(text)
	}
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, doc := range append(docs, "../../README.md") {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			cmd, ok := strings.CutPrefix(line, "$ ")
			if !ok {
				continue
			}
			found++
			cmd = strings.ReplaceAll(strings.TrimSpace(cmd), `"`, "'")
			if !runElsewhere[cmd] && !strings.Contains(scripts.String(), "exec "+cmd+"\n") && !strings.Contains(scripts.String(), "exec "+cmd+" &") {
				t.Errorf("%s: no script runs: %s", filepath.Base(doc), cmd)
			}
		}
	}
	if found == 0 {
		t.Error("no commands found")
	}
}

// TestShownConfigurations: the configurations that the documents show are some.
func TestShownConfigurations(t *testing.T) {
	for _, file := range []string{"../../README.md", "../../docs/authority.md"} {
		t.Run(filepath.Base(file), func(t *testing.T) { testShownConfiguration(t, file) })
	}
}

func testShownConfiguration(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```\n[Server]")
	block, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("no configuration found")
	}
	cfg, err := config.ParseServer([]byte("[Server]"+block), file)
	if err != nil {
		t.Fatal(err)
	}
	if w := cfg.Warnings(); len(w) > 0 {
		t.Errorf("warnings: %q", w)
	}
}
